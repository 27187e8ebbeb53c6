#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a daemon in a memory cgroup of its own is charged for by its peers: pages that they have never touched."""
import os
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, raw, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402
from peer import NO  # noqa: E402

MIB = 1 << 20
PAGE = 4096
SPARSE_BYTES = 1 << 30
SPARSE_AT = 1 << 40
LIMIT = 64 * MIB
VERSIONS = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/unified", "memory.max")]


class Cgroup:
    """A memory cgroup with a limit, wherever this machine lets one be made."""

    def __init__(self, limit):
        for root, file in VERSIONS:
            self.path = f"{root}/vireo-test-{os.getpid()}"
            try:
                os.mkdir(self.path)
            except OSError:
                continue
            try:
                self.write(file, limit)
                return
            except OSError:
                os.rmdir(self.path)
        raise Skip("no memory cgroup can be made here")

    def write(self, file, value):
        with open(f"{self.path}/{file}", "w") as out:
            out.write(str(value))

    def remove(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:  # a process that has ended leaves it a little later
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.05)


def in_cgroup(lab, cgroup, ports):
    switch = Switch(lab, ports)
    cgroup.write("cgroup.procs", switch.child.pid)  # where it is only now: limits are looked at with each session
    return switch


def exchange(a, b, number):
    a.send(text_frame(1, 2, b"%d" % number))
    expect(any(b"%d" % number in data for _, data in b.receive(30)), "the honest pair's frame has not come")


def frames_in_untouched_pages(peer, ring, switch):
    for page in range(0, SPARSE_BYTES // PAGE, ring.size):
        for i in range(ring.size):
            ring.descriptor(i, SPARSE_AT + (page + i) * PAGE, 72)
            ring.offer(i)
        ring.ring_kick()
        while ring.used_now() != ring.avail_index:
            if not switch.alive() or peer.hung_up(0.002):
                return


def walk(path, switch, kept):
    """A session of frames in pages that nobody has touched, one after the other, a gigabyte of them at most. `kept` gets
    its file. Returns whether it was closed."""
    with raw.VhostUserPeer(path) as peer:
        try:
            _, transmit = peer.ready()
            fd = peer.keep(os.memfd_create("sparse"))
            kept.append(os.dup(fd))
            os.ftruncate(fd, SPARSE_BYTES)
            region = struct.pack("=5Q", 0, SPARSE_AT, SPARSE_BYTES, SPARSE_AT, 0)
            expect(not peer.ack(raw.ADD_MEM_REG, region, [fd]), "the region is refused")
            frames_in_untouched_pages(peer, transmit, switch)
        except NO:
            return True
        return peer.hung_up(0.1)


@case
def peer_whose_untouched_pages_are_made_here_is_broken_before_the_daemon_is_killed(lab):
    if os.geteuid():
        raise Skip("needs root, for a memory cgroup")
    cgroup, switch, kept = Cgroup(LIMIT), None, []
    try:
        paths = [lab.path(f"{name}.sock") for name in ("a", "b", "liar")]
        switch = in_cgroup(lab, cgroup, [f"vhost-user:{path}" for path in paths])
        with Front(paths[0]) as a, Front(paths[1]) as b:
            exchange(b, a, 1)
            exchange(a, b, 2)
            for again in range(3):  # with a new file each, and the pages of the others stay: their files are held here
                expect(walk(paths[2], switch, kept), "it could have a gigabyte made")
                expect(switch.alive(), "the daemon was killed")
                held = sum(os.fstat(fd).st_blocks * 512 for fd in kept)
                expect(held <= LIMIT // 4, f"{held >> 20} MiB were made of {LIMIT >> 20}")
                exchange(a, b, 10 + again)
            memory = switch.port("liar")["memory"]
            expect(0 < memory["made_bytes"] <= LIMIT // 4, f"{memory}")
            wait_until(lambda: "which is its share" in open(switch.child.log, errors="replace").read(), 20, "the line says why")
        end_well(switch)
    finally:
        if switch:
            switch.kill()
        for fd in kept:
            os.close(fd)
        cgroup.remove()


main()
