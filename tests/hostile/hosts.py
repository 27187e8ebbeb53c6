# SPDX-License-Identifier: BSD-3-Clause
"""A vireo-scsid to lie to: a SCSI host for the liar, and beside it another one whose driver is honest.

The liar is told to be at a vhost-user socket or at a node that speaks vhost-scsi's ioctls (CUSE); the honest driver is at a socket.
"""
import dataclasses
import os
import signal
import struct
import subprocess
import time

from cuse import CusePeer
from disks import HEADER, PAYLOAD, ROOM, SECTOR, SECTORS, STATUS, Waiting
from ioctls import SCSI_CLEAR_ENDPOINT, SCSI_SET_ENDPOINT
from peer import F_INDIRECT, F_PACKED, GPA, WRITE, patience
from vhost_user import VhostUserPeer

CONTROL, EVENTS, REQUESTS = 0, 1, 2
F_INOUT, F_HOTPLUG, F_CHANGE, F_T10_PI = 1 << 0, 1 << 1, 1 << 2, 1 << 3
FEATURES = F_HOTPLUG | F_CHANGE | F_INDIRECT
RING_SIZE = 64
HEAD_BYTES, RESPONSE_BYTES = 51, 108

OK, OVERRUN, ABORTED, BAD_TARGET, RESET, BUSY, FAILURE = 0, 1, 2, 3, 4, 5, 9
COMPLETE, SUCCEEDED, REJECTED, INCORRECT_LUN = 0, 10, 11, 12
GOOD, CHECK_CONDITION = 0, 2
ILLEGAL_REQUEST, UNIT_ATTENTION = 5, 6
READ_10, WRITE_10, SYNC_10, READ_16, WRITE_16, UNMAP, START_STOP = 0x28, 0x2A, 0x35, 0x88, 0x8A, 0x42, 0x1B
UNTOUCHED = 0xEE
GUARD = 64  # bytes behind the room


@dataclasses.dataclass(frozen=True)
class Answer:
    response: int
    status: int
    residual: int
    sense: tuple  # key, code and qualifier; or ()

    @classmethod
    def of(cls, data):
        length, residual, _, status, response = struct.unpack_from('<IIHBB', data)
        assert length <= 96, f'{length} bytes of sense data'
        sense = data[12:12 + length]
        assert not any(data[12 + length:]), 'behind the sense data'
        if not sense:
            return cls(response, status, residual, ())
        fixed = sense[0] & 0x7F in (0x70, 0x71)
        return cls(response, status, residual, (sense[2] & 15, sense[12], sense[13]) if fixed else (sense[1] & 15, sense[2], sense[3]))


def address(target=0, lun=0):
    return bytes([1, target, 0x40 | lun >> 8, lun & 0xFF, 0, 0, 0, 0])


def rw(opcode, block, count):
    """A CDB of READ or WRITE, of 10 or of 16 bytes."""
    if opcode in (READ_10, WRITE_10):
        return struct.pack('>BBIBHB', opcode, 0, block, 0, count, 0)
    return struct.pack('>BBQIBB', opcode, 0, block, count, 0, 0)


class Driver(Waiting):
    """With each piece of a request in the test's hands. One request at a time."""

    def begin(self, packed=False, features=FEATURES):
        """With two request queues: one to lie in, and one that goes on."""
        self.packed = packed
        self.negotiate(features | (F_PACKED if packed else 0))
        self.share_memory()
        self.queues = [self.ring(i, RING_SIZE, packed) for i in range(REQUESTS + 2)]
        self.run()

    def head(self, cdb, lun=address(), tag=1, attribute=0):
        self.write(HEADER, lun + struct.pack('<QBBB', tag, attribute, 0, 0) + cdb.ljust(32, b'\0'))
        self.write(STATUS, bytes([UNTOUCHED]) * (RESPONSE_BYTES + GUARD))

    def answer(self, pieces, queue=REQUESTS):
        """Of a chain whose response is at STATUS; and how many bytes are said to be written."""
        length = self.comes_back(pieces, queue)
        assert self.memory[STATUS + RESPONSE_BYTES:STATUS + RESPONSE_BYTES + GUARD] == bytes([UNTOUCHED]) * GUARD, 'it writes beyond the response'
        return Answer.of(self.memory[STATUS:STATUS + RESPONSE_BYTES]), length

    def command(self, cdb, data=b'', room=0, queue=REQUESTS, **head):
        """As a driver lays it: header, data, response, room for data; nothing behind the room is touched."""
        self.head(cdb, **head)
        self.write(PAYLOAD, data)
        self.write(ROOM, bytes([UNTOUCHED]) * (room + GUARD))
        pieces = [(GPA + HEADER, HEAD_BYTES, 0)]
        if data:
            pieces.append((GPA + PAYLOAD, len(data), 0))
        pieces.append((GPA + STATUS, RESPONSE_BYTES, WRITE))
        if room:
            pieces.append((GPA + ROOM, room, WRITE))
        answer, length = self.answer(pieces, queue)
        assert self.memory[ROOM + room:ROOM + room + GUARD] == bytes([UNTOUCHED]) * GUARD, 'it writes beyond the room'
        assert length in (RESPONSE_BYTES, RESPONSE_BYTES + max(0, room - answer.residual)), f'{length} bytes are said to be written: {answer}'
        return answer

    def good(self, cdb, data=b'', room=0, queue=REQUESTS):
        """Unit attentions are looked away from: there are some after each connection, and each reset."""
        for _ in range(8):
            answer = self.command(cdb, data, room, queue)
            if not answer.sense or answer.sense[0] != UNIT_ATTENTION:
                break
        assert answer == Answer(OK, GOOD, 0, ()), f'{cdb.hex()}: {answer}'

    def read(self, block, count=1, queue=REQUESTS):
        self.good(rw(READ_10, block, count), room=count * SECTOR, queue=queue)
        return self.memory[ROOM:ROOM + count * SECTOR]

    def fill(self, block, byte, count=1, queue=REQUESTS):
        data = bytes([byte]) * (count * SECTOR)
        self.good(rw(WRITE_10, block, count), data, queue=queue)
        return data

    def control(self, request, room=1):
        """What is written for a request of the control queue, and nothing behind it."""
        self.write(HEADER, request)
        self.write(STATUS, bytes([UNTOUCHED]) * (room + GUARD))
        pieces = ([(GPA + HEADER, len(request), 0)] if request else []) + ([(GPA + STATUS, room, WRITE)] if room else [])
        length = self.comes_back(pieces, CONTROL)
        assert self.memory[STATUS + length:STATUS + room + GUARD] == bytes([UNTOUCHED]) * (room - length + GUARD), 'it writes more than it says'
        return self.memory[STATUS:STATUS + length]

    def manage(self, function, lun=address(), tag=0):
        answer = self.control(struct.pack('<II8sQ', 0, function, lun, tag))
        assert len(answer) == 1, f'function {function}: {answer}'
        return answer[0]

    def goes_on(self, byte=0x5A, queue=REQUESTS + 1):
        """This session: what is written is read."""
        data = self.fill(SECTORS - 1, byte, queue=queue)
        assert self.read(SECTORS - 1, queue=queue) == data, 'what is read is not what was written'
        self.good(bytes([SYNC_10]) + bytes(9), queue=queue)


class HostPeer(Driver, VhostUserPeer):
    pass


class CuseHost(Driver, CusePeer):
    """At a node that is a target: its rings begin together."""
    WWPN = 'naa.5001405bd453b1d7'

    @staticmethod
    def path(folder):
        return '/dev/hostile-scsi'

    def endpoint(self, request=SCSI_SET_ENDPOINT, name=WWPN.encode(), reserved=0, tpgt=0):
        self.do(request, 0, name, tpgt, reserved, layout='=i224sHH')

    def ring_enable(self, index):
        """With all others: see run()."""

    def run(self):
        self.endpoint()

    def stop(self):
        self.endpoint(SCSI_CLEAR_ENDPOINT)


class Hosts:
    """The daemon. After each lie it lives, and the honest driver's session goes on, which is one and the same all the time."""

    def __init__(self, build, folder, transport):
        self.folder, self.honest, self.rounds, self.cuse = folder, None, 0, transport.NAME == CusePeer.NAME
        argv = [f'{build}/apps/vireo-scsid/vireo-scsid', '--control', os.path.join(folder, 'scsid-control.sock')]
        for host in ('lies', 'honest'):
            argv += ['--disk', f'{host}=mem:{SECTORS * SECTOR}', '--export', f'{self.at(host)},name={host}', '--lun', f'{host}/0:0={host}']
        with open(os.path.join(folder, 'scsid.log'), 'w') as log:
            self.process = subprocess.Popen(argv, stderr=log, env=dict(os.environ, ASAN_OPTIONS='detect_leaks=1'))
        try:
            self.honest = self.connect('honest')
            self.honest.begin()
            self.check()
        except BaseException:
            self.kill()
            raise

    def path(self, name):
        return os.path.join(self.folder, f'host-{name}')

    def over_cuse(self, name):
        return self.cuse and name != 'honest'

    def at(self, name):
        """Where an export is, and how."""
        if self.over_cuse(name):
            return f'cuse:{os.path.basename(CuseHost.path(self.folder))},wwpn={CuseHost.WWPN}'
        return f'vhost-user:{self.path(name)}'

    def connect(self, name):
        if not self.over_cuse(name):
            return HostPeer(self.path(name), 20)
        end = time.monotonic() + patience(20)
        while not os.path.exists(CuseHost.path(self.folder)):
            assert self.alive() and time.monotonic() < end, f'the node does not come\n{self.tail()}'
            time.sleep(0.01)
        return CuseHost(CuseHost.path(self.folder))

    def alive(self):
        return self.process.poll() is None

    def check(self):
        assert self.alive(), f'vireo-scsid has ended with {self.process.returncode}\n{self.tail()}'
        self.rounds += 1
        self.honest.goes_on(self.rounds % 251)

    def tail(self):
        with open(os.path.join(self.folder, 'scsid.log'), errors='replace') as log:
            return ''.join(log.readlines()[-40:])

    def finish(self):
        self.honest.close()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(patience(20))
        assert status == 0, f'vireo-scsid: exit {status}\n{self.tail()}'

    def kill(self):
        if self.honest:
            self.honest.close()
        if self.alive():
            self.process.kill()
            self.process.wait()
