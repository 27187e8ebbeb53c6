/* SPDX-License-Identifier: BSD-3-Clause */

/* A network function: pairs, link, and what it is asked over its control queue. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "test_function.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include "wire/virtio_net.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>

#define CONTROL (VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT) | VIREO_FEATURE(VIREO_NET_F_CTRL_RX_BIT))
#define MANY (CONTROL | VIREO_FEATURE(VIREO_NET_F_MQ_BIT))

static struct test_function f;
static char commands[128]; /* class.command=value */
static uint8_t refuses; /* a class */

static uint32_t obey(struct test_function *function, const struct vireo_chain *chain)
{
	uint8_t all[8] = { 0 };
	unsigned bytes = 0;

	for (unsigned i = 0; i < chain->readable_count; i++) {
		memcpy(all + bytes, chain->iov[i].iov_base, chain->iov[i].iov_len);
		bytes += (unsigned)chain->iov[i].iov_len;
	}
	assert_int_equal(chain->writable_bytes, 1);
	sprintf(commands + strlen(commands), "%u.%u=%u ", all[0], all[1], all[2] | all[3] << 8);
	*(uint8_t *)chain->iov[chain->readable_count].iov_base = all[0] == refuses ? NET_ERR : NET_OK;
	return 1;
}

static void serve_control(struct test_function *function)
{
	test_function_serve(function, 2, obey); /* without MQ it comes after the only pair */
	test_function_serve(function, 4, obey);
}

static int setup(void **state)
{
	test_function_init(&f);
	f.meanwhile = serve_control;
	f.device_config[offsetof(struct virtio_net_config_space, max_virtqueue_pairs)] = 2;
	commands[0] = '\0';
	refuses = 0xff;
	return 0;
}

static int teardown(void **state)
{
	test_function_fini(&f);
	return 0;
}

static struct vireo_pci *open_with(uint64_t features)
{
	struct vireo_pci *pci = NULL;

	f.offered |= features;
	assert_int_equal(test_function_open(&f, features, &pci), 0);
	return pci;
}

static int start(struct vireo_pci *pci, unsigned pairs)
{
	const struct vireo_pci_net_config config = {
		.size = sizeof(config),
		.pairs = pairs,
		.entries = 16,
		.buffer_bytes = 2048,
	};

	return vireo_pci_net_start(pci, &config);
}

static void a_plain_card_has_a_pair(void **state)
{
	struct vireo_pci *pci = open_with(0);

	assert_int_equal(start(pci, 1), 0);
	assert_non_null(vireo_pci_ring(pci, 0));
	assert_non_null(vireo_pci_ring(pci, 1));
	assert_null(vireo_pci_ring(pci, 2));
	assert_string_equal(commands, "");
	assert_int_equal(f.fd_count, 2);
	vireo_pci_close(pci);
}

static void everything_is_asked_for_over_the_control_queue(void **state)
{
	struct vireo_pci *pci = open_with(CONTROL);

	assert_int_equal(start(pci, 1), 0);
	assert_string_equal(commands, "0.0=1 0.1=1 ");
	assert_true(f.queues[2].enabled);
	vireo_pci_close(pci);
}

static void all_pairs_are_asked_for(void **state)
{
	struct vireo_pci *pci = open_with(MANY);

	assert_int_equal(start(pci, 2), 0);
	assert_string_equal(commands, "0.0=1 0.1=1 4.0=2 ");
	assert_true(f.queues[3].enabled);
	assert_true(f.queues[4].enabled); /* after all pairs that the device has */
	vireo_pci_close(pci);
}

static void one_pair_of_many_leaves_the_control_queue_where_it_is(void **state)
{
	struct vireo_pci *pci = open_with(MANY);

	assert_int_equal(start(pci, 1), 0);
	assert_false(f.queues[2].enabled);
	assert_true(f.queues[4].enabled);
	assert_string_equal(commands, "0.0=1 0.1=1 ");
	vireo_pci_close(pci);
}

static void more_pairs_than_there_are_cannot_be_had(void **state)
{
	struct vireo_pci *pci = open_with(MANY);

	assert_int_equal(start(pci, 3), -ENOTSUP);
	vireo_pci_close(pci);
	pci = open_with(CONTROL); /* offered, but not asked for */
	assert_int_equal(start(pci, 2), -ENOTSUP);
	vireo_pci_close(pci);
}

static void pairs_without_queues_are_a_lie(void **state)
{
	struct vireo_pci *pci;

	f.device_config[offsetof(struct virtio_net_config_space, max_virtqueue_pairs)] = 3;
	pci = open_with(MANY);
	assert_int_equal(start(pci, 1), -EPROTO);
	vireo_pci_close(pci);
	f.device_config[offsetof(struct virtio_net_config_space, max_virtqueue_pairs)] = 0;
	pci = open_with(MANY);
	assert_int_equal(start(pci, 1), -EPROTO);
	vireo_pci_close(pci);
}

static void a_command_that_is_refused_is_told(void **state)
{
	struct vireo_pci *pci = open_with(MANY);

	refuses = NET_CTRL_MQ;
	assert_int_equal(start(pci, 2), -EIO);
	assert_non_null(strstr(test_complaint, "refuses"));
	vireo_pci_close(pci);
}

static void a_control_queue_that_is_silent_is_no_hang(void **state)
{
	struct vireo_pci *pci;

	f.timeout_ms = 50;
	f.meanwhile = NULL;
	pci = open_with(CONTROL);
	assert_int_equal(start(pci, 1), -ETIMEDOUT);
	vireo_pci_close(pci);
}

static void go(struct test_function *function)
{
	function->gone |= function->status & PCI_STATUS_DRIVER_OK && function->doorbells[4] != 0xeeee;
}

static void a_card_that_goes_during_a_command_is_no_hang(void **state)
{
	struct vireo_pci *pci = open_with(CONTROL);

	f.meanwhile = go;
	assert_int_equal(start(pci, 1), -ENODEV);
	vireo_pci_close(pci);
}

static void another_kind_of_device_is_no_card(void **state)
{
	struct vireo_pci *pci;

	f.config[PCI_DEVICE_ID] = 0x42; /* block */
	pci = open_with(0);
	assert_int_equal(vireo_pci_device_id(pci), 2);
	assert_int_equal(start(pci, 1), -ENOTSUP);
	vireo_pci_close(pci);
}

static void the_link_is_what_the_status_says(void **state)
{
	struct vireo_pci *pci = open_with(0);

	assert_int_equal(vireo_pci_net_link(pci), 1); /* it cannot tell */
	vireo_pci_close(pci);
	pci = open_with(VIREO_FEATURE(VIREO_NET_F_STATUS_BIT));
	assert_int_equal(vireo_pci_net_link(pci), 0);
	f.device_config[offsetof(struct virtio_net_config_space, status)] = NET_S_LINK_UP;
	assert_int_equal(vireo_pci_net_link(pci), 1);
	vireo_pci_close(pci);
}

static void what_lacks_what_it_requires_is_not_accepted(void **state)
{
	const uint64_t lame =
		VIREO_FEATURE(VIREO_NET_F_HOST_TSO4_BIT) | VIREO_FEATURE(VIREO_NET_F_HOST_ECN_BIT) |
		VIREO_FEATURE(VIREO_NET_F_GUEST_USO4_BIT) | VIREO_FEATURE(VIREO_NET_F_CTRL_RX_BIT);
	const uint64_t whole = VIREO_FEATURE(VIREO_NET_F_CSUM_BIT) |
			       VIREO_FEATURE(VIREO_NET_F_GUEST_CSUM_BIT) |
			       VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT);
	struct vireo_pci *pci = open_with(lame);

	assert_int_equal(vireo_pci_features(pci) & lame, 0);
	vireo_pci_close(pci);
	pci = open_with(lame | whole);
	assert_int_equal(vireo_pci_features(pci) & (lame | whole), lame | whole);
	vireo_pci_close(pci);
}

static uint64_t choose(void *opaque, uint64_t offered)
{
	*(uint64_t *)opaque = offered;
	return VIREO_FEATURE(VIREO_NET_F_CSUM_BIT) | VIREO_FEATURE(VIREO_NET_F_MTU_BIT);
}

static void who_wants_features_may_look_at_what_there_are(void **state)
{
	uint64_t told = 0;
	const struct vireo_pci_config config = {
		.size = sizeof(config),
		.address = "0000:00:04.0",
		.features_choose = choose,
		.opaque = &told,
	};
	struct vireo_pci *pci;

	f.offered |= VIREO_FEATURE(VIREO_NET_F_CSUM_BIT) | VIREO_FEATURE(VIREO_NET_F_GUEST_CSUM_BIT);
	assert_int_equal(pci_open_access(&config, &f.access, &pci), 0);
	assert_int_equal(told, f.offered);
	assert_int_equal(vireo_pci_features(pci) & UINT32_MAX, VIREO_FEATURE(VIREO_NET_F_CSUM_BIT));
	vireo_pci_close(pci);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_plain_card_has_a_pair),
		TEST(everything_is_asked_for_over_the_control_queue),
		TEST(all_pairs_are_asked_for),
		TEST(one_pair_of_many_leaves_the_control_queue_where_it_is),
		TEST(more_pairs_than_there_are_cannot_be_had),
		TEST(pairs_without_queues_are_a_lie),
		TEST(a_command_that_is_refused_is_told),
		TEST(a_control_queue_that_is_silent_is_no_hang),
		TEST(a_card_that_goes_during_a_command_is_no_hang),
		TEST(another_kind_of_device_is_no_card),
		TEST(the_link_is_what_the_status_says),
		TEST(what_lacks_what_it_requires_is_not_accepted),
		TEST(who_wants_features_may_look_at_what_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
