/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits, as a disk or a group of disks has them. Workers take from the buckets without a lock (base/bucket.h). When the control thread changes
 * the limits it moves `generation` on, and wakes all queues: what waits in them stands in line anew, by the limits of now.
 */
#include "disk/throttle.h"
#include <stdlib.h>
#include <string.h>

/* ---- the set ---- */

static struct throttle *throttle_new(struct disk_groups *groups, const char *name)
{
	struct throttle *throttle = aligned_alloc(CACHE_LINE_BYTES, align_up(sizeof(*throttle), CACHE_LINE_BYTES));

	if (!throttle)
		return NULL;
	memset(throttle, 0, sizeof(*throttle));
	if (name) {
		throttle->name = strdup(name);
		if (!throttle->name) {
			free(throttle);
			return NULL;
		}
		throttle->groups = groups;
		throttle->next = groups->first;
		groups->first = throttle;
	}
	pthread_mutex_init(&throttle->lock, NULL);
	throttle->users = 1;
	return throttle;
}

static void throttle_free(struct throttle *throttle)
{
	pthread_mutex_destroy(&throttle->lock);
	free(throttle->name);
	free(throttle);
}

/* A rest is over: all buckets that there are now are full. */
static void limits_init(struct throttle *throttle, const struct disk_limits *limits)
{
	throttle_set(throttle, limits, 0);
	for (unsigned i = 0; i < DISK_LIMITS; i++)
		bucket_fill(&throttle->of[i].bucket, limits->of[i].rate, limits->of[i].burst);
}

static struct throttle *group_find(struct disk_groups *groups, const char *name)
{
	struct throttle *throttle = groups->first;

	while (throttle && strcmp(throttle->name, name) != 0)
		throttle = throttle->next;
	return throttle;
}

/* Under the lock of the groups. limits: NULL: as they are. */
static int group_join(struct throttle *throttle, const struct disk_limits *limits)
{
	bool others;

	pthread_mutex_lock(&throttle->lock); /* they may be changed while a helper opens a disk */
	others = limits && memcmp(&throttle->limits, limits, sizeof(*limits)) != 0;
	pthread_mutex_unlock(&throttle->lock);
	if (others)
		return -EEXIST;
	throttle->users++;
	return 0;
}

int throttle_get(struct disk_groups *groups, const char *name, const struct disk_limits *limits, struct throttle **ret_throttle)
{
	static const struct disk_limits none;
	struct throttle *throttle;
	int err = 0;

	if (name)
		pthread_mutex_lock(&groups->lock);
	throttle = name ? group_find(groups, name) : NULL;
	if (throttle) {
		err = group_join(throttle, limits);
	} else {
		throttle = throttle_new(groups, name);
		if (throttle)
			limits_init(throttle, limits ? limits : &none);
		else
			err = -ENOMEM;
	}
	if (name)
		pthread_mutex_unlock(&groups->lock);
	if (!err)
		*ret_throttle = throttle;
	return err;
}

void throttle_put(struct throttle *throttle)
{
	struct disk_groups *groups = throttle->groups;
	struct throttle **at;
	bool last;

	if (groups)
		pthread_mutex_lock(&groups->lock);
	last = !--throttle->users;
	if (groups && last) {
		for (at = &groups->first; *at != throttle; at = &(*at)->next)
			;
		*at = throttle->next;
	}
	if (groups)
		pthread_mutex_unlock(&groups->lock);
	if (last)
		throttle_free(throttle);
}

void throttle_set(struct throttle *throttle, const struct disk_limits *limits, uint64_t now_ns)
{
	bool limited = false;

	pthread_mutex_lock(&throttle->lock);
	for (unsigned i = 0; i < DISK_LIMITS; i++) {
		uint64_t rate = limits->of[i].rate, burst = limits->of[i].burst;

		limited |= rate != 0;
		if (rate != throttle->limits.of[i].rate || burst != throttle->limits.of[i].burst)
			bucket_drain(&throttle->of[i].bucket, rate, burst, now_ns);
	}
	throttle->limits = *limits;
	__atomic_store_n(&throttle->limited, limited, __ATOMIC_RELAXED);
	/* Before the queues are woken: one that goes to sleep now looks at it after it has set its own alarm. */
	__atomic_add_fetch(&throttle->generation, 1, __ATOMIC_SEQ_CST);
	for (const struct throttle_queue *q = throttle->queues; q; q = q->next)
		wake_at(&q->wake, 0);
	pthread_mutex_unlock(&throttle->lock);
}

uint64_t throttle_count(struct throttle *throttle)
{
	uint64_t sum;

	pthread_mutex_lock(&throttle->lock);
	sum = throttle->throttled;
	for (const struct throttle_queue *q = throttle->queues; q; q = q->next)
		sum += counter_read(&q->throttled);
	pthread_mutex_unlock(&throttle->lock);
	return sum;
}

/* ---- the layer ---- */

struct throttle_layer {
	struct disk_layer layer;
	struct throttle *throttle;
};

static struct throttle *throttle_of(struct disk_layer *layer)
{
	return container_of(layer, struct throttle_layer, layer)->throttle;
}

static int layer_new(struct disk *disk, const char *group, const struct disk_limits *limits, struct disk_layer **ret_layer)
{
	struct throttle_layer *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->layer.disk = disk;
	err = throttle_get(disk->config.groups, group, limits, &t->throttle);
	if (err)
		free(t);
	else
		*ret_layer = &t->layer;
	return err;
}

static int throttle_open(const struct disk_spec *spec, struct disk *disk, struct disk_layer **ret_layer, char *why)
{
	const char *group = disk_spec_text(spec, "throttle-group", NULL);
	struct disk_limits limits = {0};
	bool given = disk_limits_given(spec, &limits);
	int err;

	if (!given && !group)
		return 0;
	if (group && !disk->config.groups) {
		snprintf(why, DISK_WHY_BYTES, "throttle-group '%.60s': there are no groups here: leave it out", group);
		return -EINVAL;
	}
	err = disk_limits_problem(&limits, why);
	if (!err)
		err = layer_new(disk, group, given ? &limits : NULL, ret_layer);
	if (err == -EEXIST)
		snprintf(why, DISK_WHY_BYTES, "throttle-group '%.60s' has other limits: leave limits out here, or give the same", group);
	return err;
}

static void throttle_close(struct disk_layer *layer)
{
	throttle_put(throttle_of(layer));
	free(container_of(layer, struct throttle_layer, layer));
}

static int layer_queue_open(struct disk_layer *layer, struct disk_queue *below, struct disk_queue **ret_queue)
{
	return throttle_queue_open(throttle_of(layer), below, ret_queue);
}

const struct disk_layer_kind disk_throttle = {
	.keys = disk_limit_keys,
	.key_count = DISK_LIMIT_KEYS,
	.open = throttle_open,
	.close = throttle_close,
	.queue_open = layer_queue_open,
};

/* ---- for the control thread ---- */

void disk_limits_get(const struct disk *disk, struct disk_limits_info *ret_info)
{
	struct disk_layer *layer = disk->layers[DISK_LAYER_THROTTLE];
	struct throttle *throttle;

	memset(ret_info, 0, sizeof(*ret_info));
	if (!layer)
		return;
	throttle = throttle_of(layer);
	ret_info->throttled = throttle_count(throttle);
	pthread_mutex_lock(&throttle->lock);
	ret_info->limits = throttle->limits;
	ret_info->group = throttle->name;
	pthread_mutex_unlock(&throttle->lock);
}

int disk_limits_set(struct disk *disk, const struct disk_limits *limits)
{
	static const struct disk_limits none;
	struct disk_layer **layer = &disk->layers[DISK_LAYER_THROTTLE];
	int err;

	if (*layer) {
		throttle_set(throttle_of(*layer), limits, disk_now_ns(disk));
		return 0;
	}
	if (!memcmp(limits, &none, sizeof(none)))
		return 0;
	err = layer_new(disk, NULL, limits, layer);
	return err ? err : 1;
}
