/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A burst to a port looks at sw_port.limited in any case (deliver.c). While somebody asks, each port has PORT_COUNTED there, and the burst takes
 * the way of those that have limits: that is all that counting costs others, and it costs nothing while nobody asks.
 *
 * A worker counts in rows of its own, which it finds by the ids of both ports and knows by their serial numbers, for an id may be given to
 * another port. A row that is taken stays: where there is none for a pair, the pair is not counted. Who asks after a while of silence gets new
 * rows; the old ones are freed when no worker uses them any more.
 */

#include "switch/talk.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "work/grace.h"
#include <errno.h>
#include <stdlib.h>

#define ROWS   2048u /* a power of two; of a worker */
#define PROBES 16u

/* Written by its worker. Free as long as there are no frames: then the control thread does not look at the rest. */
struct talk_row {
	uint64_t from, to; /* serial numbers */
	uint64_t frames, bytes;
	uint16_t from_id, to_id;
};

struct talk {
	struct grace_item gone;
	struct talk_row rows[]; /* ROWS for each worker */
};

/* ---- workers ---- */

/* NULL: there is no room for another pair. */
static struct talk_row *row_of(struct talk_row *rows, const struct sw_port *from, const struct sw_port *to)
{
	unsigned at = from->id * 0x9e5u + to->id;

	for (unsigned i = 0; i < PROBES; i++) {
		struct talk_row *row = &rows[(at + i) % ROWS];

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
	struct talk_row *row;
	uint64_t bytes = 0;

	if (!talk || from == to) /* the switch's own questions to the port */
		return;
	row = row_of(talk->rows + (size_t)forwarder->worker.index * ROWS, from, to);
	if (!row)
		return;
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

static int begin(struct sw *sw)
{
	struct talk *talk = calloc(1, sizeof(*talk) + (size_t)sw->worker_count * ROWS * sizeof(talk->rows[0])), *before = sw->talk;
	int err = talk ? 0 : -ENOMEM;

	if (!err && !sw->talk_timer)
		err = loop_timer_new(sw->loop, on_silence, sw, &sw->talk_timer);
	if (err) {
		free(talk);
		return err;
	}
	talk->gone.fn = talk_free;
	__atomic_store_n(&sw->talk, talk, __ATOMIC_RELEASE);
	if (before)
		grace_defer(sw->grace, &before->gone);
	counted_set(sw, true);
	return 0;
}

int sw_talk_ask(struct sw *sw)
{
	int err = sw->talk_counts ? 0 : begin(sw);

	if (!err)
		loop_timer_start(sw->talk_timer, SW_TALK_MS);
	return err;
}

void sw_talk_each(const struct sw *sw, void (*each)(void *opaque, const struct sw_talk_pair *pair), void *opaque)
{
	for (size_t i = 0; sw->talk && i < (size_t)sw->worker_count * ROWS; i++) {
		const struct talk_row *row = &sw->talk->rows[i];
		struct sw_talk_pair pair = {.frames = __atomic_load_n(&row->frames, __ATOMIC_ACQUIRE), .bytes = counter_read(&row->bytes)};
		const struct sw_port *from, *to;

		if (!pair.frames)
			continue;
		from = sw->by_id[row->from_id];
		to = sw->by_id[row->to_id];
		if (!from || !to || from->removing || to->removing || from->serial != row->from || to->serial != row->to)
			continue;
		pair.from = from->name;
		pair.to = to->name;
		each(opaque, &pair);
	}
}

void talk_end(struct sw *sw)
{
	free(sw->talk);
	sw->talk = NULL;
	loop_timer_free(&sw->talk_timer);
}
