/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How long the driver lets signals be held back (virtio 1.3, 5.1.6.5.8, notifications coalescing): what it has said of all receive or all transmit
 * queues, and of one. The last that it has said of a queue holds there; device/coalesce.c carries it out. Control thread.
 *
 * A queue that the driver has disabled and enabled again (it resets the queue, and sets it up anew) has what was said of all queues of
 * its direction. One that stands still for a while for a reason of ours, or of the front end's, is the same queue to the driver: what it has
 * said of it holds. A ring that vhost-user's SET_VRING_ENABLE disables is such a one, too.
 */

#include "device/device.h"
#include "model/net/net_internal.h"
#include <endian.h>

static bool holds(const struct net_coalesce *limits)
{
	return limits->max_packets && limits->max_us;
}

static bool said_any(const struct vireo_net *net)
{
	for (unsigned i = 0; i < 2 * net->pairs; i++)
		if (holds(&net->queues[i].coalesce))
			return true;
	return false;
}

static void queue_carry_out(struct vireo_net *net, unsigned index)
{
	const struct net_coalesce *limits = &net->queues[index].coalesce;

	device_queue_coalesce(net->device, index, (struct device_coalesce){limits->max_packets, limits->max_us});
}

/* Of some queues: the application is told before the first signal is held, and when they are to be looked at. */
static void carry_out(struct vireo_net *net, unsigned first, unsigned step, unsigned count)
{
	bool any = said_any(net);

	if (any && net->ops.signals_set)
		net->ops.signals_set(net->opaque, true);
	for (unsigned i = 0; i < count; i++)
		queue_carry_out(net, first + i * step);
	if (net->ops.signals_set)
		net->ops.signals_set(net->opaque, any);
}

void net_coalesce_all_set(struct vireo_net *net, bool transmit, struct net_coalesce limits)
{
	net->coalesce_all[transmit] = limits;
	for (unsigned i = transmit; i < 2 * net->pairs; i += 2)
		net->queues[i].coalesce = limits;
	carry_out(net, transmit, 2, net->pairs);
}

static bool is_data_queue(const struct vireo_net *net, unsigned index)
{
	return index < 2 * net->pairs && device_queue_set_up(net->device, index);
}

bool net_coalesce_queue_set(struct vireo_net *net, unsigned index, struct net_coalesce limits)
{
	if (!is_data_queue(net, index))
		return false;
	net->queues[index].coalesce = limits;
	carry_out(net, index, 1, 1);
	return true;
}

bool net_coalesce_queue_get(const struct vireo_net *net, unsigned index, struct net_coalesce *ret_limits)
{
	if (!is_data_queue(net, index))
		return false;
	*ret_limits = net->queues[index].coalesce;
	return true;
}

/* No queue runs. */
void net_coalesce_forget(struct vireo_net *net)
{
	memset(net->coalesce_all, 0, sizeof(net->coalesce_all));
	for (unsigned i = 0; i < 2 * net->pairs; i++) {
		net->queues[i].coalesce = (struct net_coalesce){0};
		net->queues[i].coalesce_kept = false;
		queue_carry_out(net, i);
	}
}

void net_coalesce_queue_starts(struct vireo_net *net, unsigned index, struct vireo_queue *queue)
{
	struct net_queue *q = &net->queues[index];

	device_queue_counter_set(queue, &q->stats.frames);
	if (!q->coalesce_kept && !device_queue_goes_on(queue)) {
		q->coalesce = net->coalesce_all[index & 1];
		if (holds(&q->coalesce)) /* it may be the only one that does */
			carry_out(net, index, 1, 1);
		else
			queue_carry_out(net, index);
	}
	q->coalesce_kept = false;
}

/* ---- to and from a device's state: as net_internal.h has it, and little-endian ---- */

bool net_coalesce_said(const struct vireo_net *net)
{
	const struct net_coalesce *all = net->coalesce_all;

	return said_any(net) || all[0].max_packets || all[0].max_us || all[1].max_packets || all[1].max_us;
}

void net_coalesce_read_out(const struct vireo_net *net, struct net_coalesce_state *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->all, net->coalesce_all, sizeof(ret->all));
	for (unsigned i = 0; i < 2 * net->pairs; i++) {
		ret->queues[i] = net->queues[i].coalesce;
		if (ret->queues[i].max_packets || ret->queues[i].max_us)
			ret->queue_count = i + 1;
	}
}

static uint8_t *put_limits(uint8_t *to, struct net_coalesce limits)
{
	uint32_t words[2] = {htole32(limits.max_packets), htole32(limits.max_us)};

	memcpy(to, words, sizeof(words));
	return to + sizeof(words);
}

static const uint8_t *take_limits(const uint8_t *from, struct net_coalesce *limits)
{
	*limits = net_coalesce_of(from);
	return from + NET_COALESCE_BYTES;
}

struct net_coalesce net_coalesce_of(const uint8_t *data)
{
	uint32_t words[2];

	memcpy(words, data, sizeof(words));
	return (struct net_coalesce){.max_packets = le32toh(words[0]), .max_us = le32toh(words[1])};
}

uint8_t *net_coalesce_write(const struct net_coalesce_state *state, uint8_t *to)
{
	uint32_t count = htole32(state->queue_count);

	memcpy(to, &count, sizeof(count));
	to = put_limits(put_limits(to + sizeof(count), state->all[0]), state->all[1]);
	for (unsigned i = 0; i < state->queue_count; i++)
		to = put_limits(to, state->queues[i]);
	return to;
}

bool net_coalesce_read(const uint8_t *from, size_t bytes, unsigned pairs, struct net_coalesce_state *ret)
{
	uint32_t count;

	memset(ret, 0, sizeof(*ret));
	if (bytes < sizeof(count) + 2 * NET_COALESCE_BYTES)
		return false;
	memcpy(&count, from, sizeof(count));
	count = le32toh(count);
	if (count > 2 * pairs || bytes != sizeof(count) + (2 + count) * NET_COALESCE_BYTES)
		return false;
	ret->queue_count = count;
	from = take_limits(take_limits(from + sizeof(count), &ret->all[0]), &ret->all[1]);
	for (unsigned i = 0; i < count; i++)
		from = take_limits(from, &ret->queues[i]);
	return true;
}

/* Without the one feature or the other the driver could not have said it. */
void net_coalesce_apply(struct vireo_net *net, const struct net_coalesce_state *state)
{
	bool all = net_has(net, VIREO_NET_F_NOTF_COAL_BIT), each = net_has(net, VIREO_NET_F_VQ_NOTF_COAL_BIT);

	if (!all && !each)
		return;
	if (all)
		memcpy(net->coalesce_all, state->all, sizeof(net->coalesce_all));
	for (unsigned i = 0; i < 2 * net->pairs; i++) {
		net->queues[i].coalesce = each ? state->queues[i] : net->coalesce_all[i & 1];
		net->queues[i].coalesce_kept = true;
	}
	carry_out(net, 0, 1, 2 * net->pairs);
}
