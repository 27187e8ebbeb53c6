# SPDX-License-Identifier: BSD-3-Clause
"""A disk that completes requests in any order (tests/daemon/shuffled), and a guest that writes to it and reads what it has written."""
import os
import re
import signal

from . import writers
from .cases import Skip
from .disks import Drive, arguments
from .lab import listening_sockets, wait_until
from .switch import build_folder
from .writers import BACK_S

RINGS = {"split": {}, "packed": {"packed": "on"}}  # a disk each: vda, vdb
WRITERS = 2  # of each disk
IMAGE_BYTES = WRITERS * 4 << 20


class Disk:
    """`beside`: another daemon with that one's image, for a guest that moves."""
    def __init__(self, lab, name, beside=None):
        self.lab, self.name, self.at = lab, name, name + "-there" * bool(beside)
        self.socket, self.image = lab.path(f"{self.at}.sock"), beside.image if beside else lab.path(f"{name}.img")
        self.lives = self.was_owed = 0
        self.binary = os.path.join(build_folder(), "tests/daemon/shuffled")
        if not os.path.exists(self.binary):
            raise Skip("the disk has not been built")
        if not beside:
            with open(self.image, "wb") as image:
                image.truncate(IMAGE_BYTES)
        self.start()
        wait_until(lambda: listening_sockets(self.socket), 20, "the disk's socket", child=self.child)

    def start(self):
        self.lives += 1
        self.child = self.lab.start([self.binary, f"vhost-user:{self.socket}", self.image], log=self._log())

    def _log(self):
        return f"{self.at}{self.lives}.log"

    def says(self, text):
        with open(self.lab.path(self._log())) as log:
            return re.findall(text, log.read())

    def owed(self):
        """In all its lives."""
        return self.was_owed + sum(map(int, self.says(r"(\d+) chains were in flight")))

    def serves(self):
        return len(self.says("features negotiated")) > 0

    def kill_and_restart(self, busy):
        """At any moment, or when it has requests in flight of which some are done (`busy`)."""
        if busy:
            self.child.send_signal(signal.SIGUSR1)
            self.child.wait(BACK_S)
        self.lab.kill(self.child)
        self.was_owed = self.owed()
        self.start()


def devices(disks):
    return arguments([Drive(disk.socket, 1, RINGS[disk.name]) for disk in disks])


def rounds(guest, disk):
    return writers.rounds(guest, disk.name)


def begin_to_write(guest, disk, device_name):
    writers.begin(guest, disk.name, device_name, WRITERS, IMAGE_BYTES // WRITERS >> 16)


def goes_on(guest, disk, before):
    wait_until(lambda: disk.serves() and rounds(guest, disk) > before, BACK_S, f"the guest's writes to {disk.name} go on",
               child=disk.child)


def ends(guest, disks):
    """The writers end, and all that was read was what had been written."""
    return writers.end(guest, [disk.name for disk in disks], WRITERS)
