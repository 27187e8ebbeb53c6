#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two hosts that FRR's EVPN joins: who is behind the switch of one is known to the other, and who moves is found: a front end's socket, and a virtual machine, as
`make demo-evpn` shows. EVPN_BACK_S: pings are to be answered again by then after a live migration."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import evpn, image, kernels, qemu, traffic  # noqa: E402
from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.moving import Moving  # noqa: E402

KNOWN_S = 60
BACK_S = float(os.environ.get("EVPN_BACK_S", 30))  # 2 is met where the machine has a CPU for each guest and the rest
MTU = 1450  # of frames in a VXLAN over an Ethernet


def address(number):
    return mac(number).hex(":")


def known(number, here, there):
    """One host has the address behind its switch, and the other one's kernel has it behind that host."""
    wait_until(lambda: here.here(address(number)) and there.there(address(number)) and not there.here(address(number)), KNOWN_S,
               f"{there.name} knows that {address(number)} is on {here.name}")


def passes(source, target, sender, receiver, text):
    """A frame from one to the other, which comes once."""
    target.poll()
    source.send(text_frame(sender, receiver, text))
    got = []
    wait_until(lambda: got.extend(frame for _, frame in target.receive(0.2)) or text_frame(sender, receiver, text) in got, 30, f"{text} arrives")


@case
def a_guest_that_moves_is_found_on_the_other_host(lab):
    evpn.available()
    west, east = evpn.fabric(lab)
    for host in (west, east):
        host.serve([f"vhost-user:{lab.path(f'{host.name}.{name}')},name={name}" for name in "ab"])
    with Front(lab.path("west.a")) as a:
        a.send(text_frame(1, None))
        known(1, west, east)
        b = Front(lab.path("east.b"))
        b.send(text_frame(2, None))
        known(2, east, west)
        passes(a, b, 1, 2, b"over")
        passes(b, a, 2, 1, b"back")
        for number, (old, new) in enumerate(((east, west), (west, east))):
            b.close()
            wait_until(lambda: not old.here(address(2)), 30, "who has gone is behind the switch no more")
            b = Front(lab.path(f"{new.name}.b"))
            b.send(text_frame(2, None))  # as a guest does that has moved, or its switch for it
            known(2, new, old)
            passes(a, b, 1, 2, b"moved %d" % number)
            passes(b, a, 2, 1, b"answered %d" % number)
        routes = west.asks("show bgp l2vpn evpn route type macip")
        expect(f"[{address(2)}]" in routes and f"[{address(1)}]" in routes, f"FRR has routes of type 2: {routes}")
        b.close()
        wait_until(lambda: not west.there(address(2)), KNOWN_S, "the other host hears that a guest has gone")
    for host in (west, east):
        end_well(host.switch)


@case
def traffic_follows_a_virtual_machine_that_moves_live(lab):
    evpn.available()
    image.initramfs(kernels.kernel())
    west, east = evpn.fabric(lab)
    for host in (west, east):
        host.serve([f"vhost-user:{lab.path(f'{host.name}.{name}')},name={name}" for name in "ab"])

    def guest(name, host, number, **more):
        return Moving(lab, f"{name}{host.name}", [qemu.Nic(lab.path(f"{host.name}.{name}"), address(number))], **more)
    a, b = guest("a", west, 1), guest("b", east, 2)
    for each in (a, b):
        each.ready()
    addresses = traffic.pair(a, b, mtu=MTU)
    a.run(traffic.ping_command(addresses[1], 2), 60)  # who asks for the first time waits for the answer
    known(1, west, east)
    known(2, east, west)
    there = guest("b", west, 2, way=lab.path("way"))
    there.waits()
    pings = traffic.Pings(a, addresses[1])
    pings.go_on(3, 60)
    b.leaves_for(there)
    stood_ms = b.arrives(there)
    known(2, west, east)
    pings.go_on(5, 60)
    gap_ms = pings.longest_gap_ms()
    print(f"  no answer for {gap_ms} ms; QEMU says that it stood still for {stood_ms} ms of that", flush=True)
    expect(gap_ms <= 1000 * BACK_S, f"no answer for {gap_ms} ms, of which it stood still for {stood_ms} ms")
    for host in (west, east):
        end_well(host.switch)


if __name__ == "__main__":
    main()
