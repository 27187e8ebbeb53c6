#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of vireo-blkd that are images of a Ceph cluster: one is made on this machine, where its programs are. `make rbd` installs them."""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.ceph import POOL, Ceph  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.requests import FLUSH, IN, OK, OUT, Requests  # noqa: E402
from guest.switch import build_folder, program  # noqa: E402

MIB = 16
UNITS = os.path.join(build_folder(), "disk", "disk_rbd_test")
OPEN_S = 60  # at most: disk/rbd.c gives each answer 8 s
LOCK_S = 60  # so long the cluster may keep the lock of a client that was killed: half a minute, as it comes


def cluster(lab):
    if not os.path.exists(UNITS):
        raise Skip("this was built without librbd: package librbd-dev")
    return Ceph(lab)


def disk_size(blkd, name):
    return blkd.ask("disk", "show", name)["disk"]["size_bytes"]


@case(shows=[("vhost-user", "split")])
def images_of_a_cluster_are_disks(lab):
    """Each rule of the kind, then a driver: what it writes is in the image, it is told of a resize by others and by us, and a server that stands still
    for a moment is waited for."""
    ceph = cluster(lab)
    units = ceph.image("u", 1)
    ceph.image("u-large", 32)
    ceph.image("plain", 8, "--image-feature", "layering")
    done = subprocess.run([UNITS], env={**os.environ, "VIREO_RBD": units}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    expect(done.returncode == 0, done.stdout)

    blkd = Blkd(lab, [f"d={ceph.image('d', MIB)}", "other=mem:1M"], [f"vhost-user:{lab.path('d')},disk=d", f"vhost-user:{lab.path('o')},disk=other"])
    with Requests(lab.path("d")) as driver, Requests(lab.path("o")) as neighbour:
        for sector in (0, 9000, (MIB << 11) - 1):
            expect(driver.one(OUT, sector, bytes([sector % 251]) * 512) == OK, f"sector {sector} is not written")
        expect(driver.one(FLUSH) == OK, "a flush fails")
        for sector in (0, 9000, (MIB << 11) - 1):
            expect(driver.one(IN, sector) == OK and driver.data(0) == bytes([sector % 251]) * 512, f"sector {sector} has something else")
        theirs = subprocess.run(["rbd", "-c", ceph.conf, "export", "--no-progress", f"{POOL}/d", "-"], stdout=subprocess.PIPE, timeout=60).stdout
        expect(theirs[9000 * 512:9001 * 512] == bytes([9000 % 251]) * 512, "the image has something else")

        ceph.run("rbd", "resize", f"{POOL}/d", "--size", str(2 * MIB))
        wait_until(lambda: disk_size(blkd, "d") == 2 * MIB << 20, 30, "a resize by somebody else is seen", child=blkd.child)
        wait_until(lambda: driver.one(OUT, (2 * MIB << 11) - 1, bytes(512)) == OK, 20, "the driver has the new end", child=blkd.child)
        blkd.ctl("disk", "resize", "d", f"{3 * MIB}M")
        expect(f"{3 * MIB} MiB" in ceph.run("rbd", "info", f"{POOL}/d"), "a resize of ours has not come to the cluster")

        ceph.stand_still()
        driver.ask(0, OUT, 5, b"\5" * 512)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            expect(neighbour.one(IN) == OK, "the neighbour is disturbed")
            expect(not driver.ring.used(), "a request is done that nobody can have done")
        ceph.stand_still(False)
        wait_until(lambda: driver.ring.used(), 30, "the request that hung is done", child=blkd.child)
        expect(driver.status(0) == OK, "the request that hung has failed")
    end_well(blkd)


@case(shows=[("vhost-user", "split")])
def an_image_outlives_its_daemon_and_has_one_writer(lab):
    ceph = cluster(lab)
    blkd = Blkd(lab, [f"d={ceph.image('d', MIB)}"], [f"vhost-user:{lab.path('d')},disk=d"])
    second = Blkd(lab, [f"d={ceph.spec('d')},read-only=on"], [f"vhost-user:{lab.path('e')},disk=d,read-only=on"], name="second")
    refused = second.ctl_run("disk", "add", f"again={ceph.spec('d')}")
    expect(refused.returncode and "another client has it" in refused.stderr, refused.stderr)
    with Requests(lab.path("d")) as driver, Requests(lab.path("e")) as reader:
        expect(driver.one(OUT, 7, b"\7" * 512) == OK and driver.one(FLUSH) == OK, "it is not written")
        expect(reader.one(IN, 7) == OK and reader.data(0) == b"\7" * 512, "who only reads does not see it")
    blkd.kill()
    began = time.monotonic()
    blkd.child = lab.start(blkd.argv, log="blkd.log", cwd=lab.folder)
    wait_until(blkd.listening, LOCK_S, "the next process has the lock", child=blkd.child)
    print(f"     the lock of a client that was killed was had {time.monotonic() - began:.0f} s later")
    with Requests(lab.path("d")) as driver:
        expect(driver.one(IN, 7) == OK and driver.data(0) == b"\7" * 512, "what was flushed is gone")
        expect(driver.one(OUT, 8, b"\x08" * 512) == OK, "it is not written to any more")
    end_well(second)
    end_well(blkd)


def begun(*argv):
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@case
def servers_that_are_silent_hold_nobody_up_for_long(lab):
    """A disk is not opened, at a start and later, and one is removed; what a driver asks for is waited for, longer than any of these."""
    ceph = cluster(lab)
    more = ceph.image("more", MIB)
    blkd = Blkd(lab, [f"d={ceph.image('d', MIB)}", f"gone={ceph.image('gone', MIB)}"], [f"vhost-user:{lab.path('d')},disk=d"])
    with Requests(lab.path("d")) as driver:
        expect(driver.one(OUT, 5, b"\4" * 512) == OK, "it is not written")
        ceph.stand_still()
        driver.ask(0, OUT, 5, b"\5" * 512)
        began = time.monotonic()
        ctl = program("vireoctl"), "-s", blkd.control, "--daemon", "blkd", "--timeout", str(OPEN_S), "disk"
        opening = begun(*ctl, "add", f"more={more}"), begun(blkd.argv[0], "--disk", f"m={more}", "--control", lab.path("other"))
        removing = begun(*ctl, "remove", "gone")
        for child in opening:
            _, why = child.communicate(timeout=OPEN_S)
            expect(child.returncode == 1 and "do the storage servers answer?" in why, f"{child.args}: {child.returncode}: {why}")
        _, why = removing.communicate(timeout=OPEN_S)
        expect(removing.returncode == 0, why)
        print(f"     two that are not opened and one that is removed: {time.monotonic() - began:.0f} s")
        expect(not driver.ring.used(), "a request is done that nobody can have done")
        ceph.stand_still(False)
        wait_until(driver.ring.used, 30, "the request that hung is done", child=blkd.child)
        expect(driver.status(0) == OK, "the request that hung has failed")
        blkd.ctl("disk", "add", f"more={more}")
    end_well(blkd)


if __name__ == "__main__":
    main()
