#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package vireo in a system that runs: installed, upgraded under machines that are attached, removed and purged.

The packages are what `make deb` has put into build-deb/ (VIREO_DEBS: another folder). The higher version has the same files.
"""
import glob
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from deb.system import System  # noqa: E402
from guest import disks  # noqa: E402
from guest.cases import Skip, case, expect, main, need_program  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import ROOT  # noqa: E402
from guest.traffic import pair, ping  # noqa: E402

DEBS = os.environ.get("VIREO_DEBS") or os.path.join(ROOT, "build-deb")
HIGHER = "9.0"  # than any of ours will be for a while
MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
BACK_S = 60  # guests connect anew once a second; they may be emulated, on a loaded machine


def package():
    found = glob.glob(os.path.join(DEBS, "vireo_*.deb"))
    if len(found) != 1:
        raise Skip(f"no vireo_*.deb in {DEBS}: make deb")
    return found[0]


def needed():
    """The packages that it depends on, of their alternatives the first."""
    done = subprocess.run(["dpkg-deb", "--field", package(), "Depends"], capture_output=True, text=True, check=True)
    return [re.match(r"[a-z0-9+.-]+", part.strip())[0] for part in done.stdout.split(",")]


def higher(lab):
    """The package once more, with a higher version."""
    tree, path = lab.path("higher"), lab.path("higher.deb")
    subprocess.run(["dpkg-deb", "--raw-extract", package(), tree], check=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control) as old:
        text = old.read()
    with open(control, "w") as new:
        new.write(re.sub(r"^Version: .*$", f"Version: {HIGHER}", text, flags=re.M))
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, path], check=True, stdout=subprocess.DEVNULL)
    return path


def installed(lab):
    system = System(lab, needed())
    system.before = files(system)
    system.put(package(), "/tmp/vireo.deb")
    system.put(higher(lab), "/tmp/higher.deb")
    system.check("dpkg --install /tmp/vireo.deb")
    return system


def upgraded(system):
    said = system.check("dpkg --install /tmp/higher.deb")
    expect(system.check("dpkg-query --show --showformat '${Version}' vireo") == HIGHER, "the version")
    return said


def files(system):
    """All that lies in the system, but for what dpkg and systemd keep of every package and boot."""
    listed = system.check("find / -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /var/cache -prune -o -print")
    return {path for path in listed.split("\n") if not re.match(r"/(etc/(passwd|group|shadow|gshadow)-|\.vireo-made|var/lib/systemd/timers)", path)}


def listed(system, daemon, what):
    """{name: state}; of a daemon that does not run (yet) nothing."""
    done = system.run(f"vireoctl -d {daemon} -s /run/vireo/{daemon}.sock --json {what} list")
    return {} if done.returncode else {entry["name"]: entry["state"] for entry in json.loads(done.stdout)[what + "s"]}


@case
def it_runs_when_it_has_been_installed_and_a_purge_leaves_nothing(lab):
    system = installed(lab)
    expect(system.check("systemctl is-active vireo-switchd; systemctl is-enabled vireo-switchd").split() == ["active", "enabled"], "the switch")
    for name in "vireo-blkd", "vireo-scsid":
        expect(system.run(f"systemctl is-enabled {name}").stdout.strip() == "disabled", f"{name} without a disk")
        system.check(f"systemctl enable --now {name} && systemctl is-active {name}")
    system.check("test -S /run/vireo/switchd.sock && test -S /run/vireo/blkd.sock && getent passwd vireo && systemctl stop vireo-switchd && "
                 "test -S /run/vireo/blkd.sock")  # the folder is both services'
    system.check("dpkg --purge vireo")
    left = files(system) - system.before
    expect(not left, f"left: {sorted(left)}")
    expect(not system.run("ls /run/vireo").stdout and system.run("getent passwd vireo").returncode, "the folder, or the user")
    expect("vireo" not in system.check("ps -e -o comm=; systemctl list-units --all --no-legend --plain"), "something runs")


@case
def systemd_takes_its_units_and_they_are_exposed_to_less_than_3_of_10(lab):
    system = installed(lab)
    for unit in "vireo-switchd", "vireo-blkd", "vireo-scsid":
        path = f"/lib/systemd/system/{unit}.service"
        said = system.check(f"systemd-analyze --no-pager verify --man=no --recursive-errors=no {path}")
        expect("vireo" not in said, said)
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", system.check(f"systemd-analyze --no-pager security --offline=yes {path}"))
        expect(found and float(found[1]) < 3, f"{unit}: exposure {found and found[1]}")
        print(f"     exposure of {unit}: {found[1]} of 10")


@case
def a_service_without_its_user_is_tried_once_and_comes_with_the_user(lab):
    system = installed(lab)
    system.check("systemctl stop vireo-switchd; userdel vireo")
    expect(system.run("systemctl start vireo-switchd").returncode, "it runs without its user")
    shown = system.check("systemctl show --property ActiveState,NRestarts,ExecMainStatus vireo-switchd").split()
    expect(sorted(shown) == ["ActiveState=failed", "ExecMainStatus=217", "NRestarts=0"], f"{shown}")
    system.check("systemd-sysusers && systemctl start vireo-switchd && systemctl is-active vireo-switchd")


def luns(system):
    return system.check("vireoctl -d scsid -s /run/vireo/scsid.sock --json lun list")


@case
def what_was_added_by_hand_keeps_the_old_daemon_until_somebody_says_so(lab):
    system = installed(lab)
    system.append("/etc/vireo/scsid.conf", ["disk d=mem:1M", "export vhost-user:/run/vireo/host.sock"])
    system.check("vireoctl -s /run/vireo/switchd.sock port add loop:hand; systemctl start vireo-scsid; "
                 "vireoctl -d scsid -s /run/vireo/scsid.sock lun add 0:0=d")
    before = {unit: system.main_pid(unit) for unit in ("vireo-switchd", "vireo-scsid")}
    said = upgraded(system)
    expect("1 ports are there and /etc/vireo/switchd.conf has 0" in said and "systemctl restart vireo-switchd" in said, said)
    expect("1 luns are there and /etc/vireo/scsid.conf has 0" in said and "systemctl restart vireo-scsid" in said, said)
    expect({unit: system.main_pid(unit) for unit in before} == before, "one was started anew")
    expect("hand" in listed(system, "switchd", "port") and "host/0:0" in luns(system), "what was added has gone")
    system.append("/etc/vireo/switchd.conf", ["port loop:hand"])
    system.append("/etc/vireo/scsid.conf", ["lun 0:0=d"])
    system.check("dpkg --force-downgrade --install /tmp/vireo.deb")
    for unit, pid in before.items():
        expect(system.main_pid(unit) not in ("0", pid), f"{unit} was not started anew")
    expect("hand" in listed(system, "switchd", "port") and "host/0:0" in luns(system), "what the files have is not there")


def machines(lab, system):
    """Two, at ports of the switch, and the one with a disk of vireo-blkd's."""
    system.append("/etc/vireo/switchd.conf", [f"port vhost-user:/run/vireo/{name}.sock" for name in ("left", "right")])
    system.append("/etc/vireo/blkd.conf", ["disk d=file:/var/lib/vireo/d.raw", "export vhost-user:/run/vireo/disk.sock,disk=d"])
    system.check("install -d -m 750 -o vireo -g vireo /var/lib/vireo; truncate -s 16M /var/lib/vireo/d.raw; chown vireo: /var/lib/vireo/d.raw; "
                 "systemctl restart vireo-switchd; systemctl enable --now vireo-blkd")
    drives = disks.arguments([disks.Drive(system.path("/run/vireo/disk.sock"))])
    guests = [Guest(lab, name, [Nic(system.path(f"/run/vireo/{name}.sock"), mac)], extra=extra)
              for name, mac, extra in zip(("left", "right"), MACS, (drives, ()))]
    return [guest.ready() for guest in guests]


def attached(system):
    return list(listed(system, "switchd", "port").values()) == ["connected"] * 2 and \
        list(listed(system, "blkd", "export").values()) == ["connected"]


@case
def an_upgrade_disconnects_no_machine_and_a_removal_tells_of_them(lab):
    need_program("qemu-system-x86_64")
    system = installed(lab)
    left, right = machines(lab, system)
    _, address = pair(left, right)
    ping(left, address)
    left.check("echo before the upgrade >/tmp/text; dd if=/tmp/text of=/dev/vda conv=sync,fsync bs=512 count=1 2>/dev/null")
    wait_until(lambda: attached(system), BACK_S, "all are attached")
    before = {unit: system.main_pid(unit) for unit in ("vireo-switchd", "vireo-blkd")}
    upgraded(system)
    expect(attached(system), "a machine was disconnected")
    for unit, pid in before.items():
        expect(system.main_pid(unit) not in ("0", pid), f"{unit} was not upgraded")
        wait_until(lambda unit=unit: "handed over to process" in system.check(f"journalctl --unit {unit}"), 20, f"{unit} was started anew")
        shown = system.check(f"systemctl show --property NRestarts,ActiveState {unit}").split()
        expect(sorted(shown) == ["ActiveState=active", "NRestarts=0"], f"{unit}: {shown}")
    killed = {unit: system.main_pid(unit) for unit in before}
    for pid in killed.values():  # it is the manager's child: killed, it comes again
        system.check(f"kill -9 {pid}")
    wait_until(lambda: all(system.main_pid(unit) not in ("0", pid) for unit, pid in killed.items()), BACK_S, "both are started again")
    wait_until(lambda: attached(system), BACK_S, "all are attached again")
    left.check(f"for i in $(seq 30); do ping -c 1 -W 2 {address} >/dev/null && exit 0; done; exit 1", 90)
    ping(left, address)
    expect("before the upgrade" in left.check("dd if=/dev/vda iflag=direct bs=512 count=1 2>/dev/null"), "the disk")
    said = system.check("dpkg --purge vireo")
    expect("machines at 2 ports lose their network now" in said and "machines at 1 exports of vireo-blkd lose their disks now" in said, said)
    expect("/var/lib/vireo stays" in said, said)
    left_over = files(system) - system.before
    expect(left_over == {"/var/lib/vireo", "/var/lib/vireo/d.raw"}, f"left: {sorted(left_over)}")
    expect(left.run("true").status == 0 and right.run("true").status == 0, "the machines go on, without network and disk")


if __name__ == "__main__":
    main()
