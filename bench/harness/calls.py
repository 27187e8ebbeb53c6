# SPDX-License-Identifier: BSD-3-Clause
"""dequeue, enqueue, loop: libvireo's burst calls against librte_vhost's, in two programs that do the same.

Two comparisons a cell: the cycles inside the calls alone, and, as kind/ring/size/option+mbuf, with what the peer's users pay
beside the call for its packet buffers (dequeue: freeing them; enqueue: getting and freeing them; loop: freeing).
"""
from . import cells, peers, report
from .programs import RINGS, SIZES

MODES = {"dequeue": "send", "enqueue": "receive", "loop": "turn"}  # of the front end
OPTIONS = {"mergeable": True, "no-mergeable": False}
QUICK = {("64", "mergeable"), ("1518", "no-mergeable")}


def start(bench, lab, settings, backend):
    """A back end with its front end, settled and paused."""
    back = backend(bench, lab, settings["kind"], settings["size"])
    side = bench.connect(lab, back, MODES[settings["kind"]], size=settings["size"], ring=settings["ring"],
                         mergeable=settings["mergeable"])
    side.settle()
    return side


def measure(bench, case):
    with bench.lab() as lab:
        ours = start(bench, lab, case.settings, peers.burst_api)
        if not bench.has("librte_vhost"):
            return report.rows(case.name, bench.by_itself(ours))
        peer = start(bench, lab, case.settings, peers.burst_vhost)
        pairs = bench.alternate(ours, peer)
    return report.rows(case.name, pairs, "librte_vhost") + report.rows(
        case.name + "+mbuf", pairs, "librte_vhost", [("cycles_per_frame", "cycles_per_frame", "cycles_per_frame+mbuf")])


def verify(bench, case):
    results = []
    for name, backend in (("vireo", peers.burst_api), ("librte_vhost", peers.burst_vhost)):
        if bench.has(name):
            with bench.lab() as lab:
                results.append((f"{case.name} {name}", bench.verified(start(bench, lab, case.settings, backend))))
    return results


def cases(kind):
    return [cells.Case(f"{kind}/{ring}/{size}/{option}", "cycles_per_frame", measure, quick=(size, option) in QUICK, seconds=8,
                       peers=("librte_vhost",), check=verify,
                       settings={"kind": kind, "ring": ring, "size": size, "mergeable": mergeable})
            for ring in RINGS for size in SIZES for option, mergeable in OPTIONS.items()]
