/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VHOST_USER_H
#define WIRE_VHOST_USER_H

/*
 * vhost-user messages (QEMU docs/interop/vhost-user.rst): numbers, layouts, and pure functions that turn bytes into
 * checked structs. All fields are in the host's byte order. No fd, no socket.
 */

#include <stdbool.h>
#include <stdint.h>

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_LOG_FD = 7,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_NET_SET_MTU = 20,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_IOTLB_MSG = 22,
	VU_SET_VRING_ENDIAN = 23,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_CREATE_CRYPTO_SESSION = 26,
	VU_CLOSE_CRYPTO_SESSION = 27,
	VU_POSTCOPY_ADVISE = 28,
	VU_POSTCOPY_LISTEN = 29,
	VU_POSTCOPY_END = 30,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_GPU_SET_SOCKET = 33,
	VU_RESET_DEVICE = 34,
	VU_VRING_KICK = 35,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
	VU_GET_SHARED_OBJECT = 41,
	VU_SET_DEVICE_STATE_FD = 42,
	VU_CHECK_DEVICE_STATE = 43,
	VU_GET_SHMEM_CONFIG = 44,
	VU_REQUEST_MAX = 45,
};

enum vu_backend_request {
	VU_BACKEND_IOTLB_MSG = 1,
	VU_BACKEND_CONFIG_CHANGE_MSG = 2,
	VU_BACKEND_VRING_CALL = 4,
	VU_BACKEND_VRING_ERR = 5,
};

#define VU_VERSION 1u
#define VU_VERSION_MASK 3u
#define VU_FLAG_REPLY 4u
#define VU_FLAG_NEED_REPLY 8u

#define VU_F_LOG_ALL_BIT 26 /* virtio feature bits */
#define VU_F_PROTOCOL_FEATURES_BIT 30
#define VU_FEATURE_LOG_ALL (UINT64_C(1) << VU_F_LOG_ALL_BIT)

/* Protocol feature bits. */
#define VU_PROTO_MQ_BIT 0
#define VU_PROTO_LOG_SHMFD_BIT 1
#define VU_PROTO_RARP_BIT 2
#define VU_PROTO_REPLY_ACK_BIT 3
#define VU_PROTO_MTU_BIT 4
#define VU_PROTO_BACKEND_REQ_BIT 5
#define VU_PROTO_PAGEFAULT_BIT 8
#define VU_PROTO_CONFIG_BIT 9
#define VU_PROTO_BACKEND_SEND_FD_BIT 10
#define VU_PROTO_INFLIGHT_SHMFD_BIT 12
#define VU_PROTO_RESET_DEVICE_BIT 13
#define VU_PROTO_INBAND_NOTIFICATIONS_BIT 14 /* needs BACKEND_REQ and REPLY_ACK */
#define VU_PROTO_CONFIGURE_MEM_SLOTS_BIT 15
#define VU_PROTO_STATUS_BIT 16
#define VU_PROTO_DEVICE_STATE_BIT 19
#define VU_PROTO_GET_VRING_BASE_INFLIGHT_BIT 20 /* needs INFLIGHT_SHMFD */
#define VU_PROTO_GPA_ADDRESSES_BIT 21

struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size_bytes; /* of the payload */
};

struct vu_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

#define VU_VRING_ADDR_F_LOG 1u

struct vu_log {
	uint64_t mmap_size_bytes;
	uint64_t mmap_offset;
};

struct vu_vring_fd { /* the u64 of KICK, CALL and ERR */
	uint32_t index;
	bool no_fd;
};

struct vu_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t uaddr;
	uint64_t mmap_offset;
};

#define VU_BASELINE_REGIONS_MAX 8u
#define VU_CONFIG_BYTES_MAX 256u

struct vu_config { /* followed by `bytes` bytes */
	uint32_t offset;
	uint32_t bytes;
	uint32_t flags;
};
#define VU_CONFIG_HEADER_BYTES 12u
#define VU_CONFIG_FLAG_WRITABLE 0u
#define VU_CONFIG_FLAG_MIGRATION 1u

struct vu_inflight {
	uint64_t mmap_bytes;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
};
#define VU_INFLIGHT_BYTES	 20u
#define VU_INFLIGHT_PADDED_BYTES 24u /* as compilers lay it out, and QEMU sends and expects it */

#define VU_MEM_TABLE_HEADER_BYTES 8u
#define VU_MEM_TABLE_BYTES_MAX (VU_MEM_TABLE_HEADER_BYTES + 32u * VU_BASELINE_REGIONS_MAX)
#define VU_MEM_REGION_BYTES 40u /* with the padding in front of it */

#define VU_PAYLOAD_BYTES_MAX 4096u /* larger is a lie in every message */
#define VU_FDS_MAX 8u

/*
 * Parsers. `payload` of `bytes` as received (any alignment). 0 or -EINVAL (*why, static); they check sizes and
 * reserved bits, not what an index means.
 */
int vu_parse_header(const void *header, struct vu_header *ret, const char **why);
int vu_parse_u64(const void *payload, uint32_t bytes, uint64_t *ret, const char **why);
int vu_parse_vring_state(const void *payload, uint32_t bytes, struct vu_vring_state *ret, const char **why);
int vu_parse_vring_addr(const void *payload, uint32_t bytes, struct vu_vring_addr *ret, const char **why);
int vu_parse_log(const void *payload, uint32_t bytes, struct vu_log *ret, const char **why);
int vu_parse_vring_fd(const void *payload, uint32_t bytes, struct vu_vring_fd *ret, const char **why);
/*
 * regions[VU_BASELINE_REGIONS_MAX]; checks that the payload holds the 1 to 8 regions that it names. Whole unused
 * ones may follow: Linux's virtio_uml always sends two.
 */
int vu_parse_mem_table(const void *payload, uint32_t bytes, struct vu_region *regions, unsigned *ret_count,
		       const char **why);
int vu_parse_mem_region(const void *payload, uint32_t bytes, struct vu_region *ret, const char **why);
/* In the payload of a memory table or of a single region, which has been parsed: region i's user address. */
void vu_region_uaddr_put(void *payload, unsigned i, uint64_t uaddr);
/* *ret_data points into payload. */
int vu_parse_config(const void *payload, uint32_t bytes, struct vu_config *ret, const uint8_t **ret_data,
		    const char **why);

int vu_parse_inflight(const void *payload, uint32_t bytes, struct vu_inflight *ret, const char **why);
/* For a reply; what follows VU_INFLIGHT_BYTES is zero. */
void vu_build_inflight(const struct vu_inflight *inflight, uint8_t payload[VU_INFLIGHT_PADDED_BYTES]);

const char *vu_request_name(uint32_t request); /* "SET_FEATURES", or "message N" as "unknown" */

#endif
