/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock of a file: of the open file (OFD), so that it goes with the last fd of it, however this process ends. It is taken when the disk
 * is opened, or, with lock=running, by the first queue; then the last one gives it back, when nothing is in flight any more, and so
 * of two processes that have the file open the one whose driver runs has it.
 */
#include "disk/file.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define NAP_MS	     20
#define WAIT_MS	     1000u
#define WAIT_LONG_MS 10000u

static bool nap(uint64_t waited_ms, uint64_t most_ms)
{
	const struct timespec pause = {0, NAP_MS * 1000000L};

	if (waited_ms >= most_ms)
		return false;
	nanosleep(&pause, NULL);
	return true;
}

/* Who used it may be found out as late as of a lock, and costs as much: see lock_nap(). */
bool file_lock_device_nap(const char *path, dev_t dev, uint64_t waited_ms, uint64_t *look_ms)
{
	if (!*look_ms)
		*look_ms = WAIT_MS;
	if (waited_ms >= *look_ms) {
		*look_ms *= 2;
		if (file_device_used(dev) || file_opened(path) != FILE_OWNER_NONE)
			return false;
	}
	return nap(waited_ms, WAIT_LONG_MS);
}

static int lock_set(const struct file_disk *file, short type)
{
	struct flock range = {.l_type = type, .l_whence = SEEK_SET};
	int err = fcntl(file->fd, F_OFD_SETLK, &range) ? -errno : 0;

	return err == -EAGAIN || err == -EACCES ? -EBUSY : err;
}

static void refused(const struct file_disk *file, const char *path, int err, char *why)
{
	struct flock range = {.l_type = file->lock.type, .l_whence = SEEK_SET};
	char owner[FILE_OWNER_BYTES];

	if (err != -EBUSY) {
		snprintf(why, DISK_WHY_BYTES, "file '%.90s': it cannot be locked: %s: if nobody else uses it, say lock=off", path,
			 strerror(-err));
		return;
	}
	file_owner(file->fd, &range, owner);
	snprintf(why, DISK_WHY_BYTES, "file '%.90s': %s %s it: end that, or say lock=shared for both", path, owner,
		 file->lock.type == F_WRLCK ? "uses" : "writes to");
}

/* With lock=running nobody is waited for, but whether there are locks at all is found out now. */
static int running_open(const struct file_disk *file)
{
	int err = lock_set(file, file->lock.type);

	if (!err)
		lock_set(file, F_UNLCK);
	return err == -EBUSY ? 0 : err;
}

/*
 * On a machine with much to do the kernel takes seconds to end the rings of a process that was killed, and its lock is nobody's meanwhile. Whether it
 * is costs a look at each open file of the machine: after 1, 2, 4 and 8 seconds.
 */
static bool lock_nap(const struct file_disk *file, uint64_t waited_ms, uint64_t *look_ms)
{
	const struct flock range = {.l_type = file->lock.type, .l_whence = SEEK_SET};
	char owner[FILE_OWNER_BYTES];

	if (waited_ms >= *look_ms) {
		*look_ms *= 2;
		if (file_owner(file->fd, &range, owner) != FILE_OWNER_NONE)
			return false;
	}
	return nap(waited_ms, WAIT_LONG_MS);
}

static int lock_wait(const struct file_disk *file)
{
	uint64_t begin_ms = clock_now_ms(), look_ms = WAIT_MS, waited_ms;
	int err;

	do {
		waited_ms = clock_now_ms() - begin_ms;
		err = lock_set(file, file->lock.type);
	} while (err == -EBUSY && lock_nap(file, waited_ms, &look_ms));
	return err;
}

/* What is held back above us would stay here when the lock goes, and lie over what another process has written when it comes back. */
int file_lock_problem(const struct disk_spec *spec, char *why)
{
	if (disk_spec_number(spec, "lock", FILE_LOCK_ON) != FILE_LOCK_RUNNING || !disk_spec_number(spec, "forget", 0))
		return 0;
	snprintf(why, DISK_WHY_BYTES, "file '%.90s': forget holds back what another process is to read under lock=running: leave one of them out",
		 spec->address);
	return -EINVAL;
}

int file_lock_open(struct file_disk *file, const struct disk_spec *spec, char *why)
{
	uint64_t lock = disk_spec_number(spec, "lock", FILE_LOCK_ON);
	int err;

	file->lock.running = file->disk.changes_hands = lock == FILE_LOCK_RUNNING;
	file->lock.type = lock != FILE_LOCK_SHARED && !file->disk.info.read_only ? F_WRLCK : F_RDLCK;
	if (lock == FILE_LOCK_OFF)
		return 0;
	err = file->lock.running ? running_open(file) : lock_wait(file);
	if (err)
		refused(file, spec->address, err, why);
	return err;
}

/* Under the mutex. */
static void tell(struct file_disk *file, int err)
{
	const struct vireo_log *log = &file->disk.config.log;

	if (err == -EBUSY && !file->lock.waited)
		log_info(log, "another process has the lock of its file: its queues wait until that lets go");
	else if (!err && file->lock.waited)
		log_info(log, "it has the lock of its file");
	file->lock.waited = err == -EBUSY;
}

int file_lock_get(struct file_disk *file)
{
	int err = 0;

	if (!file->lock.running)
		return 0;
	pthread_mutex_lock(&file->lock.mutex);
	if (!file->lock.users) {
		err = lock_set(file, file->lock.type);
		tell(file, err);
	}
	if (!err)
		file->lock.users++;
	pthread_mutex_unlock(&file->lock.mutex);
	return err;
}

void file_lock_put(struct file_disk *file)
{
	if (!file->lock.running)
		return;
	pthread_mutex_lock(&file->lock.mutex);
	if (!--file->lock.users)
		lock_set(file, F_UNLCK);
	pthread_mutex_unlock(&file->lock.mutex);
}

/* A ring ends when the kernel finds the time, and holds the open file till then; whoever opens it next is not to wait for that. */
void file_lock_end(const struct file_disk *file)
{
	lock_set(file, F_UNLCK);
}
