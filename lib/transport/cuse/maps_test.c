/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/util.h"
#include "transport/cuse/maps.h"
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* /proc/PID/maps as text, and the pieces that memory regions are by it. */

static const char qemu[] =
	"555555554000-555555600000 r-xp 00000000 08:01 131 /usr/bin/qemu-system-x86_64\n"
	"7f0000000000-7f0000100000 rw-s 00000000 00:01 2048                       /memfd:ram (deleted)\n"
	"7f0000100000-7f0000200000 rw-s 00100000 00:01 2048                       /memfd:ram (deleted)\n"
	"7f0000200000-7f0000300000 rw-s 00300000 00:01 2048                       /memfd:ram (deleted)\n"
	"7f0000300000-7f0000400000 rw-s 00000000 00:01 4096                       /memfd:more (deleted)\n"
	"7f0000500000-7f0000600000 rw-p 00000000 00:00 0 \n"
	"7f0000600000-7f0000700000 r--s 00000000 00:1a 77                         /dev/shm/a name with "
	"blanks\n"
	"7f0000700000-7f0000800000 rw-p 00000000 00:01 4096                       /memfd:more (deleted)\n"
	"7ffff7ffe000-7ffff7fff000 rw-p 00000000 00:00 0                          [stack]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

#define BASE UINT64_C(0x7f0000000000)

struct lines {
	struct maps_vma *vmas;
	size_t count;
};

static struct lines parse(const char *text)
{
	struct lines lines;

	assert_int_equal(maps_parse(text, &lines.vmas, &lines.count), 0);
	return lines;
}

static int pieces_of(uint64_t offset, uint64_t bytes, struct maps_piece *pieces, unsigned max)
{
	const struct vhost_memory_region region = { .guest_phys_addr = 0x1000,
						    .memory_size = bytes,
						    .userspace_addr = BASE + offset };
	struct lines lines = parse(qemu);
	const char *why = NULL;
	int r = maps_pieces(lines.vmas, lines.count, &region, 1, pieces, max, &why);

	free(lines.vmas);
	if (r < 0)
		assert_non_null(why);
	return r;
}

static void lines_are_read_in_full(void **state)
{
	struct lines lines = parse(qemu);

	assert_int_equal(lines.count, 10);
	assert_true(lines.vmas[0].readable && !lines.vmas[0].writable && !lines.vmas[0].shared);
	assert_int_equal(lines.vmas[0].major, 8);
	assert_int_equal(lines.vmas[3].start, BASE + 0x200000);
	assert_int_equal(lines.vmas[3].end, BASE + 0x300000);
	assert_int_equal(lines.vmas[3].offset, 0x300000);
	assert_int_equal(lines.vmas[3].inode, 2048);
	assert_true(lines.vmas[3].shared && lines.vmas[3].writable);
	assert_int_equal(lines.vmas[6].minor, 0x1a);
	assert_int_equal(lines.vmas[6].inode, 77);
	free(lines.vmas);
}

static void no_lines_are_no_memory(void **state)
{
	struct lines lines = parse("");

	assert_int_equal(lines.count, 0);
	assert_null(maps_find(lines.vmas, 0, 0));
	free(lines.vmas);
}

static void lines_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"x",
		"1000",
		"1000-",
		"1000-2000",
		"1000-2000 rw-s",
		"2000-1000 rw-s 0 0:0 0\n",
		"1000-1000 rw-s 0 0:0 0\n",
		"1000-2000 rw-x 0 0:0 0\n",
		"1000-2000 rws 0 0:0 0\n",
		"1000-2000 rw-s 0 0:0 \n",
		"1000-2000 rw-s 0 0:0 x\n",
		"1000-2000 rw-s 0 00 0\n",
		"1000-10000000000000000 rw-s 0 0:0 0\n",
		"-2000 rw-s 0 0:0 0\n",
		"1000-2000 rw-s  0:0 0\n",
		"2000-3000 rw-s 0 0:1 1\n1000-2000 rw-s 0 0:1 1\n", /* not in order */
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct lines lines;

		if (maps_parse(bad[i], &lines.vmas, &lines.count) != -EPROTO)
			fail_msg("'%s' was taken", bad[i]);
	}
}

static void addresses_are_found_by_their_range(void **state)
{
	struct lines lines = parse(qemu);

	assert_null(maps_find(lines.vmas, lines.count, 0));
	assert_ptr_equal(maps_find(lines.vmas, lines.count, BASE), &lines.vmas[1]);
	assert_ptr_equal(maps_find(lines.vmas, lines.count, BASE + 0xfffff), &lines.vmas[1]);
	assert_ptr_equal(maps_find(lines.vmas, lines.count, BASE + 0x100000), &lines.vmas[2]);
	assert_null(maps_find(lines.vmas, lines.count, BASE + 0x400000));
	assert_null(maps_find(lines.vmas, lines.count, UINT64_MAX));
	free(lines.vmas);
}

static void vmas_that_go_on_in_the_file_are_one_piece(void **state)
{
	struct maps_piece pieces[4];

	assert_int_equal(pieces_of(0x1000, 0x1fe000, pieces, 4), 1);
	assert_int_equal(pieces[0].gpa, 0x1000);
	assert_int_equal(pieces[0].uaddr, BASE + 0x1000);
	assert_int_equal(pieces[0].size_bytes, 0x1fe000);
	assert_int_equal(pieces[0].file_offset, 0x1000);
}

static void jump_in_the_file_and_another_file_begin_pieces(void **state)
{
	struct maps_piece pieces[4];

	assert_int_equal(pieces_of(0, 0x400000, pieces, 4), 3);
	assert_int_equal(pieces[0].size_bytes, 0x200000);
	assert_int_equal(pieces[1].file_offset, 0x300000);
	assert_int_equal(pieces[1].gpa, 0x201000);
	assert_int_equal(pieces[2].inode, 4096);
	assert_int_equal(pieces[2].file_offset, 0);
	assert_int_equal(pieces[2].uaddr, BASE + 0x300000);
	assert_int_equal(pieces_of(0, 0x400000, pieces, 2), -E2BIG);
}

static void memory_that_is_not_shared_is_refused(void **state)
{
	struct maps_piece pieces[4];

	assert_int_equal(pieces_of(0x500000, 0x1000, pieces, 4), -EOPNOTSUPP); /* anonymous */
	assert_int_equal(pieces_of(0x700000, 0x1000, pieces, 4), -EOPNOTSUPP); /* private, of a file */
}

/* Who may only read a file must not have us write to it. */
static void memory_that_is_not_writable_is_refused(void **state)
{
	struct maps_piece pieces[4];

	assert_int_equal(pieces_of(0x600000, 0x1000, pieces, 4), -EFAULT);
}

static void holes_are_refused(void **state)
{
	struct maps_piece pieces[4];

	assert_int_equal(pieces_of(0x400000, 0x1000, pieces, 4), -EFAULT);
	assert_int_equal(pieces_of(0x3ff000, 0x2000, pieces, 4), -EFAULT);
	assert_int_equal(pieces_of(0, 0x500000, pieces, 4), -EFAULT);
}

static void regions_that_are_empty_or_wrap_round_are_refused(void **state)
{
	static const struct vhost_memory_region bad[] = {
		{ .guest_phys_addr = 0, .memory_size = 0, .userspace_addr = BASE },
		{ .guest_phys_addr = UINT64_MAX, .memory_size = 0x1000, .userspace_addr = BASE },
		{ .guest_phys_addr = 0, .memory_size = UINT64_MAX, .userspace_addr = BASE },
		{ .guest_phys_addr = 0, .memory_size = 0x1000, .userspace_addr = UINT64_MAX },
	};
	struct lines lines = parse(qemu);
	struct maps_piece pieces[4];
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(maps_pieces(lines.vmas, lines.count, &bad[i], 1, pieces, 4, &why), -EINVAL);
	free(lines.vmas);
}

static void neighbouring_regions_stay_regions(void **state)
{
	static const struct vhost_memory_region regions[] = {
		{ .guest_phys_addr = 0, .memory_size = 0x1000, .userspace_addr = BASE },
		{ .guest_phys_addr = 0x1000, .memory_size = 0x1000, .userspace_addr = BASE + 0x1000 },
	};
	struct lines lines = parse(qemu);
	struct maps_piece pieces[4];
	const char *why;

	assert_int_equal(maps_pieces(lines.vmas, lines.count, regions, 2, pieces, 4, &why), 2);
	assert_int_equal(maps_pieces(lines.vmas, lines.count, regions, 2, pieces, 1, &why), -E2BIG);
	assert_int_equal(maps_pieces(lines.vmas, lines.count, regions, 0, pieces, 1, &why), 0);
	free(lines.vmas);
}

static void thread_group_is_read_from_its_own_line(void **state)
{
	assert_int_equal(maps_tgid("Name:\tTgid: 7\nUmask:\t0022\nTgid:\t4321\nNgid:\t0\n"), 4321);
	assert_int_equal(maps_tgid("Name:\tx\n"), 0);
	assert_int_equal(maps_tgid("Name:\tx\nTgid:\t-4\n"), 0);
	assert_int_equal(maps_tgid("Name:\tx\nTgid:\t99999999999\n"), 0);
}

static void mounts_are_the_kernels_or_not(void **state)
{
	static const char text[] = "22 1 0:21 / / rw,relatime shared:1 - btrfs /dev/vda1 rw,space_cache\n"
				   "23 22 0:5 / /dev rw,nosuid master:2 propagate_from:3 - devtmpfs dev rw\n"
				   "24 22 0:40 / /mnt/a\\040-\\040tmpfs rw - fuse.sshfs me@there:/ rw\n"
				   "25 22 0:41 / /mnt/b rw - tmpfss x rw\n"
				   "26 22 0:42 / /mnt/c rw - tmp x rw\n"
				   "27 22 0:43 / /mnt/d rw tmpfs x rw\n"
				   "28 22 0:44 / /mnt/e rw - nfs4 there:/e rw\n"
				   "junk\n"
				   "\n"
				   "29 22 1:45 / /mnt/f rw - tmpfs f rw\n"
				   "30 22 0:45 / /dev/hugepages rw - hugetlbfs";
	static const struct {
		uint32_t minor;
		enum maps_mount mount;
	} expected[] = {
		{ 21, MAPS_MOUNT_KERNEL }, { 5, MAPS_MOUNT_KERNEL }, { 40, MAPS_MOUNT_OTHER },
		{ 41, MAPS_MOUNT_OTHER },  { 42, MAPS_MOUNT_OTHER }, { 43, MAPS_MOUNT_OTHER },
		{ 44, MAPS_MOUNT_OTHER },  { 2, MAPS_MOUNT_NONE },   { 45, MAPS_MOUNT_KERNEL },
	};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(maps_mount(text, 0, expected[i].minor), expected[i].mount);
	assert_int_equal(maps_mount("", 0, 1), MAPS_MOUNT_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read_in_full),
		cmocka_unit_test(no_lines_are_no_memory),
		cmocka_unit_test(lines_that_are_none_are_refused),
		cmocka_unit_test(addresses_are_found_by_their_range),
		cmocka_unit_test(vmas_that_go_on_in_the_file_are_one_piece),
		cmocka_unit_test(jump_in_the_file_and_another_file_begin_pieces),
		cmocka_unit_test(memory_that_is_not_shared_is_refused),
		cmocka_unit_test(memory_that_is_not_writable_is_refused),
		cmocka_unit_test(holes_are_refused),
		cmocka_unit_test(regions_that_are_empty_or_wrap_round_are_refused),
		cmocka_unit_test(neighbouring_regions_stay_regions),
		cmocka_unit_test(thread_group_is_read_from_its_own_line),
		cmocka_unit_test(mounts_are_the_kernels_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
