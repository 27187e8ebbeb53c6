/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/handover.h"
#include "mem/backing.h"
#include "mem/map.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/*
 * A session as another process goes on with it: the messages that make a fresh one what this one is, in an order in which each finds
 * what it needs. Who takes them over gives each to the row that it would come to from a front end, with the same checks; messages
 * that only a front end has a reason to send are refused. Nothing starts meanwhile: the session is held (hold.c).
 *
 *	SET_PROTOCOL_FEATURES	before all that they gate
 *	SET_BACKEND_REQ_FD, SET_LOG_FD, SET_STATUS, NET_SET_MTU
 *	SET_FEATURES, then the device's state (device/state.c), which is put in its place after them
 *	SET_MEM_TABLE, or ADD_MEM_REG as often as each region was added
 *	SET_INFLIGHT_FD		when the rings' format is known
 *	SET_VRING_*		and what no message says of a queue (device/handed.c)
 */

#define VRING_NO_FD 0x100u
#define F_PROTOCOL_FEATURES VIREO_FEATURE(VU_F_PROTOCOL_FEATURES_BIT)

/* ---- what can be told ---- */

static bool file_is_kept(const struct map_backing *backing)
{
	uint64_t offset;

	return backing_file(backing, &offset) >= 0;
}

static bool files_are_kept(const struct session *session)
{
	for (unsigned i = 0; session->memory && i < session->memory->count; i++)
		if (!file_is_kept(session->memory->regions[i].backing))
			return false;
	return !session->inflight || file_is_kept(session->inflight);
}

static const char *kind_refused(const struct session *session)
{
	if (session->postcopy != POSTCOPY_OFF)
		return "its machine is moving (postcopy)";
	if (session->iommu)
		return "its driver is behind an IOMMU";
	if (session->inband)
		return "its notifications are messages";
	if (state_pending(session))
		return "its device's state is being transferred (a migration)";
	return device_hold_refused(session->device);
}

const char *session_handover_refused(const struct session *session)
{
	return files_are_kept(session) ? kind_refused(session) : "the files of its memory are not open here any more: too many are";
}

/* ---- to tell ---- */

static void tell_u64(struct handover_writer *writer, uint32_t request, uint64_t value)
{
	handover_add(writer, request, &value, sizeof(value), NULL, 0);
}

static void tell_pair(struct handover_writer *writer, uint32_t request, uint32_t a, uint32_t b)
{
	const uint32_t words[] = { a, b };

	handover_add(writer, request, words, sizeof(words), NULL, 0);
}

static uint64_t features_told(const struct session *session)
{
	return session->features_told != FEATURES_UNKNOWN ? session->features_told
							   : vireo_device_features(session->device) | F_PROTOCOL_FEATURES;
}

static void tell_state(const struct session *session, struct handover_writer *writer)
{
	size_t room = device_state_bytes_max(session->device);
	uint8_t *data = malloc(room);
	int bytes = data ? device_state_save(session->device, data, room) : -ENOMEM;

	if (bytes < 0)
		writer->err = bytes;
	else
		handover_add(writer, HANDOVER_DEVICE_STATE, data, (size_t)bytes, NULL, 0);
	free(data);
}

static void tell_log_fd(const struct session *session, struct handover_writer *writer)
{
	int fd = device_log_bell_fd(session->device);

	if (fd >= 0)
		handover_add(writer, VU_SET_LOG_FD, NULL, 0, &fd, 1);
}

static void tell_device(const struct session *session, struct handover_writer *writer)
{
	tell_u64(writer, VU_SET_PROTOCOL_FEATURES, session->protocol_features);
	if (session->channel_fd >= 0 && session_accepted(session, VU_PROTO_BACKEND_REQ_BIT))
		handover_add(writer, VU_SET_BACKEND_REQ_FD, NULL, 0, &session->channel_fd, 1);
	tell_log_fd(session, writer);
	if (device_status_is_required(session->device))
		tell_u64(writer, VU_SET_STATUS, vireo_device_status(session->device));
	if (session->mtu_told)
		tell_u64(writer, VU_NET_SET_MTU, session->mtu_told);
	if (session->features_told || vireo_device_features(session->device))
		tell_u64(writer, VU_SET_FEATURES, features_told(session));
	tell_state(session, writer);
}

/* The fields of struct vu_region, as both messages have them. */
static int region_words(const struct map_region *region, uint64_t words[4])
{
	words[0] = region->gpa;
	words[1] = region->size_bytes;
	words[2] = region->uaddr;
	return backing_file(region->backing, &words[3]);
}

static bool is_a_table(const struct map *memory)
{
	for (unsigned i = 0; i < memory->count; i++)
		if (memory->regions[i].times > 1)
			return false;
	return memory->count && memory->count <= VU_BASELINE_REGIONS_MAX;
}

static void tell_table(const struct map *memory, struct handover_writer *writer)
{
	struct {
		uint32_t count, padding;
		uint64_t words[VU_BASELINE_REGIONS_MAX][4];
	} table = { .count = memory->count };
	int fds[VU_BASELINE_REGIONS_MAX];

	for (unsigned i = 0; i < memory->count; i++)
		fds[i] = region_words(&memory->regions[i], table.words[i]);
	handover_add(writer, VU_SET_MEM_TABLE, &table, VU_MEM_TABLE_HEADER_BYTES + memory->count * sizeof(table.words[0]), fds,
		     memory->count);
}

static void tell_memory(const struct map *memory, struct handover_writer *writer)
{
	if (is_a_table(memory)) {
		tell_table(memory, writer);
		return;
	}
	for (unsigned i = 0; i < memory->count; i++) {
		uint64_t words[5] = { 0 };
		int fd = region_words(&memory->regions[i], words + 1);

		for (unsigned n = 0; n < memory->regions[i].times; n++)
			handover_add(writer, VU_ADD_MEM_REG, words, sizeof(words), &fd, 1);
	}
}

static void tell_inflight(const struct session *session, struct handover_writer *writer)
{
	uint8_t payload[VU_INFLIGHT_PADDED_BYTES];
	uint64_t offset;
	int fd = backing_file(session->inflight, &offset);

	vu_build_inflight(&session->inflight_told, payload);
	handover_add(writer, VU_SET_INFLIGHT_FD, payload, sizeof(payload), &fd, 1);
}

/* KICK, CALL and ERR. */
static void tell_fd(struct handover_writer *writer, uint32_t request, uint32_t index, int fd)
{
	const uint64_t value = fd >= 0 ? index : index | VRING_NO_FD;

	handover_add(writer, request, &value, sizeof(value), &fd, fd >= 0);
}

static void tell_queue(const struct device_queue_state *state, uint32_t index, struct handover_writer *writer)
{
	const struct handover_queue queue = { index, state->flags };
	const struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = { .index = index, .desc = state->desc, .used = state->device_area, .avail = state->driver };

	if (state->size)
		tell_pair(writer, VU_SET_VRING_NUM, index, state->size);
	if (state->addressed)
		handover_add(writer, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (state->based)
		tell_pair(writer, VU_SET_VRING_BASE, index, state->base);
	if (state->call_fd >= 0)
		tell_fd(writer, VU_SET_VRING_CALL, index, state->call_fd);
	if (state->error_fd >= 0)
		tell_fd(writer, VU_SET_VRING_ERR, index, state->error_fd);
	if (state->kickable)
		tell_fd(writer, VU_SET_VRING_KICK, index, state->kick_fd);
	tell_pair(writer, VU_SET_VRING_ENABLE, index, state->enabled);
	handover_add(writer, HANDOVER_QUEUE, &queue, sizeof(queue), NULL, 0);
}

void session_export(const struct session *session, struct handover_writer *writer)
{
	struct device_queue_state state;

	tell_device(session, writer);
	if (session->memory && session->memory->count)
		tell_memory(session->memory, writer);
	if (session->inflight)
		tell_inflight(session, writer);
	for (uint32_t i = 0; device_queue_state(session->device, i, &state); i++)
		tell_queue(&state, i, writer);
}

/* ---- to be told ---- */

static bool is_told(uint32_t request)
{
	switch (request) {
	case VU_SET_PROTOCOL_FEATURES:
	case VU_SET_BACKEND_REQ_FD:
	case VU_SET_LOG_FD:
	case VU_SET_STATUS:
	case VU_NET_SET_MTU:
	case VU_SET_FEATURES:
	case VU_SET_MEM_TABLE:
	case VU_ADD_MEM_REG:
	case VU_SET_INFLIGHT_FD:
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_ADDR:
	case VU_SET_VRING_BASE:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_ENABLE:
		return true;
	default:
		return false;
	}
}

static int message_make(struct message *message, const struct handover_record *record, const int *fds, const char **why)
{
	if (record->bytes > sizeof(message->payload))
		return refuse(-EINVAL, "a message is too long", why);
	message->header = (struct vu_header){ .request = record->what, .flags = VU_VERSION, .size_bytes = record->bytes };
	message->have_bytes = VU_HEADER_BYTES + record->bytes;
	memcpy(message->payload, record->payload, record->bytes);
	for (unsigned i = 0; i < record->fd_count; i++) {
		int fd = fcntl(fds[record->fd_first + i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			return refuse(-errno, "a file descriptor cannot be had", why);
		message->fds[message->fd_count++] = fd;
	}
	return 0;
}

/* As session_quiesce() and session_handle() do it, where all queues are quiet. */
static int message_carry_out(struct session *session, const char **why)
{
	struct message *message = &session->message;
	int r;

	session->row = message_row(session, message, why);
	if (!session->row)
		return -EINVAL;
	session->calm = false;
	r = session->row->prepare ? session->row->prepare(session, message, why) : 0;
	if (!r && session->row->quiet == QUIET_MEMORY)
		r = memory_check(session, why);
	return r ? r : session->row->handle(session, message, why);
}

static int import_message(struct session *session, const struct handover_record *record, const int *fds, const char **why)
{
	int r;

	if (!is_told(record->what))
		return refuse(-EINVAL, "a message that is no part of a session's state", why);
	r = message_make(&session->message, record, fds, why);
	if (!r)
		r = message_carry_out(session, why);
	if (!r && session->reply.bytes)
		r = refuse(-EINVAL, "a message that wants an answer", why);
	message_clear(&session->message);
	return r;
}

static int import_queue(struct session *session, const struct handover_record *record, const char **why)
{
	struct handover_queue queue;

	if (record->bytes != sizeof(queue) || record->fd_count)
		return refuse(-EINVAL, "a queue's record is of another length", why);
	memcpy(&queue, record->payload, sizeof(queue));
	return refuse(device_queue_go_on(session->device, queue.index, queue.flags), "no such queue, or it cannot stand so", why);
}

static int import_record(struct session *session, const struct handover_record *record, const int *fds, const char **why)
{
	if (record->what == HANDOVER_QUEUE)
		return import_queue(session, record, why);
	if (record->what == HANDOVER_DEVICE_STATE && !record->fd_count)
		return device_state_load(session->device, record->payload, record->bytes, why);
	return import_message(session, record, fds, why);
}

int session_import(struct session *session, struct handover_reader *reader, const int *fds, const char **why)
{
	struct handover_record record;
	int r;

	session->busy = true; /* it does not end meanwhile */
	while ((r = handover_next(reader, &record, why)) > 0) {
		r = import_record(session, &record, fds, why);
		if (r < 0)
			break;
	}
	if (!r && (session->failing || kind_refused(session)))
		r = refuse(-EINVAL, "a session as none is handed over", why);
	session->busy = false;
	session->messages = 1; /* it has spoken */
	return r;
}
