/* SPDX-License-Identifier: BSD-3-Clause */
#include "reload.h"
#include "base/log.h"
#include "base/util.h"
#include "ctl/rpc.h"
#include "daemon/errand.h"
#include "daemon/logger.h"
#include "config_show.h"
#include "port_set.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_BYTES 1024u
#define ENDING	  "the daemon is ending"

/* The settings as they are now. */
struct reading {
	enum settings_verdict verdict;
	struct options options;
	char *said; /* what is wrong with them: a line */
};

/* Fetches them. */
struct fetch {
	struct errand errand;
	struct reload *reload;
	int argc;
	char *const *argv;
	struct reading *reading; /* NULL: it has been taken over */
};

struct reload {
	struct ports *ports;
	int argc;
	char *const *argv;
	const struct options *started; /* what the daemon runs with */
	struct vireo_log log;
	struct errands errands;
	/* Of the one that is under way. */
	struct reading *reading; /* NULL: it is being fetched */
	struct rpc_call *call;
	bool under_way;
	bool ending; /* the daemon is */
	unsigned pending; /* ports that are still to go, then ports that are still to come; and one while we go through them */
	unsigned added, removed, changed, kept, failed;
	struct written_entries entries; /* of the settings that hold */
};

/* ---- aside ---- */

static void reading_free(struct reading *reading)
{
	if (!reading)
		return;
	if (reading->verdict == SETTINGS_RUN)
		options_free(&reading->options);
	free(reading->said);
	free(reading);
}

static struct fetch *fetch_of(struct errand *errand)
{
	return container_of(errand, struct fetch, errand);
}

static void fetch_free(struct errand *errand)
{
	struct fetch *fetch = fetch_of(errand);

	reading_free(fetch->reading);
	free(fetch);
}

static void fetch_do(struct errand *errand)
{
	const struct fetch *fetch = fetch_of(errand);
	struct reading *reading = fetch->reading;
	size_t bytes;
	FILE *said = open_memstream(&reading->said, &bytes);

	if (!said)
		return;
	reading->verdict = options_parse(fetch->argc, fetch->argv, said, said, &reading->options);
	fclose(said);
}

static void fetched(struct errand *errand, int err);

static int fetch_run(struct reload *reload)
{
	static const struct errand_ops ops = {.work = fetch_do, .done = fetched, .drop = fetch_free};
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	int err = -ENOMEM;

	if (!fetch)
		return err;
	*fetch = (struct fetch){.errand.ops = &ops, .reload = reload, .argc = reload->argc, .argv = reload->argv};
	fetch->reading = calloc(1, sizeof(*fetch->reading));
	if (fetch->reading) {
		fetch->reading->verdict = SETTINGS_LOST;
		err = errands_run(&reload->errands, &fetch->errand);
	}
	if (err)
		fetch_free(&fetch->errand);
	return err;
}

/* ---- the end of it ---- */

static void finish(struct reload *reload)
{
	reading_free(reload->reading);
	reload->reading = NULL;
	reload->under_way = false;
	reload->call = NULL;
}

static void refuse(struct reload *reload, const char *why)
{
	if (reload->call)
		rpc_call_error(reload->call, RPC_FAILED, "%s", why);
	else
		log_warning(&reload->log, "nothing is reloaded: %s", why);
	finish(reload);
}

/* Ports that have come may be those that they are behind. */
static unsigned entries_come(struct reload *reload)
{
	struct options *options = &reload->reading->options;

	written_entries_free(&reload->entries);
	reload->entries = options->entries;
	options->entries = (struct written_entries){0};
	return written_entries_hold(reload->ports, &reload->entries, &options->run.daemon, &reload->log);
}

static void succeed(struct reload *reload)
{
	unsigned missing = entries_come(reload);

	log_info(&reload->log, "reloaded: %u ports added, %u removed, %u changed, %u kept", reload->added, reload->removed,
		 reload->changed, reload->kept);
	if (reload->call && reload->failed)
		rpc_call_error(reload->call, RPC_FAILED,
			       "the file is reloaded, but %u of its ports cannot be opened, and the log says why: %u ports "
			       "added, %u removed, %u changed, %u kept",
			       reload->failed, reload->added, reload->removed, reload->changed, reload->kept);
	else if (reload->call && missing)
		rpc_call_error(reload->call, RPC_FAILED,
			       "the file is reloaded, but %u of its fdb entries cannot be made, and the log says why", missing);
	else if (reload->call)
		rpc_call_reply(reload->call, json_pack("{s:i, s:i, s:i, s:i}", "added", (int)reload->added, "removed",
						       (int)reload->removed, "changed", (int)reload->changed, "kept", (int)reload->kept));
	finish(reload);
}

/* ---- what is done ---- */

static struct port *port_written(const struct reload *reload, const char *text)
{
	for (struct port *p = reload->ports->first; p; p = p->next)
		if (!p->closing && p->in_settings && !strcmp(p->text, text))
			return p;
	return NULL;
}

static bool still_written(const struct options *options, const char *text)
{
	for (unsigned i = 0; i < options->port_count; i++)
		if (!strcmp(options->ports[i].text, text))
			return true;
	return false;
}

struct arrival {
	struct reload *reload;
	unsigned index;
};

static void one_less(struct reload *reload)
{
	if (!--reload->pending)
		succeed(reload);
}

static void arrived(void *opaque, int err, const struct port *port, const char *why)
{
	struct arrival arrival = *(struct arrival *)opaque;
	struct reload *reload = arrival.reload;
	const struct option_port *given = &reload->reading->options.ports[arrival.index];
	char where[SETTINGS_WHERE_BYTES];

	free(opaque);
	if (err) {
		reload->failed++;
		log_error(&reload->log, "%s%s", settings_where(&reload->reading->options.run.daemon, given->line, where), why);
	} else {
		reload->added++;
		port_text_set(ports_find(reload->ports, port->spec.at.name), given->text, true);
	}
	one_less(reload);
}

static void port_arrive(struct reload *reload, unsigned index)
{
	struct arrival *arrival = malloc(sizeof(*arrival));

	reload->pending++;
	if (!arrival) {
		log_error(&reload->log, "out of memory for a port");
		reload->failed++;
		one_less(reload);
		return;
	}
	*arrival = (struct arrival){reload, index};
	ports_add_soon(reload->ports, &reload->reading->options.ports[index].spec, arrived, arrival);
}

static void ports_arrive(struct reload *reload)
{
	const struct options *options = &reload->reading->options;

	reload->pending = 1;
	sw_hold(reload->ports->sw);
	reload->kept = 0;
	for (unsigned i = 0; i < options->port_count; i++)
		if (port_written(reload, options->ports[i].text))
			reload->kept++;
		else
			port_arrive(reload, i);
	if (sw_release(reload->ports->sw))
		log_error(&reload->log, "out of memory for the switch's ports: reload again");
	reload->kept -= reload->changed;
	one_less(reload);
}

/* Addresses and names are free again when all that leave have gone. */
static void went(struct reload *reload)
{
	if (--reload->pending)
		return;
	if (reload->ending)
		refuse(reload, ENDING);
	else
		ports_arrive(reload);
}

static void gone(void *opaque)
{
	struct reload *reload = opaque;

	reload->removed++;
	went(reload);
}

/* It is written otherwise, but what differs can change while it is there. */
static bool changed(struct reload *reload, struct port *port)
{
	const struct options *options = &reload->reading->options;
	char why[SPEC_WHY_BYTES];

	for (unsigned i = 0; i < options->port_count; i++) {
		const struct option_port *given = &options->ports[i];

		if (port_kind_of(&given->spec.at) != port->kind || !port_set_alike(&port->kind->spec, port->text, given->text) ||
		    port_set(port, &given->spec, given->text, NULL, why))
			continue;
		log_info(&reload->log, "%s: changed: %s", port->spec.at.name, given->text);
		reload->changed++;
		return true;
	}
	return false;
}

static void ports_leave(struct reload *reload)
{
	reload->pending = 1;
	sw_hold(reload->ports->sw);
	for (struct port *p = reload->ports->first, *next; p; p = next) {
		next = p->next;
		if (p->closing || !p->in_settings || still_written(&reload->reading->options, p->text) || changed(reload, p))
			continue;
		reload->pending++;
		ports_remove(p, gone, reload);
	}
	if (sw_release(reload->ports->sw))
		log_error(&reload->log, "out of memory for the switch's ports: reload again");
	went(reload);
}

/* ---- what cannot be done ---- */

static bool text_same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool workers_same(const struct worker_options *a, const struct worker_options *b)
{
	return a->workers == b->workers && a->pinned == b->pinned &&
	       (!a->pinned || !memcmp(a->cpus, b->cpus, a->workers * sizeof(*a->cpus)));
}

static void needs_restart(const struct reload *reload, bool same, const char *name)
{
	if (!same)
		log_warning(&reload->log, "%s is written otherwise than when the switch was started: it holds after a restart", name);
}

static void settings_look(const struct reload *reload)
{
	const struct options *was = reload->started, *is = &reload->reading->options;
	const struct daemon_options *daemon_was = &was->run.daemon, *daemon_is = &is->run.daemon;

	needs_restart(reload, text_same(daemon_was->control, daemon_is->control), "control");
	needs_restart(reload, daemon_was->set_control_group == daemon_is->set_control_group &&
				      daemon_was->control_group == daemon_is->control_group, "control-group");
	needs_restart(reload, text_same(daemon_was->beneath, daemon_is->beneath), "beneath");
	needs_restart(reload, daemon_was->no_sandbox == daemon_is->no_sandbox, "no-sandbox");
	needs_restart(reload, workers_same(&was->run, &is->run), "workers");
	needs_restart(reload, was->run.stay == is->run.stay, "worker-balance");
	needs_restart(reload, was->run.poll == is->run.poll, "poll or adaptive");
	needs_restart(reload, was->run.spin_us == is->run.spin_us && was->run.spin_percent == is->run.spin_percent,
		      "spin-us or spin-percent");
	needs_restart(reload, was->unpaced == is->unpaced, "udp-pacing");
	needs_restart(reload, was->fdb_entries == is->fdb_entries, "fdb-entries");
	needs_restart(reload, was->fdb_age_s == is->fdb_age_s, "fdb-age");
	needs_restart(reload, was->vm2vm == is->vm2vm, "vm2vm");
	needs_restart(reload, was->multicast.snooping == is->multicast.snooping, "mcast-snooping");
	needs_restart(reload, was->multicast.querier == is->multicast.querier, "mcast-querier");
	needs_restart(reload, was->multicast.unknown_to_routers == is->multicast.unknown_to_routers, "mcast-unknown");
	needs_restart(reload, was->multicast.query_interval_s == is->multicast.query_interval_s, "mcast-interval");
}

static void apply(struct reload *reload)
{
	const struct reading *reading = reload->reading;
	char why[WHY_BYTES];

	if (reading->verdict != SETTINGS_RUN) {
		snprintf(why, sizeof(why), "%.*s", reading->said ? (int)strcspn(reading->said, "\n") : 0,
			 reading->said ? reading->said : "");
		refuse(reload, *why ? why : "out of memory");
		return;
	}
	settings_look(reload);
	if (reading->options.run.daemon.log_level != logger_level())
		logger_level_set(reading->options.run.daemon.log_level);
	written_entries_leave(reload->ports, &reload->entries, &reading->options.entries); /* a port may leave their VLAN */
	ports_leave(reload);
}

static void fetched(struct errand *errand, int err)
{
	struct fetch *fetch = fetch_of(errand);
	struct reload *reload = fetch->reload;

	if (err) {
		refuse(reload, ENDING);
		return;
	}
	reload->reading = fetch->reading;
	fetch->reading = NULL;
	apply(reload);
}

/* ---- the settings as they would have to be ---- */

void reload_config(const struct reload *reload, FILE *out)
{
	config_show_write(reload->ports, &reload->started->run.daemon, out);
}

char *reload_file(const struct reload *reload)
{
	return reload->started->run.daemon.config ? realpath(reload->started->run.daemon.config, NULL) : NULL;
}

/* ---- from outside ---- */

void reload_begin(struct reload *reload, struct rpc_call *call)
{
	if (!reload || reload->under_way || reload->ending) {
		if (call)
			rpc_call_error(call, RPC_FAILED, "the switch is starting, reloading or ending: try again when that is over");
		return;
	}
	reload->call = call;
	if (!reload->started->run.daemon.config) {
		refuse(reload, "there is nothing to reload: the switch was started without --config");
		return;
	}
	if (fetch_run(reload)) {
		refuse(reload, "there is no thread to read the file: try again later");
		return;
	}
	reload->under_way = true;
	reload->added = reload->removed = reload->changed = reload->kept = reload->failed = 0;
}

bool reload_runs(const struct reload *reload)
{
	return reload && reload->under_way;
}

int reload_new(struct ports *ports, int argc, char *const *argv, const struct options *options, const struct vireo_log *log,
	       struct reload **ret_reload)
{
	struct reload *reload = calloc(1, sizeof(*reload));
	int err;

	if (!reload)
		return -ENOMEM;
	*reload = (struct reload){.ports = ports, .argc = argc, .argv = argv, .started = options, .log = *log};
	err = written_entries_copy(&options->entries, &reload->entries);
	if (!err)
		err = errands_init(&reload->errands, ports->loop, 1);
	if (err) {
		written_entries_free(&reload->entries);
		free(reload);
	} else {
		*ret_reload = reload;
	}
	return err;
}

void reload_end(struct reload *reload)
{
	if (!reload)
		return;
	reload->ending = true;
	errands_end(&reload->errands);
}

void reload_free(struct reload *reload)
{
	if (!reload)
		return;
	errands_fini(&reload->errands);
	written_entries_free(&reload->entries);
	free(reload);
}
