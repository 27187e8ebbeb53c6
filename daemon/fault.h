/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_FAULT_H
#define DAEMON_FAULT_H

/*
 * The process's SIGBUS handler: guest memory that a peer truncates costs that peer's device, and nobody else (vireo/fault.h). A file that
 * the process has mapped for itself, and that somebody else cuts, costs a page of zeroes, which whoever touches it is told of.
 */

#include <stdbool.h>
#include <stdint.h>

struct vireo_fault_table;

/* Makes the one table, and takes SIGBUS. -ENOMEM, or what sigaction says. */
int fault_handler_open(struct vireo_fault_table **ret_table);
/* No device uses the table any more. Without one it does nothing. */
void fault_handler_close(void);

/*
 * Whole pages at `at`, which the process has mapped, are watched: the handler sets *lost (atomic) and then puts a page of zeroes where one is
 * missing; or, where the kernel has no mapping left for that, zeroes into the place of all of them. Any thread. 0; -ENOSPC: too many are watched, or there is no handler: leave the mapping.
 */
int fault_watch(void *at, uint64_t bytes, bool *lost);
/* What begins at `at` is touched by nobody any more, and still mapped. Any thread. */
void fault_unwatch(const void *at);

#endif
