/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_SCSI_H
#define SCSI_SCSI_H

/*
 * SCSI targets: commands in, what disks have done out (SAM-5, SPC-4, SBC-3).
 *
 *	unit	a logical unit: a disk with an identity, mode pages and reservations
 *	bus	what one initiator sees: up to 256 targets, each with logical units
 *	lun	a unit at an address of a bus. A unit may be on several buses, which is how a cluster shares it
 *	queue	how one thread gives commands to a bus; there is no lock between the queues of a bus, nor of a unit
 *
 * A queue is used as that of a disk is:
 *
 *	scsi_queue_submit(queue, tasks, count);     // a burst at once; all of them are taken
 *	n = scsi_queue_reap(queue, done, max);	    // those that are done, in any order
 *	...show them to the initiator...
 *	scsi_queue_shown(queue);		    // only then what has aborted some of them is answered
 *
 * When there is nothing else to do: scsi_queue_arm(queue, true), and unless that says that something is done
 * already, sleep until scsi_queue_fd() is readable (edge-triggered; nobody reads it); then
 * scsi_queue_arm(queue, false) and reap.
 *
 * The caller embeds the task in what it keeps of a command. Its data may lie in memory that others write to
 * at any time: what matters is copied first. Whatever a command says, it is answered as the standards have
 * it, and nothing needs to be checked before.
 *
 * Threads: what begins with scsi_queue_ is of the queue's thread, but for scsi_queue_new() and
 * scsi_queue_free(), which are of the control thread, as all else is that does not say "any thread".
 */

#include "base/util.h"
#include "vireo/base.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#define SCSI_TARGETS	 256u
#define SCSI_LUNS	 16384u
#define SCSI_CDB_BYTES	 32u /* the longest that there is */
#define SCSI_SENSE_BYTES 64u
#define SCSI_NAME_BYTES	 64u
#define SCSI_SERIAL_BYTES 32u

struct disk;
struct scsi_bus;
struct scsi_command;
struct scsi_job;
struct scsi_lun;
struct scsi_op;
struct scsi_part;
struct scsi_path;
struct scsi_queue;
struct scsi_unit;

/* What became of a task, other than its status. */
enum scsi_response {
	SCSI_OK,	     /* the status says it */
	SCSI_OVERRUN,	     /* the command moves more than the task has room or data for */
	SCSI_ABORTED,	     /* by task management, or the queue has come to an end */
	SCSI_BAD_TARGET,     /* there is no such target */
	SCSI_RESET,	     /* by the reset of its logical unit */
	SCSI_FAILED,	     /* no memory for it */
};

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_CONFLICT = 0x18, /* RESERVATION CONFLICT */
	SCSI_TASK_ABORTED = 0x40,
};

enum scsi_attribute {
	SCSI_SIMPLE,
	SCSI_ORDERED, /* after all that the same queue was given before for this logical unit, and before all that comes later */
	SCSI_HEAD_OF_QUEUE,
	SCSI_ACA, /* refused */
};

struct scsi_task {
	/* The caller's, left alone from submit to reap. */
	uint8_t target;
	uint8_t attribute; /* enum scsi_attribute */
	uint8_t lun[8];	   /* SAM-5, 4.7: of any form */
	uint16_t cdb_bytes;
	const uint8_t *cdb; /* private: nobody else changes it. Its first byte can be read whatever cdb_bytes is */
	uint64_t tag;	    /* by which task management names it */
	const struct iovec *out, *in; /* data to the logical unit, and from it ... */
	uint32_t out_count, in_count;
	uint64_t out_bytes, in_bytes; /* ... so many */
	/* When it is done. */
	uint8_t response; /* enum scsi_response */
	uint8_t status;	  /* enum scsi_status; of SCSI_OK */
	uint8_t sense_bytes;
	/* The queue's, from submit to reap. */
	uint8_t ends_as; /* it is being aborted: the response; else SCSI_OK */
	bool held;
	uint64_t moved; /* when it is done: bytes of `out` or `in` */
	struct scsi_op *op;
	struct scsi_job *job;
	const struct scsi_command *command; /* once it has begun */
	struct scsi_path *path;
	struct scsi_task *next;
	uint64_t aborted_by;   /* the number of the part of task management that does */
	struct scsi_task **at; /* what points to it, of those that have begun */
	uint8_t sense[SCSI_SENSE_BYTES]; /* when it is done: sense_bytes of it */
};

/* ---- logical units ---- */

/*
 * What reservations are kept with (APTPL) over the end of the process. `keep` may be called by any thread
 * that serves a queue, with a text of its own for each change, and must not wait: it calls scsi_keep_done()
 * from any thread when the text is stable. Those with a lower `order` than one that has been stored already
 * are not to be stored any more.
 */
struct scsi_keep {
	const char *text; /* as scsi_unit_config.reservations takes it; empty: there are none to keep */
	uint64_t order;
};
void scsi_keep_done(struct scsi_keep *keep, int err);
/*
 * Stores a text in a file so that either the old one or the new one is there afterwards, whatever happens.
 * May wait. 0 or -errno. Any thread.
 */
int scsi_keep_file(const char *path, const char *text);

struct scsi_unit_config {
	struct disk *disk;	  /* borrowed: it outlives the unit */
	const char *name;	  /* identifies it: the same name is the same logical unit, after a restart as well */
	const char *serial;	  /* NULL: the name */
	const char *vendor;	  /* up to 8 characters; NULL: "VIREO" */
	const char *product;	  /* up to 16; NULL: "disk" */
	bool read_only;		  /* whatever the disk is */
	const char *reservations; /* what `keep` was given last; NULL: there are none */
	void (*keep)(void *opaque, struct scsi_keep *keep); /* NULL: reservations do not outlive the process, and APTPL is refused */
	void *opaque;
};

/* 0; -EINVAL: what was kept cannot be understood, or a text is too long; -ESTALE: it is of a unit of another name; -ENOMEM. */
int scsi_unit_new(const struct scsi_unit_config *config, struct scsi_unit **ret_unit);
/* It is on no bus any more. Takes NULL. */
void scsi_unit_free(struct scsi_unit *unit);
/*
 * The disk's size may have changed: looks, and tells the initiators at their next command. Returns whether it
 * has.
 */
bool scsi_unit_resized(struct scsi_unit *unit);
uint64_t scsi_unit_blocks(const struct scsi_unit *unit); /* any thread */
uint32_t scsi_unit_block_bytes(const struct scsi_unit *unit);

/* ---- buses ---- */

struct scsi_bus_config {
	const char *initiator; /* names who asks: reservations are his, after a restart as well */
	unsigned segments_max; /* pieces of one task that are worth while; 0: not said */
	/* Any thread: logical units have come, gone or changed. For who passes that on. NULL: nobody does. */
	void (*attention)(void *opaque, unsigned target, unsigned lun, uint16_t asc_ascq);
	void *opaque;
};

int scsi_bus_new(const struct scsi_bus_config *config, struct scsi_bus **ret_bus); /* -EINVAL, -ENOMEM */
/* It has no units and no queues. Takes NULL. */
void scsi_bus_free(struct scsi_bus *bus);

/* -EEXIST: there is one; -EINVAL: no such address; -ENOMEM. */
int scsi_bus_add(struct scsi_bus *bus, unsigned target, unsigned lun, struct scsi_unit *unit);
/*
 * From now on it is not there. What waits is given up; `removed` is called, by any thread and perhaps in
 * here, when nothing of it is left: not before the disk has answered what it was given. -ENOENT.
 */
int scsi_bus_remove(struct scsi_bus *bus, unsigned target, unsigned lun, void (*removed)(void *opaque), void *opaque);
/* The initiator, or its connection, has been reset: as after power on, for its part of what is there. */
void scsi_bus_reset(struct scsi_bus *bus);

/* ---- task management (SAM-5, 7) ---- */

enum scsi_function {
	SCSI_ABORT_TASK,
	SCSI_ABORT_TASK_SET,
	SCSI_CLEAR_ACA, /* rejected: there is none */
	SCSI_CLEAR_TASK_SET,
	SCSI_I_T_NEXUS_RESET, /* of a target */
	SCSI_LOGICAL_UNIT_RESET,
	SCSI_QUERY_TASK,
	SCSI_QUERY_TASK_SET,
	SCSI_QUERY_ASYNC_EVENT,
	SCSI_FUNCTIONS,
};

enum scsi_answer {
	SCSI_FUNCTION_COMPLETE,	 /* done; a query: there is none */
	SCSI_FUNCTION_SUCCEEDED, /* a query: there is one */
	SCSI_FUNCTION_REJECTED,
	SCSI_INCORRECT_LUN,
	SCSI_NO_TARGET,
};

struct scsi_management {
	/* The caller's, left alone until it is done. */
	uint8_t function; /* enum scsi_function */
	uint8_t target;
	uint8_t lun[8];
	uint64_t tag; /* of ABORT TASK and QUERY TASK */
	/*
	 * By any thread, and perhaps within scsi_bus_manage(): all that it aborts has been shown
	 * (scsi_queue_shown()), also where a disk does not answer but for what the kernel may still write to.
	 */
	void (*done)(struct scsi_management *management);
	/* When it is done. */
	uint8_t answer; /* enum scsi_answer */
	uint64_t additional; /* QUERY ASYNCHRONOUS EVENT: sense key, code and qualifier of what is pending, and bit 31 */
	/* Its own. */
	uint32_t left; /* atomic */
	uint32_t found;
	struct scsi_part *parts;
	struct scsi_management *next;
};

/* Any thread. */
void scsi_bus_manage(struct scsi_bus *bus, struct scsi_management *management);

/* ---- queues ---- */

/* `depth`: so many requests of one disk are under way at once; more wait. Any thread. 0 or -errno. */
int scsi_queue_new(struct scsi_bus *bus, unsigned depth, struct scsi_queue **ret_queue);
/* Nothing is under way (scsi_queue_pending() is 0). May wait. Takes NULL. */
void scsi_queue_free(struct scsi_queue *queue);

void scsi_queue_submit(struct scsi_queue *queue, struct scsi_task *const *tasks, unsigned count);
unsigned scsi_queue_reap(struct scsi_queue *queue, struct scsi_task **ret_done, unsigned max);
void scsi_queue_shown(struct scsi_queue *queue);
bool scsi_queue_arm(struct scsi_queue *queue, bool on);
void scsi_queue_cancel(struct scsi_queue *queue); /* what waits is done with SCSI_ABORTED soon; what the kernel has, when it has done it */
void scsi_queue_hurry(struct scsi_queue *queue);  /* as disk_queue_hurry(), of all its disks */
int scsi_queue_fd(const struct scsi_queue *queue); /* borrowed; any thread */
/* Tasks that have not been reaped, and what aborted tasks have left with disks. */
unsigned scsi_queue_pending(const struct scsi_queue *queue);

/* ---- another process goes on with it ---- */

/*
 * What a unit, and a lun, hold beside the disk: reservations, mode pages and whether it is stopped; unit attentions
 * and how copies have ended. Texts, to be freed; NULL: no memory, or there is no such lun. Nothing is under way at
 * any queue.
 */
char *scsi_unit_save(struct scsi_unit *unit);
char *scsi_lun_save(struct scsi_bus *bus, unsigned target, unsigned lun);
/*
 * They are that from now on, or as they were: a text is anybody's. 0; -EINVAL: it cannot be understood, or says what
 * cannot be; -ESTALE: it is of a unit of another name; -ENOENT: there is no such lun; -ENOMEM. When all luns have been
 * added, since each of these says that to others, and before any command.
 */
int scsi_unit_load(struct scsi_unit *unit, const char *text);
int scsi_lun_load(struct scsi_bus *bus, unsigned target, unsigned lun, const char *text);

/* ---- addresses ---- */

/*
 * The number of a logical unit that an address of one level names, in any of its forms; -EINVAL: none;
 * -ENOTSUP: a well known one.
 */
int scsi_lun_decode(const uint8_t address[8]);
/* Peripheral device addressing below 256, else flat space. */
void scsi_lun_encode(unsigned lun, uint8_t ret_address[8]);

/* All commands, as a table of Markdown: docs/scsi.md has it. */
void scsi_commands_print(FILE *out);

#endif
