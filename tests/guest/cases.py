# SPDX-License-Identifier: BSD-3-Clause
"""Runs the cases of a test file: functions marked with @case, each in a Lab of its own.

One line per case: "ok   NAME", "FAIL NAME: why", "skip NAME: why" (by Skip, or Unavailable). Exit status 1 if one failed, 77
if all were skipped.
A case is run once more, after a line "again NAME: why", if a guest stood still as a whole (lab.Hung): QEMU's emulation of a
machine comes to that by itself now and then.
VIREO_CHANCES=2: a case that fails otherwise is run once more, too, after a line "unsteady NAME: why". So does scripts/check, which
runs thousands of them and lets few be unsteady, and shows them. Never what _for_good() names.
Words on the command line pick the cases whose names hold one of them.
"""
import os
import re
import shutil
import signal
import sys
import time
import traceback

from . import matrix
from .kernels import Unavailable
from .lab import Gone, Hung, Lab, tail


class Skip(Exception):
    pass


class Failed(AssertionError):
    pass


CHANCES = int(os.environ.get("VIREO_CHANCES", "1"))
REPORT = re.compile(r"Sanitizer|runtime error:|[Aa]ssertion .*failed|stack smashing|corrupted|double free")

_cases = []
_shared = {}  # {key: [Lab, what has been made in it]}


def case(function=None, *, shows=()):
    """A function of a Lab; its name is the rule that it checks. `shows`: what matrix.pairs takes."""
    if function is None:
        return lambda function: case(function, shows=shows)
    _cases.append((function.__name__, function, matrix.pairs(shows, function.__name__)))
    return function


def case_for(rows, name, shows=()):
    """The same rule for many settings: rows is {suffix: arguments}; the function takes (lab, *arguments)."""
    def mark(function):
        for suffix, arguments in rows.items():
            full = name.format(suffix)
            _cases.append((full, lambda lab, arguments=arguments: function(lab, *arguments), matrix.pairs(shows, full)))
        return function
    return mark


def expect(condition, what):
    if not condition:
        raise Failed(what)


def need_program(name):
    if not shutil.which(name):
        raise Skip(f"{name} is not installed")


def shared(key, make):
    """What make(lab) makes for the first case that asks, for all that follow: a guest that boots once, and that each case leaves
    as it has found it. A case that fails takes it along."""
    if key not in _shared:
        _shared[key] = [Lab("vireo-e2e-"), None]
        try:
            _shared[key][1] = make(_shared[key][0])
        except (Skip, Unavailable):
            _end_shared()
            raise
    return _shared[key][1]


def _end_shared():
    for lab, _ in _shared.values():
        lab.close()
    _shared.clear()


def _logs(lab):
    """The ends of what everybody said."""
    for name in sorted(os.listdir(lab.folder)):
        if name.endswith((".log", ".qemu", ".console", ".pmd")):
            text = tail(lab.path(name), 25)
            if text:
                print(f"---- {name}\n{text.rstrip()}")


def _refused(lab):
    """The first line in which a daemon says that its sandbox lacks a call; a daemon goes on without."""
    for name in sorted(os.listdir(lab.folder)):
        if name.endswith(".log") and os.path.isfile(lab.path(name)):
            with open(lab.path(name), errors="replace") as log:
                for line in log:
                    if "the sandbox has refused" in line:
                        return f"{name}: {line.rstrip()}"
    return None


def _reported(lab):
    for name in os.listdir(lab.folder):
        if name.endswith(".log") and os.path.isfile(lab.path(name)):
            with open(lab.path(name), errors="replace") as log:
                if any(REPORT.search(line) for line in log):
                    return True
    return False


def _for_good(lab, error):
    """A failure that no second run takes back: somebody has ended by himself, a sandbox has refused, or a log has a report, be it of what cases share."""
    labs = (lab, *(one for one, _ in _shared.values()))
    return isinstance(error, Gone) or any(_refused(one) or _reported(one) for one in labs)


def _verdict(lab, error, left):
    """What is said of a failure, and done: "again" and "unsteady" cases run once more."""
    if left and isinstance(error, Hung):
        return "again"
    return "unsteady" if left and CHANCES > 1 and not _for_good(lab, error) else "FAIL"


def _one(name, function, chances=2):
    begin = time.monotonic()
    with Lab("vireo-e2e-") as lab:
        try:
            function(lab)
            expect(lab.refusals or not _refused(lab), _refused(lab))
        except (Skip, Unavailable) as why:
            print(f"skip {name}: {why}", flush=True)
            return "skip"
        except Exception as error:
            verdict = _verdict(lab, error, chances > 1)
            print(f"{verdict} {name}: {str(error).splitlines()[0] if str(error) else repr(error)}")
            traceback.print_exc(file=sys.stdout)
            for one in (lab, *(one for one, _ in _shared.values())):
                _logs(one)
            _end_shared()
            sys.stdout.flush()
            if verdict == "FAIL":
                return "FAIL"
        else:
            print(f"ok   {name} ({time.monotonic() - begin:.1f} s)", flush=True)
            return "ok"
    return _one(name, function, chances - 1)


def _terminated(number, _frame):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, _terminated)
    words = sys.argv[1:]
    wanted = [one for one in _cases if not words or any(word in one[0] for word in words)]
    if not wanted:
        sys.exit(f"no case holds {' or '.join(words)}: there are {', '.join(one[0] for one in _cases)}")
    results = []
    try:
        for name, function, shows in wanted:
            results.append(_one(name, function))
            print(matrix.said(results[-1], shows), end="", flush=True)
    finally:
        _end_shared()
    counts = [results.count(word) for word in ("ok", "FAIL", "skip")]
    print(f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped", flush=True)
    sys.exit(1 if counts[1] else 0 if counts[0] else 77)
