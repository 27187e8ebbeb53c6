/* SPDX-License-Identifier: BSD-3-Clause */
#include "xdp_socket.h"
#include "base/util.h"
#include "vireo/cursor.h"
#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef XDP_USE_SG /* Linux 6.6 */
#define XDP_USE_SG (1 << 4)
#define XDP_PKT_CONTD (1 << 0)
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

#define CHUNKS (XDP_IN_CHUNKS + XDP_OUT_CHUNKS)
#define AREA_BYTES ((size_t)CHUNKS * XDP_CHUNK_BYTES)
#define OUT_PIECES 17u  /* the kernel takes no more of one frame */
#define KICKS_MAX (XDP_OUT_CHUNKS / 32 + 2) /* each lets the kernel take some 32 pieces, while the interface takes them */
#define FRUITLESS_MAX 2u		    /* in turn: kernels before 6.17 say late how far they have come */

/* ---- making and ending it ---- */

static int area_open(struct xdp_socket *s)
{
	const struct xsk_umem_config config = {.fill_size = XDP_IN_CHUNKS, .comp_size = XDP_OUT_CHUNKS, .frame_size = XDP_CHUNK_BYTES};
	int err = kernel_buffers_new(AREA_BYTES, &s->chunks);

	return err ? err : xsk_umem__create(&s->umem, s->chunks, AREA_BYTES, &s->fill, &s->gone, &config);
}

/* Chunks for what comes, all to the kernel; chunks for what goes, all here. */
static void chunks_share(struct xdp_socket *s)
{
	uint32_t at = 0;

	xsk_ring_prod__reserve(&s->fill, XDP_IN_CHUNKS, &at); /* which is as large */
	for (uint32_t i = 0; i < XDP_IN_CHUNKS; i++)
		*xsk_ring_prod__fill_addr(&s->fill, at + i) = (uint64_t)i * XDP_CHUNK_BYTES;
	xsk_ring_prod__submit(&s->fill, XDP_IN_CHUNKS);
	for (uint32_t i = XDP_IN_CHUNKS; i < CHUNKS; i++)
		s->free[s->free_count++] = (uint64_t)i * XDP_CHUNK_BYTES;
}

/* What waits in an interface's queue shall not keep those chunks from going that there are. */
static void send_room(int fd)
{
	const int bytes = CHUNKS * XDP_CHUNK_BYTES * 2;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static bool copies_nothing(int fd)
{
	struct xdp_options options = {.flags = 0};
	socklen_t bytes = sizeof(options);

	return !getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &bytes) && options.flags & XDP_OPTIONS_ZEROCOPY;
}

int xdp_socket_open(struct xdp_socket *s, const struct xdp_wish *wish)
{
	const struct xsk_socket_config config = {
		.rx_size = XDP_IN_CHUNKS,
		.tx_size = XDP_OUT_CHUNKS,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = (uint16_t)(wish->bind_flags | XDP_USE_NEED_WAKEUP | (wish->pieces ? XDP_USE_SG : 0)),
	};
	int err = area_open(s);

	if (err)
		return err;
	chunks_share(s);
	send_room(xsk_umem__fd(s->umem)); /* the first socket of a memory is its own */
	err = xsk_socket__create(&s->socket, wish->name, wish->queue, s->umem, &s->come, &s->go, &config);
	if (err)
		return err;
	s->fd = xsk_socket__fd(s->socket);
	s->pieces = wish->pieces;
	s->zerocopy = copies_nothing(s->fd);
	return 0;
}

void xdp_socket_close(struct xdp_socket *s)
{
	if (s->socket)
		xsk_socket__delete(s->socket);
	if (s->umem)
		(void)xsk_umem__delete(s->umem);
	s->socket = NULL;
	s->umem = NULL;
	kernel_buffers_free(&s->chunks, AREA_BYTES);
}

int xdp_socket_fd(const struct xdp_socket *s)
{
	return s->fd;
}

/* ---- in ---- */

static void frame_show(struct xdp_socket *s, struct vireo_frame *frame, unsigned first, unsigned pieces)
{
	struct vireo_cursor bytes;

	frame->iov = &s->iov[first];
	frame->iov_count = pieces;
	frame->len_bytes = 0;
	for (unsigned i = 0; i < pieces; i++)
		frame->len_bytes += (uint32_t)s->iov[first + i].iov_len;
	frame->head_bytes = frame->head_skip = 0;
	frame->offload = (struct vireo_frame_offload){.flags = 0};
	bytes = vireo_cursor_of(frame->iov, pieces);
	vireo_cursor_take(&bytes, frame->head, min_u32(frame->len_bytes, VIREO_FRAME_HEAD_BYTES));
	counter_add(&s->in.frames, 1);
	counter_add(&s->in.bytes, frame->len_bytes);
}

/* The kernel waits for a call before it takes chunks again; who polls sleeps in no other one. */
static void fill_wake(struct xdp_socket *s)
{
	if (unlikely(xsk_ring_prod__needs_wakeup(&s->fill)))
		(void)recvfrom(s->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* Of what there is, whole frames; the pieces of one that is not whole here are left for the next time. */
int xdp_socket_receive(struct xdp_socket *s, struct vireo_frame *frames, unsigned max)
{
	uint32_t at = 0, count, done = 0;
	unsigned shown = 0, first = 0;

	xdp_socket_release(s); /* pieces of a receive that showed nothing */
	count = xsk_ring_cons__peek(&s->come, XDP_PIECES, &at);
	if (!count) /* it may have asked after the last release had looked */
		fill_wake(s);
	for (uint32_t i = 0; i < count && shown < min_u32(max, KERNEL_BURST); i++) {
		const struct xdp_desc *piece = xsk_ring_cons__rx_desc(&s->come, at + i);

		s->shown[i] = piece->addr;
		s->iov[i] = (struct iovec){xsk_umem__get_data(s->chunks, piece->addr), piece->len};
		if (piece->options & XDP_PKT_CONTD && i + 1 - first < XDP_PIECES)
			continue;
		if (first == i && piece->len < 14)
			counter_add(&s->in.runt, 1);
		else
			frame_show(s, &frames[shown++], first, i + 1 - first);
		first = done = i + 1;
	}
	xsk_ring_cons__cancel(&s->come, count - done);
	s->shown_count = done;
	return (int)shown;
}

void xdp_socket_release(struct xdp_socket *s)
{
	uint32_t at = 0;

	if (!s->shown_count)
		return;
	xsk_ring_cons__release(&s->come, s->shown_count);
	if (xsk_ring_prod__reserve(&s->fill, s->shown_count, &at)) { /* always: it is as large as all of them */
		for (unsigned i = 0; i < s->shown_count; i++)
			*xsk_ring_prod__fill_addr(&s->fill, at + i) = s->shown[i] & ~(uint64_t)(XDP_CHUNK_BYTES - 1);
		xsk_ring_prod__submit(&s->fill, s->shown_count);
	}
	s->shown_count = 0;
	fill_wake(s);
}

/* ---- out ---- */

static void chunks_take_back(struct xdp_socket *s)
{
	uint32_t at = 0, count = xsk_ring_cons__peek(&s->gone, XDP_OUT_CHUNKS, &at);

	for (uint32_t i = 0; i < count; i++)
		s->free[s->free_count++] = *xsk_ring_cons__comp_addr(&s->gone, at + i) & ~(uint64_t)(XDP_CHUNK_BYTES - 1);
	if (count)
		xsk_ring_cons__release(&s->gone, count);
}

/* Up to `bytes` of the frame from its head and what follows that. */
static void chunk_fill(uint8_t *chunk, uint32_t bytes, const uint8_t **head, uint32_t *head_left, struct vireo_cursor *rest)
{
	uint32_t of_head = min_u32(bytes, *head_left);

	memcpy(chunk, *head, of_head);
	*head += of_head;
	*head_left -= of_head;
	vireo_cursor_take(rest, chunk + of_head, bytes - of_head);
}

static void frame_lay(struct xdp_socket *s, const struct vireo_frame *frame, uint32_t at, uint32_t pieces)
{
	struct vireo_cursor rest = vireo_cursor_of(frame->iov, frame->iov_count);
	uint32_t left = vireo_frame_bytes(frame), head_left = vireo_frame_head_bytes(frame);
	const uint8_t *head = frame->head;

	vireo_cursor_skip(&rest, vireo_frame_skip_bytes(frame));
	for (uint32_t i = 0; i < pieces; i++) {
		struct xdp_desc *piece = xsk_ring_prod__tx_desc(&s->go, at + i);
		uint32_t bytes = min_u32(left, XDP_ROOM_BYTES);

		piece->addr = s->free[--s->free_count];
		piece->len = bytes;
		piece->options = i + 1 < pieces ? XDP_PKT_CONTD : 0;
		chunk_fill(xsk_umem__get_data(s->chunks, piece->addr), bytes, &head, &head_left, &rest);
		left -= bytes;
	}
}

int xdp_socket_put(struct xdp_socket *s, const struct vireo_frame *frame)
{
	uint32_t bytes = vireo_frame_bytes(frame), pieces = (bytes + XDP_ROOM_BYTES - 1) / XDP_ROOM_BYTES, at = 0;

	if (pieces > (s->pieces ? OUT_PIECES : 1))
		return EMSGSIZE;
	if (!s->pending || s->free_count < pieces) /* with each burst: the chunks used last lie in the cache, and all of them do not fit there */
		chunks_take_back(s);
	if (s->free_count < pieces || xsk_ring_prod__reserve(&s->go, pieces, &at) != pieces)
		return EAGAIN;
	frame_lay(s, frame, at, pieces);
	s->pending += pieces;
	s->pending_frames++;
	s->pending_bytes += bytes;
	return 0;
}

/* Of what was flushed, what the kernel has not said that it has taken. */
static uint32_t not_taken(const struct xdp_socket *s)
{
	return __atomic_load_n(s->go.producer, __ATOMIC_ACQUIRE) - __atomic_load_n(s->go.consumer, __ATOMIC_ACQUIRE);
}

static bool backed_up(const struct xdp_socket *s)
{
	return not_taken(s) && xsk_ring_prod__needs_wakeup(&s->go);
}

/* Grows with each piece that is taken, or done. */
static uint32_t progress(const struct xdp_socket *s)
{
	return __atomic_load_n(s->go.consumer, __ATOMIC_ACQUIRE) + __atomic_load_n(s->gone.producer, __ATOMIC_ACQUIRE);
}

/* False: it is down, or gone. */
static bool kick(struct xdp_socket *s)
{
	if (sendto(s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
		return true;
	if (errno == EBUSY) /* its driver has dropped one that is taken */
		__atomic_fetch_add(&s->lost, 1, __ATOMIC_RELAXED);
	return errno == EAGAIN || errno == EBUSY || errno == ENOBUFS || errno == EINTR;
}

/*
 * Without a driver that looks by itself, the kernel takes some with each call, and says EAGAIN while there are more. It says the same when
 * the interface takes none at the moment: that is not waited for.
 */
bool xdp_socket_push(struct xdp_socket *s)
{
	unsigned fruitless = 0;

	for (unsigned i = 0; i < KICKS_MAX && fruitless < FRUITLESS_MAX && backed_up(s); i++) {
		uint32_t before = progress(s);

		if (!kick(s))
			break;
		fruitless = progress(s) != before ? 0 : fruitless + 1;
	}
	return !backed_up(s);
}

/* What was lost is not counted as sent, be it of this burst or of one before: what was counted once is never taken back. */
static void sent_count(struct xdp_socket *s)
{
	uint64_t lost = min_u64(__atomic_load_n(&s->lost, __ATOMIC_RELAXED) - s->settled, s->pending_frames);

	if (!s->pending_frames)
		return;
	s->settled += lost;
	counter_add(&s->out.frames, s->pending_frames - lost);
	counter_add(&s->out.bytes, s->pending_bytes - s->pending_bytes * lost / s->pending_frames);
	s->pending_frames = 0;
	s->pending_bytes = 0;
}

bool xdp_socket_flush(struct xdp_socket *s)
{
	bool all;

	if (s->pending)
		xsk_ring_prod__submit(&s->go, s->pending);
	s->pending = 0;
	all = xdp_socket_push(s);
	sent_count(s);
	return all;
}

/*
 * What the kernel has dropped: it had no chunk, or no place in the ring, or the frame was longer than a chunk, which the kernel counts with
 * the first. Who copies nothing asks for chunks beforehand, and its driver's failures to get one cost no frame.
 */
static void add_lost(const struct xdp_socket *s, struct sw_queue_stats *in)
{
	struct xdp_statistics kernel = {.rx_dropped = 0};
	socklen_t bytes = sizeof(kernel);
	uint64_t without_chunk;

	if (getsockopt(xdp_socket_fd(s), SOL_XDP, XDP_STATISTICS, &kernel, &bytes))
		return;
	without_chunk = s->zerocopy ? kernel.rx_dropped : min_u64(kernel.rx_dropped, kernel.rx_fill_ring_empty_descs);
	in->no_buffer += kernel.rx_ring_full + without_chunk;
	in->too_long += kernel.rx_dropped - without_chunk;
}

void xdp_socket_stats(const struct xdp_socket *s, bool out, struct sw_queue_stats *ret)
{
	sw_queue_stats_read(out ? &s->out : &s->in, ret);
	if (out)
		ret->no_buffer += __atomic_load_n(&s->lost, __ATOMIC_RELAXED);
	else
		add_lost(s, ret);
}
