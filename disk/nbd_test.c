/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks of nbdkit, which is killed, made slow and made to fail, and of servers in here that lie. */
#include "disk/test_nbdkit.h"
#include "base/clock.h"
#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char file_path[64];

static void make_file(off_t bytes)
{
	int fd = open(file_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	close(fd);
}

static pid_t serve_file(void)
{
	char file[80];

	snprintf(file, sizeof(file), "file=%s", file_path);
	return serve("file", file, (char *)NULL);
}

/* ---- requests ---- */

static uint8_t out[4096], in[4096];
static const struct iovec write_iov = {out, sizeof(out)}, read_iov = {in, sizeof(in)};

static int put(struct test_disk *t, uint8_t seed, uint64_t offset)
{
	test_fill(out, sizeof(out), seed);
	return test_do(t, DISK_WRITE, 0, offset, sizeof(out), &write_iov, 1);
}

static int flush(struct test_disk *t)
{
	return test_do(t, DISK_FLUSH, 0, 0, 0, NULL, 0);
}

static void expect_there(struct test_disk *t, uint8_t seed, uint64_t offset)
{
	memset(in, 0, sizeof(in));
	assert_int_equal(test_do(t, DISK_READ, 0, offset, sizeof(in), &read_iov, 1), 0);
	test_fill(out, sizeof(out), seed);
	assert_memory_equal(in, out, sizeof(in));
}

/* ---- what every kind does ---- */

static void what_fits_is_done_and_what_does_not_is_refused(void **state)
{
	pid_t child;

	NEED_NBDKIT();
	child = serve("memory", "1M", (char *)NULL);
	test_bounds(spec(""));
	test_zeroes(spec(""));
	test_read_only(spec(",read-only=on"));
	end(child);
	child = serve("-r", "memory", "1M", (char *)NULL);
	test_read_only(spec(""));
	end(child);
	child = serve("--filter=nozero", "memory", "1M", (char *)NULL); /* and no zeroes, no discards, no FUA */
	test_zeroes(spec(",restart=stable"));
	end(child);
}

/* Larger than one command may be, over pieces of any length. */
static void long_requests_are_done_piece_by_piece(void **state)
{
	size_t bytes = 3 << 20;
	uint8_t *from = malloc(bytes), *to = calloc(1, bytes);
	struct iovec write[] = {{from, 1000}, {from + 1000, 0}, {from + 1000, bytes - 1000}};
	struct iovec read[] = {{to, bytes / 2 + 1}, {to + bytes / 2 + 1, bytes / 2 - 1}};
	struct test_disk t;
	pid_t child;

	assert_non_null(from);
	assert_non_null(to);
	if (have_nbdkit()) {
		test_fill(from, bytes, 9);
		child = serve("memory", "8M", (char *)NULL);
		t = test_disk_open(spec(""));
		assert_int_equal(test_do(&t, DISK_WRITE, DISK_FUA, 4096, bytes, write, 3), 0);
		assert_int_equal(test_do(&t, DISK_READ, 0, 4096, bytes, read, 2), 0);
		assert_memory_equal(from, to, bytes);
		assert_int_equal(test_do(&t, DISK_WRITE, 0, 0, bytes, write, 1), -EINVAL);
		test_disk_close(&t);
		end(child);
	}
	free(from);
	free(to);
}

static void properties_are_the_servers(void **state)
{
	struct disk_info info;
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	child = serve("--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=4096", "blocksize-preferred=16384",
		      "blocksize-error-policy=error", (char *)NULL);
	t = test_disk_open(spec(""));
	disk_info_get(t.disk, &info);
	assert_int_equal(info.size_bytes, 1 << 20);
	assert_int_equal(info.logical_block_bytes, 4096);
	assert_int_equal(info.physical_block_bytes, 16384);
	assert_true(info.volatile_cache && info.can_discard && info.zero_unmaps && !info.rotational && !info.read_only);
	assert_int_equal(put(&t, 1, 4096), 0);
	expect_there(&t, 1, 4096);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 512, 4096, &write_iov, 1), -EINVAL);
	test_disk_close(&t);
	end(child);
}

/* ---- a server that is killed ---- */

static void requests_wait_for_a_server_that_was_killed(void **state)
{
	struct disk_request r[8], *burst[8], *done;
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	make_file(1 << 20);
	child = serve_file();
	t = test_disk_open(spec(",restart=trust"));
	assert_int_equal(put(&t, 1, 0), 0);
	end(child);
	test_fill(out, sizeof(out), 2);
	for (unsigned i = 0; i < 8; i++) {
		r[i] = (struct disk_request){.op = i == 7 ? DISK_FLUSH : DISK_WRITE, .offset = i == 7 ? 0 : 4096 * (i + 1),
					     .bytes = i == 7 ? 0 : 4096, .iov = &write_iov, .iov_count = 1, .result = 1};
		burst[i] = &r[i];
	}
	disk_queue_submit(t.queue, burst, 8);
	child = serve_file();
	for (unsigned i = 0; i < 8; i++) {
		done = test_wait(t.queue);
		assert_int_equal(done->result, 0);
	}
	expect_there(&t, 1, 0);
	for (unsigned i = 1; i < 8; i++)
		expect_there(&t, 2, 4096 * i);
	test_disk_close(&t);
	end(child);
}

/* The delay filter holds the writes: they are under way, on several connections, when the server is killed. */
static void writes_that_were_not_answered_are_repeated(void **state)
{
	struct disk_request r[32], *one;
	struct disk_queue *other;
	struct test_disk t;
	char file[80];
	pid_t child;

	NEED_NBDKIT();
	make_file(1 << 20);
	snprintf(file, sizeof(file), "file=%s", file_path);
	child = serve("--filter=delay", "file", file, "wdelay=60", (char *)NULL);
	t = test_disk_open(spec(",connections=2"));
	assert_int_equal(disk_queue_open(t.disk, 4, &other), 0);
	test_fill(out, sizeof(out), 3);
	for (unsigned i = 0; i < 32; i++) {
		r[i] = (struct disk_request){.op = DISK_WRITE, .offset = 4096 * i, .bytes = 4096, .iov = &write_iov, .iov_count = 1,
					     .result = 1};
		one = &r[i];
		disk_queue_submit(i % 2 ? other : t.queue, &one, 1);
	}
	end(child);
	child = serve_file();
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(test_wait(i % 2 ? other : t.queue)->result, 0);
	for (unsigned i = 0; i < 32; i++)
		expect_there(&t, 3, 4096 * i);
	assert_int_equal(flush(&t), 0); /* nothing had been acknowledged by the first one */
	disk_queue_close(other);
	test_disk_close(&t);
	end(child);
}

static void flush_fails_when_what_was_acknowledged_may_be_lost(void **state)
{
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	make_file(1 << 20);
	child = serve_file();
	t = test_disk_open(spec(""));
	assert_int_equal(put(&t, 1, 0), 0);
	assert_int_equal(flush(&t), 0);
	end(child);
	child = serve_file();
	expect_there(&t, 1, 0);
	assert_int_equal(flush(&t), 0); /* all had been flushed */
	assert_int_equal(put(&t, 2, 0), 0);
	end(child);
	child = serve_file();
	expect_there(&t, 2, 0);
	assert_int_equal(flush(&t), -EIO);
	assert_int_equal(flush(&t), -EIO);
	test_disk_close(&t);
	t = test_disk_open(spec(""));
	assert_int_equal(flush(&t), 0);
	test_disk_close(&t);
	end(child);
}

static void nothing_is_lost_where_each_write_is_stable(void **state)
{
	struct test_disk t;
	struct disk_info info;
	pid_t child;

	NEED_NBDKIT();
	make_file(1 << 20);
	child = serve_file();
	t = test_disk_open(spec(",restart=stable"));
	disk_info_get(t.disk, &info);
	assert_false(info.volatile_cache);
	assert_int_equal(put(&t, 1, 0), 0);
	assert_int_equal(test_do(&t, DISK_ZERO, 0, 4096, 4096, NULL, 0), 0);
	end(child);
	child = serve_file();
	expect_there(&t, 1, 0);
	assert_int_equal(flush(&t), 0);
	test_disk_close(&t);
	end(child);
}

static void requests_fail_if_they_are_to_wait_for_nobody(void **state)
{
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	child = serve("memory", "1M", (char *)NULL);
	t = test_disk_open(spec(",reconnect=0"));
	assert_int_equal(put(&t, 1, 0), 0);
	end(child);
	assert_int_equal(put(&t, 1, 0), -EIO);
	test_disk_close(&t);
}

static void cancelled_requests_wait_for_nobody(void **state)
{
	struct disk_request r[20], *one;
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	child = serve("memory", "1M", (char *)NULL);
	t = test_disk_open(spec(""));
	end(child);
	for (unsigned i = 0; i < 20; i++) { /* the queue is not that deep: some of them are not even handed over */
		r[i] = (struct disk_request){.op = DISK_READ, .bytes = 4096, .iov = &read_iov, .iov_count = 1};
		one = &r[i];
		disk_queue_submit(t.queue, &one, 1);
	}
	disk_queue_cancel(t.queue);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(test_wait(t.queue)->result, -ECANCELED);
	child = serve("memory", "1M", (char *)NULL);
	assert_int_equal(put(&t, 1, 0), 0);
	test_disk_close(&t);
	end(child);
}

/* ---- a server that answers nothing, or errors ---- */

static void server_that_owes_an_answer_is_given_up(void **state)
{
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	child = serve("--filter=delay", "memory", "1M", "rdelay=60", (char *)NULL);
	t = test_disk_open(spec(",timeout=1,reconnect=0"));
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 4096, &read_iov, 1), -EIO);
	test_disk_close(&t);
	end(child);
}

static void errors_of_the_server_are_the_requests(void **state)
{
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	child = serve("--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pread=EIO", "error-pwrite-rate=100%",
		      "error-pread-rate=100%", (char *)NULL);
	t = test_disk_open(spec(""));
	assert_int_equal(put(&t, 1, 0), -ENOSPC);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 4096, &read_iov, 1), -EIO);
	assert_int_equal(flush(&t), 0);
	test_disk_close(&t);
	end(child);
}

static void size_is_looked_at_anew(void **state)
{
	struct disk_info info;
	struct test_disk t;
	pid_t child;

	NEED_NBDKIT();
	make_file(1 << 20);
	child = serve_file();
	t = test_disk_open(spec(",connections=3"));
	assert_int_equal(put(&t, 1, 0), 0);
	assert_int_equal(disk_refresh(t.disk), 0);
	assert_int_equal(truncate(file_path, 2 << 20), 0);
	assert_int_equal(disk_refresh(t.disk), 1);
	disk_info_get(t.disk, &info);
	assert_int_equal(info.size_bytes, 2 << 20);
	assert_int_equal(put(&t, 2, (2 << 20) - 4096), 0);
	expect_there(&t, 1, 0);
	assert_int_equal(flush(&t), 0); /* a connection that was let go in order is no loss */
	assert_int_equal(disk_resize(t.disk, 1 << 20), -ENOTSUP);
	test_disk_close(&t);
	end(child);
}

/* ---- servers that lie ---- */

struct liar {
	int listener;
	uint64_t size;
	uint16_t flags;
	bool garbage; /* instead of a greeting */
	pthread_t thread;
};

/* The oldest handshake has no options: who connects is told the size, and may send commands. Each gets nonsense for an answer. */
static void lie_to(const struct liar *liar, int fd)
{
	struct {
		uint64_t magic, cliserv, size;
		uint32_t flags;
		uint8_t zeroes[124];
	} __attribute__((packed)) hello = {htobe64(0x4e42444d41474943), htobe64(0x00420281861253), htobe64(liar->size),
					   htobe32(liar->flags), {0}};
	uint8_t bytes[4096];

	if (liar->garbage)
		memset(&hello, 'x', sizeof(hello));
	if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0)
		return;
	while (recv(fd, bytes, sizeof(bytes), 0) > 0) {
		memset(bytes, 'y', sizeof(bytes));
		if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0)
			return;
	}
}

static void *liar_main(void *opaque)
{
	const struct liar *liar = opaque;
	int fd;

	while ((fd = accept(liar->listener, NULL, NULL)) >= 0) {
		lie_to(liar, fd);
		close(fd);
	}
	return NULL;
}

static void liar_start(struct liar *liar, bool serves)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	unlink(socket_path);
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	liar->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(liar->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(liar->listener, 8), 0);
	if (serves)
		assert_int_equal(pthread_create(&liar->thread, NULL, liar_main, liar), 0);
}

static void liar_end(struct liar *liar, bool serves)
{
	shutdown(liar->listener, SHUT_RDWR);
	if (serves)
		pthread_join(liar->thread, NULL);
	close(liar->listener);
	unlink(socket_path);
}

static void one_phrase_names_a_server_that_is_none(void **state)
{
	struct liar silent = {0}, noise = {.garbage = true}, vast = {.size = UINT64_MAX, .flags = 1}, empty = {.flags = 1};

	expect_refused("", "No such file");
	liar_start(&silent, false);
	expect_refused(",timeout=1", "nobody answers");
	liar_end(&silent, false);
	liar_start(&noise, true);
	expect_refused("", "magic");
	liar_end(&noise, true);
	liar_start(&vast, true);
	expect_refused("", "size");
	liar_end(&vast, true);
	liar_start(&empty, true);
	expect_refused("", "size");
	liar_end(&empty, true);
	expect_refused(",tls-psk=/dev/null", "tls=on");
}

static void nonsense_for_an_answer_is_an_error(void **state)
{
	struct liar liar = {.size = 1 << 20, .flags = 1};
	struct test_disk t;

	liar_start(&liar, true);
	t = test_disk_open(spec(""));
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 4096, &read_iov, 1), -EIO);
	assert_int_equal(put(&t, 1, 0), -EIO);
	test_disk_close(&t);
	liar_end(&liar, true);
}

static void several_connections_are_for_servers_that_share(void **state)
{
	struct liar liar = {.size = 1 << 20, .flags = 1};
	struct test_disk t;

	liar_start(&liar, true);
	expect_refused(",connections=2", "multi-conn");
	t = test_disk_open(spec(",connections=2,read-only=on"));
	test_disk_close(&t);
	liar_end(&liar, true);
}

static int make_folder(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	snprintf(file_path, sizeof(file_path), "%s/f", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(socket_path);
	unlink(file_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits_is_done_and_what_does_not_is_refused),
		cmocka_unit_test(long_requests_are_done_piece_by_piece),
		cmocka_unit_test(properties_are_the_servers),
		cmocka_unit_test(requests_wait_for_a_server_that_was_killed),
		cmocka_unit_test(writes_that_were_not_answered_are_repeated),
		cmocka_unit_test(flush_fails_when_what_was_acknowledged_may_be_lost),
		cmocka_unit_test(nothing_is_lost_where_each_write_is_stable),
		cmocka_unit_test(requests_fail_if_they_are_to_wait_for_nobody),
		cmocka_unit_test(cancelled_requests_wait_for_nobody),
		cmocka_unit_test(server_that_owes_an_answer_is_given_up),
		cmocka_unit_test(errors_of_the_server_are_the_requests),
		cmocka_unit_test(size_is_looked_at_anew),
		cmocka_unit_test(one_phrase_names_a_server_that_is_none),
		cmocka_unit_test(nonsense_for_an_answer_is_an_error),
		cmocka_unit_test(several_connections_are_for_servers_that_share),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
