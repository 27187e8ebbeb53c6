/* SPDX-License-Identifier: BSD-3-Clause */
/* What a file or block device can do, found out when it is opened. */
#include "disk/file.h"
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define ALIGN_MAX_BYTES 4096u

int64_t file_size(const struct file_disk *file)
{
	uint64_t bytes = 0;
	struct stat st;

	if (file->block_device)
		return ioctl(file->fd, BLKGETSIZE64, &bytes) ? -errno : (int64_t)min_u64(bytes, INT64_MAX);
	return fstat(file->fd, &st) ? -errno : st.st_size;
}

/* ---- block devices ---- */

uint64_t file_queue_limit(dev_t dev, const char *name)
{
	static const char *const ways[] = {"queue", "../queue"};
	uint64_t value = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		char path[PATH_MAX];
		FILE *in;
		bool found;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(dev), minor(dev), ways[i], name);
		in = fopen(path, "re");
		if (!in)
			continue;
		found = fscanf(in, "%" SCNu64, &value) == 1;
		fclose(in);
		if (found)
			return value;
	}
	return 0;
}

/* Of the device, or of the one that it is a part of. */
static bool is_host_managed(dev_t dev)
{
	static const char *const ways[] = {"queue", "../queue"};
	char path[PATH_MAX], model[32] = "";

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		FILE *in;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/zoned", major(dev), minor(dev), ways[i]);
		in = fopen(path, "re");
		if (!in)
			continue;
		if (!fgets(model, sizeof(model), in))
			*model = '\0';
		fclose(in);
	}
	return !strncmp(model, "host-managed", strlen("host-managed"));
}

bool file_is_zoned(const struct stat *st)
{
	return S_ISBLK(st->st_mode) && is_host_managed(st->st_rdev);
}

/*
 * A range that is no range: who can erase looks at it, and says EINVAL; EOPNOTSUPP, who cannot. Before Linux 5.19 the range is looked at first, and
 * what cannot be done is found out when it is asked for.
 */
static bool can_erase(int fd)
{
	uint64_t range[] = {1, 1};

	return ioctl(fd, BLKSECDISCARD, range) && errno == EINVAL;
}

static void look_at_device(struct file_disk *file, dev_t dev)
{
	struct disk_info *info = &file->disk.info;
	unsigned physical = 0, optimal = 0;
	unsigned short rotational = 0;
	int logical = 0;

	ioctl(file->fd, BLKSSZGET, &logical);
	ioctl(file->fd, BLKPBSZGET, &physical);
	ioctl(file->fd, BLKIOOPT, &optimal);
	ioctl(file->fd, BLKROTATIONAL, &rotational);
	if (file->direct && logical > 0)
		info->logical_block_bytes = file->memory_align = (uint32_t)logical;
	info->physical_block_bytes = physical;
	/* Some disks tell of what is no whole number of their blocks: it is a hint, and is left out. */
	info->optimal_io_bytes = logical > 0 && optimal % (unsigned)logical ? 0 : optimal;
	info->rotational = rotational;
	info->discard_max_bytes = file_queue_limit(dev, "discard_max_bytes");
	info->discard_granularity_bytes = (uint32_t)file_queue_limit(dev, "discard_granularity");
	file->discard &= info->discard_max_bytes > 0;
	info->can_erase = file->discard && !file->zoned && !info->read_only && can_erase(file->fd);
}

/* ---- files ---- */

/* "Filename Type Size Used Priority", and a line for each. */
bool file_swaps_named(const char *swaps)
{
	const char *end = strchr(swaps, '\n');

	return !end || end[1];
}

static bool machine_swaps(void)
{
	FILE *in = fopen("/proc/swaps", "re");
	char text[160] = ""; /* longer than the first line */

	if (in) {
		text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
		fclose(in);
	}
	return file_swaps_named(text);
}

/* The file system of a device's name says nothing of the device. */
bool file_in_memory(const struct file_disk *file)
{
	struct statfs fs;

	if (file->block_device || fstatfs(file->fd, &fs))
		return false;
	return (uint32_t)fs.f_type == RAMFS_MAGIC || ((uint32_t)fs.f_type == TMPFS_MAGIC && !machine_swaps());
}

/* Direct I/O: what it takes is found out by trying. 0: nothing that we would try. */
static uint32_t direct_align(int fd)
{
	uint8_t *buffer = aligned_alloc(2 * ALIGN_MAX_BYTES, 2 * ALIGN_MAX_BYTES);
	uint32_t align = 0;

	for (uint32_t a = SECTOR_BYTES; buffer && !align && a <= ALIGN_MAX_BYTES; a *= 2)
		if (pread(fd, buffer + a, a, 0) >= 0)
			align = a;
	free(buffer);
	return align;
}

/* Behind the end there is nothing that could be lost. */
static bool can_punch(int fd, off_t size, blksize_t block)
{
	off_t behind = (off_t)align_up((uint64_t)size, (uint64_t)block);

	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, block);
}

static int look_at_file(struct file_disk *file, const struct stat *st, const char *path, char *why)
{
	struct disk_info *info = &file->disk.info;

	if (file->direct) {
		file->memory_align = direct_align(file->fd);
		if (!file->memory_align) {
			snprintf(why, DISK_WHY_BYTES, "file '%.100s': its file system does no direct I/O: leave direct=on out", path);
			return -EINVAL;
		}
		info->logical_block_bytes = file->memory_align;
	}
	info->physical_block_bytes = (uint32_t)st->st_blksize;
	if (info->physical_block_bytes & (info->physical_block_bytes - 1) || info->physical_block_bytes > 65536)
		info->physical_block_bytes = 0;
	if (file->lock.running) /* another may write to it now; what cannot be done is found out when it is asked for */
		file->discard &= st->st_blksize > 0;
	else if (st->st_blksize > 0 && !(st->st_blksize & (st->st_blksize - 1)))
		file->discard &= can_punch(file->fd, st->st_size, st->st_blksize);
	else
		file->discard = false;
	info->discard_granularity_bytes = info->physical_block_bytes;
	return 0;
}

/* ---- both ---- */

static int size_check(int64_t size, uint32_t block, const char *path, char *why)
{
	if (size < 0) {
		snprintf(why, DISK_WHY_BYTES, "file '%.100s': its size cannot be had: %s", path, strerror((int)-size));
		return (int)size;
	}
	if (!size) {
		snprintf(why, DISK_WHY_BYTES, "file '%.100s': it is empty: give it a size, as truncate --size 10G does", path);
		return -EINVAL;
	}
	if (size % block) {
		snprintf(why, DISK_WHY_BYTES, "file '%.100s': its size, %" PRId64 " bytes, is no multiple of %u: truncate --size %%%u",
			 path, size, block, block);
		return -EINVAL;
	}
	return 0;
}

int file_look(struct file_disk *file, const char *path, char *why)
{
	struct disk_info *info = &file->disk.info;
	struct stat st;
	int64_t size;
	int err = 0;

	if (fstat(file->fd, &st))
		return -errno;
	info->logical_block_bytes = SECTOR_BYTES;
	file->memory_align = 1;
	if (file->block_device) {
		look_at_device(file, st.st_rdev);
		err = file->zoned ? file_zones_open(file, st.st_rdev, path, why) : 0;
	} else {
		err = look_at_file(file, &st, path, why);
	}
	if (err)
		return err;
	info->volatile_cache = true;
	info->can_discard = info->zero_unmaps = file->discard && !info->read_only;
	if (!info->can_discard)
		info->discard_granularity_bytes = 0, info->discard_max_bytes = 0;
	size = file_size(file);
	err = size_check(size, info->logical_block_bytes, path, why);
	info->size_bytes = err ? 0 : (uint64_t)size;
	return err;
}
