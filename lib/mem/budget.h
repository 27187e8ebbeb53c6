/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_BUDGET_H
#define MEM_BUDGET_H

#include "vireo/memory.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What one device's peer has made this process map, held against what it may have (vireo/memory.h). Whoever maps its
 * memory takes from the account before, and gives back after the munmap(). Taking: the device's control thread. Giving:
 * any thread, whoever lets go of a map last.
 */
enum mem_refusal {
	MEM_REFUSED_NOTHING,
	MEM_REFUSED_SHARE, /* to make a page: its share is used up */
	MEM_REFUSED_ROOM, /* to make a page: there is no memory, or no room in the file system */
};

struct mem_account {
	unsigned refs; /* atomic: whoever has opened it, and each that has taken from it */
	struct vireo_memory *memory; /* a reference, or NULL: nobody shares anything out */
	uint64_t max_bytes; /* atomic: what a map may hold; 0: what is the account's share */
	uint64_t mapped_bytes; /* atomic, as the next */
	uint64_t mappings;
	uint64_t made_bytes;
	enum mem_refusal refusal; /* atomic: since mem_account_session() */
	char why[200]; /* the last refusal */
};

/* NULL: no memory. */
struct mem_account *mem_account_open(struct vireo_memory *memory, uint64_t max_bytes);
/* Takes NULL. It is gone when all has been given back, which may be later; so may be vireo_memory. */
void mem_account_close(struct mem_account *account);

/* Maps that come from now on may hold so much. Any thread. Takes NULL. */
void mem_account_max_set(struct mem_account *account, uint64_t max_bytes);

/* All these take NULL for the account: nothing is refused. -ENOMEM, and *why (which lives as long as the account). */

/* May a map hold so much? */
int mem_account_map_check(struct mem_account *account, uint64_t bytes, const char **why);
/* Each that succeeds is given back once, as a whole. */
int mem_account_take(struct mem_account *account, uint64_t bytes, unsigned mappings, const char **why);
void mem_account_give(struct mem_account *account, uint64_t bytes, unsigned mappings);

/*
 * A session begins: what the process has is looked at again, in about twenty system calls. Not for one that another process has `handed`
 * over: many of them come at a time while their peers wait, and this process has looked when it made its vireo_memory, just before.
 */
void mem_account_session(struct mem_account *account, bool handed);
/*
 * What shared memory the process is charged for is read from this file (borrowed) until a session begins; it may tell
 * so much less.
 */
void mem_shared_file_set(struct vireo_memory *memory, int fd, uint64_t lag_bytes);
/* Has pages of this mapping that are not there held against the account. Whole pages of a shared memory file. */
bool mem_account_watch(struct mem_account *account, void *start, size_t bytes);
/*
 * Makes a page of such a mapping. Any thread, async-signal-safe. False: it is beyond the end of its file, or refused.
 */
bool mem_account_make(struct mem_account *account, void *page, size_t page_bytes);

void mem_account_use(const struct mem_account *account, struct vireo_memory_use *ret_use);

#endif
