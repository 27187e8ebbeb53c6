/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_TEST_COPY_H
#define SCSI_TEST_COPY_H

/* What the tests of EXTENDED COPY have in common: a second unit beside that of the rig, and lists that name both. */

#include "scsi/copy.h"
#include "scsi/test_scsi.h"
#include <stdio.h>

#define OTHER 6u /* the LUN that is copied to */
#define KIB   1024u
#define SEGMENTS_AT (COPY_HEADER_BYTES + 2 * COPY_CSCD_BYTES)
#define STATUS	    0u
#define DETAILS	    4u

struct pair {
	struct rig *t;
	struct disk *disk;
	struct scsi_unit *unit;
	uint8_t list[COPY_HEADER_BYTES + COPY_LISTS_BYTES_MAX + 64];
};

static inline struct pair *pair_with(const char *spec, struct disk *other)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->t = rig_new(spec);
	p->disk = other;
	p->unit = rig_unit(other, "disk2");
	assert_int_equal(scsi_bus_add(p->t->bus, TARGET, OTHER, p->unit), 0);
	ask(p->t, "00 0000000000", 0, 0);
	at(p->t, TARGET, OTHER, "00 0000000000", 0, 0);
	return p;
}

static inline struct pair *pair_new(const char *spec, const char *other)
{
	return pair_with(spec, rig_disk(other));
}

static inline void pair_free(struct pair *p)
{
	unsigned removed = 0;

	scsi_bus_remove(p->t->bus, TARGET, OTHER, removed_count, &removed);
	rig_free(p->t);
	assert_true(removed <= 1);
	scsi_unit_free(p->unit);
	disk_close(p->disk);
	free(p);
}

/* ---- lists ---- */

static inline void cscd_write(uint8_t *at, const struct scsi_unit *unit)
{
	memset(at, 0, COPY_CSCD_BYTES);
	at[0] = COPY_CSCD_TYPE;
	at[4] = 1;
	at[5] = 3;
	at[7] = 8;
	put_be64(at + 8, unit->naa);
	put_be24(at + 29, scsi_unit_block_bytes(unit));
}

static inline void segment_write(struct pair *p, unsigned n, unsigned from, unsigned to, unsigned blocks, uint64_t source, uint64_t destination)
{
	uint8_t *at = p->list + SEGMENTS_AT + n * (size_t)COPY_SEGMENT_BYTES;

	memset(at, 0, COPY_SEGMENT_BYTES);
	at[0] = COPY_SEGMENT_TYPE;
	at[3] = COPY_SEGMENT_BYTES - 4;
	put_be16(at + 4, (uint16_t)from);
	put_be16(at + 6, (uint16_t)to);
	put_be16(at + 10, (uint16_t)blocks);
	put_be64(at + 12, source);
	put_be64(at + 20, destination);
	put_be32(p->list + 8, (n + 1) * COPY_SEGMENT_BYTES);
}

/* With both units, of list identifier 7, and one segment: 8 blocks from 0 of the first to 16 of the second. */
static inline void list_write(struct pair *p)
{
	memset(p->list, 0, sizeof(p->list));
	p->list[0] = 7;
	put_be16(p->list + 2, 2 * COPY_CSCD_BYTES);
	cscd_write(p->list + COPY_HEADER_BYTES, p->t->unit);
	cscd_write(p->list + COPY_HEADER_BYTES + COPY_CSCD_BYTES, p->unit);
	segment_write(p, 0, 0, 1, 8, 0, 16);
}

static inline size_t list_bytes(const struct pair *p)
{
	return COPY_HEADER_BYTES + get_be16(p->list + 2) + (size_t)get_be32(p->list + 8);
}

static inline void copy_fill(struct pair *p, size_t bytes)
{
	char cdb[64];

	snprintf(cdb, sizeof(cdb), "83 00 0000000000000000 %08zx 00 00", bytes);
	rig_fill(p->t, TARGET, LUN, cdb, bytes, 0);
	memcpy(p->t->out, p->list, bytes);
}

static inline int copy_with(struct pair *p, size_t bytes)
{
	copy_fill(p, bytes);
	rig_submit(p->t);
	assert_ptr_equal(rig_wait(p->t->queue), &p->t->task);
	assert_int_equal(scsi_queue_pending(p->t->queue), 0);
	return p->t->task.response == SCSI_OK ? p->t->task.status : 0x100 | p->t->task.response;
}

static inline int copy(struct pair *p)
{
	return copy_with(p, list_bytes(p));
}

static inline int about(struct pair *p, unsigned action, unsigned list_id)
{
	char cdb[64];

	snprintf(cdb, sizeof(cdb), "84 %02x %02x 00000000000000 00000100 00 00", action, list_id);
	return ask(p->t, cdb, 0, 256);
}

static inline void expect_status(struct pair *p, unsigned state, unsigned segments, uint32_t bytes)
{
	assert_int_equal(about(p, STATUS, 7), SCSI_GOOD);
	assert_int_equal(p->t->task.moved, 12);
	assert_int_equal(get_be32(p->t->in), 8);
	assert_int_equal(p->t->in[4], state);
	assert_int_equal(get_be16(p->t->in + 5), segments);
	assert_int_equal(p->t->in[7], 0);
	assert_int_equal(get_be32(p->t->in + 8), bytes);
}

#endif
