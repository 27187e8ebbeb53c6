/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_internal.h"
#include "device/device.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

/*
 * What is offered, and config space (virtio 1.3, 5.6.3, 5.6.4). The driver says how long a CDB and sense data are: two fields that it may
 * write, and that a reset restores. A command goes by what they are when it is taken from the ring.
 */

#define SEGMENTS     126u
#define SEGMENTS_MAX 1022u
#define QUEUES_MAX   1022u
#define QUEUE_SIZE   1024u
#define SECTORS	     65535u
#define COMMANDS     128u
#define TARGET_MAX   255u
#define LUN_MAX	     16383u

static void or_else(uint32_t *value, uint32_t otherwise)
{
	if (!*value)
		*value = otherwise;
}

int vscsi_config_check(struct vireo_scsi_config *c)
{
	if (!c->ops)
		return -EINVAL;
	or_else(&c->queues, 1);
	or_else(&c->queue_size_max, QUEUE_SIZE);
	or_else(&c->segments_max, c->queue_size_max < 3 ? 1 : min_u32(SEGMENTS, c->queue_size_max - 2));
	or_else(&c->sectors_max, SECTORS);
	or_else(&c->commands_per_unit, COMMANDS);
	or_else(&c->lun_max, LUN_MAX);
	if (!c->target_max)
		c->target_max = TARGET_MAX;
	if (c->queues > QUEUES_MAX || c->segments_max > SEGMENTS_MAX || c->target_max > TARGET_MAX || c->lun_max > LUN_MAX)
		return -EINVAL;
	return c->command_room_bytes > SCSI_ROOM_BYTES_MAX || c->management_room_bytes > SCSI_ROOM_BYTES_MAX ? -EINVAL : 0;
}

/* IN_ORDER is not offered: commands end in any order. */
uint64_t vscsi_features_offered(const struct vireo_scsi_config *c)
{
	uint64_t features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) | VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_RING_RESET_BIT);

	features |= VIREO_FEATURE(VIREO_SCSI_F_INOUT_BIT) | VIREO_FEATURE(VIREO_SCSI_F_HOTPLUG_BIT) |
		    VIREO_FEATURE(VIREO_SCSI_F_CHANGE_BIT);
	if (c->protection)
		features |= VIREO_FEATURE(VIREO_SCSI_F_T10_PI_BIT);
	return features & ~c->features_off;
}

struct virtio_scsi_config_space vscsi_space(const struct vireo_scsi_config *c)
{
	return (struct virtio_scsi_config_space){
		.num_queues = htole32(c->queues),
		.seg_max = htole32(c->segments_max),
		.max_sectors = htole32(c->sectors_max),
		.cmd_per_lun = htole32(c->commands_per_unit),
		.event_info_size = htole32(sizeof(struct virtio_scsi_event)),
		.sense_size = htole32(SCSI_SENSE_SIZE),
		.cdb_size = htole32(SCSI_CDB_SIZE),
		.max_target = htole16(c->target_max),
		.max_lun = htole32(c->lun_max),
	};
}

/* ---- what the driver writes ---- */

static void sizes_store(struct vireo_scsi *scsi, uint32_t sense_size, uint32_t cdb_size)
{
	__atomic_store_n(&scsi->sizes, sense_size | (uint64_t)cdb_size << 32, __ATOMIC_RELAXED);
}

void vscsi_sizes_put(struct vireo_scsi *scsi, uint32_t sense_size, uint32_t cdb_size)
{
	const uint32_t sizes[2] = { htole32(sense_size), htole32(cdb_size) };

	device_config_put(scsi->device, offsetof(struct virtio_scsi_config_space, sense_size), sizes, sizeof(sizes));
	sizes_store(scsi, sense_size, cdb_size);
}

/* 5.6.4.2 */
void vscsi_sizes_reset(struct vireo_scsi *scsi)
{
	vscsi_sizes_put(scsi, SCSI_SENSE_SIZE, SCSI_CDB_SIZE);
}

/* The driver may write two fields (5.6.4.1); what is around them may come along, if it stays what it is. */
int vscsi_config_write(void *opaque, uint32_t offset, const void *data, uint32_t bytes)
{
	struct virtio_scsi_config_space space, before;
	struct vireo_scsi *scsi = opaque;
	uint32_t sense_size, cdb_size;

	if (device_config_read(scsi->device, 0, &space, sizeof(space)))
		return -EINVAL;
	before = space;
	memcpy((uint8_t *)&space + offset, data, bytes);
	sense_size = le32toh(space.sense_size);
	cdb_size = le32toh(space.cdb_size);
	before.sense_size = space.sense_size;
	before.cdb_size = space.cdb_size;
	if (memcmp(&before, &space, sizeof(space)) != 0)
		return -EPERM;
	if (sense_size > VIREO_SCSI_SENSE_BYTES_MAX || !cdb_size || cdb_size > VIREO_SCSI_CDB_BYTES_MAX)
		return -EINVAL;
	sizes_store(scsi, sense_size, cdb_size);
	return 0;
}
