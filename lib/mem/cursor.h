/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_CURSOR_H
#define MEM_CURSOR_H

/*
 * A position in scattered bytes (an array of pieces). Headers are taken off the front and payload is put at the end
 * without a thought for where pieces begin. The memory may be the guest's: what is taken is a copy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct cursor {
	const struct iovec *iov; /* the current piece */
	size_t count;            /* pieces left, the current one included */
	size_t offset;           /* in the current piece */
	uint64_t left_bytes;
};

struct cursor cursor_of(const struct iovec *iov, size_t count);
struct cursor cursor_none(void);

/* All or nothing: false (and no move) if fewer than `bytes` are left. */
bool cursor_take(struct cursor *c, void *dst, size_t bytes); /* copy out of the pieces */
bool cursor_put(struct cursor *c, const void *src, size_t bytes); /* copy into the pieces */
bool cursor_skip(struct cursor *c, uint64_t bytes);

/* As much as goes: copies from one cursor to another; returns the bytes. */
uint64_t cursor_copy(struct cursor *dst, struct cursor *src, uint64_t bytes_max);

#endif
