/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"
#include "model/blk/blk_internal.h"
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The block device (virtio 1.3, 5.2) in the control thread: its life, what the driver agrees on, and the passing on of what the
 * application has to know.
 *
 * The write cache. A driver that can flush gets completions from the cache. One that cannot - it has not accepted FLUSH, as firmware does
 * not - takes what is completed for stable, and so does one that has switched the cache off (CONFIG_WCE). Then all that writes is
 * submitted with VIREO_BLK_FUA.
 *
 * What the driver has said of the cache is all the state that goes to a device which goes on from this one: one byte, as the field in the
 * config space has it, or none where it holds what a driver begins with. It is kept, and put in its place again after each SET_FEATURES,
 * until a queue runs or the driver says something else. A reset forgets it.
 */

#define BLK_DEVICE_ID 2u

/* ---- the write cache ---- */

static void writeback_apply(struct vireo_blk *blk, bool on)
{
	bool had = vireo_blk_writeback(blk);

	__atomic_store_n(&blk->write_flags, on ? 0 : VIREO_BLK_FUA, __ATOMIC_RELAXED);
	if (on != had && blk->ops.writeback_set)
		blk->ops.writeback_set(blk->opaque, on);
}

bool vireo_blk_writeback(const struct vireo_blk *blk)
{
	return !(__atomic_load_n(&blk->write_flags, __ATOMIC_RELAXED) & VIREO_BLK_FUA);
}

/* 5.2.5.2: without FLUSH it begins as write-through. A device that cannot be told to flush promises nothing, as no driver could ask. */
static void writeback_begin(struct vireo_blk *blk)
{
	bool flushes = blk->features_offered & VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT);
	bool on = !flushes || blk_has(blk, VIREO_BLK_F_FLUSH_BIT);
	uint8_t told = flushes && (on || !blk_has(blk, VIREO_BLK_F_CONFIG_WCE_BIT));

	device_config_put(blk->device, offsetof(struct virtio_blk_config_space, writeback), &told, 1);
	writeback_apply(blk, on);
}

/* The driver may write the one field alone; what is around it may come along, if it stays what it is. */
static int blk_config_write(void *opaque, uint32_t offset, const void *data, uint32_t bytes)
{
	const uint32_t at = offsetof(struct virtio_blk_config_space, writeback);
	struct virtio_blk_config_space space;
	struct vireo_blk *blk = opaque;
	const uint8_t *new = data;

	if (!blk_has(blk, VIREO_BLK_F_CONFIG_WCE_BIT) || offset > at || bytes <= at - offset || bytes > sizeof(space))
		return -EPERM;
	if (new[at - offset] > 1 || device_config_read(blk->device, offset, &space, bytes))
		return -EINVAL;
	((uint8_t *)&space)[at - offset] = new[at - offset];
	if (memcmp(&space, data, bytes) != 0)
		return -EPERM;
	writeback_apply(blk, new[at - offset]);
	blk->cache_kept = BLK_CACHE_UNSAID;
	return 0;
}

static void writeback_put_back(struct vireo_blk *blk)
{
	uint8_t told = blk->cache_kept == BLK_CACHE_ON;

	if (blk->cache_kept == BLK_CACHE_UNSAID || !blk_has(blk, VIREO_BLK_F_CONFIG_WCE_BIT))
		return;
	device_config_put(blk->device, offsetof(struct virtio_blk_config_space, writeback), &told, 1);
	writeback_apply(blk, told);
}

static int blk_state_save(void *opaque, void *data, size_t room)
{
	struct vireo_blk *blk = opaque;
	bool on = vireo_blk_writeback(blk), said = blk_has(blk, VIREO_BLK_F_CONFIG_WCE_BIT) && on != blk_has(blk, VIREO_BLK_F_FLUSH_BIT);

	if (blk->cache_kept == BLK_CACHE_UNSAID && said)
		blk->cache_kept = on ? BLK_CACHE_ON : BLK_CACHE_OFF;
	if (blk->cache_kept == BLK_CACHE_UNSAID)
		return 0;
	*(uint8_t *)data = blk->cache_kept == BLK_CACHE_ON;
	return 1;
}

static int blk_state_load(void *opaque, const void *data, size_t bytes, const char **why)
{
	struct vireo_blk *blk = opaque;
	uint8_t on = bytes ? *(const uint8_t *)data : 0;

	if (bytes > BLK_STATE_BYTES_MAX || on > 1) {
		*why = "its write cache is neither on nor off";
		return -EINVAL;
	}
	blk->cache_kept = !bytes ? BLK_CACHE_UNSAID : on ? BLK_CACHE_ON : BLK_CACHE_OFF;
	writeback_put_back(blk);
	return 0;
}

/* ---- negotiation ---- */

static void blk_features_apply(struct vireo_blk *blk, uint64_t features)
{
	blk->features = features;
	writeback_begin(blk);
}

/* 5.2.5.2: a host-managed device is not for a driver that does not accept it; and a legacy driver cannot. */
static bool zones_known(uint64_t features)
{
	const uint64_t needed = VIREO_FEATURE(VIREO_BLK_F_ZONED_BIT) | VIREO_FEATURE(VIREO_F_VERSION_1_BIT);

	return (features & needed) == needed;
}

static int blk_features_set(void *opaque, uint64_t features)
{
	struct vireo_blk *blk = opaque;

	if (blk->zoned.zone_bytes && !zones_known(features)) {
		log_warning(device_log(blk->device), "%s: its driver does not know ZONED, and a disk that is written by zones is for drivers that do: "
			    "Linux from 6.3 on, behind a front end that passes the feature on", device_name(blk->device));
		return -EINVAL;
	}
	blk_features_apply(blk, features);
	writeback_put_back(blk);
	if (blk->ops.negotiated)
		blk->ops.negotiated(blk->opaque, features);
	return 0;
}

static void blk_reset(void *opaque)
{
	struct vireo_blk *blk = opaque;

	blk->cache_kept = BLK_CACHE_UNSAID;
	blk_features_apply(blk, 0);
	if (blk->ops.reset)
		blk->ops.reset(blk->opaque);
}

static void blk_connected(void *opaque, bool connected)
{
	struct vireo_blk *blk = opaque;

	blk->cache_kept = BLK_CACHE_UNSAID;
	blk_features_apply(blk, 0);
	if (blk->ops.connected)
		blk->ops.connected(blk->opaque, connected);
}

static void blk_memory_changed(void *opaque)
{
	struct vireo_blk *blk = opaque;

	if (blk->ops.memory_changed)
		blk->ops.memory_changed(blk->opaque);
}

static int blk_postcopy(void *opaque, bool on)
{
	struct vireo_blk *blk = opaque;

	return blk->ops.postcopy ? blk->ops.postcopy(blk->opaque, on) : 0;
}

/* ---- queues ---- */

static void blk_queue_started(void *opaque, struct vireo_queue *queue)
{
	struct vireo_blk *blk = opaque;
	struct blk_queue *q = &blk->queue[vireo_queue_index(queue)];

	blk->cache_kept = BLK_CACHE_UNSAID;
	if (blk_slots_new(q, vireo_queue_size(queue))) {
		vireo_device_break(blk->device, "no memory for a queue");
		return;
	}
	q->at.queue = queue;
	if (blk->ops.queue_started)
		blk->ops.queue_started(blk->opaque, q->index);
}

static void blk_queue_stop(void *opaque, struct vireo_queue *queue)
{
	struct vireo_blk *blk = opaque;
	struct blk_queue *q = &blk->queue[vireo_queue_index(queue)];

	__atomic_store_n(&q->at.stopping, true, __ATOMIC_RELAXED);
	if (!q->at.queue) /* it could not be started */
		vireo_queue_quiesced(queue);
	else if (blk->ops.queue_stop)
		blk->ops.queue_stop(blk->opaque, q->index);
	else
		vireo_blk_queue_quiesced(blk, q->index);
}

void vireo_blk_queue_quiesced(struct vireo_blk *blk, unsigned queue)
{
	struct blk_queue *q = &blk->queue[queue];
	struct vireo_queue *running;

	assert(queue < blk->queues);
	running = q->at.queue;
	if (!running)
		return;
	blk_queue_finish(q);
	assert(!q->at.in_flight); /* the application still has a request */
	q->at.queue = NULL;
	shelf_free(&q->at);
	vireo_queue_quiesced(running);
}

static int blk_queue_renew(void *opaque, struct vireo_queue *queue)
{
	struct vireo_blk *blk = opaque;
	struct blk_queue *q = &blk->queue[vireo_queue_index(queue)];

	if (!q->at.queue || (blk->ops.queue_stop && !blk->ops.queue_renew))
		return -EOPNOTSUPP;
	if (blk->ops.queue_renew)
		return blk->ops.queue_renew(blk->opaque, q->index);
	blk_queue_finish(q);
	vireo_queue_renewed(queue);
	return 0;
}

void vireo_blk_queue_renewed(struct vireo_blk *blk, unsigned queue)
{
	assert(queue < blk->queues);
	if (blk->queue[queue].at.queue)
		vireo_queue_renewed(blk->queue[queue].at.queue);
}

static void blk_queue_enabled(void *opaque, struct vireo_queue *queue, bool enabled)
{
	struct vireo_blk *blk = opaque;

	if (blk->ops.queue_enabled)
		blk->ops.queue_enabled(blk->opaque, vireo_queue_index(queue), enabled);
}

/* ---- life ---- */

static const struct vireo_device_ops blk_device_ops = {
	.size = sizeof(blk_device_ops),
	.queue_started = blk_queue_started,
	.queue_stop = blk_queue_stop,
	.queue_renew = blk_queue_renew,
	.queue_enabled = blk_queue_enabled,
	.features_set = blk_features_set,
	.config_write = blk_config_write,
	.connected = blk_connected,
	.reset = blk_reset,
	.memory_changed = blk_memory_changed,
	.postcopy = blk_postcopy,
	.state_save = blk_state_save,
	.state_load = blk_state_load,
};

/* Requests of these types may come without a word from a peer that keeps the negotiation to itself. */
static uint64_t blk_features_untold(uint64_t offered)
{
	return offered & (VIREO_FEATURE(VIREO_BLK_F_DISCARD_BIT) | VIREO_FEATURE(VIREO_BLK_F_WRITE_ZEROES_BIT) |
			  VIREO_FEATURE(VIREO_BLK_F_SECURE_ERASE_BIT) | VIREO_FEATURE(VIREO_BLK_F_LIFETIME_BIT));
}

static int blk_device_new(struct vireo_blk *blk, const struct vireo_blk_config *config)
{
	struct virtio_blk_config_space space = blk_space(config);
	const struct vireo_device_config device = {
		.size = sizeof(device),
		.device_id = BLK_DEVICE_ID,
		.features = blk->features_offered,
		.features_untold = blk_features_untold(blk->features_offered),
		.queue_count = config->queues,
		.queue_size_max = config->queue_size_max,
		.config = &space,
		.config_bytes = sizeof(space),
		.state_bytes_max = BLK_STATE_BYTES_MAX,
		.ops = &blk_device_ops,
		.opaque = blk,
		.out_of_order = true,
		.log = config->log,
		.name = config->name ? config->name : "blk",
		.faults = config->faults,
		.notifier = config->notifier,
		.memory = config->memory,
		.memory_max_bytes = config->memory_max_bytes,
	};

	return vireo_device_new(&device, &blk->device);
}

static void lifetime_store(struct vireo_blk *blk, const struct vireo_blk_lifetime *lifetime)
{
	uint64_t words = lifetime->pre_eol_info | (uint64_t)lifetime->used_a << 16 | (uint64_t)lifetime->used_b << 32;

	__atomic_store_n(&blk->lifetime, words, __ATOMIC_RELAXED);
}

static void blk_fill(struct vireo_blk *blk, const struct vireo_blk_config *config)
{
	blk->opaque = config->opaque;
	blk->queues = config->queues;
	blk->features_offered = blk_features_offered(config);
	blk->align_mask = config->request_align_bytes - 1;
	blk->room_bytes = config->request_room_bytes;
	blk->segments_max = config->segments_max;
	blk->read_only = config->read_only;
	blk->discard = (struct blk_range_limit){ config->discard_bytes_max, config->discard_ranges_max };
	blk->zeroes = (struct blk_range_limit){ config->zeroes_bytes_max, config->zeroes_ranges_max };
	blk->erase = (struct blk_range_limit){ config->erase_bytes_max, config->erase_ranges_max };
	if (config->zoned)
		blk->zoned = *config->zoned;
	blk->sectors = config->capacity_bytes / BLK_SECTOR_BYTES;
	if (config->serial)
		memcpy(blk->id, config->serial, strnlen(config->serial, sizeof(blk->id)));
	if (config->lifetime)
		lifetime_store(blk, config->lifetime);
	for (unsigned i = 0; i < blk->queues; i++) {
		blk->queue[i].blk = blk;
		blk->queue[i].index = i;
	}
}

static int blk_new(const struct vireo_blk_config *config, struct vireo_blk **ret_blk)
{
	size_t bytes = sizeof(struct vireo_blk) + config->queues * sizeof(struct blk_queue);
	struct vireo_blk *blk = aligned_alloc(_Alignof(struct vireo_blk), bytes);
	int r;

	if (!blk)
		return -ENOMEM;
	memset(blk, 0, bytes);
	blk_fill(blk, config);
	r = config_copy(&blk->ops, sizeof(blk->ops), config->ops);
	if (!r && !blk->ops.submit)
		r = -EINVAL;
	if (!r)
		r = blk_device_new(blk, config);
	if (r) {
		free(blk);
		return r;
	}
	*ret_blk = blk;
	return 0;
}

int vireo_blk_new(const struct vireo_blk_config *config, struct vireo_blk **ret_blk)
{
	struct vireo_blk_config copy;
	int r = config_copy(&copy, sizeof(copy), config);

	if (!r)
		r = blk_config_check(&copy);
	return r ? r : blk_new(&copy, ret_blk);
}

void vireo_blk_free(struct vireo_blk *blk)
{
	if (!blk)
		return;
	vireo_device_free(blk->device);
	for (unsigned i = 0; i < blk->queues; i++)
		shelf_free(&blk->queue[i].at);
	free(blk);
}

struct vireo_device *vireo_blk_device(struct vireo_blk *blk)
{
	return blk->device;
}

/* ---- for the application ---- */

int vireo_blk_resize(struct vireo_blk *blk, uint64_t capacity_bytes)
{
	uint64_t capacity = htole64(capacity_bytes / BLK_SECTOR_BYTES);

	if (capacity_bytes % BLK_SECTOR_BYTES)
		return -EINVAL;
	__atomic_store_n(&blk->sectors, capacity_bytes / BLK_SECTOR_BYTES, __ATOMIC_RELAXED);
	return vireo_device_config_set(blk->device, offsetof(struct virtio_blk_config_space, capacity), &capacity,
				       sizeof(capacity));
}

uint64_t vireo_blk_capacity(const struct vireo_blk *blk)
{
	return __atomic_load_n(&blk->sectors, __ATOMIC_RELAXED) * BLK_SECTOR_BYTES;
}

int vireo_blk_lifetime_set(struct vireo_blk *blk, const struct vireo_blk_lifetime *lifetime)
{
	if (!(blk->features_offered & VIREO_FEATURE(VIREO_BLK_F_LIFETIME_BIT)))
		return -EOPNOTSUPP;
	if (blk_lifetime_check(lifetime))
		return -EINVAL;
	lifetime_store(blk, lifetime);
	return 0;
}

void vireo_blk_queue_stats(const struct vireo_blk *blk, unsigned queue, struct vireo_blk_queue_stats *ret_stats)
{
	struct vireo_blk_queue_stats stats = { .size = sizeof(stats) };
	const uint64_t *from = queue < blk->queues ? &blk->queue[queue].stats.reads : NULL;

	_Static_assert(sizeof(stats) == offsetof(struct vireo_blk_queue_stats, zone_commands) + sizeof(uint64_t), "counters alone");
	for (size_t at = offsetof(struct vireo_blk_queue_stats, reads); from && at < sizeof(stats); at += sizeof(*from)) {
		uint64_t value = counter_read(from++);

		memcpy((char *)&stats + at, &value, sizeof(value));
	}
	stats.size = min_u64(stats.size, ret_stats->size);
	memcpy(ret_stats, &stats, stats.size);
}
