/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands: a row each, sorted by opcode and then by service action. A row says which bits of its CDB are
 * looked at; one with any other bit set is refused, with a pointer to that bit. docs/scsi.md has this as a
 * table, and REPORT SUPPORTED OPERATION CODES answers from it.
 */
#include "scsi/way.h"

#define NONE (-1)
#define READS (BAR_READ | BAR_LEGACY)
#define WRITES (BAR_WRITE | BAR_LEGACY)
#define MEDIUM_WRITES (COMMAND_MEDIUM | COMMAND_WRITES)
#define BLOCK4 0xff, 0xff, 0xff, 0xff
#define BLOCK8 BLOCK4, BLOCK4

#define ROW(text, code, action, bytes, bars_, flags_, do_, ...) \
	{.name = text, .opcode = code, .service_action = action, .cdb_bytes = bytes, .bars = bars_, .flags = flags_, \
	 .handler = scsi_do_##do_, .usage = {0, __VA_ARGS__}}

const struct scsi_command scsi_commands[] = {
	ROW("TEST UNIT READY", 0x00, NONE, 6, BAR_LEGACY, COMMAND_MEDIUM | COMMAND_WELL_KNOWN, test_unit_ready, 0),
	ROW("REQUEST SENSE", 0x03, NONE, 6, 0, COMMAND_ANYWHERE | COMMAND_WELL_KNOWN, request_sense, 0x01, 0, 0, 0xff),
	ROW("READ (6)", 0x08, NONE, 6, READS, COMMAND_MEDIUM, read, 0x1f, 0xff, 0xff, 0xff),
	ROW("WRITE (6)", 0x0a, NONE, 6, WRITES, MEDIUM_WRITES, write, 0x1f, 0xff, 0xff, 0xff),
	ROW("INQUIRY", 0x12, NONE, 6, 0, COMMAND_ANYWHERE | COMMAND_WELL_KNOWN | COMMAND_OLD_LUN, inquiry, 0x01, 0xff, 0xff, 0xff),
	ROW("MODE SELECT (6)", 0x15, NONE, 6, WRITES, 0, mode_select, 0x11, 0, 0, 0xff),
	ROW("RESERVE (6)", 0x16, NONE, 6, BAR_LEGACY, 0, reserve, 0),
	ROW("RELEASE (6)", 0x17, NONE, 6, 0, 0, release, 0),
	ROW("MODE SENSE (6)", 0x1a, NONE, 6, READS, 0, mode_sense, 0x08, 0xff, 0xff, 0xff),
	ROW("START STOP UNIT", 0x1b, NONE, 6, WRITES, 0, start_stop, 0x01, 0, 0x0f, 0xf7),
	ROW("PREVENT ALLOW MEDIUM REMOVAL", 0x1e, NONE, 6, BAR_LEGACY, 0, removal, 0, 0, 0, 0x03),
	ROW("READ CAPACITY (10)", 0x25, NONE, 10, BAR_LEGACY, COMMAND_MEDIUM, read_capacity, 0, BLOCK4, 0, 0, 0x01),
	ROW("READ (10)", 0x28, NONE, 10, READS, COMMAND_MEDIUM, read, 0x1a, BLOCK4, 0, 0xff, 0xff),
	ROW("WRITE (10)", 0x2a, NONE, 10, WRITES, MEDIUM_WRITES, write, 0x1a, BLOCK4, 0, 0xff, 0xff),
	ROW("WRITE AND VERIFY (10)", 0x2e, NONE, 10, WRITES, MEDIUM_WRITES, write_verify, 0x16, BLOCK4, 0, 0xff, 0xff),
	ROW("VERIFY (10)", 0x2f, NONE, 10, READS, COMMAND_MEDIUM, verify, 0x16, BLOCK4, 0, 0xff, 0xff),
	ROW("PRE-FETCH (10)", 0x34, NONE, 10, READS, COMMAND_MEDIUM, prefetch, 0x02, BLOCK4, 0, 0xff, 0xff),
	ROW("SYNCHRONIZE CACHE (10)", 0x35, NONE, 10, WRITES, COMMAND_MEDIUM, synchronize, 0x06, BLOCK4, 0, 0xff, 0xff),
	ROW("WRITE SAME (10)", 0x41, NONE, 10, WRITES, MEDIUM_WRITES, write_same, 0x08, BLOCK4, 0, 0xff, 0xff),
	ROW("UNMAP", 0x42, NONE, 10, WRITES, MEDIUM_WRITES, unmap, 0, 0, 0, 0, 0, 0, 0xff, 0xff),
	ROW("MODE SELECT (10)", 0x55, NONE, 10, WRITES, 0, mode_select, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff),
	ROW("RESERVE (10)", 0x56, NONE, 10, BAR_LEGACY, 0, reserve, 0),
	ROW("RELEASE (10)", 0x57, NONE, 10, 0, 0, release, 0),
	ROW("MODE SENSE (10)", 0x5a, NONE, 10, READS, 0, mode_sense, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff),
	ROW("PERSISTENT RESERVE IN, READ KEYS", 0x5e, 0x00, 10, BAR_LEGACY, 0, persist_in, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff),
	ROW("PERSISTENT RESERVE IN, READ RESERVATION", 0x5e, 0x01, 10, BAR_LEGACY, 0, persist_in, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff),
	ROW("PERSISTENT RESERVE IN, REPORT CAPABILITIES", 0x5e, 0x02, 10, BAR_LEGACY, 0, persist_in, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff),
	ROW("PERSISTENT RESERVE IN, READ FULL STATUS", 0x5e, 0x03, 10, BAR_LEGACY, 0, persist_in, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff),
#define PERSIST_OUT(text, action) \
	ROW("PERSISTENT RESERVE OUT, " text, 0x5f, action, 10, BAR_LEGACY, 0, persist_out, 0x1f, 0xff, 0, 0, BLOCK4)
	PERSIST_OUT("REGISTER", 0x00),
	PERSIST_OUT("RESERVE", 0x01),
	PERSIST_OUT("RELEASE", 0x02),
	PERSIST_OUT("CLEAR", 0x03),
	PERSIST_OUT("PREEMPT", 0x04),
	PERSIST_OUT("PREEMPT AND ABORT", 0x05),
	PERSIST_OUT("REGISTER AND IGNORE EXISTING KEY", 0x06),
	PERSIST_OUT("REGISTER AND MOVE", 0x07),
	ROW("READ (32)", 0x7f, 0x09, 32, READS, COMMAND_MEDIUM, read, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x1a, 0, BLOCK8, 0, 0, 0,
	    0, 0, 0, 0, 0, BLOCK4),
	ROW("VERIFY (32)", 0x7f, 0x0a, 32, READS, COMMAND_MEDIUM, verify, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x16, 0, BLOCK8, 0, 0,
	    0, 0, 0, 0, 0, 0, BLOCK4),
	ROW("WRITE (32)", 0x7f, 0x0b, 32, WRITES, MEDIUM_WRITES, write, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x1a, 0, BLOCK8, 0, 0, 0,
	    0, 0, 0, 0, 0, BLOCK4),
	ROW("WRITE AND VERIFY (32)", 0x7f, 0x0c, 32, WRITES, MEDIUM_WRITES, write_verify, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x16, 0,
	    BLOCK8, 0, 0, 0, 0, 0, 0, 0, 0, BLOCK4),
	ROW("WRITE SAME (32)", 0x7f, 0x0d, 32, WRITES, MEDIUM_WRITES, write_same, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x09, 0, BLOCK8,
	    0, 0, 0, 0, 0, 0, 0, 0, BLOCK4),
	ROW("EXTENDED COPY", 0x83, 0x00, 16, WRITES, 0, extended_copy, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, BLOCK4),
#define COPY_RESULTS(text, action, do_) \
	ROW("RECEIVE COPY RESULTS, " text, 0x84, action, 16, WRITES, 0, do_, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, BLOCK4)
	COPY_RESULTS("COPY STATUS", 0x00, copy_status),
	COPY_RESULTS("OPERATING PARAMETERS", 0x03, copy_parameters),
	COPY_RESULTS("FAILED SEGMENT DETAILS", 0x04, copy_failure),
	ROW("READ (16)", 0x88, NONE, 16, READS, COMMAND_MEDIUM, read, 0x1a, BLOCK8, BLOCK4),
	ROW("COMPARE AND WRITE", 0x89, NONE, 16, WRITES, MEDIUM_WRITES, compare_write, 0x1a, BLOCK8, 0, 0, 0, 0xff),
	ROW("WRITE (16)", 0x8a, NONE, 16, WRITES, MEDIUM_WRITES, write, 0x1a, BLOCK8, BLOCK4),
	ROW("ORWRITE (16)", 0x8b, NONE, 16, WRITES, MEDIUM_WRITES, orwrite, 0x1a, BLOCK8, BLOCK4),
	ROW("WRITE AND VERIFY (16)", 0x8e, NONE, 16, WRITES, MEDIUM_WRITES, write_verify, 0x16, BLOCK8, BLOCK4),
	ROW("VERIFY (16)", 0x8f, NONE, 16, READS, COMMAND_MEDIUM, verify, 0x16, BLOCK8, BLOCK4),
	ROW("PRE-FETCH (16)", 0x90, NONE, 16, READS, COMMAND_MEDIUM, prefetch, 0x02, BLOCK8, BLOCK4),
	ROW("SYNCHRONIZE CACHE (16)", 0x91, NONE, 16, WRITES, COMMAND_MEDIUM, synchronize, 0x06, BLOCK8, BLOCK4),
	ROW("WRITE SAME (16)", 0x93, NONE, 16, WRITES, MEDIUM_WRITES, write_same, 0x09, BLOCK8, BLOCK4),
	ROW("READ CAPACITY (16)", 0x9e, 0x10, 16, BAR_LEGACY, COMMAND_MEDIUM, read_capacity_16, 0x1f, BLOCK8, BLOCK4, 0x01),
	ROW("GET LBA STATUS", 0x9e, 0x12, 16, READS, COMMAND_MEDIUM, get_lba_status, 0x1f, BLOCK8, BLOCK4),
	ROW("REPORT LUNS", 0xa0, NONE, 12, 0, COMMAND_ANYWHERE | COMMAND_WELL_KNOWN, report_luns, 0, 0xff, 0, 0, 0, BLOCK4),
	ROW("REPORT TARGET PORT GROUPS", 0xa3, 0x0a, 12, 0, 0, report_ports, 0x3f, 0, 0, 0, 0, BLOCK4),
	ROW("REPORT SUPPORTED OPERATION CODES", 0xa3, 0x0c, 12, BAR_LEGACY, 0, report_opcodes, 0x1f, 0x87, 0xff, 0xff, 0xff, BLOCK4),
	ROW("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 0xa3, 0x0d, 12, BAR_LEGACY, 0, report_tmfs, 0x1f, 0x80, 0, 0, 0, BLOCK4),
	ROW("READ (12)", 0xa8, NONE, 12, READS, COMMAND_MEDIUM, read, 0x1a, BLOCK4, BLOCK4),
	ROW("WRITE (12)", 0xaa, NONE, 12, WRITES, MEDIUM_WRITES, write, 0x1a, BLOCK4, BLOCK4),
	ROW("WRITE AND VERIFY (12)", 0xae, NONE, 12, WRITES, MEDIUM_WRITES, write_verify, 0x16, BLOCK4, BLOCK4),
	ROW("VERIFY (12)", 0xaf, NONE, 12, READS, COMMAND_MEDIUM, verify, 0x16, BLOCK4, BLOCK4),
};

const unsigned scsi_command_count = ARRAY_SIZE(scsi_commands);
static_assert(ARRAY_SIZE(scsi_commands) <= 256, "a row has its place in a byte"); /* scsi_queue.rows */

/* ---- looking one up ---- */

unsigned scsi_service_action(const uint8_t *cdb)
{
	return cdb[0] == 0x7f ? get_be16(cdb + 8) : cdb[1] & 0x1fu;
}

/* The first row of that opcode, or one of a greater one. */
static const struct scsi_command *row_of(uint8_t opcode)
{
	unsigned low = 0, high = scsi_command_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (scsi_commands[middle].opcode < opcode)
			low = middle + 1;
		else
			high = middle;
	}
	return &scsi_commands[low];
}

static const struct scsi_command *action_of(const struct scsi_command *row, unsigned action)
{
	uint8_t opcode = row->opcode;

	for (; row < scsi_commands + scsi_command_count && row->opcode == opcode; row++)
		if (row->service_action == (int)action)
			return row;
	return NULL;
}

const struct scsi_command *scsi_command_find(const uint8_t *cdb, unsigned bytes, unsigned *ret_field)
{
	const struct scsi_command *row = row_of(cdb[0]);

	*ret_field = 0;
	if (row == scsi_commands + scsi_command_count || row->opcode != cdb[0])
		return NULL;
	*ret_field = bytes;
	if (bytes < row->cdb_bytes)
		return NULL;
	if (row->service_action == NONE)
		return row;
	*ret_field = 7;
	if (cdb[0] == 0x7f && cdb[7] != row->cdb_bytes - 8)
		return NULL;
	*ret_field = cdb[0] == 0x7f ? 8 : 1;
	return action_of(row, scsi_service_action(cdb));
}

bool scsi_command_usable(const struct scsi_command *command, const struct scsi_unit *unit)
{
	return command->handler != scsi_do_unmap || unit->info.can_discard;
}

/* ---- blocks ---- */

struct scsi_extent scsi_extent_of(const struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;

	switch (task->command->cdb_bytes) {
	case 6: /* 0 blocks are 256 */
		return (struct scsi_extent){get_be24(cdb + 1) & 0x1fffff, cdb[4] ? cdb[4] : 256};
	case 10:
		return (struct scsi_extent){get_be32(cdb + 2), get_be16(cdb + 7)};
	case 12:
		return (struct scsi_extent){get_be32(cdb + 2), get_be32(cdb + 6)};
	case 16:
		return (struct scsi_extent){get_be64(cdb + 2), get_be32(cdb + 10)};
	default:
		return (struct scsi_extent){get_be64(cdb + 12), get_be32(cdb + 28)};
	}
}

unsigned scsi_length_field(const struct scsi_command *command)
{
	static const uint8_t fields[] = {[6] = 4, [10] = 7, [12] = 6, [16] = 10, [32] = 28};

	return fields[command->cdb_bytes];
}

bool scsi_extent_check(struct scsi_task *task, const struct scsi_extent *extent)
{
	if (likely(way_extent_fits(unit_of(task), extent)))
		return true;
	scsi_end_check_at(task, KEY_ILLEGAL_REQUEST, ASC_LBA, extent->block);
	return false;
}

/* ---- for docs/scsi.md ---- */

static const char *bars_text(const struct scsi_command *c)
{
	if (c->bars & BAR_READ)
		return "exclusive";
	if (c->bars & BAR_WRITE)
		return "any";
	return c->bars ? "RESERVE" : "none";
}

void scsi_commands_print(FILE *out)
{
	fprintf(out, "| command | opcode | service action | CDB bytes | kept out by reservations |\n|---|---|---|---|---|\n");
	for (const struct scsi_command *c = scsi_commands; c < scsi_commands + scsi_command_count; c++) {
		char action[8] = "";

		if (c->service_action != NONE)
			snprintf(action, sizeof(action), "%02x", (unsigned)c->service_action & 0xffffu);
		fprintf(out, "| %s | %02x | %s | %u | %s |\n", c->name, c->opcode, action, c->cdb_bytes, bars_text(c));
	}
}
