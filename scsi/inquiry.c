/* SPDX-License-Identifier: BSD-3-Clause */
/* INQUIRY and REQUEST SENSE: what is answered wherever one asks (SPC-4, 6.6 and 6.39). */
#include "scsi/internal.h"

#define NO_UNIT	   0x7fu /* none here, and none can be */
#define WELL_KNOWN 0x1eu
#define SPC_4	   0x06u
#define FORMAT	   0x12u /* HISUP, and this format of data */
#define IMPLICIT   0x10u /* TPGS: who has access changes without being asked */
#define COPIES	   0x08u /* 3PC */
#define QUEUES	   0x02u /* CMDQUE */

/* The standards: SAM-5, SPC-4, SBC-3. */
static const uint16_t versions[] = {0x00a0, 0x0460, 0x04c0};

static void text_put(uint8_t *to, size_t bytes, const char *text)
{
	memset(to, ' ', bytes);
	memcpy(to, text, strnlen(text, bytes));
}

static void inquiry_unit(const struct scsi_unit *unit, uint8_t *data)
{
	data[0] = 0;
	data[5] = IMPLICIT | COPIES;
	text_put(data + 8, 8, unit->vendor);
	text_put(data + 16, 16, unit->product);
}

void scsi_do_inquiry(struct scsi_task *task)
{
	const struct scsi_path *path = task->path;
	uint8_t data[96] = {[0] = NO_UNIT, [2] = SPC_4, [3] = FORMAT, [4] = sizeof(data) - 5, [7] = QUEUES};

	if (task->cdb[1] & 1) {
		if (path->lun && !__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE))
			scsi_do_vpd(task);
		else
			scsi_end_cdb(task, 1, 0);
		return;
	}
	if (task->cdb[2]) { /* a page, and EVPD is not set */
		scsi_end_cdb(task, 2, -1);
		return;
	}
	text_put(data + 8, 8, "VIREO");
	text_put(data + 16, 16, "");
	text_put(data + 32, 4, "1");
	if (path->well_known)
		data[0] = WELL_KNOWN;
	else if (path->lun && !__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE))
		inquiry_unit(path->lun->unit, data);
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++)
		put_be16(data + 58 + 2 * i, versions[i]);
	scsi_end_data(task, data, sizeof(data), get_be16(task->cdb + 3));
}

/* What would be told with the next command, without taking it: sense data as data. */
void scsi_do_request_sense(struct scsi_task *task)
{
	const struct scsi_path *path = task->path;
	bool there = path->lun && !__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE), descriptors = task->cdb[1] & 1;
	uint8_t data[SCSI_SENSE_BYTES] = {0};
	int attention = there ? scsi_attention_take(path->lun) : -1;
	size_t bytes;

	if (!there && !path->well_known)
		bytes = scsi_sense_write(data, descriptors, KEY_ILLEGAL_REQUEST, ASC_LUN);
	else if (attention >= 0)
		bytes = scsi_sense_write(data, descriptors, KEY_UNIT_ATTENTION, scsi_attention_code(attention));
	else if (there && __atomic_load_n(&path->lun->unit->stopped, __ATOMIC_RELAXED))
		bytes = scsi_sense_write(data, descriptors, KEY_NOT_READY, ASC_STOPPED);
	else
		bytes = scsi_sense_write(data, descriptors, KEY_NO_SENSE, 0);
	scsi_end_data(task, data, bytes, task->cdb[4]);
}
