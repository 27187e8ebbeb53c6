/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mem:SIZE: memory of this process, gone when it ends. Pages that were never written to take none. The mapping is made once,
 * MEM_GROWS_BY times what is asked for, and a resize moves the end within it: queues hold pointers into it, and no lock.
 *
 * Requests are done by the worker that submits them, and other disks of it wait meanwhile. So one call moves DISK_TURN_BYTES at most: what is
 * beyond that waits, and each reap goes on with it.
 */
#include "base/copy.h"
#include "disk/kind.h"
#include "disk/zones.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM_GROWS_BY 4u /* a resize may make it so many times as large as it was made */

struct mem_disk {
	struct disk disk;
	uint8_t *at;
	uint64_t room_bytes;
	uint32_t string_from_bytes;
	uint64_t page_bytes;
	struct zones *zones; /* NULL: it is not zoned */
	uint64_t sequential_from; /* conventional zones end there */
};

struct mem_queue {
	struct disk_queue queue;
	struct disk_request *waiting, **waiting_end; /* for their turn; of the first one own[0] bytes are done */
};

/* ---- requests ---- */

static int mem_read(const struct mem_disk *mem, const struct disk_request *r)
{
	const uint8_t *from = mem->at + r->offset;
	uint64_t left = r->bytes;

	for (uint32_t i = 0; i < r->iov_count && left; i++) {
		size_t len = min_u64(r->iov[i].iov_len, left);

		copy_bytes(r->iov[i].iov_base, from, len, mem->string_from_bytes);
		from += len;
		left -= len;
	}
	return left ? -EINVAL : 0;
}

static int mem_write(const struct mem_disk *mem, const struct disk_request *r)
{
	uint8_t *to = mem->at + r->offset;
	uint64_t left = r->bytes;

	for (uint32_t i = 0; i < r->iov_count && left; i++) {
		size_t len = min_u64(r->iov[i].iov_len, left);

		copy_bytes(to, r->iov[i].iov_base, len, mem->string_from_bytes);
		to += len;
		left -= len;
	}
	return left ? -EINVAL : 0;
}

/* Whole pages are given back, and read as zeroes; the rest is written to. */
static int mem_zero(const struct mem_disk *mem, uint64_t offset, uint64_t bytes, bool unmap)
{
	uint64_t end = offset + bytes, first = align_up(offset, mem->page_bytes), last = end & ~(mem->page_bytes - 1);

	if (!unmap || first >= last) {
		memset(mem->at + offset, 0, bytes);
		return 0;
	}
	memset(mem->at + offset, 0, first - offset);
	memset(mem->at + last, 0, end - last);
	return madvise(mem->at + first, last - first, MADV_DONTNEED) ? -errno : 0;
}

/* May it begin? A write of a zoned disk has its place then. */
static inline int mem_begin(const struct mem_disk *mem, struct disk_request *r)
{
	int err = disk_request_problem(&mem->disk, r);

	if (likely(!mem->zones) || err || r->op == DISK_FLUSH)
		return err;
	if (r->op == DISK_ZONE)
		return zones_act_problem(mem->zones, r->flags, r->offset);
	if (!r->bytes)
		return r->flags & DISK_APPEND ? -EBADRQC : 0;
	return r->op == DISK_READ ? zones_read(mem->zones, r->offset, r->bytes) :
				    zones_write(mem->zones, &r->offset, r->bytes, r->flags & DISK_APPEND);
}

static int mem_do(const struct mem_disk *mem, struct disk_request *r)
{
	int err = mem_begin(mem, r);

	if (err)
		return err;
	switch (r->op) {
	case DISK_READ:
		return mem_read(mem, r);
	case DISK_WRITE:
		return mem_write(mem, r);
	case DISK_DISCARD:
		return mem_zero(mem, r->offset, r->bytes, true);
	case DISK_ZERO:
		return mem_zero(mem, r->offset, r->bytes, r->flags & DISK_UNMAP);
	default:
		return 0; /* a flush: there is nothing that would keep it any longer */
	}
}

/* ---- by turns ---- */

/*
 * What a zone holds is given back before it is empty: whoever writes to it then writes to zeroes. The first byte, and how many; none for
 * what no data are touched by.
 */
static uint64_t zone_clear(const struct mem_disk *mem, const struct disk_request *r, uint64_t *ret_offset)
{
	uint64_t size = disk_size(&mem->disk), zone = mem->disk.info.zones.zone_bytes;

	*ret_offset = r->flags == DISK_ZONE_RESET_ALL ? mem->sequential_from : r->offset;
	if (r->flags == DISK_ZONE_RESET_ALL)
		return size - mem->sequential_from;
	return r->flags == DISK_ZONE_RESET ? min_u64(zone, size - r->offset) : 0;
}

/* True: it is done. */
static bool zone_go_on(const struct mem_disk *mem, struct disk_request *r, uint64_t *room)
{
	uint64_t offset, left, bytes;

	r->result = r->own[0] ? 0 : mem_begin(mem, r);
	if (r->result)
		return true;
	left = zone_clear(mem, r, &offset) - r->own[0];
	bytes = min_u64(left, *room);
	if (bytes)
		r->result = mem_zero(mem, offset + r->own[0], bytes, true);
	*room -= bytes;
	r->own[0] += bytes;
	if (r->result)
		return true;
	if (bytes < left)
		return false;
	r->result = zones_act(mem->zones, r->flags, r->offset);
	return true;
}

/* What is left of the piece in which the byte behind the first `skip` lies. */
static struct iovec piece_at(const struct disk_request *r, uint64_t skip)
{
	for (uint32_t i = 0; i < r->iov_count; i++) {
		if (skip < r->iov[i].iov_len)
			return (struct iovec){(char *)r->iov[i].iov_base + skip, r->iov[i].iov_len - skip};
		skip -= r->iov[i].iov_len;
	}
	return (struct iovec){0};
}

static int copy_part(const struct mem_disk *mem, const struct disk_request *r, uint64_t done, uint64_t bytes)
{
	for (uint64_t end = done + bytes; done < end;) {
		struct iovec iov = piece_at(r, done);
		struct disk_request part = {.op = r->op, .offset = r->offset + done, .iov = &iov, .iov_count = 1};

		iov.iov_len = part.bytes = min_u64(iov.iov_len, end - done);
		if (!part.bytes)
			return -EINVAL;
		if (r->op == DISK_READ)
			mem_read(mem, &part);
		else
			mem_write(mem, &part);
		done += part.bytes;
	}
	return 0;
}

/* A part of what gives pages back ends with a page. */
static uint64_t part_bytes(const struct mem_disk *mem, const struct disk_request *r, uint64_t done, uint64_t room)
{
	uint64_t left = r->bytes - done, end = (r->offset + done + room) & ~(mem->page_bytes - 1);

	if (left <= room)
		return left;
	return r->op > DISK_WRITE && end > r->offset + done ? end - r->offset - done : room;
}

/* Goes on with a request, by `room` bytes at most. True: it is done. */
static bool mem_go_on(const struct mem_disk *mem, struct disk_request *r, uint64_t *room)
{
	uint64_t done = r->own[0], bytes;

	if (unlikely(r->op == DISK_ZONE && mem->zones))
		return zone_go_on(mem, r, room);
	r->result = done ? 0 : mem_begin(mem, r);
	if (r->result || r->bytes == done || r->op == DISK_FLUSH)
		return true;
	bytes = part_bytes(mem, r, done, *room);
	if (r->op <= DISK_WRITE)
		r->result = copy_part(mem, r, done, bytes);
	else
		r->result = mem_zero(mem, r->offset + done, bytes, r->op == DISK_DISCARD || r->flags & DISK_UNMAP);
	*room -= bytes;
	r->own[0] = done + bytes;
	return r->result || r->own[0] == r->bytes;
}

static __cold void mem_turn(struct mem_queue *q)
{
	const struct mem_disk *mem = container_of(q->queue.disk, const struct mem_disk, disk);
	uint64_t room = DISK_TURN_BYTES;

	while (q->waiting && room) {
		struct disk_request *r = q->waiting, *next = r->next;

		if (!mem_go_on(mem, r, &room))
			return;
		q->waiting = next;
		if (!next)
			q->waiting_end = &q->waiting;
		disk_queue_done(&q->queue, r, r->result);
	}
}

static __cold void mem_wait(struct mem_queue *q, struct disk_request *r)
{
	r->own[0] = 0;
	r->next = NULL;
	*q->waiting_end = r;
	q->waiting_end = &r->next;
}

static void mem_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	const struct mem_disk *mem = container_of(queue->disk, const struct mem_disk, disk);
	struct mem_queue *q = container_of(queue, struct mem_queue, queue);
	uint64_t room = DISK_TURN_BYTES;

	for (unsigned i = 0; i < count; i++) {
		if (unlikely(q->waiting || requests[i]->bytes > room || requests[i]->op == DISK_ZONE)) {
			mem_wait(q, requests[i]);
			continue;
		}
		room -= requests[i]->bytes;
		disk_queue_done(queue, requests[i], mem_do(mem, requests[i]));
	}
}

static unsigned mem_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct mem_queue *q = container_of(queue, struct mem_queue, queue);

	if (unlikely(q->waiting) && !queue->done)
		mem_turn(q);
	return disk_queue_done_reap(queue, ret_done, max);
}

static bool mem_arm(struct disk_queue *queue, bool on)
{
	return disk_queue_done_arm(queue, on) || (on && container_of(queue, struct mem_queue, queue)->waiting);
}

/* ---- queues ---- */

static void mem_queue_close(struct disk_queue *queue)
{
	free(container_of(queue, struct mem_queue, queue));
}

static const struct disk_queue_ops mem_queue_ops = {
	.submit = mem_submit,
	.reap = mem_reap,
	.arm = mem_arm,
	.close = mem_queue_close,
};

static int mem_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct mem_queue *q = disk_queue_room(sizeof(*q));

	if (!q)
		return -ENOMEM;
	disk_queue_init(&q->queue, &mem_queue_ops, disk);
	q->queue.in_thread = true;
	q->waiting_end = &q->waiting;
	*ret_queue = &q->queue;
	return 0;
}

/* ---- the disk ---- */

/* What lies beyond a new end is forgotten when the end moves back over it: it may have been under way till now. */
static int mem_resize(struct disk *disk, uint64_t bytes)
{
	struct mem_disk *mem = container_of(disk, struct mem_disk, disk);
	uint64_t old = disk_size(disk);

	if (mem->zones)
		return -ENOTSUP;
	if (bytes > mem->room_bytes)
		return -ENOSPC;
	if (bytes > old)
		mem_zero(mem, old, bytes - old, true);
	disk_size_set(disk, bytes);
	return 0;
}

static void mem_close(struct disk *disk)
{
	struct mem_disk *mem = container_of(disk, struct mem_disk, disk);

	zones_free(mem->zones);
	munmap(mem->at, mem->room_bytes);
	free(mem);
}

static void mem_zone_get(const struct disk *disk, uint64_t offset, struct disk_zone *ret_zone)
{
	zones_get(((const struct mem_disk *)disk)->zones, offset, ret_zone); /* which it begins with */
}

static const struct disk_ops mem_ops = {
	.queue_open = mem_queue_open,
	.resize = mem_resize,
	.zone_get = mem_zone_get,
	.close = mem_close,
};

static void *mem_map(uint64_t bytes)
{
	void *at = MAP_FAILED;

	if (bytes <= SIZE_MAX)
		at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

static int mem_zones_open(struct mem_disk *mem, const struct disk_spec *spec)
{
	struct disk_info *info = &mem->disk.info;
	struct zones_setup setup;
	char why[DISK_WHY_BYTES];
	int err = zones_setup_of(spec, info->size_bytes, &setup, why); /* which was found right when the SPEC was read */

	if (!err && setup.zone_bytes)
		err = zones_new(&setup, &mem->zones);
	if (err || !mem->zones)
		return err;
	mem->sequential_from = setup.conventional * setup.zone_bytes;
	info->zones = (struct disk_zones_info){setup.zone_bytes, setup.open_max, setup.active_max, 0};
	info->can_discard = info->zero_unmaps = false;
	info->discard_granularity_bytes = 0;
	return 0;
}

static int mem_keys_problem(const struct disk_spec *spec, char *why)
{
	struct zones_setup setup;

	return zones_setup_of(spec, disk_size_of(spec->address), &setup, why);
}

static const struct disk_key mem_keys[] = {ZONES_KEYS};

static int mem_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	struct mem_disk *mem = calloc(1, sizeof(*mem));
	uint64_t bytes = disk_size_of(spec->address);

	if (!mem)
		return -ENOMEM;
	mem->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	mem->room_bytes = bytes <= INT64_MAX / MEM_GROWS_BY ? bytes * MEM_GROWS_BY : bytes;
	mem->at = mem_map(mem->room_bytes);
	if (!mem->at) {
		mem->room_bytes = bytes;
		mem->at = mem_map(bytes);
	}
	if (!mem->at) {
		snprintf(why, DISK_WHY_BYTES, "mem '%.40s': there is no room for it: choose a smaller size", spec->address);
		free(mem);
		return -ENOMEM;
	}
	mem->string_from_bytes = copy_string_from_bytes();
	mem->disk.ops = &mem_ops;
	mem->disk.info = (struct disk_info){
		.size_bytes = bytes,
		.physical_block_bytes = (uint32_t)mem->page_bytes,
		.can_discard = true,
		.zero_unmaps = true,
		.discard_granularity_bytes = (uint32_t)mem->page_bytes,
	};
	if (mem_zones_open(mem, spec)) {
		mem_close(&mem->disk);
		return -ENOMEM;
	}
	*ret_disk = &mem->disk;
	return 0;
}

const struct disk_kind disk_mem = {
	.name = "mem",
	.address = "SIZE",
	.keys = mem_keys,
	.key_count = ARRAY_SIZE(mem_keys),
	.keys_problem = mem_keys_problem,
	.address_problem = disk_size_problem,
	.open = mem_open,
};
