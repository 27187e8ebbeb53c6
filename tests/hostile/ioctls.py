# SPDX-License-Identifier: BSD-3-Clause
"""What peers have in common that speak linux/vhost.h's ioctls, to the kernel or to a node of ours."""
import ctypes
import errno
import fcntl
import os
import struct
import time

from peer import Closed, Peer, Refused, patience

TELL, ASK, BOTH = 1, 2, 3  # what an ioctl's number says of its argument


def ioctl_number(direction, number, size):
    """As linux/vhost.h makes them."""
    return direction << 30 | size << 16 | 0xAF << 8 | number


GET_FEATURES, SET_FEATURES = ioctl_number(ASK, 0x00, 8), ioctl_number(TELL, 0x00, 8)
SET_OWNER, RESET_OWNER = ioctl_number(0, 0x01, 0), ioctl_number(0, 0x02, 0)
SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD = ioctl_number(TELL, 0x03, 8), ioctl_number(TELL, 0x04, 8), ioctl_number(TELL, 0x07, 4)
SET_VRING_NUM, SET_VRING_ADDR = ioctl_number(TELL, 0x10, 8), ioctl_number(TELL, 0x11, 40)
SET_VRING_BASE, GET_VRING_BASE = ioctl_number(TELL, 0x12, 8), ioctl_number(BOTH, 0x12, 8)
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = (ioctl_number(TELL, number, 8) for number in (0x20, 0x21, 0x22))
GET_BACKEND_FEATURES, SET_BACKEND_FEATURES = ioctl_number(ASK, 0x26, 8), ioctl_number(TELL, 0x25, 8)
NET_SET_BACKEND = ioctl_number(TELL, 0x30, 8)
SCSI_SET_ENDPOINT, SCSI_CLEAR_ENDPOINT = ioctl_number(TELL, 0x40, 232), ioctl_number(TELL, 0x41, 232)
SCSI_GET_ABI_VERSION = ioctl_number(TELL, 0x42, 4)
SCSI_SET_EVENTS_MISSED, SCSI_GET_EVENTS_MISSED = ioctl_number(TELL, 0x43, 4), ioctl_number(TELL, 0x44, 4)
VDPA_GET_STATUS, VDPA_SET_STATUS = ioctl_number(ASK, 0x71, 1), ioctl_number(TELL, 0x72, 1)
VDPA_SET_VRING_ENABLE = ioctl_number(TELL, 0x75, 8)

BACKEND_IOTLB_MSG_V2 = 1 << 1
WAIT_S = 10


class IoctlPeer(Peer):
    """`fd`: the device, open and owned."""

    def __init__(self, path):
        super().__init__()
        self.fd = self._open(path)

    def _open(self, path):
        """One at a time, and the last one may be on its way out."""
        end = time.monotonic() + patience(WAIT_S)
        while True:
            fd = -1
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                fcntl.ioctl(fd, SET_OWNER, 0)
                return fd
            except OSError as error:
                if fd >= 0:
                    os.close(fd)
                if time.monotonic() > end or error.errno not in (errno.EBUSY, errno.ENOENT):
                    raise
                time.sleep(0.01)

    def hang_up(self):
        os.close(self.fd)

    def do(self, request, *words, layout='=Q'):
        """The answer's bytes. A device that is silent until it is reset says EIO."""
        data = bytearray(struct.pack(layout, *words) if words else b'')
        try:
            fcntl.ioctl(self.fd, request, data if words else 0)
            return bytes(data)
        except OSError as error:
            raise (Closed if error.errno == errno.EIO else Refused)(error.strerror) from error

    def offered(self):
        return struct.unpack('=Q', self.do(GET_FEATURES, 0))[0]

    def memory_address(self):
        view = ctypes.c_char.from_buffer(self.memory)
        address = ctypes.addressof(view)
        del view  # it would keep the memory from being closed
        return address

    def tell_memory(self):
        self.tell_memory_at(self.memory_address(), len(self.memory))

    def tell_memory_at(self, address, size):
        """What this process has mapped there is at GPA now."""
        raise NotImplementedError

    def origin(self):
        """What the memory's first byte is called in SET_VRING_ADDR."""
        raise NotImplementedError

    def ring_num(self, index, size):
        self.do(SET_VRING_NUM, index, size, layout='=II')

    def ring_base_set(self, index, base):
        self.do(SET_VRING_BASE, index, base, layout='=II')

    def ring_addr(self, index, desc, avail, used):
        addresses = [(self.origin() + offset) % (1 << 64) for offset in (desc, used, avail)]
        self.do(SET_VRING_ADDR, index, 0, *addresses, 0, layout='=IIQQQQ')

    def ring_kick(self, index, fd):
        self.do(SET_VRING_KICK, index, fd, layout='=Ii')

    def ring_call(self, index, fd):
        self.do(SET_VRING_CALL, index, fd, layout='=Ii')

    def ring_err(self, index, fd):
        self.do(SET_VRING_ERR, index, fd, layout='=Ii')

    def ring_base(self, index):
        return struct.unpack('=II', self.do(GET_VRING_BASE, index, 0, layout='=II'))[1]
