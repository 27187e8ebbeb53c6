/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/library.h"
#include "disk/disk.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void *failed(const char *file, char *why)
{
	const char *reason = dlerror();

	snprintf(why, DISK_WHY_BYTES, "%s", reason ? reason : file);
	return NULL;
}

void *library_open(const char *file, const struct library_name *names, unsigned count, char *why)
{
	void *handle = dlopen(file, RTLD_NOW);

	if (!handle)
		return failed(file, why);
	for (unsigned i = 0; i < count; i++) {
		void *function = dlsym(handle, names[i].name);

		if (!function) {
			failed(names[i].name, why);
			dlclose(handle);
			return NULL;
		}
		memcpy(names[i].at, &function, sizeof(function));
	}
	return handle;
}
