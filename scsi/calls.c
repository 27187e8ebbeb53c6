/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations that outlive the daemon: keep.c. */
#include "base/calls.h"
#include "base/util.h"

static const struct call rows[] = {
	CALL("rename renameat renameat2 fsync", "a file of reservations takes the place of the one before"),
};

extern const struct calls scsi_calls;
const struct calls scsi_calls = {"scsi", rows, ARRAY_SIZE(rows), NULL, 0};
