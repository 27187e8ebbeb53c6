/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_DIRTY_H
#define MEM_DIRTY_H

/*
 * A dirty log (vhost-user: "Migration"): a bitmap in a file of the front end's, a bit for each 4 KiB of guest memory, by guest
 * address. We set bits; the front end takes them out, and copies those pages once more, at any moment.
 *
 * Order. The bit is set after the page has been written to: the other way round the front end could take the bit, copy
 * the page as it was, and never look again. A bit that is there already is not set again, so the caller has a full barrier between
 * what it has written and dirty_log_mark(): either the mark is seen by whoever takes it, who sees the page too then, or it is gone
 * and is set anew.
 */

#include "mem/map.h"
#include <stdbool.h>
#include <stdint.h>

#define DIRTY_PAGE_BYTES 4096u

struct dirty_log;

/*
 * size_bytes of the file from `offset` on, which may begin anywhere. -EINVAL: no file of memory, or not as long as that; -ENOMEM,
 * or mmap's errno. *why as map_new()'s. A file that is cut short later is found out like memory that is (map_faults).
 */
int dirty_log_new(int fd, uint64_t offset, uint64_t size_bytes, const struct map_faults *faults, struct dirty_log **ret_log,
		  const char **why);
struct dirty_log *dirty_log_ref(struct dirty_log *log);
void dirty_log_unref(struct dirty_log *log); /* takes NULL; any thread */

bool dirty_log_covers(const struct dirty_log *log, uint64_t gpa, uint64_t size_bytes);
bool dirty_log_covers_map(const struct dirty_log *log, const struct map *map); /* NULL: an empty one */

/* Any thread. size_bytes from gpa on, which the log covers, have been written to; see above. */
void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t size_bytes);
void dirty_log_mark_map(struct dirty_log *log, const struct map *map); /* all of it, which the log covers */
/* What `old` has had marked and nobody has taken yet is marked here as well, as far as this one goes. */
void dirty_log_carry(struct dirty_log *log, const struct dirty_log *old);
/* Any thread. Has a bit been set that was not there, since this was asked last? Whoever is told of it then finds that bit. */
bool dirty_log_news_take(struct dirty_log *log);

#endif
