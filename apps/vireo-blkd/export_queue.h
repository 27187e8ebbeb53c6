/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_EXPORT_QUEUE_H
#define BLKD_EXPORT_QUEUE_H

/* The queues of an export: the device's queue, the disk's queue behind it, and the worker that serves both. See export_queue.c. */

#include "exports.h"

/* Control thread. */
int export_queues_new(struct export *export);
void export_queues_free(struct export *export); /* all have left */
void export_queues_settle(struct export *export);
void export_queues_reopen(struct export *export); /* those that run get new queues of the disk, once what is in flight is done */

/* The device whose queues they are. */
int export_blk_new(struct export *export);

int export_queue_worker(const struct export *export, unsigned queue); /* its index; -1: it does not run */
bool export_read_only(const struct export *export);

#endif
