/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERIFY and WRITE AND VERIFY, which compare what lies on the disk with the task's data, a step after the
 * other; COMPARE AND WRITE and ORWRITE, which look at what is there, and write, with the unit's claim in
 * between. The data is copied before it is looked at: whoever has given it may change it meanwhile.
 */
#include "scsi/internal.h"

/* A job's flags. */
#define WRITES	 1u /* first */
#define COMPARES 2u
#define SINGLE	 4u /* with one block, again and again */

/* Its states. */
enum { NEXT, WRITTEN, READ };

/* Half of the memory of a step: what is there, and what is to be there. */
#define STEP_BYTES (SCSI_STEP_BYTES / 2)

/* ---- what all of them have ---- */

/* False: the task has ended. */
static bool extent_take(struct scsi_task *task, uint64_t out_bytes, const struct scsi_extent *extent)
{
	const struct scsi_unit *unit = unit_of(task);
	uint64_t bytes = extent->count << unit->block_shift;

	if (!scsi_extent_check(task, extent))
		return false;
	if (bytes > SCSI_MOVE_BYTES_MAX) {
		scsi_end_cdb(task, scsi_length_field(task->command), -1);
		return false;
	}
	if (out_bytes > task->out_bytes) {
		scsi_end_response(task, SCSI_OVERRUN);
		return false;
	}
	if (!bytes)
		scsi_end(task);
	return bytes;
}

/* False: the job has ended, as its task has. */
static bool step_goes_on(struct scsi_job *job, int result, bool wrote)
{
	struct scsi_task *task = job->task;

	if (task && !result)
		return true;
	if (task)
		scsi_end_errno(task, result, wrote, (job->offset + job->done) >> unit_of(task)->block_shift);
	scsi_job_end(job);
	return false;
}

static void job_done(struct scsi_job *job)
{
	scsi_end(job->task);
	scsi_job_end(job);
}

static struct scsi_job *job_new(struct scsi_task *task, size_t buffer_bytes, void (*step)(struct scsi_job *job, int result),
				const struct scsi_extent *extent)
{
	const struct scsi_unit *unit = unit_of(task);
	struct scsi_job *job = scsi_job_new(task, buffer_bytes, step);

	if (job) {
		job->offset = extent->block << unit->block_shift;
		job->bytes = extent->count << unit->block_shift;
	}
	return job;
}

/* ---- VERIFY, WRITE AND VERIFY ---- */

static uint64_t step_bytes(const struct scsi_job *job)
{
	return min_u64(STEP_BYTES, job->bytes - job->done);
}

/* -1: they are the same; else the first byte that is not. */
static int64_t difference(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	size_t at = 0;

	if (!memcmp(a, b, bytes))
		return -1;
	while (a[at] == b[at])
		at++;
	return (int64_t)at;
}

static int64_t step_difference(const struct scsi_job *job, uint64_t bytes)
{
	uint64_t block = scsi_unit_block_bytes(job->path->lun->unit), each = job->flags & SINGLE ? block : bytes;

	for (uint64_t at = 0; at < bytes; at += each) {
		int64_t differs = difference(job->buffer + at, job->buffer + STEP_BYTES, each);

		if (differs >= 0)
			return job->flags & SINGLE ? differs : (int64_t)(job->done + at) + differs;
	}
	return -1;
}

static void verify_step_begin(struct scsi_job *job)
{
	uint64_t bytes = step_bytes(job);

	if (job->flags & SINGLE)
		scsi_data_out(job->task, 0, job->buffer + STEP_BYTES, scsi_unit_block_bytes(job->path->lun->unit));
	else if (job->flags)
		scsi_data_out(job->task, job->done, job->buffer + STEP_BYTES, bytes);
	if (!(job->flags & WRITES)) {
		job->state = READ;
		scsi_job_move(job, job->path, DISK_READ, 0, job->offset + job->done, bytes);
		return;
	}
	memcpy(job->buffer, job->buffer + STEP_BYTES, bytes);
	job->state = WRITTEN;
	scsi_job_move(job, job->path, DISK_WRITE, DISK_FUA, job->offset + job->done, bytes);
}

static void verify_step(struct scsi_job *job, int result)
{
	uint64_t bytes = step_bytes(job);
	int64_t differs = -1;

	if (!step_goes_on(job, result, job->state == WRITTEN))
		return;
	if (job->state == WRITTEN) {
		job->state = READ;
		scsi_job_move(job, job->path, DISK_READ, 0, job->offset + job->done, bytes);
		return;
	}
	if (job->state == READ) {
		if (job->flags & COMPARES)
			differs = step_difference(job, bytes);
		if (differs >= 0) {
			scsi_end_check_at(job->task, KEY_MISCOMPARE, ASC_MISCOMPARE, (uint64_t)differs);
			scsi_job_end(job);
			return;
		}
		job->done += bytes;
	}
	if (job->done == job->bytes)
		job_done(job);
	else
		verify_step_begin(job);
}

static void verify_begin(struct scsi_task *task, uint32_t flags)
{
	struct scsi_extent extent = scsi_extent_of(task);
	uint64_t block = scsi_unit_block_bytes(unit_of(task)), out = 0;
	struct scsi_job *job;

	if (flags & SINGLE)
		out = extent.count ? block : 0;
	else if (flags)
		out = extent.count * block;
	if (!extent_take(task, out, &extent))
		return;
	job = job_new(task, SCSI_STEP_BYTES, verify_step, &extent);
	if (!job)
		return;
	job->flags = flags;
	task->moved = out;
	scsi_job_start(job);
}

static unsigned byte_check(const struct scsi_task *task)
{
	return task->cdb[task->command->cdb_bytes == 32 ? 10 : 1] >> 1 & 3u;
}

static void byte_check_refuse(struct scsi_task *task)
{
	scsi_end_cdb(task, task->command->cdb_bytes == 32 ? 10 : 1, 2);
}

void scsi_do_verify(struct scsi_task *task)
{
	static const uint32_t flags[] = {0, COMPARES, 0, COMPARES | SINGLE};
	unsigned check = byte_check(task);

	if (check == 2)
		byte_check_refuse(task);
	else
		verify_begin(task, flags[check]);
}

void scsi_do_write_verify(struct scsi_task *task)
{
	unsigned check = byte_check(task);

	if (check > 1)
		byte_check_refuse(task);
	else
		verify_begin(task, check ? WRITES | COMPARES : WRITES);
}

/* ---- COMPARE AND WRITE ---- */

/* The memory: what is there, what should be, what is to be. */
static void compare_write_step(struct scsi_job *job, int result)
{
	uint64_t bytes = job->bytes;
	int64_t differs;

	if (!step_goes_on(job, result, job->state == 3))
		return;
	switch (job->state++) {
	case 0:
		scsi_data_out(job->task, 0, job->buffer + bytes, 2 * bytes);
		scsi_job_claim(job);
		break;
	case 1:
		scsi_job_move(job, job->path, DISK_READ, 0, job->offset, bytes);
		break;
	case 2:
		differs = difference(job->buffer, job->buffer + bytes, bytes);
		if (differs >= 0) {
			scsi_end_check_at(job->task, KEY_MISCOMPARE, ASC_MISCOMPARE, (uint64_t)differs);
			scsi_job_end(job);
			break;
		}
		memcpy(job->buffer, job->buffer + 2 * bytes, bytes);
		scsi_job_move(job, job->path, DISK_WRITE, (uint8_t)scsi_write_flags(job->task), job->offset, bytes);
		break;
	default:
		job_done(job);
	}
}

void scsi_do_compare_write(struct scsi_task *task)
{
	struct scsi_extent extent = scsi_extent_of(task);
	uint64_t bytes = extent.count << unit_of(task)->block_shift;
	struct scsi_job *job;

	if (extent.count > scsi_compare_blocks_max(unit_of(task))) {
		scsi_end_cdb(task, 13, -1);
		return;
	}
	if (!extent_take(task, 2 * bytes, &extent))
		return;
	job = job_new(task, 3 * bytes, compare_write_step, &extent);
	if (!job)
		return;
	task->moved = 2 * bytes;
	scsi_job_start(job);
}

unsigned scsi_compare_blocks_max(const struct scsi_unit *unit)
{
	return (unsigned)min_u64(SCSI_COMPARE_BLOCKS_MAX, STEP_BYTES >> unit->block_shift);
}

/* ---- ORWRITE ---- */

enum { OR_BEGIN, OR_CLAIMED, OR_READ, OR_WRITTEN };

static void orwrite_read(struct scsi_job *job)
{
	uint64_t bytes = step_bytes(job);

	scsi_data_out(job->task, job->done, job->buffer + STEP_BYTES, bytes);
	job->state = OR_READ;
	scsi_job_move(job, job->path, DISK_READ, 0, job->offset + job->done, bytes);
}

static void orwrite_write(struct scsi_job *job)
{
	uint64_t bytes = step_bytes(job);

	for (uint64_t i = 0; i < bytes; i++)
		job->buffer[i] |= job->buffer[STEP_BYTES + i];
	job->state = OR_WRITTEN;
	scsi_job_move(job, job->path, DISK_WRITE, (uint8_t)scsi_write_flags(job->task), job->offset + job->done, bytes);
}

static void orwrite_step(struct scsi_job *job, int result)
{
	if (!step_goes_on(job, result, job->state == OR_WRITTEN))
		return;
	switch (job->state) {
	case OR_BEGIN:
		job->state = OR_CLAIMED;
		scsi_job_claim(job);
		return;
	case OR_READ:
		orwrite_write(job);
		return;
	case OR_WRITTEN:
		job->done += step_bytes(job);
		break;
	default:
		break;
	}
	if (job->done == job->bytes)
		job_done(job);
	else
		orwrite_read(job);
}

void scsi_do_orwrite(struct scsi_task *task)
{
	struct scsi_extent extent = scsi_extent_of(task);
	struct scsi_job *job;

	if (!extent_take(task, extent.count << unit_of(task)->block_shift, &extent))
		return;
	job = job_new(task, SCSI_STEP_BYTES, orwrite_step, &extent);
	if (!job)
		return;
	task->moved = extent.count << unit_of(task)->block_shift;
	scsi_job_start(job);
}
