/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_DEVICE_H
#define VIREO_DEVICE_H

/*
 * A virtio device and its queues, whatever transport serves them.
 *
 * Life:
 * - vireo_device_new() makes the device, and vireo_endpoint_open() offers it to a peer.
 * - The peer negotiates features and starts queues. ops->queue_started hands each queue to the data path.
 * - The peer stops a queue, unmaps memory or disconnects. ops->queue_stop asks for the queue, and the data path answers with
 *   vireo_queue_quiesced(). The peer may start the queue again.
 * - vireo_endpoint_close() ends the session; then vireo_device_free() frees the device.
 *
 * Threads: the device's control thread calls every function of a device, and all ops are called there. The vireo_queue_*
 * functions marked "worker" are called by the one thread that owns the queue between queue_started and
 * vireo_queue_quiesced().
 */

#include "base.h"
#include "chain.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_device;
struct vireo_queue;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_memory_use;
struct vireo_notifier;

/* Feature bits that belong to rings and transports (virtio 1.3, section 6). */
#define VIREO_F_RING_INDIRECT_DESC_BIT 28
#define VIREO_F_RING_EVENT_IDX_BIT     29
#define VIREO_F_VERSION_1_BIT          32
#define VIREO_F_RING_PACKED_BIT        34
#define VIREO_F_IN_ORDER_BIT           35
#define VIREO_F_RING_RESET_BIT         40
#define VIREO_FEATURE(bit)             (UINT64_C(1) << (bit))

/* Device status bits (virtio 1.3, 2.1). */
#define VIREO_STATUS_ACKNOWLEDGE 1u
#define VIREO_STATUS_DRIVER      2u
#define VIREO_STATUS_DRIVER_OK   4u
#define VIREO_STATUS_FEATURES_OK 8u
#define VIREO_STATUS_NEEDS_RESET 64u
#define VIREO_STATUS_FAILED      128u

/*
 * What transports carry for single device types, outside of queues and config space. A device's config names those that it
 * handles; the library does not offer the others to a peer.
 */
enum vireo_message {
	VIREO_MESSAGE_NET_ANNOUNCE, /* 6 bytes: announce this address to the network (RARP after migration) */
	VIREO_MESSAGE_NET_MTU,	    /* a uint16_t of this machine's byte order: the peer's MTU */
};

/*
 * The ops of a device type. The library calls them in the control thread, with the config's `opaque`. Each may be NULL. An op may
 * call any vireo_device_* and vireo_queue_* control function, but may not free the device.
 */
struct vireo_device_ops {
	size_t size;
	/* The queue is set up and running: its worker may pop from now on. */
	void (*queue_started)(void *opaque, struct vireo_queue *queue);
	/*
	 * Give the queue back: call vireo_queue_quiesced(queue) in the control thread, inside this op or later, when no worker
	 * can touch the queue any more. Chains that have been popped are pushed and flushed before that, or given to
	 * vireo_queue_unpop(). NULL: the device touches queues in the control thread only, and is quiet at once.
	 *
	 * How long it may take: until then the peer's message is not carried out, its later messages wait, and the endpoint does
	 * not close. vhost-user and CUSE set no limit of their own, but the peer waits for the answer (QEMU's guest stands
	 * still meanwhile). Over VDUSE the kernel waits for some time (/sys/class/vduse/NAME/msg_timeout, 30 s unless
	 * somebody has said otherwise) and then gives the device up for good: after a sixth of that, 5 s at most, the message
	 * is refused where the kernel accepts a refusal. So give a queue back within a second, and cancel what lasts longer.
	 */
	void (*queue_stop)(void *opaque, struct vireo_queue *queue);
	/* A control queue (see control_queues) has been kicked, or has just started: then it is the first that is heard of it. */
	void (*queue_kicked)(void *opaque, struct vireo_queue *queue);
	/* The peer has enabled or disabled the queue (SET_VRING_ENABLE). Process a disabled queue without side effects. */
	void (*queue_enabled)(void *opaque, struct vireo_queue *queue, bool enabled);
	/* These features have been agreed on: see feature_rules. A negative errno refuses them: the peer's session is over. */
	int (*features_set)(void *opaque, uint64_t features);
	/* The driver writes config space. Return 0, and the bytes are stored; -EPERM: they are read-only. */
	int (*config_write)(void *opaque, uint32_t offset, const void *data, uint32_t bytes);
	/* A peer has connected (true), or disconnected (false): all queues are quiet, and the device's state is initial again. */
	void (*connected)(void *opaque, bool connected);
	/* The driver has reset the device: its state is initial again, and the peer stays connected. */
	void (*reset)(void *opaque);
	/* The peer says something that only some device types know: see enum vireo_message. A negative errno refuses it. */
	int (*message)(void *opaque, unsigned message, const void *data, uint32_t bytes);
	/*
	 * The peer's memory table is another one (see vireo_device_memory_table()), or there is none any more. Queues may run:
	 * what has only been added reaches them with their next pop, after this call. With the peer its memory goes, too, without
	 * a call: see connected.
	 */
	void (*memory_changed)(void *opaque);
	/*
	 * Live migration of what the device keeps for its driver beside features, queues and config space: the front end fetches it from
	 * one device, brings it to another one of this type, and the driver does not notice. All queues are stopped.
	 *
	 * state_save writes it, `room` bytes at most (the config's state_bytes_max), in a layout that is the same on every machine, and
	 * returns how many, or a negative errno. state_load restores what comes back, as a whole or not at all. Its bytes are
	 * anybody's: check each. It returns 0, or -EINVAL and a static string that says what is wrong. Features may be agreed
	 * on before it and are agreed on after it, too: that does not undo it.
	 */
	int (*state_save)(void *opaque, void *data, size_t room);
	int (*state_load)(void *opaque, const void *data, size_t bytes, const char **ret_why);
	/*
	 * The peer unmaps memory, and the queue may go on: its next pop goes by what is left. Return 0, and call
	 * vireo_queue_renewed(queue) in the control thread, inside this op or later but before vireo_queue_quiesced(), when no worker
	 * will read or write the pieces of a chain that it popped before this call: the worker has pushed such chains, or will only
	 * give them to vireo_queue_unpop(). Return -EOPNOTSUPP, or leave the op NULL where queue_stop is not: the library stops the
	 * queue instead, and starts it again. queue_stop says how long the answer may take.
	 */
	int (*queue_renew)(void *opaque, struct vireo_queue *queue);
	/*
	 * Postcopy live migration (vhost_user.postcopy in endpoint.h): from now on (true) the peer's memory comes late. A thread that
	 * touches a page that is not there yet sleeps until the peer has brought it, which may last for ever. vireo_queue_pop() touches
	 * pages, as do every access to a chain's pieces, push and flush. So serve the queues in threads of their own, for which nobody
	 * waits. A system call that gets such memory waits, too, or fails (EFAULT) where the process may not have the kernel's faults
	 * served (userfaultfd(2), UFFD_USER_MODE_ONLY): copy first. No queue runs when the library calls the op, and it serves no
	 * control queue until postcopy is over. Return a negative errno to refuse: the peer's machine cannot migrate here in this way.
	 * false: it is over; all queues are quiet, and the library ignores the result. NULL: queues are served so at any time.
	 */
	int (*postcopy)(void *opaque, bool on);
	/*
	 * A queue that has been stopped does not start again by itself: its peer has stopped it, set it up anew, reset the device or gone, or
	 * it stands still for a lie. Once for each queue_stop that is not followed by queue_started; before `reset` and before
	 * `connected` says that the peer has gone. Between queue_stop and this the device does something that its peer has asked for, or
	 * waits for memory that the peer has been asked for, which may be for ever: a device type that has something for the driver may keep it
	 * until then, so much of it as it can afford, and has to let go of it now.
	 */
	void (*queue_ended)(void *opaque, struct vireo_queue *queue);
	/*
	 * Whether something has been lost that the driver was to be told of, and does not know yet (a SCSI host's events): a front end over
	 * CUSE asks for it where it takes its machine elsewhere, and there has it set. Both or neither.
	 */
	bool (*events_missed)(void *opaque);
	void (*events_missed_set)(void *opaque, bool missed);
};

/*
 * `feature` means nothing without one of `needs`; `text` says so: "HOST_TSO4 without CSUM". Drivers accept such features all
 * the same, where somebody between us and them has switched off what they need.
 */
struct vireo_feature_rule {
	uint64_t feature;
	uint64_t needs;
	const char *text;
};

struct vireo_device_config {
	size_t size;
	uint32_t device_id; /* virtio 1.3, section 5: 1 net, 2 block, 4 entropy, ... */
	/*
	 * Features offered. Ring features (INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER,
	 * RING_RESET) are carried out by the library for every device; VERSION_1 is always offered.
	 */
	uint64_t features;
	unsigned queue_count;      /* at most 1024 */
	unsigned queue_num_told;   /* answer to GET_QUEUE_NUM (net: see queues_absent); 0: queue_count */
	unsigned queue_size_max;   /* 1..32768; 0: 32768 */
	unsigned control_queues;   /* the last N queues are served in the control thread by queue_kicked */
	const void *config;        /* initial config space, copied */
	size_t config_bytes;       /* at most 4096 */
	const struct vireo_device_ops *ops; /* copied */
	void *opaque;
	struct vireo_log log;
	const char *name;          /* for log lines, copied; NULL: "device" */
	struct vireo_fault_table *faults; /* borrowed; NULL: a truncated file raises SIGBUS in the process */
	struct vireo_notifier *notifier; /* borrowed; NULL: a hostile peer may block the thread that signals it */
	/*
	 * Features, of those above, that a driver may make use of although the peer does not tell them: over VHOST_*
	 * ioctls the peer tells the features of rings and negotiates the device type's by itself. They
	 * are added to what it accepts.
	 */
	uint64_t features_untold;
	/*
	 * The device may complete chains in another order than it popped them (as disks do). What follows when a process that serves it
	 * is killed, and another one goes on:
	 * false: the place in the ring says all. Chains that were in flight there are popped again.
	 * true, and there is a ledger of what was in flight: the successor pops those chains first, in the order of their first pop, and
	 * each chain is completed once; what it did to the medium may be done twice. Over VDUSE the ledger lies in state_folder;
	 * over vhost-user in memory that the front end keeps, if it has negotiated INFLIGHT_SHMFD (QEMU: vhost-user-blk and -scsi).
	 * true, and there is none (CUSE; other front ends): a queue in which chains wait, and that has carried something before,
	 * starts only where it was stopped in the same session. Else it stands still, a line of log says so, and the driver has to
	 * reset the device.
	 */
	bool out_of_order;
	/*
	 * Applied to what a driver accepts, whatever the transport: a feature without what it needs is not agreed on, as if
	 * it had not been accepted, and one line of log says so. What others need stands before those. Kept: static.
	 */
	const struct vireo_feature_rule *feature_rules;
	size_t feature_rule_count;
	/*
	 * What the peer may have of the process, see memory.h (borrowed, or NULL). memory_max_bytes: its memory may be so
	 * large, whatever the others have; 0: its share.
	 */
	struct vireo_memory *memory;
	uint64_t memory_max_bytes;
	/*
	 * The control queues are there once one of these features has been agreed on; 0: always. Without it their numbers
	 * are those of rings that the device does not have.
	 */
	uint64_t control_features;
	/*
	 * Some front ends of vhost-user read the answer to GET_QUEUE_NUM as a number of pairs of rings, others as one of rings. A front
	 * end that reads too much in it may set up this many rings beyond queue_count: they never run, and a peer that enables one
	 * of them is refused.
	 */
	unsigned queues_absent;
	uint32_t messages; /* a mask, 1u << enum vireo_message: what ops->message handles */
	/*
	 * A chain with more pieces, readable and writable ones together, breaks the ring; 0: VIREO_CHAIN_PIECES_MAX. Tell the driver
	 * what it may use (virtio-blk: seg_max), and count two more for each place where memory regions may meet in a buffer.
	 */
	unsigned chain_pieces_max;
	size_t state_bytes_max; /* what ops->state_save writes at most: 65536; 0: the device keeps nothing, and needs no such ops */
	unsigned control_queues_first; /* the first N queues are control queues as well (virtio-scsi: control and events) */
	/* Chains of control queues stay popped when queue_kicked returns: queue_stop and queue_renew are called for them, too. */
	bool control_queues_keep;
	/*
	 * Control queues, of the first 64, in which chains may lie until the device has something to say (bit: the queue's index):
	 * queue_kicked is not called again for what it has left there, but for a kick. If it waits for chains, it asks for kicks
	 * itself (vireo_queue_kick_enable()), and looks again where that says that some are there.
	 */
	uint64_t control_queues_filled;
};

/* Makes a device; the caller's thread is its control thread. -EINVAL: a field of the config is not valid; -ENOMEM; -EMFILE. */
VIREO_API int vireo_device_new(const struct vireo_device_config *config, struct vireo_device **ret_device);

/* Frees the device; does nothing for NULL. Close its endpoint first, and wait for `done`. */
VIREO_API void vireo_device_free(struct vireo_device *device);

/* Fills in what the device's peer has of the program's memory budget (memory.h). */
VIREO_API void vireo_device_memory_use(const struct vireo_device *device, struct vireo_memory_use *ret_use);
/*
 * As memory_max_bytes of the config, for memory that the peer brings from now on; what is mapped stays. 0: its share. Control thread.
 */
VIREO_API void vireo_device_memory_max_set(struct vireo_device *device, uint64_t memory_max_bytes);

VIREO_API uint64_t vireo_device_features(const struct vireo_device *device); /* the features that the driver has accepted */
VIREO_API uint8_t vireo_device_status(const struct vireo_device *device); /* VIREO_STATUS_* */
VIREO_API struct vireo_queue *vireo_device_queue(struct vireo_device *device, unsigned index); /* borrowed; NULL: there is no such queue */

/*
 * Changes config space and notifies the driver (virtio 1.3, 2.5: a new generation). A vhost-user peer without the protocol features
 * CONFIG and BACKEND_REQ cannot be notified. -EINVAL: the bytes lie outside config space.
 */
VIREO_API int vireo_device_config_set(struct vireo_device *device, uint32_t offset, const void *data,
				      uint32_t bytes);

/*
 * Ends the session because the guest has lied, and logs `why` once; `why` is a static string. Any thread may call it. The control
 * thread ends the session soon after.
 */
VIREO_API void vireo_device_break(struct vireo_device *device, const char *why);

/* ---- queue: control thread ---- */

/*
 * The answer to ops->queue_stop, once for each call of it; the queue has been stopped, else it is a bug (assertion).
 *
 * Re-entrancy: before it returns it may carry out what has waited for this queue. It may call ops->queue_started for this queue
 * and others, ops->connected, ops->reset, ops->features_set and ops->message, and vireo_endpoint_close()'s `done`,
 * in which the application may free the device. So update the device type's own state before the call, call it last, and
 * touch nothing of the device afterwards. It may be called inside ops->queue_stop, which is called in the same way.
 */
VIREO_API void vireo_queue_quiesced(struct vireo_queue *queue);

/* The answer to ops->queue_renew, once for each call of it that has returned 0. Re-entrancy: as vireo_queue_quiesced(). */
VIREO_API void vireo_queue_renewed(struct vireo_queue *queue);

/* ---- queue: any thread while it runs ---- */

VIREO_API unsigned vireo_queue_index(const struct vireo_queue *queue); /* the queue's number, from 0 on */
VIREO_API unsigned vireo_queue_size(const struct vireo_queue *queue); /* entries of the ring that runs */
VIREO_API bool vireo_queue_enabled(const struct vireo_queue *queue); /* see ops->queue_enabled */
/*
 * Sets or returns the device type's own pointer of this queue: NULL until it is set, and kept as long as the device lives. The library
 * does not use it. Set it in the control thread while no worker has the queue: before or inside ops->queue_started.
 */
VIREO_API void vireo_queue_opaque_set(struct vireo_queue *queue, void *opaque);
VIREO_API void *vireo_queue_opaque(const struct vireo_queue *queue);

/*
 * Returns an fd that is readable when the driver kicks. -1: the driver asks for polling. Borrowed; constant while the queue runs.
 * Watch it edge-triggered (EPOLLET) and never read it: a peer that shares it could make a read block.
 */
VIREO_API int vireo_queue_kick_fd(const struct vireo_queue *queue);

/* How many signals the driver has been sent for this queue since the device was made. Thread: any. */
VIREO_API uint64_t vireo_queue_signals(const struct vireo_queue *queue);

/* ---- queue: worker ---- */

/* The most pieces that a chain of a queue with `size` entries may have. */
#define VIREO_CHAIN_PIECES_MAX(size) ((size) + 1024u)

/*
 * Pops up to `max` chains that the driver made available, in order. It lays their pieces into `iov` (`iov_max` entries), which must
 * stay until the chains are given back. Returns the number of chains, and has prefetched the first cache lines of each. 0: there is
 * none. -ENOBUFS: `iov_max` is too small for the next chain, call it with more (never with VIREO_CHAIN_PIECES_MAX, or the config's
 * chain_pieces_max). -EPROTO: the ring is broken for as long as the queue runs, stop using it. The library logs why, and closes
 * the session, or asks for the queue alone (ops->queue_stop) if the ring has carried nothing or is disabled.
 */
VIREO_API int vireo_queue_pop(struct vireo_queue *queue, struct vireo_chain *chains, unsigned max,
			      struct iovec *iov, unsigned iov_max);

/* Gives the `count` chains that were popped last back unused, as if they had not been popped. */
VIREO_API void vireo_queue_unpop(struct vireo_queue *queue, const struct vireo_chain *chains, unsigned count);

/*
 * Marks a chain as used with `written_bytes` written into its writable pieces, counted from the
 * first one. The driver sees it after vireo_queue_flush(). With IN_ORDER, in the order of pop.
 *
 * written_bytes covers everything up to the last byte that was written: all before that one counts as written, too, and the
 * device has written it (virtio 1.3, 2.7.8.2). A device that puts a status byte behind data counts it: after a short read
 * it fills the rest of the data's room, with zeroes for example, and counts the whole. The driver need not read what is not
 * counted, and live migration need not copy it: a status that is not counted may never reach the driver.
 */
VIREO_API void vireo_queue_push(struct vireo_queue *queue, const struct vireo_chain *chain,
				uint32_t written_bytes);

/* The same for `count` chains, in this order. NULL for written_bytes: nothing was written into any of them. */
VIREO_API void vireo_queue_push_burst(struct vireo_queue *queue, const struct vireo_chain *chains,
				      const uint32_t *written_bytes, unsigned count);

/* Shows the driver the chains that were pushed, and signals the driver if it has asked for signals, or (vireo_queue_signal_look()) in a while. */
VIREO_API void vireo_queue_flush(struct vireo_queue *queue);

/*
 * Whether a signal is held back for a while, as some device types do where their drivers ask for it (network: vireo_net_ops.signals_set). Signals if it
 * is due by now, and the driver wants it. Returns when it is due, in nanoseconds of CLOCK_MONOTONIC: call it again by then. 0: none is held
 * any more. A queue that is stopped signals by itself.
 */
VIREO_API uint64_t vireo_queue_signal_look(struct vireo_queue *queue);
/* A signal that is held back is due now: for who would not come back to look. */
VIREO_API void vireo_queue_signal_now(struct vireo_queue *queue);

/*
 * Asks the driver to kick (true) or not to (false) when it makes chains available. After true: returns
 * whether chains are there already (then no kick will come for them: pop again). While the queue waits for memory that its chains
 * name it returns false: the library starts the queue again when that memory is there. For a broken queue it returns true: the
 * next pop returns -EPROTO, which ends a loop that pops.
 */
VIREO_API bool vireo_queue_kick_enable(struct vireo_queue *queue, bool on);

/*
 * Returns how many chains are available and not yet popped; of a packed queue, how many descriptors, which may be more. The number
 * is a hint: the driver may add more at any moment.
 */
VIREO_API unsigned vireo_queue_available(struct vireo_queue *queue);

/*
 * Whether the driver waits for the next signal: it has looked at all that has been shown, as far as it says. A driver that polls never waits for
 * one, and one that always wants signals (without EVENT_IDX) always does. True also while a signal is held back, and where the queue
 * cannot go on. What it says is a hint: the driver may lie, and act meanwhile. Thread: who uses the queue.
 */
VIREO_API bool vireo_queue_awaits_signal(const struct vireo_queue *queue);

/*
 * Whether the peer tells of memory piece by piece, when it is asked (VDUSE; VIRTIO_F_ACCESS_PLATFORM): such a queue may have to wait
 * for memory, see vireo_queue_waits(). Constant while the queue runs. Thread: any.
 */
VIREO_API bool vireo_queue_may_wait(const struct vireo_queue *queue);

/*
 * Whether the last pop has met an address of which the peer has not told yet: there is a chain, and it cannot be had now. The queue will be stopped,
 * and started when the memory is there, or ended (ops->queue_ended).
 */
VIREO_API bool vireo_queue_waits(const struct vireo_queue *queue);

/*
 * Prefetches the cache lines that the next pop will read first. A worker that serves several queues calls it for the next queue
 * while it serves this one. It has no effect but on time.
 */
VIREO_API void vireo_queue_expect(const struct vireo_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
