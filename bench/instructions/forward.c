/* SPDX-License-Identifier: BSD-3-Clause */

/* forward: the whole switch, with a worker for each pair of guests. */

#include "bench/instructions/forward.h"
#include "base/loop.h"
#include "switch/mirror.h"
#include "switch/talk.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct forward {
	const struct bench_case *c;
	struct sw *sw;
	struct pair pairs[PAIRS_MAX];
	struct bench_port silent[SILENT_PORTS];
	uint64_t copies; /* of "mirrored" */
	unsigned pair_count, greeted;
	sem_t added, done;
};

static struct forward f;

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

/* Who may say what to whom. */
static void port_rules(struct sw_port_config *config, const struct bench_case *c, uint8_t number)
{
	static uint8_t macs[2 * PAIRS_MAX][6];

	memcpy(macs[number], (uint8_t[6]){2, 0, 0, 0, 0, number}, 6);
	if (c->fixed) {
		config->addresses = &macs[number];
		config->address_count = 1;
	}
	config->lock_address = c->locked;
	if (c->guarded || c->addressed)
		config->guard = (struct sw_guard){.addresses = {{.family = 4}}, .address_count = 1, .dhcp_servers = true, .routers = true};
	if (c->addressed) {
		config->guard.neighbours = true;
		config->guard.addresses[0] = (struct sw_prefix){.family = 4, .bits = 32, .address = {10, 0, 0, number}};
	}
	config->uplink = (c->relayed || c->off) && number % 2 == 0;
	if (number % 2 && c->relayed)
		config->vm2vm = SW_VM2VM_HARDWARE;
	if (number % 2 && c->off)
		config->vm2vm = SW_VM2VM_OFF;
}

static void port_vlans(struct sw_port_config *config, const struct bench_case *c, uint8_t number)
{
	static const uint64_t tagged[SW_VLAN_SET_WORDS] = {UINT64_C(1) << BENCH_VLAN};

	if (c->trunked || ((c->tagged || c->qinq) && number % 2 == 0)) {
		config->vlan_aware = true;
		config->tagged = tagged;
		config->tag_type = c->qinq ? 0x88a8 : 0x8100;
	} else if (c->tagged || c->qinq) {
		config->vlan = BENCH_VLAN;
		config->vlan_aware = c->access;
	}
}

static void port_limits(struct sw_port_config *config, const struct bench_case *c)
{
	if (c->limited)
		config->limits = (struct sw_limits){plenty, plenty, plenty, plenty, plenty, plenty, plenty, SW_PRIORITY_OFF};
	if (c->stormed)
		config->limits.broadcast = plenty;
	if (c->classed)
		config->limits.priority = SW_PRIORITY_DSCP;
	if (c->snooped || c->stormed)
		config->flood_copies = SW_FLOOD_ANY;
	if (c->retried)
		config->retry = (struct sw_retry){.looks = SW_RETRY_LOOKS_MAX, .delay_us = 1000000000}; /* never in time */
}

static void port_add(struct pair *pair, unsigned i)
{
	const struct bench_case *c = f.c;
	char name[] = {'p', (char)('0' + 2 * pair->number + i), '\0'};
	struct bench_port *port = &pair->ports[i];
	struct sw_port_config config = {.name = name, .ops = &bench_port_ops, .opaque = port, .mtu = 1504, .gro = c->gro};
	uint8_t number = (uint8_t)(2 * pair->number + i);
	struct sw_port *bond = NULL;

	port_rules(&config, c, number);
	port_vlans(&config, c, number);
	port_limits(&config, c);
	port->pair = pair;
	guest_start(&port->guest, c, number);
	if (c->bonded && !i)
		bond_add(f.sw, &config, &bond);
	must(!sw_port_new(f.sw, &config, &port->sw), "no port");
	sw_port_steered_set(port->sw, c->rss);
	sw_port_signals_set(port->sw, c->coalesced);
	sw_port_offloads_set(port->sw, vireo_net_offloads(port->guest.net));
	must(!sw_queue_move(port->sw, 0, pair->number, NULL, NULL), "no worker");
	must(!sw_queue_add(port->sw, true, 0) && !sw_queue_add(port->sw, false, 0), "no queue");
	must(!c->spread || !sw_queue_add(port->sw, true, 1), "no second queue");
	if (bond)
		port->sw = bond;
}

/* Posts buffers, and never sends: it has a notifier, which nobody rings. */
static void silent_add(struct bench_port *port, unsigned i)
{
	static struct bench_case c;
	char name[16];
	struct sw_port_config config = {.name = name, .ops = &bench_silent_ops, .opaque = port, .mtu = 1504};

	c = *f.c;
	c.silent = true;
	snprintf(name, sizeof(name), "silent%u", i);
	guest_start(&port->guest, &c, (uint8_t)(2 * PAIRS_MAX + i % 200)); /* which nobody hears of */
	must(!sw_port_new(f.sw, &config, &port->sw), "no port");
	must(!sw_queue_add(port->sw, true, 0) && !sw_queue_add(port->sw, false, 0), "no queue");
}

/* ---- where copies go to: a port that throws all away ---- */

static int copies_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	uint64_t *copies = opaque;

	*copies += count;
	return (int)count;
}

static void copies_flush(void *opaque, unsigned queue)
{
}

static const struct sw_port_ops copies_ops = {.deliver = copies_deliver, .flush = copies_flush};

static void mirror_add(struct sw_port *source)
{
	const struct sw_port_config config = {.name = "copies", .ops = &copies_ops, .opaque = &f.copies, .mtu = 1504};
	struct sw_mirror_config mirror = {.source = source};
	struct sw_mirror *added;

	must(!sw_port_new(f.sw, &config, &mirror.to) && !sw_queue_add(mirror.to, true, 0), "no port for copies");
	must(!sw_mirror_add(f.sw, &mirror, &added), "no mirror");
}

static void told(void *opaque, const struct sw_talk_pair *pair)
{
	*(uint64_t *)opaque += pair->frames;
}

static void features_check(uint64_t sent)
{
	uint64_t frames = 0;

	must(!f.c->mirrored || f.copies >= sent, "not all has been mirrored");
	sw_talk_each(f.sw, told, &frames);
	must(!f.c->counted || frames == sent, "not all has been counted");
}

/* Only the first burst of each guest, or what it says first, may have been flooded. */
static void forwarded_check(const struct pair *pair, bool exactly)
{
	uint64_t sent = pair->to_greet ? 2 * (pair->to_greet - 2) : 0, got = 0; /* what other pairs have said first */
	struct sw_port_stats stats;

	for (unsigned i = 0; i < 2; i++) {
		const struct bench_port *port = &pair->ports[i];

		sw_port_stats(port->sw, &stats);
		must(!exactly || stats.rx_frames == (uint64_t)BURST * (WARM_BURSTS + BURSTS) + port->greeted, "the switch has lost count");
		must(!f.c->gro || stats.rx_merged == stats.rx_frames / BURST * (BURST - 1), "segments were not joined");
		must(!f.c->retried || stats.tx_held >= stats.tx_frames / 2, "nothing has waited");
		must(f.c->snooped || f.c->stormed || stats.rx_flooded <= BURST, "frames were flooded whose address had been learned");
		sent += stats.rx_frames;
		got += stats.tx_frames + port->kept;
	}
	must(sent == got, "the switch has lost frames");
	features_check(sent);
}

void forward_done(void)
{
	sem_post(&f.done);
	for (;;)
		pause();
}

static void ports_add(void (*round)(struct pair *pair), void *opaque, bool exactly)
{
	for (unsigned i = 0; i < f.pair_count; i++) {
		struct pair *pair = &f.pairs[i];

		*pair = (struct pair){.added = &f.added, .to_greet = f.pair_count > 1 || !exactly ? 2 * f.pair_count : 0, .greeted = &f.greeted,
				      .round = round, .opaque = opaque, .number = i, .by_clock = !exactly};
		for (unsigned j = 0; j < 2; j++)
			port_add(pair, j);
	}
	for (unsigned i = 0; f.c->crowded && i < SILENT_PORTS; i++)
		silent_add(&f.silent[i], i);
	if (f.c->mirrored)
		mirror_add(f.pairs[0].ports[0].sw);
	must(!f.c->counted || !sw_talk_ask(f.sw), "nothing is counted");
}

void forward_run(const struct bench_case *c, const int *cpus, void (*round)(struct pair *pair), void *opaque, bool exactly)
{
	struct sw_config config = {.workers = c->paired ? PAIRS_MAX : 1, .cpus = cpus, .mode = c->adaptive || (c->crowded && !c->polled) ? SW_ADAPTIVE : SW_POLL,
				   .multicast.snooping = c->snooped};
	struct loop *loop;

	f.c = c;
	f.pair_count = config.workers;
	must(!sem_init(&f.added, 0, 0) && !sem_init(&f.done, 0, 0), "no semaphore");
	must(!loop_new(&loop), "no loop");
	must(!sw_new(&config, loop, &f.sw), "no switch");
	ports_add(round, opaque, exactly);
	sem_post(&f.added);
	for (unsigned i = 0; i < f.pair_count; i++)
		while (sem_wait(&f.done))
			;
	for (unsigned i = 0; i < f.pair_count; i++)
		forwarded_check(&f.pairs[i], exactly);
}
