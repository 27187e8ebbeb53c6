/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue: tasks in and out, and its paths to logical units. What other threads want of it comes by messages,
 * which its thread takes at each reap; the event fd is raised only if it has said that it sleeps.
 */
#include "base/fd.h"
#include "scsi/internal.h"
#include <sys/epoll.h>

/* ---- messages ---- */

static void wake(struct scsi_queue *queue)
{
	if (__atomic_load_n(&queue->armed, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&queue->armed, false, __ATOMIC_SEQ_CST))
		fd_event_raise(queue->event_fd);
}

void scsi_queue_post(struct scsi_queue *queue, struct scsi_message *message)
{
	struct scsi_message *head = __atomic_load_n(&queue->inbox, __ATOMIC_RELAXED);

	do
		message->next = head;
	while (!__atomic_compare_exchange_n(&queue->inbox, &head, message, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	wake(queue); /* its thread has looked at the inbox after it said that it sleeps */
}

void scsi_queue_sweep(struct scsi_queue *queue)
{
	__atomic_store_n(&queue->sweep, true, __ATOMIC_SEQ_CST);
	wake(queue);
}

static __cold void inbox_take(struct scsi_queue *queue)
{
	struct scsi_message *message = __atomic_exchange_n(&queue->inbox, NULL, __ATOMIC_ACQUIRE);
	struct scsi_message *oldest = NULL;

	while (message) { /* the last one came first */
		struct scsi_message *next = message->next;

		message->next = oldest;
		oldest = message;
		message = next;
	}
	while (oldest) {
		struct scsi_message *next = oldest->next;

		oldest->deliver(queue, oldest);
		oldest = next;
	}
}

/* ---- paths ---- */

static struct scsi_path **bucket_of(struct scsi_queue *queue, unsigned target, unsigned number)
{
	return &queue->buckets[(number ^ target << 2) % SCSI_PATH_BUCKETS];
}

static bool path_is(const struct scsi_path *path, unsigned target, unsigned number)
{
	return path->lun->target == target && path->lun->number == number && !__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE);
}

static __cold struct scsi_path *path_new(struct scsi_queue *queue, unsigned target, unsigned number)
{
	struct scsi_path **bucket = bucket_of(queue, target, number), *path;
	struct scsi_lun *lun = scsi_lun_find(queue->bus, target, number);

	if (!lun)
		return NULL;
	path = calloc(1, sizeof(*path));
	if (!path) {
		scsi_lun_put(lun);
		return NULL;
	}
	path->queue = queue;
	path->lun = lun;
	path->held_end = &path->held;
	path->next = *bucket;
	*bucket = path;
	return path;
}

struct scsi_path *scsi_queue_path(struct scsi_queue *queue, unsigned target, unsigned number)
{
	struct scsi_path *path = *bucket_of(queue, target, number);

	while (path && !path_is(path, target, number))
		path = path->next;
	return path ? path : path_new(queue, target, number);
}

static void path_free(struct scsi_path *path)
{
	if (path->queue->last == path)
		path->queue->last = NULL;
	disk_queue_close(path->disk);
	scsi_lun_put(path->lun);
	free(path);
}

static bool path_idle(const struct scsi_path *path)
{
	return !path->busy && !path->active && !path->held && !path->jobs;
}

static void paths_free(struct scsi_queue *queue, bool all)
{
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++) {
		struct scsi_path **at = &queue->buckets[i];

		while (*at) {
			struct scsi_path *path = *at;

			if (!all && !(__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE) && path_idle(path))) {
				at = &path->next;
				continue;
			}
			*at = path->next;
			path_free(path);
		}
	}
}

static bool paths_gone(const struct scsi_queue *queue)
{
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++)
		for (const struct scsi_path *path = queue->buckets[i]; path; path = path->next)
			if (__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE))
				return true;
	return false;
}

/* ---- what is given up ---- */

void scsi_queue_hold_still(struct scsi_queue *queue)
{
	queue->still++;
}

void scsi_queue_go_on(struct scsi_queue *queue)
{
	if (!--queue->still)
		scsi_jobs_begin(queue);
}

static void path_tasks_abort(struct scsi_path *path)
{
	for (struct scsi_task *task = path->tasks, *next; task; task = next) {
		next = task->next;
		scsi_task_abort(task, SCSI_ABORTED, NULL);
	}
	scsi_path_cancel(path);
}

static void gone_give_up(struct scsi_queue *queue)
{
	scsi_queue_hold_still(queue);
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++)
		for (struct scsi_path *path = queue->buckets[i]; path; path = path->next)
			if (__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE))
				path_tasks_abort(path);
	scsi_queue_go_on(queue);
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++)
		for (struct scsi_path *path = queue->buckets[i]; path; path = path->next)
			if (__atomic_load_n(&path->lun->gone, __ATOMIC_ACQUIRE)) {
				scsi_copies_end(path, true);
				scsi_path_begin_held(path);
			}
}

/*
 * What is gone is given up at once, and let go of when nothing is left of it. Until then this comes again, and
 * nobody has to be awake for it: what is left ends by a disk or by a message.
 */
static __cold void sweep(struct scsi_queue *queue)
{
	(void)__atomic_exchange_n(&queue->sweep, false, __ATOMIC_SEQ_CST); /* first: what goes while we look is told anew */
	gone_give_up(queue);
	paths_free(queue, false);
	queue->gone = paths_gone(queue);
}

/* ---- life ---- */

static int watch(struct scsi_queue *queue, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	return epoll_ctl(queue->fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int fds_new(struct scsi_queue *queue)
{
	int err = fd_event_new(&queue->event_fd);

	if (err)
		return err;
	queue->fd = epoll_create1(EPOLL_CLOEXEC);
	return queue->fd < 0 ? -errno : watch(queue, queue->event_fd);
}

static void queue_fill(struct scsi_queue *queue, struct scsi_bus *bus, unsigned depth)
{
	queue->bus = bus;
	queue->depth = depth;
	queue->fd = queue->event_fd = -1;
	queue->done_end = &queue->done;
	queue->jobs_end = &queue->jobs_waiting;
	queue->nowhere.queue = queue->well_known.queue = queue;
	queue->nowhere.held_end = &queue->nowhere.held;
	queue->well_known.held_end = &queue->well_known.held;
	queue->well_known.well_known = true;
}

static void queue_delete(struct scsi_queue *queue)
{
	while (queue->ops) {
		struct scsi_op *op = queue->ops;

		queue->ops = op->next;
		free(op);
	}
	fd_close(&queue->event_fd);
	fd_close(&queue->fd);
	free(queue);
}

int scsi_queue_new(struct scsi_bus *bus, unsigned depth, struct scsi_queue **ret_queue)
{
	struct scsi_queue *queue = aligned_alloc(CACHE_LINE_BYTES, align_up(sizeof(*queue), CACHE_LINE_BYTES));
	int err;

	if (!queue)
		return -ENOMEM;
	memset(queue, 0, sizeof(*queue));
	queue_fill(queue, bus, depth);
	err = fds_new(queue);
	if (err) {
		queue_delete(queue);
		return err;
	}
	pthread_mutex_lock(&bus->lock);
	queue->next = bus->queues;
	bus->queues = queue;
	pthread_mutex_unlock(&bus->lock);
	*ret_queue = queue;
	return 0;
}

/* Nobody posts any more once it is out of the list; what has been posted is answered. */
void scsi_queue_free(struct scsi_queue *queue)
{
	struct scsi_queue **at;

	if (!queue)
		return;
	assert(!scsi_queue_pending(queue));
	pthread_mutex_lock(&queue->bus->lock);
	for (at = &queue->bus->queues; *at != queue;)
		at = &(*at)->next;
	*at = queue->next;
	pthread_mutex_unlock(&queue->bus->lock);
	inbox_take(queue);
	scsi_parts_shown(queue);
	paths_free(queue, true);
	queue_delete(queue);
}

/* ---- tasks ---- */

/* Most addresses are flat or peripheral, and most tasks go where the one before went. */
static inline int number_of(const struct scsi_task *task)
{
	return scsi_lun_decode(task->lun);
}

static struct scsi_path *path_look(struct scsi_queue *queue, const struct scsi_task *task, uint64_t address)
{
	int number = number_of(task);
	struct scsi_path *path;

	if (unlikely(number < 0))
		return number == -ENOTSUP ? &queue->well_known : &queue->nowhere;
	path = scsi_queue_path(queue, task->target, (unsigned)number);
	if (!path)
		return &queue->nowhere;
	queue->last = path;
	queue->last_address = address;
	return path;
}

/* Most are for the unit of the one before. */
static inline struct scsi_path *path_of(struct scsi_queue *queue, const struct scsi_task *task)
{
	struct scsi_path *path = queue->last;
	uint64_t address;

	memcpy(&address, task->lun, sizeof(address));
	if (likely(path && address == queue->last_address && path_is(path, task->target, path->lun->number)))
		return path;
	return path_look(queue, task, address);
}

static inline void task_init(struct scsi_task *task)
{
	task->response = SCSI_OK;
	task->status = SCSI_GOOD;
	task->sense_bytes = 0;
	task->ends_as = SCSI_OK;
	task->held = false;
	task->moved = 0;
	task->op = NULL;
	task->job = NULL;
}

void scsi_queue_submit(struct scsi_queue *queue, struct scsi_task *const *tasks, unsigned count)
{
	struct scsi_path *path = NULL;

	queue->tasks += count;
	for (unsigned i = 0; i < count; i++) {
		struct scsi_path *here = path_of(queue, tasks[i]);

		if (unlikely(path && here != path))
			scsi_path_go(path);
		path = here;
		task_init(tasks[i]);
		tasks[i]->path = path;
		scsi_path_take(path, tasks[i]);
	}
	if (path)
		scsi_path_go(path);
}

/* The list is taken as a whole: what is done may give more to any path. */
static void busy_reap(struct scsi_queue *queue)
{
	struct scsi_path *list = queue->busy;

	queue->busy = NULL;
	while (list) {
		struct scsi_path *path = list;

		list = path->next_busy;
		path->busy = false;
		scsi_path_reap(path);
		scsi_path_go(path);
		if (disk_queue_pending(path->disk))
			scsi_path_busy(path);
	}
}

unsigned scsi_queue_reap(struct scsi_queue *queue, struct scsi_task **ret_done, unsigned max)
{
	unsigned count = 0;

	if (unlikely(__atomic_load_n(&queue->inbox, __ATOMIC_RELAXED) != NULL))
		inbox_take(queue);
	busy_reap(queue);
	if (unlikely(queue->gone || __atomic_load_n(&queue->sweep, __ATOMIC_RELAXED)))
		sweep(queue);
	while (queue->done && count < max) {
		ret_done[count++] = queue->done;
		queue->done = queue->done->next;
	}
	if (!queue->done)
		queue->done_end = &queue->done;
	queue->tasks -= count;
	return count;
}

void scsi_queue_shown(struct scsi_queue *queue)
{
	if (unlikely(queue->parts && !queue->done))
		scsi_parts_shown(queue);
}

bool scsi_queue_arm(struct scsi_queue *queue, bool on)
{
	bool some = false;

	__atomic_store_n(&queue->armed, on, __ATOMIC_SEQ_CST);
	for (struct scsi_path *path = queue->busy; path; path = path->next_busy)
		some |= disk_queue_arm(path->disk, on);
	if (!on)
		return false;
	return some || queue->done || queue->parts || __atomic_load_n(&queue->inbox, __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&queue->sweep, __ATOMIC_SEQ_CST);
}

void scsi_queue_cancel(struct scsi_queue *queue)
{
	scsi_queue_hold_still(queue);
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++)
		for (struct scsi_path *path = queue->buckets[i]; path; path = path->next) {
			while (path->held)
				scsi_task_abort(path->held, SCSI_ABORTED, NULL);
			path_tasks_abort(path);
		}
	scsi_queue_go_on(queue);
}

void scsi_queue_hurry(struct scsi_queue *queue)
{
	queue->hurried = true;
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++)
		for (struct scsi_path *path = queue->buckets[i]; path; path = path->next)
			if (path->disk)
				disk_queue_hurry(path->disk);
}

int scsi_queue_fd(const struct scsi_queue *queue)
{
	return queue->fd;
}

unsigned scsi_queue_pending(const struct scsi_queue *queue)
{
	return queue->tasks + queue->orphans;
}
