# SPDX-License-Identifier: BSD-3-Clause
"""What all lies together cost an honest pair beside them: frames a second as fast as they go without a loss, before, meanwhile and after.

Those who lie burn CPU themselves, and so do the daemons of disks that they lie to: what is left for the pair is the rest of the machine.
"""
import os
import random
import time

import bench  # of tests/hostile
from guest.switch import build_folder
from vhost_user import VhostUserPeer

from steady import no_buffer

# The next frame when another has arrived: no ring runs full, unless the receiver gets no CPU for 20 ms (vireo-bench(1), --window).
LOAD = ["--window", "64", "--size", "imix"]
MUST = 0.9


def cpu_s(pid):
    """What a process has burnt."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pair:
    """An honest pair at full speed on a switch of its own, for as long as something goes on."""

    def __init__(self, seconds):
        self.daemon = bench.Daemon(build_folder(), VhostUserPeer, LOAD, seconds=int(seconds * 4 + 3600))

    def during(self, work):
        """Returns (frames a second, lost, dropped at a full ring, seconds, what work() returned, CPU seconds of the switch)."""
        daemon = self.daemon
        try:
            begin, frames, own = time.monotonic(), daemon.honest_frames(), cpu_s(daemon.process.pid)
            result = work(daemon)
            seconds, frames = time.monotonic() - begin, daemon.honest_frames() - frames
            own = cpu_s(daemon.process.pid) - own
            missing, receiver = daemon.report_of(daemon.bench)["lost"], daemon.port("honest1")
            for others in filter(None, (daemon.blkd, daemon.scsid)):
                others.finish()
            daemon.shouter.close()
            daemon.end()
            dropped = min(missing, no_buffer(receiver))
            return frames / seconds, missing - dropped, dropped, seconds, result, own
        finally:
            daemon.kill()


def undisturbed(seconds):
    fps, lost, dropped, _, _, own = Pair(seconds).during(lambda daemon: time.sleep(seconds))
    print(f"undisturbed: {fps:,.0f} frames a second, {lost} lost, {dropped} dropped at a full ring; vireo-switchd burnt {own / seconds:.0%} of a CPU",
          flush=True)
    return fps, lost


def told(daemon, seconds, dice):
    """All lies, at least once and for so long. Returns (lies told, CPU seconds of the liar, CPU seconds of disks' daemons)."""
    begin, own, count = time.monotonic(), time.process_time(), 0
    daemon.disks(), daemon.hosts()
    while True:
        lies = list(bench.LIES)
        dice.shuffle(lies)
        for lie in lies:
            if count >= len(bench.LIES) and time.monotonic() > begin + seconds:
                return count, time.process_time() - own, sum(cpu_s(others.process.pid) for others in (daemon.blkd, daemon.scsid))
            try:
                lie(daemon)
            except bench.Skipped:
                pass
            count += 1


def measure(options):
    """True: no frame is lost, and it is as fast as what is left of the machine allows, but for a tenth."""
    seconds, dice, cpus = min(options.seconds, 60), random.Random(options.seed), len(os.sched_getaffinity(0))
    before, lost_before = undisturbed(seconds)
    fps, lost, dropped, took, (count, liar_s, disks_s), own = Pair(seconds).during(lambda daemon: told(daemon, seconds, dice))
    print(f"beside {count} lies in {took:.0f} s: {fps:,.0f} frames a second, {lost} lost, {dropped} dropped at a full ring; vireo-switchd burnt "
          f"{own / took:.0%} of a CPU, the liar {liar_s / took:.0%}, the disks' daemons {disks_s / took:.0%}", flush=True)
    after, lost_after = undisturbed(seconds)
    share = (liar_s + disks_s) / took / cpus
    left = (before + after) / 2 * (1 - share)
    print(f"hostile share of {cpus} CPUs: {share:.1%}; what is left carries {left:,.0f} frames a second undisturbed: {fps / left:.1%} of that was carried "
          f"({fps * 2 / (before + after):.1%} of all)", flush=True)
    good = not lost + lost_before + lost_after and fps >= MUST * left
    print("nothing lost, and as fast as that" if good else f"FAILED: at least {MUST:.0%} and 0 lost were expected")
    return good
