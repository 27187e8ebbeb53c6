/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of slots, each with the turn at which it may be used: a slot whose turn is N is free for line number N, one
 * with N + 1 holds line number N. Those who put lines take numbers from `tail`; the writer alone follows with `head`
 * and frees a slot by giving it its next turn, a round later. A thread that is put to sleep between taking a number
 * and filling the slot holds up the writer, and nobody who puts lines.
 *
 * Why a thread, and not a look whether there is room: O_NONBLOCK is the open file's, which a shell or a service
 * manager may share with us, and between poll(2) and write(2) another writer may fill the pipe.
 */
#include "daemon/log_queue.h"
#include "base/fd.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct slot {
	uint64_t turn; /* atomic */
	uint32_t bytes;
	uint32_t lost; /* lines that found no room since the one before this */
	char text[LOG_QUEUE_LINE_BYTES];
};

struct log_queue {
	uint64_t tail;	/* atomic */
	uint64_t head;	/* the writer's */
	uint32_t lost;	/* atomic */
	bool ended;	/* atomic */
	bool held;	/* atomic */
	int fd;
	int event_fd;	/* raised for the writer */
	log_queue_lost_fn *lost_line;
	pthread_t writer;
	struct slot slots[LOG_QUEUE_LINES];
};

static struct slot *slot_of(struct log_queue *queue, uint64_t number)
{
	return &queue->slots[number % LOG_QUEUE_LINES];
}

/* NULL: there is no room. */
static struct slot *slot_take(struct log_queue *queue, uint64_t *ret_number)
{
	uint64_t number = __atomic_load_n(&queue->tail, __ATOMIC_RELAXED);

	for (;;) {
		struct slot *slot = slot_of(queue, number);
		uint64_t turn = __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE);

		if (turn < number)
			return NULL;
		if (turn > number) { /* somebody else has it */
			number = __atomic_load_n(&queue->tail, __ATOMIC_RELAXED);
		} else if (__atomic_compare_exchange_n(&queue->tail, &number, number + 1, true, __ATOMIC_RELAXED,
						       __ATOMIC_RELAXED)) {
			*ret_number = number;
			return slot;
		}
	}
}

void log_queue_put(struct log_queue *queue, const char *line, size_t bytes)
{
	uint64_t number = 0;
	struct slot *slot;

	assert(queue);
	slot = slot_take(queue, &number);
	if (slot) {
		slot->bytes = (uint32_t)(bytes < LOG_QUEUE_LINE_BYTES ? bytes : LOG_QUEUE_LINE_BYTES);
		slot->lost = __atomic_exchange_n(&queue->lost, 0, __ATOMIC_RELAXED);
		memcpy(slot->text, line, slot->bytes);
		slot->text[slot->bytes - 1] = '\n';
		__atomic_store_n(&slot->turn, number + 1, __ATOMIC_RELEASE);
	} else {
		__atomic_fetch_add(&queue->lost, 1, __ATOMIC_RELAXED);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* with log_queue_hold(): the line is seen by who is raised there, or raised for here */
	if (!slot || number % LOG_QUEUE_HELD == LOG_QUEUE_HELD - 1 || !__atomic_load_n(&queue->held, __ATOMIC_RELAXED))
		fd_event_raise(queue->event_fd);
}

void log_queue_hold(struct log_queue *queue, bool on)
{
	__atomic_store_n(&queue->held, on, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!on)
		fd_event_raise(queue->event_fd);
}

/* ---- the writer ---- */

/* Somebody who shares the open file may have made it non-blocking: then it is waited for. */
static bool wait_writable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
}

static bool write_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, text, bytes);

		if (n >= 0) {
			text += n;
			bytes -= (size_t)n;
		} else if (errno != EINTR && !(errno == EAGAIN && wait_writable(fd))) {
			return false;
		}
	}
	return true;
}

/* False: they cannot be told of now, and stay counted. */
static bool write_lost(struct log_queue *queue, uint32_t lost)
{
	char text[LOG_QUEUE_LINE_BYTES];

	if (!lost || write_all(queue->fd, text, queue->lost_line(text, lost)))
		return true;
	__atomic_fetch_add(&queue->lost, lost, __ATOMIC_RELAXED);
	return false;
}

static void write_slot(struct log_queue *queue, const struct slot *slot)
{
	if (!write_lost(queue, slot->lost) || !write_all(queue->fd, slot->text, slot->bytes))
		__atomic_fetch_add(&queue->lost, 1, __ATOMIC_RELAXED); /* a full disk, a reader that has gone */
}

static void write_out(struct log_queue *queue)
{
	struct slot *slot;

	while (slot = slot_of(queue, queue->head),
	       __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) == queue->head + 1) {
		write_slot(queue, slot);
		__atomic_store_n(&slot->turn, queue->head + LOG_QUEUE_LINES, __ATOMIC_RELEASE);
		queue->head++;
	}
	write_lost(queue, __atomic_exchange_n(&queue->lost, 0, __ATOMIC_RELAXED));
}

static void *writer_main(void *opaque)
{
	struct log_queue *queue = opaque;
	struct pollfd event = {.fd = queue->event_fd, .events = POLLIN};
	bool ended;

	do {
		poll(&event, 1, -1);
		fd_event_clear(queue->event_fd);
		ended = __atomic_load_n(&queue->ended, __ATOMIC_ACQUIRE);
		write_out(queue);
	} while (!ended);
	return NULL;
}

/* Signals are for the thread that made the queue: an inherited mask might let them through. */
static int writer_start(struct log_queue *queue)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&queue->writer, NULL, writer_main, queue);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

int log_queue_new(int fd, log_queue_lost_fn *lost_line, struct log_queue **ret_queue)
{
	struct log_queue *queue = calloc(1, sizeof(*queue));
	int err;

	if (!queue)
		return -ENOMEM;
	queue->fd = fd;
	queue->lost_line = lost_line;
	for (unsigned i = 0; i < LOG_QUEUE_LINES; i++)
		queue->slots[i].turn = i;
	err = fd_event_new(&queue->event_fd);
	if (!err) {
		err = writer_start(queue);
		if (err)
			fd_close(&queue->event_fd);
	}
	if (err)
		free(queue);
	else
		*ret_queue = queue;
	return err;
}

static bool joined(struct log_queue *queue, unsigned wait_ms)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += wait_ms / 1000;
	end.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	return !pthread_timedjoin_np(queue->writer, NULL, &end);
}

/* Then it is not for somebody who reads nothing that the thread is not done: it has had no CPU, or a disk is slow. */
static bool takes_more(const struct log_queue *queue)
{
	struct pollfd poll_fd = {.fd = queue->fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLOUT;
}

int log_queue_end(struct log_queue *queue, unsigned wait_ms)
{
	assert(wait_ms);
	__atomic_store_n(&queue->ended, true, __ATOMIC_RELEASE);
	fd_event_raise(queue->event_fd);
	for (unsigned waited_ms = 0; !joined(queue, wait_ms);) {
		waited_ms += wait_ms;
		if (waited_ms >= LOG_QUEUE_TAKES_MS || !takes_more(queue))
			return -ETIMEDOUT;
	}
	fd_close(&queue->event_fd);
	free(queue);
	return 0;
}
