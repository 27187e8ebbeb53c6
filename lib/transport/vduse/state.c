/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
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
 * ring tells the latter itself, by its used index; for a packed ring there is a word per queue here, which the worker
 * that publishes a burst writes before it (ring_setup.record). Chains that were popped and not shown as used are
 * popped again.
 *
 * The file is shared memory: whatever was stored before the kill is there, in the order in which it was stored. A lock
 * on it keeps two programs apart.
 */

#define STATE_MAGIC UINT64_C(0x3130736475766976) /* changes with the layout */
#define STATE_FOLDER "/run/vireo"

struct vduse_state_file {
	uint64_t magic; /* written last */
	uint64_t features, api, vduse_features;
	uint32_t device_id, queue_count, queue_size, config_bytes;
	uint32_t suspended, reserved;
	uint32_t records[];
};

/* A file of our own, of the right length; one that somebody else has laid there is not touched. */
static int state_file_check(int fd, size_t bytes)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1)
		return -EPERM;
	if (st.st_size == (off_t)bytes)
		return 0;
	/* Another layout, or another number of queues: empty is no state. */
	return ftruncate(fd, 0) || ftruncate(fd, (off_t)bytes) ? -errno : 0;
}

static int state_map(struct vduse_state *state)
{
	int r = state_file_check(state->fd, state->bytes);
	void *at;

	if (r)
		return r;
	at = mmap(NULL, state->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, state->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	state->file = at;
	return 0;
}

int vduse_state_open(struct vduse_state *state, const char *folder, const char *name, unsigned queue_count)
{
	int n, r;

	if (!folder)
		folder = STATE_FOLDER;
	n = snprintf(state->path, sizeof(state->path), "%s/vduse-%s", folder, name);
	if (n < 0 || (size_t)n >= sizeof(state->path))
		return -ENAMETOOLONG;
	if (mkdir(folder, 0755) && errno != EEXIST)
		return -errno;
	state->bytes = sizeof(*state->file) + queue_count * sizeof(state->file->records[0]);
	state->fd = open(state->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (state->fd < 0)
		return -errno;
	r = state_map(state);
	if (r)
		fd_close(&state->fd);
	return r;
}

bool vduse_state_matches(const struct vduse_state *state, struct vduse_key *key)
{
	const struct vduse_state_file *f = state->file;

	if (f->magic != STATE_MAGIC || f->features != key->features || f->device_id != key->device_id ||
	    f->queue_count != key->queue_count || f->queue_size != key->queue_size ||
	    f->config_bytes != key->config_bytes || f->api > VDUSE_WIRE_API_MAX)
		return false;
	key->api = f->api;
	key->vduse_features = f->vduse_features;
	return true;
}

bool vduse_state_begun(const struct vduse_state *state)
{
	return state->file->magic == STATE_MAGIC;
}

void vduse_state_begin(struct vduse_state *state, const struct vduse_key *key)
{
	struct vduse_state_file *f = state->file;

	__atomic_store_n(&f->magic, 0, __ATOMIC_RELAXED);
	memset(f, 0, state->bytes);
	f->features = key->features;
	f->api = key->api;
	f->vduse_features = key->vduse_features;
	f->device_id = key->device_id;
	f->queue_count = key->queue_count;
	f->queue_size = key->queue_size;
	f->config_bytes = key->config_bytes;
	__atomic_store_n(&f->magic, STATE_MAGIC, __ATOMIC_RELEASE);
}

uint32_t *vduse_state_record(const struct vduse_state *state, unsigned queue)
{
	return &state->file->records[queue];
}

void vduse_state_suspended_set(const struct vduse_state *state, bool suspended)
{
	__atomic_store_n(&state->file->suspended, suspended, __ATOMIC_RELAXED);
}

bool vduse_state_suspended(const struct vduse_state *state)
{
	return state->file->suspended;
}

void vduse_state_close(struct vduse_state *state, bool keep)
{
	if (!state->file)
		return;
	munmap(state->file, state->bytes);
	state->file = NULL;
	if (!keep)
		unlink(state->path); /* before the lock goes */
	fd_close(&state->fd);
}
