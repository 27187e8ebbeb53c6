/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VIRTIO_SCSI_H
#define WIRE_VIRTIO_SCSI_H

/* The SCSI host's structures (virtio 1.3, 5.6). All fields are little-endian. */

#include <stddef.h>
#include <stdint.h>

#define SCSI_SENSE_SIZE 96u /* as the device begins, and is after a reset (5.6.4.2) */
#define SCSI_CDB_SIZE	32u

struct virtio_scsi_config_space { /* 5.6.4 */
	uint32_t num_queues;
	uint32_t seg_max;
	uint32_t max_sectors;
	uint32_t cmd_per_lun;
	uint32_t event_info_size;
	uint32_t sense_size; /* the driver writes this ... */
	uint32_t cdb_size;   /* ... and this */
	uint16_t max_channel;
	uint16_t max_target;
	uint32_t max_lun;
};

/*
 * 5.6.6.1: what a request begins with, without padding: lun, id, task_attr, prio, crn, and cdb_size bytes. With T10_PI two words
 * follow: pi_bytesout and pi_bytesin. Linux has them in front of the CDB.
 */
#define SCSI_REQUEST_ID	   8u
#define SCSI_REQUEST_ATTR  16u
#define SCSI_REQUEST_PRIO  17u
#define SCSI_REQUEST_CRN   18u
#define SCSI_REQUEST_CDB   19u
#define SCSI_REQUEST_PI_BYTES 8u

struct virtio_scsi_response { /* what the device writes first; sense_size bytes of sense data follow */
	uint32_t sense_len;
	uint32_t residual;
	uint16_t status_qualifier;
	uint8_t status;
	uint8_t response;
};

/* 5.6.6.2 */
#define SCSI_T_TMF	    0u
#define SCSI_T_AN_QUERY	    1u
#define SCSI_T_AN_SUBSCRIBE 2u

struct virtio_scsi_tmf { /* one byte of response is written */
	uint32_t type;
	uint32_t subtype;
	uint8_t lun[8];
	uint64_t id;
};

struct virtio_scsi_an { /* event_actual and a byte of response are written */
	uint32_t type;
	uint8_t lun[8];
	uint32_t event_requested;
};

/* 5.6.6.3 */
struct virtio_scsi_event {
	uint32_t event;
	uint8_t lun[8];
	uint32_t reason;
};

#define SCSI_T_EVENTS_MISSED   0x80000000u
#define SCSI_T_NO_EVENT	       0u
#define SCSI_T_TRANSPORT_RESET 1u
#define SCSI_T_PARAM_CHANGE    3u
#define SCSI_EVT_RESET_HARD    0u
#define SCSI_EVT_RESET_RESCAN  1u
#define SCSI_EVT_RESET_REMOVED 2u

_Static_assert(sizeof(struct virtio_scsi_config_space) == 36 && sizeof(struct virtio_scsi_response) == 12 &&
		       sizeof(struct virtio_scsi_tmf) == 24 && offsetof(struct virtio_scsi_tmf, id) == 16 &&
		       sizeof(struct virtio_scsi_an) == 16 && sizeof(struct virtio_scsi_event) == 16,
	       "as in the specification");

#endif
