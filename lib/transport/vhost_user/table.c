/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "transport/vhost_user/session_internal.h"
#include "wire/iotlb.h"

#define GATE(feature) (VU_PROTO_##feature##_BIT + 1)
#define PAYLOAD(bytes) .payload_min_bytes = (bytes), .payload_max_bytes = (bytes)
#define FDS(min, max) .fds_min = (min), .fds_max = (max)

#define INFLIGHT .payload_min_bytes = VU_INFLIGHT_BYTES, .payload_max_bytes = VU_INFLIGHT_PADDED_BYTES

#define STATE_BYTES 8u
#define ADDR_BYTES 40u
#define LOG_BYTES  16u

/*
 * Numbers that are not here belong to protocol features which are not offered; reasons[] has those that never will be.
 */
static const struct message_row rows[] = {
	[VU_GET_FEATURES] = { handle_get_features, .replies = true },
	[VU_SET_FEATURES] = { handle_set_features, prepare_set_features, PAYLOAD(8), .quiet = QUIET_ALL },
	[VU_SET_OWNER] = { handle_set_owner },
	[VU_RESET_OWNER] = { handle_reset_owner },
	[VU_SET_MEM_TABLE] = { handle_memory, prepare_mem_table, .payload_min_bytes = VU_MEM_TABLE_HEADER_BYTES,
			       .payload_max_bytes = VU_MEM_TABLE_BYTES_MAX,
			       FDS(0, VU_BASELINE_REGIONS_MAX), .quiet = QUIET_MEMORY },
	[VU_SET_LOG_BASE] = { handle_set_log_base, prepare_set_log_base, PAYLOAD(LOG_BYTES), FDS(1, 1), .gate = GATE(LOG_SHMFD),
			      .quiet = QUIET_ALL, .replies = true },
	[VU_SET_LOG_FD] = { handle_set_log_fd, FDS(1, 1) },
	[VU_SET_VRING_NUM] = { handle_set_vring_num, PAYLOAD(STATE_BYTES), .quiet = QUIET_STATE },
	[VU_SET_VRING_ADDR] = { handle_set_vring_addr, prepare_set_vring_addr, PAYLOAD(ADDR_BYTES), .quiet = QUIET_STATE },
	[VU_SET_VRING_BASE] = { handle_set_vring_base, PAYLOAD(STATE_BYTES), .quiet = QUIET_STATE },
	[VU_GET_VRING_BASE] = { handle_get_vring_base, PAYLOAD(STATE_BYTES), .quiet = QUIET_STATE,
				.replies = true, .tells = true },
	[VU_SET_VRING_KICK] = { handle_set_vring_kick, PAYLOAD(8), FDS(0, 1), .quiet = QUIET_FD },
	[VU_SET_VRING_CALL] = { handle_set_vring_call, PAYLOAD(8), FDS(0, 1), .quiet = QUIET_FD },
	[VU_SET_VRING_ERR] = { handle_set_vring_err, PAYLOAD(8), FDS(0, 1) },
	[VU_GET_PROTOCOL_FEATURES] = { handle_get_protocol_features, .replies = true },
	[VU_SET_PROTOCOL_FEATURES] = { handle_set_protocol_features, PAYLOAD(8) },
	[VU_GET_QUEUE_NUM] = { handle_get_queue_num, .gate = GATE(MQ), .replies = true },
	[VU_SET_VRING_ENABLE] = { handle_set_vring_enable, PAYLOAD(STATE_BYTES) },
	[VU_SEND_RARP] = { handle_send_rarp, PAYLOAD(8), .gate = GATE(RARP) },
	[VU_NET_SET_MTU] = { handle_net_set_mtu, PAYLOAD(8), .gate = GATE(MTU) },
	[VU_SET_BACKEND_REQ_FD] = { handle_set_backend_req_fd, FDS(1, 1), .gate = GATE(BACKEND_REQ) },
	[VU_IOTLB_MSG] = { handle_iotlb, prepare_iotlb, PAYLOAD(IOTLB_BODY_BYTES), .quiet = QUIET_IOTLB, .replies = true },
	[VU_GET_CONFIG] = { handle_get_config, .payload_min_bytes = VU_CONFIG_HEADER_BYTES,
			    .payload_max_bytes = VU_CONFIG_HEADER_BYTES + VU_CONFIG_BYTES_MAX,
			    .gate = GATE(CONFIG), .replies = true },
	[VU_SET_CONFIG] = { handle_set_config, .payload_min_bytes = VU_CONFIG_HEADER_BYTES,
			    .payload_max_bytes = VU_CONFIG_HEADER_BYTES + VU_CONFIG_BYTES_MAX,
			    .gate = GATE(CONFIG) },
	[VU_GET_INFLIGHT_FD] = { handle_get_inflight_fd, INFLIGHT, .gate = GATE(INFLIGHT_SHMFD), .replies = true },
	[VU_SET_INFLIGHT_FD] = { handle_set_inflight_fd, INFLIGHT, FDS(1, 1), .gate = GATE(INFLIGHT_SHMFD), .quiet = QUIET_ALL },
	[VU_RESET_DEVICE] = { handle_reset_device, .gate = GATE(RESET_DEVICE), .quiet = QUIET_ALL },
	[VU_VRING_KICK] = { handle_vring_kick, prepare_vring_kick, PAYLOAD(STATE_BYTES), .gate = GATE(INBAND_NOTIFICATIONS),
			    .quiet = QUIET_STATE },
	[VU_POSTCOPY_ADVISE] = { handle_postcopy_advise, .gate = GATE(PAGEFAULT), .replies = true },
	[VU_POSTCOPY_LISTEN] = { handle_postcopy_listen, .gate = GATE(PAGEFAULT) },
	[VU_POSTCOPY_END] = { handle_postcopy_end, prepare_postcopy_end, .gate = GATE(PAGEFAULT), .quiet = QUIET_ALL,
			      .replies = true },
	[VU_GET_MAX_MEM_SLOTS] = { handle_get_max_mem_slots, .gate = GATE(CONFIGURE_MEM_SLOTS),
				   .replies = true },
	[VU_ADD_MEM_REG] = { handle_memory, prepare_add_mem_reg, PAYLOAD(VU_MEM_REGION_BYTES), FDS(1, 1),
			     .gate = GATE(CONFIGURE_MEM_SLOTS), .quiet = QUIET_MEMORY },
	/* The fd may come, of no use (vhost-user: "REM_MEM_REG"). */
	[VU_REM_MEM_REG] = { handle_memory, prepare_rem_mem_reg, PAYLOAD(VU_MEM_REGION_BYTES), FDS(0, 1),
			     .gate = GATE(CONFIGURE_MEM_SLOTS), .quiet = QUIET_MEMORY },
	[VU_SET_STATUS] = { handle_set_status, PAYLOAD(8), .gate = GATE(STATUS), .quiet = QUIET_ALL },
	[VU_GET_STATUS] = { handle_get_status, .gate = GATE(STATUS), .replies = true },
	[VU_SET_DEVICE_STATE_FD] = { handle_set_device_state_fd, PAYLOAD(STATE_BYTES), FDS(1, 1),
				     .gate = GATE(DEVICE_STATE), .replies = true },
	[VU_CHECK_DEVICE_STATE] = { handle_check_device_state, .gate = GATE(DEVICE_STATE), .replies = true },
};

/* Messages that there are, and that make no sense to a device of ours: docs/vhost-user.md has the same list. */
static const char *const reasons[] = {
	[VU_SET_VRING_ENDIAN] = "rings of another byte order are legacy's, and VERSION_1 is always offered: CROSS_ENDIAN is not",
	[VU_CREATE_CRYPTO_SESSION] = "the device is no crypto device",
	[VU_CLOSE_CRYPTO_SESSION] = "the device is no crypto device",
	[VU_GPU_SET_SOCKET] = "the device is no GPU",
	[VU_GET_SHARED_OBJECT] = "the device shares no objects",
	[VU_GET_SHMEM_CONFIG] = "the device has no shared memory regions",
};

static const char *absence(uint32_t request)
{
	return request < ARRAY_SIZE(reasons) && reasons[request] ? reasons[request] : "there is no such message";
}

static const struct message_row *row_of(const struct session *session, const struct message *message, const char **why)
{
	const struct message_row *row;

	if (postcopy_row(session, message, &row, why))
		return row;
	if (message->header.request < ARRAY_SIZE(rows) && rows[message->header.request].handle)
		return &rows[message->header.request];
	*why = absence(message->header.request);
	return NULL;
}

static const char *row_complaint(const struct session *session, const struct message *message,
				 const struct message_row *row)
{
	if (row->gate && !session_accepted(session, row->gate - 1u))
		return "its protocol feature has not been negotiated";
	if (message->header.size_bytes < row->payload_min_bytes)
		return "the payload is too short";
	if (message->header.size_bytes > row->payload_max_bytes)
		return "the payload is too long";
	if (message->fd_count < row->fds_min)
		return "a file descriptor is missing";
	if (message->fd_count > row->fds_max)
		return "too many file descriptors";
	return NULL;
}

const struct message_row *message_row(const struct session *session, const struct message *message,
				      const char **why)
{
	const struct message_row *row = row_of(session, message, why);
	const char *complaint;

	if (!row)
		return NULL;
	complaint = row_complaint(session, message, row);
	if (complaint)
		*why = complaint;
	return complaint ? NULL : row;
}
