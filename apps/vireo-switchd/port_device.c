/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine's port, or the host's own kernel's: a network device offered at an endpoint. Its transmit queue
 * 2i + 1 is the switch's in queue i, its receive queue 2i the switch's out queue i. What sort of endpoint it is, the door
 * knows.
 *
 * Per queue three facts are kept, in the control thread only:
 *   running    the device has handed the queue out, and not asked for it back
 *   leaving    sw_queue_remove() is under way
 *   stopping   the device waits for vireo_net_queue_quiesced()
 * and queue_settle() brings the switch in line with them whenever one changes. A receive queue that the
 * driver has disabled, or a pair that it does not use, is kept out of the switch, so that no frame is spread
 * to it.
 */
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "port_device.h"
#include "retry.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "vireo/net.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct vm_port;

struct vm_queue {
	struct vm_port *vm;
	unsigned index; /* the device's */
	bool running, leaving, stopping;
};

struct vm_port {
	struct port port;
	const struct device_door *door;
	struct vireo_net *net;
	struct vireo_endpoint *endpoint;
	struct loop_watch *watch;
	unsigned pairs_used;
	struct logger logger; /* what the library says: mostly about the peer, as often as the peer likes */
	struct rate announce_rate;
	struct retry retry; /* of queues that the switch could not take */
	bool lost; /* the endpoint has failed for good */
	bool closing;
	struct vm_queue queues[];
};

/* ---- workers ---- */

static int vm_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct vm_port *vm = opaque;

	return vireo_net_transmit_look(vm->net, queue, frames, max);
}

static void vm_expect(void *opaque, unsigned queue)
{
	struct vm_port *vm = opaque;

	vireo_net_transmit_expect(vm->net, queue);
}

static void vm_release(void *opaque, unsigned queue)
{
	struct vm_port *vm = opaque;

	vireo_net_transmit_complete(vm->net, queue);
}

static int vm_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct vm_port *vm = opaque;

	return vireo_net_receive_deliver(vm->net, queue, frames, count);
}

static void vm_flush(void *opaque, unsigned queue)
{
	struct vm_port *vm = opaque;

	vireo_net_receive_flush(vm->net, queue);
}

static int vm_kick_fd(void *opaque, unsigned queue)
{
	struct vm_port *vm = opaque;

	return vireo_net_kick_fd(vm->net, 2 * queue + 1);
}

static bool vm_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct vm_port *vm = opaque;

	return vireo_net_kick_enable(vm->net, 2 * queue + 1, on);
}

void device_queue_stats(const struct vireo_net *net, unsigned index, struct sw_queue_stats *ret_stats)
{
	struct vireo_net_queue_stats s;

	vireo_net_queue_stats(net, index, &s);
	*ret_stats = (struct sw_queue_stats){
		.frames = s.frames,
		.bytes = s.bytes,
		.no_buffer = s.no_buffer,
		.too_long = s.too_long,
		.offload_refused = s.offload_refused,
		.filtered = s.filtered,
		.disabled = s.disabled,
		.runt = s.runt,
		.bad_offload = s.bad_offload,
	};
}

static void vm_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct vm_port *vm = opaque;

	device_queue_stats(vm->net, 2 * queue + (out ? 0 : 1), ret);
}

const struct sw_port_ops device_port_ops = {
	.peer_memory = true,
	.receive = vm_receive,
	.release = vm_release,
	.deliver = vm_deliver,
	.flush = vm_flush,
	.kick_fd = vm_kick_fd,
	.expect = vm_expect,
	.kick_enable = vm_kick_enable,
	.stats = vm_stats,
};

/* ---- queues come and go ---- */

static void queue_settle(struct vm_queue *q);

static void queue_left(void *opaque)
{
	struct vm_queue *q = opaque;

	q->leaving = false;
	queue_settle(q);
}

static bool queue_wanted(const struct vm_queue *q)
{
	const struct vireo_queue *queue;

	if (!q->running || (q->index & 1)) /* transmit: a disabled queue is still emptied */
		return q->running;
	queue = vireo_device_queue(vireo_net_device(q->vm->net), q->index);
	return queue && vireo_queue_enabled(queue) && q->index / 2 < q->vm->pairs_used;
}

static void queue_settle(struct vm_queue *q)
{
	struct sw_port *sw = q->vm->port.sw;
	bool out = !(q->index & 1), wanted = queue_wanted(q);
	int err;

	if (q->leaving)
		return; /* queue_left() comes back here */
	if (wanted && !sw_queue_present(sw, out, q->index / 2)) {
		err = sw_queue_add(sw, out, q->index / 2);
		if (err)
			retry_later(&q->vm->retry, q->index, err);
	} else if (!wanted && sw_queue_present(sw, out, q->index / 2)) {
		q->leaving = true;
		sw_queue_remove(sw, out, q->index / 2, queue_left, q);
	} else if (q->stopping) {
		q->stopping = false;
		vireo_net_queue_quiesced(q->vm->net, q->index);
	}
}

static void queues_again(void *opaque)
{
	struct vm_port *vm = opaque;

	for (unsigned i = 0; i < 2 * vm->port.spec.queues && !vm->closing; i++)
		queue_settle(&vm->queues[i]);
}

static struct vm_queue *queue_of(struct vm_port *vm, unsigned queue)
{
	return queue < 2 * vm->port.spec.queues ? &vm->queues[queue] : NULL;
}

static void vm_queue_started(void *opaque, unsigned queue)
{
	struct vm_queue *q = queue_of(opaque, queue);

	if (!q)
		return;
	q->running = true;
	queue_settle(q);
}

static void vm_queue_stop(void *opaque, unsigned queue)
{
	struct vm_port *vm = opaque;
	struct vm_queue *q = queue_of(vm, queue);

	if (!q) {
		vireo_net_queue_quiesced(vm->net, queue);
		return;
	}
	q->running = false;
	q->stopping = true;
	queue_settle(q);
}

static void vm_queue_enabled(void *opaque, unsigned queue, bool enabled)
{
	struct vm_queue *q = queue_of(opaque, queue);

	if (q)
		queue_settle(q);
}

static void vm_pairs_set(void *opaque, unsigned pairs)
{
	struct vm_port *vm = opaque;

	vm->pairs_used = pairs;
	queues_again(vm);
}

/* ---- other news from the device ---- */

/* What one peer has said about itself does not hold for the next. */
static void vm_connected(void *opaque, bool connected)
{
	struct vm_port *vm = opaque;

	vm->pairs_used = vm->port.spec.queues;
	if (!vm->port.sw)
		return;
	port_offloads_set(&vm->port, 0);
	port_mtu_set(&vm->port, vm->port.spec.mtu);
	if (!connected)
		sw_fdb_flush(vm->port.ports->sw, vm->port.sw);
}

static void vm_negotiated(void *opaque, uint64_t features)
{
	struct vm_port *vm = opaque;

	port_offloads_set(&vm->port, vireo_net_offloads(vm->net));
	vm_pairs_set(vm, vm->port.spec.queues); /* until it says otherwise on our control queue */
}

/* A RARP request as in RFC 903, whose source address makes every switch learn where the machine is now. */
static void vm_announce(void *opaque, const uint8_t mac[6])
{
	static const uint8_t opening[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
	struct vm_port *vm = opaque;
	uint8_t frame[60] = {0};
	uint32_t left_out;
	int err;

	if (!rate_pass_now(&vm->announce_rate, &left_out))
		return; /* each waits for a worker: no peer may pile up as many as it likes */
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, opening, sizeof(opening));
	memcpy(frame + 22, mac, 6); /* sender */
	memcpy(frame + 32, mac, 6); /* target */
	err = sw_port_inject(vm->port.sw, frame, sizeof(frame));
	if (err)
		log_warning(&vm->port.log, "not announced: %s", strerror(-err));
}

static void vm_mtu_set(void *opaque, uint16_t mtu)
{
	struct vm_port *vm = opaque;

	port_mtu_set(&vm->port, mtu);
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = vm_queue_started,
	.queue_stop = vm_queue_stop,
	.queue_enabled = vm_queue_enabled,
	.connected = vm_connected,
	.negotiated = vm_negotiated,
	.pairs_set = vm_pairs_set,
	.announce = vm_announce,
	.mtu_set = vm_mtu_set,
};

/* ---- making and ending it ---- */

static void vm_readable(void *opaque, uint32_t events)
{
	struct vm_port *vm = opaque;
	int err = vireo_endpoint_dispatch(vm->endpoint);

	if (!err || vm->closing) /* closing, it may be gone by now, port and all */
		return;
	log_error(&vm->port.log, "its %s is lost: %s; remove and add the port", vm->door->what, strerror(-err));
	vm->lost = true;
	loop_remove(&vm->watch);
}

static int vm_watch(struct vm_port *vm)
{
	return loop_add(vm->port.ports->loop, vireo_endpoint_fd(vm->endpoint), EPOLLIN, vm_readable, vm,
			&vm->watch);
}

static int net_open(struct vm_port *vm)
{
	const struct spec *spec = &vm->port.spec;
	struct vireo_net_config config = {
		.size = sizeof(config),
		.pairs = spec->queues,
		.mtu = spec->mtu,
		.set_mac = spec->set_mac && spec->type != SPEC_CUSE, /* vhost's ioctls tell nobody */
		.features_off = spec->ring_features_off,
		.ops = &net_ops,
		.opaque = vm,
		.log = logger_log(&vm->logger, vm->port.ports->log_level),
		.name = spec->name,
		.faults = vm->port.ports->faults,
		.notifier = vm->port.ports->notifier,
		.memory = vm->port.ports->memory,
		.memory_max_bytes = spec->memory_max_bytes,
	};

	vm->logger.rate = &vm->port.log_rate; /* no subject: the library's lines begin with the name */
	vm->logger.rated = spec->name;
	memcpy(config.mac, spec->macs[0], sizeof(config.mac));
	return vireo_net_new(&config, &vm->net);
}

static int endpoint_open(struct vm_port *vm)
{
	const struct spec *spec = &vm->port.spec;
	struct vireo_endpoint_config config = { .size = sizeof(config) };
	char address[SPEC_ADDRESS_BYTES + 16];
	int err;

	vm->door->config(spec, &config);
	snprintf(address, sizeof(address), "%s:%s", spec_type_name(spec->type), spec->address);
	err = vireo_endpoint_open(vireo_net_device(vm->net), address, &config, &vm->endpoint);
	return err ? err : vm_watch(vm);
}

void device_port_free(struct port *port)
{
	struct vm_port *vm = container_of(port, struct vm_port, port);

	retry_fini(&vm->retry);
	vireo_net_free(vm->net);
	free(vm);
}

int device_port_open(const struct port_kind *kind, const struct device_door *door, struct ports *ports,
		     const struct spec *spec, struct port **ret_port, char why[SPEC_WHY_BYTES])
{
	struct vm_port *vm = calloc(1, sizeof(*vm) + 2 * spec->queues * sizeof(vm->queues[0]));
	int err = vm ? 0 : -ENOMEM;

	if (vm) {
		port_init(&vm->port, ports, kind, spec);
		vm->door = door;
		vm->port.in_queues = vm->port.out_queues = vm->pairs_used = spec->queues;
		for (unsigned i = 0; i < 2 * spec->queues; i++)
			vm->queues[i] = (struct vm_queue){.vm = vm, .index = i};
		err = retry_init(&vm->retry, ports->loop, &vm->port.log, queues_again, vm);
	}
	if (!err)
		err = net_open(vm);
	if (!err)
		err = port_join(&vm->port);
	if (!err)
		err = endpoint_open(vm);
	if (!err) {
		*ret_port = &vm->port;
		return 0;
	}
	door->explain(err, spec, why);
	if (vm)
		vireo_endpoint_close(vm->endpoint, NULL, NULL); /* nobody has come yet: it is gone at once */
	if (vm && vm->port.sw)
		port_abandon(&vm->port);
	else if (vm)
		device_port_free(&vm->port);
	return err;
}

static void vm_closed(void *opaque)
{
	struct vm_port *vm = opaque;

	loop_remove(&vm->watch);
	vm->endpoint = NULL;
	port_closed(&vm->port);
}

/* The endpoint is dispatched until it is gone. One that was lost is watched again for that. */
void device_port_close(struct port *port)
{
	struct vm_port *vm = container_of(port, struct vm_port, port);

	vm->closing = true;
	if (!vm->watch && vm_watch(vm))
		log_error(&vm->port.log, "its %s cannot be closed in order", vm->door->what);
	vireo_endpoint_close(vm->endpoint, vm_closed, vm);
}

const char *device_port_state(const struct port *port)
{
	const struct vm_port *vm = (const struct vm_port *)port;
	struct vireo_endpoint_peer peer = {.size = sizeof(peer)};

	if (vm->closing || vm->lost)
		return vm->lost ? "failed" : "closing";
	if (!vireo_endpoint_connected(vm->endpoint))
		return vm->door->waiting(&port->spec);
	return vireo_endpoint_peer(vm->endpoint, &peer) && !peer.started ? "occupied" : "connected";
}

pid_t device_port_peer(const struct port *port)
{
	const struct vm_port *vm = (const struct vm_port *)port;
	struct vireo_endpoint_peer peer = {.size = sizeof(peer)};

	return !vm->closing && !vm->lost && vireo_endpoint_peer(vm->endpoint, &peer) ? peer.process : 0;
}

void device_port_memory_use(const struct port *port, struct vireo_memory_use *ret_use)
{
	const struct vm_port *vm = (const struct vm_port *)port;

	vireo_device_memory_use(vireo_net_device(vm->net), ret_use);
}
