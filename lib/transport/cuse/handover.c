/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/handover.h"
#include "base/fd.h"
#include "mem/backing.h"
#include "mem/map.h"
#include "transport/cuse/cuse_internal.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/*
 * Openers as another process goes on with them. Of each: whose it is, then of its device the features, the state, the memory by its files, and
 * of each ring what ioctls have said. Who takes them over tells all that to a fresh device, by the verbs that ioctls come to, and in an order in
 * which each finds what it needs. Nothing starts meanwhile: the openers are held (opener.c).
 *
 * The owner is looked for again by his number. He was alive when his openers were still, and the kernel keeps what he asks meanwhile. He may die
 * before he is looked for, with the file open in a child of his; his number may be another process's then, which is taken for the owner. That
 * one has nothing to do with the device unless it has that very file open, too: the memory is by the files that are handed over, and not the
 * other process's. Of the child nothing is taken either way, as of any process that is not the owner.
 */

#define OPENER_FLAGS (HANDOVER_OPENER_DEVICE | HANDOVER_OPENER_BROKEN)
#define RING_FLAGS                                                                                                                    \
	(HANDOVER_RING_ADDRESSED | HANDOVER_RING_BASED | HANDOVER_RING_ENABLED | HANDOVER_RING_CALL | HANDOVER_RING_ERROR | \
	 HANDOVER_RING_KICK)

/* ---- what can be told ---- */

static bool memory_is_kept(const struct map *memory)
{
	uint64_t offset;

	for (unsigned i = 0; memory && i < memory->count; i++)
		if (backing_file(memory->regions[i].backing, &offset) < 0)
			return false;
	return true;
}

const char *opener_handover_refused(const struct opener *opener)
{
	if (opener->breaking)
		return "it has lied, or its memory has gone";
	if (opener->iommu)
		return "its driver is behind an IOMMU";
	if (opener->owner && !caller_alive(opener->owner))
		return "the process whose it is has ended";
	if (!memory_is_kept(opener->memory))
		return "the files of its memory are not open here any more: too many are";
	return opener->device ? device_hold_refused(opener->device) : NULL;
}

/* ---- to tell ---- */

static void tell_opener(const struct opener *opener, struct handover_writer *writer)
{
	const struct handover_opener told = {
		.number = opener->number,
		.flags = (opener->device ? HANDOVER_OPENER_DEVICE : 0) | (opener->broken ? HANDOVER_OPENER_BROKEN : 0),
		.process = (uint32_t)opener->process,
		.owner = opener->owner ? (uint32_t)caller_process(opener->owner) : 0,
		.features = opener->device ? vireo_device_features(opener->device) : 0,
		.backend_features = opener->backend_features,
		.device = endpoint_device_number(opener->endpoint, opener),
	};

	handover_add(writer, HANDOVER_OPENER, &told, sizeof(told), NULL, 0);
}

static void tell_device_state(const struct opener *opener, struct handover_writer *writer)
{
	size_t room = device_state_bytes_max(opener->device);
	uint8_t *data = malloc(room);
	int bytes = data ? device_state_save(opener->device, data, room) : -ENOMEM;

	if (bytes < 0)
		writer->err = bytes;
	else
		handover_add(writer, HANDOVER_DEVICE_STATE, data, (size_t)bytes, NULL, 0);
	free(data);
}

static void tell_region(const struct map_region *region, struct handover_writer *writer)
{
	struct handover_region told = { .gpa = region->gpa, .bytes = region->size_bytes, .uaddr = region->uaddr };
	int fd = backing_file(region->backing, &told.offset);

	handover_add(writer, HANDOVER_REGION, &told, sizeof(told), &fd, 1);
}

static void tell_ring(const struct opener *opener, uint32_t index, const struct device_queue_state *state, struct handover_writer *writer)
{
	struct handover_ring told = {
		.index = index,
		.flags = (state->addressed ? HANDOVER_RING_ADDRESSED : 0) | (state->based ? HANDOVER_RING_BASED : 0) |
			 (state->enabled ? HANDOVER_RING_ENABLED : 0),
		.queue_flags = state->flags,
		.size = state->size,
		.base = state->base,
		.busyloop_us = opener->busyloop_us[index],
		.desc = state->desc,
		.driver = state->driver,
		.device_area = state->device_area,
	};
	const struct {
		int fd;
		uint32_t flag;
	} all[] = { { state->call_fd, HANDOVER_RING_CALL },
		    { state->error_fd, HANDOVER_RING_ERROR },
		    { state->kickable ? state->kick_fd : -1, HANDOVER_RING_KICK } };
	unsigned count = 0;
	int fds[3];

	for (unsigned i = 0; i < 3; i++) {
		if (all[i].fd < 0)
			continue;
		told.flags |= all[i].flag;
		fds[count++] = all[i].fd;
	}
	handover_add(writer, HANDOVER_RING, &told, sizeof(told), fds, count);
}

static void opener_export(const struct opener *opener, struct handover_writer *writer)
{
	struct device_queue_state state;

	tell_opener(opener, writer);
	if (!opener->device)
		return;
	tell_device_state(opener, writer);
	for (unsigned i = 0; opener->memory && i < opener->memory->count; i++)
		tell_region(&opener->memory->regions[i], writer);
	for (uint32_t i = 0; device_queue_state(opener->device, i, &state); i++)
		tell_ring(opener, i, &state, writer);
}

/* The oldest one first. They may have come to their devices in another order: each says which one it has. */
void openers_export(const struct cuse_endpoint *endpoint, struct handover_writer *writer)
{
	const struct opener *all[ENDPOINT_OPENERS_MAX];
	unsigned count = 0;

	assert(endpoint->opener_count <= ENDPOINT_OPENERS_MAX);
	for (const struct opener *opener = endpoint->openers; opener; opener = opener->next)
		all[count++] = opener;
	while (count)
		opener_export(all[--count], writer);
}

/* ---- to be told ---- */

struct import {
	struct cuse_endpoint *endpoint;
	const int *fds;
	struct opener *opener; /* the last one */
	/* Its memory, until its first ring. */
	struct map_spec specs[MAP_REGIONS_MAX];
	int spec_fds[MAP_REGIONS_MAX];
	unsigned regions;
	bool mapped;
};

static int import_device(struct opener *opener, const struct handover_opener *told, const char **why)
{
	int r;

	opener->device_told = told->device;
	r = opener_device_make(opener, (pid_t)told->process);
	opener->device_told = 0; /* it is of this device, and of none that may be made later */
	if (r)
		return refuse(r, "there is no device for it", why);
	if (told->features && device_features_set(opener->device, told->features))
		return refuse(-EINVAL, "features that are not offered", why);
	return 0;
}

static const char *opener_wrong(const struct import *import, const struct handover_opener *told)
{
	const struct opener *before = import->endpoint->openers;

	if (told->zero || told->flags & ~OPENER_FLAGS || told->process > INT32_MAX || told->owner > INT32_MAX)
		return "it says of an opener what is not known here";
	if (told->number <= (before ? before->number : 0) || told->number > import->endpoint->opened)
		return "its openers are not numbered in their order";
	if (import->endpoint->device && before)
		return "it has more openers than a device can have";
	if (import->endpoint->opener_count >= ENDPOINT_OPENERS_MAX)
		return "it has more openers than a node can have";
	return (told->owner || told->features || told->device || told->flags & HANDOVER_OPENER_BROKEN) && !(told->flags & HANDOVER_OPENER_DEVICE)
		       ? "an opener without a device says more of it"
		       : NULL;
}

static int import_opener(struct import *import, const struct handover_record *record, const char **why)
{
	struct handover_opener told;
	struct opener *opener;

	if (record->bytes != sizeof(told) || record->fd_count)
		return refuse(-EINVAL, "an opener's record is of another length", why);
	memcpy(&told, record->payload, sizeof(told));
	*why = opener_wrong(import, &told);
	if (*why)
		return -EINVAL;
	if (opener_new(import->endpoint, told.number, &opener))
		return refuse(-ENOMEM, "out of memory", why);
	opener->state = OPENER_HELD;
	opener->quiet = opener->holding = true;
	opener_still_set(opener, true);
	endpoint_opener_add(import->endpoint, opener);
	import->opener = opener;
	opener->broken = told.flags & HANDOVER_OPENER_BROKEN;
	opener->backend_features = told.backend_features;
	import->regions = 0;
	import->mapped = false;
	if (told.owner && caller_new((pid_t)told.owner, &opener->owner, why))
		return -EINVAL;
	return told.flags & HANDOVER_OPENER_DEVICE ? import_device(opener, &told, why) : 0;
}

static int import_region(struct import *import, const struct handover_record *record, const char **why)
{
	struct handover_region told;

	if (record->bytes != sizeof(told) || record->fd_count != 1)
		return refuse(-EINVAL, "a region's record is of another length", why);
	if (import->mapped || import->regions == MAP_REGIONS_MAX)
		return refuse(-EINVAL, "its regions are too many, or come too late", why);
	memcpy(&told, record->payload, sizeof(told));
	import->spec_fds[import->regions] = import->fds[record->fd_first];
	import->specs[import->regions++] = (struct map_spec){
		.gpa = told.gpa, .size_bytes = told.bytes, .uaddr = told.uaddr, .mmap_offset = told.offset };
	return 0;
}

/* All of it has been told when a ring is. */
static int import_memory(struct import *import, const char **why)
{
	struct opener *opener = import->opener;
	int r;

	if (import->mapped || !import->regions)
		return 0;
	import->mapped = true;
	r = map_new(NULL, import->specs, import->spec_fds, import->regions, device_faults(opener->device), &opener->memory, why);
	return r ? r : messages_memory_set(opener, why);
}

static int ring_fd(const struct opener *opener, uint32_t index, int fd, int (*verb)(struct vireo_device *device, uint32_t index, int fd),
		   const char **why)
{
	int copy, r;

	if (!fd_is_eventfd(fd))
		return refuse(-EINVAL, "a ring's file descriptor is no eventfd", why);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return refuse(-errno, "a file descriptor cannot be had", why);
	r = verb(opener->device, index, copy);
	if (r)
		fd_close(&copy);
	return refuse(r, "a ring does not take its file descriptor", why);
}

static int ring_fds(const struct opener *opener, const struct handover_ring *told, const int *fds, const char **why)
{
	int r = 0;

	if (told->flags & HANDOVER_RING_CALL)
		r = ring_fd(opener, told->index, *fds++, device_queue_call_set, why);
	if (!r && told->flags & HANDOVER_RING_ERROR)
		r = ring_fd(opener, told->index, *fds++, device_queue_error_set, why);
	if (!r && told->flags & HANDOVER_RING_KICK)
		r = ring_fd(opener, told->index, *fds, device_queue_kick_set, why);
	return r;
}

static int ring_place(const struct opener *opener, const struct handover_ring *told, const char **why)
{
	struct vireo_device *device = opener->device;
	int r = 0;

	if (told->desc & 15 || told->driver & 1 || told->device_area & 3)
		return refuse(-EINVAL, "a ring is misaligned", why);
	if (told->size)
		r = device_queue_size_set(device, told->index, told->size);
	if (!r && told->flags & HANDOVER_RING_ADDRESSED)
		r = device_queue_address_set(device, told->index, told->desc, told->driver, told->device_area);
	if (!r && told->flags & HANDOVER_RING_BASED)
		r = device_queue_base_set(device, told->index, told->base);
	return refuse(r, "a ring does not lie, or stand, as it says", why);
}

static int import_ring(struct import *import, const struct handover_record *record, const char **why)
{
	struct opener *opener = import->opener;
	struct handover_ring told;
	unsigned fd_count;
	int r;

	if (record->bytes != sizeof(told))
		return refuse(-EINVAL, "a ring's record is of another length", why);
	memcpy(&told, record->payload, sizeof(told));
	fd_count = (unsigned)__builtin_popcount(told.flags & (HANDOVER_RING_CALL | HANDOVER_RING_ERROR | HANDOVER_RING_KICK));
	if (told.flags & ~RING_FLAGS || fd_count != record->fd_count || told.index >= device_queue_count(opener->device))
		return refuse(-EINVAL, "it says of a ring what is not known here", why);
	r = import_memory(import, why);
	if (!r)
		r = ring_place(opener, &told, why);
	if (!r)
		r = ring_fds(opener, &told, import->fds + record->fd_first, why);
	if (!r && told.flags & HANDOVER_RING_ENABLED)
		r = refuse(device_queue_enable(opener->device, told.index, true), "a ring cannot be enabled", why);
	opener->busyloop_us[told.index] = told.busyloop_us;
	return r ? r : refuse(device_queue_go_on(opener->device, told.index, told.queue_flags), "a ring cannot stand so", why);
}

static int import_record(struct import *import, const struct handover_record *record, const char **why)
{
	struct opener *opener = import->opener;

	if (record->what == HANDOVER_OPENER)
		return import_opener(import, record, why);
	if (!opener || !opener->device)
		return refuse(-EINVAL, "what follows belongs to no device", why);
	if (record->what == HANDOVER_DEVICE_STATE && !record->fd_count)
		return device_state_load(opener->device, record->payload, record->bytes, why);
	if (record->what == HANDOVER_REGION)
		return import_region(import, record, why);
	if (record->what == HANDOVER_RING)
		return import_ring(import, record, why);
	return refuse(-EINVAL, "a record that is no part of an opener", why);
}

int openers_import(struct cuse_endpoint *endpoint, struct handover_reader *reader, const int *fds, const char **why)
{
	struct import import = { .endpoint = endpoint, .fds = fds };
	struct handover_record record;
	int r;

	while ((r = handover_next(reader, &record, why)) > 0) {
		r = import_record(&import, &record, why);
		if (r < 0)
			break;
	}
	for (const struct opener *opener = endpoint->openers; !r && opener; opener = opener->next)
		if (opener->breaking)
			r = refuse(-EINVAL, "a device has been told what breaks it", why);
	return r;
}
