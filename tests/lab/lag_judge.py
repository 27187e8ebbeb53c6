#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A bond of the switch against the kernel's own bonding driver: runs inside a guest of the lab, as root, where a switch runs with the bond
"up", its members m0 and m1, and the TAP interface g0 of a host.

    lag_judge.py KIND LOSS...       one line of JSON: what was seen with KIND (see KINDS) at the other end, before and after each LOSS (see
                                    LIMITS_MS) of a member

All that is waited for is a state, for PATIENCE_S at most.
"""
import ctypes
import json
import os
import re
import select
import socket
import subprocess
import sys
import time

CONTROL, FAR, PORT = "/run/switchd.sock", "10.9.0.2", 5000
MEMBERS = ("m0", "m1")
PATIENCE_S = 60
PASSED = 20  # answers by UDP and by TCP: what has been asked comes through
CLONE_NEWNET = 0x40000000
TCP_MORE_MS = 1000  # it repeats what was lost by a clock of its own
# How a member is taken away, and so that what it carried comes by another one in how many ms.
LIMITS_MS = {"link": 1000, "down": 1000, "silence": 4000}
XOR = "miimon 100 xmit_hash_policy layer3+4"
# The bond's keys, and what is at the other end.
KINDS = {
    "lacp": ("mode=lacp,rate=fast,hash=layer3+4", f"bond mode 802.3ad lacp_rate fast {XOR}"),
    "balance": ("mode=balance,rate=,hash=layer3+4", f"bond mode balance-xor {XOR}"),
    "active-backup": ("mode=active-backup,rate=,hash=", "bond mode active-backup miimon 100"),
    "bridge": ("mode=active-backup,rate=,hash=", "bridge mcast_snooping 0"),
}


def sh(command, namespace=None):
    where = ["ip", "netns", "exec", namespace] if namespace else []
    done = subprocess.run([*where, "sh", "-c", command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition, what):
    """What condition() returns, once that is something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        seen = condition()
        if seen:
            return seen
        time.sleep(0.05)
    raise SystemExit(f"not within {PATIENCE_S} s: {what()}")


class Inside:
    """A child in a network namespace (another Python would cost an emulated machine seconds): work(socket) is all that it does."""

    def __init__(self, namespace, work):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(PATIENCE_S)
        self.pid = os.fork()
        if not self.pid:
            try:
                self.sock.close()
                with open(f"/run/netns/{namespace}") as entry:
                    if not ctypes.CDLL(None).setns(entry.fileno(), CLONE_NEWNET):
                        work(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.lines = self.sock.makefile("r")

    def tell(self, word):
        """Its answer."""
        self.sock.sendall(word.encode())
        return self.hear()

    def hear(self):
        line = self.lines.readline()
        if not line:
            raise SystemExit(f"process {self.pid} has ended")
        return json.loads(line)

    def end(self):
        self.lines.close()
        self.sock.close()
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def say(sock, what):
    sock.sendall(json.dumps(what).encode() + b"\n")


# ---- in the namespaces ----

def answer(sock):
    """False: nobody is there any more."""
    try:
        data = sock.recv(100000)
        if data:
            sock.sendall(data)
        return bool(data)
    except OSError:  # hung up with answers unread
        return False


def echo(parent):
    """Sends back what comes, by UDP and TCP."""
    udp, listener = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for sock in (udp, listener):
        sock.bind((FAR, PORT))
    listener.listen()
    say(parent, "listens")
    readers = [udp, listener]
    while True:
        for sock in select.select(readers, [], [])[0]:
            if sock is listener:
                readers.append(sock.accept()[0])
            elif sock is udp:
                data, peer = udp.recvfrom(100)
                udp.sendto(data, peer)
            elif not answer(sock):
                readers.remove(sock)


class Prober:
    """Asks by UDP and TCP every 10 ms. Told "p", it says so when PASSED questions of each, asked since, have been answered; told "e", for
    how many ms at most no answer came."""

    def __init__(self, parent):
        udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.create_connection((FAR, PORT), PATIENCE_S)
        udp.connect((FAR, PORT))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parent, self.udp, self.tcp, now = parent, udp, tcp, time.monotonic()
        self.last, self.longest = {udp: now, tcp: now}, {udp: 0, tcp: 0}
        self.asked = self.echoed_bytes = self.echoed_udp = 0
        self.since = None  # number of the first question that counts

    def ask(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.send(f"{self.asked:08}".encode())
            except OSError:  # nobody there answers ARP at the moment: TCP keeps it
                pass
        self.asked += 1

    def take(self, now):
        """Is there a word of the parent's?"""
        ready = select.select([self.udp, self.tcp, self.parent], [], [], 0)[0]
        for sock in {self.udp, self.tcp}.intersection(ready):
            try:
                data = sock.recv(100000)
            except OSError:
                continue
            self.longest[sock] = max(self.longest[sock], now - self.last[sock])
            self.last[sock] = now
            if sock is self.tcp:
                self.echoed_bytes += len(data)
            elif self.since is not None and int(data) >= self.since:
                self.echoed_udp += 1
        return self.parent in ready

    def passed(self):
        return self.since is not None and self.echoed_udp >= PASSED and self.echoed_bytes >= 8 * (self.since + PASSED)

    def run(self):
        while True:
            self.ask()
            time.sleep(0.01)
            now = time.monotonic()
            if self.take(now):
                if self.parent.recv(1) != b"p":
                    break
                self.since, self.echoed_udp = self.asked, 0
            if self.passed():
                self.since = None
                say(self.parent, "passed")
        say(self.parent, [round(1000 * max(self.longest[sock], now - self.last[sock])) for sock in (self.udp, self.tcp)])


def flows(parent):
    """64 flows by UDP, four questions each."""
    socks = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(64)]
    came = 0
    for sock in socks:
        sock.connect((FAR, PORT))
        sock.settimeout(PATIENCE_S)
        for _ in range(4):
            sock.send(b"x")
            came += len(sock.recv(10))
    say(parent, came)


# ---- the judge ----

class Judge:
    def __init__(self, kind):
        keys, self.link = KINDS[kind]
        self.kind, self.control = kind, socket.socket(socket.AF_UNIX)
        self.whole = 2 if kind in ("lacp", "balance") else 1
        self.control.connect(CONTROL)
        self.answers = self.control.makefile("r")
        self.call("port.set", name="up", settings=keys)

    def call(self, method, **params):
        self.control.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = json.loads(self.answers.readline())
        if "error" in answer:
            raise SystemExit(f"{method} {params}: {answer['error']}")
        return answer["result"]

    def bond(self):
        return self.call("bond.show", name="up")["bond"]

    def counters(self):
        return {name: self.call("port.show", name=name)["port"]["counters"] for name in MEMBERS}

    def carrying(self):
        return [member["port"] for member in self.bond()["members"] if member["carries"]]

    def carry_all(self):
        """Until as many members carry as can, at both ends."""
        wait_until(lambda: len(self.carrying()) == self.whole and (self.kind != "lacp" or self.kernel()["ports"] == self.whole),
                   lambda: f"{self.whole} members carry: {self.bond()}\n{sh('cat /proc/net/bonding/far0', 'far')}")

    def kernel(self):
        """What the bonding driver says of its partner."""
        with open(f"/proc/{self.server.pid}/net/bonding/far0") as file:
            text = file.read()
        active = re.search(r"Active Aggregator Info:(.*?)\n\n", text, re.S)[1]
        return {"ports": int(re.search(r"Number of ports: (\d+)", active)[1]),
                "partner": re.search(r"Partner Mac Address: (\S+)", active)[1],
                "key": int(re.search(r"Partner Key: (\d+)", active)[1]),
                "churned": len(re.findall(r"Churn State: churned", text))}

    def set_up(self):
        sh(f"ip link add far0 type {self.link}", "far")
        for name in MEMBERS:
            sh(f"ip link set {name} down && ip link set {name} master far0 && ip link set {name} up", "far")
        sh(f"ip addr add {FAR}/24 dev far0 && ip link set far0 up", "far")
        self.server = Inside("far", echo)
        self.server.hear()

    def take_away(self, how, member):
        if how == "link":
            self.call("port.link", name=member, state="down")
        elif how == "down":
            sh(f"ip link set {member} down", "far")
        else:  # the link is there, and nobody speaks LACP at it
            sh(f"ip link set {member} nomaster && ip link set {member} up", "far")

    def give_back(self, how, member):
        if how == "link":
            self.call("port.link", name=member, state="up")
        elif how == "down":
            sh(f"ip link set {member} up", "far")
        else:
            sh(f"ip link set {member} down && ip link set {member} master far0 && ip link set {member} up", "far")

    def moved(self, before):
        """{member: [frames sent, brought, dropped at one that does not carry]} since."""
        after = self.counters()
        return {name: [after[name][key] - before[name][key] for key in ("tx_frames", "rx_frames", "rx_inactive")] for name in MEMBERS}

    def busiest(self, prober):
        """Who carries most of what is on its way."""
        before = self.counters()
        prober.tell("p")
        moved = self.moved(before)
        return max(MEMBERS, key=lambda name: moved[name][0] + moved[name][1])

    def lose_once(self, how):
        prober = Inside("near", lambda parent: Prober(parent).run())
        member = self.busiest(prober)
        other = MEMBERS[member == MEMBERS[0]]
        self.take_away(how, member)
        wait_until(lambda: self.carrying() == [other], lambda: f"{other} carries alone: {self.bond()}")
        before = self.counters()
        prober.tell("p")
        moved, (udp_ms, tcp_ms) = self.moved(before), prober.tell("e")
        prober.end()
        return {"how": how, "member": member, "other": other, "moved": moved, "udp_ms": udp_ms, "tcp_ms": tcp_ms}

    def lose(self, how):
        """The best of three: a machine that stands still for a moment is no fault of ours."""
        for turn in range(3):
            if turn:
                self.give_back(how, seen["member"])
                self.carry_all()
            seen = {"limit_ms": LIMITS_MS[how], **self.lose_once(how)}
            if seen["udp_ms"] <= seen["limit_ms"] and seen["tcp_ms"] <= seen["limit_ms"] + TCP_MORE_MS:
                break
        return seen

    def run(self, losses):
        self.set_up()
        self.carry_all()
        result = {"bond": self.bond(), "mac": sh("cat /sys/class/net/far0/address", "far").strip(), "lost": []}
        if self.kind == "lacp":
            result["kernel"] = self.kernel()
        before = self.counters()
        sender = Inside("near", flows)
        result["flows"] = sender.hear()
        sender.end()
        result["spread"] = self.moved(before)
        for how in losses:
            if result["lost"]:
                self.give_back(result["lost"][-1]["how"], result["lost"][-1]["member"])
                self.carry_all()
            result["lost"].append(self.lose(how))
        self.give_back(losses[-1], result["lost"][-1]["member"])
        self.server.end()
        sh("ip link del far0", "far")
        print(json.dumps(result))


Judge(sys.argv[1]).run(sys.argv[2:])
