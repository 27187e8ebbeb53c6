/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Of a file whose contents lie in memory the queue's thread copies what is there from and to a mapping of it: a system call takes three
 * times as long for 4 KiB, and of two that write to one file the kernel lets the second one wait.
 *
 * What is not there is left to system calls: a page that the file does not have yet would be made by being read, and one that its file
 * system has no room for, or that somebody has cut off, raises SIGBUS. `here` tells which pages are there, as hints: a page is there once
 * it has been written to, or where mincore() has shown it, which it is asked once for each word of `here`. A hint that is wrong costs a
 * system call, or memory for a page of zeroes, and no data: between a page's end and ours stands whoever guards the mapping (struct
 * disk_guard). He puts a page of zeroes into its place and says so before; who has copied looks at that, does it again by system calls,
 * and nobody uses the mapping from then on.
 */
#include "base/copy.h"
#include "base/log.h"
#include "disk/file.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORD_PAGES 64u
#define MAP_GROWS_BY 4u /* a resize may make the file so many times as large, and all of it is mapped */
#define MAP_BYTES_MAX (UINT64_C(4) << 40)

struct file_map {
	uint8_t *at;
	uint64_t bytes; /* whole words of pages; the file may end before or behind */
	unsigned page_shift;
	uint32_t string_from_bytes;
	const struct disk_guard *guard;
	/* Any thread (atomic). */
	bool lost; /* set by the guard, in a signal handler */
	bool lost_told;
	uint64_t *here;	  /* a bit for each page */
	uint64_t *looked; /* a bit for each word of those */
};

/* ---- which pages are there ---- */

static inline uint64_t word_mask(uint64_t word, uint64_t first, uint64_t last)
{
	uint64_t low = word == first / WORD_PAGES ? first % WORD_PAGES : 0;
	uint64_t high = word == last / WORD_PAGES ? last % WORD_PAGES : WORD_PAGES - 1;

	return (UINT64_MAX << low) & (UINT64_MAX >> (WORD_PAGES - 1 - high));
}

/* Who may not write to the file by its path is told that all of it is there: even the last page, where it has not come to yet. */
static bool looks_deceive(const struct file_map *map)
{
	unsigned char page;

	return mincore(map->at + map->bytes - (UINT64_C(1) << map->page_shift), (size_t)1 << map->page_shift, &page) || (page & 1);
}

static __cold uint64_t word_look(struct file_map *map, uint64_t word)
{
	unsigned char pages[WORD_PAGES];
	uint64_t found = 0, bit = UINT64_C(1) << (word % WORD_PAGES);

	if (__atomic_fetch_or(&map->looked[word / WORD_PAGES], bit, __ATOMIC_RELAXED) & bit)
		return 0;
	if (looks_deceive(map) || mincore(map->at + (word * WORD_PAGES << map->page_shift), (size_t)WORD_PAGES << map->page_shift, pages))
		return 0;
	for (unsigned i = 0; i < WORD_PAGES; i++)
		found |= (uint64_t)(pages[i] & 1) << i;
	__atomic_fetch_or(&map->here[word], found, __ATOMIC_RELAXED);
	return found;
}

static inline bool looked(const struct file_map *map, uint64_t word)
{
	return __atomic_load_n(&map->looked[word / WORD_PAGES], __ATOMIC_RELAXED) >> (word % WORD_PAGES) & 1;
}

static inline bool word_here(struct file_map *map, uint64_t word, uint64_t mask)
{
	uint64_t here = __atomic_load_n(&map->here[word], __ATOMIC_RELAXED);

	if (likely((here & mask) == mask))
		return true;
	return !looked(map, word) && ((here | word_look(map, word)) & mask) == mask;
}

bool file_map_here(struct file_map *map, const struct disk_request *r)
{
	uint64_t first, last;

	if (unlikely(!r->bytes || r->offset + r->bytes > map->bytes || __atomic_load_n(&map->lost, __ATOMIC_RELAXED)))
		return false;
	first = r->offset >> map->page_shift;
	last = (r->offset + r->bytes - 1) >> map->page_shift;
	for (uint64_t word = first / WORD_PAGES; word <= last / WORD_PAGES; word++)
		if (!word_here(map, word, word_mask(word, first, last)))
			return false;
	return true;
}

void file_map_written(struct file_map *map, uint64_t offset, uint64_t bytes)
{
	uint64_t end = min_u64(offset + bytes, map->bytes), first = offset >> map->page_shift, last;

	if (offset >= end)
		return;
	last = (end - 1) >> map->page_shift;
	for (uint64_t word = first / WORD_PAGES; word <= last / WORD_PAGES; word++) {
		uint64_t mask = word_mask(word, first, last);

		if ((__atomic_load_n(&map->here[word], __ATOMIC_RELAXED) & mask) != mask)
			__atomic_fetch_or(&map->here[word], mask, __ATOMIC_RELAXED);
	}
}

void file_map_punched(struct file_map *map, uint64_t offset, uint64_t bytes)
{
	uint64_t end = min_u64(offset + bytes, map->bytes), first = offset >> map->page_shift, last;

	if (offset >= end)
		return;
	last = (end - 1) >> map->page_shift;
	for (uint64_t word = first / WORD_PAGES; word <= last / WORD_PAGES; word++) {
		if (!__atomic_load_n(&map->here[word], __ATOMIC_RELAXED))
			continue;
		__atomic_fetch_and(&map->here[word], ~word_mask(word, first, last), __ATOMIC_RELAXED);
		/* Of the pages at its ends there may be something left. */
		__atomic_fetch_and(&map->looked[word / WORD_PAGES], ~(UINT64_C(1) << (word % WORD_PAGES)), __ATOMIC_RELAXED);
	}
}

/* ---- copies ---- */

static __cold void lost_tell(struct file_map *map, const struct file_disk *file)
{
	if (!__atomic_exchange_n(&map->lost_told, true, __ATOMIC_RELAXED))
		log_warning(&file->disk.config.log, "the file has lost pages that were there: somebody has cut it, or its file system is full; "
						    "requests are done by system calls from now on");
}

bool file_map_do(struct file_map *map, const struct file_disk *file, const struct disk_request *r)
{
	uint8_t *at = map->at + r->offset;

	if (!file_map_here(map, r))
		return false;
	for (uint32_t i = 0; i < r->iov_count; i++) {
		size_t len = r->iov[i].iov_len; /* which add up to r->bytes: file_problem() */

		if (r->op == DISK_READ)
			copy_bytes(r->iov[i].iov_base, at, len, map->string_from_bytes);
		else
			copy_bytes(at, r->iov[i].iov_base, len, map->string_from_bytes);
		at += len;
	}
	/* The guard says so before he replaces a page: who has touched that instead sees it. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (likely(!__atomic_load_n(&map->lost, __ATOMIC_RELAXED)))
		return true;
	lost_tell(map, file);
	return false;
}

/* ---- making and ending it ---- */

static int map_make(struct file_map *map, const struct file_disk *file)
{
	uint64_t words;
	void *at;

	at = mmap(NULL, map->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	map->at = at;
	madvise(at, map->bytes, MADV_DONTDUMP);
	words = (map->bytes >> map->page_shift) / WORD_PAGES;
	map->here = calloc(words, sizeof(*map->here)); /* large ones come as untouched zero pages */
	map->looked = calloc(words / WORD_PAGES + 1, sizeof(*map->looked));
	if (!map->here || !map->looked)
		return -ENOMEM;
	return map->guard->begin(map->at, map->bytes, &map->lost);
}

static void map_free(struct file_map *map)
{
	if (map->at)
		munmap(map->at, map->bytes);
	free(map->here);
	free(map->looked);
	free(map);
}

struct file_map *file_map_new(const struct file_disk *file, const struct disk_guard *guard)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), size = (uint64_t)file_size(file);
	struct file_map *map;

	if (!guard || !file->at_once || file->disk.info.read_only || !size || size > MAP_BYTES_MAX)
		return NULL;
	map = calloc(1, sizeof(*map));
	if (!map)
		return NULL;
	map->guard = guard;
	map->page_shift = (unsigned)__builtin_ctzll(page_bytes);
	map->string_from_bytes = copy_string_from_bytes();
	map->bytes = align_up(min_u64(size * MAP_GROWS_BY, MAP_BYTES_MAX), page_bytes * WORD_PAGES);
	if (!map_make(map, file))
		return map;
	map_free(map);
	return NULL;
}

void file_map_free(struct file_map *map)
{
	if (!map)
		return;
	map->guard->end(map->at);
	map_free(map);
}
