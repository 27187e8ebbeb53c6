/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/stitch.h"
#include "mem/budget.h"
#include "mem/fault.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A place for all of it is reserved first. Into that each piece is mapped again from where we have it:
 * mremap(2) of length 0 copies a shared mapping and leaves the old one, so that no file is needed.
 */

struct map_stitch {
	uint8_t *start;
	size_t bytes;
	uint8_t *host;
	struct vireo_fault_table *table; /* or NULL */
	unsigned slot;
	struct mem_account *account; /* or NULL: it has `bytes` and `mappings` */
	unsigned mappings;
};

struct piece {
	uint8_t *host;
	uint64_t bytes;
};

/* What begins at gpa, up to `bytes`, and lies in one piece. False: nothing. */
static bool piece_at(const struct map *map, uint64_t gpa, uint64_t bytes, bool write, struct piece *ret)
{
	struct map_cache cache = { 0 };
	uint64_t usable;

	ret->host = map_at(map, &cache, gpa, write, &usable);
	ret->bytes = 0;
	if (!ret->host)
		return false;
	while (ret->bytes < bytes &&
	       map_at(map, &cache, gpa + ret->bytes, write, &usable) == ret->host + ret->bytes)
		ret->bytes += usable;
	ret->bytes = min_u64(ret->bytes, bytes);
	return true;
}

/*
 * `done_bytes` are there: maps the piece that follows behind them. `lead`: bytes of the first page before it
 * all.
 */
static int piece_add(struct map_stitch *stitch, const struct piece *piece, uint64_t lead,
		     uint64_t done_bytes, bool last)
{
	const uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	uint64_t at = lead + done_bytes, end = at + piece->bytes;
	uint8_t *from = piece->host - (at & mask), *to = stitch->start + (at & ~mask);
	const char *why;

	if (((uintptr_t)from & mask) || (done_bytes && (at & mask)) || (!last && (end & mask)))
		return -EINVAL;
	if (mem_account_take(stitch->account, 0, 1, &why))
		return -ENOMEM;
	stitch->mappings++;
	end = (end + mask) & ~mask;
	if (mremap(from, 0, end - (at & ~mask), MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return errno == ENOMEM ? -ENOMEM : -EINVAL;
	return 0;
}

static int pieces_add(struct map_stitch *stitch, const struct map *map, uint64_t gpa, uint64_t bytes,
		      bool write)
{
	uint64_t done = 0, lead = 0;

	while (done < bytes) {
		struct piece piece;
		int r;

		if (!piece_at(map, gpa + done, bytes - done, write, &piece))
			return -EFAULT;
		if (!done) {
			lead = (uintptr_t)piece.host & ((uint64_t)sysconf(_SC_PAGESIZE) - 1);
			stitch->host = stitch->start + lead;
		}
		r = piece_add(stitch, &piece, lead, done, done + piece.bytes == bytes);
		if (r)
			return r;
		done += piece.bytes;
	}
	return 0;
}

static int faults_watch(struct map_stitch *stitch, const struct map_faults *faults)
{
	const struct fault_area area = {
		.start = stitch->start,
		.bytes = stitch->bytes,
		.page_bytes = (size_t)sysconf(_SC_PAGESIZE),
		.event_fd = faults->event_fd,
		.faulted = faults->faulted,
		.session = faults->session,
	};
	int r = fault_area_add(faults->table, &area, &stitch->slot);

	if (!r)
		stitch->table = faults->table;
	return r;
}

int map_stitch_new(const struct map *map, uint64_t gpa, uint64_t bytes, bool write,
		   const struct map_faults *faults, struct map_stitch **ret_stitch)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct map_stitch *stitch = calloc(1, sizeof(*stitch));
	const char *why;
	int r;

	if (!stitch)
		return -ENOMEM;
	/* A page more than the whole ones: it may begin and end inside one. */
	stitch->bytes = (bytes + 2 * page_bytes - 1) / page_bytes * page_bytes;
	stitch->account = faults ? faults->account : NULL;
	if (mem_account_take(stitch->account, stitch->bytes, 1, &why)) {
		free(stitch);
		return -ENOMEM;
	}
	stitch->mappings = 1;
	stitch->start =
		mmap(NULL, stitch->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stitch->start == MAP_FAILED) {
		mem_account_give(stitch->account, stitch->bytes, 1);
		free(stitch);
		return -ENOMEM;
	}
	r = pieces_add(stitch, map, gpa, bytes, write);
	if (!r && faults && faults->table)
		r = faults_watch(stitch, faults);
	if (r) {
		map_stitch_free(stitch);
		return r;
	}
	*ret_stitch = stitch;
	return 0;
}

void *map_stitch_host(const struct map_stitch *stitch)
{
	return stitch->host;
}

void map_stitch_free(struct map_stitch *stitch)
{
	if (!stitch)
		return;
	if (stitch->table)
		fault_area_remove(stitch->table, stitch->slot);
	munmap(stitch->start, stitch->bytes);
	for (; stitch->mappings > 1; stitch->mappings--)
		mem_account_give(stitch->account, 0, 1);
	mem_account_give(stitch->account, stitch->bytes, 1);
	free(stitch);
}
