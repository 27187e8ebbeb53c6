/* SPDX-License-Identifier: BSD-3-Clause */
#include "device.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include "vireo/notifier.h"
#include "vireo/pci.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char pci_prefix[] = "virtio-pci:";

struct aside {
	void (*work)(void *argument);
	void *argument;
};

static void *aside_main(void *opaque)
{
	struct aside aside = *(struct aside *)opaque;

	free(opaque);
	aside.work(aside.argument);
	return NULL;
}

/* A back end may hold such a thread for ever, and us not: vireo/notifier.h. */
static int run_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = malloc(sizeof(*aside));
	pthread_t thread;
	int err;

	if (!aside)
		return -ENOMEM;
	*aside = (struct aside){ .work = work, .argument = argument };
	err = -pthread_create(&thread, NULL, aside_main, aside);
	if (err)
		free(aside);
	else
		pthread_detach(thread);
	return err;
}

static int front_open(struct device *d)
{
	const struct vireo_notifier_config aside = { .size = sizeof(aside), .run_aside = run_aside };
	const struct device_config *c = &d->config;
	struct vireo_front_config config = {
		.size = sizeof(config),
		.path = c->path,
		.server = c->server,
		.timeout_ms = c->timeout_ms,
		.features = c->features,
		.features_required = c->features_required,
		.queue_count = 2 * c->pairs,
		.queue_size = c->ring_size,
		.memory_bytes = (size_t)c->pairs * c->ring_size * ((size_t)c->rx_bytes + c->tx_bytes),
		.log = *c->log,
	};
	int ret = vireo_notifier_open(&aside, &d->notifier, NULL);

	config.notifier = d->notifier;
	return ret ? ret : vireo_front_open(&config, &d->front);
}

/* Rings of one length keep the bench simple: the shortest counts. */
static void pci_ring_size(struct device *d)
{
	for (unsigned i = 0; i < 2 * d->config.pairs; i++) {
		unsigned size = vireo_driver_ring_size(vireo_pci_ring(d->pci, i));

		if (size < d->ring_size)
			d->ring_size = size;
	}
}

static int pci_open(struct device *d)
{
	const struct device_config *c = &d->config;
	const struct vireo_pci_config config = {
		.size = sizeof(config),
		.address = c->path + sizeof(pci_prefix) - 1,
		.timeout_ms = c->timeout_ms,
		.features = c->features | VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT) |
			    VIREO_FEATURE(VIREO_NET_F_CTRL_RX_BIT),
		.features_required = c->features_required,
		.log = *c->log,
	};
	const struct vireo_pci_net_config net = {
		.size = sizeof(net),
		.pairs = c->pairs,
		.entries = c->ring_size,
		.buffer_bytes = c->rx_bytes > c->tx_bytes ? c->rx_bytes : c->tx_bytes,
		.transmit_signals = true,
	};
	int ret = vireo_pci_open(&config, &d->pci);

	if (!ret)
		ret = vireo_pci_net_start(d->pci, &net);
	if (!ret)
		pci_ring_size(d);
	return ret;
}

int device_open(const struct device_config *config, struct device *ret_device)
{
	struct device d = { .config = *config, .ring_size = config->ring_size };
	bool pci = !strncmp(config->path, pci_prefix, sizeof(pci_prefix) - 1);
	int ret = pci ? pci_open(&d) : front_open(&d);

	if (ret)
		device_close(&d);
	else
		*ret_device = d;
	return ret;
}

void device_close(struct device *d)
{
	vireo_front_close(d->front);
	vireo_pci_close(d->pci);
	vireo_notifier_free(d->notifier);
	d->front = NULL;
	d->pci = NULL;
	d->notifier = NULL;
}

uint64_t device_features(const struct device *d)
{
	return d->pci ? vireo_pci_features(d->pci) : vireo_front_features(d->front);
}

int device_config_read(struct device *d, uint32_t offset, void *data, uint32_t bytes)
{
	return d->pci ? vireo_pci_config_read(d->pci, offset, data, bytes)
		      : vireo_front_config_read(d->front, offset, data, bytes);
}

struct vireo_driver_ring *device_ring(struct device *d, unsigned index)
{
	return d->pci ? vireo_pci_ring(d->pci, index) : vireo_front_ring(d->front, index);
}

uint8_t *device_memory(struct device *d, unsigned index)
{
	size_t rx_bytes = (size_t)d->ring_size * d->config.rx_bytes;
	size_t tx_bytes = (size_t)d->ring_size * d->config.tx_bytes;

	if (d->pci)
		return vireo_pci_memory(d->pci, index);
	return (uint8_t *)vireo_front_memory(d->front) + index / 2 * (rx_bytes + tx_bytes) +
	       (index & 1 ? 0 : tx_bytes);
}

int device_watch_fd(const struct device *d, short *ret_events)
{
	*ret_events = d->pci ? POLLIN : POLLRDHUP;
	return d->pci ? vireo_pci_interrupt_fd(d->pci) : vireo_front_socket(d->front);
}

bool device_gone(struct device *d)
{
	return !d->pci || vireo_pci_interrupt(d->pci) < 0;
}
