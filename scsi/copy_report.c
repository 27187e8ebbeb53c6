/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is told of copies: RECEIVE COPY RESULTS, and the Third-party Copy page of INQUIRY (SPC-4, 6.22 and 7.8.17).
 * How a copy has gone is kept for its initiator and logical unit until the same list identifier is used again, the
 * unit is reset, or COPY_RECORDS_MAX younger ones have come.
 */
#include "scsi/copy.h"

#define SEGMENT_BYTES_MAX (UINT32_C(256) << 20) /* more than 65535 blocks can be */
#define GRANULARITY	  9u			/* of blocks: 2 to that power */

/* ---- records ---- */

/* A free one, or the oldest of those that have ended. */
static struct scsi_copy_record *record_for(struct scsi_copy_records *all, uint8_t list_id, int *ret_err)
{
	struct scsi_copy_record *best = NULL;

	*ret_err = -EBUSY;
	for (unsigned i = 0; i < COPY_RECORDS_MAX; i++) {
		struct scsi_copy_record *r = &all->records[i];

		if (r->state != COPY_FREE && r->list_id == list_id) {
			*ret_err = -EEXIST;
			return r->state == COPY_RUNS ? NULL : r;
		}
		if (r->state == COPY_RUNS || (best && best->state == COPY_FREE))
			continue;
		if (!best || r->state == COPY_FREE || (int32_t)(r->order - best->order) < 0)
			best = r;
	}
	return best;
}

static int record_begin(struct scsi_lun *lun, uint8_t list_id, struct scsi_copy_record **ret_record)
{
	struct scsi_copy_record *record;
	int err;

	if (!lun->copies)
		lun->copies = calloc(1, sizeof(*lun->copies));
	if (!lun->copies)
		return -ENOMEM;
	record = record_for(lun->copies, list_id, &err);
	if (!record)
		return err;
	memset(record, 0, sizeof(*record));
	record->state = COPY_RUNS;
	record->list_id = list_id;
	record->order = lun->copies->order++;
	*ret_record = record;
	return 0;
}

int scsi_copy_record_new(struct scsi_lun *lun, uint8_t list_id, struct scsi_copy_record **ret_record)
{
	int err;

	pthread_mutex_lock(&lun->unit->lock);
	err = record_begin(lun, list_id, ret_record);
	pthread_mutex_unlock(&lun->unit->lock);
	return err;
}

void scsi_copy_record_end(struct scsi_lun *lun, struct scsi_copy_record *record, uint8_t state, const struct scsi_task *task)
{
	pthread_mutex_lock(&lun->unit->lock);
	record->state = state;
	if (state == COPY_FAILED) {
		record->status = task->status;
		record->sense_bytes = task->sense_bytes;
		memcpy(record->sense, task->sense, task->sense_bytes);
	}
	pthread_mutex_unlock(&lun->unit->lock);
}

void scsi_copies_forget(struct scsi_lun *lun)
{
	for (unsigned i = 0; lun->copies && i < COPY_RECORDS_MAX; i++)
		if (lun->copies->records[i].state != COPY_RUNS)
			lun->copies->records[i].state = COPY_FREE;
}

/* A copy of the one that the CDB names. False: the task has ended. */
static bool record_find(struct scsi_task *task, struct scsi_copy_record *ret_record)
{
	struct scsi_lun *lun = task->path->lun;
	bool found = false;

	pthread_mutex_lock(&lun->unit->lock);
	for (unsigned i = 0; lun->copies && i < COPY_RECORDS_MAX && !found; i++) {
		struct scsi_copy_record *r = &lun->copies->records[i];

		found = r->state != COPY_FREE && r->list_id == task->cdb[2];
		if (!found)
			continue;
		*ret_record = (struct scsi_copy_record){.state = r->state, .status = r->status, .sense_bytes = r->sense_bytes};
		memcpy(ret_record->sense, r->sense, sizeof(r->sense));
		ret_record->segments = __atomic_load_n(&r->segments, __ATOMIC_RELAXED);
		ret_record->bytes = __atomic_load_n(&r->bytes, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&lun->unit->lock);
	if (!found)
		scsi_end_cdb(task, 2, -1);
	return found;
}

/* ---- RECEIVE COPY RESULTS ---- */

void scsi_do_copy_status(struct scsi_task *task)
{
	static const uint8_t states[] = {[COPY_RUNS] = 0, [COPY_DONE] = 1, [COPY_FAILED] = 2};
	struct scsi_copy_record record;
	uint8_t data[12] = {0};
	bool kib;

	if (!record_find(task, &record))
		return;
	kib = record.bytes > UINT32_MAX;
	put_be32(data, sizeof(data) - 4);
	data[4] = states[record.state];
	put_be16(data + 5, record.segments);
	data[7] = kib;
	put_be32(data + 8, (uint32_t)(kib ? record.bytes >> 10 : record.bytes));
	scsi_end_data(task, data, sizeof(data), get_be32(task->cdb + 10));
}

/* None, of one that has not failed: the length alone. */
void scsi_do_copy_failure(struct scsi_task *task)
{
	uint8_t data[60 + SCSI_SENSE_BYTES] = {0};
	struct scsi_copy_record record;
	size_t bytes = 4;

	if (!record_find(task, &record))
		return;
	if (record.state == COPY_FAILED) {
		data[56] = record.status;
		put_be16(data + 58, record.sense_bytes);
		memcpy(data + 60, record.sense, record.sense_bytes);
		bytes = 60 + (size_t)record.sense_bytes;
		put_be32(data, (uint32_t)(bytes - 4));
	}
	scsi_end_data(task, data, bytes, get_be32(task->cdb + 10));
}

void scsi_do_copy_parameters(struct scsi_task *task)
{
	uint8_t data[46] = {[43] = 2, [44] = COPY_SEGMENT_TYPE, [45] = COPY_CSCD_TYPE};

	put_be32(data, sizeof(data) - 4);
	put_be16(data + 8, COPY_CSCDS_MAX);
	put_be16(data + 10, COPY_SEGMENTS_MAX);
	put_be32(data + 12, COPY_LISTS_BYTES_MAX);
	put_be32(data + 16, SEGMENT_BYTES_MAX);
	put_be16(data + 34, COPY_AT_ONCE_MAX);
	data[36] = COPY_AT_ONCE_MAX;
	data[37] = GRANULARITY;
	scsi_end_data(task, data, sizeof(data), get_be32(task->cdb + 10));
}

/* ---- the Third-party Copy page ---- */

static size_t descriptor(uint8_t *at, uint16_t type, size_t bytes)
{
	bytes = (bytes + 3) & ~(size_t)3;
	put_be16(at, type);
	put_be16(at + 2, (uint16_t)bytes);
	return 4 + bytes;
}

static size_t page_commands(uint8_t *at)
{
	static const uint8_t commands[] = {8, 0x83, 1, 0x00, 0x84, 3, 0x00, 0x03, 0x04};

	memcpy(at + 4, commands, sizeof(commands));
	return descriptor(at, 0x0001, sizeof(commands));
}

static size_t page_parameters(uint8_t *at)
{
	put_be16(at + 8, COPY_CSCDS_MAX);
	put_be16(at + 10, COPY_SEGMENTS_MAX);
	put_be32(at + 12, COPY_LISTS_BYTES_MAX);
	return descriptor(at, 0x0004, 28);
}

static size_t page_operations(uint8_t *at)
{
	put_be32(at + 4, COPY_AT_ONCE_MAX);
	put_be32(at + 8, COPY_AT_ONCE_MAX);
	put_be32(at + 12, SEGMENT_BYTES_MAX);
	at[16] = GRANULARITY;
	return descriptor(at, 0x8001, 32);
}

size_t scsi_copy_page(const struct scsi_lun *lun, uint8_t *data)
{
	static const uint8_t types[] = {2, COPY_SEGMENT_TYPE, COPY_CSCD_TYPE};
	size_t bytes = page_commands(data);

	bytes += page_parameters(data + bytes);
	memcpy(data + bytes + 4, types, sizeof(types));
	bytes += descriptor(data + bytes, 0x0008, sizeof(types));
	bytes += descriptor(data + bytes, 0x000c, 2); /* CSCD IDs that are no index: none */
	return bytes + page_operations(data + bytes);
}
