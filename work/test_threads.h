/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_TEST_THREADS_H
#define WORK_TEST_THREADS_H

/*
 * For tests: whether the program's other threads have nothing to do. On a busy machine a thread that has not moved for a while
 * may only have had no CPU; the kernel knows the difference.
 */

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One that has just been woken is no sleeper, though it has not run yet. One that has ended is not there, or a zombie. */
static inline bool thread_sleeps(const char *tid)
{
	char path[64], text[128] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", tid);
	file = fopen(path, "r");
	if (!file)
		return true;
	state = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
	fclose(file);
	return !state || strlen(state) < 3 || strchr("SZX", state[2]);
}

static inline bool others_sleep(void)
{
	DIR *folder = opendir("/proc/self/task");
	bool sleep = folder;

	for (struct dirent *entry; sleep && (entry = readdir(folder));)
		sleep = atoi(entry->d_name) <= 0 || atoi(entry->d_name) == gettid() || thread_sleeps(entry->d_name);
	if (folder)
		closedir(folder);
	return sleep;
}

/* Who is looked at first may be woken by who is looked at last: what is true of all of them is true twice. */
static inline bool others_rest(void)
{
	return others_sleep() && others_sleep();
}

#endif
