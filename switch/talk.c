/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A burst to a port looks at sw_port.limited in any case (deliver.c). While somebody asks, each port has PORT_COUNTED there, and the burst takes
 * the way of those that have limits: that is all that counting costs others, and it costs nothing while nobody asks.
 *
 * A worker counts in rows of its own, which it finds by the serial numbers of both ports: an id may be given to another port. A row that is
 * taken stays taken: of ports that have gone, and of a flood long ago. Where a worker finds none for a pair, it counts the frames as
 * uncounted. Who asks finds that, and once in SW_TALK_MS gets new rows for it, as who asks after a while of silence does; the old ones are
 * freed when no worker uses them any more.
 */

#include "switch/talk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/scramble.h"
#include "work/grace.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROWS   8192u /* a power of two; of a worker: 64 ports of which each talks to all take half of them */
#define ROWS_BITS 13u
#define PROBES 32u /* while half of the rows are free, one pair in four thousand million finds none */

/* Written by its worker. Free as long as there are no frames: then the control thread does not look at the rest. */
struct talk_row {
	uint64_t from, to; /* serial numbers */
	uint64_t frames, bytes;
	uint16_t from_id, to_id;
};

/* Of one worker, which writes it. */
struct talk_table {
	uint64_t uncounted; /* frames of pairs that have found no row */
	struct talk_row rows[ROWS];
} __attribute__((aligned(CACHE_LINE_BYTES)));

struct talk {
	struct grace_item gone;
	struct talk_table tables[]; /* for each worker */
};

/* ---- workers ---- */

/*
 * NULL: there is no room for another pair. Where to look, and how far on each time, are different bits of the pair's numbers when they are
 * mixed: pairs with one port in common, or with ports that are equally far apart, meet no more often than others.
 */
static struct talk_row *row_of(struct talk_row *rows, const struct sw_port *from, const struct sw_port *to)
{
	uint64_t mixed = scramble((from->serial << 32 ^ to->serial) << 4, 0);
	unsigned at = (unsigned)(mixed >> (64 - ROWS_BITS)), by = (unsigned)(mixed >> 32) | 1; /* odd: it comes by each row */

	for (unsigned i = 0; i < PROBES; i++, at += by) {
		struct talk_row *row = &rows[at % ROWS];

		if (!row->frames) {
			row->from = from->serial;
			row->to = to->serial;
			row->from_id = from->id;
			row->to_id = to->id;
			return row;
		}
		if (row->from == from->serial && row->to == to->serial)
			return row;
	}
	return NULL;
}

void talk_count(const struct forwarder *forwarder, const struct sw_port *to, struct vireo_frame *const *frames, unsigned count)
{
	/* Pairs with the release in sw_talk_ask(). */
	struct talk *talk = __atomic_load_n(&forwarder->sw->talk, __ATOMIC_ACQUIRE);
	const struct sw_port *from = forwarder->burst.from;
	struct talk_table *table;
	struct talk_row *row;
	uint64_t bytes = 0;

	if (!talk || from == to) /* the switch's own questions to the port */
		return;
	table = &talk->tables[forwarder->worker.index];
	row = row_of(table->rows, from, to);
	if (!row) {
		counter_add(&table->uncounted, count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		bytes += frames[i]->len_bytes;
	counter_add(&row->bytes, bytes);
	/* Pairs with the acquire in sw_talk_each(): who sees frames sees whose they are. */
	__atomic_store_n(&row->frames, counter_read(&row->frames) + count, __ATOMIC_RELEASE);
}

/* ---- control thread ---- */

static void talk_free(struct grace_item *item)
{
	free(container_of(item, struct talk, gone));
}

static void counted_set(struct sw *sw, bool on)
{
	struct sw_port *port;

	sw->talk_counts = on;
	TAILQ_FOREACH (port, &sw->ports, link)
		port_limited_set(port, PORT_COUNTED, on);
}

void talk_port_init(struct sw_port *port)
{
	port_limited_set(port, PORT_COUNTED, port->sw->talk_counts);
}

void talk_rest(struct sw *sw)
{
	counted_set(sw, false);
}

static void on_silence(void *opaque)
{
	talk_rest(opaque);
}

static struct talk *talk_new(const struct sw *sw)
{
	size_t bytes = sizeof(struct talk) + switch_forwarders(sw) * sizeof(struct talk_table);
	struct talk *talk = aligned_alloc(CACHE_LINE_BYTES, bytes);

	if (!talk)
		return NULL;
	memset(talk, 0, bytes);
	talk->gone.fn = talk_free;
	return talk;
}

static int begin(struct sw *sw)
{
	struct talk *talk = talk_new(sw), *before = sw->talk;
	int err = talk ? 0 : -ENOMEM;

	if (!err && !sw->talk_timer)
		err = loop_timer_new(sw->loop, on_silence, sw, &sw->talk_timer);
	if (err) {
		free(talk);
		return err;
	}
	__atomic_store_n(&sw->talk, talk, __ATOMIC_RELEASE);
	sw->talk_since_us = clock_now_us();
	if (before)
		grace_defer(sw->grace, &before->gone);
	counted_set(sw, true);
	return 0;
}

/* There are pairs without a row, and others have had theirs for a while. */
static bool crowded(const struct sw *sw)
{
	return clock_now_us() - sw->talk_since_us >= SW_TALK_MS * UINT64_C(1000) && sw_talk_uncounted(sw);
}

int sw_talk_ask(struct sw *sw)
{
	int err = 0;

	if (!sw->talk_counts || crowded(sw))
		err = begin(sw);
	if (err && sw->talk_counts)
		err = 0; /* it goes on with the rows that it has */
	if (!err)
		loop_timer_start(sw->talk_timer, SW_TALK_MS);
	return err;
}

uint64_t sw_talk_since_us(const struct sw *sw)
{
	return sw->talk_since_us;
}

uint64_t sw_talk_uncounted(const struct sw *sw)
{
	uint64_t frames = 0;

	for (unsigned i = 0; sw->talk && i < switch_forwarders(sw); i++)
		frames += counter_read(&sw->talk->tables[i].uncounted);
	return frames;
}

static void tell(const struct sw *sw, const struct talk_row *row, void (*each)(void *opaque, const struct sw_talk_pair *pair), void *opaque)
{
	struct sw_talk_pair pair = {.frames = __atomic_load_n(&row->frames, __ATOMIC_ACQUIRE), .bytes = counter_read(&row->bytes)};
	const struct sw_port *from, *to;

	if (!pair.frames)
		return;
	from = sw->by_id[row->from_id];
	to = sw->by_id[row->to_id];
	if (!from || !to || from->removing || to->removing || from->serial != row->from || to->serial != row->to)
		return;
	pair.from = from->name;
	pair.to = to->name;
	each(opaque, &pair);
}

void sw_talk_each(const struct sw *sw, void (*each)(void *opaque, const struct sw_talk_pair *pair), void *opaque)
{
	for (unsigned i = 0; sw->talk && i < switch_forwarders(sw); i++) {
		for (unsigned j = 0; j < ROWS; j++)
			tell(sw, &sw->talk->tables[i].rows[j], each, opaque);
	}
}

void talk_end(struct sw *sw)
{
	free(sw->talk);
	sw->talk = NULL;
	loop_timer_free(&sw->talk_timer);
}
