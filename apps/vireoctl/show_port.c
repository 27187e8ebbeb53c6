/* SPDX-License-Identifier: BSD-3-Clause */
#include "show_port.h"
#include "field.h"
#include "histogram.h"
#include "show.h"
#include "table.h"
#include <string.h>

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
	static const char *const counters[] = {"frames",   "bytes",	      "kicks", "signals", "no_buffer",
					       "too_long", "offload_refused", "filtered",
					       "disabled", "runt",	      "bad_offload",
					       "error"};
	struct table *t =
		table_new("QUEUE|RUNNING|>FRAMES|>BYTES|>KICKS|>SIGNALS|>NO BUFFER|>TOO LONG|>OFFLOAD REFUSED|>FILTERED|>DISABLED|"
			  ">RUNT|>BAD OFFLOAD|>ERROR");
	const json_t *queue;
	size_t i;

	for (i = 0; (queue = json_array_get(queues, i)); i++) {
		table_cell(t, "%s %lld", text_of(queue, "direction"), number_of(queue, "queue"));
		table_cell(t, "%s", json_is_true(json_object_get(queue, "running")) ? "yes" : "no");
		for (size_t c = 0; c < ARRAY_SIZE(counters); c++)
			number_cell(t, queue, counters[c]);
	}
	table_print(t, out);
}

static long long mib_of(const json_t *memory, const char *field)
{
	return number_of(memory, field) >> 20;
}

static void memory_details(const json_t *memory, FILE *out)
{
	fprintf(out, "\nguest memory: %lld MiB of at most %lld MiB, in %lld mappings of at most %lld",
		mib_of(memory, "mapped_bytes"), mib_of(memory, "mapped_max_bytes"),
		number_of(memory, "mappings"), number_of(memory, "mappings_max"));
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
			return number_of(ring, "size");
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

/* All rings of a direction have one size, but for peers that nobody has seen. */
static void rings_details(const json_t *session, FILE *out)
{
	const json_t *rings = json_object_get(session, "rings"), *regions = json_object_get(session, "memory_regions");

	fprintf(out, "\nring format %s, %zu rings run", text_of(session, "ring"), json_array_size(rings));
	if (json_array_size(rings))
		fprintf(out, ", rx size %lld, tx size %lld", ring_size(rings, "rx"), ring_size(rings, "tx"));
	if (json_is_array(regions))
		fprintf(out, "; memory regions: %zu", json_array_size(regions));
	if (!strcmp(text_of(session, "steering"), "rss"))
		fprintf(out, "; its driver chooses the receive queues (RSS)");
	if (json_array_size(json_object_get(session, "hash_types")))
		names_line("hashes", json_object_get(session, "hash_types"), out);
}

/* What is agreed on with the peer, or with a card or an interface, which have no time at which they came. */
static void session_details(const json_t *session, FILE *out)
{
	if (json_object_get(session, "connected_s"))
		fprintf(out, "\nconnected for %lld s", number_of(session, "connected_s"));
	if (json_object_get(session, "peer_command"))
		fprintf(out, ", by '%s'", text_of(session, "peer_command"));
	if (json_object_get(session, "driver"))
		fprintf(out, "\ndriver %s", text_of(session, "driver"));
	if (json_object_get(session, "interface"))
		fprintf(out, ", interface %s", text_of(session, "interface"));
	if (json_object_get(session, "ring"))
		rings_details(session, out);
	names_line("features", json_object_get(session, "features"), out);
}

static void guard_details(const json_t *guard, FILE *out)
{
	static const char *const switches[] = {"arp", "dhcp", "ra"};
	const json_t *addresses = json_object_get(guard, "ip");
	bool any = json_is_array(addresses);

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		any |= json_is_true(json_object_get(guard, switches[i]));
	if (!any)
		return;
	fprintf(out, "\nguarded:");
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		if (json_is_true(json_object_get(guard, switches[i])))
			fprintf(out, " %s", switches[i]);
	if (json_is_array(addresses))
		names_line("may have", addresses, out);
}

/* As "rate-in 125000 a second, burst 65536". */
static void limits_details(json_t *limits, FILE *out)
{
	const char *between = "\nlimits: ";

	for (void *it = json_object_iter(limits); it; it = json_object_iter_next(limits, it)) {
		const json_t *limit = json_object_iter_value(it), *burst = json_object_get(limit, "burst");

		fprintf(out, "%s%s %lld a second", between, json_object_iter_key(it), number_of(limit, "per_second"));
		if (json_is_integer(burst))
			fprintf(out, ", burst %lld", (long long)json_integer_value(burst));
		between = "; ";
	}
}

static void learning_sync_details(const json_t *sync, FILE *out)
{
	if (json_is_string(json_object_get(sync, "bridge")))
		fprintf(out, "\nlearning-sync: bridge %s has %lld addresses, of %lld at most%s", text_of(sync, "bridge"), number_of(sync, "told"),
			number_of(sync, "max"), json_is_true(json_object_get(sync, "refused")) ? ": there are more" : "");
	else
		fprintf(out, "\nlearning-sync: it is no port of a bridge");
}

static void samples_details(const json_t *histograms, FILE *out)
{
	const json_t *latency = json_object_get(histograms, "latency_ns"), *bursts = json_object_get(histograms, "burst_frames");

	if (histogram_count(latency, NULL) <= 0 || histogram_count(bursts, NULL) <= 0)
		return;
	fprintf(out, "\nlatency: half of the frames from the port within %.1f us, 99 %% within %.1f us; %.1f frames a burst (%lld bursts sampled)",
		histogram_quantile(latency, NULL, 0.5) / 1e3, histogram_quantile(latency, NULL, 0.99) / 1e3, histogram_mean(bursts),
		histogram_count(bursts, NULL));
}

void port_details(const json_t *port, FILE *out)
{
	const json_t *offloads = json_object_get(port, "offloads"), *offload,
		     *mtu = json_object_get(port, "mtu"), *memory = json_object_get(port, "memory");
	size_t i;

	fprintf(out, "port %s: %s:%s", text_of(port, "name"), text_of(port, "type"),
		text_of(port, "address"));
	fprintf(out, "\nstate %s", text_of(port, "state"));
	if (json_object_get(port, "peer_pid"))
		fprintf(out, " by process %lld", number_of(port, "peer_pid"));
	if (!strcmp(text_of(port, "link"), "down"))
		fprintf(out, ", link down (port link)");
	fprintf(out, ", queues %lld, mtu ", number_of(port, "queues"));
	if (json_is_integer(mtu))
		fprintf(out, "%lld", (long long)json_integer_value(mtu));
	else
		fprintf(out, "not limited");
	if (json_object_get(port, "mode"))
		fprintf(out, ", mode %s", text_of(port, "mode"));
	if (json_is_object(json_object_get(port, "speed")))
		fprintf(out, ", %lld Mbit/s %s duplex", number_of(json_object_get(port, "speed"), "mbits"),
			text_of(json_object_get(port, "speed"), "duplex"));
	fprintf(out, "\noffloads taken:%s", json_array_size(offloads) ? "" : " none");
	for (i = 0; (offload = json_array_get(offloads, i)); i++)
		fprintf(out, " %s", json_string_value(offload));
	if (json_is_object(json_object_get(port, "session")))
		session_details(json_object_get(port, "session"), out);
	if (json_is_object(json_object_get(port, "learning_sync")))
		learning_sync_details(json_object_get(port, "learning_sync"), out);
	if (json_is_true(json_object_get(port, "isolated")))
		fprintf(out, "\nisolated: hears only of ports that are not");
	if (json_is_object(json_object_get(port, "vlan")))
		vlan_details(json_object_get(port, "vlan"), out);
	guard_details(json_object_get(port, "guard"), out);
	limits_details(json_object_get(port, "limits"), out);
	if (json_is_object(json_object_get(port, "retry")))
		fprintf(out, "\nretry: %lld looks for buffers, one each %lld us", number_of(json_object_get(port, "retry"), "looks"),
			number_of(json_object_get(port, "retry"), "delay_us"));
	if (memory)
		memory_details(memory, out);
	samples_details(json_object_get(port, "histograms"), out);
	fprintf(out, "\n\n");
	counters_table(json_object_get(port, "counters"), out);
	fputc('\n', out);
	queues_table(json_object_get(port, "queue_counters"), out);
}

void show_port_show(struct show *show)
{
	port_details(json_object_get(show->result, "port"), show->out);
}

