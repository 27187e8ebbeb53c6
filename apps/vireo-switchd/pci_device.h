/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PCI_DEVICE_H
#define SWITCHD_PCI_DEVICE_H

#include "driver_queue.h"
#include "port_spec.h"
#include "vireo/pci.h"

/* The network card that spec names, started. */
struct pci_device {
	struct vireo_pci *pci;
	unsigned offloads; /* VIREO_OFFLOAD_* that it takes */
	uint16_t mtu; /* 0: it does not tell */
};

/*
 * Opens the card and starts it with spec->queues pairs; queues has room for so many, all zero. Errors as
 * vireo_pci_open() and vireo_pci_net_start(), which tell the log what to do.
 */
int pci_device_open(const struct port_spec *spec, const struct vireo_log *log, struct driver_queue *queues,
		    struct pci_device *ret);
/* Resets it. Nobody uses the queues any more. Takes one that is not open. */
void pci_device_close(const struct port_spec *spec, struct driver_queue *queues, struct pci_device *device);

#endif
