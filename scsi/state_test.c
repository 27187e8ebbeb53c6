/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a unit and its luns hold goes to another process, as texts: initiators notice nothing. And a text may be
 * anybody's.
 */
#include "scsi/copy.h"
#include "scsi/test_scsi.h"
#include <inttypes.h>
#include <stdio.h>

static void keep(void *opaque, struct scsi_keep *k)
{
	scsi_keep_done(k, 0);
}

/* Two machines that see a unit, as this process or another one has it. */
struct place {
	struct disk *disk;
	struct scsi_unit *unit;
	struct rig *a, *b;
};

static struct rig *machine(struct place *p, const char *name)
{
	struct rig *t = rig_of(p->disk, p->unit, rig_bus(name));

	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN, p->unit), 0);
	return t;
}

static void place_open(struct place *p, const char *name)
{
	struct scsi_unit_config config = {.disk = rig_disk("mem:1M"), .name = name, .keep = keep};

	p->disk = config.disk;
	assert_int_equal(scsi_unit_new(&config, &p->unit), 0);
	p->a = machine(p, "vm1");
	p->b = machine(p, "vm2");
}

static void machine_end(struct rig *t)
{
	unsigned removed = 0;

	assert_int_equal(scsi_bus_remove(t->bus, TARGET, LUN, removed_count, &removed), 0);
	scsi_queue_free(t->queue);
	assert_int_equal(removed, 1);
	scsi_bus_free(t->bus);
	free(t);
}

static void place_close(struct place *p)
{
	machine_end(p->a);
	machine_end(p->b);
	scsi_unit_free(p->unit);
	disk_close(p->disk);
}

static void power_on_told(const struct place *p)
{
	CHECK(p->a, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_POWER_ON);
	CHECK(p->b, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_POWER_ON);
}

/* All of it: the new one says again what the old one has said. */
static void hand_over(const struct place *from, const struct place *to)
{
	char *unit = scsi_unit_save(from->unit), *again;
	const struct rig *machines[][2] = {{from->a, to->a}, {from->b, to->b}};

	assert_int_equal(scsi_unit_load(to->unit, unit), 0);
	again = scsi_unit_save(to->unit);
	assert_string_equal(unit, again);
	free(unit);
	free(again);
	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
		char *lun = scsi_lun_save(machines[i][0]->bus, TARGET, LUN);

		assert_int_equal(scsi_lun_load(machines[i][1]->bus, TARGET, LUN, lun), 0);
		again = scsi_lun_save(machines[i][1]->bus, TARGET, LUN);
		assert_string_equal(lun, again);
		free(lun);
		free(again);
	}
}

static int order(struct rig *t, const char *cdb, uint64_t key, uint64_t service_key, uint8_t aptpl)
{
	memset(t->out, 0, 24);
	put_be64(t->out, key);
	put_be64(t->out + 8, service_key);
	t->out[20] = aptpl;
	return ask(t, cdb, 24, 0);
}

#define REGISTER "5f 06 00 0000 00000018 00"
#define RESERVE	 "5f 01 03 0000 00000018 00" /* exclusive access */

static void reservations_and_their_generation_go_on(void **state)
{
	struct place from, to;

	for (unsigned aptpl = 0; aptpl < 2; aptpl++) {
		place_open(&from, "u");
		power_on_told(&from);
		assert_int_equal(order(from.a, REGISTER, 0, 0xabc, (uint8_t)aptpl), SCSI_GOOD);
		assert_int_equal(order(from.b, REGISTER, 0, 0xdef, (uint8_t)aptpl), SCSI_GOOD);
		assert_int_equal(order(from.a, RESERVE, 0xabc, 0, 0), SCSI_GOOD);
		place_open(&to, "u");
		hand_over(&from, &to);
		place_close(&from);
		GOOD(to.a, "28 00 00000000 00 0001 00", 0, BLOCK);
		assert_int_equal(ask(to.b, "28 00 00000000 00 0001 00", 0, BLOCK), SCSI_CONFLICT);
		GOOD(to.b, "5e 00 0000000000 0040 00", 0, 64); /* READ KEYS */
		assert_int_equal(get_be32(to.b->in), 2);
		assert_int_equal(get_be32(to.b->in + 4), 16);
		GOOD(to.b, "5e 02 0000000000 0008 00", 0, 8); /* REPORT CAPABILITIES: PTPL_A */
		assert_int_equal(to.b->in[3] & 1, aptpl);
		place_close(&to);
	}
}

/* RESERVE (6): whoever has it goes on having it, and lets go of it. */
static void a_unit_that_is_reserved_the_old_way_stays_so(void **state)
{
	struct place from, to;

	place_open(&from, "u");
	power_on_told(&from);
	GOOD(from.a, "16 0000000000", 0, 0);
	place_open(&to, "u");
	hand_over(&from, &to);
	place_close(&from);
	assert_int_equal(ask(to.b, "00 0000000000", 0, 0), SCSI_CONFLICT);
	GOOD(to.a, "00 0000000000", 0, 0);
	GOOD(to.a, "17 0000000000", 0, 0);
	GOOD(to.b, "00 0000000000", 0, 0);
	place_close(&to);
}

static void mode_pages_and_a_unit_that_is_stopped_stay_so(void **state)
{
	static const uint8_t list[] = {0, 0, 0, 0, 0x0a, 10, 0x04, 0x10, 0x08, 0, 0, 0, 0xff, 0xff, 0, 0}; /* D_SENSE, SWP */
	struct place from, to;

	place_open(&from, "u");
	power_on_told(&from);
	memcpy(from.a->out, list, sizeof(list));
	GOOD(from.a, "15 10 00 00 10 00", sizeof(list), 0);
	GOOD(from.a, "1b 00 00 00 00 00", 0, 0);
	place_open(&to, "u");
	hand_over(&from, &to);
	place_close(&from);
	assert_int_equal(ask(to.a, "28 00 00000000 00 0001 00", 0, BLOCK), SCSI_CHECK_CONDITION);
	assert_int_equal(to.a->task.sense[0] & 0x7f, 0x72); /* descriptors */
	assert_int_equal(get_be16(to.a->task.sense + 2), ASC_STOPPED);
	GOOD(to.a, "1b 00 00 00 01 00", 0, 0);
	GOOD(to.a, "28 00 00000000 00 0001 00", 0, BLOCK);
	assert_int_equal(ask(to.a, "2a 00 00000000 00 0001 00", BLOCK, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(get_be16(to.a->task.sense + 2), ASC_WRITE_PROTECTED);
	assert_int_equal(ask(to.b, "00 0000000000", 0, 0), SCSI_CHECK_CONDITION); /* is still to be told of it */
	assert_int_equal(get_be16(to.b->task.sense + 2), ASC_MODES);
	GOOD(to.b, "00 0000000000", 0, 0);
	place_close(&to);
}

/* What a machine has been told it is not told again, and what it has not been told it is: each of them for itself. */
static void attentions_are_told_once(void **state)
{
	struct place from, to;

	place_open(&from, "u");
	CHECK(from.a, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_POWER_ON);
	place_open(&to, "u");
	hand_over(&from, &to);
	place_close(&from);
	GOOD(to.a, "00 0000000000", 0, 0);
	CHECK(to.b, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_POWER_ON);
	GOOD(to.b, "00 0000000000", 0, 0);
	place_close(&to);
}

/* One that has failed, with its sense data. */
static void how_copies_have_ended_can_still_be_asked(void **state)
{
	struct scsi_task task = {.status = SCSI_CHECK_CONDITION, .sense_bytes = 18, .sense = {0x70, 0, 0x0a, [17] = 0xff}};
	struct scsi_copy_record *record;
	struct scsi_lun *lun;
	struct place from, to;

	place_open(&from, "u");
	power_on_told(&from);
	lun = scsi_lun_find(from.a->bus, TARGET, LUN);
	assert_int_equal(scsi_copy_record_new(lun, 7, &record), 0);
	scsi_copy_record_end(lun, record, COPY_DONE, NULL);
	record->segments = 3;
	record->bytes = UINT64_C(5) << 32;
	assert_int_equal(scsi_copy_record_new(lun, 200, &record), 0);
	scsi_copy_record_end(lun, record, COPY_FAILED, &task);
	scsi_lun_put(lun);
	place_open(&to, "u");
	hand_over(&from, &to);
	place_close(&from);
	GOOD(to.a, "84 00 07 00000000000000 0000000c 00 00", 0, 12);
	assert_int_equal(to.a->in[4], 1);
	assert_int_equal(get_be16(to.a->in + 5), 3);
	assert_int_equal(get_be32(to.a->in + 8), 5u << 22);
	GOOD(to.a, "84 04 c8 00000000000000 000000ff 00 00", 0, 255);
	assert_int_equal(to.a->in[56], SCSI_CHECK_CONDITION);
	assert_memory_equal(to.a->in + 60, task.sense, 18);
	CHECK(to.b, "84 00 07 00000000000000 0000000c 00 00", 0, 12, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD); /* it was not that one's */
	place_close(&to);
}

/* ---- what is anybody's ---- */

#define NAA  "@" /* stands for the reservations of a unit that has none */
#define HEAD "vireo-unit 1\nmodes 0 0 0\nstopped 0\nkept 0\n"

static const char *filled(const char *text, const char *name, char ret_text[1024])
{
	const char *at = strchr(text, '@');

	if (at)
		snprintf(ret_text, 1024, "%.*svireo-reservations 1\nunit naa.%016" PRIx64 "\ngeneration 0\n%s", (int)(at - text), text,
			 scsi_naa(name), at + 1);
	else
		snprintf(ret_text, 1024, "%s", text);
	return ret_text;
}

static void units_that_lie_are_refused(void **state)
{
	static const char *const lies[] = {
		"", "vireo-unit 1\n", "vireo-unit 2\nmodes 0 0 0\nstopped 0\nkept 0\n" NAA, NAA, HEAD,
		"vireo-unit 1\nmodes 0 0\nstopped 0\nkept 0\n" NAA,
		"vireo-unit 1\nmodes 2 0 0\nstopped 0\nkept 0\n" NAA, "vireo-unit 1\nmodes 0 0 0\nstopped 9\nkept 0\n" NAA,
		"vireo-unit 1\nmodes 0 0 0\nstopped 0\nkept 0x\n" NAA, HEAD "legacy \n" NAA, HEAD "legacy 1 2", HEAD "legacy zz 1\n" NAA,
		HEAD "legacy 1 1\n" NAA "key 1 1 1\n", HEAD NAA "reserved 3 1 1\n", HEAD NAA "reserved 2 1 1\nkey 1 1 1\n",
		HEAD NAA "key 0 1 1\n", HEAD NAA "key 1 1 1\nkey 2 1 1\n", HEAD NAA "key 1 1 1", HEAD NAA "more\n",
	};
	char text[1024], *before, *after;
	struct place p;

	place_open(&p, "u");
	power_on_told(&p);
	GOOD(p.a, "16 0000000000", 0, 0);
	before = scsi_unit_save(p.unit);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		assert_int_equal(scsi_unit_load(p.unit, filled(lies[i], "u", text)), -EINVAL);
	assert_int_equal(scsi_unit_load(p.unit, filled(HEAD NAA, "another", text)), -ESTALE);
	for (size_t cut = 0; cut < strlen(HEAD "legacy 0123456789abcdef 4\n"); cut++) { /* at each byte */
		snprintf(text, sizeof(text), "%.*s", (int)cut, before);
		assert_int_equal(scsi_unit_load(p.unit, text), -EINVAL);
	}
	after = scsi_unit_save(p.unit);
	assert_string_equal(before, after); /* it is as it was */
	free(before);
	free(after);
	place_close(&p);
}

/* What nobody stores cannot have been kept. */
static void what_is_kept_needs_somebody_who_keeps_it(void **state)
{
	struct disk *disk = rig_disk("mem:1M");
	struct scsi_unit *unit = rig_unit(disk, "u");
	char text[1024];

	filled("vireo-unit 1\nmodes 0 0 0\nstopped 0\nkept 1\n" NAA, "u", text);
	assert_int_equal(scsi_unit_load(unit, text), -EINVAL);
	scsi_unit_free(unit);
	disk_close(disk);
}

static void luns_that_lie_are_refused(void **state)
{
#define L "vireo-lun 1\nattentions 0\n"
#define C "copy 1 2 0 0 0 0 -\n"
	static const char *const lies[] = {
		"", "vireo-lun 1\n", "vireo-lun 2\nattentions 0\n", "vireo-lun 1\nattentions 400\n", "vireo-lun 1\nattentions x\n",
		"vireo-lun 1\nattentions 0", "vireo-lun 1\nattentions 123456789\n", L "more\n", L "copies x\n", L "copies 1\nmore\n", L C,
		L "copies 1\ncopy 1 1 0 0 0 0 -\n", L "copies 1\ncopy 1 0 0 0 0 0 -\n", L "copies 1\ncopy 1 4 0 0 0 0 -\n",
		L "copies 1\ncopy 256 2 0 0 0 0 -\n", L "copies 1\ncopy 1 2 256 0 0 0 -\n", L "copies 1\n" C C, L "copies 1\ncopy 1 2 0 0 0 0 -0\n",
		L "copies 1\ncopy 1 2 0 0 0 0 -0g\n", L "copies 1\ncopy 1 2 0 0 0 0 -0x\n", L "copies 1\ncopy 1 2 0 0 0 0\n",
		L "copies 1\ncopy 1 2 0 0 0 0 -00", L "copies 1\ncopy 1 2 0 0 0 0 - 1\n",
	};
	char text[2048], *before, *after;
	struct place p;
	size_t n;

	place_open(&p, "u");
	before = scsi_lun_save(p.a->bus, TARGET, LUN);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		assert_int_equal(scsi_lun_load(p.a->bus, TARGET, LUN, lies[i]), -EINVAL);
	n = (size_t)snprintf(text, sizeof(text), L "copies 1\n");
	for (unsigned i = 0; i <= COPY_RECORDS_MAX; i++) /* one too many */
		n += (size_t)snprintf(text + n, sizeof(text) - n, "copy %u 2 0 0 0 0 -\n", i);
	assert_int_equal(scsi_lun_load(p.a->bus, TARGET, LUN, text), -EINVAL);
	n = (size_t)snprintf(text, sizeof(text), L "copies 1\ncopy 1 3 2 0 0 0 -");
	for (unsigned i = 0; i <= SCSI_SENSE_BYTES; i++) /* a byte too many */
		n += (size_t)snprintf(text + n, sizeof(text) - n, "00");
	snprintf(text + n, sizeof(text) - n, "\n");
	assert_int_equal(scsi_lun_load(p.a->bus, TARGET, LUN, text), -EINVAL);
	assert_int_equal(scsi_lun_load(p.a->bus, TARGET, LUN + 1, L), -ENOENT);
	assert_null(scsi_lun_save(p.a->bus, TARGET, LUN + 1));
	after = scsi_lun_save(p.a->bus, TARGET, LUN);
	assert_string_equal(before, after);
	free(before);
	free(after);
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reservations_and_their_generation_go_on),
		cmocka_unit_test(a_unit_that_is_reserved_the_old_way_stays_so),
		cmocka_unit_test(mode_pages_and_a_unit_that_is_stopped_stay_so),
		cmocka_unit_test(attentions_are_told_once),
		cmocka_unit_test(how_copies_have_ended_can_still_be_asked),
		cmocka_unit_test(units_that_lie_are_refused),
		cmocka_unit_test(what_is_kept_needs_somebody_who_keeps_it),
		cmocka_unit_test(luns_that_lie_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
