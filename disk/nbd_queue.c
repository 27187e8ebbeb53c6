/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue of an NBD disk: it turns requests into commands, hands them to its link (nbd_link.c), and takes what that has heard.
 * Data goes by buffers of our own: guest memory is touched by the queue's thread alone, while the request is
 * submitted and reaped, so a front end that takes its memory away disturbs no connection, and what is repeated is the same.
 */
#include "base/fd.h"
#include "base/util.h"
#include "disk/done.h"
#include "disk/nbd.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES 65536u	      /* a buffer that is larger is given back after each request */
#define SPAN_BYTES (UINT64_C(1) << 30) /* of zeroes and discards in one command */

/* What the queue keeps in a request's `own`. */
enum { OWN_DONE, OWN_OP, OWN_FLUSHING };

struct nbd_queue {
	struct disk_queue queue;
	struct nbd_link *link;
	struct done_list done;
	int fd;
	uint32_t cancels; /* atomic */
	uint64_t room; /* that this call has for copies */
	struct disk_request *answered; /* and not looked at yet: linked by `next` */
	struct disk_request *waiting, **waiting_end; /* for an op, or for a turn */
	struct nbd_op *unused, *to_send, **to_send_end;
	unsigned ops; /* its own; what has been given up is not */
};

static struct nbd_disk *disk_of(const struct nbd_queue *q)
{
	return container_of(q->queue.disk, struct nbd_disk, disk);
}

/* ---- guest memory ---- */

/* Between `data` and what lies behind the first `skip` bytes of the request's pieces. False: they are shorter. */
static bool copy_pieces(const struct disk_request *r, uint64_t skip, uint8_t *data, uint64_t bytes)
{
	for (uint32_t i = 0; i < r->iov_count && bytes; i++) {
		const struct iovec *iov = &r->iov[i];
		uint64_t len;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		len = min_u64(iov->iov_len - skip, bytes);
		if (r->op == DISK_READ)
			memcpy((uint8_t *)iov->iov_base + skip, data, len);
		else
			memcpy(data, (const uint8_t *)iov->iov_base + skip, len);
		data += len;
		bytes -= len;
		skip = 0;
	}
	return !bytes;
}

static bool pieces_suffice(const struct disk_request *r)
{
	uint64_t sum = 0;

	if (r->op != DISK_READ && r->op != DISK_WRITE)
		return true;
	for (uint32_t i = 0; i < r->iov_count && sum < r->bytes; i++)
		sum += r->iov[i].iov_len;
	return sum >= r->bytes;
}

static int room_make(struct nbd_op *op, uint64_t bytes)
{
	if (op->room_bytes >= bytes)
		return 0;
	free(op->data);
	op->data = malloc(bytes);
	op->room_bytes = op->data ? bytes : 0;
	return op->data ? 0 : -ENOMEM;
}

/* ---- one command after the other ---- */

/* Is the write to be stable when it is done? */
static bool stable(const struct nbd_disk *disk, const struct disk_request *r)
{
	return (r->op == DISK_WRITE || r->op == DISK_ZERO) && disk->export.can_flush &&
	       (r->flags & DISK_FUA || disk->restart == NBD_RESTART_STABLE);
}

static void send_op(struct nbd_queue *q, struct nbd_op *op)
{
	op->next = NULL;
	*q->to_send_end = op;
	q->to_send_end = &op->next;
}

static int data_prepare(const struct nbd_disk *disk, struct nbd_op *op)
{
	const struct disk_request *r = op->request;
	int err;

	op->bytes = min_u64(r->bytes - r->own[OWN_DONE], disk->chunk_bytes);
	err = room_make(op, op->bytes);
	if (err || op->op == DISK_READ)
		return err;
	op->op = DISK_WRITE; /* zeroes, where the server has no command for them */
	if (r->op != DISK_ZERO)
		return copy_pieces(r, r->own[OWN_DONE], op->data, op->bytes) ? 0 : -EINVAL;
	if (op->data) /* there is none for no bytes */
		memset(op->data, 0, op->bytes);
	return 0;
}

/* What is next to be done for its request. */
static int prepare(const struct nbd_disk *disk, struct nbd_op *op)
{
	const struct disk_request *r = op->request;

	op->op = r->op;
	op->flags = r->flags & DISK_UNMAP;
	if (stable(disk, r) && disk->export.can_fua)
		op->flags |= DISK_FUA;
	op->offset = r->offset + r->own[OWN_DONE];
	op->bytes = min_u64(r->bytes - r->own[OWN_DONE], SPAN_BYTES);
	if (r->op <= DISK_WRITE || (r->op == DISK_ZERO && !disk->export.can_zero))
		return data_prepare(disk, op);
	return 0;
}

static void finish(struct nbd_queue *q, struct nbd_op *op, int result)
{
	disk_queue_done(&q->queue, op->request, result);
	op->request = NULL;
	if (op->room_bytes > KEEP_BYTES) {
		free(op->data);
		op->data = NULL;
		op->room_bytes = 0;
	}
	op->next = q->unused;
	q->unused = op;
}

/* So much has been copied, or filled. */
static void room_take(struct nbd_queue *q, const struct nbd_op *op)
{
	if (op->op <= DISK_WRITE)
		q->room -= min_u64(q->room, op->bytes);
}

static void step(struct nbd_queue *q, struct nbd_op *op)
{
	int err = prepare(disk_of(q), op);

	if (op->op == DISK_WRITE)
		room_take(q, op);
	if (err)
		finish(q, op, err);
	else
		send_op(q, op);
}

static void flush_after(struct nbd_queue *q, struct nbd_op *op)
{
	op->request->own[OWN_FLUSHING] = 1;
	op->op = DISK_FLUSH;
	op->flags = 0;
	op->bytes = 0;
	send_op(q, op);
}

static struct disk_request *next_waiting(struct nbd_queue *q)
{
	struct disk_request *r = q->waiting;

	if (r) {
		q->waiting = r->next;
		if (!q->waiting)
			q->waiting_end = &q->waiting;
	}
	return r;
}

static int op_add(struct nbd_queue *q)
{
	struct nbd_op *op = calloc(1, sizeof(*op));

	if (!op)
		return -ENOMEM;
	op->queue = q;
	op->next = q->unused;
	q->unused = op;
	q->ops++;
	return 0;
}

/* Its op has been given up: another one takes its place. */
static void given_up(struct nbd_queue *q, struct disk_request *r)
{
	struct disk_request *waiting;

	q->ops--;
	disk_queue_done(&q->queue, r, -ECANCELED);
	if (!op_add(q) || q->ops)
		return;
	while ((waiting = next_waiting(q)))
		disk_queue_done(&q->queue, waiting, -ENOMEM);
}

/* The link has answered. */
static void go_on(struct nbd_queue *q, struct nbd_op *op)
{
	const struct nbd_disk *disk = disk_of(q);
	struct disk_request *r = op->request;
	int result = op->result;

	if (!result && r->op == DISK_READ && !copy_pieces(r, r->own[OWN_DONE], op->data, op->bytes))
		result = -EINVAL;
	if (r->op == DISK_READ)
		room_take(q, op);
	if (!result)
		r->own[OWN_DONE] += op->bytes;
	if (result || r->op == DISK_FLUSH || r->own[OWN_FLUSHING])
		finish(q, op, result);
	else if (r->own[OWN_DONE] < r->bytes)
		step(q, op);
	else if (stable(disk, r) && !disk->export.can_fua)
		flush_after(q, op);
	else
		finish(q, op, 0);
}

/* ---- the queue's thread ---- */

/* True: there is nothing to be sent for it. */
static bool done_at_once(struct nbd_queue *q, struct disk_request *r)
{
	const struct nbd_disk *disk = disk_of(q);
	int err = disk_request_problem(&disk->disk, r);

	if (!err && !pieces_suffice(r))
		err = -EINVAL;
	if (!err && (r->op == DISK_FLUSH ? disk->export.can_flush : r->bytes && (r->op != DISK_DISCARD || disk->export.can_trim)))
		return false;
	disk_queue_done(&q->queue, r, err);
	return true;
}

/* There is an op for it. */
static void start(struct nbd_queue *q, struct disk_request *r)
{
	struct nbd_op *op = q->unused;

	q->unused = op->next;
	r->own[OWN_DONE] = r->own[OWN_FLUSHING] = 0;
	r->own[OWN_OP] = (uintptr_t)op;
	op->request = r;
	op->mark = q->cancels;
	step(q, op);
}

static void take(struct nbd_queue *q, struct disk_request *r)
{
	if (q->unused && q->room && !q->waiting) {
		start(q, r);
		return;
	}
	if (unlikely(!q->ops) && op_add(q)) {
		disk_queue_done(&q->queue, r, -ENOMEM);
		return;
	}
	r->next = NULL;
	*q->waiting_end = r;
	q->waiting_end = &r->next;
}

static void hand_over(struct nbd_queue *q)
{
	if (!q->to_send)
		return;
	nbd_link_send(q->link, q->to_send);
	q->to_send = NULL;
	q->to_send_end = &q->to_send;
}

static void nbd_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct nbd_queue *q = container_of(queue, struct nbd_queue, queue);

	q->room = DISK_TURN_BYTES;
	for (unsigned i = 0; i < count; i++)
		if (!done_at_once(q, requests[i]))
			take(q, requests[i]);
	hand_over(q);
}

static unsigned nbd_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct nbd_queue *q = container_of(queue, struct nbd_queue, queue);

	q->room = DISK_TURN_BYTES;
	if (!q->answered)
		q->answered = done_take(&q->done);
	while (q->answered && q->room) {
		struct disk_request *r = q->answered;

		q->answered = r->next;
		if (r->own[OWN_OP])
			go_on(q, (struct nbd_op *)(uintptr_t)r->own[OWN_OP]);
		else
			given_up(q, r);
	}
	while (q->unused && q->waiting && q->room)
		start(q, next_waiting(q));
	hand_over(q);
	return disk_queue_done_reap(queue, ret_done, max);
}

static bool nbd_arm(struct disk_queue *queue, bool on)
{
	struct nbd_queue *q = container_of(queue, struct nbd_queue, queue);
	bool done = done_arm(&q->done, on);

	return done || (on && (q->answered || (q->waiting && q->unused))) || disk_queue_done_arm(queue, on);
}

static void nbd_cancel(struct disk_queue *queue)
{
	struct nbd_queue *q = container_of(queue, struct nbd_queue, queue);
	struct disk_request *r;

	while ((r = next_waiting(q)))
		disk_queue_done(queue, r, -ECANCELED);
	__atomic_fetch_add(&q->cancels, 1, __ATOMIC_RELAXED);
	nbd_link_wake(q->link);
}

void nbd_op_free(struct nbd_op *op)
{
	if (op)
		free(op->data);
	free(op);
}

static void queue_free(struct nbd_queue *q)
{
	struct nbd_op *op;

	while ((op = q->unused)) {
		q->unused = op->next;
		nbd_op_free(op);
	}
	fd_close(&q->fd);
	free(q);
}

static void nbd_queue_close(struct disk_queue *queue)
{
	struct nbd_queue *q = container_of(queue, struct nbd_queue, queue);

	nbd_link_part(q->link);
	queue_free(q);
}

/* ---- the link's thread ---- */

void nbd_queue_answered(struct nbd_op *op)
{
	done_push(&op->queue->done, op->request);
}

void nbd_queue_given_up(struct nbd_op *op)
{
	struct nbd_queue *q = op->queue;
	struct disk_request *r = op->request;

	r->own[OWN_OP] = 0;
	op->queue = NULL;
	op->request = NULL;
	done_push(&q->done, r); /* and from here on the queue may be gone: nbd_link_part() */
}

bool nbd_queue_cancelled(const struct nbd_op *op)
{
	return op->mark != __atomic_load_n(&op->queue->cancels, __ATOMIC_RELAXED);
}

/* ---- making it ---- */

static const struct disk_queue_ops nbd_queue_ops = {
	.submit = nbd_submit,
	.reap = nbd_reap,
	.arm = nbd_arm,
	.cancel = nbd_cancel,
	.close = nbd_queue_close,
};

int nbd_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct nbd_queue *q = disk_queue_room(sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	disk_queue_init(&q->queue, &nbd_queue_ops, disk);
	q->queue.in_thread = true;
	q->waiting_end = &q->waiting;
	q->to_send_end = &q->to_send;
	q->fd = -1;
	err = fd_event_new(&q->fd);
	while (!err && q->ops < depth)
		err = op_add(q);
	if (!err)
		err = nbd_disk_link(disk_of(q), &q->link);
	if (err) {
		queue_free(q);
		return err;
	}
	q->queue.fd = q->done.fd = q->fd;
	*ret_queue = &q->queue;
	return 0;
}
