/* SPDX-License-Identifier: BSD-3-Clause */

/* The command line: one row per option. */

#include "options.h"
#include "base/given.h"
#include "base/nearest.h"
#include "base/util.h"
#include "ctl/line.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct option_row {
	const char *name;
	const char *argument; /* as in the help; NULL: a flag */
	const char *help;
	/* Takes the value; false: not what `expected` says. */
	bool (*take)(struct options *o, const char *value);
	const char *expected;
};

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return false;
	*ret = value;
	return true;
}

static bool number_unsigned(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	uint64_t value;

	if (!number(text, min, max, &value))
		return false;
	*ret = (unsigned)value;
	return true;
}

static bool on_off(const char *text, bool *ret)
{
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off") != 0)
		return false;
	*ret = on;
	return true;
}

static bool take_from(struct options *o, const char *value)
{
	o->from = value;
	return *value;
}

static bool take_to(struct options *o, const char *value)
{
	o->to = value;
	return *value;
}

static bool take_size(struct options *o, const char *value)
{
	o->frame_bytes = SIZE_IMIX;
	return !strcmp(value, "imix") ||
	       number_unsigned(value, FRAME_BYTES_MIN, FRAME_BYTES_MAX, &o->frame_bytes);
}

static bool take_ring(struct options *o, const char *value)
{
	o->packed = !strcmp(value, "packed");
	return o->packed || !strcmp(value, "split");
}

static bool take_queues(struct options *o, const char *value)
{
	return number_unsigned(value, 1, PAIRS_MAX, &o->queues);
}

static bool take_ring_size(struct options *o, const char *value)
{
	return number_unsigned(value, 2, 32768, &o->ring_size);
}

static bool take_buffer(struct options *o, const char *value)
{
	return number_unsigned(value, 64, 65536, &o->buffer_bytes);
}

static bool take_pieces(struct options *o, const char *value)
{
	return number_unsigned(value, 1, PIECES_MAX, &o->pieces);
}

static bool take_seconds(struct options *o, const char *value)
{
	char *end;
	double seconds;

	if (!isdigit((unsigned char)*value))
		return false;
	seconds = strtod(value, &end);
	if (*end || !(seconds >= 0.01 && seconds <= 1e7))
		return false;
	o->duration_ms = (uint64_t)(seconds * 1000);
	return true;
}

/* A number with an optional k or M. */
static bool take_rate(struct options *o, const char *value)
{
	char digits[21];
	size_t length = strlen(value);
	uint64_t unit = 1;

	if (length && strchr("kKmM", value[length - 1]))
		unit = tolower((unsigned char)value[--length]) == 'k' ? 1000 : 1000000;
	if (!length || length >= sizeof(digits))
		return false;
	memcpy(digits, value, length);
	digits[length] = '\0';
	if (!number(digits, 1, UINT64_C(1000000000) / unit, &o->rate_fps))
		return false;
	o->rate_fps *= unit;
	return true;
}

static bool take_frames(struct options *o, const char *value)
{
	return number(value, 1, INT64_MAX, &o->frames_max);
}

static bool take_window(struct options *o, const char *value)
{
	return number(value, 1, INT32_MAX, &o->window);
}

static bool take_timeout(struct options *o, const char *value)
{
	uint64_t seconds;

	if (!number(value, 1, 3600, &seconds))
		return false;
	o->timeout_ms = (unsigned)seconds * 1000;
	return true;
}

static bool take_wait(struct options *o, const char *value)
{
	static const char *const names[] = {
		[WAIT_YIELD] = "yield", [WAIT_SPIN] = "spin", [WAIT_EVENT] = "event"
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		o->wait = (enum wait_mode)i;
		return true;
	}
	return false;
}

static bool take_cpus(struct options *o, const char *value)
{
	char first[8];
	size_t length = strcspn(value, ",");
	unsigned cpus[2] = { 0, 0 };

	if (!length || length >= sizeof(first))
		return false;
	memcpy(first, value, length);
	first[length] = '\0';
	if (!number_unsigned(first, 0, 1023, &cpus[0]) ||
	    (value[length] && !number_unsigned(value + length + 1, 0, 1023, &cpus[1])))
		return false;
	o->cpu_count = value[length] ? 2 : 1;
	o->cpus[0] = (int)cpus[0];
	o->cpus[1] = (int)cpus[1];
	return true;
}

#define TAKE_ON_OFF(field)                                             \
	static bool take_##field(struct options *o, const char *value) \
	{                                                              \
		return on_off(value, &o->field);                       \
	}
TAKE_ON_OFF(mergeable)
TAKE_ON_OFF(event_idx)
TAKE_ON_OFF(indirect)

#define TAKE_FLAG(field)                                               \
	static bool take_##field(struct options *o, const char *value) \
	{                                                              \
		return o->field = true;                                \
	}
TAKE_FLAG(in_order)
TAKE_FLAG(server)
TAKE_FLAG(verify)
TAKE_FLAG(json)
TAKE_FLAG(verbose)
TAKE_FLAG(no_loss)
TAKE_FLAG(no_reorder)

static const struct option_row rows[] = {
	{ "--from", "SOCK", "port that gets the frames: a vhost-user socket, virtio-pci:ADDRESS, or packet: or tap:INTERFACE", take_from,
	  "a socket's path" },
	{ "--to", "SOCK", "port where they are checked, likewise", take_to,
	  "a socket's path" },
	{ "--server", NULL, "listen on both sockets instead of connecting", take_server, NULL },
	{ "--size", "BYTES|imix", "frame size without FCS (60)", take_size, "60..65535 or imix" },
	{ "--seconds", "S", "how long to send (5)", take_seconds, "0.01..10000000" },
	{ "--frames", "N", "stop after so many frames", take_frames, "a number above 0" },
	{ "--rate", "FPS", "frames per second, also 100k or 2M (as fast as goes)", take_rate,
	  "1..1000000000" },
	{ "--window", "N", "at most so many frames on their way per queue", take_window, "a number above 0" },
	{ "--queues", "N", "queue pairs (1)", take_queues, "1..64" },
	{ "--ring", "split|packed", "ring format (split)", take_ring, "split or packed" },
	{ "--ring-size", "N", "entries of each ring (256)", take_ring_size,
	  "2..32768, split: a power of two" },
	{ "--in-order", NULL, "demand IN_ORDER", take_in_order, NULL },
	{ "--mergeable", "on|off", "mergeable receive buffers (on)", take_mergeable, "on or off" },
	{ "--buffer", "BYTES", "receive buffer size (2048; what holds a frame if not mergeable)", take_buffer,
	  "64..65536" },
	{ "--event-idx", "on|off", "EVENT_IDX (on)", take_event_idx, "on or off" },
	{ "--indirect", "on|off", "send through indirect tables (off)", take_indirect, "on or off" },
	{ "--pieces", "N", "descriptors per sent frame (1; 2 with --indirect on)", take_pieces, "1..16" },
	{ "--verify", NULL, "fill frames with a pattern and check every byte", take_verify, NULL },
	{ "--no-loss", NULL, "a lost frame is a failure", take_no_loss, NULL },
	{ "--no-reorder", NULL, "a frame out of order is a failure", take_no_reorder, NULL },
	{ "--wait", "yield|spin|event", "when idle: poll politely, poll, or sleep until signalled (yield)",
	  take_wait, "yield, spin or event" },
	{ "--cpus", "A[,B]", "pin the sender to A and the receiver to B; one CPU: one thread", take_cpus,
	  "one or two CPU numbers" },
	{ "--timeout", "S", "for connecting, and for the first frame to get through (5)", take_timeout,
	  "1..3600" },
	{ "--json", NULL, "print the result as JSON", take_json, NULL },
	{ "--verbose", NULL, "log each vhost-user message on stderr", take_verbose, NULL },
};

static void help(void)
{
	printf("usage: vireo-bench net --from SOCK --to SOCK [option]...\n\n"
	       "Sends numbered frames into one virtio-net port and checks them at another.\n\n");
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char left[40];

		snprintf(left, sizeof(left), "%s%s%s", rows[i].name, rows[i].argument ? " " : "",
			 rows[i].argument ? rows[i].argument : "");
		printf("  %-26s %s\n", left, rows[i].help);
	}
	printf("  %-26s %s\n  %-26s %s\n", "--version", "print the version", "--help, -h", "print this");
	printf("\nExit status: 0 good, 1 frames were corrupted, duplicated or (if that matters) lost,\n"
	       "2 a bad option, 3 a back end cannot be reached or went away.\n");
}

static enum options_result bad(const char *fmt, ...) PRINTF_LIKE(1, 2);
static enum options_result bad(const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	line_print(stderr, "vireo-bench: %s", text);
	return OPTIONS_BAD;
}

static enum options_result unknown(const char *arg, size_t name_bytes)
{
	struct nearest nearest = nearest_to(arg, name_bytes);
	char hint[NEAREST_HINT_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		nearest_offer(&nearest, rows[i].name);
	return bad("%.80s: unknown option%s see vireo-bench --help", arg, *nearest_hint(&nearest, hint, "") ? hint : ",");
}

/* --name VALUE or --name=VALUE. *at moves past what was taken. */
static enum options_result take_one(struct options *o, int argc, char **argv, int *at, uint64_t *given)
{
	const char *arg = argv[*at], *value = strchr(arg, '=');
	size_t name_bytes = value ? (size_t)(value - arg) : strlen(arg);
	const struct option_row *row = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(rows) && !row; i++)
		if (strlen(rows[i].name) == name_bytes && !strncmp(rows[i].name, arg, name_bytes))
			row = &rows[i];
	if (!row)
		return unknown(arg, name_bytes);
	if (!given_first(given, (unsigned)(row - rows)))
		return bad("%s " GIVEN_TWICE, row->name);
	if (!row->argument && value)
		return bad("%s: takes no value", row->name);
	if (row->argument && value)
		value++;
	else if (row->argument && *at + 1 < argc)
		value = argv[++*at];
	if (row->argument && !value)
		return bad("%s: expected %s", row->name, row->expected);
	if (!row->take(o, value))
		return bad("%s: expected %s, not \"%s\"", row->name, row->expected, value);
	return OPTIONS_RUN;
}

/* What options mean together. */
static enum options_result check(struct options *o)
{
	if (!o->from)
		return bad("--from: expected a socket's path");
	if (!o->to)
		return bad("--to: expected a socket's path");
	if (!strcmp(o->from, o->to))
		return bad("--to: expected another socket than --from");
	if (!o->packed && (o->ring_size & (o->ring_size - 1)))
		return bad("--ring-size: expected a power of two for a split ring, not \"%u\"", o->ring_size);
	if (!o->pieces)
		o->pieces = o->indirect ? 2 : 1;
	if (!o->indirect && o->pieces > o->ring_size)
		return bad("--pieces: expected at most the ring's %u entries", o->ring_size);
	return OPTIONS_RUN;
}

enum options_result options_parse(int argc, char **argv, struct options *ret)
{
	struct options o = {
		.frame_bytes = FRAME_BYTES_MIN,
		.mergeable = true,
		.event_idx = true,
		.queues = 1,
		.ring_size = 256,
		.duration_ms = 5000,
		.timeout_ms = 5000,
	};
	enum options_result result = OPTIONS_RUN;
	uint64_t given = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			help();
			return OPTIONS_DONE;
		}
		if (!strcmp(argv[i], "--version")) {
			printf("vireo-bench %s\n", VIREO_VERSION);
			return OPTIONS_DONE;
		}
	}
	if (argc < 2 || strcmp(argv[1], "net") != 0)
		return bad("%s: expected \"net\", see vireo-bench --help", argc < 2 ? "(nothing)" : argv[1]);
	for (int i = 2; i < argc && result == OPTIONS_RUN; i++)
		result = take_one(&o, argc, argv, &i, &given);
	if (result == OPTIONS_RUN)
		result = check(&o);
	if (result == OPTIONS_RUN)
		*ret = o;
	return result;
}
