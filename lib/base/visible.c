/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/visible.h"
#include "base/util.h"
#include <string.h>

/* Unicode's control, format and separator characters that do something instead of being seen. */
static const struct {
	uint32_t first, last;
} hidden[] = {
	{0x0000, 0x001f},   {0x007f, 0x009f},	/* C0, DEL, C1 */
	{0x061c, 0x061c},   {0x180e, 0x180e},
	{0x200b, 0x200f},   {0x2028, 0x202e},	/* no width, marks; line, paragraph, embeddings and overrides */
	{0x2060, 0x206f},   {0xfeff, 0xfeff},	/* joiners, isolates; byte order mark */
	{0xfff9, 0xfffb},   {0xe0000, 0xe007f}, /* annotations; tags */
};

/* Continuation bytes that a leading byte promises; -1: it leads nothing. */
static int rest_of(unsigned char lead)
{
	return lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
}

/* Bytes of a well-formed character (Unicode, table 3-7); 0: there is none. A NUL continues nothing. */
static size_t decode(const char *at, uint32_t *ret_codepoint)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	unsigned char lead = (unsigned char)*at;
	int rest = rest_of(lead);
	uint32_t codepoint = rest > 0 ? lead & (0x3fu >> rest) : lead;

	for (int i = 1; i <= rest; i++) {
		if (((unsigned char)at[i] & 0xc0) != 0x80)
			return 0;
		codepoint = codepoint << 6 | ((unsigned char)at[i] & 0x3f);
	}
	if (rest < 0 || codepoint < least[rest] || codepoint > 0x10ffff || (codepoint >= 0xd800 && codepoint < 0xe000))
		return 0;
	*ret_codepoint = codepoint;
	return (size_t)rest + 1;
}

size_t visible_next(const char *at, uint32_t *ret_codepoint, bool *ret_visible)
{
	uint32_t codepoint = (unsigned char)*at;
	size_t bytes = decode(at, &codepoint);

	*ret_visible = bytes != 0;
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (codepoint >= hidden[i].first && codepoint <= hidden[i].last)
			*ret_visible = false;
	*ret_codepoint = codepoint;
	return bytes ? bytes : 1;
}

bool visible_is(const char *text)
{
	uint32_t codepoint;
	bool visible = true;

	while (visible && *text)
		text += visible_next(text, &codepoint, &visible);
	return visible;
}

static size_t show_bytes(char *to, const char *from, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++, to += 4) {
		to[0] = '\\';
		to[1] = 'x';
		to[2] = digits[(unsigned char)from[i] >> 4];
		to[3] = digits[from[i] & 0xf];
	}
	return 4 * bytes;
}

size_t visible_copy(char *to, size_t to_bytes, const char *text)
{
	size_t length = 0;

	while (*text) {
		uint32_t codepoint;
		bool visible;
		size_t bytes = visible_next(text, &codepoint, &visible);

		if (length + (visible ? 1 : 4) * bytes >= to_bytes)
			break;
		if (visible)
			memcpy(to + length, text, bytes);
		length += visible ? bytes : show_bytes(to + length, text, bytes);
		text += bytes;
	}
	to[length] = '\0';
	return length;
}
