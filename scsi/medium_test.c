/* SPDX-License-Identifier: BSD-3-Clause */
/* READ and WRITE of every length, what is refused, and in which order tasks are carried out. */
#include "scsi/test_scsi.h"

/* Two blocks at block 8. */
static const char *const writes[] = {
	"0a 000008 02 00", "2a 00 00000008 00 0002 00", "aa 00 00000008 00000002 00 00", "8a 00 0000000000000008 00000002 00 00",
	"7f 00 00000000 00 18 000b 00 00 0000000000000008 00000000 0000 0000 00000002", "2a 08 00000008 00 0002 00",
	"2e 00 00000008 00 0002 00", "ae 02 00000008 00000002 00 00", "8e 00 0000000000000008 00000002 00 00",
	"7f 00 00000000 00 18 000c 02 00 0000000000000008 00000000 0000 0000 00000002",
};
static const char *const reads[] = {
	"08 000008 02 00", "28 00 00000008 00 0002 00", "a8 18 00000008 00000002 00 00", "88 00 0000000000000008 00000002 00 00",
	"7f 00 00000000 00 18 0009 00 00 0000000000000008 00000000 0000 0000 00000002",
};

static void every_write_is_read_by_every_read(void **state)
{
	struct rig *t = rig_new("mem:1M");

	for (unsigned w = 0; w < ARRAY_SIZE(writes); w++)
		for (unsigned r = 0; r < ARRAY_SIZE(reads); r++) {
			uint8_t value = (uint8_t)(w * 16 + r + 1);

			memset(t->out, value, 2 * BLOCK);
			GOOD(t, writes[w], 2 * BLOCK, 0);
			assert_int_equal(t->task.moved, 2 * BLOCK);
			GOOD(t, reads[r], 0, 2 * BLOCK);
			assert_int_equal(t->task.moved, 2 * BLOCK);
			assert_true(all(t->in, 2 * BLOCK, value));
		}
	read_blocks(t, 7, 4);
	assert_true(all(t->in, BLOCK, 0) && all(t->in + 3 * BLOCK, BLOCK, 0));
	rig_free(t);
}

static void zero_blocks_are_256_of_six_bytes_and_none_of_others(void **state)
{
	struct rig *t = rig_new("mem:1M");

	memset(t->out, 7, 256 * BLOCK);
	GOOD(t, "0a 000000 00 00", 256 * BLOCK, 0);
	GOOD(t, "08 000000 00 00", 0, 256 * BLOCK);
	assert_true(all(t->in, 256 * BLOCK, 7));
	GOOD(t, "28 00 00000000 00 0000 00", 0, BLOCK);
	assert_int_equal(t->task.moved, 0);
	GOOD(t, "2a 00 00000000 00 0000 00", BLOCK, 0);
	rig_free(t);
}

static void blocks_beyond_the_end_are_out_of_range(void **state)
{
	static const char *const cdbs[] = {
		"28 00 00000800 00 0001 00", "28 00 000007ff 00 0002 00", "08 000800 01 00", "88 00 ffffffffffffffff 00000002 00 00",
		"2f 00 00000800 00 0001 00", "35 00 00000801 00 0000 00", "34 00 00000800 00 0001 00",
		"93 01 0000000000000800 00000001 00 00", "9e 12 0000000000000800 00000020 00 00", "89 00 0000000000000800 000000 01 00 00",
		"28 00 00000801 00 0000 00",
	};
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < ARRAY_SIZE(cdbs); i++)
		CHECK(t, cdbs[i], 4 * BLOCK, 4 * BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA);
	GOOD(t, "28 00 000007ff 00 0001 00", 0, BLOCK);
	GOOD(t, "28 00 00000800 00 0000 00", 0, 0);
	rig_free(t);
}

/* Beyond what 32 bits count; the last two blocks, and one more. */
static void blocks_beyond_two_tebibytes_are_there(void **state)
{
	struct rig *t = rig_new("null:4T");

	GOOD(t, "28 00 ffffffff 00 0002 00", 0, 2 * BLOCK);
	GOOD(t, "88 00 0000000100000000 00000001 00 00", 0, BLOCK);
	GOOD(t, "8a 00 00000001fffffffe 00000002 00 00", 2 * BLOCK, 0);
	CHECK(t, "8a 00 00000001fffffffe 00000003 00 00", 3 * BLOCK, 0, KEY_ILLEGAL_REQUEST, ASC_LBA);
	CHECK(t, "88 00 0000000200000000 00000001 00 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA);
	rig_free(t);
}

static void more_than_there_is_room_for_is_an_overrun(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(ask(t, "28 00 00000000 00 0002 00", 0, 2 * BLOCK - 1), 0x100 | SCSI_OVERRUN);
	assert_int_equal(t->task.moved, 0);
	assert_int_equal(ask(t, "28 00 00000000 00 0002 00", 2 * BLOCK, 0), 0x100 | SCSI_OVERRUN);
	memset(t->out, 9, BLOCK);
	assert_int_equal(ask(t, "2a 00 00000000 00 0002 00", BLOCK, 0), 0x100 | SCSI_OVERRUN);
	assert_int_equal(ask(t, "2f 02 00000000 00 0002 00", BLOCK, 0), 0x100 | SCSI_OVERRUN);
	assert_int_equal(ask(t, "93 00 0000000000000000 00000002 00 00", BLOCK - 1, 0), 0x100 | SCSI_OVERRUN);
	read_blocks(t, 0, 2);
	assert_true(all(t->in, 2 * BLOCK, 0));
	rig_free(t);
}

/* One byte less than the CDB says, and none at all; the medium is as it was. */
static void no_length_of_a_cdb_is_believed_over_the_buffers(void **state)
{
	static const struct {
		const char *cdb;
		size_t out, in;
	} rows[] = {
		{"08 000008 02 00", 0, 2 * BLOCK}, {"0a 000008 02 00", 2 * BLOCK, 0}, {"15 10 0000 18 00", 24, 0},
		{"28 00 00000008 00 0002 00", 0, 2 * BLOCK}, {"2a 00 00000008 00 0002 00", 2 * BLOCK, 0},
		{"2e 02 00000008 00 0002 00", 2 * BLOCK, 0}, {"2f 02 00000008 00 0002 00", 2 * BLOCK, 0},
		{"41 00 00000008 00 0002 00", BLOCK, 0}, {"42 00 00000000 00 0018 00", 24, 0}, {"55 10 0000000000 001c 00", 28, 0},
		{"5f 00 00 0000 00000018 00", 24, 0}, {"83 00 0000000000000000 00000010 00 00", 16, 0},
		{"88 00 0000000000000008 00000002 00 00", 0, 2 * BLOCK}, {"89 00 0000000000000008 000000 02 00 00", 4 * BLOCK, 0},
		{"8a 00 0000000000000008 00000002 00 00", 2 * BLOCK, 0}, {"8b 00 0000000000000008 00000002 00 00", 2 * BLOCK, 0},
		{"8e 02 0000000000000008 00000002 00 00", 2 * BLOCK, 0}, {"8f 02 0000000000000008 00000002 00 00", 2 * BLOCK, 0},
		{"93 00 0000000000000008 00000002 00 00", BLOCK, 0}, {"a8 00 00000008 00000002 00 00", 0, 2 * BLOCK},
		{"aa 00 00000008 00000002 00 00", 2 * BLOCK, 0}, {"ae 02 00000008 00000002 00 00", 2 * BLOCK, 0},
		{"af 02 00000008 00000002 00 00", 2 * BLOCK, 0},
		{"7f 00 00000000 00 18 0009 00 00 0000000000000008 00000000 0000 0000 00000002", 0, 2 * BLOCK},
		{"7f 00 00000000 00 18 000b 00 00 0000000000000008 00000000 0000 0000 00000002", 2 * BLOCK, 0},
		{"7f 00 00000000 00 18 000d 00 00 0000000000000008 00000000 0000 0000 00000002", BLOCK, 0},
	};
	struct rig *t = rig_new("mem:1M");

	memset(t->out, 9, 4 * BLOCK);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(ask(t, rows[i].cdb, rows[i].out - !!rows[i].out, rows[i].in - !!rows[i].in), 0x100 | SCSI_OVERRUN);
		assert_int_equal(t->task.moved, 0);
		assert_int_equal(ask(t, rows[i].cdb, 0, 0), 0x100 | SCSI_OVERRUN);
		assert_int_equal(ask(t, rows[i].cdb, rows[i].in, rows[i].out), 0x100 | SCSI_OVERRUN); /* the wrong way */
		assert_int_equal(t->task.moved, 0);
		assert_true(ask(t, "28 00 00000000 00 0010 00", 0, 16 * BLOCK) == SCSI_GOOD && all(t->in, 16 * BLOCK, 0));
	}
	rig_free(t);
}

/* A queue has a shorter way for what nothing speaks against, once it has asked the disk for something: each lie is told on both. */
static void a_lie_is_refused_before_and_after_a_truth(void **state)
{
	static const struct {
		const char *cdb;
		size_t out, in;
		int key, code, byte, bit; /* key 0: OVERRUN */
	} lies[] = {
		{"28 00 00000800 00 0001 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA, -1, -1},
		{"28 00 000007ff 00 0002 00", 0, 2 * BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA, -1, -1},
		{"2a 00 ffffffff 00 0001 00", BLOCK, 0, KEY_ILLEGAL_REQUEST, ASC_LBA, -1, -1},
		{"88 00 ffffffffffffffff 00000001 00 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA, -1, -1},
		{"28 00 00000000 00 0002 00", 0, BLOCK, 0, 0, -1, -1},
		{"2a 00 00000000 00 0002 00", BLOCK, 0, 0, 0, -1, -1},
		{"2a 00 00000000 00 0001 00", 0, BLOCK, 0, 0, -1, -1}, /* room, and no data */
		{"28 20 00000000 00 0001 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD, 1, 5},
		{"28 00 00000000 00 0001 04", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD, 9, 2},
		{"2a 00 00000000 1f 0001 00", BLOCK, 0, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD, 6, 4},
		{"88 00 0000000000000000 00000001 00 80", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD, 15, 7},
		{"88 00 0000000000000000 00000001 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD, 15, -1}, /* a byte is missing */
	};
	struct rig *t = rig_new("mem:1M");

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
			int done = ask(t, lies[i].cdb, lies[i].out, lies[i].in);

			if (!lies[i].key)
				assert_int_equal(done, 0x100 | SCSI_OVERRUN);
			else if (lies[i].byte >= 0)
				expect_field(t, (unsigned)lies[i].code, (unsigned)lies[i].byte, lies[i].bit);
			else
				expect_sense(t, (unsigned)lies[i].key, (unsigned)lies[i].code);
			assert_int_equal(t->task.moved, 0);
		}
		GOOD(t, "28 00 000007ff 00 0001 00", 0, BLOCK);
		GOOD(t, "2a 00 000007ff 00 0001 00", BLOCK, 0);
		GOOD(t, "88 00 00000000000007ff 00000001 00 00", 0, BLOCK);
		assert_int_equal(t->task.moved, BLOCK);
	}
	rig_free(t);
}

static void room_that_is_too_large_is_left_alone(void **state)
{
	struct iovec pieces[3];
	struct rig *t = rig_new("mem:1M");

	write_blocks(t, 4, 3);
	memset(t->in, 0x5a, 4096);
	rig_fill(t, TARGET, LUN, "28 00 00000000 00 0002 00", 0, 4096);
	pieces[0] = (struct iovec){t->in, 700};
	pieces[1] = (struct iovec){t->in + 700, 700};
	pieces[2] = (struct iovec){t->in + 1400, 2696};
	t->task.in = pieces;
	t->task.in_count = 3;
	rig_submit(t);
	assert_ptr_equal(rig_wait(t->queue), &t->task);
	assert_int_equal(t->task.status, SCSI_GOOD);
	assert_int_equal(t->task.moved, 1024);
	assert_true(all(t->in, 1024, 3) && all(t->in + 1024, 3072, 0x5a));
	rig_free(t);
}

static void bits_that_are_not_of_a_command_are_pointed_at(void **state)
{
	struct rig *t = rig_new("mem:1M");

	ask(t, "28 20 00000000 00 0001 00", 0, BLOCK); /* RDPROTECT */
	expect_field(t, ASC_CDB_FIELD, 1, 5);
	ask(t, "28 00 00000000 1f 0001 00", 0, BLOCK); /* GROUP NUMBER */
	expect_field(t, ASC_CDB_FIELD, 6, 4);
	ask(t, "28 00 00000000 00 0001 04", 0, BLOCK); /* NACA */
	expect_field(t, ASC_CDB_FIELD, 9, 2);
	ask(t, "00 00 00 01 00 00", 0, 0);
	expect_field(t, ASC_CDB_FIELD, 3, 0);
	rig_free(t);
}

static void a_transfer_that_is_too_long_is_pointed_at(void **state)
{
	struct rig *t = rig_new("mem:64M");

	ask(t, "88 00 0000000000000000 00010001 00 00", 0, BLOCK);
	expect_field(t, ASC_CDB_FIELD, 10, -1);
	ask(t, "a8 00 00000000 00010001 00 00", 0, BLOCK);
	expect_field(t, ASC_CDB_FIELD, 6, -1);
	assert_int_equal(ask(t, "88 00 0000000000000000 00010000 00 00", 0, BLOCK), 0x100 | SCSI_OVERRUN);
	rig_free(t);
	t = rig_new("null:8G");
	ask(t, "88 00 0000000000000000 00800001 00 00", 0, BLOCK); /* which are 512 bytes, in 32 bits */
	expect_field(t, ASC_CDB_FIELD, 10, -1);
	ask(t, "8a 00 0000000000000000 00800001 00 00", BLOCK, 0);
	expect_field(t, ASC_CDB_FIELD, 10, -1);
	rig_free(t);
}

static void unknown_commands_say_what_is_unknown(void **state)
{
	struct rig *t = rig_new("mem:1M");

	for (unsigned opcode = 0xc0; opcode < 0x100; opcode++) {
		char cdb[40];

		snprintf(cdb, sizeof(cdb), "%02x 00 00000000 0000000000 00000000", opcode);
		CHECK(t, cdb, 0, 0, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
	}
	CHECK(t, "85 00 0000000000000000 00000000 00 00", 0, 0, KEY_ILLEGAL_REQUEST, ASC_OPCODE); /* ATA PASS-THROUGH (16) */
	ask(t, "9e 1f 0000000000000000 00000020 00 00", 0, 32);
	expect_field(t, ASC_CDB_FIELD, 1, -1);
	ask(t, "7f 00 00000000 00 18 0001 00 00 0000000000000000 00000000 0000 0000 00000001", 0, BLOCK);
	expect_field(t, ASC_CDB_FIELD, 8, -1);
	ask(t, "7f 00 00000000 00 17 0009 00 00 0000000000000000 00000000 0000 0000 00000001", 0, BLOCK);
	expect_field(t, ASC_CDB_FIELD, 7, -1);
	rig_free(t);
}

static void a_cdb_that_is_cut_off_is_refused(void **state)
{
	struct rig *t = rig_new("mem:1M");

	for (unsigned bytes = 0; bytes < 16; bytes++) {
		rig_fill(t, TARGET, LUN, "88 00 0000000000000000 00000001 00 00", 0, BLOCK);
		t->task.cdb_bytes = (uint16_t)bytes;
		rig_submit(t);
		rig_wait(t->queue);
		expect_field(t, ASC_CDB_FIELD, bytes < 6 ? 0 : bytes, -1);
	}
	rig_free(t);
}

static void what_is_read_only_is_not_written(void **state)
{
	struct rig *t = rig_new("mem:1M,read-only=on");
	static const char *const cdbs[] = {
		"2a 00 00000000 00 0001 00", "0a 000000 01 00", "93 01 0000000000000000 00000001 00 00", "42 00 00000000 00 0018 00",
		"89 00 0000000000000000 000000 01 00 00", "8b 00 0000000000000000 00000001 00 00", "2e 00 00000000 00 0001 00",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cdbs); i++)
		CHECK(t, cdbs[i], 4 * BLOCK, 0, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	read_blocks(t, 0, 1);
	GOOD(t, "1a 00 3f 00 ff 00", 0, 255);
	assert_int_equal(t->in[2] & 0x80, 0x80);
	rig_free(t);
}

static void errors_of_the_disk_say_where(void **state)
{
	struct rig *t = rig_new("mem:1M,fail=EIO,fail-first-sector=16,fail-last-sector=16");

	CHECK(t, "28 00 00000010 00 0001 00", 0, BLOCK, KEY_MEDIUM_ERROR, ASC_READ_ERROR);
	assert_int_equal(t->task.sense[0], 0xf0);
	assert_int_equal(get_be32(t->task.sense + 3), 16);
	assert_int_equal(t->task.moved, 0);
	CHECK(t, "2a 00 00000010 00 0001 00", BLOCK, 0, KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
	rig_free(t);
	t = rig_new("mem:1M,fail=ENOSPC,fail-op=write");
	CHECK(t, "2a 00 00000010 00 0001 00", BLOCK, 0, KEY_DATA_PROTECT, ASC_SPACE);
	rig_free(t);
}

static void a_unit_that_is_stopped_is_not_ready(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "1b 00 00 00 00 00", 0, 0);
	CHECK(t, "00 00 00 00 00 00", 0, 0, KEY_NOT_READY, ASC_STOPPED);
	CHECK(t, "28 00 00000000 00 0001 00", 0, BLOCK, KEY_NOT_READY, ASC_STOPPED);
	GOOD(t, "12 00 00 0060 00", 0, 96);
	GOOD(t, "03 00 00 00 20 00", 0, 32);
	assert_int_equal(t->in[2], KEY_NOT_READY);
	GOOD(t, "1b 01 00 00 01 00", 0, 0);
	GOOD(t, "00 00 00 00 00 00", 0, 0);
	ask(t, "1b 00 00 00 02 00", 0, 0); /* eject */
	expect_field(t, ASC_CDB_FIELD, 4, 1);
	ask(t, "1b 00 00 00 30 00", 0, 0); /* standby */
	expect_field(t, ASC_CDB_FIELD, 4, 7);
	rig_free(t);
}

static void others_without_data_succeed(void **state)
{
	static const char *const cdbs[] = {
		"35 00 00000000 00 0000 00", "35 02 00000000 00 0010 00", "35 00 00000007 00 0001 00",
		"91 00 0000000000000000 00000000 00 00", "91 00 0000000000000007 00000001 00 00",
		"34 00 00000000 00 0010 00", "90 02 0000000000000000 00000000 00 00", "1e 00 00 00 01 00", "2f 00 00000000 00 0010 00",
		"af 00 00000000 00000010 00 00", "8f 00 0000000000000000 00000800 00 00",
	};
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < ARRAY_SIZE(cdbs); i++)
		GOOD(t, cdbs[i], 0, 0);
	rig_free(t);
}

/* ---- many at a time ---- */

#define MANY 64u

static void a_burst_of_two_units_is_done_as_a_whole(void **state)
{
	struct rig *t = rig_new("mem:1M");
	struct scsi_unit *second = rig_unit(t->disk, "disk2");
	struct scsi_task tasks[MANY], *burst[MANY], *done[MANY];
	unsigned count = 0, removed = 0;
	uint8_t cdbs[MANY][10];
	struct iovec iov = {t->in, BLOCK};

	assert_int_equal(scsi_bus_add(t->bus, TARGET, 0x105, second), 0);
	CHECK(t, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_LUNS);
	at(t, TARGET, 0x105, "00 0000000000", 0, 0);
	for (unsigned i = 0; i < MANY; i++) {
		hex("28 00 00000000 00 0001 00", cdbs[i]);
		rig_fill(t, TARGET, i % 3 ? LUN : 0x105, "", 0, BLOCK);
		tasks[i] = t->task;
		tasks[i].in = &iov;
		tasks[i].cdb = cdbs[i];
		tasks[i].cdb_bytes = 10;
		burst[i] = &tasks[i];
	}
	scsi_queue_submit(t->queue, burst, MANY);
	assert_int_equal(scsi_queue_pending(t->queue), MANY);
	while (count < MANY)
		count += scsi_queue_reap(t->queue, done + count, 7);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(tasks[i].status, SCSI_GOOD);
	assert_int_equal(scsi_bus_remove(t->bus, TARGET, 0x105, removed_count, &removed), 0);
	assert_int_equal(scsi_queue_reap(t->queue, done, 1), 0);
	assert_int_equal(removed, 1);
	scsi_unit_free(second);
	rig_free(t);
}

/* What the disk takes long for is begun with, and what is ORDERED waits for it, and is waited for. */
static void an_ordered_task_waits_and_is_waited_for(void **state)
{
	static const struct {
		const char *cdb;
		uint8_t attribute;
	} given[] = {
		{"2a 00 00000000 00 0001 00", SCSI_SIMPLE}, /* slow */
		{"28 00 00000008 00 0001 00", SCSI_SIMPLE},
		{"28 00 00000009 00 0001 00", SCSI_ORDERED},
		{"28 00 0000000a 00 0001 00", SCSI_SIMPLE},
		{"28 00 0000000b 00 0001 00", SCSI_ORDERED},
		{"28 00 0000000c 00 0001 00", SCSI_HEAD_OF_QUEUE},
	};
	static const unsigned order[] = {1, 5, 0, 2, 3, 4};
	struct rig *t = rig_new("mem:1M,slow-ms=20,slow-op=write");
	struct scsi_task tasks[ARRAY_SIZE(given)], *one;
	uint8_t cdbs[ARRAY_SIZE(given)][10];

	for (unsigned i = 0; i < ARRAY_SIZE(given); i++) {
		hex(given[i].cdb, cdbs[i]);
		rig_fill(t, TARGET, LUN, "", i ? 0 : BLOCK, i ? BLOCK : 0);
		tasks[i] = t->task;
		tasks[i].cdb = cdbs[i];
		tasks[i].cdb_bytes = 10;
		tasks[i].attribute = given[i].attribute;
		tasks[i].tag = i;
		one = &tasks[i];
		t->out_iov.iov_len = BLOCK;
		scsi_queue_submit(t->queue, &one, 1);
	}
	t->out_iov.iov_len = t->in_iov.iov_len = BLOCK;
	for (unsigned i = 0; i < ARRAY_SIZE(given); i++)
		assert_int_equal(rig_wait(t->queue)->tag, order[i]);
	rig_free(t);
}

static void an_attribute_that_is_not_there_is_refused(void **state)
{
	struct rig *t = rig_new("mem:1M");

	rig_fill(t, TARGET, LUN, "00 0000000000", 0, 0);
	t->task.attribute = SCSI_ACA;
	rig_submit(t);
	rig_wait(t->queue);
	expect_sense(t, KEY_ABORTED_COMMAND, ASC_MESSAGE);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_write_is_read_by_every_read),
		cmocka_unit_test(zero_blocks_are_256_of_six_bytes_and_none_of_others),
		cmocka_unit_test(blocks_beyond_the_end_are_out_of_range),
		cmocka_unit_test(blocks_beyond_two_tebibytes_are_there),
		cmocka_unit_test(more_than_there_is_room_for_is_an_overrun),
		cmocka_unit_test(no_length_of_a_cdb_is_believed_over_the_buffers),
		cmocka_unit_test(a_lie_is_refused_before_and_after_a_truth),
		cmocka_unit_test(room_that_is_too_large_is_left_alone),
		cmocka_unit_test(bits_that_are_not_of_a_command_are_pointed_at),
		cmocka_unit_test(a_transfer_that_is_too_long_is_pointed_at),
		cmocka_unit_test(unknown_commands_say_what_is_unknown),
		cmocka_unit_test(a_cdb_that_is_cut_off_is_refused),
		cmocka_unit_test(what_is_read_only_is_not_written),
		cmocka_unit_test(errors_of_the_disk_say_where),
		cmocka_unit_test(a_unit_that_is_stopped_is_not_ready),
		cmocka_unit_test(others_without_data_succeed),
		cmocka_unit_test(a_burst_of_two_units_is_done_as_a_whole),
		cmocka_unit_test(an_ordered_task_waits_and_is_waited_for),
		cmocka_unit_test(an_attribute_that_is_not_there_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
