/* SPDX-License-Identifier: BSD-3-Clause */
/* PERSISTENT RESERVE IN (SPC-4, 6.15). */
#include "scsi/internal.h"

#define STATUS_BYTES (24u + TRANSPORT_ID_BYTES)

enum { READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS };

static size_t keys_write(const struct scsi_reservations *r, uint8_t *data)
{
	for (unsigned i = 0; i < r->count; i++)
		put_be64(data + 8 + i * 8u, r->registrants[i].key);
	return 8 + r->count * (size_t)8;
}

static uint64_t holder_key(const struct scsi_reservations *r)
{
	if (!reservation_all_registrants(r->type))
		for (unsigned i = 0; i < r->count; i++)
			if (nexus_same(&r->registrants[i].nexus, &r->holder))
				return r->registrants[i].key;
	return 0;
}

static size_t reservation_write(const struct scsi_reservations *r, uint8_t *data)
{
	if (!r->type)
		return 8;
	put_be64(data + 8, holder_key(r));
	data[21] = r->type;
	return 24;
}

static size_t status_write(const struct scsi_reservations *r, uint8_t *data)
{
	size_t bytes = 8;

	for (unsigned i = 0; i < r->count; i++) {
		const struct scsi_registrant *one = &r->registrants[i];
		uint8_t *at = data + bytes;

		put_be64(at, one->key);
		if (scsi_holds(r, &one->nexus)) {
			at[12] = 1;
			at[13] = r->type;
		}
		put_be16(at + 18, one->nexus.port);
		put_be32(at + 20, TRANSPORT_ID_BYTES);
		transport_id_write(at + 24, one->nexus.initiator);
		bytes += STATUS_BYTES;
	}
	return bytes;
}

static void capabilities_end(struct scsi_task *task, const struct scsi_unit *unit, bool kept)
{
	uint8_t data[8] = {0, 8};

	data[2] = 0; /* neither for other initiators nor for all ports */
	if (unit->keep)
		data[2] |= 0x01;
	data[3] = kept ? 0x81 : 0x80; /* the types are said */
	data[4] = 0xea;
	data[5] = 0x01;
	scsi_end_data(task, data, sizeof(data), get_be16(task->cdb + 7));
}

void scsi_do_persist_in(struct scsi_task *task)
{
	uint8_t data[8 + SCSI_REGISTRANTS_MAX * STATUS_BYTES] = {0};
	struct scsi_unit *unit = unit_of(task);
	const struct scsi_reservations *r = &unit->reservations;
	unsigned action = scsi_service_action(task->cdb);
	size_t bytes;
	bool kept, legacy;

	pthread_mutex_lock(&unit->lock);
	put_be32(data, r->generation);
	kept = r->kept;
	legacy = r->legacy;
	bytes = action == READ_KEYS	     ? keys_write(r, data)
		: action == READ_RESERVATION ? reservation_write(r, data)
					     : status_write(r, data);
	pthread_mutex_unlock(&unit->lock);
	put_be32(data + 4, (uint32_t)(bytes - 8));
	if (legacy)
		scsi_end_status(task, SCSI_CONFLICT);
	else if (action == REPORT_CAPABILITIES)
		capabilities_end(task, unit, kept);
	else
		scsi_end_data(task, data, bytes, get_be16(task->cdb + 7));
}
