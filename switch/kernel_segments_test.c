/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What is cut and summed here is what the kernel makes of the same frames: random ones go into a TAP interface, over a bridge, and out of
 * another whose reader takes no offloads. Each segment is the same, byte by byte. And what the kernel has cut is joined here (gro.c), and
 * cut by the kernel again: each segment is what it was. KERNEL_FRAMES: how many frames; KERNEL_SEED: which.
 *
 * In a network namespace of its own; without the right to one, or without TAP, it is skipped.
 */

#include "switch/checksum.h"
#include "switch/gro.h"
#include "switch/headers.h"
#include "switch/offload.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES_DEFAULT 10000u
#define SKIPPED        77
#define WAIT_MS        20000
#define PAYLOAD_MAX    60000u
#define PIECES_MAX     200u /* far fewer than an interface's queue holds */
#define QUEUE_FRAMES   1000
#define SEGMENT_BYTES_MAX 2048u /* with all headers */
/* What stands before each frame at a TAP interface; not all headers have all of its numbers. */
struct tap_header {
	uint8_t flags, gso;
	uint16_t header_bytes, segment_bytes, csum_start, csum_offset;
};

enum { TAP_NEEDS_CSUM = 1 };
enum { TAP_GSO_TCP4 = 1, TAP_GSO_TCP6 = 4, TAP_GSO_UDP = 5, TAP_GSO_ECN = 0x80 };

#define OFFLOAD_USO4   0x20u
#define OFFLOAD_USO6   0x40u

static const uint8_t source[6] = {2, 0, 0, 0, 0, 1};
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % below;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void skip(const char *why)
{
	printf("skipped: %s: %s\n", why, strerror(errno));
	exit(SKIPPED);
}

/* ---- the kernel's side ---- */

struct kernel {
	int in, out;
	bool uso; /* it cuts datagrams that come from a TAP */
};

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		perror(path); /* there will be frames that nobody has sent */
	if (fd >= 0)
		close(fd);
}

static int tap_new(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		skip("/dev/net/tun");
	strcpy(request.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &request))
		skip("a TAP interface");
	return fd;
}

static void interface_begin(int s, const char *name, const char *bridge)
{
	struct ifreq request = {0};

	strcpy(request.ifr_name, name);
	must(!ioctl(s, SIOCGIFFLAGS, &request), name);
	request.ifr_flags |= IFF_UP;
	must(!ioctl(s, SIOCSIFFLAGS, &request), name);
	if (!bridge)
		return;
	request.ifr_qlen = QUEUE_FRAMES;
	must(!ioctl(s, SIOCSIFTXQLEN, &request), name);
	request.ifr_ifindex = (int)if_nametoindex(name);
	strcpy(request.ifr_name, bridge);
	must(!ioctl(s, SIOCBRADDIF, &request), "an interface at a bridge");
}

static void kernel_begin(struct kernel *k)
{
	int s;

	if (unshare(CLONE_NEWNET))
		skip("a network namespace");
	write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	k->in = tap_new("in");
	k->out = tap_new("out");
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	must(s >= 0, "a socket");
	if (ioctl(s, SIOCBRADDBR, "br"))
		skip("a bridge");
	must(!ioctl(k->out, TUNSETOFFLOAD, 0), "an interface without offloads");
	k->uso = !ioctl(k->in, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | OFFLOAD_USO4 | OFFLOAD_USO6);
	interface_begin(s, "br", NULL);
	interface_begin(s, "in", "br");
	interface_begin(s, "out", "br");
	close(s);
}

/* ---- frames ---- */

struct made {
	uint32_t bytes, network, transport, payload;
	struct vireo_frame_offload offload;
	bool six, udp;
	uint8_t at[OFFLOAD_FRAME_BYTES];
};

static void put(struct made *m, const void *bytes, uint32_t count)
{
	memcpy(m->at + m->bytes, bytes, count);
	m->bytes += count;
}

static void put_random(struct made *m, uint32_t count)
{
	for (; count; count--)
		m->at[m->bytes++] = (uint8_t)draw(256);
}

static void put_link(struct made *m)
{
	static const uint8_t tags[2][4] = {{0x81, 0, 0x60, 5}, {0x81, 0, 0, 7}};

	put(m, (uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
	put(m, source, 6);
	if (!draw(3))
		put(m, tags[draw(2)], 4);
	put(m, m->six ? (uint8_t[]){0x86, 0xdd} : (uint8_t[]){8, 0}, 2);
	m->network = m->bytes;
}

static void put_ipv4(struct made *m)
{
	uint32_t options = draw(3) ? 0 : draw(11) * 4;

	put(m, (uint8_t[]){(uint8_t)(0x45 + options / 4), (uint8_t)draw(256), 0, 0}, 4);
	put_random(m, 2); /* the identification counts on from it, over the end too */
	put(m, (uint8_t[]){(uint8_t)(draw(2) * 0x40), 0, 64, m->udp ? 17 : 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, 14);
	memset(m->at + m->bytes, 1, options); /* no-operation */
	m->bytes += options;
}

static void put_ipv6(struct made *m)
{
	bool options = !draw(4);
	uint8_t last = m->udp ? 17 : 6;

	put(m, (uint8_t[]){0x60, 0, (uint8_t)draw(256), 1, 0, 0, options ? 60 : last, 64}, 8);
	put(m, (uint8_t[16]){0xfd, 7, [15] = 1}, 16);
	put(m, (uint8_t[16]){0xfd, 7, [15] = 2}, 16);
	if (options)
		put(m, (uint8_t[]){last, 0, 1, 4, 0, 0, 0, 0}, 8);
}

static void put_transport(struct made *m)
{
	uint32_t options = draw(2) ? draw(11) * 4 : 0;

	m->transport = m->bytes;
	put_random(m, 4);
	if (m->udp) {
		put(m, (uint8_t[4]){0}, 4);
		return;
	}
	put_random(m, 8);
	put(m, (uint8_t[]){(uint8_t)((5 + options / 4) << 4), (uint8_t)(0x10 | draw(2) << 3 | draw(2) | draw(2) << 6)}, 2);
	put_random(m, 2);
	put(m, (uint8_t[4]){0}, 4);
	put_random(m, options);
}

/* Lengths, the header's checksum, and of the transport's what a sender with offloads leaves there: the pseudo-header's. */
static void finish(struct made *m)
{
	uint8_t *ip = m->at + m->network, *transport = m->at + m->transport;
	uint32_t bytes = m->bytes - m->transport;
	uint64_t pseudo = checksum_add(0, ip + (m->six ? 8 : 12), m->six ? 32 : 8);
	uint16_t sum;

	if (m->udp)
		store_be16(transport + 4, (uint16_t)bytes);
	store_be16(ip + (m->six ? 4 : 2), (uint16_t)(m->bytes - m->network - (m->six ? 40 : 0)));
	sum = checksum_fold(checksum_add(0, ip, m->transport - m->network));
	if (!m->six)
		memcpy(ip + 10, &sum, 2);
	pseudo = checksum_add_u16(checksum_add_u16(pseudo, (uint16_t)bytes), m->udp ? 17 : 6);
	sum = (uint16_t)~checksum_fold(pseudo);
	memcpy(transport + m->offload.csum_offset, &sum, 2);
}

static void ask(struct made *m, bool gso, uint32_t segment_bytes)
{
	static const uint8_t kinds[2][2] = {{VIREO_GSO_TCP4, VIREO_GSO_TCP6}, {VIREO_GSO_UDP4, VIREO_GSO_UDP6}};

	m->offload = (struct vireo_frame_offload){
		.flags = VIREO_FRAME_NEEDS_CSUM,
		.csum_start = (uint16_t)m->transport,
		.csum_offset = m->udp ? 6 : 16,
	};
	if (!gso)
		return;
	m->offload.gso = kinds[m->udp][m->six];
	m->offload.segment_bytes = (uint16_t)segment_bytes;
	m->offload.header_bytes = (uint16_t)m->payload;
	if (!m->udp && m->at[m->transport + 13] & 0x80)
		m->offload.flags |= VIREO_FRAME_ECN;
}

static void make(struct made *m, bool uso)
{
	uint32_t segment_bytes = 300 + draw(1100), payload;
	bool gso;

	m->bytes = 0;
	m->six = draw(2);
	m->udp = !draw(3);
	gso = draw(4) && (uso || !m->udp);
	put_link(m);
	if (m->six)
		put_ipv6(m);
	else
		put_ipv4(m);
	put_transport(m);
	m->payload = m->bytes;
	if (gso && !m->udp && !draw(3))
		m->at[m->transport + 13] |= 0x80; /* CWR, which only the first segment bears */
	payload = gso ? segment_bytes + 1 + draw(draw(4) ? 8 * segment_bytes : PAYLOAD_MAX - segment_bytes) : draw(1200);
	if (m->udp && gso && payload > 100 * segment_bytes)
		payload = 100 * segment_bytes;
	put_random(m, payload);
	ask(m, gso, segment_bytes);
	finish(m);
}

/* ---- what becomes of them ---- */

static void send_to_kernel(const struct kernel *k, const struct made *m)
{
	static const uint8_t types[] = {
		[VIREO_GSO_TCP4] = TAP_GSO_TCP4, [VIREO_GSO_TCP6] = TAP_GSO_TCP6,
		[VIREO_GSO_UDP4] = TAP_GSO_UDP, [VIREO_GSO_UDP6] = TAP_GSO_UDP,
	};
	static uint8_t all[sizeof(struct tap_header) + OFFLOAD_FRAME_BYTES];
	struct tap_header header = {
		.flags = TAP_NEEDS_CSUM,
		.gso = types[m->offload.gso],
		.header_bytes = m->offload.header_bytes,
		.segment_bytes = m->offload.segment_bytes,
		.csum_start = m->offload.csum_start,
		.csum_offset = m->offload.csum_offset,
	};

	if (m->offload.flags & VIREO_FRAME_ECN)
		header.gso |= TAP_GSO_ECN;
	memcpy(all, &header, sizeof(header));
	memcpy(all + sizeof(header), m->at, m->bytes);
	must(write(k->in, all, sizeof(header) + m->bytes) == (ssize_t)(sizeof(header) + m->bytes), "the kernel takes a frame");
}

/* What is ours; the kernel has things to say itself. */
static uint32_t kernels_next(const struct kernel *k, uint8_t *frame, size_t room)
{
	const size_t header_bytes = sizeof(struct tap_header);
	uint8_t all[sizeof(struct tap_header) + 4096];
	struct pollfd readable = {.fd = k->out, .events = POLLIN};
	ssize_t bytes;

	do {
		must(poll(&readable, 1, WAIT_MS) == 1, "the kernel gives a segment back");
		bytes = read(k->out, all, sizeof(all));
		must(bytes > (ssize_t)header_bytes && (size_t)bytes - header_bytes <= room, "a segment");
	} while (memcmp(all + header_bytes + 6, source, sizeof(source)) != 0);
	memcpy(frame, all + header_bytes, (size_t)bytes - header_bytes);
	return (uint32_t)((size_t)bytes - header_bytes);
}

static void print_bytes(const char *who, const uint8_t *at, uint32_t bytes)
{
	fprintf(stderr, "%s %u:", who, bytes);
	for (uint32_t i = 0; i < bytes && i < 140; i++)
		fprintf(stderr, " %02x", at[i]);
	fputc('\n', stderr);
}

/* The first segments of one frame, as the kernel has cut them. */
struct segments {
	unsigned count;
	uint32_t bytes[BURST_FRAMES];
	uint8_t at[BURST_FRAMES][SEGMENT_BYTES_MAX];
};

static void keep(struct segments *kept, const uint8_t *theirs, uint32_t bytes)
{
	if (kept->count == BURST_FRAMES)
		return;
	memcpy(kept->at[kept->count], theirs, bytes);
	kept->bytes[kept->count++] = bytes;
}

static void same_as_the_kernels(const struct kernel *k, const struct vireo_frame *ours, unsigned frame, unsigned piece,
				struct segments *kept)
{
	static uint8_t theirs[SEGMENT_BYTES_MAX], mine[SEGMENT_BYTES_MAX];
	uint32_t bytes = kernels_next(k, theirs, sizeof(theirs));

	if (ours->len_bytes <= sizeof(mine))
		offload_linearise(mine, ours);
	keep(kept, theirs, bytes);
	if (bytes == ours->len_bytes && !memcmp(theirs, mine, bytes))
		return;
	fprintf(stderr, "frame %u, piece %u differs (gso %u)\n", frame, piece, ours->offload.gso);
	print_bytes("kernel", theirs, bytes);
	print_bytes("ours  ", mine, min_u32(ours->len_bytes, sizeof(mine)));
	exit(1);
}

/* ---- and joined again ---- */

static void same_as_before(const struct segments *kept, unsigned at, const uint8_t *bytes, uint32_t count, unsigned frame)
{
	if (at < kept->count && count == kept->bytes[at] && !memcmp(bytes, kept->at[at], count))
		return;
	fprintf(stderr, "frame %u, segment %u is another when it has been joined, and cut by the kernel\n", frame, at);
	print_bytes("it is ", bytes, count);
	if (at < kept->count)
		print_bytes("it was", kept->at[at], kept->bytes[at]);
	exit(1);
}

/* One that gro.c has made, or left alone, of the segments from `at` on. Returns how many these were. */
static unsigned cut_again(const struct kernel *k, const struct segments *kept, const struct vireo_frame *frame, unsigned at,
			  unsigned number)
{
	static uint8_t segment[SEGMENT_BYTES_MAX];
	static struct made whole;
	uint32_t bytes, done = 0;
	unsigned count = 0;

	whole.bytes = frame->len_bytes;
	whole.offload = frame->offload;
	offload_linearise(whole.at, frame);
	if (frame->offload.gso == VIREO_GSO_NONE) {
		same_as_before(kept, at, whole.at, whole.bytes, number);
		return 1;
	}
	send_to_kernel(k, &whole);
	for (uint32_t payload = whole.bytes - whole.offload.header_bytes; done < payload; count++) {
		bytes = kernels_next(k, segment, sizeof(segment));
		same_as_before(kept, at + count, segment, bytes, number);
		done += bytes - whole.offload.header_bytes;
	}
	return count;
}

/* Returns how many frames they have become. */
static unsigned join(const struct kernel *k, struct segments *kept, unsigned number)
{
	static struct vireo_frame frames[BURST_FRAMES];
	static struct iovec pieces[BURST_FRAMES];
	static struct gro_room room;
	unsigned left, at = 0;

	for (unsigned i = 0; i < kept->count; i++) {
		pieces[i] = (struct iovec){kept->at[i], kept->bytes[i]};
		frames[i] = (struct vireo_frame){.iov = &pieces[i], .iov_count = 1, .len_bytes = kept->bytes[i]};
		memcpy(frames[i].head, kept->at[i], VIREO_FRAME_HEAD_BYTES);
	}
	left = gro_merge(&room, frames, kept->count);
	for (unsigned i = 0; i < left; i++)
		at += cut_again(k, kept, &frames[i], at, number);
	must(at == kept->count, "all segments are there again");
	return left;
}

static void check(const struct kernel *k, struct offload_arena *arena, struct made *m, unsigned number, struct segments *kept)
{
	struct iovec piece = {m->at, m->bytes};
	struct vireo_frame frame = {.iov = &piece, .iov_count = 1, .len_bytes = m->bytes, .offload = m->offload}, *next;
	struct offload_job job;

	memcpy(frame.head, m->at, VIREO_FRAME_HEAD_BYTES);
	offload_reset(arena);
	kept->count = 0;
	send_to_kernel(k, m);
	must(!offload_begin(&job, arena, &frame), "a frame is cut");
	for (unsigned pieces = 0; !job.finished && (next = offload_next(&job)); pieces++)
		same_as_the_kernels(k, next, number, pieces, kept);
}

int main(void)
{
	const char *frames = getenv("KERNEL_FRAMES"), *given = getenv("KERNEL_SEED");
	unsigned count = frames ? (unsigned)strtoul(frames, NULL, 10) : FRAMES_DEFAULT;
	unsigned segments = 0, joined = 0;
	static struct segments kept;
	static struct made made;
	struct offload_arena *arena;
	struct kernel kernel;

	seed = given ? strtoull(given, NULL, 10) : 1;
	kernel_begin(&kernel);
	must(!offload_arena_new(PIECES_MAX + 56, 128u * 1024, &arena), "an arena");
	for (unsigned i = 0; i < count; i++) {
		make(&made, kernel.uso);
		check(&kernel, arena, &made, i, &kept);
		segments += kept.count;
		joined += kept.count - join(&kernel, &kept, i);
	}
	offload_arena_free(arena);
	printf("%u frames were cut as the kernel cuts them%s; of %u segments %u joined the one before\n", count,
	       kernel.uso ? "" : "; it takes no datagrams to be cut", segments, joined);
	must(joined > segments / 4 || count < 1000, "segments are joined");
	return 0;
}
