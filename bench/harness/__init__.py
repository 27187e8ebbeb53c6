# SPDX-License-Identifier: BSD-3-Clause
"""The engine of bench/compare: programs and peers side by side, in alternating pairs.

programs.py  a program that is started, asked, paused and ended      peers.py   the back ends: ours and everybody else's
cells.py     the matrix of cases, and the contract of a case         calls.py   dequeue, enqueue, loop
measure.py   Bench: CPUs, memory, alternating pairs, ping-pong       switch.py  vm2vm; uplink.py, mirror.py
report.py    rows, table, JSON                                       performance.py  docs/performance.md and its plots
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if os.path.join(ROOT, "tests") not in sys.path:
    sys.path.insert(0, os.path.join(ROOT, "tests"))  # guest.lab, guest.qemu and others
