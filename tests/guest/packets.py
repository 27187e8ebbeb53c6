# SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes IP, TCP and UDP by hand, and believes no checksum or length."""
import hashlib
import ipaddress
import struct

ETHERNET_BYTES = 14
FIN, SYN, RST, ACK = 1, 2, 4, 16
TCP, UDP = 6, 17


def ones_sum(data, start=0):
    if len(data) & 1:
        data += b"\0"
    total = start + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Wrong(AssertionError):
    pass


def must(condition, what):
    if not condition:
        raise Wrong(what)


def pseudo(source, target, protocol, length):
    return ones_sum(source + target + struct.pack(">II", length, protocol))


class Packet:
    """A frame that must be complete, with all checksums right. `protocol` is None if it is not IP."""

    def __init__(self, header, frame, frame_bytes_max):
        flags, gso_type = header[0], header[1]
        must(flags & 1 == 0, f"the frame wants its checksum finished: virtio-net header {header.hex()}")
        must(gso_type == 0, f"the frame wants to be segmented: virtio-net header {header.hex()}")
        must(len(frame) <= frame_bytes_max, f"a frame of {len(frame)} bytes")
        self.target, self.source, self.protocol = frame[:6], frame[6:12], None
        ethertype, = struct.unpack_from(">H", frame, 12)
        if ethertype == 0x0800:
            self._ipv4(frame[ETHERNET_BYTES:])
        elif ethertype == 0x86DD:
            self._ipv6(frame[ETHERNET_BYTES:])
        if self.protocol in (TCP, UDP):
            total = ones_sum(self.rest, pseudo(self.from_ip, self.to_ip, self.protocol, len(self.rest)))
            must(total == 0xFFFF, f"transport checksum is wrong by {total:#x}: {frame[:80].hex()}")
        if self.protocol == TCP:
            self._tcp()
        if self.protocol == UDP:
            self._udp()

    def _ipv4(self, data):
        size, total = (data[0] & 15) * 4, struct.unpack_from(">H", data, 2)[0]
        must(ones_sum(data[:size]) == 0xFFFF, f"IPv4 header checksum: {data[:size].hex()}")
        must(total == len(data) or (total < len(data) <= 46), f"IPv4 total length {total} in {len(data)} bytes")
        self.ident, self.protocol = struct.unpack_from(">H", data, 4)[0], data[9]
        self.from_ip, self.to_ip, self.rest = data[12:16], data[16:20], data[size:total]

    def _ipv6(self, data):
        length = struct.unpack_from(">H", data, 4)[0]
        must(length + 40 == len(data), f"IPv6 payload length {length} in {len(data)} bytes")
        self.protocol, self.from_ip, self.to_ip, self.rest = data[6], data[8:24], data[24:40], data[40:]

    def _tcp(self):
        self.from_port, self.to_port, self.sequence, self.acknowledged, offset, self.flags = \
            struct.unpack_from(">HHIIBB", self.rest)
        self.payload = self.rest[(offset >> 4) * 4:]

    def _udp(self):
        self.from_port, self.to_port, length, checksum = struct.unpack_from(">HHHH", self.rest)
        must(length == len(self.rest), f"UDP length {length} in {len(self.rest)} bytes")
        must(checksum != 0, "UDP without a checksum")
        self.payload = self.rest[8:]


def ip_packet(source, target, protocol, rest):
    """Of two packed addresses; the transport's checksum is still to be stored by the caller."""
    if len(source) == 16:
        return struct.pack(">IHBB", 6 << 28, len(rest), protocol, 64) + source + target + rest
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(rest), 1, 0x4000, 64, protocol, 0) + source + target
    return head[:10] + struct.pack(">H", 0xFFFF ^ ones_sum(head)) + head[12:] + rest


class TcpSink:
    """Accepts one connection and takes what comes; answers with frames for send(). No timers: nothing is lost here."""

    def __init__(self, send, frame_bytes_max, mss):
        self.send, self.frame_bytes_max, self.mss = send, frame_bytes_max, mss
        self.expected, self.finished, self.frames, self.longest, self.bytes = None, False, 0, 0, 0
        self.digest = hashlib.sha256()

    def _answer(self, packet, flags, sequence, options=b""):
        head = struct.pack(">HHIIBBHHH", packet.to_port, packet.from_port, sequence, self.expected,
                           (5 + len(options) // 4) << 4, flags, 60000, 0, 0) + options
        total = ones_sum(head, pseudo(packet.to_ip, packet.from_ip, TCP, len(head)))
        head = head[:16] + struct.pack(">H", 0xFFFF ^ total) + head[18:]
        ethertype = b"\x86\xdd" if len(packet.to_ip) == 16 else b"\x08\x00"
        frame = packet.source + packet.target + ethertype + ip_packet(packet.to_ip, packet.from_ip, TCP, head)
        self.send(frame.ljust(60, b"\0"))

    def take(self, frames):
        last = None
        for header, frame in frames:
            packet = Packet(header, frame, self.frame_bytes_max)
            if packet.protocol == TCP:
                last = self._segment(packet, len(frame)) or last
        if last:
            self._answer(last, ACK, 1)

    def _segment(self, packet, frame_bytes):
        """The packet, if it is to be acknowledged."""
        must(not packet.flags & RST, "the connection was reset")
        if packet.flags & SYN:
            self.expected = packet.sequence + 1 & 0xFFFFFFFF
            self._answer(packet, SYN | ACK, 0, struct.pack(">BBH", 2, 4, self.mss))
            return None
        if packet.sequence == self.expected:
            self.digest.update(packet.payload)
            self.expected = self.expected + len(packet.payload) + (packet.flags & FIN) & 0xFFFFFFFF
            self.finished |= bool(packet.flags & FIN)
            self.frames, self.bytes = self.frames + 1, self.bytes + len(packet.payload)
            self.longest = max(self.longest, frame_bytes)
        return packet if packet.payload or packet.flags & FIN else None


def packed(address):
    return ipaddress.ip_address(address).packed
