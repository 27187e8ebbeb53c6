#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A short soak (`make soak` is the long one), with the same dice each time; and that what is lost there would be seen."""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
SOAK = os.path.join(os.path.dirname(HERE), "soak")
sys.path[:0] = [os.path.dirname(HERE), SOAK, os.path.join(os.path.dirname(HERE), "hostile")]

from couple import Couple  # noqa: E402
from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.lab import tail  # noqa: E402
from guest.switch import Switch  # noqa: E402

SECONDS = os.environ.get("SOAK_SECONDS", "15")


def what_was_wrong(log):
    """In one line, which is all that many readers of a failed case see."""
    with open(log, errors="replace") as lines:
        said = [line.rstrip() for line in lines if line.startswith(("WRONG ", "LEAK ", "FAILED: "))]
    return "; ".join(dict.fromkeys(said)) or "nothing is said of why"  # what is wrong is said at once, and again at the end


@case
def honest_and_hostile_peers_mixed_lose_nothing_and_leak_nothing(lab):
    child = lab.start([os.path.join(SOAK, "run"), "--seconds", SECONDS, "--seed", os.environ.get("SOAK_SEED", "1")], log="soak.log")
    try:
        status = child.wait(float(SECONDS) + 300)
    except subprocess.TimeoutExpired:
        status = "no end"
    said = tail(lab.path("soak.log"), 60)
    print("".join(f"     {line}" for line in said.splitlines(True)))
    expect(status == 0, f"it ended with {status}: {what_was_wrong(lab.path('soak.log'))}")
    expect("nothing lost, nothing leaked" in said, "and does not say so")


@case
def kills_that_are_asked_to_end_when_they_have_ended_end_well(lab):
    """The soak asks them in any case, and its time and theirs are over at about the same moment."""
    child = lab.start([sys.executable, os.path.join(SOAK, "kills.py"), "0.1", "1", "3"], stdout=subprocess.PIPE)
    said = child.stdout.readline(), child.stdout.readline()  # of its fault, and its last word
    while child.poll() is None:  # in each moment that is left
        child.terminate()
        time.sleep(0.001)
    expect(all(said) and child.returncode == 0, f"it ended with {child.returncode}")


@case
def a_frame_that_goes_missing_is_counted(lab):
    """By the couple whose switch is killed: of a cable that was pulled in secret."""
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in ("left", "right")])
    couple = Couple([lab.path(name) for name in ("left", "right")])
    couple.connect()
    couple.turn()
    couple.settle()
    expect((couple.lost, couple.passed) == (0, 8), f"{couple.lost} lost of {couple.passed}")
    switch.ctl("port", "link", "right", "down")
    couple.turn()
    end = time.monotonic() + 60
    while switch.port("left")["rx_frames"] < switch.port("right")["rx_frames"] or switch.port("right")["counters"]["rx_link_down"] == 0:
        expect(time.monotonic() < end, "what is sent meanwhile goes nowhere")
        couple.poll()
    switch.ctl("port", "link", "right", "up")
    couple.greet(time.monotonic() + 60)
    couple.turn(8)
    couple.settle()
    expect(couple.lost and couple.lost + couple.passed == sum(way.next for way in couple.ways), f"{couple.lost} lost: {couple.account()}")
    couple.disconnect()
    end_well(switch)


if __name__ == "__main__":
    main()
