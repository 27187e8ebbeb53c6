/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_SIZES_H
#define STORE_SIZES_H

/*
 * What lies below a disk may be resized by others: while it is used, its size is looked at each second, by a thread, for a file system may
 * make that wait. disks->resized() is told. Control thread.
 */

struct disks;
struct loop;

int sizes_init(struct disks *disks, struct loop *loop); /* 0 or -errno */
void sizes_fini(struct disks *disks);
/* A disk has got a user. */
void sizes_watch(struct disks *disks);

#endif
