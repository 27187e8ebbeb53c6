/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_LATE_H
#define MEM_LATE_H

/*
 * Memory that comes late: the pages of a peer's files are not there yet, and who touches one sleeps until the peer has brought it.
 * The peer is told by a userfaultfd, which is made here and handed to it (vhost-user: "POSTCOPY_ADVISE").
 *
 * Whoever holds that fd has power over all of this process's memory, and not over the peer's alone: Linux lets him register,
 * fill and protect what he likes. So it goes to nobody whom the operator has not named.
 */

#include <stdbool.h>
#include <stddef.h>

struct late;
struct mem_account;

/* A mapping that is late, in the hands of who has it. */
struct late_range {
	struct late_range *next, **link; /* late.c's; link NULL: it is in no list */
	void *start;
	size_t bytes;
	struct mem_account *account; /* watches it again afterwards (mem_account_watch()); or NULL */
};

/* -EPERM: this process may not; -ENOSYS, -EINVAL: the kernel cannot; -ENOMEM, -EMFILE. */
int late_new(struct late **ret_late);
struct late *late_ref(struct late *late); /* takes NULL, as the next; any thread */
void late_unref(struct late *late);

int late_fd_dup(const struct late *late); /* an fd for the peer, or a negative errno. Before late_end() */

/* The range's start and bytes, whole pages of its file, are late from now on. A negative errno, also once it has ended. */
int late_begin(struct late *late, struct late_range *range);
/* Who sleeps there wakes; before the munmap(). Does nothing if it has not begun, or has ended. Any thread. */
void late_leave(struct late *late, struct late_range *range);

/* No page is waited for any more, whatever the peer does with its fd: who sleeps wakes, and finds a page of zeroes where there is none. */
void late_end(struct late *late);

#endif
