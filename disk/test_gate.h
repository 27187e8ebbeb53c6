/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_TEST_GATE_H
#define DISK_TEST_GATE_H

/* For the tests of layers: a disk below them that does nothing before it is told to, and then a request at a time. */

#include "disk/layer.h"
#include "disk/test_disk.h"

struct gate_queue {
	struct layer_queue layer;
	struct layer_list held;
	struct gate_queue *next;
};

static const struct disk_ops *gated_ops;
static struct disk_ops gate_disk_ops;
static struct gate_queue *gates; /* the last that was opened first */

static inline struct gate_queue *gate_of(struct disk_queue *queue)
{
	return container_of(container_of(queue, struct layer_queue, queue), struct gate_queue, layer);
}

static inline void gate_submit(struct disk_queue *queue, struct disk_request *const *many, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		layer_list_add(&gate_of(queue)->held, many[i]);
}

static inline unsigned gate_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	return layer_queue_reap(&gate_of(queue)->layer, ret_done, max);
}

static inline bool gate_arm(struct disk_queue *queue, bool on)
{
	return layer_queue_arm(&gate_of(queue)->layer, on);
}

static inline void gate_close(struct disk_queue *queue)
{
	struct gate_queue *gate = gate_of(queue), **at = &gates;

	while (*at != gate)
		at = &(*at)->next;
	*at = gate->next;
	layer_queue_close(&gate->layer);
	free(gate);
}

static const struct disk_queue_ops gate_ops = {.submit = gate_submit, .reap = gate_reap, .arm = gate_arm, .close = gate_close};

static inline int gate_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct gate_queue *gate = calloc(1, sizeof(*gate));
	struct disk_queue *below;

	assert_non_null(gate);
	assert_int_equal(gated_ops->queue_open(disk, depth, &below), 0);
	layer_queue_init(&gate->layer, &gate_ops, below);
	layer_list_init(&gate->held);
	gate->next = gates;
	gates = gate;
	*ret_queue = &gate->layer.queue;
	return 0;
}

static inline struct test_disk gated_open(const char *spec_text, struct disk_queue **ret_other)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct test_disk t;

	assert_int_equal(disk_open(spec_text, &config, &t.disk, why), 0);
	gated_ops = t.disk->ops;
	gate_disk_ops = *gated_ops;
	gate_disk_ops.queue_open = gate_open;
	t.disk->ops = &gate_disk_ops;
	assert_int_equal(disk_queue_open(t.disk, 8, ret_other), 0);
	assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	return t;
}

/* The next request that a gate holds is done by the disk; or is not, and has that result. Returns its op. */
static inline int gate_let(struct gate_queue *gate, int result)
{
	struct disk_request *r = gate->held.first ? layer_list_take(&gate->held) : NULL;

	assert_non_null(r);
	if (result)
		disk_queue_done(&gate->layer.queue, r, result);
	else
		disk_queue_submit(gate->layer.below, &r, 1);
	return r->op;
}

static inline struct gate_queue *gate_below(struct disk_queue *queue)
{
	return gate_of(container_of(queue, struct layer_queue, queue)->below);
}

static inline struct disk_request *ask(struct disk_queue *queue, enum disk_op op, uint8_t flags, uint64_t offset, uint64_t bytes, struct iovec *iov)
{
	struct disk_request *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	*r = (struct disk_request){.op = (uint8_t)op, .flags = flags, .offset = offset, .bytes = bytes, .iov = iov, .iov_count = !!iov, .result = 1};
	disk_queue_submit(queue, &r, 1);
	return r;
}

static inline bool is_done(struct disk_queue *queue, struct disk_request *r, int result)
{
	struct disk_request *done;

	if (!disk_queue_reap(queue, &done, 1))
		return false;
	assert_ptr_equal(done, r);
	assert_int_equal(r->result, result);
	free(r);
	return true;
}

/* Whatever its gate holds meanwhile is let through. */
static inline void until_done(struct disk_queue *queue, struct disk_request *r, int result)
{
	unsigned rounds = 0;

	while (!is_done(queue, r, result)) {
		assert_in_range(++rounds, 1, 100);
		if (gate_below(queue)->held.first)
			gate_let(gate_below(queue), 0);
	}
}

#endif
