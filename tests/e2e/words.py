#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the programs say to people, whatever others have made them say it, and whoever does not listen."""
import os
import re
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.front import raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import program  # noqa: E402


QUESTIONS = 2000  # more than a pipe and the switch's queue of lines hold, one line each


def answering(lab, **how):
    """A daemon that says what it is asked, and that answers on its control socket."""
    path = lab.path("control")
    child = lab.start([program("vireo-switchd"), "--control", path, "--log-level", "debug", "--port",
                       f"vhost-user:{lab.path('a')}"], **how)

    def answers():
        return subprocess.run([program("vireoctl"), "-s", path, "version"], capture_output=True, timeout=20).returncode == 0
    wait_until(answers, 20, "the control socket answers")
    return child, answers


def with_deaf_reader(lab):
    """A daemon that has said more than anybody has read, which has not made it wait; and who could read it."""
    reader, writer = os.pipe()
    child, answers = answering(lab, stderr=writer)
    os.close(writer)
    with raw.VhostUserPeer(lab.path("a"), 20) as peer:
        for _ in range(QUESTIONS):
            peer.ask(raw.GET_FEATURES)
    expect(answers(), "the control socket does not answer")
    return child, reader


@case
def a_log_that_nobody_reads_holds_up_nobody(lab):
    """What is read later tells how much is missing."""
    child, reader = with_deaf_reader(lab)
    text = b""
    while b"lines lost here" not in text:
        part = os.read(reader, 65536)
        expect(part, f"the log ends after {len(text)} bytes")
        text += part
    child.terminate()
    while part := os.read(reader, 65536):
        text += part
    expect(child.wait(20) == 0, f"exit status {child.returncode}")
    lines = text.decode().splitlines()
    lost = sum(int(found[1]) for found in (re.search(r" (\d+) lines lost here", line) for line in lines) if found)
    said = sum("GET_FEATURES" in line for line in lines)
    expect(said < QUESTIONS <= said + lost <= QUESTIONS + 20, f"{said} of {QUESTIONS} lines were written, and {lost} lost ones counted")
    expect(any("signal 15: ending" in line for line in lines[-4:]), f"the last lines: {lines[-4:]}")
    os.close(reader)


@case
def a_signal_ends_a_switch_whose_log_nobody_reads(lab):
    child, reader = with_deaf_reader(lab)
    child.terminate()
    expect(child.wait(20) == 0, f"exit status {child.returncode}")
    expect(not os.path.exists(lab.path("control")) and not os.path.exists(lab.path("a")), "its sockets are left")
    os.close(reader)


@case
def a_service_manager_that_is_busy_hears_of_it_later(lab):
    manager, others = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(lab.path("notify"))
    manager.settimeout(20)
    others.setblocking(False)
    try:
        while True:
            others.sendto(b"WATCHDOG=1", lab.path("notify"))
    except BlockingIOError:
        pass
    child, answers = answering(lab, log="switchd.log", env={**os.environ, "NOTIFY_SOCKET": lab.path("notify")})
    expect(answers(), "it does not answer")
    while (news := manager.recv(100)) == b"WATCHDOG=1":
        pass
    expect(news == b"READY=1", f"{news}")
    child.terminate()
    expect(child.wait(20) == 0, f"exit status {child.returncode}")
    manager.close()
    others.close()


if __name__ == "__main__":
    main()
