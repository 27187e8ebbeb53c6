/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/iotlb.h"
#include "transport/vhost_user/session_lab.h"
#include "wire/iotlb.h"
#include <linux/vhost_types.h>

/*
 * VIRTIO_F_ACCESS_PLATFORM: MISS goes out on the channel, UPDATE and INVALIDATE come in. The driver's addresses are IOVA and what
 * follows; the front end knows that they are its memory from the beginning on.
 */

#define IOVA UINT64_C(0x10000)
#define PAGE 0x1000u

struct iotlb_packet {
	uint32_t request, flags, size;
	struct vhost_iotlb_msg body;
} __attribute__((packed));

static int channel, channel_theirs; /* the front end's end, and a copy of the other one */

static void channel_open(struct lab *lab)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1), 0);
	channel = fds[0];
	channel_theirs = fds[1];
}

static struct lab *negotiated(void)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	channel_open(lab);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | F_IOMMU), 0);
	share_memory(lab);
	return lab;
}

static void end(struct lab *lab)
{
	close(channel);
	close(channel_theirs);
	lab_free(lab);
}

static void ring_at(struct lab *lab, uint32_t index, uint64_t base)
{
	struct addr_message addr = ring_addr(index);

	addr.desc += base - UADDR;
	addr.avail += base - UADDR;
	addr.used += base - UADDR;
	say_pair(lab, VU_SET_VRING_NUM, index, SIZE);
	say_pair(lab, VU_SET_VRING_BASE, index, 0);
	say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	kick_set(lab, index);
	say_pair(lab, VU_SET_VRING_ENABLE, index, 1);
}

static struct vhost_iotlb_msg window(uint8_t type, uint8_t perm, uint64_t iova, uint64_t bytes)
{
	return (struct vhost_iotlb_msg){ .iova = iova, .size = bytes, .uaddr = UADDR + iova - IOVA, .perm = perm, .type = type };
}

/* What it is answered: 0 is yes. */
static uint64_t tell(struct lab *lab, struct vhost_iotlb_msg body)
{
	return ack(lab, VU_IOTLB_MSG, &body, sizeof(body));
}

static uint64_t update(struct lab *lab, uint64_t iova, uint64_t bytes)
{
	return tell(lab, window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RW, iova, bytes));
}

static uint64_t invalidate(struct lab *lab, uint64_t iova, uint64_t bytes)
{
	return tell(lab, window(VHOST_IOTLB_INVALIDATE, 0, iova, bytes));
}

/* The IOVA of the next question, or 0: there is none. */
static uint64_t missed(struct lab *lab, uint8_t *ret_perm)
{
	struct iotlb_packet packet;

	pump(lab);
	if (recv(channel, &packet, sizeof(packet), MSG_DONTWAIT) != sizeof(packet))
		return 0;
	assert_int_equal(packet.request, VU_BACKEND_IOTLB_MSG);
	assert_int_equal(packet.flags, VU_VERSION); /* nobody waits for an answer to it */
	assert_int_equal(packet.size, sizeof(packet.body));
	assert_int_equal(packet.body.type, VHOST_IOTLB_MISS);
	if (ret_perm)
		*ret_perm = packet.body.perm;
	return packet.body.iova;
}

static struct lab *running(void)
{
	struct lab *lab = negotiated();

	assert_int_equal(update(lab, IOVA, 4 * PAGE), 0);
	ring_at(lab, 0, IOVA);
	assert_non_null(lab->type.running[0]);
	return lab;
}

static void put_chain(struct lab *lab, uint64_t iova, uint32_t bytes, uint16_t flags)
{
	struct split_desc *desc = (void *)lab->memory;
	struct split_avail *avail = (void *)(lab->memory + PAGE);
	uint16_t slot = avail->idx % SIZE;

	desc[slot] = (struct split_desc){ .addr = iova, .len = bytes, .flags = flags };
	avail->ring[slot] = slot;
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
}

/* The first byte of the next chain, which is given back; -1: there is none; else what pop says, less 1. */
static int take(struct lab *lab)
{
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_queue *queue = lab->type.running[0];
	struct vireo_chain chain;
	int r = queue ? vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov)) : 0, byte;

	if (r <= 0) {
		pump(lab);
		return r - 1;
	}
	byte = *(uint8_t *)chain.iov[0].iov_base;
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
	return byte;
}

static void ring_waits_until_all_of_it_has_been_told(void **state)
{
	struct lab *lab = negotiated();
	uint8_t perm = 0;

	ring_at(lab, 0, IOVA);
	assert_int_equal(missed(lab, &perm), IOVA);
	assert_int_equal(perm, VHOST_ACCESS_RO);
	assert_int_equal(missed(lab, NULL), IOVA + PAGE);
	assert_int_equal(missed(lab, &perm), IOVA + 2 * PAGE);
	assert_int_equal(perm, VHOST_ACCESS_RW);
	assert_int_equal(missed(lab, NULL), 0);
	assert_int_equal(update(lab, IOVA, PAGE), 0);
	assert_int_equal(update(lab, IOVA + PAGE, PAGE), 0);
	assert_null(lab->type.running[0]);
	assert_int_equal(update(lab, IOVA + 2 * PAGE, PAGE), 0);
	assert_non_null(lab->type.running[0]);
	end(lab);
}

static void buffer_is_asked_for_and_comes(void **state)
{
	struct lab *lab = running();

	lab->memory[0x9000] = 7;
	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	assert_null(lab->type.running[0]); /* nobody spins on it */
	assert_int_equal(lab->type.stopped[0], 1);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	assert_int_equal(take(lab), 7);
	assert_int_equal(lab->type.ended[0], 0);
	end(lab);
}

static void what_has_been_invalidated_is_asked_for_again(void **state)
{
	struct lab *lab = running();

	lab->memory[0x9000] = 7;
	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), 7);
	assert_int_equal(invalidate(lab, IOVA + 0x9000, PAGE), 0);
	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	end(lab);
}

static void running_queue_asks_for_what_comes_next_and_goes_on(void **state)
{
	struct lab *lab = running();
	struct iovec iov[2 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[4];

	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	lab->memory[0xa000] = 8;
	for (unsigned i = 0; i < 3; i++)
		put_chain(lab, IOVA + 0x9000 + i * PAGE, 5, DESC_F_WRITE);
	assert_int_equal(vireo_queue_pop(lab->type.running[0], chains, 4, iov, ARRAY_SIZE(iov)), 1);
	assert_int_equal(missed(lab, NULL), IOVA + 0xa000);
	assert_int_equal(missed(lab, NULL), IOVA + 0xb000); /* and what comes after it */
	assert_int_equal(lab->type.stopped[0], 0);
	assert_int_equal(update(lab, IOVA + 0xa000, PAGE), 0);
	vireo_queue_push(lab->type.running[0], chains, 0);
	vireo_queue_flush(lab->type.running[0]);
	assert_int_equal(vireo_queue_pop(lab->type.running[0], chains, 4, iov, ARRAY_SIZE(iov)), 1);
	assert_int_equal(*(uint8_t *)chains[0].iov[0].iov_base, 8);
	vireo_queue_unpop(lab->type.running[0], chains, 1);
	end(lab);
}

static void what_is_taken_from_a_running_queue_is_asked_for_before_it_looks(void **state)
{
	struct lab *lab = running();

	lab->type.renews = true;
	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	put_chain(lab, IOVA + 0x9000, 5, DESC_F_WRITE);
	assert_int_equal(missed(lab, NULL), 0);
	assert_int_equal(invalidate(lab, IOVA + 0x9000, PAGE), 0);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	assert_int_equal(lab->type.stopped[0], 0);
	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	assert_true(take(lab) >= 0);
	end(lab);
}

/* By the time that it would be asked again. */
static void what_has_been_used_meanwhile_is_not_asked_for_again(void **state)
{
	struct lab *lab = running();
	struct split_avail *avail = (void *)(lab->memory + PAGE);

	lab->type.renews = true;
	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	put_chain(lab, IOVA + 0x9000, 5, DESC_F_WRITE);
	assert_int_equal(invalidate(lab, IOVA + 0x9000, PAGE), 0);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	avail->idx--; /* no chain names it any more */
	usleep(600000);
	assert_int_equal(missed(lab, NULL), 0);
	end(lab);
}

static void ring_whose_own_pages_go_waits_for_them(void **state)
{
	struct lab *lab = running();

	assert_int_equal(invalidate(lab, 0, 0), 0); /* all there is */
	assert_null(lab->type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA);
	while (missed(lab, NULL))
		;
	assert_int_equal(lab->type.ended[0], 0); /* it waits for an answer, and will go on */
	assert_int_equal(update(lab, IOVA, 4 * PAGE), 0);
	assert_non_null(lab->type.running[0]);
	assert_int_equal(lab->type.ended[0], 0);
	end(lab);
}

/* Nobody waits for a queue that has nothing there. */
static void say_invalidate(struct lab *lab, uint64_t iova, uint64_t bytes)
{
	struct vhost_iotlb_msg body = window(VHOST_IOTLB_INVALIDATE, 0, iova, bytes);

	say_fds(lab, VU_IOTLB_MSG, VU_FLAG_NEED_REPLY, &body, sizeof(body), NULL, 0);
}

static void queue_that_can_go_on_is_not_stopped(void **state)
{
	struct lab *lab = running();
	uint64_t answer = 1;

	lab->type.renews = lab->type.late = true;
	assert_int_equal(update(lab, IOVA + 0x9000, 2 * PAGE), 0);
	say_invalidate(lab, IOVA + 0x9000, PAGE);
	assert_int_equal(hear(lab, VU_IOTLB_MSG, &answer, 8), -1); /* somebody may still look at it */
	assert_int_equal(lab->type.renewals[0], 1);
	put_chain(lab, IOVA + 2 * PAGE, 5, 0);
	assert_true(take(lab) >= 0); /* the ring goes on meanwhile, by what is left */
	type_renewed(&lab->type, 0);
	assert_int_equal(hear(lab, VU_IOTLB_MSG, &answer, 8), 8);
	assert_int_equal(answer, 0);
	assert_int_equal(lab->type.stopped[0], 0);
	lab->type.late = false;
	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	end(lab);
}

static void queue_that_pops_nothing_is_not_stopped_either(void **state)
{
	struct lab *lab = running();

	lab->type.renews = true;
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(update(lab, IOVA + 0x9000, 2 * PAGE), 0);
		assert_int_equal(invalidate(lab, IOVA + 0xa000, PAGE), 0);
	}
	assert_int_equal(lab->type.stopped[0], 0);
	end(lab);
}

/* Both pages of it were one window, which goes as a whole. */
static void queue_whose_ring_goes_is_stopped_and_the_other_is_not(void **state)
{
	struct lab *lab = running();

	assert_int_equal(update(lab, IOVA + 0x4000, 4 * PAGE), 0);
	ring_at(lab, 1, IOVA);
	assert_non_null(lab->type.running[1]);
	lab->type.renews = true;
	assert_int_equal(invalidate(lab, IOVA + 0x5000, PAGE), 0);
	assert_null(lab->type.running[1]);
	assert_non_null(lab->type.running[0]);
	assert_int_equal(lab->type.stopped[0], 0);
	end(lab);
}

static void front_end_that_goes_meanwhile_is_waited_for_no_longer(void **state)
{
	struct lab *lab = running();

	lab->type.renews = lab->type.late = true;
	assert_int_equal(update(lab, IOVA + 0x9000, PAGE), 0);
	say_invalidate(lab, IOVA + 0x9000, PAGE);
	fd_close(&lab->fd);
	pump(lab);
	assert_int_equal(lab->type.disconnected, 0);
	type_renewed(&lab->type, 0);
	pump(lab);
	assert_int_equal(lab->type.stopped[0], 1);
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->type.disconnected, 1);
	lab->type.late = false;
	end(lab);
}

static void front_end_that_goes_while_a_queue_that_misses_is_stopped_is_let_go(void **state)
{
	struct lab *lab = running();

	lab->type.late = true;
	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	pump(lab);
	assert_int_equal(lab->type.stopped[0], 1); /* and its worker has not given it back */
	fd_close(&lab->fd);
	pump(lab);
	assert_int_equal(lab->type.disconnected, 0);
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->type.disconnected, 1);
	lab->type.late = false;
	end(lab);
}

static void page_that_may_only_be_read_is_not_written_to(void **state)
{
	struct lab *lab = running();
	uint8_t perm = 0;

	assert_int_equal(tell(lab, window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RO, IOVA + 0x9000, PAGE)), 0);
	put_chain(lab, IOVA + 0x9000, 5, DESC_F_WRITE);
	assert_int_equal(take(lab), -1);
	assert_int_equal(missed(lab, &perm), IOVA + 0x9000);
	assert_int_equal(perm, VHOST_ACCESS_RW);
	end(lab);
}

/* A front end that waits for our reply may take a question first, and answer it where it expects the reply. */
static void nothing_is_asked_in_the_middle_of_a_message(void **state)
{
	struct lab *lab = running();
	struct packet p = packet(VU_GET_FEATURES, 0, NULL, 0);

	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(send_raw(lab->fd, &p, 6, NULL, 0), 6);
	pump(lab);
	assert_int_equal(take(lab), -1);
	assert_int_equal(missed(lab, NULL), 0);
	assert_null(lab->type.running[0]);
	assert_int_equal(send_raw(lab->fd, (uint8_t *)&p + 6, 6, NULL, 0), 6);
	pump(lab);
	hear_u64(lab, VU_GET_FEATURES);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	end(lab);
}

/* From the end that the back end has. */
static unsigned channel_fill(void)
{
	const struct iotlb_packet packet = { .request = VU_BACKEND_IOTLB_MSG };
	unsigned count = 0;

	while (send(channel_theirs, &packet, sizeof(packet), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		count++;
	return count;
}

static void channel_that_is_full_holds_nobody_up_and_is_tried_again(void **state)
{
	struct lab *lab = running();
	struct iotlb_packet packet;
	unsigned filled = channel_fill();

	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	assert_int_equal(ask_u64(lab, VU_GET_FEATURES) & F_IOMMU, F_IOMMU);
	while (filled--)
		assert_int_equal(recv(channel, &packet, sizeof(packet), MSG_DONTWAIT), sizeof(packet));
	pump_wait(lab, 10000);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	end(lab);
}

static void question_without_an_answer_is_asked_again(void **state)
{
	struct lab *lab = running();

	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
		assert_int_equal(missed(lab, NULL), 0);
		pump_wait(lab, 10000);
	}
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	end(lab);
}

/* User-mode Linux's driver accepts all that it is offered, and asks before it says that it can be asked. */
static void who_cannot_be_asked_is_not_offered_it(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL & ~P(BACKEND_REQ));
	assert_int_equal(ask_u64(lab, VU_GET_FEATURES) & F_IOMMU, 0);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | F_IOMMU), 1);
	negotiate(lab, P_ALL);
	assert_int_equal(ask_u64(lab, VU_GET_FEATURES) & F_IOMMU, F_IOMMU);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | F_IOMMU), 1); /* there is no channel */
	lab_free(lab);
}

static void answer_where_there_is_no_iommu_is_refused(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	assert_int_equal(update(lab, IOVA, PAGE), 1);
	assert_false(hung_up(lab));
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

static void answer_that_is_not_in_memory_is_refused(void **state)
{
	struct lab *lab = running();
	struct vhost_iotlb_msg outside[] = {
		window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RW, IOVA + MEMORY_BYTES, PAGE),
		window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RW, IOVA + MEMORY_BYTES - PAGE, 2 * PAGE),
		window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RW, IOVA, UINT64_C(1) << 40),
		window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RW, PAGE, PAGE),
	};

	for (unsigned i = 0; i < ARRAY_SIZE(outside); i++)
		assert_int_equal(tell(lab, outside[i]), 1);
	assert_non_null(lab->type.running[0]);
	assert_false(hung_up(lab));
	end(lab);
}

static void answer_that_makes_no_sense_ends_the_session(void **state)
{
	static const struct {
		uint8_t type, perm;
		uint64_t iova, uaddr, size;
	} bad[] = {
		{ 0, 3, IOVA, UADDR, PAGE },
		{ VHOST_IOTLB_MISS, 3, IOVA, UADDR, PAGE },
		{ VHOST_IOTLB_ACCESS_FAIL, 3, IOVA, UADDR, PAGE },
		{ 255, 3, IOVA, UADDR, PAGE },
		{ VHOST_IOTLB_UPDATE, 0, IOVA, UADDR, PAGE },
		{ VHOST_IOTLB_UPDATE, 255, IOVA, UADDR, PAGE },
		{ VHOST_IOTLB_UPDATE, 3, IOVA, UADDR, 0 },
		{ VHOST_IOTLB_UPDATE, 3, UINT64_MAX - PAGE + 1, UADDR, 2 * PAGE },
		{ VHOST_IOTLB_UPDATE, 3, IOVA, UINT64_MAX - PAGE + 1, 2 * PAGE },
		{ VHOST_IOTLB_INVALIDATE, 0, UINT64_MAX - PAGE + 1, 0, 2 * PAGE },
		{ VHOST_IOTLB_INVALIDATE, 0, IOVA, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct lab *lab = running();
		struct vhost_iotlb_msg body = { .iova = bad[i].iova, .size = bad[i].size, .uaddr = bad[i].uaddr,
						.perm = bad[i].perm, .type = bad[i].type };

		say(lab, VU_IOTLB_MSG, &body, sizeof(body));
		if (!hung_up(lab))
			fail_msg("message %u was taken", i);
		end(lab);
	}
}

/* More of them than are kept, none of which was asked for, and then one window over all. */
static void answers_without_end_are_taken_and_not_kept(void **state)
{
	struct lab *lab = running();

	for (unsigned i = 0; i < IOTLB_WINDOWS_MAX + 10; i++) {
		struct vhost_iotlb_msg body = window(VHOST_IOTLB_UPDATE, VHOST_ACCESS_RW, IOVA, PAGE);

		body.iova = (UINT64_C(1) << 40) + i * 2 * PAGE;
		assert_int_equal(tell(lab, body), 0);
	}
	assert_null(lab->type.running[0]); /* its own pages were the oldest */
	assert_int_equal(update(lab, IOVA, MEMORY_BYTES), 0);
	assert_non_null(lab->type.running[0]);
	end(lab);
}

/* The region may be told of again; what was seen through it has to be. */
static void region_that_goes_takes_its_windows_along(void **state)
{
	struct lab *lab = running();

	assert_int_equal(ack(lab, VU_REM_MEM_REG, region_message, sizeof(region_message)), 0);
	assert_null(lab->type.running[0]);
	assert_int_equal(update(lab, IOVA, 4 * PAGE), 1);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, region_message, sizeof(region_message), &lab->memfd, 1), 0);
	assert_int_equal(update(lab, IOVA, 4 * PAGE), 0);
	assert_non_null(lab->type.running[0]);
	end(lab);
}

/* A driver's successor has another IOMMU: what was told for the one before means nothing. */
static void features_that_are_set_again_begin_with_nothing(void **state)
{
	struct lab *lab = running();

	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | F_IOMMU), 0);
	assert_null(lab->type.running[0]);
	assert_int_equal(missed(lab, NULL), IOVA);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1), 0);
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
	end(lab);
}

static void stopped_ring_asks_for_nothing(void **state)
{
	struct lab *lab = running();

	put_chain(lab, IOVA + 0x9000, 5, 0);
	assert_int_equal(take(lab), -1);
	assert_int_equal(missed(lab, NULL), IOVA + 0x9000);
	assert_int_equal(lab->type.ended[0], 0);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, (uint8_t[8]){ 0 }, 8), 8);
	assert_int_equal(lab->type.ended[0], 1);
	usleep(600000); /* until it would be asked again */
	assert_int_equal(missed(lab, NULL), 0);
	end(lab);
}

static void say_window(struct lab *lab, unsigned number)
{
	struct {
		struct vu_header header;
		struct vhost_iotlb_msg body;
	} __attribute__((packed)) m = {
		.header = { VU_IOTLB_MSG, VU_VERSION, sizeof(m.body) },
		.body = { .iova = (UINT64_C(1) << 40) + number * 2 * PAGE, .size = PAGE, .uaddr = UADDR, .perm = VHOST_ACCESS_RW,
			  .type = VHOST_IOTLB_UPDATE },
	};

	assert_int_equal(send(lab->fd, &m, sizeof(m), 0), sizeof(m));
}

static unsigned answers(struct lab *lab)
{
	uint64_t value;
	unsigned count = 0;

	while (hear(lab, VU_IOTLB_MSG, &value, sizeof(value)) == sizeof(value))
		count++;
	return count;
}

/* Others are served by the same thread: 64 messages that each make a map of a full table are not carried out at a stretch. */
static void turn_ends_where_messages_take_long(void **state)
{
	const unsigned batch = 64;
	struct lab *lab = negotiated();
	unsigned said = 0, answered = 0;

	while (said < IOTLB_WINDOWS_MAX) {
		for (unsigned i = 0; i < batch; i++)
			say_window(lab, said++);
		pump(lab);
		answered += answers(lab);
	}
	assert_int_equal(answered, said);
	for (unsigned i = 0; i < batch; i++)
		say_window(lab, said++);
	assert_int_equal(vireo_endpoint_dispatch(lab->endpoint), 0);
	answered = answers(lab);
	assert_in_range(answered, 1, batch - 1);
	pump(lab);
	assert_int_equal(answered + answers(lab), batch);
	end(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_waits_until_all_of_it_has_been_told),
		cmocka_unit_test(buffer_is_asked_for_and_comes),
		cmocka_unit_test(what_has_been_invalidated_is_asked_for_again),
		cmocka_unit_test(running_queue_asks_for_what_comes_next_and_goes_on),
		cmocka_unit_test(what_is_taken_from_a_running_queue_is_asked_for_before_it_looks),
		cmocka_unit_test(what_has_been_used_meanwhile_is_not_asked_for_again),
		cmocka_unit_test(ring_whose_own_pages_go_waits_for_them),
		cmocka_unit_test(queue_that_can_go_on_is_not_stopped),
		cmocka_unit_test(queue_that_pops_nothing_is_not_stopped_either),
		cmocka_unit_test(queue_whose_ring_goes_is_stopped_and_the_other_is_not),
		cmocka_unit_test(front_end_that_goes_meanwhile_is_waited_for_no_longer),
		cmocka_unit_test(front_end_that_goes_while_a_queue_that_misses_is_stopped_is_let_go),
		cmocka_unit_test(page_that_may_only_be_read_is_not_written_to),
		cmocka_unit_test(nothing_is_asked_in_the_middle_of_a_message),
		cmocka_unit_test(channel_that_is_full_holds_nobody_up_and_is_tried_again),
		cmocka_unit_test(question_without_an_answer_is_asked_again),
		cmocka_unit_test(who_cannot_be_asked_is_not_offered_it),
		cmocka_unit_test(answer_where_there_is_no_iommu_is_refused),
		cmocka_unit_test(answer_that_is_not_in_memory_is_refused),
		cmocka_unit_test(answer_that_makes_no_sense_ends_the_session),
		cmocka_unit_test(answers_without_end_are_taken_and_not_kept),
		cmocka_unit_test(region_that_goes_takes_its_windows_along),
		cmocka_unit_test(features_that_are_set_again_begin_with_nothing),
		cmocka_unit_test(stopped_ring_asks_for_nothing),
		cmocka_unit_test(turn_ends_where_messages_take_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
