/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The classic BPF (McCanne and Jacobson, 1993): an accumulator, an index register, 16 words of memory, jumps that only go forward. So a
 * program ends after as many steps as it has. Loads beyond the frame end it without a match.
 */

#include "switch/packet_filter.h"
#include "base/util.h"
#include <linux/filter.h>
#include <string.h>

#define WORDS      BPF_MEMWORDS
#define HEADER_MAX 60u /* what BPF_MSH can load at most: 4 * 15 */

struct machine {
	const uint8_t *bytes;
	uint32_t have, all_bytes;
	uint32_t a, x, memory[WORDS];
};

/* ---- what it may be ---- */

static bool alu_valid(const struct packet_filter_step *step)
{
	switch (BPF_OP(step->code)) {
	case BPF_DIV:
	case BPF_MOD:
		return BPF_SRC(step->code) == BPF_X || step->k;
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_OR:
	case BPF_AND:
	case BPF_XOR:
	case BPF_LSH:
	case BPF_RSH:
	case BPF_NEG:
		return true;
	default:
		return false;
	}
}

static bool load_valid(const struct packet_filter_step *step)
{
	bool index = BPF_CLASS(step->code) == BPF_LDX;

	switch (BPF_MODE(step->code)) {
	case BPF_IMM:
	case BPF_LEN:
		return BPF_SIZE(step->code) == BPF_W;
	case BPF_MEM:
		return BPF_SIZE(step->code) == BPF_W && step->k < WORDS;
	case BPF_ABS:
	case BPF_IND:
		return !index && BPF_SIZE(step->code) != 0x18;
	case BPF_MSH:
		return index && BPF_SIZE(step->code) == BPF_B;
	default:
		return false;
	}
}

static bool jump_valid(const struct packet_filter_step *step, unsigned left)
{
	switch (BPF_OP(step->code)) {
	case BPF_JA:
		return step->k < left;
	case BPF_JEQ:
	case BPF_JGT:
	case BPF_JGE:
	case BPF_JSET:
		return step->jt < left && step->jf < left;
	default:
		return false;
	}
}

static bool return_valid(const struct packet_filter_step *step)
{
	return BPF_RVAL(step->code) == BPF_K || BPF_RVAL(step->code) == BPF_A;
}

static bool misc_valid(const struct packet_filter_step *step)
{
	return BPF_MISCOP(step->code) == BPF_TAX || BPF_MISCOP(step->code) == BPF_TXA;
}

/* `left`: so many follow it. */
static bool step_valid(const struct packet_filter_step *step, unsigned left)
{
	if (step->code > UINT8_MAX)
		return false;
	switch (BPF_CLASS(step->code)) {
	case BPF_LD:
	case BPF_LDX:
		return load_valid(step);
	case BPF_ST:
	case BPF_STX:
		return step->k < WORDS;
	case BPF_ALU:
		return alu_valid(step);
	case BPF_JMP:
		return jump_valid(step, left);
	case BPF_RET:
		return return_valid(step);
	default:
		return misc_valid(step);
	}
}

bool packet_filter_valid(const struct packet_filter_step *steps, unsigned count)
{
	if (!count || count > PACKET_FILTER_STEPS_MAX || BPF_CLASS(steps[count - 1].code) != BPF_RET)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!step_valid(&steps[i], count - 1 - i))
			return false;
	return true;
}

/* ---- how far it looks ---- */

static uint32_t size_bytes(uint16_t code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

/* Is the index register anything but a header's length, as BPF_MSH loads it? */
static bool index_is_free(const struct packet_filter_step *steps, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint16_t code = steps[i].code;

		if (BPF_CLASS(code) == BPF_LDX && BPF_MODE(code) != BPF_MSH)
			return true;
		if (BPF_CLASS(code) == BPF_MISC && BPF_MISCOP(code) == BPF_TAX)
			return true;
	}
	return false;
}

static uint64_t step_reach(const struct packet_filter_step *step)
{
	uint64_t k = step->k;

	if (BPF_CLASS(step->code) == BPF_LDX)
		return BPF_MODE(step->code) == BPF_MSH ? k + 1 : 0;
	if (BPF_CLASS(step->code) != BPF_LD)
		return 0;
	if (BPF_MODE(step->code) == BPF_IND)
		return k + HEADER_MAX + size_bytes(step->code);
	return BPF_MODE(step->code) == BPF_ABS ? k + size_bytes(step->code) : 0;
}

uint32_t packet_filter_reach(const struct packet_filter_step *steps, unsigned count)
{
	uint64_t reach = 0;

	if (index_is_free(steps, count))
		return UINT32_MAX;
	for (unsigned i = 0; i < count; i++)
		reach = max_u64(reach, step_reach(&steps[i]));
	return (uint32_t)min_u64(reach, UINT32_MAX);
}

/* ---- what it does ---- */

/* False: that is not there. */
static bool load_bytes(const struct machine *m, uint64_t at, uint32_t bytes, uint32_t *ret)
{
	uint32_t value = 0;

	if (at + bytes > m->have)
		return false;
	for (uint32_t i = 0; i < bytes; i++)
		value = value << 8 | m->bytes[at + i];
	*ret = value;
	return true;
}

static bool load(struct machine *m, const struct packet_filter_step *step)
{
	uint32_t *to = BPF_CLASS(step->code) == BPF_LDX ? &m->x : &m->a, byte;

	switch (BPF_MODE(step->code)) {
	case BPF_IMM:
		*to = step->k;
		return true;
	case BPF_LEN:
		*to = m->all_bytes;
		return true;
	case BPF_MEM:
		*to = m->memory[step->k];
		return true;
	case BPF_ABS:
		return load_bytes(m, step->k, size_bytes(step->code), to);
	case BPF_IND:
		return load_bytes(m, (uint64_t)step->k + m->x, size_bytes(step->code), to);
	default: /* BPF_MSH */
		if (!load_bytes(m, step->k, 1, &byte))
			return false;
		*to = (byte & 0xf) << 2;
		return true;
	}
}

static uint32_t shifted(uint32_t value, uint32_t by, bool left)
{
	if (by > 31)
		return 0;
	return left ? value << by : value >> by;
}

/* False: it divides by 0. */
static bool compute(struct machine *m, const struct packet_filter_step *step)
{
	uint32_t by = BPF_SRC(step->code) == BPF_X ? m->x : step->k;
	uint16_t op = BPF_OP(step->code);

	if ((op == BPF_DIV || op == BPF_MOD) && !by)
		return false;
	switch (op) {
	case BPF_ADD: m->a += by; break;
	case BPF_SUB: m->a -= by; break;
	case BPF_MUL: m->a *= by; break;
	case BPF_DIV: m->a /= by; break;
	case BPF_MOD: m->a %= by; break;
	case BPF_OR: m->a |= by; break;
	case BPF_AND: m->a &= by; break;
	case BPF_XOR: m->a ^= by; break;
	case BPF_LSH: m->a = shifted(m->a, by, true); break;
	case BPF_RSH: m->a = shifted(m->a, by, false); break;
	default: m->a = -m->a; break; /* BPF_NEG */
	}
	return true;
}

/* How many steps are left out. */
static uint32_t jump(const struct machine *m, const struct packet_filter_step *step)
{
	uint32_t with = BPF_SRC(step->code) == BPF_X ? m->x : step->k;
	bool yes;

	switch (BPF_OP(step->code)) {
	case BPF_JA:
		return step->k;
	case BPF_JEQ:
		yes = m->a == with;
		break;
	case BPF_JGT:
		yes = m->a > with;
		break;
	case BPF_JGE:
		yes = m->a >= with;
		break;
	default: /* BPF_JSET */
		yes = m->a & with;
		break;
	}
	return yes ? step->jt : step->jf;
}

static void move(struct machine *m, const struct packet_filter_step *step)
{
	if (BPF_CLASS(step->code) == BPF_ST)
		m->memory[step->k] = m->a;
	else if (BPF_CLASS(step->code) == BPF_STX)
		m->memory[step->k] = m->x;
	else if (BPF_MISCOP(step->code) == BPF_TAX)
		m->x = m->a;
	else
		m->a = m->x;
}

bool packet_filter_match(const struct packet_filter_step *steps, const uint8_t *bytes, uint32_t have, uint32_t all_bytes)
{
	struct machine m = {.bytes = bytes, .have = have, .all_bytes = all_bytes};

	for (const struct packet_filter_step *step = steps;; step++) {
		switch (BPF_CLASS(step->code)) {
		case BPF_LD:
		case BPF_LDX:
			if (!load(&m, step))
				return false;
			break;
		case BPF_ALU:
			if (!compute(&m, step))
				return false;
			break;
		case BPF_JMP:
			step += jump(&m, step);
			break;
		case BPF_RET:
			return BPF_RVAL(step->code) == BPF_A ? m.a : step->k;
		default:
			move(&m, step);
			break;
		}
	}
}
