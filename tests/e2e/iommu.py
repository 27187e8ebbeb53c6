#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""QEMU guests whose NICs are behind an emulated IOMMU: the switch knows only what the guest's driver has mapped, and what the driver
unmaps is taken from it.

A guest either maps and unmaps each buffer by itself (iommu.strict=1), or unmaps in the lump and later (iommu.strict=0). `VIREO_LONG`
seconds, if set, is how long each of them keeps unmapping under load, in more ways: where both are strict, an answer that is lost is an error. A
lazy one takes all of its rings away each time, and what comes before it has told of them again is lost."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main, need_program  # noqa: E402
from guest.guarded import Guarded  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.traffic import pair, ping, ping_command, ping_parse, transfer  # noqa: E402

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
TCP_MIB = 1
LOAD_S = float(os.environ.get("VIREO_LONG", "2"))
# A machine that is busy with others answers the switch's questions late, and a queue that waits for one takes no frames.
LONG = "VIREO_LONG" in os.environ
INTERVAL_S = 0.05
PAYLOAD = 1400


class GuardedGuest(Guarded, Guest):
    pass


def start(lab, left_has, right_has):
    need_program("qemu-system-x86_64")
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in ("left", "right")])
    left, right = (GuardedGuest(lab, name, [Nic(lab.path(name), mac, properties=properties)], strict=strict)
                   for name, mac, (strict, properties) in zip(("left", "right"), MACS, (left_has, right_has)))
    for guest in (left, right):
        guest.ready()
        expect(guest.is_guarded(), "the driver has not accepted ACCESS_PLATFORM")
    return (switch, left, right, *pair(left, right))


def answers_come(switch, guest, address, least):
    count = int(LOAD_S / INTERVAL_S)
    said = guest.check(ping_command(address, count, PAYLOAD, INTERVAL_S), seconds=60 + LOAD_S)
    answers, round_trip_ms = ping_parse(said)
    print(f"     {guest.name}: {answers} answers of {count} in {LOAD_S:g} s, {round_trip_ms} ms", flush=True)
    if answers < count * least:
        for name in ("left", "right"):
            print(name, {key: value for key, value in switch.port(name).items() if value}, flush=True)
        expect(False, said[-300:])


ROWS = {"strict_split_to_lazy_packed": ((True, {}), (False, {"packed": "on"}))}
if LONG:
    ROWS["lazy_split_to_strict_packed"] = ((False, {}), (True, {"packed": "on"}))
    ROWS["strict_split_to_strict_packed"] = ((True, {}), (True, {"packed": "on"}))


@case_for(ROWS, "guests_behind_an_iommu_talk_{}", shows=[("vhost-user", "split"), ("vhost-user", "packed")])
def guests_behind_an_iommu_talk(lab, left_has, right_has):
    switch, left, right, address_left, address_right = start(lab, left_has, right_has)
    ping(left, address_right, lost=1)
    least = 0.85 if not LONG else 1 if left.strict and right.strict else 0.99
    answers_come(switch, left, address_right, least)
    answers_come(switch, right, address_left, least)
    transfer(left, address_left, right, TCP_MIB)
    transfer(right, address_right, left, TCP_MIB)
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
