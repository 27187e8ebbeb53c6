# SPDX-License-Identifier: BSD-3-Clause
"""What has happened in a soak: counts by kind, complaints, and what a daemon holds."""
import collections
import os
import re
import threading
import time

RSS_SLACK_KIB = 8 << 10  # of a daemon that has been told every lie before it is looked at for the first time; else four times as much
MAPS_SLACK = 64  # mappings that are not shared: what malloc, and the stacks of threads that come and go, have


class Tally:
    """Counts of faults by kind, and what was wrong, from several threads."""

    def __init__(self):
        self.lock, self.faults, self.wrong = threading.Lock(), collections.Counter(), []

    def count(self, kind, times=1):
        with self.lock:
            self.faults[kind] += times

    def complain(self, text):
        """Something that must not be. It is said at once, and again at the end."""
        with self.lock:
            self.wrong.append(text)
        print(f"WRONG {text}", flush=True)


def by_kind(faults):
    return ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())) or "none yet"


class Holds:
    """What a process holds, now: fds, threads, mappings that are shared, all mappings, and KiB of its own memory."""

    def __init__(self, pid):
        self.fds, self.threads = len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
        with open(f"/proc/{pid}/maps") as maps:
            lines = maps.readlines()
        self.shared, self.maps = sum(" rw-s " in line for line in lines), len(lines)
        with open(f"/proc/{pid}/status") as status:
            self.own_kib = int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1])

    def __str__(self):
        return f"{self.fds} fds, {self.threads} threads, {self.shared} shared of {self.maps} mappings, {self.own_kib} KiB of its own"

    def beyond(self, before, slack):
        """What is more than it was before, in words. `slack`: how many times more of its own memory it may have than said above; None: any."""
        return [what for what, leaked in (
            (f"fds {before.fds} -> {self.fds}", self.fds > before.fds),
            (f"threads {before.threads} -> {self.threads}", self.threads > before.threads),
            (f"shared mappings {before.shared} -> {self.shared}", self.shared > before.shared),
            (f"mappings {before.maps} -> {self.maps}", slack and self.maps > before.maps + MAPS_SLACK),
            (f"memory {before.own_kib} -> {self.own_kib} KiB", slack and self.own_kib > before.own_kib + slack * RSS_SLACK_KIB)) if leaked]


def given_back(pid, before, slack, seconds):
    """What a process has not given back within so many seconds, in words. Threads that close what peers own end when there has been nothing
    to close for a while."""
    end = time.monotonic() + seconds
    while True:
        more = Holds(pid).beyond(before, slack)
        if not more or time.monotonic() > end:
            return more
        time.sleep(0.1)
