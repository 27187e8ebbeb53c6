/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Where CPUs are idle, frames go as they come, and a receiver that is slow loses some. Where more threads run than there are CPUs (the worker
 * yields: work/patience.h), that wastes what is short: the sender has the CPU that its receiver needs, each frame or two wake the worker,
 * both guests' interrupts, and a receiver whose driver is called all the time has none left for its programs, whose sockets overflow.
 * Where a burst comes, and not each frame, more arrives in the same time. TCP slows down by itself.
 *
 * So a sender whose burst of UDP has gone to one queue alone waits then, and its next frames stay in its own ring, where they come to be one burst:
 *
 *	pace_end()	the burst is over					pace.serial: it waits for that receiver
 *	after look_us	its driver waits for a signal: it has taken all		pace.seen
 *	after look_us	its programs have had a moment: the next burst
 *
 * look_us is what that driver has usually needed, between 25 and 200 us: it doubles when the first look is too early, and halves when it is
 * not. So who is fast is hardly held up. No burst waits longer than WAIT_US. A receiver that has not been found to wait for
 * a signal by then (it polls, or stands still) is not waited for by the next 16 bursts to it, and by twice as many each time.
 *
 * A sender's frames wait behind one another, and for nobody else's sake: a burst that goes to several ports is never followed by a
 * wait. Meanwhile its queue is armed without asking for kicks, and the worker looks again at the time (due_ns). The receiver is named as letters
 * name ports, by its serial number; one that is gone is not waited for.
 */

#include "switch/pace.h"
#include "switch/claim.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/topology.h"

#define LOOK_MIN_US 25u
#define LOOK_MAX_US 200u
#define WAIT_US     2000u
#define SKIPS_MIN   16u
#define SKIPS_MAX   4096u
#define NS_OF_US    1000u

bool pace_begin(struct forwarder *forwarder)
{
	forwarder->pacer.lists = 0;
	return !forwarder->sw->unpaced;
}

void pace_note(struct forwarder *forwarder, const struct sw_port *port, const struct out_queue *queue, const struct sw_port_ops *ops)
{
	struct pacer *pacer = &forwarder->pacer;

	pacer->lists++;
	pacer->serial = ops->awaits ? port->serial : 0;
	pacer->port = port->id;
	pacer->queue = (uint16_t)queue->number;
}

/* ---- who waits ---- */

static struct in_queue *paced_queue(const struct worker *worker, const struct paced *paced)
{
	const struct work_list *mine = &worker->table->lists[worker->index];
	struct source *source = paced->slot < mine->slot_count ? mine->slots[paced->slot] : NULL;
	struct in_queue *in = source && source->state != SOURCE_DEAD ? container_of(source, struct in_queue, source) : NULL;

	return in && in->port->serial == paced->serial && in->number == paced->queue ? in : NULL;
}

static void look_later(struct forwarder *forwarder, struct pace *pace)
{
	pace->at_ns = min_u64(forwarder->worker.now_ns + (uint64_t)pace->look_us * NS_OF_US, pace->until_ns);
	worker_due_at(&forwarder->worker, pace->at_ns);
}

/* Is this who was not found to wait for signals? */
static bool skipped(struct pace *pace, uint64_t serial)
{
	if (!pace->skip || serial != pace->deaf)
		return false;
	pace->skip--;
	return true;
}

/* TCP waits for its receiver by itself, and its acknowledgements are not to wait. */
static bool all_udp(const struct burst *burst)
{
	unsigned i = 0;

	while (i < burst->count && flow_is_udp(&burst->frames[i]))
		i++;
	return i == burst->count;
}

void pace_end(struct forwarder *forwarder, struct in_queue *in)
{
	struct pacer *pacer = &forwarder->pacer;
	struct pace *pace = &in->pace;

	if (pacer->lists != 1 || !pacer->serial || pacer->count == PACED_MAX || !all_udp(&forwarder->burst) ||
	    skipped(pace, pacer->serial))
		return;
	pacer->list[pacer->count++] = (struct paced){.serial = in->port->serial, .slot = in->source.slot, .queue = in->number};
	counter_add(&in->port->counters[forwarder->worker.index].rx_paced, 1);
	pace->serial = pacer->serial;
	pace->port = pacer->port;
	pace->queue = pacer->queue;
	pace->looked = pace->seen = false;
	pace->look_us = pace->look_us ? pace->look_us : LOOK_MIN_US;
	worker_clock_read(&forwarder->worker);
	pace->until_ns = forwarder->worker.now_ns + (uint64_t)WAIT_US * NS_OF_US;
	look_later(forwarder, pace);
}

/* ---- it is time ---- */

/* Of a queue that is gone nothing is known, and nothing to be waited for. */
static bool receiver_awaits(struct forwarder *forwarder, const struct pace *pace)
{
	const struct topology_port *to = topology_port(topology_of(forwarder->worker.table), pace->port);
	struct out_queue *out = to && to->port->serial == pace->serial ? topology_out(to, pace->queue) : NULL;
	bool awaits;

	if (!out || !to->ops->awaits)
		return true;
	if (!claim(forwarder, out))
		return false;
	awaits = __atomic_load_n(&out->held, __ATOMIC_ACQUIRE) || to->ops->awaits(to->opaque, pace->queue);
	unclaim(forwarder, out);
	return awaits;
}

/* True: the next burst may come. */
static bool look(struct forwarder *forwarder, struct pace *pace)
{
	if (pace->seen)
		return true;
	pace->seen = receiver_awaits(forwarder, pace);
	if (pace->seen) {
		if (pace->serial == pace->deaf)
			pace->skips = 0;
		if (!pace->looked)
			pace->look_us = (uint32_t)max_u64(pace->look_us / 2, LOOK_MIN_US);
		return false;
	}
	if (!pace->looked)
		pace->look_us = min_u32(2 * pace->look_us, LOOK_MAX_US);
	pace->looked = true;
	if (forwarder->worker.now_ns < pace->until_ns)
		return false;
	if (pace->serial != pace->deaf)
		pace->skips = 0;
	pace->deaf = pace->serial;
	pace->skips = pace->skips ? (uint16_t)min_u32(2 * pace->skips, SKIPS_MAX) : SKIPS_MIN;
	pace->skip = pace->skips;
	return true;
}

void pace_due(struct forwarder *forwarder)
{
	struct worker *worker = &forwarder->worker;
	struct pacer *pacer = &forwarder->pacer;
	unsigned kept = 0;

	for (unsigned i = 0; i < pacer->count; i++) {
		struct paced paced = pacer->list[i];
		struct in_queue *in = paced_queue(worker, &paced);

		if (!in || !in->pace.serial)
			continue;
		if (in->pace.at_ns <= worker->now_ns) {
			if (look(forwarder, &in->pace)) {
				in->pace.serial = 0;
				worker_resume(worker, &in->source);
				continue;
			}
			look_later(forwarder, &in->pace);
		}
		pacer->list[kept++] = paced;
		worker_due_at(worker, in->pace.at_ns);
	}
	pacer->count = kept;
}
