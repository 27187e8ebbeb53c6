#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The example network device under a QEMU guest, whose pings it answers."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main, need_program  # noqa: E402
from guest.lab import listening_sockets, wait_until  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import build_folder  # noqa: E402


@case_for({"split": ({},), "packed": ({"packed": "on"},)}, "a_guest_s_pings_are_answered_over_{}_rings")
def a_guest_s_pings_are_answered(lab, properties):
    need_program("qemu-system-x86_64")
    path = lab.path("pong.sock")
    daemon = lab.start([os.path.join(build_folder(), "examples/vireo-pong"), f"vhost-user:{path}", "10.7.0.2"], log="pong.log")
    wait_until(lambda: listening_sockets(path), 20, "the socket of vireo-pong", child=daemon)
    guest = Guest(lab, "guest", nics=[Nic(path, "52:54:00:00:1c:01", properties=properties)]).ready()
    guest.address("10.7.0.1/24")
    guest.check("ping -c 5 -s 1400 10.7.0.2")
    expect(guest.run("ping -c 1 -W 1 10.7.0.3").status, "somebody answers for an address that is not there")
    expect(lab.stop(daemon) == 0, "vireo-pong did not end cleanly")


if __name__ == "__main__":
    main()
