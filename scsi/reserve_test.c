/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations between three machines that share a unit: who is kept out, who is told, and what outlives the
 * process.
 */
#include "scsi/test_scsi.h"
#include <sys/stat.h>
#include <pthread.h>

#define HOSTS 3u

static char kept[8192];
static unsigned keeps;
static int keep_error;

static bool keep_waits;
static struct scsi_keep *keep_waiting;

static void keep(void *opaque, struct scsi_keep *k)
{
	snprintf(kept, sizeof(kept), "%s", k->text);
	keeps++;
	if (keep_waits)
		keep_waiting = k;
	else
		scsi_keep_done(k, keep_error);
}

struct cluster {
	struct disk *disk;
	struct scsi_unit *unit;
	struct rig *host[HOSTS];
};

static struct cluster cluster_with(const char *spec, const char *reservations)
{
	struct cluster c = {.disk = rig_disk(spec)};
	struct scsi_unit_config config = {.disk = c.disk, .name = "shared", .reservations = reservations, .keep = keep};

	assert_int_equal(scsi_unit_new(&config, &c.unit), 0);
	for (unsigned i = 0; i < HOSTS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "vm%u", i);
		c.host[i] = rig_of(c.disk, c.unit, rig_bus(name));
		assert_int_equal(scsi_bus_add(c.host[i]->bus, TARGET, LUN, c.unit), 0);
		ask(c.host[i], "00 0000000000", 0, 0);
	}
	return c;
}

static struct cluster cluster_new(void)
{
	keeps = 0;
	keep_error = 0;
	return cluster_with("mem:1M", NULL);
}

static void cluster_free(struct cluster *c)
{
	unsigned removed = 0;

	for (unsigned i = 0; i < HOSTS; i++) {
		assert_int_equal(scsi_bus_remove(c->host[i]->bus, TARGET, LUN, removed_count, &removed), 0);
		scsi_queue_free(c->host[i]->queue);
		scsi_bus_free(c->host[i]->bus);
		free(c->host[i]);
	}
	assert_int_equal(removed, HOSTS);
	scsi_unit_free(c->unit);
	disk_close(c->disk);
}

enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_ABORT, REGISTER_IGNORE, REGISTER_MOVE };

static int order_with(struct rig *t, unsigned action, unsigned type, uint64_t key, uint64_t service_key, uint8_t flags)
{
	char cdb[32];

	memset(t->out, 0, 24);
	put_be64(t->out, key);
	put_be64(t->out + 8, service_key);
	t->out[20] = flags;
	snprintf(cdb, sizeof(cdb), "5f %02x %02x 0000 00000018 00", action, type);
	return ask(t, cdb, 24, 0);
}

static int order(struct rig *t, unsigned action, unsigned type, uint64_t key, uint64_t service_key)
{
	return order_with(t, action, type, key, service_key, 0);
}

static int may_read(struct rig *t)
{
	return ask(t, "28 00 00000000 00 0001 00", 0, BLOCK);
}

static int may_write(struct rig *t)
{
	return ask(t, "2a 00 00000000 00 0001 00", BLOCK, 0);
}

static void expect_attention(struct rig *t, unsigned code)
{
	ask(t, "00 0000000000", 0, 0);
	expect_sense(t, KEY_UNIT_ATTENTION, code);
	GOOD(t, "00 0000000000", 0, 0);
}

static void register_all(struct cluster *c)
{
	for (unsigned i = 0; i < HOSTS; i++)
		assert_int_equal(order(c->host[i], REGISTER, 0, 0, 0x10 + i), SCSI_GOOD);
}

static void keys_are_registered_changed_and_removed(void **state)
{
	struct cluster c = cluster_new();
	struct rig *t = c.host[0];

	assert_int_equal(order(t, REGISTER, 0, 5, 7), SCSI_CONFLICT); /* has none yet */
	assert_int_equal(order(t, REGISTER, 0, 0, 0), SCSI_GOOD);     /* none again */
	assert_int_equal(order(t, REGISTER, 0, 0, 7), SCSI_GOOD);
	assert_int_equal(order(t, REGISTER, 0, 0, 8), SCSI_CONFLICT);
	assert_int_equal(order(t, REGISTER, 0, 7, 8), SCSI_GOOD);
	assert_int_equal(order(c.host[1], REGISTER_IGNORE, 0, 1234, 9), SCSI_GOOD);
	GOOD(c.host[2], "5e 00 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[2]->task.moved, 24);
	assert_int_equal(get_be32(c.host[2]->in), 3);
	assert_int_equal(get_be64(c.host[2]->in + 8), 8);
	assert_int_equal(get_be64(c.host[2]->in + 16), 9);
	GOOD(c.host[2], "5e 00 0000000000 0008 00", 0, 255);
	assert_int_equal(get_be32(c.host[2]->in + 4), 16);
	assert_int_equal(order(t, REGISTER, 0, 8, 0), SCSI_GOOD);
	GOOD(t, "5e 00 0000000000 00ff 00", 0, 255);
	assert_int_equal(t->task.moved, 16);
	cluster_free(&c);
}

/* Type; may a registrant read, write; may somebody else. */
static void each_type_keeps_out_whom_it_says(void **state)
{
	static const struct {
		unsigned type;
		bool registrant_reads, registrant_writes, other_reads, other_writes;
	} types[] = {
		{1, true, false, true, false}, {3, false, false, false, false}, {5, true, true, true, false},
		{6, true, true, false, false}, {7, true, true, true, false}, {8, true, true, false, false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct cluster c = cluster_new();

		assert_int_equal(order(c.host[0], REGISTER, 0, 0, 1), SCSI_GOOD);
		assert_int_equal(order(c.host[1], REGISTER, 0, 0, 2), SCSI_GOOD);
		assert_int_equal(order(c.host[0], RESERVE, types[i].type, 1, 0), SCSI_GOOD);
		assert_int_equal(order(c.host[0], RESERVE, types[i].type, 1, 0), SCSI_GOOD); /* as it is */
		assert_int_equal(may_read(c.host[0]), SCSI_GOOD);
		assert_int_equal(may_write(c.host[0]), SCSI_GOOD);
		assert_int_equal(may_read(c.host[1]), types[i].registrant_reads ? SCSI_GOOD : SCSI_CONFLICT);
		assert_int_equal(may_write(c.host[1]), types[i].registrant_writes ? SCSI_GOOD : SCSI_CONFLICT);
		assert_int_equal(may_read(c.host[2]), types[i].other_reads ? SCSI_GOOD : SCSI_CONFLICT);
		assert_int_equal(may_write(c.host[2]), types[i].other_writes ? SCSI_GOOD : SCSI_CONFLICT);
		GOOD(c.host[2], "12 00 00 0024 00", 0, 36);
		GOOD(c.host[2], "00 0000000000", 0, 0);
		GOOD(c.host[2], "25 00 00000000 0000 00 00", 0, 8);
		GOOD(c.host[2], "5e 01 0000000000 00ff 00", 0, 255);
		assert_int_equal(c.host[2]->task.moved, 24);
		assert_int_equal(c.host[2]->in[21], types[i].type);
		assert_int_equal(get_be64(c.host[2]->in + 8), types[i].type >= 7 ? 0 : 1);
		cluster_free(&c);
	}
}

static void who_is_not_registered_cannot_reserve(void **state)
{
	struct cluster c = cluster_new();

	assert_int_equal(order(c.host[0], RESERVE, 1, 0, 0), SCSI_CONFLICT);
	assert_int_equal(order(c.host[0], RELEASE, 1, 0, 0), SCSI_CONFLICT);
	assert_int_equal(order(c.host[0], CLEAR, 0, 0, 0), SCSI_CONFLICT);
	assert_int_equal(order(c.host[0], PREEMPT, 1, 0, 5), SCSI_CONFLICT);
	register_all(&c);
	assert_int_equal(order(c.host[0], RESERVE, 1, 0x99, 0), SCSI_CONFLICT);
	order(c.host[0], RESERVE, 2, 0x10, 0);
	expect_field(c.host[0], ASC_CDB_FIELD, 2, 3);
	order(c.host[0], RESERVE, 0x11, 0x10, 0);
	expect_field(c.host[0], ASC_CDB_FIELD, 2, 7);
	assert_int_equal(order(c.host[0], RESERVE, 1, 0x10, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[1], RESERVE, 1, 0x11, 0), SCSI_CONFLICT);
	assert_int_equal(order(c.host[0], RESERVE, 3, 0x10, 0), SCSI_CONFLICT);
	cluster_free(&c);
}

static void release_is_of_the_holder_and_tells_registrants(void **state)
{
	struct cluster c = cluster_new();

	register_all(&c);
	assert_int_equal(order(c.host[0], RELEASE, 5, 0x10, 0), SCSI_GOOD); /* there is none */
	assert_int_equal(order(c.host[0], RESERVE, 5, 0x10, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[1], RELEASE, 5, 0x11, 0), SCSI_GOOD); /* not his: nothing happens */
	order(c.host[0], RELEASE, 1, 0x10, 0);
	expect_sense(c.host[0], KEY_ILLEGAL_REQUEST, ASC_RELEASE);
	assert_int_equal(order(c.host[0], RELEASE, 5, 0x10, 0), SCSI_GOOD);
	expect_attention(c.host[1], ASC_RESERVATIONS_RELEASED);
	expect_attention(c.host[2], ASC_RESERVATIONS_RELEASED);
	GOOD(c.host[0], "00 0000000000", 0, 0);
	GOOD(c.host[0], "5e 01 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[0]->task.moved, 8);
	cluster_free(&c);
}

static void who_unregisters_gives_up_what_he_holds(void **state)
{
	struct cluster c = cluster_new();

	register_all(&c);
	assert_int_equal(order(c.host[0], RESERVE, 6, 0x10, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[0], REGISTER, 0, 0x10, 0), SCSI_GOOD);
	expect_attention(c.host[1], ASC_RESERVATIONS_RELEASED);
	expect_attention(c.host[2], ASC_RESERVATIONS_RELEASED);
	assert_int_equal(may_write(c.host[0]), SCSI_GOOD);
	assert_int_equal(order(c.host[1], RESERVE, 8, 0x11, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[1], REGISTER, 0, 0x11, 0), SCSI_GOOD); /* one is left who holds it */
	assert_int_equal(may_read(c.host[1]), SCSI_CONFLICT);
	assert_int_equal(order(c.host[2], REGISTER, 0, 0x12, 0), SCSI_GOOD);
	assert_int_equal(may_read(c.host[1]), SCSI_GOOD);
	cluster_free(&c);
}

static void clear_removes_all(void **state)
{
	struct cluster c = cluster_new();

	register_all(&c);
	assert_int_equal(order(c.host[0], RESERVE, 3, 0x10, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[1], CLEAR, 0, 0x11, 0), SCSI_GOOD);
	expect_attention(c.host[0], ASC_RESERVATIONS_PREEMPTED);
	expect_attention(c.host[2], ASC_RESERVATIONS_PREEMPTED);
	GOOD(c.host[1], "5e 00 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[1]->task.moved, 8);
	assert_int_equal(get_be32(c.host[1]->in), 4);
	assert_int_equal(may_write(c.host[2]), SCSI_GOOD);
	cluster_free(&c);
}

static void preempt_takes_the_reservation_of_a_key(void **state)
{
	struct cluster c = cluster_new();

	register_all(&c);
	assert_int_equal(order(c.host[0], RESERVE, 5, 0x10, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[1], PREEMPT, 3, 0x11, 0x77), SCSI_CONFLICT); /* nobody's key */
	order(c.host[1], PREEMPT, 3, 0x11, 0);
	expect_field(c.host[1], ASC_LIST_FIELD, 8, -1);
	order(c.host[1], PREEMPT, 4, 0x11, 0x10);
	expect_field(c.host[1], ASC_CDB_FIELD, 2, 3);
	assert_int_equal(order(c.host[1], PREEMPT, 3, 0x11, 0x10), SCSI_GOOD);
	expect_attention(c.host[0], ASC_REGISTRATIONS_PREEMPTED);
	expect_attention(c.host[2], ASC_RESERVATIONS_RELEASED); /* of another type now */
	assert_int_equal(may_read(c.host[0]), SCSI_CONFLICT);
	assert_int_equal(may_read(c.host[1]), SCSI_GOOD);
	assert_int_equal(order(c.host[1], PREEMPT, 3, 0x11, 0x12), SCSI_GOOD); /* not the holder's: his registration alone */
	expect_attention(c.host[2], ASC_REGISTRATIONS_PREEMPTED);
	GOOD(c.host[1], "5e 00 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[1]->task.moved, 16);
	cluster_free(&c);
}

static void preempt_of_all_registrants_takes_all(void **state)
{
	struct cluster c = cluster_new();

	register_all(&c);
	assert_int_equal(order(c.host[0], RESERVE, 7, 0x10, 0), SCSI_GOOD);
	assert_int_equal(order(c.host[1], PREEMPT, 1, 0x11, 0), SCSI_GOOD);
	expect_attention(c.host[0], ASC_REGISTRATIONS_PREEMPTED);
	expect_attention(c.host[2], ASC_REGISTRATIONS_PREEMPTED);
	assert_int_equal(may_write(c.host[1]), SCSI_GOOD);
	assert_int_equal(may_write(c.host[2]), SCSI_CONFLICT);
	assert_int_equal(may_read(c.host[2]), SCSI_GOOD);
	cluster_free(&c);
}

static void registration_and_reservation_are_moved(void **state)
{
	struct cluster c = cluster_new();
	uint8_t id[24];

	register_all(&c);
	assert_int_equal(order(c.host[0], RESERVE, 3, 0x10, 0), SCSI_GOOD);
	GOOD(c.host[0], "5e 03 0000000000 0fff 00", 0, 4095);
	assert_int_equal(c.host[0]->task.moved, 8 + 3 * 48);
	assert_int_equal(c.host[0]->in[8 + 12], 1); /* holds */
	assert_int_equal(c.host[0]->in[8 + 13], 3);
	assert_int_equal(get_be16(c.host[0]->in + 8 + 18), TARGET + 1);
	memcpy(id, c.host[0]->in + 8 + 48 + 24, 24);
	memset(c.host[0]->out, 0, 24);
	put_be64(c.host[0]->out, 0x10);
	put_be64(c.host[0]->out + 8, 0x55);
	c.host[0]->out[17] = 2; /* UNREG */
	put_be16(c.host[0]->out + 18, TARGET + 1);
	put_be32(c.host[0]->out + 20, 24);
	memcpy(c.host[0]->out + 24, id, 24);
	CHECK(c.host[0], "5f 07 03 0000 0000002f 00", 47, 0, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	GOOD(c.host[0], "5f 07 03 0000 00000030 00", 48, 0);
	assert_int_equal(may_read(c.host[0]), SCSI_CONFLICT);
	assert_int_equal(may_write(c.host[1]), SCSI_GOOD);
	GOOD(c.host[0], "5e 01 0000000000 00ff 00", 0, 255);
	assert_int_equal(get_be64(c.host[0]->in + 8), 0x55);
	GOOD(c.host[0], "5e 00 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[0]->task.moved, 24);
	memcpy(c.host[1]->out, c.host[0]->out, 48);
	put_be64(c.host[1]->out, 0x55);
	ask(c.host[1], "5f 07 03 0000 00000030 00", 48, 0); /* to himself */
	expect_field(c.host[1], ASC_LIST_FIELD, 24, -1);
	c.host[1]->out[24] = 5; /* an iSCSI name */
	ask(c.host[1], "5f 07 03 0000 00000030 00", 48, 0);
	expect_field(c.host[1], ASC_LIST_FIELD, 24, -1);
	cluster_free(&c);
}

static void lists_of_a_wrong_length_or_for_others_are_refused(void **state)
{
	struct cluster c = cluster_new();
	struct rig *t = c.host[0];

	CHECK(t, "5f 00 00 0000 00000017 00", 24, 0, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	CHECK(t, "5f 00 00 0000 00000019 00", 64, 0, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	CHECK(t, "5f 07 00 0000 ffffffff 00", 64, 0, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	assert_int_equal(ask(t, "5f 00 00 0000 00000018 00", 23, 0), 0x100 | SCSI_OVERRUN);
	order_with(t, REGISTER, 0, 0, 1, 0x08);
	expect_field(t, ASC_LIST_FIELD, 20, 3);
	order_with(t, REGISTER, 0, 0, 1, 0x04);
	expect_field(t, ASC_LIST_FIELD, 20, 2);
	ask(t, "5f 08 00 0000 00000018 00", 24, 0);
	expect_field(t, ASC_CDB_FIELD, 1, -1);
	cluster_free(&c);
}

static void capabilities_are_those_that_are_there(void **state)
{
	struct cluster c = cluster_new();
	struct rig *t = rig_new("mem:1M");

	GOOD(c.host[0], "5e 02 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[0]->task.moved, 8);
	assert_memory_equal(c.host[0]->in, "\x00\x08\x01\x80\xea\x01\x00\x00", 8);
	GOOD(t, "5e 02 0000000000 00ff 00", 0, 255);
	assert_memory_equal(t->in, "\x00\x08\x00\x80\xea\x01\x00\x00", 8);
	order_with(t, REGISTER, 0, 0, 1, 1);
	expect_field(t, ASC_LIST_FIELD, 20, 0);
	rig_free(t);
	cluster_free(&c);
}

static void the_65th_registrant_has_no_room(void **state)
{
	struct rig *t = rig_new("mem:1M");
	unsigned removed = 0;

	for (unsigned i = 0; i < 65; i++) {
		unsigned target = i + 10;

		assert_int_equal(scsi_bus_add(t->bus, target, 0, t->unit), 0);
		at(t, target, 0, "00 0000000000", 0, 0);
		memset(t->out, 0, 24);
		put_be64(t->out + 8, i + 1);
		at(t, target, 0, "5f 00 00 0000 00000018 00", 24, 0);
		if (i < 64)
			assert_int_equal(t->task.status, SCSI_GOOD);
		else
			expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_REGISTRATIONS);
	}
	GOOD(t, "5e 03 0000000000 ffff 00", 0, 65535);
	assert_int_equal(t->task.moved, 8 + 64 * 48);
	for (unsigned i = 0; i < 65; i++)
		scsi_bus_remove(t->bus, i + 10, 0, removed_count, &removed);
	rig_free(t);
	assert_int_equal(removed, 65);
}

/* ---- APTPL ---- */

static void what_is_kept_outlives_the_process(void **state)
{
	struct cluster c = cluster_new();

	assert_int_equal(order(c.host[0], REGISTER, 0, 0, 0x10), SCSI_GOOD);
	assert_int_equal(keeps, 0);
	assert_int_equal(order_with(c.host[1], REGISTER, 0, 0, 0x11, 1), SCSI_GOOD);
	assert_int_equal(keeps, 1);
	assert_int_equal(order(c.host[1], RESERVE, 6, 0x11, 0), SCSI_GOOD);
	assert_int_equal(keeps, 2);
	assert_int_equal(order(c.host[1], RESERVE, 6, 0x11, 0), SCSI_GOOD); /* changes nothing */
	assert_int_equal(keeps, 2);
	cluster_free(&c);
	c = cluster_with("mem:1M", kept);
	GOOD(c.host[2], "5e 00 0000000000 00ff 00", 0, 255);
	assert_int_equal(get_be32(c.host[2]->in), 2);
	assert_int_equal(get_be64(c.host[2]->in + 8), 0x10);
	assert_int_equal(get_be64(c.host[2]->in + 16), 0x11);
	assert_int_equal(may_write(c.host[0]), SCSI_GOOD);
	assert_int_equal(may_read(c.host[2]), SCSI_CONFLICT);
	GOOD(c.host[2], "5e 02 0000000000 00ff 00", 0, 255);
	assert_int_equal(c.host[2]->in[3], 0x81);
	/* Not any more. */
	assert_int_equal(order_with(c.host[0], REGISTER, 0, 0x10, 0x20, 0), SCSI_GOOD);
	assert_string_equal(kept, "");
	cluster_free(&c);
}

/* Whoever has the name of a file now: another disk. A text from before units were named in it is taken. */
static void what_was_kept_of_another_unit_is_not_taken(void **state)
{
	struct cluster c = cluster_new();
	struct scsi_unit_config config = {.disk = c.disk, .name = "another", .keep = keep};
	struct scsi_unit *unit;
	char before[sizeof(kept)];
	char *line;

	assert_int_equal(order_with(c.host[0], REGISTER, 0, 0, 0x10, 1), SCSI_GOOD);
	config.reservations = kept;
	assert_int_equal(scsi_unit_new(&config, &unit), -ESTALE);
	config.name = "shared";
	assert_int_equal(scsi_unit_new(&config, &unit), 0);
	scsi_unit_free(unit);
	line = strstr(kept, "unit naa.");
	assert_non_null(line);
	snprintf(before, sizeof(before), "%.*s%s", (int)(line - kept), kept, strchr(line, '\n') + 1);
	config.name = "another";
	config.reservations = before;
	assert_int_equal(scsi_unit_new(&config, &unit), 0);
	scsi_unit_free(unit);
	cluster_free(&c);
}

static void what_cannot_be_kept_is_an_error(void **state)
{
	struct cluster c = cluster_new();

	keep_error = -EIO;
	order_with(c.host[0], REGISTER, 0, 0, 0x10, 1);
	expect_sense(c.host[0], KEY_HARDWARE_ERROR, ASC_INTERNAL);
	cluster_free(&c);
}

static void texts_that_cannot_be_are_refused(void **state)
{
	static const char *const texts[] = {
		"x", "vireo-reservations 2\n", "vireo-reservations 1", "vireo-reservations 1\nkey 1 2\n", "vireo-reservations 1\nkey 1 2 3",
		"vireo-reservations 1\nkey 0 2 3\n", "vireo-reservations 1\nkey 1 2 3\nkey 4 2 3\n", "vireo-reservations 1\nreserved 1 2 3\n",
		"vireo-reservations 1\nkey 1 2 3\nreserved 1 2 4\n", "vireo-reservations 1\nkey 1 2 3\nreserved 2 2 3\n",
		"vireo-reservations 1\ngeneration 1 \n", "vireo-reservations 1\n\n", "vireo-reservations 1\nkey 1 2 3\nreserved 261 2 3\n",
		"vireo-reservations 1\nunit naa.", "vireo-reservations 1\nunit naa.\n", "vireo-reservations 1\nunit naa.3000000000000000 \n",
	};
	struct disk *disk = rig_disk("mem:1M");

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		struct scsi_unit_config config = {.disk = disk, .name = "u", .reservations = texts[i], .keep = keep};
		struct scsi_unit *unit;

		assert_int_equal(scsi_unit_new(&config, &unit), -EINVAL);
	}
	disk_close(disk);
}

static void a_file_has_the_old_text_or_the_new_one(void **state)
{
	char folder[] = "/tmp/vireo-scsi-XXXXXX", path[64], text[64] = "", new[80];
	FILE *file;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/keep", folder);
	assert_int_equal(scsi_keep_file(path, "first\n"), 0);
	assert_int_equal(scsi_keep_file(path, "second\n"), 0);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "second\n");
	snprintf(new, sizeof(new), "%s.new", path);
	assert_int_equal(access(new, F_OK), -1);
	assert_int_equal(symlink("victim", new), 0); /* what lies where the new one is made is no way to somewhere else */
	assert_int_equal(scsi_keep_file(path, "third\n"), 0);
	snprintf(text, sizeof(text), "%s/victim", folder);
	assert_int_equal(access(text, F_OK), -1);
	assert_int_equal(mkfifo(new, 0600), 0); /* nor does it hold anybody up */
	assert_int_equal(scsi_keep_file(path, "fourth\n"), 0);
	assert_int_equal(access(new, F_OK), -1);
	unlink(path);
	rmdir(folder);
	assert_int_equal(scsi_keep_file(path, "fifth\n"), -ENOENT);
}

/* ---- RESERVE, RELEASE ---- */

static void reserve_keeps_all_others_out(void **state)
{
	struct cluster c = cluster_new();
	struct rig *a = c.host[0], *b = c.host[1];

	GOOD(a, "16 00 00 00 00 00", 0, 0);
	GOOD(a, "56 00 00 00 00 00 00 0000 00", 0, 0);
	assert_int_equal(may_read(b), SCSI_CONFLICT);
	assert_int_equal(ask(b, "00 0000000000", 0, 0), SCSI_CONFLICT);
	assert_int_equal(ask(b, "16 0000000000", 0, 0), SCSI_CONFLICT);
	assert_int_equal(ask(b, "5e 00 0000000000 00ff 00", 0, 255), SCSI_CONFLICT);
	GOOD(b, "12 00 00 0024 00", 0, 36);
	GOOD(b, "17 0000000000", 0, 0); /* not his */
	assert_int_equal(may_read(b), SCSI_CONFLICT);
	assert_int_equal(may_write(a), SCSI_GOOD);
	assert_int_equal(order(a, REGISTER, 0, 0, 1), SCSI_CONFLICT);
	GOOD(a, "57 00 00 00 00 00 00 0000 00", 0, 0);
	assert_int_equal(may_write(b), SCSI_GOOD);
	assert_int_equal(order(a, REGISTER, 0, 0, 1), SCSI_GOOD);
	assert_int_equal(ask(b, "16 0000000000", 0, 0), SCSI_CONFLICT);
	assert_int_equal(ask(b, "17 0000000000", 0, 0), SCSI_CONFLICT);
	cluster_free(&c);
}

static void settle(struct rig *t)
{
	struct scsi_task *done;

	scsi_queue_reap(t->queue, &done, 1);
	scsi_queue_shown(t->queue);
}

static void reserve_ends_with_a_reset(void **state)
{
	struct cluster c = cluster_new();

	GOOD(c.host[0], "16 0000000000", 0, 0);
	scsi_bus_reset(c.host[0]->bus);
	assert_int_equal(may_write(c.host[1]), SCSI_GOOD);
	ask(c.host[0], "00 0000000000", 0, 0);
	expect_sense(c.host[0], KEY_UNIT_ATTENTION, ASC_POWER_ON);
	cluster_free(&c);
}

static void nexus_reset_done(struct scsi_management *m)
{
	m->tag = 1;
}

/* That of the initiator whose nexus is lost, on each unit of the target (SPC-2, 5.5.1); of others it is left alone. */
static void reserve_ends_with_the_nexus_of_its_holder(void **state)
{
	struct cluster c = cluster_new();
	struct scsi_management m = {.function = SCSI_I_T_NEXUS_RESET, .target = TARGET, .done = nexus_reset_done};

	GOOD(c.host[0], "16 0000000000", 0, 0);
	scsi_bus_manage(c.host[1]->bus, &m);
	settle(c.host[1]);
	assert_int_equal(m.tag, 1);
	ask(c.host[1], "00 0000000000", 0, 0); /* takes the attention */
	assert_int_equal(may_read(c.host[1]), SCSI_CONFLICT);
	m.tag = 0;
	scsi_bus_manage(c.host[0]->bus, &m);
	settle(c.host[0]);
	assert_int_equal(m.tag, 1);
	assert_int_equal(may_write(c.host[1]), SCSI_GOOD);
	ask(c.host[0], "00 0000000000", 0, 0);
	expect_sense(c.host[0], KEY_UNIT_ATTENTION, ASC_NEXUS_LOSS);
	cluster_free(&c);
}

/* ---- PREEMPT AND ABORT ---- */

static void preempt_and_abort_waits_for_what_it_aborts(void **state)
{
	struct cluster c;
	struct rig *a, *b;
	struct scsi_task *done;

	c = cluster_with("mem:1M,slow-ms=3600000,slow-op=read", NULL);
	a = c.host[0];
	b = c.host[1];
	assert_int_equal(order(a, REGISTER, 0, 0, 1), SCSI_GOOD);
	assert_int_equal(order(b, REGISTER, 0, 0, 2), SCSI_GOOD);
	assert_int_equal(order(b, RESERVE, 1, 2, 0), SCSI_GOOD);
	rig_fill(b, TARGET, LUN, "28 00 00000000 00 0001 00", 0, BLOCK);
	rig_submit(b);
	assert_int_equal(scsi_queue_reap(b->queue, &done, 1), 0);
	rig_fill(a, TARGET, LUN, "5f 05 01 0000 00000018 00", 24, 0);
	memset(a->out, 0, 24);
	put_be64(a->out, 1);
	put_be64(a->out + 8, 2);
	rig_submit(a);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(scsi_queue_reap(a->queue, &done, 1), 0);
	while (!scsi_queue_reap(b->queue, &done, 1))
		;
	assert_int_equal(b->task.response, SCSI_ABORTED);
	assert_int_equal(scsi_queue_reap(a->queue, &done, 1), 0); /* it has not been shown yet */
	scsi_queue_shown(b->queue);
	assert_ptr_equal(rig_wait(a->queue), &a->task);
	assert_int_equal(a->task.status, SCSI_GOOD);
	assert_int_equal(may_write(b), SCSI_CHECK_CONDITION);
	expect_sense(b, KEY_UNIT_ATTENTION, ASC_REGISTRATIONS_PREEMPTED);
	assert_int_equal(may_write(b), SCSI_CONFLICT);
	cluster_free(&c);
}

/* One whose text is still being stored: b is to be preempted by a. */
static struct cluster cluster_preempting(void)
{
	struct cluster c = cluster_with("mem:1M", NULL);
	struct rig *a = c.host[0];
	struct scsi_task *done;

	keep_error = 0;
	assert_int_equal(order_with(a, REGISTER, 0, 0, 1, 1), SCSI_GOOD); /* APTPL */
	assert_int_equal(order_with(c.host[1], REGISTER, 0, 0, 2, 1), SCSI_GOOD);
	assert_int_equal(order(c.host[1], RESERVE, 1, 2, 0), SCSI_GOOD);
	keep_waits = true;
	rig_fill(a, TARGET, LUN, "5f 05 01 0000 00000018 00", 24, 0);
	memset(a->out, 0, 24);
	put_be64(a->out, 1);
	put_be64(a->out + 8, 2);
	rig_submit(a);
	assert_int_equal(scsi_queue_reap(a->queue, &done, 1), 0);
	assert_non_null(keep_waiting);
	keep_waits = false;
	return c;
}

/* What it has changed holds: so what it was to abort is aborted, and let go of. */
static void preempt_and_abort_that_is_aborted_lets_go_of_whom_it_preempts(void **state)
{
	struct cluster c = cluster_preempting();
	struct rig *a = c.host[0];
	struct scsi_task *done;

	scsi_queue_cancel(a->queue);
	assert_int_equal(scsi_queue_reap(a->queue, &done, 1), 1);
	assert_int_equal(a->task.response, SCSI_ABORTED);
	scsi_queue_shown(a->queue);
	scsi_keep_done(keep_waiting, 0);
	for (unsigned i = 0; i < 10; i++) {
		settle(a);
		settle(c.host[1]);
	}
	assert_int_equal(scsi_queue_pending(a->queue), 0);
	cluster_free(&c); /* all of the LUNs are told to be gone */
}

/* The bus of who is preempted goes meanwhile: nothing of it is held by another one. */
static void who_is_preempted_may_go_before_that_is_stored(void **state)
{
	struct cluster c = cluster_preempting();
	struct rig *a = c.host[0], *b = c.host[1];
	unsigned removed = 0;

	assert_int_equal(scsi_bus_remove(b->bus, TARGET, LUN, removed_count, &removed), 0);
	scsi_queue_free(b->queue);
	assert_int_equal(removed, 1);
	scsi_bus_free(b->bus);
	scsi_keep_done(keep_waiting, 0);
	assert_ptr_equal(rig_wait(a->queue), &a->task);
	assert_int_equal(a->task.status, SCSI_GOOD);
	b->bus = rig_bus("vm1");
	assert_int_equal(scsi_queue_new(b->bus, 8, &b->queue), 0);
	assert_int_equal(scsi_bus_add(b->bus, TARGET, LUN, c.unit), 0);
	cluster_free(&c);
}

/* A nexus may see the unit at two numbers. */
static void preempt_and_abort_is_of_all_that_the_nexus_sees(void **state)
{
	struct cluster c = cluster_with("mem:1M,slow-ms=3600000,slow-op=read", NULL);
	struct rig *a = c.host[0], *b = c.host[1];
	struct scsi_task *done;
	unsigned removed = 0, ended = 0;
	struct scsi_task second;
	struct scsi_task *one = &second;

	assert_int_equal(scsi_bus_add(b->bus, TARGET, LUN + 1, c.unit), 0);
	at(b, TARGET, LUN + 1, "00 0000000000", 0, 0);
	at(b, TARGET, LUN, "00 0000000000", 0, 0);
	assert_int_equal(order(a, REGISTER, 0, 0, 1), SCSI_GOOD);
	assert_int_equal(order(b, REGISTER, 0, 0, 2), SCSI_GOOD);
	rig_fill(b, TARGET, LUN + 1, "28 00 00000000 00 0001 00", 0, BLOCK);
	second = b->task;
	scsi_queue_submit(b->queue, &one, 1);
	rig_fill(b, TARGET, LUN, "28 00 00000000 00 0001 00", 0, BLOCK);
	rig_submit(b);
	assert_int_equal(scsi_queue_reap(b->queue, &done, 1), 0);
	rig_fill(a, TARGET, LUN, "5f 05 01 0000 00000018 00", 24, 0);
	memset(a->out, 0, 24);
	put_be64(a->out, 1);
	put_be64(a->out + 8, 2);
	rig_submit(a);
	for (unsigned i = 0; i < 1000; i++) {
		ended += scsi_queue_reap(b->queue, &done, 1);
		scsi_queue_shown(b->queue);
	}
	assert_int_equal(ended, 2);
	assert_ptr_equal(rig_wait(a->queue), &a->task);
	assert_int_equal(scsi_bus_remove(b->bus, TARGET, LUN + 1, removed_count, &removed), 0);
	cluster_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_registered_changed_and_removed),
		cmocka_unit_test(each_type_keeps_out_whom_it_says),
		cmocka_unit_test(who_is_not_registered_cannot_reserve),
		cmocka_unit_test(release_is_of_the_holder_and_tells_registrants),
		cmocka_unit_test(who_unregisters_gives_up_what_he_holds),
		cmocka_unit_test(clear_removes_all),
		cmocka_unit_test(preempt_takes_the_reservation_of_a_key),
		cmocka_unit_test(preempt_of_all_registrants_takes_all),
		cmocka_unit_test(registration_and_reservation_are_moved),
		cmocka_unit_test(lists_of_a_wrong_length_or_for_others_are_refused),
		cmocka_unit_test(capabilities_are_those_that_are_there),
		cmocka_unit_test(the_65th_registrant_has_no_room),
		cmocka_unit_test(what_is_kept_outlives_the_process),
		cmocka_unit_test(what_was_kept_of_another_unit_is_not_taken),
		cmocka_unit_test(what_cannot_be_kept_is_an_error),
		cmocka_unit_test(texts_that_cannot_be_are_refused),
		cmocka_unit_test(a_file_has_the_old_text_or_the_new_one),
		cmocka_unit_test(reserve_keeps_all_others_out),
		cmocka_unit_test(reserve_ends_with_a_reset),
		cmocka_unit_test(reserve_ends_with_the_nexus_of_its_holder),
		cmocka_unit_test(preempt_and_abort_waits_for_what_it_aborts),
		cmocka_unit_test(preempt_and_abort_that_is_aborted_lets_go_of_whom_it_preempts),
		cmocka_unit_test(who_is_preempted_may_go_before_that_is_stored),
		cmocka_unit_test(preempt_and_abort_is_of_all_that_the_nexus_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
