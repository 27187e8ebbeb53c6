/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_EXPORTS_H
#define BLKD_EXPORTS_H

/*
 * Exports: a disk, seen by whoever is at an endpoint. Control thread, but for what exports_queue.c says of workers.
 *
 * Life: exports_add() -> ... -> exports_remove() -> the endpoint closes -> its queues leave the crew -> freed.
 */

#include "daemon/logger.h"
#include "daemon/lookup.h"
#include "daemon/retry.h"
#include "export_spec.h"
#include "store/disks.h"
#include "vireo/mailbox.h"
#include "work/crew.h"
#include <stdbool.h>
#include <sys/types.h>

struct export;
struct loop;
struct loop_timer;
struct loop_watch;
struct vireo_blk;
struct vireo_endpoint;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_memory_use;
struct vireo_notifier;

struct exports {
	struct crew *crew;
	struct loop *loop;
	struct disks *disks;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	struct vireo_memory *memory;
	struct vireo_log control_log; /* what clients of the control socket can have said again and again */
	struct lookups lookups;
	struct vireo_mailbox *drained; /* queues that have nothing in flight any more */
	struct loop_watch *drained_watch;
	struct loop_timer *reaper;
	struct export *first; /* in order of their making, those that are being removed included */
	void (*lost)(void *opaque, struct export *export); /* an endpoint has failed for good; may be NULL */
	void *lost_opaque;
};

struct export {
	struct export *next;
	struct exports *exports;
	struct export_spec spec;
	struct store_disk *disk;
	struct logger logger, peer_logger;
	struct rate log_rate;
	struct vireo_log log; /* what is said about the export once */
	struct vireo_blk *blk;
	struct vireo_endpoint *endpoint;
	struct loop_watch *watch;
	struct loop_timer *patience; /* with a disk that does not answer, while queues come to an end */
	struct retry retry; /* of queues that no worker could take */
	unsigned queue_count;
	struct export_queue *queues;
	bool added, closing, lost, dead;
	void (*removed)(void *opaque);
	void *removed_opaque;
};

int exports_init(struct exports *exports); /* crew, loop, disks and what follows are set; the disks tell the exports when others resize them */
void exports_fini(struct exports *exports); /* none is left */

/* 0, or a negative errno and why, a line for the user; -EEXIST: the name is taken. `log` is told of the export. */
int exports_add(struct exports *exports, const struct export_spec *spec, const struct vireo_log *log,
		struct export **ret_export, char why[SPEC_WHY_BYTES]);
/* `removed` (may be NULL) is called from the loop, when the export and its address are free again. */
void exports_remove(struct export *export, void (*removed)(void *opaque), void *opaque);
/* Not one that is being removed. */
struct export *exports_find(const struct exports *exports, const char *name);
/* Disk news: all its exports tell their drivers. */
void exports_disk_resized(struct exports *exports, const struct store_disk *disk);
/* The disk has limits, and had none when its queues were opened: they are opened anew. */
void exports_disk_layered(struct exports *exports, const struct store_disk *disk);

const char *export_state(const struct export *export);
pid_t export_peer(const struct export *export); /* 0: not known */

#endif
