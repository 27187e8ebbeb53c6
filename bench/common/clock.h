/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>

/* The CPU's time stamp counter: the same on all CPUs, and running on while a process is stopped. */
static inline uint64_t clock_now(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
#error "clock_now: name this CPU's cycle counter here"
#endif
}

/* Ticks of clock_now() a second, calibrated against CLOCK_MONOTONIC_RAW: the first call takes 20 ms. */
uint64_t clock_hz(void);

#endif
