/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_SWITCHD_WORKER_MOVE_H
#define VIREO_SWITCHD_WORKER_MOVE_H

/* "worker move": who serves a port's queues. Control thread. */

struct rpc_call;

void serve_worker_move(struct rpc_call *call, void *opaque); /* opaque: struct ports */

#endif
