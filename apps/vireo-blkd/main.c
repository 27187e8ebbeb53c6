/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vireo-blkd: one control thread (this one) that dispatches a loop, and a crew of workers that serve the queues. Exit codes:
 * 0 ended by a signal, 1 the environment failed, 2 bad usage.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "commands.h"
#include "daemon/daemon.h"
#include "daemon/endpoint.h"
#include "exports.h"
#include "options.h"
#include "store/disks.h"
#include <string.h>
#include <unistd.h>

#define SHUTDOWN_MS 2000

struct blkd {
	struct options options;
	struct daemon daemon;
	struct disks disks;
	struct exports exports;
};

static int workers_start(struct blkd *d)
{
	const struct worker_options *run = &d->options.run;
	const struct crew_config config = {
		.name = "blk-worker",
		.workers = run->workers,
		.cpus = run->pinned ? run->cpus : NULL,
		.poll = run->poll,
		.spin_us = run->spin_us,
		.spin_percent = run->spin_percent,
	};
	int err = crew_new(&config, d->daemon.loop, &d->exports.crew);

	if (err)
		log_error(&d->daemon.log, "cannot start the workers: %s: try fewer of them", strerror(-err));
	return err;
}

/* What was started as QEMU's conventions say serves one front end: without it there is nothing left to do. */
static void lost(void *opaque, struct export *export)
{
	struct blkd *d = opaque;

	if (!options_conventional(&d->options) || endpoint_handed_fd(&export->spec.at) < 0)
		return;
	log_info(&d->daemon.log, "the front end has gone: ending");
	d->daemon.stop = true;
}

static int exports_start(struct blkd *d)
{
	int err;

	d->exports.loop = d->daemon.loop;
	d->exports.disks = &d->disks;
	d->exports.faults = d->daemon.faults;
	d->exports.notifier = d->daemon.notifier;
	d->exports.memory = d->daemon.memory;
	d->exports.control_log = d->daemon.control_log;
	d->exports.lost = lost;
	d->exports.lost_opaque = d;
	err = exports_init(&d->exports);
	if (err)
		log_error(&d->daemon.log, "cannot start: %s", strerror(-err));
	return err;
}

static int disks_open(struct blkd *d)
{
	int err;

	err = disks_aside_init(&d->disks, d->daemon.loop);
	for (unsigned i = 0; i < d->options.disk_count && !err && !daemon_ending(&d->daemon); i++) {
		char why[SPEC_WHY_BYTES] = "", where[SETTINGS_WHERE_BYTES];
		struct store_spec spec;
		struct store_disk *disk;

		err = store_spec_parse(d->options.disks[i], &spec, why);
		if (!err)
			err = disks_add(&d->disks, &spec, &d->daemon.log, &disk, why);
		if (err)
			log_error(&d->daemon.log, "%s%s",
				  settings_where(&d->options.run.daemon, d->options.disk_lines[i], where), why);
	}
	return err;
}

static int exports_open(struct blkd *d)
{
	int err = 0;

	for (unsigned i = 0; i < d->options.export_count && !err && !daemon_ending(&d->daemon); i++) {
		char why[SPEC_WHY_BYTES] = "", where[SETTINGS_WHERE_BYTES];
		struct export *export;

		err = exports_add(&d->exports, &d->options.exports[i], &d->daemon.log, &export, why);
		if (err)
			log_error(&d->daemon.log, "%s%s",
				  settings_where(&d->options.run.daemon, d->options.export_lines[i], where), why);
	}
	return err;
}

static int start(struct blkd *d)
{
	const struct options *options = &d->options;
	int err = daemon_open(&d->daemon, &options->run.daemon);

	if (!err)
		err = workers_start(d);
	disks_init(&d->disks, "export");
	if (!err)
		err = exports_start(d);
	/* Before disks and exports: a second daemon must not touch them. */
	if (!err && (!options_conventional(options) || options->run.daemon.control))
		err = daemon_control(&d->daemon, "blkd", blkd_commands, blkd_command_count, &d->exports);
	if (!err)
		err = disks_open(d);
	return err ? err : exports_open(d);
}

static void exports_stop(struct blkd *d)
{
	uint64_t end_ms = clock_now_ms() + SHUTDOWN_MS, now;

	lookups_end(&d->exports.lookups);
	disks_aside_end(&d->disks);
	for (struct export *e = d->exports.first; e; e = e->next) {
		end_ms = max_u64(end_ms, clock_now_ms() + e->spec.at.kind->endpoint->end_ms);
		if (!e->closing)
			exports_remove(e, NULL, NULL);
	}
	while (d->exports.first && (now = clock_now_ms()) < end_ms)
		loop_dispatch(d->daemon.loop, (int)(end_ms - now));
}

/* Everything is given back, unless a disk holds requests for too long: then the kernel does it. */
static void stop(struct blkd *d, int exit_code)
{
	daemon_stop(&d->daemon); /* nobody may add anything any more */
	if (d->exports.reaper)
		exports_stop(d);
	if (d->exports.first) {
		log_warning(&d->daemon.log, "export %s has requests that its disk does not answer: ending without them",
			    d->exports.first->spec.at.name);
		logger_end();
		_exit(exit_code);
	}
	if (d->exports.reaper)
		exports_fini(&d->exports);
	crew_free(d->exports.crew);
	disks_fini(&d->disks);
	daemon_close(&d->daemon);
	options_free(&d->options);
}

int main(int argc, char **argv)
{
	struct blkd d = {0};
	int ret = 1;

	switch (options_parse(argc, argv, stdout, stderr, &d.options)) {
	case SETTINGS_DONE:
		return 0;
	case SETTINGS_BAD:
		return 2;
	case SETTINGS_LOST:
		return 1;
	case SETTINGS_RUN:
		break;
	}
	if (!start(&d)) {
		if (!d.daemon.stop)
			log_info(&d.daemon.log, "ready: %u disks, %u exports, %u workers%s%s", d.options.disk_count,
				 d.options.export_count, d.options.run.workers,
				 *d.daemon.control_path ? ", control socket " : "", d.daemon.control_path);
		ret = daemon_run(&d.daemon);
	}
	stop(&d, ret);
	return ret;
}
