/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue of a file where there is no io_uring: threads of its own wait for the kernel. */
#include "base/fd.h"
#include "disk/file.h"
#include "disk/pool.h"
#include <stdlib.h>

struct threads_queue {
	struct disk_queue queue;
	struct pool *pool;
	int fd;
};

/* Moves it here and now, if that waits for nothing and this burst has room left. */
static bool done_at_once(struct file_disk *file, struct disk_request *r, uint64_t *room)
{
	if (!file->at_once || r->op > DISK_FLUSH || r->bytes > *room || (r->op == DISK_FLUSH && file_unsynced(file)))
		return false;
	*room -= r->bytes;
	return file_do_at_once(file, r);
}

static void threads_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct threads_queue *q = container_of(queue, struct threads_queue, queue);
	struct file_disk *file = container_of(queue->disk, struct file_disk, disk);
	uint64_t room = DISK_TURN_BYTES;

	for (unsigned i = 0; i < count; i++) {
		int err = file_problem(file, requests[i]);

		requests[i]->own[0] = 0;
		if (err)
			disk_queue_done(queue, requests[i], err);
		else if (done_at_once(file, requests[i], &room))
			disk_queue_done(queue, requests[i], requests[i]->result);
		else
			pool_add(q->pool, requests[i]);
	}
	pool_go(q->pool);
}

static unsigned threads_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct threads_queue *q = container_of(queue, struct threads_queue, queue);

	disk_queue_done_all(queue, pool_done(q->pool));
	return disk_queue_done_reap(queue, ret_done, max);
}

static bool threads_arm(struct disk_queue *queue, bool on)
{
	struct threads_queue *q = container_of(queue, struct threads_queue, queue);
	bool done = pool_arm(q->pool, on);

	return done || disk_queue_done_arm(queue, on);
}

static void threads_cancel(struct disk_queue *queue)
{
	pool_cancel(container_of(queue, struct threads_queue, queue)->pool);
}

static void threads_free(struct threads_queue *q)
{
	pool_free(q->pool);
	fd_close(&q->fd);
	free(q);
}

static void threads_close(struct disk_queue *queue)
{
	struct file_disk *file = container_of(queue->disk, struct file_disk, disk);

	threads_free(container_of(queue, struct threads_queue, queue));
	file_lock_put(file);
}

static const struct disk_queue_ops threads_ops = {
	.submit = threads_submit,
	.reap = threads_reap,
	.arm = threads_arm,
	.cancel = threads_cancel,
	.close = threads_close,
};

int file_threads_queue_open(struct file_disk *file, unsigned depth, struct disk_queue **ret_queue)
{
	struct threads_queue *q = disk_queue_room(sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	q->fd = -1;
	disk_queue_init(&q->queue, &threads_ops, &file->disk);
	err = fd_event_new(&q->fd);
	if (!err)
		err = pool_new(min_u32(file->threads_max, depth), file_do, file, q->fd, &q->pool);
	if (err) {
		threads_free(q);
		return err;
	}
	q->queue.fd = q->fd;
	*ret_queue = &q->queue;
	return 0;
}
