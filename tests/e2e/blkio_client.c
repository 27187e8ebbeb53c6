/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A client of libblkio: writes to a vhost-user block device by each of its queues, reads back, discards and zeroes.
 *
 *	blkio_client SOCKET QUEUES
 *
 * Says "done", or what is wrong.
 */

#include <blkio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u
#define DEPTH 16u
#define TURNS 8u
#define QUEUES_MAX 8u

static struct blkio *blkio;
static struct blkio_mem_region memory;

static void must(const char *what, int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, blkio_get_error_msg());
	exit(1);
}

static void wait_for(struct blkioq *queue, const char *what, int count)
{
	struct blkio_completion done[DEPTH];

	while (count > 0) {
		int got = blkioq_do_io(queue, done, 1, count < (int)DEPTH ? count : (int)DEPTH, NULL);

		must(what, got);
		for (int i = 0; i < got; i++)
			must(what, done[i].ret);
		count -= got;
	}
}

static uint8_t *slot(unsigned i)
{
	return (uint8_t *)memory.addr + (size_t)i * BLOCK;
}

static uint8_t mark(unsigned queue, unsigned turn, unsigned i)
{
	return (uint8_t)(1 + (queue * 131 + turn * 31 + i * 7) % 255);
}

static void must_hold(unsigned i, uint8_t byte, const char *what)
{
	for (unsigned at = 0; at < BLOCK; at++)
		if (slot(i)[at] != byte) {
			fprintf(stderr, "%s: block %u has 0x%02x at %u, not 0x%02x\n", what, i, slot(i)[at], at, byte);
			exit(1);
		}
}

/* Each turn of each queue has blocks of its own. */
static void turn(unsigned number, unsigned at)
{
	struct blkioq *queue = blkio_get_queue(blkio, (int)number);
	uint64_t start = ((uint64_t)number * TURNS + at) * DEPTH * BLOCK;

	for (unsigned i = 0; i < DEPTH; i++) {
		memset(slot(i), mark(number, at, i), BLOCK);
		blkioq_write(queue, start + (uint64_t)i * BLOCK, slot(i), BLOCK, NULL, 0);
	}
	wait_for(queue, "write", DEPTH);
	blkioq_flush(queue, NULL, 0);
	wait_for(queue, "flush", 1);
	blkioq_write_zeroes(queue, start, BLOCK, NULL, BLKIO_REQ_NO_UNMAP);
	blkioq_discard(queue, start + BLOCK, BLOCK, NULL, 0);
	wait_for(queue, "zeroes and discard", 2);
	memset(memory.addr, 0xee, (size_t)DEPTH * BLOCK);
	for (unsigned i = 0; i < DEPTH; i++)
		blkioq_read(queue, start + (uint64_t)i * BLOCK, slot(i), BLOCK, NULL, 0);
	wait_for(queue, "read", DEPTH);
	for (unsigned i = 0; i < DEPTH; i++)
		must_hold(i, i < 2 ? 0 : mark(number, at, i), "read");
}

int main(int argc, char **argv)
{
	unsigned queues = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	uint64_t capacity;

	if (!queues || queues > QUEUES_MAX) {
		fprintf(stderr, "usage: blkio_client SOCKET QUEUES\n");
		return 2;
	}
	must("create", blkio_create("virtio-blk-vhost-user", &blkio));
	must("path", blkio_set_str(blkio, "path", argv[1]));
	must("connect", blkio_connect(blkio));
	must("num-queues", blkio_set_int(blkio, "num-queues", (int)queues));
	must("start", blkio_start(blkio));
	must("capacity", blkio_get_uint64(blkio, "capacity", &capacity));
	must("memory", blkio_alloc_mem_region(blkio, &memory, (size_t)DEPTH * BLOCK));
	must("map", blkio_map_mem_region(blkio, &memory));
	for (unsigned i = 0; i < queues; i++)
		for (unsigned at = 0; at < TURNS; at++)
			turn(i, at);
	printf("done capacity %llu\n", (unsigned long long)capacity);
	blkio_destroy(&blkio);
	return 0;
}
