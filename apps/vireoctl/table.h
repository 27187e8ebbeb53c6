/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_TABLE_H
#define VIREOCTL_TABLE_H

#include "base/util.h"
#include <stdio.h>

/*
 * A table whose columns are as wide as their widest cell. Headings are separated by '|'; one that begins with
 * '>' is aligned to the right.
 */
#define TABLE_COLUMNS_MAX 16u

struct table;

struct table *table_new(const char *headings); /* never NULL: out of memory ends the program */
void table_cell(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints what is there and frees the table. */
void table_print(struct table *table, FILE *out);
void table_drop(struct table *table); /* frees it */

#endif
