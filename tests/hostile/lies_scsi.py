# SPDX-License-Identifier: BSD-3-Clause
"""Lies to a SCSI host: each is answered as the specification says, and costs nothing but itself (virtio 1.3, 5.6.6).

Where the specification leaves a case open, the response is the one that docs/scsi-host.md says.
"""
import functools
import struct

from bench import Skipped, lie
from disks import HEADER, PAYLOAD, ROOM, SECTOR, SECTORS, STATUS
from hosts import *
from ioctls import NET_SET_BACKEND, SCSI_CLEAR_ENDPOINT, SCSI_GET_ABI_VERSION, SCSI_GET_EVENTS_MISSED, SCSI_SET_EVENTS_MISSED
from lies_blk import pieces_of
from peer import GPA, NEXT, NO, WRITE
from vhost_user import GET_CONFIG, SET_CONFIG

ONLY_OVER = (('vhost-user', 'cuse'), 'the kernel takes no SCSI host over VDUSE')
HAS_CONFIG = ('vhost-user', 'a vhost device has no config space: its front end has it')
IS_A_TARGET = ('cuse', 'a vhost-user device has no name to be asked for by')
NO_OPCODE, NO_BLOCK, BAD_FIELD, NO_LUN, BAD_LIST = (0x20, 0), (0x21, 0), (0x24, 0), (0x25, 0), (0x26, 0)


def told(function, only=None):
    """In both ring formats; then this session's other queue goes on, and the honest one's does. `only`: over this transport, and why."""
    @lie
    @functools.wraps(function)
    def teller(daemon):
        if only and daemon.transport.NAME != only[0]:
            raise Skipped(only[1])
        hosts = daemon.hosts()
        for packed in (False, True):
            with hosts.connect('lies') as host:
                host.begin(packed)
                host.goes_on()
                function(host)
                host.goes_on()
            hosts.check()
    return teller


def refused(answer, code, what):
    assert (answer.response, answer.status, answer.sense) == (OK, CHECK_CONDITION, (ILLEGAL_REQUEST, *code)), f'{what}: {answer}'


def expect(answer, response, what):
    assert answer.response == response, f'{what}: {answer} instead of {response}'


# ---- what a request is ----

@told
def scsi_header_in_pieces(host):
    """The layout is the driver's affair (2.7.4.3), and an empty piece is one."""
    wanted = host.fill(7, 0x77)
    for lengths in ([1] * 51, [50, 1], [1, 50], [0, 51], [19, 32], [8, 8, 3, 0, 32], [51, 0]):
        host.head(rw(READ_10, 7, 1))
        host.write(ROOM, bytes(SECTOR))
        room = [(GPA + STATUS, 12, WRITE), (GPA + STATUS + 12, 96, WRITE), (GPA + ROOM, 0, WRITE), *pieces_of(ROOM, 100, SECTOR - 100, flags=WRITE)]
        answer, length = host.answer([*pieces_of(HEADER, *lengths), *room])
        assert (answer, length) == (Answer(OK, GOOD, 0, ()), RESPONSE_BYTES + SECTOR), f'a header of {lengths}: {answer}'
        assert host.memory[ROOM:ROOM + SECTOR] == wanted


@told
def scsi_header_in_one_piece_with_the_data(host):
    host.head(rw(WRITE_10, 8, 1))
    host.write(HEADER + HEAD_BYTES, b'\x78' * SECTOR)
    answer, _ = host.answer([(GPA + HEADER, HEAD_BYTES + SECTOR, 0), (GPA + STATUS, RESPONSE_BYTES, WRITE)])
    expect(answer, OK, 'header and data')
    assert host.read(8) == b'\x78' * SECTOR


@told
def scsi_header_too_short(host):
    for lengths in ([], [1], [8], [19], [50], [20, 30], [0]):
        host.head(rw(READ_10, 0, 1))
        answer, _ = host.answer([*pieces_of(HEADER, *lengths), (GPA + STATUS, RESPONSE_BYTES, WRITE)])
        expect(answer, FAILURE, f'a header of {lengths}')


@told
def scsi_request_without_room_for_sense_data(host):
    for room in (12, 13, 60, RESPONSE_BYTES - 1):
        host.head(rw(READ_10, 0, 1))
        length = host.comes_back([(GPA + HEADER, HEAD_BYTES, 0), (GPA + STATUS, room, WRITE)], REQUESTS)
        assert length == room and host.memory[STATUS + 11] == FAILURE, f'{room} bytes: {length}'
        assert host.memory[STATUS + room] == UNTOUCHED


@told
def scsi_request_without_room_for_a_response(host):
    for room in (0, 1, 8, 11):
        host.head(rw(READ_10, 0, 1))
        pieces = [(GPA + HEADER, HEAD_BYTES, 0)] + ([(GPA + STATUS, room, WRITE)] if room else [])
        assert host.comes_back(pieces, REQUESTS) == 0, f'{room} bytes'
        assert host.memory[STATUS:STATUS + 12] == bytes([UNTOUCHED]) * 12


@told
def scsi_data_both_ways(host):
    """INOUT was not agreed on."""
    before = host.fill(3, 0x33)
    for cdb in (rw(READ_10, 3, 1), rw(WRITE_10, 3, 1)):
        expect(host.command(cdb, b'\x99' * SECTOR, SECTOR), FAILURE, cdb.hex())
    assert host.read(3) == before


# ---- where to ----

@told
def scsi_addresses_of_no_format(host):
    for lun in (bytes(8), b'\x02' + bytes(7), b'\xff' * 8, address()[:4] + b'\0\1\0\0', address()[:7] + b'\x80', b'\xc1\x02' + bytes(6)):
        expect(host.command(bytes(6), lun=lun), BAD_TARGET, lun.hex())


@told
def scsi_units_that_are_not_there(host):
    """INQUIRY and REPORT LUNS answer, too; all else says that there is none."""
    expect(host.command(bytes(6), lun=address(1)), BAD_TARGET, 'another target')
    expect(host.command(bytes(6), lun=address(255, 16383)), BAD_TARGET, 'the last target')
    for lun in (1, 255, 256, 16383):
        refused(host.command(bytes(6), lun=address(0, lun)), NO_LUN, f'LUN {lun}')
    refused(host.command(bytes(6), lun=bytes([1, 0, 0xC2, 0]) + bytes(4)), NO_LUN, 'an extended address of no length')
    answer = host.command(bytes([0x12, 0, 0, 0, 36, 0]), room=36, lun=address(0, 5))
    assert answer.status == GOOD and host.memory[ROOM] == 0x7F, f'{answer}: {host.memory[ROOM]:#x}'


# ---- what to do ----

@told
def scsi_opcodes_that_are_not_there(host):
    """And those that are, with nothing else in the CDB: each is answered."""
    for opcode in range(256):
        answer = host.command(bytes([opcode]) + bytes(31), room=SECTOR)
        assert answer.response in (OK, OVERRUN), f'{opcode:#x}: {answer}'
    host.good(bytes([START_STOP, 0, 0, 0, 1, 0]))  # with zeroes it stops the unit
    for opcode in (0x02, 0x1F, 0x60, 0xC0, 0xFF):
        refused(host.command(bytes([opcode]) + bytes(31)), NO_OPCODE, f'{opcode:#x}')


@told
def scsi_fields_that_are_reserved(host):
    before = host.fill(3, 0x33)
    for at in range(1, 10):
        answer = host.command(bytes(b ^ (0xFF if i == at else 0) for i, b in enumerate(rw(WRITE_10, 3, 1))), b'\x99' * SECTOR)
        if at in (1, 6, 9):
            refused(answer, BAD_FIELD, f'byte {at}')
    host.fill(3, 0x33)
    assert host.read(3) == before


@told
def scsi_blocks_that_are_not_there(host):
    """As bytes, some of these are 0, or -512."""
    before = host.fill(0, 0x11), host.fill(SECTORS - 2, 0x22)
    for block, count in ((SECTORS, 1), (SECTORS - 1, 2), ((1 << 32) - 1, 1)):
        refused(host.command(rw(READ_10, block, count), room=count * SECTOR), NO_BLOCK, f'read of {count} from {block:#x}')
        refused(host.command(rw(WRITE_10, block, count), b'\x99' * count * SECTOR), NO_BLOCK, f'write of {count} to {block:#x}')
    for block, count in ((1 << 32, 1), (1 << 55, 1), ((1 << 55) - 1, 2), (1 << 63, 1), ((1 << 64) - 1, 1), ((1 << 64) - 1, 2), ((1 << 64) - 2, 3)):
        refused(host.command(rw(READ_16, block, count), room=count * SECTOR), NO_BLOCK, f'read of {count} from {block:#x}')
        refused(host.command(rw(WRITE_16, block, count), b'\x99' * count * SECTOR), NO_BLOCK, f'write of {count} to {block:#x}')
    assert (host.read(0), host.read(SECTORS - 2)) == before


@told
def scsi_lengths_that_the_buffers_do_not_have(host):
    before = host.fill(10, 0x44, 8)
    for room in (0, 1, SECTOR, 8 * SECTOR - 1):
        expect(host.command(rw(READ_10, 10, 8), room=room), OVERRUN, f'a read of 8 blocks into {room} bytes')
        expect(host.command(rw(WRITE_10, 10, 8), b'\x44' * room), OVERRUN, f'a write of 8 blocks from {room} bytes')
    answer = host.command(rw(READ_10, 10, 1), room=3 * SECTOR)
    assert answer == Answer(OK, GOOD, 2 * SECTOR, ()), f'{answer}'
    answer = host.command(rw(WRITE_10, 10, 1), b'\x44' * 3 * SECTOR)
    assert answer == Answer(OK, GOOD, 2 * SECTOR, ()), f'{answer}'
    expect(host.command(rw(WRITE_10, 10, 1), room=SECTOR), OVERRUN, 'a write with room')
    expect(host.command(rw(READ_10, 10, 1), b'\x99' * SECTOR), OVERRUN, 'a read with data')
    assert host.read(10, 8) == before


@told
def scsi_unmap_lists_that_lie(host):
    """Lengths that disagree with each other, with the CDB and with the data."""
    before = host.fill(20, 0x66, 4)
    for outer, inner, said, sent in ((6, 16, 24, 24), (22, 65535, 24, 24), (65535, 65535, 65535, 24), (22, 16, 65535, 24), (22, 16, 7, 24), (22, 16, 24, 8)):
        data = (struct.pack('>HHI', outer, inner, 0) + struct.pack('>QII', SECTORS, 1, 0))[:sent]
        answer = host.command(struct.pack('>BBIBHB', UNMAP, 0, 0, 0, said, 0), data)
        assert answer.response in (OK, OVERRUN), f'{outer} {inner} {said} {sent}: {answer}'
        assert answer.status == GOOD or answer.sense[0] == ILLEGAL_REQUEST, f'{outer} {inner} {said} {sent}: {answer}'
    refused(host.command(struct.pack('>BBIBHB', UNMAP, 0, 0, 0, 24, 0), struct.pack('>HHIQII', 22, 16, 0, (1 << 64) - 1, 2, 0)), NO_BLOCK, 'beyond the end')
    assert host.read(20, 4) == before


# ---- rings ----

@lie
def scsi_ring_that_is_broken(daemon):
    """That of task management, or one of requests, in a session in which each has carried something: it costs the device, which is lost to
    its driver and to nobody else; and the next driver of that device finds it whole.

    Split: a chain comes back to its beginning. Packed: each descriptor says that another follows."""
    hosts = daemon.hosts()
    for packed, index in ((False, CONTROL), (True, REQUESTS)):
        with hosts.connect('lies') as host:
            host.begin(packed)
            host.goes_on(queue=REQUESTS)
            host.manage(6, tag=12345)
            ring = host.queues[index]
            if packed:
                ring.chain([(GPA + HEADER, 1, NEXT)] * RING_SIZE)
            else:
                for i in range(RING_SIZE):
                    ring.descriptor(i, GPA + HEADER, 1, NEXT, (i + 1) % RING_SIZE)
                ring.offer(0)
                ring.ring_kick()
            assert host.hung_up(20), f'ring {index} was taken as it is'
        hosts.check()


# ---- the control queue ----

@told
def scsi_functions_for_what_is_not_there(host):
    for function in range(8):
        assert host.manage(function, address(3)) == BAD_TARGET, f'function {function} of no target'
        assert host.manage(function, b'\x07' + bytes(7)) == BAD_TARGET, f'function {function} of no address'
        if function != 4:
            assert host.manage(function, address(0, 9)) == (REJECTED if function == 2 else INCORRECT_LUN), f'function {function} of no LUN'
    for function in (8, 255, 0xFFFFFFFF):
        assert host.manage(function) == REJECTED, f'function {function}'
    assert host.manage(0, tag=12345) == COMPLETE  # nothing is aborted
    assert host.manage(6, tag=12345) == COMPLETE  # there is none


@told
def scsi_control_requests_that_are_none(host):
    tmf = struct.pack('<II8sQ', 0, 5, address(), 0)
    for size in range(len(tmf)):
        assert host.control(tmf[:size]) == bytes([FAILURE]), f'{size} bytes'
    assert host.control(tmf, 0) == b''
    for kind in (3, 255, 0xFFFFFFFF):
        assert host.control(struct.pack('<I', kind), 8) == bytes(7) + bytes([FAILURE])
        assert host.control(struct.pack('<I', kind), 4096) == b''
    for kind in (1, 2):
        an = struct.pack('<I8sI', kind, address(), 0xFFFFFFFF)
        assert host.control(an, 5) == bytes(5)
        assert host.control(an[:15], 5) == bytes(4) + bytes([FAILURE])
        for room in range(5):
            assert host.control(an, room) == b''


@told
def scsi_functions_again_and_again(host):
    for _ in range(200):
        for function in (1, 3, 4, 5, 7):
            assert host.manage(function) in (COMPLETE, SUCCEEDED), f'function {function}'


# ---- config space ----

@functools.partial(told, only=HAS_CONFIG)
def scsi_sizes_that_lie(host):
    """What is refused changes nothing: the next commands are laid as before."""
    for offset, size in ((20, 4097), (20, 0xFFFFFFFF), (24, 0), (24, 261), (24, 0xFFFFFFFF), (0, 7), (32, 1)):
        assert host.ack(SET_CONFIG, struct.pack('=III', offset, 4, 0) + struct.pack('<I', size)), f'{size} at {offset} was taken'
        host.goes_on(queue=REQUESTS)
    said = host.ask(GET_CONFIG, struct.pack('<III', 0, 36, 0) + bytes(36))[12:]
    assert struct.unpack_from('<2I', said, 20) == (96, 32), f'{said.hex()}'


@functools.partial(told, only=HAS_CONFIG)
def scsi_sizes_that_are_other_ones(host):
    """And honoured."""
    wanted = host.fill(1, 0x21)
    assert not host.ack(SET_CONFIG, struct.pack('=III', 20, 8, 0) + struct.pack('<II', 18, 16))
    host.write(HEADER, address() + struct.pack('<QBBB', 1, 0, 0, 0) + rw(READ_10, 1, 1).ljust(16, b'\0'))
    pieces = [(GPA + HEADER, 35, 0), (GPA + STATUS, 30, WRITE), (GPA + ROOM, SECTOR, WRITE)]
    assert host.comes_back(pieces, REQUESTS) == 30 + SECTOR
    assert host.memory[STATUS + 10:STATUS + 12] == b'\0\0' and host.memory[ROOM:ROOM + SECTOR] == wanted
    assert not host.ack(SET_CONFIG, struct.pack('=III', 20, 8, 0) + struct.pack('<II', 96, 32))


@functools.partial(told, only=HAS_CONFIG)
def scsi_cdbs_of_every_length(host):
    """As the driver has it by cdb_size: what is cut off is refused, and what follows a CDB is of no meaning."""
    wanted = host.fill(4, 0x44)
    for size in (*range(1, 34), 64, 259, 260):
        assert not host.ack(SET_CONFIG, struct.pack('=III', 24, 4, 0) + struct.pack('<I', size))
        for cdb in (rw(READ_10, 4, 1), rw(READ_16, 4, 1)):
            host.write(HEADER, address() + struct.pack('<QBBB', 1, 0, 0, 0) + cdb.ljust(size, b'\xff')[:size])
            host.write(STATUS, bytes([UNTOUCHED]) * (RESPONSE_BYTES + GUARD))
            answer, _ = host.answer([(GPA + HEADER, 19 + size, 0), (GPA + STATUS, RESPONSE_BYTES, WRITE), (GPA + ROOM, SECTOR, WRITE)])
            if size < len(cdb):
                refused(answer, BAD_FIELD, f'{cdb.hex()} cut to {size} bytes')
            else:
                assert answer == Answer(OK, GOOD, 0, ()) and host.memory[ROOM:ROOM + SECTOR] == wanted, f'{cdb.hex()} in {size} bytes: {answer}'
    assert not host.ack(SET_CONFIG, struct.pack('=III', 24, 4, 0) + struct.pack('<I', 32))


# ---- a node of vhost-scsi's (CUSE) ----

@functools.partial(told, only=IS_A_TARGET)
def scsi_endpoint_that_lies(host):
    """Who names another target, names it twice or says more than there is to say changes nothing: the rings run on, and can end."""
    def no(verb, *words, **names):
        try:
            verb(*words, **names)
        except NO:
            return
        raise AssertionError(f'{words} {names} was taken')
    no(host.endpoint)
    no(host.endpoint, reserved=1)
    for name in (b'', b'naa.5001405bd453b1d8', host.WWPN.encode() + b'7', host.WWPN[:-1].encode(), b'n' * 224):
        no(host.endpoint, name=name)
        no(host.endpoint, SCSI_CLEAR_ENDPOINT, name=name)
    no(host.endpoint, SCSI_CLEAR_ENDPOINT, reserved=0xffff)
    for index in (0, REQUESTS, REQUESTS + 60):
        no(host.ring_num, index, RING_SIZE)
        no(host.do, NET_SET_BACKEND, index, -1, layout='=Ii')
    host.goes_on(queue=REQUESTS)
    host.stop()
    for name in (b'naa.5001405bd453b1d8', b'n' * 224):
        no(host.endpoint, name=name)
    host.stop()
    host.endpoint(tpgt=0xffff)
    host.goes_on(queue=REQUESTS)


@functools.partial(told, only=IS_A_TARGET)
def scsi_events_that_were_missed(host):
    """Whatever is said of them, it is a flag; and a buffer that comes is told of it once."""
    assert struct.unpack('=i', host.do(SCSI_GET_ABI_VERSION, 0, layout='=i')) == (1,)
    for said in (1, 0xffffffff, 0):
        host.do(SCSI_SET_EVENTS_MISSED, said, layout='=I')
        assert struct.unpack('=I', host.do(SCSI_GET_EVENTS_MISSED, 7, layout='=I')) == (bool(said),)
    host.do(SCSI_SET_EVENTS_MISSED, 1, layout='=I')
    host.write(ROOM, bytes([UNTOUCHED]) * 32)
    assert host.comes_back([(GPA + ROOM, 16, WRITE)], EVENTS) == 16
    assert host.memory[ROOM:ROOM + 32] == struct.pack('<I', 1 << 31) + bytes(12) + bytes([UNTOUCHED]) * 16
    assert struct.unpack('=I', host.do(SCSI_GET_EVENTS_MISSED, 7, layout='=I')) == (0,)
