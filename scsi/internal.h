/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_INTERNAL_H
#define SCSI_INTERNAL_H

/*
 * The map of this room:
 *
 *	unit.c		logical units: life, and what all who see one share
 *	bus.c		buses: where units are, and who sees what changes
 *	address.c	the forms of a LUN address
 *	queue.c		a queue: tasks in and out, and its paths
 *	path.c		a logical unit in a queue's hands: order, requests of the disk, what is given up
 *	way.h		what each READ and WRITE passes on its way, inline
 *	manage.c	task management
 *	task.c		how a task ends: data, sense
 *	table.c		the commands
 *	job.c		commands that take more than one step, or data of their own
 *	medium.c	READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH
 *	compare.c	VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE
 *	unmap.c		UNMAP, WRITE SAME
 *	copy.c, copy_list.c, copy_report.c	EXTENDED COPY (copy.h)
 *	inquiry.c, vpd.c, capacity.c, mode.c, report.c	what a unit says of itself
 *	reserve.c	reservations: who is kept out
 *	persist_in.c, persist_out.c, keep.c	persistent ones
 *	state.c		what another process goes on with
 *
 * Locks: unit.lock, then bus.lock. No command takes one but those that are about reservations, modes and
 * addresses: what a queue needs to know of a unit is in atomic words. A queue's thread owns its paths, and a
 * path holds its lun.
 */

#include "disk/disk.h"
#include "scsi/bytes.h"
#include "scsi/codes.h"
#include "scsi/scsi.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SCSI_REGISTRANTS_MAX 64u
#define SCSI_MOVE_BYTES_MAX  (UINT64_C(32) << 20) /* of one READ or WRITE */
#define SCSI_STEP_BYTES	     262144u		   /* of one step of a job, and of its memory */
#define SCSI_COMPARE_BLOCKS_MAX 255u
#define SCSI_UNMAP_RANGES_MAX 64u
#define SCSI_SAME_BYTES_MAX  (UINT64_C(1) << 30)
#define SCSI_PATH_BUCKETS    256u
#define SCSI_PATH_BURST	     32u

/* ---- logical units ---- */

/* What reservations keep a lun from; commands say in which of them they are not carried out. */
#define BAR_READ   1u
#define BAR_WRITE  2u
#define BAR_LEGACY 4u /* RESERVE(6) and (10) */

/* Who: an initiator port, and the target port by which it has come. */
struct scsi_nexus {
	uint64_t initiator;
	uint16_t port;
};

struct scsi_registrant {
	struct scsi_nexus nexus;
	uint64_t key;
};

struct scsi_reservations {
	uint32_t generation;
	bool kept; /* APTPL */
	unsigned count;
	struct scsi_registrant registrants[SCSI_REGISTRANTS_MAX];
	uint8_t type; /* 0: nothing is reserved */
	struct scsi_nexus holder; /* of types that have one */
	/* RESERVE(6), RESERVE(10) */
	bool legacy;
	struct scsi_nexus legacy_holder;
};

struct scsi_modes {
	bool write_cache, descriptor_sense, write_protect;
};

struct scsi_unit {
	/* Constant. */
	struct disk *disk;
	struct disk_info info; /* but for the size */
	unsigned block_shift;
	bool read_only;
	uint64_t naa;
	char name[SCSI_NAME_BYTES + 1], serial[SCSI_SERIAL_BYTES + 1], vendor[9], product[17];
	void (*keep)(void *opaque, struct scsi_keep *keep);
	void *opaque;
	/* Written under the lock, read by any (atomic). */
	uint64_t blocks;
	uint32_t write_flags; /* of what writes: DISK_FUA or none */
	bool write_protect, descriptor_sense, stopped;
	/* Under the lock. */
	pthread_mutex_t lock;
	struct scsi_lun *luns;
	struct scsi_reservations reservations;
	struct scsi_modes modes;
	uint64_t keep_order;
	bool claimed; /* by a job that compares or combines, and writes */
	struct scsi_job *claim_first, **claim_end;
};

/* What is to be told at the next command: bits of scsi_lun.attentions, the first one first. */
enum scsi_attention {
	ATTENTION_POWER_ON,
	ATTENTION_RESET,
	ATTENTION_NEXUS_LOSS,
	ATTENTION_CLEARED,
	ATTENTION_PREEMPTED,
	ATTENTION_RELEASED,
	ATTENTION_REGISTRATIONS,
	ATTENTION_MODES,
	ATTENTION_CAPACITY,
	ATTENTION_LUNS,
	ATTENTIONS,
};

struct scsi_lun {
	struct scsi_bus *bus;
	struct scsi_unit *unit;
	struct scsi_nexus nexus;
	uint8_t target;
	uint16_t number;
	/* Atomic. */
	uint32_t users; /* the bus while it is there, each path, and who looks */
	bool gone;
	uint32_t attentions;
	uint32_t barred; /* written under the unit's lock */
	struct scsi_copy_records *copies; /* unit.lock; NULL: there were none yet */
	void (*removed)(void *opaque);
	void *opaque;
	struct scsi_lun *next;	       /* of the bus, by address: bus.lock */
	struct scsi_lun *next_of_unit; /* unit.lock */
};

struct scsi_bus {
	/* Constant. */
	uint64_t initiator;
	unsigned segments_max;
	void (*attention)(void *opaque, unsigned target, unsigned lun, uint16_t asc_ascq);
	void *opaque;
	pthread_mutex_t lock;
	struct scsi_lun *luns;
	struct scsi_queue *queues;
};

/* ---- queues ---- */

/* To a queue's thread, from any. */
struct scsi_message {
	struct scsi_message *next;
	void (*deliver)(struct scsi_queue *queue, struct scsi_message *message);
};

/* A request of a disk. It outlives its task, which may be aborted, until the disk has done it. */
struct scsi_op {
	struct disk_request disk;
	struct scsi_path *path;
	struct scsi_job *job;
	struct scsi_task *task; /* NULL: of a job, or of a task that has been given up */
	struct scsi_op *next;
	struct iovec *trimmed; /* to be freed */
	void *lost;	       /* where data goes that nobody waits for */
	struct iovec lost_iov;
};

struct scsi_path {
	struct scsi_queue *queue;
	struct scsi_lun *lun;	 /* NULL: there is none */
	bool well_known;	 /* that one (lun is NULL) */
	struct disk_queue *disk; /* NULL: not opened yet */
	bool busy; /* in queue.busy, or about to be */
	bool ordered; /* an ORDERED task is under way */
	bool beginning;
	unsigned active;	 /* tasks that have begun and not ended */
	unsigned jobs;		 /* that have not ended, with a task or without */
	struct scsi_task *tasks; /* these */
	struct scsi_task *held, **held_end; /* those that have not begun */
	unsigned burst_count;
	struct disk_request *burst[SCSI_PATH_BURST];
	struct scsi_path *next;	     /* of its bucket */
	struct scsi_path *next_busy;
};

struct scsi_queue {
	struct scsi_bus *bus;
	unsigned depth;
	int fd, event_fd;
	struct scsi_path *last;
	uint64_t last_address; /* of its LUN, as the task had it */
	const struct scsi_command *plain[256]; /* of each opcode that has come: its command if it is of a plain kind, else NULL. path.c */
	struct scsi_path *busy; /* those with requests at their disks */
	struct scsi_task *done, **done_end;
	unsigned tasks, orphans; /* not reaped; without a task */
	uint64_t lost_bytes;
	struct scsi_op *ops; /* unused ones */
	struct scsi_job *jobs_waiting, **jobs_end;
	unsigned jobs;
	unsigned still;	  /* so many walks over its tasks are under way: no task and no job begins meanwhile */
	bool jobs_begin;  /* those that wait, one after the other */
	struct scsi_part *parts_open, *parts; /* that wait for tasks; whose tasks have all ended */
	uint64_t part_number; /* of the last one */
	struct scsi_copy *copies; /* that have not ended */
	unsigned copy_count;
	bool hurried;
	bool gone; /* paths whose logical units are gone are still there: they are looked at at each reap */
	struct scsi_path nowhere, well_known;
	struct scsi_path *buckets[SCSI_PATH_BUCKETS];
	/* Any thread (atomic). */
	struct scsi_message *inbox __attribute__((aligned(CACHE_LINE_BYTES)));
	bool armed, sweep;
	/* bus.lock */
	struct scsi_queue *next;
};

/* What task management does in one queue. */
struct scsi_part {
	struct scsi_message message;
	struct scsi_management *management;
	struct scsi_lun *lun; /* held; NULL: of a nexus */
	bool first; /* it is who has asked */
	uint64_t number; /* in its queue, from 1 */
	unsigned left; /* tasks that have not ended */
	uint8_t response;
	struct scsi_part *next, *next_of_queue;
};

/* ---- address.c, bus.c ---- */

struct scsi_lun *scsi_lun_find(struct scsi_bus *bus, unsigned target, unsigned number); /* held; NULL: there is none */
/* The first one of a target from that number on, held; NULL: none. */
struct scsi_lun *scsi_lun_from(struct scsi_bus *bus, unsigned target, unsigned number);
void scsi_lun_put(struct scsi_lun *lun);
bool scsi_bus_has_target(struct scsi_bus *bus, unsigned target);
uint64_t scsi_naa(const char *name); /* locally assigned */

/* Any thread. */
void scsi_attend(struct scsi_lun *lun, enum scsi_attention attention);
/* All who see the unit, but one; unit.lock is held. */
void scsi_attend_others(struct scsi_unit *unit, const struct scsi_lun *but, enum scsi_attention attention);
uint16_t scsi_attention_code(enum scsi_attention attention); /* as ASC and ASCQ */
/* Takes the first one: -1 if there is none. */
int scsi_attention_take(struct scsi_lun *lun);
int scsi_attention_first(const struct scsi_lun *lun);

static inline bool nexus_same(const struct scsi_nexus *a, const struct scsi_nexus *b)
{
	return a->initiator == b->initiator && a->port == b->port;
}

/* ---- unit.c ---- */

void scsi_modes_apply(struct scsi_unit *unit); /* unit.lock is held */
void scsi_modes_default(struct scsi_unit *unit);

/* ---- queue.c ---- */

void scsi_queue_post(struct scsi_queue *queue, struct scsi_message *message); /* any thread */
void scsi_queue_sweep(struct scsi_queue *queue); /* any thread: it lets go of what is gone */
/*
 * Around a walk over tasks in which some are aborted: nothing but these ends, for nothing begins. Then the paths
 * are asked to begin what they hold.
 */
void scsi_queue_hold_still(struct scsi_queue *queue);
void scsi_queue_go_on(struct scsi_queue *queue);
/* NULL: there is no such unit, or no memory. */
struct scsi_path *scsi_queue_path(struct scsi_queue *queue, unsigned target, unsigned number);

/* ---- path.c ---- */

void scsi_path_take(struct scsi_path *path, struct scsi_task *task); /* it begins, or is held */
void scsi_path_begin_held(struct scsi_path *path);
void scsi_path_go(struct scsi_path *path); /* what has been gathered goes to the disk */
void scsi_path_reap(struct scsi_path *path);
int scsi_path_open(struct scsi_path *path); /* the disk's queue */
void scsi_path_submit(struct scsi_path *path, struct scsi_op *op);
void scsi_path_cancel(struct scsi_path *path);

static inline void scsi_path_busy(struct scsi_path *path)
{
	if (path->busy)
		return;
	path->busy = true;
	path->next_busy = path->queue->busy;
	path->queue->busy = path;
}

struct scsi_op *scsi_op_new(struct scsi_path *path); /* NULL: no memory */
void scsi_op_free(struct scsi_op *op);
/* Its response is to be that: at once if nothing holds it. By a part of task management, or (NULL) by the queue. Once more tries again. */
void scsi_task_abort(struct scsi_task *task, enum scsi_response response, const struct scsi_part *part);

/* ---- manage.c ---- */

void scsi_parts_task_ended(struct scsi_queue *queue, const struct scsi_task *task); /* that has been aborted */
void scsi_parts_shown(struct scsi_queue *queue);
/* ABORT TASK SET of all that these see of the unit, wherever it is (PREEMPT AND ABORT): only `done` of it is set. */
void scsi_unit_abort(struct scsi_unit *unit, const struct scsi_nexus *nexuses, unsigned count, struct scsi_management *management);

/* ---- table.c ---- */

struct scsi_command {
	const char *name;
	uint8_t opcode;
	int16_t service_action; /* -1: the opcode has none */
	uint8_t cdb_bytes;
	uint8_t bars;  /* BAR_ */
	uint8_t flags; /* COMMAND_ */
	void (*handler)(struct scsi_task *task);
	uint8_t usage[SCSI_CDB_BYTES]; /* the bits that are looked at; that of the opcode is 0 */
};

#define COMMAND_ANYWHERE 1u /* answered where there is no logical unit, and before unit attentions */
#define COMMAND_MEDIUM	 2u /* not while it is stopped */
#define COMMAND_WRITES	 4u /* not to what is read-only */
/*
 * The first three bits of byte 1 are of no meaning: SCSI-2 had the LUN there. Linux still writes it in the INQUIRY by which it looks for a
 * unit of a target that it knows nothing of.
 */
#define COMMAND_OLD_LUN 16u
#define COMMAND_WELL_KNOWN 8u /* answered by the REPORT LUNS well known logical unit */

extern const struct scsi_command scsi_commands[];
extern const unsigned scsi_command_count;

/* NULL: `field` is 0 if the opcode is unknown, else the byte that names no service action. */
const struct scsi_command *scsi_command_find(const uint8_t *cdb, unsigned bytes, unsigned *ret_field);
unsigned scsi_service_action(const uint8_t *cdb);
bool scsi_command_usable(const struct scsi_command *command, const struct scsi_unit *unit); /* false: only other disks have it */

/* ---- task.c ---- */

void scsi_end(struct scsi_task *task); /* with what its fields say */
void scsi_end_status(struct scsi_task *task, enum scsi_status status);
void scsi_end_response(struct scsi_task *task, enum scsi_response response);
void scsi_end_check(struct scsi_task *task, uint8_t key, uint16_t asc_ascq);
void scsi_end_check_at(struct scsi_task *task, uint8_t key, uint16_t asc_ascq, uint64_t information);
/* ILLEGAL REQUEST: a field of the CDB (bit -1: the byte as a whole), or of the parameter list. */
void scsi_end_cdb(struct scsi_task *task, unsigned byte, int bit);
void scsi_end_list(struct scsi_task *task, unsigned byte, int bit);
void scsi_end_list_as(struct scsi_task *task, uint16_t asc_ascq, unsigned byte, int bit); /* with another code */
void scsi_end_errno(struct scsi_task *task, int err, bool wrote, uint64_t block);
void scsi_errno_sense(int err, bool wrote, uint8_t *ret_key, uint16_t *ret_asc_ascq);
/* Data to the initiator: as much as the command allows; ends the task. */
void scsi_end_data(struct scsi_task *task, const void *data, size_t bytes, size_t allowed);

size_t scsi_data_out(const struct scsi_task *task, uint64_t skip, void *data, size_t bytes); /* copies, and returns how much */
size_t scsi_data_in(struct scsi_task *task, uint64_t skip, const void *data, size_t bytes);
/* A parameter list of that length, private. False: the task has ended. */
bool scsi_list_take(struct scsi_task *task, uint8_t *list, size_t bytes);

size_t scsi_sense_write(uint8_t *sense, bool descriptors, uint8_t key, uint16_t asc_ascq);

static inline struct scsi_unit *unit_of(const struct scsi_task *task)
{
	return task->path->lun->unit;
}

/* ---- job.c ---- */

struct scsi_job {
	struct scsi_op op;
	struct scsi_queue *queue;
	struct scsi_task *task; /* NULL: given up */
	struct scsi_path *path; /* of the logical unit */
	/*
	 * What comes next: when the job begins, when the disk has done a request, when it has the claim, when
	 * it has been kept.
	 */
	void (*step)(struct scsi_job *job, int result);
	uint8_t *buffer;
	size_t buffer_bytes;
	struct iovec iov;
	uint64_t offset, bytes, done; /* of the disk; of these so many are done */
	uint64_t skip;	      /* of the task's data */
	uint32_t state, flags;
	bool waits;	      /* for room in the queue */
	bool claiming, claimed;
	struct scsi_copy *copy; /* NULL: it is none */
	struct scsi_message message;
	struct scsi_keep keep;
	int kept;
	struct scsi_job *next;
};

/*
 * NULL: the task has ended. Then its fields are filled in, and it starts: step is called, now or later, with
 * 0.
 */
struct scsi_job *scsi_job_new(struct scsi_task *task, size_t buffer_bytes, void (*step)(struct scsi_job *job, int result));
void scsi_job_start(struct scsi_job *job);
void scsi_job_start_now(struct scsi_job *job); /* whatever else there is */
void scsi_job_drop(struct scsi_job *job); /* instead; its task has ended */
/* One request: `buffer` to or from there; op is one of the disk's. */
void scsi_job_move(struct scsi_job *job, struct scsi_path *path, uint8_t op, uint8_t flags, uint64_t offset, uint64_t bytes);
/* No other job of the unit has it meanwhile. */
void scsi_job_claim(struct scsi_job *job);
void scsi_job_keep(struct scsi_job *job);
void scsi_job_end(struct scsi_job *job); /* the task has ended, or there is none */
void scsi_job_give_up(struct scsi_job *job); /* its task is ended by somebody else */
void scsi_jobs_begin(struct scsi_queue *queue); /* those that wait, as many as there is room for */

/* ---- copy.c, copy_report.c ---- */

/* Copies from or to that path end at once, since it is gone or its tasks are aborted. Returns how many. Outside of scsi_queue_hold_still(). */
unsigned scsi_copies_end(struct scsi_path *path, bool gone);
void scsi_copies_forget(struct scsi_lun *lun); /* how those have gone that have ended; unit.lock is held */
void scsi_copy_given_up(struct scsi_copy *copy);
void scsi_copy_free(struct scsi_copy *copy); /* its job ends */
size_t scsi_copy_page(const struct scsi_lun *lun, uint8_t *data); /* of INQUIRY */

/* ---- reserve.c ---- */

void scsi_bars_apply(struct scsi_unit *unit); /* unit.lock is held */
unsigned scsi_bars_of(const struct scsi_unit *unit, const struct scsi_lun *lun);
struct scsi_registrant *scsi_registrant(struct scsi_reservations *r, const struct scsi_nexus *nexus);
bool scsi_holds(const struct scsi_reservations *r, const struct scsi_nexus *nexus); /* the persistent one */
void scsi_release_legacy(struct scsi_unit *unit, const struct scsi_nexus *nexus); /* NULL: whoever has it. Under the lock */

static inline bool reservation_all_registrants(uint8_t type)
{
	return type == RESERVE_WRITE_ALL || type == RESERVE_EXCLUSIVE_ALL;
}

static inline bool reservation_registrants(uint8_t type)
{
	return type == RESERVE_WRITE_REGISTRANTS || type == RESERVE_EXCLUSIVE_REGISTRANTS || reservation_all_registrants(type);
}

/* ---- keep.c ---- */

#define SCSI_KEEP_BYTES (SCSI_REGISTRANTS_MAX * 64u + 192u)

void scsi_keep_write(const struct scsi_reservations *r, uint64_t naa, char *text); /* of SCSI_KEEP_BYTES */
/* 0; -EINVAL: it cannot be understood; -ESTALE: it is of a unit with another `naa`; -ENOMEM. */
int scsi_keep_read(const char *text, uint64_t naa, struct scsi_reservations *ret_reservations);

/* ---- transport identifiers, as SAS has them ---- */

#define TRANSPORT_ID_BYTES 24u

static inline void transport_id_write(uint8_t *id, uint64_t initiator)
{
	memset(id, 0, TRANSPORT_ID_BYTES);
	id[0] = 6; /* SAS */
	put_be64(id + 4, initiator);
}

/* ---- the commands' handlers, each in the file of its subject ---- */

#define SCSI_HANDLER(name) void scsi_do_##name(struct scsi_task *task)
SCSI_HANDLER(test_unit_ready);
SCSI_HANDLER(request_sense);
SCSI_HANDLER(inquiry);
SCSI_HANDLER(vpd);
SCSI_HANDLER(read_capacity);
SCSI_HANDLER(read_capacity_16);
SCSI_HANDLER(get_lba_status);
SCSI_HANDLER(mode_sense);
SCSI_HANDLER(mode_select);
SCSI_HANDLER(read);
SCSI_HANDLER(write);
SCSI_HANDLER(synchronize);
SCSI_HANDLER(prefetch);
SCSI_HANDLER(verify);
SCSI_HANDLER(write_verify);
SCSI_HANDLER(compare_write);
SCSI_HANDLER(orwrite);
SCSI_HANDLER(unmap);
SCSI_HANDLER(write_same);
SCSI_HANDLER(extended_copy);
SCSI_HANDLER(copy_status);
SCSI_HANDLER(copy_parameters);
SCSI_HANDLER(copy_failure);
SCSI_HANDLER(report_luns);
SCSI_HANDLER(report_opcodes);
SCSI_HANDLER(report_tmfs);
SCSI_HANDLER(report_ports);
SCSI_HANDLER(persist_in);
SCSI_HANDLER(persist_out);
SCSI_HANDLER(reserve);
SCSI_HANDLER(release);
SCSI_HANDLER(start_stop);
SCSI_HANDLER(removal);

/* ---- medium.c ---- */

void scsi_medium_failed(struct scsi_task *task, const struct disk_request *r); /* of a task without a job */
unsigned scsi_write_flags(const struct scsi_task *task); /* DISK_FUA, if the command or the unit asks for it */

unsigned scsi_compare_blocks_max(const struct scsi_unit *unit);

struct scsi_extent {
	uint64_t block;
	uint64_t count;
};

/* The block address and the transfer length of a command of its length. */
struct scsi_extent scsi_extent_of(const struct scsi_task *task);
/* Whether they are all there. False: the task has ended. */
bool scsi_extent_check(struct scsi_task *task, const struct scsi_extent *extent);
unsigned scsi_length_field(const struct scsi_command *command); /* the byte where the transfer length begins */

#endif
