/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_internal.h"
#include "wire/feature_names.h"
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <string.h>

/*
 * Messages about the device as a whole. Sizes, fd counts and gates have been checked by table.c; what a value
 * means is checked by the verb.
 */

#define PROTOCOL_FEATURE(name) (UINT64_C(1) << VU_PROTO_##name##_BIT)
#define F_PROTOCOL_FEATURES VIREO_FEATURE(VU_F_PROTOCOL_FEATURES_BIT)
#define F_IOMMU VIREO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) /* iommu.c's: the device sees addresses that are translated */

void reply_u64(struct session *session, uint64_t value)
{
	reply_begin(&session->reply, session->message.header.request);
	reply_add(&session->reply, &value, sizeof(value));
}

static int take_u64(const struct message *message, uint64_t *ret, const char **why)
{
	return vu_parse_u64(message->payload, message->header.size_bytes, ret, why) ? -EPROTO : 0;
}

/* ---- features ---- */

/*
 * An IOMMU is offered to who can be asked about it, and has said so: User-mode Linux asks for features before that alone, and its
 * driver would accept this one for a machine that has none.
 */
static uint64_t features_ours(const struct session *session)
{
	return F_PROTOCOL_FEATURES | VU_FEATURE_LOG_ALL | (session_accepted(session, VU_PROTO_BACKEND_REQ_BIT) ? F_IOMMU : 0);
}

int handle_get_features(struct session *session, struct message *message, const char **why)
{
	reply_u64(session, device_features_offered(session->device) | features_ours(session));
	return 0;
}

/* Without VHOST_USER_F_PROTOCOL_FEATURES there is no SET_VRING_ENABLE: all rings are enabled. */
static void enable_all(struct session *session, bool on)
{
	for (uint32_t i = 0; i < device_queue_count(session->device); i++)
		device_queue_enable(session->device, i, on);
}

int prepare_set_features(struct session *session, struct message *message, const char **why)
{
	uint64_t features;
	int r = take_u64(message, &features, why);

	session->calm = !r && log_features_alone(session, features);
	return r;
}

static int features_set(struct session *session, uint64_t features, uint64_t ours, const char **why)
{
	int r = refuse(device_features_set(session->device, features & ~ours), "the device does not take these features", why);

	if (r)
		return r;
	inflight_format_changed(session); /* first: the device has the format, whatever else is refused */
	return session_iommu_set(session, features & F_IOMMU, why);
}

/* Two lines: a line of the log may be too short for the names of both. */
static void features_log(const struct session *session, uint64_t features)
{
	const struct vireo_log *log = device_log(session->device);
	const char *name = device_name(session->device);
	char text[FEATURES_TEXT_BYTES];

	log_info(log, "%s: features negotiated: %#" PRIx64 " (%s)", name, features,
		 features_text(text, device_id(session->device), features));
	log_info(log, "%s: protocol features negotiated: %#" PRIx64 " (%s)", name, session->protocol_features,
		 protocol_features_text(text, session->protocol_features));
}

int handle_set_features(struct session *session, struct message *message, const char **why)
{
	uint64_t features, ours = features_ours(session);
	int r = take_u64(message, &features, why);

	if (!r && !session->calm)
		r = features_set(session, features, ours, why);
	if (!r)
		r = log_features(session, features, why);
	session->features_told = r ? FEATURES_UNKNOWN : features;
	if (r)
		return r;
	if (!(features & F_PROTOCOL_FEATURES))
		enable_all(session, true);
	if (session->calm)
		return 0;
	features_log(session, vireo_device_features(session->device) | (features & ours));
	return 0;
}

static uint64_t protocol_features_offered(const struct session *session)
{
	uint64_t features = PROTOCOL_FEATURE(MQ) | PROTOCOL_FEATURE(LOG_SHMFD) | PROTOCOL_FEATURE(REPLY_ACK) |
			    PROTOCOL_FEATURE(BACKEND_REQ) | PROTOCOL_FEATURE(BACKEND_SEND_FD) |
			    PROTOCOL_FEATURE(RESET_DEVICE) | PROTOCOL_FEATURE(CONFIGURE_MEM_SLOTS) |
			    PROTOCOL_FEATURE(STATUS) | PROTOCOL_FEATURE(INFLIGHT_SHMFD) |
			    PROTOCOL_FEATURE(DEVICE_STATE) | PROTOCOL_FEATURE(GET_VRING_BASE_INFLIGHT) |
			    PROTOCOL_FEATURE(GPA_ADDRESSES);

	features |= session->offered & (PROTOCOL_FEATURE(PAGEFAULT) | PROTOCOL_FEATURE(INBAND_NOTIFICATIONS));
	if (device_config_bytes(session->device))
		features |= PROTOCOL_FEATURE(CONFIG);
	if (device_takes(session->device, VIREO_MESSAGE_NET_ANNOUNCE))
		features |= PROTOCOL_FEATURE(RARP);
	if (device_takes(session->device, VIREO_MESSAGE_NET_MTU))
		features |= PROTOCOL_FEATURE(MTU);
	return features;
}

int handle_get_protocol_features(struct session *session, struct message *message, const char **why)
{
	reply_u64(session, protocol_features_offered(session));
	return 0;
}

/* Without what it needs the connection ends, as the specification has it, and nobody takes it back: rings have begun to go by it. */
static int inband_negotiated(struct session *session, uint64_t features, const char **why)
{
	const uint64_t needs = PROTOCOL_FEATURE(BACKEND_REQ) | PROTOCOL_FEATURE(REPLY_ACK);
	int r = 0;

	if (!(features & PROTOCOL_FEATURE(INBAND_NOTIFICATIONS)))
		return refuse(session->inband ? -EPROTO : 0, "INBAND_NOTIFICATIONS is taken back", why);
	if ((features & needs) != needs)
		return refuse(-EPROTO, "INBAND_NOTIFICATIONS without BACKEND_REQ or REPLY_ACK", why);
	if (!session->inband)
		r = inband_new(session, &session->inband);
	return refuse(r, "no memory, or no file descriptor, for in-band notifications", why);
}

int handle_set_protocol_features(struct session *session, struct message *message, const char **why)
{
	uint64_t features;
	int r = take_u64(message, &features, why);

	if (r)
		return r;
	if (features & ~protocol_features_offered(session))
		return refuse(-EPROTO, "protocol features that were not offered", why);
	if ((features & PROTOCOL_FEATURE(GET_VRING_BASE_INFLIGHT)) && !(features & PROTOCOL_FEATURE(INFLIGHT_SHMFD)))
		return refuse(-EPROTO, "GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD", why);
	r = inband_negotiated(session, features, why);
	if (r)
		return r;
	session->protocol_features = features;
	if (!session_accepted(session, VU_PROTO_STATUS_BIT))
		device_status_required(session->device, false);
	return 0;
}

int handle_get_queue_num(struct session *session, struct message *message, const char **why)
{
	reply_u64(session, device_queue_num_told(session->device));
	return 0;
}

/* ---- ownership, status ---- */

/* There is one front end on a connection, and a session begins with it. */
int handle_set_owner(struct session *session, struct message *message, const char **why)
{
	return 0;
}

/* Deprecated; "ignore it, or disable all rings" (vhost-user: "RESET_OWNER"). */
int handle_reset_owner(struct session *session, struct message *message, const char **why)
{
	enable_all(session, false);
	return 0;
}

int handle_reset_device(struct session *session, struct message *message, const char **why)
{
	device_reset(session->device);
	return 0;
}

/* A front end that never sends it (but negotiates STATUS) starts its rings without DRIVER_OK. */
int handle_set_status(struct session *session, struct message *message, const char **why)
{
	uint64_t status;
	int r = take_u64(message, &status, why);

	if (r)
		return r;
	if (status > UINT8_MAX)
		return refuse(-EINVAL, "a status has 8 bits", why);
	device_status_required(session->device, true);
	device_status_set(session->device, (uint8_t)status);
	return 0;
}

int handle_get_status(struct session *session, struct message *message, const char **why)
{
	reply_u64(session, vireo_device_status(session->device));
	return 0;
}

/* ---- config space ---- */

/*
 * Front ends ask for as much config space as they know, which may be more than there is: what lies behind it is zero, as a
 * field is that the device does not have.
 */
static int config_read(struct vireo_device *device, const struct vu_config *config, uint8_t data[VU_CONFIG_BYTES_MAX])
{
	uint32_t have_bytes = device_config_bytes(device);

	if (config->offset >= have_bytes)
		return -EINVAL;
	memset(data, 0, VU_CONFIG_BYTES_MAX);
	return device_config_read(device, config->offset, data, min_u32(config->bytes, have_bytes - config->offset));
}

/* An error is told by a reply without payload (vhost-user: "GET_CONFIG"). */
int handle_get_config(struct session *session, struct message *message, const char **why)
{
	uint8_t data[VU_CONFIG_BYTES_MAX];
	const uint8_t *unused;
	struct vu_config config;

	if (vu_parse_config(message->payload, message->header.size_bytes, &config, &unused, why))
		return -EPROTO;
	reply_begin(&session->reply, VU_GET_CONFIG);
	if (config.bytes > sizeof(data) || config_read(session->device, &config, data))
		return 0;
	reply_add(&session->reply, message->payload, VU_CONFIG_HEADER_BYTES);
	reply_add(&session->reply, data, config.bytes);
	return 0;
}

int handle_set_config(struct session *session, struct message *message, const char **why)
{
	const uint8_t *data;
	struct vu_config config;

	if (vu_parse_config(message->payload, message->header.size_bytes, &config, &data, why))
		return -EPROTO;
	return refuse(device_config_write(session->device, config.offset, data, config.bytes),
		      "outside config space, or read-only", why);
}

int handle_set_backend_req_fd(struct session *session, struct message *message, const char **why)
{
	int r = channel_set(session, message->fds[0]);

	if (r)
		return refuse(r, "the channel to the front end is no UNIX socket", why);
	message_fd_take(message, 0);
	return 0;
}

/* ---- net ---- */

#define MAC_BYTES 6u /* of the message's eight */

int handle_send_rarp(struct session *session, struct message *message, const char **why)
{
	int r = device_message(session->device, VIREO_MESSAGE_NET_ANNOUNCE, message->payload, MAC_BYTES);

	return refuse(r, "the device does not announce it", why);
}

int handle_net_set_mtu(struct session *session, struct message *message, const char **why)
{
	uint64_t mtu;
	uint16_t told;
	int r = take_u64(message, &mtu, why);

	if (r)
		return r;
	told = (uint16_t)mtu;
	r = told != mtu ? -EINVAL : device_message(session->device, VIREO_MESSAGE_NET_MTU, &told, sizeof(told));
	if (!r)
		session->mtu_told = told;
	return refuse(r, "the device does not take this MTU", why);
}
