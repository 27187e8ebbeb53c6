/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_multicast.h"
#include "base/util.h"
#include "daemon/parse.h"
#include "port.h"
#include "port_spec.h"
#include <string.h>

static struct sw_port_multicast *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->multicast;
}

bool port_set_mcast_router(struct spec *spec, const char *value)
{
	bool on = !strcmp(value, "on"), off = !strcmp(value, "off");

	container_of(spec, struct port_spec, at)->router_given = true;
	of(spec)->router = on ? SW_ROUTER_ALWAYS : off ? SW_ROUTER_NEVER : SW_ROUTER_HEARD;
	return on || off || !strcmp(value, "auto");
}

bool port_set_fast_leave(struct spec *spec, const char *value)
{
	of(spec)->fast_leave = !strcmp(value, "on");
	return of(spec)->fast_leave || !strcmp(value, "off");
}

bool port_set_mcast_groups(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, SW_GROUPS_MAX, &n))
		return false;
	of(spec)->groups_max = (unsigned)n;
	return true;
}

/* A guest is no router unless somebody says so: who asks for members gets all multicast, and has others' members forgotten. */
struct sw_port_multicast port_multicast_settings(const struct port *port)
{
	struct sw_port_multicast settings = port->spec.multicast;

	if (!port->spec.router_given && port->kind->guests)
		settings.router = SW_ROUTER_NEVER;
	return settings;
}

json_t *port_multicast_report(const struct port *port)
{
	const struct sw_port_multicast settings = port_multicast_settings(port);
	static const char *const routers[] = {[SW_ROUTER_HEARD] = "auto", [SW_ROUTER_ALWAYS] = "on", [SW_ROUTER_NEVER] = "off"};

	return json_pack("{s:s, s:b, s:i}", "router", routers[settings.router], "fast_leave", settings.fast_leave, "groups_max",
			 (int)(settings.groups_max ? settings.groups_max : SW_GROUPS_DEFAULT));
}
