/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_HOLDER_H
#define SWITCHD_HOLDER_H

#include <sys/types.h>

/*
 * A process that has the file at `path` open, as /proc shows it to us; 0: none is to be seen. It looks at no file, whose server
 * might not answer, but at the names of a bounded number of fds: some milliseconds on a large machine.
 */
pid_t holder_of(const char *path);

#endif
