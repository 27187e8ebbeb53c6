# SPDX-License-Identifier: BSD-3-Clause
"""What passes between two hosts whose interfaces are ports of a switch."""
import subprocess
import sys

from .cases import expect

MIB = 1 << 20
TRANSFER_MIB = 16

SERVER = """
import hashlib, socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], 5000)); s.listen(); print('listening', flush=True)
c, digest = s.accept()[0], hashlib.sha256()
while data := c.recv(1 << 18): digest.update(data)
print(digest.hexdigest(), flush=True)
"""
CLIENT = """
import hashlib, random, socket, sys
data = random.Random(7).randbytes(int(sys.argv[2]))
c = socket.create_connection((sys.argv[1], 5000), 100); c.sendall(data); c.shutdown(socket.SHUT_WR)
print(hashlib.sha256(data).hexdigest()); c.settimeout(30); c.recv(1)
"""


def transfer(lab, source, target, address, mib=TRANSFER_MIB):
    server = lab.start(target.argv(sys.executable, "-c", SERVER, address), stdout=subprocess.PIPE, text=True)
    expect(server.stdout.readline() == "listening\n", "the server does not listen")
    sent = source.run(sys.executable, "-c", CLIENT, address, str(mib * MIB), seconds=120).strip()
    received = server.stdout.readline().strip()
    lab.kill(server)
    server.stdout.close()
    expect(sent == received and len(sent) == 64, f"{mib} MiB to {address}: sent {sent}, received {received}")


def no_losses(switch, *names):
    for name in names:
        port = switch.port(name)
        bad = {reason: count for reason, count in port["counters"].items()
               if count and reason in ("rx_bad_source", "tx_segment_error", "tx_mtu")}
        bad.update({reason: queue[reason] for queue in port["queue_counters"]
                    for reason in ("runt", "bad_offload", "too_long", "error", "offload_refused") if queue.get(reason)})
        expect(not bad, f"{name}: {bad}")
