/* SPDX-License-Identifier: BSD-3-Clause */
/* Each command's answer, for people. */
#include "show.h"
#include "field.h"
#include "histogram.h"
#include "show_port.h"
#include "table.h"
#include <string.h>

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

#define USAGE_HELP_COLUMN 30
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
	static const char *const counters[] = {"cpu", "frames", "loops", "busy_loops", "sleeps", "wakeups", "relieved"};
	struct table *t = table_new("WORKER|>CPU|>FRAMES|>LOOPS|>BUSY LOOPS|>SLEEPS|>WAKEUPS|>RELIEVED|>CYCLES/FRAME");
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

#define ALL_RATES_COLUMNS 176u /* with names that are not too long */

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

/* How long so many of the frames from the port stayed in the switch, of those sampled since the previous answer. */
static void latency_cell(struct table *t, const json_t *port, const json_t *before, double quantile)
{
	double ns = histogram_quantile(json_object_get(json_object_get(port, "histograms"), "latency_ns"),
				       json_object_get(json_object_get(before, "histograms"), "latency_ns"), quantile);

	if (!before || ns < 0)
		table_cell(t, "-");
	else
		table_cell(t, "%.1f", ns / 1e3);
}

static void rates_table(struct show *show, double seconds)
{
	struct table *t =
		table_new("PORT|STATE|>RX FRAMES/S|>RX MBIT/S|>RX DROPS/S|>TX FRAMES/S|>TX MBIT/S|"
			  ">TX DROPS/S|>P50 US|>P99 US|>RX FRAMES|>RX BYTES|>TX FRAMES|>TX BYTES|>RX DROPS|>TX DROPS");
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
		latency_cell(t, port, before, 0.5);
		latency_cell(t, port, before, 0.99);
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

/* What is longer than its column has its help on the next line. */
static void usage_row(FILE *out, const struct ctl_command *command)
{
	int width = fprintf(out, "  %s%s%s%s", command->words, *command->params ? " " : "", command->params,
			    command->flags & CTL_WATCH ? " [--watch]" : "");

	if (width >= USAGE_HELP_COLUMN) {
		fputc('\n', out);
		width = 0;
	}
	fprintf(out, "%*s%s\n", USAGE_HELP_COLUMN - width, "", command->help);
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
		"      --timeout S      give up an answer that is not whole after so long (15)\n"
		"      --root FOLDER    where pci commands find /sys and /dev (/)\n"
		"      --version        print vireoctl's version\n"
		"  -h, --help           print this\n\n",
		daemon);
	for (size_t i = 0; i < count; i++)
		usage_row(out, &commands[i]);
}

void show_help(struct show *show)
{
	show_usage(show->out, show->daemon, show->commands, show->command_count);
}
