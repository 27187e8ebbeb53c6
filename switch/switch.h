/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_SWITCH_H
#define SWITCH_SWITCH_H

/*
 * A learning Ethernet switch (IEEE 802.1D forwarding) over ports that show frames in place. It knows nothing of
 * what a port is: apps/ joins ports and switch by assigning struct sw_port_ops.
 *
 * Names are the switch's: an IN queue brings frames from the port into the switch (rx), an OUT
 * queue takes frames from the switch to the port (tx).
 *
 * Threads: control functions in the control thread (the one that dispatches `loop`). Workers, which the
 * switch makes, call the queue ops. An in queue belongs to one worker; an out queue is
 * claimed for the length of a burst. Removal is asynchronous: `done` runs in the control thread, once every
 * worker has passed a quiescent state and nobody uses the queue any more.
 */

#include "vireo/frame.h"
#include "vireo/base.h"
#include "work/patience.h"
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct grace_item;
struct loop;
struct sw;
struct sw_port;

/* Counters that a port keeps, for one queue. Read by any thread. */
struct sw_queue_stats {
	uint64_t frames, bytes;
	uint64_t no_buffer, too_long, offload_refused, filtered, disabled, runt, bad_offload, error;
	uint64_t signals; /* to the port's driver */
};

/* All are called by the worker that owns (in) or has claimed (out) the queue, but for the last. */
struct sw_port_ops {
	/* Up to max frames in place; 0: none; negative: the queue is dead, do not ask again. */
	int (*receive)(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max);
	/* A receive is near: fetch what it will look at. May be NULL. */
	void (*expect)(void *opaque, unsigned queue);
	/* Gives all frames of the last receive back. */
	void (*release)(void *opaque, unsigned queue);
	/* Copies frames into the port. What does not go is counted by the port and lost. Returns frames that went. */
	int (*deliver)(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count);
	/*
	 * How many frames, the list's last ones, the deliver() before has left: not counted, and not lost, since the queue waits for what will
	 * come in a moment. They are held, and what comes after them, until sw_queue_pause() and sw_queue_resume(). NULL: none ever.
	 */
	unsigned (*left)(void *opaque, unsigned queue);
	/* Of what left() has said: it is for want of buffers, and nobody says when there are some (sw_port_retry_set()). NULL: never. */
	bool (*starves)(void *opaque, unsigned queue);
	/* Control thread: may left() say so of this out queue, as it is now? NULL: no. */
	bool (*leaves)(void *opaque, unsigned queue);
	/* End of a burst: show, signal. */
	void (*flush)(void *opaque, unsigned queue);
	/* In queue: fd that becomes readable (edge-triggered) when frames come and kicks are enabled; -1: poll me. */
	int (*kick_fd)(void *opaque, unsigned queue);
	/* Kicks on (returns true if frames are there already) or off. */
	bool (*kick_enable)(void *opaque, unsigned queue, bool on);
	/*
	 * Out queue: about how many buffers the receiver has free. What is sent to many leaves a quarter of the most there were for what
	 * is sent to it alone. NULL: that cannot be told.
	 */
	unsigned (*room)(void *opaque, unsigned queue);
	/* Out queue: the receiver's driver has looked at all that it has been given, and waits for a signal: see pace.c. NULL: that cannot be told. */
	bool (*awaits)(void *opaque, unsigned queue);
	/*
	 * After a flush, or a release, of a port whose signals may be held back (sw_port_signals_set()): until when one is, in nanoseconds of
	 * CLOCK_MONOTONIC; it is called again by then, and signals. 0: none is. now: what is held is signalled at once. The control thread calls it
	 * as well, of an out queue that no worker uses. NULL: none ever is.
	 */
	uint64_t (*signal_look)(void *opaque, bool out, unsigned queue, bool now);
	/* Control thread: is there a cable? Asked of members of bonds, which have no other way to know. NULL: there is, while queues run. */
	bool (*carrier)(void *opaque);
	/*
	 * Which out queue each frame goes to, where the port's receiver has said so (sw_port_steered_set()); false: it has not, and any that runs will
	 * do, as long as a flow keeps to one. Any worker, whoever has claimed the queues. NULL: no receiver of this port ever says so.
	 */
	bool (*steer)(void *opaque, struct vireo_frame *const *frames, unsigned count, uint8_t *ret_queues);
	/* Any thread. */
	void (*stats)(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret);
	/* Frames lie in memory of a peer, who can make wait whoever looks at it: such a port may come to be served aside. */
	bool peer_memory;
};

#define SW_SPIN_NEVER PATIENCE_NEVER

enum sw_mode {
	SW_ADAPTIVE, /* poll while there is work, sleep when there is none */
	SW_POLL,
};

/*
 * Multicast snooping (RFC 4541): IP multicast goes to the ports that have a member of its group behind them, as IGMP and MLD tell, and to
 * those with a router; in VLANs in which somebody asks for members, for else they do not tell for long.
 */
struct sw_multicast {
	bool snooping;
	bool querier;             /* the switch asks, where nobody else does */
	bool unknown_to_routers;  /* what nobody is a member of goes to routers alone, and not to all */
	unsigned query_interval_s; /* 0: 125 */
};

/* Who knows where CPUs and memory lie: work/nodes.h. For tests, on machines that have one node. */
struct sw_nodes {
	const char *path;
	int (*ask)(unsigned count, void *const *addresses, int *ret_nodes);
};

struct sw_config {
	unsigned workers;   /* 0: 1 */
	const int *cpus;    /* one per worker, or NULL: not pinned */
	enum sw_mode mode;
	/* Adaptive, SW_SPIN_NEVER for none: how long to wait awake for frames that usually come so soon (0: as long as a
	 * sleep is measured to cost), and for how much of the time, without what is cheaper than to sleep (0: 10). */
	unsigned spin_us, spin_percent;
	/*
	 * In queues that nobody has moved go from a worker that is busy to one that has room, from one whose CPU is gone to others, and, where workers are pinned
	 * to CPUs of more than one node, to that of their guest's memory, by themselves. It
	 * costs the control thread a look each balance_ms (0: 1000).
	 */
	bool balance;
	unsigned balance_ms;
	bool unpaced; /* a sender of UDP waits for nobody, however many want the workers' CPUs; otherwise pace.c says who does */
	const struct sw_nodes *nodes; /* NULL: this machine's; borrowed until sw_new() returns */
	unsigned fdb_entries; /* 0: 65536 */
	unsigned fdb_age_s; /* 0: 300 */
	struct sw_multicast multicast;
	struct vireo_log log;
};

int sw_new(const struct sw_config *config, struct loop *loop, struct sw **ret_sw);
void sw_free(struct sw *sw); /* all ports are gone; joins the workers; takes NULL */

#define SW_QUEUES_MAX 128u
#define SW_PORTS_MAX 4096u
#define SW_VLAN_MAX 4095u
#define SW_VLAN_SET_WORDS 64u
#define SW_ADDRESSES_MAX 64u /* of a port, that are fixed to it */
#define SW_FLOOD_DEFAULT 500000u
#define SW_FLOOD_ANY UINT32_MAX

/* So many a second, and up to `burst` at once (0: a tenth of a second's, but 64 KiB or 16 frames at least). 0 a second: any. */
struct sw_limit {
	uint64_t per_second; /* at most 2^40 */
	uint64_t burst;
};

/* Which frames to a port are more urgent than others, and go first: four classes (priority.c). */
enum sw_priority {
	SW_PRIORITY_OFF,
	SW_PRIORITY_PCP,  /* by the priority of their tag */
	SW_PRIORITY_DSCP, /* by the differentiated services codepoint of IPv4 and IPv6 */
};

/*
 * What is beyond is dropped and counted. A frame passes if there is anything left, and what it takes beyond that is owed: with a
 * burst smaller than a frame, frames still come at the rate that is given. One that is to be cut counts as the frames it is cut into.
 */
struct sw_limits {
	struct sw_limit bytes_in, frames_in;   /* from the port */
	struct sw_limit bytes_out, frames_out; /* to it */
	struct sw_limit broadcast, multicast, unknown; /* frames from the port; unknown: unicast that goes to all */
	enum sw_priority priority; /* of frames to it, where there is not enough for all */
};

/*
 * What finds no buffers at a port whose ops have starves() is held, as much as sw_queue_pause() says, and tried again: each `delay_us`, and
 * whenever more comes for the queue. After so many looks in a row that found no buffer all of it is dropped: tx_retry_limit. No worker
 * waits. 0 looks: it is dropped at once.
 */
struct sw_retry {
	unsigned looks; /* up to SW_RETRY_LOOKS_MAX */
	unsigned delay_us;
};

#define SW_RETRY_LOOKS_MAX 10000u

#define SW_GUARD_ADDRESSES_MAX 16u

struct sw_prefix {
	uint8_t family; /* 4 or 6 */
	uint8_t bits;   /* up to 32 or 128; those of `address` behind them are 0 */
	uint8_t address[16];
};

/*
 * What the port may not say. A frame that is refused is counted, and nothing is learned from it. What cannot be understood, because it is cut
 * short or hidden behind more tags or headers than are looked through, is refused.
 */
struct sw_guard {
	/* IPv4 and IPv6 sources, and what ARP and neighbour discovery say is here, must be one of these. None: any. */
	struct sw_prefix addresses[SW_GUARD_ADDRESSES_MAX];
	unsigned address_count;
	bool neighbours;   /* ARP and neighbour discovery must tell the frame's own source address; addresses have it checked as well */
	bool dhcp_servers; /* nothing that only DHCP servers send */
	bool routers;      /* no router advertisements and redirects */
};

enum sw_router {
	SW_ROUTER_HEARD,  /* there is one behind the port while queries come from it */
	SW_ROUTER_ALWAYS,
	SW_ROUTER_NEVER,  /* queries from the port are refused */
};

#define SW_GROUPS_DEFAULT 128u
#define SW_GROUPS_MAX     4096u

/* Where there is snooping. */
struct sw_port_multicast {
	enum sw_router router;
	bool fast_leave;     /* one host is behind the port: who leaves a group leaves it at once */
	unsigned groups_max; /* that the port may have members of (0: SW_GROUPS_DEFAULT) */
};

/* How frames from one guest to another go. */
enum sw_vm2vm {
	SW_VM2VM_SOFTWARE, /* the switch forwards them */
	SW_VM2VM_OFF,	   /* not at all: the port hears of uplinks only, and they of it */
	/*
	 * What the port sends goes to the uplinks, and what others send it as well: the bridge there forwards it, and sends back what is for another
	 * port of the switch (reflective relay: IEEE 802.1Q, 5.23; hairpin mode of the kernel's bridge). What comes back does not go to who
	 * has sent it. Of guests with this, and with SW_VM2VM_OFF, no address is learned that was heard of behind an uplink a moment ago: rx_spoofed.
	 */
	SW_VM2VM_HARDWARE,
};

/* Who of the members of a bond carries frames. */
enum sw_bond_mode {
	SW_BOND_ACTIVE_BACKUP, /* one does: the primary one if it is up, else who has done so, else the first that is up */
	SW_BOND_BALANCE,       /* all that are up, by what is in frames; the other end takes the links as one, because somebody has told it to */
	SW_BOND_LACP,          /* the same, with those that the other end agrees on: IEEE 802.1AX */
};

/* What of a frame decides which member it goes to, as the kernel's bonding driver names it. What has less goes by what it has. */
enum sw_bond_hash {
	SW_BOND_LAYER2,  /* both addresses, and the type */
	SW_BOND_LAYER23, /* addresses of IP, too */
	SW_BOND_LAYER34, /* addresses of IP, and ports of TCP and UDP */
};

#define SW_BOND_MEMBERS_MAX 16u

struct sw_bond_config {
	enum sw_bond_mode mode;
	enum sw_bond_hash hash;
	const char *primary; /* copied; NULL: none */
	bool lacp_passive;   /* says nothing before the other end does */
	bool lacp_fast;      /* wants to hear from it every second, and gives it up after 3 s; or 30 s and 90 s */
	uint8_t lacp_system[6]; /* who we are to it; 0: a random address */
};

struct sw_port_config {
	const char *name; /* copied; unique: -EEXIST */
	/* So sw_port_number() is, and 1 more: -EEXIST, -ERANGE; 0: any. What another process had it by, with whom others speak by that. */
	unsigned number;
	/*
	 * The port is a bond: it has no queues, and what goes to it goes out of one of its members, and what they bring comes from it. Its ops and
	 * opaque are not used. NULL: it is none.
	 */
	const struct sw_bond_config *bond;
	/*
	 * The port is a member of the bond of that name, which may come later, and go: without it, it carries nothing. Copied. What follows about
	 * VLANs, roles, limits, guards and multicast is the bond's affair then, and not looked at. NULL: of none. A bond has SW_BOND_MEMBERS_MAX,
	 * who comes later carries nothing, too.
	 */
	const char *member_of;
	const struct sw_port_ops *ops; /* kept */
	void *opaque;
	/*
	 * To SW_VLAN_MAX, else -EINVAL: only ports in the same one hear of each other. A port that is not vlan_aware puts all its frames into
	 * its `vlan`, and tags are payload to it.
	 */
	uint16_t vlan;
	/*
	 * Tags of tag_type (0: 0x8100; or 0x88a8) are looked at. A frame without one lies in `vlan`, or may not come in if that is 0; a frame with one
	 * lies in the tag's, if that is `vlan` or one of `tagged`. Frames go to the port with a tag if their VLAN is one of
	 * `tagged`, and without one if it is only `vlan`. -EINVAL: a VLAN that no tag can say, 0 or 4095; or none at all.
	 */
	bool vlan_aware;
	uint16_t tag_type;
	const uint64_t *tagged; /* SW_VLAN_SET_WORDS words, VLAN v is bit v % 64 of word v / 64; copied; NULL: none */
	bool isolated;    /* it hears only of ports that are not, and they of it */
	/*
	 * It leads to other switches. It hears of all ports but other uplinks. If it is not, vm2vm holds, where the port is not
	 * isolated.
	 */
	bool uplink;
	enum sw_vm2vm vm2vm;
	uint16_t mtu;     /* frames to this port with more payload are dropped, GSO aside; 0: no limit */
	/*
	 * Frames from the port must have one of these as their source, and those of no other port may. Copied;
	 * none: any address that is not another port's in this way. -EADDRINUSE: it is one of another port's already;
	 * -ENOSPC: the forwarding database has no room for it; -EINVAL: more than SW_ADDRESSES_MAX.
	 */
	const uint8_t (*addresses)[6];
	unsigned address_count;
	/*
	 * Of frames from the port that go to several others, so many copies a second (0: SW_FLOOD_DEFAULT; SW_FLOOD_ANY: no limit),
	 * each of up to 2 KiB; a longer one is several. What goes to one other port alone is not counted.
	 */
	uint32_t flood_copies;
	struct sw_limits limits;
	struct sw_retry retry;
	struct sw_guard guard;
	struct sw_port_multicast multicast;
	bool gro; /* TCP segments from the port that follow one another become large frames; for receivers that take none they are cut again */
	/* Without addresses: the first one that it sends from is fixed to it until it is removed, as if it were one of them. */
	bool lock_address;
	/*
	 * Its memory may make who looks at it wait: a thread of the port's own does so, and copies all frames, so that
	 * no worker waits. Otherwise that begins when workers have waited for its peer_memory several times. -EAGAIN: no thread.
	 */
	bool aside;
};

int sw_port_new(struct sw *sw, const struct sw_port_config *config, struct sw_port **ret_port);
/* Removes what queues it still has, forgets its addresses, then calls done. */
void sw_port_free(struct sw_port *port, void (*done)(void *opaque), void *opaque);

bool sw_port_aside(const struct sw_port *port); /* by now */
/*
 * From now on whoever looks at the peer's memory may have to wait for as long as the peer likes: the port is served aside, until this
 * is taken back; then it must have no queues. One that is aside anyway stays there. A negative errno: it cannot be served aside.
 */
int sw_port_slow_set(struct sw_port *port, bool slow);

/*
 * Between the two workers hear nothing of ports and queues that come and go: all of it becomes known at once, for the price of
 * one. A removal's `done` comes after that. Where many ports are made or removed in a row; each change by itself costs
 * time and memory for all the ports there are. sw_release(): -ENOMEM: what came is not known to the workers yet, and
 * will be with the next change.
 */
void sw_hold(struct sw *sw);
int sw_release(struct sw *sw);

/*
 * item->fn runs in the control thread when every worker has ended what it was doing with the port's queues at the time of the call; the
 * queues stay, and workers go on. -EOPNOTSUPP: the port is served aside, by who may take any time.
 */
int sw_port_grace(struct sw_port *port, struct grace_item *item);

const char *sw_port_name(const struct sw_port *port);
void *sw_port_opaque(const struct sw_port *port);
struct sw_port *sw_port_find(struct sw *sw, const char *name);
struct sw_port *sw_port_next(struct sw *sw, struct sw_port *previous); /* NULL: the first; ends with NULL */

int sw_queue_add(struct sw_port *port, bool out, unsigned queue); /* -EEXIST, -ERANGE, -ENOMEM */
/*
 * done: nobody calls the port for the queue any more. A signal that is held back (signal_look()) is the caller's from then on; the thread of a port
 * that is served aside has signalled.
 */
void sw_queue_remove(struct sw_port *port, bool out, unsigned queue, void (*done)(void *opaque), void *opaque);
bool sw_queue_present(const struct sw_port *port, bool out, unsigned queue);

/*
 * The out queue stops for a moment. When `done` is called (in the control thread, later), nobody calls the port for it. What comes for it is
 * held, up to 2 MiB and 4096 frames (for the n-th queue of a port an n-th of the bytes), until sw_queue_resume() has it delivered in
 * order before anything else, or sw_queue_remove() loses it (tx_lost). -ENOENT: there is no such out queue; -ENOMEM: remove it instead.
 */
int sw_queue_pause(struct sw_port *port, unsigned queue, void (*done)(void *opaque), void *opaque);
void sw_queue_resume(struct sw_port *port, unsigned queue); /* after `done` */

void sw_port_offloads_set(struct sw_port *port, unsigned offloads); /* VIREO_OFFLOAD_*; initially 0 */
void sw_port_mtu_set(struct sw_port *port, uint16_t mtu);
void sw_port_gro_set(struct sw_port *port, bool on);
/*
 * As `multicast` of sw_port_new(). A port that may not have a router has none from now on; groups beyond a smaller bound stay until their members
 * leave or are forgotten.
 */
void sw_port_multicast_set(struct sw_port *port, const struct sw_port_multicast *multicast);
int sw_port_guard_set(struct sw_port *port, const struct sw_guard *guard); /* -EINVAL, -ENOMEM */
/*
 * From the next round on the port's VLANs, isolated, uplink, vm2vm and member_of are those of the config; nothing else of that is looked at. What was
 * learned behind the port is forgotten, if its VLANs change. -EINVAL: as sw_port_new(); -EADDRINUSE, -ENOSPC: one of the port's addresses in a new VLAN;
 * -EBUSY: an address is held behind the port in a VLAN that it would leave; -ENOMEM. After an error nothing has changed.
 */
int sw_port_rules_set(struct sw_port *port, const struct sw_port_config *config);
/*
 * From now on the port may send from these addresses alone, as `addresses` of sw_port_new() says; or, without any and with `lock`, from the first one
 * that it sends from; or from any, which it learns. One that stays is fixed all the time; one that comes may be refused (rx_spoofed) until this returns,
 * unless it was known behind the port before. -EADDRINUSE, -ENOSPC: as sw_port_new(), and nothing has changed.
 */
int sw_port_addresses_set(struct sw_port *port, const uint8_t (*addresses)[6], unsigned count, bool lock);
/* What a port that locks the first address has locked; everywhere: in each of its VLANs nobody else has it. False: none yet. */
bool sw_port_locked(const struct sw_port *port, uint8_t ret_mac[6], bool *ret_everywhere);
/*
 * As if the first address that the port has sent from had been this one, which was so elsewhere. In VLANs where it is fixed to another port
 * it stays there. -EINVAL: no unicast address, the port locks none, or has locked another one; -ENOSPC: no room where it would have to be.
 */
int sw_port_locked_set(struct sw_port *port, const uint8_t mac[6]);
void sw_port_limits_set(struct sw_port *port, const struct sw_limits *limits); /* buckets begin full */
int sw_port_retry_set(struct sw_port *port, const struct sw_retry *retry); /* -ENOMEM: nothing has changed */
void sw_port_flood_set(struct sw_port *port, uint32_t copies); /* as flood_copies of the config; the bucket begins full */
/* From now on the port's steer() is asked, or not any more. A frame that it sends to a queue that does not run is lost: tx_no_queue. */
void sw_port_steered_set(struct sw_port *port, bool on);
/*
 * Held: the port may hold signals to its driver back, and workers ask signal_look() from now on; each time that this is called they look at all
 * its queues once more, soon: what is held may be due by now. Not held: they do not ask any more, and the port has no queue that holds anything.
 */
void sw_port_signals_set(struct sw_port *port, bool held);
/*
 * Down: no frame goes to the port or comes from it, as if its cable were pulled, and what was learned behind it is forgotten; its queues
 * are emptied all the same. Up at first. Workers see it at their next round.
 */
void sw_port_link_set(struct sw_port *port, bool up);
bool sw_port_link(const struct sw_port *port);

/* Forwards a frame (copied) as if it had come from the port: announcements. -ENOMEM, -EMSGSIZE. */
int sw_port_inject(struct sw_port *port, const void *frame, uint32_t bytes);

/* What the switch itself counts, for frames that came from this port (rx_*) or were to go to it (tx_*). */
struct sw_port_stats {
	uint64_t rx_frames, rx_bytes; /* taken in */
	uint64_t tx_frames, tx_bytes; /* delivered; of a bond: given to its members, who count what they lose */
	uint64_t rx_reserved;         /* 01:80:c2:00:00:00-0f: never forwarded */
	uint64_t rx_hairpin;          /* destination is behind the port itself; or, of rx_reflected, behind who has sent it */
	uint64_t rx_bad_source;       /* source address is multicast or zero */
	uint64_t rx_vlan;             /* with a tag that the port may not use, or without the one that it needs */
	uint64_t rx_isolated;         /* to a port that is isolated, as this one is; or one of both is SW_VM2VM_OFF; or both are uplinks */
	uint64_t rx_reflected;        /* from an uplink, but a port of the switch had sent them there (not a drop) */
	uint64_t rx_spoofed;          /* source address is another port's, or of somebody behind an uplink (SW_VM2VM_OFF, _HARDWARE), or not one of those that the port may have */
	uint64_t rx_segment_limit;    /* not cut for who does not take it whole: too many pieces in one burst */
	uint64_t rx_flooded;          /* forwarded, to more than one port (not a drop) */
	uint64_t rx_flood_limit;      /* to several ports, beyond flood_copies */
	uint64_t rx_no_destination;   /* there is no other port */
	uint64_t rx_link_down;        /* see sw_port_link_set() */
	uint64_t rx_lost;             /* taken in by a thread of the port's own, whose queue was removed before a worker saw them */
	uint64_t rx_spoofed_ip;       /* refused by the port's guard: IPv4 or IPv6 source */
	uint64_t rx_spoofed_arp;      /* ARP, RARP */
	uint64_t rx_spoofed_nd;       /* neighbour discovery */
	uint64_t rx_dhcp_server;
	uint64_t rx_router;           /* router advertisement, redirect */
	uint64_t rx_unreadable;       /* cut short, too many tags, extension headers or pieces, or a checksum that goes into them */
	uint64_t rx_rate_limit;       /* beyond bytes_in or frames_in */
	uint64_t rx_storm_broadcast, rx_storm_multicast, rx_storm_unicast; /* to several ports, beyond what the port may send of its kind */
	uint64_t rx_merged;           /* became part of the frame before: see gro (not a drop) */
	uint64_t rx_paced;            /* bursts after which it waited for its receiver: unpaced in sw_config (not a drop) */
	uint64_t rx_membership;       /* IGMP, MLD: what groups there are to be was heard from it (not a drop) */
	uint64_t rx_membership_bad;   /* such a message that lies */
	uint64_t rx_membership_limit; /* too many of them */
	uint64_t rx_membership_full;  /* members of more groups than the port may have, or there is room for (not a drop) */
	uint64_t rx_no_member;        /* to a group of which nobody is a member, and there is no router */
	uint64_t rx_inactive;         /* from a member of a bond that is not to bring frames: another one does, or there is no such bond */
	uint64_t rx_lacp;             /* taken in by the bond that it is a member of: LACPDUs and markers (not a drop) */
	uint64_t rx_lacp_bad;         /* of those, such as lie, or are cut short (not a drop again) */
	uint64_t rx_lacp_limit;       /* too many of them */
	uint64_t tx_rate_limit;       /* beyond bytes_out or frames_out */
	uint64_t tx_held;             /* kept until the port's queue went on, or had buffers (not a drop) */
	uint64_t tx_hold_limit;       /* the port's queue has stopped for a moment, or has no buffers, and no more can be kept for it */
	uint64_t tx_retry_limit;      /* kept until the port's queue had buffers, and it got none in all that time: see sw_retry */
	uint64_t tx_class1, tx_class2, tx_class3; /* of a port with priorities: of this class, and not beyond a limit (not a drop) */
	uint64_t tx_less_urgent;      /* what is left is for classes above: of what the port may get in a second, of its buffers, or of what can be kept */
	uint64_t tx_no_queue;         /* port has no running out queue, or the one that its receiver wants the frame in does not run */
	uint64_t tx_link_down;        /* see sw_port_link_set() */
	uint64_t tx_flood_room;       /* to several ports; the port's last free buffers are for what goes to it alone, or for what calmer ports send to several */
	uint64_t tx_mtu;              /* longer than the port's MTU */
	uint64_t tx_segment_error;    /* needed software segmentation, but its headers lied */
	uint64_t tx_segmented;        /* frames that were cut in software (not a drop) */
	uint64_t tx_lost;             /* the port took fewer than were given: see its queue counters; or its queue was removed first */
};
void sw_port_stats(const struct sw_port *port, struct sw_port_stats *ret_stats);
/*
 * Of one burst from the port in about SW_SAMPLED_BURSTS, chosen by dice. How long its frames have stayed in the switch: from when the worker asked
 * the port for them until each was delivered, kept for a receiver that is to have buffers later, or dropped, and the burst was given back to its
 * sender. How long they had lain in the sender's ring before is not in it, nor how long a signal to the receiver is held back.
 */
#define SW_SAMPLED_BURSTS 64u
#define SW_STAY_NS_MIN	  256u /* the upper bound of the first bucket; that of each next one is twice as much */
#define SW_STAY_BUCKETS	  20u
#define SW_BURST_BUCKETS  7u /* the upper bounds are 1, 2, 4 ... 64 frames */
struct sw_port_samples {
	uint64_t stay[SW_STAY_BUCKETS + 1]; /* frames, by how long they stayed; the last: longer than all bounds */
	uint64_t stay_ns;		    /* the sum of that over those frames */
	uint64_t burst[SW_BURST_BUCKETS];   /* bursts, by how many frames they had */
	uint64_t burst_frames;		    /* those frames */
};
void sw_port_samples(const struct sw_port *port, struct sw_port_samples *ret_samples);
void sw_queue_stats(const struct sw_port *port, bool out, unsigned queue, struct sw_queue_stats *ret_stats);
/*
 * How often an in queue's kick_fd has called its worker since the port was made; several kicks before the worker looks are one. -EOPNOTSUPP: the
 * port is served aside, and calls no worker.
 */
int sw_queue_kicks(const struct sw_port *port, unsigned queue, uint64_t *ret_kicks);
/* For the ops of a port that counts in such a struct, by counter_add(): reads it while it is written. */
void sw_queue_stats_read(const struct sw_queue_stats *kept, struct sw_queue_stats *ret_stats);

struct sw_worker_stats {
	uint64_t loops, busy_loops, wakeups, sleeps;
	uint64_t frames;
	uint64_t busy_cycles; /* of the CPU's time stamp counter, in polls that brought frames; see base/util.h */
	int cpu; /* -1: not pinned */
	uint64_t relieved; /* so often it stood still in a peer's memory, and its other queues were served in its stead */
	/* Of a switch that looks at them (sw_looks()): */
	bool has_cpu;		    /* its CPU is there; or, where workers are not pinned, one of as many as there are */
	unsigned busy_percent;	    /* of the last second or so, in polls that brought frames */
	uint64_t moved_in, moved_out; /* queues that have moved by themselves */
};
unsigned sw_worker_count(const struct sw *sw);
bool sw_balances(const struct sw *sw); /* as it was set */
bool sw_looks(const struct sw *sw);    /* at how busy they are: with `balance`, but not for one worker that is not pinned */
unsigned sw_queue_busy(const struct sw_port *port, unsigned queue); /* of its worker's busy_percent, if sw_looks() */
/* Who serves an in queue; -1: it is not there. (Out queues are whoever's has frames for them.) */
int sw_queue_worker(const struct sw_port *port, unsigned queue);
/*
 * Gives an in queue to a worker, and it is that worker's from then on, also when it goes and comes again. `done` (or NULL) is called once, when
 * the worker before has let go of it, maybe from within; frames wait in the queue until then, and none is lost. A queue that is not
 * there is given to the worker when it comes. -ERANGE, -ENOMEM: nothing has changed.
 */
int sw_queue_move(struct sw_port *port, unsigned queue, unsigned worker, void (*done)(void *opaque), void *opaque);
/* The worker that an in queue has been given to, whether the queue is there or not; -1: none, it goes to whoever has the fewest. */
int sw_queue_home(const struct sw_port *port, unsigned queue);
void sw_queue_anywhere(struct sw_port *port, unsigned queue); /* so from now on; who serves it goes on */
void sw_worker_stats(const struct sw *sw, unsigned worker, struct sw_worker_stats *ret_stats);

/* ---- forwarding database ---- */

struct sw_fdb_entry {
	uint8_t mac[6];
	const char *port; /* valid during the callback */
	uint16_t vlan;
	unsigned age_s;
	bool fixed; /* not learned: one of the port's config, or held */
	bool held;  /* by sw_fdb_hold() */
};
void sw_fdb_each(struct sw *sw, void (*fn)(void *opaque, const struct sw_fdb_entry *entry), void *opaque);
void sw_fdb_flush(struct sw *sw, struct sw_port *port); /* what was learned; NULL: all */
/*
 * Holds an address behind a port, in one of its VLANs, however seldom it is heard of and whoever else says that it is his; what another
 * port sends from it is forwarded, and not learned. It goes with the port, or when it is let go. Where the port has addresses of its
 * own, it may send from this one, too. -EINVAL: no unicast address, or the port is not in the VLAN; -EADDRINUSE: it is another port's in this way, or
 * by its config; -ENOBUFS: as many are held as may be, a quarter of the capacity or 1024; -ENOSPC: no room where it would have to be.
 */
int sw_fdb_hold(struct sw_port *port, uint16_t vlan, const uint8_t mac[6]);
/* As if a frame with this source had come from the port, which was so elsewhere: an address that cannot be learned is not. */
void sw_fdb_learned(struct sw_port *port, uint16_t vlan, const uint8_t mac[6]);
int sw_fdb_let_go(struct sw *sw, uint16_t vlan, const uint8_t mac[6]); /* -ENOENT: it is not known; -EPERM: it is not held */
void sw_fdb_let_go_all(struct sw *sw, struct sw_port *port); /* NULL: of all ports */
/* Before many addresses come at once and nobody is to wait: the table's memory, which else comes with them. It takes milliseconds. */
void sw_fdb_touch(const struct sw *sw);
struct sw_fdb_stats {
	uint64_t entries, fixed, capacity, learned, moved, aged, evicted, refused; /* entries: the fixed ones as well */
};
void sw_fdb_stats(const struct sw *sw, struct sw_fdb_stats *ret_stats);

/* ---- who keeps a copy of the forwarding database, or of a part ---- */

struct sw_watch;

struct sw_watch_place {
	uint8_t mac[6];
	uint16_t vlan;
	const struct sw_port *port; /* where it is now; NULL: nowhere, or behind a port that is being removed */
};
typedef void sw_watch_fn(void *opaque, const struct sw_watch_place *place);

/*
 * Control thread. `news` is called from the loop when there is something to take, the first time soon, and not again before sw_watch_take() has
 * been told that there is no more. -ENOMEM; -ENOSPC: there are as many watches as may be, 8.
 */
int sw_watch_new(struct sw *sw, void (*news)(void *opaque), void *opaque, struct sw_watch **ret_watch);
void sw_watch_free(struct sw_watch *watch); /* takes NULL */
/*
 * Calls fn with some of the addresses that have come, moved or gone: an address may be told twice. True: there may be more. *ret_all: what has
 * changed was more than there is room for, or a port has got or lost its queues, its link or VLANs: sw_watch_walk() is to be called.
 */
bool sw_watch_take(struct sw_watch *watch, sw_watch_fn *fn, void *opaque, bool *ret_all);
void sw_watch_walk(const struct sw_watch *watch, sw_watch_fn *fn, void *opaque); /* all that are behind some port now */

bool sw_port_serves(const struct sw_port *port); /* somebody gets what goes to it: its link is up, and it has an out queue, or is a bond */
bool sw_port_is_uplink(const struct sw_port *port);
unsigned sw_port_number(const struct sw_port *port); /* below SW_PORTS_MAX; another port has it later */
int sw_port_tag(const struct sw_port *port, uint16_t vlan); /* with which frames of the VLAN go to it: 0: none; -ENOENT: it is not in the VLAN */

/* ---- bonds ---- */

struct sw_bond_status {
	enum sw_bond_mode mode;
	enum sw_bond_hash hash;
	const char *active, *primary; /* names, or NULL; valid until the loop goes on */
	const char *last; /* the same: who was active last, while none is */
	unsigned member_count;
	bool lacp_passive, lacp_fast;
	uint8_t lacp_system[6];
	uint16_t lacp_key;
	bool lacp_partner; /* there is one, who is: */
	uint8_t partner_system[6];
	uint16_t partner_system_priority, partner_key;
};

/* One end of a member's link, as LACP tells it; state: LACP_* of switch/lacp.h. */
struct sw_bond_end {
	uint8_t system[6];
	uint16_t system_priority, key, port_priority, port;
	uint8_t state;
};

struct sw_bond_member {
	const char *port;
	bool up;	/* its link is */
	bool takes;	/* frames that it brings come in */
	bool carries;	/* frames go out of it, */
	unsigned share; /* so many of SW_BOND_SHARES flows */
	/* LACP. */
	bool loops; /* its partner is this switch itself */
	const char *receive, *periodic, *selected, *mux; /* the machines' states; NULL: the bond has no LACP */
	struct sw_bond_end actor, partner;
	uint64_t heard, sent, bad, markers;
};
#define SW_BOND_SHARES 256u

bool sw_port_is_bond(const struct sw_port *port);
/*
 * Of a port that is a bond: from the next round on all of it is as in the config. With another mode, or something else of LACP's, LACP begins anew,
 * and nothing is carried until the other end has agreed again. A lacp_system of 0 is the one that the bond has. -EINVAL, -ENOMEM: nothing has
 * changed.
 */
int sw_bond_set(struct sw_port *port, const struct sw_bond_config *config);
/* Of a port that is a bond. */
void sw_bond_status(const struct sw_port *port, struct sw_bond_status *ret_status);
/* Of one that is active-backup: that member has carried, in another process, and is to go on if its link is up. Others are left alone. */
void sw_bond_last_set(struct sw_port *port, const char *member);
/* What LACP has agreed on at a member, as one process hands it over to another; of the machines' states and timers see switch/lacp.h. */
struct sw_bond_past {
	const char *port; /* the member; valid until the loop goes on */
	bool leads;	  /* its partner is everybody's */
	bool nobody;	  /* nobody is heard there: `partner` says nothing */
	uint8_t receive, periodic, selected, mux;
	struct sw_bond_end partner;
	uint64_t current_ms, periodic_ms, wait_ms; /* until timers end; UINT64_MAX: they do not run */
};

/* Of a port that is a bond with LACP: of each member whose link is up. */
void sw_bond_past_each(const struct sw_port *port, void (*fn)(void *opaque, const struct sw_bond_past *past), void *opaque);
/* What is said of all its members together: false: it is no such bond, or that cannot be. Whether it has these members is not looked at. */
bool sw_bond_pasts_valid(const struct sw_port *port, const struct sw_bond_past *pasts, unsigned count);
/*
 * As if a member had come so far. For those of one bond, of the same lacp_system and with the numbers that they had: before its links are looked at, so
 * that who is up stays so. -EINVAL: it is no such bond, has no such member, or what is said cannot be.
 */
int sw_bond_past_set(struct sw_port *port, const struct sw_bond_past *past);
void sw_bond_each(const struct sw_port *port, void (*fn)(void *opaque, const struct sw_bond_member *member), void *opaque);

/* ---- multicast database ---- */

struct sw_mdb_entry {
	uint16_t vlan;
	uint8_t family; /* 4 or 6; of a router that the operator has named: 0, both, and the VLAN is any of the port's */
	uint8_t group[16];
	const char *port; /* valid during the callback */
	bool router;      /* it has a router behind it, and no group is told */
	int expires_s;    /* -1: never */
};
/* Who asks for members in a VLAN. */
struct sw_mdb_querier {
	uint16_t vlan;
	uint8_t family;
	bool filters;       /* members are known: others get nothing */
	bool own;           /* the switch asks, */
	bool other;         /* or somebody else, */
	uint8_t address[16]; /* who is that */
};
bool sw_mdb_snoops(const struct sw *sw);
void sw_mdb_each(struct sw *sw, void (*fn)(void *opaque, const struct sw_mdb_entry *entry), void *opaque);
void sw_mdb_each_querier(struct sw *sw, void (*fn)(void *opaque, const struct sw_mdb_querier *querier), void *opaque);
uint32_t sw_mdb_groups(struct sw *sw);
#define SW_MDB_GROUPS_MAX 8192u

#endif
