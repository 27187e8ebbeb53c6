/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/map.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define MIB (1u << 20)
#define UADDR UINT64_C(0x7f0000000000)

static int memory(uint64_t bytes)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* One region of a file of a MiB; why it is refused, or NULL. */
static const char *refusal(const struct map_spec *spec, int fd, int expected)
{
	struct map *map = NULL;
	const char *why = NULL;
	int own = fd < 0 ? memory(MIB) : fd;

	assert_int_equal(map_new(NULL, spec, &own, 1, NULL, &map, &why), expected);
	if (fd < 0)
		close(own);
	if (!expected)
		map_unref(map);
	else
		assert_null(map);
	return why;
}

#define assert_refused(word, ...) \
	assert_non_null(strstr(refusal(&(struct map_spec){ __VA_ARGS__ }, -1, -EINVAL), word))

static void region_of_no_size_is_refused(void **state)
{
	assert_refused("empty", .gpa = 0, .size_bytes = 0, .uaddr = UADDR);
}

static void region_that_wraps_round_is_refused(void **state)
{
	uint64_t top = 0 - (uint64_t)PAGE;

	assert_refused("guest address wraps", .gpa = top, .size_bytes = 2 * PAGE, .uaddr = UADDR);
	assert_refused("guest address wraps", .gpa = top, .size_bytes = PAGE, .uaddr = UADDR);
	assert_refused("user address wraps", .gpa = 0, .size_bytes = 2 * PAGE, .uaddr = top);
	assert_refused("wraps", .gpa = PAGE, .size_bytes = UINT64_MAX, .uaddr = 0);
	assert_null(
		refusal(&(struct map_spec){ .gpa = top - PAGE, .size_bytes = PAGE, .uaddr = UADDR }, -1, 0));
}

static void region_beyond_its_file_is_refused(void **state)
{
	uint64_t top = 0 - (uint64_t)PAGE;

	assert_refused("beyond the end", .size_bytes = MIB + 1, .uaddr = UADDR);
	assert_refused("beyond the end", .size_bytes = MIB, .uaddr = UADDR, .mmap_offset = PAGE);
	assert_refused("beyond the end", .size_bytes = PAGE, .uaddr = UADDR, .mmap_offset = MIB);
	assert_refused("beyond the end", .size_bytes = UINT64_C(1) << 62, .uaddr = UADDR);
	assert_refused("beyond the end", .size_bytes = 2 * PAGE, .uaddr = UADDR, .mmap_offset = top);
	assert_null(refusal(&(struct map_spec){ .size_bytes = MIB, .uaddr = UADDR }, -1, 0));
}

static void offset_that_breaks_the_alignment_of_rings_is_refused(void **state)
{
	assert_refused("misaligned", .size_bytes = PAGE, .uaddr = UADDR, .mmap_offset = 8);
	assert_refused("misaligned", .gpa = 1, .size_bytes = PAGE, .uaddr = UADDR);
	assert_refused("misaligned", .size_bytes = PAGE, .uaddr = UADDR + 4);
}

static void fd_that_is_not_memory_is_refused(void **state)
{
	const struct map_spec spec = { .size_bytes = PAGE, .uaddr = UADDR };
	int fds[] = {
		eventfd(0, EFD_CLOEXEC),
		open("/dev/null", O_RDWR | O_CLOEXEC),
		open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_non_null(strstr(refusal(&spec, fds[i], -EINVAL), "not a file of memory"));
		close(fds[i]);
	}
}

static void file_that_may_not_be_written_is_refused(void **state)
{
	const struct map_spec spec = { .size_bytes = PAGE, .uaddr = UADDR };
	int fd = memory(MIB), read_only;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_non_null(strstr(refusal(&spec, read_only, -EACCES), "cannot be mapped"));
	close(read_only);
	close(fd);
}

static void region_may_start_anywhere_in_a_page(void **state)
{
	struct map_spec spec = {
		.gpa = 0x10010, .size_bytes = PAGE, .uaddr = UADDR + 16, .mmap_offset = PAGE + 0x230
	};
	struct map_cache cache = { 0 };
	int fd = memory(MIB);
	const char *why;
	struct map *map;
	uint64_t usable;

	assert_int_equal(pwrite(fd, "guest", 6, PAGE + 0x230), 6);
	assert_int_equal(map_new(NULL, &spec, &fd, 1, NULL, &map, &why), 0);
	close(fd); /* borrowed: no longer needed */
	assert_string_equal(map_gpa(map, &cache, 0x10010, &usable), "guest");
	assert_int_equal(usable, PAGE);
	assert_null(map_gpa(map, &cache, 0x1000f, &usable));
	assert_null(map_gpa(map, &cache, 0x10010 + PAGE, &usable));
	assert_non_null(map_gpa(map, &cache, 0x10010 + PAGE - 1, &usable));
	assert_int_equal(usable, 1);
	map_unref(map);
}

static void region_in_huge_pages_may_start_inside_one(void **state)
{
	const uint64_t huge = 2 * MIB;
	struct map_spec spec = { .gpa = 0xc0000, .size_bytes = huge, .uaddr = UADDR, .mmap_offset = 0xc0000 };
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	struct map_cache cache = { 0 };
	const char *why = NULL;
	struct map *map;
	uint64_t usable;
	char *host;
	int err;

	if (fd < 0 || ftruncate(fd, (off_t)(2 * huge)) < 0)
		skip();
	err = map_new(NULL, &spec, &fd, 1, NULL, &map, &why);
	close(fd);
	assert_int_equal(err, 0); /* NORESERVE: mapping takes no huge page yet */
	host = map_gpa(map, &cache, 0xc0000, &usable);
	assert_int_equal((uintptr_t)host % huge, 0xc0000);
	assert_int_equal(usable, huge);
	map_unref(map);
}

static void regions_that_overlap_are_refused(void **state)
{
	struct map_spec specs[2] = {
		{ .gpa = 16 * PAGE, .size_bytes = 2 * PAGE, .uaddr = UADDR },
		{ .gpa = 64 * PAGE, .size_bytes = 2 * PAGE, .uaddr = UADDR + MIB, .mmap_offset = 8 * PAGE },
	};
	int fd = memory(MIB), fds[] = { fd, fd };
	static const uint64_t shifts[] = { 0, PAGE, 0 - (uint64_t)PAGE, 2 * PAGE - 16,
					   16 - 2 * (uint64_t)PAGE };
	struct map *map = NULL;
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		for (int user = 0; user < 2; user++) {
			struct map_spec lie[2] = { specs[0], specs[1] };

			if (user)
				lie[1].uaddr = lie[0].uaddr + shifts[i];
			else
				lie[1].gpa = lie[0].gpa + shifts[i];
			assert_int_equal(map_new(NULL, lie, fds, 2, NULL, &map, &why), -EINVAL);
			assert_non_null(strstr(why, user ? "overlap in user" : "overlap in guest"));
			assert_null(map);
		}
	}
	/* Neighbours do not overlap, and the same file memory may be seen twice. */
	specs[1].gpa = specs[0].gpa - 2 * PAGE;
	specs[1].uaddr = specs[0].uaddr + 2 * PAGE;
	specs[1].mmap_offset = 0;
	assert_int_equal(map_new(NULL, specs, fds, 2, NULL, &map, &why), 0);
	map_unref(map);
	close(fd);
}

static struct map_spec nth_spec(unsigned i)
{
	return (struct map_spec){
		.gpa = (UINT64_C(1) << 32) + UINT64_C(2) * PAGE * i,
		.size_bytes = PAGE,
		.uaddr = UADDR + UINT64_C(2) * PAGE * i,
		.mmap_offset = (uint64_t)PAGE * i,
	};
}

static void every_slot_is_found_in_any_order_of_arrival(void **state)
{
	struct map_spec specs[MAP_REGIONS_MAX + 1];
	int fd = memory((uint64_t)PAGE * (MAP_REGIONS_MAX + 1)), fds[MAP_REGIONS_MAX + 1];
	struct map_cache cache = { .last = 77777 }; /* stale: from a larger map */
	struct map *map;
	const char *why;
	uint64_t usable;

	for (unsigned i = 0; i <= MAP_REGIONS_MAX; i++) {
		uint32_t mark = i;

		specs[i] = nth_spec(i < MAP_REGIONS_MAX ? i * 7 % MAP_REGIONS_MAX : i);
		fds[i] = fd;
		assert_int_equal(pwrite(fd, &mark, sizeof(mark), (off_t)PAGE * i), sizeof(mark));
	}
	assert_int_equal(map_new(NULL, specs, fds, MAP_REGIONS_MAX + 1, NULL, &map, &why), -E2BIG);
	assert_int_equal(map_new(NULL, specs, fds, MAP_REGIONS_MAX, NULL, &map, &why), 0);
	assert_int_equal(map->count, MAP_REGIONS_MAX);
	for (unsigned i = 0; i < MAP_REGIONS_MAX; i++) {
		struct map_spec spec = nth_spec(i);
		const uint32_t *mark = map_gpa(map, &cache, spec.gpa, &usable);

		assert_int_equal(*mark, i);
		assert_ptr_equal(map_gpa(map, &cache, spec.gpa + PAGE - 1, &usable),
				 (const char *)mark + PAGE - 1);
		assert_null(map_gpa(map, &cache, spec.gpa + PAGE, &usable));
		assert_null(map_gpa(map, &cache, spec.gpa - 1, &usable));
		assert_ptr_equal(map_uaddr(map, spec.uaddr, PAGE), mark);
		assert_null(map_uaddr(map, spec.uaddr, PAGE + 1));
		assert_null(map_uaddr(map, spec.uaddr + 1, PAGE));
		assert_null(map_uaddr(map, spec.uaddr, UINT64_MAX));
		assert_null(map_uaddr(map, spec.uaddr + PAGE, 1));
	}
	assert_int_equal(map_with(map, &specs[MAP_REGIONS_MAX], fd, NULL, &map, &why), -E2BIG);
	map_unref(map);
	close(fd);
}

static void region_is_added_and_removed_by_making_a_new_map(void **state)
{
	struct map_spec a = nth_spec(4), b = nth_spec(2), wrong;
	struct map *one, *two, *three, *untouched = NULL;
	struct map_cache cache = { 0 };
	int fd = memory(MIB);
	const char *why;
	uint64_t usable;
	void *seen;

	assert_int_equal(map_with(NULL, &a, fd, NULL, &one, &why), 0);
	seen = map_gpa(one, &cache, a.gpa, &usable);
	assert_int_equal(map_with(one, &b, fd, NULL, &two, &why), 0);
	close(fd);
	assert_int_equal(one->count, 1); /* immutable */
	assert_int_equal(two->count, 2);
	assert_ptr_equal(map_gpa(two, &cache, a.gpa, &usable), seen); /* the same mapping */
	assert_int_equal(map_with(two, &b, fd, NULL, &untouched, &why), -EINVAL);

	for (int i = 0; i < 3; i++) {
		wrong = a;
		*(i == 0 ? &wrong.gpa : i == 1 ? &wrong.uaddr : &wrong.size_bytes) += 16;
		assert_int_equal(map_without(two, &wrong, &untouched), -ENOENT);
	}
	assert_int_equal(map_without(NULL, &a, &untouched), -ENOENT);
	assert_null(untouched);

	wrong = b;
	wrong.mmap_offset += PAGE; /* the offset is ignored */
	assert_int_equal(map_without(two, &wrong, &three), 0);
	assert_int_equal(three->count, 1);
	assert_null(map_gpa(three, &cache, b.gpa, &usable));
	map_unref(one);
	map_unref(two);
	memset(map_gpa(three, &cache, a.gpa, &usable), 1, PAGE); /* still mapped */
	assert_int_equal(map_without(three, &a, &two), 0);
	map_unref(three);
	assert_int_equal(two->count, 0);
	assert_null(map_gpa(two, &cache, a.gpa, &usable));
	map_unref(two);
	map_unref(NULL);
}

/* QEMU before 8.0 adds and removes each region once per queue pair. */
static void the_same_region_stays_until_it_is_removed_as_often_as_it_was_added(void **state)
{
	struct map_spec a = nth_spec(4), moved = a;
	struct map *one, *two, *back, *none, *untouched = NULL;
	int fd = memory(MIB), other = memory(MIB);
	struct map_cache cache = { 0 };
	const char *why;
	uint64_t usable;

	assert_int_equal(map_with(NULL, &a, fd, NULL, &one, &why), 0);
	moved.mmap_offset += PAGE;
	assert_int_equal(map_with(one, &moved, fd, NULL, &untouched, &why), -EINVAL); /* elsewhere in the file */
	assert_int_equal(map_with(one, &a, other, NULL, &untouched, &why), -EINVAL); /* in another file */
	assert_null(untouched);
	assert_int_equal(map_with(one, &a, fd, NULL, &two, &why), 0);
	assert_int_equal(two->count, 1);
	assert_int_equal(map_without(two, &a, &back), 0);
	assert_ptr_equal(map_gpa(back, &cache, a.gpa, &usable), map_gpa(one, &cache, a.gpa, &usable));
	assert_int_equal(map_without(back, &a, &none), 0);
	assert_int_equal(none->count, 0);
	map_unref(one);
	map_unref(two);
	map_unref(back);
	map_unref(none);
	close(fd);
	close(other);
}

static bool is_mapped(const void *page)
{
	unsigned char vec;

	return mincore((void *)(uintptr_t)page, PAGE, &vec) == 0;
}

static void last_reference_unmaps(void **state)
{
	struct map_spec spec = nth_spec(0);
	struct map_cache cache = { 0 };
	int fd = memory(MIB);
	const char *why;
	struct map *map;
	uint64_t usable;
	void *host;

	assert_int_equal(map_new(NULL, &spec, &fd, 1, NULL, &map, &why), 0);
	close(fd);
	host = map_gpa(map, &cache, spec.gpa, &usable);
	assert_ptr_equal(map_ref(map), map);
	map_unref(map);
	assert_true(is_mapped(host));
	map_unref(map);
	assert_false(is_mapped(host));
}

/* Two maps side by side in guest memory, with or without a hole. */
static struct map *two_regions(uint64_t hole)
{
	struct map_spec specs[2] = {
		{ .gpa = 16 * PAGE, .size_bytes = PAGE, .uaddr = UADDR },
		{ .gpa = 17 * PAGE + hole,
		  .size_bytes = PAGE,
		  .uaddr = UADDR + MIB,
		  .mmap_offset = 32 * PAGE },
	};
	int fd = memory(MIB), fds[] = { fd, fd };
	struct map *map;
	const char *why;

	assert_int_equal(map_new(NULL, specs, fds, 2, NULL, &map, &why), 0);
	close(fd);
	return map;
}

static void range_across_regions_gives_several_pieces(void **state)
{
	struct map *map = two_regions(0);
	struct map_cache cache = { 0 };
	uint8_t *first = map->regions[0].host, *second = map->regions[1].host;
	bool merged = second == first + PAGE;
	struct iovec iov[4];

	assert_int_equal(map_pieces(map, &cache, 16 * PAGE + 16, 100, false, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, first + 16);
	assert_int_equal(iov[0].iov_len, 100);
	if (!merged) {
		assert_int_equal(map_pieces(map, &cache, 17 * PAGE - 10, 30, false, iov, 4), 2);
		assert_ptr_equal(iov[0].iov_base, first + PAGE - 10);
		assert_int_equal(iov[0].iov_len, 10);
		assert_ptr_equal(iov[1].iov_base, second);
		assert_int_equal(iov[1].iov_len, 20);
		assert_int_equal(map_pieces(map, &cache, 17 * PAGE - 10, 30, false, iov, 1), -ENOBUFS);
	}
	assert_int_equal(map_pieces(map, &cache, 17 * PAGE - 10, 10, false, iov, 1), 1);
	assert_int_equal(map_pieces(map, &cache, 17 * PAGE, 10, false, iov, 0), -ENOBUFS);
	assert_int_equal(map_pieces(map, &cache, 17 * PAGE, 0, false, iov, 0), 0);
	map_unref(map);
}

static void pieces_that_lie_side_by_side_here_too_are_merged(void **state)
{
	struct map *map = two_regions(0);
	struct map_cache cache = { 0 };
	uint8_t *hosts[2] = { map->regions[0].host, map->regions[1].host };
	static uint8_t arena[2 * PAGE];
	struct iovec iov[2];

	map->regions[0].host = arena;
	map->regions[1].host = arena + PAGE;
	assert_int_equal(map_pieces(map, &cache, 17 * PAGE - 10, 30, false, iov, 1), 1);
	assert_ptr_equal(iov[0].iov_base, arena + PAGE - 10);
	assert_int_equal(iov[0].iov_len, 30);
	assert_int_equal(map_pieces(map, &cache, 16 * PAGE, 2 * PAGE, false, iov, 2), 1);
	assert_int_equal(iov[0].iov_len, 2 * PAGE);
	map->regions[0].host = hosts[0];
	map->regions[1].host = hosts[1];
	map_unref(map);
}

static void range_that_leaves_guest_memory_is_refused(void **state)
{
	struct map *map = two_regions(PAGE), *empty;
	struct map_cache cache = { 0 };
	struct iovec iov[4];
	const char *why;

	assert_int_equal(map_pieces(map, &cache, 17 * PAGE - 10, 11, false, iov, 4), -EFAULT);
	/* Over the hole, into the next region. */
	assert_int_equal(map_pieces(map, &cache, 17 * PAGE - 10, 3 * PAGE, false, iov, 4), -EFAULT);
	assert_int_equal(map_pieces(map, &cache, 16 * PAGE - 1, 2, false, iov, 4), -EFAULT);
	assert_int_equal(map_pieces(map, &cache, 18 * PAGE, UINT32_MAX, false, iov, 4), -EFAULT);
	assert_int_equal(map_pieces(map, &cache, UINT64_MAX, 2, false, iov, 4), -EFAULT);
	map_unref(map);
	assert_int_equal(map_new(NULL, NULL, NULL, 0, NULL, &empty, &why), 0);
	assert_int_equal(map_pieces(empty, &cache, 0, 1, false, iov, 4), -EFAULT);
	assert_null(map_uaddr(empty, 0, 1));
	map_unref(empty);
}

static unsigned open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void refused_table_leaves_nothing_behind(void **state)
{
	struct map_spec specs[3] = { nth_spec(0), nth_spec(1), nth_spec(1) };
	int fd = memory(MIB), fds[] = { fd, fd, fd };
	unsigned before = open_fds();
	struct map *map = NULL;
	const char *why;

	/* 70000 leaked mappings would be more than the kernel gives a process. */
	for (int i = 0; i < 35000; i++)
		assert_int_equal(map_new(NULL, specs, fds, 3, NULL, &map, &why), -EINVAL);
	assert_null(map);
	assert_int_equal(open_fds(), before);
	close(fd);
}

/* As far as that goes without a kernel that has such memory: an eventfd's inode is of the same kind, and cannot be mapped. */
static void memory_without_a_file_is_taken_where_it_is_vouched_for(void **state)
{
	const struct map_spec spec = { .gpa = 0, .size_bytes = PAGE, .uaddr = 0 };
	const bool read_only = false;
	int fd = eventfd(0, EFD_CLOEXEC);
	struct map *map = NULL;
	const char *why = NULL;

	assert_string_equal(refusal(&spec, fd, -EINVAL), "a region's fd is not a file of memory");
	assert_int_equal(map_new_vouched(NULL, &spec, &fd, &read_only, 1, NULL, &map, &why), -ENODEV);
	assert_string_equal(why, "a region cannot be mapped");
	close(fd);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(map_new_vouched(NULL, &spec, &fd, &read_only, 1, NULL, &map, &why), -EINVAL);
	close(fd);
	fd = memory(PAGE / 2); /* a file has a size all the same */
	assert_int_equal(map_new_vouched(NULL, &spec, &fd, &read_only, 1, NULL, &map, &why), -EINVAL);
	close(fd);
	assert_null(map);
}

static void memory_that_is_read_only_is_read_and_not_written(void **state)
{
	const struct map_spec spec = { .gpa = 0, .size_bytes = PAGE, .uaddr = 0 };
	const bool read_only = true;
	int fd = memory(PAGE);
	struct map *map = NULL;
	const char *why = NULL;
	char byte = 'a';

	assert_int_equal(map_new_vouched(NULL, &spec, &fd, &read_only, 1, NULL, &map, &why), 0);
	assert_int_equal(pwrite(fd, &byte, 1, 5), 1);
	assert_int_equal(map->regions[0].host[5], 'a');
	map->regions[0].host[5] = 'b';
	assert_int_equal(pread(fd, &byte, 1, 5), 1);
	assert_int_equal(byte, 'a');
	map_unref(map);
	close(fd);
}

static void region_that_is_as_it_was_keeps_its_mmap(void **state)
{
	struct map_spec specs[] = { { .gpa = 0, .size_bytes = PAGE, .uaddr = 0 },
				    { .gpa = MIB, .size_bytes = PAGE, .uaddr = MIB, .mmap_offset = PAGE },
				    { .gpa = 2 * MIB, .size_bytes = PAGE, .uaddr = 2 * MIB, .mmap_offset = 2 * PAGE },
				    { .gpa = 3 * MIB, .size_bytes = PAGE, .uaddr = 3 * MIB, .mmap_offset = 3 * PAGE } };
	bool read_only[] = { false, false, false, true };
	int fd = memory(MIB), other = memory(MIB), fds[] = { fd, fd, fd, fd };
	struct map *old = NULL, *map = NULL;
	const char *why = NULL;

	assert_int_equal(map_new_vouched(NULL, specs, fds, read_only, 4, NULL, &old, &why), 0);
	fds[1] = other;
	specs[2].mmap_offset = 5 * PAGE;
	read_only[3] = false;
	assert_int_equal(map_new_vouched(old, specs, fds, read_only, 4, NULL, &map, &why), 0);
	assert_ptr_equal(map->regions[0].host, old->regions[0].host);
	for (unsigned i = 1; i < 4; i++)
		assert_ptr_not_equal(map->regions[i].host, old->regions[i].host);
	map_unref(old);
	for (unsigned i = 0; i < 4; i++)
		map->regions[i].host[0] = (uint8_t)i; /* all there, whoever has made them */
	map_unref(map);
	close(fd);
	close(other);
}

/* To the byte, and not to the page that is mapped. */
static void region_whose_file_has_been_cut_short_is_not_as_it_was(void **state)
{
	const struct map_spec spec = { .gpa = 0, .size_bytes = MIB, .uaddr = UADDR };
	struct map *old = NULL, *map = NULL;
	int fd = memory(MIB);
	const char *why = NULL;

	assert_int_equal(map_new(NULL, &spec, &fd, 1, NULL, &old, &why), 0);
	assert_int_equal(map_new(old, &spec, &fd, 1, NULL, &map, &why), 0);
	assert_ptr_equal(map->regions[0].host, old->regions[0].host);
	map_unref(map);
	assert_int_equal(ftruncate(fd, MIB - 1), 0);
	assert_int_equal(map_new(old, &spec, &fd, 1, NULL, &map, &why), -EINVAL);
	assert_non_null(strstr(why, "beyond the end of its file"));
	assert_int_equal(map_with(old, &spec, fd, NULL, &map, &why), -EINVAL);
	map_unref(old);
	close(fd);
}

static void map_keeps_what_lies_where_it_lay(void **state)
{
	const struct map_spec specs[] = {
		{ .gpa = 0, .size_bytes = MIB, .uaddr = UADDR },
		{ .gpa = 2 * MIB, .size_bytes = MIB, .uaddr = UADDR + 2 * MIB },
	};
	const struct map_spec moved = { .gpa = 0, .size_bytes = MIB, .uaddr = UADDR + MIB };
	int fds[] = { memory(MIB), memory(MIB), memory(MIB) }, others[] = { fds[2], fds[1] };
	struct map *one, *two, *less, *other, *elsewhere;
	const char *why;

	assert_int_equal(map_new(NULL, specs, fds, 1, NULL, &one, &why), 0);
	assert_int_equal(map_with(one, &specs[1], fds[1], NULL, &two, &why), 0);
	assert_int_equal(map_without(two, &specs[0], &less), 0);
	assert_int_equal(map_new(two, specs, others, 2, NULL, &other, &why), 0);
	assert_int_equal(map_new(one, &moved, fds, 1, NULL, &elsewhere, &why), 0);
	assert_true(map_keeps(NULL, NULL) && map_keeps(one, NULL));
	assert_true(map_keeps(one, one) && map_keeps(two, one));
	assert_false(map_keeps(NULL, one));
	assert_false(map_keeps(one, two));
	assert_false(map_keeps(less, two) || map_keeps(less, one));
	assert_true(map_keeps(two, less));
	assert_false(map_keeps(other, two)); /* another file */
	assert_false(map_keeps(elsewhere, one)); /* for the front end alone */
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	map_unref(one);
	map_unref(two);
	map_unref(less);
	map_unref(other);
	map_unref(elsewhere);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_keeps_what_lies_where_it_lay),
		cmocka_unit_test(region_of_no_size_is_refused),
		cmocka_unit_test(region_that_wraps_round_is_refused),
		cmocka_unit_test(region_beyond_its_file_is_refused),
		cmocka_unit_test(offset_that_breaks_the_alignment_of_rings_is_refused),
		cmocka_unit_test(fd_that_is_not_memory_is_refused),
		cmocka_unit_test(file_that_may_not_be_written_is_refused),
		cmocka_unit_test(region_may_start_anywhere_in_a_page),
		cmocka_unit_test(region_in_huge_pages_may_start_inside_one),
		cmocka_unit_test(regions_that_overlap_are_refused),
		cmocka_unit_test(the_same_region_stays_until_it_is_removed_as_often_as_it_was_added),
		cmocka_unit_test(every_slot_is_found_in_any_order_of_arrival),
		cmocka_unit_test(region_is_added_and_removed_by_making_a_new_map),
		cmocka_unit_test(last_reference_unmaps),
		cmocka_unit_test(range_across_regions_gives_several_pieces),
		cmocka_unit_test(pieces_that_lie_side_by_side_here_too_are_merged),
		cmocka_unit_test(range_that_leaves_guest_memory_is_refused),
		cmocka_unit_test(refused_table_leaves_nothing_behind),
		cmocka_unit_test(memory_without_a_file_is_taken_where_it_is_vouched_for),
		cmocka_unit_test(memory_that_is_read_only_is_read_and_not_written),
		cmocka_unit_test(region_that_is_as_it_was_keeps_its_mmap),
		cmocka_unit_test(region_whose_file_has_been_cut_short_is_not_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
