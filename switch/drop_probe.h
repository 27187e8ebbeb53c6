/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_DROP_PROBE_H
#define SWITCH_DROP_PROBE_H

/* The probe frame_drop: a port's name, why, as its counter is called, and how many. A tracer that is attached counts up what is asked before. */

#include "base/util.h"
#include <stdbool.h>

struct sw_port;

#if VIREO_HAS_SDT
extern unsigned short vireo_frame_drop_semaphore;

static inline bool drop_probed(void)
{
	return unlikely(__atomic_load_n(&vireo_frame_drop_semaphore, __ATOMIC_RELAXED));
}
#else
static inline bool drop_probed(void)
{
	return false;
}
#endif

/* `counter` is one of those that this worker counts for the port. */
void drop_probe(const struct sw_port *port, unsigned worker, const uint64_t *counter, unsigned count);

#endif
