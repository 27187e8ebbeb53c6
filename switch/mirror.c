/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A mirror's way, in the control thread:
 *
 *	sw_mirror_add()		hooked: workers find it at its source (sw_port.mirrors)
 *	unhook()		no worker finds it any more; a grace period
 *	on_quiet()		none uses it any more: its thread writes what is there, and ends
 *	mirrors_look()		its thread has ended
 *	settle()		gone, if it is to go; or it stays, with what went wrong, for people to see
 *
 * It is unhooked by sw_mirror_remove(), when a port goes, or when its thread ends by itself, for there is an error. Nobody waits for the
 * thread, who may wait for a stranger.
 */

#include "switch/mirror_internal.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "switch/core.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define END_MS 500u /* for all threads together, when the switch ends */

/* ---- hooks ---- */

static void flags_set(struct sw_port *port)
{
	bool any = false;

	for (unsigned i = 0; i < SW_PORT_MIRRORS_MAX; i++)
		any |= port->mirrors[i] != NULL;
	port_gate_set(port, GATE_MIRRORED, any);
	port_limited_set(port, PORT_MIRRORED, any);
}

/* There is a place. */
static void hook(struct sw_mirror *mirror)
{
	struct sw_port *port = mirror->source;
	unsigned i = 0;

	while (port->mirrors[i])
		i++;
	__atomic_store_n(&port->mirrors[i], mirror, __ATOMIC_RELEASE); /* pairs with the acquire in mirror_burst.c (copy) */
	mirror->hooked = true;
	flags_set(port);
}

static void unhook(struct sw_mirror *mirror)
{
	struct sw_port *port = mirror->source;

	if (!mirror->hooked)
		return;
	for (unsigned i = 0; i < SW_PORT_MIRRORS_MAX; i++)
		if (port->mirrors[i] == mirror)
			__atomic_store_n(&port->mirrors[i], NULL, __ATOMIC_RELAXED);
	flags_set(port);
	mirror->hooked = false;
	mirror->source = NULL;
	grace_defer(mirror->sw->grace, &mirror->gone);
}

/* ---- the end ---- */

void mirror_free(struct sw_mirror *mirror)
{
	for (unsigned i = 0; mirror->rings && i < mirror->workers; i++)
		mirror_ring_fini(&mirror->rings[i]);
	free(mirror->rings);
	free(mirror->counters);
	mirror_writer_fini(&mirror->writer);
	free(mirror->filter);
	free(mirror->source_name);
	free(mirror->where);
	free(mirror->program);
	free(mirror->expression);
	free(mirror);
}

static void leave(struct sw_mirror *mirror)
{
	TAILQ_REMOVE(&mirror->sw->mirrors, mirror, link);
	if (mirror->done)
		mirror->done(mirror->done_opaque);
}

static void settle(struct sw_mirror *mirror)
{
	if (!mirror->quiet || !mirror->removing || (!mirror->to_port && !mirror->writer.joined))
		return;
	leave(mirror);
	mirror_free(mirror);
}

static void on_quiet(struct grace_item *item)
{
	struct sw_mirror *mirror = container_of(item, struct sw_mirror, gone);

	mirror->quiet = true;
	if (!mirror->to_port && !mirror->writer.joined)
		mirror_writer_stop(&mirror->writer);
	settle(mirror);
}

/* Its thread has ended. Who has not asked for that wants to know why. */
static void ended(struct sw_mirror *mirror)
{
	mirror_writer_join(&mirror->writer);
	mirror->err = mirror->writer.err;
	if (mirror->hooked && mirror->err == -EPIPE) {
		log_info(&mirror->sw->log, "mirror %u: %s to %s: its reader has gone, and so does the mirror", mirror->id, mirror->source_name,
			 mirror->where);
		mirror->removing = true;
	} else if (mirror->hooked) {
		log_warning(&mirror->sw->log, "mirror %u: %s to %s: %s: nothing is copied any more", mirror->id, mirror->source_name, mirror->where,
			    strerror(-mirror->err));
	}
	unhook(mirror);
	settle(mirror);
}

/* ---- another process is to go on ---- */

/* Has it a thread that could rest, or go on? */
static bool writes(const struct sw_mirror *mirror)
{
	return !mirror->to_port && !mirror->writer.joined;
}

static void held_look(struct sw *sw)
{
	void (*held)(void *opaque) = sw->mirrors_held;
	struct sw_mirror *mirror;

	/* One that has finished is looked at first (mirrors_look), so that what is told of it is that it has. */
	TAILQ_FOREACH(mirror, &sw->mirrors, link)
		if (writes(mirror) && !mirror_writer_held(&mirror->writer))
			return;
	sw->mirrors_held = NULL;
	if (held)
		held(sw->mirrors_held_opaque);
}

static void hold_set(struct sw *sw, bool hold)
{
	struct sw_mirror *mirror;

	TAILQ_FOREACH(mirror, &sw->mirrors, link)
		if (writes(mirror))
			mirror_writer_hold(&mirror->writer, hold);
}

void sw_mirrors_hold(struct sw *sw, void (*held)(void *opaque), void *opaque)
{
	sw->mirrors_held = held;
	sw->mirrors_held_opaque = opaque;
	hold_set(sw, true);
	held_look(sw);
}

void sw_mirrors_go_on(struct sw *sw)
{
	void (*held)(void *opaque) = sw->mirrors_held;

	sw->mirrors_held = NULL;
	hold_set(sw, false);
	if (held)
		held(sw->mirrors_held_opaque);
}

/* What its thread has not taken out of the rings has been counted, and is lost to whoever goes on. */
static uint64_t ring_frames(const struct mirror_ring *ring)
{
	struct mirror_ring look = *ring;
	const uint8_t *bytes;
	uint64_t count = 0;

	for (; mirror_ring_first(&look, &bytes); count++)
		mirror_ring_drop(&look);
	return count;
}

void sw_mirror_tell(const struct sw_mirror *mirror, struct sw_mirror_past *ret_past, int *ret_fd, const struct packet_filter_step **ret_filter,
		    unsigned *ret_steps)
{
	const struct mirror_writer *w = &mirror->writer;
	struct sw_mirror_status status;
	uint64_t left = 0;

	for (unsigned i = 0; mirror->rings && i < mirror->workers; i++)
		left += ring_frames(&mirror->rings[i]);
	sw_mirror_status(mirror, &status); /* after that: a frame is counted before it is shown in a ring */
	*ret_past = (struct sw_mirror_past){.id = mirror->id, .frames = status.frames - left, .bytes = status.bytes, .lost = status.lost + left};
	if (!mirror->to_port) {
		ret_past->rest = w->buffer + w->written_bytes;
		ret_past->rest_bytes = w->buffer_bytes - w->written_bytes;
	}
	*ret_fd = mirror->to_port ? -1 : w->fd;
	*ret_filter = mirror->filter;
	*ret_steps = mirror->filter_steps;
}

void mirrors_look(struct sw *sw)
{
	struct sw_mirror *mirror = TAILQ_FIRST(&sw->mirrors);

	while (mirror) {
		bool now = !mirror->to_port && !mirror->writer.joined && mirror_writer_finished(&mirror->writer);

		if (now)
			ended(mirror); /* whoever hears of it may remove others, and the next one is not there any more */
		mirror = now ? TAILQ_FIRST(&sw->mirrors) : TAILQ_NEXT(mirror, link);
	}
	held_look(sw);
}

int sw_mirror_remove(struct sw_mirror *mirror, void (*done)(void *opaque), void *opaque)
{
	if (mirror->removing)
		return -EALREADY;
	mirror->removing = true;
	mirror->done = done;
	mirror->done_opaque = opaque;
	unhook(mirror);
	settle(mirror);
	return 0;
}

static bool concerns(const struct sw_mirror *mirror, const struct sw_port *port)
{
	return mirror->source == port || (mirror->to_port && mirror->to_serial == port->serial);
}

void mirrors_port_left(const struct sw_port *port)
{
	struct sw_mirror *next;

	for (struct sw_mirror *mirror = TAILQ_FIRST(&port->sw->mirrors); mirror; mirror = next) {
		next = TAILQ_NEXT(mirror, link);
		if (!mirror->hooked || !concerns(mirror, port))
			continue;
		log_info(&port->sw->log, "mirror %u: %s to %s: port %s is removed, and so is the mirror", mirror->id, mirror->source_name,
			 mirror->where, port->name);
		mirror->removing = true;
		unhook(mirror);
	}
}

static bool all_finished(struct sw *sw)
{
	struct sw_mirror *mirror;

	TAILQ_FOREACH(mirror, &sw->mirrors, link)
		if (!mirror->to_port && !mirror->writer.joined && !mirror_writer_finished(&mirror->writer))
			return false;
	return true;
}

void mirrors_end(struct sw *sw)
{
	uint64_t end_ms = clock_now_ms() + END_MS;
	struct sw_mirror *mirror;

	while (!all_finished(sw) && clock_now_ms() < end_ms)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	while ((mirror = TAILQ_FIRST(&sw->mirrors))) {
		leave(mirror);
		if (!mirror->to_port && !mirror->writer.joined && mirror_writer_abandon(&mirror->writer))
			continue;
		if (!mirror->to_port)
			mirror_writer_join(&mirror->writer);
		mirror_free(mirror);
	}
}

/* ---- the beginning ---- */

static int filter_copy(struct sw_mirror *mirror, const struct sw_mirror_config *config)
{
	size_t bytes = config->filter_steps * sizeof(*config->filter);

	if (!config->filter_steps)
		return 0;
	if (!packet_filter_valid(config->filter, config->filter_steps))
		return -EINVAL;
	mirror->filter = malloc(bytes);
	if (!mirror->filter)
		return -ENOMEM;
	memcpy(mirror->filter, config->filter, bytes);
	mirror->filter_steps = config->filter_steps;
	mirror->filter_reach = packet_filter_reach(mirror->filter, mirror->filter_steps);
	return 0;
}

static int text_copy(const char *text, char **ret_text)
{
	*ret_text = text ? strdup(text) : NULL;
	return text && !*ret_text ? -ENOMEM : 0;
}

static int texts_copy(struct sw_mirror *mirror, const struct sw_mirror_config *config)
{
	int err = text_copy(config->source->name, &mirror->source_name);

	if (!err)
		err = text_copy(config->where, &mirror->where);
	if (!err)
		err = text_copy(config->program, &mirror->program);
	return err ? err : text_copy(config->expression, &mirror->expression);
}

static int rings_new(struct sw_mirror *mirror)
{
	size_t bytes = mirror->workers * sizeof(*mirror->rings);
	int err = 0;

	mirror->rings = aligned_alloc(CACHE_LINE_BYTES, bytes);
	if (!mirror->rings)
		return -ENOMEM;
	memset(mirror->rings, 0, bytes);
	for (unsigned i = 0; !err && i < mirror->workers; i++)
		err = mirror_ring_init(&mirror->rings[i]);
	return err;
}

static int counters_new(struct sw_mirror *mirror)
{
	size_t bytes = mirror->workers * sizeof(*mirror->counters);

	mirror->counters = aligned_alloc(CACHE_LINE_BYTES, bytes);
	if (!mirror->counters)
		return -ENOMEM;
	memset(mirror->counters, 0, bytes);
	return 0;
}

static int mirror_fill(struct sw_mirror *mirror, const struct sw_mirror_config *config)
{
	int err = filter_copy(mirror, config);

	mirror->source = config->source;
	mirror->gone.fn = on_quiet;
	mirror->workers = switch_forwarders(mirror->sw);
	mirror->snaplen = config->snaplen && config->snaplen < SW_MIRROR_SNAPLEN ? config->snaplen : SW_MIRROR_SNAPLEN;
	mirror->to_port = config->to;
	if (config->past) {
		mirror->began = true;
		mirror->past = (struct mirror_counters){.frames = config->past->frames, .bytes = config->past->bytes, .lost = config->past->lost};
	}
	if (config->to) {
		mirror->to_id = config->to->id;
		mirror->to_serial = config->to->serial;
	}
	if (!err)
		err = texts_copy(mirror, config);
	if (!err)
		err = counters_new(mirror);
	if (!err && !mirror->to_port)
		err = rings_new(mirror);
	return err;
}

/* What is not mirrored may be where a mirror goes to, and the other way round: so no frame is copied twice, or for ever. */
static int allowed(const struct sw *sw, const struct sw_mirror_config *config)
{
	unsigned all = 0, same = 0;
	struct sw_mirror *mirror;

	if (config->source == config->to)
		return -ELOOP;
	TAILQ_FOREACH(mirror, &sw->mirrors, link) {
		all++;
		same += mirror->source == config->source;
		if (config->past && config->past->id == mirror->id)
			return -EINVAL;
		if (!mirror->hooked)
			continue;
		if (mirror->to_port && mirror->to_serial == config->source->serial)
			return -ELOOP;
		if (mirror->source == config->to)
			return -ELOOP;
	}
	if (config->past && (!config->past->id || config->past->rest_bytes > SW_MIRROR_REST_MAX))
		return -EINVAL;
	return all < SW_MIRRORS_MAX && same < SW_PORT_MIRRORS_MAX ? 0 : -ENOSPC;
}

static int mirror_new(struct sw *sw, const struct sw_mirror_config *config, struct sw_mirror **ret_mirror)
{
	struct sw_mirror *mirror = calloc(1, sizeof(*mirror));
	int err;

	if (!mirror)
		return -ENOMEM;
	mirror->sw = sw;
	mirror->writer.fd = mirror->writer.wake_fd = -1;
	pthread_mutex_init(&mirror->writer.lock, NULL);
	err = mirror_fill(mirror, config);
	if (!err && !mirror->to_port) {
		mirror->writer.fd = config->fd;
		err = mirror_writer_start(mirror, sw->event_fd, config->past);
	}
	if (err) {
		mirror->writer.fd = -1; /* the caller's still */
		mirror_free(mirror);
		return err;
	}
	*ret_mirror = mirror;
	return 0;
}

int sw_mirror_add(struct sw *sw, const struct sw_mirror_config *config, struct sw_mirror **ret_mirror)
{
	struct sw_mirror *mirror;
	int err = allowed(sw, config);

	if (!err)
		err = mirror_new(sw, config, &mirror);
	if (err)
		return err;
	mirror->id = config->past ? config->past->id : sw->last_mirror + 1;
	if (mirror->id > sw->last_mirror)
		sw->last_mirror = mirror->id;
	TAILQ_INSERT_TAIL(&sw->mirrors, mirror, link);
	hook(mirror);
	*ret_mirror = mirror;
	return 0;
}

/* ---- what there is ---- */

struct sw_mirror *sw_mirror_next(struct sw *sw, struct sw_mirror *previous)
{
	struct sw_mirror *mirror = previous ? TAILQ_NEXT(previous, link) : TAILQ_FIRST(&sw->mirrors);

	while (mirror && mirror->removing)
		mirror = TAILQ_NEXT(mirror, link);
	return mirror;
}

bool sw_mirrors_leave(const struct sw *sw)
{
	const struct sw_mirror *mirror;

	TAILQ_FOREACH(mirror, &sw->mirrors, link)
		if (mirror->removing)
			return true;
	return false;
}

struct sw_mirror *sw_mirror_find(struct sw *sw, unsigned id)
{
	struct sw_mirror *mirror = sw_mirror_next(sw, NULL);

	while (mirror && mirror->id != id)
		mirror = sw_mirror_next(sw, mirror);
	return mirror;
}

void sw_mirror_status(const struct sw_mirror *mirror, struct sw_mirror_status *ret_status)
{
	struct sw_mirror_status status = {
		.id = mirror->id,
		.source = mirror->source_name,
		.where = mirror->where,
		.expression = mirror->expression,
		.filters = mirror->filter_steps,
		.snaplen = mirror->snaplen,
		.err = mirror->err,
		.frames = mirror->past.frames,
		.bytes = mirror->past.bytes,
		.lost = mirror->past.lost,
	};

	for (unsigned i = 0; i < mirror->workers; i++) {
		status.frames += counter_read(&mirror->counters[i].frames);
		status.bytes += counter_read(&mirror->counters[i].bytes);
		status.lost += counter_read(&mirror->counters[i].lost);
	}
	*ret_status = status;
}
