/* SPDX-License-Identifier: BSD-3-Clause */
#include "dpdk_devices.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "port.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct made {
	char text[SPEC_ADDRESS_BYTES + PORT_DPDK_BYTES];
	unsigned queues;
	uint16_t mtu;
	int err;
	char why[DPDK_WHY_BYTES];
	bool taken;
	struct dpdk_device *device;
};

/* The process's. */
const struct dpdk_calls *dpdk;
static struct made *devices;
static unsigned device_count;
static _Thread_local char *said; /* of who makes a device; NULL: it goes to the log */

/* ---- what DPDK says ---- */

/* Any thread. While one makes a device, the first line says why it cannot be, and later ones what followed from that. */
static void say(const char *line)
{
	static struct rate rate;
	static struct logger logger = {.rate = &rate, .rated = "dpdk"};
	struct vireo_log log;

	if (said) {
		if (!*said)
			snprintf(said, DPDK_WHY_BYTES, "%s", line);
		return;
	}
	log = logger_log(&logger);
	log_warning(&log, "dpdk: %s", line);
}

/* Behind our words for it, those of DPDK, if there are any. */
static void why_join(struct made *made, const char *line)
{
	size_t bytes = strlen(made->why);

	if (*line)
		snprintf(made->why + bytes, sizeof(made->why) - bytes, " (%s)", line);
}

/* ---- making them ---- */

static int module_load(char *why)
{
	const struct dpdk_calls *calls;
	void *handle = dlopen(DPDK_MODULE_FILE, RTLD_NOW);

	if (!handle) {
		snprintf(why, DPDK_WHY_BYTES, "%s: install it, and DPDK", dlerror());
		return -ENOENT;
	}
	calls = dlsym(handle, DPDK_MODULE_SYMBOL);
	if (!calls || strcmp(calls->version, VIREO_VERSION) != 0) {
		snprintf(why, DPDK_WHY_BYTES, "%s is of another version than this daemon: install both of one", DPDK_MODULE_FILE);
		return -EINVAL;
	}
	dpdk = calls;
	return 0;
}

static int eal_start(char *why)
{
	const char **texts = calloc(device_count, sizeof(*texts));
	struct dpdk_start start = {.devices = texts, .count = device_count, .say = say};
	int err = texts ? module_load(why) : -ENOMEM;

	for (unsigned i = 0; texts && devices && i < device_count; i++) {
		texts[i] = devices[i].text;
		start.queues += devices[i].queues;
	}
	if (!err)
		err = dpdk->start(&start, why);
	free(texts);
	return err;
}

static void device_make(struct made *made, int err, const char *why)
{
	char line[DPDK_WHY_BYTES] = "";

	if (err) {
		made->err = err;
		snprintf(made->why, sizeof(made->why), "%s", why);
		return;
	}
	said = line;
	made->err = dpdk->open(made->text, made->queues, made->mtu, &made->device, made->why);
	said = NULL;
	if (made->err)
		why_join(made, line);
}

static bool is_dpdk(const struct option_port *port)
{
	return port->spec.at.kind == &port_dpdk.spec;
}

static void text_of(const struct port_spec *spec, char *text, size_t bytes)
{
	snprintf(text, bytes, "%s%s", spec->at.address, spec->dpdk.arguments);
}

static unsigned devices_list(const struct options *options)
{
	unsigned count = 0;

	for (unsigned i = 0; i < options->port_count; i++)
		count += is_dpdk(&options->ports[i]);
	devices = count ? calloc(count, sizeof(*devices)) : NULL;
	for (unsigned i = 0; devices && i < options->port_count; i++) {
		const struct port_spec *spec = &options->ports[i].spec;
		struct made *made = &devices[device_count];

		if (!is_dpdk(&options->ports[i]))
			continue;
		text_of(spec, made->text, sizeof(made->text));
		made->queues = spec->queues;
		made->mtu = spec->mtu;
		device_count++;
	}
	return device_count;
}

/* 0, or why DPDK is not to be started at all. */
static int barred(const struct daemon_options *options, char *why)
{
	if (options->beneath && !options->no_sandbox) {
		snprintf(why, DPDK_WHY_BYTES, "none can be had with --beneath, which does not hold for the thread that DPDK makes: leave that out");
		return -EPERM;
	}
	if (daemon_control_answers(options, "switchd")) {
		snprintf(why, DPDK_WHY_BYTES, "another daemon answers at the control socket, whose device it may be");
		return -EEXIST;
	}
	return 0;
}

bool dpdk_devices_make(const struct options *options)
{
	char why[DPDK_WHY_BYTES] = "out of memory", line[DPDK_WHY_BYTES] = "";
	int err;

	if (!devices_list(options) || !devices)
		return false;
	err = barred(&options->run.daemon, why);
	said = line;
	if (!err)
		err = eal_start(why);
	said = NULL;
	for (unsigned i = 0; i < device_count; i++) {
		device_make(&devices[i], err, why);
		if (err)
			why_join(&devices[i], line);
	}
	return true;
}

/* ---- a port has one ---- */

static struct made *made_find(const struct port_spec *spec)
{
	char text[sizeof(devices->text)];

	text_of(spec, text, sizeof(text));
	for (unsigned i = 0; i < device_count; i++)
		if (!strcmp(devices[i].text, text) && devices[i].queues == spec->queues && devices[i].mtu == spec->mtu)
			return &devices[i];
	return NULL;
}

int dpdk_device_take(const struct port_spec *spec, struct dpdk_device **ret_device, char why[SPEC_WHY_BYTES])
{
	struct made *made = made_find(spec);

	if (!made)
		snprintf(why, SPEC_WHY_BYTES, "dpdk '%.40s': no device has been made for this SPEC: the daemon can make some only before it enters its sandbox: "
			 "put the port into its settings, and start it anew", spec->at.address);
	else if (made->err)
		snprintf(why, SPEC_WHY_BYTES, "dpdk '%.40s': %s", spec->at.address, made->why);
	else if (made->taken)
		snprintf(why, SPEC_WHY_BYTES, "dpdk '%.40s': another port has this device", spec->at.address);
	else
		*ret_device = made->device;
	if (!made || made->err || made->taken)
		return !made ? -ENODEV : made->err ? made->err : -EBUSY;
	made->taken = true;
	dpdk->discard(made->device); /* what has come since another port had it is of another time */
	return 0;
}

void dpdk_device_give(struct dpdk_device *device)
{
	for (unsigned i = 0; i < device_count; i++)
		if (device && devices[i].device == device)
			devices[i].taken = false;
}
