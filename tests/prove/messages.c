/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Messages: each parser, given so many bytes and not one more, of any length and with anything in them, reads nothing beyond them,
 * and lets through what its header promises.
 * Bounds: none. The longest payload is what vu_parse_header() lets through, and one byte more.
 */

#include "prove.h"
#include "wire/iotlb.c"
#define refuse vduse_refuse
#include "wire/vduse.c"
#undef refuse
#define refuse vu_refuse
#include "wire/vhost_user.c"
#undef refuse

static uint32_t any_length(void)
{
	uint32_t bytes = nondet_u32();

	assume(bytes <= VU_PAYLOAD_BYTES_MAX + 1);
	return bytes;
}

void prove_header(void)
{
	struct vu_header header;
	const char *why;

	if (vu_parse_header(any_bytes(sizeof(header)), &header, &why))
		return;
	assert(header.size_bytes <= VU_PAYLOAD_BYTES_MAX);
	assert((header.flags & VU_VERSION_MASK) == VU_VERSION);
}

void prove_mem_table(void)
{
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	uint32_t bytes = any_length();
	unsigned count;
	const char *why;

	if (vu_parse_mem_table(any_bytes(bytes), bytes, regions, &count, &why))
		return;
	assert(count >= 1 && count <= VU_BASELINE_REGIONS_MAX);
	assert(VU_MEM_TABLE_HEADER_BYTES + count * sizeof(struct wire_region) <= bytes);
}

/* Where an address is put into what has been parsed. */
void prove_region_uaddr_put(void)
{
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	uint32_t bytes = any_length(), i = nondet_u32();
	void *payload = any_bytes(bytes);
	unsigned count = 1;
	const char *why;

	if (nondet_bool() ? vu_parse_mem_table(payload, bytes, regions, &count, &why) : vu_parse_mem_region(payload, bytes, regions, &why))
		return;
	assume(i < count);
	vu_region_uaddr_put(payload, i, nondet_u64());
}

void prove_config(void)
{
	uint32_t bytes = any_length();
	const uint8_t *payload = any_bytes(bytes), *data;
	struct vu_config config;
	const char *why;

	if (vu_parse_config(payload, bytes, &config, &data, &why))
		return;
	assert(config.bytes <= VU_CONFIG_BYTES_MAX);
	assert(__CPROVER_r_ok(data, config.bytes));
}

void prove_small_payloads(void)
{
	struct vu_vring_state state;
	struct vu_inflight inflight;
	struct vu_vring_addr addr;
	struct vu_region region;
	struct vu_vring_fd fd;
	struct vu_log log;
	uint64_t value;
	uint32_t bytes = any_length();
	const void *payload = any_bytes(bytes);
	const char *why;

	vu_parse_u64(payload, bytes, &value, &why);
	vu_parse_vring_state(payload, bytes, &state, &why);
	if (!vu_parse_vring_addr(payload, bytes, &addr, &why))
		assert(!(addr.flags & ~VU_VRING_ADDR_F_LOG));
	vu_parse_log(payload, bytes, &log, &why);
	if (!vu_parse_vring_fd(payload, bytes, &fd, &why))
		assert(fd.index <= 0xff);
	vu_parse_mem_region(payload, bytes, &region, &why);
	if (!vu_parse_inflight(payload, bytes, &inflight, &why)) {
		uint8_t answer[VU_INFLIGHT_PADDED_BYTES];

		vu_build_inflight(&inflight, answer);
	}
}

void prove_request_name(void)
{
	assert(vu_request_name(nondet_u32()) != NULL);
}

/* What passes describes a range that does not wrap round; both of what comes from the kernel and from a front end. */
void prove_iotlb(void)
{
	uint32_t bytes = any_length();
	struct iotlb_message m;
	const char *why;

	if (nondet_bool() ? iotlb_parse(any_bytes(bytes), bytes, &m, &why) : iotlb_body_parse(any_bytes(IOTLB_BODY_BYTES), &m, &why))
		return;
	assert(m.iova + (m.size_bytes - 1) >= m.iova);
	if (m.type == VHOST_IOTLB_UPDATE) {
		assert(m.size_bytes && m.iova <= UINT64_MAX - m.size_bytes && m.uaddr <= UINT64_MAX - m.size_bytes);
		assert(m.perm >= 1 && m.perm <= 3);
	}
}

void prove_vduse(void)
{
	uint32_t bytes = any_length();
	struct vduse_request request;
	const char *why;

	if (vduse_parse_request(any_bytes(bytes), bytes, nondet_u64(), &request, &why))
		return;
	assert(request.type != VDUSE_MSG_UPDATE_IOTLB || request.first <= request.last);
}

/* A base goes there and back. */
void prove_vduse_base(void)
{
	uint32_t base = nondet_u32();
	union vduse_wire_state state;

	state = vduse_state(base, true);
	assert(vduse_base(&state, true) == base);
	state = vduse_state(base, false);
	assert(vduse_base(&state, false) == (base & UINT16_MAX));
}
