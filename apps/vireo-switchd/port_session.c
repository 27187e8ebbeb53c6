/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_session.h"
#include "base/fd.h"
#include "base/util.h"
#include "base/visible.h"
#include "port_device.h"
#include "port_features.h"
#include "vireo/device.h"
#include "vireo/memory.h"
#include "vireo/net.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_BYTES 64u

/* ---- the peer's process ---- */

/*
 * The command's own name, which it may change at any time, in any bytes. NULL: the process is gone, or /proc is not there
 * or hides it.
 */
static json_t *command_of(pid_t process)
{
	char path[40], name[COMMAND_BYTES] = "", shown[2 * COMMAND_BYTES];
	ssize_t bytes;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)process);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	bytes = read(fd, name, sizeof(name) - 1);
	fd_close(&fd);
	if (bytes <= 0)
		return NULL;
	name[bytes - (name[bytes - 1] == '\n')] = '\0';
	visible_copy(shown, sizeof(shown), name);
	return json_string(shown);
}

/* ---- what is agreed on ---- */

/* Of the queues that run. Pairs are numbered as the port has them. */
static json_t *rings_of(const struct device_port *device)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < device->port.spec.queues; i++)
		for (unsigned q = 0; q < ARRAY_SIZE(device->pairs[i].queues); q++) {
			const struct device_pair *pair = &device->pairs[i];
			const struct vireo_queue *queue = vireo_device_queue(vireo_net_device(pair->net), 2 * pair->at + q);

			if (!pair->queues[q].running || !queue)
				continue;
			json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "direction", q ? "rx" : "tx", "queue", (int)i,
							      "size", (int)vireo_queue_size(queue)));
		}
	return list;
}

/* NULL: it has told of none, or tells of it piece by piece. */
static json_t *regions_of(const struct vireo_device *device)
{
	const struct vireo_memory_table *table;
	struct vireo_memory_region region = {.size = sizeof(region)};
	json_t *list;

	if (vireo_device_memory_table(device, &table))
		return NULL;
	list = json_array();
	for (unsigned i = 0; vireo_memory_table_region(table, i, &region); i++) {
		json_array_append_new(list, json_pack("{s:I, s:I}", "address", (json_int_t)region.guest_address, "bytes",
						      (json_int_t)region.bytes));
		region.size = sizeof(region);
	}
	vireo_memory_table_free(table);
	return list;
}

/* Of the devices of a port, which may be one for each pair, the first that somebody has. */
static struct vireo_device *device_taken(const struct device_port *device)
{
	for (unsigned i = 0; i < device->port.spec.queues; i++)
		if (device->pairs[i].taken)
			return vireo_net_device(device->pairs[i].net);
	return NULL;
}

static json_int_t seconds_since(time_t then_s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (json_int_t)(now.tv_sec - then_s);
}

/* What the driver has said of hashes, and whether they choose its receive queues. */
static void add_rss(const struct vireo_net *net, json_t *session)
{
	static const char *const types[] = { "IPv4", "TCPv4", "UDPv4", "IPv6", "TCPv6", "UDPv6", "IP_EX", "TCP_EX", "UDP_EX" };
	struct vireo_net_rss rss = { .size = sizeof(rss) };
	json_t *list = json_array();

	vireo_net_rss(net, &rss);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (rss.hash_types & 1u << i)
			json_array_append_new(list, json_string(types[i]));
	json_object_set_new(session, "steering", json_string(rss.steers ? "rss" : "automatic"));
	json_object_set_new(session, "hash_types", list);
}

static json_t *session_of(const struct device_port *device, const struct vireo_device *taken, pid_t process)
{
	uint64_t features = vireo_device_features(taken);
	json_t *session = json_pack("{s:I, s:o, s:s, s:o}", "connected_s", seconds_since(device->connected_since_s), "features",
				    port_features_report(features), "ring",
				    features & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) ? "packed" : "split", "rings",
				    rings_of(device));
	json_t *command = process ? command_of(process) : NULL, *regions = regions_of(taken);

	add_rss(device->pairs[0].net, session);
	if (command)
		json_object_set_new(session, "peer_command", command);
	if (regions)
		json_object_set_new(session, "memory_regions", regions);
	return session;
}

void port_session_report(const struct device_port *device, pid_t process, json_t *object)
{
	const struct vireo_device *taken = device->connected_since_s ? device_taken(device) : NULL;

	json_object_set_new(object, "session", taken ? session_of(device, taken, process) : json_null());
}
