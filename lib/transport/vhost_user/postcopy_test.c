/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>

/*
 * Postcopy: each edge between the states of a session (docs/vhost-user.md), and the lies at each. The front end's memory is a file full of
 * holes, a page is brought by writing it, and who sleeps is woken by the userfaultfd. Helpers are real threads.
 */

#define MORE_GPA (GPA + (UINT64_C(1) << 32))
#define MORE_UADDR (UADDR + (UINT64_C(1) << 32))
#define WAIT_MS 60000 /* for what must come */

static const uint64_t more_message[5] = { 0, MORE_GPA, 0x1000, MORE_UADDR, 0x8000 };

static struct {
	struct lab *lab;
	int peer_fd; /* the userfaultfd, or -1 */
	unsigned on, off; /* ops.postcopy, so often */
	int refusal;
	bool no_thread;
} post;

static int op_postcopy(void *opaque, bool on)
{
	if (on && post.refusal)
		return post.refusal;
	post.on += on;
	post.off += !on;
	return 0;
}

static const struct vireo_device_ops late_ops = {
	.size = sizeof(late_ops),
	.queue_started = type_started,
	.queue_stop = type_stop,
	.connected = type_connected,
	.reset = type_reset,
	.postcopy = op_postcopy,
};

struct work {
	void (*work)(void *argument);
	void *argument;
};

static void *work_main(void *opaque)
{
	struct work work = *(struct work *)opaque;

	free(opaque);
	work.work(work.argument);
	return NULL;
}

static int run(void *opaque, void (*work)(void *argument), void *argument)
{
	struct work *copy = malloc(sizeof(*copy));
	pthread_t thread;

	if (post.no_thread) {
		free(copy);
		return -EAGAIN;
	}
	*copy = (struct work){ work, argument };
	if (pthread_create(&thread, NULL, work_main, copy)) {
		free(copy);
		return -EAGAIN;
	}
	return -pthread_detach(thread);
}

static struct vireo_endpoint_config late_config(void)
{
	return (struct vireo_endpoint_config){
		.size = sizeof(struct vireo_endpoint_config), .close_aside = run, .vhost_user.postcopy = 1, .vhost_user.hello_ms = 100
	};
}

static struct lab *late_lab(void)
{
	struct vireo_endpoint_config config = late_config();
	struct lab *lab = lab_make(&late_ops);

	memset(&post, 0, sizeof(post));
	post.lab = lab;
	post.peer_fd = -1;
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	return lab;
}

static bool holds(struct lab *lab, bool (*condition)(struct lab *lab))
{
	for (unsigned i = 0; i < WAIT_MS / 10 && !condition(lab); i++)
		pump_wait(lab, 10);
	return condition(lab);
}

/* Its session's queues may be in helpers' hands: it is dispatched until it is gone. What they close they close soon. */
static void late_free(struct lab *lab)
{
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(lab->endpoint), .events = POLLIN };
	bool gone = false;

	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	while (!lab->closed)
		if (poll(&poll_fd, 1, WAIT_MS) == 1)
			vireo_endpoint_dispatch(lab->endpoint);
	lab->endpoint = NULL;
	fd_close(&post.peer_fd);
	front_close(lab);
	for (unsigned i = 0; i < WAIT_MS && !gone; i++) {
		gone = count_fds() <= lab->fds_before + 1; /* the device's own */
		usleep(gone ? 0 : 1000);
	}
	assert_int_equal(post.on, post.off);
	lab_free(lab);
}

/* ---- the front end ---- */

static void greet(struct lab *lab)
{
	uint64_t offered;

	dial(lab);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	offered = ask_u64(lab, VU_GET_PROTOCOL_FEATURES);
	assert_true(offered & P(PAGEFAULT));
	say_u64(lab, VU_SET_PROTOCOL_FEATURES, offered);
	say(lab, VU_SET_OWNER, NULL, 0);
	say_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
	if (!lab->memory)
		make_memory(lab);
}

static int hear_fd(struct lab *lab, uint32_t request)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct packet p;
	struct iovec iov = { .iov_base = &p, .iov_len = 12 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = -1;

	assert_int_equal(recvmsg(lab->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), 12);
	assert_int_equal(p.request, request);
	assert_int_equal(p.flags, VU_VERSION | VU_FLAG_REPLY);
	assert_int_equal(p.size, 0);
	if (CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void advise(struct lab *lab)
{
	say(lab, VU_POSTCOPY_ADVISE, NULL, 0);
	fd_close(&post.peer_fd);
	post.peer_fd = hear_fd(lab, VU_POSTCOPY_ADVISE);
	if (post.peer_fd < 0) {
		print_message("skipped: no userfaultfd here\n");
		late_free(lab);
		skip();
	}
}

static void listening(struct lab *lab)
{
	greet(lab);
	advise(lab);
	assert_int_equal(ack(lab, VU_POSTCOPY_LISTEN, NULL, 0), 0);
	assert_int_equal(post.on, 1);
}

/* The back end's address of the region. */
static uint64_t tell_table(struct lab *lab)
{
	struct table answer = {0};

	say_fds(lab, VU_SET_MEM_TABLE, 0, &one_region, 40, &lab->memfd, 1);
	assert_int_equal(hear(lab, VU_SET_MEM_TABLE, &answer, sizeof(answer)), 40);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.regions[0][0], GPA);
	assert_int_equal(answer.regions[0][1], MEMORY_BYTES);
	assert_int_not_equal(answer.regions[0][2], UADDR);
	return answer.regions[0][2];
}

static uint64_t told(struct lab *lab)
{
	listening(lab);
	return tell_table(lab);
}

static uint64_t acknowledged(struct lab *lab)
{
	uint64_t base = told(lab);

	say_u64(lab, VU_SET_MEM_TABLE, 0);
	assert_false(hung_up(lab));
	return base;
}

/* The page that somebody waits for, which is brought. */
static uint64_t bring_one(struct lab *lab, uint64_t base)
{
	struct pollfd pollfd = { .fd = post.peer_fd, .events = POLLIN };
	struct uffd_msg message;
	struct uffdio_range range = { .len = 0x1000 };

	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
	assert_int_equal(read(post.peer_fd, &message, sizeof(message)), sizeof(message));
	range.start = message.arg.pagefault.address;
	assert_true(range.start - base < MEMORY_BYTES);
	lab->memory[range.start - base + 0xfff] = 1;
	assert_int_equal(ioctl(post.peer_fd, UFFDIO_WAKE, &range), 0);
	return range.start - base;
}

static bool ring_0_runs(struct lab *lab)
{
	return lab->type.running[0];
}

static bool is_hung_up(struct lab *lab)
{
	return hung_up(lab);
}

static bool wait_fault(void)
{
	struct pollfd pollfd = { .fd = post.peer_fd, .events = POLLIN };

	return poll(&pollfd, 1, WAIT_MS) == 1;
}

/* ---- as it should be ---- */

static void ring_runs_from_late_memory(void **state)
{
	struct lab *lab = late_lab();
	uint64_t base = acknowledged(lab);

	ring(lab, 0);
	assert_null(lab->type.running[0]); /* nobody here waits: that was a helper */
	while (!ring_0_runs(lab)) {
		bring_one(lab, base);
		pump_wait(lab, 100);
	}
	assert_int_equal(lab->type.started[0], 1);
	assert_int_equal(ask_u64(lab, VU_POSTCOPY_END), 0);
	assert_int_equal(post.off, 1);
	assert_int_equal(lab->type.stopped[0], 1); /* it has changed hands */
	assert_true(holds(lab, ring_0_runs));
	assert_int_equal(lab->type.started[0], 2);
	late_free(lab);
}

/* QEMU acknowledges all regions at once. */
static void regions_are_acknowledged_together(void **state)
{
	struct lab *lab = late_lab();
	uint64_t answer[5] = {0};

	listening(lab);
	for (unsigned i = 0; i < 2; i++) {
		const uint64_t *message = i ? more_message : region_message;

		say_fds(lab, VU_ADD_MEM_REG, 0, message, 40, &lab->memfd, 1);
		assert_int_equal(hear(lab, VU_ADD_MEM_REG, answer, sizeof(answer)), 40);
		assert_int_equal(answer[1], message[1]);
		assert_int_not_equal(answer[3], message[3]);
	}
	say_u64(lab, VU_ADD_MEM_REG, 0);
	say_u64(lab, VU_ADD_MEM_REG, 0); /* of nothing */
	say_u64(lab, VU_REM_MEM_REG, 0); /* likewise, as it is named after regions went */
	say_u64(lab, 0, 0); /* likewise, after none did */
	assert_int_equal(ack(lab, VU_REM_MEM_REG, more_message, 40), 0);
	say_fds(lab, VU_ADD_MEM_REG, 0, more_message, 40, &lab->memfd, 1);
	assert_int_equal(hear(lab, VU_ADD_MEM_REG, answer, sizeof(answer)), 40);
	say_u64(lab, VU_ADD_MEM_REG, 0);
	assert_int_equal(ask_u64(lab, VU_POSTCOPY_END), 0);
	assert_int_equal(ack(lab, VU_REM_MEM_REG, region_message, 40), 0);
	assert_false(hung_up(lab));
	late_free(lab);
}

static void acknowledgement_may_be_empty(void **state)
{
	struct lab *lab = late_lab();

	told(lab);
	say(lab, VU_SET_MEM_TABLE, NULL, 0);
	assert_int_equal(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL, F_PROTOCOL);
	tell_table(lab);
	say_u64(lab, VU_SET_MEM_TABLE, 0);
	assert_int_equal(ask_u64(lab, VU_POSTCOPY_END), 0);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &one_region, 40, &lab->memfd, 1), 0); /* as ever */
	late_free(lab);
}

static void one_migration_may_follow_another(void **state)
{
	struct lab *lab = late_lab();

	told(lab);
	say_u64(lab, VU_SET_MEM_TABLE, 0);
	assert_int_equal(ask_u64(lab, VU_POSTCOPY_END), 0);
	advise(lab);
	assert_int_equal(ack(lab, VU_POSTCOPY_LISTEN, NULL, 0), 1); /* but not on top of memory that is here */
	dial(lab);
	post.on = post.off = 0;
	told(lab);
	late_free(lab);
}

static void device_type_may_refuse(void **state)
{
	struct lab *lab = late_lab();

	post.refusal = -ENOMEM;
	greet(lab);
	advise(lab);
	assert_int_equal(ack(lab, VU_POSTCOPY_LISTEN, NULL, 0), 1);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &one_region, 40, &lab->memfd, 1), 0); /* not late */
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
	late_free(lab);
}

static void is_not_offered_unless_asked_for(void **state)
{
	struct vireo_endpoint_config config = late_config();
	struct lab *lab = lab_new();
	struct vireo_endpoint *endpoint;

	dial(lab);
	assert_int_equal(ask_u64(lab, VU_GET_PROTOCOL_FEATURES) & P(PAGEFAULT), 0);
	say(lab, VU_POSTCOPY_ADVISE, NULL, 0);
	assert_true(hung_up(lab));
	lab_free(lab);

	lab = lab_make(&late_ops);
	config.close_aside = NULL;
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &endpoint), -EINVAL);
	config.close_aside = run;
	config.vhost_user.postcopy = 2;
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &endpoint), -EINVAL);
	lab_free(lab);
}

/* ---- pages that never come ---- */

static struct lab *asleep(void)
{
	struct lab *lab = late_lab();

	acknowledged(lab);
	ring(lab, 0);
	assert_true(wait_fault());
	return lab;
}

static void endpoint_closes_while_a_page_does_not_come(void **state)
{
	late_free(asleep());
}

static void front_end_hangs_up_while_a_page_does_not_come(void **state)
{
	struct lab *lab = asleep();

	fd_close(&lab->fd);
	while (lab->type.disconnected < 1)
		pump_wait(lab, 10);
	assert_int_equal(lab->type.started[0], 0);
	greet(lab); /* the next is served */
	late_free(lab);
}

/* The queue is asked for; its helper sleeps until the front end has gone. */
static void message_waits_for_a_page_and_nobody_else_does(void **state)
{
	const uint32_t index[2] = { 0, 0 };
	struct lab *lab = asleep();
	uint32_t base[2];

	say(lab, VU_GET_VRING_BASE, index, sizeof(index));
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, base, sizeof(base)), -1);
	fd_close(&lab->fd);
	while (lab->type.disconnected < 1)
		pump_wait(lab, 10);
	assert_int_equal(post.off, 1);
	assert_int_equal(lab->type.started[0], 0);
	late_free(lab);
}

static void end_wakes_who_waits_for_a_page(void **state)
{
	struct lab *lab = asleep();

	say(lab, VU_POSTCOPY_END, NULL, 0);
	while (lab->type.started[0] < 1)
		pump_wait(lab, 10);
	assert_int_equal(hear_u64(lab, VU_POSTCOPY_END), 0);
	late_free(lab);
}

static void who_owes_an_acknowledgement_is_hung_up_on_when_another_waits(void **state)
{
	struct lab *lab = late_lab();
	int other;

	told(lab);
	other = unix_dial(lab->path);
	while (lab->type.disconnected < 1)
		pump_wait(lab, 10);
	fd_close(&other);
	late_free(lab);
}

static void ring_without_a_helper_does_not_start(void **state)
{
	struct lab *lab = late_lab();

	acknowledged(lab);
	post.no_thread = true;
	ring(lab, 0);
	assert_null(lab->type.running[0]);
	assert_non_null(strstr(lab->log, "no thread to set the ring up in"));
	post.no_thread = false;
	late_free(lab);
}

/* ---- lies ---- */

static void lie(struct lab *lab, const char *why)
{
	assert_true(holds(lab, is_hung_up));
	assert_non_null(strstr(lab->log, why));
	late_free(lab);
}

static void listen_without_advise(void **state)
{
	struct lab *lab = late_lab();

	greet(lab);
	say(lab, VU_POSTCOPY_LISTEN, NULL, 0);
	lie(lab, "POSTCOPY_LISTEN (29), 0 bytes, 0 fds: postcopy has not been advised of");
}

static void advise_twice(void **state)
{
	struct lab *lab = late_lab();

	greet(lab);
	advise(lab);
	say(lab, VU_POSTCOPY_ADVISE, NULL, 0);
	lie(lab, "postcopy has been advised of already");
}

static void listen_twice(void **state)
{
	struct lab *lab = late_lab();

	listening(lab);
	say(lab, VU_POSTCOPY_LISTEN, NULL, 0);
	lie(lab, "we are listening already");
}

static void end_alone(void **state)
{
	for (unsigned advised = 0; advised < 2; advised++) {
		struct lab *lab = late_lab();

		greet(lab);
		if (advised)
			advise(lab);
		say(lab, VU_POSTCOPY_END, NULL, 0);
		lie(lab, "there is no postcopy to end");
	}
}

static void listen_on_top_of_memory(void **state)
{
	struct lab *lab = late_lab();

	greet(lab);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &one_region, 40, &lab->memfd, 1), 0);
	advise(lab);
	assert_int_equal(ack(lab, VU_POSTCOPY_LISTEN, NULL, 0), 1);
	assert_false(hung_up(lab));
	say(lab, VU_POSTCOPY_LISTEN, NULL, 0); /* where nobody waits for the answer, a refusal is the end */
	lie(lab, "memory has been told of before");
}

static void table_is_told_and_something_else_is_said(void **state)
{
	static const uint32_t requests[] = { VU_GET_FEATURES, VU_POSTCOPY_END, VU_POSTCOPY_LISTEN, VU_POSTCOPY_ADVISE };

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		struct lab *lab = late_lab();

		told(lab);
		say(lab, requests[i], NULL, 0);
		lie(lab, "are acknowledged first");
	}
}

static void table_is_told_and_told_again(void **state)
{
	struct lab *lab = late_lab();

	told(lab);
	say_fds(lab, VU_SET_MEM_TABLE, 0, &one_region, 40, &lab->memfd, 1);
	lie(lab, "are acknowledged first");
	lab = late_lab();
	told(lab);
	say_fds(lab, VU_ADD_MEM_REG, 0, more_message, 40, &lab->memfd, 1);
	lie(lab, "are acknowledged first");
}

static void acknowledgement_says_no(void **state)
{
	struct lab *lab = late_lab();

	told(lab);
	say_u64(lab, VU_SET_MEM_TABLE, 1);
	lie(lab, "cannot bring pages");
}

static void acknowledgement_carries_an_fd(void **state)
{
	struct lab *lab = late_lab();
	uint64_t zero = 0;

	told(lab);
	say_fds(lab, VU_SET_MEM_TABLE, 0, &zero, 8, &lab->memfd, 1);
	lie(lab, "are acknowledged first");
}

static void acknowledgement_of_no_table(void **state)
{
	struct lab *lab = late_lab();

	listening(lab);
	say_u64(lab, VU_SET_MEM_TABLE, 0);
	lie(lab, "memory table without regions");
}

/* Without postcopy there is no message 0, and no region of eight bytes. */
static void acknowledgement_without_postcopy(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct lab *lab = late_lab();

		greet(lab);
		say_u64(lab, i ? VU_ADD_MEM_REG : 0, 0);
		lie(lab, i ? "the payload is too short" : "there is no such message");
	}
}

static void messages_with_more_than_they_carry(void **state)
{
	static const uint32_t requests[] = { VU_POSTCOPY_ADVISE, VU_POSTCOPY_LISTEN, VU_POSTCOPY_END };

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		struct lab *lab = late_lab();

		greet(lab);
		say_u64(lab, requests[i], 0);
		lie(lab, "the payload is too long");
	}
}

/* In each state. Nothing leaks: late_free() counts. */
static void front_end_hangs_up_in_the_middle(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct lab *lab = late_lab();

		greet(lab);
		if (i > 0)
			advise(lab);
		if (i > 1)
			assert_int_equal(ack(lab, VU_POSTCOPY_LISTEN, NULL, 0), 0);
		if (i > 2)
			tell_table(lab);
		fd_close(&lab->fd);
		while (lab->type.disconnected < 1)
			pump_wait(lab, 10);
		assert_int_equal(post.on, i > 1);
		late_free(lab);
	}
}

/* Whether what we have mapped of a file waits for pages: "um" (proc(5), VmFlags). */
static bool mapped_late(const char *name)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false, late = false, seen = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (strchr("0123456789abcdef", line[0]))
			here = strstr(line, name);
		seen |= here;
		late |= here && !strncmp(line, "VmFlags:", 8) && strstr(line, " um");
	}
	fclose(maps);
	assert_true(seen);
	return late;
}

/*
 * The front end's own memory for other things is no guest memory, and it is not told of an address there: the control thread, which
 * writes to it, would wait for ever.
 */
static void what_is_no_guest_memory_does_not_come_late(void **state)
{
	struct lab *lab = late_lab();
	struct vu_inflight told = { .mmap_bytes = 65536, .num_queues = 1, .queue_size = SIZE };
	const uint64_t log[] = { 4096, 0 };
	int inflight_fd = memfd_create("flights", MFD_CLOEXEC), log_fd = memfd_create("dirtylog", MFD_CLOEXEC);

	assert_int_equal(ftruncate(inflight_fd, 65536), 0);
	assert_int_equal(ftruncate(log_fd, 4096), 0);
	listening(lab);
	assert_int_equal(ack_fds(lab, VU_SET_INFLIGHT_FD, &told, VU_INFLIGHT_PADDED_BYTES, &inflight_fd, 1), 0);
	say_fds(lab, VU_SET_LOG_BASE, 0, log, sizeof(log), &log_fd, 1);
	assert_int_equal(hear_u64(lab, VU_SET_LOG_BASE), 0);
	assert_false(mapped_late("flights"));
	assert_false(mapped_late("dirtylog"));
	tell_table(lab);
	assert_true(mapped_late("session")); /* so it would be seen */
	close(inflight_fd);
	close(log_fd);
	late_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_runs_from_late_memory),
		cmocka_unit_test(regions_are_acknowledged_together),
		cmocka_unit_test(acknowledgement_may_be_empty),
		cmocka_unit_test(one_migration_may_follow_another),
		cmocka_unit_test(device_type_may_refuse),
		cmocka_unit_test(is_not_offered_unless_asked_for),
		cmocka_unit_test(endpoint_closes_while_a_page_does_not_come),
		cmocka_unit_test(front_end_hangs_up_while_a_page_does_not_come),
		cmocka_unit_test(message_waits_for_a_page_and_nobody_else_does),
		cmocka_unit_test(end_wakes_who_waits_for_a_page),
		cmocka_unit_test(who_owes_an_acknowledgement_is_hung_up_on_when_another_waits),
		cmocka_unit_test(ring_without_a_helper_does_not_start),
		cmocka_unit_test(listen_without_advise),
		cmocka_unit_test(advise_twice),
		cmocka_unit_test(listen_twice),
		cmocka_unit_test(end_alone),
		cmocka_unit_test(listen_on_top_of_memory),
		cmocka_unit_test(table_is_told_and_something_else_is_said),
		cmocka_unit_test(table_is_told_and_told_again),
		cmocka_unit_test(acknowledgement_says_no),
		cmocka_unit_test(acknowledgement_carries_an_fd),
		cmocka_unit_test(acknowledgement_of_no_table),
		cmocka_unit_test(acknowledgement_without_postcopy),
		cmocka_unit_test(messages_with_more_than_they_carry),
		cmocka_unit_test(front_end_hangs_up_in_the_middle),
		cmocka_unit_test(what_is_no_guest_memory_does_not_come_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
