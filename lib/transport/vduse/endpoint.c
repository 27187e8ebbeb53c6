/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/system.h"
#include "vireo/endpoint.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Theory of operation: one device at the kernel, and the kernel is its only peer.
 *
 *	made or taken over -> started -> (attached to the vdpa bus) -> closing -> closed -> (taken off) -> gone
 *
 * Open makes all that can fail for want of a module, a permission or a name. The rest waits for the first turn of the
 * loop: the session with the device begins, a predecessor's queues run again, and the device is put on the bus, if it is
 * to be. Whether a predecessor's driver was done (DRIVER_OK) the kernel tells: only then does it take an interrupt for a
 * change of config space, which does no harm.
 *
 * Close makes all queues quiet and lets nothing run any more, but goes on answering while the device is taken off the
 * bus. Then it is destroyed, unless somebody else has put it to use: then it stays, with its file, for a successor. So it
 * does where a program has the character device of vhost_vdpa open: that program cannot be made to let go.
 */

#define QUEUE_SIZE_DEFAULT 256u
#define STATUS_RUNNING                                                                                       \
	(VIREO_STATUS_ACKNOWLEDGE | VIREO_STATUS_DRIVER | VIREO_STATUS_FEATURES_OK | VIREO_STATUS_DRIVER_OK)

static struct vduse *vduse_of(struct vireo_endpoint *base)
{
	return container_of(base, struct vduse, base);
}

static const struct vduse *vduse_of_const(const struct vireo_endpoint *base)
{
	return (const struct vduse *)base;
}

static void vduse_free(struct vduse *v)
{
	assert(!v->aside);
	vduse_session_free(v);
	vduse_queues_free(v);
	if (v->turn_timer)
		loop_timer_free(&v->turn_timer);
	fd_close(&v->fd);
	vduse_umem_drop(v);
	loop_free(v->loop);
	drop_unref(v->drop);
	free(v);
}

/* ---- the end ---- */

/* Where it stays behind, a successor may take it over. */
static bool left_behind(struct vduse *v)
{
	int r;

	fd_close(&v->fd);
	r = vduse_destroy(v);
	if (r == -EBUSY)
		log_info(device_log(v->device), "%s: /dev/vduse/%s is in use, and stays for a successor",
			 device_name(v->device), v->name);
	else if (r)
		log_warning(device_log(v->device), "%s: /dev/vduse/%s cannot be destroyed: %s",
			    device_name(v->device), v->name, system_errno_text(-r));
	return r;
}

static void gone(struct vduse *v)
{
	void (*done)(void *opaque) = v->done;
	void *opaque = v->done_opaque;

	if (v->started)
		device_session_end(v->device);
	device_detach(v->device);
	vduse_session_free(v);
	vduse_state_close(&v->state, left_behind(v));
	if (done)
		done(opaque);
	vduse_free(v); /* with the fd that the caller has watched until now */
}

/* A program's driver, which we know of without asking the kernel. */
static bool program_at_it(const struct vduse *v)
{
	return v->attach == VIREO_ATTACH_VHOST && (v->status & VIREO_STATUS_DRIVER);
}

void vduse_close_go_on(struct vduse *v)
{
	bool attached = v->attached;

	if (!v->closed || v->busy || v->aside)
		return;
	v->attached = false;
	if (attached && !program_at_it(v) && !vduse_attach(v, false))
		return;
	gone(v);
}

/* ---- the bus ---- */

/* What this leads to is still answered. */
static void attach_failed(struct vduse *v, int err)
{
	log_error(device_log(v->device), "%s: vduse:%s cannot be attached to %s: %s", device_name(v->device), v->name,
		  vduse_driver(v->attach), system_errno_text(-err));
	v->failed = err;
	loop_timer_start(v->turn_timer, 0);
}

void vduse_aside_done(struct vduse *v, bool add, int result)
{
	if (add && result)
		attach_failed(v, result);
	else if (result && result != -EBUSY) /* that is told when it stays */
		log_warning(device_log(v->device), "%s: vduse:%s cannot be taken off the vdpa bus: %s",
			    device_name(v->device), v->name, system_errno_text(-result));
	else if (add)
		log_info(device_log(v->device), "%s: vduse:%s attached to %s", device_name(v->device), v->name,
			 vduse_driver(v->attach));
	if (add)
		v->attached = true; /* perhaps half of it */
	vduse_run(v);
}

/* ---- the beginning ---- */

/* The kernel's config space is the new one; the driver has read the old one. */
static void changes_tell(struct vduse *v)
{
	uint8_t once[VDUSE_ONCE_BYTES];
	const char *what = vduse_once(v->device, once);

	if (what && vduse_state_once_differs(&v->state, once))
		log_warning(device_log(v->device),
			    "%s: /dev/vduse/%s: its driver goes on with the %s that it has read from the predecessor: only a driver that "
			    "begins anew takes another: remove the device, and offer it again",
			    device_name(v->device), v->name, what);
}

/* A predecessor's driver is served on as if nothing had been. */
static void take_over(struct vduse *v)
{
	int r = vduse_ioctl(v, VDUSE_WIRE_INJECT_CONFIG_IRQ, NULL);
	const char *why = "";

	if (r == -EPERM) { /* all that it says from then on */
		vduse_lose(v, r, "the kernel has given it up, its predecessor has answered too late");
		v->attached = v->attach; /* once it is off the bus it can be made anew */
		return;
	}
	if (r) {
		log_info(device_log(v->device), "%s: /dev/vduse/%s taken over, no driver is at it",
			 device_name(v->device), v->name);
		return;
	}
	v->suspended = vduse_state_suspended(&v->state);
	v->status = STATUS_RUNNING;
	log_info(device_log(v->device), "%s: /dev/vduse/%s taken over, its driver goes on", device_name(v->device),
		 v->name);
	changes_tell(v);
	if (vduse_start(v, true, &why) || (v->suspended && vduse_suspended_recover(v, &why))) {
		vireo_device_break(v->device, why);
		return;
	}
	device_status_set(v->device, v->status);
	vduse_resume(v);
}

static void start(void *opaque)
{
	struct vduse *v = opaque;
	int r = 0;

	if (v->started) { /* vduse_dispatch() has what is to be told */
		vduse_run(v);
		return;
	}
	v->started = true;
	v->busy = true;
	device_session_begin(v->device);
	device_status_required(v->device, true);
	if (v->taken && !v->close_due)
		take_over(v);
	if (v->attach && !v->close_due && !v->lost)
		r = vduse_attach(v, true);
	v->busy = false;
	if (r)
		attach_failed(v, r);
	vduse_run(v);
}

/* ---- what the device tells ---- */

static void device_config_changed(void *opaque)
{
	struct vduse *v = opaque;

	if (!v->lost && !vduse_config_write(v))
		vduse_config_signal(v);
}

static bool device_config_is_told(void *opaque)
{
	const struct vduse *v = opaque;

	return !v->lost && v->status & VIREO_STATUS_DRIVER_OK;
}

static void device_broken(void *opaque, const char *why)
{
	struct vduse *v = opaque;

	v->break_due = true;
	vduse_run(v);
}

static void device_missed(void *opaque)
{
	struct vduse *v = opaque;

	v->miss_due = true;
	vduse_run(v);
}

static const struct device_transport vduse_transport = {
	.config_changed = device_config_changed,
	.config_told = device_config_is_told,
	.broken = device_broken,
	.signal = vduse_signal,
	.missed = device_missed,
};

/* ---- what the caller asks ---- */

static bool name_valid(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= VDUSE_NAME_BYTES || !isalnum((unsigned char)*name) || !strcmp(name, "control"))
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			return false;
	return true;
}

/* A split queue's size is a power of two (virtio 1.3, 2.7), and nobody knows yet which kind the driver takes. */
static int config_check(struct vduse *v, const struct vireo_endpoint_config *config)
{
	uint32_t size = config->vduse.queue_size ? config->vduse.queue_size :
					     min_u32(QUEUE_SIZE_DEFAULT, device_queue_size_max(v->device));

	if (size > device_queue_size_max(v->device) || (size & (size - 1)))
		return -EINVAL;
	if (config->vduse.attach > VIREO_ATTACH_VHOST || (config->vduse.attach && !config->run_aside))
		return -EINVAL;
	v->key.queue_size = size;
	v->attach = config->vduse.attach;
	v->run_aside = config->run_aside;
	v->run_opaque = config->run_opaque;
	v->key.out_of_order = device_out_of_order(v->device);
	v->key.record_bytes = device_queue_record_bytes(v->device, size);
	return vduse_offer(v->device, &v->key);
}

/* What can fail before the device is attached. */
static int prepare(struct vduse *v, const struct vireo_endpoint_config *config)
{
	int r = config_check(v, config);

	if (!r)
		r = endpoint_drop_new(config, false, &v->drop);
	if (!r)
		r = loop_new(&v->loop);
	if (!r)
		r = vduse_session_new(v);
	if (!r)
		r = vduse_queues_new(v);
	if (!r)
		r = loop_timer_new(v->loop, start, v, &v->turn_timer);
	if (!r)
		r = vduse_control_check(v);
	if (!r && v->attach)
		r = v->kernel.bus_check(v->kernel.opaque, vduse_driver(v->attach));
	if (!r)
		r = vduse_state_open(&v->state, config->vduse.state_folder, v->name, &v->key);
	if (r)
		return r;
	r = vduse_create(v, &v->taken);
	if (r)
		vduse_state_close(&v->state, vduse_state_begun(&v->state));
	else
		vduse_session_patience(v);
	return r;
}

int vduse_open_on(struct vireo_device *device, const char *name, const struct vireo_endpoint_config *config,
		  const struct vduse_kernel *kernel, struct vireo_endpoint **ret_endpoint)
{
	struct vduse *v;
	int r;

	if (!name_valid(name))
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->base.ops = &vduse_endpoint_ops;
	v->kernel = *kernel;
	v->device = device;
	v->fd = v->umem.fd = v->signal_event_fd = v->state.fd = -1;
	memcpy(v->name, name, strlen(name));
	r = prepare(v, config);
	if (!r) {
		r = device_attach(device, v->loop, &vduse_transport, v);
		if (r)
			vduse_state_close(&v->state, left_behind(v));
	}
	if (r) {
		vduse_free(v);
		return r;
	}
	device_drop_set(device, v->drop);
	device_disks_permit(device, config->files == VIREO_FILES_ANY);
	loop_timer_start(v->turn_timer, 0);
	*ret_endpoint = &v->base;
	return 0;
}

static int vduse_open(struct vireo_device *device, const char *where, const struct vireo_endpoint_config *config,
		      struct vireo_endpoint **ret_endpoint)
{
	return vduse_open_on(device, where, config, &vduse_kernel_real, ret_endpoint);
}

static int vduse_fd(const struct vireo_endpoint *base)
{
	return loop_fd(vduse_of_const(base)->loop);
}

/* Closing frees it inside, so a loss is told on the next turn. */
static int vduse_dispatch(struct vireo_endpoint *base)
{
	struct vduse *v = vduse_of(base);
	int lost = v->closing ? 0 : v->lost ? v->lost : v->failed;
	int r = loop_dispatch(v->loop, 0);

	return r < 0 ? r : lost;
}

/* The kernel is always there; a driver is what counts. */
static bool vduse_connected(const struct vireo_endpoint *base)
{
	const struct vduse *v = vduse_of_const(base);

	return !v->lost && (v->status & VIREO_STATUS_DRIVER);
}

static void vduse_close(struct vireo_endpoint *base, void (*done)(void *opaque), void *opaque)
{
	struct vduse *v = vduse_of(base);

	assert(!v->closing);
	v->closing = true;
	v->done = done;
	v->done_opaque = opaque;
	v->close_due = true;
	if (v->started) {
		vduse_run(v);
		return;
	}
	v->closed = true;
	vduse_close_go_on(v);
}

const struct endpoint_ops vduse_endpoint_ops = {
	.prefix = "vduse:",
	.open = vduse_open,
	.fd = vduse_fd,
	.dispatch = vduse_dispatch,
	.connected = vduse_connected,
	.close = vduse_close,
};
