#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`vireoctl mirror`: what it writes is read by tcpdump, and by a reader of pcapng of our own; readers that stop, go, and fill disks."""
import array
import json
import os
import shutil
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.pcapng import read_pcapng  # noqa: E402
from guest.switch import Switch, program  # noqa: E402

INBOUND, OUTBOUND = 1, 2
RESERVED = b"\x01\x80\xc2\0\0\3" + mac(1) + b"\x88\xb5" + bytes(46)


def two_ports(lab):
    return Switch(lab, [f"vhost-user:{lab.path('a')},name=vm1", f"vhost-user:{lab.path('b')},name=vm2", "loop:spy,vlan=9"])


def need_filters(switch):
    if "without libpcap" in switch.ctl_run("mirror", "add", "nobody", "--to", "x", "--filter", "arp").stderr:
        raise Skip("vireoctl was built without libpcap")


def copied(switch, count):
    wait_until(lambda: switch.ask("mirror", "list")["mirrors"][0]["frames"] == count, 20, f"{count} frames are copied")


@case
def a_file_has_both_directions_and_the_reasons(lab):
    switch, path = two_ports(lab), lab.path("vm1.pcapng")
    expect(switch.ctl("mirror", "add", "vm1", "--to", path) == f"mirror 1: vm1 to {path}\n", "mirror add")
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        a.send(text_frame(1, None, b"hello"))
        expect(b.receive(30), "vm2 gets it")
        b.send(text_frame(2, 1, b"back"))
        expect(a.receive(30), "vm1 gets the answer")
        a.send(RESERVED)
        switch.ctl("port", "link", "vm2", "down")
        a.send(text_frame(1, None, b"nobody"))
        copied(switch, 4)
        row = switch.ask("mirror", "list")["mirrors"][0]
        expect((row["port"], row["to"], row["state"], row["lost"]) == ("vm1", path, "on", 0), f"{row}")
        expect("vm1.pcapng" in switch.ctl("mirror", "list"), "the table")
        switch.ctl("mirror", "remove", "1")
    interface, packets = read_pcapng(open(path, "rb").read())
    expect(interface[2] == b"vm1" and interface[9] == b"\x09", f"{interface}")
    expect([(way, why) for way, why, _ in packets[:3]] == [(INBOUND, ""), (OUTBOUND, ""), (INBOUND, "dropped: rx_reserved")], f"{packets}")
    expect(packets[0][2] == text_frame(1, None, b"hello") and packets[1][2] == text_frame(2, 1, b"back"), "the bytes")
    expect(packets[3][1] == "dropped at vm2: tx_link_down", f"{packets[3]}")
    expect(switch.ctl_run("mirror", "remove", "1").stderr == "vireoctl: there is no mirror '1': mirror list shows those that there are\n", "twice")
    end_well(switch)


@case
def tcpdump_reads_what_is_streamed_and_filtered(lab):
    if not shutil.which("tcpdump"):
        raise Skip("tcpdump is not installed")
    switch = two_ports(lab)
    need_filters(switch)
    argv = [program("vireoctl"), "-s", switch.control, "mirror", "add", "vm1", "--to", "-", "--filter", "ether src 52:54:00:00:02:01 and not ether[14] == 0x78"]
    mirror = lab.start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: switch.ask("mirror", "list")["mirrors"], 20, "the mirror is there")
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        for text in (b"wanted", b"x not", b"wanted too"):
            a.send(text_frame(1, None, text))
        b.send(text_frame(2, None, b"other"))
        wait_until(lambda: switch.port("vm1")["tx_frames"] == 1 and switch.port("vm1")["rx_frames"] == 3, 20, "all have gone")
        switch.ctl("mirror", "remove", "1")
        data, complaints = mirror.communicate(timeout=20)
    expect(mirror.returncode == 0 and not complaints, f"exit status {mirror.returncode}, {complaints}")
    interface, packets = read_pcapng(data)
    expect(len(packets) == 2 and interface[11][1:].startswith(b"ether src"), f"{interface} {packets}")
    read = subprocess.run(["tcpdump", "-e", "-n", "-r", "-"], input=data, capture_output=True, timeout=30)
    lines = read.stdout.decode().splitlines()
    expect(read.returncode == 0 and sum("52:54:00:00:02:01 > ff:ff:ff:ff:ff:ff" in line for line in lines) == 2, f"{lines} {read.stderr}")
    end_well(switch)


@case
def copies_go_to_another_port_and_come_from_nobody_twice(lab):
    switch = two_ports(lab)
    switch.ctl("mirror", "add", "vm1", "--to", "spy")
    with Front(lab.path("a")) as a:
        for _ in range(3):
            a.send(text_frame(1, None))
        wait_until(lambda: switch.port("spy")["tx_frames"] == 3, 20, "spy gets them")
    for words in (("spy", "--to", "vm2"), ("vm2", "--to", "vm1"), ("vm2", "--to", "vm2")):
        refused = switch.ctl_run("mirror", "add", *words)
        expect(refused.returncode == 1 and "round for ever" in refused.stderr, f"{words}: {refused.stderr}")
    switch.ctl("port", "remove", "spy")
    wait_until(lambda: not switch.ask("mirror", "list")["mirrors"], 20, "the mirror goes with its target")
    end_well(switch)


@case
def what_cannot_be_is_refused_in_one_line(lab):
    switch = two_ports(lab)
    for words, said in ((("vm3", "--to", "spy"), "no port 'vm3'"), (("vm1", "--to", "spi"), "no port 'spi'"), (("vm1", "--to", "/nowhere/x"), "/nowhere/x"),
                        (("vm1", "--to", "spy", "--snaplen", "x"), "snaplen 'x'"), (("vm1", "--to", "spy", "--program", "1,6 0 0"), "tcpdump -ddd"),
                        (("vm1", "--to", "spy", "--program", "1,5 0 0 9"), "tcpdump -ddd"), (("vm1", "spy"), "expected PORT")):
        refused = switch.ctl_run("mirror", "add", *words)
        expect(refused.returncode and said in refused.stderr and refused.stderr.count("\n") == 1, f"{words}: {refused.stderr}")
    expect("no --filter" in switch.ctl_run("port", "list", "--filter", "arp").stderr, "an option of another command")
    need_filters(switch)
    refused = switch.ctl_run("mirror", "add", "vm1", "--to", lab.path("x.pcapng"), "--filter", "no such thing")
    expect(refused.returncode == 2 and "syntax error" in refused.stderr and not os.path.exists(lab.path("x.pcapng")), refused.stderr)
    expect(not switch.ask("mirror", "list")["mirrors"], "nothing is mirrored")
    end_well(switch)


def ask_with(switch, fd, params):
    """mirror.add with a descriptor, as any client may send it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(switch.control)
        request = json.dumps({"jsonrpc": "2.0", "method": "mirror.add", "params": params, "id": 1}).encode() + b"\n"
        client.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        return json.loads(client.makefile().readline())


@case
def readers_that_stop_or_go_and_full_disks_cost_the_port_nothing(lab):
    switch = two_ports(lab)
    seen, given = os.pipe()
    gone, broken = os.pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    expect("result" in ask_with(switch, given, {"port": "vm1", "to": "stopped"}), "a pipe")
    expect("result" in ask_with(switch, broken, {"port": "vm1", "to": "gone"}), "another")
    for fd, what in ((full, "a device"), (seen, "the wrong end"), (os.open("/", os.O_RDONLY), "a folder")):
        expect(ask_with(switch, fd, {"port": "vm1"})["error"]["code"] == -32602, what)
    for params in ({"to": "x" * 4097}, {"filter": "x" * 4097, "program": "1,6 0 0 1"}):
        expect(ask_with(switch, given, {"port": "vm1", **params})["error"]["code"] == -32602, "a text that would be kept")
    os.close(gone)
    os.close(broken)
    wait_until(lambda: [m["to"] for m in switch.ask("mirror", "list")["mirrors"]] == ["stopped"], 20, "who reads it has gone, and so does the mirror")
    size = 1 << 16
    with open(lab.path("small"), "wb") as small, Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        prlimit = ["prlimit", f"--pid={switch.child.pid}", f"--fsize={size}"]
        if subprocess.run(prlimit, capture_output=True).returncode:
            raise Skip("no prlimit")
        expect("result" in ask_with(switch, small.fileno(), {"port": "vm1", "to": "small"}), "a file")
        sent = 0
        while sent < 1500:
            a.send(text_frame(1, None, bytes(8000)))
            sent += 1
            b.poll()
            if sent % 8 == 0:
                wait_until(lambda: b.poll() or switch.port("vm1")["rx_frames"] == sent, 20, "frames are taken", step=0)
        wait_until(a.drained, 30, "all frames are taken, and done with")

        def told():
            return {m["to"]: m for m in switch.ask("mirror", "list")["mirrors"]}
        wait_until(lambda: told()["small"]["state"] == "failed", 30, "its writer meets the limit of the file")
        mirrors = told()
        expect("large" in mirrors["small"]["error"], f"{mirrors}")
        expect(mirrors["stopped"]["lost"] > 0 and mirrors["stopped"]["state"] == "on", f"{mirrors}")
    switch.ctl("mirror", "remove", str(mirrors["stopped"]["id"]))
    switch.ctl("mirror", "remove", str(mirrors["small"]["id"]))
    expect(os.path.getsize(lab.path("small")) == size, "as much as there was room for")
    end_well(switch)


if __name__ == "__main__":
    main()
