# SPDX-License-Identifier: BSD-3-Clause
"""vm2vm: two guests through a switch: vireo-switchd, table and statistics on, against testpmd, which looks nothing up, and
Open vSwitch.

Frames circulate in both directions; cycles are those of the switch's turns that moved frames. VIREO_BASE, another build's folder,
is one peer more: the switch as it was before a change.
"""
import functools
import os

from . import cells, peers, report
from .programs import RINGS, SIZES

OPTIONS = {"mergeable": True, "no-mergeable": False}
QUICK = {("64", "mergeable"), ("1518", "no-mergeable"), ("imix", "mergeable")}
PEERS = ("testpmd-io", "testpmd-mac", "ovs")
BASE = os.environ.get("VIREO_BASE")
BACKENDS = {"vireo": peers.Switchd, "testpmd-io": peers.Testpmd, "testpmd-mac": functools.partial(peers.Testpmd, mode="mac"),
            "ovs": peers.Ovs}


def start(bench, lab, settings, back, options=()):
    """Attaches the front end of two ports, lets frames flow, and pauses both."""
    side = bench.connect(lab, back, "circulate", size=settings["size"], ring=settings["ring"], mergeable=settings["mergeable"],
                         options=options)
    side.settle()
    return side


def measure(bench, case):
    rows = []
    with bench.lab() as lab:
        ours = start(bench, lab, case.settings, peers.Switchd(bench, lab))
        if BASE:
            base = start(bench, lab, case.settings,
                         peers.Switchd(bench, lab, name="vireo-base", program=os.path.join(BASE, "apps/vireo-switchd/vireo-switchd")))
            rows += report.rows(case.name, bench.alternate(ours, base), "vireo-base")
        if bench.has("testpmd-io") or bench.has("testpmd-mac"):
            testpmd = start(bench, lab, case.settings, peers.Testpmd(bench, lab))
            for mode in ("io", "mac"):
                if bench.has(f"testpmd-{mode}"):
                    testpmd.resume()
                    testpmd.back.forward(mode)
                    rows += report.rows(case.name, bench.alternate(ours, testpmd), f"testpmd-{mode}")
        if bench.has("ovs"):
            ovs = start(bench, lab, case.settings, peers.Ovs(bench, lab))
            rows += report.rows(case.name, bench.alternate(ours, ovs), "ovs")
        return rows or report.rows(case.name, bench.by_itself(ours))


def verify(bench, case):
    results = []
    for name in ("vireo", *PEERS):
        if bench.has(name):
            options = ["--any-address"] if name == "testpmd-mac" else []
            with bench.lab() as lab:
                side = start(bench, lab, case.settings, BACKENDS[name](bench, lab), options)
                results.append((f"{case.name} {name}", bench.verified(side)))
    return results


def cases(kind):
    return [cells.Case(f"{kind}/{ring}/{size}/{option}", "cycles_per_frame", measure, quick=(size, option) in QUICK, seconds=22,
                       peers=PEERS, check=verify, settings={"ring": ring, "size": size, "mergeable": mergeable})
            for ring in RINGS for size in SIZES for option, mergeable in OPTIONS.items()]
