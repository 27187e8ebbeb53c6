/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Tells the service manager ("READY=1"; a literal) as sd_notify(3) describes; nothing happens without $NOTIFY_SOCKET. A
 * manager that is busy is not waited for: it misses the news, or gets it later, by a thread of its own, if it must
 * have it `for_certain`.
 */
void notify(const char *state, bool for_certain);

/*
 * Tells it which process is the service's main one from now on, and that the service lives: the last sign of life may be a while ago, and
 * the next one be lost. Waits for a manager that is busy, so long at most.
 */
void notify_main_pid(pid_t pid, unsigned wait_ms);

#endif
