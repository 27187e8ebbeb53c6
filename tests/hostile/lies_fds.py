# SPDX-License-Identifier: BSD-3-Clause
"""fds whose owner lets everybody wait: handed over wherever a message or a line may carry one."""
import array
import os
import signal
import socket
import struct

from bench import lie
from lingering import Lingering
from peer import *
from vhost_user import *

ONLY_OVER = ('vhost-user',), "fds come with vhost-user's messages"

def hold_up_nobody(daemon, count, hand, ready=lambda peer: None):
    """
    `hand` sends lingering connections, `ready` comes before that. The daemon stands still meanwhile, so that its copies
    are the last ones when it goes on, whatever it does with them.
    """
    them = [Lingering() for _ in range(count)]
    try:
        with daemon.connect() as peer:
            ready(peer)
            daemon.process.send_signal(signal.SIGSTOP)
            try:
                hand(peer, [one.fileno() for one in them])
                for one in them:
                    one.socket.close()
            finally:
                daemon.process.send_signal(signal.SIGCONT)
            daemon.ctl('version')
            daemon.check_honest()
        with daemon.connect() as peer:  # and the port itself is free again
            peer.negotiate()
            peer.ask_u64(GET_FEATURES)
    finally:
        for one in them:
            one.other.close()


@lie
def lingering_sockets_where_no_fd_belongs(daemon):
    def hand(peer, fds):
        peer.send(GET_FEATURES, b'', fds)
    hold_up_nobody(daemon, 8, hand)


@lie
def lingering_sockets_beyond_what_a_message_may_carry(daemon):
    def hand(peer, fds):
        peer.send(SET_VRING_KICK, bytes(8), fds)
    hold_up_nobody(daemon, 12, hand)


@lie
def lingering_socket_as_notifier_channel_and_memory(daemon):
    for request, payload in ((SET_VRING_CALL, bytes(8)), (SET_VRING_KICK, bytes(8)), (SET_VRING_ERR, bytes(8)),
                             (SET_BACKEND_REQ_FD, b''), (ADD_MEM_REG, struct.pack('=QQQQQ', 0, GPA, 1 << 20, UADDR, 0))):
        def hand(peer, fds, request=request, payload=payload):
            peer.send(request, payload, fds)
        hold_up_nobody(daemon, 1, hand, lambda peer: peer.negotiate())


@lie
def lingering_sockets_that_nobody_reads(daemon):
    """In flight behind the message that ends the session, and in the backlog of the socket."""
    def hand(peer, fds):
        with daemon.connect() as second:
            second.raw(b'x', fds[:1])
        peer.raw(struct.pack('=III', GET_FEATURES, 0, 0))
        peer.raw(b'x', fds[1:])
    hold_up_nobody(daemon, 2, hand)


@lie
def lingering_socket_to_the_control_socket(daemon):
    def hand(_peer, fds):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.control_path)
            client.sendmsg([b'{}\n'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
    hold_up_nobody(daemon, 1, hand)


@lie
def memory_in_a_file_on_a_disk(daemon):
    """Each access to a page that the peer has had evicted would wait for the disk."""
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError:
        fd = os.open('/var/tmp', os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.ftruncate(fd, 1 << 20)
        with daemon.connect() as peer:
            peer.negotiate()
            try:
                assert peer.ack(SET_MEM_TABLE, mem_table([(GPA, 1 << 20, UADDR, 0)]), [fd]), 'a disk\'s file was taken'
            except Closed:
                pass
    finally:
        os.close(fd)
