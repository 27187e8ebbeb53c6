/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A character device /dev/NAME that speaks the kernel's vhost ioctls, as a port. Each open of it is a pair of queues:
 * a network device of one pair, which is kept for the port's life and handed to one opener after the other. All
 * openers at a time are of one process (a virtual machine): a node is one port, and another process gets EBUSY
 * until the first has closed the node.
 *
 * Nobody tells us how many pairs the guest uses: with the kernel's vhost the tap knows, and keeps frames away from the
 * others. So the receive queue of a pair beyond the first is kept out of the switch until the guest has put a
 * buffer there, which drivers do as soon as they use the pair.
 */
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/endpoint.h"
#include "holder.h"
#include "port_device.h"
#include "port_session.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "vireo/net.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define LOOK_HOLDER_S 5
#define LOOK_MS 100u /* for the first buffer of a pair */

struct cuse_port {
	struct device_port device;
	struct loop_timer *look;
	pid_t process; /* whose pairs these are; 0: nobody's */
	struct timespec looked; /* when it was last looked for who has the node open */
};

/* As long as the queue is not the switch's, it is nobody's but ours, and we may look into it. */
static bool receives(struct device_pair *pair)
{
	struct cuse_port *cuse = container_of(pair->device, struct cuse_port, device);
	struct vireo_queue *queue = vireo_device_queue(vireo_net_device(pair->net), 0);

	pair->used = pair->used || !pair->index || vireo_queue_available(queue);
	if (!pair->used)
		loop_timer_start(cuse->look, LOOK_MS);
	return pair->used;
}

/* What its guest has shown before it stopped. */
static bool used(struct device_pair *pair)
{
	return pair->used;
}

static void look_again(void *opaque)
{
	struct cuse_port *cuse = opaque;

	port_queues_settle(&cuse->device);
}

/* Frames may take any pair: what one of them does not take, the port does not. */
static void negotiated(void *opaque, uint64_t features)
{
	port_offloads_settle(((struct device_pair *)opaque)->device);
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = port_queue_started,
	.queue_stop = port_queue_stop,
	.queue_ended = port_queue_ended,
	.queue_renew = port_queue_renew,
	.negotiated = negotiated,
};

/* ---- openers ---- */

static struct device_pair *pair_free(struct device_port *device)
{
	for (unsigned i = 0; i < device->port.spec.queues; i++)
		if (!device->pairs[i].taken)
			return &device->pairs[i];
	return NULL;
}

/* The one that it had in the process before: a guest that uses one pair of two has frames come to that. */
static struct device_pair *pair_for(struct device_port *device, const struct vireo_endpoint_opener *opener)
{
	unsigned told = opener->device;

	if (told && told <= device->port.spec.queues && !device->pairs[told - 1].taken)
		return &device->pairs[told - 1];
	return pair_free(device);
}

static unsigned pair_number(void *opaque, const struct vireo_device *device)
{
	const struct device_port *port = &((const struct cuse_port *)opaque)->device;

	for (unsigned i = 0; i < port->port.spec.queues; i++)
		if (vireo_net_device(port->pairs[i].net) == device)
			return i + 1;
	return 0;
}

/* Whoever is refused may come again and again, and to look for a process takes a while: once in LOOK_HOLDER_S. */
static bool may_look(struct cuse_port *cuse)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (cuse->looked.tv_sec && now.tv_sec - cuse->looked.tv_sec < LOOK_HOLDER_S)
		return false;
	cuse->looked = now;
	return true;
}

/*
 * A process that has ended, and has not closed the node: one that it has forked, or given the fd to, has it still. The
 * kernel tells us nothing of that, and a device whose owner is gone has nobody who could tell its memory.
 */
static void heir_tell(struct cuse_port *cuse, pid_t refused)
{
	const struct port *port = &cuse->device.port;
	char path[SPEC_NAME_BYTES + 8];
	pid_t heir;

	if (!may_look(cuse))
		return;
	snprintf(path, sizeof(path), "/dev/%.63s", port->spec.at.address);
	heir = holder_of(path);
	if (heir)
		log_warning(&port->peer_log,
			    "process %d is refused: process %d, whose the port is, has ended, but process %d has its %s open still: end "
			    "that (kill %d), or have it close the file",
			    (int)refused, (int)cuse->process, (int)heir, path, (int)heir);
	else
		log_warning(&port->peer_log,
			    "process %d is refused: process %d, whose the port is, has ended, but somebody who is not to be seen from here "
			    "has its %s open still: look for it (fuser %s), and end that",
			    (int)refused, (int)cuse->process, path, path);
}

static void refuse(struct cuse_port *cuse, pid_t refused)
{
	if (kill(cuse->process, 0) && errno == ESRCH)
		heir_tell(cuse, refused);
	else
		log_warning(&cuse->device.port.peer_log, "process %d is refused: the port is process %d's", (int)refused,
			    (int)cuse->process);
}

static int opener_new(void *opaque, const struct vireo_endpoint_opener *opener, struct vireo_device **ret_device)
{
	struct cuse_port *cuse = opaque;
	struct port *port = &cuse->device.port;
	struct device_pair *pair = pair_for(&cuse->device, opener);

	if (cuse->process && cuse->process != opener->process) {
		refuse(cuse, opener->process);
		return -EBUSY;
	}
	if (!pair) {
		log_warning(&port->peer_log, "process %d has opened the node %u times already: its queues= is %u",
			    (int)opener->process, port->spec.queues, port->spec.queues);
		return -EBUSY;
	}
	log_info(&port->peer_log, "pair %u: opener %u, process %d", pair->index, opener->number, (int)opener->process);
	pair->taken = true;
	if (!cuse->process)
		device_port_connected_set(&cuse->device, true);
	cuse->process = opener->process;
	*ret_device = vireo_net_device(pair->net);
	return 0;
}

static void opener_gone(void *opaque, struct vireo_device *device)
{
	struct cuse_port *cuse = opaque;
	struct port *port = &cuse->device.port;
	bool any = false;

	for (unsigned i = 0; i < port->spec.queues; i++) {
		struct device_pair *pair = &cuse->device.pairs[i];

		if (vireo_net_device(pair->net) == device)
			pair->taken = false;
		any = any || pair->taken;
	}
	if (any)
		return;
	cuse->process = 0;
	device_port_connected_set(&cuse->device, false);
	port_offloads_set(port, 0);
	sw_fdb_flush(port->ports->sw, port->sw);
}

/* ---- the kind ---- */

static int init(struct device_port *device)
{
	struct cuse_port *cuse = container_of(device, struct cuse_port, device);

	return loop_timer_new(device->port.ports->loop, look_again, cuse, &cuse->look);
}

static void fini(struct device_port *device)
{
	struct cuse_port *cuse = container_of(device, struct cuse_port, device);

	if (cuse->look)
		loop_timer_free(&cuse->look);
}

static void config(struct device_port *device, struct vireo_endpoint_config *ret)
{
	ret->cuse.device_new = opener_new;
	ret->cuse.device_gone = opener_gone;
	ret->cuse.device_number = pair_number;
	ret->cuse.device_opaque = container_of(device, struct cuse_port, device);
	ret->cuse.device_like = vireo_net_device(device->pairs[0].net);
	ret->log = logger_log(&device->logger);
}

static const struct device_sort each_open = {
	.bytes = sizeof(struct cuse_port),
	.device_each = true,
	/* The front end has the control queue, and each pair is a device by itself. */
	.features_off = VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT),
	.ops = &net_ops,
	.receives = receives,
	.awaits = used,
	.init = init,
	.fini = fini,
	.config = config,
};

static int cuse_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	return device_port_open_as(&each_open, ports, spec, ret_port, why);
}

static const char *cuse_state(const struct port *port)
{
	const char *end = device_port_end_state(port);

	if (end)
		return end;
	return ((const struct cuse_port *)port)->process ? "connected" : "waiting";
}

static pid_t cuse_peer(const struct port *port)
{
	return device_port_end_state(port) ? 0 : ((const struct cuse_port *)port)->process;
}

static void report(const struct port *port, json_t *object)
{
	port_session_report((const struct device_port *)port, cuse_peer(port), object);
}

static const char *hold_refused(const struct port *port)
{
	return device_port_end_state(port) ? "it has failed" : NULL;
}

static const struct spec_key keys[] = {SPEC_KEY_NAME, PORT_KEY_QUEUES, PORT_KEY_MTU, PORT_KEY_MAC, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, PORT_KEYS_LIMITS, PORT_KEYS_RETRY, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING,
					ENDPOINT_CUSE_KEYS};

const struct port_kind port_cuse = {
	.spec = ENDPOINT_CUSE(keys),
	.ops = &device_port_ops,
	.open = cuse_open,
	.close = device_port_close,
	.free = device_port_free,
	.state = cuse_state,
	.peer = cuse_peer,
	.memory_use = device_port_memory_use,
	.report = report,
	.link_set = device_port_link_set,
	.memory_max_set = device_port_memory_max_set,
	.retry_set = device_port_retry_set,
	.hold_refused = hold_refused,
	.silence = device_port_silence,
	.hold = device_port_hold,
	.export = device_port_export,
	.go_on = device_port_go_on,
	.guests = true,
};
