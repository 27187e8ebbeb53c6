/* SPDX-License-Identifier: BSD-3-Clause */

/* Requests of a block device, and of a SCSI host's target 0, LUN 0. */

#include "load.h"
#include "base/util.h"
#include "vireo/blk.h"
#include "vireo/device.h"
#include "vireo/scsi.h"
#include "wire/virtio_blk.h"
#include "wire/virtio_scsi.h"
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

/* ---- a block device (virtio 1.3, 5.2) ---- */

static void blk_request_put(uint8_t *head, bool write, uint64_t sector, uint32_t sectors)
{
	const struct virtio_blk_header header = {.type = write ? VIREO_BLK_OUT : VIREO_BLK_IN, .sector = sector};

	memcpy(head, &header, sizeof(header));
}

static bool blk_answer_good(const uint8_t *answer)
{
	return *answer == BLK_S_OK;
}

static int blk_sectors_find(struct vireo_front *front, const struct load *load, uint64_t *ret_sectors)
{
	return vireo_front_config_read(front, 0, ret_sectors, sizeof(*ret_sectors));
}

const struct load_format load_blk = {
	.head_bytes = 64,
	.request_bytes = sizeof(struct virtio_blk_header),
	.answer_at = sizeof(struct virtio_blk_header),
	.answer_bytes = 1,
	.features = VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT),
	.request_put = blk_request_put,
	.answer_good = blk_answer_good,
	.sectors_find = blk_sectors_find,
};

/* ---- a SCSI host (5.6) ---- */

#define REQUEST_BYTES (SCSI_REQUEST_CDB + SCSI_CDB_SIZE)
#define ANSWER_AT     64u
#define ANSWER_BYTES  (sizeof(struct virtio_scsi_response) + SCSI_SENSE_SIZE)
#define READ_10	      0x28
#define WRITE_10      0x2a
#define CAPACITY_10   0x25
#define STALL_MS      20000
#define TRIES	      8 /* until all unit attentions have been told */

static void cdb_put(uint8_t *head, uint8_t opcode, uint32_t block, uint16_t blocks)
{
	static const uint8_t lun[8] = {1, 0, 0x40, 0};
	const uint32_t block_be = htobe32(block);
	const uint16_t blocks_be = htobe16(blocks);
	uint8_t *cdb = head + SCSI_REQUEST_CDB;

	memset(head, 0, REQUEST_BYTES);
	memcpy(head, lun, sizeof(lun));
	cdb[0] = opcode;
	memcpy(cdb + 2, &block_be, sizeof(block_be));
	memcpy(cdb + 7, &blocks_be, sizeof(blocks_be));
}

static void scsi_request_put(uint8_t *head, bool write, uint64_t sector, uint32_t sectors)
{
	cdb_put(head, write ? WRITE_10 : READ_10, (uint32_t)sector, (uint16_t)sectors);
}

static bool scsi_answer_good(const uint8_t *answer)
{
	struct virtio_scsi_response response;

	memcpy(&response, answer, sizeof(response));
	return response.response == VIREO_SCSI_OK && !response.status && !response.residual;
}

/* One command alone: 0, -EAGAIN: it was not good, or another negative errno. */
static int command_do(const struct load *load, uint8_t opcode, void *room, size_t bytes)
{
	uint8_t *head = load->memory, *answer = head + ANSWER_AT, *data = head + load->format->head_bytes;
	const struct iovec iov[] = {{head, REQUEST_BYTES}, {answer, ANSWER_BYTES}, {data, bytes}};
	struct pollfd fd = {.fd = vireo_driver_ring_call_fd(load->ring), .events = POLLIN};
	uint32_t written;
	void *cookie;
	int ret;

	cdb_put(head, opcode, 0, 0);
	ret = vireo_driver_ring_add(load->ring, iov, 1, 2, true, head);
	if (ret)
		return ret;
	vireo_driver_ring_kick(load->ring);
	while (!(ret = vireo_driver_ring_get(load->ring, &cookie, &written)))
		if (!vireo_driver_ring_signal_enable(load->ring, true) && poll(&fd, 1, STALL_MS) <= 0)
			return -ETIMEDOUT;
	memcpy(room, data, bytes);
	return ret < 0 ? ret : scsi_answer_good(answer) ? 0 : -EAGAIN;
}

static int scsi_sectors_find(struct vireo_front *front, const struct load *load, uint64_t *ret_sectors)
{
	uint32_t capacity[2]; /* the last block, and the bytes of one */
	int ret = -EAGAIN;

	for (int i = 0; i < TRIES && ret == -EAGAIN; i++)
		ret = command_do(load, CAPACITY_10, capacity, sizeof(capacity));
	if (ret)
		return ret == -EAGAIN ? -ENODEV : ret;
	if (be32toh(capacity[1]) != BLK_SECTOR_BYTES || be32toh(capacity[0]) == UINT32_MAX)
		return -EMEDIUMTYPE;
	*ret_sectors = be32toh(capacity[0]) + UINT64_C(1);
	return 0;
}

const struct load_format load_scsi = {
	.first_ring = VIREO_SCSI_REQUEST_QUEUE,
	.head_bytes = 192,
	.request_bytes = REQUEST_BYTES,
	.answer_at = ANSWER_AT,
	.answer_bytes = ANSWER_BYTES,
	.answer_first = true,
	.request_put = scsi_request_put,
	.answer_good = scsi_answer_good,
	.sectors_find = scsi_sectors_find,
};
