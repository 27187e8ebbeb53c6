/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROVE_PROVE_H
#define PROVE_PROVE_H

/*
 * What the proofs of this folder share. Each file compiles the real sources in and has functions prove_NAME(), which scripts/prove
 * hands to CBMC one by one. CBMC looks at every value that a nondet_NAME() may return at once; what it checks is each access to
 * memory (inside its object), each overflow of signed numbers and of pointers, each shift and division, each assert(), and that no
 * loop goes on beyond the bound that scripts/prove states.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Without a body each: any value. */
bool nondet_bool(void);
uint8_t nondet_u8(void);
uint16_t nondet_u16(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);

#define assume(condition) __CPROVER_assume(condition)

/* The tool knows memcpy() by that name only. */
static inline void *bytes_copy(void *to, const void *from, size_t bytes)
{
	return memcpy(to, from, bytes);
}
#define __builtin_memcpy bytes_copy

/* So many bytes with anything in them, and not one more. */
static inline void *any_bytes(size_t bytes)
{
	void *at = malloc(bytes);

	assume(at != NULL);
	return at;
}

#endif
