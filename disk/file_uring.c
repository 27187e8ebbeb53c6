/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue of a file with an io_uring: reads, writes and flushes go to the ring, one system call for a burst. What the kernel
 * would hand to threads of its own (zeroes, discards), what needs a buffer in between, and what the ring has given back
 * half done go to threads of ours (pool.h), which do it to its end. So does what is beyond DISK_TURN_BYTES of a burst, if it goes through the page cache:
 * what lies there already the kernel copies within the system call.
 *
 * Of a file whose contents lie in memory the ring gets reads alone, and of these no single one, and none of what is mapped: what the kernel would give to a
 * thread of its own from the ring (a write, a flush), or would cost more by way of it (one read), this thread does itself.
 *
 * The ring belongs to the queue's thread alone, and completions are brought when that thread asks for them, where the kernel
 * can have it so (SINGLE_ISSUER, DEFER_TASKRUN); so it is made disabled, and enabled by the first submission.
 */
#include "base/fd.h"
#include "disk/file.h"
#include "disk/pool.h"

#if VIREO_HAS_URING
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FIXED_FD 0 /* the disk's fd among the registered ones */
#define SQPOLL_IDLE_MS 10u /* the kernel's thread looks at the ring for so long, then it sleeps until it is called */
#define OWNED_FLAGS \
	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED)

struct uring_queue {
	struct disk_queue queue;
	struct io_uring ring;
	struct pool *pool;
	int fd;
	bool disabled;
	unsigned depth, in_ring;
	uint64_t room; /* that this call has for what goes through the page cache */
	struct disk_request *waiting, **waiting_end; /* for room in the ring */
};

static int ring_new(unsigned depth, struct io_uring *ring, uint32_t flags)
{
	struct io_uring_params params = {.flags = flags, .sq_thread_idle = SQPOLL_IDLE_MS};

	return io_uring_queue_init_params(depth, ring, &params);
}

int file_uring_probe(bool sqpoll, uint32_t *ret_flags)
{
	static const uint32_t tries[] = {OWNED_FLAGS, 0, IORING_SETUP_SQPOLL};
	struct io_uring ring;
	int err = 0;

	for (unsigned i = sqpoll ? ARRAY_SIZE(tries) - 1 : 0; i < ARRAY_SIZE(tries) - !sqpoll; i++) {
		err = ring_new(4, &ring, tries[i]);
		if (err)
			continue;
		io_uring_queue_exit(&ring);
		*ret_flags = tries[i];
		return 0;
	}
	return err;
}

/* ---- to the ring ---- */

static void prepare_transfer(struct io_uring_sqe *sqe, const struct disk_request *r)
{
	const struct iovec *iov = r->iov;

	if (r->op == DISK_READ && r->iov_count == 1)
		io_uring_prep_read(sqe, FIXED_FD, iov->iov_base, (unsigned)iov->iov_len, r->offset);
	else if (r->op == DISK_READ)
		io_uring_prep_readv(sqe, FIXED_FD, iov, r->iov_count, r->offset);
	else if (r->iov_count == 1)
		io_uring_prep_write(sqe, FIXED_FD, iov->iov_base, (unsigned)iov->iov_len, r->offset);
	else
		io_uring_prep_writev(sqe, FIXED_FD, iov, r->iov_count, r->offset);
	if (r->op == DISK_WRITE && (r->flags & DISK_FUA))
		sqe->rw_flags = RWF_DSYNC;
}

/* There is room. */
static void prepare(struct uring_queue *q, struct disk_request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	if (r->op == DISK_FLUSH)
		io_uring_prep_fsync(sqe, FIXED_FD, IORING_FSYNC_DATASYNC);
	else
		prepare_transfer(sqe, r);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, r);
	q->in_ring++;
}

/* Has this call moved enough by itself? */
static bool room_lacks(struct uring_queue *q, const struct file_disk *file, const struct disk_request *r)
{
	if (file->direct || r->op > DISK_WRITE)
		return false;
	if (unlikely(r->bytes > q->room))
		return true;
	q->room -= r->bytes;
	return false;
}

static void wait_for_room(struct uring_queue *q, struct disk_request *r)
{
	r->next = NULL;
	*q->waiting_end = r;
	q->waiting_end = &r->next;
}

static bool for_threads(const struct file_disk *file, const struct disk_request *r)
{
	if (r->op == DISK_FLUSH)
		return file_unsynced(file);
	if (unlikely(file->zones) && r->op == DISK_WRITE)
		return true; /* at the pointer, one after the other */
	return r->op > DISK_WRITE || r->bytes > INT32_MAX || file_memory_unaligned(file, r);
}

/* Is it cheaper here than by way of the ring? `alone`: nothing else comes with it, that a system call could be shared with. */
static bool for_us(const struct file_disk *file, const struct disk_request *r, bool alone)
{
	return file->at_once && (alone || r->op != DISK_READ || (file->map && file_map_here(file->map, r)));
}

static void do_at_once(struct uring_queue *q, struct file_disk *file, struct disk_request *r)
{
	if (likely(file_do_at_once(file, r)))
		disk_queue_done(&q->queue, r, r->result);
	else
		pool_add(q->pool, r);
}

static void take(struct uring_queue *q, struct file_disk *file, struct disk_request *r, bool alone)
{
	int err = file_problem(file, r);

	r->own[0] = 0;
	if (unlikely(err) || (unlikely(!r->bytes) && r->op != DISK_FLUSH && r->op != DISK_ZONE))
		disk_queue_done(&q->queue, r, err);
	else if (for_threads(file, r) || ((q->in_ring < q->depth || file->at_once) && room_lacks(q, file, r)))
		pool_add(q->pool, r);
	else if (for_us(file, r, alone))
		do_at_once(q, file, r);
	else if (q->in_ring == q->depth)
		wait_for_room(q, r);
	else
		prepare(q, r);
}

/* Refused for now (no memory): stays in the ring, and reap() or arm() look at that again. */
static void go(struct uring_queue *q)
{
	if (unlikely(q->disabled)) {
		/* Debian 12's liburing declares io_uring_enable_rings(), and does not export it. */
		syscall(SYS_io_uring_register, q->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		q->disabled = false;
	}
	if (io_uring_sq_ready(&q->ring))
		io_uring_submit(&q->ring);
}

static void uring_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct uring_queue *q = container_of(queue, struct uring_queue, queue);
	struct file_disk *file = container_of(queue->disk, struct file_disk, disk);

	q->room = DISK_TURN_BYTES;
	for (unsigned i = 0; i < count; i++)
		take(q, file, requests[i], count == 1);
	go(q);
	pool_go(q->pool);
}

/* ---- from the ring ---- */

static unsigned reap_ring(struct uring_queue *q, struct file_disk *file, struct disk_request **ret_done, unsigned max)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0, count = 0;

	if (IO_URING_READ_ONCE(*q->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		io_uring_get_events(&q->ring);
	io_uring_for_each_cqe(&q->ring, head, cqe) {
		struct disk_request *r = io_uring_cqe_get_data(cqe);

		if (count == max)
			break;
		seen++;
		if (likely(file_ended(file, r, cqe->res)))
			ret_done[count++] = r;
		else
			pool_add(q->pool, r);
	}
	io_uring_cq_advance(&q->ring, seen);
	q->in_ring -= seen;
	return count;
}

static void refill(struct uring_queue *q, const struct file_disk *file)
{
	q->room = DISK_TURN_BYTES;
	while (q->waiting && q->in_ring < q->depth) {
		struct disk_request *r = q->waiting;

		q->waiting = r->next;
		if (!q->waiting)
			q->waiting_end = &q->waiting;
		if (room_lacks(q, file, r))
			pool_add(q->pool, r);
		else
			prepare(q, r);
	}
	if (io_uring_sq_ready(&q->ring))
		go(q);
}

static unsigned uring_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct uring_queue *q = container_of(queue, struct uring_queue, queue);
	struct file_disk *file = container_of(queue->disk, struct file_disk, disk);
	unsigned count;

	disk_queue_done_all(queue, pool_done(q->pool));
	count = disk_queue_done_reap(queue, ret_done, max);
	if (q->in_ring)
		count += reap_ring(q, file, ret_done + count, max - count);
	refill(q, file);
	pool_go(q->pool);
	return count;
}

static bool uring_arm(struct disk_queue *queue, bool on)
{
	struct uring_queue *q = container_of(queue, struct uring_queue, queue);
	bool done = pool_arm(q->pool, on);

	io_uring_cq_eventfd_toggle(&q->ring, on);
	if (!on)
		return false;
	/* The kernel has seen that before we look, or we see what it did before it looked. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return done || queue->done || io_uring_cq_ready(&q->ring) || io_uring_sq_ready(&q->ring) ||
	       (IO_URING_READ_ONCE(*q->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

/* What the ring has is the kernel's: it may have begun to move it. */
static void uring_cancel(struct disk_queue *queue)
{
	struct uring_queue *q = container_of(queue, struct uring_queue, queue);

	while (q->waiting) {
		struct disk_request *r = q->waiting;

		q->waiting = r->next;
		disk_queue_done(queue, r, -ECANCELED);
	}
	q->waiting_end = &q->waiting;
	pool_cancel(q->pool);
}

/* ---- making and ending it ---- */

static void uring_free(struct uring_queue *q)
{
	pool_free(q->pool);
	fd_close(&q->fd);
	free(q);
}

static void uring_close(struct disk_queue *queue)
{
	struct uring_queue *q = container_of(queue, struct uring_queue, queue);
	struct file_disk *file = container_of(queue->disk, struct file_disk, disk);

	io_uring_queue_exit(&q->ring);
	uring_free(q);
	file_lock_put(file);
}

static const struct disk_queue_ops uring_ops = {
	.submit = uring_submit,
	.reap = uring_reap,
	.arm = uring_arm,
	.cancel = uring_cancel,
	.close = uring_close,
};

static int ring_open(struct uring_queue *q, const struct file_disk *file)
{
	/* The kernel's thread gives places back when it has been through what it found; by then as many more may have come. */
	unsigned places = file->uring_flags & IORING_SETUP_SQPOLL ? 2 * q->depth : q->depth;
	int err = ring_new(places, &q->ring, file->uring_flags);

	if (err)
		return err;
	q->disabled = file->uring_flags & IORING_SETUP_R_DISABLED;
	err = io_uring_register_files(&q->ring, &file->fd, 1);
	if (!err)
		err = io_uring_register_eventfd(&q->ring, q->fd);
	if (!err)
		err = io_uring_cq_eventfd_toggle(&q->ring, false);
	if (err)
		io_uring_queue_exit(&q->ring);
	return err;
}

int file_uring_queue_open(struct file_disk *file, unsigned depth, struct disk_queue **ret_queue)
{
	struct uring_queue *q = disk_queue_room(sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	disk_queue_init(&q->queue, &uring_ops, &file->disk);
	q->fd = -1;
	q->depth = depth;
	q->waiting_end = &q->waiting;
	err = fd_event_new(&q->fd);
	if (!err)
		err = pool_new(min_u32(file->threads_max, depth), file_do, file, q->fd, &q->pool);
	if (!err)
		err = ring_open(q, file);
	if (err) {
		uring_free(q);
		return err;
	}
	q->queue.fd = q->fd;
	*ret_queue = &q->queue;
	return 0;
}

#else

int file_uring_probe(bool sqpoll, uint32_t *ret_flags)
{
	return -ENOSYS;
}

int file_uring_queue_open(struct file_disk *file, unsigned depth, struct disk_queue **ret_queue)
{
	return -ENOSYS;
}

#endif
