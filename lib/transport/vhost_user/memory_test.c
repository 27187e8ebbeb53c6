/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include <pthread.h>
#include <sched.h>

/*
 * Memory that changes while rings run: what takes nothing away disturbs nobody, and what does waits until all queues are
 * quiet. The lab's queues are given back late: somebody holds their chains.
 */

#define MORE_GPA (GPA + (UINT64_C(1) << 32))
#define MORE_UADDR (UADDR + (UINT64_C(1) << 32))
#define PAGE 0x1000u

static const struct table two_regions = {
	.count = 2, .regions = { { GPA, MEMORY_BYTES, UADDR, 0 }, { MORE_GPA, PAGE, MORE_UADDR, 0x8000 } }
};
static const uint64_t more_message[5] = { 0, MORE_GPA, PAGE, MORE_UADDR, 0x8000 };

static struct lab *hung(void)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->type.late = true;
	return lab;
}

/* Ring 0, a chain of one readable byte at `gpa`. */
static void offer(struct lab *lab, uint64_t gpa)
{
	struct split_desc *desc = (void *)lab->memory;
	struct split_avail *avail = (void *)(lab->memory + 0x1000);
	uint16_t idx = le16(avail->idx);

	desc[idx % SIZE] = (struct split_desc){ .addr = le64(gpa), .len = le32(1) };
	avail->ring[idx % SIZE] = le16(idx % SIZE);
	__atomic_store_n(&avail->idx, le16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
}

static uint16_t used_index(const struct lab *lab)
{
	const struct split_used *used = (const void *)(lab->memory + 0x2000);

	return le16(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE));
}

/* The byte that the next chain holds, or what pop says. */
static int take(struct lab *lab)
{
	struct vireo_queue *queue = lab->type.running[0];
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	int r = vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov));

	if (r <= 0)
		return r - 1;
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
	return *(uint8_t *)chain.iov[0].iov_base;
}

static void table_that_takes_nothing_away_waits_for_nobody(void **state)
{
	struct lab *lab = hung();
	int fds[2] = { lab->memfd, lab->memfd };

	lab->memory[0x8000] = 7;
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &two_regions, 8 + 64, fds, 2), 0);
	assert_int_equal(lab->type.stopped[0], 0);
	offer(lab, MORE_GPA);
	assert_int_equal(take(lab), 7);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &two_regions, 8 + 64, fds, 2), 0); /* the same once more */
	assert_int_equal(lab->type.stopped[0], 0);
	lab_free(lab);
}

static void region_that_is_added_waits_for_nobody(void **state)
{
	struct lab *lab = hung();

	lab->memory[0x8000] = 7;
	offer(lab, GPA + 0x8000);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more_message, 40, &lab->memfd, 1), 0);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more_message, 40, &lab->memfd, 1), 0);
	offer(lab, MORE_GPA);
	assert_int_equal(take(lab), 7);
	assert_int_equal(take(lab), 7);
	/* It has been added twice, and stays. */
	assert_int_equal(ack(lab, VU_REM_MEM_REG, more_message, 40), 0);
	offer(lab, MORE_GPA);
	assert_int_equal(take(lab), 7);
	assert_int_equal(lab->type.stopped[0], 0);
	lab_free(lab);
}

/* The answer comes when the queue is quiet, and the queue starts again. */
static void assert_waits(struct lab *lab, uint32_t request, const void *payload, uint32_t bytes, const int *fds,
			 unsigned count)
{
	uint64_t answer;

	say_fds(lab, request, VU_FLAG_NEED_REPLY, payload, bytes, fds, count);
	assert_int_equal(lab->type.stopped[0], 1);
	assert_int_equal(hear(lab, request, &answer, sizeof(answer)), -1);
	type_quiesced(&lab->type, 0);
	pump(lab);
	assert_int_equal(hear_u64(lab, request), 0);
	assert_int_equal(lab->type.started[0], 2);
}

static void region_that_is_removed_waits_for_the_queues(void **state)
{
	struct lab *lab = hung();

	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more_message, 40, &lab->memfd, 1), 0);
	assert_waits(lab, VU_REM_MEM_REG, more_message, 40, NULL, 0);
	offer(lab, MORE_GPA);
	assert_int_equal(take(lab), -EPROTO - 1);
	lab_free(lab);
}

/* It has popped meanwhile, and has the new map. */
static void queue_that_goes_on_is_not_stopped_for_a_region_that_is_removed(void **state)
{
	struct lab *lab = hung();

	lab->type.renews = true;
	lab->memory[0x9000] = 7;
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more_message, 40, &lab->memfd, 1), 0);
	say_fds(lab, VU_REM_MEM_REG, VU_FLAG_NEED_REPLY, more_message, 40, NULL, 0);
	assert_int_equal(hear(lab, VU_REM_MEM_REG, NULL, 0), -1);
	offer(lab, GPA + 0x9000);
	assert_int_equal(take(lab), 7);
	type_renewed(&lab->type, 0);
	assert_int_equal(hear_u64(lab, VU_REM_MEM_REG), 0);
	assert_int_equal(lab->type.stopped[0], 0);
	offer(lab, MORE_GPA);
	assert_int_equal(take(lab), -EPROTO - 1);
	lab_free(lab);
}

/* Its disk hangs: who holds the queue is to give up what can be given up, and not to go on as if somebody waited for it. */
static void queue_that_renews_is_asked_back_when_the_front_end_goes(void **state)
{
	for (unsigned renewed = 0; renewed < 2; renewed++) {
		struct lab *lab = hung();

		lab->type.renews = true;
		assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more_message, 40, &lab->memfd, 1), 0);
		say_fds(lab, VU_REM_MEM_REG, VU_FLAG_NEED_REPLY, more_message, 40, NULL, 0);
		assert_int_equal(lab->type.renewals[0], 1);
		assert_int_equal(lab->type.stopped[0], 0);
		fd_close(&lab->fd);
		pump(lab);
		assert_int_equal(lab->type.stopped[0], 1);
		if (renewed)
			type_renewed(&lab->type, 0);
		pump(lab);
		assert_int_equal(lab->type.disconnected, 0);
		type_quiesced(&lab->type, 0);
		pump(lab);
		assert_int_equal(lab->type.disconnected, 1);
		dial(lab);
		lab->type.late = false;
		lab_free(lab);
	}
}

/* Else what has been removed would stay mapped for as long as nothing comes. */
static void queue_that_pops_nothing_is_stopped_for_a_region_that_is_removed(void **state)
{
	struct lab *lab = hung();

	lab->type.renews = true;
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more_message, 40, &lab->memfd, 1), 0);
	say_fds(lab, VU_REM_MEM_REG, VU_FLAG_NEED_REPLY, more_message, 40, NULL, 0);
	assert_int_equal(lab->type.stopped[0], 0);
	type_renewed(&lab->type, 0);
	assert_int_equal(lab->type.stopped[0], 1);
	type_quiesced(&lab->type, 0);
	pump(lab);
	assert_int_equal(hear_u64(lab, VU_REM_MEM_REG), 0);
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

/* The same addresses, and all of what lies there is another file's: the ring's pages as well. */
static void table_that_swaps_the_rings_pages_waits_for_the_queues(void **state)
{
	struct lab *lab = hung();
	int old = lab->memfd;

	munmap(lab->memory, MEMORY_BYTES);
	make_memory(lab);
	lab->memory[0x8000] = 9;
	assert_waits(lab, VU_SET_MEM_TABLE, &one_region, 40, &lab->memfd, 1);
	offer(lab, GPA + 0x8000);
	assert_int_equal(take(lab), 9);
	close(old);
	lab_free(lab);
}

/* One file, one guest address: what is there, or where the front end has it, is something else. */
static void region_that_is_not_the_same_waits_for_the_queues(void **state)
{
	struct table tables[] = {
		{ .count = 1, .regions = { { GPA, MEMORY_BYTES - PAGE, UADDR, 0 } } },
		{ .count = 1, .regions = { { GPA, MEMORY_BYTES - PAGE, UADDR, PAGE } } },
		{ .count = 1, .regions = { { GPA + PAGE, MEMORY_BYTES, UADDR, 0 } } },
		{ .count = 1, .regions = { { GPA, MEMORY_BYTES, UADDR + PAGE, 0 } } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct lab *lab = hung();

		say_fds(lab, VU_SET_MEM_TABLE, 0, &tables[i], 40, &lab->memfd, 1);
		if (lab->type.stopped[0] != 1)
			fail_msg("table %zu took no queue back", i);
		lab_free(lab); /* with a table that nobody has taken */
	}
}

static void table_that_is_refused_disturbs_nobody(void **state)
{
	struct table table = two_regions;
	struct lab *lab = hung();
	int fds[2] = { lab->memfd, lab->memfd };

	table.regions[1][0] = GPA + PAGE; /* they overlap */
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &table, 8 + 64, fds, 2), 1);
	assert_int_equal(lab->type.stopped[0], 0);
	lab->memory[0x8000] = 7;
	offer(lab, GPA + 0x8000);
	assert_int_equal(take(lab), 7);
	lab_free(lab);
}

/* ---- traffic ---- */

struct worker {
	struct lab *lab;
	bool stop; /* atomic */
	int error;
};

static void *worker_run(void *opaque)
{
	struct worker *worker = opaque;

	while (!worker->error && !__atomic_load_n(&worker->stop, __ATOMIC_ACQUIRE)) {
		int byte = take(worker->lab);

		if (byte < -1)
			__atomic_store_n(&worker->error, byte, __ATOMIC_RELEASE);
		else if (byte < 0)
			sched_yield();
	}
	return NULL;
}

static void chain_awaited(struct worker *worker, uint16_t index)
{
	while (used_index(worker->lab) != index && !__atomic_load_n(&worker->error, __ATOMIC_ACQUIRE))
		sched_yield();
}

/* Regions come one by one, and chains lie in what has just come and in what has been there; a worker pops all the time. */
static void chains_go_on_while_regions_come(void **state)
{
	struct lab *lab = hung();
	struct worker worker = { .lab = lab };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, worker_run, &worker), 0);
	for (uint16_t i = 0; i < 300 && !__atomic_load_n(&worker.error, __ATOMIC_ACQUIRE); i++) {
		uint64_t more[5] = { 0, MORE_GPA + i * 2 * PAGE, PAGE, MORE_UADDR + i * 2 * PAGE, 0x8000 };

		offer(lab, GPA + 0x8000);
		assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more, 40, &lab->memfd, 1), 0);
		offer(lab, more[1]);
		chain_awaited(&worker, (uint16_t)(2 * i + 2));
	}
	__atomic_store_n(&worker.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(worker.error, 0);
	assert_int_equal(used_index(lab), 600);
	assert_int_equal(lab->type.stopped[0], 0);
	lab_free(lab);
}

/* GPA_ADDRESSES: whatever has a user address otherwise has the guest address there. */
static void guest_addresses_take_the_place_of_user_addresses(void **state)
{
	static const struct table table = { .count = 1, .regions = { { GPA, MEMORY_BYTES, GPA, 0 } } };
	static const uint64_t more[5] = { 0, MORE_GPA, PAGE, MORE_GPA, 0x8000 };
	struct addr_message addr = { .desc = GPA, .avail = GPA + 0x1000, .used = GPA + 0x2000 };
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL | P(GPA_ADDRESSES));
	make_memory(lab);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &table, 40, &lab->memfd, 1), 0);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more, sizeof(more), &lab->memfd, 1), 0);
	say_pair(lab, VU_SET_VRING_NUM, 0, SIZE);
	assert_int_equal(ack(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr)), 0);
	kick_set(lab, 0);
	say_pair(lab, VU_SET_VRING_ENABLE, 0, 1);
	lab->memory[0x9000] = 41;
	lab->memory[0x8004] = 42;
	offer(lab, GPA + 0x9000);
	offer(lab, MORE_GPA + 4);
	assert_int_equal(take(lab), 41);
	assert_int_equal(take(lab), 42);
	assert_int_equal(used_index(lab), 2);
	assert_int_equal(ack(lab, VU_REM_MEM_REG, more, sizeof(more)), 0);
	addr.desc = UADDR;
	say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	assert_null(lab->type.running[0]);
	assert_non_null(strstr(lab->log, "the ring's addresses are not in guest memory"));
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_that_takes_nothing_away_waits_for_nobody),
		cmocka_unit_test(region_that_is_added_waits_for_nobody),
		cmocka_unit_test(region_that_is_removed_waits_for_the_queues),
		cmocka_unit_test(queue_that_goes_on_is_not_stopped_for_a_region_that_is_removed),
		cmocka_unit_test(queue_that_renews_is_asked_back_when_the_front_end_goes),
		cmocka_unit_test(queue_that_pops_nothing_is_stopped_for_a_region_that_is_removed),
		cmocka_unit_test(table_that_swaps_the_rings_pages_waits_for_the_queues),
		cmocka_unit_test(region_that_is_not_the_same_waits_for_the_queues),
		cmocka_unit_test(table_that_is_refused_disturbs_nobody),
		cmocka_unit_test(guest_addresses_take_the_place_of_user_addresses),
		cmocka_unit_test(chains_go_on_while_regions_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
