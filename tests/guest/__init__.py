# SPDX-License-Identifier: BSD-3-Clause
"""What end-to-end tests, the demo and measurements run against: real kernels in QEMU guests, DPDK's testpmd, the daemon.

Python's standard library alone. Everything that is started here belongs to a Lab, is bounded in time, and dies with it.
"""
