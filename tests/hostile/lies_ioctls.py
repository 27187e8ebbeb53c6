# SPDX-License-Identifier: BSD-3-Clause
"""Lies to a vhost character device in ioctls, reads and writes of its own: numbers, sizes, pointers, tables, order."""
import ctypes
import errno
import mmap
import os
import struct
import threading
import time

from bench import lie
from ioctls import *
from peer import *

ONLY_OVER = ('cuse',), "these calls are CUSE's own; those of vhost-vdpa are the kernel's affair"

PAGE = 4096
OWNERS = (SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK,
          SET_VRING_CALL, SET_VRING_ERR, NET_SET_BACKEND)
OTHERS = (GET_FEATURES, SET_FEATURES, GET_BACKEND_FEATURES, SET_BACKEND_FEATURES)
F_LOG_ALL = 1 << 26
IOTLB_MISS, IOTLB_UPDATE, IOTLB_INVALIDATE = 1, 2, 3
libc = ctypes.CDLL(None, use_errno=True)


def call(peer, request, pointer):
    """An ioctl with a pointer as it is; the error's name, or None."""
    result = libc.ioctl(ctypes.c_int(peer.fd), ctypes.c_ulong(request), ctypes.c_void_p(pointer))
    return errno.errorcode[ctypes.get_errno()] if result < 0 else None


@lie
def ioctls_that_there_are_not(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        for request in (0, 0xFFFFFFFF, 0xAF00, SET_VRING_NUM ^ 1 << 30, SET_VRING_NUM + (1 << 16), GET_FEATURES ^ 1 << 30,
                        ioctl_number(TELL, 0x03, 16), VDPA_SET_STATUS, ioctl_number(ASK, 0x42, 4),
                        ioctl_number(BOTH, 0xFF, 0x3FFF)):
            assert call(peer, request, 0) == 'ENOTTY', f'{request:#x}: {call(peer, request, 0)}'
        peer.settle()


@lie
def pointers_to_nothing(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        for request in OWNERS + OTHERS:
            for pointer in (0, 8, 1 << 46, 1 << 63, 2**64 - 8, 2**64 - 1):
                assert call(peer, request, pointer) == 'EFAULT', f'{request:#x} at {pointer:#x}'
        peer.settle()


@lie
def calls_without_an_owner(daemon):
    with daemon.connect() as peer:
        peer.ready()
        peer.do(RESET_OWNER)
        room = ctypes.create_string_buffer(256)
        for request in OWNERS + (RESET_OWNER,):
            assert call(peer, request, ctypes.addressof(room)) == 'EPERM', f'{request:#x} is taken from anybody'
        peer.do(SET_OWNER)
        refused(peer, peer.do, SET_OWNER)
        peer.ready()


@lie
def regions_that_cannot_be(daemon):
    with daemon.connect() as peer:
        peer.negotiate().make_memory()
        at, size = peer.memory_address(), MEMORY_BYTES
        for regions in ([(GPA, 0, at)], [(2**64 - PAGE, 2 * PAGE, at)], [(GPA, 2**64 - 1, at)], [(GPA, 2**63, at)],
                        [(GPA, size + PAGE, at + (1 << 40))], [(GPA, 2 * PAGE, 2**64 - PAGE)],
                        [(GPA, 2 * PAGE, at), (GPA + PAGE, PAGE, at + 4 * PAGE)], [(GPA, PAGE, at)] * 2,
                        [(GPA, PAGE, at), (GPA << 8, 0, at)], [(GPA, size, at), (GPA << 8, PAGE, 0)]):
            refused(peer, peer.table, regions)
        peer.settle()
        peer.tell_memory()


@lie
def tables_whose_counts_lie(daemon):
    """Behind the table's one region the page ends, and nothing is mapped there."""
    with daemon.connect() as peer:
        peer.negotiate().make_memory()
        pages = mmap.mmap(-1, 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        end = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + PAGE
        assert libc.mprotect(ctypes.c_void_p(end), ctypes.c_size_t(PAGE), 0) == 0
        for count, padding, why in ((2, 0, 'EFAULT'), (64, 0, 'EFAULT'), (0x10001, 0, 'E2BIG'), (0x80000001, 0, 'E2BIG'),
                                    (0xFFFFFFFF, 0, 'E2BIG'), (1, 1, 'ENOTSUP'), (1, 0, None)):
            table = struct.pack('=IIQQQQ', count, padding, GPA, MEMORY_BYTES, peer.memory_address(), 0)
            pages[PAGE - len(table):PAGE] = table
            told = call(peer, SET_MEM_TABLE, end - len(table))
            assert told == why, f'{count} regions, padding {padding}: {told}'


@lie
def table_that_changes_while_it_is_read(daemon):
    with daemon.connect() as peer:
        peer.negotiate().make_memory()
        regions = struct.pack('=QQQQ', GPA, MEMORY_BYTES, peer.memory_address(), 0)
        table = ctypes.create_string_buffer(struct.pack('=II', 1, 0) + regions * 400)
        stop = threading.Event()

        def flap():
            while not stop.is_set():
                for count in (1, 400, 0xFFFFFFFF, 0):
                    ctypes.memmove(table, struct.pack('=I', count), 4)

        thread = threading.Thread(target=flap)
        thread.start()
        try:
            seen, end = set(), time.monotonic() + 0.5
            while time.monotonic() < end:
                seen.add(call(peer, SET_MEM_TABLE, ctypes.addressof(table)))
        finally:
            stop.set()
            thread.join()
        assert seen <= {None, 'E2BIG', 'EINVAL'}, seen
        peer.tell_memory()


@lie
def iotlb_messages_that_lie(daemon):
    with daemon.connect() as peer:
        peer.share_memory()
        peer.do(SET_BACKEND_FEATURES, BACKEND_IOTLB_MSG_V2)
        peer.negotiate(F_ACCESS_PLATFORM)
        assert peer.features & F_ACCESS_PLATFORM
        at = peer.memory_address()

        def message(kind, iova=GPA, size=PAGE, address=at, perm=3, message_kind=2):
            return struct.pack('=IIQQQBB', message_kind, 0, iova, size, address, perm, kind).ljust(72, b'\0')

        def taken(data):
            try:
                os.write(peer.fd, data)
            except OSError:
                return False
            return True

        for data in (b'\0', message(IOTLB_UPDATE)[:39], bytes(4096), message(IOTLB_MISS), message(9),
                     message(IOTLB_UPDATE, message_kind=7), message(IOTLB_UPDATE, size=0), message(IOTLB_UPDATE, size=2**64 - 1),
                     message(IOTLB_UPDATE, iova=2**64 - PAGE, size=2 * PAGE), message(IOTLB_UPDATE, address=at + MEMORY_BYTES),
                     message(IOTLB_UPDATE, address=PAGE), message(IOTLB_UPDATE, address=2**64 - 1),
                     message(IOTLB_UPDATE, perm=0xFF)):
            assert not taken(data), f'taken: {data.hex()}'
        assert taken(message(IOTLB_UPDATE)) and taken(message(IOTLB_INVALIDATE))
        for i in range(few(5000)):  # more windows than are kept, or a map has room for
            assert taken(message(IOTLB_UPDATE, iova=(1 << 40) + i * 2 * PAGE)), i
        for size in (PAGE, MEMORY_BYTES // 2, MEMORY_BYTES):  # over one another, and over what was told before
            for iova in ((1 << 40) + PAGE, GPA):
                assert taken(message(IOTLB_UPDATE, iova=iova, size=size)), (iova, size)
        assert taken(message(IOTLB_INVALIDATE, iova=0, size=0)), 'all of it'
        peer.settle()


@lie
def dirty_log_where_none_is_kept(daemon):
    with daemon.connect() as peer:
        peer.ready()
        assert not peer.offered() & F_LOG_ALL
        refused(peer, peer.features_set, peer.features | F_LOG_ALL)
        room = ctypes.create_string_buffer(4096)
        for at in (ctypes.addressof(room), 0, 1, 1 << 46, 2**64 - 8):  # not looked at: no log may be too small
            refused(peer, peer.do, SET_LOG_BASE, at)
        for fd in (peer.eventfd(), peer.memfd, 1 << 20, -2):
            refused(peer, lambda fd=fd: peer.do(SET_LOG_FD, fd, layout='=i'))
        peer.do(SET_LOG_FD, -1, layout='=i')
        peer.settle()


@lie
def calls_that_are_refused_in_a_loop_do_not_fill_the_log(daemon):
    before = os.path.getsize(daemon.log.name)
    for _ in range(few(50)):
        with daemon.connect() as peer:
            peer.negotiate()
            for _ in range(100):
                refused(peer, peer.ring_num, 1, 3)
    grown = os.path.getsize(daemon.log.name) - before
    assert grown < 64 << 10, f'{grown} bytes have been written'


@lie
def memory_that_is_mapped_anew_while_it_is_looked_at(daemon):
    """Another thread of the caller's puts other files there, and nothing, all the while."""
    with daemon.connect() as peer:
        peer.negotiate().make_memory()
        at, stop = peer.memory_address(), threading.Event()
        other = peer.keep(os.memfd_create('lies'))
        os.ftruncate(other, MEMORY_BYTES)
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]

        def remap():
            while not stop.is_set():
                for flags, fd in ((0x11, other), (0x32, -1), (0x11, peer.memfd)):
                    libc.mmap(at, MEMORY_BYTES, 3, flags, fd, 0)

        thread = threading.Thread(target=remap)
        thread.start()
        try:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                try:
                    peer.tell_memory()
                except Refused:
                    pass
        finally:
            stop.set()
            thread.join()
        peer.tell_memory()
