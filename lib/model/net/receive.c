/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Receive queues: frames to the guest.
 *
 * Buffers come out of the queue's arena (buffers.c). A frame is copied only once it is sure that its chains hold all of it,
 * so a frame that does not fit leaves the guest's memory alone, and the chains serve the next frame.
 *
 * What the receiver gets for a frame's first bytes is the private copy that decisions were taken on; the rest
 * comes straight from the sender's memory. An edit (vireo/frame.h) is that copy with another length than what it replaces; frames that
 * have got or lost a tag go in runs of their own.
 */

#include "base/copy.h"
#include "vireo/cursor.h"
#include "model/net/net_internal.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

/* ---- is this frame for this driver? ---- */

/* A tag comes on top of what the driver takes. */
static inline uint32_t receive_tag_bytes(const struct vireo_frame *frame)
{
	return frame->head[12] == 0x81 && frame->head[13] == 0x00 ? NET_VLAN_BYTES : 0;
}

static uint32_t receive_frame_max(const struct net_queue *q, const struct vireo_frame *frame)
{
	if (frame->offload.gso != VIREO_GSO_NONE)
		return NET_FRAME_BYTES_MAX;
	return __atomic_load_n(&q->frame_bytes_max, __ATOMIC_RELAXED) + receive_tag_bytes(frame);
}

static __attribute__((noinline)) bool receive_offload_taken(const struct net_queue *q, const struct vireo_frame *frame)
{
	struct vireo_frame_offload moved;

	return !(net_offloads_needed(&frame->offload) & ~__atomic_load_n(&q->offloads, __ATOMIC_RELAXED)) &&
	       vireo_frame_offload_moved(frame, &moved);
}

static bool receive_wanted(const struct vireo_net *net, struct net_queue *q, const struct vireo_frame *frame)
{
	bool offloads = frame->offload.flags | frame->offload.gso;

	if (unlikely(!net_filter_passes(&net->filter, frame->head))) {
		counter_add(&q->stats.filtered, 1);
		return false;
	}
	if (unlikely(offloads && !receive_offload_taken(q, frame))) {
		counter_add(&q->stats.offload_refused, 1);
		return false;
	}
	if (unlikely(frame->len_bytes > receive_frame_max(q, frame))) {
		counter_add(&q->stats.too_long, 1);
		return false;
	}
	return true;
}

/* ---- copying ---- */

/* Only what the driver accepted is said: 5.1.6.4.1. The rest of the offload was compared with q->offloads
 * before. */
static __attribute__((noinline)) struct virtio_net_header receive_header_offload(const struct net_queue *q,
										 const struct vireo_frame *frame)
{
	struct vireo_frame_offload offload = {0};

	vireo_frame_offload_moved(frame, &offload); /* it has passed receive_wanted() */
	if (!(__atomic_load_n(&q->offloads, __ATOMIC_RELAXED) & VIREO_OFFLOAD_CSUM))
		offload.flags &= (uint8_t)~VIREO_FRAME_DATA_VALID;
	return net_header_build(&offload);
}

static inline struct virtio_net_header receive_header(const struct net_queue *q, const struct vireo_frame *frame,
						      unsigned buffers)
{
	struct virtio_net_header header = {0};

	if (unlikely(frame->offload.flags | frame->offload.gso))
		header = receive_header_offload(q, frame);
	header.num_buffers = htole16((uint16_t)buffers);
	return header;
}

/* Both sides in one piece: one contiguous write. A legacy header's last two bytes are overwritten by the
 * frame. */
static inline void receive_write_flat(const struct net_queue *q, const struct virtio_net_header *header, uint8_t *dst,
				      const struct vireo_frame *frame)
{
	const uint8_t *src = frame->iov->iov_base;

	memcpy(dst, header, sizeof(*header));
	dst += q->header_bytes;
	memcpy(dst, frame->head, VIREO_FRAME_HEAD_BYTES);
	/* Guests choose the addresses: both may name the same memory. */
	copy_bytes(dst + VIREO_FRAME_HEAD_BYTES, src + VIREO_FRAME_HEAD_BYTES,
		   frame->len_bytes - VIREO_FRAME_HEAD_BYTES, q->string_from_bytes);
}

/* The head as an edit has made it, and no byte more: what lies behind it in the array is nobody's. */
static inline void receive_head_edited(uint8_t *to, const struct vireo_frame *frame)
{
	uint32_t bytes = frame->head_bytes, last = bytes - 8;

	if (unlikely(bytes < NET_ETHERNET_BYTES || last > NET_ETHERNET_BYTES)) {
		memcpy(to, frame->head, bytes);
		return;
	}
	memcpy(to, frame->head, NET_ETHERNET_BYTES); /* a tag fewer, or more: the second copy overlaps, or begins where this one ends */
	memcpy(to + last, frame->head + last, 8);
}

/* As receive_write_flat(), for a frame with an edit; `bytes`: how long it is for the receiver. */
static inline void receive_write_flat_edited(const struct net_queue *q, const struct virtio_net_header *header, uint8_t *dst,
					     const struct vireo_frame *frame, uint32_t bytes)
{
	const uint8_t *src = frame->iov->iov_base;

	memcpy(dst, header, sizeof(*header));
	dst += q->header_bytes;
	receive_head_edited(dst, frame);
	copy_bytes(dst + frame->head_bytes, src + frame->head_skip, bytes - frame->head_bytes, q->string_from_bytes);
}

/* A frame being read: its private head, then the sender's pieces. */
struct receive_source {
	const uint8_t *head;
	uint32_t head_left;
	struct vireo_cursor rest;
};

static __attribute__((noinline)) void receive_source_edited(const struct vireo_frame *frame, struct receive_source *source)
{
	source->head_left = frame->head_bytes;
	source->rest = vireo_cursor_of(frame->iov, frame->iov_count);
	vireo_cursor_skip(&source->rest, frame->head_skip);
}

static struct receive_source receive_source_of(const struct vireo_frame *frame)
{
	struct receive_source source = {
		.head = frame->head,
		.head_left = vireo_frame_skip_bytes(frame),
		.rest = vireo_cursor_of(frame->iov, frame->iov_count),
	};

	vireo_cursor_skip(&source.rest, source.head_left);
	if (unlikely(frame->head_skip))
		receive_source_edited(frame, &source);
	return source;
}

static void receive_copy(struct vireo_cursor *dst, struct receive_source *source, uint32_t bytes)
{
	uint32_t n = min_u32(bytes, source->head_left);

	if (n) {
		vireo_cursor_put(dst, source->head, n);
		source->head += n;
		source->head_left -= n;
	}
	vireo_cursor_copy(dst, &source->rest, bytes - n);
}

static __attribute__((noinline)) void receive_write_flat_hash(const struct vireo_net *net, uint8_t *to, const struct vireo_frame *frame)
{
	struct virtio_net_header_hash hash;

	net_rss_report(net, frame, &hash);
	memcpy(to + sizeof(struct virtio_net_header), &hash, sizeof(hash));
}

/* Copies into `count` chains, which hold enough, and uses them. The header comes last, when its num_buffers
 * is true. */
static void receive_write(const struct vireo_net *net, struct net_queue *q, const struct vireo_frame *frame, unsigned count)
{
	const struct vireo_chain *chains = &q->chains[q->first];
	struct {
		struct virtio_net_header header;
		struct virtio_net_header_hash hash; /* as header_bytes says */
	} told;
	struct receive_source source = receive_source_of(frame);
	uint32_t left = q->header_bytes + frame->len_bytes;
	struct vireo_cursor first = vireo_chain_writable(&chains[0]);

	told.header = receive_header(q, frame, count);
	if (unlikely(q->hashed))
		net_rss_report(net, frame, &told.hash);
	for (unsigned i = 0; i < count; i++) {
		struct vireo_cursor dst = i ? vireo_chain_writable(&chains[i]) : first;
		uint32_t written = min_u32(left, chains[i].writable_bytes);
		uint32_t skip = i ? 0 : q->header_bytes;

		vireo_cursor_skip(&dst, skip);
		receive_copy(&dst, &source, written - skip);
		left -= written;
		if (!i)
			vireo_cursor_put(&first, &told, q->header_bytes);
		q->written[q->first++] = written;
	}
}

/* ---- one frame ---- */

/* The usual chain, a single piece to write to, that has room for so much. */
static inline bool receive_fits_flat(const struct vireo_chain *chain, uint32_t bytes)
{
	return chain->writable_bytes >= bytes && !chain->readable_count && chain->writable_count == 1;
}

/* The next chain, if it is the usual one and holds this frame, which has a single piece as well. */
static inline uint8_t *receive_flat_room(const struct net_queue *q, const struct vireo_frame *frame, uint32_t bytes)
{
	const struct vireo_chain *chain = &q->chains[q->first];

	if (unlikely(q->first == q->last || !receive_fits_flat(chain, bytes) || frame->iov_count != 1 ||
		     frame->len_bytes < VIREO_FRAME_HEAD_BYTES))
		return NULL;
	return chain->iov->iov_base;
}

/* 1: it is in; else as net_receive_gather(). `want`: frames that are still to come, this one included. */
static int receive_frame(const struct vireo_net *net, struct net_queue *q, const struct vireo_frame *frame, unsigned want)
{
	uint32_t bytes = q->header_bytes + frame->len_bytes;
	uint8_t *room;
	unsigned count;
	int r;

	if (q->first == q->last) {
		r = net_receive_refill(q, want);
		if (unlikely(r <= 0))
			return r;
	}
	room = receive_flat_room(q, frame, bytes);
	if (room) {
		struct virtio_net_header header = receive_header(q, frame, 1);

		if (unlikely(frame->head_skip))
			receive_write_flat_edited(q, &header, room, frame, frame->len_bytes);
		else
			receive_write_flat(q, &header, room, frame);
		if (unlikely(q->hashed))
			receive_write_flat_hash(net, room, frame);
		q->written[q->first++] = bytes;
		return 1;
	}
	r = net_receive_gather(q, bytes, want, &count);
	if (r == 1)
		receive_write(net, q, frame, count);
	return r;
}

#define NOT_WANTED (-ENOENT)

/* A frame with an edit: from here on its length is the receiver's. As receive_frame(), or NOT_WANTED, and counted. */
static __attribute__((noinline)) int receive_edited(const struct vireo_net *net, struct net_queue *q,
						    const struct vireo_frame *original, unsigned want, uint64_t *bytes)
{
	struct vireo_frame frame = *original;
	int r;

	frame.len_bytes = vireo_frame_bytes(original);
	if (!receive_wanted(net, q, &frame))
		return NOT_WANTED;
	r = receive_frame(net, q, &frame, want);
	if (r > 0) /* the rest is added for each frame */
		*bytes += (uint64_t)frame.len_bytes - original->len_bytes;
	return r;
}

/* Anything of the receiver: an offload, an edit. They lie side by side, for one look. */
static inline bool receive_asked(const struct vireo_frame *frame)
{
	uint32_t asked;

	_Static_assert(offsetof(struct vireo_frame, head_skip) == offsetof(struct vireo_frame, head_bytes) + 1 &&
			       offsetof(struct vireo_frame, offload.gso) == offsetof(struct vireo_frame, head_bytes) + 2 &&
			       offsetof(struct vireo_frame, offload.flags) == offsetof(struct vireo_frame, head_bytes) + 3,
		       "looked at as one word");
	memcpy(&asked, &frame->head_bytes, sizeof(asked));
	return asked;
}

/*
 * The usual frames in the usual chains: nothing asked of the receiver, and of a length that needs no question
 * (receive_plain_lengths()). Stops at the first that is not, or when no more chains have been popped. Returns how
 * many are in.
 */
static unsigned receive_plain(struct net_queue *q, struct vireo_frame *const *frames, unsigned count,
			      uint32_t plain_lengths, uint64_t *bytes)
{
	const struct virtio_net_header header = {.num_buffers = htole16(1)};
	const struct vireo_chain *chains = &q->chains[q->first];
	uint32_t *written = &q->written[q->first], header_bytes = q->header_bytes;
	unsigned i, limit = min_u32(count, q->last - q->first);
	uint64_t sum = 0;

	for (i = 0; i < limit; i++) {
		const struct vireo_frame *frame = frames[i];
		uint32_t len = frame->len_bytes, total = header_bytes + len;

		if (unlikely(receive_asked(frame)) ||
		    unlikely(len - VIREO_FRAME_HEAD_BYTES >= plain_lengths) ||
		    unlikely(frame->iov_count != 1 || !receive_fits_flat(&chains[i], total)))
			break;
		written[i] = total;
		sum += len;
		receive_write_flat(q, &header, chains[i].iov->iov_base, frame);
	}
	q->first += i;
	*bytes += sum;
	return i;
}

/* Nothing but an edit. */
static inline bool receive_asked_edit(const struct vireo_frame *frame)
{
	return frame->head_skip && !(frame->offload.gso | frame->offload.flags);
}

/* As receive_plain(), for frames with an edit, which have a tag fewer or more than their senders wrote. */
static __attribute__((noinline)) unsigned receive_plain_edited(struct net_queue *q, struct vireo_frame *const *frames, unsigned count,
								uint32_t plain_lengths, uint64_t *bytes)
{
	const struct virtio_net_header header = {.num_buffers = htole16(1)};
	const struct vireo_chain *chains = &q->chains[q->first];
	uint32_t *written = &q->written[q->first], header_bytes = q->header_bytes;
	unsigned i, limit = plain_lengths ? min_u32(count, q->last - q->first) : 0;

	for (i = 0; i < limit; i++) {
		const struct vireo_frame *frame = frames[i];
		uint32_t len = vireo_frame_bytes(frame), total = header_bytes + len;

		if (unlikely(!receive_asked_edit(frame)) ||
		    unlikely(len - VIREO_FRAME_HEAD_BYTES >= plain_lengths + receive_tag_bytes(frame)) ||
		    unlikely(frame->iov_count != 1 || !receive_fits_flat(&chains[i], total)))
			break;
		written[i] = total;
		*bytes += len;
		receive_write_flat_edited(q, &header, chains[i].iov->iov_base, frame, len);
	}
	q->first += i;
	return i;
}

/* What goes without a question, and is how most of a burst goes. */
static inline unsigned receive_usual(struct net_queue *q, struct vireo_frame *const *frames, unsigned count, uint32_t plain_lengths,
				     uint64_t *bytes)
{
	unsigned done = receive_plain(q, frames, count, plain_lengths, bytes);

	if (unlikely(done < count && frames[done]->head_skip))
		done += receive_plain_edited(q, frames + done, count - done, plain_lengths, bytes);
	return done;
}

/* ---- bursts ---- */

static bool receive_open(const struct vireo_net *net, unsigned pair, struct net_queue *q)
{
	q->runt_work = NET_RUNT_WORK_MAX;
	return vireo_queue_enabled(q->queue) && pair < __atomic_load_n(&net->pairs_active, __ATOMIC_RELAXED);
}

/*
 * How many lengths, from that of a frame's head on, need no further question: untagged frames so long are wanted,
 * whatever they are, and nothing is told of them.
 */
static uint32_t receive_plain_lengths(const struct vireo_net *net, const struct net_queue *q)
{
	uint32_t mode = __atomic_load_n(&net->filter.mode, __ATOMIC_RELAXED);
	uint32_t max = __atomic_load_n(&q->frame_bytes_max, __ATOMIC_RELAXED);

	return mode & NET_FILTER_PROMISCUOUS && max >= VIREO_FRAME_HEAD_BYTES && !q->hashed ? max - VIREO_FRAME_HEAD_BYTES + 1 : 0;
}

static void receive_end(struct net_queue *q, uint64_t frames, uint64_t bytes)
{
	q->burst += q->first - q->pushed;
	net_receive_push(q);
	if (frames) {
		counter_add(&q->stats.frames, frames);
		counter_add(&q->stats.bytes, bytes);
	}
}

/* There is no buffer for a frame: is the caller to keep it? */
static bool receive_leaves(const struct vireo_net *net, const struct net_queue *q)
{
	return __atomic_load_n(&net->keep, __ATOMIC_RELAXED) || vireo_queue_waits(q->queue);
}

void vireo_net_receive_keep(struct vireo_net *net, bool on)
{
	__atomic_store_n(&net->keep, on, __ATOMIC_RELAXED);
}

int vireo_net_receive_offer(struct vireo_net *net, unsigned pair, struct vireo_frame *const *frames, unsigned count)
{
	uint64_t delivered = 0, bytes = 0, lost = 0;
	uint32_t plain_lengths;
	struct net_queue *q;
	int r = 0;

	if (unlikely(pair >= net->pairs))
		return -EINVAL;
	q = net_receive_queue(net, pair);
	if (unlikely(!q->queue))
		return 0;
	net_queue_look_for_renewal(q);
	if (unlikely(!receive_open(net, pair, q))) {
		counter_add(&q->stats.disabled, count);
		return 0;
	}
	plain_lengths = receive_plain_lengths(net, q);
	for (unsigned i = 0; i < count && r != -EPROTO; i++) {
		unsigned usual = receive_usual(q, frames + i, count - i, plain_lengths, &bytes);

		delivered += usual;
		i += usual;
		if (i == count)
			break;
		if (unlikely(frames[i]->head_skip))
			r = receive_edited(net, q, frames[i], count - i, &bytes);
		else
			r = receive_wanted(net, q, frames[i]) ? receive_frame(net, q, frames[i], count - i) : NOT_WANTED;
		if (likely(r > 0)) {
			delivered++;
			bytes += frames[i]->len_bytes;
		} else if (r == -EMSGSIZE) {
			counter_add(&q->stats.too_long, 1);
		} else if (!r && receive_leaves(net, q)) {
			q->left = count - i;
			break;
		} else if (r != NOT_WANTED) {
			lost++;
		}
	}
	if (lost)
		counter_add(&q->stats.no_buffer, lost);
	receive_end(q, delivered, bytes);
	if (unlikely(q->runts_pushed && !delivered)) { /* nobody flushes after nothing, or looks */
		vireo_net_receive_flush(net, pair);
		vireo_queue_signal_now(q->queue);
	}
	return r == -EPROTO ? r : (int)delivered;
}

unsigned vireo_net_receive_left(struct vireo_net *net, unsigned pair)
{
	struct net_queue *q = pair < net->pairs ? net_receive_queue(net, pair) : NULL;
	unsigned left = q ? q->left : 0;

	if (left)
		q->left = 0;
	return left;
}

int vireo_net_receive_deliver(struct vireo_net *net, unsigned pair, struct vireo_frame *const *frames,
			      unsigned count)
{
	int delivered = vireo_net_receive_offer(net, pair, frames, count);
	unsigned left = unlikely(delivered < (int)count) ? vireo_net_receive_left(net, pair) : 0;

	if (unlikely(left))
		counter_add(&net_receive_queue(net, pair)->stats.no_buffer, left);
	return delivered;
}

void vireo_net_receive_flush(struct vireo_net *net, unsigned pair)
{
	struct net_queue *q;

	if (unlikely(pair >= net->pairs))
		return;
	q = net_receive_queue(net, pair);
	if (!q->queue)
		return;
	q->runts_pushed = false;
	vireo_queue_flush(q->queue);
	net_receive_stock(q, q->burst);
	q->burst = 0;
}

unsigned vireo_net_receive_room(struct vireo_net *net, unsigned pair)
{
	struct net_queue *q;

	if (unlikely(pair >= net->pairs))
		return 0;
	q = net_receive_queue(net, pair);
	if (!q->queue)
		return 0;
	if (unlikely(vireo_queue_waits(q->queue))) /* nobody knows yet, and what comes is left: it is no time to give frames up */
		return vireo_queue_size(q->queue);
	return q->last - q->first + vireo_queue_available(q->queue);
}

/* ---- packets of the caller's own ---- */

/* As receive_frame(); what can never go is counted here. */
static int receive_packet(struct vireo_net *net, struct net_queue *q, const struct vireo_packet *packet,
			  unsigned want)
{
	struct iovec iov = {.iov_base = packet->data, .iov_len = packet->len_bytes};
	struct vireo_frame frame = {
		.iov = &iov, .iov_count = 1, .len_bytes = packet->len_bytes, .offload = packet->offload};
	int r;

	if (packet->len_bytes < NET_ETHERNET_BYTES) {
		counter_add(&q->stats.runt, 1);
		return -EMSGSIZE;
	}
	memcpy(frame.head, packet->data, min_u32(packet->len_bytes, VIREO_FRAME_HEAD_BYTES));
	if (!receive_wanted(net, q, &frame))
		return -EMSGSIZE;
	r = receive_frame(net, q, &frame, want);
	if (r == -EMSGSIZE)
		counter_add(&q->stats.too_long, 1);
	return r;
}

/* As receive_plain(), for packets. */
static unsigned receive_plain_packets(struct net_queue *q, const struct vireo_packet *packets, unsigned count,
				      uint32_t plain_lengths, uint64_t *bytes)
{
	const struct virtio_net_header header = {.num_buffers = htole16(1)};
	const struct vireo_chain *chains = &q->chains[q->first];
	uint32_t *written = &q->written[q->first], header_bytes = q->header_bytes;
	unsigned i, limit = min_u32(count, q->last - q->first);
	uint64_t sum = 0;

	for (i = 0; i < limit; i++) {
		const struct vireo_packet *packet = &packets[i];
		uint32_t len = packet->len_bytes, total = header_bytes + len;
		uint8_t *to;

		if (unlikely(packet->offload.gso | packet->offload.flags) ||
		    unlikely(len - VIREO_FRAME_HEAD_BYTES >= plain_lengths) ||
		    unlikely(!receive_fits_flat(&chains[i], total)))
			break;
		written[i] = total;
		sum += len;
		to = chains[i].iov->iov_base;
		memcpy(to, &header, sizeof(header));
		copy_bytes(to + header_bytes, packet->data, len, q->string_from_bytes);
	}
	q->first += i;
	*bytes += sum;
	return i;
}

int vireo_net_enqueue_burst(struct vireo_net *net, unsigned pair, const struct vireo_packet *packets,
			    unsigned count)
{
	uint64_t delivered = 0, bytes = 0;
	struct net_queue *q;
	uint32_t plain_lengths;
	unsigned taken;
	int r = 0;

	if (unlikely(pair >= net->pairs))
		return -EINVAL;
	q = net_receive_queue(net, pair);
	if (unlikely(!q->queue))
		return 0;
	net_queue_look_for_renewal(q);
	if (unlikely(!receive_open(net, pair, q))) {
		counter_add(&q->stats.disabled, count);
		return (int)count;
	}
	plain_lengths = receive_plain_lengths(net, q);
	for (taken = 0; taken < count; taken++) {
		unsigned plain = receive_plain_packets(q, packets + taken, count - taken, plain_lengths, &bytes);

		delivered += plain;
		taken += plain;
		if (taken == count)
			break;
		r = receive_packet(net, q, &packets[taken], count - taken);
		if (r == 0 || r == -EPROTO)
			break;
		if (r > 0) {
			delivered++;
			bytes += packets[taken].len_bytes;
		}
	}
	receive_end(q, delivered, bytes);
	vireo_net_receive_flush(net, pair);
	return r == -EPROTO ? r : (int)taken;
}
