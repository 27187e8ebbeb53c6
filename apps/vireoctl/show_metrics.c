/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All counters as OpenMetrics text (the exposition format 1.0), for Prometheus and what speaks its language. The answer of "stats" is a
 * list of objects for each sort of thing that a daemon has; each number in them is a sample, whose family is named after the sort and the
 * key. Samples of a family stand together, so each key is looked for in all objects of its list.
 */
#include "show.h"
#include "base/util.h"
#include <stdlib.h>
#include <string.h>

/* A list of the answer, or one object; `label` is the key that tells its objects apart. */
struct sort {
	const char *list, *prefix, *label, *label_key;
};

static const struct sort sorts[] = {
	{"ports", "vireo_port", "port", "name"},
	{"fdb", "vireo_fdb", NULL, NULL},
	{"disks", "vireo_disk", "disk", "name"},
	{"luns", "vireo_lun", "lun", "name"},
	{"exports", "vireo_export", "export", "name"},
	{"workers", "vireo_worker", "worker", "worker"},
};

/* What goes up and down; all other numbers only go up while the daemon lives. */
static const char *const gauges[] = {
	"mapped_bytes", "mapped_max_bytes", "mappings", "mappings_max", "made_bytes", "made_max_bytes", "size_bytes", "exports", "writers",
	"logical_block_bytes", "physical_block_bytes", "queues", "mtu", "entries", "capacity", "static", "cpu", "peer_pid", "busy_percent",
};

static bool is_gauge(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++)
		if (!strcmp(key, gauges[i]))
			return true;
	return false;
}

struct metrics {
	FILE *out;
	const struct sort *sort;
	bool plain; /* the text format that came before OpenMetrics: a family is named as its samples are, and units have no line */
	const char *part; /* of the family's name, between the sort and the key: "_queue" or "" */
};

/* `text` is a daemon's, or who says that he is one; NULL: nothing. */
static void put_text(FILE *out, const char *name, const char *text)
{
	fprintf(out, "%s=\"", name);
	for (; text && *text; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', out);
		if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void put_label(FILE *out, const char *name, const json_t *value)
{
	if (json_is_integer(value))
		fprintf(out, "%s=\"%lld\"", name, (long long)json_integer_value(value));
	else
		put_text(out, name, json_string_value(value));
}

/* {port="vm1"} and what tells parts of it apart; nothing if there is nothing. */
static void put_labels(const struct metrics *m, const json_t *object, const json_t *queue, const char *name, const char *value)
{
	bool first = true;

	if (!m->sort->label && !queue && !name)
		return;
	fputc('{', m->out);
	if (m->sort->label) {
		put_label(m->out, m->sort->label, json_object_get(object, m->sort->label_key));
		first = false;
	}
	if (queue) {
		fputs(first ? "" : ",", m->out);
		put_label(m->out, "direction", json_object_get(queue, "direction"));
		fputc(',', m->out);
		put_label(m->out, "queue", json_object_get(queue, "queue"));
		first = false;
	}
	if (name) {
		fputs(first ? "" : ",", m->out);
		put_text(m->out, name, value);
	}
	fputc('}', m->out);
}

static void put_type(const struct metrics *m, const char *key, const char *type)
{
	const char *total = m->plain && !strcmp(type, "counter") ? "_total" : "";

	fprintf(m->out, "# HELP %s%s_%s%s %s of %s%s, as the daemon's control protocol has it.\n# TYPE %s%s_%s%s %s\n", m->sort->prefix, m->part, key,
		total, key, *m->part ? "queues of " : "", m->sort->list, m->sort->prefix, m->part, key, total, type);
}

static void put_sample(const struct metrics *m, const char *key, const json_t *object, const json_t *queue, const json_t *value)
{
	fprintf(m->out, "%s%s_%s%s", m->sort->prefix, m->part, key, is_gauge(key) ? "" : "_total");
	put_labels(m, object, queue, NULL, NULL);
	fprintf(m->out, " %lld\n", (long long)json_integer_value(value));
}

/* Is it a number that is to be told? What tells objects apart is none, and no daemon of ours has a key that a family's name cannot have. */
static bool told(const struct metrics *m, const char *key, const json_t *value)
{
	if (!json_is_integer(value) || key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_")])
		return false;
	return (!m->sort->label_key || strcmp(key, m->sort->label_key) != 0) && strcmp(key, "queue") != 0;
}

/* An object's own numbers, those of an object `inside` it, or those of each queue in the list `inside`. */
static const json_t *numbers_of(const json_t *object, const char *inside, size_t queue)
{
	const json_t *part = inside ? json_object_get(object, inside) : object;

	return json_is_array(part) ? json_array_get(part, queue) : queue ? NULL : part;
}

/* All samples of one family. */
static void put_family(const struct metrics *m, const json_t *objects, const char *inside, const char *key)
{
	const json_t *object, *numbers;

	put_type(m, key, is_gauge(key) ? "gauge" : "counter");
	for (size_t i = 0; (object = json_array_get(objects, i)); i++)
		for (size_t queue = 0; (numbers = numbers_of(object, inside, queue)); queue++)
			if (told(m, key, json_object_get(numbers, key)))
				put_sample(m, key, object, *m->part ? numbers : NULL, json_object_get(numbers, key));
}

/* The keys of all of them, each once: what one object has, another may lack. `but`: keys that stand in that object, too, are told there. */
static void put_families(const struct metrics *m, const json_t *objects, const char *inside, const char *but)
{
	json_t *seen = json_object(), *value;
	const json_t *object, *numbers;
	const char *key;

	for (size_t i = 0; (object = json_array_get(objects, i)); i++) {
		for (size_t queue = 0; (numbers = numbers_of(object, inside, queue)); queue++) {
			json_object_foreach((json_t *)(uintptr_t)numbers, key, value) {
				bool elsewhere = but && json_object_get(json_object_get(object, but), key);

				if (told(m, key, value) && !elsewhere && !json_object_get(seen, key)) {
					json_object_set_new(seen, key, json_true());
					put_family(m, objects, inside, key);
				}
			}
		}
	}
	json_decref(seen);
}

/* The one state that each of them is in, and its link. */
static void put_states(const struct metrics *m, const json_t *objects)
{
	const json_t *object;

	if (!json_object_get(json_array_get(objects, 0), "state"))
		return;
	put_type(m, "state", "gauge");
	for (size_t i = 0; (object = json_array_get(objects, i)); i++) {
		fprintf(m->out, "%s_state", m->sort->prefix);
		put_labels(m, object, NULL, "state", json_string_value(json_object_get(object, "state")));
		fputs(" 1\n", m->out);
	}
	if (!json_object_get(json_array_get(objects, 0), "link"))
		return;
	put_type(m, "link_up", "gauge");
	for (size_t i = 0; (object = json_array_get(objects, i)); i++) {
		const char *link = json_string_value(json_object_get(object, "link"));

		fprintf(m->out, "%s_link_up", m->sort->prefix);
		put_labels(m, object, NULL, NULL, NULL);
		fprintf(m->out, " %d\n", link && !strcmp(link, "up"));
	}
}

static void put_latency(const struct metrics *m, const json_t *objects)
{
	static const struct {
		const char *key, *quantile;
	} quantiles[] = {{"p50_ns", "0.5"}, {"p99_ns", "0.99"}, {"max_ns", "1"}};
	const json_t *object;
	const char *op;
	json_t *of_op;
	bool typed = false;

	for (size_t i = 0; (object = json_array_get(objects, i)); i++) {
		json_object_foreach(json_object_get(object, "latency"), op, of_op) {
			if (!typed)
				fprintf(m->out, "# HELP %s_latency_seconds How long requests have taken.\n# TYPE %s_latency_seconds summary\n",
					m->sort->prefix, m->sort->prefix);
			if (!typed && !m->plain)
				fprintf(m->out, "# UNIT %s_latency_seconds seconds\n", m->sort->prefix);
			typed = true;
			for (size_t q = 0; q < ARRAY_SIZE(quantiles); q++) {
				fprintf(m->out, "%s_latency_seconds{", m->sort->prefix);
				put_label(m->out, m->sort->label, json_object_get(object, m->sort->label_key));
				fputc(',', m->out);
				put_text(m->out, "op", op);
				fprintf(m->out, ",quantile=\"%s\"} %.9f\n", quantiles[q].quantile,
					(double)json_integer_value(json_object_get(of_op, quantiles[q].key)) / 1e9);
			}
			fprintf(m->out, "%s_latency_seconds_count", m->sort->prefix);
			put_labels(m, object, NULL, "op", op);
			fprintf(m->out, " %lld\n", (long long)json_integer_value(json_object_get(of_op, "count")));
		}
	}
}

/* A family of histograms: `base` is the family's name but for the sort; values are told in units of `unit` (1e9: nanoseconds as seconds). */
struct histogram_family {
	const char *key, *base, *unit_name, *help;
	double unit;
};

static const struct histogram_family histogram_families[] = {
	{"latency_ns", "latency_seconds", "seconds", "How long frames from the port have stayed in the switch, of one burst in 64 or so.", 1e9},
	{"burst_frames", "burst_frames", "frames", "How many frames have come from the port at once, of one burst in 64 or so.", 1},
};

static void put_bucket(const struct metrics *m, const struct histogram_family *family, const json_t *object, const char *le, long long below)
{
	fprintf(m->out, "%s_%s_bucket", m->sort->prefix, family->base);
	put_labels(m, object, NULL, "le", le);
	fprintf(m->out, " %lld\n", below);
}

static void put_histogram(const struct metrics *m, const struct histogram_family *family, const json_t *object, const json_t *histogram)
{
	const json_t *bounds = json_object_get(histogram, "le"), *counts = json_object_get(histogram, "counts"), *count;
	long long below = 0;
	char le[32];

	for (size_t i = 0; (count = json_array_get(counts, i)); i++) {
		below += (long long)json_integer_value(count);
		snprintf(le, sizeof(le), family->unit > 1 ? "%.9g" : "%.1f", (double)json_integer_value(json_array_get(bounds, i)) / family->unit);
		put_bucket(m, family, object, i < json_array_size(bounds) ? le : "+Inf", below);
	}
	fprintf(m->out, "%s_%s_count", m->sort->prefix, family->base);
	put_labels(m, object, NULL, NULL, NULL);
	fprintf(m->out, " %lld\n%s_%s_sum", below, m->sort->prefix, family->base);
	put_labels(m, object, NULL, NULL, NULL);
	fprintf(m->out, " %.9f\n", (double)json_integer_value(json_object_get(histogram, "sum")) / family->unit);
}

static void put_histograms(const struct metrics *m, const json_t *objects, const struct histogram_family *family)
{
	const json_t *object, *histogram;
	bool typed = false;

	for (size_t i = 0; (object = json_array_get(objects, i)); i++) {
		histogram = json_object_get(json_object_get(object, "histograms"), family->key);
		if (!json_array_size(json_object_get(histogram, "le")))
			continue;
		if (!typed)
			fprintf(m->out, "# HELP %s_%s %s\n# TYPE %s_%s histogram\n", m->sort->prefix, family->base, family->help,
				m->sort->prefix, family->base);
		if (!typed && !m->plain)
			fprintf(m->out, "# UNIT %s_%s %s\n", m->sort->prefix, family->base, family->unit_name);
		typed = true;
		put_histogram(m, family, object, histogram);
	}
}

void metrics_print(const json_t *stats, bool plain, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++) {
		struct metrics m = {out, &sorts[i], plain, ""}, of_queues = {out, &sorts[i], plain, "_queue"};
		json_t *part = json_object_get(stats, sorts[i].list);
		json_t *objects = json_is_array(part) ? json_incref(part) : part ? json_pack("[O]", part) : NULL;

		if (objects && json_array_size(objects)) {
			put_states(&m, objects);
			put_families(&m, objects, NULL, "counters");
			put_families(&m, objects, "counters", NULL);
			put_families(&m, objects, "memory", NULL);
			put_families(&of_queues, objects, "queue_counters", NULL);
			put_latency(&m, objects);
			for (size_t f = 0; f < ARRAY_SIZE(histogram_families); f++)
				put_histograms(&m, objects, &histogram_families[f]);
		}
		json_decref(objects);
	}
	if (!plain)
		fputs("# EOF\n", out);
}

void show_metrics(struct show *show)
{
	metrics_print(show->result, false, show->out);
}
