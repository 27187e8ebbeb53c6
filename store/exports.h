/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_EXPORTS_H
#define STORE_EXPORTS_H

/*
 * Exports: a device for disks, seen by whoever is at an endpoint. What sort of device that is, and what answers its queues, the daemon says
 * in a table (struct export_kind). Control thread, but for what export_queue.h says of workers.
 *
 * Life: exports_add() -> ... -> exports_remove() -> the endpoint closes -> its queues leave the crew -> freed.
 */

#include "daemon/logger.h"
#include "daemon/lookup.h"
#include "daemon/retry.h"
#include "store/export_spec.h"
#include "vireo/mailbox.h"
#include "work/crew.h"
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct export;
struct export_queue_ops;
struct exports;
struct loop;
struct loop_timer;
struct loop_watch;
struct store;
struct vireo_device;
struct vireo_endpoint;
struct vireo_endpoint_config;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_memory_use;
struct vireo_notifier;

/* What a daemon says of its exports. */
struct export_kind {
	const struct spec_kinds *specs; /* which begin with struct export_spec */
	size_t export_bytes;	/* of what begins with struct export, ... */
	size_t queue_bytes;	/* ... and with struct export_queue */
	unsigned first_queue;	/* of the device, that is the export's: those before it are the device's own */
	unsigned (*queues)(const struct export_spec *spec); /* so many from there on */
	/* Which of them this is; its own part of the queue, which is zero, is set up in here. */
	const struct export_queue_ops *(*queue_ops)(const struct export *export, unsigned queue);
	/*
	 * Makes its device, and sets export->device. Its name and address are free. 0, or -errno; why is empty, and may stay so where the errno is
	 * one of vireo_endpoint_open()'s.
	 */
	int (*open)(struct export *export, char why[SPEC_WHY_BYTES]);
	/* What its endpoint is to know beyond what the SPEC says of all endpoints; may be NULL. It borrows from the export's spec. */
	void (*config)(const struct export *export, struct vireo_endpoint_config *config);
	void (*close)(struct export *export); /* undoes what open() has done, perhaps half; its queues have left */
	json_t *(*brief)(const struct export *export); /* what is told of it; report_export() has what is told of all */
	json_t *(*full)(const struct export *export);
	const char *(*subject)(const struct export *export, char text[SPEC_WHY_BYTES]); /* what it shows, for the log: ", disk a" */
};

struct exports {
	const struct export_kind *kind;
	struct crew *crew;
	struct loop *loop;
	struct store *store; /* whose they are */
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
	const struct vireo_endpoint_state *state; /* what the export that is being added was in another process; or NULL */
};

struct export {
	struct export *next;
	struct exports *exports;
	struct export_spec *spec; /* its own; spec_bytes of the kind */
	char *text; /* as it was given; NULL: nobody has said, or there was no memory for it */
	struct logger logger, peer_logger;
	struct rate log_rate;
	struct vireo_log log; /* what is said about the export once */
	struct vireo_device *device;
	struct vireo_endpoint *endpoint;
	struct loop_watch *watch;
	struct loop_timer *patience; /* with a disk that does not answer, while queues come to an end */
	struct retry retry; /* of queues that no worker could take */
	unsigned queue_count;
	struct export_queue *queues; /* see export_queue() */
	bool added, closing, lost, dead;
	bool held; /* it is, or comes to rest for that: nobody gives up what its disk is asked for */
	void (*removed)(void *opaque);
	void *removed_opaque;
};

int exports_init(struct exports *exports); /* kind, crew, loop and what follows are set */
void exports_fini(struct exports *exports); /* none is left */

/* 0, or a negative errno and why, a line for the user; -EEXIST: the name is taken. `log` is told of the export. */
int exports_add(struct exports *exports, const struct export_spec *spec, const struct vireo_log *log,
		struct export **ret_export, char why[SPEC_WHY_BYTES]);
void export_text_set(struct export *export, const char *text);
/* `removed` (may be NULL) is called from the loop, when the export and its address are free again. */
void exports_remove(struct export *export, void (*removed)(void *opaque), void *opaque);
/* Not one that is being removed. */
struct export *exports_find(const struct exports *exports, const char *name);

const char *export_state(const struct export *export);
pid_t export_peer(const struct export *export); /* 0: not known */

#endif
