/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"
#include "base/fd.h"
#include "base/util.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING /* Linux 4.20 */
#define PACKET_IGNORE_OUTGOING 23
#endif

#define BURST	     64u
#define FRAME_BYTES  65536u
#define BUFFER_BYTES (16 << 20)

static const char packet_prefix[] = "packet:", tap_prefix[] = "tap:";

struct wire {
	int fd;
	bool tap;
	struct wire_calls calls;
	unsigned slots, waiting;
	uint32_t slot_bytes;
	uint8_t *out, *in; /* slots of slot_bytes; BURST of FRAME_BYTES, touched when first needed */
	struct iovec *out_iov, in_iov[BURST], got[BURST];
	struct mmsghdr *out_messages, in_messages[BURST];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

bool wire_path(const char *path)
{
	return !strncmp(path, packet_prefix, sizeof(packet_prefix) - 1) || !strncmp(path, tap_prefix, sizeof(tap_prefix) - 1);
}

/* ---- making and ending it ---- */

static int name_take(const char *path, char name[IFNAMSIZ])
{
	const char *after = strchr(path, ':') + 1;
	size_t bytes = strlen(after);

	if (!bytes || bytes >= IFNAMSIZ)
		return -ENODEV;
	memcpy(name, after, bytes + 1);
	return 0;
}

/* Whatever comes, whoever it is for; a queue that holds what comes while the other thread is at work. */
static void packet_options(int fd, int interface)
{
	const struct packet_mreq all = {.mr_ifindex = interface, .mr_type = PACKET_MR_PROMISC};
	const int yes = 1, bytes = BUFFER_BYTES;

	(void)setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/* Nothing comes before it is bound. */
static int packet_open(const char *name, int *ret_fd)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
	int err = address.sll_ifindex ? 0 : -errno;

	if (err)
		return err;
	*ret_fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*ret_fd < 0)
		return -errno;
	packet_options(*ret_fd, address.sll_ifindex);
	return bind(*ret_fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int tap_open(const char *name, int *ret_fd)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	*ret_fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (*ret_fd < 0)
		return -errno;
	memcpy(request.ifr_name, name, IFNAMSIZ);
	return ioctl(*ret_fd, TUNSETIFF, &request) ? -errno : 0;
}

static int memory_new(struct wire *w)
{
	w->out = calloc(w->slots, w->slot_bytes);
	w->in = calloc(BURST, FRAME_BYTES);
	w->out_iov = calloc(w->slots, sizeof(*w->out_iov));
	w->out_messages = calloc(w->slots, sizeof(*w->out_messages));
	if (!w->out || !w->in || !w->out_iov || !w->out_messages)
		return -ENOMEM;
	for (unsigned i = 0; i < w->slots; i++) {
		w->out_iov[i] = (struct iovec){.iov_base = w->out + (size_t)i * w->slot_bytes};
		w->out_messages[i].msg_hdr = (struct msghdr){.msg_iov = &w->out_iov[i], .msg_iovlen = 1};
	}
	for (unsigned i = 0; i < BURST; i++) {
		w->in_iov[i] = (struct iovec){w->in + (size_t)i * FRAME_BYTES, FRAME_BYTES};
		w->in_messages[i].msg_hdr = (struct msghdr){.msg_iov = &w->in_iov[i], .msg_iovlen = 1};
	}
	return 0;
}

int wire_open(const char *path, unsigned slots, uint32_t frame_bytes_max, struct wire **ret_wire)
{
	struct wire *w = calloc(1, sizeof(*w));
	char name[IFNAMSIZ] = "";
	int err;

	if (!w)
		return -ENOMEM;
	w->fd = -1;
	w->tap = !strncmp(path, tap_prefix, sizeof(tap_prefix) - 1);
	w->slots = min_u32(slots, BURST);
	w->slot_bytes = (frame_bytes_max + 63) & ~63u;
	err = name_take(path, name);
	if (!err)
		err = memory_new(w);
	if (!err)
		err = w->tap ? tap_open(name, &w->fd) : packet_open(name, &w->fd);
	if (err)
		wire_close(w);
	else
		*ret_wire = w;
	return err;
}

void wire_close(struct wire *w)
{
	if (!w)
		return;
	fd_close(&w->fd);
	free(w->out);
	free(w->in);
	free(w->out_iov);
	free(w->out_messages);
	free(w);
}

int wire_fd(const struct wire *w)
{
	return w->fd;
}

const struct wire_calls *wire_calls(const struct wire *w)
{
	return &w->calls;
}

/* EIO is what a TAP interface says that is down. */
static bool serious(int err)
{
	return err == ENETDOWN || err == ENXIO || err == EIO || err == EBADFD;
}

/* ---- out ---- */

uint8_t *wire_slot(struct wire *w)
{
	return w->waiting < w->slots ? w->out_iov[w->waiting].iov_base : NULL;
}

void wire_send(struct wire *w, uint32_t frame_bytes)
{
	w->out_iov[w->waiting++].iov_len = frame_bytes;
}

/* From frame `at` on: how many have gone. -1: see errno, of the first of them. */
static int some_out(struct wire *w, unsigned at)
{
	if (w->tap)
		return write(w->fd, w->out_iov[at].iov_base, w->out_iov[at].iov_len) < 0 ? -1 : 1;
	return sendmmsg(w->fd, w->out_messages + at, w->waiting - at, 0);
}

int wire_flush(struct wire *w)
{
	uint64_t begin = now_ns();
	unsigned done = 0;
	int err = 0;

	while (done < w->waiting && !err) {
		int sent = some_out(w, done);

		if (sent < 0 && serious(errno))
			err = -errno;
		done += sent > 0 ? (unsigned)sent : 1;
	}
	w->waiting = 0;
	counter_add(&w->calls.send_ns, now_ns() - begin);
	return err;
}

/* ---- in ---- */

static int tap_in(struct wire *w, unsigned max)
{
	unsigned count = 0;
	ssize_t n = 0;

	while (count < max && (n = read(w->fd, w->in_iov[count].iov_base, FRAME_BYTES)) >= 0)
		w->got[count++].iov_len = (size_t)n;
	return n < 0 && !count ? -1 : (int)count;
}

static int packet_in(struct wire *w, unsigned max)
{
	int count = recvmmsg(w->fd, w->in_messages, max, MSG_DONTWAIT, NULL);

	for (int i = 0; i < count; i++)
		w->got[i].iov_len = w->in_messages[i].msg_len;
	return count;
}

int wire_receive(struct wire *w, unsigned max, const struct iovec **ret_frames)
{
	uint64_t begin = now_ns();
	int count;

	max = min_u32(max, BURST);
	count = w->tap ? tap_in(w, max) : packet_in(w, max);
	if (count < 0)
		return serious(errno) ? -errno : 0;
	if (count)
		counter_add(&w->calls.receive_ns, now_ns() - begin);
	for (int i = 0; i < count; i++)
		w->got[i].iov_base = w->in_iov[i].iov_base;
	*ret_frames = w->got;
	return count;
}
