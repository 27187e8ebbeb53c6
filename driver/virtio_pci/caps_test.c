/* SPDX-License-Identifier: BSD-3-Clause */

/* A config space as QEMU's modern network card has it, and one lie per rule. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "driver/virtio_pci/caps.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#define BAR_BYTES 0x4000u
#define MSIX_AT 0x98u

/* Where the capabilities lie, in the order of the list. */
#define COMMON_AT 0x40u
#define ISR_AT 0x50u
#define DEVICE_AT 0x60u
#define NOTIFY_AT 0x70u
#define WINDOW_AT 0x84u

struct space {
	uint8_t config[PCI_CONFIG_BYTES];
	struct pci_bar bars[PCI_BARS];
};

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)value);
	put16(at + 2, (uint16_t)(value >> 16));
}

static void put_cap(struct space *s, unsigned at, unsigned next, uint8_t type, uint8_t len, uint32_t offset,
		    uint32_t bytes)
{
	uint8_t *cap = s->config + at;

	cap[VIRTIO_PCI_CAP_VNDR] = PCI_CAP_ID_VNDR;
	cap[VIRTIO_PCI_CAP_NEXT] = (uint8_t)next;
	cap[VIRTIO_PCI_CAP_LEN] = len;
	cap[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	cap[VIRTIO_PCI_CAP_BAR] = 4;
	put32(cap + VIRTIO_PCI_CAP_OFFSET, offset);
	put32(cap + VIRTIO_PCI_CAP_LENGTH, bytes);
}

static struct space modern(void)
{
	struct space s = { 0 };

	put16(s.config + PCI_VENDOR_ID, PCI_VIRTIO_VENDOR);
	put16(s.config + PCI_DEVICE_ID, 0x1041);
	put16(s.config + PCI_STATUS, PCI_STATUS_CAP_LIST);
	s.config[PCI_CAPABILITY_LIST] = COMMON_AT;
	put_cap(&s, COMMON_AT, ISR_AT, VIRTIO_PCI_CAP_COMMON_CFG, 16, 0, 0x1000);
	put_cap(&s, ISR_AT, DEVICE_AT, VIRTIO_PCI_CAP_ISR_CFG, 16, 0x1000, 0x1000);
	put_cap(&s, DEVICE_AT, NOTIFY_AT, VIRTIO_PCI_CAP_DEVICE_CFG, 16, 0x2000, 0x1000);
	put_cap(&s, NOTIFY_AT, WINDOW_AT, VIRTIO_PCI_CAP_NOTIFY_CFG, 20, 0x3000, 0x1000);
	put32(s.config + NOTIFY_AT + 16, 4);
	put_cap(&s, WINDOW_AT, MSIX_AT, VIRTIO_PCI_CAP_PCI_CFG, 20, 0, 0);
	s.config[MSIX_AT] = PCI_CAP_ID_MSIX;
	s.bars[1] = (struct pci_bar){ 0x1000, true };
	s.bars[4] = (struct pci_bar){ BAR_BYTES, true };
	return s;
}

static int parse(const struct space *s, struct pci_layout *ret)
{
	const char *why = NULL;
	int err;

	memset(ret, 0xee, sizeof(*ret));
	err = pci_caps_parse(s->config, sizeof(s->config), s->bars, ret, &why);
	if (err)
		assert_non_null(why);
	return err;
}

static void expect(const struct space *s, int err)
{
	struct pci_layout layout;

	assert_int_equal(parse(s, &layout), err);
}

static void areas_of_a_modern_function_are_found(void **state)
{
	struct space s = modern();
	struct pci_layout l;

	assert_int_equal(parse(&s, &l), 0);
	assert_int_equal(l.device_id, 1);
	assert_false(l.transitional);
	assert_int_equal(l.common.bar, 4);
	assert_int_equal(l.common.offset, 0);
	assert_int_equal(l.isr.offset, 0x1000);
	assert_int_equal(l.device.offset, 0x2000);
	assert_int_equal(l.notify.offset, 0x3000);
	assert_int_equal(l.notify.bytes, 0x1000);
	assert_int_equal(l.notify_multiplier, 4);
	assert_int_equal(l.msix_at, MSIX_AT);
}

static void a_transitional_function_tells_its_type_by_the_subsystem(void **state)
{
	struct space s = modern();
	struct pci_layout l;

	put16(s.config + PCI_DEVICE_ID, 0x1000);
	put16(s.config + PCI_SUBSYSTEM_ID, 1);
	s.bars[0] = (struct pci_bar){ 0x20, false };
	assert_int_equal(parse(&s, &l), 0);
	assert_true(l.transitional);
	assert_int_equal(l.device_id, 1);
}

static void a_legacy_function_is_refused(void **state)
{
	struct space s = modern();

	put16(s.config + PCI_DEVICE_ID, 0x1000);
	s.config[PCI_CAPABILITY_LIST] = MSIX_AT;
	expect(&s, -ENOTSUP);
	put16(s.config + PCI_STATUS, 0); /* no list at all */
	expect(&s, -ENOTSUP);
}

static void another_vendors_function_is_refused(void **state)
{
	struct space s = modern();

	put16(s.config + PCI_VENDOR_ID, 0x8086);
	expect(&s, -ENODEV);
	s = modern();
	put16(s.config + PCI_DEVICE_ID, 0x1080);
	expect(&s, -ENODEV);
	s = modern();
	s.config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_BRIDGE;
	expect(&s, -ENODEV);
	memset(s.config, 0xff, sizeof(s.config)); /* gone */
	expect(&s, -ENODEV);
}

static void config_space_that_is_cut_off_is_no_lie(void **state)
{
	struct space s = modern();
	struct pci_layout l;
	const char *why;

	assert_int_equal(pci_caps_parse(s.config, 64, s.bars, &l, &why), -EACCES);
}

static void a_loop_in_the_list_ends(void **state)
{
	struct space s = modern();

	s.config[MSIX_AT + PCI_CAP_LIST_NEXT] = COMMON_AT;
	expect(&s, -EPROTO);
	s.config[MSIX_AT + PCI_CAP_LIST_NEXT] = MSIX_AT;
	expect(&s, -EPROTO);
}

static void a_capability_in_the_header_is_a_lie(void **state)
{
	struct space s = modern();

	s.config[MSIX_AT + PCI_CAP_LIST_NEXT] = 0x3c;
	expect(&s, -EPROTO);
}

static void a_capability_beyond_config_space_is_a_lie(void **state)
{
	struct space s = modern();

	s.config[PCI_CAPABILITY_LIST] = 0xfc;
	put_cap(&s, 0xec, 0, 0, 0, 0, 0); /* leaves room for what put_cap() writes */
	s.config[0xfc] = PCI_CAP_ID_VNDR;
	s.config[0xfd] = COMMON_AT;
	s.config[0xfe] = 16;
	s.config[0xff] = VIRTIO_PCI_CAP_COMMON_CFG;
	expect(&s, -EPROTO);
}

static void a_capability_shorter_than_its_structure_is_a_lie(void **state)
{
	struct space s = modern();

	s.config[COMMON_AT + VIRTIO_PCI_CAP_LEN] = 15;
	expect(&s, -EPROTO);
	s = modern();
	s.config[NOTIFY_AT + VIRTIO_PCI_CAP_LEN] = 16; /* no multiplier */
	expect(&s, -EPROTO);
}

static void an_area_beyond_4_gib_cannot_be_used(void **state)
{
	struct space s = modern();

	s.bars[4].bytes = UINT64_C(1) << 33;
	put32(s.config + DEVICE_AT + VIRTIO_PCI_CAP_OFFSET, 0xfffff000);
	put32(s.config + DEVICE_AT + VIRTIO_PCI_CAP_LENGTH, 0xfff);
	expect(&s, 0);
	put32(s.config + DEVICE_AT + VIRTIO_PCI_CAP_LENGTH, 0x1000);
	expect(&s, -EPROTO);
}

static void an_area_outside_its_bar_is_a_lie(void **state)
{
	static const unsigned caps[] = { COMMON_AT, ISR_AT, DEVICE_AT, NOTIFY_AT };

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		struct space s = modern();

		put32(s.config + caps[i] + VIRTIO_PCI_CAP_OFFSET, BAR_BYTES);
		expect(&s, -EPROTO);
		put32(s.config + caps[i] + VIRTIO_PCI_CAP_OFFSET, BAR_BYTES - 0x1000 + 4);
		expect(&s, -EPROTO);
		put32(s.config + caps[i] + VIRTIO_PCI_CAP_OFFSET, 0xfffffffc); /* the sum wraps */
		expect(&s, -EPROTO);
		s = modern();
		put32(s.config + caps[i] + VIRTIO_PCI_CAP_LENGTH, 0xffffffff);
		expect(&s, -EPROTO);
		s = modern();
		s.config[caps[i] + VIRTIO_PCI_CAP_BAR] = 5; /* absent */
		expect(&s, -EPROTO);
	}
}

static void an_area_without_room_for_its_registers_is_a_lie(void **state)
{
	struct space s = modern();

	put32(s.config + COMMON_AT + VIRTIO_PCI_CAP_LENGTH, 55);
	expect(&s, -EPROTO);
	put32(s.config + COMMON_AT + VIRTIO_PCI_CAP_LENGTH, 56); /* what 1.0 has */
	expect(&s, 0);
	put32(s.config + NOTIFY_AT + VIRTIO_PCI_CAP_LENGTH, 1);
	expect(&s, -EPROTO);
	s = modern();
	put32(s.config + ISR_AT + VIRTIO_PCI_CAP_LENGTH, 0);
	expect(&s, -EPROTO);
}

static void an_area_that_is_not_aligned_is_a_lie(void **state)
{
	struct space s = modern();

	put32(s.config + COMMON_AT + VIRTIO_PCI_CAP_OFFSET, 2);
	expect(&s, -EPROTO);
	s = modern();
	put32(s.config + NOTIFY_AT + VIRTIO_PCI_CAP_OFFSET, 0x2fff);
	expect(&s, -EPROTO);
}

static void a_multiplier_is_an_even_power_of_two_or_zero(void **state)
{
	struct space s = modern();

	put32(s.config + NOTIFY_AT + 16, 0);
	expect(&s, 0);
	put32(s.config + NOTIFY_AT + 16, 1);
	expect(&s, -EPROTO);
	put32(s.config + NOTIFY_AT + 16, 12);
	expect(&s, -EPROTO);
	put32(s.config + NOTIFY_AT + 16, 0x80000000);
	expect(&s, 0);
}

static void what_cannot_be_used_is_passed_over(void **state)
{
	struct space s = modern();
	struct pci_layout l;

	/* A second notification area in I/O ports comes first; one with a reserved BAR, and an unknown kind.
	 */
	s.bars[2] = (struct pci_bar){ 0x20, false };
	put_cap(&s, 0xb0, COMMON_AT, VIRTIO_PCI_CAP_NOTIFY_CFG, 20, 0, 4);
	s.config[0xb0 + VIRTIO_PCI_CAP_BAR] = 2;
	put_cap(&s, 0xc4, 0xb0, VIRTIO_PCI_CAP_COMMON_CFG, 16, 0, 0);
	s.config[0xc4 + VIRTIO_PCI_CAP_BAR] = 6;
	put_cap(&s, 0xd4, 0xc4, VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, 16, 0xffffffff, 0xffffffff);
	s.config[PCI_CAPABILITY_LIST] = 0xd4;
	assert_int_equal(parse(&s, &l), 0);
	assert_int_equal(l.notify.bar, 4);
	assert_int_equal(l.common.bar, 4);
}

static void the_first_of_a_kind_counts(void **state)
{
	struct space s = modern();
	struct pci_layout l;

	put_cap(&s, 0xb0, 0, VIRTIO_PCI_CAP_ISR_CFG, 16, 0x2000, 4);
	s.config[MSIX_AT + PCI_CAP_LIST_NEXT] = 0xb0;
	assert_int_equal(parse(&s, &l), 0);
	assert_int_equal(l.isr.offset, 0x1000);
}

static void areas_that_every_function_needs_are_there(void **state)
{
	struct space s = modern();
	struct pci_layout l;

	s.config[ISR_AT + VIRTIO_PCI_CAP_CFG_TYPE] = 0;
	expect(&s, -ENOTSUP);
	s = modern();
	s.config[NOTIFY_AT + VIRTIO_PCI_CAP_CFG_TYPE] = 0;
	expect(&s, -ENOTSUP);
	s = modern();
	s.config[DEVICE_AT + VIRTIO_PCI_CAP_CFG_TYPE] = 0; /* but config space: entropy has none */
	assert_int_equal(parse(&s, &l), 0);
	assert_int_equal(l.device.bytes, 0);
}

static void a_doorbell_lies_in_the_notification_area(void **state)
{
	struct space s = modern();
	struct pci_layout l;
	uint32_t offset = 7;

	assert_int_equal(parse(&s, &l), 0);
	assert_int_equal(pci_notify_offset(&l, 3, &offset), 0);
	assert_int_equal(offset, 0x300c);
	assert_int_equal(pci_notify_offset(&l, 0x3ff, &offset), 0);
	assert_int_equal(pci_notify_offset(&l, 0x400, &offset), -EPROTO);
	assert_int_equal(pci_notify_offset(&l, 0xffff, &offset), -EPROTO);
	assert_int_equal(offset, 0x3ffc);
	l.notify_multiplier = 0x80000000; /* the product does not fit into 32 bits */
	assert_int_equal(pci_notify_offset(&l, 2, &offset), -EPROTO);
	l.notify_multiplier = 0;
	assert_int_equal(pci_notify_offset(&l, 0xffff, &offset), 0);
	assert_int_equal(offset, 0x3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(areas_of_a_modern_function_are_found),
		cmocka_unit_test(a_transitional_function_tells_its_type_by_the_subsystem),
		cmocka_unit_test(a_legacy_function_is_refused),
		cmocka_unit_test(another_vendors_function_is_refused),
		cmocka_unit_test(config_space_that_is_cut_off_is_no_lie),
		cmocka_unit_test(a_loop_in_the_list_ends),
		cmocka_unit_test(a_capability_in_the_header_is_a_lie),
		cmocka_unit_test(a_capability_beyond_config_space_is_a_lie),
		cmocka_unit_test(a_capability_shorter_than_its_structure_is_a_lie),
		cmocka_unit_test(an_area_beyond_4_gib_cannot_be_used),
		cmocka_unit_test(an_area_outside_its_bar_is_a_lie),
		cmocka_unit_test(an_area_without_room_for_its_registers_is_a_lie),
		cmocka_unit_test(an_area_that_is_not_aligned_is_a_lie),
		cmocka_unit_test(a_multiplier_is_an_even_power_of_two_or_zero),
		cmocka_unit_test(what_cannot_be_used_is_passed_over),
		cmocka_unit_test(the_first_of_a_kind_counts),
		cmocka_unit_test(areas_that_every_function_needs_are_there),
		cmocka_unit_test(a_doorbell_lies_in_the_notification_area),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
