/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_LOCAL_H
#define VIREOCTL_LOCAL_H

#include <jansson.h>

/*
 * Commands that vireoctl answers itself, without a daemon: rows without a method. `root` is where /sys and
 * /dev are (NULL:
 * /). 0 and *ret_result (the caller's, NULL: the command shows something that needs no answer), or a negative
 * errno when a line on stderr has said why.
 */
int local_call(const char *words, const char *root, int argc, char *const *argv, json_t **ret_result);

#endif
