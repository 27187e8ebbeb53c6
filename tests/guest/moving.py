# SPDX-License-Identifier: BSD-3-Clause
"""A guest on its way from one QEMU to another."""
import os
import re

from guest.lab import Timeout, listening_sockets, wait_until
from guest.qemu import Guest


def cpu_share(before, after):
    """Of the CPU time that a machine wanted between two of its cpu_ms()."""
    had, waited = (now - then for now, then in zip(after, before))
    return f"{100 * had // max(1, had + waited)} %"


class Moving(Guest):
    """`way`: a socket's path. It waits there for the guest that comes; None: it is the first."""
    def __init__(self, lab, name, nics=(), way=None, extra=(), **more):
        self.way = way
        super().__init__(lab, name, nics, extra=[*extra, *(["-incoming", f"unix:{way}"] if way else [])], **more)

    def _board(self, memory_mib, cpus):
        """QEMU before 9.0 misses what an emulated guest writes while it takes in its dirty bitmap by whole words, which it does where
        memory is a multiple of 256 KiB (cpu_physical_memory_sync_dirty_bitmap()): this one is 8 KiB larger."""
        size = f"{memory_mib * 1024 + 8}K"
        return [{f"{memory_mib}": size}.get(word, word.replace(f"size={memory_mib}M", f"size={size}"))
                for word in super()._board(memory_mib, cpus)]

    def waits(self):
        """For whom it is to take in."""
        wait_until(lambda: listening_sockets(self.way), 30, "the other side waits for the guest", child=self.child)

    def migration(self):
        return dict(re.findall(r"^([A-Za-z ]+?) ?: ?(.*?)\r?$", self.monitor("info migrate"), re.M))

    def passes(self):
        return self.number("dirty sync count")

    def number(self, of):
        found = re.search(r"\d+", self.migration().get(of, "0"))
        return int(found.group()) if found else 0

    def churns(self):
        """Writes to more of its memory than goes over the line, until /tmp/still is there, whatever else it waits for; then /tmp/rests is."""
        self.check("rm -f /tmp/rests; (until [ -e /tmp/still ]; do dd if=/dev/urandom of=/tmp/churn bs=64k count=32 conv=notrunc; done; touch /tmp/rests) "
                   ">/dev/null 2>&1 &")

    def sets_out(self, target):
        """So slowly that it does not arrive before arrives() says so, if it writes to its memory meanwhile."""
        for command in ("migrate_set_parameter max-bandwidth 20M", "migrate_set_parameter downtime-limit 1", f"migrate -d unix:{target.way}"):
            self.monitor(command)

    def leaves_for(self, target):
        """The same; all of its memory has been copied once."""
        self.sets_out(target)
        wait_until(lambda: self.passes() >= 2 or 0 < self.number("remaining ram") < 4096, 60, "almost all memory has been copied once")
        # QEMU takes the guest for moved when what is left goes over the line in the downtime-limit. At this speed no page does: a guest
        # that is emulated too slowly to write to many arrives no earlier for that.
        self.monitor("migrate_set_parameter max-bandwidth 1M")
        wait_until(lambda: self.passes() >= 2, 60, f"all memory has been copied once: {self.monitor('info migrate')}")

    def cpu_ms(self):
        """(what its QEMU has had of CPUs, what it has waited for one) since it began, of all its threads together."""
        had = waited = 0
        folder = f"/proc/{self.child.pid}/task"
        for task in os.listdir(folder):
            try:
                with open(f"{folder}/{task}/schedstat") as file:
                    words = file.read().split()
            except OSError:  # it has ended, or this kernel does not count it
                continue
            had, waited = had + int(words[0]) // 10**6, waited + int(words[1]) // 10**6
        return had, waited

    def has_arrived(self):
        return "completed" in self.migration().get("Migration status", "")

    def arrives(self, target):
        """Returns for how many ms QEMU says that it stood still."""
        self.monitor("migrate_set_parameter max-bandwidth 4G")
        for limit_ms in (300, 3000, 30000):  # a guest that writes faster than a busy machine copies has to stand still for longer
            self.monitor(f"migrate_set_parameter downtime-limit {limit_ms}")
            try:
                wait_until(self.has_arrived, 20, "the guest has moved")
                break
            except Timeout:
                if limit_ms == 30000:
                    raise Timeout(f"the guest does not arrive: {self.monitor('info migrate')}") from None
        stood_ms = self.number("downtime")
        self.poll()
        self.kill()
        target.boots = self.boots
        return stood_ms
