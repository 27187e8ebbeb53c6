/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/store.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/endpoint.h"
#include "daemon/handover.h"
#include "daemon/upgrade.h"
#include "store/handover.h"
#include <string.h>
#include <unistd.h>

#define SHUTDOWN_MS 2000

static int workers_start(struct store *store)
{
	const struct worker_options *run = &store->options->run;
	const struct crew_config config = {
		.name = store->kind->worker,
		.workers = run->workers,
		.cpus = run->pinned ? run->cpus : NULL,
		.poll = run->poll,
		.spin_us = run->spin_us,
		.spin_percent = run->spin_percent,
	};
	int err = crew_new(&config, store->daemon.loop, &store->exports.crew);

	if (err)
		log_error(&store->daemon.log, "cannot start the workers: %s: try fewer of them", strerror(-err));
	return err;
}

/* What was started as QEMU's conventions say serves one front end: without it there is nothing left to do. */
static void lost(void *opaque, struct export *export)
{
	struct store *store = opaque;

	if (!store_options_conventional(store->options) || endpoint_handed_fd(&export->spec->at) < 0)
		return;
	log_info(&store->daemon.log, "the front end has gone: ending");
	store->daemon.stop = true;
}

static int exports_start(struct store *store)
{
	int err;

	store->exports.kind = store->kind->exports;
	store->exports.store = store;
	store->exports.loop = store->daemon.loop;
	store->exports.faults = store->daemon.faults;
	store->exports.notifier = store->daemon.notifier;
	store->exports.memory = store->daemon.memory;
	store->exports.control_log = store->daemon.control_log;
	store->exports.lost = lost;
	store->exports.lost_opaque = store;
	err = exports_init(&store->exports);
	if (err)
		log_error(&store->daemon.log, "cannot start: %s", strerror(-err));
	return err;
}

static void disk_resized(void *opaque, struct store_disk *disk)
{
	struct store *store = opaque;

	store->kind->disk_resized(store, disk);
}

static int disks_start(struct store *store)
{
	int err = disks_init(&store->disks, store->kind->disk_user);

	store->disks.resized = disk_resized;
	store->disks.resized_opaque = store;
	return err ? err : disks_aside_init(&store->disks, store->daemon.loop);
}

static int disks_open(struct store *store)
{
	int err = 0;

	for (unsigned i = 0; i < store->options->disk_count && !err && !daemon_ending(&store->daemon); i++) {
		char why[SPEC_WHY_BYTES] = "", where[SETTINGS_WHERE_BYTES];
		struct store_spec spec;
		struct store_disk *disk;

		err = store_spec_parse(store->options->disks[i], &spec, why);
		if (!err)
			err = disks_add(&store->disks, &spec, NULL, &store->daemon.log, &disk, why);
		if (err)
			log_error(&store->daemon.log, "%s%s",
				  settings_where(&store->options->run.daemon, store->options->disk_lines[i], where), why);
	}
	return err;
}

static int exports_open(struct store *store)
{
	int err = 0;

	for (unsigned i = 0; i < store->options->export_count && !err && !daemon_ending(&store->daemon); i++) {
		char why[SPEC_WHY_BYTES] = "", where[SETTINGS_WHERE_BYTES];
		struct export *export;

		err = exports_add(&store->exports, store->options->exports[i], &store->daemon.log, &export, why);
		if (err)
			log_error(&store->daemon.log, "%s%s",
				  settings_where(&store->options->run.daemon, store->options->export_lines[i], where), why);
		else
			export_text_set(export, store->options->export_texts[i]);
	}
	return err;
}

static int control_open(struct store *store)
{
	const struct store_kind *kind = store->kind;

	return daemon_control(&store->daemon, kind->name, kind->commands, kind->command_count, store);
}

/* The disks and exports of the settings are not looked at: those that there are count. */
static int take_over(struct store *store)
{
	int err = store_take_over(store);

	if (!err && control_open(store)) /* nobody else has them any more */
		log_error(&store->daemon.log, "disks are served on, without a control socket");
	return err;
}

static int make_all(struct store *store)
{
	const struct store_options *options = store->options;
	int err = 0;

	if (options->run.daemon.takeover)
		return take_over(store);
	/* Before disks and exports: a second daemon must not touch them. */
	if (!store_options_conventional(options) || options->run.daemon.control)
		err = control_open(store);
	if (!err)
		err = disks_open(store);
	return err ? err : exports_open(store);
}

static int start(struct store *store)
{
	const struct store_kind *kind = store->kind;
	int err = daemon_open(&store->daemon, &store->options->run.daemon);

	if (!err)
		err = disks_start(store);
	if (!err)
		err = workers_start(store);
	if (!err)
		err = exports_start(store);
	if (!err)
		err = store_handover_open(store);
	if (!err)
		err = make_all(store);
	return !err && kind->open ? kind->open(store) : err;
}

static void exports_stop(struct store *store)
{
	uint64_t end_ms = clock_now_ms() + SHUTDOWN_MS, now;

	lookups_end(&store->exports.lookups);
	disks_aside_end(&store->disks);
	for (struct export *e = store->exports.first; e; e = e->next) {
		end_ms = max_u64(end_ms, clock_now_ms() + e->spec->at.kind->endpoint->end_ms);
		if (!e->closing)
			exports_remove(e, NULL, NULL);
	}
	while (store->exports.first && (now = clock_now_ms()) < end_ms)
		loop_dispatch(store->daemon.loop, (int)(end_ms - now));
}

/* Everything is given back, unless a disk holds requests for too long, or is not closed in time: then the kernel does it. */
static void stop(struct store *store, int exit_code)
{
	bool closed;

	handover_close(store->handover);
	store->handover = NULL;
	daemon_stop(&store->daemon); /* nobody may add anything any more */
	if (store->exports.reaper)
		exports_stop(store);
	if (store->exports.first) {
		log_warning(&store->daemon.log, "export %s has requests that its disk does not answer: ending without them",
			    store->exports.first->spec->at.name);
		logger_end();
		_exit(exit_code);
	}
	if (store->exports.reaper)
		exports_fini(&store->exports);
	crew_free(store->exports.crew);
	closed = disks_fini(&store->disks, SHUTDOWN_MS);
	if (!closed)
		log_warning(&store->daemon.log, "a disk is not closed, for its file system or server does not answer: ending without that");
	daemon_close(&store->daemon);
	store_options_free(store->options);
	if (!closed) {
		logger_end();
		_exit(exit_code);
	}
}

static unsigned disks_count(const struct disks *disks)
{
	unsigned count = 0;

	for (const struct store_disk *d = disks->first; d; d = d->next)
		count++;
	return count;
}

static unsigned exports_count(const struct exports *exports)
{
	unsigned count = 0;

	for (const struct export *e = exports->first; e; e = e->next)
		count++;
	return count;
}

int store_run(struct store *store, const struct store_kind *kind, struct store_options *options)
{
	int ret = 1;

	store->kind = kind;
	store->options = options;
	if (upgrade_aside(&options->run.daemon, kind->program, kind->name, &ret)) {
		store_options_free(options);
		return ret;
	}
	if (!start(store)) {
		if (!store->daemon.stop)
			log_info(&store->daemon.log, "ready: %u disks, %u exports, %u workers%s%s", disks_count(&store->disks),
				 exports_count(&store->exports), options->run.workers,
				 *store->daemon.control_path ? ", control socket " : "", store->daemon.control_path);
		ret = daemon_run(&store->daemon);
	}
	stop(store, ret);
	return ret;
}
