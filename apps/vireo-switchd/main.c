/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vireo-switchd: one control thread (this one) that dispatches a loop, and the switch's workers. Exit codes:
 * 0 ended by a signal, 1 the environment failed, 2 bad usage.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "commands.h"
#include "daemon/daemon.h"
#include "daemon/endpoint.h"
#include "daemon/takeover.h"
#include "daemon/upgrade.h"
#include "dpdk_devices.h"
#include "handover.h"
#include "options.h"
#include "port.h"
#include "reload.h"
#include "reopen.h"
#include "takeover.h"
#include "xdp_program.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHUTDOWN_MS 800
#define SYNC_END_MS 5000 /* with a port that takes back what a bridge has been told: thousands of addresses, one by one, of a kernel that is busy */

struct switchd {
	struct options options;
	struct daemon daemon;
	struct logger switch_logger;
	struct rate switch_rate;
	struct ports ports;
	bool reload; /* has been asked for while ports are opened anew */
};

static int switch_start(struct switchd *d)
{
	const struct sw_config config = {
		.workers = d->options.run.workers,
		.cpus = d->options.run.pinned ? d->options.run.cpus : NULL,
		.mode = d->options.run.poll ? SW_POLL : SW_ADAPTIVE,
		.spin_us = d->options.run.spin_us,
		.spin_percent = d->options.run.spin_percent,
		.balance = !d->options.run.stay,
		.unpaced = d->options.unpaced,
		.fdb_entries = d->options.fdb_entries,
		.fdb_age_s = d->options.fdb_age_s,
		.multicast = d->options.multicast,
		.log = logger_log(&d->switch_logger),
	};
	int err = sw_new(&config, d->daemon.loop, &d->ports.sw);

	if (err) {
		log_error(&d->daemon.log, "cannot start the workers: %s: try fewer of them", strerror(-err));
		return err;
	}
	d->ports.loop = d->daemon.loop;
	d->ports.faults = d->daemon.faults;
	d->ports.notifier = d->daemon.notifier;
	d->ports.memory = d->daemon.memory;
	d->ports.control_log = d->daemon.control_log;
	d->ports.vm2vm = d->options.vm2vm;
	return ports_init(&d->ports);
}

/* Nobody is served yet, and so what a daemon before this one has given back is waited for here. */
static int port_start(struct switchd *d, const struct port_spec *spec, struct port **ret_port, char *why)
{
	for (unsigned looks = 0;; looks++) {
		int err = ports_add(&d->ports, spec, &d->daemon.log, ret_port, why);
		unsigned ms = port_busy_ms(spec, err, looks);

		if (!ms)
			return err;
		nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
	}
}

static int ports_open(struct switchd *d)
{
	/* Many ports take a while. */
	for (unsigned i = 0; i < d->options.port_count && !daemon_ending(&d->daemon); i++) {
		char why[SPEC_WHY_BYTES], where[SETTINGS_WHERE_BYTES];
		struct port *port;
		int err = port_start(d, &d->options.ports[i].spec, &port, why);

		if (err) {
			log_error(&d->daemon.log, "%s%s",
				  settings_where(&d->options.run.daemon, d->options.ports[i].line, where), why);
			return err;
		}
		port_text_set(port, d->options.ports[i].text, true);
	}
	return 0;
}

static int ports_start(struct switchd *d)
{
	int err, release_err;

	sw_hold(d->ports.sw);
	err = ports_open(d);
	release_err = sw_release(d->ports.sw);
	if (!err && release_err)
		log_error(&d->daemon.log, "cannot start the ports: %s", strerror(-release_err));
	if (!err)
		err = release_err;
	if (!err && !daemon_ending(&d->daemon) &&
	    written_entries_hold(&d->ports, &d->options.entries, &d->options.run.daemon, &d->daemon.log))
		err = -EINVAL;
	return err;
}

static void on_reload(void *opaque)
{
	struct switchd *d = opaque;

	if (switch_handover_delays_reload(d->ports.handover))
		return;
	if (d->ports.reopen) {
		d->reload = true;
		return;
	}
	reload_begin(d->ports.reload, NULL);
}

/* As a start does it, but that what cannot be (of the ports that there are) costs a line only: nobody else has the ports any more. */
static void all_there(void *opaque)
{
	struct switchd *d = opaque;

	written_entries_hold(&d->ports, &d->options.entries, &d->options.run.daemon, &d->daemon.log);
	if (d->reload)
		reload_begin(d->ports.reload, NULL);
	d->reload = false;
}

static void taken_over(struct switchd *d, struct switch_takeover *takeover)
{
	int err;

	d->daemon.taken_fd = takeover_control_fd(takeover->takeover);
	if (daemon_control(&d->daemon, "switchd", switchd_commands, switchd_command_count, &d->ports))
		log_error(&d->daemon.log, "ports are served on, without a control socket");
	err = takeover->anew ? switch_reopen_begin(takeover, all_there, d, &d->ports.reopen) : 0;
	if (err)
		log_error(&d->daemon.log, "ports that were to be opened anew are not: %s", strerror(-err));
	if (!d->ports.reopen)
		all_there(d);
}

/* The ports of the settings are not looked at: those that there are count, and a reload does what differs. */
static int take_over(struct switchd *d)
{
	struct switch_takeover takeover;
	int err = switch_takeover_begin(&d->ports, &d->daemon, d->options.reopen, &takeover);

	if (err)
		return err;
	err = switch_takeover_end(&takeover);
	if (!err)
		taken_over(d, &takeover);
	switch_takeover_free(&takeover);
	return err;
}

static int make_all(struct switchd *d)
{
	int err;

	if (d->options.run.daemon.takeover)
		return take_over(d);
	/* before the ports: a second daemon must not touch their sockets */
	err = daemon_control(&d->daemon, "switchd", switchd_commands, switchd_command_count, &d->ports);
	return err ? err : ports_start(d);
}

static int start(struct switchd *d, int argc, char *const *argv)
{
	bool dpdk_ports = !d->options.run.daemon.takeover && dpdk_devices_make(&d->options); /* none is taken over */
	int err;

	d->options.run.daemon.rooms = switchd_rooms_of(!xdp_program_load(), dpdk_ports);
	err = daemon_open(&d->daemon, &d->options.run.daemon); /* which enters the sandbox */
	if (!err)
		err = switch_start(d);
	if (!err)
		err = switch_handover_open(&d->ports, &d->daemon, &d->ports.handover);
	if (!err) /* before another process gives up what it has */
		err = reload_new(&d->ports, argc, argv, &d->options, &d->daemon.log, &d->ports.reload);
	if (!err)
		err = make_all(d);
	if (!err)
		daemon_on_reload(&d->daemon, on_reload, d);
	return err;
}

static unsigned ports_count(const struct ports *ports)
{
	unsigned count = 0;

	for (const struct port *p = ports->first; p; p = p->next)
		count++;
	return count;
}

static void ports_stop(struct switchd *d)
{
	uint64_t end_ms = clock_now_ms() + SHUTDOWN_MS, now;

	ports_add_no_more(&d->ports);
	sw_hold(d->ports.sw);
	for (struct port *p = d->ports.first; p; p = p->next) {
		const struct endpoint_kind *endpoint = p->kind->spec.endpoint;

		if (endpoint && endpoint->end_ms)
			end_ms = max_u64(end_ms, clock_now_ms() + endpoint->end_ms);
		if (p->spec.learning_sync)
			end_ms = max_u64(end_ms, clock_now_ms() + SYNC_END_MS);
		if (!p->closing)
			ports_remove(p, NULL, NULL);
	}
	sw_release(d->ports.sw); /* without memory for it, the switch tries again */
	while (d->ports.first && (now = clock_now_ms()) < end_ms)
		loop_dispatch(d->daemon.loop, (int)(end_ms - now));
}

/* Everything is given back, unless a worker cannot leave a port in time: then the kernel does it. */
static void stop(struct switchd *d, int exit_code)
{
	switch_handover_close(d->ports.handover);
	d->ports.handover = NULL;
	switch_reopen_end(&d->ports.reopen);
	daemon_stop(&d->daemon); /* nobody may add a port any more */
	reload_end(d->ports.reload);
	if (d->ports.sw)
		ports_stop(d);
	if (d->ports.first) {
		log_warning(&d->daemon.log, "port %s does not come to rest: ending without it",
			    d->ports.first->spec.at.name);
		logger_end();
		_exit(exit_code);
	}
	reload_free(d->ports.reload);
	if (d->ports.sw)
		ports_fini(&d->ports);
	sw_free(d->ports.sw);
	daemon_close(&d->daemon);
	options_free(&d->options);
}

int main(int argc, char **argv)
{
	struct switchd d = {.switch_logger = {.rate = &d.switch_rate, .rated = "switch"}};
	int ret = 1;

	switch (options_parse(argc, argv, stdout, stderr, &d.options)) {
	case SETTINGS_DONE:
		return 0;
	case SETTINGS_BAD:
		return 2;
	case SETTINGS_LOST:
		return 1;
	case SETTINGS_RUN:
		break;
	}
	if (upgrade_aside(&d.options.run.daemon, "vireo-switchd", "switchd", &ret)) {
		options_free(&d.options);
		return ret;
	}
	if (!start(&d, argc, argv)) {
		if (!d.daemon.stop)
			log_info(&d.daemon.log, "ready: %u ports, %u workers, control socket %s", ports_count(&d.ports),
				 d.options.run.workers, d.daemon.control_path);
		ret = daemon_run(&d.daemon);
	}
	stop(&d, ret);
	return ret;
}
