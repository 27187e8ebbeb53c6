#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/libvirt.md, run as it stands: a guest of an ordinary user's libvirt is defined from the page's XML, at a port as the page has it, of
a switch that is started as its unit says. Only paths, and the group of the port, become those of the test."""
import os
import re
import sys
import xml.etree.ElementTree as ET

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import image, kernels  # noqa: E402
from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.libvirt import Domain, Session  # noqa: E402
from guest.qemu import KERNEL_OPTIONS, QEMU, Guest, Nic  # noqa: E402
from guest.service import USER_ID, Service  # noqa: E402
from guest.switch import ROOT  # noqa: E402
from guest.traffic import pair, ping  # noqa: E402

BACK_S = 60  # both connect anew once a second; they are emulated, on a loaded machine
PEER = "vhost-user:/run/vireo/peer.sock"
PEER_MAC = "52:54:00:00:00:02"


def page():
    with open(os.path.join(ROOT, "docs/libvirt.md"), encoding="utf-8") as text:
        return text.read()


def xml_blocks():
    return [ET.fromstring(block) for block in re.findall(r"^```xml\n(.*?)^```", page(), re.S | re.M)]


def port_line():
    lines = re.findall(r"^port .*$", page(), re.M)
    expect(len(lines) == 1, f"one port is on the page: {lines}")
    return lines[0]


def canonical(element, without=()):
    """An element in words, so that two can be compared."""
    kept = [canonical(child, without) for child in element if child.tag not in without]
    return element.tag, sorted(element.attrib.items()), (element.text or "").strip(), kept


def whole_guest():
    """The domain of the page, whose parts are the two that stand before it."""
    memory, interface, domain = xml_blocks()
    expect(canonical(memory) == canonical(domain.find("memoryBacking")), "its memory is another than the page's")
    expect(canonical(interface) == canonical(domain.find("devices/interface"), ("alias",)), "its interface is another than the page's")
    return domain


def defined(session, service):
    """The guest of the page, with the paths of this test."""
    domain, kernel = whole_guest(), kernels.kernel()
    source = domain.find("devices/interface/source")
    expect(source.get("path") in port_line(), f"{source.get('path')} is no port of the page")
    source.set("path", service.lab.path(source.get("path").lstrip("/")))
    domain.find("os/kernel").text = session.given("vmlinuz", kernel + "/vmlinuz")
    domain.find("os/initrd").text = session.given("initrd", image.initramfs(kernel))
    domain.find("os/cmdline").text = KERNEL_OPTIONS
    mac = domain.find("devices/interface/mac").get("address")
    return Domain(session, domain, [Nic(source.get("path"), mac)])


def state_of(service, name):
    done = service.ctl("--json", "port", "show", name)
    found = re.search(r'"state": "(\w+)"', done.stdout)
    return found.group(1) if found else done.stderr


def attached(service):
    wait_until(lambda: [state_of(service, name) for name in ("vm1", "peer")] == ["connected"] * 2, BACK_S,
               f"both are attached: {state_of(service, 'vm1')}", child=service.child)


def comes_back(guest, address):
    """An answer, whenever it comes; then every one."""
    guest.check(f"for i in $(seq 30); do ping -c 1 -W 2 {address} >/dev/null && exit 0; done; exit 1", 90)
    ping(guest, address)


def pulls_the_cable(service, guest, address):
    done = service.ctl("port", "link", "vm1", "down")
    expect(done.returncode == 0, done.stderr)
    expect(guest.run(f"ping -c 2 -W 1 {address}").status == 1, "a ping came through a cable that is not there")
    done = service.ctl("port", "link", "vm1", "up")
    expect(done.returncode == 0, done.stderr)
    ping(guest, address, lost=1)


def is_killed(service):
    expect(service.unit["Restart"] == ["on-failure"], f"its unit says Restart={service.unit['Restart']}")
    service.lab.kill(service.child)
    service.said = []
    service.start()
    service.hear("READY=1")


@case
def a_guest_of_the_page_is_there_over_a_pulled_cable_and_a_killed_switch(lab):
    need_program(QEMU)
    service = Service(lab, [port_line().replace("group=kvm", "group=vireo"), f"port {PEER}"])
    service.hear("READY=1")
    session = Session(lab, USER_ID)  # the user is in the group that the port is given to
    guest = defined(session, service).start()
    peer = Guest(lab, "peer", [Nic(lab.path("run/vireo/peer.sock"), PEER_MAC)]).ready()
    _, address = pair(guest.ready(), peer)
    attached(service)
    ping(guest, address)
    pulls_the_cable(service, guest, address)
    is_killed(service)
    attached(service)
    comes_back(guest, address)
    session.virsh("destroy", guest.name)
    wait_until(lambda: state_of(service, "vm1") == "listening", 20, "its port is free again", child=service.child)
    expect(guest.state() == "shut off", guest.state())


if __name__ == "__main__":
    main()
