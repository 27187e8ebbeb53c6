#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What lies upon a disk of vireo-blkd: limits that hold, for the disk alone, while it is in use; faults that reach a driver."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.requests import IN, IOERR, OK, OUT, Requests, together  # noqa: E402


def start(lab, **disks):
    return Blkd(lab, [f"{name}={spec}" for name, spec in disks.items()],
                [f"vhost-user:{lab.path(name)},disk={name}" for name in disks], ["--workers", "1"])


class Rate:
    """How many requests a front has done a second, from now on."""

    def __init__(self, front):
        self.front, self.done, self.began = front, front.done, time.monotonic()

    def seconds(self):
        return time.monotonic() - self.began

    def most(self, rate, burst):
        """It has never done more, whatever the machine was busy with."""
        done = self.front.done - self.done
        expect(done <= rate * self.seconds() + burst, f"{done} requests in {self.seconds():.2f} s at {rate} a second")

    def reached(self, rate):
        """A stretch of a second in which it has done nine tenths of that; what a loaded machine has held up does not count."""
        if self.seconds() < 1:
            return False
        if self.front.done - self.done >= 0.9 * rate * self.seconds():
            return True
        self.done, self.began = self.front.done, time.monotonic()
        return False


@case
def a_throttled_disk_gives_its_rate_and_its_neighbour_all(lab):
    blkd = start(lab, slow="null:1G,iops=500", fast="null:1G")
    with Requests(lab.path("slow")) as slow, Requests(lab.path("fast")) as fast:
        whole, stretch = Rate(slow), Rate(slow)
        slow.begin()
        fast.begin()
        together([slow, fast], lambda: stretch.reached(500))
        whole.most(500, 50 + 1)
        most = slow.done
        expect(fast.done > 4 * most, f"the neighbour has done {fast.done} requests beside {most}: one worker serves both")
        whole.most(500, 50 + 1)
    expect(blkd.ask("disk", "show", "slow")["disk"]["throttled"], "nothing has waited")
    expect(blkd.ask("disk", "show", "fast")["disk"]["throttled"] == 0, "the neighbour has waited")
    end_well(blkd)


@case
def disks_of_a_group_share_one_limit(lab):
    blkd = start(lab, a="null:1G,throttle-group=g,iops=400", b="null:1G,throttle-group=g")
    with Requests(lab.path("a")) as a, Requests(lab.path("b")) as b:
        began = time.monotonic()
        a.begin()
        b.begin()
        together([a, b], lambda: a.done + b.done >= 400)
        done, seconds = a.done + b.done, time.monotonic() - began
        expect(done <= 400 * seconds + 41 + 1, f"{done} requests in {seconds:.2f} s")
        expect(min(a.done, b.done) > 100, f"{a.done} and {b.done} requests: one has starved")
    expect(blkd.ask("disk", "throttle", "b", "iops=300") == {"limits": "iops=300"}, "the limits of b")
    disk = blkd.ask("disk", "show", "a")["disk"]
    expect(disk["limits"] == "iops=300" and disk["throttle_group"] == "g", f"{disk}")
    done = blkd.ctl_run("disk", "add", "c=null:1G,throttle-group=g,iops=1")
    expect(done.returncode == 1 and "other limits" in done.stderr, f"{done}")
    end_well(blkd)


@case
def limits_change_under_load_and_a_queue_that_stops_waits_for_none(lab):
    blkd = start(lab, d="null:1G")
    with Requests(lab.path("d")) as front:
        front.begin()
        together([front], lambda: front.done > 200)
        blkd.ctl("disk", "throttle", "d", "iops=200")
        together([front], lambda: blkd.ask("disk", "show", "d")["disk"]["throttled"])
        rate = Rate(front)
        together([front], lambda: rate.seconds() > 1)
        rate.most(200, 20 + 32 + 1)  # what was done by then may not have been seen
        blkd.ctl("disk", "throttle", "d", "iops=0,bps=512K")
        together([front], lambda: front.done > rate.done + 600)
        expect(blkd.ask("disk", "show", "d")["disk"]["limits"] == "bps=524288", "limits")
        blkd.ctl("disk", "throttle", "d", "off")
        before = front.done
        together([front], lambda: front.done > before + 1000)
        blkd.ctl("disk", "throttle", "d", "iops=1")
        together([front], lambda: blkd.ask("disk", "show", "d")["disk"]["limits"] == "iops=1")
        front.take()
        began = time.monotonic()
        taken = front.stop()
        expect(time.monotonic() - began < front.depth - 2, "the queue has waited for the limit")
        front.take(again=False)  # each has succeeded
        expect(front.ring.used_now() == taken, f"{taken} requests were taken, and {front.ring.used_now()} are done")
    for text, why in (("iops=many", "a number"), ("read-bps-burst=4", "no read-bps"), ("", "unknown key"), ("colour=1", "unknown key")):
        done = blkd.ctl_run("disk", "throttle", "d", text)
        expect(done.returncode == 2 and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{text}: {done}")
    end_well(blkd)


@case
def a_fault_reaches_the_driver_and_the_neighbour_is_undisturbed(lab):
    blkd = start(lab, bad="mem:16M,fail=EIO,fail-op=write,fail-first-sector=8,fail-last-sector=15", good="mem:16M")
    with Requests(lab.path("bad")) as bad, Requests(lab.path("good")) as good:
        good.begin()
        together([good], lambda: good.done > 100)
        for _ in range(20):
            for sector, kind, status in ((8, OUT, IOERR), (15, OUT, IOERR), (7, OUT, OK), (16, OUT, OK), (8, IN, OK)):
                got = bad.one(kind, sector, bytes([7]) * 512)
                expect(got == status, f"request {kind} of sector {sector} is done with status {got}")
            good.take()  # each has succeeded
            expect(bad.data(0) == bytes(512), "what has failed was written")
        before = good.done
        together([good], lambda: good.done > before + 100)
    end_well(blkd)


@case
def a_slow_disk_is_late_for_what_is_slow_alone(lab):
    blkd = start(lab, d="null:1G,slow-ms=50", w="null:1G,slow-ms=3600000,slow-op=write")
    with Requests(lab.path("d")) as front:
        began = time.monotonic()
        expect(front.one() == OK and front.one(OUT) == OK, "a slow request has failed")
        expect(time.monotonic() - began >= 0.1, "two requests of 50 ms each were faster")
    with Requests(lab.path("w"), depth=8) as front:
        for slot in range(1, 8):
            front.ask(slot, OUT)
        expect(front.one() == OK, "a read beside writes that wait")
        taken = front.stop()  # waits for no write's hour
        expect(front.ring.used_now() == taken == 8, f"{taken} requests were taken, and {front.ring.used_now()} are done")
    end_well(blkd)


@case
def latencies_are_counted_where_that_is_asked_for(lab):
    blkd = start(lab, d="mem:1M,latency=on,slow-ms=20,slow-op=write", plain="mem:1M")
    with Requests(lab.path("d")) as front, Requests(lab.path("plain")) as plain:
        for _ in range(50):
            expect(front.one() == OK and plain.one() == OK, "a read has failed")
        expect(front.one(OUT) == OK, "a write has failed")
        latency = blkd.ask("disk", "show", "d")["disk"]["latency"]
        expect(latency["read"]["count"] == 50 and latency["write"]["count"] == 1 and latency["flush"]["count"] == 0, f"{latency}")
        read, write = latency["read"], latency["write"]
        expect(read["min_ns"] <= read["p50_ns"] <= read["p99_ns"] <= read["max_ns"], f"{read}")
        expect(write["min_ns"] == write["p50_ns"] == write["max_ns"] >= 20_000_000, f"{write}")
        expect(blkd.ask("disk", "show", "plain")["disk"]["latency"] is None, "one that is not measured")
    end_well(blkd)


if __name__ == "__main__":
    main()
