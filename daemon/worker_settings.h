/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_WORKER_SETTINGS_H
#define DAEMON_WORKER_SETTINGS_H

/* Settings of a daemon that has workers (work/worker.h): its options begin with these. */

#include "daemon/settings.h"
#include "work/patience.h"

#define WORKERS_MAX 128u

struct worker_options {
	struct daemon_options daemon; /* first */
	unsigned workers;
	bool pinned; /* cpus[] holds one per worker */
	int cpus[WORKERS_MAX];
	bool poll;
	unsigned spin_us, spin_percent; /* see patience_setting() */
	bool stay;			/* work does not go from worker to worker by itself */
};

/* Rows for the daemon's table. `what` is what workers wait for: "frames". */
/* clang-format off */
#define SETTING_WORKERS(what) \
	{"workers", "N|CPU-LIST", settings_set_workers, \
	 "a number from 1 to 128, or a list of CPUs such as 0-1,4 or 3,", \
	 "so many workers, or one pinned to each CPU (1)"}, \
	{"poll", NULL, settings_set_poll, NULL, "workers never sleep", .rival = "adaptive"}, \
	{"adaptive", NULL, settings_set_adaptive, NULL, "workers sleep when there is nothing to do (default)", \
	 .rival = "poll"}, \
	{"spin-us", "US", settings_set_spin_us, "0 to 1000000", \
	 "adaptive: wait awake for " what " that usually come within US (as a sleep costs)"}, \
	{"spin-percent", "P", settings_set_spin_percent, "0 to 100", "adaptive: and for P percent of the time at most (10)"}
/* Of a daemon that has one: `what` goes to other workers. */
#define SETTING_WORKER_BALANCE(what) \
	{"worker-balance", "on|off", settings_set_worker_balance, "on or off", \
	 what " go from busy workers to others by themselves (on)"}
/* clang-format on */

bool settings_set_workers(void *options, const char *value, char *why);
bool settings_set_poll(void *options, const char *value, char *why);
bool settings_set_adaptive(void *options, const char *value, char *why);
bool settings_set_spin_us(void *options, const char *value, char *why);
bool settings_set_spin_percent(void *options, const char *value, char *why);
bool settings_set_worker_balance(void *options, const char *value, char *why);

/* The defaults, and those of struct daemon_options. */
void worker_options_init(struct worker_options *options);

#endif
