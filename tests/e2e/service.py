#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The services as their units start them, what systemd says of the units, what is installed beside them, and the completion of a shell."""
import os
import re
import signal
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import front  # noqa: E402,F401  where the raw peer is found
from guest.cases import Skip, case, case_for, expect, main, need_program  # noqa: E402
from guest.installed import Installed  # noqa: E402
from guest.lab import tail, wait_until  # noqa: E402
from guest.service import START_S, USER_ID, Service, settings, unit_text  # noqa: E402
from guest.switch import ROOT, Switch, program  # noqa: E402
import vhost_user as raw  # noqa: E402

SERVICES = {"switchd": ("switchd",), "blkd": ("blkd",), "scsid": ("scsid",)}  # vireo-NAME


def unit_here(lab, daemon):
    """The unit with the program that has been built."""
    text = re.sub(rf"^(ExecStart=|ExecReload=-?)\S+/vireo-{daemon}\b", rf"\g<1>{program('vireo-' + daemon)}", unit_text(daemon), flags=re.M)
    path = lab.path(f"vireo-{daemon}.service")
    with open(path, "w") as unit:
        unit.write(text)
    return path


def analyze(*words):
    need_program("systemd-analyze")
    return subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, timeout=60)


@case_for(SERVICES, "systemd_takes_the_unit_of_{}")
def systemd_takes_the_unit(lab, daemon):
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit_here(lab, daemon))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "vireo" in line]
    expect(done.returncode == 0 and not ours, f"systemd-analyze verify: {done.returncode}, {done.stdout}{done.stderr}")


@case_for(SERVICES, "{}_is_exposed_to_less_than_3_of_10")
def the_service_is_exposed_to_less_than_3_of_10(lab, daemon):
    done = analyze("security", "--offline=yes", unit_here(lab, daemon))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if not found:
        raise Skip(f"this systemd-analyze knows no security --offline: {done.stderr.strip()[:100]}")
    print(f"     exposure: {found[1]} of 10")
    expect(float(found[1]) < 3, done.stdout)


# ---- as the unit starts it ----

def disk_lines(lab):
    """A disk that is the service's, at an export."""
    with open(lab.path("disk.raw"), "wb") as disk:
        disk.truncate(1 << 20)
    os.chown(lab.path("disk.raw"), USER_ID, USER_ID)
    return [f"disk d=file:{lab.path('disk.raw')}", "export vhost-user:/run/vireo/vm1.sock,disk=d"]


def lun_lines(lab):
    """That disk, as a LUN; reservations go nowhere: the folder is the unit's to make."""
    disk, _ = disk_lines(lab)
    return [disk, "export vhost-user:/run/vireo/vm1.sock", "lun 0:0=d"]


def port_lines(_lab):
    return ["port vhost-user:/run/vireo/vm1.sock"]


@case_for({"switchd": ("switchd", port_lines, "port"), "blkd": ("blkd", disk_lines, "export"),
           "scsid": ("scsid", lun_lines, "export")},
          "{}_starts_as_its_unit_says_and_serves_a_machine")
def the_service_starts_as_its_unit_says(lab, daemon, lines, what):
    service = Service(lab, lines(lab), daemon=daemon)
    service.hear("READY=1")
    service.hear("WATCHDOG=1")
    with open(f"/proc/{service.child.pid}/status") as status:
        fields = dict(line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line)
    expect(fields["Uid"].split() == [str(USER_ID)] * 4 and int(fields["CapEff"], 16) == 0 and fields["NoNewPrivs"] == "1", str(fields))
    with raw.VhostUserPeer(lab.path("run/vireo/vm1.sock")) as peer:
        peer.negotiate(0)
        peer.share_memory()
        peer.ring(0, 64)
        peer.run()

        def attached():
            done = service.ctl("--json", what, "show", "vm1")
            return done.returncode == 0 and '"state": "connected"' in done.stdout
        wait_until(attached, START_S, f"the {what} is served", child=service.child)
    service.child.send_signal(signal.SIGTERM)
    expect(service.child.wait(START_S) == 0, "the service ends in order")
    service.said = []
    service.start()  # as a restart does
    service.hear("READY=1")


@case_for({"switchd": ("switchd", port_lines, "port"), "blkd": ("blkd", disk_lines, "export"), "scsid": ("scsid", lun_lines, "export")},
          "the_service_is_upgraded_by_its_unit_{}")
def the_service_is_upgraded_by_its_unit(lab, daemon, lines, what):
    """By systemctl reload: the manager knows the new process, hears its signs of life and is told of its end."""
    service = Service(lab, lines(lab), daemon=daemon)
    service.hear("READY=1")
    with raw.VhostUserPeer(lab.path("run/vireo/vm1.sock")) as peer:
        peer.negotiate(0)
        old = service.child
        expect(service.reload(program("vireo-" + daemon)) == 0 and service.child is old, "it was replaced by the program that it is")
        says(service, "runs this program already")
        expect(service.reload(service.another_program()) == 0, tail(service.child.log))
        service.replaces(old)
        service.hear("WATCHDOG=1", service.child.pid)
        expect(peer.offered(), "the machine is served by the new one, at its old connection")
        expect(f'"pid": {service.child.pid}' in service.ctl("--json", "version").stdout, "the control socket")
    service.child.send_signal(signal.SIGTERM)
    expect(service.child.wait(START_S) == 0, "the new one ends in order")


def says(service, *words):
    def said():
        with open(service.child.log, errors="replace") as log:
            text = log.read()
        return all(word in text for word in words)
    wait_until(said, START_S, f"{words} in the log: {tail(service.child.log)}")


@case
def an_upgrade_that_cannot_be_fails_and_the_old_one_goes_on(lab):
    """A disk in memory goes over to nobody."""
    service = Service(lab, ["disk m=mem:1M", "export vhost-user:/run/vireo/vm1.sock,disk=m"], daemon="blkd")
    service.hear("READY=1")
    old = service.child
    expect(service.reload(service.another_program()) == 1 and service.child is old, "the manager is told of it")
    says(service, "not taken over: disk 'm' cannot be handed over")
    expect(f'"pid": {old.pid}' in service.ctl("--json", "version").stdout, "the old one serves")


@case
def a_switch_that_cannot_be_upgraded_reads_its_file_all_the_same(lab):
    service = Service(lab, ["port loop:a"])
    service.hear("READY=1")
    old = service.child
    with open(lab.path("switchd.conf"), "a") as config:
        config.write("port null:more\n")
    expect(service.reload(service.another_program()) == 0 and service.child is old, "the reload")
    says(service, "not taken over: port 'a' cannot be handed over")
    wait_until(lambda: "more" in service.ctl("port", "list").stdout, START_S, "the new port")


@case
def a_port_added_while_it_runs_needs_no_more_than_the_service_has(lab):
    service = Service(lab)
    service.hear("READY=1")
    done = service.ctl("port", "add", "vhost-user:/run/vireo/vm2.sock,group=vireo")
    expect(done.returncode == 0, done.stderr)
    expect(os.stat(lab.path("run/vireo/vm2.sock")).st_gid == USER_ID, "the socket's group")


@case_for(SERVICES, "{}_without_its_folder_says_one_line")
def a_service_without_its_folder_says_one_line(lab, daemon):
    service = Service(lab, make_folder=False, daemon=daemon)
    expect(service.child.wait(START_S) == 1, "it cannot start")
    lines = tail(lab.path("service.log")).strip().splitlines()
    expect(len(lines) == 1 and "its folder does not exist" in lines[0], str(lines))


@case_for({"switchd": ("switchd", "port"), "blkd": ("blkd", "export"), "scsid": ("scsid", "lun")}, "a_file_of_{}_that_makes_no_sense_is_named_and_not_tried_again")
def a_file_that_makes_no_sense(lab, daemon, word):
    service = Service(lab, [f"{word} nonsense"], daemon=daemon)
    status = str(service.child.wait(START_S))
    expect(status in service.unit["RestartPreventExitStatus"][0].split(), f"exit status {status}")
    lines = tail(lab.path("service.log")).strip().splitlines()
    expect(len(lines) == 1 and re.search(daemon + r"\.conf:\d+:\d+: ", lines[0]), str(lines))


@case_for(SERVICES, "every_setting_of_the_example_file_of_{}_is_one")
def every_setting_of_the_example_file_is_one(lab, daemon):
    """Those that are comments, too: each alone."""
    with open(f"{ROOT}/packaging/{daemon}.conf") as example:
        commented = re.findall(r"^#([a-z].*)$", example.read(), re.M)
    expect(len(commented) >= 10, f"{commented}")
    for line in commented:
        line = line.replace("workers 2-3", f"workers {min(os.sched_getaffinity(0))},")  # CPUs that there are here
        with open(lab.path("one.conf"), "w") as one:
            # What nobody can have tells that the line before it was taken.
            one.write(f"{line}\nspin-us never\n")
        done = subprocess.run([program("vireo-" + daemon), "--config", lab.path("one.conf")], capture_output=True, text=True, timeout=20)
        expect(done.returncode == 2 and "one.conf:2:" in done.stderr, f"{line}: {done.returncode}, {done.stderr}")


# ---- what is installed ----

@case
def what_is_installed_belongs_together_and_an_edited_file_stays(lab):
    tree = Installed(lab)

    def found(name):
        paths = [os.path.join(folder, name) for folder, _, files in os.walk(tree.root) if name in files]
        expect(len(paths) == 1, f"{name}: {paths}")
        return paths[0]
    configs = []
    for daemon in SERVICES:
        with open(found(f"vireo-{daemon}.service")) as unit:
            words = settings(unit.read())["ExecStart"][0].split()
        for path in words[0], words[2]:
            expect(os.path.exists(tree.root + path), f"the unit names {path}, which is not installed")
        configs.append(tree.root + words[2])
    for name in "vireo-switchd.8", "vireo-blkd.8", "vireo-scsid.8", "vireo-switchd.conf.5", "vireoctl.1", "vireoctl":
        if name != "vireoctl":
            found(name)
    expect(glob_one(tree.root, "bash-completion/completions/vireoctl"), "no completion")
    for path in configs:
        with open(path, "a") as config:
            config.write("# edited\n")
    Installed(lab)
    for path in configs:
        with open(path) as config:
            expect(config.read().endswith("# edited\n"), f"{path}: an edited file was overwritten")


def glob_one(root, end):
    return [path for folder, _, files in os.walk(root) for path in (os.path.join(folder, name) for name in files) if path.endswith(end)]


# ---- completion ----

COMPLETE = r"""
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_vireoctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def completed(*words):
    """What bash offers for the last word."""
    argv = ["bash", "--norc", "-c", COMPLETE, "bash", f"{ROOT}/packaging/bash/vireoctl", program("vireoctl"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, env={**os.environ, "XDG_RUNTIME_DIR": "/nonexistent"})
    expect(not done.stderr, f"{words}: {done.stderr}")
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def offers(wanted, *words):
    """Names that a daemon is asked for: who is not answered within a second, on a loaded machine, is offered nothing."""
    wait_until(lambda: completed(*words) == wanted, START_S, f"{wanted} after {words}")


@case
def a_completion_knows_every_command_and_the_daemons_ports(lab):
    switch = Switch(lab, ["null:left", "null:right"])
    at = ["-s", switch.control]
    listed = [line.split()[0] for line in switch.ctl("help").splitlines() if re.match(r"  [a-z]", line)]
    offered = completed(*at, "")
    expect(len(set(listed)) >= 7 and set(listed) == set(offered) and len(offered) == len(set(offered)), f"{listed} and {offered}")
    expect(completed(*at, "port", "sh") == ["show"], f"{completed(*at, 'port', 'sh')}")
    for words in ("port", "show"), ("port", "remove"), ("fdb", "flush"):
        offers(["left", "right"], *at, *words, "")
    offers(["right"], *at, "port", "show", "ri")  # what has been begun
    offers(["left"], *at, "--json", "port", "show", "le")
    expect(completed(*at, "port", "show", "left", "") == [], "nothing follows")
    expect(completed(*at, "nonsense", "") == [], "no such command")
    expect(completed("--dae") == ["--daemon"], "an option")
    expect(completed(*at, "--interval", "") == [], "a number")


@case
def a_completion_for_a_daemon_that_is_not_there_prints_nothing(lab):
    at = ["-s", lab.path("nobody")]
    expect(completed(*at, "port", "show", "") == [], "a name")
    expect(completed("port", "show", "") == [], "no place for a socket")
    expect(completed(*at, "-d", "other", "") == [], "another daemon's commands")
    expect("port" in completed(*at, ""), "its own commands are known without the daemon")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:  # takes the call and never answers
        silent.bind(lab.path("silent"))
        silent.listen()
        expect(completed("-s", lab.path("silent"), "port", "show", "") == [], "a daemon that does not answer")


if __name__ == "__main__":
    main()
