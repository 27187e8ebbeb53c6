# SPDX-License-Identifier: BSD-3-Clause
"""The hostile peer at a vhost character device (CUSE), as a virtual machine's monitor uses it.

A device that has been lied to says EIO until its owner resets it.
"""
import struct
import time

from ioctls import NET_SET_BACKEND, RESET_OWNER, SET_FEATURES, SET_MEM_TABLE, SET_OWNER, IoctlPeer
from peer import F_ACCESS_PLATFORM, F_CSUM, F_HOST_TSO4, F_MRG_RXBUF, F_VERSION_1, GPA, Closed, patience


class CusePeer(IoctlPeer):
    NAME = 'cuse'
    OWN = F_ACCESS_PLATFORM
    # A monitor negotiates these in its tap's name, and tells the tap.
    UNTOLD = F_CSUM | F_HOST_TSO4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 56
    NEEDS = ('/dev/cuse', 'modprobe cuse')

    @staticmethod
    def path(folder):
        return '/dev/hostile'

    @staticmethod
    def spec(folder):
        return 'cuse:hostile'

    @classmethod
    def at(cls, daemon):
        return cls(cls.path(daemon.folder))

    def settle(self):
        self.offered()

    def hung_up(self, timeout=20.0):
        end = time.monotonic() + patience(timeout)
        while time.monotonic() < end:
            try:
                self.offered()
            except Closed:
                return True
            time.sleep(0.01)
        return False

    def negotiate(self, features=F_MRG_RXBUF):
        self.features = (features | F_VERSION_1) & self.offered()
        self.features_set(self.features)
        return self

    def features_set(self, features):
        self.do(SET_FEATURES, features)

    def tell_memory_at(self, address, size):
        self.table([(GPA, size, address)])

    def table(self, regions, count=None, padding=0):
        """regions: (gpa, size, address in this process)."""
        data = struct.pack('=II', len(regions) if count is None else count, padding)
        data += b''.join(struct.pack('=QQQQ', *region, 0) for region in regions)
        self.do(SET_MEM_TABLE, data, layout=f'={len(data)}s')

    def take_memory_away(self):
        self.table([])

    def origin(self):
        return self.memory_address()

    def ring_enable(self, index):
        self.do(NET_SET_BACKEND, index, self.memfd, layout='=Ii')

    def ring_stop(self, index):
        self.do(NET_SET_BACKEND, index, -1, layout='=Ii')
        return self.ring_base(index)

    def ring_go_on(self, index, base):
        self.ring_base_set(index, base)
        self.ring_enable(index)

    def run(self):
        self.settle()

    def reset(self):
        self.do(RESET_OWNER)
        self.do(SET_OWNER)
        self.rings = {}
