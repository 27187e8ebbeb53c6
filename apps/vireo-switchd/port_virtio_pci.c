/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio network card that is bound to vfio-pci or uio_pci_generic, as a port: its receive queue i is the
 * switch's in queue i, its transmit queue i the out queue i. We are its driver.
 *
 * The control thread owns the function: it serves interrupts that are not one ring's alone, keeps an eye on
 * the link, and resets the card when no worker uses its rings any more. A card that does not interrupt is
 * looked at once a second, and its queues are polled.
 */
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "pci_device.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LINK_LOOK_MS 1000u

struct pci_port {
	struct port port;
	struct pci_device device;
	struct loop_watch *watch;
	struct loop_timer *timer;
	bool link_up, lost; /* atomic; lost: the card is gone, broken, or asks for a reset */
	char *why; /* where the library's first complaint goes while the port is being opened */
	struct pci_queue queues[];
};

/* ---- workers ---- */

static void mark_lost(struct pci_port *card, int err)
{
	if (!__atomic_exchange_n(&card->lost, true, __ATOMIC_RELAXED))
		log_error(&card->port.log, "the card %s; remove and add the port",
			  err == -ENODEV ? "is gone"
			  : err == -EIO	 ? "asks for a reset"
					 : "breaks the rules of its rings");
}

static int card_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct pci_port *card = opaque;
	int ret = pci_queue_receive(&card->queues[queue], frames, max);

	if (unlikely(ret < 0))
		mark_lost(card, ret);
	return ret;
}

static void card_release(void *opaque, unsigned queue)
{
	struct pci_port *card = opaque;
	int err = pci_queue_release(&card->queues[queue]);

	if (unlikely(err))
		mark_lost(card, err);
}

static int card_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct pci_port *card = opaque;
	struct pci_queue *q = &card->queues[queue];
	int sent;

	if (unlikely(!__atomic_load_n(&card->link_up, __ATOMIC_RELAXED))) {
		counter_add(&q->out.disabled, count);
		return 0;
	}
	sent = pci_queue_deliver(q, frames, count);
	if (unlikely(sent < 0)) {
		mark_lost(card, sent);
		return 0;
	}
	return sent;
}

static void card_flush(void *opaque, unsigned queue)
{
	struct pci_port *card = opaque;

	pci_queue_flush(&card->queues[queue]);
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

	pci_queue_stats(&card->queues[queue], out, ret);
}

static const struct sw_port_ops card_ops = {
	.receive = card_receive,
	.release = card_release,
	.deliver = card_deliver,
	.flush = card_flush,
	.kick_fd = card_kick_fd,
	.kick_enable = card_kick_enable,
	.stats = card_stats,
};

/* ---- control thread ---- */

static void link_look(struct pci_port *card)
{
	int up = vireo_pci_net_link(card->device.pci);
	bool was;

	if (up < 0) {
		mark_lost(card, up);
		up = 0;
	}
	was = __atomic_exchange_n(&card->link_up, up != 0, __ATOMIC_RELAXED);
	if (was != (up != 0))
		log_info(&card->port.log, "link is %s", up ? "up" : "down");
}

static void card_interrupt(void *opaque, uint32_t events)
{
	struct pci_port *card = opaque;
	int ret = vireo_pci_interrupt(card->device.pci);

	if (ret < 0) {
		mark_lost(card, ret);
		loop_remove(&card->watch); /* it would say so for ever */
	}
	if (ret)
		link_look(card);
}

static void card_timer(void *opaque)
{
	struct pci_port *card = opaque;
	int err = vireo_pci_interrupt(card->device.pci);

	if (err < 0)
		mark_lost(card, err);
	link_look(card);
	if (err >= 0)
		loop_timer_start(card->timer, LINK_LOOK_MS);
}

static int watch_start(struct pci_port *card)
{
	struct loop *loop = card->port.ports->loop;
	int fd = vireo_pci_interrupt_fd(card->device.pci), err;

	if (fd >= 0)
		return loop_add(loop, fd, EPOLLIN, card_interrupt, card, &card->watch);
	err = loop_timer_new(loop, card_timer, card, &card->timer);
	if (!err)
		loop_timer_start(card->timer, LINK_LOOK_MS);
	return err;
}

static void watch_stop(struct pci_port *card)
{
	loop_remove(&card->watch);
	if (card->timer)
		loop_timer_free(&card->timer);
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
	card->port.log.write(card->port.log.opaque, level, line);
}

static int card_start(struct pci_port *card)
{
	const struct spec *spec = &card->port.spec;
	int err = port_join(&card->port);

	if (err)
		return err;
	port_offloads_set(&card->port, card->device.offloads);
	if (card->device.mtu && (!spec->mtu || card->device.mtu < spec->mtu))
		port_mtu_set(&card->port, card->device.mtu);
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
	free(card);
}

static void card_close(struct port *port)
{
	watch_stop(container_of(port, struct pci_port, port));
	port_closed(port);
}

static int card_open(struct ports *ports, const struct spec *spec, struct port **ret_port, char *why)
{
	struct pci_port *card = calloc(1, sizeof(*card) + spec->queues * sizeof(card->queues[0]));
	struct vireo_log log;
	int err;

	snprintf(why, SPEC_WHY_BYTES, "virtio-pci '%.23s': out of memory or ports", spec->address);
	if (!card)
		return -ENOMEM;
	card->why = why;
	port_init(&card->port, ports, &port_virtio_pci, spec);
	card->port.in_queues = card->port.out_queues = spec->queues;
	log = (struct vireo_log){.write = card_log, .opaque = card, .max_level = card->port.log.max_level};
	err = pci_device_open(&card->port.spec, &log, card->queues, &card->device);
	if (!err)
		err = card_start(card);
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

	if (__atomic_load_n(&card->lost, __ATOMIC_RELAXED))
		return "failed";
	return __atomic_load_n(&card->link_up, __ATOMIC_RELAXED) ? "up" : "down";
}

const struct port_kind port_virtio_pci = {
	.ops = &card_ops,
	.open = card_open,
	.close = card_close,
	.free = card_free,
	.state = card_state,
};
