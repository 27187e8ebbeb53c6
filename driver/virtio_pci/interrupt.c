/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Who is woken by what.
 *
 * With enough MSI-X vectors each ring that signals has one, whose eventfd is the ring's call fd: nobody
 * stands between device and worker. With fewer, or with the one interrupt line, an interrupt says only that
 * something has happened; whoever watches vireo_pci_interrupt_fd() then raises the call fds of all rings. A
 * ring that asked for no signal is woken needlessly, and finds nothing.
 */

#include "base/fd.h"
#include "driver/virtio_pci/pci.h"
#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

#define ISR_QUEUE 1 /* virtio 1.3, 4.1.4.5 */
#define ISR_CONFIG 2

/* Vector 0 to the config change, and one to each ring that signals, or the same one. */
static int vectors_assign(struct vireo_pci *pci)
{
	uint16_t next = 1;

	pci_common_write(pci, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	if (pci_common_read(pci, VIRTIO_PCI_COMMON_MSIX, 2) != 0)
		return -EBUSY;
	for (unsigned i = 0; i < pci->queue_count; i++) {
		struct pci_queue *q = &pci->queues[i];
		int err;

		if (!q->ring)
			continue;
		q->vector = PCI_NO_VECTOR;
		if (q->signals)
			q->vector = pci->interrupts == PCI_INTERRUPTS_VECTORS ? next++ : 0;
		err = pci_queue_vector_set(pci, i, q->vector);
		if (err)
			return err;
	}
	return 0;
}

static int vectors_start(struct vireo_pci *pci, unsigned signalling)
{
	unsigned count = 1 + signalling, n = 0;
	int *fds = calloc(count, sizeof(*fds)), err;

	if (!fds)
		return -ENOMEM;
	pci->interrupts = PCI_INTERRUPTS_VECTORS;
	if (count > pci->access->vectors) {
		pci->interrupts = PCI_INTERRUPTS_VECTOR;
		count = 1;
	}
	err = fd_event_new(&pci->interrupt_fd);
	fds[n++] = pci->interrupt_fd;
	for (unsigned i = 0; i < pci->queue_count && n < count; i++)
		if (pci->queues[i].ring && pci->queues[i].signals)
			fds[n++] = pci->queues[i].call_fd;
	if (!err)
		err = pci->access->ops->vectors_start(pci->access, fds, count);
	free(fds);
	if (err)
		return err;
	err = vectors_assign(pci);
	if (err == -EBUSY && pci->interrupts == PCI_INTERRUPTS_VECTORS) { /* 4.1.5.1.2.2: fewer may do */
		pci->interrupts = PCI_INTERRUPTS_VECTOR;
		err = vectors_assign(pci);
	}
	if (err == -EBUSY)
		log_error(&pci->config.log, "%s: the function does not take an interrupt vector",
			  pci->address);
	return err;
}

/* Without any interrupt, call fds never become readable; the caller sees it by vireo_pci_interrupt_fd(). */
int pci_interrupts_start(struct vireo_pci *pci)
{
	const struct pci_access_ops *ops = pci->access->ops;
	unsigned signalling = 0;
	int err;

	if (pci->config.no_interrupts)
		return 0;
	for (unsigned i = 0; i < pci->queue_count; i++)
		signalling += pci->queues[i].ring && pci->queues[i].signals;
	if (ops->vectors_start && pci->access->vectors)
		return vectors_start(pci, signalling);
	err = ops->line_start(pci->access, &pci->interrupt_fd);
	if (!err)
		pci->interrupts = PCI_INTERRUPTS_LINE;
	else if (err == -ENOTSUP)
		log_warning(&pci->config.log, "%s: the function cannot interrupt: it is polled",
			    pci->address);
	return err == -ENOTSUP ? 0 : err;
}

void pci_interrupts_free(struct vireo_pci *pci)
{
	if (pci->interrupts != PCI_INTERRUPTS_LINE) /* that is the access's */
		fd_close(&pci->interrupt_fd);
}

int vireo_pci_interrupt_fd(const struct vireo_pci *pci)
{
	return pci->interrupt_fd;
}

static void rings_raise(struct vireo_pci *pci)
{
	for (unsigned i = 0; i < pci->queue_count; i++)
		if (pci->queues[i].ring && pci->queues[i].signals)
			fd_event_raise(pci->queues[i].call_fd);
}

/* The read takes the device's line down; only then may the line be let through again. */
static int line_serve(struct vireo_pci *pci)
{
	const struct pci_area *isr = &pci->layout.isr;
	unsigned reasons = pci->access->ops->read(pci->access, isr->bar, isr->offset, 1);
	int err = pci->access->ops->line_rearm(pci->access);

	if (err == -ENODEV)
		pci->taken = true;
	return err ? err : (int)reasons;
}

int vireo_pci_interrupt(struct vireo_pci *pci)
{
	int reasons = 0, err;

	switch (pci->interrupts) {
	case PCI_INTERRUPTS_NONE:
		break;
	case PCI_INTERRUPTS_VECTORS:
		fd_event_clear(pci->interrupt_fd);
		reasons = ISR_CONFIG;
		break;
	case PCI_INTERRUPTS_VECTOR: /* the ISR is not told then: either may be the reason */
		fd_event_clear(pci->interrupt_fd);
		reasons = ISR_QUEUE | ISR_CONFIG;
		break;
	case PCI_INTERRUPTS_LINE:
		reasons = line_serve(pci);
		break;
	}
	if (reasons < 0)
		return reasons;
	if (reasons & ISR_QUEUE)
		rings_raise(pci);
	err = pci_health(pci);
	return err ? err : (reasons & ISR_CONFIG) != 0;
}
