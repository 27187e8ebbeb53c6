/* SPDX-License-Identifier: BSD-3-Clause */
/* UNMAP, WRITE SAME. */
#include "scsi/test_scsi.h"

static void range_put(struct rig *t, unsigned i, uint64_t block, uint32_t count)
{
	put_be64(t->out + 8 + 16 * i, block);
	put_be32(t->out + 16 + 16 * i, count);
}

static void header_put(struct rig *t, unsigned ranges)
{
	memset(t->out, 0, 8 + 16 * (ranges + 1));
	put_be16(t->out, (uint16_t)(6 + 16 * ranges));
	put_be16(t->out + 2, (uint16_t)(16 * ranges));
}

static void what_is_unmapped_reads_as_zeroes(void **state)
{
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 64, 5);
	header_put(t, 3);
	range_put(t, 0, 0, 8);
	range_put(t, 1, 100, 0);
	range_put(t, 2, 16, 3);
	GOOD(t, "42 00 00000000 00 0038 00", 56, 0);
	read_blocks(t, 0, 64);
	assert_true(all(t->in, 8 * BLOCK, 0) && all(t->in + 8 * BLOCK, 8 * BLOCK, 5) && all(t->in + 16 * BLOCK, 3 * BLOCK, 0) &&
		    all(t->in + 19 * BLOCK, 45 * BLOCK, 5));
	rig_free(t);
}

static void a_range_beyond_the_end_unmaps_nothing(void **state)
{
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 8, 5);
	header_put(t, 2);
	range_put(t, 0, 0, 8);
	range_put(t, 1, 2047, 2);
	CHECK(t, "42 00 00000000 00 0028 00", 40, 0, KEY_ILLEGAL_REQUEST, ASC_LBA);
	range_put(t, 1, UINT64_MAX, UINT32_MAX);
	CHECK(t, "42 00 00000000 00 0028 00", 40, 0, KEY_ILLEGAL_REQUEST, ASC_LBA);
	read_blocks(t, 0, 8);
	assert_true(all(t->in, 8 * BLOCK, 5));
	rig_free(t);
}

static void lengths_of_an_unmap_list_may_disagree(void **state)
{
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 8, 5);
	header_put(t, 1);
	range_put(t, 0, 0, 8);
	GOOD(t, "42 00 00000000 00 0000 00", 0, 0);
	CHECK(t, "42 00 00000000 00 0007 00", 24, 0, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	GOOD(t, "42 00 00000000 00 0008 00", 24, 0);
	GOOD(t, "42 00 00000000 00 0017 00", 24, 0);
	assert_int_equal(ask(t, "42 00 00000000 00 0018 00", 23, 0), 0x100 | SCSI_OVERRUN);
	read_blocks(t, 0, 8);
	assert_true(all(t->in, 8 * BLOCK, 5));
	put_be16(t->out + 2, 0xfff0); /* more than the list has */
	range_put(t, 0, 0, 8);
	memset(t->out, 0, 8);
	put_be16(t->out + 2, 0xfff0);
	GOOD(t, "42 00 00000000 00 0018 00", 24, 0);
	read_blocks(t, 0, 8);
	assert_true(all(t->in, 8 * BLOCK, 0));
	memset(t->out, 0, 4096);
	put_be16(t->out + 2, 65 * 16);
	ask(t, "42 00 00000000 00 0418 00", 0x418, 0);
	expect_field(t, ASC_LIST_FIELD, 2, -1);
	rig_free(t);
}

/* Each byte of it somewhere else. */
static void an_unmap_list_is_split_as_the_initiator_likes(void **state)
{
	struct rig *t = rig_new("mem:1M");
	struct iovec pieces[40];
	uint8_t bytes[40][2];

	write_blocks(t, 8, 5);
	header_put(t, 2);
	range_put(t, 0, 1, 2);
	range_put(t, 1, 6, 1);
	rig_fill(t, TARGET, LUN, "42 00 00000000 00 0028 00", sizeof(bytes) / 2, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
		bytes[i][0] = t->out[i];
		bytes[i][1] = 0xff;
		pieces[i] = (struct iovec){bytes[i], 1};
	}
	t->task.out = pieces;
	t->task.out_count = ARRAY_SIZE(pieces);
	rig_submit(t);
	assert_ptr_equal(rig_wait(t->queue), &t->task);
	assert_int_equal(t->task.status, SCSI_GOOD);
	read_blocks(t, 0, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_true(all(t->in + i * (size_t)BLOCK, BLOCK, i == 1 || i == 2 || i == 6 ? 0 : 5));
	rig_free(t);
}

/* 4 GiB and a block: as bytes in 32 bits they are one block. Memory that nobody touches costs nothing. */
static void a_range_of_more_than_four_gibibytes_is_unmapped_whole(void **state)
{
	static const char *const writes[] = {"2a 00 00000000 00 0001 00", "2a 00 00000001 00 0001 00", "2a 00 00800000 00 0001 00",
					     "2a 00 00800001 00 0001 00"};
	struct rig *t = rig_new("mem:5G");

	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		memset(t->out, 5, BLOCK);
		GOOD(t, writes[i], BLOCK, 0);
	}
	header_put(t, 1);
	range_put(t, 0, 0, 0x800001);
	GOOD(t, "42 00 00000000 00 0018 00", 24, 0);
	read_blocks(t, 0, 2);
	assert_true(all(t->in, 2 * BLOCK, 0));
	read_blocks(t, 0x800000, 2);
	assert_true(all(t->in, BLOCK, 0) && all(t->in + BLOCK, BLOCK, 5)); /* and the block behind it is not */
	rig_free(t);
}

static void write_same_repeats_its_block(void **state)
{
	static const char *const cdbs[] = {
		"41 00 00000008 00 0400 00", "93 00 0000000000000008 00000400 00 00",
		"7f 00 00000000 00 18 000d 00 00 0000000000000008 00000000 0000 0000 00000400",
	};
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < ARRAY_SIZE(cdbs); i++) {
		uint8_t block[BLOCK];

		for (unsigned n = 0; n < BLOCK; n++)
			block[n] = (uint8_t)(n / 2 + i + 1);
		memcpy(t->out, block, BLOCK);
		GOOD(t, cdbs[i], BLOCK, 0);
		read_blocks(t, 0, 0x410);
		assert_true(all(t->in, 8 * BLOCK, 0) && all(t->in + 0x408 * BLOCK, 8 * BLOCK, 0));
		for (unsigned n = 8; n < 0x408; n++)
			assert_memory_equal(t->in + n * (size_t)BLOCK, block, BLOCK);
	}
	rig_free(t);
}

static void write_same_of_zeroes_and_without_data_zeroes(void **state)
{
	static const char *const cdbs[] = {
		"93 00 0000000000000008 00000010 00 00", "93 08 0000000000000008 00000010 00 00", "93 01 0000000000000008 00000010 00 00",
		"93 09 0000000000000008 00000010 00 00", "41 08 00000008 00 0010 00",
	};
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < ARRAY_SIZE(cdbs); i++) {
		write_blocks(t, 64, 5);
		memset(t->out, 0, BLOCK);
		GOOD(t, cdbs[i], i == 2 || i == 3 ? 0 : BLOCK, 0);
		read_blocks(t, 0, 64);
		assert_true(all(t->in, 8 * BLOCK, 5) && all(t->in + 8 * BLOCK, 16 * BLOCK, 0) && all(t->in + 24 * BLOCK, 40 * BLOCK, 5));
	}
	rig_free(t);
}

static void write_same_of_no_blocks_or_too_many_is_pointed_at(void **state)
{
	struct rig *t = rig_new("null:4G");

	ask(t, "93 00 0000000000000000 00000000 00 00", BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 10, -1);
	ask(t, "93 00 0000000000000000 00200001 00 00", BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 10, -1);
	ask(t, "41 00 00000000 00 0000 00", BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 7, -1);
	ask(t, "93 10 0000000000000000 00000001 00 00", BLOCK, 0); /* ANCHOR */
	expect_field(t, ASC_CDB_FIELD, 1, 4);
	rig_free(t);
}

static void an_error_ends_an_unmap(void **state)
{
	struct rig *t = rig_new("mem:1M,fail=EIO,fail-first-sector=16,fail-last-sector=16");

	header_put(t, 2);
	range_put(t, 0, 0, 8);
	range_put(t, 1, 16, 8);
	CHECK(t, "42 00 00000000 00 0028 00", 40, 0, KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
	CHECK(t, "93 01 0000000000000000 00000020 00 00", 0, 0, KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_unmapped_reads_as_zeroes),
		cmocka_unit_test(a_range_beyond_the_end_unmaps_nothing),
		cmocka_unit_test(lengths_of_an_unmap_list_may_disagree),
		cmocka_unit_test(an_unmap_list_is_split_as_the_initiator_likes),
		cmocka_unit_test(a_range_of_more_than_four_gibibytes_is_unmapped_whole),
		cmocka_unit_test(write_same_repeats_its_block),
		cmocka_unit_test(write_same_of_zeroes_and_without_data_zeroes),
		cmocka_unit_test(write_same_of_no_blocks_or_too_many_is_pointed_at),
		cmocka_unit_test(an_error_ends_an_unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
