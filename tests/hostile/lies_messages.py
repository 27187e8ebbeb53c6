# SPDX-License-Identifier: BSD-3-Clause
"""Lies in single messages of vhost-user: sizes, counts, fds, order."""
import os
import socket
import struct
import tempfile

from bench import lie
from peer import *
from vhost_user import *

ONLY_OVER = ('vhost-user',), "messages are vhost-user's own"

# Requests that carry a payload of one certain size, and requests that carry none.
SIZED = {SET_FEATURES: 8, SET_VRING_NUM: 8, SET_VRING_ADDR: 40, SET_VRING_BASE: 8, GET_VRING_BASE: 8,
         SET_VRING_KICK: 8, SET_VRING_CALL: 8, SET_VRING_ERR: 8, SET_PROTOCOL_FEATURES: 8, SET_VRING_ENABLE: 8,
         SEND_RARP: 8, NET_SET_MTU: 8, SET_STATUS: 8, ADD_MEM_REG: 40, REM_MEM_REG: 40,
         SET_DEVICE_STATE_FD: 8}
EMPTY = [GET_FEATURES, SET_OWNER, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, RESET_DEVICE, GET_MAX_MEM_SLOTS,
         GET_STATUS, CHECK_DEVICE_STATE]


def closes(daemon, request, payload=b'', fds=(), flags=VERSION, size=None, protocol=P_ALL):
    """The message, sent in an honest session, costs the session."""
    with daemon.connect() as peer:
        peer.negotiate(protocol=protocol)
        try:
            peer.send(request, payload, fds, flags, size)
        except Closed:
            return
        assert peer.hung_up(), f'message {request} of {len(payload)} bytes and {len(fds)} fds was taken'


def refused(peer, request, payload=b'', fds=()):
    """The message is answered with an error and the session goes on, or it is closed."""
    try:
        assert peer.ack(request, payload, fds) != 0, f'message {request} was taken'
    except Closed:
        return


@lie
def payload_shorter_than_the_message_is(daemon):
    for request, size in SIZED.items():
        for lied in (0, 1, size - 1):
            closes(daemon, request, b'\0' * lied)


@lie
def payload_longer_than_the_message_is(daemon):
    for request, size in SIZED.items():
        for lied in (size + 1, size + 8, 2048):
            closes(daemon, request, b'\0' * lied)


@lie
def payload_where_there_is_none(daemon):
    for request in EMPTY:
        closes(daemon, request, b'\0' * 8)


@lie
def payload_size_of_four_gigabytes(daemon):
    for size in (0xFFFFFFFF, 0x80000000, 1 << 20, 4097):
        closes(daemon, SET_FEATURES, b'\0' * 8, size=size)


@lie
def unknown_request_numbers(daemon):
    for request in (0, 23, 26, 27, 28, 29, 30, 33, 41, 44, 45, 46, 99, 0x80000001, 0xFFFFFFFF, 1 << 31):
        closes(daemon, request)
        closes(daemon, request, b'\0' * 8)


@lie
def wrong_version_and_reply_flag(daemon):
    for flags in (0, 2, 3, VERSION | REPLY):
        closes(daemon, GET_FEATURES, flags=flags)


@lie
def fds_where_none_belong(daemon):
    for request in EMPTY:
        closes(daemon, request, fds=[0])
    for request in (SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE, SET_FEATURES):
        closes(daemon, request, b'\0' * 8, fds=[0, 1, 2])


@lie
def more_fds_than_a_message_may_have(daemon):
    null = os.open('/dev/null', os.O_RDWR)
    try:
        for count in (9, 64, 253):
            closes(daemon, SET_MEM_TABLE, mem_table([(GPA, 4096, UADDR, 0)]), [null] * count)
        closes(daemon, SET_VRING_KICK, struct.pack('=Q', 0), [null, null])
    finally:
        os.close(null)


@lie
def kick_without_an_fd_and_without_saying_so(daemon):
    for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
        closes(daemon, request, struct.pack('=Q', 0))


@lie
def fd_although_none_was_announced(daemon):
    event = os.eventfd(0)
    try:
        for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
            closes(daemon, request, struct.pack('=Q', 0x100), [event])
    finally:
        os.close(event)


@lie
def protocol_features_that_were_not_offered(daemon):
    for features in (1 << 63, 1 << 7, 1 << 17, 1 << 18, 0xFFFFFFFFFFFFFFFF):
        with daemon.connect() as peer:
            peer.ask_u64(GET_FEATURES)
            peer.send(SET_PROTOCOL_FEATURES, struct.pack('=Q', features | P_REPLY_ACK))
            assert peer.hung_up()


@lie
def messages_whose_feature_was_not_negotiated(daemon):
    for request, payload in ((GET_QUEUE_NUM, b''), (SEND_RARP, b'\0' * 8), (NET_SET_MTU, struct.pack('=Q', 1500)),
                             (GET_CONFIG, struct.pack('=III', 0, 8, 0) + b'\0' * 8), (RESET_DEVICE, b''),
                             (GET_MAX_MEM_SLOTS, b''), (ADD_MEM_REG, b'\0' * 40), (REM_MEM_REG, b'\0' * 40),
                             (SET_STATUS, b'\0' * 8), (GET_STATUS, b''), (CHECK_DEVICE_STATE, b'')):
        closes(daemon, request, payload, protocol=0)


@lie
def config_range_outside_config_space(daemon):
    for offset, size in ((0, 257), (250, 8), (256, 1), (0xFFFFFFFF, 1), (0, 0xFFFFFFFF), (0xFFFFFFF0, 0x20)):
        body = b'\0' * min(size, 256)
        with daemon.connect() as peer:
            peer.negotiate()
            try:
                data = peer.ask(GET_CONFIG, struct.pack('=III', offset, size, 0) + body)
            except Closed:
                continue
            assert data == b'', f'{len(data)} bytes from {offset}+{size}'
        with daemon.connect() as peer:
            peer.negotiate()
            refused(peer, SET_CONFIG, struct.pack('=III', offset, size, 0) + body)


@lie
def config_size_that_does_not_match_the_payload(daemon):
    for size, body in ((8, 4), (4, 8), (12, 0), (0, 12)):
        closes(daemon, SET_CONFIG, struct.pack('=III', 0, size, 0) + b'\0' * body)
        closes(daemon, GET_CONFIG, struct.pack('=III', 0, size, 0) + b'\0' * body)


@lie
def writing_config_that_is_read_only(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        refused(peer, SET_CONFIG, struct.pack('=III', 8, 2, 0) + b'\xff\xff')


@lie
def mtu_that_cannot_be(daemon):
    for mtu in (0, 67, 65536, 1 << 63):
        with daemon.connect() as peer:
            peer.negotiate()
            refused(peer, NET_SET_MTU, struct.pack('=Q', mtu))


@lie
def status_wider_than_a_byte(daemon):
    for status in (0x100, 1 << 63):
        with daemon.connect() as peer:
            peer.negotiate()
            refused(peer, SET_STATUS, struct.pack('=Q', status))


@lie
def half_a_header_and_then_silence(daemon):
    with daemon.connect() as peer:
        peer.raw(struct.pack('=II', GET_FEATURES, VERSION)[:7])
        daemon.check_honest()


@lie
def half_a_payload_with_fds_and_then_the_end(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        event = peer.eventfd()
        peer.raw(struct.pack('=III', SET_MEM_TABLE, VERSION, 40) + b'\1\0\0\0', [event] * 8)


@lie
def fds_with_every_byte(daemon):
    """fds belong to the message's first byte; those on later ones are not collected without end."""
    with daemon.connect() as peer:
        peer.negotiate()
        event = peer.eventfd()
        message = struct.pack('=III', SET_VRING_KICK, VERSION, 8) + struct.pack('=Q', 0)
        try:
            for byte in message:
                peer.raw(bytes([byte]), [event])
        except Closed:
            return
        assert peer.hung_up()


@lie
def requests_without_reading_the_replies(daemon):
    with daemon.connect() as peer:
        peer.sock.settimeout(0.5)
        try:
            for _ in range(200000):
                peer.send(GET_FEATURES)
        except (TimeoutError, BlockingIOError):
            pass
        daemon.check_honest()


@lie
def connecting_and_leaving_three_hundred_times(daemon):
    """Whoever asks is gone before the answer."""
    for i in range(300):
        with daemon.connect() as peer:
            if i % 3:
                peer.send(GET_FEATURES)


@lie
def back_end_channels_by_the_hundred(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        for _ in range(100):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                peer.send(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        peer.settle()


@lie
def back_end_channel_that_is_no_socket(daemon):
    with daemon.connect() as peer, tempfile.TemporaryFile() as file:
        peer.negotiate()
        refused(peer, SET_BACKEND_REQ_FD, fds=[file.fileno()])


@lie
def notifiers_that_are_pipes(daemon):
    """Its owner may hold a pipe's lock for ever, and who writes to it waits, O_NONBLOCK or not."""
    for message in (SET_VRING_CALL, SET_VRING_ERR, SET_BACKEND_REQ_FD):
        with daemon.connect() as peer:
            peer.ready()
            read, write = (peer.keep(end) for end in os.pipe())
            payload = b'' if message == SET_BACKEND_REQ_FD else struct.pack('=Q', 1)
            refused(peer, message, payload, [write])


@lie
def queue_index_wider_than_a_byte(daemon):
    """In KICK and its like a byte holds the index; the rest must not be taken for one (CVE-2020-10723)."""
    event = os.eventfd(0)
    try:
        for index in (8, 0x7F, 0xFF, 0x200, 1 << 32):
            with daemon.connect() as peer:
                peer.negotiate()
                refused(peer, SET_VRING_KICK, struct.pack('=Q', index), [event])
    finally:
        os.close(event)
    for index in (8, 9, 128, 255, 256, 0x10000, 0x80000000, 0xFFFFFFFF):
        closes(daemon, GET_VRING_BASE, struct.pack('=II', index, 0))
