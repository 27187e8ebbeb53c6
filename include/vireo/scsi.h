/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_SCSI_H
#define VIREO_SCSI_H

/*
 * A SCSI host (virtio 1.3, 5.6). The library parses and checks the driver's commands and task management and hands them to the application,
 * which is the targets and carries them out in any order. The application says what happens to logical units, and the library tells the driver.
 *
 * The way of a command:
 * - vireo_scsi_poll() pops chains from a request queue. It answers at once what is no valid command. It passes the rest to ops->submit, many
 *   commands in one call.
 * - The application carries each out and calls vireo_scsi_complete(), inside submit or later, in any order.
 * - vireo_scsi_flush() shows the driver what has been completed, and signals it. vireo_scsi_poll() does so at its end, too.
 * All of these: the worker that owns the queue.
 *
 * A command is valid for as long as the application has it: from submit to vireo_scsi_complete(). Its data lie in guest memory, and the
 * guest may change them at any moment; everything else about it is a private copy.
 *
 * Task management and events are of the control thread: the library serves their two queues there. `queue` is everywhere the index among
 * the request queues: the device's queue VIREO_SCSI_REQUEST_QUEUE + queue.
 */

#include "base.h"
#include <stdbool.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_device;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_notifier;
struct vireo_scsi;

/* Feature bits of the SCSI host (virtio 1.3, 5.6.3). */
#define VIREO_SCSI_F_INOUT_BIT	 0
#define VIREO_SCSI_F_HOTPLUG_BIT 1
#define VIREO_SCSI_F_CHANGE_BIT	 2
#define VIREO_SCSI_F_T10_PI_BIT	 3

#define VIREO_SCSI_REQUEST_QUEUE 2u /* the first of them: 0 is for control, 1 for events */

/* What became of a command, by the specification's numbers (5.6.6.1). */
enum vireo_scsi_response {
	VIREO_SCSI_OK = 0,		  /* the target has answered: the status says what */
	VIREO_SCSI_OVERRUN = 1,		  /* the command moves more than there is room or data for */
	VIREO_SCSI_ABORTED = 2,		  /* by task management */
	VIREO_SCSI_BAD_TARGET = 3,	  /* there is no such target */
	VIREO_SCSI_RESET = 4,		  /* by the reset of its logical unit, its target or the bus */
	VIREO_SCSI_BUSY = 5,		  /* failed; it is likely to work when it is sent again */
	VIREO_SCSI_TRANSPORT_FAILURE = 6, /* the way to the target is broken */
	VIREO_SCSI_TARGET_FAILURE = 7,	  /* the target is broken: no other path will do better */
	VIREO_SCSI_NEXUS_FAILURE = 8,	  /* this path is broken: another one may do better */
	VIREO_SCSI_FAILURE = 9,		  /* anything else */
};

/* Others that a driver may name are submitted as SIMPLE (5.6.6.1). */
enum vireo_scsi_attribute {
	VIREO_SCSI_SIMPLE = 0,
	VIREO_SCSI_ORDERED = 1,
	VIREO_SCSI_HEAD_OF_QUEUE = 2,
	VIREO_SCSI_ACA = 3,
};

struct vireo_scsi_command {
	/*
	 * Where to: a target, and a LUN of SAM-5's format. Two bytes of it come from the driver (5.6.6.1: a single level), in whatever form: the
	 * application decodes them. C1 01: the REPORT LUNS well known logical unit, of the device as a whole with target 0.
	 */
	uint8_t lun[8];
	uint8_t target;
	uint8_t attribute; /* enum vireo_scsi_attribute */
	uint8_t prio, crn; /* as the driver says */
	uint32_t queue;	   /* the index among the request queues */
	uint64_t id;	   /* by which task management names it; nobody sees to it that it is the only one */
	/* The command descriptor block: as many bytes as the driver has agreed to send (cdb_size), those behind the command's own included. */
	const uint8_t *cdb;
	uint32_t cdb_bytes; /* 1..VIREO_SCSI_CDB_BYTES_MAX */
	/* Data for the target, and room for data from it. With both of them INOUT has been agreed on. */
	uint32_t out_count, in_count;
	uint32_t out_bytes, in_bytes;
	const struct iovec *out, *in;
	/* Protection information for `out`, and room for that of `in`: T10_PI has been agreed on. Else none. */
	const struct iovec *pi_out, *pi_in;
	uint32_t pi_out_count, pi_in_count;
	uint32_t pi_out_bytes, pi_in_bytes;
	void *room; /* the application's: command_room_bytes of the config, aligned to 16, not looked at; zero when the queue starts */
	uint64_t reserved[2];
};

struct vireo_scsi_result {
	uint8_t response; /* enum vireo_scsi_response */
	uint8_t status;	  /* SAM-5's, of VIREO_SCSI_OK; else 0 */
	uint16_t status_qualifier;
	uint32_t sense_bytes; /* 0: none. The driver gets as much as it has room for: 96, unless it has said otherwise */
	const uint8_t *sense; /* read inside the call alone */
	uint32_t out_moved, in_moved; /* bytes of `out` and of `in`, from their beginning: at most out_bytes, in_bytes */
	uint32_t pi_in_moved;	      /* of `pi_in` */
	uint32_t reserved;
};

/* ---- task management (5.6.6.2) ---- */

/* By the specification's numbers. The model answers FUNCTION_REJECTED to all others. */
enum vireo_scsi_function {
	VIREO_SCSI_ABORT_TASK = 0,
	VIREO_SCSI_ABORT_TASK_SET = 1,
	VIREO_SCSI_CLEAR_ACA = 2,
	VIREO_SCSI_CLEAR_TASK_SET = 3,
	VIREO_SCSI_I_T_NEXUS_RESET = 4, /* of a target: the LUN is of no meaning */
	VIREO_SCSI_LOGICAL_UNIT_RESET = 5,
	VIREO_SCSI_QUERY_TASK = 6,
	VIREO_SCSI_QUERY_TASK_SET = 7,
};

/* By the specification's numbers; those of enum vireo_scsi_response but for OVERRUN, ABORTED and RESET are answers, too. */
enum vireo_scsi_answer {
	VIREO_SCSI_FUNCTION_COMPLETE = 0, /* done; a query: there is none */
	VIREO_SCSI_FUNCTION_SUCCEEDED = 10, /* a query: there is one */
	VIREO_SCSI_FUNCTION_REJECTED = 11,
	VIREO_SCSI_INCORRECT_LUN = 12,
};

struct vireo_scsi_management {
	uint32_t function; /* enum vireo_scsi_function */
	uint8_t target;
	uint8_t reserved_bytes[3];
	uint8_t lun[8]; /* as in struct vireo_scsi_command */
	uint64_t id;	/* of ABORT_TASK and QUERY_TASK */
	void *room;	/* the application's: management_room_bytes of the config, aligned to 16, zero */
	uint64_t reserved[2];
};

/* ---- events (5.6.6.3) ---- */

enum vireo_scsi_event_kind {
	VIREO_SCSI_UNIT_RESET,	 /* it has been reset, and is still there */
	VIREO_SCSI_UNIT_ADDED,	 /* it has come; needs HOTPLUG */
	VIREO_SCSI_UNIT_REMOVED, /* it takes no commands any more; needs HOTPLUG */
	VIREO_SCSI_UNIT_CHANGED, /* its capacity, modes, ...: `asc` and `ascq` say what; needs CHANGE */
};

struct vireo_scsi_event {
	size_t size;
	uint32_t kind; /* enum vireo_scsi_event_kind */
	uint8_t target;
	uint8_t asc, ascq; /* of UNIT_CHANGED: 2A and 09 are a capacity that has changed */
	uint8_t lun[8];	   /* in the form that REPORT LUNS has, for Linux knows it by that. ADDED and REMOVED with LUN 0 may stand for the whole target */
};

/* ---- the device ---- */

/* The control thread calls all but submit; any but submit and manage may be NULL. */
struct vireo_scsi_ops {
	size_t size;
	/*
	 * Worker, inside vireo_scsi_poll() or vireo_scsi_flush(): carry these out. The application owns each until it calls
	 * vireo_scsi_complete() for it, which it may do in here; it may call no other function of this device in here. The
	 * array itself is the library's. Their order is that of the ring.
	 */
	void (*submit)(void *opaque, unsigned queue, struct vireo_scsi_command *const *commands, unsigned count);
	/*
	 * Carry this out and answer it with vireo_scsi_managed(), in here or later. What it aborts or resets has been completed and
	 * shown (vireo_scsi_flush()) before the answer, on whatever queue it is (5.6.6.2). Several may be under way.
	 */
	void (*manage)(void *opaque, struct vireo_scsi_management *management);
	/*
	 * Is there a logical unit at this address? VIREO_SCSI_FUNCTION_COMPLETE: yes; VIREO_SCSI_BAD_TARGET, VIREO_SCSI_INCORRECT_LUN.
	 * Asynchronous notifications are asked for with it; no unit has any. NULL: every address has one.
	 */
	uint8_t (*unit_look)(void *opaque, uint8_t target, const uint8_t lun[8]);
	void (*queue_started)(void *opaque, unsigned queue); /* its worker may poll from now on */
	/*
	 * Give the queue back: poll it no more, complete every command of it, flush, and answer with vireo_scsi_queue_quiesced() in the
	 * control thread, when no worker uses it any more. How long it may take is said at vireo_device_ops.queue_stop: within a
	 * second. A command that hangs longer is completed with VIREO_SCSI_ABORTED as soon as nothing will touch its data any more; an
	 * application whose back end cannot promise that lets it work on memory of its own.
	 * NULL: the application polls in the control thread and has completed everything whenever it returns to the library.
	 */
	void (*queue_stop)(void *opaque, unsigned queue);
	void (*queue_enabled)(void *opaque, unsigned queue, bool enabled); /* enabled: poll it; chains may wait there */
	/*
	 * The peer unmaps memory, and the queue goes on. Return 0, and answer with vireo_scsi_queue_renewed() when every
	 * command that was submitted before this call has been completed, or when vireo_scsi_kept() says that the rest may stay.
	 * Return -EOPNOTSUPP, or leave the op NULL where queue_stop is not: the library stops the queue instead, and starts it again.
	 */
	int (*queue_renew)(void *opaque, unsigned queue);
	void (*connected)(void *opaque, bool connected);
	void (*negotiated)(void *opaque, uint64_t features); /* the driver has accepted these */
	void (*reset)(void *opaque); /* the driver has reset the device. All commands have ended: for the targets this is a bus reset */
	void (*memory_changed)(void *opaque);	/* the peer's memory table is another one: see vireo_device_ops */
	int (*postcopy)(void *opaque, bool on); /* the peer's memory comes late, or not any more: see vireo_device_ops */
};

#define VIREO_SCSI_CDB_BYTES_MAX 260u /* SPC-5: of an extended one. A driver that wants to send more is refused */
#define VIREO_SCSI_SENSE_BYTES_MAX 4096u

struct vireo_scsi_config {
	size_t size;
	unsigned queues;	 /* request queues, 1..1022; 0: 1 */
	unsigned queue_size_max; /* 0: 1024 */
	unsigned segments_max;	 /* data descriptors of a command that the driver may use, each way (seg_max), 1..1022; 0: 126, or queue_size_max - 2 if less */
	uint32_t sectors_max;	 /* of one command, of 512 bytes (max_sectors, a hint); 0: 65535 */
	uint32_t commands_per_unit; /* that the driver may have under way (cmd_per_lun); 0: 128 */
	uint16_t target_max;	 /* the highest number that the driver looks at, at most 255; 0: 255 */
	uint32_t lun_max;	 /* likewise, at most 16383; 0: 16383 */
	/* T10_PI is offered: some unit takes protection information. A command may have some whatever its unit is. */
	bool protection;
	/*
	 * With T10_PI agreed on, pi_bytesout and pi_bytesin lie in front of the CDB, as in Linux's struct virtio_scsi_cmd_req_pi, and
	 * not behind it, as in the specification (5.6.6.1). A driver does not say which: set this where the drivers are Linux's. A
	 * request that is read the wrong way may be taken for a TEST UNIT READY, which succeeds.
	 */
	bool protection_first;
	/*
	 * The front end may let its driver agree on CHANGE without a word to us, as QEMU's vhost-user-scsi does: UNIT_CHANGED is told to
	 * every driver that has an event queue. One that does not know the event ignores it.
	 */
	bool change_untold;
	uint64_t features_off;	/* features not to offer, by bit */
	size_t command_room_bytes, management_room_bytes; /* at most 4096 */
	const struct vireo_scsi_ops *ops; /* copied */
	void *opaque;
	/* These are passed on to the device: see struct vireo_device_config. */
	struct vireo_log log;
	const char *name;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	struct vireo_memory *memory;
	uint64_t memory_max_bytes;
};

/* Makes a SCSI host; the caller's thread is its control thread. -EINVAL: a field of the config is not valid; -ENOMEM. */
VIREO_API int vireo_scsi_new(const struct vireo_scsi_config *config, struct vireo_scsi **ret_scsi);
/* Close its endpoint first, and answer what ops->manage has given (vireo_scsi_managing()). Does nothing for NULL. */
VIREO_API void vireo_scsi_free(struct vireo_scsi *scsi);
VIREO_API struct vireo_device *vireo_scsi_device(struct vireo_scsi *scsi); /* borrowed: the SCSI host owns it */

/* Answers ops->queue_stop: every command has been completed, and no worker uses the queue any more. Control thread. */
VIREO_API void vireo_scsi_queue_quiesced(struct vireo_scsi *scsi, unsigned queue);
/* Answers ops->queue_renew, before vireo_scsi_queue_quiesced(). Control thread. */
VIREO_API void vireo_scsi_queue_renewed(struct vireo_scsi *scsi, unsigned queue);

/*
 * Answers what ops->manage has given, and ends the application's use of it. `answer` is one of enum vireo_scsi_answer, or BAD_TARGET, BUSY,
 * TRANSPORT_FAILURE, TARGET_FAILURE, NEXUS_FAILURE or FAILURE of enum vireo_scsi_response. The driver sees it at once. If the peer has stopped the control
 * queue meanwhile, the library has told the driver FAILURE already, and the call only frees `management`: call it all the same. Control thread.
 */
VIREO_API void vireo_scsi_managed(struct vireo_scsi_management *management, uint8_t answer);
/* Returns how much of what ops->manage has given waits for vireo_scsi_managed(). Control thread. */
VIREO_API unsigned vireo_scsi_managing(const struct vireo_scsi *scsi);

/*
 * Tells the driver of an event. While the driver has no buffer for it, up to 64 events wait. The library drops what goes beyond that, and the next
 * event says so (EVENTS_MISSED): the driver scans then. Returns 0 if the driver has been told, will be, or will learn that something was
 * lost. -EOPNOTSUPP: no driver is there, or it has not accepted the feature that the kind needs; a unit attention has to tell it. -EINVAL:
 * there is no such kind. Control thread.
 */
VIREO_API int vireo_scsi_tell(struct vireo_scsi *scsi, const struct vireo_scsi_event *event);

/* ---- a request queue that runs: its worker ---- */

/*
 * Pops up to `max` chains from the queue, answers them or submits them, and shows the driver what was completed meanwhile. `queue` is
 * below the config's `queues`. Returns how many chains it has popped. 0: there is none, the queue is disabled, or it holds as much as
 * it can: completions make room. -EPROTO: the queue is broken; stop polling it, and complete what has been submitted.
 */
VIREO_API int vireo_scsi_poll(struct vireo_scsi *scsi, unsigned queue, unsigned max);
/*
 * Completes a command and ends the application's use of it. `result` is read inside the call. The driver sees the completion after the
 * next flush.
 */
VIREO_API void vireo_scsi_complete(struct vireo_scsi_command *command, const struct vireo_scsi_result *result);
/*
 * Shows the driver what has been completed, and signals the driver if it has asked for that. The call may also submit commands: chains that
 * had no room before.
 */
VIREO_API void vireo_scsi_flush(struct vireo_scsi *scsi, unsigned queue);
/* Asks the driver to kick, or not to: see vireo_queue_kick_enable(). Kicks are on when a queue starts. */
VIREO_API bool vireo_scsi_kick_enable(struct vireo_scsi *scsi, unsigned queue, bool on);
/* Returns how many commands the application has. Before you give a queue back, complete and flush until it is 0. */
VIREO_API unsigned vireo_scsi_in_flight(const struct vireo_scsi *scsi, unsigned queue);
/*
 * Returns whether the memory of every command that the application has is still mapped after what ops->queue_renew announced. If so,
 * answer without waiting for these commands, even where a back end hangs. The queue's worker calls it between ops->queue_renew and the
 * answer. It checks each command.
 */
VIREO_API bool vireo_scsi_kept(struct vireo_scsi *scsi, unsigned queue);
/* Prefetches what the next vireo_scsi_poll() of this queue reads first: see vireo_queue_expect(). */
VIREO_API void vireo_scsi_expect(struct vireo_scsi *scsi, unsigned queue);

/* ---- any thread ---- */

/* Returns the fd to watch for kicks while the queue runs: see vireo_queue_kick_fd(). -1: the queue does not run, or the driver polls. */
VIREO_API int vireo_scsi_kick_fd(struct vireo_scsi *scsi, unsigned queue);

/* The counters of one request queue; each field is read by itself. */
struct vireo_scsi_queue_stats {
	size_t size; /* the caller's: of its struct; afterwards of what was filled in */
	uint64_t commands;   /* completed by the application with VIREO_SCSI_OK */
	uint64_t conditions; /* of those: with another status than GOOD */
	uint64_t out_bytes, in_bytes; /* moved */
	uint64_t aborted;    /* completed by it with VIREO_SCSI_ABORTED or VIREO_SCSI_RESET */
	uint64_t errors;     /* completed by it with any other response */
	uint64_t refused;    /* answered BAD_TARGET or FAILURE by the device: no such address format, data both ways, no room for sense, ... */
	uint64_t no_status;  /* chains without room for a response: given back without an answer */
};
/* Fills in the counters. The caller sets ret_stats->size to sizeof(*ret_stats). Of a queue that does not exist they are 0. */
VIREO_API void vireo_scsi_queue_stats(const struct vireo_scsi *scsi, unsigned queue, struct vireo_scsi_queue_stats *ret_stats);

/* Of the device as a whole. */
struct vireo_scsi_stats {
	size_t size;
	uint64_t managements; /* given to ops->manage */
	uint64_t managements_refused; /* control requests that the device has answered by itself with something else than OK */
	uint64_t events;      /* told */
	uint64_t events_lost;
};
/* Fills in the counters. The caller sets ret_stats->size to sizeof(*ret_stats). */
VIREO_API void vireo_scsi_stats(const struct vireo_scsi *scsi, struct vireo_scsi_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
