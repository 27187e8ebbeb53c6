/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_INTERNAL_H
#define DEVICE_INTERNAL_H

#include "base/bell.h"
#include "base/log.h"
#include "base/loop.h"
#include "device/device.h"
#include "mem/budget.h"
#include "mem/map.h"
#include "mem/stitch.h"
#include "ring/ring.h"

/*
 * Map of this room:
 *
 *	device.c	life, features, status
 *	begin.c		memory that comes late, and how queues start there
 *	broken.c	what workers find out, told to the control thread: the guest lied, memory is missing
 *	coalesce.c	signals that are held back for a while
 *	config_space.c
 *	queue_setup.c	what the peer says about queues
 *	queue_run.c	start, control queues
 *	quiesce.c	taking queues back, and having them renew
 *	handed.c	a session that goes on in another process
 *	iommu.c		behind a guest's IOMMU: windows, and the questions that they answer (iommu.h)
 *	log.c		what the front end is told that has been written to guest memory
 *	map.c		the memory table, and which of them a running queue goes by
 *	memory.c	the memory table, for the application
 *	miss.c		what queues wait for: addresses that are not in memory yet (miss.h)
 *	queue.c		a running queue in its worker's hands
 *	signal.c	how it signals, and what that may cost
 *	state.c		what another device goes on with
 */

#define DEVICE_BREAK_TEXT_BYTES 160u

/* What a queue's signals have cost lately: signal.c. */
struct signal_cost {
	bool close_look; /* the next one is measured in CPU time */
	uint64_t sum_ns; /* of slow ones in a row, by CPU time */
};

/* While the control thread makes them. */
struct signal_aside {
	bool on; /* atomic: the worker sets it, the control thread clears it */
	bool owed; /* atomic: the worker sets it, the control thread clears it and signals */
	/* Control thread. */
	unsigned slow; /* in a row, ... */
	uint64_t sum_ns; /* ... and what they have taken */
};

/* log_bell.c's. Control thread. */
struct log_bell {
	struct bell bell;
	struct loop_timer *timer; /* NULL: the peer does not want to hear of what is logged */
	bool looks; /* the timer runs */
	uint64_t quiet_until_ns; /* outlives the session */
};

/* Signals that are held back: coalesce.c. */
struct coalesce {
	uint64_t limits; /* written by the control thread (atomic): packets, then microseconds; 0: none are held */
	uint64_t from; /* the same: what the counter said when that began */
	const uint64_t *counter; /* constant while the queue runs: of packets, or NULL: each slot is one */
	/* The worker's. */
	bool held; /* something has been shown, and the driver not been told */
	uint64_t since_ns; /* it is held */
	uint64_t counted; /* by the counter, when the driver was told last */
};

struct vireo_queue {
	/* Constant. */
	struct vireo_device *device;
	unsigned index;
	bool control; /* served in the control thread, by ops->queue_kicked ... */
	bool filled; /* ... which leaves chains there as long as it has no use for them */
	void *opaque; /* the device type's */

	/*
	 * Set-up: written by the control thread while the queue is quiet, so that the worker, who gets the
	 * queue through queue_started, may read it as long as the queue runs.
	 */
	uint32_t size;
	uint32_t base; /* if based; see queue_base() */
	bool based; /* told by the peer, or where a ring has stopped ... */
	bool sure; /* ... here, and nobody has said anything else since */
	bool owes; /* ... before all that a predecessor had in flight was popped: the base does not tell of it */
	bool left; /* reset, and not set up since, ... */
	uint32_t left_base; /* ... when it stood here */
	uint32_t told_base; /* by the peer, if told */
	bool told;
	bool carried; /* something, since then */
	uint64_t desc_uaddr, driver_uaddr, device_uaddr;
	bool addressed; /* the addresses hold */
	bool kickable; /* a kick has been set: kick_fd, or polling if that is -1 */
	int kick_fd;
	struct bell call;
	struct ring *ring; /* while it runs; then the worker's */
	struct queue_begin *begin; /* begin.c's: it is neither set up nor running, a helper looks into its ring; or NULL */
	struct map *map, *map_next; /* while it runs: references to those that its ring may use, see map.c */
	struct ring_log *log, *log_next; /* the same, of what it logs: log.c */
	struct map_stitch *stitches[3]; /* while it runs: areas that lie in pieces, or NULL */
	void *record; /* of a packed ring, see device_queue_record_set() */
	void *region; /* of a ledger: there, or device_queue_inflight_set() */
	uint32_t region_entries;
	bool region_ours; /* the queue has run with it */
	bool region_kept; /* by the peer, see ring_setup */
	struct ring_ledger *ledger; /* while it runs, if there is a region */

	/* Control thread. */
	struct bell error;
	bool fresh; /* set up anew, and not checked against memory since */
	bool ran; /* since it was set up or given a kick */
	bool waiting; /* told the log that memory is missing */
	bool goes_on; /* its ring is the one that it was when it ran last */
	bool running;
	bool stopping; /* ops->queue_stop has been called, the answer is awaited */
	bool paused; /* it has been given back, and neither started again nor ended (ops->queue_ended) */
	bool quiesced; /* ... by a quiesce; if not, it is halted */
	bool kept; /* device_map_change()'s: its ring lies in the map to come */
	bool renewing; /* ops->queue_renew has been called, the answer is awaited */
	bool halted; /* it has lied, and does not start before it is set up, given a kick or enabled again */
	struct loop_watch *kick_watch; /* control queue */
	struct loop_timer *poll_timer; /* control queue */

	bool log_areas; /* what is written to the ring is logged, the device area from here on */
	uint64_t log_gpa;

	/* Written by the control thread, read by any (atomic). */
	bool enabled;

	struct signal_aside signal_aside;
	bool lied; /* any thread sets it (atomic), the control thread acts on it: see broken.c */

	/* The worker's while the queue runs, then the control thread's. */
	struct signal_cost signal_cost;
	struct coalesce coalesce;
	uint64_t signals; /* sent so far; any thread reads it (counter_read()) */
	struct queue_miss *miss; /* miss.c's: what it waits for */
} __attribute__((aligned(CACHE_LINE_BYTES))); /* its neighbour is another worker's */

struct vireo_device {
	/* Constant. */
	struct vireo_device_ops ops;
	void *opaque;
	struct vireo_log log;
	char *name;
	uint32_t id;
	uint64_t features_offered, features_untold;
	bool out_of_order; /* see vireo_device_config */
	uint32_t messages;
	unsigned chain_pieces_max; /* 0: any number */
	size_t state_bytes_max; /* of the device type's own; 0: none */
	const struct vireo_feature_rule *feature_rules;
	size_t feature_rule_count;
	unsigned queue_count, queue_num_told, queue_size_max, queues_absent;
	uint64_t control_features; /* 0: control queues are there always */
	bool control_keeps; /* chains of control queues stay popped */
	int event_fd; /* raised from any thread: look at break_state, faulted, missed, lied and signals_owed */
	struct map_faults faults;
	struct mem_account *account;
	struct queue_miss *misses; /* miss.c's: one for each queue */
	struct vireo_notifier *notifier; /* borrowed, or NULL */

	/* Control thread. */
	const struct device_transport *transport; /* NULL: not attached */
	void *transport_opaque;
	struct loop *loop;
	struct loop_watch *event_watch;
	bool session;
	bool broken; /* in this session; the transport has been told */
	uint64_t features;
	uint8_t status;
	bool status_required;
	bool held; /* see device_hold() */
	bool patient; /* see device_patient_set() */
	bool pops_specially; /* patient, or chain_pieces_max */
	unsigned signal_rests; /* in a row: signal.c; outlives the session */
	struct loop_timer *rest_timer; /* while signals are owed and rest; or NULL */
	struct map *map;
	struct map *memory; /* by guest physical addresses; NULL: that is what `map` is */
	struct dirty_log *dirty_log; /* or NULL */
	bool log_all; /* what is written is logged ... */
	bool log_ran; /* ... and queues ran while there was no log */
	bool log_named; /* there is a log, and it is still to be said that anything is logged there */
	struct log_bell log_bell;
	uint64_t maps_set; /* counts them; read by workers (atomic) */
	unsigned quiesce_waits;
	void (*quiesce_done)(void *opaque); /* NULL: no quiesce is pending */
	void *quiesce_opaque;
	bool quiesce_tells; /* where the queues stand that it has asked back: see device_quiesce_to_tell() */
	bool map_changing, map_unmaps; /* the quiesce is device_map_change()'s */
	uint8_t *config;
	uint32_t config_bytes;

	/* Any thread: see broken.c. */
	int break_state;
	int break_queue; /* index, or -1 */
	char break_text[DEVICE_BREAK_TEXT_BYTES];
	unsigned faulted; /* the last session whose memory has turned out to be gone: faults.session is the one of now */
	bool missed;
	/* signal.c's; 0: no longer. They outlive the session. */
	uint64_t signals_paused_until_ns; /* until then nobody makes any */
	uint64_t signals_aside_until_ns; /* until then the control thread makes all */
	bool lied; /* one of the queues */
	bool signals_owed; /* by one of the queues */

	struct vireo_queue queues[];
};

/* broken.c */

/* Any thread. `queue` may be NULL; `why` is copied. The first one in a session counts. */
void device_break_raise(struct vireo_device *device, const struct vireo_queue *queue, const char *why);
/* The same from the control thread: acts before it returns (transport->broken). */
void device_break_now(struct vireo_device *device, const struct vireo_queue *queue, const char *why);
void device_break_forget(struct vireo_device *device);
/* Any thread: a lie that the whole device need not end for, see broken.c. The queue's ring has an error. */
void queue_lie_raise(struct vireo_queue *queue);
/* Control thread, not running: tells that the queue stands still. */
void queue_halt(struct vireo_queue *queue, const char *why);
void device_miss_raise(struct vireo_device *device); /* any thread: a queue has missed something */
void device_event(void *opaque, uint32_t events); /* event_fd's watch */

/* map.c */
void queue_map_begin(struct vireo_queue *queue, struct map *map); /* of a queue that is to run, with a ring for this map */
void queue_map_end(struct vireo_queue *queue); /* its ring has gone */
bool maps_settle(struct vireo_device *device); /* queues have renewed: false: some have to be quiet as well */

/* log.c */
const char *queue_log_begin(struct vireo_queue *queue); /* of a queue that has a ring; NULL, or why it cannot run */
void queue_log_end(struct vireo_queue *queue); /* its ring has gone */
void device_log_memory_changed(struct vireo_device *device); /* before a queue can write to what is new */
void device_log_reset(struct vireo_device *device); /* nothing is logged until it is said again; the log itself stays */
void device_log_forget(struct vireo_device *device);

/* log_bell.c */
void log_bell_begin(struct vireo_device *device); /* something is logged from now on, or the peer wants to hear of it */
void log_bell_tell(struct vireo_device *device); /* a queue has stopped: what it has marked is told of before the peer hears that */
void log_bell_end(struct vireo_device *device);
void log_bell_fini(struct vireo_device *device); /* of a device that ends */

/* begin.c */
/* A helper sets the ring up; a negative errno, and *why: there is none. */
int queue_begin_aside(struct vireo_queue *queue, const struct ring_setup *setup, const char **why);
unsigned begins_act(struct vireo_device *device); /* what have helpers done? So many are to be dropped by quiesce_drop() */
bool device_beginning(const struct vireo_device *device); /* any queue */

/* queue_run.c */
int ring_begin(const struct ring_setup *setup, struct ring **ret_ring, const char **why); /* any thread */
void queue_run_begun(struct vireo_queue *queue, struct map *map); /* its ring is there, for this map */
void queue_run_not(struct vireo_queue *queue, int err, const char *why); /* NULL: and nobody asks why; as ring_new() */
bool queue_areas_kept(const struct vireo_queue *queue, const struct map *map); /* running: its ring lies in `map` where it did */
void queue_base_note(struct vireo_queue *queue, const struct ring *ring); /* it is where the ring stands */
void queue_ring_free(struct vireo_queue *queue); /* and all that goes with a ring but for its stitches */
void queue_unstitch(struct vireo_queue *queue);

/* quiesce.c */
void queue_take_back(struct vireo_queue *queue); /* running: asks for it; what has lied is halted then */
void quiesce_begin(struct vireo_device *device, void (*done)(void *opaque), void *opaque);
void quiesce_drop(struct vireo_device *device); /* the last thing its callers do: `done` may go as far as freeing the device */
void queue_quiesce(struct vireo_queue *queue);
void queue_ended(struct vireo_queue *queue); /* control thread, not running: it will not go on by itself */
void queue_renew(struct vireo_queue *queue); /* running, and its ring is offered a map that takes something away */

/* queue_setup.c */
void queue_init(struct vireo_queue *queue, struct vireo_device *device, unsigned index, bool control);
void queue_reset(struct vireo_queue *queue); /* to the initial state, but for the call and error fds */
void queue_forget(struct vireo_queue *queue); /* to the initial state */
void queue_fini(struct vireo_queue *queue); /* of a device that ends */
void queue_format_changed(struct vireo_queue *queue);
uint32_t queue_base(const struct vireo_queue *queue);

/* coalesce.c */
void queue_coalesce_begin(struct vireo_queue *queue); /* control thread; it has a ring */
void queue_coalesce_end(struct vireo_queue *queue); /* control thread; its worker has let go, and its ring is there */
void queue_signal_later(struct vireo_queue *queue); /* worker: a burst has been shown, and the driver not been asked */

/* signal.c */
void queue_signal(struct vireo_queue *queue); /* any thread while the queue runs, one at a time */
void queue_error_signal(struct vireo_queue *queue); /* control thread */
/* Control thread: what the worker owes the queue's driver is signalled. */
void queue_signal_settle(struct vireo_queue *queue);
void signals_act(struct vireo_device *device); /* control thread: of all queues, but not while they rest */

static inline bool device_logs(const struct vireo_device *device)
{
	return device->log_all && device->dirty_log;
}

static inline bool device_accepted(const struct vireo_device *device, unsigned feature_bit)
{
	return device->features & VIREO_FEATURE(feature_bit);
}

/* Memory is told of piece by piece, when it is asked for. */
static inline bool device_lazy(const struct vireo_device *device)
{
	return device->patient || (device->transport->missed && !device->transport->tells_memory);
}

/* Not a control queue that has not been agreed on. */
static inline bool queue_there(const struct vireo_queue *queue)
{
	const struct vireo_device *device = queue->device;

	return !queue->control || !device->control_features || device->features & device->control_features;
}

#endif
