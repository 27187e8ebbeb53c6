/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_DPDK_EAL_H
#define BENCH_DPDK_EAL_H

#include "bench/common/frames.h"
#include <rte_mbuf.h>
#include <stdbool.h>

/*
 * What the programs on DPDK share: EAL's start, one polling thread, pools of frames.
 *
 * The polling thread runs where EAL's last lcore is ("-l 0": CPU 0), so one lcore is enough; the main
 * thread, which answers the script, is set free again after EAL has pinned it.
 */

#define EAL_BURST_MAX 128u
#define EAL_POOL_FRAMES 8192u /* their payload must not fit the first-level cache */
#define EAL_POOL_CACHE 256u

/* Returns how many arguments were EAL's, the "--" included; ends the program if EAL does not start. */
int eal_start(int argc, char **argv);

/* Starts `run(opaque)` on the polling thread. 0 or a negative errno. */
int eal_poll_start(void (*run)(void *opaque), void *opaque);

/* False: the polling thread is to return. */
extern bool eal_polling;
static inline bool eal_poll_goes_on(void)
{
	return __atomic_load_n(&eal_polling, __ATOMIC_RELAXED);
}

void eal_poll_end(void); /* and waits for the thread */

/* EAL_POOL_FRAMES buffers on the polling thread's node, filled with frames of `source` (NULL: zeroes). */
struct rte_mempool *eal_pool_new(const char *name, const struct frame_source *source);
struct rte_mempool *eal_pool_new_of(unsigned frames, const char *name, const struct frame_source *source);

#endif
