/* SPDX-License-Identifier: BSD-3-Clause */
/* How a task ends: its data, its status, and sense data (SPC-4, 4.5), of fixed or of descriptor format. */
#include "scsi/way.h"

#define NO_FIELD 0u
#define OF_CDB	 0xc0u /* sense key specific: valid, and of the CDB */
#define OF_LIST	 0x80u

/* ---- the end ---- */

void scsi_end(struct scsi_task *task)
{
	struct scsi_path *path = task->path;

	if (unlikely(task->ends_as != SCSI_OK)) { /* aborted while it was under way */
		task->response = task->ends_as;
		scsi_parts_task_ended(path->queue, task);
	}
	if (likely(!task->held)) {
		way_out(path, task);
	} else { /* it has never begun */
		task->held = false;
		if (path->held)
			scsi_path_begin_held(path);
	}
	way_done(path->queue, task);
}

void scsi_end_status(struct scsi_task *task, enum scsi_status status)
{
	task->status = (uint8_t)status;
	scsi_end(task);
}

void scsi_end_response(struct scsi_task *task, enum scsi_response response)
{
	task->response = (uint8_t)response;
	scsi_end(task);
}

/* ---- sense data ---- */

struct sense {
	uint8_t key;
	uint16_t asc_ascq;
	bool has_information;
	uint64_t information;
	uint8_t specific[3]; /* [0] 0: there are none */
};

static size_t sense_fixed(uint8_t *at, const struct sense *s)
{
	memset(at, 0, 18);
	at[0] = 0x70;
	at[2] = s->key;
	at[7] = 10;
	put_be16(at + 12, s->asc_ascq);
	memcpy(at + 15, s->specific, 3);
	if (s->has_information && s->information <= UINT32_MAX) {
		at[0] |= 0x80;
		put_be32(at + 3, (uint32_t)s->information);
	}
	return 18;
}

static size_t sense_descriptors(uint8_t *at, const struct sense *s)
{
	size_t bytes = 8;

	memset(at, 0, 8 + 12 + 8);
	at[0] = 0x72;
	at[1] = s->key;
	put_be16(at + 2, s->asc_ascq);
	if (s->has_information) {
		at[bytes + 1] = 0x0a;
		at[bytes + 2] = 0x80;
		put_be64(at + bytes + 4, s->information);
		bytes += 12;
	}
	if (s->specific[0]) {
		at[bytes] = 0x02;
		at[bytes + 1] = 0x06;
		memcpy(at + bytes + 4, s->specific, 3);
		bytes += 8;
	}
	at[7] = (uint8_t)(bytes - 8);
	return bytes;
}

size_t scsi_sense_write(uint8_t *sense, bool descriptors, uint8_t key, uint16_t asc_ascq)
{
	struct sense s = {.key = key, .asc_ascq = asc_ascq};

	return descriptors ? sense_descriptors(sense, &s) : sense_fixed(sense, &s);
}

static __cold void end_sense(struct scsi_task *task, const struct sense *s)
{
	const struct scsi_lun *lun = task->path->lun;
	bool descriptors = lun && __atomic_load_n(&lun->unit->descriptor_sense, __ATOMIC_RELAXED);

	task->sense_bytes = (uint8_t)(descriptors ? sense_descriptors(task->sense, s) : sense_fixed(task->sense, s));
	scsi_end_status(task, SCSI_CHECK_CONDITION);
}

void scsi_end_check(struct scsi_task *task, uint8_t key, uint16_t asc_ascq)
{
	end_sense(task, &(struct sense){.key = key, .asc_ascq = asc_ascq});
}

void scsi_end_check_at(struct scsi_task *task, uint8_t key, uint16_t asc_ascq, uint64_t information)
{
	end_sense(task, &(struct sense){.key = key, .asc_ascq = asc_ascq, .has_information = true, .information = information});
}

static void end_field(struct scsi_task *task, uint16_t asc_ascq, unsigned of, unsigned byte, int bit)
{
	struct sense s = {.key = KEY_ILLEGAL_REQUEST, .asc_ascq = asc_ascq};

	s.specific[0] = (uint8_t)(of | (bit >= 0 ? 8u | (unsigned)bit : 0));
	put_be16(s.specific + 1, (uint16_t)byte);
	end_sense(task, &s);
}

void scsi_end_cdb(struct scsi_task *task, unsigned byte, int bit)
{
	end_field(task, ASC_CDB_FIELD, OF_CDB, byte, bit);
}

void scsi_end_list(struct scsi_task *task, unsigned byte, int bit)
{
	end_field(task, ASC_LIST_FIELD, OF_LIST, byte, bit);
}

void scsi_end_list_as(struct scsi_task *task, uint16_t asc_ascq, unsigned byte, int bit)
{
	end_field(task, asc_ascq, OF_LIST, byte, bit);
}

void scsi_errno_sense(int err, bool wrote, uint8_t *ret_key, uint16_t *ret_asc_ascq)
{
	switch (err) {
	case -EINVAL: /* the disk has become smaller meanwhile */
		*ret_key = KEY_ILLEGAL_REQUEST;
		*ret_asc_ascq = ASC_LBA;
		break;
	case -EROFS:
		*ret_key = KEY_DATA_PROTECT;
		*ret_asc_ascq = ASC_WRITE_PROTECTED;
		break;
	case -ENOSPC:
	case -EDQUOT:
		*ret_key = KEY_DATA_PROTECT;
		*ret_asc_ascq = ASC_SPACE;
		break;
	default:
		*ret_key = KEY_MEDIUM_ERROR;
		*ret_asc_ascq = wrote ? ASC_WRITE_ERROR : ASC_READ_ERROR;
	}
}

void scsi_end_errno(struct scsi_task *task, int err, bool wrote, uint64_t block)
{
	uint16_t asc_ascq;
	uint8_t key;

	scsi_errno_sense(err, wrote, &key, &asc_ascq);
	if (err == -ECANCELED)
		scsi_end_response(task, SCSI_ABORTED);
	else if (err == -ENOMEM)
		scsi_end_status(task, SCSI_BUSY);
	else if (key == KEY_MEDIUM_ERROR)
		scsi_end_check_at(task, key, asc_ascq, block);
	else
		scsi_end_check(task, key, asc_ascq);
}

/* ---- data ---- */

static size_t pieces_copy(const struct iovec *iov, uint32_t count, uint64_t skip, void *data, size_t bytes, bool in)
{
	uint8_t *at = data;
	size_t left = bytes;

	for (uint32_t i = 0; i < count && left; i++) {
		size_t n;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		n = min_u64(iov[i].iov_len - skip, left);
		if (in)
			memcpy((uint8_t *)iov[i].iov_base + skip, at, n);
		else
			memcpy(at, (const uint8_t *)iov[i].iov_base + skip, n);
		at += n;
		left -= n;
		skip = 0;
	}
	return bytes - left;
}

size_t scsi_data_out(const struct scsi_task *task, uint64_t skip, void *data, size_t bytes)
{
	return pieces_copy(task->out, task->out_count, skip, data, bytes, false);
}

size_t scsi_data_in(struct scsi_task *task, uint64_t skip, const void *data, size_t bytes)
{
	return pieces_copy(task->in, task->in_count, skip, (void *)(uintptr_t)data, bytes, true);
}

void scsi_end_data(struct scsi_task *task, const void *data, size_t bytes, size_t allowed)
{
	size_t wanted = min_u64(bytes, allowed);

	task->moved = scsi_data_in(task, 0, data, wanted);
	scsi_end_response(task, task->moved < wanted ? SCSI_OVERRUN : SCSI_OK);
}

bool scsi_list_take(struct scsi_task *task, uint8_t *list, size_t bytes)
{
	if (task->out_bytes < bytes || scsi_data_out(task, 0, list, bytes) < bytes) {
		scsi_end_response(task, SCSI_OVERRUN);
		return false;
	}
	task->moved = bytes;
	return true;
}
