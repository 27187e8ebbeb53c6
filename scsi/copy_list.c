/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parameter list of EXTENDED COPY (LID1): a header, descriptors of the logical units that are copied from and
 * to (CSCD), and descriptors of what is copied (segments). What is wrong with the list as such is found here,
 * before anything is copied: ILLEGAL REQUEST. What a segment asks for that cannot be is found when it is its turn.
 */
#include "scsi/copy.h"

#define DESIGNATOR_T10 1u
#define DESIGNATOR_NAA 3u
#define DESIGNATOR_BYTES_MAX 20u

/* ---- the header ---- */

static bool length_error(struct scsi_task *task)
{
	scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	return false;
}

static bool list_error(struct scsi_task *task, uint16_t asc_ascq, unsigned byte, int bit)
{
	scsi_end_list_as(task, asc_ascq, byte, bit);
	return false;
}

/* STR and PRIORITY are advice. */
static bool identifier_check(struct scsi_task *task, const uint8_t *list)
{
	unsigned usage = list[1] >> 3 & 3;

	if (list[1] & 0xc0)
		return list_error(task, ASC_LIST_FIELD, 1, list[1] & 0x80 ? 7 : 6);
	if (usage == 1)
		return list_error(task, ASC_LIST_FIELD, 1, 4);
	if (usage == COPY_USAGE_NONE && list[0])
		return list_error(task, ASC_LIST_FIELD, 0, -1);
	return true;
}

static bool lengths_check(struct scsi_task *task, const uint8_t *list, size_t given)
{
	uint64_t cscds = get_be16(list + 2), segments = get_be32(list + 8);

	if (cscds + segments > COPY_LISTS_BYTES_MAX)
		return length_error(task);
	if (get_be32(list + 12))
		return list_error(task, ASC_INLINE, 12, -1);
	if (COPY_HEADER_BYTES + cscds + segments > given)
		return length_error(task);
	if (cscds % COPY_CSCD_BYTES)
		return list_error(task, ASC_LIST_FIELD, 2, -1);
	if (cscds > COPY_CSCDS_MAX * COPY_CSCD_BYTES)
		return list_error(task, ASC_TOO_MANY_CSCDS, 2, -1);
	if (segments > COPY_SEGMENTS_MAX * COPY_SEGMENT_BYTES)
		return list_error(task, ASC_TOO_MANY_SEGMENTS, 8, -1);
	return true;
}

/* ---- descriptors ---- */

/* One that names its logical unit by a designator (SPC-4, 6.4.5.2); LU ID TYPE is ignored. */
static bool cscd_check(struct scsi_task *task, const uint8_t *list, unsigned offset)
{
	const uint8_t *cscd = list + offset;

	if (cscd[0] != COPY_CSCD_TYPE)
		return list_error(task, ASC_CSCD_TYPE, offset, -1);
	if (get_be16(cscd + 2)) /* the initiator port from where */
		return list_error(task, ASC_LIST_FIELD, offset + 2, -1);
	if (cscd[5] & 0x30) /* ASSOCIATION: of a port or a target */
		return list_error(task, ASC_LIST_FIELD, offset + 5, cscd[5] & 0x20 ? 5 : 4);
	if (cscd[7] > DESIGNATOR_BYTES_MAX)
		return list_error(task, ASC_LIST_FIELD, offset + 7, -1);
	return true;
}

static bool segment_check(struct scsi_task *task, const uint8_t *list, unsigned offset, uint32_t left)
{
	const uint8_t *segment = list + offset;

	if (segment[0] != COPY_SEGMENT_TYPE)
		return list_error(task, ASC_SEGMENT_TYPE, offset, -1);
	if (left < COPY_SEGMENT_BYTES) /* the list's length says that there is less of it */
		return list_error(task, ASC_LIST_FIELD, 8, -1);
	if (segment[1] & 0xfc)
		return list_error(task, ASC_LIST_FIELD, offset + 1, 31 - __builtin_clz(segment[1]));
	if (get_be16(segment + 2) != COPY_SEGMENT_BYTES - 4)
		return list_error(task, ASC_LIST_FIELD, offset + 2, -1);
	return true;
}

static bool descriptors_check(struct scsi_task *task, struct scsi_copy *copy)
{
	uint32_t cscds = get_be16(copy->list + 2), segments = get_be32(copy->list + 8);
	unsigned offset = COPY_HEADER_BYTES;

	for (uint32_t at = 0; at < cscds; at += COPY_CSCD_BYTES, offset += COPY_CSCD_BYTES)
		if (!cscd_check(task, copy->list, offset))
			return false;
	for (uint32_t at = 0; at < segments; at += COPY_SEGMENT_BYTES, offset += COPY_SEGMENT_BYTES)
		if (!segment_check(task, copy->list, offset, segments - at))
			return false;
	copy->cscds = cscds / COPY_CSCD_BYTES;
	copy->segments = segments / COPY_SEGMENT_BYTES;
	return true;
}

bool scsi_copy_list_take(struct scsi_task *task, struct scsi_copy *copy)
{
	uint32_t given = get_be32(task->cdb + 10);

	if (given < COPY_HEADER_BYTES || given > sizeof(copy->list))
		return length_error(task);
	return scsi_list_take(task, copy->list, given) && identifier_check(task, copy->list) &&
	       lengths_check(task, copy->list, given) && descriptors_check(task, copy);
}

/* ---- which logical unit ---- */

/* By what VPD page 83 says of it, as far as that has room here. */
static bool names(const uint8_t *cscd, const struct scsi_unit *unit)
{
	const uint8_t *designator = cscd + 8;
	size_t vendor = strlen(unit->vendor), name = strlen(unit->name);

	switch (cscd[5] & 0x0f) {
	case DESIGNATOR_NAA:
		return (cscd[4] & 0x0f) == 1 && cscd[7] == 8 && get_be64(designator) == unit->naa;
	case DESIGNATOR_T10:
		return (cscd[4] & 0x0f) == 2 && cscd[7] == 8 + name && !memcmp(designator, unit->vendor, vendor) &&
		       !memcmp(designator + vendor, "        ", 8 - vendor) && !memcmp(designator + 8, unit->name, name);
	default:
		return false;
	}
}

/* Held; of the target that has been asked before others. */
static struct scsi_lun *lun_named(struct scsi_bus *bus, unsigned target, const uint8_t *cscd)
{
	struct scsi_lun *found = NULL;

	pthread_mutex_lock(&bus->lock);
	for (struct scsi_lun *lun = bus->luns; lun; lun = lun->next)
		if (names(cscd, lun->unit) && (!found || (found->target != target && lun->target == target)))
			found = lun;
	if (found)
		__atomic_fetch_add(&found->users, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&bus->lock);
	return found;
}

struct scsi_path *scsi_copy_path(struct scsi_path *near, const uint8_t *cscd)
{
	struct scsi_path *path;
	struct scsi_lun *lun;

	if (names(cscd, near->lun->unit))
		return near;
	lun = lun_named(near->queue->bus, near->lun->target, cscd);
	if (!lun)
		return NULL;
	path = scsi_queue_path(near->queue, lun->target, lun->number);
	if (path && path->lun != lun) /* it has been removed, and there is another one */
		path = NULL;
	scsi_lun_put(lun);
	return path;
}
