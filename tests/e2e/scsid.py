#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vireo-scsid as a program: what it takes, what it says, and what may be done with disks, exports and LUNs while it runs."""
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import made_file  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.scsi import Scsid  # noqa: E402
from guest.switch import program  # noqa: E402

MEM = "a=mem:8M"


def run(lab, *options):
    """Runs it to its end, which must be soon."""
    return subprocess.run([program("vireo-scsid"), "--control", lab.path("control"), *options], capture_output=True, text=True,
                          timeout=20, cwd=lab.folder)


def luns(scsid):
    return [lun["name"] for lun in scsid.ask("lun", "list")["luns"]]


def expect_one_line(done, status, *words):
    lines = done.stderr.splitlines()
    expect(done.returncode == status, f"exit status {done.returncode} instead of {status}: {done.stderr}")
    expect(len(lines) == 1, f"{len(lines)} lines: {done.stderr}")
    for word in words:
        expect(word in lines[0], f"no '{word}' in: {lines[0]}")


BAD_OPTIONS = {
    "lun_without_disk": (["--lun", "0:0"], "expected [EXPORT/]TARGET:LUN=DISK"),
    "lun_of_no_target": (["--lun", "256:0=a"], "a target from 0 to 255"),
    "lun_key": (["--lun", "0:0=a,colour=red"], "unknown key 'colour'"),
    "lun_twice": (["--lun", "0:0=a", "--lun", "0:0=b"], "there is a LUN 0:0 already"),
    "state_that_is_relative": (["--state", "x"], "expected an absolute path"),
    "export_with_disk": (["--export", "vhost-user:/tmp/x,disk=a"], "unknown key 'disk'"),
    "export_at_vduse": (["--export", "vduse:x"], "vduse"),
    "file_without_socket": (["--blk-file", "x"], "--blk-file"),
}


@case_for(BAD_OPTIONS, "one_line_and_exit_2_for_{}")
def one_line_and_exit_2_for(lab, options, *words):
    expect_one_line(run(lab, *options), 2, *words)


@case
def one_line_says_which_lun_cannot_be(lab):
    made_file(lab.path("f.img"), 1)
    first, second = (["--export", f"vhost-user:{lab.path(name)}"] for name in "ef")
    both = ["--disk", MEM, "--disk", "b=mem:8M"]
    for options, word in ((["--lun", "0:0=a"], "there is no disk 'a'"), (["--disk", MEM, "--lun", "0:0=a"], "there is no export"),
                          (["--disk", MEM, *first, *second, "--lun", "0:0=a"], "there are 2 exports: say which"),
                          (["--disk", MEM, *first, "--lun", "g/0:0=a"], "there is no export 'g'"),
                          (["--disk", MEM, *first, *second, "--lun", "e/0:0=a", "--lun", "f/0:0=a"], "another LUN writes to disk 'a'"),
                          (["--disk", MEM, *first, "--lun", "0:0=a", "--lun", "0:1=a,read-only=on"], "with other words"),
                          ([*both, *first, "--lun", "0:0=a,serial=S", "--lun", "0:1=b,serial=S"],
                           "disks 'a' and 'b' would both have serial S"),
                          ([*both, *first, "--lun", "0:0=a", "--lun", "0:1=b,serial=a"], "disks 'a' and 'b' would both have serial a"),
                          (["--disk", f"r=file:{lab.path('f.img')},lock=running", *first, "--lun", "0:0=r"], "has lock=running"),
                          (["--disk", MEM, *first, "--lun", "0:0=a", "--state", lab.path("nowhere")], "make that folder")):
        done = run(lab, *options)
        said = [line for line in done.stderr.splitlines() if " error " in line]
        expect(done.returncode == 1 and len(said) == 1 and word in said[0], f"{options}: {done}")


@case
def a_file_says_in_which_line(lab):
    with open(lab.path("conf"), "w") as conf:
        conf.write(f"disk {MEM}\nexport vhost-user:{lab.path('e')}\nlun 0:0=b\n")
    done = run(lab, "--config", lab.path("conf"))
    expect(done.returncode == 1 and "conf:3: there is no disk 'b'" in done.stderr, f"{done}")


@case
def capabilities_are_printed_as_json(lab):
    done = run(lab, "--print-capabilities")
    expect(done.returncode == 0 and json.loads(done.stdout) == {"type": "scsi"}, f"{done}")


@case
def luns_come_and_go(lab):
    scsid = Scsid(lab, [MEM, "b=mem:8M", "c=mem:8M"], [f"vhost-user:{lab.path('e')}"])
    for address in ("3:5=a,serial=S", "0:0=b"):
        scsid.ctl("lun", "add", address)
    expect(luns(scsid) == ["e/0:0", "e/3:5"], f"{luns(scsid)}")
    lun = scsid.ask("lun", "list")["luns"][1]
    expect((lun["disk"], lun["serial"], lun["size_bytes"], lun["read_only"]) == ("a", "S", 8 << 20, False), f"{lun}")
    for words, why in ((("lun", "add", "3:5=b"), "has a LUN 3:5 already"), (("lun", "add", "1:0=a"), "another LUN writes"),
                       (("lun", "add", "1:0=z"), "no disk 'z'"), (("lun", "add", "1=a"), "expected [EXPORT/]TARGET:LUN"),
                       (("lun", "remove", "1:0"), "has no LUN 1:0"), (("lun", "remove", "x"), "expected [EXPORT/]TARGET:LUN"),
                       (("lun", "add", "1:0=c,serial=S"), "disks 'a' and 'c' would both have serial S"),
                       (("disk", "remove", "a"), "used by 1 LUNs"), (("lun", "resize", "3:5", "4M"), "smaller"),
                       (("lun", "resize", "3:5", "huge"), "expected a size"), (("export", "remove", "z"), "no export 'z'")):
        done = scsid.ctl_run(*words)
        expect(done.returncode and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{words}: {done}")
    scsid.ctl("lun", "resize", "e/3:5", "16M")
    expect(scsid.ask("lun", "list")["luns"][1]["size_bytes"] == 16 << 20, "its size")
    scsid.ctl("lun", "remove", "3:5")
    scsid.ctl("lun", "add", "3:5=c,serial=S")  # nobody has that any more
    scsid.ctl("lun", "remove", "3:5")
    scsid.ctl("disk", "remove", "a")
    expect(luns(scsid) == ["e/0:0"], f"{luns(scsid)}")
    scsid.ctl("export", "remove", "e")
    expect(luns(scsid) == [] and not os.path.exists(lab.path("e")), "the export's LUNs, or its socket")
    scsid.ctl("disk", "remove", "b")
    end_well(scsid)


@case
def a_cluster_shares_a_disk_if_all_say_so(lab):
    scsid = Scsid(lab, [MEM], [f"vhost-user:{lab.path(name)}" for name in "ef"],
                  ["e/0:0=a,writers=many", "f/0:0=a,writers=many"])
    expect(luns(scsid) == ["e/0:0", "f/0:0"], f"{luns(scsid)}")
    done = scsid.ctl_run("lun", "add", "e/0:1=a")
    expect(done.returncode and "another LUN writes" in done.stderr, f"{done}")
    scsid.ctl("export", "add", f"vhost-user:{lab.path('g')},initiator=e")
    wait_until(lambda: "initiator 'e' is export 'e', too" in open(lab.path("scsid.log")).read(), 20, "that two exports are one machine to reservations")
    scsid.ctl("export", "remove", "e")
    expect(scsid.ask("disk", "show", "a")["disk"]["exports"] == 1, "who uses it")
    end_well(scsid)


@case
def reservations_that_cannot_be_read_are_told(lab):
    os.mkdir(lab.path("state"))
    for text, why in (("nonsense\n", "cannot be understood: remove it"),
                      ("vireo-reservations 1\nunit naa.3000000000000001\ngeneration 1\n", "is of a disk with another serial= or address")):
        with open(lab.path("state/a.reservations"), "w") as file:
            file.write(text)
        done = run(lab, "--disk", MEM, "--export", f"vhost-user:{lab.path('e')}", "--lun", "0:0=a", "--state", lab.path("state"))
        expect(done.returncode == 1 and why in done.stderr, f"{done}")


@case
def one_daemon_keeps_the_reservations_of_a_disk(lab):
    os.mkdir(lab.path("state"))
    words = ("--export", f"vhost-user:{lab.path('f')}", "--lun", "0:0=a", "--state", lab.path("state"))
    scsid = Scsid(lab, [MEM], [f"vhost-user:{lab.path('e')}"], ["0:0=a"], ["--state", lab.path("state")])
    done = run(lab, "--disk", MEM, *words)
    said = [line for line in done.stderr.splitlines() if " error " in line]
    expect(done.returncode == 1 and len(said) == 1 and "another process keeps" in said[0], f"{done}")
    scsid.ctl("lun", "remove", "0:0")
    scsid.ctl("lun", "add", "0:0=a")  # it takes its lock anew
    end_well(scsid)
    end_well(Scsid(lab, [MEM], [f"vhost-user:{lab.path('e')}"], ["0:0=a"], ["--state", lab.path("state")], name="again"))


if __name__ == "__main__":
    main()
