/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "mem/charge.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t shared_of(const char *text)
{
	int fd = memfd_create("stat", MFD_CLOEXEC);
	uint64_t shared;

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	shared = charge_shared(fd);
	fd_close(&fd);
	return shared;
}

static void shared_memory_is_read_from_what_each_kernel_has(void **state)
{
	assert_int_equal(shared_of("anon 4096\nfile 8192\nshmem 12288\nshmem_thp 0\n"), 12288); /* cgroup v2 */
	assert_int_equal(shared_of("cache 1\nshmem 4096\ntotal_cache 1\ntotal_shmem 8192\n"), 8192); /* v1 */
	assert_int_equal(shared_of("MemTotal:  100 kB\nShmem:      7 kB\nShmemHugePages: 0 kB\n"), 7 << 10);
	assert_true(shared_of("") == UINT64_MAX);
	assert_true(shared_of("anon 4096\nshmem_thp 4096\n") == UINT64_MAX);
	assert_true(charge_shared(-1) == UINT64_MAX);
}

static void process_is_charged_somewhere(void **state)
{
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), limit = charge_limit();
	int fd = charge_open();

	assert_true(limit > 1 << 20 && limit <= machine);
	assert_true(fd >= 0);
	assert_true(charge_shared(fd) <= machine);
	fd_close(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_memory_is_read_from_what_each_kernel_has),
		cmocka_unit_test(process_is_charged_somewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
