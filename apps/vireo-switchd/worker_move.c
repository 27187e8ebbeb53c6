/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port, or one of its queues, is given to a worker while frames come, or to none in particular. The answer is sent when the workers that served the queues have let go
 * of them. Queues that are not there (their driver has not come yet, or uses fewer) go to that worker when they come.
 */
#include "worker_move.h"
#include "base/log.h"
#include "base/parse.h"
#include "commands.h"
#include "ctl/rpc.h"
#include "port.h"
#include "switch/switch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked for ---- */

struct wish {
	struct port *port;
	unsigned first, end; /* queues */
	bool any;	     /* they are nobody's in particular any more */
	unsigned worker;
};

/* PORT or PORT:QUEUE; no port's name has a colon. */
static bool queues_of(struct rpc_call *call, const struct ports *ports, struct wish *wish)
{
	const char *text = rpc_call_param(call, "port"), *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	char *name = strndup(text, len);
	unsigned long queue;

	wish->port = port_named(call, ports, name ? name : "");
	free(name);
	if (!wish->port)
		return false;
	wish->first = 0;
	wish->end = wish->port->in_queues;
	if (!wish->end) {
		rpc_call_error(call, RPC_FAILED, "port '%.64s' brings no frames: no worker serves it", wish->port->spec.at.name);
		return false;
	}
	if (!colon)
		return true;
	if (!parse_number(colon + 1, 0, wish->end - 1, &queue)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "queue '%.20s' of port '%.64s': expected a number below %u, which is how many it has",
			       colon + 1, wish->port->spec.at.name, wish->end);
		return false;
	}
	wish->first = (unsigned)queue;
	wish->end = wish->first + 1;
	return true;
}

static bool worker_of(struct rpc_call *call, const struct ports *ports, struct wish *wish)
{
	const char *text = rpc_call_param(call, "worker");
	unsigned count = sw_worker_count(ports->sw);
	unsigned long worker;

	wish->any = !strcmp(text, "any");
	if (wish->any)
		return true;
	if (!parse_number(text, 0, count - 1, &worker)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "WORKER '%.20s': expected a number below %u, or any: there %s", text, count,
			       count == 1 ? "is one worker; --workers gives more" : "are so many workers; worker list names them");
		return false;
	}
	wish->worker = (unsigned)worker;
	return true;
}

/* ---- and done ---- */

struct move {
	struct rpc_call *call;
	json_t *answer;
	unsigned pending;
	int err;
};

static void move_end(struct move *move)
{
	if (--move->pending)
		return;
	if (move->err) {
		rpc_call_error(move->call, RPC_FAILED, "%s", strerror(-move->err));
		json_decref(move->answer);
	} else {
		rpc_call_reply(move->call, move->answer);
	}
	free(move);
}

static void moved(void *opaque)
{
	move_end(opaque);
}

/* One that is told of by itself holds the answer back until all have been begun. */
static void move_all(struct move *move, const struct wish *wish)
{
	move->pending = 1;
	for (unsigned i = wish->first; i < wish->end && !move->err; i++) {
		move->pending++;
		move->err = sw_queue_move(wish->port->sw, i, wish->worker, moved, move);
		if (move->err)
			move->pending--;
	}
	move_end(move);
}

static json_t *answer_of(const struct wish *wish)
{
	return json_pack("{s:s, s:o, s:i, s:i}", "name", wish->port->spec.at.name, "worker",
			 wish->any ? json_null() : json_integer((json_int_t)wish->worker), "first_queue", (int)wish->first, "queues",
			 (int)(wish->end - wish->first));
}

/* Who serves them goes on, until there is a reason that somebody else does. */
static void let_go(struct rpc_call *call, const struct ports *ports, const struct wish *wish)
{
	for (unsigned i = wish->first; i < wish->end; i++)
		sw_queue_anywhere(wish->port->sw, i);
	log_info(&ports->control_log, "%s: queues %u to %u may go to any worker", wish->port->spec.at.name, wish->first, wish->end - 1);
	rpc_call_reply(call, answer_of(wish));
}

void serve_worker_move(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct move *move;
	struct wish wish;

	if (!queues_of(call, ports, &wish) || !worker_of(call, ports, &wish))
		return;
	if (wish.any) {
		let_go(call, ports, &wish);
		return;
	}
	move = malloc(sizeof(*move));
	if (!move) {
		rpc_call_error(call, RPC_FAILED, "out of memory");
		return;
	}
	*move = (struct move){.call = call};
	move->answer = answer_of(&wish);
	log_info(&ports->control_log, "%s: queues %u to %u go to worker %u", wish.port->spec.at.name, wish.first,
		 wish.end - 1, wish.worker);
	move_all(move, &wish);
}
