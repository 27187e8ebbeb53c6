#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""QEMU guests whose NICs are behind an emulated IOMMU: the switch knows only what the guest's driver has mapped, and what the driver
unmaps is taken from it.

A guest either maps and unmaps each buffer by itself (iommu.strict=1), or unmaps in the lump and later (iommu.strict=0), and takes all of its
rings away each time: what comes before it has told of them again is held. A frame that the switch has dropped is an error, and so is an answer that
is lost between two strict guests; a lazy one loses a few by itself, of which the switch knows nothing. `VIREO_LONG` seconds, if set, is how
long each of them keeps unmapping under load, in more ways; and DPDK drives such a card by VFIO."""
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main, need_program  # noqa: E402
from guest.front import Front  # noqa: E402
from guest.guarded import Guarded  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.traffic import pair, ping, ping_command, ping_parse, transfer  # noqa: E402

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
TCP_MIB = 1
LOAD_S = float(os.environ.get("VIREO_LONG", "2"))
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


def drops(switch):
    """Of both ports, and how many frames were held for them."""
    ports = [switch.port(name) for name in ("left", "right")]
    return sum(port["rx_drops"] + port["tx_drops"] for port in ports), [port["counters"]["tx_held"] for port in ports]


def missing(said, count):
    return f"no answer to {sorted(set(range(count)) - {int(number) for number in re.findall('seq=([0-9]+) ', said)})}: {said[-300:]}"


def answers_come(switch, guest, address, spare):
    count = int(LOAD_S / INTERVAL_S)
    before, _ = drops(switch)  # a guest hears of others before it has buffers for that
    said = guest.check(ping_command(address, count, PAYLOAD, INTERVAL_S), seconds=60 + LOAD_S)
    answers, round_trip_ms = ping_parse(said)
    lost, held = drops(switch)
    print(f"     {guest.name}: {answers} answers of {count} in {LOAD_S:g} s, {round_trip_ms} ms; {held} frames were held", flush=True)
    for port in ("left", "right") if lost > before or answers < count - spare * count else ():
        print(port, {key: value for key, value in switch.port(port)["counters"].items() if value}, flush=True)
    expect(lost == before, f"{lost - before} frames were dropped")
    expect(answers >= count - spare * count, missing(said, count))


ROWS = {"strict_split_to_lazy_packed": ((True, {}), (False, {"packed": "on"}))}
if LONG:
    ROWS["lazy_split_to_strict_packed"] = ((False, {}), (True, {"packed": "on"}))
    ROWS["strict_split_to_strict_packed"] = ((True, {}), (True, {"packed": "on"}))
    ROWS["lazy_split_to_lazy_packed"] = ((False, {}), (False, {"packed": "on"}))


@case_for(ROWS, "guests_behind_an_iommu_talk_{}", shows=[("vhost-user", "split"), ("vhost-user", "packed")])
def guests_behind_an_iommu_talk(lab, left_has, right_has):
    switch, left, right, address_left, address_right = start(lab, left_has, right_has)
    ping(left, address_right, lost=1)
    spare = 0 if left.strict and right.strict else 0.025
    answers_come(switch, left, address_right, spare)
    answers_come(switch, right, address_left, spare)
    transfer(left, address_left, right, TCP_MIB)
    transfer(right, address_right, left, TCP_MIB)
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


# ---- DPDK in the guest ----

VFIO = ["vfio_iommu_type1 allow_unsafe_interrupts=1", "vfio-pci"]
FRAMES = 500
DPDK_S = 120  # an emulated machine, on a loaded one
TESTPMD = ("stdbuf -oL dpdk-testpmd --lcores 0@0,1@0 --no-huge -m 128 --iova-mode=va --no-telemetry -a {} -- --total-num-mbufs=4096 "
           "--forward-mode=macswap --rxd=256 --txd=256")
# The card is the only one of virtio 1.0's network type.
BIND = """set -e
cd /sys/bus/pci/devices
for card in *; do [ "$(cat $card/vendor $card/device | tr '\\n' ' ')" != '0x1af4 0x1041 ' ] || break; done
echo vfio-pci >$card/driver_override
[ ! -e $card/driver ] || echo $card >$card/driver/unbind
echo $card >/sys/bus/pci/drivers_probe
[ "$(basename $(readlink $card/driver))" = vfio-pci ]
echo $card"""


class GuardedLabGuest(Guarded, LabGuest):
    pass


def dpdk_begins(guest, card):
    guest.check(f"tail -f /dev/null | {TESTPMD.format(card)} >/run/testpmd.log 2>&1 & echo $! >/run/testpmd.pid\n"
                "for i in $(seq 1000); do grep -q 'Press enter' /run/testpmd.log && exit 0; kill -0 $(cat /run/testpmd.pid) || break; sleep 0.1; done\n"
                "cat /run/testpmd.log; exit 1", DPDK_S)


def dpdk_ends(guest):
    guest.check("kill -INT $(cat /run/testpmd.pid); for i in $(seq 500); do kill -0 $(cat /run/testpmd.pid) 2>/dev/null || exit 0; sleep 0.1; done; exit 1", DPDK_S)


def frames_come_back(front):
    """Of any size; as many are on their way at a time as rings and what is held have room for."""
    target, source = (bytes.fromhex(mac.replace(":", "")) for mac in MACS)
    back, end = set(), time.monotonic() + DPDK_S
    for number in range(FRAMES):
        front.send((target + source + b"\x88\xb5" + number.to_bytes(4, "big")).ljust(60 + number % 1400, b"\x5a"))
        while number + 1 - len(back) > (64 if number + 1 < FRAMES else 0) and time.monotonic() < end:
            back |= {data[14:18] for _, data in front.receive(0.5) if data[12:14] == b"\x88\xb5"}
    expect(len(back) == FRAMES, f"{len(back)} of {FRAMES} frames have come back")


@case_for({"split": ({},), "packed": ({"packed": "on"},)} if LONG else {}, "dpdk_behind_an_iommu_sends_back_what_it_gets_{}", shows=["vhost-user"])
def dpdk_behind_an_iommu(lab, properties):
    """It maps its memory once, and takes it away when it ends: then it begins again."""
    need_program("dpdk-testpmd")
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in ("left", "right")])
    guest = GuardedLabGuest(lab, nics=[Nic(lab.path("left"), MACS[0], properties=properties)], modules=VFIO).ready()
    card = guest.check(BIND).strip()
    for _ in range(2):
        dpdk_begins(guest, card)
        with Front(lab.path("right")) as front:
            frames_come_back(front)
        dpdk_ends(guest)
    print(f"     {FRAMES} frames there and back, twice; {switch.port('left')['counters']['tx_held']} were held", flush=True)
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
