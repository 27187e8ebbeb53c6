/* SPDX-License-Identifier: BSD-3-Clause */

/* A file whose contents lie in memory: the queue's thread moves them by itself, and of a burst no more than others can wait for: DISK_TURN_BYTES. */

#include "disk/file.h"
#include "disk/kind.h"
#include "disk/test_file.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define PART (DISK_TURN_BYTES / 4)
#define PARTS 16u /* of one burst */
#define FILE_BYTES ((off_t)PART * PARTS)

/* ---- who writes ---- */

static pthread_t queue_thread;
static uint64_t written_here, written_elsewhere; /* atomic: the second one is threads' */
static uint64_t written_stable;			 /* of what was written here */

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __real_pwrite(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset);

static void written(ssize_t n, bool stable)
{
	bool here = pthread_equal(pthread_self(), queue_thread);

	if (n <= 0)
		return;
	__atomic_fetch_add(here ? &written_here : &written_elsewhere, (uint64_t)n, __ATOMIC_RELAXED);
	if (here && stable)
		written_stable += (uint64_t)n;
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	ssize_t n = __real_pwritev2(fd, iov, count, offset, flags);

	written(n, flags & RWF_DSYNC);
	return n;
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return __wrap_pwritev2(fd, iov, count, offset, flags);
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	ssize_t n = __real_pwrite(fd, data, bytes, offset);

	written(n, false);
	return n;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
	return __wrap_pwrite(fd, data, bytes, offset);
}

/* ---- the file ---- */

struct in_memory {
	int fd;
	char spec[80];
};

static int file_make(void **state)
{
	struct in_memory *memory = calloc(1, sizeof(*memory));

	assert_non_null(memory);
	memory->fd = memfd_create("disk_test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	assert_int_equal(ftruncate(memory->fd, FILE_BYTES), 0);
	snprintf(memory->spec, sizeof(memory->spec), "file:/proc/self/fd/%d", memory->fd);
	queue_thread = pthread_self();
	written_here = written_elsewhere = 0;
	*state = memory;
	return 0;
}

static int file_clear(void **state)
{
	struct in_memory *memory = *state;

	close(memory->fd);
	free(memory);
	return 0;
}

static struct file_disk *file_of(const struct test_disk *t)
{
	return container_of(t->disk, struct file_disk, disk);
}

/* With rings where there can be any, and as where they are forbidden. */
static struct test_disk in_memory_open(const struct in_memory *memory, bool rings)
{
	struct test_disk t = test_disk_open(memory->spec);

	file_of(&t)->at_once = true; /* on a machine with swap, too */
	disk_queue_close(t.queue);
	file_of(&t)->uring &= rings;
	assert_int_equal(disk_queue_open(t.disk, PARTS, &t.queue), 0);
	return t;
}

static void both_ways(void **state, void (*check)(const struct in_memory *memory, struct test_disk *t))
{
	const struct in_memory *memory = *state;

	for (int rings = 1; rings >= 0; rings--) {
		struct test_disk t = in_memory_open(memory, rings);

		check(memory, &t);
		test_disk_close(&t);
	}
}

/* Done by the time it has been submitted: what it is done with. */
static int now(struct test_disk *t, enum disk_op op, uint8_t flags, uint64_t offset, const struct iovec *iov, uint32_t count)
{
	struct disk_request r = {.op = (uint8_t)op, .flags = flags, .offset = offset, .iov = iov, .iov_count = count, .result = 1}, *one = &r, *done = NULL;

	for (uint32_t i = 0; i < count; i++)
		r.bytes += iov[i].iov_len;
	disk_queue_submit(t->queue, &one, 1);
	assert_int_equal(disk_queue_reap(t->queue, &done, 1), 1);
	assert_ptr_equal(done, &r);
	assert_int_equal(disk_queue_pending(t->queue), 0);
	return r.result;
}

/* ---- what it does ---- */

static void check_now(const struct in_memory *memory, struct test_disk *t)
{
	uint8_t out[8192], in[8192];
	struct iovec write[] = {{out, 1}, {out + 1, 0}, {out + 1, 4095}, {out + 4096, 4096}};
	struct iovec read[] = {{in, 5001}, {in + 5001, 3191}};

	test_fill(out, sizeof(out), 1);
	for (uint8_t flags = 0; flags <= DISK_FUA; flags++) {
		memset(in, 0, sizeof(in));
		assert_int_equal(now(t, DISK_WRITE, flags, 4096 + 8192 * flags, write, ARRAY_SIZE(write)), 0);
		assert_int_equal(now(t, DISK_READ, 0, 4096 + 8192 * flags, read, ARRAY_SIZE(read)), 0);
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(pread(memory->fd, in, sizeof(in), 4096 + 8192 * flags), sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
	assert_int_equal(now(t, DISK_FLUSH, 0, 0, NULL, 0), 0);
}

static void one_request_is_done_by_the_time_it_has_been_submitted(void **state)
{
	both_ways(state, check_now);
}

static void burst(struct test_disk *t, enum disk_op op, uint8_t *bytes)
{
	struct disk_request requests[PARTS], *all[PARTS];
	struct iovec iov[PARTS];

	for (unsigned i = 0; i < PARTS; i++) {
		iov[i] = (struct iovec){bytes + i * (size_t)PART, PART};
		requests[i] = (struct disk_request){.op = (uint8_t)op, .offset = i * (uint64_t)PART, .bytes = PART, .iov = &iov[i], .iov_count = 1};
		all[i] = &requests[i];
	}
	disk_queue_submit(t->queue, all, PARTS);
	for (unsigned i = 0; i < PARTS; i++)
		assert_int_equal(test_wait(t->queue)->result, 0);
}

static void check_turn(const struct in_memory *memory, struct test_disk *t)
{
	uint8_t *out = malloc(FILE_BYTES), *in = malloc(FILE_BYTES);

	assert_true(out && in);
	test_fill(out, FILE_BYTES, 7);
	written_here = written_elsewhere = 0;
	burst(t, DISK_WRITE, out);
	assert_int_equal(written_here, DISK_TURN_BYTES);
	assert_int_equal(written_elsewhere, FILE_BYTES - DISK_TURN_BYTES);
	burst(t, DISK_READ, in);
	assert_memory_equal(in, out, FILE_BYTES);
	free(out);
	free(in);
}

static void a_burst_is_moved_by_the_queues_thread_up_to_a_turn_and_by_others_beyond(void **state)
{
	both_ways(state, check_turn);
}

/* One piece, and several: where it is, how much, and whether it is to be stable, the kernel is told of both. */
static void check_pieces(const struct in_memory *memory, struct test_disk *t)
{
	uint8_t out[4096], in[4096];

	for (uint32_t count = 1; count <= 2; count++)
		for (uint8_t flags = 0; flags <= DISK_FUA; flags++) {
			struct iovec write[] = {{out, sizeof(out) / count}, {out + 2048, 2048}}, read[] = {{in, sizeof(in) / count}, {in + 2048, 2048}};
			uint64_t offset = PART + 4096 * (2 * (uint64_t)count + flags);

			written_here = written_elsewhere = written_stable = 0;
			test_fill(out, sizeof(out), 2 * count + flags);
			assert_int_equal(now(t, DISK_WRITE, flags, offset, write, count), 0);
			assert_int_equal(written_here, sizeof(out));
			assert_int_equal(written_stable, flags ? sizeof(out) : 0);
			assert_int_equal(now(t, DISK_READ, 0, offset, read, count), 0);
			assert_memory_equal(in, out, sizeof(in));
		}
	assert_int_equal(written_elsewhere, 0);
}

static void a_write_is_stable_if_it_is_to_be_whether_it_has_one_piece_or_more(void **state)
{
	both_ways(state, check_pieces);
}

/* ---- what goes wrong ---- */

static void check_end(const struct in_memory *memory, struct test_disk *t)
{
	uint8_t bytes[8192];
	struct iovec iov = {bytes, sizeof(bytes)};

	assert_int_equal(ftruncate(memory->fd, PART + 4096), 0);
	assert_int_equal(test_do(t, DISK_READ, 0, 2 * PART, sizeof(bytes), &iov, 1), -EIO);
	assert_int_equal(test_do(t, DISK_READ, 0, PART, sizeof(bytes), &iov, 1), -EIO);
	assert_int_equal(ftruncate(memory->fd, FILE_BYTES), 0);
	assert_int_equal(now(t, DISK_READ, 0, PART, &iov, 1), 0);
	iov.iov_len = 512;
	assert_int_equal(test_do(t, DISK_READ, 0, 0, 1024, &iov, 1), -EINVAL);
	assert_int_equal(test_do(t, DISK_READ, 0, FILE_BYTES, 512, &iov, 1), -EINVAL);
}

static void what_is_behind_the_end_is_an_error(void **state)
{
	both_ways(state, check_end);
}

static void check_sealed(const struct in_memory *memory, struct test_disk *t)
{
	uint8_t bytes[4096] = {0};
	struct iovec iov = {bytes, sizeof(bytes)};

	fcntl(memory->fd, F_ADD_SEALS, F_SEAL_WRITE);
	for (uint8_t flags = 0; flags <= DISK_FUA; flags++)
		assert_int_equal(now(t, DISK_WRITE, flags, 0, &iov, 1), -EPERM);
	assert_int_equal(now(t, DISK_READ, 0, 0, &iov, 1), 0);
	assert_int_equal(test_do(t, DISK_FLUSH, 0, 0, 0, NULL, 0), -EIO); /* a write that was to be stable has failed */
}

static void errors_are_those_of_the_file_and_a_flush_after_one_fails(void **state)
{
	both_ways(state, check_sealed);
}

static void *untouched;

static void touch(const struct iovec *iov, size_t count)
{
	mprotect(untouched, 8192, PROT_READ | PROT_WRITE);
}

static void check_touch(const struct in_memory *memory, struct test_disk *t)
{
	struct iovec iov;

	untouched = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(untouched != MAP_FAILED);
	iov = (struct iovec){untouched, 8192};
	for (enum disk_op op = DISK_READ; op <= DISK_WRITE; op++) {
		file_of(t)->disk.config.touch = NULL;
		assert_int_equal(test_do(t, op, 0, 0, 8192, &iov, 1), -EFAULT);
		file_of(t)->disk.config.touch = touch;
		assert_int_equal(test_do(t, op, 0, 0, 8192, &iov, 1), 0);
		assert_int_equal(mprotect(untouched, 8192, PROT_NONE), 0);
	}
	munmap(untouched, 8192);
}

static void memory_that_the_kernel_cannot_reach_is_touched_by_who_may_wait(void **state)
{
	both_ways(state, check_touch);
}

/* ---- which files ---- */

static bool at_once(const char *spec, const char *key)
{
	char text[120];
	struct test_disk t;
	bool is;

	snprintf(text, sizeof(text), "%s%s", spec, key);
	t = test_disk_open(text);
	is = file_of(&t)->at_once;
	test_disk_close(&t);
	return is;
}

/* As swapon(8) has it. */
static bool machine_swaps(void)
{
	FILE *in = fopen("/proc/swaps", "re");
	char line[200];
	unsigned lines = 0;

	while (in && fgets(line, sizeof(line), in))
		lines++;
	if (in)
		fclose(in);
	return lines != 1;
}

#define SWAPS "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

static void what_may_be_swapped_out_does_not_stay_in_memory(void **state)
{
	assert_false(file_swaps_named(SWAPS));
	assert_true(file_swaps_named(SWAPS "/dev/sda2                               partition\t1000444\t\t0\t\t-2\n"));
	assert_true(file_swaps_named(SWAPS "/swap\\040file                           file\t\t524284\t\t1024\t\t-3\n/dev/zram0 partition 1 0 100\n"));
	assert_true(file_swaps_named(SWAPS "/")); /* the beginning of it */
	assert_true(file_swaps_named("")); /* nobody can tell */
	assert_true(file_swaps_named("Filename\t\t\t\tType"));
}

static void only_what_lies_in_memory_and_only_where_nothing_else_was_asked_for(void **state)
{
	const struct in_memory *memory = *state;
	struct file_disk device = {.fd = memory->fd, .block_device = true};
	bool stays = !machine_swaps();

	assert_int_equal(at_once(memory->spec, ""), stays);
	assert_int_equal(at_once(memory->spec, ",io=auto"), stays);
	assert_false(at_once(memory->spec, ",io=threads"));
	assert_false(file_in_memory(&device)); /* its name lies in memory as a rule, at /dev */
	device.block_device = false;
	assert_int_equal(file_in_memory(&device), stays);
	device.fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	assert_true(device.fd >= 0);
	assert_false(file_in_memory(&device));
	close(device.fd);
}

#define IN_MEMORY(name) cmocka_unit_test_setup_teardown(name, file_make, file_clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_MEMORY(one_request_is_done_by_the_time_it_has_been_submitted),
		IN_MEMORY(a_burst_is_moved_by_the_queues_thread_up_to_a_turn_and_by_others_beyond),
		IN_MEMORY(a_write_is_stable_if_it_is_to_be_whether_it_has_one_piece_or_more),
		IN_MEMORY(what_is_behind_the_end_is_an_error),
		IN_MEMORY(errors_are_those_of_the_file_and_a_flush_after_one_fails),
		IN_MEMORY(memory_that_the_kernel_cannot_reach_is_touched_by_who_may_wait),
		cmocka_unit_test(what_may_be_swapped_out_does_not_stay_in_memory),
		IN_MEMORY(only_what_lies_in_memory_and_only_where_nothing_else_was_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
