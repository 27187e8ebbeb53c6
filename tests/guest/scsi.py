# SPDX-License-Identifier: BSD-3-Clause
"""vireo-scsid, and the SCSI hosts of a QEMU guest that it serves."""
import dataclasses

from .disks import Daemon
from .qemu import acceleration

MODULES = ("virtio_scsi", "sd_mod", "sg")


class Scsid(Daemon):
    """A vireo-scsid. `disks`, `exports` and `luns`: lists of what --disk, --export and --lun take."""
    PROGRAM = "vireo-scsid"

    def __init__(self, lab, disks=(), exports=(), luns=(), options=(), name="scsid"):
        super().__init__(lab, disks, exports, [*options, *(word for lun in luns for word in ("--lun", lun))], name)


@dataclasses.dataclass
class Host:
    """A vhost-user-scsi device of a QEMU guest."""
    socket: str
    queues: int = 1
    properties: dict = dataclasses.field(default_factory=dict)

    def arguments(self, index):
        properties = {"num_queues": self.queues, "disable-legacy": "on", **self.properties}
        if acceleration() == "tcg":
            properties["vectors"] = 0  # see guest/qemu.py
        extra = "".join(f",{key}={value}" for key, value in properties.items())
        return ["-chardev", f"socket,id=host{index},path={self.socket}",
                "-device", f"vhost-user-scsi-pci,id=scsi{index},chardev=host{index}{extra}"]


def arguments(hosts):
    return [word for index, host in enumerate(hosts) for word in host.arguments(index)]


def addresses(guest):
    """{"TARGET:LUN": name of the disk} of what the guest has found. Linux counts LUNs from 256 on as they are written: 16384 more."""
    found = guest.check("for d in /sys/class/scsi_disk/*; do [ -e $d ] && echo ${d##*/} $(ls $d/device/block); done; true").splitlines()
    named = {tuple(words[0].split(":")[2:]): words[1] for words in map(str.split, found) if len(words) == 2}
    return {f"{target}:{int(lun) & 16383}": disk for (target, lun), disk in named.items()}
