/* SPDX-License-Identifier: BSD-3-Clause */
/* mirror add: where copies go, and the filter. Who reads them, and writes the file, is who has called us. */
#include "mirror.h"
#include "base/fd.h"
#include "ctl/line.h"
#include "filter.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX	   ".pcapng"
#define COPY_BYTES 65536u

static bool is_file(const char *to)
{
	size_t bytes = strlen(to), suffix = strlen(SUFFIX);

	return strchr(to, '/') || (bytes > suffix && !strcmp(to + bytes - suffix, SUFFIX));
}

static int file_open(const char *path, struct mirror_way *way)
{
	way->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	if (way->fd >= 0)
		return 0;
	line_print(stderr, "vireoctl: mirror add: %s: %s", path, strerror(errno));
	return 1;
}

/* The daemon's end does not block. It has gone when we have. */
static int pipe_open(struct mirror_way *way)
{
	int fds[2];

	if (isatty(STDOUT_FILENO)) {
		line_print(stderr, "vireoctl: mirror add: pcapng is nothing for a terminal: | wireshark -k -i -, or --to FILE" SUFFIX);
		return 2;
	}
	if (pipe2(fds, O_CLOEXEC) || fd_nonblocking(fds[1])) {
		line_print(stderr, "vireoctl: mirror add: %s", strerror(errno));
		return 1;
	}
	way->read_fd = fds[0];
	way->fd = fds[1];
	way->streams = true;
	return 0;
}

static int target_open(const char *to, struct mirror_way *way)
{
	if (!strcmp(to, "-"))
		return pipe_open(way);
	return is_file(to) ? file_open(to, way) : 0;
}

int mirror_way_open(struct invocation *inv, struct mirror_way *ret_way)
{
	struct mirror_way way = {.fd = -1, .read_fd = -1};
	int ret;

	if (!inv->named[NAMED_TO])
		inv->named[NAMED_TO] = "-";
	if (inv->named[NAMED_FILTER] && !inv->named[NAMED_PROGRAM]) {
		way.program = filter_program(inv->named[NAMED_FILTER]);
		if (!way.program)
			return 2;
		inv->named[NAMED_PROGRAM] = way.program;
	}
	ret = target_open(inv->named[NAMED_TO], &way);
	if (ret)
		free(way.program);
	else
		*ret_way = way;
	return ret;
}

void mirror_way_given(struct mirror_way *way)
{
	fd_close(&way->fd);
}

static bool write_all(const char *bytes, size_t count)
{
	while (count) {
		ssize_t n = write(STDOUT_FILENO, bytes, count);

		if (n < 0 && errno != EINTR)
			return false;
		bytes += n > 0 ? n : 0;
		count -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

int mirror_way_follow(const struct mirror_way *way)
{
	char *bytes = malloc(COPY_BYTES);
	ssize_t n = bytes ? 1 : -1;

	while (n > 0) {
		n = read(way->read_fd, bytes, COPY_BYTES);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0 && !write_all(bytes, (size_t)n))
			n = -1;
	}
	if (n)
		line_print(stderr, "vireoctl: mirror add: %s", strerror(errno));
	free(bytes);
	return n ? 1 : 0;
}

void mirror_way_close(struct mirror_way *way)
{
	fd_close(&way->fd);
	fd_close(&way->read_fd);
	free(way->program);
}
