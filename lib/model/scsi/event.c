/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_internal.h"
#include "device/device.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The event queue (virtio 1.3, 5.6.6.3). The driver fills it ahead; buffers lie there until there is something to say, so that none is in
 * flight when a program that is killed is followed by another one. Events for which there is no buffer wait, SCSI_EVENTS_MAX of them;
 * what goes beyond is lost, and the driver is told so by the next one.
 *
 * A buffer that is too small is given back with NO_EVENT in it, as far as it goes, and the event waits for the next one. Where there are
 * many of them the device comes back for the rest: the driver need not kick for an event to get past them.
 */

#define BUFFERS_MAX 256u /* in one go: those that are too small cost a turn each, too */

/* What the driver has agreed on. */
static uint64_t needs(const struct vireo_scsi *scsi, uint32_t kind)
{
	switch (kind) {
	case VIREO_SCSI_UNIT_ADDED:
	case VIREO_SCSI_UNIT_REMOVED:
		return VIREO_FEATURE(VIREO_SCSI_F_HOTPLUG_BIT);
	case VIREO_SCSI_UNIT_CHANGED:
		return scsi->change_untold ? 0 : VIREO_FEATURE(VIREO_SCSI_F_CHANGE_BIT);
	default:
		return 0;
	}
}

static uint32_t reason(const struct vireo_scsi_event *event)
{
	switch (event->kind) {
	case VIREO_SCSI_UNIT_ADDED:
		return SCSI_EVT_RESET_RESCAN;
	case VIREO_SCSI_UNIT_REMOVED:
		return SCSI_EVT_RESET_REMOVED;
	case VIREO_SCSI_UNIT_CHANGED:
		return event->asc | (uint32_t)event->ascq << 8;
	default:
		return SCSI_EVT_RESET_HARD;
	}
}

static struct virtio_scsi_event event_of(const struct vireo_scsi_event *event)
{
	bool change = event->kind == VIREO_SCSI_UNIT_CHANGED;
	struct virtio_scsi_event told = {
		.event = change ? SCSI_T_PARAM_CHANGE : SCSI_T_TRANSPORT_RESET,
		.reason = reason(event),
	};

	vscsi_address_put(event->target, event->lun, told.lun);
	return told;
}

/* ---- buffers ---- */

/* False: it is too small, and says no more than that. */
static bool buffer_fill(const struct vireo_scsi *scsi, const struct vireo_chain *chain, const struct virtio_scsi_event *event)
{
	const struct virtio_scsi_event none = { .event = htole32(SCSI_T_NO_EVENT) };
	struct vireo_cursor c = vireo_chain_writable(chain);
	uint32_t bytes = min_u32(chain->writable_bytes, sizeof(none));
	bool fits = bytes == sizeof(none);

	vireo_cursor_put(&c, fits ? event : &none, bytes);
	vireo_queue_push(scsi->events, chain, bytes);
	return fits;
}

static struct virtio_scsi_event next_event(const struct vireo_scsi *scsi)
{
	struct virtio_scsi_event event = scsi->waiting[scsi->waiting_first];

	if (scsi->missed)
		event.event |= SCSI_T_EVENTS_MISSED;
	event.event = htole32(event.event);
	event.reason = htole32(event.reason);
	return event;
}

static void event_told(struct vireo_scsi *scsi)
{
	scsi->waiting_first = (scsi->waiting_first + 1) % SCSI_EVENTS_MAX;
	scsi->waiting_count--;
	scsi->missed = false;
	counter_add(&scsi->stats.events, 1);
}

/* Kicks are asked for again where buffers have run out; one that came in between is seen by kick_enable. */
static void events_tell(struct vireo_scsi *scsi, struct iovec *iov, unsigned iov_max)
{
	unsigned taken;

	for (taken = 0; taken < BUFFERS_MAX && scsi->waiting_count; taken++) {
		struct virtio_scsi_event event = next_event(scsi);
		struct vireo_chain chain;
		int r = vireo_queue_pop(scsi->events, &chain, 1, iov, iov_max);

		if (r < 0 || (r == 0 && !vireo_queue_kick_enable(scsi->events, true)))
			break;
		if (r > 0 && buffer_fill(scsi, &chain, &event))
			event_told(scsi);
	}
	if (taken == BUFFERS_MAX && scsi->waiting_count)
		device_queue_again(scsi->events);
	vireo_queue_flush(scsi->events);
}

static void events_process(struct vireo_scsi *scsi)
{
	unsigned iov_max;
	struct iovec *iov;

	if (!scsi->events || !scsi->waiting_count || !vireo_queue_enabled(scsi->events))
		return;
	iov_max = VIREO_CHAIN_PIECES_MAX(vireo_queue_size(scsi->events));
	iov = calloc(iov_max, sizeof(*iov));
	if (iov)
		events_tell(scsi, iov, iov_max);
	else
		vireo_device_break(scsi->device, "no memory for the event queue");
	free(iov);
}

void vscsi_events_kicked(struct vireo_scsi *scsi, struct vireo_queue *queue)
{
	scsi->events = queue;
	events_process(scsi);
}

void vscsi_events_forget(struct vireo_scsi *scsi)
{
	scsi->waiting_first = scsi->waiting_count = 0;
	scsi->missed = false;
}

bool vscsi_events_missed(void *opaque)
{
	return ((const struct vireo_scsi *)opaque)->missed;
}

/* Another back end lost them: the driver is told by the next event, and by an empty one where none is on its way. */
void vscsi_events_missed_set(void *opaque, bool missed)
{
	struct vireo_scsi *scsi = opaque;

	scsi->missed = missed;
	if (!missed || scsi->waiting_count)
		return;
	scsi->waiting[(scsi->waiting_first + scsi->waiting_count++) % SCSI_EVENTS_MAX] = (struct virtio_scsi_event){.event = SCSI_T_NO_EVENT};
	events_process(scsi);
}

int vireo_scsi_tell(struct vireo_scsi *scsi, const struct vireo_scsi_event *user_event)
{
	struct vireo_scsi_event event;
	int r = config_copy(&event, sizeof(event), user_event);
	uint64_t needed;

	if (r || event.kind > VIREO_SCSI_UNIT_CHANGED)
		return r ? r : -EINVAL;
	needed = needs(scsi, event.kind);
	if (!scsi->there || (scsi->features & needed) != needed)
		return -EOPNOTSUPP;
	if (scsi->waiting_count == SCSI_EVENTS_MAX) {
		scsi->missed = true;
		counter_add(&scsi->stats.events_lost, 1);
		return 0;
	}
	scsi->waiting[(scsi->waiting_first + scsi->waiting_count++) % SCSI_EVENTS_MAX] = event_of(&event);
	events_process(scsi);
	return 0;
}
