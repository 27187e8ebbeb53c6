/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include "base/util.h"
#include <string.h>

/*
 * From how many bytes on the CPU's own string copy beats the C library's; UINT32_MAX: never. It takes the lines it
 * overwrites whole without reading them first, which counts when they are in another CPU's cache or in none. Asked
 * once and kept by the caller.
 */
uint32_t copy_string_from_bytes(void);

/* Both may name the same memory, what is there afterwards is then anybody's guess: nothing else goes wrong. */
static inline void copy_bytes(void *to, const void *from, size_t bytes, uint32_t string_from_bytes)
{
#if defined(__x86_64__)
	if (bytes >= string_from_bytes) {
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
		return;
	}
#endif
	memmove(to, from, bytes);
}

#endif
