# SPDX-License-Identifier: BSD-3-Clause
"""Lies about guest memory: where it is, how much there is, and what lies behind it."""
import ctypes
import mmap
import os

from bench import lie, only_over
from peer import *

PAGE = 4096
MAPPED = 'a vhost-user front end hands over a file, and need not map it'
MAP_FIXED = 0x10
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def map_at(address, size, protection, fd, offset=0):
    """A shared mapping at the address, or (None) where there is room: Python's own do not let the address be chosen."""
    where = libc.mmap(address, size, protection, mmap.MAP_SHARED | (MAP_FIXED if address else 0), fd, offset)
    assert where != 2**64 - 1, os.strerror(ctypes.get_errno())
    return where


def unmap(address, size):
    libc.munmap(address, size)


def does_not_run(peer, tell_memory, *arguments, use=lambda ring: ring.ring_kick()):
    """Memory that cannot be taken is refused, or lost with the device when a ring runs on it."""
    try:
        peer.asked(tell_memory, *arguments)
        peer.ring(0)
        ring = peer.ring(1)
        peer.run()
        use(ring)
    except NO:
        return
    assert peer.hung_up(), 'the device runs on what it cannot have'


@lie
@only_over('cuse', 'vduse', because='lies_tables has it in the words of vhost-user')
def memory_beyond_its_file(daemon):
    """Mapped without a look at the file's size it is a SIGBUS later (CVE-2026-86561)."""
    for file_size in (0, PAGE):
        with daemon.connect() as peer:
            peer.negotiate().make_memory()
            os.ftruncate(peer.memfd, file_size)
            does_not_run(peer, peer.tell_memory)
    with daemon.connect() as peer:  # the rings are in the file, and what they tell of is not
        peer.negotiate().make_memory()
        os.ftruncate(peer.memfd, DATA)
        does_not_run(peer, peer.tell_memory, use=lambda ring: ring.chain([(GPA + DATA, 72, 0)]))


@lie
@only_over('cuse', 'vduse', because=MAPPED)
def memory_that_is_private(daemon):
    with daemon.connect() as peer:
        peer.negotiate().memory = mmap.mmap(-1, MEMORY_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        peer.memfd = peer.eventfd()
        does_not_run(peer, peer.tell_memory)


@lie
@only_over('cuse', 'vduse', because=MAPPED)
def memory_that_is_not_mapped(daemon):
    for address in (PAGE, 1 << 46, 2**63, 2**64 - MEMORY_BYTES):
        with daemon.connect() as peer:
            peer.negotiate().make_memory()
            does_not_run(peer, peer.tell_memory_at, address, MEMORY_BYTES)


@lie
@only_over('cuse', 'vduse', because=MAPPED)
def memory_whose_file_may_not_be_written(daemon):
    with daemon.connect() as peer:
        peer.negotiate().make_memory()
        read_only = peer.keep(os.open(f'/proc/self/fd/{peer.memfd}', os.O_RDONLY))
        address = map_at(None, MEMORY_BYTES, mmap.PROT_READ, read_only)
        does_not_run(peer, peer.tell_memory_at, address, MEMORY_BYTES)
        unmap(address, MEMORY_BYTES)


@lie
@only_over('cuse', 'vduse', because=MAPPED)
def memory_in_more_pieces_than_a_map_holds(daemon):
    """A file's pages one by one, the last one first."""
    pages = 510  # of which QEMU has one less at most
    with daemon.connect() as peer:
        peer.negotiate().make_memory(pages * PAGE)
        begin = map_at(None, pages * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, peer.memfd)
        for i in range(pages):
            map_at(begin + i * PAGE, PAGE, mmap.PROT_READ | mmap.PROT_WRITE, peer.memfd, (pages - 1 - i) * PAGE)
        does_not_run(peer, peer.tell_memory_at, begin, pages * PAGE)
        unmap(begin, pages * PAGE)


@lie
def taking_memory_away_under_a_running_ring(daemon):
    for packed in (False, True):
        with daemon.connect() as peer:
            _, transmit = peer.ready(packed=packed)
            try:
                peer.take_memory_away()
                peer.settle()
                transmit.chain([(GPA + DATA, 64, 0)])
            except NO:
                pass
            daemon.check_honest()


@lie
def memory_that_comes_and_goes_under_traffic(daemon):
    for packed in (False, True):
        with daemon.connect() as peer:
            _, transmit = peer.ready(packed=packed)
            peer.write(DATA, net_header() + frame())
            try:
                for start in range(few(50)):
                    transmit.chain([(GPA + DATA, 72, 0)], start)
                    peer.take_memory_away()
                    peer.tell_memory()
                peer.settle()
            except NO:
                pass
            daemon.check_honest()


@lie
def truncating_the_file_under_a_running_ring(daemon):
    """SIGBUS costs the device that owns the memory, and nobody else."""
    for packed in (False, True):
        with daemon.connect() as peer:
            receive, transmit = peer.ready(packed=packed)
            peer.forget_memory()
            os.ftruncate(peer.memfd, 0)
            transmit.ring_kick()
            receive.ring_kick()
            assert peer.hung_up(), 'the session goes on without its memory'
            daemon.check_honest()


@lie
def truncating_the_payload_only(daemon):
    with daemon.connect() as peer:
        _, transmit = peer.ready()
        os.ftruncate(peer.memfd, DATA)  # first: a worker that polls would take the frames before we get to it
        for i in range(4):
            transmit.descriptor(i, GPA + DATA + (1 << 20), 1514, 0)
            transmit.offer(i)
        transmit.ring_kick()
        assert peer.hung_up()


@lie
def ring_addresses_that_are_not_memory(daemon):
    both = [{'desc': MEMORY_BYTES}, {'used': 2**40}, {'avail': -0x7F5500000000}, {'desc': MEMORY_BYTES - 16}, {'desc': 8},
            {'avail': 1}, {'used': 2}]
    tight = {False: [{'used': MEMORY_BYTES - 4}, {'avail': MEMORY_BYTES - 2}],  # hold the first fields only
             True: [{'used': MEMORY_BYTES - 2}, {'avail': MEMORY_BYTES - 2}]}
    for packed in (False, True):
        for lies in both + tight[packed]:
            with daemon.connect() as peer:
                peer.negotiate(F_PACKED if packed else 0).share_memory()
                try:
                    peer.ring(1, packed=packed, **lies)
                    peer.run()
                    peer.settle()
                except NO:
                    continue
                assert peer.hung_up(), f'ring with {lies} was taken (packed: {packed})'


@lie
@only_over('vhost-user', 'cuse', because='the kernel keeps a size that is told while the ring runs for the next time')
def ring_that_grows_out_of_its_memory(daemon):
    """A size after the addresses were checked has them checked again, or is refused."""
    with daemon.connect() as peer:
        peer.negotiate().share_memory()
        peer.ring(1, desc=MEMORY_BYTES - 16 * 64, num=64)
        peer.settle()
        try:
            peer.ring_num(1, 128)
            assert peer.hung_up(), 'the ring goes on beyond the end of memory'
        except NO:
            pass
