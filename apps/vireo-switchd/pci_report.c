/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci_report.h"
#include "net_driver.h"
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

json_t *pci_session_report(const struct port_spec *spec, uint64_t features, const struct driver_queue *queues)
{
	json_t *driver = driver_of(spec->at.address), *session = net_driver_session(spec->queues, features, queues);

	if (driver)
		json_object_set_new(session, "driver", driver);
	return session;
}
