/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/copy.h"
#include <string.h>

void copy_long(void *to, const void *from, size_t bytes, uint32_t string_from_bytes)
{
#if defined(__x86_64__)
	if (bytes >= string_from_bytes) {
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
		return;
	}
#endif
	memmove(to, from, bytes);
}
