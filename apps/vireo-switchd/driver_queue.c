/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver_queue.h"
#include "base/util.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ETHERNET_BYTES 14u
#define FRAME_PIECES_MAX 64u /* of a frame that is sent: what an indirect table holds */
#define NO_SLOT UINT16_MAX

/* ---- in ---- */

static int buffer_offer(struct driver_queue *q, void *buffer)
{
	const struct iovec iov = {.iov_base = buffer, .iov_len = q->s.buffer_bytes};

	return vireo_driver_ring_add(q->s.rx, &iov, 0, 1, false, buffer);
}

/* The next used buffer, held until release. 1, 0: none, or what the ring says. */
static int buffer_take(struct driver_queue *q, uint32_t *ret_bytes)
{
	int ret = vireo_driver_ring_get(q->s.rx, &q->held[q->held_count], ret_bytes);

	if (ret > 0)
		q->held_count++;
	return ret;
}

/*
 * Takes what follows a frame's first buffer (5.1.6.4): it has been used together with that, and all but the
 * last one are full. Returns the pieces of the frame, 0 if that is not so, or what the ring says.
 */
static int frame_gather(struct driver_queue *q, unsigned first, uint32_t bytes, unsigned buffers)
{
	bool whole = buffers >= 1 && bytes > NET_HDR_BYTES;
	unsigned size = vireo_driver_ring_size(q->s.rx);
	int ret;

	q->pieces[first] = (struct iovec){(uint8_t *)q->held[first] + NET_HDR_BYTES, bytes - NET_HDR_BYTES};
	for (unsigned i = 1; i < buffers && q->held_count < size; i++) {
		whole &= bytes == q->s.buffer_bytes;
		ret = buffer_take(q, &bytes);
		if (ret <= 0)
			return ret;
		whole &= bytes != 0;
		q->pieces[first + i] = (struct iovec){q->held[first + i], bytes};
	}
	return whole && q->held_count - first == buffers ? (int)buffers : 0;
}

/* A device may vouch for the checksums of what it received, as the host's kernel does, if that was agreed. */
static bool offload_of(const struct driver_queue *q, const struct virtio_net_header *header,
		       struct vireo_frame *frame)
{
	uint32_t head = min_u32(frame->len_bytes, VIREO_FRAME_HEAD_BYTES);
	const char *why;

	if (net_header_parse(header, frame->len_bytes, frame->head, head, q->s.offloads, &frame->offload,
			     &why))
		return false;
	if ((header->flags & NET_HDR_F_DATA_VALID) && !(header->flags & NET_HDR_F_NEEDS_CSUM) &&
	    (q->s.offloads & VIREO_OFFLOAD_CSUM))
		frame->offload.flags |= VIREO_FRAME_DATA_VALID;
	return true;
}

/* The frame whose first buffer has just been taken: 1: *frame holds, 0: it is not shown (counted), or an
 * error. */
static int frame_take(struct driver_queue *q, uint32_t bytes, struct vireo_frame *frame)
{
	unsigned first = q->held_count - 1;
	struct virtio_net_header header;
	uint32_t head;
	int pieces;

	if (bytes < NET_HDR_BYTES + ETHERNET_BYTES) {
		counter_add(&q->in.runt, 1);
		return 0;
	}
	memcpy(&header, q->held[first], sizeof(header));
	pieces = frame_gather(q, first, bytes, q->s.mergeable ? le16(header.num_buffers) : 1);
	if (pieces <= 0) {
		counter_add(&q->in.error, 1);
		return pieces;
	}
	frame->iov = &q->pieces[first];
	frame->iov_count = (uint32_t)pieces;
	frame->len_bytes = 0;
	frame->head_bytes = frame->head_skip = 0;
	for (int i = 0; i < pieces; i++)
		frame->len_bytes += (uint32_t)frame->iov[i].iov_len;
	head = min_u32(frame->len_bytes,
		       VIREO_FRAME_HEAD_BYTES); /* in the first piece: if there are more, that is full */
	memcpy(frame->head, frame->iov[0].iov_base, head);
	if (!offload_of(q, &header, frame)) {
		counter_add(&q->in.bad_offload, 1);
		return 0;
	}
	counter_add(&q->in.frames, 1);
	counter_add(&q->in.bytes, frame->len_bytes);
	return 1;
}

int driver_queue_receive(struct driver_queue *q, struct vireo_frame *frames, unsigned max)
{
	unsigned shown = 0;
	uint32_t bytes;
	int ret = 0;

	/* Frames that are not shown are bounded by the buffers that there are. */
	while (shown < max && q->held_count < vireo_driver_ring_size(q->s.rx)) {
		ret = buffer_take(q, &bytes);
		if (ret <= 0)
			break;
		ret = frame_take(q, bytes, &frames[shown]);
		if (ret < 0)
			break;
		shown += (unsigned)ret;
	}
	if (shown)
		return (int)shown; /* an error comes again */
	if (ret >= 0 && q->held_count)
		ret = driver_queue_release(q);
	return ret < 0 ? ret : 0;
}

int driver_queue_release(struct driver_queue *q)
{
	int err = 0;

	for (unsigned i = 0; i < q->held_count && !err; i++)
		err = buffer_offer(q, q->held[i]);
	q->held_count = 0;
	vireo_driver_ring_kick(q->s.rx);
	return err;
}

/* ---- out ---- */

static int slots_reclaim(struct driver_queue *q)
{
	uint32_t len_bytes;
	void *cookie;

	int ret;

	while ((ret = vireo_driver_ring_get(q->s.tx, &cookie, &len_bytes)) > 0)
		for (uint16_t slot = (uint16_t)((uintptr_t)cookie - 1); slot != NO_SLOT; slot = q->next[slot])
			q->slots[q->slots_free++] = slot;
	return ret;
}

/* Buffers being filled, one after the other. */
struct filling {
	struct iovec iov[FRAME_PIECES_MAX];
	unsigned count;
	uint16_t first, last;
	uint32_t room_bytes; /* in the last one */
};

static void filling_next(struct driver_queue *q, struct filling *f)
{
	uint16_t slot = q->slots[--q->slots_free];

	if (f->count)
		q->next[f->last] = slot;
	else
		f->first = slot;
	q->next[slot] = NO_SLOT;
	f->last = slot;
	f->iov[f->count++].iov_base = (uint8_t *)q->s.tx_memory + (size_t)slot * q->s.buffer_bytes;
	f->iov[f->count - 1].iov_len = 0;
	f->room_bytes = q->s.buffer_bytes;
}

static void fill(struct driver_queue *q, struct filling *f, const void *data, size_t bytes)
{
	const uint8_t *from = data;

	while (bytes) {
		struct iovec *to;
		uint32_t part;

		if (!f->room_bytes)
			filling_next(q, f);
		to = &f->iov[f->count - 1];
		part = bytes < f->room_bytes ? (uint32_t)bytes : f->room_bytes;
		memcpy((uint8_t *)to->iov_base + to->iov_len, from, part);
		to->iov_len += part;
		f->room_bytes -= part;
		from += part;
		bytes -= part;
	}
}

/* Header, the private head with its edit, and what follows that in the sender's memory. */
static void frame_copy(struct driver_queue *q, struct filling *f, const struct vireo_frame *frame,
		       const struct virtio_net_header *header)
{
	size_t skip = vireo_frame_skip_bytes(frame);

	fill(q, f, header, sizeof(*header));
	fill(q, f, frame->head, vireo_frame_head_bytes(frame));
	for (uint32_t i = 0; i < frame->iov_count; i++) {
		const struct iovec *piece = &frame->iov[i];
		size_t cut = piece->iov_len < skip ? piece->iov_len : skip;

		skip -= cut;
		fill(q, f, (const uint8_t *)piece->iov_base + cut, piece->iov_len - cut);
	}
}

static uint64_t slots_needed(const struct driver_queue *q, const struct vireo_frame *frame)
{
	uint64_t total_bytes = (uint64_t)NET_HDR_BYTES + vireo_frame_bytes(frame);

	return (total_bytes + q->s.buffer_bytes - 1) / q->s.buffer_bytes;
}

/* 1: it is on its way, 0: not (counted). */
static int frame_send(struct driver_queue *q, const struct vireo_frame *frame)
{
	uint64_t slots = slots_needed(q, frame);
	bool table = q->s.indirect && slots > 1;
	struct vireo_frame_offload offload;
	struct virtio_net_header header;
	struct filling f = {.count = 0};

	if (!vireo_frame_offload_moved(frame, &offload)) {
		counter_add(&q->out.offload_refused, 1);
		return 0;
	}
	if (slots > FRAME_PIECES_MAX || slots > vireo_driver_ring_size(q->s.tx)) {
		counter_add(&q->out.too_long, 1);
		return 0;
	}
	if (slots > q->slots_free || (table ? 1 : slots) > vireo_driver_ring_free(q->s.tx)) {
		counter_add(&q->out.no_buffer, 1);
		return 0;
	}
	header = net_header_build(&offload);
	frame_copy(q, &f, frame, &header);
	if (vireo_driver_ring_add(q->s.tx, f.iov, f.count, 0, table, (void *)((uintptr_t)f.first + 1))) {
		counter_add(&q->out.error, 1); /* our own mistake: the ring was whole a moment ago */
		return 0;
	}
	counter_add(&q->out.frames, 1);
	counter_add(&q->out.bytes, vireo_frame_bytes(frame));
	return 1;
}

int driver_queue_deliver(struct driver_queue *q, struct vireo_frame *const *frames, unsigned count)
{
	int sent = 0, err = slots_reclaim(q);

	if (unlikely(err)) {
		counter_add(&q->out.error, count);
		return err;
	}
	for (unsigned i = 0; i < count; i++)
		sent += frame_send(q, frames[i]);
	return sent;
}

void driver_queue_flush(struct driver_queue *q)
{
	vireo_driver_ring_kick(q->s.tx);
}

/* ---- both ---- */

int driver_queue_init(struct driver_queue *q, const struct driver_queue_setup *setup)
{
	unsigned rx_size = vireo_driver_ring_size(setup->rx), tx_size = vireo_driver_ring_size(setup->tx);
	int err = 0;

	*q = (struct driver_queue){.s = *setup, .in = q->in, .out = q->out};
	q->held = calloc(rx_size, sizeof(*q->held));
	q->pieces = calloc(rx_size, sizeof(*q->pieces));
	q->slots = calloc(tx_size, sizeof(*q->slots));
	q->next = calloc(tx_size, sizeof(*q->next));
	if (!q->held || !q->pieces || !q->slots || !q->next)
		return -ENOMEM;
	for (unsigned i = tx_size; i-- > 0;)
		q->slots[q->slots_free++] = (uint16_t)i;
	for (unsigned i = 0; i < rx_size && !err; i++)
		err = buffer_offer(q, (uint8_t *)setup->rx_memory + (size_t)i * setup->buffer_bytes);
	vireo_driver_ring_kick(setup->rx);
	return err;
}

void driver_queue_fini(struct driver_queue *q)
{
	free(q->held);
	free(q->pieces);
	free(q->slots);
	free(q->next);
	*q = (struct driver_queue){.in = q->in, .out = q->out};
}
