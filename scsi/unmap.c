/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UNMAP and WRITE SAME. Where the disk's zeroes can give blocks back an UNMAP is one of those, and what has
 * been unmapped reads as zeroes (LBPRZ); elsewhere it is a discard, and may read as anything.
 */
#include "scsi/internal.h"

#define HEADER_BYTES 8u
#define RANGE_BYTES  16u

/* A piece that the disk takes in one request. */
static uint64_t piece_bytes(const struct scsi_unit *unit, uint8_t op, uint64_t bytes)
{
	uint64_t limit = op == DISK_DISCARD ? unit->info.discard_max_bytes : unit->info.zero_max_bytes;

	limit &= ~(uint64_t)(unit->info.logical_block_bytes - 1);
	return limit ? min_u64(bytes, limit) : bytes;
}

/* False: the job has ended, as its task has. */
static bool goes_on(struct scsi_job *job, int result)
{
	struct scsi_task *task = job->task;

	if (task && !result)
		return true;
	if (task)
		scsi_end_errno(task, result, true, (job->offset + job->done) >> unit_of(task)->block_shift);
	scsi_job_end(job);
	return false;
}

static void done(struct scsi_job *job)
{
	scsi_end(job->task);
	scsi_job_end(job);
}

/* ---- UNMAP ---- */

static struct scsi_extent range_at(const uint8_t *list, unsigned i)
{
	const uint8_t *at = list + HEADER_BYTES + i * (size_t)RANGE_BYTES;

	return (struct scsi_extent){get_be64(at), get_be32(at + 8)};
}

/* Takes up the next range that is not empty: false if there is none. */
static bool range_next(struct scsi_job *job)
{
	unsigned shift = job->path->lun->unit->block_shift;

	while (job->done == job->bytes) {
		struct scsi_extent range;

		if (job->state == job->flags)
			return false;
		range = range_at(job->buffer, job->state++);
		job->offset = range.block << shift;
		job->bytes = range.count << shift;
		job->done = 0;
	}
	return true;
}

static void unmap_step(struct scsi_job *job, int result)
{
	const struct scsi_unit *unit = job->path->lun->unit;
	uint8_t op = unit->info.zero_unmaps ? DISK_ZERO : DISK_DISCARD;
	uint64_t bytes;

	if (!goes_on(job, result))
		return;
	if (!range_next(job)) {
		done(job);
		return;
	}
	bytes = piece_bytes(unit, op, job->bytes - job->done);
	job->done += bytes;
	scsi_job_move(job, job->path, op, op == DISK_ZERO ? DISK_UNMAP : 0, job->offset + job->done - bytes, bytes);
}

/* All of them are looked at before the first is carried out. False: the task has ended. */
static bool ranges_check(struct scsi_task *task, const uint8_t *list, unsigned count)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		struct scsi_extent range = range_at(list, i);

		if (!scsi_extent_check(task, &range))
			return false;
		sum += range.count;
	}
	if (sum <= UINT32_MAX)
		return true;
	scsi_end_list(task, HEADER_BYTES + 8, -1);
	return false;
}

static void unmap_begin(struct scsi_task *task, const uint8_t *list, unsigned count)
{
	struct scsi_job *job = scsi_job_new(task, 0, unmap_step);
	size_t bytes = HEADER_BYTES + count * (size_t)RANGE_BYTES;

	if (!job)
		return;
	job->buffer = malloc(bytes);
	if (!job->buffer) {
		scsi_end_status(task, SCSI_BUSY);
		scsi_job_drop(job);
		return;
	}
	memcpy(job->buffer, list, bytes);
	job->flags = count;
	scsi_job_start(job);
}

void scsi_do_unmap(struct scsi_task *task)
{
	uint8_t list[HEADER_BYTES + SCSI_UNMAP_RANGES_MAX * RANGE_BYTES];
	size_t given = get_be16(task->cdb + 7), bytes = min_u64(given, sizeof(list)), ranges;

	if (!unit_of(task)->info.can_discard) {
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
		return;
	}
	if (!given) {
		scsi_end(task);
		return;
	}
	if (given < HEADER_BYTES) {
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
		return;
	}
	if (!scsi_list_take(task, list, bytes))
		return;
	ranges = min_u64(get_be16(list + 2), given - HEADER_BYTES) / RANGE_BYTES;
	if (ranges > SCSI_UNMAP_RANGES_MAX) {
		scsi_end_list(task, 2, -1);
		return;
	}
	if (!ranges_check(task, list, (unsigned)ranges))
		return;
	if (ranges)
		unmap_begin(task, list, (unsigned)ranges);
	else
		scsi_end(task);
}

/* ---- WRITE SAME ---- */

#define UNMAP	0x08u
#define NO_DATA 0x01u

enum { ZEROES = 1, UNMAPS = 2 };

static void same_zeroes(struct scsi_job *job)
{
	const struct scsi_unit *unit = job->path->lun->unit;
	uint64_t bytes = piece_bytes(unit, DISK_ZERO, job->bytes - job->done);
	unsigned flags = __atomic_load_n(&unit->write_flags, __ATOMIC_RELAXED);

	if (job->flags & UNMAPS)
		flags |= DISK_UNMAP;
	job->done += bytes;
	scsi_job_move(job, job->path, DISK_ZERO, (uint8_t)flags, job->offset + job->done - bytes, bytes);
}

static void same_data(struct scsi_job *job)
{
	const struct scsi_unit *unit = job->path->lun->unit;
	uint64_t bytes = min_u64(job->buffer_bytes, job->bytes - job->done);

	job->done += bytes;
	scsi_job_move(job, job->path, DISK_WRITE, (uint8_t)__atomic_load_n(&unit->write_flags, __ATOMIC_RELAXED),
		      job->offset + job->done - bytes, bytes);
}

static bool all_zero(const uint8_t *at, size_t bytes)
{
	return !at[0] && !memcmp(at, at + 1, bytes - 1);
}

/* The block lies at the beginning of the memory already. */
static void same_look(struct scsi_job *job)
{
	size_t block = scsi_unit_block_bytes(job->path->lun->unit);

	job->state = 1;
	if (job->flags & ZEROES)
		return;
	scsi_data_out(job->task, 0, job->buffer, block);
	if (all_zero(job->buffer, block)) {
		job->flags |= ZEROES;
		return;
	}
	for (size_t at = block; at < job->buffer_bytes; at += block)
		memcpy(job->buffer + at, job->buffer, block);
}

static void same_step(struct scsi_job *job, int result)
{
	if (!goes_on(job, result))
		return;
	if (!job->state)
		same_look(job);
	if (job->done == job->bytes)
		done(job);
	else if (job->flags & ZEROES)
		same_zeroes(job);
	else
		same_data(job);
}

static bool same_check(struct scsi_task *task, unsigned flags_at, const struct scsi_extent *extent)
{
	const struct scsi_unit *unit = unit_of(task);
	unsigned flags = task->cdb[flags_at];

	if (flags & UNMAP && !unit->info.zero_unmaps)
		scsi_end_cdb(task, flags_at, 3);
	else if (!extent->count || extent->count > SCSI_SAME_BYTES_MAX >> unit->block_shift)
		scsi_end_cdb(task, scsi_length_field(task->command), -1);
	else if (!(flags & NO_DATA) && task->out_bytes < unit->info.logical_block_bytes)
		scsi_end_response(task, SCSI_OVERRUN);
	else
		return scsi_extent_check(task, extent);
	return false;
}

void scsi_do_write_same(struct scsi_task *task)
{
	unsigned flags_at = task->command->cdb_bytes == 32 ? 10 : 1, flags = task->cdb[flags_at];
	struct scsi_extent extent = scsi_extent_of(task);
	const struct scsi_unit *unit = unit_of(task);
	struct scsi_job *job;

	if (!same_check(task, flags_at, &extent))
		return;
	task->moved = flags & NO_DATA ? 0 : unit->info.logical_block_bytes;
	job = scsi_job_new(task, min_u64(SCSI_STEP_BYTES, extent.count << unit->block_shift), same_step);
	if (!job)
		return;
	job->offset = extent.block << unit->block_shift;
	job->bytes = extent.count << unit->block_shift;
	job->flags = (flags & NO_DATA ? ZEROES : 0) | (flags & UNMAP ? UNMAPS : 0);
	scsi_job_start(job);
}
