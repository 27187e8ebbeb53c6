/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <string.h>

/*
 * Messages about rings that the device does not have, and a front end may speak of all the same.
 *
 * GET_QUEUE_NUM: QEMU and DPDK take the answer for pairs of rings, cloud-hypervisor and openvmm for rings. A
 * network device answers with its rings, so that both readings find enough; a front end that counts pairs may then have more rings
 * than we. QEMU tells of each that it has, and enables those of the pairs that its guest uses. So what is said of such a
 * ring is taken note of and means nothing, until somebody enables it.
 */

static bool message_ring(const struct message *message, uint32_t *ret_index)
{
	switch (message->header.request) {
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_ADDR:
	case VU_SET_VRING_BASE:
	case VU_GET_VRING_BASE:
	case VU_VRING_KICK:
	case VU_SET_VRING_ENABLE:
		memcpy(ret_index, message->payload, sizeof(*ret_index));
		return true;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		*ret_index = message->payload[0];
		return true;
	default:
		return false;
	}
}

bool absent_ring(const struct session *session)
{
	uint32_t index;

	return message_ring(&session->message, &index) && device_queue_absent(session->device, index);
}

/* Its fds are closed with the message. */
int handle_absent_ring(struct session *session, struct message *message, const char **why)
{
	uint32_t words[2] = { 0 };

	memcpy(words, message->payload, sizeof(words));
	if (message->header.request == VU_SET_VRING_ENABLE && words[1]) {
		*why = "the machine makes use of more queues than this device has: give the device as many, or the machine fewer";
		return -EINVAL;
	}
	if (message->header.request == VU_GET_VRING_BASE) {
		words[1] = 0;
		reply_begin(&session->reply, VU_GET_VRING_BASE);
		reply_add(&session->reply, words, sizeof(words));
	}
	return 0;
}
