/* SPDX-License-Identifier: BSD-3-Clause */
#include "kept.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/aside.h"
#include <sys/file.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEPT_BYTES_MAX 65536u
#define LOCK_LOOKS     100u /* 10 ms apart: who had it until now may not be through with its end */

/* ---- a file ---- */

/* A folder says so when it is read; all else that is no file has no text. */
static int file_look(int fd)
{
	struct stat found;

	if (fstat(fd, &found))
		return -errno;
	return S_ISREG(found.st_mode) || S_ISDIR(found.st_mode) ? 0 : -EINVAL;
}

static int whole_read(int fd, char *text, size_t bytes)
{
	size_t have = 0;
	ssize_t n;

	while ((n = read(fd, text + have, bytes - have)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		have += n > 0 ? (size_t)n : 0;
		if (have == bytes)
			return -EFBIG;
	}
	text[have] = '\0';
	return memchr(text, '\0', have) ? -EINVAL : 0; /* what comes behind it would be forgotten */
}

static int text_read(const char *path, char **ret_text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), err;
	char *text;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	text = malloc(KEPT_BYTES_MAX);
	err = text ? file_look(fd) : -ENOMEM;
	if (!err)
		err = whole_read(fd, text, KEPT_BYTES_MAX);
	close(fd);
	if (err)
		free(text);
	else
		*ret_text = text;
	return err;
}

/* ---- its lock ---- */

static int lock_wait(int fd)
{
	const struct timespec nap = {.tv_nsec = 10000000};

	for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (i == LOCK_LOOKS)
			return -EBUSY;
		nanosleep(&nap, NULL);
	}
	return 0;
}

/* The file with the text is a new one each time it is stored: the lock is of one beside it, which stays. */
static int lock_take(const char *path, int *ret_fd)
{
	char name[PATH_MAX];
	int fd, err;

	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	err = file_look(fd);
	if (!err)
		err = lock_wait(fd);
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

int kept_lock_look(const char *path, int fd)
{
	char name[PATH_MAX];
	struct stat there, given;

	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	if (fstat(fd, &given) || lstat(name, &there))
		return -errno;
	if (!S_ISREG(given.st_mode) || given.st_dev != there.st_dev || given.st_ino != there.st_ino)
		return -EINVAL;
	return flock(fd, LOCK_EX | LOCK_NB) ? -EBUSY : 0; /* it is had already, by all who have this open file */
}

int kept_take(const char *path, struct kept *ret_kept)
{
	struct kept kept = KEPT_NONE;
	int err = lock_take(path, &kept.lock_fd);

	if (!err)
		err = text_read(path, &kept.text);
	if (err)
		fd_close(&kept.lock_fd);
	else
		*ret_kept = kept;
	return err;
}

static void lock_close(void *argument)
{
	close((int)(intptr_t)argument);
}

void kept_drop(struct kept *kept)
{
	free(kept->text);
	if (kept->lock_fd >= 0 && aside_run(NULL, lock_close, (void *)(intptr_t)kept->lock_fd))
		close(kept->lock_fd);
	*kept = KEPT_NONE;
}

/* ---- by a thread ---- */

struct taking {
	struct errand errand; /* first */
	char *path;
	kept_fn *done;
	void *opaque;
	/* Of the outcome. */
	struct kept kept;
	int err;
};

static void take(struct errand *errand)
{
	struct taking *t = (struct taking *)errand;

	t->err = kept_take(t->path, &t->kept);
}

static void taken(struct errand *errand, int err)
{
	struct taking *t = (struct taking *)errand;
	struct kept kept = KEPT_NONE;

	if (!err)
		err = t->err;
	if (!err) {
		kept = t->kept;
		t->kept = KEPT_NONE;
	}
	t->done(t->opaque, err, &kept);
}

static void taking_drop(struct errand *errand)
{
	struct taking *t = (struct taking *)errand;

	kept_drop(&t->kept);
	free(t->path);
	free(t);
}

int kept_take_aside(struct errands *errands, const char *path, kept_fn *done, void *opaque, const struct errand **ret_errand)
{
	static const struct errand_ops ops = {.work = take, .done = taken, .drop = taking_drop};
	struct taking *t = calloc(1, sizeof(*t));
	int err = -ENOMEM;

	if (!t)
		return err;
	*t = (struct taking){.errand.ops = &ops, .path = strdup(path), .done = done, .opaque = opaque, .kept = KEPT_NONE};
	if (t->path)
		err = errands_run(errands, &t->errand);
	if (err)
		taking_drop(&t->errand);
	else
		*ret_errand = &t->errand;
	return err;
}
