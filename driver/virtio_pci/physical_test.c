/* SPDX-License-Identifier: BSD-3-Clause */

/* Physical addresses as a file tells them that is made up here; and those of this machine, if it tells them.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/fd.h"
#include "driver/virtio_pci/physical.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define PRESENT (UINT64_C(1) << 63)
#define PAGE ((uint64_t)sysconf(_SC_PAGESIZE))
#define HOST ((void *)(uintptr_t)(64 * PAGE))

static int pagemap;

static int setup(void **state)
{
	pagemap = memfd_create("pagemap", MFD_CLOEXEC);
	return pagemap < 0;
}

static int teardown(void **state)
{
	fd_close(&pagemap);
	return 0;
}

static void entry_put(unsigned page, uint64_t entry)
{
	assert_int_equal(pwrite(pagemap, &entry, sizeof(entry), (off_t)((64 + page) * sizeof(entry))),
			 sizeof(entry));
}

static int address(uint64_t bytes, uint64_t *ret)
{
	return pci_physical_address(pagemap, HOST, bytes, ret);
}

static void one_stretch_has_one_address(void **state)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < 4; i++)
		entry_put(i, PRESENT | (UINT64_C(1) << 55) | (1000 + i)); /* soft-dirty is no part of it */
	assert_int_equal(address(4 * PAGE, &at), 0);
	assert_int_equal(at, 1000 * PAGE);
	assert_int_equal(pci_physical_address(pagemap, (uint8_t *)HOST + PAGE + 5, 10, &at), 0);
	assert_int_equal(at, 1001 * PAGE + 5);
}

static void two_stretches_are_not_one(void **state)
{
	uint64_t at = 7;

	entry_put(0, PRESENT | 1000);
	entry_put(1, PRESENT | 1002);
	assert_int_equal(address(PAGE, &at), 0);
	at = 7;
	assert_int_equal(address(PAGE + 1, &at), -ERANGE);
	assert_int_equal(at, 7);
}

static void a_page_that_is_not_there_has_no_address(void **state)
{
	uint64_t at;

	entry_put(0, 1000);
	assert_int_equal(address(PAGE, &at), -EFAULT);
	entry_put(0, PRESENT | 1000); /* and the file ends */
	assert_int_equal(address(2 * PAGE, &at), -EFAULT);
}

static void without_the_capability_frames_are_zero(void **state)
{
	uint64_t at;

	entry_put(0, PRESENT);
	assert_int_equal(address(PAGE, &at), -EPERM);
}

/* Where VIREO_PHYSICAL is set there is a kernel that has all that it takes. */
static void page_take(struct pci_physical *p)
{
	int err = pci_physical_new(NULL, p);

	if ((err == -EPERM || err == -ENOMEM) && !getenv("VIREO_PHYSICAL"))
		skip();
	assert_int_equal(err, 0);
}

static void memory_of_this_machine_is_in_one_stretch(void **state)
{
	struct pci_physical p;

	page_take(&p);
	assert_int_equal(p.address % PHYSICAL_BYTES, 0);
	assert_int_equal((uintptr_t)p.host % PHYSICAL_BYTES, 0);
	memset(p.host, 1, PHYSICAL_BYTES);
	pci_physical_free(&p);
	assert_null(p.host);
}

/*
 * To take a page out of service, the kernel moves what is in it: the surest way to ask for that. Only where
 * the machine is a guest that is thrown away.
 */
static void a_page_is_not_moved(void **state)
{
	struct pci_physical p;
	uint64_t at = 0;
	int fd;

	if (!getenv("VIREO_PHYSICAL"))
		skip();
	page_take(&p);
	assert_true(p.pin_fd >= 0);
	assert_int_equal(madvise(p.host, PAGE, MADV_SOFT_OFFLINE), -1);
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pci_physical_address(fd, p.host, PHYSICAL_BYTES, &at), 0);
	assert_int_equal(at, p.address);
	close(fd);
	pci_physical_free(&p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_stretch_has_one_address),
		TEST(two_stretches_are_not_one),
		TEST(a_page_that_is_not_there_has_no_address),
		TEST(without_the_capability_frames_are_zero),
		TEST(memory_of_this_machine_is_in_one_stretch),
		TEST(a_page_is_not_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
