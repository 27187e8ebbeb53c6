#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`vireoctl trace`: why frames of a port go where they go, or come to it or do not; and readers that stop."""
import json
import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402

RESERVED = b"\x01\x80\xc2\0\0\3" + mac(1) + b"\x88\xb5" + bytes(46)


def two_ports(lab):
    return Switch(lab, [f"vhost-user:{lab.path('a')},name=vm1", f"vhost-user:{lab.path('b')},name=vm2"])


def tracing(lab, switch, *words):
    """vireoctl trace, which the switch has heard of."""
    before = open(lab.path("switchd.log"), encoding="utf-8").read().count("vm1: traced")
    child = lab.start([program("vireoctl"), "-s", switch.control, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: open(lab.path("switchd.log"), encoding="utf-8").read().count("vm1: traced") > before, 20, "it is traced", child=child)
    return child


def told(child):
    out, complaints = child.communicate(timeout=30)
    expect(child.returncode == 0 and not complaints, f"exit status {child.returncode}, {complaints}")
    return out


@case
def people_get_a_line_for_each_verdict(lab):
    switch = two_ports(lab)
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        child = tracing(lab, switch, "trace", "vm1", "--count", "2")
        a.send(text_frame(1, None, b"hello"))
        expect(b.receive(30), "vm2 gets it")
        a.send(RESERVED)
        lines = told(child).splitlines()
    expect(lines[0].endswith(" 52:54:00:00:02:01 > ff:ff:ff:ff:ff:ff, type 0x88b5, 60 bytes"), lines[0])
    expect(lines[1:10] == [f"    {line}" for line in (
        "received at vm1, queue 0", "header: asks for nothing", "in VLAN 0, the port's own", "source: learned",
        "destination: broadcast, all ports of the VLAN", "flooded in VLAN 0, to 1 ports", "to vm2", "into queue 0", "delivered to vm2: 1")],
        "\n".join(lines))
    expect(lines[-1] == "    dropped at vm1: rx_reserved, 1" and "    source: known here" in lines[10:], "\n".join(lines))
    end_well(switch)


@case
def programs_get_objects(lab):
    switch = two_ports(lab)
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        b.send(text_frame(2, None, b"here"))
        expect(a.receive(30), "vm2 is known")
        switch.ctl("port", "set", "vm2", "mtu=576")
        child = tracing(lab, switch, "--json", "trace", "vm1", "--count=3")
        for _ in range(3):
            a.send(text_frame(1, 2, bytes(1000)))
        frames = [frame for line in told(child).splitlines() for frame in json.loads(line)["frames"]]
    expect(len(frames) == 3 and frames[0]["bytes"] > 1000 and frames[0]["source"] == "52:54:00:00:02:01", f"{frames}")
    lost = frames[2]["verdicts"][-1]
    expect((lost["verdict"], lost["port"], lost["reason"], lost["count"]) == ("dropped", "vm2", "tx_mtu", 1), f"{lost}")
    known = [verdict for verdict in frames[1]["verdicts"] if verdict["verdict"] == "to_known"]
    expect(len(known) == 1 and known[0]["port"] == "vm2" and known[0]["text"] == "destination: known behind vm2", f"{frames[1]}")
    end_well(switch)


@case
def what_was_to_go_to_a_port_is_told_of_the_port(lab):
    switch = two_ports(lab)
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        b.send(text_frame(2, None))
        expect(a.receive(30), "vm2 is known")
        a.send(text_frame(1, None))
        expect(b.receive(30), "and vm1")
        child = tracing(lab, switch, "trace", "vm1", "--way=to", "--count", "2")
        a.send(text_frame(1, 2, b"not to vm1"))
        b.send(text_frame(2, 1, b"to vm1"))
        expect(a.receive(30), "vm1 gets it")
        switch.ctl("port", "set", "vm1", "mtu=576")
        b.send(text_frame(2, 1, bytes(1000)))
        lines = told(child).splitlines()
    frames = [line for line in lines if not line.startswith(" ")]
    expect(len(frames) == 2 and all("52:54:00:00:02:02 > 52:54:00:00:02:01" in line for line in frames), "\n".join(lines))
    expect(lines.count("    received at vm2, queue 0") == 2 and "    delivered to vm1: 1" in lines and lines[-1] == "    dropped at vm1: tx_mtu, 1",
           "\n".join(lines))
    done = switch.ctl_run("trace", "vm1", "--way=sideways")
    expect(done.returncode and "way 'sideways': expected from or to" in done.stderr, f"{done}")
    end_well(switch)


def ask(stream, **params):
    """The method, as any client may call it."""
    stream.write(json.dumps({"jsonrpc": "2.0", "method": "trace", "params": params, "id": 1}).encode() + b"\n")
    stream.flush()
    return json.loads(stream.readline())


def ask_well(stream, **params):
    answer = ask(stream, **params)
    expect("result" in answer, f"{params}: {answer}")
    return answer["result"]


@case
def a_reader_that_stops_costs_nobody_anything(lab):
    switch = two_ports(lab)
    with socket.socket(socket.AF_UNIX) as client, Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        client.connect(switch.control)
        stream = client.makefile("rwb")
        trace = ask_well(stream, port="vm1")["id"]
        sent, arrived = 0, 0
        while sent < 280:  # more than a trace keeps, and soon: one that nobody reads ends after 10 s
            a.send(text_frame(1, None, b"flood"))
            sent += 1
            wait_until(b.poll, 20, "vm2 gets it, whoever reads or does not", step=0)
            arrived += len(b.reclaim() or ())
        wait_until(a.drained, 20, "all are taken, and done with")
        expect(switch.port("vm1")["rx_frames"] == switch.port("vm2")["tx_frames"] == sent, "and have arrived")
        answers = [ask_well(stream, port="vm1", id=str(trace)) for _ in range(5)]
        expect([len(answer["frames"]) for answer in answers] == [64, 64, 64, 64, 0], f"{[len(answer['frames']) for answer in answers]}")
        expect(answers[-1]["lost"] == sent - 256 and answers[-1]["state"] == "on", f"{answers[-1]}")
        a.send(text_frame(1, None, b"more"))
        wait_until(lambda: ask_well(stream, port="vm1", id=str(trace))["frames"], 20, "who reads on gets what comes then")
    end_well(switch)


@case
def what_cannot_be_is_refused_in_one_line(lab):
    switch = two_ports(lab)
    for words, said in ((("vm3",), "no port 'vm3'"), (("vm1", "--id", "7"), "there is no trace 7 of vm1"), (("vm1", "--id", "x"), "id 'x'"),
                        (("vm1", "vm2"), "expected PORT"), ((), "expected PORT"), (("vm1", "--watch"), "no --watch")):
        refused = switch.ctl_run("trace", *words)
        expect(refused.returncode and said in refused.stderr and refused.stderr.count("\n") == 1, f"{words}: {refused.stderr}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(switch.control)
        stream = client.makefile("rwb")
        for bad in ("0", "-1", "1x", "", "99999999999999999999"):
            expect(ask(stream, port="vm1", count=bad)["error"]["code"] == -32602, bad)
        traces = [ask(stream, port="vm1")["result"]["id"] for _ in range(4)]
        expect("as many traces as there may be" in ask(stream, port="vm1")["error"]["message"], "a fifth")
        expect(ask(stream, port="vm2", id=str(traces[0]))["error"]["code"] == -32002, "another port's")
    end_well(switch)


@case
def a_port_that_goes_ends_it(lab):
    switch = two_ports(lab)
    child = tracing(lab, switch, "trace", "vm1")
    switch.ctl("port", "remove", "vm1")
    out, complaints = child.communicate(timeout=30)
    expect((child.returncode, out, complaints) == (1, "", "vireoctl: trace: port 'vm1' has gone\n"), f"{child.returncode}: {out}{complaints}")
    end_well(switch)


if __name__ == "__main__":
    main()
