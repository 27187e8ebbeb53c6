/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/fd.h"
#include "base/loop.h"
#include "base/refused_test.h"
#include "device/device.h"
#include "device/device_internal.h"
#include "device/device_test_lab.h"
#include "mem/dirty.h"
#include "mem/map.h"
#include "mem/view.h"
#include "vireo/fault.h"
#include "vireo/memory.h"
#include "vireo/notifier.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * A device with two worker queues and a control queue, driven by the test as its transport; memory is a
 * memfd.
 */

#define MEMORY_BYTES (1u << 20)
#define UADDR UINT64_C(0x7f0000000000)
#define RING_BYTES 0x4000u
#define DESC_AT 0u
#define AVAIL_AT 0x1000u
#define USED_AT 0x2000u
#define CONTROL 2u
#define SIZE 8u
#define PATIENCE_MS 20000u

struct lab {
	struct loop *loop;
	struct vireo_device *device;
	uint8_t *memory;
	int memfd;
	int kick[QUEUES], call[QUEUES];
	struct lab_type type;
	unsigned kicked;
	unsigned tables, table_regions; /* how often memory has changed, and what there was then */
	unsigned kick_takes; /* chains that queue_kicked pops at most */
	/* what the transport has seen */
	unsigned broken, config_changes;
	char why[200];
	unsigned quiet;
	char log[LAB_LOG_BYTES];
};

static void op_kicked(void *opaque, struct vireo_queue *queue)
{
	struct lab *lab = container_of(opaque, struct lab, type);
	struct vireo_chain chain;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];

	lab->kicked++;
	for (unsigned i = 0; i < lab->kick_takes; i++) {
		if (vireo_queue_pop(queue, &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)) <= 0)
			break;
		vireo_queue_push(queue, &chain, 0);
	}
	vireo_queue_flush(queue);
}

/* What the device type sees of memory then, and whether a chain could have come from there already. */
static void op_memory_changed(void *opaque)
{
	struct lab *lab = container_of(opaque, struct lab, type);
	const struct vireo_memory_table *table;

	lab->tables++;
	lab->table_regions = 0;
	if (!vireo_device_memory_table(lab->device, &table)) {
		lab->table_regions = vireo_memory_table_count(table);
		vireo_memory_table_free(table);
	}
}

static const struct vireo_device_ops ops = {
	.size = sizeof(ops),
	.queue_started = type_started,
	.queue_stop = type_stop,
	.queue_ended = type_ended,
	.queue_kicked = op_kicked,
	.features_set = type_features,
	.config_write = type_config_write,
	.connected = type_connected,
	.reset = type_reset,
	.memory_changed = op_memory_changed,
};

static void on_broken(void *opaque, const char *why)
{
	struct lab *lab = opaque;

	lab->broken++;
	snprintf(lab->why, sizeof(lab->why), "%s", why);
}

static void on_config(void *opaque)
{
	((struct lab *)opaque)->config_changes++;
}

static const struct device_transport transport = { .broken = on_broken, .config_changed = on_config };

static void on_quiet(void *opaque)
{
	((struct lab *)opaque)->quiet++;
}

static void quiesce(struct lab *lab)
{
	unsigned before = lab->quiet;

	device_quiesce(lab->device, DEVICE_ALL_QUEUES, on_quiet, lab);
	assert_int_equal(lab->quiet, before + 1);
}

static const struct vireo_feature_rule rules[] = {
	{ VIREO_FEATURE(6), VIREO_FEATURE(5) | VIREO_FEATURE(4), "SIX without FIVE or FOUR" },
	{ VIREO_FEATURE(7), VIREO_FEATURE(6), "SEVEN without SIX" },
};

static struct lab *lab_of(const struct vireo_device_config *config)
{
	struct lab *lab = test_calloc(1, sizeof(*lab));
	struct vireo_device_config copy = *config;

	copy.opaque = &lab->type;
	copy.log = (struct vireo_log){ lab_log, lab->log, VIREO_LOG_INFO };
	lab->kick_takes = 100;
	for (unsigned i = 0; i < QUEUES; i++)
		lab->kick[i] = lab->call[i] = -1;
	assert_int_equal(loop_new(&lab->loop), 0);
	assert_int_equal(vireo_device_new(&copy, &lab->device), 0);
	assert_int_equal(device_attach(lab->device, lab->loop, &transport, lab), 0);
	device_session_begin(lab->device);
	lab->memfd = memfd_create("lab", MFD_CLOEXEC);
	assert_int_equal(ftruncate(lab->memfd, MEMORY_BYTES), 0);
	lab->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, lab->memfd, 0);
	assert_ptr_not_equal(lab->memory, MAP_FAILED);
	return lab;
}

static struct lab *lab_bounded(uint64_t features, unsigned chain_pieces_max)
{
	return lab_of(&(struct vireo_device_config){
		.size = sizeof(struct vireo_device_config),
		.device_id = 99,
		.features = features,
		.queue_count = QUEUES,
		.control_queues = 1,
		.queue_size_max = 256,
		.config = "abcdefgh",
		.config_bytes = 8,
		.ops = &ops,
		.name = "lab",
		.feature_rules = rules,
		.feature_rule_count = ARRAY_SIZE(rules),
		.chain_pieces_max = chain_pieces_max,
	});
}

static struct lab *lab_new(uint64_t features)
{
	return lab_bounded(features, 0);
}

static void lab_free(struct lab *lab)
{
	lab->type.late = false;
	quiesce(lab);
	device_session_end(lab->device);
	assert_int_equal(lab->type.disconnected, 1);
	device_detach(lab->device);
	vireo_device_free(lab->device);
	loop_free(lab->loop);
	munmap(lab->memory, MEMORY_BYTES);
	close(lab->memfd);
	for (unsigned i = 0; i < QUEUES; i++) {
		fd_close(&lab->kick[i]);
		fd_close(&lab->call[i]);
	}
	test_free(lab);
}

static void share_memory(struct lab *lab, uint64_t size_bytes)
{
	struct map_spec spec = { .gpa = 0, .size_bytes = size_bytes, .uaddr = UADDR };
	const char *why = "";
	struct map *map;

	assert_int_equal(map_new(NULL, &spec, &lab->memfd, 1, device_faults(lab->device), &map, &why), 0);
	device_map_set(lab->device, map);
}

/* Our copy and the device's: both are eventfds of the test. */
static int event_pair(int *ret_theirs)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	*ret_theirs = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	assert_true(fd >= 0 && *ret_theirs >= 0);
	return fd;
}

static uint64_t area(unsigned queue, uint64_t at)
{
	return UADDR + queue * RING_BYTES + at;
}

static void queue_set(struct lab *lab, unsigned queue)
{
	int kick, call;

	fd_close(&lab->kick[queue]);
	fd_close(&lab->call[queue]);
	lab->kick[queue] = event_pair(&kick);
	lab->call[queue] = event_pair(&call);
	assert_int_equal(device_queue_size_set(lab->device, queue, SIZE), 0);
	assert_int_equal(device_queue_base_set(lab->device, queue, 0), 0);
	assert_int_equal(device_queue_address_set(lab->device, queue, area(queue, DESC_AT),
						  area(queue, AVAIL_AT), area(queue, USED_AT)),
			 0);
	assert_int_equal(device_queue_call_set(lab->device, queue, call), 0);
	assert_int_equal(device_queue_kick_set(lab->device, queue, kick), 0);
}

static struct split_avail *avail_of(struct lab *lab, unsigned queue)
{
	return (void *)(lab->memory + queue * RING_BYTES + AVAIL_AT);
}

static struct split_used *used_of(struct lab *lab, unsigned queue)
{
	return (void *)(lab->memory + queue * RING_BYTES + USED_AT);
}

/* One more readable buffer of 16 bytes. */
static void offer(struct lab *lab, unsigned queue)
{
	struct split_desc *desc = (void *)(lab->memory + queue * RING_BYTES);
	struct split_avail *avail = avail_of(lab, queue);
	uint16_t slot = avail->idx % SIZE;

	desc[slot] = (struct split_desc){ .addr = 0x80000, .len = 16 };
	avail->ring[slot] = slot;
	__atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
}

/* One of `pieces` readable descriptors, from `slot` on. */
static void offer_chain(struct lab *lab, unsigned queue, uint16_t slot, uint16_t pieces)
{
	struct split_desc *desc = (void *)(lab->memory + queue * RING_BYTES);
	struct split_avail *avail = avail_of(lab, queue);

	for (uint16_t i = 0; i < pieces; i++)
		desc[slot + i] = (struct split_desc){ .addr = 0x80000, .len = 16, .flags = i + 1 < pieces ? DESC_F_NEXT : 0,
						      .next = (uint16_t)(slot + i + 1) };
	avail->ring[avail->idx % SIZE] = slot;
	__atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
}

static void turn(struct lab *lab, int timeout_ms)
{
	assert_true(loop_dispatch(lab->loop, timeout_ms) >= 0);
}

static bool raised(int fd)
{
	uint64_t value;

	return read(fd, &value, sizeof(value)) == sizeof(value);
}

/* ---- tests ---- */

static void queue_starts_when_complete_without_a_kick(void **state)
{
	struct lab *lab = lab_new(0);

	queue_set(lab, 0);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 0); /* no memory yet */
	share_memory(lab, MEMORY_BYTES);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 1);
	assert_int_equal(lab->type.started[1], 0);
	assert_true(device_running(lab->device));
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 1);
	lab_free(lab);
}

static void start_publishes_that_kicks_are_wanted_and_signals_once(void **state)
{
	struct lab *lab = lab_new(0);

	used_of(lab, 0)->flags = SPLIT_USED_F_NO_NOTIFY; /* left by a predecessor that crashed */
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	assert_int_equal(used_of(lab, 0)->flags, 0);
	assert_true(raised(lab->call[0]));
	lab_free(lab);
}

static void driver_ok_gates_queues_only_where_status_is_required(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	device_status_required(lab->device, true);
	queue_set(lab, 0);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 0);
	device_status_set(lab->device,
			  VIREO_STATUS_ACKNOWLEDGE | VIREO_STATUS_DRIVER | VIREO_STATUS_DRIVER_OK);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 1);
	lab_free(lab);
}

static void chains_go_round_and_the_driver_is_signalled(void **state)
{
	struct lab *lab = lab_new(0);
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	raised(lab->call[0]);
	offer(lab, 0);
	assert_int_equal(vireo_queue_available(queue), 1);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)), 1);
	assert_int_equal(chain.readable_bytes, 16);
	vireo_queue_push(queue, &chain, 0);
	assert_false(raised(lab->call[0]));
	vireo_queue_flush(queue);
	assert_true(raised(lab->call[0]));
	assert_int_equal(used_of(lab, 0)->idx, 1);
	assert_true(vireo_queue_awaits_signal(queue));
	avail_of(lab, 0)->flags = 1; /* VIRTQ_AVAIL_F_NO_INTERRUPT */
	assert_false(vireo_queue_awaits_signal(queue));
	lab_free(lab);
}

/* The bound holds however much room there is for pieces, and what comes before a chain beyond it is served. */
static void chain_of_more_pieces_than_the_device_takes_breaks_it(void **state)
{
	static const unsigned rooms[] = { 3, 4, VIREO_CHAIN_PIECES_MAX(SIZE) };

	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		struct lab *lab = lab_bounded(0, 3);
		struct vireo_queue *queue = vireo_device_queue(lab->device, 0);
		struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
		struct vireo_chain chains[2];

		share_memory(lab, MEMORY_BYTES);
		queue_set(lab, 0);
		device_resume(lab->device);
		offer_chain(lab, 0, 0, 3);
		offer_chain(lab, 0, 3, 4);
		assert_int_equal(vireo_queue_pop(queue, chains, 2, iov, rooms[i]), 1);
		assert_int_equal(chains[0].readable_count, 3);
		vireo_queue_push(queue, chains, 0);
		vireo_queue_flush(queue);
		for (unsigned again = 0; again < 2; again++)
			assert_int_equal(vireo_queue_pop(queue, chains, 2, iov, rooms[i]), -EPROTO);
		assert_true(vireo_queue_kick_enable(queue, true)); /* who pops in a loop ends it there */
		turn(lab, 0);
		assert_int_equal(lab->broken, 1);
		assert_non_null(strstr(lab->why, "more pieces than the device takes"));
		lab_free(lab);
	}
}

static void without_a_bound_room_that_is_too_small_is_the_callers_to_mend(void **state)
{
	struct lab *lab = lab_new(0);
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	offer_chain(lab, 0, 0, 4);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, 3), -ENOBUFS);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, 4), 1);
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
	assert_int_equal(lab->broken, 0);
	lab_free(lab);
}

static void each_queue_keeps_its_own_pointer(void **state)
{
	struct lab *lab = lab_new(0);
	int mine[QUEUES];

	for (unsigned i = 0; i < QUEUES; i++) {
		assert_null(vireo_queue_opaque(vireo_device_queue(lab->device, i)));
		vireo_queue_opaque_set(vireo_device_queue(lab->device, i), &mine[i]);
	}
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	quiesce(lab);
	device_reset(lab->device);
	device_session_end(lab->device);
	device_session_begin(lab->device);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_ptr_equal(vireo_queue_opaque(vireo_device_queue(lab->device, i)), &mine[i]);
	lab->type.disconnected = 0;
	lab_free(lab);
}

/* ---- the memory table ---- */

static void memory_table_is_read_and_outlives_what_the_peer_takes_away(void **state)
{
	struct lab *lab = lab_new(0);
	const struct vireo_memory_table *table = NULL;
	struct vireo_memory_region region = { .size = sizeof(region) };

	assert_int_equal(vireo_device_memory_table(lab->device, &table), -ENOENT);
	assert_null(table);
	assert_int_equal(lab->tables, 0);
	share_memory(lab, MEMORY_BYTES);
	assert_int_equal(lab->tables, 1);
	assert_int_equal(lab->table_regions, 1);
	assert_int_equal(vireo_device_memory_table(lab->device, &table), 0);
	device_map_set(lab->device, NULL);
	assert_int_equal(lab->tables, 2);
	assert_int_equal(lab->table_regions, 0);
	assert_int_equal(vireo_memory_table_count(table), 1);
	assert_false(vireo_memory_table_region(table, 1, &region));
	assert_true(vireo_memory_table_region(table, 0, &region));
	assert_int_equal(region.guest_address, 0);
	assert_int_equal(region.peer_address, UADDR);
	assert_int_equal(region.bytes, MEMORY_BYTES);
	lab->memory[MEMORY_BYTES - 1] = 0x77;
	assert_int_equal(((uint8_t *)region.host)[MEMORY_BYTES - 1], 0x77);
	assert_ptr_equal(vireo_memory_table_at(table, 16, MEMORY_BYTES - 16), (uint8_t *)region.host + 16);
	assert_null(vireo_memory_table_at(table, 16, MEMORY_BYTES - 15));
	assert_null(vireo_memory_table_at(table, 16, UINT64_MAX));
	assert_null(vireo_memory_table_at(table, MEMORY_BYTES, 1));
	assert_null(vireo_memory_table_at(table, 0, 0));
	region = (struct vireo_memory_region){ .size = offsetof(struct vireo_memory_region, peer_address), .bytes = 5 };
	assert_true(vireo_memory_table_region(table, 0, &region)); /* an older program's */
	assert_int_equal(region.bytes, 5);
	vireo_memory_table_free(table);
	vireo_memory_table_free(NULL);
	lab_free(lab);
}

static void memory_of_a_session_that_is_over_ends_no_other(void **state)
{
	struct lab *lab = lab_new(0);
	const struct vireo_memory_table *old = NULL, *now = NULL;
	struct vireo_fault_table *faults;
	uint8_t *page;

	assert_int_equal(vireo_fault_table_new(4, &faults), 0);
	lab->device->faults.table = faults;
	share_memory(lab, MEMORY_BYTES);
	lab->memory[0] = 0x77;
	assert_int_equal(vireo_device_memory_table(lab->device, &old), 0);
	quiesce(lab);
	device_session_end(lab->device);
	lab->type.disconnected = 0;
	device_session_begin(lab->device);
	share_memory(lab, MEMORY_BYTES);
	page = vireo_memory_table_at(old, 0, 1);
	assert_int_equal(*page, 0x77);
	assert_true(vireo_fault_handle(faults, page)); /* as if the peer that has gone had truncated its file */
	assert_int_equal(*page, 0);
	loop_dispatch(lab->loop, 0);
	assert_int_equal(lab->broken, 0);

	assert_int_equal(vireo_device_memory_table(lab->device, &now), 0);
	page = vireo_memory_table_at(now, 0, 1);
	assert_int_equal(*page, 0x77);
	assert_true(vireo_fault_handle(faults, page));
	page = vireo_memory_table_at(old, MEMORY_BYTES - 1, 1);
	assert_true(vireo_fault_handle(faults, page)); /* and that hides the other one from nobody */
	loop_dispatch(lab->loop, 0);
	assert_int_equal(lab->broken, 1);
	assert_string_equal(lab->why, "the file behind guest memory has been truncated");
	vireo_memory_table_free(old);
	vireo_memory_table_free(now);
	lab_free(lab);
	vireo_fault_table_free(faults);
}

/* Two pages that lie far from each other in guest memory, and next to each other here, as the kernel may lay them. */
static struct map *two_pages_side_by_side(struct lab *lab, uint64_t first_gpa, uint64_t second_gpa)
{
	const struct map_spec specs[] = { { first_gpa, 0x1000, UADDR, 0 }, { second_gpa, 0x1000, UADDR + 0x1000, 0x1000 } };
	const int fds[] = { lab->memfd, lab->memfd };
	const char *why = "";
	struct map *map;

	assert_int_equal(map_new(NULL, specs, fds, 2, device_faults(lab->device), &map, &why), 0);
	for (unsigned i = 0; i < 2; i++)
		map->regions[i].host = lab->memory + (map->regions[i].gpa == first_gpa ? 0 : 0x1000);
	return map;
}

/*
 * Behind an IOMMU a page of the driver's may end in the middle of where it lies. Pages that follow in its addresses need not do so in
 * guest memory, and behind the last one that the log has there is no room for marks.
 */
static void ring_in_pieces_of_guest_memory_is_not_logged_as_one(void **state)
{
	const uint64_t iova = 0x10800, file_bytes = 4096;
	const struct map_window windows[] = { { iova, UADDR, 0x1000, MAP_READ | MAP_WRITE },
					      { iova + 0x1000, UADDR + 0x1000, 0x1000, MAP_READ | MAP_WRITE } };
	struct lab *lab = lab_new(0);
	struct map *memory = two_pages_side_by_side(lab, 0x7000, 0x1000), *view;
	int log_fd = memfd_create("log", MFD_CLOEXEC), kick;
	struct dirty_log *log;
	const char *why = "";
	uint8_t *bits;

	assert_int_equal(ftruncate(log_fd, (off_t)file_bytes), 0);
	bits = mmap(NULL, file_bytes, PROT_READ, MAP_SHARED, log_fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	assert_int_equal(dirty_log_new(log_fd, 0, 1, device_faults(lab->device), &log, &why), 0); /* of eight pages */
	assert_int_equal(map_view(memory, windows, 2, &view, NULL), 0);
	device_patient_set(lab->device, true);
	device_map_set(lab->device, view);
	device_log_memory_set(lab->device, memory);
	assert_int_equal(device_log_set(lab->device, log, &why), 0);
	assert_int_equal(device_log_switch(lab->device, true, &why), 0);
	assert_int_equal(device_queue_log_set(lab->device, 0, true, 0, &why), 0);
	assert_int_equal(device_queue_size_set(lab->device, 0, SIZE), 0);
	assert_int_equal(device_queue_address_set(lab->device, 0, iova, iova + 0x800, iova + 0xff0), 0);
	lab->kick[0] = event_pair(&kick);
	assert_int_equal(device_queue_kick_set(lab->device, 0, kick), 0);
	device_queue_enable(lab->device, 0, true);
	device_resume(lab->device);
	for (unsigned i = 1; i < file_bytes; i++)
		assert_int_equal(bits[i], 0);
	assert_null(lab->type.running[0]);
	assert_non_null(strstr(lab->log, "outside of what is logged"));
	quiesce(lab);
	device_log_memory_set(lab->device, NULL);
	map_unref(memory);
	dirty_log_unref(log);
	munmap(bits, file_bytes);
	close(log_fd);
	lab_free(lab);
}

/* ---- what signals cost ---- */

/* And nobody looks at the device's events yet. */
static bool signal_alone(struct lab *lab)
{
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	offer(lab, 0);
	if (vireo_queue_pop(queue, &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)) != 1)
		return false;
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
	return true;
}

static bool signal_once(struct lab *lab)
{
	bool signalled = signal_alone(lab);

	if (signalled)
		loop_dispatch(lab->loop, 0);
	return signalled;
}

#define WAITERS_DUPS 300
#define WAITERS_EPOLLS 300

struct waiters {
	int dups[WAITERS_DUPS], epolls[WAITERS_EPOLLS];
};

/* As many as their product wait for `fd`. */
static void waiters_new(struct waiters *waiters, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	for (int i = 0; i < WAITERS_DUPS; i++)
		waiters->dups[i] = dup(fd);
	for (int i = 0; i < WAITERS_EPOLLS; i++) {
		waiters->epolls[i] = epoll_create1(EPOLL_CLOEXEC);
		for (int j = 0; j < WAITERS_DUPS; j++)
			assert_int_equal(epoll_ctl(waiters->epolls[i], EPOLL_CTL_ADD, waiters->dups[j], &event), 0);
	}
}

static void waiters_free(struct waiters *waiters)
{
	for (int i = 0; i < WAITERS_EPOLLS; i++)
		close(waiters->epolls[i]);
	for (int i = 0; i < WAITERS_DUPS; i++)
		close(waiters->dups[i]);
}

/* Nothing is known of its signals, however long the one took that told of its start. */
static void signals_unmeasured(struct lab *lab)
{
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);

	queue->signal_cost = (struct signal_cost){ 0 };
	queue->signal_aside = (struct signal_aside){ 0 };
	lab->device->signals_owed = false;
}

static struct lab *lab_that_signals(void)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	signals_unmeasured(lab);
	raised(lab->call[0]);
	return lab;
}

/* Until the control thread has found them slow, or so many were quick enough: one from which somebody takes a CPU proves nothing. */
static bool signals_come_to_rest(struct lab *lab, unsigned most)
{
	for (unsigned i = 0; i < most && !lab->device->signals_paused_until_ns; i++)
		assert_true(signal_once(lab));
	return lab->device->signals_paused_until_ns;
}

/* What a device that rests owes is made when its timer says so. */
static void rest_over(struct lab *lab)
{
	struct vireo_device *device = lab->device;

	device->signals_paused_until_ns = UINT64_MAX;
	device->signals_owed = true;
	signals_act(device);
	assert_non_null(device->rest_timer);
	device->signals_paused_until_ns = 0;
	loop_timer_start(device->rest_timer, 0);
	for (unsigned turns = 0; turns < 100 && device->rest_timer; turns++)
		turn(lab, PATIENCE_MS);
	assert_null(device->rest_timer); /* who counts the fds of a process sees none of it */
}

static bool raised_when_rest_is_over(struct lab *lab)
{
	rest_over(lab);
	return raised(lab->call[0]);
}

static void eventfd_with_too_many_waiters_is_raised_seldom(void **state)
{
	struct lab *lab = lab_that_signals();
	struct waiters waiters;
	bool rests;

	waiters_new(&waiters, lab->call[0]);
	rests = signals_come_to_rest(lab, 1000);
	if (rests) {
		lab->device->signals_paused_until_ns = UINT64_MAX;
		raised(lab->call[0]);
		for (unsigned i = 0; i < 100; i++)
			assert_true(signal_once(lab));
		assert_false(raised(lab->call[0]));
		loop_dispatch(lab->loop, 0);
		assert_true(raised_when_rest_is_over(lab));
	}
	assert_int_equal(lab->broken, 0);
	waiters_free(&waiters);
	lab_free(lab);
	if (rests)
		return;
	print_message("skipped: so many waiters cost next to nothing here\n");
	skip();
}

/* The session ends, and the next one has queue 0, which may have to signal at once. */
static void come_again(struct lab *lab)
{
	quiesce(lab);
	device_session_end(lab->device);
	device_session_begin(lab->device);
	lab->broken = lab->type.disconnected = 0;
	memset(lab->memory, 0, RING_BYTES);
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	loop_dispatch(lab->loop, 0);
}

/* A session whose queue 0 lies at once, where `error` is its error eventfd (not taken), and another after it whose queue 0 signals. */
static void lie_then_come_again(struct lab *lab, int error)
{
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	assert_int_equal(device_queue_error_set(lab->device, 0, dup(error)), 0);
	assert_int_equal(device_queue_address_set(lab->device, 0, UADDR - 0x1000, UADDR, UADDR), 0);
	device_resume(lab->device);
	assert_int_equal(lab->broken, 1);
	come_again(lab);
}

static void error_eventfd_with_too_many_waiters_pauses_signals(void **state)
{
	int error = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct lab *lab = lab_new(0);
	struct waiters waiters;

	waiters_new(&waiters, error);
	lie_then_come_again(lab, error);
	for (unsigned i = 0; i < 100 && !lab->device->signals_paused_until_ns; i++) { /* our own may have looked as slow */
		lab_free(lab);
		lab = lab_new(0);
		lie_then_come_again(lab, error);
	}
	assert_true(lab->device->signals_paused_until_ns);
	lab->device->signals_paused_until_ns = lab->device->signals_aside_until_ns = UINT64_MAX;
	raised(lab->call[0]);
	assert_true(signal_once(lab));
	assert_false(raised(lab->call[0]));
	assert_true(raised_when_rest_is_over(lab));
	assert_int_equal(lab->broken, 0);
	waiters_free(&waiters);
	close(error);
	lab_free(lab);
}

static struct dirty_log *log_begun(struct lab *lab)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty_log *log;
	const char *why = "";

	assert_int_equal(ftruncate(fd, 4096), 0); /* of 128 MiB */
	assert_int_equal(dirty_log_new(fd, 0, 4096, device_faults(lab->device), &log, &why), 0);
	assert_int_equal(device_log_set(lab->device, log, &why), 0);
	assert_int_equal(device_log_switch(lab->device, true, &why), 0);
	close(fd);
	return log;
}

static void log_s_eventfd_with_too_many_waiters_is_raised_seldom(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct lab *lab = lab_that_signals();
	struct dirty_log *log = log_begun(lab);
	struct log_bell *bell = &lab->device->log_bell;
	struct waiters waiters;
	uint64_t page = 0;

	waiters_new(&waiters, fd);
	assert_int_equal(device_log_bell_set(lab->device, dup(fd)), 0);
	for (; page < 1000 && !bell->quiet_until_ns; page++) {
		dirty_log_mark(log, page * DIRTY_PAGE_BYTES, 1);
		log_bell_tell(lab->device);
	}
	if (!bell->quiet_until_ns)
		print_message("so many waiters cost next to nothing here\n");
	bell->quiet_until_ns = UINT64_MAX;
	assert_true(raised(fd));
	dirty_log_mark(log, page * DIRTY_PAGE_BYTES, 1);
	log_bell_tell(lab->device);
	assert_false(raised(fd));
	bell->quiet_until_ns = 0;
	log_bell_tell(lab->device);
	assert_true(raised(fd));
	waiters_free(&waiters);
	dirty_log_unref(log);
	close(fd);
	lab_free(lab);
}

/*
 * A machine that takes a CPU away and counts it as ours. While it is played a reading of our CPU time is a microsecond later than the last
 * one, and stolen_ns more for each bit of stolen_at, the lowest first.
 */
#define STOLEN_NS 10000000u
#define READING_NS 1000u

static bool cpu_played;
static uint64_t stolen_at, stolen_ns = STOLEN_NS, cpu_read_ns;
static uint64_t played_ns; /* what CLOCK_MONOTONIC says, or 0: what it does */
static uint64_t coarse_played_ns; /* likewise, CLOCK_MONOTONIC_COARSE */

static int clock_plays(uint64_t ns, struct timespec *ret)
{
	ret->tv_sec = (time_t)(ns / 1000000000);
	ret->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static int (*next)(clockid_t, struct timespec *);

	if (!next)
		next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	if (clock == CLOCK_MONOTONIC && cpu_played && played_ns)
		return clock_plays(played_ns, ret);
	if (clock == CLOCK_MONOTONIC_COARSE && coarse_played_ns)
		return clock_plays(coarse_played_ns, ret);
	if (clock != CLOCK_THREAD_CPUTIME_ID || !cpu_played)
		return next(clock, ret);
	cpu_read_ns += READING_NS + (stolen_at & 1 ? stolen_ns : 0);
	stolen_at >>= 1;
	return clock_plays(cpu_read_ns, ret);
}

static void error_signal_that_is_slow_once_is_nobodys_fault(void **state)
{
	struct lab *lab = lab_new(0);
	int error = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	cpu_played = true;
	stolen_at = UINT64_C(1) << 1; /* the first is before the signal */
	lie_then_come_again(lab, error);
	cpu_played = false;
	assert_int_equal(stolen_at, 0);
	assert_int_equal(lab->broken, 0);
	assert_true(signal_once(lab));
	assert_int_equal(lab->broken, 0);
	close(error);
	lab_free(lab);
}

/* Inline the time is read before a signal and behind it. Behind a slow one aside it is read eight times more, for our own eventfd. */
#define SLOW_INLINE (UINT64_C(1) << 1)
#define SLOW_ASIDE(n) (UINT64_C(1) << (10 * (n) + 1))
#define SLOW_ALL_ASIDE (SLOW_ASIDE(0) | SLOW_ASIDE(1))

static struct lab *lab_played(void)
{
	struct lab *lab = lab_that_signals();

	vireo_device_queue(lab->device, 0)->signal_cost.close_look = true; /* CPU time is looked at from the first one on */
	cpu_played = true;
	stolen_at = 0;
	played_ns = 0;
	return lab;
}

static struct lab *lab_played_aside(void)
{
	struct lab *lab = lab_played();

	vireo_device_queue(lab->device, 0)->signal_aside.on = true;
	return lab;
}

static void played_end(struct lab *lab)
{
	assert_int_equal(lab->broken, 0);
	cpu_played = false;
	lab_free(lab);
}

/* One more is made there: is it slow? */
static void slow_signal_is_owed_and_made_elsewhere_until_one_is_quick(void **state)
{
	struct lab *lab = lab_played();

	stolen_at = SLOW_INLINE;
	assert_true(signal_alone(lab));
	assert_true(raised(lab->call[0]));
	assert_true(signal_alone(lab));
	assert_false(raised(lab->call[0]));
	loop_dispatch(lab->loop, 0);
	assert_true(raised(lab->call[0]));
	assert_true(signal_alone(lab));
	assert_true(raised(lab->call[0]));
	played_end(lab);
}

static void signals_that_are_slow_inline_add_up(void **state)
{
	struct lab *lab = lab_played();
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);

	stolen_ns = 1000000; /* too little for one to hold anybody up */
	for (unsigned i = 0; i < 9; i++) {
		assert_false(queue->signal_aside.on);
		queue->signal_cost.close_look = true;
		stolen_at = i == 3 ? 0 : SLOW_INLINE; /* they begin again behind the quick one */
		assert_true(signal_alone(lab));
	}
	assert_true(queue->signal_aside.on);
	stolen_ns = STOLEN_NS;
	played_end(lab);
}

/* On a machine that is slow both are: the peer's eventfd and our own. */
static void signals_that_are_as_slow_as_our_own_are_nobodys_fault(void **state)
{
	struct lab *lab = lab_played();

	for (unsigned i = 0; i < 100; i++) {
		stolen_at = UINT64_MAX;
		assert_true(signal_once(lab));
		assert_true(raised(lab->call[0]));
		assert_int_equal(lab->device->signals_paused_until_ns, 0);
	}
	played_end(lab);
}

static void signal_that_is_quick_when_it_is_made_aside_again_is_nobodys_fault(void **state)
{
	struct lab *lab = lab_played_aside();

	stolen_at = SLOW_ASIDE(0);
	assert_true(signal_once(lab));
	assert_int_equal(lab->device->signals_paused_until_ns, 0);
	assert_false(vireo_device_queue(lab->device, 0)->signal_aside.on);
	played_end(lab);
}

/* Whoever is to blame: nothing is broken, nothing is lost, and all is as before when one is quick. */
static void signals_that_are_slow_by_whatever_reason_come_later(void **state)
{
	struct lab *lab = lab_played_aside();

	stolen_at = SLOW_ALL_ASIDE;
	assert_true(signal_once(lab));
	assert_true(lab->device->signals_paused_until_ns);
	lab->device->signals_paused_until_ns = UINT64_MAX;
	raised(lab->call[0]);
	assert_true(signal_once(lab));
	assert_false(raised(lab->call[0]));
	assert_true(raised_when_rest_is_over(lab));
	assert_false(vireo_device_queue(lab->device, 0)->signal_aside.on);
	lab->device->signals_aside_until_ns = 0;
	assert_true(signal_alone(lab));
	assert_true(raised(lab->call[0]));
	played_end(lab);
}

#define SLOW_COST_NS (UINT64_C(2) * (STOLEN_NS + READING_NS))

/* The clock stands still but for what the tests wait. */
static struct lab *lab_played_slow(void)
{
	struct lab *lab = lab_played_aside();

	played_ns = 1000000000;
	return lab;
}

/* As soon as the rest before is over. Returns how long the next one is. */
static uint64_t slow_signals_rest_ns(struct lab *lab)
{
	struct vireo_device *device = lab->device;

	played_ns = max_u64(played_ns, device->signals_paused_until_ns);
	stolen_at = SLOW_ALL_ASIDE;
	assert_true(signal_once(lab));
	assert_int_equal(stolen_at, 0);
	return device->signals_paused_until_ns - played_ns;
}

static void rests_that_follow_each_other_grow_and_are_told_once(void **state)
{
	struct lab *lab = lab_played_slow();
	const unsigned times[] = { 10, 20, 40, 80, 100, 100 };

	for (unsigned i = 0; i < ARRAY_SIZE(times); i++) {
		lab->log[0] = '\0';
		assert_int_equal(slow_signals_rest_ns(lab), times[i] * SLOW_COST_NS);
		assert_int_equal(!!strstr(lab->log, "too many wait for its call eventfd"), i == 3);
	}
	played_ns = lab->device->signals_aside_until_ns;
	vireo_device_queue(lab->device, 0)->signal_aside.on = true;
	assert_int_equal(slow_signals_rest_ns(lab), times[0] * SLOW_COST_NS); /* all that they have taken was one percent: a new row */
	played_end(lab);
}

static void who_is_quick_between_slow_signals_takes_one_percent_all_the_same(void **state)
{
	struct lab *lab = lab_played_slow();
	struct vireo_device *device = lab->device;
	uint64_t begun_ns = played_ns;

	for (unsigned i = 0; i < 100; i++) {
		vireo_device_queue(device, 0)->signal_aside.on = true;
		slow_signals_rest_ns(lab);
		played_ns = device->signals_paused_until_ns;
		assert_true(signal_once(lab));
		assert_false(vireo_device_queue(device, 0)->signal_aside.on);
	}
	assert_true(played_ns - begun_ns >= UINT64_C(97) * 100 * SLOW_COST_NS);
	played_end(lab);
}

/* Each stop signals what is owed, and each start owes one. */
static void so_does_who_is_quick_between_slow_stops(void **state)
{
	struct lab *lab = lab_played_slow();
	uint64_t begun_ns = played_ns;

	for (unsigned i = 0; i < 40; i++) {
		assert_true(i || signal_alone(lab));
		stolen_at = i % 4 == 3 ? 0 : SLOW_ALL_ASIDE;
		quiesce(lab);
		device_queue_enable(lab->device, 0, true);
		device_resume(lab->device);
	}
	assert_int_equal(lab->device->signals_aside_until_ns - begun_ns, 4 * 100 * SLOW_COST_NS); /* four of them have cost something */
	played_end(lab);
}

static void signal_that_is_owed_is_made_before_the_queue_is_quiet(void **state)
{
	struct lab *lab = lab_played_aside();

	assert_true(signal_alone(lab));
	assert_false(raised(lab->call[0]));
	lab->device->signals_paused_until_ns = UINT64_MAX; /* it rests, too, but not again and again */
	quiesce(lab);
	assert_true(raised(lab->call[0]));
	played_end(lab);
}

static void queue_that_stops_does_not_cut_rests_short_again_and_again(void **state)
{
	struct lab *lab = lab_played_aside();

	assert_true(signal_alone(lab));
	lab->device->signals_paused_until_ns = lab->device->signals_aside_until_ns = UINT64_MAX;
	lab->device->signal_rests = 4;
	quiesce(lab);
	assert_false(raised(lab->call[0]));
	played_end(lab);
}

/* Its first signal would hold the worker up once more. */
static void front_end_that_comes_again_is_signalled_aside(void **state)
{
	struct lab *lab = lab_played();

	lab->device->signals_aside_until_ns = lab->device->signals_paused_until_ns = UINT64_MAX;
	assert_true(signal_once(lab));
	assert_non_null(lab->device->rest_timer);
	come_again(lab);
	assert_false(raised(lab->call[0]));
	assert_true(raised_when_rest_is_over(lab));
	assert_true(signal_alone(lab));
	assert_false(raised(lab->call[0]));
	loop_dispatch(lab->loop, 0);
	assert_true(raised(lab->call[0]));
	played_end(lab);
}

static void signal_is_made_at_once_where_there_is_no_timer_for_the_rest(void **state)
{
	struct lab *lab = lab_played_aside();
	int next = dup(lab->call[0]);
	struct rlimit limit, none;

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ (rlim_t)next, limit.rlim_max };
	lab->device->signals_paused_until_ns = UINT64_MAX;
	assert_true(signal_alone(lab));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	loop_dispatch(lab->loop, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(raised(lab->call[0]));
	played_end(lab);
}

static void call_that_is_set_anew_is_signalled_inline(void **state)
{
	struct lab *lab = lab_new(0);
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);

	queue->signal_aside.on = true;
	queue_set(lab, 0);
	assert_false(queue->signal_aside.on);
	lab_free(lab);
}

struct aside {
	void (*work)(void *argument);
	void *argument;
	pthread_t thread;
};

static void *aside_main(void *opaque)
{
	const struct aside *aside = opaque;

	aside->work(aside->argument);
	return NULL;
}

static int aside_run(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = opaque;

	aside->work = work;
	aside->argument = argument;
	return -pthread_create(&aside->thread, NULL, aside_main, aside);
}

/* Queue 0 is signalled by a socket, in `aside`; returns its other end. */
static int called_by_socket(struct lab *lab, struct vireo_notifier **ret_notifier, struct aside *aside)
{
	struct vireo_notifier_config config = { .size = sizeof(config), .run_aside = aside_run, .run_opaque = aside };
	int pair[2];

	assert_int_equal(vireo_notifier_open(&config, ret_notifier, NULL), 0);
	lab->device->notifier = *ret_notifier;
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(device_queue_call_set(lab->device, 0, pair[1]), 0);
	device_resume(lab->device);
	return pair[0];
}

static void called_by_socket_end(struct lab *lab, struct vireo_notifier *notifier, struct aside *aside, int fd)
{
	lab_free(lab);
	pthread_join(aside->thread, NULL);
	vireo_notifier_free(notifier);
	close(fd);
}

static void slow_raise_of_a_bells_own_thread_counts_once(void **state)
{
	struct vireo_notifier *notifier;
	struct lab *lab = lab_new(0);
	struct waiters waiters;
	struct aside aside;
	int fd = called_by_socket(lab, &notifier, &aside);

	waiters_new(&waiters, fd);
	assert_true(signal_once(lab));
	usleep(10000);
	waiters_free(&waiters); /* waits for the raise, which walks these */
	usleep(1000);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(signal_once(lab));
		assert_int_equal(lab->device->signals_paused_until_ns, 0);
	}
	assert_int_equal(lab->broken, 0);
	called_by_socket_end(lab, notifier, &aside, fd);
}

static void slow_raises_of_a_bells_own_thread_are_made_seldom(void **state)
{
	struct vireo_notifier *notifier;
	struct lab *lab = lab_new(0);
	struct waiters waiters;
	struct aside aside;
	int fd = called_by_socket(lab, &notifier, &aside);
	bool slow = false;
	char bytes[256];

	waiters_new(&waiters, fd);
	for (unsigned ms = 0; ms < PATIENCE_MS && !lab->device->signals_paused_until_ns; ms++) {
		assert_true(signal_once(lab));
		slow |= vireo_device_queue(lab->device, 0)->signal_cost.sum_ns;
		if (ms > 1000 && !slow) /* so many cost next to nothing here */
			break;
		usleep(1000);
		while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) /* to one that is full nothing is sent, and nobody is woken */
			;
	}
	if (slow)
		assert_true(lab->device->signals_paused_until_ns);
	assert_int_equal(lab->broken, 0);
	waiters_free(&waiters);
	called_by_socket_end(lab, notifier, &aside, fd);
}

static struct vireo_notifier *aio_comes_later;
static struct aside aio_aside;

static void notifier_open_without_aio(void)
{
	struct vireo_notifier_config config = { .size = sizeof(config), .run_aside = aside_run, .run_opaque = &aio_aside };

	assert_int_equal(vireo_notifier_open(&config, &aio_comes_later, NULL), 0);
}

/* Its call is set where there is no AIO, which is asked for again when the clock says another second. */
static struct lab *lab_whose_aio_comes_later(void)
{
	struct lab *lab;

	coarse_played_ns = 1000000000;
	if (!refused_run(SYS_io_setup, EAGAIN, notifier_open_without_aio)) {
		coarse_played_ns = 0;
		print_message("skipped: no system call can be refused here\n");
		skip();
	}
	lab = lab_new(0);
	lab->device->notifier = aio_comes_later;
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	coarse_played_ns += 1000000000;
	device_resume(lab->device);
	signals_unmeasured(lab);
	raised(lab->call[0]);
	return lab;
}

static void bell_that_needs_its_thread_no_more_is_measured(void **state)
{
	struct lab *lab = lab_whose_aio_comes_later();
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);

	assert_non_null(queue->call.raiser);
	cpu_played = queue->signal_cost.close_look = true;
	stolen_at = SLOW_INLINE;
	assert_true(signal_alone(lab));
	assert_true(raised(lab->call[0])); /* by AIO */
	assert_true(queue->signal_aside.on);
	assert_true(signal_once(lab));
	assert_false(queue->signal_aside.on);
	assert_int_equal(lab->broken, 0);
	cpu_played = false;
	lab_free(lab);
	pthread_join(aio_aside.thread, NULL);
	vireo_notifier_free(aio_comes_later);
	coarse_played_ns = 0;
}

static unsigned signals_told;

static void signal_tells(void *opaque, unsigned queue)
{
	signals_told++;
}

static void signal_waits(void *opaque, unsigned queue)
{
	usleep(12000);
}

static struct lab *lab_signalled_by(void (*signal)(void *opaque, unsigned queue))
{
	static struct device_transport signalling;
	struct lab *lab = lab_new(0);

	signalling = transport;
	signalling.signal = signal;
	device_session_end(lab->device);
	lab->type.disconnected = 0;
	device_detach(lab->device);
	assert_int_equal(device_attach(lab->device, lab->loop, &signalling, lab), 0);
	device_session_begin(lab->device);
	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	assert_int_equal(device_queue_call_set(lab->device, 0, -1), 0);
	device_resume(lab->device);
	return lab;
}

/* As an eventfd's: aside, seldom, before the queue is quiet, and nobody loses a session. */
static void slow_signals_of_a_transport_are_made_elsewhere_and_seldom(void **state)
{
	struct lab *lab = lab_signalled_by(signal_tells);
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);

	signals_unmeasured(lab);
	signals_told = 0;
	queue->signal_cost.close_look = true;
	cpu_played = true;
	stolen_at = SLOW_INLINE;
	assert_true(signal_alone(lab));
	assert_true(signal_alone(lab));
	assert_int_equal(signals_told, 1);
	stolen_at = SLOW_ALL_ASIDE;
	loop_dispatch(lab->loop, 0);
	assert_int_equal(signals_told, 3);
	assert_true(lab->device->signals_paused_until_ns);
	lab->device->signals_paused_until_ns = lab->device->signals_aside_until_ns = UINT64_MAX;
	assert_true(signal_once(lab));
	assert_int_equal(signals_told, 3);
	rest_over(lab);
	assert_int_equal(signals_told, 4);
	assert_false(queue->signal_aside.on);
	assert_true(signal_alone(lab)); /* the device is not trusted yet */
	assert_int_equal(signals_told, 4);
	quiesce(lab);
	assert_int_equal(signals_told, 5);
	played_end(lab);
}

/* Preempted, or on a host that is busy: its CPU time says so. */
static void signal_that_takes_long_and_no_cpu_is_nobodys_fault(void **state)
{
	struct lab *lab = lab_signalled_by(signal_waits);

	cpu_played = true;
	stolen_at = 0;
	for (unsigned i = 0; i < 5; i++) {
		assert_true(signal_alone(lab));
		assert_true(vireo_device_queue(lab->device, 0)->signal_aside.on);
		loop_dispatch(lab->loop, 0);
		assert_false(vireo_device_queue(lab->device, 0)->signal_aside.on);
		assert_int_equal(lab->device->signals_paused_until_ns, 0);
	}
	played_end(lab);
}

static void quiesce_waits_for_every_queue(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	queue_set(lab, 1);
	device_queue_enable(lab->device, 0, true);
	device_resume(lab->device);
	lab->type.late = true;
	device_quiesce(lab->device, DEVICE_ALL_QUEUES, on_quiet, lab);
	assert_int_equal(lab->type.stopped[0] + lab->type.stopped[1], 2);
	assert_true(device_quiescing(lab->device));
	type_quiesced(&lab->type, 1);
	assert_int_equal(lab->quiet, 0);
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->quiet, 1);
	assert_false(device_quiescing(lab->device));
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 2);
	lab_free(lab);
}

static void quiesce_of_one_queue_leaves_the_others_running(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	queue_set(lab, 1);
	device_resume(lab->device);
	device_quiesce(lab->device, 1, on_quiet, lab);
	assert_int_equal(lab->quiet, 1);
	assert_int_equal(lab->type.stopped[0], 0);
	assert_int_equal(lab->type.stopped[1], 1);
	assert_true(device_running(lab->device));
	lab_free(lab);
}

static void stop_tells_where_the_ring_stands_and_a_kick_starts_it_there(void **state)
{
	struct lab *lab = lab_new(0);
	struct vireo_queue *queue = vireo_device_queue(lab->device, 0);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	uint32_t base = 77;
	int kick;

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	for (int i = 0; i < 3; i++) {
		offer(lab, 0);
		assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)), 1);
		vireo_queue_push(queue, &chain, 0);
	}
	vireo_queue_flush(queue);
	quiesce(lab);
	assert_int_equal(device_queue_stop(lab->device, 0, &base), 0);
	assert_int_equal(base, 3);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 1); /* stopped until the next kick */
	close(event_pair(&kick));
	assert_int_equal(device_queue_kick_set(lab->device, 0, kick), 0);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 2);
	offer(lab, 0);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)), 1);
	assert_int_equal(chain.id, 3);
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
	lab_free(lab);
}

/* For a message, or while memory changes: what the type has for the driver can wait. */
static void queue_that_stops_and_starts_again_has_not_ended(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_queue_enable(lab->device, 0, true);
	device_resume(lab->device);
	for (unsigned i = 1; i < 4; i++) {
		quiesce(lab);
		assert_int_equal(lab->type.stopped[0], i);
		device_resume(lab->device);
		assert_int_equal(lab->type.started[0], i + 1);
	}
	assert_int_equal(type_total(lab->type.ended), 0);
	lab_free(lab);
}

static void queue_that_does_not_start_again_has_ended_once(void **state)
{
	struct lab *lab = lab_new(0);
	uint32_t base;

	share_memory(lab, MEMORY_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		queue_set(lab, i);
		device_queue_enable(lab->device, i, true);
	}
	device_resume(lab->device);
	quiesce(lab);
	assert_int_equal(device_queue_stop(lab->device, 0, &base), 0);
	assert_int_equal(lab->type.ended[0], 0); /* another message may be handled with it */
	for (unsigned i = 0; i < 3; i++)
		device_resume(lab->device);
	assert_int_equal(lab->type.ended[0], 1);
	assert_int_equal(lab->type.ended[1], 0);
	quiesce(lab);
	device_resume_not(lab->device);
	assert_int_equal(lab->type.ended[0], 1);
	assert_int_equal(lab->type.ended[1], 1);
	lab_free(lab);
}

static void queue_that_is_set_up_elsewhere_while_it_stands_still_has_ended(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_queue_enable(lab->device, 0, true);
	device_resume(lab->device);
	quiesce(lab);
	assert_int_equal(device_queue_size_set(lab->device, 0, SIZE), 0); /* as it was */
	assert_int_equal(lab->type.ended[0], 0);
	assert_int_equal(device_queue_size_set(lab->device, 0, SIZE / 2), 0);
	assert_int_equal(lab->type.ended[0], 1);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 2);
	assert_int_equal(lab->type.ended[0], 1);
	lab_free(lab);
}

static void control_queue_is_served_at_start_and_on_each_kick(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	offer(lab, CONTROL);
	queue_set(lab, CONTROL);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[CONTROL], 0);
	assert_int_equal(used_of(lab, CONTROL)->idx, 1);
	for (unsigned i = 2; i < 5; i++) {
		offer(lab, CONTROL);
		fd_event_raise(lab->kick[CONTROL]);
		turn(lab, 1000);
		assert_int_equal(used_of(lab, CONTROL)->idx, i);
	}
	quiesce(lab);
	assert_int_equal(lab->type.stopped[CONTROL], 0);
	lab_free(lab);
}

static void control_queue_that_leaves_chains_is_called_again(void **state)
{
	struct lab *lab = lab_new(0);

	lab->kick_takes = 1;
	share_memory(lab, MEMORY_BYTES);
	for (int i = 0; i < 4; i++)
		offer(lab, CONTROL);
	queue_set(lab, CONTROL);
	device_resume(lab->device);
	for (int i = 0; i < 20 && used_of(lab, CONTROL)->idx < 4; i++)
		turn(lab, 100);
	assert_int_equal(used_of(lab, CONTROL)->idx, 4);
	lab_free(lab);
}

static void control_queue_without_a_kick_fd_is_polled(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, CONTROL);
	assert_int_equal(device_queue_kick_set(lab->device, CONTROL, -1), 0);
	device_resume(lab->device);
	offer(lab, CONTROL);
	for (int i = 0; i < 20 && !used_of(lab, CONTROL)->idx; i++)
		turn(lab, 100);
	assert_int_equal(used_of(lab, CONTROL)->idx, 1);
	lab_free(lab);
}

static struct lab *lab_control_first(bool keeps, bool filled)
{
	return lab_of(&(struct vireo_device_config){
		.size = sizeof(struct vireo_device_config),
		.queue_count = QUEUES,
		.control_queues_first = 1,
		.control_queues_keep = keeps,
		.control_queues_filled = filled,
		.queue_size_max = 256,
		.ops = &ops,
	});
}

static void control_queues_may_be_the_first_ones(void **state)
{
	struct lab *lab = lab_control_first(false, false);

	share_memory(lab, MEMORY_BYTES);
	offer(lab, 0);
	queue_set(lab, 0);
	queue_set(lab, CONTROL);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 0);
	assert_int_equal(used_of(lab, 0)->idx, 1);
	assert_int_equal(lab->type.started[CONTROL], 1);
	quiesce(lab);
	assert_int_equal(lab->type.stopped[0], 0);
	assert_int_equal(lab->type.stopped[CONTROL], 1);
	lab_free(lab);
}

static void control_queue_that_keeps_chains_is_asked_for(void **state)
{
	struct lab *lab = lab_control_first(true, false);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	lab->type.running[0] = vireo_device_queue(lab->device, 0);
	lab->type.late = true;
	device_quiesce(lab->device, DEVICE_ALL_QUEUES, on_quiet, lab);
	assert_int_equal(lab->type.stopped[0], 1);
	assert_int_equal(lab->quiet, 0);
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->quiet, 1);
	lab->type.late = false;
	lab_free(lab);
}

/* A kick that comes before the answer: what it brings waits for the next start. */
static void control_queue_that_has_been_asked_for_is_not_served(void **state)
{
	struct lab *lab = lab_control_first(true, false);
	unsigned kicked;

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_resume(lab->device);
	lab->type.running[0] = vireo_device_queue(lab->device, 0);
	lab->type.late = true;
	device_quiesce(lab->device, DEVICE_ALL_QUEUES, on_quiet, lab);
	kicked = lab->kicked;
	offer(lab, 0);
	fd_event_raise(lab->kick[0]);
	turn(lab, 50);
	assert_int_equal(lab->kicked, kicked);
	assert_int_equal(used_of(lab, 0)->idx, 0);
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->quiet, 1);
	lab->type.late = false;
	lab_free(lab);
}

static void control_queue_that_is_filled_is_called_for_kicks_alone(void **state)
{
	struct lab *lab = lab_control_first(false, true);

	lab->kick_takes = 1;
	share_memory(lab, MEMORY_BYTES);
	for (int i = 0; i < 4; i++)
		offer(lab, 0);
	queue_set(lab, 0);
	device_resume(lab->device);
	turn(lab, 50);
	assert_int_equal(used_of(lab, 0)->idx, 1);
	fd_event_raise(lab->kick[0]);
	turn(lab, 1000);
	assert_int_equal(used_of(lab, 0)->idx, 2);
	lab_free(lab);
}

static void *worker_that_finds_a_lie(void *opaque)
{
	struct vireo_queue *queue = opaque;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	for (int i = 0; i < 3; i++)
		assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)),
				 -EPROTO);
	return NULL;
}

static void broken_ring_in_a_worker_is_told_once_in_the_control_thread(void **state)
{
	struct lab *lab = lab_new(0);
	pthread_t worker;

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	queue_set(lab, 1);
	device_resume(lab->device);
	avail_of(lab, 1)->idx = SIZE + 1;
	pthread_create(&worker, NULL, worker_that_finds_a_lie, vireo_device_queue(lab->device, 1));
	pthread_join(worker, NULL);
	assert_int_equal(lab->broken, 0);
	turn(lab, 1000);
	turn(lab, 0);
	assert_int_equal(lab->broken, 1);
	assert_non_null(strstr(lab->why, "queue 1: "));
	assert_non_null(strstr(lab->log, "lab: broken: queue 1: "));
	assert_true(vireo_device_status(lab->device) & VIREO_STATUS_NEEDS_RESET);
	quiesce(lab);
	device_resume(lab->device); /* nothing is started any more */
	assert_false(device_running(lab->device));
	lab_free(lab);
}

static void break_from_the_model_ends_the_session_and_is_forgotten_with_it(void **state)
{
	struct lab *lab = lab_new(0);

	vireo_device_break(lab->device, "first");
	vireo_device_break(lab->device, "second");
	turn(lab, 1000);
	assert_int_equal(lab->broken, 1);
	assert_string_equal(lab->why, "first");
	device_session_end(lab->device);
	device_session_begin(lab->device);
	turn(lab, 0);
	assert_int_equal(lab->broken, 1);
	lab->type.disconnected = 0;
	lab_free(lab);
}

static void error_fd_is_raised_for_the_broken_queue(void **state)
{
	struct lab *lab = lab_new(0);
	int theirs, ours = event_pair(&theirs);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	assert_int_equal(device_queue_error_set(lab->device, 0, theirs), 0);
	assert_int_equal(device_queue_address_set(lab->device, 0, UADDR - 0x1000, UADDR, UADDR), 0);
	device_resume(lab->device);
	assert_int_equal(lab->broken, 1);
	assert_true(raised(ours));
	close(ours);
	lab_free(lab);
}

static void ring_set_up_outside_memory_breaks_the_device(void **state)
{
	static const uint64_t bad[] = { 0, UADDR - 16, UADDR + MEMORY_BYTES, UADDR + MEMORY_BYTES - 16,
					UINT64_MAX - 15 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct lab *lab = lab_new(0);

		share_memory(lab, MEMORY_BYTES);
		queue_set(lab, 0);
		device_queue_address_set(lab->device, 0, bad[i], area(0, AVAIL_AT), area(0, USED_AT));
		device_resume(lab->device);
		assert_int_equal(lab->broken, 1);
		assert_int_equal(lab->type.started[0], 0);
		lab_free(lab);
	}
}

static void ring_from_under_which_memory_is_taken_waits_for_it(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 1);
	device_queue_enable(lab->device, 1, true);
	device_resume(lab->device);
	quiesce(lab);
	share_memory(lab, RING_BYTES); /* queue 1's ring is beyond it */
	device_resume(lab->device);
	assert_int_equal(lab->broken, 0);
	assert_int_equal(lab->type.started[1], 1);
	assert_int_equal(lab->type.ended[1], 1); /* nobody has been asked for it */
	quiesce(lab);
	share_memory(lab, MEMORY_BYTES);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[1], 2);
	lab_free(lab);
}

static void grown_ring_is_checked_against_memory_again(void **state)
{
	struct lab *lab = lab_new(0);

	share_memory(lab, MEMORY_BYTES);
	queue_set(lab, 0);
	device_queue_address_set(lab->device, 0, UADDR + MEMORY_BYTES - 16 * SIZE, area(0, AVAIL_AT),
				 area(0, USED_AT));
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 1);
	quiesce(lab);
	assert_int_equal(device_queue_size_set(lab->device, 0, 2 * SIZE), 0);
	device_resume(lab->device);
	assert_int_equal(lab->broken, 1);
	lab_free(lab);
}

static void queue_index_is_checked_in_all_32_bits(void **state)
{
	static const uint32_t bad[] = { QUEUES, 256, 0x100, 0x10000, 0x80000000, UINT32_MAX };
	struct lab *lab = lab_new(0);
	uint32_t base = 5;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(device_queue_size_set(lab->device, bad[i], 8), -EINVAL);
		assert_int_equal(device_queue_base_set(lab->device, bad[i], 0), -EINVAL);
		assert_int_equal(device_queue_address_set(lab->device, bad[i], 0, 0, 0), -EINVAL);
		assert_int_equal(device_queue_kick_set(lab->device, bad[i], -1), -EINVAL);
		assert_int_equal(device_queue_call_set(lab->device, bad[i], -1), -EINVAL);
		assert_int_equal(device_queue_error_set(lab->device, bad[i], -1), -EINVAL);
		assert_int_equal(device_queue_enable(lab->device, bad[i], true), -EINVAL);
		assert_int_equal(device_queue_stop(lab->device, bad[i], &base), -EINVAL);
		assert_int_equal(base, 5);
		assert_null(vireo_device_queue(lab->device, bad[i]));
	}
	lab_free(lab);
}

static void sizes_and_bases_that_cannot_be_are_refused(void **state)
{
	struct lab *lab = lab_new(VIREO_FEATURE(VIREO_F_RING_PACKED_BIT));

	assert_int_equal(device_queue_size_set(lab->device, 0, 0), -EINVAL);
	assert_int_equal(device_queue_size_set(lab->device, 0, 257), -EINVAL); /* queue_size_max */
	assert_int_equal(device_features_set(lab->device, VIREO_FEATURE(VIREO_F_VERSION_1_BIT)), 0);
	assert_int_equal(device_queue_size_set(lab->device, 0, 100), -EINVAL);
	assert_int_equal(device_queue_base_set(lab->device, 0, 0x10000), -EINVAL);
	assert_int_equal(device_features_set(lab->device, VIREO_FEATURE(VIREO_F_VERSION_1_BIT) |
								  VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)),
			 0);
	assert_int_equal(device_queue_size_set(lab->device, 0, 100), 0);
	assert_int_equal(device_queue_base_set(lab->device, 0, 0x80008000), 0);
	lab_free(lab);
}

static void notifier_must_be_an_eventfd(void **state)
{
	struct lab *lab = lab_new(0);
	int ends[2];

	assert_int_equal(device_queue_kick_set(lab->device, 0, lab->memfd), -EINVAL);
	assert_int_equal(device_queue_call_set(lab->device, 0, lab->memfd), -EINVAL);
	assert_int_equal(device_queue_error_set(lab->device, 0, lab->memfd), -EINVAL);
	assert_true(fcntl(lab->memfd, F_GETFD) >= 0); /* still the caller's */
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(device_queue_call_set(lab->device, 0, ends[1]), -EINVAL);
	assert_int_equal(device_queue_error_set(lab->device, 0, ends[1]), -EINVAL);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	lab_free(lab);
}

static void kicks_through_a_pipe_mean_polling(void **state)
{
	struct lab *lab = lab_new(0);
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(device_queue_kick_set(lab->device, 0, ends[0]), 0);
	assert_int_equal(fcntl(ends[0], F_GETFD), -1); /* taken, and of no use */
	assert_int_equal(vireo_queue_kick_fd(vireo_device_queue(lab->device, 0)), -1);
	fd_close(&ends[1]);
	lab_free(lab);
}

static void features_not_offered_are_refused(void **state)
{
	struct lab *lab = lab_new(VIREO_FEATURE(3));

	assert_int_equal(device_features_offered(lab->device), VIREO_FEATURE(3) | VIREO_FEATURE(32));
	assert_int_equal(device_features_set(lab->device, VIREO_FEATURE(4)), -EINVAL);
	lab->type.refused = VIREO_FEATURE(3);
	assert_int_equal(device_features_set(lab->device, VIREO_FEATURE(3)), -EINVAL);
	assert_int_equal(vireo_device_features(lab->device), 0);
	lab->type.refused = 0;
	assert_int_equal(device_features_set(lab->device, VIREO_FEATURE(3)), 0);
	assert_int_equal(vireo_device_features(lab->device), VIREO_FEATURE(3));
	lab_free(lab);
}

/* Not even a driver that says FEATURES_OK to somebody between us and it can be refused any more. */
static void feature_without_what_it_needs_is_not_agreed_on(void **state)
{
	static const struct {
		uint64_t accepted, agreed;
	} rows[] = {
		{ VIREO_FEATURE(6), 0 },
		{ VIREO_FEATURE(7) | VIREO_FEATURE(3), VIREO_FEATURE(3) },
		{ VIREO_FEATURE(7) | VIREO_FEATURE(6), 0 }, /* what needs it in turn goes along */
		{ VIREO_FEATURE(6) | VIREO_FEATURE(5), VIREO_FEATURE(6) | VIREO_FEATURE(5) },
		{ VIREO_FEATURE(6) | VIREO_FEATURE(4), VIREO_FEATURE(6) | VIREO_FEATURE(4) },
		{ VIREO_FEATURE(7) | VIREO_FEATURE(6) | VIREO_FEATURE(4), VIREO_FEATURE(7) | VIREO_FEATURE(6) | VIREO_FEATURE(4) },
	};
	struct lab *lab = lab_new(0xf8);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(device_features_set(lab->device, rows[i].accepted), 0);
		assert_int_equal(vireo_device_features(lab->device), rows[i].agreed);
		assert_int_equal(lab->type.features, rows[i].agreed);
	}
	assert_non_null(strstr(lab->log, "the driver accepts SIX without FIVE or FOUR, SEVEN without SIX: not agreed on"));
	lab_free(lab);
}

static void reset_forgets_queues_and_keeps_memory(void **state)
{
	struct lab *lab = lab_new(0);
	struct map *map;

	share_memory(lab, MEMORY_BYTES);
	map = device_map(lab->device);
	queue_set(lab, 0);
	device_queue_enable(lab->device, 0, true);
	device_resume(lab->device);
	quiesce(lab);
	device_status_set(lab->device, 0);
	assert_int_equal(lab->type.resets, 1);
	assert_int_equal(lab->type.ended[0], 1);
	assert_false(vireo_queue_enabled(vireo_device_queue(lab->device, 0)));
	assert_ptr_equal(device_map(lab->device), map);
	device_resume(lab->device);
	assert_int_equal(lab->type.started[0], 1);
	lab_free(lab);
}

static void config_space_is_bounded_and_written_only_where_the_type_allows(void **state)
{
	struct lab *lab = lab_new(0);
	char data[9] = "";

	assert_int_equal(device_config_read(lab->device, 0, data, 8), 0);
	assert_string_equal(data, "abcdefgh");
	assert_int_equal(device_config_read(lab->device, 8, data, 0), 0);
	assert_int_equal(device_config_read(lab->device, 1, data, 8), -EINVAL);
	assert_int_equal(device_config_read(lab->device, UINT32_MAX, data, 1), -EINVAL);
	assert_int_equal(device_config_read(lab->device, 1, data, UINT32_MAX), -EINVAL);
	assert_int_equal(device_config_write(lab->device, 0, "X", 1), 0);
	assert_int_equal(device_config_write(lab->device, 4, "Y", 1), -EPERM);
	assert_int_equal(device_config_write(lab->device, 7, "YY", 2), -EINVAL);
	assert_int_equal(lab->config_changes, 0);
	assert_int_equal(vireo_device_config_set(lab->device, 7, "Z", 1), 0);
	assert_int_equal(vireo_device_config_set(lab->device, 8, "Z", 1), -EINVAL);
	assert_int_equal(lab->config_changes, 1);
	assert_int_equal(device_config_read(lab->device, 0, data, 8), 0);
	assert_string_equal(data, "XbcdefgZ");
	lab_free(lab);
}

static void one_transport_at_a_time(void **state)
{
	struct lab *lab = lab_new(0);

	assert_int_equal(device_attach(lab->device, lab->loop, &transport, lab), -EBUSY);
	lab_free(lab);
}

static void bad_configs_are_refused(void **state)
{
	struct vireo_device_config good = { .size = sizeof(good), .queue_count = 1, .ops = &ops }, bad;
	struct vireo_device *device = NULL;

	assert_int_equal(vireo_device_new(&good, &device), 0);
	vireo_device_free(device);
	device = NULL;
	bad = good, bad.queue_count = 0;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.queue_count = 1025;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.control_queues = 2;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.control_queues = bad.control_queues_first = 1;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.queue_size_max = 32769;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.config_bytes = 1;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.ops = NULL;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	bad = good, bad.size = 0;
	assert_int_equal(vireo_device_new(&bad, &device), -EINVAL);
	assert_null(device);
	vireo_device_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chain_of_more_pieces_than_the_device_takes_breaks_it),
		cmocka_unit_test(without_a_bound_room_that_is_too_small_is_the_callers_to_mend),
		cmocka_unit_test(each_queue_keeps_its_own_pointer),
		cmocka_unit_test(memory_table_is_read_and_outlives_what_the_peer_takes_away),
		cmocka_unit_test(memory_of_a_session_that_is_over_ends_no_other),
		cmocka_unit_test(ring_in_pieces_of_guest_memory_is_not_logged_as_one),
		cmocka_unit_test(queue_starts_when_complete_without_a_kick),
		cmocka_unit_test(start_publishes_that_kicks_are_wanted_and_signals_once),
		cmocka_unit_test(driver_ok_gates_queues_only_where_status_is_required),
		cmocka_unit_test(eventfd_with_too_many_waiters_is_raised_seldom),
		cmocka_unit_test(slow_signal_is_owed_and_made_elsewhere_until_one_is_quick),
		cmocka_unit_test(signals_that_are_slow_inline_add_up),
		cmocka_unit_test(signals_that_are_as_slow_as_our_own_are_nobodys_fault),
		cmocka_unit_test(signal_that_is_quick_when_it_is_made_aside_again_is_nobodys_fault),
		cmocka_unit_test(signals_that_are_slow_by_whatever_reason_come_later),
		cmocka_unit_test(rests_that_follow_each_other_grow_and_are_told_once),
		cmocka_unit_test(who_is_quick_between_slow_signals_takes_one_percent_all_the_same),
		cmocka_unit_test(so_does_who_is_quick_between_slow_stops),
		cmocka_unit_test(signal_that_is_owed_is_made_before_the_queue_is_quiet),
		cmocka_unit_test(queue_that_stops_does_not_cut_rests_short_again_and_again),
		cmocka_unit_test(front_end_that_comes_again_is_signalled_aside),
		cmocka_unit_test(signal_is_made_at_once_where_there_is_no_timer_for_the_rest),
		cmocka_unit_test(call_that_is_set_anew_is_signalled_inline),
		cmocka_unit_test(slow_raise_of_a_bells_own_thread_counts_once),
		cmocka_unit_test(slow_raises_of_a_bells_own_thread_are_made_seldom),
		cmocka_unit_test(bell_that_needs_its_thread_no_more_is_measured),
		cmocka_unit_test(error_eventfd_with_too_many_waiters_pauses_signals),
		cmocka_unit_test(log_s_eventfd_with_too_many_waiters_is_raised_seldom),
		cmocka_unit_test(error_signal_that_is_slow_once_is_nobodys_fault),
		cmocka_unit_test(slow_signals_of_a_transport_are_made_elsewhere_and_seldom),
		cmocka_unit_test(signal_that_takes_long_and_no_cpu_is_nobodys_fault),
		cmocka_unit_test(chains_go_round_and_the_driver_is_signalled),
		cmocka_unit_test(quiesce_waits_for_every_queue),
		cmocka_unit_test(quiesce_of_one_queue_leaves_the_others_running),
		cmocka_unit_test(stop_tells_where_the_ring_stands_and_a_kick_starts_it_there),
		cmocka_unit_test(queue_that_stops_and_starts_again_has_not_ended),
		cmocka_unit_test(queue_that_does_not_start_again_has_ended_once),
		cmocka_unit_test(queue_that_is_set_up_elsewhere_while_it_stands_still_has_ended),
		cmocka_unit_test(control_queue_is_served_at_start_and_on_each_kick),
		cmocka_unit_test(control_queue_that_leaves_chains_is_called_again),
		cmocka_unit_test(control_queue_without_a_kick_fd_is_polled),
		cmocka_unit_test(control_queues_may_be_the_first_ones),
		cmocka_unit_test(control_queue_that_keeps_chains_is_asked_for),
		cmocka_unit_test(control_queue_that_has_been_asked_for_is_not_served),
		cmocka_unit_test(control_queue_that_is_filled_is_called_for_kicks_alone),
		cmocka_unit_test(broken_ring_in_a_worker_is_told_once_in_the_control_thread),
		cmocka_unit_test(break_from_the_model_ends_the_session_and_is_forgotten_with_it),
		cmocka_unit_test(error_fd_is_raised_for_the_broken_queue),
		cmocka_unit_test(ring_set_up_outside_memory_breaks_the_device),
		cmocka_unit_test(ring_from_under_which_memory_is_taken_waits_for_it),
		cmocka_unit_test(grown_ring_is_checked_against_memory_again),
		cmocka_unit_test(queue_index_is_checked_in_all_32_bits),
		cmocka_unit_test(sizes_and_bases_that_cannot_be_are_refused),
		cmocka_unit_test(notifier_must_be_an_eventfd),
		cmocka_unit_test(kicks_through_a_pipe_mean_polling),
		cmocka_unit_test(features_not_offered_are_refused),
		cmocka_unit_test(feature_without_what_it_needs_is_not_agreed_on),
		cmocka_unit_test(reset_forgets_queues_and_keeps_memory),
		cmocka_unit_test(config_space_is_bounded_and_written_only_where_the_type_allows),
		cmocka_unit_test(one_transport_at_a_time),
		cmocka_unit_test(bad_configs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
