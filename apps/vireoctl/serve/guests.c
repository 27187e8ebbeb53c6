/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/guests.h"
#include "base/clock.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

struct guest {
	TAILQ_ENTRY(guest) link;
	int fd;
	uint64_t since_ms;
	bool going;
};

void guests_init(struct guests *guests)
{
	TAILQ_INIT(&guests->staying);
	guests->count = 0;
}

/* The server sees the end of what it reads, and closes. */
static void show_out(struct guests *guests, struct guest *guest)
{
	shutdown(guest->fd, SHUT_RDWR);
	TAILQ_REMOVE(&guests->staying, guest, link);
	guest->going = true;
	guests->count--;
}

void guests_look(struct guests *guests)
{
	uint64_t now_ms = clock_now_ms();
	struct guest *oldest;

	while ((oldest = TAILQ_FIRST(&guests->staying)) && now_ms - oldest->since_ms > GUESTS_STAY_MS)
		show_out(guests, oldest);
}

static struct guest *welcome(struct guests *guests, int fd)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	if (!guest) {
		shutdown(fd, SHUT_RDWR);
		return NULL;
	}
	guest->fd = fd;
	guest->since_ms = clock_now_ms();
	TAILQ_INSERT_TAIL(&guests->staying, guest, link);
	if (++guests->count > GUESTS_MAX)
		show_out(guests, TAILQ_FIRST(&guests->staying));
	return guest;
}

void guests_notify(void *opaque, struct MHD_Connection *connection, void **guest_of, enum MHD_ConnectionNotificationCode what)
{
	struct guests *guests = opaque;
	struct guest *guest = *guest_of;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		*guest_of = info ? welcome(guests, info->connect_fd) : NULL;
		return;
	}
	if (guest && !guest->going) {
		TAILQ_REMOVE(&guests->staying, guest, link);
		guests->count--;
	}
	free(guest);
	*guest_of = NULL;
}
