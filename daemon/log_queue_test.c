/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "daemon/log_queue.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* More than a pipe and the queue hold, with lines of so many bytes. */
#define LINE_BYTES 100u
#define LINES_MANY 3000u
#define WAIT_MS 20000u

static size_t lost_line(char text[LOG_QUEUE_LINE_BYTES], uint32_t lost)
{
	return (size_t)snprintf(text, LOG_QUEUE_LINE_BYTES, "lost %u\n", lost);
}

static void put(struct log_queue *queue, unsigned who, unsigned number)
{
	char line[LINE_BYTES + 1];

	snprintf(line, sizeof(line), "%u %-*u\n", who, (int)LINE_BYTES - 3, number);
	log_queue_put(queue, line, LINE_BYTES);
}

struct reading {
	FILE *in;
	unsigned lines, lost, reports;
	unsigned next[8]; /* by who wrote: the least number that may follow */
};

/* To the end of what was written. Lines of one writer come in order, each whole. */
static void read_all(struct reading *reading)
{
	char line[2 * LOG_QUEUE_LINE_BYTES];
	unsigned who, number;

	while (fgets(line, sizeof(line), reading->in)) {
		if (sscanf(line, "lost %u", &number) == 1) {
			reading->lost += number;
			reading->reports++;
			continue;
		}
		assert_int_equal(strlen(line), LINE_BYTES);
		assert_int_equal(sscanf(line, "%u %u", &who, &number), 2);
		assert_true(who < 8 && number >= reading->next[who]);
		reading->next[who] = number + 1;
		reading->lines++;
	}
}

static void *read_main(void *opaque)
{
	read_all(opaque);
	return NULL;
}

static void lines_arrive_whole_and_in_order(void **state)
{
	struct reading reading = {0};
	struct log_queue *queue;
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	for (unsigned i = 0; i < LOG_QUEUE_LINES; i++)
		put(queue, 0, i);
	assert_int_equal(log_queue_end(queue, WAIT_MS), 0);
	close(pipe_fd[1]);
	reading.in = fdopen(pipe_fd[0], "r");
	read_all(&reading);
	assert_int_equal(reading.lines, LOG_QUEUE_LINES);
	assert_int_equal(reading.lost, 0);
	fclose(reading.in);
}

/* If putting waited, this would hang. */
static void a_pipe_that_nobody_reads_holds_up_nobody_and_lost_lines_are_counted(void **state)
{
	struct reading reading = {0};
	struct log_queue *queue;
	pthread_t reader;
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	for (unsigned i = 0; i < LINES_MANY; i++)
		put(queue, 0, i);
	assert_false(fcntl(pipe_fd[1], F_GETFL) & O_NONBLOCK);
	reading.in = fdopen(pipe_fd[0], "r");
	assert_int_equal(pthread_create(&reader, NULL, read_main, &reading), 0);
	assert_int_equal(log_queue_end(queue, WAIT_MS), 0);
	close(pipe_fd[1]);
	pthread_join(reader, NULL);
	assert_true(reading.reports >= 1);
	assert_in_range(reading.lines, LOG_QUEUE_LINES, LINES_MANY - 1);
	assert_int_equal(reading.lines + reading.lost, LINES_MANY);
	fclose(reading.in);
}

static void the_end_does_not_wait_for_a_reader_for_ever(void **state)
{
	char text[4096];
	struct log_queue *queue;
	size_t bytes = 0;
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096);
	fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	for (unsigned i = 0; i < LINES_MANY; i++)
		put(queue, 0, i);
	assert_int_equal(log_queue_end(queue, 1), -ETIMEDOUT);
	do { /* once it is read, the thread gets on */
		ssize_t n = read(pipe_fd[0], text, sizeof(text));

		bytes += n > 0 ? (size_t)n : 0;
	} while (log_queue_end(queue, 1));
	assert_in_range(bytes, sizeof(text), (LINES_MANY - 1) * LINE_BYTES);
	close(pipe_fd[1]);
	close(pipe_fd[0]);
}

static void *read_later(void *opaque)
{
	usleep(20000);
	read_all(opaque);
	return NULL;
}

/* A thread that has not come to write by then, here for a pipe that is full, on a file that takes all: as a busy machine has it. */
static void the_end_waits_for_a_file_that_takes_more(void **state)
{
	struct reading first = {0}, rest = {0};
	struct log_queue *queue;
	pthread_t reader;
	int pipe_fd[2], rest_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(pipe(rest_fd), 0);
	fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	for (unsigned i = 0; i < LOG_QUEUE_LINES; i++)
		put(queue, 0, i);
	assert_int_equal(log_queue_end(queue, 1), -ETIMEDOUT);
	dup2(rest_fd[1], pipe_fd[1]);
	first.in = fdopen(pipe_fd[0], "r");
	assert_int_equal(pthread_create(&reader, NULL, read_later, &first), 0);
	assert_int_equal(log_queue_end(queue, 1), 0);
	close(pipe_fd[1]);
	close(rest_fd[1]);
	pthread_join(reader, NULL);
	rest.in = fdopen(rest_fd[0], "r");
	read_all(&rest);
	assert_true(first.lines && rest.lines);
	assert_int_equal(first.lines + rest.lines, LOG_QUEUE_LINES);
	fclose(first.in);
	fclose(rest.in);
}

static bool comes(int fd, int wait_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return poll(&poll_fd, 1, wait_ms) == 1;
}

static void put_held(struct log_queue *queue, unsigned from, unsigned to)
{
	log_queue_hold(queue, true);
	for (unsigned i = from; i < to; i++)
		put(queue, 0, i);
}

/* Nobody is woken for them: not before there are many, or the time is over. The first look only finds what should not be there. */
static void lines_that_are_held_wait_for_many_or_for_the_end_of_that(void **state)
{
	struct reading reading = {0};
	struct log_queue *queue;
	int pipe_fd[2];
	char byte;

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	put_held(queue, 0, LOG_QUEUE_HELD - 1);
	assert_false(comes(pipe_fd[0], 50));
	put(queue, 0, LOG_QUEUE_HELD - 1);
	assert_true(comes(pipe_fd[0], WAIT_MS));
	for (unsigned i = 0; i < LOG_QUEUE_HELD * LINE_BYTES; i++)
		assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
	put_held(queue, LOG_QUEUE_HELD, LOG_QUEUE_HELD + 2);
	assert_false(comes(pipe_fd[0], 50));
	log_queue_hold(queue, false);
	assert_true(comes(pipe_fd[0], WAIT_MS));
	put_held(queue, LOG_QUEUE_HELD + 2, LOG_QUEUE_HELD + 4);
	assert_int_equal(log_queue_end(queue, WAIT_MS), 0);
	close(pipe_fd[1]);
	reading.in = fdopen(pipe_fd[0], "r");
	read_all(&reading);
	assert_int_equal(reading.lines, 4);
	fclose(reading.in);
}

struct writer {
	struct log_queue *queue;
	unsigned who;
	pthread_t thread;
};

static void *put_main(void *opaque)
{
	struct writer *writer = opaque;

	for (unsigned i = 0; i < LINES_MANY; i++)
		put(writer->queue, writer->who, i);
	return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
	struct writer writers[4];
	struct reading reading = {0};
	struct log_queue *queue;
	pthread_t reader;
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	reading.in = fdopen(pipe_fd[0], "r");
	pthread_create(&reader, NULL, read_main, &reading);
	for (unsigned i = 0; i < 4; i++) {
		writers[i] = (struct writer){.queue = queue, .who = i};
		pthread_create(&writers[i].thread, NULL, put_main, &writers[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(writers[i].thread, NULL);
	assert_int_equal(log_queue_end(queue, WAIT_MS), 0);
	close(pipe_fd[1]);
	pthread_join(reader, NULL);
	assert_int_equal(reading.lines + reading.lost, 4 * LINES_MANY);
	fclose(reading.in);
}

static void a_file_that_others_have_made_non_blocking_loses_nothing(void **state)
{
	struct reading reading = {0};
	struct log_queue *queue;
	pthread_t reader;
	int pipe_fd[2];

	assert_int_equal(pipe2(pipe_fd, O_NONBLOCK), 0);
	fcntl(pipe_fd[0], F_SETFL, 0);
	fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(log_queue_new(pipe_fd[1], lost_line, &queue), 0);
	for (unsigned i = 0; i < LOG_QUEUE_LINES; i++)
		put(queue, 0, i);
	reading.in = fdopen(pipe_fd[0], "r");
	pthread_create(&reader, NULL, read_main, &reading);
	assert_int_equal(log_queue_end(queue, WAIT_MS), 0);
	close(pipe_fd[1]);
	pthread_join(reader, NULL);
	assert_int_equal(reading.lines, LOG_QUEUE_LINES);
	fclose(reading.in);
}

/* /dev/full says what a full disk says. */
static void lines_that_a_full_disk_refuses_are_counted_until_there_is_room(void **state)
{
	int full = open("/dev/full", O_WRONLY), pipe_fd[2];
	struct reading reading = {0};
	struct log_queue *queue;

	assert_true(full >= 0);
	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(log_queue_new(full, lost_line, &queue), 0);
	for (unsigned i = 0; i < 10; i++)
		put(queue, 0, i);
	usleep(20000); /* most are refused by now; those that are not will be written, and none is missed */
	dup2(pipe_fd[1], full);
	put(queue, 0, 10);
	assert_int_equal(log_queue_end(queue, WAIT_MS), 0);
	close(pipe_fd[1]);
	close(full);
	reading.in = fdopen(pipe_fd[0], "r");
	read_all(&reading);
	assert_int_equal(reading.lines + reading.lost, 11);
	assert_true(reading.lines >= 1);
	fclose(reading.in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_arrive_whole_and_in_order),
		cmocka_unit_test(a_pipe_that_nobody_reads_holds_up_nobody_and_lost_lines_are_counted),
		cmocka_unit_test(the_end_does_not_wait_for_a_reader_for_ever),
		cmocka_unit_test(the_end_waits_for_a_file_that_takes_more),
		cmocka_unit_test(lines_that_are_held_wait_for_many_or_for_the_end_of_that),
		cmocka_unit_test(lines_of_many_threads_do_not_mix),
		cmocka_unit_test(a_file_that_others_have_made_non_blocking_loses_nothing),
		cmocka_unit_test(lines_that_a_full_disk_refuses_are_counted_until_there_is_room),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
