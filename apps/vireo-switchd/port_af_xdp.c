/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An interface that the host has, as a port, by AF_XDP: what comes in at some of its queues goes to the switch before the host's network
 * sees it, and what goes out passes that network by. Each queue has a socket with memory of its own (xdp_socket.c).
 *
 * There are no offloads on this way: the port takes none, and so the switch cuts segments and fills in checksums. The kernel says nothing
 * of frames that it cannot send, so the control thread watches the interface, and queues look at what it has seen.
 *
 * The kernel takes frames out of a ring when it is called. What a slow interface leaves there after a burst, no worker waits for: the
 * control thread calls again, after some milliseconds, until nothing is left.
 */
#include "port_xdp.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "host_interface.h"
#include "kernel_port.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* ---- its SPEC ---- */

#define QUEUE_MAX 65535u

static const char *const modes[] = {[PORT_XDP_ZEROCOPY] = "zerocopy", [PORT_XDP_COPY] = "copy", [PORT_XDP_SKB] = "skb"};

static bool set_queue(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 0, QUEUE_MAX, &n))
		return false;
	container_of(spec, struct port_spec, at)->xdp.queue = (unsigned)n;
	return true;
}

static bool set_mode(struct spec *spec, const char *value)
{
	for (unsigned i = PORT_XDP_ZEROCOPY; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(modes[i], value) != 0)
			continue;
		container_of(spec, struct port_spec, at)->xdp.mode = (enum port_xdp_mode)i;
		return true;
	}
	return false;
}

static const struct spec_key keys[] = {
	KERNEL_PORT_KEYS,
	{"queue", set_queue, "0 to 65535", "N"},
	{"mode", set_mode, "zerocopy, copy or skb", "zerocopy|copy|skb"},
};

#if VIREO_HAS_XDP

#include "xdp_program.h"
#include "xdp_socket.h"
#include <linux/if_link.h>
#include <linux/if_xdp.h>

#define ETHER_BYTES 14u
#define TAG_BYTES 4u

struct xdp_port {
	struct kernel_port kernel;
	int fd; /* a packet socket to which nothing comes: promiscuous, and to ask by */
	int interface;
	bool tags_kept; /* that is our doing */
	int link_fd;    /* the program at the interface */
	int changes_fd;
	struct loop_watch *changes;
	uint32_t longest; /* atomic: bytes of a frame without a tag that the interface takes; 0: it is down */
	bool gone;	  /* atomic */
	bool late;	  /* atomic: late_fd has been written, or the timer runs */
	int late_fd;
	struct loop_watch *lates;
	struct loop_timer *again;
	unsigned again_ms;
	bool skb;	  /* the program sees what the host's network has made already */
	int places[SW_QUEUES_MAX];
	struct xdp_socket queues[];
};

/* ---- frames ---- */

static int xdp_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct xdp_port *xdp = opaque;

	return xdp_socket_receive(&xdp->queues[queue], frames, max);
}

static void xdp_release(void *opaque, unsigned queue)
{
	struct xdp_port *xdp = opaque;

	xdp_socket_release(&xdp->queues[queue]);
}

static int xdp_kick_fd(void *opaque, unsigned queue)
{
	const struct xdp_port *xdp = opaque;

	return xdp_socket_fd(&xdp->queues[queue]);
}

static bool xdp_kick_enable(void *opaque, unsigned queue, bool on)
{
	const struct xdp_port *xdp = opaque;

	return kernel_kick_enable(xdp_socket_fd(&xdp->queues[queue]), on);
}

static bool has_tag(const struct vireo_frame *frame)
{
	return frame->head[12] == 0x81 && frame->head[13] == 0;
}

static int put(struct xdp_port *xdp, struct xdp_socket *queue, const struct vireo_frame *frame)
{
	uint32_t longest = __atomic_load_n(&xdp->longest, __ATOMIC_RELAXED);

	if (!longest)
		return ENETDOWN;
	if (vireo_frame_bytes(frame) > longest + (has_tag(frame) ? TAG_BYTES : 0))
		return EMSGSIZE;
	return xdp_socket_put(queue, frame);
}

/* Once in a burst a full ring is emptied as far as the interface takes what is in it. */
static int xdp_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct xdp_port *xdp = opaque;
	struct xdp_socket *q = &xdp->queues[queue];
	bool emptied = false;
	int sent = 0;

	for (unsigned i = 0; i < count; i++) {
		int err = put(xdp, q, frames[i]);

		if (err == EAGAIN && !emptied) {
			emptied = true;
			xdp_socket_flush(q);
			err = put(xdp, q, frames[i]);
		}
		if (err)
			kernel_refusal_count(&q->out, err);
		sent += !err;
	}
	return sent;
}

/* What is left somebody calls for; who is called once looks at all queues. */
static void xdp_flush(void *opaque, unsigned queue)
{
	struct xdp_port *xdp = opaque;

	if (likely(xdp_socket_flush(&xdp->queues[queue])) || !__atomic_load_n(&xdp->longest, __ATOMIC_RELAXED))
		return;
	if (!__atomic_exchange_n(&xdp->late, true, __ATOMIC_SEQ_CST))
		fd_event_raise(xdp->late_fd);
}

static bool xdp_carrier(void *opaque)
{
	const struct xdp_port *xdp = opaque;

	return __atomic_load_n(&xdp->longest, __ATOMIC_RELAXED);
}

static void xdp_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct xdp_port *xdp = opaque;

	xdp_socket_stats(&xdp->queues[queue], out, ret);
}

static const struct sw_port_ops xdp_ops = {
	.receive = xdp_receive,
	.release = xdp_release,
	.deliver = xdp_deliver,
	.flush = xdp_flush,
	.kick_fd = xdp_kick_fd,
	.kick_enable = xdp_kick_enable,
	.carrier = xdp_carrier,
	.stats = xdp_stats,
};

/* ---- what is left by a burst ---- */

#define AGAIN_MAX_MS 64u

/* One that is down is not asked again; on_changes() looks when it is up. */
static void late_look(void *opaque)
{
	struct xdp_port *xdp = opaque;
	bool all = true;

	(void)__atomic_exchange_n(&xdp->late, false, __ATOMIC_SEQ_CST); /* a flush that comes now calls anew; what one before has left is seen */
	for (unsigned i = 0; i < xdp->kernel.port.spec.queues; i++)
		all &= xdp_socket_push(&xdp->queues[i]);
	if (all || !__atomic_load_n(&xdp->longest, __ATOMIC_RELAXED)) {
		xdp->again_ms = 1;
		return;
	}
	__atomic_store_n(&xdp->late, true, __ATOMIC_SEQ_CST);
	loop_timer_start(xdp->again, xdp->again_ms);
	xdp->again_ms = min_u32(2 * xdp->again_ms, AGAIN_MAX_MS);
}

static void on_late(void *opaque, uint32_t events)
{
	struct xdp_port *xdp = opaque;

	fd_event_clear(xdp->late_fd);
	late_look(xdp);
}

static int late_open(struct xdp_port *xdp)
{
	struct loop *loop = xdp->kernel.port.ports->loop;
	int err;

	xdp->again_ms = 1;
	err = fd_event_new(&xdp->late_fd);
	if (!err)
		err = loop_add(loop, xdp->late_fd, EPOLLIN, on_late, xdp, &xdp->lates);
	return err ? err : loop_timer_new(loop, late_look, xdp, &xdp->again);
}

static void late_close(struct xdp_port *xdp)
{
	if (xdp->again)
		loop_timer_free(&xdp->again);
	if (xdp->lates)
		loop_remove(&xdp->lates);
	fd_close(&xdp->late_fd);
}

/* ---- the interface ---- */

static void interface_look(struct xdp_port *xdp)
{
	struct host_interface interface = {.running = false};
	bool there = host_interface_look(xdp->fd, xdp->interface, &interface);
	uint32_t longest = interface.running ? interface.mtu + ETHER_BYTES : 0;

	__atomic_store_n(&xdp->longest, longest, __ATOMIC_RELAXED);
	if (there || __atomic_exchange_n(&xdp->gone, true, __ATOMIC_RELAXED))
		return;
	log_error(&xdp->kernel.port.log, "the interface is gone: remove and add the port when it is back");
	if (xdp->changes)
		loop_remove(&xdp->changes);
}

static void on_changes(void *opaque, uint32_t events)
{
	struct xdp_port *xdp = opaque;

	host_interface_changes_read(xdp->changes_fd);
	interface_look(xdp);
	late_look(xdp); /* it may be up again */
}

static int interface_open(struct xdp_port *xdp)
{
	int err;

	xdp->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xdp->fd < 0)
		return -errno;
	err = host_interface_find(xdp->fd, xdp->kernel.port.spec.at.address, &xdp->interface);
	if (!err)
		err = host_interface_promiscuous(xdp->fd, xdp->interface);
	if (!err)
		err = host_interface_changes(&xdp->changes_fd);
	if (!err)
		err = loop_add(xdp->kernel.port.ports->loop, xdp->changes_fd, EPOLLIN, on_changes, xdp, &xdp->changes);
	if (!err)
		interface_look(xdp);
	return err;
}

/* A tag that the interface takes out would be lost: XDP sees the bytes alone. */
static void tags_keep(struct xdp_port *xdp)
{
	int err = host_interface_keep_tags(xdp->fd, xdp->interface, true, &xdp->tags_kept);

	if (err && err != -EOPNOTSUPP)
		log_warning(&xdp->kernel.port.log, "the interface takes the tags of VLANs out of frames, and they are lost: %s: let root do it: "
			    "ethtool -K %.15s rxvlan off", strerror(-err), xdp->kernel.port.spec.at.address);
}

/* ---- making and ending it ---- */

static void xdp_free(struct port *port)
{
	struct xdp_port *xdp = container_of(port, struct xdp_port, kernel.port);
	bool changed;

	kernel_port_fini(&xdp->kernel);
	late_close(xdp);
	if (xdp->changes)
		loop_remove(&xdp->changes);
	fd_close(&xdp->changes_fd);
	fd_close(&xdp->link_fd);
	for (unsigned i = 0; i < port->spec.queues; i++) {
		xdp_program_displace(xdp->interface, port->spec.xdp.queue + i, &xdp->places[i]);
		xdp_socket_close(&xdp->queues[i]);
	}
	if (xdp->tags_kept)
		(void)host_interface_keep_tags(xdp->fd, xdp->interface, false, &changed);
	fd_close(&xdp->fd);
	free(xdp);
}

/* What sits above other interfaces may attach a program to those, whose frames never come to a socket that is bound to it. */
static int program_native(struct xdp_port *xdp)
{
	struct host_interface interface;

	if (xdp->kernel.port.spec.xdp.mode == PORT_XDP_SKB)
		return -EOPNOTSUPP;
	if (host_interface_look(xdp->fd, xdp->interface, &interface) && interface.bond)
		return -EOPNOTSUPP;
	return xdp_program_attach(xdp->interface, XDP_FLAGS_DRV_MODE, &xdp->link_fd);
}

static int program_open(struct xdp_port *xdp, char *why)
{
	enum port_xdp_mode mode = xdp->kernel.port.spec.xdp.mode;
	int err = program_native(xdp);

	if (err == -EBUSY) /* another's; a queue that is not free yet says -EBUSY, and is waited for */
		err = -EEXIST;
	if (err && err != -EEXIST && err != -EPERM && (mode == PORT_XDP_SKB || mode == PORT_XDP_ANY)) {
		xdp->skb = true;
		err = xdp_program_attach(xdp->interface, XDP_FLAGS_SKB_MODE, &xdp->link_fd);
	}
	return err ? xdp_explain_program(&xdp->kernel.port.spec, err == -EBUSY ? -EEXIST : err, why) : 0;
}

static int queue_open(struct xdp_port *xdp, const struct xdp_wish *wish, unsigned i)
{
	int err = xdp_socket_open(&xdp->queues[i], wish);

	if (!err)
		err = xdp_program_place(xdp->interface, wish->queue, xdp_socket_fd(&xdp->queues[i]), &xdp->places[i]);
	return err;
}

static int queues_open(struct xdp_port *xdp, char *why)
{
	const struct port_spec *spec = &xdp->kernel.port.spec;
	struct host_interface interface;
	int err = 0;

	if (!host_interface_look(xdp->fd, xdp->interface, &interface))
		return xdp_explain(spec, -ENODEV, why);
	for (unsigned i = 0; !err && i < spec->queues; i++) {
		struct xdp_wish wish = {.queue = spec->xdp.queue + i, .pieces = interface.mtu + ETHER_BYTES + TAG_BYTES > XDP_ROOM_BYTES};

		memcpy(wish.name, interface.name, sizeof(wish.name));
		if (spec->xdp.mode == PORT_XDP_ZEROCOPY)
			wish.bind_flags = XDP_ZEROCOPY;
		else if (spec->xdp.mode == PORT_XDP_COPY || xdp->skb)
			wish.bind_flags = XDP_COPY;
		err = queue_open(xdp, &wish, i);
	}
	return err ? xdp_explain(spec, err, why) : 0;
}

/* Who has not asked for a mode is told of one that is slow. */
static void mode_tell(const struct xdp_port *xdp)
{
	if (xdp->kernel.port.spec.xdp.mode != PORT_XDP_ANY)
		return;
	if (xdp->skb)
		log_warning(&xdp->kernel.port.log, "the interface's driver has no XDP: the kernel makes frames of its own first, and copies them "
			    "then, which is slow: af_packet may do better; mode=skb says that it is meant so");
	else if (!xdp->queues[0].zerocopy)
		log_info(&xdp->kernel.port.log, "the interface's driver has no zero copy: frames are copied");
}

/* The tags are kept before the first frame can come. */
static int everything_open(struct xdp_port *xdp, char *why)
{
	int err = xdp_program_ready(); /* else calls that an XDP port needs are kept off: calls.c */

	if (err)
		return xdp_explain_program(&xdp->kernel.port.spec, err, why);
	err = interface_open(xdp);
	if (!err)
		err = late_open(xdp);
	if (err)
		return xdp_explain(&xdp->kernel.port.spec, err, why);
	tags_keep(xdp);
	err = program_open(xdp, why);
	if (!err)
		err = queues_open(xdp, why);
	if (err)
		return err;
	mode_tell(xdp);
	snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': out of memory or ports", xdp->kernel.port.spec.at.address);
	return kernel_port_start(&xdp->kernel, 0);
}

static int xdp_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct xdp_port *xdp = calloc(1, sizeof(*xdp) + spec->queues * sizeof(xdp->queues[0]));

	snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': out of memory or ports", spec->at.address);
	if (!xdp)
		return -ENOMEM;
	port_init(&xdp->kernel.port, ports, &port_af_xdp, spec);
	xdp->kernel.port.in_queues = xdp->kernel.port.out_queues = spec->queues;
	xdp->fd = xdp->link_fd = xdp->changes_fd = xdp->late_fd = -1;
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		xdp->places[i] = -1;
	return port_opened(&xdp->kernel.port, everything_open(xdp, why), ret_port);
}

static const char *xdp_state(const struct port *port)
{
	const struct xdp_port *xdp = (const struct xdp_port *)port;

	if (__atomic_load_n(&xdp->gone, __ATOMIC_RELAXED))
		return "failed";
	return __atomic_load_n(&xdp->longest, __ATOMIC_RELAXED) ? "up" : "down";
}

static void xdp_report(const struct port *port, json_t *object)
{
	const struct xdp_port *xdp = (const struct xdp_port *)port;
	struct host_interface interface;
	enum port_xdp_mode mode = xdp->skb ? PORT_XDP_SKB : xdp->queues[0].zerocopy ? PORT_XDP_ZEROCOPY : PORT_XDP_COPY;
	json_t *session = NULL;

	if (host_interface_look(xdp->fd, xdp->interface, &interface))
		session = json_pack("{s:s, s:s%, s:s, s:i}", "driver", "af_xdp", "interface", interface.name, strlen(interface.name), "mode",
				    modes[mode], "queue", (int)port->spec.xdp.queue);
	json_object_set_new(object, "session", session ? session : json_null());
}

#else

static const struct sw_port_ops xdp_ops;

static int xdp_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': not built in: build with libxdp and libbpf (-Dxdp=enabled), or use af_packet:%.15s",
		 spec->at.address, spec->at.address);
	return -EOPNOTSUPP;
}

static const char *xdp_state(const struct port *port)
{
	return "failed";
}

static void xdp_free(struct port *port)
{
}

static void xdp_report(const struct port *port, json_t *object)
{
}

#endif

const struct port_kind port_af_xdp = {
	.spec = {
		.type = "af_xdp",
		.address = "INTERFACE",
		.address_problem = port_interface_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &xdp_ops,
	.open = xdp_open,
	.close = port_closed,
	.free = xdp_free,
	.state = xdp_state,
	.report = xdp_report,
	.takes_rtnl = true,
	.given_back_late = true,
	.opens_anew = true,
};
