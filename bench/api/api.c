/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * bench-api: the least that a back end on libvireo's burst API does, and what it costs:
 *
 *	bench-api --socket PATH --mode dequeue|enqueue|loop [--cpu N] [--size 64] [--verify]
 *
 * Cycles are counted inside calls that moved frames. Packets lie in a fixed piece of memory, used for each burst
 * anew: nothing is taken from a pool (mbuf_cycles: 0). Three threads: this one answers on standard input, one
 * serves the vhost-user socket, one polls.
 */

#include "api.h"
#include "bench/common/clock.h"
#include "bench/common/cpu.h"
#include "bench/common/options.h"
#include "bench/common/protocol.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define START_POLL_US 1000u
#define CPUS_MAX      1024u

static const char usage[] =
	"usage: bench-api --socket PATH --mode dequeue|enqueue|loop [OPTIONS]\n"
	"  --cpu N               the polling thread's (default: the last this process may use)\n"
	"  --burst N             frames a call, 1 to 256 (default 32)\n"
	"  --size BYTES|imix     enqueue: 64 to 1518, or 64, 594 and 1518 mixed 7 : 4 : 1 (default 64)\n"
	"  --flows N             pairs of addresses (default 1)\n"
	"  --mergeable on|off    offer MRG_RXBUF (default on)\n"
	"  --verify              dequeue, loop: check each byte and the order; enqueue: send frames that can be checked\n";

static const struct options_program program = {"bench-api", usage};

static bool option_take(struct api_options *o, int option, const char *value)
{
	static const char *const modes[] = {"dequeue", "enqueue", "loop", NULL};
	static const char *const switches[] = {"off", "on", NULL};

	if (option == 's')
		o->socket = value;
	else if (option == 'm')
		o->mode = (enum api_mode)options_word(&program, "--mode", value, modes);
	else if (option == 'c')
		o->cpu = (int)options_number(&program, "--cpu", value, 0, CPUS_MAX - 1);
	else if (option == 'b')
		o->burst = options_number(&program, "--burst", value, 1, API_BURST_MAX);
	else if (option == 'f')
		o->flows = options_number(&program, "--flows", value, 1, FRAMES_FLOWS_MAX);
	else if (option == 'g')
		o->mergeable = options_word(&program, "--mergeable", value, switches);
	else if (option == 'v')
		o->verify = true;
	else if (option == 'z')
		options_sizes(&program, value, &o->sizes);
	else
		return false;
	return true;
}

static int last_cpu(void)
{
	int cpu = -1, next;

	for (unsigned n = 0; (next = cpu_nth(n)) >= 0; n++)
		cpu = next;
	return cpu;
}

/* A "--" among the options is passed over: bench-vhost needs one, and both take the same words after it. */
static int without_dashes(int argc, char **argv)
{
	int kept = 0;

	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--") != 0)
			argv[kept++] = argv[i];
	argv[kept] = NULL;
	return kept;
}

static void options_parse(int argc, char **argv, struct api_options *o)
{
	static const struct option long_options[] = {
		{"socket", required_argument, NULL, 's'}, {"mode", required_argument, NULL, 'm'},
		{"cpu", required_argument, NULL, 'c'},	  {"burst", required_argument, NULL, 'b'},
		{"size", required_argument, NULL, 'z'},	  {"flows", required_argument, NULL, 'f'},
		{"verify", no_argument, NULL, 'v'},	  {"mergeable", required_argument, NULL, 'g'},
		{NULL, 0, NULL, 0},
	};
	bool mode = false;
	int option;

	*o = (struct api_options){.flows = 1, .burst = 32, .mergeable = true, .cpu = last_cpu()};
	frame_sizes_parse("64", &o->sizes);
	argc = without_dashes(argc, argv);
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (!option_take(o, option, optarg))
			options_refuse(&program, "unknown option", "");
		mode |= option == 'm';
	}
	if (optind < argc)
		options_refuse(&program, "what is ", argv[optind]);
	if (!o->socket || !mode)
		options_refuse(&program, "--socket and --mode are needed", "");
}

static void answer_stats(void *opaque, const char *argument, FILE *out)
{
	const struct api_counters *c = opaque;

	fprintf(out, "{\"tsc\": %" PRIu64 ", \"dequeued\": %llu, \"dequeue_cycles\": %llu, \"enqueued\": %llu, "
		"\"enqueue_cycles\": %llu, \"mbuf_cycles\": 0, \"bytes\": %llu, \"bad\": %llu}", clock_now(),
		counter_read(&c->dequeued), counter_read(&c->dequeue_cycles), counter_read(&c->enqueued),
		counter_read(&c->enqueue_cycles), counter_read(&c->bytes), counter_read(&c->bad));
}

int main(int argc, char **argv)
{
	static const struct protocol_command commands[] = {{"stats", answer_stats}, {NULL, NULL}};
	static struct api_traffic traffic;
	static struct api_options options;
	int error;

	options_parse(argc, argv, &options);
	error = api_device_offer(&options);
	if (error)
		return 1;
	error = api_traffic_start(&traffic, &options);
	if (error) {
		fprintf(stderr, "bench-api: no polling thread on CPU %d: %s\n", options.cpu, strerror(-error));
	} else {
		while (!api_device_running())
			usleep(START_POLL_US);
		protocol_ready();
		protocol_serve(commands, &traffic.counters);
		api_traffic_end(&traffic);
	}
	api_device_withdraw();
	return error ? 1 : 0;
}
