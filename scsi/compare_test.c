/* SPDX-License-Identifier: BSD-3-Clause */
/* What compares or combines: VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE. */
#include "scsi/test_scsi.h"

static void expect_miscompare(const struct rig *t, unsigned offset)
{
	expect_sense(t, KEY_MISCOMPARE, ASC_MISCOMPARE);
	assert_int_equal(t->task.sense[0], 0xf0);
	assert_int_equal(get_be32(t->task.sense + 3), offset);
}

static void verify_finds_the_byte_that_differs(void **state)
{
	static const char *const cdbs[] = {
		"2f 02 00000000 00 0004 00", "af 02 00000000 00000004 00 00", "8f 02 0000000000000000 00000004 00 00",
		"7f 00 00000000 00 18 000a 02 00 0000000000000000 00000000 0000 0000 00000004",
	};
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 8, 0x11);
	for (unsigned i = 0; i < ARRAY_SIZE(cdbs); i++) {
		memset(t->out, 0x11, 4 * BLOCK);
		GOOD(t, cdbs[i], 4 * BLOCK, 0);
		assert_int_equal(t->task.moved, 4 * BLOCK);
		t->out[3 * BLOCK + 7] = 0;
		ask(t, cdbs[i], 4 * BLOCK, 0);
		expect_miscompare(t, 3 * BLOCK + 7);
	}
	rig_free(t);
}

static void verify_of_a_megabyte_goes_by_steps(void **state)
{
	struct rig *t = rig_new("mem:1M");

	memset(t->out, 0, ROOM);
	GOOD(t, "2f 02 00000000 00 0800 00", ROOM, 0);
	t->out[ROOM - 1] = 1;
	ask(t, "2f 02 00000000 00 0800 00", ROOM, 0);
	expect_miscompare(t, ROOM - 1);
	GOOD(t, "2e 02 00000000 00 0800 00", ROOM, 0);
	GOOD(t, "2f 02 00000000 00 0800 00", ROOM, 0);
	rig_free(t);
}

static void verify_with_one_block_compares_it_with_each(void **state)
{
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 8, 0x22);
	memset(t->out, 0x22, BLOCK);
	GOOD(t, "2f 06 00000000 00 0008 00", BLOCK, 0);
	ask(t, "2f 06 00000000 00 0009 00", BLOCK, 0);
	expect_miscompare(t, 0);
	ask(t, "2f 04 00000000 00 0009 00", BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 1, 2);
	ask(t, "2e 06 00000000 00 0009 00", 16 * BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 1, 2);
	rig_free(t);
}

static void verify_reads_the_medium(void **state)
{
	struct rig *t = rig_new("mem:1M,fail=EIO,fail-first-sector=600,fail-last-sector=600");

	GOOD(t, "2f 00 00000000 00 0100 00", 0, 0);
	CHECK(t, "2f 00 00000000 00 0800 00", 0, 0, KEY_MEDIUM_ERROR, ASC_READ_ERROR);
	rig_free(t);
}

static void compare_and_write_writes_what_compares(void **state)
{
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 4, 1);
	memset(t->out, 1, 2 * BLOCK);
	memset(t->out + 2 * BLOCK, 2, 2 * BLOCK);
	GOOD(t, "89 00 0000000000000001 000000 02 00 00", 4 * BLOCK, 0);
	assert_int_equal(t->task.moved, 4 * BLOCK);
	read_blocks(t, 0, 4);
	assert_true(all(t->in, BLOCK, 1) && all(t->in + BLOCK, 2 * BLOCK, 2) && all(t->in + 3 * BLOCK, BLOCK, 1));
	ask(t, "89 00 0000000000000001 000000 02 00 00", 4 * BLOCK, 0);
	expect_miscompare(t, 0);
	memset(t->out, 2, 2 * BLOCK);
	t->out[BLOCK + 9] = 3;
	ask(t, "89 00 0000000000000001 000000 02 00 00", 4 * BLOCK, 0);
	expect_miscompare(t, BLOCK + 9);
	read_blocks(t, 1, 2);
	assert_true(all(t->in, 2 * BLOCK, 2));
	GOOD(t, "89 00 0000000000000001 000000 00 00 00", 0, 0);
	assert_int_equal(ask(t, "89 00 0000000000000001 000000 02 00 00", 4 * BLOCK - 1, 0), 0x100 | SCSI_OVERRUN);
	rig_free(t);
}

/* Two add one to the same block, a hundred times each, by queues of their own: none of it is lost. */
static void compare_and_write_of_two_queues_takes_turns(void **state)
{
	struct rig *t = rig_new("mem:1M,slow-ms=1,slow-ppm=300000"), *u;
	unsigned left[2] = {20, 20}, value = 0;
	struct rig *both[2];

	u = rig_of(t->disk, t->unit, t->bus);
	both[0] = t;
	both[1] = u;
	for (unsigned i = 0; i < 2; i++) {
		rig_fill(both[i], TARGET, LUN, "89 00 0000000000000001 000000 01 00 00", 2 * BLOCK, 0);
		put_be32(both[i]->out, 0);
		put_be32(both[i]->out + BLOCK, 1);
		rig_submit(both[i]);
	}
	while (left[0] || left[1])
		for (unsigned i = 0; i < 2; i++) {
			struct rig *r = both[i];
			struct scsi_task *done;

			if (!left[i] || !scsi_queue_reap(r->queue, &done, 1))
				continue;
			if (r->task.status == SCSI_GOOD) {
				value++;
				left[i]--;
			} else {
				expect_sense(r, KEY_MISCOMPARE, ASC_MISCOMPARE);
			}
			put_be32(r->out, value);
			put_be32(r->out + BLOCK, value + 1);
			if (left[i])
				rig_submit(r);
		}
	assert_int_equal(value, 40);
	read_blocks(t, 1, 1);
	assert_int_equal(get_be32(t->in), 40);
	scsi_queue_free(u->queue);
	free(u);
	rig_free(t);
}

static void more_than_can_be_compared_is_pointed_at(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "89 00 0000000000000001 000000 ff 00 00", 0x1fe * BLOCK, 0);
	ask(t, "89 00 0000000000000001 000001 01 00 00", 4 * BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 12, 0);
	rig_free(t);
}

static void orwrite_adds_bits(void **state)
{
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 3, 0x0f);
	memset(t->out, 0x30, 2 * BLOCK);
	GOOD(t, "8b 00 0000000000000000 00000002 00 00", 2 * BLOCK, 0);
	assert_int_equal(t->task.moved, 2 * BLOCK);
	read_blocks(t, 0, 3);
	assert_true(all(t->in, 2 * BLOCK, 0x3f) && all(t->in + 2 * BLOCK, BLOCK, 0x0f));
	memset(t->out, 0x80, ROOM);
	GOOD(t, "8b 08 0000000000000000 00000800 00 00", ROOM, 0);
	read_blocks(t, 0, 2048);
	assert_true(all(t->in, 2 * BLOCK, 0xbf) && all(t->in + 2 * BLOCK, BLOCK, 0x8f) && all(t->in + 3 * BLOCK, ROOM - 3 * BLOCK, 0x80));
	GOOD(t, "8b 00 0000000000000000 00000000 00 00", 0, 0);
	rig_free(t);
}

/* More than a queue has at a time. */
static void jobs_beyond_the_bound_wait(void **state)
{
	struct rig *t = rig_new("mem:1M");
	struct scsi_task tasks[100], *done[100];
	uint8_t cdb[16];
	unsigned count = 0;

	hex("8b 00 0000000000000000 00000100 00 00", cdb);
	memset(t->out, 1, 256 * BLOCK);
	for (unsigned i = 0; i < 100; i++) {
		struct scsi_task *one = &tasks[i];

		rig_fill(t, TARGET, LUN, "", 256 * BLOCK, 0);
		tasks[i] = t->task;
		tasks[i].cdb = cdb;
		tasks[i].cdb_bytes = 16;
		scsi_queue_submit(t->queue, &one, 1);
	}
	while (count < 100)
		count += scsi_queue_reap(t->queue, done + count, 100 - count);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(tasks[i].status, SCSI_GOOD);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verify_finds_the_byte_that_differs),
		cmocka_unit_test(verify_of_a_megabyte_goes_by_steps),
		cmocka_unit_test(verify_with_one_block_compares_it_with_each),
		cmocka_unit_test(verify_reads_the_medium),
		cmocka_unit_test(compare_and_write_writes_what_compares),
		cmocka_unit_test(compare_and_write_of_two_queues_takes_turns),
		cmocka_unit_test(more_than_can_be_compared_is_pointed_at),
		cmocka_unit_test(orwrite_adds_bits),
		cmocka_unit_test(jobs_beyond_the_bound_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
