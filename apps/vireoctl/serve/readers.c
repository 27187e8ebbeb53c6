/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/readers.h"
#include "base/clock.h"
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

struct reader {
	TAILQ_ENTRY(reader) link;
	int fd;
	uint64_t since_ms;
	uint64_t reads; /* the number of an answer; 0: none */
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

/* ---- what they read ---- */

static struct reader *reader_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static bool read_by_an_elder(struct readers *readers, const struct reader *reader)
{
	const struct reader *elder;

	TAILQ_FOREACH (elder, &readers->staying, link) {
		if (elder == reader)
			break;
		if (elder->reads == reader->reads)
			return true;
	}
	return false;
}

/* How many answers; *ret_oldest: the number of the oldest. */
static unsigned answers_read(struct readers *readers, uint64_t *ret_oldest)
{
	const struct reader *reader;
	unsigned count = 0;

	TAILQ_FOREACH (reader, &readers->staying, link) {
		if (!reader->reads || read_by_an_elder(readers, reader))
			continue;
		if (!count++ || reader->reads < *ret_oldest)
			*ret_oldest = reader->reads;
	}
	return count;
}

static void show_out_who_read(struct readers *readers, uint64_t number)
{
	struct reader *reader = TAILQ_FIRST(&readers->staying), *next;

	for (; reader; reader = next) {
		next = TAILQ_NEXT(reader, link);
		if (reader->reads == number)
			show_out(readers, reader);
	}
}

void readers_given(struct readers *readers, struct MHD_Connection *connection, uint64_t number)
{
	struct reader *reader = reader_of(connection);
	uint64_t oldest = 0;

	if (!reader || reader->going)
		return;
	reader->reads = number;
	while (answers_read(readers, &oldest) > READERS_ANSWERS)
		show_out_who_read(readers, oldest);
}

void readers_completed(void *opaque, struct MHD_Connection *connection, void **request, enum MHD_RequestTerminationCode how)
{
	struct reader *reader = reader_of(connection);

	if (reader)
		reader->reads = 0;
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
