/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_CURSOR_H
#define VIREO_CURSOR_H

/*
 * A position in scattered bytes: the pieces of a chain, or any array of pieces.
 *
 * A driver may split a request's header, data and status over descriptors as it likes (virtio 1.3, 2.7.4.3). A device therefore
 * copies headers from the front of the readable pieces, and data and status into the writable ones, wherever a piece begins.
 *
 * The pieces lie in guest memory, and vireo_cursor_take() makes a private copy. Check that copy and use it; never copy the same
 * bytes twice. The bytes may change at any moment, the pieces' addresses and lengths do not.
 *
 * A cursor is a value: copy it to come back to a position. It is valid as long as the array of pieces is. Any thread.
 */

#include "base.h"
#include "chain.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_cursor {
	const struct iovec *iov; /* the current piece */
	size_t count;		 /* pieces left, the current one included */
	size_t offset;		 /* in the current piece */
	uint64_t left_bytes;	 /* from the position to the end; the caller may read it */
};

/* Returns a cursor at the first byte of these pieces. The array is borrowed. */
VIREO_API struct vireo_cursor vireo_cursor_of(const struct iovec *iov, size_t count);
VIREO_API struct vireo_cursor vireo_cursor_none(void); /* a cursor without bytes */

/*
 * These three move the cursor by `bytes`. vireo_cursor_take() copies the bytes out of the pieces, vireo_cursor_put() copies bytes into
 * the pieces, vireo_cursor_skip() copies nothing. False: fewer than `bytes` are left; cursor and memory are as before. The driver has
 * made the buffer too short for what the device type needs.
 */
VIREO_API bool vireo_cursor_take(struct vireo_cursor *c, void *dst, size_t bytes);
VIREO_API bool vireo_cursor_put(struct vireo_cursor *c, const void *src, size_t bytes);
VIREO_API bool vireo_cursor_skip(struct vireo_cursor *c, uint64_t bytes);

/*
 * Copies at most `bytes_max` bytes from one cursor's pieces to the other's, moves both, and returns how many were
 * copied: the least of bytes_max and what is left in either. The two may name the same memory.
 */
VIREO_API uint64_t vireo_cursor_copy(struct vireo_cursor *dst, struct vireo_cursor *src, uint64_t bytes_max);

/* Returns a cursor at what the driver has written for the device. */
static inline struct vireo_cursor vireo_chain_readable(const struct vireo_chain *chain)
{
	return vireo_cursor_of(chain->iov, chain->readable_count);
}

/* Returns a cursor at what the device is to write into. */
static inline struct vireo_cursor vireo_chain_writable(const struct vireo_chain *chain)
{
	return vireo_cursor_of(chain->iov + chain->readable_count, chain->writable_count);
}

#ifdef __cplusplus
}
#endif
#endif
