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

#define WATCHDOG_US_MAX UINT64_C(1000000000000) /* eleven days; more is nonsense */
#define WATCHDOG_UNTOLD -1

/* How long the manager waits for one, as the environment has it; 0: it does not wait for any of this process. */
uint64_t watchdog_us(void);
/*
 * The same for a process that takes over: `own` is what its own environment has, `told` what the one before it says. One that knows of no
 * watchdog yet (WATCHDOG_UNTOLD) says nothing, and may have one all the same: where there is a manager, it is taken to wait as long as
 * the units say. A sign too many does no harm.
 */
uint64_t watchdog_us_taken(uint64_t own, int64_t told);
/* Between two signs of life: half of that. */
uint64_t watchdog_period_ms(uint64_t us);

/*
 * Signs of life from the loop, the first one as soon as it is dispatched, for who waits that long; *ret_watchdog stays NULL if nobody
 * does (0). -ENOMEM and the like.
 */
int watchdog_open(struct loop *loop, uint64_t us, struct watchdog **ret_watchdog);
void watchdog_free(struct watchdog *watchdog); /* takes NULL */

#endif
