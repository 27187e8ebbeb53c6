/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_SIZES_H
#define BLKD_SIZES_H

/*
 * What lies below a disk may be resized by others: while exports use it, its size is looked at each second, by a thread, for a file system may
 * make that wait. Control thread.
 */

struct exports;

int sizes_init(struct exports *exports); /* 0 or -errno */
void sizes_fini(struct exports *exports);
/* An export has been added. */
void sizes_watch(struct exports *exports);

#endif
