/* SPDX-License-Identifier: BSD-3-Clause */

/* A file whose contents lie in memory, and which is mapped: what is there is copied without a system call, and whatever becomes of the file meanwhile, no data are lost. */

#include "disk/file.h"
#include "disk/kind.h"
#include "disk/test_file.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGE 4096u
#define PAGES 300u /* more than four words of hints, the last one not full */
#define FILE_BYTES (PAGES * PAGE)
#define BLOCK 512u

/* ---- how often the kernel is asked to move something ---- */

static unsigned moved; /* atomic */

ssize_t __real_pread(int fd, void *data, size_t bytes, off_t offset);
ssize_t __real_pwrite(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __real_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);

static void count_one(void)
{
	__atomic_fetch_add(&moved, 1, __ATOMIC_RELAXED);
}

ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset)
{
	count_one();
	return __real_pread(fd, data, bytes, offset);
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	count_one();
	return __real_pwrite(fd, data, bytes, offset);
}

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	count_one();
	return __real_preadv2(fd, iov, count, offset, flags);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	count_one();
	return __real_pwritev2(fd, iov, count, offset, flags);
}

ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset)
{
	return __wrap_pread(fd, data, bytes, offset);
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
	return __wrap_pwrite(fd, data, bytes, offset);
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return __wrap_preadv2(fd, iov, count, offset, flags);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return __wrap_pwritev2(fd, iov, count, offset, flags);
}

/* ---- how large holes are punched at a time ---- */

static uint64_t punched_most, punched; /* under no lock: one request is under way */

int __real_fallocate(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes);

int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		uint64_t most = __atomic_load_n(&punched_most, __ATOMIC_RELAXED);

		__atomic_store_n(&punched_most, most > (uint64_t)bytes ? most : (uint64_t)bytes, __ATOMIC_RELAXED);
		__atomic_fetch_add(&punched, (uint64_t)bytes, __ATOMIC_RELAXED);
	}
	return __real_fallocate(fd, mode, offset, bytes);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes)
{
	return __wrap_fallocate(fd, mode, offset, bytes);
}

/* So many since the last time. */
static unsigned moves(void)
{
	return __atomic_exchange_n(&moved, 0, __ATOMIC_RELAXED);
}

/* ---- the file ---- */

/* Of one mapping, which is watched before anybody touches it. */
static uintptr_t watched;
static uint64_t watched_bytes;
static bool *watched_lost;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	if (at - watched >= watched_bytes)
		_exit(99);
	__atomic_store_n(watched_lost, true, __ATOMIC_SEQ_CST);
	if (mmap((void *)(at & ~(uintptr_t)(PAGE - 1)), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(98);
}

/* By the test itself: cmocka has taken the signal when it begins. */
static void sigbus_take(void)
{
	const struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};

	assert_int_equal(sigaction(SIGBUS, &bus, NULL), 0);
}

static int watch(void *at, uint64_t bytes, bool *lost)
{
	watched = (uintptr_t)at;
	watched_bytes = bytes;
	watched_lost = lost;
	return 0;
}

static void unwatch(const void *at)
{
	assert_true((uintptr_t)at == watched);
	watched_bytes = 0;
}

static const struct disk_guard guard = {.begin = watch, .end = unwatch};

struct mapped {
	int fd;
	struct test_disk t;
};

static void mapped_open(struct mapped *m, bool rings)
{
	const struct disk_config config = {.guard = &guard};
	char why[DISK_WHY_BYTES] = "", spec[80];
	struct file_disk *file;

	snprintf(spec, sizeof(spec), "file:/proc/self/fd/%d", m->fd);
	if (disk_open(spec, &config, &m->t.disk, why))
		fail_msg("%s", why);
	file = container_of(m->t.disk, struct file_disk, disk);
	file->uring &= rings;
	if (!file->at_once) { /* on a machine with swap, too */
		file->at_once = true;
		file->map = file_map_new(file, &guard);
	}
	assert_non_null(file->map);
	assert_int_equal(disk_queue_open(m->t.disk, 8, &m->t.queue), 0);
	moves();
}

static int mapped_make(void **state)
{
	struct mapped *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->fd = memfd_create("disk_test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(m->fd, FILE_BYTES), 0);
	mapped_open(m, true);
	*state = m;
	return 0;
}

static int mapped_clear(void **state)
{
	struct mapped *m = *state;

	test_disk_close(&m->t);
	close(m->fd);
	free(m);
	return 0;
}

static int move_bytes(struct mapped *m, enum disk_op op, uint64_t offset, void *bytes, size_t count)
{
	struct iovec iov = {bytes, count};

	return test_do(&m->t, op, 0, offset, count, &iov, 1);
}

static uint64_t blocks_of(const struct mapped *m)
{
	struct stat st;

	assert_int_equal(fstat(m->fd, &st), 0);
	return (uint64_t)st.st_blocks;
}

/* ---- what is there ---- */

static void what_has_been_written_once_is_moved_without_a_system_call(void **state)
{
	struct mapped *m = *state;
	uint8_t out[3 * PAGE], in[3 * PAGE];
	struct iovec pieces[] = {{in, 1}, {in + 1, 0}, {in + 1, 5000}, {in + 5001, sizeof(in) - 5001}};

	test_fill(out, sizeof(out), 3);
	assert_int_equal(move_bytes(m, DISK_WRITE, 62 * PAGE, out, sizeof(out)), 0); /* over the end of a word */
	assert_int_equal(moves(), 1);
	for (uint8_t flags = 0; flags <= DISK_FUA; flags++) {
		struct iovec iov = {out, sizeof(out)};

		test_fill(out, sizeof(out), 50 + flags);
		assert_int_equal(test_do(&m->t, DISK_WRITE, flags, 62 * PAGE, sizeof(out), &iov, 1), 0);
		memset(in, 0, sizeof(in));
		assert_int_equal(test_do(&m->t, DISK_READ, 0, 62 * PAGE, sizeof(in), pieces, ARRAY_SIZE(pieces)), 0);
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(moves(), 0);
		assert_int_equal(__real_pread(m->fd, in, sizeof(in), 62 * PAGE), sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
}

static void what_others_have_written_before_is_found(void **state)
{
	struct mapped *m = *state;
	uint8_t out[2 * PAGE], in[2 * PAGE];

	test_fill(out, sizeof(out), 9);
	assert_int_equal(__real_pwrite(m->fd, out, sizeof(out), 100 * PAGE), sizeof(out));
	assert_int_equal(move_bytes(m, DISK_READ, 100 * PAGE, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(moves(), 0);
}

static void a_burst_of_reads_that_is_there_needs_no_ring(void **state)
{
	struct mapped *m = *state;
	uint8_t out[8 * PAGE], in[8 * PAGE] = {0};
	struct disk_request requests[8], *all[8], *done[8];
	struct iovec iov[8];

	test_fill(out, sizeof(out), 4);
	assert_int_equal(move_bytes(m, DISK_WRITE, 0, out, sizeof(out)), 0);
	for (unsigned i = 0; i < 8; i++) {
		iov[i] = (struct iovec){in + (size_t)i * PAGE, PAGE};
		requests[i] = (struct disk_request){.op = DISK_READ, .offset = i * (uint64_t)PAGE, .bytes = PAGE, .iov = &iov[i], .iov_count = 1};
		all[i] = &requests[i];
	}
	disk_queue_submit(m->t.queue, all, 8);
	assert_int_equal(disk_queue_reap(m->t.queue, done, 8), 8); /* they are done by now */
	assert_memory_equal(in, out, sizeof(in));
}

static void a_hole_that_is_read_takes_no_memory(void **state)
{
	struct mapped *m = *state;
	uint8_t *in = malloc(FILE_BYTES);

	assert_non_null(in);
	for (unsigned round = 0; round < 2; round++) {
		memset(in, 1, FILE_BYTES);
		for (unsigned i = 0; i < PAGES; i++)
			assert_int_equal(move_bytes(m, DISK_READ, i * (uint64_t)PAGE, in + (size_t)i * PAGE, PAGE), 0);
		assert_true(test_all(in, FILE_BYTES, 0));
	}
	assert_int_equal(blocks_of(m), 0);
	free(in);
}

static void a_hole_that_is_punched_gives_its_memory_back_and_takes_none_by_being_read(void **state)
{
	struct mapped *m = *state;
	uint8_t out[8 * PAGE], in[8 * PAGE];
	uint64_t before;

	for (unsigned zero = 0; zero < 2; zero++) {
		test_fill(out, sizeof(out), 1);
		assert_int_equal(move_bytes(m, DISK_WRITE, 60 * PAGE, out, sizeof(out)), 0);
		assert_int_equal(move_bytes(m, DISK_READ, 60 * PAGE, in, sizeof(in)), 0);
		before = blocks_of(m);
		if (zero)
			assert_int_equal(test_do(&m->t, DISK_ZERO, DISK_UNMAP, 61 * PAGE, 6 * PAGE, NULL, 0), 0);
		else
			assert_int_equal(test_do(&m->t, DISK_DISCARD, 0, 61 * PAGE, 6 * PAGE, NULL, 0), 0);
		assert_int_equal(blocks_of(m), before - 6 * PAGE / 512);
		assert_int_equal(move_bytes(m, DISK_READ, 60 * PAGE, in, sizeof(in)), 0);
		assert_memory_equal(in, out, PAGE);
		assert_true(test_all(in + PAGE, 6 * PAGE, 0));
		assert_memory_equal(in + 7 * PAGE, out + 7 * PAGE, PAGE);
		assert_int_equal(blocks_of(m), before - 6 * PAGE / 512);
	}
	moves();
	assert_int_equal(move_bytes(m, DISK_READ, 60 * PAGE, in, PAGE), 0); /* beside the hole it is as before */
	assert_int_equal(moves(), 0);
}

static void a_large_hole_is_punched_in_steps_that_others_can_wait_for(void **state)
{
	uint64_t bytes = UINT64_C(64) << 20, begin = PAGE + BLOCK, end = bytes - 3 * BLOCK;
	struct mapped *m = *state;
	uint8_t out[PAGE], in[PAGE];

	test_fill(out, sizeof(out), 1);
	assert_int_equal(disk_resize(m->t.disk, bytes), 0);
	for (uint64_t at = 0; at < bytes; at += PAGE)
		assert_int_equal(__real_pwrite(m->fd, out, sizeof(out), (off_t)at), sizeof(out));
	for (unsigned zero = 0; zero < 2; zero++) {
		punched = punched_most = 0;
		assert_int_equal(test_do(&m->t, zero ? DISK_ZERO : DISK_DISCARD, DISK_UNMAP * (uint8_t)zero, begin, end - begin, NULL, 0), 0);
		assert_int_equal(punched, end - begin);
		assert_in_range(punched_most, 1, 4 << 20);
	}
	assert_int_equal(blocks_of(m), 3 * PAGE / 512); /* the first two, and the last: no page is halved by a step */
	assert_int_equal(move_bytes(m, DISK_READ, bytes - PAGE, in, sizeof(in)), 0);
	assert_true(test_all(in, PAGE - 3 * BLOCK, 0));
	assert_memory_equal(in + PAGE - 3 * BLOCK, out + PAGE - 3 * BLOCK, 3 * BLOCK);
}

/* ---- all mixed ---- */

static uint32_t dice(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static void mixed(struct mapped *m, uint64_t seed)
{
	uint8_t *model = calloc(1, FILE_BYTES), *bytes = malloc(64 * BLOCK), *all = malloc(FILE_BYTES);

	assert_true(model && bytes && all);
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t count = 1 + dice(&seed) % 64, first = dice(&seed) % (FILE_BYTES / BLOCK - count + 1);
		size_t at = first * BLOCK, len = count * BLOCK, cut = dice(&seed) % (len + 1);
		struct iovec iov[] = {{bytes, cut}, {bytes + cut, len - cut}};
		unsigned what = dice(&seed) % 20;

		if (what < 9) {
			test_fill(bytes, len, (uint8_t)dice(&seed));
			memcpy(model + at, bytes, len);
			assert_int_equal(test_do(&m->t, DISK_WRITE, what & DISK_FUA, at, len, iov, 2), 0);
		} else if (what < 18) {
			assert_int_equal(test_do(&m->t, DISK_READ, 0, at, len, iov, 2), 0);
			assert_memory_equal(bytes, model + at, len);
		} else {
			memset(model + at, 0, len);
			assert_int_equal(test_do(&m->t, DISK_ZERO, what & 1 ? DISK_UNMAP : 0, at, len, NULL, 0), 0);
		}
	}
	assert_int_equal(__real_pread(m->fd, all, FILE_BYTES, 0), FILE_BYTES);
	assert_memory_equal(all, model, FILE_BYTES);
	free(all);
	free(bytes);
	free(model);
}

static void a_mixture_of_all_leaves_the_file_as_each_alone_would(void **state)
{
	struct mapped *m = *state;

	for (int rings = 1; rings >= 0; rings--) {
		test_disk_close(&m->t);
		assert_int_equal(ftruncate(m->fd, 0), 0);
		assert_int_equal(ftruncate(m->fd, FILE_BYTES), 0);
		mapped_open(m, rings);
		mixed(m, 7 + (uint64_t)rings);
		assert_true(moves() < 2000);
	}
}

/* ---- by several at once ---- */

struct side {
	struct mapped *m;
	struct disk_queue *queue;
	uint64_t seed;
	unsigned begin; /* of its own half of each page's blocks */
	uint8_t model[FILE_BYTES / 2];
};

static void side_do(const struct side *side, enum disk_op op, uint64_t block, uint8_t *bytes)
{
	struct iovec iov = {bytes, BLOCK};
	struct disk_request r = {.op = (uint8_t)op, .flags = op == DISK_ZERO ? DISK_UNMAP : 0, .offset = block * BLOCK, .bytes = BLOCK,
				 .iov = bytes ? &iov : NULL, .iov_count = bytes ? 1 : 0, .result = 1}, *one = &r;

	disk_queue_submit(side->queue, &one, 1);
	assert_ptr_equal(test_wait(side->queue), &r);
	assert_int_equal(r.result, 0);
}

/* Even blocks are one thread's, odd ones the other's: pages are both's. */
static void *side_run(void *opaque)
{
	struct side *side = opaque;

	for (unsigned i = 0; i < 3000; i++) {
		unsigned number = dice(&side->seed) % (FILE_BYTES / BLOCK / 2), what = dice(&side->seed) % 8;
		uint8_t bytes[BLOCK], *mine = side->model + (size_t)number * BLOCK;
		uint64_t block = 2 * (uint64_t)number + side->begin;

		if (what < 4) {
			test_fill(mine, BLOCK, (uint8_t)i);
			side_do(side, DISK_WRITE, block, mine);
		} else if (what < 7) {
			side_do(side, DISK_READ, block, bytes);
			assert_memory_equal(bytes, mine, BLOCK);
		} else {
			memset(mine, 0, BLOCK);
			side_do(side, DISK_ZERO, block, NULL);
		}
	}
	return NULL;
}

static void two_queues_in_the_same_pages_do_not_disturb_each_other(void **state)
{
	struct mapped *m = *state;
	struct side *sides = calloc(2, sizeof(*sides));
	pthread_t thread;

	assert_non_null(sides);
	for (unsigned i = 0; i < 2; i++)
		sides[i] = (struct side){.m = m, .seed = i + 1, .begin = i};
	sides[0].queue = m->t.queue;
	assert_int_equal(disk_queue_open(m->t.disk, 8, &sides[1].queue), 0);
	assert_int_equal(pthread_create(&thread, NULL, side_run, &sides[1]), 0);
	side_run(&sides[0]);
	pthread_join(thread, NULL);
	disk_queue_close(sides[1].queue);
	free(sides);
}

/* ---- a file that changes ---- */

static void a_file_that_grows_is_mapped_where_it_has_grown(void **state)
{
	struct mapped *m = *state;
	uint8_t out[PAGE], in[PAGE];

	test_fill(out, sizeof(out), 8);
	assert_int_equal(disk_resize(m->t.disk, UINT64_C(2) * FILE_BYTES), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(move_bytes(m, DISK_WRITE, FILE_BYTES + PAGE, out, sizeof(out)), 0);
	assert_int_equal(move_bytes(m, DISK_READ, FILE_BYTES + PAGE, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(moves(), 1);
	/* and beyond what has been mapped */
	assert_int_equal(disk_resize(m->t.disk, UINT64_C(9) * FILE_BYTES), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(move_bytes(m, DISK_WRITE, UINT64_C(8) * FILE_BYTES, out, sizeof(out)), 0);
	assert_int_equal(moves(), 2);
	assert_int_equal(__real_pread(m->fd, in, sizeof(in), (off_t)8 * FILE_BYTES), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
}

static void a_file_that_is_cut_by_another_is_an_error_and_no_signal(void **state)
{
	struct mapped *m = *state;
	uint8_t out[4 * PAGE], in[4 * PAGE];

	sigbus_take();
	test_fill(out, sizeof(out), 5);
	assert_int_equal(move_bytes(m, DISK_WRITE, 8 * PAGE, out, sizeof(out)), 0);
	assert_int_equal(ftruncate(m->fd, 10 * PAGE), 0);
	assert_int_equal(move_bytes(m, DISK_READ, 8 * PAGE, in, sizeof(in)), -EIO);
	assert_int_equal(move_bytes(m, DISK_READ, 8 * PAGE, in, 2 * PAGE), 0);
	assert_memory_equal(in, out, 2 * PAGE);
	assert_int_equal(ftruncate(m->fd, FILE_BYTES), 0);
	moves();
	assert_int_equal(move_bytes(m, DISK_WRITE, 8 * PAGE, out, sizeof(out)), 0); /* into the file, and not the page that stands for what was lost */
	assert_int_equal(moves(), 1);
	assert_int_equal(__real_pread(m->fd, in, sizeof(in), 8 * PAGE), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
}

static void a_write_into_a_file_that_is_cut_is_not_lost(void **state)
{
	struct mapped *m = *state;
	uint8_t out[4 * PAGE], in[4 * PAGE];

	sigbus_take();
	test_fill(out, sizeof(out), 5);
	assert_int_equal(move_bytes(m, DISK_WRITE, 8 * PAGE, out, sizeof(out)), 0);
	assert_int_equal(ftruncate(m->fd, 10 * PAGE), 0);
	test_fill(out, sizeof(out), 6);
	assert_int_equal(move_bytes(m, DISK_WRITE, 8 * PAGE, out, sizeof(out)), 0); /* a system call makes the file longer again */
	assert_int_equal(__real_pread(m->fd, in, sizeof(in), 8 * PAGE), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
}

static void a_hole_that_another_has_punched_is_written_to(void **state)
{
	struct mapped *m = *state;
	uint8_t out[2 * PAGE], in[2 * PAGE];

	test_fill(out, sizeof(out), 5);
	assert_int_equal(move_bytes(m, DISK_WRITE, 0, out, sizeof(out)), 0);
	assert_int_equal(fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, sizeof(out)), 0);
	assert_int_equal(move_bytes(m, DISK_READ, 0, in, PAGE), 0);
	assert_true(test_all(in, PAGE, 0));
	assert_int_equal(move_bytes(m, DISK_WRITE, 0, out, sizeof(out)), 0);
	assert_int_equal(__real_pread(m->fd, in, sizeof(in), 0), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
}

#define FULL_SKIPPED 77

/* In a process and a namespace of its own: a file system of 64 pages, which others fill. */
static int when_it_is_full(void)
{
	const struct disk_config config = {.guard = &guard};
	char why[DISK_WHY_BYTES] = "";
	uint8_t out[PAGE], in[PAGE];
	struct file_disk *file;
	struct mapped m = {0};
	int other;

	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return FULL_SKIPPED;
	if (syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || syscall(SYS_mount, "none", "/var/tmp", "tmpfs", 0, "size=256k"))
		return FULL_SKIPPED;
	m.fd = open("/var/tmp/disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(m.fd, 32 * PAGE), 0);
	if (disk_open("file:/var/tmp/disk", &config, &m.t.disk, why))
		fail_msg("%s", why);
	file = container_of(m.t.disk, struct file_disk, disk);
	if (!file->map)
		return FULL_SKIPPED; /* there is swap */
	assert_int_equal(disk_queue_open(m.t.disk, 8, &m.t.queue), 0);
	sigbus_take();
	test_fill(out, sizeof(out), 5);
	assert_int_equal(move_bytes(&m, DISK_WRITE, 0, out, PAGE), 0);
	assert_int_equal(move_bytes(&m, DISK_WRITE, PAGE, out, PAGE), 0);
	assert_int_equal(fallocate(m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0); /* a hint that is wrong */
	other = open("/var/tmp/other", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (off_t at = 0; __real_pwrite(other, out, sizeof(out), at) == sizeof(out); at += PAGE)
		;
	assert_int_equal(move_bytes(&m, DISK_WRITE, 0, out, PAGE), -ENOSPC);
	assert_int_equal(move_bytes(&m, DISK_READ, PAGE, in, PAGE), 0);
	assert_memory_equal(in, out, PAGE);
	assert_int_equal(ftruncate(other, 0), 0);
	assert_int_equal(move_bytes(&m, DISK_WRITE, 0, out, PAGE), 0);
	assert_int_equal(__real_pread(m.fd, in, sizeof(in), 0), sizeof(in));
	assert_memory_equal(in, out, PAGE);
	test_disk_close(&m.t);
	return 0;
}

static void a_file_system_without_room_says_so_and_goes_on_when_it_has_some(void **state)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child)
		_exit(when_it_is_full());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == FULL_SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- who is not mapped ---- */

static void without_a_guard_or_to_be_read_alone_nothing_is_mapped(void **state)
{
	struct mapped *m = *state;
	struct disk_config config = {.guard = &guard, .read_only = true};
	char why[DISK_WHY_BYTES] = "", spec[80];
	struct disk *disk;

	snprintf(spec, sizeof(spec), "file:/proc/self/fd/%d,lock=off", m->fd);
	for (unsigned i = 0; i < 2; i++, config = (struct disk_config){0}) {
		assert_int_equal(disk_open(spec, &config, &disk, why), 0);
		assert_null(container_of(disk, struct file_disk, disk)->map);
		disk_close(disk);
	}
}

static int too_many(void *at, uint64_t bytes, bool *lost)
{
	return -ENOSPC;
}

static void what_cannot_be_guarded_is_not_mapped(void **state)
{
	static const struct disk_guard full = {.begin = too_many, .end = unwatch};
	struct mapped *m = *state;
	struct file_disk *file = container_of(m->t.disk, struct file_disk, disk);

	assert_null(file_map_new(file, &full));
	assert_int_equal(fcntl(m->fd, F_GETFD), FD_CLOEXEC); /* and nothing else has changed */
}

#define MAPPED(name) cmocka_unit_test_setup_teardown(name, mapped_make, mapped_clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MAPPED(what_has_been_written_once_is_moved_without_a_system_call),
		MAPPED(what_others_have_written_before_is_found),
		MAPPED(a_burst_of_reads_that_is_there_needs_no_ring),
		MAPPED(a_hole_that_is_read_takes_no_memory),
		MAPPED(a_hole_that_is_punched_gives_its_memory_back_and_takes_none_by_being_read),
		MAPPED(a_large_hole_is_punched_in_steps_that_others_can_wait_for),
		MAPPED(a_mixture_of_all_leaves_the_file_as_each_alone_would),
		MAPPED(two_queues_in_the_same_pages_do_not_disturb_each_other),
		MAPPED(a_file_that_grows_is_mapped_where_it_has_grown),
		MAPPED(a_file_that_is_cut_by_another_is_an_error_and_no_signal),
		MAPPED(a_write_into_a_file_that_is_cut_is_not_lost),
		MAPPED(a_hole_that_another_has_punched_is_written_to),
		cmocka_unit_test(a_file_system_without_room_says_so_and_goes_on_when_it_has_some),
		MAPPED(without_a_guard_or_to_be_read_alone_nothing_is_mapped),
		MAPPED(what_cannot_be_guarded_is_not_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
