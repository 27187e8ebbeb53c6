/* SPDX-License-Identifier: BSD-3-Clause */
#include "takeover.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "ctl/client.h"
#include "ctl/rpc.h"
#include "daemon/daemon.h"
#include "daemon/parcel.h"
#include "handover.h"
#include "handover_state.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_US 10000000u /* what the other one says next, or takes, is waited for so long: its ports may be many */
#define LEARNED_US 2000000u

struct takeover {
	struct ports *ports;
	struct daemon *daemon;
	int fd; /* to the one that is there */
	int control_fd;
	json_t *state;
};

static int complain(const struct takeover *t, const char *why)
{
	log_error(&t->daemon->log, "not taken over: %s; the switch that runs goes on", why);
	return -1;
}

/* ---- to ask ---- */

static int ask(const struct takeover *t, const char *socket)
{
	struct ctl_client *client;
	struct ctl_failure failure;
	char why[SPEC_WHY_BYTES];
	json_t *result;
	int err = ctl_client_new(t->daemon->control_path, CTL_CLIENT_TIMEOUT_MS, &client);

	if (err) {
		snprintf(why, sizeof(why), "no switch answers at '%.200s': %s", t->daemon->control_path, strerror(-err));
		return complain(t, why);
	}
	err = ctl_client_call(client, "handover", json_pack("{s:s, s:o}", "socket", socket, "version", json_sprintf("%d", HANDOVER_VERSION)),
			      &result, &failure);
	ctl_client_free(client);
	if (!err) {
		json_decref(result);
		return 0;
	}
	if (err == -EREMOTEIO && failure.code == RPC_METHOD_NOT_FOUND)
		return complain(t, "it is of a version that cannot hand over: end it, and start this one without --takeover");
	snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, err == -EREMOTEIO ? failure.message : strerror(-err));
	return complain(t, why);
}

static int listen_beside(const struct takeover *t, struct unix_listener *ret_listener)
{
	char path[DAEMON_PATH_BYTES + 32];
	const struct unix_listen_config config = {.path = path, .mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .backlog = 1};

	snprintf(path, sizeof(path), "%s.%d", t->daemon->control_path, (int)getpid());
	return unix_listen(&config, ret_listener);
}

/* It has connected before it has answered. */
static int connected(const struct unix_listener *listener)
{
	struct pollfd poll_fd = {.fd = listener->fd, .events = POLLIN};

	return poll(&poll_fd, 1, MESSAGE_US / 1000) > 0 ? accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static int takeover_connect(struct takeover *t)
{
	struct unix_listener listener;
	int err = listen_beside(t, &listener);

	if (err)
		return complain(t, strerror(-err));
	err = ask(t, listener.path);
	if (!err)
		t->fd = connected(&listener);
	unix_unlisten(&listener, NULL);
	if (!err && t->fd < 0)
		err = complain(t, "it does not connect");
	else if (!err && parcel_socket(t->fd))
		err = complain(t, "it belongs to another user");
	return err;
}

/* ---- to make what is told ---- */

/* The next parcel, which is to be of this kind. */
static int told(const struct takeover *t, int err, uint32_t kind, struct parcel *parcel)
{
	char why[SPEC_WHY_BYTES];

	if (err) {
		snprintf(why, sizeof(why), "what it hands over does not come: %s", strerror(-err));
		return complain(t, why);
	}
	if (parcel->kind == kind)
		return 0;
	snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1,
		 parcel->kind == HANDOVER_NOT ? (const char *)parcel->data : "it hands over something else");
	parcel_free(parcel);
	return complain(t, why);
}

static int next(const struct takeover *t, uint32_t kind, struct parcel *ret_parcel)
{
	return told(t, parcel_receive(t->fd, clock_now_us() + MESSAGE_US, ret_parcel), kind, ret_parcel);
}

static int port_make(const struct takeover *t, const struct handover_port *told, const struct vireo_endpoint_state *state)
{
	char why[SPEC_WHY_BYTES];
	struct port *port;
	int err;

	t->ports->state = state;
	err = ports_add(t->ports, &told->spec, &t->daemon->log, &port, why);
	t->ports->state = NULL;
	if (err)
		return complain(t, why);
	port_text_set(port, told->text, told->in_settings);
	return 0;
}

static const struct port_kind *kind_of(const struct handover_port *told)
{
	return port_kind_of(&told->spec.at);
}

static int port_take(const struct takeover *t, size_t index)
{
	struct handover_port told;
	struct parcel parcel;
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	char why[SPEC_WHY_BYTES];
	int err = handover_state_port(t->state, index, &told, why);

	if (err)
		return complain(t, why);
	if (told.endpoint ? !kind_of(&told)->export : !kind_of(&told)->nothing_to_hand_over)
		return complain(t, "a port is of a type that is not handed over so");
	if (!told.endpoint)
		return port_make(t, &told, NULL);
	err = next(t, HANDOVER_PORT, &parcel);
	if (err)
		return err;
	state.data = parcel.data;
	state.bytes = parcel.bytes;
	state.fds = parcel.fds;
	state.fd_count = parcel.fd_count;
	err = port_make(t, &told, &state);
	parcel_free(&parcel);
	return err;
}

static bool listens(int fd)
{
	int domain = 0, listening = 0;
	socklen_t bytes = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &bytes) && listening;
}

static int switch_take(struct takeover *t)
{
	struct parcel parcel;
	char why[SPEC_WHY_BYTES];
	int err = next(t, HANDOVER_SWITCH, &parcel);

	if (err)
		return err;
	t->state = handover_state_parse((const char *)parcel.data, parcel.bytes, why);
	if (parcel.fd_count)
		t->control_fd = fd_take(&parcel.fds[0]);
	parcel_free(&parcel);
	if (!t->state)
		return complain(t, why);
	if (!listens(t->control_fd))
		return complain(t, "it hands over no control socket");
	sw_hold(t->ports->sw);
	for (size_t i = 0; !err && i < handover_state_ports(t->state); i++)
		err = port_take(t, i);
	if (sw_release(t->ports->sw) && !err)
		err = complain(t, "out of memory");
	if (err)
		return err;
	handover_state_hold(t->state, t->ports);
	return handover_state_lock(t->state, t->ports, why) ? complain(t, why) : 0;
}

int takeover_begin(struct ports *ports, struct daemon *daemon, struct takeover **ret_takeover)
{
	struct takeover *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -1;
	*t = (struct takeover){.ports = ports, .daemon = daemon, .fd = -1, .control_fd = -1};
	err = takeover_connect(t);
	if (!err)
		err = switch_take(t);
	if (err)
		takeover_free(t);
	else
		*ret_takeover = t;
	return err;
}

/* It has given up, and has said why. */
static int not_wanted(const struct takeover *t)
{
	struct parcel parcel;

	if (next(t, HANDOVER_GO, &parcel))
		return -1;
	parcel_free(&parcel);
	return complain(t, "it does not take an answer");
}

/*
 * Who goes on? The other one does if it says so, or does not say anything in time: this process listens no more then, and looks whether
 * it has been told just before. If the other one has gone without a word, it was killed, and nobody else has the ports.
 */
static int decision(const struct takeover *t)
{
	struct parcel parcel;
	int err = parcel_receive(t->fd, clock_now_us() + MESSAGE_US, &parcel);

	if (err == -ETIMEDOUT && !shutdown(t->fd, SHUT_RD)) {
		err = parcel_receive(t->fd, 0, &parcel);
		if (err == -ECONNRESET)
			err = -ETIMEDOUT;
	}
	if (err == -ECONNRESET) {
		log_warning(&t->daemon->log, "the switch that handed over ended before its last word: taking over");
		return 0;
	}
	err = told(t, err, HANDOVER_GO, &parcel);
	if (!err)
		parcel_free(&parcel);
	return err;
}

/* Whatever is wrong with them: addresses are learned again, by and by. */
static void learn(const struct takeover *t)
{
	struct parcel parcel;

	if (parcel_receive(t->fd, clock_now_us() + LEARNED_US, &parcel))
		return;
	if (parcel.kind == HANDOVER_LEARNED)
		handover_state_learn((const char *)parcel.data, parcel.bytes, t->ports);
	parcel_free(&parcel);
}

int takeover_end(struct takeover *t)
{
	int err;

	if (parcel_send(t->fd, clock_now_us() + MESSAGE_US, HANDOVER_READY, NULL, 0, NULL, 0))
		return not_wanted(t);
	err = decision(t);
	if (err)
		return err;
	sw_hold(t->ports->sw);
	for (struct port *p = t->ports->first; p; p = p->next)
		if (p->kind->go_on)
			p->kind->go_on(p);
	if (sw_release(t->ports->sw))
		log_warning(&t->daemon->log, "out of memory: ports start a little later");
	learn(t);
	return 0;
}

int takeover_control_fd(struct takeover *t)
{
	return fd_take(&t->control_fd);
}

void takeover_free(struct takeover *t)
{
	if (!t)
		return;
	fd_close(&t->control_fd);
	fd_close(&t->fd);
	json_decref(t->state);
	free(t);
}
