# SPDX-License-Identifier: BSD-3-Clause
"""Lies behind an IOMMU over vhost-user: answers that nobody asked for, that make no sense, or that are never given. What CUSE has
words for is in lies_ioctls."""
import contextlib
import socket
import struct

from bench import lie, wait_for_more
from peer import *
from vhost_user import *

ONLY_OVER = ('vhost-user',), 'IOTLB_MSG is a message of vhost-user'

MISS, UPDATE, INVALIDATE, ACCESS_FAIL, BATCH_BEGIN = range(1, 6)
PAGE, MEMORY = 4096, 1 << 20


def iotlb(kind, iova=GPA, size=PAGE, address=UADDR, perm=3):
    return struct.pack('=QQQBB', iova, size, address, perm, kind).ljust(32, b'\0')


@contextlib.contextmanager
def behind_an_iommu(daemon):
    """A session whose guest has an IOMMU, and the channel on which it is asked."""
    ours, theirs = socket.socketpair()
    with ours, theirs, daemon.connect() as peer:
        peer.negotiate()
        assert peer.ack(SET_BACKEND_REQ_FD, b'', [theirs.fileno()]) == 0
        assert peer.offered() & F_ACCESS_PLATFORM
        assert peer.ack(SET_FEATURES, struct.pack('=Q', peer.features | F_ACCESS_PLATFORM)) == 0
        peer.share_memory(MEMORY)
        yield peer, ours


@lie
def iotlb_answers_that_make_no_sense(daemon):
    for lied in (iotlb(0), iotlb(MISS), iotlb(ACCESS_FAIL), iotlb(BATCH_BEGIN), iotlb(255), iotlb(UPDATE, perm=0), iotlb(UPDATE, perm=4),
                 iotlb(UPDATE, size=0), iotlb(UPDATE, iova=2**64 - PAGE, size=2 * PAGE), iotlb(UPDATE, address=2**64 - PAGE, size=2 * PAGE),
                 iotlb(INVALIDATE, iova=2**64 - PAGE, size=2 * PAGE), iotlb(INVALIDATE, size=0)):
        with behind_an_iommu(daemon) as (peer, _):
            peer.send(IOTLB_MSG, lied)
            assert peer.hung_up(), f'taken: {lied.hex()}'


@lie
def iotlb_answers_outside_the_memory_table(daemon):
    with behind_an_iommu(daemon) as (peer, _):
        for lied in (iotlb(UPDATE, address=UADDR + MEMORY), iotlb(UPDATE, address=UADDR - PAGE), iotlb(UPDATE, size=1 << 40),
                     iotlb(UPDATE, address=UADDR + MEMORY - PAGE, size=2 * PAGE), iotlb(UPDATE, address=PAGE)):
            assert peer.ack(IOTLB_MSG, lied) != 0, f'taken: {lied.hex()}'
        peer.settle()


@lie
def iotlb_answers_of_another_size(daemon):
    for size in (0, 1, 26, 31, 33, 72):
        with behind_an_iommu(daemon) as (peer, _):
            peer.send(IOTLB_MSG, iotlb(UPDATE).ljust(72, b'\0')[:size])
            assert peer.hung_up(), size


@lie
def iotlb_answers_where_there_is_no_iommu(daemon):
    with daemon.connect() as peer:
        peer.negotiate().share_memory()
        assert peer.ack(IOTLB_MSG, iotlb(UPDATE)) != 0
        peer.settle()


@lie
def iotlb_answers_without_end(daemon):
    """More windows than are kept, then each of them anew, then windows over windows."""
    with behind_an_iommu(daemon) as (peer, _):
        rings = peer.ring(0), peer.ring(1)
        assert rings
        for i in range(few(3000)):
            assert peer.ack(IOTLB_MSG, iotlb(UPDATE, iova=(i << 13) + (1 << 40))) == 0, i
        for size in (PAGE, MEMORY // 2, MEMORY):
            assert peer.ack(IOTLB_MSG, iotlb(UPDATE, iova=(1 << 40) + PAGE, size=size)) == 0
        assert peer.ack(IOTLB_MSG, iotlb(INVALIDATE, iova=0, size=0)) == 0
        peer.settle()


@lie
def channel_that_nobody_reads(daemon):
    """Rings that wait for ever, and questions that find no room: nobody else notices."""
    with behind_an_iommu(daemon) as (peer, ours):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for i in range(few(200)):
            rings = peer.ring(0), peer.ring(1)
            assert rings
            assert peer.ack(IOTLB_MSG, iotlb(UPDATE, iova=1 << 40)) == 0, i
            peer.ring_stop(0)
        peer.settle()


def with_shadows(daemon):
    """AddressSanitizer keeps what has been freed, and a shadow of all: what the daemon takes is not what it holds."""
    with open(f'/proc/{daemon.process.pid}/maps') as maps:
        return 'libasan' in maps.read()


def resident_kib(daemon):
    with open(f'/proc/{daemon.process.pid}/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmRSS'))


@lie
def receive_queue_that_never_goes_on(daemon):
    """It waits for an answer that is never given: so much is held for it, and no more, and when it goes, all of that with it."""
    held_most, burst, at = 4096, 256, MEMORY - PAGE  # a burst is a whole ring
    for goes_by_itself in (False, True):
        with behind_an_iommu(daemon) as (peer, _):
            assert peer.ack(IOTLB_MSG, iotlb(UPDATE, iova=UADDR, address=UADDR, size=MEMORY)) == 0
            receive, transmit = peer.ring(0), peer.ring(1)
            peer.settle()  # what comes before its ring is enabled is taken, and dropped
            peer.write(at, net_header() + frame(destination=b'\x02shout'))
            known, before, kib = daemon.port('hostile')['rx_frames'], daemon.port('hostile')['counters'], resident_kib(daemon)
            transmit.chain([(UADDR + at, 72, 0)])
            daemon.wait_for(lambda: daemon.port('hostile')['rx_frames'] > known, 20, 'its frame was not taken')
            assert peer.ack(IOTLB_MSG, iotlb(INVALIDATE, iova=0, size=0)) == 0
            for _ in range(held_most // burst + 2):
                daemon.shout(b'\x02lies\x01', burst)
            wait_for_more(daemon, 'hostile', ('tx_held', 'tx_hold_limit'), before, held_most + 2 * burst)
            after = daemon.port('hostile')['counters']
            held, beyond = after['tx_held'] - before['tx_held'], after['tx_hold_limit'] - before['tx_hold_limit']
            assert (held, beyond) == (held_most, 2 * burst), (held, beyond)
            assert with_shadows(daemon) or resident_kib(daemon) < kib + 4096, 'what is held has no bound'
            daemon.check_honest()
            if goes_by_itself:
                peer.ring_stop(0)
            assert receive
        daemon.wait_for(lambda: daemon.port('hostile')['counters']['tx_lost'] - before['tx_lost'] == held_most, 20, 'what was held is not counted')


@lie
def ring_page_that_comes_and_goes(daemon):
    """Each time the ring starts, and has to be taken back before the answer."""
    with behind_an_iommu(daemon) as (peer, _):
        ring = peer.ring(1)
        for i in range(few(300)):
            assert peer.ack(IOTLB_MSG, iotlb(UPDATE, iova=UADDR, address=UADDR, size=MEMORY)) == 0, i
            assert ring
            assert peer.ack(IOTLB_MSG, iotlb(INVALIDATE, iova=UADDR + ring.desc, size=PAGE)) == 0, i
        peer.settle()
