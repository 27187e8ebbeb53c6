/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "vireo/base.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool all_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i])
			return false;
	return true;
}

int config_copy(void *dst, size_t dst_size, const void *src)
{
	const uint8_t *bytes = src;
	size_t size;

	if (!src)
		return -EINVAL;
	memcpy(&size, src, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	/* A newer caller may leave what we do not know at its default; what it sets we cannot honour. */
	if (size > dst_size && !all_zero(bytes + dst_size, size - dst_size))
		return -EINVAL;

	memset(dst, 0, dst_size);
	memcpy(dst, src, size < dst_size ? size : dst_size);
	return 0;
}

const char *vireo_version(void)
{
	return VIREO_VERSION;
}
