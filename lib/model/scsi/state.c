/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device.h"
#include "model/scsi/scsi_internal.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

/*
 * What another device of this type goes on with (vireo_device_ops.state_save): what the driver has written to config space, and the events
 * that wait for its buffers. Nothing at all where that is as with a driver that comes, so that a version that knows of no state takes it, too.
 *
 *	0	sense_size, cdb_size
 *	8	1: events have been lost, and the driver does not know
 *	12	so many events follow, as they are told
 *
 * Numbers have 32 bits and are little-endian.
 */

struct state_head {
	uint32_t sense_size, cdb_size, missed, count;
};

_Static_assert(VSCSI_STATE_BYTES_MAX == sizeof(struct state_head) + SCSI_EVENTS_MAX * sizeof(struct virtio_scsi_event), "head and events");

int vscsi_state_save(void *opaque, void *data, size_t room)
{
	const struct vireo_scsi *scsi = opaque;
	uint64_t sizes = __atomic_load_n(&scsi->sizes, __ATOMIC_RELAXED);
	const struct state_head head = {htole32((uint32_t)sizes), htole32((uint32_t)(sizes >> 32)), htole32(scsi->missed),
					htole32(scsi->waiting_count)};
	uint8_t *at = (uint8_t *)data + sizeof(head);

	if (sizes == (SCSI_SENSE_SIZE | (uint64_t)SCSI_CDB_SIZE << 32) && !scsi->missed && !scsi->waiting_count)
		return 0;
	memcpy(data, &head, sizeof(head));
	for (unsigned i = 0; i < scsi->waiting_count; i++, at += sizeof(struct virtio_scsi_event)) {
		struct virtio_scsi_event event = scsi->waiting[(scsi->waiting_first + i) % SCSI_EVENTS_MAX];

		event.event = htole32(event.event);
		event.reason = htole32(event.reason);
		memcpy(at, &event, sizeof(event));
	}
	return (int)(at - (uint8_t *)data);
}

static const char *head_wrong(const struct state_head *head, size_t bytes)
{
	if (head->sense_size > VIREO_SCSI_SENSE_BYTES_MAX || !head->cdb_size || head->cdb_size > VIREO_SCSI_CDB_BYTES_MAX)
		return "its sense data or its CDBs have a length that none have";
	if (head->missed > 1 || head->count > SCSI_EVENTS_MAX)
		return "it has more events than there can be";
	return bytes == sizeof(*head) + head->count * sizeof(struct virtio_scsi_event) ? NULL : "its events do not end where it does";
}

static struct virtio_scsi_event event_at(const uint8_t *data, unsigned number)
{
	struct virtio_scsi_event event;

	memcpy(&event, data + sizeof(struct state_head) + number * sizeof(event), sizeof(event));
	event.event = le32toh(event.event);
	event.reason = le32toh(event.reason);
	return event;
}

static const char *events_wrong(const uint8_t *data, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t event = event_at(data, i).event;

		if (event != SCSI_T_NO_EVENT && event != SCSI_T_TRANSPORT_RESET && event != SCSI_T_PARAM_CHANGE)
			return "one of its events is none";
	}
	return NULL;
}

static void state_take(struct vireo_scsi *scsi, const struct state_head *head, const uint8_t *data)
{
	vscsi_sizes_put(scsi, head->sense_size, head->cdb_size);
	vscsi_events_forget(scsi);
	scsi->missed = head->missed;
	for (; scsi->waiting_count < head->count; scsi->waiting_count++)
		scsi->waiting[scsi->waiting_count] = event_at(data, scsi->waiting_count);
}

int vscsi_state_load(void *opaque, const void *data, size_t bytes, const char **why)
{
	struct state_head head = {.sense_size = SCSI_SENSE_SIZE, .cdb_size = SCSI_CDB_SIZE};

	*why = NULL;
	if (bytes && bytes < sizeof(head)) {
		*why = "it is cut short";
		return -EINVAL;
	}
	if (bytes) {
		memcpy(&head, data, sizeof(head));
		head = (struct state_head){le32toh(head.sense_size), le32toh(head.cdb_size), le32toh(head.missed), le32toh(head.count)};
		*why = head_wrong(&head, bytes);
		if (!*why)
			*why = events_wrong(data, head.count);
	}
	if (*why)
		return -EINVAL;
	state_take(opaque, &head, data);
	return 0;
}
