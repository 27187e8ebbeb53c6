/* SPDX-License-Identifier: BSD-3-Clause */
/* file:PATH: a regular file or a block device. */
#include "disk/file.h"
#include "base/clock.h"
#include "base/fd.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IO_AUTO, IO_URING, IO_SQPOLL, IO_THREADS };

static const struct disk_key file_keys[] = {
	DISK_KEY_SWITCH("direct"),
	{"lock", DISK_KEY_CHOICE, FILE_LOCK_CHOICES, 0, 0},
	DISK_KEY_SWITCH("discard"),
	{"io", DISK_KEY_CHOICE, "auto|uring|sqpoll|threads", 0, 0},
	{"threads", DISK_KEY_NUMBER, "1-64", 1, 64},
	DISK_KEY_SWITCH("zones"),
};

#define THREADS_DEFAULT 8u

/* ---- the disk ---- */

static int file_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct file_disk *file = container_of(disk, struct file_disk, disk);
	int err = file_lock_get(file);

	if (err)
		return err;
	err = file->uring ? file_uring_queue_open(file, depth, ret_queue) : file_threads_queue_open(file, depth, ret_queue);
	if (err)
		file_lock_put(file);
	return err;
}

static int64_t file_size_below(const struct disk *disk)
{
	const struct file_disk *file = (const struct file_disk *)disk; /* which it begins with */

	return file->zones ? (int64_t)disk_size(disk) : file_size(file); /* zones are those that were found */
}

static int file_refresh(struct disk *disk)
{
	int64_t size = file_size_below(disk);
	uint64_t bytes;

	if (size < 0)
		return (int)size;
	bytes = (uint64_t)size & ~(uint64_t)(disk->info.logical_block_bytes - 1);
	if (bytes == disk_size(disk))
		return 0;
	disk_size_set(disk, bytes);
	return 1;
}

/* Smaller: requests beyond the new end are refused before the file ends there. */
static int file_cut(struct file_disk *file, uint64_t bytes)
{
	struct disk *disk = &file->disk;
	uint64_t old = disk_size(disk);

	if (bytes < old)
		disk_size_set(disk, bytes);
	if (ftruncate(file->fd, (off_t)bytes)) {
		int err = -errno;

		disk_size_set(disk, old);
		return err;
	}
	disk_size_set(disk, bytes);
	return 0;
}

static int file_resize(struct disk *disk, uint64_t bytes)
{
	struct file_disk *file = container_of(disk, struct file_disk, disk);
	int err = file->block_device ? -ENOTSUP : file_lock_get(file);

	if (err)
		return err;
	err = file_cut(file, bytes);
	file_lock_put(file);
	return err;
}

static int file_hold(struct disk *disk)
{
	return file_lock_get(container_of(disk, struct file_disk, disk));
}

static void file_let_go(struct disk *disk)
{
	file_lock_put(container_of(disk, struct file_disk, disk));
}

/* With lock=running it only says which file it is: the lock is free meanwhile, and whoever goes on opens the file anew and asks for it. */
static const char *file_hand_over(const struct disk *disk, int *ret_fd)
{
	const struct file_disk *file = (const struct file_disk *)disk;

	if (file_unsynced(file))
		return "a flush has failed, which only this process knows";
	*ret_fd = file->fd;
	return NULL;
}

static void file_take(struct disk *disk)
{
	container_of(disk, struct file_disk, disk)->handed = false;
}

static void file_free(struct file_disk *file)
{
	fd_close(&file->fd);
	file_zones_free(file->zones);
	file_map_free(file->map);
	pthread_mutex_destroy(&file->lock.mutex);
	free(file);
}

/* A ring ends when the kernel finds the time, and holds the open file till then; whoever opens it next is not to wait for that. */
static void file_close(struct disk *disk)
{
	struct file_disk *file = container_of(disk, struct file_disk, disk);

	if (!file->handed)
		file_lock_end(file);
	file_free(file);
}

static void file_zone_get(const struct disk *disk, uint64_t offset, struct disk_zone *ret_zone)
{
	file_zones_get((const struct file_disk *)disk, offset, ret_zone);
}

static const struct disk_ops file_ops = {
	.queue_open = file_queue_open,
	.size = file_size_below,
	.refresh = file_refresh,
	.resize = file_resize,
	.zone_get = file_zone_get,
	.hold = file_hold,
	.let_go = file_let_go,
	.hand_over = file_hand_over,
	.take = file_take,
	.close = file_close,
};

/* ---- opening it ---- */

static void open_refused(const struct disk_spec *spec, int err, char *why)
{
	const char *fix = "";

	if (err == -EACCES || err == -EROFS || err == -EPERM)
		fix = ": if it is not to be written to, say read-only=on";
	else if (err == -EINVAL && disk_spec_number(spec, "direct", 0))
		fix = ": its file system may do no direct I/O: leave direct=on out";
	else if (err == -EBUSY)
		fix = ": this machine has mounted it or uses it otherwise: end that, or say lock=off";
	else if (err == -ENOENT)
		fix = ": make it first, as truncate --size 10G does";
	snprintf(why, DISK_WHY_BYTES, "file '%.100s': %s%s", spec->address, strerror(-err), fix);
}

/* A block device is opened for us alone: what is mounted, or in a RAID, is not to be written to beside that. */
static int open_flags(const struct file_disk *file, const struct disk_spec *spec)
{
	int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (file->disk.info.read_only ? O_RDONLY : O_RDWR);

	if (file->direct)
		flags |= O_DIRECT;
	if (file->block_device && !file->disk.info.read_only && disk_spec_number(spec, "lock", FILE_LOCK_ON) == FILE_LOCK_ON)
		flags |= O_EXCL;
	return flags;
}

/* Is what another process hands over the file that this process has found at the path, opened as the SPEC says? */
static bool is_handed(const struct file_disk *file, const struct disk_spec *spec, int handed_fd, const struct stat *ours)
{
	int flags = fcntl(handed_fd, F_GETFL), wanted = open_flags(file, spec);
	struct stat st;

	return flags >= 0 && !fstat(handed_fd, &st) && (st.st_mode & S_IFMT) == (ours->st_mode & S_IFMT) && st.st_dev == ours->st_dev &&
	       st.st_ino == ours->st_ino && !((flags ^ wanted) & (O_ACCMODE | O_DIRECT));
}

static int not_handed(const struct disk_spec *spec, char *why)
{
	snprintf(why, DISK_WHY_BYTES, "file '%.100s': what is handed over is not this file, opened as it is to be", spec->address);
	return -EINVAL;
}

static int open_handed(struct file_disk *file, const struct disk_spec *spec, int fd, const struct stat *at, char *why)
{
	if (!is_handed(file, spec, fd, at))
		return not_handed(spec, why);
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0) {
		int err = -errno;

		open_refused(spec, err, why);
		return err;
	}
	file->handed = true;
	return 0;
}

static int open_anew(struct file_disk *file, const struct disk_spec *spec, dev_t dev, char *why)
{
	uint64_t begin_ms = clock_now_ms(), waited_ms, look_ms = 0;
	int err;

	do {
		waited_ms = clock_now_ms() - begin_ms;
		file->fd = open(spec->address, open_flags(file, spec));
		err = file->fd < 0 ? -errno : 0;
	} while (err == -EBUSY && file_lock_device_nap(spec->address, dev, waited_ms, &look_ms));
	if (err)
		open_refused(spec, err, why);
	return err;
}

/* Whose zones are followed here: nobody else may write to them. The page cache keeps no order of writes, so it is left out. */
static int zones_choose(struct file_disk *file, const struct disk_spec *spec, char *why)
{
	const char *problem = NULL;

	file->zoned = disk_spec_number(spec, "zones", 1);
	if (!file->zoned && !file->disk.info.read_only)
		problem = "it takes sequential writes alone: leave zones=off out, or say read-only=on";
	else if (file->zoned && disk_spec_number(spec, "lock", FILE_LOCK_ON) != FILE_LOCK_ON)
		problem = "nobody else may write to its zones meanwhile: leave lock= out";
	else if (file->zoned && disk_spec_number(spec, "threads", 0))
		problem = "its writes go one after the other: leave threads= out";
	if (problem) {
		snprintf(why, DISK_WHY_BYTES, "file '%.100s': it is a host-managed zoned device; %s", spec->address, problem);
		return -EINVAL;
	}
	file->direct |= file->zoned;
	return 0;
}

static int open_path(struct file_disk *file, const struct disk_spec *spec, const int *handed_fd, char *why)
{
	bool running = disk_spec_number(spec, "lock", FILE_LOCK_ON) == FILE_LOCK_RUNNING;
	struct stat st;
	int err;

	if (stat(spec->address, &st)) {
		err = -errno;
		open_refused(spec, err, why);
		return err;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		snprintf(why, DISK_WHY_BYTES, "file '%.100s': it is neither a file nor a block device: name one of these", spec->address);
		return -EINVAL;
	}
	file->block_device = S_ISBLK(st.st_mode);
	err = file_is_zoned(&st) ? zones_choose(file, spec, why) : 0;
	if (err)
		return err;
	if (handed_fd && !running)
		return open_handed(file, spec, *handed_fd, &st, why);
	err = open_anew(file, spec, st.st_rdev, why);
	if (!err && handed_fd && (fstat(file->fd, &st) || !is_handed(file, spec, *handed_fd, &st)))
		err = not_handed(spec, why);
	return err;
}

static int io_choose(struct file_disk *file, const struct disk_spec *spec, char *why)
{
	uint64_t io = disk_spec_number(spec, "io", IO_AUTO);
	int err = io == IO_THREADS ? -ENOSYS : file_uring_probe(io == IO_SQPOLL, &file->uring_flags);

	file->threads_max = (unsigned)disk_spec_number(spec, "threads", THREADS_DEFAULT);
	if (file->zoned)
		file->threads_max = 1; /* they keep the order */
	file->at_once = io == IO_AUTO && !file->direct && file_in_memory(file);
	file->uring = !err;
	if (!err || io == IO_AUTO || io == IO_THREADS)
		return 0;
	snprintf(why, DISK_WHY_BYTES, "file '%.100s': there is no io_uring here: %s: leave io=%s out, and threads do it", spec->address,
		 strerror(-err), io == IO_URING ? "uring" : "sqpoll");
	return err;
}

static int file_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	struct file_disk *file = calloc(1, sizeof(*file));
	int err;

	if (!file)
		return -ENOMEM;
	file->disk.ops = &file_ops;
	file->disk.info.read_only = config->read_only;
	file->fd = -1;
	pthread_mutex_init(&file->lock.mutex, NULL);
	file->direct = disk_spec_number(spec, "direct", 0);
	file->discard = disk_spec_number(spec, "discard", 1);
	err = open_path(file, spec, config->handed_fd, why);
	if (!err)
		err = file_lock_open(file, spec, why);
	if (!err)
		err = file_look(file, spec->address, why);
	if (!err)
		err = io_choose(file, spec, why);
	if (err) {
		file_free(file);
		return err;
	}
	file->map = file_map_new(file, config->guard);
	*ret_disk = &file->disk;
	return 0;
}

static const char *path_problem(const char *address)
{
	return NULL;
}

const struct disk_kind disk_file = {
	.name = "file",
	.address = "PATH",
	.keys = file_keys,
	.key_count = ARRAY_SIZE(file_keys),
	.address_problem = path_problem,
	.keys_problem = file_lock_problem,
	.open = file_open,
};
