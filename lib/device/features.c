/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * What is agreed on with a driver: what it has accepted, less what means nothing without a feature that it has not.
 *
 * virtio 1.3 lets a device refuse such a set (2.2.2), but hardly anybody can be refused: when it comes here over vhost-user,
 * or from a virtual machine by VHOST_* ioctls and VDUSE, the guest's driver has been told that its features are fine; a refusal
 * would leave it with a device that never starts. A driver of this kernel's own could be refused through VDUSE, and would
 * have no device either. What it asks for with such a feature is judged as if it had not been accepted: the frame, or the
 * request, is bad.
 */

#define RULES_TEXT_BYTES 512u

uint64_t device_features_offered(const struct vireo_device *device)
{
	return device->features_offered;
}

uint64_t device_features_untold(const struct vireo_device *device)
{
	return device->features_untold;
}

uint64_t vireo_device_features(const struct vireo_device *device)
{
	return device->features;
}

static void text_add(char text[RULES_TEXT_BYTES], const char *more)
{
	size_t have = strlen(text);

	snprintf(text + have, RULES_TEXT_BYTES - have, "%s%s", have ? ", " : "", more);
}

static uint64_t features_agreed(const struct vireo_device *device, uint64_t features)
{
	char text[RULES_TEXT_BYTES] = "";

	for (size_t i = 0; i < device->feature_rule_count; i++) {
		const struct vireo_feature_rule *rule = &device->feature_rules[i];

		if (!(features & rule->feature) || features & rule->needs)
			continue;
		features &= ~rule->feature;
		text_add(text, rule->text);
	}
	if (*text)
		log_info(&device->log, "%s: the driver accepts %s: not agreed on", device->name, text);
	return features;
}

int device_features_set(struct vireo_device *device, uint64_t features)
{
	uint64_t agreed;
	int r;

	assert(!device_running(device));
	if (features & ~device->features_offered)
		return -EINVAL;
	agreed = features_agreed(device, features);
	if (device->ops.features_set) {
		r = device->ops.features_set(device->opaque, agreed);
		if (r)
			return r;
	}
	if ((device->features ^ agreed) & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT))
		for (unsigned i = 0; i < device->queue_count; i++)
			queue_format_changed(&device->queues[i]);
	device->features = agreed;
	return 0;
}
