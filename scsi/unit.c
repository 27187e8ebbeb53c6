/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logical units: what all who see one share. What commands look at on their way is in atomic words; the rest
 * is under the lock.
 */
#include "scsi/internal.h"

static bool text_copy(char *to, size_t bytes, const char *text, const char *otherwise)
{
	const char *from = text ? text : otherwise;
	size_t length = strlen(from);

	if (length >= bytes)
		return false;
	memcpy(to, from, length + 1);
	return true;
}

static bool unit_texts(struct scsi_unit *unit, const struct scsi_unit_config *config)
{
	if (!config->name || !*config->name || !text_copy(unit->name, sizeof(unit->name), config->name, ""))
		return false;
	if (!config->serial) /* of the name, as much as there is room for */
		memcpy(unit->serial, unit->name, strnlen(unit->name, SCSI_SERIAL_BYTES));
	else if (!text_copy(unit->serial, sizeof(unit->serial), config->serial, ""))
		return false;
	return text_copy(unit->vendor, sizeof(unit->vendor), config->vendor, "VIREO") &&
	       text_copy(unit->product, sizeof(unit->product), config->product, "disk");
}

static void unit_look(struct scsi_unit *unit, const struct scsi_unit_config *config)
{
	unit->disk = config->disk;
	disk_info_get(config->disk, &unit->info);
	unit->block_shift = (unsigned)__builtin_ctz(unit->info.logical_block_bytes);
	unit->blocks = unit->info.size_bytes >> unit->block_shift;
	unit->read_only = config->read_only || unit->info.read_only;
	unit->naa = scsi_naa(config->name);
	unit->keep = config->keep;
	unit->opaque = config->opaque;
	unit->claim_end = &unit->claim_first;
}

int scsi_unit_new(const struct scsi_unit_config *config, struct scsi_unit **ret_unit)
{
	struct scsi_unit *unit = calloc(1, sizeof(*unit));
	int err = 0;

	if (!unit)
		return -ENOMEM;
	if (!unit_texts(unit, config))
		err = -EINVAL;
	else if (config->reservations && *config->reservations)
		err = scsi_keep_read(config->reservations, scsi_naa(config->name), &unit->reservations);
	if (err) {
		free(unit);
		return err;
	}
	unit_look(unit, config);
	pthread_mutex_init(&unit->lock, NULL);
	scsi_modes_default(unit);
	*ret_unit = unit;
	return 0;
}

void scsi_unit_free(struct scsi_unit *unit)
{
	if (!unit)
		return;
	assert(!unit->luns && !unit->claimed);
	pthread_mutex_destroy(&unit->lock);
	free(unit);
}

uint64_t scsi_unit_blocks(const struct scsi_unit *unit)
{
	return __atomic_load_n(&unit->blocks, __ATOMIC_RELAXED);
}

uint32_t scsi_unit_block_bytes(const struct scsi_unit *unit)
{
	return unit->info.logical_block_bytes;
}

bool scsi_unit_resized(struct scsi_unit *unit)
{
	struct disk_info info;
	uint64_t blocks;

	disk_info_get(unit->disk, &info);
	blocks = info.size_bytes >> unit->block_shift;
	if (blocks == scsi_unit_blocks(unit))
		return false;
	__atomic_store_n(&unit->blocks, blocks, __ATOMIC_RELAXED);
	pthread_mutex_lock(&unit->lock);
	scsi_attend_others(unit, NULL, ATTENTION_CAPACITY);
	pthread_mutex_unlock(&unit->lock);
	return true;
}

/* ---- modes ---- */

void scsi_modes_apply(struct scsi_unit *unit)
{
	__atomic_store_n(&unit->write_flags, unit->modes.write_cache ? 0 : DISK_FUA, __ATOMIC_RELAXED);
	__atomic_store_n(&unit->write_protect, unit->read_only || unit->modes.write_protect, __ATOMIC_RELAXED);
	__atomic_store_n(&unit->descriptor_sense, unit->modes.descriptor_sense, __ATOMIC_RELAXED);
}

void scsi_modes_default(struct scsi_unit *unit)
{
	unit->modes = (struct scsi_modes){.write_cache = unit->info.volatile_cache};
	scsi_modes_apply(unit);
}
