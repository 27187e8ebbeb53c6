/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_WAY_H
#define SCSI_WAY_H

/*
 * What each READ and WRITE passes on its way, to be had without calls: the list of a path's tasks, the extent of a command, requests of the
 * disk, the end of a task. Of what is rare each has its other way in the file named there.
 */

#include "scsi/internal.h"

/* ---- the tasks of a path that have begun ---- */

static inline void way_link_in(struct scsi_path *path, struct scsi_task *task)
{
	struct scsi_task *first = path->tasks;

	task->next = first;
	task->at = &path->tasks;
	if (likely(first != NULL))
		first->at = &task->next;
	path->tasks = task;
	path->active++;
}

static inline void way_link_out(struct scsi_path *path, struct scsi_task *task)
{
	struct scsi_task *next = task->next;

	*task->at = next;
	if (likely(next != NULL))
		next->at = task->at;
	path->active--;
}

/* ---- extents: table.c ---- */

/* Of READ and WRITE (10) and (16). False: it is another one. */
static inline bool way_extent_get(const struct scsi_task *task, struct scsi_extent *ret_extent)
{
	unsigned bytes = task->command->cdb_bytes;
	const uint8_t *cdb = task->cdb;

	if (likely(bytes == 10))
		*ret_extent = (struct scsi_extent){get_be32(cdb + 2), get_be16(cdb + 7)};
	else if (bytes == 16)
		*ret_extent = (struct scsi_extent){get_be64(cdb + 2), get_be32(cdb + 10)};
	else
		return false;
	return true;
}

static inline bool way_extent_fits(const struct scsi_unit *unit, const struct scsi_extent *extent)
{
	uint64_t blocks = __atomic_load_n(&unit->blocks, __ATOMIC_RELAXED);

	return extent->block <= blocks && extent->count <= blocks - extent->block;
}

/* ---- requests of the disk: path.c ---- */

/* An unused one has neither a job nor memory of its own. NULL: there are none, and scsi_op_new() makes one. */
static inline struct scsi_op *way_op(struct scsi_path *path)
{
	struct scsi_op *op = path->queue->ops;

	if (unlikely(!op))
		return NULL;
	path->queue->ops = op->next;
	op->path = path;
	return op;
}

static inline void way_op_free(struct scsi_queue *queue, struct scsi_op *op)
{
	if (unlikely(op->trimmed != NULL)) {
		free(op->trimmed);
		op->trimmed = NULL;
	}
	op->next = queue->ops;
	queue->ops = op;
}

static inline void way_submit(struct scsi_path *path, struct scsi_op *op)
{
	path->burst[path->burst_count++] = &op->disk;
	if (unlikely(path->burst_count == SCSI_PATH_BURST))
		scsi_path_go(path);
}

/* ---- the end: task.c ---- */

/* It has begun. */
static inline void way_out(struct scsi_path *path, struct scsi_task *task)
{
	way_link_out(path, task);
	if (unlikely(task->attribute == SCSI_ORDERED))
		path->ordered = false;
	if (unlikely(path->held != NULL))
		scsi_path_begin_held(path);
}

static inline void way_done(struct scsi_queue *queue, struct scsi_task *task)
{
	task->next = NULL;
	*queue->done_end = task;
	queue->done_end = &task->next;
}

#endif
