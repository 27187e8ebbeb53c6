/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/probe.h"
#include "device/device_internal.h"
#include <stdio.h>

/*
 * "The guest lied": any thread may find out, the control thread acts on it.
 *
 *	NONE -> CLAIMED   one finder wins and may write break_text and break_queue; the others are dropped
 *	CLAIMED -> TOLD   the text is written (release; pairs with the acquire in break_act()), event_fd raised
 *	TOLD -> NONE      when the session ends: all queues are quiet, no worker is left to find anything
 *
 * What is of many queues - lied, missed, signals_owed - is set by an exchange: of two workers who set it one after the other, with nobody
 * acting in between, the control thread sees what both have written. By a store it need not see the first one's, whose flag would stay set
 * and tell nobody any more.
 *
 * Memory that is gone is told by the SIGBUS handler, which only sets `faulted` and raises the same fd. A miss - memory
 * that is not there yet - sets `missed`, which is told to the transport once; the queue that met it pops nothing until it
 * is started again.
 *
 * A ring may be where nobody serves it yet, or not any more: front ends disable rings and forget them, and firmware hands
 * a device over to a kernel. Where the transport's peers do so (device_transport.halts), a lie on a ring that is disabled, or
 * has carried nothing since it was started, halts that queue alone: it is taken back from its worker, a line says why, and it starts again when the peer says something
 * new of it. On a ring that has carried something it is the driver who lies, and the device is broken.
 */
enum { BREAK_NONE, BREAK_CLAIMED, BREAK_TOLD };

static bool break_tell(struct vireo_device *device, const struct vireo_queue *queue, const char *why)
{
	int none = BREAK_NONE;

	if (!__atomic_compare_exchange_n(&device->break_state, &none, BREAK_CLAIMED, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	if (queue)
		snprintf(device->break_text, sizeof(device->break_text), "queue %u: %s", queue->index, why);
	else
		snprintf(device->break_text, sizeof(device->break_text), "%s", why);
	device->break_queue = queue ? (int)queue->index : -1;
	__atomic_store_n(&device->break_state, BREAK_TOLD, __ATOMIC_RELEASE);
	return true;
}

void device_break_raise(struct vireo_device *device, const struct vireo_queue *queue, const char *why)
{
	if (break_tell(device, queue, why))
		fd_event_raise(device->event_fd);
}

void vireo_device_break(struct vireo_device *device, const char *why)
{
	device_break_raise(device, NULL, why);
}

/* The device may be detached when this returns: the transport ends its session. */
static void break_act(struct vireo_device *device)
{
	if (__atomic_load_n(&device->break_state, __ATOMIC_ACQUIRE) != BREAK_TOLD)
		return;
	if (!device->session || device->broken)
		return;
	device->broken = true;
	device->status |= VIREO_STATUS_NEEDS_RESET;
	PROBE2(device_broken, device->name, device->break_text);
	log_error(&device->log, "%s: broken: %s", device->name, device->break_text);
	if (device->break_queue >= 0)
		queue_error_signal(&device->queues[device->break_queue]);
	device->transport->broken(device->transport_opaque, device->break_text);
}

void device_break_now(struct vireo_device *device, const struct vireo_queue *queue, const char *why)
{
	break_tell(device, queue, why);
	break_act(device);
}

void queue_lie_raise(struct vireo_queue *queue)
{
	__atomic_store_n(&queue->lied, true, __ATOMIC_RELEASE);
	(void)__atomic_exchange_n(&queue->device->lied, true, __ATOMIC_ACQ_REL);
	fd_event_raise(queue->device->event_fd);
}

/* The peer learns of it by its error fd, if it has set one. */
void queue_halt(struct vireo_queue *queue, const char *why)
{
	const struct vireo_device *device = queue->device;

	queue->halted = true;
	PROBE3(ring_halt, device->name, queue->index, why);
	log_warning(&device->log, "%s: queue %u stands still until it is set up or enabled again: %s", device->name,
		    queue->index, why);
	queue_error_signal(queue);
}

static void lies_act(struct vireo_device *device)
{
	if (!__atomic_exchange_n(&device->lied, false, __ATOMIC_ACQUIRE))
		return;
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct vireo_queue *queue = &device->queues[i];

		if (__atomic_load_n(&queue->lied, __ATOMIC_ACQUIRE) && queue->running && !queue->stopping)
			queue_take_back(queue);
	}
}

void device_miss_raise(struct vireo_device *device)
{
	(void)__atomic_exchange_n(&device->missed, true, __ATOMIC_ACQ_REL);
	fd_event_raise(device->event_fd);
}

/* The device may be detached when this returns. */
static void miss_act(struct vireo_device *device)
{
	if (!__atomic_exchange_n(&device->missed, false, __ATOMIC_ACQUIRE))
		return;
	if (device->session && !device->broken)
		device->transport->missed(device->transport_opaque);
}

void device_break_forget(struct vireo_device *device)
{
	fd_event_clear(device->event_fd);
	__atomic_store_n(&device->missed, false, __ATOMIC_RELAXED);
	__atomic_store_n(&device->lied, false, __ATOMIC_RELAXED);
	device->broken = false;
	device->faults.session++; /* memory of the one before may still be held (vireo_device_memory_table()) */
	__atomic_store_n(&device->break_state, BREAK_NONE, __ATOMIC_RELEASE);
}

static void memory_fault_tell(struct vireo_device *device)
{
	enum mem_refusal refusal = __atomic_load_n(&device->account->refusal, __ATOMIC_RELAXED);
	char why[DEVICE_BREAK_TEXT_BYTES];

	if (refusal == MEM_REFUSED_SHARE)
		snprintf(why, sizeof(why),
			 "%llu MiB of its memory that its guest had not touched were made here, which is its share: raise the "
			 "process's memory limit",
			 (unsigned long long)__atomic_load_n(&device->account->made_bytes, __ATOMIC_RELAXED) >> 20);
	else if (refusal == MEM_REFUSED_ROOM)
		snprintf(why, sizeof(why), "there is no memory for a page of its memory that its guest had not touched");
	else
		snprintf(why, sizeof(why), "the file behind guest memory has been truncated");
	break_tell(device, NULL, why);
}

void device_settle(struct vireo_device *device)
{
	device_event(device, 0);
}

/* The device may be gone when the last of them is dropped: what else there is to look at is looked at again, if it is not. */
static void begins_drop(struct vireo_device *device, unsigned waited)
{
	fd_event_raise(device->event_fd);
	while (waited--)
		quiesce_drop(device);
}

void device_event(void *opaque, uint32_t events)
{
	struct vireo_device *device = opaque;
	unsigned waited;

	fd_event_clear(device->event_fd);
	waited = begins_act(device);
	if (waited) {
		begins_drop(device, waited);
		return;
	}
	if (__atomic_load_n(&device->faulted, __ATOMIC_ACQUIRE) == device->faults.session)
		memory_fault_tell(device);
	signals_act(device);
	lies_act(device);
	if (__atomic_load_n(&device->break_state, __ATOMIC_RELAXED) == BREAK_NONE)
		miss_act(device);
	else
		break_act(device);
}
