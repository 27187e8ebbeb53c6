# SPDX-License-Identifier: BSD-3-Clause
"""scale: what more ports and more addresses cost, in cycles of the switch per frame.

scale/RING/64/ports-N       N attached ports, two of them busy; on the others silent front ends
scale/RING/64/busy-N        N ports, all busy in pairs
scale/RING/64/addresses-N   two busy ports, N addresses in use; each frame has other ones than the frame before it

Each stands beside vireo-switchd with two ports and two addresses (peer_name vireo-2-ports, vireo-2-addresses), and beside the peers with as
much of the same as they can. testpmd looks no address up, and takes no more than 32 ports.
"""
from . import cells, peers, report
from .measure import Side
from .programs import Front
from .system import TESTPMD_PORTS_MAX, Attached

PORTS = (2, 8, 32, 128, 256)
BUSY = (8, 32)  # 2 is ports-2
ADDRESSES = (2, 1024, 65536)
FDB_ENTRIES = 131072  # so that no comparison is one of table sizes
QUICK = ("ports-256", "busy-8", "addresses-65536")
PEERS = ("testpmd-io", "ovs")
SIZE = "64"


def switchd(bench, lab, ports, name):
    return peers.Switchd(bench, lab, ports, options=("--poll", "--fdb-entries", str(FDB_ENTRIES)), name=name)


def testpmd(bench, lab, ports, _name):
    return peers.Testpmd(bench, lab, ports)


def ovs(bench, lab, ports, _name):
    back = peers.Ovs(bench, lab, ports)
    back.vsctl("set", "bridge", "br0", f"other_config:mac-table-size={FDB_ENTRIES}")
    return back


BACKENDS = {"vireo": switchd, "testpmd-io": testpmd, "ovs": ovs}


class Loaded(Side):
    """A switch with busy front ends on the first ports and silent ones on the rest."""

    def __init__(self, bench, lab, backend, name, ring, ports=2, busy=2, addresses=2):
        back = BACKENDS[backend](bench, lab, ports, name)
        # Frames with changing addresses are written anew each time: in all that are compared with them, too.
        flows = ("--flows", str(addresses // 2), "--touch", "line")
        front = Front(bench, lab, back.sockets[:busy], "circulate", SIZE, ring, options=flows, name="front-" + name)
        front.ready()
        super().__init__(back, front)
        self.idle = Attached(lab, back, back.sockets[busy:])
        self.pause()

    def stop(self):
        self.resume()
        self.idle.stop()
        self.front.quit()
        self.back.stop()


def baseline_name(case):
    return "vireo-2-addresses" if case.settings.get("addresses") else "vireo-2-ports"


def able(bench, name, ports=2, **_):
    return bench.has(name) and (name != "testpmd-io" or ports <= TESTPMD_PORTS_MAX)


def beside_ourselves(bench, lab, case, ours, ring):
    """The same switch with two ports and two addresses."""
    base = Loaded(bench, lab, "vireo", "vireo-base", ring)
    try:
        return report.rows(case.name, bench.alternate(ours, base), baseline_name(case))
    finally:
        base.stop()


def measure(bench, case):
    rows, ring = [], case.settings["ring"]
    what = {key: value for key, value in case.settings.items() if key != "ring"}
    with bench.lab() as lab:
        ours = Loaded(bench, lab, "vireo", "vireo", ring, **what)
        if set(what.values()) != {2}:
            rows += beside_ourselves(bench, lab, case, ours, ring)
        for name in PEERS:
            if not able(bench, name, **what):
                continue
            peer = Loaded(bench, lab, name, name, ring, **what)
            rows += report.rows(case.name, bench.alternate(ours, peer), name)
            peer.stop()
        return rows or report.rows(case.name, bench.by_itself(ours))


def verify(bench, case):
    results, ring = [], case.settings["ring"]
    what = {key: value for key, value in case.settings.items() if key != "ring"}
    for name in BACKENDS:
        if name == "vireo" or able(bench, name, **what):
            with bench.lab() as lab:
                side = Loaded(bench, lab, name, name, ring, **what)
                results.append((f"{case.name} {name}", bench.verified(side) or silent_ports(side)))
    return results


def silent_ports(side):
    """None, or which busy ports have been left out."""
    silent = [str(number) for number, port in enumerate(side.front.stats()["ports"]) if not port["rx"]]
    return f"no frame has come to the ports {', '.join(silent)}" if silent else None


def cases(kind):
    settings = {**{f"ports-{n}": {"ports": n} for n in PORTS},
                **{f"busy-{n}": {"ports": n, "busy": n} for n in BUSY},
                **{f"addresses-{n}": {"addresses": n} for n in ADDRESSES}}
    return [cells.Case(f"{kind}/{ring}/{SIZE}/{option}", "cycles_per_frame", measure, quick=ring == "split" and option in QUICK, seconds=30,
                       peers=PEERS, check=verify, settings={"ring": ring, **what})
            for ring in ("split", "packed") for option, what in settings.items()]
