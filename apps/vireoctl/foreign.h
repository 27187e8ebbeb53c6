/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_FOREIGN_H
#define VIREOCTL_FOREIGN_H

/* What a daemon (or whoever sits on its socket) has answered, before a terminal sees it: see base/visible.h. */

#include <jansson.h>
#include <stdio.h>

/* The answer with all its strings and keys visible, for tables. A new reference; NULL: out of memory. */
json_t *foreign_visible(json_t *answer);

/* As JSON, in which they are escaped by JSON's own rules, as \uNNNN: it means the same. `flags` are json_dumps()'s. */
int foreign_dump(const json_t *answer, FILE *out, size_t flags);

#endif
