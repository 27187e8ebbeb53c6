/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "base/loop.h"
#include "device/device_internal.h"
#include "mem/dirty.h"

/*
 * The bell of a dirty log: by it a front end hears that pages are logged which were not (vhost-user: "SET_LOG_FD").
 *
 * Workers do not raise it. They leave word in the log for each bit that was not there (mem/dirty.h), and the control thread looks for
 * that every LOG_BELL_LOOK_MS while something is logged and the peer wants to hear of it. So a frame costs nothing for it, and
 * whatever the workers mark in that time is one signal. A bit that the peer has not taken is no news.
 *
 * Nothing is told while all queues stand still, and what a queue has marked is told of before the peer hears that it has stopped: at
 * each stop there is one signal more, if there is news.
 *
 * The bell is the peer's, and may be slow (signal.c): then there is none for LOG_BELL_PAUSE_TIMES as long as it has taken, not at a stop
 * either, and also in the sessions that follow. What is left out meanwhile is told of later, by the first look after the pause at which
 * a queue goes round.
 */

#define LOG_BELL_LOOK_MS 10u
#define LOG_BELL_SLOW_NS UINT64_C(100000) /* of CPU */
#define LOG_BELL_PAUSE_TIMES 100u

static uint64_t log_bell_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void log_bell_raise(struct log_bell *log_bell)
{
	uint64_t start = log_bell_cpu_ns();
	uint64_t took = bell_raise(&log_bell->bell) ? bell_cost_take_ns(&log_bell->bell) : log_bell_cpu_ns() - start;

	if (took >= LOG_BELL_SLOW_NS)
		log_bell->quiet_until_ns = clock_now_ns() + LOG_BELL_PAUSE_TIMES * took;
}

void log_bell_tell(struct vireo_device *device)
{
	struct log_bell *log_bell = &device->log_bell;

	if (log_bell->bell.fd < 0 || !device_logs(device) || clock_now_ns() < log_bell->quiet_until_ns)
		return;
	if (dirty_log_news_take(device->dirty_log))
		log_bell_raise(log_bell);
}

static void log_bell_look(void *opaque)
{
	struct vireo_device *device = opaque;

	device->log_bell.looks = false;
	if (device_running(device))
		log_bell_tell(device);
	log_bell_begin(device);
}

/* A look that is due is not put off. */
void log_bell_begin(struct vireo_device *device)
{
	struct log_bell *log_bell = &device->log_bell;

	if (!log_bell->timer || log_bell->looks || !device_logs(device))
		return;
	log_bell->looks = true;
	loop_timer_start(log_bell->timer, LOG_BELL_LOOK_MS);
}

void log_bell_end(struct vireo_device *device)
{
	struct log_bell *log_bell = &device->log_bell;

	if (log_bell->timer)
		loop_timer_free(&log_bell->timer);
	log_bell->looks = false;
	bell_unset(&log_bell->bell);
}

void log_bell_fini(struct vireo_device *device)
{
	bell_forget(&device->log_bell.bell);
}

int device_log_bell_set(struct vireo_device *device, int fd)
{
	struct log_bell *log_bell = &device->log_bell;
	int r = log_bell->timer ? 0 : loop_timer_new(device->loop, log_bell_look, device, &log_bell->timer);

	if (r)
		return r;
	log_bell->bell.drop = device_drop_get(device);
	r = bell_set(&log_bell->bell, device->notifier, fd);
	if (!r)
		log_bell_begin(device);
	return r;
}

int device_log_bell_fd(const struct vireo_device *device)
{
	return device->log_bell.bell.fd;
}
