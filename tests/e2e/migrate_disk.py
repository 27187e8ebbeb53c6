#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest moves while it writes to disks that complete requests in any order: a dirty log and memory for what is in flight at once."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main, need_program  # noqa: E402
from guest.moving import Moving  # noqa: E402
from guest.shuffled import RINGS, Disk, begin_to_write, devices, ends, goes_on, rounds  # noqa: E402


@case(shows=[("vhost-user", ring) for ring in RINGS])
def guest_moves_from_disks_that_are_killed_meanwhile(lab):
    """They are killed with requests in flight when all of its memory has been copied once."""
    if not os.environ.get("MIGRATE_DISK"):
        raise Skip("when QEMU takes the guest for moved depends on how fast both are emulated: run `make migrate`")
    need_program("qemu-system-x86_64")
    here = [Disk(lab, ring) for ring in RINGS]
    there = [Disk(lab, disk.name, disk) for disk in here]
    guest = Moving(lab, "guest", extra=devices(here)).ready()
    for disk, name in zip(here, ("vda", "vdb")):
        begin_to_write(guest, disk, name)
    for disk in here:
        goes_on(guest, disk, 0)
    target = Moving(lab, "target", way=lab.path("way"), extra=devices(there))
    target.waits()
    guest.churns()  # while its disks are away it would arrive
    guest.leaves_for(target)
    before = [rounds(guest, disk) for disk in here]
    for disk in here:
        disk.kill_and_restart(busy=True)
    for disk, was in zip(here, before):
        goes_on(guest, disk, was)
    guest.arrives(target)
    target.check("touch /tmp/still")
    before = [rounds(target, disk) for disk in there]
    for disk, was in zip(there, before):
        goes_on(target, disk, was)
    said = ends(target, there)
    expect(not said, said)
    print(f"     in flight were {[disk.owed() for disk in here]}")
    expect(all(disk.owed() for disk in here), "nothing was in flight when the disks were killed: this shows nothing")


if __name__ == "__main__":
    main()
