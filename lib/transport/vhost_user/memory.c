/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/map.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>

/*
 * Messages about memory. Each makes a map, while queues run. A map that keeps all that the last one had is theirs at once. For one
 * that unmaps something, each queue gives back what it has popped ahead first, and goes on; a queue whose own ring is unmapped is
 * stopped (QUIET_MEMORY, device_map_change()).
 */

/*
 * The user address is a name by which the front end speaks of rings and windows, and nothing else. With GPA_ADDRESSES it is the
 * guest address in all of them: so that is no other case. (Some front ends took bit 21 for something else, and speak of user addresses.)
 */
static struct map_spec region_spec(const struct vu_region *region)
{
	return (struct map_spec){
		.gpa = region->gpa,
		.size_bytes = region->size_bytes,
		.uaddr = region->uaddr,
		.mmap_offset = region->mmap_offset,
	};
}

/* What a message about memory adds to: under postcopy, what the front end has not acknowledged yet (postcopy.c). */
static struct map *memory_before(const struct session *session)
{
	return session->told ? session->told : session->memory;
}

int prepare_mem_table(struct session *session, struct message *message, const char **why)
{
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	struct map_spec specs[VU_BASELINE_REGIONS_MAX];
	unsigned count;

	if (vu_parse_mem_table(message->payload, message->header.size_bytes, regions, &count, why))
		return -EPROTO;
	if (count != message->fd_count)
		return refuse(-EPROTO, "one file descriptor a region is expected", why);
	for (unsigned i = 0; i < count; i++)
		specs[i] = region_spec(&regions[i]);
	return map_new(memory_before(session), specs, message->fds, count, device_faults(session->device),
		       &session->map, why);
}

int prepare_add_mem_reg(struct session *session, struct message *message, const char **why)
{
	struct vu_region region;
	struct map_spec spec;

	if (vu_parse_mem_region(message->payload, message->header.size_bytes, &region, why))
		return -EPROTO;
	spec = region_spec(&region);
	return map_with(memory_before(session), &spec, message->fds[0], device_faults(session->device), &session->map,
			why);
}

int prepare_rem_mem_reg(struct session *session, struct message *message, const char **why)
{
	struct vu_region region;
	struct map_spec spec;

	if (vu_parse_mem_region(message->payload, message->header.size_bytes, &region, why))
		return -EPROTO;
	spec = region_spec(&region);
	if (!session->memory)
		return refuse(-ENOENT, "there is no such region", why);
	return refuse(map_without(session->memory, &spec, &session->map), "there is no such region", why);
}

/* Before any queue goes by it, which those that can go on do while others are made quiet. */
int memory_check(struct session *session, const char **why)
{
	if (device_log_covers(session->device, session->map))
		return 0;
	map_unref(session->map);
	session->map = NULL;
	return refuse(-EINVAL, "the dirty log ends before guest memory does: a longer one has to come first", why);
}

/* All three, when what has been made may take the place of what was. */
int handle_memory(struct session *session, struct message *message, const char **why)
{
	struct map *map = session->map;

	session->map = NULL;
	return session_memory_set(session, map, why);
}

int handle_get_max_mem_slots(struct session *session, struct message *message, const char **why)
{
	reply_u64(session, MAP_REGIONS_MAX);
	return 0;
}
