/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"
#include "base/util.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Everything that is printed, computed in one place. */
struct report {
	uint64_t lost, framing_errors, header_violations, zero_buffer_counts;
	double seconds, sent_fps, sent_bps, received_fps, received_bps, lost_percent;
	const char *result;
};

static struct report report_of(const struct traffic *t)
{
	struct report r = {
		.framing_errors = t->to->stats.framing_errors + t->from->stats.framing_errors,
		.zero_buffer_counts = t->to->stats.zero_buffer_counts + t->from->stats.zero_buffer_counts,
		.header_violations = t->to->stats.header_violations + t->from->stats.header_violations,
		.seconds = (double)(t->end_ns - t->start_ns) / 1e9,
	};

	if (t->sent_frames > t->received.frames)
		r.lost = t->sent_frames - t->received.frames;
	if (t->sent_frames)
		r.lost_percent = 100.0 * (double)r.lost / (double)t->sent_frames;
	if (r.seconds > 0) {
		r.sent_fps = (double)t->sent_frames / r.seconds;
		r.sent_bps = (double)t->sent_bytes / r.seconds;
		r.received_fps = (double)t->received.frames / r.seconds;
		r.received_bps = (double)t->received.bytes / r.seconds;
	}
	r.result = t->gone || t->from->error || t->to->error ? "broken" : report_failed(t) ? "failed" : "ok";
	return r;
}

bool report_failed(const struct traffic *t)
{
	return t->received.corrupted || t->received.duplicated || t->to->stats.framing_errors ||
	       t->from->stats.framing_errors || (t->o->no_loss && t->received.frames != t->sent_frames) ||
	       (t->o->no_reorder && t->received.reordered);
}

static void size_text(const struct traffic *t, char *text, size_t bytes)
{
	if (t->o->frame_bytes == SIZE_IMIX)
		snprintf(text, bytes, "imix");
	else
		snprintf(text, bytes, "%u", t->o->frame_bytes);
}

static void row(const char *name, uint64_t frames, uint64_t bytes, double fps, double bps)
{
	printf("%-12s %14" PRIu64 " %18" PRIu64 " %14.0f %12.1f\n", name, frames, bytes, fps, bps * 8 / 1e6);
}

static void latency_rows(const struct histogram *h)
{
	static const struct {
		const char *name;
		uint32_t per_million;
	} quantiles[] = { { "p50", 500000 }, { "p90", 900000 }, { "p99", 990000 }, { "p99.9", 999000 } };

	printf("%-12s %14s", "latency us", "min");
	for (unsigned i = 0; i < ARRAY_SIZE(quantiles); i++)
		printf(" %11s", quantiles[i].name);
	printf(" %11s\n%-12s %14.1f", "max", "", (double)h->min / 1e3);
	for (unsigned i = 0; i < ARRAY_SIZE(quantiles); i++)
		printf(" %11.1f", (double)histogram_quantile(h, quantiles[i].per_million) / 1e3);
	printf(" %11.1f\n", (double)h->max / 1e3);
}

void report_table(const struct traffic *t)
{
	struct report r = report_of(t);
	char size[16];

	size_text(t, size, sizeof(size));
	printf("%s -> %s\n", t->from->path, t->to->path);
	printf("size %s, %s ring of %u%s, %u queue pair%s, mergeable %s, %.2f s\n\n", size,
	       t->o->packed ? "packed" : "split", t->o->ring_size, t->o->in_order ? " in order" : "",
	       t->o->queues, t->o->queues == 1 ? "" : "s", t->to->mergeable ? "on" : "off", r.seconds);
	printf("%-12s %14s %18s %14s %12s\n", "", "frames", "bytes", "frames/s", "Mbit/s");
	row("sent", t->sent_frames, t->sent_bytes, r.sent_fps, r.sent_bps);
	row("received", t->received.frames, t->received.bytes, r.received_fps, r.received_bps);
	printf("%-12s %14" PRIu64 " %17.4f%%\n", "lost", r.lost, r.lost_percent);
	printf("%-12s %14" PRIu64 "\n", "reordered", t->received.reordered);
	printf("%-12s %14" PRIu64 "\n", "duplicated", t->received.duplicated);
	printf("%-12s %14" PRIu64 "%s\n", "corrupted", t->received.corrupted + r.framing_errors,
	       t->o->verify ? "" : "   (headers only: no --verify)");
	if (t->uncompleted)
		printf("%-12s %14" PRIu64 "   (never given back by the device)\n", "unfinished",
		       t->uncompleted);
	if (t->received.foreign)
		printf("%-12s %14" PRIu64 "   (not sent by this run)\n", "foreign", t->received.foreign);
	if (r.header_violations)
		printf("%-12s %14" PRIu64 "   (flags, gso_type or num_buffers that were not agreed)\n",
		       "bad headers", r.header_violations);
	if (r.zero_buffer_counts)
		printf("%-12s %14" PRIu64 "   (num_buffers 0, which should be 1; harmless)\n", "zero counts",
		       r.zero_buffer_counts);
	printf("\n");
	if (t->latency_ns.count)
		latency_rows(&t->latency_ns);
	if (t->gone)
		printf("%s: the back end went away\n", t->gone);
	printf("%-12s %14s\n", "result", r.result);
}

static void json_string(const char *name, const char *value)
{
	printf("\"%s\": \"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			printf("\\%c", *value);
		else if ((unsigned char)*value < 0x20)
			printf("\\u%04x", (unsigned)(unsigned char)*value);
		else
			putchar(*value);
	}
	printf("\"");
}

static void json_number(const char *name, uint64_t value)
{
	printf("\"%s\": %" PRIu64, name, value);
}

static void json_flow(const char *name, uint64_t frames, uint64_t bytes, double fps, double bps)
{
	printf("  \"%s\": {\"frames\": %" PRIu64 ", \"bytes\": %" PRIu64
	       ", \"frames_per_second\": %.0f, \"bytes_per_second\": %.0f},\n",
	       name, frames, bytes, fps, bps);
}

/* Of an interface. */
static void json_calls(const struct port *port)
{
	const struct wire_calls *calls = wire_calls(port->wire);

	printf(", \"send_ns\": %" PRIu64 ", \"receive_ns\": %" PRIu64 "},\n", calls->send_ns, calls->receive_ns);
}

static void json_port(const char *name, const struct port *port)
{
	uint64_t features = port->wire ? 0 : device_features(&port->device);

	printf("  \"%s\": {", name);
	json_string("path", port->path);
	printf(", \"mac\": \"%02x:%02x:%02x:%02x:%02x:%02x\"", port->mac[0], port->mac[1], port->mac[2],
	       port->mac[3], port->mac[4], port->mac[5]);
	if (port->wire) {
		json_calls(port);
		return;
	}
	printf(", \"features\": \"0x%" PRIx64 "\", \"mergeable\": %s, \"event_idx\": %s, \"kicks\": %" PRIu64
	       "},\n",
	       features, port->mergeable ? "true" : "false",
	       features & VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) ? "true" : "false", port->stats.kicks);
}

static void json_latency(const struct histogram *h)
{
	printf("  \"latency_ns\": {\"min\": %" PRIu64 ", \"p50\": %" PRIu64 ", \"p90\": %" PRIu64
	       ", \"p99\": %" PRIu64 ", \"p99_9\": %" PRIu64 ", \"max\": %" PRIu64 "},\n",
	       h->min, histogram_quantile(h, 500000), histogram_quantile(h, 900000),
	       histogram_quantile(h, 990000), histogram_quantile(h, 999000), h->max);
}

void report_json(const struct traffic *t)
{
	struct report r = report_of(t);
	char size[16];

	size_text(t, size, sizeof(size));
	printf("{\n  ");
	json_string("version", VIREO_VERSION);
	printf(",\n");
	json_port("from", t->from);
	json_port("to", t->to);
	printf("  \"size\": %s%s%s, ", t->o->frame_bytes ? "" : "\"", size, t->o->frame_bytes ? "" : "\"");
	json_string("ring", t->o->packed ? "packed" : "split");
	printf(", \"ring_size\": %u, \"queues\": %u, \"in_order\": %s, \"verify\": %s, \"seconds\": %.3f,\n",
	       t->o->ring_size, t->o->queues, t->o->in_order ? "true" : "false",
	       t->o->verify ? "true" : "false", r.seconds);
	json_flow("sent", t->sent_frames, t->sent_bytes, r.sent_fps, r.sent_bps);
	json_flow("received", t->received.frames, t->received.bytes, r.received_fps, r.received_bps);
	printf("  ");
	json_number("lost", r.lost);
	printf(", ");
	json_number("reordered", t->received.reordered);
	printf(", ");
	json_number("duplicated", t->received.duplicated);
	printf(", ");
	json_number("corrupted", t->received.corrupted + r.framing_errors);
	printf(", ");
	json_number("unfinished", t->uncompleted);
	printf(", ");
	json_number("foreign", t->received.foreign);
	printf(", ");
	json_number("bad_headers", r.header_violations);
	printf(", ");
	json_number("zero_counts", r.zero_buffer_counts);
	printf(",\n");
	json_latency(&t->latency_ns);
	printf("  ");
	json_string("result", r.result);
	printf("\n}\n");
}

void progress_line(const struct traffic *t)
{
	uint64_t sent = counter_read(&t->sent_frames), received = counter_read(&t->received.frames);

	fprintf(stderr,
		"\r%4.0f s  sent %" PRIu64 "  received %" PRIu64 "  not (yet) received %" PRIu64 "\033[K",
		(double)(traffic_now_ns() - t->start_ns) / 1e9, sent, received,
		sent > received ? sent - received : 0);
	fflush(stderr);
}

void progress_end(void)
{
	fprintf(stderr, "\r\033[K");
}
