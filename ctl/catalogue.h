/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_CATALOGUE_H
#define CTL_CATALOGUE_H

/*
 * A command table on its way to a client that was built without it: every daemon of ours answers the method
 * CTL_CATALOGUE_METHOD with the rows that it serves, and vireoctl makes rows of them.
 */

#include "ctl/command.h"

#define CTL_CATALOGUE_METHOD "commands"
#define CTL_CATALOGUE_ROWS_MAX 1000u

/* {"commands": [{words, method, params, help, watch, repeat}]}: the rows that are served. NULL: out of memory. */
json_t *ctl_catalogue_json(const struct ctl_command *commands, size_t count);

/*
 * The rows of such an answer, without `serve`, all with this `show`, and behind them `own_count` rows of the caller's own
 * with words that the daemon does not have. They refer to the answer, of which a reference is kept, and to `own`. -EPROTO: it is
 * no such answer; -ENOMEM.
 */
struct ctl_catalogue;
int ctl_catalogue_new(json_t *answer, ctl_show_fn *show, const struct ctl_command *own, size_t own_count,
		      struct ctl_catalogue **ret_catalogue);
void ctl_catalogue_free(struct ctl_catalogue *catalogue); /* takes NULL */
const struct ctl_command *ctl_catalogue_rows(const struct ctl_catalogue *catalogue, size_t *ret_count);

#endif
