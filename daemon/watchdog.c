/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/watchdog.h"
#include "base/loop.h"
#include "base/parse.h"
#include "daemon/notify.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define USUAL_US UINT64_C(30000000) /* WatchdogSec= of the units */

struct watchdog {
	struct loop_timer *timer;
	uint64_t period_ms;
};

/* A number from the environment; false: there is none. */
static bool number_from(const char *name, unsigned long *ret)
{
	const char *text = getenv(name);

	return text && parse_number(text, 0, ULONG_MAX, ret);
}

uint64_t watchdog_us(void)
{
	unsigned long usec, pid;

	if (!number_from("WATCHDOG_USEC", &usec) || usec > WATCHDOG_US_MAX)
		return 0;
	/* What stands there for our parent is none of ours. */
	if (getenv("WATCHDOG_PID") && (!number_from("WATCHDOG_PID", &pid) || pid != (unsigned long)getpid()))
		return 0;
	return usec;
}

uint64_t watchdog_us_taken(uint64_t own, int64_t told)
{
	if (own)
		return own;
	if (told == WATCHDOG_UNTOLD)
		return getenv("NOTIFY_SOCKET") ? USUAL_US : 0;
	return told > 0 && (uint64_t)told <= WATCHDOG_US_MAX ? (uint64_t)told : 0;
}

uint64_t watchdog_period_ms(uint64_t us)
{
	return us && us < 2000 ? 1 : us / 2000;
}

static void on_period(void *opaque)
{
	struct watchdog *watchdog = opaque;

	notify("WATCHDOG=1", false);
	loop_timer_start(watchdog->timer, watchdog->period_ms);
}

int watchdog_open(struct loop *loop, uint64_t us, struct watchdog **ret_watchdog)
{
	struct watchdog *watchdog;
	uint64_t period_ms = watchdog_period_ms(us);
	int err;

	if (!period_ms)
		return 0;
	watchdog = calloc(1, sizeof(*watchdog));
	if (!watchdog)
		return -ENOMEM;
	watchdog->period_ms = period_ms;
	err = loop_timer_new(loop, on_period, watchdog, &watchdog->timer);
	if (err) {
		free(watchdog);
		return err;
	}
	loop_timer_start(watchdog->timer, 0); /* a process before this one may have given its last one a period ago */
	*ret_watchdog = watchdog;
	return 0;
}

void watchdog_free(struct watchdog *watchdog)
{
	if (!watchdog)
		return;
	loop_timer_free(&watchdog->timer);
	free(watchdog);
}
