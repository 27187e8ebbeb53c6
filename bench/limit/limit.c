/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * bench-limit: what moving frames from one CPU to another costs the receiving one at least: rings in shared
 * memory, one copy, nothing else. Each way to copy and to prefetch is measured, the cheapest is the limit.
 */

#include "limit.h"
#include "bench/common/clock.h"
#include "bench/common/cpu.h"
#include "bench/common/options.h"
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WINDOWS 5u /* per way; the median counts */
#define HUGE_BYTES (2u << 20)
#define NO_FRAMES 1e12

static const char usage[] =
	"usage: bench-limit --mode out|across [OPTIONS]\n"
	"  out: frames are copied to private buffers\n"
	"  across: frames are copied to other buffers of the producer, and sent again\n"
	"  --size BYTES|imix     may be repeated (default: 64, 256, 1518, imix)\n"
	"  --touch none|line     the producer writes 64 bytes of each frame (default: line; across: none)\n"
	"  --streams 1|2         (default: out 1, across 2)\n"
	"  --window N            across: frames in flight per stream, in 32s up to 1024 (default 512)\n"
	"  --cpus A,B            producer's and consumer's (default: the first two allowed)\n"
	"  --ms N                length of one of the 5 windows for each way (default 10)\n"
	"  --verify              fill and check all frames\n";

struct settings {
	struct limit_options options;
	const char *sizes[16];
	unsigned size_count, cpu_producer, cpu_consumer, window_ms;
};

struct result {
	struct consumer_way way;
	double cycles_per_frame, frames_per_second;
};

static const struct options_program program = { "bench-limit", usage };

static void cpus_parse(struct settings *s, const char *text)
{
	char end;

	if (sscanf(text, "%u,%u%c", &s->cpu_producer, &s->cpu_consumer, &end) != 2 ||
	    s->cpu_producer == s->cpu_consumer)
		options_refuse(&program, "--cpus takes two CPUs, not ", text);
}

static void size_add(struct settings *s, const char *text)
{
	struct frame_sizes sizes;

	if (!frame_sizes_parse(text, &sizes) || s->size_count == sizeof(s->sizes) / sizeof(*s->sizes))
		options_refuse(&program, "--size takes 64 to 1518, or imix, at most 16 times; not ", text);
	s->sizes[s->size_count++] = text;
}

static void option_take(struct settings *s, int option, int *mode, int *touch)
{
	static const char *const modes[] = { "out", "across", NULL }, *const touches[] = { "none", "line", NULL };
	struct limit_options *o = &s->options;

	switch (option) {
	case 'm':
		*mode = (int)options_word(&program, "--mode", optarg, modes);
		break;
	case 't':
		*touch = (int)options_word(&program, "--touch", optarg, touches);
		break;
	case 's':
		size_add(s, optarg);
		break;
	case 'n':
		o->streams = options_number(&program, "--streams", optarg, 1, STREAMS_MAX);
		break;
	case 'w':
		o->window = options_number(&program, "--window", optarg, RING_PUBLISH, RING_ENTRIES);
		if (o->window % RING_PUBLISH)
			options_refuse(&program, "--window takes multiples of 32, not ", optarg);
		break;
	case 'c':
		cpus_parse(s, optarg);
		break;
	case 'l':
		s->window_ms = options_number(&program, "--ms", optarg, 1, 10000);
		break;
	case 'v':
		o->verify = true;
		break;
	default:
		options_refuse(&program, "unknown option", "");
	}
}

static void defaults_set(struct settings *s, int mode, int touch)
{
	static const char *const sizes[] = { "64", "256", "1518", "imix" };
	struct limit_options *o = &s->options;

	o->across = mode;
	o->touch = touch < 0 ? !o->across : touch;
	o->streams = o->streams ? o->streams : o->across ? 2 : 1;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes) && s->size_count == i; i++)
		size_add(s, sizes[i]);
}

static void settings_parse(int argc, char **argv, struct settings *s)
{
	static const struct option long_options[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "touch", required_argument, NULL, 't' },
		{ "size", required_argument, NULL, 's' },
		{ "streams", required_argument, NULL, 'n' },
		{ "window", required_argument, NULL, 'w' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "ms", required_argument, NULL, 'l' },
		{ "verify", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option, mode = -1, touch = -1, first = cpu_nth(0), second = cpu_nth(1);

	*s = (struct settings){ .options.window = 512, .window_ms = 10 };
	s->cpu_producer = (unsigned)first;
	s->cpu_consumer = (unsigned)second;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		option_take(s, option, &mode, &touch);
	if (optind < argc)
		options_refuse(&program, "what is ", argv[optind]);
	if (mode < 0)
		options_refuse(&program, "--mode is missing", "");
	if (s->cpu_consumer == (unsigned)-1)
		options_refuse(&program, "two CPUs are needed", "");
	defaults_set(s, mode, touch);
}

/* On large pages if there are any: what address translation costs is not the subject. */
static struct limit_shared *shared_new(void)
{
	size_t bytes = (sizeof(struct limit_shared) + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE;
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);

	if (at == MAP_FAILED)
		at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	madvise(at, bytes, MADV_HUGEPAGE);
	return at;
}

static void shared_free(struct limit_shared *shared)
{
	munmap(shared, (sizeof(*shared) + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES);
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct result way_measure(struct consumer *c, struct consumer_way way, unsigned window_ms)
{
	double cycles[WINDOWS], rates[WINDOWS];
	uint64_t window = clock_hz() / 1000 * window_ms;

	c->way = way;
	consumer_run(c, clock_now() + window / 2);
	for (unsigned i = 0; i < WINDOWS; i++) {
		uint64_t start = clock_now();

		consumer_run(c, start + window);
		cycles[i] = c->frames ? (double)c->cycles / (double)c->frames : NO_FRAMES;
		rates[i] = (double)c->frames * (double)clock_hz() / (double)(clock_now() - start);
	}
	qsort(cycles, WINDOWS, sizeof(*cycles), double_compare);
	qsort(rates, WINDOWS, sizeof(*rates), double_compare);
	return (struct result){ way, cycles[WINDOWS / 2], rates[WINDOWS / 2] };
}

static struct result best_way(struct consumer *c, unsigned window_ms)
{
	static const unsigned prefetches[] = { 0, 2, 4, 8, RING_PUBLISH };
	struct result best = { .cycles_per_frame = NO_FRAMES };

	for (unsigned copy = 0; copy < COPY_KINDS; copy++)
		for (unsigned i = 0; i < sizeof(prefetches) / sizeof(*prefetches); i++) {
			struct consumer_way way = { (enum copy_kind)copy, prefetches[i] };
			struct result r = way_measure(c, way, window_ms);

			if (r.cycles_per_frame < best.cycles_per_frame)
				best = r;
		}
	return best;
}

struct producer_start {
	struct limit_shared *shared;
	unsigned cpu;
	int error;
};

static void *producer_main(void *opaque)
{
	struct producer_start *start = opaque;

	start->error = cpu_pin(start->cpu);
	if (!start->error)
		start->error = producer_run(start->shared);
	return NULL;
}

static void result_print(const struct settings *s, const char *size, const struct result *r, uint64_t bad)
{
	static const char *const copies[] = { "libc", "inline", "movsb" };

	printf("{\"mode\": \"%s\", \"size\": \"%s\", \"touch\": \"%s\", \"streams\": %u, "
	       "\"cycles_per_frame\": %.1f, "
	       "\"frames_per_second\": %.0f, \"copy\": \"%s\", \"prefetch\": %u, \"bad\": %llu}\n",
	       s->options.across ? "across" : "out", size, s->options.touch ? "line" : "none",
	       s->options.streams, r->cycles_per_frame, r->frames_per_second, copies[r->way.copy],
	       r->way.prefetch, (unsigned long long)bad);
	fflush(stdout);
}

static int size_measure(const struct settings *s, const char *size)
{
	static struct consumer consumer;
	struct limit_shared *shared = shared_new();
	struct producer_start start = { shared, s->cpu_producer, 0 };
	struct result best;
	pthread_t thread;
	int error;

	if (!shared)
		return -ENOMEM;
	shared->options = s->options;
	frame_sizes_parse(size, &shared->options.sizes);
	error = consumer_open(&consumer, shared);
	if (!error)
		error = -pthread_create(&thread, NULL, producer_main, &start);
	if (!error) {
		best = best_way(&consumer, s->window_ms);
		__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		error = start.error;
	}
	if (!error)
		result_print(s, size, &best, shared->bad);
	consumer_close(&consumer);
	shared_free(shared);
	return error;
}

int main(int argc, char **argv)
{
	struct settings settings;
	int error;

	settings_parse(argc, argv, &settings);
	error = cpu_pin(settings.cpu_consumer);
	for (unsigned i = 0; i < settings.size_count && !error; i++)
		error = size_measure(&settings, settings.sizes[i]);
	if (error)
		fprintf(stderr, "bench-limit: %s (CPUs %u and %u)\n", strerror(-error), settings.cpu_producer,
			settings.cpu_consumer);
	return error ? 1 : 0;
}
