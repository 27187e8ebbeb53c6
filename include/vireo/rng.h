/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_RNG_H
#define VIREO_RNG_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An entropy device (virtio 1.3, 5.4): one queue, filled by getrandom(2). */
struct vireo_rng;
struct vireo_device;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_notifier;

struct vireo_rng_config {
	size_t size;
	/* These are passed on to the device: see struct vireo_device_config. */
	struct vireo_log log;
	const char *name;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	struct vireo_memory *memory;
	uint64_t memory_max_bytes;
};

/*
 * Makes the device; offer it with vireo_endpoint_open(vireo_rng_device(rng), ...). -EINVAL: `size` is 0, or a field is not valid;
 * -ENOMEM. These three: the control thread.
 */
VIREO_API int vireo_rng_new(const struct vireo_rng_config *config, struct vireo_rng **ret_rng);
VIREO_API void vireo_rng_free(struct vireo_rng *rng); /* close its endpoint first; does nothing for NULL */
VIREO_API struct vireo_device *vireo_rng_device(struct vireo_rng *rng); /* borrowed: the rng owns it */

#ifdef __cplusplus
}
#endif
#endif
