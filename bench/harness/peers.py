# SPDX-License-Identifier: BSD-3-Clause
"""Back ends that serve vhost-user sockets, ours and the peers': the same few verbs for all.

A back end has `name` (of ours: "vireo"; else the peer_name of the report), `pid`, `sockets` (where front ends connect), stats() ->
cumulative {"cycles", "frames"} of the time it was busy, pause(), resume(), stop(). It listens when its constructor returns. Frames
are moved by one thread, on bench.back_cpu; all else of it may run on any CPU.
"""
import json
import os
import re
import shutil
import socket
import subprocess

from guest.lab import Gone, Timeout, tail, wait_until

from .measure import Unfit
from .programs import Asked, Program

START_S = 60
PROGRAMS = {"librte_vhost": "bench-vhost", "limit": "bench-limit"}  # peers that come as programs of ours
ANSWER_S = 20
OVS_DPDK = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
OWN_POOLS_PORTS_MAX = 8
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class MissingPeer(Exception):
    """A program to compare with is not installed."""


def need(path, package):
    """Full path of a peer's program."""
    found = shutil.which(path)
    if not found:
        raise MissingPeer(f"{path} is not there: install Debian's {package} (scripts/install-deps bench does)")
    return found


def check(bench, cases):
    """Are all peers there that these cases compare with? A case is never left out in silence."""
    wanted = {peer for case in cases for peer in getattr(case, "peers", ())}
    for peer in sorted(filter(bench.has, wanted)):
        try:
            if peer == "qsd":
                need("qemu-storage-daemon", "qemu-system-common")
            elif peer.startswith("testpmd"):
                need("dpdk-testpmd", "dpdk")
            elif peer == "ovs":
                need(OVS_DPDK, "openvswitch-switch-dpdk")
                if os.geteuid():
                    raise MissingPeer("Open vSwitch makes network interfaces of its own: run this as root")
            elif peer in PROGRAMS:
                bench.program(PROGRAMS[peer])
        except (MissingPeer, Unfit) as why:
            raise MissingPeer(f"{why}; or leave it out: --without {peer}") from None


class JsonSocket:
    """JSON-RPC over a UNIX socket, one request at a time; framed by lines or not at all."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(path)

    def call(self, method, params=None, **more):
        request = {"method": method, "id": 1, **({} if params is None else {"params": params}), **more}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        text = b""
        while True:
            data = self.socket.recv(1 << 20)
            if not data:
                raise Gone(f"the control socket was closed, awaited: an answer to {method}")
            text += data
            try:
                answer = json.loads(text)
            except ValueError:
                continue
            if answer.get("error"):
                raise RuntimeError(f"{method}: {answer['error']}")
            return answer["result"]

    def close(self):
        self.socket.close()


def wait_sockets(paths, child, what):
    """Until these are there and listen: the kernel's list says so; to connect would be a visit."""
    def listening():
        with open("/proc/net/unix") as sockets:
            rows = [line.split() for line in sockets]
        return {row[7] for row in rows if len(row) > 7 and row[3] == "00010000"}.issuperset(paths)  # __SO_ACCEPTCON
    try:
        wait_until(listening, START_S, f"{what} listens", step=0.002, child=child)
    except Timeout as late:
        raise Timeout(f"{late}\n{tail(child.log)}") from None


class Switchd(Program):
    """vireo-switchd with `ports` vhost-user ports: MAC table and statistics are always on."""

    def __init__(self, bench, lab, ports=2, options=("--poll",), name="vireo", pinned=True, program=None):
        self.sockets = [lab.path(f"{name}{i}.sock") for i in range(ports)]
        self.control = lab.path(f"{name}.control")
        argv = [program or bench.program("vireo-switchd"), "--control", self.control, "--log-level", "warning",
                *(("--workers", f"{bench.back_cpu},") if pinned else ()), *options]
        for i, path in enumerate(self.sockets):
            argv += ["--port", f"vhost-user:{path},name=p{i}"]
        super().__init__(lab, name, argv)
        wait_sockets([self.control, *self.sockets], self.child, "vireo-switchd")
        self.rpc = JsonSocket(self.control)

    def ask(self, method, params=None):
        return self.rpc.call(method, params, jsonrpc="2.0")

    def stats(self):
        workers = self.ask("stats")["workers"]
        if any("busy_cycles" not in worker for worker in workers):
            raise RuntimeError("this vireo-switchd counts no busy_cycles: build it anew")
        return {"cycles": sum(worker["busy_cycles"] for worker in workers), "frames": sum(worker["frames"] for worker in workers)}


class Testpmd(Program):
    """DPDK's testpmd that forwards between pairs of net_vhost ports, `mode` "io" or "mac"."""

    def __init__(self, bench, lab, ports=2, mode="io", name="testpmd"):
        self.sockets = [lab.path(f"{name}{i}.sock") for i in range(ports)]
        self.mode, self.base, self.offset = mode, name, 0
        argv = ["stdbuf", "-oL", need("dpdk-testpmd", "dpdk"), *bench.eal(lab, name, bench.back_cpu, memory_mib=256)]
        argv += [f"--vdev=net_vhost{i},iface={path},queues=1" for i, path in enumerate(self.sockets)]
        argv += ["--", "-i", "--record-core-cycles", "--nb-cores=1", "--rxq=1", "--txq=1", "--rxd=1024", "--txd=1024",
                 f"--total-num-mbufs={8192 + 2048 * ports}", f"--forward-mode={mode}", "--no-flush-rx", "--burst=32"]
        super().__init__(lab, name, argv, stdin=subprocess.PIPE)
        self._until(r"testpmd> ", START_S, "its first prompt")
        wait_sockets(self.sockets, self.child, "testpmd")
        self.do("start")

    @property
    def name(self):
        return f"{self.base}-{self.mode}"

    @name.setter
    def name(self, _):
        pass

    def _until(self, pattern, seconds, what):
        """What it has said since the last time, when that ends in `pattern`."""
        def found():
            with open(self.log, errors="replace") as log:
                log.seek(self.offset)
                text = log.read()
            return text if re.search(pattern, text, re.S) else None
        text = wait_until(found, seconds, f"testpmd: {what}", step=0.002, child=self.child)
        self.offset = os.path.getsize(self.log)
        return text

    def do(self, command):
        """What it answers. Lines about connections may stand between, also behind the prompt."""
        self.child.stdin.write(command.encode() + b"\n")
        self.child.stdin.flush()
        return self._until(re.escape(command) + r"\s.*testpmd> ", ANSWER_S, f'an answer to "{command}"')

    def forward(self, mode):
        """Changes the way it forwards, ports and connections stay."""
        if mode != self.mode:
            for command in ("stop", f"set fwd {mode}", "start"):
                self.do(command)
            self.mode = mode

    def stats(self):
        text = self.do("show fwd stats all")
        found = re.search(r"CPU cycles/packet=.*?\(total cycles=(\d+) / total \w+ packets=(\d+)\)", text)
        return {"cycles": int(found[1]), "frames": int(found[2])} if found else {"cycles": 0, "frames": 0}


class Ovs:
    """Open vSwitch with DPDK's datapath: a database and a switch of its own, all files in the lab's folder."""
    name = "ovs"

    def __init__(self, bench, lab, ports=2, options=None):
        need(OVS_DPDK, "openvswitch-switch-dpdk")
        self.bench, self.lab, self.paused = bench, lab, False
        self.folder = lab.path("ovs")
        os.mkdir(self.folder)
        self.env = {**os.environ, "RUNTIME_DIRECTORY": self.folder,
                    **{f"OVS_{what}DIR": self.folder for what in ("RUN", "LOG", "DB", "SYSCONF")}}
        self.database = f"unix:{self.folder}/db.sock"
        self._start_database()
        self._configure(ports, options or {})
        self.sockets = [os.path.join(self.folder, f"port{i}") for i in range(ports)]
        self.child = lab.start([OVS_DPDK, self.database, "--unixctl=" + self._path("vswitchd.ctl"), "-vsyslog:off",
                                "-vconsole:info", "--pidfile=" + self._path("vswitchd.pid")],
                               log="ovs-vswitchd.log", env=self.env, cwd=self.folder)
        wait_until(lambda: os.path.exists(self._path("vswitchd.ctl")), START_S, "ovs-vswitchd answers", child=self.child)
        self._add_ports()
        self.rpc = JsonSocket(self._path("vswitchd.ctl"))

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _start_database(self):
        self._run(need("ovsdb-tool", "openvswitch-common"), "create", self._path("conf.db"), OVS_SCHEMA)
        argv = [need("ovsdb-server", "openvswitch-switch"), self._path("conf.db"), "--remote=p" + self.database,
                "--unixctl=" + self._path("ovsdb.ctl"), "-vsyslog:off", "--no-chdir"]
        self.server = self.lab.start(argv, log="ovsdb-server.log", env=self.env, cwd=self.folder)
        wait_sockets([self._path("db.sock")], self.server, "ovsdb-server")
        self.vsctl("--no-wait", "init")

    def _run(self, *argv):
        done = subprocess.run(argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=START_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stdout.strip()}\n{tail(self.lab.path('ovs-vswitchd.log'))}")
        return done.stdout

    def vsctl(self, *words):
        return self._run(need("ovs-vsctl", "openvswitch-switch"), f"--db={self.database}", "--timeout=30", *words)

    def _configure(self, ports, options):
        bench = self.bench
        cpus = (1 << bench.front_cpu) | (1 << bench.back_cpu)
        settings = {"dpdk-init": "true", "dpdk-lcore-mask": hex(cpus), "pmd-cpu-mask": hex(1 << bench.back_cpu),
                    "dpdk-extra": " ".join(bench.eal_memory(512, single_file=False)) + " --no-pci",
                    "max-idle": "600000", **options}  # milliseconds that a flow is kept while this stands still
        if bench.hugepages:
            settings["dpdk-socket-mem"] = "256"
            if ports <= OWN_POOLS_PORTS_MAX:  # 20000 packet buffers a port; else 262144 for all, which are 1.3 GiB
                settings["per-port-memory"] = "true"
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                   *[f"other_config:{key}={json.dumps(value)}" for key, value in settings.items()])

    def _add_ports(self):
        words = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]
        for i, path in enumerate(self.sockets):
            port = os.path.basename(path)
            words += ["--", "add-port", "br0", port, "--", "set", "Interface", port, "type=dpdkvhostuser"]
        self.vsctl(*words)
        wait_sockets(self.sockets, self.child, "ovs-vswitchd")

    @property
    def pid(self):
        return self.child.pid

    def appctl(self, method, *params):
        """What ovs-appctl would print, without a process for it."""
        return self.rpc.call(method, list(params))

    def stats(self):
        """Of the thread that polls: cycles of the turns of its loop that moved packets."""
        return self._stats(re.split(r"(?m)^main thread:", self.appctl("dpif-netdev/pmd-stats-show"))[0])

    def all_stats(self):
        """And of the main thread, which reads interfaces of the kernel: of its cycles nothing is told, but how long it ran."""
        with open(f"/proc/{self.pid}/task/{self.pid}/schedstat") as stat:
            return {**self._stats(self.appctl("dpif-netdev/pmd-stats-show")), "main_ns": int(stat.read().split()[0])}

    def _stats(self, text):
        numbers = {key: sum(map(int, re.findall(rf"{key}: (\d+)", text))) for key in ("processing cycles", "packets received")}
        return {"cycles": numbers["processing cycles"], "frames": numbers["packets received"]}

    pause, resume, check, alive, rss_kib = Program.pause, Program.resume, Program.check, Program.alive, Program.rss_kib

    @property
    def log(self):
        return self.lab.path("ovs-vswitchd.log")

    def stop(self):
        self.rpc.close()
        self.resume()
        status = self.lab.stop(self.child)
        self.lab.stop(self.server)
        return status


class BurstProgram(Asked):
    """bench-api (libvireo's burst calls) or bench-vhost (librte_vhost's): one socket, mode dequeue, enqueue or loop."""

    def __init__(self, bench, lab, program, mode, size="64", eal=()):
        self.mode = mode
        name = "vireo" if program == "bench-api" else "librte_vhost"
        path = lab.path(name + ".sock")
        argv = [bench.program(program), *eal, *(["--"] if eal else []), "--socket", path, "--mode", mode, "--size", size,
                *(["--verify"] if bench.verify else [])]
        super().__init__(lab, name, argv)
        self.sockets = [path]
        wait_sockets(self.sockets, self.child, program)

    def stats(self):
        """Cumulative; "mbuf_cycles" is what comes on top for the peer's buffers."""
        raw = super().stats()
        cycles = {"dequeue": raw["dequeue_cycles"], "enqueue": raw["enqueue_cycles"]}
        frames = raw["enqueued"] if self.mode == "enqueue" else raw["dequeued"]
        return {"cycles": sum(cycles.values()) if self.mode == "loop" else cycles[self.mode], "frames": frames,
                "mbuf_cycles": raw["mbuf_cycles"], "bad": raw["bad"]}


def burst_api(bench, lab, mode, size):
    return BurstProgram(bench, lab, "bench-api", mode, size, bench.api_options())


def burst_vhost(bench, lab, mode, size):
    return BurstProgram(bench, lab, "bench-vhost", mode, size, bench.eal(lab, "librte_vhost", bench.back_cpu))
