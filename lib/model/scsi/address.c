/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_internal.h"
#include <string.h>

/*
 * Addresses of logical units (virtio 1.3, 5.6.6.1): 01, the target, a LUN of one level in two bytes, four zeroes; or C1 01 and six
 * zeroes, the REPORT LUNS well known logical unit. What the two bytes say is the application's affair.
 */

static const uint8_t report_luns[8] = { 0xc1, 0x01 };

static inline bool one_level(const uint8_t lun[8])
{
	uint32_t rest;

	memcpy(&rest, lun + 4, sizeof(rest));
	return !rest;
}

bool vscsi_address_take(const uint8_t lun[8], bool nexus, uint8_t *ret_target, uint8_t ret_lun[8])
{
	if (likely(lun[0] == 1 && (nexus || one_level(lun)))) {
		*ret_target = lun[1];
		memset(ret_lun, 0, 8);
		if (!nexus)
			memcpy(ret_lun, lun + 2, 2);
		return true;
	}
	if (nexus || memcmp(lun, report_luns, sizeof(report_luns)) != 0)
		return false;
	*ret_target = 0;
	memcpy(ret_lun, report_luns, sizeof(report_luns));
	return true;
}

/*
 * In the form in which the target names it. Linux takes the two bytes as a number, and looks for the unit that it has found by that number in
 * what REPORT LUNS has told: another form would be another unit.
 */
void vscsi_address_put(uint8_t target, const uint8_t lun[8], uint8_t ret_lun[8])
{
	memcpy(ret_lun, (const uint8_t[8]){ 1, target, lun[0], lun[1] }, 8);
}
