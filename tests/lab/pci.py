#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Network cards that the switch drives itself, through UIO and VFIO, in a guest that has such cards.

Four cards: `near` and the first of the switch's are on one network, the second of the switch's and `far` on another.
"""
import json
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.interfaces import need_dpdk  # noqa: E402
from guest.labguest import Bridged, LabGuest  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import NO_REFUSAL, build_folder, program  # noqa: E402

MACS = [f"52:54:00:00:2c:{index:02x}" for index in range(4)]
NEAR, FIRST, SECOND, FAR = range(4)
ROUNDS = int(os.environ.get("VIREO_ROUNDS", 2))  # hand-overs
MODULES = ["virtio_net", "uio_pci_generic", "vfio_iommu_type1 allow_unsafe_interrupts=1", "vfio-pci"]
NOIOMMU = ["virtio_net", "uio_pci_generic", "vfio enable_unsafe_noiommu_mode=1", "vfio-pci"]
UIO, VFIO = "uio_pci_generic", "vfio-pci"
HEEDS = {"iommu_platform": "on"}
PING = "/run/lab/busybox ping"
TRANSFER_MIB = 2

SERVER = """
import hashlib, socket
s = socket.create_server(('10.7.0.2', 5000)); print('listening', flush=True)
c, digest = s.accept()[0], hashlib.sha256()
while data := c.recv(1 << 18): digest.update(data)
print(digest.hexdigest(), flush=True)
"""
CLIENT = f"""
import hashlib, random, socket
data = random.Random(7).randbytes({TRANSFER_MIB} << 20)
c = socket.create_connection(('10.7.0.2', 5000), 20); c.sendall(data); c.shutdown(socket.SHUT_WR)
print(hashlib.sha256(data).hexdigest()); c.settimeout(60); c.recv(1)
"""
FLOOD = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
while True:
    for _ in range(8): s.sendto(b'flood' * 200, ('10.7.0.255', 9))
    time.sleep(0.005)
"""
# Takes the huge page as soon as nobody has it, and looks whether somebody writes to it.
TAKER = """
import mmap, time
while True:
    try: m = mmap.mmap(-1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000); break
    except OSError: time.sleep(0.001)
end = time.monotonic() + 2
while time.monotonic() < end:
    if m[:] != bytes(2 << 20): print('written'); break
    time.sleep(0.1)
else: print('zero')
"""


class Cards(LabGuest):
    """A guest with the four cards, `near` and `far` in namespaces with addresses, and the others free."""

    def __init__(self, lab, make, modules=MODULES, **keywords):
        super().__init__(lab, nics=[make(index) for index in range(4)], modules=modules, **keywords)
        self.ready()
        self.functions = [self.function(index) for index in range(4)]
        for index, name, ip in ((NEAR, "near", "10.7.0.1"), (FAR, "far", "10.7.0.2")):
            self.check(f"mkdir -p /run/netns && ip netns add {name} && ip link set {self.interface(index)} netns {name} name eth0 "
                       f"&& ip netns exec {name} sh -c 'ip link set lo up; ip addr add {ip}/24 dev eth0; ip link set eth0 up'")

    def function(self, index):
        return os.path.basename(self.check(f"readlink -f /sys/class/net/{self.interface(index)}/device/..").strip())

    def ctl(self, *words):
        return self.check(f"{program('vireoctl')} -s /run/control {' '.join(words)}")

    def ask(self, *words):
        return json.loads(self.ctl("--json", *words))

    def bind(self, index, driver):
        self.ctl("pci", "bind", self.functions[index], driver)

    def switch(self, *options, ports=(FIRST, SECOND), extra=""):
        specs = " ".join(f"--port virtio-pci:{self.functions[index]},name=card{index}{extra}" for index in ports)
        self.check(f"{program('vireo-switchd')} --control /run/control {' '.join(options)} {specs} >/run/switch.log 2>&1 & "
                   f"echo $! >/run/switch.pid; for i in $(seq 100); do {program('vireoctl')} -s /run/control version >/run/version "
                   "2>&1 && exit 0; [ -d /proc/$(cat /run/switch.pid) ] || break; sleep 0.1; done; cat /run/switch.log; exit 1")

    def stop(self, number=15):
        return self.check(f"kill -{number} $(cat /run/switch.pid); for i in $(seq 100); do [ -d /proc/$(cat /run/switch.pid) ] || "
                          "break; sleep 0.1; done; ! [ -d /proc/$(cat /run/switch.pid) ] || exit 1; " + NO_REFUSAL)

    def ping(self, count=3):
        self.check(f"ip netns exec near {PING} -c {count} -w 30 10.7.0.2")

    def reaches(self, name, ip):
        """Comes to, that is: links that were just set up lose frames."""
        self.check(f"for i in $(seq 30); do ip netns exec {name} {PING} -c 1 -W 1 {ip} && exit 0; done; exit 1", seconds=60)

    def tcp(self):
        """Returns the seconds that it took."""
        begin = time.monotonic()
        output = self.check(f"ip netns exec far python3 -c {quoted(SERVER)} >/run/server & for i in $(seq 100); do "
                            f"grep -q listening /run/server && break; sleep 0.1; done; ip netns exec near python3 -c {quoted(CLIENT)}; "
                            "wait; tail -n 1 /run/server", seconds=120)
        sent, received = output.split()[-2:]
        expect(sent == received, f"{sent} was sent, {received} received")
        return time.monotonic() - begin


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def cards(first, second, queues=1):
    """Makes the four: the switch's two have these properties and so many queues."""
    def make(index):
        properties = {FIRST: first, SECOND: second}.get(index, {})
        return Bridged("br-a" if index in (NEAR, FIRST) else "br-b", MACS[index], queues if properties else 1, properties)
    return make


# The first passes by the IOMMU, and is driven by UIO; the second heeds it, and is driven by VFIO.
BOTH = cards({"packed": "off"}, HEEDS)


def forwards(lab, make, drivers, iommu=False, modules=MODULES, options=(), queues=1):
    """Frames pass in both directions, and the cards are the kernel's again in working order."""
    guest = Cards(lab, make, modules, iommu=iommu)
    if modules is NOIOMMU and guest.run("test -e /sys/module/vfio/parameters/enable_unsafe_noiommu_mode").status:
        raise Skip("this kernel's VFIO has no no-IOMMU mode")
    for index, driver in zip((FIRST, SECOND), drivers):
        guest.bind(index, driver)
    guest.switch(*options, extra=f",queues={queues}" if queues > 1 else "")
    guest.ping()
    seconds = guest.tcp()
    for name in ("card1", "card2"):
        port = guest.ask("port", "show", name)["port"]
        expect(port["state"] == "up", f"{name} is {port['state']}")
        expect(port["rx_frames"] > 10 and port["tx_frames"] > 10, f"{name}: {port}")
        session = port["session"]
        expect(session["driver"] == drivers[name == "card2"] and len(session["rings"]) == 2 * queues, f"{name}: {session}")
        expect({"VERSION_1", "STATUS"} <= set(session["features"]) and all(ring["size"] >= 2 for ring in session["rings"]), f"{name}: {session}")
        expect(f"driver {session['driver']}\nring format {session['ring']}" in guest.ctl("port", "show", name), f"{name}: for people")
        print(f"     {name}: {port['rx_frames']} in, {port['tx_frames']} out, {port['rx_drops']} + {port['tx_drops']} lost, "
              f"offloads {' '.join(port['offloads'])}; {TRANSFER_MIB / seconds:.1f} MiB/s", flush=True)
    guest.stop()
    log = guest.check("cat /run/switch.log")
    expect(not re.search(r"\berror\b", log), log)
    given_back(guest)


def given_back(guest):
    """The kernel drives the cards again: near and far, on two networks, reach it."""
    for index, ip in ((FIRST, "10.7.0.3"), (SECOND, "10.7.0.4")):
        guest.ctl("pci", "unbind", guest.functions[index])
        name = guest.interface(index)
        guest.check(f"ip link add br0 type bridge 2>&-; ip link set br0 up; ip link set {name} master br0 up")
    guest.check("ip addr add 10.7.0.9/24 dev br0")
    guest.reaches("near", "10.7.0.2")
    for name in ("near", "far"):
        guest.reaches(name, "10.7.0.9")


def state(guest, name):
    ports = {port["name"]: port["state"] for port in guest.ask("port", "list")["ports"]}
    return ports.get(name)


ROWS = {
    "uio_and_vfio_split": (BOTH, (UIO, VFIO), True),
    "uio_and_vfio_packed": (cards({"packed": "on"}, {"packed": "on", **HEEDS}), (UIO, VFIO), True),
    "vfio_with_two_queues_and_vfio_with_one_line": (cards(HEEDS, {"vectors": "0", **HEEDS}, 2), (VFIO, VFIO), True, MODULES,
                                                    ("--workers", "2"), 2),
    "polling_a_transitional_card": (cards({"disable-legacy": "off"}, {"packed": "on"}), (UIO, UIO), False, MODULES, ("--poll",)),
    "vfio_without_an_iommu": (cards({}, {"packed": "on"}), (VFIO, VFIO), False, NOIOMMU),
}
case_for(ROWS, "frames_pass_by_{}", shows=["virtio PCI UIO", "virtio PCI VFIO"])(forwards)


@case
def dpdk_drives_a_card_by_vfio(lab):
    """A dpdk port whose device is on the bus, beside a card that the switch drives itself."""
    need_dpdk()
    guest = Cards(lab, BOTH, iommu=True)
    guest.bind(FIRST, UIO)
    guest.bind(SECOND, VFIO)
    guest.switch(f"--port dpdk:{guest.functions[SECOND]},name=card2", ports=(FIRST,))
    wait_until(lambda: state(guest, "card2") == "up", 20, "card2 is up")
    guest.reaches("near", "10.7.0.2")
    guest.tcp()
    port = guest.ask("port", "show", "card2")["port"]
    expect(port["session"]["driver"] == "net_virtio" and port["rx_frames"] > 10 and port["tx_frames"] > 10, port)
    guest.stop()
    log = guest.check("cat /run/switch.log")
    expect(not re.search(r"\berror\b", log), log)
    given_back(guest)


@case
def functions_are_listed_bound_and_given_back(lab):
    guest = Cards(lab, BOTH)
    name, function = guest.interface(FIRST), guest.functions[FIRST]
    rows = {row["address"]: row for row in guest.ask("pci", "list")["functions"]}
    expect(rows[function]["driver"] == "virtio-pci" and rows[function]["interface"] == name, rows[function])
    expect(rows[function]["type"] == "net" and not rows[function]["node"], rows[function])
    guest.check(f"ip link set {name} up")
    refused = guest.run(f"{program('vireoctl')} pci bind {function}")
    expect(refused.status == 1 and f"ip link set {name} down" in refused.output, refused)
    guest.check(f"ip link set {name} down")
    row = guest.ask("pci", "bind", function)
    expect(row["driver"] == UIO and row["node"].startswith("/dev/uio") and not row["interface"], row)
    refused = guest.run(f"{program('vireoctl')} pci bind {function} {VFIO}")
    expect(refused.status == 1 and "IOMMU" in refused.output, refused)
    guest.ctl("pci", "bind", function, UIO)
    refused = guest.run(f"{program('vireoctl')} pci bind {guest.functions[NEAR]}")
    expect(refused.status == 1 and "network namespace" in refused.output, refused)
    row = guest.ask("pci", "unbind", function)
    expect(row["driver"] == "virtio-pci" and row["interface"], row)


@case_for({"reserved": (2,), "transparent": (0,)}, "{}_huge_pages_stay_where_they_are")
def huge_pages_stay_where_they_are(lab, reserved):
    guest = LabGuest(lab, modules=[]).ready()
    guest.check(f"echo {reserved} >/proc/sys/vm/nr_hugepages; [ $(cat /proc/sys/vm/nr_hugepages) = {reserved} ]")
    guest.check(f"cd /tmp && VIREO_PHYSICAL=1 {os.path.join(build_folder(), 'driver/pci_physical_test')}")


@case
def a_switch_that_is_killed_gets_its_cards_back(lab):
    """What was its memory is not written to any more when somebody else has it, though frames still come."""
    guest = Cards(lab, BOTH, iommu=True)
    guest.bind(FIRST, UIO)
    guest.bind(SECOND, VFIO)
    guest.check("echo 1 >/proc/sys/vm/nr_hugepages; [ $(cat /proc/sys/vm/nr_hugepages) = 1 ]")
    guest.check(f"ip netns exec near python3 -c {quoted(FLOOD)} >/dev/null 2>&1 & echo $! >/run/flood.pid")
    for _ in range(2):
        guest.switch()
        guest.reaches("near", "10.7.0.2")
        guest.check("grep -q 'HugePages_Free: *0' /proc/meminfo")
        guest.check(f"python3 -c {quoted(TAKER)} >/run/taker 2>&1 & echo $! >/run/taker.pid")
        guest.stop(9)
        told = guest.check("for i in $(seq 200); do [ -d /proc/$(cat /run/taker.pid) ] || break; sleep 0.1; done; cat /run/taker")
        expect(told == "zero\n", told)
    guest.check("kill $(cat /run/flood.pid)")
    given_back(guest)


@case
def a_successor_opens_its_cards_anew(lab):
    """They are reset when the old process ends, and set up again; by then nobody else has them."""
    guest = Cards(lab, BOTH, iommu=True)
    guest.bind(FIRST, UIO)
    guest.bind(SECOND, VFIO)
    guest.switch()
    guest.ping()
    took = f"{program('vireo-switchd')} --control /run/control --takeover"
    refused = guest.run(took + " 2>&1")
    expect(refused.status == 1 and "its type is virtio-pci; --reopen" in refused.output, refused)
    for _ in range(ROUNDS):
        guest.check(f"old=$(cat /run/switch.pid); {took} --reopen >>/run/switch.log 2>&1 & new=$!; echo $new >/run/switch.pid; "
                    "for i in $(seq 300); do [ -d /proc/$old ] || break; sleep 0.1; done; ! [ -d /proc/$old ] && [ -d /proc/$new ]")
        for name in ("card1", "card2"):
            wait_until(lambda: state(guest, name) == "up", 20, f"{name} is up")
        guest.reaches("near", "10.7.0.2")
    guest.ping()
    guest.stop()
    log = guest.check("cat /run/switch.log")
    away = re.findall(r"opened anew, (\d+) ms", log)
    expect(len(away) == 2 * ROUNDS and "not opened anew" not in log, log)
    print(f"     opened anew {' '.join(away)} ms after", flush=True)
    given_back(guest)


@case
def the_link_is_told_and_ports_come_and_go(lab):
    guest = Cards(lab, BOTH, iommu=True)
    guest.bind(FIRST, UIO)
    guest.bind(SECOND, VFIO)
    guest.switch()
    guest.ping()
    for index in (FIRST, SECOND):
        for link, expected in (("off", "down"), ("on", "up")):
            guest.monitor(f"set_link nd{index} {link}")
            wait_until(lambda: state(guest, f"card{index}") == expected, 20, f"card{index} is {expected}")
    guest.ping()
    for index in (SECOND, FIRST) * 3:
        guest.ctl("port", "remove", f"card{index}")
        guest.ctl("port", "add", f"virtio-pci:{guest.functions[index]},name=card{index}")
    guest.ping()


@case
def a_card_has_one_driver(lab):
    """Who asks for a card that is driven is refused; and who does not ask does no harm to anybody else."""
    guest = Cards(lab, BOTH, iommu=True)
    guest.bind(FIRST, UIO)
    guest.bind(SECOND, VFIO)
    guest.switch()
    for index, words in ((FIRST, "another process drives it"), (SECOND, "another process uses")):
        function = guest.functions[index]
        for call in (f"pci unbind {function}", f"pci bind {function} {UIO if index == SECOND else VFIO}"):
            refused = guest.run(f"timeout 20 {program('vireoctl')} {call}")
            expect(refused.status == 1 and "port remove" in refused.output, refused)
        refused = guest.run(f"timeout 20 {program('vireo-switchd')} --control /run/other --port virtio-pci:{function}")
        expect(refused.status == 1 and words in refused.output, refused)
    guest.ping()
    guest.check(": </dev/uio0")  # ends bus mastering
    wait_until(lambda: state(guest, "card1") == "failed", 20, "card1 is failed")
    guest.ctl("port", "remove", "card1")
    guest.ctl("port", "add", f"virtio-pci:{guest.functions[FIRST]},name=card1")
    guest.reaches("near", "10.7.0.2")
    guest.check(f"echo {guest.functions[SECOND]} >/sys/bus/pci/drivers/{VFIO}/unbind")  # waits until it is closed
    wait_until(lambda: state(guest, "card2") is None, 20, "card2 is removed")
    guest.check(f"echo {guest.functions[FIRST]} >/sys/bus/pci/drivers/{UIO}/unbind")
    wait_until(lambda: state(guest, "card1") == "failed", 20, "card1 is failed")
    for index in (FIRST, SECOND):
        guest.ctl("pci", "unbind", guest.functions[index])
    guest.ctl("port", "remove", "card1")  # and leaves the card alone, which is the kernel's
    given_back(guest)


@case
def what_cannot_be_driven_is_told_in_one_line(lab):
    guest = Cards(lab, BOTH, iommu=True)
    guest.bind(FIRST, VFIO)
    guest.bind(SECOND, UIO)
    guest.switch(ports=())
    for index, words in ((NEAR, "pci bind"), (FIRST, "iommu_platform=on"), (SECOND, "bind it to vfio-pci")):
        told = guest.run(f"{program('vireoctl')} -s /run/control port add virtio-pci:{guest.functions[index]}")
        expect(told.status == 1 and words in told.output and told.output.count("\n") == 1, told)
    told = guest.run(f"{program('vireoctl')} -s /run/control port add virtio-pci:0000:00:1e.7")
    expect(told.status == 1 and "no virtio function is there" in told.output, told)
    guest.bind(FIRST, UIO)
    told = guest.run(f"setpriv --bounding-set -sys_admin {program('vireo-switchd')} --control /run/other "
                     f"--port virtio-pci:{guest.functions[FIRST]}")
    expect(told.status == 1 and "CAP_SYS_ADMIN" in told.output, told)


@case_for({"uio": (UIO, {}, False), "vfio": (VFIO, {**HEEDS, "packed": "on"}, True)},
          "the_bench_drives_cards_by_{}")
def the_bench_drives_cards(lab, driver, properties, iommu):
    # Not on a hub: when a receiver is out of buffers for a moment, QEMU's changes the order, and its senders may stall.
    guest = LabGuest(lab, nics=[Bridged("br-a", mac, 1, properties) for mac in MACS[:2]], modules=MODULES, iommu=iommu).ready()
    functions = []
    for index in range(2):
        path = guest.check(f"readlink -f /sys/class/net/{guest.interface(index)}/device/..").strip()
        functions.append(os.path.basename(path))
    for function in functions:
        guest.check(f"{program('vireoctl')} pci bind {function} {driver}")
    ring = "packed" if "packed" in properties else "split"
    for wait in ("yield", "event"):
        output = guest.check(f"{program('vireo-bench')} net --from virtio-pci:{functions[0]} --to virtio-pci:{functions[1]} "
                             f"--ring {ring} --verify --no-loss --no-reorder --window 16 --rate 1000 --frames 2000 --seconds 60 --wait {wait} --json",
                             seconds=120)
        print(f"     {wait}: {output.strip()[:200]}", flush=True)


if __name__ == "__main__":
    main()
