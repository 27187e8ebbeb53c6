#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A port that sends back what it gets, and one machine alone."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402

FRAMES, SLOTS = 300, 64


def counted(switch, name, direction, reason):
    return sum(queue[reason] for queue in switch.port(name)["queue_counters"] if queue["direction"] == direction)


@case_for({"": (), "_where_two_workers_serve": ("--workers", "2"), "_polled": ("--poll",)}, "frames_come_back_with_their_addresses_swapped{}")
def frames_come_back(lab, *options):
    switch = Switch(lab, [f"vhost-user:{lab.path('guest')},name=guest,worker=0", "loop:back"], options)
    with Front(lab.path("guest")) as guest:
        for number in range(FRAMES):
            guest.send(text_frame(1, 2, b"%d" % number + bytes(number)))
            for _, frame in guest.receive(20):
                expect(frame[:12] == mac(1) + mac(2), f"addresses: {frame[:12].hex()}")
                expect(frame[12:] == text_frame(1, 2, b"%d" % number + bytes(number))[12:], f"frame {number}: {frame[12:40]}")
        before = counted(switch, "back", "rx", "frames")
        expect(before == FRAMES == counted(switch, "back", "tx", "frames"), f"{before} of {FRAMES} came back")
        guest.send(text_frame(1, None, b"to all"))
        guest.send(text_frame(1, 2, b"the last"))
        texts = [frame[14:22] for _, frame in guest.receive(20)]
        expect(texts == [b"the last"], f"what is for many does not come back: {texts}")
        expect(counted(switch, "back", "tx", "frames") == FRAMES + 2, "it is taken")
        places = {(entry["mac"], entry["port"]) for entry in switch.ask("fdb", "show")["entries"]}
        expect(places == {(mac(1).hex(":"), "guest"), (mac(2).hex(":"), "back")}, f"learned: {places}")
    end_well(switch)


@case
def who_is_silent_beside_others_is_asked_to_notify_where_workers_poll(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('busy')}", f"vhost-user:{lab.path('silent')}", "loop:back"], ["--poll"])
    with Front(lab.path("busy")) as busy, Front(lab.path("silent")) as silent:
        ring = silent.transmit_ring

        def asked():
            """Its driver, for notifications: NO_NOTIFY is not set."""
            return not ring.peer.memory[ring.device] & 1

        def talk():
            """20 ms of it."""
            texts, end = [], time.monotonic() + 0.02
            while time.monotonic() < end:
                busy.send(text_frame(1, 2, b"busy"))
                texts += [frame[14:18] for _, frame in busy.receive(0.01)]
            return texts

        def sends(text):
            silent.send(text_frame(3, 1, text))
            wait_until(lambda: text in talk(), 20, f"{text} is heard", 0)
        sends(b"soon")
        for text in (b"then", b"late"):
            wait_until(lambda: talk() and asked(), 20, "it is silent for long", 0)
            sends(text)
        wait_until(lambda: talk() and asked(), 20, "it is silent again", 0)
        wait_until(lambda: not asked(), 20, "all are silent")
        ring.ring_kick = lambda: None
        silent.send(text_frame(3, 1, b"nobody was told"))
        wait_until(lambda: b"nobody was told" in [frame[14:29] for _, frame in busy.receive(1)], 20, "it is looked at", 0)
    end_well(switch)


if __name__ == "__main__":
    main()
