/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "save": the daemon tells what it would have to be started with (config.show), and we write it, since the file may be nothing that the daemon
 * itself is allowed to write. The new file is whole, or the old one stays; what stood there before, with its remarks, is kept beside it.
 */
#include "ctl/line.h"
#include "field.h"
#include "show.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REMARK "# cannot be written in a file"
#define MODE_NEW 0644

struct save {
	char path[PATH_MAX]; /* where links lead to */
	char fresh[PATH_MAX + 8], before[PATH_MAX + 8];
	struct stat old;
	bool there;
};

static bool failed(const char *path, int err)
{
	line_print(stderr, "vireoctl: save: %s: %s", path, strerror(err));
	return false;
}

static bool place_find(struct save *save, const char *name)
{
	save->there = realpath(name, save->path);
	if (!save->there && errno != ENOENT)
		return failed(name, errno);
	if (!save->there && strlen(name) >= sizeof(save->path))
		return failed(name, ENAMETOOLONG);
	if (!save->there)
		memcpy(save->path, name, strlen(name) + 1);
	else if (stat(save->path, &save->old))
		return failed(save->path, errno);
	if (save->there && !S_ISREG(save->old.st_mode)) {
		line_print(stderr, "vireoctl: save: %s is no file: config show prints what would be written", name);
		return false;
	}
	snprintf(save->fresh, sizeof(save->fresh), "%s.XXXXXX", save->path);
	snprintf(save->before, sizeof(save->before), "%s~", save->path);
	return true;
}

/* Whose the old one is, and who may read it. Who may not give it away keeps it. */
static int dress(const struct save *save, int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	if (!save->there)
		return fchmod(fd, MODE_NEW & ~mask);
	if (fchown(fd, save->old.st_uid, save->old.st_gid) && errno != EPERM)
		return -1;
	return fchmod(fd, save->old.st_mode & 07777);
}

static bool lines_write(const struct save *save, const json_t *lines, FILE *file)
{
	const json_t *line;

	fprintf(file, "# Written by vireoctl save.\n");
	for (size_t i = 0; (line = json_array_get(lines, i)); i++)
		fprintf(file, "%s\n", json_string_value(line) ? json_string_value(line) : "");
	return !fflush(file) && !ferror(file) && !dress(save, fileno(file)) && !fsync(fileno(file));
}

static bool put(struct save *save, const json_t *lines)
{
	int fd = mkostemp(save->fresh, O_CLOEXEC), err;
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	bool written = file && lines_write(save, lines, file);

	err = errno;
	if (fd < 0)
		return failed(save->fresh, err);
	if (file)
		fclose(file);
	else
		close(fd);
	if (written && save->there)
		written = (!unlink(save->before) || errno == ENOENT) && !link(save->path, save->before);
	if (written)
		written = !rename(save->fresh, save->path);
	if (written)
		return true;
	err = err ? err : errno;
	unlink(save->fresh);
	return failed(save->path, err);
}

static bool all_can_be_written(const json_t *lines)
{
	const json_t *line;

	for (size_t i = 0; (line = json_array_get(lines, i)); i++) {
		const char *text = json_string_value(line);

		if (text && !strncmp(text, REMARK, strlen(REMARK))) {
			line_print(stderr, "vireoctl: save: nothing is written: %.200s", text + 2);
			return false;
		}
	}
	return true;
}

static bool save_to(const char *name, const json_t *lines, FILE *out)
{
	struct save save;

	if (!all_can_be_written(lines) || !place_find(&save, name) || !put(&save, lines))
		return false;
	fprintf(out, "%s: %zu lines", save.path, json_array_size(lines));
	if (save.there)
		fprintf(out, "; %s has what was there before", save.before);
	fputc('\n', out);
	return true;
}

void show_save(struct show *show)
{
	const char *name = show->word ? show->word : json_string_value(json_object_get(show->result, "file"));

	show->failed = true;
	if (!json_is_array(json_object_get(show->result, "lines")))
		line_print(stderr, "vireoctl: save: the daemon does not tell its configuration");
	else if (!name)
		line_print(stderr, "vireoctl: save: the switch was started without --config: name a FILE");
	else
		show->failed = !save_to(name, json_object_get(show->result, "lines"), show->out);
}
