/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_internal.h"
#include <endian.h>
#include <string.h>

/*
 * A chain becomes a command (virtio 1.3, 5.6.6.1). The readable bytes are a header with a CDB of the length that the driver has agreed to,
 * protection information, and data; the writable ones a response with room for sense data, protection information, and data. How that is
 * split over descriptors is the driver's affair (2.7.4.3). The header is copied out once, and what is decided is decided by the copy.
 *
 * The chain's pieces stay as they are, for a dirty log goes by them. Drivers let header and response end with a piece, and then the data are
 * the pieces behind it. Where they do not, the data are laid out anew in views.
 */

/* As long as the driver has not said otherwise, which hardly one does. */
#define USUAL_HEAD_BYTES (SCSI_REQUEST_CDB + SCSI_CDB_SIZE)
#define USUAL_SIZES	 ((uint64_t)SCSI_CDB_SIZE << 32 | SCSI_SENSE_SIZE) /* as vireo_scsi.sizes has them */
#define USUAL_RESPONSE_BYTES ((uint32_t)sizeof(struct virtio_scsi_response) + SCSI_SENSE_SIZE)
#define FILL_BYTES_MAX	 (64u << 10) /* a guest asks for that as often as it likes */

static __cold bool request_mute(struct vscsi_slot *slot)
{
	counter_add(&vscsi_queue_of(slot)->stats.no_status, 1);
	shelf_end(&slot->at, 0);
	return false;
}

/* What comes first in the writable bytes: there are so many. */
static __cold void bytes_put(const struct vscsi_slot *slot, const void *data, size_t bytes)
{
	struct vireo_cursor c = vireo_chain_writable(&slot->at.chain);

	vireo_cursor_put(&c, data, bytes);
}

/* There is room for a response, and perhaps not for all sense data. */
static __cold bool request_refuse(struct vscsi_slot *slot, uint8_t response, uint64_t residual)
{
	uint8_t bytes[sizeof(struct virtio_scsi_response) + VIREO_SCSI_SENSE_BYTES_MAX] = { 0 };
	uint32_t count = min_u32(slot->at.chain.writable_bytes, (uint32_t)sizeof(struct virtio_scsi_response) + slot->sense_size);
	const struct virtio_scsi_response head = { .residual = htole32((uint32_t)residual), .response = response };

	counter_add(&vscsi_queue_of(slot)->stats.refused, 1);
	memcpy(bytes, &head, sizeof(head));
	bytes_put(slot, bytes, count);
	shelf_end(&slot->at, count);
	return false;
}

/* ---- the parts of a chain ---- */

/* Lays the next `bytes`, which there are, into views; moves both. Empty pieces are left out. */
static uint32_t view_lay(struct vireo_cursor *c, uint64_t bytes, struct iovec **views)
{
	const struct iovec *first = *views;

	while (bytes) {
		size_t here = min_u64(c->iov->iov_len - c->offset, bytes);

		if (!here) {
			c->iov++;
			c->count--;
			c->offset = 0;
			continue;
		}
		*(*views)++ = (struct iovec){ (uint8_t *)c->iov->iov_base + c->offset, here };
		vireo_cursor_skip(c, here);
		bytes -= here;
	}
	return (uint32_t)(*views - first);
}

static __cold struct iovec *views_of(struct vscsi_slot *slot)
{
	return slot->at.lists ? shelf_views(&slot->at) : slot->views;
}

static __cold void parts_lay(struct vscsi_slot *slot, uint32_t head_bytes, uint32_t response_bytes)
{
	struct vireo_scsi_command *command = &slot->command;
	struct vireo_cursor out = vireo_chain_readable(&slot->at.chain), in = vireo_chain_writable(&slot->at.chain);
	struct iovec *views = views_of(slot);

	vireo_cursor_skip(&out, head_bytes);
	vireo_cursor_skip(&in, response_bytes);
	command->pi_out = command->pi_out_bytes ? views : NULL;
	command->pi_out_count = view_lay(&out, command->pi_out_bytes, &views);
	command->out = views;
	command->out_count = view_lay(&out, command->out_bytes, &views);
	command->pi_in = command->pi_in_bytes ? views : NULL;
	command->pi_in_count = view_lay(&in, command->pi_in_bytes, &views);
	command->in = views;
	command->in_count = view_lay(&in, command->in_bytes, &views);
}

/*
 * Header and response are a piece each, as drivers make them, and the rest is data. Of protection information a command says nothing then:
 * where the driver has not agreed on it nobody has written to these fields since the queue has started.
 */
static inline void parts_take(struct vscsi_slot *slot, uint32_t head_bytes, uint32_t response_bytes, bool protection)
{
	const struct vireo_chain *chain = &slot->at.chain;
	struct vireo_scsi_command *command = &slot->command;

	if (unlikely(chain->iov[0].iov_len != head_bytes || chain->iov[chain->readable_count].iov_len != response_bytes || protection)) {
		parts_lay(slot, head_bytes, response_bytes);
		return;
	}
	command->out = chain->iov + 1;
	command->out_count = command->out_bytes ? chain->readable_count - 1 : 0;
	command->in = chain->iov + chain->readable_count + 1;
	command->in_count = command->in_bytes ? chain->writable_count - 1 : 0;
}

/* ---- a request ---- */

/* T10_PI: how much of the data is protection information. False: more than there is. */
static __cold bool protection_take(struct vscsi_slot *slot)
{
	struct vireo_scsi_command *command = &slot->command;
	const uint8_t *at = slot->head + SCSI_REQUEST_CDB;
	uint32_t words[2];

	if (!vscsi_queue_of(slot)->scsi->protection_first)
		at += command->cdb_bytes;
	memcpy(words, at, sizeof(words));
	command->pi_out_bytes = le32toh(words[0]);
	command->pi_in_bytes = le32toh(words[1]);
	if (command->pi_out_bytes > command->out_bytes || command->pi_in_bytes > command->in_bytes)
		return false;
	command->out_bytes -= command->pi_out_bytes;
	command->in_bytes -= command->pi_in_bytes;
	return true;
}

static __cold void head_copy_slowly(struct vscsi_slot *slot, uint32_t head_bytes)
{
	struct vireo_cursor c = vireo_chain_readable(&slot->at.chain);

	vireo_cursor_take(&c, slot->head, head_bytes);
}

static inline void head_copy(struct vscsi_slot *slot, uint32_t head_bytes)
{
	const struct iovec *first = slot->at.chain.iov;

	if (likely(first->iov_len >= USUAL_HEAD_BYTES && head_bytes == USUAL_HEAD_BYTES))
		memcpy(slot->head, first->iov_base, USUAL_HEAD_BYTES);
	else
		head_copy_slowly(slot, head_bytes);
	__asm__ volatile("" : : : "memory"); /* guest memory has been copied, and is not read again */
}

static inline void head_take(struct vscsi_slot *slot)
{
	struct vireo_scsi_command *command = &slot->command;
	const uint8_t *head = slot->head;
	uint64_t id;

	memcpy(&id, head + SCSI_REQUEST_ID, sizeof(id));
	command->id = le64toh(id);
	command->attribute = head[SCSI_REQUEST_ATTR] <= VIREO_SCSI_ACA ? head[SCSI_REQUEST_ATTR] : VIREO_SCSI_SIMPLE;
	command->prio = head[SCSI_REQUEST_PRIO];
	command->crn = head[SCSI_REQUEST_CRN];
}

/* Of constants where nearly all drivers leave the sizes as they are. */
static inline __attribute__((always_inline)) bool request_take(struct vscsi_slot *slot, uint32_t cdb_bytes, uint32_t sense_size,
							       bool protection)
{
	const uint32_t head_bytes = SCSI_REQUEST_CDB + cdb_bytes + (protection ? SCSI_REQUEST_PI_BYTES : 0);
	const uint32_t response_bytes = (uint32_t)sizeof(struct virtio_scsi_response) + sense_size;
	const struct vireo_scsi *scsi = vscsi_queue_of(slot)->scsi;
	const struct vireo_chain *chain = &slot->at.chain;
	struct vireo_scsi_command *command = &slot->command;

	slot->sense_size = sense_size;
	if (unlikely(chain->writable_bytes < response_bytes || chain->readable_bytes < head_bytes)) {
		if (chain->writable_bytes < sizeof(struct virtio_scsi_response))
			return request_mute(slot);
		return request_refuse(slot, VIREO_SCSI_FAILURE, 0);
	}
	head_copy(slot, head_bytes);
	head_take(slot);
	command->cdb_bytes = cdb_bytes;
	command->out_bytes = chain->readable_bytes - head_bytes;
	command->in_bytes = chain->writable_bytes - response_bytes;
	if (protection && !protection_take(slot))
		return request_refuse(slot, VIREO_SCSI_FAILURE, 0);
	if (unlikely(command->out_bytes && command->in_bytes) && !vscsi_has(scsi, VIREO_SCSI_F_INOUT_BIT))
		return request_refuse(slot, VIREO_SCSI_FAILURE, (uint64_t)command->out_bytes + command->in_bytes);
	if (unlikely(!vscsi_address_of(slot->head, &command->target, command->lun)))
		return request_refuse(slot, VIREO_SCSI_BAD_TARGET, (uint64_t)command->out_bytes + command->in_bytes);
	parts_take(slot, head_bytes, response_bytes, protection);
	return true;
}

static __attribute__((noinline)) bool request_take_as_agreed(struct vscsi_slot *slot, uint64_t sizes, bool protection)
{
	return request_take(slot, (uint32_t)(sizes >> 32), (uint32_t)sizes, protection);
}

bool vscsi_request_take(struct vscsi_slot *slot)
{
	const struct vireo_scsi *scsi = vscsi_queue_of(slot)->scsi;
	uint64_t sizes = __atomic_load_n(&scsi->sizes, __ATOMIC_RELAXED);
	bool protection = vscsi_has(scsi, VIREO_SCSI_F_T10_PI_BIT);

	if (unlikely(sizes != USUAL_SIZES || protection))
		return request_take_as_agreed(slot, sizes, protection);
	return request_take(slot, SCSI_CDB_SIZE, SCSI_SENSE_SIZE, false);
}

/* ---- its response ---- */

/* All before the data counts as written, so it has to be (2.7.8.2): not where that is so much that the worker would be busy with it. */
static __cold void protection_fill(const struct vscsi_slot *slot, uint32_t from)
{
	const struct vireo_scsi_command *command = &slot->command;

	if (command->pi_in_bytes > FILL_BYTES_MAX)
		return;
	for (uint32_t i = 0; i < command->pi_in_count; i++) {
		const struct iovec *piece = &command->pi_in[i];
		size_t skip = min_u64(from, piece->iov_len);

		memset((uint8_t *)piece->iov_base + skip, 0, piece->iov_len - skip);
		from -= (uint32_t)skip;
	}
}

static inline uint32_t written_bytes(const struct vscsi_slot *slot, const struct vireo_scsi_result *result)
{
	uint32_t bytes = (uint32_t)sizeof(struct virtio_scsi_response) + slot->sense_size;

	if (likely(!slot->command.pi_in_bytes))
		return bytes + result->in_moved;
	if (!result->in_moved)
		return bytes + result->pi_in_moved;
	protection_fill(slot, result->pi_in_moved);
	return bytes + slot->command.pi_in_bytes + result->in_moved;
}

static inline void done_count(struct vireo_scsi_queue_stats *stats, const struct vireo_scsi_result *result)
{
	if (likely(result->response == VIREO_SCSI_OK)) {
		counter_add(&stats->commands, 1);
		if (unlikely(result->status))
			counter_add(&stats->conditions, 1);
	} else if (result->response == VIREO_SCSI_ABORTED || result->response == VIREO_SCSI_RESET) {
		counter_add(&stats->aborted, 1);
	} else {
		counter_add(&stats->errors, 1);
	}
	counter_add(&stats->out_bytes, result->out_moved);
	counter_add(&stats->in_bytes, result->in_moved);
}

static inline uint32_t residual_of(const struct vscsi_slot *slot, const struct vireo_scsi_result *result)
{
	const struct vireo_scsi_command *command = &slot->command;

	return (uint32_t)((uint64_t)command->out_bytes + command->in_bytes - result->out_moved - result->in_moved);
}

/* With sense data, with room for them that is not the usual one, or with protection information. */
static __attribute__((noinline)) void response_put_slowly(struct vscsi_slot *slot, const struct vireo_scsi_result *result)
{
	uint8_t bytes[sizeof(struct virtio_scsi_response) + VIREO_SCSI_SENSE_BYTES_MAX];
	uint32_t sense_bytes = min_u32(result->sense_bytes, slot->sense_size);
	const struct virtio_scsi_response head = {
		.sense_len = htole32(sense_bytes),
		.residual = htole32(residual_of(slot, result)),
		.status_qualifier = htole16(result->status_qualifier),
		.status = result->status,
		.response = result->response,
	};

	memcpy(bytes, &head, sizeof(head));
	memset(bytes + sizeof(head), 0, slot->sense_size);
	if (sense_bytes)
		memcpy(bytes + sizeof(head), result->sense, sense_bytes);
	bytes_put(slot, bytes, sizeof(head) + slot->sense_size);
	shelf_end(&slot->at, written_bytes(slot, result));
}

/* By 32 bytes: of one memset() gcc makes a rep stos, which takes longer to begin than all of this. */
static inline void sense_clear(uint8_t *sense)
{
	_Static_assert(SCSI_SENSE_SIZE == 96, "three times 32");
	memset(sense, 0, 32);
	memset(sense + 32, 0, 32);
	memset(sense + 64, 0, 32);
}

/* As response_put_slowly() has it, in two words: sense_len and residual; status_qualifier, status and response. */
static inline void response_put(struct vscsi_slot *slot, const struct vireo_scsi_result *result)
{
	const struct iovec *first = &slot->at.chain.iov[slot->at.chain.readable_count];
	uint64_t residual = htole64((uint64_t)residual_of(slot, result) << 32);
	uint32_t status = htole32((uint32_t)result->response << 24 | (uint32_t)result->status << 16 | result->status_qualifier);
	uint8_t *at = first->iov_base;

	if (unlikely(result->sense_bytes || slot->sense_size != SCSI_SENSE_SIZE || first->iov_len < USUAL_RESPONSE_BYTES ||
		     slot->command.pi_in_bytes)) {
		response_put_slowly(slot, result);
		return;
	}
	memcpy(at, &residual, sizeof(residual));
	memcpy(at + sizeof(residual), &status, sizeof(status));
	sense_clear(at + sizeof(struct virtio_scsi_response));
	shelf_end(&slot->at, USUAL_RESPONSE_BYTES + result->in_moved);
}

void vireo_scsi_complete(struct vireo_scsi_command *command, const struct vireo_scsi_result *result)
{
	struct vscsi_slot *slot = vscsi_slot_of(command);
	struct vscsi_queue *q = vscsi_queue_of(slot);

	assert(q->at.in_flight);
	assert(result->out_moved <= command->out_bytes && result->in_moved <= command->in_bytes);
	assert(result->pi_in_moved <= command->pi_in_bytes);
	q->at.in_flight--;
	done_count(&q->stats, result);
	response_put(slot, result);
}
