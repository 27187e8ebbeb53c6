/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What a successor needs when this process is killed. The kernel keeps the device, what the driver has set up, and the
 * messages that have not been answered; it does not keep what it was made with, nor how far a ring has come. A split
 * ring tells the latter itself, by its used index; for a packed ring there is a record per queue here, to which the worker
 * writes a burst before it touches the ring (lib/ring/record.c): a burst that had not been shown is shown by the
 * successor. Chains that were popped and not pushed are popped again.
 *
 * Of a device that completes chains out of order nothing but a list tells which are done: then the record of each queue, of either
 * format, is a ledger of what is in flight (lib/ring/ledger.c). Until all of it has been popped again, the device is not
 * suspended: a place in the ring would not tell of it.
 *
 * The file is shared memory: whatever was stored before the kill is there, in the order in which it was stored. A lock
 * on it keeps two programs apart. What is found in it stays as it is until the device is known to be ours.
 */

#define STATE_MAGIC UINT64_C(0x3430736475766976) /* changes with the layout */
#define STATE_FOLDER "/run/vireo"
#define OPENS_MAX 10u

struct vduse_state_file {
	uint64_t magic; /* written last */
	uint64_t features, api, vduse_features;
	uint32_t device_id, queue_count, queue_size, config_bytes;
	uint32_t suspended, out_of_order;
	uint8_t once[VDUSE_ONCE_BYTES]; /* see vduse_once(); all zero: not known */
	uint8_t records[]; /* one per queue, each device_queue_record_bytes() long */
};

_Static_assert(sizeof(struct vduse_state_file) % 64 == 0, "records begin with a cache line: workers share none");

/* A file of our own; one that somebody else has laid there is not touched. -EAGAIN: it is another one by now. */
static int state_file_check(struct vduse_state *state)
{
	struct stat st;

	if (flock(state->fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(state->fd, &st))
		return -errno;
	if (!st.st_nlink) /* whoever had it open has ended in between */
		return -EAGAIN;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1)
		return -ELOOP;
	state->found_bytes = (size_t)st.st_size;
	return 0;
}

static int state_file_open(struct vduse_state *state)
{
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < OPENS_MAX; i++) {
		state->fd = open(state->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (state->fd < 0)
			return -errno;
		r = state_file_check(state);
		if (r)
			fd_close(&state->fd);
	}
	return r;
}

static int state_map(struct vduse_state *state)
{
	void *at = mmap(NULL, state->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, state->fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	state->file = at;
	return 0;
}

int vduse_state_open(struct vduse_state *state, const char *folder, const char *name, const struct vduse_key *key)
{
	int n, r;

	if (!folder)
		folder = STATE_FOLDER;
	n = snprintf(state->path, sizeof(state->path), "%s/vduse-%s", folder, name);
	if (n < 0 || (size_t)n >= sizeof(state->path))
		return -ENAMETOOLONG;
	if (mkdir(folder, 0755) && errno != EEXIST)
		return -errno;
	state->record_bytes = key->record_bytes;
	state->bytes = sizeof(*state->file) + key->queue_count * state->record_bytes;
	r = state_file_open(state);
	if (!r && state->found_bytes == state->bytes)
		r = state_map(state);
	if (r)
		fd_close(&state->fd);
	return r;
}

static bool matches_but_features(const struct vduse_state_file *f, const struct vduse_key *key)
{
	return f && f->magic == STATE_MAGIC && f->device_id == key->device_id && f->queue_count == key->queue_count &&
	       f->queue_size == key->queue_size && f->out_of_order == key->out_of_order && f->config_bytes == key->config_bytes &&
	       f->api <= VDUSE_WIRE_API_MAX;
}

static void key_found(struct vduse_key *key, const struct vduse_state_file *f)
{
	key->features = f->features;
	key->api = f->api;
	key->vduse_features = f->vduse_features;
}

bool vduse_state_matches(const struct vduse_state *state, struct vduse_key *key)
{
	const struct vduse_state_file *f = state->file;

	if (!matches_but_features(f, key) || f->features != key->features)
		return false;
	key_found(key, f);
	return true;
}

bool vduse_state_is_older(const struct vduse_state *state, struct vduse_key *key)
{
	const struct vduse_state_file *f = state->file;

	if (!matches_but_features(f, key) || f->features & ~key->features || key->features & ~f->features & ~key->newer)
		return false;
	key_found(key, f);
	return true;
}

bool vduse_state_begun(const struct vduse_state *state)
{
	return state->file ? state->file->magic == STATE_MAGIC : state->found_bytes;
}

/* All of it is there at once: a page that is missing later would be a SIGBUS. */
static int state_resize(struct vduse_state *state)
{
	if (ftruncate(state->fd, 0))
		return -errno;
	return -posix_fallocate(state->fd, 0, (off_t)state->bytes);
}

int vduse_state_begin(struct vduse_state *state, const struct vduse_key *key)
{
	struct vduse_state_file *f;
	int r = 0;

	if (!state->file)
		r = state_resize(state);
	if (!r && !state->file)
		r = state_map(state);
	if (r)
		return r;
	f = state->file;
	assert(f);
	__atomic_store_n(&f->magic, 0, __ATOMIC_RELAXED);
	memset(f, 0, state->bytes);
	f->features = key->features;
	f->api = key->api;
	f->vduse_features = key->vduse_features;
	f->device_id = key->device_id;
	f->queue_count = key->queue_count;
	f->queue_size = key->queue_size;
	f->config_bytes = key->config_bytes;
	f->out_of_order = key->out_of_order;
	__atomic_store_n(&f->magic, STATE_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

void *vduse_state_record(const struct vduse_state *state, unsigned queue)
{
	return state->file->records + queue * state->record_bytes;
}

void vduse_state_suspended_set(const struct vduse_state *state, bool suspended)
{
	__atomic_store_n(&state->file->suspended, suspended, __ATOMIC_RELAXED);
}

bool vduse_state_suspended(const struct vduse_state *state)
{
	return state->file->suspended;
}

void vduse_state_once_set(const struct vduse_state *state, const uint8_t once[VDUSE_ONCE_BYTES])
{
	memcpy(state->file->once, once, VDUSE_ONCE_BYTES);
}

bool vduse_state_once_differs(const struct vduse_state *state, const uint8_t once[VDUSE_ONCE_BYTES])
{
	static const uint8_t unknown[VDUSE_ONCE_BYTES];

	return memcmp(state->file->once, unknown, VDUSE_ONCE_BYTES) != 0 && memcmp(state->file->once, once, VDUSE_ONCE_BYTES) != 0;
}

void vduse_state_close(struct vduse_state *state, bool keep)
{
	if (state->fd < 0)
		return;
	if (state->file)
		munmap(state->file, state->bytes);
	state->file = NULL;
	if (!keep)
		unlink(state->path); /* before the lock goes */
	fd_close(&state->fd);
}
