# SPDX-License-Identifier: BSD-3-Clause
"""Lies that cost time, memory or log instead of safety: what one peer makes us do must not keep others waiting."""
import os
import struct
import time

from bench import NO_CONTROL_QUEUE, lie, only_over
from peer import *
from vhost_user import NET_SET_MTU, SEND_RARP

MEMORY = 16 << 20
TABLE = 0x800000  # one indirect table that all chains share
CONTROL_QUEUE = 4
FRAME_BYTES = 12 + 60


class LongRing(SplitRing):
    """The longest ring, all its chains made available at once; each leads to the same table of as many entries."""

    def __init__(self, peer, index):
        super().__init__(peer, index, peer.RING_MAX)
        self.desc, self.driver, self.device = 0x400000, 0x500000, 0x600000

    def fill(self, entry, last):
        """entry and last: (address, length, flags) of the table's descriptors."""
        table = b''.join(struct.pack('<QIHH', *entry[:2], entry[2] | NEXT, i + 1) for i in range(self.size - 1))
        self.peer.write(TABLE, table + struct.pack('<QIHH', *last, 0))
        self.peer.write(self.desc, struct.pack('<QIHH', GPA + TABLE, 16 * self.size, INDIRECT, 0) * self.size)
        self.peer.write(self.driver + 4, struct.pack(f'<{self.size}H', *range(self.size)))

    def offer_all(self):
        self.peer.write(self.driver + 2, struct.pack('<H', self.size))
        self.ring_kick()


def long_ring(peer, index, features):
    peer.negotiate(features)
    peer.share_memory(MEMORY)
    ring = LongRing(peer, index)
    peer.ring_set_up(ring)
    peer.run()
    return ring


def delays_nobody(daemon, index, entry, last, features=F_MRG_RXBUF | F_INDIRECT, stir=lambda: None):
    """The honest port and the control socket are served all the while; the liar may be cut off for it."""
    with daemon.connect() as peer:
        ring = long_ring(peer, index, features)
        ring.fill(entry, last)
        ring.offer_all()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            stir()
            daemon.check_honest()


@lie
def transmit_chains_of_nothing_by_the_thousand(daemon):
    delays_nobody(daemon, 1, (0, 0, 0), (0, 0, 0))


@lie
def transmit_chains_that_are_bad_after_thousands_of_pieces(daemon):
    delays_nobody(daemon, 1, (GPA + DATA, 3, 0), (GPA + DATA, 3, 0))


@lie
@only_over('vhost-user', because=NO_CONTROL_QUEUE)
def commands_of_nothing_by_the_thousand(daemon):
    delays_nobody(daemon, CONTROL_QUEUE, (0, 0, 0), (GPA + DATA, 1, WRITE), F_INDIRECT | F_CTRL_VQ | F_CTRL_RX)


@lie
@only_over('vhost-user', because=NO_CONTROL_QUEUE)
def commands_in_thousands_of_pieces(daemon):
    delays_nobody(daemon, CONTROL_QUEUE, (GPA + DATA, 1, 0), (GPA + DATA, 1, WRITE), F_INDIRECT | F_CTRL_VQ | F_CTRL_RX)


@lie
def receive_buffers_without_room_in_thousands_of_pieces(daemon):
    """Broadcasts find runt buffers only, each of them as long as the ring."""
    delays_nobody(daemon, 0, (GPA + DATA, 1, 0), (GPA + DATA, 1, WRITE), stir=daemon.broadcast)


@lie
@only_over('vhost-user', because="these messages are vhost-user's own")
def session_that_leaves_a_small_mtu_behind(daemon):
    """What one peer has said of itself does not hold for the next one."""
    mtu = daemon.port('hostile')['mtu']
    with daemon.connect() as peer:
        peer.ready()
        assert peer.ack(NET_SET_MTU, struct.pack('=Q', 68)) == 0
        assert daemon.port('hostile')['mtu'] == 68
    daemon.wait_for(lambda: daemon.port('hostile')['mtu'] == mtu, 20, 'the MTU of a peer that has gone still holds')


@lie
@only_over('vhost-user', because="these messages are vhost-user's own")
def sessions_that_lie_in_a_loop_do_not_fill_the_log(daemon):
    before = os.path.getsize(daemon.log.name)
    for _ in range(200):
        with daemon.connect() as peer:
            peer.negotiate()
            for _ in range(20):
                assert peer.ack(NET_SET_MTU, struct.pack('=Q', 1)) != 0
            peer.send(99)
            assert peer.hung_up()
    grown = os.path.getsize(daemon.log.name) - before
    assert grown < 64 << 10, f'200 sessions have written {grown} bytes'


@lie
@only_over('vhost-user', because="these messages are vhost-user's own")
def announcements_by_the_thousand_do_not_flood_the_network(daemon):
    with daemon.connect() as peer:
        peer.ready()
        before = daemon.port('hostile')['rx_frames']
        for _ in range(3000):
            peer.send(SEND_RARP, b'\x02lies\x02\0\0')
        peer.settle()
        pause(0.2)
        announced = daemon.port('hostile')['rx_frames'] - before
        assert 0 < announced < 300, f'{announced} announcements'


@lie
def call_fd_made_blocking_and_full(daemon):
    """O_NONBLOCK belongs to the file, which the peer shares: it may be gone again when we write."""
    with daemon.connect() as peer:
        _, ring = peer.ready()
        os.set_blocking(ring.call, True)
        os.eventfd_read(ring.call)
        os.eventfd_write(ring.call, 2**64 - 2)
        peer.write(DATA, net_header() + frame())
        try:
            ring.chain([(GPA + DATA, FRAME_BYTES, 0)])
            pause(0.2)
            daemon.check_honest()
        finally:
            os.eventfd_read(ring.call)
