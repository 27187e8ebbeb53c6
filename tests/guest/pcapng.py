# SPDX-License-Identifier: BSD-3-Clause
"""A reader of pcapng of our own, and a writer of pcap as it was before that."""
import struct

from .cases import expect


def blocks(data):
    """(type, body) of each; what is no whole block fails."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        expect(size % 4 == 0 and struct.unpack_from("=I", data, at + size - 4)[0] == size, f"a block at {at}")
        yield kind, data[at + 8:at + size - 4]
        at += size


def options(data):
    found, at = {}, 0
    while at < len(data):
        code, size = struct.unpack_from("=HH", data, at)
        found.setdefault(code, data[at + 4:at + 4 + size])
        at += 4 + (size + 3) // 4 * 4
    return found


def read_pcapng(data):
    """(the interface's options, [(direction, comment, frame)])."""
    interface, packets = None, []
    for kind, body in blocks(data):
        if kind == 1:
            interface = options(body[8:])
        if kind == 6:
            kept = struct.unpack_from("=I", body, 12)[0]
            said = options(body[20 + (kept + 3) // 4 * 4:])
            packets.append((struct.unpack("=I", said[2])[0] & 3, said.get(1, b"").decode(), body[20:20 + kept]))
    return interface, packets


def packet_times(data):
    """In nanoseconds."""
    return [(high << 32) + low for high, low in (struct.unpack_from("=II", body, 4) for kind, body in blocks(data) if kind == 6)]


def pcap(frames, link=1, magic=0xa1b23c4d, order="=", snaplen=1 << 18):
    """A file of [(nanoseconds, frame)], or [(nanoseconds, frame, how long it was)]."""
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    part = 1 if magic == 0xa1b23c4d else 1000
    for ns, frame, *length in frames:
        data += struct.pack(order + "IIII", ns // 10 ** 9, ns % 10 ** 9 // part, len(frame), *(length or [len(frame)])) + frame
    return data
