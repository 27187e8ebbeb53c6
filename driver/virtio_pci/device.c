/* SPDX-License-Identifier: BSD-3-Clause */

/* The order of things (virtio 1.3, 3.1), from opening to closing. */

#include "base/fd.h"
#include "base/util.h"
#include "driver/virtio_pci/pci.h"
#include "driver/virtio_pci/sysfs.h"
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MASK(bit) (UINT64_C(1) << (bit))

static int config_take(struct vireo_pci *pci, const struct vireo_pci_config *config)
{
	struct vireo_pci_config *c = &pci->config;
	int err = config_copy(c, sizeof(*c), config);

	if (err)
		return err;
	if (!c->address || strlen(c->address) >= sizeof(pci->address) || c->timeout_ms > INT32_MAX)
		return -EINVAL;
	snprintf(pci->address, sizeof(pci->address), "%s", c->address);
	c->address = pci->address;
	if (!c->timeout_ms)
		c->timeout_ms = PCI_TIMEOUT_DEFAULT_MS;
	if (!c->root)
		c->root = "";
	return 0;
}

/* ---- the function's registers ---- */

/* The command register: the function may be spoken to, and may reach memory; its interrupt line stays as it
 * is. */
static int command_set(struct vireo_pci *pci, uint16_t on, uint16_t off)
{
	const struct pci_access_ops *ops = pci->access->ops;
	uint16_t command;
	int err = ops->config_read(pci->access, PCI_COMMAND, &command, sizeof(command));

	if (err)
		return err;
	command = (uint16_t)((command | on) & ~off);
	return ops->config_write(pci->access, PCI_COMMAND, &command, sizeof(command));
}

/* Whether the function says that it cannot reach memory. All ones: it is not there. */
static bool memory_out_of_reach(struct vireo_pci *pci)
{
	uint16_t command;

	return !pci->access->ops->config_read(pci->access, PCI_COMMAND, &command, sizeof(command)) &&
	       (command == UINT16_MAX || !(command & PCI_COMMAND_MASTER));
}

static int bars_map(struct vireo_pci *pci)
{
	const struct pci_layout *l = &pci->layout;
	const struct pci_area *areas[] = { &l->common, &l->notify, &l->isr, &l->device };

	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		int err = areas[i]->bytes ? pci->access->ops->bar_map(pci->access, areas[i]->bar) : 0;

		if (err) {
			log_error(&pci->config.log, "%s: its BAR %u cannot be mapped: %s", pci->address,
				  areas[i]->bar, strerror(-err));
			return err;
		}
	}
	return 0;
}

/* MSI-X that is still on would keep the function from ever using its interrupt line (4.1.4.5). */
static int msix_off(struct vireo_pci *pci)
{
	const struct pci_access_ops *ops = pci->access->ops;
	uint32_t at = pci->layout.msix_at + PCI_MSIX_FLAGS;
	uint16_t flags;
	int err;

	if (!pci->layout.msix_at || ops->vectors_start)
		return 0;
	err = ops->config_read(pci->access, at, &flags, sizeof(flags));
	if (err || !(flags & PCI_MSIX_FLAGS_ENABLE))
		return err;
	flags &= (uint16_t)~PCI_MSIX_FLAGS_ENABLE;
	return ops->config_write(pci->access, at, &flags, sizeof(flags));
}

static int function_reach(struct vireo_pci *pci)
{
	uint8_t config[PCI_CONFIG_BYTES];
	const char *why = "config space cannot be read: CAP_SYS_ADMIN is missing, run as root";
	int err = pci->access->ops->config_read(pci->access, 0, config, sizeof(config));

	if (!err)
		err = pci_caps_parse(config, sizeof(config), pci->access->bars, &pci->layout, &why);
	if (err) {
		log_error(&pci->config.log, "%s: %s", pci->address, why);
		return err;
	}
	err = command_set(pci, PCI_COMMAND_MEMORY, 0);
	if (!err)
		err = msix_off(pci);
	if (err)
		log_error(&pci->config.log, "%s: its config space cannot be written: %s", pci->address,
			  strerror(-err));
	return err ? err : bars_map(pci);
}

/* ---- features ---- */

/*
 * ACCESS_PLATFORM decides which addresses the device takes for memory: with it, what the platform tells, so
 * an IOMMU is heeded; without it physical ones, past any IOMMU. The wrong kind would let it write anywhere.
 */
static int platform_check(struct vireo_pci *pci, uint64_t offered)
{
	const struct pci_access *access = pci->access;
	bool heeded = offered & MASK(PCI_F_ACCESS_PLATFORM_BIT);

	if (access->ops->dma_map && !heeded) {
		log_error(&pci->config.log,
			  "%s: the function passes by its IOMMU (no ACCESS_PLATFORM): start it with "
			  "iommu_platform=on, or bind it to uio_pci_generic",
			  pci->address);
		return -ENOTSUP;
	}
	if (!access->ops->dma_map && access->translated && heeded) {
		log_error(&pci->config.log,
			  "%s: an IOMMU stands before the function: bind it to vfio-pci, or boot "
			  "with iommu=pt",
			  pci->address);
		return -ENOTSUP;
	}
	return 0;
}

static uint64_t platform_features(void)
{
#if defined(__x86_64__) || defined(__i386__)
	/* Ordinary stores and loads are in an order that suits real devices as well as emulated ones. */
	return MASK(PCI_F_ACCESS_PLATFORM_BIT) | MASK(PCI_F_ORDER_PLATFORM_BIT);
#else
	return MASK(PCI_F_ACCESS_PLATFORM_BIT);
#endif
}

/* Of what is offered. A doorbell takes a queue's number here and nothing else. */
static uint64_t features_wanted(const struct vireo_pci *pci, uint64_t offered)
{
	const struct vireo_pci_config *c = &pci->config;
	uint64_t wanted = c->features_choose ? c->features_choose(c->opaque, offered) : c->features;

	wanted |= c->features_required | MASK(PCI_F_VERSION_1_BIT) | platform_features();
	wanted &= offered & ~MASK(PCI_F_NOTIFICATION_DATA_BIT);
	return pci->layout.device_id == PCI_NET_DEVICE_ID ? pci_net_features(wanted) : wanted;
}

static int features_agree(struct vireo_pci *pci)
{
	uint64_t offered = pci_features_offered(pci), missing;
	int err = platform_check(pci, offered);

	if (err)
		return err;
	pci->features = features_wanted(pci, offered);
	missing = (pci->config.features_required | MASK(PCI_F_VERSION_1_BIT)) & ~pci->features;
	if (missing) {
		log_error(&pci->config.log, "%s: the function lacks features %#llx", pci->address,
			  (unsigned long long)missing);
		return -ENOTSUP;
	}
	pci_features_accept(pci, pci->features);
	pci_status_add(pci, PCI_STATUS_FEATURES_OK);
	if (pci_status(pci) & PCI_STATUS_FEATURES_OK)
		return 0;
	log_error(&pci->config.log, "%s: the function does not accept features %#llx", pci->address,
		  (unsigned long long)pci->features);
	return -ENOTSUP;
}

static int queues_count(struct vireo_pci *pci)
{
	pci->queue_count = pci_common_read(pci, VIRTIO_PCI_COMMON_NUMQ, 2);
	if (!pci->queue_count) {
		log_error(&pci->config.log, "%s: the function says that it has no queues", pci->address);
		return -EPROTO;
	}
	pci->queues = calloc(pci->queue_count, sizeof(*pci->queues));
	if (!pci->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < pci->queue_count; i++) {
		pci->queues[i].call_fd = -1;
		pci->queues[i].vector = PCI_NO_VECTOR;
	}
	return 0;
}

static int function_start(struct vireo_pci *pci)
{
	int err = function_reach(pci);

	if (err)
		return err;
	err = pci_reset(pci);
	if (err)
		return err;
	pci->reset = true;
	pci_status_add(pci, PCI_STATUS_ACKNOWLEDGE);
	pci_status_add(pci, PCI_STATUS_DRIVER);
	err = features_agree(pci);
	return err ? err : queues_count(pci);
}

/* ---- opening and closing ---- */

int pci_open_access(const struct vireo_pci_config *config, struct pci_access *access,
		    struct vireo_pci **ret_pci)
{
	struct vireo_pci *pci = calloc(1, sizeof(*pci));
	int err = pci ? config_take(pci, config) : -ENOMEM;

	if (err) {
		access->ops->close(access);
		free(pci);
		return err;
	}
	pci->access = access;
	pci->interrupt_fd = -1;
	pci->patience_ms = pci->config.timeout_ms;
	pci->dma = (struct pci_dma){ .access = access, .log = &pci->config.log };
	err = function_start(pci);
	if (err) {
		vireo_pci_close(pci);
		return err;
	}
	log_info(&pci->config.log, "%s: features %#llx, %u queues", pci->address,
		 (unsigned long long)pci->features, pci->queue_count);
	*ret_pci = pci;
	return 0;
}

static int access_open(const struct vireo_pci_config *config, struct pci_access **ret_access)
{
	const char *root = config->root ? config->root : "";
	struct vireo_pci_function function;
	int err = pci_sysfs_function(root, config->address, &function);

	if (err) {
		log_error(&config->log, "%.32s: %s", config->address,
			  err == -EINVAL ? "expected an address such as 0000:00:04.0"
					 : "no virtio function is there: see vireoctl pci list");
		return err;
	}
	if (!strcmp(function.driver, "vfio-pci") && *function.node)
		return pci_vfio_open(root, &function, &config->log, ret_access);
	if (!strcmp(function.driver, "uio_pci_generic") && *function.node)
		return pci_uio_open(root, &function, &config->log, ret_access);
	log_error(&config->log, "%s: it is bound to %s%s: vireoctl pci bind %s", function.address,
		  *function.driver ? function.driver : "no driver",
		  *function.interface ? " and may be in use" : "", function.address);
	return -ENOTSUP;
}

int vireo_pci_open(const struct vireo_pci_config *config, struct vireo_pci **ret_pci)
{
	struct vireo_pci_config copy;
	struct pci_access *access;
	int err = config_copy(&copy, sizeof(copy), config);

	if (!err && !copy.address)
		err = -EINVAL;
	if (!err)
		err = access_open(&copy, &access);
	return err ? err : pci_open_access(&copy, access, ret_pci);
}

/* After the reset the device leaves memory alone; without bus mastering it cannot do otherwise. */
static bool silence(struct vireo_pci *pci)
{
	bool reset = pci->reset && !pci_reset(pci);

	if (pci->layout.common.bytes)
		command_set(pci, 0, PCI_COMMAND_MASTER);
	return reset || memory_out_of_reach(pci);
}

/*
 * What a device may still write to is given to nobody else. An IOMMU does not let it, once the access is
 * closed; without one it has to have done as it was told.
 */
void vireo_pci_close(struct vireo_pci *pci)
{
	bool silent;

	if (!pci)
		return;
	pci->patience_ms = pci->config.timeout_ms;
	silent = !pci->taken && silence(pci);
	pci_interrupts_free(pci);
	pci_queues_free(pci);
	if (silent || !pci->started || pci->access->ops->dma_map) {
		pci->access->ops->close(pci->access);
		pci_dma_free(&pci->dma);
	} else {
		log_error(&pci->config.log,
			  "%s: it may still write to memory: what it knows of is not freed before the "
			  "process ends",
			  pci->address);
		pci->access->ops->close(pci->access);
		pci_dma_leave(&pci->dma);
	}
	free(pci);
}

int vireo_pci_halt(struct vireo_pci *pci)
{
	return pci->taken ? -ENODEV : command_set(pci, 0, PCI_COMMAND_MASTER);
}

int vireo_pci_check(struct vireo_pci *pci)
{
	int err = pci->access->ops->owned(pci->access);

	if (err == -ENODEV)
		pci->taken = true;
	if (!err)
		err = pci_health(pci);
	return !err && pci->started && memory_out_of_reach(pci) ? -ESTALE : err;
}

int vireo_pci_start(struct vireo_pci *pci)
{
	int err;

	if (pci->started)
		return -EINVAL;
	err = command_set(pci, PCI_COMMAND_MASTER, 0);
	if (!err)
		err = pci_interrupts_start(pci);
	if (err) {
		log_error(&pci->config.log, "%s: it cannot be started: %s", pci->address, strerror(-err));
		return err;
	}
	pci->started = true;
	for (unsigned i = 0; i < pci->queue_count; i++)
		if (pci->queues[i].ring)
			pci_queue_enable(pci, i);
	pci_status_add(pci, PCI_STATUS_DRIVER_OK);
	err = pci_health(pci);
	if (err)
		log_error(&pci->config.log, "%s: the function does not run (status %#x)", pci->address,
			  pci_status(pci));
	return err;
}

uint64_t vireo_pci_features(const struct vireo_pci *pci)
{
	return pci->features;
}

unsigned vireo_pci_device_id(const struct vireo_pci *pci)
{
	return pci->layout.device_id;
}

unsigned vireo_pci_queue_count(const struct vireo_pci *pci)
{
	return pci->queue_count;
}
