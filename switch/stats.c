/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Reading what others count. Frames and bytes are the ports' own counters, per queue; a queue's share begins when it
 * is added. What the switch itself counts lies per worker and port, and is added up here.
 */

#include "switch/aside.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/spread.h"
#include <errno.h>
#include <string.h>

static void add_counters(struct sw_port_stats *sum, const struct port_counters *from)
{
	sum->rx_frames += counter_read(&from->injected_frames);
	sum->rx_bytes += counter_read(&from->injected_bytes);
	sum->rx_reserved += counter_read(&from->rx_reserved);
	sum->rx_hairpin += counter_read(&from->rx_hairpin);
	sum->rx_bad_source += counter_read(&from->rx_bad_source);
	sum->rx_vlan += counter_read(&from->rx_vlan);
	sum->rx_isolated += counter_read(&from->rx_isolated);
	sum->rx_reflected += counter_read(&from->rx_reflected);
	sum->rx_spoofed += counter_read(&from->rx_spoofed);
	sum->rx_segment_limit += counter_read(&from->rx_segment_limit);
	sum->rx_flooded += counter_read(&from->rx_flooded);
	sum->rx_flood_limit += counter_read(&from->rx_flood_limit);
	sum->rx_no_destination += counter_read(&from->rx_no_destination);
	sum->rx_link_down += counter_read(&from->rx_link_down);
	sum->rx_lost += counter_read(&from->rx_lost);
	sum->rx_spoofed_ip += counter_read(&from->rx_spoofed_ip);
	sum->rx_spoofed_arp += counter_read(&from->rx_spoofed_arp);
	sum->rx_spoofed_nd += counter_read(&from->rx_spoofed_nd);
	sum->rx_dhcp_server += counter_read(&from->rx_dhcp_server);
	sum->rx_router += counter_read(&from->rx_router);
	sum->rx_unreadable += counter_read(&from->rx_unreadable);
	sum->rx_rate_limit += counter_read(&from->rx_rate_limit);
	sum->rx_storm_broadcast += counter_read(&from->rx_storm_broadcast);
	sum->rx_storm_multicast += counter_read(&from->rx_storm_multicast);
	sum->rx_storm_unicast += counter_read(&from->rx_storm_unicast);
	sum->rx_merged += counter_read(&from->rx_merged);
	sum->rx_paced += counter_read(&from->rx_paced);
	sum->rx_membership += counter_read(&from->rx_membership);
	sum->rx_membership_bad += counter_read(&from->rx_membership_bad);
	sum->rx_membership_limit += counter_read(&from->rx_membership_limit);
	sum->rx_membership_full += counter_read(&from->rx_membership_full);
	sum->rx_no_member += counter_read(&from->rx_no_member);
	sum->rx_frames += counter_read(&from->bond_rx_frames);
	sum->rx_bytes += counter_read(&from->bond_rx_bytes);
	sum->tx_frames += counter_read(&from->bond_tx_frames);
	sum->tx_bytes += counter_read(&from->bond_tx_bytes);
	sum->rx_inactive += counter_read(&from->rx_inactive);
	sum->rx_lacp += counter_read(&from->rx_lacp);
	sum->rx_lacp_bad += counter_read(&from->rx_lacp_bad);
	sum->rx_lacp_limit += counter_read(&from->rx_lacp_limit);
	sum->tx_rate_limit += counter_read(&from->tx_rate_limit);
	sum->tx_held += counter_read(&from->tx_held);
	sum->tx_hold_limit += counter_read(&from->tx_hold_limit);
	sum->tx_retry_limit += counter_read(&from->tx_retry_limit);
	sum->tx_class1 += counter_read(&from->tx_class1);
	sum->tx_class2 += counter_read(&from->tx_class2);
	sum->tx_class3 += counter_read(&from->tx_class3);
	sum->tx_less_urgent += counter_read(&from->tx_less_urgent);
	sum->tx_no_queue += counter_read(&from->tx_no_queue);
	sum->tx_link_down += counter_read(&from->tx_link_down);
	sum->tx_flood_room += counter_read(&from->tx_flood_room);
	sum->tx_mtu += counter_read(&from->tx_mtu);
	sum->tx_segment_error += counter_read(&from->tx_segment_error);
	sum->tx_segmented += counter_read(&from->tx_segmented);
	sum->tx_lost += counter_read(&from->tx_lost);
}

static void add_queue(const struct queue *queue, uint64_t *frames, uint64_t *bytes)
{
	struct sw_queue_stats now;

	sw_queue_stats(queue->port, queue->out, queue->number, &now);
	*frames += now.frames - queue->before.frames;
	*bytes += now.bytes - queue->before.bytes;
}

void sw_port_stats(const struct sw_port *port, struct sw_port_stats *ret_stats)
{
	struct sw_port_stats sum = {
		.rx_frames = port->past[false].frames,
		.rx_bytes = port->past[false].bytes,
		.tx_frames = port->past[true].frames,
		.tx_bytes = port->past[true].bytes,
	};

	for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
		if (port->in[i])
			add_queue(&port->in[i]->queue, &sum.rx_frames, &sum.rx_bytes);
		if (port->out[i])
			add_queue(&port->out[i]->queue, &sum.tx_frames, &sum.tx_bytes);
	}
	for (unsigned i = 0; i < port_counters_count(port->sw); i++)
		add_counters(&sum, &port->counters[i]);
	*ret_stats = sum;
}

void sw_queue_stats(const struct sw_port *port, bool out, unsigned queue, struct sw_queue_stats *ret_stats)
{
	struct sw_queue_stats stats = {0};

	if (port->ops->stats)
		port->ops->stats(port->opaque, out, queue, &stats);
	if (port->aside && out)
		stats.no_buffer += counter_read(&port->aside->no_room[queue]);
	*ret_stats = stats;
}

int sw_queue_kicks(const struct sw_port *port, unsigned queue, uint64_t *ret_kicks)
{
	if (port->aside)
		return -EOPNOTSUPP;
	*ret_kicks = port->kicks[queue] + (port->in[queue] ? counter_read(&port->in[queue]->source.called) : 0);
	return 0;
}

int sw_queue_worker(const struct sw_port *port, unsigned queue)
{
	return sw_queue_present(port, false, queue) ? (int)port->in[queue]->source.worker->index : -1;
}

void sw_queue_stats_read(const struct sw_queue_stats *kept, struct sw_queue_stats *ret_stats)
{
	*ret_stats = (struct sw_queue_stats){
		.frames = counter_read(&kept->frames),
		.bytes = counter_read(&kept->bytes),
		.no_buffer = counter_read(&kept->no_buffer),
		.too_long = counter_read(&kept->too_long),
		.offload_refused = counter_read(&kept->offload_refused),
		.filtered = counter_read(&kept->filtered),
		.disabled = counter_read(&kept->disabled),
		.runt = counter_read(&kept->runt),
		.bad_offload = counter_read(&kept->bad_offload),
		.error = counter_read(&kept->error),
		.signals = counter_read(&kept->signals),
	};
}

unsigned sw_worker_count(const struct sw *sw)
{
	return sw->worker_count;
}

bool sw_balances(const struct sw *sw)
{
	return sw->balance;
}

bool sw_looks(const struct sw *sw)
{
	return sw->spread;
}

unsigned sw_queue_busy(const struct sw_port *port, unsigned queue)
{
	return sw_queue_present(port, false, queue) ? port->in[queue]->balance.load / 10 : 0;
}

void sw_worker_stats(const struct sw *sw, unsigned worker, struct sw_worker_stats *ret_stats)
{
	const struct forwarder *forwarder = sw->forwarders[worker];
	const struct worker *of = &forwarder->worker;
	const struct worker_stats *from = &of->stats;

	*ret_stats = (struct sw_worker_stats){
		.loops = counter_read(&from->loops),
		.busy_loops = counter_read(&from->busy_loops),
		.wakeups = counter_read(&from->wakeups),
		.sleeps = counter_read(&from->sleeps),
		.frames = counter_read(&from->served),
		.busy_cycles = counter_read(&from->busy_cycles),
		.cpu = of->cpu,
		.relieved = counter_read(&forwarder->reliefs),
	};
	if (sw->spread)
		spread_stats(sw->spread, worker, ret_stats);
}
