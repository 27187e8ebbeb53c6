# SPDX-License-Identifier: BSD-3-Clause
"""Starts a program, its arguments, to which this machine has no registers beyond SSE's: ptrace(PTRACE_GETREGSET) is an error.

See uml.py for who needs that.
"""
import ctypes
import os
import struct
import sys

PTRACE, PTRACE_GETREGSET, EIO = 101, 0x4204, 5
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of a filter's instructions
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
ALLOW, ERRNO = 0x7fff0000, 0x00050000
FILTER = [(LOAD, 0, 0, NUMBER_AT), (EQUAL, 0, 3, PTRACE), (LOAD, 0, 0, FIRST_ARGUMENT_AT), (EQUAL, 0, 1, PTRACE_GETREGSET),
          (RETURN, 0, 0, ERRNO | EIO), (RETURN, 0, 0, ALLOW)]


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in FILTER))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(FILTER), ctypes.addressof(code)))
    if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)):
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
