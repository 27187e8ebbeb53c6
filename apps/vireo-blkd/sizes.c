/* SPDX-License-Identifier: BSD-3-Clause */
#include "sizes.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/aside.h"
#include "disk/disk.h"
#include "disks.h"
#include "exports.h"
#include <inttypes.h>

#define EVERY_MS 1000u

/* The thread looks and changes nothing. A disk that is removed meanwhile is left to it. */
static void look(void *argument)
{
	struct blkd_disk *disk = argument;

	disk->seen_bytes = disk_size_below(disk->disk);
	if (__atomic_exchange_n(&disk->look, LOOK_DONE, __ATOMIC_ACQ_REL) == LOOK_GONE)
		blkd_disk_free(disk);
}

static void changed(struct exports *exports, struct blkd_disk *disk)
{
	uint64_t before = blkd_disk_bytes(disk), now;

	if (disk_refresh(disk->disk) != 1)
		return;
	now = blkd_disk_bytes(disk);
	if (now < before)
		log_warning(&disk->log, "somebody has made it smaller: %" PRIu64 " bytes instead of %" PRIu64
					"; what a driver asks for beyond that gets an I/O error", now, before);
	else
		log_info(&disk->log, "somebody has made it larger: %" PRIu64 " bytes instead of %" PRIu64, now, before);
	exports_disk_resized(exports, disk);
}

static bool look_at(struct exports *exports, struct blkd_disk *disk)
{
	if (!disk->users || !disk_size_moves(disk->disk))
		return false;
	if (__atomic_load_n(&disk->look, __ATOMIC_ACQUIRE) == LOOK_BUSY)
		return true;
	if (disk->resizing)
		return true;
	if (disk->look == LOOK_DONE && disk->seen_bytes >= 0 && (uint64_t)disk->seen_bytes != blkd_disk_bytes(disk))
		changed(exports, disk);
	disk->look = LOOK_BUSY;
	if (aside_run(NULL, look, disk))
		disk->look = LOOK_IDLE;
	return true;
}

static void look_at_all(void *opaque)
{
	struct exports *exports = opaque;
	bool more = false;

	for (struct blkd_disk *disk = exports->disks->first; disk; disk = disk->next)
		more |= look_at(exports, disk);
	exports->sizes_watched = more;
	if (more)
		loop_timer_start(exports->sizes, EVERY_MS);
}

int sizes_init(struct exports *exports)
{
	return loop_timer_new(exports->loop, look_at_all, exports, &exports->sizes);
}

void sizes_fini(struct exports *exports)
{
	if (exports->sizes)
		loop_timer_free(&exports->sizes);
}

void sizes_watch(struct exports *exports)
{
	if (!exports->sizes_watched)
		loop_timer_start(exports->sizes, EVERY_MS);
	exports->sizes_watched = true;
}
