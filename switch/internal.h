/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_INTERNAL_H
#define SWITCH_INTERNAL_H

/*
 * The map of the switch.
 *
 *   control thread:  switch.c  port.c  topology.c (builds, publishes)  stats.c (reads)
 *   workers:         worker.c (which queue next)  forward.c (where to)  deliver.c (into the port)
 *                   offload.c  cuts.c  flow.c
 *                   stall.c (who makes it wait)
 *   port threads:    aside.c (port_aside.c: who gets one), over store.c
 *   between them:    the published topology, mailboxes, the forwarding database (fdb.c), grace.c
 *
 * Locks: fdb.lock and grace.lock, each innermost. Claims of out queues are held for a burst, one at a time.
 */

#include "base/util.h"
#include "switch/fdb.h"
#include "work/grace.h"
#include "switch/offload.h"
#include "work/patience.h"
#include "switch/switch.h"
#include <sys/epoll.h>
#include <sys/queue.h>

#define BURST_FRAMES 64u
#define CACHE_LINE   64u

struct loop_watch;
struct loop_timer;
struct worker;
struct topology;

/* ---- ports and queues (port.c) ---- */

/* What one worker counts for one port: written by that worker only. Other threads that count have their own. */
struct port_counters {
	uint64_t injected_frames, injected_bytes;
	uint64_t rx_reserved, rx_hairpin, rx_bad_source, rx_spoofed, rx_segment_limit, rx_flooded,
		rx_no_destination, rx_lost;
	uint64_t tx_no_queue, tx_mtu, tx_segment_error, tx_segmented, tx_lost;
} __attribute__((aligned(CACHE_LINE)));

#define QUEUE_WAITERS_MAX 4u

/* What an in and an out queue have in common. Control thread. */
struct queue {
	struct grace_item gone;
	STAILQ_ENTRY(queue) unpublished; /* sw.unpublished */
	struct sw_port *port;
	unsigned number;
	bool out;
	bool removing;
	bool replaced;   /* another stands in its place in the port already */
	uint64_t let_go; /* see aside.c */
	unsigned waiters;
	struct {
		void (*done)(void *opaque);
		void *opaque;
	} waiter[QUEUE_WAITERS_MAX];
	struct sw_queue_stats before; /* the port's counters when the queue was added */
};

enum in_state {
	IN_NEW,    /* the worker has not seen it yet */
	IN_ACTIVE, /* polled; kicks are off */
	IN_ARMED,  /* left alone until its kick; kicks are on */
	IN_DEAD,   /* receive failed: never asked again */
};

struct in_queue {
	struct queue queue;
	/* Constant while published. */
	struct worker *worker;
	const struct sw_port_ops *ops;
	void *opaque;
	struct sw_port *port;
	unsigned number;
	unsigned slot;  /* index in the worker's table, and what its epoll says */
	int kick_fd;    /* -1: must be polled */
	int own_fd;     /* a duplicate of kick_fd, if that was needed to watch it; or -1 */
	/* The worker's. */
	enum in_state state __attribute__((aligned(CACHE_LINE)));
	bool resting;   /* cannot be armed, and has been idle for long */
	uint64_t idle_since_ns; /* 0: had frames when asked last */
	struct habit habit; /* what follows its frames: see patience.h */
};

struct out_queue {
	struct queue queue;
	unsigned number;
	/* Held by the worker that delivers; unused if there is only one. */
	uint32_t claimed __attribute__((aligned(CACHE_LINE)));
};

/* How often a port has made workers wait: see stall.c. Atomic. */
struct stalls {
	uint32_t first_s, count;
	bool accused;
};

struct aside;

struct sw_port {
	/* Constant. */
	struct sw *sw;
	char *name;
	const struct sw_port_ops *ops;
	void *opaque;
	uint16_t id;
	uint64_t serial; /* never used twice, as opposed to the id */
	struct port_counters *counters; /* one per worker, one for the aside's thread, and one for the control thread */
	/* Written by the control thread, read by workers at any time. */
	unsigned offloads;
	uint16_t mtu;
	struct stalls stalls;
	/* Control thread. */
	TAILQ_ENTRY(sw_port) link; /* sw.ports */
	struct aside *aside; /* or NULL: workers call ops */
	TAILQ_ENTRY(sw_port) aside_link; /* sw.asides, if it has one */
	struct grace_item moved;
	STAILQ_ENTRY(sw_port) unpublished_move; /* sw.unpublished_moves */
	bool removing;
	bool ending; /* no worker uses it any more, but maybe the aside's thread */
	struct grace_item gone;
	STAILQ_ENTRY(sw_port) unpublished; /* sw.unpublished_ports */
	void (*done)(void *opaque);
	void *done_opaque;
	struct in_queue *in[SW_QUEUES_MAX];
	struct out_queue *out[SW_QUEUES_MAX];
	struct sw_queue_stats past[2]; /* sums over queues that are gone: in, out */
};

/* Of an in queue that takes the place of none, or of one: `aside` is the port's, or is to be. Not published. */
int in_queue_new(struct sw_port *port, struct aside *aside, unsigned number, struct in_queue **ret_in);
/* How many threads count, and who they are beside the workers, which come first. */
unsigned port_counters_count(const struct sw *sw);
struct port_counters *port_counters_aside(const struct sw_port *port);
struct port_counters *port_counters_control(const struct sw_port *port);
void queue_bury(struct queue *queue); /* nobody uses it any more */
void port_end(struct sw_port *port);  /* likewise */

/* ---- port_aside.c ---- */

int port_aside_start(struct sw_port *port); /* a new port */
void port_aside_drop(struct sw_port *port); /* that has not become one */
void asides_look(struct sw *sw); /* what have workers and threads said? */
void asides_end(struct sw *sw);  /* waits for the threads */

/* ---- stall.c ---- */

#define STALLS_MAX 3u

struct stall_step {
	uint64_t ns, faults, waits;
	uint64_t ready_ns; /* so long the thread has run, or waited for a CPU */
};

struct stall {
	uint64_t limit_cycles; /* constant: a burst that takes longer is looked into */
	bool alert;
	uint64_t alert_ns; /* how long the last alert was to last; 0: there was none */
	uint64_t alert_until_ns;
	uint64_t faults; /* when it was looked last */
	uint64_t ready_ns, ready_read_ns; /* as it was then */
};

uint64_t stall_limit_cycles(void); /* takes a moment */
/* The worker. */
void stall_suspect(struct stall *stall); /* a burst took longer than the limit */
void stall_begin(struct worker *worker, struct stall_step *ret_step);
bool stall_waited(const struct stall_step *begun, const struct stall_step *ended); /* for memory, and long */
void stall_end(struct worker *worker, const struct stall_step *begun, struct sw_port *port); /* whose memory was touched */
void stall_touch(const struct vireo_frame *frames, unsigned count);

/* ---- topology.c ---- */

/* A port as workers see it. */
struct topology_port {
	struct sw_port *port;
	const struct sw_port_ops *ops;
	void *opaque;
	uint32_t out_count;
	struct out_queue **out;
};

struct topology_worker {
	uint32_t slot_count;
	struct in_queue **slots;  /* NULL: empty */
	struct in_queue **active; /* room for as many: the worker's scratch */
};

/*
 * Ports and queues at one moment. Immutable (but for `active`), in one allocation. Workers take the published one
 * at the top of their loop and keep it for the round; it is freed a grace period after its successor came.
 */
struct topology {
	struct grace_item gone;
	uint64_t version;
	uint32_t port_count;
	uint32_t id_limit;
	struct topology_port *ports;  /* without gaps: for flooding */
	struct topology_port **by_id; /* NULL: no such port */
	struct topology_worker *workers;
};

int topology_new(const struct sw *sw, struct topology **ret_topology);
/*
 * Makes what the control thread changed visible, and defers what went to the grace thread. -ENOMEM:
 * workers still use the old topology.
 */
int topology_publish(struct sw *sw);
/* Of what was removed no published topology tells any more: a grace period from now nobody knows it. */
void topology_defer_removed(struct sw *sw);

static inline struct topology_port *topology_port(const struct topology *topology, unsigned id)
{
	return likely(id < topology->id_limit) ? topology->by_id[id] : NULL;
}

/* ---- forward.c ---- */

/* Frames of a burst that share a fate: indexes, in order. */
struct group {
	uint16_t verdict;
	uint8_t count;
	uint8_t index[BURST_FRAMES];
};

enum verdict { /* port ids come first */
	VERDICT_FLOOD = SW_PORTS_MAX,
	VERDICT_RESERVED,
	VERDICT_HAIRPIN,
	VERDICT_BAD_SOURCE,
	VERDICT_SPOOFED,
	VERDICT_END,
};

/* One worker's scratch for the burst in hand. */
struct addressed {
	struct fdb_address to, from;
};

struct burst {
	const struct topology *topology;
	struct sw_port *from;
	struct vireo_frame *frames;
	unsigned count;
	unsigned needs;         /* all offloads that any frame asks for */
	uint32_t longest_bytes; /* of frames that are not to be cut */
	uint64_t fresh;         /* bit i: frame i has other addresses than its predecessor */
	struct addressed addressed[BURST_FRAMES]; /* of fresh ones */
	uint16_t verdict[BURST_FRAMES];
	unsigned group_count;
	uint8_t group_of[VERDICT_END]; /* index + 1 into groups; 0 between bursts */
	struct group groups[BURST_FRAMES];
	struct vireo_frame *list[BURST_FRAMES];
};

/* Worker. Frames are forwarded or counted on return; topology, from, frames and count are set. */
void forward_burst(struct worker *worker, struct burst *burst);

/* ---- cuts.c ---- */

enum cut_state {
	CUT_MADE,
	CUT_LIES, /* its headers do */
	CUT_OVER, /* it would make more pieces than the burst has left; that is counted */
};

struct cut {
	enum cut_state state;
	uint16_t first, count; /* slots of the arena */
};

/* What frames of the burst in hand have been cut into, for all who need that. */
struct cuts {
	struct offload_arena *arena;
	uint64_t frames; /* bit i: frame i is in `of` */
	struct cut of[BURST_FRAMES];
};

int cuts_new(struct cuts **ret_cuts); /* -ENOMEM */
void cuts_free(struct cuts *cuts);    /* takes NULL */
/* Worker. Nobody uses the pieces any more. */
void cuts_reset(struct cuts *cuts);
/* Worker. Frame `index` of the burst is cut. False: there is no room; deliver what is there, and reset. */
bool cuts_add(struct worker *worker, unsigned index);

/* ---- deliver.c ---- */

#define PIECES_MAX 16384u /* of a burst: 64 frames of 64 KiB in pieces of 256 bytes */

/* Worker. Frames go to a port in this order: what the port lacks is made up for, what cannot go is counted. */
void deliver(struct worker *worker, const struct topology_port *to, struct vireo_frame **frames, unsigned count);

/* ---- flow.c ---- */

/* Same for all frames of a flow (addresses, protocol, ports), both before and after cutting. */
uint32_t flow_hash(const struct vireo_frame *frame);

/* ---- mailbox.c ---- */

struct letter {
	struct letter *next;
	uint64_t serial; /* of the port it is from */
	uint16_t port;
	uint32_t bytes;
	uint8_t data[];
};

void mailbox_put(struct worker *worker, struct letter *letter); /* any thread */
void mailbox_forward(struct worker *worker); /* the worker: forwards what is there */
void mailbox_drop(struct worker *worker);    /* nobody uses the worker any more */

/* ---- worker.c ---- */

#define WORKER_EVENTS 32

struct worker {
	/* Constant. */
	struct sw *sw;
	struct fdb *fdb;
	unsigned index;
	bool alone; /* the only one: out queues need no claim */
	bool poll;  /* SW_POLL */
	uint64_t keep_ns; /* how long a queue without frames stays active while others have some */
	int epoll_fd, wake_fd;
	pthread_t thread;

	/* The worker's. */
	const struct topology *topology __attribute__((aligned(CACHE_LINE))); /* of this round */
	uint64_t version;
	uint64_t now_ns;
	uint32_t now_s;
	struct in_queue **active;
	unsigned active_count;
	unsigned armed_count;
	unsigned resting_count; /* of the active ones */
	unsigned rest_ns;       /* how long to sleep when all are resting */
	unsigned napping_count; /* queues that were armed for a nap, and are still listed in `active` */
	struct in_queue *served; /* had frames last; NULL: unknown */
	uint64_t events_checked_ns;
	int event_count;
	struct epoll_event events[WORKER_EVENTS];
	struct sw_worker_stats stats; /* read by anybody */
	struct patience patience;
	int schedstat_fd;
	uint64_t woke_ns;       /* when it slept last */
	/* Of the time in which it is dry. */
	uint64_t dry_since_ns;  /* 0: it is not */
	struct in_queue *dry_after; /* had the frames before; NULL: unknown */
	struct patience_plan plan;
	uint64_t awake_since_ns, awake_until_ns;
	bool napped;
	enum patience_found found; /* if frames came now */
	struct offload_arena *arena;
	struct cuts *cuts;
	struct stall stall;
	unsigned pieces_left; /* that may still be cut out of this burst */
	struct burst burst;
	struct vireo_frame frames[BURST_FRAMES];

	/* Written by others. */
	struct letter *mailbox __attribute__((aligned(CACHE_LINE)));
	bool stop;

	/* Control thread. */
	struct in_queue **slots; /* grows; NULL: free */
	unsigned slot_count;
	unsigned in_count;
};

int worker_new(struct sw *sw, unsigned index, int cpu, struct worker **ret_worker); /* does not start it */
int worker_start(struct worker *worker);
void worker_stop(struct worker *worker); /* and wait for its end */
void worker_free(struct worker *worker); /* stopped or never started; takes NULL */
void worker_wake(struct worker *worker); /* any thread: look at topology and mailbox */

/* Control thread. Gives the queue a slot and watches its kicks; the topology is not yet published. */
int worker_adopt(struct worker *worker, struct in_queue *in);
/* The queue is in no topology any more. */
void worker_disown(struct in_queue *in);

/* ---- switch.c ---- */

struct sw {
	/* Constant. */
	struct loop *loop;
	struct vireo_log log;
	struct fdb *fdb;
	struct grace *grace;
	unsigned worker_count;
	struct worker **workers;
	enum sw_mode mode;
	unsigned spin_us, spin_percent;
	uint64_t stall_cycles; /* see stall.c */
	int event_fd; /* raised for the control thread: grace periods ended, the first address was learned, see asides_look() */

	struct topology *topology __attribute__((aligned(CACHE_LINE))); /* published: read by workers */
	bool accused; /* written by workers: some port is */

	/* Control thread. */
	struct loop_watch *watch;
	struct loop_timer *tick; /* runs while there is something to age, or to publish */
	bool ticking;
	bool stale;              /* publishing failed: try again */
	bool held;               /* nothing is published: sw_hold() */
	unsigned started; /* workers */
	uint64_t version, next_serial;
	TAILQ_HEAD(, sw_port) ports; /* those that are not being removed */
	struct sw_port *by_id[SW_PORTS_MAX]; /* NULL: the id is free */
	STAILQ_HEAD(, queue) unpublished; /* removed, but still in the published topology */
	STAILQ_HEAD(, sw_port) unpublished_ports;
	STAILQ_HEAD(, sw_port) unpublished_moves;
	TAILQ_HEAD(, sw_port) asides; /* ports that have one */
	char rcu_key; /* its address is what rcu.h needs */
};

uint32_t switch_now_s(void); /* any thread */
/* Any worker: the database has got its first entry. */
void switch_first_entry(struct sw *sw);
/* Control thread: publishes, now or (when memory is short) later. */
void switch_publish_removal(struct sw *sw);

#endif
