# SPDX-License-Identifier: BSD-3-Clause
"""An honest front end in Python: a vhost-user peer with a receive and a transmit ring, whole frames in and out.

Built on the raw peer of the hostile tests, so that nothing of Vireo's own code is on this side.
"""
import os
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hostile"))
import vhost_user as raw  # noqa: E402
from peer import DATA, WRITE  # noqa: E402

RX, TX = DATA, 0x400000  # where buffers lie in the memory
RX_BUFFERS, RX_BYTES = 256, 0x2000
TX_BUFFERS, TX_BYTES = 16, 0x20000
MEMORY_BYTES = TX + TX_BUFFERS * TX_BYTES
HEADER_BYTES = 12
NEEDS_CSUM, DATA_VALID = 1, 2


class Connection(raw.VhostUserPeer):
    """Connects to a path, or takes the next connection of a listening socket."""

    def _connect(self, where, timeout):
        if isinstance(where, str):
            super()._connect(where, timeout)
            return
        self.sock.close()
        where.settimeout(timeout)
        self.sock = where.accept()[0]
        self.sock.settimeout(timeout)


def listener(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen(4)
    return sock


class Front:
    def __init__(self, where, features=raw.F_MRG_RXBUF, timeout=20.0):
        self.peer = Connection(where, timeout)
        try:
            self.peer.negotiate(features)
            self.peer.share_memory(MEMORY_BYTES)
            self.receive_ring, self.transmit_ring = self.peer.ring(0, RX_BUFFERS), self.peer.ring(1, TX_BUFFERS)
            if self.peer.protocol & raw.P_STATUS:
                self.peer.send(raw.SET_STATUS, struct.pack("=Q", 15))
            for i in range(RX_BUFFERS):
                self.receive_ring.descriptor(i, raw.GPA + RX + i * RX_BYTES, RX_BYTES, WRITE)
                self.receive_ring.offer(i)
            self.receive_ring.ring_kick()
            self.peer.settle()
        except BaseException:
            self.peer.close()
            raise
        self.pieces, self.left = [], 0
        self.free = list(range(TX_BUFFERS))

    def close(self):
        self.peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, ident, length):
        """One used buffer; a frame (header, bytes) when it is complete. A merged frame's first buffer says how many it has."""
        at = RX + ident * RX_BYTES
        self.pieces.append(self.peer.memory[at:at + length])
        if not self.left:
            self.left = struct.unpack_from("<H", self.pieces[0], 10)[0]
            if self.left < 1 or (self.left > 1 and not self.peer.features & raw.F_MRG_RXBUF):
                raise AssertionError(f"num_buffers is {self.left}")
        self.left -= 1
        if self.left:
            return []
        data, self.pieces = b"".join(self.pieces), []
        return [(data[:HEADER_BYTES], data[HEADER_BYTES:])]

    def poll(self):
        """Frames that have come, as [(virtio-net header, bytes)]; their buffers are offered again."""
        frames = []
        used = self.receive_ring.used()
        for ident, length in used:
            frames += self._take(ident, length)
        for ident, _ in used:
            self.receive_ring.offer(ident)
        if used:
            self.receive_ring.ring_kick()
        return frames

    def receive(self, seconds):
        """Waits for at least one frame; an empty list if none has come."""
        end = time.monotonic() + seconds
        while True:
            frames = self.poll()
            left = end - time.monotonic()
            if frames or left <= 0:
                return frames
            select.select([self.receive_ring.call], [], [], min(left, 0.02))
            try:
                os.eventfd_read(self.receive_ring.call)
            except BlockingIOError:
                pass

    def reclaim(self):
        self.free += [ident for ident, _ in self.transmit_ring.used()]

    def send(self, frame, header=bytes(HEADER_BYTES), seconds=20.0):
        end = time.monotonic() + seconds
        self.reclaim()
        while not self.free:
            if time.monotonic() > end:
                raise TimeoutError("the switch takes no frames")
            time.sleep(0.001)
            self.reclaim()
        slot = self.free.pop()
        self.peer.write(TX + slot * TX_BYTES, header + frame)
        self.transmit_ring.chain([(raw.GPA + TX + slot * TX_BYTES, HEADER_BYTES + len(frame), 0)], slot)

    def drained(self):
        self.reclaim()
        return len(self.free) == TX_BUFFERS


def mac(number):
    return b"\x52\x54\x00\x00\x02" + bytes([number])


def text_frame(source, target, text=b""):
    """From mac(source) to mac(target), an EtherType that nobody interprets; broadcast if target is None."""
    destination = b"\xff" * 6 if target is None else mac(target)
    return (destination + mac(source) + b"\x88\xb5" + text).ljust(60, b"\0")
