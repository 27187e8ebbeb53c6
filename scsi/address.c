/* SPDX-License-Identifier: BSD-3-Clause */
/* LUN addresses of one level (SAM-5, 4.7): peripheral device, flat space, logical unit and extended. */
#include "scsi/internal.h"

enum { PERIPHERAL, FLAT, LOGICAL_UNIT, EXTENDED };

static bool zero_from(const uint8_t *address, unsigned from)
{
	for (unsigned i = from; i < 8; i++)
		if (address[i])
			return false;
	return true;
}

/* Its length, in pairs of bytes, and its method: flat ones name as many as the bus can have. */
static int extended_decode(const uint8_t *address)
{
	unsigned length = (address[0] >> 4 & 3) * 2, method = address[0] & 0xf;
	uint64_t number = 0;

	if (method == 1)
		return address[1] == 1 && !length && zero_from(address, 2) ? -ENOTSUP : -EINVAL; /* REPORT LUNS alone */
	if (method != 2 || length == 0 || length == 6)
		return -EINVAL;
	for (unsigned i = 1; i < length + 2; i++)
		number = number << 8 | address[i];
	return zero_from(address, length + 2) && number < SCSI_LUNS ? (int)number : -EINVAL;
}

int scsi_lun_decode(const uint8_t address[8])
{
	if (address[0] >> 6 == EXTENDED)
		return extended_decode(address);
	if (!zero_from(address, 2))
		return -EINVAL;
	switch (address[0] >> 6) {
	case FLAT:
		return (address[0] & 0x3f) << 8 | address[1];
	case PERIPHERAL:
		return address[0] & 0x3f ? -EINVAL : address[1]; /* there is no bus below this one */
	default:
		return address[0] & 0x3f || address[1] >> 5 ? -EINVAL : address[1]; /* target 0 of bus 0 */
	}
}

void scsi_lun_encode(unsigned lun, uint8_t ret_address[8])
{
	memset(ret_address, 0, 8);
	ret_address[0] = (uint8_t)(lun < 256 ? 0 : 0x40 | lun >> 8);
	ret_address[1] = (uint8_t)lun;
}
