/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_DEVICE_TEST_LAB_H
#define DEVICE_DEVICE_TEST_LAB_H

/*
 * What the labs around a device share, here and beside the transports: a device type that counts what it is
 * told, a log that keeps its lines, and the number of open fds.
 *
 * A lab embeds a struct lab_type, gives it to the device as the opaque of its ops, and names the functions
 * below in a table of its own. An op that a lab has of its own finds the lab by container_of().
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/util.h"
#include "vireo/device.h"
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define QUEUES 3u /* of the device of each lab */
#define LAB_LOG_BYTES 16384u

struct lab_type {
	struct vireo_queue *running[QUEUES];
	unsigned started[QUEUES], stopped[QUEUES], ended[QUEUES]; /* how often; see type_total() */
	unsigned connected, disconnected, resets;
	uint64_t features; /* the last that were not refused */
	/* set by the test: */
	uint64_t refused; /* features, any of which is one too many */
	bool late; /* queues are given back by type_quiesced() or type_quiesced_all() */
	bool renews; /* queues go on when memory goes: answered by type_renewed(), if `late` */
	unsigned renewals[QUEUES]; /* asked for and, if `late`, not answered */
};

/* Over all queues. */
static inline unsigned type_total(const unsigned counts[QUEUES])
{
	unsigned total = 0;

	for (unsigned i = 0; i < QUEUES; i++)
		total += counts[i];
	return total;
}

static inline void type_quiesced(struct lab_type *type, unsigned index)
{
	struct vireo_queue *queue = type->running[index];

	assert_non_null(queue);
	type->running[index] = NULL; /* before: it may be started again at once */
	vireo_queue_quiesced(queue);
}

static inline void type_quiesced_all(struct lab_type *type)
{
	for (unsigned i = 0; i < QUEUES; i++)
		if (type->running[i])
			type_quiesced(type, i);
}

/* ---- ops ---- */

static inline void type_started(void *opaque, struct vireo_queue *queue)
{
	struct lab_type *type = opaque;

	type->running[vireo_queue_index(queue)] = queue;
	type->started[vireo_queue_index(queue)]++;
}

static inline void type_stop(void *opaque, struct vireo_queue *queue)
{
	struct lab_type *type = opaque;

	type->stopped[vireo_queue_index(queue)]++;
	if (!type->late)
		type_quiesced(type, vireo_queue_index(queue));
}

static inline void type_ended(void *opaque, struct vireo_queue *queue)
{
	struct lab_type *type = opaque;

	assert_null(type->running[vireo_queue_index(queue)]);
	type->ended[vireo_queue_index(queue)]++;
}

static inline int type_renew(void *opaque, struct vireo_queue *queue)
{
	struct lab_type *type = opaque;

	if (!type->renews)
		return -EOPNOTSUPP;
	type->renewals[vireo_queue_index(queue)]++;
	if (!type->late)
		vireo_queue_renewed(queue);
	return 0;
}

static inline void type_renewed(struct lab_type *type, unsigned index)
{
	assert_int_equal(type->renewals[index], 1);
	type->renewals[index] = 0;
	vireo_queue_renewed(type->running[index]);
}

static inline int type_features(void *opaque, uint64_t features)
{
	struct lab_type *type = opaque;

	if (features & type->refused)
		return -EINVAL;
	type->features = features;
	return 0;
}

static inline int type_config_write(void *opaque, uint32_t offset, const void *data, uint32_t bytes)
{
	return offset >= 4 ? -EPERM : 0;
}

static inline void type_connected(void *opaque, bool connected)
{
	struct lab_type *type = opaque;

	if (connected)
		type->connected++;
	else
		type->disconnected++;
}

static inline void type_reset(void *opaque)
{
	((struct lab_type *)opaque)->resets++;
}

/* ---- what else is looked at ---- */

/* `opaque` is a char[LAB_LOG_BYTES]. Debug lines, if a lab asks for them, would fill it: not kept. */
static inline void lab_log(void *opaque, enum vireo_log_level level, const char *line)
{
	char *log = opaque;
	size_t have = strlen(log);

	if (level <= VIREO_LOG_INFO)
		snprintf(log + have, LAB_LOG_BYTES - have, "%s\n", line);
}

static inline int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

#endif
