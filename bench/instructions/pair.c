/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The worker's thread is the only one that touches a pair: both drivers do their part inside the receive operation of their port, where
 * nothing is counted. So the worker never finds a queue without frames, and nothing depends on time.
 */

#include "bench/instructions/pair.h"
#include "bench/common/clock.h"
#include "bench/instructions/count.h"

/* Of the bursts that are not counted: what is silent comes to be left alone, */
#define STEP_NS	      20000u
#define POLL_STEP_NS 4000000u /* and where it is polled, to be asked seldom, and then no more: */
#define ROUND_NS      1300u /* as often as it is in so long, about what a round takes */

/* ---- what the drivers do ---- */

static struct bench_port *first_of(struct pair *pair)
{
	return pair->ports;
}

/* True: all that the guest had sent has been taken. */
static bool take(struct bench_port *port, const struct bench_port *other)
{
	struct guest *g = &port->guest;

	if (port->pair->by_clock) {
		port->pair->frames += guest_take_some(g, other->guest.number);
		return !guest_sent_some(g);
	}
	guest_sent(g, port->sent_bursts ? BURST : 0);
	guest_take(g, other->guest.number, other->guest.to_send - g->to_take - port->kept);
	return true;
}

static void drove(struct pair *pair, uint64_t since)
{
	uint64_t cycles = clock_now() - since;

	pair->driver_cycles += cycles;
	clock_skip(cycles);
}

static void drive(void *opaque)
{
	struct bench_port *port = opaque, *first = first_of(port->pair), *other = first + (port == first);
	struct guest *g = &port->guest;
	uint64_t begin = clock_now();
	bool idle = take(port, other);

	if (port == first) { /* it is asked first in each round: between two such moments both have sent as much */
		if (g->c->crowded && port->sent_bursts < WARM_BURSTS)
			clock_step(g->c->polled ? POLL_STEP_NS : STEP_NS);
		else if (g->c->polled && !port->pair->by_clock)
			clock_step(ROUND_NS);
		drove(port->pair, begin);
		port->pair->round(port->pair);
		begin = clock_now();
	}
	if (idle)
		guest_send_burst(g, other->guest.number);
	port->sent_bursts++;
	drove(port->pair, begin);
}

/* So that a worker does not go round and round, and be counted, while ports are still missing. */
static void await_ports(void *opaque)
{
	sem_t *added = opaque;

	while (sem_wait(added))
		;
	sem_post(added); /* holds for good */
}

/*
 * All ports are there. By the clock nobody waits for that within a turn: the switch would take it for a peer that keeps it waiting, and
 * look at its clock in each burst from then on.
 */
static bool added(const struct bench_port *port)
{
	if (!port->pair->by_clock)
		count_toggled(await_ports, port->pair->added);
	else if (sem_trywait(port->pair->added))
		return false;
	else
		sem_post(port->pair->added);
	return true;
}

/*
 * Where there are several pairs all hear of each other's addresses first: no frame of a pair is sent to another one. True: there is one
 * to send.
 */
static bool greet(struct bench_port *port)
{
	struct pair *pair = port->pair;
	unsigned *greeted = pair->greeted;

	if (!port->greets) {
		port->greets = true;
		guest_greet(&port->guest);
		return true;
	}
	if (!port->greeted) { /* what was looked at before has been delivered */
		port->greeted = true;
		guest_sent(&port->guest, 1);
		__atomic_add_fetch(greeted, 1, __ATOMIC_ACQ_REL);
	}
	if (__atomic_load_n(greeted, __ATOMIC_ACQUIRE) < pair->to_greet || port == first_of(pair))
		return false;
	for (unsigned i = 0; i < 2; i++)
		guest_forget(&pair->ports[i].guest);
	pair->begun = true;
	return false;
}

/* True: there is a frame to send. */
static bool begin(struct bench_port *port)
{
	bool knew = port->awaited;

	if (!added(port))
		return false;
	port->awaited = true; /* the worker knows of all ports from its next round on */
	if (port->pair->to_greet)
		return knew && greet(port);
	port->pair->begun = port != first_of(port->pair); /* the one that was added last */
	return false;
}

/* ---- a port, as vireo-switchd makes them ---- */

static int port_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct bench_port *port = opaque;

	if (port->pair->begun)
		count_toggled(drive, port);
	else if (!begin(port))
		return 0;
	return vireo_net_transmit_look(port->guest.net, queue, frames, max);
}

static void port_release(void *opaque, unsigned queue)
{
	const struct bench_port *port = opaque;

	vireo_net_transmit_complete(port->guest.net, queue);
}

static int port_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct bench_port *port = opaque;
	bool whole = port->guest.c->retried && count == BURST; /* the half that has waited is none */

	port->left = whole ? BURST / 2 : 0;
	port->kept = port->left;
	return vireo_net_receive_offer(port->guest.net, 0, frames, count - port->left); /* "spread": both are the guest's one */
}

static unsigned port_left(void *opaque, unsigned queue)
{
	struct bench_port *port = opaque;
	unsigned left = port->left;

	port->left = 0;
	return left;
}

static bool port_starves(void *opaque, unsigned queue)
{
	return true;
}

static bool port_steer(void *opaque, struct vireo_frame *const *frames, unsigned count, uint8_t *ret_queues)
{
	const struct bench_port *port = opaque;

	return vireo_net_steer(port->guest.net, frames, count, ret_queues);
}

static void port_flush(void *opaque, unsigned queue)
{
	const struct bench_port *port = opaque;

	vireo_net_receive_flush(port->guest.net, 0);
}

static uint64_t port_signal_look(void *opaque, bool out, unsigned queue, bool now)
{
	const struct bench_port *port = opaque;

	return vireo_net_signal_look(port->guest.net, out ? 0 : 1);
}

static bool port_kick_enable(void *opaque, unsigned queue, bool on)
{
	const struct bench_port *port = opaque;

	return vireo_net_kick_enable(port->guest.net, 2 * queue + 1, on);
}

static void port_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct bench_port *port = opaque;
	struct vireo_net_queue_stats stats = { .size = sizeof(stats) };

	if (out && queue) /* the first one has it all */
		return;
	vireo_net_queue_stats(port->guest.net, 2 * queue + (out ? 0 : 1), &stats);
	*ret = (struct sw_queue_stats){.frames = stats.frames, .bytes = stats.bytes};
}

const struct sw_port_ops bench_port_ops = {
	.receive = port_receive,
	.release = port_release,
	.deliver = port_deliver,
	.left = port_left,
	.starves = port_starves,
	.flush = port_flush,
	.signal_look = port_signal_look,
	.kick_enable = port_kick_enable,
	.steer = port_steer,
	.stats = port_stats,
};

/* ---- a port whose guest is silent: has a notifier, and no driver that does its part ---- */

static int silent_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	const struct bench_port *port = opaque;

	return vireo_net_transmit_look(port->guest.net, queue, frames, max);
}

static void silent_expect(void *opaque, unsigned queue)
{
	const struct bench_port *port = opaque;

	vireo_net_transmit_expect(port->guest.net, queue);
}

static int silent_kick_fd(void *opaque, unsigned queue)
{
	const struct bench_port *port = opaque;

	return vireo_net_kick_fd(port->guest.net, 2 * queue + 1);
}

const struct sw_port_ops bench_silent_ops = {
	.receive = silent_receive,
	.expect = silent_expect,
	.release = port_release,
	.deliver = port_deliver,
	.left = port_left,
	.starves = port_starves,
	.flush = port_flush,
	.signal_look = port_signal_look,
	.kick_fd = silent_kick_fd,
	.kick_enable = port_kick_enable,
	.steer = port_steer,
	.stats = port_stats,
};
