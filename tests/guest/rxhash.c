/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rxhash INTERFACE FRAMES: the hash that the kernel has for each frame that comes, a line each. It ends when so many have come, or after a
 * minute, with 1 then. Where the driver tells no hash of ports, the kernel makes one of its own.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#define BLOCK_BYTES (1u << 20)
#define WAIT_S	    60

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A ring of one block that the kernel hands over every 10 ms. */
static int ring_open(const char *interface, uint8_t **ret_ring)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(interface) };
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK_BYTES,
		.tp_block_nr = 2,
		.tp_frame_size = 2048,
		.tp_frame_nr = 2 * BLOCK_BYTES / 2048,
		.tp_retire_blk_tov = 10,
		.tp_feature_req_word = TP_FT_REQ_FILL_RXHASH,
	};
	int version = TPACKET_V3, fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)))
		die("packet socket");
	*ret_ring = mmap(NULL, (size_t)2 * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*ret_ring == MAP_FAILED)
		die("its ring");
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)))
		die(interface);
	return fd;
}

/* Returns how many frames the block had. */
static unsigned block_print(struct tpacket_block_desc *block)
{
	const struct tpacket3_hdr *frame = (const void *)((const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
	unsigned count = 0;

	for (unsigned i = 0; i < block->hdr.bh1.num_pkts; i++) {
		const struct sockaddr_ll *from = (const void *)((const uint8_t *)frame + TPACKET_ALIGN(sizeof(*frame)));

		if (from->sll_pkttype != PACKET_OUTGOING && ++count)
			printf("%08x\n", (unsigned)frame->hv1.tp_rxhash);
		frame = (const void *)((const uint8_t *)frame + frame->tp_next_offset);
	}
	__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	return count;
}

int main(int argc, char **argv)
{
	unsigned wanted, seen = 0;
	time_t end = time(NULL) + WAIT_S;
	struct pollfd poll_fd = { .events = POLLIN };
	uint8_t *ring;

	if (argc != 3)
		return 2;
	wanted = (unsigned)strtoul(argv[2], NULL, 10);
	poll_fd.fd = ring_open(argv[1], &ring);
	for (unsigned next = 0; seen < wanted && time(NULL) < end;) {
		struct tpacket_block_desc *block = (void *)(ring + (size_t)next * BLOCK_BYTES);

		if (__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) {
			seen += block_print(block);
			next = !next;
		} else {
			poll(&poll_fd, 1, 100);
		}
	}
	return seen < wanted;
}
