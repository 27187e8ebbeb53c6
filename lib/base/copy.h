/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include <stddef.h>
#include <stdint.h>

/*
 * From how many bytes on the CPU's own string copy beats the C library's; UINT32_MAX: never. It takes the lines it
 * overwrites whole without reading them first, which counts when they are in another CPU's cache or in none. Asked
 * once and kept by the caller.
 */
uint32_t copy_string_from_bytes(void);

#define COPY_STEP_BYTES 16u

/* 16 to 64 bytes, in steps that overlap; all are read before the first is written. */
static inline void copy_short(uint8_t *to, const uint8_t *from, size_t bytes)
{
	typedef uint8_t step __attribute__((vector_size(COPY_STEP_BYTES), aligned(1), may_alias));
	size_t last = bytes - COPY_STEP_BYTES, second = bytes > 2 * COPY_STEP_BYTES ? COPY_STEP_BYTES : 0;
	step a = *(const step *)from, b = *(const step *)(from + second);
	step c = *(const step *)(from + last - second), d = *(const step *)(from + last);

	*(step *)to = a;
	*(step *)(to + second) = b;
	*(step *)(to + last - second) = c;
	*(step *)(to + last) = d;
}

/* Any length; see copy_bytes(). */
void copy_long(void *to, const void *from, size_t bytes, uint32_t string_from_bytes);

/* Both may name the same memory, what is there afterwards is then anybody's guess: nothing else goes wrong. */
static inline void copy_bytes(void *to, const void *from, size_t bytes, uint32_t string_from_bytes)
{
	if (bytes - COPY_STEP_BYTES <= 3 * COPY_STEP_BYTES)
		copy_short(to, from, bytes);
	else
		copy_long(to, from, bytes, string_from_bytes);
}

#endif
