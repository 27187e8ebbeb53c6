/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A macvtap interface: what comes in at the interface below it goes to the switch, and what goes out leaves by that one, with the offloads of a TAP
 * interface. Each queue is an fd of /dev/tapN, where N is the interface's number; who may open that needs no capability.
 *
 * The kernel takes what is written whether the interface is up or not, and however long it is, and says nothing when it has gone. So the control
 * thread looks at it several times a second, and the queues look at what it has seen.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "host_interface.h"
#include "kernel_port.h"
#include "kernel_state.h"
#include "port.h"
#include "tap_device.h"
#include "tap_queue.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LOOK_MS	    200u
#define ETHER_BYTES 14u
#define TAG_BYTES   4u

struct macvtap_port {
	struct kernel_port kernel;
	int fd; /* a socket, to ask by */
	int interface;
	uint32_t longest; /* atomic: bytes of a frame without a tag that the interface takes; 0: it is down */
	bool gone;	  /* atomic */
	uint64_t asked_ms; /* atomic: when a queue last looked at the interface for itself */
	struct loop_timer *look;
	struct kernel_state told; /* to another process, with */
	int told_fds[SW_QUEUES_MAX + 1]; /* the queues', and the socket to ask by */
	struct tap_queue queues[];
};

/* ---- frames ---- */

static int macvtap_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct macvtap_port *macvtap = opaque;

	return tap_queue_receive(&macvtap->queues[queue], macvtap->kernel.port.offloads, frames, max);
}

static void macvtap_release(void *opaque, unsigned queue)
{
	/* The buffers are ours, and the next receive writes over them. */
}

static int macvtap_kick_fd(void *opaque, unsigned queue)
{
	struct macvtap_port *macvtap = opaque;

	return macvtap->queues[queue].fd;
}

static bool macvtap_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct macvtap_port *macvtap = opaque;

	return kernel_kick_enable(macvtap->queues[queue].fd, on);
}

static bool has_tag(const struct vireo_frame *frame)
{
	return (frame->head[12] == 0x81 && frame->head[13] == 0) || (frame->head[12] == 0x88 && frame->head[13] == 0xa8);
}

/* A large segment is cut on its way, and as long as its pieces. */
static bool send_one(struct macvtap_port *macvtap, struct tap_queue *queue, const struct vireo_frame *frame)
{
	uint32_t longest = __atomic_load_n(&macvtap->longest, __ATOMIC_RELAXED);

	if (!longest)
		kernel_refusal_count(&queue->out, ENETDOWN);
	else if (frame->offload.gso == VIREO_GSO_NONE && vireo_frame_bytes(frame) > longest + (has_tag(frame) ? TAG_BYTES : 0))
		kernel_refusal_count(&queue->out, EMSGSIZE);
	else
		return tap_queue_send(queue, frame);
	return false;
}

/* Any thread. */
static void interface_look(struct macvtap_port *macvtap)
{
	struct host_interface interface = {.running = false};
	bool there = host_interface_look(macvtap->fd, macvtap->interface, &interface);

	__atomic_store_n(&macvtap->longest, there && interface.running ? interface.mtu + ETHER_BYTES : 0, __ATOMIC_RELAXED);
	if (there || __atomic_exchange_n(&macvtap->gone, true, __ATOMIC_RELAXED))
		return;
	log_error(&macvtap->kernel.port.log, "the interface is gone: remove and add the port when it is back");
}

/* Who has something to send to one that is down looks whether it still is; but a look is three calls of the kernel, and a flood thousands of bursts. */
static void down_look(struct macvtap_port *macvtap)
{
	uint64_t now_ms = clock_now_ms(), asked_ms = __atomic_load_n(&macvtap->asked_ms, __ATOMIC_RELAXED);

	if (__atomic_load_n(&macvtap->gone, __ATOMIC_RELAXED) || asked_ms == now_ms)
		return;
	if (__atomic_compare_exchange_n(&macvtap->asked_ms, &asked_ms, now_ms, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		interface_look(macvtap);
}

static int macvtap_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct macvtap_port *macvtap = opaque;
	int sent = 0;

	if (unlikely(!__atomic_load_n(&macvtap->longest, __ATOMIC_RELAXED)))
		down_look(macvtap);
	for (unsigned i = 0; i < count; i++)
		sent += send_one(macvtap, &macvtap->queues[queue], frames[i]);
	return sent;
}

static void macvtap_flush(void *opaque, unsigned queue)
{
	/* Each write is seen at once. */
}

static bool macvtap_carrier(void *opaque)
{
	const struct macvtap_port *macvtap = opaque;

	return __atomic_load_n(&macvtap->longest, __ATOMIC_RELAXED);
}

static void macvtap_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct macvtap_port *macvtap = opaque;
	const struct tap_queue *q = &macvtap->queues[queue];

	sw_queue_stats_read(out ? &q->out : &q->in, ret);
}

static const struct sw_port_ops macvtap_ops = {
	.receive = macvtap_receive,
	.release = macvtap_release,
	.deliver = macvtap_deliver,
	.flush = macvtap_flush,
	.kick_fd = macvtap_kick_fd,
	.kick_enable = macvtap_kick_enable,
	.carrier = macvtap_carrier,
	.stats = macvtap_stats,
};

/* ---- the interface ---- */

/* One that has gone is not asked again: another may have its number by now. */
static void on_look(void *opaque)
{
	struct macvtap_port *macvtap = opaque;

	interface_look(macvtap);
	if (!__atomic_load_n(&macvtap->gone, __ATOMIC_RELAXED))
		loop_timer_start(macvtap->look, LOOK_MS);
}

/* ---- making and ending it ---- */

static int explain(const struct port_spec *spec, int number, int err, char *why)
{
	const char *name = spec->at.address;

	switch (-err) {
	case EACCES:
	case EPERM:
		snprintf(why, SPEC_WHY_BYTES, "macvtap '%.15s': /dev/tap%d may not be opened: let root give it to the daemon's user: chown NAME /dev/tap%d", name,
			 number, number);
		break;
	case ENOENT:
	case ENXIO:
		snprintf(why, SPEC_WHY_BYTES,
			 "macvtap '%.15s': no /dev/tap%d here, which a macvtap interface has: ip link add link LOWER name NAME type macvtap mode passthru", name,
			 number);
		break;
	case EXDEV:
		snprintf(why, SPEC_WHY_BYTES, "macvtap '%.15s': /dev/tap%d is another interface's, of another network namespace: ip link add ... index N", name,
			 number);
		break;
	default:
		host_interface_explain("macvtap", name, err, why);
	}
	return err;
}

static int queues_open(struct macvtap_port *macvtap, unsigned *ret_offloads, char *why)
{
	struct port *port = &macvtap->kernel.port;
	int err = host_interface_find(macvtap->fd, port->spec.at.address, &macvtap->interface);

	for (unsigned i = 0; !err && i < port->spec.queues; i++)
		err = tap_device_open_number(&port->spec, macvtap->interface, &macvtap->queues[i].fd, ret_offloads);
	return err ? explain(&port->spec, macvtap->interface, err, why) : 0;
}

/* To ask by in the interface's own network namespace, which need not be this process's. */
static const char *asks_problem(int fd)
{
	int domain = 0;
	socklen_t bytes = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) || domain != AF_INET ? "what is to ask for its interface is no socket for that" : NULL;
}

static int socket_take(struct macvtap_port *macvtap, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return -errno;
	fd_close(&macvtap->fd);
	macvtap->fd = copy;
	return tap_device_interface_by(macvtap->fd, macvtap->queues[0].fd, &macvtap->interface);
}

/* Another process's until now. The interface may be called otherwise by now. */
static int queues_take(struct macvtap_port *macvtap, unsigned *ret_offloads, char *why)
{
	struct port *port = &macvtap->kernel.port;
	struct vireo_endpoint_state queues = *port->ports->state;
	const char *problem = queues.fd_count ? asks_problem(queues.fds[queues.fd_count - 1]) : "its queues are not as many as the port's";
	int fds[SW_QUEUES_MAX], err;

	if (problem) {
		snprintf(why, SPEC_WHY_BYTES, "macvtap '%.15s': the state that was handed over is refused: %s", port->spec.at.address, problem);
		return -EINVAL;
	}
	queues.fd_count--;
	err = kernel_state_take(&queues, &port->spec, KERNEL_STATE_MACVTAP, TAP_OFFLOADS, tap_device_number_problem, fds, ret_offloads, why);
	for (unsigned i = 0; !err && i < port->spec.queues; i++)
		macvtap->queues[i].fd = fds[i];
	if (err)
		return err;
	err = socket_take(macvtap, queues.fds[queues.fd_count]);
	return err ? explain(&port->spec, 0, err, why) : 0;
}

/* It is for one host, and lets in what that has asked for. */
static void multicast_open(const struct macvtap_port *macvtap)
{
	int err = host_interface_all_multicast(macvtap->fd, macvtap->interface);

	if (err)
		log_warning(&macvtap->kernel.port.log, "multicast does not come in, and without it no IPv6: %s: let root do it: ip link set dev %.15s allmulticast on",
			    strerror(-err), macvtap->kernel.port.spec.at.address);
}

static void macvtap_free(struct port *port)
{
	struct macvtap_port *macvtap = container_of(port, struct macvtap_port, kernel.port);

	kernel_port_fini(&macvtap->kernel);
	if (macvtap->look)
		loop_timer_free(&macvtap->look);
	for (unsigned i = 0; i < port->spec.queues; i++)
		tap_queue_fini(&macvtap->queues[i]);
	fd_close(&macvtap->fd);
	free(macvtap);
}

static int everything_open(struct macvtap_port *macvtap, char *why)
{
	struct port *port = &macvtap->kernel.port;
	unsigned offloads = 0;
	int err;

	macvtap->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	err = macvtap->fd < 0 ? -errno : 0;
	for (unsigned i = 0; !err && i < port->spec.queues; i++)
		err = tap_queue_init(&macvtap->queues[i]);
	if (err)
		return explain(&port->spec, 0, err, why);
	err = port->ports->state ? queues_take(macvtap, &offloads, why) : queues_open(macvtap, &offloads, why);
	if (err)
		return err;
	snprintf(why, SPEC_WHY_BYTES, "macvtap '%.15s': out of memory or ports", port->spec.at.address);
	err = loop_timer_new(port->ports->loop, on_look, macvtap, &macvtap->look);
	if (err)
		return err;
	if (!port->ports->state)
		multicast_open(macvtap);
	on_look(macvtap);
	return kernel_port_start(&macvtap->kernel, offloads);
}

static int macvtap_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct macvtap_port *macvtap = calloc(1, sizeof(*macvtap) + spec->queues * sizeof(macvtap->queues[0]));

	snprintf(why, SPEC_WHY_BYTES, "macvtap '%.15s': out of memory or ports", spec->at.address);
	if (!macvtap)
		return -ENOMEM;
	port_init(&macvtap->kernel.port, ports, &port_macvtap, spec);
	macvtap->kernel.port.in_queues = macvtap->kernel.port.out_queues = spec->queues;
	macvtap->fd = -1;
	for (unsigned i = 0; i < spec->queues; i++)
		macvtap->queues[i].fd = -1;
	return port_opened(&macvtap->kernel.port, everything_open(macvtap, why), ret_port);
}

static const char *macvtap_state(const struct port *port)
{
	const struct macvtap_port *macvtap = (const struct macvtap_port *)port;

	if (__atomic_load_n(&macvtap->gone, __ATOMIC_RELAXED))
		return "failed";
	return __atomic_load_n(&macvtap->longest, __ATOMIC_RELAXED) ? "up" : "down";
}

static void macvtap_report(const struct port *port, json_t *object)
{
	const struct macvtap_port *macvtap = (const struct macvtap_port *)port;
	uint32_t longest = __atomic_load_n(&macvtap->longest, __ATOMIC_RELAXED);
	struct host_interface interface;
	json_t *session = NULL;

	if (!__atomic_load_n(&macvtap->gone, __ATOMIC_RELAXED) && host_interface_look(macvtap->fd, macvtap->interface, &interface))
		session = json_pack("{s:s, s:s%, s:i}", "driver", "macvtap", "interface", interface.name, strlen(interface.name), "mtu",
				    longest ? (int)(longest - ETHER_BYTES) : 0);
	json_object_set_new(object, "session", session ? session : json_null());
}

/* ---- to another process ---- */

static const char *macvtap_hold_refused(const struct port *port)
{
	const struct macvtap_port *macvtap = (const struct macvtap_port *)port;

	return __atomic_load_n(&macvtap->gone, __ATOMIC_RELAXED) ? "it has failed" : NULL;
}

static int macvtap_export(struct port *port, struct vireo_endpoint_state *ret_state)
{
	struct macvtap_port *macvtap = container_of(port, struct macvtap_port, kernel.port);

	for (unsigned i = 0; i < port->spec.queues; i++)
		macvtap->told_fds[i] = macvtap->queues[i].fd;
	macvtap->told_fds[port->spec.queues] = macvtap->fd;
	kernel_state_say(&macvtap->told, KERNEL_STATE_MACVTAP, port->offloads, macvtap->told_fds, port->spec.queues + 1u, ret_state);
	return 0;
}

static const struct spec_key keys[] = {KERNEL_PORT_KEYS};

const struct port_kind port_macvtap = {
	.spec = {
		.type = "macvtap",
		.address = "INTERFACE",
		.address_problem = port_interface_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &macvtap_ops,
	.open = macvtap_open,
	.close = port_closed,
	.free = macvtap_free,
	.state = macvtap_state,
	.report = macvtap_report,
	.hold_refused = macvtap_hold_refused,
	.silence = kernel_port_silence,
	.hold = kernel_port_hold,
	.export = macvtap_export,
	.go_on = kernel_port_go_on,
	.takes_rtnl = true,
};
