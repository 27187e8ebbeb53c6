/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_internal.h"
#include "device/device.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The control queue (virtio 1.3, 5.6.6.2). Task management goes to the application, which answers when what it is about has ended and has
 * been shown, and that may be never: a disk that hangs. So there are SCSI_MANAGING_MAX of them at most, and more wait in the ring. Asynchronous
 * notifications are a matter of removable media: no unit has any to subscribe to.
 *
 * A queue that is asked back answers in the application's place: FAILURE, which says nothing of what has been aborted. The driver
 * goes on with the next step of its error handling. What is abandoned so takes no place from who comes next, which is another driver
 * perhaps; but it costs memory until the disk answers: beyond SCSI_ABANDONED_MAX of them a function is answered with BUSY at once.
 *
 * A request is taken off the guest's memory once, through the cursor. One with no room for its response is given back without one.
 */

#define CONTROL_WORK_MAX 1024u /* requests, and pieces of them, in one go */
#define OTHER_BYTES_MAX	 64u   /* of a request that nobody knows: its response comes last */

static void refused_count(struct vireo_scsi *scsi)
{
	counter_add(&scsi->stats.managements_refused, 1);
}

/* ---- what the application has ---- */

static struct vscsi_managing *managing_new(struct vireo_scsi *scsi)
{
	const size_t room_at = align_up(sizeof(struct vscsi_managing), 16);
	struct vscsi_managing *m;

	if (scsi->abandoned_count >= SCSI_ABANDONED_MAX)
		return NULL;
	m = calloc(1, room_at + scsi->management_room_bytes);
	if (!m)
		return NULL;
	m->scsi = scsi;
	m->management.room = (char *)m + room_at;
	m->next = scsi->managing;
	scsi->managing = m;
	scsi->managing_count++;
	return m;
}

static void managing_free(struct vscsi_managing *m)
{
	struct vscsi_managing **at = &m->scsi->managing;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (m->abandoned)
		m->scsi->abandoned_count--;
	else
		m->scsi->managing_count--;
	free(m);
}

/* The first byte that the driver has left for the response. */
static void response_find(struct vscsi_managing *m, const struct vireo_chain *chain)
{
	const struct iovec *piece = chain->iov + chain->readable_count;

	while (!piece->iov_len)
		piece++;
	m->response = (struct iovec){ piece->iov_base, 1 };
	m->chain = *chain;
	m->chain.iov = &m->response;
	m->chain.readable_count = m->chain.readable_bytes = 0;
	m->chain.writable_count = m->chain.writable_bytes = 1;
}

static void managing_answer(const struct vscsi_managing *m, uint8_t answer)
{
	__atomic_store_n((uint8_t *)m->response.iov_base, answer, __ATOMIC_RELAXED);
	vireo_queue_push(m->scsi->control, &m->chain, 1);
}

static void control_process(struct vireo_scsi *scsi);

void vireo_scsi_managed(struct vireo_scsi_management *management, uint8_t answer)
{
	struct vscsi_managing *m = container_of(management, struct vscsi_managing, management);
	struct vireo_scsi *scsi = m->scsi;
	bool abandoned = m->abandoned, full = !abandoned && scsi->managing_count == SCSI_MANAGING_MAX;

	if (!abandoned)
		managing_answer(m, answer);
	managing_free(m);
	if (scsi->in_control || !scsi->control)
		return;
	if (full)
		control_process(scsi);
	else if (!abandoned)
		vireo_queue_flush(scsi->control);
}

unsigned vireo_scsi_managing(const struct vireo_scsi *scsi)
{
	return scsi->managing_count + scsi->abandoned_count;
}

void vscsi_control_stop(struct vireo_scsi *scsi)
{
	bool some = false;

	for (struct vscsi_managing *m = scsi->managing; m; m = m->next) {
		if (m->abandoned)
			continue;
		managing_answer(m, VIREO_SCSI_FAILURE);
		m->abandoned = some = true;
		scsi->managing_count--;
		scsi->abandoned_count++;
	}
	if (some)
		vireo_queue_flush(scsi->control);
	scsi->control = NULL;
}

bool vscsi_control_kept(const struct vireo_scsi *scsi)
{
	for (const struct vscsi_managing *m = scsi->managing; m; m = m->next)
		if (!m->abandoned && !device_memory_has(scsi->device, m->response.iov_base, 1))
			return false;
	return true;
}

/* ---- requests ---- */

static void answer_at_once(struct vireo_scsi *scsi, const struct vireo_chain *chain, const void *data, uint32_t bytes)
{
	struct vireo_cursor c = vireo_chain_writable(chain);

	vireo_queue_push(scsi->control, chain, vireo_cursor_put(&c, data, bytes) ? bytes : 0);
}

static void refuse(struct vireo_scsi *scsi, const struct vireo_chain *chain, uint8_t answer)
{
	refused_count(scsi);
	answer_at_once(scsi, chain, &answer, sizeof(answer));
}

static void tmf_take(struct vireo_scsi *scsi, const struct vireo_chain *chain)
{
	struct vireo_cursor c = vireo_chain_readable(chain);
	struct virtio_scsi_tmf tmf;
	struct vscsi_managing *m;
	uint8_t target, lun[8];
	uint32_t function;

	if (!vireo_cursor_take(&c, &tmf, sizeof(tmf)) || !chain->writable_bytes) {
		refuse(scsi, chain, VIREO_SCSI_FAILURE);
		return;
	}
	function = le32toh(tmf.subtype);
	if (function > VIREO_SCSI_QUERY_TASK_SET) {
		refuse(scsi, chain, VIREO_SCSI_FUNCTION_REJECTED);
		return;
	}
	if (!vscsi_address_take(tmf.lun, function == VIREO_SCSI_I_T_NEXUS_RESET, &target, lun)) {
		refuse(scsi, chain, VIREO_SCSI_BAD_TARGET);
		return;
	}
	m = managing_new(scsi);
	if (!m) {
		refuse(scsi, chain, VIREO_SCSI_BUSY);
		return;
	}
	response_find(m, chain);
	m->management.function = function;
	m->management.target = target;
	memcpy(m->management.lun, lun, sizeof(lun));
	m->management.id = le64toh(tmf.id);
	counter_add(&scsi->stats.managements, 1);
	scsi->ops.manage(scsi->opaque, &m->management);
}

/* No unit has any: event_actual is empty. */
static void notification_take(struct vireo_scsi *scsi, const struct vireo_chain *chain)
{
	struct vireo_cursor c = vireo_chain_readable(chain);
	uint8_t answer[sizeof(uint32_t) + 1] = { 0 };
	struct virtio_scsi_an an;
	uint8_t target, lun[8];
	uint8_t *response = &answer[sizeof(uint32_t)];

	if (!vireo_cursor_take(&c, &an, sizeof(an)))
		*response = VIREO_SCSI_FAILURE;
	else if (!vscsi_address_take(an.lun, false, &target, lun))
		*response = VIREO_SCSI_BAD_TARGET;
	else if (scsi->ops.unit_look)
		*response = scsi->ops.unit_look(scsi->opaque, target, lun);
	if (*response || chain->writable_bytes < sizeof(answer))
		refused_count(scsi);
	answer_at_once(scsi, chain, answer, sizeof(answer));
}

/* Whatever it is: the response is its last byte. */
static void other_take(struct vireo_scsi *scsi, const struct vireo_chain *chain)
{
	uint8_t answer[OTHER_BYTES_MAX] = { 0 };
	uint32_t bytes = chain->writable_bytes;

	refused_count(scsi);
	if (!bytes || bytes > sizeof(answer)) {
		vireo_queue_push(scsi->control, chain, 0);
		return;
	}
	answer[bytes - 1] = VIREO_SCSI_FAILURE;
	answer_at_once(scsi, chain, answer, bytes);
}

static void request_take(struct vireo_scsi *scsi, const struct vireo_chain *chain)
{
	struct vireo_cursor c = vireo_chain_readable(chain);
	uint32_t type;

	if (!vireo_cursor_take(&c, &type, sizeof(type))) {
		other_take(scsi, chain);
		return;
	}
	switch (le32toh(type)) {
	case SCSI_T_TMF:
		tmf_take(scsi, chain);
		break;
	case SCSI_T_AN_QUERY:
	case SCSI_T_AN_SUBSCRIBE:
		notification_take(scsi, chain);
		break;
	default:
		other_take(scsi, chain);
		break;
	}
}

static void requests_take(struct vireo_scsi *scsi, struct iovec *iov, unsigned iov_max)
{
	struct vireo_queue *queue = scsi->control;
	struct vireo_chain chain = { .iov = iov };

	for (unsigned work = 0; work < CONTROL_WORK_MAX && scsi->managing_count < SCSI_MANAGING_MAX;
	     work += 1 + chain.readable_count + chain.writable_count) {
		int r = vireo_queue_pop(queue, &chain, 1, iov, iov_max);

		if (r < 0 || (r == 0 && !vireo_queue_kick_enable(queue, true)))
			break;
		if (r > 0)
			request_take(scsi, &chain);
	}
}

/*
 * At most CONTROL_WORK_MAX of what is there, so that a driver that keeps adding requests cannot hold the control thread: the device comes
 * back for what is left.
 */
static void control_process(struct vireo_scsi *scsi)
{
	unsigned iov_max = VIREO_CHAIN_PIECES_MAX(vireo_queue_size(scsi->control));
	struct iovec *iov = calloc(iov_max, sizeof(*iov));

	scsi->in_control = true;
	if (iov)
		requests_take(scsi, iov, iov_max);
	else
		vireo_device_break(scsi->device, "no memory for the control queue");
	scsi->in_control = false;
	vireo_queue_flush(scsi->control);
	free(iov);
}

void vscsi_control_kicked(struct vireo_scsi *scsi, struct vireo_queue *queue)
{
	scsi->control = queue;
	control_process(scsi);
}
