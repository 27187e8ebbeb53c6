/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/opener_lab.h"
#include "wire/iotlb.h"

/*
 * VIRTIO_F_ACCESS_PLATFORM: what is missing is asked for by MISS, comes by UPDATE and goes by INVALIDATE. The
 * driver's addresses are IOVA_BASE and what follows; the caller knows that they are its memory from the
 * beginning on.
 */

#define IOVA_BASE UINT64_C(0x10000)
#define PAGE 0x1000u
#define F_IOMMU VIREO_FEATURE(VIRTIO_F_ACCESS_PLATFORM)

static void ring_addressed(struct lab *lab, uint32_t index)
{
	struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = IOVA_BASE + index * 4 * PAGE,
		.avail_user_addr = IOVA_BASE + index * 4 * PAGE + PAGE,
		.used_user_addr = IOVA_BASE + index * 4 * PAGE + 2 * PAGE,
	};

	ring_set_up(lab, index);
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
}

/* Everything but the back end, and no window yet. */
static struct lab *translated(uint64_t backend_features)
{
	struct lab *lab = lab_new();

	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask_u64(lab, VHOST_SET_BACKEND_FEATURES, backend_features), 0);
	assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1 | F_IOMMU), 0);
	assert_int_equal(share_memory(lab), 0);
	ring_addressed(lab, 0);
	return lab;
}

static int tell_perm(struct lab *lab, uint8_t type, uint8_t perm, uint64_t iova, uint64_t offset,
		     uint64_t bytes)
{
	const struct iotlb_message message = {
		.v2 = true,
		.type = type,
		.perm = perm,
		.iova = iova,
		.uaddr = (uintptr_t)lab->memory + offset,
		.size_bytes = bytes,
	};
	uint8_t data[IOTLB_MESSAGE_BYTES];
	int r;

	iotlb_build(&message, data);
	r = ask_write_as(lab, getpid(), data, sizeof(data));
	pump(lab);
	return r;
}

static int tell(struct lab *lab, uint8_t type, uint64_t iova, uint64_t offset, uint64_t bytes)
{
	return tell_perm(lab, type, VHOST_ACCESS_RW, iova, offset, bytes);
}

static int update_perm(struct lab *lab, uint8_t perm, uint64_t iova, uint64_t bytes)
{
	return tell_perm(lab, VHOST_IOTLB_UPDATE, perm, iova, iova - IOVA_BASE, bytes);
}

static int update(struct lab *lab, uint64_t iova, uint64_t bytes)
{
	return tell(lab, VHOST_IOTLB_UPDATE, iova, iova - IOVA_BASE, bytes);
}

/* The IOVA of the MISS that is there to read; 0: none. */
static uint64_t missed(struct lab *lab, uint8_t *ret_perm)
{
	struct vhost_msg_v2 message = { 0 };
	int r = ask_read(lab, true, &message, sizeof(message));

	if (r == -EAGAIN)
		return 0;
	assert_int_equal(r, sizeof(message));
	assert_int_equal(message.type, VHOST_IOTLB_MSG_V2);
	assert_int_equal(message.iotlb.type, VHOST_IOTLB_MISS);
	if (ret_perm)
		*ret_perm = message.iotlb.perm;
	return message.iotlb.iova;
}

static struct lab *running(void)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);

	assert_int_equal(update(lab, IOVA_BASE, 4 * PAGE), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	return lab;
}

static void put_chain_in(struct lab *lab, uint32_t index, uint64_t iova, uint32_t bytes, uint16_t flags)
{
	uint8_t *ring = lab->memory + index * 4 * PAGE;
	struct split_desc *desc = (struct split_desc *)(void *)ring;
	struct split_avail *avail = (struct split_avail *)(void *)(ring + PAGE);
	uint16_t slot = avail->idx % SIZE;

	desc[slot] = (struct split_desc){ .addr = iova, .len = bytes, .flags = flags };
	avail->ring[slot] = slot;
	__atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
}

static void put_chain(struct lab *lab, uint64_t iova, uint32_t bytes, uint16_t flags)
{
	put_chain_in(lab, 0, iova, bytes, flags);
}

static int pop_from(struct lab *lab, uint32_t index, struct vireo_chain *chain, struct iovec *iov)
{
	struct vireo_queue *queue = lab->devices[0].type.running[index];
	int r = queue ? vireo_queue_pop(queue, chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)) : 0;

	pump(lab);
	return r;
}

static int pop(struct lab *lab, struct vireo_chain *chain, struct iovec *iov)
{
	return pop_from(lab, 0, chain, iov);
}

static void ring_waits_until_all_of_it_is_there(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);
	uint8_t perm = 0;

	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	pump(lab);
	assert_int_equal(missed(lab, &perm), IOVA_BASE);
	assert_int_equal(perm, VHOST_ACCESS_RO);
	assert_int_equal(update(lab, IOVA_BASE, PAGE), 0);
	assert_int_equal(missed(lab, &perm), IOVA_BASE + PAGE);
	assert_int_equal(update(lab, IOVA_BASE + PAGE, PAGE), 0);
	assert_int_equal(missed(lab, &perm), IOVA_BASE + 2 * PAGE);
	assert_int_equal(perm, VHOST_ACCESS_RW);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(update(lab, IOVA_BASE + 2 * PAGE, PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), 0);
	lab_free(lab);
}

static void buffer_is_asked_for_and_comes(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };
	uint8_t perm = 0;

	memcpy(lab->memory + 0x9000, "hello", 5);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_null(lab->devices[0].type.running[0]); /* nobody spins on it */
	assert_int_equal(missed(lab, &perm), IOVA_BASE + 0x9000);
	assert_int_equal(perm, VHOST_ACCESS_RO);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	assert_memory_equal(iov[0].iov_base, "hello", 5);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	lab_free(lab);
}

static void buffer_to_be_written_is_asked_for_as_such(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };
	uint8_t perm = 0;

	put_chain(lab, IOVA_BASE + 0x9000, 2 * PAGE, DESC_F_WRITE);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, &perm),
			 IOVA_BASE + 0xa000); /* the page that is missing, not the first */
	assert_int_equal(perm, VHOST_ACCESS_RW);
	lab_free(lab);
}

/*
 * A page that the driver may only let us read, as a buffer to be written: its guest's IOMMU forbids it. An
 * answer that does not help is not asked for again at once.
 */
static void page_mapped_for_reading_is_not_written_to(void **state)
{
	for (int wide = 0; wide < 2; wide++) { /* its neighbour may be written */
		struct lab *lab = running();
		struct pollfd poll_fd = { .fd = vireo_endpoint_fd(&lab->endpoint->base), .events = POLLIN };
		struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
		struct vireo_chain chain = { 0 };
		uint64_t page = IOVA_BASE + (wide ? 0xa000 : 0x9000);
		uint8_t perm = 0;

		put_chain(lab, IOVA_BASE + 0x9000, wide ? 2 * PAGE : PAGE, DESC_F_WRITE);
		assert_int_equal(update(lab, IOVA_BASE + 0x9000, 2 * PAGE), 0);
		assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, page, PAGE), 0); /* takes its place */
		if (wide)
			assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
		assert_int_equal(pop(lab, &chain, iov), 0);
		assert_int_equal(missed(lab, &perm), page);
		assert_int_equal(perm, VHOST_ACCESS_RW);
		assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, page, PAGE), 0);
		assert_int_equal(missed(lab, NULL), 0);
		assert_null(lab->devices[0].type.running[0]);
		assert_int_equal(poll(&poll_fd, 1, 10000), 1);
		pump(lab);
		assert_int_equal(missed(lab, NULL), page);
		assert_int_equal(update(lab, page, PAGE), 0);
		assert_int_equal(pop(lab, &chain, iov), 1);
		assert_int_equal(chain.writable_bytes, wide ? 2 * PAGE : PAGE);
		vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
		lab_free(lab);
	}
}

static void page_mapped_for_reading_is_read(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	memcpy(lab->memory + 0x9000, "hello", 5);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(update_perm(lab, VHOST_ACCESS_WO, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	assert_memory_equal(iov[0].iov_base, "hello", 5);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	lab_free(lab);
}

/*
 * Each area of a ring is asked for with what it needs, and two of them may share a page, or lie in several.
 */
static void ring_needs_no_more_than_its_areas_do(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);

	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	pump(lab);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(missed(lab, NULL), IOVA_BASE + i * PAGE);
	assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, IOVA_BASE, 64), 0); /* half of the descriptors */
	assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, IOVA_BASE + PAGE, PAGE), 0);
	assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, IOVA_BASE + 2 * PAGE, PAGE), 0);
	assert_int_equal(missed(lab, NULL), 0); /* the used ring is written to: the answer was none */
	assert_int_equal(update(lab, IOVA_BASE + 2 * PAGE, PAGE), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 64);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(update_perm(lab, VHOST_ACCESS_RW, IOVA_BASE + 64, PAGE - 64), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* Larger rings get pages from anywhere, which are neighbours in the IOMMU's addresses alone. */
static void ring_of_scattered_pages_runs(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);
	struct vhost_vring_addr addr = {
		.desc_user_addr =
			IOVA_BASE + PAGE - 64, /* of 128 bytes: over the edge of a page, as the others */
		.avail_user_addr = IOVA_BASE + 2 * PAGE - 12,
		.used_user_addr = IOVA_BASE + 3 * PAGE - 36,
	};
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_queue *queue;
	struct vireo_chain chain = { 0 };
	uint16_t used = 0;

	/* The driver's pages 0, 1, 2, 3 are the pages 8, 6, 4, 2 of memory. */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
			tell(lab, VHOST_IOTLB_UPDATE, IOVA_BASE + i * PAGE, (8 - 2 * i) * PAGE, PAGE), 0);
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
	/* Entry 4 is the first of the table's second page; slot 4 of the available ring likewise. */
	*(struct split_desc *)(void *)(lab->memory + 6 * PAGE) =
		(struct split_desc){ .addr = IOVA_BASE, .len = 5 };
	for (unsigned i = 0; i < 4; i++)
		*(uint16_t *)(void *)(lab->memory + 7 * PAGE - 12 + 4 + 2 * i) = 4;
	*(uint16_t *)(void *)(lab->memory + 4 * PAGE) = 4;
	*(uint16_t *)(void *)(lab->memory + 7 * PAGE - 12 + 2) = 5;
	memcpy(lab->memory + 8 * PAGE, "hello", 5);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	queue = lab->devices[0].type.running[0];
	assert_non_null(queue);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov)), 1);
		assert_memory_equal(iov[0].iov_base, "hello", 5);
		vireo_queue_push(queue, &chain, 0);
	}
	vireo_queue_flush(queue);
	memcpy(&used, lab->memory + 5 * PAGE - 36 + 2, sizeof(used));
	assert_int_equal(used, 5);
	/* The fifth entry of the used ring is beyond the edge. */
	assert_int_equal(*(uint32_t *)(void *)(lab->memory + 2 * PAGE), 4);
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, 0, 0, 0), 0);
	lab_free(lab);
}

static void miss_is_told_once(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(missed(lab, NULL), 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, 0, lab->call), 0); /* stops and starts what can */
	pump(lab);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), 0);
	lab_free(lab);
}

/* Stopped, laid elsewhere and started again - or laid elsewhere while it has its back end. */
static void ring_set_up_anew_does_not_wait_for_what_it_missed_before(void **state)
{
	for (int stopped = 0; stopped < 2; stopped++) {
		struct lab *lab = running();
		struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
		struct vireo_chain chain = { 0 };
		struct vhost_vring_addr addr = {
			.desc_user_addr = IOVA_BASE + 0x40000,
			.avail_user_addr = IOVA_BASE + 0x41000,
			.used_user_addr = IOVA_BASE + 0x42000,
		};

		put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
		assert_int_equal(pop(lab, &chain, iov), 0);
		assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
		if (stopped)
			assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, -1), 0);
		assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
		if (stopped)
			assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
		pump(lab);
		assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x40000);
		assert_int_equal(update(lab, IOVA_BASE + 0x40000, 4 * PAGE), 0);
		assert_non_null(lab->devices[0].type.running[0]);
		lab_free(lab);
	}
}

/* Stopped and started, where it lies; what is in it is another driver's by now. */
static void ring_that_is_started_again_does_not_wait_for_what_it_missed_before(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, -1), 0);
	((struct split_desc *)(void *)lab->memory)->addr = IOVA_BASE + 3 * PAGE;
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	lab_free(lab);
}

/* What waits is looked for again by whoever changes the table. */
static void miss_is_told_for_each_map(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(update(lab, IOVA_BASE + 0xb000, PAGE), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(missed(lab, NULL), 0);
	lab_free(lab);
}

/* Its reader has died, or has looked before the driver had mapped it. */
static void miss_without_an_answer_is_told_again(void **state)
{
	struct lab *lab = running();
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(&lab->endpoint->base), .events = POLLIN };
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
		assert_int_equal(missed(lab, NULL), 0);
		assert_int_equal(poll(&poll_fd, 1, 10000), 1);
		pump(lab);
	}
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	lab_free(lab);
}

/* ---- looking ahead ---- */

static void put_buffers(struct lab *lab, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put_chain(lab, IOVA_BASE + 0x9000 + i * PAGE, 100, DESC_F_WRITE);
}

static void buffers_behind_the_missing_one_are_asked_for_with_it(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chains[3];
	uint8_t perm = 0;

	put_buffers(lab, 3);
	assert_int_equal(pop(lab, chains, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(missed(lab, NULL), 0); /* as it starts, not before */
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(missed(lab, &perm), IOVA_BASE + 0xa000);
	assert_int_equal(perm, VHOST_ACCESS_RW);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xb000);
	assert_int_equal(update(lab, IOVA_BASE + 0xb000, PAGE), 0);
	assert_int_equal(missed(lab, NULL), 0); /* its answer is on the way */
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(update(lab, IOVA_BASE + 0xa000, PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	assert_int_equal(vireo_queue_pop(lab->devices[0].type.running[0], chains, 3, iov, ARRAY_SIZE(iov)), 3);
	vireo_queue_unpop(lab->devices[0].type.running[0], chains, 3);
	lab_free(lab);
}

/* What no buffer lies in: it was there, and is not any more, so queues look at what they will miss. */
static void something_goes(struct lab *lab)
{
	assert_int_equal(update(lab, IOVA_BASE + 0xf000, PAGE), 0);
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0xf000, 0, PAGE), 0);
}

static void buffers_that_wait_for_a_ring_s_first_start_are_asked_for(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);

	put_buffers(lab, 2);
	assert_int_equal(update(lab, IOVA_BASE, 4 * PAGE), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xa000);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, 2 * PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* The first can be used, and the second is missed when it is met. */
static void what_was_asked_for_ahead_and_never_comes_holds_nobody_up(void **state)
{
	struct lab *lab = running();
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(&lab->endpoint->base), .events = POLLIN };
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_buffers(lab, 2);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_null(lab->devices[0].type.running[0]);
	while (!lab->devices[0].type.running[0]) {
		assert_int_equal(poll(&poll_fd, 1, 10000), 1);
		pump(lab);
	}
	while (missed(lab, NULL))
		;
	assert_int_equal(pop(lab, &chain, iov), 1);
	assert_int_equal(chain.writable_bytes, 100);
	vireo_queue_push(lab->devices[0].type.running[0], &chain, 100);
	vireo_queue_flush(lab->devices[0].type.running[0]);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xa000);
	assert_int_equal(update(lab, IOVA_BASE + 0xa000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	lab_free(lab);
}

static void what_was_asked_for_ahead_is_asked_for_again_after_an_invalidate(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_buffers(lab, 2);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	while (missed(lab, NULL))
		;
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0x9000, 0, PAGE), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xa000);
	assert_int_equal(update(lab, IOVA_BASE + 0xa000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	lab_free(lab);
}

static void with_enough_buffers_a_queue_runs_while_others_are_asked_for(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chains[5];
	uint64_t iova;
	bool write;

	put_buffers(lab, 5);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, 4 * PAGE), 0);
	assert_int_equal(missed(lab, NULL), 0); /* nothing has been taken away since it last looked */
	something_goes(lab);
	assert_non_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xd000);
	assert_int_equal(missed(lab, NULL), 0);
	for (unsigned i = 0; i < 3; i++) { /* other answers come first */
		assert_int_equal(update(lab, IOVA_BASE + 0x10000 + i * PAGE, PAGE), 0);
		assert_non_null(lab->devices[0].type.running[0]);
	}
	assert_int_equal(update(lab, IOVA_BASE + 0xd000, PAGE), 0);
	assert_false(device_queue_missed(lab->opener->device, 0, 0, &iova, &write)); /* it has come while it ran */
	assert_int_equal(vireo_queue_pop(lab->devices[0].type.running[0], chains, 5, iov, ARRAY_SIZE(iov)), 5);
	vireo_queue_unpop(lab->devices[0].type.running[0], chains, 5);
	lab_free(lab);
}

/* The first four are there: it does not wait for the other ones. */
static void what_is_needed_later_is_not_waited_for(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);

	put_buffers(lab, 6);
	assert_int_equal(update(lab, IOVA_BASE, 4 * PAGE), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000 + i * PAGE);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, 4 * PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* Who keeps taking something away cannot keep a queue from running that waits for what never comes. */
static void what_never_comes_is_not_waited_for_twice(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(&lab->endpoint->base), .events = POLLIN };

	put_buffers(lab, 2);
	assert_int_equal(update(lab, IOVA_BASE, 5 * PAGE), 0);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_null(lab->devices[0].type.running[0]);
	while (!lab->devices[0].type.running[0]) {
		assert_int_equal(poll(&poll_fd, 1, 10000), 1);
		pump(lab);
	}
	while (missed(lab, NULL))
		;
	something_goes(lab);
	assert_non_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xa000); /* but asked for */
	lab_free(lab);
}

/* It would have to wait for buffers, too, and there was no room to ask for its own pages. */
static void ring_s_own_pages_are_asked_for_before_buffers(void **state)
{
	struct lab *lab = running();
	uint64_t iova;

	put_buffers(lab, 6);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, 4 * PAGE), 0);
	something_goes(lab); /* it looks */
	assert_non_null(lab->devices[0].type.running[0]);
	while (missed(lab, NULL))
		;
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE, 0, 4 * PAGE), 0);
	assert_null(lab->devices[0].type.running[0]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(missed(lab, NULL), IOVA_BASE + i * PAGE);
	assert_int_equal(missed(lab, NULL), 0);
	assert_int_equal(update(lab, IOVA_BASE, 4 * PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	for (iova = IOVA_BASE + 0xd000; iova <= IOVA_BASE + 0xe000; iova += PAGE)
		assert_int_equal(missed(lab, NULL), iova);
	lab_free(lab);
}

/* Its addresses are the caller's own, behind the IOMMU and without it, but for a buffer's, which is nowhere. */
static void without_an_iommu_nothing_is_waited_for_any_more(void **state)
{
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);

	ring_set_up(lab, 0);
	put_chain(lab, IOVA_BASE, 100, DESC_F_WRITE);
	assert_int_equal(tell(lab, VHOST_IOTLB_UPDATE, (uintptr_t)lab->memory, 0, MEMORY_BYTES), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void a_queue_that_is_stopped_asks_for_nothing_ahead(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_buffers(lab, 3);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, -1), 0);
	assert_int_equal(missed(lab, NULL), 0);
	lab_free(lab);
}

static void other_queues_go_on(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	assert_int_equal(update(lab, IOVA_BASE + 4 * PAGE, 4 * PAGE), 0);
	ring_addressed(lab, 1);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 1, lab->memfd), 0);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_non_null(lab->devices[0].type.running[1]);
	lab_free(lab);
}

/* UPDATE of what nobody has yet: a queue that holds its chains is not asked for them, and meets it where it lies. */
static void update_that_takes_nothing_away_stops_nobody(void **state)
{
	struct lab *lab = running();
	struct iovec iov[2 * VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 }, other = { 0 };
	unsigned stopped;

	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	lab->devices[0].type.late = true;
	stopped = lab->devices[0].type.stopped[0];
	assert_int_equal(update(lab, IOVA_BASE + 0xa000, PAGE), 0);
	assert_int_equal(update_perm(lab, VHOST_ACCESS_RO, IOVA_BASE + 0xb000, PAGE), 0);
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0xc000, 0, PAGE), 0); /* nothing is there */
	assert_int_equal(lab->devices[0].type.stopped[0], stopped);
	put_chain(lab, IOVA_BASE + 0xa000, 5, 0);
	assert_int_equal(pop(lab, &other, iov + VIREO_CHAIN_PIECES_MAX(SIZE)), 1);
	vireo_queue_unpop(lab->devices[0].type.running[0], &other, 1);
	vireo_queue_push(lab->devices[0].type.running[0], &chain, 0);
	/* Of the same place, with less permitted, something is taken away. */
	assert_int_equal(tell_perm(lab, VHOST_IOTLB_UPDATE, VHOST_ACCESS_RO, IOVA_BASE + 0xa000, 0xa000, PAGE), PENDING);
	assert_int_equal(lab->devices[0].type.stopped[0], stopped + 1);
	vireo_queue_flush(lab->devices[0].type.running[0]);
	lab->devices[0].type.late = false;
	type_quiesced_all(&lab->devices[0].type);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	lab_free(lab);
}

/* The other one is not asked for its chains, by the miss as little as by the answer. */
static void miss_stops_its_own_queue_alone(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	assert_int_equal(update(lab, IOVA_BASE + 4 * PAGE, 4 * PAGE), 0);
	ring_addressed(lab, 1);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 1, lab->memfd), 0);
	assert_int_equal(lab->devices[0].type.stopped[1], 0);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	assert_int_equal(lab->devices[0].type.stopped[1], 0);
	lab_free(lab);
}

/* The other one misses something while the first is on its way back: it stands still for that, and is asked for it as well. */
static void queue_that_misses_while_another_stops_is_not_forgotten(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	assert_int_equal(update(lab, IOVA_BASE + 4 * PAGE, 4 * PAGE), 0);
	ring_addressed(lab, 1);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 1, lab->memfd), 0);
	lab->devices[0].type.late = true;
	put_chain_in(lab, 0, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop_from(lab, 0, &chain, iov), 0);
	put_chain_in(lab, 1, IOVA_BASE + 0xa000, 5, 0);
	assert_int_equal(pop_from(lab, 1, &chain, iov), 0);
	assert_int_equal(lab->devices[0].type.stopped[1], 0);
	lab->devices[0].type.late = false;
	type_quiesced(&lab->devices[0].type, 0);
	pump(lab);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0xa000);
	assert_int_equal(update(lab, IOVA_BASE + 0x9000, 2 * PAGE), 0);
	for (uint32_t index = 0; index < 2; index++) {
		assert_int_equal(pop_from(lab, index, &chain, iov), 1);
		vireo_queue_unpop(lab->devices[0].type.running[index], &chain, 1);
	}
	lab_free(lab);
}

static void invalidate_takes_the_window_away_before_it_returns(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
	lab->devices[0].type.late = true;
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0x9000, 0, PAGE), PENDING);
	lab->devices[0].type.late = false;
	type_quiesced_all(&lab->devices[0].type);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
	lab_free(lab);
}

static void invalidate_that_was_interrupted_before_its_turn_waits_for_no_renewal(void **state)
{
	struct lab *lab = running();
	struct lab_type *type = &lab->devices[0].type;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };
	struct call *first;
	unsigned stopped = type->stopped[0];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(update(lab, IOVA_BASE + 0x9000 + i * PAGE, PAGE), 0);
	type->late = type->renews = true;
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0x9000, 0, PAGE), PENDING);
	first = last_call(lab);
	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0xa000, 0, PAGE), PENDING);
	opener_interrupt(lab->opener, last_call(lab)->request);
	assert_int_equal(type->stopped[0], stopped);
	put_chain(lab, IOVA_BASE + 0xb000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_unpop(type->running[0], &chain, 1);
	type_renewed(type, 0);
	assert_true(first->answered);
	assert_false(last_call(lab)->answered);
	assert_int_equal(type->stopped[0], stopped + 1);
	type->late = false;
	type->renewals[0] = 0; /* never answered: the queue is given back instead */
	type_quiesced(type, 0);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	lab_free(lab);
}

/* The same address twice: the second time it is asked for again. */
static void window_that_goes_and_is_missed_again_is_asked_for_again(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };

	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pop(lab, &chain, iov), 0);
		assert_int_equal(missed(lab, NULL), IOVA_BASE + 0x9000);
		assert_int_equal(update(lab, IOVA_BASE + 0x9000, PAGE), 0);
		assert_non_null(lab->devices[0].type.running[0]);
		assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, IOVA_BASE + 0x9000, 0, PAGE), 0);
	}
	lab_free(lab);
}

static void ring_that_is_invalidated_waits(void **state)
{
	struct lab *lab = running();

	assert_int_equal(tell(lab, VHOST_IOTLB_INVALIDATE, 0, 0, UINT64_C(1) << 40), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA_BASE);
	assert_int_equal(update(lab, IOVA_BASE, 4 * PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* What a guest unmaps between two lives of its driver is not told. */
static void features_told_again_forget_the_windows(void **state)
{
	struct lab *lab = running();
	uint8_t perm = 0;

	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, -1), 0);
	assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1 | F_IOMMU), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	pump(lab);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, &perm), IOVA_BASE);
	assert_int_equal(perm, VHOST_ACCESS_RO);
	lab_free(lab);
}

static void table_without_the_windows_memory_forgets_them(void **state)
{
	struct lab *lab = running();
	struct table none = { 0 };

	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &none), 0);
	pump(lab);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA_BASE);
	assert_int_equal(share_memory(lab), 0);
	assert_int_equal(update(lab, IOVA_BASE, 4 * PAGE), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* ---- reading ---- */

static void reader_waits_for_a_miss(void **state)
{
	struct lab *lab = running();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)] = { 0 };
	struct vireo_chain chain = { 0 };
	struct vhost_msg_v2 message = { 0 };

	assert_int_equal(ask_read(lab, false, &message, sizeof(message)), PENDING);
	put_chain(lab, IOVA_BASE + 0x9000, 5, 0);
	assert_int_equal(pop(lab, &chain, iov), 0);
	assert_true(last_call(lab)->answered);
	assert_int_equal(message.iotlb.iova, IOVA_BASE + 0x9000);
	lab_free(lab);
}

static void reader_may_be_interrupted(void **state)
{
	struct lab *lab = running();
	struct vhost_msg_v2 message = { 0 };
	struct request *request;

	assert_int_equal(ask_read(lab, false, &message, sizeof(message)), PENDING);
	request = last_call(lab)->request;
	opener_interrupt(lab->opener, request);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, -EINTR);
	assert_int_equal(ask_read(lab, true, &message, sizeof(message)), -EAGAIN);
	lab_free(lab);
}

static void reader_does_not_outlive_the_opener(void **state)
{
	struct lab *lab = running();
	struct vhost_msg_v2 message = { 0 };

	assert_int_equal(ask_read(lab, false, &message, sizeof(message)), PENDING);
	vireo_endpoint_close(&lab->endpoint->base, on_closed, lab);
	lab->endpoint = NULL;
	assert_true(last_call(lab)->answered);
	assert_true(last_call(lab)->r < 0);
	lab_free(lab);
}

static void short_read_gets_nothing(void **state)
{
	struct lab *lab = running();
	struct vhost_msg_v2 message = { 0 };

	assert_int_equal(ask_read(lab, true, &message, sizeof(message) - 1), 0);
	lab_free(lab);
}

static void first_version_is_told_unless_the_second_was_asked_for(void **state)
{
	struct lab *lab = translated(0);
	struct vhost_msg message = { 0 };

	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	pump(lab);
	assert_int_equal(ask_read(lab, true, &message, sizeof(message)), sizeof(message));
	assert_int_equal(message.type, VHOST_IOTLB_MSG);
	assert_int_equal(message.iotlb.iova, IOVA_BASE);
	lab_free(lab);
}

static unsigned woken, freed;

static void wake(void *handle)
{
	woken++;
}

static void poll_free(void *handle)
{
	freed++;
}

static void who_polls_is_woken(void **state)
{
	static const struct poll_ops poll_ops = { wake, poll_free };
	struct lab *lab = translated(1u << VHOST_BACKEND_F_IOTLB_MSG_V2);

	lab->opener->poll_handle = lab;
	lab->opener->poll_ops = &poll_ops;
	assert_false(messages_readable(lab->opener));
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	pump(lab);
	assert_int_equal(woken, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(messages_readable(lab->opener));
		assert_int_equal(missed(lab, NULL), IOVA_BASE + i * PAGE);
	}
	assert_false(messages_readable(lab->opener));
	lab_free(lab);
	assert_int_equal(freed, 1);
}

/* ---- lies ---- */

static void messages_that_lie_are_refused(void **state)
{
	struct lab *lab = running();
	uint8_t data[IOTLB_MESSAGE_BYTES] = { 0 };

	assert_int_equal(tell(lab, VHOST_IOTLB_UPDATE, IOVA_BASE, MEMORY_BYTES - PAGE, 2 * PAGE), -EFAULT);
	assert_int_equal(tell(lab, VHOST_IOTLB_UPDATE, IOVA_BASE, UINT64_C(1) << 50, PAGE), -EFAULT);
	assert_int_equal(tell(lab, VHOST_IOTLB_UPDATE, IOVA_BASE, 0, UINT64_MAX), -EINVAL);
	assert_int_equal(tell(lab, VHOST_IOTLB_MISS, IOVA_BASE, 0, PAGE), -EINVAL);
	assert_int_equal(ask_write_as(lab, getpid(), data, 0), -EINVAL);
	assert_int_equal(ask_write_as(lab, getpid(), data, sizeof(data)), -EINVAL);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void messages_without_an_iommu_are_refused(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_msg_v2 message = { 0 };

	ready(lab);
	assert_int_equal(update(lab, IOVA_BASE, PAGE), -EFAULT);
	assert_int_equal(ask_read(lab, true, &message, sizeof(message)), -EBADFD);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void messages_of_another_process_are_refused(void **state)
{
	struct lab *lab = running();
	uint8_t data[IOTLB_MESSAGE_BYTES] = { 0 };
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	assert_int_equal(ask_write_as(lab, child, data, sizeof(data)), -EPERM);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	lab_free(lab);
}

static void reset_owner_forgets_the_iommu(void **state)
{
	struct lab *lab = running();
	struct vhost_msg_v2 message = { 0 };

	assert_int_equal(ask_read(lab, false, &message, sizeof(message)), PENDING);
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), 0);
	assert_int_equal(ask_read(lab, true, &message, sizeof(message)), -EBADFD);
	ready(lab);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_waits_until_all_of_it_is_there),
		cmocka_unit_test(buffer_is_asked_for_and_comes),
		cmocka_unit_test(buffer_to_be_written_is_asked_for_as_such),
		cmocka_unit_test(page_mapped_for_reading_is_not_written_to),
		cmocka_unit_test(page_mapped_for_reading_is_read),
		cmocka_unit_test(ring_needs_no_more_than_its_areas_do),
		cmocka_unit_test(ring_of_scattered_pages_runs),
		cmocka_unit_test(miss_is_told_once),
		cmocka_unit_test(ring_set_up_anew_does_not_wait_for_what_it_missed_before),
		cmocka_unit_test(ring_that_is_started_again_does_not_wait_for_what_it_missed_before),
		cmocka_unit_test(miss_is_told_for_each_map),
		cmocka_unit_test(miss_without_an_answer_is_told_again),
		cmocka_unit_test(buffers_behind_the_missing_one_are_asked_for_with_it),
		cmocka_unit_test(buffers_that_wait_for_a_ring_s_first_start_are_asked_for),
		cmocka_unit_test(what_was_asked_for_ahead_and_never_comes_holds_nobody_up),
		cmocka_unit_test(what_was_asked_for_ahead_is_asked_for_again_after_an_invalidate),
		cmocka_unit_test(with_enough_buffers_a_queue_runs_while_others_are_asked_for),
		cmocka_unit_test(what_is_needed_later_is_not_waited_for),
		cmocka_unit_test(what_never_comes_is_not_waited_for_twice),
		cmocka_unit_test(ring_s_own_pages_are_asked_for_before_buffers),
		cmocka_unit_test(without_an_iommu_nothing_is_waited_for_any_more),
		cmocka_unit_test(a_queue_that_is_stopped_asks_for_nothing_ahead),
		cmocka_unit_test(other_queues_go_on),
		cmocka_unit_test(update_that_takes_nothing_away_stops_nobody),
		cmocka_unit_test(miss_stops_its_own_queue_alone),
		cmocka_unit_test(queue_that_misses_while_another_stops_is_not_forgotten),
		cmocka_unit_test(invalidate_takes_the_window_away_before_it_returns),
		cmocka_unit_test(window_that_goes_and_is_missed_again_is_asked_for_again),
		cmocka_unit_test(ring_that_is_invalidated_waits),
		cmocka_unit_test(features_told_again_forget_the_windows),
		cmocka_unit_test(table_without_the_windows_memory_forgets_them),
		cmocka_unit_test(reader_waits_for_a_miss),
		cmocka_unit_test(reader_may_be_interrupted),
		cmocka_unit_test(invalidate_that_was_interrupted_before_its_turn_waits_for_no_renewal),
		cmocka_unit_test(reader_does_not_outlive_the_opener),
		cmocka_unit_test(short_read_gets_nothing),
		cmocka_unit_test(first_version_is_told_unless_the_second_was_asked_for),
		cmocka_unit_test(who_polls_is_woken),
		cmocka_unit_test(messages_that_lie_are_refused),
		cmocka_unit_test(messages_without_an_iommu_are_refused),
		cmocka_unit_test(messages_of_another_process_are_refused),
		cmocka_unit_test(reset_owner_forgets_the_iommu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
