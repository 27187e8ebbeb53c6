/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_CHARGE_H
#define MEM_CHARGE_H

#include <stdint.h>

/* What memory this process may be charged for, and is. */

/* The smallest limit of its memory cgroup and those above it, or what the machine has. */
uint64_t charge_limit(void);

/*
 * A file that says how much shared memory its cgroup, or the machine, is charged for; or a negative errno.
 * charge_shared() reads it: UINT64_MAX if it cannot. Async-signal-safe.
 */
int charge_open(void);
uint64_t charge_shared(int fd);

#endif
