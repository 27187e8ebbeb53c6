/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_NET_H
#define VIREO_NET_H

/*
 * A network device (virtio 1.3, 5.1). As everywhere in virtio, "receive" and "transmit" are the
 * driver's: a transmit queue brings frames from the guest, a receive queue brings frames to it.
 * Pair i has receive queue 2i and transmit queue 2i+1; the control queue comes last.
 *
 * Two ways to the data, per queue and never mixed within one queue:
 * - packets of the caller's own: vireo_net_dequeue_burst() and vireo_net_enqueue_burst() copy;
 * - one copy between two guests: vireo_net_transmit_look() shows a burst in place,
 *   vireo_net_receive_deliver() copies it into another device's receive queue, and
 *   vireo_net_transmit_complete() gives it back to its sender.
 * All four: the worker that owns the queue. Bursts may have any size.
 */

#include "base.h"
#include "frame.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_net;
struct vireo_device;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_notifier;

/* Feature bits of the network device (virtio 1.3, 5.1.3). */
#define VIREO_NET_F_CSUM_BIT              0
#define VIREO_NET_F_GUEST_CSUM_BIT        1
#define VIREO_NET_F_CTRL_GUEST_OFFLOADS_BIT 2
#define VIREO_NET_F_MTU_BIT               3
#define VIREO_NET_F_MAC_BIT               5
#define VIREO_NET_F_GUEST_TSO4_BIT        7
#define VIREO_NET_F_GUEST_TSO6_BIT        8
#define VIREO_NET_F_GUEST_ECN_BIT         9
#define VIREO_NET_F_GUEST_UFO_BIT         10
#define VIREO_NET_F_HOST_TSO4_BIT         11
#define VIREO_NET_F_HOST_TSO6_BIT         12
#define VIREO_NET_F_HOST_ECN_BIT          13
#define VIREO_NET_F_HOST_UFO_BIT          14
#define VIREO_NET_F_MRG_RXBUF_BIT         15
#define VIREO_NET_F_STATUS_BIT            16
#define VIREO_NET_F_CTRL_VQ_BIT           17
#define VIREO_NET_F_CTRL_RX_BIT           18
#define VIREO_NET_F_CTRL_VLAN_BIT         19
#define VIREO_NET_F_CTRL_RX_EXTRA_BIT     20
#define VIREO_NET_F_GUEST_ANNOUNCE_BIT    21
#define VIREO_NET_F_MQ_BIT                22
#define VIREO_NET_F_CTRL_MAC_ADDR_BIT     23
#define VIREO_NET_F_VQ_NOTF_COAL_BIT      52
#define VIREO_NET_F_NOTF_COAL_BIT         53
#define VIREO_NET_F_GUEST_USO4_BIT        54
#define VIREO_NET_F_GUEST_USO6_BIT        55
#define VIREO_NET_F_HOST_USO_BIT          56
#define VIREO_NET_F_HASH_REPORT_BIT       57
#define VIREO_NET_F_RSS_BIT               60
#define VIREO_NET_F_SPEED_DUPLEX_BIT      63

/* What the driver wants to receive (control queue: RX mode, MAC and VLAN tables). */
struct vireo_net_filter {
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	bool vlan_filtered; /* CTRL_VLAN was accepted: only the VLANs below (bit map) */
	uint8_t mac[6];
	uint16_t unicast_count, multicast_count;
	const uint8_t (*unicast)[6];
	const uint8_t (*multicast)[6];
	const uint8_t *vlans; /* 512 bytes, bit v & 7 of byte v / 8 */
};

/* All in the control thread; any may be NULL. `queue` is the queue's index. */
struct vireo_net_ops {
	size_t size;
	void (*queue_started)(void *opaque, unsigned queue);
	/* Answer with vireo_net_queue_quiesced(net, queue) when no worker uses it any more. */
	void (*queue_stop)(void *opaque, unsigned queue);
	void (*queue_enabled)(void *opaque, unsigned queue, bool enabled);
	void (*connected)(void *opaque, bool connected);
	/* Features were accepted: vireo_net_offloads() may have changed. */
	void (*negotiated)(void *opaque, uint64_t features);
	void (*filter_changed)(void *opaque, const struct vireo_net_filter *filter);
	/*
	 * The driver uses this many pairs from now on (control queue MQ). With `negotiated` it is all of them; 1 once it has set
	 * up the control queue. One whose front end keeps the control queue to itself enables and disables queues instead.
	 */
	void (*pairs_set)(void *opaque, unsigned pairs);
	void (*announce)(void *opaque, const uint8_t mac[6]); /* send an RARP for mac into the network */
	void (*mtu_set)(void *opaque, uint16_t mtu);          /* the peer has sent its MTU */
	/*
	 * The peer unmaps memory, and the queue goes on. Return 0. Answer with vireo_net_queue_renewed(net, queue) when every call of a
	 * worker for this queue that was under way has ended, and when each such vireo_net_transmit_look() has had its complete; calls
	 * that begin now may go on meanwhile. Return -EOPNOTSUPP, or leave the op NULL where queue_stop is not: the library stops the
	 * queue instead, and starts it again.
	 */
	int (*queue_renew)(void *opaque, unsigned queue);
	int (*postcopy)(void *opaque, bool on); /* the peer's memory comes late, or not any more: see vireo_device_ops */
	/*
	 * The driver has said which receive queue a frame goes to (RSS), and vireo_net_steer() tells; or (false) leaves that to the caller
	 * again, as at first.
	 */
	void (*steering_set)(void *opaque, bool on);
	void (*queue_ended)(void *opaque, unsigned queue); /* stopped, it does not start again by itself: see vireo_device_ops */
	/*
	 * The driver has changed what it takes: ask vireo_net_offloads(), and give it such frames from now on. Once this has returned a
	 * frame that needs what it has given up is refused, and counted: one on its way when the driver says so may be lost so, or still
	 * come to it, as on a wire. NULL: the driver is not offered to change it (CTRL_GUEST_OFFLOADS).
	 */
	void (*offloads_set)(void *opaque);
	/*
	 * The driver has said for how long signals may be held back (virtio 1.3, 5.1.6.5.8: NOTF_COAL, VQ_NOTF_COAL). held: from now on, and before
	 * the first one is, call vireo_net_signal_look() for a queue after each of its calls that flushes (vireo_net_receive_flush(),
	 * vireo_net_transmit_complete(), vireo_net_enqueue_burst(), vireo_net_dequeue_burst()), and again by the time that it returns: nobody else
	 * signals what is held then. Called again after each change: have each queue that runs looked at soon by its worker, for what is held may be
	 * due by now. !held: nothing new is held; what was is to be looked at once more. NULL: the driver is not offered to ask for it.
	 */
	void (*signals_set)(void *opaque, bool held);
};

struct vireo_net_config {
	size_t size;
	unsigned pairs;        /* 1..128; 0: 1 */
	unsigned queue_size_max; /* 0: 32768 */
	uint16_t mtu;          /* 0: not offered; else 68..65535 */
	bool set_mac;          /* mac holds; otherwise MAC is not offered and the front end chooses */
	uint8_t mac[6];
	uint64_t features_off; /* features not to offer, by bit */
	const struct vireo_net_ops *ops; /* copied */
	void *opaque;
	struct vireo_log log;
	const char *name;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	/*
	 * What the peer may have of the process, see memory.h (borrowed, or NULL). memory_max_bytes: its memory may be so
	 * large, whatever the others have; 0: its share.
	 */
	struct vireo_memory *memory;
	uint64_t memory_max_bytes;
};

/* Makes a network device; the caller's thread is its control thread. -EINVAL: a field of the config is not valid; -ENOMEM. */
VIREO_API int vireo_net_new(const struct vireo_net_config *config, struct vireo_net **ret_net);
VIREO_API void vireo_net_free(struct vireo_net *net); /* close its endpoint first; does nothing for NULL */
VIREO_API struct vireo_device *vireo_net_device(struct vireo_net *net); /* borrowed: the net device owns it */

/* Answers ops->queue_stop: no worker uses the queue any more. Control thread. */
VIREO_API void vireo_net_queue_quiesced(struct vireo_net *net, unsigned queue);
/* Answers ops->queue_renew, before vireo_net_queue_quiesced(). Control thread. */
VIREO_API void vireo_net_queue_renewed(struct vireo_net *net, unsigned queue);
/* Sets the link up or down, and notifies the driver. Control thread. Returns 0; vireo_net_link_told() says whether that reaches it. */
VIREO_API int vireo_net_link_set(struct vireo_net *net, bool up);
/*
 * Returns whether vireo_net_link_set() reaches the driver that is there now: the driver has accepted STATUS, and its transport carries
 * the notification. A vhost-user front end has to accept CONFIG and hand over its channel; vhost's ioctls (CUSE) have none. Control
 * thread.
 */
VIREO_API bool vireo_net_link_told(const struct vireo_net *net);
/* As config space has them (virtio 1.3, 5.1.4). */
enum vireo_net_duplex {
	VIREO_NET_DUPLEX_HALF = 0,
	VIREO_NET_DUPLEX_FULL = 1,
	VIREO_NET_DUPLEX_UNKNOWN = 0xff,
};
#define VIREO_NET_SPEED_UNKNOWN UINT32_MAX
/*
 * Says how fast the link is, in 10^6 bits a second, and notifies the driver, as vireo_net_link_set() does; whoever comes later reads it. At first
 * both are unknown. It bounds nothing. Control thread. Returns 0. -EINVAL: more than 2147483647, and not VIREO_NET_SPEED_UNKNOWN, or
 * another duplex than those; nothing has changed.
 */
VIREO_API int vireo_net_speed_set(struct vireo_net *net, uint32_t mbits, enum vireo_net_duplex duplex);
/*
 * Asks the driver to announce itself to the network. Control thread. -EOPNOTSUPP: the driver has not accepted STATUS and
 * GUEST_ANNOUNCE (and has no control queue to answer by); send an RARP for it.
 */
VIREO_API int vireo_net_announce(struct vireo_net *net);
/*
 * Returns the offloads that the driver accepts in frames it receives, VIREO_OFFLOAD_*. They change with ops->negotiated, and while queues
 * run with ops->offloads_set alone. Control thread.
 */
VIREO_API unsigned vireo_net_offloads(const struct vireo_net *net);

/*
 * Returns the fd to watch for kicks: see vireo_queue_kick_fd(). Any thread while the queue runs. -1: the queue does not run, or the
 * driver polls.
 */
VIREO_API int vireo_net_kick_fd(struct vireo_net *net, unsigned queue);

/*
 * Asks the driver to kick, or not to: see vireo_queue_kick_enable(). Worker. At first, kicks of transmit queues are on and those of
 * receive queues off: a device that drops frames when there is no buffer needs no kick, and each kick costs the driver a
 * system call.
 */
VIREO_API bool vireo_net_kick_enable(struct vireo_net *net, unsigned queue, bool on);

/*
 * Whether a signal of this queue is held back: see ops->signals_set. Signals if it is due, and the driver wants it. Returns when it is due, in
 * nanoseconds of CLOCK_MONOTONIC; 0: none is held any more, or the queue does not run. Worker.
 */
VIREO_API uint64_t vireo_net_signal_look(struct vireo_net *net, unsigned queue);
/* A signal of this queue that is held back is due now: for who could not come back to look. Worker. */
VIREO_API void vireo_net_signal_now(struct vireo_net *net, unsigned queue);

/* The counters of one queue. Any thread may read them; each field is read by itself. */
struct vireo_net_queue_stats {
	size_t size; /* the caller's: of its struct; afterwards of what was filled in */
	uint64_t frames;
	uint64_t bytes;
	uint64_t no_buffer;     /* receive: the driver offered no (or too few) buffers */
	uint64_t too_long;      /* receive: than the buffer or MTU; transmit: than any frame, or its packet */
	uint64_t offload_refused; /* receive: the frame needs an offload that the driver did not accept */
	uint64_t disabled;      /* the queue is disabled */
	uint64_t runt;          /* shorter than an Ethernet header; receive: also buffers without room for a header */
	uint64_t bad_offload;   /* transmit: the header's offload fields lie, or were not negotiated */
	uint64_t filtered;      /* receive: the driver does not want it (RX mode, MAC and VLAN tables) */
};
/* Fills in the counters. The caller sets ret_stats->size to sizeof(*ret_stats). Of a queue that does not exist they are 0. */
VIREO_API void vireo_net_queue_stats(const struct vireo_net *net, unsigned queue,
				     struct vireo_net_queue_stats *ret_stats);

/* A packet of the caller's own: one stretch of memory. */
struct vireo_packet {
	void *data;
	uint32_t capacity_bytes;
	uint32_t len_bytes;
	struct vireo_frame_offload offload;
	uint16_t reserved[3]; /* must be 0: fields to come. The whole is 32 bytes, for arrays of it are the data path's */
};

/*
 * Copies up to `count` frames that the guest transmitted on `pair` into packets (data and
 * capacity_bytes are the caller's; len_bytes and offload are filled in). A frame longer than its
 * packet's capacity is dropped (too_long). Returns how many packets it has filled. Fewer than `count` does not mean that no more are
 * there: call vireo_net_kick_enable() before you sleep. -EPROTO: the queue is broken, stop using it; -EINVAL: no such pair.
 */
VIREO_API int vireo_net_dequeue_burst(struct vireo_net *net, unsigned pair, struct vireo_packet *packets,
				      unsigned count);

/*
 * Copies packets into the guest's receive queue of `pair`. Returns how many, from the first on, it has copied or dropped: it drops
 * a packet that can never go (too long, offload refused). Fewer than `count`: the guest has no more buffers, offer the others
 * again later. -EPROTO: the queue is broken, stop using it; -EINVAL: no such pair.
 */
VIREO_API int vireo_net_enqueue_burst(struct vireo_net *net, unsigned pair, const struct vireo_packet *packets,
				      unsigned count);

/*
 * Shows up to `count` transmitted frames where they lie. The pieces in frames[].iov stay valid until
 * vireo_net_transmit_complete(), which must follow each look; the guest may change the bytes meanwhile. Bad frames are dropped
 * and counted. Returns the number of frames. -EPROTO: the queue is broken, stop using it; -EINVAL: no such pair.
 */
VIREO_API int vireo_net_transmit_look(struct vireo_net *net, unsigned pair, struct vireo_frame *frames,
				      unsigned count);
/* Prefetches what the next vireo_net_transmit_look() at this pair will read: see vireo_queue_expect(). Worker. */
VIREO_API void vireo_net_transmit_expect(struct vireo_net *net, unsigned pair);
/* Gives all frames of the last look back to the driver, and signals the driver if it has asked for signals. */
VIREO_API void vireo_net_transmit_complete(struct vireo_net *net, unsigned pair);

/*
 * Copies frames (each pointer one frame) into the receive queue of `pair`. A frame that does not fit, or finds
 * no buffer, is counted in the queue's stats and skipped. Returns how many went in; the driver sees
 * them after vireo_net_receive_flush(). -EPROTO: the queue is broken, stop using it; -EINVAL: no such pair.
 */
VIREO_API int vireo_net_receive_deliver(struct vireo_net *net, unsigned pair, struct vireo_frame *const *frames,
					unsigned count);
/*
 * As vireo_net_receive_deliver(), but where the queue waits for memory (vireo_queue_waits()), the frames from the first one on that has
 * to wait are left to the caller, neither counted nor skipped: vireo_net_receive_left() says how many, which are the list's last. Frames that come
 * after them have to wait as well, if they are to keep their order. The queue is stopped then, and started again (ops->queue_started), or
 * ended (ops->queue_ended). -EPROTO: the queue is broken, stop using it; -EINVAL: there is no such pair.
 */
VIREO_API int vireo_net_receive_offer(struct vireo_net *net, unsigned pair, struct vireo_frame *const *frames,
				      unsigned count);
/* Returns how many frames the last vireo_net_receive_offer() at this pair has left; once, and 0 from then on. The same worker. */
VIREO_API unsigned vireo_net_receive_left(struct vireo_net *net, unsigned pair);
/*
 * On: from now on vireo_net_receive_offer() leaves frames also where the driver has offered too few buffers for the first of them, for a caller
 * that offers them again later. vireo_queue_waits() says false then, and nothing tells when there are more. Off, as at first: such a frame is counted as
 * no_buffer, and skipped. Any thread: workers see it in their next call.
 */
VIREO_API void vireo_net_receive_keep(struct vireo_net *net, bool on);
VIREO_API void vireo_net_receive_flush(struct vireo_net *net, unsigned pair);
/*
 * Fills in for each frame the pair whose receive queue the driver wants it in (RSS: virtio 1.3, 5.1.6.5.7). ret_pairs has room for `count`.
 * The queue of such a pair may not run; then the frame must be dropped. Returns false, and fills in nothing, where the driver has not said so:
 * any queue that runs will do, as long as a flow keeps to one. Any thread that may look at the frames.
 */
VIREO_API bool vireo_net_steer(const struct vireo_net *net, struct vireo_frame *const *frames, unsigned count, uint8_t *ret_pairs);

/*
 * What the driver has said of hashes and of the queues that they choose. `hash_types`: those that are enabled, as in virtio 1.3,
 * 5.1.6.4.3; 0: none, or it has said nothing.
 */
struct vireo_net_rss {
	size_t size;  /* the caller's: of its struct; afterwards of what was filled in */
	bool steers;  /* RSS: queues are chosen by a table of table_entries, and unclassified takes what has no hash */
	bool reports; /* HASH_REPORT: each frame's hash is told with it */
	uint16_t table_entries, unclassified;
	uint32_t hash_types;
};
/* Fills in what the driver has said of hashes, or nothing but zeroes. Control thread. */
VIREO_API void vireo_net_rss(const struct vireo_net *net, struct vireo_net_rss *ret_rss);

/*
 * Returns how many buffers the driver has offered in the receive queue of `pair` that hold nothing yet; on packed rings, how many
 * descriptors they have, which may be more. The number is a hint: ask for it before you deliver frames that the guest can
 * do without, and leave buffers to the others. While the queue waits for memory (vireo_queue_waits()) it is the queue's size: what
 * vireo_net_receive_offer() leaves then needs no buffer yet. Worker.
 */
VIREO_API unsigned vireo_net_receive_room(struct vireo_net *net, unsigned pair);

#ifdef __cplusplus
}
#endif
#endif
