/* SPDX-License-Identifier: BSD-3-Clause */
/* A device at an endpoint: making and ending it. How its queues come to workers, export_queue.c. */
#include "store/exports.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/endpoint.h"
#include "store/export_queue.h"
#include "vireo/endpoint.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* ---- the set of them ---- */

static void export_free(struct export *export)
{
	export->exports->kind->close(export);
	retry_fini(&export->retry);
	export_queues_free(export);
	free(export->spec);
	free(export->text);
	free(export);
}

/* The dead are freed here and not where they die: that is deep inside calls on the very objects to be freed. */
static void reap(void *opaque)
{
	struct exports *exports = opaque;
	struct export **at = &exports->first;

	while (*at) {
		struct export *export = *at;
		void (*removed)(void *) = export->removed;
		void *removed_opaque = export->removed_opaque;

		if (!export->dead) {
			at = &export->next;
			continue;
		}
		*at = export->next;
		if (export->added)
			log_info(removed ? &exports->control_log : &export->log, "%s%sremoved", removed ? export->spec->at.name : "",
				 removed ? ": " : "");
		export_free(export);
		if (removed)
			removed(removed_opaque);
		at = &exports->first; /* `removed` may have changed the list */
	}
}

static void drained(void *opaque, uint32_t events)
{
	struct exports *exports = opaque;

	vireo_mailbox_deliver(exports->drained);
}

int exports_init(struct exports *exports)
{
	int err = vireo_mailbox_new(&exports->drained);

	if (!err)
		err = loop_add(exports->loop, vireo_mailbox_fd(exports->drained), EPOLLIN, drained, exports,
			       &exports->drained_watch);
	if (!err)
		err = loop_timer_new(exports->loop, reap, exports, &exports->reaper);
	return err ? err : lookups_init(&exports->lookups, exports->loop, exports->kind->specs);
}

void exports_fini(struct exports *exports)
{
	assert(!exports->first);
	lookups_fini(&exports->lookups);
	loop_timer_free(&exports->reaper);
	while (vireo_mailbox_deliver(exports->drained)) /* of queues that left last: what their exports did not wait for */
		;
	loop_remove(&exports->drained_watch);
	vireo_mailbox_free(exports->drained);
	exports->drained = NULL;
}

static bool name_taken(const void *opaque, const char *name)
{
	const struct exports *exports = opaque;

	for (const struct export *e = exports->first; e; e = e->next)
		if (!strcmp(e->spec->at.name, name))
			return true;
	return false;
}

static const struct export *address_taken(const struct exports *exports, const struct export_spec *spec)
{
	for (const struct export *e = exports->first; e; e = e->next)
		if (e->spec->at.kind == spec->at.kind && !strcmp(e->spec->at.address, spec->at.address))
			return e;
	return NULL;
}

struct export *exports_find(const struct exports *exports, const char *name)
{
	for (struct export *e = exports->first; e; e = e->next)
		if (!e->closing && !strcmp(e->spec->at.name, name))
			return e;
	return NULL;
}

/* ---- making one ---- */

static void readable(void *opaque, uint32_t events)
{
	struct export *export = opaque;
	struct exports *exports = export->exports;
	int err = vireo_endpoint_dispatch(export->endpoint);

	if (!err || export->closing) /* closing, it may be gone by now */
		return;
	log_error(&export->log, "its %s is lost: %s; remove and add the export", export->spec->at.kind->endpoint->what,
		  strerror(-err));
	export->lost = true;
	loop_remove(&export->watch);
	if (exports->lost)
		exports->lost(exports->lost_opaque, export);
}

static int watch(struct export *export)
{
	return loop_add(export->exports->loop, vireo_endpoint_fd(export->endpoint), EPOLLIN, readable, export,
			&export->watch);
}

static void queues_again(void *opaque)
{
	export_queues_settle(opaque);
}

static struct export *export_new(struct exports *exports, const struct export_spec *spec)
{
	const struct export_kind *kind = exports->kind;
	struct export *export = calloc(1, kind->export_bytes);
	struct export_spec *own = malloc(kind->specs->spec_bytes);

	if (!export || !own) {
		free(export);
		free(own);
		return NULL;
	}
	memcpy(own, spec, kind->specs->spec_bytes);
	export->exports = exports;
	export->spec = own;
	export->logger = (struct logger){.subject = own->at.name};
	export->log = logger_log(&export->logger);
	/* No subject: the library's lines begin with the name. */
	export->peer_logger = (struct logger){.rate = &export->log_rate, .rated = own->at.name};
	export->queue_count = kind->queues(own);
	if (!export_queues_new(export))
		return export;
	export_queues_free(export);
	free(own);
	free(export);
	return NULL;
}

static int offer(struct export *export, char *why)
{
	const struct export_kind *kind = export->exports->kind;
	struct vireo_endpoint_config config;

	endpoint_config(&export->spec->at, &config);
	config.vhost_user.handover = true;
	config.state = export->exports->state;
	if (kind->config)
		kind->config(export, &config);
	return endpoint_open(&export->spec->at, export->device, &config, &export->endpoint, why);
}

static int export_start(struct export *export, char *why)
{
	const struct spec *spec = &export->spec->at;
	int err = retry_init(&export->retry, export->exports->loop, &export->log, queues_again, export);

	if (!err)
		err = export->exports->kind->open(export, why);
	if (!err)
		err = offer(export, why);
	if (!err)
		err = watch(export);
	if (err && !*why)
		spec->kind->endpoint->explain(err, spec, why);
	return err;
}

static int names_check(const struct exports *exports, struct export_spec *spec, char *why)
{
	const struct export *twin = address_taken(exports, spec);
	char wanted[SPEC_NAME_BYTES];
	int err;

	if (twin) { /* asking the system would disturb the export that is there */
		snprintf(why, SPEC_WHY_BYTES, "export '%s' has the address %s:%.100s already: choose another",
			 twin->spec->at.name, spec->at.kind->type, spec->at.address);
		return -EADDRINUSE;
	}
	memcpy(wanted, spec->at.name, sizeof(wanted));
	err = spec_name_choose(&spec->at, spec->at.name_given, name_taken, exports);
	if (err)
		snprintf(why, SPEC_WHY_BYTES, "there is an export '%s' already: choose another name", wanted);
	return err;
}

static void export_link(struct export *export)
{
	struct export **end = &export->exports->first;

	while (*end)
		end = &(*end)->next;
	*end = export;
}

int exports_add(struct exports *exports, const struct export_spec *spec, const struct vireo_log *log,
		struct export **ret_export, char why[SPEC_WHY_BYTES])
{
	struct export *export = export_new(exports, spec);
	char subject[SPEC_WHY_BYTES];
	int err;

	*why = '\0';
	if (!export) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return -ENOMEM;
	}
	err = names_check(exports, export->spec, why);
	if (!err)
		err = export_start(export, why);
	if (err) {
		vireo_endpoint_close(export->endpoint, NULL, NULL); /* nobody has come yet: it is gone at once */
		export_free(export);
		return err;
	}
	export_link(export);
	export->added = true;
	spec = export->spec;
	log_info(log, "%s: added: %s:%s%s", spec->at.name, spec->at.kind->type, spec->at.address,
		 exports->kind->subject(export, subject));
	*ret_export = export;
	return 0;
}

void export_text_set(struct export *export, const char *text)
{
	free(export->text);
	export->text = strdup(text);
}

/* ---- ending it ---- */

static void closed(void *opaque)
{
	struct export *export = opaque;

	loop_remove(&export->watch);
	export->endpoint = NULL;
	export->dead = true;
	loop_timer_start(export->exports->reaper, 1);
}

/* The endpoint is dispatched until it is gone. One that was lost is watched again for that. */
void exports_remove(struct export *export, void (*removed)(void *opaque), void *opaque)
{
	assert(!export->closing);
	export->closing = true;
	export->removed = removed;
	export->removed_opaque = opaque;
	if (!export->watch && watch(export))
		log_error(&export->log, "its %s cannot be closed in order", export->spec->at.kind->endpoint->what);
	vireo_endpoint_close(export->endpoint, closed, export);
}

/* ---- what is told of it ---- */

const char *export_state(const struct export *export)
{
	struct vireo_endpoint_peer peer = {.size = sizeof(peer)};

	if (export->lost)
		return "failed";
	if (export->closing)
		return "closing";
	if (!vireo_endpoint_connected(export->endpoint))
		return export->spec->at.kind->endpoint->waiting(&export->spec->at);
	return vireo_endpoint_peer(export->endpoint, &peer) && !peer.started ? "occupied" : "connected";
}

pid_t export_peer(const struct export *export)
{
	struct vireo_endpoint_peer peer = {.size = sizeof(peer)};

	return !export->lost && !export->closing && vireo_endpoint_peer(export->endpoint, &peer) ? peer.process : 0;
}
