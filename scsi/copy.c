/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EXTENDED COPY (LID1), carried out: one segment after the other, and of each a piece of SCSI_STEP_BYTES after the
 * other, read and then written by the queue that has the command. Both disks are those of paths of this queue, whoever
 * else serves their units; a path that is copied from or to counts it as a job, and so outlives it.
 *
 * What the copy does at a unit it does as its initiator would: reservations, write protection, a unit that is stopped
 * or removed are looked at before each piece. What ends a copy when it is under way is COPY ABORTED, with the number
 * of its segment, a pointer to what is wrong with it, and what the unit has said (SPC-4, 6.4.3).
 */
#include "scsi/copy.h"

#define NUL_DEVICE 0x20u
#define PAD	   0x04u
#define CAT	   0x01u
#define DC	   0x02u

enum { NEXT, READ, WRITTEN };

/* What is wrong with the segment that is being carried out. */
struct fault {
	uint16_t asc_ascq;
	bool of_list; /* the pointer is to a byte of the whole list, not of the segment's descriptor */
	int byte;     /* -1: to none */
	int bit;
	/* What a unit has said; status 0: nothing. */
	bool destination;
	uint8_t status, key;
	uint16_t unit_asc_ascq;
};

/* ---- how a copy ends ---- */

static void pointer_write(uint8_t *at, const struct fault *f)
{
	if (f->byte < 0)
		return;
	at[0] = (uint8_t)(0x80 | (f->of_list ? 0 : 0x20) | (f->bit >= 0 ? 8 | f->bit : 0));
	put_be16(at + 1, (uint16_t)f->byte);
}

static size_t sense_fixed(uint8_t *at, const struct fault *f, unsigned segment)
{
	size_t bytes = scsi_sense_write(at, false, KEY_COPY_ABORTED, f->asc_ascq);

	put_be16(at + 10, (uint16_t)segment);
	pointer_write(at + 15, f);
	if (f->status != SCSI_CHECK_CONDITION)
		return bytes;
	at[f->destination ? 9 : 8] = (uint8_t)bytes;
	bytes += scsi_sense_write(at + bytes, false, f->key, f->unit_asc_ascq);
	at[7] = (uint8_t)(bytes - 8);
	return bytes;
}

/* Command-specific information, sense key specific, forwarded sense data. */
static size_t sense_descriptors(uint8_t *at, const struct fault *f, unsigned segment)
{
	size_t bytes = scsi_sense_write(at, true, KEY_COPY_ABORTED, f->asc_ascq);

	memset(at + bytes, 0, SCSI_SENSE_BYTES - bytes);
	at[bytes] = 0x01;
	at[bytes + 1] = 10;
	put_be16(at + bytes + 10, (uint16_t)segment);
	bytes += 12;
	if (f->byte >= 0) {
		at[bytes] = 0x02;
		at[bytes + 1] = 6;
		pointer_write(at + bytes + 4, f);
		bytes += 8;
	}
	if (f->status) {
		size_t sense = f->status == SCSI_CHECK_CONDITION ? scsi_sense_write(at + bytes + 4, true, f->key, f->unit_asc_ascq) : 0;

		at[bytes] = 0x0c;
		at[bytes + 1] = (uint8_t)(2 + sense);
		at[bytes + 2] = f->destination ? 2 : 1;
		at[bytes + 3] = f->status;
		bytes += 4 + sense;
	}
	at[7] = (uint8_t)(bytes - 8);
	return bytes;
}

/* The task's sense data, which is kept as well; it has not ended yet. */
static void sense_put(struct scsi_copy *copy, const struct fault *f)
{
	struct scsi_task *task = copy->job->task;
	const struct scsi_lun *lun = task->path->lun;
	bool descriptors = __atomic_load_n(&lun->unit->descriptor_sense, __ATOMIC_RELAXED);

	task->status = SCSI_CHECK_CONDITION;
	task->sense_bytes = (uint8_t)(descriptors ? sense_descriptors(task->sense, f, copy->segment)
						  : sense_fixed(task->sense, f, copy->segment));
	if (copy->record)
		scsi_copy_record_end(copy->job->path->lun, copy->record, COPY_FAILED, task);
	copy->record = NULL;
}

static void copy_abort(struct scsi_copy *copy, const struct fault *f)
{
	struct scsi_job *job = copy->job;

	sense_put(copy, f);
	scsi_end(job->task);
	scsi_job_end(job);
}

static void copy_done(struct scsi_copy *copy)
{
	struct scsi_job *job = copy->job;

	if (copy->record)
		scsi_copy_record_end(job->path->lun, copy->record, COPY_DONE, job->task);
	copy->record = NULL;
	scsi_end(job->task);
	scsi_job_end(job);
}

static void device_fault(struct fault *f, bool destination, uint8_t key, uint16_t asc_ascq)
{
	*f = (struct fault){.asc_ascq = ASC_THIRD_PARTY, .byte = -1, .destination = destination,
			    .status = SCSI_CHECK_CONDITION, .key = key, .unit_asc_ascq = asc_ascq};
}

/* The CSCD descriptor's index in the segment's descriptor. */
static struct fault unreachable(bool destination)
{
	return (struct fault){.asc_ascq = ASC_UNREACHABLE, .byte = destination ? 6 : 4, .bit = -1};
}

static void disk_failed(struct scsi_copy *copy, int err)
{
	bool destination = copy->job->state == WRITTEN;
	struct fault f;

	scsi_errno_sense(err, destination, &f.key, &f.unit_asc_ascq);
	device_fault(&f, destination, f.key, f.unit_asc_ascq);
	if (err == -ENOMEM)
		f.status = SCSI_BUSY;
	copy_abort(copy, &f);
}

unsigned scsi_copies_end(struct scsi_path *path, bool gone)
{
	struct scsi_copy *next;
	unsigned count = 0;

	for (struct scsi_copy *copy = path->queue->copies; copy; copy = next) {
		struct scsi_task *task = copy->job->task;
		struct fault f = unreachable(copy->from != path);

		next = copy->next;
		if (!task || (copy->from != path && copy->to != path))
			continue;
		count++;
		if (!gone)
			f.asc_ascq = ASC_THIRD_PARTY;
		sense_put(copy, &f);
		scsi_job_give_up(copy->job);
		task->job = NULL;
		scsi_end(task);
	}
	return count;
}

/* ---- one side of a segment ---- */

static void path_drop(struct scsi_path **path)
{
	if (*path)
		(*path)->jobs--;
	*path = NULL;
}

static struct scsi_path *side_of(const struct scsi_copy *copy, bool destination)
{
	return destination ? copy->to : copy->from;
}

/* As for a command that reads or writes. False: `f` says why not. */
static bool side_allows(const struct scsi_copy *copy, bool destination, struct fault *f)
{
	const struct scsi_lun *lun = side_of(copy, destination)->lun;
	unsigned bars = (destination ? BAR_WRITE : BAR_READ) | BAR_LEGACY;

	if (__atomic_load_n(&lun->gone, __ATOMIC_ACQUIRE)) {
		*f = unreachable(destination);
	} else if (__atomic_load_n(&lun->barred, __ATOMIC_RELAXED) & bars) {
		device_fault(f, destination, 0, 0);
		f->status = SCSI_CONFLICT;
	} else if (__atomic_load_n(&lun->unit->stopped, __ATOMIC_RELAXED)) {
		device_fault(f, destination, KEY_NOT_READY, ASC_STOPPED);
	} else if (destination && __atomic_load_n(&lun->unit->write_protect, __ATOMIC_RELAXED)) {
		device_fault(f, destination, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	} else {
		return true;
	}
	return false;
}

/* Finds the logical unit of a side. False: `f` says why not. */
static bool side_find(struct scsi_copy *copy, bool destination, struct fault *f)
{
	unsigned index = get_be16(copy_segment(copy) + (destination ? 6 : 4));
	const uint8_t *cscd;
	struct scsi_path *path;

	*f = unreachable(destination);
	if (index >= copy->cscds)
		return false;
	cscd = copy_cscd(copy, index);
	if (cscd[1] & NUL_DEVICE)
		return false;
	if (cscd[1] & 0x1f) {
		*f = (struct fault){.asc_ascq = ASC_DEVICE_TYPE, .of_list = true, .byte = (int)copy_cscd_offset(index) + 1, .bit = 4};
		return false;
	}
	path = scsi_copy_path(copy->job->path, cscd);
	if (!path)
		return false;
	path->jobs++;
	*(destination ? &copy->to : &copy->from) = path;
	if (get_be24(cscd + 29) != scsi_unit_block_bytes(path->lun->unit)) {
		*f = (struct fault){.asc_ascq = ASC_LIST_FIELD, .of_list = true, .byte = (int)copy_cscd_offset(index) + 29, .bit = -1};
		return false;
	}
	return side_allows(copy, destination, f);
}

/* ---- one segment ---- */

static bool within(const struct scsi_path *path, uint64_t block, uint64_t count)
{
	uint64_t blocks = scsi_unit_blocks(path->lun->unit);

	return block <= blocks && count <= blocks - block;
}

static uint64_t in_blocks(const struct scsi_path *path, uint64_t bytes)
{
	unsigned shift = path->lun->unit->block_shift;

	return (bytes + (UINT64_C(1) << shift) - 1) >> shift;
}

/* A block that is not whole at the end is filled with zeroes, or its rest is of no interest, if PAD of its side says so. */
static bool ends_well(const struct scsi_copy *copy, bool destination)
{
	const uint8_t *segment = copy_segment(copy);
	const struct scsi_path *path = side_of(copy, destination);

	if (!(copy->bytes & (scsi_unit_block_bytes(path->lun->unit) - 1)))
		return true;
	return !(segment[1] & CAT) && copy_cscd(copy, get_be16(segment + (destination ? 6 : 4)))[28] & PAD;
}

/* Where it is and how much. False: `f` says what is wrong. */
static bool segment_place(struct scsi_copy *copy, struct fault *f)
{
	const uint8_t *segment = copy_segment(copy);
	uint64_t from = get_be64(segment + 12), to = get_be64(segment + 20);
	const struct scsi_unit *source = copy->from->lun->unit, *destination = copy->to->lun->unit;

	copy->bytes = (uint64_t)get_be16(segment + 10) << (segment[1] & DC ? destination : source)->block_shift;
	copy->done = 0;
	*f = (struct fault){.bit = -1};
	if (!within(copy->from, from, in_blocks(copy->from, copy->bytes)))
		f->byte = 12;
	else if (!within(copy->to, to, in_blocks(copy->to, copy->bytes)))
		f->byte = 20;
	else if (!ends_well(copy, false) || !ends_well(copy, true))
		*f = (struct fault){.asc_ascq = ASC_INEXACT, .byte = 10, .bit = -1};
	if (f->byte)
		return false;
	copy->from_at = from << source->block_shift;
	copy->to_at = to << destination->block_shift;
	copy->backwards = source->disk == destination->disk && copy->from_at < copy->to_at && copy->to_at - copy->from_at < copy->bytes;
	return true;
}

/* False: the job has ended. */
static bool segment_begin(struct scsi_copy *copy)
{
	struct fault f;

	path_drop(&copy->from);
	path_drop(&copy->to);
	if (side_find(copy, false, &f) && side_find(copy, true, &f) && segment_place(copy, &f))
		return true;
	copy_abort(copy, &f);
	return false;
}

/* The next one that has something to copy. False: the job has ended. */
static bool segment_next(struct scsi_copy *copy)
{
	while (copy->done == copy->bytes) {
		if (copy->from) {
			copy->segment++;
			if (copy->record)
				__atomic_store_n(&copy->record->segments, (uint16_t)copy->segment, __ATOMIC_RELAXED);
		}
		if (copy->segment == copy->segments) {
			copy_done(copy);
			return false;
		}
		if (!segment_begin(copy))
			return false;
	}
	return true;
}

/* ---- pieces ---- */

static uint64_t piece_bytes(const struct scsi_copy *copy)
{
	return min_u64(SCSI_STEP_BYTES, copy->bytes - copy->done);
}

static uint64_t piece_offset(const struct scsi_copy *copy)
{
	return copy->backwards ? copy->bytes - copy->done - piece_bytes(copy) : copy->done;
}

static void piece_move(struct scsi_copy *copy, bool destination)
{
	struct scsi_path *path = side_of(copy, destination);
	const struct scsi_unit *unit = path->lun->unit;
	uint64_t bytes = in_blocks(path, piece_bytes(copy)) << unit->block_shift;
	struct scsi_job *job = copy->job;
	struct fault f;

	if (!side_allows(copy, destination, &f)) {
		copy_abort(copy, &f);
		return;
	}
	if (destination && bytes > piece_bytes(copy))
		memset(job->buffer + piece_bytes(copy), 0, bytes - piece_bytes(copy));
	job->state = destination ? WRITTEN : READ;
	scsi_job_move(job, path, destination ? DISK_WRITE : DISK_READ,
		      destination ? (uint8_t)__atomic_load_n(&unit->write_flags, __ATOMIC_RELAXED) : 0,
		      (destination ? copy->to_at : copy->from_at) + piece_offset(copy), bytes);
}

static void piece_written(struct scsi_copy *copy)
{
	uint64_t bytes = piece_bytes(copy);

	copy->done += bytes;
	copy->copied += bytes;
	if (copy->record)
		__atomic_store_n(&copy->record->bytes, copy->copied, __ATOMIC_RELAXED);
}

static void copy_step(struct scsi_job *job, int result)
{
	struct scsi_copy *copy = job->copy;

	if (!job->task) {
		scsi_job_end(job);
		return;
	}
	if (result) {
		disk_failed(copy, result);
		return;
	}
	if (job->state == READ) {
		piece_move(copy, true);
		return;
	}
	if (job->state == WRITTEN)
		piece_written(copy);
	if (segment_next(copy))
		piece_move(copy, false);
}

/* ---- life ---- */

static void record_forget(struct scsi_copy *copy)
{
	if (copy->record)
		scsi_copy_record_end(copy->job->path->lun, copy->record, COPY_FREE, NULL);
	copy->record = NULL;
}

/* What waits at either disk is not waited for: the unit that is to be removed may be another one. */
void scsi_copy_given_up(struct scsi_copy *copy)
{
	record_forget(copy);
	if (copy->from)
		scsi_path_cancel(copy->from);
	if (copy->to)
		scsi_path_cancel(copy->to);
}

void scsi_copy_free(struct scsi_copy *copy)
{
	struct scsi_queue *queue = copy->job->queue;
	struct scsi_copy **at = &queue->copies;

	while (*at != copy)
		at = &(*at)->next;
	*at = copy->next;
	queue->copy_count--;
	record_forget(copy);
	path_drop(&copy->from);
	path_drop(&copy->to);
	free(copy);
}

/* False: the task has ended. */
static bool record_take(struct scsi_task *task, struct scsi_copy *copy)
{
	int err;

	if ((copy->list[1] >> 3 & 3) == COPY_USAGE_NONE)
		return true;
	err = scsi_copy_record_new(task->path->lun, copy->list[0], &copy->record);
	if (err == -EEXIST)
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_IN_PROGRESS);
	else if (err)
		scsi_end_status(task, SCSI_BUSY);
	return !err;
}

/* The task has ended, or there is a job. */
static struct scsi_job *copy_job(struct scsi_task *task, struct scsi_copy *copy)
{
	struct scsi_job *job;

	if (!scsi_copy_list_take(task, copy) || !record_take(task, copy))
		return NULL;
	job = scsi_job_new(task, SCSI_STEP_BYTES, copy_step);
	if (!job && copy->record)
		scsi_copy_record_end(task->path->lun, copy->record, COPY_FREE, NULL);
	return job;
}

void scsi_do_extended_copy(struct scsi_task *task)
{
	struct scsi_queue *queue = task->path->queue;
	struct scsi_copy *copy;
	struct scsi_job *job;

	if (!get_be32(task->cdb + 10)) {
		scsi_end(task);
		return;
	}
	copy = queue->copy_count < COPY_AT_ONCE_MAX ? calloc(1, sizeof(*copy)) : NULL;
	if (!copy) {
		scsi_end_status(task, SCSI_BUSY);
		return;
	}
	job = copy_job(task, copy);
	if (!job) {
		free(copy);
		return;
	}
	copy->job = job;
	job->copy = copy;
	copy->next = queue->copies;
	queue->copies = copy;
	queue->copy_count++;
	scsi_job_start(job);
}
