/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/dirty.h"
#include "mem/backing.h"
#include <errno.h>
#include <stdlib.h>

#define PAGES_PER_BYTE 8u

struct dirty_log {
	unsigned refs; /* atomic */
	struct map_backing *backing;
	uint8_t *bits; /* of bytes, as the file may have it at any address: bit n of byte m is page 8 * m + n */
	uint64_t size_bytes;
	bool news; /* atomic: a bit has been set that was not there */
};

int dirty_log_new(int fd, uint64_t offset, uint64_t size_bytes, const struct map_faults *faults, struct dirty_log **ret_log,
		  const char **why)
{
	struct dirty_log *log;
	int r;

	if (!size_bytes) {
		*why = "the dirty log is empty";
		return -EINVAL;
	}
	log = calloc(1, sizeof(*log));
	if (!log) {
		*why = "out of memory";
		return -ENOMEM;
	}
	r = backing_new(fd, offset, size_bytes, BACKING_FILE, faults, &log->backing, &log->bits, why);
	if (r) {
		free(log);
		return r;
	}
	log->refs = 1;
	log->size_bytes = size_bytes;
	*ret_log = log;
	return 0;
}

struct dirty_log *dirty_log_ref(struct dirty_log *log)
{
	__atomic_fetch_add(&log->refs, 1, __ATOMIC_RELAXED);
	return log;
}

void dirty_log_unref(struct dirty_log *log)
{
	/* Release: my last access; acquire: everybody's, before the memory goes. */
	if (!log || __atomic_fetch_sub(&log->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	backing_unref(log->backing);
	free(log);
}

bool dirty_log_covers(const struct dirty_log *log, uint64_t gpa, uint64_t size_bytes)
{
	uint64_t last;

	if (!size_bytes)
		return true;
	return !__builtin_add_overflow(gpa, size_bytes - 1, &last) && last / DIRTY_PAGE_BYTES / PAGES_PER_BYTE < log->size_bytes;
}

bool dirty_log_covers_map(const struct dirty_log *log, const struct map *map)
{
	for (unsigned i = 0; map && i < map->count + map->limited; i++)
		if (!dirty_log_covers(log, map->regions[i].gpa, map->regions[i].size_bytes))
			return false;
	return true;
}

/*
 * Whoever takes the bit sees what was written to its page. News that are there already are left alone, for all who mark would write to
 * one place otherwise: if they are seen before dirty_log_news_take() takes them, the bit is seen after it (both orders are sequential).
 */
static void byte_mark(struct dirty_log *log, uint64_t index, uint8_t bits)
{
	uint8_t *byte = &log->bits[index];

	if ((__atomic_load_n(byte, __ATOMIC_RELAXED) & bits) == bits)
		return;
	__atomic_fetch_or(byte, bits, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&log->news, __ATOMIC_SEQ_CST))
		__atomic_store_n(&log->news, true, __ATOMIC_RELEASE); /* pairs with dirty_log_news_take() */
}

bool dirty_log_news_take(struct dirty_log *log)
{
	return __atomic_load_n(&log->news, __ATOMIC_RELAXED) && __atomic_exchange_n(&log->news, false, __ATOMIC_SEQ_CST);
}

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t size_bytes)
{
	uint64_t page = gpa / DIRTY_PAGE_BYTES, last;

	if (!size_bytes)
		return;
	last = (gpa + (size_bytes - 1)) / DIRTY_PAGE_BYTES;
	while (page <= last) {
		unsigned from = (unsigned)(page % PAGES_PER_BYTE);
		unsigned count = (unsigned)min_u64(PAGES_PER_BYTE - from, last - page + 1);

		byte_mark(log, page / PAGES_PER_BYTE, (uint8_t)(((1u << count) - 1) << from));
		page += count;
	}
}

void dirty_log_mark_map(struct dirty_log *log, const struct map *map)
{
	for (unsigned i = 0; i < map->count; i++)
		dirty_log_mark(log, map->regions[i].gpa, map->regions[i].size_bytes);
}

void dirty_log_carry(struct dirty_log *log, const struct dirty_log *old)
{
	uint64_t bytes = min_u64(log->size_bytes, old->size_bytes);

	for (uint64_t i = 0; i < bytes; i++) {
		uint8_t bits = __atomic_load_n(&old->bits[i], __ATOMIC_RELAXED);

		if (bits)
			byte_mark(log, i, bits);
	}
}
