# SPDX-License-Identifier: BSD-3-Clause
"""A vireo-blkd to lie to: a disk for the liar, the same one read-only, and beside them another one whose driver is honest.

The liar is told to be at a vhost-user socket or in front of a VDUSE device; the honest driver is at a socket.
"""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time

from peer import AVAIL, DATA, F_INDIRECT, F_PACKED, GPA, USED, WRITE, patience
from vdpa import VdpaPeer, recent_lines
from vhost_user import VhostUserPeer

IN, OUT, FLUSH, FLUSH_OUT, GET_ID, GET_LIFETIME, DISCARD, WRITE_ZEROES, SECURE_ERASE = 0, 1, 4, 5, 8, 10, 11, 13, 14
OK, IOERR, UNSUPP = 0, 1, 2
F_RO, F_FLUSH, F_CONFIG_WCE, F_MQ, F_DISCARD, F_WRITE_ZEROES = 1 << 5, 1 << 9, 1 << 11, 1 << 12, 1 << 13, 1 << 14
F_LIFETIME, F_SECURE_ERASE = 1 << 15, 1 << 16
FEATURES = F_RO | F_FLUSH | F_CONFIG_WCE | F_MQ | F_DISCARD | F_WRITE_ZEROES | F_INDIRECT
SECTOR = 512
SECTORS = 2048  # of each disk
ZONE_SECTORS = 128  # of the one with zones
RING_SIZE = 64

HEADER, STATUS, PAYLOAD, ROOM, TABLE = DATA, DATA + 0x1000, DATA + 0x10000, DATA + 0x40000, DATA + 0x80000
NONE = 0xFF  # no status yet
UNTOUCHED = 0xEE
GUARD = 64  # bytes behind the room


class Waiting:
    """A driver that waits for each of its chains. Its rings are in self.queues; self.packed says of which format."""

    def comes_back(self, pieces, queue=0):
        """The chain's used length (virtio 1.3, 2.7.8 and 2.8.2)."""
        ring = self.queues[queue]
        before = (ring.next, ring.wrap) if self.packed else ring.used_now()
        ring.chain(pieces)
        end = time.monotonic() + patience(20)
        while not (self.packed_used(ring, *before) if self.packed else ring.used_now() != before):
            assert time.monotonic() < end, 'a chain does not come back'
            time.sleep(0.0005)
        if self.packed:
            return struct.unpack_from('<I', self.memory, ring.desc + 16 * before[0] + 8)[0]
        [(_, length)] = ring.used()
        return length

    def packed_used(self, ring, place, wrap):
        flags, = struct.unpack_from('<H', self.memory, ring.desc + 16 * place + 14)
        return bool(flags & AVAIL) == bool(flags & USED) == bool(wrap)


class Driver(Waiting):
    """With each piece of a request in the test's hands. One request at a time."""

    def begin(self, packed=False, features=FEATURES):
        """With two queues: one to lie in, and one that goes on."""
        self.packed = packed
        self.negotiate(features | (F_PACKED if packed else 0))
        self.share_memory()
        self.queues = [self.ring(i, RING_SIZE, packed) for i in range(2)]
        self.run()

    def header(self, kind, sector=0, reserved=0):
        self.write(HEADER, struct.pack('<IIQ', kind, reserved, sector))
        self.write(STATUS, bytes([NONE]))

    def status_of(self, pieces, room=0, queue=0):
        """Of a chain whose status is at STATUS, behind `room` bytes of data, all of which count as written."""
        length = self.comes_back(pieces, queue)
        assert length == room + 1, f'{length} bytes are said to be written, of {room} and a status'
        return self.memory[STATUS]

    def request(self, kind, sector=0, data=b'', room=0, reserved=0, queue=0):
        """The status of a request as a driver lays it: header, data, room for data, status; nothing behind the room is touched."""
        self.header(kind, sector, reserved)
        self.write(PAYLOAD, data)
        self.write(ROOM, bytes([UNTOUCHED]) * (room + GUARD))
        pieces = [(GPA + HEADER, 16, 0)]
        if data:
            pieces.append((GPA + PAYLOAD, len(data), 0))
        if room:
            pieces.append((GPA + ROOM, room, WRITE))
        status = self.status_of([*pieces, (GPA + STATUS, 1, WRITE)], room, queue)
        assert self.memory[ROOM + room:ROOM + room + GUARD] == bytes([UNTOUCHED]) * GUARD, 'it writes beyond the room'
        return status

    def read(self, sector, count=1, queue=0):
        assert self.request(IN, sector, room=count * SECTOR, queue=queue) == OK, f'sector {sector} is not read'
        return self.memory[ROOM:ROOM + count * SECTOR]

    def fill(self, sector, byte, count=1, queue=0):
        data = bytes([byte]) * (count * SECTOR)
        assert self.request(OUT, sector, data, queue=queue) == OK, f'sector {sector} is not written'
        return data

    def goes_on(self, byte=0x5A, queue=1):
        """This session: what is written is read, where it may write."""
        if self.features & F_RO:
            self.read(SECTORS - 1, queue=queue)
            return
        data = self.fill(SECTORS - 1, byte, queue=queue)
        assert self.read(SECTORS - 1, queue=queue) == data, 'what is read is not what was written'
        assert self.request(FLUSH, queue=queue) == OK


class DiskPeer(Driver, VhostUserPeer):
    def goes_on_after_a_break(self):
        """The queue that was lied in is lost, and the other one is not."""
        self.goes_on(queue=1)


class VduseDisk(Driver, VdpaPeer):

    def goes_on_after_a_break(self):
        """The device stands still until its driver resets it."""
        self.reset()
        self.begin(self.packed)
        self.goes_on(queue=1)


class VduseLies(VduseDisk):
    DEVICE = 'lies'


class VduseFixed(VduseDisk):
    DEVICE = 'fixed'


class Exported:
    """What VdpaPeer asks of a daemon, of an export of vireo-blkd."""

    def __init__(self, disks, name):
        self.disks, self.name, self.folder = disks, name, disks.folder

    def breaks(self):
        return len(re.findall(rf'{self.name}: (?:broken: |queue \d+ stands still)', self.disks.text()))

    def recent_lines(self, seconds):
        return recent_lines(self.disks.text(), seconds)

    def port(self, name):
        export = next(export for export in self.disks.stats()['exports'] if export['name'] == name)
        return {'queue_counters': [{'running': queue['worker'] is not None} for queue in export['queue_counters']]}


class Disks:
    """The daemon. After each lie it lives, and the honest driver's session goes on, which is one and the same all the time."""

    def __init__(self, build, folder, transport):
        self.folder, self.honest, self.rounds, self.vduse = folder, None, 0, transport.NAME == VdpaPeer.NAME
        argv = [f'{build}/apps/vireo-blkd/vireo-blkd', '--control', self.control_path()]
        for disk in ('lies', 'honest'):
            argv += ['--disk', f'{disk}=mem:{SECTORS * SECTOR}', '--export', f'{self.at(disk)},disk={disk}']
        argv += ['--export', f'{self.at("fixed")},disk=lies,read-only=on']
        zones = f'zone-size={ZONE_SECTORS * SECTOR},zone-conventional=1,zone-max-open=2,zone-max-active=3'
        argv += ['--disk', f'zoned=mem:{SECTORS * SECTOR},{zones}', '--export', f'{self.at("zoned")},disk=zoned']
        argv += ['--disk', f'erased=null:{SECTORS * SECTOR}', '--export', f'{self.at("erased")},disk=erased,lifetime=2/3/11']
        with open(os.path.join(folder, 'blkd.log'), 'w') as log:
            self.process = subprocess.Popen(argv, stderr=log, env=dict(os.environ, ASAN_OPTIONS='detect_leaks=1'))
        try:
            self.honest = self.connect('honest')
            self.honest.begin()
            self.check()
        except BaseException:
            self.kill()
            raise

    def path(self, name):
        return os.path.join(self.folder, f'disk-{name}.sock')

    def control_path(self):
        return os.path.join(self.folder, 'blkd-control.sock')

    def over_vduse(self, name):
        return self.vduse and name not in ('honest', 'zoned', 'erased')

    def at(self, name):
        """Where an export is, and how."""
        if self.over_vduse(name):
            return f'vduse:{name},attach=vhost,queues=2,packed=on'
        return f'vhost-user:{self.path(name)}' + ('' if name == 'fixed' else ',inband=on')

    def connect(self, name):
        if not self.over_vduse(name):
            return DiskPeer(self.path(name), 20)
        peer, end = {'lies': VduseLies, 'fixed': VduseFixed}[name], time.monotonic() + patience(20)
        while not os.path.exists(peer.path(self.folder)):
            assert self.alive() and time.monotonic() < end, f'the device {name} does not come\n{self.tail()}'
            time.sleep(0.01)
        return peer.at(Exported(self, name))

    def stats(self):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(patience(10))
            control.connect(self.control_path())
            with control.makefile('rw') as lines:
                lines.write(json.dumps({'jsonrpc': '2.0', 'method': 'stats', 'id': 1}) + '\n')
                lines.flush()
                return json.loads(lines.readline())['result']

    def text(self):
        with open(os.path.join(self.folder, 'blkd.log'), errors='replace') as log:
            return log.read()

    def alive(self):
        return self.process.poll() is None

    def check(self):
        assert self.alive(), f'vireo-blkd has ended with {self.process.returncode}\n{self.tail()}'
        self.rounds += 1
        self.honest.goes_on(self.rounds % 251)

    def tail(self):
        return '\n'.join(self.text().splitlines()[-40:])

    def finish(self):
        self.honest.close()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(patience(20))
        assert status == 0, f'vireo-blkd: exit {status}\n{self.tail()}'

    def kill(self):
        if self.honest:
            self.honest.close()
        if self.alive():
            self.process.kill()
            self.process.wait()
