/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_LIBRARY_H
#define DISK_LIBRARY_H

/* Libraries that are loaded when the first disk asks for them. */

struct library_name {
	const char *name;
	void *at; /* where the address of the function of that name goes */
};

/*
 * Loads `file` and looks for each name in it. NULL, and the loader's own reason in `why` (DISK_WHY_BYTES): nothing stays loaded then, what `at` points to has no
 * meaning, and it may be tried again, for the library may have been installed meanwhile. Else what dlclose(3) takes. Any thread; may wait for the file system.
 */
void *library_open(const char *file, const struct library_name *names, unsigned count, char *why);

#endif
