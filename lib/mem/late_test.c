/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/late.h"
#include "base/fd.h"
#include "base/util.h"
#include "mem/backing.h"
#include "mem/budget.h"
#include "mem/map.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES (64u << 10)

/* Where a process may have no userfaultfd at all, there is nothing to see here. */
static struct late *late_or_skip(void)
{
	struct late *late;
	int err = late_new(&late);

	if (err == -EPERM || err == -ENOSYS) {
		print_message("skipped: no userfaultfd here\n");
		skip();
	}
	assert_int_equal(err, 0);
	return late;
}

struct guest {
	struct late *late;
	int memfd, peer_fd;
	uint8_t *own; /* the peer's view */
	uint8_t *ours;
	struct map_backing *backing;
};

static void guest_map(struct guest *guest, const struct map_faults *faults)
{
	const char *why = "";

	assert_int_equal(backing_new(guest->memfd, 0, BYTES, BACKING_FILE, faults, &guest->backing, &guest->ours, &why), 0);
}

static struct guest guest_new(struct mem_account *account)
{
	struct guest guest = { .late = late_or_skip(), .memfd = memfd_create("late", MFD_CLOEXEC) };
	const struct map_faults faults = { .event_fd = -1, .late = guest.late, .account = account };

	assert_int_equal(ftruncate(guest.memfd, BYTES), 0);
	guest.own = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest.memfd, 0);
	assert_ptr_not_equal(guest.own, MAP_FAILED);
	guest.peer_fd = late_fd_dup(guest.late);
	assert_true(guest.peer_fd >= 0);
	guest_map(&guest, &faults);
	return guest;
}

static void guest_free(struct guest *guest)
{
	if (guest->backing)
		backing_unref(guest->backing);
	late_unref(guest->late);
	munmap(guest->own, BYTES);
	fd_close(&guest->memfd);
	fd_close(&guest->peer_fd);
}

static void *look(void *byte)
{
	return (void *)(uintptr_t)*(volatile uint8_t *)byte;
}

/* The address at which somebody sleeps. */
static uint8_t *fault_wait(const struct guest *guest)
{
	struct pollfd pollfd = { .fd = guest->peer_fd, .events = POLLIN };
	struct uffd_msg message;

	assert_int_equal(poll(&pollfd, 1, 60000), 1);
	assert_int_equal(read(guest->peer_fd, &message, sizeof(message)), sizeof(message));
	assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
	return (void *)(uintptr_t)message.arg.pagefault.address;
}

static void page_is_waited_for_until_the_peer_has_brought_it(void **state)
{
	struct guest guest = guest_new(NULL);
	struct uffdio_range range = { .start = (uintptr_t)guest.ours + 0x2000, .len = 0x1000 };
	pthread_t thread;
	void *seen;

	guest.own[0x1000] = 3; /* it is there */
	assert_int_equal(*(volatile uint8_t *)(guest.ours + 0x1000), 3);
	assert_int_equal(pthread_create(&thread, NULL, look, guest.ours + 0x2001), 0);
	assert_ptr_equal(fault_wait(&guest), guest.ours + 0x2000);
	guest.own[0x2001] = 7;
	assert_int_equal(ioctl(guest.peer_fd, UFFDIO_WAKE, &range), 0);
	pthread_join(thread, &seen);
	assert_int_equal((uintptr_t)seen, 7);
	guest_free(&guest);
}

static void the_end_wakes_whoever_waits_while_the_peer_holds_its_fd(void **state)
{
	struct guest guest = guest_new(NULL);
	struct late_range again = { .start = guest.ours, .bytes = BYTES };
	pthread_t threads[2];
	void *seen;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, look, guest.ours + 0x3000 * i), 0);
		fault_wait(&guest);
	}
	late_end(guest.late);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], &seen);
		assert_int_equal((uintptr_t)seen, 0);
	}
	late_end(guest.late); /* once more does nothing */
	assert_int_equal(late_begin(guest.late, &again), -ENODEV);
	assert_int_equal(*(volatile uint8_t *)(guest.ours + 0x8000), 0);
	guest_free(&guest);
}

static void a_mapping_that_goes_wakes_whoever_waits_in_it(void **state)
{
	struct guest guest = guest_new(NULL);
	struct late_range *range = calloc(1, sizeof(*range));
	uint8_t *ours = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest.memfd, 0);
	pthread_t thread;

	*range = (struct late_range){ .start = ours, .bytes = BYTES };
	assert_int_equal(late_begin(guest.late, range), 0);
	assert_int_equal(pthread_create(&thread, NULL, look, ours), 0);
	assert_ptr_equal(fault_wait(&guest), ours);
	late_leave(guest.late, range);
	late_leave(guest.late, range);
	pthread_join(thread, NULL);
	munmap(ours, BYTES);
	free(range); /* it is in no list any more */
	late_end(guest.late);
	guest_free(&guest);
}

#define FALLERS	    3u
#define FALL_PAGES  4096u /* one a round; then they are taken away, and it goes on */
#define FALL_MS	    1000 /* no further round begins after that */

/* Threads that touch a page at about the time when nobody waits for pages any more. */
struct fall {
	const uint8_t *ours;
	unsigned round, done; /* atomic. Rounds that have begun, UINT_MAX: there are no more; touches, of all rounds */
};

static void fall_delay(unsigned *random)
{
	*random = *random * 1103515245 + 12345;
	for (volatile unsigned i = *random >> 16 & 2047; i; i--)
		;
}

static void *falls(void *self)
{
	struct fall *fall = self;
	unsigned random = (unsigned)((uintptr_t)&random >> 12), round;

	for (unsigned mine = 0;; mine++) {
		while ((round = __atomic_load_n(&fall->round, __ATOMIC_ACQUIRE)) <= mine)
			sched_yield();
		if (round == UINT_MAX)
			return NULL;
		fall_delay(&random);
		look((void *)(uintptr_t)(fall->ours + 0x1000 * (size_t)(mine % FALL_PAGES)));
		__atomic_fetch_add(&fall->done, 1, __ATOMIC_RELEASE);
	}
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool all_have_touched(const struct fall *fall, unsigned rounds)
{
	uint64_t deadline = now_ms() + 30000;

	while (__atomic_load_n(&fall->done, __ATOMIC_ACQUIRE) < rounds * FALLERS && now_ms() < deadline)
		sched_yield();
	return __atomic_load_n(&fall->done, __ATOMIC_ACQUIRE) == rounds * FALLERS;
}

/* The peer holds its fd, and wakes nobody. */
static void nobody_falls_asleep_while_a_range_ends(void **state)
{
	struct late *late = late_or_skip();
	int peer = late_fd_dup(late), memfd = memfd_create("late", MFD_CLOEXEC);
	struct late_range range = { .bytes = 0x1000 * FALL_PAGES };
	struct uffdio_range all = { .len = range.bytes };
	struct fall fall = { .round = 0 };
	pthread_t threads[FALLERS];
	unsigned random = 1;
	bool woken = true;

	assert_int_equal(ftruncate(memfd, (off_t)range.bytes), 0);
	range.start = mmap(NULL, range.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	assert_ptr_not_equal(range.start, MAP_FAILED);
	fall.ours = range.start;
	all.start = (uintptr_t)range.start;
	for (unsigned i = 0; i < FALLERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, falls, &fall), 0);
	for (uint64_t end = now_ms() + FALL_MS; woken && now_ms() < end;) {
		if (fall.round % FALL_PAGES == 0)
			assert_int_equal(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)range.bytes), 0);
		assert_int_equal(late_begin(late, &range), 0);
		__atomic_fetch_add(&fall.round, 1, __ATOMIC_RELEASE);
		fall_delay(&random);
		late_leave(late, &range);
		woken = all_have_touched(&fall, fall.round);
	}
	ioctl(peer, UFFDIO_WAKE, &all);
	__atomic_store_n(&fall.round, UINT_MAX, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < FALLERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(woken);
	munmap(range.start, range.bytes);
	late_end(late);
	late_unref(late);
	fd_close(&memfd);
	fd_close(&peer);
}

/* What the budget watches has one userfaultfd already, and Linux allows no second. */
static void the_budget_watches_what_has_been_late(void **state)
{
	const struct vireo_memory_config config = { .size = sizeof(config), .made_bytes = 1u << 20 };
	struct vireo_memory *memory;
	struct mem_account *account;
	struct guest guest;

	assert_int_equal(vireo_memory_new(&config, &memory), 0);
	account = mem_account_open(memory, 0);
	assert_non_null(account);
	guest = guest_new(account);
	late_end(guest.late);
	if (!vireo_memory_watch_error(memory)) {
		struct uffdio_register area = { .range = { .start = (uintptr_t)guest.ours, .len = BYTES },
						.mode = UFFDIO_REGISTER_MODE_MISSING };

		assert_int_equal(ioctl(guest.peer_fd, UFFDIO_REGISTER, &area), -1); /* it is somebody's */
		assert_int_equal(errno, EBUSY);
	}
	guest_free(&guest);
	mem_account_close(account);
	vireo_memory_free(memory);
}

/* Skipped where there are no huge pages. */
static void huge_pages_come_late_too(void **state)
{
	const size_t huge = 2u << 20;
	struct late *late = late_or_skip();
	int memfd = memfd_create("late", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB), peer;
	const struct map_faults faults = { .event_fd = -1, .late = late };
	struct guest guest = { .late = late };
	struct uffdio_range range = { .len = huge };
	const char *why = "";
	pthread_t thread;
	uint8_t *own = MAP_FAILED;
	void *seen;

	if (memfd < 0 || ftruncate(memfd, (off_t)huge) ||
	    (own = mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0)) == MAP_FAILED) {
		print_message("skipped: no huge pages here\n");
		late_unref(late);
		fd_close(&memfd);
		skip();
	}
	guest.peer_fd = peer = late_fd_dup(late);
	assert_int_equal(backing_new(memfd, 0, huge, BACKING_FILE, &faults, &guest.backing, &guest.ours, &why), 0);
	assert_int_equal(pthread_create(&thread, NULL, look, guest.ours + 0x5003), 0);
	range.start = (uintptr_t)fault_wait(&guest) & ~(uintptr_t)(huge - 1);
	own[0x5003] = 9;
	assert_int_equal(ioctl(peer, UFFDIO_WAKE, &range), 0);
	pthread_join(thread, &seen);
	assert_int_equal((uintptr_t)seen, 9);
	backing_unref(guest.backing);
	late_unref(late);
	munmap(own, huge);
	fd_close(&memfd);
	fd_close(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_is_waited_for_until_the_peer_has_brought_it),
		cmocka_unit_test(the_end_wakes_whoever_waits_while_the_peer_holds_its_fd),
		cmocka_unit_test(a_mapping_that_goes_wakes_whoever_waits_in_it),
		cmocka_unit_test(nobody_falls_asleep_while_a_range_ends),
		cmocka_unit_test(the_budget_watches_what_has_been_late),
		cmocka_unit_test(huge_pages_come_late_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
