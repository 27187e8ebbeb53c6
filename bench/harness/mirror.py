# SPDX-License-Identifier: BSD-3-Clause
"""mirror: what a mirror costs the port that is mirrored, whose frames are those of vm2vm: each is copied once, as it comes or as it goes.
Beside vireo-unmirrored, the same switch without its mirror, the ratio is what it costs. cycles_per_frame are the worker's; who writes the file of pcapng
shares the front end's CPU, for there are two. `/kept`: the share of the copies for which there was room.

mirror/none/SIZE      nobody is mirrored; beside Open vSwitch, as vm2vm is
mirror/port/SIZE      to a port that takes everything and keeps nothing (null:); Open vSwitch's is DPDK's net_null
mirror/pcapng/SIZE    to a file in memory, which a thread of the switch writes
mirror/filter/SIZE    to such a file, with a filter that no frame meets
"""
import json
import os
import subprocess

from . import cells, peers, report
from .measure import Side

SIZES = ("64", "1518")
RING = "split"
KINDS = {"none": None, "port": {"to": "nobody"}, "pcapng": {}, "filter": {"filter": "ether proto 0x88b6 and ether src 02:00:00:00:0f:0f"}}
PEERS = ("ovs",)


class Switch(Side):
    """A switch with its front end, which stands for two sides: with the mirror, and without."""

    def __init__(self, bench, lab, back, size):
        front = bench.connect(lab, back, "circulate", size=size, ring=RING).front
        super().__init__(back, front)
        self.settle()


class Mirrors:
    """Those of vireo-switchd: vireoctl opens the file and compiles the filter."""

    def __init__(self, bench, lab, back, how):
        self.how = how
        self.ctl = [bench.program("vireoctl"), "--socket", back.control]
        self.path = f"/dev/shm/{os.path.basename(lab.folder)}.pcapng"

    def _call(self, *words):
        done = subprocess.run([*self.ctl, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(f"vireoctl {' '.join(words)}: {done.stdout.strip()}")
        return done.stdout

    def add(self):
        options = [f"--filter={self.how['filter']}"] if "filter" in self.how else []
        self._call("mirror", "add", "p0", f"--to={self.how.get('to', self.path)}", *options)

    def status(self):
        return json.loads(self._call("--json", "mirror", "list"))

    def remove(self):
        """The counters that it had."""
        (status,) = self.status()["mirrors"]
        self._call("mirror", "remove", str(status["id"]))
        if os.path.exists(self.path):
            os.unlink(self.path)
        return status


class OvsMirrors:
    def __init__(self, _bench, _lab, back, _how):
        self.back = back

    def add(self):
        self.back.vsctl("--", "--id=@p", "get", "port", "port0", "--", "--id=@o", "get", "port", "nobody", "--", "--id=@m", "create", "mirror",
                        "name=m", "select-dst-port=@p", "select-src-port=@p", "output-port=@o", "--", "set", "bridge", "br0", "mirrors=@m")

    def remove(self):
        self.back.vsctl("clear", "bridge", "br0", "mirrors")
        return {"frames": 1, "lost": 0}


class Mirrored:
    """A Switch as a side that is mirrored while it runs."""

    def __init__(self, switch, mirrors):
        self.switch, self.mirrors, self.there = switch, mirrors, False
        self.status = None

    def resume(self):
        self.switch.resume()
        if not self.there:
            self.mirrors.add()
        self.there = True

    def pause(self):
        if self.there:
            self.switch.resume()  # it may stand still by now, and has to answer
            self.status = self.mirrors.remove()
        self.there = False
        self.switch.pause()

    def measure(self, bench):
        values = self.switch.measure(bench)
        self.pause()
        wanted = self.status["frames"] + self.status["lost"]
        return {**values, "percent": 100 * self.status["frames"] / wanted if wanted else 100}


def vireo(bench, lab, to_port):
    back = peers.Switchd(bench, lab, options=("--poll", *(("--port", "null:nobody") if to_port else ())))
    os.sched_setaffinity(back.pid, {bench.front_cpu})  # the main thread, and those that it starts from now on: who writes for a mirror
    return back


def open_vswitch(bench, lab, to_port):
    back = peers.Ovs(bench, lab)
    if to_port:
        back.vsctl("add-port", "br0", "nobody", "--", "set", "Interface", "nobody", "type=dpdk", "options:dpdk-devargs=net_null_nobody,no-rx=1")
    return back


def measure(bench, case):
    how, size, rows = KINDS[case.settings["how"]], case.settings["size"], []
    to_port = how is not None and "to" in how
    with bench.lab() as lab:
        ours = unmirrored = Switch(bench, lab, vireo(bench, lab, to_port), size)
        if how is not None:
            ours = Mirrored(unmirrored, Mirrors(bench, lab, unmirrored.back, how))
            pairs = bench.alternate(ours, unmirrored)
            rows += report.rows(case.name, pairs, "vireo-unmirrored")
            rows.append(report.row(case.name + "/kept", "percent", [pair.ours["percent"] for pair in pairs]))
        if bench.has("ovs") and case.settings["how"] in ("none", "port"):
            peer = Switch(bench, lab, open_vswitch(bench, lab, to_port), size)
            if how is not None:
                peer = Mirrored(peer, OvsMirrors(bench, lab, peer.back, how))
            rows += report.rows(case.name, bench.alternate(ours, peer), "ovs")
        return rows or report.rows(case.name, bench.by_itself(ours))


def verify(bench, case):
    how = KINDS[case.settings["how"]]
    with bench.lab() as lab:
        side = Switch(bench, lab, vireo(bench, lab, how is not None and "to" in how), case.settings["size"])
        if how is None:
            return [(f"{case.name} vireo", bench.verified(side))]
        mirrored = Mirrored(side, Mirrors(bench, lab, side.back, how))
        mirrored.resume()
        why = bench.verified(side)
        mirrored.pause()
    copied = mirrored.status["frames"]
    if not why and bool(copied) == ("filter" in how):
        why = f"{copied} frames were copied"
    return [(f"{case.name} vireo", why)]


def cases(kind):
    return [cells.Case(f"{kind}/{how}/{size}", "cycles_per_frame", measure, quick=True, seconds=15, peers=PEERS, check=verify,
                       settings={"how": how, "size": size}) for how in KINDS for size in SIZES]
