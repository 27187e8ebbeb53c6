# SPDX-License-Identifier: BSD-3-Clause
"""The hostile peer in front of a VDUSE device: a driver on /dev/vhost-vdpa-N.

Nobody hangs up here: a device that has been lied to stands still until it is reset, which the switch shows.
"""
import os
import struct
import time

from ioctls import (BACKEND_IOTLB_MSG_V2, SET_BACKEND_FEATURES, SET_FEATURES, VDPA_GET_STATUS, VDPA_SET_STATUS,
                    VDPA_SET_VRING_ENABLE, IoctlPeer)
from peer import (ACKNOWLEDGE, DRIVER, DRIVER_OK, F_ACCESS_PLATFORM, F_MRG_RXBUF, F_VERSION_1, FEATURES_OK, GPA, Closed, Refused,
                  patience, pause)

MSG_V2, UPDATE, INVALIDATE, READ_WRITE = 2, 2, 3, 3


class VdpaPeer(IoctlPeer):
    NAME = 'vduse'
    RING_MAX = 16384  # what the device offers: the kernel lets a driver ask for more
    NEEDS = ('/dev/vduse/control', 'modprobe vduse and vhost_vdpa')

    def __init__(self, daemon):
        self.daemon, self.broken, self.started, self.told_bytes = daemon, daemon.breaks(), False, 0
        super().__init__(self.path(daemon.folder))
        self.status(0)

    @staticmethod
    def path(folder):
        return '/dev/vhost-vdpa-0'

    @classmethod
    def spec(cls, folder):
        return f'vduse:hostile,attach=vhost,queue-size={cls.RING_MAX}'

    @classmethod
    def at(cls, daemon):
        return cls(daemon)

    def status(self, value):
        """A driver writes it and reads it again: what is not there then was refused (virtio 1.3, 3.1.1)."""
        self.do(VDPA_SET_STATUS, value, layout='=B')
        if self.do(VDPA_GET_STATUS, 0, layout='=B')[0] & value != value:
            raise Refused()

    def silent(self):
        return self.daemon.breaks() != self.broken

    def running(self):
        """How many of the device's queues the switch serves."""
        return sum(queue['running'] for queue in self.daemon.port('hostile')['queue_counters'])

    def lost(self):
        """The log says so; or, as that leaves lines out where there are many, no queue runs, and none does a moment later."""
        for _ in range(3):
            if self.silent():
                return True
            if self.running():
                return False
            pause(0.02)
        return True

    def hung_up(self, timeout=3.0):
        end = time.monotonic() + patience(timeout)
        while not self.lost():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def settle(self):
        self.daemon.port('hostile')
        if self.started and self.hung_up(0):
            raise Closed()

    def negotiate(self, features=F_MRG_RXBUF):
        self.features = (features | F_VERSION_1 | F_ACCESS_PLATFORM) & self.offered()
        self.features_set(self.features)
        return self

    def features_set(self, features):
        self.do(SET_BACKEND_FEATURES, BACKEND_IOTLB_MSG_V2)
        self.status(ACKNOWLEDGE | DRIVER)
        self.do(SET_FEATURES, features)
        self.status(ACKNOWLEDGE | DRIVER | FEATURES_OK)

    def iotlb(self, kind, gpa, size, address):
        try:
            os.write(self.fd, struct.pack('=IIQQQBB', MSG_V2, 0, gpa, size, address, READ_WRITE, kind).ljust(72, b'\0'))
        except OSError as error:
            raise Refused(error.strerror) from error

    def tell_memory_at(self, address, size):
        self.iotlb(UPDATE, GPA, size, address)
        self.told_bytes = size

    def take_memory_away(self):
        if self.told_bytes:
            self.iotlb(INVALIDATE, GPA, self.told_bytes, 0)
        self.told_bytes = 0

    def origin(self):
        return GPA

    def ring_enable(self, index):
        self.do(VDPA_SET_VRING_ENABLE, index, 1, layout='=II')

    def run(self):
        self.status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        end = time.monotonic() + patience(1)
        while not self.silent() and self.running() < len(self.rings):
            if time.monotonic() > end:
                raise Closed('the queues do not run')
            time.sleep(0.005)
        self.started = True

    def reset(self):
        self.status(0)
        self.take_memory_away()  # which outlives a reset
        self.rings, self.started = {}, False
