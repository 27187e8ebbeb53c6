#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""kills.py SECONDS SEED SLOWNESS: daemons that are killed, started again or handed over, and whose ports go and come, under front ends that come back.

A program of its own, for it starts processes all the time. It prints an object of JSON about once a second, the last one when it has ended
everything: frames passed, cut off and lost, requests done, faults by kind, and what was wrong. SIGTERM ends it early. See couple.py for
what counts as lost.
"""
import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "hostile")]
from couple import Couple, Writer  # noqa: E402
from guest.cases import expect  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.lab import Lab, tail  # noqa: E402
from guest.switch import Switch  # noqa: E402
from peer import be_patient  # noqa: E402

PORTS = ("left", "right")
DISK_BYTES = 1 << 20
FAULTS = []


def fault(function):
    FAULTS.append(function)
    return function


def lost_at(port):
    """Why a port has lost frames."""
    of_queues = {f"{queue['direction']} {name}": count for queue in port["queue_counters"] for name, count in queue.items()}
    return {name: count for name, count in (*port["counters"].items(), *of_queues.items()) if count and isinstance(count, int)}


def in_a_line(error):
    """With what a daemon said that has ended: it is all that the soak tells."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' | '.join(lines[:1] + lines[1:][-3:])[:1000]}"


class Fragile:
    """Two switches, with a couple at one of them, and a vireo-blkd with a writer."""

    def __init__(self, lab, seed):
        self.lab, self.dice = lab, random.Random(seed)
        self.at, self.faults, self.wrong, self.within = 0, {}, [], ""
        self.switches, self.blkd = [], None
        self.couple, self.writer = Couple(self.paths()), Writer(lab.path("d.sock"))

    def begin(self):
        for i in range(2):
            self.switches.append(Switch(self.lab, [self.spec(i, port) for port in PORTS], ["--log-level", "warning"], name=f"switch{i}"))
        with open(self.lab.path("disk"), "wb") as disk:
            disk.truncate(DISK_BYTES)
        self.blkd = Blkd(self.lab, [f"d=file:{self.lab.path('disk')}"], [f"vhost-user:{self.writer.path},name=e,disk=d"], ["--log-level", "warning"])
        self.couple.connect()
        self.writer.connect()

    def daemons(self):
        return [*self.switches, *([self.blkd] if self.blkd else [])]

    def path(self, i, port):
        return self.lab.path(f"{port}{i}.sock")

    def paths(self):
        return [self.path(self.at, port) for port in PORTS]

    def spec(self, i, port):
        return f"vhost-user:{self.path(i, port)},name={port}"

    def switch(self):
        return self.switches[self.at]

    def turns(self, seconds):
        """Frames and requests, while nothing befalls anybody."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.couple.turn()
            self.writer.turn(self.dice)
            time.sleep(0.005)

    def suffer(self):
        kind = self.dice.choice([kind for kind in FAULTS if kind.__name__ not in self.faults] or FAULTS)
        try:
            kind(self)
            self.faults[kind.__name__] = self.faults.get(kind.__name__, 0) + 1
            self.turns(self.dice.uniform(0.05, 0.3))
            self.couple.settle()
            expect(not self.couple.lost, f"{self.couple.lost} frames are lost: {self.couple.account()}")
        except Exception:
            self.within = f"in {kind.__name__}: "
            print(f"{self.within}after {self.faults}", file=sys.stderr)
            for switch in self.switches:
                with contextlib.suppress(Exception):  # it may be the one that does not answer
                    print(f"{switch.name}: {[(port['name'], lost_at(port)) for port in switch.ask('stats')['ports']]}", file=sys.stderr)
            raise

    def begin_anew(self):
        self.couple.disconnect()
        self.couple.connect()

    def report(self):
        return {"passed": self.couple.passed, "cut_off": self.couple.cut_off, "lost": self.couple.lost, "requests": self.writer.done,
                "faults": {name.replace("_", " "): count for name, count in self.faults.items()}, "wrong": self.wrong}

    def end(self):
        self.couple.settle()
        self.couple.disconnect()
        self.writer.disconnect()
        for daemon in self.daemons():
            end_well(daemon)


# ---- what befalls them, with frames on their way ----

@fault
def switch_killed(all_of_it):
    """kill -9."""
    all_of_it.couple.turn()
    all_of_it.switch().kill()
    all_of_it.couple.cut()
    all_of_it.switch().start()
    all_of_it.begin_anew()


@fault
def switch_ended(all_of_it):
    """SIGTERM, and started again."""
    all_of_it.couple.turn()
    end_well(all_of_it.switch())
    all_of_it.couple.cut()
    all_of_it.lab.kill(all_of_it.switch().child)
    all_of_it.switch().start()
    all_of_it.begin_anew()


@fault
def ports_removed_and_added(all_of_it):
    all_of_it.couple.turn()
    for port in PORTS:
        all_of_it.switch().ctl("port", "remove", port)
    all_of_it.couple.cut()
    for port in PORTS:
        all_of_it.switch().ctl("port", "add", all_of_it.spec(all_of_it.at, port))
    all_of_it.begin_anew()


@fault
def cable_pulled(all_of_it):
    """And put back; the session goes on. What is sent meanwhile goes nowhere."""
    port = all_of_it.dice.choice(PORTS)
    all_of_it.couple.settle()
    all_of_it.switch().ctl("port", "link", port, "down")
    all_of_it.couple.turn()
    time.sleep(0.02)
    all_of_it.couple.cut()
    all_of_it.switch().ctl("port", "link", port, "up")
    all_of_it.couple.greet(time.monotonic() + 60)


@fault
def front_end_went_and_came(all_of_it):
    all_of_it.couple.turn()
    all_of_it.couple.cut()
    all_of_it.begin_anew()


@fault
def moved_to_the_other_switch(all_of_it):
    """As a migration within one host does: memory and rings go on at another daemon, and nothing is cut off."""
    all_of_it.couple.turn()
    all_of_it.at = 1 - all_of_it.at
    all_of_it.couple.move(all_of_it.paths())


@fault
def switch_handed_over(all_of_it):
    """To a process that goes on with both sessions: nothing is cut off."""
    all_of_it.couple.turn()
    all_of_it.switch().hand_over("--log-level", "warning")


@fault
def disk_handed_over(all_of_it):
    """With a request under way, which is done once."""
    sector = all_of_it.writer.leave_under_way(all_of_it.dice)
    all_of_it.blkd.hand_over("--log-level", "warning")
    all_of_it.writer.take_under_way(sector)


@fault
def disk_killed(all_of_it):
    """kill -9 of vireo-blkd, with a request under way."""
    all_of_it.writer.leave_under_way(all_of_it.dice)
    all_of_it.blkd.kill()
    all_of_it.writer.disconnect()
    all_of_it.blkd.start()
    all_of_it.writer.connect()


def go_on(fragile, seconds, stop):
    end, said = time.monotonic() + seconds, 0
    while not stop and time.monotonic() < end:
        fragile.suffer()
        if time.monotonic() > said + 1:
            said = time.monotonic()
            print(json.dumps(fragile.report()), flush=True)


def main():
    seconds, seed, slow = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    be_patient(slow)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    with Lab("vireo-kills-") as lab:
        fragile = Fragile(lab, seed)
        try:
            fragile.begin()
            go_on(fragile, seconds, stop)
            fragile.end()
            expect(fragile.couple.passed and fragile.writer.done, "nothing has passed at all")
        except Exception as error:
            traceback.print_exc()
            fragile.wrong.append(fragile.within + in_a_line(error))
            for daemon in fragile.daemons():
                print(f"---- {daemon.name}\n{tail(daemon.child.log, 20)}", file=sys.stderr)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Python, when it ends, gives it its default action back, and what is ignored stays ignored
        print(json.dumps(fragile.report()), flush=True)
        sys.exit(1 if fragile.wrong or fragile.couple.lost else 0)


if __name__ == "__main__":
    main()
