/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/pcapng.h"
#include "base/util.h"
#include <string.h>

#define SECTION	      0x0a0d0d0au
#define SECTION_ORDER 0x1a2b3c4du
#define SECTION_FIXED 24u /* bytes before its options */
#define INTERFACE  1u
#define STATISTICS 5u
#define PACKET     6u

#define OPT_END     0u
#define OPT_COMMENT 1u

#define SHB_USERAPPL 4u
#define IF_NAME      2u
#define IF_TSRESOL   9u
#define IF_FILTER    11u
#define EPB_FLAGS    2u
#define ISB_IFRECV   4u
#define ISB_IFDROP   5u

#define INBOUND  1u
#define OUTBOUND 2u

#define LINKTYPE_ETHERNET 1u
#define NAME_MAX_BYTES    255u

struct block {
	uint8_t *at;
	size_t bytes;
};

static void put(struct block *block, const void *data, size_t bytes)
{
	if (bytes)
		memcpy(block->at + block->bytes, data, bytes);
	block->bytes += bytes;
}

static void put_u16(struct block *block, uint16_t value)
{
	put(block, &value, sizeof(value));
}

static void put_u32(struct block *block, uint32_t value)
{
	put(block, &value, sizeof(value));
}

static void put_time(struct block *block, uint64_t ns)
{
	put_u32(block, (uint32_t)(ns >> 32));
	put_u32(block, (uint32_t)ns);
}

static void put_padding(struct block *block)
{
	static const uint8_t zeroes[3];

	put(block, zeroes, -block->bytes & 3);
}

static void put_option(struct block *block, uint16_t code, const void *value, size_t bytes)
{
	put_u16(block, code);
	put_u16(block, (uint16_t)bytes);
	put(block, value, bytes);
	put_padding(block);
}

static void put_text(struct block *block, uint16_t code, const char *text, size_t max)
{
	put_option(block, code, text, strnlen(text, max));
}

static struct block begin(uint8_t *at, uint32_t type)
{
	struct block block = {at, 0};

	put_u32(&block, type);
	put_u32(&block, 0); /* its length, once that is known */
	return block;
}

static size_t end(struct block *block)
{
	uint32_t bytes;

	put_option(block, OPT_END, NULL, 0);
	bytes = (uint32_t)block->bytes + 4;
	put_u32(block, bytes);
	memcpy(block->at + 4, &bytes, sizeof(bytes));
	return block->bytes;
}

static size_t section(uint8_t *to, const char *program)
{
	struct block block = begin(to, SECTION);

	put_u32(&block, SECTION_ORDER);
	put_u16(&block, 1);
	put_u16(&block, 0);
	put_u32(&block, UINT32_MAX); /* how long the section is, is not said */
	put_u32(&block, UINT32_MAX);
	put_text(&block, SHB_USERAPPL, program, NAME_MAX_BYTES);
	return end(&block);
}

/* A filter's option begins with a byte that says that it is an expression. */
static void put_filter(struct block *block, const char *filter)
{
	uint8_t text[1 + PCAPNG_FILTER_MAX] = {0};
	size_t bytes = strnlen(filter, PCAPNG_FILTER_MAX);

	memcpy(text + 1, filter, bytes);
	put_option(block, IF_FILTER, text, 1 + bytes);
}

size_t pcapng_head(uint8_t *to, const struct pcapng_head *head)
{
	const uint8_t nanoseconds = 9;
	size_t bytes = section(to, head->program);
	struct block block = begin(to + bytes, INTERFACE);

	put_u16(&block, LINKTYPE_ETHERNET);
	put_u16(&block, 0);
	put_u32(&block, head->snaplen);
	put_text(&block, IF_NAME, head->interface, NAME_MAX_BYTES);
	put_option(&block, IF_TSRESOL, &nanoseconds, sizeof(nanoseconds));
	if (head->filter)
		put_filter(&block, head->filter);
	return bytes + end(&block);
}

size_t pcapng_packet(uint8_t *to, const struct pcapng_packet *packet, const uint8_t *bytes)
{
	const uint32_t flags = packet->out ? OUTBOUND : INBOUND;
	struct block block = begin(to, PACKET);

	put_u32(&block, 0);
	put_time(&block, packet->ns);
	put_u32(&block, packet->bytes);
	put_u32(&block, packet->frame_bytes);
	put(&block, bytes, packet->bytes);
	put_padding(&block);
	put_option(&block, EPB_FLAGS, &flags, sizeof(flags));
	if (packet->comment)
		put_text(&block, OPT_COMMENT, packet->comment, PCAPNG_EXTRA_MAX / 2);
	return end(&block);
}

size_t pcapng_end(uint8_t *to, const struct pcapng_end *counters)
{
	struct block block = begin(to, STATISTICS);

	put_u32(&block, 0);
	put_time(&block, counters->ns);
	put_option(&block, ISB_IFRECV, &counters->received, sizeof(counters->received));
	put_option(&block, ISB_IFDROP, &counters->dropped, sizeof(counters->dropped));
	return end(&block);
}

static uint32_t word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

bool pcapng_is_by(const uint8_t *bytes, size_t count, const char *program)
{
	size_t length = strlen(program);
	uint16_t option[2]; /* its code, and how many bytes it has */

	if (count < SECTION_FIXED + sizeof(option) + length || word(bytes) != SECTION || word(bytes + 8) != SECTION_ORDER)
		return false;
	memcpy(option, bytes + SECTION_FIXED, sizeof(option)); /* the program is the first that section() puts */
	return option[0] == SHB_USERAPPL && option[1] >= length && !memcmp(bytes + SECTION_FIXED + sizeof(option), program, length);
}
