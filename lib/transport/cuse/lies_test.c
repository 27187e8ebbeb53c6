/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/opener_lab.h"
#include "mem/map.h"
#include <linux/capability.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

/* Wrong sizes, bad pointers, ioctls out of order, regions that lie, callers that die: an errno each, and
 * nothing else. */

static const uint32_t owners_only[] = {
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_ENDIAN,
	VHOST_GET_VRING_ENDIAN,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_SET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_NET_SET_BACKEND,
};

static const uint32_t of_one_ring[] = {
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_ENDIAN,
	VHOST_GET_VRING_ENDIAN,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_SET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_NET_SET_BACKEND,
};

/* ---- order ---- */

static void nothing_goes_without_an_owner(void **state)
{
	struct lab *lab = lab_new();
	uint64_t zeroes[16] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(owners_only); i++)
		assert_int_equal(ask(lab, owners_only[i], zeroes), -EPERM);
	assert_int_equal(lab->device_count, 0);
	lab_free(lab);
}

static void second_owner_is_refused(void **state)
{
	struct lab *lab = lab_new();

	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), -EBUSY);
	lab_free(lab);
}

static void another_process_is_refused(void **state)
{
	struct lab *lab = lab_new();
	uint64_t zeroes[16] = { 0 };
	pid_t child;

	ready(lab);
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(owners_only); i++)
		assert_int_equal(ask_as(lab, lab->opener, child, owners_only[i], zeroes), -EPERM);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_FEATURES, zeroes), -EPERM);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_OWNER, NULL), -EBUSY);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_GET_FEATURES, zeroes), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void running_ring_keeps_its_size_and_base(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_NUM, 0, SIZE), -EBUSY);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_BASE, 0, 0), -EBUSY);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_ENDIAN, 0, VHOST_VRING_LITTLE_ENDIAN), -EBUSY);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void back_end_before_the_ring_is_set_up_is_refused(void **state)
{
	struct lab *lab = lab_new();

	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	make_memory(lab);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), -EINVAL);
	assert_int_equal(share_memory(lab), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), -EINVAL);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	lab_free(lab);
}

/* ---- numbers ---- */

static void unknown_ioctls_are_none(void **state)
{
	static const uint32_t unknown[] = {
		0,
		0xffffffff,
		_IOWR(VHOST_VIRTIO, 0x7b, struct vhost_vring_state), /* VHOST_VDPA_GET_VRING_GROUP */
		VHOST_VDPA_GET_STATUS,
		_IO(VHOST_VIRTIO, 0x7d), /* VHOST_VDPA_SUSPEND */
		VHOST_SCSI_SET_ENDPOINT,
		VHOST_VSOCK_SET_RUNNING,
		_IOR(VHOST_VIRTIO, 0x8, uint64_t),
		_IOW(VHOST_VIRTIO, 0x00, uint32_t),
		FIONREAD,
	};
	struct lab *lab = lab_new();
	uint64_t zeroes[64] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		assert_int_equal(ask(lab, unknown[i], zeroes), -ENOTTY);
	lab_free(lab);
}

static void rings_that_are_not_there_are_refused(void **state)
{
	static const uint32_t indexes[] = { QUEUES, QUEUES + 1, 0x100, 0x10000, 0x80000000, UINT32_MAX };
	struct lab *lab = lab_new();

	ready(lab);
	for (size_t i = 0; i < ARRAY_SIZE(of_one_ring); i++)
		for (size_t k = 0; k < ARRAY_SIZE(indexes); k++) {
			uint32_t words[10] = { indexes[k] };

			assert_int_equal(ask(lab, of_one_ring[i], words), -ENOBUFS);
		}
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void features_that_were_not_offered_are_refused(void **state)
{
	static const uint64_t bad[] = { VIREO_FEATURE(VHOST_F_LOG_ALL), VIREO_FEATURE(25), VIREO_FEATURE(63),
					~UINT64_C(0) };
	struct lab *lab = lab_new();

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, bad[i] | F_VERSION_1), -EOPNOTSUPP);
	assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, VIREO_FEATURE(5)), -EINVAL); /* the type says no */
	assert_int_equal(ask_u64(lab, VHOST_SET_BACKEND_FEATURES, 1u << 5), -EOPNOTSUPP);
	lab_free(lab);
}

static void sizes_that_are_none_are_refused(void **state)
{
	static const uint32_t bad[] = { 0, 3, 7, 257, 512, 32768, 65536, UINT32_MAX };
	struct lab *lab = lab_new();

	owned(lab);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ask_state(lab, VHOST_SET_VRING_NUM, 0, bad[i]), -EINVAL);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_BASE, 0, 65536), -EINVAL);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_ENDIAN, 0, VHOST_VRING_BIG_ENDIAN), -EOPNOTSUPP);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_ENDIAN, 0, 2), -EINVAL);
	lab_free(lab);
}

static void addresses_that_lie_are_refused(void **state)
{
	static const struct {
		int64_t desc, avail, used; /* added to the right ones */
		int r;
	} bad[] = {
		{ 8, 0, 0, -EINVAL },
		{ 0, 1, 0, -EINVAL },
		{ 0, 0, 2, -EINVAL },
	};
	static const uint64_t outside[] = { 0, 0x1000, MEMORY_BYTES - 16, UINT64_C(1) << 63,
					    UINT64_MAX - 15 };
	struct lab *lab = lab_new();
	struct vhost_vring_addr addr;

	owned(lab);
	ring_set_up(lab, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		addr = ring_addr(lab, 0);
		addr.desc_user_addr += (uint64_t)bad[i].desc;
		addr.avail_user_addr += (uint64_t)bad[i].avail;
		addr.used_user_addr += (uint64_t)bad[i].used;
		assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), bad[i].r);
	}
	addr = ring_addr(lab, 0);
	addr.flags = 1u << VHOST_VRING_F_LOG;
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), -EOPNOTSUPP);
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		addr = ring_addr(lab, 0);
		addr.desc_user_addr =
			outside[i] == MEMORY_BYTES - 16 ? (uintptr_t)lab->memory + outside[i] : outside[i];
		assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
		assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), -EFAULT);
	}
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	ring_set_up(lab, 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	lab_free(lab);
}

/* ---- fds ---- */

static void fds_that_are_none_are_refused(void **state)
{
	static const uint32_t fd_ioctls[] = { VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
					      VHOST_SET_VRING_ERR };
	static const int bad[] = { -2, INT32_MIN, 1000000, INT32_MAX };
	struct lab *lab = lab_new();

	ready(lab);
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		for (size_t i = 0; i < ARRAY_SIZE(fd_ioctls); i++)
			assert_int_equal(ask_fd(lab, fd_ioctls[i], 0, bad[k]), -EBADF);
		assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, bad[k]), -EBADF);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fd_ioctls); i++) /* a file, no eventfd */
		assert_int_equal(ask_fd(lab, fd_ioctls[i], 0, lab->memfd), -EINVAL);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/*
 * A file of the caller's own may have a server that lets a close of it wait: nothing is fetched that is no
 * eventfd. That it is not, is seen by there being no room for another fd.
 */
static void fds_are_not_taken_to_see_what_they_are(void **state)
{
	struct lab *lab = lab_new();
	struct rlimit before, full;
	int ends[2];

	owned(lab);
	ring_set_up(lab, 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	full = before;
	full.rlim_cur = (rlim_t)dup(ends[0]);
	close((int)full.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
	assert_int_equal(dup(ends[0]), -1);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, 0, ends[1]), -EINVAL);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, 0, lab->call), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	close(ends[0]);
	close(ends[1]);
	lab_free(lab);
}

static void logging_is_refused_with_a_reason(void **state)
{
	struct lab *lab = lab_new();
	uint64_t base = 0;
	int fd = 0, none = -1;

	owned(lab);
	assert_int_equal(ask(lab, VHOST_SET_LOG_BASE, &base), -EOPNOTSUPP);
	assert_int_equal(ask(lab, VHOST_SET_LOG_FD, &fd), -EOPNOTSUPP);
	assert_true(logged(lab, "LOG_ALL"));
	assert_int_equal(ask(lab, VHOST_SET_LOG_FD, &none), 0);
	lab_free(lab);
}

/* ---- memory ---- */

static int table_refused(struct lab *lab, struct table *table)
{
	int before = count_fds(), r = ask(lab, VHOST_SET_MEM_TABLE, table);

	assert_int_equal(count_fds(), before);
	return r;
}

static void regions_that_lie_are_refused(void **state)
{
	static const struct {
		uint64_t gpa, size, offset;
		int r;
	} bad[] = {
		{ GPA, 0, 0, -EINVAL },
		{ UINT64_MAX - 0xfff, 0x2000, 0, -EINVAL },
		{ GPA, UINT64_MAX, 0, -EINVAL },
		{ GPA, MEMORY_BYTES / 2 + 0x1000, 0, -EFAULT }, /* into the hole */
		{ GPA, 0x1000, UINT64_C(1) << 62, -EFAULT },
		{ GPA + 1, 0x1000, 0, -EINVAL },
	};
	struct lab *lab = lab_new();

	owned(lab);
	munmap(lab->memory + MEMORY_BYTES / 2, 0x1000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct table table = one_region(lab);

		table.regions[0].guest_phys_addr = bad[i].gpa;
		table.regions[0].memory_size = bad[i].size;
		table.regions[0].userspace_addr += bad[i].offset;
		assert_int_equal(table_refused(lab, &table), bad[i].r);
	}
	lab_free(lab);
}

static void regions_that_overlap_are_refused(void **state)
{
	struct lab *lab = lab_new();
	struct table table;

	owned(lab);
	table = one_region(lab);
	table.count = 2;
	table.regions[1] = table.regions[0];
	assert_int_equal(table_refused(lab, &table), -EINVAL);
	table.regions[1].guest_phys_addr += 2 * MEMORY_BYTES; /* still the same uaddr */
	assert_int_equal(table_refused(lab, &table), -EINVAL);
	lab_free(lab);
}

static void memory_of_other_kinds_is_refused(void **state)
{
	static const struct {
		int prot, flags, r;
	} kinds[] = {
		{ PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -EOPNOTSUPP },
		{ PROT_READ | PROT_WRITE, MAP_PRIVATE, -EOPNOTSUPP },
		{ PROT_READ, MAP_SHARED, -EFAULT },
		{ PROT_NONE, MAP_SHARED, -EFAULT },
	};
	struct lab *lab = lab_new();

	owned(lab);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool anonymous = kinds[i].flags & MAP_ANONYMOUS;
		void *at = mmap(NULL, 0x10000, kinds[i].prot, kinds[i].flags, anonymous ? -1 : lab->memfd, 0);
		struct table table = one_region(lab);

		assert_ptr_not_equal(at, MAP_FAILED);
		table.regions[0].userspace_addr = (uintptr_t)at;
		table.regions[0].memory_size = 0x10000;
		assert_int_equal(table_refused(lab, &table), kinds[i].r);
		munmap(at, 0x10000);
	}
	assert_true(logged(lab, "use share=on"));
	lab_free(lab);
}

/* A file that was opened for reading only must not become writable through us. */
static void file_that_the_caller_may_only_read_is_refused(void **state)
{
	struct lab *lab = lab_new();
	struct table table;
	char path[64];
	int fd;
	void *at;

	owned(lab);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", lab->memfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	at = mmap(NULL, MEMORY_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	table = one_region(lab);
	table.regions[0].userspace_addr = (uintptr_t)at;
	assert_int_equal(table_refused(lab, &table), -EFAULT);
	munmap(at, MEMORY_BYTES);
	close(fd);
	lab_free(lab);
}

/* Whoever waits for a lease to be given up waits for 45 seconds. */
static void file_with_a_lease_is_refused_at_once(void **state)
{
	struct timespec before, after;
	struct lab *lab = lab_new();
	struct table table;
	char path[64];
	int fd;

	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	make_memory(lab);
	signal(SIGIO, SIG_IGN);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", lab->memfd);
	fd = open(path, O_RDWR | O_CLOEXEC); /* the memfd itself counts as not opened at all */
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	table = one_region(lab);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(table_refused(lab, &table), -EACCES);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 20);
	assert_true(logged(lab, "lease"));
	close(fd);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	lab_free(lab);
}

static void file_cut_short_is_refused(void **state)
{
	struct lab *lab = lab_new();
	struct table table;

	owned(lab);
	assert_int_equal(ftruncate(lab->memfd, MEMORY_BYTES / 2), 0);
	table = one_region(lab);
	assert_int_equal(table_refused(lab, &table), -EINVAL);
	lab_free(lab);
}

static void refused_table_leaves_the_old_one(void **state)
{
	struct lab *lab = lab_new();
	struct table table;

	ready(lab);
	table = one_region(lab);
	table.regions[0].memory_size = 0;
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), -EINVAL);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void table_of_too_many_regions_is_refused_unread(void **state)
{
	static const uint32_t counts[] = { 510, 0x10000, 0x8000000, UINT32_MAX };
	struct lab *lab = lab_new();

	owned(lab);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct table table = { .count = counts[i] };

		assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), -E2BIG);
		assert_int_equal(last_call(lab)->rounds, 2);
	}
	{
		struct table table = { .count = 1, .padding = 1 };

		assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), -EOPNOTSUPP);
	}
	lab_free(lab);
}

/* ---- memory that changes between two steps of an ioctl ---- */

static void count_up(struct call *call)
{
	struct table *table = call->arg;

	if (call->rounds == 2)
		table->count++;
}

static void count_down(struct call *call)
{
	struct table *table = call->arg;

	if (call->rounds == 2)
		table->count--;
}

static void count_huge(struct call *call)
{
	struct table *table = call->arg;

	if (call->rounds == 2)
		table->count = UINT32_MAX;
}

static void table_that_grows_while_it_is_read_is_refused(void **state)
{
	void (*const lies[])(struct call *) = { count_up, count_down, count_huge };
	static const int results[] = { -EINVAL, -EINVAL, -E2BIG };

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct lab *lab = lab_new();
		struct table table;
		struct call *call;

		owned(lab);
		table = one_region(lab);
		table.count = 2;
		call = call_new(lab, lab->opener, getpid(), VHOST_SET_MEM_TABLE, &table);
		call->between = lies[i];
		call_send(lab, call, 0, 0);
		assert_true(call->answered);
		assert_int_equal(call->r, results[i]);
		lab_free(lab);
	}
}

/* The kernel brings what we ask for; who else would speak to us may bring less. */
static void short_requests_are_asked_for_again(void **state)
{
	const struct ioctl_row *row = ioctl_row(VHOST_GET_VRING_BASE, false);
	struct request *request = calloc(1, sizeof(*request) + 64);
	size_t in_bytes, out_bytes;
	const char *why;

	request->in_bytes = 7;
	request->room_bytes = 8;
	assert_int_equal(ioctl_sizes(row, request, &in_bytes, &out_bytes, &why), 0);
	assert_int_equal(in_bytes, 8);
	assert_int_equal(out_bytes, 8);
	request->in_bytes = 8;
	request->room_bytes = 7;
	assert_int_equal(ioctl_sizes(row, request, &in_bytes, &out_bytes, &why), 0);
	request->room_bytes = 8;
	assert_int_equal(ioctl_sizes(row, request, &in_bytes, &out_bytes, &why), 1);
	free(request);
}

/* ---- broken devices ---- */

static void device_that_was_lied_to_takes_only_reset_owner(void **state)
{
	struct lab *lab = lab_new();
	uint64_t features;

	ready(lab);
	vireo_device_break(lab->devices[0].device, "a lie");
	pump(lab);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(ask(lab, VHOST_GET_FEATURES, &features), -EIO);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, 0, lab->kick), -EIO);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), -EBUSY);
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), 0);
	ready(lab);
	lab_free(lab);
}

static void lie_while_an_ioctl_waits_breaks_after_it(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->devices[0].type.late = true;
	assert_int_equal(ask_state(lab, VHOST_GET_VRING_BASE, 0, 0), PENDING);
	vireo_device_break(lab->devices[0].device, "a lie");
	pump(lab);
	type_quiesced_all(&lab->devices[0].type);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, -EIO);
	assert_int_equal(ask_state(lab, VHOST_GET_VRING_BASE, 0, 0), -EIO);
	lab_free(lab);
}

/* The lie was told in the session that it has ended. */
static void reset_owner_that_meets_a_lie_mends_it(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->devices[0].type.late = true;
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), PENDING);
	vireo_device_break(lab->devices[0].device, "a lie");
	pump(lab);
	lab->devices[0].type.late = false;
	type_quiesced_all(&lab->devices[0].type);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	ready(lab);
	lab_free(lab);
}

static void device_that_broke_before_it_had_an_owner_gets_one(void **state)
{
	struct lab *lab = lab_new();
	uint64_t features;

	assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1), 0);
	vireo_device_break(lab->devices[0].device, "a lie");
	pump(lab);
	assert_int_equal(ask(lab, VHOST_GET_FEATURES, &features), -EIO);
	ready(lab);
	lab_free(lab);
}

/* Nothing is taken, and nothing breaks: the caller may correct it. */
static void ring_that_cannot_start_is_an_error_of_its_back_end(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_addr addr;

	owned(lab);
	ring_set_up(lab, 0);
	assert_int_equal(
		ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1 | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)), 0);
	addr = ring_addr(lab, 0);
	addr.avail_user_addr += 2; /* enough for a split ring */
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), -EINVAL);
	assert_true(logged(lab, "driver area misaligned"));
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	ring_set_up(lab, 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* It goes on where it was. */
static void running_ring_is_not_moved_to_where_it_cannot_be(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_addr addr;

	ready(lab);
	addr = ring_addr(lab, 0);
	addr.used_user_addr = (uintptr_t)lab->memory + MEMORY_BYTES;
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), -EINVAL);
	assert_non_null(lab->devices[0].type.running[0]);
	addr = ring_addr(lab, 1);
	addr.index = 0;
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* ---- callers ---- */

static void caller_of_another_namespace_is_refused(void **state)
{
	struct lab *lab = lab_new();

	assert_int_equal(ask_as(lab, lab->opener, 0, VHOST_SET_OWNER, NULL), -ESRCH);
	assert_true(logged(lab, "pid namespace"));
	lab_free(lab);
}

/* ---- threads ---- */

struct thread_call {
	struct lab *lab;
	uint32_t command;
	void *arg;
	int r;
	pid_t thread;
};

static void *thread_ask(void *opaque)
{
	struct thread_call *t = opaque;

	t->thread = gettid();
	t->r = ask_as(t->lab, t->lab->opener, t->thread, t->command, t->arg);
	return NULL;
}

static int ask_from_a_thread(struct lab *lab, uint32_t command, void *arg)
{
	struct thread_call t = { .lab = lab, .command = command, .arg = arg };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, thread_ask, &t), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_not_equal(t.thread, getpid());
	return t.r;
}

/* A request names its thread, and means the process: any of its threads may own, and ask. */
static void every_thread_of_the_owner_is_the_owner(void **state)
{
	struct vhost_vring_state num = { 0, SIZE };
	struct lab *lab = lab_new();
	struct table table;

	assert_int_equal(ask_from_a_thread(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(lab->devices[0].process, getpid());
	make_memory(lab);
	table = one_region(lab);
	assert_int_equal(ask_from_a_thread(lab, VHOST_SET_MEM_TABLE, &table), 0);
	assert_int_equal(ask(lab, VHOST_SET_VRING_NUM, &num), 0);
	assert_int_equal(ask_from_a_thread(lab, VHOST_SET_VRING_NUM, &num), 0);
	lab_free(lab);
}

static void *thread_pause(void *opaque)
{
	for (;;)
		pause();
	return NULL;
}

/* Its other threads live, but all of /proc goes by the first one. */
static void process_without_its_first_thread_is_told_so(void **state)
{
	const struct vhost_memory_region region = { .memory_size = 0x1000, .userspace_addr = 0x1000 };
	struct caller *caller;
	const char *why = "";
	struct map *map;
	pid_t child = fork();
	char path[32], state_of[256] = "";
	int fd;

	if (!child) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, thread_pause, NULL))
			_exit(1);
		syscall(SYS_exit, 0);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)child);
	for (int i = 0; i < 20000 && !strstr(state_of, ") Z "); i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, state_of, sizeof(state_of) - 1) > 0);
		close(fd);
		usleep(1000);
	}
	assert_int_equal(caller_new(child, &caller, &why), 0);
	assert_int_equal(caller_map(caller, NULL, &region, 1, NULL, &map, &why), -ESRCH);
	assert_non_null(strstr(why, "first thread"));
	caller_free(caller);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* ---- permissions ---- */

static void capabilities_drop(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	syscall(SYS_capset, &header, none);
}

/* A daemon with no capability, and this process its caller: files are found among the caller's fds. */
static int map_without_capabilities(bool keep_fd, const char **why)
{
	int fd = memfd_create("caller", MFD_CLOEXEC);
	struct vhost_memory_region region = { .guest_phys_addr = GPA, .memory_size = 0x1000 };
	struct caller *caller;
	struct map *map;
	int r;

	if (ftruncate(fd, 0x1000))
		return -EIO;
	region.userspace_addr = (uintptr_t)mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!keep_fd)
		close(fd);
	capabilities_drop();
	r = caller_new(getpid(), &caller, why);
	if (r)
		return r;
	r = caller_map(caller, NULL, &region, 1, NULL, &map, why);
	if (!r)
		map_unref(map);
	caller_free(caller);
	return r;
}

static void memory_is_found_without_a_capability_if_there_is_an_fd_of_it(void **state)
{
	for (int keep_fd = 0; keep_fd < 2; keep_fd++) {
		pid_t child = fork();
		int status;

		if (!child) {
			const char *why = NULL;
			int r = map_without_capabilities(keep_fd, &why);
			bool named = why && strstr(why, "CAP_CHECKPOINT_RESTORE");

			_exit(keep_fd ? r : r != -EPERM || !named);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

/* Its number may be somebody else's already: whoever comes with it is not the owner. */
static void owner_that_has_died_owns_nothing(void **state)
{
	struct lab *lab = lab_new();
	struct table table;
	pid_t child;

	make_memory(lab);
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_OWNER, NULL), 0);
	kill(child, SIGKILL);
	table = one_region(lab);
	waitid(P_PID, (id_t)child, NULL, WEXITED | WNOWAIT); /* a zombie keeps its number */
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_MEM_TABLE, &table), -EPERM);
	waitpid(child, NULL, 0);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_MEM_TABLE, &table), -EPERM);
	release(lab, lab->opener);
	assert_true(lab->released);
	lab_free(lab);
}

/* Between the look at the number and its use: the pidfd knows. */
/* With each fd that it has more, the same call comes further: it says that it has too few, and nothing else. */
static void who_is_out_of_fds_says_so(void **state)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("guest", MFD_CLOEXEC), highest = dup(fd);
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct vhost_memory_region region = { .memory_size = bytes, .userspace_addr = (uintptr_t)at };
	struct rlimit before, few;
	unsigned refusals = 0;
	const char *why = "";
	int r = -EMFILE;

	assert_true(fd >= 0 && highest >= 0 && at != MAP_FAILED && !ftruncate(fd, (off_t)bytes));
	close(highest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (unsigned spare = 0; r && spare < 16; spare++) {
		struct caller *caller = NULL;
		struct map *map = NULL;

		few = (struct rlimit){ (rlim_t)highest + spare, before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		why = "";
		r = caller_new(getpid(), &caller, &why);
		if (!r)
			r = caller_map(caller, NULL, &region, 1, NULL, &map, &why);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		map_unref(map);
		caller_free(caller);
		if (!r)
			break;
		assert_int_equal(r, -EMFILE);
		assert_non_null(strstr(why, "out of file descriptors"));
		refusals++;
	}
	assert_int_equal(r, 0);
	assert_true(refusals >= 4);
	munmap(at, bytes);
	close(fd);
}

static void caller_that_dies_meanwhile_is_gone(void **state)
{
	const struct vhost_memory_region region = { .memory_size = 0x1000, .userspace_addr = 0x1000 };
	struct caller *caller;
	struct map *map;
	const char *why = NULL;
	pid_t child = fork();
	int fd;

	if (!child) {
		pause();
		_exit(0);
	}
	assert_int_equal(caller_new(child, &caller, &why), 0);
	assert_true(caller_has_thread(caller, child));
	assert_int_equal(caller_has_fd(caller, 1, &why), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_false(caller_alive(caller));
	assert_false(caller_has_thread(caller, child));
	assert_int_equal(caller_has_fd(caller, 1, &why), -ESRCH);
	assert_int_equal(caller_eventfd(caller, 1, &fd, &why), -ESRCH);
	assert_int_equal(caller_map(caller, NULL, &region, 1, NULL, &map, &why), -ESRCH);
	caller_free(caller);
	assert_int_equal(caller_new(child, &caller, &why), -ESRCH);
}

/* Without an IOMMU nothing is missing that could come later. */
static void buffer_outside_memory_breaks_the_device(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_addr addr;
	struct split_avail *avail;
	struct vireo_chain chain;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];

	ready(lab);
	addr = ring_addr(lab, 0);
	avail = (struct split_avail *)(uintptr_t)addr.avail_user_addr;
	*(struct split_desc *)(uintptr_t)addr.desc_user_addr = (struct split_desc){ .addr = 0x10, .len = 16 };
	avail->idx = 1;
	assert_int_equal(vireo_queue_pop(lab->devices[0].type.running[0], &chain, 1, iov, ARRAY_SIZE(iov)),
			 0);
	pump(lab);
	assert_null(lab->devices[0].type.running[0]);
	assert_true(logged(lab, "outside guest memory"));
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, 0, -1), -EIO);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_goes_without_an_owner),
		cmocka_unit_test(second_owner_is_refused),
		cmocka_unit_test(another_process_is_refused),
		cmocka_unit_test(running_ring_keeps_its_size_and_base),
		cmocka_unit_test(back_end_before_the_ring_is_set_up_is_refused),
		cmocka_unit_test(unknown_ioctls_are_none),
		cmocka_unit_test(rings_that_are_not_there_are_refused),
		cmocka_unit_test(features_that_were_not_offered_are_refused),
		cmocka_unit_test(sizes_that_are_none_are_refused),
		cmocka_unit_test(addresses_that_lie_are_refused),
		cmocka_unit_test(fds_that_are_none_are_refused),
		cmocka_unit_test(fds_are_not_taken_to_see_what_they_are),
		cmocka_unit_test(logging_is_refused_with_a_reason),
		cmocka_unit_test(regions_that_lie_are_refused),
		cmocka_unit_test(regions_that_overlap_are_refused),
		cmocka_unit_test(memory_of_other_kinds_is_refused),
		cmocka_unit_test(file_that_the_caller_may_only_read_is_refused),
		cmocka_unit_test(file_with_a_lease_is_refused_at_once),
		cmocka_unit_test(file_cut_short_is_refused),
		cmocka_unit_test(refused_table_leaves_the_old_one),
		cmocka_unit_test(table_of_too_many_regions_is_refused_unread),
		cmocka_unit_test(table_that_grows_while_it_is_read_is_refused),
		cmocka_unit_test(short_requests_are_asked_for_again),
		cmocka_unit_test(device_that_was_lied_to_takes_only_reset_owner),
		cmocka_unit_test(lie_while_an_ioctl_waits_breaks_after_it),
		cmocka_unit_test(reset_owner_that_meets_a_lie_mends_it),
		cmocka_unit_test(device_that_broke_before_it_had_an_owner_gets_one),
		cmocka_unit_test(ring_that_cannot_start_is_an_error_of_its_back_end),
		cmocka_unit_test(running_ring_is_not_moved_to_where_it_cannot_be),
		cmocka_unit_test(caller_of_another_namespace_is_refused),
		cmocka_unit_test(every_thread_of_the_owner_is_the_owner),
		cmocka_unit_test(process_without_its_first_thread_is_told_so),
		cmocka_unit_test(memory_is_found_without_a_capability_if_there_is_an_fd_of_it),
		cmocka_unit_test(owner_that_has_died_owns_nothing),
		cmocka_unit_test(who_is_out_of_fds_says_so),
		cmocka_unit_test(caller_that_dies_meanwhile_is_gone),
		cmocka_unit_test(buffer_outside_memory_breaks_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
