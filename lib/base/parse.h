/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

/* Numbers as users write them. False: it is none; ret_ is untouched. */

#include <stdbool.h>
#include <stdint.h>

/* A whole decimal number from min to max, and nothing else. */
bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret_number);

/* 1 or more bytes; K, M, G and T are KiB, MiB, GiB and TiB. */
bool parse_size(const char *text, uint64_t *ret_bytes);

#endif
