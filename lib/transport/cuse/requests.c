/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/iommu.h"
#include "base/system.h"
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <string.h>

/*
 * One request: taken while the opener is idle, judged, and answered at once or when its queues are quiet. What
 * is in it has been brought by the kernel from the caller's memory; what lies there now may be something else.
 */

static void request_refuse(const struct opener *opener, struct request *request, const char *name, int r,
		   const char *why)
{
	log_warning(opener_log(opener), "%s: opener %u: %s refused: %s: %s", opener_name(opener),
		    opener->number, name, why, system_errno_text(-r));
	request->answers->error(request, r);
}

static bool is_owner(const struct opener *opener, const struct request *request)
{
	return opener->owner && caller_has_thread(opener->owner, request->pid);
}

/* ---- ioctls ---- */

/* May this caller ask for it, now? */
static int ioctl_allowed(const struct opener *opener, const struct ioctl_row *row,
			 const struct request *request, const char **why)
{
	bool owned = opener->owner || row->who == ROW_OWNER;

	if (opener->broken && !row->mends) {
		*why = "the device is broken: VHOST_RESET_OWNER, or open it anew";
		return -EIO;
	}
	if (row->who == ROW_ANYBODY || !owned)
		return 0;
	if (is_owner(opener, request))
		return 0;
	*why = opener->owner ? "another process owns it" : "VHOST_SET_OWNER comes first";
	return -EPERM;
}

/* False: nothing has to be quiet. */
static bool ioctl_quiesce(struct opener *opener, const struct ioctl_row *row, const struct request *request)
{
	uint32_t queue = DEVICE_ALL_QUEUES;

	if (row->quiet == ROW_QUIET_NONE)
		return false;
	if (row->quiet == ROW_QUIET_MEMORY) {
		if (!messages_memory_takes_away(opener, opener->memory_next))
			return false;
		opener_memory_change(opener);
		return true;
	}
	if (row->quiet == ROW_QUIET_RING) {
		memcpy(&queue, request->in, sizeof(queue));
		if (queue >= device_queue_count(opener->device)) /* no such ring, as the handler will say */
			return false;
	}
	opener_quiesce(opener, OPENER_QUIESCE, queue);
	return true;
}

static void ioctl_begin(struct opener *opener, const struct ioctl_row *row, struct request *request)
{
	opener->current = request;
	opener->row = row;
	log_debug(opener_log(opener), "%s: opener %u: %s", opener_name(opener), opener->number, row->name);
	if (ioctl_quiesce(opener, row, request)) {
		if (request->interrupted)
			opener_hurry(opener);
		return;
	}
	opener->state = OPENER_QUIESCE;
	opener->quiet = true;
}

static void ioctl_take(struct opener *opener, struct request *request)
{
	const struct ioctl_row *row = ioctl_row(request->command, opener->endpoint->target);
	const char *why = "refused";
	size_t in_bytes, out_bytes;
	int r;

	if (!row) {
		log_debug(opener_log(opener), "%s: opener %u: no such ioctl: %#x", opener_name(opener),
			  opener->number, request->command);
		request->answers->error(request, -ENOTTY);
		return;
	}
	r = ioctl_sizes(row, request, &in_bytes, &out_bytes, &why);
	if (!r) {
		request->answers->retry(request, in_bytes, out_bytes);
		return;
	}
	if (r > 0)
		r = ioctl_allowed(opener, row, request, &why);
	if (!r && !(row->asks && opener_model(opener)))
		r = opener_device_need(opener, request, &why);
	if (!r && row->prepare)
		r = row->prepare(opener, request, &why);
	if (r)
		request_refuse(opener, request, row->name, r, why);
	else
		ioctl_begin(opener, row, request);
}

/* Its queues are quiet. */
static void ioctl_handle(struct opener *opener)
{
	uint64_t out[IOCTL_OUT_BYTES_MAX / sizeof(uint64_t)] = { 0 };
	struct request *request = opener->current;
	const struct ioctl_row *row = opener->row;
	const char *why = "refused";
	int r = row->handle(opener, request, out, &why);

	if (row->quiet != ROW_QUIET_NONE)
		opener_resume(opener);
	if (!r && opener->breaking) {
		r = -EIO;
		why = "the device is broken by it";
	}
	opener->current = NULL;
	if (r)
		request_refuse(opener, request, row->name, r, why);
	else
		request->answers->done(request, out, row->out_bytes);
}

/* ---- IOTLB messages ---- */

static void write_answer(struct opener *opener, struct request *request, int r, const char *why)
{
	opener_resume(opener);
	if (r)
		request_refuse(opener, request, "an IOTLB message", r, why);
	else
		request->answers->done(request, NULL, 0);
}

static void write_take(struct opener *opener, struct request *request)
{
	const char *why = "refused";
	int r;

	if (opener->broken || !is_owner(opener, request)) {
		request_refuse(opener, request, "a write", opener->broken ? -EIO : -EPERM,
		       "not the owner of a sound device");
		return;
	}
	r = messages_write(opener, request, &why);
	if (r != -EAGAIN) {
		write_answer(opener, request, r, why);
		return;
	}
	opener->current = request;
	opener->row = NULL;
	opener_iommu_change(opener);
	if (request->interrupted)
		opener_hurry(opener);
}

/* It takes something away, which nobody uses any more. */
static void write_handle(struct opener *opener)
{
	struct request *request = opener->current;
	const char *why = "out of memory";
	int r = iommu_changed(opener->iommu);

	opener->current = NULL;
	write_answer(opener, request, r, why);
}

/* ---- one request after the other ---- */

void request_take(struct opener *opener)
{
	struct request *request = opener->first;

	opener->first = request->next;
	request->next = NULL;
	switch (request->kind) {
	case REQUEST_IOCTL:
		ioctl_take(opener, request);
		break;
	case REQUEST_READ:
		messages_read(opener, request);
		break;
	case REQUEST_WRITE:
		write_take(opener, request);
		break;
	case REQUEST_RELEASE: /* never in the row */
		break;
	}
}

void request_handle(struct opener *opener)
{
	if (opener->row)
		ioctl_handle(opener);
	else
		write_handle(opener);
}
