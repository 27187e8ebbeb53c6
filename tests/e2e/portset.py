#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each key of a port that decides where its frames go changes while others talk, by a command and by a reload; nobody else loses a frame."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import RX_BUFFERS, Front, raw, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402

A, B, C = 1, 2, 3
WAIT_S = 20
EXCESS = 100
ROUND = 12
TAG = bytes.fromhex("81000014")  # VLAN 20

# How C's port begins, what is set, and whether C then hears A's frames for all: no, yes, or with what behind the addresses.
CHANGES = {"vlan": ("", "vlan=20", None), "vlan_back": ("vlan=20", "vlan=", b"\x88\xb5"), "trunk": ("", "trunk=20-29", None),
           "vlan_and_tunnel": ("vlan=20", "vlan=20,tunnel=on", None), "trunk_and_native": ("trunk=20", "vlan=30,trunk=20-29", None),
           "vlan_tag": ("trunk=20", "vlan-tag=802.1ad", None), "isolated": ("", "isolated=on", b"\x88\xb5"),
           "role": ("role=guest,vm2vm=off", "vm2vm=,role=uplink", b"\x88\xb5"), "vm2vm_off": ("", "vm2vm=off", None),
           "vm2vm_hardware": ("", "vm2vm=hardware", None), "vm2vm_software": ("vm2vm=hardware", "vm2vm=software", b"\x88\xb5"),
           "many": ("vlan=20,isolated=on", "vlan=,isolated=,rate-in=1G,ip=10.0.0.0/8", b"\x88\xb5")}


def spec(lab, name, keys=""):
    return f"vhost-user:{lab.path(name)},name={name}{',' + keys if keys else ''}"


class Talk:
    """A talks to B: what it has said by now has come, each frame once and in order, when check() returns."""

    def __init__(self, a, b):
        self.a, self.b, self.said = a, b, 0
        b.send(text_frame(B, None, b"here"))  # so that the switch knows where B is
        wait_until(lambda: any(b"here" in frame for _, frame in a.receive(0.2)), WAIT_S, "A hears of B")

    def some(self):
        for _ in range(ROUND):
            self.a.send(text_frame(A, B, b"%06d" % self.said))
            self.said += 1

    def check(self, begin):
        wanted, got = [b"%06d" % number for number in range(begin, self.said)], []
        while len(got) < len(wanted):
            more = [frame[14:20] for _, frame in self.b.receive(WAIT_S)]
            expect(more, f"B waits for {wanted[len(got)]} in vain")
            got += [text for text in more if text.isdigit()]
        expect(got == wanted, f"{got}")


def hears(front, a, text):
    """What stands behind the addresses of A's frame for all at C; None: it does not come, though others of the same worker do."""
    a.send(text_frame(A, None, text))
    wait_until(a.drained, WAIT_S, "the switch has taken it")
    for _, frame in front.poll():
        if text in frame:
            return frame[12:14]
    return None


@case_for(CHANGES, "a_key_changes_while_others_talk_{}")
def a_key_changes_while_others_talk(lab, begin, settings, then):
    switch = Switch(lab, [spec(lab, "a"), spec(lab, "b"), spec(lab, "c", begin)])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b, Front(lab.path("c")) as c:
        talk = Talk(a, b)
        talk.some()
        switch.ctl("port", "set", "c", settings)
        talk.some()
        talk.check(0)
        wait_until(lambda: hears(c, a, b"for all") == then, WAIT_S, f"C hears {then}")
        for back in (begin or ",".join(word.split("=")[0] + "=" for word in settings.split(",")), settings) * 2:
            switch.ctl("port", "set", "c", back)
            begun = talk.said
            talk.some()
            talk.check(begun)
        expect(switch.port("c")["session"], "C's session goes on")
    end_well(switch)


@case
def a_reload_changes_them_and_leaves_the_port_alone(lab):
    def written(keys):
        with open(lab.path("conf"), "w") as conf:
            conf.writelines(f"port {line}\n" for line in (spec(lab, "a"), spec(lab, "b"), spec(lab, "c", keys)))
    written("vlan=20")
    switch = Switch(lab, (), ["--config", lab.path("conf")])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b, Front(lab.path("c")) as c:
        talk = Talk(a, b)
        for keys in ("trunk=20,vlan-tag=802.1ad", "vm2vm=off", "role=uplink", ""):
            begun = talk.said
            talk.some()
            written(keys)
            expect(switch.ask("reload") == {"added": 0, "removed": 0, "changed": 1, "kept": 2}, f"'{keys}' is a change")
            talk.some()
            talk.check(begun)
        wait_until(lambda: hears(c, a, b"for all"), WAIT_S, "C hears of A in the end, in the session that it had")
    end_well(switch)


def counter(switch, name, key):
    return switch.port(name)["counters"][key]


def says(front, number, text, other, bytes_=60):
    """Whether the other one hears it, by the time the switch has taken it."""
    front.send(text_frame(number, None, text).ljust(bytes_, b"\0"))
    wait_until(front.drained, WAIT_S, "the switch has taken it")
    return any(text in frame for _, frame in other.poll())


@case
def a_ports_addresses_change_while_it_talks(lab):
    own = [f"52:54:00:00:02:{number:02x}" for number in range(10)]
    written = [spec(lab, "a"), spec(lab, "b", f"mac={own[B]}")]
    with open(lab.path("conf"), "w") as conf:
        conf.writelines(f"port {line}\n" for line in written)
    switch = Switch(lab, (), ["--config", lab.path("conf")])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        wait_until(lambda: says(a, A, b"begin", b), WAIT_S, "A is heard")
        done = switch.ask("port", "set", "a", f"mac={own[A]}")
        expect(done["spec"].endswith(f",mac={own[A]}"), f"{done}")
        expect(says(a, A, b"own", b) and not says(a, C, b"strange", b), "its own address alone")
        expect(counter(switch, "a", "rx_spoofed") == 1, "and that is counted")
        for settings, why in ((f"mac={own[B]}", "port 'b' has mac="), (f"mac={own[A]}+{own[B]}", "port 'b' has mac=")):
            done = switch.ctl_run("port", "set", "a", settings)
            expect(done.returncode == 1 and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
        done = switch.ctl_run("port", "set", "a", "spoof=learn")
        expect(done.returncode == 2 and "without mac=" in done.stderr, f"{done}")
        switch.ctl("port", "set", "a", "spoof=allow")
        expect(says(a, C, b"allowed", b), "any address")
        switch.ctl("port", "set", "a", "mac=,spoof=learn")
        expect(says(a, C, b"first", b) and not says(a, A, b"second", b), "the first one")
        expect(switch.port("a")["session"], "all of it in one session")
        switch.ctl("save")
        with open(lab.path("conf")) as conf:
            expect(",spoof=learn\n" in conf.read(), "save carries it")
        with open(lab.path("conf"), "w") as conf:
            conf.writelines(f"port {line}\n" for line in written)
        expect(switch.ask("reload") == {"added": 0, "removed": 0, "changed": 1, "kept": 1}, "and so does reload")
        expect(says(a, A, b"again", b) and says(a, C, b"again too", b), "A is as at first")
        switch.ctl("fdb", "add", own[7], "b")
        done = switch.ctl_run("port", "set", "a", f"mac={own[7]}")
        expect(done.returncode == 1 and "fdb del it" in done.stderr, f"{done}")
    end_well(switch)


@case
def a_ports_mtu_changes_while_others_talk_to_it(lab):
    switch = Switch(lab, [spec(lab, "a"), spec(lab, "b", "mtu=1000")])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        wait_until(lambda: says(a, A, b"begin", b), WAIT_S, "A is heard")
        expect(not says(a, A, b"long", b, 1015) and says(a, A, b"fits", b, 1014), "as at the start")
        for settings, mtu in (("mtu=500", 500), ("mtu=1400", 1400), ("mtu=", None), ("mtu=68", 68)):
            switch.ctl("port", "set", "b", settings)
            expect(switch.port("b")["mtu"] == mtu, f"{switch.port('b')['mtu']}")
            longest = 14 + (mtu or 1486)
            expect(says(a, A, b"fits", b, longest), f"{settings}: {longest} bytes")
            expect(says(a, A, b"long", b, longest + 1) == (not mtu), f"{settings}: {longest + 1} bytes")
        expect(counter(switch, "b", "tx_mtu") == 4 and switch.port("b")["session"], "counted, in one session")
    end_well(switch)


def send_many(front, target, begin, count):
    for number in range(begin, begin + count):
        front.send(text_frame(A, target, b"%06d" % number))
    wait_until(front.drained, WAIT_S, "the switch has taken them")


def numbers(frames):
    return [int(frame[14:20]) for _, frame in frames if frame[14:20].isdigit()]


@case
def a_slow_guest_loses_nothing_and_disturbs_nobody(lab):
    switch = Switch(lab, [spec(lab, "a"), spec(lab, "b"), spec(lab, "c")])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b, Front(lab.path("c")) as c:
        c.send(text_frame(C, None, b"here"))
        wait_until(lambda: any(b"here" in frame for _, frame in a.receive(0.2)), WAIT_S, "A hears of C")
        talk = Talk(a, b)
        wait_until(lambda: any(b"here" in frame for _, frame in c.receive(0.2)), WAIT_S, "C hears of B, and has all its buffers")
        send_many(a, C, 0, RX_BUFFERS + EXCESS)
        expect(numbers(c.poll()) == list(range(RX_BUFFERS)), "without retries what is too much is lost,")
        expect(counter(switch, "c", "tx_lost") == EXCESS, "and counted")
        expect(switch.port("c")["retry"] is None, "it has none")
        switch.ctl("port", "set", "c", "rx-retry=10000,rx-retry-delay=50000")  # for minutes: a worker that waited would end this test
        expect(switch.port("c")["retry"] == {"looks": 10000, "delay_us": 50000}, f"{switch.port('c')['retry']}")
        send_many(a, C, 0, RX_BUFFERS + EXCESS)
        expect(counter(switch, "c", "tx_held") == EXCESS, "what is too much waits")
        for _ in range(20):
            begun = talk.said
            talk.some()
            talk.check(begun)
        got = []
        while len(got) < RX_BUFFERS + EXCESS:
            more = c.receive(WAIT_S)
            expect(more, f"{len(got)} have come")
            got += numbers(more)
        expect(got == list(range(RX_BUFFERS + EXCESS)), "all has come, in order, though nothing else is sent to it")
        expect(counter(switch, "c", "tx_lost") == EXCESS, "nothing was lost")
        switch.ctl("port", "set", "c", "rx-retry=,rx-retry-delay=")
        send_many(a, C, 0, RX_BUFFERS + EXCESS)
        expect(counter(switch, "c", "tx_lost") == 2 * EXCESS, "without them, it is again")
    end_well(switch)


@case
def a_port_that_never_has_buffers_holds_up_nobody(lab):
    switch = Switch(lab, [spec(lab, "a"), spec(lab, "b"), spec(lab, "c", "rx-retry=3,rx-retry-delay=1000")])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b, Front(lab.path("c")) as c:
        c.send(text_frame(C, None, b"here"))
        wait_until(lambda: any(b"here" in frame for _, frame in a.receive(0.2)), WAIT_S, "A hears of C")
        talk = Talk(a, b)
        wait_until(lambda: any(b"here" in frame for _, frame in c.receive(0.2)), WAIT_S, "C hears of B, and has all its buffers")
        for turn in range(1, 8):
            begun = talk.said
            for _ in range(3):
                send_many(a, C, 0, RX_BUFFERS)
                talk.some()
            talk.check(begun)
            wait_until(lambda: sum(counter(switch, "c", key) for key in ("tx_retry_limit", "tx_hold_limit")) ==
                       (3 * turn - 1) * RX_BUFFERS, WAIT_S, "all but what it had buffers for is given up, and counted")
        expect(len(numbers(c.poll())) == RX_BUFFERS and switch.port("c")["session"], "it is served on")
        send_many(a, C, 7, 1)
        wait_until(lambda: 7 in numbers(c.poll()), WAIT_S, "by what it has now")
    end_well(switch)


@case
def urgent_frames_go_first_to_a_slow_guest(lab):
    """They have been sent last, and tagged with priority 6; what waits in front of them is not urgent."""
    switch = Switch(lab, [spec(lab, "a"), spec(lab, "c", "rx-retry=10000,rx-retry-delay=1000")])
    with Front(lab.path("a")) as a, Front(lab.path("c")) as c:
        c.send(text_frame(C, None, b"here"))
        wait_until(lambda: any(b"here" in frame for _, frame in a.receive(0.2)), WAIT_S, "A hears of C")
        expect(switch.port("c")["priority"] == "off", "as it begins")
        for settings, urgent in (("priority=pcp", True), ("priority=dscp", False), ("priority=", False)):
            switch.ctl("port", "set", "c", settings)
            send_many(a, C, 0, RX_BUFFERS + EXCESS)
            for number in range(EXCESS):
                data = text_frame(A, C, b"%06d" % number)
                a.send(data[:12] + b"\x81\0\xc0\0" + data[12:])
            wait_until(a.drained, WAIT_S, "the switch has taken them")
            got = []
            while len(got) < RX_BUFFERS + 2 * EXCESS:
                more = c.receive(WAIT_S)
                expect(more, f"{len(got)} have come")
                got += [frame[12:14] == b"\x81\0" for _, frame in more]
            first = got[RX_BUFFERS:RX_BUFFERS + EXCESS]
            expect(not any(got[:RX_BUFFERS]) and all(first) == urgent and any(first) == urgent, f"{settings}: {got}")
        expect(counter(switch, "c", "tx_class3") == EXCESS and not counter(switch, "c", "tx_less_urgent"), f"{switch.port('c')['counters']}")
    end_well(switch)


@case_for({"queues": ("queues=2", "queues cannot change"), "together": ("role=uplink,vm2vm=off", "vm2vm: expected without role=uplink"),
           "range": ("trunk=1-5000", "'trunk=1-5000': expected VLANs"), "half": ("vlan=20,queues=2", "queues cannot change"),
           "inband": ("memory-max=1M,inband=on", "inband cannot change"), "rss": ("rss=off", "rss cannot change"),
           "tunnel": ("tunnel=on", "tunnel: expected with vlan=")}, "what_cannot_be_leaves_the_port_as_it_is_{}")
def what_cannot_be_leaves_the_port_as_it_is(lab, settings, why):
    switch = Switch(lab, [spec(lab, "a", "isolated=on")])
    done = switch.ctl_run("port", "set", "a", settings)
    expect(done.returncode == 2 and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    port = switch.port("a")
    expect(port["isolated"] and port["role"] == "guest" and port["vlan"] is None, f"{port}")
    end_well(switch)


@case
def a_ports_flooding_is_bounded_and_let_loose_while_it_sends(lab):
    switch = Switch(lab, [spec(lab, name) for name in "abc"])

    def counters(frames):
        """What the switch counts of so many frames to all, each of which is 16 copies."""
        before = switch.port("a")["counters"]
        for number in range(frames):
            a.send(text_frame(A, None, b"%06d" % number).ljust(16000, b"\0"))
            for front in (b, c):
                front.poll()
        wait_until(a.drained, WAIT_S, "the switch has taken them")
        now = switch.port("a")["counters"]
        return [now[key] - before[key] for key in ("rx_flooded", "rx_flood_limit")]
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b, Front(lab.path("c")) as c:
        expect(counters(100) == [100, 0], "nothing is in its way")
        switch.ctl("port", "set", "a", "flood-max=any")
        expect(counters(100) == [100, 0], "nor without a limit")
        done = switch.ask("port", "set", "a", "flood-max=1000")
        expect(done["spec"].endswith(",flood-max=1000"), f"{done}")
        wait_until(lambda: counters(200)[1] > 0, 5 * WAIT_S, "copies are too many")
        switch.ctl("port", "set", "a", "flood-max=")
        expect(counters(600) == [600, 0], "the default holds again")
    end_well(switch)


@case
def what_nothing_refuses_changes_while_others_talk(lab):
    """Settings of multicast and memory; a table that is there stays, and the next one is judged by what holds then."""
    switch = Switch(lab, [spec(lab, "a"), spec(lab, "b"), spec(lab, "c")], ["--mcast-snooping", "on"])
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        talk = Talk(a, b)
        with Front(lab.path("c")):
            share = switch.port("c")["memory"]["mapped_max_bytes"]
            for settings, part, then in (
                    ("mcast-router=on,fast-leave=on,mcast-groups=7", "multicast", {"router": "on", "fast_leave": True, "groups_max": 7}),
                    ("mcast-router=auto,fast-leave=", "multicast", {"router": "auto", "fast_leave": False, "groups_max": 7}),
                    ("mcast-router=,mcast-groups=", "multicast", {"router": "off", "fast_leave": False, "groups_max": 128}),
                    ("speed=10G", "speed", {"mbits": 10000, "duplex": "full"}), ("speed=", "speed", None)):
                begun = talk.said
                talk.some()
                switch.ctl("port", "set", "c", settings)
                talk.check(begun)
                expect(switch.port("c")[part] == then, f"{settings}: {switch.port('c')[part]}")
            switch.ctl("port", "set", "c", "memory-max=1M")
            port = switch.port("c")
            expect(port["session"] and port["memory"]["mapped_max_bytes"] == 1 << 20, f"{port}")
        wait_until(lambda: not switch.port("c")["session"], WAIT_S, "C has gone")
        try:
            with Front(lab.path("c")):
                expect(False, "a table of 6 MiB is taken")
        except (raw.Refused, OSError, EOFError):
            pass  # it may be gone before the next message
        wait_until(lambda: "at most 1048576 are permitted: raise memory-max=" in open(switch.child.log).read(), WAIT_S, "and the log says why")
        switch.ctl("port", "set", "c", "memory-max=")
        expect(switch.port("c")["memory"]["mapped_max_bytes"] >= share // 2, "its share again")
        with Front(lab.path("c")):
            begun = talk.said
            talk.some()
            talk.check(begun)
    end_well(switch)


@case
def static_entries_keep_their_port_in_its_vlan(lab):
    switch = Switch(lab, [spec(lab, "a", "vlan=10")])
    switch.ctl("fdb", "add", "52:54:00:00:00:09", "a", "10")
    done = switch.ctl_run("port", "set", "a", "vlan=20")
    expect(done.returncode == 1 and "fdb del them first" in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    expect(switch.port("a")["vlan"]["untagged"] == 10, "nothing has changed")
    switch.ctl("fdb", "del", "52:54:00:00:00:09", "10")
    switch.ctl("port", "set", "a", "vlan=20")
    expect(switch.port("a")["vlan"]["untagged"] == 20, "now it has")
    end_well(switch)


if __name__ == "__main__":
    main()
