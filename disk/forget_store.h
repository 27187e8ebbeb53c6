/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_FORGET_STORE_H
#define DISK_FORGET_STORE_H

/* What has been written to a disk and is not on it yet: sectors, kept in pages by their number. No lock: who has it takes care. */

#include "disk/disk.h"

#define FORGET_PAGE_BYTES   4096u
#define FORGET_PAGE_SECTORS (FORGET_PAGE_BYTES / DISK_SECTOR_BYTES)

struct forget_page {
	struct forget_page *chain;	  /* of those that share a bucket */
	struct forget_page *next, **at; /* of all; and what points to this one */
	uint64_t number;
	uint8_t sectors; /* a bit for each that is here */
	uint8_t bytes[FORGET_PAGE_BYTES] __attribute__((aligned(FORGET_PAGE_BYTES))); /* direct I/O takes them as they lie */
};

struct forget_store {
	struct forget_page **buckets, *first;
	uint64_t bucket_count, pages;
};

int forget_store_init(struct forget_store *store, uint64_t pages); /* so many are usual. 0 or -ENOMEM */
void forget_store_fini(struct forget_store *store);

/*
 * Takes what a request writes, whole sectors, in `pages_max` further pages at most. 0; -ENOSPC, -ENOMEM: there is no room, and what
 * lay there may have been overwritten already; -EINVAL: its pieces are shorter than it says.
 */
int forget_store_put(struct forget_store *store, const struct disk_request *r, uint64_t pages_max);
/* Over what a request has read. */
void forget_store_patch(const struct forget_store *store, const struct disk_request *r);
/* Returns whether there was any. */
bool forget_store_drop(struct forget_store *store, uint64_t offset, uint64_t bytes);
/* All of `from` moves to `store`, under what is there. */
void forget_store_merge(struct forget_store *store, struct forget_store *from);
/* Returns how many bytes it had. */
uint64_t forget_store_clear(struct forget_store *store);

#endif
