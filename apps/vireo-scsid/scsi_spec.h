/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_SCSI_SPEC_H
#define SCSID_SCSI_SPEC_H

/* An export as the user writes it: a SCSI host, at first without targets. */

#include "store/export_spec.h"

#define SCSI_SPEC_WWPN_BYTES 21u /* naa., 16 digits and the end */

struct scsi_spec {
	struct export_spec export; /* first */
	char initiator[SPEC_NAME_BYTES]; /* empty: the export's name */
	char wwpn[SCSI_SPEC_WWPN_BYTES]; /* CUSE: what the target is called there */
};

extern const struct spec_kinds scsi_spec_kinds;

unsigned scsi_spec_queues(const struct export_spec *spec);

static inline const struct scsi_spec *scsi_spec_of(const struct export_spec *spec)
{
	return (const struct scsi_spec *)spec;
}

#endif
