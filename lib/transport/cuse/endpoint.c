/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/loop.h"
#include "base/system.h"
#include "base/util.h"
#include "transport/cuse/cuse_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Theory of operation: a node, and a device for each open of it.
 *
 * With one device (given by vireo_endpoint_open()) there is one opener at a time. With devices of their own,
 * openers come and go as they like. Each stays linked until its queues are quiet, its device is given back
 * and its last request is answered.
 *
 * Closing: the node hears nothing any more, openers end, and with the last of them the node and the endpoint
 * go. Callers that still hold the node open get ENOTCONN from the kernel then.
 */

#define NAME_BYTES_MAX 64u

static struct cuse_endpoint *endpoint_of(struct vireo_endpoint *base)
{
	return container_of(base, struct cuse_endpoint, base);
}

static const struct cuse_endpoint *endpoint_of_const(const struct vireo_endpoint *base)
{
	return (const struct cuse_endpoint *)base;
}

const struct vireo_log *endpoint_log(const struct cuse_endpoint *endpoint)
{
	return endpoint->device ? device_log(endpoint->device) : &endpoint->config.log;
}

/* ---- openers ---- */

void endpoint_opener_add(struct cuse_endpoint *endpoint, struct opener *opener)
{
	assert(endpoint->opener_count < ENDPOINT_OPENERS_MAX);
	endpoint->opener_count++;
	opener->next = endpoint->openers;
	endpoint->openers = opener;
}

int endpoint_opener_new(struct cuse_endpoint *endpoint, struct opener **ret_opener)
{
	struct opener *opener;
	int r;

	if (endpoint->closing)
		return -ENODEV;
	if (endpoint->device && endpoint->openers)
		return -EBUSY;
	if (endpoint->opener_count >= ENDPOINT_OPENERS_MAX)
		return -EMFILE;
	if (endpoint->opened == UINT32_MAX) /* the next one's number would be another's, who may be there still */
		return -EOVERFLOW;
	r = opener_new(endpoint, endpoint->opened + 1, &opener);
	if (r)
		return r;
	endpoint->opened++;
	endpoint_opener_add(endpoint, opener);
	*ret_opener = opener;
	return 0;
}

struct opener *endpoint_opener(const struct cuse_endpoint *endpoint, uint64_t number)
{
	struct opener *opener = endpoint->openers;

	while (opener && opener->number != number)
		opener = opener->next;
	return opener;
}

int endpoint_device_take(struct cuse_endpoint *endpoint, struct opener *opener,
			 struct vireo_device **ret_device)
{
	const struct vireo_endpoint_opener who = {
		.size = sizeof(who),
		.number = opener->number,
		.process = opener->process,
		.device = opener->device_told,
	};
	struct vireo_device *device = endpoint->device;
	int r = device ? 0 : endpoint->config.cuse.device_new(endpoint->config.cuse.device_opaque, &who, &device);

	if (r)
		return r;
	r = device_attach(device, endpoint->loop, &opener_transport, opener);
	if (r && !endpoint->device && endpoint->config.cuse.device_gone)
		endpoint->config.cuse.device_gone(endpoint->config.cuse.device_opaque, device);
	if (r)
		return r;
	device_drop_set(device, endpoint->drop);
	device_disks_permit(device, endpoint->config.files == VIREO_FILES_ANY);
	device_files_keep(device, endpoint->config.cuse.handover);
	*ret_device = device;
	return 0;
}

unsigned endpoint_device_number(const struct cuse_endpoint *endpoint, const struct opener *opener)
{
	if (!opener->device || endpoint->device || !endpoint->config.cuse.device_number)
		return 0;
	return endpoint->config.cuse.device_number(endpoint->config.cuse.device_opaque, opener->device);
}

void endpoint_device_give(struct cuse_endpoint *endpoint, struct vireo_device *device)
{
	device_detach(device);
	if (!endpoint->device && endpoint->config.cuse.device_gone)
		endpoint->config.cuse.device_gone(endpoint->config.cuse.device_opaque, device);
}

/* ---- life ---- */

static void endpoint_free(struct cuse_endpoint *endpoint)
{
	handover_free(&endpoint->state);
	free(endpoint->target);
	free(endpoint->name);
	free(endpoint);
}

static void endpoint_gone(struct cuse_endpoint *endpoint)
{
	void (*done)(void *opaque) = endpoint->done;
	void *opaque = endpoint->done_opaque;

	assert(!endpoint->openers);
	node_free(endpoint->node);
	if (done)
		done(opaque);
	/* The fd that the caller may still be watching goes last. */
	loop_free(endpoint->loop);
	drop_unref(endpoint->drop);
	endpoint_free(endpoint);
}

void endpoint_opener_gone(struct cuse_endpoint *endpoint, struct opener *opener)
{
	struct opener **at = &endpoint->openers;

	while (*at != opener)
		at = &(*at)->next;
	*at = opener->next;
	endpoint->opener_count--;
	log_info(endpoint_log(endpoint), "%s: opener %u has gone", endpoint->name, opener->number);
	if (endpoint->closing && !endpoint->openers)
		endpoint_gone(endpoint);
	else
		endpoint_opener_still(endpoint);
}

static void openers_end(struct cuse_endpoint *endpoint)
{
	struct opener *next;

	for (struct opener *opener = endpoint->openers; opener; opener = next) { /* with the last one the endpoint may go */
		next = opener->next;
		opener_end(opener);
	}
}

/* Their callers' ioctls do not come to us any more: nobody could stop a queue that went on. */
void endpoint_node_lost(struct cuse_endpoint *endpoint, int err)
{
	log_error(endpoint_log(endpoint), "%s: the kernel has let go of /dev/%s: %s", endpoint->name, endpoint->name,
		  err == -ENODEV ? "somebody has aborted its connection (abort in /sys/class/cuse)" : system_errno_text(-err));
	for (const struct opener *opener = endpoint->openers; opener; opener = opener->next)
		if (opener->process)
			log_warning(endpoint_log(endpoint), "%s: opener %u is served no more: process %d is to open /dev/%s anew, when it is there again",
				    endpoint->name, opener->number, (int)opener->process, endpoint->name);
	if (!endpoint->closing)
		openers_end(endpoint);
}

/* It becomes a file's name in /dev and in sysfs. */
static bool name_valid(const char *name)
{
	size_t chars = strlen(name);

	return chars && chars < NAME_BYTES_MAX && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == chars;
}

static bool target_valid(const char *target)
{
	size_t chars = target ? strlen(target) : 1;

	return chars && chars < sizeof(((struct vhost_scsi_target *)NULL)->vhost_wwpn);
}

static int names_copy(struct cuse_endpoint *endpoint, const char *name)
{
	const char *target = endpoint->config.cuse.target;

	endpoint->name = strdup(name);
	endpoint->target = target ? strdup(target) : NULL;
	endpoint->config.cuse.target = endpoint->target;
	return endpoint->name && (!target || endpoint->target) ? 0 : -ENOMEM;
}

int cuse_endpoint_new(struct vireo_device *device, const char *name,
		      const struct vireo_endpoint_config *config, struct cuse_endpoint **ret_endpoint)
{
	struct cuse_endpoint *endpoint;
	int r;

	if (!name_valid(name) || !target_valid(config->cuse.target))
		return -EINVAL;
	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return -ENOMEM;
	endpoint->base.ops = &cuse_endpoint_ops;
	endpoint->device = device;
	endpoint->config = *config;
	r = names_copy(endpoint, name);
	if (!r)
		r = endpoint_drop_new(config, true, &endpoint->drop);
	if (!r)
		r = loop_new(&endpoint->loop);
	if (r) {
		drop_unref(endpoint->drop);
		endpoint_free(endpoint);
		return r;
	}
	*ret_endpoint = endpoint;
	return 0;
}

static void cuse_close(struct vireo_endpoint *base, void (*done)(void *opaque), void *opaque)
{
	struct cuse_endpoint *endpoint = endpoint_of(base);

	assert(!endpoint->closing);
	endpoint->closing = true;
	endpoint->done = done;
	endpoint->done_opaque = opaque;
	cuse_hold_forget(endpoint);
	node_mute(endpoint->node);
	if (!endpoint->openers) {
		endpoint_gone(endpoint);
		return;
	}
	openers_end(endpoint);
}

static int cuse_open(struct vireo_device *device, const char *name,
		     const struct vireo_endpoint_config *config, struct vireo_endpoint **ret_endpoint)
{
	struct cuse_endpoint *endpoint;
	int r = cuse_endpoint_new(device, name, config, &endpoint);

	if (r)
		return r;
	r = config->state ? cuse_import(endpoint, config->state) : node_new(endpoint, &endpoint->node);
	endpoint->config.state = NULL; /* it was the caller's */
	if (r) {
		cuse_close(&endpoint->base, NULL, NULL); /* no queue runs: it is gone at once */
		return r;
	}
	*ret_endpoint = &endpoint->base;
	return 0;
}

static int cuse_fd(const struct vireo_endpoint *base)
{
	return loop_fd(endpoint_of_const(base)->loop);
}

/* The endpoint may be gone afterwards: a callback may have closed it. */
static int cuse_dispatch(struct vireo_endpoint *base)
{
	struct cuse_endpoint *endpoint = endpoint_of(base);
	int r;

	if (node_lost(endpoint->node) && !endpoint->closing)
		return -ENODEV;
	r = loop_dispatch(endpoint->loop, 0);
	return r < 0 ? r : 0;
}

static bool cuse_connected(const struct vireo_endpoint *base)
{
	return endpoint_of_const(base)->openers;
}

const struct endpoint_ops cuse_endpoint_ops = {
	.prefix = "cuse:",
	.many = true,
	.open = cuse_open,
	.fd = cuse_fd,
	.dispatch = cuse_dispatch,
	.connected = cuse_connected,
	.hold = cuse_hold,
	.export = cuse_export,
	.go_on = cuse_go_on,
	.close = cuse_close,
};
