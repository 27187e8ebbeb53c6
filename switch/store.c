/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A ring of bytes. Each frame is a record: its length, its offloads, its bytes in one piece. Records begin at multiples of 64; what
 * would not fit before the end of the bytes begins at their start, and a record that says so fills the gap.
 */

#include "switch/store.h"
#include "switch/offload.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define GAP UINT32_MAX

struct record {
	uint32_t bytes; /* of the frame, or GAP */
	struct vireo_frame_offload offload;
	uint8_t data[];
};

int store_init(struct store *store)
{
	void *bytes = mmap(NULL, STORE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (bytes == MAP_FAILED)
		return -ENOMEM;
	memset(store, 0, sizeof(*store));
	store->bytes = bytes;
	return 0;
}

void store_fini(struct store *store)
{
	if (store->bytes)
		munmap(store->bytes, STORE_BYTES);
	store->bytes = NULL;
}

static uint32_t record_bytes(uint32_t frame_bytes)
{
	return ((uint32_t)sizeof(struct record) + frame_bytes + 63) & ~63u;
}

static struct record *record_at(const struct store *store, uint32_t position)
{
	return (struct record *)(void *)(store->bytes + position % STORE_BYTES);
}

static uint32_t bytes_left(const struct store *store)
{
	/* Pairs with the release in store_drop(): what is written over is not looked at any more. */
	return STORE_BYTES - (store->put - __atomic_load_n(&store->taken, __ATOMIC_ACQUIRE));
}

unsigned store_room(const struct store *store)
{
	unsigned room = bytes_left(store) / STORE_RECORD_MAX;

	return room ? room - 1 : 0; /* one may be lost at the end */
}

bool store_put(struct store *store, const struct vireo_frame *frame)
{
	uint32_t frame_bytes = vireo_frame_bytes(frame), bytes = record_bytes(frame_bytes);
	uint32_t to_end = STORE_BYTES - store->put % STORE_BYTES, gap = bytes > to_end ? to_end : 0;
	struct vireo_frame_offload offload;
	struct record *record;

	if (frame_bytes > STORE_FRAME_BYTES || bytes + gap > bytes_left(store) || !vireo_frame_offload_moved(frame, &offload))
		return false;
	if (gap)
		record_at(store, store->put)->bytes = GAP;
	record = record_at(store, store->put + gap);
	record->bytes = frame_bytes;
	record->offload = offload;
	offload_linearise(record->data, frame);
	store->put += gap + bytes;
	return true;
}

void store_show(struct store *store)
{
	__atomic_store_n(&store->shown, store->put, __ATOMIC_RELEASE);
}

unsigned store_see(struct store *store, struct vireo_frame *frames, struct iovec *iov, unsigned max)
{
	uint32_t shown = __atomic_load_n(&store->shown, __ATOMIC_ACQUIRE);
	unsigned count = 0;

	while (count < max && store->seen != shown) {
		struct record *record = record_at(store, store->seen);
		struct vireo_frame *frame = &frames[count];

		if (record->bytes == GAP) {
			store->seen += STORE_BYTES - store->seen % STORE_BYTES;
			continue;
		}
		iov[count] = (struct iovec){record->data, record->bytes};
		*frame = (struct vireo_frame){
			.iov = &iov[count], .iov_count = 1, .len_bytes = record->bytes, .offload = record->offload};
		memcpy(frame->head, record->data, min_u32(record->bytes, VIREO_FRAME_HEAD_BYTES));
		store->seen += record_bytes(record->bytes);
		count++;
	}
	return count;
}

static uint32_t record_next(const struct store *store, uint32_t at)
{
	uint32_t bytes = record_at(store, at)->bytes;

	return at + (bytes == GAP ? STORE_BYTES - at % STORE_BYTES : record_bytes(bytes));
}

unsigned store_count(const struct store *store)
{
	uint32_t shown = __atomic_load_n(&store->shown, __ATOMIC_ACQUIRE), at = store->seen;
	unsigned count = 0;

	while (at != shown) {
		count += record_at(store, at)->bytes != GAP;
		at = record_next(store, at);
	}
	return count;
}

void store_drop_first(struct store *store, unsigned count)
{
	uint32_t at = store->taken;

	while (count) {
		count -= record_at(store, at)->bytes != GAP;
		at = record_next(store, at);
	}
	store->seen = at;
	store_drop(store);
}

/* Without it the memory stays, which costs nobody his frames. */
static void memory_give_back(struct store *store)
{
	uint32_t used = store->put < STORE_BYTES ? store->put : STORE_BYTES;

	if (used > STORE_KEPT_BYTES)
		madvise(store->bytes + STORE_KEPT_BYTES, STORE_BYTES - STORE_KEPT_BYTES, MADV_DONTNEED);
}

void store_restart(struct store *store)
{
	memory_give_back(store);
	store->put = store->shown = store->seen = store->taken = 0;
}

void store_drop(struct store *store)
{
	__atomic_store_n(&store->taken, store->seen, __ATOMIC_RELEASE);
}
