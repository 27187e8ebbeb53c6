#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Numbered frames at full rate between two ports, while all kinds of other ports come and go.

Nothing is corrupted, doubled or out of order, and each frame that is missing has been counted as dropped.
Each case runs for $VIREO_CHURN_SECONDS, 10 by default.
"""
import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well, given_back, held  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import program  # noqa: E402

SECONDS = float(os.environ.get("VIREO_CHURN_SECONDS", "10"))
EVERY_S = 0.1
WARM_UP_FRAMES = 2000  # more than vireo-bench needs to make itself known
TAPS = os.geteuid() == 0 and os.path.exists("/dev/net/tun")
RESIDENT, VISITOR = 1, 2  # addresses


class Visitor:
    """A port that is there every other time. To one with a path a front end comes, and sends to the resident."""

    def __init__(self, lab, switch, spec, path=None):
        self.lab, self.switch, self.spec, self.path = lab, switch, spec, path
        self.name, self.front, self.changes = None, None, 0

    def change(self):
        if self.name:
            self.leave()
        else:
            self.come()
        self.changes += 1

    def come(self):
        self.name = self.switch.ask("port", "add", self.spec)["name"]
        if self.path:
            self.front = Front(self.path)
            for n in range(8):
                self.front.send(text_frame(VISITOR, RESIDENT, bytes([n])))

    def leave(self):
        self.switch.ctl("port", "remove", self.name)
        self.name = None
        if self.front:
            expect(self.front.peer.hung_up(), "the port is gone, and its front end is still served")
            self.front.close()
            self.front = None


def visitors(lab, switch):
    path = lab.path("visitor.sock")
    found = [Visitor(lab, switch, f"vhost-user:{path}", path), Visitor(lab, switch, f"vhost-user:{lab.path('unused.sock')}"),
             Visitor(lab, switch, "null:hole")]
    if TAPS:
        found.append(Visitor(lab, switch, "tap:visitor0"))
    return found


class Resident:
    """A third front end that stays. It may shout, so that frames are on their way into ports that leave."""

    def __init__(self, lab, switch):
        self.front, self.switch, self.got = Front(lab.path("resident")), switch, 0
        self.front.send(text_frame(RESIDENT, None, b"here"))  # from now on nothing for it is flooded
        wait_until(lambda: switch.port("resident")["rx_frames"] == 1, 20, "the resident's first frame is seen")

    def turn(self, shout):
        self.got += len(self.front.poll())
        if shout:
            for n in range(8):
                self.front.send(text_frame(RESIDENT, None, bytes([n])))

    def frames_sent(self):
        wait_until(self.front.drained, 20, "the resident's frames are taken")
        return self.switch.port("resident")["rx_frames"] - 1


def churn(bench, guests, resident, shout):
    """Until vireo-bench has ended. Returns the number of changes."""
    following = time.monotonic()
    end = following + SECONDS + 60
    while bench.poll() is None:
        expect(time.monotonic() < end, "vireo-bench does not end")
        for guest in guests:
            guest.change()
            resident.turn(shout)
        now = time.monotonic()
        following = max(following + EVERY_S, now)
        time.sleep(following - now)
    for guest in guests:
        if guest.name:
            guest.leave()
    return sum(guest.changes for guest in guests)


def bench_start(lab, ring, queues):
    argv = [program("vireo-bench"), "net", "--from", lab.path("left"), "--to", lab.path("right"), "--ring", ring,
            "--queues", str(queues), "--size", "imix", "--seconds", str(SECONDS), "--verify", "--no-reorder", "--json"]
    with open(lab.path("report.json"), "wb") as report, open(lab.path("bench.log"), "wb") as log:
        return lab.start(argv, stdout=report, stderr=log)


def account(switch, report, shouted, before):
    """Every frame that came in went out or was counted, and vireo-bench has seen the same."""
    left, right = switch.port("left"), switch.port("right")
    sent, received = report["sent"]["frames"], report["received"]["frames"]
    early = right["counters"]["tx_no_queue"] - before["tx_drops"]  # of the warm-up, while the receiver's queues came up
    went, drops = right["tx_frames"], left["rx_drops"] + right["tx_drops"] - before["tx_drops"]
    print(f"     {sent} sent, {received} received, {drops} dropped, {early} of them before the receiver was ready")
    expect(report["unfinished"] == 0, f"{report['unfinished']} frames were never given back")
    expect(received > 300 * SECONDS, f"hardly any frames: {received}")
    expect(0 <= left["rx_frames"] - sent < WARM_UP_FRAMES, f"{sent} sent, {left['rx_frames']} taken from the port")
    expect(left["rx_frames"] + shouted == went + drops,
           f"{left['rx_frames']} and {shouted} came in, {went} went out, {drops} were dropped")
    expect(0 <= early < WARM_UP_FRAMES, f"{early} frames found the receiver without a queue")
    if not shouted:
        expect(sent - received == drops - early, f"{sent - received} are missing, {drops - early} were dropped")
        expect(report["foreign"] == 0, f"{report['foreign']} frames came that are for somebody else")
    by_reason = sum(queue[reason] for queue in right["queue_counters"] if queue["direction"] == "tx"
                    for reason in ("no_buffer", "too_long", "disabled", "error", "offload_refused", "filtered"))
    expect(by_reason == right["counters"]["tx_lost"], f"tx_lost {right['counters']['tx_lost']}, the queues say {by_reason}")


@case_for({
    "split": ("split", 1, 1, False),
    "packed": ("packed", 1, 1, False),
    "split_two_workers": ("split", 2, 2, False),
    "packed_two_workers": ("packed", 2, 2, False),
    "split_while_another_shouts": ("split", 1, 2, True),
}, "frames_are_right_and_accounted_for_while_ports_come_and_go_{}")
def frames_are_right_and_accounted_for(lab, ring, queues, workers, shout):
    specs = [f"vhost-user:{lab.path(name)},name={name},queues={queues}" for name in ("left", "right")]
    specs.append(f"vhost-user:{lab.path('resident')},name=resident")
    switch = WrappedSwitch(lab, QUIET_NETWORK if TAPS else (), specs, ["--workers", str(workers), "--log-level", "warning"])
    resident = Resident(lab, switch)
    guests = visitors(lab, switch)
    for guest in guests:  # once, so that what is made when first needed is there
        guest.come()
        guest.leave()
    before, before_fds = switch.port("right"), held(switch.child.pid)
    bench = bench_start(lab, ring, queues)
    changes = churn(bench, guests, resident, shout)
    with open(lab.path("report.json")) as text:
        report = json.loads(text.read() or "{}")
    expect(bench.returncode == 0, f"vireo-bench ended with {bench.returncode}: {report}")
    expect(not (report["corrupted"] or report["duplicated"] or report["reordered"] or report["bad_headers"]), f"{report}")
    print(f"     {changes} ports came or went in {SECONDS:g} s")
    expect(changes > SECONDS * 4, "that is too few to say anything")
    account(switch, report, resident.frames_sent(), before)
    expect(resident.got, "the resident has received nothing of the visitors")
    given_back(switch.child.pid, before_fds)
    resident.front.close()
    end_well(switch)


if __name__ == "__main__":
    main()
