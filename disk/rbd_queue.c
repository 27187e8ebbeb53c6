/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue of an rbd image: each request is one operation of librbd after the other, whose threads tell when it is done. Data goes by
 * buffers of our own: what a guest changes meanwhile would not fit the checksum that was sent before it, and memory that a front end takes
 * away would stop a thread of librbd's. What the cluster owes is waited for; nothing of librbd can be called back.
 */
#include "base/fd.h"
#include "base/util.h"
#include "disk/done.h"
#include "disk/rbd.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (256u << 10) /* in one operation that carries data */
#define KEEP_BYTES  65536u	 /* a buffer that is larger is given back after each request */

/* What the queue keeps in a request's `own`. */
enum { OWN_DONE, OWN_OP };

enum rbd_stage { STAGE_WORK, STAGE_FLUSH };

struct rbd_op {
	struct rbd_queue *queue;
	struct disk_request *request;
	enum rbd_stage stage;
	uint64_t bytes; /* of the request, that this one is about */
	uint8_t *data;
	uint64_t room_bytes;
	int64_t result; /* librbd's */
	struct rbd_op *next; /* of those that are unused */
};

struct rbd_queue {
	struct disk_queue queue;
	const struct rbd_library *library;
	rbd_image_t image;
	struct done_list done;
	int fd;
	unsigned inside; /* operations whose end librbd's threads have not left yet (atomic) */
	uint64_t room;	 /* that this call has for copies */
	struct disk_request *answered;		     /* and not looked at yet */
	struct disk_request *waiting, **waiting_end; /* for an op, or for a turn */
	struct rbd_op *unused;
	struct rbd_op ops[];
};

static struct rbd_disk *disk_of(const struct rbd_queue *q)
{
	return container_of(q->queue.disk, struct rbd_disk, disk);
}

/* ---- guest memory ---- */

/* Between `data` and what lies behind the first `skip` bytes of the request's pieces. */
static void pieces_copy(const struct disk_request *r, uint64_t skip, uint8_t *data, uint64_t bytes)
{
	for (uint32_t i = 0; i < r->iov_count && bytes; i++) {
		uint64_t len = r->iov[i].iov_len, over = min_u64(skip, len), part = min_u64(len - over, bytes);
		uint8_t *at = (uint8_t *)r->iov[i].iov_base + over;

		skip -= over;
		if (!part)
			continue;
		if (r->op == DISK_READ)
			memcpy(at, data, part);
		else
			memcpy(data, at, part);
		data += part;
		bytes -= part;
	}
}

static int request_problem(const struct rbd_queue *q, const struct disk_request *r)
{
	int err = disk_request_problem(q->queue.disk, r);
	uint64_t sum = 0;

	if (err || r->op > DISK_WRITE)
		return err;
	for (uint32_t i = 0; i < r->iov_count; i++)
		sum += r->iov[i].iov_len;
	return sum == r->bytes ? 0 : -EINVAL;
}

static int room_make(struct rbd_op *op, uint64_t bytes)
{
	if (op->room_bytes >= bytes)
		return 0;
	free(op->data);
	op->data = malloc(bytes);
	op->room_bytes = op->data ? bytes : 0;
	return op->data ? 0 : -ENOMEM;
}

/* ---- operations ---- */

/* A thread of librbd's. The queue is not closed before it has left. */
static void answered(rbd_completion_t completion, void *opaque)
{
	struct rbd_op *op = opaque;
	struct rbd_queue *q = op->queue;

	op->result = q->library->rbd_aio_get_return_value(completion);
	q->library->rbd_aio_release(completion);
	done_push(&q->done, op->request);
	__atomic_sub_fetch(&q->inside, 1, __ATOMIC_RELEASE);
}

static int begin(struct rbd_queue *q, struct rbd_op *op, rbd_completion_t completion)
{
	const struct rbd_library *library = q->library;
	const struct disk_request *r = op->request;
	uint64_t offset = r->offset + r->own[OWN_DONE];

	if (op->stage == STAGE_FLUSH)
		return library->rbd_aio_flush(q->image, completion);
	switch (r->op) {
	case DISK_READ:
		return library->rbd_aio_read(q->image, offset, op->bytes, (char *)op->data, completion);
	case DISK_WRITE:
		return library->rbd_aio_write(q->image, offset, op->bytes, (const char *)op->data, completion);
	case DISK_DISCARD:
		return library->rbd_aio_discard(q->image, offset, op->bytes, completion);
	default:
		return library->rbd_aio_write_zeroes(q->image, offset, op->bytes, completion,
						     r->flags & DISK_UNMAP ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION, 0);
	}
}

static int op_send(struct rbd_queue *q, struct rbd_op *op)
{
	rbd_completion_t completion;
	int err = q->library->rbd_aio_create_completion(op, answered, &completion);

	if (err < 0)
		return err;
	__atomic_add_fetch(&q->inside, 1, __ATOMIC_RELAXED);
	err = begin(q, op, completion);
	if (err >= 0)
		return 0;
	/* Nobody will tell of it. */
	__atomic_sub_fetch(&q->inside, 1, __ATOMIC_RELAXED);
	q->library->rbd_aio_release(completion);
	return err;
}

/* ---- a request ---- */

static void finish(struct rbd_queue *q, struct rbd_op *op, int result)
{
	if (op->room_bytes > KEEP_BYTES) {
		free(op->data);
		op->data = NULL;
		op->room_bytes = 0;
	}
	disk_queue_done(&q->queue, op->request, result);
	op->next = q->unused;
	q->unused = op;
}

/* A write that failed after it was acknowledged is told once: whoever has been told must not believe any later flush. */
static int synced(struct rbd_queue *q, int err)
{
	if (err)
		__atomic_store_n(&disk_of(q)->unsynced, true, __ATOMIC_RELAXED);
	return err;
}

static int prepare(struct rbd_queue *q, struct rbd_op *op)
{
	const struct disk_request *r = op->request;
	int err;

	op->bytes = r->bytes - r->own[OWN_DONE];
	if (r->op > DISK_WRITE)
		return 0;
	op->bytes = min_u64(op->bytes, CHUNK_BYTES);
	err = room_make(op, op->bytes);
	if (err || r->op == DISK_READ)
		return err;
	pieces_copy(r, r->own[OWN_DONE], op->data, op->bytes);
	q->room -= min_u64(q->room, op->bytes);
	return 0;
}

static void step(struct rbd_queue *q, struct rbd_op *op)
{
	int err = op->stage == STAGE_FLUSH ? 0 : prepare(q, op);

	if (!err && op->stage == STAGE_FLUSH && __atomic_load_n(&disk_of(q)->unsynced, __ATOMIC_RELAXED))
		err = -EIO;
	if (!err)
		err = op_send(q, op);
	if (err)
		finish(q, op, err);
}

static void flush_after(struct rbd_queue *q, struct rbd_op *op)
{
	op->stage = STAGE_FLUSH;
	step(q, op);
}

/* librbd tells how many bytes it has read, and 0 of all else. */
static int result_of(const struct rbd_op *op)
{
	if (op->result < 0)
		return (int)op->result;
	return op->request->op == DISK_READ && (uint64_t)op->result != op->bytes ? -EIO : 0;
}

static void go_on(struct rbd_queue *q, struct rbd_op *op)
{
	struct disk_request *r = op->request;
	int result = result_of(op);

	if (op->stage == STAGE_FLUSH || result) {
		finish(q, op, op->stage == STAGE_FLUSH ? synced(q, result) : result);
		return;
	}
	if (r->op == DISK_READ) {
		pieces_copy(r, r->own[OWN_DONE], op->data, op->bytes);
		q->room -= min_u64(q->room, op->bytes);
	}
	r->own[OWN_DONE] += op->bytes;
	if (r->own[OWN_DONE] < r->bytes)
		step(q, op);
	else if ((r->op == DISK_WRITE || r->op == DISK_ZERO) && r->flags & DISK_FUA)
		flush_after(q, op);
	else
		finish(q, op, 0);
}

/* There is an op for it. */
static void start(struct rbd_queue *q, struct disk_request *r)
{
	struct rbd_op *op = q->unused;

	q->unused = op->next;
	op->request = r;
	op->stage = r->op == DISK_FLUSH ? STAGE_FLUSH : STAGE_WORK;
	r->own[OWN_DONE] = 0;
	r->own[OWN_OP] = (uintptr_t)op;
	step(q, op);
}

/* ---- the queue's thread ---- */

static struct disk_request *next_waiting(struct rbd_queue *q)
{
	struct disk_request *r = q->waiting;

	q->waiting = r->next;
	if (!q->waiting)
		q->waiting_end = &q->waiting;
	return r;
}

static void start_waiting(struct rbd_queue *q)
{
	while (q->waiting && q->unused && q->room)
		start(q, next_waiting(q));
}

static void rbd_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct rbd_queue *q = container_of(queue, struct rbd_queue, queue);

	q->room = DISK_TURN_BYTES;
	for (unsigned i = 0; i < count; i++) {
		struct disk_request *r = requests[i];
		int err = request_problem(q, r);

		if (err || (!r->bytes && r->op != DISK_FLUSH)) {
			disk_queue_done(queue, r, err);
			continue;
		}
		r->next = NULL;
		*q->waiting_end = r;
		q->waiting_end = &r->next;
	}
	start_waiting(q);
}

static unsigned rbd_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct rbd_queue *q = container_of(queue, struct rbd_queue, queue);

	q->room = DISK_TURN_BYTES;
	if (!q->answered)
		q->answered = done_take(&q->done);
	while (q->answered && q->room) {
		struct disk_request *r = q->answered;

		q->answered = r->next;
		go_on(q, (struct rbd_op *)(uintptr_t)r->own[OWN_OP]);
	}
	start_waiting(q);
	return disk_queue_done_reap(queue, ret_done, max);
}

static bool rbd_arm(struct disk_queue *queue, bool on)
{
	struct rbd_queue *q = container_of(queue, struct rbd_queue, queue);
	bool done = done_arm(&q->done, on);

	return done || (on && (q->answered || (q->waiting && q->unused))) || disk_queue_done_arm(queue, on);
}

static void rbd_cancel(struct disk_queue *queue)
{
	struct rbd_queue *q = container_of(queue, struct rbd_queue, queue);

	while (q->waiting)
		disk_queue_done(queue, next_waiting(q), -ECANCELED);
}

static void rbd_queue_close(struct disk_queue *queue)
{
	struct rbd_queue *q = container_of(queue, struct rbd_queue, queue);

	while (__atomic_load_n(&q->inside, __ATOMIC_ACQUIRE))
		sched_yield(); /* a thread of librbd's is on its way out */
	for (struct rbd_op *op = q->unused; op; op = op->next)
		free(op->data);
	fd_close(&q->fd);
	free(q);
}

static const struct disk_queue_ops rbd_queue_ops = {
	.submit = rbd_submit,
	.reap = rbd_reap,
	.arm = rbd_arm,
	.cancel = rbd_cancel,
	.close = rbd_queue_close,
};

int rbd_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	const struct rbd_disk *rbd = container_of(disk, struct rbd_disk, disk);
	struct rbd_queue *q = disk_queue_room(sizeof(*q) + depth * sizeof(q->ops[0]));
	int err;

	if (!q)
		return -ENOMEM;
	disk_queue_init(&q->queue, &rbd_queue_ops, disk);
	q->queue.in_thread = true;
	q->library = rbd->library;
	q->image = rbd->image;
	q->waiting_end = &q->waiting;
	q->fd = -1;
	for (unsigned i = 0; i < depth; i++) {
		q->ops[i].queue = q;
		q->ops[i].next = q->unused;
		q->unused = &q->ops[i];
	}
	err = fd_event_new(&q->fd);
	if (err) {
		free(q);
		return err;
	}
	q->done.fd = q->queue.fd = q->fd;
	*ret_queue = &q->queue;
	return 0;
}
