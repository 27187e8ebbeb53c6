/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mem:SIZE: memory of this process, gone when it ends. Pages that were never written to take none. The mapping is made once,
 * MEM_GROWS_BY times what is asked for, and a resize moves the end within it: queues hold pointers into it, and no lock.
 */
#include "base/copy.h"
#include "disk/kind.h"
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

static int mem_do(const struct mem_disk *mem, const struct disk_request *r)
{
	int err = disk_request_problem(&mem->disk, r);

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

static void mem_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	const struct mem_disk *mem = container_of(queue->disk, const struct mem_disk, disk);

	for (unsigned i = 0; i < count; i++)
		disk_queue_done(queue, requests[i], mem_do(mem, requests[i]));
}

/* ---- queues ---- */

static void mem_queue_close(struct disk_queue *queue)
{
	free(queue);
}

static const struct disk_queue_ops mem_queue_ops = {
	.submit = mem_submit,
	.reap = disk_queue_done_reap,
	.arm = disk_queue_done_arm,
	.close = mem_queue_close,
};

static int mem_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct disk_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	disk_queue_init(queue, &mem_queue_ops, disk);
	*ret_queue = queue;
	return 0;
}

/* ---- the disk ---- */

/* What lies beyond a new end is forgotten when the end moves back over it: it may have been under way till now. */
static int mem_resize(struct disk *disk, uint64_t bytes)
{
	struct mem_disk *mem = container_of(disk, struct mem_disk, disk);
	uint64_t old = disk_size(disk);

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

	munmap(mem->at, mem->room_bytes);
	free(mem);
}

static const struct disk_ops mem_ops = {
	.queue_open = mem_queue_open,
	.resize = mem_resize,
	.close = mem_close,
};

static void *mem_map(uint64_t bytes)
{
	void *at = MAP_FAILED;

	if (bytes <= SIZE_MAX)
		at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

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
	*ret_disk = &mem->disk;
	return 0;
}

const struct disk_kind disk_mem = {
	.name = "mem",
	.address = "SIZE",
	.address_problem = disk_size_problem,
	.open = mem_open,
};
