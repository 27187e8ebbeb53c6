/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a block device's queue and a disk's queue do for each other; the life of both is store/export_queue.c's. A request goes from submit()
 * to the disk in the room that the device has for us, and from reap() back.
 */
#include "blk_export.h"
#include "base/log.h"
#include "disk/disk.h"
#include "blk_zones.h"
#include "report.h"
#include "store/export_queue.h"
#include "store/holding.h"
#include "store/store.h"
#include "vireo/blk.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

#define DEPTH 128u /* of a disk's queue; what goes beyond waits there */

struct blk_queue {
	struct export_queue queue; /* first */
	struct vireo_blk *blk; /* while it is open */
	struct disk_queue *disk;
};

/* The disk's request lies in the room that the device has for us in each of its own. */
struct room {
	struct disk_request disk;
	struct vireo_blk_request *blk;
};

static struct blk_queue *blk_queue_of(const struct export_queue *queue)
{
	return (struct blk_queue *)(uintptr_t)queue;
}

/* ---- workers ---- */

static unsigned reap(struct export_queue *queue)
{
	const struct blk_queue *q = blk_queue_of(queue);
	struct disk_request *done[EXPORT_BURST];
	unsigned count = disk_queue_reap(q->disk, done, EXPORT_BURST);

	for (unsigned i = 0; i < count; i++) {
		struct room *room = container_of(done[i], struct room, disk);

		if (unlikely(room->disk.flags & DISK_APPEND) && room->disk.op == DISK_WRITE)
			room->blk->offset_bytes = room->disk.offset;
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
	case VIREO_BLK_ZONE_APPEND:
		return DISK_WRITE;
	case VIREO_BLK_FLUSH:
		return DISK_FLUSH;
	case VIREO_BLK_DISCARD:
		return DISK_DISCARD;
	case VIREO_BLK_WRITE_ZEROES:
		return DISK_ZERO;
	case VIREO_BLK_SECURE_ERASE:
		return DISK_ERASE;
	default:
		return blk_zone_act(type) >= 0 ? DISK_ZONE : DISK_OPS;
	}
}

static uint8_t disk_flags(const struct vireo_blk_request *request, uint8_t op)
{
	if (unlikely(op == DISK_ZONE))
		return (uint8_t)blk_zone_act(request->type);
	return (request->flags & VIREO_BLK_FUA ? DISK_FUA : 0) | (request->flags & VIREO_BLK_UNMAP ? DISK_UNMAP : 0) |
	       (request->type == VIREO_BLK_ZONE_APPEND ? DISK_APPEND : 0);
}

static struct disk_request *room_fill(struct vireo_blk_request *request)
{
	struct room *room = request->room;

	room->blk = request;
	room->disk = (struct disk_request){
		.op = disk_op(request->type),
		.flags = disk_flags(request, disk_op(request->type)),
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
	struct blk_queue *q = blk_queue_of(export_queue(opaque, queue));
	struct disk_request *burst[EXPORT_BURST];
	unsigned filled = 0;

	for (unsigned i = 0; i < count; i++) {
		if (unlikely(requests[i]->type == VIREO_BLK_ZONE_REPORT)) {
			blk_zones_report(blk_export_of(q->queue.export)->disk->disk, requests[i]);
			continue;
		}
		if (unlikely(disk_op(requests[i]->type) == DISK_OPS || requests[i]->iov_count > IOV_MAX)) {
			vireo_blk_complete(requests[i], disk_op(requests[i]->type) == DISK_OPS ? -EOPNOTSUPP : -EINVAL);
			continue;
		}
		burst[filled++] = room_fill(requests[i]);
		if (filled == EXPORT_BURST) {
			disk_queue_submit(q->disk, burst, filled);
			filled = 0;
		}
	}
	if (filled)
		disk_queue_submit(q->disk, burst, filled);
	reap(&q->queue);
}

static int poll_driver(struct export_queue *queue, unsigned max)
{
	return vireo_blk_poll(blk_queue_of(queue)->blk, queue->index, max);
}

static void flush(struct export_queue *queue)
{
	vireo_blk_flush(blk_queue_of(queue)->blk, queue->index);
}

static bool idle(const struct export_queue *queue)
{
	const struct blk_queue *q = blk_queue_of(queue);

	return !disk_queue_pending(q->disk) && !vireo_blk_in_flight(q->blk, queue->index);
}

static bool kept(struct export_queue *queue)
{
	return vireo_blk_kept(blk_queue_of(queue)->blk, queue->index);
}

static bool kick_enable(struct export_queue *queue, bool on)
{
	return vireo_blk_kick_enable(blk_queue_of(queue)->blk, queue->index, on);
}

/* What the device has in flight and the disk has not are ranges that wait for their turn. */
static bool arm(struct export_queue *queue, bool on)
{
	const struct blk_queue *q = blk_queue_of(queue);
	bool done = disk_queue_arm(q->disk, on);

	return done || (on && vireo_blk_in_flight(q->blk, queue->index) > disk_queue_pending(q->disk));
}

static void expect(const struct export_queue *queue)
{
	vireo_blk_expect(blk_queue_of(queue)->blk, queue->index);
}

static void hurry(struct export_queue *queue)
{
	disk_queue_hurry(blk_queue_of(queue)->disk);
}

static void cancel(struct export_queue *queue)
{
	disk_queue_cancel(blk_queue_of(queue)->disk);
}

/* ---- the control thread ---- */

static int queue_open(struct export_queue *queue)
{
	struct blk_queue *q = blk_queue_of(queue);
	const struct blk_export *e = blk_export_of(queue->export);
	int err = disk_hold_ask(queue->export->exports->store, e->disk);

	if (err)
		return err;
	q->blk = e->blk;
	return disk_queue_open(e->disk->disk, DEPTH, &q->disk);
}

static void queue_close(struct export_queue *queue)
{
	struct blk_queue *q = blk_queue_of(queue);

	disk_queue_close(q->disk);
	q->disk = NULL;
}

static void queue_closed(struct export_queue *queue)
{
	disk_hold_look(queue->export->exports->store, blk_export_of(queue->export)->disk);
}

static int back_fd(const struct export_queue *queue)
{
	return disk_queue_fd(blk_queue_of(queue)->disk);
}

static int kick_fd(const struct export_queue *queue)
{
	return vireo_blk_kick_fd(blk_queue_of(queue)->blk, queue->index);
}

static void quiesced(struct export_queue *queue)
{
	vireo_blk_queue_quiesced(blk_export_of(queue->export)->blk, queue->index);
}

static void renewed(struct export_queue *queue)
{
	vireo_blk_queue_renewed(blk_export_of(queue->export)->blk, queue->index);
}

static const struct export_queue_ops queue_ops = {
	.open = queue_open,
	.close = queue_close,
	.closed = queue_closed,
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

static const struct export_queue_ops *ops_of(const struct export *export, unsigned queue)
{
	return &queue_ops;
}

/* ---- the device ---- */

static const struct vireo_blk_ops blk_ops = {
	.size = sizeof(blk_ops),
	.submit = submit,
	.queue_started = export_queue_started,
	.queue_stop = export_queue_stop,
	.queue_enabled = export_queue_enabled,
	.queue_renew = export_queue_renew,
};

bool blk_export_read_only(const struct export *export)
{
	return blk_spec_of(export->spec)->use.read_only || store_disk_read_only(blk_export_of(export)->disk);
}

static int blk_new(struct export *export)
{
	const struct blk_spec *spec = blk_spec_of(export->spec);
	const struct spec *at = &spec->export.at;
	const struct exports *exports = export->exports;
	struct blk_export *e = blk_export_of(export);
	struct disk_info info;
	struct vireo_blk_config config = {
		.size = sizeof(config),
		.read_only = blk_export_read_only(export),
		.write_cache_fixed = at->kind->endpoint == &endpoint_vduse, /* the kernel refuses the feature */
		.serial = *spec->serial ? spec->serial : e->disk->spec.name,
		.lifetime = spec->lifetime_told ? &spec->lifetime : NULL,
		.queues = export->queue_count,
		.features_off = at->endpoint.ring_features_off,
		.request_room_bytes = sizeof(struct room),
		.ops = &blk_ops,
		.opaque = export,
		.log = logger_log(&export->peer_logger),
		.name = at->name,
		.faults = exports->faults,
		.notifier = exports->notifier,
		.memory = exports->memory,
		.memory_max_bytes = at->endpoint.memory_max_bytes,
	};
	char serial[BLK_SERIAL_BYTES + 1];
	struct vireo_blk_zoned zoned;

	snprintf(serial, sizeof(serial), "%.*s", (int)BLK_SERIAL_BYTES, config.serial);
	config.serial = serial;
	disk_info_get(e->disk->disk, &info);
	config.capacity_bytes = info.size_bytes;
	config.block_bytes = config.request_align_bytes = info.logical_block_bytes;
	config.physical_block_bytes = info.physical_block_bytes;
	config.io_opt_bytes = info.optimal_io_bytes;
	config.discard = info.can_discard;
	config.discard_align_bytes = info.discard_granularity_bytes;
	config.discard_bytes_max = info.discard_max_bytes;
	config.secure_erase = info.can_erase;
	config.erase_align_bytes = info.discard_granularity_bytes;
	config.zeroes = true;
	config.zeroes_unmap = info.zero_unmaps;
	config.zeroes_bytes_max = info.zero_max_bytes;
	if (info.zones.zone_bytes) {
		zoned = blk_zoned(&info);
		config.zoned = &zoned;
	}
	return vireo_blk_new(&config, &e->blk);
}

static int export_open(struct export *export, char why[SPEC_WHY_BYTES])
{
	const struct blk_spec *spec = blk_spec_of(export->spec);
	struct blk_export *e = blk_export_of(export);
	struct disks *disks = &export->exports->store->disks;
	struct store_disk *disk = disks_find(disks, spec->disk);
	int err;

	if (!disk) {
		snprintf(why, SPEC_WHY_BYTES, "there is no disk '%s': add it first", spec->disk);
		return -ENOENT;
	}
	err = disk_may_use(disks, disk, &spec->use, why);
	if (err)
		return err;
	disk_use(disks, disk, &spec->use);
	e->disk = disk;
	err = blk_new(export);
	if (!err)
		export->device = vireo_blk_device(e->blk);
	return err;
}

static void export_close(struct export *export)
{
	struct blk_export *e = blk_export_of(export);

	vireo_blk_free(e->blk);
	if (e->disk)
		disk_unuse(e->disk, &blk_spec_of(export->spec)->use);
}

static const char *subject(const struct export *export, char text[SPEC_WHY_BYTES])
{
	snprintf(text, SPEC_WHY_BYTES, ", disk %s", blk_spec_of(export->spec)->disk);
	return text;
}

const struct export_kind blk_export_kind = {
	.specs = &blk_spec_kinds,
	.export_bytes = sizeof(struct blk_export),
	.queue_bytes = sizeof(struct blk_queue),
	.queues = blk_spec_queues,
	.queue_ops = ops_of,
	.open = export_open,
	.close = export_close,
	.subject = subject,
	.brief = report_blk_brief,
	.full = report_blk_full,
};

/* ---- disk news ---- */

void blk_exports_disk_resized(struct store *store, const struct store_disk *disk)
{
	for (struct export *e = store->exports.first; e; e = e->next) {
		const struct blk_export *blk = blk_export_of(e);

		if (blk->disk != disk || vireo_blk_capacity(blk->blk) == store_disk_bytes(disk))
			continue;
		if (!vireo_blk_resize(blk->blk, store_disk_bytes(disk)))
			log_info(&e->log, "its disk has %" PRIu64 " bytes now", store_disk_bytes(disk));
	}
}

void blk_exports_disk_layered(struct store *store, const struct store_disk *disk)
{
	for (struct export *e = store->exports.first; e; e = e->next)
		if (blk_export_of(e)->disk == disk)
			export_queues_reopen(e);
}

void blk_exports_disk_held(struct store *store, const struct store_disk *disk, int err)
{
	for (struct export *e = store->exports.first; e; e = e->next)
		if (blk_export_of(e)->disk != disk)
			continue;
		else if (err)
			export_queues_held_up(e, err);
		else
			export_queues_settle(e);
}

bool blk_exports_disk_wanted(const struct store *store, const struct store_disk *disk)
{
	for (const struct export *e = store->exports.first; e; e = e->next)
		if (blk_export_of(e)->disk == disk && export_queues_wanted(e))
			return true;
	return false;
}
