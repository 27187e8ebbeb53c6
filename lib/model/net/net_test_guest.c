/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/net/net_test_guest.h"
#include "base/loop.h"
#include "device/device.h"
#include <stdlib.h>
#include <string.h>

void *guest_alloc(struct guest *g, size_t bytes)
{
	return test_guest_alloc(&g->at, bytes);
}

void guest_start(struct guest *g, const struct guest_config *config)
{
	struct vireo_net_config net = {
		.size = sizeof(net),
		.pairs = config->pairs,
		.mtu = config->mtu,
		.features_off = config->features_off,
		.set_mac = config->mac,
		.ops = config->ops,
		.opaque = g,
		.name = "net0",
	};

	memset(g, 0, sizeof(*g));
	if (config->mac)
		memcpy(net.mac, config->mac, 6);
	assert_int_equal(vireo_net_new(&net, &g->net), 0);
	g->at.queue_size = config->queue_size ? config->queue_size : 256;
	g->at.lazy = config->lazy;
	test_guest_begin(&g->at, vireo_net_device(g->net), config->features, GUEST_MEMORY_BYTES, NULL);
	for (unsigned i = 0; i < g->at.queue_count - config->keeps_control; i++)
		test_guest_set_up(&g->at, i, !config->disabled);
	device_resume(g->at.device);
	assert_false(g->at.broken);
}

void guest_quiesce(struct guest *g)
{
	test_guest_quiesce(&g->at);
	assert_true(g->at.quiet);
}

void guest_resume(struct guest *g)
{
	device_resume(g->at.device);
}

void guest_poll(struct guest *g)
{
	while (loop_dispatch(g->at.loop, 0) > 0)
		;
}

void guest_stop(struct guest *g)
{
	guest_quiesce(g);
	test_guest_detach(&g->at);
	vireo_net_free(g->net);
	test_guest_end(&g->at);
}

void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable,
	       void *cookie)
{
	assert_int_equal(vireo_driver_ring_add(g->at.queues[queue].ring, iov, readable, writable, true, cookie),
			 0);
}

void guest_send(struct guest *g, unsigned queue, const void *data, size_t bytes, const unsigned *cuts,
		unsigned cut_count)
{
	uint8_t *p = guest_alloc(g, bytes ? bytes : 1);
	struct iovec iov[1200];
	unsigned n = 0;

	memcpy(p, data, bytes);
	for (unsigned i = 0; i < cut_count && bytes > cuts[i]; i++) {
		iov[n++] = (struct iovec){.iov_base = p, .iov_len = cuts[i]};
		p += cuts[i];
		bytes -= cuts[i];
	}
	iov[n++] = (struct iovec){.iov_base = p, .iov_len = bytes};
	guest_add(g, queue, iov, n, 0, p);
}

void guest_send_frame(struct guest *g, unsigned pair, const struct virtio_net_header *header,
		      const void *frame, size_t bytes, bool flat)
{
	static const struct virtio_net_header zero;
	const unsigned cut = sizeof(zero);
	uint8_t *data = malloc(sizeof(zero) + bytes);

	memcpy(data, header ? header : &zero, sizeof(zero));
	memcpy(data + sizeof(zero), frame, bytes);
	guest_send(g, 2 * pair + 1, data, sizeof(zero) + bytes, &cut, flat ? 0 : 1);
	free(data);
}

uint8_t *guest_post(struct guest *g, unsigned pair, size_t bytes)
{
	struct iovec iov = {.iov_base = guest_alloc(g, bytes), .iov_len = bytes};

	guest_add(g, 2 * pair, &iov, 0, 1, iov.iov_base);
	return iov.iov_base;
}

void guest_kick(struct guest *g, unsigned queue)
{
	vireo_driver_ring_kick(g->at.queues[queue].ring);
}

int guest_used(struct guest *g, unsigned queue, void **ret_cookie)
{
	return test_guest_used(&g->at, queue, ret_cookie);
}

struct vireo_net_queue_stats guest_stats(struct guest *g, unsigned queue)
{
	struct vireo_net_queue_stats stats = { .size = sizeof(stats) };

	vireo_net_queue_stats(g->net, queue, &stats);
	return stats;
}

void frame_fill(uint8_t *frame, size_t bytes, uint8_t fill)
{
	for (size_t i = 0; i < bytes; i++)
		frame[i] = (uint8_t)(fill + i);
	if (bytes >= 14) {
		frame[0] = 0x52;
		frame[6] = 0x52;
		frame[12] = 0x08;
		frame[13] = 0x00;
	}
}
