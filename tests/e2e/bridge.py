#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's bridge is told who is behind the switch (learning-sync=), in network namespaces."""
import contextlib
import os
import re
import resource
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import WrappedSwitch, end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.lab import tail, wait_until  # noqa: E402
from guest.switch import program  # noqa: E402

UPLINK = "tap:up0,name=up,role=uplink"


class Inside(WrappedSwitch):
    """Who takes over from it is in the same namespace."""

    def successor(self, *options):
        self.successors += 1
        argv = [*self.wrap, program(self.PROGRAM), "--control", self.control, "--takeover", *options]
        return self.lab.start(argv, log=f"{self.name}.{self.successors}.log", cwd=self.lab.folder)


class Bridged(Host):
    """A namespace with a bridge, and a switch in it."""

    def __init__(self, lab):
        if os.geteuid():
            raise Skip("only root may make interfaces")
        if not os.path.exists("/dev/net/tun"):
            raise Skip("there is no /dev/net/tun")
        super().__init__(lab, "host")
        self.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.run("ip", "link", "set", "br0", "addrgenmode", "none", "up")

    def serve(self, *ports, sync="on", options=()):
        self.switch = Inside(self.lab, self.argv(), [f"{UPLINK},learning-sync={sync}", *ports], options)
        return self.switch

    def join(self, bridge="br0"):
        self.run("ip", "link", "set", "dev", "up0", "master", bridge)
        wait_until(lambda: self.synced()["bridge"] == bridge, 30, f"the switch knows of {bridge}")

    def synced(self):
        return self.switch.port("up")["learning_sync"]

    def told(self):
        """The addresses that the bridge has by somebody else's word."""
        text = self.run("bridge", "fdb", "show", "dev", "up0")
        return set(re.findall(r"^([0-9a-f:]{17}) (?=.*extern_learn)", text, re.M))

    def becomes(self, *numbers):
        wanted = {address(number) for number in numbers}
        wait_until(lambda: self.told() == wanted, 30, f"the bridge has {sorted(wanted)}, and nothing else")


def address(number):
    return mac(number).hex(":")


def log_of(switch):
    with open(switch.child.log) as log:
        return log.read()


def guest_port(lab, name):
    return f"vhost-user:{lab.path(name)},name={name}"


@case
def the_bridge_has_who_is_behind_the_switch_as_long_as_he_is(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"), guest_port(lab, "b"), "tap:out0,name=out,role=uplink")
    host.join()
    expect(host.told() == set(), "nobody yet")
    with Front(lab.path("a")) as a:
        a.send(text_frame(1, None))
        host.becomes(1)
        expect(host.synced() == {"bridge": "br0", "told": 1, "max": 4096, "refused": False}, f"{host.synced()}")
        expect("learning-sync: bridge br0 has 1 addresses, of 4096 at most" in switch.ctl("port", "show", "up"), "for people")
        with Front(lab.path("b")) as b:
            b.send(text_frame(2, None))
            b.send(text_frame(3, None))
            host.becomes(1, 2, 3)
            b.send(text_frame(1, None))  # a guest that has moved to another port is behind the switch still
            host.becomes(1, 2, 3)
            switch.ctl("port", "link", "b", "down")
            host.becomes()
            switch.ctl("port", "link", "b", "up")
            b.send(text_frame(2, None))
            host.becomes(2)
        host.becomes()  # its front end has gone; the switch knows the address yet
        a.send(text_frame(1, None))
        host.becomes(1)
        switch.ctl("port", "remove", "a")
        host.becomes()
    end_well(switch)


@case
def who_is_heard_of_at_an_uplink_is_taken_back(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"))
    host.join()
    host.run("ip", "link", "add", "in0", "type", "veth", "peer", "name", "far0")
    for words in ("in0 addrgenmode none master br0 up", "far0 addrgenmode none up"):
        host.run("ip", "link", "set", "dev", *words.split())
    with Front(lab.path("a")) as a:
        a.send(text_frame(1, None))
        a.send(text_frame(2, None))
        host.becomes(1, 2)
        host.run(sys.executable, "-c", "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('far0', 0)); "
                 f"s.send(bytes.fromhex('{text_frame(1, None).hex()}'))")
        wait_until(lambda: host.synced()["told"] == 1, 30, "the switch has heard it at the uplink as well, and takes it back")
        host.becomes(2)
        table = host.run("bridge", "fdb", "show", "dev", "in0")
        expect(f"{address(1)} master br0" in table, f"the bridge has learned it there: {table}")
        a.send(text_frame(1, None))  # and comes back
        host.becomes(1, 2)
        expect(f"{address(1)} master br0" not in host.run("bridge", "fdb", "show", "dev", "in0"), "it is there no more")
    end_well(switch)


@case
def what_ages_out_is_taken_back(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"), options=("--fdb-age", "2"))
    host.join()
    with Front(lab.path("a")) as a:
        def is_told():
            a.send(text_frame(1, None))
            return host.told() == {address(1)}
        wait_until(is_told, 30, "the bridge has who speaks")
        host.becomes()  # he is silent
    end_well(switch)


@case
def a_bridge_may_come_and_go(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"))
    with Front(lab.path("a")) as a:
        a.send(text_frame(1, None))
        wait_until(lambda: "it is no port of a bridge here" in log_of(switch), 30, "a line says so")
        host.join()
        host.becomes(1)
        host.run("ip", "link", "set", "dev", "up0", "nomaster")
        wait_until(lambda: host.synced()["bridge"] is None, 30, "it has left")
        expect(host.synced()["told"] == 0, f"{host.synced()}")
        host.join()
        host.becomes(1)
        host.run("ip", "link", "del", "br0")
        wait_until(lambda: host.synced()["bridge"] is None, 30, "the bridge has gone")
        host.run("ip", "link", "add", "br1", "type", "bridge")
        host.join("br1")
        host.becomes(1)
        host.run("ip", "link", "set", "br1", "name", "br2")
        wait_until(lambda: host.synced()["bridge"] == "br2", 30, "it has another name")
        host.becomes(1)
        host.run("ip", "link", "del", "up0")  # the interface itself
        wait_until(lambda: host.synced()["bridge"] is None, 30, "there is no interface")
    end_well(switch)
    expect(log_of(switch).count("no port of a bridge") == 4, f"a line each time: {tail(switch.child.log)}")


@case
def a_look_for_which_there_is_no_file_changes_nothing(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"))
    host.join()
    with Front(lab.path("a")) as a:
        a.send(text_frame(1, None))
        host.becomes(1)
        before = resource.prlimit(switch.child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(switch.child.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        host.run("ip", "link", "add", "br1", "type", "bridge")
        wait_until(lambda: "and is asked again: Too many open files" in log_of(switch), 30, "a line says so")
        expect(host.told() == {address(1)}, f"what it has stays: {host.told()}")
        resource.prlimit(switch.child.pid, resource.RLIMIT_NOFILE, before)
        a.send(text_frame(2, None))
        host.becomes(1, 2)
        expect(host.synced() == {"bridge": "br0", "told": 2, "max": 4096, "refused": False}, f"{host.synced()}")
        expect("no port of a bridge" not in log_of(switch).split("is told of addresses")[1], tail(switch.child.log))
    end_well(switch)


@case
def what_the_bridge_has_itself_or_by_hand_is_no_guests(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"))
    host.run("ip", "link", "add", "in0", "type", "veth", "peer", "name", "far0")
    host.run("ip", "link", "set", "dev", "in0", "addrgenmode", "none", "master", "br0", "up")
    host.join()
    host.run("bridge", "link", "set", "dev", "up0", "learning", "off")  # the bridge itself moves what is static, where it hears of it
    host.run("bridge", "fdb", "add", address(7), "dev", "in0", "master", "static")
    host.run("bridge", "fdb", "add", address(8), "dev", "in0", "master", "static", "sticky")
    host.run("ip", "link", "set", "dev", "br0", "address", address(6))  # and not that of a port
    own = set(re.findall(r"link/ether ([0-9a-f:]{17})", host.run("ip", "-o", "link", "show", "master", "br0"))) | {address(6)}

    def table():
        lines = host.run("bridge", "fdb", "show", "br", "br0").splitlines()
        return sorted(line for line in lines if line[:17] in own | {address(7), address(8)})
    before = table()
    expect(len(own) == 3 and len(before) >= 5, f"{own} in {before}")
    with Front(lab.path("a")) as a:
        for source in sorted(own) + [address(7), address(8)]:
            a.send((b"\xff" * 6 + bytes.fromhex(source.replace(":", "")) + b"\x88\xb5").ljust(60, b"\0"))
        wait_until(lambda: "it has that address itself, or was told of it by hand" in log_of(switch), 30, "a line says so")
        a.send(text_frame(1, None))  # what comes later is told later
        host.becomes(1)
        expect(table() == before, f"while the guest is there: {table()}, before: {before}")
    host.becomes()
    expect(table() == before, f"when it has gone: {table()}, before: {before}")
    expect(host.synced()["told"] == 0, f"{host.synced()}")
    end_well(switch)
    left = [line for line in before if "dev up0" not in line]
    after = [line for line in table() if "dev up0" not in line]
    expect(after == left, f"at the end: {after}, before: {left}")


@case
def a_guest_that_floods_addresses_does_not_fill_the_bridge(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"), guest_port(lab, "b"), sync="64")
    host.join()
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        for number in range(2000):
            source = b"\x02\x00\x00\x00" + number.to_bytes(2, "big")
            a.send((b"\xff" * 6 + source + b"\x88\xb5").ljust(60, b"\0"))
        b.send(text_frame(2, None))
        wait_until(lambda: address(2) in host.told() and len(host.told()) == 17, 30, "an honest guest's address is told beside a share of the other's")
        wait_until(lambda: "there are more addresses than 64 in all, or than 16 of one port" in log_of(switch), 30, "a line says so")
        expect(host.synced()["refused"], f"{host.synced()}")
        switch.ctl("port", "link", "a", "down")  # there is room
        host.becomes(2)
        wait_until(lambda: not host.synced()["refused"], 30, "none is left out any more")
    end_well(switch)


@case
def four_thousand_addresses_are_told_and_taken_back_at_the_end(lab):
    host = Bridged(lab)
    host.run("ip", "tuntap", "add", "dev", "up0", "mode", "tap")
    switch = host.serve(*(guest_port(lab, name) for name in "abcdefgh"), sync="4096")
    host.join()
    with contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(Front(lab.path(name))) for name in "abcdefgh"]
        begun = time.monotonic()
        for number in range(4096):
            source = b"\x02\x00\x00\x00" + number.to_bytes(2, "big")
            fronts[number % 8].send((b"\xff" * 6 + source + b"\x88\xb5").ljust(60, b"\0"))
            if not number % 64:
                for front in fronts:
                    front.poll()
        wait_until(lambda: host.synced()["told"] == 4096, 60, "all are told")
        expect(len(host.told()) == 4096 and not host.synced()["refused"], f"{len(host.told())}, {host.synced()}")
        told = time.monotonic()
        end_well(switch)  # which gives it five seconds
        print(f"  told in {told - begun:.2f} s, taken back in {time.monotonic() - told:.2f} s", flush=True)
    expect(host.told() == set(), f"one that ends takes back what it has told: {len(host.told())} are left")


@case
def what_a_daemon_before_has_told_is_found_again(lab):
    host = Bridged(lab)
    host.run("ip", "tuntap", "add", "dev", "up0", "mode", "tap")
    host.run("ip", "link", "set", "dev", "up0", "master", "br0")
    switch = host.serve(guest_port(lab, "a"))
    with Front(lab.path("a")) as a:
        a.send(text_frame(1, None))
        a.send(text_frame(2, None))
        host.becomes(1, 2)
        switch.child.send_signal(signal.SIGKILL)
        switch.child.wait()
    expect(host.told() == {address(1), address(2)}, f"the interface stays: {host.told()}")
    switch.start()
    host.becomes()
    with Front(lab.path("a")) as a:
        a.send(text_frame(2, None))
        host.becomes(2)
        end_well(switch)
    expect(host.told() == set(), f"one that ends takes back what it has told: {host.told()}")


@case
def more_than_may_be_told_that_a_daemon_before_has_left_is_taken_back(lab):
    host = Bridged(lab)
    host.run("ip", "tuntap", "add", "dev", "up0", "mode", "tap")
    host.run("ip", "link", "set", "dev", "up0", "master", "br0")
    with open(lab.path("batch"), "w") as batch:
        batch.writelines(f"fdb add 02:00:00:00:{number // 256:02x}:{number % 256:02x} dev up0 master extern_learn\n" for number in range(300))
    host.run("bridge", "-batch", lab.path("batch"))
    expect(len(host.told()) == 300, f"{len(host.told())}")
    switch = host.serve(guest_port(lab, "a"), sync="64")
    host.becomes()
    end_well(switch)


@case
def another_process_goes_on_and_the_bridge_notices_nothing(lab):
    host = Bridged(lab)
    switch = host.serve(guest_port(lab, "a"), guest_port(lab, "b"))
    host.join()
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        a.send(text_frame(1, None))
        b.send(text_frame(2, None))
        host.becomes(1, 2)
        watching = lab.start(host.argv("bridge", "monitor", "fdb"), log="monitor.log")

        def hears():
            for what in ("add", "del"):
                host.run("bridge", "fdb", what, address(9), "dev", "br0", "self", "local")
            return address(9) in tail(watching.log, 1000)
        wait_until(hears, 30, "the monitor hears")
        switch.hand_over()
        wait_until(lambda: host.synced()["bridge"] == "br0" and host.synced()["told"] == 2, 30, "the new one knows of the bridge, and what it has")
        b.send(text_frame(3, None))
        host.becomes(1, 2, 3)
        said = tail(watching.log, 1000)
        expect(f"Deleted {address(1)}" not in said and f"Deleted {address(2)}" not in said, f"something was taken back meanwhile: {said}")
    end_well(switch)


@case
def who_may_not_tell_the_bridge_says_so_once(lab):
    host = Bridged(lab)
    host.run("ip", "tuntap", "add", "dev", "up0", "mode", "tap", "user", "nobody")
    host.run("ip", "link", "set", "dev", "up0", "master", "br0", "up")
    os.chmod(lab.folder, 0o777)
    switch = WrappedSwitch(lab, host.argv("setpriv", "--reuid", "nobody", "--clear-groups", "--inh-caps", "-all"),
                           [f"{UPLINK},learning-sync=on", guest_port(lab, "a")])
    with Front(lab.path("a")) as a:
        for number in range(1, 9):
            a.send(text_frame(number, None))
        wait_until(lambda: "the daemon needs CAP_NET_ADMIN" in log_of(switch), 30, "a line says so")
        a.send(text_frame(9, None))
        host.switch = switch
        expect(host.synced()["told"] == 0 and host.told() == set(), f"{host.synced()}")
    end_well(switch)
    expect(log_of(switch).count("CAP_NET_ADMIN") == 1, log_of(switch))


if __name__ == "__main__":
    main()
