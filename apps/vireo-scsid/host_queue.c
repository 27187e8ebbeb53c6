/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a request queue of a SCSI host and a queue of its bus do for each other; the life of both is store/export_queue.c's. A command goes from
 * submit to the bus as a task in the room that the device has for us, and from reap() back. What aborts tasks is answered when these have been
 * shown to the driver: after each flush the bus is told (scsi_queue_shown()).
 */
#include "scsi/scsi.h"
#include "scsi_export.h"
#include "vireo/scsi.h"
#include <string.h>

#define DEPTH 128u /* of a disk's queue; what goes beyond waits there */

struct room {
	struct scsi_task task;
	struct vireo_scsi_command *command;
};

const size_t host_queue_room_bytes = sizeof(struct room);

static struct host_queue *host_queue_of(const struct export_queue *queue)
{
	return (struct host_queue *)(uintptr_t)queue;
}

/* ---- workers ---- */

static uint8_t response_of(const struct scsi_task *task)
{
	static const uint8_t responses[] = {
		[SCSI_OK] = VIREO_SCSI_OK,
		[SCSI_OVERRUN] = VIREO_SCSI_OVERRUN,
		[SCSI_ABORTED] = VIREO_SCSI_ABORTED,
		[SCSI_BAD_TARGET] = VIREO_SCSI_BAD_TARGET,
		[SCSI_RESET] = VIREO_SCSI_RESET,
		[SCSI_FAILED] = VIREO_SCSI_BUSY, /* no memory: it is likely to work when it is sent again */
	};

	return responses[task->response];
}

static void complete(struct room *room)
{
	const struct scsi_task *task = &room->task;
	struct vireo_scsi_result result = {.sense = task->sense};

	if (likely(task->response == SCSI_OK)) {
		result.status = task->status;
		result.sense_bytes = task->sense_bytes;
		if (task->in_bytes)
			result.in_moved = (uint32_t)task->moved;
		else
			result.out_moved = (uint32_t)task->moved;
	} else {
		result.response = response_of(task);
	}
	vireo_scsi_complete(room->command, &result);
}

static unsigned reap(struct export_queue *queue)
{
	struct scsi_task *done[EXPORT_BURST];
	unsigned count = scsi_queue_reap(host_queue_of(queue)->bus, done, EXPORT_BURST);

	for (unsigned i = 0; i < count; i++)
		complete(container_of(done[i], struct room, task));
	return count;
}

static struct scsi_task *room_fill(struct vireo_scsi_command *command)
{
	struct room *room = command->room;
	struct scsi_task *task = &room->task;

	room->command = command; /* what is not the caller's in a task the bus fills in */
	task->target = command->target;
	task->attribute = command->attribute;
	task->cdb_bytes = (uint16_t)min_u32(command->cdb_bytes, SCSI_CDB_BYTES);
	task->cdb = command->cdb;
	task->tag = command->id;
	task->out = command->out;
	task->in = command->in;
	task->out_count = command->out_count;
	task->in_count = command->in_count;
	task->out_bytes = command->out_bytes;
	task->in_bytes = command->in_bytes;
	memcpy(task->lun, command->lun, sizeof(task->lun));
	return task;
}

/* What the disks have done by the time they have taken them is shown to the driver with the burst. */
void host_queue_submit(void *export, unsigned queue, struct vireo_scsi_command *const *commands, unsigned count)
{
	struct host_queue *q = host_queue_of(export_queue(export, queue));
	struct scsi_task *tasks[EXPORT_BURST];
	unsigned filled = 0;

	for (unsigned i = 0; i < count; i++) {
		tasks[filled++] = room_fill(commands[i]);
		if (filled < EXPORT_BURST && i + 1 < count)
			continue;
		scsi_queue_submit(q->bus, tasks, filled);
		filled = 0;
	}
	reap(&q->queue);
}

static int poll_driver(struct export_queue *queue, unsigned max)
{
	const struct host_queue *q = host_queue_of(queue);
	int taken = vireo_scsi_poll(q->scsi, queue->index, max);

	scsi_queue_shown(q->bus);
	return taken;
}

static void flush(struct export_queue *queue)
{
	const struct host_queue *q = host_queue_of(queue);

	vireo_scsi_flush(q->scsi, queue->index);
	scsi_queue_shown(q->bus);
}

static bool idle(const struct export_queue *queue)
{
	const struct host_queue *q = host_queue_of(queue);

	return !scsi_queue_pending(q->bus) && !vireo_scsi_in_flight(q->scsi, queue->index);
}

static bool kept(struct export_queue *queue)
{
	return vireo_scsi_kept(host_queue_of(queue)->scsi, queue->index);
}

static bool kick_enable(struct export_queue *queue, bool on)
{
	return vireo_scsi_kick_enable(host_queue_of(queue)->scsi, queue->index, on);
}

static bool arm(struct export_queue *queue, bool on)
{
	return scsi_queue_arm(host_queue_of(queue)->bus, on);
}

static void expect(const struct export_queue *queue)
{
	vireo_scsi_expect(host_queue_of(queue)->scsi, queue->index);
}

static void hurry(struct export_queue *queue)
{
	scsi_queue_hurry(host_queue_of(queue)->bus);
}

static void cancel(struct export_queue *queue)
{
	scsi_queue_cancel(host_queue_of(queue)->bus);
}

/* ---- the control thread ---- */

static int queue_open(struct export_queue *queue)
{
	struct host_queue *q = host_queue_of(queue);
	const struct scsi_export *e = scsi_export_of(queue->export);

	q->scsi = e->scsi;
	return scsi_queue_new(e->bus, DEPTH, &q->bus);
}

static void queue_close(struct export_queue *queue)
{
	struct host_queue *q = host_queue_of(queue);

	scsi_queue_free(q->bus);
	q->bus = NULL;
}

static int back_fd(const struct export_queue *queue)
{
	return scsi_queue_fd(host_queue_of(queue)->bus);
}

static int kick_fd(const struct export_queue *queue)
{
	return vireo_scsi_kick_fd(host_queue_of(queue)->scsi, queue->index);
}

static void quiesced(struct export_queue *queue)
{
	vireo_scsi_queue_quiesced(scsi_export_of(queue->export)->scsi, queue->index);
}

static void renewed(struct export_queue *queue)
{
	vireo_scsi_queue_renewed(scsi_export_of(queue->export)->scsi, queue->index);
}

const struct export_queue_ops host_queue_ops = {
	.open = queue_open,
	.close = queue_close,
	.back_fd = back_fd,
	.kick_fd = kick_fd,
	.quiesced = quiesced,
	.renewed = renewed,
	.reap = reap,
	.poll = poll_driver,
	.flush = flush,
	.idle = idle,
	.kept = kept,
	.kick_enable = kick_enable,
	.arm = arm,
	.expect = expect,
	.hurry = hurry,
	.cancel = cancel,
};
