/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libnbd is loaded when the first disk asks for it: it brings GnuTLS, libxml2, ICU and the C++ library, which are half of what a daemon of ten
 * disks takes, and more than half of the time until it listens.
 */
#define NBD_LIBRARY_NAMES /* here they are what the header declares */
#include "disk/nbd_library.h"
#include "disk/library.h"
#include "disk/nbd.h"

struct nbd_library nbd_library;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded; /* under the lock */

int nbd_library_load(char *why)
{
	static const struct library_name names[] = {
#define NAME(name) {#name, &nbd_library.name},
		NBD_LIBRARY(NAME)
#undef NAME
	};
	char problem[DISK_WHY_BYTES];
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!loaded)
		loaded = library_open("libnbd.so.0", names, ARRAY_SIZE(names), problem);
	if (!loaded) {
		snprintf(why, DISK_WHY_BYTES, "install libnbd0 (1.14 or later): %.200s", problem);
		err = -ENOSYS;
	}
	pthread_mutex_unlock(&lock);
	return err;
}
