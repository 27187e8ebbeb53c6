/* SPDX-License-Identifier: BSD-3-Clause */

/* forward, for callgrind: WARM_BURSTS, then BURSTS that are counted. Several workers begin to be counted together. */

#include "bench/instructions/count.h"
#include "bench/instructions/forward.h"
#include <pthread.h>

/* Each for its own thread: callgrind forgets what that one has counted. */
static void round_count(struct pair *pair)
{
	pthread_barrier_t *together = pair->opaque;

	if (pair->ports->sent_bursts == WARM_BURSTS) {
		pthread_barrier_wait(together);
		count_from_zero();
	}
	if (pair->ports->sent_bursts == WARM_BURSTS + BURSTS)
		forward_done();
}

uint64_t run_forward(const struct bench_case *c)
{
	unsigned pairs = c->paired ? PAIRS_MAX : 1;
	pthread_barrier_t together;

	must(!pthread_barrier_init(&together, NULL, pairs), "no barrier");
	forward_run(c, NULL, round_count, &together, true);
	return 2ull * pairs * BURSTS * BURST;
}
