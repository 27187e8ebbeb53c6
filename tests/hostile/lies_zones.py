# SPDX-License-Identifier: BSD-3-Clause
"""Lies to a disk that is written by zones (virtio 1.3, 5.2.6): what a driver that knows no zones gets, and what no zone allows."""
import struct

from bench import lie, only_over
from disks import *
from lies_blk import expect
from peer import F_VERSION_1, refused
from vhost_user import SET_FEATURES

APPEND, REPORT, OPEN, CLOSE, FINISH, RESET, RESET_ALL = 15, 16, 18, 20, 22, 24, 26
INVALID, UNALIGNED, TOO_MANY_OPEN, TOO_MANY_ACTIVE = 3, 4, 5, 6
F_ZONED = 1 << 17
NOWHERE = ((1 << 64) - 1, 1 << 63, 1 << 55, SECTORS)


def zoned(function):
    """In both ring formats; then zones are reset and written by the same session, and the honest disk's goes on."""
    @lie
    @only_over('vhost-user', because='the disk with zones is at a socket')
    def told(daemon):
        disks = daemon.disks()
        for packed in (False, True):
            with disks.connect('zoned') as disk:
                disk.begin(packed, FEATURES | F_ZONED)
                function(disk)
                expect(disk.request(RESET_ALL), OK, 'all zones are reset')
                disk.fill(ZONE_SECTORS, 0x5A, 2)
                assert disk.read(ZONE_SECTORS, 2) == b'\x5A' * 2 * SECTOR
                expect(disk.request(RESET_ALL), OK, 'all zones are reset')
            disks.check()
    told.__name__ = function.__name__
    return told


def append(disk, sector, data, room=8):
    """Its status, and what is before it."""
    status = disk.request(APPEND, sector, data, room)
    return status, disk.memory[ROOM:ROOM + room]


@lie
@only_over('vhost-user', because='the disk with zones is at a socket')
def disk_zones_that_were_not_accepted(daemon):
    """A driver that does not know zones cannot have the disk (5.2.5.2), and a legacy one cannot have accepted them."""
    disks = daemon.disks()
    for features in (F_VERSION_1, F_VERSION_1 | F_FLUSH, 0, F_ZONED):
        with disks.connect('zoned') as disk:
            disk.negotiate(FEATURES | F_ZONED)
            assert not disk.features & (F_DISCARD | F_WRITE_ZEROES), f'features {disk.features:#x}'
            refused(disk, disk.tell, SET_FEATURES, struct.pack('=Q', features))
        disks.check()


@zoned
def disk_zone_written_elsewhere_than_at_its_pointer(disk):
    for sector, status in ((ZONE_SECTORS + 1, UNALIGNED), (2 * ZONE_SECTORS - 1, UNALIGNED), (SECTORS, IOERR), ((1 << 64) - 1, IOERR)):
        expect(disk.request(OUT, sector, b'\x99' * SECTOR), status, f'a write to {sector:#x}')
    disk.fill(ZONE_SECTORS, 0x11, 3)
    expect(disk.request(OUT, ZONE_SECTORS, b'\x99' * SECTOR), UNALIGNED, 'a write to what is written')
    expect(disk.request(FINISH, ZONE_SECTORS), OK, 'a zone is finished')
    expect(disk.request(OUT, ZONE_SECTORS + 3, b'\x99' * SECTOR), INVALID, 'a write to a full zone')
    expect(disk.request(IN, 2 * ZONE_SECTORS - 1, room=2 * SECTOR), INVALID, 'a read over the end of a zone')
    assert disk.read(ZONE_SECTORS, 4) == b'\x11' * 3 * SECTOR + bytes(SECTOR)


@zoned
def disk_zone_append_that_lies(disk):
    data = b'\x99' * SECTOR
    for room in (0, 1, 7):
        expect(append(disk, ZONE_SECTORS, data, room)[0], INVALID, f'room of {room} for where it went')
    for sector in (ZONE_SECTORS + 1, 0, *NOWHERE):
        expect(append(disk, sector, data)[0], INVALID, f'an append to {sector:#x}')
    for size in (1, 511, 513):
        expect(append(disk, ZONE_SECTORS, b'\x99' * size)[0], UNALIGNED, f'an append of {size} bytes')
    expect(append(disk, ZONE_SECTORS, b'')[0], INVALID, 'an append of nothing')
    expect(append(disk, ZONE_SECTORS, b'\x99' * (ZONE_SECTORS + 1) * SECTOR)[0], INVALID, 'an append of more than a zone')
    for wanted in (ZONE_SECTORS, ZONE_SECTORS + 1):
        assert append(disk, ZONE_SECTORS, data, 20) == (OK, bytes(12) + struct.pack('<Q', wanted)), 'where it went'


@zoned
def disk_zone_commands_to_no_zone(disk):
    for kind in (OPEN, CLOSE, FINISH, RESET):
        for sector in (0, ZONE_SECTORS - 1, ZONE_SECTORS + 1, *NOWHERE):
            expect(disk.request(kind, sector), INVALID, f'command {kind} to {sector:#x}')
    expect(disk.request(CLOSE, ZONE_SECTORS), INVALID, 'an empty zone is closed')
    expect(disk.request(RESET_ALL, (1 << 64) - 1, b'\x99' * SECTOR, SECTOR), OK, 'all are reset, whatever comes along')
    for kind in (17, 19, 21, 23, 25, 27):
        expect(disk.request(kind, ZONE_SECTORS), UNSUPP, f'type {kind}')


@zoned
def disk_zones_opened_beyond_the_limit(disk):
    """Two may be open, and three active."""
    for zone in (1, 2):
        expect(disk.request(OPEN, zone * ZONE_SECTORS), OK, f'zone {zone}')
    for ask in (lambda: disk.request(OPEN, 3 * ZONE_SECTORS), lambda: disk.request(OUT, 3 * ZONE_SECTORS, b'\x99' * SECTOR),
                lambda: append(disk, 3 * ZONE_SECTORS, b'\x99' * SECTOR)[0]):
        expect(ask(), TOO_MANY_OPEN, 'a third open zone')
    disk.fill(ZONE_SECTORS, 0x12)
    expect(disk.request(CLOSE, ZONE_SECTORS), OK, 'a zone is closed')
    expect(disk.request(OPEN, 3 * ZONE_SECTORS), OK, 'a third active one')
    expect(disk.request(OPEN, 4 * ZONE_SECTORS), TOO_MANY_ACTIVE, 'a fourth')


@zoned
def disk_zone_report_in_little_room(disk):
    """Whole descriptors, zeroes behind them, and not a byte more."""
    for room in (0, 1, 63):
        expect(disk.request(REPORT, 0, room=room), INVALID, f'a report in {room} bytes')
    for sector in NOWHERE:
        expect(disk.request(REPORT, sector, room=128), INVALID, f'a report from {sector:#x}')
    for room, zones in ((64, 0), (127, 0), (128, 1), (200, 2), (64 * 40, SECTORS // ZONE_SECTORS)):
        expect(disk.request(REPORT, ZONE_SECTORS // 2, room=room), OK, f'a report in {room} bytes')
        told = disk.memory[ROOM:ROOM + room]
        assert struct.unpack_from('<Q', told)[0] == zones and told[64 + 64 * zones:] == bytes(room - 64 - 64 * zones), f'room of {room}'
    kinds = [told[64 + 64 * zone + 24] for zone in range(SECTORS // ZONE_SECTORS)]
    assert kinds == [1] + [2] * (len(kinds) - 1), f'{kinds}'
