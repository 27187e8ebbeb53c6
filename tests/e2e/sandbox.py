#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a daemon gives away when it starts, and that what is added later lacks nothing. That no call is missing is looked for in the log of each
daemon of each test: guest/cases.py."""
import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well, open_files, sanitized  # noqa: E402
from guest.disks import Blkd, made_file  # noqa: E402
from guest.front import Front, listener, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.scsi import Scsid  # noqa: E402
from guest.switch import ROOT, Switch, build_folder, program  # noqa: E402

FILTER = 2  # SECCOMP_MODE_FILTER
DAEMONS = {"switchd": (Switch,), "blkd": (Blkd,), "scsid": (Scsid,)}


def status(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def privileges(pid, field):
    return int(status(pid)[field], 16)


def declared(daemon):
    """What --print-sandbox says: the lines of capabilities, and those of calls."""
    done = subprocess.run([program(daemon), "--print-sandbox"], capture_output=True, text=True, timeout=20)
    expect(done.returncode == 0 and not done.stderr, f"{done}")
    first, _, second = done.stdout.partition("\nSystem calls:\n")
    return [line.strip() for line in first.splitlines()[1:]], [line.strip() for line in second.splitlines() if line[:2] == "  "]


# Those of linux/capability.h that a room of ours declares.
NUMBERS = {"CAP_BPF": 39, "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_IPC_LOCK": 14, "CAP_SYS_RAWIO": 17,
           "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_CHECKPOINT_RESTORE": 40}


def has_program(child):
    """The one of af_xdp ports has been loaded: this machine's kernel, and who runs this, may not be able to."""
    return "anon_inode:bpf-prog" in open_files(child.pid).values()


def has_filter(child):
    """A build without libseccomp has none."""
    return b"libseccomp" in open(f"/proc/{child.pid}/maps", "rb").read()


@case_for(DAEMONS, "{}_keeps_what_it_says_and_nothing_else")
def a_daemon_keeps_what_it_says(lab, kind):
    if sanitized():
        raise Skip("a build with sanitizers has no sandbox")
    daemon = kind(lab)
    found = status(daemon.child.pid)
    lines, calls = declared(os.path.basename(daemon.argv[0]))
    if os.path.basename(daemon.argv[0]) == "vireo-switchd" and not has_program(daemon.child):
        lines = [line for line in lines if "for af_xdp" not in line]
    kept = sum(1 << number for number in {NUMBERS[line.split(":")[0]] for line in lines})
    expect(found["NoNewPrivs"] == "1", f"{found}")
    expect(not has_filter(daemon.child) or int(found["Seccomp"]) == FILTER, f"{found}")
    for field in ("CapPrm", "CapEff"):
        expect(int(found[field], 16) == kept & privileges(os.getpid(), field), f"{field} {found[field]}, declared {kept:x}")
    expect(int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0, f"{found}")
    if not os.geteuid():
        expect(int(found["CapBnd"], 16) == kept & privileges(os.getpid(), "CapBnd"), f"{found['CapBnd']}")
    for task in os.listdir(f"/proc/{daemon.child.pid}/task"):
        try:
            one = status(f"{daemon.child.pid}/task/{task}")
        except (FileNotFoundError, ProcessLookupError):  # a thread that had nothing to do any more has ended
            continue
        for field in ("CapEff", "Seccomp", "NoNewPrivs"):
            expect(one[field] == found[field], f"{one['Name']}: {field} {one[field]}")
    expect(not any(re.match(r"(execve|ptrace|mount|unshare|setns)\b|bpf(?! \(BPF_(LINK_CREATE|MAP_UPDATE_ELEM|MAP_DELETE_ELEM)\):)", line) for line in calls), "nobody declares those")
    end_well(daemon)


@case_for(DAEMONS, "the_page_has_what_{}_says")
def the_page_has_what_it_says(_lab, kind):
    with open(os.path.join(ROOT, "docs/sandbox.md")) as page:
        rows = set(page.read().splitlines())
    for line in sum(declared(getattr(kind, "PROGRAM", "vireo-switchd")), []):
        expect(f"    {line}" in rows, f"docs/sandbox.md lacks: {line}")


# Functions of C libraries that are called otherwise than the call that they make.
MADE_BY = {"posix_fallocate": "fallocate", "send": "sendto", "recv": "recvfrom", "opendir": "openat", "readdir": "getdents64", "scandir": "getdents64",
           "realpath": "readlink", "eventfd": "eventfd2", "signalfd": "signalfd4", "getaddrinfo": "socket", "pthread_create": "clone",
           "preadv64v2": "preadv2", "pwritev64v2": "pwritev2", "sigaction": "rt_sigaction",
           "sigprocmask": "rt_sigprocmask", "pthread_sigmask": "rt_sigprocmask", "nanosleep": "clock_nanosleep", "raise": "tgkill",
           "fork": "fork", "vfork": "fork", "system": "execve", "popen": "execve", "posix_spawn": "execve"}


# Calls of --upgrade (daemon/upgrade.c), which makes them before there is a filter.
UNFILTERED = {"fork", "setsid"}


@case_for(DAEMONS, "what_{}_is_linked_with_is_declared")
def what_it_is_linked_with_is_declared(_lab, kind):
    """Each function of the C library that is a system call by its name: a call in a place that no test comes to is found so, too."""
    path = program(getattr(kind, "PROGRAM", "vireo-switchd"))
    header = f"/usr/include/{os.uname().machine}-linux-gnu/asm/unistd_64.h"
    if not shutil.which("nm") or not os.path.exists(header) or sanitized():
        raise Skip("needs nm, the kernel's list of calls, and a build without sanitizers")
    with open(header) as text:
        known = set(re.findall(r"__NR_(\w+)", text.read()))
    _, calls = declared(os.path.basename(path))
    allowed = {name for line in calls for name in re.split(r" \(|: ", line)[0].split()} | UNFILTERED
    symbols = subprocess.run(["nm", "-D", "--undefined-only", path], capture_output=True, text=True, check=True).stdout
    for symbol in {line.split()[-1].split("@")[0] for line in symbols.splitlines()}:
        call = MADE_BY.get(symbol) or MADE_BY.get(symbol.removesuffix("64")) or (symbol if symbol in allowed else symbol.removesuffix("64"))
        expect(call not in known or call in allowed, f"{symbol}() makes the call {call}, which no room declares")


@case
def ports_of_each_kind_are_added_later(lab):
    taps = not os.geteuid() and os.path.exists("/dev/net/tun")
    switch = WrappedSwitch(lab, QUIET_NETWORK if taps else (), [], ["--workers", "2"])
    wanted = listener(lab.path("connected"))
    specs = [f"vhost-user:{lab.path('a')},queues=2", f"vhost-user:{lab.path('connected')},mode=client", "null:n", "bond:b",
             f"vhost-user:{lab.path('m')},bond=b", f"vhost-user:{lab.path('g')},perm=0660,group={os.getgid()}"]
    if not os.geteuid():
        specs.append(f"vhost-user:{lab.path('other')},user=nobody,group=nogroup,perm=0600")
    if taps:
        specs += ["tap:vqs0,mtu=1400,queues=2"]
    for spec in specs:
        switch.ask("port", "add", spec)
    peer, _ = wanted.accept()
    with Front(lab.path("a")) as front:
        front.send(text_frame(1, None))
        wait_until(lambda: switch.port("n")["tx_frames"] == 1, 20, "a frame is at the null port")
    peer.close()
    for port in switch.ask("port", "list")["ports"]:
        if port["name"] != "b":
            switch.ask("port", "remove", port["name"])
    end_well(switch)


@case
def disks_of_each_kind_are_added_later(lab):
    blkd = Blkd(lab)
    for spec in (f"f=file:{made_file(lab.path('f.img'), 1)}", "m=mem:1M", "n=null:1M"):
        name = spec.partition("=")[0]
        blkd.ask("disk", "add", spec)
        blkd.ask("export", "add", f"vhost-user:{lab.path(name)},disk={name}")
    done = blkd.ctl_run("disk", "add", "s=nbd:nbd://127.0.0.1:1/x")
    expect(done.returncode, f"nobody serves there: {done}")
    end_well(blkd)


@case
def a_call_that_is_missing_costs_one_line_and_nothing_else(lab):
    if sanitized():
        raise Skip("a build with sanitizers has no sandbox")
    if os.geteuid():
        raise Skip("only root may give a socket away")
    module = os.path.join(build_folder(), "tests/daemon/forbidden.so")
    lab.refusals = True
    os.environ["LD_PRELOAD"] = module
    try:
        switch = Switch(lab, [f"vhost-user:{lab.path('a')}", "null:n"])
    finally:
        del os.environ["LD_PRELOAD"]
    if not has_filter(switch.child):
        raise Skip("a build without libseccomp has no filter")

    def lines():
        with open(switch.child.log) as log:
            return [line for line in log if "the sandbox has refused" in line]
    with Front(lab.path("a")) as front:
        switch.ask("port", "add", f"vhost-user:{lab.path('b')},user=nobody")
        wait_until(lines, 20, "it is told of")
        front.send(text_frame(1, None))
        wait_until(lambda: switch.port("n")["tx_frames"] == 1, 20, "the others go on")
    expect(len(lines()) == 1 and ": socket (number " in lines()[0] and "--no-sandbox" in lines()[0], f"{lines()}")
    end_well(switch)


def need_landlock():
    if ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < 1:  # landlock_create_ruleset(), its version
        raise Skip("this kernel has no Landlock")


def elsewhere():
    """Beside the folder of the control socket, which is allowed anyway."""
    return tempfile.TemporaryDirectory(prefix="vireo-e2e-beneath-")  # pylint: disable=consider-using-with


@case
def files_are_opened_beneath_its_folders_only(lab):
    """What is added later at another place is refused, and the rest goes on; so it does in another process."""
    need_landlock()
    with elsewhere() as inside, elsewhere() as also, elsewhere() as outside:
        switch = Switch(lab, [f"vhost-user:{inside}/a", "null:n"], ["--beneath", f"{inside}:{also}"])
        blkd = Blkd(lab, options=["--beneath", inside])
        for folder in (inside, also, outside):
            made_file(f"{folder}/d.img", 1)
        with Front(f"{inside}/a") as front:
            for again in (False, True):
                switch.ctl("port", "add", f"vhost-user:{also}/b{again}")
                done = switch.ctl_run("port", "add", f"vhost-user:{outside}/c")
                expect(done.returncode and "ermission" in done.stderr and not os.path.exists(f"{outside}/c"), f"{done}")
                before = switch.port("n")["tx_frames"]
                front.send(text_frame(1, None))
                wait_until(lambda: switch.port("n")["tx_frames"] > before, 20, "the others go on")
                if not again:
                    switch.hand_over("--beneath", f"{inside}:{also}")
        blkd.ctl("disk", "add", f"d=file:{inside}/d.img")
        done = blkd.ctl_run("disk", "add", f"e=file:{outside}/d.img")
        expect(done.returncode and "ermission" in done.stderr, f"{done}")
        end_well(switch)
        end_well(blkd)


@case
def its_file_of_settings_may_be_a_new_file(lab):
    """An editor makes one and gives it the old one's name; so does who links. What lies elsewhere is still not read."""
    need_landlock()
    with elsewhere() as settings, elsewhere() as targets, elsewhere() as outside:
        def put(folder, *ports):
            with open(f"{folder}/new", "w") as new:
                new.writelines(f"port null:{name}\n" for name in ports)
            os.rename(f"{folder}/new", f"{folder}/conf")

        def names():
            return sorted(port["name"] for port in switch.ask("port", "list")["ports"])
        put(targets, "a")
        os.symlink(f"{targets}/conf", f"{settings}/conf")
        switch = Switch(lab, [], ["--config", f"{settings}/conf", "--beneath", lab.folder])
        put(targets, "a", "b")
        switch.ctl("reload")
        expect(names() == ["a", "b"], f"{names()}")
        put(settings, "a", "c")
        switch.ctl("reload")
        expect(names() == ["a", "c"], f"{names()}")
        put(outside, "d")
        os.unlink(f"{settings}/conf")
        os.symlink(f"{outside}/conf", f"{settings}/conf")
        done = switch.ctl_run("reload")
        expect(done.returncode and "ermission" in done.stderr and names() == ["a", "c"], f"{done}")
        end_well(switch)


@case
def folders_that_are_not_there_end_it(lab):
    need_landlock()
    for beneath, code, why in (("/run:/nobody/has/made", 1, "beneath /nobody/has/made: No such file"), ("run", 2, "absolute paths"), ("/run:", 2, "absolute paths")):
        done = subprocess.run([program("vireo-switchd"), "--control", lab.path("c"), "--port", "null:n", "--beneath", beneath], capture_output=True, text=True,
                              timeout=20)
        expect(done.returncode == code and why in done.stderr, f"{done}")


def said(daemon):
    with open(daemon.child.log) as log:
        return log.read()


@case
def folder_of_reservations_that_is_not_beneath_keeps_the_old_one_running(lab):
    need_landlock()
    with elsewhere() as kept, elsewhere() as inside:
        scsid = Scsid(lab, options=["--state", kept])
        argv = [program("vireo-scsid"), "--control", scsid.control, "--takeover", "--beneath", inside]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        expect(done.returncode == 1 and f"it keeps reservations in '{kept}': --beneath is to name that folder" in done.stderr, f"{done}")
        scsid.ctl("version")
        end_well(scsid)


@case
def no_cuse_port_can_be_had_beneath(lab):
    need_landlock()
    switch = Switch(lab, ["null:n"], ["--beneath", "/run"])
    done = switch.ctl_run("port", "add", "cuse:vireo-nobodys")
    expect(done.returncode and "none can be had with --beneath" in done.stderr, f"{done}")
    scsid = Scsid(lab, options=["--beneath", "/run"])
    done = scsid.ctl_run("export", "add", "cuse:vireo-nobodys,wwpn=naa.5001405bd453b1d7")
    expect(done.returncode and "none can be had with --beneath" in done.stderr, f"{done}")
    end_well(switch)
    end_well(scsid)


def landlock_refused():
    """A filter around the daemon, as a service manager's: landlock_create_ruleset() fails with EPERM."""
    # Its number; is it that one; ERRNO | EPERM; ALLOW.
    program_of = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
    rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in program_of))
    libc = ctypes.CDLL(None, use_errno=True)
    # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, FILTER, struct.pack("HxxxxxxP", len(program_of), ctypes.addressof(rules)), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@case
def landlock_that_a_filter_refuses_ends_it(lab):
    need_landlock()
    argv = [program("vireo-switchd"), "--control", lab.path("c"), "--port", "null:n", "--beneath", "/run"]
    done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=landlock_refused, timeout=20)  # pylint: disable=subprocess-popen-preexec-fn
    expect(done.returncode == 1 and "refused by a filter" in done.stderr, f"{done}")


@case
def without_a_sandbox_all_is_kept(lab):
    switch = Switch(lab, ["null:n"], ["--no-sandbox", "--beneath", "/run"])
    found = status(switch.child.pid)
    expect((found["Seccomp"], found["NoNewPrivs"]) == (status(os.getpid())["Seccomp"], status(os.getpid())["NoNewPrivs"]), f"{found}")
    expect(int(found["CapEff"], 16) == privileges(os.getpid(), "CapEff"), f"{found['CapEff']}")
    wait_until(lambda: "beneath: all files are left open to this daemon: no-sandbox" in said(switch), 20, "what is left out is said")
    end_well(switch)


if __name__ == "__main__":
    main()
