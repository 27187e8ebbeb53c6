/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_CPUS_H
#define DAEMON_CPUS_H

/*
 * "0-1,4" -> 0 1 4; a trailing comma tells a list of one CPU ("3,") from a count. Returns the number of CPUs,
 * -EINVAL: no such list, a CPU twice, or more than max; -ENODEV: a CPU that this process may not run on.
 */
int cpus_parse(const char *text, int *cpus, unsigned max);

#endif
