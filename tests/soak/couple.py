# SPDX-License-Identifier: BSD-3-Clause
"""Honest front ends that come back: two that exchange frames over a switch, and one that writes to a disk.

What is lost: a frame that does not arrive although the daemon lived, its port was there and its link was up from before it was sent until it
was missed. Frames that were on their way when that ended (WINDOW for each direction at most) are counted apart, as cut off, and one of them
that arrives all the same is right, but may not come twice.
"""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from guest.cases import Failed, expect  # noqa: E402
from guest.front import Connection, Front, raw, text_frame  # noqa: E402
from guest.lab import Timeout  # noqa: E402
import disks  # of tests/hostile  # noqa: E402
from peer import GPA, patience  # noqa: E402

RX, TX = 0, 1  # rings
WINDOW = 12  # below what a front end has buffers for, on either side
SIZES = (0, 46, 100, 500, 1000, 1400)
HELLO = b"\xffhello"  # no session has that number
PATTERN = bytes(range(251)) * 12


def frame_of(source, target, session, number):
    """Each frame is different, and known from its number."""
    at = (number * 31 + session * 7) % 251
    return text_frame(source, target, struct.pack(">II", session, number) + PATTERN[at:at + SIZES[number % len(SIZES)]])


class Way:
    """From one front end to the other."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.next = self.expected = 0
        self.cut = set()  # numbers that may come, and need not

    def on_way(self):
        return self.next - self.expected


class Couple:
    def __init__(self, paths):
        self.paths, self.session, self.fronts = paths, 0, []
        self.ways, self.greetings, self.gaps = [], 0, []
        self.passed = self.cut_off = self.lost = 0

    def connect(self, seconds=20):
        """To whoever listens there now; until frames pass both ways."""
        self.session += 1
        self.ways = [Way(1, 2), Way(2, 1)]
        end = time.monotonic() + patience(seconds)
        while True:
            try:
                self.fronts = [Front(path, timeout=20) for path in self.paths]
                return self.greet(end)
            except (raw.Closed, OSError):
                self.disconnect()
                expect(time.monotonic() < end, f"no new session within {seconds} s")
                time.sleep(0.05)

    def greet(self, end):
        """A queue is served a moment after it was told: what comes before is no loss."""
        self.greetings += 1
        heard = [False, False]
        while not all(heard):
            expect(time.monotonic() < end, f"hellos do not pass: {heard}")
            for i, way in enumerate(self.ways):
                self.fronts[i].send(text_frame(way.source, way.target, HELLO + struct.pack(">I", self.greetings)), seconds=patience(20))
            for i, way in enumerate(self.ways):
                for _, data in self.fronts[1 - i].receive(0.1):
                    heard[i] |= self.take(way, data) == self.greetings

    def turn(self, most=4):
        for i, way in enumerate(self.ways):
            for _ in range(min(most, WINDOW - way.on_way())):
                self.fronts[i].send(frame_of(way.source, way.target, self.session, way.next), seconds=patience(20))
                way.next += 1
        self.poll()

    def poll(self):
        for i, way in enumerate(self.ways):
            for _, data in self.fronts[1 - i].poll():
                self.take(way, data)

    def take(self, way, data):
        """Returns which greeting it is, if it is one."""
        if data[14:].startswith(HELLO):
            return struct.unpack_from(">I", data, 14 + len(HELLO))[0]
        session, number = struct.unpack_from(">II", data, 14)
        if session != self.session or data != frame_of(way.source, way.target, session, number):
            raise Failed(f"a frame that was not sent so: {data.hex()}")
        if number in way.cut:
            way.cut.remove(number)
        elif number < way.expected:
            raise Failed(f"frame {number} came twice, or late: {way.expected} were there")
        else:
            if number > way.expected:
                self.lost += number - way.expected
                self.gaps.append((way.source, way.expected, number))
            way.expected = number + 1
        self.passed += 1
        return None

    def settle(self, seconds=20):
        """All that was sent arrives, or is lost."""
        end = time.monotonic() + patience(seconds)
        while any(way.on_way() for way in self.ways):
            self.poll()
            if time.monotonic() > end:
                self.lost += sum(way.on_way() for way in self.ways)
                raise Timeout(f"{[way.on_way() for way in self.ways]} frames are lost: {self.account()}")
            time.sleep(0.002)

    def account(self):
        """In words, for whoever asks where a frame has gone."""
        return f"session {self.session}: missing (from, first, next that came) {self.gaps}, sent {[way.next for way in self.ways]}"

    def cut(self):
        """The way has ended for what is on it; nobody waits for that."""
        self.poll()
        for way in self.ways:
            self.cut_off += way.on_way()
            way.cut.update(range(way.expected, way.next))
            way.expected = way.next

    def disconnect(self):
        for front in self.fronts:
            front.close()
        self.fronts = []

    def move(self, paths):
        """To ports of another daemon, with its memory and its rings as they are: nothing of what is on its way is lost. Both stop to send
        first, and then to receive: what one daemon has taken it has delivered."""
        self.paths = paths
        bases = {(front, index): front.peer.ring_stop(index) for index in (TX, RX) for front in self.fronts}
        for front, path in zip(self.fronts, paths):
            goes_to(front, path)
        for index in (RX, TX):  # who receives is there before anybody sends
            for front in self.fronts:
                goes_on(front, index, bases[front, index])
            for front in self.fronts:
                front.peer.run()
                front.peer.rings[index].ring_kick()


def goes_to(front, path):
    """A new connection takes the old one's place, with its memory and its fds."""
    old, new = front.peer, Connection(path, 20)
    new.negotiate(old.features)
    new.fds, old.fds = old.fds, []
    new.memory, new.memfd, old.memory = old.memory, old.memfd, None
    new.rings = old.rings
    new.asked(new.tell_memory)
    old.close()
    front.peer = new


def goes_on(front, index, base):
    """A ring, with all that is in it."""
    peer, ring = front.peer, front.peer.rings[index]
    ring.peer = peer
    peer.ring_num(index, ring.size)
    peer.ring_base_set(index, base)
    peer.ring_addr(index, ring.desc, ring.driver, ring.device)
    peer.ring_call(index, ring.call)
    peer.ring_enable(index)  # first: what lies in a ring that is started and not enabled is thrown away
    peer.ring_kick(index, ring.kick)


class Writer:
    """Of a disk: what it was told is written is there, whoever is killed; what it was not told may be there, or what was there before."""
    BLOCKS = 64

    def __init__(self, path):
        self.path, self.driver, self.done = path, None, 0
        self.blocks, self.unsure = [bytes(disks.SECTOR)] * self.BLOCKS, {}

    def connect(self):
        self.driver = disks.DiskPeer(self.path, 20)
        self.driver.begin()
        for sector in range(self.BLOCKS):
            self.look(sector)
        self.unsure = {}

    def look(self, sector):
        data = bytes(self.driver.read(sector))
        if data == self.unsure.get(sector):
            self.blocks[sector] = data
        expect(data == self.blocks[sector], f"sector {sector} holds {data[:16].hex()}..., and not {self.blocks[sector][:16].hex()}...")

    def data(self, dice):
        return dice.randbytes(16) * (disks.SECTOR // 16)

    def turn(self, dice):
        sector = dice.randrange(self.BLOCKS)
        data = self.data(dice)
        expect(self.driver.request(disks.OUT, sector, data) == disks.OK, f"sector {sector} is not written")
        self.blocks[sector] = data
        self.look(dice.randrange(self.BLOCKS))
        self.done += 1

    def leave_under_way(self, dice):
        """A write that nobody waits for; returns its sector."""
        driver, sector = self.driver, dice.randrange(self.BLOCKS)
        self.unsure[sector] = self.data(dice)
        driver.header(disks.OUT, sector)
        driver.write(disks.PAYLOAD, self.unsure[sector])
        driver.queues[0].chain([(GPA + disks.HEADER, 16, 0), (GPA + disks.PAYLOAD, disks.SECTOR, 0), (GPA + disks.STATUS, 1, disks.WRITE)])
        return sector

    def take_under_way(self, sector):
        """It is done, once, by whoever serves the ring by now."""
        ring, end, used = self.driver.queues[0], time.monotonic() + 60, []
        while not used:
            used = ring.used()
            expect(time.monotonic() < end, f"the write to sector {sector} is not done")
            time.sleep(0.001)
        expect(used == [(0, 1)] and self.driver.memory[disks.STATUS] == disks.OK, f"the write to sector {sector} ended as {used}")
        self.blocks[sector] = self.unsure.pop(sector)
        self.look(sector)

    def disconnect(self):
        if self.driver:
            self.driver.close()
        self.driver = None
