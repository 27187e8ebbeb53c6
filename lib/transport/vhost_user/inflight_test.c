/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include "wire/inflight.h"

/*
 * Memory for what is in flight, and a device that completes in any order. A back end that is killed leaves memory as it was at
 * that moment: what it does at the end of a session, this test takes back.
 */

#define F_PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define BUFFERS	 (GPA + 0xf0000)

struct scene {
	struct lab *lab;
	bool packed;
	int region_fd; /* the front end's */
	struct vu_inflight told;
	uint8_t *region;
	unsigned added; /* chains; each has an id of its own, which is its number in the ring */
	uint8_t back[SIZE]; /* how often each came back */
	uint16_t used; /* the driver's: split: an index; packed: a place */
	struct vireo_chain chains[SIZE]; /* of the device */
	struct iovec iov[SIZE * 4];
};

static int hear_with_fd(struct lab *lab, struct packet *p)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = p, .iov_len = sizeof(*p) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	int fd = -1;

	assert_true(recvmsg(lab->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) >= 12);
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

static void ask_region(struct scene *s, uint16_t queues, uint16_t size, uint32_t bytes)
{
	struct vu_inflight told = { .num_queues = queues, .queue_size = size };
	struct packet p;

	say(s->lab, VU_GET_INFLIGHT_FD, &told, bytes);
	s->region_fd = hear_with_fd(s->lab, &p);
	assert_int_equal(p.request, VU_GET_INFLIGHT_FD);
	assert_int_equal(p.flags, VU_VERSION | VU_FLAG_REPLY);
	assert_int_equal(p.size, bytes);
	memcpy(&s->told, p.payload, VU_INFLIGHT_BYTES);
	assert_true(s->region_fd >= 0);
}

static void give_region(struct scene *s)
{
	assert_int_equal(ack_fds(s->lab, VU_SET_INFLIGHT_FD, &s->told, VU_INFLIGHT_PADDED_BYTES, &s->region_fd, 1), 0);
}

/* As far as QEMU goes before it sets up rings. */
static void connect_front_with(struct scene *s, uint64_t protocol)
{
	dial(s->lab);
	ask_u64(s->lab, VU_GET_FEATURES);
	say_u64(s->lab, VU_SET_PROTOCOL_FEATURES, protocol);
	say(s->lab, VU_SET_OWNER, NULL, 0);
	say_u64(s->lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | (s->packed ? F_PACKED : 0));
}

static void connect_front(struct scene *s)
{
	connect_front_with(s, P_ALL);
}

static void start_disabled_at(struct scene *s, uint32_t base)
{
	struct addr_message addr = ring_addr(0);

	share_memory(s->lab);
	say_pair(s->lab, VU_SET_VRING_NUM, 0, SIZE);
	say_pair(s->lab, VU_SET_VRING_BASE, 0, base);
	say(s->lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	kick_set(s->lab, 0);
}

/* What a front end knows of the base, that has lost its back end: nothing new. */
static void start_disabled(struct scene *s)
{
	start_disabled_at(s, s->packed ? 0x80008000 : 0);
}

static void start(struct scene *s)
{
	start_disabled(s);
	say_pair(s->lab, VU_SET_VRING_ENABLE, 0, 1);
}

static struct scene *scene_of(bool packed, bool tracked, bool handover)
{
	const struct vireo_endpoint_config config = { .size = sizeof(config), .vhost_user.handover = handover };
	struct scene *s = test_calloc(1, sizeof(*s));

	s->lab = lab_make_of(&ops, true);
	assert_int_equal(vireo_endpoint_open(s->lab->device, s->lab->address, &config, &s->lab->endpoint), 0);
	s->packed = packed;
	s->used = packed ? 0x8000 : 0;
	s->region_fd = -1;
	connect_front(s);
	make_memory(s->lab);
	if (!tracked)
		return s;
	ask_region(s, 2, SIZE, VU_INFLIGHT_PADDED_BYTES);
	s->region = mmap(NULL, s->told.mmap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->region_fd, 0);
	assert_ptr_not_equal(s->region, MAP_FAILED);
	give_region(s);
	return s;
}

static struct scene *scene_new(bool packed, bool tracked)
{
	return scene_of(packed, tracked, false);
}

static void scene_free(struct scene *s)
{
	if (s->region)
		munmap(s->region, s->told.mmap_bytes);
	fd_close(&s->region_fd);
	lab_free(s->lab);
	test_free(s);
}

/* ---- the driver ---- */

static void add(struct scene *s, unsigned count)
{
	struct packed_desc *packed = (void *)s->lab->memory;
	struct split_desc *descs = (void *)s->lab->memory;
	struct split_avail *avail = (void *)(s->lab->memory + 0x1000);

	for (; count--; s->added++) {
		unsigned n = s->added % SIZE;

		assert_true(s->added < SIZE); /* once round */
		if (s->packed) {
			packed[n] = (struct packed_desc){ .addr = BUFFERS + 64 * n, .len = 16, .id = (uint16_t)n,
							  .flags = PACKED_DESC_AVAIL_MASK };
		} else {
			descs[n] = (struct split_desc){ .addr = BUFFERS + 64 * n, .len = 16 };
			avail->ring[n] = (uint16_t)n;
			avail->idx = (uint16_t)(s->added + 1);
		}
	}
}

static unsigned take(struct scene *s)
{
	const struct packed_desc *packed = (void *)s->lab->memory;
	const struct split_used *used = (void *)(s->lab->memory + 0x2000);
	unsigned count = 0, all = PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK;

	for (; s->packed ? s->used < 0x8000 + SIZE && (packed[s->used & 0x7fff].flags & all) == all : s->used != used->idx; count++) {
		s->back[s->packed ? packed[s->used & 0x7fff].id : used->ring[s->used].id]++;
		s->used++;
	}
	return count;
}

/* ---- the device ---- */

static int pop(struct scene *s)
{
	return vireo_queue_pop(s->lab->type.running[0], s->chains, SIZE, s->iov, ARRAY_SIZE(s->iov));
}

/* Number `n` of those that have been popped last. */
static void complete(struct scene *s, unsigned n)
{
	vireo_queue_push(s->lab->type.running[0], &s->chains[n], 0);
	vireo_queue_flush(s->lab->type.running[0]);
}

/* The session ends well for the device that is served; memory is as it was. */
static void killed(struct scene *s, unsigned out)
{
	uint8_t *memory = test_malloc(MEMORY_BYTES), *region = test_malloc(s->told.mmap_bytes + 1);

	memcpy(memory, s->lab->memory, MEMORY_BYTES);
	if (s->region)
		memcpy(region, s->region, s->told.mmap_bytes);
	vireo_queue_push_burst(s->lab->type.running[0], s->chains + SIZE - out, NULL, out);
	vireo_queue_flush(s->lab->type.running[0]);
	fd_close(&s->lab->fd);
	pump(s->lab);
	memcpy(s->lab->memory, memory, MEMORY_BYTES);
	if (s->region)
		memcpy(s->region, region, s->told.mmap_bytes);
	test_free(memory);
	test_free(region);
	connect_front(s);
}

/* Of six, the fifth and the second are done, and shown; the last two have not been popped. */
static void work_out_of_order(struct scene *s)
{
	add(s, 6);
	assert_int_equal(pop(s), 6);
	complete(s, 4);
	complete(s, 1);
	/* What `killed` gives back. */
	s->chains[SIZE - 1] = s->chains[5];
	s->chains[SIZE - 2] = s->chains[3];
	s->chains[SIZE - 3] = s->chains[2];
	s->chains[SIZE - 4] = s->chains[0];
	add(s, 2);
}

static void is_killed_at_work(struct scene *s)
{
	start(s);
	work_out_of_order(s);
	killed(s, 4);
}

/* By a front end that does not take along what is in flight. */
static void asks_a_successor_for_the_base(struct scene *s)
{
	connect_front_with(s, P_ALL & ~P(GET_VRING_BASE_INFLIGHT));
	give_region(s);
	start(s);
	say_pair(s->lab, VU_GET_VRING_BASE, 0, 0);
}

static void a_successor_completes_what_was_in_flight_and_none_twice(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		static const unsigned order[] = { 0, 2, 3, 5 };
		struct scene *s = scene_new(packed, true);

		start(s);
		work_out_of_order(s);
		assert_int_equal(take(s), 2);
		killed(s, 4);
		give_region(s);
		start(s);
		assert_non_null(s->lab->type.running[0]);
		assert_null(strstr(s->lab->log, "is taken for new"));
		assert_int_equal(pop(s), 4); /* what is owed, in the order of its first pop */
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal((uint8_t *)s->chains[i].iov[0].iov_base - (uint8_t *)s->chains[0].iov[0].iov_base,
					 64 * order[i]);
		for (unsigned i = 4; i--;)
			complete(s, i);
		assert_int_equal(pop(s), 2); /* and then what was never popped */
		complete(s, 1);
		complete(s, 0);
		assert_int_equal(take(s), 6);
		for (unsigned i = 0; i < SIZE; i++)
			assert_int_equal(s->back[i], 1);
		scene_free(s);
	}
}

/* Without such memory nothing tells what was in flight: the queue stands still, and the session goes on. */
static void without_it_a_queue_in_which_chains_were_in_flight_does_not_start(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = scene_new(packed, false);

		is_killed_at_work(s);
		start(s);
		assert_null(s->lab->type.running[0]);
		assert_non_null(strstr(s->lab->log, "chains were in flight, and nothing tells which"));
		assert_false(hung_up(s->lab));
		scene_free(s);
	}
}

/* Three are done, out of order, and two wait; then the ring is somebody's who has had other memory for what is in flight from the beginning. */
static struct scene *moves_while_chains_wait(unsigned packed, uint32_t base)
{
	struct scene *s = scene_new(packed, true);

	start(s);
	add(s, 3);
	assert_int_equal(pop(s), 3);
	for (unsigned i = 3; i--;)
		complete(s, i);
	assert_int_equal(take(s), 3);
	add(s, 2);
	killed(s, 0);
	fd_close(&s->region_fd);
	ask_region(s, 2, SIZE, VU_INFLIGHT_PADDED_BYTES);
	give_region(s);
	start_disabled_at(s, base);
	say_pair(s->lab, VU_SET_VRING_ENABLE, 0, 1);
	return s;
}

/* As a guest has them that has moved here. */
static void chains_that_wait_at_the_base_were_not_in_flight_where_new_memory_says_nothing(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = moves_while_chains_wait(packed, packed ? 0x80038003 : 3);

		assert_non_null(s->lab->type.running[0]);
		assert_non_null(strstr(s->lab->log, "what waits at the base is taken for new"));
		assert_int_equal(pop(s), 2);
		complete(s, 1);
		complete(s, 0);
		assert_int_equal(take(s), 2);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(s->back[i], 1);
		scene_free(s);
	}
}

/* Who does not know where the ring stands does not know either what was in flight there. */
static void new_memory_says_nothing_of_a_ring_that_stands_elsewhere(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = moves_while_chains_wait(packed, packed ? 0x80028002 : 2);

		assert_null(s->lab->type.running[0]);
		assert_non_null(strstr(s->lab->log, "chains were in flight, and nothing tells which"));
		scene_free(s);
	}
}

/* ---- without such memory: a mark of rest in the ring ---- */

static void add_and_complete(struct scene *s, unsigned count)
{
	add(s, count);
	assert_int_equal(pop(s), count);
	while (count--)
		complete(s, count);
}

static uint32_t base_after(const struct scene *s, uint32_t used)
{
	return s->packed ? (used | 0x8000) * 0x10001u : used;
}

/* Three are done, out of order, and none waits. */
static struct scene *none_waits(bool packed)
{
	struct scene *s = scene_new(packed, false);

	start(s);
	add_and_complete(s, 3);
	assert_int_equal(take(s), 3);
	return s;
}

/* ... and two wait. */
static struct scene *two_wait(bool packed)
{
	struct scene *s = none_waits(packed);

	add(s, 2);
	return s;
}

static void asks_for_the_base(struct scene *s)
{
	uint32_t reply[2] = { 0 };

	say_pair(s->lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(s->lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
	assert_int_equal(reply[1], base_after(s, 3));
}

/* Nothing is written to memory when it ends. */
static void session_ends(struct scene *s)
{
	uint8_t *memory = test_malloc(MEMORY_BYTES);

	memcpy(memory, s->lab->memory, MEMORY_BYTES);
	fd_close(&s->lab->fd);
	pump(s->lab);
	assert_memory_equal(memory, s->lab->memory, MEMORY_BYTES);
	test_free(memory);
}

static bool begins_at_the_base(struct scene *s)
{
	connect_front(s);
	start_disabled_at(s, base_after(s, 3));
	say_pair(s->lab, VU_SET_VRING_ENABLE, 0, 1);
	return s->lab->type.running[0];
}

static void both_are_served(struct scene *s)
{
	assert_null(strstr(s->lab->log, "is taken for new"));
	assert_int_equal(pop(s), 2);
	complete(s, 1);
	complete(s, 0);
	assert_int_equal(take(s), 2);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(s->back[i], 1);
}

/* As where a guest moves to another back end, by a front end that has no such memory. */
static void what_waits_at_a_base_that_was_told_is_served_by_the_next(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);

		asks_for_the_base(s);
		session_ends(s);
		assert_true(begins_at_the_base(s));
		both_are_served(s);
		scene_free(s);
	}
}

/* The guest goes on before its next back end looks: what is said when a guest has moved is not waited for. */
static void what_comes_between_two_back_ends_is_served_by_the_next(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = none_waits(packed);

		asks_for_the_base(s);
		session_ends(s);
		add(s, 2);
		assert_true(begins_at_the_base(s));
		both_are_served(s);
		scene_free(s);
	}
}

/* It may be disabled first, as QEMU does. */
static void a_ring_that_is_disabled_and_stopped_is_served_by_the_next(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);

		say_pair(s->lab, VU_SET_VRING_ENABLE, 0, 0);
		asks_for_the_base(s);
		session_ends(s);
		assert_true(begins_at_the_base(s));
		both_are_served(s);
		scene_free(s);
	}
}

static void where_no_base_was_told_nothing_is_known_of_what_waits(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);

		say_pair(s->lab, VU_SET_VRING_NUM, 0, SIZE); /* it has been quiet, and goes on */
		assert_non_null(s->lab->type.running[0]);
		session_ends(s);
		assert_false(begins_at_the_base(s));
		assert_non_null(strstr(s->lab->log, "chains were in flight, and nothing tells which"));
		scene_free(s);
	}
}

/* The front end is gone, and whoever has its memory now may be at work there. */
static void a_front_end_that_hangs_up_before_it_is_told_finds_nothing_written(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);
		uint8_t *memory = test_malloc(MEMORY_BYTES);

		s->lab->type.late = true;
		say_pair(s->lab, VU_GET_VRING_BASE, 0, 0);
		memcpy(memory, s->lab->memory, MEMORY_BYTES);
		fd_close(&s->lab->fd);
		pump(s->lab);
		type_quiesced_all(&s->lab->type);
		pump(s->lab);
		assert_memory_equal(memory, s->lab->memory, MEMORY_BYTES);
		test_free(memory);
		s->lab->type.late = false;
		assert_false(begins_at_the_base(s));
		scene_free(s);
	}
}

/* As QEMU's `stop` and `cont`: the same session goes on, and is killed later. */
static void a_ring_that_has_gone_on_since_its_base_was_told_is_in_doubt(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);

		asks_for_the_base(s);
		start_disabled_at(s, base_after(s, 3));
		assert_non_null(s->lab->type.running[0]);
		assert_int_equal(pop(s), 2);
		for (unsigned i = 0; i < 2; i++)
			s->chains[SIZE - 2 + i] = s->chains[i];
		killed(s, 2);
		assert_false(begins_at_the_base(s));
		scene_free(s);
	}
}

/* And where it is served to its end, it is not: the same session, and the next. */
static void a_ring_that_stops_and_goes_on_is_served(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);

		asks_for_the_base(s);
		start_disabled_at(s, base_after(s, 3));
		both_are_served(s);
		scene_free(s);
	}
}

#define LOG_BYTES 64u

/* What the front end has copied before it hears the base is copied again. */
static void the_mark_is_in_the_dirty_log_when_the_base_is_told(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = two_wait(packed);
		const uint64_t payload[] = { LOG_BYTES, 0 };
		struct addr_message addr = ring_addr(0);
		int fd = memfd_create("log", MFD_CLOEXEC);
		uint64_t page = (GPA + 0x2000) / 4096;
		uint8_t *bits;

		assert_int_equal(ftruncate(fd, LOG_BYTES), 0);
		bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(bits, MAP_FAILED);
		addr.flags = 1;
		addr.log = GPA + 0x2000;
		say_u64(s->lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | VU_FEATURE_LOG_ALL | (packed ? F_PACKED : 0));
		say_fds(s->lab, VU_SET_LOG_BASE, 0, payload, sizeof(payload), &fd, 1);
		assert_int_equal(hear_u64(s->lab, VU_SET_LOG_BASE), 0);
		say(s->lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
		assert_int_equal(pop(s), 2);
		vireo_queue_unpop(s->lab->type.running[0], s->chains, 2); /* it has taken the log */
		memset(bits, 0, LOG_BYTES);
		asks_for_the_base(s);
		assert_true(bits[page / 8] >> page % 8 & 1);
		munmap(bits, LOG_BYTES);
		close(fd);
		scene_free(s);
	}
}

/* Who goes on from a base without the region would lose what is in flight. */
static void a_base_is_told_when_what_was_in_flight_has_been_served(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = scene_new(packed, true);
		uint32_t reply[2] = { 0 };

		is_killed_at_work(s);
		asks_a_successor_for_the_base(s);
		for (unsigned i = 0; i < 3; i++) {
			pump_wait(s->lab, 1000);
			assert_int_equal(hear(s->lab, VU_GET_VRING_BASE, reply, sizeof(reply)), -1);
			assert_non_null(s->lab->type.running[0]); /* in the meantime, it runs */
		}
		assert_int_equal(pop(s), 4);
		for (unsigned i = 4; i--;)
			complete(s, i);
		for (unsigned i = 0; i < 1000 && s->lab->type.running[0]; i++)
			pump_wait(s->lab, 1000);
		assert_int_equal(hear(s->lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
		assert_int_equal(reply[1], packed ? 0x80068006 : 6);
		scene_free(s);
	}
}

static void a_base_is_told_at_once_where_the_front_end_takes_what_is_in_flight_along(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = scene_new(packed, true);
		uint32_t reply[2] = { 0 };

		is_killed_at_work(s);
		give_region(s);
		start(s);
		say_pair(s->lab, VU_GET_VRING_BASE, 0, 0);
		assert_int_equal(hear(s->lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
		assert_int_equal(reply[1], packed ? 0x80028006 : 6); /* two of six are used */
		start(s); /* another back end would be given the same */
		assert_int_equal(pop(s), 4);
		for (unsigned i = 4; i--;)
			complete(s, i);
		scene_free(s);
	}
}

static void a_front_end_that_hangs_up_while_its_base_waits_is_let_go(void **state)
{
	struct scene *s = scene_new(false, true);

	is_killed_at_work(s);
	asks_a_successor_for_the_base(s);
	vireo_endpoint_close(s->lab->endpoint, on_closed, s->lab);
	assert_int_equal(s->lab->closed, 1);
	s->lab->endpoint = NULL;
	scene_free(s);
}

static void taking_along_without_memory_is_refused(void **state)
{
	struct scene *s = scene_new(false, false);

	say_u64(s->lab, VU_SET_PROTOCOL_FEATURES, P_ALL & ~P(INFLIGHT_SHMFD));
	assert_true(hung_up(s->lab));
	scene_free(s);
}

/* A driver that has reset the device has taken back all that was in flight. */
static void a_reset_device_owes_nothing(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = scene_new(packed, true);

		is_killed_at_work(s);
		give_region(s);
		say_u64(s->lab, VU_SET_STATUS, 0);
		memset(s->lab->memory, 0, 0x4000);
		s->added = 0;
		say_u64(s->lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | (packed ? F_PACKED : 0));
		start(s);
		assert_non_null(s->lab->type.running[0]);
		assert_int_equal(pop(s), 0);
		add(s, 3);
		assert_int_equal(pop(s), 3);
		vireo_queue_unpop(s->lab->type.running[0], s->chains, 3);
		scene_free(s);
	}
}

static void what_lies_in_the_region_ends_the_session(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = scene_new(packed, true);

		is_killed_at_work(s);
		((struct inflight_split *)(void *)s->region)->version = 7;
		give_region(s);
		start_disabled(s);
		assert_null(s->lab->type.running[0]);
		assert_true(hung_up(s->lab));
		assert_non_null(strstr(s->lab->log, "broken: queue 0: the in-flight region is of a version that nobody knows"));
		assert_null(strstr(s->lab->log, "stands still"));
		scene_free(s);
	}
}

static void on_held(void *opaque, int err)
{
	*(int *)opaque = err;
}

/* It was good when the session was held: the ring is refused when it goes on, and that ends the session. */
static void what_lies_in_the_region_ends_a_session_that_goes_on(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct scene *s = scene_of(packed, true, true);
		int held = 1;

		start(s);
		assert_non_null(s->lab->type.running[0]);
		assert_int_equal(vireo_endpoint_hold(s->lab->endpoint, on_held, &held), 0);
		assert_int_equal(held, 0);
		((struct inflight_split *)(void *)s->region)->version = 7;
		assert_int_equal(vireo_endpoint_go_on(s->lab->endpoint), 0);
		assert_true(hung_up(s->lab));
		assert_non_null(strstr(s->lab->log, "broken: queue 0: the in-flight region is of a version that nobody knows"));
		assert_false(vireo_endpoint_connected(s->lab->endpoint));
		scene_free(s);
	}
}

static void a_region_has_room_for_the_queues_that_were_named(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		static const uint16_t sizes[] = { 1, 7, 128, 32768 };
		struct scene *s = scene_new(packed, true);

		munmap(s->region, s->told.mmap_bytes);
		s->region = NULL;
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			uint64_t each = (packed ? 32 + 32 * sizes[i] : 16 + 16 * sizes[i]);
			struct stat st;

			fd_close(&s->region_fd);
			ask_region(s, QUEUES, sizes[i], i % 2 ? VU_INFLIGHT_BYTES : VU_INFLIGHT_PADDED_BYTES);
			each = (each + 63) / 64 * 64; /* as libvhost-user and DPDK lay them out */
			assert_int_equal(s->told.mmap_bytes, QUEUES * each);
			assert_int_equal(s->told.mmap_offset, 0);
			assert_int_equal(s->told.num_queues, QUEUES);
			assert_int_equal(s->told.queue_size, sizes[i]);
			assert_int_equal(fstat(s->region_fd, &st), 0);
			assert_int_equal(st.st_size, QUEUES * each);
			assert_int_equal(ftruncate(s->region_fd, 0), -1); /* who has it cannot take it from under us */
		}
		scene_free(s);
	}
}

/* Refused, and nothing else: the session goes on. */
static void a_region_that_does_not_fit_is_refused(void **state)
{
	static const struct vu_inflight lies[] = {
		{ 4096, 0, 0, SIZE },
		{ 4096, 0, QUEUES + 1, SIZE },
		{ 1u << 20, 0, UINT16_MAX, SIZE },
		{ 4096, 0, 2, 0 },
		{ 4096, 0, 2, UINT16_MAX },
		{ 0, 0, 2, SIZE },
		{ 2 * 192 - 1, 0, 2, SIZE }, /* split: 16 and 8 times 16, made a multiple of 64 */
		{ 8192, 0, 2, SIZE }, /* beyond the file's end */
		{ 4096, 1, 2, SIZE },
		{ 4096, UINT64_MAX, 2, SIZE },
		{ UINT64_MAX, 0, 2, SIZE },
		{ 2048, 4, 2, SIZE },
	};
	struct scene *s = scene_new(false, false);
	int fd = memfd_create("region", MFD_CLOEXEC), pipes[2];

	assert_int_equal(ftruncate(fd, 4096), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		if (!ack_fds(s->lab, VU_SET_INFLIGHT_FD, &lies[i], VU_INFLIGHT_PADDED_BYTES, &fd, 1))
			fail_msg("lie %u is believed", i);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(ack_fds(s->lab, VU_SET_INFLIGHT_FD, &(struct vu_inflight){ 4096, 0, 2, SIZE }, VU_INFLIGHT_PADDED_BYTES,
				 &pipes[0], 1), 1);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(ack_fds(s->lab, VU_SET_INFLIGHT_FD, &(struct vu_inflight){ 2 * 192, 8, 2, SIZE }, VU_INFLIGHT_BYTES, &fd, 1), 0);
	close(fd);
	start(s);
	assert_non_null(s->lab->type.running[0]);
	scene_free(s);
}

static void who_asks_for_a_region_of_no_size_is_a_liar(void **state)
{
	static const struct vu_inflight lies[] = { { 0, 0, 0, SIZE }, { 0, 0, QUEUES + 1, SIZE }, { 0, 0, 1, 0 }, { 0, 0, 1, 32769 } };

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct scene *s = scene_new(false, false);

		say(s->lab, VU_GET_INFLIGHT_FD, &lies[i], VU_INFLIGHT_PADDED_BYTES);
		assert_true(hung_up(s->lab));
		assert_non_null(strstr(s->lab->log, "GET_INFLIGHT_FD (31), 24 bytes, 0 fds: in-flight memory for"));
		scene_free(s);
	}
}

/* Regions of split rings are shorter. QEMU tells of the next driver's features before it asks for other memory. */
static void a_region_that_is_too_short_for_the_other_format_is_let_go(void **state)
{
	struct scene *s = scene_new(false, true);

	say_u64(s->lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | F_PACKED);
	s->packed = true;
	assert_false(hung_up(s->lab));
	assert_non_null(strstr(s->lab->log, "no room for rings of this format"));
	start(s);
	assert_non_null(s->lab->type.running[0]);
	scene_free(s);
}

/* The second ring has none, and a third that is larger than was said cannot start. */
/* The region was the session's: who comes next has none. */
static void a_queue_of_the_next_session_runs_without_it(void **state)
{
	struct scene *s = scene_new(false, true);

	start(s);
	assert_non_null(s->lab->type.running[0]);
	connect_front(s);
	start(s);
	assert_non_null(s->lab->type.running[0]);
	scene_free(s);
}

static void a_ring_that_the_region_was_not_made_for_stands_still(void **state)
{
	struct scene *s = scene_new(false, true);
	struct addr_message addr = ring_addr(1);

	share_memory(s->lab);
	say_pair(s->lab, VU_SET_VRING_NUM, 1, 2 * SIZE);
	say_pair(s->lab, VU_SET_VRING_BASE, 1, 0);
	say(s->lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	kick_set(s->lab, 1);
	assert_null(s->lab->type.running[1]);
	assert_non_null(strstr(s->lab->log, "smaller ring"));
	ring(s->lab, 2); /* not named in the region: as if there was none */
	assert_non_null(s->lab->type.running[2]);
	scene_free(s);
}

/* The device has the new format by then, whatever becomes of the rest. Behind the region is what is the front end's own. */
static void a_refused_message_that_changes_the_format_leaves_no_region_that_is_too_short(void **state)
{
	struct scene *s = scene_new(false, false);
	struct vu_inflight told = { .mmap_bytes = inflight_queue_bytes(false, 64), .num_queues = 1, .queue_size = 64 };
	const uint64_t features = F_PROTOCOL | F_VERSION_1 | F_PACKED | F_IOMMU;
	uint8_t *file;

	s->region_fd = memfd_create("region", MFD_CLOEXEC);
	assert_int_equal(ftruncate(s->region_fd, 4096), 0);
	file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->region_fd, 0);
	assert_ptr_not_equal(file, MAP_FAILED);
	memset(file + told.mmap_bytes, 0x5a, 4096 - told.mmap_bytes);
	assert_int_equal(ack_fds(s->lab, VU_SET_INFLIGHT_FD, &told, VU_INFLIGHT_PADDED_BYTES, &s->region_fd, 1), 0);
	/* There is no channel for an IOMMU: who has been told so could go on, and start rings. */
	assert_int_not_equal(ack_fds(s->lab, VU_SET_FEATURES, &features, sizeof(features), NULL, 0), 0);
	s->packed = true;
	start(s);
	assert_non_null(strstr(s->lab->log, "no room for rings of this format"));
	for (unsigned i = (unsigned)told.mmap_bytes; i < 4096; i++)
		assert_int_equal(file[i], 0x5a);
	munmap(file, 4096);
	scene_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_successor_completes_what_was_in_flight_and_none_twice),
		cmocka_unit_test(without_it_a_queue_in_which_chains_were_in_flight_does_not_start),
		cmocka_unit_test(chains_that_wait_at_the_base_were_not_in_flight_where_new_memory_says_nothing),
		cmocka_unit_test(new_memory_says_nothing_of_a_ring_that_stands_elsewhere),
		cmocka_unit_test(what_waits_at_a_base_that_was_told_is_served_by_the_next),
		cmocka_unit_test(what_comes_between_two_back_ends_is_served_by_the_next),
		cmocka_unit_test(a_ring_that_is_disabled_and_stopped_is_served_by_the_next),
		cmocka_unit_test(where_no_base_was_told_nothing_is_known_of_what_waits),
		cmocka_unit_test(a_front_end_that_hangs_up_before_it_is_told_finds_nothing_written),
		cmocka_unit_test(a_ring_that_has_gone_on_since_its_base_was_told_is_in_doubt),
		cmocka_unit_test(a_ring_that_stops_and_goes_on_is_served),
		cmocka_unit_test(the_mark_is_in_the_dirty_log_when_the_base_is_told),
		cmocka_unit_test(a_base_is_told_when_what_was_in_flight_has_been_served),
		cmocka_unit_test(a_base_is_told_at_once_where_the_front_end_takes_what_is_in_flight_along),
		cmocka_unit_test(a_front_end_that_hangs_up_while_its_base_waits_is_let_go),
		cmocka_unit_test(taking_along_without_memory_is_refused),
		cmocka_unit_test(a_reset_device_owes_nothing),
		cmocka_unit_test(what_lies_in_the_region_ends_the_session),
		cmocka_unit_test(what_lies_in_the_region_ends_a_session_that_goes_on),
		cmocka_unit_test(a_region_has_room_for_the_queues_that_were_named),
		cmocka_unit_test(a_region_that_does_not_fit_is_refused),
		cmocka_unit_test(who_asks_for_a_region_of_no_size_is_a_liar),
		cmocka_unit_test(a_region_that_is_too_short_for_the_other_format_is_let_go),
		cmocka_unit_test(a_queue_of_the_next_session_runs_without_it),
		cmocka_unit_test(a_ring_that_the_region_was_not_made_for_stands_still),
		cmocka_unit_test(a_refused_message_that_changes_the_format_leaves_no_region_that_is_too_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
