/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_MIRROR_H
#define VIREOCTL_MIRROR_H

#include "options.h"

/*
 * Where a mirror writes to. A file is opened here, by who asks for it and with his rights, and so is a pipe that leads to standard output; the
 * daemon gets their descriptors.
 */
struct mirror_way {
	int fd;	   /* for the daemon; -1: it goes to a port */
	int read_fd; /* the pipe's other end, or -1 */
	bool streams;
	char *program; /* of the filter, or NULL */
};

/* Compiles the filter, too: inv->named gets its program. 0, or the exit code: a line has been said. */
int mirror_way_open(struct invocation *inv, struct mirror_way *ret_way);
void mirror_way_given(struct mirror_way *way); /* the daemon has it, or refuses it */
/* All that comes goes to standard output, until the mirror ends. 0, or the exit code. */
int mirror_way_follow(const struct mirror_way *way);
void mirror_way_close(struct mirror_way *way);

#endif
