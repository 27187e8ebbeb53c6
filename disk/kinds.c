/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of kinds, in the order of the help. A new one is a line here and its row in a file of its own. */
#include "base/util.h"
#include "disk/kind.h"

const struct disk_kind *const disk_kinds[] = {
	&disk_file,
	&disk_mem,
	&disk_nbd,
	&disk_null,
	&disk_rbd,
};

const unsigned disk_kind_count = ARRAY_SIZE(disk_kinds);
