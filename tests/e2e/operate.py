#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What an operator sets while a daemon runs: links of ports, the log's level, static entries; who serves what."""
import json
import mmap
import os
import socket
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, raw, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402

F_STATUS = 1 << 16
STATUS_AT, LINK_UP = 6, 1
CONFIG_CHANGE = 2


def refused(switch, status, *words):
    """One line, and nothing else."""
    done = switch.ctl_run(*words)
    expect(done.returncode == status and not done.stdout, f"{words}: {done}")
    expect(len(done.stderr.splitlines()) == 1 and done.stderr.startswith("vireoctl: "), f"{words}: {done}")
    return done.stderr


def offered(switch, *words):
    done = subprocess.run([program("vireoctl"), "--complete", "-s", switch.control, *words], capture_output=True, text=True, timeout=20)
    return done.stdout.split()


# ---- links ----

def passes(sender, receiver, source, seconds=20):
    """Frames go, by and by: a worker sees a link that is set up at its next round."""
    got = []

    def tried():
        sender.send(text_frame(source, None))
        got.extend(frame for _, frame in receiver.receive(0.1) if frame[6:12] == text_frame(source, None)[6:12])
        return got
    wait_until(tried, seconds, f"frames of {source} pass")


def counted(switch, name, counter):
    return switch.port(name)["counters"][counter]


@case
def a_port_whose_link_is_down_hears_and_says_nothing_and_keeps_it_over_reconnects(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", f"vhost-user:{lab.path('b')}"])
    with Front(lab.path("b")) as b:
        with Front(lab.path("a")) as a:
            passes(a, b, 1)
            passes(b, a, 2)
            answer = switch.ask("port", "link", "a", "down")
            expect(answer == {"name": "a", "link": "down", "told": False}, f"this front end takes no such news: {answer}")
            expect("cannot be told" in switch.ctl("port", "link", "a", "down"), "it is said")
            expect((switch.port("a")["link"], switch.port("a")["state"], switch.port("b")["link"]) == ("down", "connected", "up"), "shown")
            expect(not [e for e in switch.ask("fdb", "show")["entries"] if e["port"] == "a"], "what was behind it is forgotten")
            a.receive(0)

            def silent(front, sender, source, name, counter):
                before = counted(switch, name, counter)

                def count():
                    sender.send(text_frame(source, None))
                    return counted(switch, name, counter) >= before + 5
                wait_until(count, 20, f"{counter} grows")
                front.receive(0)  # a round that had begun before
                sender.send(text_frame(source, None))
                wait_until(sender.drained, 20, "its ring is emptied")
            silent(b, a, 1, "a", "rx_link_down")
            expect(not b.receive(0.2), "from it")
            silent(a, b, 2, "a", "tx_link_down")
            expect(not a.receive(0.2), "to it")
        wait_until(lambda: switch.port("a")["state"] == "listening", 20, "it listens again")
        expect(switch.ask("port", "link", "a", "down")["told"] is None, "nobody is there")
        table = [line for line in switch.ctl("port", "list").splitlines() if line.startswith("a ")]
        expect(len(table) == 1 and "link down" in table[0], f"{table}")
        with Front(lab.path("a")) as a:
            down = counted(switch, "a", "rx_link_down")
            a.send(text_frame(1, None))
            wait_until(lambda: counted(switch, "a", "rx_link_down") > down, 20, "it is counted in the next session, too")
            expect(not b.receive(0.2), "as before")
            switch.ask("port", "link", "a", "up")
            passes(a, b, 1)
            passes(b, a, 2)
    end_well(switch)


@case
def a_front_end_that_takes_news_of_config_space_hears_of_its_link(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", "null:n"])

    def status(peer):
        data = peer.ask(raw.GET_CONFIG, struct.pack("=III", STATUS_AT, 2, 0) + bytes(2))
        return struct.unpack_from("<H", data, 12)[0]

    def news(channel):
        return struct.unpack("=III", channel.recv(12, socket.MSG_WAITALL))[0]
    with Front(lab.path("a"), raw.F_MRG_RXBUF | F_STATUS) as a:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        mine.settimeout(20)
        a.peer.send(raw.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        a.peer.settle()
        expect(status(a.peer) & LINK_UP, "its link is up")
        expect(switch.ask("port", "link", "a", "down")["told"] is True, "it is told")
        expect(news(mine) == CONFIG_CHANGE and not status(a.peer) & LINK_UP, "it reads that its link is down")
        expect(switch.ctl("port", "link", "a", "up") == "a: link up\n", "nothing more is to be said")
        expect(news(mine) == CONFIG_CHANGE and status(a.peer) & LINK_UP, "it reads that its link is up")
        switch.ask("port", "link", "a", "down")
        mine.close()
    wait_until(lambda: switch.port("a")["state"] == "listening", 20, "it listens again")
    with Front(lab.path("a"), raw.F_MRG_RXBUF | F_STATUS) as a:
        expect(not status(a.peer) & LINK_UP, "who comes later reads it")
    end_well(switch)


@case
def what_a_link_cannot_be_is_refused_in_one_line(lab):
    switch = Switch(lab, ["null:n", "null:m"])
    for words in (["n"], [], ["n", "up", "down"]):
        refused(switch, 2, "port", "link", *words)
    for state in ("", "UP", "sideways", "up ", "0", "x" * 300):
        expect("expected up or down" in refused(switch, 2, "port", "link", "n", state), f"{state[:20]!r}")
    refused(switch, 1, "port", "link", "none", "up")
    refused(switch, 1, "port", "link", "none", "sideways")
    expect(switch.port("n")["link"] == "up", "nothing has changed")
    expect(switch.ask("port", "link", "n", "down") == {"name": "n", "link": "down", "told": None}, "nobody is there")
    switch.ctl("port", "remove", "n")
    switch.ctl("port", "add", "null:n")
    expect(switch.port("n")["link"] == "up", "a port that is made anew has its cable")
    expect(offered(switch, "port", "link", "") == ["m", "n"], "names")
    expect(offered(switch, "port", "link", "n", "") == ["up", "down"], "states")
    end_well(switch)


# ---- the log ----

def level_goes_up_and_down(lab, log, ctl, at):
    """What has been connected all along is heard of at each level."""
    def lines():
        with open(log, encoding="utf-8") as file:
            return file.read()

    def heard(peer):
        before = lines().count("GET_FEATURES")
        peer.offered()
        peer.offered()
        return lambda: lines().count("GET_FEATURES") >= before + 2
    with raw.VhostUserPeer(at, 20) as peer:
        expect(json.loads(ctl("log", "level").stdout) == {"level": "info"}, "as it began")
        peer.offered()
        expect(json.loads(ctl("log", "level", "debug").stdout) == {"level": "debug"}, "what it is now")
        wait_until(heard(peer), 20, "debug lines of a connection that was there")
        expect("log level is debug, and was info" in lines(), "the log says so")
        ctl("log", "level", "error")
        wait_until(lambda: "log level is error, and was debug" in lines(), 20, "the log says why it ends")
        size = len(lines())
        peer.offered()
        for words in (["debug", "more"], ["loud"], [""], ["DEBUG"], ["x" * 300]):
            done = ctl("log", "level", *words)
            expect(done.returncode == 2 and len(done.stderr.splitlines()) == 1 and not done.stdout, f"{words}: {done}")
        expect(json.loads(ctl("log", "level").stdout) == {"level": "error"}, "nothing has changed")
        ctl("log", "level", "info")
        peer.offered()
        ctl("log", "level", "error")
    wait_until(lambda: "log level is error, and was info" in lines(), 20, "the last line")
    expect("GET_FEATURES" not in lines()[size:] and " error " not in lines()[size:], f"what was said meanwhile: {lines()[size:]}")


@case
def a_switch_says_more_and_less_while_it_runs(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}"])
    level_goes_up_and_down(lab, lab.path("switchd.log"), lambda *words: switch.ctl_run("--json", *words), lab.path("a"))
    expect(switch.ctl("log", "level", "warning") == switch.ctl("log", "level") == "warning\n", "for people")
    expect(offered(switch, "log", "level", "") == ["error", "warning", "info", "debug"], "levels")
    end_well(switch)


@case
def so_does_a_daemon_of_disks(lab):
    control, log = lab.path("blkd.control"), lab.path("blkd.log")
    with open(log, "wb") as file:
        child = lab.start([program("vireo-blkd"), "--control", control, "--disk", "d=null:1G", "--export",
                           f"vhost-user:{lab.path('a')},disk=d"], stderr=file)
    def ctl(*words):
        return subprocess.run([program("vireoctl"), "-d", "blkd", "-s", control, "--json", *words], capture_output=True, text=True,
                              timeout=20)
    wait_until(lambda: ctl("version").returncode == 0, 20, "its control socket answers")
    level_goes_up_and_down(lab, log, ctl, lab.path("a"))
    expect(lab.stop(child) == 0, "its end")


# ---- static entries ----

def entries(switch):
    return {(e["mac"], e["vlan"]): (e["port"], e["static"]) for e in switch.ask("fdb", "show")["entries"]}


@case
def a_static_entry_stays_whatever_is_said_and_forgotten(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", f"vhost-user:{lab.path('b')}", "null:n"])
    held = "52:54:00:00:02:01"
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        passes(a, b, 1)
        expect(entries(switch)[(held, 0)] == ("a", False), "it was learned")
        expect(switch.ask("fdb", "add", held, "n") == {}, "it is taken from who said it first")
        passes(a, b, 1)  # it is forwarded, and not learned
        passes(b, a, 2)
        b.send(text_frame(2, 1))  # goes to n alone
        wait_until(lambda: switch.port("b")["rx_frames"] and not a.receive(0.1), 20, "to a comes nothing")
        expect(entries(switch) == {(held, 0): ("n", True), ("52:54:00:00:02:02", 0): ("b", False)}, f"{entries(switch)}")
        switch.ctl("fdb", "flush")
        switch.ctl("fdb", "flush", "n")
        expect(entries(switch)[(held, 0)] == ("n", True), "no flush takes it")
        expect(switch.ask("stats")["fdb"]["static"] == 1 and "static" in switch.ctl("fdb", "show"), "it is counted and shown")
        expect(switch.ask("fdb", "del", held) == {}, "it goes when it is to")
        passes(a, b, 1)
        expect(entries(switch)[(held, 0)] == ("a", False), "learned again")
    switch.ctl("fdb", "add", "02:00:00:00:00:0a", "n")
    switch.ctl("fdb", "add", "02:00:00:00:00:0b", "b")
    switch.ctl("fdb", "clear", "b")
    expect([key[0] for key, (_, static) in entries(switch).items() if static] == ["02:00:00:00:00:0a"], f"{entries(switch)}")
    switch.ctl("port", "remove", "n")
    switch.ctl("port", "add", "null:n")
    expect(not [static for _, static in entries(switch).values() if static], "it went with its port")
    switch.ctl("fdb", "add", "02:00:00:00:00:0a", "n")
    switch.ctl("fdb", "clear")
    expect(switch.ask("stats")["fdb"]["static"] == 0, "all of them")
    end_well(switch)


@case
def a_static_entry_lies_in_a_vlan_of_its_port(lab):
    switch = Switch(lab, ["null:plain", f"vhost-user:{lab.path('five')},vlan=5", f"vhost-user:{lab.path('trunk')},trunk=10-12"])
    mac = "02:00:00:00:00:01"
    switch.ctl("fdb", "add", mac, "plain")
    switch.ctl("fdb", "add", mac, "five")
    switch.ctl("fdb", "add", mac, "trunk", "11")
    expect(entries(switch) == {(mac, 0): ("plain", True), (mac, 5): ("five", True), (mac, 11): ("trunk", True)}, f"{entries(switch)}")
    expect("name a VLAN" in refused(switch, 2, "fdb", "add", mac, "trunk"), "it has none of its own")
    for port, vlan in (("plain", "5"), ("five", "0"), ("trunk", "13"), ("trunk", "0"), ("trunk", "4094")):
        expect("not in VLAN" in refused(switch, 2, "fdb", "add", mac, port, vlan), f"{port} {vlan}")
    expect("several VLANs" in refused(switch, 2, "fdb", "del", mac), "which?")
    switch.ctl("fdb", "del", mac, "11")
    switch.ctl("fdb", "del", mac, "0")
    switch.ctl("fdb", "del", mac)
    expect(entries(switch) == {}, f"{entries(switch)}")
    end_well(switch)


@case
def what_a_static_entry_cannot_be_is_refused_in_one_line(lab):
    switch = Switch(lab, ["null:n", f"vhost-user:{lab.path('a')},mac=02:00:00:00:00:0a"])
    good = "02:00:00:00:00:01"
    for mac in ("", "x", "02:00:00:00:00", "02:00:00:00:00:01:", "02:00:00:00:00:0g", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff",
                "00:00:00:00:00:00", "020000000001", good + "+" + good, "9" * 400):
        expect("unicast address" in refused(switch, 2, "fdb", "add", mac, "n"), mac[:30])
        expect("unicast address" in refused(switch, 2, "fdb", "del", mac), mac[:30])
    for vlan in ("", "4095", "4096", "1.5", "0x1", "99999999999999999999"):
        expect("expected 0 (none) to 4094" in refused(switch, 2, "fdb", "add", good, "n", vlan), vlan)
    for words in (["add"], ["add", good], ["add", good, "n", "0", "more"], ["del"], ["clear", "n", "more"]):
        refused(switch, 2, "fdb", *words)
    for words in (["add", good, "none"], ["del", good], ["clear", "none"], ["del", "02:00:00:00:00:0a"], ["add", "02:00:00:00:00:0a", "n"]):
        refused(switch, 1, "fdb", *words)
    switch.ctl("fdb", "add", good, "n")
    switch.ctl("fdb", "add", good, "n")
    expect("static behind another port" in refused(switch, 1, "fdb", "add", good, "a"), "it is n's")
    expect("static behind port 'n'" in refused(switch, 1, "port", "add", f"vhost-user:{lab.path('b')},mac={good}"), "by mac=, too")
    switch.ctl("port", "add", f"vhost-user:{lab.path('b')},vlan=7,mac={good}")  # another VLAN's
    expect(set(offered(switch, "fdb", "add", good, "")) >= {"n", "a"}, "ports")
    end_well(switch)


@case
def no_more_static_entries_are_made_than_may_be(lab):
    switch = Switch(lab, ["null:n"], ["--fdb-entries", "64"])
    codes = set()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(switch.control)
        stream = sock.makefile("rw")
        for first in range(0, 1100, 50):
            calls = [{"jsonrpc": "2.0", "method": "fdb.add", "params": {"mac": f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}", "port": "n"}, "id": i}
                     for i in range(first, first + 50)]
            stream.write(json.dumps(calls) + "\n")
            stream.flush()
            codes |= {answer["error"]["code"] for answer in json.loads(stream.readline()) if "error" in answer}
        stream.close()
    expect(codes == {-32000}, f"{codes}")
    expect(switch.ask("stats")["fdb"]["static"] == 1024, "as many as may be")
    expect("as many static entries" in refused(switch, 1, "fdb", "add", "02:00:00:01:00:00", "n"), "it is said")
    end_well(switch)


# ---- workers ----

@case
def each_queue_that_runs_has_one_worker_and_is_listed_there(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path(name)}" for name in "abc"] + ["null:n"], ["--workers", "2"])

    def served():
        workers = switch.ask("worker", "list")["workers"]
        expect([worker["worker"] for worker in workers] == [0, 1], f"{workers}")
        return [sorted((queue["port"], queue["queue"]) for queue in worker["queues"]) for worker in workers]
    expect(served() == [[], []], "nothing runs")
    table = switch.ctl("worker", "list").splitlines()
    expect(len(table) == 3 and all(line.endswith("-") for line in table[1:]), f"{table}")
    with Front(lab.path("a")), Front(lab.path("b")), Front(lab.path("c")):
        wait_until(lambda: sum(map(len, served())) == 3, 20, "three queues are listed")
        found = served()
        expect(sorted(sum(found, [])) == [("a", 0), ("b", 0), ("c", 0)], f"each once: {found}")
        expect(sorted(map(len, found)) == [1, 2], f"both have work: {found}")
        expect(sum("b 0" in line for line in switch.ctl("worker", "list").splitlines()) == 1, "for people")
    wait_until(lambda: served() == [[], []], 20, "none is left")
    refused(switch, 2, "worker", "list", "more")
    end_well(switch)


def sent_and_got(sender, receiver, first, count):
    """That many frames, each with a number of its own: those that came, in their order."""
    for number in range(first, first + count):
        sender.send(text_frame(1, 2)[:14] + struct.pack("<I", number) + bytes(46))
        if number % 64 == 0:
            yield from (struct.unpack_from("<I", frame, 14)[0] for _, frame in receiver.receive(0))


@case
def a_queue_is_given_to_another_worker_while_frames_come(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", f"vhost-user:{lab.path('b')}"], ["--workers", "3"])

    def server_of(port):
        return [w["worker"] for w in switch.ask("worker", "list")["workers"] if any((q["port"], q["queue"]) == (port, 0) for q in w["queues"])]
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        passes(b, a, 2)  # its address is learned
        passes(a, b, 1)
        b.receive(0)
        numbers, sent = [], 0
        for i in range(30):
            worker = i % 3
            numbers += sent_and_got(a, b, sent, 100)
            sent += 100
            answer = switch.ask("worker", "move", "a" if i % 2 else "a:0", str(worker))
            expect(answer == {"name": "a", "worker": worker, "first_queue": 0, "queues": 1}, f"{answer}")
            expect(server_of("a") == [worker], f"{worker}: {server_of('a')}")

        def rest():
            numbers.extend(struct.unpack_from("<I", frame, 14)[0] for _, frame in b.receive(0.1))
            return len(numbers) >= sent
        wait_until(rest, 20, "all frames arrive")
        expect(numbers == list(range(sent)), "each once, in order")
        expect(switch.ctl("worker", "move", "a", "1") == "a: queue 0 is worker 1's\n", "for people")
        kept = {q["port"]: q["kept"] for w in switch.ask("worker", "list")["workers"] for q in w["queues"]}
        expect(kept == {"a": True, "b": False} and "a 0, kept" in switch.ctl("worker", "list"), f"who has been placed stays: {kept}")
        expect(switch.ask("worker", "move", "a:0", "any") == {"name": "a", "worker": None, "first_queue": 0, "queues": 1}, "it may go")
        expect(server_of("a") == [1] and switch.ctl("worker", "move", "a", "any") == "a: queue 0 is any worker's\n", "and stays meanwhile")
        expect("kept" not in switch.ctl("worker", "list"), switch.ctl("worker", "list"))
        switch.ctl("worker", "move", "a", "1")
    wait_until(lambda: switch.port("a")["state"] == "listening", 20, "it listens again")
    switch.ask("worker", "move", "b", "2")  # nobody is there: it holds for who comes
    with Front(lab.path("b")) as b, Front(lab.path("a")) as a:
        passes(a, b, 1)
        wait_until(lambda: (server_of("a"), server_of("b")) == ([1], [2]), 20, "they are where they were, or were said to be")
    end_well(switch)


@case
def what_cannot_be_moved_is_refused_in_one_line(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},queues=2", "null:n"], ["--workers", "2"])
    for worker in ("", "2", "x", "1.0", "0x1", "99999999999999999999", "9" * 400):
        expect("expected a number below 2" in refused(switch, 2, "worker", "move", "a", worker), worker[:20])
    for queue in ("", "2", "x", "0:0", "9" * 400):
        expect("expected a number below 2" in refused(switch, 2, "worker", "move", f"a:{queue}", "0"), queue[:20])
    for words in ([], ["a"], ["a", "0", "1"]):
        refused(switch, 2, "worker", "move", *words)
    for port in ("none", "none:0", "", ":0", "x" * 400):
        expect("no port" in refused(switch, 1, "worker", "move", port, "0"), port[:20])
    expect("brings no frames" in refused(switch, 1, "worker", "move", "n", "0"), "nothing to serve")
    expect(offered(switch, "worker", "move", "") == ["a", "n"] and offered(switch, "worker", "move", "a", "") == ["0", "1", "any"], "completion")
    end_well(switch)


# ---- what is wrong ----

def doctor(switch):
    """{(check, port): line}, of what it says to people and to programs; no failure where there are hints at most."""
    done, told = switch.ctl_run("doctor"), switch.ctl_run("--json", "doctor")
    found = json.loads(told.stdout)["findings"]
    lines = done.stdout.splitlines()
    expect(not done.stderr and done.returncode == told.returncode == any(not one["hint"] for one in found) and len(lines) == len(found), f"{done}, {told}")
    expect(all(one["what"] + ": " + one["fix"] in line for one, line in zip(found, lines)), f"{lines}")
    return {(one["check"], one["port"]): line for one, line in zip(found, lines)}


@case
def a_healthy_switch_has_no_findings_and_each_fault_is_one_with_its_fix(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path(name)}" for name in "abc"] + ["null:n"])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        passes(a, b, 1)
        passes(b, a, 2)
        expect(doctor(switch) == {}, f"{doctor(switch)}")
        switch.ctl("port", "set", "a", "mtu=1500")
        expect(doctor(switch) == {}, f"the other one is not limited: {doctor(switch)}")
        switch.ctl("port", "set", "b", "mtu=9000")
        found = doctor(switch)
        expect(set(found) == {("mtu", "a")}, f"{found}")
        switch.ctl(*found["mtu", "a"].rpartition("vireoctl ")[2].split())  # the fix, as it is written
        expect(doctor(switch) == {}, f"{doctor(switch)}")
        a.send(text_frame(1, 2, bytes(3000)))
        wait_until(lambda: set(doctor(switch)) == {("mtu", "b")}, 20, "a frame that was lost is told of")
        with Front(lab.path("c")) as c:
            def kicked():
                c.transmit_ring.ring_kick()
                return ("guest", "c") in doctor(switch)
            wait_until(kicked, 20, "who kicks for nothing is told of")
        wait_until(lambda: switch.port("c")["state"] == "listening", 20, "it listens again")
        os.unlink(lab.path("c"))
        expect("somebody has removed its socket" in doctor(switch)["socket", "c"], "a socket that has gone is told of")
        if not os.geteuid():
            a.peer.memory.close()
            a.peer.memory = mmap.mmap(a.peer.memfd, os.fstat(a.peer.memfd).st_size, flags=mmap.MAP_PRIVATE)
            expect("share=on" in doctor(switch)["memory", "a"], "memory that is private is told of")
    end_well(switch)


if __name__ == "__main__":
    main()
