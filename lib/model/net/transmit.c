/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Transmit queues: frames from the guest.
 *
 * A look pops chains into the queue's arena, takes the header off each (a private copy, checked) and leaves
 * the frame where it is; complete gives all of them back. If the ring seems to hold more than one look takes,
 * complete pops the next chains already, whose first lines come in while others are served. Bad frames are the
 * guest's own loss: they are counted and go back with the rest, because IN_ORDER wants every chain in its turn.
 */

#include "base/copy.h"
#include "vireo/cursor.h"
#include "model/net/net_internal.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

/*
 * What a call may spend on chains that bring the caller nothing: other queues wait meanwhile, and a driver can make
 * each chain as long as the ring. Who then asks for kicks is told that there is more.
 */
#define VAIN_WORK_MAX 1024u

/* The header lies over several pieces, or the frame is very short. */
static void transmit_take_scattered(struct net_queue *q, struct vireo_frame *frame,
				    struct virtio_net_header *header)
{
	struct vireo_cursor c = vireo_cursor_of(frame->iov, frame->iov_count);
	uint64_t skip = q->header_bytes;

	vireo_cursor_take(&c, header, min_u32(q->header_bytes, sizeof(*header)));
	while (skip >= frame->iov->iov_len && frame->iov_count > 1) {
		skip -= frame->iov->iov_len;
		frame->iov++;
		frame->iov_count--;
	}
	frame->iov->iov_base = (uint8_t *)frame->iov->iov_base + skip;
	frame->iov->iov_len -= skip;
	c = vireo_cursor_of(frame->iov, frame->iov_count); /* the pieces have changed under the old one */
	memset(frame->head, 0, sizeof(frame->head));
	vireo_cursor_take(&c, frame->head, min_u32(frame->len_bytes, VIREO_FRAME_HEAD_BYTES));
	net_copied();
}

/* The chain holds a header and an Ethernet header at least: copies both out, and moves the frame's start past
 * the first. */
static void transmit_take(struct net_queue *q, struct vireo_chain *chain, struct vireo_frame *frame,
			  struct virtio_net_header *header)
{
	struct iovec *iov = chain->iov;
	uint8_t *base = iov->iov_base;

	frame->iov = iov;
	frame->iov_count = chain->readable_count;
	frame->len_bytes = chain->readable_bytes - q->header_bytes;
	if (iov->iov_len == q->header_bytes && frame->iov_count > 1 && iov[1].iov_len >= VIREO_FRAME_HEAD_BYTES) {
		memcpy(header, base, NET_HDR_LEGACY_BYTES); /* num_buffers and a hash are not the driver's to say */
		net_head_copy(frame->head, iov[1].iov_base);
		net_copied();
		frame->iov++;
		frame->iov_count--;
		return;
	}
	if (unlikely(iov->iov_len < q->header_bytes + VIREO_FRAME_HEAD_BYTES)) {
		transmit_take_scattered(q, frame, header);
		return;
	}
	memcpy(header, base, sizeof(*header)); /* a legacy header's num_buffers is not looked at */
	memcpy(frame->head, base + q->header_bytes, VIREO_FRAME_HEAD_BYTES);
	net_copied();
	iov->iov_base = base + q->header_bytes;
	iov->iov_len -= q->header_bytes;
}

static bool transmit_offload(const struct net_queue *q, const struct virtio_net_header *header,
			     struct vireo_frame *frame)
{
	unsigned head_bytes = min_u32(frame->len_bytes, VIREO_FRAME_HEAD_BYTES);
	const char *why;

	net_frame_plain(frame);
	if (likely(!(header->flags | header->gso_type)))
		return true;
	return !net_header_parse(header, frame->len_bytes, frame->head, head_bytes, q->offloads,
				 &frame->offload, &why);
}

/* Is the chain a frame that may go on? Counts it if not. */
static bool transmit_parse_slowly(struct net_queue *q, struct vireo_chain *chain, struct vireo_frame *frame)
{
	struct virtio_net_header header;

	if (unlikely(chain->readable_bytes < q->header_bytes + NET_ETHERNET_BYTES)) {
		counter_add(&q->stats.runt, 1);
		return false;
	}
	if (unlikely(chain->readable_bytes > q->header_bytes + NET_FRAME_BYTES_MAX)) {
		counter_add(&q->stats.too_long, 1);
		return false;
	}
	transmit_take(q, chain, frame, &header);
	if (likely(transmit_offload(q, &header, frame)))
		return true;
	counter_add(&q->stats.bad_offload, 1);
	return false;
}

/*
 * The same for the usual chain: one piece, and nothing asked of us. The first two fields of the header, flags and
 * gso_type, are read in one go; if they are zero the others mean nothing (5.1.6.2).
 */
static inline bool transmit_parse(struct net_queue *q, uint32_t header_bytes, struct vireo_chain *chain,
				  struct vireo_frame *frame)
{
	struct iovec *iov = chain->iov; /* of a chain of nothing it may be the arena's end */
	uint32_t head_end = header_bytes + VIREO_FRAME_HEAD_BYTES, len_bytes;
	uint8_t *base;
	uint16_t asked;

	if (unlikely(chain->readable_count != 1 || iov->iov_len - head_end > NET_FRAME_BYTES_MAX - VIREO_FRAME_HEAD_BYTES))
		return transmit_parse_slowly(q, chain, frame);
	base = iov->iov_base;
	memcpy(&asked, base, sizeof(asked));
	__asm__ volatile("" : "+r"(asked)); /* this copy counts */
	if (unlikely(asked))
		return transmit_parse_slowly(q, chain, frame);
	base += header_bytes;
	len_bytes = (uint32_t)iov->iov_len - header_bytes;
	net_head_copy(frame->head, base);
	iov->iov_base = base;
	iov->iov_len = len_bytes;
	frame->iov = iov;
	frame->iov_count = 1;
	frame->len_bytes = len_bytes;
	net_frame_plain(frame);
	return true;
}

/* Takes up to `max` of what is there in hand: chains [0..first). Returns `first`, 0 or -EPROTO. */
static int transmit_fill(struct net_queue *q, uint32_t max)
{
	uint32_t limit = min_u32(max, q->size);

	while (q->last < limit) {
		uint32_t want = min_u32(limit - q->last, NET_BATCH);
		int r = net_queue_pop(q, want);

		if (r < 0 && r != -ENOBUFS && !q->last) /* with chains in hand, the next look will say so */
			return r;
		if (r < (int)want)
			break;
	}
	q->first = min_u32(q->last, limit);
	return (int)q->first;
}

/* Gives back what is in hand. A look that took less than had been popped ahead leaves the rest to the next pop. */
static void transmit_return(struct net_queue *q)
{
	net_queue_unpop(q);
	vireo_queue_push_burst(q->queue, q->chains, NULL, q->first);
	q->first = q->last = 0;
	q->iov_used = 0;
	vireo_queue_flush(q->queue);
}

/* What the chains in hand have cost: a round, chains, pieces. */
static uint32_t transmit_work(const struct net_queue *q)
{
	return 16 + q->first + q->iov_used;
}

/* Of chains that bring the caller nothing: it does not look whether a signal is held back. */
static void transmit_return_vain(struct net_queue *q)
{
	transmit_return(q);
	vireo_queue_signal_now(q->queue);
}

/* A disabled queue is processed without side effects: frames are consumed and lost. */
static int transmit_discard(struct net_queue *q)
{
	for (uint32_t work = 0; work < VAIN_WORK_MAX;) {
		int n = transmit_fill(q, NET_BATCH);

		if (n <= 0)
			return n;
		counter_add(&q->stats.disabled, (uint64_t)n);
		work += transmit_work(q);
		transmit_return_vain(q);
	}
	return 0;
}

/* Good frames among at most `count` chains. When all are bad it goes on, for VAIN_WORK_MAX. */
static int transmit_look(struct net_queue *q, struct vireo_frame *frames, unsigned count, uint64_t *ret_bytes)
{
	const uint32_t header_bytes = q->header_bytes;
	uint64_t bytes = 0;

	assert(!q->first); /* the last look has been completed */
	if (unlikely(!vireo_queue_enabled(q->queue)))
		return transmit_discard(q);
	for (uint32_t work = 0; work < VAIN_WORK_MAX; work += transmit_work(q), transmit_return_vain(q)) {
		int chains = transmit_fill(q, count);
		int good = 0;

		if (chains <= 0)
			return chains;
		for (int i = 0; i < chains; i++) {
			if (unlikely(!transmit_parse(q, header_bytes, &q->chains[i], &frames[good])))
				continue;
			bytes += frames[good++].len_bytes;
		}
		*ret_bytes = bytes;
		if (likely(good))
			return good;
	}
	return 0;
}

int vireo_net_transmit_look(struct vireo_net *net, unsigned pair, struct vireo_frame *frames, unsigned count)
{
	struct net_queue *q;
	uint64_t bytes = 0;
	int n;

	if (unlikely(pair >= net->pairs))
		return -EINVAL;
	q = net_transmit_queue(net, pair);
	if (unlikely(!q->queue || !count))
		return 0;
	net_queue_look_for_renewal(q);
	q->burst = count;
	n = transmit_look(q, frames, count, &bytes);
	if (n <= 0)
		return n;
	counter_add(&q->stats.frames, (uint64_t)n);
	counter_add(&q->stats.bytes, bytes);
	return n;
}

void vireo_net_transmit_expect(struct vireo_net *net, unsigned pair)
{
	struct net_queue *q;

	if (unlikely(pair >= net->pairs))
		return;
	q = net_transmit_queue(net, pair);
	if (q->queue && !q->last) /* else frames are in hand already */
		vireo_queue_expect(q->queue);
}

void vireo_net_transmit_complete(struct vireo_net *net, unsigned pair)
{
	struct net_queue *q;
	uint32_t burst;

	assert(pair < net->pairs);
	q = net_transmit_queue(net, pair);
	burst = q->first;
	if (!burst)
		return;
	transmit_return(q);
	if (burst == q->burst)
		net_queue_pop(q, min_u32(burst, NET_BATCH)); /* what is wrong, if anything, the next look will say */
}

/* ---- packets of the caller's own ---- */

static bool transmit_copy(struct net_queue *q, const struct vireo_frame *frame, struct vireo_packet *packet)
{
	uint32_t head_bytes = min_u32(frame->len_bytes, VIREO_FRAME_HEAD_BYTES);
	struct vireo_cursor c;

	if (unlikely(frame->len_bytes > packet->capacity_bytes)) {
		counter_add(&q->stats.too_long, 1);
		return false;
	}
	c = vireo_cursor_of(frame->iov, frame->iov_count);
	vireo_cursor_skip(&c, head_bytes);
	memcpy(packet->data, frame->head, head_bytes);
	vireo_cursor_take(&c, (uint8_t *)packet->data + head_bytes, frame->len_bytes - head_bytes);
	packet->len_bytes = frame->len_bytes;
	packet->offload = frame->offload;
	counter_add(&q->stats.frames, 1);
	counter_add(&q->stats.bytes, frame->len_bytes);
	return true;
}

/* The usual chain straight into the caller's memory, where no head is needed. False: nothing has been done. */
static inline bool transmit_plain_copy(const struct net_queue *q, const struct vireo_chain *chain,
				       uint32_t header_bytes, struct vireo_packet *packet)
{
	const struct iovec *iov = chain->iov; /* of a chain of nothing it may be the arena's end */
	size_t len_bytes;
	uint16_t asked;

	if (unlikely(chain->readable_count != 1))
		return false;
	len_bytes = iov->iov_len - header_bytes; /* huge if there is not even a header */
	if (unlikely(len_bytes - NET_ETHERNET_BYTES > NET_FRAME_BYTES_MAX - NET_ETHERNET_BYTES))
		return false;
	memcpy(&asked, iov->iov_base, sizeof(asked));
	if (unlikely(asked || len_bytes > packet->capacity_bytes))
		return false;
	copy_bytes(packet->data, (const uint8_t *)iov->iov_base + header_bytes, len_bytes, q->string_from_bytes);
	packet->len_bytes = (uint32_t)len_bytes;
	memset(&packet->offload, 0, sizeof(packet->offload));
	return true;
}

/* Packets filled from what is in hand. */
static unsigned transmit_copy_all(struct net_queue *q, unsigned chains, struct vireo_packet *packets)
{
	uint32_t header_bytes = q->header_bytes;
	uint64_t bytes = 0;
	unsigned filled = 0, counted = 0;

	for (unsigned i = 0; i < chains; i++) {
		struct vireo_chain *chain = &q->chains[i];
		struct vireo_frame frame;

		if (likely(transmit_plain_copy(q, chain, header_bytes, &packets[filled]))) {
			bytes += packets[filled++].len_bytes;
		} else if (transmit_parse_slowly(q, chain, &frame)) {
			unsigned copied = transmit_copy(q, &frame, &packets[filled]);

			filled += copied;
			counted += copied;
		}
	}
	counter_add(&q->stats.frames, filled - counted);
	counter_add(&q->stats.bytes, bytes);
	return filled;
}

int vireo_net_dequeue_burst(struct vireo_net *net, unsigned pair, struct vireo_packet *packets,
			    unsigned count)
{
	unsigned filled = 0;
	struct net_queue *q;

	if (unlikely(pair >= net->pairs))
		return -EINVAL;
	q = net_transmit_queue(net, pair);
	if (unlikely(!q->queue))
		return 0;
	net_queue_look_for_renewal(q);
	if (unlikely(!vireo_queue_enabled(q->queue)))
		return transmit_discard(q);
	/*
	 * One pop, unless its chains have filled nothing: to run after a driver that is just writing would cost a
	 * barrier for each few frames.
	 */
	for (uint32_t work = 0; !filled && work < VAIN_WORK_MAX;) {
		int n = transmit_fill(q, count);

		if (n <= 0)
			return n;
		filled = transmit_copy_all(q, (unsigned)n, packets);
		work += transmit_work(q);
		transmit_return(q);
	}
	if (filled == count)
		net_queue_pop(q, min_u32(count, NET_BATCH));
	return (int)filled;
}
