/* SPDX-License-Identifier: BSD-3-Clause */
/* trace: asks for what there is of it, again and again. */
#include "trace.h"
#include "field.h"
#include "foreign.h"
#include "show.h"
#include <string.h>
#include <time.h>

#define REST_NS 100000000L /* when there is nothing to be read */

/* ---- for people ---- */

static void frame_line(const json_t *frame, FILE *out)
{
	long long ns = number_of(frame, "time_ns");
	time_t s = (time_t)(ns / 1000000000);
	char at[16] = "";
	struct tm tm;

	if (localtime_r(&s, &tm))
		strftime(at, sizeof(at), "%H:%M:%S", &tm);
	fprintf(out, "%s.%06lld %s > %s, type %s, %lld bytes\n", at, ns % 1000000000 / 1000, text_of(frame, "source"), text_of(frame, "destination"),
		text_of(frame, "type"), number_of(frame, "bytes"));
}

void show_trace(struct show *show)
{
	const json_t *frame, *verdict;
	size_t i, j;

	for (i = 0; (frame = json_array_get(json_object_get(show->result, "frames"), i)); i++) {
		const json_t *verdicts = json_object_get(frame, "verdicts");

		frame_line(frame, show->out);
		for (j = 0; (verdict = json_array_get(verdicts, j)); j++)
			fprintf(show->out, "    %s\n", text_of(verdict, "text"));
		if (number_of(frame, "more") > 0)
			fprintf(show->out, "    and %lld more, for which there was no room\n", number_of(frame, "more"));
	}
	if (number_of(show->result, "lost") > number_of(show->previous, "lost"))
		fprintf(show->out, "not traced, for there was no room: %lld frames\n",
			number_of(show->result, "lost") - number_of(show->previous, "lost"));
}

/* ---- again and again ---- */

json_t *trace_params(const struct invocation *inv, const json_t *previous)
{
	json_t *params = json_object();

	json_object_set_new(params, "port", json_string(inv->argv[0]));
	if (inv->count)
		json_object_set_new(params, "count", json_sprintf("%lu", inv->count));
	if (inv->named[NAMED_WAY])
		json_object_set_new(params, "way", json_string(inv->named[NAMED_WAY]));
	if (previous)
		json_object_set_new(params, "id", json_sprintf("%lld", number_of(previous, "id")));
	else if (inv->named[NAMED_ID])
		json_object_set_new(params, "id", json_string(inv->named[NAMED_ID]));
	return params;
}

bool trace_news(const json_t *result, const json_t *previous)
{
	return json_array_size(json_object_get(result, "frames")) || number_of(result, "lost") > number_of(previous, "lost");
}

bool trace_goes_on(const json_t *result)
{
	return !strcmp(text_of(result, "state"), "on");
}

bool trace_done(const json_t *result)
{
	return !strcmp(text_of(result, "state"), "done");
}

void trace_rest(const json_t *result)
{
	if (!json_array_size(json_object_get(result, "frames")))
		nanosleep(&(struct timespec){.tv_nsec = REST_NS}, NULL);
}
