# SPDX-License-Identifier: BSD-3-Clause
"""The daemon under test, and vireoctl."""
import json
import os
import re
import subprocess

from .lab import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LISTEN_S = 20


def build_folder():
    return os.path.join(ROOT, os.environ.get("VIREO_BUILD", "build"))


def program(name):
    """Path of a program that has been built."""
    for path in (f"{build_folder()}/apps/{name}", f"{build_folder()}/apps/{name}/{name}"):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(f"{name} has not been built in {build_folder()}: run `make build`")


def pauses_ms(log):
    """For how long nothing was served, as each that has taken over says it in this text."""
    return [float(ms) for ms in re.findall(r"nothing was served for ([0-9.]+) ms", log)]


class ControlError(Exception):
    pass


class Switch:
    """A vireo-switchd with `ports` (a list of SPECs). Relative socket paths in SPECs lie in the lab's folder. `handed`: fds that it
    is started with."""
    PROGRAM = "vireo-switchd"

    def __init__(self, lab, ports=(), options=(), name="switchd", handed=()):
        self.lab, self.name, self.handed = lab, name, handed
        self.control = lab.path(name + ".control")
        self.argv = [program(Switch.PROGRAM), "--control", self.control, *options]
        for spec in ports:
            self.argv += ["--port", spec]
        self.child, self.successors = None, 0
        self.start()

    def start(self):
        if os.path.exists(self.control):
            os.unlink(self.control)
        self.child = self.lab.start(self.argv, log=self.name + ".log", cwd=self.lab.folder, pass_fds=self.handed)
        wait_until(self.listening, LISTEN_S, "vireo-switchd answers", step=0.01, child=self.child)

    def listening(self):
        if not os.path.exists(self.control):
            return False
        return self.ctl_run("version").returncode == 0

    def ctl_run(self, *words):
        argv = [program("vireoctl"), "-s", self.control, *words]
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)

    def ctl(self, *words):
        """What a command says."""
        done = self.ctl_run(*words)
        if done.returncode:
            raise ControlError(f"vireoctl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, *words):
        """The same in JSON."""
        return json.loads(self.ctl("--json", *words))

    def port(self, name):
        """Counters of one port."""
        return self.ask("port", "show", name)["port"]

    def successor(self, *options):
        """Another process that is to take over from it."""
        self.successors += 1
        argv = [program(self.PROGRAM), "--control", self.control, "--takeover", *options]
        return self.lab.start(argv, log=f"{self.name}.{self.successors}.log", cwd=self.lab.folder)

    def hand_over(self, *options):
        """To one that does, and that this is from then on. On a slow machine the old one may go on, and is asked again."""
        for _ in range(5):
            child = self.successor(*options)
            wait_until(lambda: self.child.poll() is not None or child.poll() is not None, 30, "one of the two ends", step=0.001)
            if self.child.poll() is not None:
                break
        if self.child.poll() != 0:
            raise ControlError(f"the old {self.PROGRAM} goes on" if self.alive() else f"the old {self.PROGRAM} ended with {self.child.poll()}")
        self.lab.children.remove(self.child)  # its number may be another's in a long run
        self.child = child
        wait_until(self.listening, LISTEN_S, f"the new {self.PROGRAM} answers", step=0.01, child=child)

    def kill(self):
        self.lab.kill(self.child)

    def stop(self):
        """As service managers do. Returns the exit status."""
        return self.lab.stop(self.child)

    def alive(self):
        return self.child.poll() is None


# ---- in a lab's guest ----

# Fails if a sandbox lacks a call, and says which.
NO_REFUSAL = "! grep -h 'the sandbox has refused' /run/*.log /tmp/*.log 2>/dev/null"
CONTROL, LOG = "/run/switchd.sock", "/run/switchd.log"  # and its pid in /run/switchd.pid


def start_inside(guest, ports, before="", seconds=60):
    """A vireo-switchd with `ports` (a list of SPECs), which is ready when this returns. `before`: a command that becomes it."""
    words = " ".join(f"--port {spec}" for spec in ports)
    guest.check(f"{before} {program('vireo-switchd')} --control {CONTROL} {words} >{LOG} 2>&1 &\n"
                "echo $! >/run/switchd.pid\n"
                f"for i in $(seq 200); do grep -q ready: {LOG} && exit 0; sleep 0.1; done; cat {LOG}; exit 1", seconds)
