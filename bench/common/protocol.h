/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_PROTOCOL_H
#define BENCH_PROTOCOL_H

#include <stdio.h>

/*
 * How a script drives the programs: when traffic can flow they print {"ready": true, ...}, then each line on
 * standard input is answered by one line of JSON on standard output.
 */
struct protocol_command {
	const char *name;
	/* Prints the answer to `out`, without the newline. `argument`: the rest of the line, maybe "". */
	void (*answer)(void *opaque, const char *argument, FILE *out);
};

/* Prints the first line, with the frequency of clock_now(). */
void protocol_ready(void);

/* Answers lines until "quit" or the end of input. `commands` ends with a NULL name. */
void protocol_serve(const struct protocol_command *commands, void *opaque);

/* A counter that another thread writes with counter_add(). */
static inline unsigned long long counter_read(const unsigned long long *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* By the one thread that writes it. */
static inline void counter_add(unsigned long long *counter, unsigned long long n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

#endif
