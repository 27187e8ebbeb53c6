/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EXTENDED COPY between two logical units of one target, and what is told of it. Each rule of its parameter list
 * has a lie.
 */
#include "disk/kind.h"
#include "scsi/test_copy.h"

/* ---- what is on the disks ---- */

static void fill(struct pair *p, unsigned lun, unsigned block, unsigned blocks, uint8_t from)
{
	char cdb[40];

	for (unsigned i = 0; i < blocks; i++)
		memset(p->t->out + i * (size_t)BLOCK, from + (int)i, BLOCK);
	snprintf(cdb, sizeof(cdb), "2a 00 %08x 00 %04x 00", block, blocks);
	assert_int_equal(at(p->t, TARGET, lun, cdb, blocks * (size_t)BLOCK, 0), SCSI_GOOD);
}

static void expect_filled(struct pair *p, unsigned lun, unsigned block, unsigned blocks, uint8_t from)
{
	char cdb[40];

	snprintf(cdb, sizeof(cdb), "28 00 %08x 00 %04x 00", block, blocks);
	assert_int_equal(at(p->t, TARGET, lun, cdb, 0, blocks * (size_t)BLOCK), SCSI_GOOD);
	for (unsigned i = 0; i < blocks; i++)
		assert_true(all(p->t->in + i * (size_t)BLOCK, BLOCK, (uint8_t)(from + i)));
}

/* ---- what is copied ---- */

static void segments_are_copied_between_two_units(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:2M");

	fill(p, LUN, 0, 64, 1);
	list_write(p);
	segment_write(p, 1, 0, 1, 0, 0, 0);
	segment_write(p, 2, 1, 0, 4, 16, 100); /* back again */
	assert_int_equal(copy(p), SCSI_GOOD);
	assert_int_equal(p->t->task.moved, list_bytes(p));
	expect_filled(p, OTHER, 16, 8, 1);
	expect_filled(p, LUN, 100, 4, 1);
	expect_status(p, 1, 3, 12 * BLOCK);
	assert_int_equal(about(p, DETAILS, 7), SCSI_GOOD); /* of no failure there are none */
	assert_int_equal(p->t->task.moved, 4);
	assert_int_equal(get_be32(p->t->in), 0);
	pair_free(p);
}

/* More than a piece, and by a designator of vendor and name. */
static void a_megabyte_is_copied_by_pieces(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");
	uint8_t *cscd = p->list + COPY_HEADER_BYTES + COPY_CSCD_BYTES;

	for (unsigned i = 0; i < 16; i++)
		fill(p, LUN, i * 128, 128, (uint8_t)(3 * i));
	list_write(p);
	segment_write(p, 0, 0, 1, 2047, 1, 0);
	cscd[1] = 0xc0; /* LU ID TYPE: of no meaning any more */
	cscd[4] = 2;
	cscd[5] = 1;
	cscd[7] = 13;
	memcpy(cscd + 8, "VIREO   disk2", 13);
	assert_int_equal(copy(p), SCSI_GOOD);
	for (unsigned i = 0; i < 15; i++)
		expect_filled(p, OTHER, i * 128 + 127, 128, (uint8_t)(3 * (i + 1)));
	expect_status(p, 1, 1, 2047 * BLOCK);
	pair_free(p);
}

/* As if all of the segment was read first: from the end if its destination begins within its source. */
static void a_segment_may_overlap_itself(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");

	for (unsigned up = 0; up < 2; up++) {
		for (unsigned i = 0; i < 12; i++)
			fill(p, LUN, 64 + i * 128, 128, (uint8_t)(3 * i));
		list_write(p);
		segment_write(p, 0, 0, 0, 1536, 64, up ? 128 : 0);
		assert_int_equal(copy(p), SCSI_GOOD);
		for (unsigned i = 0; i < 12; i++)
			expect_filled(p, LUN, (up ? 128 : 0) + i * 128, 128, (uint8_t)(3 * i));
	}
	pair_free(p);
}

static struct disk *disk_of_4k(const char *spec)
{
	struct disk *disk = rig_disk(spec);

	disk->info.logical_block_bytes = disk->info.physical_block_bytes = 4 * KIB;
	return disk;
}

#define SEGMENT_FLAGS (p->list[SEGMENTS_AT + 1])
#define PAD_OF(n) (p->list[COPY_HEADER_BYTES + (n) * COPY_CSCD_BYTES + 28])

/* What is not a whole block at the end is an error, or is padded if the side's descriptor says so. */
static void blocks_may_be_of_two_sizes(void **state)
{
	struct pair *p = pair_with("mem:1M", disk_of_4k("mem:1M"));

	fill(p, LUN, 0, 64, 1);
	list_write(p);
	segment_write(p, 0, 0, 1, 16, 0, 1);
	assert_int_equal(copy(p), SCSI_GOOD);
	segment_write(p, 0, 1, 0, 2, 1, 100); /* of the source's blocks, or else of the destination's */
	assert_int_equal(copy(p), SCSI_GOOD);
	expect_filled(p, LUN, 100, 16, 1);
	segment_write(p, 0, 1, 0, 16, 1, 200);
	SEGMENT_FLAGS = 2;
	assert_int_equal(copy(p), SCSI_GOOD);
	expect_filled(p, LUN, 200, 16, 1);
	segment_write(p, 0, 0, 1, 12, 0, 4);
	copy(p);
	expect_sense(p->t, KEY_COPY_ABORTED, ASC_INEXACT);
	assert_int_equal(get_be16(p->t->task.sense + 16), 10);
	PAD_OF(1) = 4;
	SEGMENT_FLAGS = 1;
	copy(p);
	expect_sense(p->t, KEY_COPY_ABORTED, ASC_INEXACT);
	SEGMENT_FLAGS = 0;
	assert_int_equal(copy(p), SCSI_GOOD);
	segment_write(p, 0, 1, 0, 16, 4, 300);
	SEGMENT_FLAGS = 2;
	assert_int_equal(copy(p), SCSI_GOOD);
	expect_filled(p, LUN, 300, 12, 1);
	read_blocks(p->t, 312, 4);
	assert_true(all(p->t->in, 4 * BLOCK, 0));
	segment_write(p, 0, 1, 0, 3, 1, 400); /* and some of a block of the source alone */
	SEGMENT_FLAGS = 2;
	PAD_OF(1) = 0;
	copy(p);
	expect_sense(p->t, KEY_COPY_ABORTED, ASC_INEXACT);
	PAD_OF(1) = 4;
	assert_int_equal(copy(p), SCSI_GOOD);
	expect_filled(p, LUN, 400, 3, 1);
	pair_free(p);
}

/* ---- lists that lie ---- */

#define CSCD(byte) (COPY_HEADER_BYTES + (byte))
#define SEGMENT(byte) (SEGMENTS_AT + (byte))

static const struct {
	unsigned byte, value; /* of the list; what is there is put back */
	unsigned asc_ascq, pointer;
	int bit;
} lies[] = {
	{1, 0x80, ASC_LIST_FIELD, 1, 7},
	{1, 0x40, ASC_LIST_FIELD, 1, 6},
	{1, 0x08, ASC_LIST_FIELD, 1, 4}, /* a use of the list identifier that there is not */
	{1, 0x18, ASC_LIST_FIELD, 0, -1}, /* it is not used, and 7 */
	{3, 63, ASC_LIST_FIELD, 2, -1},
	{11, 27, ASC_LIST_FIELD, 8, -1},
	{15, 1, ASC_INLINE, 12, -1},
	{CSCD(0), 0xe0, ASC_CSCD_TYPE, CSCD(0), -1},
	{CSCD(3), 1, ASC_LIST_FIELD, CSCD(2), -1},
	{CSCD(5), 0x13, ASC_LIST_FIELD, CSCD(5), 4},
	{CSCD(5), 0x23, ASC_LIST_FIELD, CSCD(5), 5},
	{CSCD(7), 21, ASC_LIST_FIELD, CSCD(7), -1},
	{CSCD(32), 0x02, ASC_CSCD_TYPE, CSCD(32), -1},
	{SEGMENT(0), 0x04, ASC_SEGMENT_TYPE, SEGMENT(0), -1},
	{SEGMENT(0), 0xe4, ASC_SEGMENT_TYPE, SEGMENT(0), -1},
	{SEGMENT(1), 0x04, ASC_LIST_FIELD, SEGMENT(1), 2},
	{SEGMENT(2), 0x01, ASC_LIST_FIELD, SEGMENT(2), -1},
	{SEGMENT(3), 0x1c, ASC_LIST_FIELD, SEGMENT(2), -1},
};

static void a_list_that_lies_is_pointed_at(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		list_write(p);
		p->list[lies[i].byte] = (uint8_t)lies[i].value;
		copy_with(p, SEGMENTS_AT + COPY_SEGMENT_BYTES);
		if (lies[i].asc_ascq == ASC_LIST_FIELD)
			expect_field(p->t, ASC_LIST_FIELD, lies[i].pointer, lies[i].bit);
		expect_sense(p->t, KEY_ILLEGAL_REQUEST, lies[i].asc_ascq);
		assert_int_equal(get_be16(p->t->task.sense + 16), lies[i].pointer);
	}
	about(p, STATUS, 7); /* none of them has begun */
	expect_field(p->t, ASC_CDB_FIELD, 2, -1);
	about(p, DETAILS, 7);
	expect_field(p->t, ASC_CDB_FIELD, 2, -1);
	pair_free(p);
}

static void lists_are_as_long_as_they_say(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");
	static const size_t cuts[] = {1, COPY_HEADER_BYTES - 1, COPY_HEADER_BYTES, SEGMENTS_AT - 1, SEGMENTS_AT,
				      SEGMENTS_AT + COPY_SEGMENT_BYTES - 1};

	list_write(p);
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		copy_with(p, cuts[i]);
		expect_sense(p->t, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	}
	assert_int_equal(copy_with(p, 0), SCSI_GOOD);
	put_be32(p->list + 8, 0); /* nothing to copy */
	assert_int_equal(copy(p), SCSI_GOOD);
	put_be16(p->list + 2, 0);
	assert_int_equal(copy(p), SCSI_GOOD);
	list_write(p);
	put_be32(p->list + 8, UINT32_MAX);
	copy_with(p, SEGMENTS_AT + COPY_SEGMENT_BYTES);
	expect_sense(p->t, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	copy_with(p, sizeof(p->list));
	expect_sense(p->t, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	list_write(p);
	put_be32(p->list + 12, UINT32_MAX);
	copy_with(p, SEGMENTS_AT + COPY_SEGMENT_BYTES);
	expect_sense(p->t, KEY_ILLEGAL_REQUEST, ASC_INLINE);
	list_write(p);
	copy_fill(p, list_bytes(p));
	p->t->task.out_bytes--; /* of the initiator */
	p->t->out_iov.iov_len--;
	rig_submit(p->t);
	rig_wait(p->t->queue);
	assert_int_equal(p->t->task.response, SCSI_OVERRUN);
	pair_free(p);
}

static void there_are_bounds_to_both_lists(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");
	unsigned cscds = COPY_CSCDS_MAX * COPY_CSCD_BYTES;

	for (unsigned more = 0; more < 2; more++) {
		list_write(p);
		for (unsigned i = 0; i < COPY_SEGMENTS_MAX + more; i++)
			segment_write(p, i, 0, 1, 1, i, i);
		copy(p);
		if (more)
			expect_sense(p->t, KEY_ILLEGAL_REQUEST, ASC_TOO_MANY_SEGMENTS);
		else
			assert_int_equal(p->t->task.status, SCSI_GOOD);
		list_write(p);
		put_be16(p->list + 2, (uint16_t)(cscds + more * COPY_CSCD_BYTES));
		memset(p->list + COPY_HEADER_BYTES, 0, cscds + COPY_CSCD_BYTES + COPY_SEGMENT_BYTES);
		for (unsigned i = 0; i < COPY_CSCDS_MAX + more; i++)
			cscd_write(p->list + copy_cscd_offset(i), p->unit);
		put_be32(p->list + 8, 0);
		copy(p);
		if (more)
			expect_sense(p->t, KEY_ILLEGAL_REQUEST, ASC_TOO_MANY_CSCDS);
		else
			assert_int_equal(p->t->task.status, SCSI_GOOD);
	}
	pair_free(p);
}

/* ---- segments that cannot be ---- */

static const struct {
	unsigned byte, value;
	unsigned asc_ascq, specific, pointer;
} faults[] = {
	{SEGMENT(5), 2, ASC_UNREACHABLE, 0xa0, 4},
	{SEGMENT(7), 2, ASC_UNREACHABLE, 0xa0, 6},
	{SEGMENT(6), 0xff, ASC_UNREACHABLE, 0xa0, 6},
	{CSCD(1), 0x20, ASC_UNREACHABLE, 0xa0, 4}, /* NUL */
	{CSCD(1), 0x01, ASC_DEVICE_TYPE, 0x8c, CSCD(1)},
	{CSCD(4), 2, ASC_UNREACHABLE, 0xa0, 4},
	{CSCD(5), 2, ASC_UNREACHABLE, 0xa0, 4},
	{CSCD(7), 7, ASC_UNREACHABLE, 0xa0, 4},
	{CSCD(32 + 15), 0x99, ASC_UNREACHABLE, 0xa0, 6},
	{CSCD(31), 1, ASC_LIST_FIELD, 0x80, CSCD(29)},
	{CSCD(32 + 30), 4, ASC_LIST_FIELD, 0x80, CSCD(32 + 29)},
	{SEGMENT(12), 0x80, 0, 0xa0, 12},
	{SEGMENT(18), 0x08, 0, 0xa0, 12}, /* the first block beyond the end */
	{SEGMENT(20), 0x80, 0, 0xa0, 20},
	{SEGMENT(26), 0x08, 0, 0xa0, 20},
	{SEGMENT(10), 0xff, 0, 0xa0, 12},
};

/* The third one, and the two before are carried out. */
static void a_segment_that_cannot_be_is_pointed_at(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");
	const struct scsi_task *task = &p->t->task;
	uint8_t sense[SCSI_SENSE_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		bool of_segment = faults[i].byte >= SEGMENTS_AT;

		list_write(p);
		for (unsigned n = 0; n < 2 && of_segment; n++)
			segment_write(p, n, 0, 1, 1, n, n);
		segment_write(p, of_segment ? 2 : 0, 0, 1, 8, 0, 16);
		p->list[faults[i].byte + (of_segment ? 2 * COPY_SEGMENT_BYTES : 0)] = (uint8_t)faults[i].value;
		copy(p);
		expect_sense(p->t, KEY_COPY_ABORTED, faults[i].asc_ascq);
		assert_int_equal(get_be32(task->sense + 8), of_segment ? 2 : 0);
		assert_int_equal(task->sense[15], faults[i].specific);
		assert_int_equal(get_be16(task->sense + 16), faults[i].pointer);
		memcpy(sense, task->sense, sizeof(sense));
		expect_status(p, 2, of_segment ? 2 : 0, of_segment ? 2 * BLOCK : 0);
		assert_int_equal(about(p, DETAILS, 7), SCSI_GOOD);
		assert_int_equal(task->moved, 60 + 18);
		assert_int_equal(get_be32(p->t->in), 60 + 18 - 4);
		assert_int_equal(p->t->in[56], SCSI_CHECK_CONDITION);
		assert_int_equal(get_be16(p->t->in + 58), 18);
		assert_memory_equal(p->t->in + 60, sense, 18);
	}
	pair_free(p);
}

/* ---- what is told of the limits ---- */

static void parameters_and_the_page_say_the_same(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");
	uint8_t expected[256], *in = p->t->in;

	GOOD(p->t, "84 03 00 00000000000000 00000100 00 00", 0, 256);
	assert_int_equal(p->t->task.moved, hex("0000002a 00 000000 0008 0040 00000800 10000000 00000000 00000000 00000000"
					       "0000 0008 08 09 00 00 000000 02 02 e4", expected));
	assert_memory_equal(in, expected, p->t->task.moved);
	GOOD(p->t, "12 01 8f 00ff 00", 0, 255);
	assert_int_equal(p->t->task.moved, hex("00 8f 0064"
					       "0001 000c 08 83 01 00 84 03 00 03 04 000000"
					       "0004 001c 00000000 0008 0040 00000800 00000000 000000000000000000000000"
					       "0008 0004 02 02 e4 00"
					       "000c 0004 0000 0000"
					       "8001 0020 00000008 00000008 10000000 09 00 000000000000000000000000000000000000", expected));
	assert_memory_equal(in, expected, p->t->task.moved);
	GOOD(p->t, "12 00 00 00ff 00", 0, 255);
	assert_true(in[5] & 8);
	ask(p->t, "84 01 07 00000000000000 00000100 00 00", 0, 256); /* held data: there is none */
	expect_field(p->t, ASC_CDB_FIELD, 1, -1);
	ask(p->t, "83 01 0000000000000000 00000000 00 00", 0, 0);
	expect_field(p->t, ASC_CDB_FIELD, 1, -1);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_copied_between_two_units),
		cmocka_unit_test(a_megabyte_is_copied_by_pieces),
		cmocka_unit_test(a_segment_may_overlap_itself),
		cmocka_unit_test(blocks_may_be_of_two_sizes),
		cmocka_unit_test(a_list_that_lies_is_pointed_at),
		cmocka_unit_test(lists_are_as_long_as_they_say),
		cmocka_unit_test(there_are_bounds_to_both_lists),
		cmocka_unit_test(a_segment_that_cannot_be_is_pointed_at),
		cmocka_unit_test(parameters_and_the_page_say_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
