/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A file of settings of one of the daemons: any text, or lines that are put together from the settings, kinds and keys that there are, so that
 * most of them are understood. Either nothing is said of it, or one line, which harms no terminal; `--check` says as much; and what has been
 * understood is written so that it is understood again, and is the same.
 */
#include "base/visible.h"
#include "config.h"
#include "fuzz.h"
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES  8192u
#define LINES_MAX   24u
#define KEYS_MAX    8u
#define VALUE_BYTES 256u
#define CHECK_LINES 21u /* config_file.c's ERRORS_MAX, and that it ends there */

static const struct config_daemon *const daemons[] = {&config_switchd, &config_blkd, &config_scsid};

/* ---- text ---- */

struct text {
	char bytes[TEXT_BYTES];
	size_t count;
};

static void put(struct text *text, const char *what, size_t bytes)
{
	size_t n = bytes < TEXT_BYTES - text->count ? bytes : TEXT_BYTES - text->count;

	memcpy(text->bytes + text->count, what, n);
	text->count += n;
}

static void put_word(struct text *text, const char *word)
{
	put(text, word, strlen(word));
}

static void put_raw(struct text *text, struct fuzz_input *in, size_t bytes)
{
	char raw[VALUE_BYTES];
	size_t n = bytes < sizeof(raw) ? bytes : sizeof(raw);

	n = n < in->left ? n : in->left;
	fuzz_take(in, raw, n);
	put(text, raw, n);
}

/* One of "on|off|N", as the help shows them. */
static void put_choice(struct text *text, const char *choices, uint8_t which)
{
	for (uint8_t n = which % 8; n && strchr(choices, '|'); n--)
		choices = strchr(choices, '|') + 1;
	put(text, choices, strcspn(choices, "|"));
}

static void put_value(struct text *text, struct fuzz_input *in, const char *choices)
{
	static const char *const values[] = {"0", "1", "2", "7", "100", "4096", "on", "off", "all", "a", "/run/a", "10-20+30", "52:54:00:00:00:01",
					     "10.0.0.1", "fe80::1", "10.0.0.0/8", "0-1,3", "-1", "18446744073709551616", "1M", "a#b", "root", ""};
	uint8_t how = fuzz_u8(in);
	char number[16];

	if (choices && strchr(choices, '|') && how & 1) {
		put_choice(text, choices, how / 2);
	} else if (how & 2) {
		put_word(text, values[how / 4 % ARRAY_SIZE(values)]);
	} else if (how & 4) {
		snprintf(number, sizeof(number), "%u", how & 8 ? fuzz_u16(in) : fuzz_u8(in));
		put_word(text, number);
	} else {
		put_raw(text, in, how / 8);
	}
}

static void put_spec(struct text *text, struct fuzz_input *in, const struct spec_kinds *kinds)
{
	static const char *const addresses[] = {"/run/a", "/run/b", "vm1", "eth0", "fd:7", "0000:00:03.0", "./a,,b", "a+b", "net_null0", ""};
	const struct spec_kind *kind = kinds->rows[fuzz_u8(in) % kinds->count];
	uint8_t keys = fuzz_u8(in) % (KEYS_MAX + 1);

	put_word(text, kind->type);
	put_word(text, ":");
	put_word(text, addresses[fuzz_u8(in) % ARRAY_SIZE(addresses)]);
	while (keys-- && kind->key_count) {
		const struct spec_key *key = &kind->keys[fuzz_u8(in) % kind->key_count];

		put_word(text, ",");
		put_word(text, key->name);
		put_word(text, "=");
		put_value(text, in, key->shown);
	}
}

static void put_line(struct text *text, struct fuzz_input *in, const struct config_daemon *daemon)
{
	static const char *const disks[] = {"d=mem:1M", "d=null:1G,latency=1ms", "e=file:/a,read-only=on"};
	static const char *const luns[] = {"0:0=d", "1:2=e,read-only=on", "x/0:1=d,serial=a"};
	const struct settings *settings = daemon->settings;
	const struct setting *row = &settings->rows[fuzz_u8(in) % settings->count];
	uint8_t how = fuzz_u8(in);

	put_word(text, row->name);
	put_word(text, how & 1 ? "\t " : " ");
	if (!row->arg && how & 0xf0)
		put_word(text, "");
	else if (!strcmp(row->name, "port") || !strcmp(row->name, "export"))
		put_spec(text, in, daemon->kinds);
	else if (!strcmp(row->name, "disk") && how & 2)
		put_word(text, disks[how / 4 % ARRAY_SIZE(disks)]);
	else if (!strcmp(row->name, "lun") && how & 2)
		put_word(text, luns[how / 4 % ARRAY_SIZE(luns)]);
	else
		put_value(text, in, row->arg);
	put_word(text, how & 64 ? " # a remark\n" : "\n");
}

/* ---- what is made of it ---- */

static int file = -1;

static void file_write(const char *bytes, size_t count)
{
	if (file < 0)
		file = memfd_create("settings", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, 0) || pwrite(file, bytes, count, 0) != (ssize_t)count)
		abort();
}

/* So many lines, each of which begins with the program's name and shows what it repeats. */
static unsigned lines_look(const char *said, const char *program)
{
	unsigned lines = 0;

	for (size_t bytes; *said; said += bytes + 1, lines++) {
		char line[8192];

		bytes = strcspn(said, "\n");
		assert(said[bytes] == '\n' && bytes < sizeof(line));
		memcpy(line, said, bytes);
		line[bytes] = '\0';
		assert(!strncmp(line, program, strlen(program)) && visible_is(line));
	}
	return lines;
}

/* What is said of the file; *ret_lines: so many lines were printed as errors. */
static enum settings_verdict look(const struct config_daemon *daemon, const char *how, void *options, unsigned *ret_lines)
{
	char path[32], *said = NULL, *printed = NULL;
	char *argv[] = {(char *)(uintptr_t)daemon->settings->program, (char *)(uintptr_t)how, path, NULL};
	size_t said_bytes, printed_bytes;
	FILE *err = open_memstream(&said, &said_bytes), *out = open_memstream(&printed, &printed_bytes);
	enum settings_verdict verdict;

	if (!err || !out)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	verdict = daemon->parse(3, argv, out, err, options);
	fclose(err);
	fclose(out);
	assert(strlen(said) == said_bytes);
	*ret_lines = lines_look(said, daemon->settings->program);
	free(said);
	free(printed);
	return verdict;
}

/* NULL: it is refused. */
static char *read_and_write(const struct config_daemon *daemon, size_t *ret_bytes)
{
	static _Alignas(16) char options[CONFIG_OPTIONS_BYTES];
	enum settings_verdict verdict;
	char *written = NULL;
	unsigned lines;
	FILE *out;

	verdict = look(daemon, "--config", options, &lines);
	assert(verdict == SETTINGS_RUN ? !lines : lines == 1 || (verdict == SETTINGS_DONE && !lines));
	if (verdict != SETTINGS_RUN)
		return NULL;
	out = open_memstream(&written, ret_bytes);
	if (!out)
		abort();
	settings_write((const struct daemon_options *)options, out);
	daemon->write_many(options, out);
	fclose(out);
	daemon->free(options);
	return written;
}

static void check(const struct config_daemon *daemon, bool holds)
{
	static _Alignas(16) char options[CONFIG_OPTIONS_BYTES];
	unsigned lines;
	enum settings_verdict verdict = look(daemon, "--check", options, &lines);

	assert(verdict == SETTINGS_DONE ? !lines : verdict == SETTINGS_BAD && lines && lines <= CHECK_LINES);
	assert(!holds || verdict == SETTINGS_DONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_u8(&in);
	const struct config_daemon *daemon = daemons[how / 4 % ARRAY_SIZE(daemons)];
	static struct text text;
	size_t bytes, again_bytes;
	char *written, *again;

	text.count = 0;
	if (how & 3)
		for (unsigned i = 0; i < LINES_MAX && in.left; i++)
			put_line(&text, &in, daemon);
	else
		put(&text, (const char *)in.data, in.left);
	file_write(text.bytes, text.count);
	written = read_and_write(daemon, &bytes);
	check(daemon, written);
	if (!written)
		return 0;
	file_write(written, bytes);
	again = read_and_write(daemon, &again_bytes);
	assert(again && bytes == again_bytes && !memcmp(written, again, bytes));
	free(again);
	free(written);
	return 0;
}
