/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "mem/map.h"
#include "transport/cuse/caller.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * From a memory table to a map. The caller goes on running: its other threads may map something else while we
 * look. What was seen is therefore looked at again once everything has been mapped: if the same pieces come
 * out, then what we have mapped is what the caller has; if not, it is done anew, a few times.
 *
 * What it maps anew later is its own loss: as with vhost-user, our mappings are those of the last table.
 */

#define TRIES 2u /* each reads the caller's mappings twice, which are as many as it likes */

struct table {
	const struct vhost_memory_region *regions;
	unsigned count;
};

static int pieces_read(const struct caller *caller, const struct table *table, struct maps_piece *pieces,
		       struct maps_vma **ret_vmas, size_t *ret_count, const char **why)
{
	int r = caller_vmas(caller, ret_vmas, ret_count, why);

	if (r)
		return r;
	r = maps_pieces(*ret_vmas, *ret_count, table->regions, table->count, pieces, MAP_REGIONS_MAX, why);
	if (r < 0)
		free(*ret_vmas);
	if (r < 0 && !caller_alive(caller)) {
		*why = "the caller has gone";
		return -ESRCH;
	}
	return r;
}

/*
 * fds[i] of each piece's file: the first piece of a file has it opened, the others borrow it. -1: it is no
 * file (the registers of a passed-through card, which front ends tell as well), and is left out: nothing of
 * virtio lies there.
 */
static int files_open(const struct caller *caller, const struct maps_piece *pieces, unsigned count,
		      const struct maps_vma *vmas, size_t vma_count, int *fds, bool *left_out,
		      const char **why)
{
	struct caller_files files = { .caller = caller, .looks = CALLER_LOOKS_MAX };

	for (unsigned i = 0; i < count; i++) {
		unsigned first = 0;
		int r;

		while (!maps_same_file(&pieces[first], &pieces[i]))
			first++;
		fds[i] = first < i ? fds[first] : -1;
		if (first < i)
			continue;
		r = caller_file(&files, maps_find(vmas, vma_count, pieces[i].uaddr), &fds[i], why);
		if (r == -ENODEV)
			*left_out = true;
		else if (r)
			return r;
	}
	return 0;
}

static void files_close(const struct maps_piece *pieces, unsigned count, int *fds, struct drop *drop)
{
	for (unsigned i = count; i--;) {
		unsigned first = 0;

		while (!maps_same_file(&pieces[first], &pieces[i]))
			first++;
		if (first == i)
			drop_fd(drop, &fds[i]);
	}
}

static int pieces_map(const struct map *old, const struct maps_piece *pieces, unsigned count, const int *fds,
		      const struct map_faults *faults, struct map **ret_map, const char **why)
{
	struct map_spec specs[MAP_REGIONS_MAX];
	int spec_fds[MAP_REGIONS_MAX];
	unsigned specs_count = 0;

	for (unsigned i = 0; i < count; i++) {
		if (fds[i] < 0)
			continue;
		spec_fds[specs_count] = fds[i];
		specs[specs_count++] = (struct map_spec){
			.gpa = pieces[i].gpa,
			.size_bytes = pieces[i].size_bytes,
			.uaddr = pieces[i].uaddr,
			.mmap_offset = pieces[i].file_offset,
		};
	}
	return map_new(old, specs, spec_fds, specs_count, faults, ret_map, why);
}

/* Has the caller still what the pieces were laid from? */
static int unchanged(const struct caller *caller, const struct table *table, const struct maps_piece *pieces,
		     unsigned count, struct maps_piece *room, const char **why)
{
	struct maps_vma *vmas;
	size_t vma_count;
	int r = pieces_read(caller, table, room, &vmas, &vma_count, why);

	if (r < 0)
		return r;
	free(vmas);
	if ((unsigned)r == count && !memcmp(room, pieces, count * sizeof(*pieces)))
		return 0;
	*why = "the caller's mappings keep changing";
	return -EAGAIN;
}

/* One try. `pieces` has room for twice MAP_REGIONS_MAX. */
static int table_map(const struct caller *caller, const struct map *old, const struct table *table,
		     struct maps_piece *pieces, const struct map_faults *faults, struct map **ret_map, const char **why)
{
	int fds[MAP_REGIONS_MAX];
	struct maps_vma *vmas;
	struct map *map = NULL;
	bool left_out = false;
	size_t vma_count;
	const char *changed;
	unsigned count;
	int r = pieces_read(caller, table, pieces, &vmas, &vma_count, why);

	if (r < 0)
		return r;
	count = (unsigned)r;
	memset(fds, -1, sizeof(fds));
	r = files_open(caller, pieces, count, vmas, vma_count, fds, &left_out, why);
	if (r == -EAGAIN && !unchanged(caller, table, pieces, count, pieces + MAP_REGIONS_MAX, &changed))
		r = -EOPNOTSUPP; /* as it would be next time */
	if (!r)
		r = pieces_map(old, pieces, count, fds, faults, &map, why);
	files_close(pieces, count, fds, faults ? faults->drop : NULL);
	free(vmas);
	if (!r)
		r = unchanged(caller, table, pieces, count, pieces + MAP_REGIONS_MAX, why);
	if (r) {
		map_unref(map);
		return r;
	}
	*why = left_out ? "left out what is no file of memory" : NULL;
	*ret_map = map;
	return 0;
}

int caller_map(const struct caller *caller, const struct map *old, const struct vhost_memory_region *regions,
	       unsigned count, const struct map_faults *faults, struct map **ret_map, const char **why)
{
	const struct table table = { regions, count };
	struct maps_piece *pieces = calloc(2 * MAP_REGIONS_MAX, sizeof(*pieces));
	int r = -EAGAIN;

	*why = "out of memory";
	if (!pieces)
		return -ENOMEM;
	for (unsigned try = 0; r == -EAGAIN && try < TRIES; try++)
		r = table_map(caller, old, &table, pieces, faults, ret_map, why);
	free(pieces);
	return r;
}
