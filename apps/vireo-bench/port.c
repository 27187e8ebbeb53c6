/* SPDX-License-Identifier: BSD-3-Clause */
#include "port.h"
#include "frame.h"
#include "base/util.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUFFER_ALIGN 64u

static uint32_t aligned(uint32_t bytes)
{
	return (bytes + BUFFER_ALIGN - 1) & ~(BUFFER_ALIGN - 1);
}

/* The first error stays. Read by other threads. */
static void port_fail(struct port *port, int error)
{
	if (!port->error)
		__atomic_store_n(&port->error, error, __ATOMIC_RELAXED);
}

static uint64_t features_required(const struct options *o)
{
	return VIREO_FEATURE(VIREO_F_VERSION_1_BIT) |
	       (o->packed ? VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) : 0) |
	       (o->in_order ? VIREO_FEATURE(VIREO_F_IN_ORDER_BIT) : 0) |
	       (o->indirect ? VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) : 0) |
	       (o->queues > 1 ? VIREO_FEATURE(VIREO_NET_F_MQ_BIT) : 0);
}

static uint64_t features_wanted(const struct options *o)
{
	return VIREO_FEATURE(VIREO_NET_F_MAC_BIT) | VIREO_FEATURE(VIREO_NET_F_MTU_BIT) |
	       (o->mergeable ? VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT) : 0) |
	       (o->event_idx ? VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) : 0);
}

/*
 * The MAC address that the device has, or one of our own (locally administered): a front end of a virtual
 * machine chooses it too.
 */
static int identity_read(struct port *port)
{
	struct virtio_net_config_space config;
	uint64_t features = device_features(&port->device);
	int ret;

	if (getrandom(port->mac, sizeof(port->mac), 0) != sizeof(port->mac))
		return -errno;
	port->mac[0] = 0x02;
	if (features & VIREO_FEATURE(VIREO_NET_F_MAC_BIT)) {
		ret = device_config_read(&port->device, 0, config.mac, sizeof(config.mac));
		if (ret && ret != -ENOTSUP && ret != -EINVAL)
			return ret;
		if (!ret && !(config.mac[0] & 1))
			memcpy(port->mac, config.mac, sizeof(port->mac));
	}
	if (features & VIREO_FEATURE(VIREO_NET_F_MTU_BIT)) {
		uint16_t mtu;

		ret = device_config_read(&port->device, offsetof(struct virtio_net_config_space, mtu), &mtu,
					 sizeof(mtu));
		if (!ret)
			port->mtu = le16(mtu);
		else if (ret != -ENOTSUP && ret != -EINVAL)
			return ret;
	}
	return 0;
}

static void buffer_offer(struct port *port, struct port_pair *pair, void *buffer)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = port->rx_buffer_bytes };
	int ret = vireo_driver_ring_add(pair->rx, &iov, 0, 1, false, buffer);

	if (ret)
		port_fail(port, ret);
}

static int pair_new(struct port *port, unsigned index)
{
	struct port_pair *pair = &port->pairs[index];

	pair->rx = device_ring(&port->device, 2 * index);
	pair->tx = device_ring(&port->device, 2 * index + 1);
	pair->rx_buffers = device_memory(&port->device, 2 * index);
	pair->tx_slots = device_memory(&port->device, 2 * index + 1);
	/* Touched here, so that no page fault is measured later. */
	memset(pair->rx_buffers, 0, (size_t)port->ring_size * port->rx_buffer_bytes);
	memset(pair->tx_slots, 0, (size_t)port->ring_size * port->tx_slot_bytes);
	pair->tx_free = calloc(port->ring_size, sizeof(*pair->tx_free));
	pair->pieces = calloc(port->ring_size, sizeof(*pair->pieces));
	pair->cookies = calloc(port->ring_size, sizeof(*pair->cookies));
	if (!pair->tx_free || !pair->pieces || !pair->cookies)
		return -ENOMEM;
	for (unsigned i = 0; i < port->ring_size; i++) {
		pair->tx_free[pair->tx_free_count++] = (uint16_t)(port->ring_size - 1 - i);
		buffer_offer(port, pair, pair->rx_buffers + (size_t)i * port->rx_buffer_bytes);
	}
	vireo_driver_ring_signal_enable(pair->rx, false);
	vireo_driver_ring_signal_enable(pair->tx, false);
	vireo_driver_ring_kick(pair->rx);
	return port->error;
}

static int pairs_new(struct port *port)
{
	int ret = 0;

	port->pairs = calloc(port->pair_count, sizeof(*port->pairs));
	if (!port->pairs)
		return -ENOMEM;
	for (unsigned i = 0; i < port->pair_count && !ret; i++)
		ret = pair_new(port, i);
	return ret;
}

static int virtio_open(const struct options *o, const char *path, uint32_t frame_bytes_max,
		       const struct vireo_log *log, struct port *ret_port)
{
	struct port port = {
		.path = path,
		.indirect = o->indirect,
		.pair_count = o->queues,
		.pieces = o->pieces,
		.tx_slot_bytes = aligned(NET_HDR_BYTES + frame_bytes_max),
		.rx_buffer_bytes = o->mergeable ? 2048 : aligned(NET_HDR_BYTES + frame_bytes_max),
	};
	struct device_config config = {
		.path = path,
		.server = o->server,
		.timeout_ms = o->timeout_ms,
		.features = features_wanted(o),
		.features_required = features_required(o),
		.pairs = o->queues,
		.ring_size = o->ring_size,
		.tx_bytes = port.tx_slot_bytes,
		.log = log,
	};
	int ret;

	if (o->buffer_bytes)
		port.rx_buffer_bytes = o->buffer_bytes;
	config.rx_bytes = port.rx_buffer_bytes;
	ret = device_open(&config, &port.device);
	if (ret)
		return ret;
	port.ring_size = port.device.ring_size;
	port.mergeable = device_features(&port.device) & VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT);
	ret = identity_read(&port);
	if (!ret)
		ret = pairs_new(&port);
	if (ret)
		port_close(&port);
	else
		*ret_port = port;
	return ret;
}

/* One stream, at an address of its own. */
static int interface_open(const struct options *o, const char *path, uint32_t frame_bytes_max, struct port *ret_port)
{
	struct port port = { .path = path, .pair_count = 1, .ring_size = o->ring_size };
	int ret;

	if (o->queues > 1)
		return -ENOTSUP;
	if (getrandom(port.mac, sizeof(port.mac), 0) != sizeof(port.mac))
		return -errno;
	port.mac[0] = 0x02;
	ret = wire_open(path, o->ring_size, frame_bytes_max, &port.wire);
	if (!ret)
		*ret_port = port;
	return ret;
}

int port_open(const struct options *o, const char *path, uint32_t frame_bytes_max,
	      const struct vireo_log *log, struct port *ret_port)
{
	return wire_path(path) ? interface_open(o, path, frame_bytes_max, ret_port)
			       : virtio_open(o, path, frame_bytes_max, log, ret_port);
}

void port_close(struct port *port)
{
	wire_close(port->wire);
	for (unsigned i = 0; port->pairs && i < port->pair_count; i++) {
		free(port->pairs[i].tx_free);
		free(port->pairs[i].pieces);
		free(port->pairs[i].cookies);
	}
	free(port->pairs);
	device_close(&port->device);
	*port = (struct port){ 0 };
}

void port_reclaim(struct port *port, unsigned pair)
{
	struct port_pair *p;
	uint32_t len_bytes;
	void *cookie;
	int ret;

	if (port->wire)
		return;
	p = &port->pairs[pair];
	while ((ret = vireo_driver_ring_get(p->tx, &cookie, &len_bytes)) > 0) {
		p->tx_free[p->tx_free_count++] = (uint16_t)((uintptr_t)cookie - 1);
		counter_add(&port->stats.tx_done, 1);
	}
	if (ret < 0)
		port_fail(port, ret);
}

uint8_t *port_slot(struct port *port, unsigned pair)
{
	unsigned span = port->indirect ? 1 : port->pieces;
	struct port_pair *p;

	if (port->wire)
		return wire_slot(port->wire);
	p = &port->pairs[pair];
	if (!p->tx_free_count || vireo_driver_ring_free(p->tx) < span) {
		port_reclaim(port, pair);
		if (!p->tx_free_count || vireo_driver_ring_free(p->tx) < span)
			return NULL;
	}
	return p->tx_slots + (size_t)p->tx_free[p->tx_free_count - 1] * port->tx_slot_bytes + NET_HDR_BYTES;
}

/* One piece: header and frame. More: the header by itself, the frame in nearly equal parts. */
static unsigned slot_cut(const struct port *port, uint8_t *slot, uint32_t frame_bytes, struct iovec *pieces)
{
	uint32_t parts = port->pieces - 1, done = 0;

	if (!parts) {
		pieces[0] = (struct iovec){ .iov_base = slot, .iov_len = NET_HDR_BYTES + frame_bytes };
		return 1;
	}
	pieces[0] = (struct iovec){ .iov_base = slot, .iov_len = NET_HDR_BYTES };
	for (uint32_t i = 1; i <= parts; i++) {
		uint32_t end = (uint32_t)((uint64_t)frame_bytes * i / parts);

		pieces[i] = (struct iovec){ .iov_base = slot + NET_HDR_BYTES + done, .iov_len = end - done };
		done = end;
	}
	return port->pieces;
}

static int ring_send(struct port *port, unsigned pair, uint32_t frame_bytes)
{
	struct port_pair *p = &port->pairs[pair];
	uint16_t slot = p->tx_free[--p->tx_free_count];
	uint8_t *at = p->tx_slots + (size_t)slot * port->tx_slot_bytes;
	struct iovec pieces[PIECES_MAX];
	unsigned count = slot_cut(port, at, frame_bytes, pieces);

	/* The virtio-net header stays all zero (5.1.6.2.1): it is never written after start. */
	return vireo_driver_ring_add(p->tx, pieces, count, 0, port->indirect, (void *)((uintptr_t)slot + 1));
}

void port_send(struct port *port, unsigned pair, uint32_t frame_bytes)
{
	int ret = 0;

	if (port->wire)
		wire_send(port->wire, frame_bytes);
	else
		ret = ring_send(port, pair, frame_bytes);
	if (ret) {
		port_fail(port, ret);
		return;
	}
	counter_add(&port->stats.tx_frames, 1);
	counter_add(&port->stats.tx_bytes, frame_bytes);
	if (port->wire)
		counter_add(&port->stats.tx_done, 1);
}

static void interface_flush(struct port *port)
{
	int ret = wire_flush(port->wire);

	if (ret)
		port_fail(port, ret);
}

void port_flush(struct port *port, unsigned pair)
{
	if (port->wire)
		interface_flush(port);
	else if (vireo_driver_ring_kick(port->pairs[pair].tx))
		counter_add(&port->stats.kicks, 1);
}

unsigned port_pending(const struct port *port)
{
	return (unsigned)(counter_read(&port->stats.tx_frames) - counter_read(&port->stats.tx_done));
}

static void header_count(struct port *port, const struct virtio_net_header *header)
{
	enum header_verdict verdict = header_judge(header, port->mergeable);

	if (verdict == HEADER_ZERO_COUNT)
		counter_add(&port->stats.zero_buffer_counts, 1);
	else if (verdict == HEADER_BAD)
		counter_add(&port->stats.header_violations, 1);
}

/*
 * Gathers the rest of a frame: with MRG_RXBUF all its buffers are used together, and all but the last are
 * full (5.1.6.4). Returns the pieces, or 0: they are not; either way *ret_taken buffers have been taken.
 */
static unsigned frame_gather(struct port *port, struct port_pair *p, unsigned buffers, uint32_t first_bytes,
			     unsigned *ret_taken)
{
	uint32_t bytes = first_bytes;
	bool full = buffers >= 1;

	*ret_taken = 1;
	p->pieces[0] = (struct iovec){ .iov_base = (uint8_t *)p->cookies[0] + NET_HDR_BYTES,
				       .iov_len = first_bytes - NET_HDR_BYTES };
	for (unsigned i = 1; i < buffers && i < port->ring_size; i++) {
		full &= bytes == port->rx_buffer_bytes;
		if (vireo_driver_ring_get(p->rx, &p->cookies[i], &bytes) <= 0)
			return 0;
		++*ret_taken;
		p->pieces[i] = (struct iovec){ .iov_base = p->cookies[i], .iov_len = bytes };
		full &= bytes != 0;
	}
	return full && buffers == *ret_taken ? buffers : 0;
}

/* One frame whose first buffer is in cookies[0]. Returns the buffers that it took. */
static unsigned frame_take(struct port *port, struct port_pair *p, uint32_t first_bytes, port_frame_fn *fn,
			   void *opaque)
{
	struct virtio_net_header header;
	unsigned taken = 1, count = 0;
	uint32_t bytes = 0;

	if (first_bytes >= NET_HDR_BYTES) {
		memcpy(&header, p->cookies[0], sizeof(header));
		header_count(port, &header);
		count = frame_gather(port, p, port->mergeable ? le16(header.num_buffers) : 1, first_bytes,
				     &taken);
	}
	if (!count) {
		counter_add(&port->stats.framing_errors, 1);
		return taken;
	}
	for (unsigned i = 0; i < count; i++)
		bytes += (uint32_t)p->pieces[i].iov_len;
	counter_add(&port->stats.rx_frames, 1);
	counter_add(&port->stats.rx_bytes, bytes);
	fn(opaque, p->pieces, count, bytes);
	return taken;
}

static unsigned interface_receive(struct port *port, unsigned max, port_frame_fn *fn, void *opaque)
{
	const struct iovec *frames;
	int count = wire_receive(port->wire, max, &frames);

	if (count < 0)
		port_fail(port, count);
	for (int i = 0; i < count; i++) {
		counter_add(&port->stats.rx_frames, 1);
		counter_add(&port->stats.rx_bytes, frames[i].iov_len);
		fn(opaque, &frames[i], 1, (uint32_t)frames[i].iov_len);
	}
	return count < 0 ? 0 : (unsigned)count;
}

static unsigned rings_receive(struct port *port, unsigned pair, unsigned max, port_frame_fn *fn, void *opaque)
{
	struct port_pair *p = &port->pairs[pair];
	unsigned frames;

	for (frames = 0; frames < max; frames++) {
		uint32_t bytes;
		unsigned taken;
		int ret = vireo_driver_ring_get(p->rx, &p->cookies[0], &bytes);

		if (ret < 0)
			port_fail(port, ret);
		if (ret <= 0)
			break;
		taken = frame_take(port, p, bytes, fn, opaque);
		for (unsigned i = 0; i < taken; i++)
			buffer_offer(port, p, p->cookies[i]);
	}
	if (frames && vireo_driver_ring_kick(p->rx))
		counter_add(&port->stats.kicks, 1);
	return frames;
}

unsigned port_receive(struct port *port, unsigned pair, unsigned max, port_frame_fn *fn, void *opaque)
{
	return port->wire ? interface_receive(port, max, fn, opaque) : rings_receive(port, pair, max, fn, opaque);
}

int port_call_fd(const struct port *port, unsigned pair, bool receive)
{
	if (port->wire)
		return receive ? wire_fd(port->wire) : -1;
	return vireo_driver_ring_call_fd(receive ? port->pairs[pair].rx : port->pairs[pair].tx);
}

bool port_signals(struct port *port, bool receive, bool on)
{
	bool there = false;

	if (port->wire)
		return false;
	for (unsigned i = 0; i < port->pair_count; i++)
		there |= vireo_driver_ring_signal_enable(receive ? port->pairs[i].rx : port->pairs[i].tx, on);
	return there;
}
