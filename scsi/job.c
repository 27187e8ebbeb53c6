/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command that takes more than one step, or data of its own: a job. It has a buffer of SCSI_STEP_BYTES at
 * most, and a queue has JOBS_MAX at a time; more wait. When its task is aborted it goes on alone to the end
 * of its step, for the disk has its memory.
 *
 * The claim: what reads, looks and writes (COMPARE AND WRITE, ORWRITE) does so while no other such job of the
 * unit does, in whatever queue. Who has to wait gets it by a message.
 */
#include "scsi/internal.h"

#define JOBS_MAX 16u

/* ---- life ---- */

static void job_delete(struct scsi_job *job)
{
	struct scsi_queue *queue = job->queue;

	if (job->copy)
		scsi_copy_free(job->copy);
	job->path->jobs--;
	if (!job->task)
		queue->orphans--;
	free(job->buffer);
	free((char *)(uintptr_t)job->keep.text);
	free(job);
}

static void job_run(struct scsi_job *job)
{
	job->queue->jobs++;
	job->waits = false;
	if (job->buffer_bytes && !job->buffer) {
		job->buffer = malloc(job->buffer_bytes);
		if (!job->buffer) {
			scsi_end_status(job->task, SCSI_BUSY);
			scsi_job_end(job);
			return;
		}
	}
	job->step(job, 0);
}

void scsi_job_start_now(struct scsi_job *job)
{
	job_run(job);
}

void scsi_job_start(struct scsi_job *job)
{
	struct scsi_queue *queue = job->queue;

	if (queue->jobs < JOBS_MAX && !queue->jobs_waiting) {
		job_run(job);
		return;
	}
	job->waits = true;
	job->next = NULL;
	*queue->jobs_end = job;
	queue->jobs_end = &job->next;
}

struct scsi_job *scsi_job_new(struct scsi_task *task, size_t buffer_bytes, void (*step)(struct scsi_job *job, int result))
{
	struct scsi_job *job = calloc(1, sizeof(*job));

	if (!job) {
		scsi_end_status(task, SCSI_BUSY);
		return NULL;
	}
	job->queue = task->path->queue;
	job->path = task->path;
	job->path->jobs++;
	job->task = task;
	job->step = step;
	job->buffer_bytes = buffer_bytes;
	job->op.job = job;
	task->job = job;
	return job;
}

void scsi_job_drop(struct scsi_job *job)
{
	job_delete(job);
}

/* One that ends at once lets the next one begin here, and not within its own end: any number of them may wait. */
void scsi_jobs_begin(struct scsi_queue *queue)
{
	if (queue->still || queue->jobs_begin)
		return;
	queue->jobs_begin = true;
	while (queue->jobs_waiting && queue->jobs < JOBS_MAX) {
		struct scsi_job *job = queue->jobs_waiting;

		queue->jobs_waiting = job->next;
		if (!job->next)
			queue->jobs_end = &queue->jobs_waiting;
		job_run(job);
	}
	queue->jobs_begin = false;
}

static void claim_release(struct scsi_job *job);

/* The task has ended, or is not there: its memory may be somebody else's by now. */
void scsi_job_end(struct scsi_job *job)
{
	struct scsi_queue *queue = job->queue;

	if (job->claimed)
		claim_release(job);
	job_delete(job);
	queue->jobs--;
	scsi_jobs_begin(queue);
}

static void waiting_out(struct scsi_job *job)
{
	struct scsi_queue *queue = job->queue;
	struct scsi_job **at = &queue->jobs_waiting;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	if (!*at)
		queue->jobs_end = at;
}

/* ---- the claim ---- */

static void claim_granted(struct scsi_queue *queue, struct scsi_message *message)
{
	struct scsi_job *job = container_of(message, struct scsi_job, message);

	job->claiming = false;
	job->claimed = true;
	if (job->task)
		job->step(job, 0);
	else
		scsi_job_end(job);
}

void scsi_job_claim(struct scsi_job *job)
{
	struct scsi_unit *unit = job->path->lun->unit;
	bool free_now;

	pthread_mutex_lock(&unit->lock);
	free_now = !unit->claimed;
	unit->claimed = true;
	if (!free_now) {
		job->claiming = true;
		job->next = NULL;
		*unit->claim_end = job;
		unit->claim_end = &job->next;
	}
	pthread_mutex_unlock(&unit->lock);
	if (free_now) {
		job->claimed = true;
		job->step(job, 0);
	}
}

static void claim_release(struct scsi_job *job)
{
	struct scsi_unit *unit = job->path->lun->unit;
	struct scsi_job *next;

	pthread_mutex_lock(&unit->lock);
	next = unit->claim_first;
	if (next) {
		unit->claim_first = next->next;
		if (!next->next)
			unit->claim_end = &unit->claim_first;
		next->message.deliver = claim_granted;
	} else {
		unit->claimed = false;
	}
	pthread_mutex_unlock(&unit->lock);
	job->claimed = false;
	if (next)
		scsi_queue_post(next->queue, &next->message);
}

/* False: it has been granted already, and the message is on its way. */
static bool claim_withdraw(struct scsi_job *job)
{
	struct scsi_unit *unit = job->path->lun->unit;
	struct scsi_job **at;
	bool there;

	pthread_mutex_lock(&unit->lock);
	for (at = &unit->claim_first; *at && *at != job;)
		at = &(*at)->next;
	there = *at;
	if (there) {
		*at = job->next;
		if (!*at)
			unit->claim_end = at;
	}
	pthread_mutex_unlock(&unit->lock);
	return there;
}

void scsi_job_give_up(struct scsi_job *job)
{
	struct scsi_queue *queue = job->queue;

	if (job->copy)
		scsi_copy_given_up(job->copy);
	job->task = NULL;
	queue->orphans++;
	if (job->waits) {
		waiting_out(job);
		job_delete(job);
	} else if (job->claiming && claim_withdraw(job)) {
		job->claiming = false;
		scsi_job_end(job);
	}
}

/* ---- requests of disks ---- */

void scsi_job_move(struct scsi_job *job, struct scsi_path *path, uint8_t op, uint8_t flags, uint64_t offset, uint64_t bytes)
{
	int err = scsi_path_open(path);

	if (err) {
		job->step(job, err);
		return;
	}
	job->iov = (struct iovec){job->buffer, bytes};
	job->op.path = path;
	job->op.disk = (struct disk_request){
		.op = op,
		.flags = flags,
		.offset = offset,
		.bytes = bytes,
		.iov = op <= DISK_WRITE ? &job->iov : NULL,
		.iov_count = op <= DISK_WRITE,
	};
	scsi_path_submit(path, &job->op);
}

/* ---- what is to be kept ---- */

static void kept(struct scsi_queue *queue, struct scsi_message *message)
{
	struct scsi_job *job = container_of(message, struct scsi_job, message);

	job->step(job, job->kept); /* also where its task has been aborted: what it has changed holds */
}

/* Its text and order are set. */
void scsi_job_keep(struct scsi_job *job)
{
	const struct scsi_unit *unit = job->path->lun->unit;

	unit->keep(unit->opaque, &job->keep);
}

void scsi_keep_done(struct scsi_keep *keep, int err)
{
	struct scsi_job *job = container_of(keep, struct scsi_job, keep);

	job->kept = err;
	job->message.deliver = kept;
	scsi_queue_post(job->queue, &job->message);
}
