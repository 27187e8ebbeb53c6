/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost.h"
#include <errno.h>
#include <rte_pause.h>
#include <rte_vhost.h>
#include <stdio.h>

/*
 * librte_vhost's own thread says that the device comes and goes; the polling thread is between enter and
 * leave when it uses it. When it goes, `attached` is written first, then `used` read; entering, `used` is
 * written first, then `attached` read: one of the two sees the other (both orders are sequential).
 */
static int attached = -1;
static bool used;

static int device_new(int vid)
{
	/* Who polls needs no kicks. */
	for (uint16_t queue = 0; queue < rte_vhost_get_vring_num(vid); queue++)
		rte_vhost_enable_guest_notification(vid, queue, 0);
	__atomic_store_n(&attached, vid, __ATOMIC_SEQ_CST);
	return 0;
}

static void device_gone(int vid)
{
	__atomic_store_n(&attached, -1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&used, __ATOMIC_SEQ_CST))
		rte_pause();
}

int vhost_device_enter(void)
{
	__atomic_store_n(&used, true, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&attached, __ATOMIC_SEQ_CST);
}

void vhost_device_leave(void)
{
	__atomic_store_n(&used, false, __ATOMIC_RELEASE);
}

bool vhost_device_attached(void)
{
	return __atomic_load_n(&attached, __ATOMIC_RELAXED) >= 0;
}

int vhost_device_offer(const char *socket)
{
	static const struct rte_vhost_device_ops ops = { .new_device = device_new,
							 .destroy_device = device_gone };
	int failed;

	/* As the net_vhost driver does it: checksum flags in mbufs are the ones of the mbuf library. */
	failed = rte_vhost_driver_register(socket, RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS) ||
		 rte_vhost_driver_callback_register(socket, &ops) || rte_vhost_driver_start(socket);
	if (!failed)
		return 0;
	fprintf(stderr,
		"bench-vhost: %s cannot be offered, see the lines above; remove it if nobody uses it\n",
		socket);
	return -EADDRINUSE;
}

void vhost_device_withdraw(const char *socket)
{
	rte_vhost_driver_unregister(socket);
}
