/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_KIND_H
#define MEM_KIND_H

/* What sort of file a peer's fd is. Nobody is asked but this kernel: a server behind the file could let us wait. */

enum file_kind {
	FILE_NONE, /* no regular file: a device, a socket, a pipe, a folder */
	FILE_KERNELS, /* an inode without a type: made by a driver of this kernel's own */
	FILE_MEMORY, /* memfd, tmpfs, hugetlbfs, ramfs: its pages never have to be fetched */
	FILE_DISK, /* on a disk's file system: a page may have to be fetched from there */
	FILE_FOREIGN, /* on any other file system: whoever serves it may let us wait for as long as he likes */
};

enum file_kind file_kind(int fd);

#endif
