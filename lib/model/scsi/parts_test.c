/* SPDX-License-Identifier: BSD-3-Clause */

/* How a request is split over descriptors (virtio 1.3, 2.7.4.3), with and without protection information (5.6.6.1). */

#include "device/device.h"
#include "model/scsi/scsi_test_guest.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

static void fill(uint8_t *data, size_t bytes, unsigned first)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(first + i * 7 + i / 251);
}

static bool numbered(const uint8_t *data, size_t bytes, uint8_t first, int step)
{
	for (size_t i = 0; i < bytes; i++, first = (uint8_t)(first + step))
		if (data[i] != first)
			return false;
	return true;
}

/* Cuts `bytes` into pieces at random places. */
static unsigned cut(struct iovec *iov, uint8_t *at, size_t bytes, unsigned pieces_max)
{
	unsigned count = 0;

	while (bytes) {
		size_t n = count + 1 < pieces_max ? 1 + (size_t)rand() % bytes : bytes;

		if (rand() % 4 == 0)
			n = min_u64(n, 1 + (uint64_t)rand() % 16);
		iov[count++] = (struct iovec){ at, n };
		at += n;
		bytes -= n;
	}
	return count;
}

struct split { /* a request in one stretch of readable and one of writable bytes */
	uint8_t *readable, *writable;
	size_t head_bytes, pi_out_bytes, out_bytes, pi_in_bytes, in_bytes;
};

static struct split split_new(struct guest *g, bool protection, size_t pi_out, size_t out, size_t pi_in, size_t in)
{
	struct split s = { NULL, NULL, HEAD_BYTES + (protection ? 8 : 0), pi_out, out, pi_in, in };
	const uint32_t words[2] = { htole32((uint32_t)pi_out), htole32((uint32_t)pi_in) };

	s.readable = guest_alloc(g, s.head_bytes + pi_out + out);
	s.writable = guest_alloc(g, RESPONSE_BYTES + pi_in + in);
	guest_head(s.readable, &(struct ask){ .cdb = 0x2a });
	if (protection)
		memcpy(s.readable + HEAD_BYTES, words, sizeof(words));
	fill(s.readable + s.head_bytes, pi_out + out, (unsigned)rand());
	memset(s.writable, NO_RESPONSE, RESPONSE_BYTES + pi_in + in);
	return s;
}

static void split_words_first(const struct split *s)
{
	uint8_t words[SCSI_REQUEST_PI_BYTES];

	memcpy(words, s->readable + HEAD_BYTES, sizeof(words));
	memmove(s->readable + SCSI_REQUEST_CDB + sizeof(words), s->readable + SCSI_REQUEST_CDB, SCSI_CDB_SIZE);
	memcpy(s->readable + SCSI_REQUEST_CDB, words, sizeof(words));
}

static int split_do(struct guest *g, const struct split *s, unsigned pieces_max)
{
	struct iovec iov[128];
	unsigned readable = cut(iov, s->readable, s->head_bytes + s->pi_out_bytes + s->out_bytes, pieces_max);
	unsigned writable = cut(iov + readable, s->writable, RESPONSE_BYTES + s->pi_in_bytes + s->in_bytes, pieces_max);

	guest_add(g, REQUESTS, iov, readable, writable, NULL);
	assert_int_equal(guest_poll(g), 1);
	return guest_used(g, REQUESTS, NULL);
}

static uint8_t response_of(const struct split *s)
{
	return s->writable[offsetof(struct virtio_scsi_response, response)];
}

static void split_check(struct guest *g, const struct split *s, unsigned pieces_max)
{
	assert_int_equal(split_do(g, s, pieces_max), RESPONSE_BYTES + s->pi_in_bytes + s->in_bytes);
	assert_int_equal(response_of(s), VIREO_SCSI_OK);
	assert_int_equal(g->seen_cdb[0], 0x2a);
	assert_int_equal(g->seen.pi_out_bytes, s->pi_out_bytes);
	assert_int_equal(g->seen.out_bytes, s->out_bytes);
	assert_int_equal(g->seen.pi_in_bytes, s->pi_in_bytes);
	assert_int_equal(g->seen.in_bytes, s->in_bytes);
	assert_memory_equal(g->seen_pi, s->readable + s->head_bytes, s->pi_out_bytes);
	assert_memory_equal(g->seen_out, s->readable + s->head_bytes + s->pi_out_bytes, s->out_bytes);
	assert_true(numbered(s->writable + RESPONSE_BYTES, s->pi_in_bytes, 0xff, -1));
	assert_true(numbered(s->writable + RESPONSE_BYTES + s->pi_in_bytes, s->in_bytes, 1, 1));
}

static size_t some(size_t most)
{
	return rand() % 3 ? (size_t)rand() % most : 0;
}

static void splits_check(uint64_t features, unsigned rounds)
{
	bool protection = features & F(T10_PI);
	struct guest g;

	guest_start_features(&g, features);
	g.moved_all = true;
	for (unsigned i = 0; i < rounds; i++) {
		struct split s = split_new(&g, protection, protection ? some(600) : 0, some(5000), protection ? some(600) : 0, some(5000));

		split_check(&g, &s, 1 + (unsigned)rand() % 40);
	}
	assert_false(g.at.broken);
	guest_stop(&g);
}

static void a_request_is_split_as_the_driver_likes(void **state)
{
	static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT, V1 | PACKED | INDIRECT };

	srand(1);
	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		splits_check(rings[i] | F(INOUT), 300);
		splits_check(rings[i] | F(INOUT) | F(T10_PI), 300);
	}
}

static void data_are_handed_over_where_they_lie(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1 | F(INOUT));
	a = guest_ask(&g, &(struct ask){ .out_bytes = 512, .in_bytes = 1024 });
	g.holds = true;
	assert_int_equal(guest_poll(&g), 1);
	assert_int_equal(g.held[0]->out_count, 1);
	assert_int_equal(g.held[0]->in_count, 1);
	memset(a.out, 0x31, 512); /* it is guest memory */
	assert_int_equal(((uint8_t *)g.held[0]->out[0].iov_base)[511], 0x31);
	((uint8_t *)g.held[0]->in[0].iov_base)[1023] = 0x32;
	assert_int_equal(a.in[1023], 0x32);
	held_end(&g, 0, VIREO_SCSI_OK);
	guest_stop(&g);
}

/* ---- protection information ---- */

static void protection_is_offered_where_a_unit_has_it(void **state)
{
	const struct vireo_scsi_config plain = { .queues = 1 };
	struct split s;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .scsi = &plain });
	assert_false(device_features_offered(g.at.device) & F(T10_PI));
	guest_stop(&g);

	guest_start_features(&g, V1); /* not agreed on: the two words are data */
	assert_true(device_features_offered(g.at.device) & F(T10_PI));
	s = split_new(&g, true, 16, 512, 0, 0);
	assert_int_equal(split_do(&g, &s, 1), RESPONSE_BYTES);
	assert_int_equal(g.seen.out_bytes, 8 + 16 + 512);
	assert_int_equal(g.seen.pi_out_bytes, 0);
	guest_stop(&g);
}

static void protection_beyond_the_buffers_fails(void **state)
{
	static const uint32_t words[][2] = { { 529, 0 }, { UINT32_MAX, 0 }, { 0, 529 }, { 0, UINT32_MAX }, { 0x80000000, 0x80000000 } };
	struct guest g;

	guest_start_features(&g, V1 | F(INOUT) | F(T10_PI));
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		const uint32_t lie[2] = { htole32(words[i][0]), htole32(words[i][1]) };
		struct split s = split_new(&g, true, 16, 512, 16, 512);

		memcpy(s.readable + HEAD_BYTES, lie, sizeof(lie));
		assert_int_equal(split_do(&g, &s, 1), RESPONSE_BYTES);
		assert_int_equal(response_of(&s), VIREO_SCSI_FAILURE);
	}
	assert_int_equal(g.commands, 0);
	assert_int_equal(guest_stats(&g).refused, ARRAY_SIZE(words));
	guest_stop(&g);
}

/* All before the data counts as written (2.7.8.2). */
/* Linux's struct virtio_scsi_cmd_req_pi has the two words in front of the CDB. */
static void protection_may_be_told_in_front_of_the_cdb(void **state)
{
	const struct vireo_scsi_config config = { .protection = true, .protection_first = true };
	static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT };
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start(&g, &(struct guest_config){ .features = rings[i] | F(INOUT) | F(T10_PI), .scsi = &config });
		g.moved_all = true;
		for (unsigned pieces = 1; pieces < 20; pieces++) {
			struct split s = split_new(&g, true, some(600), some(5000), some(600), some(5000));

			split_words_first(&s);
			split_check(&g, &s, pieces);
			assert_memory_equal(g.seen_cdb, s.readable + SCSI_REQUEST_CDB + SCSI_REQUEST_PI_BYTES, SCSI_CDB_SIZE);
		}
		guest_stop(&g);
		guest_start(&g, &(struct guest_config){ .features = rings[i], .scsi = &config }); /* not agreed on: there are no words */
		g.moved_all = true;
		for (unsigned pieces = 1; pieces < 4; pieces++) {
			struct split s = split_new(&g, false, 0, 100, 0, 0);

			split_check(&g, &s, pieces);
		}
		guest_stop(&g);
	}
}

static void protection_before_data_that_was_not_read_is_zero(void **state)
{
	struct split s;
	struct guest g;

	guest_start_features(&g, V1 | F(T10_PI));
	g.result.pi_in_moved = 8;
	g.result.in_moved = 512;
	s = split_new(&g, true, 0, 0, 64, 1024);
	assert_int_equal(split_do(&g, &s, 20), RESPONSE_BYTES + 64 + 512);
	assert_true(numbered(s.writable + RESPONSE_BYTES, 8, 0xff, -1));
	assert_true(numbered(s.writable + RESPONSE_BYTES + 8, 56, 0, 0));
	assert_true(numbered(s.writable + RESPONSE_BYTES + 64, 512, 1, 1));
	g.result.in_moved = 0;
	s = split_new(&g, true, 0, 0, 64, 1024);
	assert_int_equal(split_do(&g, &s, 20), RESPONSE_BYTES + 8);
	guest_stop(&g);
}

/* ---- many pieces ---- */

static void many_segments(unsigned queue_size, uint64_t features, unsigned count)
{
	struct iovec *iov = calloc(count + 2, sizeof(*iov));
	uint8_t *head, *in, *response;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = features, .queue_size = queue_size });
	g.moved_all = true;
	head = guest_alloc(&g, HEAD_BYTES);
	response = guest_alloc(&g, RESPONSE_BYTES);
	guest_head(head, &(struct ask){ 0 });
	for (unsigned round = 0; round < 5; round++) {
		in = guest_alloc(&g, (size_t)512 * count);
		iov[0] = (struct iovec){ head, HEAD_BYTES };
		iov[1] = (struct iovec){ response, RESPONSE_BYTES };
		for (unsigned i = 0; i < count; i++)
			iov[i + 2] = (struct iovec){ in + (size_t)512 * i, 512 };
		guest_add(&g, REQUESTS, iov, 1, count + 1, NULL);
		assert_int_equal(guest_poll(&g), 1);
		assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES + 512 * count);
		assert_int_equal(g.seen.in_count, count);
		assert_true(numbered(in, (size_t)512 * count, 1, 1));
	}
	guest_stop(&g);
	free(iov);
}

static void a_command_has_as_many_segments_as_the_ring_holds(void **state)
{
	many_segments(128, V1, 126);
	many_segments(128, V1 | PACKED, 126);
	many_segments(1024, V1, 1000);
	many_segments(1024, V1 | PACKED, 1000);
}

#define LONG_CHAINS 100u

/* Each of eight data pieces, of which there are more than lists. */
static void chains_that_no_list_is_left_for_wait_in_the_ring(void **state)
{
	const struct vireo_scsi_config config = { .segments_max = 1022 };
	uint8_t *head, *responses[LONG_CHAINS], *out;
	unsigned taken;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1 | INDIRECT, .queue_size = 256, .scsi = &config });
	g.holds = true;
	head = guest_alloc(&g, HEAD_BYTES);
	out = guest_alloc(&g, 4096);
	guest_head(head, &(struct ask){ 0 });
	for (unsigned i = 0; i < LONG_CHAINS; i++) {
		struct iovec iov[10] = { { head, HEAD_BYTES } };

		responses[i] = guest_alloc(&g, RESPONSE_BYTES);
		memset(responses[i], NO_RESPONSE, RESPONSE_BYTES);
		for (unsigned j = 0; j < 8; j++)
			iov[j + 1] = (struct iovec){ out + (size_t)512 * j, 512 };
		iov[9] = (struct iovec){ responses[i], RESPONSE_BYTES };
		guest_add(&g, REQUESTS, iov, 9, 1, NULL);
	}
	taken = (unsigned)guest_poll(&g);
	assert_in_range(taken, 1, LONG_CHAINS - 1);
	assert_false(vireo_scsi_kick_enable(g.scsi, 0, true)); /* a kick would not help */
	for (unsigned done = 0; done < LONG_CHAINS; done++) {
		held_end(&g, 0, VIREO_SCSI_OK);
		vireo_scsi_flush(g.scsi, 0);
		assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES);
	}
	for (unsigned i = 0; i < LONG_CHAINS; i++)
		assert_int_equal(responses[i][offsetof(struct virtio_scsi_response, response)], VIREO_SCSI_OK);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_split_as_the_driver_likes),
		cmocka_unit_test(data_are_handed_over_where_they_lie),
		cmocka_unit_test(protection_is_offered_where_a_unit_has_it),
		cmocka_unit_test(protection_beyond_the_buffers_fails),
		cmocka_unit_test(protection_may_be_told_in_front_of_the_cdb),
		cmocka_unit_test(protection_before_data_that_was_not_read_is_zero),
		cmocka_unit_test(a_command_has_as_many_segments_as_the_ring_holds),
		cmocka_unit_test(chains_that_no_list_is_left_for_wait_in_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
