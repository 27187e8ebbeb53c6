# SPDX-License-Identifier: BSD-3-Clause
"""Programs of the bench: started in a Lab, asked line by line, stopped by SIGSTOP while others are measured.

Program    any process: pid, pause(), resume(), stop()
Asked      a program of ours: one JSON line when it is ready, then one JSON line for each line that it is told
Front      bench-front, DPDK's virtio-user at the front end's side of one or two sockets
"""
import json
import os
import select
import signal
import subprocess
import time

from guest.lab import Gone, Timeout, tail

READY_S = 60
ANSWER_S = 20

# The front end's rings, as parameters of DPDK's virtio-user. Vectorized receiving excludes mergeable buffers: with these,
# DPDK's driver vectorizes only its transmit side.
RINGS = {
    "split": {"packed_vq": 0, "in_order": 0},
    "split-in-order": {"packed_vq": 0, "in_order": 1},
    "packed": {"packed_vq": 1, "in_order": 0},
    "packed-vectorized": {"packed_vq": 1, "in_order": 1, "vectorized": 1},
}
SIZES = ("64", "256", "1518", "imix")
QUEUE_SIZE = 1024


class Program:
    """A process of a Lab. What it says goes to NAME.log in the lab's folder."""

    def __init__(self, lab, name, argv, **popen):
        self.lab, self.name, self.paused = lab, name, False
        popen.setdefault("env", environment(lab))
        self.child = lab.start(argv, cwd=lab.folder, log=None if "stdout" in popen else name + ".log", **popen)
        self.log = self.child.log or lab.path(name + ".log")

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def check(self):
        if not self.alive():
            raise Gone(f"{self.name} ended with {self.child.returncode}\n{tail(self.log)}")

    def pause(self):
        """Takes its threads off the CPUs until resume(). It must not be asked anything meanwhile."""
        if not self.paused:
            self.check()
            os.kill(self.pid, signal.SIGSTOP)
            self.paused = True

    def resume(self):
        if self.paused:
            os.kill(self.pid, signal.SIGCONT)
            self.paused = False

    def stop(self):
        """Ends it, politely first. Returns the exit status."""
        if self.alive():
            self.resume()
        return self.lab.stop(self.child)

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Asked(Program):
    """Speaks the line protocol of bench-front, bench-vhost and bench-api."""

    def __init__(self, lab, name, argv):
        self.buffer = b""
        with open(lab.path(name + ".log"), "ab") as log:
            super().__init__(lab, name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.tsc_hz = None

    def _line(self, seconds, what):
        """The next line that is JSON; others (DPDK's libraries print some) go to the log."""
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                if line.startswith(b"{"):
                    return json.loads(line)
                with open(self.log, "ab") as log:
                    log.write(line + b"\n")
            if not select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise Timeout(f"{self.name}: not within {seconds:g} s: {what}\n{tail(self.log)}")
            data = os.read(self.child.stdout.fileno(), 65536)
            if not data:
                self.child.wait(ANSWER_S)
                raise Gone(f"{self.name} ended with {self.child.returncode}, awaited: {what}\n{tail(self.log)}")
            self.buffer += data

    def ready(self, seconds=READY_S):
        """Waits until it is set up (a front end: until its links are up)."""
        hello = self._line(seconds, "the line that says it is ready")
        self.tsc_hz = hello["tsc_hz"]
        return hello

    def ask(self, line, seconds=ANSWER_S):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        return self._line(seconds, f'an answer to "{line}"')

    def stats(self):
        return self.ask("stats")

    def quit(self):
        """As stop(), by asking. The exit status says whether it went well."""
        self.resume()
        if self.alive():
            try:
                self.child.stdin.write(b"quit\n")
                self.child.stdin.flush()
                self.child.wait(ANSWER_S)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                pass
        return self.lab.kill(self.child)


class Front(Asked):
    """bench-front on `sockets` (one or two). `ring` is a key of RINGS; `options` go to bench-front as they are."""

    def __init__(self, bench, lab, sockets, mode, size="64", ring="split", mergeable=True, options=(), name="front"):
        vdevs = [virtio_user(i, path, ring, mergeable) for i, path in enumerate(sockets)]
        argv = [bench.program("bench-front"), *bench.eal(lab, name, bench.front_cpu), *simd(ring), *vdevs, "--",
                "--mode", mode, "--size", size, *(["--verify"] if bench.verify else []), *options]
        super().__init__(lab, name, argv)

    def snapshot(self):
        """(frames received on all ports, seconds)"""
        stats = self.stats()
        return sum(port["rx"] for port in stats["ports"]), stats["tsc"] / self.tsc_hz


def mac(port):
    """The address that bench-front uses on a port."""
    return f"02:00:00:00:00:{port + 1:02x}"


def virtio_user(index, path, ring, mergeable):
    settings = {"path": path, "mac": mac(index), "queues": 1, "queue_size": QUEUE_SIZE, "mrg_rxbuf": int(mergeable),
                **RINGS[ring]}
    return f"--vdev=net_virtio_user{index}," + ",".join(f"{key}={value}" for key, value in settings.items())


def simd(ring):
    """DPDK does not use AVX-512 unless it is told to."""
    return ["--force-max-simd-bitwidth=512"] if ring == "packed-vectorized" else []


def environment(lab):
    """DPDK keeps its files in the lab's folder, not in /var/run."""
    return {**os.environ, "RUNTIME_DIRECTORY": lab.folder}
