/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_SCSI_EXPORT_H
#define SCSID_SCSI_EXPORT_H

/* A SCSI host at an endpoint: a virtio device whose commands go to a bus of scsi/. Control thread. */

#include "scsi_spec.h"
#include "store/export_queue.h"
#include "store/exports.h"

struct lun;
struct managing;
struct scsi_bus;
struct vireo_scsi;

struct scsi_export {
	struct export export; /* first */
	struct vireo_scsi *scsi;
	struct scsi_bus *bus;
	struct lun *luns; /* by address: luns.h */
	unsigned lun_count;
	struct managing *managing; /* task management that has not been answered */
};

extern const struct export_kind scsi_export_kind;

static inline struct scsi_export *scsi_export_of(const struct export *export)
{
	return (struct scsi_export *)(uintptr_t)export;
}

/* ---- host_queue.c: a request queue, and the bus's that answers it ---- */

struct scsi_queue;
struct vireo_scsi_command;

struct host_queue {
	struct export_queue queue; /* first */
	struct vireo_scsi *scsi; /* while it is open */
	struct scsi_queue *bus;
};

extern const struct export_queue_ops host_queue_ops;
extern const size_t host_queue_room_bytes; /* of a command */

/* For struct vireo_scsi_ops. Worker. */
void host_queue_submit(void *export, unsigned queue, struct vireo_scsi_command *const *commands, unsigned count);

#endif
