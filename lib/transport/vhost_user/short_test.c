/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * An endpoint and a session where memory, fds or mappings are short, at each moment at which they can be: the front end is refused, or loses its
 * session; the endpoint stays, and the next front end is served as if nothing had been.
 */

#include "session_lab.h"
#include "base/short_test.h"
#include "wire/inflight.h"

static void turns(struct lab *lab)
{
	shortage.on = true;
	pump(lab);
	shortage.on = false;
}

/* Who has been hung up on says it all the same. */
static void tell_fds(struct lab *lab, uint32_t request, uint32_t flags, const void *payload, uint32_t bytes, const int *fds, unsigned fd_count)
{
	struct packet p = packet(request, flags, payload, bytes);

	(void)!send_raw(lab->fd, &p, 12 + bytes, fds, fd_count);
	turns(lab);
}

static void tell(struct lab *lab, uint32_t request, const void *payload, uint32_t bytes)
{
	tell_fds(lab, request, VU_FLAG_NEED_REPLY, payload, bytes, NULL, 0);
}

static void tell_u64(struct lab *lab, uint32_t request, uint64_t value)
{
	tell(lab, request, &value, sizeof(value));
}

static void tell_fd(struct lab *lab, uint32_t request, uint64_t value, int fd)
{
	tell_fds(lab, request, VU_FLAG_NEED_REPLY, &value, sizeof(value), &fd, 1);
}

static void greet(struct lab *lab, uint64_t features)
{
	lab->fd = unix_dial(lab->path);
	turns(lab);
	tell(lab, VU_GET_FEATURES, NULL, 0);
	tell(lab, VU_GET_PROTOCOL_FEATURES, NULL, 0);
	tell_u64(lab, VU_SET_PROTOCOL_FEATURES, P_ALL);
	tell(lab, VU_SET_OWNER, NULL, 0);
	tell_u64(lab, VU_SET_FEATURES, features);
}

static void memory_tell(struct lab *lab)
{
	const struct table half = { .count = 1, .regions = { { GPA, MEMORY_BYTES / 2, UADDR, 0 } } };
	const uint64_t rest[5] = { 0, GPA + MEMORY_BYTES / 2, MEMORY_BYTES / 2, UADDR + MEMORY_BYTES / 2, MEMORY_BYTES / 2 };

	make_memory(lab);
	tell_fds(lab, VU_SET_MEM_TABLE, VU_FLAG_NEED_REPLY, &half, 40, &lab->memfd, 1);
	tell_fds(lab, VU_ADD_MEM_REG, VU_FLAG_NEED_REPLY, rest, sizeof(rest), &lab->memfd, 1);
}

static void ring_tell(struct lab *lab, uint32_t index)
{
	struct addr_message addr = ring_addr(index);
	const uint32_t num[] = { index, SIZE }, base[] = { index, 0 }, enable[] = { index, 1 };

	lab->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	lab->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	tell(lab, VU_SET_VRING_NUM, num, sizeof(num));
	tell(lab, VU_SET_VRING_BASE, base, sizeof(base));
	tell(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	tell_fd(lab, VU_SET_VRING_CALL, index, lab->call);
	tell_fd(lab, VU_SET_VRING_ERR, index, lab->call);
	tell_fd(lab, VU_SET_VRING_KICK, index, lab->kick);
	tell(lab, VU_SET_VRING_ENABLE, enable, sizeof(enable));
}

/* What lives longer than the session: what is in flight, and a log of what is written. */
static void files_tell(struct lab *lab)
{
	const struct {
		uint64_t mmap_size, mmap_offset;
		uint16_t num_queues, queue_size, padding[2];
	} inflight = { QUEUES * inflight_queue_bytes(false, SIZE), 0, QUEUES, SIZE, { 0 } };
	const uint64_t log[2] = { 0x1000, 0 };
	int file = memfd_create("files", MFD_CLOEXEC);

	assert_int_equal(ftruncate(file, 0x2000), 0);
	tell_fds(lab, VU_GET_INFLIGHT_FD, 0, &inflight, sizeof(inflight), NULL, 0);
	tell_fds(lab, VU_SET_INFLIGHT_FD, VU_FLAG_NEED_REPLY, &inflight, sizeof(inflight), &file, 1);
	tell_fds(lab, VU_SET_LOG_BASE, 0, log, sizeof(log), &file, 1);
	close(file);
}

static void channel_tell(struct lab *lab)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	tell_fds(lab, VU_SET_BACKEND_REQ_FD, VU_FLAG_NEED_REPLY, NULL, 0, &pair[0], 1);
	close(pair[0]);
	close(pair[1]);
}

static void state_tell(struct lab *lab)
{
	const uint32_t save[2] = { 0, 0 }, stop[2] = { 0, 0 };
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	tell(lab, VU_GET_VRING_BASE, stop, sizeof(stop));
	tell_fds(lab, VU_SET_DEVICE_STATE_FD, 0, save, sizeof(save), &ends[1], 1);
	tell(lab, VU_CHECK_DEVICE_STATE, NULL, 0);
	close(ends[0]);
	close(ends[1]);
}

static struct lab *lab_short(void)
{
	const struct vireo_endpoint_config config = { .size = sizeof(config), .vhost_user.reconnect_min_ms = 1 }; /* where it tries again later */
	struct lab *lab = lab_make(&ops);
	int err;

	shortage.on = true;
	err = vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint);
	shortage.on = false;
	if (err) {
		assert_true(shortage_was());
		assert_true(err == -ENOMEM || err == -EMFILE);
		assert_null(lab->endpoint);
		assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	}
	return lab;
}

#define TRIES	 100u
#define TURNS	 50u
#define TURN_MS	 100

/* What was short makes an endpoint wait for a moment before it looks at who comes. True: it has answered. */
static bool comes_and_is_answered(struct lab *lab)
{
	ssize_t got;
	char byte;

	lab->fd = unix_dial(lab->path);
	say(lab, VU_GET_FEATURES, NULL, 0);
	got = recv(lab->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
	for (unsigned i = 0; i < TURNS && got < 0; i++) {
		pump_wait(lab, TURN_MS);
		got = recv(lab->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
	}
	assert_true(got >= 0);
	fd_close(&lab->fd);
	pump(lab);
	return got > 0;
}

/* Nothing is short any more. */
static void the_next_is_served(struct lab *lab)
{
	unsigned tries = 0;

	front_close(lab);
	pump(lab);
	while (!comes_and_is_answered(lab))
		assert_true(++tries < TRIES);
	ready(lab);
	assert_int_equal(ask_u64(lab, VU_GET_QUEUE_NUM), 2);
	lab_free(lab);
}

static void a_session_is_set_up(void)
{
	struct lab *lab = lab_short();

	greet(lab, F_PROTOCOL | F_VERSION_1);
	memory_tell(lab);
	channel_tell(lab);
	files_tell(lab);
	ring_tell(lab, 0);
	state_tell(lab);
	the_next_is_served(lab);
}

static void a_session_behind_an_iommu_is_set_up(void)
{
	const struct {
		uint64_t iova, size, uaddr;
		uint8_t perm, type, padding[6];
	} update = { UADDR, MEMORY_BYTES, UADDR, 3, 2, { 0 } };
	struct lab *lab = lab_short();

	greet(lab, F_PROTOCOL | F_VERSION_1 | F_IOMMU);
	channel_tell(lab);
	memory_tell(lab);
	tell(lab, VU_IOTLB_MSG, &update, sizeof(update));
	ring_tell(lab, 0);
	the_next_is_served(lab);
}

SHORT(a_session_is_set_up, 10)
SHORT(a_session_behind_an_iommu_is_set_up, 10)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_is_set_up_where_something_is_short),
		cmocka_unit_test(a_session_behind_an_iommu_is_set_up_where_something_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
