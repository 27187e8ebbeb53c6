/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

/*
 * The verbs with which a transport drives a device. Each transport turns what its peer says into these; none
 * knows device types or descriptor formats. All in the control thread.
 *
 * Quiesce: whatever changes a queue, or takes memory away, needs the queues quiet first. device_quiesce() takes queues back from the
 * data path, asynchronously; one quiesce at a time per device (a session handles one message at a
 * time). After the change device_resume() starts every queue that is complete again.
 *
 * A queue is complete, and runs, when memory is mapped, size and addresses are set, a kick has been set (fd or
 * polling) and, where the transport has said that status is negotiated, DRIVER_OK is set or the queue enabled.
 */

#include "vireo/device.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dirty_log;
struct drop;
struct late;
struct map;
struct map_faults;
struct loop;

/* What a device asks of the transport it is offered on. */
struct device_transport {
	void (*config_changed)(void *transport); /* tell the driver; may be NULL */
	bool (*config_told)(void *transport); /* would its driver hear of that? NULL: never */
	/* The device is broken: log has been written; end the session. May be called inside any verb. */
	void (*broken)(void *transport, const char *why);
	/*
	 * Any thread, and two at once, while the queue runs: signal the driver for this queue. Used where it has no call fd; NULL: there
	 * are no signals then.
	 */
	void (*signal)(void *transport, unsigned queue);
	/*
	 * Memory is not all there from the beginning: a running queue has met an address that is not in the map. The
	 * transport makes all queues quiet, sets a map that has more, and resumes; an address that is still missing then
	 * breaks the device, unless that is patient. NULL: such an address is a lie.
	 */
	void (*missed)(void *transport);
	/* All memory is told before it is used, but for a patient device: of another one such an address is a lie, too. */
	bool tells_memory;
	/*
	 * Its peers leave rings behind: what lies where a ring is said to be may be nobody's yet, or no more. A lie on a queue that
	 * is disabled, or has carried nothing since it was started, halts that queue, and not the device.
	 */
	bool halts;
};

#define DEVICE_ALL_QUEUES UINT32_MAX
#define DEVICE_MISSED_QUEUES (UINT32_MAX - 1) /* those that stand still for what they have missed */

/* One transport at a time: -EBUSY. `loop` (borrowed) is where the device may watch fds while attached. */
int device_attach(struct vireo_device *device, struct loop *loop, const struct device_transport *transport,
		  void *opaque);
void device_detach(struct vireo_device *device); /* all queues quiet, state initial */

/* A session begins (-> ops->connected), held if another process has handed it over, and ends. Ending needs all queues quiesced; it forgets everything. */
void device_session_begin(struct vireo_device *device);
void device_session_end(struct vireo_device *device);

/* `done` runs inside the call or later; queue: an index, or one of the above. No other quiesce may be pending. */
void device_quiesce(struct vireo_device *device, uint32_t queue, void (*done)(void *opaque), void *opaque);
/*
 * The same for who is about to tell the peer where these queues stand, and has the peer wait for it: a successor finds in their rings that nothing
 * was in flight there (ring_rest()). Of a quiesce for anything else no ring says so: whoever has the memory then may be at work in it.
 */
void device_quiesce_to_tell(struct vireo_device *device, uint32_t queue, void (*done)(void *opaque), void *opaque);
bool device_quiescing(const struct vireo_device *device);
/* A quiesce is pending: queues that it has not asked back, but only to renew, or not at all, are asked back as well. The last thing its callers do. */
void device_quiesce_rest(struct vireo_device *device);
void device_resume(struct vireo_device *device);
void device_resume_not(struct vireo_device *device); /* in its place: what stands still will not go on by itself (ops->queue_ended) */
bool device_running(const struct vireo_device *device); /* any queue */

uint64_t device_features_offered(const struct vireo_device *device);
uint64_t device_features_untold(const struct vireo_device *device); /* see vireo_device_config */
/*
 * -EINVAL: bits not offered; or what the device type says. All queues quiet. What is agreed on may be less: see
 * vireo_device_config.feature_rules, and vireo_device_features().
 */
int device_features_set(struct vireo_device *device, uint64_t features);
void device_status_required(struct vireo_device *device, bool required); /* see above */
/*
 * Quiet. Behind an IOMMU: a queue that misses an address, be it one of its ring's own, waits until the map has it, and the
 * rest goes on. Until the session ends.
 */
void device_patient_set(struct vireo_device *device, bool patient);
bool device_patient(const struct vireo_device *device);
/* 0 resets (all queues quiet then). */
void device_status_set(struct vireo_device *device, uint8_t status);
/* Back to initial, session and ownership kept. All queues quiet. */
void device_reset(struct vireo_device *device);

/*
 * All queues quiet: what their workers have found out until now - a lie, a miss - is told to the transport before this
 * returns, and not later.
 */
void device_settle(struct vireo_device *device);

/*
 * Takes over the caller's reference. NULL: no memory. Queues that run go on, and take the map at their next pop: it has to keep
 * all that the one before has, or all queues are quiet. False: it keeps it.
 */
bool device_map_takes_away(const struct vireo_device *device, const struct map *map);
void device_map_set(struct vireo_device *device, struct map *map);
struct map *device_map(const struct vireo_device *device); /* borrowed, or NULL */
/* A control queue that is filled: ops->queue_kicked is called for what it has left, when others had their turn. Control thread. */
void device_queue_again(struct vireo_queue *queue);
/* Does what this process sees there lie in the memory that the peer has told? `bytes` are not 0. */
bool device_memory_has(const struct vireo_device *device, const void *at, uint64_t bytes);
/*
 * The same where it takes something away. A quiesce, but of no queue that can go on: `done` runs inside the call or later, when nobody
 * uses what has been taken away. `unmaps`: mappings go with it, and may not stay for a queue that has nothing to pop: such a one
 * is made quiet as well.
 */
void device_map_change(struct vireo_device *device, struct map *map, bool unmaps, void (*done)(void *opaque), void *opaque);
const struct map_faults *device_faults(const struct vireo_device *device);
struct map_faults device_faults_prompt(const struct vireo_device *device); /* of a peer's memory that is no guest's: it is never late */
/*
 * The pages of memory that is mapped from now on come late (mem/late.h): queues start in helpers, and who serves them has been told
 * (ops->postcopy) and may refuse. There is no map. NULL: not any more; all queues are quiet, and no map has been made in between
 * that is to stay late. It ends with the session. -EOPNOTSUPP: there is nobody who lends a helper.
 */
int device_late_set(struct vireo_device *device, struct late *late);
bool device_late(const struct vireo_device *device);
/* Attached: maps from now on may have files on disks, until it is detached. */
void device_disks_permit(struct vireo_device *device, bool on);
/* Attached: maps from now on keep their files for a successor (backing_file()), until it is detached. */
void device_files_keep(struct vireo_device *device, bool on);
/* Attached: where what the peer owns is let go of (borrowed), until it is detached. None: here and now. */
void device_drop_set(struct vireo_device *device, struct drop *drop);
struct drop *device_drop_get(const struct vireo_device *device);

/*
 * The dirty log, see log.c: while queues run, but for a log that takes the place of one that is used (device_log_replaces()).
 * When a call returns, what any queue writes to guest memory from then on is logged. -EINVAL: it does not cover what it has to.
 */
int device_log_set(struct vireo_device *device, struct dirty_log *log, const char **why); /* takes a reference of its own */
bool device_log_replaces(const struct vireo_device *device); /* it would: all queues have to be quiet */
int device_log_switch(struct vireo_device *device, bool on, const char **why); /* all data, and rings for which it is set: */
int device_queue_log_set(struct vireo_device *device, uint32_t index, bool on, uint64_t gpa, const char **why);
/*
 * The peer hears by it, soon, of pages that are logged and were not; see log_bell.c. Taken over on success; -EINVAL: no notifier; -ENOMEM,
 * or another errno: there is no timer. It goes with the session.
 */
int device_log_bell_set(struct vireo_device *device, int fd);
int device_log_bell_fd(const struct vireo_device *device); /* borrowed; -1: it has none */
/*
 * Behind an IOMMU the map is one by the driver's addresses: this is the memory (borrowed until it is told anew) that it shows parts of.
 * NULL: the map is by guest physical addresses. Before the map that shows it.
 */
void device_log_memory_set(struct vireo_device *device, struct map *memory);
bool device_queue_logs(const struct vireo_device *device, uint32_t index); /* it is set for it */
bool device_log_covers(const struct vireo_device *device, const struct map *map); /* or nothing is logged */

uint32_t device_id(const struct vireo_device *device);
unsigned device_queue_count(const struct vireo_device *device);
bool device_out_of_order(const struct vireo_device *device); /* see vireo_device_config */
unsigned device_queue_size_max(const struct vireo_device *device);
unsigned device_queue_num_told(const struct vireo_device *device);
/* A queue that a peer may speak of and not enable: see vireo_device_config.queues_absent and control_features. */
bool device_queue_absent(const struct vireo_device *device, uint32_t index);

/*
 * Queue set-up: the queue is quiet. `index` is checked here, all 32 bits of it: -EINVAL. Addresses are the peer's
 * own (uaddr) and are translated at resume.
 */
int device_queue_size_set(struct vireo_device *device, uint32_t index, uint32_t size);
int device_queue_address_set(struct vireo_device *device, uint32_t index, uint64_t desc, uint64_t driver,
			     uint64_t device_area);
bool device_queue_kickable(const struct vireo_device *device, uint32_t index); /* a kick has been set */
bool device_queue_runs(const struct vireo_device *device, uint32_t index);
/* It runs, and has these addresses: to set them again changes nothing. */
bool device_queue_runs_at(const struct vireo_device *device, uint32_t index, uint64_t desc, uint64_t driver, uint64_t device_area);
int device_queue_base_set(struct vireo_device *device, uint32_t index, uint32_t base);
/* fd: taken over on success, -1: none (kick: the driver asks for polling; call: no signals). -EINVAL: no notifier. */
int device_queue_kick_set(struct vireo_device *device, uint32_t index, int fd);
int device_queue_call_set(struct vireo_device *device, uint32_t index, int fd);
int device_queue_error_set(struct vireo_device *device, uint32_t index, int fd);
/*
 * Memory that outlives this process, for what a successor goes on from (borrowed; NULL: none), of device_queue_record_bytes() for
 * the queue's size at most, aligned to a cache line: the region of a ledger where the device completes chains out of order
 * (device_queue_inflight_set()), else the record of a packed ring (ring_record_witness()). The queue's size has been set.
 * `again`: what is in it holds; if not, the driver has set the queue up anew.
 */
int device_queue_record_set(struct vireo_device *device, uint32_t index, void *record, bool again);
size_t device_queue_record_bytes(const struct vireo_device *device, uint32_t size);
/*
 * A region for a ledger of what is in flight (ring_ledger_new(); borrowed; NULL: none), with room for `entries` descriptors, whatever
 * the device's order. What is in it holds, until the driver resets the device.
 */
int device_queue_inflight_set(struct vireo_device *device, uint32_t index, void *region, uint32_t entries);
size_t device_queue_inflight_bytes(const struct vireo_device *device, uint32_t entries); /* of one for rings of the agreed format */
/* Needs no quiet. */
int device_queue_enable(struct vireo_device *device, uint32_t index, bool on);
/* Quiet. Is where it stands behind chains that a predecessor had in flight, and that have not been popped here? */
bool device_queue_owes(const struct vireo_device *device, uint32_t index);
/*
 * Quiet. Stops the queue (until the next kick_set) and tells where it stands; of one that has been reset and not been set up since,
 * where it stood: QEMU 7.2 resets a device that it has negotiated STATUS with, and asks then.
 */
int device_queue_stop(struct vireo_device *device, uint32_t index, uint32_t *ret_base);
/*
 * Quiet, and set up, and a predecessor has run it: from now on its base is where it stands, as if it had been started and
 * stopped here. -EINVAL; -EFAULT: the ring is not in memory; what its set-up lacks.
 */
int device_queue_recover(struct vireo_device *device, uint32_t index);
/*
 * Quiet. Where it stands; it stays set up. -EBUSY: behind chains that a predecessor had in flight, and that are in a record alone:
 * who went on from that place would lose them. Once the queue has run, it can be told.
 */
int device_queue_base(struct vireo_device *device, uint32_t index, uint32_t *ret_base);
/*
 * Would it start, once it is enabled and has a kick? -EINVAL: something has not been set up, or is wrong;
 * -EFAULT: it is not in guest memory; *why (static) says. For transports that tell the peer so, instead of
 * taking it for a lie.
 */
int device_queue_check(const struct vireo_device *device, uint32_t index, const char **why);
/* The same for other addresses than it has. */
int device_queue_address_check(const struct vireo_device *device, uint32_t index, uint64_t desc,
			       uint64_t driver, uint64_t device_area, const char **why);
/*
 * Has it missed an address, or will it, and which is the nth, to write to it? While it runs, only what it will miss. The order
 * stays; what has come is left out at the next resume.
 */
#define DEVICE_MISSES_MAX 33u
bool device_queue_missed(const struct vireo_device *device, uint32_t index, unsigned nth, uint64_t *ret_gpa,
			 bool *ret_write);
/*
 * Called twice in the time that an answer may take: what queues have not missed yet, and waited for at the last call already, they do
 * not wait for any more. True: one of them can start now, at the next resume.
 */
bool device_misses_settle(struct vireo_device *device);
/* Something has been taken away: queues look for what they will miss, when they start or, if they run, at the next resume. */
void device_misses_look(struct vireo_device *device);

/*
 * A session goes from one process to another: handed.c. While a device is held, no queue starts; all are quiet when it begins. It ends
 * with the session. Going on is device_resume()'s.
 */
void device_hold(struct vireo_device *device, bool on);
const char *device_hold_refused(const struct vireo_device *device); /* NULL, or (static) what no other process can go on with now */
bool device_status_is_required(const struct vireo_device *device);

#define DEVICE_QUEUE_RAN 1u
#define DEVICE_QUEUE_HALTED 2u
#define DEVICE_QUEUE_SURE 4u /* it has stopped where its base says */
#define DEVICE_QUEUE_CARRIED 8u
#define DEVICE_QUEUE_OWES 16u

struct device_queue_state {
	uint32_t size; /* 0: none */
	uint64_t desc, driver, device_area; /* if addressed */
	uint32_t base; /* if based */
	int kick_fd, call_fd, error_fd; /* borrowed, or -1 */
	uint32_t flags; /* DEVICE_QUEUE_* */
	bool addressed, based, kickable, enabled;
};

/* Quiet. False: there is no such queue. */
bool device_queue_state(const struct vireo_device *device, uint32_t index, struct device_queue_state *ret_state);
/* Held. What no verb tells: flags as above. -EINVAL: it makes no sense; the last thing that is told of a queue. */
int device_queue_go_on(struct vireo_device *device, uint32_t index, uint32_t flags);

/*
 * Signals of a data queue are held back until max_packets have been shown, or max_us have gone since the first; 0 of either: they are not.
 * Needs no quiet: the worker goes by it from its next flush or look on (vireo_queue_signal_look()). It outlives the queue's runs.
 */
struct device_coalesce {
	uint32_t max_packets, max_us;
};
void device_queue_coalesce(struct vireo_device *device, uint32_t index, struct device_coalesce limits);
/* From ops->queue_started: what counts the queue's packets, up to those that the next flush shows (borrowed). NULL: chains are packets. */
void device_queue_counter_set(struct vireo_queue *queue, const uint64_t *counter);
bool device_queue_set_up(const struct vireo_device *device, uint32_t index); /* its driver has set it up, and has not stopped it */
/* From ops->queue_started: its driver has not set it up anew since it ran last, be it that it was stopped for a while. */
bool device_queue_goes_on(const struct vireo_queue *queue);

/* Config space. -EINVAL: outside it; write: -EPERM and what the type says. */
int device_config_read(const struct vireo_device *device, uint32_t offset, void *data, uint32_t bytes);
int device_config_write(struct vireo_device *device, uint32_t offset, const void *data, uint32_t bytes);
/* Does the driver that is there hear of vireo_device_config_set()? */
bool device_config_told(const struct vireo_device *device);
int device_config_put(struct vireo_device *device, uint32_t offset, const void *data, uint32_t bytes); /* by the device type; nobody is told */
uint32_t device_config_bytes(const struct vireo_device *device);

/* See vireo_device_ops.events_missed. -EOPNOTSUPP: the device type has no events. */
int device_events_missed(const struct vireo_device *device, bool *ret_missed);
int device_events_missed_set(struct vireo_device *device, bool missed);

/* enum vireo_message. -EOPNOTSUPP where the device type takes no such message. */
bool device_takes(const struct vireo_device *device, unsigned message);
int device_message(struct vireo_device *device, unsigned message, const void *data, uint32_t bytes);

/*
 * What another device of this type goes on with (see vireo_device_ops.state_save): device_state_bytes_max() at most. No queue runs.
 * save: returns its bytes. load: -EBUSY: queues run; -EINVAL; *why says what is wrong.
 */
size_t device_state_bytes_max(const struct vireo_device *device);
int device_state_save(struct vireo_device *device, void *data, size_t room);
int device_state_load(struct vireo_device *device, const void *data, size_t bytes, const char **why);

const struct vireo_log *device_log(const struct vireo_device *device);
const char *device_name(const struct vireo_device *device);

#endif
