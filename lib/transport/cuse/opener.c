/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/iommu.h"
#include "mem/map.h"
#include "transport/cuse/cuse_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Theory of operation: one open of the node, which is one vhost device, as a state machine that never blocks.
 *
 *	IDLE -> QUIESCE -> (handle, answer) -> IDLE
 *	IDLE -> MISS -> IDLE		a queue has met an address that is not in the map (messages.c); no other stops for it
 *	IDLE -> BREAK -> IDLE		the device is broken
 *	IDLE -> HELD -> IDLE		it stands still, for another process to go on with (handover.c)
 *	IDLE -> END -> gone		closed, by the caller or by us
 *
 * Requests are handled one at a time, in the order of their coming: a process may send several at once, from
 * several threads. A request whose row wants queues quiet waits for them in QUIESCE, and so does its caller,
 * in the kernel; whatever becomes of the caller, the kernel keeps its thread until we have answered.
 * Therefore every request is answered, and before the opener goes.
 *
 * The device is made when the first ioctl comes that needs it, and not at open: the process that opens the
 * node, and perhaps asks for features, may be another one than the process that uses it (libvirt opens for
 * QEMU). When it is SET_OWNER that tells another process than the one seen before, the device is made anew
 * for that one.
 *
 * Between open and release there is one session of the device after the other: RESET_OWNER, and a lie that
 * breaks the device, end one and begin the next. After a lie every ioctl gets EIO but RESET_OWNER, or where
 * nobody is the owner, SET_OWNER.
 *
 * opener_run() is the only place that moves the machine.
 */

static void opener_run(struct opener *opener);

const struct vireo_log *opener_log(const struct opener *opener)
{
	return opener->device ? device_log(opener->device) : endpoint_log(opener->endpoint);
}

const char *opener_name(const struct opener *opener)
{
	return opener->device ? device_name(opener->device) : opener->endpoint->name;
}

int opener_new(struct cuse_endpoint *endpoint, unsigned number, struct opener **ret_opener)
{
	struct opener *opener = calloc(1, sizeof(*opener));

	if (!opener)
		return -ENOMEM;
	opener->endpoint = endpoint;
	opener->number = number;
	*ret_opener = opener;
	return 0;
}

/* ---- the device ---- */

static void opener_quiet(void *opaque)
{
	struct opener *opener = opaque;

	opener->quiet = true;
	opener_run(opener);
}

static void device_broken(void *opaque, const char *why)
{
	struct opener *opener = opaque;

	opener->breaking = true;
	opener_run(opener);
}

static void device_missed(void *opaque)
{
	struct opener *opener = opaque;

	opener->missed = true;
	opener_run(opener);
}

/* There is no message to a vhost caller that config space has changed: it has none. */
const struct device_transport opener_transport = {
	.broken = device_broken,
	.missed = device_missed,
};

/* Asks for what is to be quiet in `state`; the answer comes through opener_quiet(), here or later. */
void opener_quiesce(struct opener *opener, enum opener_state state, uint32_t queue)
{
	opener->state = state;
	opener->quiet = !opener->device;
	if (opener->device && state == OPENER_QUIESCE && opener->row && opener->row->tells)
		device_quiesce_to_tell(opener->device, queue, opener_quiet, opener);
	else if (opener->device)
		device_quiesce(opener->device, queue, opener_quiet, opener);
}

/* What iommu.c has found to take something away is done; the answer comes the same way. */
void opener_iommu_change(struct opener *opener)
{
	opener->state = OPENER_QUIESCE;
	opener->quiet = false;
	iommu_change(opener->iommu, opener_quiet, opener);
}

/*
 * The same for memory. Behind an IOMMU nobody sees it but by windows, all of which are looked for in it again: all queues are quiet
 * meanwhile.
 */
void opener_memory_change(struct opener *opener)
{
	if (opener->iommu) {
		opener_quiesce(opener, OPENER_QUIESCE, DEVICE_ALL_QUEUES);
		return;
	}
	opener->state = OPENER_QUIESCE;
	opener->quiet = false;
	opener->memory_changed = true;
	device_map_change(opener->device, map_ref(opener->memory_next), true, opener_quiet, opener);
}

static void device_drop(struct opener *opener)
{
	struct vireo_device *device = opener->device;

	if (!device)
		return;
	messages_forget(opener);
	opener->missed = opener->breaking = opener->endpoint_set = false;
	opener->device = NULL;
	free(opener->busyloop_us);
	opener->busyloop_us = NULL;
	device_session_end(device);
	endpoint_device_give(opener->endpoint, device);
}

int opener_device_make(struct opener *opener, pid_t process)
{
	struct vireo_device *device;
	int r;

	opener->process = process;
	r = endpoint_device_take(opener->endpoint, opener, &device);
	if (r)
		return r;
	opener->busyloop_us = calloc(device_queue_count(device), sizeof(uint32_t));
	if (!opener->busyloop_us) {
		endpoint_device_give(opener->endpoint, device);
		return -ENOMEM;
	}
	opener->device = device;
	device_hold(device, opener->state == OPENER_HELD);
	device_session_begin(device);
	device_status_required(device, true); /* which nobody tells: a queue runs when it is enabled */
	return 0;
}

/* All queues are quiet. */
void opener_session_renew(struct opener *opener)
{
	messages_forget(opener);
	opener->missed = opener->breaking = opener->endpoint_set = false; /* they were of the session that ends */
	device_session_end(opener->device);
	memset(opener->busyloop_us, 0, device_queue_count(opener->device) * sizeof(uint32_t));
	device_session_begin(opener->device);
	device_status_required(opener->device, true);
}

const struct vireo_device *opener_model(const struct opener *opener)
{
	const struct cuse_endpoint *endpoint = opener->endpoint;

	if (opener->device)
		return opener->device;
	return endpoint->device ? endpoint->device : endpoint->config.cuse.device_like;
}

/* The device for whom this request comes from. */
int opener_device_need(struct opener *opener, const struct request *request, const char **why)
{
	struct caller *caller;
	pid_t process;
	int r;

	if (opener->device && (opener->owner || request->command != VHOST_SET_OWNER))
		return 0;
	r = caller_new(request->pid, &caller, why);
	if (r)
		return r;
	process = caller_process(caller);
	caller_free(caller);
	if (opener->device && process == opener->process)
		return 0;
	device_drop(opener); /* nothing runs before there is an owner */
	*why = "there is no device for it";
	return opener_device_make(opener, process);
}

/* What has no address to start, or goes on waiting for one, says so. */
void opener_resume(struct opener *opener)
{
	device_resume(opener->device);
	if (opener->iommu)
		iommu_look(opener->iommu);
}

/* A queue that misses something from here on is none of those that are asked for, and is told of again. */
static void miss_begin(struct opener *opener)
{
	opener->missed = false;
	opener_quiesce(opener, OPENER_MISS, DEVICE_MISSED_QUEUES);
}

/*
 * What was missed may be there by now; what a queue still waits for is asked for. Without an IOMMU everything has
 * been told: the same map once more, and what is not in it was a lie.
 */
static void miss_handle(struct opener *opener)
{
	const char *why;

	if (!opener->iommu)
		messages_memory_set(opener, &why);
	opener_resume(opener);
}

/* ---- the machine ---- */

static void opener_gone(struct opener *opener)
{
	struct cuse_endpoint *endpoint = opener->endpoint;

	assert(!opener->current);
	device_drop(opener);
	while (opener->first) {
		struct request *request = opener->first;

		opener->first = request->next;
		request->answers->error(request, -ENODEV);
	}
	caller_free(opener->owner);
	if (opener->poll_handle)
		opener->poll_ops->free(opener->poll_handle);
	if (opener->release)
		opener->release->answers->done(opener->release, NULL, 0);
	endpoint_opener_gone(endpoint, opener); /* the endpoint may be gone now */
	free(opener);
}

/* From IDLE. False: there is nothing to do. */
static bool opener_begin(struct opener *opener)
{
	if (opener->ending)
		opener_quiesce(opener, OPENER_END, DEVICE_ALL_QUEUES);
	else if (opener->breaking)
		opener_quiesce(opener, OPENER_BREAK, DEVICE_ALL_QUEUES);
	else if (opener->missed)
		miss_begin(opener);
	else if (opener->first)
		request_take(opener);
	else if (opener->holding)
		opener_quiesce(opener, OPENER_HELD, DEVICE_ALL_QUEUES);
	else
		return false;
	return true;
}

/* What was to be quiet is. */
static void opener_granted(struct opener *opener)
{
	if (opener->state == OPENER_QUIESCE)
		request_handle(opener);
	else if (opener->state == OPENER_MISS)
		miss_handle(opener);
	else {
		opener_session_renew(opener);
		opener->broken = true;
	}
}

void opener_still_set(struct opener *opener, bool still)
{
	opener->endpoint->still_count += still;
	opener->endpoint->still_count -= opener->still;
	opener->still = still;
}

/* It stands still, until it goes on or ends. False: it does. */
static bool held_step(struct opener *opener)
{
	if (opener->holding && !opener->ending) {
		if (opener->still)
			return false;
		opener_still_set(opener, true);
		messages_poll_wake(opener);
		if (opener->device)
			device_hold(opener->device, true);
		endpoint_opener_still(opener->endpoint);
		return true;
	}
	opener_still_set(opener, false);
	opener->state = OPENER_IDLE;
	if (opener->device)
		device_hold(opener->device, false);
	if (opener->device && !opener->ending)
		opener_resume(opener);
	return true;
}

/* One step. False: nothing more can be done now. */
static bool opener_step(struct opener *opener)
{
	if (opener->state == OPENER_IDLE)
		return opener_begin(opener);
	if (!opener->quiet || opener->state == OPENER_END)
		return false;
	if (opener->state == OPENER_HELD)
		return held_step(opener);
	opener_granted(opener);
	opener->state = OPENER_IDLE;
	return true;
}

void opener_renew(struct opener *opener)
{
	opener->missed = true;
	opener_run(opener);
}

static void opener_run(struct opener *opener)
{
	if (opener->busy)
		return;
	opener->busy = true;
	while (opener_step(opener))
		;
	opener->busy = opener->state == OPENER_END && opener->quiet; /* what comes now comes too late */
	if (opener->busy)
		opener_gone(opener);
}

void opener_hold(struct opener *opener, bool on)
{
	opener->holding = on;
	opener_run(opener);
}

void opener_request(struct opener *opener, struct request *request)
{
	struct request **end = &opener->first;

	if (request->kind == REQUEST_RELEASE) {
		opener->release = request;
		opener_end(opener);
		return;
	}
	while (*end)
		end = &(*end)->next;
	*end = request;
	opener_run(opener);
}

static bool opener_waits(const struct opener *opener)
{
	return !opener->busy && opener->device && device_quiescing(opener->device);
}

/*
 * Queues that were only asked to renew, which may last for as long as a disk hangs, are asked back as well: who holds them gives up
 * then what can be given up.
 */
void opener_end(struct opener *opener)
{
	opener->ending = true;
	if (opener_waits(opener))
		device_quiesce_rest(opener->device);
	else
		opener_run(opener);
}

/*
 * The kernel keeps the caller, who may have been killed, until he is answered; and what he waits for may be held by a disk that hangs: as in
 * opener_end().
 */
void opener_hurry(struct opener *opener)
{
	bool renews = !opener->row || opener->row->quiet == ROW_QUIET_MEMORY;

	if (renews && opener->device && device_quiescing(opener->device))
		device_quiesce_rest(opener->device);
}

void opener_interrupt(struct opener *opener, struct request *request)
{
	struct request **at = &opener->first;

	if (request->kind != REQUEST_READ) {
		request->interrupted = true;
		if (request == opener->current && !opener->busy)
			opener_hurry(opener);
		return;
	}
	while (*at && *at != request)
		at = &(*at)->next;
	if (*at)
		*at = request->next;
	else if (!messages_reader_leave(opener, request))
		return;
	request->answers->error(request, -EINTR);
}
