# SPDX-License-Identifier: BSD-3-Clause
"""limit: vireo-switchd between two guests, as in vm2vm, against what nobody undercuts on this machine: bench-limit, which copies
each frame once from one ring in shared memory into another, in the cheapest of fifteen ways, looks nothing up, checks nothing
and signals nobody.
"""
import json
import subprocess

from . import cells, peers, report, switch
from .programs import RINGS, SIZES

QUICK = {("1518", "no-mergeable")}


class Limit:
    """As a side of a comparison: a process for each window."""

    def __init__(self, size):
        self.size = size

    def pause(self):
        """It does not run between its windows."""

    resume = pause

    def measure(self, bench):
        argv = [bench.program("bench-limit"), "--mode", "across", "--size", self.size,
                "--cpus", f"{bench.front_cpu},{bench.back_cpu}", "--ms", "2" if bench.quick else "4"]
        return self.run([*argv, *(["--verify"] if bench.verify else [])])

    def run(self, argv):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        return {key: found[key] for key in ("cycles_per_frame", "frames_per_second", "bad")}


def measure(bench, case):
    with bench.lab() as lab:
        ours = switch.start(bench, lab, case.settings, peers.Switchd(bench, lab))
        if not bench.has("limit"):
            return report.rows(case.name, bench.by_itself(ours))
        return report.rows(case.name, bench.alternate(ours, Limit(case.settings["size"])), "limit")


def verify(bench, case):
    bad = Limit(case.settings["size"]).measure(bench)["bad"]
    return [(f"{case.name} limit", f"{bad} frames were not what had been sent" if bad else None)]


def cases(kind):
    return [cells.Case(f"{kind}/{ring}/{size}/{option}", "cycles_per_frame", measure, quick=(size, option) in QUICK, seconds=8,
                       peers=("limit",), check=verify, settings={"ring": ring, "size": size, "mergeable": mergeable})
            for ring in RINGS for size in SIZES for option, mergeable in switch.OPTIONS.items()]
