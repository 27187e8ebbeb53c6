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
	struct vireo_log log;
	const char *name;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	struct vireo_memory *memory; /* see vireo_device_config, as for the next */
	uint64_t memory_max_bytes;
};

/* -ENOMEM, -EINVAL. Control thread, as all below. */
VIREO_API int vireo_rng_new(const struct vireo_rng_config *config, struct vireo_rng **ret_rng);
VIREO_API void vireo_rng_free(struct vireo_rng *rng); /* takes NULL; its endpoint is closed */
VIREO_API struct vireo_device *vireo_rng_device(struct vireo_rng *rng); /* borrowed, to offer at an endpoint */

#ifdef __cplusplus
}
#endif
#endif
