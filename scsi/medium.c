/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * READ and WRITE, which most tasks are: straight from the task's data to the disk. And what else is one
 * request of the disk.
 */
#include "scsi/way.h"
#include <limits.h>

static inline void op_fill(struct scsi_op *op, struct scsi_task *task, uint8_t disk_op, uint8_t flags, uint64_t offset, uint64_t bytes)
{
	bool in = disk_op == DISK_READ;

	op->task = task;
	task->op = op;
	op->disk.op = disk_op;
	op->disk.flags = flags;
	op->disk.iov = in ? task->in : task->out;
	op->disk.iov_count = in ? task->in_count : task->out_count;
	op->disk.offset = offset;
	op->disk.bytes = bytes;
}

/* It gets pieces of its own, which end where the request does. False: no memory. */
static bool pieces_trim(struct scsi_op *op)
{
	const struct iovec *iov = op->disk.iov;
	uint64_t bytes = op->disk.bytes;
	uint32_t n = 0;

	for (uint64_t left = bytes; left; n++)
		left -= min_u64(left, iov[n].iov_len);
	op->trimmed = malloc(n * sizeof(*iov));
	if (!op->trimmed)
		return false;
	memcpy(op->trimmed, iov, n * sizeof(*iov));
	for (uint32_t i = 0; i < n; i++) {
		op->trimmed[i].iov_len = min_u64(op->trimmed[i].iov_len, bytes);
		bytes -= op->trimmed[i].iov_len;
	}
	op->disk.iov = op->trimmed;
	op->disk.iov_count = n;
	return true;
}

/* What speaks against it, and what is done about it; or it goes to the disk. */
static __attribute__((noinline)) void look_and_move(struct scsi_task *task, uint8_t disk_op, uint8_t flags)
{
	const uint32_t count = disk_op == DISK_READ ? task->in_count : task->out_count;
	const uint64_t room = disk_op == DISK_READ ? task->in_bytes : task->out_bytes;
	const struct scsi_extent extent = scsi_extent_of(task);
	const struct scsi_unit *unit = unit_of(task);
	uint64_t bytes = extent.count << unit->block_shift;
	struct scsi_path *path = task->path;
	struct scsi_op *op;

	if (!scsi_extent_check(task, &extent))
		return;
	if (bytes > SCSI_MOVE_BYTES_MAX) {
		scsi_end_cdb(task, scsi_length_field(task->command), -1);
		return;
	}
	if (bytes > room || count > IOV_MAX) {
		scsi_end_response(task, bytes > room ? SCSI_OVERRUN : SCSI_FAILED);
		return;
	}
	if (!bytes) {
		scsi_end(task);
		return;
	}
	op = scsi_path_open(path) ? NULL : scsi_op_new(path);
	if (!op) {
		scsi_end_status(task, SCSI_BUSY);
		return;
	}
	op_fill(op, task, disk_op, flags, extent.block << unit->block_shift, bytes);
	if (bytes != room && !pieces_trim(op)) {
		task->op = NULL;
		scsi_op_free(op);
		scsi_end_status(task, SCSI_BUSY);
		return;
	}
	scsi_path_submit(path, op);
}

/* As look_and_move() does where nothing speaks against it, and all that is needed is there. */
static inline __attribute__((always_inline)) void move(struct scsi_task *task, uint8_t disk_op, uint8_t flags, uint32_t count,
						       uint64_t room)
{
	const struct scsi_unit *unit = unit_of(task);
	struct scsi_path *path = task->path;
	struct scsi_op *op = NULL;
	struct scsi_extent extent;

	if (likely(way_extent_get(task, &extent) && extent.count << unit->block_shift == room && way_extent_fits(unit, &extent) &&
		   room - 1 < SCSI_MOVE_BYTES_MAX && count <= IOV_MAX && path->disk))
		op = way_op(path);
	if (unlikely(!op)) {
		look_and_move(task, disk_op, flags);
		return;
	}
	op_fill(op, task, disk_op, flags, extent.block << unit->block_shift, room);
	way_submit(path, op);
}

void scsi_do_read(struct scsi_task *task)
{
	move(task, DISK_READ, 0, task->in_count, task->in_bytes);
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
	move(task, DISK_WRITE, (uint8_t)scsi_write_flags(task), task->out_count, task->out_bytes);
}

void scsi_medium_failed(struct scsi_task *task, const struct disk_request *r)
{
	scsi_end_errno(task, r->result, r->op != DISK_READ, r->offset >> unit_of(task)->block_shift);
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
