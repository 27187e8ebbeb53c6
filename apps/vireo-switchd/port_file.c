/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_file.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/aside.h"
#include "port.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

struct port_file {
	struct errand errand;
	struct port_spec spec;
	port_file_fn *done;
	void *opaque;
	/* Of the outcome. */
	int err, fd;
	char why[SPEC_WHY_BYTES];
};

static struct port_file *file_of(struct errand *errand)
{
	return container_of(errand, struct port_file, errand);
}

static void file_open(struct errand *errand)
{
	struct port_file *file = file_of(errand);

	file->err = port_kind_of(&file->spec.at)->file_open(&file->spec, &file->fd, file->why);
}

static void file_opened(struct errand *errand, int err)
{
	struct port_file *file = file_of(errand);
	int fd;

	if (err) {
		file->done(file->opaque, err, -1, "the daemon is ending"); /* the thread may have it still */
		return;
	}
	fd = file->fd;
	file->fd = -1;
	file->done(file->opaque, file->err, fd, file->why);
}

static void file_drop(struct errand *errand)
{
	struct port_file *file = file_of(errand);

	fd_close(&file->fd);
	free(file);
}

void port_file_open(struct errands *files, const struct port_spec *spec, port_file_fn *done, void *opaque)
{
	static const struct errand_ops ops = {.work = file_open, .done = file_opened, .drop = file_drop};
	struct port_file *file = malloc(sizeof(*file));
	int err;

	if (!file) {
		done(opaque, -ENOMEM, -1, "out of memory");
		return;
	}
	*file = (struct port_file){.errand.ops = &ops, .spec = *spec, .done = done, .opaque = opaque, .fd = -1};
	err = errands_run(files, &file->errand);
	if (!err)
		return;
	free(file);
	done(opaque, err, -1, "files are being opened for other ports, or there is no thread that could: try again later");
}

static void close_aside(void *argument)
{
	int fd = (int)(intptr_t)argument;

	fd_close(&fd);
}

void port_file_close(int *fd)
{
	if (*fd < 0)
		return;
	if (aside_run(NULL, close_aside, (void *)(intptr_t)*fd))
		fd_close(fd);
	*fd = -1;
}
