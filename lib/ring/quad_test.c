/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Chains laid by fours and one by one are the same chains: two rings look at the same memory, one of them with
 * the CPU's vector instructions and one without, whatever is written there.
 */

#include "ring_test_driver.h"
#include <sys/mman.h>

#define ROUNDS	    20000
#define REGION_BYTES (1u << 20)
#define REGION_GPA  UINT64_C(0x100000)

struct pair {
	struct map *map;
	struct ring *plain, *quads;
	uint8_t areas[3][64 * 16] __attribute__((aligned(64)));
	void *table; /* of descriptors; NULL: areas[0] */
	struct ring_setup setup;
	uint64_t seed;
};

static uint32_t any(struct pair *p, uint32_t below)
{
	p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(p->seed >> 33) % below;
}

/* Two regions side by side; all the usual lies in one of them. */
static struct map *map_of_two(void)
{
	struct map *map = calloc(1, sizeof(*map) + 2 * sizeof(map->regions[0]));

	assert_non_null(map);
	map->refs = 1;
	map->count = 2;
	for (unsigned i = 0; i < 2; i++)
		map->regions[i] = (struct map_region){.gpa = REGION_GPA + (uint64_t)i * REGION_BYTES,
						      .size_bytes = REGION_BYTES,
						      .host = test_alloc(REGION_BYTES)};
	return map;
}

static void map_of_two_free(struct map *map)
{
	free(map->regions[0].host);
	free(map->regions[1].host);
	free(map);
}

static void pair_new(struct pair *p, bool packed, bool in_order, uint32_t size, uint64_t seed)
{
	const char *why;

	p->seed = seed;
	memset(p->areas, 0, sizeof(p->areas));
	p->setup = (struct ring_setup){.packed = packed, .in_order = in_order, .indirect = true, .size = size, .map = p->map,
				       .desc = p->table ? p->table : p->areas[0], .driver = p->areas[1], .device = p->areas[2], .plain = true,
				       .base = packed ? 0x80008000 : 0};
	assert_int_equal(ring_new(&p->setup, &p->plain, &why), 0);
	p->setup.plain = false;
	assert_int_equal(ring_new(&p->setup, &p->quads, &why), 0);
}

/* Mostly a buffer as any driver makes them; `oddity` in a hundred are not. */
static uint64_t address(struct pair *p, uint32_t oddity)
{
	const uint64_t odd[] = {0, REGION_GPA - 1, REGION_GPA + 2 * REGION_BYTES - 3, REGION_GPA + REGION_BYTES - 100,
				REGION_GPA + REGION_BYTES + 5, UINT64_MAX - 10, REGION_GPA + 2 * REGION_BYTES};

	return any(p, 100) < oddity ? odd[any(p, ARRAY_SIZE(odd))] : REGION_GPA + any(p, REGION_BYTES - (1 << 17));
}

static uint32_t length(struct pair *p, uint32_t oddity)
{
	const uint32_t odd[] = {0, 1, 65535, 65536, 65537, 1 << 20, UINT32_MAX};

	return any(p, 100) < oddity ? odd[any(p, ARRAY_SIZE(odd))] : 1 + any(p, 2000);
}

static unsigned direction(struct pair *p, uint32_t oddity, unsigned usual)
{
	return any(p, 100) < oddity ? any(p, 8) : usual;
}

static void fill_split(struct pair *p, uint32_t oddity, unsigned usual)
{
	struct split_desc *desc = p->setup.desc;
	struct split_avail *avail = (void *)p->areas[1];
	uint32_t size = p->setup.size, head = any(p, size), count = any(p, size + 1);

	for (uint32_t i = 0; i < size; i++)
		desc[i] = (struct split_desc){.addr = le64(address(p, oddity)), .len = le32(length(p, oddity)),
					      .flags = le16((uint16_t)direction(p, oddity, usual)),
					      .next = le16((uint16_t)any(p, size + 1))};
	for (uint32_t i = 0; i < count; i++, head++)
		avail->ring[i] = le16((uint16_t)(any(p, 100) < oddity ? any(p, size + 2) : head % size));
	avail->idx = le16((uint16_t)count);
}

static void fill_packed(struct pair *p, uint32_t oddity, unsigned usual)
{
	struct packed_desc *desc = (void *)p->areas[0];
	uint32_t size = p->setup.size, count = any(p, size + 1);

	for (uint32_t i = 0; i < size; i++) {
		unsigned flags = direction(p, oddity, usual);

		flags |= i < count || any(p, 100) < oddity ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK;
		desc[i] = (struct packed_desc){.addr = le64(address(p, oddity)), .len = le32(length(p, oddity)),
					       .id = le16((uint16_t)(any(p, 100) < oddity ? any(p, 70000) : i)),
					       .flags = le16((uint16_t)flags)};
	}
}

static void same_chains(const struct vireo_chain *a, const struct vireo_chain *b, const struct iovec *iov_a,
			const struct iovec *iov_b, int count)
{
	for (int i = 0; i < count; i++) {
		uint32_t pieces = a[i].readable_count + a[i].writable_count;

		assert_int_equal(a[i].id, b[i].id);
		assert_int_equal(a[i].span, b[i].span);
		assert_int_equal(a[i].readable_count, b[i].readable_count);
		assert_int_equal(a[i].writable_count, b[i].writable_count);
		assert_int_equal(a[i].readable_bytes, b[i].readable_bytes);
		assert_int_equal(a[i].writable_bytes, b[i].writable_bytes);
		assert_int_equal(a[i].iov - iov_a, b[i].iov - iov_b);
		assert_memory_equal(a[i].iov, b[i].iov, pieces * sizeof(struct iovec));
	}
}

/* Pops in calls of any size until nothing comes. */
static unsigned pop_both(struct pair *p)
{
	static struct iovec iov_a[TEST_PIECES_MAX], iov_b[TEST_PIECES_MAX];
	struct vireo_chain a[64], b[64];
	unsigned total = 0;
	int count;

	do {
		unsigned max = 1 + any(p, 64), room = any(p, 4) ? TEST_PIECES_MAX : 1 + any(p, 16);

		count = ring_pop(p->plain, a, max, iov_a, room);
		assert_int_equal(ring_pop(p->quads, b, max, iov_b, room), count);
		same_chains(a, b, iov_a, iov_b, count);
		total += count > 0 ? (unsigned)count : 0;
		if (count == -ENOBUFS && room >= 16)
			break;
	} while (count > 0);
	if (ring_error(p->plain))
		assert_string_equal(ring_error(p->plain), ring_error(p->quads));
	else
		assert_null(ring_error(p->quads));
	return total;
}

static void compare(bool packed)
{
	static struct pair p;
	unsigned laid = 0;

	p.map = map_of_two();
	for (uint64_t seed = 0; seed < ROUNDS; seed++) {
		uint32_t oddity = seed % 4 ? (uint32_t)(seed % 4) : 0;

		pair_new(&p, packed, seed & 8, packed ? 1 + (uint32_t)(seed % 64) : 1u << seed % 7, seed);
		if (packed)
			fill_packed(&p, oddity, seed & 16 ? DESC_F_WRITE : 0);
		else
			fill_split(&p, oddity, seed & 16 ? DESC_F_WRITE : 0);
		laid += pop_both(&p);
		ring_free(p.plain);
		ring_free(p.quads);
	}
	assert_true(laid > ROUNDS);
	map_of_two_free(p.map);
}

/* Rows that overflow look like rows when they are added up. */
static void split_heads_that_overflow_are_no_row(void **state)
{
	static const uint16_t rows[][4] = {{0xfffd, 0xfffe, 0xffff, 0}, {0xfffe, 0xffff, 0, 2}, {0xffff, 0, 2, 3},
					   {0x8000, 0x8001, 0x8002, 0x8003}, {61, 62, 63, 64}};
	const size_t page_bytes = 4096, behind_bytes = 65536 * sizeof(struct split_desc);
	static struct pair p;
	uint8_t *page = mmap(NULL, page_bytes + behind_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(mprotect(page, page_bytes, PROT_READ | PROT_WRITE), 0);
	p.table = page + page_bytes - 64 * sizeof(struct split_desc); /* who reads beyond it falls */
	p.map = map_of_two();
	for (unsigned row = 0; row < ARRAY_SIZE(rows); row++) {
		struct split_avail *avail = (void *)p.areas[1];

		pair_new(&p, false, false, 64, row);
		fill_split(&p, 0, 0);
		for (unsigned i = 0; i < 4; i++)
			avail->ring[i] = le16(rows[row][i]);
		avail->idx = le16(4);
		pop_both(&p);
		assert_non_null(strstr(ring_error(p.quads), "names a descriptor beyond the table"));
		ring_free(p.plain);
		ring_free(p.quads);
	}
	map_of_two_free(p.map);
	munmap(page, page_bytes + behind_bytes);
}

static void split_quads_lay_what_singles_lay(void **state)
{
	compare(false);
}

static void packed_quads_lay_what_singles_lay(void **state)
{
	compare(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_heads_that_overflow_are_no_row),
		cmocka_unit_test(split_quads_lay_what_singles_lay),
		cmocka_unit_test(packed_quads_lay_what_singles_lay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
