# SPDX-License-Identifier: BSD-3-Clause
"""A connection that whoever closes it last has to wait for."""
import socket
import struct

LINGER_S = 3600


class Lingering:
    """A connection whose last close waits for LINGER_S, or until its other end goes."""

    def __init__(self):
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            listener.listen(1)
            self.socket = socket.create_connection(listener.getsockname())
            self.other, _ = listener.accept()
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.send(bytes(65536))
        except BlockingIOError:
            pass
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, LINGER_S))

    def fileno(self):
        return self.socket.fileno()
