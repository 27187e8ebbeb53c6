#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks that do not answer: what else there is goes on, and what merely waits is given up when its queue is stopped."""
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, made_file  # noqa: E402
from guest.front import DATA, raw  # noqa: E402
from guest.front import WRITE  # noqa: E402
import hosts  # noqa: E402  (beside what guest.front has found)
from guest.requests import IN, OUT, ScsiRequests  # noqa: E402
from guest.lab import listening_sockets, wait_until  # noqa: E402
from guest.scsi import Scsid  # noqa: E402
from guest.switch import build_folder, program  # noqa: E402
from guest.takeover import asks, says  # noqa: E402

OK, IOERR, NONE = 0, 1, 0xEE
DEVICE_REGION = (1 << 40, 1 << 20)  # memory beside the ring's, that can be taken away


class Driver:
    """Of a disk with one queue."""

    def __init__(self, where):
        self.peer = raw.VhostUserPeer(where, timeout=30)
        self.peer.negotiate(0)
        self.peer.share_memory()
        self.ring = self.peer.ring(0, 64)
        self.peer.run()
        self.asked = 0

    def read(self, sector=0, to=None):
        """A sector, to a guest address; returns where its status is to come."""
        at, first = DATA + self.asked * 0x1000, 3 * self.asked
        self.asked += 1
        self.peer.write(at, struct.pack("<IIQ", 0, 0, sector) + b"\xdd" * 512 + bytes([NONE]))
        self.ring.chain([(raw.GPA + at, 16, 0), (to or raw.GPA + at + 16, 512, WRITE), (raw.GPA + at + 528, 1, WRITE)], first)
        return at + 528

    def status(self, at):
        return self.peer.memory[at]

    def table(self, more):
        """Tells the memory, with another region or without it; whether it is taken."""
        regions = [(raw.GPA, len(self.peer.memory), raw.UADDR, 0)]
        if more:
            regions.append((DEVICE_REGION[0], DEVICE_REGION[1], DEVICE_REGION[0], 0))
        return self.peer.ack(raw.SET_MEM_TABLE, raw.mem_table(regions), [self.peer.memfd] * len(regions)) == 0


@contextlib.contextmanager
def disks_hang_by(hang):
    """What is started here has disks that hang while that file is there."""
    module = os.path.join(build_folder(), "tests/daemon/hang.so")
    if not os.path.exists(module):
        raise Skip("what makes a disk hang has not been built")
    if os.environ.get("LD_PRELOAD"):
        raise Skip("something else is preloaded")
    os.environ.update(LD_PRELOAD=module, HANG=hang)
    try:
        yield
    finally:
        del os.environ["LD_PRELOAD"], os.environ["HANG"]


class HungDisk:
    """One whose requests hang from now on, one thread for them, beside a disk that works."""

    def __init__(self, lab):
        self.hang = lab.path("hang")
        made_file(lab.path("a.img"), 8)
        with disks_hang_by(self.hang):
            self.blkd = Blkd(lab, [f"a=file:{lab.path('a.img')},io=threads,threads=1", "b=null:8M"],
                             [f"vhost-user:{lab.path(name)},disk={name}" for name in "ab"])
        self.a, self.b = Driver(lab.path("a")), Driver(lab.path("b"))
        self.answered(self.a, self.a.read(), OK)
        with open(self.hang, "w"):
            pass
        self.held = self.a.read()  # by the thread
        self.waiting = [self.a.read(sector) for sector in range(3)]
        self.taken()
        self.goes_on()

    def taken(self):
        """What has been asked before: a sector that there is not is refused when its turn comes."""
        self.answered(self.a, self.a.read(1 << 40), IOERR)

    @staticmethod
    def answered(driver, at, status):
        wait_until(lambda: driver.status(at) != NONE, 20, "a request's status")
        expect(driver.status(at) == status, f"its status is {driver.status(at)}")

    def goes_on(self):
        """The other disk, and the control socket."""
        self.answered(self.b, self.b.read(), OK)
        self.blkd.ask("stats")

    def release(self):
        os.unlink(self.hang)


@case(shows=["vhost-user"])
def a_queue_is_stopped_while_its_disk_hangs(lab):
    """What waits is given up after a second; what the kernel has is waited for, as it may write to the guest's memory."""
    disk = HungDisk(lab)
    disk.a.peer.send(raw.GET_VRING_BASE, struct.pack("=II", 0, 0))
    for at in disk.waiting:
        disk.answered(disk.a, at, IOERR)
    expect(disk.a.status(disk.held) == NONE, "it was answered while the kernel had it")
    disk.goes_on()
    disk.release()
    answered, data = disk.a.peer.receive()
    expect(answered == raw.GET_VRING_BASE and struct.unpack("=II", data) == (0, 6), f"{answered}: {data}")
    expect(disk.a.status(disk.held) == OK, "the request that hung has another status")
    end_well(disk.blkd)


@case(shows=["vhost-user"])
def a_daemon_is_not_handed_over_while_its_disk_hangs(lab):
    """And what waits is not given up for that: the driver has all of it when the disk answers, and the next hand-over takes place."""
    disk = HungDisk(lab)
    child = disk.blkd.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "an export's queues do not come to rest")
    for _ in range(5):  # until it would have been given up
        time.sleep(0.3)
        disk.goes_on()
    child = disk.blkd.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "another process is taking over already")
    disk.release()
    for at in (disk.held, *disk.waiting, disk.a.read()):
        disk.answered(disk.a, at, OK)
    wait_until(lambda: "SOCKET: " in asks(disk.blkd, lab.path("none"), 2)["error"]["message"], 20, "the next one may ask")
    disk.blkd.hand_over()
    for driver in (disk.a, disk.b):
        disk.answered(driver, driver.read(), OK)
    end_well(disk.blkd)


@case(shows=["vhost-user"])
def a_memory_table_changes_while_a_disk_hangs(lab):
    """What hangs lies in memory that stays: nobody is waited for, and nothing is given up."""
    disk = HungDisk(lab)
    expect(disk.a.table(True), "memory was not added")
    expect(disk.a.table(False), "memory was not taken away")
    expect(disk.a.status(disk.held) == NONE, "it has been waited for")
    disk.release()
    for at in (disk.held, *disk.waiting, disk.a.read()):
        disk.answered(disk.a, at, OK)
    end_well(disk.blkd)


@case(shows=["vhost-user"])
def memory_that_a_hung_request_writes_to_is_not_taken_away(lab):
    """No honest driver does that. The front end is answered when the request has ended; others go on."""
    disk = HungDisk(lab)
    expect(disk.a.table(True), "memory was not added")
    liar = disk.a.read(to=DEVICE_REGION[0] + 0x90000)
    disk.taken()
    regions = [(raw.GPA, len(disk.a.peer.memory), raw.UADDR, 0)]
    disk.a.peer.send(raw.SET_MEM_TABLE, raw.mem_table(regions), [disk.a.peer.memfd], raw.VERSION | raw.NEED_REPLY)
    disk.goes_on()
    expect(not select.select([disk.a.peer.sock], [], [], 0.5)[0], "it was told that the memory is its own again")
    disk.blkd.ctl("disk", "throttle", "a", "iops=100000")  # which has the queue opened anew
    disk.release()
    expect(disk.a.peer.receive()[1] == bytes(8), "the table was refused")
    disk.answered(disk.a, liar, OK)
    end_well(disk.blkd)


@case
def a_daemon_ends_while_a_disk_hangs(lab):
    disk = HungDisk(lab)
    disk.blkd.child.terminate()
    expect(disk.blkd.child.wait(20) == 0, "another exit status")
    disk.release()


@case
def a_daemon_ends_while_its_disks_cannot_be_closed(lab):
    """To give a lock back waits for a file server that does not answer: that holds SIGTERM up for a moment, and no longer."""
    module, hang = os.path.join(build_folder(), "tests/daemon/hang.so"), lab.path("hang")
    if not os.path.exists(module) or os.environ.get("LD_PRELOAD"):
        raise Skip("what makes a disk hang has not been built, or something else is preloaded")
    made_file(lab.path("a.img"), 8)
    for name, daemon, hangs in (("blkd", Blkd, True), ("scsid", Scsid, True), ("other", Blkd, False)):
        os.environ.update(LD_PRELOAD=module, HANG_LOCKS=hang)
        try:
            store = daemon(lab, [f"a=file:{lab.path('a.img')},lock=on", "b=mem:8M"], name=name)
        finally:
            del os.environ["LD_PRELOAD"], os.environ["HANG_LOCKS"]
        if hangs:
            open(hang, "w", encoding="utf-8").close()
        store.child.terminate()
        expect(store.child.wait(20) == 0, "another exit status")
        with open(store.child.log, errors="replace") as log:
            expect(("a disk is not closed" in log.read()) == hangs, f"what {daemon.PROGRAM} says of a disk that hangs: {hangs}")
        if hangs:
            os.unlink(hang)


def lun_add(scsid, address):
    """Waits for its answer as long as a loaded machine may need."""
    return subprocess.Popen([program("vireoctl"), "--timeout", "120", "--daemon", "scsid", "-s", scsid.control, "lun", "add", address],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@case
def a_folder_of_reservations_that_hangs_holds_up_nobody(lab):
    """Neither who asks for something else, nor the end: also of a daemon that has not begun yet."""
    module, hang = os.path.join(build_folder(), "tests/daemon/hang.so"), lab.path("hang")
    if not os.path.exists(module) or os.environ.get("LD_PRELOAD"):
        raise Skip("what makes a disk hang has not been built, or something else is preloaded")
    os.mkdir(lab.path("state"))
    options = ["--state", lab.path("state")]
    os.environ.update(LD_PRELOAD=module, HANG_LOCKS=hang)
    try:
        scsid = Scsid(lab, ["a=null:8M", "b=null:8M"], [f"vhost-user:{lab.path('e')}"], ["0:0=a"], options)
        open(hang, "w", encoding="utf-8").close()
        late = lab.start([program("vireo-scsid"), "--disk", "c=mem:8M", "--export", f"vhost-user:{lab.path('f')}", "--lun", "0:0=c", *options,
                          "--control", lab.path("late.sock")], log="late.log")
    finally:
        del os.environ["LD_PRELOAD"], os.environ["HANG_LOCKS"]
    wait_until(lambda: os.path.exists(lab.path("state/c.reservations.lock")), 20, "its lock's file", child=late)
    late.terminate()
    expect(late.wait(20) == 0, "another exit status of the one that was starting")
    add = lun_add(scsid, "0:1=b")
    wait_until(lambda: os.path.exists(lab.path("state/b.reservations.lock")), 20, "its lock's file", child=add)
    for _ in range(20):
        expect([lun["name"] for lun in scsid.ask("lun", "list")["luns"]] == ["e/0:0"], "other LUNs")
    expect("a LUN is being added: try again" in asks(scsid, lab.path("none"), 1002)["error"]["message"], "it would be handed over without that LUN")
    expect(add.poll() is None, "it did not hang: this shows nothing")
    os.unlink(hang)
    said = add.communicate(timeout=60)
    expect(add.returncode == 0 and len(scsid.ask("lun", "list")["luns"]) == 2, f"{said}")
    open(hang, "w", encoding="utf-8").close()
    scsid.ctl("disk", "add", "d=mem:8M")
    add = lun_add(scsid, "0:2=d")
    wait_until(lambda: os.path.exists(lab.path("state/d.reservations.lock")), 20, "its lock's file", child=add)
    scsid.child.terminate()
    expect(scsid.child.wait(20) == 0, "another exit status")
    said = add.communicate(timeout=60)
    expect(add.returncode != 0, f"{said}")


@case
def a_disk_that_is_resized_for_long_holds_up_nobody_else(lab):
    """Its file system does not answer. Nobody resizes or removes it meanwhile, and nobody is given what becomes smaller."""
    disk = HungDisk(lab)
    blkd, shrinks = disk.blkd, made_file(lab.path("c.img"), 8)
    blkd.ctl("disk", "add", f"c=file:{shrinks}")
    resize = subprocess.Popen([program("vireoctl"), "--daemon", "blkd", "-s", blkd.control, "disk", "resize", "c", "4M"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: blkd.ask("disk", "show", "c")["disk"]["resizing"], 20, "it is being resized", child=resize)
    export = ("export", "add", f"vhost-user:{lab.path('c')},disk=c")
    for words, why in ((("disk", "resize", "c", "2M"), "is being resized: try again"), (("disk", "remove", "c"), "is being resized: try again"),
                       (export, "is being made smaller: try again")):
        done = blkd.ctl_run(*words)
        expect(done.returncode == 1 and why in done.stderr, f"{done}")
    blkd.ctl("disk", "add", "m=mem:8M")
    blkd.ctl("disk", "resize", "m", "16M")
    blkd.ctl("disk", "remove", "m")
    expect(resize.poll() is None, "it did not hang: this shows nothing")
    disk.release()
    said = resize.communicate(timeout=60)
    expect(resize.returncode == 0 and os.path.getsize(shrinks) == 4 << 20, f"{said}")
    blkd.ctl(*export)
    expect(blkd.ask("disk", "show", "c")["disk"]["size_bytes"] == 4 << 20, "it has another size")
    end_well(blkd)


@case(shows=["vhost-user"])
def a_lock_that_is_waited_for_holds_up_nobody_else(lab):
    """As on NFS, whose server may not answer: to take it when a queue starts, and to give it back when it stops."""
    module, hang = os.path.join(build_folder(), "tests/daemon/hang.so"), lab.path("hang")
    if not os.path.exists(module) or os.environ.get("LD_PRELOAD"):
        raise Skip("what makes a disk hang has not been built, or something else is preloaded")
    made_file(lab.path("a.img"), 8)
    os.environ.update(LD_PRELOAD=module, HANG_LOCKS=hang)
    try:
        blkd = Blkd(lab, [f"a=file:{lab.path('a.img')},lock=running", "b=mem:8M"],
                    [f"vhost-user:{lab.path(name)},disk={name}" for name in "ab"])
    finally:
        del os.environ["LD_PRELOAD"], os.environ["HANG_LOCKS"]
    b = Driver(lab.path("b"))

    def others_go_on():
        HungDisk.answered(b, b.read(), OK)
        blkd.ask("stats")

    def hangs(on):
        if on:
            open(hang, "w", encoding="utf-8").close()
        else:
            os.unlink(hang)

    hangs(True)
    a = Driver(lab.path("a"))
    at = a.read()
    others_go_on()
    expect(a.status(at) == NONE, "it was served without the lock")
    expect(a.peer.ask(raw.GET_VRING_BASE, struct.pack("=II", 0, 0)) == struct.pack("=II", 0, 0), "nothing was taken")
    a.peer.close()
    hangs(False)
    a = Driver(lab.path("a"))
    HungDisk.answered(a, a.read(), OK)
    hangs(True)
    blkd.ctl("disk", "throttle", "a", "iops=100000")  # its queue is opened anew, and nobody touches the lock for that
    HungDisk.answered(a, a.read(), OK)
    others_go_on()
    expect(a.peer.ask(raw.GET_VRING_BASE, struct.pack("=II", 0, 0)) == struct.pack("=II", 0, 2), "two requests were taken")
    others_go_on()
    a.peer.close()
    blkd.ctl("export", "remove", "a")
    remove = subprocess.Popen([program("vireoctl"), "--daemon", "blkd", "-s", blkd.control, "disk", "remove", "a"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    others_go_on()
    expect(remove.poll() is None, "the disk was removed with a thread in it")
    hangs(False)
    said = remove.communicate(timeout=60)
    expect(remove.returncode == 0, f"{said}")
    end_well(blkd)


@case(shows=["vhost-user"])
def a_server_that_hangs_holds_up_no_driver(lab):
    """Neither when a queue is stopped, nor when the front end goes while its memory table waits for what the server owes."""
    need_program("nbdkit")
    server = lab.start(["nbdkit", "-f", "-U", lab.path("nbd"), "memory", "8M"], log="nbdkit.log")
    wait_until(lambda: listening_sockets(lab.path("nbd")), 20, "nbdkit's socket", child=server)
    blkd = Blkd(lab, [f"a=nbd:nbd+unix:///?socket={lab.path('nbd')},timeout=0", "b=mem:8M"],
                [f"vhost-user:{lab.path(name)},disk={name}" for name in "ab"])
    a, b = Driver(lab.path("a")), Driver(lab.path("b"))
    HungDisk.answered(a, a.read(), OK)
    server.send_signal(signal.SIGSTOP)
    try:
        held = a.read()
        HungDisk.answered(a, a.read(1 << 40), IOERR)  # it has been taken
        expect(a.peer.ask(raw.GET_VRING_BASE, struct.pack("=II", 0, 0)) == struct.pack("=II", 0, 3), "three requests were taken")
        expect(a.status(held) == IOERR, f"its status is {a.status(held)}")
        a.peer.close()
        a = Driver(lab.path("a"))
        expect(a.table(True), "memory was not added")
        a.read(to=DEVICE_REGION[0])
        HungDisk.answered(a, a.read(1 << 40), IOERR)
        a.peer.send(raw.SET_MEM_TABLE, raw.mem_table([(raw.GPA, len(a.peer.memory), raw.UADDR, 0)]), [a.peer.memfd],
                    raw.VERSION | raw.NEED_REPLY)
        HungDisk.answered(b, b.read(), OK)
        a.peer.close()
        a = Driver(lab.path("a"))
        HungDisk.answered(a, a.read(1 << 40), IOERR)
        at = a.read()
    finally:
        server.send_signal(signal.SIGCONT)
    HungDisk.answered(a, at, OK)
    end_well(blkd)


ABORT_TASK, LOGICAL_UNIT_RESET = 0, 5
ABORTED, RESET = 2, 4  # responses of the commands that end so
BEHIND = 0x100000  # in a driver's memory, from DATA on: a request that is not waited for lies there, and its descriptors from 32 on


class Managed(ScsiRequests):
    """With a control queue."""
    FUNCTION = 0x30000  # in a driver's memory, from DATA on

    def __init__(self, path):
        super().__init__(path, 4)
        self.control = self.peer.ring(0, 8)

    def manage(self, function, tag):
        """Its answer, and what of the commands had been shown by then."""
        at = DATA + self.FUNCTION
        self.peer.write(at, struct.pack("<II8sQ", 0, function, hosts.address(), tag) + b"\xff")
        before = self.control.used_now()
        self.control.chain([(raw.GPA + at, 24, 0), (raw.GPA + at + 24, 1, WRITE)])
        wait_until(lambda: self.control.used_now() != before, 20, "the function is answered")
        return self.peer.memory[at + 24], [(id_ // 3, self.status(id_ // 3) >> 8) for id_, _ in self.ring.used()]


@case(shows=["vhost-user"])
def what_a_hung_server_has_is_aborted_at_once(lab):
    """What was aborted is shown before the function is answered, and what the server says later touches its buffer no more."""
    need_program("nbdkit")
    server = lab.start(["nbdkit", "-f", "-U", lab.path("nbd"), "--filter=delay", "memory", "8M", "delay-read=1"], log="nbdkit.log")
    wait_until(lambda: listening_sockets(lab.path("nbd")), 20, "nbdkit's socket", child=server)
    scsid = Scsid(lab, [f"a=nbd:nbd+unix:///?socket={lab.path('nbd')},timeout=0"], [f"vhost-user:{lab.path('e')}"], ["0:0=a"])
    ours, theirs = b"\xee" * 512, b"\x11" * 512
    with Managed(lab.path("e")) as front:
        expect(front.one(OUT, 0, theirs) == OK, "a write has failed")
        for function, ends in ((ABORT_TASK, ABORTED), (LOGICAL_UNIT_RESET, RESET)):
            server.send_signal(signal.SIGSTOP)
            try:
                front.ask(1, IN, 0, ours)
                expect(front.command(bytes(6))[0] == OK, "the one before has been taken, and this one is answered")
                answer, shown = front.manage(function, 1)
                expect(answer == 0 and shown == [(1, ends)], f"answered with {answer} when these had been shown: {shown}")
            finally:
                server.send_signal(signal.SIGCONT)
            front.command(bytes(6))  # who has reset it is not told so, others are
            expect(front.one(IN, 0) == OK and front.data(0) == theirs, "the next one is not served")  # behind what was aborted
            expect(front.data(1) == ours, "the buffer of the one that was aborted has been written to")
    end_well(scsid)


@case(shows=["vhost-user"])
def an_export_goes_while_its_reset_waits_for_another_ones_disk(lab):
    """Two machines share a unit. One resets it, which has to wait for what the kernel has of the other's; the one may go all the same."""
    hang = lab.path("hang")
    made_file(lab.path("a.img"), 1)
    with disks_hang_by(hang):
        scsid = Scsid(lab, [f"a=file:{lab.path('a.img')},io=threads,threads=1"], [f"vhost-user:{lab.path(name)},name={name}" for name in "xy"],
                      [f"{name}/0:0=a,writers=many" for name in "xy"])
    x, y = (hosts.HostPeer(lab.path(name), 30) for name in "xy")
    for peer in (x, y):
        peer.begin()
        peer.goes_on()
    with open(hang, "w"):
        pass
    at = hosts.HEADER + BEHIND
    y.write(at, hosts.address() + struct.pack("<QBBB", 1, 0, 0, 0) + hosts.rw(hosts.READ_10, 0, 1).ljust(32, b"\0"))
    y.queues[hosts.REQUESTS].chain([(raw.GPA + at, hosts.HEAD_BYTES, 0), (raw.GPA + at + 0x1000, hosts.RESPONSE_BYTES, WRITE),
                                    (raw.GPA + at + 0x2000, hosts.SECTOR, WRITE)], 32)
    y.good(bytes(6))  # TEST UNIT READY: what was asked before has been taken
    x.write(hosts.HEADER, struct.pack("<II8sQ", 0, LOGICAL_UNIT_RESET, hosts.address(), 0))
    x.queues[hosts.CONTROL].chain([(raw.GPA + hosts.HEADER, 24, 0), (raw.GPA + hosts.STATUS, 1, WRITE)])
    wait_until(lambda: scsid.export("x")["counters"]["managements"] == 1, 20, "the reset to be taken")
    scsid.ask("export", "remove", "x")
    expect([export["name"] for export in scsid.ask("export", "list")["exports"]] == ["y"], "the export is still there")
    os.unlink(hang)
    y.goes_on()
    end_well(scsid)


if __name__ == "__main__":
    main()
