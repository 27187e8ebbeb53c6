/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_SPARSE_H
#define MEM_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Pages of a shared file that nobody has touched yet. Whoever touches one first has it made, and is charged for it: the
 * worker who looks at a buffer, for memory that is the guest's. In a mapping that is watched, a page that is there already is found as
 * ever, and costs nothing; one that is not raises SIGBUS in the thread that touches it, and the handler decides.
 *
 * A system call to which such a page is given fails with EFAULT, and makes nothing.
 *
 * This is userfaultfd(2) in its mode MISSING, and a mapping has one such file at a time: a later post-copy
 * migration, which needs it too, ends the watch over a region, and begins its own.
 */

/* A watcher, or a negative errno. */
int sparse_open(void);

/* Whole pages, of a mapping of memfd or tmpfs. A negative errno: these are not watched. */
int sparse_watch(int watcher, void *start, size_t bytes);

enum sparse {
	SPARSE_MADE,
	SPARSE_THERE, /* somebody else has made it */
	SPARSE_FULL, /* there is no memory for it, or its file system is full */
	SPARSE_GONE, /* it lies beyond the end of its file now, or is lost */
};

/* Makes a page of a watched mapping. Async-signal-safe. */
enum sparse sparse_make(int watcher, void *page, size_t page_bytes);

#endif
