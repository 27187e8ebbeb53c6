/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/util.h"
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/*
 * A node that stands still, to go on here or in another process. What its callers ask stays with the kernel, which keeps them waiting, and each
 * opener is held between two requests, with all its queues quiet. The other process gets the open file of /dev/cuse, so the node
 * never goes; the kernel's first request, by which libfuse knows with whom it speaks; and the openers (handover.c). The kernel names an
 * opener by its number, which is the same in both.
 *
 * A poll that waits is waked: whoever polls asks again, and is told by who has the node then.
 */

#define CUSE_MAJOR 10u /* /dev/cuse: the kernel's Documentation/admin-guide/devices.txt */
#define CUSE_MINOR 203u

static struct cuse_endpoint *held_endpoint(struct vireo_endpoint *base)
{
	return container_of(base, struct cuse_endpoint, base);
}

static void openers_hold(struct cuse_endpoint *endpoint, bool on)
{
	struct opener *next;

	for (struct opener *opener = endpoint->openers; opener; opener = next) {
		next = opener->next;
		opener_hold(opener, on);
	}
}

/* ---- to hold it ---- */

static void hold_end(struct cuse_endpoint *endpoint)
{
	endpoint->holds = endpoint->still = false;
	node_pause(endpoint->node, false);
	openers_hold(endpoint, false);
}

static bool any_refused(const struct cuse_endpoint *endpoint)
{
	bool any = node_lost(endpoint->node);

	for (const struct opener *opener = endpoint->openers; opener; opener = opener->next) {
		const char *refused = opener_handover_refused(opener);

		if (refused)
			log_warning(opener_log(opener), "%s: opener %u cannot be handed over now: %s", opener_name(opener), opener->number,
				    refused);
		any |= refused != NULL;
	}
	return any;
}

void endpoint_opener_still(struct cuse_endpoint *endpoint)
{
	void (*held)(void *opaque, int err) = endpoint->held;
	bool refused;

	if (!held || endpoint->still_count < endpoint->opener_count)
		return;
	endpoint->held = NULL;
	refused = any_refused(endpoint);
	endpoint->still = !refused;
	if (refused)
		hold_end(endpoint);
	held(endpoint->held_opaque, refused ? -EBUSY : 0);
}

void cuse_hold_forget(struct cuse_endpoint *endpoint)
{
	void (*held)(void *opaque, int err) = endpoint->held;

	endpoint->held = NULL;
	endpoint->still = false;
	if (held)
		held(endpoint->held_opaque, -ECANCELED);
}

int cuse_hold(struct vireo_endpoint *base, void (*held)(void *opaque, int err), void *opaque)
{
	struct cuse_endpoint *endpoint = held_endpoint(base);

	if (!endpoint->config.cuse.handover || endpoint->target)
		return -EOPNOTSUPP;
	if (endpoint->holds || endpoint->closing || node_lost(endpoint->node))
		return -EBUSY;
	endpoint->holds = true;
	node_pause(endpoint->node, true);
	openers_hold(endpoint, true);
	endpoint->held = held;
	endpoint->held_opaque = opaque;
	endpoint_opener_still(endpoint);
	return 0;
}

/* The inode of the pid namespace that this process is in, or 0. */
static uint64_t pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : st.st_ino;
}

int cuse_export(struct vireo_endpoint *base, struct vireo_endpoint_state *ret_state)
{
	struct cuse_endpoint *endpoint = held_endpoint(base);
	struct handover_writer *writer = &endpoint->state;
	const struct handover_node told = { .pid_namespace = pid_namespace(), .opened = endpoint->opened };
	uint8_t record[sizeof(told) + NODE_FIRST_BYTES_MAX];
	int fd = node_fd(endpoint->node), r;
	const void *first;
	size_t bytes;

	if (!endpoint->still || node_lost(endpoint->node))
		return -EBUSY;
	first = node_first(endpoint->node, &bytes);
	memcpy(record, &told, sizeof(told));
	memcpy(record + sizeof(told), first, bytes);
	handover_free(writer);
	handover_begin(writer, HANDOVER_CUSE);
	handover_add(writer, HANDOVER_NODE, record, sizeof(told) + bytes, &fd, 1);
	openers_export(endpoint, writer);
	r = handover_end(writer);
	if (r)
		return r;
	ret_state->data = writer->data;
	ret_state->bytes = writer->bytes;
	ret_state->fds = writer->fds;
	ret_state->fd_count = writer->fd_count;
	return 0;
}

int cuse_go_on(struct vireo_endpoint *base)
{
	struct cuse_endpoint *endpoint = held_endpoint(base);

	if (!endpoint->still)
		return -EBUSY;
	handover_free(&endpoint->state);
	hold_end(endpoint);
	return 0;
}

/* ---- from another process ---- */

static bool is_cuse(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(CUSE_MAJOR, CUSE_MINOR);
}

static int node_import(struct cuse_endpoint *endpoint, const struct handover_record *record, int fd, const char **why)
{
	struct handover_node told;
	int copy, r;

	memcpy(&told, record->payload, sizeof(told));
	if (told.zero)
		return refuse(-EINVAL, "it says what is not known here", why);
	if (!told.pid_namespace || told.pid_namespace != pid_namespace())
		return refuse(-EINVAL, "its callers are numbered in another pid namespace", why);
	if (!is_cuse(fd))
		return refuse(-EINVAL, "its node is no open file of /dev/cuse", why);
	endpoint->opened = told.opened; /* no opener's number is above it (handover.c), and the next one's is */
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return refuse(-errno, "a file descriptor cannot be had", why);
	r = node_new_handed(endpoint, copy, record->payload + sizeof(told), record->bytes - sizeof(told), &endpoint->node);
	return refuse(r, r == -EINVAL ? "its first request is none of the kernel's" : "there is no memory for its node", why);
}

static int endpoint_import(struct cuse_endpoint *endpoint, struct handover_reader *reader, const int *fds, const char **why)
{
	struct handover_record record;
	int r = handover_next(reader, &record, why);

	if (r < 0)
		return r;
	if (!r || record.what != HANDOVER_NODE || record.bytes < sizeof(struct handover_node) || record.fd_count != 1)
		return refuse(-EINVAL, "it does not begin with its node", why);
	r = node_import(endpoint, &record, fds[record.fd_first], why);
	return r ? r : openers_import(endpoint, reader, fds, why);
}

int cuse_import(struct cuse_endpoint *endpoint, const struct vireo_endpoint_state *state)
{
	struct handover_reader reader;
	const char *why = "refused";
	int r = endpoint->target ? refuse(-EINVAL, "it is a SCSI target", &why)
				 : handover_read(HANDOVER_CUSE, state->data, state->bytes, state->fd_count, &reader, &why);

	if (!r)
		r = endpoint_import(endpoint, &reader, state->fds, &why);
	endpoint->holds = endpoint->still = !r;
	if (r)
		log_error(endpoint_log(endpoint), "%s: the state of %zu bytes and %u fds that was handed over is refused: %s", endpoint->name,
			  state->bytes, state->fd_count, why);
	return r;
}
