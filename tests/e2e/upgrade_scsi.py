#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A vireo-scsid is replaced by another process while its drivers write and read (--takeover): what its logical units hold for their initiators goes along."""
import fcntl
import json
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import BACK_S, Writers, made_file  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import QEMU, Guest  # noqa: E402
from guest.request_load import Load  # noqa: E402
from guest.requests import SECTOR, ScsiRequests  # noqa: E402
from guest.scsi import MODULES, Host, Scsid, addresses, arguments  # noqa: E402
from guest.takeover import PART, READY, STATE, Old, Taker, asks, give, head, pauses_told, receive, says  # noqa: E402
from peer import DATA, GPA, WRITE  # noqa: E402  # of the hostile tests, which guest/front.py has found

ROUNDS = int(os.environ.get("VIREO_ROUNDS", 10))
GUEST_ROUNDS = int(os.environ.get("VIREO_ROUNDS", 3))  # a guest may be emulated
VERSION = 1002  # apps/vireo-scsid/handover.h
GOOD, CHECK, CONFLICT = 0, 2, 0x18
HOTPLUG = 1 << 1


class Luns(Load):
    """At target 0, LUN 0."""

    def __init__(self, path):
        super().__init__(path, front=ScsiRequests)


def served(lab, disks="ab", options=()):
    """A daemon with a host for each disk, in a file, that is target 0, LUN 0 of it; its reservations are kept."""
    for name in disks:
        made_file(lab.path(f"{name}.img"), 1)
    os.makedirs(lab.path("state"), exist_ok=True)
    return Scsid(lab, [f"{name}=file:{lab.path(name + '.img')}{',io=threads' if name == 'b' else ''}" for name in disks],
                 [f"vhost-user:{lab.path(name)}" for name in disks], [f"{name}/0:0={name}" for name in disks], ["--state", lab.path("state"), *options])


def order(host, action, key=0, new=0, type_=0, aptpl=0):
    """PERSISTENT RESERVE OUT: its status."""
    return host.command([0x5f, action, type_, 0, 0, 0, 0, 0, 24, 0], struct.pack(">QQ4xB3x", key, new, aptpl))[0]


def keys(host):
    """READ KEYS: the generation, and the keys."""
    status, _, data = host.command([0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0], room=64)
    expect(status == GOOD, f"READ KEYS ends with {status:#x}")
    generation, length = struct.unpack_from(">II", data)
    return generation, list(struct.unpack_from(f">{length // 8}Q", data, 8))


def kept(lab, name="a"):
    with open(lab.path(f"state/{name}.reservations")) as file:
        return file.read()


@case
def ten_hand_overs_of_luns_under_load(lab):
    """Of disks by a ring and by threads, to as many workers or to others; each command is done once."""
    scsid = served(lab, options=("--workers", "2"))
    loads = [Luns(lab.path(name)) for name in "ab"]
    for load in loads:
        load.start()
    for number in range(ROUNDS):
        scsid.hand_over("--workers", str(1 + number % 2))
        for load in loads:
            load.goes_on()
    for load in loads:
        load.end()
    print(f"    {ROUNDS} hand-overs, {sum(load.done for load in loads)} commands, the slowest took "
          f"{max(load.slowest_s for load in loads) * 1000:.0f} ms", flush=True)
    end_well(scsid)
    pauses_told(scsid, ROUNDS)
    for load, name in zip(loads, "ab"):
        with open(lab.path(f"{name}.img"), "rb") as file:
            expect(all(file.read(SECTOR) == load.pattern(slot) for slot in range(load.front.depth)), f"{name}: what was written last is not there")


@case
def what_initiators_have_reserved_and_set_goes_with_it(lab):
    """Over two hand-overs, and over the end of the last process: it stores what has been reserved since."""
    made_file(lab.path("a.img"), 1)
    os.mkdir(lab.path("state"))
    scsid = Scsid(lab, [f"a=file:{lab.path('a.img')}"], [f"vhost-user:{lab.path(name)}" for name in "xy"],
                  [f"{name}/0:0=a,writers=many,serial=S1" for name in "xy"], ["--state", lab.path("state")])
    with ScsiRequests(lab.path("x"), 1) as x, ScsiRequests(lab.path("y"), 1) as y:
        expect(order(x, 6, new=7, aptpl=1) == GOOD and order(y, 6, new=8, aptpl=1) == GOOD and order(x, 1, key=7, type_=3) == GOOD, "not reserved")
        status, sense, _ = x.command([0x15, 0x10, 0, 0, 16, 0], bytes([0, 0, 0, 0, 0x0a, 10, 4, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0]))  # D_SENSE
        expect(status == GOOD, f"MODE SELECT ends with {status:#x}, {sense.hex()}")
        before = keys(x), scsid.ask("lun", "list")
        for number in range(2):
            Taker(scsid, VERSION).dies_after(3)  # the old one goes on with all of it
            scsid.hand_over("--state", "/nowhere")
            expect((keys(x), scsid.ask("lun", "list")) == before, "keys or LUNs are others")
            if number == 0:  # it is told, once, that the pages have changed
                status, sense, _ = y.command([0])
                expect(status == CHECK and sense[0] == 0x72 and sense[2:4] == b"\x2a\x01", f"{status:#x}, {sense.hex()}")
            expect(y.command([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], room=512)[0] == CONFLICT, "who is kept out reads")
            status, sense, _ = y.command([0x5e, 9])
            expect(status == CHECK and sense[0] == 0x72 and sense[2:4] == b"\x24\x00", f"{status:#x}, {sense.hex()}")
            expect(x.command([0])[0] == GOOD, "it has been told twice that the power was off")
        expect(f"key {8:016x}" in kept(lab), kept(lab))
        expect(order(y, 6, new=9, aptpl=1) == GOOD and f"key {9:016x}" in kept(lab), "the new one does not keep what is reserved")
    scsid.kill()
    scsid.start()
    with ScsiRequests(lab.path("x"), 1) as x:
        expect(sorted(keys(x)[1]) == [7, 9], f"{keys(x)}")
    end_well(scsid)


@case
def an_event_that_waits_for_a_buffer_is_told_by_the_next_process(lab):
    """And a LUN that another hand-over brings is none that has been added."""
    scsid = served(lab)
    with ScsiRequests(lab.path("a"), 1, HOTPLUG) as host:
        scsid.ctl("disk", "add", "late=null:1M")
        scsid.ctl("lun", "add", "a/7:0=late")
        for _ in range(2):
            scsid.hand_over()
        ring = host.peer.ring(1, 8)
        for number in range(2):
            ring.chain([(GPA + DATA + 0x8000 + 16 * number, 16, WRITE)], number)
        wait_until(ring.used_now, 20, "an event is told")
        event = bytes(host.peer.memory[DATA + 0x8000:DATA + 0x8010])
        expect(event == struct.pack("<I8sI", 1, bytes([1, 7, 0, 0, 0, 0, 0, 0]), 1), event.hex())
        expect(host.command([0])[0] == GOOD, "it serves no more")
        expect(ring.used_now() == 1, "more than one event is told")
    end_well(scsid)


@case
def a_qemu_guest_keeps_its_luns_over_hand_overs(lab):
    need_program(QEMU)
    scsid = served(lab, "a")
    guest = Guest(lab, "guest", extra=arguments([Host(lab.path("a"))]), modules=MODULES).ready()
    wait_until(lambda: "0:0" in addresses(guest), BACK_S, "the guest finds its LUN", child=guest.child)
    load = Writers(guest, addresses(guest)["0:0"], 1)
    load.go_on(0, scsid.child)
    for _ in range(GUEST_ROUNDS):
        before = load.rounds()
        scsid.hand_over()
        load.go_on(before, scsid.child)
    scsid.ctl("disk", "add", "late=null:1M")
    scsid.ctl("lun", "add", "1:0=late")
    wait_until(lambda: "1:0" in addresses(guest), BACK_S, "the guest finds another one", child=guest.child)
    load.end()
    said = guest.check("dmesg")
    expect(said.count("0:0:0:0: Power-on") <= 1 and "I/O error" not in said, said)
    end_well(scsid)
    pauses_told(scsid, GUEST_ROUNDS)


# ---- what fails ----


@case
def successor_of_luns_that_dies_half_way_leaves_the_old_one_running(lab):
    """With the lock of what it keeps."""
    scsid = served(lab, "a")
    load = Luns(lab.path("a"))
    load.start()
    for parcels, answer in ((0, b""), (1, b""), (2, b""), (3, b""), (4, b"x" * 64), (4, head(77)), (4, head(READY, 1 << 31))):
        Taker(scsid, VERSION).dies_after(parcels, answer)
        load.goes_on()
        with open(lab.path("state/a.reservations.lock")) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            expect(False, "the lock is free")
    scsid.ctl("disk", "add", "m=mem:1M")
    child = scsid.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "disk 'm' cannot be handed over")
    scsid.ctl("disk", "remove", "m")
    expect("version 1002" in asks(scsid, lab.path("none"), 2)["error"]["message"], "vireo-blkd may have it")
    scsid.hand_over()
    load.goes_on()
    load.end()
    end_well(scsid)


def unit_holds(key="", **more):
    """What a LUN of disk "a" with serial=S1 holds, whose NAA is the FNV-1a of that; each member may be another."""
    naa = 0xcbf29ce484222325
    for byte in b"S1":
        naa = (naa ^ byte) * 0x100000001b3 & (1 << 64) - 1
    naa = 3 << 60 | (naa ^ naa >> 60) % (1 << 60)
    holds = f"vireo-unit 1\nmodes 0 0 0\nstopped 0\nkept 0\nvireo-reservations 1\nunit naa.{naa:016x}\ngeneration 0\n{key}"
    return {"disk": "a", "holds": holds, "lock": False, "luns": [lun()], **more}


def lun(spec="e/0:0=a,serial=S1", holds="vireo-lun 1\nattentions 0\n"):
    return {"spec": spec, "holds": holds}


def disk(spec):
    return {"spec": spec, "limits": "off", "size": 1 << 20, "fd": False}


def without(json_object, member):
    return {key: value for key, value in json_object.items() if key != member}


def state(*units, folder=None, **more):
    said = {"version": VERSION, "disks": [disk("a=null:1M"), disk("b=null:1M")], "exports": [], "more": {"state": folder, "units": list(units)}, **more}
    return json.dumps(said).encode()


@case
def state_of_luns_that_lies_is_refused(lab):
    """One line, and it ends; what has come before it has not been served."""
    old = Old(lab, "vireo-scsid", VERSION)
    control, folder = [old.server.fileno()], lab.path("state")
    os.mkdir(folder)
    mine, theirs = (open(f"{folder}/{name}.reservations.lock", "w") for name in "ab")
    fcntl.flock(mine, fcntl.LOCK_EX)
    stranger = open(f"{folder}/a.reservations.lock")
    no_export = "there is no export"
    lies = [
        (state(version=2), [], "of version 2, and not of 1002"),
        (state(more=7), [], "it does not say which logical units it has"),
        (state(more={"units": []}), [], "it does not say which logical units it has"),
        (state(folder="relative"), [], "it does not say which logical units it has"),
        (state(7), [], "a unit without a disk"),
        (state(unit_holds(disk="c")), [], "a unit without a disk"),
        (state(without(unit_holds(), "disk")), [], "a unit without a disk"),
        (state(unit_holds(luns=[])), [], "without LUNs"),
        (state(unit_holds(luns=[7])), [], "a LUN without its SPEC"),
        (state(unit_holds(luns=[lun("e/0:0")])), [], "expected [EXPORT/]TARGET:LUN=DISK"),
        (state(unit_holds(luns=[lun("e/0:0=b")])), [], "a LUN is that of another disk"),
        (state(unit_holds()), [], no_export),
        (state(unit_holds(), folder=folder), [], no_export),
        (state(unit_holds(lock=True), folder=folder), [theirs.fileno()], "is not the lock of the reservations of disk 'a'"),
        (state(unit_holds(lock=True), folder=folder), [stranger.fileno()], "is not the lock of the reservations of disk 'a'"),
        (state(unit_holds(lock=True), folder=folder), [mine.fileno(), mine.fileno()], "is not the lock"),
        (state(unit_holds(lock=True)), [mine.fileno()], "is not the lock of the reservations"),
        (state(unit_holds(lock=True), folder=folder), [mine.fileno()], no_export),
    ]
    for text, fds, why in lies:
        child = old.start("--export", f"vhost-user:{lab.path('e')}")
        with old.answers(result={}) as taker:
            give(taker, STATE, text, control)
            if fds:
                give(taker, PART, b"", fds)
            expect(receive(taker, 1) == b"", f"{why}: it answers")
        expect(child.wait(30) == 1, "it has ended well")
        says(child, "not taken over", why)
        with open(child.log) as log:
            said = [line for line in log if " error " in line]
        expect(len(said) == 1, f"{said}")
        with open(f"{folder}/a.reservations.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                expect(False, "the lock has gone")
            except OSError:
                pass
    mine.close()
    theirs.close()
    stranger.close()


if __name__ == "__main__":
    main()
