/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The virtio-user front end, and its rings, before a hostile back end: each answer is honest, or cut, or another one's, as the input says; the back end's own
 * channel says anything; and what the device may write of a ring, it writes at any time. Whatever comes, no buffer is given back that was not made available or
 * twice, nothing is read or written out of bounds, and no fd is left.
 *
 * There is no thread: connect(2) of the front end gives it one end of a socket pair, and whenever it has sent a message the other end answers. What leaves it waiting
 * ends the connection.
 */
#include "driver/virtio_user/front.h"
#include "fuzz.h"
#include "vireo/notifier.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_SIZE    8u
#define BUFFER_BYTES 8192u
#define STEPS	     64u
#define COOKIES	     64u
#define CHANNEL_MAX  24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct back_end {
	struct fuzz_input in;
	int front; /* its fd, which is the front end's own; -1: there is none */
	int socket, channel;
	struct vireo_front *opened;
} back_end = {.front = -1, .socket = -1, .channel = -1};

/* ---- the back end ---- */

static void hang_up(void)
{
	shutdown(back_end.socket, SHUT_RDWR);
}

static void channel_talk(void)
{
	struct {
		struct vu_header header;
		uint8_t payload[CHANNEL_MAX];
	} message = {.header = {.request = VU_BACKEND_CONFIG_CHANGE_MSG, .flags = VU_VERSION | VU_FLAG_NEED_REPLY}};
	uint8_t how = fuzz_u8(&back_end.in), bytes = fuzz_u8(&back_end.in) % sizeof(message), answer[64];

	if (how & 1)
		fuzz_take(&back_end.in, &message, sizeof(message.header));
	else
		bytes = sizeof(message.header);
	if (how & 2) {
		message.header.size_bytes = CHANNEL_MAX;
		fuzz_take(&back_end.in, message.payload, sizeof(message.payload));
		bytes = sizeof(message) - (how >> 4);
	}
	send(back_end.channel, &message, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (how & 4)
		shutdown(back_end.channel, SHUT_WR);
	recv(back_end.channel, answer, sizeof(answer), MSG_DONTWAIT);
}

static uint64_t number_for(uint32_t request)
{
	static const uint64_t ring_features = UINT64_C(1) << FRONT_F_INDIRECT_BIT | UINT64_C(1) << FRONT_F_EVENT_IDX_BIT | UINT64_C(1) << FRONT_F_RING_PACKED_BIT |
					      UINT64_C(1) << FRONT_F_IN_ORDER_BIT | UINT64_C(1) << 32;
	uint8_t how = fuzz_u8(&back_end.in);
	uint64_t any = (uint64_t)fuzz_u32(&back_end.in) * UINT64_C(0x100000001);

	if ((how & 15) == 15)
		return any;
	switch (request) {
	case VU_GET_FEATURES:
		return UINT64_C(1) << VU_F_PROTOCOL_FEATURES_BIT | (ring_features & (how & 1 ? any : UINT64_MAX));
	case VU_GET_PROTOCOL_FEATURES:
		return how & 1 ? any : UINT64_MAX;
	case VU_GET_QUEUE_NUM:
	case VU_GET_MAX_MEM_SLOTS:
		return how;
	case VU_GET_STATUS:
		return 15;
	default:
		return 0; /* acknowledged */
	}
}

static void answer_honestly(const struct vu_header *asked, const uint8_t *payload)
{
	struct {
		struct vu_header header;
		uint8_t payload[VU_PAYLOAD_BYTES_MAX];
	} answer = {.header = {.request = asked->request, .flags = VU_VERSION | VU_FLAG_REPLY, .size_bytes = sizeof(uint64_t)}};
	uint64_t number;

	if (asked->request == VU_GET_CONFIG || asked->request == VU_GET_VRING_BASE) {
		answer.header.size_bytes = asked->size_bytes;
		memcpy(answer.payload, payload, asked->size_bytes);
	} else {
		number = number_for(asked->request);
		memcpy(answer.payload, &number, sizeof(number));
	}
	send(back_end.socket, &answer, sizeof(answer.header) + answer.header.size_bytes, MSG_NOSIGNAL);
}

static void answer_with_a_lie(const struct vu_header *asked, uint8_t lie)
{
	struct {
		struct vu_header header;
		uint8_t payload[64];
	} answer = {.header = {.request = asked->request, .flags = VU_VERSION | VU_FLAG_REPLY, .size_bytes = sizeof(uint64_t)}};
	size_t bytes = sizeof(answer.header) + fuzz_u8(&back_end.in) % sizeof(answer.payload);

	if (lie & 1)
		fuzz_take(&back_end.in, &answer.header.request, 1);
	if (lie & 2)
		fuzz_take(&back_end.in, &answer.header.flags, sizeof(answer.header.flags));
	if (lie & 4)
		fuzz_take(&back_end.in, &answer.header.size_bytes, sizeof(answer.header.size_bytes));
	if (lie & 8)
		bytes %= sizeof(answer.header);
	fuzz_take(&back_end.in, answer.payload, 16);
	send(back_end.socket, &answer, bytes, MSG_NOSIGNAL);
	hang_up(); /* it may be too little, and nobody is to wait for the rest */
}

static void memory_scribble(int fd)
{
	uint8_t bytes[16], *at;
	struct stat st;

	if (fstat(fd, &st) || st.st_size <= 0)
		return;
	at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return;
	fuzz_take(&back_end.in, bytes, sizeof(bytes));
	memcpy(at + fuzz_u32(&back_end.in) % ((uint64_t)st.st_size - sizeof(bytes)), bytes, sizeof(bytes));
	munmap(at, (size_t)st.st_size);
}

/* Of the fds of a message: the channel is kept, what is taken for memory is written to, and all others are closed. */
static void fds_take(uint32_t request, struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	unsigned count = cmsg ? (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	int fds[VU_FDS_MAX];

	if (cmsg)
		memcpy(fds, CMSG_DATA(cmsg), count * sizeof(int));
	for (unsigned i = 0; i < count; i++) {
		if (request == VU_SET_BACKEND_REQ_FD && back_end.channel < 0) {
			back_end.channel = fds[i];
			continue;
		}
		if (request == VU_SET_MEM_TABLE || request == VU_ADD_MEM_REG)
			memory_scribble(fds[i]);
		close(fds[i]);
	}
}

static bool is_asked(const struct vu_header *header)
{
	switch (header->request) {
	case VU_GET_FEATURES:
	case VU_GET_PROTOCOL_FEATURES:
	case VU_GET_QUEUE_NUM:
	case VU_GET_MAX_MEM_SLOTS:
	case VU_GET_STATUS:
	case VU_GET_CONFIG:
	case VU_GET_VRING_BASE:
		return true;
	default:
		return header->flags & VU_FLAG_NEED_REPLY;
	}
}

static void serve(void)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * VU_FDS_MAX)];
	struct {
		struct vu_header header;
		uint8_t payload[VU_PAYLOAD_BYTES_MAX];
	} asked;
	struct iovec iov = {&asked, sizeof(asked)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(back_end.socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	uint8_t how = fuzz_u8(&back_end.in);

	if (n < (ssize_t)sizeof(asked.header))
		return;
	assert((size_t)n == sizeof(asked.header) + asked.header.size_bytes); /* of the front end's own message */
	fds_take(asked.header.request, &msg);
	if (how >> 6 == 3 && back_end.channel >= 0)
		channel_talk();
	if (!is_asked(&asked.header))
		return;
	if ((how & 0x30) == 0x30)
		answer_with_a_lie(&asked.header, how & 15);
	else
		answer_honestly(&asked.header, asked.payload);
}

/* ---- what the front end calls ---- */

int connect(int fd, const struct sockaddr *address, socklen_t bytes);
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags);

int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		abort();
	if (dup3(pair[0], fd, O_CLOEXEC) < 0)
		abort();
	close(pair[0]);
	back_end.front = fd;
	back_end.socket = pair[1];
	return 0;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n = syscall(SYS_sendmsg, fd, msg, flags);

	if (fd == back_end.front && n > 0)
		serve();
	return n;
}

/* ---- the driver, and what the device writes ---- */

struct cookies {
	bool out[COOKIES];
	uint32_t room_bytes[COOKIES]; /* of what is writable */
};

static void buffer_add(struct fuzz_input *in, struct vireo_front *front, struct vireo_driver_ring *ring, struct cookies *cookies)
{
	uint8_t *memory = vireo_front_memory(front), what = fuzz_u8(in);
	unsigned readable = what & 3, writable = what >> 2 & 3, cookie = 0;
	struct iovec iov[6];
	uint32_t room = 0;

	while (cookie < COOKIES && cookies->out[cookie])
		cookie++;
	assert(cookie < COOKIES); /* more than the ring has room for */
	for (unsigned i = 0; i < readable + writable; i++) {
		iov[i] = (struct iovec){memory + fuzz_u16(in) % BUFFER_BYTES, 1 + fuzz_u8(in)};
		room += i < readable ? 0 : (uint32_t)iov[i].iov_len;
	}
	if (vireo_driver_ring_add(ring, iov, readable, writable, what & 64, (void *)(uintptr_t)(cookie + 1)))
		return;
	cookies->out[cookie] = true;
	cookies->room_bytes[cookie] = room;
}

/* 0 and more: the device is believed to have given a buffer back. False: the ring is broken. */
static bool buffers_get(struct vireo_driver_ring *ring, struct cookies *cookies)
{
	uint32_t bytes;
	void *cookie;
	int got;

	while ((got = vireo_driver_ring_get(ring, &cookie, &bytes)) == 1) {
		uintptr_t number = (uintptr_t)cookie;

		assert(number && number <= COOKIES && cookies->out[number - 1]);
		assert(bytes <= cookies->room_bytes[number - 1]);
		cookies->out[number - 1] = false;
	}
	assert(got == 0 || got == -EPROTO);
	return !got;
}

/* What an honest device would do next with a split ring, but for the id and the length, which are as the input says. */
static void split_use(struct fuzz_input *in, struct front_ring *r)
{
	struct {
		uint16_t flags, idx, ring[RING_SIZE];
	} *avail = r->driver;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[RING_SIZE];
	} *used = r->device;
	uint8_t how = fuzz_u8(in);
	unsigned at = used->idx % RING_SIZE;

	used->ring[at].id = how & 1 ? fuzz_u8(in) : avail->ring[at];
	used->ring[at].len = how & 2 ? fuzz_u32(in) : how >> 2;
	__atomic_store_n(&used->idx, (uint16_t)(used->idx + 1), __ATOMIC_RELEASE);
}

/* The same of a packed ring: one of its descriptors. */
static void packed_use(struct fuzz_input *in, struct front_ring *r)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t id, flags;
	} *desc = r->desc;
	uint8_t how = fuzz_u8(in);
	unsigned at = how % RING_SIZE;

	if (how & 8)
		desc[at].id = fuzz_u8(in);
	if (how & 16)
		desc[at].len = fuzz_u32(in);
	if (how & 32)
		desc[at].flags = fuzz_u16(in);
	else
		desc[at].flags = (uint16_t)((desc[at].flags & 0x7fff) | (desc[at].flags & 0x80 ? 0x8000 : 0)); /* used as it is available */
}

static void device_writes(struct fuzz_input *in, struct vireo_front *front, struct front_ring *r, bool anywhere)
{
	if (anywhere) {
		uint16_t at = fuzz_u16(in), value = fuzz_u16(in);

		memcpy(front->memory + at % (front->rings_bytes - sizeof(value)), &value, sizeof(value));
	} else if (front_agreed(front, FRONT_F_RING_PACKED_BIT)) {
		packed_use(in, r);
	} else {
		split_use(in, r);
	}
}

static void config_do(struct fuzz_input *in, struct vireo_front *front)
{
	uint8_t data[64], bytes = fuzz_u8(in) % (sizeof(data) + 1);
	uint16_t offset = fuzz_u16(in) % 300;

	memset(data, 0, sizeof(data));
	if (bytes & 1)
		vireo_front_config_read(front, offset, data, bytes);
	else
		vireo_front_config_write(front, offset, data, bytes);
	vireo_front_config_changed(front);
}

static void drive(struct vireo_front *front)
{
	struct fuzz_input *in = &back_end.in;
	struct front_ring *r = &front->rings[0];
	struct cookies cookies = {0};
	bool broken = false;

	for (unsigned i = 0; in->left && i < STEPS && !broken; i++) {
		switch (fuzz_u8(in) % 10) {
		case 0:
		case 1:
			buffer_add(in, front, r->ring, &cookies);
			break;
		case 2:
			vireo_driver_ring_kick(r->ring);
			break;
		case 3:
			broken = !buffers_get(r->ring, &cookies);
			break;
		case 4:
			vireo_driver_ring_signal_enable(r->ring, fuzz_u8(in) & 1);
			break;
		case 5:
			device_writes(in, front, r, true);
			break;
		case 6:
		case 7:
		case 8:
			device_writes(in, front, r, false);
			break;
		default:
			config_do(in, front);
		}
		assert(vireo_driver_ring_free(r->ring) <= RING_SIZE);
	}
}

/* ---- one input ---- */

static struct vireo_notifier *notifier;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int before, after, ret;
	uint8_t how;

	if (!notifier && vireo_notifier_open(NULL, &notifier, NULL))
		abort();
	before = dup(STDERR_FILENO);
	close(before);
	back_end.in = (struct fuzz_input){data, size};
	how = fuzz_u8(&back_end.in);
	{
		const struct vireo_front_config config = {
			.size = sizeof(config),
			.path = "back-end",
			.features = how & 1 ? UINT64_MAX & ~(UINT64_C(1) << FRONT_F_RING_PACKED_BIT) : UINT64_MAX,
			.queue_count = 1 + (how >> 1 & 1),
			.queue_size = RING_SIZE,
			.memory_bytes = 2 * (size_t)BUFFER_BYTES,
			.notifier = notifier,
			.protocol_features_off = how & 4 ? UINT64_C(1) << VU_PROTO_CONFIGURE_MEM_SLOTS_BIT : 0,
		};
		struct vireo_front *front = NULL;

		ret = vireo_front_open(&config, &front);
		assert(!ret == !!front && ret <= 0);
		if (front) {
			drive(front);
			if (how & 8)
				vireo_front_abandon(front);
			else
				vireo_front_close(front);
		}
	}
	back_end.front = -1;
	if (back_end.socket >= 0)
		close(back_end.socket);
	if (back_end.channel >= 0)
		close(back_end.channel);
	back_end.socket = back_end.channel = -1;
	after = dup(STDERR_FILENO);
	close(after);
	assert(before == after);
	return 0;
}
