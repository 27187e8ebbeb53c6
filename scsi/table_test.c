/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of commands is one that can be searched, and docs/scsi.md has it as it is. */
#include "scsi/internal.h"
#include "scsi/test_scsi.h"
#include <stdio.h>

static const char *docs;

static void commands_are_sorted_and_named_once(void **state)
{
	for (unsigned i = 1; i < scsi_command_count; i++) {
		const struct scsi_command *a = &scsi_commands[i - 1], *b = &scsi_commands[i];

		assert_true(a->opcode < b->opcode || (a->opcode == b->opcode && a->service_action < b->service_action));
		assert_true(a->opcode != b->opcode || (a->service_action >= 0 && a->cdb_bytes == b->cdb_bytes));
	}
}

/* The length that an opcode's group has (SPC-4, 4.2.5.1), and nothing used beyond it. */
static void cdbs_are_as_long_as_their_group_says(void **state)
{
	static const uint8_t groups[] = {6, 10, 10, 32, 16, 12};

	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *c = &scsi_commands[i];

		assert_int_equal(c->cdb_bytes, groups[c->opcode >> 5]);
		assert_int_equal(c->usage[0], 0);
		for (unsigned at = c->cdb_bytes; at < SCSI_CDB_BYTES; at++)
			assert_int_equal(c->usage[at], 0);
		assert_int_equal(c->usage[c->cdb_bytes == 32 ? 1 : c->cdb_bytes - 1], 0); /* CONTROL */
		assert_true(c->handler && c->name);
		if (c->cdb_bytes < 32 && c->service_action >= 0)
			assert_int_equal(c->usage[1] & 0x1f, 0x1f);
	}
}

static void cdb_begin(uint8_t *cdb, const struct scsi_command *c)
{
	memset(cdb, 0, SCSI_CDB_BYTES);
	cdb[0] = c->opcode;
	if (c->opcode == 0x7f) {
		cdb[7] = 24;
		put_be16(cdb + 8, (uint16_t)c->service_action);
	} else if (c->service_action >= 0) {
		cdb[1] = (uint8_t)c->service_action;
	}
}

static void bit_is_refused(struct rig *t, const struct scsi_command *c, unsigned byte, unsigned bit)
{
	rig_fill(t, TARGET, LUN, "", 0, 0);
	cdb_begin(t->cdb, c);
	t->cdb[byte] |= (uint8_t)(1u << bit);
	t->task.cdb_bytes = c->cdb_bytes;
	rig_submit(t);
	assert_ptr_equal(rig_wait(t->queue), &t->task);
	expect_field(t, ASC_CDB_FIELD, byte, (int)bit);
}

/* Each bit that a command does not have, alone: with a pointer to it. */
static void every_bit_that_is_not_used_is_refused(void **state)
{
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *c = &scsi_commands[i];

		for (unsigned at = 8; at < c->cdb_bytes * 8u; at++) {
			bool of_old = c->flags & COMMAND_OLD_LUN && at / 8 == 1 && at % 8 >= 5;

			if (!(c->usage[at / 8] >> at % 8 & 1) && !of_old)
				bit_is_refused(t, c, at / 8, at % 8);
		}
	}
	rig_free(t);
}

static void every_row_is_found_by_its_cdb(void **state)
{
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *c = &scsi_commands[i];
		uint8_t cdb[SCSI_CDB_BYTES];
		unsigned field;

		cdb_begin(cdb, c);
		assert_ptr_equal(scsi_command_find(cdb, c->cdb_bytes, &field), c);
		assert_null(scsi_command_find(cdb, c->cdb_bytes - 1u, &field));
	}
}

/* Of so many bytes, in memory that has no more of them. */
static void cdb_ask(struct rig *t, const uint8_t *cdb, unsigned bytes)
{
	uint8_t *cut = malloc(bytes + !bytes);

	assert_non_null(cut);
	memcpy(cut, cdb, bytes);
	rig_fill(t, TARGET, LUN, "", 0, 0);
	t->task.cdb = cut;
	t->task.cdb_bytes = (uint16_t)bytes;
	rig_submit(t);
	assert_ptr_equal(rig_wait(t->queue), &t->task);
	free(cut);
}

/* The pointer is to the first byte that is missing. */
static void a_cdb_of_any_length_is_whole_or_refused(void **state)
{
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *c = &scsi_commands[i];
		uint8_t cdb[260] = {0};
		unsigned field;

		cdb_begin(cdb, c);
		for (unsigned bytes = 0; bytes < c->cdb_bytes; bytes++) {
			cdb_ask(t, cdb, bytes);
			expect_field(t, ASC_CDB_FIELD, bytes < 6 ? 0 : bytes, -1);
		}
		for (unsigned bytes = c->cdb_bytes; bytes <= sizeof(cdb); bytes++)
			assert_ptr_equal(scsi_command_find(cdb, bytes, &field), c);
	}
	rig_free(t);
}

static bool opcode_is_there(unsigned opcode)
{
	for (unsigned i = 0; i < scsi_command_count; i++)
		if (scsi_commands[i].opcode == opcode)
			return true;
	return false;
}

static void every_opcode_that_is_not_there_is_refused_as_such(void **state)
{
	struct rig *t = rig_new("mem:1M");
	unsigned absent = 0;

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		uint8_t cdb[SCSI_CDB_BYTES] = {(uint8_t)opcode};

		if (opcode_is_there(opcode))
			continue;
		absent++;
		for (unsigned bytes = 6; bytes <= sizeof(cdb); bytes++) {
			cdb_ask(t, cdb, bytes);
			expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
		}
	}
	assert_true(absent > 128);
	rig_free(t);
}

static bool action_is_there(const struct scsi_command *of, unsigned action)
{
	for (unsigned i = 0; i < scsi_command_count; i++)
		if (scsi_commands[i].opcode == of->opcode && scsi_commands[i].service_action == (int)action)
			return true;
	return false;
}

/* With a pointer to the service action, not to the opcode. */
static void every_service_action_that_is_not_there_is_pointed_at(void **state)
{
	struct rig *t = rig_new("mem:1M");

	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *c = &scsi_commands[i];
		unsigned actions = c->opcode == 0x7f ? 65536 : 32;

		if (c->service_action < 0 || (i && c[-1].opcode == c->opcode))
			continue;
		for (unsigned action = 0; action < actions; action++) {
			uint8_t cdb[SCSI_CDB_BYTES];

			if (action_is_there(c, action))
				continue;
			cdb_begin(cdb, c);
			if (c->opcode == 0x7f)
				put_be16(cdb + 8, (uint16_t)action);
			else
				cdb[1] = (uint8_t)action;
			cdb_ask(t, cdb, c->cdb_bytes);
			expect_field(t, ASC_CDB_FIELD, c->opcode == 0x7f ? 8 : 1, -1);
		}
	}
	rig_free(t);
}

static char *file_read(const char *path)
{
	char *text = calloc(1, 1 << 16);
	FILE *file = fopen(path, "r");
	size_t bytes;

	assert_non_null(text);
	assert_non_null(file);
	bytes = fread(text, 1, (1 << 16) - 1, file);
	assert_true(bytes);
	fclose(file);
	return text;
}

static void the_page_has_the_table(void **state)
{
	char *page = file_read(docs), *table = NULL;
	size_t bytes;
	FILE *memory = open_memstream(&table, &bytes);

	assert_non_null(memory);
	scsi_commands_print(memory);
	fclose(memory);
	if (!strstr(page, table))
		fprintf(stderr, "docs/scsi.md is to have this table:\n%s", table);
	assert_non_null(strstr(page, table));
	free(page);
	free(table);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_sorted_and_named_once),
		cmocka_unit_test(cdbs_are_as_long_as_their_group_says),
		cmocka_unit_test(every_bit_that_is_not_used_is_refused),
		cmocka_unit_test(every_row_is_found_by_its_cdb),
		cmocka_unit_test(a_cdb_of_any_length_is_whole_or_refused),
		cmocka_unit_test(every_opcode_that_is_not_there_is_refused_as_such),
		cmocka_unit_test(every_service_action_that_is_not_there_is_pointed_at),
		cmocka_unit_test(the_page_has_the_table),
	};

	if (argc < 2)
		return 77;
	docs = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
