# SPDX-License-Identifier: BSD-3-Clause
"""The hostile peer as a vhost-user front end."""
import array
import os
import select
import socket
import struct
import time

from peer import F_ACCESS_PLATFORM, F_MRG_RXBUF, F_VERSION_1, GPA, Closed, Peer, Refused, patience

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE) = range(1, 7)
(SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
 SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE,
 SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD) = range(8, 22)
IOTLB_MSG = 22
GET_CONFIG, SET_CONFIG = 24, 25
GET_INFLIGHT_FD, SET_INFLIGHT_FD = 31, 32
RESET_DEVICE = 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = range(36, 41)
SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE = 42, 43

VERSION, REPLY, NEED_REPLY = 1, 4, 8
F_PROTOCOL = 1 << 30
F_LOG_ALL = 1 << 26

P_MQ, P_LOG_SHMFD, P_RARP, P_REPLY_ACK, P_MTU, P_BACKEND_REQ, P_CONFIG = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 9
P_BACKEND_SEND_FD, P_INFLIGHT, P_RESET_DEVICE, P_MEM_SLOTS, P_STATUS = 1 << 10, 1 << 12, 1 << 13, 1 << 15, 1 << 16
P_DEVICE_STATE = 1 << 19
P_ALL = (P_MQ | P_LOG_SHMFD | P_RARP | P_REPLY_ACK | P_MTU | P_BACKEND_REQ | P_CONFIG | P_BACKEND_SEND_FD |
         P_INFLIGHT | P_RESET_DEVICE | P_MEM_SLOTS | P_STATUS | P_DEVICE_STATE)

UADDR = 0x7F5500000000


class VhostUserPeer(Peer):
    """One connection to a vhost-user back end."""
    NAME = 'vhost-user'
    OWN = F_ACCESS_PLATFORM | F_LOG_ALL
    QUEUES = 4

    def __init__(self, path, timeout=20.0):
        super().__init__()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(patience(timeout))
        self.asking = False
        self.halted = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # raised for a ring that has lied
        self._connect(path, patience(timeout))

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

    @staticmethod
    def path(folder):
        return os.path.join(folder, 'hostile.sock')

    @classmethod
    def spec(cls, folder):
        return f'vhost-user:{cls.path(folder)},queues={cls.QUEUES // 2},postcopy=on,inband=on'

    @classmethod
    def at(cls, daemon):
        return cls(cls.path(daemon.folder))

    def hang_up(self):
        self.sock.close()
        if self.halted >= 0:  # who hangs up twice closes nobody else's fd
            os.close(self.halted)
        self.halted = -1

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

    # ---- the verbs: messages without an answer, unless one is asked for ----

    def asked(self, verb, *arguments):
        self.asking = True
        try:
            return verb(*arguments)
        finally:
            self.asking = False

    def tell(self, request, payload=b'', fds=()):
        if not self.asking:
            self.send(request, payload, fds)
        elif self.ack(request, payload, fds):
            raise Refused()

    def offered(self):
        return self.ask_u64(GET_FEATURES)

    def negotiate(self, features=F_MRG_RXBUF, protocol=P_ALL):
        self.features = (features | F_VERSION_1 | F_PROTOCOL) & self.offered()
        protocol &= self.ask_u64(GET_PROTOCOL_FEATURES)
        self.protocol = protocol
        self.send(SET_PROTOCOL_FEATURES, struct.pack('=Q', protocol))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, struct.pack('=Q', self.features))
        return self

    def features_set(self, features):
        self.negotiate()
        self.asked(self.tell, SET_FEATURES, struct.pack('=Q', features | F_PROTOCOL))

    def tell_memory(self):
        self.tell(SET_MEM_TABLE, mem_table([(GPA, len(self.memory), UADDR, 0)]), [self.memfd])

    def take_memory_away(self):
        self.send(REM_MEM_REG, mem_region(GPA, len(self.memory), UADDR, 0), [self.memfd])

    def ring_num(self, index, size):
        self.tell(SET_VRING_NUM, struct.pack('=II', index, size))

    def ring_base_set(self, index, base):
        self.tell(SET_VRING_BASE, struct.pack('=II', index, base))

    def ring_addr(self, index, desc, avail, used):
        self.tell(SET_VRING_ADDR, vring_addr(index, UADDR + desc, UADDR + used, UADDR + avail))

    def ring_kick(self, index, fd):
        if not self.asking:
            self.ring_err(index, self.halted)
        self.tell(SET_VRING_KICK, struct.pack('=Q', index), [fd])

    def ring_call(self, index, fd):
        self.tell(SET_VRING_CALL, struct.pack('=Q', index), [fd])

    def ring_err(self, index, fd):
        self.tell(SET_VRING_ERR, struct.pack('=Q', index), [fd])

    def ring_enable(self, index):
        self.tell(SET_VRING_ENABLE, struct.pack('=II', index, 1))

    def ring_stop(self, index):
        stopped, base = struct.unpack('=II', self.ask(GET_VRING_BASE, struct.pack('=II', index, 0)))
        assert stopped == index
        return base

    def ring_go_on(self, index, base):
        self.ring_base_set(index, base)
        self.ring_kick(index, self.rings[index].kick)

    def transfer(self, direction, phase=0):
        """Begins to save (0) or to load (1) the device's state. An fd to read it from, or to write it to; None: refused."""
        ends = os.pipe()
        try:
            self.send(SET_DEVICE_STATE_FD, struct.pack('=II', direction, phase), [ends[direction == 0]])
        finally:
            for end in ends:
                os.close(end)
        data, fds, _, _ = socket.recv_fds(self.sock, 20, 1)
        if not data:
            raise Closed()
        data += self._read(20 - len(data))
        request, _, _, verdict = struct.unpack('=IIIQ', data)
        assert request == SET_DEVICE_STATE_FD and (verdict == 0) == bool(fds), f'{request}: {verdict:#x} and {len(fds)} fds'
        return fds[0] if fds else None

    def save_state(self):
        with os.fdopen(self.transfer(0), 'rb') as file:
            data = file.read()
        assert self.ask_u64(CHECK_DEVICE_STATE) == 0
        return data

    def load_state(self, data):
        """Whether it has been taken."""
        with os.fdopen(self.transfer(1), 'wb', buffering=0) as file:
            file.write(data)
        return self.ask_u64(CHECK_DEVICE_STATE) == 0

    def run(self):
        if self.protocol & P_STATUS:
            self.send(SET_STATUS, struct.pack('=Q', 15))
        self.settle()

    def reset(self):
        self.send(RESET_DEVICE)
        self.send(RESET_OWNER)

    def settle(self):
        self.offered()

    def hung_up(self, timeout=20.0, halts=True):
        """True once the back end has closed the connection, or (`halts`) does not serve a ring any more that had carried nothing."""
        end = time.monotonic() + patience(timeout)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
        if halts:
            poll.register(self.halted, select.POLLIN)
        while time.monotonic() < end:
            for fd, event in poll.poll(50):
                if fd == self.halted:
                    return True
                if event & (select.POLLHUP | select.POLLRDHUP | select.POLLERR):
                    return True
                if event & select.POLLIN and not self.sock.recv(4096):
                    return True
        return False


def mem_table(regions, count=None, padding=0):
    data = struct.pack('=II', len(regions) if count is None else count, padding)
    return data + b''.join(struct.pack('=QQQQ', *region) for region in regions)


def inflight(size, offset, queues, entries):
    return struct.pack('=QQHHI', size, offset, queues, entries, 0)


def mem_region(gpa, size, uaddr, offset):
    return struct.pack('=QQQQQ', 0, gpa, size, uaddr, offset)


def vring_addr(index, desc, used, avail, flags=0, log=0):
    return struct.pack('=IIQQQQ', index, flags, desc, used, avail, log)
