# SPDX-License-Identifier: BSD-3-Clause
"""start, memory, idle: what a switch costs before and beside its work.

start/PORTS              from exec until the sockets of all ports listen. Open vSwitch's database runs and knows the ports already.
memory/PORTS/rss         resident memory with that many ports attached, without what belongs to the front ends
memory/PORTS/hugepages   what the process holds of the machine's hugepages beside it
idle/PORTS               CPU that the switch uses while so many attached guests are silent; 100 percent are one CPU

The attached ports are front ends with running rings and posted buffers, as idle guests are; they sleep. DPDK's programs get no memory
set aside for them here: they take what they need. testpmd drives no more than TESTPMD_PORTS_MAX ports; where more are asked for, both
sides are compared with as many as it can, in a row of its own that says so.
"""
import contextlib
import os
import subprocess
import sys
import time

from guest.front import Front, text_frame
from guest.lab import Gone, Timeout, tail

from . import attach, cells, peers, programs, report
from .measure import Bench, Unfit

TESTPMD_PORTS_MAX = 32  # RTE_MAX_ETHPORTS of Debian's DPDK
SETTLE_S = 0.5
STEP_S = 0.0002
PEERS = ("testpmd-io", "ovs")


# ---- a process, seen from outside; for bench/figures, too ----

def listening(paths):
    """Are all these sockets listening? The kernel's list says so; to connect would be a visit that costs time itself."""
    with open("/proc/net/unix") as sockets:
        rows = [line.split() for line in sockets]
    ready = {row[7] for row in rows if len(row) > 7 and row[3] == "00010000"}  # __SO_ACCEPTCON
    return ready.issuperset(paths)


def launch(lab, argv, sockets, seconds=60, **popen):
    """Starts a program: (child, milliseconds until it listens on all of `sockets`)."""
    begin = time.monotonic()
    child = lab.start(argv, **popen)
    while not listening(sockets):
        if child.poll() is not None:
            raise Gone(f"{argv[0]} ended with {child.returncode}\n{tail(child.log)}")
        if time.monotonic() - begin > seconds:
            raise Timeout(f"{argv[0]} does not listen within {seconds:g} s\n{tail(child.log)}")
        time.sleep(STEP_S)
    return child, (time.monotonic() - begin) * 1000


def cpu_seconds(pid):
    """What all threads of a process have run. Threads that end meanwhile are forgotten."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
                total += int(stat.read().split()[0])
        except FileNotFoundError:
            pass
    if not total:
        raise Unfit("this kernel does not tell in /proc/PID/task/*/schedstat how long a thread has run")
    return total / 1e9


def cpu_percent(pid, seconds):
    """CPU used in the next `seconds`; 100 is one CPU."""
    before, begin = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - begin) * 100


def rss_bytes(pid, foreign=()):
    """Resident memory, without mappings of the files (major, minor, inode) in `foreign`: what guests share is theirs."""
    total, counts = 0, True
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            words = line.split()
            if not words[0].endswith(":"):
                counts = (*(int(number, 16) for number in words[3].split(":")), int(words[4])) not in foreign
            elif words[0] == "Rss:" and counts:
                total += int(words[1]) * 1024
    return total


def hugepage_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("HugetlbPages")), 0)


class Attached(programs.Asked):
    """Front ends on ports of a back end, silent and asleep, in a process of their own: idle guests."""

    def __init__(self, lab, back, sockets=None):
        super().__init__(lab, f"idle-of-{back.name}", [sys.executable, "-B", attach.__file__])
        self.ready()
        self.memory = [self._attach(back, path) for path in (back.sockets if sockets is None else sockets)]

    def _attach(self, back, path):
        """What identifies the memory that they share."""
        answer = self.ask(f"attach {path}")
        if "error" in answer:
            raise RuntimeError(f"an idle front end cannot be attached: {answer['error']}")
        if hasattr(back, "do"):
            back.do("show port summary 0")  # takes in what testpmd says of each connection: it would stop at a full pipe
        return tuple(answer["memory"])


# ---- the back ends ----

class OnDemand(Bench):
    """The same run, but DPDK's programs take memory when they need it instead of what was set aside for them."""

    def __init__(self, bench):
        self.__dict__.update(bench.__dict__)
        self.huge, self.hugepages = bench.hugepages, False

    def eal_memory(self, mib, single_file=True):
        return ["--in-memory"] if self.huge else super().eal_memory(mib, single_file)


def switchd(bench, lab, ports):
    return peers.Switchd(bench, lab, ports, options=("--adaptive",))


BACKENDS = {"vireo": switchd, "testpmd-io": peers.Testpmd, "ovs": peers.Ovs}


def present(bench):
    return [peer for peer in PEERS if bench.has(peer)]


def rounds(bench, names, pairs, work, what):
    """{name: values} of work(name), which takes turns between them; who is first changes from round to round."""
    values = {name: [] for name in names}
    for turn in range(pairs):
        for name in names if turn % 2 == 0 else reversed(names):
            values[name].append(work(name))
        bench.progress(f"{what} {turn + 1} of {pairs}")
    return values


# ---- start ----

class Starter:
    """Starts a back end again and again as it was started once; for Open vSwitch, beside the database that knows its ports."""

    def __init__(self, bench, name, ports):
        self.lab = bench.lab()
        try:
            self.back = BACKENDS[name](OnDemand(bench), self.lab, ports)
            self.argv, self.environment = self.back.child.args, getattr(self.back, "env", programs.environment(self.lab))
            self.cwd = getattr(self.back, "folder", self.lab.folder)
            self._end(self.back.child)
        except BaseException:
            self.lab.close()
            raise

    def _end(self, child):
        self.lab.stop(child)
        for path in self.back.sockets:
            if os.path.exists(path):
                os.unlink(path)

    def once(self):
        child, value = launch(self.lab, self.argv, self.back.sockets, log="again.log", stdin=subprocess.PIPE, env=self.environment, cwd=self.cwd)
        child.stdin.close()
        self._end(child)
        return value


def start(bench, case):
    names, starters, rows = ["vireo", *present(bench)], {}, []
    try:
        for name in names:
            starters[name] = Starter(bench, name, case.settings["ports"])
        values = rounds(bench, names, 3 if bench.quick else max(bench.pairs, 7), lambda name: starters[name].once(), "start")
    finally:
        for starter in starters.values():
            starter.lab.close()
    for peer in names[1:]:
        rows.append(report.row(case.name, "ms", values["vireo"], values[peer], peer))
    return rows or [report.row(case.name, "ms", values["vireo"])]


# ---- memory ----

def footprint(bench, name, ports):
    """(resident bytes, bytes of hugepages) with so many ports attached."""
    with bench.lab() as lab:
        back = BACKENDS[name](OnDemand(bench), lab, ports)
        attached = Attached(lab, back)
        time.sleep(SETTLE_S)
        return rss_bytes(back.pid, attached.memory), hugepage_bytes(back.pid)


def memory_rows(bench, case, ports, peer, suffix=""):
    values = rounds(bench, ["vireo", *([peer] if peer else [])], 1 if bench.quick else 3, lambda name: footprint(bench, name, ports), "memory")
    rows = []
    for index, what in enumerate(("rss", "hugepages")):
        ours, theirs = ([each[index] for each in values.get(name, [])] for name in ("vireo", peer))
        rows.append(report.row(f"{case.name}/{what}{suffix}", "bytes", ours, theirs, peer))
    return rows


def memory(bench, case):
    ports, rows = case.settings["ports"], []
    for peer in present(bench):
        few = peer.startswith("testpmd") and ports > TESTPMD_PORTS_MAX
        rows += memory_rows(bench, case, TESTPMD_PORTS_MAX if few else ports, peer, f"/both-with-{TESTPMD_PORTS_MAX}" if few else "")
    return rows or memory_rows(bench, case, ports, None)


# ---- idle ----

def idle(bench, case):
    ports, seconds = case.settings["ports"], 2 if bench.quick else 5
    names, backs = ["vireo", *present(bench)], {}

    def busy(name):
        backs[name].resume()
        time.sleep(SETTLE_S)
        value = cpu_percent(backs[name].pid, seconds)
        backs[name].pause()
        return value

    with bench.lab() as lab:
        for name in names:
            backs[name] = BACKENDS[name](bench, lab, ports)
            Attached(lab, backs[name])
            time.sleep(SETTLE_S)
            backs[name].pause()
        values = rounds(bench, names, 2 if bench.quick else 3, busy, "idle")
    rows = [report.row(case.name, "percent", values["vireo"], values[peer], peer) for peer in names[1:]]
    return rows or [report.row(case.name, "percent", values["vireo"])]


def idle_verified(bench, case):
    """Guests that have been silent are still connected: a frame of each reaches each other one."""
    with bench.lab() as lab, contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(Front(path)) for path in switchd(bench, lab, case.settings["ports"]).sockets]
        time.sleep(SETTLE_S)
        return [(f"{case.name} vireo", ring_around(fronts))]


def ring_around(fronts):
    """None, or what is wrong: each one calls all, then answers the one before it."""
    for number, front in enumerate(fronts):
        front.send(text_frame(number, None, b"all %d" % number))
        for other, receiver in enumerate(fronts):
            if other != number and not heard(receiver, text_frame(number, None, b"all %d" % number)):
                return f"a broadcast from port {number} has not reached port {other}"
    for number, front in enumerate(fronts):
        before = (number - 1) % len(fronts)
        front.send(text_frame(number, before, b"one %d" % number))
        if not heard(fronts[before], text_frame(number, before, b"one %d" % number)):
            return f"a frame from port {number} has not reached port {before}"
    return None


def heard(front, frame):
    return frame in [data for _, data in front.receive(2)]


def cases(kind):
    work, check = {"start": (start, None), "memory": (memory, None), "idle": (idle, idle_verified)}[kind]
    unit = {"start": "ms", "memory": "bytes", "idle": "percent"}[kind]
    ports = {"start": (2, 10), "memory": (2, 128), "idle": (10,)}[kind]
    return [cells.Case(f"{kind}/{count}", unit, work, quick=(kind, count) != ("start", 10), seconds=60, peers=PEERS, check=check,
                       settings={"ports": count}) for count in ports]
