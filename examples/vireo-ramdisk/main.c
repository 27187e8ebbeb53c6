/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in memory, which forgets what was written to it when the program ends (docs/adding-a-device.md):
 *
 *	vireo-ramdisk vhost-user:/tmp/disk.sock IMAGE
 *	qemu-system-x86_64 -m 256M -object memory-backend-memfd,id=m,size=256M,share=on -machine memory-backend=m \
 *		-chardev socket,id=c,path=/tmp/disk.sock -device vhost-user-blk-pci,chardev=c,num-queues=1 ...
 */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vireo/vireo.h>

#define SECTOR_BYTES 512u
#define QUEUE_SIZE 128u
#define BURST 16u

/* virtio 1.3, 5.2.6: what each request begins with, and its last byte. */
struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};
enum { BLK_IN = 0, BLK_OUT = 1, BLK_OK = 0, BLK_ERROR = 1, BLK_UNSUPPORTED = 2 };

struct disk {
	uint8_t *bytes;
	uint64_t sectors;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(QUEUE_SIZE)];
};

static struct vireo_fault_table *faults; /* for the signal handler */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (!vireo_fault_handle(faults, info->si_addr))
		signal(sig, SIG_DFL); /* not guest memory but our own bug: the access is the end when it is repeated */
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	fprintf(stderr, "vireo-ramdisk: %s\n", line);
}

/* Where the request's data lie on the disk; NULL: not on it. */
static uint8_t *disk_at(const struct disk *disk, uint64_t sector, uint64_t bytes)
{
	if (bytes % SECTOR_BYTES || sector > disk->sectors || bytes / SECTOR_BYTES > disk->sectors - sector)
		return NULL;
	return disk->bytes + sector * SECTOR_BYTES;
}

/* `in` stands behind the header; of `out`, out_bytes are for data. */
static uint8_t blk_serve(const struct disk *disk, const struct blk_header *header, struct vireo_cursor *in,
			 struct vireo_cursor *out, uint64_t out_bytes)
{
	uint8_t *at;

	switch (le32toh(header->type)) {
	case BLK_IN:
		at = disk_at(disk, le64toh(header->sector), out_bytes);
		return at && vireo_cursor_put(out, at, out_bytes) ? BLK_OK : BLK_ERROR;
	case BLK_OUT:
		at = disk_at(disk, le64toh(header->sector), in->left_bytes);
		return at && vireo_cursor_take(in, at, in->left_bytes) ? BLK_OK : BLK_ERROR;
	default:
		return BLK_UNSUPPORTED;
	}
}

/* The status is the last writable byte, and all before it counts as written: what was not is filled with zeroes. */
static uint32_t blk_request(const struct disk *disk, const struct vireo_chain *chain)
{
	struct vireo_cursor in = vireo_chain_readable(chain), out = vireo_chain_writable(chain);
	static const uint8_t zeroes[4096];
	uint8_t status = BLK_ERROR;
	struct blk_header header;

	if (!chain->writable_bytes)
		return 0; /* no room to say anything */
	if (vireo_cursor_take(&in, &header, sizeof(header)))
		status = blk_serve(disk, &header, &in, &out, chain->writable_bytes - 1);
	while (out.left_bytes > 1)
		vireo_cursor_put(&out, zeroes, out.left_bytes > sizeof(zeroes) ? sizeof(zeroes) : out.left_bytes - 1);
	vireo_cursor_put(&out, &status, 1);
	return chain->writable_bytes;
}

/* In this thread, for a control queue: the library watches its kicks, and stops it. */
static void kicked(void *opaque, struct vireo_queue *queue)
{
	struct disk *disk = opaque;
	struct vireo_chain chains[BURST];
	int count = vireo_queue_pop(queue, chains, BURST, disk->iov, VIREO_CHAIN_PIECES_MAX(QUEUE_SIZE));

	for (int i = 0; i < count; i++)
		vireo_queue_push(queue, &chains[i], blk_request(disk, &chains[i]));
	if (count > 0)
		vireo_queue_flush(queue);
}

static void disk_load(struct disk *disk, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file || fseek(file, 0, SEEK_END))
		err(1, "%s", path);
	disk->sectors = (uint64_t)ftell(file) / SECTOR_BYTES;
	disk->bytes = calloc(disk->sectors + 1, SECTOR_BYTES);
	rewind(file);
	if (!disk->bytes || fread(disk->bytes, SECTOR_BYTES, disk->sectors, file) != disk->sectors || fclose(file))
		err(1, "%s", path);
}

int main(int argc, char **argv)
{
	static const struct vireo_device_ops ops = { .size = sizeof(ops), .queue_kicked = kicked };
	static struct disk disk;
	uint64_t space[8] = { 0 }; /* 5.2.4: the capacity; the rest belongs to features that are not offered */
	const struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct vireo_device_config config = {
		.size = sizeof(config), .device_id = 2, .name = "ramdisk", .ops = &ops, .queue_count = 1, .control_queues = 1,
		.queue_size_max = QUEUE_SIZE, .log = { .write = log_line, .max_level = VIREO_LOG_INFO },
		.features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT),
		.opaque = &disk, .config = space, .config_bytes = 60,
	};
	struct vireo_endpoint *endpoint;
	struct vireo_device *device;
	int r;

	if (argc != 3)
		errx(2, "usage: vireo-ramdisk vhost-user:PATH | cuse:NAME IMAGE");
	disk_load(&disk, argv[2]);
	space[0] = htole64(disk.sectors);
	r = sigaction(SIGBUS, &bus, NULL) ? -errno : vireo_fault_table_new(0, &faults);
	config.faults = faults;
	if (!r)
		r = vireo_device_new(&config, &device);
	if (!r)
		r = vireo_endpoint_open(device, argv[1], NULL, &endpoint);
	while (!r) { /* until a signal ends the program */
		poll(&(struct pollfd){ .fd = vireo_endpoint_fd(endpoint), .events = POLLIN }, 1, -1);
		r = vireo_endpoint_dispatch(endpoint);
	}
	errx(1, "%s: %s", argv[1], strerror(-r));
}
