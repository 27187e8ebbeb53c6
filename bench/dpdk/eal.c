/* SPDX-License-Identifier: BSD-3-Clause */
#include "eal.h"
#include "base/affinity.h"
#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

bool eal_polling;

static struct {
	pthread_t thread;
	rte_cpuset_t cpus;
	unsigned socket;
	void (*run)(void *opaque);
	void *opaque;
} poller;

int eal_start(int argc, char **argv)
{
	cpu_set_t allowed;
	unsigned lcore, last = 0;
	int used;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		CPU_ZERO(&allowed);
	used = rte_eal_init(argc, argv);
	if (used < 0) {
		fprintf(stderr,
			"%s: EAL does not start: %s; see its lines above (no hugepages free: try "
			"--no-huge)\n",
			argv[0], rte_strerror(rte_errno));
		exit(1);
	}
	RTE_LCORE_FOREACH(lcore)
		last = lcore;
	poller.cpus = rte_lcore_cpuset(last);
	poller.socket = rte_lcore_to_socket_id(last);
	if (CPU_COUNT(&allowed))
		sched_setaffinity(0, sizeof(allowed), &allowed);
	return used;
}

static void *poll_main(void *unused)
{
	/* Without a number of its own a thread has no cache in the memory pools. */
	if (rte_thread_register())
		fprintf(stderr, "polling thread: no lcore number left: buffers are taken without a cache\n");
	poller.run(poller.opaque);
	rte_thread_unregister();
	return NULL;
}

int eal_poll_start(void (*run)(void *opaque), void *opaque)
{
	poller.run = run;
	poller.opaque = opaque;
	eal_polling = true;
	return affinity_start(&poller.thread, &poller.cpus, poll_main, NULL);
}

void eal_poll_end(void)
{
	__atomic_store_n(&eal_polling, false, __ATOMIC_RELAXED);
	pthread_join(poller.thread, NULL);
}

static void buffer_fill(struct rte_mempool *pool, void *opaque, void *object, unsigned index)
{
	uint8_t *at = rte_pktmbuf_mtod((struct rte_mbuf *)object, uint8_t *);

	if (opaque)
		frame_write(at, FRAMES_BYTES_MAX, opaque, index);
	else
		memset(at, 0, FRAMES_BYTES_MAX);
}

static void buffer_reset(struct rte_mempool *pool, void *opaque, void *object, unsigned index)
{
	rte_pktmbuf_reset(object);
}

struct rte_mempool *eal_pool_new_of(unsigned frames, const char *name, const struct frame_source *source)
{
	struct frame_source copy = source ? *source : (struct frame_source){ 0 };
	struct rte_mempool *pool = rte_pktmbuf_pool_create(name, frames, EAL_POOL_CACHE, 0,
							   RTE_MBUF_DEFAULT_BUF_SIZE, (int)poller.socket);

	if (!pool) {
		fprintf(stderr, "pool %s: %s; more memory is needed (-m)\n", name, rte_strerror(rte_errno));
		return NULL;
	}
	rte_mempool_obj_iter(pool, buffer_reset, NULL);
	rte_mempool_obj_iter(pool, buffer_fill, source ? &copy : NULL);
	return pool;
}

struct rte_mempool *eal_pool_new(const char *name, const struct frame_source *source)
{
	return eal_pool_new_of(EAL_POOL_FRAMES, name, source);
}
