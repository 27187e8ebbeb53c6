#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the lab's kernel has that this machine's need not: CUSE, VDUSE, vhost, UIO, VFIO, and cards that hear each other."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.labguest import Bridged, Hub, LabGuest  # noqa: E402

MACS = ("52:54:00:00:1a:01", "52:54:00:00:1a:02")
# A card leaves its driver for another, and comes back to the kernel's own.
BIND = """set -e
device=/sys/bus/pci/devices/$(basename "$(readlink -f /sys/class/net/{interface}/device/..)")
echo "${{device##*/}}" >$device/driver/unbind
echo {driver} >$device/driver_override
echo "${{device##*/}}" >/sys/bus/pci/drivers_probe
[ "$(basename "$(readlink -f $device/driver)")" = {driver} ]
echo $device
"""
GIVE_BACK = """set -e
echo "${device##*/}" >$device/driver/unbind
echo >$device/driver_override
echo "${device##*/}" >/sys/bus/pci/drivers_probe
"""


@case
def the_nodes_of_cuse_vduse_and_vhost_are_there(lab):
    guest = LabGuest(lab, modules=["cuse", "vduse", "vhost_net", "vhost_vdpa", "virtio_vdpa", "tun"]).ready()
    for path in ("/dev/cuse", "/dev/vduse/control", "/dev/vhost-net", "/dev/net/tun"):
        guest.check(f"test -c {path} && exec 5<>{path}")
    guest.check("test -d /sys/bus/vdpa/drivers/vhost_vdpa && test -d /sys/bus/vdpa/drivers/virtio_vdpa")


def bind(guest, driver):
    device = guest.check(BIND.format(interface=guest.interface(), driver=driver)).strip()
    return lambda: guest.check(f"device={device}\n" + GIVE_BACK)


@case
def a_card_is_uio_s_and_the_kernel_s_again(lab):
    guest = LabGuest(lab, nics=[Hub(0, MACS[0])], modules=["virtio_net", "uio_pci_generic"]).ready()
    give_back = bind(guest, "uio_pci_generic")
    guest.check("test -c /dev/uio0 && exec 5<>/dev/uio0")
    give_back()
    guest.check(f"ip link set {guest.interface()} up")


@case
def a_card_is_vfio_s_and_the_kernel_s_again(lab):
    guest = LabGuest(lab, nics=[Hub(0, MACS[0], {"iommu_platform": "on"})], modules=["virtio_net", "vfio-pci"], iommu=True).ready()
    give_back = bind(guest, "vfio-pci")
    guest.check("test -c /dev/vfio/vfio; for group in /dev/vfio/[0-9]*; do exec 5<>$group; done")
    give_back()
    guest.check(f"ip link set {guest.interface()} up")


@case_for({"hub": ([Hub(1, mac) for mac in MACS], 1), "bridge": ([Bridged("br0", mac, 2) for mac in MACS], 2)},
          "two_cards_of_one_{}_hear_each_other")
def two_cards_hear_each_other(lab, nics, queues):
    guest = LabGuest(lab, nics=nics, cpus=queues, modules=["virtio_net"]).ready()
    guest.check("mkdir -p /run/netns && ip netns add far")
    guest.check(f"ip link set {guest.interface(1)} netns far name eth0 && "
                "ip netns exec far sh -c 'ip link set eth0 up; ip addr add 10.7.0.2/24 dev eth0'")
    name = guest.address("10.7.0.1/24")
    guest.check(f"test -d /sys/class/net/{name}/queues/rx-{queues - 1} && ! test -d /sys/class/net/{name}/queues/rx-{queues}")
    guest.check("/run/lab/busybox ping -c 3 -w 20 10.7.0.2")


if __name__ == "__main__":
    main()
