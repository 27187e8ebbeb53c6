# SPDX-License-Identifier: BSD-3-Clause
"""Lies in requests to a disk: each is answered as the specification says, and costs nothing but itself (virtio 1.3, 5.2.6).

Where the specification leaves a case open, the status is the one that docs/block-device.md says.
"""
import functools
import struct

from bench import Skipped, lie, only_over
from disks import *
from peer import GPA, INDIRECT, NEXT, WRITE
from vhost_user import GET_CONFIG, SET_CONFIG

ONLY_OVER = (('vhost-user', 'vduse'), 'a kernel with the vhost ioctls has no disks')
CONFIG_IS_THE_KERNELS = 'config space is read from the kernel, which has a copy, and nothing is written to it'
UNMAP = 1
RANGES_MAX = 16  # of a DISCARD, as config space says
CONFIG_BYTES = 96


def told_to(export, by_messages_because=None):
    """function(disk) is told at an export in both ring formats; then this session's other queue goes on, and the honest one's does."""
    def mark(function):
        @lie
        @functools.wraps(function)
        def told(daemon):
            if by_messages_because and daemon.transport.NAME != 'vhost-user':
                raise Skipped(by_messages_because)
            disks = daemon.disks()
            for packed in (False, True):
                with disks.connect(export) as disk:
                    disk.begin(packed)
                    function(disk)
                    disk.goes_on()
                disks.check()
        return told
    return mark


def expect(status, wanted, what):
    assert status == wanted, f'{what}: status {status} instead of {wanted}'


def ranges(*each):
    """Each (sector, sectors, flags)."""
    return b''.join(struct.pack('<QII', *one) for one in each)


def pieces_of(at, *lengths, flags=0):
    """One behind the other."""
    pieces = []
    for length in lengths:
        pieces.append((GPA + at, length, flags))
        at += length
    return pieces


# ---- the header ----

@told_to('lies')
def disk_header_in_pieces(disk):
    """The layout is the driver's affair (2.7.4.3), and an empty piece is one."""
    wanted = disk.fill(7, 0x77)
    for lengths in ([1] * 16, [15, 1], [1, 15], [0, 16], [7, 0, 9], [16, 0]):
        disk.header(IN, 7)
        disk.write(ROOM, bytes(SECTOR))
        data = [(GPA + ROOM, 100, WRITE), (GPA + ROOM + 100, 0, WRITE), (GPA + ROOM + 100, SECTOR - 100, WRITE)]
        status = disk.status_of([*pieces_of(HEADER, *lengths), *data, (GPA + STATUS, 1, WRITE)], SECTOR)
        expect(status, OK, f'a header of {lengths}')
        assert disk.memory[ROOM:ROOM + SECTOR] == wanted


@told_to('lies')
def disk_header_in_one_piece_with_the_data(disk):
    disk.header(OUT, 8)
    disk.write(HEADER + 16, b'\x78' * SECTOR)
    expect(disk.status_of([(GPA + HEADER, 16 + SECTOR, 0), (GPA + STATUS, 1, WRITE)]), OK, 'header and data')
    assert disk.read(8) == b'\x78' * SECTOR


@told_to('lies')
def disk_header_too_short(disk):
    """And none at all: a status alone."""
    for lengths in ([], [1], [8], [15], [5, 5, 5], [0]):
        disk.header(IN)
        expect(disk.status_of([*pieces_of(HEADER, *lengths), (GPA + STATUS, 1, WRITE)]), IOERR, f'a header of {lengths}')


@told_to('lies')
def disk_request_of_unknown_type(disk):
    """What was not negotiated is not known either."""
    before = disk.fill(3, 0x33)
    for kind in (2, 3, FLUSH_OUT, 6, 7, 9, GET_LIFETIME, 12, SECURE_ERASE, *range(15, 28), 0x100, 0x10000, 0x80000000, 0x80000001,
                 0xFFFFFFFF):
        expect(disk.request(kind, 3, b'\x99' * SECTOR), UNSUPP, f'type {kind:#x} with data')
        expect(disk.request(kind, 3, room=SECTOR), UNSUPP, f'type {kind:#x} with room')
    assert disk.read(3) == before


@told_to('lies')
def disk_header_with_reserved_bits(disk):
    """Linux fills in a priority there."""
    for reserved in (1, 0x80000000, 0xFFFFFFFF):
        expect(disk.request(IN, 0, room=SECTOR, reserved=reserved), OK, f'reserved {reserved:#x}')


# ---- sectors and sizes ----

@told_to('lies')
def disk_sectors_that_are_not_there(disk):
    """Times 512 some of these sectors are 0, or -512."""
    before = disk.fill(0, 0x11), disk.fill(SECTORS - 1, 0x22)
    for sector, count in ((SECTORS, 1), (SECTORS - 1, 2), (1 << 55, 1), ((1 << 55) - 1, 2), (1 << 56, 1), (1 << 63, 1),
                          ((1 << 64) - 1, 1), ((1 << 64) - 2, 3), ((1 << 64) - (1 << 55), 1), (1 << 32, 1)):
        expect(disk.request(IN, sector, room=count * SECTOR), IOERR, f'read of {count} from {sector:#x}')
        expect(disk.request(OUT, sector, b'\x99' * count * SECTOR), IOERR, f'write of {count} to {sector:#x}')
    assert (disk.read(0), disk.read(SECTORS - 1)) == before


@told_to('lies')
def disk_data_that_is_no_multiple_of_a_sector(disk):
    before = disk.fill(4, 0x44, 3)
    for size in (1, 2, 511, 513, 1023, 1025):
        expect(disk.request(IN, 4, room=size), IOERR, f'read of {size} bytes')
        expect(disk.request(OUT, 4, b'\x99' * size), IOERR, f'write of {size} bytes')
    assert disk.read(4, 3) == before


@told_to('lies')
def disk_data_of_nothing(disk):
    """There is nothing that could fail, unless it is beyond the end."""
    for kind in (IN, OUT):
        expect(disk.request(kind, 0), OK, 'of no data')
        expect(disk.request(kind, SECTORS + 1), IOERR, 'of no data, beyond the end')


@told_to('lies')
def disk_data_in_the_wrong_direction(disk):
    """A write has nothing to write then, and a read nowhere to read to."""
    before = disk.fill(5, 0x55)
    expect(disk.request(OUT, 5, room=SECTOR), OK, 'a write of nothing')
    assert disk.read(5) == before
    expect(disk.request(IN, 5, b'\x99' * SECTOR), OK, 'a read of nothing')
    assert disk.memory[PAYLOAD:PAYLOAD + SECTOR] == b'\x99' * SECTOR
    assert disk.read(5) == before


@told_to('lies')
def disk_data_in_both_directions(disk):
    """Each takes what is its own."""
    before = disk.fill(6, 0x66)
    expect(disk.request(IN, 6, b'\x99' * SECTOR, SECTOR), OK, 'a read with data')
    assert disk.memory[ROOM:ROOM + SECTOR] == before and disk.read(6) == before
    expect(disk.request(OUT, 6, b'\x67' * SECTOR, SECTOR), OK, 'a write with room')
    assert disk.memory[ROOM:ROOM + SECTOR] == bytes(SECTOR)
    assert disk.read(6) == b'\x67' * SECTOR


# ---- the status ----

@told_to('lies')
def disk_request_without_room_for_a_status(disk):
    """Its descriptors come back, nothing is said, and nothing is done."""
    before = disk.fill(9, 0x99)
    disk.header(OUT, 9)
    disk.write(PAYLOAD, b'\x11' * SECTOR)
    for last in ([], [(GPA + STATUS, 0, WRITE)]):
        assert disk.comes_back([(GPA + HEADER, 16, 0), (GPA + PAYLOAD, SECTOR, 0), *last]) == 0
        assert disk.memory[STATUS] == NONE
    assert disk.comes_back([(GPA + HEADER, 0, 0)]) == 0
    assert disk.read(9) == before


@told_to('lies')
def disk_status_where_none_is_expected(disk):
    """It is the last writable byte, whatever piece that is in: with the data, or before an empty piece; a byte before the data is data."""
    wanted = disk.fill(10, 0xA0)
    for lengths in ([SECTOR + 1], [1, SECTOR], [SECTOR - 1, 2], [SECTOR, 1, 0, 0], [1] * 20 + [SECTOR - 19]):
        disk.header(IN, 10)
        disk.write(ROOM, bytes([NONE]) * (SECTOR + 1))
        length = disk.comes_back([(GPA + HEADER, 16, 0), *pieces_of(ROOM, *lengths, flags=WRITE)])
        assert length == SECTOR + 1, f'{length} bytes in pieces of {lengths}'
        expect(disk.memory[ROOM + SECTOR], OK, f'pieces of {lengths}')
        assert disk.memory[ROOM:ROOM + SECTOR] == wanted


# ---- chains: what lies about its ring is lost: a queue, and over VDUSE the device until it is reset ----

def breaks(disk, tell):
    tell(disk.queues[0])
    assert disk.hung_up(20), 'the ring was taken as it is'
    disk.goes_on_after_a_break()


@told_to('lies')
def disk_chain_that_reads_behind_what_it_writes(disk):
    """2.7.4.2: what is readable comes first."""
    disk.header(IN)
    breaks(disk, lambda ring: ring.chain([(GPA + STATUS, 1, WRITE), (GPA + HEADER, 16, 0)]))


@told_to('lies')
def disk_chain_without_end(disk):
    """Split: it comes back to its beginning. Packed: each descriptor says that another follows."""
    def tell(ring):
        if disk.packed:
            ring.chain([(GPA + HEADER, 1, NEXT)] * RING_SIZE)
            return
        for i in range(RING_SIZE):
            ring.descriptor(i, GPA + HEADER, 1, NEXT, (i + 1) % RING_SIZE)
        ring.offer(0)
        ring.ring_kick()
    disk.header(IN)
    breaks(disk, tell)


@told_to('lies')
def disk_data_outside_of_memory(disk):
    disk.header(IN)
    end = GPA + len(disk.memory)
    breaks(disk, lambda ring: ring.chain([(GPA + HEADER, 16, 0), (end - SECTOR + 1, SECTOR, WRITE), (GPA + STATUS, 1, WRITE)]))


@told_to('lies')
def disk_chain_as_long_as_the_ring(disk):
    """Which is no lie, in the ring or in a table."""
    count = RING_SIZE - 2
    data = b''.join(bytes([i]) * SECTOR for i in range(count))
    disk.write(PAYLOAD, data)
    pieces = [(GPA + HEADER, 16, 0), *pieces_of(PAYLOAD, *[SECTOR] * count), (GPA + STATUS, 1, WRITE)]
    disk.header(OUT, 100)
    expect(disk.status_of(pieces), OK, 'in the ring')
    assert disk.read(100, count) == data
    for i, (address, length, flags) in enumerate(pieces):
        more = NEXT if i < len(pieces) - 1 else 0
        disk.queues[0].descriptor(i, address, length, *((flags, 0) if disk.packed else (flags | more, i + 1)), table=TABLE)
    disk.header(OUT, 200)
    expect(disk.status_of([(GPA + TABLE, 16 * len(pieces), INDIRECT)]), OK, 'in a table')
    assert disk.read(200, count) == data


# ---- lists of ranges ----

@told_to('lies')
def disk_ranges_of_wrong_size(disk):
    """Nothing happens to the range that would be whole."""
    before = disk.fill(20, 0x20)
    for kind in (DISCARD, WRITE_ZEROES):
        for size in (0, 1, 15, 17, 31):
            expect(disk.request(kind, 0, ranges((20, 1, 0), (20, 1, 0))[:size]), IOERR, f'type {kind}: {size} bytes')
    assert disk.read(20) == before


@told_to('lies')
def disk_ranges_too_many(disk):
    before = disk.fill(20, 0x21)
    most = {DISCARD: RANGES_MAX, WRITE_ZEROES: 1}
    for kind, count in most.items():
        for more in (1, 100):
            expect(disk.request(kind, 0, ranges((20, 1, 0)) * (count + more)), IOERR, f'type {kind}: {count + more} ranges')
        assert disk.read(20) == before
    for kind, count in most.items():
        expect(disk.request(kind, 0, ranges((20, 1, 0)) * count), OK, f'type {kind}: {count} ranges')


@told_to('lies')
def disk_ranges_that_are_not_there(disk):
    """Sums and products that wrap in 32 or in 64 bits."""
    before = disk.fill(0, 0x10), disk.fill(SECTORS - 1, 0x1F)
    for kind in (DISCARD, WRITE_ZEROES):
        for sector, count in ((SECTORS, 1), (SECTORS - 1, 2), (0, SECTORS + 1), (0, 0x800000), (0, 0x800001), (0, 0xFFFFFFFF),
                              ((1 << 64) - 1, 1), ((1 << 64) - 1, 2), (1 << 55, 1), ((1 << 64) - 0x800000, 0x800001), (1 << 32, 1)):
            expect(disk.request(kind, 0, ranges((sector, count, 0))), IOERR, f'type {kind}: {count:#x} from {sector:#x}')
    expect(disk.request(DISCARD, 0, ranges((0, 1, 0), (SECTORS, 1, 0))), IOERR, 'the second of two is not there')
    assert (disk.read(0), disk.read(SECTORS - 1)) == before


@told_to('lies')
def disk_ranges_with_unknown_flags(disk):
    """UNMAP is WRITE_ZEROES' alone, and an unknown flag is told even where the range is wrong as well (5.2.6.2)."""
    before = disk.fill(21, 0x2F)
    for kind, known in ((DISCARD, 0), (WRITE_ZEROES, UNMAP)):
        for flags in (1, 2, 3, 0x80000000, 0xFFFFFFFF):
            if flags & ~known:
                expect(disk.request(kind, 0, ranges((21, 1, flags))), UNSUPP, f'type {kind}: flags {flags:#x}')
                expect(disk.request(kind, 0, ranges((SECTORS, 1, flags))), UNSUPP, f'type {kind}: flags {flags:#x}, beyond the end')
    assert disk.read(21) == before
    expect(disk.request(WRITE_ZEROES, 0, ranges((21, 1, UNMAP))), OK, 'UNMAP')
    assert disk.read(21) == bytes(SECTOR)


@told_to('lies')
def disk_range_in_pieces(disk):
    """A range is split as the driver likes, and what is zeroed is what it says."""
    disk.fill(30, 0x30, 3)
    for lengths in ([1] * 16, [8, 8], [15, 0, 1]):
        disk.fill(31, 0x31)
        disk.header(WRITE_ZEROES)
        disk.write(PAYLOAD, ranges((31, 1, 0)))
        status = disk.status_of([(GPA + HEADER, 16, 0), *pieces_of(PAYLOAD, *lengths), (GPA + STATUS, 1, WRITE)])
        expect(status, OK, f'a range of {lengths}')
        assert disk.read(30, 3) == b'\x30' * SECTOR + bytes(SECTOR) + b'\x30' * SECTOR


# ---- a disk that can erase, and says how worn it is ----

def erased(function):
    """In both ring formats. The disk keeps nothing, so that nothing can be read from it."""
    @lie
    @only_over('vhost-user', because='the disk that can erase is at a socket')
    @functools.wraps(function)
    def told(daemon):
        disks = daemon.disks()
        for packed in (False, True):
            with disks.connect('erased') as disk:
                disk.begin(packed, FEATURES | F_LIFETIME | F_SECURE_ERASE)
                function(disk)
                expect(disk.request(OUT, 0, b'\x11' * SECTOR), OK, 'a write')
            disks.check()
    return told


@erased
def disk_erase_that_lies(disk):
    for size in (0, 1, 15, 17, 31):
        expect(disk.request(SECURE_ERASE, 0, ranges((20, 1, 0), (20, 1, 0))[:size]), IOERR, f'{size} bytes')
    expect(disk.request(SECURE_ERASE, 0, ranges((20, 1, 0)) * (RANGES_MAX + 1)), IOERR, 'a range too many')
    for sector, count in ((SECTORS, 1), (SECTORS - 1, 2), (0, 0xFFFFFFFF), ((1 << 64) - 1, 2), (1 << 55, 1)):
        expect(disk.request(SECURE_ERASE, 0, ranges((0, 1, 0), (sector, count, 0))), IOERR, f'{count:#x} from {sector:#x}')
    for flags in (UNMAP, 2, 0x80000000):
        expect(disk.request(SECURE_ERASE, 0, ranges((20, 1, flags))), UNSUPP, f'flags {flags:#x}')
    expect(disk.request(SECURE_ERASE, 0, ranges((0, SECTORS, 0)) * RANGES_MAX), OK, 'all of it, as often as may be')
    most, ranges_max, align = struct.unpack_from('<III', disk.ask(GET_CONFIG, struct.pack('=III', 0, CONFIG_BYTES, 0) + bytes(CONFIG_BYTES)), 12 + 60)
    assert most and ranges_max == RANGES_MAX and align, f'limits of {most}, {ranges_max} and {align}'


@erased
def disk_lifetime_in_little_room(disk):
    for room in (0, 1, 5):
        expect(disk.request(GET_LIFETIME, 0, room=room), IOERR, f'room of {room}')
    for room in (6, 7, 512):
        expect(disk.request(GET_LIFETIME, 0, room=room), OK, f'room of {room}')
        assert disk.memory[ROOM:ROOM + room] == struct.pack('<HHH', 2, 3, 11).ljust(room, b'\0'), f'room of {room}'


# ---- a disk that must not be written ----

@told_to('fixed')
def disk_writes_to_a_read_only_one(disk):
    """What RO is offered with: a write fails (5.2.6.2), and the rest is not offered, so that it is unknown."""
    assert disk.features & F_RO and not disk.features & (F_DISCARD | F_WRITE_ZEROES), f'features {disk.features:#x}'
    before = disk.read(40, 2)
    expect(disk.request(OUT, 40, b'\xA5' * SECTOR), IOERR, 'a write')
    expect(disk.request(OUT, 40), IOERR, 'a write of nothing')
    for kind in (DISCARD, WRITE_ZEROES, SECURE_ERASE):
        expect(disk.request(kind, 0, ranges((40, 1, 0))), UNSUPP, f'type {kind}')
    expect(disk.request(FLUSH), OK, 'a flush')
    assert disk.read(40, 2) == before


# ---- what is asked of the device itself ----

@told_to('lies')
def disk_serial_in_little_room(disk):
    """As much as there is room for, padded with zeroes, and not a byte more."""
    serial = b'lies'.ljust(20, b'\0')
    for room in (0, 1, 3, 4, 5, 19, 20, 21, 512):
        expect(disk.request(GET_ID, 0, room=room), OK, f'room of {room}')
        assert disk.memory[ROOM:ROOM + room] == serial[:room].ljust(room, b'\0'), f'room of {room}'


@told_to('lies')
def disk_flush_with_whatever_comes_along(disk):
    """A driver sets no sector and sends no data; a device that refuses would lose what was to be flushed."""
    before = disk.fill(50, 0x50)
    expect(disk.request(FLUSH, (1 << 64) - 1), OK, 'with a sector')
    expect(disk.request(FLUSH, 50, b'\x99' * SECTOR, SECTOR), OK, 'with data')
    assert disk.memory[ROOM:ROOM + SECTOR] == bytes(SECTOR)
    assert disk.read(50) == before


@told_to('lies', CONFIG_IS_THE_KERNELS)
def disk_config_beyond_its_end(disk):
    """Front ends ask for more than there is, and get zeroes (vhost-user: 256 bytes at most); of what begins beyond it, nothing."""
    def asked(offset, size):
        return disk.ask(GET_CONFIG, struct.pack('=III', offset, size, 0) + bytes(min(size, 256)))[12:]
    whole = asked(0, 256)
    assert struct.unpack_from('<Q', whole)[0] == SECTORS and whole[CONFIG_BYTES:] == bytes(256 - CONFIG_BYTES)
    for offset, size in ((0, 1), (32, 4), (90, 100), (CONFIG_BYTES - 1, 2)):
        assert asked(offset, size) == whole[offset:offset + size], f'{size} bytes from {offset}'
    for offset, size in ((CONFIG_BYTES, 1), (255, 1), (256, 1), (255, 2), (0xFFFFFFFF, 1)):
        assert asked(offset, size) == b'', f'{size} bytes from {offset}'


@told_to('lies', CONFIG_IS_THE_KERNELS)
def disk_config_written(disk):
    """Nothing but the switch of the cache is the driver's (5.2.5), and that has two positions."""
    def asked():
        return disk.ask(GET_CONFIG, struct.pack('=III', 0, 256, 0) + bytes(256))[12:]
    before = asked()
    for offset, data in ((0, bytes(8)), (0, b'\xff' * CONFIG_BYTES), (32, b'\x02'), (32, b'\xff'), (32, b'\0\x01'), (31, b'\x01\0'),
                         (CONFIG_BYTES, b'\x01'), (255, b'\x01')):
        assert disk.ack(SET_CONFIG, struct.pack('=III', offset, len(data), 0) + data), f'{data.hex()} at {offset} was taken'
        assert asked() == before
