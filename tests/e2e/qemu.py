#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two QEMU guests with Debian's kernel on one switch: what passes between them, whatever their NICs can do."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.traffic import pair, ping, transfer  # noqa: E402

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
TCP_MIB = 4
NO_OFFLOADS = {name: "off" for name in ("csum", "gso", "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
                                        "host_tso4", "host_tso6", "host_ecn", "host_ufo")}


def start(lab, left=None, right=None, queues=1, port="", cpus=1):
    """A switch, and two guests on it that have addresses: (switch, left, right, address, address)."""
    need_program("qemu-system-x86_64")
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name},queues={queues}{port}" for name in ("left", "right")])
    guests = [Guest(lab, name, [Nic(lab.path(name), MACS[i], queues=queues, properties=properties or {})], cpus=cpus)
              for i, (name, properties) in enumerate((("left", left), ("right", right)))]
    for guest in guests:
        guest.ready()
    return (switch, *guests, *pair(*guests))


def both_ways(left, right, address_left, address_right):
    ping(left, address_right)
    ping(right, address_left)
    ping(left, address_right, count=2, payload=1400)
    transfer(left, address_left, right, TCP_MIB)
    transfer(right, address_right, left, TCP_MIB)


def end_well(switch):
    """The daemon saw nothing odd."""
    for port in switch.ask("stats")["ports"]:
        odd = {name: value for name, value in port["counters"].items()
               if value and name in ("rx_bad_source", "tx_segment_error")}
        expect(not odd, f"port {port['name']}: {odd}")
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


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


def kill_and_restart(switch, specs):
    switch.kill()
    switch.start()


def remove_and_add_ports(switch, specs):
    for spec in specs:
        switch.ctl("port", "remove", spec.partition("name=")[2].partition(",")[0])
    for spec in specs:
        switch.ctl("port", "add", spec)


@case_for({"which_listens": (False,), "which_connects": (True,)}, "traffic_comes_back_after_kill_9_of_a_switch_{}")
def traffic_comes_back_after_kill_9(lab, connects):
    """And after its ports were removed and added. The guests are not told, and nobody helps them; one has packed rings.

    `make comeback` does it COMEBACK_ROUNDS times, with packed rings in both.
    """
    need_program("qemu-system-x86_64")
    rounds = int(os.environ.get("COMEBACK_ROUNDS", "1"))
    mode = ",mode=client" if connects else ""
    specs = [f"vhost-user:{lab.path(name)},name={name}{mode}" for name in ("left", "right")]
    switch = Switch(lab, specs)
    properties = {"packed": "on"}, {"packed": "on" if rounds > 1 else "off"}
    left, right = [Guest(lab, name, [Nic(lab.path(name), MACS[i], server=connects, properties=properties[i])])
                   for i, name in enumerate(("left", "right"))]
    for guest in (left, right):
        guest.ready()
    addresses = pair(left, right)
    both_ways(left, right, *addresses)
    for n in range(rounds):
        for befalls in (kill_and_restart, remove_and_add_ports):
            load = left.begin(f"ping -i 0.005 -w 2 {addresses[1]} >/dev/null")  # something is on its way
            time.sleep(0.5)
            befalls(switch, specs)
            left.wait(load)
            ping(left, addresses[1], count=50, lost=40)  # 10 s for QEMU to come back; then nothing is lost
            ping(right, addresses[0])
            if rounds > 1:
                print(f"     {befalls.__name__}: {n + 1} of {rounds}", flush=True)
    both_ways(left, right, *addresses)
    end_well(switch)


@case
def sigterm_ends_the_switch_within_a_second_under_load(lab):
    switch, left, right, *addresses = start(lab)
    right.check("cd /tmp; rm -f hold; mkfifo hold; (nc -l -p 5000 0<>hold >/dev/null) & sleep 0.3")
    left.check(f"(dd if=/dev/zero bs=64k | nc {addresses[1]} 5000) >/dev/null 2>&1 & sleep 2")
    before = switch.port("left")["rx_bytes"]
    time.sleep(0.5)
    expect(switch.port("left")["rx_bytes"] > before + 100000, "there is no load")
    begin = time.monotonic()
    switch.child.terminate()
    status = switch.child.wait(5)
    seconds = time.monotonic() - begin
    expect(status == 0 and seconds < 1, f"it ended with {status} after {seconds:.2f} s")
    expect(not os.path.exists(lab.path("left")), "its socket is still there")


if __name__ == "__main__":
    main()
