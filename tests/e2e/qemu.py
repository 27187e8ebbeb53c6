#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two QEMU guests with Debian's kernel on one switch: what passes between them, whatever their NICs can do.

It looks at no clock, and runs beside others; comeback.py has what does.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.couple import MACS, TCP_MIB, both_ways, end_well, start  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.traffic import ping, transfer  # noqa: E402

NO_OFFLOADS = {name: "off" for name in ("csum", "gso", "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
                                        "host_tso4", "host_tso6", "host_ecn", "host_ufo")}


@case_for({
    "as_they_come": ({}, {}),
    "mrg_rxbuf_off": ({"mrg_rxbuf": "off"}, {"mrg_rxbuf": "off"}),
    "mrg_rxbuf_off_to_on": ({"mrg_rxbuf": "off"}, {}),
    "packed_on": ({"packed": "on"}, {"packed": "on"}),
    "packed_to_split": ({"packed": "on"}, {}),
    "indirect_desc_off": ({"indirect_desc": "off"}, {"indirect_desc": "off"}),
    "event_idx_off": ({"event_idx": "off"}, {"event_idx": "off"}),
    "offloads_off_in_one_device": ({}, NO_OFFLOADS),
    "offloads_off_in_one_device_without_mrg_rxbuf": ({}, {**NO_OFFLOADS, "mrg_rxbuf": "off"}),
}, "guests_talk_{}", shows=["vhost-user"])
def guests_talk(lab, left, right):
    switch, *rest = start(lab, left, right)
    both_ways(*rest)
    end_well(switch)


@case
def guests_talk_with_offloads_switched_off_and_on_again(lab):
    need_program("ethtool")
    switch, left, right, *addresses = start(lab)
    for setting in ("off", "on"):
        for guest in (left, right):
            guest.check(f"ethtool -K {guest.interface()} tx {setting} sg {setting} tso {setting} gso {setting} gro {setting}")
        both_ways(left, right, *addresses)
    end_well(switch)


@case
def guests_talk_over_ipv6(lab):
    switch, left, right, *_ = start(lab)
    for guest, address in ((left, "fd07::1"), (right, "fd07::2")):
        name = guest.interface()
        guest.check(f"echo 0 >/proc/sys/net/ipv6/conf/{name}/accept_dad; ip -6 addr add {address}/64 dev {name}")
    ping(left, "fd07::2")
    transfer(left, "fd07::1", right, TCP_MIB)
    transfer(right, "fd07::2", left, TCP_MIB)
    end_well(switch)


@case_for({"split": ({},), "packed": ({"packed": "on"},)}, "both_queue_pairs_carry_frames_{}", shows=["vhost-user"])
def both_queue_pairs_carry_frames(lab, properties):
    need_program("ethtool")
    switch, left, right, *addresses = start(lab, properties, properties, queues=2, cpus=2)
    for guest in (left, right):
        guest.check(f"ethtool -L {guest.interface()} combined 2")
    both_ways(left, right, *addresses)
    for mask in (1, 2):  # a queue belongs to a CPU
        left.check(f"taskset {mask} ping -c 3 -i 0.2 {addresses[1]}")
    used = {queue["queue"] for queue in switch.port("left")["queue_counters"]
            if queue["direction"] == "rx" and queue["frames"]}
    expect(used == {0, 1}, f"only the queues {used} of left brought frames")
    left.check(f"ping -i 0.01 -c 400 {addresses[1]} >/tmp/pings 2>&1 &")
    for _ in range(3):  # nobody is disconnected, and no ping is lost
        switch.hand_over()
    both_ways(left, right, *addresses)
    said = left.check("while pidof ping >/dev/null; do sleep 0.1; done; cat /tmp/pings")
    expect(" 0% packet loss" in said, f"pings were lost: {said}")
    print(f"    pings while three processes took over: {said.strip().splitlines()[-1]}", flush=True)
    for guest in (left, right):  # the control queue takes them back to one pair
        guest.check(f"ethtool -L {guest.interface()} combined 1")
    both_ways(left, right, *addresses)
    end_well(switch)


@case
def jumbo_frames_pass_in_one_piece(lab):
    mtu = {"host_mtu": 9000}
    switch, left, right, *addresses = start(lab, mtu, mtu, port=",mtu=9000")
    seen = left.check(f"cat /sys/class/net/{left.interface()}/mtu").strip()
    expect(seen == "9000", f"the driver has taken the MTU {seen}")
    ping(left, addresses[1])
    before = switch.port("left")
    ping(left, addresses[1], count=5, payload=8972)
    after = switch.port("left")
    frames, octets = (after[name] - before[name] for name in ("rx_frames", "rx_bytes"))
    expect(octets >= 5 * 9014 and frames < 10, f"{octets} bytes came in {frames} frames")
    both_ways(left, right, *addresses)
    end_well(switch)


@case
def a_guest_that_reboots_is_back_on_the_network(lab):
    switch, left, right, *addresses = start(lab)
    ping(left, addresses[1])
    for _ in range(2):
        left.reboot()
        left.address("10.7.0.1/24")
        both_ways(left, right, *addresses)
    end_well(switch)


@case
def a_guest_that_is_killed_leaves_its_port_to_the_next(lab):
    switch, left, right, *addresses = start(lab)
    ping(left, addresses[1])
    left.kill()
    expect(switch.alive(), "vireo-switchd has ended with its guest")
    left = Guest(lab, "left-again", [Nic(lab.path("left"), MACS[0])]).ready()
    left.address("10.7.0.1/24")
    both_ways(left, right, *addresses)
    end_well(switch)


if __name__ == "__main__":
    main()
