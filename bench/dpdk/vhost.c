/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * bench-vhost: the least that a back end on librte_vhost does, and what it costs:
 *
 *	bench-vhost -l 1 --in-memory --single-file-segments --no-pci -m 256 \
 *		-- --socket PATH --mode dequeue|enqueue|loop [--size 64] [--verify]
 *
 * Cycles are counted inside calls that moved frames. Buffers cost on their own (mbuf_cycles): freeing what
 * was dequeued (it was taken from the pool inside the call); for enqueue, where the same frames are offered
 * each time, taking and freeing so many as were moved.
 */

#include "vhost.h"
#include "bench/common/clock.h"
#include "bench/common/options.h"
#include "bench/common/protocol.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <rte_eal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define START_POLL_US 1000u

static const char usage[] =
	"usage: bench-vhost EAL-OPTIONS -- --socket PATH --mode dequeue|enqueue|loop [OPTIONS]\n"
	"  --size BYTES|imix     enqueue: 64 to 1518, or 64, 594 and 1518 mixed 7 : 4 : 1 (default 64)\n"
	"  --flows N             pairs of addresses (default 1)\n"
	"  --verify              dequeue, loop: check each byte and the order;\n"
	"                        enqueue: send frames that can be checked\n";

static const struct options_program program = { "bench-vhost", usage };

static void options_parse(int argc, char **argv, struct vhost_options *o)
{
	static const struct option long_options[] = {
		{ "socket", required_argument, NULL, 's' }, { "mode", required_argument, NULL, 'm' },
		{ "size", required_argument, NULL, 'z' },   { "flows", required_argument, NULL, 'f' },
		{ "verify", no_argument, NULL, 'v' },	    { NULL, 0, NULL, 0 },
	};
	static const char *const modes[] = { "dequeue", "enqueue", "loop", NULL };
	bool mode = false;
	int option;

	*o = (struct vhost_options){ .flows = 1 };
	frame_sizes_parse("64", &o->sizes);
	optind = 1;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 's')
			o->socket = optarg;
		else if (option == 'm')
			o->mode = (enum vhost_mode)options_word(&program, "--mode", optarg, modes), mode = true;
		else if (option == 'z')
			options_sizes(&program, optarg, &o->sizes);
		else if (option == 'f')
			o->flows = options_number(&program, "--flows", optarg, 1, FRAMES_FLOWS_MAX);
		else if (option == 'v')
			o->verify = true;
		else
			options_refuse(&program, "unknown option", "");
	}
	if (optind < argc)
		options_refuse(&program, "what is ", argv[optind]);
	if (!o->socket || !mode)
		options_refuse(&program, "--socket and --mode are needed", "");
}

static void answer_stats(void *opaque, const char *argument, FILE *out)
{
	const struct vhost_counters *c = opaque;

	fprintf(out,
		"{\"tsc\": %" PRIu64 ", \"dequeued\": %llu, \"dequeue_cycles\": %llu, \"enqueued\": %llu, "
		"\"enqueue_cycles\": %llu, \"mbuf_cycles\": %llu, \"bytes\": %llu, \"bad\": %llu}",
		clock_now(), counter_read(&c->dequeued), counter_read(&c->dequeue_cycles),
		counter_read(&c->enqueued), counter_read(&c->enqueue_cycles), counter_read(&c->mbuf_cycles),
		counter_read(&c->bytes), counter_read(&c->bad));
}

int main(int argc, char **argv)
{
	static const struct protocol_command commands[] = { { "stats", answer_stats }, { NULL, NULL } };
	static struct vhost_traffic traffic;
	static struct vhost_options options;
	int used = eal_start(argc, argv), error;

	argv[used] = argv[0];
	options_parse(argc - used, argv + used, &options);
	error = vhost_traffic_open(&traffic, &options);
	if (!error)
		error = vhost_device_offer(options.socket);
	if (!error)
		error = eal_poll_start(vhost_traffic_run, &traffic);
	if (!error) {
		while (!vhost_device_attached())
			usleep(START_POLL_US);
		protocol_ready();
		protocol_serve(commands, &traffic.counters);
		eal_poll_end();
		vhost_device_withdraw(options.socket);
	} else {
		fprintf(stderr, "bench-vhost: %s\n", strerror(-error));
	}
	vhost_traffic_close(&traffic);
	rte_eal_cleanup();
	return error ? 1 : 0;
}
