/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end of somebody's vhost-user port, as a port: we are the front end, and the driver of the device that is offered at its socket. So two switches are
 * patched together, and so a back end that is no switch of ours serves as uplink. What it has in common with other drivers: driver_port.h.
 *
 *	connecting	a thread aside connects and negotiates, again and again
 *	connected	the switch has the queues; the control thread watches the socket
 *	leaving		the back end has gone, or has broken a rule: the switch lets go of the queues; then the front end is closed, aside, and it begins again
 *
 * The memory is ours and the back end's: what it writes there, and says of it, is input (driver_queue.h).
 */
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/aside.h"
#include "daemon/errand.h"
#include "driver_port.h"
#include "net_driver.h"
#include "vireo/device.h"
#include "vireo/driver.h"
#include "vireo/net.h"
#include "wire/vhost_user.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define PATIENCE_MS 4000u /* with all that connecting, or leaving, takes */
#define AGAIN_MS    250u
#define RING_SIZE   256u
#define WHY_BYTES   160u
/* There is no control queue, and the link is whether somebody is there. */
#define NOT_HERE (VIREO_FEATURE(VIREO_NET_F_STATUS_BIT) | VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT) | VIREO_FEATURE(VIREO_NET_F_CTRL_RX_BIT))

struct user_port {
	struct driver_port driver; /* whose link is whether a back end is there */
	struct errands errands;
	struct loop_timer *again;
	struct loop_watch *watch;
	struct vireo_front *front; /* NULL: connecting */
	char why[WHY_BYTES];	   /* the last attempt has failed for; a line of the log for each that is new */
	unsigned leaving;	   /* queues that the switch is still to let go of */
	struct driver_queue queues[];
};

/* ---- connecting, aside ---- */

/* An attempt. It knows the port no more once the port has let go of it. */
struct attempt {
	struct errand errand; /* first */
	struct user_port *user; /* the control thread's */
	char path[SPEC_ADDRESS_BYTES];
	unsigned pairs;
	struct vireo_front *front;
	uint16_t mtu;
	int err;
	char why[WHY_BYTES];
};

static void attempt_log(void *opaque, enum vireo_log_level level, const char *line)
{
	struct attempt *attempt = opaque;

	if (!*attempt->why)
		snprintf(attempt->why, sizeof(attempt->why), "%s", line);
}

static int mtu_read(struct attempt *attempt)
{
	uint16_t mtu;
	int err;

	if (!(vireo_front_features(attempt->front) & VIREO_FEATURE(VIREO_NET_F_MTU_BIT)))
		return 0;
	err = vireo_front_config_read(attempt->front, offsetof(struct virtio_net_config_space, mtu), &mtu, sizeof(mtu));
	if (!err)
		attempt->mtu = le16(mtu);
	return err == -ENOTSUP || err == -EINVAL ? 0 : err;
}

static void front_closed_aside(void *front)
{
	vireo_front_close(front);
}

/* It asks the back end to stop, who may not answer: the control thread does not. */
static void front_close_aside(struct vireo_front *front)
{
	if (front && aside_run(NULL, front_closed_aside, front))
		vireo_front_abandon(front);
}

static void attempt_work(struct errand *errand)
{
	struct attempt *attempt = (struct attempt *)errand;
	const struct vireo_front_config config = {
		.size = sizeof(config),
		.path = attempt->path,
		.timeout_ms = PATIENCE_MS,
		.features = (net_driver_features(attempt->pairs) & ~NOT_HERE) | VIREO_FEATURE(VIREO_F_VERSION_1_BIT),
		.features_required = VIREO_FEATURE(VIREO_F_VERSION_1_BIT) | VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT),
		.queue_count = 2 * attempt->pairs,
		.queue_size = RING_SIZE,
		.memory_bytes = (size_t)attempt->pairs * 2 * RING_SIZE * DRIVER_BUFFER_BYTES,
		.protocol_features_off = UINT64_C(1) << VU_PROTO_BACKEND_REQ_BIT, /* nobody would read what it says there */
		/* The attempt is gone when the front end is closed: then, and in between, nothing of this level is said. */
		.log = {.write = attempt_log, .opaque = attempt, .max_level = VIREO_LOG_ERROR},
	};

	attempt->err = vireo_front_open(&config, &attempt->front);
	if (!attempt->err)
		attempt->err = mtu_read(attempt);
	if (attempt->err) {
		vireo_front_close(attempt->front);
		attempt->front = NULL;
	}
}

static void attempt_drop(struct errand *errand)
{
	struct attempt *attempt = (struct attempt *)errand;

	front_close_aside(attempt->front); /* a port that has gone meanwhile */
	free(attempt);
}

/* ---- control thread: who is there ---- */

static void front_leave(struct user_port *user)
{
	struct vireo_front *front = user->front;

	user->front = NULL;
	for (unsigned i = 0; i < user->driver.port.spec.queues; i++)
		driver_queue_fini(&user->queues[i]);
	front_close_aside(front);
}

static void queue_left(void *opaque)
{
	struct user_port *user = opaque;

	if (--user->leaving || user->driver.port.closing)
		return;
	front_leave(user);
	loop_timer_start(user->again, AGAIN_MS);
}

/* Once for a front end. */
static void queues_leave(struct user_port *user)
{
	struct port *port = &user->driver.port;

	loop_remove(&user->watch);
	__atomic_store_n(&user->driver.link_up, false, __ATOMIC_RELAXED);
	user->leaving = 1;
	for (unsigned i = 0; i < port->spec.queues; i++)
		for (unsigned out = 0; out < 2; out++)
			if (sw_queue_present(port->sw, out, i)) {
				user->leaving++;
				sw_queue_remove(port->sw, out, i, queue_left, user);
			}
	queue_left(user);
}

static void user_lost(struct driver_port *driver, int err)
{
	struct user_port *user = container_of(driver, struct user_port, driver);

	if (!user->watch)
		return;
	if (err == -EPIPE)
		log_info(&driver->port.peer_log, "disconnected");
	else
		log_error(&driver->port.peer_log, "the back end breaks the rules of its rings: disconnected");
	queues_leave(user);
}

static void socket_event(void *opaque, uint32_t events)
{
	struct user_port *user = opaque;

	driver_port_lost(&user->driver, -EPIPE);
}

/* What a back end may leave to us, and we to it. */
static int queue_open(struct user_port *user, unsigned index)
{
	uint64_t features = vireo_front_features(user->front);
	uint8_t *memory = vireo_front_memory(user->front);
	size_t bytes = (size_t)RING_SIZE * DRIVER_BUFFER_BYTES;
	const struct driver_queue_setup setup = {
		.rx = vireo_front_ring(user->front, 2 * index),
		.tx = vireo_front_ring(user->front, 2 * index + 1),
		.rx_memory = memory + 2 * index * bytes,
		.tx_memory = memory + (2 * index + 1) * bytes,
		.buffer_bytes = DRIVER_BUFFER_BYTES,
		.mergeable = true,
		.indirect = features & VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT),
		.offloads = net_driver_offloads(features, false),
	};

	return driver_queue_init(&user->queues[index], &setup);
}

/* The link is up before: what is sent from now on goes into the rings. */
static int queues_enter(struct user_port *user)
{
	int err = 0;

	for (unsigned i = 0; i < user->driver.port.spec.queues && !err; i++)
		err = queue_open(user, i);
	if (err)
		return err;
	__atomic_store_n(&user->driver.link_up, true, __ATOMIC_RELAXED);
	return driver_port_queues_add(&user->driver);
}

static void front_come(struct user_port *user, struct attempt *attempt)
{
	int err;

	user->front = attempt->front;
	attempt->front = NULL;
	user->why[0] = '\0';
	driver_port_found(&user->driver);
	port_offloads_set(&user->driver.port, net_driver_offloads(vireo_front_features(user->front), true));
	port_mtu_of_peer(&user->driver.port, attempt->mtu);
	err = loop_add(user->driver.port.ports->loop, vireo_front_socket(user->front), EPOLLRDHUP, socket_event, user, &user->watch);
	if (!err)
		err = queues_enter(user);
	if (err) {
		log_warning(&user->driver.port.peer_log, "cannot be served: %s: tries again", strerror(-err));
		queues_leave(user);
		return;
	}
	log_info(&user->driver.port.peer_log, "connected");
}

static void attempt_done(struct errand *errand, int err)
{
	struct attempt *attempt = (struct attempt *)errand;
	struct user_port *user = attempt->user;

	if (err)
		return;
	if (!attempt->err) {
		front_come(user, attempt);
		return;
	}
	if (!*attempt->why)
		snprintf(attempt->why, sizeof(attempt->why), "%s", strerror(-attempt->err));
	if (strcmp(attempt->why, user->why) != 0)
		log_info(&user->driver.port.peer_log, "waits for its back end: %s", attempt->why);
	memcpy(user->why, attempt->why, sizeof(user->why));
	loop_timer_start(user->again, AGAIN_MS);
}

static const struct errand_ops attempt_ops = {.work = attempt_work, .done = attempt_done, .drop = attempt_drop};

static void connect_begin(void *opaque)
{
	struct user_port *user = opaque;
	struct attempt *attempt = calloc(1, sizeof(*attempt));

	if (attempt) {
		attempt->errand.ops = &attempt_ops;
		attempt->user = user;
		attempt->pairs = user->driver.port.spec.queues;
		snprintf(attempt->path, sizeof(attempt->path), "%s", user->driver.port.spec.at.address);
		if (!errands_run(&user->errands, &attempt->errand))
			return;
	}
	free(attempt);
	loop_timer_start(user->again, AGAIN_MS);
}

/* ---- making and ending it ---- */

static void user_free(struct port *port)
{
	struct user_port *user = container_of(port, struct user_port, driver.port);

	front_leave(user);
	errands_fini(&user->errands);
	driver_port_fini(&user->driver);
	free(user);
}

static void user_stop(struct user_port *user)
{
	loop_remove(&user->watch);
	driver_port_stop(&user->driver);
	loop_timer_free(&user->again);
	errands_end(&user->errands);
}

static void user_close(struct port *port)
{
	user_stop(container_of(port, struct user_port, driver.port));
	port_closed(port);
}

static int user_start(struct user_port *user)
{
	struct loop *loop = user->driver.port.ports->loop;
	int err = errands_init(&user->errands, loop, 1);

	if (!err)
		err = loop_timer_new(loop, connect_begin, user, &user->again);
	if (!err)
		err = driver_port_start(&user->driver);
	if (!err)
		err = port_join(&user->driver.port);
	if (!err)
		connect_begin(user);
	return err;
}

static int user_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct user_port *user = calloc(1, sizeof(*user) + spec->queues * sizeof(user->queues[0]));
	int err;

	snprintf(why, SPEC_WHY_BYTES, "virtio-user '%.100s': out of memory, fds or ports", spec->at.address);
	if (!user)
		return -ENOMEM;
	port_init(&user->driver.port, ports, &port_virtio_user, spec);
	driver_port_init(&user->driver, user->queues, user_lost);
	err = user_start(user);
	if (err)
		user_stop(user);
	return port_opened(&user->driver.port, err, ret_port);
}

static const char *user_state(const struct port *port)
{
	const struct user_port *user = (const struct user_port *)port;

	return user->driver.link_up ? "connected" : "connecting";
}

static void user_report(const struct port *port, json_t *object)
{
	const struct user_port *user = (const struct user_port *)port;

	json_object_set_new(object, "session", user->front && !user->leaving ? net_driver_session(port->spec.queues, vireo_front_features(user->front), user->queues) : json_null());
}

static const char *path_problem(const char *address)
{
	return address[strlen(address) - 1] == '/' ? "expected the path of a socket" : NULL;
}

static const struct spec_key keys[] = {SPEC_KEY_NAME, PORT_KEY_QUEUES, PORT_KEY_MTU, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, PORT_KEYS_LIMITS, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING, PORT_KEY_GRO};

const struct port_kind port_virtio_user = {
	.spec = {
		.type = "virtio-user",
		.address = "PATH",
		.address_is_path = true,
		.address_problem = path_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &driver_port_ops,
	.open = user_open,
	.close = user_close,
	.free = user_free,
	.state = user_state,
	.report = user_report,
	.link_set = driver_port_link_set,
	.opens_anew = true,
};
