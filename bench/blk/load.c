/* SPDX-License-Identifier: BSD-3-Clause */

/* Keeps so many requests of a device with a disk under way in one queue: the next one leaves when one has come back. */

#include "load.h"
#include "base/affinity.h"
#include "base/util.h"
#include "bench/common/clock.h"
#include "bench/common/cpu.h"
#include "wire/virtio_blk.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define STALL_MS 20000

struct load_slot {
	uint8_t *head, *data;
	uint64_t begin, block;
};

size_t load_memory_bytes(const struct load_format *format, uint32_t block_bytes)
{
	return (size_t)LOAD_DEPTH_MAX * (format->head_bytes + block_bytes);
}

int load_init(struct load *load)
{
	const uint32_t head_bytes = load->format->head_bytes;
	uint8_t *data = load->memory + (size_t)LOAD_DEPTH_MAX * head_bytes;

	load->slots = calloc(LOAD_DEPTH_MAX, sizeof(*load->slots));
	if (!load->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < LOAD_DEPTH_MAX; i++)
		load->slots[i] = (struct load_slot){.head = load->memory + (size_t)i * head_bytes,
						    .data = data + (size_t)i * load->block_bytes};
	memset(load->memory, 0x5a, load_memory_bytes(load->format, load->block_bytes));
	load->random = load->random * 7919 + 88172645463325252u;
	return 0;
}

void load_free(struct load *load)
{
	free(load->slots);
}

/* xorshift64: which block is next must cost nothing beside the request. */
static uint64_t random_next(struct load *load)
{
	load->random ^= load->random << 13;
	load->random ^= load->random >> 7;
	load->random ^= load->random << 17;
	return load->random;
}

/* Every 64 bytes of a block that was written carry its number; of one that nobody has written they are zero. */
static void block_mark(const struct load *load, const struct load_slot *slot)
{
	for (uint32_t at = 0; at < load->block_bytes; at += 64)
		memcpy(slot->data + at, &slot->block, sizeof(slot->block));
}

static bool block_right(const struct load *load, const struct load_slot *slot)
{
	uint64_t first, found;

	memcpy(&first, slot->data, sizeof(first));
	if (first && first != slot->block)
		return false;
	for (uint32_t at = 0; at < load->block_bytes; at += 64) {
		memcpy(&found, slot->data + at, sizeof(found));
		if (found != first)
			return false;
	}
	return true;
}

static int slot_submit(struct load *load, struct load_slot *slot)
{
	const struct load_format *f = load->format;
	const struct iovec answer = {.iov_base = slot->head + f->answer_at, .iov_len = f->answer_bytes};
	const struct iovec data = {.iov_base = slot->data, .iov_len = load->block_bytes};
	const bool write = load->job.write;
	struct iovec iov[3] = {{.iov_base = slot->head, .iov_len = f->request_bytes}};
	const uint32_t sectors = load->block_bytes / BLK_SECTOR_BYTES;

	slot->block = random_next(load) % load->blocks;
	f->request_put(slot->head, write, slot->block * sectors, sectors);
	memset(slot->head + f->answer_at, 0xff, 12); /* what is looked at */
	if (write && load->verify)
		block_mark(load, slot);
	iov[1] = write || !f->answer_first ? data : answer;
	iov[2] = write || !f->answer_first ? answer : data;
	slot->begin = clock_now();
	return vireo_driver_ring_add(load->ring, iov, write ? 2 : 1, write ? 1 : 2, true, slot);
}

static void slot_done(struct load *load, const struct load_slot *slot, uint64_t now)
{
	histogram_add(&load->latency, now - slot->begin);
	load->done++;
	if (!load->format->answer_good(slot->head + load->format->answer_at) || (load->verify && !load->job.write && !block_right(load, slot)))
		load->failed++;
}

/* Sleeps until the device has signalled. False: it does not. */
static bool load_sleep(struct load *load)
{
	struct pollfd fd = {.fd = vireo_driver_ring_call_fd(load->ring), .events = POLLIN};

	if (load->job.polling || vireo_driver_ring_signal_enable(load->ring, true))
		return true;
	if (poll(&fd, 1, STALL_MS) <= 0)
		return false;
	vireo_driver_ring_signal_enable(load->ring, false);
	return true;
}

/* Takes what has come back, and sends each on its way again while there is time. How many are under way, or negative. */
static int load_turn(struct load *load, int under_way)
{
	bool more = clock_now() < load->job.until;
	uint32_t bytes;
	void *cookie;
	int ret, came = 0;

	while ((ret = vireo_driver_ring_get(load->ring, &cookie, &bytes)) > 0) {
		slot_done(load, cookie, clock_now());
		came++;
		if (!more || slot_submit(load, cookie))
			under_way--;
	}
	if (ret < 0)
		return ret;
	if (came)
		vireo_driver_ring_kick(load->ring);
	else if (!load_sleep(load))
		return -ETIMEDOUT;
	return under_way;
}

static void *load_run(void *opaque)
{
	struct load *load = opaque;
	int under_way = 0;

	vireo_driver_ring_signal_enable(load->ring, false);
	for (unsigned i = 0; i < load->job.depth; i++)
		under_way += !slot_submit(load, &load->slots[i]);
	vireo_driver_ring_kick(load->ring);
	while (under_way > 0)
		under_way = load_turn(load, under_way);
	load->failed += under_way < 0;
	load->end = clock_now();
	return NULL;
}

int load_start(struct load *load, const struct load_job *job)
{
	cpu_set_t set;

	load->job = *job;
	load->done = load->failed = 0;
	memset(&load->latency, 0, sizeof(load->latency));
	CPU_ZERO(&set);
	if (load->cpu >= 0)
		CPU_SET((unsigned)load->cpu, &set);
	return affinity_start(&load->thread, load->cpu >= 0 ? &set : NULL, load_run, load);
}

void load_join(struct load *load)
{
	pthread_join(load->thread, NULL);
}
