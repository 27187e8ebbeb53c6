/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/worker_settings.h"
#include "daemon/cpus.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool settings_set_workers(void *options, const char *value, char *why)
{
	struct worker_options *o = options;
	unsigned long n;
	int count;

	if (parse_number(value, 1, WORKERS_MAX, &n)) {
		o->workers = (unsigned)n;
		o->pinned = false;
		return true;
	}
	count = strpbrk(value, "-,") ? cpus_parse(value, o->cpus, WORKERS_MAX) : -EINVAL;
	if (count == -ENODEV)
		snprintf(why, PARSE_WHY_BYTES, "expected CPUs that this process may run on");
	if (count <= 0)
		return false;
	o->workers = (unsigned)count;
	o->pinned = true;
	return true;
}

bool settings_set_poll(void *options, const char *value, char *why)
{
	struct worker_options *o = options;

	o->poll = true;
	return true;
}

bool settings_set_adaptive(void *options, const char *value, char *why)
{
	struct worker_options *o = options;

	o->poll = false;
	return true;
}

bool settings_set_spin_us(void *options, const char *value, char *why)
{
	struct worker_options *o = options;
	unsigned long n;

	if (!parse_number(value, 0, 1000000, &n))
		return false;
	o->spin_us = n ? (unsigned)n : PATIENCE_NEVER;
	return true;
}

bool settings_set_spin_percent(void *options, const char *value, char *why)
{
	struct worker_options *o = options;
	unsigned long n;

	if (!parse_number(value, 0, 100, &n))
		return false;
	o->spin_percent = n ? (unsigned)n : PATIENCE_NEVER;
	return true;
}

bool settings_set_worker_balance(void *options, const char *value, char *why)
{
	struct worker_options *o = options;

	o->stay = !strcmp(value, "off");
	return o->stay || !strcmp(value, "on");
}

void worker_options_init(struct worker_options *options)
{
	*options = (struct worker_options){.workers = 1};
	daemon_options_init(&options->daemon);
}
