/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_LANDLOCK_H
#define DAEMON_LANDLOCK_H

/*
 * The setting `beneath`: which files a daemon may open, make and remove, for good and for each thread that is made from then on (Linux 5.13,
 * landlock(7)). It lays itself on top of what the daemon's user may. What is open already, and what comes by fd, is left alone, and so is who
 * connects to a UNIX socket.
 *
 * Allowed are: the folders that the setting names and all beneath them; the folder of the control socket, and /run/vireo; what the kernel
 * shows of itself (/dev, /proc, /sys); and, to be read, /etc, /usr, libraries, and the folder to which /etc/resolv.conf leads. Nothing may be executed anywhere.
 */

#include "vireo/base.h"
#include <stdbool.h>

struct daemon_options;

/* Absolute paths, with ':' in between. */
bool landlock_paths_valid(const char *paths);

/*
 * Before any other thread is made, and before a filter. 0: it is so; or the kernel has no Landlock, as a line says. A negative errno: the
 * daemon is not to start; a line says which path of the setting's cannot be had, or, with -EPERM, that somebody's filter keeps Landlock from us.
 */
int landlock_enter(const struct daemon_options *options, const struct vireo_log *log);

/* The kernel restricts this process: it may not look into another one (ptrace(2)). */
bool landlock_in_force(void);

#endif
