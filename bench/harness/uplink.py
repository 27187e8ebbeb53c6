# SPDX-License-Identifier: BSD-3-Clause
"""uplink: a guest's frames out of the host and in again, by each kind of uplink, beside Open vSwitch's of that kind and the kernel's bridge.
Inwards cycles_per_frame are the switch's (`/switch`) and those of the calls at the far end, in which the kernel does the receiving side of a veth. The
bridge's are those of the guest's calls at its TAP interface, in which the kernel does all; who moves frames from a ring to there comes on top.

uplink/KIND/out/SIZE          a guest sends, and the far end of a veth pair receives
uplink/KIND/in/SIZE           the far end sends, and the guest receives
uplink/KIND/latency/WAY/...   nanoseconds of a frame that is alone on its way, 64 bytes

vireo-bench is the guest (a split ring) and the far end (a packet socket) in one thread; 128 frames are on their way. All switches poll. Each
has a pair of its own, and a bridge where its kind needs one. Open vSwitch's peer of af_packet and tap is what it makes of such an interface,
which its main thread reads, of af_xdp type=afxdp, of dpdk the same driver; of macvtap it has none. VIREO_BASE, another build's folder, is one
peer more: the switch as it was before a change.
"""
import functools
import json
import os
import subprocess

from guest import interfaces, tsc
from guest.cases import Skip

from . import cells, peers, report
from .measure import Unfit

KINDS = ("af_packet", "af_xdp", "tap", "macvtap", "dpdk")
SIZES = {"64": "60", "1518": "1514"}  # vireo-bench counts without the frame check sequence
WAYS = ("out", "in")
PEERS = ("ovs", "bridge")
WINDOW = 128  # a veth with an XDP program has room for 256
SPEC = {"af_packet": "af_packet:{near}", "af_xdp": "af_xdp:{near},mode=copy", "tap": "tap:{tap}", "macvtap": "macvtap:{macvtap}",
        "dpdk": "dpdk:net_af_packet_{near},iface={near}"}
OVS = {"af_packet": ("{near}",), "af_xdp": ("{near}", "type=afxdp", "options:xdp-mode=native"), "tap": ("{tap}", "type=tap"),
       "dpdk": ("{near}-dpdk", "type=dpdk", "options:dpdk-devargs=net_af_packet_{near},iface={near}")}
READ_BY_MAIN = ("af_packet", "tap")
BASE = os.environ.get("VIREO_BASE")


def ip(*words):
    done = subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    if done.returncode:
        raise Unfit(f"ip {' '.join(words)}: {done.stdout.strip()}")


class Pair:
    """A veth pair; the near end is the uplink's, or has a bridge or a macvtap interface above it that is."""

    def __init__(self, name):
        self.names = {what: f"{name}-{what[:3]}" for what in ("near", "far", "tap", "macvtap", "bridge")}  # 15 bytes at most
        self.near, self.far, self.tap, self.macvtap, self.bridge = self.names.values()
        self.made = []
        self._add(self.near, "type", "veth", "peer", "name", self.far)
        ip("link", "set", self.near, "up")
        ip("link", "set", self.far, "up")

    def _add(self, name, *words):
        ip("link", "add", "name", name, *words)
        self.made.append(name)

    def add_macvtap(self):
        self._add(self.macvtap, "link", self.near, "index", str(next(interfaces.NUMBERS)), "type", "macvtap", "mode", "passthru")
        ip("link", "set", self.macvtap, "up")

    def add_bridge(self):
        """Between the near end and the TAP interface, which somebody has made."""
        self._add(self.bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for name in (self.near, self.tap):
            ip("link", "set", name, "master", self.bridge, "up")
        ip("link", "set", self.bridge, "up")

    def remove(self):
        for name in reversed(self.made):
            subprocess.run(["ip", "link", "del", name], capture_output=True, timeout=20)


class Traffic:
    """What all sides do: vireo-bench between `guest` and the far end."""

    def __init__(self, bench, lab, pair, guest):
        self.bench, self.lab, self.pair, self.guest = bench, lab, pair, guest

    def run(self, way, *options):
        ends = {"--from": self.guest, "--to": "packet:" + self.pair.far}
        if way == "in":
            ends = {"--from": ends["--to"], "--to": ends["--from"]}
        argv = [self.bench.program("vireo-bench"), "net", "--json", "--cpus", str(self.bench.front_cpu), *sum(map(list, ends.items()), []),
                *(["--verify", "--no-loss"] if self.bench.verify else []), *options]
        done = self.lab.start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, log=None)
        out, err = done.communicate(timeout=30)
        if done.returncode:
            raise RuntimeError(f"{self.name}, {way}: {' '.join(argv)}: {(err or out).decode().strip()}")
        return json.loads(out)

    def stats(self):
        return {"cycles": 0, "frames": 0}

    def window(self, way, size, seconds):
        before = self.stats()
        found = self.run(way, "--window", str(WINDOW), "--size", SIZES[size], "--seconds", f"{seconds:g}")
        after = self.stats()
        frames, ghz = found["received"]["frames"], tsc.khz() / 1e6
        cycles = self.cycles(found, before, after, way, ghz)
        values = {"frames_per_second": found["received"]["frames_per_second"], "percent": found["lost"] / found["sent"]["frames"] * 100,
                  "cycles_per_frame": cycles / frames}
        if way == "in":
            values["switch"] = values["cycles_per_frame"]
            values["cycles_per_frame"] += found["from"]["send_ns"] * ghz / frames
        return values

    def cycles(self, _found, before, after, _way, _ghz):
        return after["cycles"] - before["cycles"]

    def latency(self, way, seconds):
        found = self.run(way, "--window", "1", "--seconds", f"{seconds:g}")["latency_ns"]
        return {"median": found["p50"], "p99": found["p99"]}


class Vireo(Traffic):
    def __init__(self, bench, lab, kind, name="vireo", folder=None):
        self.name, pair = name, Pair(name)
        self.removed = pair.remove
        if kind == "macvtap":
            pair.add_macvtap()
        spec = SPEC[kind].format(**pair.names)
        self.back = peers.Switchd(bench, lab, ports=1, options=("--poll", "--port", f"{spec},name=uplink"), name=name,
                                  program=folder and os.path.join(folder, "apps/vireo-switchd/vireo-switchd"))
        super().__init__(bench, lab, pair, self.back.sockets[0])
        if kind == "tap":
            pair.add_bridge()
        self.pause, self.resume, self.stats = self.back.pause, self.back.resume, self.back.stats

    def stop(self):
        self.back.stop()


class OpenVswitch(Traffic):
    name = "ovs"

    def __init__(self, bench, lab, kind):
        pair = Pair(self.name)
        self.removed = pair.remove
        self.back = peers.Ovs(bench, lab, ports=1)
        name, *settings = [word.format(**pair.names) for word in OVS[kind]]
        self.back.vsctl("add-port", "br0", name, *(["--", "set", "Interface", name, *settings] if settings else []))
        problem = self.back.vsctl("get", "Interface", name, "error").strip()
        if problem != "[]":
            raise RuntimeError(f"Open vSwitch has no port {name}: {problem}")
        super().__init__(bench, lab, pair, self.back.sockets[0])
        if kind == "tap":
            pair.add_bridge()
        self.pause, self.resume, self.stats = self.back.pause, self.back.resume, self.back.all_stats
        self.polled = kind not in READ_BY_MAIN

    def cycles(self, found, before, after, way, ghz):
        """The main thread counts none itself."""
        cycles = super().cycles(found, before, after, way, ghz)
        return cycles if self.polled or way == "out" else cycles + (after["main_ns"] - before["main_ns"]) * ghz

    def stop(self):
        self.back.stop()


class Bridge(Traffic):
    name = "bridge"

    def __init__(self, bench, lab, _kind):
        pair = Pair(self.name)
        self.removed = pair.remove
        ip("tuntap", "add", pair.tap, "mode", "tap")
        pair.made.append(pair.tap)
        pair.add_bridge()
        super().__init__(bench, lab, pair, "tap:" + pair.tap)

    def cycles(self, found, _before, _after, way, ghz):
        return (found["from"]["send_ns"] if way == "out" else found["to"]["receive_ns"]) * ghz

    def pause(self):
        """Nobody runs here but who sends."""

    resume = stop = pause


SIDES = {"vireo": Vireo, "vireo-base": functools.partial(Vireo, name="vireo-base", folder=BASE), "ovs": OpenVswitch, "bridge": Bridge}


class Sides:
    """All that are compared; only the one that is used runs."""

    def __init__(self, bench, lab, kind, names):
        self.all = []
        try:
            for name in names:
                self.all.append(SIDES[name](bench, lab, kind))
                self.all[-1].pause()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for side in self.all:
            side.stop()
            side.removed()

    def rounds(self, bench, pairs, work):
        """({name: values of work(side)}, distances); who is first changes from round to round."""
        values, distances = {side.name: [] for side in self.all}, []
        for turn in range(pairs):
            before = bench.pingpong()
            for side in self.all if turn % 2 == 0 else reversed(self.all):
                side.resume()
                values[side.name].append(work(side))
                side.pause()
            distances.append((before + bench.pingpong()) / 2)
            bench.progress(f"round {turn + 1} of {pairs}")
        return values, distances


def need(kind):
    """Raises Unfit where this machine has no such thing."""
    if os.geteuid():
        raise Unfit("interfaces are made here: run this as root")
    try:
        interfaces.need_kind(kind)
    except Skip as why:
        raise Unfit(f"uplink/{kind}: {why}") from None


def present(bench, kind):
    return ["vireo", *(["vireo-base"] if BASE else []), *[peer for peer in PEERS if bench.has(peer) and (peer != "ovs" or kind in OVS)]]


def rows_of(name, values, distances, picked):
    """A row for each of `picked` ((suffix, unit, key)) and each peer."""
    ours, found = values["vireo"], []
    for suffix, unit, key in picked:
        for peer in [peer for peer in values if peer != "vireo"] or [None]:
            found.append(report.row(name + suffix, unit, [value[key] for value in ours], [value[key] for value in values.get(peer, [])],
                                    peer, distances))
    return found


def measure(bench, case):
    kind, way = case.settings["kind"], case.settings["way"]
    need(kind)
    seconds = 0.2 if bench.quick else 0.4
    with bench.lab() as lab, Sides(bench, lab, kind, present(bench, kind)) as sides:
        values, distances = sides.rounds(bench, 2 if bench.quick else bench.pairs, lambda side: side.window(way, case.settings["size"], seconds))
    picked = [("", "cycles_per_frame", "cycles_per_frame"), ("", "frames_per_second", "frames_per_second"), ("/lost", "percent", "percent")]
    if way == "in":
        picked.insert(1, ("/switch", "cycles_per_frame", "switch"))
    return rows_of(case.name, values, distances, picked)


def latency(bench, case):
    need(case.settings["kind"])
    seconds = 0.1 if bench.quick else 0.2
    with bench.lab() as lab, Sides(bench, lab, case.settings["kind"], present(bench, case.settings["kind"])) as sides:
        values, distances = sides.rounds(bench, 2 if bench.quick else bench.pairs, lambda side: {
            f"/{way}/{name}": value for way in WAYS for name, value in side.latency(way, seconds).items()})
    return rows_of(case.name, values, distances, [(key, "ns", key) for key in values["vireo"][0]])


def verified(side):
    """None, or why what arrived was not what had been sent."""
    try:
        side.resume()
        for way in WAYS:
            for size in SIZES.values():
                side.run(way, "--window", "64", "--size", size, "--frames", "2000")
    except RuntimeError as why:
        return str(why)
    return None


def verify(bench, case):
    kind, results = case.settings["kind"], []
    try:
        need(kind)
    except Unfit:
        return []
    for name in present(bench, kind):
        with bench.lab() as lab, Sides(bench, lab, kind, [name]) as sides:
            results.append((f"{case.name} {name}", verified(sides.all[0])))
    return results


def cases(kind):
    found = []
    for uplink in KINDS:
        found += [cells.Case(f"{kind}/{uplink}/{way}/{size}", "cycles_per_frame", measure, quick=size == "64", seconds=30, peers=PEERS, check=verify,
                             settings={"kind": uplink, "way": way, "size": size}) for way in WAYS for size in SIZES]
        found.append(cells.Case(f"{kind}/{uplink}/latency", "ns", latency, seconds=25, peers=PEERS, check=verify, settings={"kind": uplink}))
    return found
