/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "wire/vdpa.h"
#include "wire/vduse.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/vdpa.h>
#include <linux/vduse.h>
#include <string.h>

/* The numbers and layouts are those of the system's header, as far as that is old enough or new enough to have them. */
static void ioctls_are_the_kernels(void **state)
{
	assert_int_equal(VDUSE_WIRE_GET_API_VERSION, VDUSE_GET_API_VERSION);
	assert_int_equal(VDUSE_WIRE_SET_API_VERSION, VDUSE_SET_API_VERSION);
	assert_int_equal(VDUSE_WIRE_CREATE_DEV, VDUSE_CREATE_DEV);
	assert_int_equal(VDUSE_WIRE_DESTROY_DEV, VDUSE_DESTROY_DEV);
	assert_int_equal(VDUSE_WIRE_IOTLB_GET_FD, VDUSE_IOTLB_GET_FD);
	assert_int_equal(VDUSE_WIRE_DEV_GET_FEATURES, VDUSE_DEV_GET_FEATURES);
	assert_int_equal(VDUSE_WIRE_DEV_SET_CONFIG, VDUSE_DEV_SET_CONFIG);
	assert_int_equal(VDUSE_WIRE_INJECT_CONFIG_IRQ, VDUSE_DEV_INJECT_CONFIG_IRQ);
	assert_int_equal(VDUSE_WIRE_VQ_SETUP, VDUSE_VQ_SETUP);
	assert_int_equal(VDUSE_WIRE_VQ_GET_INFO, VDUSE_VQ_GET_INFO);
	assert_int_equal(VDUSE_WIRE_VQ_SETUP_KICKFD, VDUSE_VQ_SETUP_KICKFD);
	assert_int_equal(VDUSE_WIRE_VQ_INJECT_IRQ, VDUSE_VQ_INJECT_IRQ);
#ifdef VDUSE_IOTLB_REG_UMEM /* Linux 6.0 */
	assert_int_equal(VDUSE_WIRE_REG_UMEM, VDUSE_IOTLB_REG_UMEM);
	assert_int_equal(VDUSE_WIRE_DEREG_UMEM, VDUSE_IOTLB_DEREG_UMEM);
	assert_int_equal(VDUSE_WIRE_IOTLB_GET_INFO, VDUSE_IOTLB_GET_INFO);
#endif
}

static void words_of_the_vdpa_bus_are_the_kernels(void **state)
{
	assert_string_equal(VDPA_WIRE_FAMILY, VDPA_GENL_NAME);
	assert_int_equal(VDPA_WIRE_VERSION, VDPA_GENL_VERSION);
	assert_int_equal(VDPA_WIRE_DEV_NEW, VDPA_CMD_DEV_NEW);
	assert_int_equal(VDPA_WIRE_DEV_DEL, VDPA_CMD_DEV_DEL);
	assert_int_equal(VDPA_WIRE_ATTR_MGMT_NAME, VDPA_ATTR_MGMTDEV_DEV_NAME);
	assert_int_equal(VDPA_WIRE_ATTR_DEV_NAME, VDPA_ATTR_DEV_NAME);
}

#define SAME_PLACE(ours, field, theirs, other) assert_int_equal(offsetof(ours, field), offsetof(theirs, other))

static void layouts_are_the_kernels(void **state)
{
	SAME_PLACE(struct vduse_wire_config, features, struct vduse_dev_config, features);
	SAME_PLACE(struct vduse_wire_config, queue_count, struct vduse_dev_config, vq_num);
	SAME_PLACE(struct vduse_wire_config, config_bytes, struct vduse_dev_config, config_size);
	assert_int_equal(sizeof(struct vduse_wire_config), offsetof(struct vduse_dev_config, config));
	SAME_PLACE(struct vduse_wire_iotlb, last, struct vduse_iotlb_entry, last);
	SAME_PLACE(struct vduse_wire_iotlb, perm, struct vduse_iotlb_entry, perm);
	assert_int_equal(sizeof(struct vduse_wire_config_data), offsetof(struct vduse_config_data, buffer));
	SAME_PLACE(struct vduse_wire_queue_config, size_max, struct vduse_vq_config, max_size);
	SAME_PLACE(struct vduse_wire_queue_info, device, struct vduse_vq_info, device_addr);
	SAME_PLACE(struct vduse_wire_queue_info, state.packed.used_pos, struct vduse_vq_info, packed.last_used_idx);
	SAME_PLACE(struct vduse_wire_queue_info, state.packed.avail_wrap, struct vduse_vq_info,
		   packed.last_avail_counter);
	SAME_PLACE(struct vduse_wire_queue_info, ready, struct vduse_vq_info, ready);
	SAME_PLACE(struct vduse_wire_kick, fd, struct vduse_vq_eventfd, fd);
#ifdef VDUSE_IOTLB_REG_UMEM
	SAME_PLACE(struct vduse_wire_umem, bytes, struct vduse_iova_umem, size);
	SAME_PLACE(struct vduse_wire_iova_info, capability, struct vduse_iova_info, capability);
#endif
	assert_int_equal(VDUSE_MESSAGE_BYTES, sizeof(struct vduse_dev_request));
	assert_int_equal(VDUSE_MESSAGE_BYTES, sizeof(struct vduse_dev_response));
}

static struct vduse_request parse(const struct vduse_dev_request *wire, uint64_t api)
{
	struct vduse_request request;
	const char *why = NULL;

	assert_int_equal(vduse_parse_request(wire, sizeof(*wire), api, &request, &why), 0);
	return request;
}

static void each_message_is_understood(void **state)
{
	struct vduse_dev_request wire = { .type = VDUSE_GET_VQ_STATE, .request_id = 7, .vq_state.index = 3 };
	struct vduse_request request = parse(&wire, 0);

	assert_int_equal(request.id, 7);
	assert_int_equal(request.queue, 3);
	wire = (struct vduse_dev_request){ .type = VDUSE_SET_STATUS, .s.status = 0xff };
	assert_int_equal(parse(&wire, 0).status, 0xff);
	wire = (struct vduse_dev_request){ .type = VDUSE_UPDATE_IOTLB, .iova = { 1, UINT64_MAX } };
	assert_int_equal(parse(&wire, 0).first, 1);
	assert_true(parse(&wire, 0).last == UINT64_MAX);
	wire = (struct vduse_dev_request){ .type = VDUSE_MSG_SET_VQ_GROUP_ASID, .padding = { 5, 6 } };
	assert_int_equal(parse(&wire, 1).group, 5);
	assert_int_equal(parse(&wire, 1).space, 6);
	wire = (struct vduse_dev_request){ .type = VDUSE_MSG_SET_VQ_READY, .padding = { 2, 1 } };
	assert_int_equal(parse(&wire, 1).queue, 2);
	assert_true(parse(&wire, 1).ready);
	wire.type = 4711; /* the table's business */
	assert_int_equal(parse(&wire, 1).type, 4711);
}

static void address_space_of_a_range_counts_from_api_1_on(void **state)
{
	struct vduse_dev_request wire = { .type = VDUSE_UPDATE_IOTLB, .padding = { 0, 0, 1, 0, 9 } };

	assert_int_equal(parse(&wire, 0).space, 0);
	assert_int_equal(parse(&wire, 1).space, 9);
}

static void short_message_is_refused(void **state)
{
	struct vduse_dev_request wire = { .type = VDUSE_SET_STATUS };
	struct vduse_request request = { .id = 4711 };
	const char *why = NULL;

	assert_int_equal(vduse_parse_request(&wire, sizeof(wire) - 1, 0, &request, &why), -EINVAL);
	assert_string_equal(why, "a message is cut short");
	assert_int_equal(request.id, 4711);
}

static void range_that_ends_before_it_begins_is_refused_by_its_id(void **state)
{
	struct vduse_dev_request wire = { .type = VDUSE_UPDATE_IOTLB, .request_id = 5, .iova = { 2, 1 } };
	struct vduse_request request;
	const char *why = NULL;

	assert_int_equal(vduse_parse_request(&wire, sizeof(wire), 0, &request, &why), -EINVAL);
	assert_int_equal(request.id, 5);
}

static void response_is_the_kernels(void **state)
{
	struct vduse_response response = { .id = 9, .ok = true, .state = vduse_state(0x1234, false) };
	struct vduse_dev_response wire;
	uint8_t data[VDUSE_MESSAGE_BYTES];

	vduse_put_response(&response, data);
	memcpy(&wire, data, sizeof(wire));
	assert_int_equal(wire.request_id, 9);
	assert_int_equal(wire.result, VDUSE_REQ_RESULT_OK);
	assert_int_equal(wire.vq_state.split.avail_index, 0x1234);
	for (unsigned i = 0; i < 4; i++) /* the kernel refuses others */
		assert_int_equal(wire.reserved[i], 0);
	response.ok = false;
	vduse_put_response(&response, data);
	memcpy(&wire, data, sizeof(wire));
	assert_int_equal(wire.result, VDUSE_REQ_RESULT_FAILED);
}

static void place_of_a_queue_goes_there_and_back(void **state)
{
	const uint32_t bases[] = { 0, 0x80008000u, 0x12348765u, 0xffffffffu };
	union vduse_wire_state packed = vduse_state(0x80058003u, true), split;

	assert_int_equal(packed.packed.avail_pos, 3);
	assert_int_equal(packed.packed.avail_wrap, 1);
	assert_int_equal(packed.packed.used_pos, 5);
	assert_int_equal(packed.packed.used_wrap, 1);
	for (unsigned i = 0; i < 4; i++) {
		packed = vduse_state(bases[i], true);
		assert_int_equal(vduse_base(&packed, true), bases[i]);
		split = vduse_state(bases[i] & 0xffff, false);
		assert_int_equal(vduse_base(&split, false), bases[i] & 0xffff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ioctls_are_the_kernels),
		cmocka_unit_test(words_of_the_vdpa_bus_are_the_kernels),
		cmocka_unit_test(layouts_are_the_kernels),
		cmocka_unit_test(each_message_is_understood),
		cmocka_unit_test(address_space_of_a_range_counts_from_api_1_on),
		cmocka_unit_test(short_message_is_refused),
		cmocka_unit_test(range_that_ends_before_it_begins_is_refused_by_its_id),
		cmocka_unit_test(response_is_the_kernels),
		cmocka_unit_test(place_of_a_queue_goes_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
