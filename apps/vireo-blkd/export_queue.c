/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queues of an export. While one runs it has a queue of its own at the disk, and is a source of the crew that two fds
 * tell of: its driver has kicked, the disk has completed something. Its worker takes requests from the driver in a burst, hands them to the disk
 * in one call, takes what the disk has done, and shows the driver all of that at once. So queues of one disk that belong to
 * several workers share nothing that is written.
 *
 * Per queue these facts are kept, in the control thread only:
 *   running   the device has handed the queue out, and not asked for it back
 *   joined    it is in the crew
 *   leaving   it has been asked to come to an end: its worker takes nothing more (`ending`, a letter), and posts `ended` when
 *             nothing is in flight; then it is taken out of the crew
 *   stale     its queue at the disk was opened before the disk had a layer that it has now: it leaves, and joins anew
 *   stopping  the device waits for vireo_blk_queue_quiesced()
 * and settle() brings the crew in line with them whenever one changes.
 *
 * A disk that does not answer. CANCEL_MS after a queue has been asked to come to an end, its disk is told that nobody waits for the
 * results any more (`cancelled`, a letter): what merely waits is completed with -ECANCELED, which the driver sees as an I/O error. What the kernel
 * has it may write to guest memory at any moment: the queue is not given back before that is done. Other queues, exports and disks go on.
 *
 * Memory that is taken away (`renew`, a letter): the worker pops by what is left, and answers when all that is in flight lies there, or is
 * done. So a request that hangs in memory that stays holds up no memory table.
 */
#include "export_queue.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "disk/disk.h"
#include "daemon/endpoint.h"
#include "vireo/blk.h"
#include "vireo/device.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST 32u
#define CANCEL_MS 1000u
#define LOOK_MS 100u
#define BUSY_MS 10u /* a machine that has moved here stands still meanwhile */
#define DEPTH 128u /* of a disk's queue; what goes beyond waits there */

struct export_queue {
	struct crew_member member;
	struct export *export;
	unsigned index;
	struct disk_queue *disk;
	/* The worker's. */
	bool ending, broken;
	bool told; /* `ended` is on its way */
	bool renewing;
	bool cancelled; /* atomic: the letter has been delivered */
	/* Control thread. */
	bool running, joined, leaving, stale, stopping;
	bool renew_waits; /* the device waits for vireo_blk_queue_renewed() */
	bool cancel_sent, drained; /* leaving: the letter is on its way; nothing is in flight */
	uint64_t cancel_at_ms;
	struct worker_letter end, cancel, renew;
	struct vireo_letter ended, renewed;
};

/* The disk's request lies in the room that the device has for us in each of its own. */
struct room {
	struct disk_request disk;
	struct vireo_blk_request *blk;
};

/* ---- workers ---- */

static struct export_queue *queue_of(struct source *source)
{
	return container_of(container_of(source, struct crew_member, source), struct export_queue, member);
}

static unsigned reap(struct export_queue *q)
{
	struct disk_request *done[BURST];
	unsigned count = disk_queue_reap(q->disk, done, BURST);

	for (unsigned i = 0; i < count; i++) {
		struct room *room = container_of(done[i], struct room, disk);

		vireo_blk_complete(room->blk, room->disk.result);
	}
	return count;
}

static uint8_t disk_op(uint32_t type)
{
	switch (type) {
	case VIREO_BLK_IN:
		return DISK_READ;
	case VIREO_BLK_OUT:
		return DISK_WRITE;
	case VIREO_BLK_FLUSH:
		return DISK_FLUSH;
	case VIREO_BLK_DISCARD:
		return DISK_DISCARD;
	case VIREO_BLK_WRITE_ZEROES:
		return DISK_ZERO;
	default:
		return DISK_OPS;
	}
}

static struct disk_request *room_fill(struct vireo_blk_request *request)
{
	struct room *room = request->room;

	room->blk = request;
	room->disk = (struct disk_request){
		.op = disk_op(request->type),
		.flags = (request->flags & VIREO_BLK_FUA ? DISK_FUA : 0) | (request->flags & VIREO_BLK_UNMAP ? DISK_UNMAP : 0),
		.iov = request->iov,
		.iov_count = request->iov_count,
		.offset = request->offset_bytes,
		.bytes = request->bytes,
	};
	return &room->disk;
}

/* What the disk has done by the time it has taken them is shown to the driver with the burst. */
static void submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
	const struct export *export = opaque;
	struct export_queue *q = &export->queues[queue];
	struct disk_request *burst[BURST];
	unsigned filled = 0;

	for (unsigned i = 0; i < count; i++) {
		if (unlikely(disk_op(requests[i]->type) == DISK_OPS || requests[i]->iov_count > IOV_MAX)) {
			vireo_blk_complete(requests[i], disk_op(requests[i]->type) == DISK_OPS ? -EOPNOTSUPP : -EINVAL);
			continue;
		}
		burst[filled++] = room_fill(requests[i]);
		if (filled == BURST) {
			disk_queue_submit(q->disk, burst, filled);
			filled = 0;
		}
	}
	if (filled)
		disk_queue_submit(q->disk, burst, filled);
	reap(q);
}

/* It has been asked to renew: told once that all that is in flight may stay. */
static void renew_look(struct export_queue *q)
{
	if (!vireo_blk_kept(q->export->blk, q->index))
		return;
	q->renewing = false;
	vireo_mailbox_post(q->export->exports->drained, &q->renewed);
}

/* It has been asked to end: told once that nothing is in flight. */
static void end_look(struct export_queue *q)
{
	const struct export *export = q->export;

	reap(q);
	vireo_blk_flush(export->blk, q->index); /* which may submit further ranges */
	if (q->told || disk_queue_pending(q->disk) || vireo_blk_in_flight(export->blk, q->index))
		return;
	q->told = true;
	vireo_mailbox_post(export->exports->drained, &q->ended);
}

static int serve(struct worker *worker, struct source *source, struct source *next)
{
	struct export_queue *q = queue_of(source);
	struct vireo_blk *blk = q->export->blk;
	unsigned reaped;
	int taken;

	if (next)
		vireo_blk_expect(queue_of(next)->export->blk, queue_of(next)->index);
	reaped = reap(q);
	if (unlikely(q->renewing) && !q->ending)
		renew_look(q);
	if (likely(!q->ending && !q->broken)) {
		taken = vireo_blk_poll(blk, q->index, BURST);
		q->broken = taken < 0;
		return (int)reaped + (taken > 0 ? taken : 0);
	}
	/* Never dead as long as requests are in flight: the disk's fd is to be heard. */
	if (q->ending)
		end_look(q);
	else if (reaped)
		vireo_blk_flush(blk, q->index);
	return (int)reaped;
}

static bool arm(struct source *source, bool on)
{
	struct export_queue *q = queue_of(source);
	bool done = disk_queue_arm(q->disk, on);

	if (q->ending || q->broken)
		return done;
	return vireo_blk_kick_enable(q->export->blk, q->index, on) || done;
}

static const struct source_ops source_ops = {.serve = serve, .arm = arm};

static void end(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(container_of(letter, struct worker_letter, letter), struct export_queue, end);

	q->ending = true;
	disk_queue_hurry(q->disk); /* limits are not a reason to wait for */
	end_look(q);
}

static void cancel(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(container_of(letter, struct worker_letter, letter), struct export_queue, cancel);

	if (!q->told) {
		disk_queue_cancel(q->disk);
		end_look(q);
	}
	__atomic_store_n(&q->cancelled, true, __ATOMIC_RELEASE); /* the control thread may take it out of the crew from here on */
}

/* A pop makes the ring go by the memory that is left. */
static void renew(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(container_of(letter, struct worker_letter, letter), struct export_queue, renew);

	if (!q->broken)
		q->broken = vireo_blk_poll(q->export->blk, q->index, BURST) < 0;
	q->renewing = true;
	renew_look(q);
}

static void letter_dropped(struct worker_letter *letter)
{
}

/* ---- the control thread ---- */

static void settle(struct export_queue *q);

static void renew_end(struct export_queue *q)
{
	bool waits = q->renew_waits;

	q->renew_waits = false;
	if (waits)
		vireo_blk_queue_renewed(q->export->blk, q->index);
}

static void left(struct crew_member *member)
{
	struct export_queue *q = container_of(member, struct export_queue, member);

	disk_queue_close(q->disk);
	q->disk = NULL;
	q->joined = q->leaving = false;
	renew_end(q); /* its worker has ended before it could answer, and nothing is in flight any more */
	settle(q);
}

/* Nothing is in flight, and no letter is on its way to the worker. */
static void drained_look(struct export_queue *q)
{
	if (!q->drained || (q->cancel_sent && !__atomic_load_n(&q->cancelled, __ATOMIC_ACQUIRE)))
		return;
	q->drained = q->cancel_sent = false;
	crew_remove(&q->member, left);
}

static void ended(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(letter, struct export_queue, ended);

	q->drained = true;
	drained_look(q);
	if (q->drained)
		loop_timer_start(q->export->patience, LOOK_MS);
}

static void letter_send(struct export_queue *q, struct worker_letter *letter, void (*deliver)(struct vireo_letter *letter))
{
	*letter = (struct worker_letter){.letter.deliver = deliver, .drop = letter_dropped};
	worker_post(q->member.source.worker, letter);
}

static bool wanted(const struct export_queue *q);

static void leave(struct export_queue *q)
{
	struct export *export = q->export;

	q->leaving = true;
	q->drained = q->cancel_sent = false;
	q->cancel_at_ms = clock_now_ms() + CANCEL_MS;
	q->ended.deliver = ended;
	letter_send(q, &q->end, end);
	loop_timer_start(export->patience, LOOK_MS);
}

/* Returns whether it is to be looked at again. */
static bool leaving_look(struct export_queue *q)
{
	if (!q->leaving)
		return false;
	if (q->drained) {
		drained_look(q);
	} else if (!q->cancel_sent && !wanted(q) && clock_now_ms() >= q->cancel_at_ms) { /* one that comes back waits for its results */
		log_warning(&q->export->log, "its disk does not answer: what waits in queue %u, which is being stopped, gets an I/O error; what the disk holds is waited for",
			    q->index);
		q->cancel_sent = true;
		letter_send(q, &q->cancel, cancel);
	}
	return !q->cancel_sent || q->drained;
}

static void patience_over(void *opaque)
{
	struct export *export = opaque;
	bool again = false;

	for (unsigned i = 0; i < export->queue_count; i++)
		again |= leaving_look(&export->queues[i]);
	if (again)
		loop_timer_start(export->patience, LOOK_MS);
}

static void renewed(struct vireo_letter *letter)
{
	renew_end(container_of(letter, struct export_queue, renewed));
}

static int join(struct export_queue *q)
{
	struct export *export = q->export;
	int err = disk_queue_open(export->disk->disk, DEPTH, &q->disk);

	if (err)
		return err;
	q->ending = q->broken = q->told = q->stale = q->renewing = q->cancelled = false;
	source_init(&q->member.source, &source_ops, vireo_blk_kick_fd(export->blk, q->index));
	source_also(&q->member.source, disk_queue_fd(q->disk));
	err = crew_add(export->exports->crew, &q->member);
	if (err) {
		disk_queue_close(q->disk);
		q->disk = NULL;
	}
	q->joined = !err;
	return err;
}

/* A queue that is disabled is not served: what waits there is looked at when it comes again. */
static bool wanted(const struct export_queue *q)
{
	const struct vireo_queue *queue = vireo_device_queue(vireo_blk_device(q->export->blk), q->index);

	return q->running && queue && vireo_queue_enabled(queue);
}

static void settle(struct export_queue *q)
{
	int err;

	if (q->leaving)
		return; /* left() comes back here */
	if (wanted(q) && !q->joined) {
		err = join(q);
		if (err == -EBUSY) /* its disk has said who it waits for */
			retry_wait(&q->export->retry, BUSY_MS);
		else if (err)
			retry_later(&q->export->retry, q->index, err);
	} else if (q->joined && (q->stale || !wanted(q))) {
		leave(q);
	} else if (q->stopping) {
		q->stopping = false;
		vireo_blk_queue_quiesced(q->export->blk, q->index);
	}
}

void export_queues_settle(struct export *export)
{
	for (unsigned i = 0; i < export->queue_count && !export->closing; i++)
		settle(&export->queues[i]);
}

void export_queues_reopen(struct export *export)
{
	for (unsigned i = 0; i < export->queue_count; i++)
		export->queues[i].stale = export->queues[i].joined;
	export_queues_settle(export);
}

static void queue_started(void *opaque, unsigned queue)
{
	const struct export *export = opaque;

	export->queues[queue].running = true;
	settle(&export->queues[queue]);
}

static void queue_stop(void *opaque, unsigned queue)
{
	const struct export *export = opaque;
	struct export_queue *q = &export->queues[queue];

	q->running = false;
	q->stopping = true;
	settle(q);
}

static int queue_renew(void *opaque, unsigned queue)
{
	const struct export *export = opaque;
	struct export_queue *q = &export->queues[queue];

	if (!q->joined || q->leaving)
		return -EOPNOTSUPP;
	q->renewed.deliver = renewed;
	q->renew_waits = true;
	letter_send(q, &q->renew, renew);
	return 0;
}

static void queue_enabled(void *opaque, unsigned queue, bool enabled)
{
	const struct export *export = opaque;

	settle(&export->queues[queue]);
}

static const struct vireo_blk_ops blk_ops = {
	.size = sizeof(blk_ops),
	.submit = submit,
	.queue_started = queue_started,
	.queue_stop = queue_stop,
	.queue_enabled = queue_enabled,
	.queue_renew = queue_renew,
};

/* ---- the device ---- */

bool export_read_only(const struct export *export)
{
	struct disk_info info;

	disk_info_get(export->disk->disk, &info);
	return export->spec.use.read_only || info.read_only;
}

int export_blk_new(struct export *export)
{
	const struct export_spec *spec = &export->spec;
	const struct exports *exports = export->exports;
	struct disk_info info;
	struct vireo_blk_config config = {
		.size = sizeof(config),
		.read_only = export_read_only(export),
		.write_cache_fixed = spec->at.kind->endpoint == &endpoint_vduse, /* the kernel refuses the feature */
		.serial = *spec->serial ? spec->serial : export->disk->spec.name,
		.queues = export->queue_count,
		.features_off = spec->at.endpoint.ring_features_off,
		.request_room_bytes = sizeof(struct room),
		.ops = &blk_ops,
		.opaque = export,
		.log = logger_log(&export->peer_logger),
		.name = spec->at.name,
		.faults = exports->faults,
		.notifier = exports->notifier,
		.memory = exports->memory,
		.memory_max_bytes = spec->at.endpoint.memory_max_bytes,
	};
	char serial[EXPORT_SERIAL_BYTES + 1];

	snprintf(serial, sizeof(serial), "%.*s", (int)EXPORT_SERIAL_BYTES, config.serial);
	config.serial = serial;
	disk_info_get(export->disk->disk, &info);
	config.capacity_bytes = info.size_bytes;
	config.block_bytes = config.request_align_bytes = info.logical_block_bytes;
	config.physical_block_bytes = info.physical_block_bytes;
	config.io_opt_bytes = info.optimal_io_bytes;
	config.discard = info.can_discard;
	config.discard_align_bytes = info.discard_granularity_bytes;
	config.discard_bytes_max = info.discard_max_bytes;
	config.zeroes = true;
	config.zeroes_unmap = info.zero_unmaps;
	config.zeroes_bytes_max = info.zero_max_bytes;
	return vireo_blk_new(&config, &export->blk);
}

int export_queues_new(struct export *export)
{
	export->queues = aligned_alloc(CACHE_LINE_BYTES, export->queue_count * sizeof(*export->queues));
	if (!export->queues)
		return -ENOMEM;
	memset(export->queues, 0, export->queue_count * sizeof(*export->queues));
	for (unsigned i = 0; i < export->queue_count; i++) {
		export->queues[i].export = export;
		export->queues[i].index = i;
	}
	return loop_timer_new(export->exports->loop, patience_over, export, &export->patience);
}

void export_queues_free(struct export *export)
{
	if (export->patience)
		loop_timer_free(&export->patience);
	free(export->queues);
}

int export_queue_worker(const struct export *export, unsigned queue)
{
	const struct export_queue *q = &export->queues[queue];

	return q->joined ? (int)q->member.source.worker->index : -1;
}
