# SPDX-License-Identifier: BSD-3-Clause
"""What holds for the daemon whatever a test has done with it."""
import contextlib
import os
import re
import time

from .cases import Failed, Skip, need_program
from .lab import tail, wait_until
from .switch import Switch, program

NOBODY = "nobody"
END_S = 30  # it takes a moment; a machine that stands still for seconds, or looks for leaks, is no fault of the daemon's
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|ThreadSanitizer")


def sanitized():
    """Binaries with sanitizers are slower, and look for leaks when they end."""
    with open(program("vireo-switchd"), "rb") as binary:
        return b"__asan_init" in binary.read()


def root_only():
    if os.geteuid():
        raise Skip("needs root")
    need_program("setpriv")


def held(pid):
    """What a process holds at rest: (fds, threads). vireoctl's connections are closed a moment after it has ended."""
    seen = []
    for _ in range(10):
        seen.append((len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))))
        time.sleep(0.02)
    return min(seen)


def open_files(pid):
    """{fd: what it leads to}. vireoctl's connections may be closed while one looks."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def given_back(pid, before, seconds=30):
    """The process comes down to what it held before. What peers own is closed by threads of its own, which end when there has been
    nothing to close for some seconds."""
    wait_until(lambda: all(now <= then for now, then in zip(held(pid), before)), seconds,
               f"(fds, threads) were {before} before: {held(pid)}")


def end_well(switch):
    """It ends when asked to, with nothing to complain about."""
    if switch.alive():
        switch.child.terminate()
        status = switch.child.wait(END_S)
    else:
        status = switch.child.returncode
    with open(switch.child.log, errors="replace") as log:
        text = log.read()
    if status or SANITIZER.search(text):
        raise Failed(f"vireo-switchd ended with {status}\n{tail(switch.child.log, 60)}")


def waited_s(pid):
    """{thread: how long it has waited for a CPU}, if the kernel tells."""
    found = {}
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                found[task] = int(stat.read().split()[1]) / 1e9
    return found


def seconds_to_its_end(child, step=0.002):
    """How long a child takes to end from now on: (by the clock, without what its threads have waited for a CPU, or this one has stood
    still). Not the machine's time is a daemon's fault."""
    begin = last = time.monotonic()
    before, after, still = waited_s(child.pid), {}, 0.0
    while child.poll() is None:
        if last - begin > END_S:
            raise Failed(f"{child.args[0]} does not end within {END_S} s")
        after.update(waited_s(child.pid))
        time.sleep(step)
        now = time.monotonic()
        still, last = still + max(0, now - last - 2 * step), now
    whole = time.monotonic() - begin
    return whole, whole - still - sum(waited - before.get(task, 0) for task, waited in after.items())


class WrappedSwitch(Switch):
    """A switch that is started by another command: as another user, in a namespace of its own."""

    def __init__(self, lab, wrap, *rest, **more):
        self.wrap = list(wrap)
        super().__init__(lab, *rest, **more)

    def start(self):
        if self.argv[:len(self.wrap)] != self.wrap:
            self.argv = self.wrap + self.argv
        super().start()


# The host's kernel says nothing of its own on interfaces that are made there, and nobody outside sees them.
QUIET_NETWORK = ("unshare", "-n", "sh", "-c", 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; exec "$0" "$@"')
