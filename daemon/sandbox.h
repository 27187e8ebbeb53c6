/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

/*
 * A daemon gives away what it does not need: capabilities, the way to new ones, and system calls. `rooms` ends with NULL: what they
 * declare (base/calls.h) is kept, all else is gone for good, for each thread that is made from then on. What a device needs that is
 * added later is declared as well, so that nothing has to be asked of a privileged helper.
 *
 * A refused call fails with EPERM and one line of the log names it: what asked for it goes without, and all others go on. Those that
 * nothing in a daemon ever asks for, libraries included (execve, ptrace, mount and their like), end the process at once. See docs/sandbox.md.
 */

#include "base/calls.h"
#include "vireo/base.h"
#include <stdio.h>

struct loop;
struct refused;

/*
 * Before any other thread is made. What cannot be had (a kernel without seccomp, a build without libseccomp, a build that looks for our own
 * mistakes by calls of its own) is told in a line, and the daemon goes on without. -errno: out of memory or fds, and nothing has been given away.
 */
int sandbox_enter(const struct calls *const *rooms, struct loop *loop, const struct vireo_log *log, struct refused **ret_refused);
/* Refused calls are told of no longer. Takes NULL. All other threads are gone. */
void sandbox_leave(struct refused *refused);

/* A line for each capability and call, with its reason. */
void sandbox_print(const struct calls *const *rooms, FILE *out);

/* ---- between the files ---- */

/* privileges.c: 0 or -errno. */
int privileges_drop(const struct calls *const *rooms);

/* filter.c: 0, or -errno; -ENOPKG: this build has none. What is refused comes as SIGSYS. */
int filter_load(const struct calls *const *rooms);
/* "execve" of its number, or NULL. To be freed. */
char *filter_call_name(int number);

/* refused.c */
int refused_open(struct loop *loop, const struct vireo_log *log, struct refused **ret_refused);
void refused_close(struct refused *refused); /* takes NULL */

#endif
