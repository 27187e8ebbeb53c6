# SPDX-License-Identifier: BSD-3-Clause
"""A driver that writes and reads all the time, and knows what it has to find."""
import struct
import threading
import time

from .cases import expect
from .lab import wait_until
from .requests import IN, OK, OUT, SECTOR, Requests


class Load(threading.Thread):
    """So many requests at once: each slot writes a sector of its own, reads it back, and what it has read must be what it has written last."""

    def __init__(self, path, depth=16, front=Requests):
        super().__init__(daemon=True)
        self.front = front(path, depth)
        self.written = [0] * depth
        self.reading = [False] * depth
        self.done, self.slowest_s, self.problem, self.over, self.asked = 0, 0.0, None, False, [0.0] * depth

    def pattern(self, slot):
        return struct.pack("<II", slot, self.written[slot]) * (SECTOR // 8)

    def ask(self, slot):
        """Write and read in turn; now and then a flush goes in between."""
        self.asked[slot] = time.monotonic()
        if self.reading[slot]:
            self.front.ask(slot, IN, sector=slot)
        else:
            self.written[slot] += 1
            self.front.ask(slot, OUT, slot, self.pattern(slot))

    def taken(self, slot):
        expect(self.front.status(slot) == OK, f"a request is done with status {self.front.status(slot)}")
        if self.reading[slot]:
            expect(self.front.data(slot) == self.pattern(slot), f"sector {slot} is not what was written")
        self.slowest_s = max(self.slowest_s, time.monotonic() - self.asked[slot])
        self.reading[slot] = not self.reading[slot]
        self.done += 1

    def run(self):
        try:
            under_way = set(range(self.front.depth))
            for slot in under_way:
                self.ask(slot)
            last = time.monotonic()
            while under_way:
                used = self.front.ring.used()
                for id_, _ in used:
                    expect(id_ // 3 in under_way, f"request {id_ // 3} is done twice")
                    self.taken(id_ // 3)
                    under_way.discard(id_ // 3)
                    if not self.over:
                        under_way.add(id_ // 3)
                        self.ask(id_ // 3)
                    last = time.monotonic()
                expect(time.monotonic() - last < 30, f"{len(under_way)} requests are not answered")
                if not used:
                    time.sleep(0.0005)
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def goes_on(self):
        before = self.done
        wait_until(lambda: self.done > before + 2 * self.front.depth or self.problem, 30, "requests are answered")
        expect(not self.problem, f"{self.problem}")

    def end(self):
        self.over = True
        self.join(40)
        expect(not self.problem and not self.is_alive(), f"{self.problem}")
        self.front.close()
