/* SPDX-License-Identifier: BSD-3-Clause */
/* Each command's answer, for people. */
#include "show.h"
#include "table.h"
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* "-" for null or nothing. */
static void number_cell(struct table *t, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		table_cell(t, "%lld", (long long)json_integer_value(value));
	else
		table_cell(t, "-");
}

static const char *state_of(const json_t *port)
{
	return !strcmp(text_of(port, "link"), "down") ? "link down" : text_of(port, "state");
}

static void port_cells(struct table *t, const json_t *port)
{
	static const char *const counters[] = {"rx_frames", "rx_bytes", "rx_drops",
					       "tx_frames", "tx_bytes", "tx_drops"};

	table_cell(t, "%s", text_of(port, "name"));
	table_cell(t, "%s", text_of(port, "type"));
	table_cell(t, "%s", state_of(port));
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		number_cell(t, port, counters[i]);
}

#define PORT_HEADINGS "PORT|TYPE|STATE|>RX FRAMES|>RX BYTES|>RX DROPS|>TX FRAMES|>TX BYTES|>TX DROPS"

void show_port_list(struct show *show)
{
	struct table *t = table_new(PORT_HEADINGS "|ADDRESS");
	const json_t *port;
	size_t i;

	for (i = 0; (port = json_array_get(json_object_get(show->result, "ports"), i)); i++) {
		port_cells(t, port);
		table_cell(t, "%s", text_of(port, "address"));
	}
	show->fixed_lines = 1;
	table_within(t, show->columns);
	table_print(t, show->out);
}

void show_port_add(struct show *show)
{
	fprintf(show->out, "%s\n", text_of(show->result, "name"));
}

void show_port_remove(struct show *show)
{
}

/*
 * All integers of an object, a line each; zeroes of drop reasons too: a reader must not guess what was
 * counted.
 */
static void counters_table(json_t *counters, FILE *out)
{
	struct table *t = table_new("COUNTER|>VALUE");
	const json_t *value;
	const char *key;

	for (void *it = json_object_iter(counters); it; it = json_object_iter_next(counters, it)) {
		key = json_object_iter_key(it);
		value = json_object_iter_value(it);
		table_cell(t, "%s", key);
		table_cell(t, "%lld", (long long)json_integer_value(value));
	}
	table_print(t, out);
}

static void queues_table(const json_t *queues, FILE *out)
{
	static const char *const counters[] = {"frames",   "bytes",	      "no_buffer",
					       "too_long", "offload_refused", "filtered",
					       "disabled", "runt",	      "bad_offload",
					       "error"};
	struct table *t =
		table_new("QUEUE|RUNNING|>FRAMES|>BYTES|>NO BUFFER|>TOO LONG|>OFFLOAD REFUSED|>FILTERED|>DISABLED|"
			  ">RUNT|>BAD OFFLOAD|>ERROR");
	const json_t *queue;
	size_t i;

	for (i = 0; (queue = json_array_get(queues, i)); i++) {
		table_cell(t, "%s %lld", text_of(queue, "direction"), (long long)number_of(queue, "queue"));
		table_cell(t, "%s", json_is_true(json_object_get(queue, "running")) ? "yes" : "no");
		for (size_t c = 0; c < ARRAY_SIZE(counters); c++)
			number_cell(t, queue, counters[c]);
	}
	table_print(t, out);
}

static long long mib_of(const json_t *memory, const char *field)
{
	return (long long)number_of(memory, field) >> 20;
}

static void memory_details(const json_t *memory, FILE *out)
{
	fprintf(out, "\nguest memory: %lld MiB of at most %lld MiB, in %lld mappings of at most %lld",
		mib_of(memory, "mapped_bytes"), mib_of(memory, "mapped_max_bytes"),
		(long long)number_of(memory, "mappings"), (long long)number_of(memory, "mappings_max"));
	if (json_is_integer(json_object_get(memory, "made_max_bytes")))
		fprintf(out, "; %lld MiB of at most %lld MiB made here", mib_of(memory, "made_bytes"),
			mib_of(memory, "made_max_bytes"));
}

static void vlan_details(const json_t *vlan, FILE *out)
{
	const json_t *own = json_object_get(vlan, "untagged"), *range;
	const json_t *tagged = json_object_get(vlan, "tagged");
	size_t i;

	fprintf(out, "\nvlan:");
	if (json_is_integer(own))
		fprintf(out, " %lld %s", (long long)json_integer_value(own),
			json_is_true(json_object_get(vlan, "tunnel")) ? "for all frames, whatever their tags" : "without a tag");
	for (i = 0; (range = json_array_get(tagged, i)); i++)
		fprintf(out, "%s%s", i ? " " : json_is_integer(own) ? ", tagged " : " tagged ", json_string_value(range));
	if (i)
		fprintf(out, " (%s)", text_of(vlan, "tag"));
}

static long long ring_size(const json_t *rings, const char *direction)
{
	const json_t *ring;
	size_t i;

	for (i = 0; (ring = json_array_get(rings, i)); i++)
		if (!strcmp(text_of(ring, "direction"), direction))
			return (long long)number_of(ring, "size");
	return 0;
}

static void names_line(const char *heading, const json_t *names, FILE *out)
{
	const json_t *name;
	size_t i;

	fprintf(out, "\n%s:%s", heading, json_array_size(names) ? "" : " none");
	for (i = 0; (name = json_array_get(names, i)); i++)
		fprintf(out, " %s", json_is_string(name) ? json_string_value(name) : "-");
}

/* What is agreed on with the peer. All rings of a direction have one size, but for peers that nobody has seen. */
static void session_details(const json_t *session, FILE *out)
{
	const json_t *rings = json_object_get(session, "rings"), *regions = json_object_get(session, "memory_regions");

	fprintf(out, "\nconnected for %lld s", (long long)number_of(session, "connected_s"));
	if (json_object_get(session, "peer_command"))
		fprintf(out, ", by '%s'", text_of(session, "peer_command"));
	fprintf(out, "\nring format %s, %zu rings run", text_of(session, "ring"), json_array_size(rings));
	if (json_array_size(rings))
		fprintf(out, ", rx size %lld, tx size %lld", ring_size(rings, "rx"), ring_size(rings, "tx"));
	if (json_is_array(regions))
		fprintf(out, "; memory regions: %zu", json_array_size(regions));
	names_line("features", json_object_get(session, "features"), out);
}

static void port_details(const json_t *port, FILE *out)
{
	const json_t *offloads = json_object_get(port, "offloads"), *offload,
		     *mtu = json_object_get(port, "mtu"), *memory = json_object_get(port, "memory");
	size_t i;

	fprintf(out, "port %s: %s:%s", text_of(port, "name"), text_of(port, "type"),
		text_of(port, "address"));
	fprintf(out, "\nstate %s", text_of(port, "state"));
	if (json_object_get(port, "peer_pid"))
		fprintf(out, " by process %lld", (long long)number_of(port, "peer_pid"));
	if (!strcmp(text_of(port, "link"), "down"))
		fprintf(out, ", link down (port link)");
	fprintf(out, ", queues %lld, mtu ", (long long)number_of(port, "queues"));
	if (json_is_integer(mtu))
		fprintf(out, "%lld", (long long)json_integer_value(mtu));
	else
		fprintf(out, "not limited");
	if (json_object_get(port, "mode"))
		fprintf(out, ", mode %s", text_of(port, "mode"));
	fprintf(out, "\noffloads taken:%s", json_array_size(offloads) ? "" : " none");
	for (i = 0; (offload = json_array_get(offloads, i)); i++)
		fprintf(out, " %s", json_string_value(offload));
	if (json_is_object(json_object_get(port, "session")))
		session_details(json_object_get(port, "session"), out);
	if (json_is_true(json_object_get(port, "isolated")))
		fprintf(out, "\nisolated: hears only of ports that are not");
	if (json_is_object(json_object_get(port, "vlan")))
		vlan_details(json_object_get(port, "vlan"), out);
	if (memory)
		memory_details(memory, out);
	fprintf(out, "\n\n");
	counters_table(json_object_get(port, "counters"), out);
	fputc('\n', out);
	queues_table(json_object_get(port, "queue_counters"), out);
}

void show_port_show(struct show *show)
{
	port_details(json_object_get(show->result, "port"), show->out);
}

void show_fdb_show(struct show *show)
{
	const json_t *entries = json_object_get(show->result, "entries"), *entry;
	json_int_t hidden = number_of(show->result, "total") - (json_int_t)json_array_size(entries);
	struct table *t = table_new("ADDRESS|>VLAN|PORT|>AGE S");
	size_t i;

	for (i = 0; (entry = json_array_get(entries, i)); i++) {
		table_cell(t, "%s", text_of(entry, "mac"));
		if (number_of(entry, "vlan"))
			number_cell(t, entry, "vlan");
		else
			table_cell(t, "-");
		table_cell(t, "%s", text_of(entry, "port"));
		if (json_is_true(json_object_get(entry, "static")))
			table_cell(t, "static");
		else
			number_cell(t, entry, "age_s");
	}
	show->fixed_lines = 1;
	table_within(t, show->columns);
	table_print(t, show->out);
	if (hidden > 0)
		fprintf(show->out, "and %lld more\n", (long long)hidden);
}

void show_fdb_flush(struct show *show)
{
}

/* What a frame has cost on average, in cycles. */
static void cost_cell(struct table *t, const json_t *worker)
{
	double frames = (double)number_of(worker, "frames");

	if (frames > 0)
		table_cell(t, "%.1f", (double)number_of(worker, "busy_cycles") / frames);
	else
		table_cell(t, "-");
}

static void workers_table(const json_t *workers, FILE *out)
{
	static const char *const counters[] = {"cpu", "frames", "loops", "busy_loops", "sleeps", "wakeups"};
	struct table *t = table_new("WORKER|>CPU|>FRAMES|>LOOPS|>BUSY LOOPS|>SLEEPS|>WAKEUPS|>CYCLES/FRAME");
	const json_t *worker;
	size_t i;

	for (i = 0; (worker = json_array_get(workers, i)); i++) {
		table_cell(t, "%lld", (long long)number_of(worker, "worker"));
		for (size_t c = 0; c < ARRAY_SIZE(counters); c++)
			number_cell(t, worker, counters[c]);
		cost_cell(t, worker);
	}
	table_print(t, out);
}

static void fdb_line(const json_t *fdb, FILE *out)
{
	fprintf(out,
		"fdb: %lld of %lld entries, learned %lld, moved %lld, aged %lld, evicted %lld, refused "
		"%lld\n",
		(long long)number_of(fdb, "entries"), (long long)number_of(fdb, "capacity"),
		(long long)number_of(fdb, "learned"), (long long)number_of(fdb, "moved"),
		(long long)number_of(fdb, "aged"), (long long)number_of(fdb, "evicted"),
		(long long)number_of(fdb, "refused"));
}

void show_stats(struct show *show)
{
	const json_t *port;
	size_t i;

	for (i = 0; (port = json_array_get(json_object_get(show->result, "ports"), i)); i++) {
		port_details(port, show->out);
		fputc('\n', show->out);
	}
	workers_table(json_object_get(show->result, "workers"), show->out);
	fputc('\n', show->out);
	fdb_line(json_object_get(show->result, "fdb"), show->out);
}

/* ---- top ---- */

#define ALL_RATES_COLUMNS 160u /* with names that are not too long */

static const json_t *port_before(const json_t *previous, const char *name)
{
	const json_t *port;
	size_t i;

	for (i = 0; (port = json_array_get(json_object_get(previous, "ports"), i)); i++)
		if (!strcmp(text_of(port, "name"), name))
			return port;
	return NULL;
}

/* Per second since the previous answer; a port that is new, or was made anew, has no rate yet. */
static void rate_cell(struct table *t, const json_t *port, const json_t *before, const char *key, double unit,
		      double seconds)
{
	json_int_t now = number_of(port, key), then = number_of(before, key);

	if (!before || seconds <= 0 || now < then)
		table_cell(t, "-");
	else
		table_cell(t, "%.*f", unit > 1 ? 1 : 0,
			   (double)(now - then) * (unit > 1 ? 8 : 1) / seconds / unit);
}

static void rates_table(struct show *show, double seconds)
{
	struct table *t =
		table_new("PORT|STATE|>RX FRAMES/S|>RX MBIT/S|>RX DROPS/S|>TX FRAMES/S|>TX MBIT/S|"
			  ">TX DROPS/S|>RX FRAMES|>RX BYTES|>TX FRAMES|>TX BYTES|>RX DROPS|>TX DROPS");
	static const char *const totals[] = {"rx_frames", "rx_bytes", "tx_frames",
					     "tx_bytes",  "rx_drops", "tx_drops"};
	const json_t *port;
	size_t i;

	for (i = 0; (port = json_array_get(json_object_get(show->result, "ports"), i)); i++) {
		const json_t *before = port_before(show->previous, text_of(port, "name"));

		table_cell(t, "%s", text_of(port, "name"));
		table_cell(t, "%s", state_of(port));
		rate_cell(t, port, before, "rx_frames", 1, seconds);
		rate_cell(t, port, before, "rx_bytes", 1e6, seconds);
		rate_cell(t, port, before, "rx_drops", 1, seconds);
		rate_cell(t, port, before, "tx_frames", 1, seconds);
		rate_cell(t, port, before, "tx_bytes", 1e6, seconds);
		rate_cell(t, port, before, "tx_drops", 1, seconds);
		for (size_t c = 0; c < ARRAY_SIZE(totals); c++)
			number_cell(t, port, totals[c]);
	}
	table_within(t, show->columns);
	table_print(t, show->out);
}

static void add_rates(double *sum, const json_t *port, const json_t *before, const char *key)
{
	json_int_t now = number_of(port, key), then = number_of(before, key);

	*sum += now < then ? 0 : (double)(now - then);
}

/* What somebody looks at whose window is small: a line is a port, and says what goes through and whether something is lost. */
static void few_rates_table(struct show *show, double seconds)
{
	struct table *t = table_new("PORT|STATE|>RX FR/S|>RX MBIT/S|>TX FR/S|>TX MBIT/S|>DROPS/S");
	const json_t *port;
	size_t i;

	for (i = 0; (port = json_array_get(json_object_get(show->result, "ports"), i)); i++) {
		const json_t *before = port_before(show->previous, text_of(port, "name"));
		double drops = 0;

		table_cell(t, "%s", text_of(port, "name"));
		table_cell(t, "%s", state_of(port));
		rate_cell(t, port, before, "rx_frames", 1, seconds);
		rate_cell(t, port, before, "rx_bytes", 1e6, seconds);
		rate_cell(t, port, before, "tx_frames", 1, seconds);
		rate_cell(t, port, before, "tx_bytes", 1e6, seconds);
		add_rates(&drops, port, before, "rx_drops");
		add_rates(&drops, port, before, "tx_drops");
		if (before && seconds > 0)
			table_cell(t, "%.0f", drops / seconds);
		else
			table_cell(t, "-");
	}
	table_within(t, show->columns);
	table_print(t, show->out);
}

void show_top(struct show *show)
{
	double seconds = 0;

	if (show->previous)
		seconds =
			(double)(number_of(show->result, "time_us") - number_of(show->previous, "time_us")) /
			1e6;
	fdb_line(json_object_get(show->result, "fdb"), show->out);
	fputc('\n', show->out);
	show->fixed_lines = 3;
	if (show->columns && show->columns < ALL_RATES_COLUMNS)
		few_rates_table(show, seconds);
	else
		rates_table(show, seconds);
}

/* ---- PCI functions of this machine ---- */

static void function_row(struct table *t, const json_t *function)
{
	table_cell(t, "%s", text_of(function, "address"));
	table_cell(t, "%s", text_of(function, "type"));
	table_cell(t, "%s", text_of(function, "driver"));
	table_cell(t, "%s", text_of(function, "node"));
	table_cell(t, "%s", text_of(function, "interface"));
	number_cell(t, function, "iommu_group");
}

#define FUNCTION_HEADINGS "ADDRESS|TYPE|DRIVER|NODE|INTERFACE|>IOMMU GROUP"

void show_pci_list(struct show *show)
{
	struct table *t = table_new(FUNCTION_HEADINGS);
	const json_t *function;
	size_t i;

	for (i = 0; (function = json_array_get(json_object_get(show->result, "functions"), i)); i++)
		function_row(t, function);
	table_print(t, show->out);
}

void show_pci_function(struct show *show)
{
	struct table *t = table_new(FUNCTION_HEADINGS);

	function_row(t, show->result);
	table_print(t, show->out);
}

/* ---- version and help ---- */

void show_version(struct show *show)
{
	fprintf(show->out, "vireoctl %s\n%s %s\n", VIREO_VERSION, text_of(show->result, "daemon"),
		text_of(show->result, "version"));
}

void show_usage(FILE *out, const char *daemon, const struct ctl_command *commands, size_t count)
{
	fprintf(out,
		"Usage: vireoctl [OPTION]... COMMAND\n"
		"Controls vireo-switchd, or another daemon.\n\n"
		"  -s, --socket SOCK    the daemon's control socket\n"
		"  -d, --daemon NAME    another daemon, which is asked for its commands (%s)\n"
		"      --json           print JSON\n"
		"      --watch          repeat the command\n"
		"      --interval S     the pause between repetitions (1)\n"
		"      --count N        end after N repetitions\n"
		"      --timeout S      give up an answer that is not whole after so long (10)\n"
		"      --root FOLDER    where pci commands find /sys and /dev (/)\n"
		"      --version        print vireoctl's version\n"
		"  -h, --help           print this\n\n",
		daemon);
	for (size_t i = 0; i < count; i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s%s%s%s", commands[i].words, *commands[i].params ? " " : "",
			 commands[i].params, commands[i].flags & CTL_WATCH ? " [--watch]" : "");
		fprintf(out, "  %-27s %s\n", text, commands[i].help);
	}
}

void show_help(struct show *show)
{
	show_usage(show->out, show->daemon, show->commands, show->command_count);
}
