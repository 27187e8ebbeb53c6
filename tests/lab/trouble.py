#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Doors in trouble: what somebody has done to a device, a node or a card by hand, or has not done, is told in a line that says the way
out, and taking that way helps. All in one guest."""
import json
import os
import shlex
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main, need_program, shared  # noqa: E402
from guest.labguest import Hub, LabGuest  # noqa: E402
from guest.switch import CONTROL, LOG, NO_REFUSAL, ROOT, build_folder, program, start_inside  # noqa: E402

MODULES = ["cuse", "fuse", "vduse", "virtio_vdpa", "virtio_net", "uio_pci_generic", "macvlan", "8021q", "bridge"]
MACS = ("52:54:00:00:1c:00", "52:54:00:00:1c:01")
CARD = "52:54:00:00:1c:0a"
CLIENT = os.path.join(build_folder(), "tests/lab/cuse_client")
VDPA = "/usr/sbin/vdpa"
WAIT = "wait_for() { for i in $(seq 300); do eval \"$1\" && return; sleep 0.1; done; echo \"not true: $1\"; cat " + LOG + "; exit 1; }\n"


def usual_guest():
    return shared("trouble", lambda lab: LabGuest(lab, nics=[Hub(0, CARD)], modules=MODULES).ready())


def ended(guest, how="-TERM"):
    """The daemon is gone; returns what it has said."""
    return guest.check(f"{WAIT}pid=$(cat /run/switchd.pid); kill {how} $pid; wait_for '! [ -e /proc/$pid/exe ]'; cat {LOG}; {NO_REFUSAL}", 60)


def refused(guest, spec, words, before="", absent="NAME"):
    """A start with this port fails, in one line with all these words."""
    done = guest.run(f"{before}timeout 30 {program('vireo-switchd')} --control /tmp/refused --port {spec} 2>&1", 60)
    expect(done.status == 1 and done.output.count("\n") == 1 and all(word in done.output for word in words), f"{spec}: {done}")
    expect(absent not in done.output, done.output)


def attached(guest, name, mac):
    guest.check(f"{WAIT}wait_for 'grep -q \"vduse:{name} attached\" {LOG}'; wait_for 'grep -lq {mac} /sys/class/net/*/address'", 60)


def need_client():
    if not os.path.exists(CLIENT):
        raise Skip("cuse_client has not been built (option tests)")


def need_vdpa():
    if not os.access(VDPA, os.X_OK):
        raise Skip("vdpa (of package iproute2) is not installed")


@case
def a_dead_daemon_s_device_taken_off_the_bus_is_made_anew(_lab):
    need_vdpa()
    guest = usual_guest()
    port = f"vduse:dead,mac={MACS[0]}"
    start_inside(guest, [port])
    attached(guest, "dead", MACS[0])
    ended(guest, "-KILL")
    # Its driver's last words wait for an answer, and the kernel gives the device up.
    guest.check(f"echo 1 >/sys/class/vduse/dead/msg_timeout; timeout 60 {VDPA} dev del dead; [ -e /dev/vduse/dead ]", 90)
    start_inside(guest, [port])
    attached(guest, "dead", MACS[0])
    shown = guest.check(f"{program('vireoctl')} -s {CONTROL} port list")
    expect("failed" not in shown, shown)
    log = ended(guest)
    expect("taken over" not in log and " error " not in log, log)
    guest.check('[ "$(echo /dev/vduse/*)" = /dev/vduse/control ] && [ ! -e /run/vireo/vduse-dead ]')


def manual_s(name):
    """The commands by which vireo-switchd(8) removes the device."""
    shown = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=500", f"{ROOT}/man/vireo-switchd.8"], capture_output=True, text=True)
    lines = [line.strip() for line in shown.stdout.splitlines()]
    found = [next((line for line in lines if line.startswith(begin)), "") for begin in ("vdpa dev del", "python3 -c", "rm /run/vireo/vduse-")]
    expect(all(found), f"not in the page: {found}")
    return [line.replace("NAME", name) for line in found]


@case
def the_manual_s_commands_remove_what_a_killed_daemon_has_left(_lab):
    need_vdpa()
    need_program("mandoc")
    commands = manual_s("left")
    guest = usual_guest()
    start_inside(guest, [f"vduse:left,mac={MACS[0]}"])
    attached(guest, "left", MACS[0])
    ended(guest, "-KILL")
    guest.check("[ -e /dev/vduse/left ] && [ -e /run/vireo/vduse-left ]; echo 1 >/sys/class/vduse/left/msg_timeout")
    for command in commands:
        guest.check(f"PATH=$PATH:/usr/sbin; {command}", 90)
    guest.check('[ "$(echo /dev/vduse/*)" = /dev/vduse/control ] && [ ! -e /run/vireo/vduse-left ]')


@case
def an_address_that_has_changed_meanwhile_is_told(_lab):
    guest = usual_guest()
    start_inside(guest, [f"vduse:moved,mac={MACS[0]}"])
    attached(guest, "moved", MACS[0])
    ended(guest, "-KILL")
    start_inside(guest, [f"vduse:moved,mac={MACS[1]}"])
    guest.check(f"{WAIT}wait_for 'grep -q \"its driver goes on with the address\" {LOG}'", 60)
    # The line's way out.
    guest.check(f"{program('vireoctl')} -s {CONTROL} port remove moved && "
                f"{program('vireoctl')} -s {CONTROL} port add vduse:moved,mac={MACS[1]}", 60)
    attached(guest, "moved", MACS[1])
    expect("goes on with" in ended(guest), "no line")


@case
def another_network_namespace_has_no_vdpa_bus_and_is_told_at_the_start(_lab):
    need_vdpa()
    guest = usual_guest()
    guest.check("mkdir -p /run/netns; ip netns add away")
    refused(guest, "vduse:far", ["first network namespace's", "attach=none", "vdpa dev add name far"], "ip netns exec away ")
    disk = guest.run("truncate -s 1M /tmp/disk; ip netns exec away timeout 30 "
                     f"{program('vireo-blkd')} --control /tmp/refused --disk d=file:/tmp/disk --export vduse:far,disk=d 2>&1", 60)
    expect(disk.status == 1 and "first network namespace's" in disk.output and disk.output.count(" error ") == 1, disk)
    start_inside(guest, [f"vduse:far,mac={MACS[0]},attach=none"], before="ip netns exec away")
    guest.check(f"{VDPA} dev add name far mgmtdev vduse", 60)
    guest.check(f"{WAIT}wait_for 'grep -lq {MACS[0]} /sys/class/net/*/address'; {VDPA} dev del far", 60)
    ended(guest)
    guest.check('ip netns del away; [ "$(echo /dev/vduse/*)" = /dev/vduse/control ]')


@case
def a_folder_that_cannot_be_written_is_named(_lab):
    guest = usual_guest()
    guest.check("mkdir -p /run/vireo; mount -t tmpfs -o ro tmpfs /run/vireo")
    try:
        refused(guest, "vduse:sealed", ["/run/vireo/vduse-sealed", "read-only"])
        refused(guest, "vhost-user:/run/vireo/x.sock", ["read-only"])
    finally:
        guest.check("umount /run/vireo")


@case
def what_lies_where_a_node_would_be_tells_what_to_do(_lab):
    guest = usual_guest()
    guest.check("echo x >/dev/inway; mkdir /dev/folder")
    refused(guest, "cuse:inway", ["regular file", "rm /dev/inway"])
    refused(guest, "cuse:folder", ["folder"])
    guest.check("rm /dev/inway; rmdir /dev/folder")
    start_inside(guest, ["cuse:inway"])
    refused(guest, "cuse:inway", ["another program serves /dev/inway"])
    ended(guest)


# Opens the node, owns it, forks, and ends; the child has the file and does nothing with it.
HEIR = """import fcntl, os, time
node = os.open("/dev/vm1", os.O_RDWR)
fcntl.ioctl(node, 0xaf01)  # VHOST_SET_OWNER
if os.fork():
    os._exit(0)
with open("/run/heir.pid", "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""


@case
def a_forked_child_that_keeps_a_node_from_others_is_named(_lab):
    need_client()
    guest = usual_guest()
    start_inside(guest, ["cuse:vm1"])
    guest.check(f"{WAIT}python3 -c {shlex.quote(HEIR)}; wait_for '[ -s /run/heir.pid ]'", 60)
    heir = guest.check("cat /run/heir.pid")
    expect(guest.run(f"{CLIENT} second /dev/vm1").status == 1, "taken")
    guest.check(f"{WAIT}wait_for 'grep -q \"process {heir} has its /dev/vm1 open still: end that (kill {heir})\" {LOG}'", 60)
    # The line's way out.
    guest.check(f"{WAIT}kill {heir}; wait_for '{CLIENT} second /dev/vm1'", 60)
    ended(guest)


@case
def a_node_whose_connection_was_aborted_is_told_and_its_queues_stop(_lab):
    need_client()
    guest = usual_guest()
    ctl = f"{program('vireoctl')} -s {CONTROL}"
    runs = f"{ctl} --json port show vm1 | grep -q \"running.: true\""
    start_inside(guest, ["cuse:vm1"])
    guest.check(f"{WAIT}{CLIENT} hold /dev/vm1 >/run/hold.log 2>&1 & echo $! >/run/hold.pid; wait_for 'grep -q held /run/hold.log'; "
                f"wait_for '{runs}'", 60)
    guest.check(f"{WAIT}echo 1 >/sys/class/cuse/vm1/abort; wait_for 'grep -q \"remove and add the port\" {LOG}'; "
                f"wait_for 'grep -q \"opener 1 has gone\" {LOG}'; wait_for '! {runs}'", 60)
    log = guest.check(f"cat {LOG}")
    expect("aborted" in log and "is to open /dev/vm1 anew" in log, log)
    shown = json.loads(guest.check(f"{ctl} --json port show vm1"))["port"]
    expect(shown["state"] == "failed" and not shown["session"] and not any(queue["running"] for queue in shown["queue_counters"]), shown)
    guest.check(f"[ -e /proc/$(cat /run/hold.pid)/exe ] && {ctl} port remove vm1 && {ctl} port add cuse:vm1 && "
                f"{CLIENT} second /dev/vm1; kill $(cat /run/hold.pid)", 60)
    ended(guest)


def until_there_are_fds(guest, words):
    """With each fd that the daemon may have more, a client comes further, or hears that there are too few."""
    guest.check("pid=$(cat /run/switchd.pid); ls /proc/$pid/fd | wc -l >/run/fds")
    few = int(guest.check("cat /run/fds"))
    for spare in range(14):
        # The client before may not be gone yet, as far as the daemon has heard.
        done = guest.run(f"prlimit --pid $(cat /run/switchd.pid) --nofile={few + spare}: || exit 1; for try in $(seq 100); do "
                         f"timeout 60 {CLIENT} {words} >/run/fds.log 2>&1; status=$?; grep -qi busy /run/fds.log || break; sleep 0.1; done; "
                         "cat /run/fds.log; exit $status", 100)
        if not done.status:
            return spare
        expect("Too many open files" in done.output, f"{spare} to spare: {done}")
    return None


@case
def out_of_fds_is_told_and_mended_by_more(_lab):
    need_client()
    guest = usual_guest()
    start_inside(guest, ["cuse:vm1", "cuse:vm2"])
    spare = until_there_are_fds(guest, "frames /dev/vm1 /dev/vm2 5")
    log = guest.check(f"cat {LOG}")
    expect(spare, f"{spare} fds to spare: {log}")
    expect("out of file descriptors: raise its limit" in log, log)
    expect("cannot be found" not in log and "may serve" not in log, log)
    ended(guest)


@case
def a_card_that_carries_others_says_which(_lab):
    guest = usual_guest()
    name = guest.check(f"grep -l {CARD} /sys/class/net/*/address").split("/")[-2]
    function = guest.check(f"basename $(readlink -f /sys/class/net/{name}/device/..)").strip()
    bind = f"{program('vireoctl')} pci bind {function} uio_pci_generic 2>&1"
    guest.check(f"ip link add mv0 link {name} type macvlan; ip link add link {name} name {name}.7 type vlan id 7")
    done = guest.run(bind)
    expect(done.status and "mv0" in done.output and f"{name}.7" in done.output and done.output.count("\n") == 1, done)
    guest.check(f"ip link del mv0; ip link del {name}.7; ip link add br0 type bridge; ip link set {name} master br0")
    done = guest.run(bind)
    expect(done.status and "br0" in done.output and f"ip link set {name} nomaster" in done.output, done)
    guest.check(f"ip link set {name} nomaster; ip link del br0; {bind}; {program('vireoctl')} pci unbind {function}")


if __name__ == "__main__":
    main()
