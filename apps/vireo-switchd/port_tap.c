/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TAP interface: the host's own kernel as a port. Each queue is an fd of /dev/net/tun; what is read from it comes from the host (the switch's in
 * queue), what is written to it goes to the host (out queue): tap_queue.h.
 */
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "bridge_sync.h"
#include "daemon/aside.h"
#include "kernel_port.h"
#include "kernel_state.h"
#include "port.h"
#include "tap_device.h"
#include "tap_queue.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tap_port {
	struct kernel_port kernel;
	bool lost; /* atomic: the interface has been taken from us */
	bool carrier; /* as it is to be */
	uint16_t mtu; /* likewise; 0: as it is */
	bool late; /* one of the two is still to be set */
	struct loop_timer *later;
	struct bridge_sync *sync; /* NULL: none */
	struct kernel_state told; /* to another process, with */
	int told_fds[SW_QUEUES_MAX];
	struct tap_queue queues[];
};

/* ---- in ---- */

static int tap_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct tap_port *tap = opaque;
	int ret = tap_queue_receive(&tap->queues[queue], tap->kernel.port.offloads, frames, max);

	if (unlikely(ret < 0) && !__atomic_exchange_n(&tap->lost, true, __ATOMIC_RELAXED))
		log_error(&tap->kernel.port.log, "the interface is gone: %s; remove and add the port", strerror(-ret));
	return ret;
}

static void tap_release(void *opaque, unsigned queue)
{
	/* The buffers are ours, and the next receive writes over them. */
}

static int tap_kick_fd(void *opaque, unsigned queue)
{
	struct tap_port *tap = opaque;

	return tap->queues[queue].fd;
}

static bool tap_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct tap_port *tap = opaque;

	return kernel_kick_enable(tap->queues[queue].fd, on);
}

/* ---- out ---- */

static int tap_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct tap_port *tap = opaque;
	int sent = 0;

	for (unsigned i = 0; i < count; i++)
		sent += tap_queue_send(&tap->queues[queue], frames[i]);
	return sent;
}

static void tap_flush(void *opaque, unsigned queue)
{
	/* Each write is seen at once. */
}

/* The kernel lets an interface that is down have nothing written to it, and says so. */
static bool tap_carrier(void *opaque)
{
	struct tap_port *tap = opaque;
	struct pollfd poll_fd = {.fd = tap->queues[0].fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLOUT) && !__atomic_load_n(&tap->lost, __ATOMIC_RELAXED);
}

static void tap_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct tap_port *tap = opaque;
	const struct tap_queue *q = &tap->queues[queue];

	sw_queue_stats_read(out ? &q->out : &q->in, ret);
}

static const struct sw_port_ops tap_ops = {
	.receive = tap_receive,
	.release = tap_release,
	.deliver = tap_deliver,
	.flush = tap_flush,
	.kick_fd = tap_kick_fd,
	.kick_enable = tap_kick_enable,
	.carrier = tap_carrier,
	.stats = tap_stats,
};

/* ---- making and ending it ---- */

static void tap_free(struct port *port)
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	bridge_sync_free(tap->sync);
	if (tap->later)
		loop_timer_free(&tap->later);
	kernel_port_fini(&tap->kernel);
	for (unsigned i = 0; i < port->spec.queues; i++)
		tap_queue_fini(&tap->queues[i]);
	free(tap);
}

static int tap_fds(struct tap_port *tap, unsigned *ret_offloads, char *why)
{
	const struct vireo_endpoint_state *state = tap->kernel.port.ports->state;
	const struct port_spec *spec = &tap->kernel.port.spec;
	int fds[SW_QUEUES_MAX];
	int err = state ? kernel_state_take(state, spec, KERNEL_STATE_TAP, TAP_OFFLOADS, tap_device_problem, fds, ret_offloads, why)
			: tap_device_open(spec, fds, ret_offloads, why);

	for (unsigned i = 0; !err && i < tap->kernel.port.spec.queues; i++)
		tap->queues[i].fd = fds[i];
	return err;
}

static int tap_buffers(struct tap_port *tap)
{
	int err = 0;

	for (unsigned i = 0; !err && i < tap->kernel.port.spec.queues; i++)
		err = tap_queue_init(&tap->queues[i]);
	return err;
}

/* The kernel takes RTNL for both, which may have to wait for us: see daemon/aside.h. */
static bool rtnl_taken(struct tap_port *tap)
{
	bool taken = aside_rtnl();

	if (taken)
		loop_timer_start(tap->later, ASIDE_LOOK_MS);
	tap->late |= taken;
	return taken;
}

static int carrier_set(struct tap_port *tap)
{
	return rtnl_taken(tap) ? 0 : tap_device_carrier(tap->queues[0].fd, tap->carrier);
}

static int mtu_set(struct tap_port *tap)
{
	int err;

	if (!tap->mtu || rtnl_taken(tap))
		return 0;
	err = tap_device_mtu(tap->queues[0].fd, tap->mtu);
	tap->mtu = 0;
	return err;
}

static void set_again(void *opaque)
{
	struct tap_port *tap = opaque;
	int err;

	tap->late = false;
	err = tap->kernel.port.closing ? 0 : carrier_set(tap);

	if (err)
		log_warning(&tap->kernel.port.log, "its carrier could not be set: %s", strerror(-err));
	err = tap->kernel.port.closing ? 0 : mtu_set(tap);
	if (err)
		log_warning(&tap->kernel.port.log, "its MTU could not be set: %s", strerror(-err));
}

static enum port_told tap_link_set(struct port *port, bool up)
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	tap->carrier = up;
	return carrier_set(tap) ? PORT_TOLD_NOT : PORT_TOLD;
}

static int tap_mtu_set(struct port *port, uint16_t mtu, char why[SPEC_WHY_BYTES])
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);
	int err;

	tap->mtu = mtu;
	err = mtu_set(tap);
	if (err)
		snprintf(why, SPEC_WHY_BYTES, "tap '%.15s': cannot set its MTU: %s: let root do it: ip link set dev %.15s mtu %u",
			 port->spec.at.address, strerror(-err), port->spec.at.address, mtu);
	return err;
}

/* One whose interface is in another network namespace by now tells nobody, until it is made anew. */
static int sync_begin(struct tap_port *tap, char *why)
{
	struct port *port = &tap->kernel.port;
	int number = 0, err = port->spec.learning_sync ? tap_device_interface(tap->queues[0].fd, &number) : 0;

	if (!port->spec.learning_sync)
		return 0;
	if (err && err != -ENODEV) {
		snprintf(why, SPEC_WHY_BYTES, "tap '%.15s': learning-sync: %s", port->spec.at.address, strerror(-err));
		return err;
	}
	return bridge_sync_new(port, number, port->ports->state, &tap->sync, why);
}

static int tap_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct tap_port *tap = calloc(1, sizeof(*tap) + spec->queues * sizeof(tap->queues[0]));
	unsigned offloads = 0;
	int err;

	snprintf(why, SPEC_WHY_BYTES, "tap '%.15s': out of memory or ports", spec->at.address);
	if (!tap)
		return -ENOMEM;
	port_init(&tap->kernel.port, ports, &port_tap, spec);
	tap->kernel.port.in_queues = tap->kernel.port.out_queues = spec->queues;
	tap->carrier = true;
	for (unsigned i = 0; i < spec->queues; i++)
		tap->queues[i].fd = -1;
	err = loop_timer_new(ports->loop, set_again, tap, &tap->later);
	if (!err)
		err = tap_buffers(tap);
	if (!err)
		err = tap_fds(tap, &offloads, why);
	if (!err)
		err = kernel_port_start(&tap->kernel, offloads);
	if (!err)
		err = sync_begin(tap, why);
	return port_opened(&tap->kernel.port, err, ret_port);
}

/* What the bridge has been told is taken back before the interface goes. */
static void tap_close(struct port *port)
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	if (tap->sync)
		bridge_sync_stop(tap->sync, port_closed);
	else
		port_closed(port);
}

static const char *tap_state(const struct port *port)
{
	const struct tap_port *tap = (const struct tap_port *)port;

	return __atomic_load_n(&tap->lost, __ATOMIC_RELAXED) ? "failed" : "up";
}

/* While a helper thread may hold RTNL, the kernel cannot be asked. */
static void tap_report(const struct port *port, json_t *object)
{
	const struct tap_port *tap = (const struct tap_port *)port;
	json_t *session = aside_rtnl() ? NULL : tap_device_report(tap->queues[0].fd);

	json_object_set_new(object, "session", session ? session : json_null());
	json_object_set_new(object, "learning_sync", bridge_sync_report(tap->sync));
}

/* ---- to another process ---- */

static const char *tap_hold_refused(const struct port *port)
{
	const struct tap_port *tap = (const struct tap_port *)port;

	if (__atomic_load_n(&tap->lost, __ATOMIC_RELAXED))
		return "it has failed";
	return tap->late ? "its carrier or its MTU is about to be set: try again" : NULL;
}

static void tap_silence(struct port *port, void (*silenced)(void *port))
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	if (tap->sync)
		bridge_sync_hold(tap->sync);
	kernel_port_silence(port, silenced);
}

static void tap_go_on(struct port *port)
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	kernel_port_go_on(port);
	if (tap->sync)
		bridge_sync_go_on(tap->sync);
}

static int tap_export(struct port *port, struct vireo_endpoint_state *ret_state)
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	for (unsigned i = 0; i < port->spec.queues; i++)
		tap->told_fds[i] = tap->queues[i].fd;
	kernel_state_say(&tap->told, KERNEL_STATE_TAP, port->offloads, tap->told_fds, port->spec.queues, ret_state);
	return 0;
}

static const struct spec_key keys[] = {KERNEL_PORT_KEYS, PORT_KEY_LEARNING_SYNC};

const struct port_kind port_tap = {
	.spec = {
		.type = "tap",
		.address = "INTERFACE",
		.address_problem = port_interface_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &tap_ops,
	.open = tap_open,
	.close = tap_close,
	.free = tap_free,
	.state = tap_state,
	.report = tap_report,
	.link_set = tap_link_set,
	.mtu_set = tap_mtu_set,
	.hold_refused = tap_hold_refused,
	.silence = tap_silence,
	.hold = kernel_port_hold,
	.export = tap_export,
	.go_on = tap_go_on,
	.takes_rtnl = true,
};
