/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * librbd and librados are loaded when the first disk asks for them: they bring some 30 MB of other libraries, and a daemon without such
 * disks is to begin as soon, and to be as small, as if they were not there.
 */
#include "disk/library.h"
#include "disk/rbd.h"
#include <dlfcn.h>
#include <pthread.h>

static struct rbd_library library; /* constant once it is loaded */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded; /* under the lock */

static bool load(char *problem)
{
#define NAME(name) {#name, &library.name},
	static const struct library_name of_rbd[] = {RBD_LIBRARY(NAME)}, of_rados[] = {RBD_LIBRARY_OF_RADOS(NAME)};
#undef NAME
	void *rbd = library_open("librbd.so.1", of_rbd, ARRAY_SIZE(of_rbd), problem);
	void *rados = rbd ? library_open("librados.so.2", of_rados, ARRAY_SIZE(of_rados), problem) : NULL;

	if (rbd && !rados)
		dlclose(rbd);
	return rados;
}

const struct rbd_library *rbd_library(char *why)
{
	const struct rbd_library *found = NULL;
	char problem[DISK_WHY_BYTES];

	pthread_mutex_lock(&lock);
	if (!loaded)
		loaded = load(problem);
	if (loaded)
		found = &library;
	else
		snprintf(why, DISK_WHY_BYTES, "install librbd1 (16 or later): %.200s", problem);
	pthread_mutex_unlock(&lock);
	return found;
}
