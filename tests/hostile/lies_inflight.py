# SPDX-License-Identifier: BSD-3-Clause
"""Lies about what is in flight: the memory that a front end keeps for it, and what lies in it (vhost-user: Inflight I/O tracking)."""
import contextlib
import mmap
import os
import struct

from bench import lie, only_over
from peer import *
from vhost_user import *

ONLY = only_over('vhost-user', because="memory for what is in flight is vhost-user's own")
SIZE = 256
HEADER = {False: 16, True: 32}
EACH = {False: 16, True: 32}
FRAME_BYTES = 12 + 60


def stride(packed):
    return (HEADER[packed] + EACH[packed] * SIZE + 63) // 64 * 64


def region(peer, packed, queues=2):
    """Memory for `queues` rings, given to the device; a mapping of it."""
    peer.region_fd = peer.keep(os.memfd_create('inflight'))
    os.ftruncate(peer.region_fd, queues * stride(packed))
    return mmap.mmap(peer.region_fd, queues * stride(packed))


def give(peer, packed, queues=2):
    peer.asked(peer.tell, SET_INFLIGHT_FD, inflight(queues * stride(packed), 0, queues, SIZE), [peer.region_fd])


def begun(peer, packed):
    """A session that has told all but its rings, with memory for what is in flight."""
    peer.negotiate(FEATURES | (F_PACKED if packed else 0))
    peer.share_memory()
    return region(peer, packed)


FEATURES = F_MRG_RXBUF | F_INDIRECT


def split(version=1, desc_num=SIZE, batch=0, used=0, features=0, flights=()):
    """flights: (head, inflight, next, counter)"""
    data = bytearray(stride(False))
    struct.pack_into('=QHHHH', data, 0, features, version, desc_num, batch, used)
    for head, flag, following, counter in flights:
        struct.pack_into('=B5xHQ', data, 16 + 16 * head, flag, following, counter)
    return bytes(data)


def packed(version=1, desc_num=SIZE, free=(8, 8), used=(0, 0), wraps=(1, 1), features=0, flights=()):
    """flights: (entry, inflight, next, last, num, counter, id)"""
    data = bytearray(stride(True))
    struct.pack_into('=QHHHHHHBB', data, 0, features, version, desc_num, *free, *used, *wraps)
    for i in range(SIZE):
        struct.pack_into('=H', data, 32 + 32 * i + 2, i + 1)
    for entry, flag, following, last, num, counter, ident in flights:
        struct.pack_into('=BxHHHQHHIQ', data, 32 + 32 * entry, flag, following, last, num, counter, ident, 0, 64, GPA + DATA)
    return bytes(data)


SPLIT_LIES = {
    'version': split(version=2), 'features': split(features=1), 'shorter': split(desc_num=SIZE - 1), 'longer': split(desc_num=SIZE * 2),
    'used index far away': split(used=0x4000, flights=[(1, 1, 0, 1)]),
    'a list that loops': split(used=0xFFFE, batch=3, flights=[(3, 1, 3, 1), (4, 1, 0, 2)]),
    'a list that leads out': split(used=0xFFFE, batch=3, flights=[(3, 1, SIZE, 1), (4, 1, 0, 2)]),
    'a list that begins outside': split(used=0xFFFF, batch=0xFFFF, flights=[(4, 1, 0, 2)]),
    'a counter that repeats': split(flights=[(1, 1, 0, 7), (2, 1, 0, 7)]),
    'half in flight': split(flights=[(1, 2, 0, 7)]),
}
PACKED_LIES = {
    'version': packed(version=2), 'features': packed(features=1), 'shorter': packed(desc_num=SIZE - 1),
    'a place outside': packed(used=(SIZE, SIZE)), 'an old place outside': packed(used=(0, 0xFFFF)), 'a wrap counter of 2': packed(wraps=(2, 2)),
    'a chain of nothing': packed(flights=[(1, 1, 2, 1, 0, 1, 0)]),
    'a chain longer than the ring': packed(flights=[(1, 1, 2, 1, SIZE + 1, 1, 0)]),
    'a chain that loops': packed(flights=[(1, 1, 1, 1, 2, 1, 0)]),
    'a chain that leads out': packed(flights=[(1, 1, SIZE, 1, 2, 1, 0)]),
    'a chain with free entries': packed(flights=[(7, 1, 8, 8, 2, 1, 0)]),
    'another last one': packed(flights=[(1, 1, 2, 3, 2, 1, 0)]),
    'two chains with an entry': packed(flights=[(1, 1, 2, 2, 2, 1, 0), (2, 1, 3, 2, 1, 2, 1)]),
    'two chains with an id': packed(flights=[(1, 1, 2, 1, 1, 1, 5), (2, 1, 3, 2, 1, 2, 5)]),
    'an id beyond the ring': packed(flights=[(1, 1, 2, 1, 1, 1, SIZE)]),
    'a counter that repeats': packed(flights=[(1, 1, 2, 1, 1, 7, 0), (2, 1, 3, 2, 1, 7, 1)]),
}


@lie
@ONLY
def inflight_memory_that_fits_no_queue(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        fd = peer.keep(os.memfd_create('inflight'))
        os.ftruncate(fd, 8192)
        for size, offset, queues, entries in ((8192, 0, 0, 1), (8192, 0, 1000, 1), (8192, 0, 2, 0), (8192, 0, 2, 0xFFFF), (0, 0, 2, 1),
                                              (8192, 4096, 2, 1), (2**64 - 1, 0, 2, 1), (64, 2**64 - 64, 1, 1), (8191, 0, 2, 256),
                                              (256, 4, 2, 1)):
            expect_refused(peer, size, offset, queues, entries, fd)
        for name in ('/dev/null', '/dev/zero'):
            expect_refused(peer, 8192, 0, 2, 1, peer.keep(os.open(name, os.O_RDWR)))
    daemon.check_honest()
    for queues, entries in ((0, 1), (1000, 1), (0xFFFF, 0xFFFF), (1, 0), (1, 0x8001)):
        with daemon.connect() as peer:
            peer.negotiate()
            peer.send(GET_INFLIGHT_FD, inflight(0, 0, queues, entries))
            assert peer.hung_up(), f'memory for {queues} queues of {entries} was handed out'


def expect_refused(peer, size, offset, queues, entries, fd):
    assert peer.ack(SET_INFLIGHT_FD, inflight(size, offset, queues, entries), [fd]), f'taken: {size}, {offset}, {queues}, {entries}'


@lie
@ONLY
def inflight_regions_that_lie(daemon):
    for is_packed, lies in ((False, SPLIT_LIES), (True, PACKED_LIES)):
        for name, data in lies.items():
            with daemon.connect() as peer:
                memory = begun(peer, is_packed)
                memory[stride(is_packed):2 * stride(is_packed)] = data
                give(peer, is_packed)
                with contextlib.suppress(Closed, OSError):  # as soon as the ring has a kick
                    peer.ring(1, SIZE, is_packed)
                    peer.run()
                assert peer.hung_up(halts=False), f'{name} was believed (packed: {is_packed})'
    daemon.check_honest()


@lie
@ONLY
def inflight_chains_that_are_no_frames(daemon):
    """What is owed is input like all else: addresses outside memory, lists that nobody wrote."""
    for is_packed, data in ((False, split(flights=[(3, 1, 0, 1)])), (True, packed(flights=[(1, 1, 2, 1, 1, 1, 0)]))):
        with daemon.connect() as peer:
            memory = begun(peer, is_packed)
            memory[stride(is_packed):2 * stride(is_packed)] = data
            if is_packed:
                struct.pack_into('=Q', memory, stride(True) + 32 + 32 + 24, 0xDEAD0000)
            else:
                peer.write(SplitRing(peer, 1, SIZE).desc + 16 * 3, struct.pack('<QIHH', 0xDEAD0000, 64, 0, 0))
            give(peer, is_packed)
            ring = peer.ring(1, SIZE, is_packed)
            if not is_packed:
                ring.offer(3)
            peer.run()
            assert peer.hung_up(), f'a chain outside memory was served (packed: {is_packed})'
    daemon.check_honest()


@lie
@ONLY
def inflight_region_that_is_written_to_all_the_time(daemon):
    for is_packed in (False, True):
        with daemon.connect() as peer:
            memory = begun(peer, is_packed)
            give(peer, is_packed)
            ring = peer.ring(1, SIZE, is_packed)
            peer.run()
            peer.write(DATA, net_header() + frame())
            for i in range(SIZE // 2):
                memory[:] = os.urandom(len(memory))
                ring.chain([(GPA + DATA, FRAME_BYTES, 0)], i)
            peer.settle()
            daemon.check_honest()


@lie
@ONLY
def inflight_region_that_shrinks_under_a_running_ring(daemon):
    for is_packed in (False, True):
        with daemon.connect() as peer:
            begun(peer, is_packed)
            give(peer, is_packed)
            ring = peer.ring(1, SIZE, is_packed)
            peer.run()
            peer.write(DATA, net_header() + frame())
            os.ftruncate(peer.region_fd, 0)
            ring.chain([(GPA + DATA, FRAME_BYTES, 0)])
            assert peer.hung_up(), 'the session goes on without its in-flight region'
    daemon.check_honest()


@lie
@ONLY
def inflight_regions_given_again_and_again(daemon):
    with daemon.connect() as peer:
        begun(peer, False)
        give(peer, False)
        ring = peer.ring(1, SIZE)
        peer.run()
        peer.write(DATA, net_header() + frame())
        for i in range(few(64)):
            region(peer, False)
            give(peer, False)
            ring.chain([(GPA + DATA, FRAME_BYTES, 0)], i)
        for _ in range(few(64)):
            peer.ask(GET_INFLIGHT_FD, inflight(0, 0, 2, SIZE))
        peer.settle()
    daemon.check_honest()
