#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vireo-blkd as a program: what it takes, what it says, and what may be done with disks and exports while it runs."""
import json
import os
import socket
import subprocess
import struct
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, made_file  # noqa: E402
from guest.front import raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.requests import IN, IOERR, OK, OUT, Requests  # noqa: E402
from guest.switch import program  # noqa: E402

MEM = "a=mem:8M"
CONFIG_BYTES = 60


def run(lab, *options, seconds=20):
    """Runs it to its end, which must be soon."""
    return subprocess.run([program("vireo-blkd"), "--control", lab.path("control"), *options], capture_output=True, text=True,
                          timeout=seconds, cwd=lab.folder)


def expect_one_line(done, status, *words):
    lines = done.stderr.splitlines()
    expect(done.returncode == status, f"exit status {done.returncode} instead of {status}: {done.stderr}")
    expect(len(lines) == 1, f"{len(lines)} lines: {done.stderr}")
    for word in words:
        expect(word in lines[0], f"no '{word}' in: {lines[0]}")


# ---- the command line ----

BAD_OPTIONS = {
    "unknown": (["--nonsense"], "--nonsense", "expected"),
    "disk_without_name": (["--disk", "mem:8M"], "mem:8M", "expected NAME=TYPE:ADDRESS"),
    "disk_with_odd_name": (["--disk", "a/b=mem:8M"], "'a/b'", "expected a name"),
    "disk_of_unknown_kind": (["--disk", "a=qcow2:x"], "qcow2:x", "expected"),
    "disk_of_no_size": (["--disk", "a=mem:much"], "mem 'much'", "expected a size"),
    "disk_of_half_a_sector": (["--disk", "a=mem:256"], "mem '256'", "multiple of 512"),
    "disk_key": (["--disk", "a=mem:8M,colour=red"], "colour", "takes"),
    "disk_twice": (["--disk", MEM, "--disk", "a=null:1G"], "'a'", "expected another name"),
    "export_without_disk": (["--export", "vhost-user:/tmp/x"], "expected disk=NAME"),
    "export_key": (["--export", "vhost-user:/tmp/x,disk=a,mtu=9000"], "mtu", "expected one of: name disk queues"),
    "export_queues": (["--export", "vhost-user:/tmp/x,disk=a,queues=257"], "queues=257", "expected 1 to 256"),
    "export_serial": (["--export", "vhost-user:/tmp/x,disk=a,serial=" + "s" * 21], "serial=sss", "expected 1 to 20"),
    "export_writers": (["--export", "vhost-user:/tmp/x,disk=a,writers=2"], "writers=2", "expected one or many"),
    "export_reader_of_many": (["--export", "vhost-user:/tmp/x,disk=a,writers=many,read-only=on"], "writers", "without read-only"),
    "export_twice": (["--disk", MEM, "--export", "vhost-user:/tmp/x,disk=a,name=x", "--export", "vhost-user:/tmp/y,disk=a,name=x"],
                     "'x'", "expected another name"),
    "export_postcopy": (["--export", "vhost-user:/tmp/x,disk=a,postcopy=on"], "postcopy", "expected one of"),
    "workers": (["--workers", "0"], "workers '0'", "expected a number from 1 to 128"),
    "fd_of_none": (["--fd", "2", "--blk-file", "x"], "fd '2'", "from 3 on"),
    "socket_without_file": (["--socket-path", "/tmp/x"], "expected --blk-file"),
    "socket_and_fd": (["--socket-path", "/tmp/x", "--fd", "3", "--blk-file", "x"], "expected one of"),
    "file_without_socket": (["--blk-file", "x"], "with --socket-path or --fd only"),
    "read_only_without_socket": (["--read-only"], "with --socket-path or --fd only"),
}


@case_for(BAD_OPTIONS, "one_line_and_exit_2_for_option_{}")
def one_line_and_exit_2_for_option(lab, options, *words):
    done = run(lab, *options)
    expect_one_line(done, 2, *words)
    expect(done.stderr.startswith("vireo-blkd: "), done.stderr)
    expect(not os.path.exists(lab.path("control")), "it has left its control socket")


@case
def one_line_and_exit_1_when_the_environment_fails(lab):
    export = f"vhost-user:{lab.path('e')},disk=a"
    for options, *words in (
            (["--disk", MEM, "--export", f"vhost-user:{lab.folder}/no/folder,disk=a"], "no/folder", "folder does not exist"),
            (["--disk", MEM, "--export", f"vhost-user:{lab.path('e')},disk=b"], "no disk 'b'", "add it first"),
            (["--disk", MEM, "--export", export, "--export", export], "already", "choose another"),
            (["--disk", MEM, "--export", export, "--export", f"vhost-user:{lab.path('f')},disk=a"], "another export writes", "writers=many"),
    ):
        expect_one_line(run(lab, "--log-level", "error", *options), 1, *words)
        expect(not os.path.exists(lab.path("control")) and not os.path.exists(lab.path("e")), "it has left a socket")


@case
def a_config_file_says_the_same(lab):
    with open(lab.path("conf"), "w") as conf:
        conf.write(f"# disks\ndisk {MEM}\ndisk b=null:1G\nexport vhost-user:{lab.path('e')},disk=b\nworkers 2\n")
    blkd = Blkd(lab, options=["--config", lab.path("conf")])
    expect([disk["name"] for disk in blkd.ask("disk", "list")["disks"]] == ["a", "b"], "disks")
    expect([export["disk"] for export in blkd.ask("export", "list")["exports"]] == ["b"], "exports")
    expect(len(blkd.ask("stats")["workers"]) == 2, "workers")
    end_well(blkd)


# ---- QEMU's conventions ----

@case
def capabilities_are_printed_as_json(lab):
    done = run(lab, "--print-capabilities")
    expect(done.returncode == 0 and not done.stderr, f"{done}")
    expect(json.loads(done.stdout) == {"type": "block", "features": ["read-only", "blk-file"]}, done.stdout)


def config_space(where, offset=0, size=CONFIG_BYTES):
    """What a driver reads: by a front end that has told no memory."""
    with raw.VhostUserPeer(where, timeout=30) as peer:
        peer.negotiate(0)
        answer = peer.ask(raw.GET_CONFIG, struct.pack("=III", offset, size, 0) + bytes(size))
        return answer[12:]


def conventional(lab, *words, **more):
    """A daemon as libvirt starts it: no control socket tells when it is ready."""
    made_file(lab.path("disk.img"), 8)
    return lab.start([program("vireo-blkd"), "--blk-file", lab.path("disk.img"), *words], log="blkd.log", cwd=lab.folder, **more)


def capacity(where):
    return struct.unpack("<Q", config_space(where, 0, 8))[0] << 9


@case
def a_file_is_served_at_the_path_of_a_socket(lab):
    child = conventional(lab, "--socket-path", lab.path("s"))
    wait_until(lambda: os.path.exists(lab.path("s")), 20, "its socket", child=child)
    for _ in range(2):  # one front end after the other
        expect(capacity(lab.path("s")) == 8 << 20, "another size")
    child.terminate()
    expect(child.wait(20) == 0 and not os.path.exists(lab.path("s")), "it did not end well")


@case
def a_file_is_served_at_a_socket_that_was_handed_over(lab):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(lab.path("s"))
        listener.listen(1)
        fd = listener.fileno()
        child = conventional(lab, "--fd", str(fd), "--read-only", pass_fds=[fd])
    expect(capacity(lab.path("s")) == 8 << 20, "another size")
    child.terminate()
    expect(child.wait(20) == 0, "it did not end well")


@case
def a_daemon_ends_with_the_front_end_that_it_was_handed(lab):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours:
        with theirs:
            child = conventional(lab, "--fd", str(theirs.fileno()), pass_fds=[theirs.fileno()])
        ours.settimeout(20)
        ours.sendall(struct.pack("=III", raw.GET_FEATURES, 1, 0))
        expect(len(ours.recv(20)) == 20, "no answer")
        expect(child.poll() is None, "it has ended before")
    expect(child.wait(20) == 0, "it did not end well")


# ---- disks and exports, while it runs ----

@case
def disks_and_exports_come_and_go(lab):
    blkd = Blkd(lab)
    expect(blkd.ask("disk", "add", MEM) == {"name": "a"}, "disk add")
    expect([disk["spec"] for disk in blkd.ask("disk", "list")["disks"]] == ["mem:8M"], "disk list")
    blkd.ctl("export", "add", f"vhost-user:{lab.path('e')},disk=a")
    expect(os.path.exists(lab.path("e")), "no socket")
    for words, why in ((("disk", "add", MEM), "already"), (("disk", "remove", "a"), "used by 1 exports"),
                       (("disk", "remove", "z"), "no disk 'z'"), (("export", "remove", "z"), "no export 'z'"),
                       (("disk", "resize", "a", "4M"), "smaller"), (("disk", "resize", "a", "huge"), "expected a size"),
                       (("export", "add", f"vhost-user:{lab.path('f')},disk=a"), "another export writes"),
                       (("export", "add", "vhost-user:/tmp/x"), "expected disk=NAME"), (("disk", "add", "mem:8M"), "expected NAME=")):
        done = blkd.ctl_run(*words)
        expect(done.returncode and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{words}: {done}")
    blkd.ctl("export", "add", f"vhost-user:{lab.path('f')},disk=a,read-only=on")
    expect(blkd.export("f")["read_only"] and not blkd.export("e")["read_only"], "who may write")
    for name in ("e", "f"):
        blkd.ctl("export", "remove", name)
        expect(not os.path.exists(lab.path(name)), "its socket is left")
    blkd.ctl("disk", "remove", "a")
    expect(blkd.ask("disk", "list")["disks"] == [], "disks")
    end_well(blkd)


@case
def a_disk_that_has_to_be_waited_for_holds_up_nobody(lab):
    """Somebody has a lock on its file. Other disks are added meanwhile, and the daemon ends well while one is being opened."""
    made_file(lab.path("busy.img"), 8)
    holder = Blkd(lab, [f"x=file:{lab.path('busy.img')}"], name="holder")
    blkd = Blkd(lab)

    def add():
        return subprocess.Popen([program("vireoctl"), "--daemon", "blkd", "-s", blkd.control, "disk", "add", f"busy=file:{lab.path('busy.img')}"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waits = add()
    blkd.ctl("disk", "add", MEM)
    said = waits.communicate(timeout=30)[1]
    expect(waits.returncode == 1 and f"process {holder.child.pid} (vireo-blkd) uses it" in said, f"{waits.returncode}: {said}")
    waits = add()
    end_well(blkd)  # whether it waits by now or not
    waits.communicate(timeout=30)
    expect(waits.returncode, "it was opened all the same")
    end_well(holder)


@case
def several_may_write_if_all_say_so(lab):
    blkd = Blkd(lab, [MEM], [f"vhost-user:{lab.path(name)},disk=a,writers=many" for name in "ef"])
    expect(blkd.ask("disk", "show", "a")["disk"]["writers"] == 2, "writers")
    done = blkd.ctl_run("export", "add", f"vhost-user:{lab.path('g')},disk=a")
    expect(done.returncode == 1 and "another export writes" in done.stderr, f"{done}")
    end_well(blkd)


@case
def a_resize_while_nobody_is_there_is_seen_by_who_comes(lab):
    blkd = Blkd(lab, [MEM], [f"vhost-user:{lab.path('e')},disk=a"])
    expect(struct.unpack_from("<Q", config_space(lab.path("e")))[0] == 8 << 11, "capacity")
    expect(blkd.ask("disk", "resize", "a", "16M")["size_bytes"] == 16 << 20, "size")
    expect(struct.unpack_from("<Q", config_space(lab.path("e")))[0] == 16 << 11, "capacity after the resize")
    end_well(blkd)


@case
def a_file_that_somebody_resizes_is_a_disk_of_that_size(lab):
    image = made_file(lab.path("a.img"), 8)
    blkd = Blkd(lab, [f"a=file:{image}"], [f"vhost-user:{lab.path('e')},disk=a"])
    for size in (16 << 20, (4 << 20) + 100):
        os.truncate(image, size)
        want = size // 512 * 512
        wait_until(lambda want=want: blkd.ask("disk", "show", "a")["disk"]["size_bytes"] == want, 20, f"a disk of {want} bytes", child=blkd.child)
        # Exports are told when the control thread hears of what its helper has found.
        wait_until(lambda want=want: capacity(lab.path("e")) == want, 20, f"a driver that sees {want} bytes", child=blkd.child)
    blkd.ctl("export", "remove", "e")
    blkd.ctl("disk", "remove", "a")
    os.truncate(image, 8 << 20)
    blkd.ctl("disk", "add", f"a=file:{image}")
    end_well(blkd)
    with open(blkd.child.log, errors="replace") as log:
        text = log.read()
    expect(text.count("somebody has made it smaller") == 1 and text.count("somebody has made it larger") == 1, text)


def mapped(child):
    """How much of a daemon's memory is that of files in memory."""
    with open(f"/proc/{child.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssShmem:"))


@case
def a_file_in_memory_that_somebody_cuts_costs_its_requests_and_nobody_else(lab):
    """A file of tmpfs is mapped: what is cut off under the daemon is an error of a request, and no end by a signal."""
    if not os.path.ismount("/dev/shm"):
        raise Skip("/dev/shm is no file system of its own")
    with open("/proc/swaps") as swaps:
        swap = len(swaps.readlines()) > 1
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as image:
        image.truncate(8 << 20)
        blkd = Blkd(lab, [f"a=file:{image.name}", "b=mem:1M"], [f"vhost-user:{lab.path('a')},disk=a", f"vhost-user:{lab.path('b')},disk=b"])
        with Requests(lab.path("a")) as a, Requests(lab.path("b")) as b:
            for sector in range(0, 4096, 8):
                for _ in range(2):  # the second time it is there
                    expect(a.one(OUT, sector, struct.pack("<I", sector) * 128) == OK, f"sector {sector}")
            expect(swap or mapped(blkd.child) >= 2 << 20, "it is not mapped: this shows nothing")
            os.truncate(image.name, 1 << 20)
            expect(a.one(IN, 3000 // 8 * 8) == IOERR, "what was cut off is read")
            expect(a.one(IN, 8) == OK and a.data(0) == struct.pack("<I", 8) * 128, "what is left")
            expect(b.one(OUT, 8, bytes(512)) == OK, "another disk")
            os.truncate(image.name, 8 << 20)
            wait_until(lambda: blkd.ask("disk", "show", "a")["disk"]["size_bytes"] == 8 << 20, 20, "it has its size again", child=blkd.child)
            expect(a.one(OUT, 3000, b"w" * 512) == OK and a.one(IN, 3000) == OK and a.data(0) == b"w" * 512, "it is written to again")
            with open(image.name, "rb") as file:
                file.seek(3000 * 512)
                expect(file.read(512) == b"w" * 512, "the file has something else")
        end_well(blkd)


@case
def a_line_that_fails_in_the_environment_is_named(lab):
    config, missing = lab.path("settings"), lab.path("no/folder")
    for lines, number in ((f"log-level error\ndisk a=file:{missing}\n", 2),
                          (f"log-level error\ndisk a=mem:1M\n\nexport vhost-user:{missing},disk=a\n", 4)):
        with open(config, "w") as file:
            file.write(lines)
        done = run(lab, "--config", config)
        expect(done.returncode == 1 and f"{config}:{number}: " in done.stderr and missing in done.stderr, f"{done}")
        expect(len(done.stderr.splitlines()) == 1, done.stderr)


if __name__ == "__main__":
    main()
