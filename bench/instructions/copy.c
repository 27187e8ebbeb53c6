/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The C library's copy for all lengths, in place of lib/base/copy_string.c: callgrind counts the CPU's string copy byte by
 * byte, and would drown everything else in it.
 */

#include "base/copy.h"

uint32_t copy_string_from_bytes(void)
{
	return UINT32_MAX;
}
