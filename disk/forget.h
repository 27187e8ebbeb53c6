/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_FORGET_H
#define DISK_FORGET_H

/* A disk whose power can be cut, as the key forget=SIZE makes one of any (forget.c). Control thread. */

#include "disk/disk.h"

struct disk_forget_info {
	uint64_t max_bytes;  /* 0: the disk has no such layer, and the rest is 0, too */
	uint64_t held_bytes; /* of memory, in which lies what would be forgotten now */
	uint64_t passed;     /* writes that went to the disk at once, for want of room */
	uint64_t forgotten_bytes;
};

void disk_forget_info_get(const struct disk *disk, struct disk_forget_info *ret_info);

/* Cuts the power: what was written since the last flush is gone. Returns how many bytes, or -ENOTSUP: it has no such layer. */
int64_t disk_forget(struct disk *disk);

#endif
