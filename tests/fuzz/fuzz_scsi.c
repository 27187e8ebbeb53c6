/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Commands of a hostile initiator: CDBs, mostly of commands that there are, with any data and any task
 * management in between, by two queues of two initiators who share a unit, while units come and go and the
 * disk, by a clock of the input's, answers when it likes. Each task ends once, no more is moved than there is
 * room for, and sense data is there when and only when it is said to be.
 */
#include "disk/kind.h"
#include "disk/limit.h"
#include "fuzz.h"
#include "scsi/copy.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOSTS	     2u
#define TASKS	     24u
#define MANAGEMENTS  8u
#define ROOM_BYTES   8192u
#define STEPS_MAX    400u
#define TURNS_MAX    100000u
#define FENCE	     0xa5u

static uint64_t clock_ns;

struct one {
	struct scsi_task task;
	bool under_way;
	uint8_t cdb[SCSI_CDB_BYTES];
	struct iovec out[2], in[2];
	uint8_t out_room[ROOM_BYTES];
	uint8_t in_room[ROOM_BYTES + 1];
};

struct asked {
	struct scsi_management management;
	bool under_way;
};

struct host {
	struct scsi_bus *bus;
	struct scsi_queue *queue;
	bool second; /* the other unit is there */
	bool leaving; /* and is being removed */
	struct one tasks[TASKS];
	struct asked managements[MANAGEMENTS];
};

static struct {
	struct disk *disk;
	struct scsi_unit *units[2];
	struct host hosts[HOSTS];
	struct scsi_keep *keeps[HOSTS * TASKS];
	unsigned keep_count;
} t;

static uint64_t clock_read(void)
{
	return clock_ns;
}

/* Stored later, and now and then not at all. */
static void keep(void *opaque, struct scsi_keep *k)
{
	struct scsi_reservations r = {0};

	assert(!*k->text || !scsi_keep_read(k->text, scsi_naa("one"), &r));
	assert(t.keep_count < ARRAY_SIZE(t.keeps));
	t.keeps[t.keep_count++] = k;
}

static void keeps_do(int err)
{
	while (t.keep_count)
		scsi_keep_done(t.keeps[--t.keep_count], err);
}

/* ---- commands ---- */

static void cdb_write(struct fuzz_input *in, struct one *one)
{
	const struct scsi_command *c = &scsi_commands[fuzz_u8(in) % scsi_command_count];
	uint8_t how = fuzz_u8(in);

	fuzz_take(in, one->cdb, sizeof(one->cdb));
	one->task.cdb_bytes = sizeof(one->cdb);
	if (how % 8 == 0) { /* anything */
		one->task.cdb_bytes = how / 8;
		return;
	}
	if (how % 4) /* mostly what fits */
		for (unsigned i = 0; i < c->cdb_bytes; i++)
			one->cdb[i] &= c->usage[i];
	one->cdb[0] = c->opcode;
	if (c->opcode == 0x7f) {
		one->cdb[7] = 24;
		put_be16(one->cdb + 8, (uint16_t)c->service_action);
	} else if (c->service_action >= 0) {
		one->cdb[1] = (uint8_t)((one->cdb[1] & 0xe0) | c->service_action);
	}
	if (how & 16) /* and is near */
		for (unsigned i = 2; i < c->cdb_bytes && i < 30; i++)
			if (i != 7 || c->opcode != 0x7f)
				one->cdb[i] = i == 8 || i == 9 || one->cdb[i] < 16 ? one->cdb[i] : 0;
}

static void pieces_write(struct fuzz_input *in, uint8_t *room, struct iovec *iov, const struct iovec **ret_iov, uint32_t *ret_count,
			 uint64_t *ret_bytes)
{
	uint32_t bytes = fuzz_u16(in) % (ROOM_BYTES + 1), first = bytes ? fuzz_u16(in) % (bytes + 1) : 0;

	iov[0] = (struct iovec){room, first};
	iov[1] = (struct iovec){room + first, bytes - first};
	*ret_iov = iov;
	*ret_count = bytes ? 2 : 0;
	*ret_bytes = bytes;
}

/* A list for EXTENDED COPY that is nearly right: both units, and segments near the beginning of each. */
static void copy_write(struct fuzz_input *in, struct one *one)
{
	unsigned segments = fuzz_u8(in) % 4 + 1, bytes = COPY_HEADER_BYTES + 2 * COPY_CSCD_BYTES + segments * COPY_SEGMENT_BYTES;
	uint8_t *list = one->out_room;

	memset(list, 0, bytes);
	list[0] = fuzz_u8(in) % 4;
	put_be16(list + 2, 2 * COPY_CSCD_BYTES);
	put_be32(list + 8, segments * COPY_SEGMENT_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *cscd = list + copy_cscd_offset(i);

		memcpy(cscd, "\xe4\0\0\0\1\3\0\x8", 8);
		put_be64(cscd + 8, t.units[i]->naa);
		put_be24(cscd + 29, 512);
	}
	for (unsigned i = 0; i < segments; i++) {
		uint8_t *segment = list + copy_cscd_offset(2) + i * (size_t)COPY_SEGMENT_BYTES;

		memcpy(segment, "\x02\0\0\x18", 4);
		segment[5] = fuzz_u8(in) % 2;
		segment[7] = fuzz_u8(in) % 2;
		segment[11] = fuzz_u8(in);
		segment[19] = fuzz_u8(in);
		segment[27] = fuzz_u8(in);
	}
	if (fuzz_u8(in) % 2) /* and a lie */
		list[fuzz_u16(in) % bytes] = fuzz_u8(in);
	memset(one->cdb, 0, sizeof(one->cdb));
	one->cdb[0] = 0x83;
	one->task.cdb_bytes = 16;
	put_be32(one->cdb + 10, bytes);
	one->out[0].iov_len = one->task.out_bytes = bytes;
	one->task.out_count = 1;
}

static void address_write(struct fuzz_input *in, uint8_t *target, uint8_t *lun)
{
	uint8_t how = fuzz_u8(in);

	*target = how & 1 ? 1 : 0;
	scsi_lun_encode(how >> 1 & 1, lun);
	if (how % 16 == 15)
		fuzz_take(in, lun, 8);
	if (how % 32 == 14)
		*target = fuzz_u8(in);
	if (how % 32 == 30)
		memcpy(lun, "\xc1\x01\0\0\0\0\0\0", 8);
}

static void submit(struct fuzz_input *in, struct host *host, bool copy)
{
	struct scsi_task *burst[TASKS];
	unsigned count = 0, most = fuzz_u8(in) % 4 + 1;

	for (unsigned i = 0; i < TASKS && count < most; i++) {
		struct one *one = &host->tasks[i];

		if (one->under_way)
			continue;
		memset(&one->task, 0xee, sizeof(one->task));
		one->task.attribute = fuzz_u8(in) % 16;
		if (one->task.attribute > SCSI_ACA)
			one->task.attribute = SCSI_SIMPLE;
		one->task.tag = i;
		one->task.cdb = one->cdb;
		address_write(in, &one->task.target, one->task.lun);
		cdb_write(in, one);
		pieces_write(in, one->out_room, one->out, &one->task.out, &one->task.out_count, &one->task.out_bytes);
		pieces_write(in, one->in_room, one->in, &one->task.in, &one->task.in_count, &one->task.in_bytes);
		fuzz_take(in, one->out_room, fuzz_u8(in));
		if (copy)
			copy_write(in, one);
		memset(one->in_room, FENCE, sizeof(one->in_room));
		one->under_way = true;
		burst[count++] = &one->task;
	}
	scsi_queue_submit(host->queue, burst, count);
}

static void task_check(const struct one *one)
{
	const struct scsi_task *task = &one->task;

	assert(one->under_way);
	assert(task->response <= SCSI_FAILED);
	assert(task->moved <= ROOM_BYTES && (task->moved <= task->in_bytes || task->moved <= task->out_bytes));
	if (task->response == SCSI_OK) {
		assert(task->status == SCSI_GOOD || task->status == SCSI_CHECK_CONDITION || task->status == SCSI_BUSY ||
		       task->status == SCSI_CONFLICT);
		assert((task->status == SCSI_CHECK_CONDITION) == (task->sense_bytes != 0));
	}
	assert(task->sense_bytes <= SCSI_SENSE_BYTES);
	for (uint64_t i = task->in_bytes; i < sizeof(one->in_room); i++)
		assert(one->in_room[i] == FENCE);
}

static unsigned reap(struct host *host, bool shown)
{
	struct scsi_task *done[TASKS];
	unsigned count = scsi_queue_reap(host->queue, done, TASKS);

	for (unsigned i = 0; i < count; i++) {
		struct one *one = container_of(done[i], struct one, task);

		task_check(one);
		one->under_way = false;
	}
	if (shown)
		scsi_queue_shown(host->queue);
	return count;
}

/* ---- what else there is ---- */

static void managed(struct scsi_management *management)
{
	struct asked *asked = container_of(management, struct asked, management);

	assert(asked->under_way && management->answer <= SCSI_NO_TARGET);
	asked->under_way = false;
}

static void manage(struct fuzz_input *in, struct host *host)
{
	for (unsigned i = 0; i < MANAGEMENTS; i++) {
		struct asked *asked = &host->managements[i];
		struct scsi_management *m = &asked->management;

		if (asked->under_way)
			continue;
		*m = (struct scsi_management){.function = fuzz_u8(in) % (SCSI_FUNCTIONS + 1), .done = managed};
		m->tag = fuzz_u8(in) % TASKS;
		address_write(in, &m->target, m->lun);
		asked->under_way = true;
		scsi_bus_manage(host->bus, m);
		return;
	}
}

static void removed(void *opaque)
{
	struct host *host = opaque;

	assert(host->leaving);
	host->leaving = host->second = false;
}

static void come_or_go(struct host *host)
{
	if (host->leaving)
		return;
	if (host->second) {
		host->leaving = true;
		if (scsi_bus_remove(host->bus, 0, 1, removed, host))
			abort();
		return;
	}
	host->second = true;
	if (scsi_bus_add(host->bus, 0, 1, t.units[1]))
		abort();
}

static void resize(struct fuzz_input *in)
{
	if (disk_resize(t.disk, (fuzz_u8(in) % 64 + 1u) * UINT64_C(4096)))
		abort();
	scsi_unit_resized(t.units[0]);
	scsi_unit_resized(t.units[1]);
}

/* ---- life ---- */

static void host_begin(struct host *host, const char *name)
{
	struct scsi_bus_config config = {.initiator = name};

	memset(host, 0, sizeof(*host));
	if (scsi_bus_new(&config, &host->bus) || scsi_bus_add(host->bus, 0, 0, t.units[0]) ||
	    scsi_bus_add(host->bus, 1, 0, t.units[0]) || scsi_queue_new(host->bus, 4, &host->queue))
		abort();
	come_or_go(host);
}

static bool under_way(const struct host *host)
{
	bool some = scsi_queue_pending(host->queue) || host->leaving;

	for (unsigned i = 0; i < MANAGEMENTS; i++)
		some |= host->managements[i].under_way;
	return some;
}

static void ignored(void *opaque)
{
}

static void drain(void)
{
	unsigned turns = 0;

	for (unsigned i = 0; i < HOSTS; i++)
		scsi_queue_cancel(t.hosts[i].queue);
	while (under_way(&t.hosts[0]) || under_way(&t.hosts[1])) {
		assert(turns++ < TURNS_MAX);
		clock_ns += 100000000;
		keeps_do(0);
		for (unsigned i = 0; i < HOSTS; i++)
			reap(&t.hosts[i], true);
	}
}

static void host_end(struct host *host)
{
	scsi_bus_remove(host->bus, 0, 0, ignored, NULL);
	scsi_bus_remove(host->bus, 1, 0, ignored, NULL);
	if (host->second)
		scsi_bus_remove(host->bus, 0, 1, ignored, NULL);
	scsi_queue_free(host->queue);
	scsi_bus_free(host->bus);
}

static void step(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	struct host *host = &t.hosts[what & 1];

	switch (what / 2 % 16) {
	case 0: clock_ns += fuzz_u32(in); break;
	case 1: clock_ns += 100000000; break;
	case 2: manage(in, host); break;
	case 3: come_or_go(host); break;
	case 4: resize(in); break;
	case 5: scsi_bus_reset(host->bus); break;
	case 6: scsi_queue_arm(host->queue, what & 32); break;
	case 7: keeps_do(what & 32 ? -EIO : 0); break;
	case 8: what & 32 ? scsi_queue_cancel(host->queue) : scsi_queue_shown(host->queue); break;
	case 9:
	case 10: reap(host, true); break;
	case 11: reap(host, false); break;
	case 12: submit(in, host, true); break;
	default: submit(in, host, false); break;
	}
}

static const char *const disks[] = {"mem:64K", "mem:64K,slow-ms=20,slow-ppm=300000", "mem:64K,fail=EIO,fail-ppm=50000", "mem:64K,iops=1000"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_config config = {.now_ns = clock_read};
	struct scsi_unit_config first = {.name = "one", .keep = keep}, second = {.name = "two"};
	struct fuzz_input in = {data, size};
	char why[DISK_WHY_BYTES];

	clock_ns = 1000000;
	t.keep_count = 0;
	if (disk_open(disks[fuzz_u8(&in) % ARRAY_SIZE(disks)], &config, &t.disk, why))
		abort();
	first.disk = second.disk = t.disk;
	if (scsi_unit_new(&first, &t.units[0]) || scsi_unit_new(&second, &t.units[1]))
		abort();
	host_begin(&t.hosts[0], "vm1");
	host_begin(&t.hosts[1], "vm2");
	for (unsigned n = 0; n < STEPS_MAX && in.left; n++)
		step(&in);
	drain();
	host_end(&t.hosts[0]);
	host_end(&t.hosts[1]);
	scsi_unit_free(t.units[0]);
	scsi_unit_free(t.units[1]);
	disk_close(t.disk);
	return 0;
}
