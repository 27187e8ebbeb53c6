/* SPDX-License-Identifier: BSD-3-Clause */
/* The answers to what an operator sets while a daemon runs, for people. */
#include "show.h"
#include "field.h"
#include "table.h"

/* Who has asked for it knows that the link is down; that the other end does not know is news. */
void show_port_link(struct show *show)
{
	const char *name = json_string_value(json_object_get(show->result, "name"));
	const char *link = json_string_value(json_object_get(show->result, "link"));

	if (!name || !link)
		return;
	fprintf(show->out, "%s: link %s", name, link);
	if (json_is_false(json_object_get(show->result, "told")))
		fprintf(show->out, "; the other end cannot be told: it %s", *link == 'd' ? "sees a link on which nothing comes" :
				"has seen no change");
	fputc('\n', show->out);
}

void show_port_set(struct show *show)
{
	const char *spec = json_string_value(json_object_get(show->result, "spec"));

	fprintf(show->out, "%s\n", spec ? spec : "-");
}

void show_log_level(struct show *show)
{
	const char *level = json_string_value(json_object_get(show->result, "level"));

	fprintf(show->out, "%s\n", level ? level : "-");
}

void show_reload(struct show *show)
{
	static const char *const counts[] = {"added", "removed", "changed", "kept"};

	fputs("ports:", show->out);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		fprintf(show->out, "%s %lld %s", i ? "," : "", (long long)json_integer_value(json_object_get(show->result, counts[i])),
			counts[i]);
	fputc('\n', show->out);
}

void show_config(struct show *show)
{
	const json_t *lines = json_object_get(show->result, "lines"), *line;

	for (size_t i = 0; (line = json_array_get(lines, i)); i++)
		fprintf(show->out, "%s\n", json_string_value(line) ? json_string_value(line) : "");
}

/* Done is done. */
void show_nothing(struct show *show)
{
}

static void busy_cell(struct table *t, const json_t *of)
{
	const json_t *busy = json_object_get(of, "busy_percent");

	if (json_is_integer(busy))
		table_cell(t, "%lld", (long long)json_integer_value(busy));
	else
		table_cell(t, "-");
}

static void worker_row(struct table *t, const json_t *worker)
{
	const json_t *cpu = json_object_get(worker, "cpu");

	table_cell(t, "%lld", number_of(worker, "worker"));
	if (json_is_integer(cpu))
		table_cell(t, "%lld", (long long)json_integer_value(cpu));
	else
		table_cell(t, "-");
	busy_cell(t, worker);
	table_cell(t, "%lld", number_of(worker, "frames"));
	table_cell(t, "%lld", number_of(worker, "sleeps"));
}

static void queue_cell(struct table *t, const json_t *queue)
{
	const char *port = json_string_value(json_object_get(queue, "port"));

	table_cell(t, "%s %lld%s", port ? port : "-", number_of(queue, "queue"), json_is_true(json_object_get(queue, "kept")) ? ", kept" : "");
}

void show_worker_move(struct show *show)
{
	const char *name = json_string_value(json_object_get(show->result, "name"));
	long long first = number_of(show->result, "first_queue"), count = number_of(show->result, "queues");

	fprintf(show->out, "%s: ", name ? name : "-");
	if (count > 1)
		fprintf(show->out, "queues %lld to %lld are", first, first + count - 1);
	else
		fprintf(show->out, "queue %lld is", first);
	if (json_is_integer(json_object_get(show->result, "worker")))
		fprintf(show->out, " worker %lld's\n", number_of(show->result, "worker"));
	else
		fprintf(show->out, " any worker's\n");
}

/* A line a queue; whoever serves none has one all the same. */
void show_worker_list(struct show *show)
{
	const json_t *workers = json_object_get(show->result, "workers"), *worker;
	struct table *t = table_new("WORKER|>CPU|>BUSY%|>FRAMES|>SLEEPS|SERVES (PORT, QUEUE)");
	size_t i;

	for (i = 0; (worker = json_array_get(workers, i)); i++) {
		const json_t *queues = json_object_get(worker, "queues");

		for (size_t q = 0; q < json_array_size(queues); q++) {
			worker_row(t, worker);
			queue_cell(t, json_array_get(queues, q));
		}
		if (json_array_size(queues))
			continue;
		worker_row(t, worker);
		table_cell(t, "-");
	}
	show->fixed_lines = 1;
	table_within(t, show->columns);
	table_print(t, show->out);
	if (json_is_false(json_object_get(show->result, "balance")))
		fprintf(show->out, "queues stay with their workers (worker-balance off)\n");
}
