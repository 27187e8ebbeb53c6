#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's own bonding driver is the judge of our link aggregation: it agrees with us by LACP, frames pass and are spread over both
links, and when one is taken away under traffic the other carries. LAG_WHOLE=1: how soon, and where the link stays and nobody speaks at
it; of the modes without LACP as well; and its bridge is the judge of a bond that the other end knows nothing of."""
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main, shared  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.switch import start_inside  # noqa: E402

WHOLE = os.environ.get("LAG_WHOLE")
JUDGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lag_judge.py")
MODULES = ["tun", "bridge", "bonding max_bonds=0"]
PORTS = ["bond:up,role=uplink", "tap:m0,bond=up", "tap:m1,bond=up", "tap:g0"]


def set_up(lab):
    guest = LabGuest(lab, modules=MODULES).ready()
    guest.check("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; mkdir -p /run/netns; ip netns add near; ip netns add far")
    start_inside(guest, PORTS)
    guest.check("ip link set g0 netns near && ip netns exec near sh -c 'ip addr add 10.9.0.1/24 dev g0 && ip link set g0 up' && "
                "ip link set m0 netns far && ip link set m1 netns far")
    return guest


def judged(kind, *losses):
    if kind != "lacp" and not WHOLE:
        raise Skip("half a minute of an emulated machine: with LAG_WHOLE=1")
    guest = shared("lag", set_up)
    answer = guest.check(f"{sys.executable} {JUDGE} {kind} {' '.join(losses)}", seconds=300)
    return json.loads(answer.strip().splitlines()[-1])


def expect_back(seen):
    """After each loss what was lost comes by the other member, and nothing goes out by the cable that is gone."""
    for loss in seen["lost"]:
        udp_ms, tcp_ms, limit_ms, moved = loss["udp_ms"], loss["tcp_ms"], loss["limit_ms"], loss["moved"]
        print(f"     {loss['how']} of {loss['member']}: {udp_ms} ms without an answer by UDP, {tcp_ms} ms by TCP", flush=True)
        expect(all(count > 20 for count in moved[loss["other"]][:2]), f"{loss['other']} is to carry both ways: {loss}")
        expect(loss["how"] == "silence" or moved[loss["member"]][0] == 0, f"{loss['member']} is to carry nothing: {loss}")
        if WHOLE:  # questions were asked every 10 ms
            expect(udp_ms <= limit_ms, f"more than {limit_ms} ms: {loss}")
            expect(tcp_ms <= limit_ms + 1000, f"more than {limit_ms} ms and a repetition: {loss}")


def expect_spread(seen):
    expect(seen["flows"] == 256, f"{seen['flows']} answers of 256")
    for name, (sent, brought, _) in seen["spread"].items():
        expect(sent >= 40 and brought >= 40, f"{name} carried {sent} and brought {brought} of 256: {seen['spread']}")


@case
def lacp_agrees_with_the_kernels_bonding(_lab):
    seen = judged("lacp", "link", *(["silence"] if WHOLE else []))
    lacp = seen["bond"]["lacp"]
    expect(seen["kernel"]["partner"] == lacp["system"] and seen["kernel"]["key"] == lacp["key"], f"{seen['kernel']} and {lacp}")
    expect(seen["kernel"]["ports"] == 2 and not seen["kernel"]["churned"], f"{seen['kernel']}")
    expect(lacp["partner"]["system"] == seen["mac"], f"{lacp['partner']}, and the driver is {seen['mac']}")
    for member in seen["bond"]["members"]:
        machines = member["lacp"]
        expect((machines["receive"], machines["periodic"], machines["mux"]) == ("current", "fast", "distributing"), f"{machines}")
        expect({"synchronization", "collecting", "distributing", "timeout"} <= set(machines["partner"]["state"]), f"{machines}")
        expect(not machines["bad"], f"{machines}")
    expect_spread(seen)
    expect_back(seen)


@case
def balance_xor_carries_over_both_links(_lab):
    seen = judged("balance", "link")
    expect_spread(seen)
    expect_back(seen)


@case
def active_backup_follows_the_link(_lab):
    seen = judged("active-backup", "link")
    expect(seen["flows"] == 256, f"{seen['flows']} answers")
    expect_back(seen)


@case
def a_bridge_learns_the_way_when_another_member_carries(_lab):
    """It floods what we send to all back at the other member, where it is dropped; and knows of no bond."""
    seen = judged("bridge", "link", "down")
    expect(seen["flows"] == 256, f"{seen['flows']} answers")
    expect_back(seen)
    active = seen["bond"]["active"]
    expect(all(sent == 0 for name, (sent, _, _) in seen["spread"].items() if name != active), f"{active}: {seen['spread']}")


if __name__ == "__main__":
    main()
