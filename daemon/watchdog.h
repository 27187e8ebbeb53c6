/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_WATCHDOG_H
#define DAEMON_WATCHDOG_H

/*
 * A service manager that has been told to (WatchdogSec= of systemd) ends a daemon from which it does not hear for a while: one
 * whose loop has come to stand. It says so by $WATCHDOG_USEC and $WATCHDOG_PID, see sd_watchdog_enabled(3).
 */

#include <stdint.h>

struct loop;
struct watchdog;

/* Milliseconds between two signs of life: half of what the manager waits. 0: it does not wait for any. */
uint64_t watchdog_period_ms(void);

/* Signs of life from the loop, from now on; *ret_watchdog stays NULL if nobody waits for them. -ENOMEM and the like. */
int watchdog_open(struct loop *loop, struct watchdog **ret_watchdog);
void watchdog_free(struct watchdog *watchdog); /* takes NULL */

#endif
