/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/endpoint_internal.h"
#include "transport/vhost_user/session_lab.h"
#include "wire/handover.h"

/*
 * An endpoint goes from one process to another (both are this one): its front end sees no end, its rings go on where they stood; and
 * what is handed over may be anybody's bytes.
 */

#define F_PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define ENDPOINT_CONFIG { .size = sizeof(struct vireo_endpoint_config), .vhost_user.handover = 1 }

struct two {
	struct lab *old, *new;
	int channel; /* the front end's end */
	bool packed;
	unsigned offered;
	int held; /* what the last hold has said; 1: nothing */
};

static void on_held(void *opaque, int err)
{
	((struct two *)opaque)->held = err;
}

/* ---- the driver, and who serves it ---- */

static void offer(struct two *t)
{
	uint8_t *memory = t->old->memory;
	struct split_desc *descs = (void *)memory;
	struct split_avail *avail = (void *)(memory + 0x1000);
	struct packed_desc *packed = (void *)memory;
	unsigned pos = t->offered++ % SIZE;
	bool wrap = (t->offered - 1) / SIZE % 2 == 0;

	if (t->packed) {
		packed[pos].addr = GPA + 0xf0000;
		packed[pos].len = 16;
		packed[pos].id = (uint16_t)pos;
		__atomic_store_n(&packed[pos].flags, DESC_F_WRITE | (wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK), __ATOMIC_RELEASE);
		return;
	}
	descs[pos] = (struct split_desc){ .addr = GPA + 0xf0000, .len = 16, .flags = DESC_F_WRITE };
	avail->ring[avail->idx % SIZE] = (uint16_t)pos;
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
}

static int serve(struct lab *lab)
{
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[SIZE];
	int count = vireo_queue_pop(lab->type.running[0], chains, SIZE, iov, ARRAY_SIZE(iov));

	for (int n = 0; n < count; n++)
		vireo_queue_push(lab->type.running[0], &chains[n], 16);
	if (count > 0)
		vireo_queue_flush(lab->type.running[0]);
	return count;
}

/* More than the ring's length, so that a packed one is in its second lap; and two chains wait. */
static void carry(struct two *t)
{
	for (unsigned i = 0; i < SIZE + 3; i++) {
		offer(t);
		assert_int_equal(serve(t->old), 1);
	}
	offer(t);
	offer(t);
}

/* ---- two processes ---- */

static struct two two_of(bool client)
{
	struct vireo_endpoint_config config = ENDPOINT_CONFIG;
	struct two t = { .old = lab_make(&ops), .channel = -1, .held = 1 };

	config.vhost_user.client = client;
	assert_int_equal(vireo_endpoint_open(t.old->device, t.old->address, &config, &t.old->endpoint), 0);
	t.new = lab_make(&ops);
	return t;
}

static void session_begin(struct two *t, uint64_t protocol)
{
	struct lab *lab = t->old;
	int pair[2];

	say_u64(lab, VU_SET_PROTOCOL_FEATURES, protocol);
	say_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | (t->packed ? F_PACKED : 0));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	t->channel = pair[0];
	share_memory(lab);
	if (t->packed)
		say_pair(lab, VU_SET_VRING_BASE, 0, 0x80008000);
	ring(lab, 0);
}

static struct two two_running(bool packed)
{
	struct two t = two_of(false);

	t.packed = packed;
	dial(t.old);
	session_begin(&t, P_ALL);
	if (packed) { /* ring() says that it is new */
		uint32_t reply[2];

		say_pair(t.old, VU_GET_VRING_BASE, 0, 0);
		assert_int_equal(hear(t.old, VU_GET_VRING_BASE, reply, 8), 8);
		say_pair(t.old, VU_SET_VRING_BASE, 0, 0x80008000);
		kick_set(t.old, 0);
	}
	assert_non_null(t.old->type.running[0]);
	return t;
}

static void hold(struct two *t)
{
	t->held = 1;
	assert_int_equal(vireo_endpoint_hold(t->old->endpoint, on_held, t), 0);
}

static struct vireo_endpoint_state exported(struct two *t)
{
	struct vireo_endpoint_state state = { .size = sizeof(state) };

	assert_int_equal(t->held, 0);
	assert_int_equal(vireo_endpoint_export(t->old->endpoint, &state), 0);
	return state;
}

static int import_as(struct two *t, const struct vireo_endpoint_state *state, bool client)
{
	struct vireo_endpoint_config config = ENDPOINT_CONFIG;

	config.vhost_user.client = client;
	config.state = state;
	return vireo_endpoint_open(t->new->device, t->old->address, &config, &t->new->endpoint);
}

static int import(struct two *t, const struct vireo_endpoint_state *state)
{
	return import_as(t, state, false);
}

static void close_end(struct lab *lab)
{
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	assert_int_equal(lab->closed, 1);
	lab->endpoint = NULL;
}

/* The new process goes on; the lab's front end speaks to it from now on. */
static void switch_over(struct two *t)
{
	close_end(t->old);
	assert_null(t->new->type.running[0]);
	assert_int_equal(vireo_endpoint_go_on(t->new->endpoint), 0);
	t->new->fd = dup(t->old->fd);
}

static void two_free(struct two *t)
{
	fd_close(&t->channel);
	fd_close(&t->new->fd);
	if (t->new->endpoint)
		close_end(t->new);
	vireo_device_free(t->new->device);
	assert_int_equal(rmdir(t->new->folder), 0);
	test_free(t->new);
	lab_free(t->old);
}

/* ---- it goes on ---- */

static void goes_on(bool packed)
{
	struct two t = two_running(packed);
	struct vireo_endpoint_state state;
	uint64_t kicks;

	t.old->state[0] = 7;
	carry(&t);
	hold(&t);
	assert_null(t.old->type.running[0]);
	state = exported(&t);
	assert_int_equal(import(&t, &state), 0);
	switch_over(&t);
	assert_false(hung_up(t.new));
	assert_non_null(t.new->type.running[0]);
	assert_int_equal(vireo_device_features(t.new->device), F_VERSION_1 | (packed ? F_PACKED : 0));
	assert_int_equal(t.new->state[0], 7);
	assert_true(read(t.old->call, &kicks, sizeof(kicks)) == sizeof(kicks)); /* one too many does no harm, one too few does */
	assert_int_equal(serve(t.new), 2);
	offer(&t);
	assert_int_equal(serve(t.new), 1);
	assert_int_equal(serve(t.new), 0);
	assert_int_equal(ask_u64(t.new, VU_GET_FEATURES) & F_VERSION_1, F_VERSION_1);
	if (!packed) {
		uint32_t base[2];

		say_pair(t.new, VU_GET_VRING_BASE, 0, 0);
		assert_int_equal(hear(t.new, VU_GET_VRING_BASE, base, 8), 8);
		assert_int_equal(base[1], t.offered);
	}
	two_free(&t);
}

static void split_ring_goes_on_where_it_stood(void **state)
{
	goes_on(false);
}

static void packed_ring_goes_on_where_it_stood(void **state)
{
	goes_on(true);
}

static bool config_is_told(const struct two *t)
{
	uint32_t words[3];

	if (recv(t->channel, words, sizeof(words), MSG_DONTWAIT) != sizeof(words))
		return false;
	assert_int_equal(words[0], VU_BACKEND_CONFIG_CHANGE_MSG);
	return true;
}

/* What its peer is still to be told, since it changes while all stands still, or found no room: by whoever goes on. */
static void config_that_changes_meanwhile_is_told(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state;

	hold(&t);
	assert_int_equal(vireo_device_config_set(t.old->device, 0, "Q", 1), 0);
	assert_false(config_is_told(&t));
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	assert_true(config_is_told(&t));
	hold(&t);
	assert_int_equal(vireo_device_config_set(t.old->device, 0, "R", 1), 0);
	state = exported(&t);
	assert_int_equal(import(&t, &state), 0);
	assert_false(config_is_told(&t));
	switch_over(&t);
	assert_true(config_is_told(&t));
	assert_false(config_is_told(&t));
	two_free(&t);
}

/* The next front end finds the socket, and the successor's end takes the path away. */
static void socket_goes_with_it(void **unused)
{
	struct two t = two_of(false);
	struct vireo_endpoint_state state;
	int fd;

	hold(&t);
	state = exported(&t);
	assert_int_equal(state.fd_count, 1);
	assert_int_equal(import(&t, &state), 0);
	fd = unix_dial(t.old->path); /* meanwhile */
	switch_over(&t);
	pump(t.new);
	assert_true(vireo_endpoint_connected(t.new->endpoint));
	close(fd);
	two_free(&t);
}

static void client_goes_on(void **unused)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct two t = two_of(true);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct vireo_endpoint_state state;

	strcpy(addr.sun_path, t.old->path);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	while (!vireo_endpoint_connected(t.old->endpoint))
		pump_wait(t.old, 100);
	t.old->fd = accept(listener, NULL, NULL);
	session_begin(&t, P_ALL);
	hold(&t);
	state = exported(&t);
	assert_int_equal(import(&t, &state), -EINVAL); /* one that listens */
	assert_int_equal(import_as(&t, &state, true), 0);
	switch_over(&t);
	assert_non_null(t.new->type.running[0]);
	assert_int_equal(ask_u64(t.new, VU_GET_FEATURES) & F_VERSION_1, F_VERSION_1);
	close(listener);
	unlink(t.old->path);
	two_free(&t);
}

/* It is made of many regions, and some were added twice; a ring has its place and is not enabled. */
static void regions_and_rings_that_do_not_run_go_on(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state;
	uint64_t region[5];

	memcpy(region, region_message, sizeof(region));
	region[2] = 0x1000;
	region[1] = GPA + MEMORY_BYTES;
	region[3] = UADDR + MEMORY_BYTES;
	for (unsigned i = 0; i < 12; i++) {
		unsigned times = i == 3 ? 2 : 1;

		region[1] += 0x1000;
		region[3] += 0x1000;
		while (times--)
			assert_int_equal(ack_fds(t.old, VU_ADD_MEM_REG, region, sizeof(region), &t.old->memfd, 1), 0);
	}
	say_pair(t.old, VU_SET_VRING_NUM, 2, SIZE);
	say_pair(t.old, VU_SET_VRING_BASE, 2, 77);
	hold(&t);
	state = exported(&t);
	assert_int_equal(import(&t, &state), 0);
	switch_over(&t);
	assert_null(t.new->type.running[2]);
	say_pair(t.new, VU_GET_VRING_BASE, 2, 0);
	assert_int_equal(hear(t.new, VU_GET_VRING_BASE, region, 8), 8);
	assert_int_equal(region[0] >> 32, 77);
	memcpy(region, region_message, sizeof(region));
	region[1] = GPA + MEMORY_BYTES + 4 * 0x1000;
	region[2] = 0x1000;
	region[3] = UADDR + MEMORY_BYTES + 4 * 0x1000;
	assert_int_equal(ack(t.new, VU_REM_MEM_REG, region, sizeof(region)), 0);
	assert_int_equal(ack(t.new, VU_REM_MEM_REG, region, sizeof(region)), 0);
	assert_int_equal(ack(t.new, VU_REM_MEM_REG, region, sizeof(region)), 1); /* it was there twice */
	assert_non_null(t.new->type.running[0]);
	two_free(&t);
}

/* ---- it does not ---- */

/* What a successor has made of it ends without a trace, and the old one goes on. */
static void successor_that_ends_leaves_the_old_one(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state;

	carry(&t);
	hold(&t);
	state = exported(&t);
	assert_int_equal(import(&t, &state), 0);
	close_end(t.new);
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), -EBUSY);
	assert_false(hung_up(t.old));
	assert_int_equal(serve(t.old), 2);
	assert_int_equal(ask_u64(t.old, VU_GET_FEATURES) & F_VERSION_1, F_VERSION_1);
	two_free(&t);
}

static void messages_wait_until_somebody_goes_on(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state;
	struct packet p = packet(VU_GET_FEATURES, 0, NULL, 0);

	hold(&t);
	state = exported(&t);
	assert_int_equal(import(&t, &state), 0);
	assert_int_equal(send_raw(t.old->fd, &p, 12, NULL, 0), 12);
	pump(t.old);
	pump(t.new);
	assert_int_equal(hear(t.old, VU_GET_FEATURES, &p, 8), -1);
	switch_over(&t);
	pump(t.new);
	assert_true(hear_u64(t.new, VU_GET_FEATURES) & F_VERSION_1);
	two_free(&t);
}

/* Nobody waits for the rest of a message: the port goes without that front end. */
static void half_a_message_ends_its_session(void **unused)
{
	struct two t = two_running(false);
	struct packet p = packet(VU_GET_FEATURES, 0, NULL, 0);

	assert_int_equal(send_raw(t.old->fd, &p, 5, NULL, 0), 5);
	pump(t.old);
	hold(&t);
	while (t.held == 1)
		pump_wait(t.old, 1000);
	assert_int_equal(exported(&t).fd_count, 1);
	assert_non_null(strstr(t.old->log, "left a message unsaid"));
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	assert_true(hung_up(t.old));
	two_free(&t);
}

/* Nor for a reply that finds no room only when queues have come to rest, however long that takes. */
static void reply_that_is_not_read_later_ends_its_session(void **unused)
{
	struct two t = two_running(false);
	int fd = endpoint_of(t.old->endpoint)->session->fd;

	t.old->type.late = true;
	say_pair(t.old, VU_GET_VRING_BASE, 0, 0);
	while (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	hold(&t);
	for (unsigned i = 0; i < 3; i++)
		pump_wait(t.old, 50);
	assert_int_equal(t.held, 1);
	type_quiesced_all(&t.old->type);
	for (unsigned i = 0; i < 100 && t.held == 1; i++)
		pump_wait(t.old, 100);
	assert_int_equal(exported(&t).fd_count, 1);
	assert_non_null(strstr(t.old->log, "a reply unread"));
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	two_free(&t);
}

/* Its queues do not come to rest meanwhile. */
static void hold_ends_with_its_endpoint(void **unused)
{
	struct two t = two_running(false);

	t.old->type.late = true;
	hold(&t);
	assert_int_equal(t.held, 1);
	vireo_endpoint_close(t.old->endpoint, on_closed, t.old);
	assert_int_equal(t.held, -ECANCELED);
	assert_int_equal(t.old->closed, 0);
	t.held = 1;
	type_quiesced_all(&t.old->type);
	assert_int_equal(t.old->closed, 1);
	assert_int_equal(t.held, 1);
	t.old->endpoint = NULL;
	two_free(&t);
}

static void name_log(struct lab *lab)
{
	const uint64_t log[2] = { 4096, 0 };
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 4096), 0);
	say_fds(lab, VU_SET_LOG_BASE, 0, log, sizeof(log), &fd, 1);
	assert_int_equal(hear_u64(lab, VU_SET_LOG_BASE), 0);
	close(fd);
}

static void migration_is_not_interrupted(void **unused)
{
	struct two t = two_running(false);

	name_log(t.old);
	assert_int_equal(ack_u64(t.old, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | VU_FEATURE_LOG_ALL), 0);
	hold(&t);
	assert_int_equal(t.held, -EBUSY);
	assert_non_null(strstr(t.old->log, "(a migration)"));
	assert_non_null(t.old->type.running[0]);
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), -EBUSY);
	assert_int_equal(ack_u64(t.old, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1), 0);
	hold(&t);
	assert_int_equal(t.held, 0);
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	two_free(&t);
}

/* The front end has its answer: it says LOG_ALL next, or again after a reset, and does not name the log once more. */
static void log_that_is_named_is_not_lost(void **unused)
{
	struct two t = two_running(false);

	name_log(t.old);
	hold(&t);
	assert_int_equal(t.held, -EBUSY);
	assert_non_null(strstr(t.old->log, "(a migration)"));
	assert_non_null(t.old->type.running[0]);
	assert_int_equal(ack_u64(t.old, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | VU_FEATURE_LOG_ALL), 0);
	say(t.old, VU_RESET_DEVICE, NULL, 0);
	hold(&t);
	assert_int_equal(t.held, -EBUSY);
	assert_int_equal(ack_u64(t.old, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | VU_FEATURE_LOG_ALL), 0);
	assert_int_equal(ack_u64(t.old, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1), 0);
	hold(&t);
	assert_int_equal(t.held, 0);
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	two_free(&t);
}

static void who_is_to_hear_of_what_is_logged_hears_of_it_from_the_successor(void **unused)
{
	struct two t = two_running(false);
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vireo_endpoint_state state;
	uint64_t count = 0;

	assert_int_equal(ack_fds(t.old, VU_SET_LOG_FD, NULL, 0, &bell, 1), 0);
	hold(&t);
	state = exported(&t);
	assert_int_equal(import(&t, &state), 0);
	switch_over(&t);
	name_log(t.new);
	assert_int_equal(ack_u64(t.new, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | VU_FEATURE_LOG_ALL), 0);
	offer(&t);
	assert_int_equal(serve(t.new), 1);
	for (int i = 0; i < 100 && read(bell, &count, sizeof(count)) < 0; i++)
		pump_wait(t.new, 100);
	assert_int_equal(count, 1);
	close(bell);
	two_free(&t);
}

static void endpoint_that_keeps_nothing_cannot_be_held(void **unused)
{
	struct two t = { .old = lab_new(), .held = 1 };
	struct vireo_endpoint_state state = { .size = sizeof(state) };

	assert_int_equal(vireo_endpoint_hold(t.old->endpoint, on_held, &t), -EOPNOTSUPP);
	assert_int_equal(vireo_endpoint_export(t.old->endpoint, &state), -EBUSY);
	lab_free(t.old);
}

/* ---- anybody's bytes ---- */

/* Whatever it says, it is refused or carried out, nothing is left over, and the old one goes on. */
static void try(struct two *t, const struct vireo_endpoint_state *lie)
{
	int fds = count_fds();

	if (!import(t, lie)) {
		close_end(t->new);
		t->new->closed = 0;
	}
	t->new->endpoint = NULL;
	assert_null(t->new->type.running[0]);
	assert_int_equal(count_fds(), fds);
	*t->new->log = '\0';
}

static void each_lie_is_refused_and_the_old_one_goes_on(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state, lie;
	uint8_t *bytes;

	carry(&t);
	hold(&t);
	lie = state = exported(&t);
	bytes = test_malloc(state.bytes);
	memcpy(bytes, state.data, state.bytes);
	lie.data = bytes;
	for (lie.bytes = 0; lie.bytes < state.bytes; lie.bytes += 7) {
		assert_int_equal(import(&t, &lie), -EINVAL);
		t.new->endpoint = NULL;
	}
	lie.bytes = state.bytes;
	for (size_t i = 0; i < state.bytes; i++) {
		bytes[i] ^= 1;
		try(&t, &lie);
		bytes[i] ^= 0x81;
		try(&t, &lie);
		bytes[i] ^= 0x80;
	}
	for (lie.fd_count = 0; lie.fd_count < state.fd_count; lie.fd_count++)
		assert_int_equal(import(&t, &lie), -EINVAL);
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	assert_int_equal(serve(t.old), 2);
	assert_false(hung_up(t.old));
	test_free(bytes);
	two_free(&t);
}

static void lie_is_named(void **unused)
{
	static const struct {
		size_t at;
		const char *why;
		uint8_t flip; /* 0: the lowest bit */
	} lies[] = {
		{ 0, "no state of an endpoint" },
		{ 8, "version is not known" },
		{ 12, "another transport" },
		{ 16, "cut short" },
		{ 20, "more or fewer file descriptors" },
		{ 24, "does not begin with its endpoint" },
		{ 28, "sockets are not all there" },
		{ 52, "one that listens and one that connects" },
		{ 52, "more of it", HANDOVER_TELLS },
		{ 52, "more of it", HANDOVER_RAN },
		{ 53, "not known here" },
	};
	struct two t = two_of(false);
	struct vireo_endpoint_state state;
	uint8_t bytes[128];

	hold(&t);
	state = exported(&t);
	assert_true(state.bytes <= sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct vireo_endpoint_state lie = state;

		memcpy(bytes, state.data, state.bytes);
		bytes[lies[i].at] ^= lies[i].flip ? lies[i].flip : 1;
		lie.data = bytes;
		*t.new->log = '\0';
		assert_int_equal(import(&t, &lie), -EINVAL);
		if (lies[i].at == 28 || (lies[i].at == 52 && !lies[i].flip)) /* one fewer than there are, or than it says */
			continue;
		if (!strstr(t.new->log, lies[i].why))
			fail_msg("%zu: %s", i, t.new->log);
	}
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	two_free(&t);
}

/* Sockets that are none, and sockets in each other's place. */
static void fds_of_another_kind_are_refused(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state, lie;
	int fds[32];

	hold(&t);
	lie = state = exported(&t);
	assert_true(state.fd_count <= ARRAY_SIZE(fds) && state.fd_count >= 5);
	lie.fds = fds;
	for (unsigned i = 0; i < state.fd_count; i++)
		for (unsigned j = 0; j < state.fd_count; j++) {
			memcpy(fds, state.fds, state.fd_count * sizeof(*fds));
			fds[i] = state.fds[j];
			try(&t, &lie);
			fds[i] = -1;
			assert_true(import(&t, &lie) < 0);
		}
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	two_free(&t);
}

/* A front end's message that is no part of a state is none here. */
static void other_messages_are_refused(void **unused)
{
	struct two t = two_running(false);
	struct vireo_endpoint_state state, lie = { .size = sizeof(lie) };
	struct handover_endpoint endpoint = { .flags = HANDOVER_LISTENS | HANDOVER_CONNECTED };

	hold(&t);
	state = exported(&t);
	for (uint32_t request = 0; request <= HANDOVER_DEVICE_STATE + 1; request += request == VU_REQUEST_MAX ? 0x1000 - VU_REQUEST_MAX : 1) {
		struct handover_writer writer;
		const uint64_t payload = 0;

		handover_begin(&writer, HANDOVER_VHOST_USER);
		handover_add(&writer, HANDOVER_ENDPOINT, &endpoint, sizeof(endpoint), state.fds, 2);
		handover_add(&writer, request, &payload, sizeof(payload), NULL, 0);
		assert_int_equal(handover_end(&writer), 0);
		lie.data = writer.data;
		lie.bytes = writer.bytes;
		lie.fds = writer.fds;
		lie.fd_count = writer.fd_count;
		try(&t, &lie);
		handover_free(&writer);
	}
	assert_int_equal(vireo_endpoint_go_on(t.old->endpoint), 0);
	assert_non_null(t.old->type.running[0]);
	two_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_ring_goes_on_where_it_stood),
		cmocka_unit_test(packed_ring_goes_on_where_it_stood),
		cmocka_unit_test(config_that_changes_meanwhile_is_told),
		cmocka_unit_test(socket_goes_with_it),
		cmocka_unit_test(client_goes_on),
		cmocka_unit_test(regions_and_rings_that_do_not_run_go_on),
		cmocka_unit_test(successor_that_ends_leaves_the_old_one),
		cmocka_unit_test(messages_wait_until_somebody_goes_on),
		cmocka_unit_test(half_a_message_ends_its_session),
		cmocka_unit_test(reply_that_is_not_read_later_ends_its_session),
		cmocka_unit_test(hold_ends_with_its_endpoint),
		cmocka_unit_test(migration_is_not_interrupted),
		cmocka_unit_test(log_that_is_named_is_not_lost),
		cmocka_unit_test(who_is_to_hear_of_what_is_logged_hears_of_it_from_the_successor),
		cmocka_unit_test(endpoint_that_keeps_nothing_cannot_be_held),
		cmocka_unit_test(each_lie_is_refused_and_the_old_one_goes_on),
		cmocka_unit_test(lie_is_named),
		cmocka_unit_test(fds_of_another_kind_are_refused),
		cmocka_unit_test(other_messages_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
