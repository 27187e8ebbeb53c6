/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_LUN_SPEC_H
#define SCSID_LUN_SPEC_H

/*
 * A LUN as the user writes it: [EXPORT/]TARGET:LUN=DISK[,key=value...]. Which export, has to be said where there are several: a disk that every
 * machine would see by mistake is a disk that two of them write to.
 */

#include "scsi/scsi.h"
#include "store/disks.h"

struct lun_address {
	char export[SPEC_NAME_BYTES]; /* empty: the only one */
	unsigned target, number;
};

struct lun_spec {
	struct lun_address at;
	char disk[SPEC_NAME_BYTES];
	struct store_use use;
	char serial[SCSI_SERIAL_BYTES + 1]; /* empty: the disk's name */
};

/* 0, or -EINVAL and why. */
int lun_address_parse(const char *text, size_t bytes, struct lun_address *ret_address, char why[SPEC_WHY_BYTES]);
int lun_spec_parse(const char *text, struct lun_spec *ret_spec, char why[SPEC_WHY_BYTES]);
void lun_spec_help(FILE *out);

#endif
