/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A logical unit in a queue's hands. A task is `held` until it may begin (ORDERED), then among `tasks` until
 * it ends.
 *
 * What is aborted. A task that is held, or that a job works for, has no data with the disk and ends at once;
 * the job goes on without it, with memory of its own, until the disk answers. A READ or WRITE has its own
 * data there: what merely waits is given up (disk_queue_cancel(); tasks that are not aborted are submitted
 * anew), what touches the data in this thread alone gets other memory instead (disk_queue.in_thread), and
 * what the kernel has is waited for, since it may write to the data at any moment.
 */
#include "scsi/way.h"
#include <limits.h>
#include <sys/epoll.h>

#define LOST_BYTES_MAX (UINT64_C(64) << 20) /* of a queue, that aborted tasks have left with disks */

/* ---- the order of tasks (SAM-5, 8) ---- */

/* What keeps a command from being carried out at all. False: it has ended. */
static bool unit_allows(struct scsi_task *task, const struct scsi_lun *lun)
{
	const struct scsi_command *command = task->command;
	int attention;

	if (__atomic_load_n(&lun->gone, __ATOMIC_ACQUIRE) && !(command->flags & COMMAND_ANYWHERE)) {
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LUN);
		return false;
	}
	if (!(command->flags & COMMAND_ANYWHERE)) {
		attention = scsi_attention_take(task->path->lun);
		if (attention >= 0) {
			scsi_end_check(task, KEY_UNIT_ATTENTION, scsi_attention_code(attention));
			return false;
		}
	}
	if (__atomic_load_n(&lun->barred, __ATOMIC_RELAXED) & command->bars) {
		scsi_end_status(task, SCSI_CONFLICT);
		return false;
	}
	if (__atomic_load_n(&lun->unit->stopped, __ATOMIC_RELAXED) && command->flags & COMMAND_MEDIUM) {
		scsi_end_check(task, KEY_NOT_READY, ASC_STOPPED);
		return false;
	}
	if (__atomic_load_n(&lun->unit->write_protect, __ATOMIC_RELAXED) && command->flags & COMMAND_WRITES) {
		scsi_end_check(task, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
		return false;
	}
	return true;
}

/* Words of others that are nearly always zero. Whether it is gone has been looked at when the task's path was found. */
static inline bool unit_special(const struct scsi_lun *lun)
{
	return __atomic_load_n(&lun->attentions, __ATOMIC_RELAXED) || __atomic_load_n(&lun->barred, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&lun->unit->stopped, __ATOMIC_RELAXED) || __atomic_load_n(&lun->unit->write_protect, __ATOMIC_RELAXED);
}

/* Where there is no logical unit. False: it has ended. */
static bool nowhere_allows(struct scsi_task *task)
{
	const struct scsi_path *path = task->path;

	if (task->command->flags & (path->well_known ? COMMAND_WELL_KNOWN : COMMAND_ANYWHERE))
		return true;
	if (path->well_known)
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
	else
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LUN);
	return false;
}

/* The first bit that no command of this kind has, from the most significant of its byte. */
static bool usage_look(struct scsi_task *task)
{
	const struct scsi_command *command = task->command;

	for (unsigned at = 1; at < command->cdb_bytes; at++) {
		unsigned wrong = task->cdb[at] & ~command->usage[at] & 0xffu;

		if (at == 1 && command->flags & COMMAND_OLD_LUN)
			wrong &= 0x1f;
		if (!wrong)
			continue;
		scsi_end_cdb(task, at, 31 - __builtin_clz(wrong));
		return false;
	}
	return true;
}

static void command_unknown(struct scsi_task *task, unsigned field)
{
	const struct scsi_path *path = task->path;

	if (!path->lun && !path->well_known)
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LUN);
	else if (field)
		scsi_end_cdb(task, field, -1);
	else
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
}

/*
 * Commands of a plain kind take 10, 12 or 16 bytes, and their opcode has no service actions: for these there is a shorter way when they
 * come again, on which nothing has to be looked for.
 */
static void plain_note(struct scsi_queue *queue, const struct scsi_command *command)
{
	if (command->service_action < 0 && command->cdb_bytes >= 10 && command->cdb_bytes <= 16)
		queue->plain[command->opcode] = command;
}

/* What speaks against it, one after the other; or it is carried out. */
static __attribute__((noinline)) void look_and_begin(struct scsi_path *path, struct scsi_task *task)
{
	unsigned field = 0;

	if (!path->lun && !scsi_bus_has_target(path->queue->bus, task->target)) {
		scsi_end_response(task, SCSI_BAD_TARGET);
		return;
	}
	if (task->cdb_bytes < 6) {
		scsi_end_cdb(task, 0, -1);
		return;
	}
	task->command = scsi_command_find(task->cdb, task->cdb_bytes, &field);
	if (!task->command) {
		command_unknown(task, field);
		return;
	}
	plain_note(path->queue, task->command);
	if (path->lun ? !unit_allows(task, path->lun) : !nowhere_allows(task))
		return;
	if (task->attribute >= SCSI_ACA) {
		scsi_end_check(task, KEY_ABORTED_COMMAND, ASC_MESSAGE);
		return;
	}
	if (usage_look(task))
		task->command->handler(task);
}

static inline uint64_t usage_wrong(const struct scsi_task *task, const struct scsi_command *command, unsigned at)
{
	uint64_t bits, used;

	memcpy(&bits, task->cdb + at, sizeof(bits));
	memcpy(&used, command->usage + at, sizeof(used));
	return bits & ~used;
}

/* The same at once, where nothing speaks against it: by eight bytes of the CDB at a time, some of them twice. Its unit is there. */
static inline void begin_plain(struct scsi_path *path, struct scsi_task *task)
{
	const struct scsi_command *command = path->queue->plain[task->cdb[0]];

	if (unlikely(!command || task->cdb_bytes < command->cdb_bytes || unit_special(path->lun) ||
		     usage_wrong(task, command, 1) | usage_wrong(task, command, command->cdb_bytes - 8u))) {
		look_and_begin(path, task);
		return;
	}
	task->command = command;
	command->handler(task);
}

static void hold(struct scsi_path *path, struct scsi_task *task)
{
	task->held = true;
	task->next = NULL;
	*path->held_end = task;
	path->held_end = &task->next;
}

static void hold_out(struct scsi_path *path, struct scsi_task *task)
{
	struct scsi_task **at = &path->held;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (!*at)
		path->held_end = at;
}

/* It has an attribute, or waits for one that has, or there is no unit. */
static __attribute__((noinline)) void take_in_order(struct scsi_path *path, struct scsi_task *task)
{
	bool ordered = task->attribute == SCSI_ORDERED;

	if ((path->held || path->ordered || (ordered && path->active)) && task->attribute != SCSI_HEAD_OF_QUEUE) {
		hold(path, task);
		return;
	}
	path->ordered |= ordered;
	way_link_in(path, task);
	look_and_begin(path, task);
}

void scsi_path_take(struct scsi_path *path, struct scsi_task *task)
{
	if (unlikely(task->attribute != SCSI_SIMPLE || path->held || path->ordered || !path->lun)) {
		take_in_order(path, task);
		return;
	}
	way_link_in(path, task);
	begin_plain(path, task);
}

void scsi_path_begin_held(struct scsi_path *path)
{
	if (path->beginning || path->queue->still)
		return;
	path->beginning = true;
	while (path->held && !path->ordered && !(path->held->attribute == SCSI_ORDERED && path->active)) {
		struct scsi_task *task = path->held;

		hold_out(path, task);
		task->held = false;
		path->ordered = task->attribute == SCSI_ORDERED;
		way_link_in(path, task);
		look_and_begin(path, task);
	}
	path->beginning = false;
	scsi_path_go(path);
}

/* ---- requests of the disk ---- */

int scsi_path_open(struct scsi_path *path)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct scsi_queue *queue = path->queue;
	int err, fd;

	if (likely(path->disk != NULL))
		return 0;
	err = disk_queue_open(path->lun->unit->disk, queue->depth, &path->disk);
	if (err)
		return err;
	fd = disk_queue_fd(path->disk);
	if (fd >= 0 && epoll_ctl(queue->fd, EPOLL_CTL_ADD, fd, &event)) {
		err = -errno;
		disk_queue_close(path->disk);
		path->disk = NULL;
		return err;
	}
	if (queue->hurried)
		disk_queue_hurry(path->disk);
	return 0;
}

struct scsi_op *scsi_op_new(struct scsi_path *path)
{
	struct scsi_op *op = way_op(path);

	if (op)
		return op;
	op = calloc(1, sizeof(*op));
	if (op)
		op->path = path;
	return op;
}

void scsi_op_free(struct scsi_op *op)
{
	way_op_free(op->path->queue, op);
}

void scsi_path_go(struct scsi_path *path)
{
	unsigned count = path->burst_count;

	if (!count)
		return;
	path->burst_count = 0;
	scsi_path_busy(path);
	disk_queue_submit(path->disk, path->burst, count);
}

void scsi_path_submit(struct scsi_path *path, struct scsi_op *op)
{
	way_submit(path, op);
	if (op->job)
		scsi_path_go(path);
}

/* It was given up on account of somebody else. */
static bool is_to_be_done_anew(const struct scsi_op *op)
{
	const struct scsi_task *task = op->job ? op->job->task : op->task;

	return op->disk.result == -ECANCELED && task && task->ends_as == SCSI_OK;
}

static void op_lost(struct scsi_op *op);

/* Of a job, of a task that has been given up or is being aborted, or without success. */
static __attribute__((noinline)) void other_op_done(struct scsi_op *op)
{
	struct scsi_task *task = op->task;

	if (is_to_be_done_anew(op)) {
		scsi_path_submit(op->path, op);
		return;
	}
	if (op->job) {
		op->job->step(op->job, op->disk.result);
		return;
	}
	if (!task) {
		op_lost(op);
		return;
	}
	task->op = NULL;
	if (task->ends_as != SCSI_OK)
		scsi_end_response(task, task->ends_as);
	else
		scsi_medium_failed(task, &op->disk);
	scsi_op_free(op);
}

/* An op with a task has no job. What moves nothing has no bytes. */
static inline void op_done(struct scsi_path *path, struct scsi_op *op)
{
	struct scsi_task *task = op->task;

	if (unlikely(!task || op->disk.result || task->ends_as != SCSI_OK)) {
		other_op_done(op);
		return;
	}
	task->moved = op->disk.bytes;
	way_op_free(path->queue, op);
	way_out(path, task);
	way_done(path->queue, task);
}

void scsi_path_reap(struct scsi_path *path)
{
	struct disk_request *done[SCSI_PATH_BURST];
	unsigned count;

	do {
		count = disk_queue_reap(path->disk, done, SCSI_PATH_BURST);
		for (unsigned i = 0; i < count; i++)
			op_done(path, container_of(done[i], struct scsi_op, disk));
	} while (count == SCSI_PATH_BURST);
}

/* ---- what is given up ---- */

void scsi_path_cancel(struct scsi_path *path)
{
	if (path->disk && disk_queue_pending(path->disk))
		disk_queue_cancel(path->disk);
}

/*
 * The disk gets other memory for what it still has to do. Not without bounds: who aborts again and again what
 * a disk does not answer has to wait in the end.
 */
static bool op_detach(struct scsi_op *op)
{
	struct scsi_queue *queue = op->path->queue;
	uint64_t bytes = op->disk.bytes;

	if (!op->path->disk->in_thread || queue->lost_bytes + bytes > LOST_BYTES_MAX)
		return false;
	if (op->disk.iov_count) {
		op->lost = malloc(bytes);
		if (!op->lost)
			return false;
		if (op->disk.op == DISK_WRITE)
			scsi_data_out(op->task, 0, op->lost, bytes);
		op->lost_iov = (struct iovec){op->lost, bytes};
		op->disk.iov = &op->lost_iov;
		op->disk.iov_count = 1;
		queue->lost_bytes += bytes;
	}
	op->task = NULL;
	queue->orphans++;
	return true;
}

static void op_lost(struct scsi_op *op)
{
	struct scsi_queue *queue = op->path->queue;

	queue->orphans--;
	if (op->lost)
		queue->lost_bytes -= op->disk.bytes;
	free(op->lost);
	op->lost = NULL;
	scsi_op_free(op);
}

void scsi_task_abort(struct scsi_task *task, enum scsi_response response, const struct scsi_part *part)
{
	struct scsi_path *path = task->path;

	if (task->ends_as == SCSI_OK) {
		task->ends_as = (uint8_t)response;
		task->aborted_by = part ? part->number : path->queue->part_number + 1; /* no part that is there already has counted it */
	}
	if (task->held) {
		hold_out(path, task);
	} else if (task->job) {
		scsi_job_give_up(task->job);
		task->job = NULL;
	} else if (task->op && !op_detach(task->op)) {
		return; /* when the disk has done it */
	}
	task->op = NULL;
	scsi_end_response(task, task->ends_as);
}
