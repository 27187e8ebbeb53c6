/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge_talk.h"
#include "base/fd.h"
#include "base/util.h"
#include <errno.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_BYTES 32768u /* the kernel's own limit of one part of a list */
#define WAIT_S 10
#define BATCH 32u /* requests in one send */

int bridge_talk_open(int *ret_fd)
{
	const struct timeval wait = {.tv_sec = WAIT_S};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait))) {
		int err = -errno;

		fd_close(&fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

typedef void answer_fn(void *opaque, const struct bridge_message *message);

static int ask(int fd, const uint8_t *request, size_t bytes)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	return sendto(fd, request, bytes, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -errno : 0;
}

/* Bytes of what the kernel says; what others say is not listened to. */
static ssize_t hear(int fd, uint8_t *answer)
{
	struct sockaddr_nl from = {.nl_family = AF_NETLINK};
	socklen_t from_bytes = sizeof(from);
	ssize_t bytes;

	do {
		bytes = recvfrom(fd, answer, ANSWER_BYTES, MSG_TRUNC, (struct sockaddr *)&from, &from_bytes);
		if (bytes < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	} while (from.nl_pid);
	return bytes > (ssize_t)ANSWER_BYTES ? -EMSGSIZE : bytes;
}

/* Up to the end of the answer, or `messages` of it. What answers something else is left out. */
static int answers(int fd, uint32_t number, unsigned messages, answer_fn *fn, void *opaque)
{
	uint8_t answer[ANSWER_BYTES];
	struct bridge_message message;
	bool interrupted = false;
	int err;

	for (;;) {
		ssize_t got = hear(fd, answer);
		const uint8_t *at = answer;
		size_t bytes = (size_t)got;

		if (got < 0)
			return (int)got;
		while (bridge_message_next(&at, &bytes, &message)) {
			if (message.number != number)
				continue;
			interrupted |= message.interrupted;
			if (bridge_message_ends(&message, &err))
				return !err && interrupted ? -EINTR : err;
			fn(opaque, &message);
			if (messages && !--messages)
				return 0;
		}
	}
}

/* ---- what is there ---- */

struct asked {
	int interface;
	bool found;
	struct bridge_link link;
	struct bridge_seen *seen;
};

static void on_link(void *opaque, const struct bridge_message *message)
{
	struct asked *asked = opaque;

	asked->found |= bridge_message_link(message, asked->interface, &asked->link);
}

static void on_vlans(void *opaque, const struct bridge_message *message)
{
	struct asked *asked = opaque;

	bridge_message_pvid(message, asked->interface, &asked->seen->pvid);
}

static void on_address(void *opaque, const struct bridge_message *message)
{
	struct asked *asked = opaque;
	struct bridge_address address;

	if (!bridge_message_address(message, asked->interface, &address))
		return;
	if (asked->seen->count < asked->seen->room)
		asked->seen->addresses[asked->seen->count++] = address;
	else
		asked->seen->more = true;
}

static int link_ask(int fd, uint32_t number, int interface, struct bridge_link *ret_link)
{
	struct asked asked = {.interface = interface};
	uint8_t request[BRIDGE_REQUEST_BYTES];
	int err = ask(fd, request, bridge_request_link(request, number, interface));

	if (!err)
		err = answers(fd, number, 1, on_link, &asked);
	if (!err && !asked.found)
		err = -EPROTO;
	if (!err)
		*ret_link = asked.link;
	return err;
}

static int bridge_ask(int fd, int interface, struct bridge_seen *seen)
{
	struct asked asked = {.interface = interface, .seen = seen};
	uint8_t request[BRIDGE_REQUEST_BYTES];
	int err = 0;

	seen->pvid = 0;
	if (seen->bridge.filters) {
		err = ask(fd, request, bridge_request_vlans(request, 3));
		if (!err)
			err = answers(fd, 3, 0, on_vlans, &asked);
	}
	if (!err)
		err = ask(fd, request, bridge_request_addresses(request, 4, interface));
	return err ? err : answers(fd, 4, 0, on_address, &asked);
}

int bridge_talk_look(int fd, int interface, struct bridge_seen *seen)
{
	struct bridge_link port = {.master = 0};
	int err = interface > 0 ? link_ask(fd, 1, interface, &port) : -ENODEV;

	seen->count = 0;
	seen->more = false;
	seen->bridge = (struct bridge_link){.master = 0};
	if (err || !port.master || !port.of_bridge)
		return err;
	err = link_ask(fd, 2, port.master, &seen->bridge);
	seen->bridge.of_bridge = !err;
	return err ? err : bridge_ask(fd, interface, seen);
}

/* ---- what is to be ---- */

/*
 * Requests whose numbers follow one another, and go in one send: each is answered for itself. So many that all answers find room in the socket, where
 * the least that a system gives it is 200 KiB.
 */
struct batch {
	int interface;
	uint32_t first; /* number */
	unsigned count;
	struct batch_request {
		bool open; /* is asked, and not answered yet */
		bool kept; /* see bridge_message_kept() */
		int err;
	} request[BATCH];
};

/* What answers something else is left out. Returns how many requests are over by it. */
static unsigned batch_take(struct batch *batch, const struct bridge_message *message)
{
	uint32_t i = message->number - batch->first;

	if (i >= batch->count || !batch->request[i].open)
		return 0;
	batch->request[i].kept |= bridge_message_kept(message, batch->interface);
	if (!bridge_message_ends(message, &batch->request[i].err))
		return 0;
	batch->request[i].open = false;
	return 1;
}

static int batch_ask(int fd, struct batch *batch, const uint8_t *requests, size_t requests_bytes, unsigned left)
{
	uint8_t answer[ANSWER_BYTES];
	struct bridge_message message;
	int err = left ? ask(fd, requests, requests_bytes) : 0;

	while (!err && left) {
		ssize_t got = hear(fd, answer);
		const uint8_t *at = answer;
		size_t bytes = (size_t)got;

		if (got < 0)
			return (int)got;
		while (bridge_message_next(&at, &bytes, &message))
			left -= batch_take(batch, &message);
	}
	return err;
}

/* -EEXIST, of one of them: the bridge has the address for somebody else, and is to keep it. */
static int entries_ask(int fd, struct batch *batch, const struct bridge_change *changes)
{
	uint8_t requests[BATCH * BRIDGE_REQUEST_BYTES];
	size_t bytes = 0;
	int err;

	for (unsigned i = 0; i < batch->count; i++) {
		bytes += bridge_request_entry(requests + bytes, batch->first + i, batch->interface, &changes[i].address);
		batch->request[i] = (struct batch_request){.open = true};
	}
	err = batch_ask(fd, batch, requests, bytes, batch->count);
	for (unsigned i = 0; !err && i < batch->count; i++) {
		struct batch_request *request = &batch->request[i];

		if (request->err == -ENOENT)
			request->err = 0;
		else if (!request->err && request->kept)
			request->err = -EEXIST;
	}
	return err;
}

/* Those that nothing speaks against. */
static int changes_tell(int fd, struct batch *batch, const struct bridge_change *changes)
{
	uint8_t requests[BATCH * BRIDGE_REQUEST_BYTES];
	unsigned asked = 0;
	size_t bytes = 0;

	for (unsigned i = 0; i < batch->count; i++) {
		if (batch->request[i].err)
			continue;
		bytes += bridge_request_change(requests + bytes, batch->first + i, batch->interface, &changes[i]);
		batch->request[i].open = true;
		asked++;
	}
	return batch_ask(fd, batch, requests, bytes, asked);
}

/* What has not been answered at all has -EIO, or what spoke against it. */
static int batch_tell(int fd, struct batch *batch, const struct bridge_change *changes, int *ret_errs)
{
	int err = entries_ask(fd, batch, changes);

	if (err)
		return err;
	batch->first += batch->count;
	err = changes_tell(fd, batch, changes);
	for (unsigned i = 0; i < batch->count; i++)
		ret_errs[i] = batch->request[i].open ? -EIO : batch->request[i].err;
	return err;
}

int bridge_talk_tell(int fd, int interface, const struct bridge_change *changes, unsigned count, int *ret_errs)
{
	struct batch batch = {.interface = interface, .first = 1};
	int err = 0;

	for (unsigned i = 0; i < count; i++)
		ret_errs[i] = -EIO;
	for (unsigned i = 0; !err && i < count; i += batch.count) {
		batch.count = min_u32(count - i, BATCH);
		err = batch_tell(fd, &batch, &changes[i], &ret_errs[i]);
		batch.first += batch.count;
	}
	return err;
}
