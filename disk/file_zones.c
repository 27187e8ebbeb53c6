/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block device that is written by zones. The kernel knows no append for who is not a file system, and says of a write that went wrong
 * no more than that it did; so pointers and states are followed here (zones.h): they are read when the device is opened, move with each
 * request, and are read anew of a zone in which something has failed. Nobody else writes to the device: it has been opened for us alone.
 *
 * Whatever writes to a zone, or changes its state, waits for what does so already. A queue has one thread for these, so that they
 * come to the device in the order in which they came to the queue.
 *
 * A process that was killed may have written what its driver has heard nothing of, and asks the next process for again. By then the
 * pointer is behind it. So a write into what was found in a zone that nobody has touched since is done if it is the same as what is
 * there, and goes on behind that.
 */
#include "base/log.h"
#include "disk/file.h"
#include "disk/zones.h"
#include <inttypes.h>
#include <linux/blkzoned.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define LOCKS 16u /* zones share them */
#define REPORT_ZONES 256u
#define COMPARE_BYTES (256u << 10)

struct file_zones {
	struct zones *zones;
	uint64_t zone_bytes, disk_bytes;
	uint32_t write_mask;
	pthread_mutex_t lock[LOCKS]; /* held while a zone is written to; RESET_ALL takes them all, in order */
};

static pthread_mutex_t *lock_of(struct file_zones *z, uint64_t offset)
{
	return &z->lock[offset / z->zone_bytes % LOCKS];
}

/* ---- what the device says ---- */

static enum disk_zone_state state_of(const struct blk_zone *zone)
{
	switch (zone->cond) {
	case BLK_ZONE_COND_NOT_WP:
		return DISK_ZONE_CONVENTIONAL;
	case BLK_ZONE_COND_EMPTY:
		return DISK_ZONE_EMPTY;
	case BLK_ZONE_COND_IMP_OPEN:
		return DISK_ZONE_OPENED_BY_WRITE;
	case BLK_ZONE_COND_EXP_OPEN:
		return DISK_ZONE_OPENED;
	case BLK_ZONE_COND_CLOSED:
		return DISK_ZONE_CLOSED;
	case BLK_ZONE_COND_FULL:
		return DISK_ZONE_FULL;
	case BLK_ZONE_COND_READONLY:
		return DISK_ZONE_READ_ONLY;
	default:
		return DISK_ZONE_OFFLINE;
	}
}

/* The pointer of a zone that is full, or that has none, is anything. */
static struct disk_zone zone_of(const struct blk_zone_report *report, const struct blk_zone *zone)
{
	enum disk_zone_state state = state_of(zone);
	uint64_t capacity = report->flags & BLK_ZONE_REP_CAPACITY ? zone->capacity : zone->len;
	bool points = zone->wp >= zone->start && zone->wp - zone->start <= capacity && state != DISK_ZONE_CONVENTIONAL;
	uint64_t pointer = points ? zone->wp : zone->start;

	if (state == DISK_ZONE_FULL)
		pointer = zone->start + capacity;
	return (struct disk_zone){
		.start_bytes = zone->start * DISK_SECTOR_BYTES,
		.length_bytes = zone->len * DISK_SECTOR_BYTES,
		.capacity_bytes = capacity * DISK_SECTOR_BYTES,
		.pointer_bytes = pointer * DISK_SECTOR_BYTES,
		.state = state,
	};
}

/* Those of up to `count` zones, from the one that begins at this byte on. Returns where they end, or -errno. */
static int64_t report(const struct file_disk *file, struct blk_zone_report *room, uint64_t offset, uint32_t count, bool first)
{
	const struct file_zones *z = file->zones;
	uint64_t end = offset;

	room->sector = offset / DISK_SECTOR_BYTES;
	room->nr_zones = count;
	room->flags = 0;
	if (ioctl(file->fd, BLKREPORTZONE, room))
		return -errno;
	for (uint32_t i = 0; i < room->nr_zones && i < count; i++) {
		struct disk_zone zone = zone_of(room, &room->zones[i]);

		/* Each where the last one ended, and as long as all are. */
		if (zone.start_bytes != end || zone.length_bytes != min_u64(z->zone_bytes, z->disk_bytes - end) ||
		    zone.capacity_bytes > zone.length_bytes)
			return -EPROTO;
		zones_put(z->zones, &zone, first);
		end += zone.length_bytes;
	}
	return end > offset ? (int64_t)end : -EPROTO;
}

static struct blk_zone_report *report_room(uint32_t count)
{
	return calloc(1, sizeof(struct blk_zone_report) + count * sizeof(struct blk_zone));
}

static int report_all(const struct file_disk *file)
{
	struct blk_zone_report *room = report_room(REPORT_ZONES);
	int64_t at = room ? 0 : -ENOMEM;

	while (at >= 0 && (uint64_t)at < file->zones->disk_bytes)
		at = report(file, room, (uint64_t)at, REPORT_ZONES, true);
	free(room);
	return at < 0 ? (int)at : 0;
}

/* Something has failed there. Under the zone's lock. */
static void look_again(const struct file_disk *file, uint64_t offset)
{
	struct blk_zone_report *room = report_room(1);
	int64_t at = room ? report(file, room, offset - offset % file->zones->zone_bytes, 1, false) : -ENOMEM;

	free(room);
	if (at < 0)
		log_error(&file->disk.config.log, "its zone at byte %" PRIu64 " cannot be looked at: %s: writes to it may be refused",
			  offset, strerror((int)-at));
}

/* ---- requests ---- */

/* Blocks of the device's writes are those of sequential zones. */
static bool is_unaligned(const struct file_zones *z, const struct disk_request *r)
{
	uint64_t at = r->flags & DISK_APPEND ? 0 : r->offset;

	return ((at | r->bytes) & z->write_mask) && !zones_is_conventional(z->zones, r->offset);
}

int file_zones_problem(const struct file_disk *file, const struct disk_request *r)
{
	const struct file_zones *z = file->zones;

	if (r->op == DISK_ZONE)
		return zones_act_problem(z->zones, r->flags, r->offset);
	if (r->op > DISK_WRITE)
		return 0;
	if (!r->bytes)
		return r->flags & DISK_APPEND ? -EBADRQC : 0;
	if (r->op == DISK_READ)
		return zones_read(z->zones, r->offset, r->bytes);
	return is_unaligned(z, r) ? -EILSEQ : 0;
}

/* Is that what the request's memory has from its beginning on? */
static bool memory_has(const struct disk_request *r, uint64_t skip, const uint8_t *bytes, uint64_t count)
{
	for (uint32_t i = 0; i < r->iov_count && count; i++) {
		uint64_t len = r->iov[i].iov_len, over = min_u64(skip, len), part = min_u64(len - over, count);

		if (part && memcmp((const uint8_t *)r->iov[i].iov_base + over, bytes, part) != 0)
			return false;
		skip -= over;
		bytes += part;
		count -= part;
	}
	return !count;
}

static bool device_has(struct file_disk *file, const struct disk_request *r, uint64_t count)
{
	uint64_t room = min_u64(COMPARE_BYTES, align_up(count, file->memory_align));
	uint8_t *buffer = aligned_alloc(file->memory_align, room);
	bool same = buffer;

	for (uint64_t done = 0; same && done < count;) {
		struct iovec iov = {buffer, min_u64(room, count - done)};
		struct disk_request part = {.op = DISK_READ, .offset = r->offset + done, .bytes = iov.iov_len, .iov = &iov, .iov_count = 1};

		same = !file_transfer(file, &part, 0) && memory_has(r, done, buffer, iov.iov_len);
		done += iov.iov_len;
	}
	free(buffer);
	return same;
}

/* How much of it a process before us has written: nothing, of one that runs into the next zone, for none has ever been done. */
static uint64_t done_before(struct file_disk *file, const struct disk_request *r)
{
	const struct file_zones *z = file->zones;
	bool could = !(r->flags & DISK_APPEND) && r->bytes <= z->zone_bytes - r->offset % z->zone_bytes;
	uint64_t found = could ? zones_found(z->zones, r->offset) : 0;
	uint64_t count = found > r->offset ? min_u64(found - r->offset, r->bytes) : 0;

	return count && device_has(file, r, count) ? count : 0;
}

/* Under the zone's lock. */
static int zone_write(struct file_disk *file, struct disk_request *r)
{
	struct file_zones *z = file->zones;
	uint64_t done = 0, rest;
	int err = zones_write(z->zones, &r->offset, r->bytes, r->flags & DISK_APPEND);

	if (unlikely(err == -EILSEQ || err == -EBADRQC)) {
		done = done_before(file, r);
		rest = r->offset + done;
		if (done)
			err = done < r->bytes ? zones_write(z->zones, &rest, r->bytes - done, false) : 0;
	}
	if (err || done == r->bytes)
		return err;
	err = file_transfer(file, r, done);
	if (err)
		look_again(file, r->offset);
	return err;
}

/* ETOOMANYREFS and EOVERFLOW are the kernel's words for too many open or active zones, too. */
static int zone_act(struct file_disk *file, const struct disk_request *r)
{
	static const unsigned long requests[] = {
		[DISK_ZONE_OPEN] = BLKOPENZONE,	  [DISK_ZONE_CLOSE] = BLKCLOSEZONE,	[DISK_ZONE_FINISH] = BLKFINISHZONE,
		[DISK_ZONE_RESET] = BLKRESETZONE, [DISK_ZONE_RESET_ALL] = BLKRESETZONE,
	};
	struct file_zones *z = file->zones;
	bool all = r->flags == DISK_ZONE_RESET_ALL;
	uint64_t bytes = all ? z->disk_bytes : min_u64(z->zone_bytes, z->disk_bytes - r->offset);
	struct blk_zone_range range = {all ? 0 : r->offset / DISK_SECTOR_BYTES, bytes / DISK_SECTOR_BYTES};
	int err = zones_act(z->zones, r->flags, r->offset);

	if (err || !ioctl(file->fd, requests[r->flags], &range))
		return err;
	err = -errno;
	for (uint64_t at = all ? 0 : r->offset; at < (all ? z->disk_bytes : r->offset + 1); at += z->zone_bytes)
		look_again(file, at);
	return err;
}

static int act_on_all(struct file_disk *file, const struct disk_request *r)
{
	int err;

	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_lock(&file->zones->lock[i]);
	err = zone_act(file, r);
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_unlock(&file->zones->lock[i]);
	return err;
}

int file_zones_do(struct file_disk *file, struct disk_request *r)
{
	pthread_mutex_t *lock = lock_of(file->zones, r->offset);
	int err;

	if (r->op == DISK_ZONE && r->flags == DISK_ZONE_RESET_ALL)
		return act_on_all(file, r);
	pthread_mutex_lock(lock);
	err = r->op == DISK_ZONE ? zone_act(file, r) : zone_write(file, r);
	pthread_mutex_unlock(lock);
	return err;
}

void file_zones_get(const struct file_disk *file, uint64_t offset, struct disk_zone *ret_zone)
{
	zones_get(file->zones->zones, offset, ret_zone);
}

/* ---- life ---- */

/* What a device asks of the length of a write; a kernel that does not tell means its physical block. */
static uint32_t write_bytes(const struct file_disk *file, dev_t dev)
{
	uint64_t bytes = file_queue_limit(dev, "zone_write_granularity");

	if (!bytes)
		bytes = file->disk.info.physical_block_bytes;
	if (bytes < file->disk.info.logical_block_bytes || bytes > UINT32_MAX || bytes & (bytes - 1))
		bytes = file->disk.info.logical_block_bytes;
	return (uint32_t)bytes;
}

static int zones_look(struct file_disk *file, dev_t dev)
{
	struct file_zones *z = file->zones;
	struct disk_info *info = &file->disk.info;
	struct zones_setup setup = {.open_max = (uint32_t)file_queue_limit(dev, "max_open_zones"),
				    .active_max = (uint32_t)file_queue_limit(dev, "max_active_zones")};
	int64_t size = file_size(file);
	uint32_t sectors = 0;
	int err;

	if (size < 0 || ioctl(file->fd, BLKGETZONESZ, &sectors))
		return size < 0 ? (int)size : -errno;
	z->zone_bytes = setup.zone_bytes = (uint64_t)sectors * DISK_SECTOR_BYTES;
	z->disk_bytes = setup.disk_bytes = (uint64_t)size;
	if (!size || !sectors || sectors & (sectors - 1))
		return -EPROTO;
	err = zones_new(&setup, &z->zones);
	if (err)
		return err;
	info->zones = (struct disk_zones_info){setup.zone_bytes, setup.open_max, setup.active_max, write_bytes(file, dev)};
	z->write_mask = info->zones.write_bytes - 1;
	file->discard = false;
	return report_all(file);
}

int file_zones_open(struct file_disk *file, dev_t dev, const char *path, char *why)
{
	int err;

	file->zones = calloc(1, sizeof(*file->zones));
	if (!file->zones)
		return -ENOMEM;
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_init(&file->zones->lock[i], NULL);
	err = zones_look(file, dev);
	if (err)
		snprintf(why, DISK_WHY_BYTES, "file '%.100s': the zones of the device cannot be had: %s%s", path, strerror(-err),
			 err == -EPROTO ? ": they are not all of one length, a power of two" : "");
	return err;
}

void file_zones_free(struct file_zones *zones)
{
	if (!zones)
		return;
	zones_free(zones->zones);
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&zones->lock[i]);
	free(zones);
}
