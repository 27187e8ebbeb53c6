#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's machines at the doors that doors.py leaves out: vhost-vdpa (VDUSE), and a vhost character device (CUSE) for a machine
with an IOMMU of its own, whose driver maps each buffer and unmaps it again. `VIREO_LONG` seconds, if set, is how long they talk besides
without losing a frame."""
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.nested import ACCESS_PLATFORM_BIT, COMMAND_S, RING_PACKED_BIT, Nested, all_at_once, network, reach, suspended  # noqa: E402
from guest.qemu import CommandFailed  # noqa: E402
from guest.switch import CONTROL, LOG, program, start_inside  # noqa: E402
from guest.traffic import ping_command, ping_parse  # noqa: E402

VDPA, CUSE, HOST = "10.7.0.1", "10.7.0.2", "10.7.0.3"
MACS = {VDPA: "52:54:00:00:4e:01", CUSE: "52:54:00:00:4e:02"}
PINGS = 12
ANSWERS_MIN = 6  # a machine that is emulated by an emulated one hears of others before it has buffers for that, and may lose the first
LONG_S = float(os.environ.get("VIREO_LONG", "0"))
INTERVAL_S = 0.2  # what such machines carry on a loaded machine, too
OTHERS = {VDPA: CUSE, CUSE: VDPA}


def switch_start(guest):
    start_inside(guest, [f"vduse:vdpa,mac={MACS[VDPA]},attach=vhost", "cuse:node", "tap:lan"])
    guest.check("for i in $(seq 200); do test -c /dev/vhost-vdpa-0 && exit 0; sleep 0.1; done; "
                f"echo no /dev/vhost-vdpa-0; cat {LOG}; exit 1")
    guest.check(f"ip addr add {HOST}/24 dev lan && ip link set lan up")


def machines_start(guest, file):
    vdpa = Nested(guest, "vdpa", file, ["-netdev", "vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0"], card=",packed=on", iommu=True)
    cuse = Nested(guest, "client", file, ["-netdev", "tap,id=n,ifname=tapq,script=no,downscript=no,vhost=on,vhostfd=5"],
                  card=",packed=on,iommu_platform=on", before="exec 5<>/dev/node", iommu=True)
    return {VDPA: vdpa, CUSE: cuse}


def each_pings_the_other(machines):
    all_at_once([(machine, f"{network(MACS[ip], ip)}; {reach(HOST)}") for ip, machine in machines.items()])
    for ip, machine in machines.items():  # one after the other: nothing else is on its way then
        said, = all_at_once([(machine, f"{reach(OTHERS[ip])}; {ping_command(OTHERS[ip], PINGS, 1400)}; "
                                       "cat /sys/class/net/eth0/device/features")])
        answers, round_trip_ms = ping_parse(said.rpartition("PING ")[2])
        print(f"     {ip} has {answers} answers of {PINGS}, {round_trip_ms} ms", flush=True)
        expect(answers >= ANSWERS_MIN, said)
        features = said.split()[-1]
        expect(features[RING_PACKED_BIT] == "1" and (features[ACCESS_PLATFORM_BIT] == "1") == (ip == CUSE), features)


def ask(guest, *words):
    return json.loads(guest.check(f"{program('vireoctl')} -s {CONTROL} --json {' '.join(words)}"))


def dropped(guest):
    return {port["name"]: port["rx_drops"] + port["tx_drops"] for port in ask(guest, "port list")["ports"]}


def they_talk_and_no_frame_is_lost(guest, machines):
    """Both ask at once, while the driver of one of them unmaps each buffer: what comes for a queue that waits for an address is held."""
    count, before = int(LONG_S / INTERVAL_S), dropped(guest)
    said = all_at_once([(machine, ping_command(OTHERS[ip], count, 1400, INTERVAL_S)) for ip, machine in machines.items()], COMMAND_S + 4 * LONG_S)
    after, held = dropped(guest), ask(guest, "port show node")["port"]["counters"]["tx_held"]
    for ip, text in zip(machines, said):
        answers, round_trip_ms = ping_parse(text)
        print(f"     {ip} has {answers} answers of {count} in {LONG_S:g} s, {round_trip_ms} ms", flush=True)
        expect(answers == count, text[-2000:])
    print(f"     dropped before: {before}, and after: {after}; {held} frames were held for the one with an IOMMU", flush=True)
    expect(after == before, f"frames were dropped: {before} before, {after} after")


@case(shows=[("VDUSE vhost-vdpa", "packed"), ("CUSE", "packed")])
def machines_by_vhost_vdpa_and_behind_an_iommu_ping_each_other(lab):
    file = suspended(lab, iommu=True)
    guest = LabGuest(lab, modules=["cuse", "tun", "vduse", "vhost_vdpa"], memory_mib=1536).ready()
    switch_start(guest)
    machines = machines_start(guest, file)
    try:
        each_pings_the_other(machines)
        if LONG_S:
            they_talk_and_no_frame_is_lost(guest, machines)
        log = guest.check(f"cat {LOG}")
        expect(" error " not in log and "broken" not in log, log)
    except (AssertionError, CommandFailed):
        print(*(machine.story() for machine in machines.values()),
              guest.run(f"cat {LOG}; {program('vireoctl')} -s {CONTROL} port show node").output)
        raise


if __name__ == "__main__":
    main()
