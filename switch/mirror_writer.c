/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A thread of each mirror that goes to an fd: it takes records out of the workers' rings, one ring after the other, and writes them as
 * blocks of pcapng. The fd is a stranger's and may make it wait for ever, which nobody but the mirror feels: its rings fill up, and workers count
 * what they lose. Nobody waits for the thread, either: when it has finished, it says so by the switch's event; when the daemon ends before that, the thread
 * is left to itself, with all that it uses (mirror_writer_abandon()).
 *
 * It sleeps like a worker: it says that it sleeps, full barrier, looks once more. Who puts something does so, full barrier, and looks whether
 * it sleeps. Before that it naps, so that steady traffic does not make workers wake it for each burst.
 *
 * While another process is to go on with the mirror it rests: what the fd has not taken of the buffer goes over (mirror_writer_rest()), and
 * the process that goes on begins with that. One that has begun so rests at first, since the other process may go on after all.
 */

#include "switch/mirror_internal.h"
#include "base/clock.h"
#include "base/fd.h"
#include "switch/pcapng.h"
#include "work/thread.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES SW_MIRROR_REST_MAX /* more than a packet of the longest with all that is said of it */
#define NAP_MS       1
#define HOLD_FIRST   1u /* of one that has begun in another process */
#define TURN_RECORDS 1024u
#define STOPPING_MS  200 /* a reader that takes nothing for so long, when the mirror ends, gets no more */

static bool stopping(const struct mirror_writer *w)
{
	return __atomic_load_n(&w->stop, __ATOMIC_ACQUIRE); /* pairs with mirror_writer_stop() */
}

static uint32_t holding(const struct mirror_writer *w)
{
	return __atomic_load_n(&w->hold, __ATOMIC_ACQUIRE); /* pairs with mirror_writer_hold() */
}

/* Until the fd takes more. -ETIMEDOUT: the reader has gone, or takes nothing although the mirror ends. -EBUSY: it is to rest. */
static int wait_writable(struct mirror_writer *w)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = w->fd, .events = POLLOUT}, {.fd = w->wake_fd, .events = POLLIN}};
		bool last = stopping(w);
		int ready = holding(w) ? 0 : poll(fds, last ? 1 : 2, last ? STOPPING_MS : -1);

		if (ready < 0 && errno != EINTR)
			return -ETIMEDOUT;
		if (holding(w))
			return -EBUSY;
		if (fds[0].revents)
			return 0; /* what is wrong with it, write(2) says */
		if (last && ready <= 0)
			return -ETIMEDOUT;
		if (fds[1].revents)
			fd_event_clear(w->wake_fd);
	}
}

/* A negative errno. */
static int write_out(struct mirror_writer *w)
{
	while (w->written_bytes < w->buffer_bytes) {
		ssize_t n = write(w->fd, w->buffer + w->written_bytes, w->buffer_bytes - w->written_bytes);
		int err = n >= 0 || errno == EINTR ? 0 : errno == EAGAIN ? wait_writable(w) : -errno;

		if (err)
			return err;
		if (n > 0)
			w->written_bytes += (size_t)n;
	}
	w->buffer_bytes = w->written_bytes = 0;
	return 0;
}

/* ---- what is written ---- */

static int need(struct mirror_writer *w, size_t bytes)
{
	return w->buffer_bytes + bytes > BUFFER_BYTES ? write_out(w) : 0;
}

static uint8_t *buffer_at(struct mirror_writer *w)
{
	return (uint8_t *)w->buffer + w->buffer_bytes;
}

static void head_add(const struct sw_mirror *mirror, struct mirror_writer *w)
{
	const struct pcapng_head head = {
		.program = mirror->program,
		.interface = mirror->source_name,
		.filter = mirror->expression,
		.snaplen = mirror->snaplen,
	};

	w->buffer_bytes += pcapng_head(buffer_at(w), &head);
}

/* "dropped: rx_vlan", or, of another port than the one that is mirrored, "dropped at vm2: tx_mtu". */
static const char *comment_of(const struct sw_mirror *mirror, const struct mirror_record *record, const uint8_t *bytes, char text[PCAPNG_EXTRA_MAX / 2])
{
	const char *reason = reason_name(record->reason), *at = (const char *)bytes + record->bytes;
	bool here = record->at_bytes == strlen(mirror->source_name) && !memcmp(at, mirror->source_name, record->at_bytes);

	if (!reason)
		return NULL;
	snprintf(text, PCAPNG_EXTRA_MAX / 2, "dropped%s%.*s: %s", here ? "" : " at ", here ? 0 : (int)record->at_bytes, at, reason);
	return text;
}

static int record_add(const struct sw_mirror *mirror, struct mirror_writer *w, const struct mirror_record *record, const uint8_t *bytes)
{
	char text[PCAPNG_EXTRA_MAX / 2];
	const struct pcapng_packet packet = {
		.ns = record->ns,
		.bytes = record->bytes,
		.frame_bytes = record->frame_bytes,
		.out = record->out,
		.comment = comment_of(mirror, record, bytes, text),
	};
	int err = need(w, record->bytes + PCAPNG_EXTRA_MAX);

	if (!err)
		w->buffer_bytes += pcapng_packet(buffer_at(w), &packet, bytes);
	return err;
}

/* A turn of each ring. Returns how many records, or a negative errno. */
static int drain(const struct sw_mirror *mirror, struct mirror_writer *w)
{
	const struct mirror_record *record;
	const uint8_t *bytes;
	int taken = 0, err = 0;

	for (unsigned i = 0; i < mirror->workers; i++) {
		for (unsigned n = 0; n < TURN_RECORDS && !err && (record = mirror_ring_first(&mirror->rings[i], &bytes)); n++) {
			err = record_add(mirror, w, record, bytes);
			if (!err)
				mirror_ring_drop(&mirror->rings[i]);
			taken += !err;
		}
	}
	if (!err && w->buffer_bytes)
		err = write_out(w);
	return err ? err : taken;
}

static int end_write(const struct sw_mirror *mirror, struct mirror_writer *w)
{
	struct pcapng_end end = {.ns = clock_wall_ns()};
	int err = need(w, PCAPNG_END_MAX);

	end.received = mirror->past.frames + mirror->past.lost;
	end.dropped = mirror->past.lost;
	for (unsigned i = 0; i < mirror->workers; i++) {
		end.received += counter_read(&mirror->counters[i].frames) + counter_read(&mirror->counters[i].lost);
		end.dropped += counter_read(&mirror->counters[i].lost);
	}
	if (!err) {
		w->buffer_bytes += pcapng_end(buffer_at(w), &end);
		err = write_out(w);
	}
	return err;
}

/* ---- the thread ---- */

static bool anything_new(const struct sw_mirror *mirror)
{
	const uint8_t *bytes;

	for (unsigned i = 0; i < mirror->workers; i++)
		if (mirror_ring_first(&mirror->rings[i], &bytes))
			return true;
	return stopping(&mirror->writer) || holding(&mirror->writer) != 0;
}

static void event_raise(struct mirror_writer *w)
{
	pthread_mutex_lock(&w->lock);
	if (w->event_fd >= 0)
		fd_event_raise(w->event_fd);
	pthread_mutex_unlock(&w->lock);
}

/* Until it is held no more, or once more. False: it is to end, and what there is belongs to another process. */
static bool rest_held(struct mirror_writer *w, uint32_t hold)
{
	struct pollfd poll_fd = {.fd = w->wake_fd, .events = POLLIN};

	__atomic_store_n(&w->held, hold, __ATOMIC_RELEASE); /* pairs with mirror_writer_held() */
	event_raise(w);
	while (holding(w) == hold) {
		if (stopping(w))
			return false;
		if (poll(&poll_fd, 1, -1) > 0)
			fd_event_clear(w->wake_fd);
	}
	return true;
}

/* False: the reader has gone, which a pipe or a socket tells. */
static bool rest(const struct sw_mirror *mirror, struct mirror_writer *w, int ms)
{
	struct pollfd fds[] = {{.fd = w->wake_fd, .events = POLLIN}, {.fd = w->fd}};

	if (ms < 0) {
		__atomic_store_n(&w->sleeping, true, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in mirror_writer_wake() */
	}
	if ((ms >= 0 || !anything_new(mirror)) && poll(fds, ARRAY_SIZE(fds), ms) > 0)
		fd_event_clear(w->wake_fd);
	__atomic_store_n(&w->sleeping, false, __ATOMIC_RELAXED);
	return !(fds[1].revents & (POLLERR | POLLHUP | POLLNVAL));
}

static int serve(const struct sw_mirror *mirror, struct mirror_writer *w)
{
	bool stop, again;

	if (!mirror->began)
		head_add(mirror, w);
	if (mirror->began && !rest_held(w, HOLD_FIRST))
		return 0;
	do {
		uint32_t hold;
		int taken;

		stop = stopping(w); /* what was put before that, or before it is to rest, is taken below */
		hold = holding(w);
		taken = drain(mirror, w);
		again = taken;
		if (taken < 0 && taken != -EBUSY)
			return taken;
		if ((taken == -EBUSY || !taken) && hold) {
			again = true;
			if (!rest_held(w, hold))
				return 0;
		} else if (!stop && !rest(mirror, w, taken ? NAP_MS : -1)) {
			return -EPIPE;
		}
	} while (!stop || again);
	return end_write(mirror, w);
}

static void *writer_main(void *opaque)
{
	struct sw_mirror *mirror = opaque;
	struct mirror_writer *w = &mirror->writer;
	bool abandoned;

	w->err = serve(mirror, w);
	fd_close(&w->fd); /* which may wait, too */
	pthread_mutex_lock(&w->lock);
	__atomic_store_n(&w->finished, true, __ATOMIC_RELEASE); /* pairs with mirror_writer_finished() */
	abandoned = w->event_fd < 0;
	if (!abandoned)
		fd_event_raise(w->event_fd);
	pthread_mutex_unlock(&w->lock);
	if (abandoned)
		mirror_free(mirror);
	return NULL;
}

/* ---- others ---- */

int mirror_writer_start(struct sw_mirror *mirror, int event_fd, const struct sw_mirror_past *past)
{
	struct mirror_writer *w = &mirror->writer;
	int err = fd_event_new(&w->wake_fd);

	if (err)
		return err;
	w->event_fd = event_fd;
	w->buffer = malloc(BUFFER_BYTES);
	if (!w->buffer)
		return -ENOMEM;
	if (past) {
		w->hold = w->last_hold = HOLD_FIRST;
		w->buffer_bytes = past->rest_bytes;
		if (past->rest_bytes)
			memcpy(w->buffer, past->rest, past->rest_bytes);
	}
	return thread_start(&w->thread, "sw-mirror", -1, writer_main, mirror);
}

void mirror_writer_wake(struct mirror_writer *w)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in rest() */
	if (__atomic_load_n(&w->sleeping, __ATOMIC_RELAXED) && __atomic_exchange_n(&w->sleeping, false, __ATOMIC_RELAXED))
		fd_event_raise(w->wake_fd);
}

void mirror_writer_stop(struct mirror_writer *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	fd_event_raise(w->wake_fd); /* it may wait for its fd */
}

void mirror_writer_hold(struct mirror_writer *w, bool hold)
{
	__atomic_store_n(&w->hold, hold ? ++w->last_hold : 0, __ATOMIC_RELEASE);
	fd_event_raise(w->wake_fd);
}

bool mirror_writer_held(const struct mirror_writer *w)
{
	return __atomic_load_n(&w->held, __ATOMIC_ACQUIRE) == w->last_hold;
}

bool mirror_writer_finished(struct mirror_writer *w)
{
	return __atomic_load_n(&w->finished, __ATOMIC_ACQUIRE);
}

void mirror_writer_join(struct mirror_writer *w)
{
	if (!w->joined)
		pthread_join(w->thread, NULL);
	w->joined = true;
}

bool mirror_writer_abandon(struct mirror_writer *w)
{
	bool runs;

	pthread_mutex_lock(&w->lock);
	runs = !w->finished;
	if (runs) {
		w->event_fd = -1;
		pthread_detach(w->thread);
	}
	pthread_mutex_unlock(&w->lock);
	return runs;
}

void mirror_writer_fini(struct mirror_writer *w)
{
	fd_close(&w->wake_fd);
	fd_close(&w->fd);
	free(w->buffer);
	pthread_mutex_destroy(&w->lock);
}
