/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_DOCTOR_H
#define VIREOCTL_DOCTOR_H

/*
 * vireoctl doctor: what is wrong with a switch and with the machine around it, and what to do about each. A check looks at the daemon's
 * answer to "stats", and at /proc and /sys; what it may not read it says nothing of. A healthy switch has no findings.
 */

#include <jansson.h>
#include <stdbool.h>

struct doctor {
	const char *root; /* where /proc and /sys are; "": / */
	const json_t *stats;
	long daemon; /* its process; 0: unknown */
	json_t *findings;
};

#define DOCTOR_SHARE_ON "-object memory-backend-memfd,id=mem,size=...,share=on -machine memory-backend=mem"

/* {"findings": [...]}, the caller's; NULL: out of memory. `root`: NULL: /. */
json_t *doctor_findings(const char *root, const json_t *stats, long daemon);
/* Nothing is wrong by now: there are hints at most. */
bool doctor_healthy(const json_t *findings);

/* For checks. `port`: NULL: it is of none. `what` and `fix` (texts) are taken over. */
void doctor_find(struct doctor *doctor, const char *check, const json_t *port, json_t *what, json_t *fix);
/* The same, of what counters alone tell: it has been, and may be over. */
void doctor_hint(struct doctor *doctor, const char *check, const json_t *port, json_t *what, json_t *fix);
const json_t *doctor_port(const struct doctor *doctor, size_t index); /* NULL: there are not so many */
bool doctor_port_is(const json_t *port, const char *key, const char *text);

typedef void doctor_check_fn(struct doctor *doctor);

/* doctor_answer.c: what the daemon's answer alone tells */
doctor_check_fn doctor_mtu, doctor_long_frames, doctor_silent_guests, doctor_failed_ports;
/* doctor_host.c: what /proc and /sys tell beside it */
doctor_check_fn doctor_shared_memory, doctor_sockets, doctor_modules, doctor_cpus;

#endif
