# SPDX-License-Identifier: BSD-3-Clause
"""Traffic between two guests, with what busybox has."""
import re

from .lab import wait_until

MIB = 1 << 20


class TrafficError(Exception):
    pass


class Transfer:
    """Random bytes over TCP from one guest to another, checked by their SHA-256 at both ends.

    busybox's httpd sends a file in large pieces, so that segmentation offloads are put to use; its nc does not.
    """

    def __init__(self, source, source_address, target, mib, seconds=120):
        self.source, self.target, self.mib, self.seconds = source, target, mib, seconds
        self.url = f"http://{f'[{source_address}]' if ':' in source_address else source_address}/{mib}"
        self.receiving = self.checking = None
        self.making = source.begin(f"mkdir -p /tmp/www; cd /tmp/www; [ -f {mib} ] || dd if=/dev/urandom of={mib} bs=64k "
                                   f"count={mib * 16} 2>&1; pidof httpd >/dev/null || httpd -p 80 -h /tmp/www; "
                                   f"sha256sum {mib}", seconds)

    def moving(self):
        """The bytes are on their way."""
        if not self.receiving and self.source.finished(self.making):
            self.receiving = self.target.begin(f"wget -q -O /tmp/received {self.url}", self.seconds)
        return self.receiving is not None

    def moved(self):
        return self.moving() and self.target.finished(self.receiving)

    def finished(self):
        if not self.checking and self.moved():
            self.checking = self.target.begin("sha256sum /tmp/received; rm -f /tmp/received", self.seconds)
        return self.checking is not None and self.target.finished(self.checking)

    def result(self):
        """The checksum that both ends agree on."""
        wait_until(self.finished, 3 * self.seconds, f"{self.source.name} sends {self.mib} MiB", step=0.01)
        words = [guest.wait(call).output for guest, call in ((self.source, self.making), (self.target, self.receiving),
                                                             (self.target, self.checking))]
        sums = [re.search(r"^[0-9a-f]{64}", output, re.M) for output in (words[0], words[2])]
        if not all(sums) or sums[0].group() != sums[1].group():
            raise TrafficError(f"{self.mib} MiB from {self.source.name} to {self.target.name}: the checksums differ:\n"
                               f"  sent     {words[0].strip()}\n  received {words[1].strip()} {words[2].strip()}")
        return sums[0].group()


def transfer(source, source_address, target, mib=8, seconds=120):
    return Transfer(source, source_address, target, mib, seconds).result()


class Pings:
    """Goes on in a guest, whatever becomes of its target; one at a time."""
    EVERY_MS = 100

    def __init__(self, source, address):
        self.source = source
        source.check(f"(ping -i {self.EVERY_MS / 1000:g} {address} >/tmp/pings 2>&1; true) &")

    def answered(self):
        return int(self.source.check("grep -c seq= /tmp/pings || true").strip())

    def go_on(self, count, seconds):
        """So many more are answered from now on."""
        before = self.answered()
        wait_until(lambda: self.answered() >= before + count, seconds, "pings are answered again", step=0.2)

    def longest_gap_ms(self):
        """They end: between two answers, by the number of those that were sent."""
        output = self.source.check("kill -INT $(pidof ping); sleep 0.2; cat /tmp/pings")
        numbers = [int(number) for number in re.findall(r"seq=(\d+)", output)]
        return self.EVERY_MS * max(after - before for before, after in zip(numbers, numbers[1:]))


def ping_command(address, count, payload=56, interval_s=0.2):
    return f"ping -c {count} -i {interval_s:g} -W 20 -s {payload} {address}"


def ping_parse(output):
    """(received, average round trip in ms or None)."""
    received = re.search(r"(\d+) packets received", output)
    average = re.search(r"= [\d.]+/([\d.]+)/", output)
    return int(received.group(1)) if received else 0, float(average.group(1)) if average else None


def ping(source, address, count=5, payload=56, lost=0):
    """Pings; more than `lost` missing answers are an error. The first may take a while: ARP, a sleeping guest."""
    received, average = ping_parse(source.run(ping_command(address, count, payload), 40 + 3 * count).output)
    if received < count - lost:
        raise TrafficError(f"{source.name} pinged {address} with {payload} bytes: {received} of {count} came back")
    return average


def pair(left, right, mtu=None):
    """Gives two guests addresses; returns them."""
    left.address("10.7.0.1/24", mtu=mtu)
    right.address("10.7.0.2/24", mtu=mtu)
    return "10.7.0.1", "10.7.0.2"
