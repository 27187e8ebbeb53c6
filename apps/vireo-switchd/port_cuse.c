/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A character device /dev/NAME that speaks the kernel's vhost ioctls, as a port. Each open of it is a pair of queues:
 * a network device of one pair, which is kept for the port's life and handed to one opener after the other. All
 * openers at a time are of one process (a virtual machine): a node is one port, and another process gets EBUSY
 * until the first has closed the node. Pair i's transmit queue is the switch's in queue i, its receive queue the out
 * queue i.
 *
 * Per queue the same three facts are kept as in port_vhost_user.c, and queue_settle() brings the switch in line with
 * them.
 *
 * Nobody tells us how many pairs the guest uses: with the kernel's vhost the tap knows, and keeps frames away from the
 * others. So the receive queue of a pair beyond the first is kept out of the switch until the guest has put a
 * buffer there, which drivers do as soon as they use the pair.
 */
#include "aside.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "port_device.h"
#include "retry.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "vireo/memory.h"
#include "vireo/net.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LOOK_MS 100u /* for the first buffer of a pair */

struct cuse_port;

struct cuse_queue {
	struct cuse_pair *pair;
	bool out; /* receive */
	bool running, leaving, stopping;
};

struct cuse_pair {
	struct cuse_port *cuse;
	unsigned index;
	struct vireo_net *net;
	bool taken; /* an opener has it */
	bool used; /* the guest has put a buffer into the receive queue since that started */
	struct cuse_queue queues[2]; /* as the device has them: receive, transmit */
};

struct cuse_port {
	struct port port;
	struct vireo_endpoint *endpoint;
	struct loop_watch *watch;
	struct loop_timer *look;
	pid_t process; /* whose pairs these are; 0: nobody's */
	struct logger logger;
	struct retry retry; /* of queues that the switch could not take */
	bool lost, closing;
	struct cuse_pair pairs[];
};

/* ---- workers ---- */

static struct vireo_net *net_of(void *opaque, unsigned queue)
{
	struct cuse_port *cuse = opaque;

	return cuse->pairs[queue].net;
}

static int cuse_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	return vireo_net_transmit_look(net_of(opaque, queue), 0, frames, max);
}

static void cuse_expect(void *opaque, unsigned queue)
{
	vireo_net_transmit_expect(net_of(opaque, queue), 0);
}

static void cuse_release(void *opaque, unsigned queue)
{
	vireo_net_transmit_complete(net_of(opaque, queue), 0);
}

static int cuse_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	return vireo_net_receive_deliver(net_of(opaque, queue), 0, frames, count);
}

static void cuse_flush(void *opaque, unsigned queue)
{
	vireo_net_receive_flush(net_of(opaque, queue), 0);
}

static int cuse_kick_fd(void *opaque, unsigned queue)
{
	return vireo_net_kick_fd(net_of(opaque, queue), 1);
}

static bool cuse_kick_enable(void *opaque, unsigned queue, bool on)
{
	return vireo_net_kick_enable(net_of(opaque, queue), 1, on);
}

static void cuse_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	device_queue_stats(net_of(opaque, queue), out ? 0 : 1, ret);
}

static const struct sw_port_ops cuse_ops = {
	.peer_memory = true,
	.receive = cuse_receive,
	.release = cuse_release,
	.deliver = cuse_deliver,
	.flush = cuse_flush,
	.kick_fd = cuse_kick_fd,
	.expect = cuse_expect,
	.kick_enable = cuse_kick_enable,
	.stats = cuse_stats,
};

/* ---- queues come and go ---- */

static void queue_settle(struct cuse_queue *q);

static void queue_left(void *opaque)
{
	struct cuse_queue *q = opaque;

	q->leaving = false;
	queue_settle(q);
}

/* As long as the queue is not the switch's, it is nobody's but ours, and we may look into it. */
static bool pair_used(struct cuse_pair *pair)
{
	struct vireo_queue *queue = vireo_device_queue(vireo_net_device(pair->net), 0);

	pair->used = pair->used || !pair->index || vireo_queue_available(queue);
	if (!pair->used)
		loop_timer_start(pair->cuse->look, LOOK_MS);
	return pair->used;
}

static void queue_settle(struct cuse_queue *q)
{
	struct cuse_port *cuse = q->pair->cuse;
	struct sw_port *sw = cuse->port.sw;
	unsigned index = q->pair->index;
	bool present = sw_queue_present(sw, q->out, index);
	int err;

	if (q->leaving)
		return; /* queue_left() comes back here */
	if (q->running && !present && (!q->out || pair_used(q->pair))) {
		err = sw_queue_add(sw, q->out, index);
		if (err)
			retry_later(&cuse->retry, 2 * index + !q->out, err);
	} else if (!q->running && present) {
		q->leaving = true;
		sw_queue_remove(sw, q->out, index, queue_left, q);
	} else if (q->stopping) {
		q->stopping = false;
		vireo_net_queue_quiesced(q->pair->net, q->out ? 0 : 1);
	}
}

static void look_again(void *opaque)
{
	struct cuse_port *cuse = opaque;

	for (unsigned i = 0; i < cuse->port.spec.queues; i++)
		if (cuse->pairs[i].queues[0].running)
			queue_settle(&cuse->pairs[i].queues[0]);
}

static void queues_again(void *opaque)
{
	struct cuse_port *cuse = opaque;

	for (unsigned i = 0; i < 2 * cuse->port.spec.queues && !cuse->closing; i++)
		queue_settle(&cuse->pairs[i / 2].queues[i % 2]);
}

static void cuse_queue_started(void *opaque, unsigned queue)
{
	struct cuse_pair *pair = opaque;

	pair->queues[queue].running = true;
	if (!queue)
		pair->used = false;
	queue_settle(&pair->queues[queue]);
}

static void cuse_queue_stop(void *opaque, unsigned queue)
{
	struct cuse_pair *pair = opaque;

	pair->queues[queue].running = false;
	pair->queues[queue].stopping = true;
	queue_settle(&pair->queues[queue]);
}

/* Frames may take any pair: what one of them does not take, the port does not. */
static void cuse_negotiated(void *opaque, uint64_t features)
{
	struct cuse_port *cuse = ((struct cuse_pair *)opaque)->cuse;
	unsigned offloads = ~0u;

	for (unsigned i = 0; i < cuse->port.spec.queues; i++)
		if (cuse->pairs[i].taken)
			offloads &= vireo_net_offloads(cuse->pairs[i].net);
	port_offloads_set(&cuse->port, offloads);
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = cuse_queue_started,
	.queue_stop = cuse_queue_stop,
	.negotiated = cuse_negotiated,
};

/* ---- openers ---- */

static struct cuse_pair *pair_free(struct cuse_port *cuse)
{
	for (unsigned i = 0; i < cuse->port.spec.queues; i++)
		if (!cuse->pairs[i].taken)
			return &cuse->pairs[i];
	return NULL;
}

static int opener_new(void *opaque, const struct vireo_endpoint_opener *opener, struct vireo_device **ret_device)
{
	struct cuse_port *cuse = opaque;
	struct cuse_pair *pair = pair_free(cuse);

	if (cuse->process && cuse->process != opener->process) {
		log_warning(&cuse->port.peer_log, "process %d is refused: the port is process %d's", (int)opener->process,
			    (int)cuse->process);
		return -EBUSY;
	}
	if (!pair) {
		log_warning(&cuse->port.peer_log, "process %d has opened the node %u times already: its queues= is %u",
			    (int)opener->process, cuse->port.spec.queues, cuse->port.spec.queues);
		return -EBUSY;
	}
	log_info(&cuse->port.peer_log, "pair %u: opener %u, process %d", pair->index, opener->number,
		 (int)opener->process);
	pair->taken = true;
	cuse->process = opener->process;
	*ret_device = vireo_net_device(pair->net);
	return 0;
}

static void opener_gone(void *opaque, struct vireo_device *device)
{
	struct cuse_port *cuse = opaque;
	bool any = false;

	for (unsigned i = 0; i < cuse->port.spec.queues; i++) {
		struct cuse_pair *pair = &cuse->pairs[i];

		if (vireo_net_device(pair->net) == device)
			pair->taken = false;
		any = any || pair->taken;
	}
	if (any)
		return;
	cuse->process = 0;
	port_offloads_set(&cuse->port, 0);
	sw_fdb_flush(cuse->port.ports->sw, cuse->port.sw);
}

/* ---- making and ending it ---- */

static void cuse_readable(void *opaque, uint32_t events)
{
	struct cuse_port *cuse = opaque;
	int err = vireo_endpoint_dispatch(cuse->endpoint);

	if (!err || cuse->closing) /* closing, it may be gone by now, port and all */
		return;
	log_error(&cuse->port.log, "its node is lost: %s; remove and add the port", strerror(-err));
	cuse->lost = true;
	loop_remove(&cuse->watch);
}

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice;

	if (err == -EADDRINUSE)
		advice = "there is a device or file of this name in /dev: choose another name";
	else if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		advice = "there is no /dev/cuse: load the kernel's module (modprobe cuse)";
	else if (err == -EACCES || err == -EPERM)
		advice = "no permission for /dev/cuse: run as root";
	else if (err == -ESRCH)
		advice = "/proc is not mounted, or of another pid namespace: mount the one of ours";
	else if (err == -ETIMEDOUT)
		advice = "the kernel has not asked for the device on /dev/cuse: look into its log (dmesg)";
	else if (err == -EOPNOTSUPP)
		advice = "this build has no CUSE: build it with libfuse3";
	else
		advice = strerror(-err);
	snprintf(why, SPEC_WHY_BYTES, "CUSE node '%.60s': %s", spec->address, advice);
}

static int node_watch(struct cuse_port *cuse)
{
	return loop_add(cuse->port.ports->loop, vireo_endpoint_fd(cuse->endpoint), EPOLLIN, cuse_readable,
			cuse, &cuse->watch);
}

static int net_open(struct cuse_pair *pair)
{
	struct cuse_port *cuse = pair->cuse;
	char name[SPEC_NAME_BYTES + 16];
	const struct vireo_net_config config = {
		.size = sizeof(config),
		.pairs = 1,
		.mtu = cuse->port.spec.mtu,
		/* The front end has the control queue, and each pair is a device by itself. */
		.features_off = VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT) | cuse->port.spec.ring_features_off,
		.ops = &net_ops,
		.opaque = pair,
		.log = logger_log(&cuse->logger, cuse->port.ports->log_level),
		.name = name,
		.faults = cuse->port.ports->faults,
		.notifier = cuse->port.ports->notifier,
		.memory = cuse->port.ports->memory,
		.memory_max_bytes = cuse->port.spec.memory_max_bytes,
	};

	snprintf(name, sizeof(name), "%s: pair %u", cuse->port.spec.name, pair->index);
	return vireo_net_new(&config, &pair->net);
}

static int endpoint_open(struct cuse_port *cuse)
{
	const struct spec *spec = &cuse->port.spec;
	const struct vireo_endpoint_config config = {
		.size = sizeof(config),
		.mode = spec->perm,
		.set_owner = spec->set_user || spec->set_group,
		.uid = spec->set_user ? spec->user : (uid_t)-1,
		.gid = spec->set_group ? spec->group : (gid_t)-1,
		.device_new = opener_new,
		.device_gone = opener_gone,
		.device_opaque = cuse,
		.device_like = vireo_net_device(cuse->pairs[0].net),
		.close_aside = aside_run,
		.files = spec->any_files ? VIREO_FILES_ANY : VIREO_FILES_MEMORY,
		.log = logger_log(&cuse->logger, cuse->port.ports->log_level),
	};
	char address[SPEC_ADDRESS_BYTES + 16];
	int err;

	snprintf(address, sizeof(address), "cuse:%s", spec->address);
	err = vireo_endpoint_open(NULL, address, &config, &cuse->endpoint);
	return err ? err : node_watch(cuse);
}

static void cuse_free(struct port *port)
{
	struct cuse_port *cuse = container_of(port, struct cuse_port, port);

	for (unsigned i = 0; i < port->spec.queues; i++)
		vireo_net_free(cuse->pairs[i].net);
	if (cuse->look)
		loop_timer_free(&cuse->look);
	retry_fini(&cuse->retry);
	free(cuse);
}

static struct cuse_port *cuse_new(struct ports *ports, const struct spec *spec)
{
	struct cuse_port *cuse = calloc(1, sizeof(*cuse) + spec->queues * sizeof(cuse->pairs[0]));

	if (!cuse)
		return NULL;
	port_init(&cuse->port, ports, &port_cuse, spec);
	cuse->port.in_queues = cuse->port.out_queues = spec->queues;
	cuse->logger.rate = &cuse->port.log_rate; /* no subject: the library's lines begin with a name */
	cuse->logger.rated = cuse->port.spec.name;
	for (unsigned i = 0; i < spec->queues; i++) {
		struct cuse_pair *pair = &cuse->pairs[i];

		*pair = (struct cuse_pair){.cuse = cuse, .index = i};
		pair->queues[0] = (struct cuse_queue){.pair = pair, .out = true};
		pair->queues[1] = (struct cuse_queue){.pair = pair};
	}
	return cuse;
}

static int cuse_start(struct cuse_port *cuse)
{
	int err = loop_timer_new(cuse->port.ports->loop, look_again, cuse, &cuse->look);

	if (!err)
		err = retry_init(&cuse->retry, cuse->port.ports->loop, &cuse->port.log, queues_again, cuse);

	for (unsigned i = 0; !err && i < cuse->port.spec.queues; i++)
		err = net_open(&cuse->pairs[i]);
	if (!err)
		err = port_join(&cuse->port);
	return err ? err : endpoint_open(cuse);
}

static int cuse_open(struct ports *ports, const struct spec *spec, struct port **ret_port, char *why)
{
	struct cuse_port *cuse = cuse_new(ports, spec);
	int err = cuse ? cuse_start(cuse) : -ENOMEM;

	if (!err) {
		*ret_port = &cuse->port;
		return 0;
	}
	explain(err, spec, why);
	if (cuse)
		vireo_endpoint_close(cuse->endpoint, NULL, NULL); /* nobody has come yet: it is gone at once */
	if (cuse && cuse->port.sw)
		port_abandon(&cuse->port);
	else if (cuse)
		cuse_free(&cuse->port);
	return err;
}

static void cuse_closed(void *opaque)
{
	struct cuse_port *cuse = opaque;

	loop_remove(&cuse->watch);
	loop_timer_stop(cuse->look);
	cuse->endpoint = NULL;
	port_closed(&cuse->port);
}

/* The endpoint is dispatched until it is gone. One whose node was lost is watched again for that. */
static void cuse_close(struct port *port)
{
	struct cuse_port *cuse = container_of(port, struct cuse_port, port);

	cuse->closing = true;
	if (!cuse->watch && node_watch(cuse))
		log_error(&cuse->port.log, "its node cannot be closed in order");
	vireo_endpoint_close(cuse->endpoint, cuse_closed, cuse);
}

static const char *cuse_state(const struct port *port)
{
	const struct cuse_port *cuse = (const struct cuse_port *)port;

	if (cuse->closing || cuse->lost)
		return cuse->lost ? "failed" : "closing";
	return cuse->process ? "connected" : "waiting";
}

/* Each pair has a table and a limit of its own. */
static void cuse_memory_use(const struct port *port, struct vireo_memory_use *ret_use)
{
	const struct cuse_port *cuse = (const struct cuse_port *)port;
	struct vireo_memory_use use;

	vireo_device_memory_use(vireo_net_device(cuse->pairs[0].net), ret_use);
	for (unsigned i = 1; i < port->spec.queues; i++) {
		vireo_device_memory_use(vireo_net_device(cuse->pairs[i].net), &use);
		ret_use->mapped_bytes += use.mapped_bytes;
		ret_use->mappings += use.mappings;
		ret_use->made_bytes += use.made_bytes;
	}
}

const struct port_kind port_cuse = {
	.ops = &cuse_ops,
	.open = cuse_open,
	.close = cuse_close,
	.free = cuse_free,
	.state = cuse_state,
	.memory_use = cuse_memory_use,
};
