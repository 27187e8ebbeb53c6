/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * bench-front: the front end of every measurement, DPDK's virtio-user driver under a small application:
 *
 *	bench-front -l 0 --in-memory --no-pci -m 256 --vdev net_virtio_user0,path=SOCKET,queue_size=1024 \
 *		-- --mode send --size 64
 */

#include "front.h"
#include "bench/common/clock.h"
#include "bench/common/protocol.h"
#include <inttypes.h>
#include <rte_eal.h>
#include <stdlib.h>
#include <string.h>

static void answer_stats(void *opaque, const char *argument, FILE *out)
{
	const struct front *front = opaque;

	fprintf(out, "{\"tsc\": %" PRIu64 ", \"ports\": [", clock_now());
	for (unsigned i = 0; i < front->port_count; i++) {
		const struct front_port *port = &front->ports[i];

		fprintf(out, "%s{\"tx\": %llu, \"rx\": %llu, \"tx_bytes\": %llu, \"rx_bytes\": %llu}",
			i ? ", " : "", counter_read(&port->tx), counter_read(&port->rx),
			counter_read(&port->tx_bytes), counter_read(&port->rx_bytes));
	}
	fprintf(out, "], \"lost\": %llu, \"bad\": %llu}",
		front->latency ? front_latency_lost(front->latency) : front_streams_lost(front),
		front->latency ? front_latency_bad(front->latency) : front_streams_bad(front));
}

static int traffic_open(struct front *front)
{
	int error = front_ports_open(front);

	if (error)
		return error;
	return front->options.mode == FRONT_LATENCY ? front_latency_open(front) : front_streams_open(front);
}

int main(int argc, char **argv)
{
	static const struct protocol_command commands[] = {
		{ "stats", answer_stats },
		{ "latency", front_latency_answer },
		{ NULL, NULL },
	};
	static struct front front;
	int used = eal_start(argc, argv), error;

	argv[used] = argv[0];
	front_options_parse(argc - used, argv + used, &front.options);
	error = traffic_open(&front);
	if (!error) {
		bool latency = front.options.mode == FRONT_LATENCY;

		error = eal_poll_start(latency ? front_latency_run : front_streams_run, &front);
		if (error)
			fprintf(stderr, "polling thread: %s\n", strerror(-error));
	}
	if (!error) {
		protocol_ready();
		protocol_serve(commands, &front);
		eal_poll_end();
	}
	front_ports_close(&front);
	front_streams_close(&front);
	front_latency_close(&front);
	rte_eal_cleanup();
	return error ? 1 : 0;
}
