/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "base/fd.h"
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <string.h>

/*
 * Ioctls about one ring. The kernel's vhost runs a ring while it has a back end (NET_SET_BACKEND); here the
 * device's queue is enabled for as long. Its size and base cannot be changed then; the other ioctls find it
 * quiet, and it goes on afterwards.
 */

/* NULL: there is none of this index. */
static const struct vireo_queue *ring_find(const struct opener *opener, uint32_t index, const char **why)
{
	const struct vireo_queue *queue = vireo_device_queue(opener->device, index);

	if (!queue)
		*why = "no such ring";
	return queue;
}

/* 0: the ring is there, and has no back end. */
static int ring_idle(const struct opener *opener, uint32_t index, const char **why)
{
	const struct vireo_queue *queue = ring_find(opener, index, why);

	if (!queue)
		return -ENOBUFS;
	return vireo_queue_enabled(queue) ? refuse(-EBUSY, "the ring has a back end", why) : 0;
}

static struct vhost_vring_state take_state(const struct request *request)
{
	struct vhost_vring_state state;

	memcpy(&state, request->in, sizeof(state));
	return state;
}

int ioctl_set_vring_num(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);
	int r = ring_idle(opener, state.index, why);

	return r ? r
		 : refuse(device_queue_size_set(opener->device, state.index, state.num), "not a ring's size",
			  why);
}

int ioctl_set_vring_addr(struct opener *opener, const struct request *request, void *out, const char **why)
{
	const struct vireo_queue *queue;
	struct vhost_vring_addr addr;

	memcpy(&addr, request->in, sizeof(addr));
	queue = ring_find(opener, addr.index, why);
	if (!queue)
		return -ENOBUFS;
	if (addr.flags)
		return refuse(-EOPNOTSUPP, "writes to the ring are not logged", why);
	if (addr.desc_user_addr & 15 || addr.avail_user_addr & 1 || addr.used_user_addr & 3)
		return refuse(-EINVAL, "the ring is misaligned", why);
	/* A ring without a back end is checked when it gets one. */
	if (vireo_queue_enabled(queue) &&
	    device_queue_address_check(opener->device, addr.index, addr.desc_user_addr, addr.avail_user_addr,
				       addr.used_user_addr, why))
		return -EINVAL;
	return refuse(device_queue_address_set(opener->device, addr.index, addr.desc_user_addr,
					       addr.avail_user_addr, addr.used_user_addr),
		      "not a ring's addresses", why);
}

int ioctl_set_vring_base(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);
	int r = ring_idle(opener, state.index, why);

	return r ? r
		 : refuse(device_queue_base_set(opener->device, state.index, state.num), "not a ring's base",
			  why);
}

/* Asks only: the kernel's ring goes on after it. */
int ioctl_get_vring_base(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);

	if (!ring_find(opener, state.index, why))
		return -ENOBUFS;
	device_queue_base(opener->device, state.index, &state.num);
	memcpy(out, &state, sizeof(state));
	return 0;
}

/* ---- KICK, CALL, ERR ---- */

typedef int queue_fd_verb(struct vireo_device *device, uint32_t index, int fd);

static int set_fd(struct opener *opener, const struct request *request, queue_fd_verb *verb, const char **why)
{
	struct vhost_vring_file file;
	int fd = -1, r;

	memcpy(&file, request->in, sizeof(file));
	if (!ring_find(opener, file.index, why))
		return -ENOBUFS;
	r = file.fd == VHOST_FILE_UNBIND ? 0 : caller_eventfd(opener->owner, file.fd, &fd, why);
	if (r)
		return r;
	if (fd >= 0 && !fd_is_eventfd(fd)) { /* it was when it was looked at */
		drop_fd(opener->endpoint->drop, &fd);
		return refuse(-EINVAL, "the caller changes its fds meanwhile", why);
	}
	r = verb(opener->device, file.index, fd);
	if (r)
		drop_fd(opener->endpoint->drop, &fd);
	return refuse(r, "not an eventfd", why);
}

/*
 * None: the kernel stops looking for what the ring's driver has made available, and so the ring stands still
 * here until it has a kick again, back end or not. (The kernel would go on filling a receive ring; here its
 * frames are dropped.) It is not the polling that vhost-user means by the same number.
 */
static int kick_set(struct vireo_device *device, uint32_t index, int fd)
{
	uint32_t base;

	return fd < 0 ? device_queue_stop(device, index, &base) : device_queue_kick_set(device, index, fd);
}

int ioctl_set_vring_kick(struct opener *opener, const struct request *request, void *out, const char **why)
{
	return set_fd(opener, request, kick_set, why);
}

int ioctl_set_vring_call(struct opener *opener, const struct request *request, void *out, const char **why)
{
	return set_fd(opener, request, device_queue_call_set, why);
}

int ioctl_set_vring_err(struct opener *opener, const struct request *request, void *out, const char **why)
{
	return set_fd(opener, request, device_queue_error_set, why);
}

/* ---- byte order ---- */

int ioctl_set_vring_endian(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);
	int r = ring_idle(opener, state.index, why);

	if (r || state.num == VHOST_VRING_LITTLE_ENDIAN)
		return r;
	return state.num == VHOST_VRING_BIG_ENDIAN ? refuse(-EOPNOTSUPP, "rings are little-endian here", why)
						   : refuse(-EINVAL, "not a byte order", why);
}

int ioctl_get_vring_endian(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);

	if (!ring_find(opener, state.index, why))
		return -ENOBUFS;
	state.num = VHOST_VRING_LITTLE_ENDIAN;
	memcpy(out, &state, sizeof(state));
	return 0;
}

/* ---- busy loop ---- */

/*
 * How long the kernel's worker goes on looking before it sleeps. Whoever owns our queue polls by a measure of
 * its own, so this is kept as the wish that it is, and told when asked for.
 */
int ioctl_set_busyloop(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);

	if (!ring_find(opener, state.index, why))
		return -ENOBUFS;
	opener->busyloop_us[state.index] = state.num;
	return 0;
}

int ioctl_get_busyloop(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_state state = take_state(request);

	if (!ring_find(opener, state.index, why))
		return -ENOBUFS;
	state.num = opener->busyloop_us[state.index];
	memcpy(out, &state, sizeof(state));
	return 0;
}

/* ---- start and stop ---- */

/*
 * The fd is the tap or packet socket behind the kernel's ring. Behind ours is the device, so of the fd we ask
 * only that it is one, and that it is not -1: that stops the ring.
 */
int ioctl_net_set_backend(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_vring_file file;
	int r;

	memcpy(&file, request->in, sizeof(file));
	if (!ring_find(opener, file.index, why))
		return -ENOBUFS;
	if (file.fd != VHOST_FILE_UNBIND) {
		r = caller_has_fd(opener->owner, file.fd, why);
		if (r)
			return r;
		r = device_queue_check(opener->device, file.index, why);
		if (r)
			return r;
	}
	return device_queue_enable(opener->device, file.index, file.fd != VHOST_FILE_UNBIND);
}
