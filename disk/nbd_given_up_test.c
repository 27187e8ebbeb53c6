/* SPDX-License-Identifier: BSD-3-Clause */
/* What an NBD server owes when nobody waits for it any more. The server is the test itself: it hears requests, and answers when it likes. */
#include "disk/nbd.h"
#include "disk/test_nbdkit.h"
#include <endian.h>
#include <pthread.h>
#include <sys/time.h>

#define SIZE	(1u << 20)
#define BLOCK	4096u
#define DEPTH	8u
#define READ	0u
#define WRITE	1u

struct server {
	int listener, fd;
	pthread_t thread;
};

struct heard {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t handle, offset;
	uint32_t bytes;
} __attribute__((packed));

/* The oldest handshake has no options. */
static void *greet(void *opaque)
{
	struct {
		uint64_t magic, cliserv, size;
		uint32_t flags;
		uint8_t zeroes[124];
	} __attribute__((packed)) hello = {htobe64(0x4e42444d41474943), htobe64(0x00420281861253), htobe64(SIZE), htobe32(1), {0}};
	const struct timeval most = {20, 0};
	struct server *s = opaque;

	s->fd = accept(s->listener, NULL, NULL);
	assert_true(s->fd >= 0);
	setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	assert_int_equal(send(s->fd, &hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
	return NULL;
}

static void server_begin(struct server *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	unlink(socket_path);
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->listener, 8), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, greet, s), 0);
}

static void server_connected(const struct server *s)
{
	assert_int_equal(pthread_join(s->thread, NULL), 0);
}

static void server_end(struct server *s)
{
	close(s->fd);
	close(s->listener);
	unlink(socket_path);
}

/* The next request; a write's data is taken, too. */
static struct heard hear(const struct server *s)
{
	static uint8_t data[BLOCK];
	struct heard h;

	assert_int_equal(recv(s->fd, &h, sizeof(h), MSG_WAITALL), sizeof(h));
	assert_int_equal(be32toh(h.magic), 0x25609513);
	h.type = be16toh(h.type);
	h.offset = be64toh(h.offset);
	h.bytes = be32toh(h.bytes);
	if (h.type == WRITE)
		assert_int_equal(recv(s->fd, data, h.bytes, MSG_WAITALL), h.bytes);
	return h;
}

static void answer(const struct server *s, const struct heard *h)
{
	static uint8_t data[BLOCK];
	struct {
		uint32_t magic, error;
		uint64_t handle;
	} reply = {htobe32(0x67446698), 0, h->handle};

	memset(data, 0xee, sizeof(data));
	assert_int_equal(send(s->fd, &reply, sizeof(reply), MSG_NOSIGNAL), sizeof(reply));
	if (h->type == READ)
		assert_int_equal(send(s->fd, data, h->bytes, MSG_NOSIGNAL), h->bytes);
}

static struct test_disk opened(struct server *s)
{
	struct test_disk t;

	server_begin(s);
	t = test_disk_open(spec(""));
	server_connected(s);
	return t;
}

static uint8_t memory[16][BLOCK];
static struct iovec iovs[16];
static struct disk_request requests[16];

static struct disk_request *ask(struct test_disk *t, unsigned index, enum disk_op op, uint64_t block)
{
	struct disk_request *r = &requests[index];

	iovs[index] = (struct iovec){memory[index], BLOCK};
	*r = (struct disk_request){.op = (uint8_t)op, .offset = block * BLOCK, .bytes = BLOCK, .iov = &iovs[index], .iov_count = 1, .result = 1};
	disk_queue_submit(t->queue, &r, 1);
	return &requests[index];
}

static void cancelled(struct test_disk *t, unsigned count)
{
	while (count--)
		assert_int_equal(test_wait(t->queue)->result, -ECANCELED);
}

static void what_a_server_owes_is_not_waited_for(void **state)
{
	struct heard read, write, later;
	struct server s;
	struct test_disk t = opened(&s);

	memset(memory, 0, sizeof(memory));
	ask(&t, 0, DISK_READ, 0);
	ask(&t, 1, DISK_WRITE, 1);
	read = hear(&s);
	write = hear(&s);
	assert_int_equal(read.type, READ);
	assert_int_equal(write.type, WRITE);
	disk_queue_cancel(t.queue);
	cancelled(&t, 2);
	answer(&s, &read);
	answer(&s, &write);
	ask(&t, 2, DISK_READ, 2); /* it goes on, and what has been answered late is thrown away */
	later = hear(&s);
	answer(&s, &later);
	assert_ptr_equal(test_wait(t.queue), &requests[2]);
	assert_int_equal(requests[2].result, 0);
	assert_true(test_all(memory[2], BLOCK, 0xee));
	assert_true(test_all(memory[0], BLOCK, 0));
	test_disk_close(&t);
	server_end(&s);
}

/* The server may still carry it out: nothing that comes later is to be overtaken by it. */
static void what_overlaps_a_write_that_was_given_up_waits_for_its_end(void **state)
{
	struct heard write, other, h;
	struct server s;
	struct test_disk t = opened(&s);

	ask(&t, 0, DISK_WRITE, 1);
	write = hear(&s);
	disk_queue_cancel(t.queue);
	cancelled(&t, 1);
	disk_queue_close(t.queue); /* the driver begins anew */
	assert_int_equal(disk_queue_open(t.disk, DEPTH, &t.queue), 0);
	ask(&t, 1, DISK_WRITE, 1);
	ask(&t, 2, DISK_READ, 1);
	ask(&t, 3, DISK_READ, 2);
	other = hear(&s);
	assert_int_equal(other.offset, 2 * BLOCK);
	answer(&s, &other);
	assert_ptr_equal(test_wait(t.queue), &requests[3]);
	assert_int_equal(recv(s.fd, &h, 1, MSG_DONTWAIT | MSG_PEEK), -1);
	answer(&s, &write);
	for (unsigned i = 0; i < 2; i++) {
		h = hear(&s);
		assert_int_equal(h.offset, BLOCK);
		answer(&s, &h);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(test_wait(t.queue)->result, 0);
	test_disk_close(&t);
	server_end(&s);
}

/* A request that was answered, and goes on with its next part, has begun before it was cancelled. */
static void what_waits_behind_a_fence_can_be_cancelled(void **state)
{
	struct heard write;
	struct server s;
	struct test_disk t = opened(&s);

	ask(&t, 0, DISK_WRITE, 1);
	write = hear(&s);
	disk_queue_cancel(t.queue);
	cancelled(&t, 1);
	ask(&t, 1, DISK_WRITE, 1);
	disk_queue_cancel(t.queue);
	cancelled(&t, 1);
	answer(&s, &write);
	test_disk_close(&t);
	server_end(&s);
}

/* The connection goes: what was given up is not sent again, and holds up nobody. */
static void what_was_given_up_is_not_repeated(void **state)
{
	struct heard h;
	struct server s;
	struct test_disk t = opened(&s);

	ask(&t, 0, DISK_WRITE, 1);
	hear(&s);
	disk_queue_cancel(t.queue);
	cancelled(&t, 1);
	ask(&t, 1, DISK_READ, 1);
	close(s.listener);
	close(s.fd);
	server_begin(&s);
	server_connected(&s);
	h = hear(&s);
	assert_int_equal(h.type, READ);
	answer(&s, &h);
	assert_int_equal(test_wait(t.queue)->result, 0);
	test_disk_close(&t);
	server_end(&s);
}

/* Who stops its queues again and again has so much memory of ours, and no more. */
static void so_much_is_given_up_and_no_more(void **state)
{
	static struct heard owed[NBD_GIVEN_UP_MAX + DEPTH];
	unsigned count = 0;
	struct heard last;
	struct server s;
	struct test_disk t = opened(&s);

	while (count < NBD_GIVEN_UP_MAX + DEPTH) {
		struct heard probe;

		for (unsigned i = 0; i < DEPTH - 1; i++)
			ask(&t, i, DISK_READ, i);
		for (unsigned i = 0; i < DEPTH - 1 && count < ARRAY_SIZE(owed); i++)
			owed[count++] = hear(&s);
		if (count >= NBD_GIVEN_UP_MAX)
			break;
		disk_queue_cancel(t.queue);
		ask(&t, DEPTH, DISK_READ, 100); /* it is sent after the others have been looked at */
		probe = hear(&s);
		cancelled(&t, DEPTH - 1);
		answer(&s, &probe);
		assert_ptr_equal(test_wait(t.queue), &requests[DEPTH]);
	}
	disk_queue_cancel(t.queue);
	cancelled(&t, NBD_GIVEN_UP_MAX % (DEPTH - 1));
	ask(&t, DEPTH, DISK_READ, 100);
	last = hear(&s);
	answer(&s, &last);
	assert_ptr_equal(test_wait(t.queue), &requests[DEPTH]);
	assert_int_equal(disk_queue_pending(t.queue), count - NBD_GIVEN_UP_MAX);
	while (count) /* the last ones first: as soon as there is room the others are given up, too */
		answer(&s, &owed[--count]);
	while (disk_queue_pending(t.queue))
		assert_int_equal(test_wait(t.queue)->result, 0);
	test_disk_close(&t);
	server_end(&s);
}

static int make_folder(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(socket_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_server_owes_is_not_waited_for),
		cmocka_unit_test(what_overlaps_a_write_that_was_given_up_waits_for_its_end),
		cmocka_unit_test(what_waits_behind_a_fence_can_be_cancelled),
		cmocka_unit_test(what_was_given_up_is_not_repeated),
		cmocka_unit_test(so_much_is_given_up_and_no_more),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
