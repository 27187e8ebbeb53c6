/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_COMPLETE_H
#define VIREOCTL_COMPLETE_H

#include "options.h"

/*
 * vireoctl --complete WORD...: what the last word, of which only the beginning may be there, could become after the others, a line
 * each on stdout. For shells. It says nothing else: neither when no daemon answers nor when the words make no sense.
 * `inv` holds the defaults.
 */
void complete(struct invocation *inv, int argc, char *const *argv);

#endif
