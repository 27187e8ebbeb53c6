/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queues of network devices as queues of the switch. Per queue these facts are kept, in the control thread only:
 *   running    the device has handed the queue out, and not asked for it back
 *   returning  it has asked for it back, and not said that the queue has ended: a receive queue's frames are held meanwhile
 *   leaving    sw_queue_remove() or sw_queue_pause() is under way
 *   paused     the switch holds its frames
 *   stopping   the device waits for vireo_net_queue_quiesced()
 * and port_queue_settle() brings the switch in line with them whenever one changes. A receive queue to which the kind
 * wants no frames sent is kept out of the switch, so that none is spread to it.
 */
#include "port_device.h"
#include "base/util.h"
#include "vireo/device.h"
#include "vireo/net.h"
#include <errno.h>

/* ---- workers ---- */

static const struct device_pair *pair_of(void *opaque, unsigned queue)
{
	const struct device_port *device = opaque;

	return &device->pairs[queue];
}

static int receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_net_transmit_look(pair->net, pair->at, frames, max);
}

static void expect(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	vireo_net_transmit_expect(pair->net, pair->at);
}

static void release(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	vireo_net_transmit_complete(pair->net, pair->at);
}

static int deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_net_receive_offer(pair->net, pair->at, frames, count);
}

static unsigned left(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_net_receive_left(pair->net, pair->at);
}

static bool starves(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return !vireo_queue_waits(vireo_device_queue(vireo_net_device(pair->net), 2 * pair->at));
}

static bool leaves(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_queue_may_wait(vireo_device_queue(vireo_net_device(pair->net), 2 * pair->at));
}

static void flush(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	vireo_net_receive_flush(pair->net, pair->at);
}

static uint64_t signal_look(void *opaque, bool out, unsigned queue, bool now)
{
	const struct device_pair *pair = pair_of(opaque, queue);
	unsigned index = 2 * pair->at + !out;

	if (!now)
		return vireo_net_signal_look(pair->net, index);
	vireo_net_signal_now(pair->net, index);
	return 0;
}

static int kick_fd(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_net_kick_fd(pair->net, 2 * pair->at + 1);
}

static bool kick_enable(void *opaque, unsigned queue, bool on)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_net_kick_enable(pair->net, 2 * pair->at + 1, on);
}

static unsigned room(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_net_receive_room(pair->net, pair->at);
}

static bool awaits(void *opaque, unsigned queue)
{
	const struct device_pair *pair = pair_of(opaque, queue);

	return vireo_queue_awaits_signal(vireo_device_queue(vireo_net_device(pair->net), 2 * pair->at));
}

/* One device has all pairs, or its driver could not say anything of others. */
static bool steer(void *opaque, struct vireo_frame *const *frames, unsigned count, uint8_t *ret_queues)
{
	return vireo_net_steer(pair_of(opaque, 0)->net, frames, count, ret_queues);
}

static void stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct device_pair *pair = pair_of(opaque, queue);
	struct vireo_net_queue_stats s = {.size = sizeof(s)};

	vireo_net_queue_stats(pair->net, 2 * pair->at + !out, &s);
	*ret = (struct sw_queue_stats){
		.frames = s.frames,
		.bytes = s.bytes,
		.no_buffer = s.no_buffer,
		.too_long = s.too_long,
		.offload_refused = s.offload_refused,
		.filtered = s.filtered,
		.disabled = s.disabled,
		.runt = s.runt,
		.bad_offload = s.bad_offload,
		.signals = vireo_queue_signals(vireo_device_queue(vireo_net_device(pair->net), 2 * pair->at + !out)),
	};
}

const struct sw_port_ops device_port_ops = {
	.peer_memory = true,
	.receive = receive,
	.release = release,
	.deliver = deliver,
	.left = left,
	.starves = starves,
	.leaves = leaves,
	.flush = flush,
	.signal_look = signal_look,
	.kick_fd = kick_fd,
	.expect = expect,
	.kick_enable = kick_enable,
	.room = room,
	.awaits = awaits,
	.steer = steer,
	.stats = stats,
};

/* ---- queues come and go ---- */

static void silent_look(struct device_port *device)
{
	void (*silenced)(void *opaque) = device->silenced;

	for (unsigned i = 0; i < device->port.spec.queues; i++)
		if (device->pairs[i].queues[1].leaving || sw_queue_present(device->port.sw, false, i))
			return;
	device->silenced = NULL;
	if (silenced)
		silenced(&device->port);
}

void port_silence(struct device_port *device, void (*silenced)(void *opaque))
{
	device->silent = silenced;
	device->silenced = silenced;
	port_queues_settle(device);
	if (silenced)
		silent_look(device);
}

static void queue_left(void *opaque)
{
	struct device_queue *q = opaque;

	q->leaving = false;
	if (!q->stopping) /* its device goes on with it, and no worker would look any more whether a signal that is held back is due */
		vireo_net_signal_now(q->pair->net, 2 * q->pair->at + !q->out);
	port_queue_settle(q);
	silent_look(q->pair->device);
}

/* A transmit queue that is disabled is still emptied. */
static bool queue_wanted(const struct device_queue *q)
{
	return q->running && (q->out ? q->pair->device->sort->receives(q->pair) : !q->pair->device->silent);
}

/* It is in the switch, and will be again: its frames wait there. */
static bool queue_awaited(const struct device_queue *q)
{
	return q->out && q->returning && q->pair->device->sort->awaits(q->pair);
}

/* Of one that is in the switch. True: there is something to wait for. */
static bool queue_leave(struct device_queue *q)
{
	struct sw_port *sw = q->pair->device->port.sw;
	bool awaited = queue_awaited(q);

	if (awaited && q->paused)
		return false;
	q->leaving = true;
	q->paused = awaited && !sw_queue_pause(sw, q->pair->index, queue_left, q);
	if (!q->paused)
		sw_queue_remove(sw, q->out, q->pair->index, queue_left, q);
	return true;
}

static void queue_enter(struct device_queue *q)
{
	struct device_pair *pair = q->pair;
	int err = sw_queue_add(pair->device->port.sw, q->out, pair->index);

	if (err)
		retry_later(&pair->device->retry, 2 * pair->index + !q->out, err);
}

static void queue_return(struct device_queue *q)
{
	q->paused = false;
	sw_queue_resume(q->pair->device->port.sw, q->pair->index);
}

void port_queue_settle(struct device_queue *q)
{
	struct device_pair *pair = q->pair;
	bool wanted, present;

	if (q->leaving)
		return; /* queue_left() comes back here */
	wanted = queue_wanted(q);
	present = sw_queue_present(pair->device->port.sw, q->out, pair->index);
	if (wanted && present && q->paused)
		queue_return(q);
	else if (wanted && !present)
		queue_enter(q);
	else if (!wanted && present && queue_leave(q))
		return;
	else if (q->stopping) {
		q->stopping = false;
		vireo_net_queue_quiesced(pair->net, 2 * pair->at + !q->out);
	}
}

void port_queues_settle(struct device_port *device)
{
	for (unsigned i = 0; i < 2 * device->port.spec.queues && !device->closing; i++)
		port_queue_settle(&device->pairs[i / 2].queues[i % 2]);
}

/* NULL: the control queue. */
static struct device_queue *queue_of(struct device_pair *first, unsigned queue)
{
	unsigned pairs = first->device->sort->device_each ? 1 : first->device->port.spec.queues;

	return queue < 2 * pairs ? &first[queue / 2].queues[queue % 2] : NULL;
}

void port_queue_started(void *opaque, unsigned queue)
{
	struct device_queue *q = queue_of(opaque, queue);

	if (!q)
		return;
	q->running = true;
	q->returning = false;
	if (q->out && !q->paused)
		q->pair->used = false;
	port_queue_settle(q);
}

void port_queue_stop(void *opaque, unsigned queue)
{
	struct device_pair *first = opaque;
	struct device_queue *q = queue_of(first, queue);

	if (!q) {
		vireo_net_queue_quiesced(first->net, queue);
		return;
	}
	q->running = false;
	q->returning = q->stopping = true;
	port_queue_settle(q);
}

void port_queue_ended(void *opaque, unsigned queue)
{
	struct device_queue *q = queue_of(opaque, queue);

	if (!q)
		return;
	q->returning = false;
	port_queue_settle(q);
}

static void queue_renewed(struct grace_item *item)
{
	struct device_queue *q = container_of(item, struct device_queue, renewed);

	vireo_net_queue_renewed(q->pair->net, 2 * q->pair->at + !q->out);
}

/*
 * Workers come and go on with the queue; what they were doing with it ends. A queue that is in the switch leaves it with a grace
 * period of its own, behind this one: the answer comes before the queue is quiet. One that is not is stopped in no time.
 */
int port_queue_renew(void *opaque, unsigned queue)
{
	struct device_queue *q = queue_of(opaque, queue);
	struct sw_port *sw = q ? q->pair->device->port.sw : NULL;

	if (!q || q->leaving || q->stopping || !sw_queue_present(sw, q->out, q->pair->index))
		return -EOPNOTSUPP;
	q->renewed.fn = queue_renewed;
	return sw_port_grace(sw, &q->renewed);
}

void port_queue_enabled(void *opaque, unsigned queue, bool enabled)
{
	struct device_queue *q = queue_of(opaque, queue);

	if (q)
		port_queue_settle(q);
}
