/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_KEPT_H
#define SCSID_KEPT_H

/*
 * What is kept of a unit's reservations, and the right to keep it: a lock of a file beside, which another process that was given the same
 * folder and a disk of that name does not get. A file system may let both wait: threads take them.
 */

#include "daemon/errand.h"

struct kept {
	int lock_fd; /* -1: none */
	char *text;  /* NULL: nothing was kept */
};

#define KEPT_NONE ((struct kept){.lock_fd = -1})

/* May wait; any thread. 0; -EBUSY: another process has the lock; -EINVAL: it cannot be understood; or another -errno. */
int kept_take(const char *path, struct kept *ret_kept);
/*
 * Is that open file the lock of that text, had by whoever has the file open? 0; -EINVAL: it is another file; -EBUSY: another process has
 * the lock. May wait.
 */
int kept_lock_look(const char *path, int fd);
/* Gives back what is left of it. A thread closes the lock. */
void kept_drop(struct kept *kept);

/*
 * `done` is told once, in the control thread, and may take over what is in `kept` if err is 0; else -ECANCELED: the daemon ends; or what
 * kept_take() says.
 */
typedef void kept_fn(void *opaque, int err, struct kept *kept);
/* 0; or -errno, and `done` is not told. The errand is borrowed, until then. */
int kept_take_aside(struct errands *errands, const char *path, kept_fn *done, void *opaque, const struct errand **ret_errand);

#endif
