/* SPDX-License-Identifier: BSD-3-Clause */
#include "front.h"
#include <errno.h>
#include <rte_ethdev.h>
#include <string.h>
#include <unistd.h>

#define DESCRIPTORS 1024u
#define LINK_WAIT_MS 30000u
#define LINK_POLL_MS 5u

/* What is enough for two ports is shared by more, as long as each can fill its ring and what it keeps in
 * flight. */
unsigned front_pool_frames(const struct front *front)
{
	unsigned count = front->options.mode == FRONT_CIRCULATE ? rte_eth_dev_count_avail() : 2;

	return RTE_MAX(2 * EAL_POOL_FRAMES / RTE_MAX(count, 2u),
		       DESCRIPTORS + 2 * EAL_POOL_CACHE + front->options.window);
}

static int port_start(struct front_port *port, uint16_t id, unsigned pool_frames)
{
	static const struct rte_eth_conf conf;
	struct rte_mempool *pool;
	char name[32];
	int error;

	port->id = id;
	snprintf(name, sizeof(name), "receive-%u", id);
	pool = eal_pool_new_of(pool_frames, name, NULL);
	if (!pool)
		return -ENOMEM;
	error = rte_eth_dev_configure(id, 1, 1, &conf);
	if (!error)
		error = rte_eth_rx_queue_setup(id, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL, pool);
	if (!error)
		error = rte_eth_tx_queue_setup(id, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL);
	if (!error)
		error = rte_eth_dev_start(id);
	if (error)
		fprintf(stderr,
			"port %u does not start: %s; is its vdev given with queue_size=%u, and does a back "
			"end listen?\n",
			id, strerror(-error), DESCRIPTORS);
	return error;
}

static int port_link_wait(const struct front_port *port)
{
	struct rte_eth_link link = { 0 };

	for (unsigned ms = 0; ms < LINK_WAIT_MS; ms += LINK_POLL_MS) {
		if (!rte_eth_link_get_nowait(port->id, &link) && link.link_status == RTE_ETH_LINK_UP)
			return 0;
		usleep(LINK_POLL_MS * 1000);
	}
	fprintf(stderr, "port %u: no link after %u s; is the back end running?\n", port->id,
		LINK_WAIT_MS / 1000);
	return -ETIMEDOUT;
}

int front_ports_open(struct front *front)
{
	bool pair = front->options.mode == FRONT_CIRCULATE || front->options.mode == FRONT_LATENCY;
	unsigned wanted = pair ? 2 : 1, pool_frames = front_pool_frames(front);
	unsigned most = front->options.mode == FRONT_CIRCULATE ? FRONT_PORTS_MAX : wanted;
	uint16_t id;
	int error = 0;

	RTE_ETH_FOREACH_DEV(id)
		if (front->port_count < most && !error)
			error = port_start(&front->ports[front->port_count++], id, pool_frames);
	if (!error && (front->port_count < wanted || (pair && front->port_count % 2))) {
		fprintf(stderr,
			"bench-front: this mode needs %s: --vdev net_virtio_userN,path=..., each with a back "
			"end that listens already\n",
			pair ? "pairs of ports" : "a port");
		error = -ENODEV;
	}
	for (unsigned i = 0; i < front->port_count && !error; i++)
		error = port_link_wait(&front->ports[i]);
	return error;
}

void front_ports_close(struct front *front)
{
	for (unsigned i = 0; i < front->port_count; i++) {
		rte_eth_dev_stop(front->ports[i].id);
		rte_eth_dev_close(front->ports[i].id);
	}
}
