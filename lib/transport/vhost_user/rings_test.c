/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include "ring/ring.h"

/*
 * Rings that start, stop, change format and come back, as front ends of many ages do it: a sequence is a table of what they
 * say and of what their guest does meanwhile. At "traffic" chains must go round; the session must live all the time.
 */

#define RING_BYTES_AT(slot) ((slot) * 0x4000u)
#define F_PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define PACKED_USED_FLAGS (PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK)
#define CHAINS 20u /* more than twice round */
#define REGION_BYTES 4096u

enum step {
	END,
	FEATURES, /* with protocol features; packed: as the sequence says */
	FEATURES_PLAIN, /* without them: there is no ENABLE */
	FEATURES_SPLIT, /* whatever the sequence says */
	FEATURES_LOGGED, /* once more, in the middle of it */
	MEMORY,
	NUM,
	BASE, /* what the last STOP has told, else where a new ring begins */
	BASE_ZERO,
	BASE_LAST, /* what BASE has told at last: all that a front end knows when its back end is gone */
	BASE_AVAIL, /* what is available, or (packed) nothing */
	ADDR,
	CALL,
	KICK,
	ENABLE,
	DISABLE,
	STOP, /* GET_VRING_BASE */
	OWNER_RESET,
	DEVICE_RESET,
	STATUS_ZERO,
	STATUS_OK,
	GUEST_NEW, /* a driver sets the ring up, in cleared memory */
	GUEST_MOVES, /* the same elsewhere; what was the ring is somebody else's now */
	GUEST_STALE, /* the same, and the used index has not been cleared */
	GUEST_GONE, /* what was the ring is somebody else's */
	SOME_WAIT, /* chains are available and nobody serves them */
	KILLED, /* the back end is another one, which has not been told anything */
	TRAFFIC,
	SILENCE, /* the ring does not run */
};

struct guest {
	struct lab *lab;
	bool packed;
	unsigned slot; /* where the ring lies */
	uint32_t base, told; /* see BASE and BASE_LAST */
	uint16_t avail, used; /* split: indexes; packed: the place, bit 15 the wrap counter */
	unsigned waiting;
	int region; /* memory for what is in flight, or -1 */
};

static uint8_t *ring_memory(const struct guest *g)
{
	return g->lab->memory + RING_BYTES_AT(g->slot);
}

static uint16_t forward(uint16_t place)
{
	return (place & 0x7fff) + 1u < SIZE ? place + 1u : (place & 0x8000) ^ 0x8000;
}

static void guest_new(struct guest *g)
{
	memset(ring_memory(g), 0, 0x4000);
	g->avail = g->used = g->packed ? 0x8000 : 0;
	g->base = g->packed ? RING_BASE_PACKED_NEW : 0;
	g->waiting = 0;
}

static void guest_gone(struct guest *g)
{
	for (unsigned i = 0; i < 0x4000; i++)
		ring_memory(g)[i] = (uint8_t)(i * 31 + i / 256);
}

static void guest_offers(struct guest *g)
{
	struct packed_desc *packed = (void *)ring_memory(g);
	struct split_desc *descs = (void *)ring_memory(g);
	struct split_avail *avail = (void *)(ring_memory(g) + 0x1000);
	uint16_t pos = g->avail & (g->packed ? 0x7fff : SIZE - 1);

	if (g->packed) {
		packed[pos] = (struct packed_desc){ .addr = GPA + 0xf0000, .len = 16, .id = pos,
						    .flags = g->avail >> 15 ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK };
		g->avail = forward(g->avail);
	} else {
		descs[pos] = (struct split_desc){ .addr = GPA + 0xf0000, .len = 16 };
		avail->ring[pos] = pos;
		avail->idx = ++g->avail;
	}
	g->waiting++;
}

static bool guest_has_back(struct guest *g)
{
	const struct packed_desc *packed = (void *)ring_memory(g);
	const struct split_used *used = (void *)(ring_memory(g) + 0x2000);
	uint16_t pos = g->used & 0x7fff;

	if (g->packed ? packed[pos].flags != (g->used >> 15 ? PACKED_USED_FLAGS : 0) : used->idx == g->used)
		return false;
	if (!g->packed)
		assert_int_equal(used->ring[g->used % SIZE].id, g->used % SIZE);
	g->used = g->packed ? forward(g->used) : (uint16_t)(g->used + 1);
	g->waiting--;
	return true;
}

/* The worker's half. */
static void device_serves(struct guest *g)
{
	struct vireo_queue *queue = g->lab->type.running[0];
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[SIZE];
	int count;

	assert_non_null(queue);
	count = vireo_queue_pop(queue, chains, SIZE, iov, ARRAY_SIZE(iov));
	assert_true(count >= 0);
	vireo_queue_push_burst(queue, chains, NULL, (unsigned)count);
	vireo_queue_flush(queue);
}

static void traffic(struct guest *g)
{
	for (unsigned i = 0; i < CHAINS; i++) {
		if (g->waiting < SIZE)
			guest_offers(g);
		device_serves(g);
		while (g->waiting)
			assert_true(guest_has_back(g));
	}
}

/* Pops whatever is there, as a worker does with a queue that it has. */
static void worker_looks(struct guest *g)
{
	struct vireo_queue *queue = g->lab->type.running[0];
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	if (queue && vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov)) > 0)
		vireo_queue_unpop(queue, &chain, 1);
	pump(g->lab);
}

static void features(struct guest *g, uint64_t more)
{
	say_u64(g->lab, VU_SET_FEATURES, F_VERSION_1 | (g->packed ? F_PACKED : 0) | more);
}

static void ring_says(struct guest *g, enum step step)
{
	struct addr_message addr = ring_addr(g->slot);
	uint16_t avail = ((struct split_avail *)(void *)(ring_memory(g) + 0x1000))->idx;
	uint64_t index = 0;

	addr.index = 0;
	switch (step) {
	case NUM:
		say_pair(g->lab, VU_SET_VRING_NUM, 0, SIZE);
		break;
	case BASE:
		g->told = g->base;
		say_pair(g->lab, VU_SET_VRING_BASE, 0, g->base);
		break;
	case BASE_ZERO:
		say_pair(g->lab, VU_SET_VRING_BASE, 0, 0);
		break;
	case BASE_LAST:
		say_pair(g->lab, VU_SET_VRING_BASE, 0, g->told);
		break;
	case BASE_AVAIL:
		say_pair(g->lab, VU_SET_VRING_BASE, 0, g->packed ? 0 : avail);
		break;
	case ADDR:
		say(g->lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
		break;
	case CALL:
		say_fds(g->lab, VU_SET_VRING_CALL, 0, &index, 8, &g->lab->call, 1);
		break;
	case KICK:
		kick_set(g->lab, 0);
		break;
	case ENABLE:
	case DISABLE:
		say_pair(g->lab, VU_SET_VRING_ENABLE, 0, step == ENABLE);
		break;
	default:
		break;
	}
}

static void stop(struct guest *g)
{
	uint32_t reply[2] = { 0 };

	say_pair(g->lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(g->lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
	g->base = reply[1];
	assert_null(g->lab->type.running[0]);
}

static void device_says(struct guest *g, enum step step)
{
	switch (step) {
	case FEATURES:
		features(g, F_PROTOCOL);
		break;
	case FEATURES_PLAIN:
		features(g, 0);
		break;
	case FEATURES_SPLIT:
		g->packed = false;
		features(g, F_PROTOCOL);
		break;
	case FEATURES_LOGGED:
		features(g, F_PROTOCOL | VIREO_FEATURE(4));
		break;
	case MEMORY:
		share_memory(g->lab);
		break;
	case STOP:
		stop(g);
		break;
	case OWNER_RESET:
		say(g->lab, VU_RESET_OWNER, NULL, 0);
		break;
	case DEVICE_RESET:
		say(g->lab, VU_RESET_DEVICE, NULL, 0);
		break;
	case STATUS_ZERO:
		say_u64(g->lab, VU_SET_STATUS, 0);
		break;
	case STATUS_OK:
		say_u64(g->lab, VU_SET_STATUS, 15);
		break;
	default:
		break;
	}
}

static const struct vu_inflight region_told = { .mmap_bytes = REGION_BYTES, .num_queues = 2, .queue_size = SIZE };

static void killed(struct guest *g)
{
	dial(g->lab);
	ask_u64(g->lab, VU_GET_FEATURES);
	ask_u64(g->lab, VU_GET_PROTOCOL_FEATURES);
	say_u64(g->lab, VU_SET_PROTOCOL_FEATURES, P_ALL);
	say(g->lab, VU_SET_OWNER, NULL, 0);
	if (g->region >= 0)
		assert_int_equal(ack_fds(g->lab, VU_SET_INFLIGHT_FD, &region_told, VU_INFLIGHT_PADDED_BYTES, &g->region, 1), 0);
	g->lab->type.disconnected = 0;
	g->lab->type.connected = 1;
}

static void guest_does(struct guest *g, enum step step)
{
	switch (step) {
	case GUEST_MOVES:
		guest_gone(g);
		g->slot++;
		guest_new(g);
		break;
	case GUEST_NEW:
	case GUEST_STALE:
		guest_new(g);
		if (step == GUEST_STALE && !g->packed)
			((struct split_used *)(void *)(ring_memory(g) + 0x2000))->idx = 37;
		break;
	case GUEST_GONE:
		guest_gone(g);
		break;
	case SOME_WAIT:
		guest_offers(g);
		guest_offers(g);
		break;
	case KILLED:
		killed(g);
		break;
	case TRAFFIC:
		traffic(g);
		break;
	case SILENCE:
		assert_null(g->lab->type.running[0]);
		break;
	default:
		break;
	}
}

struct sequence {
	const char *name;
	uint8_t steps[80];
};

#define SET_UP NUM, BASE, ADDR, KICK, CALL
#define BEGIN FEATURES, MEMORY, SET_UP, ENABLE

static const struct sequence sequences[] = {
	{ "QEMU: start, stop, start again", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, STOP, SILENCE, BEGIN, TRAFFIC, STOP, BEGIN, TRAFFIC } },
	{ "QEMU 2.x: without protocol features", { GUEST_NEW, FEATURES_PLAIN, MEMORY, SET_UP, TRAFFIC, STOP, FEATURES_PLAIN, MEMORY,
						   SET_UP, TRAFFIC } },
	{ "QEMU: the log of a migration goes on and off", { GUEST_NEW, BEGIN, TRAFFIC, FEATURES_LOGGED, TRAFFIC, FEATURES, TRAFFIC } },
	{ "QEMU: a guest is reset by force", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, STOP, GUEST_MOVES, BEGIN, TRAFFIC } },
	{ "QEMU: memory is plugged in", { GUEST_NEW, BEGIN, TRAFFIC, MEMORY, TRAFFIC, MEMORY, SOME_WAIT, TRAFFIC } },
	{ "QEMU: chains wait while the ring stands still", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, STOP, SOME_WAIT, BEGIN, TRAFFIC } },
	{ "QEMU: call before the rest, status last", { GUEST_NEW, CALL, FEATURES, MEMORY, SET_UP, ENABLE, STATUS_OK, TRAFFIC, STATUS_ZERO,
						       GUEST_MOVES, FEATURES, SET_UP, ENABLE, STATUS_OK, TRAFFIC } },
	{ "firmware leaves a ring behind, and the kernel has another", { GUEST_NEW, BEGIN, TRAFFIC, GUEST_MOVES, SET_UP, TRAFFIC } },
	{ "firmware with a split ring, then a kernel", { FEATURES_SPLIT, GUEST_NEW, MEMORY, SET_UP, ENABLE, TRAFFIC, DISABLE, STOP,
							 GUEST_MOVES, BEGIN, TRAFFIC } },
	{ "cloud-hypervisor: disabled, the owner is reset, never stopped", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, OWNER_RESET,
									     GUEST_MOVES, FEATURES, MEMORY, SET_UP, ENABLE, TRAFFIC } },
	{ "cloud-hypervisor: the owner is reset, the ring is elsewhere", { GUEST_NEW, BEGIN, TRAFFIC, OWNER_RESET, GUEST_MOVES, MEMORY,
									   FEATURES, NUM, ADDR, BASE, CALL, KICK, ENABLE, TRAFFIC } },
	{ "crosvm: stopped, and set up without features", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, STOP, GUEST_MOVES, MEMORY, NUM, ADDR, BASE,
							    CALL, KICK, ENABLE, TRAFFIC } },
	{ "disabled, memory is told, enabled: nothing has moved", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, MEMORY, FEATURES, SOME_WAIT, ENABLE,
								    TRAFFIC } },
	{ "disabled and forgotten: something else lies there", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, GUEST_GONE, FEATURES, MEMORY, SILENCE,
								 GUEST_NEW, SET_UP, ENABLE, TRAFFIC } },
	{ "something else lies there, and it is enabled", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, GUEST_GONE, MEMORY, ENABLE,
							    GUEST_NEW, SET_UP, TRAFFIC } },
	{ "a base is never told", { GUEST_NEW, FEATURES, MEMORY, NUM, ADDR, CALL, KICK, ENABLE, TRAFFIC } },
	{ "a base is never told after a reset", { GUEST_NEW, BEGIN, TRAFFIC, DEVICE_RESET, GUEST_NEW, FEATURES, NUM, ADDR, CALL, KICK, ENABLE,
						  TRAFFIC } },
	{ "the used index lies stale in memory", { GUEST_STALE, BEGIN, TRAFFIC } },
	{ "the used index lies stale in memory, chains wait", { GUEST_STALE, SOME_WAIT, BEGIN, TRAFFIC } },
	{ "killed: the base is the used index", { GUEST_NEW, BEGIN, TRAFFIC, DISABLE, STOP, SOME_WAIT, KILLED, BEGIN, TRAFFIC } },
	{ "killed: all that is known is an old base", { GUEST_NEW, BEGIN, TRAFFIC, SOME_WAIT, KILLED, FEATURES, MEMORY, NUM, BASE_LAST,
							ADDR, KICK, CALL, ENABLE, TRAFFIC } },
	{ "UML: the base of a packed ring is told as 0", { GUEST_NEW, FEATURES, MEMORY, NUM, BASE_ZERO, ADDR, KICK, CALL, ENABLE, TRAFFIC } },
	{ "killed, and killed again", { GUEST_NEW, BEGIN, TRAFFIC, KILLED, FEATURES, MEMORY, NUM, BASE_LAST, ADDR, KICK, CALL, ENABLE,
					SOME_WAIT, KILLED, FEATURES, MEMORY, NUM, BASE_LAST, ADDR, KICK, CALL, ENABLE, TRAFFIC } },
	{ "killed: the base is what is available", { GUEST_NEW, BEGIN, TRAFFIC, SOME_WAIT, KILLED, FEATURES, MEMORY, NUM, ADDR, BASE_AVAIL,
						     CALL, KICK, ENABLE, TRAFFIC } },
};

static void play(const struct sequence *sequence, bool packed, bool tracked)
{
	struct guest g = { .lab = lab_new(), .packed = packed, .region = -1 };

	print_message("           %s\n", sequence->name);
	if (tracked) {
		g.region = memfd_create("region", MFD_CLOEXEC);
		assert_int_equal(ftruncate(g.region, REGION_BYTES), 0);
	}
	make_memory(g.lab);
	g.lab->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	killed(&g);
	for (const uint8_t *at = sequence->steps; *at; at++) {
		if (*at == FEATURES && g.packed != packed) { /* the kernel's driver after the firmware's */
			g.packed = packed;
			guest_new(&g);
		}
		ring_says(&g, *at);
		device_says(&g, *at);
		worker_looks(&g);
		guest_does(&g, *at);
		if (g.lab->type.disconnected)
			fail_msg("%s (%s): step %d ends the session:\n%s", sequence->name, packed ? "packed" : "split",
				 (int)(at - sequence->steps), g.lab->log);
	}
	fd_close(&g.region);
	lab_free(g.lab);
}

/* The same, where what is in flight is written down. */
static void tracked_rings_come_and_go_as_front_ends_do_it(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sequences); i++)
		play(&sequences[i / 2], i % 2, true);
}

static void rings_come_and_go_as_front_ends_do_it_split(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sequences); i++)
		play(&sequences[i], false, false);
}

static void rings_come_and_go_as_front_ends_do_it_packed(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sequences); i++)
		play(&sequences[i], true, false);
}

static int pop(struct lab *lab)
{
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	int r = vireo_queue_pop(lab->type.running[0], &chain, 1, iov, ARRAY_SIZE(iov));

	if (r > 0) {
		vireo_queue_push(lab->type.running[0], &chain, 0);
		vireo_queue_flush(lab->type.running[0]);
	}
	pump(lab);
	return r;
}

static struct guest lying_guest(bool lied_before)
{
	struct guest g = { .lab = lab_new() };

	ready(g.lab);
	if (lied_before) {
		guest_offers(&g);
		assert_int_equal(pop(g.lab), 1);
	}
	((struct split_avail *)(void *)(ring_memory(&g) + 0x1000))->idx = (uint16_t)(g.avail + SIZE + 1);
	return g;
}

static void a_lie_on_a_ring_that_has_carried_nothing_halts_it_and_not_the_device(void **state)
{
	struct guest g = lying_guest(false);
	int err = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t value = 0;

	say_fds(g.lab, VU_SET_VRING_ERR, 0, &value, 8, &err, 1);
	assert_int_equal(pop(g.lab), -EPROTO);
	assert_null(g.lab->type.running[0]);
	assert_non_null(strstr(g.lab->log, "lab: queue 0 stands still until it is set up or enabled again: available index"));
	assert_int_equal(read(err, &value, sizeof(value)), sizeof(value));
	close(err);
	share_memory(g.lab);
	say_u64(g.lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
	assert_null(g.lab->type.running[0]); /* nothing new has been said of it */
	guest_new(&g);
	kick_set(g.lab, 0);
	traffic(&g);
	lab_free(g.lab);
}

static void a_lie_on_a_ring_that_has_carried_something_ends_the_session(void **state)
{
	struct guest g = lying_guest(true);

	assert_int_equal(pop(g.lab), -EPROTO);
	assert_true(hung_up(g.lab));
	lab_free(g.lab);
}

static void a_lie_on_a_disabled_ring_halts_it(void **state)
{
	struct guest g = lying_guest(true);

	__atomic_store_n(&((struct split_avail *)(void *)(ring_memory(&g) + 0x1000))->idx, g.avail, __ATOMIC_RELAXED);
	say_pair(g.lab, VU_SET_VRING_ENABLE, 0, 0);
	assert_non_null(g.lab->type.running[0]); /* it goes on, without effects */
	((struct split_avail *)(void *)(ring_memory(&g) + 0x1000))->idx = (uint16_t)(g.avail + SIZE + 1);
	assert_int_equal(pop(g.lab), -EPROTO);
	assert_null(g.lab->type.running[0]);
	assert_false(hung_up(g.lab));
	lab_free(g.lab);
}

/* By itself: who has mended a ring need not tell all of it anew. */
static void a_halted_ring_starts_again_with_any_word_of_its_set_up(void **state)
{
	static const enum step words[] = { NUM, BASE, ADDR, KICK, DISABLE };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		struct guest g = lying_guest(false);

		assert_int_equal(pop(g.lab), -EPROTO);
		assert_null(g.lab->type.running[0]);
		guest_new(&g);
		ring_says(&g, CALL);
		assert_null(g.lab->type.running[0]); /* this one says nothing of the ring */
		ring_says(&g, words[i]);
		if (words[i] == DISABLE)
			ring_says(&g, ENABLE);
		traffic(&g);
		lab_free(g.lab);
	}
}

static void a_message_that_waits_for_a_halted_ring_is_answered(void **state)
{
	struct guest g = lying_guest(false);
	uint32_t reply[2];

	g.lab->type.late = true;
	assert_int_equal(pop(g.lab), -EPROTO);
	assert_int_equal(type_total(g.lab->type.stopped), 1); /* its worker has been asked for it, once */
	say_pair(g.lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(g.lab, VU_GET_VRING_BASE, reply, sizeof(reply)), -1);
	assert_int_equal(type_total(g.lab->type.stopped), 1);
	type_quiesced_all(&g.lab->type);
	assert_int_equal(hear(g.lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
	lab_free(g.lab);
}

static void a_session_that_ends_waits_for_a_halted_ring(void **state)
{
	struct guest g = lying_guest(false);

	g.lab->type.late = true;
	assert_int_equal(pop(g.lab), -EPROTO);
	fd_close(&g.lab->fd);
	pump(g.lab);
	assert_int_equal(g.lab->type.disconnected, 0);
	type_quiesced_all(&g.lab->type);
	pump(g.lab);
	assert_int_equal(g.lab->type.disconnected, 1);
	lab_free(g.lab);
}

static void a_base_that_the_ring_does_not_fit_is_one_warning(void **state)
{
	struct guest g = { .lab = lab_new() };

	negotiate(g.lab, P_ALL);
	share_memory(g.lab);
	((struct split_used *)(void *)(ring_memory(&g) + 0x2000))->idx = 37;
	ring(g.lab, 0);
	assert_non_null(strstr(g.lab->log, "lab: queue 0 begins at 0, its base is 0: the used index in memory"));
	traffic(&g);
	share_memory(g.lab);
	assert_null(strstr(strstr(g.lab->log, "begins at") + 1, "begins at"));
	lab_free(g.lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rings_come_and_go_as_front_ends_do_it_split),
		cmocka_unit_test(rings_come_and_go_as_front_ends_do_it_packed),
		cmocka_unit_test(tracked_rings_come_and_go_as_front_ends_do_it),
		cmocka_unit_test(a_lie_on_a_ring_that_has_carried_nothing_halts_it_and_not_the_device),
		cmocka_unit_test(a_lie_on_a_ring_that_has_carried_something_ends_the_session),
		cmocka_unit_test(a_lie_on_a_disabled_ring_halts_it),
		cmocka_unit_test(a_halted_ring_starts_again_with_any_word_of_its_set_up),
		cmocka_unit_test(a_message_that_waits_for_a_halted_ring_is_answered),
		cmocka_unit_test(a_session_that_ends_waits_for_a_halted_ring),
		cmocka_unit_test(a_base_that_the_ring_does_not_fit_is_one_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
