/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"
#include "port_samples.h"
#include "base/util.h"
#include "switch/vlan.h"
#include "vireo/frame.h"
#include "vireo/memory.h"
#include <stddef.h>

/* A counter by name; `drop` says whether it counts frames that were lost. */
struct field {
	const char *name;
	size_t offset;
	bool drop;
};

/* clang-format off */
#define PORT_FIELD(field, drop) {#field, offsetof(struct sw_port_stats, field), drop}
#define QUEUE_FIELD(field, drop) {#field, offsetof(struct sw_queue_stats, field), drop}
/* clang-format on */

static const struct field port_fields[] = {
	PORT_FIELD(rx_frames, false),	     PORT_FIELD(rx_bytes, false),   PORT_FIELD(rx_flooded, false),
	PORT_FIELD(rx_reserved, true),	     PORT_FIELD(rx_hairpin, true),  PORT_FIELD(rx_bad_source, true),
	PORT_FIELD(rx_isolated, true),	     PORT_FIELD(rx_reflected, false), PORT_FIELD(rx_vlan, true),	     PORT_FIELD(rx_spoofed, true),	     PORT_FIELD(rx_segment_limit, true),
	PORT_FIELD(rx_flood_limit, true),    PORT_FIELD(rx_no_destination, true),
	PORT_FIELD(rx_link_down, true),	     PORT_FIELD(rx_lost, true),
	PORT_FIELD(rx_spoofed_ip, true),
	PORT_FIELD(rx_spoofed_arp, true),
	PORT_FIELD(rx_spoofed_nd, true),
	PORT_FIELD(rx_dhcp_server, true),
	PORT_FIELD(rx_router, true),
	PORT_FIELD(rx_unreadable, true),
	PORT_FIELD(rx_merged, false),
	PORT_FIELD(rx_paced, false),
	PORT_FIELD(rx_membership, false),
	PORT_FIELD(rx_membership_bad, true),
	PORT_FIELD(rx_membership_limit, true),
	PORT_FIELD(rx_membership_full, false),
	PORT_FIELD(rx_no_member, true),
	PORT_FIELD(rx_inactive, true),
	PORT_FIELD(rx_lacp, false),
	PORT_FIELD(rx_lacp_bad, false),
	PORT_FIELD(rx_lacp_limit, true),
	PORT_FIELD(rx_rate_limit, true),     PORT_FIELD(rx_storm_broadcast, true), PORT_FIELD(rx_storm_multicast, true),
	PORT_FIELD(rx_storm_unicast, true),  PORT_FIELD(tx_rate_limit, true),
	PORT_FIELD(tx_frames, false),	     PORT_FIELD(tx_bytes, false),
	PORT_FIELD(tx_segmented, false),     PORT_FIELD(tx_held, false),	     PORT_FIELD(tx_hold_limit, true),
	PORT_FIELD(tx_retry_limit, true),
	PORT_FIELD(tx_class1, false),	     PORT_FIELD(tx_class2, false),	  PORT_FIELD(tx_class3, false),
	PORT_FIELD(tx_less_urgent, true),
	PORT_FIELD(tx_no_queue, true),	     PORT_FIELD(tx_link_down, true),	  PORT_FIELD(tx_flood_room, true),
	PORT_FIELD(tx_mtu, true),
	PORT_FIELD(tx_segment_error, true), /* tx_lost has in it what the out queues have dropped */
	PORT_FIELD(tx_lost, true),
};

static const struct field rx_fields[] = {
	QUEUE_FIELD(frames, false),	QUEUE_FIELD(bytes, false),   QUEUE_FIELD(runt, true),
	QUEUE_FIELD(bad_offload, true), QUEUE_FIELD(too_long, true), QUEUE_FIELD(disabled, true),
	QUEUE_FIELD(error, true),	QUEUE_FIELD(no_buffer, true),
};
static const struct field tx_fields[] = {
	QUEUE_FIELD(frames, false),	    QUEUE_FIELD(bytes, false),	 QUEUE_FIELD(no_buffer, true),
	QUEUE_FIELD(too_long, true),	    QUEUE_FIELD(disabled, true), QUEUE_FIELD(error, true),
	QUEUE_FIELD(offload_refused, true), QUEUE_FIELD(filtered, true),
};

static const char *const offload_names[] = {"csum", "tso4", "tso6", "ecn", "ufo", "uso4", "uso6"};

static uint64_t value(const void *stats, const struct field *field)
{
	return *(const uint64_t *)(const void *)((const char *)stats + field->offset);
}

static void add_fields(json_t *object, const void *stats, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, fields[i].name,
				    json_integer((json_int_t)value(stats, &fields[i])));
}

static uint64_t drops(const void *stats, const struct field *fields, size_t count, const char *direction)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		if (fields[i].drop && (!direction || fields[i].name[0] == *direction))
			sum += value(stats, &fields[i]);
	return sum;
}

/* What the port has refused before the switch saw it. */
static uint64_t rx_queue_drops(const struct port *port)
{
	struct sw_queue_stats s;
	uint64_t sum = 0;

	for (unsigned i = 0; i < port->in_queues; i++) {
		sw_queue_stats(port->sw, false, i, &s);
		sum += drops(&s, rx_fields, ARRAY_SIZE(rx_fields), NULL);
	}
	return sum;
}

json_t *report_port_brief(const struct port *port)
{
	struct sw_port_stats s;
	uint64_t rx_drops, tx_drops;
	json_t *object;
	pid_t peer = port->kind->peer ? port->kind->peer(port) : 0;

	sw_port_stats(port->sw, &s);
	rx_drops = drops(&s, port_fields, ARRAY_SIZE(port_fields), "r") + rx_queue_drops(port);
	tx_drops = drops(&s, port_fields, ARRAY_SIZE(port_fields), "t");
	object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "name", port->spec.at.name,
			 "type", port->spec.at.kind->type, "address", port->spec.at.address, "state",
			 port->kind->state(port), "link", sw_port_link(port->sw) ? "up" : "down", "rx_frames", (json_int_t)s.rx_frames, "rx_bytes",
			 (json_int_t)s.rx_bytes, "rx_drops", (json_int_t)rx_drops, "tx_frames",
			 (json_int_t)s.tx_frames, "tx_bytes", (json_int_t)s.tx_bytes, "tx_drops",
			 (json_int_t)tx_drops);
	if (peer)
		json_object_set_new(object, "peer_pid", json_integer(peer));
	return object;
}

static json_t *offloads(unsigned mask)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(offload_names); i++)
		if (mask & (1u << i))
			json_array_append_new(list, json_string(offload_names[i]));
	return list;
}

static json_t *queue_report(const struct port *port, bool out, unsigned queue)
{
	json_t *object = json_pack("{s:s, s:i, s:b}", "direction", out ? "tx" : "rx", "queue", (int)queue,
				   "running", sw_queue_present(port->sw, out, queue));
	struct sw_queue_stats s;
	uint64_t kicks;

	sw_queue_stats(port->sw, out, queue, &s);
	if (!out)
		json_object_set_new(object, "kicks", sw_queue_kicks(port->sw, queue, &kicks) ? json_null() : json_integer((json_int_t)kicks));
	json_object_set_new(object, "signals", json_integer((json_int_t)s.signals));
	if (out)
		add_fields(object, &s, tx_fields, ARRAY_SIZE(tx_fields));
	else
		add_fields(object, &s, rx_fields, ARRAY_SIZE(rx_fields));
	return object;
}

static json_t *queue_reports(const struct port *port)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < port->in_queues; i++)
		json_array_append_new(list, queue_report(port, false, i));
	for (unsigned i = 0; i < port->out_queues; i++)
		json_array_append_new(list, queue_report(port, true, i));
	return list;
}

static json_t *memory_report(const struct port *port)
{
	struct vireo_memory_use use;

	port->kind->memory_use(port, &use);
	return json_pack("{s:I, s:o, s:I, s:I, s:I, s:o}", "mapped_bytes", (json_int_t)use.mapped_bytes, "mapped_max_bytes",
			 json_integer((json_int_t)min_u64(use.mapped_max_bytes, INT64_MAX)), "mappings",
			 (json_int_t)use.mappings, "mappings_max", (json_int_t)use.mappings_max, "made_bytes",
			 (json_int_t)use.made_bytes, "made_max_bytes",
			 use.made_max_bytes == UINT64_MAX ? json_null() : json_integer((json_int_t)use.made_max_bytes));
}

/* As "10-19", "30". */
static json_t *vlan_ranges(const uint64_t *set)
{
	json_t *list = json_array();
	char text[16];

	for (unsigned first = 0, last; first <= SW_VLAN_MAX; first = last + 1) {
		last = first;
		if (!vlan_set_has(set, (uint16_t)first))
			continue;
		while (vlan_set_has(set, (uint16_t)(last + 1)))
			last++;
		snprintf(text, sizeof(text), last > first ? "%u-%u" : "%u", first, last);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *vlan_report(const struct port_spec *spec)
{
	if (!spec->vlan && !spec->trunk)
		return json_null();
	return json_pack("{s:o, s:o, s:s, s:b}", "untagged", spec->vlan ? json_integer(spec->vlan) : json_null(), "tagged",
			 vlan_ranges(spec->tagged), "tag", spec->vlan_tag == TAG_TYPE_SERVICE ? "802.1ad" : "802.1q", "tunnel",
			 spec->tunnel);
}

json_t *report_port_full(const struct port *port)
{
	json_t *object = report_port_brief(port), *counters = json_object();
	struct sw_port_stats s;

	sw_port_stats(port->sw, &s);
	add_fields(counters, &s, port_fields, ARRAY_SIZE(port_fields));
	json_object_set_new(object, "queues", json_integer(port->spec.queues));
	json_object_set_new(object, "mtu", port->mtu ? json_integer(port->mtu) : json_null());
	if (port->kind->report)
		port->kind->report(port, object);
	json_object_set_new(object, "offloads", offloads(port->offloads));
	if (port->kind->memory_use)
		json_object_set_new(object, "memory", memory_report(port));
	json_object_set_new(object, "vlan", vlan_report(&port->spec));
	json_object_set_new(object, "isolated", json_boolean(port->spec.isolated));
	json_object_set_new(object, "speed", port_speed_report(&port->spec.speed));
	json_object_set_new(object, "gro", json_boolean(port->spec.gro));
	json_object_set_new(object, "role", json_string(port->spec.uplink ? "uplink" : "guest"));
	json_object_set_new(object, "bond", port->spec.member_of[0] ? json_string(port->spec.member_of) : json_null());
	json_object_set_new(object, "vm2vm", port->spec.uplink ? json_null() : json_string(port_vm2vm_name(&port->spec)));
	json_object_set_new(object, "guard", port_guard_report(&port->spec.guard));
	json_object_set_new(object, "limits", port_limits_report(&port->spec.limits));
	json_object_set_new(object, "priority", json_string(port_priority_name(&port->spec.limits)));
	json_object_set_new(object, "retry", port_retry_report(&port->spec));
	json_object_set_new(object, "multicast", port_multicast_report(port));
	json_object_set_new(object, "aside", json_boolean(sw_port_aside(port->sw)));
	json_object_set_new(object, "counters", counters);
	json_object_set_new(object, "queue_counters", queue_reports(port));
	json_object_set_new(object, "histograms", port_samples_report(port->sw));
	return object;
}

/* What is known of a worker that is looked at. */
static void add_balance(json_t *worker, const struct sw_worker_stats *s, bool looks)
{
	json_object_set_new(worker, "has_cpu", looks ? json_boolean(s->has_cpu) : json_null());
	json_object_set_new(worker, "busy_percent", looks ? json_integer(s->busy_percent) : json_null());
	json_object_set_new(worker, "moved_in", json_integer((json_int_t)s->moved_in));
	json_object_set_new(worker, "moved_out", json_integer((json_int_t)s->moved_out));
}

json_t *report_workers(const struct sw *sw)
{
	json_t *list = json_array(), *worker;

	for (unsigned i = 0; i < sw_worker_count(sw); i++) {
		struct sw_worker_stats s;

		sw_worker_stats(sw, i, &s);
		worker = json_pack("{s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "worker", (int)i, "cpu",
				   s.cpu < 0 ? json_null() : json_integer(s.cpu), "loops", (json_int_t)s.loops, "busy_loops",
				   (json_int_t)s.busy_loops, "wakeups", (json_int_t)s.wakeups, "sleeps", (json_int_t)s.sleeps, "frames",
				   (json_int_t)s.frames, "busy_cycles", (json_int_t)s.busy_cycles, "relieved", (json_int_t)s.relieved);
		add_balance(worker, &s, sw_looks(sw));
		json_array_append_new(list, worker);
	}
	return list;
}

static void add_queues(json_t *workers, const struct port *port, bool looks)
{
	for (unsigned i = 0; i < port->in_queues; i++) {
		int worker = sw_queue_worker(port->sw, i);

		if (worker < 0)
			continue;
		json_array_append_new(json_object_get(json_array_get(workers, (size_t)worker), "queues"),
				      json_pack("{s:s, s:i, s:b, s:o}", "port", port->spec.at.name, "queue", (int)i, "kept",
						sw_queue_home(port->sw, i) >= 0, "busy_percent",
						looks ? json_integer(sw_queue_busy(port->sw, i)) : json_null()));
	}
}

json_t *report_worker_list(const struct ports *ports)
{
	json_t *workers = report_workers(ports->sw), *worker;
	size_t i;

	for (i = 0; (worker = json_array_get(workers, i)); i++)
		json_object_set_new(worker, "queues", json_array());
	for (const struct port *port = ports->first; port; port = port->next)
		if (!port->closing)
			add_queues(workers, port, sw_looks(ports->sw));
	return workers;
}

json_t *report_fdb(const struct sw *sw)
{
	struct sw_fdb_stats s;

	sw_fdb_stats(sw, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "entries", (json_int_t)s.entries, "static",
			 (json_int_t)s.fixed, "capacity", (json_int_t)s.capacity, "learned", (json_int_t)s.learned, "moved",
			 (json_int_t)s.moved, "aged", (json_int_t)s.aged, "evicted", (json_int_t)s.evicted,
			 "refused", (json_int_t)s.refused);
}
