/* SPDX-License-Identifier: BSD-3-Clause */

/* A function is opened, started, used and closed; and every way that it can be odd. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "driver/virtio_pci/physical.h"
#include "test_function.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MASK(bit) (UINT64_C(1) << (bit))
#define PLATFORM (MASK(PCI_F_VERSION_1_BIT) | MASK(PCI_F_ACCESS_PLATFORM_BIT))
#define BUFFER_BYTES 64u

static struct test_function f;

static int setup(void **state)
{
	test_function_init(&f);
	return 0;
}

static int teardown(void **state)
{
	test_function_fini(&f);
	return 0;
}

static struct vireo_pci *open_good(uint64_t features)
{
	struct vireo_pci *pci = NULL;

	f.offered |= features;
	assert_int_equal(test_function_open(&f, features, &pci), 0);
	return pci;
}

static void expect_refusal(int err)
{
	struct vireo_pci *pci = NULL;

	assert_int_equal(test_function_open(&f, 0, &pci), err);
	assert_null(pci);
	assert_int_equal(f.closed, 1);
	assert_string_not_equal(test_complaint, "");
}

static int ring_open(struct vireo_pci *pci, unsigned index, unsigned entries, bool signals)
{
	const struct vireo_pci_ring_config config = {
		.size = sizeof(config),
		.entries = entries,
		.buffer_bytes = BUFFER_BYTES,
		.signals = signals,
	};

	return vireo_pci_ring_open(pci, index, &config);
}

static bool readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 1;
}

/* ---- opening ---- */

static void the_status_goes_up_step_by_step(void **state)
{
	static const uint8_t steps[] = { 0, 1, 3, 11, 15, 0 };
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	assert_int_equal(vireo_pci_start(pci), -EINVAL);
	vireo_pci_close(pci);
	assert_int_equal(f.status_write_count, sizeof(steps));
	assert_memory_equal(f.status_writes, steps, sizeof(steps));
}

static void close_resets_and_takes_memory_away(void **state)
{
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	assert_true(f.command & PCI_COMMAND_MASTER);
	assert_true(f.command & PCI_COMMAND_MEMORY);
	vireo_pci_close(pci);
	assert_int_equal(f.status, 0);
	assert_false(f.command & PCI_COMMAND_MASTER);
	assert_int_equal(f.closed, 1);
}

static void features_are_what_both_have(void **state)
{
	struct vireo_pci *pci;

	f.offered |= MASK(PCI_F_RING_PACKED_BIT) | MASK(PCI_F_NOTIFICATION_DATA_BIT) | MASK(5);
	assert_int_equal(
		test_function_open(
			&f, MASK(PCI_F_RING_PACKED_BIT) | MASK(PCI_F_NOTIFICATION_DATA_BIT) | MASK(7), &pci),
		0);
	assert_int_equal(vireo_pci_features(pci), PLATFORM | MASK(PCI_F_RING_PACKED_BIT));
	assert_int_equal(f.accepted, vireo_pci_features(pci));
	vireo_pci_close(pci);
}

static void a_required_feature_that_lacks_is_named(void **state)
{
	const struct vireo_pci_config config = { .size = sizeof(config),
						 .address = "0000:00:04.0",
						 .features_required = MASK(22) };
	struct vireo_pci *pci;

	assert_int_equal(pci_open_access(&config, &f.access, &pci), -ENOTSUP);
	assert_int_equal(f.closed, 1);
}

static void a_modern_function_offers_version_1(void **state)
{
	f.offered &= ~MASK(PCI_F_VERSION_1_BIT);
	expect_refusal(-ENOTSUP);
}

static void features_that_are_not_accepted_end_it(void **state)
{
	f.refuses_features = true;
	expect_refusal(-ENOTSUP);
	assert_int_equal(f.status, 0);
}

static void a_function_that_passes_by_its_iommu_is_refused(void **state)
{
	f.offered &= ~MASK(PCI_F_ACCESS_PLATFORM_BIT);
	expect_refusal(-ENOTSUP);
	assert_non_null(strstr(test_complaint, "iommu_platform=on"));
}

static void physical_addresses_do_not_go_through_an_iommu(void **state)
{
	f.ops.dma_map = NULL;
	expect_refusal(-ENOTSUP);
	assert_non_null(strstr(test_complaint, "vfio-pci"));
}

static void physical_addresses_are_for_functions_that_no_iommu_translates(void **state)
{
	struct vireo_pci *pci;

	f.ops.dma_map = NULL;
	f.offered &= ~MASK(PCI_F_ACCESS_PLATFORM_BIT); /* passes by it */
	assert_int_equal(test_function_open(&f, 0, &pci), 0);
	vireo_pci_close(pci);
	f.access.translated = false; /* there is none */
	f.offered |= MASK(PCI_F_ACCESS_PLATFORM_BIT);
	assert_int_equal(test_function_open(&f, 0, &pci), 0);
	vireo_pci_close(pci);
}

static void a_reset_may_take_a_while(void **state)
{
	struct vireo_pci *pci;

	f.status = 15;
	f.reset_reads = 10;
	assert_int_equal(test_function_open(&f, 0, &pci), 0);
	vireo_pci_close(pci);
}

static void a_device_that_never_leaves_reset_is_given_up(void **state)
{
	f.status = 15;
	f.never_resets = true;
	f.timeout_ms = 50;
	expect_refusal(-ETIMEDOUT);
}

static void a_function_that_is_gone_is_no_hang(void **state)
{
	f.gone = true;
	expect_refusal(-ENODEV);
}

static void a_function_that_goes_while_it_is_used_can_be_closed(void **state)
{
	struct vireo_pci *pci = open_good(0);
	uint8_t byte;

	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	f.gone = true;
	assert_int_equal(vireo_pci_interrupt(pci), -ENODEV);
	assert_int_equal(vireo_pci_config_read(pci, 0, &byte, 1), -ENODEV);
	vireo_pci_close(pci);
	assert_int_equal(f.closed, 1);
}

/* Each look at the status takes some time; what a reset has taken is not there for what comes after it. */
static void look_slowly(struct test_function *function)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	nanosleep(&pause, NULL);
}

static void all_waiting_together_has_one_end(void **state)
{
	struct vireo_pci *pci;

	f.status = 15;
	f.reset_reads = 10;
	f.meanwhile = look_slowly;
	pci = open_good(0);
	assert_in_range(pci->patience_ms, 0, f.timeout_ms - 40);
	vireo_pci_close(pci);
}

static void what_somebody_else_resets_is_not_ours(void **state)
{
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_check(pci), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	assert_int_equal(vireo_pci_check(pci), 0);
	f.status = 0;
	assert_int_equal(vireo_pci_check(pci), -ESTALE);
	assert_int_equal(vireo_pci_interrupt(pci), -ESTALE);
	vireo_pci_close(pci);
}

static void what_somebody_else_cuts_off_from_memory_is_not_ours(void **state)
{
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	f.config[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MASTER;
	assert_int_equal(vireo_pci_check(pci), -ESTALE);
	vireo_pci_close(pci);
}

static void halt_ends_its_access_to_memory(void **state)
{
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	assert_int_equal(vireo_pci_halt(pci), 0);
	assert_false(f.command & PCI_COMMAND_MASTER);
	assert_true(f.command & PCI_COMMAND_MEMORY);
	vireo_pci_close(pci);
}

static void that_the_kernel_wants_it_back_is_told(void **state)
{
	struct vireo_pci *pci = open_good(0);

	f.ownership = -ECANCELED;
	assert_int_equal(vireo_pci_check(pci), -ECANCELED);
	vireo_pci_close(pci);
	assert_int_equal(f.status, 0);
}

/* ---- whose memory it is after closing ---- */

static bool mapped(void *at)
{
	return !msync((void *)((uintptr_t)at & ~(uintptr_t)(getpagesize() - 1)), 1, MS_ASYNC);
}

/* Started, and from now on as if it knew physical addresses. */
static struct vireo_pci *start_physical(void **memory)
{
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, false), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
	*memory = pci->queues[0].memory.host;
	f.ops.dma_map = NULL;
	return pci;
}

static void memory_is_given_back_once_it_is_reset(void **state)
{
	void *memory;
	struct vireo_pci *pci = start_physical(&memory);

	f.config_write_fails = true; /* the reset is enough */
	vireo_pci_close(pci);
	assert_false(mapped(memory));
}

static void memory_is_given_back_without_bus_mastering(void **state)
{
	void *memory;
	struct vireo_pci *pci;

	f.timeout_ms = 50;
	pci = start_physical(&memory);
	f.never_resets = true;
	vireo_pci_close(pci);
	assert_false(mapped(memory));
}

static void memory_that_it_may_write_to_is_kept(void **state)
{
	void *memory;
	struct vireo_pci *pci;

	f.timeout_ms = 50;
	pci = start_physical(&memory);
	f.never_resets = f.config_write_fails = true;
	vireo_pci_close(pci);
	assert_true(mapped(memory));
	assert_non_null(strstr(test_complaint, "not freed"));
	assert_int_equal(f.closed, 1);
	munmap(memory, 1);
}

static void what_was_taken_away_is_let_alone(void **state)
{
	void *memory;
	struct vireo_pci *pci;
	unsigned writes;

	f.access.vectors = 0;
	pci = start_physical(&memory);
	writes = f.status_write_count;
	f.ownership = -ENODEV;
	assert_int_equal(vireo_pci_interrupt(pci), -ENODEV); /* its line says so */
	assert_int_equal(vireo_pci_check(pci), -ENODEV);
	assert_int_equal(vireo_pci_halt(pci), -ENODEV);
	vireo_pci_close(pci);
	assert_int_equal(f.status_write_count, writes);
	assert_true(f.command & PCI_COMMAND_MASTER);
	assert_true(mapped(memory));
	munmap(memory, 1);
}

static void a_function_without_queues_is_a_lie(void **state)
{
	f.queue_count = 0;
	expect_refusal(-EPROTO);
}

static void a_capability_that_lies_is_told(void **state)
{
	f.access.bars[4].bytes = 0x2000;
	expect_refusal(-EPROTO);
	assert_non_null(strstr(test_complaint, "outside its BAR"));
}

/* ---- queues ---- */

static void a_queue_is_as_long_as_both_can(void **state)
{
	struct vireo_pci *pci = open_good(0);

	f.queues[1].size = 8;
	assert_int_equal(ring_open(pci, 0, 16, false), 0);
	assert_int_equal(ring_open(pci, 1, 16, false), 0);
	assert_int_equal(vireo_driver_ring_size(vireo_pci_ring(pci, 0)), 16);
	assert_int_equal(vireo_driver_ring_size(vireo_pci_ring(pci, 1)), 8);
	assert_null(vireo_pci_ring(pci, 2));
	assert_int_equal(ring_open(pci, 0, 16, false), -EEXIST);
	assert_int_equal(ring_open(pci, 5, 16, false), -EINVAL);
	assert_int_equal(ring_open(pci, 2, 24, false), -EINVAL); /* split: a power of two */
	assert_int_equal(vireo_pci_start(pci), 0);
	assert_int_equal(f.queues[0].size, 16);
	assert_true(f.queues[1].enabled);
	assert_false(f.queues[2].enabled);
	assert_int_equal(ring_open(pci, 2, 16, false), -EINVAL); /* too late */
	vireo_pci_close(pci);
}

static void without_an_iommu_a_ring_is_as_long_as_its_buffers_fit(void **state)
{
	const struct vireo_pci_ring_config config = { .size = sizeof(config),
						      .entries = 64,
						      .buffer_bytes = 65536 };
	struct vireo_pci *pci;
	int err;

	f.ops.dma_map = NULL;
	f.access.translated = false;
	pci = open_good(0);
	err = vireo_pci_ring_open(pci, 0, &config);
	if (!err) {
		assert_int_equal(vireo_driver_ring_size(vireo_pci_ring(pci, 0)), 16);
		assert_true(pci->queues[0].memory.bytes <= PHYSICAL_BYTES);
	}
	vireo_pci_close(pci);
	if (err == -EPERM || err == -ENOMEM)
		skip();
	assert_int_equal(err, 0);
}

static void expect_queue_lie(void)
{
	struct vireo_pci *pci = open_good(0);

	assert_int_equal(ring_open(pci, 0, 16, false), -EPROTO);
	vireo_pci_close(pci);
}

static void a_queue_without_entries_is_a_lie(void **state)
{
	f.queues[0].size = 0;
	expect_queue_lie();
}

static void a_split_queue_of_no_power_of_two_is_a_lie(void **state)
{
	f.queues[0].size = 24;
	expect_queue_lie();
}

static void a_queue_longer_than_any_may_be_is_a_lie(void **state)
{
	f.offered |= MASK(PCI_F_RING_PACKED_BIT);
	f.queues[0].size = 0xffff;
	expect_queue_lie();
}

static void a_queue_that_runs_after_a_reset_is_a_lie(void **state)
{
	struct vireo_pci *pci = open_good(0);

	f.queues[0].enabled = true;
	assert_int_equal(ring_open(pci, 0, 16, false), -EPROTO);
	vireo_pci_close(pci);
}

static void a_doorbell_beyond_the_area_is_a_lie(void **state)
{
	f.queues[0].notify_off = TEST_NOTIFY_BYTES / 4;
	expect_queue_lie();
}

/* ---- data ---- */

static uint32_t answer(struct test_function *function, const struct vireo_chain *chain)
{
	assert_int_equal(chain->readable_count, 1);
	assert_int_equal(chain->writable_count, 1);
	assert_memory_equal(chain->iov[0].iov_base, "question", 8);
	memcpy(chain->iov[1].iov_base, "answer", 6);
	return 6;
}

static void ask(struct vireo_pci *pci, unsigned queue, bool table)
{
	struct vireo_driver_ring *ring = vireo_pci_ring(pci, queue);
	uint8_t *memory = vireo_pci_memory(pci, queue);
	const struct iovec iov[] = {
		{ .iov_base = memory, .iov_len = 8 },
		{ .iov_base = memory + BUFFER_BYTES, .iov_len = BUFFER_BYTES },
	};
	uint32_t len_bytes;
	void *cookie;

	f.doorbells[2 * queue] = 0xeeee;
	memcpy(memory, "question", 8);
	memset(memory + BUFFER_BYTES, 0, BUFFER_BYTES);
	assert_int_equal(vireo_driver_ring_add(ring, iov, 1, 1, table, memory), 0);
	assert_true(vireo_driver_ring_kick(ring));
	assert_int_equal(f.doorbells[2 * queue], queue);
	assert_int_equal(vireo_driver_ring_get(ring, &cookie, &len_bytes), 0);
	assert_int_equal(test_function_serve(&f, queue, answer), 1);
	assert_int_equal(vireo_driver_ring_get(ring, &cookie, &len_bytes), 1);
	assert_ptr_equal(cookie, memory);
	assert_int_equal(len_bytes, 6);
	assert_memory_equal(memory + BUFFER_BYTES, "answer", 6);
}

/* Every format and feature, over addresses that are not this process's. */
static void rings_reach_the_device(void **state)
{
	static const uint64_t bits[] = { MASK(PCI_F_RING_PACKED_BIT), MASK(PCI_F_INDIRECT_BIT),
					 MASK(PCI_F_EVENT_IDX_BIT), MASK(PCI_F_IN_ORDER_BIT) };

	for (unsigned variant = 0; variant < 16; variant++) {
		uint64_t features = 0;
		struct vireo_pci *pci;

		for (unsigned b = 0; b < 4; b++)
			features |= variant >> b & 1 ? bits[b] : 0;
		test_function_fini(&f);
		test_function_init(&f);
		pci = open_good(features);
		assert_int_equal(ring_open(pci, 0, 16, false), 0);
		assert_int_equal(ring_open(pci, 3, 32, false), 0);
		assert_int_equal(vireo_pci_start(pci), 0);
		for (unsigned i = 0; i < 100; i++)
			ask(pci, i & 1 ? 3 : 0, i & 2);
		vireo_pci_close(pci);
	}
}

static void memory_of_one_ring_is_not_another_rings(void **state)
{
	struct vireo_pci *pci = open_good(0);
	struct iovec iov = { .iov_len = 16 };

	assert_int_equal(ring_open(pci, 0, 16, false), 0);
	assert_int_equal(ring_open(pci, 1, 16, false), 0);
	iov.iov_base = vireo_pci_memory(pci, 1);
	assert_int_equal(vireo_driver_ring_add(vireo_pci_ring(pci, 0), &iov, 1, 0, false, &iov), -EINVAL);
	assert_int_equal(vireo_driver_ring_add(vireo_pci_ring(pci, 1), &iov, 1, 0, false, &iov), 0);
	vireo_pci_close(pci);
}

/* ---- config space ---- */

static void config_is_read_of_one_generation(void **state)
{
	struct vireo_pci *pci = open_good(0);
	uint8_t data[6];

	f.config_changes = 9;
	assert_int_equal(vireo_pci_config_read(pci, 0, data, sizeof(data)), 0);
	assert_memory_equal(data, f.device_config, sizeof(data));
	assert_int_equal(data[0], data[5]);
	vireo_pci_close(pci);
}

static void config_that_never_settles_is_no_hang(void **state)
{
	struct vireo_pci *pci = open_good(0);
	uint8_t data[6] = { 1 };

	f.config_changes = UINT32_MAX;
	assert_int_equal(vireo_pci_config_read(pci, 0, data, sizeof(data)), -EAGAIN);
	assert_in_range(UINT32_MAX - f.config_changes, 1, 1000); /* however much time it would have had */
	assert_int_equal(data[0], 1);
	assert_non_null(strstr(test_complaint, "keeps changing"));
	vireo_pci_close(pci);
}

static void config_is_read_inside_its_area_only(void **state)
{
	struct vireo_pci *pci = open_good(0);
	uint8_t data[64];

	assert_int_equal(vireo_pci_config_read(pci, 0, data, 64), 0);
	assert_int_equal(vireo_pci_config_read(pci, 63, data, 2), -EINVAL);
	assert_non_null(strstr(test_complaint, "64 bytes"));
	assert_int_equal(vireo_pci_config_read(pci, UINT32_MAX, data, 2), -EINVAL);
	assert_int_equal(vireo_pci_config_read(pci, 0, data, 0), -EINVAL);
	assert_int_equal(vireo_pci_config_write(pci, 64, data, 1), -EINVAL);
	vireo_pci_close(pci);
}

static void config_is_written_field_by_field(void **state)
{
	static const uint8_t mac[] = { 2, 0, 0, 1, 2, 3 };
	struct vireo_pci *pci = open_good(0);
	uint32_t word = 0x12345678;

	assert_int_equal(vireo_pci_config_write(pci, 0, mac, sizeof(mac)), 0);
	assert_int_equal(vireo_pci_config_write(pci, 8, &word, sizeof(word)), 0);
	assert_memory_equal(f.device_config, mac, sizeof(mac));
	assert_memory_equal(f.device_config + 8, &word, sizeof(word));
	vireo_pci_close(pci);
}

/* ---- interrupts ---- */

static void start_two(struct vireo_pci *pci)
{
	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(ring_open(pci, 1, 16, false), 0);
	assert_int_equal(ring_open(pci, 2, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), 0);
}

static int call_fd(struct vireo_pci *pci, unsigned queue)
{
	return vireo_driver_ring_call_fd(vireo_pci_ring(pci, queue));
}

static void each_ring_that_signals_has_a_vector(void **state)
{
	struct vireo_pci *pci = open_good(0);

	start_two(pci);
	assert_int_equal(f.fd_count, 3);
	assert_int_equal(f.queues[1].vector, PCI_NO_VECTOR);
	assert_int_equal(call_fd(pci, 1), -1);
	test_function_interrupt(&f, 2);
	assert_false(readable(call_fd(pci, 0)));
	assert_true(readable(call_fd(pci, 2)));
	assert_false(readable(vireo_pci_interrupt_fd(pci)));
	test_function_interrupt(&f, -1);
	assert_true(readable(vireo_pci_interrupt_fd(pci)));
	assert_int_equal(vireo_pci_interrupt(pci), 1);
	assert_false(readable(vireo_pci_interrupt_fd(pci)));
	vireo_pci_close(pci);
}

static void with_too_few_vectors_all_share_one(void **state)
{
	struct vireo_pci *pci;

	f.access.vectors = 2;
	pci = open_good(0);
	start_two(pci);
	assert_int_equal(f.fd_count, 1);
	test_function_interrupt(&f, 2);
	assert_true(readable(vireo_pci_interrupt_fd(pci)));
	assert_int_equal(vireo_pci_interrupt(pci), 1); /* it may have: nobody knows */
	assert_true(readable(call_fd(pci, 0)));
	assert_true(readable(call_fd(pci, 2)));
	assert_false(readable(vireo_pci_interrupt_fd(pci)));
	vireo_pci_close(pci);
}

static void a_device_that_takes_fewer_vectors_than_it_has_shares_one(void **state)
{
	struct vireo_pci *pci = open_good(0);

	f.takes_vectors = 2;
	start_two(pci);
	assert_int_equal(f.queues[0].vector, 0);
	assert_int_equal(f.queues[2].vector, 0);
	test_function_interrupt(&f, 2);
	assert_int_equal(vireo_pci_interrupt(pci), 1);
	assert_true(readable(call_fd(pci, 2)));
	assert_string_equal(test_complaint, "");
	vireo_pci_close(pci);
}

static void without_vectors_the_line_wakes_all(void **state)
{
	struct vireo_pci *pci;

	f.access.vectors = 0;
	pci = open_good(0);
	start_two(pci);
	test_function_interrupt(&f, 0);
	assert_true(readable(vireo_pci_interrupt_fd(pci)));
	assert_int_equal(vireo_pci_interrupt(pci), 0);
	assert_true(readable(call_fd(pci, 0)));
	assert_true(readable(call_fd(pci, 2)));
	assert_int_equal(f.rearmed, 1);
	test_function_interrupt(&f, -1);
	assert_int_equal(vireo_pci_interrupt(pci), 1);
	assert_false(readable(vireo_pci_interrupt_fd(pci)));
	vireo_pci_close(pci);
}

static int no_line(struct pci_access *access, int *ret_fd)
{
	return -ENOTSUP;
}

static void without_any_interrupt_it_is_polled(void **state)
{
	struct vireo_pci *pci;

	f.access.vectors = 0;
	f.ops.line_start = no_line;
	pci = open_good(0);
	start_two(pci);
	assert_int_equal(vireo_pci_interrupt_fd(pci), -1);
	assert_int_equal(vireo_pci_interrupt(pci), 0);
	vireo_pci_close(pci);
}

static void who_polls_is_not_interrupted(void **state)
{
	struct vireo_pci *pci;

	f.no_interrupts = true;
	pci = open_good(0);
	start_two(pci);
	assert_int_equal(vireo_pci_interrupt_fd(pci), -1);
	assert_int_equal(call_fd(pci, 0), -1);
	assert_int_equal(f.fd_count, 0);
	assert_int_equal(f.queues[0].vector, PCI_NO_VECTOR);
	vireo_pci_close(pci);
}

static void a_vector_that_is_refused_is_told(void **state)
{
	struct vireo_pci *pci = open_good(0);

	f.takes_vectors = 0;
	assert_int_equal(ring_open(pci, 0, 16, true), 0);
	assert_int_equal(vireo_pci_start(pci), -EBUSY);
	vireo_pci_close(pci);
	assert_int_equal(f.status, 0);
}

static void a_device_that_asks_for_a_reset_is_heard(void **state)
{
	struct vireo_pci *pci = open_good(0);

	start_two(pci);
	f.status |= PCI_STATUS_NEEDS_RESET;
	test_function_interrupt(&f, -1);
	assert_int_equal(vireo_pci_interrupt(pci), -EIO);
	vireo_pci_close(pci);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_status_goes_up_step_by_step),
		TEST(close_resets_and_takes_memory_away),
		TEST(features_are_what_both_have),
		TEST(a_required_feature_that_lacks_is_named),
		TEST(a_modern_function_offers_version_1),
		TEST(features_that_are_not_accepted_end_it),
		TEST(a_function_that_passes_by_its_iommu_is_refused),
		TEST(physical_addresses_do_not_go_through_an_iommu),
		TEST(physical_addresses_are_for_functions_that_no_iommu_translates),
		TEST(a_reset_may_take_a_while),
		TEST(a_device_that_never_leaves_reset_is_given_up),
		TEST(a_function_that_is_gone_is_no_hang),
		TEST(a_function_that_goes_while_it_is_used_can_be_closed),
		TEST(all_waiting_together_has_one_end),
		TEST(what_somebody_else_resets_is_not_ours),
		TEST(what_somebody_else_cuts_off_from_memory_is_not_ours),
		TEST(halt_ends_its_access_to_memory),
		TEST(that_the_kernel_wants_it_back_is_told),
		TEST(memory_is_given_back_once_it_is_reset),
		TEST(memory_is_given_back_without_bus_mastering),
		TEST(memory_that_it_may_write_to_is_kept),
		TEST(what_was_taken_away_is_let_alone),
		TEST(a_function_without_queues_is_a_lie),
		TEST(a_capability_that_lies_is_told),
		TEST(a_queue_is_as_long_as_both_can),
		TEST(without_an_iommu_a_ring_is_as_long_as_its_buffers_fit),
		TEST(a_queue_without_entries_is_a_lie),
		TEST(a_split_queue_of_no_power_of_two_is_a_lie),
		TEST(a_queue_longer_than_any_may_be_is_a_lie),
		TEST(a_queue_that_runs_after_a_reset_is_a_lie),
		TEST(a_doorbell_beyond_the_area_is_a_lie),
		TEST(rings_reach_the_device),
		TEST(memory_of_one_ring_is_not_another_rings),
		TEST(config_is_read_of_one_generation),
		TEST(config_that_never_settles_is_no_hang),
		TEST(config_is_read_inside_its_area_only),
		TEST(config_is_written_field_by_field),
		TEST(each_ring_that_signals_has_a_vector),
		TEST(with_too_few_vectors_all_share_one),
		TEST(a_device_that_takes_fewer_vectors_than_it_has_shares_one),
		TEST(without_vectors_the_line_wakes_all),
		TEST(without_any_interrupt_it_is_polled),
		TEST(who_polls_is_not_interrupted),
		TEST(a_vector_that_is_refused_is_told),
		TEST(a_device_that_asks_for_a_reset_is_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
