/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/readers.h"
#include "base/clock.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

struct reader {
	TAILQ_ENTRY(reader) link;
	int fd;
	uint64_t since_ms;
	bool going;
};

void readers_init(struct readers *readers)
{
	TAILQ_INIT(&readers->staying);
	readers->count = 0;
}

/* The server sees the end of what it reads, and closes. */
static void show_out(struct readers *readers, struct reader *reader)
{
	shutdown(reader->fd, SHUT_RDWR);
	TAILQ_REMOVE(&readers->staying, reader, link);
	reader->going = true;
	readers->count--;
}

void readers_look(struct readers *readers)
{
	uint64_t now_ms = clock_now_ms();
	struct reader *oldest;

	while ((oldest = TAILQ_FIRST(&readers->staying)) && now_ms - oldest->since_ms > READERS_STAY_MS)
		show_out(readers, oldest);
}

static struct reader *welcome(struct readers *readers, int fd)
{
	struct reader *reader = calloc(1, sizeof(*reader));

	if (!reader) {
		shutdown(fd, SHUT_RDWR);
		return NULL;
	}
	reader->fd = fd;
	reader->since_ms = clock_now_ms();
	TAILQ_INSERT_TAIL(&readers->staying, reader, link);
	if (++readers->count > READERS_MAX)
		show_out(readers, TAILQ_FIRST(&readers->staying));
	return reader;
}

void readers_notify(void *opaque, struct MHD_Connection *connection, void **ret_reader, enum MHD_ConnectionNotificationCode what)
{
	struct readers *readers = opaque;
	struct reader *reader = *ret_reader;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		*ret_reader = info ? welcome(readers, info->connect_fd) : NULL;
		return;
	}
	if (reader && !reader->going) {
		TAILQ_REMOVE(&readers->staying, reader, link);
		readers->count--;
	}
	free(reader);
	*ret_reader = NULL;
}
