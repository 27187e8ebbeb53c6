/* SPDX-License-Identifier: BSD-3-Clause */
/* MODE SENSE and MODE SELECT: what is there, what may be changed, who is told; and what the changes do. */
#include "scsi/test_scsi.h"

static void expect_bytes(const struct rig *t, const char *text)
{
	uint8_t expected[256];
	unsigned bytes = hex(text, expected);

	assert_int_equal(t->task.moved, bytes);
	assert_memory_equal(t->in, expected, bytes);
}

static int select_six(struct rig *t, const char *list)
{
	char cdb[24];
	unsigned bytes = hex(list, t->out);

	snprintf(cdb, sizeof(cdb), "15 10 0000 %02x 00", bytes);
	return ask(t, cdb, bytes, 0);
}

#define CONTROL "0a0a 00 10 00 00 0000 ffff 0000"

static void pages_are_sensed_by_six_and_by_ten(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "1a 08 0a 00 ff 00", 0, 255);
	expect_bytes(t, "0f 00 10 00 " CONTROL);
	GOOD(t, "1a 00 0a 00 ff 00", 0, 255);
	expect_bytes(t, "17 00 10 08 00000800 00 000200 " CONTROL);
	GOOD(t, "5a 08 0a 00 000000 00ff 00", 0, 255);
	expect_bytes(t, "0012 00 10 00 00 0000 " CONTROL);
	GOOD(t, "5a 10 0a 00 000000 00ff 00", 0, 255);
	expect_bytes(t, "0022 00 10 01 00 0010 0000000000000800 00000000 00000200 " CONTROL);
	GOOD(t, "1a 08 3f 00 ff 00", 0, 255);
	assert_int_equal(t->task.moved, 4 + 12 + 20 + 12 + 12);
	GOOD(t, "1a 08 3f ff ff 00", 0, 255);
	assert_int_equal(t->task.moved, 4 + 12 + 20 + 12 + 12);
	GOOD(t, "1a 08 3f 00 04 00", 0, 255);
	assert_int_equal(t->task.moved, 4);
	rig_free(t);
}

static void what_is_not_there_is_pointed_at(void **state)
{
	struct rig *t = rig_new("mem:1M");

	ask(t, "1a 08 02 00 ff 00", 0, 255);
	expect_field(t, ASC_CDB_FIELD, 2, 5);
	ask(t, "1a 08 0a 01 ff 00", 0, 255);
	expect_field(t, ASC_CDB_FIELD, 3, -1);
	CHECK(t, "1a 08 ca 00 ff 00", 0, 255, KEY_ILLEGAL_REQUEST, ASC_SAVING);
	ask(t, "15 11 0000 10 00", 16, 0); /* SP */
	expect_field(t, ASC_CDB_FIELD, 1, 0);
	ask(t, "15 00 0000 10 00", 16, 0); /* not PF */
	expect_field(t, ASC_CDB_FIELD, 1, 4);
	rig_free(t);
}

static void descriptor_sense_is_given_to_who_wants_it(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(select_six(t, "00000000 0a0a 04 10 00 00 0000 ffff 0000"), SCSI_GOOD);
	ask(t, "28 00 00000800 00 0001 00", 0, BLOCK);
	assert_int_equal(t->task.status, SCSI_CHECK_CONDITION);
	assert_int_equal(t->task.sense_bytes, 20);
	assert_memory_equal(t->task.sense, "\x72\x05\x21\x00\x00\x00\x00\x0c\x00\x0a\x80\x00\x00\x00\x00\x00\x00\x00\x08\x00", 20);
	ask(t, "28 20 00000000 00 0001 00", 0, BLOCK);
	assert_int_equal(t->task.sense_bytes, 16);
	assert_memory_equal(t->task.sense, "\x72\x05\x24\x00\x00\x00\x00\x08\x02\x06\x00\x00\xcd\x00\x01\x00", 16);
	GOOD(t, "1a 08 0a 00 ff 00", 0, 255);
	assert_int_equal(t->in[6], 4);
	GOOD(t, "1a 08 8a 00 ff 00", 0, 255); /* the default */
	assert_int_equal(t->in[6], 0);
	assert_int_equal(select_six(t, "00000000 " CONTROL), SCSI_GOOD);
	CHECK(t, "28 00 00000800 00 0001 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA);
	rig_free(t);
}

static void software_write_protect_protects(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(select_six(t, "00000000 0a0a 00 10 08 00 0000 ffff 0000"), SCSI_GOOD);
	CHECK(t, "2a 00 00000000 00 0001 00", BLOCK, 0, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	GOOD(t, "1a 08 3f 00 ff 00", 0, 255);
	assert_int_equal(t->in[2], 0x90);
	assert_int_equal(select_six(t, "00000000 " CONTROL), SCSI_GOOD);
	GOOD(t, "2a 00 00000000 00 0001 00", BLOCK, 0);
	rig_free(t);
}

static void what_may_not_be_changed_is_refused_as_a_whole(void **state)
{
	struct rig *t = rig_new("mem:1M");

	select_six(t, "00000000 0a0a 04 10 00 00 0000 ffff 0000 080a 04");
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	select_six(t, "00000000 0a0a 04 20 00 00 0000 ffff 0000");
	expect_field(t, ASC_LIST_FIELD, 7, -1);
	select_six(t, "00000000 0a09 04 10 00 00 0000 ffff 00");
	expect_field(t, ASC_LIST_FIELD, 5, -1);
	select_six(t, "00000000 020a 04 10 00 00 0000 ffff 0000");
	expect_field(t, ASC_LIST_FIELD, 4, -1);
	select_six(t, "00000008 00000000 00 001000 0a0a 04 10 00 00 0000 ffff 0000"); /* another block size */
	expect_field(t, ASC_LIST_FIELD, 9, -1);
	select_six(t, "00000007 00000000 00 0010 0a0a 04 10 00 00 0000 ffff 0000");
	expect_field(t, ASC_LIST_FIELD, 3, -1);
	select_six(t, "000000ff");
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	select_six(t, "0000");
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	assert_int_equal(ask(t, "15 10 0000 10 00", 15, 0), 0x100 | SCSI_OVERRUN);
	GOOD(t, "15 10 0000 00 00", 0, 0);
	GOOD(t, "1a 08 0a 00 ff 00", 0, 255);
	assert_int_equal(t->in[6], 0);
	hex("0000 00 00 01 00 0010 0000000000000000 00000000 00000200 0a0a 04 10 00 00 0000 ffff 0000", t->out);
	GOOD(t, "55 10 0000000000 0024 00", 36, 0);
	GOOD(t, "1a 08 0a 00 ff 00", 0, 255);
	assert_int_equal(t->in[6], 4);
	rig_free(t);
}

static void the_write_cache_is_what_the_disk_has(void **state)
{
	char path[] = "/tmp/vireo-scsi-XXXXXX", spec[64];
	int fd = mkstemp(path);
	struct rig *t;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(spec, sizeof(spec), "file:%s,io=threads", path);
	t = rig_new(spec);
	GOOD(t, "1a 08 08 00 ff 00", 0, 255);
	assert_int_equal(t->in[6], 4);
	GOOD(t, "1a 08 48 00 ff 00", 0, 255); /* changeable */
	assert_int_equal(t->in[6], 4);
	assert_int_equal(select_six(t, "00000000 0812 00 00 000000000000000000000000 00000000"), SCSI_GOOD);
	GOOD(t, "1a 08 08 00 ff 00", 0, 255);
	assert_int_equal(t->in[6], 0);
	GOOD(t, "2a 00 00000000 00 0001 00", BLOCK, 0);
	rig_free(t);
	unlink(path);
	t = rig_new("mem:1M");
	GOOD(t, "1a 08 48 00 ff 00", 0, 255);
	assert_int_equal(t->in[6], 0);
	select_six(t, "00000000 0812 04 00 000000000000000000000000 00000000");
	expect_field(t, ASC_LIST_FIELD, 6, -1);
	rig_free(t);
}

static void others_are_told_that_modes_have_changed(void **state)
{
	struct rig *t = rig_new("mem:1M"), *other = rig_of(t->disk, t->unit, rig_bus("vm2"));
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(other->bus, 0, 0, t->unit), 0);
	at(other, 0, 0, "00 0000000000", 0, 0);
	assert_int_equal(select_six(t, "00000000 0a0a 04 10 00 00 0000 ffff 0000"), SCSI_GOOD);
	GOOD(t, "00 0000000000", 0, 0);
	at(other, 0, 0, "00 0000000000", 0, 0);
	assert_int_equal(other->task.sense[1], KEY_UNIT_ATTENTION);
	assert_int_equal(get_be16(other->task.sense + 2), ASC_MODES);
	assert_int_equal(select_six(t, "00000000 0a0a 04 10 00 00 0000 ffff 0000"), SCSI_GOOD); /* as it is */
	assert_int_equal(at(other, 0, 0, "00 0000000000", 0, 0), SCSI_GOOD);
	scsi_bus_remove(other->bus, 0, 0, removed_count, &removed);
	scsi_queue_free(other->queue);
	scsi_bus_free(other->bus);
	free(other);
	assert_int_equal(removed, 1);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_sensed_by_six_and_by_ten),
		cmocka_unit_test(what_is_not_there_is_pointed_at),
		cmocka_unit_test(descriptor_sense_is_given_to_who_wants_it),
		cmocka_unit_test(software_write_protect_protects),
		cmocka_unit_test(what_may_not_be_changed_is_refused_as_a_whole),
		cmocka_unit_test(the_write_cache_is_what_the_disk_has),
		cmocka_unit_test(others_are_told_that_modes_have_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
