/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "mem/map.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * The kernel's IOTLB becomes a map. IOVAs stand for guest addresses and for the front end's own ones alike.
 *
 * The whole IOTLB is asked for at a time: it is a handful of ranges, and one map is published for all of them. When:
 *
 *	DRIVER_OK	the rings are there; under virtio-vdpa the bounce pages come into being with the first buffer
 *	a miss		a running queue has met an address that is not in the map: quiet, ask again, go on. It is a lie
 *			if it is not there then, either
 *	UPDATE_IOTLB	the driver's side has changed something: quiet, ask again, answer, go on
 *
 * Nothing is ever unmapped under a running burst: all three come while all queues are quiet, maps are immutable, and the
 * old one lives as long as anybody holds a reference to it.
 *
 * Neighbours of the same file are one region: a ring may lie in several ranges, and ranges may be single pages. A region
 * that is as it was keeps its mmap. The driver's side decides how often all this is done, and the thread is everybody's:
 * there is a limit to the ranges, and one map in a turn of the loop.
 */

#define RANGES_MAX (8 * MAP_REGIONS_MAX) /* after that somebody maps page by page, and no map could hold it */

struct range {
	struct map_spec spec;
	int fd;
	dev_t dev;
	ino_t ino;
	bool read_only;
};

struct ranges {
	struct range at[MAP_REGIONS_MAX];
	unsigned count;
};

static void ranges_free(struct vduse *v, struct ranges *ranges)
{
	for (unsigned i = 0; i < ranges->count; i++)
		drop_fd(v->drop, &ranges->at[i].fd);
	free(ranges);
}

static bool range_follows(const struct range *a, const struct range *b)
{
	return b->spec.gpa == a->spec.gpa + a->spec.size_bytes &&
	       b->spec.mmap_offset == a->spec.mmap_offset + a->spec.size_bytes && a->dev == b->dev &&
	       a->ino == b->ino && a->read_only == b->read_only;
}

/* Takes the fd over. */
static int ranges_add(struct vduse *v, struct ranges *ranges, const struct vduse_wire_iotlb *entry, int fd)
{
	struct range *last = ranges->count ? &ranges->at[ranges->count - 1] : NULL;
	struct range range = { .spec = { .gpa = entry->first, .uaddr = entry->first,
					 .size_bytes = entry->last - entry->first +
						       (entry->last != UINT64_MAX), /* less a byte that no map holds */
					 .mmap_offset = entry->offset },
			       .fd = fd, .read_only = !(entry->perm & VDUSE_WIRE_ACCESS_WRITE) };
	struct fd_file file;

	if (fd_look(fd, &file)) {
		drop_fd(v->drop, &fd);
		return -EIO;
	}
	range.dev = file.dev;
	range.ino = file.ino;
	if (last && range_follows(last, &range)) {
		last->spec.size_bytes += range.spec.size_bytes;
		drop_fd(v->drop, &fd);
		return 0;
	}
	if (ranges->count == MAP_REGIONS_MAX) {
		drop_fd(v->drop, &fd);
		return -E2BIG;
	}
	ranges->at[ranges->count++] = range;
	return 0;
}

/* Where bounce pages of our own are had, those are it. */
static void entry_prefer_umem(struct vduse *v, struct vduse_wire_iotlb *entry, int *fd)
{
	int umem_fd;

	if (entry->first || !vduse_umem_offer(v, entry->last))
		return;
	umem_fd = dup(v->umem.fd);
	if (umem_fd < 0)
		return;
	drop_fd(v->drop, fd);
	*fd = umem_fd;
	entry->offset = 0;
}

static int ranges_ask(struct vduse *v, struct ranges *ranges)
{
	uint64_t from = 0;

	for (unsigned i = 0; i < RANGES_MAX; i++) {
		struct vduse_wire_iotlb entry = { .first = from, .last = UINT64_MAX };
		int fd = vduse_ioctl(v, VDUSE_WIRE_IOTLB_GET_FD, &entry), r;

		if (fd == -EINVAL) /* no more */
			return 0;
		if (fd < 0)
			return fd;
		fcntl(fd, F_SETFD, FD_CLOEXEC); /* which the kernel leaves out */
		if (entry.last < from || entry.first > entry.last) {
			drop_fd(v->drop, &fd);
			return -EPROTO;
		}
		entry_prefer_umem(v, &entry, &fd);
		r = ranges_add(v, ranges, &entry, fd);
		if (r)
			return r;
		if (entry.last == UINT64_MAX)
			return 0;
		from = entry.last + 1;
	}
	return -E2BIG;
}

static int ranges_map(struct vduse *v, const struct ranges *ranges, const char **why)
{
	struct map_spec specs[MAP_REGIONS_MAX];
	int fds[MAP_REGIONS_MAX];
	bool read_only[MAP_REGIONS_MAX];
	struct map *map;
	int r;

	for (unsigned i = 0; i < ranges->count; i++) {
		specs[i] = ranges->at[i].spec;
		fds[i] = ranges->at[i].fd;
		read_only[i] = ranges->at[i].read_only;
		log_debug(device_log(v->device), "%s: memory at %#" PRIx64 ", %" PRIu64 " bytes%s",
			  device_name(v->device), specs[i].gpa, specs[i].size_bytes, read_only[i] ? ", read-only" : "");
	}
	r = map_new_vouched(device_map(v->device), specs, fds, read_only, ranges->count, device_faults(v->device), &map,
			    why);
	if (!r)
		device_map_set(v->device, map);
	return r;
}

int vduse_memory_map(struct vduse *v, const char **why)
{
	struct ranges *ranges = calloc(1, sizeof(*ranges));
	int r = ranges ? ranges_ask(v, ranges) : -ENOMEM;

	v->mapped = true;
	if (r) {
		*why = r == -E2BIG ? "memory is in more pieces than a map holds" : "the IOTLB cannot be read";
	} else {
		r = ranges_map(v, ranges, why);
	}
	if (ranges)
		ranges_free(v, ranges);
	return r;
}
