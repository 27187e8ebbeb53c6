/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_PARSE_H
#define DAEMON_PARSE_H

/* Values as users write them, on a command line, in a file, in a SPEC. False: it is none; ret_ is untouched. */

#include "base/parse.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PARSE_WHY_BYTES 640u /* a phrase that says what is wrong with a value, and what was expected */

/* A group's or a user's name or number. Any thread; a name may be waited for. */
bool parse_group(const char *text, gid_t *ret_group);
bool parse_user(const char *text, uid_t *ret_user);

#endif
