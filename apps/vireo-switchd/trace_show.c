/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace: what becomes of frames from a port, or to it (switch/trace.h). A call without an id begins a trace, and each with its id brings what there is since the last;
 * who asks no more has ended it.
 */
#include "trace_show.h"
#include "base/log.h"
#include "commands.h"
#include "ctl/rpc.h"
#include "port.h"
#include "switch/trace.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_FRAMES 64u /* of an answer */
#define TEXT_BYTES  384u

/*
 * A verdict's name, and what it says to people. In the text stand %p for a port, %v a VLAN, %n a number, %r a reason; the fields port, vlan,
 * count and reason of JSON are there where the text has them.
 */
static const struct {
	const char *name, *text;
} words[SW_TRACE_WHATS] = {
	[SW_TRACE_RECEIVED] = {"received", "received at %p, queue %n"},
	[SW_TRACE_BOND] = {"bond", "the port is a member of bond %p: the frame is the bond's"},
	[SW_TRACE_PLAIN] = {"header_plain", "header: asks for nothing"},
	[SW_TRACE_WANTS_SUM] = {"header_checksum", "header: asks for a checksum"},
	[SW_TRACE_WANTS_CUT] = {"header_segments", "header: asks for segments of %n bytes"},
	[SW_TRACE_GUARDED] = {"guarded", "guards of the port: passed"},
	[SW_TRACE_RATE_IN] = {"rate_in", "limit of the port: passed"},
	[SW_TRACE_MERGED] = {"merged", "joined with a frame before it (gro), and goes where that goes"},
	[SW_TRACE_VLAN_OWN] = {"vlan_own", "in VLAN %v, the port's own"},
	[SW_TRACE_VLAN_TAG] = {"vlan_tag", "in VLAN %v by its tag, with priority %n"},
	[SW_TRACE_REFLECTED] = {"reflected", "the uplink brings back what %p has sent"},
	[SW_TRACE_SOURCE_KNOWN] = {"source_known", "source: known here"},
	[SW_TRACE_SOURCE_FIXED] = {"source_fixed", "source: fixed to the port"},
	[SW_TRACE_SOURCE_LOCKED] = {"source_locked", "source: the port's own, and its only one, from now on"},
	[SW_TRACE_SOURCE_LEARNED] = {"source_learned", "source: learned"},
	[SW_TRACE_SOURCE_MOVED] = {"source_moved", "source: learned, and has moved here from %p"},
	[SW_TRACE_SOURCE_FULL] = {"source_full", "source: not learned, there is no room"},
	[SW_TRACE_SOURCE_AWAY] = {"source_away", "source: not learned, it is fixed to %p, whose guest is behind this uplink by now"},
	[SW_TRACE_SOURCE_THERE] = {"source_elsewhere", "source: refused, it is behind %p"},
	[SW_TRACE_SOURCE_NONE] = {"source_foreign", "source: refused, it is none of the port's own"},
	[SW_TRACE_TO_KNOWN] = {"to_known", "destination: known behind %p"},
	[SW_TRACE_TO_HERE] = {"to_here", "destination: behind the port that it comes from"},
	[SW_TRACE_TO_UNKNOWN] = {"to_unknown", "destination: not known, all ports of the VLAN"},
	[SW_TRACE_TO_BROADCAST] = {"to_broadcast", "destination: broadcast, all ports of the VLAN"},
	[SW_TRACE_TO_MULTICAST] = {"to_multicast", "destination: multicast, all ports of the VLAN"},
	[SW_TRACE_TO_GROUP] = {"to_group", "destination: ports with members of the group, or routers"},
	[SW_TRACE_TO_ROUTERS] = {"to_routers", "destination: routers alone, and there is none: it goes nowhere"},
	[SW_TRACE_TO_RESERVED] = {"to_reserved", "destination: reserved, no bridge forwards it"},
	[SW_TRACE_STORM] = {"storm", "storm control: passed"},
	[SW_TRACE_FLOODED] = {"flooded", "flooded in VLAN %v, to %n ports"},
	[SW_TRACE_FLOOD_APART] = {"flood_apart", "not to %n other ports of it, from which roles keep it apart"},
	[SW_TRACE_APART] = {"apart", "not to %p: roles keep the ports apart"},
	[SW_TRACE_RELAYED] = {"relayed", "%p is reached by way of the uplinks"},
	[SW_TRACE_TO] = {"to", "to %p"},
	[SW_TRACE_CLASS] = {"class", "class %n of its priorities"},
	[SW_TRACE_RATE_OUT] = {"rate_out", "its limit: passed"},
	[SW_TRACE_MEMBER] = {"member", "by its member %p"},
	[SW_TRACE_TAGGED] = {"tagged", "gets the tag of VLAN %v"},
	[SW_TRACE_UNTAGGED] = {"untagged", "loses the tag of VLAN %v"},
	[SW_TRACE_CUT] = {"segmented", "cut into %n segments, with their checksums"},
	[SW_TRACE_SUMMED] = {"checksummed", "its checksum is filled in"},
	[SW_TRACE_QUEUE] = {"queue", "into queue %n"},
	[SW_TRACE_HELD] = {"held", "held for %p until its queue goes on: %n"},
	[SW_TRACE_DELIVERED] = {"delivered", "delivered to %p: %n"},
	[SW_TRACE_DROPPED] = {"dropped", "dropped at %p: %r, %n"},
};

struct telling {
	const struct sw *sw;
	json_t *frames;
};

/* ---- a verdict ---- */

static const char *port_of(const struct sw *sw, const struct sw_trace_step *step)
{
	const char *name = sw_trace_port_name(sw, step);

	return name ? name : "(a port that has gone)";
}

/* A sign of a text: what stands there. */
static void sign_write(FILE *out, const struct sw *sw, const struct sw_trace_step *step, char sign)
{
	if (sign == 'p')
		fputs(port_of(sw, step), out);
	else if (sign == 'v')
		fprintf(out, "%u", step->vlan);
	else if (sign == 'n')
		fprintf(out, "%u", step->n);
	else
		fputs(sw_trace_reason(step), out);
}

static void text_write(char *text, const struct sw *sw, const struct sw_trace_step *step)
{
	FILE *out = fmemopen(text, TEXT_BYTES - 1, "w");

	if (!out)
		return;
	for (const char *at = words[step->what].text; *at; at++) {
		if (*at == '%')
			sign_write(out, sw, step, *++at);
		else
			fputc(*at, out);
	}
	fclose(out);
}

static json_t *verdict_json(const struct sw *sw, const struct sw_trace_step *step)
{
	const char *name = words[step->what].name, *signs = words[step->what].text;
	json_t *verdict = json_pack("{s:s}", "verdict", name);
	char text[TEXT_BYTES] = "";

	if (strstr(signs, "%p"))
		json_object_set_new(verdict, "port", json_string(port_of(sw, step)));
	if (strstr(signs, "%v"))
		json_object_set_new(verdict, "vlan", json_integer(step->vlan));
	if (strstr(signs, "%n"))
		json_object_set_new(verdict, "count", json_integer(step->n));
	if (strstr(signs, "%r"))
		json_object_set_new(verdict, "reason", json_string(sw_trace_reason(step)));
	text_write(text, sw, step);
	json_object_set_new(verdict, "text", json_string(text));
	return verdict;
}

/* ---- a frame ---- */

static json_t *mac_json(const uint8_t *mac)
{
	return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void tell_frame(void *opaque, const struct sw_trace_frame *frame)
{
	const struct telling *telling = opaque;
	json_t *verdicts = json_array();

	for (unsigned i = 0; i < frame->step_count; i++)
		json_array_append_new(verdicts, verdict_json(telling->sw, &frame->step[i]));
	json_array_append_new(telling->frames, json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:i}", "time_ns", (json_int_t)frame->ns, "bytes",
							 (json_int_t)frame->bytes, "destination", mac_json(frame->head), "source",
							 mac_json(frame->head + 6), "type",
							 json_sprintf("0x%02x%02x", frame->head[12], frame->head[13]), "verdicts", verdicts,
							 "more", (int)frame->more));
}

/* ---- the call ---- */

/* False: it has been answered. */
static bool number_take(struct rpc_call *call, const char *name, uint64_t max, uint64_t *ret)
{
	const char *text = rpc_call_param(call, name);
	char *end;

	if (!text)
		return true;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (!errno && end != text && !*end && *text >= '0' && *text <= '9' && *ret && *ret <= max)
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "%s '%.40s': expected a whole number from 1 on", name, text);
	return false;
}

/* False: it has been answered. */
static bool way_take(struct rpc_call *call, bool *ret_to)
{
	const char *way = rpc_call_param(call, "way");

	*ret_to = way && !strcmp(way, "to");
	if (!way || *ret_to || !strcmp(way, "from"))
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "way '%.40s': expected from or to", way);
	return false;
}

static struct sw_trace *trace_begin(struct rpc_call *call, const struct ports *ports, const struct port *port, uint64_t count)
{
	struct sw_trace *trace = NULL;
	bool to;
	int err;

	if (!way_take(call, &to))
		return NULL;
	err = sw_trace_add(port->sw, to, count, &trace);

	if (!err)
		log_info(&ports->control_log, "%s: traced", sw_port_name(port->sw));
	else if (err == -ENOSPC)
		rpc_call_error(call, RPC_FAILED,
			       "there are as many traces as there may be, %u, or %u from this port, or %u to ports: one ends %u s after it was read last",
			       SW_TRACES_MAX, SW_PORT_TRACES_MAX, SW_TRACES_TO_MAX, SW_TRACE_MS / 1000);
	else
		rpc_call_error(call, RPC_FAILED, "cannot trace: %s", strerror(-err));
	return trace;
}

/* The port of a trace that goes on may have gone. */
static struct sw_trace *trace_of(struct rpc_call *call, const struct ports *ports, uint64_t id, uint64_t count)
{
	const char *name = rpc_call_param(call, "port");
	struct sw_trace_status status;
	struct sw_trace *trace;
	const struct port *port;

	if (!id) {
		port = port_named(call, ports, name);
		return port ? trace_begin(call, ports, port, count) : NULL;
	}
	trace = sw_trace_find(ports->sw, (unsigned)id);
	if (trace)
		sw_trace_status(trace, &status);
	if (trace && !strcmp(status.port, name))
		return trace;
	rpc_call_error(call, RPC_NOT_FOUND, "there is no trace %u of %.64s: it ends %u s after it was read last", (unsigned)id, name, SW_TRACE_MS / 1000);
	return NULL;
}

void serve_trace(struct rpc_call *call, void *opaque)
{
	static const char *const states[] = {[SW_TRACE_ON] = "on", [SW_TRACE_DONE] = "done", [SW_TRACE_GONE] = "gone"};
	const struct ports *ports = opaque;
	struct telling telling = {.sw = ports->sw};
	uint64_t id = 0, count = 0;
	struct sw_trace_status status;
	struct sw_trace *trace = NULL;

	if (number_take(call, "id", UINT32_MAX, &id) && number_take(call, "count", INT64_MAX, &count))
		trace = trace_of(call, ports, id, count);
	if (!trace)
		return;
	telling.frames = json_array();
	sw_trace_read(trace, READ_FRAMES, tell_frame, &telling);
	sw_trace_status(trace, &status);
	rpc_call_reply(call, json_pack("{s:I, s:s, s:s, s:I, s:o}", "id", (json_int_t)status.id, "port", status.port, "state", states[status.state],
				       "lost", (json_int_t)status.lost, "frames", telling.frames));
	if (status.state != SW_TRACE_ON)
		sw_trace_end(trace);
}
