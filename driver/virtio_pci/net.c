/* SPDX-License-Identifier: BSD-3-Clause */

/* A network function: pairs of rings, and what is asked of it over the control queue (virtio 1.3, 5.1). */

#include "vireo/net.h"
#include "base/clock.h"
#include "base/util.h"
#include "driver/virtio_pci/pci.h"
#include "vireo/device.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define PAIRS_MAX 0x8000u /* 5.1.6.5.5: and at least 1 */
#define CONTROL_ENTRIES 4u /* header, data, answer */
#define CONTROL_BYTES 64u /* command first, answer last */

#define BIT(name) (UINT64_C(1) << VIREO_NET_F_##name##_BIT)

/*
 * 5.1.3.1: `feature` requires one of `needs`, and a driver does not accept it without (2.2.1). What is needed
 * stands before what needs it in turn.
 */
static const struct {
	uint64_t feature, needs;
} feature_rules[] = {
	{ BIT(GUEST_TSO4) | BIT(GUEST_TSO6) | BIT(GUEST_UFO) | BIT(GUEST_USO4) | BIT(GUEST_USO6),
	  BIT(GUEST_CSUM) },
	{ BIT(GUEST_ECN), BIT(GUEST_TSO4) | BIT(GUEST_TSO6) },
	{ BIT(HOST_TSO4) | BIT(HOST_TSO6) | BIT(HOST_UFO) | BIT(HOST_USO), BIT(CSUM) },
	{ BIT(HOST_ECN), BIT(HOST_TSO4) | BIT(HOST_TSO6) },
	{ BIT(CTRL_RX) | BIT(CTRL_VLAN) | BIT(CTRL_MAC_ADDR) | BIT(GUEST_ANNOUNCE) | BIT(MQ), BIT(CTRL_VQ) },
	{ BIT(CTRL_RX_EXTRA), BIT(CTRL_RX) },
};

uint64_t pci_net_features(uint64_t features)
{
	for (size_t i = 0; i < ARRAY_SIZE(feature_rules); i++)
		if (!(features & feature_rules[i].needs))
			features &= ~feature_rules[i].feature;
	return features;
}

/* Pairs that the device has: decides where its control queue is, too (5.1.2). */
static int pairs_read(struct vireo_pci *pci, unsigned *ret_pairs)
{
	uint16_t pairs = le16(1);
	int err = 0;

	if (pci_agreed(pci, VIREO_NET_F_MQ_BIT))
		err = vireo_pci_config_read(pci,
					    offsetof(struct virtio_net_config_space, max_virtqueue_pairs),
					    &pairs, sizeof(pairs));
	if (err)
		return err;
	*ret_pairs = le16(pairs);
	if (*ret_pairs && *ret_pairs <= PAIRS_MAX &&
	    2 * *ret_pairs + pci_agreed(pci, VIREO_NET_F_CTRL_VQ_BIT) <= pci->queue_count)
		return 0;
	log_error(&pci->config.log, "%s: the function says that it has %u pairs, and %u queues", pci->address,
		  *ret_pairs, pci->queue_count);
	return -EPROTO;
}

static int rings_open(struct vireo_pci *pci, const struct vireo_pci_net_config *config, unsigned control)
{
	struct vireo_pci_ring_config ring = {
		.size = sizeof(ring),
		.entries = config->entries,
		.buffer_bytes = config->buffer_bytes,
	};
	int err = 0;

	for (unsigned i = 0; i < 2 * config->pairs && !err; i++) {
		ring.signals = !(i & 1) || config->transmit_signals;
		err = vireo_pci_ring_open(pci, i, &ring);
	}
	if (err || !pci_agreed(pci, VIREO_NET_F_CTRL_VQ_BIT))
		return err;
	ring = (struct vireo_pci_ring_config){
		.size = sizeof(ring),
		.entries = CONTROL_ENTRIES,
		.buffer_bytes = CONTROL_BYTES,
	};
	err = vireo_pci_ring_open(pci, control, &ring);
	if (err)
		return err;
	pci->control = vireo_pci_ring(pci, control);
	pci->control_memory = vireo_pci_memory(pci, control);
	return 0;
}

/* ---- control queue ---- */

static int answer_wait(struct vireo_pci *pci)
{
	uint64_t since_ms = clock_now_ms();
	const struct timespec pause = { .tv_nsec = 100000 };
	uint32_t len_bytes;
	void *cookie;
	int ret;

	for (;;) {
		ret = vireo_driver_ring_get(pci->control, &cookie, &len_bytes);
		if (ret)
			return ret < 0 ? ret : 0; /* what matters is the answer's byte, which was NET_ERR */
		ret = pci_health(pci);
		if (ret)
			return ret;
		if (!pci_patience(pci, &since_ms))
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

/* One command and its answer. The memory is read and written by the device between kick and answer only. */
static int command(struct vireo_pci *pci, uint8_t class, uint8_t number, const void *data, uint32_t bytes)
{
	uint8_t *memory = pci->control_memory, *answer = memory + CONTROL_BYTES - 1;
	const struct net_ctrl_header header = { .class = class, .command = number };
	const struct iovec pieces[] = {
		{ .iov_base = memory, .iov_len = sizeof(header) },
		{ .iov_base = memory + sizeof(header), .iov_len = bytes },
		{ .iov_base = answer, .iov_len = 1 },
	};
	int err;

	memcpy(memory, &header, sizeof(header));
	memcpy(memory + sizeof(header), data, bytes);
	*answer = NET_ERR;
	err = vireo_driver_ring_add(pci->control, pieces, 2, 1, true, memory);
	if (!err) {
		vireo_driver_ring_kick(pci->control);
		err = answer_wait(pci);
	}
	if (!err && *(volatile uint8_t *)answer != NET_OK)
		err = -EIO;
	if (err)
		log_error(&pci->config.log, "%s: control command %u.%u: %s", pci->address, class, number,
			  err == -EIO ? "the device refuses it" : strerror(-err));
	return err;
}

/* A switch wants the frames of others, too. A device without CTRL_RX gives all that it has. */
static int everything_ask(struct vireo_pci *pci)
{
	const uint8_t on = 1;
	int err;

	if (!pci->control || !pci_agreed(pci, VIREO_NET_F_CTRL_RX_BIT))
		return 0;
	err = command(pci, NET_CTRL_RX, NET_CTRL_RX_PROMISC, &on, sizeof(on));
	return err ? err : command(pci, NET_CTRL_RX, NET_CTRL_RX_ALLMULTI, &on, sizeof(on));
}

static int pairs_ask(struct vireo_pci *pci, unsigned pairs)
{
	uint16_t value = le16((uint16_t)pairs);

	if (pairs == 1)
		return 0; /* as after a reset */
	return command(pci, NET_CTRL_MQ, NET_CTRL_MQ_VQ_PAIRS_SET, &value, sizeof(value));
}

int vireo_pci_net_start(struct vireo_pci *pci, const struct vireo_pci_net_config *config)
{
	struct vireo_pci_net_config c;
	int err = config_copy(&c, sizeof(c), config);
	unsigned pairs;

	if (err)
		return err;
	if (!c.pairs)
		c.pairs = 1;
	if (pci->layout.device_id != PCI_NET_DEVICE_ID) {
		log_error(&pci->config.log, "%s: it is no network function (virtio device %u)", pci->address,
			  pci->layout.device_id);
		return -ENOTSUP;
	}
	err = pairs_read(pci, &pairs);
	if (err)
		return err;
	if (c.pairs > pairs || (c.pairs > 1 && !pci_agreed(pci, VIREO_NET_F_CTRL_VQ_BIT))) {
		log_error(&pci->config.log, "%s: %u pairs of queues are wanted, the function has %u",
			  pci->address, c.pairs, pairs);
		return -ENOTSUP;
	}
	err = rings_open(pci, &c, 2 * pairs);
	if (!err)
		err = vireo_pci_start(pci);
	if (!err)
		err = everything_ask(pci);
	return err ? err : pairs_ask(pci, c.pairs);
}

int vireo_pci_net_link(struct vireo_pci *pci)
{
	uint16_t status;
	int err;

	if (!pci_agreed(pci, VIREO_NET_F_STATUS_BIT))
		return 1;
	err = vireo_pci_config_read(pci, offsetof(struct virtio_net_config_space, status), &status,
				    sizeof(status));
	return err ? err : (le16(status) & NET_S_LINK_UP) != 0;
}
