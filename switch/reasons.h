/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_REASONS_H
#define SWITCH_REASONS_H

/*
 * Why a frame was dropped is what was counted for it: a reason is the place of a counter in struct port_counters, plus 1; 0 is none.
 */

#include "switch/port.h"
#include <stdint.h>

/* `counter` is one of these. */
static inline uint16_t reason_of(const struct port_counters *counters, const uint64_t *counter)
{
	return (uint16_t)(counter - (const uint64_t *)(const void *)counters + 1);
}

/* The counter's name, as in `port show`; NULL: what it counts is no drop. */
const char *reason_name(uint16_t reason);

#endif
