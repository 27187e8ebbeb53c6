/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What units and luns hold beside their disks, as texts by which another process goes on with them: a line for
 * each fact, and behind those of a unit what keep.c writes of its persistent reservations. Nothing is under way
 * then, so there are no claims, no copies that run and nothing that waits. What comes back is anybody's.
 */
#include "scsi/copy.h"
#include <inttypes.h>
#include <stdio.h>

#define UNIT_VERSION "vireo-unit 1\n"
#define LUN_VERSION  "vireo-lun 1\n"
#define HEAD_BYTES   256u
#define COPY_BYTES   256u /* of a line: numbers, and 128 digits */

/* The line after this one; NULL: it has no end. */
static const char *line_next(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : NULL;
}

static bool begins(const char *text, const char *version)
{
	return !strncmp(text, version, strlen(version));
}

/* ---- units ---- */

struct unit_head {
	struct scsi_modes modes;
	bool stopped, kept, legacy;
	struct scsi_nexus legacy_holder;
};

static size_t unit_head_write(const struct scsi_unit *unit, char text[HEAD_BYTES])
{
	const struct scsi_reservations *r = &unit->reservations;
	int n = snprintf(text, HEAD_BYTES, UNIT_VERSION "modes %d %d %d\nstopped %d\nkept %d\n", unit->modes.write_cache,
			 unit->modes.descriptor_sense, unit->modes.write_protect, __atomic_load_n(&unit->stopped, __ATOMIC_RELAXED),
			 r->kept);

	if (r->legacy)
		n += snprintf(text + n, HEAD_BYTES - (size_t)n, "legacy %016" PRIx64 " %" PRIu16 "\n", r->legacy_holder.initiator,
			      r->legacy_holder.port);
	return (size_t)n;
}

char *scsi_unit_save(struct scsi_unit *unit)
{
	char *text = malloc(HEAD_BYTES + SCSI_KEEP_BYTES);

	if (!text)
		return NULL;
	pthread_mutex_lock(&unit->lock);
	scsi_keep_write(&unit->reservations, unit->naa, text + unit_head_write(unit, text));
	pthread_mutex_unlock(&unit->lock);
	return text;
}

static bool flags_are(const unsigned *values, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (values[i] > 1)
			return false;
	return true;
}

/* The three lines that are always there. */
static const char *flags_read(const char *line, struct unit_head *head)
{
	unsigned v[5];
	int end = 0;

	if (sscanf(line, "modes %1u %1u %1u\nstopped %1u\nkept %1u%n", &v[0], &v[1], &v[2], &v[3], &v[4], &end) != 5 || !flags_are(v, 5))
		return NULL;
	head->modes = (struct scsi_modes){.write_cache = v[0], .descriptor_sense = v[1], .write_protect = v[2]};
	head->stopped = v[3];
	head->kept = v[4];
	return line[end] == '\n' ? line + end + 1 : NULL;
}

/* Where the reservations begin; NULL: it cannot be understood. */
static const char *unit_head_read(const char *text, struct unit_head *head)
{
	const char *line = begins(text, UNIT_VERSION) ? flags_read(text + strlen(UNIT_VERSION), head) : NULL;
	int end = 0;

	if (!line || strncmp(line, "legacy ", 7) != 0)
		return line;
	if (sscanf(line, "legacy %16" SCNx64 " %5" SCNu16 "%n", &head->legacy_holder.initiator, &head->legacy_holder.port, &end) != 2)
		return NULL;
	head->legacy = true;
	return line[end] == '\n' ? line + end + 1 : NULL;
}

/* A cache that the disk has no more is not written back to. */
static void unit_take(struct scsi_unit *unit, const struct unit_head *head, const struct scsi_reservations *reservations)
{
	pthread_mutex_lock(&unit->lock);
	unit->reservations = *reservations;
	unit->reservations.kept = head->kept;
	unit->reservations.legacy = head->legacy;
	unit->reservations.legacy_holder = head->legacy_holder;
	unit->modes = head->modes;
	unit->modes.write_cache = head->modes.write_cache && unit->info.volatile_cache;
	scsi_modes_apply(unit);
	scsi_bars_apply(unit);
	__atomic_store_n(&unit->stopped, head->stopped, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&unit->lock);
}

int scsi_unit_load(struct scsi_unit *unit, const char *text)
{
	struct scsi_reservations *reservations = calloc(1, sizeof(*reservations));
	struct unit_head head = {0};
	const char *rest = unit_head_read(text, &head);
	int err = !reservations ? -ENOMEM : !rest ? -EINVAL : scsi_keep_read(rest, unit->naa, reservations);

	if (!err && head.legacy && reservations->count) /* neither is granted beside the other */
		err = -EINVAL;
	if (!err && head.kept && !unit->keep)
		err = -EINVAL;
	if (!err)
		unit_take(unit, &head, reservations);
	free(reservations);
	return err;
}

/* ---- luns ---- */

static size_t copy_write(const struct scsi_copy_record *record, char text[COPY_BYTES])
{
	size_t n = (size_t)snprintf(text, COPY_BYTES, "copy %u %u %u %" PRIu32 " %u %" PRIu64 " -", record->list_id, record->state,
				    record->status, record->order, record->segments, record->bytes);

	for (unsigned i = 0; i < record->sense_bytes; i++)
		n += (size_t)snprintf(text + n, COPY_BYTES - n, "%02x", record->sense[i]);
	return n + (size_t)snprintf(text + n, COPY_BYTES - n, "\n");
}

static void copies_write(const struct scsi_copy_records *copies, char *text)
{
	text += snprintf(text, HEAD_BYTES, "copies %" PRIu32 "\n", copies->order);
	for (unsigned i = 0; i < COPY_RECORDS_MAX; i++)
		if (copies->records[i].state == COPY_DONE || copies->records[i].state == COPY_FAILED)
			text += copy_write(&copies->records[i], text);
}

char *scsi_lun_save(struct scsi_bus *bus, unsigned target, unsigned number)
{
	struct scsi_lun *lun = scsi_lun_find(bus, target, number);
	char *text = lun ? malloc(2 * HEAD_BYTES + COPY_RECORDS_MAX * COPY_BYTES) : NULL;
	int n;

	if (text) {
		n = snprintf(text, HEAD_BYTES, LUN_VERSION "attentions %" PRIx32 "\n", __atomic_load_n(&lun->attentions, __ATOMIC_RELAXED));
		pthread_mutex_lock(&lun->unit->lock);
		if (lun->copies)
			copies_write(lun->copies, text + n);
		pthread_mutex_unlock(&lun->unit->lock);
	}
	if (lun)
		scsi_lun_put(lun);
	return text;
}

static bool sense_read(const char *digits, struct scsi_copy_record *record)
{
	unsigned byte;

	for (; *digits && *digits != '\n'; digits += 2) {
		if (record->sense_bytes == SCSI_SENSE_BYTES || !memchr("0123456789abcdef", digits[0], 16) || digits[1] == '\n' ||
		    !digits[1] || !memchr("0123456789abcdef", digits[1], 16) || sscanf(digits, "%2x", &byte) != 1)
			return false;
		record->sense[record->sense_bytes++] = (uint8_t)byte;
	}
	return true;
}

static bool copy_fits(const struct scsi_copy_records *copies, unsigned count, unsigned list_id, unsigned state)
{
	if (count == COPY_RECORDS_MAX || list_id > UINT8_MAX || (state != COPY_DONE && state != COPY_FAILED))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (copies->records[i].list_id == list_id)
			return false;
	return true;
}

static bool copy_read(const char *line, struct scsi_copy_records *copies, unsigned count)
{
	unsigned list_id, state, status;
	struct scsi_copy_record record = {0};
	int end = 0;

	if (sscanf(line, "copy %3u %1u %3u %10" SCNu32 " %5" SCNu16 " %20" SCNu64 " -%n", &list_id, &state, &status, &record.order,
		   &record.segments, &record.bytes, &end) != 6 || !end)
		return false;
	if (!copy_fits(copies, count, list_id, state) || status > UINT8_MAX || !sense_read(line + end, &record))
		return false;
	record.list_id = (uint8_t)list_id;
	record.state = (uint8_t)state;
	record.status = (uint8_t)status;
	copies->records[count] = record;
	return true;
}

/* NULL in *ret_copies: there are none. */
static int copies_read(const char *line, struct scsi_copy_records **ret_copies)
{
	struct scsi_copy_records *copies;
	unsigned count = 0;

	*ret_copies = NULL;
	if (!*line)
		return 0;
	copies = calloc(1, sizeof(*copies));
	if (!copies)
		return -ENOMEM;
	if (sscanf(line, "copies %10" SCNu32, &copies->order) != 1)
		line = NULL;
	for (line = line ? line_next(line) : NULL; line && *line; count++)
		line = copy_read(line, copies, count) ? line_next(line) : NULL;
	if (line)
		*ret_copies = copies;
	else
		free(copies);
	return line ? 0 : -EINVAL;
}

static int lun_read(const char *text, uint32_t *ret_attentions, struct scsi_copy_records **ret_copies)
{
	const char *line = text + strlen(LUN_VERSION);
	int end = 0;

	if (!begins(text, LUN_VERSION) || sscanf(line, "attentions %8" SCNx32 "%n", ret_attentions, &end) != 1 || line[end] != '\n')
		return -EINVAL;
	return *ret_attentions >> ATTENTIONS ? -EINVAL : copies_read(line + end + 1, ret_copies);
}

int scsi_lun_load(struct scsi_bus *bus, unsigned target, unsigned number, const char *text)
{
	struct scsi_lun *lun = scsi_lun_find(bus, target, number);
	struct scsi_copy_records *copies;
	uint32_t attentions;
	int err = lun ? lun_read(text, &attentions, &copies) : -ENOENT;

	if (!err) {
		pthread_mutex_lock(&lun->unit->lock);
		free(lun->copies);
		lun->copies = copies;
		pthread_mutex_unlock(&lun->unit->lock);
		__atomic_store_n(&lun->attentions, attentions, __ATOMIC_RELAXED);
	}
	if (lun)
		scsi_lun_put(lun);
	return err;
}
