#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A switch is replaced by another process under traffic (--takeover): nothing is lost, and what fails leaves the old one."""
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, raw, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import program  # noqa: E402
from guest.takeover import (GO, NOT, PART, READY, STATE, VERSION, Old, Taker, asks, fails, give, head, parcel, pauses_told, port, says, state,  # noqa: E402
                            two)

ROUNDS = int(os.environ.get("VIREO_ROUNDS", 10))
PORTS = 2


def bench(lab, ring):
    argv = [program("vireo-bench"), "net", "--from", lab.path("left"), "--to", lab.path("right"), "--seconds", str(max(4, ROUNDS // 3)), "--rate", "500",
            "--ring", ring, "--ring-size", "1024", "--verify", "--no-loss", "--json"]
    with open(lab.path("report.json"), "wb") as report, open(lab.path("bench.log"), "ab") as log:
        return lab.start(argv, stdout=report, stderr=log)


@case_for({"split": ("split",), "packed": ("packed",)}, "ten_hand_overs_under_traffic_{}", shows=["vhost-user"])
def ten_hand_overs_under_traffic(lab, ring):
    """Frames of front ends of our own, each verified, one by one and at a rate for which a ring has room for two seconds: a loaded
    machine takes its time between two steps."""
    switch, pings = two(lab, *(f"vhost-user:{lab.path(name)},name={name}" for name in ("left", "right")))
    child = bench(lab, ring)
    wait_until(lambda: switch.port("left")["rx_frames"] > 100, 20, "frames flow", child=child)
    for _ in range(ROUNDS):
        switch.hand_over()
        pings.goes_on()
    status = child.wait(60)
    with open(lab.path("report.json")) as text:
        report = text.read()
    expect(status == 0, f"vireo-bench ended with {status}: {report}")
    pings.end()
    print(f"    {ring}: {ROUNDS} hand-overs, {json.loads(report)['received']['frames']} frames verified, {pings.count} pings, "
          f"the slowest took {pings.slowest_s * 1000:.1f} ms", flush=True)
    end_well(switch)
    pauses_told(switch, ROUNDS)


@case
def ports_that_connect_are_handed_over(lab):
    switch, pings = two(lab, client=True)
    for _ in range(3):
        switch.hand_over()
        pings.goes_on()
    pings.end()
    end_well(switch)


@case
def all_that_the_switch_knows_goes_with_it(lab):
    """Ports as they are now and as they were given, addresses learned and held; and the sockets accept the next front end."""
    switch, pings = two(lab, "null:n", f"vhost-user:{lab.path('c')},name=c")
    switch.ctl("port", "add", f"vhost-user:{lab.path('late')},name=late,mtu=1400")
    switch.ctl("port", "set", "c", "vlan=7")
    switch.ctl("port", "link", "late", "down")
    switch.ctl("fdb", "add", "52:54:00:00:09:09", "a")
    config, known = switch.ctl("config", "show"), switch.ask("fdb", "show")
    switch.hand_over("--port", f"vhost-user:{lab.path('of-the-settings')}")
    expect(switch.ctl("config", "show") == config, f"{switch.ctl('config', 'show')}\nis not\n{config}")
    now = switch.ask("fdb", "show")
    ports = lambda fdb: sorted((entry["mac"], entry["port"]) for entry in fdb["entries"])  # noqa: E731
    expect(ports(now) == ports(known), f"{now} is not {known}")
    with Front(lab.path("c")):
        wait_until(lambda: switch.port("c")["state"] == "connected", 20, "the socket accepts the next one")
    pings.goes_on()
    pings.end()
    end_well(switch)
    expect(not any(os.path.exists(lab.path(name)) for name in ("a", "b", "c", "late", "switchd.control")), "sockets are left")


@case
def what_a_port_has_locked_stays_its_own(lab):
    """No other guest can take its address while it is silent, nor can it have another one; a port that has locked none locks its next."""
    specs = (f"vhost-user:{lab.path(name)},name={name}" for name in "cde")
    switch, pings = two(lab, *(spec + ",spoof=learn" * (not spec.endswith("e")) for spec in specs))
    spoofed = lambda name: switch.port(name)["counters"]["rx_spoofed"]  # noqa: E731
    owners = lambda: {(entry["mac"], entry["port"]) for entry in switch.ask("fdb", "show")["entries"]}  # noqa: E731
    with Front(lab.path("c")) as owner, Front(lab.path("d")) as silent, Front(lab.path("e")) as thief:
        owner.send(text_frame(5, None))
        wait_until(lambda: ("52:54:00:00:02:05", "c") in owners(), 20, "its address is locked")
        for name in "de":
            switch.hand_over()
            expect(("52:54:00:00:02:05", "c") in owners(), f"{owners()}")
            {"d": silent, "e": thief}[name].send(text_frame(5, None))
            wait_until(lambda: spoofed(name) == 1, 20, "another one cannot have it")  # noqa: B023  # pylint: disable=cell-var-from-loop
        owner.send(text_frame(6, None))
        wait_until(lambda: spoofed("c") == 1, 20, "it has no other one")
        owner.send(text_frame(5, None))
        silent.send(text_frame(7, None))
        wait_until(lambda: ("52:54:00:00:02:07", "d") in owners(), 20, "what had none locks one")
        expect(spoofed("c") == 1, "its own is refused")
    pings.goes_on()
    pings.end()
    end_well(switch)


# ---- what fails ----


@case
def successor_that_dies_half_way_leaves_the_old_one_running(lab):
    """Or that says what it should not, or nothing."""
    switch, pings = two(lab)
    for parcels in range(4):
        Taker(switch).dies_after(parcels)
        pings.goes_on()
    for answer in (b"x", head(77), head(READY, 1 << 31), b"x" * 64):
        Taker(switch).dies_after(1 + PORTS, answer)
        pings.goes_on()
    taker = Taker(switch)
    for _ in range(1 + PORTS):
        parcel(taker.sock)
    expect(parcel(taker.sock) == (NOT, b"the process that was to take over does not answer"), "it says something else")
    try:
        taker.sock.sendall(head(READY))
        raise AssertionError("an answer that comes too late is taken")
    except BrokenPipeError:
        pass
    pings.goes_on()
    wait_until(lambda: open(switch.child.log).read().count("not handed over, and going on") == 9, 20, "it says so each time")
    switch.hand_over()
    pings.goes_on()
    pings.end()
    end_well(switch)


def another_users_socket(path):
    """A process of nobody that listens there, and its pipe: it ends when that is closed. None: nobody may not even come there (below a
    chroot whose root folder is root's alone)."""
    ready, end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(end[1])
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path)
                server.listen(1)
                os.write(ready[1], b"x")
                os.read(end[0], 1)
        except PermissionError:
            os.write(ready[1], b"-")
        finally:
            os._exit(0)  # pylint: disable=protected-access
    os.close(end[0])
    os.close(ready[1])
    said = os.read(ready[0], 1)
    os.close(ready[0])
    expect(said in (b"x", b"-"), "nobody listens")
    if said == b"x":
        return child, end[1]
    os.close(end[1])
    os.waitpid(child, 0)
    return None


@case
def what_is_asked_for_wrongly_stops_nothing(lab):
    """Of another version, at no socket, or at another user's."""
    switch, pings = two(lab)
    folder = lab.path("public")
    os.mkdir(folder)
    for version in (0, VERSION + 1, "x"):
        expect(f"hands over as version {VERSION}" in asks(switch, lab.path("a"), version)["error"]["message"], f"version {version}")
    for path in (lab.path("none"), lab.path("switchd.log"), ""):
        expect("SOCKET: " in asks(switch, path)["error"]["message"], path)
    if not os.geteuid():
        os.chmod(folder, 0o777)
        os.chmod(lab.folder, 0o711)
        other = another_users_socket(f"{folder}/taker")
        if other:
            expect("belongs to another user" in asks(switch, f"{folder}/taker")["error"]["message"], "it is not asked whose it is")
            os.close(other[1])
            os.waitpid(other[0], 0)
    expect("not handed over" not in open(switch.child.log).read(), "something was stopped")
    pings.goes_on()
    pings.end()
    end_well(switch)


@case
def two_successors_at_once_are_one_in_the_end(lab):
    switch, pings = two(lab)
    both = [switch.successor(), switch.successor()]
    expect(switch.child.wait(30) == 0, "the old one goes on")
    wait_until(lambda: any(child.poll() is not None for child in both), 30, "one of them has ended, too")
    wait_until(switch.listening, 20, "the other one answers")
    pings.goes_on()
    pid = switch.ask("version")["pid"]
    switch.child = next(child for child in both if child.pid == pid)
    pings.end()
    end_well(switch)


@case
def port_that_cannot_be_handed_over_keeps_the_old_one(lab):
    """And nothing is stopped for that."""
    switch, pings = two(lab, "loop:y")
    fails(switch, pings, "port 'y' cannot be handed over: its type is loop; --reopen")
    switch.ctl("port", "remove", "y")
    expect("not handed over" not in open(switch.child.log).read(), "something was stopped")
    switch.hand_over()
    pings.end()
    end_well(switch)


@case
def a_bond_goes_on_by_the_member_that_carried(lab):
    """And not by its first one, which has come back since; what is learned behind it stays."""
    members = ("m1", "m2")
    switch, pings = two(lab, "bond:up", *(f"vhost-user:{lab.path(name)},name={name},bond=up" for name in members))
    fronts = [Front(lab.path(name)) for name in members]

    def active():
        return switch.ask("bond", "show", "up")["bond"]["active"]
    wait_until(lambda: active() in members, 20, "one of them carries")
    switch.ctl("port", "link", "m1", "down")
    wait_until(lambda: active() == "m2", 20, "the other one carries")
    switch.ctl("port", "link", "m1", "up")
    fronts[1].send(text_frame(9, 1))
    wait_until(lambda: any(entry["port"] == "up" for entry in switch.ask("fdb", "show")["entries"]), 20, "it is learned")
    for _ in range(2):
        switch.hand_over()
        pings.goes_on()
        wait_until(lambda: active() is not None, 20, "one of them carries")
        expect(active() == "m2", f"{active()} carries")
        expect(any(entry["port"] == "up" for entry in switch.ask("fdb", "show")["entries"]), "what was learned is forgotten")
    fronts[1].send(text_frame(8, 255))
    pings.end()
    expect(switch.port("up")["rx_frames"] > 0, "nothing comes in by the bond")
    end_well(switch)


@case
def reload_that_comes_meanwhile_waits(lab):
    """SIGHUP, which comes at any time: it is one of the two that has to wait for the other, and nothing is lost."""
    switch, pings = two(lab)
    with open(lab.path("switch.conf"), "w") as settings:
        settings.writelines(f"port vhost-user:{lab.path(name)},name={name}\n" for name in "ab")
        settings.write("port null:of-the-file\n")
    for _ in range(3):
        old = switch.child
        child = switch.successor("--config", lab.path("switch.conf"))
        while old.poll() is None and child.poll() is None:
            old.send_signal(signal.SIGHUP)
            time.sleep(0.001)
        if child.poll() is not None:
            says(child, "the settings are being read again: try again")
            continue
        expect(old.wait(30) == 0, "the old one goes on")
        switch.child = child
        wait_until(switch.listening, 20, "the new one answers", child=child)
        pings.goes_on()
    if switch.child.args[-2] == "--config":
        wait_until(lambda: switch.ctl_run("reload").returncode == 0, 20, "it is done at last")
    else:
        switch.hand_over("--config", lab.path("switch.conf"))
        switch.ctl("reload")
    expect({port["name"] for port in switch.ask("port", "list")["ports"]} >= {"a", "b", "of-the-file"}, "ports are missing")
    pings.end()
    end_well(switch)


class Sleeper:
    """A front end whose memory comes later (postcopy) and never does: its port holds a queue in which somebody sleeps for it."""

    def __init__(self, where, pings):
        self.peer = peer = raw.VhostUserPeer(where)
        peer.negotiate(protocol=raw.P_REPLY_ACK | 1 << 8)
        peer.send(28)  # POSTCOPY_ADVISE; LISTEN is 29
        self.uffd = socket.recv_fds(peer.sock, 20, 1)[1][0]
        expect(not peer.ack(29), "it does not listen")
        peer.make_memory()
        peer.ask(raw.SET_MEM_TABLE, raw.mem_table([(raw.GPA, len(peer.memory), raw.UADDR, 0)]), [peer.memfd])
        peer.send(raw.SET_MEM_TABLE, bytes(8))
        peer.ring(0)
        peer.settle()
        pings.other.send(text_frame(2, None))
        expect(select.select([self.uffd], [], [], 20)[0], "nobody has touched a page")

    def end(self):
        self.peer.hang_up()
        os.close(self.uffd)


@case
def port_that_does_not_come_to_rest_keeps_nobody_waiting(lab):
    """Its hold ends when its front end goes, or the port does. Only the next one that takes over waits for it: no client, no reload."""
    if os.geteuid():
        raise Skip("this user may have no userfaultfd that the kernel's own faults wait for")
    switch, pings = two(lab, f"vhost-user:{lab.path('late')},name=late,postcopy=on")
    reloads = lambda: open(switch.child.log).read().count("nothing is reloaded")  # noqa: E731
    sleeper = Sleeper(lab.path("late"), pings)
    taker = Taker(switch)
    switch.child.send_signal(signal.SIGHUP)
    expect(parcel(taker.sock) == (NOT, b"a port's queues do not come to rest"), "it says something else")
    wait_until(lambda: reloads() == 1, 20, "what was to be reloaded meanwhile is")
    switch.child.send_signal(signal.SIGHUP)
    wait_until(lambda: reloads() == 2, 20, "it reloads")
    fails(switch, pings, "another process is taking over already")
    sleeper.end()
    wait_until(lambda: "SOCKET: " in asks(switch, lab.path("none"))["error"]["message"], 20, "the next one may ask")
    pings.goes_on()
    sleeper = Sleeper(lab.path("late"), pings)
    fails(switch, pings, "a port's queues do not come to rest")
    switch.ctl("port", "remove", "late")
    sleeper.end()
    switch.hand_over()
    pings.goes_on()
    pings.end()
    end_well(switch)


@case
def one_that_fails_does_not_say_that_the_service_stops(lab):
    """To the service manager, who believes it of the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(lab.path("notify"))
        notices.setblocking(False)
        argv = [program("vireo-switchd"), "--control", lab.path("nobody"), "--takeover"]
        child = lab.start(argv, log="nobody.log", env={**os.environ, "NOTIFY_SOCKET": lab.path("notify")})
        expect(child.wait(30) == 1, "there is nobody")
        try:
            raise AssertionError(f"it says {notices.recv(100)}")
        except BlockingIOError:
            pass


@case
def state_that_lies_is_refused_and_its_owner_goes_on(lab):
    """Cut, foreign, of another version, or saying what cannot be: one line, and the path is left alone."""
    old, null, guest = Old(lab), port("null:n", False), port(f"vhost-user:{lab.path('g')}", True)
    control, junk = [old.server.fileno()], bytes(range(256)) * 4
    lies = [
        ([(STATE, b"{", control)], "no JSON"),
        ([(STATE, b"[]", control)], "of version 0"),
        ([(STATE, state(version=VERSION + 1), control)], f"of version {VERSION + 1}"),
        ([(STATE, state(null), [])], "no control socket"),
        ([(STATE, state(null), [sys.stdin.fileno()])], "no control socket"),
        ([(STATE, state({"spec": 7}), control)], "a port without its SPEC"),
        ([(STATE, state(port("null:", False)), control)], "nothing after the colon"),
        ([(STATE, state(port("null:n", True)), control)], "not handed over so"),
        ([(STATE, state(port("loop:n", False)), control)], "not handed over so"),
        ([(STATE, state(port(guest["spec"], False)), control)], "not handed over so"),
        *(([(STATE, state(port("null:n", False, number=number)), control)], f"the number {number}") for number in (-1, 1 << 20)),
        ([(STATE, state(port("null:n", False, number=7), port("null:m", False, number=7)), control)], "out of memory or ports"),
        ([(STATE, state(null, null), control)], "there is a port 'n' already"),
        ([(STATE, state(guest), control), (PART, b"", [])], "is refused: it is cut short"),
        ([(STATE, state(guest), control), (PART, junk, control)], "is refused: it is no state of an endpoint"),
        ([(STATE, state(guest), control), (PART, b"vireohnd" + struct.pack("=IIII", 9, 1, 0, 0), [])], "its version is not known"),
        ([(STATE, state(guest), control)], "does not come"),
        *(([(STATE, state({**null, key: 7}), control)], "or what else is to be said of it") for key in ("text", "settings", "endpoint", "anew")),
        ([(STATE, state({**null, "number": "7"}), control)], "or another thing"),
        *(([(STATE, state(null, **{key: {}}), control)], f"'{key}' is no list") for key in ("held", "locked", "bonds", "mirrors", "lacp")),
        ([(STATE, state(null, held=[7]), control)], "is no text"),
        ([(STATE, state(null, held=["junk"]), control)], "expected MAC PORT"),
        ([(STATE, state(null, held=["01:54:00:00:00:09 n"]), control)], "expected a unicast address"),
        ([(STATE, state(null, held=["52:54:00:00:00:09 m"]), control)], "there is no port 'm'"),
        ([(STATE, state(null, held=["52:54:00:00:00:09 n 7"]), control)], "is not in VLAN 7"),
        ([(STATE, state(null, port("null:m", False), held=["52:54:00:00:00:09 n", "52:54:00:00:00:09 m"]), control)], "is static behind another port"),
        *(([(STATE, state(null, port("bond:u", False), bonds=[told]), control)], "is said of no bond, or of no port")
          for told in (7, {"bond": "n", "last": "n"}, {"bond": "u"}, {"bond": "u", "last": "m"}, {"bond": 7, "last": "n"})),
        ([(STATE, state(null, locked=[7]), control)], "none of its addresses"),
        ([(STATE, state(null, locked=[{"mac": "52:54:00:00:00:09", "port": "m"}]), control)], "none of its addresses"),
        ([(STATE, state(null, locked=[{"mac": "52:54:00:00:00:09", "port": "n"}]), control)], "none of its addresses"),
        ([(PART, b"", [])], "something else"),
        ([(NOT, b"for a reason", [])], "for a reason"),
        ([], "does not come"),
    ]
    for parcels, why in lies:
        child = old.start()
        with old.answers(result={}) as taker:
            for kind, data, fds in parcels:
                give(taker, kind, data, fds)
            taker.shutdown(socket.SHUT_WR)
            expect(child.wait(30) == 1, f"it has ended well: {why}")
        says(child, "not taken over", why)
        expect(os.listdir(lab.folder).count("g") == 0 and os.path.exists(old.control), f"paths are not what they were: {why}")


@case
def last_word_decides_who_goes_on(lab):
    """If there is none the one that handed over was killed, and whoever has answered has everything."""
    old = Old(lab)
    whole = state(port("null:n", False), held=["52:54:00:00:00:09 n"], more="of a later one")
    for words, status in (([NOT], 1), ([77], 1), ([], None), ([GO], None)):
        child = old.start()
        with old.answers(result={}) as taker:
            give(taker, STATE, whole, [old.server.fileno()])
            expect(parcel(taker)[0] == READY, "it does not answer")
            for word in words:
                give(taker, word)
            if status is not None:
                expect(child.wait(30) == status, f"{words}: it has ended well")
                says(child, "not taken over")
        if status is None:
            known = subprocess.run([program("vireoctl"), "-s", old.control, "fdb", "show"], capture_output=True, text=True, timeout=30)
            expect("52:54:00:00:00:09" in known.stdout, f"{known}")
            wait_until(lambda: "ready: 1 ports" in open(child.log).read(), 20, "it says what it has")
            child.kill()
            child.wait(30)


@case
def switch_of_a_version_that_cannot_hand_over_is_left_alone(lab):
    """And so is nobody."""
    argv = [program("vireo-switchd"), "--control", lab.path("nobody"), "--takeover"]
    child = lab.start(argv, log="nobody.log")
    expect(child.wait(30) == 1, "there is nobody")
    says(child, "no switch answers at")
    old = Old(lab)
    child = old.start()
    with old.answers(error={"code": -32601, "message": "there is no method 'handover'"}):
        expect(child.wait(30) == 1, "it has ended well")
    says(child, "it is of a version that cannot hand over")
    expect(os.path.exists(old.control), "its socket was taken away")


if __name__ == "__main__":
    main()
