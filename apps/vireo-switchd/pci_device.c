/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci_device.h"
#include "base/util.h"
#include "net_driver.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>

/*
 * The control thread waits for a card itself, and meanwhile nobody else is served: for a card that is slow,
 * or hostile, so long at most when it is opened, and again when it is closed.
 */
#define PATIENCE_MS 2000u

static uint64_t features_choose(void *opaque, uint64_t offered)
{
	const struct port_spec *spec = opaque;
	uint64_t features = net_driver_features(spec->queues) & offered;

	return features & VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT) ? features : features & ~net_driver_features_large();
}

static int function_open(const struct port_spec *spec, const struct vireo_log *log, struct vireo_pci **ret_pci)
{
	struct vireo_pci_config config = {
		.size = sizeof(config),
		.address = spec->at.address,
		.timeout_ms = PATIENCE_MS,
		.features_choose = features_choose,
		.opaque = (void *)(uintptr_t)spec,
		.log = *log,
	};

	if (spec->queues > 1)
		config.features_required =
			VIREO_FEATURE(VIREO_NET_F_MQ_BIT) | VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT);
	return vireo_pci_open(&config, ret_pci);
}

static int mtu_read(struct vireo_pci *pci, uint16_t *ret_mtu)
{
	uint16_t mtu = 0;
	int err = 0;

	if (vireo_pci_features(pci) & VIREO_FEATURE(VIREO_NET_F_MTU_BIT))
		err = vireo_pci_config_read(pci, offsetof(struct virtio_net_config_space, mtu), &mtu,
					    sizeof(mtu));
	if (!err)
		*ret_mtu = le16(mtu);
	return err;
}

/* One buffer for the largest frame, where the device cannot use several: header, Ethernet with two tags, MTU.
 */
static uint32_t buffer_bytes(uint64_t features, uint16_t mtu)
{
	uint32_t bytes = NET_HDR_BYTES + 22u + mtu;

	if ((features & VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT)) || bytes <= DRIVER_BUFFER_BYTES)
		return DRIVER_BUFFER_BYTES;
	return (bytes + CACHE_LINE_BYTES - 1) & ~(CACHE_LINE_BYTES - 1);
}

static int queue_open(struct vireo_pci *pci, unsigned index, uint32_t bytes, struct driver_queue *q)
{
	uint64_t features = vireo_pci_features(pci);
	const struct driver_queue_setup setup = {
		.rx = vireo_pci_ring(pci, 2 * index),
		.tx = vireo_pci_ring(pci, 2 * index + 1),
		.rx_memory = vireo_pci_memory(pci, 2 * index),
		.tx_memory = vireo_pci_memory(pci, 2 * index + 1),
		.buffer_bytes = bytes,
		.mergeable = features & VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT),
		.indirect = features & VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT),
		.offloads = net_driver_offloads(features, false),
	};

	return driver_queue_init(q, &setup);
}

static int function_start(struct vireo_pci *pci, const struct port_spec *spec, struct driver_queue *queues,
			  uint16_t mtu)
{
	struct vireo_pci_net_config config = {
		.size = sizeof(config),
		.pairs = spec->queues,
		.buffer_bytes = buffer_bytes(vireo_pci_features(pci), mtu),
	};
	int err = vireo_pci_net_start(pci, &config);

	for (unsigned i = 0; i < spec->queues && !err; i++)
		err = queue_open(pci, i, (uint32_t)config.buffer_bytes, &queues[i]);
	return err;
}

int pci_device_open(const struct port_spec *spec, const struct vireo_log *log, struct driver_queue *queues,
		    struct pci_device *ret)
{
	struct pci_device device = {0};
	int err = function_open(spec, log, &device.pci);

	if (err)
		return err;
	err = mtu_read(device.pci, &device.mtu);
	if (!err)
		err = function_start(device.pci, spec, queues, device.mtu);
	if (err) {
		pci_device_close(spec, queues, &device);
		return err;
	}
	device.offloads = net_driver_offloads(vireo_pci_features(device.pci), true);
	*ret = device;
	return 0;
}

void pci_device_close(const struct port_spec *spec, struct driver_queue *queues, struct pci_device *device)
{
	vireo_pci_close(device->pci); /* first: a card that has been reset writes into no buffer any more */
	device->pci = NULL;
	for (unsigned i = 0; i < spec->queues; i++)
		driver_queue_fini(&queues[i]);
}
