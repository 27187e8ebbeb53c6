/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FAKE_SWITCH_H
#define SWITCH_FAKE_SWITCH_H

/* For tests: a whole switch with one worker, and ports in memory (fake_port.h). */

#include "base/loop.h"
#include "switch/fake_port.h"

#define PORTS 9u
#define WAIT_MS_MAX 20000u

struct fixture {
	struct loop *loop;
	struct sw *sw;
	struct fake_port *fake[PORTS];
	struct sw_port *port[PORTS];
	unsigned gone;
};

extern const uint8_t broadcast[6];

int setup(void **state); /* with ports 0 to 2 */
int setup_as(void **state, const struct sw_config *config); /* likewise */
int teardown(void **state);

void mac_of(uint8_t mac[6], unsigned port, unsigned i); /* address i of port p */
void step(struct fixture *x);
void settle(struct fixture *x);
/*
 * A round that began before a port was added may still run, and forwards what comes by the ports that it began with.
 * When another port is gone, it is over.
 */
void pass_grace(struct fixture *x);
/* Name and opaque are filled in, and where there are none, ops. */
void add_port_with(struct fixture *x, unsigned p, unsigned outs, struct sw_port_config *config);
void add_port_in(struct fixture *x, unsigned p, unsigned outs, uint16_t vlan);
void add_port(struct fixture *x, unsigned p, unsigned outs);
void remove_port(struct fixture *x, unsigned p);
void on_gone(void *opaque); /* counts in a fixture */
void wait_gone(struct fixture *x, unsigned count);
void send_raw(struct fixture *x, unsigned from, const uint8_t *to, const uint8_t *source, unsigned number);
struct sw_port_stats stats_of(struct fixture *x, unsigned p);

#endif
