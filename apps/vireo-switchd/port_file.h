/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_FILE_H
#define SWITCHD_PORT_FILE_H

/*
 * Files that ports are opened on (file_open of struct port_kind): a file server may answer late, or never, so they are opened aside
 * (daemon/errand.h). Control thread.
 */

#include "daemon/errand.h"
#include "port_spec.h"

#define PORT_FILES_MAX 32u /* under way at a time */

/* err 0: `fd` is the callee's. Otherwise -ECANCELED, when the daemon ends, or what file_open has said, and why. */
typedef void port_file_fn(void *opaque, int err, int fd, const char *why);

/* Of a kind that has file_open. `done` is called once, here (-EAGAIN: too many are under way; -ENOMEM) or from the loop. `spec` is copied. */
void port_file_open(struct errands *files, const struct port_spec *spec, port_file_fn *done, void *opaque);
/* What nobody writes any more may be told to a file server all the same when it is closed: that is done aside, too. */
void port_file_close(int *fd);

#endif
