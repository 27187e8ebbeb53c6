/* SPDX-License-Identifier: BSD-3-Clause */
#include "port.h"
#include "daemon/aside.h"
#include "port_file.h"
#include "static_entries.h"
#include "base/log.h"
#include "base/loop.h"
#include "vireo/endpoint.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void wait_over(void *opaque);

struct ports_waiting {
	struct ports_waiting *next;
	struct port_spec spec;
	unsigned busy; /* how often it was */
	ports_added_fn *added;
	void *opaque;
};

static bool must_wait(const struct port_kind *kind)
{
	return kind->takes_rtnl && aside_rtnl();
}

bool ports_must_wait(const struct port_spec *spec)
{
	return must_wait(port_kind_of(&spec->at));
}

/*
 * Dead ports are freed here and not where they die: that is deep inside calls on the very objects to be
 * freed.
 */
static void reap(void *opaque)
{
	struct ports *ports = opaque;
	struct port **at = &ports->first;

	while (*at) {
		struct port *port = *at;
		void (*removed)(void *) = port->removed;
		void *removed_opaque = port->removed_opaque;
		bool waits = port->dead && must_wait(port->kind);

		if (waits)
			loop_timer_start(ports->reaper, ASIDE_LOOK_MS);
		if (!port->dead || waits) {
			at = &port->next;
			continue;
		}
		*at = port->next;
		if (port->added && removed)
			log_info(&ports->control_log, "%s: removed", port->spec.at.name);
		else if (port->added)
			log_info(&port->log, "removed");
		free(port->text);
		port->kind->free(port);
		if (removed)
			removed(removed_opaque);
		at = &ports->first; /* `removed` may have changed the list */
	}
}

int ports_init(struct ports *ports)
{
	int err = loop_timer_new(ports->loop, reap, ports, &ports->reaper);

	if (!err)
		err = lookups_init(&ports->lookups, ports->loop, &port_kinds);
	if (!err)
		err = errands_init(&ports->files, ports->loop, PORT_FILES_MAX);
	return err ? err : loop_timer_new(ports->loop, wait_over, ports, &ports->waiter);
}

void ports_fini(struct ports *ports)
{
	assert(!ports->first);
	assert(!ports->waiting);
	if (ports->reaper)
		loop_timer_free(&ports->reaper);
	lookups_fini(&ports->lookups);
	errands_fini(&ports->files);
	if (ports->waiter)
		loop_timer_free(&ports->waiter);
}

static bool name_taken(const void *opaque, const char *name)
{
	const struct ports *ports = opaque;

	for (const struct port *p = ports->first; p; p = p->next)
		if (!strcmp(p->spec.at.name, name))
			return true;
	return false;
}

static void port_link(struct port *port)
{
	struct port **end = &port->ports->first;

	while (*end)
		end = &(*end)->next;
	*end = port;
}

/* Any but this one. */
static bool any_has(const struct ports *ports, const struct port_spec *spec, const struct port *but, char why[SPEC_WHY_BYTES],
		    bool (*same)(const struct port_spec *there, const struct port_spec *spec, char why[SPEC_WHY_BYTES]))
{
	for (const struct port *p = ports->first; p; p = p->next)
		if (p != but && same(&p->spec, spec, why))
			return true;
	return false;
}

bool ports_mac_taken(const struct ports *ports, const struct port_spec *spec, const struct port *but, char why[SPEC_WHY_BYTES])
{
	const uint8_t *m;
	const char *rival;

	if (any_has(ports, spec, but, why, port_spec_same_mac))
		return true;
	rival = static_entry_against(ports, spec, &m);
	if (rival)
		snprintf(why, SPEC_WHY_BYTES,
			 "%s is static behind port '%.64s': fdb del it, or choose another mac=", port_mac_text(m).text, rival);
	return rival;
}

/* A negative errno and why; or with its name in `ret_chosen`. */
static int add_allowed(const struct ports *ports, const struct port_spec *spec, struct port_spec *ret_chosen, char why[SPEC_WHY_BYTES])
{
	bool fixed = spec->at.name_given || port_kind_of(&spec->at)->address_is_name;
	int err;

	*ret_chosen = *spec;
	err = spec_name_choose(&ret_chosen->at, fixed, name_taken, ports);
	if (any_has(ports, spec, NULL, why, port_spec_same_address)) /* asking the system would disturb the port that is there */
		return -EADDRINUSE;
	if (err) {
		snprintf(why, SPEC_WHY_BYTES, "there is a port '%s' already: choose another name",
			 spec->at.name);
		return err;
	}
	if (ports_mac_taken(ports, spec, NULL, why))
		return -EADDRINUSE;
	return port_workers_there(ports, spec, why) ? 0 : -ERANGE;
}

static void port_begin(struct port *port, const struct port_spec *spec, const struct vireo_log *log)
{
	port_link(port);
	port->added = true;
	port->renamed = strcmp(port->spec.at.name, spec->at.name) != 0;
	if (spec->running.link_down)
		port_link_set(port, false);
	log_info(log, "%s: added: %s:%s", port->spec.at.name, spec->at.kind->type, spec->at.address);
}

/* `fd`: its file, of a kind that has one; it is taken. */
static int add_on(struct ports *ports, const struct port_spec *spec, int fd, const struct vireo_log *log, struct port **ret_port,
		  char why[SPEC_WHY_BYTES])
{
	const struct port_kind *kind = port_kind_of(&spec->at);
	struct port_spec chosen;
	struct port *port;
	int err = add_allowed(ports, spec, &chosen, why);

	if (err) {
		port_file_close(&fd);
		return err;
	}
	err = kind->open_on ? kind->open_on(ports, &chosen, fd, &port, why) : kind->open(ports, &chosen, &port, why);
	if (err)
		return err;
	port_begin(port, spec, log);
	*ret_port = port;
	return 0;
}

/* It is another process's, which has it open. */
static int file_take(const struct vireo_endpoint_state *state, const struct port_spec *spec, int *ret_fd, char why[SPEC_WHY_BYTES])
{
	int fd = state->fd_count == 1 ? fcntl(state->fds[0], F_DUPFD_CLOEXEC, 0) : -1;

	if (fd < 0) {
		snprintf(why, SPEC_WHY_BYTES, "%s '%.200s': its file was not handed over", spec->at.kind->type, spec->at.address);
		return -EINVAL;
	}
	*ret_fd = fd;
	return 0;
}

int ports_add(struct ports *ports, const struct port_spec *spec, const struct vireo_log *log, struct port **ret_port,
	      char why[SPEC_WHY_BYTES])
{
	const struct port_kind *kind = port_kind_of(&spec->at);
	struct port_spec chosen;
	int fd = -1, err = kind->file_open ? add_allowed(ports, spec, &chosen, why) : 0;

	if (!err && kind->file_open)
		err = ports->state ? file_take(ports->state, spec, &fd, why) : kind->file_open(spec, &fd, why);
	return err ? err : add_on(ports, spec, fd, log, ret_port, why);
}

/* Twice as long each time: 3 seconds in all. A try is dear: it attaches a program, and sets the interface. */
#define BUSY_LOOKS 6u
#define BUSY_LOOK_MS 50u

unsigned port_busy_ms(const struct port_spec *spec, int err, unsigned looks)
{
	return err == -EBUSY && port_kind_of(&spec->at)->given_back_late && looks < BUSY_LOOKS ? BUSY_LOOK_MS << looks : 0;
}

static bool waiting_put(struct ports *ports, const struct ports_waiting *what, unsigned ms)
{
	struct ports_waiting **end = &ports->waiting, *waiting = malloc(sizeof(*waiting));

	if (!waiting)
		return false;
	*waiting = *what;
	waiting->next = NULL;
	while (*end)
		end = &(*end)->next;
	*end = waiting;
	loop_timer_start(ports->waiter, ms);
	return true;
}

/* False: it waits on. */
static bool add_now(struct ports *ports, struct ports_waiting *what)
{
	char why[SPEC_WHY_BYTES] = "";
	struct port *port = NULL;
	int err = ports_add(ports, &what->spec, &ports->control_log, &port, why);
	unsigned ms = port_busy_ms(&what->spec, err, what->busy);

	what->busy++;
	if (ms && waiting_put(ports, what, ms))
		return false;
	what->added(what->opaque, err, port, why);
	return true;
}

static void waiting_drop(struct ports *ports, struct ports_waiting *ret)
{
	struct ports_waiting *first = ports->waiting;

	*ret = *first;
	ports->waiting = first->next;
	free(first);
}

static void wait_over(void *opaque)
{
	struct ports *ports = opaque;
	struct ports_waiting first;

	while (ports->waiting && !must_wait(port_kind_of(&ports->waiting->spec.at))) {
		waiting_drop(ports, &first);
		if (!add_now(ports, &first))
			return; /* its time has begun, and others wait no longer */
	}
	if (ports->waiting)
		loop_timer_start(ports->waiter, ASIDE_LOOK_MS);
}

/* What is to be added, and waits for somebody aside. */
struct ports_held_up {
	struct ports *ports;
	struct port_spec spec; /* of one that has a file */
	ports_added_fn *added;
	void *opaque;
};

static void file_over(void *opaque, int err, int fd, const char *why)
{
	struct ports_held_up *held = opaque;
	char refused[SPEC_WHY_BYTES] = "";
	struct port *port = NULL;

	if (!err) {
		err = add_on(held->ports, &held->spec, fd, &held->ports->control_log, &port, refused);
		why = refused;
	}
	held->added(held->opaque, err, port, why);
	free(held);
}

/* Whether it is allowed is looked at before, so that no file is made for nothing, and again when it is open. */
static void file_begin(struct ports_held_up *held, const struct port_spec *spec)
{
	char why[SPEC_WHY_BYTES] = "";
	struct port_spec chosen;
	int err = add_allowed(held->ports, spec, &chosen, why);

	held->spec = *spec;
	if (err)
		file_over(held, err, -1, why);
	else
		port_file_open(&held->ports->files, spec, file_over, held);
}

static void held_up_over(void *opaque, int err, const struct spec *spec, const char *why)
{
	struct ports_held_up held = *(struct ports_held_up *)opaque;

	if (!err && port_kind_of(spec)->file_open) {
		file_begin(opaque, (const struct port_spec *)spec);
		return;
	}
	free(opaque);
	if (err)
		held.added(held.opaque, err, NULL, why);
	else
		add_now(held.ports, &(struct ports_waiting){.spec = *(const struct port_spec *)spec, .added = held.added, .opaque = held.opaque});
}

/* Of ports that wait for nothing most are added before this returns. */
static void add_held_up(struct ports *ports, const struct port_spec *spec, ports_added_fn *added, void *opaque)
{
	struct ports_held_up *held = malloc(sizeof(*held));

	if (!held) {
		added(opaque, -ENOMEM, NULL, "out of memory");
		return;
	}
	*held = (struct ports_held_up){.ports = ports, .added = added, .opaque = opaque};
	lookups_held_up(&ports->lookups, &spec->at, held_up_over, held);
}

void ports_add_soon(struct ports *ports, const struct port_spec *spec, ports_added_fn *added, void *opaque)
{
	if (!must_wait(port_kind_of(&spec->at)))
		add_held_up(ports, spec, added, opaque);
	else if (!waiting_put(ports, &(struct ports_waiting){.spec = *spec, .added = added, .opaque = opaque}, ASIDE_LOOK_MS))
		added(opaque, -ENOMEM, NULL, "out of memory");
}

void ports_add_no_more(struct ports *ports)
{
	struct ports_waiting first;

	lookups_end(&ports->lookups);
	errands_end(&ports->files);
	while (ports->waiting) {
		waiting_drop(ports, &first);
		first.added(first.opaque, -ECANCELED, NULL, "the daemon is ending");
	}
}

void ports_remove(struct port *port, void (*removed)(void *opaque), void *opaque)
{
	assert(!port->closing);
	port->closing = true;
	port->removed = removed;
	port->removed_opaque = opaque;
	port->kind->close(port);
}

enum port_told port_link_set(struct port *port, bool up)
{
	if (sw_port_link(port->sw) != up)
		log_info(&port->ports->control_log, "%s: link is set %s", port->spec.at.name, up ? "up" : "down");
	sw_port_link_set(port->sw, up);
	return port->kind->link_set ? port->kind->link_set(port, up) : PORT_TOLD_NOBODY;
}

void port_text_set(struct port *port, const char *text, bool in_settings)
{
	free(port->text);
	port->text = strdup(text);
	port->in_settings = in_settings && port->text;
}

struct port *ports_find(const struct ports *ports, const char *name)
{
	for (struct port *p = ports->first; p; p = p->next)
		if (!p->closing && !strcmp(p->spec.at.name, name))
			return p;
	return NULL;
}

void port_init(struct port *port, struct ports *ports, const struct port_kind *kind, const struct port_spec *spec)
{
	port->ports = ports;
	port->kind = kind;
	port->spec = *spec;
	port_vm2vm_settle(&port->spec, ports->vm2vm);
	port->mtu = spec->mtu;
	port->logger = (struct logger){.subject = port->spec.at.name};
	port->log = logger_log(&port->logger);
	port->peer_logger = port->logger;
	port->peer_logger.rate = &port->log_rate;
	port->peer_logger.rated = port->spec.at.name;
	port->peer_log = logger_log(&port->peer_logger);
}

int port_join(struct port *port)
{
	struct sw_bond_config bond = port_bond_config(&port->spec.bond);
	struct sw_port_config config = {
		.name = port->spec.at.name,
		.number = port->ports->number,
		.bond = port->kind == &port_bond ? &bond : NULL,
		.ops = port->kind->ops,
		.opaque = port,
		.mtu = port->spec.mtu,
		.gro = port->spec.gro,
		.flood_copies = port->spec.flood_copies,
		.limits = port->spec.limits,
		.retry = port_retry_settings(&port->spec),
		.guard = port->spec.guard,
		.multicast = port_multicast_settings(port),
		.lock_address = port->spec.spoof_learned,
		.addresses = (const uint8_t (*)[6])port->spec.macs,
		.aside = port->spec.at.endpoint.any_files,
		.address_count = port_spec_fixed_macs(&port->spec),
	};
	int err;

	port_spec_rules(&port->spec, &config);
	err = sw_port_new(port->ports->sw, &config, &port->sw);
	if (!err)
		port_running_begin(port);
	return err;
}

void port_offloads_set(struct port *port, unsigned offloads)
{
	port->offloads = offloads;
	sw_port_offloads_set(port->sw, offloads);
}

void port_mtu_settle(struct port *port)
{
	uint16_t spec = port->spec.mtu, peer = port->mtu_of_peer;

	port->mtu = peer && (!spec || peer < spec) ? peer : spec;
	sw_port_mtu_set(port->sw, port->mtu);
}

void port_mtu_of_peer(struct port *port, uint16_t mtu)
{
	port->mtu_of_peer = mtu;
	port_mtu_settle(port);
}

static void port_left(void *opaque)
{
	struct port *port = opaque;

	port->sw = NULL;
	port->dead = true;
	loop_timer_start(port->ports->reaper, 1);
}

void port_closed(struct port *port)
{
	sw_port_free(port->sw, port_left, port);
}

int port_opened(struct port *port, int err, struct port **ret_port)
{
	if (!err) {
		*ret_port = port;
	} else if (port->sw) { /* the switch has seen it: freed when it has let go */
		port_link(port);
		port->closing = true;
		port_closed(port);
	} else {
		port->kind->free(port);
	}
	return err;
}
