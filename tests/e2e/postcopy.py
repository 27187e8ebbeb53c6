#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest moves from one switch to another by postcopy: it runs there before its memory has come, and nothing of it is lost."""
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case_for, expect, main, need_program  # noqa: E402
from guest.lab import tail, wait_until  # noqa: E402
from guest.moving import Moving, cpu_share  # noqa: E402
from guest.place import GUEST, HOST, MAC, Place, pinged  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402

HELD = "/tmp/held"  # in memory: the guest has no disk
ROUNDS = int(os.environ.get("POSTCOPY_ROUNDS", "1"))
HUNG_S = 15
BACK_S = float(os.environ.get("POSTCOPY_BACK_S", HUNG_S))  # `make migrate` asks for less


class Machine(Moving):
    """`huge`: its memory is of huge pages."""

    def __init__(self, lab, moves, properties, huge=False):
        self.huge = huge
        super().__init__(lab, f"guest{moves}", [Nic(lab.path(f"guest{moves % 2}"), MAC, properties=properties)],
                         way=lab.path(f"way{moves}") if moves else None)

    def _board(self, memory_mib, cpus):
        if not self.huge:
            return super()._board(memory_mib, cpus)
        return [word + ",hugetlb=on,hugetlbsize=2M" * word.startswith("memory-backend-memfd")
                for word in Guest._board(self, memory_mib, cpus)]  # which is of whole huge pages

    def status(self):
        found = re.search(r"Migration status: (\S+)", self.monitor("info migrate"))
        return found.group(1) if found else ""


def huge_pages(mib):
    with open("/proc/meminfo") as file:
        free = int(re.search(r"HugePages_Free: +(\d+)", file.read()).group(1))
    return free * 2 >= 2 * mib


def may():
    """Has this process a userfaultfd to give away?"""
    try:
        with open("/proc/sys/vm/unprivileged_userfaultfd") as file:
            return os.geteuid() == 0 or file.read().strip() == "1"
    except OSError:
        return False


# Packed: its switch announces it; split: the guest does so by itself. Each takes half a minute.
CASES = {"packed": ({"packed": "on", "guest_announce": "off"}, False)}
if os.environ.get("POSTCOPY_ALL"):
    CASES.update({"split": ({}, False), "split_huge_pages": ({}, True)})


def move(place, source, target, held):
    """Its memory comes after it. Returns (the longest time without an answer to a ping until all of it has come, in ms, what was pinged).

    What comes by itself has no limit, as is QEMU's default: where it has one (16 MB/s), a page that is asked for waits for its
    turn, 24 ms each, and the guest for 90 of them.
    """
    for machine in (source, target):
        machine.monitor("migrate_set_capability postcopy-ram on")
    target.monitor("migrate_set_capability postcopy-blocktime on")
    source.monitor("migrate_set_parameter max-bandwidth 8M")  # it does not arrive before postcopy begins
    pinger = place.pinger()
    source.monitor(f"migrate -d unix:{target.way}")
    wait_until(lambda: source.status() == "active", 60, "it begins")
    begin, before = time.monotonic(), target.cpu_ms()
    source.monitor("migrate_start_postcopy")
    wait_until(lambda: source.status() in ("postcopy-active", "completed", "failed"), 60, "it goes over to postcopy")
    was = source.status()
    expect(was == "postcopy-active", f"it is {was}: {source.monitor('info migrate')}")
    wait_until(lambda: source.status() in ("completed", "failed"), 120, "all of its memory has come")
    expect(source.status() == "completed", source.monitor("info migrate"))
    end, after = time.monotonic(), target.cpu_ms()
    asked, stood_ms = source.number("postcopy request count"), target.number("postcopy blocktime")
    expect(asked, f"no page was asked for: nothing came late: {source.monitor('info migrate')}")
    source.kill()
    target.boots = 1
    expect(target.check(f"sha256sum <{HELD}").split()[0] == held, "what the guest held is damaged")
    target.check(f"ping -c 3 -W 5 {HOST}")
    pings = pinged(pinger)
    longest = pings.longest_ms(begin, end)
    print(f"     moved: no answer for {longest} ms ({pings.longest_ms()} ms at any time), {pings.answered} of {pings.sent} pings answered; "
          f"{asked} pages were asked for, and its CPU waited {stood_ms} ms for such; QEMU got {cpu_share(before, after)} of the CPU it wanted",
          flush=True)
    expect(pings.answered and longest < 1000 * BACK_S, f"no answer for {longest} ms")
    return longest, pings


@case_for(CASES, "guest_moves_before_its_memory_{}", shows=["vhost-user"])
def guest_moves(lab, properties, huge):
    """`make migrate` does it 20 times, there and back."""
    need_program("qemu-system-x86_64")
    if not may():
        raise Skip("this user may have no userfaultfd that the kernel's own faults wait for")
    if huge and not huge_pages(160):
        raise Skip("there are no huge pages for two guests")
    place = Place(lab, ",postcopy=on")
    source = Machine(lab, 0, properties, huge).ready()
    source.address(f"{GUEST}/24")
    source.check(f"dd if=/dev/urandom of={HELD} bs=64k count=256 2>&1")
    held = source.check(f"sha256sum <{HELD}").split()[0]
    source.check(f"ping -c 2 -W 5 {HOST}")
    pauses = []
    for n in range(ROUNDS):
        target = Machine(lab, n + 1, properties, huge)
        target.waits()
        longest, pings = move(place, source, target, held)
        pauses.append(longest)
        expect(pings.announced if "guest_announce" in properties else pings.itself, "nobody has told the network where the guest is")
        log = place.switches[(n + 1) % 2].child.log
        wait_until(lambda log=log, times=n // 2 + 1: open(log).read().count("postcopy is over") >= times, 20, "the log says that it is over")
        expect(open(log).read().count("postcopy is over") == n // 2 + 1, tail(log, 100))
        source = target
    print(f"     {len(pauses)} moves, the longest pause was {max(pauses)} ms", flush=True)
    place.end()


if __name__ == "__main__":
    main()
