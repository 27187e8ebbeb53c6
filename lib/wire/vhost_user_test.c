/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "wire/vhost_user.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * A payload of exactly `bytes` bytes that ends at the end of an allocation and starts at an odd address, so
 * that a sanitizer sees a parser that reads beyond it or expects alignment.
 */
struct payload {
	uint8_t *allocation, *data;
	uint32_t bytes;
};

static struct payload payload_of(const void *content, uint32_t content_bytes, uint32_t bytes)
{
	struct payload p = { .allocation = calloc(1, bytes + 1), .bytes = bytes };

	assert_non_null(p.allocation);
	p.data = p.allocation + 1;
	memcpy(p.data, content, min_u32(content_bytes, bytes));
	return p;
}

/* Runs `parse` (over p and why) on `content`, cut or lengthened to every size; only `right` passes. */
#define assert_size_is_exact(content, right, limit, parse)                        \
	for (uint32_t size = 0; size <= (limit); size++) {                        \
		struct payload p = payload_of(&(content), sizeof(content), size); \
		const char *why = NULL;                                           \
		int err = (parse);                                                \
                                                                                  \
		assert_int_equal(err, size == (right) ? 0 : -EINVAL);             \
		assert_true(!err == !why);                                        \
		free(p.allocation);                                               \
	}

static int parse_header(uint32_t request, uint32_t flags, uint32_t size, struct vu_header *ret)
{
	const uint32_t words[3] = { request, flags, size };
	struct payload p = payload_of(words, sizeof(words), sizeof(words));
	const char *why = NULL;
	int err = vu_parse_header(p.data, ret, &why);

	assert_true(!err == !why);
	free(p.allocation);
	return err;
}

static void header_says_request_flags_and_size(void **state)
{
	struct vu_header h;

	assert_int_equal(parse_header(VU_SET_MEM_TABLE, VU_VERSION | VU_FLAG_NEED_REPLY, 72, &h), 0);
	assert_int_equal(h.request, VU_SET_MEM_TABLE);
	assert_int_equal(h.flags, VU_VERSION | VU_FLAG_NEED_REPLY);
	assert_int_equal(h.size_bytes, 72);
	assert_int_equal(parse_header(0xffffffff, VU_VERSION | VU_FLAG_REPLY, VU_PAYLOAD_BYTES_MAX, &h), 0);
}

static void header_of_another_version_is_refused(void **state)
{
	struct vu_header h = { .request = 77 };

	for (uint32_t version = 0; version <= 3; version++)
		assert_int_equal(parse_header(1, version, 0, &h), version == VU_VERSION ? 0 : -EINVAL);
}

static void header_with_reserved_flags_is_refused(void **state)
{
	struct vu_header h = { .request = 77 };

	for (int bit = 4; bit < 32; bit++)
		assert_int_equal(parse_header(1, VU_VERSION | 1u << bit, 0, &h), -EINVAL);
	assert_int_equal(h.request, 77);
}

static void payload_that_is_too_long_is_refused(void **state)
{
	struct vu_header h;

	assert_int_equal(parse_header(1, VU_VERSION, VU_PAYLOAD_BYTES_MAX + 1, &h), -EINVAL);
	assert_int_equal(parse_header(1, VU_VERSION, 0x80000000, &h), -EINVAL);
	assert_int_equal(parse_header(1, VU_VERSION, 0xffffffff, &h), -EINVAL);
}

static void u64_has_exactly_8_bytes(void **state)
{
	const uint64_t content = UINT64_C(0x123456789abcdef0);
	uint64_t value = 0;

	assert_size_is_exact(content, 8, 17, vu_parse_u64(p.data, p.bytes, &value, &why));
	assert_int_equal(value, content);
}

static void vring_state_has_exactly_8_bytes(void **state)
{
	const uint32_t content[2] = { 0xfffffffe, 0xcafe };
	struct vu_vring_state s = { 0 };

	assert_size_is_exact(content, 8, 17, vu_parse_vring_state(p.data, p.bytes, &s, &why));
	assert_int_equal(s.index, 0xfffffffe); /* all 32 bits, so that all of them get checked */
	assert_int_equal(s.num, 0xcafe);
}

static void vring_address_has_exactly_40_bytes(void **state)
{
	const struct vu_vring_addr content = { 5, 1, 0x1000, 0x2000, 0x3000, 0x4000 };
	struct vu_vring_addr a = { 0 };

	assert_size_is_exact(content, 40, 81, vu_parse_vring_addr(p.data, p.bytes, &a, &why));
	assert_memory_equal(&a, &content, sizeof(a));
	assert_int_equal(content.used, 0x2000); /* desc, used, avail, log: the order of the wire */
}

static void vring_address_with_reserved_flags_is_refused(void **state)
{
	struct vu_vring_addr content = { .index = 5 }, a = { .index = 77 };
	const char *why;

	for (int bit = 1; bit < 32; bit++) {
		content.flags = 1u << bit;
		assert_int_equal(vu_parse_vring_addr(&content, 40, &a, &why), -EINVAL);
	}
	assert_int_equal(a.index, 77);
}

static void vring_fd_has_exactly_8_bytes(void **state)
{
	const uint64_t content = 0x1fe;
	struct vu_vring_fd f = { 0 };

	assert_size_is_exact(content, 8, 17, vu_parse_vring_fd(p.data, p.bytes, &f, &why));
	assert_int_equal(f.index, 0xfe);
	assert_true(f.no_fd);
}

static void vring_fd_with_reserved_bits_is_refused(void **state)
{
	struct vu_vring_fd f = { .index = 77 };
	const char *why;
	uint64_t value;

	for (int bit = 9; bit < 64; bit++) {
		value = UINT64_C(1) << bit;
		assert_int_equal(vu_parse_vring_fd(&value, 8, &f, &why), -EINVAL);
	}
	assert_int_equal(f.index, 77);
	value = 0xff;
	assert_int_equal(vu_parse_vring_fd(&value, 8, &f, &why), 0);
	assert_int_equal(f.index, 0xff);
	assert_false(f.no_fd);
}

/* ---- memory ---- */

struct table {
	uint32_t count, padding;
	struct vu_region regions[12];
};

static struct table table_of(uint32_t count)
{
	struct table t = { .count = count, .padding = 0xdeadbeef /* its value has no meaning */ };

	for (unsigned i = 0; i < ARRAY_SIZE(t.regions); i++)
		t.regions[i] = (struct vu_region){ i + 1, i + 100, i + 1000, i + 10000 };
	return t;
}

static int parse_table(const struct table *t, uint32_t bytes, struct vu_region *regions, unsigned *count)
{
	struct payload p = payload_of(t, sizeof(*t), bytes);
	const char *why = NULL;
	int err = vu_parse_mem_table(p.data, p.bytes, regions, count, &why);

	assert_true(!err == !why);
	free(p.allocation);
	return err;
}

static void memory_table_holds_one_to_eight_regions(void **state)
{
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	unsigned count = 77;

	for (uint32_t named = 0; named <= 12; named++) {
		struct table t = table_of(named);
		bool fits = named >= 1 && named <= 8;

		memset(regions, 0, sizeof(regions));
		assert_int_equal(parse_table(&t, 8 + named * 32, regions, &count), fits ? 0 : -EINVAL);
		if (!fits)
			continue;
		assert_int_equal(count, named);
		assert_memory_equal(regions, t.regions, named * sizeof(regions[0]));
	}
}

static void memory_table_shorter_than_its_count_is_refused(void **state)
{
	static const uint32_t lies[] = { 3, 4, 8, 9, 0x10001, 0x80000002, 0xffffffff, 0x08000002 };
	struct vu_region regions[VU_BASELINE_REGIONS_MAX] = { { .gpa = 77 } };
	unsigned count = 77;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct table t = table_of(lies[i]);

		assert_int_equal(parse_table(&t, 8 + 2 * 32, regions, &count), -EINVAL);
	}
	assert_int_equal(count, 77);
	assert_int_equal(regions[0].gpa, 77);
}

static void memory_table_may_carry_whole_unused_regions(void **state)
{
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	struct table t = table_of(1);
	unsigned count;

	for (uint32_t room = 1; room <= 12; room++) {
		regions[1].gpa = 77;
		assert_int_equal(parse_table(&t, 8 + room * 32, regions, &count), room <= 8 ? 0 : -EINVAL);
		assert_int_equal(count, 1);
		assert_int_equal(regions[1].gpa, 77); /* what is not named is not taken */
	}
}

static void memory_table_that_ends_inside_a_region_is_refused(void **state)
{
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	struct table t = table_of(2);
	unsigned count;

	for (uint32_t bytes = 0; bytes <= 8 + 9 * 32; bytes++) {
		bool whole = bytes >= 8 + 2 * 32 && bytes <= 8 + 8 * 32 && (bytes - 8) % 32 == 0;

		assert_int_equal(parse_table(&t, bytes, regions, &count), whole ? 0 : -EINVAL);
	}
}

static void memory_region_has_exactly_40_bytes(void **state)
{
	const uint64_t content[5] = { 0xdeadbeef, 1, 2, 3, 4 };
	struct vu_region r = { 0 };

	assert_size_is_exact(content, 40, 81, vu_parse_mem_region(p.data, p.bytes, &r, &why));
	assert_int_equal(r.gpa, 1);
	assert_int_equal(r.size_bytes, 2);
	assert_int_equal(r.uaddr, 3);
	assert_int_equal(r.mmap_offset, 4);
}

/* ---- config space ---- */

struct config_message {
	struct vu_config config;
	uint8_t data[300];
};

static int parse_config(const struct config_message *m, uint32_t bytes, struct vu_config *ret, uint8_t *first)
{
	struct payload p = payload_of(m, sizeof(*m), bytes);
	const uint8_t *data = NULL;
	const char *why = NULL;
	int err = vu_parse_config(p.data, p.bytes, ret, &data, &why);

	assert_true(!err == !why);
	assert_true(!err == !!data);
	if (!err) {
		assert_ptr_equal(data, p.data + VU_CONFIG_HEADER_BYTES);
		if (ret->bytes)
			*first = *data;
	}
	free(p.allocation);
	return err;
}

static void config_message_is_as_long_as_it_says(void **state)
{
	struct config_message m = { .config = { .offset = 6, .flags = 1 }, .data = { 0xaa } };
	struct vu_config config;
	uint8_t first = 0;

	for (uint32_t said = 0; said <= 20; said++) {
		for (uint32_t bytes = 0; bytes <= 40; bytes++) {
			m.config.bytes = said;
			assert_int_equal(parse_config(&m, bytes, &config, &first),
					 bytes == 12 + said ? 0 : -EINVAL);
		}
	}
	assert_int_equal(config.offset, 6);
	assert_int_equal(config.bytes, 20);
	assert_int_equal(config.flags, 1);
	assert_int_equal(first, 0xaa);
}

static void config_access_of_more_than_256_bytes_is_refused(void **state)
{
	static const uint32_t lies[] = { 257, 288, 0x80000000, 0xffffffff, 0xfffffff4 /* + 12 wraps to 0 */ };
	struct config_message m = { .config = { .bytes = 256 } };
	struct vu_config config = { .offset = 77 };
	uint8_t first;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		m.config.bytes = lies[i];
		assert_int_equal(parse_config(&m, 12 + min_u32(lies[i], 288), &config, &first), -EINVAL);
		assert_int_equal(parse_config(&m, 12, &config, &first), -EINVAL);
	}
	assert_int_equal(config.offset, 77);
	m.config.bytes = 256;
	assert_int_equal(parse_config(&m, 12 + 256, &config, &first), 0);
}

static void config_message_with_unknown_flags_is_refused(void **state)
{
	struct config_message m = { .config = { .bytes = 1 } };
	struct vu_config config;
	uint8_t first;

	for (uint32_t flags = 0; flags < 5; flags++) {
		m.config.flags = flags;
		assert_int_equal(parse_config(&m, 13, &config, &first), flags <= 1 ? 0 : -EINVAL);
	}
}

/* ---- all of them ---- */

/* Every parser on the same bytes; the results, as bytes. Also what a fuzzer would do. */
static void parse_everything(const uint8_t *data, uint32_t bytes, uint8_t result[1024])
{
	struct results {
		int errors[9];
		struct vu_header header;
		uint64_t u64;
		struct vu_vring_state vring_state;
		struct vu_vring_addr addr;
		uint32_t fd_index;
		uint32_t no_fd;
		struct vu_region regions[VU_BASELINE_REGIONS_MAX], region;
		unsigned count;
		struct vu_config config;
		const uint8_t *config_data;
		struct vu_inflight inflight;
	} r;
	struct vu_vring_fd fd = { 0 }; /* has padding, which need not be the same twice */
	const char *why;

	_Static_assert(sizeof(r) <= 1024, "results");
	memset(&r, 0, sizeof(r));
	r.errors[0] = bytes < 12 ? 1 : vu_parse_header(data, &r.header, &why);
	r.errors[1] = vu_parse_u64(data, bytes, &r.u64, &why);
	r.errors[2] = vu_parse_vring_state(data, bytes, &r.vring_state, &why);
	r.errors[3] = vu_parse_vring_addr(data, bytes, &r.addr, &why);
	r.errors[4] = vu_parse_vring_fd(data, bytes, &fd, &why);
	r.fd_index = fd.index;
	r.no_fd = fd.no_fd;
	r.errors[5] = vu_parse_mem_table(data, bytes, r.regions, &r.count, &why);
	r.errors[6] = vu_parse_mem_region(data, bytes, &r.region, &why);
	r.errors[7] = vu_parse_config(data, bytes, &r.config, &r.config_data, &why);
	r.errors[8] = vu_parse_inflight(data, bytes, &r.inflight, &why);
	memset(result, 0, 1024);
	memcpy(result, &r, sizeof(r));
}

static void parsers_are_pure_and_stay_inside_their_payload(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 8, 12, 13, 20, 40, 72, 264 };
	uint8_t once[1024], again[1024];
	uint64_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		uint32_t bytes = sizes[(unsigned)round % ARRAY_SIZE(sizes)];
		uint8_t content[264], before[264];
		struct payload p;

		for (size_t i = 0; i < sizeof(content); i++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			/* Mostly small numbers, so that much of it makes sense. */
			content[i] =
				(uint8_t)(seed >> 60 ? (seed >> 59 & 1) * (seed >> 40 & 15) : seed >> 32);
		}
		p = payload_of(content, sizeof(content), bytes);
		memcpy(before, p.data, bytes);
		parse_everything(p.data, bytes, once);
		parse_everything(p.data, bytes, again);
		assert_memory_equal(once, again, sizeof(once));
		assert_memory_equal(p.data, before, bytes);
		free(p.allocation);
	}
}

/* QEMU sends, and expects, what its compiler lays out; the specification's table ends before the padding. */
static void in_flight_description_is_of_either_length(void **state)
{
	const struct vu_inflight told = { 4096, 64, 3, 128 };
	uint8_t payload[VU_INFLIGHT_PADDED_BYTES];
	struct vu_inflight back;
	const char *why;

	memset(payload, 0xff, sizeof(payload));
	vu_build_inflight(&told, payload);
	for (uint32_t bytes = 0; bytes <= sizeof(payload); bytes++) {
		struct payload p = payload_of(payload, sizeof(payload), bytes);
		int r = vu_parse_inflight(p.data, bytes, &back, &why);

		free(p.allocation);
		if (bytes != VU_INFLIGHT_BYTES && bytes != VU_INFLIGHT_PADDED_BYTES) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(back.mmap_bytes, 4096);
		assert_int_equal(back.mmap_offset, 64);
		assert_int_equal(back.num_queues, 3);
		assert_int_equal(back.queue_size, 128);
	}
	for (unsigned i = VU_INFLIGHT_BYTES; i < sizeof(payload); i++)
		assert_int_equal(payload[i], 0);
}

static void requests_have_names(void **state)
{
	assert_string_equal(vu_request_name(VU_SET_FEATURES), "SET_FEATURES");
	assert_string_equal(vu_request_name(VU_GET_STATUS), "GET_STATUS");
	assert_string_equal(vu_request_name(0), "unknown");
	assert_string_equal(vu_request_name(VU_REQUEST_MAX), "unknown");
	assert_string_equal(vu_request_name(99), "unknown");
	assert_string_equal(vu_request_name(UINT32_MAX), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_says_request_flags_and_size),
		cmocka_unit_test(header_of_another_version_is_refused),
		cmocka_unit_test(header_with_reserved_flags_is_refused),
		cmocka_unit_test(payload_that_is_too_long_is_refused),
		cmocka_unit_test(u64_has_exactly_8_bytes),
		cmocka_unit_test(in_flight_description_is_of_either_length),
		cmocka_unit_test(vring_state_has_exactly_8_bytes),
		cmocka_unit_test(vring_address_has_exactly_40_bytes),
		cmocka_unit_test(vring_address_with_reserved_flags_is_refused),
		cmocka_unit_test(vring_fd_has_exactly_8_bytes),
		cmocka_unit_test(vring_fd_with_reserved_bits_is_refused),
		cmocka_unit_test(memory_table_holds_one_to_eight_regions),
		cmocka_unit_test(memory_table_shorter_than_its_count_is_refused),
		cmocka_unit_test(memory_table_may_carry_whole_unused_regions),
		cmocka_unit_test(memory_table_that_ends_inside_a_region_is_refused),
		cmocka_unit_test(memory_region_has_exactly_40_bytes),
		cmocka_unit_test(config_message_is_as_long_as_it_says),
		cmocka_unit_test(config_access_of_more_than_256_bytes_is_refused),
		cmocka_unit_test(config_message_with_unknown_flags_is_refused),
		cmocka_unit_test(parsers_are_pure_and_stay_inside_their_payload),
		cmocka_unit_test(requests_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
