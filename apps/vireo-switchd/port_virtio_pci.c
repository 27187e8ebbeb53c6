/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio network card that is bound to vfio-pci or uio_pci_generic, as a port: we are its driver (driver_port.h).
 *
 * The control thread owns the function: it serves interrupts that are not one ring's alone, keeps an eye on
 * the link, and resets the card when no worker uses its rings any more. The queues of a card that does not
 * interrupt are polled. Whatever it does, a card is looked at once a second.
 *
 * A card that breaks a rule, is gone, or is wanted by somebody else is lost. The control thread then takes the
 * card's access to memory away, and asks it nothing more, so that it cannot keep that thread busy; the port is
 * there, without a link, until it is removed.
 */
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "driver_port.h"
#include "pci_device.h"
#include "pci_report.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LOOK_MS 1000u

struct pci_port {
	struct driver_port driver;
	struct pci_device device;
	struct loop_watch *watch;
	struct loop_timer *timer;
	bool failed; /* for good: it has been lost */
	char *why; /* where the library's first complaint goes while the port is being opened */
	struct driver_queue queues[];
};

/* ---- the card ---- */

static void link_look(struct pci_port *card)
{
	int up = vireo_pci_net_link(card->device.pci);

	if (up < 0)
		driver_port_lost(&card->driver, up);
	else if (__atomic_exchange_n(&card->driver.link_up, up != 0, __ATOMIC_RELAXED) != (up != 0))
		log_info(&card->driver.port.peer_log, "link is %s", up ? "up" : "down");
}

static void card_interrupt(void *opaque, uint32_t events)
{
	struct pci_port *card = opaque;
	int ret = vireo_pci_interrupt(card->device.pci);

	if (ret < 0)
		driver_port_lost(&card->driver, ret);
	else if (ret)
		link_look(card);
}

static void card_timer(void *opaque)
{
	struct pci_port *card = opaque;
	int err = vireo_pci_check(card->device.pci);

	if (err)
		driver_port_lost(&card->driver, err);
	else
		link_look(card);
	loop_timer_start(card->timer, LOOK_MS);
}

static void watch_stop(struct pci_port *card)
{
	loop_remove(&card->watch);
	loop_timer_free(&card->timer);
	driver_port_stop(&card->driver);
}

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

static void card_lost(struct driver_port *driver, int err)
{
	struct pci_port *card = container_of(driver, struct pci_port, driver);

	log_error(&driver->port.log, "the card %s%s", lost_text(err), err == -ECANCELED ? "; the port is removed" : "; remove and add the port");
	card->failed = true;
	watch_stop(card);
	vireo_pci_halt(card->device.pci);
	__atomic_store_n(&driver->link_up, false, __ATOMIC_RELAXED);
	if (err == -ECANCELED)
		ports_remove(&driver->port, NULL, NULL);
}

static int watch_start(struct pci_port *card)
{
	struct loop *loop = card->driver.port.ports->loop;
	int fd = vireo_pci_interrupt_fd(card->device.pci), err = 0;

	if (fd >= 0)
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
	card->driver.port.peer_log.write(card->driver.port.peer_log.opaque, level, line);
}

static int card_start(struct pci_port *card)
{
	int err = port_join(&card->driver.port);

	if (err)
		return err;
	port_offloads_set(&card->driver.port, card->device.offloads);
	port_mtu_of_peer(&card->driver.port, card->device.mtu);
	card->driver.polled = vireo_pci_interrupt_fd(card->device.pci) < 0;
	card->driver.link_up = true; /* until it is known better: a card that is down is news */
	link_look(card);
	err = watch_start(card);
	return err ? err : driver_port_queues_add(&card->driver);
}

static void card_free(struct port *port)
{
	struct pci_port *card = container_of(port, struct pci_port, driver.port);

	pci_device_close(&port->spec, card->queues, &card->device);
	driver_port_fini(&card->driver);
	free(card);
}

static void card_close(struct port *port)
{
	watch_stop(container_of(port, struct pci_port, driver.port));
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
	port_init(&card->driver.port, ports, &port_virtio_pci, spec);
	driver_port_init(&card->driver, card->queues, card_lost);
	log = (struct vireo_log){.write = card_log, .opaque = card, .max_level = card->driver.port.log.max_level};
	err = driver_port_start(&card->driver);
	if (!err)
		err = pci_device_open(&card->driver.port.spec, &log, card->queues, &card->device);
	if (!err)
		err = card_start(card);
	if (err && card->why) /* nobody has complained */
		snprintf(why, SPEC_WHY_BYTES, "virtio-pci %.23s: %s", spec->at.address, strerror(-err));
	card->why = NULL;
	if (err)
		watch_stop(card);
	return port_opened(&card->driver.port, err, ret_port);
}

static const char *card_state(const struct port *port)
{
	const struct pci_port *card = (const struct pci_port *)port;

	if (card->failed)
		return "failed";
	return __atomic_load_n(&card->driver.link_up, __ATOMIC_RELAXED) ? "up" : "down";
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
	.ops = &driver_port_ops,
	.open = card_open,
	.close = card_close,
	.free = card_free,
	.state = card_state,
	.report = card_report,
	.link_set = driver_port_link_set,
	.opens_anew = true,
};
