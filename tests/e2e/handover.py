#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two vireo-blkd have one file open: who serves a driver has its lock, and there are never two writers."""
import contextlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, Drive, Writers, arguments, made_file  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.moving import Moving  # noqa: E402
from guest.qemu import QEMU  # noqa: E402
from guest.requests import IN, OK, OUT, Requests, together  # noqa: E402

MIB = 8


def two(lab):
    """Daemons with the same disk; each offers it at a socket of its own name."""
    made_file(lab.path("d.img"), MIB)
    return [Blkd(lab, [f"d=file:{lab.path('d.img')},lock=running"], [f"vhost-user:{lab.path(name)},disk=d"], name=f"blkd-{name}")
            for name in ("here", "there")]


def says(blkd, text):
    with open(blkd.child.log, errors="replace") as log:
        return text in log.read()


def waits(blkd):
    wait_until(lambda: says(blkd, "another process has the lock"), 20, "it waits for the lock", child=blkd.child)


@case(shows=[("vhost-user", "split")])
def a_disk_is_handed_over_when_its_queues_stop(lab):
    here, there = two(lab)
    with Requests(lab.path("here")) as a, contextlib.ExitStack() as stack:
        expect(a.one(OUT, 1, b"a" * 512) == OK, "a write has failed")
        b = stack.enter_context(Requests(lab.path("there")))  # the first one has the lock by now
        b.ask(0, IN, 1)
        waits(there)
        a.begin()
        together([a], lambda: a.done > 300)
        expect(not b.ring.used(), "two daemons serve one file")
        a.take(again=False)
        a.stop()
        wait_until(lambda: b.ring.used(), 20, "the other one is served", child=there.child)
        expect(b.status(0) == OK and b.data(0) == b"a" * 512, "it reads something else")
        expect(b.one(OUT, 1, b"b" * 512) == OK, "a write has failed")
        there.kill()
    with Requests(lab.path("here")) as a:
        expect(a.one(IN, 1) == OK and a.data(0) == b"b" * 512, "it was not handed back")
    end_well(here)


@case
def a_request_that_nobody_has_taken_moves_with_its_disk(lab):
    """Its queue was stopped before anybody looked."""
    here, there = two(lab)
    with Requests(lab.path("here")) as a:
        for sector in range(5):
            expect(a.one(OUT, sector, b"a" * 512) == OK, "a write has failed")
        base = a.stop()
        a.ask(0, OUT, 5, b"b" * 512)
        a.moves_to(lab.path("there"), base)
        wait_until(a.ring.used, 20, "it is done by the other one", child=there.child)
        expect(a.status(0) == OK and a.one(IN, 5) == OK and a.data(0) == b"b" * 512, "it was not written")
    end_well(here)
    end_well(there)


@case
def a_request_that_waits_moves_with_its_disk_without_memory_for_what_is_in_flight(lab):
    """Its ring says that nothing was in flight when it was stopped. One whose daemon was killed says nothing of the kind."""
    here, there = two(lab)
    with Requests(lab.path("here")) as a:
        for sector in range(5):
            expect(a.one(OUT, sector, b"a" * 512) == OK, "a write has failed")
        a.ring.ring_kick = lambda: None  # nobody looks
        while True:
            a.ask(0, OUT, 5, b"b" * 512)
            base = a.stop()
            if base == a.ring.used_now() != a.ring.avail_index:
                break
            a.ring.used()  # its worker has looked all the same
            a.moves_to(lab.path("here"), base, region=False)
        expect(not a.ring.used(), "it was done")
        a.moves_to(lab.path("there"), base, region=False)
        wait_until(a.ring.used, 20, "it is done by the other one", child=there.child)
        del a.ring.ring_kick
        expect(a.status(0) == OK and a.one(IN, 5) == OK and a.data(0) == b"b" * 512, "it was not written")
        a.ring.ring_kick = lambda: None
        a.ask(0, OUT, 5, b"c" * 512)
        base = a.ring.used_now()
        there.kill()
        a.moves_to(lab.path("here"), base, region=False)
        wait_until(lambda: says(here, "chains were in flight, and nothing tells which"), 20, "it is in doubt", child=here.child)
        expect(not a.ring.used(), "it was served all the same")
    end_well(here)


@case(shows=[("vhost-user", "split")])
def a_guest_moves_with_its_disk_under_load(lab):
    """Nothing that it has written is lost, and nothing is written by two."""
    need_program(QEMU)
    here, there = two(lab)
    guest = Moving(lab, "guest", extra=arguments([Drive(lab.path("here"))])).ready()
    load = Writers(guest, "vda")
    load.go_on(0, here.child)
    target = Moving(lab, "target", way=lab.path("way"), extra=arguments([Drive(lab.path("there"))]))
    target.waits()
    expect(there.running("there") == {}, "a driver runs on the other side")
    guest.sets_out(target)
    before = load.rounds()
    guest.arrives(target)
    load.guest = target
    load.go_on(before + 2, there.child)
    expect(there.running("there") and not here.running("here"), "who serves it?")
    load.end()
    expect(there.export("there")["counters"]["errors"] == 0, "a request has failed")
    end_well(here)
    end_well(there)


if __name__ == "__main__":
    main()
