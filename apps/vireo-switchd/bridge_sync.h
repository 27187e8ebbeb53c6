/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_BRIDGE_SYNC_H
#define SWITCHD_BRIDGE_SYNC_H

/*
 * The kernel's bridge is told which addresses are behind the other ports of the switch, of one port that is an interface of the bridge, an uplink:
 * learning-sync=. Control thread, all of it.
 */

#include "daemon/spec.h"
#include <jansson.h>
#include <stdbool.h>

struct bridge_sync;
struct port;

/*
 * `port` is a port of the switch, and the interface of that number; held: nothing is told before bridge_sync_go_on(). A negative errno, and why.
 */
int bridge_sync_new(struct port *port, int interface, bool held, struct bridge_sync **ret_sync, char why[SPEC_WHY_BYTES]);
/* What has been told is taken back, but while it is held; then `stopped` is called, here or from the loop. */
void bridge_sync_stop(struct bridge_sync *sync, void (*stopped)(struct port *port));
void bridge_sync_free(struct bridge_sync *sync); /* takes NULL; has been stopped, or the daemon ends */

/* Another process is to go on: from now on nothing is told or taken back. */
void bridge_sync_hold(struct bridge_sync *sync);
/* Or this one does, soon: other ports need a moment for that as well. */
void bridge_sync_go_on(struct bridge_sync *sync);

json_t *bridge_sync_report(const struct bridge_sync *sync); /* of NULL: null */

#endif
