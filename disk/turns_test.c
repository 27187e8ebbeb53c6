/* SPDX-License-Identifier: BSD-3-Clause */
/* How much a worker moves by itself in one call, while its other queues wait: DISK_TURN_BYTES, however much is asked for. */
#include "disk/kind.h"
#include "disk/test_disk.h"
#if VIREO_HAS_NBD
#include "disk/test_nbdkit.h"
#endif
#include <time.h>
#include <unistd.h>

#define PART   DISK_TURN_BYTES
#define PARTS  64u
#define ROUNDS 5u

static struct disk_request requests[PARTS], *burst[PARTS];
static struct iovec iovs[PARTS];

static void burst_make(uint8_t *bytes, uint64_t part, enum disk_op op)
{
	for (unsigned i = 0; i < PARTS; i++) {
		iovs[i] = (struct iovec){bytes + i * part, part};
		requests[i] = (struct disk_request){.op = (uint8_t)op, .offset = i * part, .bytes = part, .iov = &iovs[i], .iov_count = 1, .result = 1};
		burst[i] = &requests[i];
	}
}

static void all_done(struct disk_queue *queue)
{
	for (unsigned i = 0; i < PARTS; i++)
		assert_int_equal(test_wait(queue)->result, 0);
	assert_int_equal(disk_queue_pending(queue), 0);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What lies in the page cache the kernel would copy within the call, in the caller's time. Threads do it instead. */
static void a_burst_from_the_page_cache_is_not_copied_by_the_worker(void **state)
{
	char path[] = "/tmp/vireo-turns-XXXXXX", text[64];
	uint8_t *bytes = malloc(PARTS * (size_t)PART), *copy = malloc(PARTS * (size_t)PART);
	int fd = mkstemp(path);
	struct test_disk t;

	assert_true(fd >= 0 && bytes && copy);
	memset(bytes, 1, PARTS * (size_t)PART);
	memset(copy, 2, PARTS * (size_t)PART);
	assert_int_equal(write(fd, bytes, PARTS * (size_t)PART), PARTS * (ssize_t)PART);
	snprintf(text, sizeof(text), "file:%s", path);
	t = test_disk_open(text);
	disk_queue_close(t.queue);
	assert_int_equal(disk_queue_open(t.disk, PARTS, &t.queue), 0);
	for (enum disk_op op = DISK_READ; op <= DISK_WRITE; op++) {
		uint64_t submit = UINT64_MAX, all = UINT64_MAX;

		for (unsigned round = 0; round < ROUNDS; round++) {
			uint64_t began = cpu_ns();

			memcpy(copy, bytes, PARTS * (size_t)PART);
			__asm__ volatile("" : : "r"(copy) : "memory"); /* nobody reads it: clang would leave it out */
			all = min_u64(all, cpu_ns() - began);
			burst_make(bytes, PART, op);
			began = cpu_ns();
			disk_queue_submit(t.queue, burst, PARTS);
			submit = min_u64(submit, cpu_ns() - began);
			all_done(t.queue);
		}
		if (submit >= all / 3)
			print_error("%u us to submit what takes %u us to copy\n", (unsigned)(submit / 1000), (unsigned)(all / 1000));
		assert_true(submit < all / 3);
	}
	assert_true(test_all(bytes, PARTS * (size_t)PART, 1));
	test_disk_close(&t);
	unlink(path);
	close(fd);
	free(bytes);
	free(copy);
}

#if VIREO_HAS_NBD
#define NBD_PART (256u << 10)

/* Guest memory is copied when a request is submitted, and when it is reaped: by turns, both. */
static void a_burst_to_a_server_is_copied_by_turns(void **state)
{
	uint8_t *bytes = calloc(PARTS, NBD_PART);
	struct test_disk t;
	unsigned reaped = 0;
	pid_t child;

	NEED_NBDKIT();
	assert_non_null(bytes);
	child = serve("memory", "16M", (char *)NULL);
	t = test_disk_open(spec(""));
	disk_queue_close(t.queue);
	assert_int_equal(disk_queue_open(t.disk, PARTS, &t.queue), 0);
	burst_make(bytes, NBD_PART, DISK_WRITE);
	disk_queue_submit(t.queue, burst, PARTS);
	memset(bytes, 1, (size_t)PARTS * NBD_PART); /* what has not been copied yet is this */
	all_done(t.queue);
	burst_make(bytes, NBD_PART, DISK_READ);
	disk_queue_submit(t.queue, burst, PARTS);
	sleep(1); /* so that all have been answered, as a rule */
	while (reaped < PARTS) {
		struct disk_request *done[PARTS];
		unsigned count = disk_queue_reap(t.queue, done, PARTS);

		assert_in_range(count, 0, PART / NBD_PART);
		if (!count && !disk_queue_arm(t.queue, true))
			assert_int_equal(poll(&(struct pollfd){.fd = disk_queue_fd(t.queue), .events = POLLIN}, 1, 20000), 1);
		reaped += count;
	}
	assert_true(test_all(bytes, PART / NBD_PART * NBD_PART, 0));
	assert_true(test_all(bytes + PART, (size_t)PARTS * NBD_PART - PART, 1));
	test_disk_close(&t);
	end(child);
	free(bytes);
}
#endif

#if VIREO_HAS_NBD
static int make(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	return 0;
}

static int clear(void **state)
{
	return rmdir(folder);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_from_the_page_cache_is_not_copied_by_the_worker),
#if VIREO_HAS_NBD
		cmocka_unit_test_setup_teardown(a_burst_to_a_server_is_copied_by_turns, make, clear),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
