/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second daemon: an entropy device at any endpoint, made of daemon/ and libvireo. What is here is what a daemon has of its
 * own; command line, configuration file, log, signals, control socket, advice for each errno are not. tests/e2e/second.py
 * is what it is tried by.
 */
#include "base/log.h"
#include "base/loop.h"
#include "ctl/rpc.h"
#include "daemon/daemon.h"
#include "daemon/endpoint.h"
#include "daemon/handover.h"
#include "daemon/sandbox_rooms.h"
#include "daemon/takeover.h"
#include "vireo/endpoint.h"
#include "vireo/rng.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

struct rngd {
	struct rngd_options {
		struct daemon_options daemon; /* first */
		struct spec at;
	} options;
	struct daemon daemon;
	struct vireo_rng *rng;
	struct vireo_endpoint *endpoint;
	struct loop_watch *watch;
	struct handover *handover;
};

/* ---- its words ---- */

static const struct spec_key vhost_user_keys[] = {SPEC_KEY_NAME, ENDPOINT_VHOST_USER_KEYS};
static const struct spec_key cuse_keys[] = {SPEC_KEY_NAME, ENDPOINT_CUSE_KEYS};
static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(vhost_user_keys), cuse = ENDPOINT_CUSE(cuse_keys);
static const struct spec_kind *const kind_rows[] = {&vhost_user, &cuse};
static const struct spec_kinds kinds = {.rows = kind_rows, .count = ARRAY_SIZE(kind_rows), .spec_bytes = sizeof(struct spec)};

static bool set_endpoint(void *options, const char *value, char *why)
{
	return !spec_parse(&kinds, value, &((struct rngd_options *)options)->at, why);
}

static const struct setting setting_rows[] = {
	{"endpoint", "SPEC", set_endpoint, "TYPE:ADDRESS[,key=value...]", "where the device is offered (see below)"},
	SETTING_CONTROL,
	SETTING_CONTROL_GROUP,
	SETTING_LOG_LEVEL,
	SETTING_NO_SANDBOX,
	{"takeover", NULL, settings_set_takeover, NULL, "take over from the rngd that runs with the same --endpoint", .once = true},
};

static void help_more(FILE *out)
{
	spec_help(&kinds, out);
}

static const struct calls *const rooms[] = {SANDBOX_ROOMS_OF_ALL, &cuse_calls, NULL};

static const struct settings settings = {
	.program = "rngd",
	.usage = "Usage: rngd [OPTION]... --endpoint SPEC\nRandom bytes for a virtual machine.\n",
	.rows = setting_rows,
	.count = ARRAY_SIZE(setting_rows),
	.help_more = help_more,
	.rooms = rooms,
};

static void serve_show(struct rpc_call *call, void *opaque)
{
	const struct rngd *r = opaque;
	const struct spec *at = &r->options.at;
	bool connected = r->endpoint && vireo_endpoint_connected(r->endpoint);

	rpc_call_reply(call, json_pack("{s:s, s:s}", "name", at->name, "state",
				       connected ? "connected" : at->kind->endpoint->waiting(at)));
}

static void serve_version(struct rpc_call *call, void *opaque)
{
	daemon_serve_version(call, settings.program);
}

static void serve_handover(struct rpc_call *call, void *opaque)
{
	handover_serve(((struct rngd *)opaque)->handover, call);
}

static const struct ctl_command commands[] = {
	{.words = "show", .method = "show", .params = "", .help = "show the device", .serve = serve_show},
	{.words = "version", .method = "version", .params = "", .help = "show the version", .serve = serve_version},
	{.words = "handover", .method = "handover", .params = "SOCKET VERSION", .help = "give the device to the process that listens at SOCKET",
	 .serve = serve_handover},
};

/* ---- its device ---- */

static void readable(void *opaque, uint32_t events)
{
	struct rngd *r = opaque;
	int err = vireo_endpoint_dispatch(r->endpoint);

	if (!err)
		return;
	log_error(&r->daemon.log, "the %s is lost: %s; start anew", r->options.at.kind->endpoint->what, strerror(-err));
	loop_remove(&r->watch);
}

/* `state`: of another process, or NULL. */
static int device_start(struct rngd *r, const struct vireo_endpoint_state *state)
{
	const struct spec *at = &r->options.at;
	const struct vireo_rng_config config = {
		.size = sizeof(config), .log = r->daemon.control_log, .name = at->name, .faults = r->daemon.faults,
		.notifier = r->daemon.notifier, .memory = r->daemon.memory, .memory_max_bytes = at->endpoint.memory_max_bytes,
	};
	struct vireo_endpoint_config endpoint;
	char why[SPEC_WHY_BYTES] = "out of memory";
	int err = vireo_rng_new(&config, &r->rng);

	endpoint_config(at, &endpoint);
	endpoint.vhost_user.handover = endpoint.cuse.handover = true;
	endpoint.state = state;
	if (!err)
		err = endpoint_open(at, vireo_rng_device(r->rng), &endpoint, &r->endpoint, why);
	if (err)
		log_error(&r->daemon.log, "%s", why);
	return err ? err : loop_add(r->daemon.loop, vireo_endpoint_fd(r->endpoint), EPOLLIN, readable, r, &r->watch);
}

/* ---- from one process to another ---- */

static const char *refused(void *opaque, char why[HANDOVER_WHY_BYTES])
{
	return NULL;
}

static void held(void *opaque, int err)
{
	struct rngd *r = opaque;

	if (err)
		handover_give_up(r->handover, strerror(-err));
	else if (handover_given_up(r->handover))
		vireo_endpoint_go_on(r->endpoint);
	handover_rests(r->handover);
}

static void hold(struct handover *handover, void *opaque)
{
	struct rngd *r = opaque;

	handover_waits(handover);
	if (vireo_endpoint_hold(r->endpoint, held, r))
		held(r, -EIO);
}

static void go_on(void *opaque)
{
	vireo_endpoint_go_on(((struct rngd *)opaque)->endpoint);
}

static int give(struct handover *handover, void *opaque)
{
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	int err = handover_give_state(handover, strdup("{}"));

	if (!err)
		err = vireo_endpoint_export(((struct rngd *)opaque)->endpoint, &state);
	return err ? err : handover_give(handover, HANDOVER_PART, state.data, state.bytes, state.fds, state.fd_count);
}

static const struct handover_ops handover_ops = {
	.what = "rngd", .late = "its queue does not come to rest", .version = 1, .refused = refused, .hold = hold, .go_on = go_on, .give = give,
};

static int device_take(struct rngd *r, struct takeover *takeover)
{
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	struct parcel parcel;
	int err = takeover_state(takeover, &parcel);

	if (err)
		return err;
	parcel_free(&parcel);
	err = takeover_next(takeover, HANDOVER_PART, &parcel);
	if (err)
		return err;
	state.data = parcel.data;
	state.bytes = parcel.bytes;
	state.fds = parcel.fds;
	state.fd_count = parcel.fd_count;
	err = device_start(r, &state);
	parcel_free(&parcel);
	return err ? err : takeover_answer(takeover);
}

static int take_over(struct rngd *r)
{
	struct takeover *takeover;
	int err = takeover_new(&r->daemon, "rngd", "rngd", 1, 0, NULL, &takeover);

	if (err)
		return err;
	err = device_take(r, takeover);
	if (!err) {
		vireo_endpoint_go_on(r->endpoint);
		takeover_gone_on(takeover);
		r->daemon.taken_fd = takeover_control_fd(takeover);
	}
	takeover_free(takeover);
	return err ? err : daemon_control(&r->daemon, "rngd", commands, ARRAY_SIZE(commands), r);
}

static int start(struct rngd *r)
{
	int err = daemon_open(&r->daemon, &r->options.daemon);

	if (!err)
		err = handover_new(&r->daemon, &handover_ops, r, &r->handover);
	if (!err && r->options.daemon.takeover)
		return take_over(r);
	if (!err)
		err = daemon_control(&r->daemon, "rngd", commands, ARRAY_SIZE(commands), r);
	return err ? err : device_start(r, NULL);
}

int main(int argc, char **argv)
{
	struct rngd r = {0};
	enum settings_verdict verdict;
	int ret = 1;

	daemon_options_init(&r.options.daemon);
	verdict = settings_parse(&settings, &r.options, argc, argv, stdout, stderr);
	if (verdict == SETTINGS_RUN && !r.options.at.kind) {
		fprintf(stderr, "rngd: expected --endpoint SPEC; see --help\n");
		verdict = SETTINGS_BAD;
	}
	if (verdict == SETTINGS_RUN) {
		if (!start(&r))
			ret = daemon_run(&r.daemon);
		handover_close(r.handover);
		daemon_stop(&r.daemon);
		loop_remove(&r.watch);
		vireo_endpoint_close(r.endpoint, NULL, NULL); /* the queue is served in this thread: it is quiet at once */
		vireo_rng_free(r.rng);
		daemon_close(&r.daemon);
	}
	daemon_options_free(&r.options.daemon);
	return verdict == SETTINGS_RUN ? ret : verdict == SETTINGS_BAD ? 2 : verdict == SETTINGS_LOST;
}
