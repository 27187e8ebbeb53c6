# SPDX-License-Identifier: BSD-3-Clause
"""quiet: what a few frames a second cost, and how long they take.

quiet/RATE/cpu      CPU that moves so many frames a second from one port to another; 100 percent are one CPU
quiet/RATE/median   of a frame's way from its sender to its receiver, both of which sleep meanwhile; and
quiet/RATE/p99      its 99th percentile

vireo-switchd as it is by default, not pinned, beside the kernel's bridge between two tap interfaces, beside its own polling, and beside
another build of it: VIREO_BASE is that build's folder. What a program pays for its own sending and receiving is not counted, except at
the bridge, which does its work in the calls of those who write and read: what these calls take is its CPU, and their program is slower
than ours, so its latencies are no rows.
"""
import json
import os
import subprocess
import sys
import time

from . import cells, peers, report, system
from .programs import Asked

RATES = (300, 1000, 3000, 10000, 30000, 100000)
SETTLE_S = 0.5
BASE = os.environ.get("VIREO_BASE")
TAPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "taps.py")


class Ours:
    """A switch with a vireo-bench, which is started anew for each window."""

    def __init__(self, bench, lab, name, options=(), folder=None):
        self.bench, self.lab, self.name = bench, lab, name
        self.back = peers.Switchd(bench, lab, options=options, name=name, pinned=False,
                                  program=folder and os.path.join(folder, "apps/vireo-switchd/vireo-switchd"))
        self.pause, self.resume = self.back.pause, self.back.resume

    def window(self, rate, seconds):
        argv = [self.bench.program("vireo-bench"), "net", "--json", "--wait", "event", "--rate", str(rate), "--seconds",
                f"{seconds + 2 * SETTLE_S:g}", "--from", self.back.sockets[0], "--to", self.back.sockets[1]]
        traffic = self.lab.start(argv, stdout=subprocess.PIPE, log=None)
        time.sleep(SETTLE_S)
        cpu = system.cpu_percent(self.back.pid, seconds)
        found = json.loads(traffic.communicate(timeout=20)[0])
        return {"cpu": cpu, "median": found["latency_ns"]["p50"], "p99": found["latency_ns"]["p99"]}


class Bridge:
    """The kernel's bridge, with a program that writes to one of its taps and reads from the other."""
    name = "bridge"

    def __init__(self, _bench, lab):
        self.program = Asked(lab, self.name, ["unshare", "-n", sys.executable, "-B", TAPS])
        self.program.ready()
        self.pause, self.resume = self.program.pause, self.program.resume

    def window(self, rate, seconds):
        return {"cpu": self.program.ask(f"window {rate} {seconds}", seconds + 20)["cpu_percent"]}


def sides(bench, lab):
    found = [Ours(bench, lab, "vireo"), Ours(bench, lab, "vireo-polling", ("--poll",))]
    if BASE:
        found.append(Ours(bench, lab, "vireo-base", folder=BASE))
    if bench.has("bridge"):
        found.append(Bridge(bench, lab))
    for side in found:
        side.pause()
    return found


def measure(bench, case):
    rate, seconds = case.settings["rate"], 1 if bench.quick else 2
    distances = []
    with bench.lab() as lab:
        everybody = sides(bench, lab)
        values = {side.name: [] for side in everybody}
        for turn in range(2 if bench.quick else bench.pairs):
            before = bench.pingpong()
            for side in everybody if turn % 2 == 0 else reversed(everybody):
                side.resume()
                values[side.name].append(side.window(rate, seconds))
                side.pause()
            distances.append((before + bench.pingpong()) / 2)
            bench.progress(f"round {turn + 1}")
    return [row for side in everybody[1:] for row in rows(case, values["vireo"], values[side.name], side.name, distances)]


def rows(case, ours, theirs, name, distances):
    return [report.row(f"{case.name}/{what}", "percent" if what == "cpu" else "ns", [value[what] for value in ours],
                       [value[what] for value in theirs], name, distances) for what in theirs[0]]


def cases(kind):
    return [cells.Case(f"{kind}/{rate}", "percent", measure, quick=rate in (1000, 10000), seconds=60, peers=("bridge",),
                       settings={"rate": rate}) for rate in RATES]
