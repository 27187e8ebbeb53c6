/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor_process.h"
#include "base/util.h"
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define DAC_OVERRIDE_BIT 1 /* of linux/capability.h */

static FILE *file_of(const char *root, long pid, const char *name)
{
	char path[512];

	if (pid <= 0)
		return NULL;
	snprintf(path, sizeof(path), "%s/proc/%ld/%s", root, pid, name);
	return fopen(path, "re");
}

/* ---- memory ---- */

static bool mapping_parse(const char *line, struct process_file *ret)
{
	unsigned major, minor;
	char rights[5];

	if (sscanf(line, "%*x-%*x %4s %*x %x:%x %lu", rights, &major, &minor, &ret->inode) != 4 || !ret->inode)
		return false;
	ret->device = (unsigned long)major << 32 | minor;
	ret->shared = rights[3] == 's';
	return true;
}

const struct process_file *process_file_find(const struct process_file *files, size_t count, const struct process_file *file)
{
	for (size_t i = 0; i < count; i++)
		if (files[i].inode == file->inode && files[i].device == file->device)
			return &files[i];
	return NULL;
}

static void file_put(struct process_file **files, size_t *count, const struct process_file *file)
{
	struct process_file *more = (struct process_file *)(uintptr_t)process_file_find(*files, *count, file);

	if (more) {
		more->shared |= file->shared;
		return;
	}
	more = realloc(*files, (*count + 1) * sizeof(**files));
	if (!more)
		return;
	*files = more;
	more[(*count)++] = *file;
}

size_t process_files(const char *root, long pid, struct process_file **ret_files)
{
	FILE *maps = file_of(root, pid, "maps");
	struct process_file file;
	char *line = NULL;
	size_t bytes = 0, count = 0;

	*ret_files = NULL;
	while (maps && getline(&line, &bytes, maps) > 0)
		if (mapping_parse(line, &file))
			file_put(ret_files, &count, &file);
	if (maps)
		fclose(maps);
	free(line);
	return count;
}

/* ---- rights ---- */

static void groups_parse(const char *text, struct process_user *user)
{
	char *end;

	for (; user->group_count < ARRAY_SIZE(user->groups); text = end) {
		unsigned long group = strtoul(text, &end, 10);

		if (end == text)
			return;
		user->groups[user->group_count++] = (gid_t)group;
	}
}

bool process_user_of(const char *root, long pid, struct process_user *ret_user)
{
	FILE *status = file_of(root, pid, "status");
	unsigned long long capabilities = 0;
	char *line = NULL;
	size_t bytes = 0;
	unsigned found = 0;

	*ret_user = (struct process_user){.any = false};
	while (status && getline(&line, &bytes, status) > 0) {
		found += sscanf(line, "Uid: %*u %u", &ret_user->uid) == 1;
		found += sscanf(line, "Gid: %*u %u", &ret_user->gid) == 1;
		found += sscanf(line, "CapEff: %llx", &capabilities) == 1;
		if (!strncmp(line, "Groups:", 7))
			groups_parse(line + 7, ret_user);
	}
	ret_user->any = capabilities >> DAC_OVERRIDE_BIT & 1;
	if (status)
		fclose(status);
	free(line);
	return found == 3;
}

static bool in_group(const struct process_user *user, gid_t group)
{
	bool in = user->gid == group;

	for (size_t i = 0; i < user->group_count; i++)
		in |= user->groups[i] == group;
	return in;
}

/* `bit` is as the last three of a mode. A list of rights (ACL) may say otherwise: then nothing is said here. */
static bool lacks(const struct process_user *user, const char *path, mode_t bit)
{
	struct stat st;

	if (user->any || stat(path, &st) || getxattr(path, "system.posix_acl_access", NULL, 0) > 0)
		return false;
	if (st.st_uid == user->uid)
		return !(st.st_mode & bit << 6);
	return !(st.st_mode & (in_group(user, st.st_gid) ? bit << 3 : bit));
}

const char *process_may_not_write(const struct process_user *user, const char *path, char where[512])
{
	for (size_t len = 1; path[len]; len++) {
		if (path[len] != '/')
			continue;
		snprintf(where, 512, "%.*s", (int)len, path);
		if (lacks(user, where, 1))
			return "search";
	}
	snprintf(where, 512, "%s", path);
	return lacks(user, where, 2) ? "write to" : NULL;
}

/* Whole, or as QEMU's path=PATH,... and what is like it. */
static bool word_has(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at++)
		if ((at == text || at[-1] == '=' || at[-1] == ':') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

static bool word_there(const char *root, long pid, const char *word)
{
	FILE *words = file_of(root, pid, "cmdline");
	char *text = NULL;
	size_t bytes = 0;
	bool found = false;

	while (words && !found && getdelim(&text, &bytes, '\0', words) > 0)
		found = word_has(text, word);
	if (words)
		fclose(words);
	free(text);
	return found;
}

long process_with_word(const char *root, const char *word, long after)
{
	char path[512];
	struct dirent *entry;
	long found = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/proc", root);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		long pid = strtol(entry->d_name, NULL, 10);

		if (pid > after && (!found || pid < found) && word_there(root, pid, word))
			found = pid;
	}
	if (folder)
		closedir(folder);
	return found;
}

enum process_stat process_stat(const char *path, struct stat *ret_st)
{
	if (!stat(path, ret_st))
		return PROCESS_THERE;
	return errno == ENOENT ? PROCESS_GONE : PROCESS_UNKNOWN;
}

/* ---- CPUs ---- */

/* The next range of the list; false: there is none. */
static bool range_next(const char **list, long long *ret_from, long long *ret_to)
{
	char *end;

	*ret_from = *ret_to = strtoll(*list, &end, 10);
	if (end == *list)
		return false;
	if (*end == '-')
		*ret_to = strtoll(end + 1, &end, 10);
	*list = end + (*end == ',');
	return true;
}

bool process_list_has(const char *list, long long cpu)
{
	long long from, to;

	while (range_next(&list, &from, &to))
		if (cpu >= from && cpu <= to)
			return true;
	return false;
}

static bool cpus_of(const char *root, long pid, const char *name, char *ret_list, size_t list_bytes)
{
	FILE *status = file_of(root, pid, name);
	char *line = NULL;
	size_t bytes = 0;
	bool found = false;

	while (status && !found && getline(&line, &bytes, status) > 0) {
		found = !strncmp(line, "Cpus_allowed_list:", 18);
		if (found)
			snprintf(ret_list, list_bytes, "%s", line + 18 + strspn(line + 18, " \t"));
	}
	if (status)
		fclose(status);
	free(line);
	return found;
}

size_t process_cpu_count(const char *root, long pid)
{
	char text[256];
	const char *list = text;
	long long from, to;
	size_t count = 0;

	if (cpus_of(root, pid, "status", text, sizeof(text)))
		while (range_next(&list, &from, &to))
			count += (size_t)(to - from + 1);
	return count;
}

long process_thread_only_at(const char *root, long pid, long long cpu)
{
	char path[512], text[256];
	struct dirent *entry;
	long thread = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/proc/%ld/task", root, pid);
	folder = pid > 0 ? opendir(path) : NULL;
	while (folder && !thread && (entry = readdir(folder))) {
		long id = strtol(entry->d_name, NULL, 10);

		snprintf(path, sizeof(path), "task/%ld/status", id);
		if (id > 0 && cpus_of(root, pid, path, text, sizeof(text)) && strtoll(text, NULL, 10) == cpu && !strpbrk(text, ",-"))
			thread = id;
	}
	if (folder)
		closedir(folder);
	return thread;
}

bool process_line(const char *root, const char *path, char *ret_line, size_t bytes)
{
	char full[512];
	FILE *file;
	bool read;

	snprintf(full, sizeof(full), "%s%s", root, path);
	file = fopen(full, "re");
	read = file && fgets(ret_line, (int)bytes, file);
	if (read)
		ret_line[strcspn(ret_line, "\n")] = '\0';
	if (file)
		fclose(file);
	return read;
}
