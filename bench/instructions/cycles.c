/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * bench-cycles CASE [CPU...]: cycles of the CPU's time stamp counter a frame, for a case of kind forward (case.h), by the clock and
 * not under callgrind. A line of JSON: of each worker the median, and the first and third quartile, of WINDOWS windows in which all
 * workers were busy. What the drivers take is left out.
 */

#include "bench/common/clock.h"
#include "bench/instructions/forward.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WINDOWS	      41u
#define WINDOW_BURSTS 512u
#define CALIBRATE_NS  20000000u

struct meter {
	uint64_t began;
	unsigned count;
	double cycles[WINDOWS]; /* a frame */
} __attribute__((aligned(128)));

static struct {
	struct meter meters[PAIRS_MAX];
	pthread_barrier_t together;
	unsigned pairs, full; /* so many meters are */
} all;

/* ---- the clock that the switch sees ---- */

static uint64_t start_cycles, start_ns, cycles_a_ms;
static _Thread_local uint64_t skipped_cycles; /* steps forward are what wraps around below 0 */

void clock_step(uint64_t ns)
{
	skipped_cycles -= ns * cycles_a_ms / 1000000;
}

void clock_skip(uint64_t cycles)
{
	skipped_cycles += cycles;
}

static uint64_t real_ns(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* In place of the C library's: what is done now and then is done as often as where the worker has all of its CPU for itself. */
int clock_gettime(clockid_t clock, struct timespec *ret)
{
	uint64_t ns;

	if (skipped_cycles) /* a worker that is measured: without a system call, as the C library's */
		ns = start_ns + (clock_now() - start_cycles - skipped_cycles) * 1000 / cycles_a_ms * 1000;
	else
		ns = real_ns();
	*ret = (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	return 0;
}

static void clock_calibrate(void)
{
	uint64_t ns;

	start_cycles = clock_now();
	start_ns = real_ns();
	do
		ns = real_ns() - start_ns;
	while (ns < CALIBRATE_NS);
	cycles_a_ms = (clock_now() - start_cycles) / (ns / 1000000);
}

/* ---- windows ---- */

static void window_begin(struct meter *meter, struct pair *pair)
{
	pair->driver_cycles = pair->frames = 0;
	meter->began = clock_now();
}

static void window_end(struct meter *meter, const struct pair *pair)
{
	if (meter->count == WINDOWS) /* the others are still at it: goes on, so that they are not alone */
		return;
	meter->cycles[meter->count++] = (double)(clock_now() - meter->began - pair->driver_cycles) / (double)pair->frames;
	if (meter->count == WINDOWS)
		__atomic_add_fetch(&all.full, 1, __ATOMIC_ACQ_REL);
}

static void round_measure(struct pair *pair)
{
	unsigned sent = pair->ports->sent_bursts;
	struct meter *meter = &all.meters[pair->number];

	if (sent < WARM_BURSTS || (sent - WARM_BURSTS) % WINDOW_BURSTS)
		return;
	if (sent == WARM_BURSTS)
		pthread_barrier_wait(&all.together);
	else
		window_end(meter, pair);
	if (__atomic_load_n(&all.full, __ATOMIC_ACQUIRE) == all.pairs)
		forward_done();
	window_begin(meter, pair);
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *name)
{
	printf("{\"case\": \"%s\", \"workers\": [", name);
	for (unsigned i = 0; i < all.pairs; i++) {
		double *cycles = all.meters[i].cycles;

		qsort(cycles, WINDOWS, sizeof(*cycles), double_compare);
		printf("%s{\"median\": %.2f, \"low\": %.2f, \"high\": %.2f}", i ? ", " : "", cycles[WINDOWS / 2], cycles[WINDOWS / 4],
		       cycles[WINDOWS * 3 / 4]);
	}
	printf("]}\n");
}

int main(int argc, char **argv)
{
	int cpus[PAIRS_MAX] = {-1, -1};
	struct bench_case c;

	if (argc < 2 || !case_parse(argv[1], &c) || c.kind != CASE_FORWARD || c.gro || c.retried || argc > 2 + (int)PAIRS_MAX) {
		fprintf(stderr, "usage: bench-cycles CASE [CPU...]\n"
			"CASE: forward/..., one of those that bench-instructions --list prints, but for gro and retried\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		cpus[i - 2] = atoi(argv[i]);
	clock_calibrate();
	all.pairs = c.paired ? PAIRS_MAX : 1;
	must(!pthread_barrier_init(&all.together, NULL, all.pairs), "no barrier");
	forward_run(&c, cpus, round_measure, NULL, false);
	print(argv[1]);
	fflush(stdout);
	_exit(0); /* workers wait for ever */
}
