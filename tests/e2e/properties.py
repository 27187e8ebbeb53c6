#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each property of QEMU's virtio-net-pci, changed alone: the guest has a network all the same.

One guest has a NIC for each property, each on a port of its own; another answers. VIREO_PROPERTIES=all runs every row of the
table (`make properties`), another word those that hold it; without it run those with which a feature lacks what it needs.
Left out: what has no part in the device (aer, acpi-index, multifunction, rom..., x-pcie-...), what QEMU itself does not offer
over vhost-user (guest_rsc_ext, failover) and ioeventfd=off, with which QEMU starts no vhost back end.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.traffic import ping, transfer  # noqa: E402

# Alone, QEMU offers the others without it, and Linux takes no such device.
CTRL_VQ = "ctrl_vq,ctrl_rx,ctrl_vlan,ctrl_mac_addr,guest_announce"
QUEUES = "queues of netdev"  # more pairs than the port has
OFF = ("csum", "guest_csum", "guest_tso4,guest_tso6", "host_tso4,host_tso6", "mrg_rxbuf", CTRL_VQ, "event_idx",
       "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo", "host_tso4", "host_tso6", "host_ecn", "host_ufo", "gso",
       "indirect_desc", "status", "guest_announce", "ctrl_rx", "ctrl_rx_extra", "ctrl_vlan", "ctrl_mac_addr",
       "ctrl_guest_offloads", "queue_reset", "any_layout", "notify_on_empty", "x-mtu-bypass-backend", "use-started",
       "use-disabled-flag")
CHOSEN = 4
OTHER = ({"packed": "on"}, {"disable-legacy": "off"}, {"disable-legacy": "off", "disable-modern": "on"}, {"mq": "on"},
         {"host_mtu": 1400}, {"rx_queue_size": 1024}, {"tx_queue_size": 1024}, {"page-per-vq": "on"},
         {"speed": 1000, "duplex": "full"}, {"hash": "on"}, {"rss": "on", "hash": "on"},
         {QUEUES: 2}, {"packed": "on", "csum": "off"})
SERVER = "10.8.0.1"
NICS = 14  # in one guest


def rows():
    table = [dict.fromkeys(names.split(","), "off") for names in OFF] + list(OTHER)
    word = os.environ.get("VIREO_PROPERTIES")
    if word:
        return [row for row in table if word == "all" or word in said(row)]
    return table[:CHOSEN] + [table[-1]]


def said(properties):
    return ",".join(f"{key}={value}" for key, value in properties.items())


def one(guest, server, index):
    """The NIC alone in its guest carries traffic both ways, in large pieces where it may."""
    guest.address(f"10.8.0.{index + 2}/24", index)
    ping(guest, SERVER, count=2)
    transfer(guest, f"10.8.0.{index + 2}", server, 1)
    transfer(server, SERVER, guest, 1)
    name = guest.interface(index)
    guest.check(f"ip link set {name} down && ip addr flush dev {name}")


def nic(lab, index, properties):
    queues = properties.pop(QUEUES, 1)
    return Nic(lab.path(f"p{index}"), f"52:54:00:00:00:{index:02x}", queues=queues, properties=properties)


def guest_with(lab, server, name, table):
    """A guest with a NIC for each of the properties; says what does not work."""
    failed = []
    guest = Guest(lab, name, [nic(lab, i, dict(properties)) for i, properties in enumerate(table)]).ready()
    for index, properties in enumerate(table):
        try:
            one(guest, server, index)
        except Exception as error:  # the others are of interest, too
            failed.append(f"{said(properties)}: {str(error).splitlines()[0]}")
            guest.run(f"ip link set {guest.interface(index)} down; ip addr flush dev {guest.interface(index)}")
    guest.kill()
    return failed


@case(shows=["vhost-user"])
def each_property_changed_alone_passes_traffic(lab):
    need_program("qemu-system-x86_64")
    table = rows()
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in ("server", *(f"p{i}" for i in range(NICS)))])
    server = Guest(lab, "server", [Nic(lab.path("server"), "52:54:00:00:01:00")])
    server.ready().address(f"{SERVER}/24")
    failed = []
    for first in range(0, len(table), NICS):
        failed += guest_with(lab, server, f"guest{first}", table[first:first + NICS])
    expect(not failed, f"{len(failed)} of {len(table)} properties leave the guest without a network: {'; '.join(failed)}")
    for port in switch.ask("stats")["ports"]:
        expect(not port["counters"].get("rx_bad_offload"), f"port {port['name']}: frames with bad offloads")
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
