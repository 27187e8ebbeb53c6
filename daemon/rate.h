/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_RATE_H
#define DAEMON_RATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How often a peer may have something done that costs others: a line in the log, an announcement to the whole
 * network. RATE_BURST in a row, one every RATE_INTERVAL_MS in the long run: a bucket that fills with
 * every use and leaks with time. Any thread.
 */

#define RATE_BURST 100u
#define RATE_INTERVAL_MS 200u

struct rate { /* zero-initialised */
	uint64_t due_ms;   /* atomic: when what has been had so far is paid for */
	uint32_t left_out; /* atomic: refused since the last one that passed */
};

/* May it be done once more, at now_ms of a clock that is never set back? *ret_left_out: as above. */
bool rate_pass(struct rate *rate, uint64_t now_ms, uint32_t *ret_left_out);

/* The same, now. */
bool rate_pass_now(struct rate *rate, uint32_t *ret_left_out);

#endif
