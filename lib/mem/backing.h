/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_BACKING_H
#define MEM_BACKING_H

/* A shared mapping of a stretch of a front end's file; held by every map that has the region. */

#include "mem/map.h"

struct map_backing;

enum backing_kind {
	BACKING_FILE,
	BACKING_VOUCHED, /* see map_new_vouched() */
	BACKING_READ_ONLY, /* the same, mapped privately */
};

/*
 * Maps size_bytes from mmap_offset on of fd, which may start anywhere in a page. *ret_host is where that
 * offset is seen. Errors and `why` as map_new(). faults may be NULL.
 */
int backing_new(int fd, uint64_t mmap_offset, uint64_t size_bytes, enum backing_kind kind,
		const struct map_faults *faults, struct map_backing **ret_backing, uint8_t **ret_host,
		const char **why);

/* Was it made of these size_bytes of this file, in this way, and does the file (BACKING_FILE) still have them? */
bool backing_is(const struct map_backing *backing, int fd, uint64_t mmap_offset, uint64_t size_bytes, enum backing_kind kind);

/*
 * The file that it is of (borrowed), and where the region begins there. -1: it has not been kept, because faults->keep said so, or there
 * was no fd for it.
 */
int backing_file(const struct map_backing *backing, uint64_t *ret_mmap_offset);

/* Any thread. */
struct map_backing *backing_ref(struct map_backing *backing);
void backing_unref(struct map_backing *backing);

#endif
