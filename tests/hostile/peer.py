# SPDX-License-Identifier: BSD-3-Clause
"""The driver's half in raw bytes, for telling lies: rings, frames, and the interface of whoever brings them to a device.

It shares no code with Vireo: numbers and layouts are written down here once more, from the
specifications, so that a misunderstanding on our side meets an independent reading.
"""
import mmap
import os
import struct
import time

F_CSUM, F_HOST_TSO4, F_MRG_RXBUF = 1 << 0, 1 << 11, 1 << 15
F_INDIRECT, F_EVENT_IDX = 1 << 28, 1 << 29
F_VERSION_1, F_ACCESS_PLATFORM, F_PACKED = 1 << 32, 1 << 33, 1 << 34
F_CTRL_VQ, F_CTRL_RX, F_CTRL_VLAN, F_MQ, F_CTRL_MAC_ADDR = 1 << 17, 1 << 18, 1 << 19, 1 << 22, 1 << 23
F_HASH_REPORT, F_RSS = 1 << 57, 1 << 60
F_VQ_NOTF_COAL, F_NOTF_COAL = 1 << 52, 1 << 53
F_GUEST_CSUM, F_CTRL_GUEST_OFFLOADS, F_GUEST_TSO4 = 1 << 1, 1 << 2, 1 << 7

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8

NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 1 << 7, 1 << 15

MEMORY_BYTES = 4 << 20
GPA = 0x100000


class Closed(Exception):
    """The device is lost to this peer: the session has been closed, or the device is silent until it is reset."""


class Refused(Exception):
    """What was said has been answered with no, and the session goes on."""


NO = (Closed, Refused)
_slowness = 1.0


def be_patient(factor):
    """This machine is slower by that much: waits take longer, what is waited for stays the same."""
    global _slowness
    _slowness = factor


def patience(seconds):
    return seconds * _slowness


def few(times):
    """Fewer, on a machine that takes longer for each."""
    return max(2, int(times / _slowness))


def pause(seconds):
    time.sleep(patience(seconds))


class Peer:
    """One session with a device. Everything said is what the caller says, true or not.

    A transport's class has NAME, what it NEEDS on this machine (a path, and who makes it), spec() and path() of the hostile
    port, at(), and the verbs below. A verb raises Refused or Closed at once, or what it said shows at settle() or hung_up();
    asked() has it raise at once.
    """
    NAME = None
    NEEDS = None
    RING_MAX = 32768
    QUEUES = 2
    LOG_LEVEL = 'info'  # of the daemon
    OWN = 0  # features that the transport may offer whatever the device does
    UNTOLD = 0  # features that the device reckons with, whatever is said

    def __init__(self):
        self.fds, self.rings = [], {}
        self.memory, self.memfd, self.features = None, -1, 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def keep(self, fd):
        self.fds.append(fd)
        return fd

    def eventfd(self, initial=0, flags=os.EFD_NONBLOCK):
        return self.keep(os.eventfd(initial, flags))

    def close(self):
        self.hang_up()
        self.forget_memory()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def forget_memory(self):
        """Ours; the device's stays."""
        if self.memory is not None:
            self.memory.close()
        self.memory = None

    def write(self, offset, data):
        self.memory[offset:offset + len(data)] = data

    def asked(self, verb, *arguments):
        return verb(*arguments)

    # ---- an honest session, to lie from ----

    def share_memory(self, size=MEMORY_BYTES):
        """Makes self.memory and tells it to the device, at GPA."""
        self.make_memory(size)
        self.asked(self.tell_memory)
        return self

    def make_memory(self, size=MEMORY_BYTES):
        self.forget_memory()
        self.memfd = self.keep(os.memfd_create('lies', os.MFD_ALLOW_SEALING))
        os.ftruncate(self.memfd, size)
        self.memory = mmap.mmap(self.memfd, size)

    def ring(self, index, size=256, packed=False, **lies):
        """Sets up and enables ring `index`; returns it. The queue area of ring i starts at i * Ring.AREA."""
        ring = (PackedRing if packed else SplitRing)(self, index, size)
        self.ring_set_up(ring, packed, **lies)
        return ring

    def ring_set_up(self, ring, packed=False, **lies):
        index = ring.index
        self.rings[index] = ring
        self.ring_num(index, lies.get('num', ring.size))
        self.ring_base_set(index, lies.get('base', 0x80008000 if packed else 0))
        self.ring_addr(index, lies.get('desc', ring.desc), lies.get('avail', ring.driver), lies.get('used', ring.device))
        ring.call, ring.kick = self.eventfd(), self.eventfd()
        self.ring_call(index, ring.call)
        self.ring_kick(index, ring.kick)
        self.ring_enable(index)

    def ready(self, features=F_MRG_RXBUF | F_INDIRECT, packed=False, size=256):
        """A complete session with a receive and a transmit ring; returns (receive, transmit)."""
        self.negotiate(features | (F_PACKED if packed else 0))
        self.share_memory()
        assert not packed or self.features & F_PACKED, 'packed rings are not offered'
        rings = self.ring(0, size, packed), self.ring(1, size, packed)
        self.run()
        return rings

    # ---- what a transport has of its own ----

    @classmethod
    def at(cls, daemon):
        """A peer at the daemon's hostile port."""
        raise NotImplementedError

    def hang_up(self):
        raise NotImplementedError

    def offered(self):
        """The device's features."""
        raise NotImplementedError

    def negotiate(self, features=F_MRG_RXBUF):
        """Those of the features that are offered; self.features."""
        raise NotImplementedError

    def features_set(self, features):
        """These, offered or not, in a session that has not begun."""
        raise NotImplementedError

    def tell_memory(self):
        """self.memory is at GPA now."""
        raise NotImplementedError

    def take_memory_away(self):
        """The device is told that it has none any more, rings or not."""
        raise NotImplementedError

    def ring_num(self, index, size):
        raise NotImplementedError

    def ring_base_set(self, index, base):
        raise NotImplementedError

    def ring_addr(self, index, desc, avail, used):
        """Offsets in the memory shared."""
        raise NotImplementedError

    def ring_kick(self, index, fd):
        raise NotImplementedError

    def ring_call(self, index, fd):
        raise NotImplementedError

    def ring_err(self, index, fd):
        raise NotImplementedError

    def ring_enable(self, index):
        raise NotImplementedError

    def ring_stop(self, index):
        """Stops it; returns its base."""
        raise NotImplementedError

    def ring_go_on(self, index, base):
        """After ring_stop()."""
        raise NotImplementedError

    def run(self):
        """The driver is ready."""
        raise NotImplementedError

    def reset(self):
        """The device begins anew, with the same peer."""
        raise NotImplementedError

    def settle(self):
        """Everything said so far has been carried out when this returns."""
        raise NotImplementedError

    def hung_up(self, timeout=20.0):
        """True once the device is lost to us."""
        raise NotImplementedError


def refused(peer, verb, *arguments):
    """It is answered with no, or costs the session."""
    try:
        peer.asked(verb, *arguments)
    except NO:
        return
    raise AssertionError(f'{verb.__name__}{arguments} was taken')


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
        self.avail_index = self.used_index = 0

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

    def used_now(self):
        """The used index."""
        return struct.unpack_from('<H', self.peer.memory, self.device + 2)[0]

    def used(self):
        """Used elements not seen yet, as (id, length)."""
        index, elements = self.used_now(), []
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


def net_header(flags=0, gso_type=0, header=0, segment=0, start=0, offset=0):
    return struct.pack('<BBHHHHH', flags, gso_type, header, segment, start, offset, 0)


def frame(payload=b'', source=b'\x02lies\x01', destination=b'\xff' * 6, ethertype=0x88B5):
    data = destination + source + struct.pack('>H', ethertype) + payload
    return data.ljust(60, b'\0')
