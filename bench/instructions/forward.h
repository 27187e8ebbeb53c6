/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_INSTRUCTIONS_FORWARD_H
#define BENCH_INSTRUCTIONS_FORWARD_H

#include "bench/instructions/pair.h"

#define PAIRS_MAX    2u
#define SILENT_PORTS 254u

/*
 * Makes the switch that the case says, on these CPUs (one for each worker; NULL: any), and lets its workers run until each has called
 * forward_done() from round(pair), whose pair->opaque is `opaque`. Ends the program if frames were lost, or, with `exactly`, are not those of
 * WARM_BURSTS and BURSTS.
 */
void forward_run(const struct bench_case *c, const int *cpus, void (*round)(struct pair *pair), void *opaque, bool exactly);
/* The calling worker has done its share, and is held here for ever: the program ends around it. */
_Noreturn void forward_done(void);

#endif
