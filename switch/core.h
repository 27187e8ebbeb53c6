/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_CORE_H
#define SWITCH_CORE_H

/*
 * The map of the switch: who runs what, and the header that tells of it.
 *
 *   control thread:  switch.c (core.h)  port.c, port_addresses.c, port_aside.c, port_link.c, port_move.c, port_pause.c, port_rules.c (port.h)  spread.c: which worker has which queue (spread.h)  topology.c builds, publishes (topology.h)  bond.c: who carries (bond.h)  stats.c reads  watch.c: who keeps a copy of the database
 *   workers:         which queue next: work/worker.h  forwarder.c: its burst (forwarder.h)  forward.c: where to (groups.h), flood.c, flow.c, reflect.c: what an uplink brings back (forward.h), deliver.c: into the port (forward.h), hold.c: or not yet (hold.h), retry.c: or when it has buffers (retry.h), signals.c: whose driver hears of it later (signals.h), policing.c (policing.h), priority.c: which of them first (priority.h)
 *                    multicast.c: to which of a group (multicast.h), after what is heard (membership.h), in the database of members (mdb.h), for which querier.c asks
 *                    gro.c: large frames out of small ones (gro.h)
 *                    mirror_burst.c: copies of what a port sends and gets (mirror.h, which mirror.c and mirror_writer.c carry out)
 *                    trace_burst.c: why each frame of a port goes where it goes (trace.h, which trace.c tells the control thread)
 *                    bond_carry.c: from and to the members of a bond (bond.h), which bond.c tells, and lacp.c: who they are (lacp.h)
 *                    offload.c (offload.h)  cuts.c (cuts.h)  stall.c: who makes it wait (stall.h)
 *   who stands in:   relief.c: for a worker that stands still (relief.h)
 *   port threads:    aside.c (aside.h), over store.c (store.h)
 *   between them:    the published topology, letters (inject.c, work/worker.h), the forwarding database (fdb.h), grace periods (work/grace.h)
 *
 * Locks: fdb.lock, grace.lock and that of the multicast database, each innermost; fdb.lock also inside a port's `addresses`. Claims of out queues are held for a burst, one at a time.
 */

#include "base/queue.h"
#include "base/util.h"
#include "switch/fdb.h"
#include "switch/switch.h"
#include "switch/trace.h"
#include "work/grace.h"

struct bond;
struct forwarder;
struct lacpdu;
struct loop_watch;
struct loop_timer;
struct multicast;
struct queue;
struct relief;
struct spread;
struct sw_mirror;
struct sw_trace;
struct talk;
struct work_table;

struct sw {
	/* Constant. */
	struct loop *loop;
	struct vireo_log log;
	struct fdb *fdb;
	struct grace *grace;
	struct multicast *multicast; /* NULL: no snooping */
	unsigned worker_count;
	struct forwarder **forwarders; /* one per worker */
	struct relief *relief; /* who stands in for one; NULL: nobody, where no counter tells what is long, or there is no barrier */
	enum sw_mode mode;
	unsigned spin_us, spin_percent;
	bool unpaced;
	uint64_t stall_cycles; /* see stall.c */
	int event_fd; /* raised for the control thread: grace periods ended, the first address was learned, see asides_look() */

	struct work_table *published __attribute__((aligned(CACHE_LINE_BYTES))); /* a topology's: read by workers */
	bool accused; /* written by workers: some port is */
	struct forwarder *standing; /* atomic: another one stands in for it; NULL: for nobody */
	struct lacpdu *lacpdus; /* atomic: what workers have taken in for the control thread, the latest first */

	/* Control thread. */
	struct loop_watch *watch;
	struct loop_timer *tick; /* runs while there is something to age, or to publish */
	bool ticking;
	bool stale;              /* publishing failed: try again */
	bool held;               /* nothing is published: sw_hold() */
	unsigned started;        /* workers */
	uint64_t version, next_serial;
	TAILQ_HEAD(, sw_port) ports; /* those that are not being removed */
	struct sw_port *by_id[SW_PORTS_MAX]; /* NULL: the id is free */
	STAILQ_HEAD(, queue) unpublished; /* removed, but still in the published topology */
	STAILQ_HEAD(, sw_port) unpublished_ports;
	STAILQ_HEAD(, vlan_set) unpublished_sets; /* of rules that have changed: see port_rules.c */
	STAILQ_HEAD(, topology_step) unpublished_steps; /* of ports aside, and back: see port_aside.c */
	TAILQ_HEAD(, sw_port) asides; /* ports that have one */
	TAILQ_HEAD(, bond) bonds;
	TAILQ_HEAD(, sw_mirror) mirrors;
	unsigned last_mirror; /* its number */
	void (*mirrors_held)(void *opaque); /* NULL: nobody waits for that */
	void *mirrors_held_opaque;
	TAILQ_HEAD(, sw_trace) traces;
	unsigned last_trace; /* its number */
	struct sw_trace *traces_to[SW_TRACES_TO_MAX]; /* atomic: who is told what becomes of frames to a port; NULL in between */
	struct talk *talk;	       /* atomic, read by workers: what they count in; NULL: nobody has asked yet */
	struct loop_timer *talk_timer; /* NULL: likewise */
	uint64_t talk_since_us;	       /* when counting has begun */
	bool talk_counts;	       /* somebody has asked not long ago */
	bool samples;	       /* constant: there are nodes to choose from, see spread.c */
	bool balance;	       /* constant: as it was set; */
	struct spread *spread; /* NULL: queues stay with their workers, also of one that has no other */
	char rcu_key; /* its address is what rcu.h needs */
};

/* Who forwards frames, and counts by its index: the workers, and who stands in for one. */
static inline unsigned switch_forwarders(const struct sw *sw)
{
	return sw->worker_count + 1;
}

uint32_t switch_now_s(void); /* any thread */
/* Any worker: the database has got its first entry. */
void switch_first_entry(struct sw *sw);
/* Control thread: a port has got or lost queues, its link or VLANs, and who watches the database (watch.c) is to look at it. */
void switch_port_changed(struct sw *sw);
/* Control thread: publishes, now or (when memory is short) later. */
void switch_publish_removal(struct sw *sw);

#endif
