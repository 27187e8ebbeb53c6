# SPDX-License-Identifier: BSD-3-Clause
"""How fast this machine's time stamp counter counts.

An emulated guest reads the same counter. Its kernel finds the rate by a timer that is emulated as well, and on a loaded machine may be wrong by a
factor of twenty; whatever it times then, a deadline too, ends so much too early.
"""
import ctypes
import functools
import mmap
import platform
import time

RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
APART_S = 0.05
AGREE = 1e-3  # two measurements
TRIES = 8


def _together(read):
    """Counter and clock, read while nothing came between."""
    tries = []
    for _ in range(20):
        before, ticks, after = time.monotonic_ns(), read(), time.monotonic_ns()
        tries.append((after - before, ticks, (before + after) / 2))
    return min(tries)[1:]


def _measured(read):
    """Ticks a millisecond, once."""
    begin_ticks, begin_ns = _together(read)
    time.sleep(APART_S)
    end_ticks, end_ns = _together(read)
    return (end_ticks - begin_ticks) / (end_ns - begin_ns) * 1e6


def _agreed(measure):
    """What two measurements in a row agree in, or None: on a loaded machine each of the readings may have been interrupted."""
    before = measure()
    for _ in range(TRIES):
        after = measure()
        if abs(after - before) < AGREE * before:
            return round((before + after) / 2)
        before = after
    return None


@functools.lru_cache(maxsize=None)
def khz():
    """None: a machine of another kind, or one that does not say the same twice."""
    if platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(RDTSC)
    code = ctypes.c_char.from_buffer(page)  # holds the page for as long as it is called
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(code))
    return _agreed(lambda: _measured(read))


def kernel_option():
    """What tells the rate to a guest's kernel."""
    rate = khz()
    return f" tsc_early_khz={rate}" if rate else ""
