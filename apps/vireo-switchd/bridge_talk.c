/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge_talk.h"
#include "base/fd.h"
#include <errno.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_BYTES 32768u /* the kernel's own limit of one part of a list */
#define WAIT_S 10

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

static void on_nothing(void *opaque, const struct bridge_message *message)
{
}

static void on_entry(void *opaque, const struct bridge_message *message)
{
	struct asked *asked = opaque;

	asked->found |= bridge_message_kept(message, asked->interface);
}

/* -EEXIST: the bridge has the address for somebody else, and is to keep it. */
static int entry_ask(int fd, uint32_t number, int interface, const struct bridge_address *address)
{
	struct asked asked = {.interface = interface};
	uint8_t request[BRIDGE_REQUEST_BYTES];
	int err = ask(fd, request, bridge_request_entry(request, number, interface, address));

	if (!err)
		err = answers(fd, number, 0, on_entry, &asked);
	if (err == -ENOENT)
		return 0;
	return !err && asked.found ? -EEXIST : err;
}

static int change_tell(int fd, uint32_t number, int interface, const struct bridge_change *change)
{
	uint8_t request[BRIDGE_REQUEST_BYTES];
	int err = entry_ask(fd, number, interface, &change->address);

	if (!err)
		err = ask(fd, request, bridge_request_change(request, number + 1, interface, change));
	return err ? err : answers(fd, number + 1, 0, on_nothing, NULL);
}

int bridge_talk_tell(int fd, int interface, const struct bridge_change *changes, unsigned count, int *ret_errs)
{
	for (unsigned i = 0; i < count; i++)
		ret_errs[i] = -EIO;
	for (unsigned i = 0; i < count; i++) {
		int err = change_tell(fd, 2 * i + 1, interface, &changes[i]);

		if (err == -ENOBUFS || err == -ETIMEDOUT || err == -EMSGSIZE)
			return err;
		ret_errs[i] = err;
	}
	return 0;
}
