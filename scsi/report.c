/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a target can do: REPORT LUNS, TARGET PORT GROUPS, SUPPORTED OPERATION CODES and TASK MANAGEMENT
 * FUNCTIONS.
 */
#include "scsi/internal.h"

/* ---- REPORT LUNS ---- */

enum { SELECT_LUNS, SELECT_WELL_KNOWN, SELECT_ALL };

static const uint8_t well_known[8] = {0xc1, 0x01};

/*
 * Of a target, into `at` if it is not NULL; returns how many. Who asks need not be told any more that they
 * have changed. bus.lock is held.
 */
static size_t luns_write(struct scsi_bus *bus, unsigned target, uint8_t *at)
{
	size_t count = 0;

	for (struct scsi_lun *lun = bus->luns; lun; lun = lun->next) {
		if (lun->target != target)
			continue;
		if (at) {
			scsi_lun_encode(lun->number, at + count * 8);
			__atomic_fetch_and(&lun->attentions, ~(1u << ATTENTION_LUNS), __ATOMIC_RELAXED);
		}
		count++;
	}
	return count;
}

static uint8_t *list_write(struct scsi_bus *bus, unsigned target, unsigned select, size_t *ret_bytes)
{
	size_t count = 0, extra = select != SELECT_LUNS;
	uint8_t *data;

	pthread_mutex_lock(&bus->lock);
	if (select != SELECT_WELL_KNOWN)
		count = luns_write(bus, target, NULL);
	data = calloc(count + extra + 1, 8);
	if (data && count)
		luns_write(bus, target, data + 8);
	pthread_mutex_unlock(&bus->lock);
	if (!data)
		return NULL;
	if (extra)
		memcpy(data + 8 + count * 8, well_known, 8);
	put_be32(data, (uint32_t)((count + extra) * 8));
	*ret_bytes = (count + extra + 1) * 8;
	return data;
}

void scsi_do_report_luns(struct scsi_task *task)
{
	unsigned select = task->cdb[2];
	size_t allowed = get_be32(task->cdb + 6), bytes;
	uint8_t *data;

	if (select > SELECT_ALL) {
		scsi_end_cdb(task, 2, -1);
		return;
	}
	if (allowed < 16) {
		scsi_end_cdb(task, 6, -1);
		return;
	}
	data = list_write(task->path->queue->bus, task->target, select, &bytes);
	if (data)
		scsi_end_data(task, data, bytes, allowed);
	else
		scsi_end_status(task, SCSI_BUSY);
	free(data);
}

/* ---- REPORT TARGET PORT GROUPS: one, and it is active ---- */

void scsi_do_report_ports(struct scsi_task *task)
{
	bool extended = task->cdb[1] & 0x20;
	size_t header = extended ? 8 : 4;
	uint8_t data[8 + 12] = {0}, *group = data + header;

	put_be32(data, (uint32_t)(header + 12 - 4));
	if (extended)
		data[4] = 0x10;
	group[1] = 0x01; /* active, optimized: no other state is there */
	put_be16(group + 2, 1);
	group[7] = 1;
	put_be16(group + 10, task->path->lun->nexus.port);
	scsi_end_data(task, data, header + 12, get_be32(task->cdb + 6));
}

/* ---- REPORT SUPPORTED OPERATION CODES ---- */

#define TIMEOUTS_BYTES 12u
#define WITH_TIMEOUTS  0x80u
#define SUPPORTED      3u
#define NOT_SUPPORTED  1u

enum { ALL_COMMANDS, ONE_WITHOUT_ACTION, ONE_WITH_ACTION, ONE_OF_EITHER };

static size_t timeouts_write(uint8_t *at)
{
	memset(at, 0, TIMEOUTS_BYTES); /* not said */
	put_be16(at, TIMEOUTS_BYTES - 2);
	return TIMEOUTS_BYTES;
}

static size_t row_write(const struct scsi_command *c, bool timeouts, uint8_t *at)
{
	memset(at, 0, 8);
	at[0] = c->opcode;
	if (c->service_action >= 0) {
		put_be16(at + 2, (uint16_t)c->service_action);
		at[5] |= 1;
	}
	if (timeouts)
		at[5] |= 2;
	put_be16(at + 6, c->cdb_bytes);
	return 8 + (timeouts ? timeouts_write(at + 8) : 0);
}

static void report_all(struct scsi_task *task, bool timeouts)
{
	uint8_t *data = malloc(4 + scsi_command_count * (8 + (size_t)TIMEOUTS_BYTES));
	size_t bytes = 4;

	if (!data) {
		scsi_end_status(task, SCSI_BUSY);
		return;
	}
	for (unsigned i = 0; i < scsi_command_count; i++)
		if (scsi_command_usable(&scsi_commands[i], unit_of(task)))
			bytes += row_write(&scsi_commands[i], timeouts, data + bytes);
	put_be32(data, (uint32_t)(bytes - 4));
	scsi_end_data(task, data, bytes, get_be32(task->cdb + 6));
	free(data);
}

static size_t usage_write(const struct scsi_command *c, uint8_t *at)
{
	memcpy(at, c->usage, c->cdb_bytes);
	at[0] = c->opcode;
	if (c->service_action >= 0 && c->opcode == 0x7f)
		put_be16(at + 8, (uint16_t)c->service_action);
	else if (c->service_action >= 0)
		at[1] = (uint8_t)((at[1] & ~0x1f) | c->service_action);
	return c->cdb_bytes;
}

static void report_one(struct scsi_task *task, const struct scsi_command *c, bool timeouts)
{
	uint8_t data[4 + SCSI_CDB_BYTES + TIMEOUTS_BYTES] = {0};
	size_t bytes = 4;

	data[1] = NOT_SUPPORTED;
	if (c && scsi_command_usable(c, unit_of(task))) {
		data[1] = SUPPORTED;
		put_be16(data + 2, c->cdb_bytes);
		bytes += usage_write(c, data + 4);
		if (timeouts) {
			data[1] |= WITH_TIMEOUTS;
			bytes += timeouts_write(data + bytes);
		}
	}
	scsi_end_data(task, data, bytes, get_be32(task->cdb + 6));
}

/* The opcode's row of that service action (or its only one); `any`: there is one of the opcode. */
static const struct scsi_command *row_find(const uint8_t *cdb, const struct scsi_command **ret_any)
{
	const struct scsi_command *found = NULL;

	*ret_any = NULL;
	for (const struct scsi_command *c = scsi_commands; c < scsi_commands + scsi_command_count; c++) {
		if (c->opcode != cdb[3])
			continue;
		*ret_any = c;
		if (c->service_action == get_be16(cdb + 4) || (c->service_action < 0 && !found))
			found = c;
	}
	return found;
}

/* A command is asked for with its service action if it has them, and without where it has none (SPC-5, 6.34.1). */
static bool option_fits(unsigned option, const struct scsi_command *any)
{
	bool has_actions = any && any->service_action >= 0;

	if (option > ONE_OF_EITHER || (option == ONE_WITHOUT_ACTION && has_actions))
		return false;
	return option != ONE_WITH_ACTION || !any || has_actions;
}

void scsi_do_report_opcodes(struct scsi_task *task)
{
	unsigned option = task->cdb[2] & 7;
	bool timeouts = task->cdb[2] & WITH_TIMEOUTS;
	const struct scsi_command *any, *found = row_find(task->cdb, &any);

	if (option == ALL_COMMANDS)
		report_all(task, timeouts);
	else if (option_fits(option, any))
		report_one(task, found, timeouts);
	else
		scsi_end_cdb(task, 2, 2);
}

/* ---- REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS ---- */

void scsi_do_report_tmfs(struct scsi_task *task)
{
	/*
	 * ABORT TASK and TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK; QUERY ASYNCHRONOUS EVENT
	 * and TASK SET, I_T NEXUS RESET
	 */
	uint8_t data[16] = {0xdc, 0x07};
	bool extended = task->cdb[2] & 0x80;

	if (extended)
		data[3] = sizeof(data) - 4;
	scsi_end_data(task, data, extended ? sizeof(data) : 4, get_be32(task->cdb + 6));
}
