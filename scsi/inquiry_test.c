/* SPDX-License-Identifier: BSD-3-Clause */
/* What a unit says of itself, byte for byte where that is what others go by. */
#include "scsi/test_scsi.h"

static void expect_bytes(const struct rig *t, const char *text)
{
	uint8_t expected[512];
	unsigned bytes = hex(text, expected);

	assert_int_equal(t->task.moved, bytes);
	assert_memory_equal(t->in, expected, bytes);
}

static void inquiry_names_vendor_and_standards(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "12 00 00 00ff 00", 0, 255);
	expect_bytes(t, "00 00 06 12 5b 18 00 02 564952454f202020 6469736b202020202020202020202020 31202020"
			"0000000000000000 0000000000000000 0000000000 00 00a0 0460 04c0"
			"00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000");
	GOOD(t, "12 00 00 0005 00", 0, 255);
	assert_int_equal(t->task.moved, 5);
	ask(t, "12 00 80 0060 00", 0, 96);
	expect_field(t, ASC_CDB_FIELD, 2, -1);
	ask(t, "12 01 b7 0060 00", 0, 96);
	expect_field(t, ASC_CDB_FIELD, 2, -1);
	ask(t, "12 02 00 0060 00", 0, 96); /* CMDDT */
	expect_field(t, ASC_CDB_FIELD, 1, 1);
	GOOD(t, "12 e0 00 0024 00", 0, 36); /* SCSI-2's LUN, which Linux writes there for targets that it does not know yet */
	ask(t, "12 e2 00 0060 00", 0, 96);
	expect_field(t, ASC_CDB_FIELD, 1, 1);
	ask(t, "00 20 00 0000 00", 0, 0); /* not of others */
	expect_field(t, ASC_CDB_FIELD, 1, 5);
	rig_free(t);
}

static void data_that_has_no_room_is_an_overrun(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(ask(t, "12 00 00 0060 00", 0, 36), 0x100 | SCSI_OVERRUN);
	assert_int_equal(t->task.moved, 36);
	GOOD(t, "12 00 00 0024 00", 0, 36);
	rig_free(t);
}

static void vital_product_data_is_as_the_disk_is(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "12 01 00 00ff 00", 0, 255);
	expect_bytes(t, "00 00 0008 00 80 83 86 8f b0 b1 b2");
	GOOD(t, "12 01 80 00ff 00", 0, 255);
	expect_bytes(t, "00 80 0002 5331");
	GOOD(t, "12 01 83 00ff 00", 0, 255);
	assert_int_equal(get_be16(t->in + 2) + 4u, t->task.moved);
	assert_memory_equal(t->in + 4, "\x02\x01\x00\x0dVIREO   disk1", 17);
	assert_memory_equal(t->in + 21, "\x01\x03\x00\x08", 4);
	assert_int_equal(t->in[25] >> 4, 3);
	GOOD(t, "12 01 86 00ff 00", 0, 255);
	assert_int_equal(t->task.moved, 64);
	assert_int_equal(t->in[5], 7);
	GOOD(t, "12 01 b0 00ff 00", 0, 255);
	expect_bytes(t, "00 b0 003c 01 ff 0008 00010000 00000000 00000000 ffffffff 00000040 00000008 80000000"
			"0000000000200000 0000000000000000 0000000000000000 00000000");
	GOOD(t, "12 01 b1 00ff 00", 0, 255);
	assert_int_equal(t->task.moved, 64);
	assert_int_equal(get_be16(t->in + 4), 1);
	GOOD(t, "12 01 b2 00ff 00", 0, 255);
	expect_bytes(t, "00 b2 0004 00 e4 02 00");
	rig_free(t);
}

static void the_same_name_is_the_same_unit(void **state)
{
	struct rig *a = rig_new("mem:1M"), *b = rig_new("mem:2M");
	struct scsi_unit *other = rig_unit(b->disk, "disk2");
	unsigned removed = 0;

	GOOD(a, "12 01 83 00ff 00", 0, 255);
	GOOD(b, "12 01 83 00ff 00", 0, 255);
	assert_memory_equal(a->in, b->in, a->task.moved);
	assert_int_equal(scsi_bus_add(b->bus, TARGET, 0, other), 0);
	ask(b, "00 0000000000", 0, 0);
	at(b, TARGET, 0, "00 0000000000", 0, 0);
	assert_int_equal(at(b, TARGET, 0, "12 01 83 00ff 00", 0, 255), SCSI_GOOD);
	assert_memory_not_equal(a->in + 25, b->in + 25, 8);
	scsi_bus_remove(b->bus, TARGET, 0, removed_count, &removed);
	rig_free(b);
	scsi_unit_free(other);
	rig_free(a);
}

static void capacity_is_the_last_block_and_its_size(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "25 00 00000000 0000 00 00", 0, 8);
	expect_bytes(t, "000007ff 00000200");
	GOOD(t, "9e 10 0000000000000000 00000020 00 00", 0, 32);
	expect_bytes(t, "00000000000007ff 00000200 00 03 c000 00000000 00000000 00000000 00000000");
	ask(t, "25 00 00000001 0000 00 00", 0, 8);
	expect_field(t, ASC_CDB_FIELD, 2, -1);
	ask(t, "9e 10 0000000000000001 00000020 00 00", 0, 32);
	expect_field(t, ASC_CDB_FIELD, 2, -1);
	rig_free(t);
	t = rig_new("null:4T");
	GOOD(t, "25 00 00000000 0000 00 00", 0, 8);
	expect_bytes(t, "ffffffff 00000200");
	rig_free(t);
}

static void lba_status_is_mapped_or_unknown_to_the_end(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "9e 12 0000000000000100 00000020 00 00", 0, 32);
	expect_bytes(t, "00000014 00000000 0000000000000100 00000700 00000000");
	rig_free(t);
}

static void a_target_reports_its_units(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "a0 00 00 000000 00000100 00 00", 0, 256);
	expect_bytes(t, "00000008 00000000 0005000000000000");
	GOOD(t, "a0 00 01 000000 00000100 00 00", 0, 256);
	expect_bytes(t, "00000008 00000000 c101000000000000");
	GOOD(t, "a0 00 02 000000 00000100 00 00", 0, 256);
	expect_bytes(t, "00000010 00000000 0005000000000000 c101000000000000");
	GOOD(t, "a0 00 00 000000 00000010 00 00", 0, 256);
	ask(t, "a0 00 00 000000 0000000f 00 00", 0, 256);
	expect_field(t, ASC_CDB_FIELD, 6, -1);
	ask(t, "a0 00 03 000000 00000100 00 00", 0, 256);
	expect_field(t, ASC_CDB_FIELD, 2, -1);
	rig_free(t);
}

static void port_groups_are_one_that_is_active(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "a3 0a 00000000 00000100 00 00", 0, 256);
	expect_bytes(t, "0000000c 00 01 0001 00 00 00 01 0000 0004");
	GOOD(t, "a3 2a 00000000 00000100 00 00", 0, 256);
	expect_bytes(t, "00000010 10 000000 00 01 0001 00 00 00 01 0000 0004");
	ask(t, "a3 4a 00000000 00000100 00 00", 0, 256);
	expect_field(t, ASC_CDB_FIELD, 1, 6);
	rig_free(t);
}

/* Each command that is listed is described alone as well, and none that is not. */
static void every_command_that_is_listed_is_described(void **state)
{
	struct rig *t = rig_new("mem:1M");
	uint8_t list[4096];
	size_t bytes;

	GOOD(t, "a3 0c 00 00 0000 00001000 00 00", 0, 4096);
	bytes = t->task.moved;
	assert_int_equal(get_be32(t->in) + 4, bytes);
	memcpy(list, t->in, bytes);
	for (size_t i = 4; i < bytes; i += 8) {
		char cdb[48];

		snprintf(cdb, sizeof(cdb), "a3 0c %02x %02x %04x 00001000 00 00", list[i + 5] & 1 ? 2 : 1, list[i], get_be16(list + i + 2));
		GOOD(t, cdb, 0, 4096);
		assert_int_equal(t->in[1], 3);
		assert_int_equal(get_be16(t->in + 2), get_be16(list + i + 6));
		assert_int_equal(t->in[4], list[i]);
	}
	GOOD(t, "a3 0c 80 00 0000 00001000 00 00", 0, 4096);
	assert_int_equal(t->task.moved - 4, (bytes - 4) / 8 * 20);
	GOOD(t, "a3 0c 01 85 0000 00001000 00 00", 0, 4096);
	assert_int_equal(t->in[1], 1);
	GOOD(t, "a3 0c 03 9e 0011 00001000 00 00", 0, 4096);
	assert_int_equal(t->in[1], 1);
	GOOD(t, "a3 0c 83 7f 0009 00001000 00 00", 0, 4096);
	expect_bytes(t, "00 83 0020 7f 00 00000000 00 ff 0009 1a 00 ffffffffffffffff 0000000000000000 ffffffff 000a 00 00 00000000 00000000");
	ask(t, "a3 0c 01 9e 0010 00001000 00 00", 0, 4096);
	expect_field(t, ASC_CDB_FIELD, 2, 2);
	ask(t, "a3 0c 02 28 0000 00001000 00 00", 0, 4096);
	expect_field(t, ASC_CDB_FIELD, 2, 2);
	ask(t, "a3 0c 04 28 0000 00001000 00 00", 0, 4096);
	expect_field(t, ASC_CDB_FIELD, 2, 2);
	rig_free(t);
}

static void a_command_the_disk_cannot_is_not_listed(void **state)
{
	char path[] = "/tmp/vireo-scsi-XXXXXX", spec[64];
	int fd = mkstemp(path);
	struct rig *t;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(spec, sizeof(spec), "file:%s,discard=off", path);
	t = rig_new(spec);
	GOOD(t, "a3 0c 01 42 0000 00001000 00 00", 0, 4096);
	assert_int_equal(t->in[1], 1);
	CHECK(t, "42 00 00000000 00 0018 00", 24, 0, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
	ask(t, "93 09 0000000000000000 00000001 00 00", 0, 0); /* UNMAP */
	expect_field(t, ASC_CDB_FIELD, 1, 3);
	GOOD(t, "12 01 b2 00ff 00", 0, 255);
	expect_bytes(t, "00 b2 0004 00 00 00 00");
	rig_free(t);
	unlink(path);
}

static void task_management_that_is_there_is_reported(void **state)
{
	struct rig *t = rig_new("mem:1M");

	GOOD(t, "a3 0d 00 000000 00000100 00 00", 0, 256);
	expect_bytes(t, "dc 07 00 00");
	GOOD(t, "a3 0d 80 000000 00000100 00 00", 0, 256);
	expect_bytes(t, "dc 07 00 0c 00000000 00000000 00000000");
	rig_free(t);
}

static void a_target_without_that_unit_says_so(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(at(t, TARGET, 6, "12 00 00 0024 00", 0, 36), SCSI_GOOD);
	assert_int_equal(t->in[0], 0x7f);
	at(t, TARGET, 6, "28 00 00000000 00 0001 00", 0, BLOCK);
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_LUN);
	at(t, TARGET, 6, "ff 00 00000000 00 0001 00", 0, BLOCK);
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_LUN);
	assert_int_equal(at(t, TARGET, 6, "03 00 00 00 20 00", 0, 32), SCSI_GOOD);
	expect_bytes(t, "70 00 05 00000000 0a 00000000 2500 00 000000");
	assert_int_equal(at(t, TARGET, 6, "03 01 00 00 20 00", 0, 32), SCSI_GOOD);
	expect_bytes(t, "72 05 2500 00000000");
	assert_int_equal(at(t, TARGET, 6, "a0 00 00 000000 00000100 00 00", 0, 256), SCSI_GOOD);
	expect_bytes(t, "00000008 00000000 0005000000000000");
	at(t, TARGET, 6, "12 01 00 0024 00", 0, 36);
	expect_field(t, ASC_CDB_FIELD, 1, 0);
	rig_free(t);
}

static void a_target_that_is_not_there_is_a_bad_one(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(at(t, TARGET + 1, LUN, "12 00 00 0024 00", 0, 36), 0x100 | SCSI_BAD_TARGET);
	assert_int_equal(at(t, TARGET - 1, 0, "a0 00 00 000000 00000100 00 00", 0, 256), 0x100 | SCSI_BAD_TARGET);
	rig_free(t);
}

static int well_known(struct rig *t, const char *cdb, size_t in_bytes)
{
	rig_fill(t, TARGET, LUN, cdb, 0, in_bytes);
	hex("c101000000000000", t->task.lun);
	rig_submit(t);
	assert_ptr_equal(rig_wait(t->queue), &t->task);
	return t->task.status;
}

static void the_well_known_unit_reports_luns(void **state)
{
	struct rig *t = rig_new("mem:1M");

	assert_int_equal(well_known(t, "12 00 00 0024 00", 36), SCSI_GOOD);
	assert_int_equal(t->in[0], 0x1e);
	assert_int_equal(well_known(t, "a0 00 02 000000 00000100 00 00", 256), SCSI_GOOD);
	expect_bytes(t, "00000010 00000000 0005000000000000 c101000000000000");
	assert_int_equal(well_known(t, "00 0000000000", 0), SCSI_GOOD);
	assert_int_equal(well_known(t, "03 00 00 00 20 00", 32), SCSI_GOOD);
	assert_int_equal(t->in[2], KEY_NO_SENSE);
	well_known(t, "28 00 00000000 00 0001 00", BLOCK);
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inquiry_names_vendor_and_standards),
		cmocka_unit_test(data_that_has_no_room_is_an_overrun),
		cmocka_unit_test(vital_product_data_is_as_the_disk_is),
		cmocka_unit_test(the_same_name_is_the_same_unit),
		cmocka_unit_test(capacity_is_the_last_block_and_its_size),
		cmocka_unit_test(lba_status_is_mapped_or_unknown_to_the_end),
		cmocka_unit_test(a_target_reports_its_units),
		cmocka_unit_test(port_groups_are_one_that_is_active),
		cmocka_unit_test(every_command_that_is_listed_is_described),
		cmocka_unit_test(a_command_the_disk_cannot_is_not_listed),
		cmocka_unit_test(task_management_that_is_there_is_reported),
		cmocka_unit_test(a_target_without_that_unit_says_so),
		cmocka_unit_test(a_target_that_is_not_there_is_a_bad_one),
		cmocka_unit_test(the_well_known_unit_reports_luns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
