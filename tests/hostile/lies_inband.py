# SPDX-License-Identifier: BSD-3-Clause
"""Kicks and calls as messages (vhost-user: In-band notifications): that they do what eventfds do, for a network device and a disk, and
front ends that lie about them."""
import functools
import select
import socket
import struct

from bench import lie
from disks import OK, OUT, SECTOR, DiskPeer
from peer import *
from vhost_user import *

ONLY_OVER = ('vhost-user',), 'no other transport has messages in the place of eventfds'

P_INBAND = 1 << 14
VRING_KICK = 35
VRING_CALL, VRING_ERR = 4, 5  # of the back end
ANSWER = struct.pack('=IIIQ', VRING_CALL, VERSION | REPLY, 8, 0)


class Inband:
    """A front end without eventfds. Beside a class of peers."""

    def negotiate(self, features=F_MRG_RXBUF, protocol=P_ALL):
        super().negotiate(features, protocol | P_INBAND)
        assert self.protocol & P_INBAND, 'INBAND_NOTIFICATIONS is not offered'
        self.channel, self.theirs = socket.socketpair()
        self.channel.settimeout(patience(20))
        assert self.ack(SET_BACKEND_REQ_FD, b'', [self.theirs.fileno()]) == 0
        return self

    def hang_up(self):
        super().hang_up()
        for end in ('channel', 'theirs'):
            if hasattr(self, end):
                getattr(self, end).close()

    def ring_call(self, index, fd):
        pass

    def ring_kick(self, index, fd):
        self.rings[index].ring_kick = functools.partial(self.kick, index)

    def kick(self, index):
        assert self.ack(VRING_KICK, struct.pack('=II', index, 0)) == 0

    def next_call(self):
        """(kind, ring), not answered."""
        data = b''
        while len(data) < 20:
            data += self.channel.recv(20 - len(data))
        request, flags, size, index, reserved = struct.unpack('=IIIII', data)
        assert (flags, size, reserved) == (VERSION | NEED_REPLY, 8, 0), data.hex()
        return request, index

    def await_call(self, index):
        while self.next_call() != (VRING_CALL, index):
            self.channel.sendall(ANSWER)
        self.channel.sendall(ANSWER)

    def silent(self):
        return not select.select([self.channel], [], [], 0)[0]


class InbandNet(Inband, VhostUserPeer):
    pass


class InbandDisk(Inband, DiskPeer):
    pass


def connect(daemon):
    return InbandNet.at(daemon)


def send(peer, ring, count=1):
    """Frames, one descriptor each, that come back."""
    for _ in range(count):
        data = bytes(12) + frame()
        peer.write(DATA, data)
        before = ring.used_now() if isinstance(ring, SplitRing) else None
        place = getattr(ring, 'next', None), getattr(ring, 'wrap', None)
        ring.chain([(GPA + DATA, len(data), 0)])
        yield before, place


def came_back(peer, ring, before, place):
    if before is not None:
        return ring.used_now() != before
    flags, = struct.unpack_from('<H', peer.memory, ring.desc + 16 * place[0] + 14)
    return bool(flags & AVAIL) == bool(flags & USED) == bool(place[1])


@lie
def frames_by_messages_alone(daemon):
    for packed in (False, True):
        with connect(daemon) as peer:
            _, transmit = peer.ready(packed=packed)
            for before, place in send(peer, transmit, 5):
                while not came_back(peer, transmit, before, place):
                    peer.await_call(1)


@lie
def requests_to_a_disk_by_messages_alone(daemon):
    disks = daemon.disks()
    for packed in (False, True):
        with InbandDisk(disks.path('lies'), 20) as disk:
            disk.begin(packed)
            for sector in range(4):
                assert disk.request(OUT, sector, bytes([sector + 1]) * SECTOR) == OK
            disk.await_call(0)
            disk.goes_on()
        disks.check()


@lie
def kicks_by_messages_without_end(daemon):
    with connect(daemon) as peer:
        peer.ready()
        for _ in range(few(30)):
            for _ in range(100):
                peer.send(VRING_KICK, struct.pack('=II', 1, 0))
            peer.settle()
            daemon.check_honest()


@lie
def kicks_by_messages_that_make_no_sense(daemon):
    with connect(daemon) as peer:
        peer.ready()
        for index in (4, 5, 255, 256, 1 << 31, 2**32 - 1):
            peer.ack(VRING_KICK, struct.pack('=II', index, 0))
        peer.settle()
        peer.send(VRING_KICK, struct.pack('=II', 0, 1))
        assert peer.hung_up()
    with daemon.connect() as peer:
        peer.negotiate()
        peer.send(VRING_KICK, struct.pack('=II', 0, 0))
        assert peer.hung_up(), 'it has not been negotiated'


@lie
def messages_without_what_they_need(daemon):
    for protocol in (P_INBAND, P_INBAND | P_REPLY_ACK, P_INBAND | P_BACKEND_REQ):
        with daemon.connect() as peer:
            peer.send(SET_PROTOCOL_FEATURES, struct.pack('=Q', protocol))
            assert peer.hung_up(), f'{protocol:#x}'


@lie
def answers_that_are_none(daemon):
    for lied in (struct.pack('=IIIQ', VRING_ERR, VERSION | REPLY, 8, 0), struct.pack('=IIIQ', VRING_CALL, VERSION, 8, 0),
                 struct.pack('=IIIQ', VRING_CALL, VERSION | REPLY, 2**32 - 1, 0), struct.pack('=III', VRING_CALL, REPLY, 8),
                 struct.pack('=III', VRING_CALL, VERSION | REPLY, 0), ANSWER * 1000, b'\xff' * 12):
        with connect(daemon) as peer:
            _, transmit = peer.ready()
            for _ in send(peer, transmit):
                peer.next_call()
            try:
                peer.channel.sendall(lied)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert peer.hung_up(20), lied[:20].hex()


@lie
def fds_with_answers(daemon):
    with connect(daemon) as peer:
        _, transmit = peer.ready()
        for _ in send(peer, transmit):
            peer.next_call()
        peer.channel.sendmsg([ANSWER], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('=2i', peer.memfd, peer.memfd))])
        assert peer.hung_up(20)


@lie
def calls_that_are_never_answered(daemon):
    """No more than one of each ring is on its way, whatever happens to the ring."""
    with connect(daemon) as peer:
        _, transmit = peer.ready()
        for before, place in send(peer, transmit, few(200)):
            while not came_back(peer, transmit, before, place):
                pause(0.001)
        peer.settle()
        calls = []
        while not peer.silent():
            calls.append(peer.next_call())
        assert len(calls) == len(set(calls)), calls
        daemon.check_honest()


@lie
def answers_that_are_taken_by_their_sender(daemon):
    """It has kept the other end, and reads from it, too."""
    with connect(daemon) as peer:
        _, transmit = peer.ready()
        for before, place in send(peer, transmit, few(100)):
            while not came_back(peer, transmit, before, place):
                pause(0.001)
            while not peer.silent():
                peer.next_call()
                peer.channel.sendall(ANSWER[:7])
                peer.theirs.setblocking(False)
                try:
                    peer.theirs.recv(5)
                except BlockingIOError:
                    pass
            if peer.hung_up(0):
                break
        daemon.check_honest()


@lie
def channel_that_goes_and_comes(daemon):
    with connect(daemon) as peer:
        _, transmit = peer.ready()
        for _ in range(few(50)):
            for _ in send(peer, transmit):
                pass
            peer.channel.close()
            peer.theirs.close()
            peer.channel, peer.theirs = socket.socketpair()
            assert peer.ack(SET_BACKEND_REQ_FD, b'', [peer.theirs.fileno()]) == 0
        peer.settle()
