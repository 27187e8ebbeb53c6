#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Devices of DPDK as ports: what they cost who has none, what cannot be had, and what another driver than interfaces.py's does."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.interfaces import inside, need_dpdk, need_veth, refused, start  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402
from guest.takeover import says  # noqa: E402

MODULE = "vireo-dpdk.so"


def maps(switch):
    with open(f"/proc/{switch.child.pid}/maps") as file:
        return file.read()


def end_quietly(switch):
    """Its drivers have asked for nothing that the sandbox refuses."""
    with open(switch.child.log) as log:
        expect("the sandbox has refused" not in log.read(), "see the log")
    end_well(switch)


def ends_with(lab, wrap, specs, line, options=()):
    """A daemon that is started with them says so, once, and ends."""
    argv = [*wrap, program("vireo-switchd"), "--control", lab.path("control"), *sum((["--port", spec] for spec in specs), []), *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    lines = [text for text in done.stderr.splitlines() if "error" in text or "dpdk" in text]
    expect(done.returncode == 1 and len(lines) == 1 and line in lines[0], f"{done}")


@case
def who_has_no_such_port_maps_nothing_of_it(lab):
    need_dpdk()
    switch = Switch(lab, ["null:n"])
    expect("librte" not in maps(switch) and MODULE not in maps(switch), "nobody has asked for it")
    refused(switch, "dpdk:net_null0,name=late", "no device has been made for this SPEC")
    refused(switch, "dpdk:net_null0,name=late,queues=0", "expected 1 to 128")
    refused(switch, "dpdk:net_null0,a=[b", "expected an argument of the device")
    expect("librte" not in maps(switch), "it is not loaded late")
    end_quietly(switch)


@case
def port_goes_and_comes_again(lab):
    """The device stays, for the one SPEC that it was made for. What comes meanwhile is nobody's."""
    need_dpdk()
    switch, left, right = start(lab, "dpdk")
    expect("librte_eal" in maps(switch) and MODULE in maps(switch), "it is loaded")
    right.ping("fd07::1", count=1)
    switch.ctl("port", "remove", "right")
    right.ping("fd07::1", payload=60000, count=1, lost=True)
    refused(switch, "dpdk:net_af_packet_right,iface=right1,name=right,mtu=1400", "no device has been made for this SPEC")
    refused(switch, "dpdk:net_af_packet_left,iface=left1,name=again", "")
    switch.ctl("port", "add", "dpdk:net_af_packet_right,iface=right1,name=right")
    wait_until(lambda: "bytes from" in left.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.2 || true"), 20, "pings pass again")
    expect(switch.port("right")["rx_frames"] < 40, f"60000 bytes are 42 frames: {switch.port('right')}")
    child = switch.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "port 'left' cannot be handed over: its type is dpdk")
    left.ping("10.7.0.2", count=1)
    end_quietly(switch)


@case
def what_is_longer_than_its_mtu_is_counted(lab):
    need_dpdk()
    switch, left, _ = start(lab, "dpdk", keys=",mtu=1400")
    left.ping("10.7.0.2", payload=1372, count=1)
    left.ping("10.7.0.2", payload=1373, count=1, lost=True)
    expect(switch.port("right")["counters"]["tx_mtu"] == 1, f"{switch.port('right')['counters']}")
    expect(switch.port("right")["session"]["mtu"] == 1400, "the device has been told")
    done = switch.ctl_run("port", "set", "right", "mtu=1300")
    expect(done.returncode == 2 and "mtu cannot change while the port is there" in done.stderr, f"nobody tells the device: {done}")
    end_quietly(switch)


@case
def another_driver_makes_an_interface_of_its_own(lab):
    """net_tap: the host is this namespace."""
    need_dpdk()
    need_program("busybox")
    pair = "ip link add right0 type veth peer name right1 && ip link set right1 up && ip link set right0 up && "
    need_veth(pair)
    wrapped = [*QUIET_NETWORK[:-1], QUIET_NETWORK[-1].replace("exec", pair + "exec")]
    switch = WrappedSwitch(lab, wrapped, ["dpdk:net_tap0,iface=left0,name=left", "af_packet:right1,name=right"])
    expect(switch.port("left")["session"]["driver"] == "net_tap", f"{switch.port('left')}")
    other = lab.start(["nsenter", "-t", str(switch.child.pid), "-n", "unshare", "-n", "sleep", "1000"])
    mine = os.readlink(f"/proc/{switch.child.pid}/ns/net")
    wait_until(lambda: os.readlink(f"/proc/{other.pid}/ns/net") not in (mine, os.readlink("/proc/self/ns/net")), 20, "a namespace")
    inside(switch, "ip", "link", "set", "right0", "netns", str(other.pid))
    subprocess.run(["nsenter", "-t", str(other.pid), "-n", "sh", "-c", "ip addr add 10.7.0.2/24 dev right0 && ip link set right0 up"], check=True, timeout=30)
    inside(switch, "sh", "-c", "ip addr add 10.7.0.1/24 dev left0 && ip link set left0 up")
    wait_until(lambda: switch.port("left")["state"] == "up", 20, "it is up")
    for payload in ("56", "20000"):
        text = inside(switch, "busybox", "ping", "-c", "1", "-W", "5", "-s", payload, "10.7.0.2").stdout
        expect(re.search(" 1 packets received", text), text)
    inside(switch, "ip", "link", "set", "left0", "down")
    wait_until(lambda: switch.port("left")["state"] == "down", 20, "it is down")
    end_quietly(switch)


@case
def two_switches_share_memory_by_memif(lab):
    """DPDK's net_memif, which VPP speaks as well. Who comes back is there again."""
    need_dpdk()
    path = f"socket={lab.path('memif')},socket-abstract=no,name=mem"
    switch, left, _ = start(lab, "af_packet", options=("--port", f"dpdk:net_memif0,device-role=server,{path}"))
    switch.ctl("port", "remove", "right")
    expect(switch.port("mem")["state"] == "down", "nobody is there yet")
    other = WrappedSwitch(lab, ["nsenter", "-t", str(switch.child.pid), "-n"], ["af_packet:right1,name=right", f"dpdk:net_memif1,{path}"], name="other")
    for again in (False, True):
        if again:
            other.kill()
            wait_until(lambda: switch.port("mem")["state"] == "down", 20, "nobody is there any more")
            other.start()
        wait_until(lambda: switch.port("mem")["state"] == other.port("mem")["state"] == "up", 20, "both are there")
        wait_until(lambda: "bytes from" in left.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.2 || true"), 20, "a ping passes")
        left.ping("10.7.0.2", payload=20000, count=1)
    end_quietly(other)
    end_quietly(switch)


@case
def none_can_be_had_beneath(lab):
    """Landlock would not hold for DPDK's thread."""
    need_dpdk()
    ends_with(lab, [], ["dpdk:net_null0"], "none can be had with --beneath", ["--beneath", "/run"])


@case
def a_second_daemon_does_not_touch_devices(lab):
    need_dpdk()
    first = Switch(lab, ["null:n"], name="first")
    argv = [program("vireo-switchd"), "--control", first.control, "--port", "dpdk:net_null0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, "LD_DEBUG": "files"})
    expect(done.returncode == 1 and "another daemon answers there" in done.stderr, f"{done}")
    expect("libpthread" in done.stderr or "libc.so" in done.stderr, "the loader tells of files")
    expect(MODULE not in done.stderr, "DPDK is not loaded")
    end_well(first)


@case_for({
    "a_device_without_a_driver": ([], "nonsense0", "DPDK finds no such device"),
    "an_mtu_that_it_cannot_have": ([], "net_af_packet0,iface=lo,mtu=9000", "the device does not start"),
    "an_mtu_beyond_a_buffer": ([], "net_null0,mtu=65386", "longer than a buffer of DPDK: give it one of 65385 at most"),
    "more_queues_than_it_has": ([], "net_af_packet0,iface=lo,queues=3", "fewer than 3 pairs of queues"),
    "a_module_that_is_not_there": (["unshare", "-m", "sh", "-c", "mount --bind /dev/null $MODULE && exec \"$0\" \"$@\""], "net_null0", "install it, and DPDK"),
    "no_privilege": (["setpriv", "--bounding-set=-net_raw"], "net_af_packet0,iface=lo", "DPDK finds no such device, or its driver does not take it"),
}, "{}_is_told_in_one_line")
def what_cannot_be_had(lab, wrap, device, line):
    need_dpdk()
    if wrap:
        need_program(wrap[0])
    need_veth("")
    folder = os.path.dirname(program("vireo-switchd"))
    ends_with(lab, ["env", f"MODULE={folder}/{MODULE}", *QUIET_NETWORK, *wrap], ["null:n", f"dpdk:{device}"], line)


if __name__ == "__main__":
    main()
