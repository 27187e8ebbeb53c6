#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces that the host has as ports, by packet sockets, by AF_XDP, by DPDK's driver for packet sockets, and by macvtap interfaces above them: one end of veth pairs whose other ends are hosts. What tap.py
asks of TAP interfaces."""
import json
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.interfaces import KINDS, NAMES, inside, need_kind, need_veth, refused, start  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import program  # noqa: E402
from guest.takeover import says  # noqa: E402
from guest.uplink import no_losses, transfer  # noqa: E402

BOTH = {f"_{kind}": (kind,) for kind in ("af_packet", "af_xdp")}
ALL = {**BOTH, "_macvtap": ("macvtap",)}
WITH_DPDK = {**ALL, "_dpdk": ("dpdk",)}


def ether(text):
    return re.search(r"link/ether (\S+)", text)[1]


def received(text):
    return int(re.search(r"RX:.*\n *\d+ +(\d+)", text)[1])


def interface_of(kind, name):
    """The port's own."""
    return name + ("2" if kind == "macvtap" else "1")


SESSIONS = {
    "macvtap": {"driver": "macvtap", "interface": "left2", "mtu": 1500},
    "af_packet": {"driver": "af_packet", "interface": "left1"},
    "dpdk": {"driver": "net_af_packet", "mtu": 1500, "missed": 0},
    "af_xdp": {"driver": "af_xdp", "interface": "left1", "mode": "copy", "queue": 0},
    "af_xdp_skb": {"driver": "af_xdp", "interface": "left1", "mode": "skb", "queue": 0},
}


@case_for({**{f"_{kind}": (kind, 1, ()) for kind in KINDS if kind != "dpdk"},
           **{f"_{kind}_with_two_queues_and_workers": (kind, 2, ("--workers", "2")) for kind in ("af_packet", "af_xdp", "macvtap", "dpdk")}}, "hosts_ping{}")
def hosts_ping(lab, kind, queues, options):
    switch, left, right = start(lab, kind, queues, options=options)
    wait_until(lambda: switch.port("left")["state"] == "up", 20, "the switch has seen that it is up")
    port = switch.port("left")
    expect(port["session"] == SESSIONS[kind], f"what it is: {port}")
    for host, number in ((left, 2), (right, 1)):
        host.ping(f"10.7.0.{number}")
        host.ping(f"10.7.0.{number}", payload=1400)
        # In fragments. Those of IPv4 DPDK's driver has the kernel put together, and then cuts off what is too long.
        host.ping(f"fd07::{number}" if kind == "dpdk" else f"10.7.0.{number}", payload=20000)
    no_losses(switch, *NAMES)
    end_well(switch)


@case_for({
    "on_af_packet": (("af_packet", "af_packet"), "on"),
    "off_af_packet": (("af_packet", "af_packet"), "off"),
    "off_af_xdp": (("af_xdp", "af_xdp"), "off"),
    "on_to_dpdk": (("af_packet", "dpdk"), "on"),
    "on_macvtap": (("macvtap", "macvtap"), "on"),
    "on_macvtap_to_af_xdp": (("macvtap", "af_xdp"), "on"),
    "on_to_af_xdp": (("af_packet", "af_xdp"), "on"),
    "on_to_af_xdp_skb": (("af_packet", "af_xdp_skb"), "on"),
}, "tcp_between_hosts_with_offloads_{}")
def tcp_between_hosts(lab, kinds, setting):
    """What a host with offloads sends is cut, and its checksums are filled in, for a port that takes none."""
    switch, left, right = start(lab, kinds[1], kinds=kinds)
    left.offloads(setting)
    if "xdp" not in kinds[1] and kinds[1] != "dpdk":
        right.offloads(setting)
    for version in ("10.7.0.", "fd07::"):
        before = switch.port("left")
        transfer(lab, left, right, version + "2", 4)
        after = switch.port("left")
        mean = (after["rx_bytes"] - before["rx_bytes"]) / (after["rx_frames"] - before["rx_frames"])
        expect((mean > 3000) == (setting == "on"), f"frames of {mean:.0f} bytes in the mean, with offloads {setting}")
        transfer(lab, right, left, version + "1", 4)
    no_losses(switch, *NAMES)
    end_well(switch)


@case_for(ALL, "tcp_over_many_queues{}")
def tcp_over_many_queues(lab, kind):
    """With no more under way than a queue has buffers for: where no worker runs for a while, what is beyond would be lost, and TCP wait."""
    switch, left, right = start(lab, kind, 4, options=("--workers", "2"))
    for host in (left, right):
        host.run("sh", "-c", "echo 4096 131072 262144 >/proc/sys/net/ipv4/tcp_rmem")
    transfer(lab, left, right, "10.7.0.2", 4)
    transfer(lab, right, left, "10.7.0.1", 4)
    no_losses(switch, *NAMES)
    end_well(switch)


@case_for(ALL, "jumbo_frames_pass_in_one_piece{}")
def jumbo_frames_pass_in_one_piece(lab, kind):
    switch, left, right = start(lab, kind, mtu=9000)
    for host in (left, right):
        host.offloads("off")
    before = switch.port("left")
    left.ping("10.7.0.2", payload=8972, count=5)
    after = switch.port("left")
    octets, frames = after["rx_bytes"] - before["rx_bytes"], after["rx_frames"] - before["rx_frames"]
    expect(octets >= 5 * 9014 and frames < 16, f"{octets} bytes in {frames} frames")
    no_losses(switch, *NAMES)
    end_well(switch)


@case_for(ALL, "a_frame_that_is_too_long_for_the_interface_is_counted{}")
def a_frame_that_is_too_long_for_the_interface_is_counted(lab, kind):
    switch, left, _ = start(lab, kind, mtu=9000)
    inside(switch, "ip", "link", "set", interface_of(kind, "right"), "mtu", "1400")
    if kind == "macvtap":
        wait_until(lambda: switch.port("right")["session"]["mtu"] == 1400, 20, "it has been looked at")
    left.offloads("off")
    left.ping("10.7.0.2", payload=1372)
    left.ping("10.7.0.2", payload=3000, count=2, lost=True)
    dropped = sum(queue["too_long"] for queue in switch.port("right")["queue_counters"] if queue["direction"] == "tx")
    expect(dropped == 2, f"{dropped} of 2 frames are counted as too long")
    end_well(switch)


# Sends a frame with a tag of VLAN 10 each 50 ms, if it has been given one, and else without; prints the tag of the first frame of type 0x88b5 that comes.
TALKER = """
import select, socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((sys.argv[1], 0)); s.setsockopt(263, 8, 1)  # PACKET_AUXDATA
mine, other = (bytes.fromhex(word) for word in sys.argv[2:4])
frame = other + mine + bytes.fromhex(sys.argv[4]) + bytes.fromhex("88b5") + bytes(50)
while True:
    s.send(frame)
    while select.select([s], [], [], 0.05)[0]:
        data, more, _, address = s.recvmsg(2048, 256)
        if address[1] != 0x88b5 or address[2] == 4: continue  # its own
        status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", more[0][2][:20])
        print("tag %04x %d" % (tpid, tci & 4095) if status & 16 else "no tag", data[6:12].hex(), flush=True)
        s.setblocking(False)
"""


@case_for(WITH_DPDK, "a_tag_that_the_interface_has_taken_out_is_in_its_frame_again{}")
def a_tag_that_the_interface_has_taken_out_is_in_its_frame_again(lab, kind):
    """One port is a trunk, the other is in VLAN 10: tags go and come on the way. The kernel takes tags out of what veth brings."""
    switch, left, right = start(lab, kind, keys=",trunk=all")
    switch.ctl("port", "set", "right", "trunk=,vlan=10")
    addresses = [ether(host.run("ip", "link", "show", f"{host.name}0")).replace(":", "") for host in (left, right)]
    talkers = [lab.start(host.argv(sys.executable, "-c", TALKER, f"{host.name}0", mine, other, tag), stdout=subprocess.PIPE, text=True)
               for host, mine, other, tag in ((left, *addresses, "8100600a"), (right, *reversed(addresses), ""))]
    heard = [talker.stdout.readline().split() for talker in talkers]
    expect(heard == [["tag", "8100", "10", addresses[1]], ["no", "tag", addresses[0]]], f"{heard}")
    places = {(entry["mac"].replace(":", ""), entry["vlan"], entry["port"]) for entry in switch.ask("fdb", "show")["entries"]}
    expect(places >= {(addresses[0], 10, "left"), (addresses[1], 10, "right")}, f"learned: {places}")
    for talker in talkers:
        lab.kill(talker)
        talker.stdout.close()
    no_losses(switch, *NAMES)
    end_well(switch)


@case_for(BOTH, "what_the_interface_sends_does_not_come_in{}")
def what_the_interface_sends_does_not_come_in(lab, kind):
    """A frame of the host's own goes out of the interface, and is no frame from there."""
    switch, left, _ = start(lab, kind)
    inside(switch, "ip", "addr", "add", "10.9.0.1/24", "dev", "left1")
    own = ether(inside(switch, "ip", "link", "show", "left1").stdout)
    before = received(left.run("ip", "-s", "link", "show", "left0"))
    inside(switch, "sh", "-c", "busybox ping -c 3 -i 0.1 -W 1 10.9.0.77 || true")  # asks who has that address
    expect(received(left.run("ip", "-s", "link", "show", "left0")) > before, "nothing went out")
    left.ping("10.7.0.2")  # what comes after it has come
    expect(own not in [entry["mac"] for entry in switch.ask("fdb", "show")["entries"]], "the host's own frames have come in")
    end_well(switch)


@case_for(ALL, "an_interface_goes_down_and_up_and_goes_away{}")
def an_interface_goes_down_and_up_and_goes_away(lab, kind):
    switch, left, right = start(lab, kind)
    left.ping("10.7.0.2")
    inside(switch, "ip", "link", "set", interface_of(kind, "right"), "down")
    wait_until(lambda: switch.port("right")["state"] == "down", 20, "it is down")
    left.ping("10.7.0.2", count=1, lost=True)
    dropped = sum(queue["disabled"] for queue in switch.port("right")["queue_counters"])
    expect(dropped >= 1, "what is sent to it is counted")
    inside(switch, "ip", "link", "set", interface_of(kind, "right"), "up")
    wait_until(lambda: switch.port("right")["state"] == "up", 20, "it is up")
    wait_until(lambda: "bytes from" in left.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.2 || true"), 20, "pings pass again")
    inside(switch, "ip", "link", "del", interface_of(kind, "right"))
    wait_until(lambda: switch.port("right")["state"] == "failed", 20, "it is gone")
    expect(switch.port("right")["session"] is None, "it is gone")
    left.ping("10.7.0.2", count=2, lost=True)
    wait_until(lambda: open(switch.child.log).read().count("the interface is gone") == 1, 20, "one line says so")
    switch.ctl("port", "remove", "right")
    refused(switch, KINDS[kind].format("right"), "there is no such interface here")
    refused(switch, f"{kind}:{interface_of(kind, 'left')},name=again", "")  # two ports of one interface
    end_well(switch)


# Sends so many frames as fast as it can.
FLOOD = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0))
for _ in range(int(sys.argv[2])): s.send(bytes.fromhex("ffffffffffff02000000000788b5") + bytes(1400))
"""
FLOOD_FRAMES = 8000


@case_for(BOTH, "what_the_kernel_has_no_room_for_is_counted{}")
def what_the_kernel_has_no_room_for_is_counted(lab, kind):
    """While the switch does not run at all. On a loaded machine the pair of interfaces may lose them before that."""
    switch, left, _ = start(lab, kind)
    sent = 0

    def counted():
        port = switch.port("left")
        queue = next(queue for queue in port["queue_counters"] if queue["direction"] == "rx")
        return queue["frames"], queue["no_buffer"], port["rx_drops"]

    def lost():
        nonlocal sent
        switch.child.send_signal(signal.SIGSTOP)
        left.run(sys.executable, "-c", FLOOD, "left0", str(FLOOD_FRAMES))
        switch.child.send_signal(signal.SIGCONT)
        sent += FLOOD_FRAMES
        return counted()[1]
    wait_until(lost, 60, "what there was no room for is counted")
    wait_until(lambda: counted()[0] > 0, 20, "and the rest has come")
    frames, without, drops = counted()
    expect(frames + without <= sent + 100 and drops >= without, f"of {sent} {frames} came, {without} were lost, {drops} dropped")
    left.ping("10.7.0.2")
    end_well(switch)


@case
def what_is_no_macvtap_interface_is_told_in_one_line(lab):
    switch, left, _ = start(lab, "macvtap")
    switch.ctl("port", "remove", "right")
    refused(switch, "macvtap:right1", "which a macvtap interface has: ip link add link LOWER name NAME type macvtap mode passthru")
    refused(switch, "macvtap:nobody", "there is no such interface here")
    refused(switch, "macvtap:right2,mode=passthru", "unknown key 'mode'")
    number = re.match(r"\d+", inside(switch, "ip", "-o", "link", "show", "left2").stdout)[0]
    other = WrappedSwitch(lab, ["unshare", "-n", "sh", "-c", f"ip link add other index {number} type veth peer name peer && exec \"$0\" \"$@\""],
                          ["null:n"], name="other")
    refused(other, "macvtap:other", "of another network namespace")
    end_well(other)
    end_well(switch)


@case
def a_macvtap_interface_needs_no_capability(lab):
    need_program("setpriv")
    switch, left, _ = start(lab, "macvtap")
    for name in NAMES:
        switch.ctl("port", "remove", name)
        inside(switch, "ip", "link", "set", f"{name}2", "allmulticast", "off")
    inside(switch, "ip", "link", "set", "left2", "allmulticast", "on")
    other = WrappedSwitch(lab, ["nsenter", "-t", str(switch.child.pid), "-n", "setpriv", "--bounding-set=-net_raw,-net_admin"],
                          [KINDS["macvtap"].format(name) for name in NAMES], name="other")
    wait_until(lambda: "right: multicast does not come in" in open(other.child.log).read(), 20, "one line says what does not come")
    expect("left: multicast" not in open(other.child.log).read(), "and only where it does not")
    left.ping("10.7.0.2")
    end_well(other)
    end_well(switch)


@case
def a_program_that_is_there_already_stays_there(lab):
    """The other's is that of another daemon, which shows as well that one that is killed leaves none behind."""
    switch, left, _ = start(lab, "af_xdp")
    other = WrappedSwitch(lab, ["nsenter", "-t", str(switch.child.pid), "-n"], ["null:n"], name="other")
    refused(other, "af_xdp:left1", "there is an XDP program already")
    refused(other, "af_xdp:left1,mode=skb", "there is an XDP program already")
    left.ping("10.7.0.2")
    switch.kill()
    for name in NAMES:
        other.ctl("port", "add", KINDS["af_xdp"].format(name))
    left.ping("10.7.0.2")
    end_well(other)


@case
def a_port_is_removed_and_added_at_once(lab):
    """The kernel gives a queue back a moment after its socket is closed. That of somebody else is not waited for longer than it is told."""
    switch, left, _ = start(lab, "af_xdp")
    for _ in range(6):
        switch.ctl("port", "remove", "right")
        switch.ctl("port", "add", KINDS["af_xdp"].format("right"))
    left.ping("10.7.0.2")
    end_well(switch)


@case
def ports_by_xdp_keep_the_old_process(lab):
    """They go on under traffic, and nothing is stopped for that: their frames lie in memory of that process alone."""
    switch, left, right = start(lab, "af_xdp")
    pinging = lab.start(right.argv("busybox", "ping", "-c", "40", "-i", "0.05", "-W", "20", "10.7.0.1"), stdout=subprocess.PIPE, text=True)
    child = switch.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "port 'left' cannot be handed over: its type is af_xdp; --reopen")
    expect(len(open(child.log).read().splitlines()) == 1 and "not handed over" not in open(switch.child.log).read(), "something was stopped")
    said = pinging.communicate(timeout=60)[0]
    expect("40 packets transmitted, 40 packets received" in said, said)
    left.ping("10.7.0.2")
    for name in NAMES:
        switch.ctl("port", "remove", name)
    switch.hand_over()
    end_well(switch)


@case
def tags_are_kept_before_the_first_frame_comes(lab):
    """The kernel tells of each change: when the interface's features change, the program is not there yet."""
    switch, *_ = start(lab, "af_xdp")
    switch.ctl("port", "remove", "right")
    watch = lab.start(["nsenter", "-t", str(switch.child.pid), "-n", "ip", "-o", "monitor", "link", "dev", "right1"], stdout=subprocess.PIPE, text=True)
    netlink = f"/proc/{watch.pid}/net/netlink"
    wait_until(lambda: re.search(rf"^\S+ 0 +{watch.pid} ", open(netlink).read(), re.M), 20, "somebody listens")
    switch.ctl("port", "add", "af_xdp:right1,name=right,mode=skb")
    inside(switch, "ip", "link", "set", "right1", "mtu", "1400")  # ends what is looked at
    lines = [""]
    while "mtu 1400" not in lines[-1]:
        lines.append(watch.stdout.readline())
        expect(lines[-1], f"the monitor has ended: {lines}")
    lab.kill(watch)
    watch.stdout.close()
    changes = [number for number, line in enumerate(lines) if "FEATURE CHANGE" in line]
    expect(changes and "xdpgeneric" not in lines[changes[0]] and "xdpgeneric" in lines[-1], f"{lines}")
    end_well(switch)


MASTERS = {"bridge": "ip link add over type bridge", "bond": "ip link add over type bond mode active-backup"}


@case_for({f"a_{kind}": (kind,) for kind in MASTERS}, "{}_has_no_driver_and_one_line_says_so")
def what_has_no_driver(lab, kind):
    """An interface that is made of others: frames come to it by the kernel alone."""
    need_veth(MASTERS[kind] + " && ", f"{kind}s")
    switch, left, _ = start(lab, "af_xdp")
    switch.ctl("port", "remove", "right")
    inside(switch, "sh", "-c", f"ip link set right1 down && {MASTERS[kind]} && ip link set right1 master over && ip link set right1 up && ip link set over up")
    refused(switch, "af_xdp:over,mode=copy", "no XDP program can be attached")
    switch.ctl("port", "add", "af_xdp:over,name=right,mode=skb")
    left.ping("10.7.0.2")
    switch.ctl("port", "remove", "right")
    switch.ctl("port", "add", "af_xdp:over,name=right")
    expect(switch.port("right")["session"]["mode"] == "skb", f"{switch.port('right')}")
    left.ping("10.7.0.2", payload=3000)
    wait_until(lambda: open(switch.child.log).read().count("driver has no XDP") == 1, 20, "one line says so, of the one that was not asked for")
    end_well(switch)


@case
def what_an_interface_has_not_is_told_in_one_line(lab):
    switch, left, _ = start(lab, "af_xdp")
    switch.ctl("port", "remove", "right")
    refused(switch, "af_xdp:right1,queue=3", "it has no queue 3")
    refused(switch, "af_xdp:right1,mode=zerocopy", "its driver cannot do mode=zerocopy")
    refused(switch, "af_xdp:right1,mode=fast", "expected zerocopy, copy or skb")
    refused(switch, "af_xdp:right1,queue=-1", "expected 0 to 65535")
    switch.ctl("port", "add", KINDS["af_xdp"].format("right"))
    left.ping("10.7.0.2")
    end_well(switch)


@case_for({
    "no_privilege": (["setpriv", "--bounding-set=-net_raw,-net_admin,-bpf,-sys_admin"], "needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF"),
    "no_program": (["setpriv", "--bounding-set=-bpf,-sys_admin"], "needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF"),
    "no_locked_memory": (["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock"], "let it lock 6 MiB a queue"),
}, "{}_is_told_in_one_line")
def what_the_daemon_may_not(lab, wrap, line):
    need_program("setpriv")
    need_kind("af_xdp")
    link = "ip link add left0 type veth peer name left1 && ip link set left1 up && "
    need_veth(link)
    switch = WrappedSwitch(lab, [*QUIET_NETWORK[:-1], QUIET_NETWORK[-1].replace("exec", link + "exec"), *wrap], ["null:n"])
    refused(switch, "af_xdp:left1", line)
    end_well(switch)


BENCH_LINKS = "ip link add near0 type veth peer name far0 && ip link set near0 up && ip link set far0 up && "


def bench_on(links, *options):
    """vireo-bench in a network of its own."""
    bench = program("vireo-bench")
    return subprocess.run([*QUIET_NETWORK[:-1], QUIET_NETWORK[-1].replace("exec", links + "exec"), bench, "net", "--json", *options],
                          capture_output=True, text=True, timeout=60)


@case
def the_bench_sends_from_an_interface_to_another(lab):
    need_veth(BENCH_LINKS)
    done = bench_on(BENCH_LINKS, "--from", "packet:near0", "--to", "packet:far0", "--verify", "--no-loss", "--no-reorder", "--size", "imix", "--frames",
                    "3000", "--window", "32", "--cpus", str(min(os.sched_getaffinity(0))))
    expect(done.returncode == 0, f"{done}")
    report = json.loads(done.stdout)
    expect(report["received"]["frames"] == 3000 and report["from"]["send_ns"] and report["to"]["receive_ns"], f"{report}")


@case
def what_the_bench_has_no_interface_for_is_told_in_one_line(lab):
    need_veth(BENCH_LINKS)
    for options, line in ((("packet:nobody", "packet:far0"), "vireo-bench: packet:nobody: No such device"),
                          (("packet:near0", "tap:far0"), "vireo-bench: tap:far0: "),
                          (("packet:near0", "packet:a-name-that-is-too-long"), "vireo-bench: packet:a-name-that-is-too-long: No such device"),
                          (("packet:near0", "packet:far0", "--queues", "2"), "vireo-bench: packet:near0: the back end lacks a feature")):
        done = bench_on(BENCH_LINKS, "--from", options[0], "--to", *options[1:])
        expect(done.returncode == 3 and done.stderr.startswith(line) and done.stderr.count("\n") == 1, f"{options}: {done}")
    flows = "until awk '/far0:/ { exit $3 < 1000 }' /proc/net/dev; do sleep 0.1; done"
    gone = f"{BENCH_LINKS} true; {{ {flows}; ip link del near0; }} & "
    done = bench_on(gone, "--from", "packet:near0", "--to", "packet:far0", "--seconds", "60")
    expect(done.returncode == 3 and '"broken"' in done.stdout, f"{done}")


if __name__ == "__main__":
    main()
