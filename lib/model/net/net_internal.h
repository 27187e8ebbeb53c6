/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

/*
 * The map of this room. A net device is one struct net_queue per data queue, and the receive filter; the
 * control queue has no state. Who owns what:
 * - control thread: struct vireo_net but for the fields marked otherwise; it writes the filter;
 * - worker: struct net_queue between queue_started and vireo_net_queue_quiesced(); anybody reads `stats`
 *   and the filter, each word for itself.
 * There are no locks.
 */

#include "base/util.h"
#include "model/net/rss.h"
#include "vireo/chain.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include "wire/virtio_net.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define NET_PAIRS_MAX 128u
#define NET_BATCH 64u /* chains popped at a time: what stays in the first-level cache */

#define NET_ETHERNET_BYTES 14u
#define NET_VLAN_BYTES 4u
/* The longest frame that may come: 65589 (virtio 1.3, 5.1.6.3) and two VLAN tags. */
#define NET_FRAME_BYTES_MAX (65589u + 2 * NET_VLAN_BYTES)
#define NET_HDR_LEGACY_BYTES 10u /* without VERSION_1 and MRG_RXBUF: no num_buffers (5.1.6.1) */

#define NET_MTU_MIN 68u

/* ---- filter.c ---- */

#define NET_FILTER_ENTRIES 64u

#define NET_FILTER_PROMISCUOUS (1u << 0)
#define NET_FILTER_ALL_MULTICAST (1u << 1)
#define NET_FILTER_ALL_UNICAST (1u << 2)
#define NET_FILTER_NO_MULTICAST (1u << 3)
#define NET_FILTER_NO_UNICAST (1u << 4)
#define NET_FILTER_NO_BROADCAST (1u << 5)
#define NET_FILTER_VLAN (1u << 6)
#define NET_FILTER_UNICAST_OVERFLOW (1u << 7) /* the driver named more than the table holds: all pass */
#define NET_FILTER_MULTICAST_OVERFLOW (1u << 8)

/* What the driver wants to receive; see filter.c for how it is shared. A MAC address is 48 bits of a word. */
struct net_filter {
	uint32_t sequence;
	uint32_t mode; /* NET_FILTER_* */
	uint64_t mac;  /* 0: not known, any unicast frame may be meant */
	uint32_t unicast_count, multicast_count;
	uint64_t unicast[NET_FILTER_ENTRIES];
	uint64_t multicast[NET_FILTER_ENTRIES];
	uint64_t vlans[4096 / 64];
};

/* A MAC table as a command brings it. */
struct net_filter_table {
	uint32_t count;
	bool overflow;
	uint64_t entries[NET_FILTER_ENTRIES];
};

uint64_t net_filter_mac(const uint8_t bytes[6]);

/* Control thread. */
void net_filter_reset(struct net_filter *filter, const uint8_t mac[6]);
void net_filter_mode_set(struct net_filter *filter, uint32_t bit, bool on);
void net_filter_mac_set(struct net_filter *filter, const uint8_t mac[6]);
void net_filter_tables_set(struct net_filter *filter, const struct net_filter_table *unicast,
			   const struct net_filter_table *multicast);
void net_filter_vlan_set(struct net_filter *filter, uint16_t vlan, bool on);

void net_filter_tell(struct vireo_net *net); /* -> ops->filter_changed */

/* Any thread. `head`: the frame's first bytes, NET_ETHERNET_BYTES + NET_VLAN_BYTES of them readable. */
bool net_filter_match(const struct net_filter *filter, const uint8_t *head);

static inline bool net_filter_passes(const struct net_filter *filter, const uint8_t *head)
{
	uint32_t mode = __atomic_load_n(&filter->mode, __ATOMIC_RELAXED);

	return likely(mode & NET_FILTER_PROMISCUOUS) || net_filter_match(filter, head);
}

/* ---- coalesce.c: how long signals may be held back ---- */

/* Until so many packets, or so many microseconds; 0 of either: not at all. */
struct net_coalesce {
	uint32_t max_packets, max_us;
};
#define NET_COALESCE_BYTES 8u /* of one in a command, or in a state */

/* In a device's state: 32 bits for queue_count, then `all` (receive, transmit) and so many queues. */
struct net_coalesce_state {
	struct net_coalesce all[2];
	uint32_t queue_count; /* those behind have none */
	struct net_coalesce queues[2 * NET_PAIRS_MAX];
};
#define NET_COALESCE_STATE_BYTES_MAX (4u + (2 + 2 * NET_PAIRS_MAX) * NET_COALESCE_BYTES)

/* ---- net.c ---- */

/*
 * One receive or transmit queue. While it runs, `chains` and `iov` hold what has been popped and not given
 * back. The array of chains has as many entries as the ring, so the ring can never hold more; the arena of
 * pieces has VIREO_CHAIN_PIECES_MAX of them, so that any one chain fits into an empty one.
 *
 * Chains are popped ahead of their use and their first lines fetched meanwhile: memory that another CPU has
 * written is far away.
 * Receive: chains[0..first) have been used with `written` bytes each, of which those from `pushed` on are not yet
 * pushed (none between calls); chains[first..last) are popped ahead.
 * Transmit: chains[0..first) are looked at and not yet completed; chains[first..last) are popped ahead.
 */
struct net_queue {
	struct vireo_queue *queue; /* NULL: does not run */
	struct vireo_chain *chains;
	uint32_t *written; /* receive: beside `chains` */
	struct iovec *iov;
	uint32_t size; /* of the ring and of `chains` */
	uint32_t iov_max;
	uint32_t iov_used;
	uint32_t first, last;
	uint32_t pushed; /* receive */
	uint32_t stock_min; /* receive: so many are popped ahead, if they are there; 0: as many as the last burst had */
	uint32_t burst; /* transmit: what the last look asked for; receive: chains used since the last flush */
	uint32_t runt_work;	  /* receive: what may still be spent on runt buffers in this call */
	uint32_t string_from_bytes; /* see base/copy.h */
	uint32_t header_bytes;	  /* of the header in front of each frame */
	unsigned offloads;	  /* receive: what the driver takes, atomic: changed by the control thread; transmit: what it may ask for */
	uint32_t frame_bytes_max; /* receive: untagged, without GSO; atomic: changed by the control thread */
	bool merge;		  /* receive: MRG_RXBUF */
	bool indirect;		  /* INDIRECT_DESC */
	bool hashed;		  /* receive: HASH_REPORT */
	uint32_t left;		  /* receive: of the last offer, frames that had to wait; see vireo_net_receive_left() */
	bool runts_pushed;	  /* receive: given back and not yet shown to the driver */
	bool coalesce_kept;	  /* control thread: `coalesce` is what a state has said, and holds where the queue starts */
	struct net_coalesce coalesce; /* control thread: device/coalesce.c has what the worker goes by */
	bool renew;		  /* atomic: what is popped ahead may lie in memory that has gone; see net_queue_renew() */
	struct vireo_net_queue_stats stats;
} __attribute__((aligned(64)));

struct vireo_net {
	struct vireo_device *device;
	struct vireo_net_ops ops;
	void *opaque;
	unsigned pairs;
	uint64_t features;     /* as accepted; constant while queues run */
	unsigned offloads_off; /* VIREO_OFFLOAD_* that it would take, and does not want now (control queue) */
	struct net_coalesce coalesce_all[2]; /* of receive and transmit queues, as said of all of them */
	bool controlled;       /* the control queue has run since features were agreed on */
	bool keep;             /* atomic: see vireo_net_receive_keep() */
	uint32_t pairs_active; /* atomic: written by the control thread, read by workers */
	uint16_t mtu;	       /* as configured; 0: none */
	uint16_t mtu_told;     /* by the peer; 0: it has not */
	uint16_t status;       /* NET_S_* as in config space */
	bool mac_given;
	struct net_rss *rss; /* rss.c's: written once, while workers look; NULL: the driver has said nothing yet */
	struct net_state *restored; /* state.c's: what holds again after features have been set, or NULL */
	uint8_t mac_config[6]; /* where a reset goes back to */
	uint8_t mac[6];
	struct net_filter filter;
	struct net_queue queues[]; /* 2 * pairs */
};

static inline bool net_has(const struct vireo_net *net, unsigned bit)
{
	return net->features & VIREO_FEATURE(bit);
}

static inline struct net_queue *net_receive_queue(struct vireo_net *net, unsigned pair)
{
	return &net->queues[2 * pair];
}

static inline struct net_queue *net_transmit_queue(struct vireo_net *net, unsigned pair)
{
	return &net->queues[2 * pair + 1];
}

/* Nothing is asked of a frame's receiver: no edit, no offload. They lie side by side, for fewer stores. */
static inline void net_frame_plain(struct vireo_frame *frame)
{
	const size_t first = offsetof(struct vireo_frame, head_bytes), last = offsetof(struct vireo_frame, offload.csum_offset);

	_Static_assert(offsetof(struct vireo_frame, offload) == offsetof(struct vireo_frame, head_bytes) + 2, "side by side");
	memset((uint8_t *)frame + first, 0, last + sizeof(frame->offload.csum_offset) - first);
}

/* Guest memory has been copied: the compiler may not go back and read it again. */
static inline void net_copied(void)
{
	__asm__ volatile("" : : : "memory");
}

/*
 * A frame's head out of guest memory, VIREO_FRAME_HEAD_BYTES: by way of registers that the compiler cannot fill again
 * from there.
 */
static inline void net_head_copy(uint8_t *to, const uint8_t *from)
{
	uint64_t first, second;
	uint16_t rest;

	memcpy(&first, from, 8);
	memcpy(&second, from + 8, 8);
	memcpy(&rest, from + 16, 2);
	__asm__ volatile("" : "+r"(first), "+r"(second), "+r"(rest));
	memcpy(to, &first, 8);
	memcpy(to + 8, &second, 8);
	memcpy(to + 16, &rest, 2);
}

_Static_assert(VIREO_FRAME_HEAD_BYTES == 18, "net_head_copy() copies so much");

/* Pops up to `max` chains more, behind those that are there. Returns what vireo_queue_pop() does. */
static inline int net_queue_pop(struct net_queue *q, uint32_t max)
{
	int r = vireo_queue_pop(q->queue, q->chains + q->last, max, q->iov + q->iov_used,
				q->iov_max - q->iov_used);

	if (r > 0) {
		const struct vireo_chain *end = &q->chains[(q->last += (uint32_t)r) - 1];

		q->iov_used = (uint32_t)(end->iov - q->iov) + end->readable_count + end->writable_count;
	}
	return r;
}

/* Gives back what has been popped ahead. The rest of the arena stays as it is. */
static inline void net_queue_unpop(struct net_queue *q)
{
	if (q->first < q->last)
		vireo_queue_unpop(q->queue, &q->chains[q->first], q->last - q->first);
	q->last = q->first;
}

void net_queue_renew(struct net_queue *q); /* worker, between looks: gives back what lies ready, untouched */

/* Worker, before it looks at what has been popped by the call before. */
static inline void net_queue_look_for_renewal(struct net_queue *q)
{
	/* Pairs with net_queue_memory_goes(): who sees the flag pops by the map that was offered before. */
	if (unlikely(__atomic_load_n(&q->renew, __ATOMIC_ACQUIRE)))
		net_queue_renew(q);
}

int net_status_set(struct vireo_net *net, uint16_t status);
void net_control_begins(struct vireo_net *net);
void net_pairs_set(struct vireo_net *net, unsigned pairs);
int net_mac_set(struct vireo_net *net, const uint8_t mac[6]);

/* ---- buffers.c: where frames to the guest go; see there. The queue's worker ---- */

#define NET_RUNT_WORK_MAX 512u /* runt buffers, and pieces of them, that are given back in one call */

/* As net_queue_pop(); -ENOBUFS also when the array of chains is full. */
int net_receive_refill(struct net_queue *q, unsigned want);
/*
 * Makes chains[first..first + *ret_count) hold `bytes`. 1; 0: not enough there (all of them stay for the next
 * frame); -EMSGSIZE: they never will, however many the driver adds; -EPROTO.
 */
int net_receive_gather(struct net_queue *q, uint32_t bytes, unsigned want, unsigned *ret_count);
void net_receive_push(struct net_queue *q); /* what has been used */
/* Chains for the next call, which will hardly be longer than this one: they come near while others are served. */
void net_receive_stock(struct net_queue *q, unsigned count);

/* ---- coalesce.c. Control thread ---- */

struct net_coalesce net_coalesce_of(const uint8_t *data); /* NET_COALESCE_BYTES of a command */
void net_coalesce_all_set(struct vireo_net *net, bool transmit, struct net_coalesce limits);
/* False: it is no receive or transmit queue that the driver has set up. */
bool net_coalesce_queue_set(struct vireo_net *net, unsigned index, struct net_coalesce limits);
bool net_coalesce_queue_get(const struct vireo_net *net, unsigned index, struct net_coalesce *ret_limits);
void net_coalesce_forget(struct vireo_net *net); /* the driver begins anew */
void net_coalesce_queue_starts(struct vireo_net *net, unsigned index, struct vireo_queue *queue);
bool net_coalesce_said(const struct vireo_net *net); /* anything but 0 */
void net_coalesce_read_out(const struct vireo_net *net, struct net_coalesce_state *ret);
void net_coalesce_apply(struct vireo_net *net, const struct net_coalesce_state *state);
uint8_t *net_coalesce_write(const struct net_coalesce_state *state, uint8_t *to); /* returns its end */
/* False: that cannot be. */
bool net_coalesce_read(const uint8_t *from, size_t bytes, unsigned pairs, struct net_coalesce_state *ret);

/* ---- state.c ---- */

#define NET_STATE_BYTES_MAX (20u + 2 * 6 * NET_FILTER_ENTRIES + 512 + NET_RSS_STATE_BYTES + NET_COALESCE_STATE_BYTES_MAX)

struct net_state;
/* vireo_device_ops */
int net_state_save(void *opaque, void *data, size_t room);
int net_state_load(void *opaque, const void *data, size_t bytes, const char **why);
void net_state_apply(struct vireo_net *net); /* features have been set: what has been saved or loaded holds again */
void net_state_forget(struct vireo_net *net); /* the driver goes on by itself, or begins anew */

/* ---- features.c ---- */

/* Some are for a caller that has an op for what the driver says then. */
uint64_t net_features_offered(const struct vireo_net_config *config, const struct vireo_net_ops *ops);
/* Offloads that a guest may ask for on transmit although its front end has not told us: see vireo_device_config. */
uint64_t net_features_untold(uint64_t offered);
uint32_t net_features_header_bytes(uint64_t features); /* in front of each frame */
const struct vireo_feature_rule *net_feature_rules(size_t *ret_count); /* see vireo_device_config */

/* ---- offloads.c ---- */

unsigned net_features_receive_offloads(uint64_t features);  /* what the driver takes */
unsigned net_features_transmit_offloads(uint64_t features); /* what it may ask the device for */
/* Control thread: from now on the driver takes what its features say, but for those. -> ops->offloads_set */
void net_offloads_off_set(struct vireo_net *net, unsigned off);
/* The same, in the words of GUEST_OFFLOADS_SET: those of these features alone. False: it has not accepted all of them, and nothing changes. */
bool net_offloads_wanted(struct vireo_net *net, uint64_t features);

/* ---- control.c ---- */

void net_control_kicked(void *opaque, struct vireo_queue *queue); /* vireo_device_ops.queue_kicked */

#endif
