# SPDX-License-Identifier: BSD-3-Clause
"""How is measured: which CPUs and memory, alternating pairs, and the ping-pong beside each.

Both sides of a comparison are started once and connected; then SIGSTOP and SIGCONT let one run at a time. A pair is ping-pong, one
side, the other side, ping-pong; which one is first changes from pair to pair. The ping-pong is what a cache line costs from CPU to
CPU: a virtual machine's CPUs may move meanwhile, and pairs that saw another distance than most are thrown away and measured again.
"""
import ctypes
import dataclasses
import glob
import os
import statistics
import subprocess
import sys
import time

from guest.lab import Gone, Lab, Timeout, tail, wait_until
from guest.switch import build_folder

from .programs import Front

PAIRS = 7
WINDOWS = 3  # in which nothing moves, one after the other, and something is wrong
# A peer_name of the report; "bridge" is the kernel's, "limit" is bench-limit, what nobody can be faster than.
PEERS = ("librte_vhost", "testpmd-io", "testpmd-mac", "ovs", "bridge", "limit", "qsd")
VERIFIED_FRAMES = 1000  # at least
SETTLED_FRAMES, SETTLE_S = 100000, 20
HUGEPAGES_MIB = 1920  # two front ends of 256 MiB and Open vSwitch with many ports, 1.3 GiB; with two ports there is more room
CLONE_NEWNET = 0x40000000
NR_HUGEPAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
FREE_HUGEPAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"


class Unfit(Exception):
    """This machine, or what was built on it, cannot do what was asked; the text says what to do."""


@dataclasses.dataclass
class Pair:
    ours: dict  # unit: value
    peer: dict  # None: nobody to compare with
    pingpong: tuple  # cycles before and after

    @property
    def distance(self):
        return sum(self.pingpong) / 2


def steady(pairs):
    """Those whose two ping-pongs are within a third of the median of all."""
    median = statistics.median(value for pair in pairs for value in pair.pingpong)
    return [pair for pair in pairs if all(median * 2 / 3 <= value <= median * 4 / 3 for value in pair.pingpong)]


class Side:
    """One back end with its front end: what runs while the other side stands still."""

    def __init__(self, back, front):
        self.back, self.front = back, front

    def pause(self):
        self.front.pause()
        self.back.pause()

    def resume(self):
        self.back.resume()
        self.front.resume()

    def settle(self):
        """Lets it run until frames flow as they will: buffers are there, addresses learned, ways cached. Pauses it."""
        self.resume()
        first = self.back.stats()["frames"]
        wait_until(lambda: self.back.stats()["frames"] >= first + SETTLED_FRAMES, SETTLE_S,
                   f"{self.back.name} moves {SETTLED_FRAMES} frames", child=self.front.child)
        time.sleep(0.2)
        self.pause()

    def measure(self, bench):
        """One window: {"cycles_per_frame", "frames_per_second", and others that the back end counts}.

        A virtual machine's CPU may stand still for as long as a window: one in which nothing moved is taken again.
        """
        for _ in range(WINDOWS):
            values = self._window(bench)
            if values:
                return values
        raise RuntimeError(f"{self.back.name} moved no frame in {WINDOWS} windows of {bench.window_s} s")

    def _window(self, bench):
        self.resume()
        time.sleep(bench.warm_s)
        received, begin = self.front.snapshot()
        before = self.back.stats()
        time.sleep(bench.window_s)
        received_then, end = self.front.snapshot()
        after = self.back.stats()
        self.pause()
        moved = {key: after[key] - before[key] for key in after}
        if moved["frames"] <= 0:
            return None
        frames = received_then - received or moved["frames"]  # a front end that only sends receives nothing
        values = {"cycles_per_frame": moved["cycles"] / moved["frames"], "frames_per_second": frames / (end - begin)}
        if "mbuf_cycles" in moved:
            values["cycles_per_frame+mbuf"] = (moved["cycles"] + moved["mbuf_cycles"]) / moved["frames"]
        return values


class Bench:
    """What a run has in common: its options, its CPUs, its memory."""

    def __init__(self, quick=False, pairs=PAIRS, verify=False, without=(), progress=None, warn=None):
        self.quick, self.pairs, self.verify, self.without = quick, pairs, verify, set(without)
        self.warm_s, self.window_s = (0.03, 0.1) if quick else (0.05, 0.2)
        self.progress = progress or (lambda text: None)
        self.warn = warn or (lambda text: print(text, file=sys.stderr))
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Unfit("two CPUs are needed, one for the front end and one for the back end: this process may use one only")
        self.cpus, self.front_cpu, self.back_cpu = cpus, cpus[0], cpus[1]
        self.hugepages, self.reserved_before = False, None
        self.peer_socket = None  # of a back end that runs already: disks.py
        self.alone = False  # for now, without any peer

    def program(self, name):
        """Path of a program that has been built."""
        for pattern in (f"apps/{name}/{name}", f"apps/{name}", f"bench/{name}", f"bench/*/{name}"):
            for path in glob.glob(os.path.join(build_folder(), pattern)):
                if os.path.isfile(path) and os.access(path, os.X_OK):
                    return path
        raise Unfit(f"{name} has not been built in {build_folder()}: run `make bench` or `make build` (some programs of the bench need "
                    "Debian's dpdk-dev: scripts/install-deps bench installs it)")

    def lab(self):
        return Lab("vireo-bench-")

    def has(self, peer):
        return peer == "vireo" or not self.alone and peer not in self.without

    # memory

    def eal_memory(self, mib, single_file=True):
        """EAL arguments: hugepages for everybody or for nobody."""
        if not self.hugepages:
            return ["--no-huge", "-m", str(mib)]
        return ["--in-memory", *(["--single-file-segments", "-m", str(mib)] if single_file else [])]

    def eal(self, lab, name, worker_cpu, memory_mib=256):
        """EAL arguments: lcore 0 floats and takes commands, lcore 1 is pinned and moves frames."""
        anywhere = ",".join(map(str, self.cpus))
        return ["--lcores", f"0@({anywhere}),1@{worker_cpu}", "--no-pci", "--no-telemetry",
                f"--file-prefix={os.path.basename(lab.folder)}-{name}", *self.eal_memory(memory_mib)]

    def api_options(self):
        return ["--cpu", str(self.back_cpu)]

    def reserve(self):
        """Hugepages, if they are there or can be had. Says what is used instead."""
        need = HUGEPAGES_MIB // 2
        free, total = _number(FREE_HUGEPAGES), _number(NR_HUGEPAGES)
        if free < need and os.access(NR_HUGEPAGES, os.W_OK):
            try:
                _write(NR_HUGEPAGES, total + need - free)
                self.reserved_before = total
            except OSError:
                pass
        self.hugepages = _number(FREE_HUGEPAGES) >= need
        if not self.hugepages:
            self.give_back()
            self.warn(f"compare: {_number(FREE_HUGEPAGES)} of {need} hugepages are free and no more can be had: all front ends and "
                      f"peers run without (--no-huge), which slows them all. As root: echo {need} >{NR_HUGEPAGES}")

    def __enter__(self):
        own_network()
        self.reserve()
        return self

    def __exit__(self, *_):
        self.give_back()

    def give_back(self):
        if self.reserved_before is not None:
            _write(NR_HUGEPAGES, self.reserved_before)
            self.reserved_before = None

    # measuring

    def pingpong(self):
        """TSC cycles of a cache line's way to the other CPU and back."""
        done = subprocess.run([self.program("bench-pingpong"), str(self.front_cpu), str(self.back_cpu)], stdout=subprocess.PIPE,
                              timeout=20, check=True, text=True)
        return float(done.stdout)

    def alternate(self, ours, peer, pairs=None):
        """Pairs of two sides, each with measure(bench) -> {unit: value}, resume() and pause(). Leaves both paused."""
        wanted, all_pairs = pairs or self.pairs, []
        ours.pause(), peer.pause()
        before = self.pingpong()
        for turn in range(2 * wanted + 2):
            values = {}
            for name, side in ((("ours", ours), ("peer", peer)) if turn % 2 == 0 else (("peer", peer), ("ours", ours))):
                side.resume()
                values[name] = side.measure(self)
                side.pause()
            after = self.pingpong()
            all_pairs.append(Pair(values["ours"], values["peer"], (before, after)))
            before = after
            good = steady(all_pairs)
            self.progress(f"pair {min(len(good), wanted)} of {wanted}")
            if len(good) >= wanted:
                break
        if len(good) < wanted:
            self.warn(f"the CPUs' distance does not stay the same: {len(good)} steady pairs of {wanted} in {len(all_pairs)}")
        return good or all_pairs

    def by_itself(self, side):
        """The same without a peer."""
        pairs = []
        for _ in range(self.pairs):
            before = self.pingpong()
            side.resume()
            values = side.measure(self)
            side.pause()
            pairs.append(Pair(values, None, (before, self.pingpong())))
        return pairs

    def connect(self, lab, back, mode, **front):
        """Attaches a front end to a back end that listens; both have said that they are ready."""
        front = Front(self, lab, back.sockets, mode, name="front-" + back.name, **front)
        try:
            front.ready()
            if hasattr(back, "ready"):
                back.ready()
        except (Gone, Timeout) as why:
            raise Gone(f"{why}\nwhat {back.name} says:\n{tail(back.log)}") from None
        return Side(back, front)

    def verified(self, side, seconds=0.3):
        """Lets a side run, and says None or why its frames were not what had been sent."""
        def counted():
            own = side.back.stats()
            return {"bad": side.front.stats()["bad"] + own.get("bad", 0), "frames": max(side.front.snapshot()[0], own["frames"])}
        side.resume()
        time.sleep(seconds)
        try:
            wait_until(lambda: counted()["frames"] >= VERIFIED_FRAMES, 20, f"{VERIFIED_FRAMES} frames arrive",
                       child=side.front.child)
        except Timeout as late:
            return f"{late}: {counted()['frames']} did"
        bad = counted()["bad"]
        return f"{bad} frames were not what had been sent, there twice, or out of order" if bad else None


def own_network():
    """Open vSwitch makes interfaces with fixed names: they shall neither be seen nor meet others of that name."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        _write("/proc/sys/net/ipv6/conf/default/disable_ipv6", 1)  # nor shall the kernel send anything of its own on them


def _number(path):
    try:
        with open(path) as source:
            return int(source.read())
    except OSError:
        return 0


def _write(path, value):
    with open(path, "w") as target:
        target.write(str(value))
