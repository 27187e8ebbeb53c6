/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_STORE_H
#define STORE_STORE_H

/*
 * A daemon that serves disks: one control thread that dispatches a loop, and a crew of workers that serve the queues of its exports. What it
 * has beside disks, exports and their commands is its kind's. Control thread.
 */

#include "ctl/command.h"
#include "daemon/daemon.h"
#include "daemon/handover.h"
#include "store/disks.h"
#include "store/exports.h"
#include "store/options.h"

struct store_more;

struct store_kind {
	const char *name;      /* of its control socket: "blkd" */
	const char *program;   /* "vireo-blkd" */
	const char *worker;    /* its threads: "blk-worker" */
	const char *disk_user; /* what uses its disks: "export" */
	const struct export_kind *exports;
	const struct ctl_command *commands; /* each is served with the struct store */
	size_t command_count;
	void (*disk_resized)(struct store *store, const struct store_disk *disk); /* its size is another one */
	void (*disk_layered)(struct store *store, const struct store_disk *disk); /* it has limits, and had none when its queues were opened */
	/*
	 * For who asks by disk_hold_ask() before it opens queues of a disk (store/holding.h): the disk is ours by now, or is not (-errno; -EBUSY: another
	 * process has it). And: is there a queue of it that is open, or is to be?
	 */
	void (*disk_held)(struct store *store, const struct store_disk *disk, int err);
	bool (*disk_wanted)(const struct store *store, const struct store_disk *disk);
	int (*open)(struct store *store); /* NULL: nothing; what else it has. Disks and exports are open; 0, or -errno and it has logged why */
	const struct store_more *more; /* NULL: nothing; how that is handed over, which open() does not make anew then */
};

/* What a daemon knows of itself begins with this. */
struct store {
	const struct store_kind *kind;
	struct store_options *options;
	struct daemon daemon;
	struct disks disks;
	struct exports exports;
	struct handover_ops handover_ops;
	struct handover *handover; /* NULL: it cannot be handed over, or is ending */
};

/*
 * From the options to the end; returns the exit code: 0 ended by a signal, 1 the environment failed. The rest of *store is zero. It may end the
 * process itself: a disk that does not answer is not waited for.
 */
int store_run(struct store *store, const struct store_kind *kind, struct store_options *options);

#endif
