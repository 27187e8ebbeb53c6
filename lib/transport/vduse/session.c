/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/system.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * Theory of operation: the kernel's messages, one after the other, and never blocking.
 *
 *	IDLE -> QUIESCE -> (job) -> ANSWER -> IDLE
 *	           ^         |
 *	           +- SERVE -+	what is owed first: queues run meanwhile, as often as the time allows
 *
 * Five kinds of job want queues quiet, one at a time: a message; a reset that was refused when it came; a miss, after
 * which the map has more; a break, after which nothing runs until the driver resets the device; and the end. All but
 * messages about one queue want all of them. Queues are started again when the answer has been written and not before:
 * until then the kernel does not take signals for them.
 *
 * The kernel waits for each answer with its driver blocked, and gives the device up for good after a while (msg_timeout,
 * 30 s unless somebody has said otherwise). Everything here is done at once but the wait for the data path. If that takes
 * too long, the message is refused, and so is whatever comes meanwhile; what memory and status say by then is carried out
 * when the queues are quiet at last. SET_VQ_READY is not refused: to the kernel that would be the device's end at once.
 * It waits for its turn, and those behind it with it.
 *
 * After the end (`closed`) messages are still answered: taking the device off the vdpa bus makes some.
 */

#define LATE_MS_MAX 5000u
#define LATE_PART   6u /* of the kernel's patience */
#define STEPS_PER_TURN 64u
#define SERVE_MS    10u

/* ---- answers ---- */

/* True: written, or of no use any more. */
static bool answer_write(struct vduse *v)
{
	uint8_t data[VDUSE_MESSAGE_BYTES];
	ssize_t n;

	vduse_put_response(&v->response, data);
	n = v->kernel.write(v->kernel.opaque, v->fd, data, sizeof(data));
	if (n == -EAGAIN)
		return false;
	if (n == -ENOENT) /* nobody waits for it any more */
		log_warning(device_log(v->device), "%s: the answer to a message came too late", device_name(v->device));
	else if (n < 0)
		vduse_lose(v, (int)n, "an answer cannot be written");
	return true;
}

static void refuse_log(const struct vduse *v, const char *name, const char *why)
{
	log_warning(device_log(v->device), "%s: %s (%u) refused: %s", device_name(v->device), name, v->request.type,
		    why);
}

/* ---- receiving ---- */

/* True: there is a message in v->request. */
static bool message_read(struct vduse *v)
{
	uint8_t data[VDUSE_MESSAGE_BYTES];
	const char *why = "";
	ssize_t n = v->kernel.read(v->kernel.opaque, v->fd, data, sizeof(data));

	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		vduse_lose(v, (int)n, "messages cannot be read");
		return false;
	}
	v->row = NULL;
	if (!vduse_parse_request(data, (uint32_t)n, v->key.api, &v->request, &why))
		v->row = vduse_row(v, v->request.type, &why);
	else if (n != (ssize_t)sizeof(data)) {
		vduse_lose(v, -EPROTO, why);
		return false;
	}
	v->response = (struct vduse_response){ .id = v->request.id };
	if (!v->row)
		refuse_log(v, "message", why);
	else
		log_debug(device_log(v->device), "%s: %s", device_name(v->device), v->row->name);
	return true;
}

/* ---- quiet queues ---- */

static void quiet(void *opaque)
{
	struct vduse *v = opaque;

	v->quiet = true;
	vduse_run(v);
}

static void job_begin(struct vduse *v, enum vduse_job job, uint32_t queue)
{
	v->job = job;
	v->phase = VDUSE_QUIESCE;
	v->quiet = v->late = false;
	if (job == VDUSE_JOB_MESSAGE && v->row->tells)
		device_quiesce_to_tell(v->device, queue, quiet, v);
	else
		device_quiesce(v->device, queue, quiet, v);
	if (!v->quiet)
		loop_timer_start(v->late_timer, v->late_ms);
}

bool vduse_serve_first(struct vduse *v)
{
	if (v->lost || v->close_due || v->break_due || v->reset_due || v->served * SERVE_MS >= v->late_ms)
		return false;
	v->served++;
	v->again = true;
	return true;
}

static void serve_begin(struct vduse *v)
{
	v->again = false;
	v->phase = VDUSE_SERVE;
	loop_timer_start(v->late_timer, SERVE_MS);
	vduse_resume(v);
}

/* All queues: what they have missed meanwhile is mapped on the way. */
static void serve_end(struct vduse *v)
{
	loop_timer_stop(v->late_timer);
	job_begin(v, VDUSE_JOB_MESSAGE, DEVICE_ALL_QUEUES);
}

/* What is still true of a message that has been refused. */
static void late_note(struct vduse *v)
{
	if (!v->row)
		return;
	if (v->request.type == VDUSE_MSG_SET_STATUS && !v->request.status)
		v->reset_due = true;
	else if (v->request.type == VDUSE_MSG_UPDATE_IOTLB)
		v->miss_due = true;
}

/* Does a message wait for the queues that must not be refused? */
static bool patient(const struct vduse *v)
{
	return v->held || (v->job == VDUSE_JOB_MESSAGE && v->row->patient);
}

static void late(void *opaque)
{
	struct vduse *v = opaque;

	if (v->phase == VDUSE_SERVE) {
		v->late = true;
		vduse_run(v);
		return;
	}
	if (v->phase != VDUSE_QUIESCE || v->quiet)
		return;
	log_warning(device_log(v->device), "%s: the data path does not let go of a queue: messages %s",
		    device_name(v->device), patient(v) ? "wait" : "are refused");
	if (patient(v))
		return;
	v->late = true;
	if (v->job == VDUSE_JOB_MESSAGE) {
		late_note(v);
		answer_write(v);
		v->served = 0;
		v->job = VDUSE_JOB_REFUSED;
	}
	vduse_run(v);
}

static bool late_step(struct vduse *v)
{
	if (!message_read(v))
		return false;
	if (v->row && v->row->patient) {
		v->held = true;
		v->late = false;
		return false;
	}
	late_note(v);
	answer_write(v);
	return true;
}

/* ---- jobs ---- */

static void miss_handle(struct vduse *v)
{
	const char *why = "";

	v->miss_due = false;
	if ((v->status & VIREO_STATUS_DRIVER_OK) && !v->broken && vduse_memory_map(v, &why))
		vireo_device_break(v->device, why);
}

static void message_handle(struct vduse *v)
{
	const char *why = "refused";
	int r = v->row->handle(v, &v->request, &v->response, &why);

	if (v->again)
		return;
	v->served = 0;
	v->response.ok = !r;
	if (r)
		refuse_log(v, v->row->name, why);
}

static void job_do(struct vduse *v)
{
	bool answer = v->job == VDUSE_JOB_MESSAGE;

	loop_timer_stop(v->late_timer);
	if (answer && v->served && v->miss_due)
		miss_handle(v);
	if (answer)
		message_handle(v);
	else if (v->job == VDUSE_JOB_RESET)
		vduse_reset(v);
	else if (v->job == VDUSE_JOB_MISS)
		miss_handle(v);
	else if (v->job == VDUSE_JOB_BREAK)
		v->broken = true;
	else if (v->job == VDUSE_JOB_CLOSE)
		v->closed = true;
	if (v->again) {
		serve_begin(v);
		return;
	}
	v->phase = answer ? VDUSE_ANSWER : VDUSE_IDLE;
	if (!answer)
		vduse_resume(v);
}

/* ---- the machine ---- */

static bool idle_step(struct vduse *v)
{
	if (v->close_due && !v->closed) {
		job_begin(v, VDUSE_JOB_CLOSE, DEVICE_ALL_QUEUES);
		return true;
	}
	if (v->reset_due && !v->lost) { /* before anything is read: the next driver relies on it */
		job_begin(v, VDUSE_JOB_RESET, DEVICE_ALL_QUEUES);
		return true;
	}
	if (v->break_due && !v->broken) {
		job_begin(v, VDUSE_JOB_BREAK, DEVICE_ALL_QUEUES);
		return true;
	}
	if (v->miss_due && !v->lost) {
		job_begin(v, VDUSE_JOB_MISS, DEVICE_ALL_QUEUES);
		return true;
	}
	if (v->lost || (v->mapped && !v->held))
		return false;
	if (!v->held && !message_read(v))
		return v->lost; /* now: what runs is taken back */
	v->held = false;
	if (!v->row) {
		v->phase = VDUSE_ANSWER;
	} else if (v->row->quiet == VDUSE_QUIET_NONE) {
		message_handle(v);
		v->phase = VDUSE_ANSWER;
	} else {
		job_begin(v, VDUSE_JOB_MESSAGE,
			  v->row->quiet == VDUSE_QUIET_QUEUE ? v->request.queue : DEVICE_ALL_QUEUES);
	}
	return true;
}

/* One step. False: nothing more can be done now. */
static bool step(struct vduse *v)
{
	switch (v->phase) {
	case VDUSE_IDLE:
		return idle_step(v);
	case VDUSE_QUIESCE:
		if (!v->quiet)
			return v->late && !v->lost && late_step(v);
		job_do(v);
		return true;
	case VDUSE_SERVE:
		if (!v->late && !v->lost && !v->close_due && !v->break_due && !v->reset_due && !v->miss_due)
			return false;
		serve_end(v);
		return true;
	case VDUSE_ANSWER:
		if (!v->lost && !answer_write(v))
			return false;
		v->phase = VDUSE_IDLE;
		vduse_resume(v);
		return true;
	}
	return false;
}

static void readable(void *opaque, uint32_t events)
{
	struct vduse *v = opaque;

	if (events & EPOLLERR)
		vduse_lose(v, -EIO, "the kernel has given it up, an answer must have come too late");
	vduse_run(v);
}

static void watch(struct vduse *v)
{
	uint32_t events = v->phase == VDUSE_ANSWER ? EPOLLOUT : EPOLLIN;
	bool wanted = !v->lost && v->phase != VDUSE_SERVE && (v->phase != VDUSE_QUIESCE || v->late);
	int r;

	if (!wanted) {
		loop_remove(&v->watch);
		return;
	}
	if (v->watch) {
		loop_change(v->watch, events);
		return;
	}
	r = loop_add(v->loop, v->fd, events, readable, v, &v->watch);
	if (r)
		vduse_lose(v, r, "it cannot be watched");
}

void vduse_run(struct vduse *v)
{
	unsigned steps = 0;

	if (v->busy || !v->started)
		return;
	v->busy = true;
	v->mapped = false;
	/* Not between a job's begin and its work: nobody would tell again that queues are quiet. */
	while ((steps++ < STEPS_PER_TURN || (v->phase == VDUSE_QUIESCE && v->quiet)) && step(v))
		;
	watch(v);
	v->busy = false;
	vduse_close_go_on(v);
}

/* ---- begin and end ---- */

void vduse_lose(struct vduse *v, int err, const char *why)
{
	if (v->lost)
		return;
	log_error(device_log(v->device), "%s: /dev/vduse/%s: %s: %s", device_name(v->device), v->name, why,
		  system_errno_text(-err));
	v->lost = err;
	v->break_due = true;
	loop_remove(&v->watch);
	loop_timer_start(v->turn_timer, 0);
}

int vduse_session_new(struct vduse *v)
{
	v->late_ms = LATE_MS_MAX;
	return loop_timer_new(v->loop, late, v, &v->late_timer);
}

void vduse_session_patience(struct vduse *v)
{
	int seconds = v->kernel.patience_s(v->kernel.opaque, v->name);

	if (seconds > 0)
		v->late_ms = min_u64((uint64_t)seconds * 1000 / LATE_PART, LATE_MS_MAX);
}

void vduse_session_free(struct vduse *v)
{
	loop_remove(&v->watch);
	if (v->late_timer)
		loop_timer_free(&v->late_timer);
}
