# SPDX-License-Identifier: BSD-3-Clause
"""The hostile peer in front of a VDUSE device: a driver on /dev/vhost-vdpa-N.

Nobody hangs up here: a device that has been lied to stands still until it is reset. So does one that hangs: only the
daemon's log tells them apart.
"""
import datetime
import glob
import os
import struct
import time

from ioctls import (BACKEND_IOTLB_MSG_V2, SET_BACKEND_FEATURES, SET_FEATURES, VDPA_GET_STATUS, VDPA_SET_STATUS,
                    VDPA_SET_VRING_ENABLE, IoctlPeer)
from peer import (ACKNOWLEDGE, DRIVER, DRIVER_OK, F_ACCESS_PLATFORM, F_MRG_RXBUF, F_VERSION_1, FEATURES_OK, GPA, Closed, Refused,
                  patience)

# What the log lets a port say (LOG_BURST lines in LOG_BURST_S seconds), and what one session may need of it.
LOG_BURST, LOG_BURST_S, LOG_NEEDED = 100, 20, 30
MSG_V2, UPDATE, INVALIDATE, READ_WRITE = 2, 2, 3, 3


def recent_lines(text, seconds):
    """How many lines a log has had in the last so many seconds."""
    now = datetime.datetime.now(datetime.timezone.utc)
    since, now = ((now - datetime.timedelta(seconds=ago)).isoformat(timespec='milliseconds')[:23] for ago in (seconds, 0))
    return sum(since <= line[:23] <= now for line in text.splitlines())


class VdpaPeer(IoctlPeer):
    NAME = 'vduse'
    DEVICE = 'hostile'
    RING_MAX = 16384  # what the device offers: the kernel lets a driver ask for more
    LOG_LEVEL = 'error'  # there is room for every break then
    OWN = F_ACCESS_PLATFORM
    NEEDS = ('/dev/vduse/control', 'modprobe vduse and vhost_vdpa')

    def __init__(self, daemon):
        self.daemon, self.broken, self.told_bytes = daemon, daemon.breaks(), 0
        super().__init__(self.path(daemon.folder))
        self.begin_anew()

    def begin_anew(self):
        self.status(0)
        self.broken = self.daemon.breaks()

    @classmethod
    def path(cls, folder):
        """Empty before the kernel has given it a number."""
        nodes = glob.glob(f'/sys/bus/vdpa/devices/{cls.DEVICE}/vhost-vdpa-*')
        return os.path.join('/dev', os.path.basename(nodes[0])) if nodes else ''

    @classmethod
    def spec(cls, folder):
        return f'vduse:{cls.DEVICE},attach=vhost,queue-size={cls.RING_MAX}'

    @classmethod
    def at(cls, daemon):
        while daemon.recent_lines(LOG_BURST_S) > LOG_BURST - LOG_NEEDED:
            time.sleep(0.1)
        return cls(daemon)

    def do(self, request, *words, layout='=Q'):
        """EIO is also what the kernel says of a daemon that does not answer it."""
        try:
            return super().do(request, *words, layout=layout)
        except Closed as error:
            self.daemon.wait_for(self.silent, 20, f'the device does not answer to ioctl {request:#x}')
            raise Closed() from error

    def status(self, value):
        """A driver writes it and reads it again: what is not there then was refused (virtio 1.3, 3.1.1)."""
        self.do(VDPA_SET_STATUS, value, layout='=B')
        if self.do(VDPA_GET_STATUS, 0, layout='=B')[0] & value != value:
            raise Refused()

    def silent(self):
        """The log says that the device is broken, since it began."""
        return self.daemon.breaks() != self.broken

    def running(self):
        """How many of the device's queues the switch serves."""
        return sum(queue['running'] for queue in self.daemon.port(self.DEVICE)['queue_counters'])

    def hung_up(self, timeout=20.0):
        end = time.monotonic() + patience(timeout)
        while not self.silent():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def settle(self):
        self.ring_base(0)  # of which the kernel asks the device
        self.daemon.port(self.DEVICE)
        if self.silent():
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
        end = time.monotonic() + patience(3)
        while self.running() < len(self.rings):
            if self.silent():
                raise Closed()
            assert time.monotonic() < end, 'the queues do not run'
            time.sleep(0.005)

    def reset(self):
        self.begin_anew()
        self.take_memory_away()  # which outlives a reset
        self.rings = {}
