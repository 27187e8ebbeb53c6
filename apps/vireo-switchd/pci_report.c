/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci_report.h"
#include "port_features.h"
#include "vireo/device.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The kernel's, that lets us have the card. NULL: it has been unbound, or has gone. */
static json_t *driver_of(const char *address)
{
	char path[64], target[PATH_MAX];
	const char *name;
	ssize_t bytes;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.23s/driver", address);
	bytes = readlink(path, target, sizeof(target) - 1);
	if (bytes <= 0)
		return NULL;
	target[bytes] = '\0';
	name = strrchr(target, '/');
	return json_string(name ? name + 1 : target);
}

static json_t *ring_report(const char *direction, unsigned queue, const struct vireo_driver_ring *ring)
{
	return json_pack("{s:s, s:i, s:i}", "direction", direction, "queue", (int)queue, "size", (int)vireo_driver_ring_size(ring));
}

json_t *pci_session_report(const struct port_spec *spec, uint64_t features, const struct pci_queue *queues)
{
	json_t *rings = json_array(), *driver = driver_of(spec->at.address), *session;

	for (unsigned i = 0; i < spec->queues; i++) {
		json_array_append_new(rings, ring_report("rx", i, queues[i].s.rx));
		json_array_append_new(rings, ring_report("tx", i, queues[i].s.tx));
	}
	session = json_pack("{s:o, s:s, s:o}", "features", port_features_report(features), "ring",
			    features & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) ? "packed" : "split", "rings", rings);
	if (driver)
		json_object_set_new(session, "driver", driver);
	return session;
}
