/* SPDX-License-Identifier: BSD-3-Clause */
/* Loopback and UNIX sockets, and other addresses only of who has said by which names the page is reached there. */
#include "serve/serve.h"
#include "base/fd.h"
#include "ctl/line.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define UNREAD_BYTES 131072 /* so much of an answer the kernel keeps for who does not read */
#define EXPECTED "expected PORT, ADDRESS:PORT (an address in numbers) or unix:PATH"

static int refuse(const char *where, const char *why)
{
	line_print(stderr, "vireoctl: serve --listen '%.200s': %s", where, why);
	return 2;
}

static int open_local(const char *path, struct serve_door *door)
{
	struct unix_listen_config config = {
		.path = path, .mode = (mode_t)-1, .uid = (uid_t)-1, .gid = (gid_t)-1, .backlog = BACKLOG,
	};
	int err = unix_listen(&config, &door->unix_listener);

	if (err) {
		line_print(stderr, "vireoctl: serve: cannot listen on %s: %s", path, strerror(-err));
		return 1;
	}
	door->fd = door->unix_listener.fd;
	door->local = true;
	snprintf(door->url, sizeof(door->url), "unix:%s", path);
	return 0;
}

/* "9871", "127.0.0.1:9871" or "[::1]:9871". False: it is none. */
static bool address_of(const char *where, struct addrinfo **ret_address)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(where, ':'), *port = colon ? colon + 1 : where;
	char host[INET6_ADDRSTRLEN + 2] = "127.0.0.1";
	size_t count = colon ? (size_t)(colon - where) : 0;
	bool bracket = count > 1 && *where == '[' && where[count - 1] == ']';

	if (!*port || port[strspn(port, "0123456789")] || strlen(port) > 5 || atoi(port) > UINT16_MAX)
		return false;
	if (count >= sizeof(host) || (colon && !count))
		return false;
	if (colon)
		snprintf(host, sizeof(host), "%.*s", (int)count - 2 * bracket, where + bracket);
	return !getaddrinfo(host, port, &hints, ret_address);
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* As it is now: port 0 was any. */
static void url_of(struct serve_door *door)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";
	socklen_t len = sizeof(address);
	bool six;

	getsockname(door->fd, (struct sockaddr *)&address, &len);
	getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	six = address.ss_family == AF_INET6;
	snprintf(door->url, sizeof(door->url), "http://%s%s%s:%s/", six ? "[" : "", host, six ? "]" : "", port);
}

static int open_address(const char *where, const struct addrinfo *address, struct serve_door *door)
{
	const int on = 1;

	door->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (door->fd < 0 || setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(door->fd, address->ai_addr, address->ai_addrlen) || listen(door->fd, BACKLOG)) {
		line_print(stderr, "vireoctl: serve: cannot listen on %s: %s", where, strerror(errno));
		fd_close(&door->fd);
		return 1;
	}
	url_of(door);
	return 0;
}

/* Who is accepted has it from the door. */
static void unread_bound(const struct serve_door *door)
{
	const int bytes = UNREAD_BYTES;

	setsockopt(door->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int serve_door_open(const char *where, bool named, struct serve_door *ret_door)
{
	struct serve_door door = {.fd = -1, .unix_listener.fd = -1};
	struct addrinfo *address;
	int ret;

	if (!strncmp(where, "unix:", 5))
		ret = where[5] ? open_local(where + 5, &door) : refuse(where, EXPECTED);
	else if (!address_of(where, &address))
		ret = refuse(where, EXPECTED);
	else {
		ret = named || is_loopback(address->ai_addr) ?
			      open_address(where, address, &door) :
			      refuse(where, "others reach this address: say by --hosts=NAME,... how they call it, if they are meant to");
		freeaddrinfo(address);
	}
	if (ret)
		return ret;
	unread_bound(&door);
	*ret_door = door;
	return 0;
}

void serve_door_close(struct serve_door *door)
{
	if (door->local)
		unix_unlisten(&door->unix_listener, NULL);
	else
		fd_close(&door->fd);
}
