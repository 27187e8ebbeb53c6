/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_LOG_QUEUE_H
#define DAEMON_LOG_QUEUE_H

/*
 * Lines on their way to a file that may make its writers wait: a pipe that nobody reads, a terminal that was stopped,
 * a disk. A thread of the queue's own writes them, and nobody else ever waits: what finds no room is dropped and
 * counted, and the count is written where the lines would have been.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_QUEUE_LINES 256u
#define LOG_QUEUE_LINE_BYTES 1024u /* with its newline */

struct log_queue;

/* Writes the line, newline and all, that tells of `lost` lines. Returns its length. The queue's thread. */
typedef size_t log_queue_lost_fn(char text[LOG_QUEUE_LINE_BYTES], uint32_t lost);

/* fd (borrowed) may be anything that takes write(2), and is not changed: others may share the open file. */
int log_queue_new(int fd, log_queue_lost_fn *lost_line, struct log_queue **ret_queue);

/* A line with its newline; what is longer is cut. Any thread; never waits, takes no lock. */
void log_queue_put(struct log_queue *queue, const char *line, size_t bytes);

/*
 * From now on lines wait until there are LOG_QUEUE_HELD of them, or until this is over: to wake the thread for each costs who puts them
 * more than all the rest. Any thread.
 */
#define LOG_QUEUE_HELD 64u

void log_queue_hold(struct log_queue *queue, bool on);

/*
 * Nobody puts lines any more. Waits for those that are there to be written: wait_ms (not 0) where the file takes no more, LOG_QUEUE_TAKES_MS or
 * wait_ms where it does, and its thread only comes to nothing on a busy machine. 0, and the queue is gone, or -ETIMEDOUT: its thread
 * hangs in write(2), and keeps the queue; to ask again is allowed.
 */
#define LOG_QUEUE_TAKES_MS 5000u

int log_queue_end(struct log_queue *queue, unsigned wait_ms);

#endif
