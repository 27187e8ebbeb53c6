/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CUSE_MAPS_H
#define CUSE_MAPS_H

/*
 * What /proc tells about a process's memory, as text turned into checked structs, and where in which files
 * the regions of a memory table lie by that. Pure functions: no file is opened here.
 */

#include <linux/vhost_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A line of /proc/PID/maps (proc(5)). */
struct maps_vma {
	uint64_t start, end; /* addresses in the process */
	uint64_t offset; /* in the file */
	uint64_t inode; /* 0: anonymous memory */
	uint32_t major, minor; /* of the device that the file is on */
	bool readable, writable, shared;
};

/* Reads the line at *at and moves *at to the next one. 1: *ret holds; 0: no more lines; -EPROTO: not such a
 * line. */
int maps_next(const char **at, struct maps_vma *ret);

/* All lines, in the order of their addresses (which is the kernel's). free() *ret_vmas. -ENOMEM, -EPROTO. */
int maps_parse(const char *text, struct maps_vma **ret_vmas, size_t *ret_count);

/* The one that holds `address`, or NULL. */
const struct maps_vma *maps_find(const struct maps_vma *vmas, size_t count, uint64_t address);

/* A stretch of a region that lies in one file without a gap. */
struct maps_piece {
	uint64_t gpa, uaddr, size_bytes;
	uint64_t file_offset;
	uint64_t inode;
	uint32_t major, minor;
};

/*
 * Lays regions into pieces: VMAs that a region spans, and neighbours in the same file joined again. Returns
 * how many pieces; *why (static) says what is wrong with -EINVAL (empty, wraps round), -EFAULT (not mapped,
 * or not readable and writable), -EOPNOTSUPP (private or anonymous), -E2BIG (more pieces than `max`).
 */
int maps_pieces(const struct maps_vma *vmas, size_t vma_count, const struct vhost_memory_region *regions,
		unsigned region_count, struct maps_piece *pieces, unsigned max, const char **why);

/* What is behind the file systems of device major:minor, by the text of /proc/PID/mountinfo (proc(5)). */
enum maps_mount {
	MAPS_MOUNT_NONE, /* it is not mounted there */
	MAPS_MOUNT_KERNEL, /* this kernel's memory and disks */
	MAPS_MOUNT_OTHER, /* perhaps another program, here or elsewhere, which may let us wait */
};
enum maps_mount maps_mount(const char *mountinfo, uint32_t major, uint32_t minor);

bool maps_same_file(const struct maps_piece *a, const struct maps_piece *b);

/* The thread group of /proc/PID/status, or 0: there is no such line. */
pid_t maps_tgid(const char *status);

#endif
