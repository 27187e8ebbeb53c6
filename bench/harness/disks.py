# SPDX-License-Identifier: BSD-3-Clause
"""disk: requests of 4 KiB at random places of a virtio-blk device over vhost-user, vireo-blkd beside qemu-storage-daemon.

disk/STORE/QUEUES/OP/DEPTH/WAIT, and disk/lun/STORE/OP/DEPTH/WAIT: a LUN of vireo-scsid beside a disk of vireo-blkd
  STORE   null (nothing is kept), memory (ours only), tmpfs (a file there), file (in the folder for temporary files, past the page cache)
  QUEUES  1-queue; 2-queues: vireo-blkd has a worker for each, and is compared with itself with one queue, too, where the driver sleeps: each
          queue's driver and worker share a CPU then, so that one queue and two have the same of it, and nobody waits for a CPU of somebody else's
  DEPTH   so many requests are under way in each queue
  WAIT    sleeping: the driver waits for a signal, as a guest does; polling: it never sleeps, and wants no signals
Each has rows for requests per second, for the CPU time that the daemon spends on one request, and for the median and the 99th percentile
of a request's time. disk/ten/start, /rss and /idle: ten disks of null, until all sockets listen, attached, and silent. One driver,
bench-blk, meets both daemons. With one queue of null or memory it is pinned to one CPU and the daemon to another; else, but as said above, both
run where they like. qemu-storage-daemon takes files by io_uring, its faster way. --peer-socket PATH names one more back end, which runs already and serves
the same store; signals stop and continue it. scsi:PATH is one of SCSI, whose target 0 has the store as LUN 0: disk/lun meets that one.
"""
import itertools
import os
import shutil
import signal
import socket
import struct
import tempfile
import time

from . import cells, report, system
from .measure import Unfit
from .peers import need, wait_sockets
from .programs import Asked, Program

OPS, DEPTHS, WAITS, QUEUES = ("read", "write"), (1, 32, 128), {"sleeping": "sleep", "polling": "poll"}, (1, 2)
STORES = ("null", "memory", "tmpfs", "file")
QUICK = {("null", 1, "read", depth, "sleeping") for depth in DEPTHS} | {("tmpfs", 1, "read", 32, "sleeping")}
STORE_BYTES = 256 << 20
TEN, SETTLE_S = 10, 0.5
WARM_MS, WINDOW_MS, QUICK_MS = 50, 300, 100
QSD = "qemu-storage-daemon"
PEERCRED_FORMAT = "3i"
SCSI_PREFIX = "scsi:"  # of --peer-socket


# ---- stores ----

class Files:
    """Where the files of a case lie: removed with it."""

    def __init__(self, store):
        self.folder = tempfile.mkdtemp(prefix="vireo-bench-", dir="/dev/shm" if store == "tmpfs" else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def new(self, name):
        """A file with a block behind each of its pages."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            for _ in range(STORE_BYTES >> 20):
                file.write(bytes(1 << 20))
            os.fsync(file.fileno())
        return path


def our_spec(store, files, name="vireo"):
    if store == "null":
        return f"null:{STORE_BYTES}"
    if store == "memory":
        return f"mem:{STORE_BYTES}"
    return f"file:{files.new(name)},direct={'on' if store == 'file' else 'off'}"


def their_node(store, files):
    if store == "null":
        return f"driver=null-co,size={STORE_BYTES},read-zeroes=off"
    return f"driver=file,filename={files.new('qsd')},aio=io_uring,cache.direct={'on' if store == 'file' else 'off'}"


# ---- daemons ----

class Blkd(Program):
    """vireo-blkd as it is by default, with as many workers as a disk has queues, or one on each of `worker_cpus`."""

    def __init__(self, bench, lab, spec, queues=1, cpu=None, name="vireo", disks=1, worker_cpus=()):
        self.sockets = [lab.path(f"{name}{i}.sock") for i in range(disks)]
        workers = "".join(f"{number}," for number in worker_cpus) or str(queues)
        argv = [bench.program("vireo-blkd"), "--log-level", "warning", "--control", lab.path(f"{name}.control"), "--workers", workers]
        for i, path in enumerate(self.sockets):
            argv += ["--disk", f"d{i}={spec}", "--export", f"vhost-user:{path},disk=d{i}"]
        super().__init__(lab, name, on_cpu(cpu, argv))
        wait_sockets(self.sockets, self.child, "vireo-blkd")


class Scsid(Program):
    """vireo-scsid as it is by default, with one worker: target 0, LUN 0 is the disk."""
    scsi = True

    def __init__(self, bench, lab, spec, cpu=None, name="scsid"):
        self.sockets = [lab.path(f"{name}.sock")]
        argv = [bench.program("vireo-scsid"), "--log-level", "warning", "--control", lab.path(f"{name}.control"), "--disk", f"d={spec}",
                "--export", f"vhost-user:{self.sockets[0]}", "--lun", "0:0=d"]
        super().__init__(lab, name, on_cpu(cpu, argv))
        wait_sockets(self.sockets, self.child, "vireo-scsid")


class Qsd(Program):
    """qemu-storage-daemon, whose one thread serves all queues."""

    def __init__(self, _bench, lab, node, queues=1, cpu=None, name="qsd", disks=1):
        self.sockets = [lab.path(f"{name}{i}.sock") for i in range(disks)]
        argv = [need(QSD, "qemu-system-common")]
        for i, path in enumerate(self.sockets):
            argv += ["--blockdev", f"{node},node-name=d{i}", "--export", f"type=vhost-user-blk,id=e{i},node-name=d{i},addr.type=unix,"
                     f"addr.path={path},writable=on,num-queues={queues}"]
        super().__init__(lab, name, on_cpu(cpu, argv))
        wait_sockets(self.sockets, self.child, QSD)


class Running:
    """Somebody's back end: nothing is known of it but its socket, whether it is one of SCSI, and who listens there."""
    name = "other"

    def __init__(self, address):
        self.scsi = is_scsi(address)
        path = address.removeprefix(SCSI_PREFIX)
        self.sockets = [path]
        with socket.socket(socket.AF_UNIX) as visit:
            try:
                visit.connect(path)
            except OSError as why:
                raise Unfit(f"nobody serves {path} (--peer-socket): {why.strerror}") from None
            credentials = visit.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(PEERCRED_FORMAT))
            self.pid = struct.unpack(PEERCRED_FORMAT, credentials)[0]

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)


def is_scsi(address):
    return bool(address) and address.startswith(SCSI_PREFIX)


def on_cpu(cpu, argv):
    return argv if cpu is None else ["taskset", "-c", str(cpu), *argv]


class Driver(Asked):
    def __init__(self, bench, lab, back, queues=1, cpu=None, verify=False):
        argv = [bench.program("bench-blk"), "--socket", back.sockets[0], "--queues", str(queues)]
        argv += [*(["--cpu", str(cpu)] if cpu is not None else []), *(["--verify"] if verify else []),
                 *(["--scsi"] if getattr(back, "scsi", False) else [])]
        super().__init__(lab, "driver-of-" + back.name, argv)
        self.ready()

    def window(self, op, depth, wait, milliseconds):
        answer = self.ask(f"window {op} {depth} {wait} {milliseconds}", 60)
        if "error" in answer or answer["failed"] or not answer["requests"]:
            raise RuntimeError(f"{self.name}: {answer}")
        return answer


class Side:
    """One daemon with its driver: what runs while the other side stands still."""

    def __init__(self, bench, lab, back, settings, queues, cpu=None):
        self.back, self.settings = back, settings
        self.driver = Driver(bench, lab, back, queues, cpu, bench.verify and settings["store"] != "null")
        self.pause()

    def pause(self):
        self.driver.pause()
        self.back.pause()

    def resume(self):
        self.back.resume()
        self.driver.resume()

    def measure(self, bench):
        window = self.settings["op"], self.settings["depth"], WAITS[self.settings["wait"]]
        self.driver.window(*window, WARM_MS)
        before = system.cpu_seconds(self.back.pid)
        answer = self.driver.window(*window, QUICK_MS if bench.quick else WINDOW_MS)
        cpu = system.cpu_seconds(self.back.pid) - before
        return {"requests_per_second": answer["requests"] / answer["seconds"], "cpu_ns_per_request": cpu * 1e9 / answer["requests"],
                "median": answer["median_ns"], "p99": answer["p99_ns"]}


# ---- cells ----

class Cell:
    """The sides of one case, and the files that they serve."""

    def __init__(self, bench, lab, files, case):
        self.bench, self.lab, self.files, self.settings = bench, lab, files, case.settings
        alone = self.settings["store"] in ("null", "memory") and self.settings["queues"] == 1
        self.cpus = (bench.front_cpu, bench.back_cpu) if alone else (None, None)

    def side(self, back, queues, driver_cpu=None):
        return Side(self.bench, self.lab, back, self.settings, queues, self.cpus[0] if driver_cpu is None else driver_cpu)

    def ours(self, queues, name="vireo"):
        spec = our_spec(self.settings["store"], self.files, name)
        return self.side(Blkd(self.bench, self.lab, spec, queues, self.cpus[1], name), queues)

    def ours_by_cpu(self, queues, name):
        """Each queue has a CPU: its worker and its driver are there."""
        cpus = sorted((self.bench.front_cpu, self.bench.back_cpu))[:queues]  # workers take CPUs in their order
        back = Blkd(self.bench, self.lab, our_spec(self.settings["store"], self.files, name), queues, name=name, worker_cpus=cpus)
        return self.side(back, queues, ",".join(map(str, cpus)))

    def lun(self):
        return self.side(Scsid(self.bench, self.lab, our_spec(self.settings["store"], self.files), self.cpus[1]), 1)

    def other(self, scsi):
        """The back end of --peer-socket, if it is of this kind. It goes on when it has been measured."""
        if not self.bench.peer_socket or is_scsi(self.bench.peer_socket) != scsi:
            return
        back = Running(self.bench.peer_socket)
        try:
            yield "other", self.side(back, self.settings["queues"])
        finally:
            back.resume()

    def with_one_queue(self):
        """(two queues, one), each with a CPU a queue; a driver that polls would keep its worker from it."""
        queues = self.settings["queues"]
        if queues > 1 and self.settings["wait"] == "sleeping":
            yield self.ours_by_cpu(queues, "vireo-by-cpu"), self.ours_by_cpu(1, "vireo-1-queue")

    def peers(self):
        """(peer_name, side), each made when it is needed."""
        store, queues = self.settings["store"], self.settings["queues"]
        if self.bench.has("qsd") and store != "memory":
            yield "qsd", self.side(Qsd(self.bench, self.lab, their_node(store, self.files), queues, self.cpus[1]), queues)
        yield from self.other(scsi=False)


def rows(case, pairs, peer=None):
    return (report.rows(case.name, pairs, peer, ("requests_per_second", "cpu_ns_per_request"))
            + [row for what in ("median", "p99") for row in report.rows(f"{case.name}/{what}", pairs, peer, [("ns", what, what)])])


def measure(bench, case):
    found = []
    with Files(case.settings["store"]) as files, bench.lab() as lab:
        cell = Cell(bench, lab, files, case)
        ours = cell.ours(case.settings["queues"])
        for name, peer in cell.peers():
            found += rows(case, bench.alternate(ours, peer), name)
        for two, one in cell.with_one_queue():
            found += rows(case, bench.alternate(two, one), "vireo-1-queue")
        return found or rows(case, bench.by_itself(ours))


def verify(bench, case):
    return verified(bench, case, lambda cell: itertools.chain([("vireo", cell.ours(case.settings["queues"]))], cell.peers()))


def verified(bench, case, sides):
    """Each block that was written is read as itself; of a disk that keeps nothing, each request is done."""
    results, settings = [], case.settings
    with Files(settings["store"]) as files, bench.lab() as lab:
        cell = Cell(bench, lab, files, case)
        for name, side in sides(cell):
            side.resume()
            why = None
            for op in ("write", "read"):
                answer = side.driver.ask(f"window {op} {settings['depth']} {WAITS[settings['wait']]} {QUICK_MS}", 60)
                if answer.get("error") or answer["failed"]:
                    why = f"{answer.get('failed')} of {answer.get('requests')} requests ({op}) failed or brought foreign bytes"
            results.append((f"{case.name} {name}", why))
            side.pause()
    return results


# ---- a LUN beside a disk ----

def measure_lun(bench, case):
    with Files(case.settings["store"]) as files, bench.lab() as lab:
        cell = Cell(bench, lab, files, case)
        lun = cell.lun()
        found = rows(case, bench.alternate(lun, cell.ours(1, "vireo-blkd")), "vireo-blkd")
        for name, peer in cell.other(scsi=True):
            found += rows(case, bench.alternate(lun, peer), name)
        return found


def verify_lun(bench, case):
    return verified(bench, case, lambda cell: itertools.chain([("vireo-scsid", cell.lun())], cell.other(scsi=True)))


# ---- ten disks ----

def ten(bench, lab, name):
    """(daemon, milliseconds until it listens)"""
    begin = time.monotonic()
    back = Blkd(bench, lab, our_spec("null", None), disks=TEN) if name == "vireo" else Qsd(bench, lab, their_node("null", None), disks=TEN)
    return back, (time.monotonic() - begin) * 1000


def once(bench, what, name):
    with bench.lab() as lab:
        back, started_ms = ten(bench, lab, name)
        if what == "start":
            return started_ms
        drivers = [TenthDriver(bench, lab, back, i) for i in range(TEN)]
        memory = [driver.memory() for driver in drivers]
        time.sleep(SETTLE_S)
        if what == "rss":
            return system.rss_bytes(back.pid, memory)
        return system.cpu_percent(back.pid, 1 if bench.quick else 3)


class TenthDriver(Asked):
    """A driver at one of ten disks. It has read a little."""

    def __init__(self, bench, lab, back, index):
        super().__init__(lab, f"driver-{index}", [bench.program("bench-blk"), "--socket", back.sockets[index]])
        self.ready()
        self.ask("window read 1 sleep 10")

    def memory(self):
        """What it shares, as /proc/PID/smaps names it: its pages are the driver's."""
        with open(f"/proc/{self.pid}/maps") as maps:
            words = next(line for line in maps if "/memfd:" in line).split()
        major, minor = (int(number, 16) for number in words[3].split(":"))
        return major, minor, int(words[4])


def measure_ten(bench, case):
    what, unit = case.settings["what"], case.unit
    names = ["vireo", *(["qsd"] if bench.has("qsd") else [])]
    pairs = {"start": 7, "rss": 1, "idle": 2}[what]
    values = system.rounds(bench, names, pairs, lambda name: once(bench, what, name), what)
    return [report.row(case.name, unit, values["vireo"], values.get("qsd"), "qsd" if "qsd" in values else None)]


def cases(kind):
    found = [cells.Case(f"{kind}/{store}/{queues}-queue{'s' if queues > 1 else ''}/{op}/{depth}/{wait}", "requests_per_second", measure,
                        quick=(store, queues, op, depth, wait) in QUICK, seconds=8, peers=() if store == "memory" else ("qsd",),
                        check=verify, settings={"store": store, "queues": queues, "op": op, "depth": depth, "wait": wait})
             for store in STORES for queues in QUEUES for op in OPS for depth in DEPTHS for wait in WAITS]
    found += [cells.Case(f"{kind}/lun/{store}/{op}/{depth}/{wait}", "requests_per_second", measure_lun, seconds=8,
                         check=verify_lun, settings={"store": store, "queues": 1, "op": op, "depth": depth, "wait": wait})
              for store in ("null", "memory") for op in OPS for depth in DEPTHS for wait in WAITS]
    return found + [cells.Case(f"{kind}/ten/{what}", unit, measure_ten, quick=True, seconds=10, peers=("qsd",), settings={"what": what})
                    for what, unit in (("start", "ms"), ("rss", "bytes"), ("idle", "percent"))]
