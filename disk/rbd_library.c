/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * librbd and librados are loaded when the first disk asks for them: they bring some 30 MB of other libraries, and a daemon without such
 * disks is to begin as soon, and to be as small, as if they were not there.
 */
#include "disk/rbd.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static struct rbd_library library;
static char problem[DISK_WHY_BYTES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct name {
	const char *name;
	void *at; /* a function's address of `library` */
};

static bool names_find(void *handle, const struct name *names, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		void *function = handle ? dlsym(handle, names[i].name) : NULL;

		if (!function)
			return false;
		memcpy(names[i].at, &function, sizeof(function));
	}
	return true;
}

static void load(void)
{
#define NAME(name) {#name, &library.name},
	static const struct name of_rbd[] = {RBD_LIBRARY(NAME)}, of_rados[] = {RBD_LIBRARY_OF_RADOS(NAME)};
#undef NAME
	void *rbd = dlopen("librbd.so.1", RTLD_NOW), *rados = dlopen("librados.so.2", RTLD_NOW);

	if (names_find(rbd, of_rbd, ARRAY_SIZE(of_rbd)) && names_find(rados, of_rados, ARRAY_SIZE(of_rados)))
		return;
	snprintf(problem, sizeof(problem), "librbd.so.1 and librados.so.2 cannot be loaded: install librbd1 (16 or later)");
}

const struct rbd_library *rbd_library(char *why)
{
	pthread_once(&once, load);
	if (!*problem)
		return &library;
	snprintf(why, DISK_WHY_BYTES, "%s", problem);
	return NULL;
}
