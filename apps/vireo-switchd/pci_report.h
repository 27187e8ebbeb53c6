/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PCI_REPORT_H
#define SWITCHD_PCI_REPORT_H

/* What was agreed on with a card that we drive, for `vireoctl port show`: the port's "session". Control thread. */

#include "driver_queue.h"
#include "port_spec.h"
#include <jansson.h>

json_t *pci_session_report(const struct port_spec *spec, uint64_t features, const struct driver_queue *queues);

#endif
