# SPDX-License-Identifier: BSD-3-Clause
"""Front ends of a block device and of a SCSI host in Python: one ring, so many requests in flight, each asked anew when it is done."""
import os
import socket
import struct
import time

from .front import Connection, raw
from peer import DATA, GPA, WRITE  # of the hostile tests, which front.py has found

IN, OUT, FLUSH = 0, 1, 4
F_FLUSH = 1 << 9
OK, IOERR = 0, 1
SLOT_BYTES = 0x1000
SECTOR = 512


class Requests:
    QUEUE = 0

    def __init__(self, path, depth=32, features=F_FLUSH):
        self.peer = Connection(path, 20.0)
        self.done = 0
        self.depth = depth
        try:
            self.peer.negotiate(features)
            self.peer.share_memory()
            self.ring = self.peer.ring(self.QUEUE, 256)
            self.peer.settle()
        except BaseException:
            self.peer.close()
            raise

    def close(self):
        self.peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, slot, kind=IN, sector=0, data=None):
        """One request of one sector, with the descriptors and the memory of a slot."""
        at = DATA + slot * SLOT_BYTES
        self.peer.write(at, struct.pack("<IIQ", kind, 0, sector) + bytes([0xFF]))
        if data:
            self.peer.write(at + SECTOR, data)
        pieces = [(GPA + at, 16, 0), (GPA + at + SECTOR, SECTOR, 0 if kind == OUT else WRITE), (GPA + at + 16, 1, WRITE)]
        if kind == FLUSH:
            del pieces[1]
        self.ring.chain(pieces, 3 * slot)

    def begin(self, kind=IN):
        for slot in range(self.depth):
            self.ask(slot, kind)

    def status(self, slot):
        return self.peer.memory[DATA + slot * SLOT_BYTES + 16]

    def data(self, slot):
        at = DATA + slot * SLOT_BYTES + SECTOR
        return bytes(self.peer.memory[at:at + SECTOR])

    def take(self, again=True):
        """What is done now; each of them has succeeded, and is asked again. Returns how many."""
        used = self.ring.used()
        for head, _ in used:
            slot = head // 3
            if self.status(slot) != OK:
                raise AssertionError(f"a request is done with status {self.status(slot)}")
            if again:
                self.ask(slot)
        self.done += len(used)
        return len(used)

    def one(self, kind=IN, sector=0, data=None, seconds=20):
        """A request alone: its status."""
        self.ask(0, kind, sector, data)
        end = time.monotonic() + seconds
        while not self.ring.used():
            if time.monotonic() > end:
                raise AssertionError("a request is not answered")
            time.sleep(0.001)
        return self.status(0)

    def stop(self):
        return self.peer.ring_stop(self.QUEUE)

    def moves_to(self, path, base, region=True):
        """To another daemon, as a machine does: memory and ring are what they were, and what is in flight there has memory of its own, or none."""
        old, ring = self.peer, self.ring
        fds, memory, memfd, old.fds, old.memory = old.fds, old.memory, old.memfd, [], None
        old.close()  # first: a daemon that is moved back to serves one front end at a time
        new = Connection(path, 20.0)
        new.negotiate(old.features)
        if region:
            new.send(raw.GET_INFLIGHT_FD, raw.inflight(0, 0, self.QUEUE + 1, ring.size))
            data, given, _, _ = socket.recv_fds(new.sock, 64, 1)
            new.send(raw.SET_INFLIGHT_FD, data[12:], given)
            os.close(given[0])
        new.fds, new.memory, new.memfd = fds, memory, memfd
        new.asked(new.tell_memory)
        self.peer = ring.peer = new
        new.ring_num(self.QUEUE, ring.size)
        new.ring_base_set(self.QUEUE, base)
        new.ring_addr(self.QUEUE, ring.desc, ring.driver, ring.device)
        new.ring_call(self.QUEUE, ring.call)
        new.ring_kick(self.QUEUE, ring.kick)
        new.ring_enable(self.QUEUE)
        new.settle()


class ScsiRequests(Requests):
    """The same asked of target 0, LUN 0 of a SCSI host. A status is that of the command, and its response in the upper byte."""
    QUEUE = 2  # those before are for control and for events
    HEAD_BYTES, RESPONSE_BYTES, RESPONSE = 51, 108, 128
    OPCODES = {IN: 0x28, OUT: 0x2a, FLUSH: 0x35}

    def __init__(self, path, depth=32, features=0):
        super().__init__(path, depth, features)
        self.one(FLUSH)  # is told that the power has been off

    def ask(self, slot, kind=IN, sector=0, data=None):
        at = DATA + slot * SLOT_BYTES
        moves = kind != FLUSH
        cdb = struct.pack(">BBIBHB", self.OPCODES[kind], 0, sector if moves else 0, 0, int(moves), 0)
        self.peer.write(at, bytes([1, 0, 0x40, 0, 0, 0, 0, 0]) + struct.pack("<QBBB", slot, 0, 0, 0) + cdb.ljust(32, b"\0"))
        self.peer.write(at + self.RESPONSE, b"\xff" * self.RESPONSE_BYTES)
        if data:
            self.peer.write(at + SECTOR, data)
        head = (GPA + at, self.HEAD_BYTES, 0)
        response = (GPA + at + self.RESPONSE, self.RESPONSE_BYTES, WRITE)
        pieces = {OUT: [head, (GPA + at + SECTOR, SECTOR, 0), response], IN: [head, response, (GPA + at + SECTOR, SECTOR, WRITE)],
                  FLUSH: [head, response]}
        self.ring.chain(pieces[kind], 3 * slot)

    def command(self, cdb, data=b"", room=0, seconds=20):
        """Any command, alone: its status, its sense data, and what has come into `room` bytes."""
        at = DATA
        self.peer.write(at, bytes([1, 0, 0x40, 0, 0, 0, 0, 0]) + struct.pack("<QBBB", 0, 0, 0, 0) + bytes(cdb).ljust(32, b"\0"))
        self.peer.write(at + self.RESPONSE, b"\xff" * self.RESPONSE_BYTES)
        self.peer.write(at + SECTOR, data.ljust(room, b"\0"))
        head, response = (GPA + at, self.HEAD_BYTES, 0), (GPA + at + self.RESPONSE, self.RESPONSE_BYTES, WRITE)
        out, into = [(GPA + at + SECTOR, len(data), 0)] if data else [], [(GPA + at + SECTOR, room, WRITE)] if room else []
        self.ring.chain([head, *out, response, *into], 0)
        end = time.monotonic() + seconds
        while not self.ring.used():
            if time.monotonic() > end:
                raise AssertionError("a command is not answered")
            time.sleep(0.001)
        sense = bytes(self.peer.memory[at + self.RESPONSE + 12:at + self.RESPONSE + 12 + self.peer.memory[at + self.RESPONSE]])
        return self.status(0), sense, bytes(self.peer.memory[at + SECTOR:at + SECTOR + room])

    def status(self, slot):
        at = DATA + slot * SLOT_BYTES + self.RESPONSE
        return self.peer.memory[at + 10] | self.peer.memory[at + 11] << 8


def together(fronts, until, seconds=20):
    """All of them go on until that is so."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise AssertionError(f"{seconds} s have gone by: {[front.done for front in fronts]} requests are done")
        if not sum(front.take() for front in fronts):
            time.sleep(0.001)
