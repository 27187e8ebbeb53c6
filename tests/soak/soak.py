# SPDX-License-Identifier: BSD-3-Clause
"""A soak: lies of tests/hostile in an order of the dice, told to daemons that live all the time, while a crowd comes and goes there, an operator
changes what can be changed (faults.py), and other daemons are killed under front ends that come back (kills.py).

It prints a line every ten seconds, and at the end frames passed, faults by kind, lost and leaks. What is looked at for leaks: once all kinds
of visitors have been there, and at the end; with all of them gone both times.
"""
import argparse
import gc
import json
import os
import random
import sys
import time
import traceback

import bench  # of tests/hostile
from guest.daemon import SANITIZER, sanitized
from guest.lab import Lab, tail
from guest.switch import build_folder
from peer import be_patient, patience
from vhost_user import VhostUserPeer

import beside
import faults
from steady import PAIRS, Steady
from tally import Tally, by_kind

HERE = os.path.dirname(os.path.abspath(__file__))
EVERY_S = 10
WARM_UP_S = 60  # at most; a tenth of the time in long runs, a quarter in short ones


def first_line(error):
    return str(error).splitlines()[0][:300] if str(error) else repr(error)


class Soak:
    def __init__(self, lab, options):
        self.options, self.tally, self.lab = options, Tally(), lab
        self.dice, self.untold, self.round = random.Random(options.seed), [], 0
        self.steady, self.kills, self.actors = None, None, []
        self.begin, self.said, self.slack = time.monotonic(), 0, 1

    def run(self):
        """True: all is well."""
        self._start()
        try:
            warm_up = min(WARM_UP_S, self.options.seconds / (10 if self.options.seconds >= 120 else 4))
            self._mix(warm_up)
            self._rest()
            self.steady.look()
            self.slack = 1 if self.round > 1 else 4
            print(f"     warm: {'; '.join(f'{name} holds {holds}' for name, holds in self.steady.base.items())}", flush=True)
            for actor in self.actors:
                actor.go_on()
            self._mix(self.options.seconds)
            return self._finish()
        finally:
            for actor in self.actors:
                actor.ended.set()
            self.steady.kill()

    def _start(self):
        seed, seconds = self.options.seed, self.options.seconds
        self.kills = self._start_kills(seconds, seed)
        self.steady = Steady(build_folder(), VhostUserPeer, self.options.rate, int(seconds * 2 + 3600))
        self.actors = [faults.Actor(self.steady, self.tally, kinds, seed + i, pause_s)
                       for i, (kinds, pause_s) in enumerate(((faults.CROWD, 0.1), (faults.OPERATOR, 0.1)))]

    def _start_kills(self, seconds, seed):
        argv = [sys.executable, os.path.join(HERE, "kills.py"), str(seconds), str(seed), str(self.options.slow)]
        with open(self.lab.path("kills.json"), "wb") as out, open(self.lab.path("kills.log"), "wb") as log:
            return self.lab.start(argv, stdout=out, stderr=log)

    # ---- what goes on ----

    def _mix(self, until_s):
        """Until so many seconds after the beginning."""
        while time.monotonic() < self.begin + until_s:
            self._tell(self._next())
            self._say()

    def _next(self):
        """Each lie once, then all again."""
        if not self.untold:
            self.untold, self.round = list(bench.LIES), self.round + 1
            self.dice.shuffle(self.untold)
        return self.untold.pop()

    def _tell(self, lie):
        if not self._told(lie):
            self._tell_alone(lie)
        try:
            self.steady.check()
        except Exception as error:
            self._wrong(lie, error)
            raise

    def _told(self, lie):
        """Some count what others bring, too: one that fails is told once more with nobody else there, when all that it held has gone with the error:
        who is still connected would keep its port from the second one."""
        try:
            lie(self.steady)
            self.tally.count("lie")
        except bench.Skipped:
            pass
        except Exception as error:
            print(f"again {lie.__name__}: {first_line(error)}", flush=True)
            self.tally.count("lie told again")
            return False
        return True

    def _tell_alone(self, lie):
        gc.collect()  # a peer and its rings name each other: without that it stays connected
        self._rest()
        try:
            lie(self.steady)
        except Exception as error:  # it goes through, in whatever way
            self._wrong(lie, error)
        for actor in self.actors:
            actor.go_on()

    def _wrong(self, lie, error):
        traceback.print_exc()
        self.tally.complain(f"{lie.__name__}: {first_line(error)}")

    def _say(self, force=False):
        now = time.monotonic() - self.begin
        if now < self.said + EVERY_S and not force:
            return
        self.said = now
        passed, dropped = self.steady.frames()
        killed, counts = self._killed(), dict(self.tally.faults)
        counts.update(killed["faults"])
        print(f"{now:5.0f} s: {passed + killed['passed']} frames passed, {killed['lost']} lost, {dropped} dropped at full rings, {killed['cut_off']} cut off; "
              f"{killed['requests']} requests of disks; faults: {by_kind(counts)}; {len(self.tally.wrong)} wrong", flush=True)

    def _killed(self):
        """The last whole line of what kills.py says."""
        with open(self.lab.path("kills.json")) as out:
            lines = out.read().rpartition("\n")[0].splitlines()
        return json.loads(lines[-1]) if lines else {"passed": 0, "cut_off": 0, "lost": 0, "requests": 0, "faults": {}, "wrong": []}

    def _rest(self):
        for actor in self.actors:
            actor.rest()

    # ---- the end ----

    def _finish(self):
        status = self._end_kills()
        self._rest()
        leaks = self.steady.leaks(None if sanitized() else self.slack)  # a sanitizer keeps what was freed, and says itself what was not
        print(f"     end:  {'; '.join(f'{name} holds {holds}' for name, holds in self.steady.now().items())}", flush=True)
        for actor in self.actors:
            actor.end()
        self._say(force=True)
        killed = self._killed()
        passed, lost, dropped = killed["passed"], killed["lost"], 0
        for name in PAIRS:
            got, missing, full, wrong = self.steady.account(name)
            passed, lost, dropped = passed + got, lost + missing, dropped + full
            for what in wrong:
                self.tally.complain(what)
        for what in killed["wrong"] or (["kills.py ended with " + str(status)] if status and not killed["lost"] else []):
            self.tally.complain(f"where daemons are killed: {what}")
        leaks += self._ended()
        return self._verdict(killed, passed, lost, dropped, leaks)

    def _end_kills(self):
        self.kills.terminate()
        status = self.kills.wait(patience(120))
        print(tail(self.lab.path("kills.log"), 60), end="", flush=True)
        return status

    def _ended(self):
        """What the daemons say when they end; LeakSanitizer says it then."""
        try:
            self.steady.finish()
        except Exception as error:
            self.tally.complain(f"at the end: {error}")
        return [line.strip() for path in self.steady.logs() for line in open(path, errors="replace") if SANITIZER.search(line)]

    def _verdict(self, killed, passed, lost, dropped, leaks):
        counts = dict(self.tally.faults)
        counts.update(killed["faults"])
        print(f"\nseed {self.options.seed}, {time.monotonic() - self.begin:.0f} s, {sum(counts.values())} faults injected:")
        for kind, count in sorted(counts.items()):
            print(f"  {kind:<34} {count:>8}")
        print(f"frames passed {passed}, lost {lost}, dropped at full rings {dropped}, cut off by a kill {killed['cut_off']}; "
              f"{killed['requests']} requests of disks\nrounds of all {len(bench.LIES)} lies begun: {self.round}\n"
              f"leaks: {len(leaks)}" + (", LeakSanitizer's verdict among them" if sanitized() else ""))
        for what in leaks:
            print(f"LEAK {what}")
        for what in self.tally.wrong:
            print(f"WRONG {what}")
        good = not lost and not leaks and not self.tally.wrong
        print("nothing lost, nothing leaked" if good else f"FAILED: {lost} lost, {len(leaks)} leaks, {len(self.tally.wrong)} wrong; --seed {self.options.seed}")
        return good


def arguments():
    parser = argparse.ArgumentParser(prog="run", description="Honest and hostile peers mixed at random on daemons from $VIREO_BUILD.")
    parser.add_argument("--seconds", type=float, default=600, metavar="S", help="how long (600; with --beside: of each measurement, 60)")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the dice; it is printed (default: another each time)")
    parser.add_argument("--rate", type=int, default=500, metavar="FPS", help="of each honest pair (500): what a loaded machine still carries")
    parser.add_argument("--slow", type=float, default=3, metavar="FACTOR", help="how much longer than on an idle machine anything is waited for (3)")
    parser.add_argument("--beside", action="store_true", help="measure an honest pair at full speed with and without all lies beside it")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 30)
    return options


def main():
    options = arguments()
    be_patient(options.slow)
    bench.load(VhostUserPeer)
    print(f"seed {options.seed}", flush=True)
    if options.beside:
        sys.exit(0 if beside.measure(options) else 1)
    with Lab("vireo-soak-") as lab:
        sys.exit(0 if Soak(lab, options).run() else 1)
