/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An interface that the host has, as a port: packet sockets (packet_socket.c) take what comes in at it, and send out of it. The host keeps
 * the interface, and sees what comes as well; what the host itself sends there the switch does not see.
 *
 * An in queue takes up to KERNEL_BURST frames by one recvmmsg(2) into buffers of its own, which stay the switch's until release; memory that
 * has never been needed is never touched. Before each frame there is room for the tag that the interface may have taken out of it. An out
 * queue sends up to KERNEL_BURST frames by one sendmmsg(2), straight from the senders' pieces, as a TAP queue writes them.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "kernel_frame.h"
#include "kernel_port.h"
#include "kernel_state.h"
#include "packet_socket.h"
#include "port.h"
#include "vireo/memory.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not UDP segmentation: whether this kernel has words for it in such a header (Linux 6.2) cannot be asked. */
#define PACKET_TAKES (VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6 | VIREO_OFFLOAD_ECN)
#define PACKET_GIVES (VIREO_OFFLOAD_USO4 | VIREO_OFFLOAD_USO6) /* beyond what it takes */
#define PACKET_BUFFER_BYTES (PACKET_TAG_BYTES + KERNEL_FRAME_BYTES)
#define PACKET_ROOM	    (KERNEL_PIECES + 4 * KERNEL_BURST) /* pieces of one call */

struct packet_slot {
	struct virtio_net_header header;
	struct sockaddr_ll from;
	struct iovec asked[2]; /* header and frame, as the kernel is to fill them */
	struct iovec frame;    /* as the switch sees it */
	union {
		uint8_t bytes[PACKET_CONTROL_BYTES];
		struct cmsghdr aligned;
	} control;
};

/* What is to go by one call. */
struct packet_batch {
	unsigned count, pieces; /* frames, and what of `room` is in use */
	struct mmsghdr messages[KERNEL_BURST];
	struct kernel_frame frames[KERNEL_BURST];
	uint32_t bytes[KERNEL_BURST];
	struct iovec room[PACKET_ROOM];
};

struct packet_queue {
	int fd;
	/* The in queue's worker. */
	uint8_t *buffers; /* KERNEL_BURST of PACKET_BUFFER_BYTES */
	struct mmsghdr messages[KERNEL_BURST];
	struct packet_slot slots[KERNEL_BURST];
	struct sw_queue_stats in;
	/* Who has claimed the out queue. */
	uint8_t *bounce; /* KERNEL_FRAME_BYTES, made when first needed */
	struct packet_batch batch;
	struct sw_queue_stats out;
	uint64_t lost; /* atomic: of what has come, what the kernel had no room for */
};

struct packet_port {
	struct kernel_port kernel;
	bool told_gone; /* atomic: that the interface is; once */
	struct kernel_state told; /* to another process, with */
	int told_fds[SW_QUEUES_MAX];
	struct packet_queue queues[];
};

/* ---- in ---- */

/* What the kernel has written over by a call. */
static void ask_again(struct packet_queue *q, unsigned number)
{
	struct msghdr *message = &q->messages[number].msg_hdr;

	message->msg_namelen = sizeof(q->slots[number].from);
	message->msg_controllen = sizeof(q->slots[number].control.bytes);
}

/* Once: a call that takes one frame, as most do where somebody polls, shall not pay for all. */
static void ask(struct packet_queue *q)
{
	for (unsigned i = 0; i < KERNEL_BURST; i++) {
		struct packet_slot *slot = &q->slots[i];

		slot->asked[0] = (struct iovec){&slot->header, PACKET_HDR_BYTES};
		slot->asked[1] = (struct iovec){q->buffers + (size_t)i * PACKET_BUFFER_BYTES + PACKET_TAG_BYTES, KERNEL_FRAME_BYTES};
		q->messages[i].msg_hdr = (struct msghdr){
			.msg_name = &slot->from,
			.msg_iov = slot->asked,
			.msg_iovlen = 2,
			.msg_control = slot->control.bytes,
		};
		ask_again(q, i);
	}
}

/* Puts a tag back in front of the type; what the header says of places moves with it. */
static void tag_insert(struct packet_slot *slot, const uint8_t tag[PACKET_TAG_BYTES])
{
	uint8_t *frame = slot->frame.iov_base;

	memmove(frame - PACKET_TAG_BYTES, frame, 12);
	memcpy(frame + 12 - PACKET_TAG_BYTES, tag, PACKET_TAG_BYTES);
	slot->frame = (struct iovec){frame - PACKET_TAG_BYTES, slot->frame.iov_len + PACKET_TAG_BYTES};
	slot->header.csum_start = le16(le16(slot->header.csum_start) + PACKET_TAG_BYTES);
	if (slot->header.hdr_len)
		slot->header.hdr_len = le16(le16(slot->header.hdr_len) + PACKET_TAG_BYTES);
}

static bool frame_fill(struct packet_port *port, struct packet_slot *slot, struct vireo_frame *frame)
{
	uint32_t len = (uint32_t)slot->frame.iov_len, head = min_u32(len, VIREO_FRAME_HEAD_BYTES);
	const char *why;

	frame->iov = &slot->frame;
	frame->iov_count = 1;
	frame->len_bytes = len;
	frame->head_bytes = frame->head_skip = 0;
	memcpy(frame->head, slot->frame.iov_base, head);
	if (net_header_parse(&slot->header, len, frame->head, head, port->kernel.port.offloads | PACKET_GIVES, &frame->offload, &why))
		return false;
	if (slot->header.flags & NET_HDR_F_DATA_VALID && !(slot->header.flags & NET_HDR_F_NEEDS_CSUM))
		frame->offload.flags |= VIREO_FRAME_DATA_VALID; /* the interface has looked at it */
	return true;
}

/* True: *frame holds; else it is not to be shown, and counted if it was for us. */
static bool take(struct packet_port *port, struct packet_queue *q, unsigned number, struct vireo_frame *frame)
{
	struct packet_slot *slot = &q->slots[number];
	struct mmsghdr *message = &q->messages[number];
	uint8_t tag[PACKET_TAG_BYTES];

	if (slot->from.sll_pkttype == PACKET_OUTGOING)
		return false;
	if (message->msg_hdr.msg_flags & MSG_TRUNC) {
		counter_add(&q->in.too_long, 1);
		return false;
	}
	if (message->msg_len < PACKET_HDR_BYTES + 14) {
		counter_add(&q->in.runt, 1);
		return false;
	}
	slot->frame = (struct iovec){slot->asked[1].iov_base, message->msg_len - PACKET_HDR_BYTES};
	if (packet_socket_tag(&message->msg_hdr, tag))
		tag_insert(slot, tag);
	if (!frame_fill(port, slot, frame)) {
		counter_add(&q->in.bad_offload, 1);
		return false;
	}
	counter_add(&q->in.frames, 1);
	counter_add(&q->in.bytes, frame->len_bytes);
	return true;
}

/*
 * Of a call that took nothing. The kernel says once that the interface is down (ENETDOWN), and shows frames again when it is up; of one that
 * goes away it says nothing more: packet_socket_bound().
 */
static void nothing_taken(struct packet_queue *q, int err)
{
	if (err != EAGAIN && err != EINTR && err != ENETDOWN)
		counter_add(&q->in.error, 1); /* one frame, that the header has no words for */
}

static int packet_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct packet_port *port = opaque;
	struct packet_queue *q = &port->queues[queue];
	int count, shown = 0;

	count = recvmmsg(q->fd, q->messages, min_u32(max, KERNEL_BURST), MSG_DONTWAIT, NULL);
	if (count < 0)
		nothing_taken(q, errno);
	for (int i = 0; i < count; i++) {
		shown += take(port, q, (unsigned)i, &frames[shown]);
		ask_again(q, (unsigned)i);
	}
	return shown;
}

static void packet_release(void *opaque, unsigned queue)
{
	/* The buffers are ours, and the next receive writes over them. */
}

static int packet_kick_fd(void *opaque, unsigned queue)
{
	const struct packet_port *port = opaque;

	return port->queues[queue].fd;
}

static bool packet_kick_enable(void *opaque, unsigned queue, bool on)
{
	const struct packet_port *port = opaque;

	return kernel_kick_enable(port->queues[queue].fd, on);
}

/* ---- out ---- */

static void refused(struct packet_port *port, struct packet_queue *q, int err)
{
	if (err == ENXIO && !__atomic_exchange_n(&port->told_gone, true, __ATOMIC_RELAXED))
		log_error(&port->kernel.port.log, "the interface is gone: remove and add the port when it is back");
	kernel_refusal_count(&q->out, err);
}

/* Of the batch, from frame `at` on: how many went; -1: see errno, of the first of them. */
static int some_sent(struct packet_queue *q, unsigned at)
{
	struct packet_batch *batch = &q->batch;
	const struct kernel_frame *first = &batch->frames[at];
	int n = sendmmsg(q->fd, &batch->messages[at], batch->count - at, MSG_DONTWAIT);

	if (unlikely(n < 0 && errno == EFAULT)) { /* pages that the guest has never touched: see vireo/memory.h */
		vireo_memory_touch(first->iov, first->pieces);
		n = sendmmsg(q->fd, &batch->messages[at], batch->count - at, MSG_DONTWAIT);
	}
	return n;
}

/* How many of the batch went; the others are counted. One that the kernel refuses does not keep back those behind it. */
static int batch_send(struct packet_port *port, struct packet_queue *q)
{
	struct packet_batch *batch = &q->batch;
	unsigned at = 0, sent = 0;

	while (at < batch->count) {
		int n = some_sent(q, at);

		if (n <= 0) {
			refused(port, q, errno);
			at++;
			continue;
		}
		for (int i = 0; i < n; i++)
			counter_add(&q->out.bytes, batch->bytes[at++]);
		sent += (unsigned)n;
	}
	counter_add(&q->out.frames, sent);
	batch->count = batch->pieces = 0;
	return (int)sent;
}

static bool batch_full(const struct packet_batch *batch, const struct vireo_frame *next)
{
	return batch->count == KERNEL_BURST || batch->pieces + kernel_frame_room(next) > PACKET_ROOM;
}

/* False: it cannot be laid out, which is counted. */
static bool batch_add(struct packet_port *port, struct packet_queue *q, const struct vireo_frame *frame)
{
	struct packet_batch *batch = &q->batch;
	struct kernel_frame *out = &batch->frames[batch->count];
	int err;

	out->iov = &batch->room[batch->pieces];
	err = kernel_frame_lay(out, frame, PACKET_HDR_BYTES, &q->bounce);
	if (err) {
		refused(port, q, -err);
		return false;
	}
	batch->messages[batch->count].msg_hdr = (struct msghdr){.msg_iov = out->iov, .msg_iovlen = out->pieces};
	batch->bytes[batch->count++] = vireo_frame_bytes(frame);
	batch->pieces += out->pieces;
	return true;
}

static int packet_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct packet_port *port = opaque;
	struct packet_queue *q = &port->queues[queue];
	int sent = 0;

	for (unsigned i = 0; i < count; i++) {
		if (batch_full(&q->batch, frames[i]))
			sent += batch_send(port, q);
		if (batch_add(port, q, frames[i]) && kernel_frame_bounces(frames[i]))
			sent += batch_send(port, q);
	}
	return sent + batch_send(port, q);
}

static void packet_flush(void *opaque, unsigned queue)
{
	/* Each frame is on its way at once. */
}

static bool packet_carrier(void *opaque)
{
	const struct packet_port *port = opaque;

	return packet_socket_running(port->queues[0].fd);
}

static void packet_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	struct packet_port *port = opaque;
	struct packet_queue *q = &port->queues[queue];

	sw_queue_stats_read(out ? &q->out : &q->in, ret);
	if (!out)
		ret->no_buffer += __atomic_add_fetch(&q->lost, packet_socket_lost(q->fd), __ATOMIC_RELAXED);
}

static const struct sw_port_ops packet_ops = {
	.receive = packet_receive,
	.release = packet_release,
	.deliver = packet_deliver,
	.flush = packet_flush,
	.kick_fd = packet_kick_fd,
	.kick_enable = packet_kick_enable,
	.carrier = packet_carrier,
	.stats = packet_stats,
};

/* ---- making and ending it ---- */

static void packet_free(struct port *port)
{
	struct packet_port *packet = container_of(port, struct packet_port, kernel.port);

	kernel_port_fini(&packet->kernel);
	for (unsigned i = 0; i < port->spec.queues; i++) {
		fd_close(&packet->queues[i].fd);
		kernel_buffers_free(&packet->queues[i].buffers, KERNEL_BURST * PACKET_BUFFER_BYTES);
		free(packet->queues[i].bounce);
	}
	free(packet);
}

static int packet_fds(struct packet_port *packet, char *why)
{
	const struct vireo_endpoint_state *state = packet->kernel.port.ports->state;
	const struct port_spec *spec = &packet->kernel.port.spec;
	int fds[SW_QUEUES_MAX];
	unsigned offloads;
	int err = state ? kernel_state_take(state, spec, KERNEL_STATE_AF_PACKET, PACKET_TAKES, packet_socket_problem, fds, &offloads, why)
			: packet_socket_open(spec, fds, why);

	for (unsigned i = 0; !err && i < packet->kernel.port.spec.queues; i++)
		packet->queues[i].fd = fds[i];
	return err;
}

static int packet_buffers(struct packet_port *packet)
{
	int err = 0;

	for (unsigned i = 0; !err && i < packet->kernel.port.spec.queues; i++) {
		err = kernel_buffers_new(KERNEL_BURST * PACKET_BUFFER_BYTES, &packet->queues[i].buffers);
		if (!err)
			ask(&packet->queues[i]);
	}
	return err;
}

static int packet_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct packet_port *packet = calloc(1, sizeof(*packet) + spec->queues * sizeof(packet->queues[0]));
	int err;

	snprintf(why, SPEC_WHY_BYTES, "af_packet '%.15s': out of memory or ports", spec->at.address);
	if (!packet)
		return -ENOMEM;
	port_init(&packet->kernel.port, ports, &port_af_packet, spec);
	packet->kernel.port.in_queues = packet->kernel.port.out_queues = spec->queues;
	for (unsigned i = 0; i < spec->queues; i++)
		packet->queues[i].fd = -1;
	err = packet_buffers(packet);
	if (!err)
		err = packet_fds(packet, why);
	if (!err)
		err = kernel_port_start(&packet->kernel, PACKET_TAKES);
	return port_opened(&packet->kernel.port, err, ret_port);
}

static const char *packet_state(const struct port *port)
{
	const struct packet_port *packet = (const struct packet_port *)port;

	if (!packet_socket_bound(packet->queues[0].fd))
		return "failed";
	return packet_socket_running(packet->queues[0].fd) ? "up" : "down";
}

static void packet_report(const struct port *port, json_t *object)
{
	const struct packet_port *packet = (const struct packet_port *)port;
	json_t *session = packet_socket_report(packet->queues[0].fd);

	json_object_set_new(object, "session", session ? session : json_null());
}

/* ---- to another process ---- */

static const char *packet_hold_refused(const struct port *port)
{
	const struct packet_port *packet = (const struct packet_port *)port;

	return packet_socket_bound(packet->queues[0].fd) ? NULL : "it has failed";
}

static int packet_export(struct port *port, struct vireo_endpoint_state *ret_state)
{
	struct packet_port *packet = container_of(port, struct packet_port, kernel.port);

	for (unsigned i = 0; i < port->spec.queues; i++)
		packet->told_fds[i] = packet->queues[i].fd;
	kernel_state_say(&packet->told, KERNEL_STATE_AF_PACKET, port->offloads, packet->told_fds, port->spec.queues, ret_state);
	return 0;
}

static const struct spec_key keys[] = {KERNEL_PORT_KEYS};

const struct port_kind port_af_packet = {
	.spec = {
		.type = "af_packet",
		.address = "INTERFACE",
		.address_problem = port_interface_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &packet_ops,
	.open = packet_open,
	.close = port_closed,
	.free = packet_free,
	.state = packet_state,
	.report = packet_report,
	.hold_refused = packet_hold_refused,
	.silence = kernel_port_silence,
	.hold = kernel_port_hold,
	.export = packet_export,
	.go_on = kernel_port_go_on,
	.takes_rtnl = true,
};
