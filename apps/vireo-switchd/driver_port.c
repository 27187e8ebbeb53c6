/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver_port.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include <sys/epoll.h>

/* ---- workers ---- */

static int driver_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct driver_port *driver = opaque;
	int ret = driver_queue_receive(&driver->queues[queue], frames, max);

	if (unlikely(ret < 0))
		driver_port_lost(driver, ret);
	return ret;
}

static void driver_release(void *opaque, unsigned queue)
{
	struct driver_port *driver = opaque;
	int err = driver_queue_release(&driver->queues[queue]);

	if (unlikely(err))
		driver_port_lost(driver, err);
}

static int driver_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct driver_port *driver = opaque;
	struct driver_queue *q = &driver->queues[queue];
	int sent;

	if (unlikely(!__atomic_load_n(&driver->link_up, __ATOMIC_RELAXED))) {
		counter_add(&q->out.disabled, count);
		return 0;
	}
	sent = driver_queue_deliver(q, frames, count);
	if (unlikely(sent < 0)) {
		driver_port_lost(driver, sent);
		return 0;
	}
	return sent;
}

static void driver_flush(void *opaque, unsigned queue)
{
	struct driver_port *driver = opaque;

	driver_queue_flush(&driver->queues[queue]);
}

static int driver_kick_fd(void *opaque, unsigned queue)
{
	const struct driver_port *driver = opaque;

	return driver->polled ? -1 : vireo_driver_ring_call_fd(driver->queues[queue].s.rx);
}

static bool driver_kick_enable(void *opaque, unsigned queue, bool on)
{
	const struct driver_port *driver = opaque;

	return vireo_driver_ring_signal_enable(driver->queues[queue].s.rx, on);
}

static bool driver_carrier(void *opaque)
{
	const struct driver_port *driver = opaque;

	return __atomic_load_n(&driver->link_up, __ATOMIC_RELAXED);
}

static void driver_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct driver_port *driver = opaque;
	const struct driver_queue *q = &driver->queues[queue];

	sw_queue_stats_read(out ? &q->out : &q->in, ret);
}

const struct sw_port_ops driver_port_ops = {
	.receive = driver_receive,
	.release = driver_release,
	.deliver = driver_deliver,
	.flush = driver_flush,
	.kick_fd = driver_kick_fd,
	.kick_enable = driver_kick_enable,
	.carrier = driver_carrier,
	.stats = driver_stats,
};

/* ---- a device that is lost ---- */

void driver_port_lost(struct driver_port *driver, int err)
{
	int none = 0;

	if (__atomic_compare_exchange_n(&driver->lost_err, &none, err, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		fd_event_raise(driver->lost_fd);
}

void driver_port_found(struct driver_port *driver)
{
	__atomic_store_n(&driver->lost_err, 0, __ATOMIC_RELAXED);
}

static void lost_event(void *opaque, uint32_t events)
{
	struct driver_port *driver = opaque;
	int err = __atomic_load_n(&driver->lost_err, __ATOMIC_RELAXED);

	fd_event_clear(driver->lost_fd);
	if (err)
		driver->lost(driver, err);
}

/* ---- making and ending it ---- */

void driver_port_init(struct driver_port *driver, struct driver_queue *queues, void (*lost)(struct driver_port *driver, int err))
{
	driver->queues = queues;
	driver->lost = lost;
	driver->lost_fd = -1;
	driver->port.in_queues = driver->port.out_queues = driver->port.spec.queues;
}

int driver_port_start(struct driver_port *driver)
{
	int err = fd_event_new(&driver->lost_fd);

	if (!err)
		err = loop_add(driver->port.ports->loop, driver->lost_fd, EPOLLIN, lost_event, driver, &driver->lost_watch);
	return err;
}

void driver_port_stop(struct driver_port *driver)
{
	loop_remove(&driver->lost_watch);
}

void driver_port_fini(struct driver_port *driver)
{
	fd_close(&driver->lost_fd);
}

int driver_port_queues_add(struct driver_port *driver)
{
	struct port *port = &driver->port;
	int err = 0;

	for (unsigned i = 0; i < port->spec.queues && !err; i++) {
		err = sw_queue_add(port->sw, true, i);
		if (!err)
			err = sw_queue_add(port->sw, false, i);
	}
	return err;
}

enum port_told driver_port_link_set(struct port *port, bool up)
{
	return PORT_TOLD_NOT;
}
