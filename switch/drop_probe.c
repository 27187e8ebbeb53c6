/* SPDX-License-Identifier: BSD-3-Clause */
#define _SDT_HAS_SEMAPHORES 1 /* of each probe in this file, and that is one */

#include "switch/drop_probe.h"
#include "base/probe.h"
#include "switch/port.h"
#include "switch/reasons.h"

#if VIREO_HAS_SDT
__extension__ unsigned short vireo_frame_drop_semaphore __attribute__((section(".probes")));
#endif

void drop_probe(const struct sw_port *port, unsigned worker, const uint64_t *counter, unsigned count)
{
	const char *name __attribute__((unused)) = port->name;
	const char *reason __attribute__((unused)) = reason_name(reason_of(&port->counters[worker], counter));

	PROBE3(frame_drop, name, reason, count);
}
