# SPDX-License-Identifier: BSD-3-Clause
"""The matrix of cases: which kinds there are, which module knows each, and how words on the command line pick cases.

A module that is named in KINDS has a function cases(kind) that returns objects with
  name       kind/ring/size[/option], or whatever comes after kind/
  unit       the unit of its first row
  quick      belongs to a --quick run
  seconds    roughly how long run() takes in a full run, for the progress line
  peers      peer_names that it needs, out of measure.PEERS: checked for before anything runs
  run(bench)     -> list of rows, made with report.row(): {case, unit, ours, peer, peer_name, ratio, ratio_min, ratio_max, pairs,
                 pingpong_cycles} (peer and ratios are None where there is nothing to compare with)
  verify(bench)  -> list of (name, None or why it failed); may be missing: the kind has no verified form
All processes are children of a Lab that the case opens with bench.lab() and leaves before it returns.
"""
import dataclasses
import fnmatch
import importlib

KINDS = {
    "dequeue": "calls", "enqueue": "calls", "loop": "calls",
    "vm2vm": "switch", "limit": "limit",
    "latency": "latency", "scale": "scale",
    "guest": "guests", "quiet": "quiet",
    "uplink": "uplink", "mirror": "mirror",
    "disk": "disks",
    "idle": "system", "memory": "system", "start": "system",
}


@dataclasses.dataclass
class Case:
    """What most modules need: a name and a function. `work` is a function of (bench, case)."""
    name: str
    unit: str
    work: object
    quick: bool = False
    seconds: float = 10
    peers: tuple = ()
    check: object = None
    settings: dict = dataclasses.field(default_factory=dict)

    def run(self, bench):
        return self.work(bench, self)

    def verify(self, bench):
        return self.check(bench, self) if self.check else []


def cases(kind):
    """All cases of a kind."""
    return importlib.import_module("." + KINDS[kind], __package__).cases(kind)


def chosen(name, words):
    """Is it picked? A word is the beginning of a name, up to a slash, or a pattern such as vm2vm/*/1518*."""
    return not words or any(name == word or name.startswith(word.rstrip("/") + "/") or fnmatch.fnmatchcase(name, word)
                            for word in words)


def select(words, quick):
    """The cases that a run consists of, in the order of KINDS."""
    found = []
    for kind in KINDS:
        if not words or any(word.split("/")[0] == kind or fnmatch.fnmatchcase(kind, word.split("/")[0]) for word in words):
            found += [case for case in cases(kind) if chosen(case.name, words) and (case.quick or not quick)]
    return found


def brief(cases):
    """A few of them that meet every kind and every ring: for each, another one of its cases."""
    groups = {}
    for case in cases:
        groups.setdefault(tuple(case.name.split("/")[:2]), []).append(case)
    return [group[number % len(group)] for number, group in enumerate(groups.values())]
