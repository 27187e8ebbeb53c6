/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio network card that is bound to vfio-pci or uio_pci_generic, as a port: its receive queue i is the
 * switch's in queue i, its transmit queue i the out queue i. We are its driver.
 *
 * The control thread owns the function: it serves interrupts that are not one ring's alone, keeps an eye on
 * the link, and resets the card when no worker uses its rings any more. The queues of a card that does not
 * interrupt are polled. Whatever it does, a card is looked at once a second.
 *
 * A card that breaks a rule, is gone, or is wanted by somebody else is lost: whoever finds out, a worker or
 * the control thread, says so once and raises lost_fd. The control thread then takes the card's access to
 * memory away, and asks it nothing more, so that it cannot keep that thread busy; the port is there, without
 * a link, until it is removed.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "pci_device.h"
#include "pci_report.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LOOK_MS 1000u

struct pci_port {
	struct port port;
	struct pci_device device;
	struct loop_watch *watch, *lost_watch;
	struct loop_timer *timer;
	int lost_fd;
	int lost; /* atomic: 0, or the errno of why */
	bool link_up; /* atomic */
	char *why; /* where the library's first complaint goes while the port is being opened */
	struct driver_queue queues[];
};

/* ---- workers ---- */

static const char *lost_text(int err)
{
	switch (err) {
	case -ENODEV:
		return "is gone";
	case -EIO:
		return "asks for a reset";
	case -ESTALE:
		return "was reset, or cut off from memory, by somebody else";
	case -ECANCELED:
		return "is wanted back by the kernel";
	case -EAGAIN:
	case -EINVAL:
		return "does not show its configuration";
	default:
		return "breaks the rules of its rings";
	}
}

static bool is_lost(const struct pci_port *card)
{
	return __atomic_load_n(&card->lost, __ATOMIC_RELAXED);
}

/* Any thread. */
static void mark_lost(struct pci_port *card, int err)
{
	int none = 0;

	if (!__atomic_compare_exchange_n(&card->lost, &none, err, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	log_error(&card->port.log, "the card %s%s", lost_text(err),
		  err == -ECANCELED ? "; the port is removed" : "; remove and add the port");
	fd_event_raise(card->lost_fd);
}

static int card_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct pci_port *card = opaque;
	int ret = driver_queue_receive(&card->queues[queue], frames, max);

	if (unlikely(ret < 0))
		mark_lost(card, ret);
	return ret;
}

static void card_release(void *opaque, unsigned queue)
{
	struct pci_port *card = opaque;
	int err = driver_queue_release(&card->queues[queue]);

	if (unlikely(err))
		mark_lost(card, err);
}

static int card_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct pci_port *card = opaque;
	struct driver_queue *q = &card->queues[queue];
	int sent;

	if (unlikely(!__atomic_load_n(&card->link_up, __ATOMIC_RELAXED))) {
		counter_add(&q->out.disabled, count);
		return 0;
	}
	sent = driver_queue_deliver(q, frames, count);
	if (unlikely(sent < 0)) {
		mark_lost(card, sent);
		return 0;
	}
	return sent;
}

static void card_flush(void *opaque, unsigned queue)
{
	struct pci_port *card = opaque;

	driver_queue_flush(&card->queues[queue]);
}

static int card_kick_fd(void *opaque, unsigned queue)
{
	struct pci_port *card = opaque;

	return vireo_pci_interrupt_fd(card->device.pci) < 0
		       ? -1
		       : vireo_driver_ring_call_fd(card->queues[queue].s.rx);
}

static bool card_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct pci_port *card = opaque;

	return vireo_driver_ring_signal_enable(card->queues[queue].s.rx, on);
}

static void card_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct pci_port *card = opaque;
	const struct driver_queue *q = &card->queues[queue];

	sw_queue_stats_read(out ? &q->out : &q->in, ret);
}

static bool card_carrier(void *opaque)
{
	const struct pci_port *card = opaque;

	return __atomic_load_n(&card->link_up, __ATOMIC_RELAXED);
}

static const struct sw_port_ops card_ops = {
	.receive = card_receive,
	.release = card_release,
	.deliver = card_deliver,
	.flush = card_flush,
	.kick_fd = card_kick_fd,
	.kick_enable = card_kick_enable,
	.carrier = card_carrier,
	.stats = card_stats,
};

/* ---- control thread ---- */

static void link_look(struct pci_port *card)
{
	int up = vireo_pci_net_link(card->device.pci);

	if (up < 0)
		mark_lost(card, up);
	else if (__atomic_exchange_n(&card->link_up, up != 0, __ATOMIC_RELAXED) != (up != 0))
		log_info(&card->port.peer_log, "link is %s", up ? "up" : "down");
}

static void card_interrupt(void *opaque, uint32_t events)
{
	struct pci_port *card = opaque;
	int ret = vireo_pci_interrupt(card->device.pci);

	if (ret < 0)
		mark_lost(card, ret);
	else if (ret)
		link_look(card);
}

static void card_timer(void *opaque)
{
	struct pci_port *card = opaque;
	int err = vireo_pci_check(card->device.pci);

	if (err)
		mark_lost(card, err);
	else
		link_look(card);
	loop_timer_start(card->timer, LOOK_MS);
}

static void watch_stop(struct pci_port *card)
{
	loop_remove(&card->watch);
	loop_remove(&card->lost_watch);
	loop_timer_free(&card->timer);
}

static void card_lost(void *opaque, uint32_t events)
{
	struct pci_port *card = opaque;

	watch_stop(card);
	vireo_pci_halt(card->device.pci);
	__atomic_store_n(&card->link_up, false, __ATOMIC_RELAXED);
	if (__atomic_load_n(&card->lost, __ATOMIC_RELAXED) == -ECANCELED)
		ports_remove(&card->port, NULL, NULL);
}

static int watch_start(struct pci_port *card)
{
	struct loop *loop = card->port.ports->loop;
	int fd = vireo_pci_interrupt_fd(card->device.pci);
	int err = loop_add(loop, card->lost_fd, EPOLLIN, card_lost, card, &card->lost_watch);

	if (!err && fd >= 0)
		err = loop_add(loop, fd, EPOLLIN, card_interrupt, card, &card->watch);
	if (!err)
		err = loop_timer_new(loop, card_timer, card, &card->timer);
	if (!err)
		loop_timer_start(card->timer, LOOK_MS);
	return err;
}

/* ---- making and ending it ---- */

/* The library's log: the first error of an opening is what the user is told instead. */
static void card_log(void *opaque, enum vireo_log_level level, const char *line)
{
	struct pci_port *card = opaque;

	if (level == VIREO_LOG_ERROR && card->why) {
		snprintf(card->why, SPEC_WHY_BYTES, "virtio-pci %s", line);
		card->why = NULL;
		return;
	}
	card->port.peer_log.write(card->port.peer_log.opaque, level, line);
}

static int card_start(struct pci_port *card)
{
	const struct port_spec *spec = &card->port.spec;
	int err = port_join(&card->port);

	if (err)
		return err;
	port_offloads_set(&card->port, card->device.offloads);
	port_mtu_of_peer(&card->port, card->device.mtu);
	card->link_up = true; /* until it is known better: a card that is down is news */
	link_look(card);
	err = watch_start(card);
	for (unsigned i = 0; !err && i < spec->queues; i++) {
		err = sw_queue_add(card->port.sw, true, i);
		if (!err)
			err = sw_queue_add(card->port.sw, false, i);
	}
	return err;
}

static void card_free(struct port *port)
{
	struct pci_port *card = container_of(port, struct pci_port, port);

	pci_device_close(&port->spec, card->queues, &card->device);
	fd_close(&card->lost_fd);
	free(card);
}

static void card_close(struct port *port)
{
	watch_stop(container_of(port, struct pci_port, port));
	port_closed(port);
}

static int card_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct pci_port *card = calloc(1, sizeof(*card) + spec->queues * sizeof(card->queues[0]));
	struct vireo_log log;
	int err;

	if (!card) {
		snprintf(why, SPEC_WHY_BYTES, "virtio-pci '%.23s': out of memory", spec->at.address);
		return -ENOMEM;
	}
	card->why = why;
	card->lost_fd = -1;
	port_init(&card->port, ports, &port_virtio_pci, spec);
	card->port.in_queues = card->port.out_queues = spec->queues;
	log = (struct vireo_log){.write = card_log, .opaque = card, .max_level = card->port.log.max_level};
	err = fd_event_new(&card->lost_fd);
	if (!err)
		err = pci_device_open(&card->port.spec, &log, card->queues, &card->device);
	if (!err)
		err = card_start(card);
	if (err && card->why) /* nobody has complained */
		snprintf(why, SPEC_WHY_BYTES, "virtio-pci %.23s: %s", spec->at.address, strerror(-err));
	card->why = NULL;
	if (!err) {
		*ret_port = &card->port;
	} else if (card->port.sw) {
		watch_stop(card);
		port_abandon(&card->port);
	} else {
		card_free(&card->port);
	}
	return err;
}

static const char *card_state(const struct port *port)
{
	const struct pci_port *card = (const struct pci_port *)port;

	if (is_lost(card))
		return "failed";
	return __atomic_load_n(&card->link_up, __ATOMIC_RELAXED) ? "up" : "down";
}

/* We are the card's driver, and a driver cannot pull its device's cable. */
static enum port_told card_link_set(struct port *port, bool up)
{
	return PORT_TOLD_NOT;
}

static void card_report(const struct port *port, json_t *object)
{
	const struct pci_port *card = (const struct pci_port *)port;

	json_object_set_new(object, "session", pci_session_report(&port->spec, vireo_pci_features(card->device.pci), card->queues));
}

static const char *function_problem(const char *address)
{
	return vireo_pci_address_valid(address) ? NULL : "expected the address of a PCI function such as 0000:00:04.0";
}

static const struct spec_key keys[] = {SPEC_KEY_NAME, PORT_KEY_QUEUES, PORT_KEY_MTU, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, PORT_KEYS_LIMITS, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING, PORT_KEY_GRO};

const struct port_kind port_virtio_pci = {
	.spec = {
		.type = "virtio-pci",
		.address = "ADDRESS",
		.address_problem = function_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &card_ops,
	.open = card_open,
	.close = card_close,
	.free = card_free,
	.state = card_state,
	.report = card_report,
	.link_set = card_link_set,
	.opens_anew = true,
};
