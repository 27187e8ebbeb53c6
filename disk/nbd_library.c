/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libnbd is loaded when the first disk asks for it: it brings GnuTLS, libxml2, ICU and the C++ library, which are half of what a daemon of ten
 * disks takes, and more than half of the time until it listens.
 */
#define NBD_LIBRARY_NAMES /* here they are what the header declares */
#include "disk/nbd_library.h"
#include "disk/nbd.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

struct nbd_library nbd_library;

static bool loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	static const struct {
		const char *name;
		void *at; /* a function's address of `nbd_library` */
	} names[] = {
#define NAME(name) {#name, &nbd_library.name},
		NBD_LIBRARY(NAME)
#undef NAME
	};
	void *handle = dlopen("libnbd.so.0", RTLD_NOW);

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		void *function = handle ? dlsym(handle, names[i].name) : NULL;

		if (!function)
			return;
		memcpy(names[i].at, &function, sizeof(function));
	}
	loaded = true;
}

int nbd_library_load(char *why)
{
	pthread_once(&once, load);
	if (loaded)
		return 0;
	snprintf(why, DISK_WHY_BYTES, "libnbd.so.0 cannot be loaded: install libnbd0 (1.14 or later)");
	return -ENOSYS;
}
