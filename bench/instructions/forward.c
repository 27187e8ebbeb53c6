/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * forward: the whole switch with one worker, and two guests that send each other a burst in each of its rounds.
 *
 * The worker's thread is the only one that runs: both drivers do their part inside the receive operation of
 * their port, where nothing is counted. So the worker never finds a queue without frames, and nothing
 * depends on time. Having done its share it is held there for ever, and the program ends around it.
 */

#include "base/loop.h"
#include "bench/instructions/count.h"
#include "bench/instructions/guest.h"
#include "switch/switch.h"
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

struct forward;

struct port {
	struct forward *forward;
	struct guest guest;
	struct sw_port *sw; /* the one that others know: the bond, if it is one */
	unsigned sent_bursts; /* the worker's */
	unsigned left, kept;  /* likewise, of "retried": by the last delivery, and waiting in the switch */
};

struct forward {
	struct port ports[2];
	bool begun; /* the worker's: it has got both ports, the drivers send */
	sem_t added, done;
};

/* ---- what the drivers do ---- */

/* The first port is asked first in each round: between two such moments both have sent as much. */
static void round_count(struct port *first)
{
	if (first->sent_bursts == WARM_BURSTS)
		count_from_zero();
	if (first->sent_bursts < WARM_BURSTS + BURSTS)
		return;
	sem_post(&first->forward->done);
	for (;;)
		pause();
}

/* So that the worker does not go round and round, and be counted, while the second port is still missing. */
static void await_ports(void *opaque)
{
	struct forward *f = opaque;

	while (sem_wait(&f->added))
		;
	sem_post(&f->added); /* holds for good */
}

static void drive(void *opaque)
{
	struct port *port = opaque, *other = &port->forward->ports[port == port->forward->ports];
	struct guest *g = &port->guest;

	guest_sent(g, port->sent_bursts ? BURST : 0);
	guest_take(g, other->guest.number, other->guest.to_send - g->to_take - port->kept);
	if (port == port->forward->ports)
		round_count(port);
	guest_send_burst(g, other->guest.number);
	port->sent_bursts++;
}

/* ---- a port, as vireo-switchd makes them ---- */

static int port_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct port *port = opaque;

	if (!port->forward->begun) {
		count_toggled(await_ports, port->forward);
		port->forward->begun = port != port->forward->ports; /* the one that was added last */
		return 0;
	}
	count_toggled(drive, port);
	return vireo_net_transmit_look(port->guest.net, queue, frames, max);
}

static void port_release(void *opaque, unsigned queue)
{
	const struct port *port = opaque;

	vireo_net_transmit_complete(port->guest.net, queue);
}

static int port_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct port *port = opaque;
	bool whole = port->guest.c->retried && count == BURST; /* the half that has waited is none */

	port->left = whole ? BURST / 2 : 0;
	port->kept = port->left;
	return vireo_net_receive_offer(port->guest.net, queue, frames, count - port->left);
}

static unsigned port_left(void *opaque, unsigned queue)
{
	struct port *port = opaque;
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
	const struct port *port = opaque;

	return vireo_net_steer(port->guest.net, frames, count, ret_queues);
}

static void port_flush(void *opaque, unsigned queue)
{
	const struct port *port = opaque;

	vireo_net_receive_flush(port->guest.net, queue);
}

static int port_kick_fd(void *opaque, unsigned queue)
{
	return -1;
}

static bool port_kick_enable(void *opaque, unsigned queue, bool on)
{
	const struct port *port = opaque;

	return vireo_net_kick_enable(port->guest.net, 2 * queue + 1, on);
}

static void port_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct port *port = opaque;
	struct vireo_net_queue_stats stats = { .size = sizeof(stats) };

	vireo_net_queue_stats(port->guest.net, 2 * queue + (out ? 0 : 1), &stats);
	*ret = (struct sw_queue_stats){.frames = stats.frames, .bytes = stats.bytes};
}

static const struct sw_port_ops port_ops = {
	.receive = port_receive,
	.release = port_release,
	.deliver = port_deliver,
	.left = port_left,
	.starves = port_starves,
	.flush = port_flush,
	.kick_fd = port_kick_fd,
	.kick_enable = port_kick_enable,
	.steer = port_steer,
	.stats = port_stats,
};

/* ---- the whole ---- */

static const struct sw_limit plenty = {.per_second = 100000000, .burst = 100000000};

/* Both members lead to the guest, the second one only there: so it gets all frames, by whichever. */
static void bond_add(struct sw *sw, struct sw_port_config *member, struct sw_port **ret_bond)
{
	const struct sw_bond_config bond = {.mode = SW_BOND_BALANCE, .hash = SW_BOND_LAYER34};
	const struct sw_port_config config = {.name = "bond", .bond = &bond, .uplink = true};
	struct sw_port_config second = {.name = "second", .ops = member->ops, .opaque = member->opaque, .mtu = member->mtu, .member_of = "bond"};
	struct sw_port *added;

	must(!sw_port_new(sw, &config, ret_bond), "no bond");
	must(!sw_port_new(sw, &second, &added) && !sw_queue_add(added, true, 0), "no second member");
	member->member_of = "bond";
}

static void port_add(struct forward *f, struct sw *sw, unsigned i, const struct bench_case *c)
{
	char name[] = {'p', (char)('0' + i), '\0'};
	struct port *port = &f->ports[i];
	struct sw_port_config config = {.name = name, .ops = &port_ops, .opaque = port, .mtu = 1504};
	struct sw_port *bond = NULL;

	if (c->limited)
		config.limits = (struct sw_limits){plenty, plenty, plenty, plenty, plenty, plenty, plenty, SW_PRIORITY_OFF};
	if (c->classed)
		config.limits.priority = SW_PRIORITY_DSCP;
	if (c->guarded)
		config.guard = (struct sw_guard){.addresses = {{.family = 4}}, .address_count = 1, .dhcp_servers = true, .routers = true};
	config.gro = c->gro;
	if (c->snooped)
		config.flood_copies = SW_FLOOD_ANY;
	if (c->retried)
		config.retry = (struct sw_retry){.looks = SW_RETRY_LOOKS_MAX, .delay_us = 1000000000}; /* never in time */
	if (c->relayed && !i)
		config.uplink = true;
	else if (c->relayed)
		config.vm2vm = SW_VM2VM_HARDWARE;
	port->forward = f;
	guest_start(&port->guest, c, (uint8_t)i);
	if (c->bonded && !i)
		bond_add(sw, &config, &bond);
	must(!sw_port_new(sw, &config, &port->sw), "no port");
	sw_port_steered_set(port->sw, c->rss);
	must(!sw_queue_add(port->sw, true, 0) && !sw_queue_add(port->sw, false, 0), "no queue");
	if (bond)
		port->sw = bond;
}

/* Only the first burst of each guest may have been flooded. */
static void forwarded_check(struct forward *f)
{
	struct sw_port_stats stats;

	for (unsigned i = 0; i < 2; i++) {
		sw_port_stats(f->ports[i].sw, &stats);
		must(stats.rx_frames == (uint64_t)BURST * (WARM_BURSTS + BURSTS), "the switch has lost count");
		must(stats.tx_frames + f->ports[i].kept == stats.rx_frames, "the switch has lost frames");
		must(!f->ports[i].guest.c->gro || stats.rx_merged == stats.rx_frames / BURST * (BURST - 1), "segments were not joined");
		must(!f->ports[i].guest.c->retried || stats.tx_held >= stats.tx_frames / 2, "nothing has waited");
		must(f->ports[i].guest.c->snooped || stats.rx_flooded <= BURST, "frames were flooded whose address had been learned");
	}
}

uint64_t run_forward(const struct bench_case *c)
{
	static struct forward f;
	struct sw_config config = {.workers = 1, .mode = SW_POLL, .multicast.snooping = c->snooped};
	struct loop *loop;
	struct sw *sw;

	must(!sem_init(&f.added, 0, 0) && !sem_init(&f.done, 0, 0), "no semaphore");
	must(!loop_new(&loop), "no loop");
	must(!sw_new(&config, loop, &sw), "no switch");
	for (unsigned i = 0; i < 2; i++)
		port_add(&f, sw, i, c);
	sem_post(&f.added);
	while (sem_wait(&f.done))
		;
	forwarded_check(&f);
	return 2ull * BURSTS * BURST;
}
