# SPDX-License-Identifier: BSD-3-Clause
"""What a hostile port costs the others: the lies of bench/neighbours, and the scene in which they are told.

A row is told twice: with the lie, and without it, when the same program does the same work honestly. Beside it
two honest ports exchange frames (vireo-bench), the control socket is asked, and a new front end connects now and then.
"""
import contextlib
import ctypes
import itertools
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time

from guest.front import listener
from guest.lab import Lab, tail, wait_until
from guest.switch import Switch, program

import vhost_user as raw  # of tests/hostile
from peer import DATA, F_CSUM, F_HOST_TSO4, F_MRG_RXBUF, GPA, WRITE, frame, net_header

RATE = 400  # frames a second of the honest pair
PAGE = 4096
FAR = 1 << 40  # guest address of a second region
FAR_UADDR = 0x6F5500000000
RING = 256
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
PUNCH_HOLE, KEEP_SIZE = 2, 1
HONEST = b"\x02hones", b"\x02honeS"  # addresses of the honest pair
ROWS = {}


def address(mac):
    return ":".join(f"{byte:02x}" for byte in mac)


class Row:
    def __init__(self, work, ports, options, log, memory_bytes):
        self.name, self.work, self.ports, self.options = work.__name__, work, ports, options
        self.log, self.memory_bytes = log, memory_bytes
        self.what = work.__doc__.strip()


def row(ports=("liar",), options=(), log=True, memory_bytes=None):
    """A function of (scene, lie) that prepares a lie and returns what goes on telling it, or None. `ports`: of the liars, with their
    keys; `log`: somebody reads what the daemon says; `memory_bytes`: the daemon's memory cgroup."""
    def mark(work):
        ROWS[work.__name__] = Row(work, ports, options, log, memory_bytes)
        return work
    return mark


# ---- the scene ----

class Cgroup:
    """A memory cgroup, of version 1 or 2, where this machine lets us make one."""
    made = itertools.count()

    def __init__(self, limit_bytes):
        name = f"vireo-neighbours-{os.getpid()}-{next(self.made)}"
        for self.root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            self.folder = os.path.join(self.root, name)
            if not os.path.exists(os.path.join(self.root, "cgroup.procs")):
                continue  # what lies there is no cgroup, and a file of any name may be written in it
            with contextlib.suppress(OSError):
                os.mkdir(self.folder)
                try:
                    self._write(self.folder, limit, limit_bytes)
                    return
                except OSError:
                    os.rmdir(self.folder)
        raise OSError("no memory cgroup can be made here")

    @staticmethod
    def _write(folder, name, value):
        with open(os.path.join(folder, name), "w") as file:
            file.write(str(value))

    def take(self, pid):
        self._write(self.folder, "cgroup.procs", pid)

    def close(self):
        """The daemon, which may live on for a moment, goes back to where everybody is."""
        with open(os.path.join(self.folder, "cgroup.procs")) as file:
            pids = file.read().split()
        for pid in pids:
            with contextlib.suppress(OSError):
                self._write(self.root, "cgroup.procs", pid)
        for _ in range(50):
            with contextlib.suppress(OSError):
                return os.rmdir(self.folder)
            time.sleep(0.1)


class Silent(Switch):
    """A switch whose stderr is a pipe that nobody reads."""

    def start(self):
        self.unread, writing = os.pipe()
        try:
            self.child = self.lab.start(self.argv, cwd=self.lab.folder, stderr=writing)
            self.child.log = None
        finally:
            os.close(writing)
        wait_until(self.listening, 20, "vireo-switchd answers", step=0.01, child=self.child)


class Scene:
    """A switch with the ports a and b of the honest pair, `new` for who comes later, and the liars'."""

    def __init__(self, lab, row, stack):
        self.lab, self.stack = lab, stack
        self.note = lambda: ""  # what a row has to say in the end
        self.liars = [spec.partition(",")[0] for spec in row.ports]
        specs = [f"vhost-user:{name}.sock,name={name}{',' + keys if keys else ''}" for name, _, keys in
                 (spec.partition(",") for spec in (f"a,mac={address(HONEST[0])}", f"b,mac={address(HONEST[1])}", "new", *row.ports))]
        self.switch = (Switch if row.log else Silent)(lab, specs, ["--log-level", "info", *row.options])
        if row.memory_bytes:
            cgroup = Cgroup(row.memory_bytes)
            stack.callback(cgroup.close)
            cgroup.take(self.switch.child.pid)

    def connect(self, name="liar"):
        return self.stack.enter_context(raw.VhostUserPeer(self.lab.path(name + ".sock")))

    def ready(self, name="liar", features=F_MRG_RXBUF, memory_bytes=4 << 20):
        """A liar that has been honest until now."""
        peer = self.connect(name)
        peer.negotiate(features)
        peer.share_memory(memory_bytes)
        peer.receive_ring, peer.transmit_ring = peer.ring(0, RING), peer.ring(1, RING)
        peer.run()
        return peer

    def add_region(self, peer, fd, size, guest_address=FAR, offset=0):
        """True: it was taken."""
        at = FAR_UADDR + guest_address - FAR
        return peer.ack(raw.ADD_MEM_REG, raw.mem_region(guest_address, size, at, offset), [fd]) == 0


def burst(peer, addresses, length):
    """Makes a frame at each guest address available, all at once, and waits for them to be used."""
    ring = peer.transmit_ring
    for i, address in enumerate(addresses):
        ring.descriptor(i, address, length)
        peer.write(ring.driver + 4 + 2 * ((ring.avail_index + i) % RING), struct.pack("<H", i))
    ring.avail_index = (ring.avail_index + len(addresses)) & 0xFFFF
    peer.write(ring.driver + 2, struct.pack("<H", ring.avail_index))
    ring.ring_kick()
    end = time.monotonic() + 2
    while ring.used_now() != ring.avail_index and not given_up(peer) and time.monotonic() < end:
        time.sleep(0.0005)


def given_up(peer):
    """The session has been ended, or the ring is not served any more."""
    poll = select.poll()
    poll.register(peer.sock, select.POLLRDHUP)
    poll.register(peer.halted, select.POLLIN)
    return bool(poll.poll(0))


FRAME_BYTES = 12 + 60
HAIRPIN = net_header() + frame(destination=b"\x02lies\x01")  # to oneself: looked at and dropped


# ---- the lies ----

def lingering_socket(seconds):
    """A TCP socket whose close waits for so long, if it is the last."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client = socket.create_connection(listening.getsockname())
    other, _ = listening.accept()
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            client.send(bytes(65536))
    if seconds:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    return client, other, listening


@row()
def sockets_that_linger(scene, lie):
    """eight TCP sockets with SO_LINGER of 2 s come where no fd belongs"""
    kept = []

    def step():
        sockets = [lingering_socket(2 if lie else 0) for _ in range(8)]
        peer = scene.connect()
        message = struct.pack("=III", raw.GET_FEATURES, raw.VERSION, 0)
        peer.raw(message[:11], [client.fileno() for client, _, _ in sockets])
        for client, _, _ in sockets:
            client.close()
        kept.extend(sockets)
        with contextlib.suppress(raw.Closed):
            peer.raw(message[11:])
        time.sleep(1)
        peer.close()
    return step


@row(memory_bytes=64 << 20)
def memory_that_nobody_has_touched(scene, lie):
    """descriptors walk through a sparse memfd, over and over in new sessions; the daemon's memory cgroup has 64 MiB"""
    size = 1 << 30

    def begin():
        peer = scene.ready()
        fd = peer.keep(os.memfd_create("sparse"))
        os.ftruncate(fd, size)
        if not scene.add_region(peer, fd, size):
            raise OSError("the region is refused")
        return peer
    peer, page = begin(), 0

    def step():
        nonlocal peer, page
        with contextlib.suppress(raw.Closed):
            if peer and given_up(peer):
                peer.close()
                peer = None
            if not peer:
                peer, page = begin(), 0
            burst(peer, [FAR + (page + i) * PAGE for i in range(RING)], FRAME_BYTES)
        page = (page + RING) % (size // PAGE) if lie else 0
    return step


@row()
def address_space_to_the_brim(scene, lie):
    """sparse regions of one port, as large as they are taken"""
    peer, number = scene.connect(), 0
    peer.negotiate()
    for shift in (43, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 16, 12) if lie else (20,):
        size = 1 << shift
        while number < 500:
            fd = os.memfd_create("large")
            os.ftruncate(fd, size)
            taken = scene.add_region(peer, fd, size, FAR + (number << 44) % (1 << 62))
            os.close(fd)
            if not taken:
                break
            number += 1


@row(ports=tuple(f"liar{i}" for i in range(130)))
def mappings_by_the_thousand(scene, lie):
    """130 ports with 508 regions each; vm.max_map_count is 65530 by default"""
    fd = os.memfd_create("regions")
    os.ftruncate(fd, 508 * 2 * PAGE)
    scene.stack.callback(os.close, fd)
    for name in scene.liars:
        peer = scene.connect(name)
        peer.negotiate()
        for i in range(508 if lie else 8):
            if not scene.add_region(peer, fd, PAGE, FAR + i * 2 * PAGE, i * 2 * PAGE):
                break


def waiting(scene, fd, count):
    """So many entries in the wait queue of an eventfd: an epoll takes each number of a file once."""
    copies = [os.dup(fd) for _ in range(min(count, 500))]
    for copy in copies:
        scene.stack.callback(os.close, copy)
    for _ in range(count // 500):
        epoll = scene.stack.enter_context(select.epoll())
        for copy in copies:
            epoll.register(copy, select.EPOLLIN | select.EPOLLET)


WAITERS = 200000


def raised(fd):
    """As nobody has read it."""
    try:
        return f"the eventfd was raised {os.eventfd_read(fd)} times"
    except BlockingIOError:
        return "the eventfd was not raised"


@row()
def call_fd_with_many_waiters(scene, lie):
    """200,000 waiters on the eventfd that each signal raises"""
    peer = scene.ready()
    call = peer.transmit_ring.call
    peer.write(DATA, HAIRPIN)
    if lie:
        waiting(scene, call, WAITERS)
    scene.note = lambda: raised(call)

    def step():
        with contextlib.suppress(raw.Closed):
            burst(peer, [GPA + DATA], FRAME_BYTES)
        time.sleep(0.0002)
    return step


@row(ports=())
def eventfd_of_a_stranger_with_many_waiters(scene, lie):
    """as many on an eventfd that no port knows, raised by a process of its own as seldom as the switch would: what the kernel takes"""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    scene.stack.callback(os.close, fd)
    if lie:
        waiting(scene, fd, WAITERS)
    scene.note = lambda: raised(fd)
    rests, at_once, due = itertools.chain((10, 20, 40, 80), itertools.repeat(100)), 1, 0.0

    def step():
        nonlocal at_once, due
        begin = time.monotonic()
        if begin >= due:
            for _ in range(at_once):
                os.eventfd_write(fd, 1)
            end = time.monotonic()
            due = end + (next(rests) * (end - begin) if at_once == 2 else 0)
            at_once = 2
        time.sleep(0.0002)
    return step


@row()
def call_fd_blocking_and_full(scene, lie):
    """a thread drains the call eventfd, fills it and makes it blocking, over and over"""
    peer, over = scene.ready(), threading.Event()
    peer.write(DATA, HAIRPIN)
    call = peer.transmit_ring.call

    def race():
        while not over.is_set():
            with contextlib.suppress(BlockingIOError):
                os.set_blocking(call, False)
                os.eventfd_read(call)
                os.eventfd_write(call, 2**64 - 2)
                os.set_blocking(call, lie)
            time.sleep(0.0001)
    racer = threading.Thread(target=race, daemon=True)
    racer.start()

    def stop():
        over.set()
        racer.join(5)
    scene.stack.callback(stop)

    def step():
        with contextlib.suppress(raw.Closed):
            burst(peer, [GPA + DATA], FRAME_BYTES)
        time.sleep(0.0002)
    return step


def disk_file(scene, peer, lie):
    size, spread = 1 << 28, 0
    path = os.path.join(os.environ.get("VIREO_DISK_FOLDER", os.getcwd()), f".neighbours-{os.getpid()}")
    fd = peer.keep(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600) if lie else os.memfd_create("not-a-disk"))
    if lie:
        os.unlink(path)
    for at in range(0, size, 1 << 20):
        os.pwrite(fd, HAIRPIN.ljust(PAGE, b"\0") * 256, at)
    if lie:
        os.fsync(fd)
    scene.add_region(peer, fd, size)

    def step():
        nonlocal spread
        if lie:
            os.posix_fadvise(fd, 0, size, os.POSIX_FADV_DONTNEED)
        spread = (spread * 1103515245 + 12345) & 0x7FFFFFFF
        with contextlib.suppress(raw.Closed):
            burst(peer, [FAR + (spread + i * 7919) % (size // PAGE) * PAGE for i in range(RING)], FRAME_BYTES)
    return step


@row()
def memory_in_a_disk_file(scene, lie):
    """guest memory in a file of a disk, evicted all the time"""
    return disk_file(scene, scene.ready(), lie)


@row(ports=("liar,files=any",))
def memory_in_a_disk_file_that_is_allowed(scene, lie):
    """the same at a port with files=any"""
    return disk_file(scene, scene.ready(), lie)


def tcp_frame(payload_bytes):
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + payload_bytes, 1, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 3, 4, 0x50, 0x10, 100, 0, 0)
    return frame(ip + tcp + bytes(payload_bytes), ethertype=0x0800)


def broadcasts(scene, lie, count=64, pause=0.05):
    """All ports but the sender have receive buffers, and take no TSO. So many frames at once, and a pause."""
    for name in scene.liars[1:]:
        peer = scene.ready(name)
        for i in range(RING):
            peer.receive_ring.descriptor(i, GPA + DATA + 2048 * (i % 64), 2048, WRITE)
            peer.receive_ring.offer(i)
        peer.receive_ring.ring_kick()
    peer = scene.ready(scene.liars[0], F_MRG_RXBUF | F_CSUM | F_HOST_TSO4)
    data = net_header(1, 1, 54, 256, 34, 16) + tcp_frame(65000) if lie else net_header() + frame(bytes(1400))
    peer.write(DATA, data)

    def step():
        burst(peer, [GPA + DATA] * count, len(data))
        time.sleep(pause)
    return step


@row(ports=tuple(f"liar{i}" for i in range(3)))
def broadcast_tso_to_2(scene, lie):
    """64 broadcasts of 64 KiB in segments of 256 bytes, to two ports without TSO"""
    return broadcasts(scene, lie)


@row(ports=tuple(f"liar{i}" for i in range(51)))
def broadcast_tso_to_50(scene, lie):
    """the same to fifty"""
    return broadcasts(scene, lie)


@row(ports=tuple(f"liar{i}" for i in range(3)))
def broadcast_tso_without_end(scene, lie):
    """the same to two, without a pause"""
    return broadcasts(scene, lie, RING, 0)


@row()
def holes_punched(scene, lie):
    """1 GiB of the guest's memory is punched out, filled and punched out again, while frames lie in it"""
    size, peer = 1 << 30, scene.ready()
    fd, over = peer.keep(os.memfd_create("holes")), threading.Event()
    os.ftruncate(fd, size)
    scene.add_region(peer, fd, size)

    def fill():
        for at in range(0, size, 1 << 20):
            os.pwrite(fd, bytes(1 << 20), at)

    def punch():
        while not over.is_set():
            if lie:
                _libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, size)
            fill()
    fill()
    puncher = threading.Thread(target=punch, daemon=True)
    puncher.start()

    def stop():
        over.set()
        puncher.join(30)
    scene.stack.callback(stop)

    def relieved():
        return f"workers were stood in for {sum(worker['relieved'] for worker in scene.switch.ask('stats')['workers'])} times"
    scene.note = relieved

    def step():
        with contextlib.suppress(raw.Closed):
            burst(peer, [FAR + i * (size // RING) for i in range(RING)], FRAME_BYTES)
    return step


@row()
def iotlb_that_is_full(scene, lie):
    """2048 windows behind an IOMMU, and INVALIDATE and UPDATE without end, 64 at a time"""
    ours, theirs = socket.socketpair()
    scene.stack.enter_context(ours)
    with theirs:
        peer = scene.connect()
        peer.negotiate()
        peer.ack(raw.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
    peer.ack(raw.SET_FEATURES, struct.pack("=Q", peer.features | raw.F_ACCESS_PLATFORM))
    peer.share_memory()

    def tell(kind, windows):
        body = [struct.pack("=QQQBB", FAR + i * 2 * PAGE, PAGE, raw.UADDR, 3, kind).ljust(32, b"\0") for i in windows]
        peer.raw(b"".join(struct.pack("=III", raw.IOTLB_MSG, raw.VERSION, 32) + each for each in body))
        for _ in body:
            peer.receive()
    full = 2048 if lie else 64
    for first in range(0, full, 64):
        tell(2, range(first, first + 64))

    def step():
        for kind in (3, 2):
            tell(kind, range(64))
        time.sleep(0 if lie else 0.001)
    return step


@row()
def another_s_source_address(scene, lie):
    """frames with an honest port's address as their source; what goes to that port is lost"""
    peer = scene.ready()
    peer.write(DATA, net_header() + frame(source=HONEST[1] if lie else b"\x02lies\x01"))

    def step():
        burst(peer, [GPA + DATA], FRAME_BYTES)
        time.sleep(0.01)
    return step


@row(log=False)
def log_that_nobody_reads(scene, lie):
    """sessions that end in a line of the log, which goes to a pipe that nobody reads"""
    def step():
        peer = scene.connect()
        with contextlib.suppress(raw.Closed):
            peer.send(99 if lie else raw.SET_OWNER)
            if lie:
                peer.hung_up(1)
        peer.close()
    return step


@row()
def control_clients_by_the_thousand(scene, lie):
    """connections to the control socket that come and go"""
    def step():
        for _ in range(50 if lie else 1):
            client = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):
                client.connect(scene.switch.control)
            client.close()
        time.sleep(0.02)
    return step


@row(ports=())
def server_that_hangs_up(scene, lie):
    """a port in client mode whose server asks one question and hangs up"""
    path = scene.lab.path("server.sock")
    server = listener(path)
    scene.stack.callback(server.close)
    scene.switch.ctl("port", "add", f"vhost-user:{path},name=client,mode=client")
    server.settimeout(0.2)

    def step():
        with contextlib.suppress(socket.timeout, OSError):
            client, _ = server.accept()
            with client:
                if not lie:
                    time.sleep(0.2)
                client.sendall(struct.pack("=III", raw.GET_FEATURES, raw.VERSION, 0))
                client.recv(64)
    return step


# ---- what the others see of it ----

class Watch:
    """Asks the control socket, and connects to the port `new`, over and over; keeps the longest answer of each."""

    def __init__(self, scene):
        self.scene, self.over = scene, threading.Event()
        self.control_ms = self.newcomer_ms = 0.0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _timed(self, ask):
        begin = time.monotonic()
        try:
            ask()
        except (OSError, raw.Closed, ValueError):
            pass  # who is refused has been answered; a daemon that has died is seen by others
        return (time.monotonic() - begin) * 1000

    def control(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(self.scene.switch.control)
            client.sendall(b'{"jsonrpc": "2.0", "method": "version", "id": 1}\n')
            client.recv(4096)

    def newcomer(self):
        with raw.VhostUserPeer(self.scene.lab.path("new.sock"), timeout=30) as peer:
            peer.offered()

    def _run(self):
        while not self.over.wait(0.1):
            self.control_ms = max(self.control_ms, self._timed(self.control))
            self.newcomer_ms = max(self.newcomer_ms, self._timed(self.newcomer))

    def stop(self):
        self.over.set()
        self.thread.join(60)


def honest_pair(scene, seconds):
    argv = [program("vireo-bench"), "net", "--from", scene.lab.path("a.sock"), "--to", scene.lab.path("b.sock"),
            "--rate", str(RATE), "--seconds", str(seconds), "--wait", "event", "--json"]
    return scene.lab.start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(row, lie, seconds):
    """{p50_ms, max_ms, lost, control_ms, newcomer_ms} while a row is told, or {"end": why}."""
    with Lab("vireo-neighbours-") as lab, contextlib.ExitStack() as stack:
        scene = Scene(lab, row, stack)
        step = row.work(scene, lie)
        bench = honest_pair(scene, seconds)
        watch = Watch(scene)
        end = time.monotonic() + seconds + 40
        while bench.poll() is None and scene.switch.alive():
            if time.monotonic() > end:
                return {"end": "the honest pair does not come to an end"}
            if step:
                step()
            else:
                time.sleep(0.05)
        watch.stop()
        out, err = bench.communicate(timeout=10)
        if not scene.switch.alive():
            return {"end": f"vireo-switchd has ended with {scene.switch.child.poll()}"}
        watch.control(), watch.newcomer()  # they raise an error where _timed() takes none
        if not out or bench.returncode > 1:
            return {"end": f"the honest pair is not served: {err.strip().splitlines()[-1] if err.strip() else bench.returncode}"}
        report = json.loads(out)
        latency = report["latency_ns"]
        lines = log_lines(scene)
        return {"p50_ms": latency["p50"] / 1e6, "max_ms": latency["max"] / 1e6, "lost": report["lost"], "sent": report["sent"]["frames"],
                "control_ms": watch.control_ms, "newcomer_ms": watch.newcomer_ms, "log_lines": len(lines), "line": lines[-1] if lines else "",
                "note": scene.note()}


def log_lines(scene):
    """Those that the daemon wrote of a liar, in whatever capacity."""
    return [line for line in tail(scene.switch.child.log, 10**6).splitlines() if "liar" in line or "client" in line]
