# SPDX-License-Identifier: BSD-3-Clause
"""Two QEMU guests on one switch, and what passes between them."""
from .cases import expect, need_program
from .qemu import Guest, Nic
from .switch import Switch
from .traffic import pair, ping, transfer

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
TCP_MIB = 4


def start(lab, left=None, right=None, queues=1, port="", cpus=1):
    """A switch, and two guests on it that have addresses: (switch, left, right, address, address)."""
    need_program("qemu-system-x86_64")
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name},queues={queues}{port}" for name in ("left", "right")])
    guests = [Guest(lab, name, [Nic(lab.path(name), MACS[i], queues=queues, properties=properties or {})], cpus=cpus)
              for i, (name, properties) in enumerate((("left", left), ("right", right)))]
    for guest in guests:
        guest.ready()
    return (switch, *guests, *pair(*guests))


def both_ways(left, right, address_left, address_right):
    ping(left, address_right)
    ping(right, address_left)
    ping(left, address_right, count=2, payload=1400)
    transfer(left, address_left, right, TCP_MIB)
    transfer(right, address_right, left, TCP_MIB)


def end_well(switch):
    """The daemon saw nothing odd."""
    for port in switch.ask("stats")["ports"]:
        odd = {name: value for name, value in port["counters"].items()
               if value and name in ("rx_bad_source", "tx_segment_error")}
        expect(not odd, f"port {port['name']}: {odd}")
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")
