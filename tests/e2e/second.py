#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A second daemon (tests/daemon/rngd.c): what it has without a line of its own, for it is made of daemon/."""
import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.front import raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import build_folder  # noqa: E402
from guest.takeover import Taker, pauses_shown  # noqa: E402
from peer import DATA, GPA, WRITE  # noqa: E402

BYTES = 64
ROUNDS = int(os.environ.get("VIREO_ROUNDS", 3))


class Rngd:
    def __init__(self, lab, *options):
        self.lab, self.control, self.notices = lab, lab.path("control"), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(lab.path("notify"))
        self.notices.settimeout(30)
        self.child = lab.start([binary(), "--control", self.control, *options], log="rngd.log",
                               env={**os.environ, "NOTIFY_SOCKET": lab.path("notify")})
        expect(self.notices.recv(100) == b"READY=1", "READY=1")

    def ask(self, method):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(30)
            client.connect(self.control)
            client.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
            return json.loads(client.makefile().readline())

    def log(self):
        with open(self.lab.path("rngd.log")) as log:
            return log.read()

    def says(self, text):
        wait_until(lambda: text in self.log(), 30, f"a line with '{text}'", child=self.child)

    def is_replaced(self, *options):
        """By another one, which writes to the same log. On a slow machine the old one may go on, and is asked again."""
        for _ in range(5):
            new = self.lab.start([binary(), "--control", self.control, "--takeover", *options], log="rngd.log")
            wait_until(lambda: self.child.poll() is not None or new.poll() is not None, 60, "one of the two ends", step=0.001)  # noqa: B023  # pylint: disable=cell-var-from-loop
            if self.child.poll() is not None:
                break
        expect(self.child.poll() == 0, f"the old one: {self.child.poll()}")
        self.lab.children.remove(self.child)
        self.child = new
        wait_until(self.answers, 30, "the new one answers", child=new)

    def answers(self):
        with contextlib.suppress(OSError, ValueError):
            return self.ask("version")["result"]["pid"] == self.child.pid
        return False

    def end(self):
        self.child.terminate()
        expect(self.child.wait(30) == 0, f"exit status {self.child.returncode}")
        self.notices.close()


def binary():
    path = os.path.join(build_folder(), "tests/daemon/rngd")
    if not os.path.exists(path):
        raise Skip("rngd has not been built")
    return path


def driver(path):
    peer = raw.VhostUserPeer(path, timeout=30)
    peer.negotiate(0)
    peer.share_memory()
    ring = peer.ring(0, 4)
    peer.run()
    return peer, ring


def random_bytes(path):
    """As a guest's driver gets them."""
    peer, ring = driver(path)
    with peer:
        ring.chain([(GPA + DATA, BYTES, WRITE)])
        wait_until(ring.used, 30, "a buffer that is filled")
        return bytes(peer.memory[DATA:DATA + BYTES])


@case
def it_serves_a_device_that_a_file_describes(lab):
    with open(lab.path("conf"), "w") as conf:
        conf.write(f"# random bytes\nendpoint vhost-user:{lab.path('rng.sock')},name=dice,perm=0600\nlog-level debug\n")
    daemon = Rngd(lab, "--config", lab.path("conf"))
    expect(stat.S_IMODE(os.stat(lab.path("rng.sock")).st_mode) == 0o600, "the socket's mode")
    first, second = random_bytes(lab.path("rng.sock")), random_bytes(lab.path("rng.sock"))
    expect(first != second and bytes(BYTES) not in (first, second), f"{first} and {second}")
    daemon.end()


@case
def its_control_socket_has_its_own_command_beside_version(lab):
    daemon = Rngd(lab, "--endpoint", f"vhost-user:{lab.path('rng.sock')},name=dice")
    version = daemon.ask("version")["result"]
    expect((version["daemon"], version["pid"]) == ("rngd", daemon.child.pid), f"{version}")
    expect(daemon.ask("show")["result"] == {"name": "dice", "state": "listening"}, "before somebody comes")
    with driver(lab.path("rng.sock"))[0]:
        expect(daemon.ask("show")["result"]["state"] == "connected", "with a front end")
    expect(daemon.ask("port.list")["error"]["code"] == -32601, "a switch's command")
    daemon.end()


@case
def signals_that_mean_nothing_leave_a_line_and_memory_that_is_truncated_costs_a_session(lab):
    daemon = Rngd(lab, "--endpoint", f"vhost-user:{lab.path('rng.sock')}")
    daemon.child.send_signal(signal.SIGUSR1)
    daemon.says("SIGUSR1: there is nothing to reload")
    peer, ring = driver(lab.path("rng.sock"))
    with peer:
        peer.forget_memory()
        os.ftruncate(peer.memfd, 0)
        ring.ring_kick()
        expect(peer.hung_up(30), "the session goes on without its memory")
    expect(len(random_bytes(lab.path("rng.sock"))) == BYTES, "the next one is served")
    daemon.end()


@case
def it_is_replaced_while_its_driver_asks(lab):
    """An entropy device: each buffer is filled once, by the one or by the other; one that dies half-way leaves the old one."""
    path, given = lab.path("rng.sock"), []
    daemon = Rngd(lab, "--endpoint", f"vhost-user:{path}")
    peer, ring = driver(path)
    over, asked = threading.Event(), threading.Event()

    def ask():
        while not over.is_set():
            ring.chain([(GPA + DATA, BYTES, WRITE)])
            wait_until(ring.used, 30, "a buffer that is filled", step=0.0005)
            given.append(bytes(peer.memory[DATA:DATA + BYTES]))
            asked.set()
    with peer, concurrent.futures.ThreadPoolExecutor(1) as pool:
        load = pool.submit(ask)
        try:
            for number in range(ROUNDS):
                Taker(daemon, 1).dies_after(number % 3)
                daemon.is_replaced("--endpoint", f"vhost-user:{path}")
                asked.clear()
                expect(asked.wait(30), "buffers are filled no more")
        finally:
            over.set()
        load.result(60)
    expect(len(set(given)) == len(given), "the same bytes twice")
    expect(len(random_bytes(path)) == BYTES, "the next driver is not served")
    daemon.end()
    print(f"    {ROUNDS} hand-overs, {len(given)} buffers", flush=True)
    pauses_shown(daemon.log(), ROUNDS)


def vireoctl(*words, status=0):
    program = os.path.join(build_folder(), "apps/vireoctl/vireoctl")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=30)
    expect(done.returncode == status, f"vireoctl {' '.join(words)}: {done}")
    return done.stdout + done.stderr


@case
def vireoctl_asks_it_for_its_commands(lab):
    daemon = Rngd(lab, "--endpoint", f"vhost-user:{lab.path('rng.sock')},name=dice")
    to = ["--daemon", "rngd", "-s", daemon.control]
    lines = vireoctl(*to, "show").splitlines()
    expect([line.split() for line in lines] == [["NAME", "VALUE"], ["name", "dice"], ["state", "listening"]], f"{lines}")
    expect(json.loads(vireoctl(*to, "--json", "show")) == {"name": "dice", "state": "listening"}, "as JSON")
    told = vireoctl(*to, "help")
    expect("show the device" in told and "show this list" in told and "port list" not in told, told)
    expect("'port list': expected a command" in vireoctl(*to, "port", "list", status=2), "a switch's command")
    expect("show: expected nothing after it" in vireoctl(*to, "show", "more", status=2), "a word too many")
    expect("show: expected no --watch" in vireoctl(*to, "--watch", "show", status=2), "what is not repeated")
    daemon.end()
    expect("rngd is not running" in vireoctl(*to, "show", status=1), "without it")


def refused(lab, *options):
    done = subprocess.run([binary(), "--control", lab.path("control"), *options], capture_output=True, text=True, timeout=30)
    expect(len(done.stderr.splitlines()) == 1, f"{done}")
    return done.returncode, done.stderr


@case
def what_it_cannot_do_is_one_line_that_says_what_to_do(lab):
    for status, options, words in (
            (2, [], "rngd: expected --endpoint"),
            (2, ["--workers", "2"], "rngd: --workers: expected an option that exists"),
            (2, ["--endpoint", "tap:a"], "expected vhost-user:PATH|fd:N or cuse:NAME"),
            (2, ["--endpoint", "vhost-user:/a,mac=02:00:00:00:00:01"], "unknown key 'mac': expected one of: name mode"),
            (1, ["--endpoint", f"vhost-user:{lab.path('none/rng.sock')}"], "its folder does not exist: make it first")):
        got, line = refused(lab, *options)
        expect(got == status and words in line, f"{options}: {got}: {line}")
    daemon = Rngd(lab, "--endpoint", f"vhost-user:{lab.path('rng.sock')}")
    got, line = refused(lab, "--endpoint", f"vhost-user:{lab.path('other.sock')}")
    expect(got == 1 and "another daemon answers there" in line, f"a second one: {got}: {line}")
    daemon.end()


if __name__ == "__main__":
    main()
