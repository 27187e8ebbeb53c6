/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands worker list and worker move of daemons with exports. An export, or one of its queues, is given to a worker while requests come; the
 * answer is sent when the workers that served the queues have let go of them. Queues that do not run go to that worker when they do.
 */
#include "base/parse.h"
#include "base/log.h"
#include "ctl/rpc.h"
#include "store/commands.h"
#include "store/export_queue.h"
#include "store/report.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- worker list ---- */

static json_t *queues_of(const struct exports *exports, unsigned worker)
{
	json_t *list = json_array();

	for (const struct export *e = exports->first; e; e = e->next)
		for (unsigned i = 0; i < e->queue_count && !e->closing; i++)
			if (export_queue_worker(e, i) == (int)worker)
				json_array_append_new(list, json_pack("{s:s, s:i}", "export", e->spec->at.name, "queue", (int)i));
	return list;
}

void serve_worker_list(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;
	json_t *workers = report_crew(store->exports.crew), *worker;

	for (size_t i = 0; (worker = json_array_get(workers, i)); i++)
		json_object_set_new(worker, "queues", queues_of(&store->exports, (unsigned)i));
	rpc_call_reply(call, json_pack("{s:o}", "workers", workers));
}

/* ---- what is asked for ---- */

struct wish {
	struct export *export;
	unsigned first, end; /* queues */
	unsigned worker;
};

/* EXPORT or EXPORT:QUEUE; no export's name has a colon. */
static bool wish_queues(struct rpc_call *call, const struct store *store, struct wish *wish)
{
	const char *text = rpc_call_param(call, "export"), *colon = strchr(text, ':');
	char *name = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	unsigned long queue;

	wish->export = command_export(call, store, name ? name : "");
	free(name);
	if (!wish->export)
		return false;
	wish->first = 0;
	wish->end = wish->export->queue_count;
	if (!colon)
		return true;
	if (!parse_number(colon + 1, 0, wish->end - 1, &queue)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "queue '%.20s' of export '%.64s': expected a number below %u, which is how many it has",
			       colon + 1, wish->export->spec->at.name, wish->end);
		return false;
	}
	wish->first = (unsigned)queue;
	wish->end = wish->first + 1;
	return true;
}

static bool wish_worker(struct rpc_call *call, const struct store *store, struct wish *wish)
{
	const char *text = rpc_call_param(call, "worker");
	unsigned count = crew_workers(store->exports.crew);
	unsigned long worker;

	if (!parse_number(text, 0, count - 1, &worker)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "WORKER '%.20s': expected a number below %u: there %s", text, count,
			       count == 1 ? "is one worker; --workers gives more" : "are so many workers; worker list names them");
		return false;
	}
	wish->worker = (unsigned)worker;
	return true;
}

/* ---- worker move ---- */

struct move {
	struct rpc_call *call;
	json_t *answer;
	unsigned pending;
	int err;
};

static void moved(void *opaque)
{
	struct move *move = opaque;

	if (--move->pending)
		return;
	if (move->err) {
		rpc_call_error(move->call, RPC_FAILED, "another move of a queue of this export is under way: try again when it has ended");
		json_decref(move->answer);
	} else {
		rpc_call_reply(move->call, move->answer);
	}
	free(move);
}

/* One that is told of by itself holds the answer back until all have been begun. */
static void move_all(struct move *move, const struct wish *wish)
{
	move->pending = 1;
	for (unsigned i = wish->first; i < wish->end && !move->err; i++) {
		move->pending++;
		move->err = export_queue_move(wish->export, i, wish->worker, moved, move);
		if (move->err)
			move->pending--;
	}
	moved(move);
}

void serve_worker_move(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;
	struct move *move;
	struct wish wish;

	if (!wish_queues(call, store, &wish) || !wish_worker(call, store, &wish))
		return;
	move = malloc(sizeof(*move));
	if (!move) {
		rpc_call_error(call, RPC_FAILED, "out of memory");
		return;
	}
	*move = (struct move){.call = call};
	move->answer = json_pack("{s:s, s:i, s:i, s:i}", "name", wish.export->spec->at.name, "worker", (int)wish.worker, "first_queue",
				 (int)wish.first, "queues", (int)(wish.end - wish.first));
	log_info(&store->daemon.control_log, "%s: queues %u to %u go to worker %u", wish.export->spec->at.name, wish.first, wish.end - 1,
		 wish.worker);
	move_all(move, &wish);
}
