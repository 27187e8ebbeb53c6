/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/loop.h"
#include "base/probe.h"
#include "device/miss.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * Theory of operation: a device between its type (ops) and its transport (verbs).
 *
 *	detached -> attached (an endpoint is open) -> session (a peer is there) -> attached -> detached
 *
 * Inside a session each queue is being set up, running, or stopping. Whoever changes memory, features, status
 * or a queue's set-up first makes the queues concerned quiet (device_quiesce(): running -> stopping -> set
 * up), makes the change, and calls device_resume(), which starts whatever is complete. There is one quiesce at
 * a time, and nothing is changed behind a worker's back.
 *
 * A device that the peer has lied to is broken until its session ends: queues that run are left
 * to the transport to quiesce, none is started any more.
 */

#define QUEUES_MAX 1024u
#define CONFIG_SPACE_BYTES_MAX 4096u
#define STATE_BYTES_MAX 65536u /* a socket takes it at once */

static int config_check(const struct vireo_device_config *config)
{
	if (!config->ops || !config->queue_count || config->queue_count > QUEUES_MAX || config->queues_absent > QUEUES_MAX)
		return -EINVAL;
	if (config->control_queues > config->queue_count || config->control_queues_first > config->queue_count - config->control_queues)
		return -EINVAL;
	if (config->queue_size_max > 32768)
		return -EINVAL;
	if (config->features_untold & ~config->features)
		return -EINVAL;
	if (config->state_bytes_max > STATE_BYTES_MAX)
		return -EINVAL;
	if (config->config_bytes > CONFIG_SPACE_BYTES_MAX || (config->config_bytes && !config->config))
		return -EINVAL;
	return 0;
}

/* What can fail; vireo_device_free() undoes any part of it. */
static int device_fill(struct vireo_device *device, const struct vireo_device_config *config)
{
	int r = config_copy(&device->ops, sizeof(device->ops), config->ops);

	if (r)
		return r;
	r = misses_new(device);
	if (!r && config->messages && !device->ops.message)
		r = -EINVAL;
	if (!r && config->state_bytes_max && !(device->ops.state_save && device->ops.state_load))
		r = -EINVAL;
	if (r)
		return r;
	device->account = mem_account_open(config->memory, config->memory_max_bytes);
	device->name = strdup(config->name ? config->name : "device");
	device->config = calloc(1, config->config_bytes ? config->config_bytes : 1);
	if (!device->account || !device->name || !device->config)
		return -ENOMEM;
	if (config->config_bytes)
		memcpy(device->config, config->config, config->config_bytes);
	device->config_bytes = (uint32_t)config->config_bytes;
	return fd_event_new(&device->event_fd);
}

/* All zero. NULL: there is no memory. */
static struct vireo_device *device_room(unsigned queues)
{
	size_t bytes = sizeof(struct vireo_device) + queues * sizeof(struct vireo_queue);
	struct vireo_device *device = aligned_alloc(_Alignof(struct vireo_device), bytes);

	return device ? memset(device, 0, bytes) : NULL;
}

int vireo_device_new(const struct vireo_device_config *user_config, struct vireo_device **ret_device)
{
	struct vireo_device_config config;
	struct vireo_device *device;
	int r = config_copy(&config, sizeof(config), user_config);

	if (!r)
		r = config_check(&config);
	if (r)
		return r;
	device = device_room(config.queue_count);
	if (!device)
		return -ENOMEM;
	device->event_fd = -1;
	device->log_bell.bell = (struct bell)BELL_INIT;
	device->opaque = config.opaque;
	device->log = config.log;
	device->notifier = config.notifier;
	device->id = config.device_id;
	device->features_offered = config.features | VIREO_FEATURE(VIREO_F_VERSION_1_BIT);
	device->features_untold = config.features_untold;
	device->out_of_order = config.out_of_order;
	device->messages = config.messages;
	device->chain_pieces_max = config.chain_pieces_max;
	device->pops_specially = config.chain_pieces_max;
	device->state_bytes_max = config.state_bytes_max;
	device->feature_rules = config.feature_rules;
	device->feature_rule_count = config.feature_rule_count;
	device->control_features = config.control_features;
	device->control_keeps = config.control_queues_keep;
	device->queues_absent = config.queues_absent;
	device->queue_count = config.queue_count;
	device->queue_num_told = config.queue_num_told ? config.queue_num_told : config.queue_count;
	device->queue_size_max = config.queue_size_max ? config.queue_size_max : 32768;
	for (unsigned i = 0; i < config.queue_count; i++)
		queue_init(&device->queues[i], device, i,
			   i >= config.queue_count - config.control_queues || i < config.control_queues_first);
	for (unsigned i = 0; i < config.queue_count && i < 64; i++)
		device->queues[i].filled = config.control_queues_filled >> i & 1;
	r = device_fill(device, &config);
	if (r) {
		vireo_device_free(device);
		return r;
	}
	device->faults = (struct map_faults){
		.table = config.faults,
		.event_fd = device->event_fd,
		.faulted = &device->faulted,
		.session = 1,
		.account = device->account,
	};
	*ret_device = device;
	return 0;
}

void vireo_device_free(struct vireo_device *device)
{
	if (!device)
		return;
	assert(!device->transport);
	for (unsigned i = 0; i < device->queue_count; i++)
		queue_fini(&device->queues[i]);
	log_bell_fini(device);
	misses_free(device);
	mem_account_close(device->account);
	fd_close(&device->event_fd);
	free(device->config);
	free(device->name);
	free(device);
}

int device_attach(struct vireo_device *device, struct loop *loop, const struct device_transport *transport,
		  void *opaque)
{
	int r;

	if (device->transport)
		return -EBUSY;
	r = loop_add(loop, device->event_fd, EPOLLIN, device_event, device, &device->event_watch);
	if (r)
		return r;
	device->transport = transport;
	device->transport_opaque = opaque;
	device->loop = loop;
	return 0;
}

void device_detach(struct vireo_device *device)
{
	assert(!device->session);
	loop_remove(&device->event_watch);
	device_disks_permit(device, false);
	device_files_keep(device, false);
	device_drop_set(device, NULL);
	device->transport = NULL;
	device->loop = NULL;
}

void device_session_begin(struct vireo_device *device)
{
	assert(device->transport && !device->session);
	device_break_forget(device);
	mem_account_session(device->account, device->held);
	device->session = true;
	PROBE1(session_begin, device->name);
	if (device->ops.connected)
		device->ops.connected(device->opaque, true);
}

void device_session_end(struct vireo_device *device)
{
	assert(device->session && !device_quiescing(device));
	assert(!device_running(device) && !device_beginning(device));
	device_late_set(device, NULL);
	loop_timer_free(&device->rest_timer); /* queues that are quiet owe nothing */
	for (unsigned i = 0; i < device->queue_count; i++)
		queue_forget(&device->queues[i]);
	device_log_forget(device);
	map_unref(device->map);
	device->map = NULL;
	device->features = 0;
	device->status = 0;
	device->status_required = false;
	device->held = false;
	device_patient_set(device, false);
	device->session = false;
	PROBE1(session_end, device->name);
	device_break_forget(device);
	if (device->ops.connected)
		device->ops.connected(device->opaque, false);
}

void device_status_required(struct vireo_device *device, bool required)
{
	device->status_required = required;
}

void device_patient_set(struct vireo_device *device, bool patient)
{
	device->patient = patient;
	device->pops_specially = patient || device->chain_pieces_max;
	for (unsigned i = 0; i < device->queue_count; i++)
		miss_forget(&device->queues[i]); /* its addresses were of another kind */
}

bool device_patient(const struct vireo_device *device)
{
	return device->patient;
}

void device_status_set(struct vireo_device *device, uint8_t status)
{
	if (status)
		device->status = status;
	else
		device_reset(device);
}

/*
 * Memory stays: it belongs to the connection and not to the driver, and a front end that keeps book of the
 * regions it has added does not add them again after a reset. So do the call fds, which a front end may have
 * set before it resets and starts the device.
 */
void device_reset(struct vireo_device *device)
{
	assert(!device_running(device));
	for (unsigned i = 0; i < device->queue_count; i++)
		queue_reset(&device->queues[i]);
	device->features = 0;
	device_log_reset(device);
	device->status = 0;
	if (device->ops.reset)
		device->ops.reset(device->opaque);
}

void device_drop_set(struct vireo_device *device, struct drop *drop)
{
	device->faults.drop = drop;
}

struct drop *device_drop_get(const struct vireo_device *device)
{
	return device->faults.drop;
}

void device_disks_permit(struct vireo_device *device, bool on)
{
	device->faults.disks = on;
}

void device_files_keep(struct vireo_device *device, bool on)
{
	device->faults.keep = on;
}

const struct map_faults *device_faults(const struct vireo_device *device)
{
	return &device->faults;
}

struct map_faults device_faults_prompt(const struct vireo_device *device)
{
	struct map_faults faults = device->faults;

	faults.late = NULL;
	return faults;
}

uint32_t device_id(const struct vireo_device *device)
{
	return device->id;
}

unsigned device_queue_size_max(const struct vireo_device *device)
{
	return device->queue_size_max;
}

bool device_out_of_order(const struct vireo_device *device)
{
	return device->out_of_order;
}

unsigned device_queue_count(const struct vireo_device *device)
{
	return device->queue_count;
}

unsigned device_queue_num_told(const struct vireo_device *device)
{
	return device->queue_num_told;
}

bool device_queue_absent(const struct vireo_device *device, uint32_t index)
{
	if (index < device->queue_count)
		return device->features && !queue_there(&device->queues[index]);
	return index - device->queue_count < device->queues_absent;
}

bool device_takes(const struct vireo_device *device, unsigned message)
{
	return device->messages >> message & 1;
}

int device_message(struct vireo_device *device, unsigned message, const void *data, uint32_t bytes)
{
	return device_takes(device, message) ? device->ops.message(device->opaque, message, data, bytes) : -EOPNOTSUPP;
}

int device_events_missed(const struct vireo_device *device, bool *ret_missed)
{
	if (!device->ops.events_missed)
		return -EOPNOTSUPP;
	*ret_missed = device->ops.events_missed(device->opaque);
	return 0;
}

int device_events_missed_set(struct vireo_device *device, bool missed)
{
	if (!device->ops.events_missed_set)
		return -EOPNOTSUPP;
	device->ops.events_missed_set(device->opaque, missed);
	return 0;
}

const struct vireo_log *device_log(const struct vireo_device *device)
{
	return &device->log;
}

const char *device_name(const struct vireo_device *device)
{
	return device->name;
}

void vireo_device_memory_use(const struct vireo_device *device, struct vireo_memory_use *ret_use)
{
	mem_account_use(device->account, ret_use);
}

uint8_t vireo_device_status(const struct vireo_device *device)
{
	return device->status;
}

struct vireo_queue *vireo_device_queue(struct vireo_device *device, unsigned index)
{
	return index < device->queue_count ? &device->queues[index] : NULL;
}
