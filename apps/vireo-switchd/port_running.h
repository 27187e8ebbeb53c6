/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_RUNNING_H
#define SWITCHD_PORT_RUNNING_H

/*
 * What of a port commands change while it runs (port link, worker move), and the keys of a SPEC that say how it begins. What holds now is
 * the switch's, not the SPEC's: a reload of a file that says what it said before leaves it alone.
 */

#include "switch/switch.h"
#include <stdbool.h>
#include <stdint.h>

struct port;
struct port_spec;
struct ports;
struct spec;

struct port_running {
	bool link_down;
	uint8_t worker[SW_QUEUES_MAX]; /* of each in queue, plus 1; 0: whichever */
	unsigned named_end;	       /* no queue from this on is named by its number */
};

/* clang-format off */
#define PORT_KEY_LINK {"link", port_set_link, "up or down", "up|down", true}
#define PORT_KEYS_RUNNING \
	PORT_KEY_LINK, \
	{"worker", port_set_worker, "a worker's number, or QUEUE:WORKER with '+' between them", "W|Q:W[+Q:W...]", true}
/* clang-format on */

bool port_set_link(struct spec *spec, const char *value);
bool port_set_worker(struct spec *spec, const char *value);
const char *port_running_problem(const struct port_spec *spec); /* NULL: there is none */

/* ---- port_run.c ---- */

/* Are there as many workers as the SPEC has to do with? False, and why. */
bool port_workers_there(const struct ports *ports, const struct port_spec *spec, char *why);
/* Of a port that has just been made, before it has queues. */
void port_running_begin(struct port *port);
/* What differs from `was`, or all that it has to say where `was` is NULL. */
void port_link_run(struct port *port, const struct port_running *to, const struct port_running *was);
void port_workers_run(struct port *port, const struct port_running *to, const struct port_running *was);

#endif
