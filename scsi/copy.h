/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_COPY_H
#define SCSI_COPY_H

/*
 * EXTENDED COPY (LID1) and RECEIVE COPY RESULTS (SPC-4, 6.4 and 6.22):
 *
 *	copy_list.c	the parameter list: what is wrong with it, and which logical units it names
 *	copy.c		carrying it out, a piece after the other
 *	copy_report.c	what is told of it: limits, how far it is, how it has failed
 */

#include "scsi/internal.h"

#define ASC_IN_PROGRESS		0x0016 /* OPERATION IN PROGRESS */
#define ASC_THIRD_PARTY		0x0d01 /* THIRD PARTY DEVICE FAILURE */
#define ASC_UNREACHABLE		0x0d02 /* COPY TARGET DEVICE NOT REACHABLE */
#define ASC_DEVICE_TYPE		0x0d03 /* INCORRECT COPY TARGET DEVICE TYPE */
#define ASC_TOO_MANY_CSCDS	0x2606
#define ASC_CSCD_TYPE		0x2607
#define ASC_TOO_MANY_SEGMENTS	0x2608
#define ASC_SEGMENT_TYPE	0x2609
#define ASC_INEXACT		0x260a /* UNEXPECTED INEXACT SEGMENT */
#define ASC_INLINE		0x260b /* INLINE DATA LENGTH EXCEEDED */

#define COPY_HEADER_BYTES  16u
#define COPY_CSCD_BYTES	   32u /* of an identification descriptor */
#define COPY_SEGMENT_BYTES 28u /* of a block to block descriptor */
#define COPY_CSCDS_MAX	   8u
#define COPY_SEGMENTS_MAX  64u
#define COPY_LISTS_BYTES_MAX (COPY_CSCDS_MAX * COPY_CSCD_BYTES + COPY_SEGMENTS_MAX * COPY_SEGMENT_BYTES)
#define COPY_AT_ONCE_MAX   8u  /* of a queue */
#define COPY_RECORDS_MAX   16u /* of a nexus and logical unit */

#define COPY_CSCD_TYPE	  0xe4u
#define COPY_SEGMENT_TYPE 0x02u

#define COPY_USAGE_NONE 3u /* of the list identifier: nobody will ask */

/* What is kept of a copy for who asks by its list identifier; the manager's unit.lock, but for what is atomic. */
enum { COPY_FREE, COPY_RUNS, COPY_DONE, COPY_FAILED };
struct scsi_copy_record {
	uint8_t state, list_id;
	uint8_t status, sense_bytes, sense[SCSI_SENSE_BYTES]; /* of one that has failed */
	uint32_t order;
	uint16_t segments; /* atomic: those that are done */
	uint64_t bytes;	   /* atomic: written */
};

struct scsi_copy_records {
	uint32_t order;
	struct scsi_copy_record records[COPY_RECORDS_MAX];
};

/* A queue's thread. */
struct scsi_copy {
	struct scsi_copy *next; /* of the queue's */
	struct scsi_job *job;
	struct scsi_copy_record *record; /* NULL: nobody may ask for it */
	unsigned cscds, segments;
	unsigned segment;	     /* the one that is being carried out */
	struct scsi_path *from, *to; /* its; each counts a job for it */
	uint64_t from_at, to_at, bytes, done; /* of the disks; of the segment these are done */
	bool backwards;		     /* it overlaps itself */
	uint64_t copied;	     /* of all segments */
	uint8_t list[COPY_HEADER_BYTES + COPY_LISTS_BYTES_MAX];
};

static inline unsigned copy_cscd_offset(unsigned index)
{
	return COPY_HEADER_BYTES + index * COPY_CSCD_BYTES;
}

static inline const uint8_t *copy_cscd(const struct scsi_copy *copy, unsigned index)
{
	return copy->list + copy_cscd_offset(index);
}

static inline const uint8_t *copy_segment(const struct scsi_copy *copy)
{
	return copy->list + copy_cscd_offset(copy->cscds) + copy->segment * (size_t)COPY_SEGMENT_BYTES;
}

/* ---- copy_list.c ---- */

/* Takes the task's list. False: the task has ended. */
bool scsi_copy_list_take(struct scsi_task *task, struct scsi_copy *copy);
/* The logical unit of that queue's bus which a CSCD descriptor names, `near` before others; NULL: there is none. */
struct scsi_path *scsi_copy_path(struct scsi_path *near, const uint8_t *cscd);

/* ---- copy_report.c ---- */

/* 0; -EEXIST: that list identifier is in use; -EBUSY: so many copies are; -ENOMEM. */
int scsi_copy_record_new(struct scsi_lun *lun, uint8_t list_id, struct scsi_copy_record **ret_record);
/* With what the task has come to; state is COPY_FREE where that is of no interest. */
void scsi_copy_record_end(struct scsi_lun *lun, struct scsi_copy_record *record, uint8_t state, const struct scsi_task *task);

#endif
