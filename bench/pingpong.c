/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * bench-pingpong A B: how far apart two CPUs are: cycles for one cache line's way from A to B and back.
 * Figures of two programs on two CPUs can be compared only while this stays the same.
 */

#include "bench/common/clock.h"
#include "bench/common/cpu.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOTAL_MS 20u
#define ROUNDS 64u /* per sample: the clock's own cost is shared out */
#define SAMPLES_MAX 65536u
#define STOP UINT64_MAX

static _Alignas(128) uint64_t line; /* odd: B is to answer */
static unsigned cpu_b;

static void line_write(uint64_t value)
{
	__atomic_store_n(&line, value, __ATOMIC_RELEASE);
}

/* Without a pause instruction: it costs more than the line's way. */
static uint64_t line_await(uint64_t last)
{
	uint64_t value;

	while ((value = __atomic_load_n(&line, __ATOMIC_ACQUIRE)) == last)
		;
	return value;
}

static void *answer(void *ret_error)
{
	uint64_t seen = 0;

	*(int *)ret_error = cpu_pin(cpu_b);
	line_write(1); /* here */
	while ((seen = line_await(seen | 1)) != STOP)
		line_write(++seen);
	return NULL;
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double cycles_per_round(void)
{
	static double samples[SAMPLES_MAX];
	uint64_t end = clock_now() + clock_hz() / 1000 * TOTAL_MS, value = 2;
	unsigned count = 0;

	while (count < SAMPLES_MAX && clock_now() < end) {
		uint64_t start = clock_now();

		for (unsigned i = 0; i < ROUNDS; i++, value += 2) {
			line_write(value);
			line_await(value);
		}
		samples[count++] = (double)(clock_now() - start) / ROUNDS;
	}
	qsort(samples, count, sizeof(*samples), double_compare);
	return samples[count / 2];
}

static int cpu_argument(const char *text)
{
	char *end;
	long cpu = strtol(text, &end, 10);

	return end == text || *end || cpu < 0 || cpu > 65535 ? -1 : (int)cpu;
}

int main(int argc, char **argv)
{
	int a = argc == 3 ? cpu_argument(argv[1]) : -1, b = argc == 3 ? cpu_argument(argv[2]) : -1, error,
	    error_b;
	pthread_t thread;
	double cycles;

	if (a < 0 || b < 0 || a == b) {
		fprintf(stderr, "usage: bench-pingpong CPU OTHER-CPU\n");
		return 2;
	}
	clock_hz();
	cpu_b = (unsigned)b;
	error = cpu_pin((unsigned)a);
	if (!error)
		error = -pthread_create(&thread, NULL, answer, &error_b);
	if (!error) {
		line_await(0);
		error = error_b;
		cycles = error ? 0 : cycles_per_round();
		line_write(STOP);
		pthread_join(thread, NULL);
	}
	if (error) {
		fprintf(stderr, "bench-pingpong: CPUs %d and %d: %s\n", a, b, strerror(-error));
		return 1;
	}
	printf("%.1f\n", cycles);
	return 0;
}
