/* SPDX-License-Identifier: BSD-3-Clause */
/* READ CAPACITY (10) and (16), GET LBA STATUS (SBC-3, 5.15, 5.16, 5.8). */
#include "scsi/internal.h"

#define LBPME 0x80u
#define LBPRZ 0x40u

/* A block, where the whole disk is asked for. False: the task has ended. */
static bool whole(struct scsi_task *task, uint64_t block, unsigned partial)
{
	if (block && !(partial & 1))
		scsi_end_cdb(task, 2, -1);
	return !block || partial & 1;
}

void scsi_do_read_capacity(struct scsi_task *task)
{
	uint64_t blocks = scsi_unit_blocks(unit_of(task)), last = blocks - !!blocks;
	uint8_t data[8];

	if (!whole(task, get_be32(task->cdb + 2), task->cdb[8]))
		return;
	put_be32(data, (uint32_t)min_u64(last, UINT32_MAX));
	put_be32(data + 4, scsi_unit_block_bytes(unit_of(task)));
	scsi_end_data(task, data, sizeof(data), sizeof(data));
}

void scsi_do_read_capacity_16(struct scsi_task *task)
{
	const struct scsi_unit *unit = unit_of(task);
	uint64_t blocks = scsi_unit_blocks(unit);
	uint8_t data[32] = {0};

	if (!whole(task, get_be64(task->cdb + 2), task->cdb[14]))
		return;
	put_be64(data, blocks - !!blocks);
	put_be32(data + 8, unit->info.logical_block_bytes);
	data[13] = (uint8_t)__builtin_ctz(unit->info.physical_block_bytes / unit->info.logical_block_bytes);
	if (unit->info.can_discard)
		data[14] = (uint8_t)(LBPME | (unit->info.zero_unmaps ? LBPRZ : 0));
	scsi_end_data(task, data, sizeof(data), get_be32(task->cdb + 10));
}

/* "Mapped or unknown", up to the end: no disk can be asked where it has blocks. */
void scsi_do_get_lba_status(struct scsi_task *task)
{
	uint64_t first = get_be64(task->cdb + 2), blocks = scsi_unit_blocks(unit_of(task));
	struct scsi_extent one = {first, 1};
	uint8_t data[24] = {0};

	if (!scsi_extent_check(task, &one))
		return;
	put_be32(data, sizeof(data) - 4);
	put_be64(data + 8, first);
	put_be32(data + 16, (uint32_t)min_u64(blocks - first, UINT32_MAX));
	scsi_end_data(task, data, sizeof(data), get_be32(task->cdb + 10));
}
