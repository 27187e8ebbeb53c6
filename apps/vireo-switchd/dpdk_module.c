/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The half of dpdk ports that knows DPDK: vireo-dpdk.so. One EAL for the process, without huge pages and without files, so that nothing has to be set
 * up, and an empty folder (/run/dpdk) is all that is left; a device for each port, with as many pairs of queues, and pools for each queue, since threads that EAL has not
 * made have no cache in a pool.
 *
 * A frame lies in one mbuf, which is as large as the longest that there can be.
 */
#include "dpdk_module.h"
#include "base/util.h"
#include <errno.h>
#include <pthread.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTORS	512u
#define TAGS_BYTES	8u
#define EAL_WORDS	12u
#define MIB_OF_EAL	64u
#define MIB_OF_QUEUES	64u /* of a pair: what is not needed is never touched */
#define STALE_MAX	65536u /* frames: a device that never stops giving is left at that */
#define LONGEST_BYTES	((uint32_t)(UINT16_MAX - RTE_PKTMBUF_HEADROOM)) /* of what one mbuf takes */
#define ADDRESS_BYTES	12u /* of a function on the PCI bus: 0000:03:00.0 */

struct dpdk_queue {
	/* Who has the in queue. */
	struct rte_mempool *in_pool;
	struct rte_mbuf *shown[DPDK_BURST];
	unsigned shown_count;
	/* Who has claimed the out queue. */
	struct rte_mempool *out_pool __rte_cache_aligned;
	struct rte_mbuf *filled[DPDK_BURST];
	unsigned filled_count;
} __rte_cache_aligned;

struct dpdk_device {
	uint16_t port;
	struct dpdk_facts facts;
	unsigned queue_count;
	struct dpdk_queue queues[];
};

/* ---- EAL ---- */

static void (*say)(const char *line);

static ssize_t log_write(void *opaque, const char *text, size_t bytes)
{
	char line[DPDK_WHY_BYTES];
	size_t count = min_u64(bytes, sizeof(line) - 1);

	memcpy(line, text, count);
	line[count] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (*line)
		say(line);
	return (ssize_t)bytes;
}

static int log_open(void)
{
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_write});

	if (!stream)
		return -ENOMEM;
	setvbuf(stream, NULL, _IOLBF, 0);
	return rte_openlog_stream(stream);
}

static bool is_function(const char *device)
{
	return strlen(device) >= ADDRESS_BYTES && device[4] == ':' && device[7] == ':' && device[10] == '.';
}

static unsigned first_cpu(const cpu_set_t *cpus)
{
	unsigned cpu = 0;

	while (cpu + 1 < CPU_SETSIZE && !CPU_ISSET(cpu, cpus))
		cpu++;
	return cpu;
}

/* EAL keeps the words, and binds the thread that starts it to a CPU. */
static int eal_start(const struct dpdk_start *start, const cpu_set_t *cpus)
{
	char **words = calloc(EAL_WORDS + 2 * start->count, sizeof(*words));
	char lcores[32], memory[16];
	unsigned count = 0, functions = 0;

	if (!words)
		return -ENOMEM;
	snprintf(lcores, sizeof(lcores), "0@%u", first_cpu(cpus));
	snprintf(memory, sizeof(memory), "%u", MIB_OF_EAL + MIB_OF_QUEUES * start->queues);
	{
		const char *const fixed[] = {"vireo-switchd", "--no-huge", "--no-shconf", "--no-telemetry", "--log-level=*:error", "-m", memory, "--lcores", lcores};

		while (count < ARRAY_SIZE(fixed)) {
			words[count] = strdup(fixed[count]);
			count++;
		}
	}
	for (unsigned i = 0; i < start->count; i++) {
		if (!is_function(start->devices[i]))
			continue;
		functions++;
		words[count++] = strdup("-a");
		words[count++] = strdup(start->devices[i]);
	}
	if (!functions)
		words[count++] = strdup("--no-pci");
	for (unsigned i = 0; i < count; i++)
		if (!words[i])
			return -ENOMEM;
	return rte_eal_init((int)count, words) < 0 ? -rte_errno : 0;
}

/* EAL's thread is to leave to the daemon's what comes for the process: all but what its own doing raises, and SIGSYS, by which a filter refuses calls. */
static void signals_block(sigset_t *ret_before)
{
	static const int own[] = {SIGSYS, SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
	sigset_t block;

	sigfillset(&block);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&block, own[i]);
	pthread_sigmask(SIG_BLOCK, &block, ret_before);
}

static int module_start(const struct dpdk_start *start, char *why)
{
	sigset_t before;
	cpu_set_t cpus;
	int err = pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) ? -errno : 0;

	say = start->say;
	if (!err)
		err = log_open();
	if (!err) {
		signals_block(&before);
		err = eal_start(start, &cpus);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	}
	if (err)
		snprintf(why, DPDK_WHY_BYTES, "DPDK's EAL does not start: %s", rte_strerror(-err));
	return err;
}

/* ---- a device ---- */

static uint16_t room_bytes(uint32_t longest_bytes)
{
	uint32_t bytes = longest_bytes <= 2048 ? 2048 : longest_bytes <= 16384 ? 16384 : LONGEST_BYTES;

	return (uint16_t)(bytes + RTE_PKTMBUF_HEADROOM);
}

static struct rte_mempool *pool_new(const struct dpdk_device *device, unsigned queue, const char *direction, unsigned descriptors)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "%s%u.%u", direction, device->port, queue);
	return rte_pktmbuf_pool_create(name, 2 * descriptors + 2 * DPDK_BURST, 0, 0, room_bytes(device->facts.longest_bytes), SOCKET_ID_ANY);
}

static int queue_setup(struct dpdk_device *device, unsigned index, uint16_t in_size, uint16_t out_size)
{
	struct dpdk_queue *queue = &device->queues[index];
	int err;

	queue->in_pool = pool_new(device, index, "in", in_size);
	queue->out_pool = pool_new(device, index, "out", out_size);
	if (!queue->in_pool || !queue->out_pool)
		return -rte_errno;
	err = rte_eth_rx_queue_setup(device->port, (uint16_t)index, in_size, (unsigned)rte_eth_dev_socket_id(device->port), NULL, queue->in_pool);
	return err ? err : rte_eth_tx_queue_setup(device->port, (uint16_t)index, out_size, (unsigned)rte_eth_dev_socket_id(device->port), NULL);
}

static int queues_setup(struct dpdk_device *device)
{
	uint16_t in_size = DESCRIPTORS, out_size = DESCRIPTORS;
	int err = rte_eth_dev_adjust_nb_rx_tx_desc(device->port, &in_size, &out_size);

	for (unsigned i = 0; i < device->queue_count && !err; i++)
		err = queue_setup(device, i, in_size, out_size);
	return err;
}

static int mtu_settle(struct dpdk_device *device, uint16_t mtu, char *why)
{
	uint16_t there = RTE_ETHER_MTU;
	int err = mtu ? rte_eth_dev_set_mtu(device->port, mtu) : 0;

	if (!err)
		err = rte_eth_dev_get_mtu(device->port, &there);
	device->facts.longest_bytes = there + RTE_ETHER_HDR_LEN + TAGS_BYTES;
	if (!err && device->facts.longest_bytes > LONGEST_BYTES) {
		err = -ERANGE;
		snprintf(why, DPDK_WHY_BYTES, "its MTU of %u is longer than a buffer of DPDK: give it one of %u at most, by mtu=", there,
			 LONGEST_BYTES - RTE_ETHER_HDR_LEN - TAGS_BYTES);
	}
	return err;
}

static int flows_spread(const struct dpdk_device *device, const struct rte_eth_dev_info *info, struct rte_eth_conf *config, char *why)
{
	if (device->queue_count > info->max_rx_queues || device->queue_count > info->max_tx_queues) {
		snprintf(why, DPDK_WHY_BYTES, "it has fewer than %u pairs of queues: give it more, if its driver has an argument for that, or the port fewer", device->queue_count);
		return -ERANGE;
	}
	config->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	if (device->queue_count > 1 && config->rx_adv_conf.rss_conf.rss_hf)
		config->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	return 0;
}

static int port_start(struct dpdk_device *device, uint16_t mtu, char *why)
{
	struct rte_eth_conf config = {.rxmode = {.mq_mode = RTE_ETH_MQ_RX_NONE}};
	struct rte_eth_dev_info info;
	int err = rte_eth_dev_info_get(device->port, &info);

	if (err)
		return err;
	snprintf(device->facts.driver, sizeof(device->facts.driver), "%s", info.driver_name);
	err = flows_spread(device, &info, &config, why);
	if (!err)
		err = rte_eth_dev_configure(device->port, (uint16_t)device->queue_count, (uint16_t)device->queue_count, &config);
	if (!err)
		err = mtu_settle(device, mtu, why);
	if (!err)
		err = queues_setup(device);
	if (!err)
		err = rte_eth_dev_start(device->port);
	return err;
}

/* A switch takes what is for others. A device that has no such mode shows all. */
static int promiscuous(uint16_t port)
{
	int err = rte_eth_promiscuous_enable(port);

	if (!err)
		err = rte_eth_allmulticast_enable(port);
	return err == -ENOTSUP ? 0 : err;
}

static int device_start(const char *text, unsigned queues, uint16_t mtu, struct dpdk_device **ret_device, char *why)
{
	struct dpdk_device *device = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*device) + queues * sizeof(device->queues[0]));
	char name[RTE_ETH_NAME_MAX_LEN];
	int err = device ? 0 : -ENOMEM;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ","), text);
	if (!err) {
		memset(device, 0, sizeof(*device) + queues * sizeof(device->queues[0]));
		device->queue_count = queues;
		err = rte_eth_dev_get_port_by_name(name, &device->port);
	}
	if (!err)
		err = port_start(device, mtu, why);
	if (!err) {
		err = promiscuous(device->port);
		if (err)
			rte_eth_dev_stop(device->port);
	}
	if (err)
		free(device);
	else
		*ret_device = device;
	return err;
}

static int module_open(const char *text, unsigned queues, uint16_t mtu, struct dpdk_device **ret_device, char *why)
{
	int err = rte_dev_probe(text);

	if (err == -EEXIST)
		err = 0;
	if (err) {
		snprintf(why, DPDK_WHY_BYTES, "DPDK finds no such device, or its driver does not take it: %s", rte_strerror(-err));
		return err;
	}
	*why = '\0';
	err = device_start(text, queues, mtu, ret_device, why);
	if (err && !*why)
		snprintf(why, DPDK_WHY_BYTES, "the device does not start: %s", rte_strerror(-err));
	return err;
}

static void module_facts(const struct dpdk_device *device, struct dpdk_facts *ret_facts)
{
	*ret_facts = device->facts;
}

static bool module_link(const struct dpdk_device *device)
{
	struct rte_eth_link link = {.link_status = RTE_ETH_LINK_DOWN};

	return !rte_eth_link_get_nowait(device->port, &link) && link.link_status == RTE_ETH_LINK_UP;
}

static uint64_t module_missed(const struct dpdk_device *device)
{
	struct rte_eth_stats stats;

	return rte_eth_stats_get(device->port, &stats) ? 0 : stats.imissed + stats.rx_nombuf;
}

/* ---- frames ---- */

/* The tag that a driver has taken out goes back; pieces are joined. */
static bool whole(struct rte_mbuf **mbuf)
{
	if ((*mbuf)->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && rte_vlan_insert(mbuf))
		return false;
	return !rte_pktmbuf_linearize(*mbuf);
}

static unsigned module_receive(struct dpdk_device *device, unsigned index, struct dpdk_packet *packets, unsigned max, unsigned *ret_dropped)
{
	struct dpdk_queue *queue = &device->queues[index];
	struct rte_mbuf *came[DPDK_BURST];
	unsigned count = rte_eth_rx_burst(device->port, (uint16_t)index, came, (uint16_t)RTE_MIN(max, DPDK_BURST));

	queue->shown_count = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!whole(&came[i])) {
			rte_pktmbuf_free(came[i]);
			continue;
		}
		packets[queue->shown_count] = (struct dpdk_packet){rte_pktmbuf_mtod(came[i], const uint8_t *), rte_pktmbuf_data_len(came[i])};
		queue->shown[queue->shown_count++] = came[i];
	}
	*ret_dropped = count - queue->shown_count;
	return queue->shown_count;
}

static void module_release(struct dpdk_device *device, unsigned index)
{
	struct dpdk_queue *queue = &device->queues[index];

	rte_pktmbuf_free_bulk(queue->shown, queue->shown_count);
	queue->shown_count = 0;
}

static void module_discard(struct dpdk_device *device)
{
	struct rte_mbuf *came[DPDK_BURST];
	unsigned count, all = 0;

	for (unsigned i = 0; i < device->queue_count; i++) {
		do {
			count = rte_eth_rx_burst(device->port, (uint16_t)i, came, DPDK_BURST);
			rte_pktmbuf_free_bulk(came, count);
			all += count;
		} while (count && all < STALE_MAX);
	}
}

static uint8_t *module_room(struct dpdk_device *device, unsigned index, uint32_t bytes)
{
	struct dpdk_queue *queue = &device->queues[index];
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(queue->out_pool);
	char *room = mbuf && bytes <= LONGEST_BYTES ? rte_pktmbuf_append(mbuf, (uint16_t)bytes) : NULL;

	if (room)
		queue->filled[queue->filled_count++] = mbuf;
	else
		rte_pktmbuf_free(mbuf);
	return (uint8_t *)room;
}

static unsigned module_send(struct dpdk_device *device, unsigned index)
{
	struct dpdk_queue *queue = &device->queues[index];
	unsigned count = queue->filled_count, sent = rte_eth_tx_burst(device->port, (uint16_t)index, queue->filled, (uint16_t)count);

	rte_pktmbuf_free_bulk(queue->filled + sent, count - sent);
	queue->filled_count = 0;
	return sent;
}

extern const struct dpdk_calls vireo_dpdk_calls;
__attribute__((visibility("default"))) const struct dpdk_calls vireo_dpdk_calls = {
	.version = VIREO_VERSION,
	.start = module_start,
	.open = module_open,
	.facts = module_facts,
	.link = module_link,
	.missed = module_missed,
	.discard = module_discard,
	.receive = module_receive,
	.release = module_release,
	.room = module_room,
	.send = module_send,
};
