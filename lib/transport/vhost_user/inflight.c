/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "mem/backing.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Memory that outlives this process, and in which each queue's ledger says what is in flight (vhost-user: "Inflight I/O tracking";
 * lib/ring/ledger.c). The front end keeps it: it asks for such memory once (GET_INFLIGHT_FD), and gives it to us, and to
 * whoever comes after us, before rings start (SET_INFLIGHT_FD). When the driver resets the device it asks for other
 * memory: after it has told the next driver's features (QEMU), so what does not fit those is let go.
 *
 * What is given may be any file and is the front end's: it is mapped as guest memory is (lib/mem/backing.c), with the same handler
 * for pages that go away, and what lies there is input. A front end may give less queues than the device has: the others
 * have no ledger.
 */

#define ENTRIES_MAX 32768u

static int parse(const struct session *session, const struct message *message, struct vu_inflight *ret, const char **why)
{
	struct vu_inflight told;

	if (vu_parse_inflight(message->payload, message->header.size_bytes, &told, why))
		return -EPROTO;
	if (!told.num_queues || told.num_queues > device_queue_count(session->device))
		return refuse(-EINVAL, "in-flight memory for no queues, or for more than the device has", why);
	if (!told.queue_size || told.queue_size > ENTRIES_MAX)
		return refuse(-EINVAL, "in-flight memory for queues of a size that no queue has", why);
	*ret = told;
	return 0;
}

static uint64_t bytes_needed(const struct session *session, const struct vu_inflight *told)
{
	return told->num_queues * (uint64_t)device_queue_inflight_bytes(session->device, told->queue_size);
}

/* All zero, which says nothing yet: who asks for it has had none, and nothing in flight. Its length stays. */
static int memory_new(uint64_t bytes, int *ret_fd)
{
	int fd = memfd_create("vireo-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING), saved;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, (off_t)bytes) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		*ret_fd = fd;
		return 0;
	}
	saved = -errno;
	fd_close(&fd);
	return saved;
}

int handle_get_inflight_fd(struct session *session, struct message *message, const char **why)
{
	uint8_t payload[VU_INFLIGHT_PADDED_BYTES];
	struct vu_inflight told;
	int fd = -1, r = parse(session, message, &told, why);

	if (r)
		return r;
	told.mmap_bytes = bytes_needed(session, &told);
	told.mmap_offset = 0;
	r = memory_new(told.mmap_bytes, &fd);
	if (r)
		return refuse(r, "there is no memory for what is in flight", why);
	vu_build_inflight(&told, payload);
	reply_begin(&session->reply, VU_GET_INFLIGHT_FD);
	reply_add(&session->reply, payload, message->header.size_bytes);
	reply_fd(&session->reply, fd);
	return 0;
}

static void share_out(struct session *session)
{
	const struct vu_inflight *told = &session->inflight_told;
	size_t each = device_queue_inflight_bytes(session->device, told->queue_size);

	for (uint32_t i = 0; i < device_queue_count(session->device); i++)
		device_queue_inflight_set(session->device, i, i < told->num_queues ? session->inflight_at + i * each : NULL,
					  told->queue_size);
}

static void take_back(struct session *session)
{
	session->inflight_told.num_queues = 0;
	share_out(session);
	inflight_forget(session);
}

int handle_set_inflight_fd(struct session *session, struct message *message, const char **why)
{
	const struct map_faults faults = device_faults_prompt(session->device);
	struct map_backing *backing;
	struct vu_inflight told;
	uint8_t *at;
	int r = parse(session, message, &told, why);

	if (!r && told.mmap_bytes < bytes_needed(session, &told))
		r = refuse(-EINVAL, "in-flight memory is shorter than its queues need", why);
	if (!r)
		r = backing_new(message->fds[0], told.mmap_offset, told.mmap_bytes, BACKING_FILE, &faults, &backing, &at, why);
	if (r)
		return r;
	if ((uintptr_t)at % sizeof(uint64_t)) {
		backing_unref(backing);
		return refuse(-EINVAL, "in-flight memory begins at an odd place", why);
	}
	take_back(session);
	session->inflight = backing;
	session->inflight_at = at;
	session->inflight_told = told;
	share_out(session);
	return 0;
}

void inflight_format_changed(struct session *session)
{
	if (!session->inflight)
		return;
	if (session->inflight_told.mmap_bytes >= bytes_needed(session, &session->inflight_told)) {
		share_out(session);
		return;
	}
	take_back(session);
	log_info(device_log(session->device),
		 "%s: the in-flight memory has no room for rings of this format, and is not used; the front end may give another",
		 device_name(session->device));
}

void inflight_forget(struct session *session)
{
	if (session->inflight)
		backing_unref(session->inflight);
	session->inflight = NULL;
	session->inflight_at = NULL;
}
