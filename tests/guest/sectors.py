# SPDX-License-Identifier: BSD-3-Clause
"""A driver of a disk with one queue, in Python: one request at a time, and what became of it."""
import struct

from .front import DATA, WRITE, raw
from .lab import wait_until

NONE = 0xEE
IN, OUT, FLUSH = 0, 1, 4
FLUSH_BIT = 1 << 9
BYTES_MAX = 0x10000


class Sectors:
    def __init__(self, where):
        self.peer = raw.VhostUserPeer(where, timeout=30)
        self.peer.negotiate(FLUSH_BIT)
        self.peer.share_memory()
        self.ring = self.peer.ring(0, 64)
        self.peer.run()

    def close(self):
        self.peer.close()

    def _do(self, kind, sector, pieces, child):
        """pieces: of the data, as the ring takes them. An error is the status."""
        status = DATA + 16
        self.peer.write(DATA, struct.pack("<IIQ", kind, 0, sector) + bytes([NONE]))
        self.ring.chain([(raw.GPA + DATA, 16, 0), *pieces, (raw.GPA + status, 1, WRITE)])
        wait_until(lambda: self.peer.memory[status] != NONE, 30, "a request's status", child=child)
        return self.peer.memory[status]

    def read(self, sector, count, child=None):
        at = DATA + 0x1000
        status = self._do(IN, sector, [(raw.GPA + at, count, WRITE)], child)
        return None if status else bytes(self.peer.memory[at:at + count])

    def write(self, sector, data, child=None):
        at = DATA + 0x1000
        self.peer.write(at, data)
        return self._do(OUT, sector, [(raw.GPA + at, len(data), 0)], child)

    def flush(self, child=None):
        return self._do(FLUSH, 0, [], child)
