/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon is asked when somebody wants to know, and twice a second at most: a flood of requests costs it no more than one reader does.
 * Each question has a connection of its own, so a daemon that was started anew is found again. That it does not answer is remembered as long.
 */
#include "serve/serve.h"
#include "base/clock.h"
#include "base/visible.h"
#include "ctl/client.h"
#include "ctl/rpc.h"
#include "foreign.h"
#include "show.h"
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define SERVE_FRESH_MS 500u

struct serve_snapshot {
	const char *socket, *program;
	unsigned timeout_ms; /* of all questions together */
	uint64_t end_ms;     /* of those for this state */
	uint64_t asked_ns;   /* 0: never */
	json_t *state;	   /* all strings visible; NULL: nobody has answered */
	char why[512];	   /* of that */
	struct serve_answer answer[SERVE_FORMS]; /* without a response: nobody has wanted it yet */
	uint64_t answers;	   /* in all */
};

struct serve_snapshot *serve_snapshot_new(const char *socket, const char *program, unsigned timeout_ms)
{
	struct serve_snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (snapshot) {
		snapshot->socket = socket;
		snapshot->program = program;
		snapshot->timeout_ms = timeout_ms;
	}
	return snapshot;
}

/* Who still reads one of the responses keeps that. */
static void forget(struct serve_snapshot *snapshot)
{
	for (unsigned i = 0; i < SERVE_FORMS; i++) {
		if (snapshot->answer[i].response)
			MHD_destroy_response(snapshot->answer[i].response);
		snapshot->answer[i].response = NULL;
	}
	json_decref(snapshot->state);
	snapshot->state = NULL;
}

void serve_snapshot_free(struct serve_snapshot *snapshot)
{
	if (snapshot)
		forget(snapshot);
	free(snapshot);
}

/* ---- asking ---- */

static unsigned left_ms(const struct serve_snapshot *snapshot)
{
	uint64_t now_ms = clock_now_ms();

	return now_ms < snapshot->end_ms ? (unsigned)(snapshot->end_ms - now_ms) : 0;
}

/* -ETIMEDOUT: the time for questions is used up, too. */
static int client_new(const struct serve_snapshot *snapshot, struct ctl_client **ret_client)
{
	unsigned ms = left_ms(snapshot);

	return ms ? ctl_client_new(snapshot->socket, ms, ret_client) : -ETIMEDOUT;
}

static int call(const struct serve_snapshot *snapshot, struct ctl_client *client, const char *method, json_t **ret_answer,
		struct ctl_failure *failure)
{
	json_t *answer;
	int err;

	ctl_client_timeout_set(client, left_ms(snapshot));
	err = ctl_client_call(client, method, json_object(), &answer, failure);
	if (err)
		return err;
	*ret_answer = foreign_visible(answer);
	json_decref(answer);
	return *ret_answer ? 0 : -ENOMEM;
}

static int ask_client(const struct serve_snapshot *snapshot, struct ctl_client *client, json_t **ret_state, struct ctl_failure *failure)
{
	json_t *stats, *version;
	int err = call(snapshot, client, "stats", &stats, failure);

	if (err)
		return err;
	err = call(snapshot, client, "version", &version, failure);
	if (err) {
		json_decref(stats);
		return err;
	}
	*ret_state = json_pack("{s:o, s:o}", "version", version, "stats", stats);
	return *ret_state ? 0 : -ENOMEM;
}

/*
 * Who talks to whom, of a daemon that knows, where the other questions have left the time. It is counted only while somebody looks: so who
 * wants metrics does not ask for it.
 */
static void ask_talk(struct serve_snapshot *snapshot)
{
	struct ctl_failure failure;
	struct ctl_client *client;
	json_t *talk;

	if (client_new(snapshot, &client))
		return;
	if (!call(snapshot, client, "talk.show", &talk, &failure))
		json_object_set_new(snapshot->state, "talk", talk);
	ctl_client_free(client);
	snapshot->asked_ns = clock_now_ns(); /* as in refresh() */
}

static void ask(struct serve_snapshot *snapshot)
{
	struct ctl_failure failure = {.message = ""};
	struct ctl_client *client;
	int err;

	snapshot->end_ms = clock_now_ms() + snapshot->timeout_ms;
	err = client_new(snapshot, &client);
	if (!err) {
		err = ask_client(snapshot, client, &snapshot->state, &failure);
		ctl_client_free(client);
	}
	if (err == -EREMOTEIO)
		visible_copy(snapshot->why, sizeof(snapshot->why), failure.message);
	else if (err)
		snprintf(snapshot->why, sizeof(snapshot->why), "%s does not answer: %s", snapshot->program, strerror(-err));
}

static void refresh(struct serve_snapshot *snapshot)
{
	uint64_t now_ns = clock_now_ns();

	if (snapshot->asked_ns && now_ns - snapshot->asked_ns < SERVE_FRESH_MS * UINT64_C(1000000))
		return;
	forget(snapshot);
	ask(snapshot);
	snapshot->asked_ns = clock_now_ns(); /* a daemon that is slow to answer is not asked again at once */
}

/* ---- answering ---- */

static void print(const struct serve_snapshot *snapshot, enum serve_form form, FILE *out)
{
	json_t *failed;

	if (snapshot->state && form != SERVE_STATE) {
		metrics_print(json_object_get(snapshot->state, "stats"), form == SERVE_PLAIN, out);
	} else if (snapshot->state) {
		foreign_dump(snapshot->state, out, JSON_COMPACT);
	} else if (form == SERVE_STATE) {
		failed = json_pack("{s:s}", "error", snapshot->why);
		foreign_dump(failed, out, JSON_COMPACT);
		json_decref(failed);
	} else {
		fprintf(out, "%s\n", snapshot->why);
	}
}

/* NULL: memory is short. */
static struct MHD_Response *render(const struct serve_snapshot *snapshot, enum serve_form form)
{
	static const char *const types[SERVE_FORMS] = {
		[SERVE_STATE] = "application/json",
		[SERVE_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
		[SERVE_PLAIN] = "text/plain; version=0.0.4; charset=utf-8",
	};
	const char *type = snapshot->state || form == SERVE_STATE ? types[form] : "text/plain; charset=utf-8";
	char *bytes = NULL;
	size_t count = 0;
	FILE *out = open_memstream(&bytes, &count);
	bool whole;

	if (!out)
		return NULL;
	print(snapshot, form, out);
	whole = !ferror(out);
	if (fclose(out) || !whole) {
		free(bytes);
		return NULL;
	}
	return serve_response_new(bytes, count, false, type);
}

unsigned serve_snapshot_get(struct serve_snapshot *snapshot, enum serve_form form, struct serve_answer *ret_answer)
{
	struct serve_answer *answer = &snapshot->answer[form];

	refresh(snapshot);
	if (form == SERVE_STATE && snapshot->state && !answer->response && json_object_get(json_object_get(snapshot->state, "stats"), "ports"))
		ask_talk(snapshot);
	if (!answer->response)
		*answer = (struct serve_answer){.response = render(snapshot, form), .number = ++snapshot->answers};
	if (!answer->response)
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	*ret_answer = *answer;
	return snapshot->state ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}
