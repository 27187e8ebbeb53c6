/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * READ and WRITE, which most tasks are: straight from the task's data to the disk. And what else is one
 * request of the disk.
 */
#include "scsi/internal.h"
#include <limits.h>

/* Its pieces, or a copy that ends where the request does. NULL: no memory. */
static const struct iovec *pieces_fit(struct scsi_op *op, const struct iovec *iov, uint32_t *count, uint64_t bytes)
{
	uint32_t n = 0;

	for (uint64_t left = bytes; left; n++)
		left -= min_u64(left, iov[n].iov_len);
	op->trimmed = malloc(n * sizeof(*iov));
	if (!op->trimmed)
		return NULL;
	memcpy(op->trimmed, iov, n * sizeof(*iov));
	for (uint32_t i = 0; i < n; i++) {
		op->trimmed[i].iov_len = min_u64(op->trimmed[i].iov_len, bytes);
		bytes -= op->trimmed[i].iov_len;
	}
	*count = n;
	return op->trimmed;
}

static inline void move(struct scsi_task *task, uint8_t disk_op, uint8_t flags, const struct iovec *iov, uint32_t count, uint64_t room)
{
	struct scsi_extent extent = scsi_extent_of(task);
	struct scsi_path *path = task->path;
	const struct scsi_unit *unit = unit_of(task);
	uint64_t bytes = extent.count << unit->block_shift;
	struct scsi_op *op;

	if (unlikely(!scsi_extent_check(task, &extent)))
		return;
	if (unlikely(bytes > SCSI_MOVE_BYTES_MAX)) {
		scsi_end_cdb(task, scsi_length_field(task->command), -1);
		return;
	}
	if (unlikely(bytes > room || count > IOV_MAX)) {
		scsi_end_response(task, bytes > room ? SCSI_OVERRUN : SCSI_FAILED);
		return;
	}
	if (unlikely(!bytes)) {
		scsi_end(task);
		return;
	}
	op = unlikely(!path->disk && scsi_path_open(path)) ? NULL : scsi_op_new(path);
	if (op && unlikely(bytes != room))
		iov = pieces_fit(op, iov, &count, bytes);
	if (unlikely(!op || !iov)) {
		if (op)
			scsi_op_free(op);
		scsi_end_status(task, SCSI_BUSY);
		return;
	}
	op->task = task;
	task->op = op;
	op->disk.op = disk_op;
	op->disk.flags = flags;
	op->disk.iov = iov;
	op->disk.iov_count = count;
	op->disk.offset = extent.block << unit->block_shift;
	op->disk.bytes = bytes;
	scsi_path_submit(path, op);
}

void scsi_do_read(struct scsi_task *task)
{
	move(task, DISK_READ, 0, task->in, task->in_count, task->in_bytes);
}

#define FUA 0x08u

static inline bool asks_fua(const struct scsi_task *task)
{
	const struct scsi_command *command = task->command;

	return command->cdb_bytes > 6 && task->cdb[command->cdb_bytes == 32 ? 10 : 1] & FUA;
}

unsigned scsi_write_flags(const struct scsi_task *task)
{
	unsigned flags = __atomic_load_n(&unit_of(task)->write_flags, __ATOMIC_RELAXED);

	return unlikely(asks_fua(task)) ? flags | DISK_FUA : flags;
}

void scsi_do_write(struct scsi_task *task)
{
	move(task, DISK_WRITE, (uint8_t)scsi_write_flags(task), task->out, task->out_count, task->out_bytes);
}

void scsi_medium_done(struct scsi_task *task, const struct disk_request *r)
{
	if (unlikely(r->result)) {
		scsi_end_errno(task, r->result, r->op != DISK_READ, r->offset >> unit_of(task)->block_shift);
		return;
	}
	task->moved = r->op <= DISK_WRITE ? r->bytes : 0;
	scsi_end(task);
}

/* ---- without data ---- */

static void ask_flush(struct scsi_task *task)
{
	struct scsi_path *path = task->path;
	struct scsi_op *op = scsi_path_open(path) ? NULL : scsi_op_new(path);

	if (!op) {
		scsi_end_status(task, SCSI_BUSY);
		return;
	}
	op->task = task;
	task->op = op;
	op->disk = (struct disk_request){.op = DISK_FLUSH};
	scsi_path_submit(path, op);
}

/* With IMMED it may be answered before; it is not: who asks for it loses nothing. */
void scsi_do_synchronize(struct scsi_task *task)
{
	struct scsi_extent extent = scsi_extent_of(task);

	if (scsi_extent_check(task, &extent))
		ask_flush(task);
}

/* GOOD says that not all of it is in the cache (CONDITION MET would), which is so. */
void scsi_do_prefetch(struct scsi_task *task)
{
	struct scsi_extent extent = scsi_extent_of(task);

	if (scsi_extent_check(task, &extent))
		scsi_end(task);
}

void scsi_do_test_unit_ready(struct scsi_task *task)
{
	scsi_end(task);
}

/* Of media that cannot be removed. */
void scsi_do_removal(struct scsi_task *task)
{
	scsi_end(task);
}

#define START	   0x01u
#define LOAD_EJECT 0x02u
#define NO_FLUSH   0x04u

/* A disk that is stopped has its cache flushed first (SBC-3, 5.25). */
void scsi_do_start_stop(struct scsi_task *task)
{
	struct scsi_unit *unit = unit_of(task);
	unsigned byte = task->cdb[4];

	if (byte >> 4) { /* power conditions: none but active */
		if (byte >> 4 == 1)
			scsi_end(task);
		else
			scsi_end_cdb(task, 4, 7);
		return;
	}
	if (task->cdb[3]) {
		scsi_end_cdb(task, 3, 3);
		return;
	}
	if (byte & LOAD_EJECT) {
		scsi_end_cdb(task, 4, 1);
		return;
	}
	__atomic_store_n(&unit->stopped, !(byte & START), __ATOMIC_RELAXED);
	if (byte & (START | NO_FLUSH))
		scsi_end(task);
	else
		ask_flush(task);
}
