/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent reservations as a text, a line for each fact, for who keeps them over the end of the process
 * (APTPL). The text says of which unit they are (VPD page 83), so that another disk of the same name does not
 * get them; a text without that line is one of before, and is taken.
 */
#include "scsi/internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <libgen.h>
#include <unistd.h>

#define VERSION "vireo-reservations 1\n"

void scsi_keep_write(const struct scsi_reservations *r, uint64_t naa, char *text)
{
	size_t n = (size_t)snprintf(text, SCSI_KEEP_BYTES, VERSION "unit naa.%016" PRIx64 "\ngeneration %" PRIu32 "\n", naa,
				    r->generation);

	if (r->type)
		n += (size_t)snprintf(text + n, SCSI_KEEP_BYTES - n, "reserved %u %016" PRIx64 " %u\n", r->type, r->holder.initiator,
				      r->holder.port);
	for (unsigned i = 0; i < r->count; i++) {
		const struct scsi_registrant *one = &r->registrants[i];

		n += (size_t)snprintf(text + n, SCSI_KEEP_BYTES - n, "key %016" PRIx64 " %016" PRIx64 " %u\n", one->key,
				      one->nexus.initiator, one->nexus.port);
	}
}

/* ---- reading ---- */

static bool type_valid(unsigned type)
{
	return type == RESERVE_WRITE || type == RESERVE_EXCLUSIVE || (type >= RESERVE_WRITE_REGISTRANTS && type <= RESERVE_EXCLUSIVE_ALL);
}

static bool line_read(const char *line, struct scsi_reservations *r)
{
	struct scsi_registrant one;
	struct scsi_nexus holder;
	unsigned type;
	int end = 0;

	if (sscanf(line, "generation %" SCNu32 "%n", &r->generation, &end) == 1)
		return line[end] == '\n';
	if (sscanf(line, "reserved %u %" SCNx64 " %" SCNu16 "%n", &type, &holder.initiator, &holder.port, &end) == 3) {
		r->type = (uint8_t)type;
		r->holder = holder;
		return line[end] == '\n' && type_valid(type);
	}
	if (sscanf(line, "key %" SCNx64 " %" SCNx64 " %" SCNu16 "%n", &one.key, &one.nexus.initiator, &one.nexus.port, &end) != 3)
		return false;
	if (r->count == SCSI_REGISTRANTS_MAX || !one.key || scsi_registrant(r, &one.nexus))
		return false;
	r->registrants[r->count++] = one;
	return line[end] == '\n';
}

/* 1: it is such a line; 0: it is another one; -ESTALE: it names another unit. */
static int unit_line_read(const char *line, uint64_t naa)
{
	uint64_t found;
	int end = 0;

	if (sscanf(line, "unit naa.%" SCNx64 "%n", &found, &end) != 1 || line[end] != '\n')
		return 0;
	return found == naa ? 1 : -ESTALE;
}

/* Who has reserved is registered. */
static bool consistent(struct scsi_reservations *r)
{
	return !r->type || (r->count && (reservation_all_registrants(r->type) || scsi_registrant(r, &r->holder)));
}

int scsi_keep_read(const char *text, uint64_t naa, struct scsi_reservations *ret_reservations)
{
	struct scsi_reservations *r;
	int err = 0;

	if (strncmp(text, VERSION, strlen(VERSION)) != 0)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	for (const char *line = text + strlen(VERSION), *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		err = end ? unit_line_read(line, naa) : -EINVAL;
		if (!err && !line_read(line, r))
			err = -EINVAL;
		err = err > 0 ? 0 : err;
		if (err)
			break;
	}
	if (!err && !consistent(r))
		err = -EINVAL;
	r->kept = true;
	if (!err)
		*ret_reservations = *r;
	free(r);
	return err;
}

/* ---- a file ---- */

static int whole_write(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			left -= (size_t)n;
		}
	}
	return fsync(fd) ? -errno : 0;
}

/* What has been left there, or put there, is not written to: a link would lead elsewhere, a FIFO would wait for a reader. */
static int file_make(const char *path, const char *text)
{
	int fd, err;

	if (unlink(path) && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = whole_write(fd, text);
	if (close(fd) && !err)
		err = -errno;
	return err;
}

/* The folder knows the new name for good, too. */
static int folder_sync(const char *path)
{
	char copy[PATH_MAX];
	int fd, err;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

int scsi_keep_file(const char *path, const char *text)
{
	char new[PATH_MAX];
	int err;

	if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new))
		return -ENAMETOOLONG;
	err = file_make(new, text);
	if (!err && rename(new, path))
		err = -errno;
	if (err) {
		unlink(new);
		return err;
	}
	return folder_sync(path);
}
