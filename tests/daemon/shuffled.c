/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that completes its requests in any order, some milliseconds after they came, as disks do; what was written survives the
 * program, in its image. Who is killed leaves requests in flight: tests/e2e/inflight.py. SIGUSR1: it dies as by SIGKILL as soon as
 * some are done and some are not.
 *
 *	shuffled vhost-user:PATH IMAGE
 */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vireo/vireo.h>

#define SECTOR_BYTES 512u
#define QUEUE_SIZE   128u
#define QUEUES	     2u
#define PIECES	     VIREO_CHAIN_PIECES_MAX(QUEUE_SIZE)
#define LATER_MS     2
#define F_FLUSH_BIT  9
#define F_MQ_BIT     12

struct blk_header { /* virtio 1.3, 5.2.6 */
	uint32_t type, reserved;
	uint64_t sector;
};
enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_OK = 0, BLK_ERROR = 1, BLK_UNSUPPORTED = 2 };

struct request {
	struct vireo_chain chain;
	struct iovec iov[PIECES];
};

struct served {
	struct vireo_queue *queue; /* NULL: it does not run */
	struct request *held[QUEUE_SIZE]; /* the first `count` are in flight, the others free */
	unsigned count;
};

static struct disk {
	uint8_t *bytes;
	uint64_t sectors;
	struct served served[QUEUES];
} disk;

static volatile sig_atomic_t dying;

static void on_usr1(int sig)
{
	dying = 1;
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	fprintf(stderr, "shuffled: %s\n", line);
}

static uint8_t *disk_at(uint64_t sector, uint64_t bytes)
{
	if (bytes % SECTOR_BYTES || sector > disk.sectors || bytes / SECTOR_BYTES > disk.sectors - sector)
		return NULL;
	return disk.bytes + sector * SECTOR_BYTES;
}

static uint8_t transfer(const struct blk_header *header, struct vireo_cursor *in, struct vireo_cursor *out)
{
	uint64_t sector = le64toh(header->sector);
	uint8_t *at;

	switch (le32toh(header->type)) {
	case BLK_IN:
		at = disk_at(sector, out->left_bytes - 1);
		return at && vireo_cursor_put(out, at, out->left_bytes - 1) ? BLK_OK : BLK_ERROR;
	case BLK_OUT:
		at = disk_at(sector, in->left_bytes);
		return at && vireo_cursor_take(in, at, in->left_bytes) ? BLK_OK : BLK_ERROR;
	case BLK_FLUSH:
		return BLK_OK;
	default:
		return BLK_UNSUPPORTED;
	}
}

static void complete(struct served *s, unsigned which)
{
	static const uint8_t zeroes[4096];
	struct request *request = s->held[which];
	const struct vireo_chain *chain = &request->chain;
	struct vireo_cursor in = vireo_chain_readable(chain), out = vireo_chain_writable(chain);
	struct blk_header header;
	uint8_t status = BLK_ERROR;

	if (chain->writable_bytes && vireo_cursor_take(&in, &header, sizeof(header)))
		status = transfer(&header, &in, &out);
	while (out.left_bytes > 1)
		vireo_cursor_put(&out, zeroes, out.left_bytes > sizeof(zeroes) ? sizeof(zeroes) : out.left_bytes - 1);
	vireo_cursor_put(&out, &status, 1);
	vireo_queue_push(s->queue, chain, (uint32_t)chain->writable_bytes);
	s->held[which] = s->held[--s->count];
	s->held[s->count] = request;
}

static void take_in(struct served *s)
{
	do {
		while (s->count < QUEUE_SIZE &&
		       vireo_queue_pop(s->queue, &s->held[s->count]->chain, 1, s->held[s->count]->iov, PIECES) > 0)
			s->count++;
	} while (s->count < QUEUE_SIZE && vireo_queue_kick_enable(s->queue, true));
}

/* About a third of what is held, each shown alone or with others. */
static void complete_some(struct served *s)
{
	for (unsigned n = (s->count + 2) / 3; n && s->count; n--) {
		complete(s, (unsigned)random() % s->count);
		if (random() % 2)
			vireo_queue_flush(s->queue);
		if (dying && s->count)
			raise(SIGKILL);
	}
	vireo_queue_flush(s->queue);
}

static void started(void *opaque, struct vireo_queue *queue)
{
	struct served *s = &disk.served[vireo_queue_index(queue)];

	s->queue = queue;
	take_in(s);
}

static void stop(void *opaque, struct vireo_queue *queue)
{
	struct served *s = &disk.served[vireo_queue_index(queue)];

	while (s->count)
		complete(s, (unsigned)random() % s->count);
	vireo_queue_flush(queue);
	s->queue = NULL;
	vireo_queue_quiesced(queue);
}

static void disk_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	disk.sectors = (uint64_t)st.st_size / SECTOR_BYTES;
	disk.bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (disk.bytes == MAP_FAILED)
		err(1, "%s", path);
	for (unsigned i = 0; i < QUEUES * QUEUE_SIZE; i++) {
		struct request *request = calloc(1, sizeof(*request));

		if (!request)
			err(1, "memory");
		disk.served[i / QUEUE_SIZE].held[i % QUEUE_SIZE] = request;
	}
}

static int turn(struct vireo_endpoint *endpoint)
{
	struct pollfd fds[1 + QUEUES] = { { .fd = vireo_endpoint_fd(endpoint), .events = POLLIN } };
	bool held = false;

	/* Kicks are not read, and an fd that is readable once stays so: it is looked at by time. */
	for (unsigned i = 0; i < QUEUES; i++)
		held = held || disk.served[i].queue;
	poll(fds, 1, held ? LATER_MS : -1);
	for (unsigned i = 0; i < QUEUES; i++) {
		struct served *s = &disk.served[i];

		if (!s->queue)
			continue;
		complete_some(s);
		take_in(s);
	}
	return vireo_endpoint_dispatch(endpoint);
}

int main(int argc, char **argv)
{
	static const struct vireo_device_ops ops = { .size = sizeof(ops), .queue_started = started, .queue_stop = stop };
	uint64_t space[8] = { 0 }; /* 5.2.4: the capacity; num_queues at 34 */
	const struct vireo_device_config config = {
		.size = sizeof(config), .device_id = 2, .name = "shuffled", .ops = &ops, .queue_count = QUEUES,
		.queue_size_max = QUEUE_SIZE, .log = { .write = log_line, .max_level = VIREO_LOG_INFO },
		.features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) | VIREO_FEATURE(F_FLUSH_BIT) | VIREO_FEATURE(F_MQ_BIT),
		.out_of_order = true, .config = space, .config_bytes = 60,
	};
	struct vireo_endpoint *endpoint;
	struct vireo_device *device;
	int r;

	if (argc != 3)
		errx(2, "usage: shuffled vhost-user:PATH IMAGE");
	disk_open(argv[2]);
	space[0] = htole64(disk.sectors);
	((uint8_t *)space)[34] = QUEUES;
	srandom((unsigned)getpid());
	signal(SIGUSR1, on_usr1);
	r = vireo_device_new(&config, &device);
	if (!r)
		r = vireo_endpoint_open(device, argv[1], NULL, &endpoint);
	while (!r)
		r = turn(endpoint);
	errx(1, "%s: %s", argv[1], strerror(-r));
}
