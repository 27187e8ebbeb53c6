/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/system.h"
#include "mem/late.h"
#include "mem/map.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <string.h>

/*
 * Postcopy live migration (vhost-user: "Postcopy support"), as states of a session. docs/vhost-user.md draws them.
 *
 *	OFF --ADVISE--> ADVISED --LISTEN--> LISTENING --SET_MEM_TABLE, ADD_MEM_REG--> TOLD
 *	 ^                                   |   ^                                     |
 *	 +---------------END-----------------+   +------------------ack----------------+
 *
 * ADVISE	a userfaultfd is made, and goes to the front end
 * LISTEN	from now on all memory that is mapped is late (mem/late.h); who serves the device is told
 * TOLD		the regions are mapped and registered, and the front end knows at which addresses; it acknowledges when it can bring
 *		pages there. Until then nobody here looks into them: the map is not the device's yet. Nothing waits for the
 *		acknowledgement but this session, which hears nothing else meanwhile
 * END		nothing is late any more; then all queues are made quiet, and who serves them is told
 *
 * The acknowledgement is a message of the same name as what it answers, without payload or with a u64 of 0. QEMU sends one
 * after all of its ADD_MEM_REG together; it is named after the last message before it, which is REM_MEM_REG if regions have
 * only gone, and has number 0 if there was none.
 *
 * Whatever ends a session ends what is late first: threads that sleep in its pages wake, and give back its queues.
 */

#define ACK_BYTES 8u

/* ---- memory ---- */

static int prepare_ack(struct session *session, struct message *message, const char **why)
{
	uint64_t value = 0;

	memcpy(&value, message->payload, message->header.size_bytes);
	if (value)
		return refuse(-EPROTO, "the front end cannot bring pages to the regions that it has been told of", why);
	session->map = session->told;
	session->told = NULL;
	session->postcopy = POSTCOPY_LISTENING;
	return 0;
}

static int handle_ack_of_nothing(struct session *session, struct message *message, const char **why)
{
	return 0;
}

/* The message goes back with our addresses in the place of the front end's. */
static int handle_tell(struct session *session, struct message *message, const char **why)
{
	bool one = message->header.request == VU_ADD_MEM_REG;
	uint8_t payload[VU_PAYLOAD_BYTES_MAX];
	struct vu_region regions[VU_BASELINE_REGIONS_MAX];
	unsigned count = 1;

	if (one ? vu_parse_mem_region(message->payload, message->header.size_bytes, regions, why)
		: vu_parse_mem_table(message->payload, message->header.size_bytes, regions, &count, why))
		return -EPROTO;
	memcpy(payload, message->payload, message->header.size_bytes);
	for (unsigned i = 0; i < count; i++)
		vu_region_uaddr_put(payload, i, (uintptr_t)map_find(session->map, regions[i].gpa)->host);
	reply_begin(&session->reply, message->header.request);
	reply_add(&session->reply, payload, message->header.size_bytes);
	map_unref(session->told);
	session->told = session->map;
	session->map = NULL;
	session->told_by = message->header.request;
	session->postcopy = POSTCOPY_TOLD;
	return 0;
}

static const struct message_row tell_table = {
	handle_tell, prepare_mem_table, .payload_min_bytes = VU_MEM_TABLE_HEADER_BYTES, .payload_max_bytes = VU_MEM_TABLE_BYTES_MAX,
	.fds_max = VU_BASELINE_REGIONS_MAX, .replies = true,
};
static const struct message_row tell_region = {
	handle_tell, prepare_add_mem_reg, .payload_min_bytes = VU_MEM_REGION_BYTES, .payload_max_bytes = VU_MEM_REGION_BYTES,
	.fds_min = 1, .fds_max = 1, .gate = VU_PROTO_CONFIGURE_MEM_SLOTS_BIT + 1, .replies = true,
};
static const struct message_row ack = { handle_memory, prepare_ack, .payload_max_bytes = ACK_BYTES, .quiet = QUIET_MEMORY };
static const struct message_row ack_of_nothing = { handle_ack_of_nothing, .payload_max_bytes = ACK_BYTES };

/* Of a table or of regions: QEMU's names for the latter. */
static bool acknowledges(const struct session *session, const struct message *message)
{
	bool short_one = !message->header.size_bytes || message->header.size_bytes == ACK_BYTES;

	if (!short_one || message->fd_count)
		return false;
	if (message->header.request == VU_SET_MEM_TABLE)
		return session->postcopy == POSTCOPY_TOLD && session->told_by == VU_SET_MEM_TABLE;
	return !message->header.request || message->header.request == VU_ADD_MEM_REG || message->header.request == VU_REM_MEM_REG;
}

static const struct message_row *row_told(const struct session *session, const struct message *message, const char **why)
{
	if (acknowledges(session, message))
		return &ack;
	if (message->header.request == VU_ADD_MEM_REG && session->told_by == VU_ADD_MEM_REG)
		return &tell_region;
	*why = "the regions that were told of are acknowledged first";
	return NULL;
}

bool postcopy_row(const struct session *session, const struct message *message, const struct message_row **ret_row,
		  const char **why)
{
	if (session->postcopy == POSTCOPY_TOLD) {
		*ret_row = row_told(session, message, why);
		return true;
	}
	if (session->postcopy != POSTCOPY_LISTENING)
		return false;
	if (acknowledges(session, message))
		*ret_row = &ack_of_nothing;
	else if (message->header.request == VU_SET_MEM_TABLE)
		*ret_row = &tell_table;
	else if (message->header.request == VU_ADD_MEM_REG)
		*ret_row = &tell_region;
	else
		return false;
	return true;
}

/* ---- ADVISE, LISTEN, END ---- */

static void late_drop(struct session *session)
{
	late_unref(session->late);
	session->late = NULL;
	session->postcopy = POSTCOPY_OFF;
}

/* A machine that cannot migrate here is its front end's to tell of: that gets an answer without an fd. */
int handle_postcopy_advise(struct session *session, struct message *message, const char **why)
{
	int fd, err;

	if (session->postcopy != POSTCOPY_OFF)
		return refuse(-EPROTO, "postcopy has been advised of already", why);
	err = late_new(&session->late);
	fd = err ? err : late_fd_dup(session->late);
	reply_begin(&session->reply, VU_POSTCOPY_ADVISE);
	if (fd < 0) {
		log_warning(device_log(session->device), "%s: no userfaultfd, and so no postcopy migration: %s",
			    device_name(session->device), system_errno_text(-fd));
		late_drop(session);
		return 0;
	}
	reply_fd(&session->reply, fd);
	session->postcopy = POSTCOPY_ADVISED;
	return 0;
}

/* What is mapped by now is where nobody can bring pages: the front end does not know our addresses of it. */
int handle_postcopy_listen(struct session *session, struct message *message, const char **why)
{
	int err;

	if (session->postcopy != POSTCOPY_ADVISED)
		return refuse(-EPROTO, session->postcopy == POSTCOPY_OFF ? "postcopy has not been advised of" :
								 "we are listening already", why);
	if (session->memory)
		return refuse(-EBUSY, "memory has been told of before; it would not come late", why);
	err = device_late_set(session->device, session->late);
	if (err)
		return refuse(err, "the device cannot be served from memory that comes late", why);
	session->postcopy = POSTCOPY_LISTENING;
	log_info(device_log(session->device), "%s: postcopy: the machine's memory comes late", device_name(session->device));
	return 0;
}

int prepare_postcopy_end(struct session *session, struct message *message, const char **why)
{
	if (session->postcopy != POSTCOPY_LISTENING)
		return refuse(-EPROTO, "there is no postcopy to end", why);
	late_end(session->late);
	return 0;
}

int handle_postcopy_end(struct session *session, struct message *message, const char **why)
{
	device_late_set(session->device, NULL);
	late_drop(session);
	log_info(device_log(session->device), "%s: postcopy is over", device_name(session->device));
	reply_u64(session, 0);
	return 0;
}

/* ---- the session's end ---- */

void postcopy_wake(struct session *session)
{
	if (session->late)
		late_end(session->late);
}

void postcopy_forget(struct session *session)
{
	map_unref(session->told);
	session->told = NULL;
	late_drop(session);
}
