/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/feature_names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_scsi.h>

#define BIT(bit) (UINT64_C(1) << (bit))

static void bits_have_the_names_of_the_systems_headers(void **state)
{
	assert_string_equal(feature_name(1, VIRTIO_NET_F_GUEST_CSUM), "GUEST_CSUM");
	assert_string_equal(feature_name(1, VIRTIO_NET_F_MTU), "MTU");
	assert_string_equal(feature_name(1, VIRTIO_NET_F_HOST_TSO6), "HOST_TSO6");
	assert_string_equal(feature_name(1, VIRTIO_NET_F_MRG_RXBUF), "MRG_RXBUF");
	assert_string_equal(feature_name(1, VIRTIO_NET_F_CTRL_MAC_ADDR), "CTRL_MAC_ADDR");
	assert_string_equal(feature_name(1, VIRTIO_NET_F_RSS), "RSS");
	assert_string_equal(feature_name(2, VIRTIO_BLK_F_SEG_MAX), "SEG_MAX");
	assert_string_equal(feature_name(2, VIRTIO_BLK_F_WRITE_ZEROES), "WRITE_ZEROES");
	assert_string_equal(feature_name(8, VIRTIO_SCSI_F_INOUT), "INOUT");
	assert_string_equal(feature_name(8, VIRTIO_SCSI_F_T10_PI), "T10_PI");
	assert_string_equal(feature_name(1, VIRTIO_RING_F_EVENT_IDX), "RING_EVENT_IDX");
	assert_string_equal(feature_name(2, VIRTIO_RING_F_INDIRECT_DESC), "RING_INDIRECT_DESC");
	assert_string_equal(feature_name(4, VIRTIO_F_VERSION_1), "VERSION_1");
	assert_string_equal(feature_name(1, VIRTIO_F_RING_PACKED), "RING_PACKED");
	assert_string_equal(feature_name(1, 35), "IN_ORDER"); /* Linux 5.10's headers do not name it */
}

static void a_type_does_not_lend_its_names_to_another(void **state)
{
	assert_null(feature_name(4, VIRTIO_NET_F_CSUM));
	assert_string_equal(feature_name(2, VIRTIO_BLK_F_TOPOLOGY), "TOPOLOGY");
	assert_string_equal(feature_name(1, VIRTIO_BLK_F_TOPOLOGY), "GUEST_UFO");
	assert_null(feature_name(1, 64));
	assert_null(protocol_feature_name(64));
}

static void a_text_has_names_in_the_order_of_bits(void **state)
{
	char text[FEATURES_TEXT_BYTES];

	assert_string_equal(features_text(text, 1, 0), "none");
	assert_string_equal(features_text(text, 1, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CSUM) | BIT(43)),
			    "CSUM VERSION_1 bit 43");
	assert_string_equal(protocol_features_text(text, BIT(21) | BIT(0) | BIT(63)), "MQ GPA_ADDRESSES bit 63");
	assert_string_equal(protocol_features_text(text, 0), "none");
}

static void the_longest_texts_are_not_cut(void **state)
{
	char text[FEATURES_TEXT_BYTES];
	static const char net_end[] = "STANDBY SPEED_DUPLEX", other_end[] = "bit 62 bit 63";

	features_text(text, 1, UINT64_MAX);
	assert_string_equal(text + strlen(text) - strlen(net_end), net_end);
	for (unsigned type = 2; type <= 4; type++) {
		features_text(text, type, UINT64_MAX);
		assert_string_equal(text + strlen(text) - strlen(other_end), other_end);
	}
	protocol_features_text(text, UINT64_MAX);
	assert_string_equal(text + strlen(text) - strlen(other_end), other_end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_have_the_names_of_the_systems_headers),
		cmocka_unit_test(a_type_does_not_lend_its_names_to_another),
		cmocka_unit_test(a_text_has_names_in_the_order_of_bits),
		cmocka_unit_test(the_longest_texts_are_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
