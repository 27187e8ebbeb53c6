/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/sizes.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/aside.h"
#include "disk/disk.h"
#include "store/disks.h"
#include <inttypes.h>
#include <stdlib.h>

#define EVERY_MS 1000u

/* The thread looks and changes nothing. A disk that is removed meanwhile is left to it. */
static void look(void *argument)
{
	struct store_disk *disk = argument;

	disk->seen_bytes = disk_size_below(disk->disk);
	__atomic_store_n(&disk->look, LOOK_DONE, __ATOMIC_RELEASE);
	store_disk_put(disk);
}

struct change {
	const struct disks *disks;
	uint64_t before;
};

static void refreshed(void *opaque, int err, struct store_disk *disk, const char *why)
{
	const struct disks *disks = ((struct change *)opaque)->disks;
	uint64_t before = ((struct change *)opaque)->before, now;

	free(opaque);
	if (err)
		return; /* the next look may have more luck */
	now = store_disk_bytes(disk);
	if (now < before)
		log_warning(&disk->log, "somebody has made it smaller: %" PRIu64 " bytes instead of %" PRIu64
					"; what a driver asks for beyond that gets an I/O error", now, before);
	else if (now > before)
		log_info(&disk->log, "somebody has made it larger: %" PRIu64 " bytes instead of %" PRIu64, now, before);
	if (disks->resized)
		disks->resized(disks->resized_opaque, disk);
}

static void changed(struct disks *disks, struct store_disk *disk)
{
	struct change *change = malloc(sizeof(*change));

	if (!change)
		return;
	*change = (struct change){disks, store_disk_bytes(disk)};
	disks_resize_aside(disks, disk, 0, refreshed, change);
}

static bool look_at(struct disks *disks, struct store_disk *disk)
{
	if (!disk->users || !disk_size_moves(disk->disk))
		return false;
	if (__atomic_load_n(&disk->look, __ATOMIC_ACQUIRE) == LOOK_BUSY)
		return true;
	if (disk->resizing)
		return true;
	if (disk->look == LOOK_DONE && disk->seen_bytes >= 0 && (uint64_t)disk->seen_bytes != store_disk_bytes(disk))
		changed(disks, disk);
	if (disk->resizing)
		return true;
	disk->look = LOOK_BUSY;
	store_disk_get(disk);
	if (aside_run(NULL, look, disk)) {
		disk->look = LOOK_IDLE;
		store_disk_put(disk);
	}
	return true;
}

static void look_at_all(void *opaque)
{
	struct disks *disks = opaque;
	bool more = false;

	for (struct store_disk *disk = disks->first; disk; disk = disk->next)
		more |= look_at(disks, disk);
	disks->sizes_watched = more;
	if (more)
		loop_timer_start(disks->sizes, EVERY_MS);
}

int sizes_init(struct disks *disks, struct loop *loop)
{
	return loop_timer_new(loop, look_at_all, disks, &disks->sizes);
}

void sizes_fini(struct disks *disks)
{
	if (disks->sizes)
		loop_timer_free(&disks->sizes);
}

void sizes_watch(struct disks *disks)
{
	if (!disks->sizes_watched)
		loop_timer_start(disks->sizes, EVERY_MS);
	disks->sizes_watched = true;
}
