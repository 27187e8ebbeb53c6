#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vireoctl --daemon blkd worker move: queues of a disk go from one worker to another while requests come, and none of those is lost, done twice or
told before it is done."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, made_file  # noqa: E402
from guest.lab import tail, wait_until  # noqa: E402
from guest.requests import IN, OUT, Requests, together  # noqa: E402
from guest.switch import build_folder, program  # noqa: E402

DEPTH, SECTOR = 32, 512


def server_of(blkd, export, queue=0):
    return [worker["worker"] for worker in blkd.ask("worker", "list")["workers"] if {"export": export, "queue": queue} in worker["queues"]]


def log_of(blkd):
    with open(blkd.child.log) as log:
        return log.read()


def content(number):
    return number.to_bytes(4, "little") * (SECTOR // 4)


def disk_spec(lab, kind):
    return {"mem": "d=mem:1M", "file": f"d=file:{made_file(lab.path('disk.raw'), 1)}", "limited": "d=mem:1M,iops=2000,iops-burst=5"}[kind]


@case_for({"mem": ("mem",), "file": ("file",), "limited": ("limited",)}, "a_queue_goes_to_another_worker_while_requests_come_{}")
def a_queue_goes_to_another_worker(lab, kind):
    blkd = Blkd(lab, [disk_spec(lab, kind)], [f"vhost-user:{lab.path('e')},disk=d,queues=1"], ["--workers", "3"])
    with Requests(lab.path("e"), depth=DEPTH) as front:
        for number in range(DEPTH):
            expect(front.one(OUT, number, content(number)) == 0, "a write")
        for slot in range(DEPTH):
            front.ask(slot, IN, slot)
        for i in range(30):
            before = front.done
            answer = blkd.ask("worker", "move", "e:0" if i % 2 else "e", str(i % 3))
            expect(answer == {"name": "e", "worker": i % 3, "first_queue": 0, "queues": 1}, f"{answer}")
            wait_until(lambda i=i: server_of(blkd, "e") == [i % 3], 20, f"worker {i % 3} serves it: {server_of(blkd, 'e')}")
            together([front], lambda before=before: front.done > before + 2 * DEPTH)
        left = DEPTH  # all of them come to an end, each once

        def ended():
            nonlocal left
            left -= front.take(again=False)
            return not left
        wait_until(ended, 20, "what is in flight comes to an end", step=0.001)
        for slot in range(DEPTH):  # take() asks anew for the first sector: these are read apart
            expect(front.one(IN, slot) == 0 and front.data(0) == content(slot), f"sector {slot} holds another's bytes")
    end_well(blkd)


@case
def where_it_was_sent_it_is_when_it_comes_again(lab):
    blkd = Blkd(lab, ["d=mem:1M"], [f"vhost-user:{lab.path('e')},disk=d,queues=4"], ["--workers", "2"])
    expect(all(worker["queues"] == [] for worker in blkd.ask("worker", "list")["workers"]), "nothing runs")
    for worker in (1, 0, 1):
        answer = blkd.ask("worker", "move", "e", str(worker))  # nobody is there: it holds for who comes
        expect(answer["queues"] == 4, f"{answer}")
        with Requests(lab.path("e")) as front:
            expect(front.one() == 0, "a read")
            expect(server_of(blkd, "e") == [worker], f"{server_of(blkd, 'e')}")
        wait_until(lambda: blkd.export("e")["state"] == "listening", 20, "it listens again")
    end_well(blkd)


class Hanging:
    """A disk whose requests hang from now on, with one of them, until goes_on()."""

    def __init__(self, lab):
        module, self.file = os.path.join(build_folder(), "tests/daemon/hang.so"), lab.path("hang")
        if not os.path.exists(module):
            raise Skip("what makes a disk hang has not been built")
        if os.environ.get("LD_PRELOAD"):
            raise Skip("something else is preloaded")
        os.environ.update(LD_PRELOAD=module, HANG=self.file)
        try:
            self.blkd = Blkd(lab, [f"d=file:{made_file(lab.path('disk.raw'), 1)},io=threads,threads=1"],
                             [f"vhost-user:{lab.path('e')},disk=d,queues=1"], ["--workers", "2"])
        finally:
            del os.environ["LD_PRELOAD"], os.environ["HANG"]
        self.front = Requests(lab.path("e"))
        expect(self.front.one() == 0, "a read")
        with open(self.file, "w"):
            pass
        self.front.ask(0)
        self.here = server_of(self.blkd, "e")[0]

    def move(self, lab):
        """To the other worker: begun, and not done."""
        move = lab.start([program("vireoctl"), "-s", self.blkd.control, "--daemon", "blkd", "worker", "move", "e", str(1 - self.here)], log="move.log")
        wait_until(lambda: "go to worker" in log_of(self.blkd), 20, "the move has begun")
        return move

    def goes_on(self):
        os.unlink(self.file)


@case
def a_move_waits_for_what_the_disk_has_and_a_second_one_is_told(lab):
    hanging = Hanging(lab)
    blkd, front = hanging.blkd, hanging.front
    move = hanging.move(lab)
    done = blkd.ctl_run("worker", "move", "e", str(hanging.here))
    expect(done.returncode == 1 and "another move" in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    expect(move.poll() is None and server_of(blkd, "e") == [hanging.here], "the disk still has a request of that worker's")
    hanging.goes_on()
    expect(move.wait(20) == 0, tail(move.log))
    wait_until(lambda: front.take(again=False), 20, "the request is done", step=0.001)
    wait_until(lambda: server_of(blkd, "e") == [1 - hanging.here], 20, "the other worker serves it")
    expect(front.one() == 0, "a read")
    front.close()
    end_well(blkd)


@case
def an_export_that_is_removed_meanwhile_answers_the_move(lab):
    hanging = Hanging(lab)
    move = hanging.move(lab)
    remove = lab.start([program("vireoctl"), "-s", hanging.blkd.control, "--daemon", "blkd", "export", "remove", "e"], log="remove.log")
    wait_until(lambda: hanging.blkd.ask("export", "list") == {"exports": []}, 20, "it is on its way out")
    hanging.goes_on()
    expect(move.wait(20) == 0 and remove.wait(20) == 0, tail(move.log) + tail(remove.log))
    hanging.front.close()
    end_well(hanging.blkd)


@case
def what_cannot_be_moved_is_refused_in_one_line(lab):
    blkd = Blkd(lab, ["d=mem:1M"], [f"vhost-user:{lab.path('e')},disk=d,queues=2"], ["--workers", "2"])

    def refused(status, *words):
        done = blkd.ctl_run("worker", "move", *words)
        expect(done.returncode == status and len(done.stderr.splitlines()) == 1 and not done.stdout, f"{words}: {done}")
        return done.stderr
    for worker in ("", "2", "x", "1.0", "0x1", "99999999999999999999", "9" * 400):
        expect("expected a number below 2" in refused(2, "e", worker), worker[:20])
    for queue in ("", "2", "x", "0:0", "9" * 400):
        expect("expected a number below 2" in refused(2, f"e:{queue}", "0"), queue[:20])
    for words in ([], ["e"], ["e", "0", "1"]):
        refused(2, *words)
    for export in ("none", "none:0", "", ":0", "x" * 400):
        expect("no export" in refused(1, export, "0"), export[:20])
    end_well(blkd)


if __name__ == "__main__":
    main()
