#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A vireo-blkd is replaced by another process while its drivers write and read (--takeover): no request is lost or done twice, no disk ever has two
processes that write to it, and what fails leaves the old one."""
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, Drive, Writers, arguments, made_file  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import QEMU, Guest  # noqa: E402
from guest.request_load import Load  # noqa: E402
from guest.requests import F_FLUSH, FLUSH, IN, OK, OUT, SECTOR, Requests  # noqa: E402
from guest.switch import program  # noqa: E402
from guest.takeover import NOT, PART, READY, STATE, Old, Taker, give, head, parcel, pauses_told, receive, says  # noqa: E402
from vhost_user import GET_CONFIG, SET_CONFIG  # noqa: E402  # of the hostile tests, which guest/front.py has found

ROUNDS = int(os.environ.get("VIREO_ROUNDS", 10))
GUEST_ROUNDS = int(os.environ.get("VIREO_ROUNDS", 3))  # a guest may be emulated
VERSION = 2
F_CONFIG_WCE, WRITEBACK = 1 << 11, 32  # virtio 1.3, 5.2.3 and 5.2.4


def locked(path):
    """May nobody else have the file? As another process of any kind asks for it."""
    with open(path, "rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Watch(threading.Thread):
    """Asks for the locks of files all the time, and never gets one."""

    def __init__(self, *paths):
        super().__init__(daemon=True)
        self.paths, self.asked, self.free, self.over = paths, 0, None, False

    def run(self):
        while not self.over and not self.free:
            self.free = next((path for path in self.paths if not locked(path)), None)
            self.asked += 1
            time.sleep(0.0002)

    def end(self):
        self.over = True
        self.join(30)
        expect(self.asked and not self.free and not self.is_alive(), f"asked {self.asked} times, {self.free} is free")


def one(lab, key="", options=()):
    """A daemon with a disk in a file, and a driver that writes to it."""
    made_file(lab.path("disk.img"), 1)
    blkd = Blkd(lab, [f"a=file:{lab.path('disk.img')}{key}"], [f"vhost-user:{lab.path('e')},disk=a"], options)
    load = Load(lab.path("e"))
    load.start()
    load.goes_on()
    return blkd, load


def fails(blkd, load, *words):
    child = blkd.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", *words)
    load.goes_on()


@case
def ten_hand_overs_under_load(lab):
    """With a queue of each sort at the disk: a ring, threads, and none."""
    for name in "abc":
        made_file(lab.path(f"{name}.img"), 1)
    disks = [f"a=file:{lab.path('a.img')}", f"b=file:{lab.path('b.img')},io=threads", f"c=file:{lab.path('c.img')},lock=running"]
    blkd = Blkd(lab, disks, [f"vhost-user:{lab.path(name)},disk={name},queues=2" for name in "abc"], ["--workers", "2"])
    loads = [Load(lab.path(name)) for name in "abc"]
    watch = Watch(lab.path("a.img"), lab.path("b.img"))
    for load in (*loads, watch):
        load.start()
    for _ in range(ROUNDS):
        blkd.hand_over("--workers", "2")
        for load in loads:
            load.goes_on()
        expect("another process has the lock" not in open(blkd.child.log, errors="replace").read(), "the old one has let go of c too late")
    watch.end()
    for load in loads:
        load.end()
    print(f"    {ROUNDS} hand-overs, {sum(load.done for load in loads)} requests, the slowest took "
          f"{max(load.slowest_s for load in loads) * 1000:.0f} ms", flush=True)
    end_well(blkd)
    pauses_told(blkd, ROUNDS)
    for load, name in zip(loads, "abc"):
        with open(lab.path(f"{name}.img"), "rb") as file:
            expect(all(file.read(SECTOR) == load.pattern(slot) for slot in range(load.front.depth)), f"{name}: what was written last is not there")
    expect(not locked(lab.path("a.img")), "somebody still has the file")


@case
def all_that_the_daemon_knows_goes_with_it(lab):
    """Disks and exports as they are now, limits that were changed, and names that came from addresses; the sockets take the next driver."""
    blkd, load = one(lab)
    blkd.ctl("disk", "add", "n=null:1M,iops=500")
    blkd.ctl("disk", "throttle", "n", "iops=700,bps=20M")
    blkd.ctl("export", "add", f"vhost-user:{lab.path('late')},disk=n,serial=mine,read-only=on")
    seen = lambda: ([(disk["name"], disk["size_bytes"]) for disk in blkd.ask("disk", "list")["disks"]],  # noqa: E731
                    [(e["name"], e["disk"]) for e in blkd.ask("export", "list")["exports"]], blkd.ask("disk", "show", "n")["disk"]["limits"])
    before = seen()
    blkd.hand_over("--disk", "other=null:1M")
    expect(seen() == before, f"{seen()}\nis not\n{before}")
    with Requests(lab.path("late")) as driver:
        expect(driver.one(OUT, data=bytes(SECTOR)) != OK and driver.one(IN) == OK, "it is read-only no more")
    load.goes_on()
    load.end()
    with Requests(lab.path("e")) as driver:
        expect(driver.one(FLUSH) == OK, "the next driver is not served")
    end_well(blkd)
    expect(not any(os.path.exists(lab.path(name)) for name in ("e", "late", "blkd.control")), "sockets are left")


@case
def cache_that_a_driver_has_switched_off_stays_off(lab):
    """And then on again: the front end does not say it once more. The next driver begins as ever."""
    made_file(lab.path("disk.img"), 1)
    blkd = Blkd(lab, [f"a=file:{lab.path('disk.img')}"], [f"vhost-user:{lab.path('e')},disk=a"])

    def field(driver):
        return driver.peer.ask(GET_CONFIG, struct.pack("=III", WRITEBACK, 1, 0) + b"\0")[12:]
    with Requests(lab.path("e"), features=F_FLUSH | F_CONFIG_WCE) as driver:
        expect(field(driver) == b"\1", "it begins otherwise")
        for value in (b"\0", b"\1"):
            expect(not driver.peer.ack(SET_CONFIG, struct.pack("=III", WRITEBACK, 1, 0) + value), "it cannot be switched")
            Taker(blkd, VERSION).dies_after(2)
            expect(driver.one(OUT, data=bytes(SECTOR)) == OK and field(driver) == value, "the old one has forgotten it")
            for _ in range(2):
                blkd.hand_over()
                expect(driver.one(OUT, data=bytes(SECTOR)) == OK and field(driver) == value, f"it was {value} before the hand-over")
        driver.peer.ack(SET_CONFIG, struct.pack("=III", WRITEBACK, 1, 0) + b"\0")
        blkd.hand_over()
    with Requests(lab.path("e"), features=F_FLUSH | F_CONFIG_WCE) as driver:
        expect(driver.one(OUT, data=bytes(SECTOR)) == OK and field(driver) == b"\1", "the next driver has its setting")
    end_well(blkd)


@case
def a_qemu_guest_reads_what_it_has_written_over_hand_overs(lab):
    """Linux's own driver, on split and packed rings of two queues each: QEMU is told nothing, and connects to nobody anew."""
    need_program(QEMU)
    rings = {"split": {}, "packed": {"packed": "on"}}
    for name in rings:
        made_file(lab.path(name + ".img"), 16)
    blkd = Blkd(lab, [f"{name}=file:{lab.path(name + '.img')}" for name in rings], [f"vhost-user:{lab.path(name)},disk={name}" for name in rings],
                ["--workers", "2"])
    drives = [Drive(lab.path(name), 2, properties) for name, properties in rings.items()]
    guest = Guest(lab, "guest", cpus=2, extra=arguments(drives)).ready()
    writers = [Writers(guest, disk, 1) for disk in ("vda", "vdb")]
    for load in writers:
        load.go_on(0, blkd.child)
    for _ in range(GUEST_ROUNDS):
        before = [load.rounds() for load in writers]
        blkd.hand_over("--workers", "2")
        for load, rounds in zip(writers, before):
            load.go_on(rounds, blkd.child)
        with open(blkd.child.log, errors="replace") as log:
            text = log.read()
        expect("connected at" not in text and "disconnected" not in text, text)
    for load in writers:
        load.end()
    print(f"    {GUEST_ROUNDS} hand-overs, {sum(load.rounds() for load in writers)} rounds of writes read back", flush=True)
    end_well(blkd)
    pauses_told(blkd, GUEST_ROUNDS)


@case
def what_a_slow_disk_has_under_way_is_done_once(lab):
    """Before the hand-over: nobody else could show it to its driver."""
    blkd, load = one(lab, ",slow-ms=200")
    for _ in range(3):
        blkd.hand_over()
        load.goes_on()
    load.end()
    end_well(blkd)


# ---- what fails ----


@case
def successor_that_dies_half_way_leaves_the_old_one_running(lab):
    """Or that says what it should not, or nothing: requests go on, and the file is still this one's."""
    blkd, load = one(lab)
    for parcels, answer in ((0, b""), (1, b""), (2, b""), (3, b""), (3, b"x" * 64), (3, head(77)), (3, head(READY, 1 << 31))):
        Taker(blkd, VERSION).dies_after(parcels, answer)
        load.goes_on()
        expect(locked(lab.path("disk.img")), "its file is free")
    taker = Taker(blkd, VERSION)
    for _ in range(3):
        parcel(taker.sock)
    expect(parcel(taker.sock) == (NOT, b"the process that was to take over does not answer"), "it says something else")
    load.goes_on()
    wait_until(lambda: open(blkd.child.log).read().count("not handed over, and going on") == 8, 20, "it says so each time")
    blkd.hand_over()
    load.goes_on()
    load.end()
    end_well(blkd)


@case
def what_cannot_be_handed_over_keeps_the_old_one(lab):
    """And nothing is stopped for that."""
    blkd, load = one(lab)
    made_file(lab.path("f.img"), 1)
    for spec, why in (("m=mem:1M", "disk 'm' cannot be handed over: what it holds is in this process alone"),
                      (f"m=file:{lab.path('f.img')},forget=1M", "disk 'm' cannot be handed over: forget= holds back")):
        blkd.ctl("disk", "add", spec)
        fails(blkd, load, why)
        blkd.ctl("disk", "remove", "m")
    expect("not handed over" not in open(blkd.child.log).read(), "something was stopped")
    blkd.hand_over()
    load.goes_on()
    load.end()
    end_well(blkd)


@case
def another_file_at_the_path_keeps_the_old_one(lab):
    """Of the same size. With lock=running the new one opens the path itself: it has to be the file that its driver writes to."""
    for key in ("", ",lock=running"):
        blkd, load = one(lab, key)
        os.link(lab.path("disk.img"), lab.path("kept.img"))
        made_file(lab.path("other.img"), 1)
        os.rename(lab.path("other.img"), lab.path("disk.img"))
        fails(blkd, load, "what is handed over is not this file, opened as it is to be")
        os.rename(lab.path("kept.img"), lab.path("disk.img"))
        blkd.hand_over()
        load.goes_on()
        load.end()
        end_well(blkd)


# ---- an old one of our own ----


def state(disks=(), exports=(), version=VERSION, **more):
    return json.dumps({"version": version, "disks": list(disks), "exports": list(exports), **more}).encode()


def disk(spec, fd=False, limits="off", size=1 << 20):
    return {"spec": spec, "limits": limits, "size": size, "fd": fd}


@case
def state_that_lies_is_refused_and_its_owner_goes_on(lab):
    """Cut, foreign, of another version, or saying what cannot be; fds that are not the file, opened as it is to be. One line, and all is left alone."""
    old, path = Old(lab, "vireo-blkd", VERSION), made_file(lab.path("disk.img"), 1)
    made_file(lab.path("other.img"), 1)
    control, file, export = [old.server.fileno()], f"a=file:{path}", {"spec": f"vhost-user:{lab.path('e')},disk=a"}
    owner = open(path, "rb+", buffering=0)
    fcntl.fcntl(owner, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
    reader, other, folder = open(path, "rb"), open(lab.path("other.img"), "rb+"), os.open(lab.folder, os.O_RDONLY)
    held, null = (STATE, state([disk(file, True)]), control), disk("a=null:1M")
    running = (STATE, state([disk(file + ",lock=running", True)]), control)
    not_this = "what is handed over is not this file, opened as it is to be"
    lies = [
        ([(STATE, b"{", control)], "no JSON"),
        ([(STATE, b"[]", control)], "of version 0"),
        ([(STATE, state(version=VERSION + 1), control)], f"of version {VERSION + 1}"),
        ([(STATE, json.dumps({"version": VERSION, "disks": []}).encode(), control)], f"of version {VERSION}"),
        ([(STATE, state(), [])], "no control socket"),
        ([(STATE, state(), [reader.fileno()])], "no control socket"),
        ([(STATE, state([7]), control)], "a disk without its SPEC"),
        ([(STATE, state([disk("null:1M")]), control)], "expected NAME=TYPE:ADDRESS"),
        ([(STATE, state([disk("a=null:1M", limits="much")]), control)], "much"),
        ([(STATE, state([disk("a=null:1M", limits=None)]), control)], "a disk without its SPEC or its limits"),
        ([(STATE, state([disk("a=null:1M", size=512)]), control)], "disk 'a' has another size by now: try again"),
        ([(STATE, state([null, null]), control)], "there is a disk 'a' already"),
        ([(STATE, state([disk(file)]), control)], "uses it"),  # nobody has given it the lock
        ([held, (PART, b"", [])], "a disk is not handed over so"),
        ([held, (PART, b"x", [owner.fileno()])], "a disk is not handed over so"),
        ([held, (PART, b"", [owner.fileno()] * 2)], "a disk is not handed over so"),
        ([held, (PART, b"", [other.fileno()])], not_this),
        ([held, (PART, b"", [reader.fileno()])], not_this),
        ([held, (PART, b"", [folder])], not_this),
        ([held, (PART, b"", control)], not_this),
        ([(STATE, state([disk(file + ",direct=on", True)]), control), (PART, b"", [owner.fileno()])], not_this),
        ([running, (PART, b"", [other.fileno()])], not_this),
        ([running, (PART, b"", [reader.fileno()])], not_this),
        ([running, (PART, b"", [])], "a disk is not handed over so"),
        ([held], "does not come"),
        ([(STATE, state([disk(file, True)], [export]), control), (PART, b"", [owner.fileno()]), (PART, b"", [])], "is refused: it is cut short"),
        ([(STATE, state([null], [7]), control)], "an export without its SPEC"),
        ([(STATE, state([], [export]), control), (PART, b"", [])], "there is no disk 'a'"),
        ([(STATE, state([null], [{"spec": "vhost-user:"}]), control), (PART, b"", [])], "nothing after the colon"),
        ([(STATE, state([null], [{"spec": "vduse:x,disk=a"}]), control), (PART, b"", [])], "of a type that is not handed over"),
        ([(STATE, state([null], [export]), control), (PART, b"", [])], "is refused: it is cut short"),
        ([(STATE, state([null], [export]), control), (PART, b"vireohnd" + struct.pack("=IIII", 9, 1, 0, 0), [])], "its version is not known"),
        ([(STATE, state([null], [export, export]), control)], "does not come"),
        ([(PART, b"", [])], "something else"),
        ([(NOT, b"for a reason", [])], "for a reason"),
        ([], "does not come"),
    ]
    for parcels, why in lies:
        child = old.start()
        with old.answers(result={}) as taker:
            for kind, data, fds in parcels:
                give(taker, kind, data, fds)
            taker.shutdown(socket.SHUT_WR)
            expect(child.wait(30) == 1, f"it has ended well: {why}")
        says(child, "not taken over", why)
        expect(not os.path.exists(lab.path("e")) and os.path.exists(old.control), f"paths are not what they were: {why}")
        expect(locked(path), f"the lock has gone: {why}")
    for one_of_them in (owner, reader, other):
        one_of_them.close()
    os.close(folder)


@case
def last_word_decides_who_goes_on(lab):
    """If there is none the one that handed over was killed, and whoever has answered has everything, the lock with it."""
    old, path = Old(lab, "vireo-blkd", VERSION), made_file(lab.path("disk.img"), 1)
    for words, status in (([NOT], 1), ([77], 1), ([], None)):
        owner = open(path, "rb+", buffering=0)
        fcntl.fcntl(owner, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        child = old.start()
        with old.answers(result={}) as taker:
            give(taker, STATE, state([disk(f"a=file:{path}", True)], more="of a later one"), [old.server.fileno()])
            give(taker, PART, b"", [owner.fileno()])
            expect(parcel(taker)[0] == READY, "it does not answer")
            for word in words:
                give(taker, word)
            if status is not None:
                expect(child.wait(30) == status, f"{words}: it has ended well")
                says(child, "not taken over")
                expect(locked(path), "the lock has gone")
        if status is None:
            wait_until(lambda: "ready: 1 disks" in open(child.log).read(), 20, "it says what it has")
            known = subprocess.run([program("vireoctl"), "-s", old.control, "--daemon", "blkd", "disk", "list"], capture_output=True, text=True, timeout=30)
            expect("file" in known.stdout and locked(path), f"{known}")
            lab.stop(child)
            expect(not locked(path), "it ends, and does not let go of a lock that is its own, whoever else has the open file")
        owner.close()


@case
def successor_that_is_asked_to_end_leaves_the_old_one(lab):
    """While it waits for what a slow one hands over: it does not take it, only to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        old = Old(lab, "vireo-blkd", VERSION, f"{number}.control")
        child = old.start()
        with old.answers(result={}) as taker:
            child.send_signal(number)
            give(taker, STATE, state([disk("a=null:1M")]), [old.server.fileno()])
            expect(receive(taker, 1) == b"", "it answers")
        expect(child.wait(30) == 1, "it has ended well")
        says(child, "not taken over: this process was asked to end")
        expect(os.path.exists(old.control), "its socket was taken away")


if __name__ == "__main__":
    main()
