/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_CPU_H
#define BENCH_CPU_H

/* Pins the calling thread to one CPU. 0, or a negative errno. */
int cpu_pin(unsigned cpu);

/* The n-th CPU (from 0) that this process may run on; -1: there are not so many. */
int cpu_nth(unsigned n);

#endif
