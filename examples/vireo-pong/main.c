/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network card whose wire ends in this program, which answers ARP and pings for one IPv4 address. The address of the
 * endpoint alone says at whose door it stands:
 *
 *	vireo-pong vhost-user:/tmp/pong.sock 10.0.0.1    a virtual machine, or any program with a vhost-user front end
 *	vireo-pong vduse:pong 10.0.0.1                   this machine's own kernel: a new network interface (as root)
 *	vireo-pong cuse:pong 10.0.0.1                    /dev/pong, for who speaks the kernel's vhost ioctls (as root)
 *
 * One thread does everything: the device's control thread is the worker of its two queues, too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <vireo/vireo.h>

#define BURST 32
#define FRAME_BYTES_MAX 1518

enum { RECEIVE, TRANSMIT, QUEUES }; /* of the device's one pair */
enum { ON_SIGNAL = QUEUES, ON_ENDPOINT }; /* what an event is about, if not a queue's kick */

static struct vireo_fault_table *faults; /* for the signal handler */

struct pong {
	struct vireo_net *net;
	struct vireo_endpoint *endpoint;
	struct in_addr ip;
	int epoll_fd, signal_fd;
	bool running[QUEUES];
	bool polled; /* the driver wants us to look, and never kicks */
	bool more; /* frames may be there, and no kick will come for them */
	bool closing, gone; /* the endpoint */
};

static const uint8_t our_mac[ETH_ALEN] = { 0x02, 'p', 'o', 'n', 'g', 0 };

/* ---- frames: each is turned into its answer where it stands ---- */

static bool arp_answer(const struct pong *pong, uint8_t *frame, uint32_t len_bytes)
{
	struct ether_arp *arp = (struct ether_arp *)(frame + ETH_HLEN);

	if (len_bytes < ETH_HLEN + sizeof(*arp) || arp->ea_hdr.ar_op != htons(ARPOP_REQUEST) ||
	    memcmp(arp->arp_tpa, &pong->ip, sizeof(pong->ip)) != 0)
		return false;
	arp->ea_hdr.ar_op = htons(ARPOP_REPLY);
	memcpy(arp->arp_tha, arp->arp_sha, ETH_ALEN);
	memcpy(arp->arp_tpa, arp->arp_spa, sizeof(pong->ip));
	memcpy(arp->arp_sha, our_mac, ETH_ALEN);
	memcpy(arp->arp_spa, &pong->ip, sizeof(pong->ip));
	return true;
}

/* The addresses change places, which leaves the IP checksum as it is. */
static bool echo_answer(const struct pong *pong, uint8_t *frame, uint32_t len_bytes)
{
	struct iphdr *ip = (struct iphdr *)(frame + ETH_HLEN);
	struct icmphdr *icmp = (struct icmphdr *)(ip + 1);
	uint32_t sum;

	if (len_bytes < ETH_HLEN + sizeof(*ip) + sizeof(*icmp) || ip->ihl != 5 || ip->protocol != IPPROTO_ICMP ||
	    (ip->frag_off & htons(IP_MF | IP_OFFMASK)) || ip->daddr != pong->ip.s_addr ||
	    icmp->type != ICMP_ECHO)
		return false;
	ip->daddr = ip->saddr;
	ip->saddr = pong->ip.s_addr;
	icmp->type = ICMP_ECHOREPLY;
	sum = icmp->checksum + htons(ICMP_ECHO << 8); /* as RFC 1624 mends a sum */
	icmp->checksum = (uint16_t)(sum + (sum >> 16));
	return true;
}

static bool answer(const struct pong *pong, struct vireo_packet *packet)
{
	uint8_t *frame = packet->data;
	struct ether_header *ethernet = packet->data; /* the library hands out no frame that is shorter */
	uint16_t type = ntohs(ethernet->ether_type);
	bool answered = type == ETHERTYPE_ARP  ? arp_answer(pong, frame, packet->len_bytes)
			: type == ETHERTYPE_IP ? echo_answer(pong, frame, packet->len_bytes)
					       : false;

	if (!answered)
		return false;
	memcpy(ethernet->ether_dhost, ethernet->ether_shost, ETH_ALEN);
	memcpy(ethernet->ether_shost, our_mac, ETH_ALEN);
	return true;
}

static int burst_answer(const struct pong *pong)
{
	static _Alignas(4) uint8_t frames[BURST][2 + FRAME_BYTES_MAX]; /* IP headers lie at multiples of 4 */
	struct vireo_packet packets[BURST];
	int count, answers = 0;

	for (int i = 0; i < BURST; i++)
		packets[i] = (struct vireo_packet){ .data = frames[i] + 2, .capacity_bytes = FRAME_BYTES_MAX };
	count = vireo_net_dequeue_burst(pong->net, 0, packets, BURST);
	for (int i = 0; i < count; i++)
		if (answer(pong, &packets[i]))
			packets[answers++] = packets[i];
	if (answers && pong->running[RECEIVE])
		vireo_net_enqueue_burst(pong->net, 0, packets, (unsigned)answers); /* without a buffer they are lost */
	return count;
}

/*
 * One burst a call: a guest that goes on and on gets its turn, and no more. Kicks are off while frames are there; one
 * that came before they are on again is found by the last look.
 */
static void frames_answer(struct pong *pong)
{
	int count;

	vireo_net_kick_enable(pong->net, TRANSMIT, false);
	count = burst_answer(pong);
	pong->more = count > 0 || (!count && vireo_net_kick_enable(pong->net, TRANSMIT, true)); /* below 0: it is broken */
}

/* ---- queues come and go ---- */

static void watch(const struct pong *pong, int fd, uint32_t events, uint32_t what)
{
	struct epoll_event event = { .events = events, .data.u32 = what };

	if (epoll_ctl(pong->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		perror("vireo-pong: epoll_ctl");
}

static void queue_started(void *opaque, unsigned queue)
{
	struct pong *pong = opaque;

	int kick_fd = vireo_net_kick_fd(pong->net, queue);

	pong->running[queue] = true;
	if (queue != TRANSMIT)
		return;
	pong->more = true; /* what came before it was started */
	pong->polled = kick_fd < 0;
	if (!pong->polled) /* edge-triggered: a kick is never read */
		watch(pong, kick_fd, EPOLLIN | EPOLLET, queue);
}

static void queue_stop(void *opaque, unsigned queue)
{
	struct pong *pong = opaque;

	pong->running[queue] = false;
	if (queue == TRANSMIT && !pong->polled)
		epoll_ctl(pong->epoll_fd, EPOLL_CTL_DEL, vireo_net_kick_fd(pong->net, queue), NULL);
	vireo_net_queue_quiesced(pong->net, queue);
}

static const struct vireo_net_ops ops = {
	.size = sizeof(ops),
	.queue_started = queue_started,
	.queue_stop = queue_stop,
};

/* ---- the program ---- */

struct aside {
	void (*work)(void *argument);
	void *argument;
};

static void *aside_main(void *opaque)
{
	struct aside aside = *(struct aside *)opaque;

	free(opaque);
	aside.work(aside.argument);
	return NULL;
}

/* For calls that wait for others: a thread each. */
static int run_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = malloc(sizeof(*aside));
	pthread_t thread;
	int err;

	if (!aside)
		return -ENOMEM;
	*aside = (struct aside){ .work = work, .argument = argument };
	err = pthread_create(&thread, NULL, aside_main, aside);
	if (err)
		free(aside);
	else
		pthread_detach(thread);
	return -err;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (vireo_fault_handle(faults, info->si_addr))
		return;
	signal(sig, SIG_DFL); /* not guest memory: our own bug, and the end */
	raise(sig);
}

/* SIGTERM, SIGINT and SIGHUP become readable; SIGPIPE, which a peer's pipes could raise, is ignored. */
static int signals_set_up(void)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigaction(SIGBUS, &bus, NULL) || sigprocmask(SIG_BLOCK, &stop, NULL))
		return -errno;
	return signalfd(-1, &stop, SFD_CLOEXEC);
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	fprintf(stderr, "vireo-pong: %s\n", line);
}

static void closed(void *opaque)
{
	struct pong *pong = opaque;

	pong->gone = true;
}

static void end(struct pong *pong)
{
	if (pong->closing)
		return;
	pong->closing = true;
	epoll_ctl(pong->epoll_fd, EPOLL_CTL_DEL, pong->signal_fd, NULL);
	vireo_endpoint_close(pong->endpoint, closed, pong);
}

/* For how long nothing needs to be done, in ms. */
static int patience(const struct pong *pong)
{
	if (!pong->running[TRANSMIT])
		return -1;
	return pong->more ? 0 : pong->polled ? 1 : -1;
}

/* Until the endpoint is closed, because of a signal or because it is lost: a negative errno then. */
static int serve(struct pong *pong)
{
	int lost = 0;

	while (!pong->gone) {
		struct epoll_event event;
		int count = epoll_wait(pong->epoll_fd, &event, 1, patience(pong));
		uint32_t what = count > 0 ? event.data.u32 : TRANSMIT;

		if (what == TRANSMIT && pong->running[TRANSMIT])
			frames_answer(pong);
		if (what == ON_ENDPOINT) { /* also while it is being closed */
			int r = vireo_endpoint_dispatch(pong->endpoint);

			lost = lost ? lost : r;
		}
		if (what == ON_SIGNAL || lost)
			end(pong);
	}
	return lost;
}

static int endpoint_serve(struct pong *pong, const char *address)
{
	struct vireo_endpoint_config config = {
		.size = sizeof(config),
		.vduse.attach = VIREO_ATTACH_VIRTIO,
		.run_aside = run_aside,
		.close_aside = run_aside,
	};
	int r = vireo_endpoint_open(vireo_net_device(pong->net), address, &config, &pong->endpoint);

	if (r)
		return r;
	watch(pong, pong->signal_fd, EPOLLIN, ON_SIGNAL);
	watch(pong, vireo_endpoint_fd(pong->endpoint), EPOLLIN, ON_ENDPOINT);
	return serve(pong);
}

/* Frames come as they go over a wire: no segments to be cut, no checksums to be filled in. */
static int run(struct pong *pong, const char *address)
{
	struct vireo_net_config config = {
		.size = sizeof(config),
		.features_off = 1ull << VIREO_NET_F_CSUM_BIT,
		.ops = &ops,
		.opaque = pong,
		.log = { .write = log_line, .max_level = VIREO_LOG_INFO },
		.name = "pong",
		.faults = faults,
	};
	int r = vireo_net_new(&config, &pong->net);

	if (r)
		return r;
	r = endpoint_serve(pong, address);
	vireo_net_free(pong->net);
	return r;
}

/* What an endpoint that cannot be opened wants of the user. */
static const char *advice(int err)
{
	switch (-err) {
	case EINVAL:
		return "not an address of an endpoint: vhost-user:PATH, vduse:NAME or cuse:NAME";
	case ENOENT:
	case ENODEV:
		return "not there: the socket's folder, or the kernel's module: modprobe -a vduse virtio_vdpa, or cuse";
	case EACCES:
	case EPERM:
		return "not permitted: run it as root";
	case EADDRINUSE:
	case EBUSY:
		return "somebody has it already: choose another name";
	default:
		return strerror(-err);
	}
}

int main(int argc, char **argv)
{
	struct pong pong = { .epoll_fd = -1, .signal_fd = -1 };
	int r;

	if (argc != 3 || !inet_aton(argv[2], &pong.ip)) {
		fprintf(stderr, "usage: vireo-pong vhost-user:PATH|vduse:NAME|cuse:NAME IPV4-ADDRESS\n");
		return 2;
	}
	pong.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = pong.epoll_fd < 0 ? -errno : vireo_fault_table_new(0, &faults);
	if (!r)
		r = pong.signal_fd = signals_set_up();
	if (r >= 0)
		r = run(&pong, argv[1]);
	if (r < 0)
		fprintf(stderr, "vireo-pong: %s: %s\n", argv[1], advice(r));
	vireo_fault_table_free(faults);
	return r < 0 ? 1 : 0;
}
