/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/forget_store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_PER_BUCKET 4u

/* A part of a page that a request touches. */
struct part {
	uint64_t number;
	unsigned first, count; /* sectors */
};

static bool part_next(uint64_t *offset, uint64_t end, struct part *ret_part)
{
	uint64_t stop = min_u64((*offset / FORGET_PAGE_BYTES + 1) * FORGET_PAGE_BYTES, end);

	if (*offset >= end)
		return false;
	*ret_part = (struct part){
		.number = *offset / FORGET_PAGE_BYTES,
		.first = (unsigned)(*offset % FORGET_PAGE_BYTES / DISK_SECTOR_BYTES),
		.count = (unsigned)((stop - *offset) / DISK_SECTOR_BYTES),
	};
	*offset = stop;
	return true;
}

static uint8_t part_mask(const struct part *part)
{
	return (uint8_t)(((1u << part->count) - 1) << part->first);
}

/* ---- pages ---- */

static struct forget_page **bucket_of(const struct forget_store *store, uint64_t number)
{
	return &store->buckets[(number * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (store->bucket_count - 1)];
}

static struct forget_page *page_find(const struct forget_store *store, uint64_t number)
{
	struct forget_page *page = *bucket_of(store, number);

	while (page && page->number != number)
		page = page->chain;
	return page;
}

static void page_link(struct forget_store *store, struct forget_page *page)
{
	struct forget_page **bucket = bucket_of(store, page->number);

	page->chain = *bucket;
	*bucket = page;
	page->next = store->first;
	page->at = &store->first;
	if (page->next)
		page->next->at = &page->next;
	store->first = page;
	store->pages++;
}

static void page_unlink(struct forget_store *store, struct forget_page *page)
{
	struct forget_page **chain = bucket_of(store, page->number);

	while (*chain != page)
		chain = &(*chain)->chain;
	*chain = page->chain;
	*page->at = page->next;
	if (page->next)
		page->next->at = page->at;
	store->pages--;
}

static struct forget_page *page_new(struct forget_store *store, uint64_t number)
{
	struct forget_page *page = aligned_alloc(FORGET_PAGE_BYTES, sizeof(*page));

	if (!page)
		return NULL;
	page->number = number;
	page->sectors = 0;
	page_link(store, page);
	return page;
}

/* ---- the store ---- */

int forget_store_init(struct forget_store *store, uint64_t pages)
{
	*store = (struct forget_store){.bucket_count = 1};
	while (store->bucket_count * PAGES_PER_BUCKET < pages)
		store->bucket_count *= 2;
	store->buckets = calloc(store->bucket_count, sizeof(struct forget_page *));
	return store->buckets ? 0 : -ENOMEM;
}

void forget_store_fini(struct forget_store *store)
{
	if (store->buckets)
		forget_store_clear(store);
	free(store->buckets);
}

uint64_t forget_store_clear(struct forget_store *store)
{
	struct forget_page *page;
	uint64_t bytes = 0;

	while ((page = store->first)) {
		bytes += (uint64_t)__builtin_popcount(page->sectors) * DISK_SECTOR_BYTES;
		page_unlink(store, page);
		free(page);
	}
	return bytes;
}

static bool page_drop(struct forget_store *store, const struct part *part)
{
	struct forget_page *page = page_find(store, part->number);
	bool any = page && page->sectors & part_mask(part);

	if (!any)
		return false;
	page->sectors &= (uint8_t)~part_mask(part);
	if (!page->sectors) {
		page_unlink(store, page);
		free(page);
	}
	return true;
}

bool forget_store_drop(struct forget_store *store, uint64_t offset, uint64_t bytes)
{
	struct part part;
	bool any = false;

	if (bytes / FORGET_PAGE_BYTES > store->pages) {
		for (struct forget_page *page = store->first, *next; page; page = next) {
			uint64_t at = page->number * FORGET_PAGE_BYTES, from = max_u64(at, offset);

			next = page->next;
			if (from < min_u64(at + FORGET_PAGE_BYTES, offset + bytes))
				any |= forget_store_drop(store, from, min_u64(at + FORGET_PAGE_BYTES, offset + bytes) - from);
		}
		return any;
	}
	for (uint64_t end = offset + bytes; part_next(&offset, end, &part);)
		any |= page_drop(store, &part);
	return any;
}

void forget_store_merge(struct forget_store *store, struct forget_store *from)
{
	struct forget_page *page;

	while ((page = from->first)) {
		struct forget_page *newer = page_find(store, page->number);

		page_unlink(from, page);
		if (!newer) {
			page_link(store, page);
			continue;
		}
		for (unsigned s = 0; s < FORGET_PAGE_SECTORS; s++)
			if (page->sectors & ~newer->sectors & 1u << s)
				memcpy(newer->bytes + s * DISK_SECTOR_BYTES, page->bytes + s * DISK_SECTOR_BYTES, DISK_SECTOR_BYTES);
		newer->sectors |= page->sectors;
		free(page);
	}
}

/* ---- requests ---- */

/* How far one has come in the pieces of a request's memory. */
struct cursor {
	const struct iovec *iov;
	uint32_t left;
	size_t skip;
};

/* `to_memory`: else from there; `bytes` NULL: neither. False: the pieces have ended. */
static bool cursor_copy(struct cursor *cursor, uint8_t *bytes, size_t count, bool to_memory)
{
	while (count) {
		size_t len;
		uint8_t *at;

		if (!cursor->left)
			return false;
		len = min_u64(count, cursor->iov->iov_len - cursor->skip);
		at = (uint8_t *)cursor->iov->iov_base + cursor->skip;
		if (bytes)
			memcpy(to_memory ? at : bytes, to_memory ? bytes : at, len);
		bytes = bytes ? bytes + len : NULL;
		count -= len;
		cursor->skip += len;
		if (cursor->skip == cursor->iov->iov_len) {
			cursor->iov++;
			cursor->left--;
			cursor->skip = 0;
		}
	}
	return true;
}

int forget_store_put(struct forget_store *store, const struct disk_request *r, uint64_t pages_max)
{
	struct cursor cursor = {r->iov, r->iov_count, 0};
	uint64_t offset = r->offset;
	struct part part;

	while (part_next(&offset, r->offset + r->bytes, &part)) {
		struct forget_page *page = page_find(store, part.number);

		if (!page && !pages_max)
			return -ENOSPC;
		pages_max -= !page;
		if (!page)
			page = page_new(store, part.number);
		if (!page)
			return -ENOMEM;
		if (!cursor_copy(&cursor, page->bytes + part.first * DISK_SECTOR_BYTES, part.count * DISK_SECTOR_BYTES, false))
			return -EINVAL;
		page->sectors |= part_mask(&part);
	}
	return 0;
}

void forget_store_patch(const struct forget_store *store, const struct disk_request *r)
{
	struct cursor cursor = {r->iov, r->iov_count, 0};
	uint64_t offset = r->offset;
	struct part part;

	while (store->pages && part_next(&offset, r->offset + r->bytes, &part)) {
		struct forget_page *page = page_find(store, part.number);

		for (unsigned s = part.first; s < part.first + part.count; s++) {
			bool here = page && page->sectors & 1u << s;

			if (!cursor_copy(&cursor, here ? page->bytes + s * DISK_SECTOR_BYTES : NULL, DISK_SECTOR_BYTES, true))
				return;
		}
	}
}
