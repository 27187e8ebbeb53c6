/* SPDX-License-Identifier: BSD-3-Clause */
#include "vireo/cursor.h"
#include "base/util.h"
#include <string.h>

struct vireo_cursor vireo_cursor_of(const struct iovec *iov, size_t count)
{
	struct vireo_cursor c = { .iov = iov, .count = count };

	for (size_t i = 0; i < count; i++)
		c.left_bytes += iov[i].iov_len;
	return c;
}

struct vireo_cursor vireo_cursor_none(void)
{
	return (struct vireo_cursor){ 0 };
}

/* The stretch at the cursor, at most bytes_max long. Steps over used up and empty pieces; bytes are left. */
static uint8_t *stretch(struct vireo_cursor *c, uint64_t bytes_max, size_t *ret_bytes)
{
	while (c->offset == c->iov->iov_len) {
		c->iov++;
		c->count--;
		c->offset = 0;
	}
	*ret_bytes = (size_t)min_u64(c->iov->iov_len - c->offset, bytes_max);
	return (uint8_t *)c->iov->iov_base + c->offset;
}

static void advance(struct vireo_cursor *c, size_t bytes)
{
	c->offset += bytes;
	c->left_bytes -= bytes;
}

bool vireo_cursor_take(struct vireo_cursor *c, void *dst, size_t bytes)
{
	uint8_t *to = dst;

	if (bytes > c->left_bytes)
		return false;
	while (bytes) {
		size_t n;
		const uint8_t *from = stretch(c, bytes, &n);

		memcpy(to, from, n);
		advance(c, n);
		to += n;
		bytes -= n;
	}
	return true;
}

bool vireo_cursor_put(struct vireo_cursor *c, const void *src, size_t bytes)
{
	const uint8_t *from = src;

	if (bytes > c->left_bytes)
		return false;
	while (bytes) {
		size_t n;
		uint8_t *to = stretch(c, bytes, &n);

		memcpy(to, from, n);
		advance(c, n);
		from += n;
		bytes -= n;
	}
	return true;
}

bool vireo_cursor_skip(struct vireo_cursor *c, uint64_t bytes)
{
	if (bytes > c->left_bytes)
		return false;
	while (bytes) {
		size_t n;

		(void)stretch(c, bytes, &n);
		advance(c, n);
		bytes -= n;
	}
	return true;
}

uint64_t vireo_cursor_copy(struct vireo_cursor *dst, struct vireo_cursor *src, uint64_t bytes_max)
{
	uint64_t total = min_u64(bytes_max, min_u64(dst->left_bytes, src->left_bytes));
	uint64_t left = total;

	while (left) {
		size_t room, n;
		uint8_t *to = stretch(dst, left, &room);
		const uint8_t *from = stretch(src, room, &n);

		memmove(to, from, n); /* guests choose the addresses: both may name the same memory */
		advance(dst, n);
		advance(src, n);
		left -= n;
	}
	return total;
}
