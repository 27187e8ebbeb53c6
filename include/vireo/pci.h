/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_PCI_H
#define VIREO_PCI_H

/*
 * A virtio 1.x function on the PCI bus (virtio 1.3, 4.1) that this process drives: the function is bound to vfio-pci (behind an
 * IOMMU, or in its no-IOMMU mode) or to uio_pci_generic.
 *
 * Life:
 * - vireo_pci_open() resets the function and negotiates features.
 * - vireo_pci_ring_open() prepares each queue that will be used, and vireo_pci_start() starts the function. For a network function
 *   vireo_pci_net_start() does both.
 * - The rings are used as vireo/driver.h says.
 * - vireo_pci_close() resets the function again.
 *
 * A function belongs to one thread at a time; each of its rings belongs to one thread at a time, which may be
 * another one. The device is given addresses of memory that was allocated for it here, and no others; without an IOMMU nothing
 * but its honesty keeps it from other memory.
 *
 * When a function fails, one line of log (VIREO_LOG_ERROR) says what went wrong and what to do about it.
 */

#include "base.h"
#include "driver.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_pci;

struct vireo_pci_config {
	size_t size;
	const char *address; /* "0000:00:04.0" */
	/* How long to wait for the function from opening to running, and once more at closing; 0: 5000. */
	unsigned timeout_ms;
	/*
	 * Virtio features wanted. The library drops those that the device lacks, and of a network function those that require a feature
	 * that it lacks (5.1.3.1). It adds VERSION_1, ACCESS_PLATFORM and ORDER_PLATFORM itself.
	 */
	uint64_t features;
	uint64_t features_required; /* -ENOTSUP if one of these is not offered */
	/* What is wanted of what the device offers, where one depends on another; NULL: `features`. */
	uint64_t (*features_choose)(void *opaque, uint64_t offered);
	void *opaque;
	bool no_interrupts; /* the caller polls */
	struct vireo_log log;
	const char *root; /* where /sys and /dev are found, for tests; NULL: in / */
};

/*
 * Finds the driver that the function is bound to, opens the function, resets it and negotiates features. The log says more about an
 * error. -EINVAL: a field of the config is not valid; -ENODEV: there is no such function, it is no virtio function, or it does not
 * answer; -ENOTSUP: it is bound to another driver (bind it with vireo_pci_bind()), is legacy only, or lacks a required feature or
 * a means of DMA; -EBUSY: another process has it; -EACCES, -EPERM: no access to a file in /dev or /sys, run with the right that the
 * log names; -ETIMEDOUT: it never leaves reset; -EPROTO: what it says about itself contradicts the specification; -ENOMEM; or the
 * errno of a system call.
 */
VIREO_API int vireo_pci_open(const struct vireo_pci_config *config, struct vireo_pci **ret_pci);

/*
 * Resets the function, which ends its use of memory, and frees everything; does nothing for NULL. No thread uses its rings any
 * more. If the function cannot be kept from memory (it does not obey, or was unplugged, and there is no IOMMU), its rings and
 * buffers stay allocated until the process ends.
 */
VIREO_API void vireo_pci_close(struct vireo_pci *pci);

VIREO_API uint64_t vireo_pci_features(const struct vireo_pci *pci); /* the features that were agreed on */
VIREO_API unsigned vireo_pci_device_id(const struct vireo_pci *pci); /* virtio 1.3, section 5: 1 is net */
VIREO_API unsigned vireo_pci_queue_count(const struct vireo_pci *pci); /* how many queues the device has */

/*
 * Read and write the device's config space; a read returns bytes of one generation (virtio 1.3, 2.5). -EINVAL: the bytes lie outside
 * config space; -EAGAIN: it keeps changing, read again later; -ENODEV: the function is unplugged, close it. A write returns -EINVAL
 * alone.
 */
VIREO_API int vireo_pci_config_read(struct vireo_pci *pci, uint32_t offset, void *data, uint32_t bytes);
VIREO_API int vireo_pci_config_write(struct vireo_pci *pci, uint32_t offset, const void *data,
				     uint32_t bytes);

struct vireo_pci_ring_config {
	size_t size;
	/*
	 * Entries wanted; 0: 256. The device may allow fewer. Without an IOMMU a ring and its buffers have to fit into one huge page,
	 * and there may be fewer for that: vireo_driver_ring_size() says how many there are.
	 */
	unsigned entries;
	size_t buffer_bytes; /* memory for buffers, for each entry */
	bool signals; /* the caller waits for vireo_driver_ring_call_fd() */
};

/*
 * Prepares queue `index`. Call it before vireo_pci_start(). -EINVAL: a field of the config or the index is not valid, or the function
 * has been started; -EEXIST: the queue has been prepared already; -E2BIG: without an IOMMU not even 16 entries fit into a huge page,
 * ask for smaller buffers; -EPERM: the kernel hides physical addresses, run with CAP_SYS_ADMIN; -ENOMEM: also where no huge page
 * is free; -EPROTO: what the device says about its queue contradicts the specification, close it.
 */
VIREO_API int vireo_pci_ring_open(struct vireo_pci *pci, unsigned index,
				  const struct vireo_pci_ring_config *config);
VIREO_API struct vireo_driver_ring *vireo_pci_ring(struct vireo_pci *pci, unsigned index); /* borrowed; NULL: not opened */
/* Returns the memory for the buffers of this ring, and of no other: buffer_bytes for each entry. */
VIREO_API void *vireo_pci_memory(struct vireo_pci *pci, unsigned index);

/*
 * Writes the addresses of all rings to the device and sets DRIVER_OK. Kick rings only after this. -EINVAL: it has been started
 * already; -ENODEV, -EIO, -ESTALE: as vireo_pci_interrupt(), close the function; or the errno of a system call that sets up
 * interrupts. Whatever fails, close the function.
 */
VIREO_API int vireo_pci_start(struct vireo_pci *pci);

/*
 * Returns an fd that is readable when the function interrupts for more than one ring alone. Borrowed. Watch it (level-triggered) and
 * call vireo_pci_interrupt() if you want config changes, or signals of rings: where rings share an interrupt, that call raises their
 * call fds. -1: the function does not interrupt, poll the rings.
 */
VIREO_API int vireo_pci_interrupt_fd(const struct vireo_pci *pci);
/*
 * Handles an interrupt. Returns 1: config space may have changed, read it; 0: it has not. -EIO: the device asks for a reset; -ENODEV:
 * it is unplugged; -ESTALE: another program has reset it. After an error the fd may stay readable: stop watching it, and close the
 * function.
 */
VIREO_API int vireo_pci_interrupt(struct vireo_pci *pci);
/*
 * Checks whether the function is alive; once a second is enough. Returns the errors of vireo_pci_interrupt(). -ESTALE also means that
 * another program has ended its access to memory; -ECANCELED: the kernel wants to unbind or unplug it, and waits until you
 * close it.
 */
VIREO_API int vireo_pci_check(struct vireo_pci *pci);
/*
 * Ends at once the access to memory of a function that you do not trust any more. Close it next. Its rings may be used until then,
 * without effect. -ENODEV: the function is unplugged; or the errno of a system call: it may still reach memory, close it all the same.
 */
VIREO_API int vireo_pci_halt(struct vireo_pci *pci);

/* ---- a network function (virtio 1.3, 5.1) ---- */

struct vireo_pci_net_config {
	size_t size;
	unsigned pairs; /* pair i receives on ring 2i and transmits on ring 2i + 1; 0: 1 */
	unsigned entries; /* of each ring, 0: 256 */
	size_t buffer_bytes; /* for each entry of each ring */
	bool transmit_signals; /* transmit rings have call fds, as receive rings do */
};

/*
 * Opens the rings, starts the function, asks for all frames (with CTRL_RX) and for all pairs (with MQ). -ENOTSUP: it is no network
 * function, or has fewer pairs (or MQ was not agreed on), ask for fewer; -ETIMEDOUT, -EIO: the control queue does not answer, or
 * refuses; or the errors of vireo_pci_ring_open() and vireo_pci_start(). Whatever fails, close the function.
 */
VIREO_API int vireo_pci_net_start(struct vireo_pci *pci, const struct vireo_pci_net_config *config);
/* Returns 1: the link is up, or the device cannot tell; 0: the link is down; or the errors of vireo_pci_config_read(). */
VIREO_API int vireo_pci_net_link(struct vireo_pci *pci);

/* ---- what is bound to what; needs no open function ---- */

struct vireo_pci_function {
	char address[24];
	unsigned device_id; /* virtio 1.3, section 5; 0: not known */
	char driver[32]; /* "": none */
	char node[64]; /* what a user-space driver opens, such as /dev/vfio/7; "": nothing yet */
	char interface[16]; /* of a network card that the kernel drives; "": none */
	int iommu_group; /* -1: none */
};

/* Returns whether `address` is DDDD:BB:DD.F in lower-case hexadecimal, as the kernel writes it. */
VIREO_API bool vireo_pci_address_valid(const char *address);

/*
 * Calls `each` for the virtio functions of the machine, in order of their addresses. The function's struct is
 * valid during the call. `root` as in vireo_pci_config. -ENOENT: no PCI bus here.
 */
VIREO_API int vireo_pci_list(const char *root,
			     void (*each)(void *opaque, const struct vireo_pci_function *function),
			     void *opaque);

/*
 * Unbinds a network function from its driver and binds it to `driver`: "vfio-pci", "uio_pci_generic", or NULL: the former if the
 * function has an IOMMU group and the module is there, else the latter. The log says more about an error. -ENODEV: there is no
 * such virtio function; -ENOENT: load the driver's module (modprobe); -EBUSY: its network interface is up (set it down), or in another
 * network namespace, or a process drives it; -EINVAL: another driver's name; -ENOTSUP: the driver refuses it, or it is no network
 * function; -EACCES: run as root. On failure the function is bound to its old driver again, unless that refuses it.
 */
VIREO_API int vireo_pci_bind(const char *root, const char *address, const char *driver,
			     const struct vireo_log *log);
/* Binds the function to the kernel's own driver again. It returns the errors of vireo_pci_bind(). */
VIREO_API int vireo_pci_unbind(const char *root, const char *address, const struct vireo_log *log);

#ifdef __cplusplus
}
#endif
#endif
