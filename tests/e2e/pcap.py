#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ports that play a capture, and that write one."""
import os
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.packets import Packet  # noqa: E402
from guest.pcapng import packet_times, pcap, read_pcapng  # noqa: E402
from guest.switch import Switch, build_folder, program  # noqa: E402
from guest.uplink import transfer  # noqa: E402

SECOND = 10 ** 9
START = 1700000000 * SECOND
FORMS = {"": ({},), "_of_microseconds": ({"magic": 0xa1b2c3d4},), "_of_another_machine": ({"magic": 0xa1b2c3d4, "order": ">"},)}


def need_player():
    if b"pcap-in '%.200s': not built in" in open(program("vireo-switchd"), "rb").read():
        raise Skip("pcap-in is not built in")


def counted(switch, name, reason):
    return sum(queue.get(reason, 0) for queue in switch.port(name)["queue_counters"])


def refused(switch, spec, line):
    """In one line, and nobody else is hurt by it."""
    done = switch.ctl_run("port", "add", spec)
    expect(done.returncode in (1, 2) and line in done.stderr and len(done.stderr.splitlines()) == 1, f"{spec}: {done}")


def capture(lab, name, data):
    path = lab.path(name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def ended(switch, name):
    return switch.port(name)["state"] == "ended"


def frames_of(path):
    with open(path, "rb") as file:
        return [frame for _, _, frame in read_pcapng(file.read())[1]]


@case_for(FORMS, "what_is_played_is_written_as_it_was{}")
def what_is_played_is_written(lab, more):
    need_player()
    frames = [text_frame(1, 2, b"%d" % number + bytes(7 * number % 1400)) for number in range(2000)] + [text_frame(1, None, bytes(60000))]
    path = capture(lab, "in", pcap([(START + number, frame) for number, frame in enumerate(frames)], **more))
    out = lab.path("out")
    switch = Switch(lab, [f"pcap-out:{out},size-max=any,name=out", f"pcap-in:{path},pace=max,name=in"])
    wait_until(lambda: ended(switch, "in") and counted(switch, "out", "frames") == len(frames), 30, "all are written")
    expect(counted(switch, "in", "frames") == len(frames) and not switch.port("in")["rx_drops"], f"{switch.port('in')}")
    expect(switch.ask("fdb", "show")["entries"][0]["mac"] == mac(1).hex(":"), "where they come from is learned")
    switch.ctl("port", "remove", "out")
    expect(frames_of(out) == frames, "the frames")
    expect(os.stat(out).st_mode & 0o777 == 0o600, "nobody else reads it")
    switch.ctl("port", "add", f"pcap-in:{out},pace=max,loop=3,name=again")  # what we have written we read
    wait_until(lambda: ended(switch, "again"), 30, "it has been played three times")
    expect(counted(switch, "again", "frames") == 3 * len(frames), f"{switch.port('again')}")
    end_well(switch)


def expect_pauses(lab, times, count, dues):
    """Of a capture with frames at those times, played so many times: no frame comes before it is due, in nanoseconds."""
    path = capture(lab, "in", pcap([(START + time, text_frame(1, 2, b"%d" % time)) for time in times]))
    out = lab.path("out")
    switch = Switch(lab, [f"pcap-out:{out},name=out"])
    begin = time.time_ns()
    switch.ctl("port", "add", f"pcap-in:{path},loop={count},name=in")
    wait_until(lambda: ended(switch, "in") and counted(switch, "out", "frames") == len(dues), 30, "all are written")
    switch.ctl("port", "remove", "out")
    with open(out, "rb") as file:
        found = packet_times(file.read())
    for number, due in enumerate(dues):
        expect(found[number] - begin >= due * 99 // 100, f"frame {number}: {found[number] - begin} ns after the beginning")
    end_well(switch)


@case
def pauses_are_kept(lab):
    """Those of the file, one of which goes back in time; and between two passes the mean one."""
    need_player()
    times, mean = [0, SECOND // 4, SECOND // 8, SECOND // 2], SECOND // 6
    once = [0, SECOND // 4, SECOND // 4, SECOND // 2]
    expect_pauses(lab, times, 2, once + [once[-1] + mean + due for due in once])


@case
def one_frame_again_and_again_is_no_flood(lab):
    """There is no pause in its capture that could be kept."""
    need_player()
    expect_pauses(lab, [0], 200, [number * SECOND // 1000 for number in range(200)])


@case
def one_that_plays_is_removed_at_once(lab):
    """While it waits for an hour, plays without end, or has no room: its link is down, or nobody takes it."""
    need_player()
    hour = capture(lab, "hour", pcap([(START, text_frame(1, 2)), (START + 3600 * SECOND, text_frame(1, 2))]))
    many = capture(lab, "many", pcap([(START, text_frame(3, 4, bytes(1000)))] * 500))
    switch = Switch(lab, ["null:sink", f"pcap-in:{hour},name=hour", f"pcap-in:{many},pace=max,loop=on,name=many"])
    wait_until(lambda: counted(switch, "hour", "frames") == 1 and counted(switch, "many", "frames") > 2000, 30, "they play")
    switch.ctl("port", "link", "many", "down")
    for name in ("hour", "many"):
        expect(switch.port(name)["state"] == "up", f"{switch.port(name)}")
        switch.ctl("port", "remove", name)
    expect([port["name"] for port in switch.ask("port", "list")["ports"]] == ["sink"], "they have gone")
    switch.ctl("port", "add", f"pcap-in:{many},pace=max,loop=on,name=many")
    end_well(switch)


@case
def what_is_no_capture_is_told_in_one_line(lab):
    need_player()
    switch = Switch(lab, ["null:sink"])
    good = pcap([(START, text_frame(1, 2))])
    os.mkfifo(lab.path("fifo"))
    os.mkdir(lab.path("folder"))
    refused(switch, f"pcap-in:{lab.path('none')}", "No such file or directory")
    refused(switch, f"pcap-in:{lab.path('fifo')}", "it is no plain file")
    refused(switch, f"pcap-in:{lab.path('folder')}", "it is no plain file")
    refused(switch, f"pcap-in:{capture(lab, 'empty', b'')}", "it is no capture of pcap or pcapng")
    refused(switch, f"pcap-in:{capture(lab, 'text', b'no capture' * 9)}", "it is no capture of pcap or pcapng")
    refused(switch, f"pcap-in:{capture(lab, 'raw', pcap([], link=101))}", "a capture of type 12, expected Ethernet")
    refused(switch, f"pcap-in:{capture(lab, 'good', good)},pace=slow", "expected recorded or max")
    refused(switch, f"pcap-in:{lab.path('good')},loop=0", "expected 1 to 1000000000 times, or on")
    refused(switch, f"pcap-in:{lab.path('')}", "expected the path of a file")
    switch.ctl("port", "add", f"pcap-in:{lab.path('good')},name=good")
    wait_until(lambda: ended(switch, "good"), 30, "it is played")
    end_well(switch)


@case
def frames_that_are_none_are_counted(lab):
    """Cut ones, short ones, long ones; and then the file ends in the middle of one."""
    need_player()
    good = text_frame(1, 2, b"good")
    data = pcap([(START, good), (START, good[:40], 60), (START, good[:13]), (START, text_frame(1, 2, bytes(70000))), (START, good)]) + b"cut"
    switch = Switch(lab, ["null:sink", f"pcap-in:{capture(lab, 'in', data)},name=in,loop=on"])
    wait_until(lambda: switch.port("in")["state"] == "failed", 30, "it cannot be read further")
    wait_until(lambda: counted(switch, "in", "frames") == 2, 30, "what could be read is played")
    expect([counted(switch, "in", reason) for reason in ("error", "runt", "too_long")] == [1, 1, 1], f"{switch.port('in')}")
    wait_until(lambda: open(switch.child.log).read().count("cannot read the capture further") == 1, 20, "one line says so")
    nothing = capture(lab, "nothing", pcap([]))
    switch.ctl("port", "add", f"pcap-in:{nothing},loop=on,name=nothing")
    wait_until(lambda: ended(switch, "nothing"), 30, "one without a frame is not played for ever")
    end_well(switch)


@case
def files_of_others_stay_as_they_are(lab):
    switch, out = Switch(lab, ["null:sink"]), lab.path("out")
    other_switch = Switch(lab, ["null:sink"], name="other")
    other = capture(lab, "other", b"a letter to somebody")
    os.symlink(out, lab.path("link"))
    os.mkfifo(lab.path("fifo"))
    refused(switch, f"pcap-out:{other}", "a file already that no pcap-out port has written")
    expect(open(other, "rb").read() == b"a letter to somebody", "it is as it was")
    copy = lab.path("copy")
    switch.ctl("mirror", "add", "sink", "--to", copy)
    wait_until(lambda: os.path.getsize(copy), 30, "what a mirror writes")
    refused(switch, f"pcap-out:{copy}", "a file already that no pcap-out port has written")
    expect(os.path.getsize(copy), "it is as it was")
    refused(switch, f"pcap-out:{lab.path('link')}", "it is a symbolic link")
    expect(not os.path.exists(out), "nothing was made behind it")
    refused(switch, f"pcap-out:{lab.path('fifo')}", "it is no plain file")
    refused(switch, f"pcap-out:{lab.folder}", "it is no plain file")
    refused(switch, f"pcap-out:{lab.path('none/out')}", "No such file or directory")
    refused(switch, f"pcap-out:{out},size-max=1K", "expected 64K or more bytes")
    for _ in range(2):  # one of its own is written anew
        switch.ctl("port", "add", f"pcap-out:{out},name=out")
        refused(switch, f"pcap-out:{out},name=twice", "has the address")
        refused(switch, f"pcap-out:{lab.path('./out')},name=twice", "another port or program is writing it")
        os.link(out, lab.path("same"))
        refused(other_switch, f"pcap-out:{lab.path('same')}", "another port or program is writing it")
        os.unlink(lab.path("same"))
        switch.ctl("port", "remove", "out")
        expect(frames_of(out) == [], "a whole file without frames")
    end_well(switch)
    end_well(other_switch)


@case
def a_file_that_hangs_holds_up_nobody(lab):
    """Its server does not answer: when it is locked, when it is emptied, and when the daemon ends."""
    module, locks, hang, out = os.path.join(build_folder(), "tests/daemon/hang.so"), lab.path("locks"), lab.path("hang"), lab.path("out")
    if not os.path.exists(module) or os.environ.get("LD_PRELOAD"):
        raise Skip("what makes a file hang has not been built, or something else is preloaded")
    capture(lab, "locks", b"")
    capture(lab, "hang", b"")
    os.environ.update(LD_PRELOAD=module, HANG=hang, HANG_LOCKS=locks)
    try:
        switch = Switch(lab, ["null:sink"])
    finally:
        del os.environ["LD_PRELOAD"], os.environ["HANG"], os.environ["HANG_LOCKS"]

    def add(path):
        child = subprocess.Popen([program("vireoctl"), "--timeout", "120", "-s", switch.control, "port", "add", f"pcap-out:{path},name=out"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: os.path.exists(path), 20, "it is open", child=child)
        for _ in range(20):
            expect([port["name"] for port in switch.ask("port", "list")["ports"]] == ["sink"], "another port is there")
        expect(child.poll() is None, "it did not hang: this shows nothing")
        return child

    child = add(out)
    refused(switch, f"pcap-out:{lab.path('x')},name=sink", "there is a port 'sink' already")
    expect(not os.path.exists(lab.path("x")), "a file was made for a port that could not be")
    done = subprocess.run([program("vireo-switchd"), "--control", switch.control, "--takeover"], stderr=subprocess.PIPE, text=True, timeout=60)
    expect(done.returncode and "ports are about to be added: try again" in done.stderr, f"it would be handed over without that port: {done}")
    os.unlink(locks)
    said = child.communicate(timeout=60)[1]
    expect(child.returncode == 0 and switch.port("out")["state"] == "up", f"{said}")
    expect(not os.path.getsize(out), "it did not hang: this shows nothing")
    os.unlink(hang)
    switch.ctl("port", "remove", "out")
    expect(frames_of(out) == [], "a whole file without frames")
    capture(lab, "locks", b"")
    child = add(lab.path("late"))
    switch.child.terminate()
    expect(switch.child.wait(20) == 0, "another exit status")
    said = child.communicate(timeout=60)[1]
    expect(child.returncode != 0, f"{said}")


@case_for({"limit": (["size-max=64K"], "ended", "as long as size-max= lets it be"),
           "file_system_that_takes_no_more": ([], "failed", "cannot write into")}, "a_{}_ends_the_file_with_a_whole_block")
def a_limit(lab, keys, state, line):
    need_program("prlimit")
    out = lab.path("out")
    switch = WrappedSwitch(lab, [] if keys else ["prlimit", "--fsize=65536:65536"],
                           [f"vhost-user:{lab.path('a')},name=vm1", ",".join([f"pcap-out:{out}", "name=out", *keys])])
    sent = 0
    with Front(lab.path("a")) as guest:
        def over():
            nonlocal sent
            for _ in range(8):
                guest.send(text_frame(1, 2, bytes(4000)))
                sent += 1
            return switch.port("out")["state"] == state
        wait_until(over, 30, "it is full", step=0.01)
        guest.send(text_frame(1, 2, b"late"))
        # What still lies in the ring of a guest that leaves is nobody's: it stays until all that it sent has been taken.
        wait_until(lambda: sum(counted(switch, "out", reason) for reason in ("frames", "error", "no_buffer", "disabled")) == sent + 1, 30, "each is counted once")
        expect(counted(switch, "out", "disabled"), "what comes later was not counted as such")
    wait_until(lambda: open(switch.child.log).read().count(line) == 1, 20, "one line says so")
    frames = frames_of(out)
    expect(counted(switch, "out", "frames") == len(frames), f"{switch.port('out')}: {len(frames)} are in the file")
    expect(0 < len(frames) <= min(sent, 17) and set(frames) == {text_frame(1, 2, bytes(4000))}, f"{len(frames)} of {sent}")
    expect(os.path.getsize(out) <= 65536, f"{os.path.getsize(out)} bytes")
    switch.ctl("port", "remove", "out")
    end_well(switch)


@case
def what_hosts_leave_open_is_whole_in_the_file(lab):
    """Large segments with open checksums, and tags: the file has what a wire would have. Other programs read it."""
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        raise Skip("only root may make interfaces, of /dev/net/tun")
    out = lab.path("out")
    switch = WrappedSwitch(lab, QUIET_NETWORK, ["tap:left0,name=left,vlan=10", "tap:right0,name=right,vlan=10", f"pcap-out:{out},name=out,trunk=all"])
    hosts = [Host(lab, name) for name in ("left", "right")]
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
    hosts[0].ping("10.7.0.2")
    switch.ctl("mirror", "add", "left", "--to", "out")
    transfer(lab, *hosts, "10.7.0.2", 1)
    wait_until(lambda: counted(switch, "out", "bytes") > 1 << 20, 30, "it is written")
    expect(counted(switch, "left", "frames") and not counted(switch, "out", "no_buffer"), f"{switch.port('out')}")
    switch.ctl("port", "remove", "out")
    segments = 0
    for frame in frames_of(out):
        at = 4 if frame[12:14] == b"\x81\0" else 0
        expect(len(frame) <= 1514 + at, f"{len(frame)} bytes")
        if frame[12 + at:14 + at] == b"\x08\0" and frame[23 + at] == 6:
            Packet(bytes(12), frame[:12] + frame[12 + at:], 1514)  # which looks at its checksums
            segments += 1
    expect(segments > 700, f"{segments} segments")
    if shutil.which("tcpdump"):
        with open(out, "rb") as file:
            done = subprocess.run(["tcpdump", "-nvv", "-r", "-"], stdin=file, capture_output=True, text=True, timeout=60)
        expect(done.stdout.count("cksum") >= segments and "incorrect" not in done.stdout and not done.returncode, done.stderr + done.stdout[-2000:])
    end_well(switch)


if __name__ == "__main__":
    main()
