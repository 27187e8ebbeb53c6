/* SPDX-License-Identifier: BSD-3-Clause */
/* What a disk has when its power has been cut: all that was flushed, and what was written since is gone. */
#include "disk/forget.h"
#include "disk/test_disk.h"
#include "disk/test_gate.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB	 (1u << 20)
#define SECTOR	 DISK_SECTOR_BYTES
#define PAGE	 4096u
#define ROOM_MAX 65536u

static uint8_t room[ROOM_MAX] __attribute__((aligned(4096)));

static void put(struct test_disk *t, uint8_t value, uint64_t offset, uint64_t bytes, uint8_t flags)
{
	struct iovec iov[] = {{room, 100}, {room + 100, bytes - 100}};

	memset(room, value, bytes);
	assert_int_equal(test_do(t, DISK_WRITE, flags, offset, bytes, iov, 2), 0);
}

static bool has(struct test_disk *t, uint8_t value, uint64_t offset, uint64_t bytes)
{
	struct iovec iov[] = {{room, bytes - 300}, {room + bytes - 300, 300}};

	memset(room, ~value, bytes);
	assert_int_equal(test_do(t, DISK_READ, 0, offset, bytes, iov, 2), 0);
	return test_all(room, bytes, value);
}

static int flush(struct test_disk *t)
{
	return test_do(t, DISK_FLUSH, 0, 0, 0, NULL, 0);
}

static struct disk_forget_info info(const struct test_disk *t)
{
	struct disk_forget_info info;

	disk_forget_info_get(t->disk, &info);
	return info;
}

static void what_was_flushed_stays_and_the_rest_is_gone(void **state)
{
	struct test_disk t = test_disk_open("mem:1M,forget=64K");

	put(&t, 1, 512, 3 * PAGE, 0);
	assert_true(has(&t, 1, 512, 3 * PAGE));
	assert_int_equal(flush(&t), 0);
	put(&t, 2, 1024, SECTOR, 0);
	put(&t, 3, PAGE, PAGE, 0);
	assert_true(has(&t, 1, 512, SECTOR));
	assert_true(has(&t, 2, 1024, SECTOR));
	assert_true(has(&t, 3, PAGE, PAGE));
	assert_int_equal(disk_forget(t.disk), SECTOR + PAGE);
	assert_true(has(&t, 1, 512, 3 * PAGE));
	assert_true(has(&t, 0, 0, 512));
	assert_int_equal(disk_forget(t.disk), 0);
	assert_int_equal(info(&t).forgotten_bytes, SECTOR + PAGE);
	assert_int_equal(info(&t).held_bytes, 0);
	test_disk_close(&t);
}

static void what_is_stable_at_once_stays(void **state)
{
	struct test_disk t = test_disk_open("mem:1M,forget=64K");

	put(&t, 1, 0, SECTOR, 0);
	put(&t, 2, 0, PAGE, DISK_FUA);
	put(&t, 3, PAGE, SECTOR, 0);
	assert_int_equal(disk_forget(t.disk), SECTOR);
	assert_true(has(&t, 2, 0, PAGE));
	assert_true(has(&t, 0, PAGE, SECTOR));
	put(&t, 4, 0, 65536, 0); /* all the room there is */
	put(&t, 5, 65536, SECTOR, DISK_FUA);
	disk_forget(t.disk);
	assert_true(has(&t, 2, 0, PAGE));
	assert_true(has(&t, 5, 65536, SECTOR));
	test_disk_close(&t);
}

static void zeroes_and_discards_are_not_undone_by_what_was_written_before(void **state)
{
	for (enum disk_op op = DISK_DISCARD; op <= DISK_ZERO; op++) {
		struct test_disk t = test_disk_open("mem:1M,forget=64K");

		put(&t, 1, 0, 4 * PAGE, 0);
		assert_int_equal(test_do(&t, op, 0, SECTOR, PAGE, NULL, 0), 0);
		assert_true(has(&t, 1, 0, SECTOR));
		assert_true(has(&t, 0, SECTOR, PAGE));
		assert_true(has(&t, 1, SECTOR + PAGE, SECTOR));
		assert_int_equal(test_do(&t, op, 0, 2 * PAGE, MIB - 2 * PAGE, NULL, 0), 0);
		assert_true(has(&t, 0, 2 * PAGE, 2 * PAGE));
		assert_int_equal(flush(&t), 0);
		assert_true(has(&t, 0, SECTOR, PAGE));
		assert_true(has(&t, 1, SECTOR + PAGE, SECTOR));
		assert_true(has(&t, 0, 2 * PAGE, 2 * PAGE));
		test_disk_close(&t);
	}
}

static void what_there_is_no_room_for_is_written_at_once(void **state)
{
	struct test_disk t = test_disk_open("mem:1M,forget=16K");

	put(&t, 1, 0, 4 * PAGE, 0);
	assert_int_equal(info(&t).max_bytes, 4 * PAGE);
	assert_int_equal(info(&t).held_bytes, 4 * PAGE);
	put(&t, 2, 2 * PAGE, 4 * PAGE, 0);
	assert_int_equal(info(&t).passed, 1);
	assert_true(has(&t, 1, 0, 2 * PAGE));
	assert_true(has(&t, 2, 2 * PAGE, 4 * PAGE));
	disk_forget(t.disk);
	assert_true(has(&t, 0, 0, 2 * PAGE));
	assert_true(has(&t, 2, 2 * PAGE, 4 * PAGE));
	test_disk_close(&t);
}

static void a_disk_without_it_says_so(void **state)
{
	struct test_disk t = test_disk_open("mem:1M");

	assert_int_equal(disk_forget(t.disk), -ENOTSUP);
	assert_int_equal(info(&t).max_bytes, 0);
	test_disk_close(&t);
	test_bounds("mem:1M,forget=64K");
	test_zeroes("mem:1M,forget=64K");
	test_read_only("mem:1M,forget=64K,read-only=on");
}

/* ---- what is under way at the disk below ---- */

static uint8_t page[3][PAGE];

static struct iovec page_of(unsigned index, uint8_t value)
{
	memset(page[index], value, PAGE);
	return (struct iovec){page[index], PAGE};
}

static void write_held(struct disk_queue *queue, uint8_t value, uint64_t offset)
{
	struct iovec iov = page_of(0, value);

	assert_true(is_done(queue, ask(queue, DISK_WRITE, 0, offset, PAGE, &iov), 0));
}

static void end_gated(struct test_disk *t, struct disk_queue *other)
{
	disk_queue_close(other);
	test_disk_close(t);
}

static void what_is_held_stays_until_zeroes_are_there(void **state)
{
	for (enum disk_op op = DISK_DISCARD; op <= DISK_ZERO; op++)
		for (int result = -EIO; result <= 0; result += EIO) {
			struct disk_queue *other;
			struct test_disk t = gated_open("mem:1M,forget=64K", &other);
			struct iovec iov = page_of(1, 0xee), later = page_of(2, 0xee);
			struct disk_request *zero, *read;

			write_held(t.queue, 1, 0);
			zero = ask(t.queue, op, 0, 0, PAGE, NULL);
			read = ask(other, DISK_READ, 0, 0, PAGE, &iov);
			gate_let(gate_below(other), 0);
			assert_true(is_done(other, read, 0));
			assert_true(test_all(page[1], PAGE, 1)); /* and not what lies below it, on the disk */
			read = ask(other, DISK_READ, 0, 0, PAGE, &later);
			gate_let(gate_below(other), 0);
			gate_let(gate_below(t.queue), result);
			assert_true(is_done(t.queue, zero, result));
			until_done(other, read, 0); /* it has overtaken what was dropped, and goes once more */
			assert_true(test_all(page[2], PAGE, result ? 1 : 0));
			end_gated(&t, other);
		}
}

static void a_flush_waits_for_zeroes_that_are_under_way(void **state)
{
	struct disk_queue *other;
	struct test_disk t = gated_open("mem:1M,forget=64K", &other);
	struct disk_request *zero, *flushed;
	struct iovec iov = page_of(1, 0xee);
	struct disk_request *read;

	write_held(t.queue, 1, 0);
	write_held(t.queue, 2, PAGE);
	zero = ask(t.queue, DISK_ZERO, 0, 0, PAGE, NULL);
	flushed = ask(other, DISK_FLUSH, 0, 0, 0, NULL);
	assert_null(gate_below(other)->held.first); /* else the page would sink over the zeroes */
	assert_false(disk_queue_arm(other, true));
	gate_let(gate_below(t.queue), 0);
	assert_true(is_done(t.queue, zero, 0));
	assert_true(disk_queue_arm(other, true));
	until_done(other, flushed, 0);
	disk_forget(t.disk);
	read = ask(other, DISK_READ, 0, 0, PAGE, &iov);
	gate_let(gate_below(other), 0);
	assert_true(is_done(other, read, 0));
	assert_true(test_all(page[1], PAGE, 0));
	end_gated(&t, other);
}

/* A queue that always has a flush or a stable write ready, and another one that has one. */
static void whoever_waits_has_a_turn(void **state)
{
	for (unsigned what = 0; what < 3; what++) {
		struct disk_queue *other;
		struct test_disk t = gated_open("mem:1M,forget=64K", &other);
		struct iovec iov = page_of(1, 1), busy = page_of(2, 2);
		struct disk_request *mine, *theirs[2];
		enum disk_op op = what == 0 ? DISK_WRITE : what == 1 ? DISK_ZERO : DISK_FLUSH;

		write_held(t.queue, 3, 4 * PAGE);
		theirs[0] = ask(other, DISK_WRITE, DISK_FUA, PAGE, PAGE, &busy);
		mine = ask(t.queue, op, op == DISK_WRITE ? DISK_FUA : 0, 0, op == DISK_FLUSH ? 0 : PAGE, op == DISK_WRITE ? &iov : NULL);
		theirs[1] = ask(other, DISK_WRITE, DISK_FUA, PAGE, PAGE, &busy);
		until_done(other, theirs[0], 0);
		assert_false(is_done(other, theirs[1], 0));
		assert_null(gate_below(other)->held.first); /* it does not go before who came first */
		assert_true(disk_queue_arm(t.queue, true));
		until_done(t.queue, mine, 0);
		until_done(other, theirs[1], 0);
		end_gated(&t, other);
	}
}

static void who_is_cancelled_leaves_the_line(void **state)
{
	struct disk_queue *other;
	struct test_disk t = gated_open("mem:1M,forget=64K", &other);
	struct iovec iov = page_of(1, 1), busy = page_of(2, 2);
	struct disk_request *first = ask(other, DISK_WRITE, DISK_FUA, PAGE, PAGE, &busy), *mine, *last;

	mine = ask(t.queue, DISK_WRITE, DISK_FUA, 0, PAGE, &iov);
	last = ask(other, DISK_ZERO, 0, PAGE, PAGE, NULL);
	disk_queue_cancel(t.queue);
	assert_true(is_done(t.queue, mine, -ECANCELED));
	until_done(other, first, 0);
	until_done(other, last, 0);
	end_gated(&t, other);
}

/* Each time that it comes back something has sunk. */
static void a_read_that_is_always_overtaken_comes_to_an_end(void **state)
{
	struct disk_queue *other;
	struct test_disk t = gated_open("mem:1M,forget=64K", &other);
	struct iovec iov = page_of(1, 0xee), busy = page_of(2, 2);
	struct disk_request *read = ask(t.queue, DISK_READ, 0, PAGE, PAGE, &iov), *theirs = NULL;
	unsigned rounds = 0;

	for (bool done = false; !done && rounds < 20; rounds++) {
		theirs = theirs ? theirs : ask(other, DISK_WRITE, DISK_FUA, PAGE, PAGE, &busy);
		if (gate_below(other)->held.first) {
			until_done(other, theirs, 0);
			theirs = NULL;
		}
		if (gate_below(t.queue)->held.first)
			gate_let(gate_below(t.queue), 0);
		done = is_done(t.queue, read, 0);
	}
	assert_in_range(rounds, 1, 19);
	assert_true(test_all(page[1], PAGE, 2));
	if (theirs)
		until_done(other, theirs, 0);
	end_gated(&t, other);
}

/* ---- files ---- */

static char path[] = "/var/tmp/vireo-forget-XXXXXX";
static char spec[100];

static int file_make(void **state)
{
	int fd;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB), 0);
	close(fd);
	snprintf(spec, sizeof(spec), "file:%s,forget=512K", path);
	return 0;
}

static int file_clear(void **state)
{
	unlink(path);
	return 0;
}

static void a_process_that_is_killed_loses_what_was_not_flushed(void **state)
{
	struct test_disk t;
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		t = test_disk_open(spec);
		put(&t, 1, 0, 2 * PAGE, 0);
		if (flush(&t))
			_exit(1);
		put(&t, 2, PAGE, 2 * PAGE, 0);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	t = test_disk_open(spec);
	assert_true(has(&t, 1, 0, 2 * PAGE));
	assert_true(has(&t, 0, 2 * PAGE, PAGE));
	test_disk_close(&t);
}

/* The disk does not take it: the flush says so, and nothing that was written is lost by that. */
static void a_flush_that_fails_has_lost_nothing(void **state)
{
	struct test_disk t = test_disk_open(spec);
	struct rlimit was, small = {8 * PAGE, RLIM_INFINITY};

	put(&t, 1, 6 * PAGE, 4 * PAGE, 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	small.rlim_max = was.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(flush(&t), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	put(&t, 2, 7 * PAGE, SECTOR, 0);
	assert_true(has(&t, 1, 6 * PAGE, PAGE));
	assert_true(has(&t, 2, 7 * PAGE, SECTOR));
	assert_true(has(&t, 1, 7 * PAGE + SECTOR, 2 * PAGE));
	assert_int_equal(flush(&t), 0);
	assert_int_equal(disk_forget(t.disk), 0);
	assert_true(has(&t, 1, 6 * PAGE, PAGE));
	assert_true(has(&t, 2, 7 * PAGE, SECTOR));
	assert_true(has(&t, 1, 7 * PAGE + SECTOR, 2 * PAGE));
	test_disk_close(&t);
}

static void a_flush_of_what_is_beyond_a_new_end_is_done(void **state)
{
	struct test_disk t = test_disk_open(spec);

	put(&t, 1, 0, PAGE, 0);
	put(&t, 2, MIB - PAGE, PAGE, 0);
	assert_int_equal(disk_resize(t.disk, MIB / 2), 0);
	assert_int_equal(flush(&t), 0);
	disk_forget(t.disk);
	assert_true(has(&t, 1, 0, PAGE));
	test_disk_close(&t);
}

/* ---- several queues ---- */

#define THREADS 4u
#define BLOCKS	16u /* of a thread; of them all 256 KiB */
#define ROUNDS	400u

struct writer {
	pthread_t thread;
	struct test_disk t;
	unsigned index;
	uint32_t now[BLOCKS], flushed[BLOCKS];
	uint32_t block[PAGE / sizeof(uint32_t)] __attribute__((aligned(4096)));
};

static struct iovec writer_iov(struct writer *w)
{
	return (struct iovec){w->block, PAGE};
}

static uint64_t writer_offset(const struct writer *w, unsigned block)
{
	return (uint64_t)(block * THREADS + w->index) * PAGE;
}

static uint32_t writer_read(struct writer *w, unsigned block)
{
	struct iovec iov = writer_iov(w);

	assert_int_equal(test_do(&w->t, DISK_READ, 0, writer_offset(w, block), PAGE, &iov, 1), 0);
	for (unsigned i = 1; i < PAGE / sizeof(uint32_t); i++)
		assert_int_equal(w->block[i], w->block[0]);
	return w->block[0];
}

/* Blocks of its own, between those of others, whose flushes take them to the disk while they are read. */
static void *writer_main(void *opaque)
{
	struct writer *w = opaque;
	unsigned random = w->index * 7919 + 1;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		unsigned block = (random = random * 1103515245 + 12345) >> 16 & (BLOCKS - 1), what = random >> 24 & 7;
		struct iovec iov = writer_iov(w);

		if (what == 0) {
			assert_int_equal(flush(&w->t), 0);
			memcpy(w->flushed, w->now, sizeof(w->now));
		} else if (what < 4) {
			assert_int_equal(writer_read(w, block), w->now[block]);
		} else {
			for (unsigned i = 0; i < PAGE / sizeof(uint32_t); i++)
				w->block[i] = round;
			assert_int_equal(test_do(&w->t, DISK_WRITE, what == 4 ? DISK_FUA : 0, writer_offset(w, block), PAGE, &iov, 1), 0);
			w->now[block] = round;
			if (what == 4)
				w->flushed[block] = round;
		}
	}
	return NULL;
}

static void queues_flush_and_read_beside_each_other(void **state)
{
	static struct writer writers[THREADS];
	struct test_disk t = test_disk_open(spec);

	memset(writers, 0, sizeof(writers));
	for (unsigned i = 0; i < THREADS; i++) {
		writers[i].index = i;
		writers[i].t.disk = t.disk;
		assert_int_equal(disk_queue_open(t.disk, 8, &writers[i].t.queue), 0);
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(writers[i].thread, NULL);
	disk_forget(t.disk);
	for (unsigned i = 0; i < THREADS; i++) {
		disk_queue_close(writers[i].t.queue);
		writers[i].t.queue = t.queue; /* of this thread */
		for (unsigned block = 0; block < BLOCKS; block++) {
			uint32_t is = writer_read(&writers[i], block);

			assert_in_range(is, writers[i].flushed[block], writers[i].now[block]);
		}
	}
	test_disk_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_flushed_stays_and_the_rest_is_gone),
		cmocka_unit_test(what_is_stable_at_once_stays),
		cmocka_unit_test(zeroes_and_discards_are_not_undone_by_what_was_written_before),
		cmocka_unit_test(what_there_is_no_room_for_is_written_at_once),
		cmocka_unit_test(a_disk_without_it_says_so),
		cmocka_unit_test(what_is_held_stays_until_zeroes_are_there),
		cmocka_unit_test(a_flush_waits_for_zeroes_that_are_under_way),
		cmocka_unit_test(whoever_waits_has_a_turn),
		cmocka_unit_test(who_is_cancelled_leaves_the_line),
		cmocka_unit_test(a_read_that_is_always_overtaken_comes_to_an_end),
		cmocka_unit_test_setup_teardown(a_process_that_is_killed_loses_what_was_not_flushed, file_make, file_clear),
		cmocka_unit_test_setup_teardown(a_flush_that_fails_has_lost_nothing, file_make, file_clear),
		cmocka_unit_test_setup_teardown(a_flush_of_what_is_beyond_a_new_end_is_done, file_make, file_clear),
		cmocka_unit_test_setup_teardown(queues_flush_and_read_beside_each_other, file_make, file_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
