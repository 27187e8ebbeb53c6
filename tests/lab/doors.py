#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""One switch with every kind of door at once: a machine over vhost-user, the kernel's own interface over VDUSE, a machine that
takes a vhost character device (CUSE), and a network behind a card that the switch drives by UIO. Each pings each."""
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.labguest import Bridged, LabGuest  # noqa: E402
from guest.nested import RING_PACKED_BIT, Nested, all_at_once, network, reach, suspended  # noqa: E402
from guest.qemu import CommandFailed  # noqa: E402
from guest.switch import CONTROL, LOG, program, start_inside  # noqa: E402
from guest.traffic import ping_command, ping_parse  # noqa: E402

MODULES = ["cuse", "tun", "vduse", "virtio_vdpa", "virtio_net", "uio_pci_generic"]
USER, KERNEL, CUSE, CARD = "vhost-user", "vduse", "cuse", "virtio-pci"
ADDRESSES = {USER: "10.9.0.1", KERNEL: "10.9.0.2", CUSE: "10.9.0.3", CARD: "10.9.0.4"}
MACS = {kind: f"52:54:00:00:4d:0{index}" for index, kind in enumerate(ADDRESSES)}
OURS = "52:54:00:00:4d:0f"  # the switch's card
NAMESPACES = {KERNEL: "kernel", CARD: "far"}
PINGS = 3


def ctl(guest, *words):
    return json.loads(guest.check(f"{program('vireoctl')} -s {CONTROL} --json {' '.join(words)}"))


def function_of(guest, mac):
    interface = guest.check(f"grep -l {mac} /sys/class/net/*/address").split("/")[-2]
    return interface, os.path.basename(guest.check(f"readlink -f /sys/class/net/{interface}/device/..").strip())


def settle(guest, kind):
    """The interface with this address appears, and moves to a namespace of its own."""
    name = NAMESPACES[kind]
    guest.check(f"mkdir -p /run/netns; ip netns add {name}; for i in $(seq 200); do "
                f"grep -l {MACS[kind]} /sys/class/net/*/address >/run/found && break; sleep 0.1; done; "
                "interface=$(cut -d/ -f5 /run/found) && "
                f"ip link set $interface netns {name} name eth0 && ip netns exec {name} sh -c "
                f"'ip addr add {ADDRESSES[kind]}/24 dev eth0; ip link set eth0 up'")


def switch_start(guest, card):
    """The rings are packed on the one side and split on the other, so that frames pass between all kinds of them."""
    start_inside(guest, ["vhost-user:/run/vm.sock,name=vm", f"vduse:host,mac={MACS[KERNEL]},packed=off", "cuse:node",
                         f"virtio-pci:{card},name=uplink"])


def machines_start(guest, file):
    user = Nested(guest, "vm", file, ["-chardev", "socket,id=c,path=/run/vm.sock", "-netdev", "vhost-user,id=n,chardev=c"])
    cuse = Nested(guest, "client", file, ["-netdev", "tap,id=n,ifname=tapq,script=no,downscript=no,vhost=on,vhostfd=5"],
                  card=",packed=on", before="exec 5<>/dev/node")
    return {USER: user, CUSE: cuse}


def pings(kind):
    """The command by which one pings all others."""
    return "; ".join(ping_command(ip, PINGS) for other, ip in ADDRESSES.items() if other != kind)


def parsed(kind, said):
    """{other: (answers, average round trip in ms)} of what pings(kind) says."""
    others = [other for other in ADDRESSES if other != kind]
    parts = said.split("PING ")[1:]
    expect(len(parts) == len(others), said)
    return {other: ping_parse(part) for other, part in zip(others, parts)}


def each_pings_each(guest, machines):
    inside = list(machines)
    all_at_once([(machines[kind], f"{network(MACS[kind], ADDRESSES[kind])}; {reach(ADDRESSES[KERNEL])}; {reach(ADDRESSES[CARD])}")
                 for kind in inside])
    said = dict(zip(inside, all_at_once([(machines[kind], f"{pings(kind)}; true") for kind in inside])))
    for kind, name in NAMESPACES.items():
        said[kind] = guest.run(f"ip netns exec {name} /run/lab/busybox sh -c '{pings(kind)}'", 120).output
    return {kind: parsed(kind, said[kind]) for kind in ADDRESSES}


def shown(rows):
    """Who pings, downwards; whom, across; the average round trip in ms, by the clock of who pings: see nested.arguments."""
    print(f"     {'':<12}" + "".join(f"{kind:>12}" for kind in ADDRESSES))
    for kind, row in rows.items():
        cells = [f"{row[other][1]:.1f}" if other in row and row[other][1] is not None else "none" if other in row else "-"
                 for other in ADDRESSES]
        print(f"     {kind:<12}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def four_kinds_are_listed(guest):
    ports = {port["type"]: port["name"] for port in ctl(guest, "port", "list")["ports"]}
    expect(set(ports) == set(ADDRESSES), ports)
    learned = {entry["mac"]: entry["port"] for entry in ctl(guest, "fdb", "show")["entries"]}
    for kind, mac in MACS.items():
        expect(learned.get(mac) == ports[kind], f"{kind}: {learned}")


def rings_are_as_told(guest, machines):
    """By the features that each driver has taken; of the card, whose driver is the switch's, its QEMU tells them."""
    features = "cat /sys/class/net/eth0/device/features"
    bits = dict(zip(machines, all_at_once([(machine, features) for machine in machines.values()])))
    bits[KERNEL] = guest.check(f"ip netns exec {NAMESPACES[KERNEL]} {features}")
    packed = {kind: text[RING_PACKED_BIT] == "1" for kind, text in bits.items()}
    cards = [guest.monitor(f"info virtio-status {path}")
             for path in re.findall(r"^(\S+) \[virtio-net\]", guest.monitor("info virtio"), re.M)]
    taken = [text.partition("Guest features")[2].partition("Host features")[0] for text in cards]
    packed[CARD] = sum("RING_PACKED" in text for text in taken) == 1  # to the other card they are not offered
    expect(packed == {USER: False, KERNEL: False, CUSE: True, CARD: True}, packed)


def ends_well(guest, function):
    """Nodes and interfaces are gone, and the card is the kernel's again and works."""
    log = guest.check("pid=$(cat /run/switchd.pid); kill $pid; for i in $(seq 200); do [ -d /proc/$pid ] || break; sleep 0.1; "
                      f"done; cat {LOG}; [ ! -d /proc/$pid ]")
    expect("Sanitizer" not in log and "Assertion" not in log and " error " not in log, log)
    guest.check('[ -z "$(ls /sys/class/cuse)" ] && [ ! -e /dev/node ] && [ "$(echo /dev/vduse/*)" = /dev/vduse/control ] && '
                '[ ! -e /run/vm.sock ] && [ "$(ip netns exec kernel ls /sys/class/net)" = lo ]')
    guest.check(f"{program('vireoctl')} pci unbind {function}")
    name = function_of(guest, OURS)[0]
    guest.check(f"ip addr add 10.9.0.9/24 dev {name}; ip link set {name} up; for i in $(seq 30); do "
                f"/run/lab/busybox ping -c 1 -W 2 {ADDRESSES[CARD]} && exit 0; done; exit 1", 90)


def files_come_over(guest, machines):
    """From the kernel's own server, by TCP, to both machines."""
    guest.check("mkdir /run/www; head -c 100000 /dev/urandom >/run/www/file; "
                "ip netns exec kernel /run/lab/busybox httpd -p 8000 -h /run/www")
    fetch = f"wget -q -O - http://{ADDRESSES[KERNEL]}:8000/file | md5sum"
    said = all_at_once([(machine, fetch) for machine in machines.values()])
    expected = guest.check("md5sum </run/www/file").split()[0]
    expect(all(expected in text for text in said), f"{expected} is not {said}")


@case(shows=[("vhost-user", "split"), ("VDUSE virtio", "split"), ("CUSE", "packed"), ("virtio PCI UIO", "packed")])
def each_pings_each_through_one_switch(lab):
    file = suspended(lab)
    nics = [Bridged("br0", OURS, properties={"packed": "on"}), Bridged("br0", MACS[CARD])]
    guest = LabGuest(lab, nics=nics, modules=MODULES, memory_mib=1536, cpus=2).ready()
    _, function = function_of(guest, OURS)
    guest.check(f"{program('vireoctl')} pci bind {function} uio_pci_generic")
    switch_start(guest, function)
    machines = machines_start(guest, file)
    for kind in NAMESPACES:
        settle(guest, kind)
    try:
        rows = each_pings_each(guest, machines)
    except CommandFailed:
        print(*(machine.story() for machine in machines.values()), guest.run(f"cat {LOG}").output)
        raise
    shown(rows)
    if not all(answers == PINGS for row in rows.values() for answers, _ in row.values()):
        print(guest.check(f"cat {LOG}; {program('vireoctl')} -s {CONTROL} stats"))  # nobody can look once the guest has gone
        expect(False, f"some do not reach others: {rows}")
    four_kinds_are_listed(guest)
    rings_are_as_told(guest, machines)
    files_come_over(guest, machines)
    ends_well(guest, function)


if __name__ == "__main__":
    main()
