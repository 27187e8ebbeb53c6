/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_PORT_H
#define SWITCH_PORT_H

/*
 * Ports and their queues: port.c, port_addresses.c for what they may send from, port_aside.c for those that are served aside, port_link.c for
 * those whose link is down, port_move.c for queues that change their worker, port_pause.c for those that stop for a moment.
 */

#include "base/bucket.h"
#include "base/queue.h"
#include "base/util.h"
#include "switch/fdb.h"
#include "switch/hold.h"
#include "switch/mirror.h"
#include "switch/policing.h"
#include "switch/rules.h"
#include "switch/stall.h"
#include "switch/switch.h"
#include "switch/trace.h"
#include "work/balance.h"
#include "work/grace.h"
#include "work/nodes.h"
#include "work/source.h"
#include <pthread.h>

struct aside;
struct bond;
struct port_guard;
struct sw_mirror;
struct worker;

/* What one worker counts for one port: written by that worker only. Other threads that count have their own. */
struct port_counters {
	uint64_t injected_frames, injected_bytes;
	uint64_t rx_reserved, rx_hairpin, rx_bad_source, rx_vlan, rx_isolated, rx_reflected, rx_spoofed, rx_segment_limit, rx_flooded,
		rx_flood_limit, rx_no_destination, rx_link_down, rx_lost;
	uint64_t rx_rate_limit, rx_storm_broadcast, rx_storm_multicast, rx_storm_unicast, tx_rate_limit;
	uint64_t rx_merged, rx_paced;
	uint64_t rx_membership, rx_membership_bad, rx_membership_limit, rx_membership_full, rx_no_member;
	uint64_t bond_rx_frames, bond_rx_bytes, bond_tx_frames, bond_tx_bytes; /* of a bond: what its members have brought, and been given */
	uint64_t rx_inactive, rx_lacp, rx_lacp_bad, rx_lacp_limit;
	uint64_t rx_spoofed_ip, rx_spoofed_arp, rx_spoofed_nd, rx_dhcp_server, rx_router, rx_unreadable;
	uint64_t tx_held, tx_hold_limit, tx_retry_limit;
	uint64_t tx_class1, tx_class2, tx_class3, tx_less_urgent;
	uint64_t tx_no_queue, tx_link_down, tx_flood_room, tx_mtu, tx_segment_error, tx_segmented, tx_lost;
	struct sw_port_samples samples __attribute__((aligned(CACHE_LINE_BYTES))); /* see samples.h; lines that are seldom written */
} __attribute__((aligned(CACHE_LINE_BYTES)));

/* In sw_port.limited, beside LIMITED_*. */
#define PORT_STEERED  (1u << 7) /* see sw_port_steered_set() */
#define PORT_MIRRORED (1u << 6) /* see mirror.h */
#define PORT_COUNTED  (1u << 4) /* somebody wants to know who talks to whom: talk.c */
#define PORT_HOLDS_SIGNALS (1u << 5) /* see signals.c */
#define PORT_TRACED   (1u << 8) /* what some port sends is traced: trace_burst.c */

/* In sw_port.gated. */
#define FLOOD_CALM	 1024u /* buffers a second */
#define FLOOD_CALM_BURST 64u   /* at once */

#define GATE_BOND     (1u << 0) /* its link is down, or it is a member of a bond, or has been */
#define GATE_MIRRORED (1u << 1)
#define GATE_TRACED   (1u << 2)

#define QUEUE_WAITERS_MAX 4u

/* What an in and an out queue have in common. Control thread. */
struct queue {
	struct grace_item gone;
	STAILQ_ENTRY(queue) unpublished; /* sw.unpublished */
	struct sw_port *port;
	unsigned number;
	bool out;
	bool removing;
	bool replaced;   /* another stands in its place in the port already, and who waits for it waits for that one to be used */
	uint64_t let_go; /* see aside.c */
	unsigned waiters;
	struct {
		void (*done)(void *opaque);
		void *opaque;
	} waiter[QUEUE_WAITERS_MAX];
	struct sw_queue_stats before; /* the port's counters when the queue was added */
};

/* A topology without what was before has been published, or is to be; `passed` is called when nobody sees another one. */
struct topology_step {
	struct grace_item passed;
	STAILQ_ENTRY(topology_step) unpublished; /* sw.unpublished_steps */
};

/* An in queue whose frames wait for their receiver: see pace.c. */
struct pace {
	uint64_t serial; /* of the receiver's port; 0: nothing is waited for */
	uint64_t at_ns, until_ns; /* the next look, and the last */
	uint64_t deaf;     /* the port that was not found to wait for a signal last */
	uint32_t look_us;  /* between two looks; 0: never yet */
	uint16_t port, queue;
	uint16_t skip, skips; /* so many more bursts to it do not wait; as many did not the last time */
	bool looked;       /* once, in vain */
	bool seen;         /* it was found to be done: now its programs have a moment */
};

struct in_queue {
	struct queue queue;
	/* Constant while published. */
	const struct sw_port_ops *ops;
	void *opaque;
	struct sw_port *port;
	unsigned number;
	struct source source; /* as its worker sees it */
	/* Control thread. */
	struct balance_source balance; /* see spread.c; goes with the queue to another worker, */
	struct nodes_vote vote;	       /* likewise: where its peer's memory lies */
	uint64_t busy_seen;	       /* and this does not: the source's busy_cycles at the last look */
	bool stuck;	       /* nor does this: it was to move, could not, and a line has said so */
	struct in_queue *next; /* replaced: who waits for this one to be gone, or NULL */
	bool waits;            /* not in any topology yet: see port_move.c */
	/* The worker's. */
	unsigned turn_frames; /* so many at most in the next turn */
	unsigned wary_turns;  /* in so many more a long one is the second: see forwarder.c */
	void *sample;	      /* atomic, read by the control thread: where a frame lay; only where it wants to know */
	uint64_t look_ns;     /* see signals.c */
	struct pace pace;
};

struct out_queue {
	struct queue queue;
	unsigned number;
	/* Held by the worker that delivers; unused if there is only one. */
	uint32_t claimed __attribute__((aligned(CACHE_LINE_BYTES)));
	uint8_t held; /* HELD_* (atomic): see hold.c */
	bool late;    /* a worker looks at it again: see retry.c */
	const struct sw_port_ops *room_of; /* whose room() it was: another's, when the port has moved aside */
	uint32_t room_max, room_s;         /* the most that it has said, which fades with the seconds; as of then */
	uint64_t look_ns;          /* see signals.c */
	struct hold hold;
	/* Control thread. */
	struct grace_item paused; /* nobody calls the port for it any more */
	void (*pause_done)(void *opaque); /* NULL: no pause begins */
	void *pause_opaque;
	uint64_t pause_said; /* of a port that is served aside: its thread has let go of the queue when it has said so much; 0: not asked yet */
};

struct sw_port {
	/* Constant. */
	struct sw *sw;
	char *name;
	const struct sw_port_ops *ops;
	void *opaque;
	uint16_t id;
	bool gro; /* atomic; written by the control thread */
	bool cut; /* atomic: its link is down; written by the control thread */
	uint8_t gated; /* (atomic) GATE_*: what it brings does not just come in */
	uint64_t serial; /* never used twice, as opposed to the id */
	struct port_counters *counters; /* one per worker and for who stands in, one for the aside's thread, and one for the control thread */
	/* Written by the control thread, read by workers at any time. */
	unsigned offloads;
	uint16_t mtu;
	bool lock;         /* atomic: the first address that it sends from is its own, and the only one */
	pthread_mutex_t addresses; /* what is fixed to it, and where, does not change: see port_addresses.c */
	uint64_t locked;   /* its own address, or 0; written under that (atomic) */
	unsigned address_count; /* control thread: of those that it has been given */
	struct port_guard *guard; /* or NULL; see guards.c */
	struct sw_mirror *mirrors[SW_PORT_MIRRORS_MAX]; /* atomic: what copies its frames; NULL in between */
	struct sw_trace *traces[SW_PORT_TRACES_MAX]; /* atomic: who is told what becomes of its frames; NULL in between */
	uint16_t limited; /* (atomic) LIMITED_*, PORT_*: what a burst to the port or from it has to be asked for */
	uint32_t retry_looks, retry_delay_us; /* atomic; 0 looks: none */
	struct stalls stalls;
	struct bucket flood; /* constant rate: of copies of its frames for several ports */
	struct bucket calm;  /* of buffers that those take at each receiver: who is beyond it crowds others there, see flood.c */
	struct port_limits limits;
	struct sw_port_multicast multicast; /* the control thread's; workers read `router` (atomic) */
	struct bucket memberships; /* messages about them */
	struct bucket lacpdus;     /* of a member of a bond: frames of the slow protocols */
	/* Control thread. */
	struct port_rules rules; /* workers have those of their topology */
	struct bond *bond;       /* that it is, or NULL; see bond.c */
	char *member_of;         /* the bond that it is a member of, if there is one of that name; NULL: of none */
	struct bond *joined;     /* or NULL: there is none, or it has no room */
	bool was_member;         /* of any */
	TAILQ_ENTRY(sw_port) link; /* sw.ports */
	struct aside *aside; /* or NULL: workers call ops */
	TAILQ_ENTRY(sw_port) aside_link; /* sw.asides, if it has one */
	bool aside_for_now;           /* see sw_port_slow_set() */
	struct topology_step cut_step; /* of a link that is down: see port_link.c */
	bool cut_pending, cut_again;   /* it is under way; the link has been up and down meanwhile */
	struct grace_item looked;      /* of signals that are held back: see signals.c */
	bool looks_pending, looks_again;
	bool removing;
	bool ending; /* no worker uses it any more, but maybe the aside's thread */
	struct grace_item gone;
	STAILQ_ENTRY(sw_port) unpublished; /* sw.unpublished_ports */
	void (*done)(void *opaque);
	void *done_opaque;
	struct in_queue *in[SW_QUEUES_MAX];
	struct out_queue *out[SW_QUEUES_MAX];
	uint64_t kicks[SW_QUEUES_MAX]; /* of in queues that are gone */
	uint16_t home[SW_QUEUES_MAX]; /* the worker that in queues have been moved to, plus 1; 0: any */
	struct sw_queue_stats past[2]; /* sums over queues that are gone: in, out */
};

/* An out queue that is there. */
static inline bool port_paused(const struct sw_port *port, unsigned number)
{
	return __atomic_load_n(&port->out[number]->held, __ATOMIC_RELAXED) & HELD_PAUSED;
}

/* Control thread, who alone writes them. */
static inline void port_gate_set(struct sw_port *port, unsigned gate, bool on)
{
	__atomic_store_n(&port->gated, (uint8_t)((port->gated & ~gate) | (on ? gate : 0)), __ATOMIC_RELAXED);
}

static inline void port_limited_set(struct sw_port *port, unsigned what, bool on)
{
	__atomic_store_n(&port->limited, (uint16_t)((port->limited & ~what) | (on ? what : 0)), __ATOMIC_RELAXED);
}

/*
 * Of an in queue that takes the place of none, or of `before`, whose worker it has unless another one is given (NULL: none is): `aside` is the port's,
 * or is to be. Not published.
 */
int in_queue_new(struct sw_port *port, struct aside *aside, unsigned number, const struct in_queue *before, struct worker *worker,
		 struct in_queue **ret_in);
/* How many threads count, and who they are beside the workers, which come first. */
unsigned port_counters_count(const struct sw *sw);
struct port_counters *port_counters_aside(const struct sw_port *port);
struct port_counters *port_counters_control(const struct sw_port *port);
void queue_bury(struct queue *queue); /* nobody uses it any more */
void port_end(struct sw_port *port);  /* likewise */

/* ---- port_addresses.c ---- */

/* What is fixed to a port that workers do not know yet. As sw_port_addresses_set(). */
int port_addresses_begin(struct sw_port *port, const struct sw_port_config *config);
/* Worker, of a port that locks: an address that is new. False: it is not the port's. */
bool port_lock(struct sw_port *port, const struct fdb_address *address);

/* ---- port_move.c ---- */

/* Control thread. Another worker's from now on, until it goes; where it is to be when it comes again is as before. -ENOMEM: nothing has changed. */
int port_queue_give(struct sw_port *port, unsigned queue, unsigned worker);
void queue_replaced_free(struct in_queue *old); /* no worker uses it any more: who waits for that is published */

/* ---- port_pause.c ---- */

/* Control thread. A worker goes to each out queue that holds frames, and may go on, of the topology that is published now or a later one. */
void port_held_send(const struct sw_port *port);
void port_pauses_look(struct sw_port *port); /* what has the thread of a port that is served aside let go of? */

/* ---- port_aside.c ---- */

int port_aside_start(struct sw_port *port); /* a new port */
void port_aside_drop(struct sw_port *port); /* that has not become one */
void asides_look(struct sw *sw); /* what have workers and threads said? */
void asides_end(struct sw *sw);  /* waits for the threads */

#endif
