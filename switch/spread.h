/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_SPREAD_H
#define SWITCH_SPREAD_H

/* In queues move to other workers by themselves: spread.c. Control thread. */

#include "switch/switch.h"

struct spread;

/* Before there are workers. 0 or -errno. */
int spread_new(struct sw *sw, const struct sw_config *config, struct spread **ret_spread);
void spread_free(struct spread *spread); /* takes NULL */
/* The worker that a queue is to have that comes, whose memory nobody knows yet. */
unsigned spread_place(const struct spread *spread);
/* What sw_worker_stats() says of moves, into *stats. */
void spread_stats(const struct spread *spread, unsigned worker, struct sw_worker_stats *stats);

#endif
