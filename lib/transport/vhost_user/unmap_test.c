/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "transport/vhost_user/session_lab.h"
#include "vireo/net.h"
#include <linux/vhost_types.h>
#include <pthread.h>
#include <sched.h>

/*
 * A network device behind an IOMMU, and a worker that delivers frames all the time, while pages of receive buffers are invalidated and
 * told of again. Once an INVALIDATE has been answered, the driver uses the page for something else: nothing may be written there.
 * The driver, the front end and the control thread are this thread.
 */

#define IOVA UINT64_C(0x10000)
#define PAGE 0x1000u
#define RING 64u /* a buffer of a page each */
#define BUFFERS 0x10000u /* where in memory */
#define ROUNDS 4000u /* where there is a CPU for each thread: ... */
#define ROUNDS_LEAST 20u
#define ROUNDS_MS 10000u /* ... no more than that otherwise, for a thread that yields may wait for others' turns each time */
#define LOOKS 10u
#define FRAME 200u
#define MINE 0xa5

struct stress {
	struct lab lab;
	struct vireo_net *net;
	int channel;
	pthread_t worker;
	/* The worker's round: odd while it is in one. */
	unsigned round;
	bool stop, serving;
	unsigned renewing, stopping; /* 0, or the round, less 1, that has to be over; by the queue's number */
	unsigned renewals, stops;
	uint64_t delivered;
};

/* ---- the worker, and how it is known to be quiet ---- */

static void *work(void *opaque)
{
	struct stress *s = opaque;
	uint8_t data[FRAME] = { 0 };
	struct iovec iov = { data, sizeof(data) };
	struct vireo_frame frame = { .iov = &iov, .iov_count = 1, .len_bytes = sizeof(data) }, *frames[4];

	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
		frames[i] = &frame;
	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&s->round, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&s->serving, __ATOMIC_SEQ_CST)) {
			int gone = vireo_net_receive_deliver(s->net, 0, frames, ARRAY_SIZE(frames));

			vireo_net_receive_flush(s->net, 0);
			if (gone > 0)
				__atomic_fetch_add(&s->delivered, (unsigned)gone, __ATOMIC_RELAXED);
		}
		__atomic_fetch_add(&s->round, 1, __ATOMIC_SEQ_CST);
		sched_yield();
	}
	return NULL;
}

/* Has the round that was under way at `then` ended? */
static bool quiet_since(struct stress *s, unsigned then)
{
	return then % 2 == 0 || __atomic_load_n(&s->round, __ATOMIC_SEQ_CST) != then;
}

static void queue_started(void *opaque, unsigned queue)
{
	struct stress *s = opaque;

	if (queue == 0)
		__atomic_store_n(&s->serving, true, __ATOMIC_SEQ_CST);
}

static void queue_stop(void *opaque, unsigned queue)
{
	struct stress *s = opaque;

	assert_int_equal(queue, 0);
	__atomic_store_n(&s->serving, false, __ATOMIC_SEQ_CST);
	s->stopping = __atomic_load_n(&s->round, __ATOMIC_SEQ_CST) + 1;
	s->stops++;
}

static int queue_renew(void *opaque, unsigned queue)
{
	struct stress *s = opaque;

	assert_int_equal(queue, 0);
	s->renewing = __atomic_load_n(&s->round, __ATOMIC_SEQ_CST) + 1;
	s->renewals++;
	return 0;
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = queue_started,
	.queue_stop = queue_stop,
	.queue_renew = queue_renew,
};

static void turn(struct stress *s)
{
	if (!s->lab.closed)
		pump(&s->lab);
	if (s->renewing && quiet_since(s, s->renewing - 1)) {
		s->renewing = 0;
		vireo_net_queue_renewed(s->net, 0);
	}
	if (s->stopping && quiet_since(s, s->stopping - 1)) {
		s->stopping = 0;
		vireo_net_queue_quiesced(s->net, 0);
	}
	if (!s->lab.closed)
		pump(&s->lab);
	sched_yield();
}

/* ---- the front end ---- */

static uint64_t tell(struct stress *s, uint8_t type, uint64_t offset, uint64_t bytes)
{
	const struct vhost_iotlb_msg body = { .iova = IOVA + offset, .size = bytes, .uaddr = UADDR + offset, .perm = VHOST_ACCESS_RW,
					      .type = type };
	uint64_t answer = 1;
	uint8_t questions[4096];

	say_fds(&s->lab, VU_IOTLB_MSG, VU_FLAG_NEED_REPLY, &body, sizeof(body), NULL, 0);
	while (hear(&s->lab, VU_IOTLB_MSG, &answer, sizeof(answer)) < 0)
		turn(s);
	while (recv(s->channel, questions, sizeof(questions), MSG_DONTWAIT) > 0)
		; /* each page comes back in any case */
	return answer;
}

static void connect_behind_an_iommu(struct stress *s)
{
	struct lab *lab = &s->lab;
	int fds[2];

	dial(lab);
	ask_u64(lab, VU_GET_FEATURES);
	say_u64(lab, VU_SET_PROTOCOL_FEATURES, P(MQ) | P(REPLY_ACK) | P(BACKEND_REQ));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1), 0);
	close(fds[1]);
	s->channel = fds[0];
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | F_IOMMU), 0);
	share_memory(lab);
}

static void ring_set_up(struct stress *s)
{
	const struct addr_message addr = { .desc = IOVA, .avail = IOVA + PAGE, .used = IOVA + 2 * PAGE };

	say_pair(&s->lab, VU_SET_VRING_NUM, 0, RING);
	say(&s->lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	kick_set(&s->lab, 0);
	say_pair(&s->lab, VU_SET_VRING_ENABLE, 0, 1);
}

/* ---- the driver ---- */

static void buffers_put(struct stress *s, unsigned count)
{
	struct split_desc *desc = (void *)s->lab.memory;
	struct split_avail *avail = (void *)(s->lab.memory + PAGE);
	uint16_t idx = avail->idx;

	for (unsigned i = 0; i < count; i++, idx++) {
		desc[idx % RING] = (struct split_desc){
			.addr = IOVA + BUFFERS + idx % RING * PAGE, .len = PAGE, .flags = DESC_F_WRITE };
		avail->ring[idx % RING] = idx % RING;
	}
	__atomic_store_n(&avail->idx, idx, __ATOMIC_RELEASE);
}

/* In order: what has been used goes round again. */
static void buffers_recycle(struct stress *s)
{
	const struct split_used *used = (void *)(s->lab.memory + 2 * PAGE);
	const struct split_avail *avail = (void *)(s->lab.memory + PAGE);
	uint16_t done = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);

	buffers_put(s, RING - (uint16_t)(avail->idx - done));
}

/* The buffer that is used soon, or has been popped already. */
static unsigned page_near(const struct stress *s, unsigned ahead)
{
	const struct split_used *used = (const void *)(s->lab.memory + 2 * PAGE);

	return (uint16_t)(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) + ahead) % RING;
}

/* Byte by byte, as another CPU's: the worker is not to write there, and if it does that is what is looked for. */
static bool page_is_mine(const volatile uint8_t *page)
{
	for (unsigned i = 0; i < 256; i++)
		if (page[i] != MINE)
			return false;
	return true;
}

static void page_goes_and_comes(struct stress *s, unsigned number)
{
	uint64_t offset = BUFFERS + number * PAGE;
	uint8_t *page = s->lab.memory + offset;

	assert_int_equal(tell(s, VHOST_IOTLB_INVALIDATE, offset, PAGE), 0);
	memset(page, MINE, PAGE);
	for (unsigned i = 0; i < LOOKS; i++) {
		turn(s);
		if (!page_is_mine(page))
			fail_msg("page %u was written to after it had been invalidated", number);
	}
	assert_int_equal(tell(s, VHOST_IOTLB_UPDATE, offset, PAGE), 0);
}

static struct stress *stress_new(void)
{
	struct stress *s = test_calloc(1, sizeof(*s));
	struct lab *lab = &s->lab;
	struct vireo_net_config config = { .size = sizeof(config), .ops = &net_ops, .opaque = s };

	lab->fd = lab->memfd = lab->kick = lab->call = -1;
	strcpy(lab->folder, "/tmp/vireo-unmap-XXXXXX");
	assert_non_null(mkdtemp(lab->folder));
	snprintf(lab->path, sizeof(lab->path), "%s/s", lab->folder);
	snprintf(lab->address, sizeof(lab->address), "vhost-user:%s", lab->path);
	assert_int_equal(vireo_net_new(&config, &s->net), 0);
	assert_int_equal(vireo_endpoint_open(vireo_net_device(s->net), lab->address, NULL, &lab->endpoint), 0);
	return s;
}

static void stress_free(struct stress *s)
{
	vireo_endpoint_close(s->lab.endpoint, on_closed, &s->lab);
	while (!s->lab.closed)
		turn(s);
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	pthread_join(s->worker, NULL);
	vireo_net_free(s->net);
	front_close(&s->lab);
	close(s->channel);
	assert_int_equal(rmdir(s->lab.folder), 0);
	test_free(s);
}

static void nothing_is_written_where_an_answered_invalidate_was(void **state)
{
	struct stress *s = stress_new();
	uint64_t end_ms = clock_now_ms() + ROUNDS_MS;
	unsigned rounds;

	connect_behind_an_iommu(s);
	assert_int_equal(tell(s, VHOST_IOTLB_UPDATE, 0, 4 * PAGE), 0);
	for (unsigned i = 0; i < RING; i++)
		assert_int_equal(tell(s, VHOST_IOTLB_UPDATE, BUFFERS + i * PAGE, PAGE), 0);
	buffers_put(s, RING);
	assert_int_equal(pthread_create(&s->worker, NULL, work, s), 0);
	ring_set_up(s);
	for (rounds = 0; rounds < ROUNDS && (rounds < ROUNDS_LEAST || clock_now_ms() < end_ms); rounds++) {
		for (unsigned turns = 0; turns < 1 + rounds % 5; turns++) { /* the worker has popped, more or less far ahead */
			turn(s);
			buffers_recycle(s);
		}
		page_goes_and_comes(s, page_near(s, rounds % 48));
	}
	assert_true(s->renewals > 0 && __atomic_load_n(&s->delivered, __ATOMIC_RELAXED) > rounds);
	stress_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_written_where_an_answered_invalidate_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
