/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that opens a vhost character device as QEMU does, and says what it got:
 *
 *	cuse_client rng NODE			an entropy device's bytes
 *	cuse_client iommu NODE			the same behind an IOMMU: each page when it is asked for
 *	cuse_client frames NODE NODE COUNT	frames from the one network device to the other and back
 *	cuse_client ping NODE COUNT		ARP and pings for 10.7.0.2, which the device's program answers
 *	cuse_client pairs NODE N		so many pairs at one node, and one more, which is refused
 *	cuse_client hold NODE			rings that run, until it is killed
 *	cuse_client outlive NODE		rings that run, until the node's program has gone
 *	cuse_client wait NODE			a read that waits until then
 *	cuse_client second NODE			an open and an owner, from another process than the first
 *	cuse_client lies NODE			every call out of order, with wrong numbers and bad pointers
 *	cuse_client rings NODE			rings that lie: each breaks the device, and RESET_OWNER mends it
 *	cuse_client stuck NODE FILE PID		a file of memory, and fds, whose server (process PID) does not answer, until
 *						there is something to read
 *
 * Exit status 0: all as expected; 1: a line says what was not.
 */
#include "wire/virtio_ring.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef VHOST_VDPA_GET_VRING_GROUP /* Linux 5.19 */
#define VHOST_VDPA_GET_VRING_GROUP _IOWR(VHOST_VIRTIO, 0x7b, struct vhost_vring_state)
#endif
#ifndef MAP_32BIT /* x86's alone */
#define MAP_32BIT 0
#endif

#define MEMORY_BYTES (1u << 20)
#define GPA UINT64_C(0x40000000)
#define SIZE 16u
#define BUFFER_BYTES 2048u
#define RING_BYTES 0x8000u
#define QUEUES 2u
#define HEADER_BYTES 12u
#define FRAME_BYTES 100u
#define F_VERSION_1 (UINT64_C(1) << 32)
#define WAIT_MS 20000

static void fail(const char *what)
{
	fprintf(stderr, "cuse_client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	errno = 0;
	fail(what);
}

struct queue {
	struct split_desc *desc;
	struct split_avail *avail;
	struct split_used *used;
	uint8_t *buffers;
	uint64_t buffers_gpa;
	uint16_t used_seen;
	int kick, call;
};

struct client {
	int fd, memfd;
	uint8_t *memory;
	struct queue queues[QUEUES];
};

/* ---- memory and rings ---- */

static void memory_make(struct client *client)
{
	client->memfd = memfd_create("guest", MFD_CLOEXEC);
	if (client->memfd < 0 || ftruncate(client->memfd, MEMORY_BYTES))
		fail("memfd");
	client->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, client->memfd, 0);
	if (client->memory == MAP_FAILED)
		fail("mmap");
}

struct table {
	struct {
		uint32_t nregions, padding;
	} head; /* struct vhost_memory has no end */
	struct vhost_memory_region regions[2];
};

static struct table table_of(const struct client *client)
{
	return (struct table){
		.head = { .nregions = 1 },
		.regions = { { .guest_phys_addr = GPA,
			       .memory_size = MEMORY_BYTES,
			       .userspace_addr = (uintptr_t)client->memory } },
	};
}

static void call(const struct client *client, unsigned long command, void *arg, const char *name)
{
	if (ioctl(client->fd, command, arg))
		fail(name);
}

#define CALL(client, command, arg) call(client, command, arg, #command)

static struct vhost_vring_addr ring_addr(const struct client *client, unsigned index)
{
	uintptr_t at = (uintptr_t)client->memory + index * RING_BYTES;

	return (struct vhost_vring_addr){
		.index = index,
		.desc_user_addr = at,
		.avail_user_addr = at + 0x1000,
		.used_user_addr = at + 0x2000,
	};
}

static void ring_set_up(struct client *client, unsigned index)
{
	struct vhost_vring_state num = { index, SIZE }, base = { index, 0 };
	struct vhost_vring_addr addr = ring_addr(client, index);
	struct queue *queue = &client->queues[index];

	*queue = (struct queue){
		.desc = (struct split_desc *)(uintptr_t)addr.desc_user_addr,
		.avail = (struct split_avail *)(uintptr_t)addr.avail_user_addr,
		.used = (struct split_used *)(uintptr_t)addr.used_user_addr,
		.buffers = client->memory + 0x40000 + index * SIZE * BUFFER_BYTES,
		.buffers_gpa = GPA + 0x40000 + index * SIZE * BUFFER_BYTES,
		.kick = eventfd(0, EFD_CLOEXEC),
		.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	CALL(client, VHOST_SET_VRING_NUM, &num);
	CALL(client, VHOST_SET_VRING_BASE, &base);
	CALL(client, VHOST_SET_VRING_ADDR, &addr);
	CALL(client, VHOST_SET_VRING_KICK, (&(struct vhost_vring_file){ index, queue->kick }));
	CALL(client, VHOST_SET_VRING_CALL, (&(struct vhost_vring_file){ index, queue->call }));
}

static void back_end(struct client *client, unsigned index, int fd)
{
	CALL(client, VHOST_NET_SET_BACKEND, (&(struct vhost_vring_file){ index, fd }));
}

static void client_open(struct client *client, const char *node)
{
	client->fd = open(node, O_RDWR | O_CLOEXEC);
	if (client->fd < 0)
		fail(node);
}

/* As QEMU: the owner, features, memory, rings, back ends. */
static void client_start(struct client *client, const char *node, unsigned queues)
{
	uint64_t features = 0, accepted = F_VERSION_1;
	struct table table;

	client_open(client, node);
	memory_make(client);
	CALL(client, VHOST_SET_OWNER, NULL);
	CALL(client, VHOST_GET_FEATURES, &features);
	expect(features & F_VERSION_1, "VIRTIO_F_VERSION_1 is not offered");
	CALL(client, VHOST_SET_FEATURES, &accepted);
	table = table_of(client);
	CALL(client, VHOST_SET_MEM_TABLE, &table);
	for (unsigned i = 0; i < queues; i++)
		ring_set_up(client, i);
	for (unsigned i = 0; i < queues; i++)
		back_end(client, i, client->memfd);
}

/* ---- buffers ---- */

static uint8_t *buffer(const struct queue *queue, unsigned slot)
{
	return queue->buffers + slot % SIZE * BUFFER_BYTES;
}

static void give(struct queue *queue, unsigned slot, uint32_t bytes, bool writable)
{
	const uint64_t one = 1;

	slot %= SIZE;
	queue->desc[slot] = (struct split_desc){
		.addr = queue->buffers_gpa + slot * BUFFER_BYTES,
		.len = bytes,
		.flags = writable ? DESC_F_WRITE : 0,
	};
	queue->avail->ring[queue->avail->idx % SIZE] = (uint16_t)slot;
	__atomic_store_n(&queue->avail->idx, queue->avail->idx + 1, __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&queue->used->flags, __ATOMIC_SEQ_CST) & SPLIT_USED_F_NO_NOTIFY) &&
	    write(queue->kick, &one, sizeof(one)) != sizeof(one))
		fail("kick");
}

/* The next used buffer, waited for; its slot. */
static unsigned take(struct queue *queue, uint32_t *ret_bytes, const char *what)
{
	struct pollfd poll_fd = { .fd = queue->call, .events = POLLIN };
	struct split_used_elem elem;
	uint64_t count;

	while (__atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) == queue->used_seen) {
		if (poll(&poll_fd, 1, WAIT_MS) <= 0)
			fail(what);
		if (read(queue->call, &count, sizeof(count)) < 0 && errno != EAGAIN)
			fail("read of the call fd");
	}
	elem = queue->used->ring[queue->used_seen++ % SIZE];
	*ret_bytes = elem.len;
	return elem.id;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- what it does ---- */

static void rng(const char *node)
{
	static const uint8_t zeroes[64];
	struct client client;
	uint32_t bytes;

	client_start(&client, node, 1);
	for (unsigned i = 0; i < 100; i++) {
		memset(buffer(&client.queues[0], i), 0, 64);
		give(&client.queues[0], i, 64, true);
		expect(take(&client.queues[0], &bytes, "no entropy came") == i % SIZE, "another buffer");
		expect(bytes == 64 && memcmp(buffer(&client.queues[0], i), zeroes, 64) != 0,
		       "no entropy in the buffer");
	}
	printf("rng: 100 buffers\n");
}

#define IOVA UINT64_C(0x10000) /* of the memory's first byte */

/* What is missed is told. Returns whether anything was that is not in `told`, by page. */
static bool miss_answer(const struct client *client, int wait_ms, bool *told)
{
	struct pollfd poll_fd = { .fd = client->fd, .events = POLLIN };
	struct vhost_msg_v2 message;
	uint64_t offset;

	if (poll(&poll_fd, 1, wait_ms) <= 0)
		return false;
	if (read(client->fd, &message, sizeof(message)) != sizeof(message))
		fail("read of a MISS");
	expect(message.type == VHOST_IOTLB_MSG_V2 && message.iotlb.type == VHOST_IOTLB_MISS,
	       "another message");
	offset = (message.iotlb.iova - IOVA) & ~UINT64_C(0xfff);
	expect(offset < MEMORY_BYTES, "a MISS of what the driver never named");
	message.iotlb.iova = IOVA + offset;
	message.iotlb.uaddr = (uintptr_t)client->memory + offset;
	message.iotlb.size = 0x1000;
	message.iotlb.type = VHOST_IOTLB_UPDATE;
	if (write(client->fd, &message, sizeof(message)) != sizeof(message))
		fail("write of an UPDATE");
	if (told[offset / 0x1000]) /* it may be asked for again while it is answered */
		return false;
	told[offset / 0x1000] = true;
	return true;
}

static void on_alarm(int number)
{
}

/* Nothing is missed: a read that waits is interrupted, and one that may not wait ends at once. */
static void reads_end(const struct client *client)
{
	const struct sigaction alarmed = { .sa_handler = on_alarm };
	struct vhost_msg_v2 message;

	sigaction(SIGALRM, &alarmed, NULL);
	fcntl(client->fd, F_SETFL, 0);
	alarm(1);
	expect(read(client->fd, &message, sizeof(message)) < 0 && errno == EINTR,
	       "a read that is interrupted");
	fcntl(client->fd, F_SETFL, O_NONBLOCK);
	expect(read(client->fd, &message, sizeof(message)) < 0 && errno == EAGAIN, "a read without a MISS");
}

/* The driver's life, from features to the end of its ring: how many pages were missed in it. */
static unsigned iommu_life(struct client *client)
{
	uint64_t features = F_VERSION_1 | UINT64_C(1) << 33;
	struct queue *queue = &client->queues[0];
	struct vhost_vring_addr addr = { 0 };
	bool told[MEMORY_BYTES / 0x1000] = { 0 };
	unsigned misses = 0;
	uint32_t bytes;

	memset(client->memory, 0, RING_BYTES);
	CALL(client, VHOST_SET_FEATURES, &features);
	ring_set_up(client, 0);
	addr.desc_user_addr = IOVA;
	addr.avail_user_addr = IOVA + 0x1000;
	addr.used_user_addr = IOVA + 0x2000;
	CALL(client, VHOST_SET_VRING_ADDR, &addr);
	queue->buffers_gpa = queue->buffers_gpa - GPA + IOVA;
	back_end(client, 0, client->memfd);
	for (unsigned i = 0; i < 2 * SIZE; i++) {
		give(queue, i, BUFFER_BYTES, true);
		for (int wait = 0; __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) == queue->used_seen;
		     wait++) {
			misses += miss_answer(client, 200, told);
			expect(wait < 100, "no entropy came");
		}
		take(queue, &bytes, "no entropy came");
		expect(bytes == BUFFER_BYTES, "less than asked for");
	}
	back_end(client, 0, -1);
	expect(misses == 3 + SIZE * BUFFER_BYTES / 0x1000, "each page is missed");
	return misses;
}

static void iommu(const char *node)
{
	uint64_t backend = UINT64_C(1) << VHOST_BACKEND_F_IOTLB_MSG_V2;
	struct client client = { 0 };
	struct table table;
	unsigned first, second;

	client_open(&client, node);
	memory_make(&client);
	CALL(&client, VHOST_SET_OWNER, NULL);
	CALL(&client, VHOST_SET_BACKEND_FEATURES, &backend);
	table = table_of(&client);
	CALL(&client, VHOST_SET_MEM_TABLE, &table);
	first = iommu_life(&client);
	reads_end(&client);
	second = iommu_life(&client);
	printf("iommu: %u misses, and %u again\n", first, second);
}

static void send_and_receive(struct client *from, struct client *to, unsigned number, uint8_t end)
{
	struct queue *transmit = &from->queues[1], *receive = &to->queues[0];
	uint8_t frame[HEADER_BYTES + FRAME_BYTES] = { 0 };
	uint32_t bytes;
	unsigned slot;

	memset(frame + HEADER_BYTES, (int)(number & 0xff), FRAME_BYTES);
	memcpy(frame + HEADER_BYTES, "\x02\0\0\0\0", 5);
	frame[HEADER_BYTES + 5] = (uint8_t)!end;
	memcpy(frame + HEADER_BYTES + 6, "\x02\0\0\0\0", 5);
	frame[HEADER_BYTES + 11] = end;
	memcpy(frame + HEADER_BYTES + 12, "\x88\xb5", 2);
	give(receive, number, BUFFER_BYTES, true);
	memcpy(buffer(transmit, number), frame, sizeof(frame));
	give(transmit, number, sizeof(frame), false);
	slot = take(receive, &bytes, "the frame has not come");
	expect(bytes == sizeof(frame), "the frame has another length");
	expect(!memcmp(buffer(receive, slot) + HEADER_BYTES, frame + HEADER_BYTES, FRAME_BYTES),
	       "another frame came");
	take(transmit, &bytes, "the buffer has not been given back");
}

/* SIGTERM has come, which is blocked: it interrupts nothing. */
static bool told_to_stop(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGTERM) == 1;
}

/* As many as that, or until SIGTERM. */
static void frames(const char *one_node, const char *other_node, unsigned count)
{
	uint64_t slowest_ms = 0;
	struct client one, other;
	sigset_t mask;
	unsigned i;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);

	client_start(&one, one_node, QUEUES);
	client_start(&other, other_node, QUEUES);
	for (i = 0; i < count && !told_to_stop(); i++) {
		uint64_t begin_ms = now_ms();

		send_and_receive(&one, &other, i, 0);
		send_and_receive(&other, &one, i, 1);
		if (now_ms() - begin_ms > slowest_ms)
			slowest_ms = now_ms() - begin_ms;
		if (i == count / 2) { /* in the middle: the rings stop, are asked, and go on */
			struct vhost_vring_state state = { 1, 0 };

			back_end(&one, 1, -1);
			CALL(&one, VHOST_GET_VRING_BASE, &state);
			expect(state.num == i + 1u, "the base is not where the ring is");
			back_end(&one, 1, one.memfd);
		}
	}
	printf("frames: %u each way, the slowest two took %u ms\n", i, (unsigned)slowest_ms);
}

/* Sends a frame, and waits for its answer; where that lies, behind its header. */
static const uint8_t *ask(struct client *client, unsigned number, const uint8_t *frame, uint32_t frame_bytes)
{
	struct queue *transmit = &client->queues[1], *receive = &client->queues[0];
	uint32_t bytes;
	unsigned slot;

	give(receive, number, BUFFER_BYTES, true);
	memset(buffer(transmit, number), 0, HEADER_BYTES);
	memcpy(buffer(transmit, number) + HEADER_BYTES, frame, frame_bytes);
	give(transmit, number, HEADER_BYTES + frame_bytes, false);
	slot = take(receive, &bytes, "no answer has come");
	expect(bytes == HEADER_BYTES + frame_bytes, "the answer has another length");
	take(transmit, &bytes, "the buffer has not been given back");
	return buffer(receive, slot) + HEADER_BYTES;
}

/* From 10.7.0.1, 02:00:00:00:00:01. The sum of a ping without data is that of its type alone. */
static void ping(const char *node, unsigned count)
{
	static const uint8_t arp[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
					 2, 0, 0, 0, 0, 1, 10, 7, 0, 1, 0, 0, 0, 0, 0, 0, 10, 7, 0, 2 };
	uint8_t echo[42] = { [6] = 2, [11] = 1, [12] = 8, [14] = 0x45, [17] = 28, [22] = 64, [23] = 1,
			     [26] = 10, 7, 0, 1, 10, 7, 0, 2, 8, 0, 0xf7, 0xff };
	struct client client;
	const uint8_t *answer;

	client_start(&client, node, QUEUES);
	answer = ask(&client, 0, arp, sizeof(arp));
	expect(answer[21] == 2 && !memcmp(answer + 28, arp + 38, 4) && !memcmp(answer, arp + 6, 6), "no answer to ARP");
	memcpy(echo, answer + 6, 6);
	for (unsigned i = 1; i <= count; i++) {
		answer = ask(&client, i, echo, sizeof(echo));
		expect(answer[34] == 0 && answer[36] == 0xff && answer[37] == 0xff, "no answer to a ping");
		expect(!memcmp(answer + 26, echo + 30, 4) && !memcmp(answer + 30, echo + 26, 4), "not its answer");
	}
	printf("ping: %u answers\n", count);
}

static void pairs(const char *node, unsigned count)
{
	struct client *clients = calloc(count + 1, sizeof(*clients));

	for (unsigned i = 0; i < count; i++)
		client_start(&clients[i], node, QUEUES);
	client_open(&clients[count], node);
	expect(ioctl(clients[count].fd, VHOST_SET_OWNER, NULL) < 0 && errno == EBUSY,
	       "one pair too many was taken");
	close(clients[0].fd);
	CALL(&clients[count], VHOST_SET_OWNER, NULL);
	printf("pairs: %u\n", count);
	free(clients);
}

static void hold(const char *node)
{
	struct client client;

	client_start(&client, node, QUEUES);
	for (unsigned i = 0; i < SIZE; i++)
		give(&client.queues[0], i, BUFFER_BYTES, true);
	printf("held\n");
	fflush(stdout);
	for (;;)
		pause();
}

static void gone(int error)
{
	expect(error == ENOTCONN || error == ECONNABORTED || error == ENODEV, strerror(error));
	printf("gone: %s\n", strerror(error));
}

static void outlive(const char *node)
{
	struct client client;
	uint64_t features;

	client_start(&client, node, QUEUES);
	printf("held\n");
	fflush(stdout);
	while (!ioctl(client.fd, VHOST_GET_FEATURES, &features))
		usleep(20000);
	gone(errno);
}

static void wait_in_a_read(const char *node)
{
	uint64_t features = F_VERSION_1 | UINT64_C(1) << 33;
	struct vhost_msg_v2 message;
	struct client client;

	client_open(&client, node);
	CALL(&client, VHOST_SET_OWNER, NULL);
	CALL(&client, VHOST_SET_FEATURES, &features);
	printf("held\n");
	fflush(stdout);
	expect(read(client.fd, &message, sizeof(message)) < 0, "a read without a MISS");
	gone(errno);
}

static void second(const char *node)
{
	struct client client;

	client_open(&client, node);
	CALL(&client, VHOST_SET_OWNER, NULL);
}

/* ---- lies ---- */

static void refused(const struct client *client, unsigned long command, void *arg, int expected,
		    const char *name)
{
	int r = ioctl(client->fd, command, arg);

	if (r < 0 && errno == expected)
		return;
	fprintf(stderr, "cuse_client: %s: %s and not %s\n", name, r < 0 ? strerror(errno) : "taken",
		strerror(expected));
	exit(1);
}

#define REFUSED(client, command, arg, expected) refused(client, command, arg, expected, #command)

static const unsigned long owners_only[] = {
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_NET_SET_BACKEND,
	VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
};

static void lies_without_owner(const struct client *client)
{
	uint64_t words[8] = { 0 };

	for (size_t i = 0; i < sizeof(owners_only) / sizeof(owners_only[0]); i++)
		refused(client, owners_only[i], words, EPERM, "an owner's ioctl without an owner");
	REFUSED(client, VHOST_VDPA_GET_VRING_GROUP, words, ENOTTY);
	REFUSED(client, VHOST_SCSI_GET_ABI_VERSION, words, ENOTTY);
	REFUSED(client, VHOST_GET_FEATURES, NULL, EFAULT);
	REFUSED(client, VHOST_SET_FEATURES, NULL, EFAULT);
	REFUSED(client, VHOST_SET_FEATURES, (void *)UINT64_C(0xffff800000000000), EFAULT);
	words[0] = UINT64_C(1) << 62;
	REFUSED(client, VHOST_SET_FEATURES, words, EOPNOTSUPP);
}

static void lies_about_memory(const struct client *client)
{
	void *private = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct table table = table_of(client);

	table.regions[0].memory_size = 0x10000;
	table.regions[0].userspace_addr = (uintptr_t) private;
	REFUSED(client, VHOST_SET_MEM_TABLE, &table, EOPNOTSUPP);
	table.regions[0].userspace_addr = 0x1000;
	REFUSED(client, VHOST_SET_MEM_TABLE, &table, EFAULT);
	table.regions[0].userspace_addr = UINT64_MAX - 0xfff;
	REFUSED(client, VHOST_SET_MEM_TABLE, &table, EINVAL);
	table.head.nregions = UINT32_MAX;
	REFUSED(client, VHOST_SET_MEM_TABLE, &table, E2BIG);
	table = table_of(client);
	table.head.padding = 1;
	REFUSED(client, VHOST_SET_MEM_TABLE, &table, EOPNOTSUPP);
	/* The head is readable, what it promises is not. */
	table = table_of(client);
	{
		uint8_t *page =
			mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		munmap(page + 0x1000, 0x1000);
		memcpy(page + 0x1000 - sizeof(table.head), &table.head, sizeof(table.head));
		REFUSED(client, VHOST_SET_MEM_TABLE, page + 0x1000 - sizeof(table.head), EFAULT);
	}
	munmap(private, 0x10000);
}

static void lies_about_rings(const struct client *client)
{
	struct vhost_vring_state state = { 7, 8 };
	struct vhost_vring_file file = { 0, 12345 };

	CALL(client, VHOST_SET_FEATURES, (&(uint64_t){ F_VERSION_1 }));
	REFUSED(client, VHOST_SET_VRING_NUM, &state, ENOBUFS);
	REFUSED(client, VHOST_SET_VRING_NUM, NULL, EFAULT);
	state = (struct vhost_vring_state){ 0, 7 };
	REFUSED(client, VHOST_SET_VRING_NUM, &state, EINVAL);
	REFUSED(client, VHOST_SET_VRING_KICK, &file, EBADF);
	file.fd = client->memfd;
	REFUSED(client, VHOST_SET_VRING_CALL, &file, EINVAL);
	REFUSED(client, VHOST_NET_SET_BACKEND, &file, EINVAL);
	REFUSED(client, VHOST_SET_LOG_BASE, &(uint64_t){ 0 }, EOPNOTSUPP);
	REFUSED(client, VHOST_SET_OWNER, NULL, EBUSY);
}

static void lies_of_a_child(const struct client *client)
{
	pid_t child = fork();
	int status;

	if (!child) {
		REFUSED(client, VHOST_SET_VRING_NUM, (&(struct vhost_vring_state){ 0, SIZE }), EPERM);
		_exit(0);
	}
	expect(waitpid(child, &status, 0) == child && !status, "a child was taken for the owner");
}

/* The kernel takes int 0x80 for a call of 32 bits, whoever makes it. */
static int ioctl_of_32_bits(int fd, uint32_t command, const void *arg)
{
#if defined(__x86_64__)
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(54), "b"(fd), "c"(command), "d"((uint32_t)(uintptr_t)arg)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
#else
	return -ENOSYS;
#endif
}

static void calls_of_32_bits(const struct client *client)
{
	struct table *table =
		mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint64_t *features = (uint64_t *)(void *)table;
	int r = ioctl_of_32_bits(client->fd, VHOST_GET_FEATURES, features);

	if (r == -ENOSYS) {
		printf("lies: no calls of 32 bits here\n");
		return;
	}
	expect(!r && *features & F_VERSION_1, "GET_FEATURES of 32 bits");
	*table = table_of(client);
	expect(!ioctl_of_32_bits(client->fd, VHOST_SET_MEM_TABLE, table), "SET_MEM_TABLE of 32 bits");
	table->regions[0].memory_size = 0;
	expect(ioctl_of_32_bits(client->fd, VHOST_SET_MEM_TABLE, table) == -EINVAL, "a lie of 32 bits");
	munmap(table, 0x1000);
}

static void lies(const char *node)
{
	struct client client;

	client_open(&client, node);
	memory_make(&client);
	lies_without_owner(&client);
	CALL(&client, VHOST_SET_OWNER, NULL);
	lies_about_memory(&client);
	lies_about_rings(&client);
	lies_of_a_child(&client);
	calls_of_32_bits(&client);
	close(client.fd);
	munmap(client.memory, MEMORY_BYTES);
	close(client.memfd);
	client_start(&client, node, 1); /* it is as it was */
	printf("lies: all refused\n");
}

/* ---- rings that lie ---- */

static void outside_memory(struct queue *queue)
{
	queue->desc[0] = (struct split_desc){ .addr = UINT64_C(1) << 60, .len = 64 };
	queue->avail->idx = 1;
}

static void wraps_round(struct queue *queue)
{
	queue->desc[0] = (struct split_desc){ .addr = UINT64_MAX - 10, .len = 64 };
	queue->avail->idx = 1;
}

static void loops(struct queue *queue)
{
	queue->desc[0] =
		(struct split_desc){ .addr = queue->buffers_gpa, .len = 64, .flags = DESC_F_NEXT, .next = 0 };
	queue->avail->idx = 1;
}

static void far_ahead(struct queue *queue)
{
	queue->avail->idx = SIZE + 1;
}

static void head_beyond_the_table(struct queue *queue)
{
	queue->avail->ring[0] = SIZE;
	queue->avail->idx = 1;
}

static void table_unasked_for(struct queue *queue)
{
	queue->desc[0] = (struct split_desc){ .addr = queue->buffers_gpa, .len = 64, .flags = DESC_F_INDIRECT };
	queue->avail->idx = 1;
}

static void ring_lies(const char *node, void (*lie)(struct queue *queue))
{
	const uint64_t one = 1;
	struct client client;
	uint64_t features;
	unsigned tries = 0;

	client_start(&client, node, QUEUES);
	lie(&client.queues[1]);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (write(client.queues[1].kick, &one, sizeof(one)) != sizeof(one))
		fail("kick");
	while (!ioctl(client.fd, VHOST_GET_FEATURES, &features)) {
		expect(++tries < 500, "nobody has noticed the lie");
		usleep(20000);
	}
	expect(errno == EIO, "a broken device says something else than EIO");
	CALL(&client, VHOST_RESET_OWNER, NULL);
	CALL(&client, VHOST_SET_OWNER, NULL);
	close(client.fd);
	munmap(client.memory, MEMORY_BYTES);
	close(client.memfd);
}

static void rings(const char *node)
{
	void (*const lies[])(struct queue *queue) = { outside_memory, wraps_round, loops, far_ahead,
						      head_beyond_the_table, table_unasked_for };

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		ring_lies(node, lies[i]);
	printf("rings: all noticed\n");
}

/* ---- files whose server has been stopped ---- */

/* Whoever asks the file's server for anything does not come back. */
static void refused_soon(const struct client *client, unsigned long command, void *arg, const char *name)
{
	uint64_t begin = now_ms();

	expect(ioctl(client->fd, command, arg) < 0, name);
	expect(now_ms() - begin < 5000, name);
}

static void stuck(const char *node, const char *path, pid_t server)
{
	struct client client;
	struct table table;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *at = fd < 0 ? MAP_FAILED
			  : mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		fail(path);
	client_start(&client, node, QUEUES);
	for (unsigned i = 0; i < QUEUES; i++)
		back_end(&client, i, -1);
	if (kill(server, SIGSTOP))
		fail("kill");
	table = table_of(&client);
	table.head.nregions = 2;
	table.regions[1] = (struct vhost_memory_region){ .guest_phys_addr = GPA + MEMORY_BYTES,
							 .memory_size = MEMORY_BYTES,
							 .userspace_addr = (uintptr_t)at };
	refused_soon(&client, VHOST_SET_MEM_TABLE, &table, "memory of a stopped server's");
	refused_soon(&client, VHOST_SET_VRING_KICK, &(struct vhost_vring_file){ 0, fd }, "its file as a kick");
	refused_soon(&client, VHOST_SET_VRING_CALL, &(struct vhost_vring_file){ 0, fd }, "its file as a call");
	refused_soon(&client, VHOST_SET_LOG_FD, &fd, "its file as a log");
	printf("stuck: refused without asking\n");
	fflush(stdout);
	getchar();
	kill(server, SIGCONT);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (!strcmp(what, "rng") && argc == 3)
		rng(argv[2]);
	else if (!strcmp(what, "iommu") && argc == 3)
		iommu(argv[2]);
	else if (!strcmp(what, "frames") && argc == 5)
		frames(argv[2], argv[3], (unsigned)atoi(argv[4]));
	else if (!strcmp(what, "ping") && argc == 4)
		ping(argv[2], (unsigned)atoi(argv[3]));
	else if (!strcmp(what, "pairs") && argc == 4)
		pairs(argv[2], (unsigned)atoi(argv[3]));
	else if (!strcmp(what, "hold") && argc == 3)
		hold(argv[2]);
	else if (!strcmp(what, "outlive") && argc == 3)
		outlive(argv[2]);
	else if (!strcmp(what, "wait") && argc == 3)
		wait_in_a_read(argv[2]);
	else if (!strcmp(what, "second") && argc == 3)
		second(argv[2]);
	else if (!strcmp(what, "lies") && argc == 3)
		lies(argv[2]);
	else if (!strcmp(what, "rings") && argc == 3)
		rings(argv[2]);
	else if (!strcmp(what, "stuck") && argc == 5)
		stuck(argv[2], argv[3], (pid_t)atoi(argv[4]));
	else {
		fprintf(stderr, "usage: cuse_client rng|iommu|frames|ping|pairs|hold|outlive|wait|second|lies|rings|stuck "
				"NODE...\n");
		return 2;
	}
	return 0;
}
