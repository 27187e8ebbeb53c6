/* SPDX-License-Identifier: BSD-3-Clause */
/* Libraries that are loaded late: those that are not there, not whole, or there a moment later. The loader is looked at, and misled, in here. */
#include "disk/library.h"
#include "disk/test_disk.h"
#include <dlfcn.h>
#include <unistd.h>
#if VIREO_HAS_NBD
#include "disk/nbd.h"
#endif
#if VIREO_HAS_RBD
#include "disk/rbd.h"
#endif

#define NOBODYS "libvireo-nobody-has.so.0"

void *__real_dlopen(const char *file, int flags);
void *__wrap_dlopen(const char *file, int flags);

static bool missing;
static unsigned tries;

void *__wrap_dlopen(const char *file, int flags)
{
	tries++;
	return __real_dlopen(missing ? NOBODYS : file, flags);
}

static void what_is_there_is_found(void **state)
{
	pid_t (*function)(void) = NULL;
	const struct library_name names[] = {{"getpid", &function}};
	char why[DISK_WHY_BYTES] = "";
	void *handle = library_open("libc.so.6", names, 1, why);

	assert_non_null(handle);
	assert_int_equal(function(), getpid());
	assert_int_equal(dlclose(handle), 0);
}

/* Which library, or which of its functions. */
static void what_is_lacking_is_named(void **state)
{
	void *function = NULL;
	const struct library_name names[] = {{"getpid", &function}, {"vireo_nobody_has", &function}};
	char why[DISK_WHY_BYTES] = "";

	assert_null(library_open(NOBODYS, names, 1, why));
	assert_non_null(strstr(why, NOBODYS));
	assert_null(library_open("libc.so.6", names, 2, why));
	assert_non_null(strstr(why, "vireo_nobody_has"));
}

/* The package is installed while the daemon runs: who asks again has it, and who has it does not look for it. */
static void libnbd_is_looked_for_again(void **state)
{
#if VIREO_HAS_NBD
	char why[DISK_WHY_BYTES] = "";
	void *there = __real_dlopen("libnbd.so.0", RTLD_NOW);

	missing = true;
	assert_int_equal(nbd_library_load(why), -ENOSYS);
	assert_non_null(strstr(why, "install libnbd0"));
	assert_non_null(strstr(why, NOBODYS));
	missing = false;
	if (!there)
		skip();
	assert_int_equal(nbd_library_load(why), 0);
	tries = 0;
	assert_int_equal(nbd_library_load(why), 0);
	assert_int_equal(tries, 0);
	dlclose(there);
#else
	skip();
#endif
}

/* That it is had then is for tests/e2e/rbd.py: half a second and 30 MB. */
static void librbd_is_looked_for_again(void **state)
{
#if VIREO_HAS_RBD
	char why[DISK_WHY_BYTES] = "";

	missing = true;
	for (tries = 0; tries < 2;) {
		unsigned before = tries;

		assert_null(rbd_library(why));
		assert_int_equal(tries, before + 1);
	}
	missing = false;
	assert_non_null(strstr(why, "install librbd1"));
	assert_non_null(strstr(why, NOBODYS));
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_is_found),
		cmocka_unit_test(what_is_lacking_is_named),
		cmocka_unit_test(libnbd_is_looked_for_again),
		cmocka_unit_test(librbd_is_looked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
