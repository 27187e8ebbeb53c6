# SPDX-License-Identifier: BSD-3-Clause
"""Lab: the owner of processes and of one temporary folder.

Children run in sessions of their own, so that Ctrl-C reaches only us, and carry a parent-death signal, so that they end even
when we are killed with -9. The kernel sends that signal when the *thread* that forked ends: start children in the main thread.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
HANDED_DOWN = signal.SIGINT, signal.SIGQUIT, signal.SIGHUP  # ignored where tests run in the background of a shell, or under nohup
_libc = ctypes.CDLL(None, use_errno=True)


class Gone(Exception):
    """A child that should be running has ended."""


class Timeout(Exception):
    """Something did not happen in its time."""


class Hung(Timeout):
    """A guest as a whole stands still: not what was asked of it, but its shell does not come or answer."""


def wait_until(condition, seconds, what, step=0.05, child=None):
    """Polls condition() until it returns something true, which is returned. `child` must not end meanwhile."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if child and child.poll() is not None:
            raise Gone(f"{child.args[0]} ended with {child.returncode}, awaited: {what}\n{tail(child.log)}")
        if time.monotonic() > end:
            raise Timeout(f"not within {seconds:g} s: {what}")
        time.sleep(step)


def listening_sockets(path):
    """How many sockets listen under a path: the first of two has lost it, and waits for nobody. None of one that is there, and is about to."""
    with open("/proc/net/unix") as sockets:
        words = [line.split() for line in sockets]
    return sum(line[3:4] == ["00010000"] and line[-1] == path for line in words)


class Lab:
    def __init__(self, prefix="vireo-"):
        self.folder = tempfile.mkdtemp(prefix=prefix)
        self.children = []
        self.refusals = False  # may a daemon's sandbox refuse a call?
        self.before_end = []  # called while the children still run

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, argv, log=None, **popen):
        """Starts a child; with `log`, its output goes to that file of the folder."""
        parent = os.getpid()

        def before_exec():
            for number in HANDED_DOWN:
                signal.signal(number, signal.SIG_DFL)
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        if log:
            out = open(self.path(log), "ab")
            popen.update(stdout=out, stderr=subprocess.STDOUT)
        popen.setdefault("stdin", subprocess.DEVNULL)
        try:
            child = subprocess.Popen(argv, start_new_session=True, preexec_fn=before_exec, **popen)
        finally:
            if log:
                out.close()
        child.log = self.path(log) if log else None
        self.children.append(child)
        return child

    def stop(self, child, grace_s=30.0):
        """Asks, then kills one that does not come to an end. Returns the exit status."""
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass
        return self.kill(child)

    def kill(self, child):
        """Kills the child with whatever it started, and reaps it. Returns the exit status."""
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        status = child.wait()
        if child in self.children:
            self.children.remove(child)
        return status

    def close(self):
        while self.before_end:
            self.before_end.pop()()
        for child in reversed(self.children[:]):
            self.kill(child)
        shutil.rmtree(self.folder, ignore_errors=True)


def tail(path, lines=15):
    try:
        with open(path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])
    except (OSError, TypeError):
        return ""
