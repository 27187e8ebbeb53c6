/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine's port, or the host's own kernel's: network devices offered at an endpoint. What sort of endpoint it is,
 * the row of its kind knows (daemon/endpoint.h); how their queues come into the switch, port_device_queue.c.
 */
#include "port_device.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/endpoint.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "vireo/memory.h"
#include "vireo/net.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define RSS_FEATURES (VIREO_FEATURE(VIREO_NET_F_RSS_BIT) | VIREO_FEATURE(VIREO_NET_F_HASH_REPORT_BIT))

static struct device_port *device_of(const void *first_pair)
{
	return ((const struct device_pair *)first_pair)->device;
}

/* ---- news from a device with all pairs ---- */

static bool receives(struct device_pair *pair)
{
	const struct vireo_queue *queue = vireo_device_queue(vireo_net_device(pair->net), 2 * pair->at);

	return queue && vireo_queue_enabled(queue) && pair->index < pair->device->pairs_used;
}

static void pairs_set(void *opaque, unsigned pairs)
{
	struct device_port *device = device_of(opaque);

	device->pairs_used = pairs;
	port_queues_settle(device);
}

void device_port_connected_set(struct device_port *device, bool is)
{
	struct timespec now = {0};

	if (is)
		clock_gettime(CLOCK_MONOTONIC, &now);
	device->connected_since_s = is && !now.tv_sec ? 1 : now.tv_sec; /* 0 is nobody's, as early as the machine may be */
}

/* What one peer has said about itself does not hold for the next. */
static void connected(void *opaque, bool is)
{
	struct device_port *device = device_of(opaque);

	device_port_connected_set(device, is);
	device->pairs_used = device->port.spec.queues;
	if (!device->port.sw)
		return;
	port_offloads_set(&device->port, 0);
	port_mtu_of_peer(&device->port, 0);
	sw_port_signals_set(device->port.sw, false);
	device->signals_held = false;
	if (!is)
		sw_fdb_flush(device->port.ports->sw, device->port.sw);
}

void port_offloads_settle(struct device_port *device)
{
	unsigned offloads = ~0u;

	for (unsigned i = 0; i < device->port.spec.queues; i++)
		if (device->pairs[i].taken)
			offloads &= vireo_net_offloads(device->pairs[i].net);
	port_offloads_set(&device->port, offloads);
}

static void negotiated(void *opaque, uint64_t features)
{
	struct device_port *device = device_of(opaque);

	port_offloads_settle(device);
	pairs_set(opaque, device->port.spec.queues); /* until it says otherwise on our control queue */
}

/* A RARP request as in RFC 903, whose source address makes every switch learn where the machine is now. */
static void announce(void *opaque, const uint8_t mac[6])
{
	static const uint8_t opening[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
	struct device_port *device = device_of(opaque);
	uint8_t frame[60] = {0};
	uint32_t left_out;
	int err;

	if (!rate_pass_now(&device->announce_rate, &left_out))
		return; /* each waits for a worker: no peer may pile up as many as it likes */
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, opening, sizeof(opening));
	memcpy(frame + 22, mac, 6); /* sender */
	memcpy(frame + 32, mac, 6); /* target */
	err = sw_port_inject(device->port.sw, frame, sizeof(frame));
	if (err)
		log_warning(&device->port.log, "not announced: %s", strerror(-err));
}

static void mtu_set(void *opaque, uint16_t mtu)
{
	port_mtu_of_peer(&device_of(opaque)->port, mtu);
}

/* A worker that looks at its memory would sleep there: it gets a thread of its own. */
static int postcopy(void *opaque, bool on)
{
	struct device_port *device = device_of(opaque);

	return device->port.sw ? sw_port_slow_set(device->port.sw, on) : 0;
}

static void steering_set(void *opaque, bool on)
{
	struct device_port *device = device_of(opaque);

	if (device->port.sw)
		sw_port_steered_set(device->port.sw, on);
}

static void offloads_set(void *opaque)
{
	port_offloads_settle(device_of(opaque));
}

/* Once said it holds until the driver goes: a worker that is at it may have seen the limits of before. */
static void signals_set(void *opaque, bool held)
{
	struct device_port *device = device_of(opaque);

	if (device->port.sw && (held || device->signals_held))
		sw_port_signals_set(device->port.sw, true);
	device->signals_held |= held;
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = port_queue_started,
	.queue_stop = port_queue_stop,
	.queue_ended = port_queue_ended,
	.queue_renew = port_queue_renew,
	.queue_enabled = port_queue_enabled,
	.connected = connected,
	.negotiated = negotiated,
	.pairs_set = pairs_set,
	.announce = announce,
	.mtu_set = mtu_set,
	.postcopy = postcopy,
	.steering_set = steering_set,
	.offloads_set = offloads_set,
	.signals_set = signals_set,
};

static const struct device_sort one_device = {
	.bytes = sizeof(struct device_port),
	.ops = &net_ops,
	.receives = receives,
	.awaits = receives,
};

/* ---- making and ending it ---- */

static void queues_again(void *opaque)
{
	port_queues_settle(opaque);
}

static void readable(void *opaque, uint32_t events)
{
	struct device_port *device = opaque;
	int err = vireo_endpoint_dispatch(device->endpoint);

	if (!err || device->closing) /* closing, it may be gone by now, port and all */
		return;
	log_error(&device->port.log, "its %s is lost: %s; remove and add the port",
		  device->port.kind->spec.endpoint->what, strerror(-err));
	device->lost = true;
	loop_remove(&device->watch);
}

static int watch(struct device_port *device)
{
	return loop_add(device->port.ports->loop, vireo_endpoint_fd(device->endpoint), EPOLLIN, readable, device,
			&device->watch);
}

/* The device of `pairs` pairs from `first` on. */
static int net_open(struct device_pair *first, unsigned pairs)
{
	const struct device_port *device = first->device;
	const struct port_spec *spec = &device->port.spec;
	char name[SPEC_NAME_BYTES + 16];
	struct vireo_net_config config = {
		.size = sizeof(config),
		.pairs = pairs,
		.mtu = spec->mtu,
		.set_mac = spec->set_mac && !device->sort->device_each, /* vhost's ioctls tell nobody */
		.features_off = device->sort->features_off | spec->at.endpoint.ring_features_off | (spec->rss_off ? RSS_FEATURES : 0),
		.ops = device->sort->ops,
		.opaque = first,
		.log = logger_log(&first->device->logger),
		.name = name,
		.faults = device->port.ports->faults,
		.notifier = device->port.ports->notifier,
		.memory = device->port.ports->memory,
		.memory_max_bytes = spec->at.endpoint.memory_max_bytes,
	};
	int err;

	if (device->sort->device_each)
		snprintf(name, sizeof(name), "%s: pair %u", spec->at.name, first->index);
	else
		snprintf(name, sizeof(name), "%s", spec->at.name);
	if (config.set_mac)
		memcpy(config.mac, spec->macs[0], sizeof(config.mac));
	err = vireo_net_new(&config, &first->net);
	for (unsigned i = 0; !err && i < pairs; i++) {
		first[i].net = first->net;
		first[i].at = i;
		first[i].taken = !device->sort->device_each;
	}
	return err;
}

void device_port_retry_set(struct port *port, bool on)
{
	struct device_port *device = container_of(port, struct device_port, port);

	for (unsigned i = 0; i < port->spec.queues; i++)
		vireo_net_receive_keep(device->pairs[i].net, on);
}

/* How many pairs a device has. */
static unsigned net_pairs(const struct device_port *device)
{
	return device->sort->device_each ? 1 : device->port.spec.queues;
}

static int device_endpoint_open(struct device_port *device, char *why)
{
	const struct spec *spec = &device->port.spec.at;
	struct vireo_endpoint_config config;
	int err;

	endpoint_config(spec, &config);
	config.vhost_user.handover = config.cuse.handover = device->port.kind->hold != NULL;
	config.state = device->port.ports->state;
	if (device->sort->config)
		device->sort->config(device, &config);
	err = endpoint_open(spec, device->sort->config ? NULL : vireo_net_device(device->pairs[0].net), &config,
			    &device->endpoint, why);
	if (err)
		return err;
	err = watch(device);
	if (err)
		spec->kind->endpoint->explain(err, spec, why);
	return err;
}

static int device_start(struct device_port *device, char *why)
{
	const struct spec *spec = &device->port.spec.at;
	int err = retry_init(&device->retry, device->port.ports->loop, &device->port.log, queues_again, device);

	if (!err && device->sort->init)
		err = device->sort->init(device);
	for (unsigned i = 0; !err && i < device->port.spec.queues; i += net_pairs(device))
		err = net_open(&device->pairs[i], net_pairs(device));
	if (!err) {
		device_port_retry_set(&device->port, device->port.spec.retry.looks);
		device_port_speed_set(&device->port);
	}
	if (!err)
		err = port_join(&device->port);
	if (!err)
		return device_endpoint_open(device, why);
	spec->kind->endpoint->explain(err, spec, why);
	return err;
}

static struct device_port *device_new(const struct device_sort *sort, struct ports *ports, const struct port_spec *spec)
{
	struct device_port *device = calloc(1, sort->bytes);
	struct device_pair *pairs = calloc(spec->queues, sizeof(*pairs));

	if (!device || !pairs) {
		free(device);
		free(pairs);
		return NULL;
	}
	port_init(&device->port, ports, port_kind_of(&spec->at), spec);
	device->port.in_queues = device->port.out_queues = device->pairs_used = spec->queues;
	device->sort = sort;
	device->logger.rate = &device->port.log_rate; /* no subject: the library's lines begin with the name */
	device->logger.rated = device->port.spec.at.name;
	device->pairs = pairs;
	for (unsigned i = 0; i < spec->queues; i++) {
		pairs[i] = (struct device_pair){.device = device, .index = i};
		pairs[i].queues[0] = (struct device_queue){.pair = &pairs[i], .out = true};
		pairs[i].queues[1] = (struct device_queue){.pair = &pairs[i]};
	}
	return device;
}

void device_port_free(struct port *port)
{
	struct device_port *device = container_of(port, struct device_port, port);

	for (unsigned i = 0; i < port->spec.queues; i += net_pairs(device))
		vireo_net_free(device->pairs[i].net);
	retry_fini(&device->retry);
	if (device->sort->fini)
		device->sort->fini(device);
	free(device->pairs);
	free(device);
}

int device_port_open_as(const struct device_sort *sort, struct ports *ports, const struct port_spec *spec,
			struct port **ret_port, char why[SPEC_WHY_BYTES])
{
	struct device_port *device = device_new(sort, ports, spec);
	int err;

	if (!device) {
		spec->at.kind->endpoint->explain(-ENOMEM, &spec->at, why);
		return -ENOMEM;
	}
	err = device_start(device, why);
	if (err)
		vireo_endpoint_close(device->endpoint, NULL, NULL); /* nobody has come yet: it is gone at once */
	return port_opened(&device->port, err, ret_port);
}

int device_port_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char why[SPEC_WHY_BYTES])
{
	return device_port_open_as(&one_device, ports, spec, ret_port, why);
}

static void closed(void *opaque)
{
	struct device_port *device = opaque;

	loop_remove(&device->watch);
	device->endpoint = NULL;
	port_closed(&device->port);
}

/* The endpoint is dispatched until it is gone. One that was lost is watched again for that. */
void device_port_close(struct port *port)
{
	struct device_port *device = container_of(port, struct device_port, port);

	device->closing = true;
	if (!device->watch && watch(device))
		log_error(&device->port.log, "its %s cannot be closed in order", port->kind->spec.endpoint->what);
	vireo_endpoint_close(device->endpoint, closed, device);
}

/* ---- to another process ---- */

void device_port_silence(struct port *port, void (*silenced)(void *port))
{
	port_silence(container_of(port, struct device_port, port), silenced);
}

int device_port_hold(struct port *port, void (*held)(void *opaque, int err), void *opaque)
{
	return vireo_endpoint_hold(container_of(port, struct device_port, port)->endpoint, held, opaque);
}

int device_port_export(struct port *port, struct vireo_endpoint_state *ret_state)
{
	return vireo_endpoint_export(container_of(port, struct device_port, port)->endpoint, ret_state);
}

void device_port_go_on(struct port *port)
{
	struct device_port *device = container_of(port, struct device_port, port);

	vireo_endpoint_go_on(device->endpoint);
	port_silence(device, NULL);
}

/* ---- what is told of it ---- */

const char *device_port_end_state(const struct port *port)
{
	const struct device_port *device = (const struct device_port *)port;

	if (!device->closing && !device->lost)
		return NULL;
	return device->lost ? "failed" : "closing";
}

const char *device_port_state(const struct port *port)
{
	const struct device_port *device = (const struct device_port *)port;
	struct vireo_endpoint_peer peer = {.size = sizeof(peer)};
	const char *end = device_port_end_state(port);

	if (end)
		return end;
	if (!vireo_endpoint_connected(device->endpoint))
		return port->kind->spec.endpoint->waiting(&port->spec.at);
	return vireo_endpoint_peer(device->endpoint, &peer) && !peer.started ? "occupied" : "connected";
}

pid_t device_port_peer(const struct port *port)
{
	const struct device_port *device = (const struct device_port *)port;
	struct vireo_endpoint_peer peer = {.size = sizeof(peer)};

	return !device_port_end_state(port) && vireo_endpoint_peer(device->endpoint, &peer) ? peer.process : 0;
}

/* Each device has a table and a limit of its own. */
void device_port_memory_max_set(struct port *port)
{
	const struct device_port *device = (const struct device_port *)port;

	for (unsigned i = 0; i < port->spec.queues; i += net_pairs(device))
		vireo_device_memory_max_set(vireo_net_device(device->pairs[i].net), port->spec.at.endpoint.memory_max_bytes);
}

void device_port_hello_set(struct port *port)
{
	const struct device_port *device = (const struct device_port *)port;

	if (!device_port_end_state(port) && !port->spec.at.endpoint.client)
		vireo_endpoint_hello_set(device->endpoint, port->spec.at.endpoint.hello_ms);
}

void device_port_memory_use(const struct port *port, struct vireo_memory_use *ret_use)
{
	const struct device_port *device = (const struct device_port *)port;
	struct vireo_memory_use use;

	vireo_device_memory_use(vireo_net_device(device->pairs[0].net), ret_use);
	for (unsigned i = net_pairs(device); i < port->spec.queues; i += net_pairs(device)) {
		vireo_device_memory_use(vireo_net_device(device->pairs[i].net), &use);
		ret_use->mapped_bytes += use.mapped_bytes;
		ret_use->mappings += use.mappings;
		ret_use->made_bytes += use.made_bytes;
	}
}
