/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_TEST_SCSI_H
#define SCSI_TEST_SCSI_H

/*
 * What the unit tests of SCSI have in common: a disk, a unit on it at target 3, LUN 5, and commands written
 * as hex digits.
 */

#include "base/util.h"
#include "disk/disk.h"
#include "scsi/bytes.h"
#include "scsi/codes.h"
#include "scsi/scsi.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define TARGET 3u
#define LUN    5u
#define BLOCK  512u
#define ROOM   (1u << 20)

struct rig {
	struct disk *disk;
	struct scsi_unit *unit;
	struct scsi_bus *bus;
	struct scsi_queue *queue;
	/* Of the command that has been done last. */
	struct scsi_task task;
	uint8_t cdb[SCSI_CDB_BYTES];
	struct iovec out_iov, in_iov;
	uint8_t out[ROOM], in[ROOM];
};

static inline struct disk *rig_disk(const char *spec)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct disk *disk = NULL;
	int err = disk_open(spec, &config, &disk, why);

	if (err)
		print_error("%s: %s\n", spec, why);
	assert_int_equal(err, 0);
	return disk;
}

static inline struct scsi_bus *rig_bus(const char *initiator)
{
	struct scsi_bus_config config = {.initiator = initiator};
	struct scsi_bus *bus;

	assert_int_equal(scsi_bus_new(&config, &bus), 0);
	return bus;
}

static inline struct rig *rig_of(struct disk *disk, struct scsi_unit *unit, struct scsi_bus *bus)
{
	struct rig *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->disk = disk;
	t->unit = unit;
	t->bus = bus;
	assert_int_equal(scsi_queue_new(bus, 8, &t->queue), 0);
	return t;
}

static inline struct scsi_unit *rig_unit(struct disk *disk, const char *name)
{
	struct scsi_unit_config config = {.disk = disk, .name = name, .serial = "S1"};
	struct scsi_unit *unit;

	assert_int_equal(scsi_unit_new(&config, &unit), 0);
	return unit;
}

static inline unsigned digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

/* Blanks are of no meaning. Returns how many bytes. */
static inline unsigned hex(const char *text, uint8_t *bytes)
{
	unsigned digits = 0;

	for (; *text; text++) {
		if (*text == ' ')
			continue;
		if (digits % 2)
			bytes[digits / 2] = (uint8_t)(bytes[digits / 2] << 4 | digit(*text));
		else
			bytes[digits / 2] = (uint8_t)digit(*text);
		digits++;
	}
	return digits / 2;
}

static inline struct scsi_task *rig_wait(struct scsi_queue *queue)
{
	struct scsi_task *done;

	while (!scsi_queue_reap(queue, &done, 1)) {
		struct pollfd fd = {.fd = scsi_queue_fd(queue), .events = POLLIN};

		if (scsi_queue_arm(queue, true))
			continue;
		assert_int_equal(poll(&fd, 1, 20000), 1);
		scsi_queue_arm(queue, false);
	}
	scsi_queue_shown(queue);
	return done;
}

static inline void rig_fill(struct rig *t, unsigned target, unsigned lun, const char *cdb, size_t out_bytes, size_t in_bytes)
{
	memset(t->cdb, 0, sizeof(t->cdb));
	t->out_iov = (struct iovec){t->out, out_bytes};
	t->in_iov = (struct iovec){t->in, in_bytes};
	memset(&t->task, 0xee, sizeof(t->task));
	t->task.target = (uint8_t)target;
	t->task.attribute = SCSI_SIMPLE;
	scsi_lun_encode(lun, t->task.lun);
	t->task.cdb = t->cdb;
	t->task.cdb_bytes = (uint16_t)hex(cdb, t->cdb);
	t->task.out = &t->out_iov;
	t->task.in = &t->in_iov;
	t->task.out_count = out_bytes != 0;
	t->task.in_count = in_bytes != 0;
	t->task.out_bytes = out_bytes;
	t->task.in_bytes = in_bytes;
}

static inline void rig_submit(struct rig *t)
{
	struct scsi_task *one = &t->task;

	scsi_queue_submit(t->queue, &one, 1);
}

/* Done, with what is in t->out, and into t->in. Returns the status, or 0x100 and the response. */
static inline int at(struct rig *t, unsigned target, unsigned lun, const char *cdb, size_t out_bytes, size_t in_bytes)
{
	rig_fill(t, target, lun, cdb, out_bytes, in_bytes);
	rig_submit(t);
	assert_ptr_equal(rig_wait(t->queue), &t->task);
	assert_int_equal(scsi_queue_pending(t->queue), 0);
	return t->task.response == SCSI_OK ? t->task.status : 0x100 | t->task.response;
}

static inline int ask(struct rig *t, const char *cdb, size_t out_bytes, size_t in_bytes)
{
	return at(t, TARGET, LUN, cdb, out_bytes, in_bytes);
}

#define GOOD(...) assert_int_equal(ask(__VA_ARGS__), SCSI_GOOD)

/* Sense data of fixed format: key and code. */
static inline void expect_sense(const struct rig *t, unsigned key, unsigned asc_ascq)
{
	assert_int_equal(t->task.response, SCSI_OK);
	assert_int_equal(t->task.status, SCSI_CHECK_CONDITION);
	assert_int_equal(t->task.sense_bytes, 18);
	assert_int_equal(t->task.sense[0] & 0x7f, 0x70);
	assert_int_equal(t->task.sense[2], key);
	assert_int_equal(get_be16(t->task.sense + 12), asc_ascq);
}

#define CHECK(t, cdb, out, in, key, code) \
	do { \
		ask(t, cdb, out, in); \
		expect_sense(t, key, code); \
	} while (0)

/* A field of the CDB (bit -1: as a whole). */
static inline void expect_field(const struct rig *t, unsigned asc_ascq, unsigned byte, int bit)
{
	uint8_t of = asc_ascq == ASC_CDB_FIELD ? 0xc0 : 0x80;

	expect_sense(t, KEY_ILLEGAL_REQUEST, asc_ascq);
	assert_int_equal(get_be16(t->task.sense + 16), byte);
	assert_int_equal(t->task.sense[15], of | (bit >= 0 ? 8 | bit : 0));
}

static inline void removed_count(void *opaque)
{
	__atomic_fetch_add((unsigned *)opaque, 1, __ATOMIC_RELEASE);
}

/* Opened, and told once that there was power on. */
static inline struct rig *rig_new(const char *spec)
{
	struct disk *disk = rig_disk(spec);
	struct rig *t = rig_of(disk, rig_unit(disk, "disk1"), rig_bus("vm1"));

	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN, t->unit), 0);
	CHECK(t, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_POWER_ON);
	return t;
}

static inline void rig_free(struct rig *t)
{
	unsigned removed = 0;

	assert_int_equal(scsi_bus_remove(t->bus, TARGET, LUN, removed_count, &removed), 0);
	scsi_queue_free(t->queue);
	assert_int_equal(removed, 1);
	scsi_bus_free(t->bus);
	scsi_unit_free(t->unit);
	disk_close(t->disk);
	free(t);
}

static inline bool all(const uint8_t *bytes, size_t count, uint8_t value)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* Blocks from 0 on. */
static inline void write_blocks(struct rig *t, unsigned count, uint8_t value)
{
	char cdb[40];

	snprintf(cdb, sizeof(cdb), "2a 00 00000000 00 %04x 00", count);
	memset(t->out, value, count * (size_t)BLOCK);
	GOOD(t, cdb, count * (size_t)BLOCK, 0);
}

static inline void read_blocks(struct rig *t, unsigned first, unsigned count)
{
	char cdb[40];

	snprintf(cdb, sizeof(cdb), "28 00 %08x 00 %04x 00", first, count);
	memset(t->in, 0x5a, count * (size_t)BLOCK);
	GOOD(t, cdb, 0, count * (size_t)BLOCK);
}

#endif
