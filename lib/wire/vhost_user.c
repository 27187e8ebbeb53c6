/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pure functions: what comes out depends on the payload's bytes alone, and every output is written last, on
 * success only. Payloads are copied field by field or as a whole, since they may lie anywhere.
 */
#include "wire/vhost_user.h"
#include "base/util.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define VRING_FD_INDEX_MASK 0xffu
#define VRING_FD_NO_FD_MASK 0x100u

/* As on the wire. */
struct wire_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t uaddr;
	uint64_t mmap_offset;
};

struct wire_mem_region {
	uint64_t padding;
	struct wire_region region;
};

_Static_assert(sizeof(struct vu_header) == 12, "header of a message");
_Static_assert(sizeof(struct vu_vring_state) == 8, "vring state description");
_Static_assert(sizeof(struct vu_vring_addr) == 40, "vring address description");
_Static_assert(sizeof(struct vu_log) == 16, "log description");
_Static_assert(sizeof(struct wire_region) == 32, "memory region description");
_Static_assert(sizeof(struct wire_mem_region) == VU_MEM_REGION_BYTES, "single memory region description");
_Static_assert(sizeof(struct vu_inflight) == VU_INFLIGHT_PADDED_BYTES, "inflight description");
_Static_assert(sizeof(struct vu_config) == VU_CONFIG_HEADER_BYTES, "virtio device config space");

static int refuse(const char **why, const char *reason)
{
	*why = reason;
	return -EINVAL;
}

int vu_parse_header(const void *header, struct vu_header *ret, const char **why)
{
	struct vu_header h;

	memcpy(&h, header, sizeof(h));
	if ((h.flags & VU_VERSION_MASK) != VU_VERSION)
		return refuse(why, "message of an unknown protocol version");
	if (h.flags & ~(VU_VERSION_MASK | VU_FLAG_REPLY | VU_FLAG_NEED_REPLY))
		return refuse(why, "message with reserved flags set");
	if (h.size_bytes > VU_PAYLOAD_BYTES_MAX)
		return refuse(why, "message is too long");
	*ret = h;
	return 0;
}

int vu_parse_u64(const void *payload, uint32_t bytes, uint64_t *ret, const char **why)
{
	if (bytes != sizeof(*ret))
		return refuse(why, "payload is not a u64");
	memcpy(ret, payload, sizeof(*ret));
	return 0;
}

int vu_parse_vring_state(const void *payload, uint32_t bytes, struct vu_vring_state *ret, const char **why)
{
	if (bytes != sizeof(*ret))
		return refuse(why, "payload is not a vring state");
	memcpy(ret, payload, sizeof(*ret));
	return 0;
}

int vu_parse_vring_addr(const void *payload, uint32_t bytes, struct vu_vring_addr *ret, const char **why)
{
	struct vu_vring_addr addr;

	if (bytes != sizeof(addr))
		return refuse(why, "payload is not a vring address");
	memcpy(&addr, payload, sizeof(addr));
	if (addr.flags & ~VU_VRING_ADDR_F_LOG)
		return refuse(why, "vring address with reserved flags set");
	*ret = addr;
	return 0;
}

int vu_parse_log(const void *payload, uint32_t bytes, struct vu_log *ret, const char **why)
{
	if (bytes != sizeof(*ret))
		return refuse(why, "payload is not a log description");
	memcpy(ret, payload, sizeof(*ret));
	return 0;
}

int vu_parse_vring_fd(const void *payload, uint32_t bytes, struct vu_vring_fd *ret, const char **why)
{
	uint64_t value;
	int err = vu_parse_u64(payload, bytes, &value, why);

	if (err)
		return err;
	if (value & ~(uint64_t)(VRING_FD_INDEX_MASK | VRING_FD_NO_FD_MASK))
		return refuse(why, "vring file descriptor with reserved bits set");
	*ret = (struct vu_vring_fd){
		.index = (uint32_t)(value & VRING_FD_INDEX_MASK),
		.no_fd = value & VRING_FD_NO_FD_MASK,
	};
	return 0;
}

static struct vu_region region_of(const struct wire_region *wire)
{
	return (struct vu_region){
		.gpa = wire->gpa,
		.size_bytes = wire->size_bytes,
		.uaddr = wire->uaddr,
		.mmap_offset = wire->mmap_offset,
	};
}

int vu_parse_mem_table(const void *payload, uint32_t bytes, struct vu_region *regions, unsigned *ret_count,
		       const char **why)
{
	const uint8_t *p = payload;
	uint32_t count, room;

	if (bytes < VU_MEM_TABLE_HEADER_BYTES)
		return refuse(why, "memory table is too short");
	if ((bytes - VU_MEM_TABLE_HEADER_BYTES) % sizeof(struct wire_region))
		return refuse(why, "memory table ends inside a region");
	room = (bytes - VU_MEM_TABLE_HEADER_BYTES) / sizeof(struct wire_region);
	memcpy(&count, p, sizeof(count));
	if (!count)
		return refuse(why, "memory table without regions");
	if (count > VU_BASELINE_REGIONS_MAX || room > VU_BASELINE_REGIONS_MAX)
		return refuse(why, "memory table with too many regions");
	if (count > room)
		return refuse(why, "memory table is shorter than its count says");

	p += VU_MEM_TABLE_HEADER_BYTES;
	for (uint32_t i = 0; i < count; i++, p += sizeof(struct wire_region)) {
		struct wire_region wire;

		memcpy(&wire, p, sizeof(wire));
		regions[i] = region_of(&wire);
	}
	*ret_count = count;
	return 0;
}

int vu_parse_mem_region(const void *payload, uint32_t bytes, struct vu_region *ret, const char **why)
{
	struct wire_mem_region wire;

	if (bytes != sizeof(wire))
		return refuse(why, "payload is not a memory region");
	memcpy(&wire, payload, sizeof(wire));
	*ret = region_of(&wire.region);
	return 0;
}

/* What stands before the regions is as long in both. */
void vu_region_uaddr_put(void *payload, unsigned i, uint64_t uaddr)
{
	_Static_assert(offsetof(struct wire_mem_region, region) == VU_MEM_TABLE_HEADER_BYTES, "single memory region description");
	memcpy((uint8_t *)payload + VU_MEM_TABLE_HEADER_BYTES + i * sizeof(struct wire_region) + offsetof(struct wire_region, uaddr),
	       &uaddr, sizeof(uaddr));
}

int vu_parse_config(const void *payload, uint32_t bytes, struct vu_config *ret, const uint8_t **ret_data,
		    const char **why)
{
	struct vu_config config;

	if (bytes < sizeof(config))
		return refuse(why, "config message is too short");
	memcpy(&config, payload, sizeof(config));
	if (config.bytes > VU_CONFIG_BYTES_MAX)
		return refuse(why, "config access is too long");
	if (bytes - sizeof(config) != config.bytes)
		return refuse(why, "config message is not as long as it says");
	if (config.flags != VU_CONFIG_FLAG_WRITABLE && config.flags != VU_CONFIG_FLAG_MIGRATION)
		return refuse(why, "config message with unknown flags");
	*ret = config;
	*ret_data = (const uint8_t *)payload + sizeof(config);
	return 0;
}

int vu_parse_inflight(const void *payload, uint32_t bytes, struct vu_inflight *ret, const char **why)
{
	struct vu_inflight inflight = { 0 };

	if (bytes != VU_INFLIGHT_BYTES && bytes != VU_INFLIGHT_PADDED_BYTES)
		return refuse(why, "payload is not an in-flight description");
	memcpy(&inflight, payload, VU_INFLIGHT_BYTES);
	*ret = inflight;
	return 0;
}

void vu_build_inflight(const struct vu_inflight *inflight, uint8_t payload[VU_INFLIGHT_PADDED_BYTES])
{
	memset(payload, 0, VU_INFLIGHT_PADDED_BYTES);
	memcpy(payload, inflight, VU_INFLIGHT_BYTES);
}

const char *vu_request_name(uint32_t request)
{
	static const char *const names[] = {
		[VU_GET_FEATURES] = "GET_FEATURES",
		[VU_SET_FEATURES] = "SET_FEATURES",
		[VU_SET_OWNER] = "SET_OWNER",
		[VU_RESET_OWNER] = "RESET_OWNER",
		[VU_SET_MEM_TABLE] = "SET_MEM_TABLE",
		[VU_SET_LOG_BASE] = "SET_LOG_BASE",
		[VU_SET_LOG_FD] = "SET_LOG_FD",
		[VU_SET_VRING_NUM] = "SET_VRING_NUM",
		[VU_SET_VRING_ADDR] = "SET_VRING_ADDR",
		[VU_SET_VRING_BASE] = "SET_VRING_BASE",
		[VU_GET_VRING_BASE] = "GET_VRING_BASE",
		[VU_SET_VRING_KICK] = "SET_VRING_KICK",
		[VU_SET_VRING_CALL] = "SET_VRING_CALL",
		[VU_SET_VRING_ERR] = "SET_VRING_ERR",
		[VU_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
		[VU_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
		[VU_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
		[VU_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
		[VU_SEND_RARP] = "SEND_RARP",
		[VU_NET_SET_MTU] = "NET_SET_MTU",
		[VU_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
		[VU_IOTLB_MSG] = "IOTLB_MSG",
		[VU_SET_VRING_ENDIAN] = "SET_VRING_ENDIAN",
		[VU_GET_CONFIG] = "GET_CONFIG",
		[VU_SET_CONFIG] = "SET_CONFIG",
		[VU_CREATE_CRYPTO_SESSION] = "CREATE_CRYPTO_SESSION",
		[VU_CLOSE_CRYPTO_SESSION] = "CLOSE_CRYPTO_SESSION",
		[VU_POSTCOPY_ADVISE] = "POSTCOPY_ADVISE",
		[VU_POSTCOPY_LISTEN] = "POSTCOPY_LISTEN",
		[VU_POSTCOPY_END] = "POSTCOPY_END",
		[VU_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
		[VU_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
		[VU_GPU_SET_SOCKET] = "GPU_SET_SOCKET",
		[VU_RESET_DEVICE] = "RESET_DEVICE",
		[VU_VRING_KICK] = "VRING_KICK",
		[VU_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
		[VU_ADD_MEM_REG] = "ADD_MEM_REG",
		[VU_REM_MEM_REG] = "REM_MEM_REG",
		[VU_SET_STATUS] = "SET_STATUS",
		[VU_GET_STATUS] = "GET_STATUS",
		[VU_GET_SHARED_OBJECT] = "GET_SHARED_OBJECT",
		[VU_SET_DEVICE_STATE_FD] = "SET_DEVICE_STATE_FD",
		[VU_CHECK_DEVICE_STATE] = "CHECK_DEVICE_STATE",
		[VU_GET_SHMEM_CONFIG] = "GET_SHMEM_CONFIG",
	};

	if (request >= ARRAY_SIZE(names) || !names[request])
		return "unknown";
	return names[request];
}
