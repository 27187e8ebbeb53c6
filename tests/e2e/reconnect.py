#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Either side goes and comes back: the other waits, and traffic flows again without anybody's help."""
import json
import os
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well, given_back, held, open_files  # noqa: E402
from guest.front import Front, listener, raw, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402

LEFT, RIGHT = 1, 2
BACK_S = 30  # the longest pause between tries is 1 s


def spec(lab, name, client=False):
    return f"vhost-user:{lab.path(name)},name={name}{',mode=client' if client else ''}"


def arrives(sender, source, receiver, text):
    """Broadcasts until one is there; nothing else than what was sent may arrive."""
    frame = text_frame(source, None, text)
    end = time.monotonic() + BACK_S
    while time.monotonic() < end:
        sender.send(frame)
        for _, data in receiver.receive(0.2):
            if data == frame:
                return
            expect(data[12:14] == b"\x88\xb5", f"this frame was not sent: {data.hex()}")
    expect(False, f"nothing arrives: {text!r}")


def both_ways(left, right, text):
    arrives(left, LEFT, right, b"there " + text)
    arrives(right, RIGHT, left, b"back " + text)


FRAMES = 1000  # fewer than a ring has room for


def bench(lab, *options, frames=FRAMES):
    """Where nobody has time for them the next frame waits until another has arrived: nothing is lost."""
    argv = [program("vireo-bench"), "net", "--from", lab.path("left"), "--to", lab.path("right"), "--seconds", "60", "--frames", str(frames),
            "--rate", "5000", "--window", "256", "--ring-size", "1024", "--verify", "--no-loss", "--json", *options]
    with open(lab.path("report.json"), "wb") as report, open(lab.path("bench.log"), "ab") as log:
        return lab.start(argv, stdout=report, stderr=log)


def bench_ends_well(lab, child):
    status = child.wait(90)
    with open(lab.path("report.json")) as text:
        report = text.read()
    expect(status == 0 and json.loads(report)["received"]["frames"] == FRAMES, f"vireo-bench ended with {status}: {report}")


@case
def client_ports_serve_the_front_end_again_after_kill_9_of_the_switch(lab):
    listeners = [listener(lab.path(name)) for name in ("left", "right")]
    switch = Switch(lab, [spec(lab, "left", True), spec(lab, "right", True)])
    fronts = [Front(sock) for sock in listeners]
    both_ways(*fronts, b"first")
    for n in range(3):
        switch.kill()
        for front in fronts:
            expect(front.peer.hung_up(), "the switch is dead, and its connection lives")
            front.close()
        switch.start()
        fronts = [Front(sock) for sock in listeners]
        both_ways(*fronts, b"again %d" % n)
    for front in fronts:
        front.close()
    end_well(switch)


@case_for({"split": ("split",), "packed": ("packed",)}, "a_switch_comes_back_to_a_server_that_waits_{}")
def a_switch_comes_back_to_a_server_that_waits(lab, ring):
    switch = Switch(lab, [spec(lab, "left", True), spec(lab, "right", True)])
    bench_ends_well(lab, bench(lab, "--server", "--ring", ring, "--timeout", "10"))
    switch.kill()
    child = bench(lab, "--server", "--ring", ring, "--timeout", "20")
    time.sleep(0.5)
    switch.start()
    bench_ends_well(lab, child)
    end_well(switch)


@case_for({"split": ("split",), "packed": ("packed",)}, "front_ends_come_and_go_at_a_port_that_listens_{}")
def front_ends_come_and_go(lab, ring):
    switch = Switch(lab, [spec(lab, "left"), spec(lab, "right")])
    bench_ends_well(lab, bench(lab, "--ring", ring))
    before = held(switch.child.pid)
    for _ in range(4):
        bench_ends_well(lab, bench(lab, "--ring", ring))
    passed = switch.port("right")["tx_frames"]
    child = bench(lab, "--ring", ring, frames=10**9)
    wait_until(lambda: switch.port("right")["tx_frames"] > passed + 100, 20, "the last but one's frames flow", child=child)
    lab.kill(child)
    bench_ends_well(lab, bench(lab, "--ring", ring))
    given_back(switch.child.pid, before)
    end_well(switch)


@case
def what_one_front_end_agreed_on_does_not_hold_for_the_next(lab):
    switch = Switch(lab, [spec(lab, "left"), spec(lab, "right")])
    left = Front(lab.path("left"))
    with Front(lab.path("right"), raw.F_MRG_RXBUF | 1 << 1 | 1 << 7) as right:  # GUEST_CSUM, GUEST_TSO4
        both_ways(left, right, b"first")
        expect(switch.port("right")["offloads"] == ["csum", "tso4"], switch.port("right")["offloads"])
    wait_until(lambda: switch.port("right")["state"] == "listening", BACK_S, "the port listens again")
    expect(switch.port("right")["offloads"] == [], "offloads of a front end that is gone")
    entries = [entry["port"] for entry in switch.ask("fdb", "show")["entries"]]
    expect(entries == ["left"], f"addresses behind {entries}: those of a front end that is gone are forgotten")
    with Front(lab.path("right"), 0) as right:
        both_ways(left, right, b"second")
        expect(switch.port("right")["offloads"] == [], "offloads of the one before")
    left.close()
    end_well(switch)


def found_late(lab, left, right):
    """Of two servers that appear after 3 s: how long it takes until both are found."""
    switch = Switch(lab, [spec(lab, left, True), spec(lab, right, True)], name=f"for-{left}")
    time.sleep(3)
    expect({port["state"] for port in switch.ask("port", "list")["ports"]} == {"connecting"}, "states")
    listeners = [listener(lab.path(name)) for name in (left, right)]
    begin = time.monotonic()
    fronts = [Front(sock) for sock in listeners]
    seconds = time.monotonic() - begin
    both_ways(*fronts, b"late")
    for front in fronts:
        front.close()
    end_well(switch)
    with open(switch.child.log) as log:
        tries = [line for line in log if f"{lab.path(left)}:" in line and "again" in line]
    expect(len(tries) == 1, f"{len(tries)} lines tell that nobody answers: {tries}")
    return seconds


@case
def a_server_that_appears_late_is_found(lab):
    """Tries become rarer, up to one a second, and are told once. Who stands still meanwhile gets another chance."""
    seconds = []
    while not seconds or seconds[-1] >= 2.5 and len(seconds) < 5:
        seconds.append(found_late(lab, f"left{len(seconds)}", f"right{len(seconds)}"))
    expect(seconds[-1] < 2.5, f"it took {seconds} s to be found")


@case
def a_server_that_hangs_up_at_once_is_not_asked_in_a_row(lab):
    sock = listener(lab.path("left"))
    sock.settimeout(20)
    switch = Switch(lab, [spec(lab, "left", True)])
    tries, end = 0, time.monotonic() + 4
    while tries < 3 or time.monotonic() < end:
        sock.accept()[0].close()
        tries += 1
    print(f"     {tries} tries in 4 s")
    expect(tries <= 20, f"{tries} tries in 4 s")
    front = Front(sock)
    front.close()
    end_well(switch)


@case
def the_next_front_end_waits_until_the_first_has_gone(lab):
    switch = Switch(lab, [spec(lab, "left"), spec(lab, "right")])
    left, first = Front(lab.path("left")), Front(lab.path("right"))
    waiting = raw.VhostUserPeer(lab.path("right"))
    waiting.send(raw.GET_FEATURES)
    both_ways(left, first, b"undisturbed")
    first.close()
    request, _ = waiting.receive()
    expect(request == raw.GET_FEATURES, "an answer to something else")
    waiting.close()
    left.close()
    end_well(switch)


class Connected:
    """A socket that is connected already, where a listening one is expected."""

    def __init__(self, sock):
        self.sock = sock

    def settimeout(self, _):
        pass

    def accept(self):
        return self.sock, None


@case
def sockets_that_the_switch_was_handed_are_served(lab):
    listening = listener(lab.path("left"))
    ours, theirs = socket.socketpair()
    numbers = listening.fileno(), theirs.fileno()
    switch = Switch(lab, [f"vhost-user:fd:{numbers[0]},name=left", f"vhost-user:fd:{numbers[1]},name=right"], handed=numbers)
    theirs.close()
    left, right = Front(lab.path("left")), Front(Connected(ours))
    both_ways(left, right, b"handed over")
    left.close()
    with Front(lab.path("left")) as left:  # who listens is found again
        both_ways(left, right, b"again")
        right.close()  # and who was connected is not
        wait_until(lambda: switch.port("right")["state"] == "failed", 20, "the port of a peer that has gone is failed")
        switch.ctl("port", "remove", "right")
        for number, why in zip(numbers, ("already", "not handed it")):
            done = switch.ctl_run("port", "add", f"vhost-user:fd:{number}")
            expect(done.returncode and why in done.stderr, f"fd {number} is taken once more: {done.stderr}")
    end_well(switch)
    expect(os.path.exists(lab.path("left")), "the switch has removed a socket that was not its own")
    switch = Switch(lab, [f"vhost-user:fd:{numbers[0]}"], name="next", handed=numbers[:1])  # as a service manager, who kept it, does
    with Front(lab.path("left")):
        pass
    end_well(switch)


@case
def the_switch_s_own_sockets_are_no_ports(lab):
    switch = Switch(lab, [spec(lab, "left")])
    links = open_files(switch.child.pid)
    numbers = [number for number, link in links.items() if link.startswith("socket:") and number > 2]
    expect(len(numbers) >= 2, f"the control socket and the port's are expected among {links}")
    for number in [*numbers, max(links) + 1]:  # the last is that of vireoctl's connection, or near it
        done = switch.ctl_run("port", "add", f"vhost-user:fd:{number}")
        expect(done.returncode and "not handed it" in done.stderr, f"fd {number}: {done.stdout}{done.stderr}")
    with Front(lab.path("left")):
        end_well(switch)


if __name__ == "__main__":
    main()
