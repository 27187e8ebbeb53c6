/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/test_scsi.h"

static int decoded(const char *text)
{
	uint8_t address[8] = {0};

	hex(text, address);
	return scsi_lun_decode(address);
}

static void peripheral_addresses_name_up_to_255(void **state)
{
	assert_int_equal(decoded("0000"), 0);
	assert_int_equal(decoded("0007"), 7);
	assert_int_equal(decoded("00ff"), 255);
	assert_int_equal(decoded("0107"), -EINVAL); /* a bus below */
}

static void flat_addresses_name_up_to_16383(void **state)
{
	assert_int_equal(decoded("4000"), 0);
	assert_int_equal(decoded("4105"), 0x105);
	assert_int_equal(decoded("7fff"), 16383);
}

static void logical_unit_addresses_name_bus_0_target_0(void **state)
{
	assert_int_equal(decoded("8003"), 3);
	assert_int_equal(decoded("801f"), 31);
	assert_int_equal(decoded("8103"), -EINVAL);
	assert_int_equal(decoded("8023"), -EINVAL);
}

static void extended_flat_addresses_are_understood(void **state)
{
	assert_int_equal(decoded("d2000105"), 0x105);
	assert_int_equal(decoded("d2010000"), -EINVAL); /* beyond what a target has */
	assert_int_equal(decoded("e20000000105"), 0x105);
	assert_int_equal(decoded("e20100000105"), -EINVAL);
	assert_int_equal(decoded("c205"), -EINVAL);
	assert_int_equal(decoded("f200000000000105"), -EINVAL);
	assert_int_equal(decoded("d3000105"), -EINVAL);
}

static void report_luns_is_the_only_well_known_one(void **state)
{
	assert_int_equal(decoded("c101"), -ENOTSUP);
	assert_int_equal(decoded("c102"), -EINVAL);
	assert_int_equal(decoded("d101"), -EINVAL);
	assert_int_equal(decoded("c10100000001"), -EINVAL);
}

static void a_second_level_is_refused(void **state)
{
	assert_int_equal(decoded("00050001"), -EINVAL);
	assert_int_equal(decoded("4005000000000001"), -EINVAL);
	assert_int_equal(decoded("80030001"), -EINVAL);
	assert_int_equal(decoded("d200010500000001"), -EINVAL);
}

static void what_is_encoded_is_decoded(void **state)
{
	for (unsigned lun = 0; lun < SCSI_LUNS; lun++) {
		uint8_t address[8];

		scsi_lun_encode(lun, address);
		assert_int_equal(scsi_lun_decode(address), lun);
		assert_int_equal(address[0] >> 6, lun < 256 ? 0 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peripheral_addresses_name_up_to_255),
		cmocka_unit_test(flat_addresses_name_up_to_16383),
		cmocka_unit_test(logical_unit_addresses_name_bus_0_target_0),
		cmocka_unit_test(extended_flat_addresses_are_understood),
		cmocka_unit_test(report_luns_is_the_only_well_known_one),
		cmocka_unit_test(a_second_level_is_refused),
		cmocka_unit_test(what_is_encoded_is_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
