/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/dirty.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <inttypes.h>

/*
 * The dirty log (vhost-user: "Migration"). A front end names a file for it (SET_LOG_BASE), says that everything is to be logged
 * (SET_FEATURES with VHOST_F_LOG_ALL) and, ring by ring, where what is written to the ring itself is (SET_VRING_ADDR with
 * VHOST_VRING_F_LOG), in any order. QEMU says all of it again and again while its guest runs and its rings are used: what changes
 * nothing else quiets no queue (session->calm). Who says an address again for no such reason has its ring started anew, as ever. A device type knows nothing of this.
 */

/* ---- SET_LOG_BASE ---- */

int prepare_set_log_base(struct session *session, struct message *message, const char **why)
{
	const struct map_faults faults = device_faults_prompt(session->device);
	struct vu_log log;

	if (vu_parse_log(message->payload, message->header.size_bytes, &log, why))
		return -EPROTO;
	session->calm = !device_log_replaces(session->device);
	return dirty_log_new(message->fds[0], log.mmap_offset, log.mmap_size_bytes, &faults, &session->log, why);
}

/*
 * It has a reply of its own, whose payload the specification leaves open: QEMU reads any, others want the u64 of an
 * acknowledgement. One that is refused ends the session: who waits for it would go on without a log.
 */
int handle_set_log_base(struct session *session, struct message *message, const char **why)
{
	int r = device_log_set(session->device, session->log, why);

	dirty_log_unref(session->log);
	session->log = NULL;
	if (!r)
		reply_u64(session, 0);
	return r;
}

/* ---- SET_LOG_FD ---- */

int handle_set_log_fd(struct session *session, struct message *message, const char **why)
{
	int fd = message_fd_take(message, 0), r = device_log_bell_set(session->device, fd);

	if (r)
		message->fds[0] = fd; /* refused: the message's again */
	return refuse(r, r == -EINVAL ? "no eventfd or UNIX stream socket" : "the front end cannot be told of what is logged", why);
}

/* ---- SET_FEATURES ---- */

/* A reset device, or one whose driver has accepted nothing, is told everything anew; and who says the same again for no such reason. */
bool log_features_alone(const struct session *session, uint64_t features)
{
	return vireo_device_features(session->device) && ((features | session->features_told) & VU_FEATURE_LOG_ALL) &&
	       !((features ^ session->features_told) & ~VU_FEATURE_LOG_ALL);
}

int log_features(struct session *session, uint64_t features, const char **why)
{
	bool on = features & VU_FEATURE_LOG_ALL, was = session->features_told & VU_FEATURE_LOG_ALL;
	int r = device_log_switch(session->device, on, why);

	if (!r && on != was)
		log_info(device_log(session->device), "%s: what is written to guest memory is logged%s", device_name(session->device),
			 on ? "" : " no more");
	return r;
}

/* ---- SET_VRING_ADDR ---- */

int prepare_set_vring_addr(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_addr addr;

	if (vu_parse_vring_addr(message->payload, message->header.size_bytes, &addr, why))
		return -EPROTO;
	session->calm = device_queue_runs_at(session->device, addr.index, addr.desc, addr.avail, addr.used) &&
			((addr.flags & VU_VRING_ADDR_F_LOG) || device_queue_logs(session->device, addr.index));
	return 0;
}

int log_vring(struct session *session, const struct vu_vring_addr *addr, const char **why)
{
	return device_queue_log_set(session->device, addr->index, addr->flags & VU_VRING_ADDR_F_LOG, addr->log, why);
}
