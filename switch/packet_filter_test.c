/* SPDX-License-Identifier: BSD-3-Clause */

/* Programs that libpcap makes, and such as it never would. */

#include "switch/packet_filter.h"
#include "base/util.h"
#include <linux/filter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define STEP(code, jt, jf, k) {(uint16_t)(code), jt, jf, k}
#define RETURN(k)	      STEP(BPF_RET | BPF_K, 0, 0, k)

/* As `tcpdump -ddd udp dst port 53` prints it. */
static const struct packet_filter_step dns[] = {
	STEP(40, 0, 0, 12), STEP(21, 0, 4, 34525), STEP(48, 0, 0, 20), STEP(21, 0, 11, 17), STEP(40, 0, 0, 56),
	STEP(21, 8, 9, 53), STEP(21, 0, 8, 2048), STEP(48, 0, 0, 23), STEP(21, 0, 6, 17), STEP(40, 0, 0, 20),
	STEP(69, 4, 0, 8191), STEP(177, 0, 0, 14), STEP(72, 0, 0, 16), STEP(21, 0, 1, 53), STEP(6, 0, 0, 262144), STEP(6, 0, 0, 0),
};

static void dns_frame(uint8_t *frame, uint8_t ihl, uint16_t port)
{
	memset(frame, 0, 128);
	frame[12] = 8;
	frame[14] = 0x40 | ihl;
	frame[23] = 17;
	frame[14 + 4 * ihl + 2] = (uint8_t)(port >> 8);
	frame[14 + 4 * ihl + 3] = (uint8_t)port;
}

static void a_program_of_libpcaps_finds_its_frames(void **state)
{
	uint8_t frame[128];

	assert_true(packet_filter_valid(dns, ARRAY_SIZE(dns)));
	dns_frame(frame, 5, 53);
	assert_true(packet_filter_match(dns, frame, 60, 60));
	dns_frame(frame, 15, 53);
	assert_true(packet_filter_match(dns, frame, 128, 128));
	dns_frame(frame, 5, 54);
	assert_false(packet_filter_match(dns, frame, 60, 60));
	dns_frame(frame, 5, 53);
	assert_false(packet_filter_match(dns, frame, 36, 36)); /* cut short: what is not there does not match */
	assert_false(packet_filter_match(dns, frame, 0, 0));
}

static void no_more_is_copied_than_it_can_look_at(void **state)
{
	const struct packet_filter_step type[] = {STEP(BPF_LD | BPF_H | BPF_ABS, 0, 0, 12), STEP(BPF_RET | BPF_A, 0, 0, 0)};
	const struct packet_filter_step any[] = {STEP(BPF_LDX | BPF_IMM, 0, 0, 5), STEP(BPF_LD | BPF_B | BPF_IND, 0, 0, 0), RETURN(1)};
	const struct packet_filter_step none[] = {STEP(BPF_LD | BPF_W | BPF_LEN, 0, 0, 0), STEP(BPF_RET | BPF_A, 0, 0, 0)};
	const struct packet_filter_step far[] = {STEP(BPF_LD | BPF_W | BPF_ABS, 0, 0, UINT32_MAX), RETURN(1)};

	assert_int_equal(packet_filter_reach(dns, ARRAY_SIZE(dns)), 16 + 60 + 2);
	assert_int_equal(packet_filter_reach(type, ARRAY_SIZE(type)), 14);
	assert_int_equal(packet_filter_reach(any, ARRAY_SIZE(any)), UINT32_MAX);
	assert_int_equal(packet_filter_reach(none, ARRAY_SIZE(none)), 0);
	assert_int_equal(packet_filter_reach(far, ARRAY_SIZE(far)), UINT32_MAX);
}

static bool valid(const struct packet_filter_step *steps, unsigned count)
{
	return packet_filter_valid(steps, count);
}

#define REFUSED(...)                                                             \
	do {                                                                     \
		const struct packet_filter_step lie[] = {__VA_ARGS__, RETURN(1)}; \
		assert_false(valid(lie, ARRAY_SIZE(lie)));                       \
	} while (0)

static void what_could_do_harm_is_refused(void **state)
{
	const struct packet_filter_step end[] = {RETURN(0), STEP(BPF_LD | BPF_IMM, 0, 0, 0)};
	static struct packet_filter_step many[PACKET_FILTER_STEPS_MAX + 1];

	assert_false(valid(NULL, 0));
	assert_false(valid(end, ARRAY_SIZE(end))); /* it does not end */
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct packet_filter_step)RETURN(0);
	assert_false(valid(many, ARRAY_SIZE(many)));
	assert_true(valid(many, ARRAY_SIZE(many) - 1));
	REFUSED(STEP(BPF_JMP | BPF_JEQ, 1, 0, 0));
	REFUSED(STEP(BPF_JMP | BPF_JEQ, 0, 1, 0));
	REFUSED(STEP(BPF_JMP | BPF_JA, 0, 0, 1));
	REFUSED(STEP(BPF_JMP | BPF_JA, 0, 0, UINT32_MAX)); /* and not back either */
	REFUSED(STEP(BPF_JMP | 0x50, 0, 0, 0));
	REFUSED(STEP(BPF_ST, 0, 0, BPF_MEMWORDS));
	REFUSED(STEP(BPF_STX, 0, 0, BPF_MEMWORDS));
	REFUSED(STEP(BPF_LD | BPF_MEM, 0, 0, BPF_MEMWORDS));
	REFUSED(STEP(BPF_LDX | BPF_MEM, 0, 0, UINT32_MAX));
	REFUSED(STEP(BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0));
	REFUSED(STEP(BPF_ALU | BPF_MOD | BPF_K, 0, 0, 0));
	REFUSED(STEP(BPF_ALU | 0xb0, 0, 0, 0));
	REFUSED(STEP(BPF_LDX | BPF_ABS, 0, 0, 0));
	REFUSED(STEP(BPF_LD | BPF_MSH, 0, 0, 0));
	REFUSED(STEP(BPF_LD | 0xe0, 0, 0, 0));
	REFUSED(STEP(BPF_LD | BPF_ABS | 0x18, 0, 0, 0));
	REFUSED(STEP(BPF_RET | BPF_X, 0, 0, 0));
	REFUSED(STEP(BPF_MISC | 0x40, 0, 0, 0));
	REFUSED(STEP(0x106, 0, 0, 1));
}

/* The accumulator at the end, as an answer: does it hold this? */
static bool gives(const struct packet_filter_step *steps, unsigned count, uint32_t value)
{
	struct packet_filter_step all[16];

	memcpy(all, steps, count * sizeof(all[0]));
	all[count] = (struct packet_filter_step)STEP(BPF_JMP | BPF_JEQ, 0, 1, value);
	all[count + 1] = (struct packet_filter_step)RETURN(1);
	all[count + 2] = (struct packet_filter_step)RETURN(0);
	assert_true(valid(all, count + 3));
	return packet_filter_match(all, (const uint8_t *)"\x12\x34\x56\x78\x9a", 5, 5);
}

#define GIVES(value, ...)                                                 \
	do {                                                              \
		const struct packet_filter_step some[] = {__VA_ARGS__};   \
		assert_true(gives(some, ARRAY_SIZE(some), value));        \
	} while (0)
#define A(k)	STEP(BPF_LD | BPF_IMM, 0, 0, k)
#define X(k)	STEP(BPF_LDX | BPF_IMM, 0, 0, k)
#define K(op, k) STEP(BPF_ALU | (op) | BPF_K, 0, 0, k)
#define BY_X(op) STEP(BPF_ALU | (op) | BPF_X, 0, 0, 0)

static void each_step_does_what_the_paper_says(void **state)
{
	GIVES(0x12345678, STEP(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0));
	GIVES(0x5678, STEP(BPF_LD | BPF_H | BPF_ABS, 0, 0, 2));
	GIVES(0x9a, STEP(BPF_LD | BPF_B | BPF_ABS, 0, 0, 4));
	GIVES(0x3456, X(1), STEP(BPF_LD | BPF_H | BPF_IND, 0, 0, 0));
	GIVES(5, STEP(BPF_LD | BPF_W | BPF_LEN, 0, 0, 0));
	GIVES(8, STEP(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0), STEP(BPF_MISC | BPF_TXA, 0, 0, 0));
	GIVES(7, A(7), STEP(BPF_ST, 0, 0, 3), A(1), STEP(BPF_LD | BPF_MEM, 0, 0, 3));
	GIVES(9, X(9), STEP(BPF_STX, 0, 0, 0), STEP(BPF_LD | BPF_MEM, 0, 0, 0));
	GIVES(4, A(4), STEP(BPF_MISC | BPF_TAX, 0, 0, 0), A(1), STEP(BPF_MISC | BPF_TXA, 0, 0, 0));
	GIVES(9, A(7), K(BPF_ADD, 2));
	GIVES(UINT32_MAX, A(1), K(BPF_SUB, 2));
	GIVES(14, A(7), K(BPF_MUL, 2));
	GIVES(3, A(7), X(2), BY_X(BPF_DIV));
	GIVES(1, A(7), K(BPF_MOD, 2));
	GIVES(7, A(5), K(BPF_OR, 2));
	GIVES(4, A(6), K(BPF_AND, 12));
	GIVES(10, A(6), K(BPF_XOR, 12));
	GIVES(24, A(6), K(BPF_LSH, 2));
	GIVES(1, A(6), K(BPF_RSH, 2));
	GIVES(0, A(6), K(BPF_LSH, 32));
	GIVES((uint32_t)-6, A(6), STEP(BPF_ALU | BPF_NEG, 0, 0, 0));
	GIVES(2, A(1), STEP(BPF_JMP | BPF_JA, 0, 0, 1), A(9), K(BPF_ADD, 1));
	GIVES(9, A(9), STEP(BPF_JMP | BPF_JGT | BPF_K, 1, 0, 8), A(1));
	GIVES(9, A(9), STEP(BPF_JMP | BPF_JGE | BPF_K, 1, 0, 9), A(1));
	GIVES(9, A(9), STEP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 8), A(1));
	GIVES(9, A(9), X(9), STEP(BPF_JMP | BPF_JEQ | BPF_X, 1, 0, 0), A(1));
}

static void what_is_beyond_the_frame_or_all_numbers_is_no_match(void **state)
{
	const struct packet_filter_step by_zero[] = {X(0), A(1), BY_X(BPF_DIV), RETURN(1)};
	const struct packet_filter_step round[] = {X(UINT32_MAX), STEP(BPF_LD | BPF_B | BPF_IND, 0, 0, 2), RETURN(1)};
	const struct packet_filter_step beyond[] = {STEP(BPF_LD | BPF_W | BPF_ABS, 0, 0, UINT32_MAX), RETURN(1)};
	const uint8_t bytes[4] = {0};

	assert_true(valid(by_zero, ARRAY_SIZE(by_zero)) && valid(round, ARRAY_SIZE(round)) && valid(beyond, ARRAY_SIZE(beyond)));
	assert_false(packet_filter_match(by_zero, bytes, 4, 4));
	assert_false(packet_filter_match(round, bytes, 4, 4));
	assert_false(packet_filter_match(beyond, bytes, 4, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_of_libpcaps_finds_its_frames),
		cmocka_unit_test(no_more_is_copied_than_it_can_look_at),
		cmocka_unit_test(what_could_do_harm_is_refused),
		cmocka_unit_test(each_step_does_what_the_paper_says),
		cmocka_unit_test(what_is_beyond_the_frame_or_all_numbers_is_no_match),
	};

	return cmocka_run_group_tests_name("packet_filter", tests, NULL, NULL);
}
