#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""QEMU guests whose NICs are behind an emulated IOMMU: the switch knows only what the guest's driver has mapped, and what the driver
unmaps is taken from it.

A guest either maps and unmaps each buffer by itself (iommu.strict=1), or unmaps in the lump and later (iommu.strict=0). What
comes for it while the switch learns of a change is lost. `VIREO_LONG` seconds, if set, is how long the load lasts."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main, need_program  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.traffic import pair, ping, ping_command, ping_parse, transfer  # noqa: E402

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
TCP_MIB = 2
BEHIND = {"iommu_platform": "on", "ats": "on"}
LOAD_S = float(os.environ.get("VIREO_LONG", "4"))
INTERVAL_S = 0.05
PAYLOAD = 1400


class Guarded(Guest):
    """Its NICs each have a port of their own: only there QEMU's have ATS, without which it is told of no lazy unmapping."""
    def __init__(self, lab, name, nics, strict):
        self.strict = strict
        super().__init__(lab, name, nics)

    def _arguments(self, memory_mib, cpus, extra, programs):
        nics, self.nics = self.nics, []
        argv = super()._arguments(memory_mib, cpus, (), programs)
        argv[argv.index("-append") + 1] += f" intel_iommu=on iommu.strict={int(self.strict)}"
        argv += ["-device", "intel-iommu,device-iotlb=on,intremap=off"]
        for index, nic in enumerate(nics):
            argv += ["-device", f"pcie-root-port,id=root{index},chassis={index + 1}"] + nic.arguments(index)
        self.nics = nics
        return argv + list(extra)


def start(lab, strict, properties):
    need_program("qemu-system-x86_64")
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in ("left", "right")])
    left = Guarded(lab, "left", [Nic(lab.path("left"), MACS[0], properties={**BEHIND, "bus": "root0", **properties})], strict)
    right = Guest(lab, "right", [Nic(lab.path("right"), MACS[1], properties=properties)])
    for guest in (left, right):
        guest.ready()
    features = left.check(f"cat /sys/class/net/{left.interface()}/device/features").strip()
    expect(features[33] == "1", f"the driver has not accepted ACCESS_PLATFORM: {features}")
    return (switch, left, right, *pair(left, right))


def load(guest, address):
    count = int(LOAD_S / INTERVAL_S)
    said = guest.check(ping_command(address, count, PAYLOAD, INTERVAL_S), seconds=60 + LOAD_S)
    answers, round_trip_ms = ping_parse(said)
    print(f"     {guest.name}: {answers} answers of {count} in {LOAD_S:g} s, {round_trip_ms} ms", flush=True)
    expect(answers >= count // 2, said)


@case_for({
    "strict_split": (True, {}),
    "strict_packed": (True, {"packed": "on"}),
    "lazy_split": (False, {}),
    "lazy_packed": (False, {"packed": "on"}),
}, "guests_behind_an_iommu_talk_{}", shows=["vhost-user"])
def guests_behind_an_iommu_talk(lab, strict, properties):
    switch, left, right, address_left, address_right = start(lab, strict, properties)
    ping(left, address_right, lost=3)
    load(left, address_right)
    load(right, address_left)
    transfer(left, address_left, right, TCP_MIB)
    transfer(right, address_right, left, TCP_MIB)
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
