/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/handover.h"
#include "base/util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_FDS_MAX 8u /* as many as a message of vhost-user may have */

struct header {
	char magic[8];
	uint32_t version, transport, bytes, fds;
};

struct record_header {
	uint32_t what, fds, bytes;
};

_Static_assert(sizeof(struct header) == 24 && sizeof(struct record_header) == 12, "the layout in the header file");

static const char magic[8] = { 'v', 'i', 'r', 'e', 'o', 'h', 'n', 'd' };

/* ---- to read ---- */

static int refuse(const char *text, const char **why)
{
	*why = text;
	return -EINVAL;
}

static const char *header_wrong(const struct header *header, uint32_t transport, size_t bytes, unsigned fd_count)
{
	if (memcmp(header->magic, magic, sizeof(magic)) != 0)
		return "it is no state of an endpoint";
	if (header->version != HANDOVER_VERSION)
		return "its version is not known here";
	if (header->transport != transport)
		return "it belongs to an endpoint of another transport";
	if (header->bytes > bytes)
		return "it is cut short";
	if (header->bytes < bytes)
		return "it is longer than it says";
	if (header->fds != fd_count)
		return "it has more or fewer file descriptors than it says";
	return NULL;
}

int handover_read(uint32_t transport, const void *data, size_t bytes, unsigned fd_count, struct handover_reader *ret_reader,
		  const char **why)
{
	struct header header;
	const char *wrong;

	if (bytes < sizeof(header))
		return refuse("it is cut short", why);
	memcpy(&header, data, sizeof(header));
	bytes -= sizeof(header);
	wrong = header_wrong(&header, transport, bytes, fd_count);
	if (wrong)
		return refuse(wrong, why);
	*ret_reader = (struct handover_reader){ .at = (const uint8_t *)data + sizeof(header), .left = bytes, .fd_count = fd_count };
	return 0;
}

int handover_next(struct handover_reader *reader, struct handover_record *ret_record, const char **why)
{
	struct record_header header;

	if (!reader->left)
		return reader->fd_next == reader->fd_count ? 0 : refuse("file descriptors belong to nothing in it", why);
	if (reader->left < sizeof(header))
		return refuse("a record is cut short", why);
	memcpy(&header, reader->at, sizeof(header));
	if (header.bytes > reader->left - sizeof(header))
		return refuse("a record is cut short", why);
	if (header.fds > RECORD_FDS_MAX || header.fds > reader->fd_count - reader->fd_next)
		return refuse("a record has more file descriptors than there are", why);
	*ret_record = (struct handover_record){
		.what = header.what,
		.bytes = header.bytes,
		.payload = reader->at + sizeof(header),
		.fd_first = reader->fd_next,
		.fd_count = header.fds,
	};
	reader->fd_next += header.fds;
	reader->at += sizeof(header) + header.bytes;
	reader->left -= sizeof(header) + header.bytes;
	return 1;
}

/* ---- to write ---- */

static void add_bytes(struct handover_writer *writer, const void *data, size_t bytes)
{
	if (writer->err || !bytes)
		return;
	if (bytes > HANDOVER_BYTES_MAX - writer->bytes) {
		writer->err = -E2BIG;
		return;
	}
	if (writer->bytes + bytes > writer->room) {
		size_t room = (writer->bytes + bytes) * 2;
		uint8_t *larger = realloc(writer->data, room);

		if (!larger) {
			writer->err = -ENOMEM;
			return;
		}
		writer->data = larger;
		writer->room = room;
	}
	memcpy(writer->data + writer->bytes, data, bytes);
	writer->bytes += bytes;
}

static void add_fds(struct handover_writer *writer, const int *fds, unsigned count)
{
	if (writer->err || !count)
		return;
	if (count > HANDOVER_FDS_MAX - writer->fd_count) {
		writer->err = -E2BIG;
		return;
	}
	if (writer->fd_count + count > writer->fd_room) {
		unsigned room = (writer->fd_count + count) * 2;
		int *larger = realloc(writer->fds, room * sizeof(*larger));

		if (!larger) {
			writer->err = -ENOMEM;
			return;
		}
		writer->fds = larger;
		writer->fd_room = room;
	}
	memcpy(writer->fds + writer->fd_count, fds, count * sizeof(*fds));
	writer->fd_count += count;
}

void handover_begin(struct handover_writer *writer, uint32_t transport)
{
	const struct header header = { .version = HANDOVER_VERSION, .transport = transport };

	*writer = (struct handover_writer){ .transport = transport };
	add_bytes(writer, &header, sizeof(header));
}

void handover_add(struct handover_writer *writer, uint32_t what, const void *payload, size_t bytes, const int *fds, unsigned fd_count)
{
	const struct record_header header = { what, fd_count, (uint32_t)bytes };

	if (bytes > HANDOVER_BYTES_MAX) {
		writer->err = -E2BIG;
		return;
	}
	add_bytes(writer, &header, sizeof(header));
	add_bytes(writer, payload, bytes);
	add_fds(writer, fds, fd_count);
}

int handover_end(struct handover_writer *writer)
{
	struct header header = { .version = HANDOVER_VERSION, .transport = writer->transport };

	if (writer->err)
		return writer->err;
	memcpy(header.magic, magic, sizeof(magic));
	header.bytes = (uint32_t)(writer->bytes - sizeof(header));
	header.fds = writer->fd_count;
	memcpy(writer->data, &header, sizeof(header));
	return 0;
}

void handover_free(struct handover_writer *writer)
{
	free(writer->data);
	free(writer->fds);
	*writer = (struct handover_writer){ 0 };
}
