/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TAP interface: the host's own kernel as a port. Each queue is an fd of /dev/net/tun; what is read from it
 * comes from the host (the switch's in queue), what is written to it goes to the host (out queue). Frames
 * carry a virtio-net header, so that large and unchecksummed ones pass as they are.
 *
 * An in queue reads up to KERNEL_BURST frames into buffers of its own, which stay the switch's until release;
 * memory that has never been needed is never touched. An out queue writes straight from the sender's pieces,
 * but for the first bytes: decisions were taken on the private copy, so that is what goes out.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/aside.h"
#include "port.h"
#include "tap_device.h"
#include "kernel_frame.h"
#include "kernel_port.h"
#include "kernel_state.h"
#include "vireo/memory.h"
#include "wire/virtio_net.h"
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define TAP_BUFFER_BYTES (NET_HDR_BYTES + KERNEL_FRAME_BYTES)

struct tap_queue {
	int fd;
	/* The in queue's worker. */
	uint8_t *buffers; /* KERNEL_BURST of TAP_BUFFER_BYTES */
	struct iovec iov[KERNEL_BURST];
	struct sw_queue_stats in;
	/* Who has claimed the out queue. */
	uint8_t *bounce; /* KERNEL_FRAME_BYTES, made when first needed */
	struct sw_queue_stats out;
};

struct tap_port {
	struct kernel_port kernel;
	bool lost; /* atomic: the interface has been taken from us */
	bool carrier; /* as it is to be */
	uint16_t mtu; /* likewise; 0: as it is */
	bool late; /* one of the two is still to be set */
	struct loop_timer *later;
	struct kernel_state told; /* to another process, with */
	int told_fds[SW_QUEUES_MAX];
	struct tap_queue queues[];
};

/* ---- in ---- */

/* 1: *frame holds, 0: a frame that is not to be shown (counted). */
static int frame_of(struct tap_port *tap, struct tap_queue *q, unsigned slot, size_t bytes,
		    struct vireo_frame *frame)
{
	uint8_t *buffer = q->buffers + (size_t)slot * TAP_BUFFER_BYTES;
	struct virtio_net_header header;
	uint32_t len = (uint32_t)(bytes - NET_HDR_BYTES), head = min_u32(len, VIREO_FRAME_HEAD_BYTES);
	const char *why;

	if (bytes < NET_HDR_BYTES + 14) {
		counter_add(&q->in.runt, 1);
		return 0;
	}
	memcpy(&header, buffer, sizeof(header));
	q->iov[slot] = (struct iovec){buffer + NET_HDR_BYTES, len};
	frame->iov = &q->iov[slot];
	frame->iov_count = 1;
	frame->len_bytes = len;
	frame->head_bytes = frame->head_skip = 0;
	memcpy(frame->head, buffer + NET_HDR_BYTES, head);
	if (net_header_parse(&header, len, frame->head, head, tap->kernel.port.offloads, &frame->offload, &why)) {
		counter_add(&q->in.bad_offload, 1);
		return 0;
	}
	counter_add(&q->in.frames, 1);
	counter_add(&q->in.bytes, len);
	return 1;
}

static int tap_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct tap_port *tap = opaque;
	struct tap_queue *q = &tap->queues[queue];
	unsigned shown = 0;

	/* A frame that is not shown leaves its slot to the next one, so reads are bounded apart from it. */
	for (unsigned reads = 0; reads < 2 * KERNEL_BURST && shown < min_u32(max, KERNEL_BURST); reads++) {
		ssize_t n = read(q->fd, q->buffers + (size_t)shown * TAP_BUFFER_BYTES, TAP_BUFFER_BYTES);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0 && errno == EIO) /* down */
			break;
		if (n < 0) {
			int err = -errno;

			if (!__atomic_exchange_n(&tap->lost, true, __ATOMIC_RELAXED))
				log_error(&tap->kernel.port.log,
					  "the interface is gone: %s; remove and add the port",
					  strerror(-err));
			return shown ? (int)shown : err;
		}
		shown += (unsigned)frame_of(tap, q, shown, (size_t)n, &frames[shown]);
	}
	return (int)shown;
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

/* True: it went; else it is counted. */
static bool tap_send(struct tap_queue *q, const struct vireo_frame *frame)
{
	struct kernel_frame out;
	int err = kernel_frame_lay(&out, frame, NET_HDR_BYTES, &q->bounce);
	ssize_t n;

	if (err) {
		kernel_refusal_count(&q->out, -err);
		return false;
	}
	n = writev(q->fd, out.iov, (int)out.pieces);
	if (unlikely(n < 0 && errno == EFAULT)) { /* pages that the guest has never touched: see vireo/memory.h */
		vireo_memory_touch(out.iov, out.pieces);
		n = writev(q->fd, out.iov, (int)out.pieces);
	}
	if (n < 0) {
		kernel_refusal_count(&q->out, errno);
		return false;
	}
	counter_add(&q->out.frames, 1);
	counter_add(&q->out.bytes, vireo_frame_bytes(frame));
	return true;
}

static int tap_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct tap_port *tap = opaque;
	int sent = 0;

	for (unsigned i = 0; i < count; i++)
		sent += tap_send(&tap->queues[queue], frames[i]);
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

	if (tap->later)
		loop_timer_free(&tap->later);
	kernel_port_fini(&tap->kernel);
	for (unsigned i = 0; i < port->spec.queues; i++) {
		fd_close(&tap->queues[i].fd);
		kernel_buffers_free(&tap->queues[i].buffers, KERNEL_BURST * TAP_BUFFER_BYTES);
		free(tap->queues[i].bounce);
	}
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
		err = kernel_buffers_new(KERNEL_BURST * TAP_BUFFER_BYTES, &tap->queues[i].buffers);
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
		*ret_port = &tap->kernel.port;
	else if (tap->kernel.port.sw)
		port_abandon(&tap->kernel.port);
	else
		tap_free(&tap->kernel.port);
	return err;
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
}

/* ---- to another process ---- */

static const char *tap_hold_refused(const struct port *port)
{
	const struct tap_port *tap = (const struct tap_port *)port;

	if (__atomic_load_n(&tap->lost, __ATOMIC_RELAXED))
		return "it has failed";
	return tap->late ? "its carrier or its MTU is about to be set: try again" : NULL;
}

static int tap_export(struct port *port, struct vireo_endpoint_state *ret_state)
{
	struct tap_port *tap = container_of(port, struct tap_port, kernel.port);

	for (unsigned i = 0; i < port->spec.queues; i++)
		tap->told_fds[i] = tap->queues[i].fd;
	kernel_state_say(&tap->told, KERNEL_STATE_TAP, port->offloads, tap->told_fds, port->spec.queues, ret_state);
	return 0;
}

static const struct spec_key keys[] = {KERNEL_PORT_KEYS};

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
	.close = port_closed,
	.free = tap_free,
	.state = tap_state,
	.report = tap_report,
	.link_set = tap_link_set,
	.mtu_set = tap_mtu_set,
	.hold_refused = tap_hold_refused,
	.silence = kernel_port_silence,
	.hold = kernel_port_hold,
	.export = tap_export,
	.go_on = kernel_port_go_on,
	.takes_rtnl = true,
};
