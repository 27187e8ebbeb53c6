/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MODEL_SCSI_INTERNAL_H
#define MODEL_SCSI_INTERNAL_H

/*
 * The map of this room:
 *
 *	scsi.c		life, what the driver agrees on, resets, and what the application asks
 *	space.c		what is offered: features and config space; what the driver writes there
 *	queue.c		a request queue in its worker's hands: chains in, commands out, and back
 *	request.c	a chain becomes a command, or is answered; a command's result becomes a response
 *	address.c	the driver's addresses of logical units
 *	control.c	the control queue: task management and what is asked beside it
 *	event.c		the event queue
 *	state.c		what another device goes on with
 *
 * What the application has of a request queue lies on its shelf (model/shelf.h). Task management is bounded in number, and so are events
 * that wait.
 *
 * Who owns what: the control thread struct vireo_scsi, but for what workers read (atomic), and the control and event queues; the worker struct
 * vscsi_queue between queue_started and vireo_scsi_queue_quiesced(); anybody reads `stats`, each word for itself. There are no locks.
 */

#include "base/util.h"
#include "model/shelf.h"
#include "vireo/chain.h"
#include "vireo/cursor.h"
#include "vireo/device.h"
#include "vireo/scsi.h"
#include "wire/virtio_scsi.h"
#include <endian.h>
#include <string.h>

#define SCSI_CONTROL_QUEUE  0u
#define SCSI_EVENT_QUEUE    1u
#define SCSI_ROOM_BYTES_MAX 4096u
#define SCSI_HEAD_BYTES_MAX (SCSI_REQUEST_CDB + VIREO_SCSI_CDB_BYTES_MAX + SCSI_REQUEST_PI_BYTES)
#define SCSI_MANAGING_MAX   64u /* that the application has, and a driver waits for; more wait in the ring */
#define SCSI_ABANDONED_MAX  256u /* that the application has, and nobody waits for; beyond them a function is BUSY at once */
#define SCSI_EVENTS_MAX	    64u /* that wait for buffers */
#define VSCSI_STATE_BYTES_MAX 1040u

struct vscsi_slot {
	struct vireo_scsi_command command; /* first: what the application has is the slot */
	struct shelf_slot at;
	uint32_t sense_size; /* as it was when the command came */
	/* Parts of the chain's pieces, where header and data do not end with a piece; of a longer chain: shelf_views(). */
	struct iovec views[SHELF_SHORT_PIECES + SHELF_VIEWS_MORE];
	uint8_t head[SCSI_HEAD_BYTES_MAX]; /* the request's, a private copy: the CDB lies here */
};

struct vscsi_queue {
	struct shelf at; /* first */
	struct vireo_scsi *scsi;
	uint32_t index; /* among the request queues */
	struct vireo_scsi_queue_stats stats;
} __attribute__((aligned(64)));

/* Task management that the application has. Of its chain nothing is kept but the byte of the response. */
struct vscsi_managing {
	struct vireo_scsi_management management; /* first */
	struct vireo_scsi *scsi;
	struct vscsi_managing *next;
	bool abandoned; /* the driver has been answered */
	struct vireo_chain chain;
	struct iovec response;
};

struct vireo_scsi {
	struct vireo_device *device;
	struct vireo_scsi_ops ops;
	void *opaque;
	/* Constant. */
	unsigned queues;
	uint64_t features_offered;
	size_t command_room_bytes, management_room_bytes;
	uint32_t segments_max;
	bool change_untold;
	bool protection_first; /* with T10_PI: its words come before the CDB */
	uint64_t features; /* as accepted; constant while queues run */
	/* Written by the control thread, read by any (atomic): sense_size, and cdb_size above it. */
	uint64_t sizes;
	/* Control thread. */
	bool there; /* a driver has agreed on features */
	struct vireo_queue *control, *events; /* NULL: does not run */
	struct vscsi_managing *managing;
	unsigned managing_count, abandoned_count; /* those that are waited for; those that are not */
	bool in_control; /* requests are being taken: what is answered is shown behind them */
	struct virtio_scsi_event waiting[SCSI_EVENTS_MAX]; /* a ring */
	unsigned waiting_first, waiting_count;
	bool missed; /* some have been lost, and the driver does not know */
	struct vireo_scsi_stats stats;
	struct vscsi_queue queue[];
};

static inline bool vscsi_has(const struct vireo_scsi *scsi, unsigned bit)
{
	return scsi->features & VIREO_FEATURE(bit);
}

static inline struct vscsi_queue *vscsi_queue_of(const struct vscsi_slot *slot)
{
	return container_of(slot->at.shelf, struct vscsi_queue, at);
}

static inline struct vscsi_slot *vscsi_slot_of(struct vireo_scsi_command *command)
{
	return container_of(command, struct vscsi_slot, command);
}

/* ---- space.c ---- */

int vscsi_config_check(struct vireo_scsi_config *config); /* and fills in what is 0; -EINVAL */
uint64_t vscsi_features_offered(const struct vireo_scsi_config *config);
struct virtio_scsi_config_space vscsi_space(const struct vireo_scsi_config *config);
int vscsi_config_write(void *opaque, uint32_t offset, const void *data, uint32_t bytes);
void vscsi_sizes_put(struct vireo_scsi *scsi, uint32_t sense_size, uint32_t cdb_size); /* as if the driver had written them */
void vscsi_sizes_reset(struct vireo_scsi *scsi);

/* ---- address.c ---- */

/*
 * 5.6.6.1. False: no address of a kind that there is. `nexus`: of a target; what it says of a logical unit is ignored, and is 0 then.
 */
bool vscsi_address_take(const uint8_t lun[8], bool nexus, uint8_t *ret_target, uint8_t ret_lun[8]);

/* The same of a request, most of which are for a logical unit of a target. */
static inline bool vscsi_address_of(const uint8_t lun[8], uint8_t *ret_target, uint8_t ret_lun[8])
{
	uint64_t address;

	memcpy(&address, lun, sizeof(address));
	address = le64toh(address);
	if (unlikely((address & UINT64_C(0xffffffff000000ff)) != 1))
		return vscsi_address_take(lun, false, ret_target, ret_lun);
	*ret_target = (uint8_t)(address >> 8);
	address = htole64(address >> 16); /* the rest is zero */
	memcpy(ret_lun, &address, sizeof(address));
	return true;
}
void vscsi_address_put(uint8_t target, const uint8_t lun[8], uint8_t ret_lun[8]);

/* ---- request.c ---- */

bool vscsi_request_take(struct vscsi_slot *slot); /* true: submit it; false: it has been answered */

/* ---- queue.c ---- */

int vscsi_slots_new(struct vscsi_queue *q, uint32_t size); /* -ENOMEM */

/* ---- control.c ---- */

void vscsi_control_kicked(struct vireo_scsi *scsi, struct vireo_queue *queue);
void vscsi_control_stop(struct vireo_scsi *scsi); /* answers what is under way in the application's place */
bool vscsi_control_kept(const struct vireo_scsi *scsi); /* is what is to be written still in memory? */

/* ---- event.c ---- */

void vscsi_events_kicked(struct vireo_scsi *scsi, struct vireo_queue *queue);
bool vscsi_events_missed(void *opaque);
void vscsi_events_missed_set(void *opaque, bool missed);
void vscsi_events_forget(struct vireo_scsi *scsi); /* a driver that comes looks for itself */

/* ---- state.c ---- */

int vscsi_state_save(void *opaque, void *data, size_t room);
int vscsi_state_load(void *opaque, const void *data, size_t bytes, const char **why);

#endif
