/* SPDX-License-Identifier: BSD-3-Clause */
/* A request to a file or block device, done by system calls that wait. */
#include "disk/file.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define BOUNCE_BYTES (256u << 10)
#define ZEROES_BYTES (64u << 10)
#define ZEROES_PIECES 16u
#define PUNCH_STEP_BYTES (4u << 20)

/* ---- what was asked ---- */

int file_problem(const struct file_disk *file, const struct disk_request *r)
{
	uint64_t sum = 0;
	int err = disk_request_problem(&file->disk, r);

	if (!err && unlikely(file->zones))
		err = file_zones_problem(file, r);
	if (err || r->op > DISK_WRITE)
		return err;
	for (uint32_t i = 0; i < r->iov_count; i++)
		sum += r->iov[i].iov_len;
	return sum == r->bytes ? 0 : -EINVAL;
}

bool file_memory_unaligned(const struct file_disk *file, const struct disk_request *r)
{
	uintptr_t bits = 0;

	if (!file->direct)
		return false;
	for (uint32_t i = 0; i < r->iov_count; i++)
		bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
	return bits & (file->memory_align - 1);
}

/* ---- stable ---- */

/*
 * The kernel tells an error of writing back once; pages that it could not write count as clean from then on. So who has been
 * told must not believe any later flush: what was written before it may be gone.
 */
int file_synced(struct file_disk *file, int err)
{
	if (err)
		__atomic_store_n(&file->unsynced, true, __ATOMIC_RELAXED);
	return err;
}

bool file_unsynced(const struct file_disk *file)
{
	return __atomic_load_n(&file->unsynced, __ATOMIC_RELAXED);
}

static int do_flush(struct file_disk *file)
{
	if (file_unsynced(file))
		return -EIO;
	return file_synced(file, fdatasync(file->fd) ? -errno : 0);
}

/* ---- reading and writing ---- */

/* The pieces behind the first `skip` bytes. Returns how many. */
static unsigned iov_rest(const struct disk_request *r, uint64_t skip, struct iovec *ret_iov)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < r->iov_count && count < IOV_MAX; i++) {
		uint64_t len = r->iov[i].iov_len, part = min_u64(skip, len);

		skip -= part;
		if (part < len)
			ret_iov[count++] = (struct iovec){(char *)r->iov[i].iov_base + part, len - part};
	}
	return count;
}

/* All of it, at `offset`: 0 or -errno. */
static int transfer(struct file_disk *file, const struct disk_request *r, uint64_t done)
{
	int flags = r->op == DISK_WRITE && (r->flags & DISK_FUA) ? RWF_DSYNC : 0;
	bool touched = false;

	while (done < r->bytes) {
		struct iovec iov[IOV_MAX];
		int count = (int)iov_rest(r, done, iov);
		off_t offset = (off_t)(r->offset + done);
		ssize_t n = r->op == DISK_READ ? preadv2(file->fd, iov, count, offset, 0) :
						 pwritev2(file->fd, iov, count, offset, flags);

		if (n > 0) {
			done += (uint64_t)n;
		} else if (n == 0) {
			return -EIO; /* the file has become shorter than the disk */
		} else if (errno == EFAULT && file->disk.config.touch && !touched) {
			file->disk.config.touch(iov, (size_t)count);
			touched = true;
		} else if (errno != EINTR) {
			return flags ? file_synced(file, -errno) : -errno;
		}
	}
	return 0;
}

/* Between the buffer and the request's memory from `done` bytes on. */
static void bounce_copy(const struct disk_request *r, uint64_t done, uint8_t *buffer, size_t bytes)
{
	for (uint32_t i = 0; i < r->iov_count && bytes; i++) {
		uint64_t len = r->iov[i].iov_len, skip = min_u64(done, len);
		size_t part = min_u64(len - skip, bytes);
		uint8_t *at = (uint8_t *)r->iov[i].iov_base + skip;

		done -= skip;
		if (r->op == DISK_READ)
			memcpy(at, buffer, part);
		else
			memcpy(buffer, at, part);
		buffer += part;
		bytes -= part;
	}
}

/* The device cannot reach the memory as it lies there: by way of a buffer of ours. */
static int bounce(struct file_disk *file, const struct disk_request *r, uint64_t done)
{
	size_t room = min_u64(BOUNCE_BYTES, r->bytes);
	uint8_t *buffer = aligned_alloc(file->memory_align, align_up(room, file->memory_align));
	int err = 0;

	if (!buffer)
		return -ENOMEM;
	while (!err && done < r->bytes) {
		struct iovec iov = {buffer, min_u64(room, r->bytes - done)};
		struct disk_request part = {.op = r->op, .flags = r->flags, .offset = r->offset + done,
					    .bytes = iov.iov_len, .iov = &iov, .iov_count = 1};

		if (r->op == DISK_WRITE)
			bounce_copy(r, done, buffer, iov.iov_len);
		err = transfer(file, &part, 0);
		if (!err && r->op == DISK_READ)
			bounce_copy(r, done, buffer, iov.iov_len);
		done += iov.iov_len;
	}
	free(buffer);
	return err;
}

int file_transfer(struct file_disk *file, const struct disk_request *r, uint64_t done)
{
	return file_memory_unaligned(file, r) ? bounce(file, r, done) : transfer(file, r, done);
}

bool file_ended(struct file_disk *file, struct disk_request *r, int64_t result)
{
	if (r->op == DISK_FLUSH && result != -EINTR && result != -EAGAIN) {
		r->result = file_synced(file, (int)result);
		return true;
	}
	if (likely(result > 0 && (uint64_t)result == r->bytes)) {
		r->result = 0;
		if (file->map && r->op == DISK_WRITE)
			file_map_written(file->map, r->offset, r->bytes);
		return true;
	}
	if (result >= 0 || result == -EINTR || result == -EAGAIN || result == -EFAULT) {
		r->own[0] = result > 0 ? (uint64_t)result : 0;
		return false;
	}
	r->result = r->op == DISK_WRITE && (r->flags & DISK_FUA) ? file_synced(file, (int)result) : (int)result;
	return true;
}

static inline ssize_t pieces_move(const struct file_disk *file, const struct disk_request *r)
{
	if (r->op == DISK_READ)
		return preadv2(file->fd, r->iov, (int)r->iov_count, (off_t)r->offset, 0);
	return pwritev2(file->fd, r->iov, (int)r->iov_count, (off_t)r->offset, r->flags & DISK_FUA ? RWF_DSYNC : 0);
}

/* Most requests have one: the kernel takes in no list then, which is a tenth of what 4 KiB cost. */
static inline ssize_t piece_move(const struct file_disk *file, const struct disk_request *r)
{
	if (r->op == DISK_READ)
		return pread(file->fd, r->iov->iov_base, r->iov->iov_len, (off_t)r->offset);
	if (r->flags & DISK_FUA)
		return pieces_move(file, r);
	return pwrite(file->fd, r->iov->iov_base, r->iov->iov_len, (off_t)r->offset);
}

bool file_do_at_once(struct file_disk *file, struct disk_request *r)
{
	ssize_t n;

	if (file->map && r->op <= DISK_WRITE && likely(file_map_do(file->map, file, r))) {
		r->result = 0; /* FUA or not: it is where a flush would leave it */
		return true;
	}
	if (r->op == DISK_FLUSH)
		n = fdatasync(file->fd);
	else
		n = r->iov_count == 1 ? piece_move(file, r) : pieces_move(file, r);
	return file_ended(file, r, n < 0 ? -errno : n);
}

/* ---- zeroes and discards ---- */

static int allocate(const struct file_disk *file, int mode, const struct disk_request *r)
{
	int err;

	do
		err = fallocate(file->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)r->offset, (off_t)r->bytes) ? -errno : 0;
	while (err == -EINTR);
	return err;
}

/*
 * The kernel lets nobody write into a file of tmpfs, or fault in a page of the hole, until all of the hole is punched: 140 ms for each GiB. The queue's thread does
 * both (file_do_at_once()), and other disks' requests wait for it. So it is done in steps, between which others are let in.
 */
static int punch(struct file_disk *file, const struct disk_request *r)
{
	uint64_t step = file->at_once ? PUNCH_STEP_BYTES : UINT64_MAX / 2, end = r->offset + r->bytes;
	struct disk_request part = {.offset = r->offset};
	int err = 0;

	for (; !err && part.offset < end; part.offset += part.bytes) {
		part.bytes = min_u64(step - part.offset % step, end - part.offset);
		if (file->map)
			file_map_punched(file->map, part.offset, part.bytes);
		err = allocate(file, FALLOC_FL_PUNCH_HOLE, &part);
	}
	return err;
}

static bool cannot(int err)
{
	return err == -EOPNOTSUPP || err == -ENOSYS || err == -ENODEV || err == -ENOTTY;
}

static int write_zeroes(struct file_disk *file, const struct disk_request *r)
{
	static const uint8_t zeroes[ZEROES_BYTES] __attribute__((aligned(4096)));
	struct iovec iov[ZEROES_PIECES];
	int err = 0;

	for (uint64_t done = 0; !err && done < r->bytes;) {
		struct disk_request part = {.op = DISK_WRITE, .offset = r->offset + done, .iov = iov};

		while (part.iov_count < ZEROES_PIECES && done < r->bytes) {
			size_t len = min_u64(ZEROES_BYTES, r->bytes - done);

			iov[part.iov_count++] = (struct iovec){(void *)(uintptr_t)zeroes, len};
			part.bytes += len;
			done += len;
		}
		err = transfer(file, &part, 0);
	}
	return err;
}

static int do_zero(struct file_disk *file, const struct disk_request *r)
{
	bool unmap = file->discard && (r->flags & DISK_UNMAP);
	int err = unmap ? punch(file, r) : -EOPNOTSUPP;

	if (cannot(err))
		err = allocate(file, FALLOC_FL_ZERO_RANGE, r);
	if (cannot(err))
		err = write_zeroes(file, r);
	if (!err && (r->flags & DISK_FUA))
		err = do_flush(file);
	return err;
}

/* Advice: who cannot follow it does not fail. */
static int do_discard(struct file_disk *file, const struct disk_request *r)
{
	uint64_t range[] = {r->offset, r->bytes};
	int err;

	if (!file->discard)
		return 0;
	if (file->block_device)
		err = ioctl(file->fd, BLKDISCARD, range) ? -errno : 0;
	else
		err = punch(file, r);
	return cannot(err) ? 0 : err;
}

/* The kernel waits for the device, and keeps no page of it. */
static int do_erase(const struct file_disk *file, const struct disk_request *r)
{
	uint64_t range[] = {r->offset, r->bytes};

	return ioctl(file->fd, BLKSECDISCARD, range) ? -errno : 0;
}

static int do_op(struct file_disk *file, struct disk_request *r)
{
	int err;

	if (r->op == DISK_FLUSH)
		return do_flush(file);
	if (r->op == DISK_ZONE)
		return file_zones_do(file, r);
	if (!r->bytes)
		return 0;
	if (r->op == DISK_WRITE && file->zones)
		return file_zones_do(file, r);
	if (r->op == DISK_DISCARD)
		return do_discard(file, r);
	if (r->op == DISK_ZERO)
		return do_zero(file, r);
	if (r->op == DISK_ERASE)
		return do_erase(file, r);
	err = file_transfer(file, r, r->own[0]);
	if (!err && file->map && r->op == DISK_WRITE)
		file_map_written(file->map, r->offset, r->bytes);
	return err;
}

void file_do(void *file_disk, struct disk_request *r)
{
	r->result = do_op(file_disk, r);
}
