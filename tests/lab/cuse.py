#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vhost character devices (CUSE) under a real kernel: a client of our own for every call and every lie, and QEMU's vhost-scsi. Its
network cards are in doors.py and machines.py."""
import os
import shlex
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.bootsector import writer_image  # noqa: E402
from guest.cases import Skip, case, expect, main, need_program, shared  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.qemu import QEMU  # noqa: E402
from guest.switch import CONTROL, LOG, NO_REFUSAL, build_folder, program, start_inside  # noqa: E402
from guest.takeover import pauses_shown  # noqa: E402

ROUNDS = int(os.environ.get("VIREO_ROUNDS", 3))  # the guest may be emulated
CLIENT = os.path.join(build_folder(), "tests/lab/cuse_client")


def lab_guest(lab, modules):
    if not os.path.exists(CLIENT):
        raise Skip("cuse_client has not been built (option tests)")
    return LabGuest(lab, modules=modules).ready()


def usual_guest():
    return shared("usual", lambda lab: lab_guest(lab, ["cuse"]))


def switch_start(guest, *ports):
    """A switch with these ports, whose nodes are there when this returns."""
    start_inside(guest, ports, seconds=40)


def switch_end(guest):
    """It ends well, and so do its nodes."""
    log = guest.check(f"kill $(cat /run/switchd.pid); for i in $(seq 200); do kill -0 $(cat /run/switchd.pid) 2>/dev/null || break; "
                      f"sleep 0.1; done; cat {LOG}; ! kill -0 $(cat /run/switchd.pid) 2>/dev/null")
    expect("Sanitizer" not in log and "Assertion" not in log, log)
    guest.check(NO_REFUSAL)
    expect(guest.check("ls /sys/class/cuse").strip() == "", "a node was left behind")
    return log


def client(guest, words, seconds=90):
    return guest.check(f"{CLIENT} {words}", seconds=seconds)


@case(shows=[("CUSE", "split")])
def frames_pass_between_two_nodes(_lab):
    guest = usual_guest()
    switch_start(guest, "cuse:vm1,user=7,group=8,perm=0620", "cuse:vm2")
    shown = guest.check("stat -c '%a %u %g %F' /dev/vm1").strip()
    expect(shown == "620 7 8 character special file", shown)
    for _ in range(3):
        expect("frames: 200" in client(guest, "frames /dev/vm1 /dev/vm2 200"), "frames")
    listed = guest.check(f"{program('vireoctl')} -s {CONTROL} port list")
    expect("cuse" in listed and "waiting" in listed, listed)
    switch_end(guest)


def hand_over(guest):
    """To a new process, which is the switch from then on."""
    guest.check(f"old=$(cat /run/switchd.pid); {program('vireo-switchd')} --control {CONTROL} --takeover >>{LOG} 2>&1 & new=$!\n"
                "for i in $(seq 400); do kill -0 $old 2>/dev/null || break; kill -0 $new 2>/dev/null || break; sleep 0.05; done\n"
                f"if kill -0 $old 2>/dev/null || ! kill -0 $new; then cat {LOG}; exit 1; fi; echo $new >/run/switchd.pid", seconds=60)


@case(shows=[("CUSE", "split")])
def a_switch_is_replaced_under_its_callers(_lab):
    """Rings go on where they stood, open files go on being what they were, and new ones are opened of the same nodes."""
    guest = usual_guest()
    switch_start(guest, "cuse:vm1", "cuse:vm2", "cuse:other,queues=2")
    guest.check(f"{CLIENT} frames /dev/vm1 /dev/vm2 1000000 >/run/frames.log 2>&1 & echo $! >/run/frames.pid; "
                f"{CLIENT} hold /dev/other >/run/hold.log 2>&1 & echo $! >/run/hold.pid")
    listed = f"{program('vireoctl')} -s {CONTROL} --json port show vm2"
    guest.check(f"for i in $(seq 200); do {listed} | grep -q '\"rx_frames\": *[1-9][0-9]' && exit 0; sleep 0.1; done; exit 1", seconds=40)
    for _ in range(ROUNDS):
        hand_over(guest)
        expect("connected" in guest.check(listed), "its caller is not there any more")
    said = guest.check("kill $(cat /run/frames.pid) $(cat /run/hold.pid); for i in $(seq 100); do kill -0 $(cat /run/frames.pid) 2>/dev/null "
                       "|| break; sleep 0.1; done; cat /run/frames.log", seconds=40)
    expect("frames: " in said and "each way" in said, said)
    print(f"    {ROUNDS} hand-overs, {said.strip()}", flush=True)
    expect("frames: 20" in client(guest, "frames /dev/vm1 /dev/vm2 20"), "frames")
    client(guest, "pairs /dev/other 2")
    log = switch_end(guest)
    expect(log.count("handed over to process") == ROUNDS, log)
    pauses_shown(log, ROUNDS)


@case
def every_lie_gets_its_errno(_lab):
    guest = usual_guest()
    switch_start(guest, "cuse:vm1", "cuse:vm2")
    for _ in range(2):
        expect("lies: all refused" in client(guest, "lies /dev/vm1"), "lies")
    client(guest, "frames /dev/vm1 /dev/vm2 20")
    log = switch_end(guest)
    expect("use share=on" in log, log)


def held(guest):
    """How many fds the switch has, and mappings of callers' memory."""
    return guest.check("pid=$(cat /run/switchd.pid); echo $(ls /proc/$pid/fd | wc -l) $(grep -c memfd:guest /proc/$pid/maps)").split()


@case
def an_honest_pair_goes_on_beside_a_liar(_lab):
    guest = usual_guest()
    switch_start(guest, "cuse:vm1", "cuse:vm2", "cuse:liar")
    before = None
    for _ in range(3):
        guest.check(f"{CLIENT} frames /dev/vm1 /dev/vm2 500 >/run/frames.log 2>&1 & echo $! >/run/frames.pid")
        expect("lies: all refused" in client(guest, "lies /dev/liar"), "lies")
        expect("rings: all noticed" in client(guest, "rings /dev/liar"), "rings")
        guest.check("pid=$(cat /run/frames.pid); for i in $(seq 600); do kill -0 $pid 2>/dev/null || break; sleep 0.1; done; "
                    "cat /run/frames.log; grep -q 'frames: 500' /run/frames.log", seconds=80)
        # The first round may leave what is kept for the next. What a caller owns is closed and unmapped by a thread of its own.
        wait_until(lambda: held(guest)[1] == "0" and (before is None or int(held(guest)[0]) <= int(before[0])), 30,
                   f"fds and mappings come down to {before or 'no mappings'}", step=0.5)
        before = held(guest)
    switch_end(guest)


@case
def a_file_whose_server_is_stuck_stops_nobody(lab):
    need_program("qemu-storage-daemon")
    guest = lab_guest(lab, ["cuse", "fuse"])
    switch_start(guest, "cuse:vm1", "cuse:vm2", "cuse:liar")
    guest.check("cd /run && truncate -s 1M image && touch served && { qemu-storage-daemon --blockdev file,node-name=n,filename=image "
                "--export fuse,id=e,node-name=n,mountpoint=/run/served,writable=on >served.log 2>&1 & echo $! >served.pid; }; "
                "for i in $(seq 100); do grep -q fuse.*/run/served /proc/mounts && exit 0; sleep 0.1; done; cat served.log; exit 1")
    guest.check("mkfifo /run/go; sleep 600 >/run/go & echo $! >/run/sleep.pid; "
                f"{CLIENT} stuck /dev/liar /run/served $(cat /run/served.pid) </run/go >/run/stuck.log 2>&1 & echo $! >/run/stuck.pid; "
                "for i in $(seq 300); do grep -q 'refused without asking' /run/stuck.log && exit 0; sleep 0.1; done; "
                "cat /run/stuck.log; kill -CONT $(cat /run/served.pid); exit 1", seconds=60)
    expect("frames: 50" in client(guest, "frames /dev/vm1 /dev/vm2 50"), "frames")
    guest.check("grep -q '^State:.*stopped' /proc/$(cat /run/served.pid)/status; echo >/run/go; "
                "tail --pid=$(cat /run/stuck.pid) -f /dev/null; kill $(cat /run/sleep.pid) $(cat /run/served.pid)")
    switch_end(guest)


@case
def openers_of_a_process_are_pairs_of_a_port(_lab):
    guest = usual_guest()
    switch_start(guest, "cuse:vm1,queues=3")
    expect("pairs: 3" in client(guest, "pairs /dev/vm1 3"), "pairs")
    guest.check(f"{CLIENT} hold /dev/vm1 >/run/hold.log 2>&1 & echo $! >/run/hold.pid; "
                "for i in $(seq 100); do grep -q held /run/hold.log && exit 0; sleep 0.1; done; exit 1")
    refused = guest.run(f"{CLIENT} second /dev/vm1")
    expect(refused.status == 1 and "busy" in refused.output.lower(), f"another process: {refused}")
    guest.check("kill -9 $(cat /run/hold.pid)")
    guest.check(f"for i in $(seq 50); do {CLIENT} second /dev/vm1 && exit 0; sleep 0.1; done; exit 1")
    switch_end(guest)


@case
def callers_that_are_killed_leave_the_node_in_order(_lab):
    guest = usual_guest()
    switch_start(guest, "cuse:vm1", "cuse:vm2")
    for _ in range(10):  # each but the first may have to wait for the end of the one before
        guest.check("for try in $(seq 50); do\n"
                    f"{CLIENT} hold /dev/vm1 >/run/hold.log 2>&1 & pid=$!\n"
                    "for i in $(seq 100); do\n"
                    "grep -q held /run/hold.log && { kill -9 $pid; rm /run/hold.log; exit 0; }\n"
                    "kill -0 $pid 2>/dev/null || break\n"
                    "sleep 0.1; done\n"
                    "sleep 0.1; done\n"
                    "cat /run/hold.log; exit 1", seconds=60)
    client(guest, "frames /dev/vm1 /dev/vm2 50")
    switch_end(guest)


@case
def a_switch_that_is_killed_lets_go_of_its_callers(_lab):
    guest = usual_guest()
    switch_start(guest, "cuse:vm1", "cuse:vm2")
    for what in "outlive", "wait":  # one that asks again and again, and one that is in the middle of a read
        guest.check(f"{CLIENT} {what} /dev/vm{1 if what == 'outlive' else 2} >/run/{what}.log 2>&1 & "
                    f"for i in $(seq 100); do grep -q held /run/{what}.log && exit 0; sleep 0.1; done; cat /run/{what}.log; exit 1")
    guest.check("kill -9 $(cat /run/switchd.pid); sleep 0.5; ! ls /dev/vm1 2>/dev/null")
    for what in "outlive", "wait":
        guest.check(f"for i in $(seq 100); do grep -q 'gone: ' /run/{what}.log && exit 0; sleep 0.1; done; cat /run/{what}.log; exit 1")
    switch_start(guest, "cuse:vm1", "cuse:vm2")
    client(guest, "frames /dev/vm1 /dev/vm2 50")
    switch_end(guest)


def example_start(guest, name, *words):
    argv = " ".join([os.path.join(build_folder(), "examples", name), *words])
    guest.check(f"{argv} >/run/example.log 2>&1 & echo $! >/run/example.pid; "
                "for i in $(seq 100); do test -c /dev/example && exit 0; sleep 0.1; done; cat /run/example.log; exit 1")


def example_end(guest):
    guest.check("kill $(cat /run/example.pid); for i in $(seq 200); do test -c /dev/example || exit 0; sleep 0.1; done; exit 1")


@case
def the_examples_serve_a_node_by_their_address_alone(_lab):
    guest = usual_guest()
    example_start(guest, "vireo-rng", "cuse:example")
    for _ in range(2):
        expect("rng: 100 buffers" in client(guest, "rng /dev/example"), "entropy")
        expect("iommu: 11 misses, and 11 again" in client(guest, "iommu /dev/example"), "entropy behind an IOMMU")
    example_end(guest)
    example_start(guest, "vireo-pong", "cuse:example", "10.7.0.2")
    for _ in range(2):
        expect("ping: 100 answers" in client(guest, "ping /dev/example 100"), "pings")
    example_end(guest)


def refused(guest, spec, words):
    result = guest.run(f"{program('vireo-switchd')} --control {CONTROL}2 --port {spec} 2>&1", seconds=30)
    expect(result.status == 1 and words in result.output and result.output.count("\n") == 1, f"{spec}: {result}")


@case
def what_is_missing_is_named(lab):
    guest = lab_guest(lab, [])
    refused(guest, "cuse:vm1", "modprobe cuse")
    guest.check("modprobe cuse")
    switch_start(guest, "cuse:vm1")
    refused(guest, "cuse:vm1", "choose another name")
    refused(guest, "cuse:null", "choose another name")
    result = guest.run(f"setpriv --reuid 65534 --clear-groups {program('vireo-switchd')} --control /tmp/s --port cuse:vm2 2>&1")
    expect(result.status == 1 and "run as root" in result.output and result.output.count("\n") == 1, f"as nobody: {result}")
    switch_end(guest)


@case
def a_caller_outside_our_pid_namespace_is_refused(_lab):
    guest = usual_guest()
    start_inside(guest, ["cuse:vm1"], before="unshare --pid --fork --mount-proc")
    result = guest.run(f"{CLIENT} second /dev/vm1")
    expect(result.status == 1, f"taken: {result}")
    expect("pid namespace" in guest.check(f"cat {LOG}"), "no line in the log")
    guest.check("/run/lab/busybox killall vireo-switchd; for i in $(seq 200); do test -c /dev/vm1 || exit 0; sleep 0.1; done; exit 1")


# ---- vhost-scsi ----

WWPN = "naa.5001405bd453b1d7"
MACHINE_S = 300  # an emulated machine in an emulated machine, on a loaded one; 10 to 25 are usual
MACHINE = shlex.join([QEMU, "-M", "q35,memory-backend=mem", "-accel", "tcg,tb-size=64", "-cpu", "qemu64", "-m", "32",
                      "-object", "memory-backend-memfd,id=mem,size=32M,share=on", "-nodefaults", "-no-user-config", "-display", "none",
                      "-serial", "file:/tmp/machine.serial", "-device",
                      f"vhost-scsi-pci,vhostfd=5,wwpn={WWPN},num_queues=1,vectors=0,disable-legacy=on,bootindex=1"])


def scsid_run(lab):
    """The shell's commands for a target with one LUN, and a machine that boots from it until it says how that has ended."""
    writer_image(lab.path("boot.img"), 4, lab.path("wanted.img"))
    return f"""rm -f /tmp/machine.serial
cp {lab.path("boot.img")} /tmp/boot.img
ctl="timeout 30 {program("vireoctl")} --daemon scsid"
{program("vireo-scsid")} --disk boot=file:/tmp/boot.img --export cuse:host,wwpn={WWPN},perm=0600 --lun 0:0=boot >/tmp/scsid.log 2>&1 &
scsid=$!
until grep -q ready: /tmp/scsid.log && test -c /dev/host; do kill -0 $scsid; sleep 0.1; done
[ $(stat -c %a /dev/host) = 600 ]
exec 5<>/dev/host
{MACHINE} >/tmp/machine.log 2>&1 &
machine=$!
exec 5>&-
until grep -q '^written and read back' /tmp/machine.serial; do kill -0 $machine; if grep 'not as it' /tmp/machine.serial; then exit 1; fi; sleep 0.2; done
"""


@case(shows=[("CUSE", "split")])
def a_machine_of_qemu_boots_from_a_lun_of_vhost_scsi(_lab):
    """SeaBIOS finds it among 256 targets; what its boot sector writes it reads back, and it is in the file when the machine has ended."""
    need_program(QEMU)
    need_program("as")
    guest = usual_guest()
    done = guest.run(f"""set -e
{scsid_run(guest.lab)}
$ctl export list | grep -q connected
kill $machine
wait $machine || true
cmp /tmp/boot.img {guest.lab.path("wanted.img")}
until $ctl export list | grep -q waiting; do sleep 0.2; done
kill $scsid
wait $scsid
if grep -E ' (error|warning) |broken|Sanitizer' /tmp/scsid.log; then exit 1; fi
[ ! -e /dev/host ]""", MACHINE_S)
    if done.status:
        print(guest.run("cat /tmp/scsid.log /tmp/machine.log /tmp/machine.serial").output)
    expect(done.status == 0, done.output)


if __name__ == "__main__":
    main()
