/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "mem/map.h"
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <string.h>

#define IN(type) .in_bytes = sizeof(type)
#define OUT(type) .out_bytes = sizeof(type)

typedef struct vhost_vring_state state;
typedef struct vhost_vring_addr addr;
typedef struct vhost_vring_file file;
typedef struct vhost_scsi_target scsi_target;

/*
 * All ioctls that linux/vhost.h has for a network device or, where the node is a target, for a SCSI host; others
 * (vDPA's, vsock's, vhost workers) end in ENOTTY. The layouts are the same for callers of 32 bits: nothing here is a pointer or a long.
 *
 * The sizes are not those that the numbers encode: the GET ioctls of one ring take its index, whatever
 * direction their numbers tell.
 */
static const struct ioctl_row rows[] = {
	{ VHOST_GET_FEATURES, "VHOST_GET_FEATURES", ioctl_get_features, OUT(uint64_t), .who = ROW_ANYBODY,
	  .asks = true },
	{ VHOST_SET_FEATURES, "VHOST_SET_FEATURES", ioctl_set_features, IN(uint64_t), .quiet = ROW_QUIET_ALL,
	  .who = ROW_FIRST },
	{ VHOST_SET_OWNER, "VHOST_SET_OWNER", ioctl_set_owner, .who = ROW_ANYBODY, .mends = true },
	{ VHOST_RESET_OWNER, "VHOST_RESET_OWNER", ioctl_reset_owner, .quiet = ROW_QUIET_ALL, .mends = true },
	{ VHOST_SET_MEM_TABLE, "VHOST_SET_MEM_TABLE", ioctl_set_mem_table, IN(struct vhost_memory),
	  .prepare = ioctl_prepare_mem_table, .quiet = ROW_QUIET_MEMORY, .table = true },
	{ VHOST_SET_LOG_BASE, "VHOST_SET_LOG_BASE", ioctl_set_log_base, IN(uint64_t) },
	{ VHOST_SET_LOG_FD, "VHOST_SET_LOG_FD", ioctl_set_log_fd, IN(int) },
	{ VHOST_SET_VRING_NUM, "VHOST_SET_VRING_NUM", ioctl_set_vring_num, IN(state),
	  .quiet = ROW_QUIET_RING },
	{ VHOST_SET_VRING_ADDR, "VHOST_SET_VRING_ADDR", ioctl_set_vring_addr, IN(addr),
	  .quiet = ROW_QUIET_RING },
	{ VHOST_SET_VRING_BASE, "VHOST_SET_VRING_BASE", ioctl_set_vring_base, IN(state),
	  .quiet = ROW_QUIET_RING },
	{ VHOST_GET_VRING_BASE, "VHOST_GET_VRING_BASE", ioctl_get_vring_base, IN(state), OUT(state),
	  .quiet = ROW_QUIET_RING, .tells = true },
	{ VHOST_SET_VRING_ENDIAN, "VHOST_SET_VRING_ENDIAN", ioctl_set_vring_endian, IN(state) },
	{ VHOST_GET_VRING_ENDIAN, "VHOST_GET_VRING_ENDIAN", ioctl_get_vring_endian, IN(state), OUT(state) },
	{ VHOST_SET_VRING_KICK, "VHOST_SET_VRING_KICK", ioctl_set_vring_kick, IN(file),
	  .quiet = ROW_QUIET_RING, .tells = true },
	{ VHOST_SET_VRING_CALL, "VHOST_SET_VRING_CALL", ioctl_set_vring_call, IN(file),
	  .quiet = ROW_QUIET_RING },
	{ VHOST_SET_VRING_ERR, "VHOST_SET_VRING_ERR", ioctl_set_vring_err, IN(file) },
	{ VHOST_SET_VRING_BUSYLOOP_TIMEOUT, "VHOST_SET_VRING_BUSYLOOP_TIMEOUT", ioctl_set_busyloop,
	  IN(state) },
	{ VHOST_GET_VRING_BUSYLOOP_TIMEOUT, "VHOST_GET_VRING_BUSYLOOP_TIMEOUT", ioctl_get_busyloop, IN(state),
	  OUT(state) },
	{ VHOST_GET_BACKEND_FEATURES, "VHOST_GET_BACKEND_FEATURES", ioctl_get_backend_features, OUT(uint64_t),
	  .who = ROW_ANYBODY, .asks = true },
	{ VHOST_SET_BACKEND_FEATURES, "VHOST_SET_BACKEND_FEATURES", ioctl_set_backend_features, IN(uint64_t),
	  .who = ROW_FIRST },
	{ VHOST_NET_SET_BACKEND, "VHOST_NET_SET_BACKEND", ioctl_net_set_backend, IN(file),
	  .quiet = ROW_QUIET_RING, .node = ROW_NODE_RINGS },
	{ VHOST_SCSI_SET_ENDPOINT, "VHOST_SCSI_SET_ENDPOINT", ioctl_scsi_set_endpoint, IN(scsi_target),
	  .quiet = ROW_QUIET_ALL, .node = ROW_NODE_TARGET },
	{ VHOST_SCSI_CLEAR_ENDPOINT, "VHOST_SCSI_CLEAR_ENDPOINT", ioctl_scsi_clear_endpoint, IN(scsi_target),
	  .quiet = ROW_QUIET_ALL, .tells = true, .node = ROW_NODE_TARGET },
	{ VHOST_SCSI_GET_ABI_VERSION, "VHOST_SCSI_GET_ABI_VERSION", ioctl_scsi_get_abi_version, OUT(int),
	  .who = ROW_ANYBODY, .asks = true, .node = ROW_NODE_TARGET },
	{ VHOST_SCSI_SET_EVENTS_MISSED, "VHOST_SCSI_SET_EVENTS_MISSED", ioctl_scsi_set_events_missed, IN(uint32_t),
	  .node = ROW_NODE_TARGET },
	{ VHOST_SCSI_GET_EVENTS_MISSED, "VHOST_SCSI_GET_EVENTS_MISSED", ioctl_scsi_get_events_missed, OUT(uint32_t),
	  .node = ROW_NODE_TARGET },
};

const struct ioctl_row *ioctl_row(uint32_t command, bool target)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].command == command && rows[i].node != (target ? ROW_NODE_RINGS : ROW_NODE_TARGET))
			return &rows[i];
	return NULL;
}

/*
 * A table is asked for in two steps, its head and then all of it, and the head that came with all of it is
 * the one that counts: if it names another number now, the caller has changed it meanwhile.
 */
static int table_sizes(const struct request *request, size_t *ret_in_bytes, const char **why)
{
	struct vhost_memory head;
	size_t bytes;

	memcpy(&head, request->in, sizeof(head));
	if (head.nregions > MAP_REGIONS_MAX) {
		*why = "too many regions";
		return -E2BIG;
	}
	bytes = sizeof(head) + head.nregions * sizeof(struct vhost_memory_region);
	if (request->in_bytes == bytes)
		return 1;
	if (request->in_bytes != sizeof(head)) {
		*why = "the table has changed while it was read";
		return -EINVAL;
	}
	*ret_in_bytes = bytes;
	return 0;
}

int ioctl_sizes(const struct ioctl_row *row, const struct request *request, size_t *ret_in_bytes,
		size_t *ret_out_bytes, const char **why)
{
	*ret_in_bytes = row->in_bytes;
	*ret_out_bytes = row->out_bytes;
	if (request->in_bytes < row->in_bytes || request->room_bytes < row->out_bytes)
		return 0;
	return row->table ? table_sizes(request, ret_in_bytes, why) : 1;
}
