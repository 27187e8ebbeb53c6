/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_TABLE_H
#define VIREOCTL_TABLE_H

#include "base/util.h"
#include <stdio.h>

/*
 * A table whose columns are as wide as their widest cell. Headings are separated by '|'; one that begins with
 * '>' is aligned to the right, and is of numbers. What matters least stands last.
 */
#define TABLE_COLUMNS_MAX 16u

struct table;

struct table *table_new(const char *headings); /* never NULL: out of memory ends the program */
void table_cell(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);
/*
 * It takes at most so many columns when it is printed: the last ones are left out, and long cells that are no numbers are cut. 0: as
 * many as it takes.
 */
void table_within(struct table *table, size_t columns);
/* Prints what is there and frees the table. */
void table_print(struct table *table, FILE *out);
void table_drop(struct table *table); /* frees it */

#endif
