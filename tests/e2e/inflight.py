#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk that completes requests in any order is killed under a QEMU guest: QEMU keeps what was in flight, and nothing is lost."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.qemu import Guest  # noqa: E402
from guest.shuffled import RINGS, Disk, begin_to_write, devices, ends, goes_on, rounds  # noqa: E402
from guest.writers import failed  # noqa: E402


@case(shows=[("vhost-user", ring) for ring in RINGS])
def disks_killed_with_requests_in_flight_lose_none(lab):
    """`make killings` does it INFLIGHT_KILLS times."""
    need_program("qemu-system-x86_64")
    kills = int(os.environ.get("INFLIGHT_KILLS", "2"))
    disks = [Disk(lab, ring) for ring in RINGS]
    guest = Guest(lab, "guest", extra=devices(disks)).ready()
    for disk, name in zip(disks, ("vda", "vdb")):
        begin_to_write(guest, disk, name)
    for disk in disks:
        goes_on(guest, disk, 0)
    for n in range(kills):
        before = [rounds(guest, disk) for disk in disks]
        time.sleep(0.05 * (n % 7))  # anywhere in what they do
        for disk in disks:
            disk.kill_and_restart(n % 2)
        for disk, was in zip(disks, before):
            goes_on(guest, disk, was)
        expect(not failed(guest), "what was read is not what was written")
        if kills > 5:
            print(f"     killed {n + 1} of {kills}, in flight were {[disk.owed() for disk in disks]}", flush=True)
    said = ends(guest, disks)
    expect(not said, said)
    print(f"     {kills} kills, in flight were {[disk.owed() for disk in disks]}")
    expect(all(disk.owed() for disk in disks), "nothing was in flight in any of the kills: this shows nothing")


if __name__ == "__main__":
    main()
