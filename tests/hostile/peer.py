# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user front end in raw bytes, for telling lies.

It shares no code with Vireo: numbers and layouts are written down here once more, from the
specifications, so that a misunderstanding on our side meets an independent reading.
"""
import array
import mmap
import os
import select
import socket
import struct
import time

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE) = range(1, 6)
(SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
 SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE,
 SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD) = range(8, 22)
GET_CONFIG, SET_CONFIG = 24, 25
RESET_DEVICE = 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = range(36, 41)

VERSION, REPLY, NEED_REPLY = 1, 4, 8

F_CSUM, F_HOST_TSO4, F_MRG_RXBUF = 1 << 0, 1 << 11, 1 << 15
F_INDIRECT, F_EVENT_IDX, F_PROTOCOL = 1 << 28, 1 << 29, 1 << 30
F_VERSION_1, F_PACKED, F_IN_ORDER = 1 << 32, 1 << 34, 1 << 35

P_MQ, P_RARP, P_REPLY_ACK, P_MTU, P_BACKEND_REQ, P_CONFIG = 1 << 0, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 9
P_BACKEND_SEND_FD, P_RESET_DEVICE, P_MEM_SLOTS, P_STATUS = 1 << 10, 1 << 13, 1 << 15, 1 << 16
P_ALL = (P_MQ | P_RARP | P_REPLY_ACK | P_MTU | P_BACKEND_REQ | P_CONFIG | P_BACKEND_SEND_FD |
         P_RESET_DEVICE | P_MEM_SLOTS | P_STATUS)

NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 1 << 7, 1 << 15

MEMORY_BYTES = 4 << 20
GPA = 0x100000
UADDR = 0x7F5500000000


class Closed(Exception):
    """The back end has hung up."""


class Peer:
    """One connection to a vhost-user back end. Everything sent is what the caller says, true or not."""

    def __init__(self, path, timeout=5.0):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.fds = []
        self.memory = None
        self.memfd = -1
        self.rings = {}
        self._connect(path, timeout)

    def _connect(self, path, timeout):
        end = time.monotonic() + timeout
        while True:
            try:
                self.sock.connect(path)
                return
            except (BlockingIOError, ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def close(self):
        self.sock.close()
        if self.memory is not None:
            self.memory.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def keep(self, fd):
        self.fds.append(fd)
        return fd

    def eventfd(self, initial=0, flags=os.EFD_NONBLOCK):
        return self.keep(os.eventfd(initial, flags))

    # ---- messages ----

    def raw(self, data, fds=()):
        ancillary = []
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))]
        try:
            sent = self.sock.sendmsg([data], ancillary)
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed() from error

    def send(self, request, payload=b'', fds=(), flags=VERSION, size=None):
        self.raw(struct.pack('=III', request, flags, len(payload) if size is None else size) + payload, fds)

    def _read(self, count):
        data = b''
        while len(data) < count:
            try:
                piece = self.sock.recv(count - len(data))
            except ConnectionResetError as error:
                raise Closed() from error
            if not piece:
                raise Closed()
            data += piece
        return data

    def receive(self):
        request, flags, size = struct.unpack('=III', self._read(12))
        assert flags & 3 == VERSION and flags & REPLY, f'reply flags {flags:#x}'
        return request, self._read(size)

    def ask(self, request, payload=b'', fds=()):
        self.send(request, payload, fds)
        answered, data = self.receive()
        assert answered == request, f'answer {answered} to request {request}'
        return data

    def ask_u64(self, request, payload=b''):
        return struct.unpack('=Q', self.ask(request, payload))[0]

    def ack(self, request, payload=b'', fds=()):
        """Sends with need_reply and returns the back end's verdict: 0 is yes."""
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        answered, data = self.receive()
        assert answered == request and len(data) == 8
        return struct.unpack('=Q', data)[0]

    def hung_up(self, timeout=3.0):
        """True once the back end has closed the connection."""
        end = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
        while time.monotonic() < end:
            for _, event in poll.poll(50):
                if event & (select.POLLHUP | select.POLLRDHUP | select.POLLERR):
                    return True
                if event & select.POLLIN and not self.sock.recv(4096):
                    return True
        return False

    # ---- an honest session, to lie from ----

    def negotiate(self, features=F_MRG_RXBUF, protocol=P_ALL):
        offered = self.ask_u64(GET_FEATURES)
        self.features = (features | F_VERSION_1 | F_PROTOCOL) & offered
        protocol &= self.ask_u64(GET_PROTOCOL_FEATURES)
        self.protocol = protocol
        self.send(SET_PROTOCOL_FEATURES, struct.pack('=Q', protocol))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, struct.pack('=Q', self.features))
        return self

    def share_memory(self, size=MEMORY_BYTES):
        self.memfd = self.keep(os.memfd_create('lies', os.MFD_ALLOW_SEALING))
        os.ftruncate(self.memfd, size)
        self.memory = mmap.mmap(self.memfd, size)
        assert self.ack(SET_MEM_TABLE, mem_table([(GPA, size, UADDR, 0)]), [self.memfd]) == 0
        return self

    def ring(self, index, size=256, packed=False, **lies):
        """Sets up and starts ring `index`; returns it. The queue area of ring i starts at i * 64 KiB * 4."""
        ring = (PackedRing if packed else SplitRing)(self, index, size)
        self.rings[index] = ring
        self.send(SET_VRING_NUM, struct.pack('=II', index, lies.get('num', size)))
        base = lies.get('base', 0x80008000 if packed else 0)
        self.send(SET_VRING_BASE, struct.pack('=II', index, base))
        self.send(SET_VRING_ADDR, vring_addr(index, UADDR + lies.get('desc', ring.desc),
                                             UADDR + lies.get('used', ring.device),
                                             UADDR + lies.get('avail', ring.driver)))
        ring.call = self.eventfd()
        ring.kick = self.eventfd()
        self.send(SET_VRING_CALL, struct.pack('=Q', index), [ring.call])
        self.send(SET_VRING_KICK, struct.pack('=Q', index), [ring.kick])
        self.send(SET_VRING_ENABLE, struct.pack('=II', index, 1))
        return ring

    def ready(self, features=F_MRG_RXBUF | F_INDIRECT, packed=False, size=256):
        """A complete session with a receive and a transmit ring; returns (receive, transmit)."""
        self.negotiate(features | (F_PACKED if packed else 0))
        self.share_memory()
        rings = self.ring(0, size, packed), self.ring(1, size, packed)
        if self.protocol & P_STATUS:
            self.send(SET_STATUS, struct.pack('=Q', 15))
        self.settle()
        return rings

    def settle(self):
        """Everything sent so far has been carried out when the answer to this has come."""
        self.ask_u64(GET_FEATURES)

    def write(self, offset, data):
        self.memory[offset:offset + len(data)] = data


def mem_table(regions, count=None, padding=0):
    data = struct.pack('=II', len(regions) if count is None else count, padding)
    return data + b''.join(struct.pack('=QQQQ', *region) for region in regions)


def mem_region(gpa, size, uaddr, offset):
    return struct.pack('=QQQQQ', 0, gpa, size, uaddr, offset)


def vring_addr(index, desc, used, avail, flags=0, log=0):
    return struct.pack('=IIQQQQ', index, flags, desc, used, avail, log)


DATA = 0x200000  # where buffers lie, as an offset in the memory


class Ring:
    AREA = 0x80000

    def __init__(self, peer, index, size):
        self.peer, self.index, self.size = peer, index, size
        self.desc = index * self.AREA
        self.driver = self.desc + 0x20000
        self.device = self.desc + 0x40000
        self.call = self.kick = -1

    def ring_kick(self):
        os.eventfd_write(self.kick, 1)


class SplitRing(Ring):
    """The driver's half of a split virtqueue (virtio 1.3, 2.7), with every field in the test's hands."""

    def __init__(self, peer, index, size):
        super().__init__(peer, index, size)
        self.avail_index = 0
        self.used_index = 0

    def descriptor(self, i, address, length, flags=0, following=0, table=None):
        at = (self.desc if table is None else table) + 16 * i
        self.peer.write(at, struct.pack('<QIHH', address & (2**64 - 1), length, flags, following))

    def offer(self, head, ahead=1):
        """Puts `head` into the available ring and moves its index by `ahead`."""
        self.peer.write(self.driver + 4 + 2 * (self.avail_index % self.size), struct.pack('<H', head))
        self.avail_index = (self.avail_index + ahead) & 0xFFFF
        self.peer.write(self.driver + 2, struct.pack('<H', self.avail_index))

    def chain(self, pieces, start=0):
        """pieces: (gpa, length, flags) one after the other from descriptor `start`; offers and kicks."""
        for i, (address, length, flags) in enumerate(pieces):
            last = i == len(pieces) - 1
            self.descriptor(start + i, address, length, flags | (0 if last else NEXT), start + i + 1)
        self.offer(start)
        self.ring_kick()

    def used(self):
        """Used elements not seen yet, as (id, length)."""
        (index,) = struct.unpack_from('<H', self.peer.memory, self.device + 2)
        elements = []
        while self.used_index != index:
            at = self.device + 4 + 8 * (self.used_index % self.size)
            elements.append(struct.unpack_from('<II', self.peer.memory, at))
            self.used_index = (self.used_index + 1) & 0xFFFF
        return elements


class PackedRing(Ring):
    """The driver's half of a packed virtqueue (virtio 1.3, 2.8)."""

    def __init__(self, peer, index, size):
        super().__init__(peer, index, size)
        self.next, self.wrap = 0, 1

    def flags(self, flags):
        return flags | (AVAIL if self.wrap else USED)

    def descriptor(self, i, address, length, flags=0, ident=0, table=None):
        at = (self.desc if table is None else table) + 16 * i
        self.peer.write(at, struct.pack('<QIHH', address & (2**64 - 1), length, ident, flags))

    def chain(self, pieces, ident=0):
        """Lays the chain down, the first descriptor's flags last, and kicks."""
        todo = []
        for i, (address, length, flags) in enumerate(pieces):
            last = i == len(pieces) - 1
            todo.append((self.next, address, length, self.flags(flags | (0 if last else NEXT)), ident))
            self.next += 1
            if self.next == self.size:
                self.next, self.wrap = 0, self.wrap ^ 1
        for place, address, length, flags, identity in reversed(todo):
            self.descriptor(place, address, length, flags, identity)
        self.ring_kick()

    def is_used(self, place, wrap=1):
        (flags,) = struct.unpack_from('<H', self.peer.memory, self.desc + 16 * place + 14)
        return bool(flags & AVAIL) == bool(wrap) == bool(flags & USED)


def net_header(flags=0, gso_type=0, header=0, segment=0, start=0, offset=0):
    return struct.pack('<BBHHHHH', flags, gso_type, header, segment, start, offset, 0)


def frame(payload=b'', source=b'\x02lies\x01', destination=b'\xff' * 6, ethertype=0x88B5):
    data = destination + source + struct.pack('>H', ethertype) + payload
    return data.ljust(60, b'\0')
