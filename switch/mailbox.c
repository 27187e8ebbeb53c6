/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Frames that do not come from a queue: the control thread leaves them in a worker's mailbox, and the worker forwards
 * them as if their port had sent them. A letter names its port by serial number, since the port may be gone,
 * and its id somebody else's, when the letter is read.
 */

#include "switch/worker.h"
#include <stdlib.h>
#include <string.h>

void mailbox_put(struct worker *worker, struct letter *letter)
{
	letter->next = __atomic_load_n(&worker->mailbox, __ATOMIC_RELAXED);
	/* Release: pairs with the acquire in mailbox_take(). */
	while (!__atomic_compare_exchange_n(&worker->mailbox, &letter->next, letter, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

/* All that is there, oldest first. */
static struct letter *mailbox_take(struct worker *worker)
{
	struct letter *newest = __atomic_exchange_n(&worker->mailbox, NULL, __ATOMIC_ACQUIRE);
	struct letter *oldest = NULL;

	while (newest) {
		struct letter *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

static void letter_forward(struct worker *worker, struct letter *letter)
{
	const struct topology_port *from = topology_port(worker->topology, letter->port);
	struct iovec iov = {letter->data, letter->bytes};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = letter->bytes};
	struct port_counters *counters;

	if (!from || from->port->serial != letter->serial)
		return;
	memcpy(frame.head, letter->data, min_u32(letter->bytes, VIREO_FRAME_HEAD_BYTES));
	counters = &from->port->counters[worker->index];
	counter_add(&counters->injected_frames, 1);
	counter_add(&counters->injected_bytes, letter->bytes);
	worker->burst.topology = worker->topology;
	worker->burst.from = from->port;
	worker->burst.frames = &frame;
	worker->burst.count = 1;
	forward_burst(worker, &worker->burst);
}

void mailbox_forward(struct worker *worker)
{
	struct letter *letter = mailbox_take(worker);

	while (letter) {
		struct letter *next = letter->next;

		letter_forward(worker, letter);
		free(letter);
		letter = next;
	}
}

void mailbox_drop(struct worker *worker)
{
	struct letter *letter = mailbox_take(worker);

	while (letter) {
		struct letter *next = letter->next;

		free(letter);
		letter = next;
	}
}
