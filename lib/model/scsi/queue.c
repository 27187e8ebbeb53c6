/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_internal.h"

/*
 * A request queue in its worker's hands. Chains are popped by the batch, become commands, and are submitted together. What is completed,
 * at once or later, is gathered, pushed by the batch, and shown with the next flush.
 */

/* Features stay as they are while the queue runs. */
static uint32_t cdb_at(const struct vireo_scsi *scsi)
{
	bool behind_words = scsi->protection_first && vscsi_has(scsi, VIREO_SCSI_F_T10_PI_BIT);

	return SCSI_REQUEST_CDB + (behind_words ? SCSI_REQUEST_PI_BYTES : 0);
}

int vscsi_slots_new(struct vscsi_queue *q, uint32_t size)
{
	const size_t room_at = align_up(sizeof(struct vscsi_slot), 16);
	int r = shelf_new(&q->at, &(struct shelf_setup){
		.size = size,
		.slot_bytes = (uint32_t)(room_at + q->scsi->command_room_bytes),
		.slot_at = offsetof(struct vscsi_slot, at),
		.pieces = q->scsi->segments_max + 2,
		.views = true,
	});

	for (uint32_t i = 0; !r && i < size; i++) {
		struct vscsi_slot *slot = shelf_slot_nth(&q->at, i);

		slot->command.queue = q->index;
		slot->command.cdb = slot->head + cdb_at(q->scsi);
		slot->command.room = (char *)slot + room_at;
	}
	return r;
}

static inline void commands_submit(struct vscsi_queue *q, struct vireo_scsi_command *const *batch, unsigned count)
{
	q->at.in_flight += count;
	if (count)
		q->scsi->ops.submit(q->scsi->opaque, q->index, batch, count);
}

/* Returns as vireo_scsi_poll(): of at most SHELF_BATCH. */
static inline int queue_batch(struct shelf *shelf, unsigned max)
{
	struct vscsi_queue *q = container_of(shelf, struct vscsi_queue, at);
	struct vireo_scsi_command *batch[SHELF_BATCH];
	struct vireo_chain chains[SHELF_BATCH];
	unsigned count = 0;
	int taken, popped = shelf_pop(shelf, chains, max);

	for (taken = 0; taken < popped; taken++) {
		struct shelf_slot *at = shelf_take(shelf, &chains[taken], popped - taken);
		struct vscsi_slot *slot;

		if (unlikely(!at))
			break;
		slot = container_of(at, struct vscsi_slot, at);
		batch[count] = &slot->command;
		if (likely(vscsi_request_take(slot)))
			count++;
		else /* its pieces are in a slot that is free, and the next chain takes it */
			shelf_push_done(shelf);
	}
	commands_submit(q, batch, count);
	shelf_submitted(shelf, count);
	return popped < 0 ? popped : taken;
}

int vireo_scsi_poll(struct vireo_scsi *scsi, unsigned queue, unsigned max)
{
	struct vscsi_queue *q = &scsi->queue[queue];

	if (unlikely(!shelf_open(&q->at))) {
		shelf_show(&q->at); /* what has ended is shown at the end of a poll, whatever it takes: who manages tasks goes by that */
		return 0;
	}
	return shelf_poll(&q->at, max, queue_batch, shelf_show);
}

void vireo_scsi_flush(struct vireo_scsi *scsi, unsigned queue)
{
	struct vscsi_queue *q = &scsi->queue[queue];

	shelf_show(&q->at);
	if (unlikely(q->at.starved) && shelf_open(&q->at))
		shelf_poll(&q->at, SHELF_BATCH, queue_batch, shelf_show);
}

bool vireo_scsi_kick_enable(struct vireo_scsi *scsi, unsigned queue, bool on)
{
	return shelf_kick_enable(&scsi->queue[queue].at, on);
}

unsigned vireo_scsi_in_flight(const struct vireo_scsi *scsi, unsigned queue)
{
	return scsi->queue[queue].at.in_flight;
}

static bool slot_kept(struct shelf_slot *at)
{
	const struct vscsi_slot *slot = container_of(at, struct vscsi_slot, at);
	uint32_t count = at->chain.readable_count + at->chain.writable_count;

	for (uint32_t i = 0; i < count; i++)
		if (!shelf_piece_kept(vscsi_queue_of(slot)->scsi->device, &at->chain.iov[i], 0))
			return false;
	return true;
}

bool vireo_scsi_kept(struct vireo_scsi *scsi, unsigned queue)
{
	shelf_show(&scsi->queue[queue].at);
	return shelf_kept(&scsi->queue[queue].at, slot_kept);
}

void vireo_scsi_expect(struct vireo_scsi *scsi, unsigned queue)
{
	vireo_queue_expect(scsi->queue[queue].at.queue);
}

int vireo_scsi_kick_fd(struct vireo_scsi *scsi, unsigned queue)
{
	return queue < scsi->queues && scsi->queue[queue].at.queue ? vireo_queue_kick_fd(scsi->queue[queue].at.queue) : -1;
}
