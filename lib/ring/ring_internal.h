/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_INTERNAL_H
#define RING_RING_INTERNAL_H

/*
 * What the files of this room share: the ring itself, the memory-order pairs, the reading of descriptors, and
 * the laying of a chain's pieces.
 *
 * Memory order. Each pair names our side and the driver's (in brackets, where Linux' virtio_ring.c has it):
 *
 *  pair AVAIL   we: acquire load of avail->idx (packed: of the head's flags), then read ring and descriptors
 *               (quad.h: one load of the whole descriptor instead, which x86 orders like that)
 *               driver: writes descriptors and ring, then release store of it [virtio_wmb() in virtqueue_add]
 *  pair USED    we: write payload and used entries, then release store of used->idx (packed: of the first
 *               entry's flags). Our reads of the chain are before it as well: the driver may reuse it then
 *               driver: acquire load of it, then read entries and payload [virtio_rmb() in virtqueue_get_buf]
 *  pair KICK    we: store "kick me" (avail_event, used->flags, device event), ring_fence(), look for chains
 *               driver: makes chains available, full barrier, reads "kick me" [virtio_mb() in kick_prepare]
 *  pair SIGNAL  we: show used entries, ring_fence(), read "signal me" (used_event, avail->flags, driver
 *               event)
 *               driver: store "signal me", full barrier, looks for used entries [virtio_store_mb() in
 *               enable_cb]
 *
 * KICK and SIGNAL are the store-load pattern that needs a full barrier on both sides: whoever comes second
 * sees the other's store, so either the notification is sent or the sleeper-to-be sees the work.
 */

#include "ring/ring.h"
#include "wire/virtio_ring.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>

struct split_state {
	const struct split_desc *desc;
	const struct split_avail *avail;
	struct split_used *used;
	uint16_t next_avail; /* all of these free-running: index & mask is the slot */
	uint16_t avail_seen; /* avail->idx as last read and checked */
	uint16_t fetched; /* descriptors of chains before this one have been asked for; a hint */
	uint16_t next_used; /* pushed up to here ... */
	uint16_t published; /* ... of which the driver has been shown this much: used->idx */
	uint16_t armed; /* what avail_event holds */
};

/* A place in the packed ring: the line (wrap, pos) on which everything is ordered (2.8.1). */
struct packed_place {
	uint16_t pos;
	bool wrap;
};

struct packed_state {
	struct packed_desc *desc;
	const struct packed_event *driver;
	struct packed_event *device;
	struct packed_place avail; /* the next head is looked for here */
	struct packed_place used; /* the next used entry goes here */
	struct packed_place first; /* where the staged burst begins */
	struct packed_place armed; /* what the device event holds */
	uint64_t first_word; /* length, id and flags of the entry at `first`, written last, by publish */
	uint16_t event_flags; /* what the device event holds */
	uint32_t staged_span; /* descriptors from `first` to `used` */
	uint32_t in_flight; /* descriptors popped and not yet shown as used */
};

/* Belongs to the queue's worker while the queue runs, to the control thread otherwise. */
struct ring {
	union {
		struct split_state split;
		struct packed_state packed;
	};
	const struct map *map;
	struct map_cache buffers; /* last region hit by payload ... */
	struct map_cache tables; /* ... and by indirect tables: often another one */
	uint32_t size;
	uint32_t outstanding; /* chains popped, neither pushed nor unpopped */
	uint32_t staged; /* chains pushed, not yet published */
	bool is_packed, indirect, event_idx, in_order;
	bool buffers_writable; /* the last chain was: so will the next one be */
	bool quads; /* lay usual chains four at a time: quad.h */
	bool merge; /* IN_ORDER: whatever is staged is read-only, one used entry may stand for all */
	bool kick_on; /* the driver has been asked to kick */
	bool signal_next; /* the driver's event state is older than we are: signal the next publish */
	bool push_specially; /* it is broken, or there is a record */
	bool carried; /* something has been shown to the driver since it is here */
	bool publish_specially; /* not carried, or there is a record */
	bool lazy;
	bool miss_write; /* where the last pop that returned -EFAULT ended is to be written to */
	const char *error;
	const char *remark; /* see ring_remark() */
	uint64_t miss_gpa; /* where the last pop that returned -EFAULT ended */
	struct ring_look *look; /* it does no more than look ahead, or NULL */
	struct ring_record *record; /* packed only */
	uint32_t logged; /* entries of the staged burst that are in it */
	uint16_t order[]; /* IN_ORDER: ids as popped, by slot of the head; checks our own pushes */
};

/* split.c */
int split_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	      unsigned iov_max);
void split_unpop(struct ring *ring, unsigned count);
void split_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count);
bool split_publish(struct ring *ring);
bool split_kick_enable(struct ring *ring, bool on);
unsigned split_available(struct ring *ring);

/* packed.c */
typedef uint64_t packed_word __attribute__((may_alias)); /* length, id and flags of a descriptor */

int packed_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	       unsigned iov_max);
void packed_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count);
void packed_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count);
bool packed_publish(struct ring *ring);
bool packed_kick_enable(struct ring *ring, bool on);
unsigned packed_available(struct ring *ring);

/* record.c: packed rings with a record. */
void packed_push_recorded(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
			  unsigned count);
/* Writes what is staged into the ring; packed_publish() then shows it. */
void packed_record_publish(struct ring *ring);
/* False: there is none, or nothing has been published with it. */
bool packed_record_recover(const struct ring_setup *setup, struct packed_place *ret_place);

/*
 * place.c: where a killed back end stood, or false: that cannot be made out. `base` is what is said of it. How many descriptors
 * are available from there on.
 */
bool packed_place_find(const struct ring_setup *setup, struct packed_place base, struct packed_place *ret_place,
		       uint32_t *ret_waiting);

/* absent.c: notes what of a descriptor's range is not in the map. 0, or -EFAULT: enough has been looked at. */
int ring_look_note(struct ring *ring, uint64_t gpa, uint32_t len, bool write);

/* ring.c: the slow parts of a chain. */

/* The driver lied: `why` (static) stays; returns -EPROTO. */
int ring_break(struct ring *ring, const char *why);

/* A descriptor as it was read: 16 bytes, two loads, each done once. Fields in host order. */
struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t mid; /* split: flags; packed: id */
	uint16_t tail; /* split: next; packed: flags */
};

/* The pieces of one chain while it is being laid out. */
struct ring_pieces {
	struct iovec *iov; /* where the next piece goes */
	unsigned room; /* pieces that still fit */
	unsigned room_start;
	unsigned readable_count, writable_count;
	uint64_t readable_bytes, writable_bytes;
	unsigned empty_count; /* descriptors of length 0: no piece, but work */
	bool writable_seen;
};

/* A descriptor that is empty, or does not lie in one region. 0, -EPROTO, -ENOBUFS, -EFAULT. */
int ring_lay_slowly(struct ring *ring, struct ring_pieces *p, uint64_t addr, uint32_t len, bool writable);
int ring_no_room(struct ring *ring, const struct ring_pieces *p);

/* Entry `index` of an indirect table that does not lie in one region. 0, -EPROTO, -EFAULT. */
int ring_table_read(struct ring *ring, uint64_t table, uint32_t index, struct ring_desc *ret);

/* Checks the descriptor that names an indirect table: 0 and how many entries it has, or -EPROTO. */
int ring_table_check(struct ring *ring, uint32_t len_bytes, uint32_t *ret_count);

/* ThreadSanitizer knows C's memory model, and nothing of what a CPU promises beyond it. */
#if defined(__SANITIZE_THREAD__)
#define RING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif
#ifndef RING_TSAN
#define RING_TSAN 0
#endif

/* gcc has a warning that its thread sanitizer does not model fences; the barrier itself is there. */
static inline void ring_fence(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/*
 * The volatile accesses make the compiler load each half exactly once; what is checked later is this copy.
 * Tables may lie at any address, hence the unaligned type.
 */
typedef uint64_t ring_u64_unaligned __attribute__((aligned(1), may_alias));

/* What a used entry says of a chain; the rule that it cannot be more than the chain had room for is our own. */
static inline uint32_t ring_written(const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned i)
{
	uint32_t bytes = written_bytes ? written_bytes[i] : 0;

	assert(bytes <= chains[i].writable_bytes);
	return bytes;
}

static inline struct ring_desc ring_desc_read(const void *at)
{
	const volatile ring_u64_unaligned *words = at;
	uint64_t addr = le64(words[0]), rest = le64(words[1]);

	return (struct ring_desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.mid = (uint16_t)(rest >> 32),
		.tail = (uint16_t)(rest >> 48),
	};
}

/*
 * A chain's first lines: whoever popped it looks at its header, or writes one. Asked for as early as the address is
 * known, so that those of a burst come in together.
 */
static inline void ring_fetch_start(const void *start, bool writable, bool is_packed)
{
	const char *at = start;

	if (writable) {
		prefetch_write(at);
		if (!is_packed) /* there it costs more than it brings: measured */
			prefetch_write(at + CACHE_LINE_BYTES);
	} else {
		__builtin_prefetch(at);
		__builtin_prefetch(at + CACHE_LINE_BYTES);
	}
}

/*
 * The region that payload was found in last, in registers for as long as a burst lasts. Empty if there is none.
 * The ring's own cache goes on from it: take it anew after whatever may have moved that.
 */
struct ring_window {
	uint64_t gpa, size_bytes;
	uint8_t *host;
	bool is_packed;
};

static inline struct ring_window ring_window_of(const struct ring *ring)
{
	const struct map_region *r = &ring->map->regions[ring->buffers.last];

	if (unlikely(ring->buffers.last >= ring->map->count))
		return (struct ring_window){0};
	return (struct ring_window){
		.gpa = r->gpa, .size_bytes = r->size_bytes, .host = r->host, .is_packed = ring->is_packed
	};
}

/* Two neighbouring words of 32 bits, zero but for one of them, in one store and without a jump. */
static inline void ring_store_one_of_two(uint32_t *first, bool second, uint32_t value)
{
	bool high = second == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
	uint64_t both = (uint64_t)value << (high ? 32 : 0);

	__builtin_memcpy(first, &both, sizeof(both));
}

_Static_assert(offsetof(struct vireo_chain, writable_count) == offsetof(struct vireo_chain, readable_count) + 4 &&
		       offsetof(struct vireo_chain, writable_bytes) == offsetof(struct vireo_chain, readable_bytes) + 4,
	       "ring_store_one_of_two() writes both");

/*
 * The usual chain: one direct descriptor that lies in the window. True: laid. False: nothing has been done, take
 * the long way, which also says what is wrong if something is.
 */
static inline bool ring_lay_single(const struct ring_window *window, uint64_t addr, uint32_t len, bool writable,
				   uint16_t id, struct vireo_chain *chain, struct iovec *iov)
{
	uint64_t offset = addr - window->gpa;

	/* An empty one has no last byte: it is huge here. */
	if (unlikely(offset >= window->size_bytes || (uint64_t)len - 1 >= window->size_bytes - offset))
		return false;
	*iov = (struct iovec){ .iov_base = window->host + offset, .iov_len = len };
	ring_fetch_start(window->host + offset, writable, window->is_packed);
	chain->iov = iov;
	ring_store_one_of_two(&chain->readable_count, writable, 1);
	ring_store_one_of_two(&chain->readable_bytes, writable, len);
	chain->id = id;
	chain->span = 1;
	return true;
}

static inline struct ring_pieces ring_pieces_of(struct iovec *iov, unsigned room)
{
	return (struct ring_pieces){ .iov = iov, .room = room, .room_start = room };
}

/* Lays one buffer descriptor. 0, -EPROTO (the ring is broken now), -ENOBUFS, -EFAULT (see ring_setup.lazy). */
static inline int ring_lay(struct ring *ring, struct ring_pieces *p, uint64_t addr, uint32_t len,
			   bool writable)
{
	uint64_t usable;
	void *host;

	if (writable)
		p->writable_seen = true;
	else if (unlikely(p->writable_seen))
		return ring_break(ring, "readable descriptor after a writable one");
	host = map_gpa(ring->map, &ring->buffers, addr, &usable);
	if (unlikely(!host || usable < len || !len))
		return ring_lay_slowly(ring, p, addr, len, writable);
	if (unlikely(!p->room))
		return ring_no_room(ring, p);
	p->room--;
	*p->iov++ = (struct iovec){ .iov_base = host, .iov_len = len };
	if (writable) {
		p->writable_count++;
		p->writable_bytes += len;
	} else {
		p->readable_count++;
		p->readable_bytes += len;
	}
	return 0;
}

/* All pieces are laid: fills in the chain, or -EPROTO. */
static inline int ring_pieces_finish(struct ring *ring, const struct ring_pieces *p, struct iovec *iov,
				     struct vireo_chain *chain)
{
	if (unlikely(p->readable_bytes + p->writable_bytes > UINT32_MAX))
		return ring_break(ring, "chain longer than 2^32 - 1 bytes");
	chain->iov = iov;
	chain->readable_count = p->readable_count;
	chain->writable_count = p->writable_count;
	chain->readable_bytes = (uint32_t)p->readable_bytes;
	chain->writable_bytes = (uint32_t)p->writable_bytes;
	if (likely(p->room < p->room_start))
		ring_fetch_start(iov->iov_base, !p->readable_count, ring->is_packed);
	return 0;
}

static inline struct packed_place place_forward(struct packed_place place, uint32_t descs, uint32_t size)
{
	uint32_t pos = place.pos + descs;
	bool over = pos >= size;

	return (struct packed_place){ .pos = (uint16_t)(over ? pos - size : pos), .wrap = place.wrap ^ over };
}

static inline struct packed_place place_back(struct packed_place place, uint32_t descs, uint32_t size)
{
	bool under = place.pos < descs;

	return (struct packed_place){
		.pos = (uint16_t)(under ? place.pos + size - descs : place.pos - descs),
		.wrap = place.wrap ^ under,
	};
}

/* 2.8.1: AVAIL equal to the lap's wrap counter, USED not. */
static inline bool packed_is_available(uint16_t flags, bool wrap)
{
	unsigned wanted = wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK;

	return (flags & (PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK)) == wanted;
}

static inline unsigned packed_used_flags(bool wrap, uint32_t written_bytes)
{
	return (wrap ? PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK : 0) | (written_bytes ? DESC_F_WRITE : 0);
}

/* A half of what ring_base() returns. */
static inline uint32_t place_encode(struct packed_place place)
{
	return (uint32_t)place.pos | (uint32_t)place.wrap << 15;
}

static inline struct packed_place place_decode(uint32_t half)
{
	return (struct packed_place){ .pos = half & 0x7fff, .wrap = half >> 15 & 1 };
}

static inline bool place_equal(struct packed_place a, struct packed_place b)
{
	return a.pos == b.pos && a.wrap == b.wrap;
}

#endif
