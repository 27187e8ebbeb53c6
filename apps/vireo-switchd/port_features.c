/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_features.h"
#include "vireo/device.h"
#include "wire/feature_names.h"
#include <stdio.h>

#define TYPE_NET 1u

json_t *port_features_report(uint64_t features)
{
	json_t *list = json_array();
	char number[16];

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = feature_name(TYPE_NET, bit);

		if (!(features & VIREO_FEATURE(bit)))
			continue;
		snprintf(number, sizeof(number), "bit %u", bit);
		json_array_append_new(list, json_string(name ? name : number));
	}
	return list;
}
