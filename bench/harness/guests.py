# SPDX-License-Identifier: BSD-3-Clause
"""guest: what iperf3 moves between two QEMU guests, in megabits a second that arrive.

guest/RING/tcp   one stream        guest/RING/udp   one stream of datagrams that fill a frame, as fast as the sender can
Booting takes longest: guest/RING is one case, which yields both rows.

Through vireo-switchd as it is by default, whose worker sleeps when there is nothing to do and is not pinned: the guests want all CPUs, and
so this is the busy host as well; through Open vSwitch with DPDK, whose thread polls, and so keeps one
CPU to itself; and through the kernel's bridge between two tap interfaces in a network namespace of its own, by vhost-net where the machine
has that, else by QEMU itself. All guests are alike, on KVM where it works, else on QEMU's emulation; each switch offers the offloads
that it has. Guests and switches are started once; those that are not measured are stopped by SIGSTOP.
"""
import json
import os
import signal

from guest import kernels, traffic
from guest.lab import Hung, wait_until
from guest.qemu import Guest, Nic, Tap, acceleration

from . import cells, peers, report

MACS = ("52:54:00:00:0b:01", "52:54:00:00:0b:02")
RINGS = {"split": {}, "packed": {"packed": "on"}}
PROTOCOLS = ("tcp", "udp")
DATAGRAM_BYTES = 1472  # with UDP's and IP's headers it is 1500
VERIFY_MIB = 8
PEERS = ("ovs", "bridge")
NAMESPACE = """set -e
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
ip link add br0 type bridge
for tap in tap0 tap1; do
	ip tuntap add $tap mode tap vnet_hdr
	ip link set $tap master br0 up
done
ip link set br0 up
exec sleep infinity
"""


def prepare():
    """What needs the network: a kernel for the guests."""
    kernels.kernel()


# ---- the switches: sockets or taps for two guests; pause(), resume() ----

class Bridge:
    """The kernel's bridge with two taps, in a namespace that lives as long as its holder."""
    name = "bridge"

    def __init__(self, lab):
        self.holder = lab.start(["unshare", "-n", "sh", "-c", NAMESPACE], log="bridge.log")
        self.wrap = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        self.vhost = os.path.exists("/dev/vhost-net")
        wait_until(lambda: self._sleeps(), 10, "the namespace with the bridge is there", child=self.holder)

    def _sleeps(self):
        with open(f"/proc/{self.holder.pid}/comm") as comm:
            return comm.read().strip() == "sleep"

    def nic(self, index, properties):
        # An emulated guest has no MSI-X with vhost-user (see Nic): so it has none here either.
        alike = {"vectors": 0} if acceleration() == "tcg" else {}
        return Tap(f"tap{index}", MACS[index], vhost=self.vhost, properties={**properties, **alike})

    def pause(self):
        """Nothing runs here but what the guests do."""

    resume = pause


class Sockets:
    """A back end of peers.py for two guests."""
    wrap = ()

    def __init__(self, back):
        self.back, self.name = back, back.name
        self.pause, self.resume = back.pause, back.resume

    def nic(self, index, properties):
        return Nic(self.back.sockets[index], MACS[index], properties=properties)


SWITCHES = {
    "vireo": lambda bench, lab: Sockets(peers.Switchd(bench, lab, options=(), pinned=False)),
    "ovs": lambda bench, lab: Sockets(peers.Ovs(bench, lab)),
    "bridge": lambda bench, lab: Bridge(lab),
}


class Side:
    """A switch with two guests: what runs while the other sides stand still."""

    def __init__(self, bench, lab, name, ring):
        self.switch, self.protocol, self.seconds = SWITCHES[name](bench, lab), None, 2 if bench.quick else 5
        self.guests = [Guest(lab, f"{name}-{end}", [self.switch.nic(i, RINGS[ring])], programs=["iperf3"], wrap=self.switch.wrap)
                       for i, end in enumerate(("left", "right"))]
        for guest in self.guests:
            guest.ready()
        self.left, self.right = self.guests
        self.addresses = traffic.pair(*self.guests)
        traffic.ping(self.left, self.addresses[1], count=2, lost=1)
        self.right.check("iperf3 --server --daemon")

    def _signal(self, number):
        for guest in self.guests:
            os.killpg(guest.child.pid, number)

    def pause(self):
        self._signal(signal.SIGSTOP)
        self.switch.pause()

    def resume(self):
        self.switch.resume()
        self._signal(signal.SIGCONT)

    def measure(self, bench):
        """One run of iperf3. Its first second does not count: the streams find their speed."""
        datagrams = f"--udp --bitrate 0 --length {DATAGRAM_BYTES}" if self.protocol == "udp" else ""
        text = self.left.check(f"iperf3 --client {self.addresses[1]} --omit 1 --time {self.seconds} --interval 0 --json {datagrams}",
                               self.seconds + 30)
        found = json.loads(text[text.index("{"):])  # a warning about the datagrams' length may come first
        return {"mbit_per_second": received_bits(found["end"], self.protocol) / 1e6}


def received_bits(end, protocol):
    """Bits a second that came out at the receiver, from the "end" of iperf3's JSON."""
    if protocol == "tcp":
        return end["sum_received"]["bits_per_second"]
    total = end["sum"]
    return 8 * DATAGRAM_BYTES * (total["packets"] - total["lost_packets"]) / total["seconds"]


def insist(bench, function, *arguments):
    """Calls it once more if a guest stood still as a whole: an emulated machine comes to that by itself now and then."""
    try:
        return function(bench, *arguments)
    except Hung as hung:
        bench.warn(f"again: {hung}")
        return function(bench, *arguments)


def measure(bench, case):
    return insist(bench, measured, case)


def measured(bench, case):
    rows = []
    with bench.lab() as lab:
        ours = Side(bench, lab, "vireo", case.settings["ring"])
        ours.pause()
        for name in PEERS:
            if not bench.has(name):
                continue
            peer = Side(bench, lab, name, case.settings["ring"])
            peer.pause()
            for protocol in PROTOCOLS:
                ours.protocol = peer.protocol = protocol
                pairs = bench.alternate(ours, peer, 1 if bench.quick else 3)
                rows += report.rows(f"{case.name}/{protocol}", pairs, name, ["mbit_per_second"])
        return rows or alone(bench, case, ours)


def alone(bench, case, ours):
    """Rows without a peer."""
    rows = []
    for protocol in PROTOCOLS:
        ours.protocol = protocol
        rows += report.rows(f"{case.name}/{protocol}", bench.by_itself(ours), units=["mbit_per_second"])
    return rows


def verified(bench, name, ring):
    """None, or why not what was sent arrived: files of random bytes, both ways, by their SHA-256."""
    with bench.lab() as lab:
        side = Side(bench, lab, name, ring)
        try:
            traffic.transfer(side.left, side.addresses[0], side.right, VERIFY_MIB)
            traffic.transfer(side.right, side.addresses[1], side.left, VERIFY_MIB)
        except traffic.TrafficError as error:
            return str(error)
    return None


def verify(bench, case):
    results = []
    for name in ("vireo", *[peer for peer in PEERS if bench.has(peer)]):
        results.append((f"{case.name} {name}", insist(bench, verified, name, case.settings["ring"])))
    return results


def cases(kind):
    return [cells.Case(f"{kind}/{ring}", "mbit_per_second", measure, quick=ring == "split", seconds=180, peers=PEERS, check=verify,
                       settings={"ring": ring}) for ring in RINGS]
