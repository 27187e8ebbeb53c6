/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a block device is asked for that a guest erases: a device that is made up here (ioctl and fopen are wrapped), for few machines have one
 * that can.
 */
#include "base/util.h"
#include "disk/file.h"
#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define DEVICE_BYTES (UINT64_C(1) << 20)

static struct {
	bool erases;	       /* it can */
	int err;	       /* what it fails with */
	unsigned asked, calls; /* how often it was asked whether it can, and to do it */
	uint64_t range[2];
} device;

int __wrap_ioctl(int fd, unsigned long request, void *argument);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);

/* As Linux does it from 5.19 on: whether the device can comes first. */
static int erase(const uint64_t *range)
{
	if (!device.erases)
		return -EOPNOTSUPP;
	if ((range[0] | range[1]) & 511) {
		device.asked++;
		return -EINVAL;
	}
	device.calls++;
	memcpy(device.range, range, sizeof(device.range));
	return -device.err;
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	const int block = 512;
	const uint64_t size = DEVICE_BYTES;
	uint32_t which = (uint32_t)request; /* some C libraries have an int */
	int err = 0;

	if (which == (uint32_t)BLKSECDISCARD)
		err = erase(argument);
	else if (which == (uint32_t)BLKGETSIZE64)
		memcpy(argument, &size, sizeof(size));
	else if (which == (uint32_t)BLKSSZGET || which == (uint32_t)BLKPBSZGET)
		memcpy(argument, &block, sizeof(block));
	else
		err = -ENOTTY;
	errno = -err;
	return err ? -1 : 0;
}

/* What the kernel shows of the device's queue: 4096, of all that is asked. */
FILE *__wrap_fopen(const char *path, const char *mode)
{
	static char number[] = "4096\n";

	return strstr(path, "/queue/discard_") ? fmemopen(number, sizeof(number) - 1, "r") : NULL;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	return __wrap_fopen(path, mode);
}

static struct file_disk file;

static void look(bool read_only, bool discard)
{
	char why[DISK_WHY_BYTES] = "";

	file = (struct file_disk){.fd = memfd_create("device", MFD_CLOEXEC), .block_device = true, .discard = discard};
	file.disk.info.read_only = read_only;
	assert_true(file.fd >= 0);
	assert_int_equal(file_look(&file, "/dev/made-up", why), 0);
}

static int setup(void **state)
{
	memset(&device, 0, sizeof(device));
	device.erases = true;
	return 0;
}

static int teardown(void **state)
{
	return close(file.fd);
}

static int erase_do(uint64_t offset, uint64_t bytes)
{
	struct disk_request r = {.op = DISK_ERASE, .offset = offset, .bytes = bytes, .result = 1};
	int err = file_problem(&file, &r);

	if (!err)
		file_do(&file, &r);
	return err ? err : r.result;
}

static void a_device_that_erases_is_asked_to(void **state)
{
	look(false, true);
	assert_true(file.disk.info.can_erase);
	assert_int_equal(device.asked, 1);
	assert_int_equal(device.calls, 0);
	assert_int_equal(erase_do(4096, 8192), 0);
	assert_int_equal(device.calls, 1);
	assert_int_equal(device.range[0], 4096);
	assert_int_equal(device.range[1], 8192);
	device.err = EIO;
	assert_int_equal(erase_do(0, 512), -EIO); /* it is no advice, as a discard is */
	device.err = EOPNOTSUPP;
	assert_int_equal(erase_do(0, 512), -EOPNOTSUPP);
	assert_int_equal(erase_do(DEVICE_BYTES - 512, 1024), -EINVAL);
	assert_int_equal(device.calls, 3);
}

static void where_it_cannot_be_done_nothing_is_done(void **state)
{
	static const struct {
		bool erases, read_only, discard;
	} cases[] = {{false, false, true}, {true, true, true}, {true, false, false}};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		device.erases = cases[i].erases;
		look(cases[i].read_only, cases[i].discard);
		assert_false(file.disk.info.can_erase);
		assert_int_equal(erase_do(0, 512), cases[i].read_only ? -EROFS : -EOPNOTSUPP);
		assert_int_equal(device.calls, 0);
		if (i + 1 < ARRAY_SIZE(cases))
			close(file.fd);
	}
}

static void a_file_is_not_erased(void **state)
{
	char why[DISK_WHY_BYTES] = "";

	file = (struct file_disk){.fd = memfd_create("file", MFD_CLOEXEC), .discard = true};
	assert_int_equal(ftruncate(file.fd, DEVICE_BYTES), 0);
	assert_int_equal(file_look(&file, "/file", why), 0);
	assert_false(file.disk.info.can_erase);
	assert_int_equal(erase_do(0, 512), -EOPNOTSUPP);
	assert_int_equal(device.asked + device.calls, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_device_that_erases_is_asked_to),
		CASE(where_it_cannot_be_done_nothing_is_done),
		CASE(a_file_is_not_erased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
