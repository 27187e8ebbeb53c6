# SPDX-License-Identifier: BSD-3-Clause
"""Lies in tables and regions of memory, in the words of vhost-user."""
import os
import socket
import struct

from bench import lie
from peer import *
from vhost_user import *
from lies_messages import closes, refused

ONLY_OVER = ('vhost-user',), 'the memory of others is what they have mapped: lies_memory and lies_ioctls have it'


def refuses_table(daemon, regions, count=None, files=None, size=MEMORY_BYTES, padding=0):
    with daemon.connect() as peer:
        peer.negotiate()
        memfd = peer.keep(os.memfd_create('lies'))
        os.ftruncate(memfd, size)
        fds = [memfd] * (len(regions) if files is None else files)
        refused(peer, SET_MEM_TABLE, mem_table(regions, count, padding), fds)


def refuses_region(daemon, region, fd_of=None):
    """The same lie, told with ADD_MEM_REG beside an honest region."""
    with daemon.connect() as peer:
        peer.negotiate().share_memory()
        fd = peer.memfd if fd_of is None else peer.keep(fd_of())
        refused(peer, ADD_MEM_REG, mem_region(*region), [fd])


PAGE = 4096


@lie
def region_beyond_its_file(daemon):
    """A region mapped without a look at the file's size is a SIGBUS later (CVE-2026-86561)."""
    for size, offset in ((MEMORY_BYTES + PAGE, 0), (PAGE, MEMORY_BYTES), (MEMORY_BYTES, PAGE), (1 << 40, 0)):
        refuses_table(daemon, [(GPA, size, UADDR, offset)])
        refuses_region(daemon, (GPA + (1 << 41), size, UADDR + (1 << 41), offset))


@lie
def region_that_wraps_around(daemon):
    top = 2**64 - PAGE
    for region in ((top, 2 * PAGE, UADDR, 0), (GPA, 2 * PAGE, top, 0), (GPA, 2 * PAGE, UADDR, top),
                   (GPA, 2**64 - 1, UADDR, 0), (GPA, 2**63, UADDR, 2**63)):
        refuses_table(daemon, [region])
        if region[0] != GPA:
            refuses_region(daemon, region)


@lie
def region_of_size_zero(daemon):
    refuses_table(daemon, [(GPA, 0, UADDR, 0)])
    refuses_region(daemon, (GPA << 20, 0, UADDR + (1 << 40), 0))


@lie
def regions_that_overlap(daemon):
    other = UADDR + (1 << 30)
    refuses_table(daemon, [(GPA, 2 * PAGE, UADDR, 0), (GPA + PAGE, 2 * PAGE, other, 0)])
    refuses_table(daemon, [(GPA, 2 * PAGE, UADDR, 0), (GPA << 8, 2 * PAGE, UADDR + PAGE, 0)])
    refuses_table(daemon, [(GPA, PAGE, UADDR, 0)] * 2)
    refuses_region(daemon, (GPA + PAGE, PAGE, other, 0))
    refuses_region(daemon, (GPA << 8, PAGE, UADDR + PAGE, 0))


@lie
def region_count_that_lies(daemon):
    region = (GPA, PAGE, UADDR, 0)
    for count in (0, 2, 8, 9, 0x10001, 0xFFFFFFFF, 0x80000001):
        refuses_table(daemon, [region], count=count)
    refuses_table(daemon, [(GPA + i * PAGE, PAGE, UADDR + i * PAGE, 0) for i in range(9)], files=8)


@lie
def fewer_or_more_fds_than_regions(daemon):
    regions = [(GPA + i * PAGE, PAGE, UADDR + i * PAGE, 0) for i in range(3)]
    for files in (0, 1, 2, 4, 8):
        refuses_table(daemon, regions, files=files)


@lie
def region_without_a_file(daemon):
    closes(daemon, ADD_MEM_REG, mem_region(GPA, PAGE, UADDR, 0))


@lie
def region_whose_file_is_no_memory(daemon):
    for make in (lambda: os.eventfd(0), lambda: os.open('/dev/null', os.O_RDWR), lambda: os.open('/', os.O_RDONLY),
                 lambda: socket.socket(socket.AF_UNIX).detach()):
        refuses_region(daemon, (GPA << 8, PAGE, UADDR + (1 << 40), 0), make)


@lie
def region_whose_file_may_not_be_written(daemon):
    def read_only():
        memfd = os.memfd_create('lies')
        os.ftruncate(memfd, PAGE)
        fd = os.open(f'/proc/self/fd/{memfd}', os.O_RDONLY)
        os.close(memfd)
        return fd
    refuses_region(daemon, (GPA << 8, PAGE, UADDR + (1 << 40), 0), read_only)


@lie
def one_slot_more_than_there_are(daemon):
    with daemon.connect() as peer:
        peer.negotiate().share_memory()
        slots = peer.ask_u64(GET_MAX_MEM_SLOTS)
        assert slots >= 509
        for i in range(1, slots):
            region = mem_region((1 << 40) + i * PAGE, PAGE, UADDR + (1 << 40) + i * PAGE, 0)
            assert peer.ack(ADD_MEM_REG, region, [peer.memfd]) == 0, f'slot {i} was refused'
        refused(peer, ADD_MEM_REG, mem_region(1 << 50, PAGE, UADDR + (1 << 41), 0), [peer.memfd])


@lie
def removing_a_region_that_is_not_there(daemon):
    for region in ((GPA, PAGE, UADDR, 0), (GPA + PAGE, MEMORY_BYTES, UADDR, 0), (GPA, MEMORY_BYTES, 0, 0)):
        with daemon.connect() as peer:
            peer.negotiate().share_memory()
            refused(peer, REM_MEM_REG, mem_region(*region))


def traffic_while_memory_is_told(daemon, packed):
    """A frame is sent to the port with each message about its memory. Every one of them arrives."""
    count, room = 50, 128
    with daemon.connect() as peer:
        receive, transmit = peer.ready(packed=packed)
        for i in range(room):
            receive.chain([(GPA + DATA + i * 256, 256, WRITE)], i)
        buffers = lambda: bytes(peer.memory[DATA:DATA + room * 256])
        daemon.wait_for(lambda: daemon.broadcast(1) or b'hear me' in buffers(), 20, 'nothing arrives at all')
        ring, before = daemon.shouter.rings[1], daemon.port('shout')['rx_frames']
        daemon.shouter.write(DATA, net_header() + frame(b'a new table', source=b'\x02shout'))
        regions = [(GPA, MEMORY_BYTES, UADDR, 0)]
        for i in range(count):
            region = (GPA + (i + 1 << 32), PAGE, UADDR + (i + 1 << 32), 0)
            regions = regions[:7] + [region]
            if i < 7:
                peer.send(SET_MEM_TABLE, mem_table(regions), [peer.memfd] * len(regions))
            else:
                peer.send(ADD_MEM_REG, mem_region(*region), [peer.memfd])
            ring.chain([(GPA + DATA, 72, 0)], start=i)
        daemon.wait_for(lambda: daemon.port('shout')['rx_frames'] >= before + count, 20, 'the frames were not taken')
        daemon.wait_for(lambda: buffers().count(b'a new table') == count, 20, f'of {count} frames not all have arrived')


@lie
def frames_that_come_with_new_memory_split(daemon):
    traffic_while_memory_is_told(daemon, packed=False)


@lie
def frames_that_come_with_new_memory_packed(daemon):
    traffic_while_memory_is_told(daemon, packed=True)


@lie
def regions_that_fill_the_address_space(daemon):
    """Sparse files cost their owner nothing. What one port can map is bounded, and the others still find room."""
    with daemon.connect() as peer:
        peer.negotiate()
        size, at, taken = 1 << 44, 1 << 46, 0
        while size >= 1 << 32:  # as large as they are taken; the address space of x86-64 would hold 8
            fd = os.memfd_create('lies')
            os.ftruncate(fd, size)
            if peer.ack(ADD_MEM_REG, mem_region(at, size, at, 0), [fd]):
                size >>= 1
            else:
                taken += size
            os.close(fd)
            at += 1 << 44
        assert taken, 'no memory at all is taken'
        use = next(port for port in daemon.ctl('stats')['ports'] if port['name'] == 'hostile')['memory']
        assert use['mapped_bytes'] == taken <= use['mapped_max_bytes'] < 1 << 46, use
        other = mem_region(GPA + (1 << 40), taken // 8, UADDR + (1 << 40), 0)  # of another port
        fd = peer.keep(os.memfd_create('lies'))
        os.ftruncate(fd, taken // 8)
        assert not daemon.shouter.ack(ADD_MEM_REG, other, [fd]), 'nothing is left for the others'
        assert not daemon.shouter.ack(REM_MEM_REG, other)
