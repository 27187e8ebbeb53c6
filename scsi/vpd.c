/* SPDX-License-Identifier: BSD-3-Clause */
/* Vital product data (SPC-4, 7.8; SBC-3, 6.5): a row for each page. */
#include "scsi/internal.h"

#define PAGE_BYTES 256u

/* Designators: code set, association and type. */
#define BINARY	  0x01u
#define ASCII	  0x02u
#define OF_PORT	  0x10u
#define T10	  0x01u
#define NAA	  0x03u
#define PORT	  0x04u
#define PORT_GROUP 0x05u
#define NAME	  0x08u

struct page {
	uint8_t code;
	size_t (*fill)(const struct scsi_lun *lun, uint8_t *data); /* what follows the header; returns its length */
};

static size_t page_list(const struct scsi_lun *lun, uint8_t *data);

static size_t page_serial(const struct scsi_lun *lun, uint8_t *data)
{
	size_t bytes = strlen(lun->unit->serial);

	memcpy(data, lun->unit->serial, bytes);
	return bytes;
}

static size_t designator(uint8_t *at, uint8_t code_set, uint8_t type, const void *data, size_t bytes)
{
	at[0] = code_set;
	at[1] = type;
	at[2] = 0;
	at[3] = (uint8_t)bytes;
	memcpy(at + 4, data, bytes);
	return 4 + bytes;
}

static size_t page_identification(const struct scsi_lun *lun, uint8_t *data)
{
	const struct scsi_unit *unit = lun->unit;
	uint8_t vendor[8 + SCSI_NAME_BYTES], naa[8], port[4] = {0}, group[4] = {0, 0, 0, 1};
	char name[24] = {0}; /* padded to a multiple of four */
	size_t length = strlen(unit->name), bytes = 0;

	memset(vendor, ' ', 8);
	memcpy(vendor, unit->vendor, strlen(unit->vendor));
	memcpy(vendor + 8, unit->name, length);
	put_be64(naa, unit->naa);
	put_be16(port + 2, lun->nexus.port);
	snprintf(name, sizeof(name), "naa.%016llX", (unsigned long long)unit->naa);
	bytes += designator(data + bytes, ASCII, T10, vendor, 8 + length);
	bytes += designator(data + bytes, BINARY, NAA, naa, sizeof(naa));
	bytes += designator(data + bytes, 3, NAME, name, sizeof(name));
	bytes += designator(data + bytes, BINARY, OF_PORT | PORT, port, sizeof(port));
	return bytes + designator(data + bytes, BINARY, OF_PORT | PORT_GROUP, group, sizeof(group));
}

/* Task attributes: all but ACA; a cache that forgets. */
static size_t page_extended(const struct scsi_lun *lun, uint8_t *data)
{
	data[1] = 0x07;
	data[2] = lun->unit->info.volatile_cache;
	return 60;
}

static void blocks_put(uint8_t *at, const struct scsi_unit *unit, uint64_t bytes)
{
	put_be32(at, (uint32_t)min_u64(bytes >> unit->block_shift, UINT32_MAX));
}

/* The header's four bytes are not in `data`: offsets are those of the standard, less four. */
static size_t page_limits(const struct scsi_lun *lun, uint8_t *data)
{
	const struct scsi_unit *unit = lun->unit;

	data[0] = 1; /* WRITE SAME of no blocks is refused */
	data[1] = (uint8_t)scsi_compare_blocks_max(unit);
	put_be16(data + 2, (uint16_t)(unit->info.physical_block_bytes >> unit->block_shift));
	blocks_put(data + 4, unit, SCSI_MOVE_BYTES_MAX);
	blocks_put(data + 8, unit, unit->info.optimal_io_bytes);
	if (unit->info.can_discard) {
		put_be32(data + 16, UINT32_MAX);
		put_be32(data + 20, SCSI_UNMAP_RANGES_MAX);
		blocks_put(data + 24, unit, unit->info.discard_granularity_bytes);
		put_be32(data + 28, UINT32_C(1) << 31); /* aligned to 0 */
	}
	put_be64(data + 32, SCSI_SAME_BYTES_MAX >> unit->block_shift);
	return 60;
}

static size_t page_characteristics(const struct scsi_lun *lun, uint8_t *data)
{
	put_be16(data, lun->unit->info.rotational ? 0 : 1); /* not reported, or not rotating */
	return 60;
}

static size_t page_provisioning(const struct scsi_lun *lun, uint8_t *data)
{
	const struct disk_info *info = &lun->unit->info;

	if (info->can_discard)
		data[1] |= 0x80; /* by UNMAP */
	if (info->zero_unmaps)
		data[1] |= 0x60; /* by WRITE SAME (16) and (10) */
	if (info->zero_unmaps && info->can_discard)
		data[1] |= 0x04; /* and reads as zeroes */
	data[2] = info->can_discard ? 2 : 0; /* thin */
	return 4;
}

static const struct page pages[] = {
	{0x00, page_list}, {0x80, page_serial}, {0x83, page_identification}, {0x86, page_extended},
	{0x8f, scsi_copy_page}, {0xb0, page_limits}, {0xb1, page_characteristics}, {0xb2, page_provisioning},
};

static size_t page_list(const struct scsi_lun *lun, uint8_t *data)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		data[i] = pages[i].code;
	return ARRAY_SIZE(pages);
}

void scsi_do_vpd(struct scsi_task *task)
{
	uint8_t data[4 + PAGE_BYTES] = {0};
	size_t bytes;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code != task->cdb[2])
			continue;
		bytes = pages[i].fill(task->path->lun, data + 4);
		data[1] = pages[i].code;
		put_be16(data + 2, (uint16_t)bytes);
		scsi_end_data(task, data, 4 + bytes, get_be16(task->cdb + 3));
		return;
	}
	scsi_end_cdb(task, 2, -1);
}
