#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest moves from one switch to another by postcopy: it runs there before its memory has come, and nothing of it is lost."""
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case_for, expect, main, need_program  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402

MAC, PEER_MAC, GUEST, PEER = "52:54:00:00:00:01", "52:54:00:00:00:02", "10.7.0.1", "10.7.0.2"
HELD = "/tmp/held"  # in memory: the guest has no disk


class Machine(Guest):
    """The second waits for what comes; `huge`: its memory is of huge pages."""

    def __init__(self, lab, name, properties, way=None, huge=False):
        self.huge = huge
        super().__init__(lab, name, [Nic(lab.path(name), MAC, properties=properties)],
                         extra=["-incoming", f"unix:{way}"] if way else [])

    def _board(self, memory_mib, cpus):
        return [word + (",hugetlb=on,hugetlbsize=2M" if self.huge and word.startswith("memory-backend-memfd") else "")
                for word in super()._board(memory_mib, cpus)]

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


CASES = {"packed": ({"packed": "on"}, False)}  # each takes half a minute
if os.environ.get("POSTCOPY_ALL"):
    CASES.update({"split": ({}, False), "split_huge_pages": ({}, True)})


@case_for(CASES, "guest_moves_before_its_memory_{}", shows=["vhost-user"])
def guest_moves(lab, properties, huge):
    need_program("qemu-system-x86_64")
    if not may():
        raise Skip("this user may have no userfaultfd that the kernel's own faults wait for")
    if huge and not huge_pages(160):
        raise Skip("there are no huge pages for two guests")
    way = lab.path("way")
    switch = Switch(lab, [f"vhost-user:{lab.path(n)},name={n},postcopy=on" for n in ("here", "there")] +
                    [f"vhost-user:{lab.path('peer')},name=peer"])
    source = Machine(lab, "here", properties, huge=huge)
    peer = Guest(lab, "peer", [Nic(lab.path("peer"), PEER_MAC)])
    source.ready().address(f"{GUEST}/24")
    peer.ready().address(f"{PEER}/24")
    source.check(f"dd if=/dev/urandom of={HELD} bs=64k count=256 2>&1")
    held = source.check(f"sha256sum <{HELD}").split()[0]
    peer.check(f"ping -c 2 -W 5 {GUEST}")
    target = Machine(lab, "there", properties, way, huge)
    wait_until(lambda: os.path.exists(way), 30, "the other side waits for the guest", child=target.child)
    for machine in (source, target):
        machine.monitor("migrate_set_capability postcopy-ram on")
    source.monitor("migrate_set_parameter max-bandwidth 8M")
    source.monitor("migrate_set_parameter max-postcopy-bandwidth 16M")
    source.monitor(f"migrate -d unix:{way}")
    wait_until(lambda: source.status() == "active", 60, "it begins")
    source.monitor("migrate_start_postcopy")
    wait_until(lambda: source.status() in ("postcopy-active", "completed", "failed"), 60, "it goes over to postcopy")
    was = source.status()
    expect(was == "postcopy-active", f"it is {was}: {source.monitor('info migrate')}")
    call = peer.begin(f"ping -c 20 -i 0.2 -W 20 {GUEST}", 120)
    wait_until(lambda: source.status() in ("completed", "failed"), 120, "all of its memory has come")
    expect(source.status() == "completed", source.monitor("info migrate"))
    source.kill()
    target.boots = 1
    answered = peer.wait(call)
    expect(" 0 packets received" not in answered.output and "received" in answered.output, answered.output)
    expect(target.check(f"sha256sum <{HELD}").split()[0] == held, "what the guest held is damaged")
    peer.check(f"ping -c 3 -W 5 {GUEST}")
    print("     " + re.search(r"\d+ packets transmitted.*", answered.output).group(), flush=True)
    with open(lab.path("switchd.log")) as log:
        text = log.read()
    expect("postcopy is over" in text, text)
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
