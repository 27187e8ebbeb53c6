/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/iommu.h"
#include "mem/map.h"
#include "transport/vhost_user/session_internal.h"
#include "wire/iotlb.h"
#include <errno.h>
#include <linux/vhost_types.h>

/*
 * VIRTIO_F_ACCESS_PLATFORM (vhost-user: "IOMMU support"): what is in rings, and where rings lie, are addresses that the guest's
 * IOMMU translates. The questions and answers are those of device/iommu.h:
 *
 *	IOTLB_MSG MISS		to the front end, on the channel
 *	IOTLB_MSG UPDATE	from it: a window on its memory, named by its own addresses of that
 *	IOTLB_MSG INVALIDATE	from it: when our reply comes, nobody uses what it named
 *
 * Nothing is awaited on the channel: a question asks for no reply (REPLY_ACK), and is asked again as long as its answer has not come.
 * Questions go while no message is being taken or answered. A front end that waits for our reply may take one meanwhile,
 * and then answer it where it expects that reply.
 */

_Static_assert(MAP_READ == VHOST_ACCESS_RO && MAP_WRITE == VHOST_ACCESS_WO, "UPDATE's permissions are a window's");

#define QUESTIONS_AT_ONCE 256u

/* ---- questions ---- */

static void question_send(struct session *session, const struct iommu_question *question)
{
	const struct iotlb_message message = {
		.type = VHOST_IOTLB_MISS,
		.perm = (uint8_t)question->access,
		.iova = question->iova,
	};
	uint8_t body[IOTLB_BODY_BYTES];

	iotlb_body_build(&message, body);
	channel_send(session, VU_BACKEND_IOTLB_MSG, body, sizeof(body));
}

void session_ask(struct session *session)
{
	struct iommu_question question;

	if (!session->iommu || session->state != SESSION_RECEIVE || message_begun(&session->message))
		return;
	for (unsigned i = 0; i < QUESTIONS_AT_ONCE && !channel_full(session) && iommu_ask(session->iommu, &question); i++)
		question_send(session, &question);
}

static void iommu_questioned(void *opaque)
{
	struct session *session = opaque;

	if (!session->busy) /* else it asks at the end of its turn */
		session_ask(session);
}

static void iommu_renewed(void *opaque)
{
	session_missed(opaque);
}

static const struct iommu_ops iommu_ops = { .ask = iommu_questioned, .renew = iommu_renewed };

/* ---- memory ---- */

/* Behind an IOMMU nobody sees memory but by windows, all of which are looked for in it again: all queues are quiet meanwhile. */
void session_memory_change(struct session *session, void (*done)(void *opaque))
{
	session->changed = !session->iommu;
	if (session->iommu)
		device_quiesce(session->device, DEVICE_ALL_QUEUES, done, session);
	else
		device_map_change(session->device, map_ref(session->map), true, done, session);
}

static int memory_renew(struct session *session, const char **why)
{
	if (session->iommu)
		return refuse(iommu_memory_set(session->iommu, session->memory), "out of memory", why);
	device_map_set(session->device, session->memory ? map_ref(session->memory) : NULL);
	return 0;
}

int session_memory_set(struct session *session, struct map *memory, const char **why)
{
	struct map *old = session->memory;
	int r;

	session->memory = memory;
	r = session->changed ? 0 : memory_renew(session, why);
	session->changed = false;
	map_unref(old);
	return r;
}

bool session_memory_takes_away(const struct session *session, struct map *memory)
{
	return session->iommu ? iommu_memory_takes_away(session->iommu, memory) : device_map_takes_away(session->device, memory);
}

void session_memory_forget(struct session *session)
{
	iommu_free(session->iommu);
	session->iommu = NULL;
	map_unref(session->memory);
	session->memory = NULL;
}

/* The table begins empty also where it was on before: what a driver unmapped while its rings stood still, nobody has told. */
int session_iommu_set(struct session *session, bool on, const char **why)
{
	int r;

	if (on && session->channel_fd < 0)
		return refuse(-EINVAL, "VIRTIO_F_ACCESS_PLATFORM without a channel to ask on: SET_BACKEND_REQ_FD comes first", why);
	if (!on && !session->iommu)
		return 0;
	if (on && session->iommu) {
		iommu_forget(session->iommu);
	} else if (on) {
		r = iommu_new(session->device, session->loop, &iommu_ops, session, &session->iommu);
		if (r)
			return refuse(r, "no memory, or no timer, for an IOTLB", why);
	} else {
		iommu_free(session->iommu);
		session->iommu = NULL;
	}
	return memory_renew(session, why);
}

/* ---- answers ---- */

/* -EAGAIN: it takes something away, and iommu_change() is to do it. */
static int iotlb_apply(struct session *session, const struct iotlb_message *message)
{
	const struct map_window window = { message->iova, message->uaddr, message->size_bytes, message->perm };

	if (!session->iommu || !session->memory)
		return -EFAULT;
	if (message->type == VHOST_IOTLB_INVALIDATE)
		return iommu_revoked(session->iommu, message->iova, message->size_bytes);
	return iommu_answered(session->iommu, &window);
}

static const char *refusal(const struct session *session, int r)
{
	if (!session->iommu)
		return "VIRTIO_F_ACCESS_PLATFORM has not been accepted";
	if (!session->memory)
		return "no memory has been set";
	return r == -EFAULT ? "an IOTLB entry outside the memory table" : "out of memory";
}

int prepare_iotlb(struct session *session, struct message *message, const char **why)
{
	struct iotlb_message iotlb;

	if (iotlb_body_parse(message->payload, &iotlb, why))
		return -EPROTO;
	session->iotlb_result = iotlb_apply(session, &iotlb);
	session->revokes = session->iotlb_result == -EAGAIN;
	return 0;
}

/* Refused or not, it is answered: 0 is yes. */
int handle_iotlb(struct session *session, struct message *message, const char **why)
{
	int r = session->revokes ? iommu_changed(session->iommu) : session->iotlb_result;

	session->revokes = false;
	if (r)
		log_warning(device_log(session->device), "%s: IOTLB_MSG refused: %s", device_name(session->device),
			    refusal(session, r));
	reply_u64(session, r ? 1 : 0);
	return 0;
}
