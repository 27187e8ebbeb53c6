/* SPDX-License-Identifier: BSD-3-Clause */

/* A file, by each way that there is to reach one. */

#include "disk/file.h"
#include "disk/test_file.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- what every disk does ---- */

static void check_pieces(struct place *place, const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	uint8_t out[8192], in[8192] = {0};
	struct iovec write[] = {{out, 1}, {out + 1, 0}, {out + 1, 4095}, {out + 4096, 4096}};
	struct iovec read[] = {{in, 5001}, {in + 5001, 3191}};

	test_fill(out, sizeof(out), 1);
	for (uint8_t flags = 0; flags <= DISK_FUA; flags++) {
		memset(in, 0, sizeof(in));
		assert_int_equal(test_do(&t, DISK_WRITE, flags, 4096 + 8192 * flags, 8192, write, 4), 0);
		assert_int_equal(test_do(&t, DISK_READ, 0, 4096 + 8192 * flags, 8192, read, 2), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
	assert_int_equal(test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0), 0);
	test_disk_close(&t);
}

static void what_is_written_is_read_over_pieces_of_any_length(void **state)
{
	for_all_ways(state, check_pieces);
}

static void check_iovecs(struct place *place, const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	uint8_t *bytes = calloc(1, 8192);
	struct iovec iov[] = {{bytes, 4096}, {bytes + 4096, 4096}};
	struct stat st;

	assert_non_null(bytes);
	for (unsigned op = DISK_READ; op <= DISK_WRITE; op++) {
		assert_int_equal(test_do(&t, op, 0, 0, 4096, iov, 2), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, 0, 8192, iov, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, 0, 4096, NULL, 0), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, MIB - 4096, 4096, iov, 2), -EINVAL);
	}
	assert_int_equal(stat(place->path, &st), 0);
	assert_int_equal(st.st_size, MIB);
	free(bytes);
	test_disk_close(&t);
}

static void iovecs_of_another_length_than_the_request_are_refused(void **state)
{
	for_all_ways(state, check_iovecs);
}

static void what_does_not_fit_the_disk_is_refused(void **state)
{
	struct place *place = *state;

	test_bounds(way_spec(place, "io=threads"));
	if (can(place, "io=uring"))
		test_bounds(way_spec(place, "io=uring"));
}

static void check_read_only(struct place *place, const char *spec)
{
	char text[200];

	snprintf(text, sizeof(text), "%s,read-only=on", spec);
	test_read_only(text);
}

static void read_only_disk_takes_no_writes(void **state)
{
	for_all_ways(state, check_read_only);
}

static void zeroes_and_discards_end_where_they_should(void **state)
{
	struct place *place = *state;

	test_zeroes(way_spec(place, "io=threads"));
	test_zeroes(way_spec(place, "io=threads,discard=off"));
	if (can(place, "io=uring"))
		test_zeroes(way_spec(place, "io=uring"));
}

static void discard_gives_blocks_back_and_off_keeps_them(void **state)
{
	struct place *place = *state;
	uint8_t *bytes = malloc(MIB);
	struct iovec iov = {bytes, MIB};

	assert_non_null(bytes);
	memset(bytes, 1, MIB);
	for (unsigned on = 0; on < 2; on++) {
		struct test_disk t = test_disk_open(way_spec(place, on ? "discard=on" : "discard=off"));
		struct disk_info info;
		struct stat st;

		disk_info_get(t.disk, &info);
		if (on && !info.can_discard)
			print_message("left out: the file system of %s cannot punch holes\n", place->path);
		assert_int_equal(test_do(&t, DISK_WRITE, DISK_FUA, 0, MIB, &iov, 1), 0);
		assert_int_equal(test_do(&t, DISK_DISCARD, 0, 0, MIB, NULL, 0), 0);
		assert_int_equal(stat(place->path, &st), 0);
		if (info.can_discard)
			assert_true(st.st_blocks < 256);
		else
			assert_true(st.st_blocks >= 2048);
		assert_true(on || (!info.can_discard && !info.zero_unmaps));
		test_disk_close(&t);
	}
	free(bytes);
}

/* ---- bursts ---- */

#define BURST 64u

struct load {
	struct disk *disk;
	uint64_t offset; /* of 256 KiB that are its own */
	uint8_t seed;
};

/* More than the queue has room for, out of order and by a thread that sleeps between. */
static void run_burst(struct disk_queue *queue, const struct load *load, enum disk_op op, uint8_t *bytes)
{
	struct disk_request requests[BURST], *burst[BURST];
	struct iovec iov[BURST];

	for (unsigned i = 0; i < BURST; i++) {
		iov[i] = (struct iovec){bytes + 4096 * i, 4096};
		requests[i] = (struct disk_request){.op = (uint8_t)op, .offset = load->offset + 4096 * i, .bytes = 4096,
						    .iov = &iov[i], .iov_count = 1, .result = 1};
		burst[i] = &requests[i];
	}
	disk_queue_submit(queue, burst, BURST / 2);
	disk_queue_submit(queue, burst + BURST / 2, BURST / 2);
	for (unsigned i = 0; i < BURST; i++)
		test_wait(queue);
	assert_int_equal(disk_queue_pending(queue), 0);
	for (unsigned i = 0; i < BURST; i++)
		assert_int_equal(requests[i].result, 0);
}

static void *load_main(void *opaque)
{
	const struct load *load = opaque;
	uint8_t *out = aligned_alloc(4096, 4096 * BURST), *in = aligned_alloc(4096, 4096 * BURST);
	struct disk_queue *queue;

	assert_non_null(out);
	assert_non_null(in);
	assert_int_equal(disk_queue_open(load->disk, 8, &queue), 0);
	for (unsigned round = 0; round < 8; round++) {
		test_fill(out, 4096 * BURST, (uint8_t)(load->seed + round));
		run_burst(queue, load, DISK_WRITE, out);
		memset(in, 0, 4096 * BURST);
		run_burst(queue, load, DISK_READ, in);
		assert_memory_equal(in, out, 4096 * BURST);
	}
	disk_queue_close(queue);
	free(out);
	free(in);
	return NULL;
}

static void check_load(struct place *place, const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	struct load load[2] = {{t.disk, 0, 10}, {t.disk, MIB / 2, 20}};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, load_main, &load[1]), 0);
	load_main(&load[0]);
	pthread_join(thread, NULL);
	test_disk_close(&t);
}

static void queues_of_two_threads_carry_more_than_they_have_room_for(void **state)
{
	for_all_ways(state, check_load);
}

/* ---- sizes ---- */

static void check_shrunk(struct place *place, const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	uint8_t *bytes = aligned_alloc(4096, 8192);
	struct iovec iov = {bytes, 8192};

	assert_non_null(bytes);
	assert_int_equal(disk_refresh(t.disk), 0);
	assert_int_equal(truncate(place->path, MIB / 2 + 4096), 0);
	assert_int_equal(test_do(&t, DISK_READ, 0, MIB / 2 + 8192, 8192, &iov, 1), -EIO);
	assert_int_equal(test_do(&t, DISK_READ, 0, MIB / 2, 8192, &iov, 1), -EIO);
	assert_int_equal(disk_refresh(t.disk), 1);
	assert_int_equal(test_do(&t, DISK_READ, 0, MIB / 2, 8192, &iov, 1), -EINVAL);
	assert_int_equal(truncate(place->path, MIB), 0);
	assert_int_equal(disk_refresh(t.disk), 1);
	assert_int_equal(test_do(&t, DISK_READ, 0, MIB / 2, 8192, &iov, 1), 0);
	free(bytes);
	test_disk_close(&t);
}

static void file_that_somebody_shortens_gives_errors_and_the_new_size_when_asked(void **state)
{
	for_all_ways(state, check_shrunk);
}

static void check_resize(struct place *place, const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	struct disk_info info;
	struct stat st;

	assert_int_equal(disk_resize(t.disk, 2 * MIB), 0);
	assert_int_equal(test_do(&t, DISK_ZERO, 0, 2 * MIB - 4096, 4096, NULL, 0), 0);
	assert_int_equal(disk_resize(t.disk, MIB), 0);
	assert_int_equal(test_do(&t, DISK_ZERO, 0, 2 * MIB - 4096, 4096, NULL, 0), -EINVAL);
	assert_int_equal(disk_resize(t.disk, MIB + 1), -EINVAL);
	disk_info_get(t.disk, &info);
	assert_int_equal(info.size_bytes, MIB);
	assert_int_equal(stat(place->path, &st), 0);
	assert_int_equal(st.st_size, MIB);
	test_disk_close(&t);
}

static void resize_moves_the_end_of_the_file(void **state)
{
	for_all_ways(state, check_resize);
}

/* ---- failures ---- */

static void *untouched;

static void touch(const struct iovec *iov, size_t count)
{
	mprotect(untouched, 8192, PROT_READ | PROT_WRITE);
}

static int read_into_untouched(const char *spec, void (*fn)(const struct iovec *iov, size_t count))
{
	struct disk_config config = {.touch = fn};
	char why[DISK_WHY_BYTES];
	struct test_disk t;
	struct iovec iov;
	int result;

	untouched = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(untouched != MAP_FAILED);
	assert_int_equal(disk_open(spec, &config, &t.disk, why), 0);
	assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	iov = (struct iovec){untouched, 8192};
	result = test_do(&t, DISK_READ, 0, 0, 8192, &iov, 1);
	test_disk_close(&t);
	munmap(untouched, 8192);
	return result;
}

static void check_touch(struct place *place, const char *spec)
{
	assert_int_equal(read_into_untouched(spec, NULL), -EFAULT);
	assert_int_equal(read_into_untouched(spec, touch), 0);
}

static void memory_that_the_kernel_cannot_reach_is_touched_once(void **state)
{
	for_all_ways(state, check_touch);
}

static void check_sealed(const char *io)
{
	uint8_t *bytes = calloc(1, 4096);
	struct iovec iov = {bytes, 4096};
	int fd = memfd_create("disk_test", MFD_ALLOW_SEALING);
	char spec[80];
	struct test_disk t;

	assert_non_null(bytes);
	assert_int_equal(ftruncate(fd, MIB), 0);
	snprintf(spec, sizeof(spec), "file:/proc/self/fd/%d,%s", fd, io);
	t = test_disk_open(spec);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 0, 4096, &iov, 1), -EPERM);
	assert_int_equal(test_do(&t, DISK_ZERO, DISK_UNMAP, 0, 4096, NULL, 0), -EPERM);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 4096, &iov, 1), 0);
	assert_int_equal(test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0), 0);
	test_disk_close(&t);
	close(fd);
	free(bytes);
}

static void errors_of_the_file_are_passed_on(void **state)
{
	check_sealed("io=threads");
	if (can(*state, "io=uring"))
		check_sealed("io=uring");
}

/* The kernel tells it once; a later flush that works says nothing of what was lost. */
static void check_unsynced(struct place *place, const char *spec)
{
	struct test_disk t = test_disk_open(spec);

	assert_int_equal(test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0), 0);
	assert_null(disk_hand_over_problem(t.disk));
	file_synced(container_of(t.disk, struct file_disk, disk), -EIO);
	assert_non_null(strstr(disk_hand_over_problem(t.disk), "a flush has failed"));
	assert_int_equal(test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0), -EIO);
	assert_int_equal(test_do(&t, DISK_ZERO, DISK_FUA, 0, 4096, NULL, 0), -EIO);
	test_disk_close(&t);
}

static void flush_after_one_that_failed_fails_too(void **state)
{
	for_all_ways(state, check_unsynced);
}

/* ---- what cannot be opened ---- */

static void what_does_not_open_is_refused_with_the_fix(void **state)
{
	struct place *place = *state;

	refused("file:/nonexistent/disk.img", -ENOENT, "make it first");
	refused("file:/", -EINVAL, "neither a file nor a block device");
	refused("file:/dev/null", -EINVAL, "neither a file nor a block device");
	refused(way_spec(place, "lock=maybe"), -EINVAL, "one of on|off|shared|running");
	refused(way_spec(place, "threads=0"), -EINVAL, "a number from 1 to 64");
	assert_int_equal(truncate(place->path, 1000), 0);
	refused(way_spec(place, ""), -EINVAL, "no multiple of 512");
	assert_int_equal(truncate(place->path, 0), 0);
	refused(way_spec(place, ""), -EINVAL, "it is empty");
}

static void path_may_have_commas(void **state)
{
	struct place *place = *state;
	char path[80], spec[100];
	struct test_disk t;

	snprintf(path, sizeof(path), "%s,a", place->path);
	assert_int_equal(rename(place->path, path), 0);
	snprintf(spec, sizeof(spec), "file:%s,,a,io=threads", place->path);
	t = test_disk_open(spec);
	test_disk_close(&t);
	assert_int_equal(rename(path, place->path), 0);
}

/* Of io_uring_setup, for this process. */
static void forbid_rings(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
}

static int without_rings(struct place *place)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct disk *disk;
	struct test_disk t;

	forbid_rings();
	if (disk_open(way_spec(place, "io=uring"), &config, &disk, why) >= 0 || !strstr(why, "leave io=uring out"))
		return 1;
	t = test_disk_open(way_spec(place, ""));
	if (test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0))
		return 2;
	test_disk_close(&t);
	return 0;
}

static void threads_do_it_where_rings_are_forbidden(void **state)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		_exit(without_rings(*state));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_written_is_read_over_pieces_of_any_length),
		CASE(iovecs_of_another_length_than_the_request_are_refused),
		CASE(what_does_not_fit_the_disk_is_refused),
		CASE(read_only_disk_takes_no_writes),
		CASE(zeroes_and_discards_end_where_they_should),
		CASE(discard_gives_blocks_back_and_off_keeps_them),
		CASE(queues_of_two_threads_carry_more_than_they_have_room_for),
		CASE(file_that_somebody_shortens_gives_errors_and_the_new_size_when_asked),
		CASE(resize_moves_the_end_of_the_file),
		CASE(memory_that_the_kernel_cannot_reach_is_touched_once),
		CASE(errors_of_the_file_are_passed_on),
		CASE(flush_after_one_that_failed_fails_too),
		CASE(what_does_not_open_is_refused_with_the_fix),
		CASE(path_may_have_commas),
		CASE(threads_do_it_where_rings_are_forbidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
