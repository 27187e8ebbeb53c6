#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two QEMU guests on a switch that ends, by SIGTERM or by kill -9, and is there again: how long that takes them."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.couple import MACS, both_ways, end_well, start  # noqa: E402
from guest.daemon import seconds_to_its_end  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.traffic import pair, ping  # noqa: E402


def kill_and_restart(switch, specs):
    switch.kill()
    switch.start()


def remove_and_add_ports(switch, specs):
    for spec in specs:
        switch.ctl("port", "remove", spec.partition("name=")[2].partition(",")[0])
    for spec in specs:
        switch.ctl("port", "add", spec)


ROUNDS = int(os.environ.get("COMEBACK_ROUNDS", "1"))
BACK_S = 60  # QEMU tries to connect once a second; an emulated guest's seconds go on while its machine has no time for it
PACKED, SPLIT = {"packed": "on"}, {}
COMEBACKS = {"which_listens": (False, PACKED, SPLIT), "which_connects": (True, PACKED, SPLIT)}
if ROUNDS > 1:
    COMEBACKS = {f"{mode}_{ring}": (connects, has, has) for mode, (connects, *_) in COMEBACKS.items()
                 for ring, has in (("split", SPLIT), ("packed", PACKED))}


def answers_again(guest, address):
    """Somebody there has answered, for the first time, within BACK_S by the host's clock; then no answer is lost."""
    end = time.monotonic() + BACK_S
    while guest.run(f"ping -c 1 -W 1 {address}").status:
        expect(time.monotonic() < end, f"{address} does not answer within {BACK_S} s")


@case_for(COMEBACKS, "traffic_comes_back_after_kill_9_of_a_switch_{}")
def traffic_comes_back_after_kill_9(lab, connects, *properties):
    """And after its ports were removed and added. The guests are not told, and nobody helps them; one has packed rings.

    `make comeback` does it COMEBACK_ROUNDS times, with split rings in both, and with packed ones.
    """
    need_program("qemu-system-x86_64")
    mode = ",mode=client" if connects else ""
    specs = [f"vhost-user:{lab.path(name)},name={name}{mode}" for name in ("left", "right")]
    switch = Switch(lab, specs)
    left, right = [Guest(lab, name, [Nic(lab.path(name), MACS[i], server=connects, properties=properties[i])])
                   for i, name in enumerate(("left", "right"))]
    for guest in (left, right):
        guest.ready()
    addresses = pair(left, right)
    both_ways(left, right, *addresses)
    pauses = {kill_and_restart: [], remove_and_add_ports: []}
    for _ in range(ROUNDS):
        for befalls, seconds in pauses.items():
            load = left.begin(f"ping -i 0.005 -w 2 {addresses[1]} >/dev/null")  # something is on its way
            time.sleep(0.5)
            begin = time.monotonic()
            befalls(switch, specs)
            answers_again(left, addresses[1])
            seconds.append(time.monotonic() - begin)
            left.wait(load)
            ping(left, addresses[1])
            ping(right, addresses[0])
    for befalls, seconds in pauses.items():
        print(f"     {befalls.__name__}: {len(seconds)} times, answered again after {max(seconds):.1f} s at most", flush=True)
    both_ways(left, right, *addresses)
    end_well(switch)


@case
def sigterm_ends_the_switch_within_a_second_under_load(lab):
    switch, left, right, *addresses = start(lab)
    right.check("cd /tmp; rm -f hold; mkfifo hold; (nc -l -p 5000 0<>hold >/dev/null) & "
                "until grep -q ':1388 0*:0000 0A' /proc/net/tcp*; do sleep 0.1; done")
    left.check(f"(dd if=/dev/zero bs=64k | nc {addresses[1]} 5000) >/dev/null 2>&1 & sleep 2")
    before = switch.port("left")["rx_bytes"]
    wait_until(lambda: switch.port("left")["rx_bytes"] > before + 100000, 60, "there is load")
    switch.child.terminate()
    whole, seconds = seconds_to_its_end(switch.child)
    expect(switch.child.returncode == 0 and seconds < 1, f"it ended with {switch.child.returncode} after {seconds:.2f} s of its own, {whole:.2f} s in all")
    expect(not os.path.exists(lab.path("left")), "its socket is still there")


if __name__ == "__main__":
    main()
