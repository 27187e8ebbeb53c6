# SPDX-License-Identifier: BSD-3-Clause
"""The hostile peer in front of a VDUSE device: a driver on /dev/vhost-vdpa-N, in raw ioctls.

Rings and frames are the same lies as over vhost-user. Nobody hangs up here: a device that has been lied to is silent until
it is reset, and the daemon's log says why.
"""
import ctypes
import fcntl
import glob
import mmap
import os
import struct
import time

from peer import F_VERSION_1, GPA, MEMORY_BYTES, Closed, PackedRing, Peer, SplitRing

F_ACCESS_PLATFORM = 1 << 33
MSG_V2, UPDATE, READ_WRITE = 2, 2, 3
BACKEND_MSG_V2 = 1 << 1


def _ioctl(direction, number, size):
    return direction << 30 | size << 16 | 0xAF << 8 | number


GET_FEATURES, SET_FEATURES, SET_OWNER = _ioctl(2, 0x00, 8), _ioctl(1, 0x00, 8), _ioctl(0, 0x01, 0)
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = _ioctl(1, 0x10, 8), _ioctl(1, 0x11, 40), _ioctl(1, 0x12, 8)
GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL = _ioctl(3, 0x12, 8), _ioctl(1, 0x20, 8), _ioctl(1, 0x21, 8)
SET_BACKEND_FEATURES = _ioctl(1, 0x25, 8)
SET_STATUS, SET_VRING_ENABLE = _ioctl(1, 0x72, 1), _ioctl(1, 0x75, 8)


class VdpaPeer(Peer):
    def __init__(self, daemon):  # pylint: disable=super-init-not-called
        self.daemon, self.fds, self.memory, self.memfd, self.rings, self.features = daemon, [], None, -1, {}, 0
        self.broken = daemon.breaks()
        self.vdpa = self._open()
        self.do(SET_OWNER)
        self.status(0)

    @staticmethod
    def _open():
        """One opener at a time, and the last one may be on its way out."""
        end = time.monotonic() + 10
        while True:
            try:
                return os.open(glob.glob('/dev/vhost-vdpa-*')[0], os.O_RDWR | os.O_CLOEXEC)
            except (IndexError, OSError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def close(self):
        os.close(self.vdpa)
        if self.memory is not None:
            self.memory.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def do(self, request, *words, layout='=Q'):
        return fcntl.ioctl(self.vdpa, request, struct.pack(layout, *words) if words else 0)

    def status(self, value):
        self.do(SET_STATUS, value, layout='=B')

    def hung_up(self, timeout=10.0):
        end = time.monotonic() + timeout
        while self.daemon.breaks() == self.broken:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def settle(self):
        self.do(GET_VRING_BASE, 0, 0, layout='=II')
        if self.daemon.breaks() != self.broken:
            raise Closed()

    def negotiate(self, features=0, protocol=0):
        offered = struct.unpack('=Q', self.do(GET_FEATURES, 0))[0]
        self.features = (features | F_VERSION_1 | F_ACCESS_PLATFORM) & offered
        self.do(SET_BACKEND_FEATURES, BACKEND_MSG_V2)
        self.status(3)
        self.do(SET_FEATURES, self.features)
        self.status(11)
        return self

    def share_memory(self, size=MEMORY_BYTES):
        self.memfd = self.keep(os.memfd_create('lies'))
        os.ftruncate(self.memfd, size)
        self.memory = mmap.mmap(self.memfd, size)
        view = ctypes.c_char.from_buffer(self.memory)
        address = ctypes.addressof(view)
        del view  # it would keep the memory from being closed
        os.write(self.vdpa, struct.pack('=IIQQQBB', MSG_V2, 0, GPA, size, address, READ_WRITE, UPDATE).ljust(72, b'\0'))
        return self

    def ring(self, index, size=256, packed=False, **lies):
        ring = (PackedRing if packed else SplitRing)(self, index, size)
        self.rings[index] = ring
        self.do(SET_VRING_NUM, index, lies.get('num', size), layout='=II')
        self.do(SET_VRING_ADDR, index, 0, GPA + lies.get('desc', ring.desc), GPA + lies.get('used', ring.device),
                GPA + lies.get('avail', ring.driver), 0, layout='=IIQQQQ')
        self.do(SET_VRING_BASE, index, lies.get('base', 0x80008000 if packed else 0), layout='=II')
        ring.call, ring.kick = self.eventfd(), self.eventfd()
        self.do(SET_VRING_CALL, index, ring.call, layout='=Ii')
        self.do(SET_VRING_KICK, index, ring.kick, layout='=Ii')
        self.do(SET_VRING_ENABLE, index, 1, layout='=II')
        return ring

    def ready(self, features=0, packed=False, size=256):
        self.negotiate(features | (1 << 34 if packed else 0))
        self.share_memory()
        rings = self.ring(0, size, packed), self.ring(1, size, packed)
        self.status(15)
        return rings
