/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_TEST_GUEST_H
#define SCSI_TEST_GUEST_H

/*
 * For tests: a SCSI host, with a guest in front of it (model/test_guest.h) and an application behind it that answers whatever it is
 * told to answer.
 */

#include "model/scsi/scsi_internal.h"
#include "model/test_guest.h"

#define GUEST_MEMORY_BYTES (24u << 20)
/* Memory that can be taken away: nothing lies there. */
#define GUEST_DIMM { .gpa = GUEST_GPA + (UINT64_C(1) << 32), .size_bytes = 4096, .uaddr = GUEST_UADDR + (UINT64_C(1) << 32) }
#define GUEST_HELD_MAX 300u

#define F(name) VIREO_FEATURE(VIREO_SCSI_F_##name##_BIT)
#define V1 VIREO_FEATURE(VIREO_F_VERSION_1_BIT)
#define PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define INDIRECT VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT)

#define REQUESTS 2u /* the device's queue of the first request queue */
#define NOT_USED (-1)
#define NO_RESPONSE 0xee /* nobody has written it */
#define HEAD_BYTES (SCSI_REQUEST_CDB + SCSI_CDB_SIZE)
#define RESPONSE_BYTES (sizeof(struct virtio_scsi_response) + SCSI_SENSE_SIZE)

struct guest {
	struct test_guest at; /* first */
	struct vireo_scsi *scsi;

	/* The application. */
	bool holds; /* it keeps commands and management, until the test ends them */
	struct vireo_scsi_result result; /* of what it does not hold; moved_all: and all has been moved */
	bool moved_all;
	struct vireo_scsi_command *held[GUEST_HELD_MAX];
	unsigned held_count;
	struct vireo_scsi_command seen; /* the last one; its pieces are of no use any more, but ... */
	uint8_t seen_cdb[VIREO_SCSI_CDB_BYTES_MAX];
	uint8_t seen_out[65536], seen_pi[4096]; /* ... these are what they held */
	unsigned submits, commands;
	struct vireo_scsi_management *managed[GUEST_HELD_MAX];
	unsigned managed_count, manages;
	struct vireo_scsi_management seen_management;
	uint8_t answer, looked;
	bool refuses_renewal, stop_waits;
	unsigned stops, starts, renewals, resets, connects;
	uint64_t negotiated;
};

struct guest_config {
	uint64_t features;
	unsigned queue_size; /* 0: 128 */
	const struct vireo_scsi_config *scsi; /* ops and opaque are the guest's; NULL: a plain one */
	bool disabled;
	const struct guest *successor_of; /* the same memory, and where its rings are; region: of what is in flight */
	void *region;
};

/* A request in guest memory, as it is handed over: four pieces, those without bytes left out. */
struct asked {
	uint8_t *head, *out;
	struct virtio_scsi_response *response;
	uint8_t *sense; /* behind it */
	uint8_t *in;
};

struct ask {
	uint64_t id;
	const void *out;
	size_t out_bytes, in_bytes;
	uint8_t target, cdb;
};

void guest_start(struct guest *g, const struct guest_config *config);
void guest_start_features(struct guest *g, uint64_t features);
void guest_stop(struct guest *g);
void guest_turn(struct guest *g); /* of the loop, until nothing is left */

void *guest_alloc(struct guest *g, size_t bytes); /* zeroed, in guest memory */
void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable, void *cookie);
/* A request for the first request queue. */
struct asked guest_ask(struct guest *g, const struct ask *ask);
struct asked guest_ask_queue(struct guest *g, unsigned queue, const struct ask *ask);
void guest_head(uint8_t *head, const struct ask *ask);
int guest_poll(struct guest *g); /* the first request queue */
int guest_used(struct guest *g, unsigned queue, void **ret_cookie); /* as test_guest_used(), of a queue of the device */
/* Asks, polls, and returns the response; NOT_USED. */
int guest_do(struct guest *g, const struct ask *ask, struct asked *ret_asked);

/* A request for the control queue, with `room` writable bytes; it is served. Returns the response, its last byte, or NOT_USED. */
int guest_control(struct guest *g, const void *request, size_t bytes, size_t room);
int guest_tmf(struct guest *g, uint32_t subtype, uint8_t target, unsigned lun, uint64_t id);
/* The same, and it is not waited for: what is written is found there later. */
uint8_t *guest_tmf_begin(struct guest *g, uint32_t subtype, uint8_t target, unsigned lun, uint64_t id);

void held_end(struct guest *g, unsigned number, uint8_t response);
struct vireo_scsi_queue_stats guest_stats(struct guest *g);
struct vireo_scsi_stats guest_scsi_stats(struct guest *g);

#endif
