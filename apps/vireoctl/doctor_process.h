/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_DOCTOR_PROCESS_H
#define VIREOCTL_DOCTOR_PROCESS_H

/* What /proc and the file system say of processes. `root` is where /proc and /sys are; what cannot be read is as if it were not there. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A file that a process has mapped. */
struct process_file {
	unsigned long device, inode;
	bool shared; /* once at least */
};

/* How many; *ret_files is the caller's, to be given to free(), in any case. */
size_t process_files(const char *root, long pid, struct process_file **ret_files);
const struct process_file *process_file_find(const struct process_file *files, size_t count, const struct process_file *file);

struct process_user {
	uid_t uid;
	gid_t gid, groups[64];
	size_t group_count;
	bool any; /* rights do not stop it */
};

bool process_user_of(const char *root, long pid, struct process_user *ret_user);
/* "write to" or "search": what it may not do, and `where`. NULL: it may connect to the socket, or that cannot be told. */
const char *process_may_not_write(const struct process_user *user, const char *path, char where[512]);
/* The first process beyond `after` of those with a word on their command line in which there is `word`; 0: there is none. */
long process_with_word(const char *root, const char *word, long after);

enum process_stat { PROCESS_THERE, PROCESS_GONE, PROCESS_UNKNOWN };
enum process_stat process_stat(const char *path, struct stat *ret_st);

/* A thread of the process that may run on that CPU only; 0: none. */
long process_thread_only_at(const char *root, long pid, long long cpu);
size_t process_cpu_count(const char *root, long pid); /* on which it may run; 0: unknown */
/* Is the CPU one of "0-3,7"? */
bool process_list_has(const char *list, long long cpu);
/* The first line of a file, without its end. */
bool process_line(const char *root, const char *path, char *ret_line, size_t bytes);

#endif
