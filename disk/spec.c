/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/spec.h"
#include "base/given.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "base/util.h"
#include "base/visible.h"
#include "disk/kind.h"
#include "disk/layer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of every kind. */
static const struct disk_key common_keys[] = {
	DISK_KEY_SWITCH("read-only"),
};

/* ---- values ---- */

/* Sizes and offsets are signed where the kernel counts them. */
bool disk_size_parse(const char *text, uint64_t *ret_bytes)
{
	uint64_t bytes;

	if (!parse_size(text, &bytes) || bytes > INT64_MAX)
		return false;
	*ret_bytes = bytes;
	return true;
}

static bool choice_parse(const char *choices, const char *text, uint64_t *ret_number)
{
	size_t len = strlen(text);

	for (uint64_t i = 0;; i++) {
		size_t chars = strcspn(choices, "|");

		if (chars == len && !memcmp(choices, text, len)) {
			*ret_number = i;
			return true;
		}
		if (!choices[chars])
			return false;
		choices += chars + 1;
	}
}

static bool value_parse(const struct disk_key *key, const char *text, uint64_t *ret_number)
{
	unsigned long number = 0;
	uint64_t n = 0;
	bool valid = false;

	switch (key->type) {
	case DISK_KEY_NUMBER:
		valid = parse_number(text, key->min, key->max, &number);
		n = number;
		break;
	case DISK_KEY_SIZE:
		valid = (!key->min && !strcmp(text, "0")) || disk_size_parse(text, &n);
		valid = valid && n >= key->min && n <= key->max;
		break;
	case DISK_KEY_CHOICE:
		valid = choice_parse(key->choices, text, &n);
		break;
	case DISK_KEY_TEXT:
		valid = *text;
		break;
	}
	if (valid)
		*ret_number = n;
	return valid;
}

static void value_expected(const struct disk_key *key, char *why, const char *text)
{
	int n = snprintf(why, DISK_WHY_BYTES, "'%.20s=%.60s': expected ", key->name, text);
	unsigned long long min = key->min, max = key->max;

	why += n;
	switch (key->type) {
	case DISK_KEY_NUMBER:
		snprintf(why, DISK_WHY_BYTES - (size_t)n, "a number from %llu to %llu", min, max);
		break;
	case DISK_KEY_SIZE:
		snprintf(why, DISK_WHY_BYTES - (size_t)n, "from %llu to %llu bytes, as 4096, 64K or 2G", min, max);
		break;
	case DISK_KEY_CHOICE:
		snprintf(why, DISK_WHY_BYTES - (size_t)n, "one of %s", key->choices);
		break;
	case DISK_KEY_TEXT:
		snprintf(why, DISK_WHY_BYTES - (size_t)n, "something after the '='");
		break;
	}
}

/* ---- keys ---- */

static const struct disk_key *key_among(const struct disk_key *keys, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static size_t keys_list(const struct disk_key *keys, unsigned count, char *list, size_t bytes, size_t n)
{
	for (unsigned i = 0; i < count && n < bytes; i++)
		n += (size_t)snprintf(list + n, bytes - n, "%s%s", n ? " " : "", keys[i].name);
	return n;
}

static void keys_offer(struct nearest *nearest, const struct disk_key *keys, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		nearest_offer(nearest, keys[i].name);
}

/* A SPEC takes limits and the like, too, which --help lists: they would fill the line. */
static int key_unknown(const struct disk_spec *spec, const char *name, char *why)
{
	struct nearest nearest = nearest_to(name, strlen(name));
	const struct disk_kind *kind = spec->kind;
	char list[160], hint[NEAREST_HINT_BYTES];
	size_t n;

	if (kind) {
		n = keys_list(kind->keys, kind->key_count, list, sizeof(list), 0);
		keys_list(common_keys, ARRAY_SIZE(common_keys), list, sizeof(list), n);
		keys_offer(&nearest, kind->keys, kind->key_count);
		keys_offer(&nearest, common_keys, ARRAY_SIZE(common_keys));
		for (unsigned i = 0; i < DISK_LAYERS; i++)
			keys_offer(&nearest, disk_layer_kinds[i]->keys, disk_layer_kinds[i]->key_count);
	} else {
		keys_list(spec->keys, spec->key_count, list, sizeof(list), 0);
		keys_offer(&nearest, spec->keys, spec->key_count);
	}
	snprintf(why, DISK_WHY_BYTES, "unknown key '%.24s': %.12s takes %s%s%s", name, kind ? kind->name : "this", list,
		 kind ? ", and limits" : "", nearest_hint(&nearest, hint, ""));
	return -EINVAL;
}

/* What this SPEC takes by that name; NULL: nothing. */
static const struct disk_key *key_named(const struct disk_spec *spec, const char *name)
{
	const struct disk_key *key;

	if (!spec->kind)
		return key_among(spec->keys, spec->key_count, name);
	key = key_among(spec->kind->keys, spec->kind->key_count, name);
	if (!key)
		key = key_among(common_keys, ARRAY_SIZE(common_keys), name);
	for (unsigned i = 0; i < DISK_LAYERS && !key; i++)
		key = key_among(disk_layer_kinds[i]->keys, disk_layer_kinds[i]->key_count, name);
	return key;
}

static const struct disk_value *value_of(const struct disk_spec *spec, const char *key)
{
	for (unsigned i = 0; i < spec->value_count; i++)
		if (!strcmp(spec->values[i].key->name, key))
			return &spec->values[i];
	return NULL;
}

static int key_parse(struct disk_spec *spec, char *text, char *why)
{
	char *value = strchr(text, '=');
	const struct disk_key *key;
	uint64_t number;

	if (value)
		*value++ = '\0';
	else
		value = text + strlen(text);
	key = key_named(spec, text);
	if (!key)
		return key_unknown(spec, text, why);
	if (value_of(spec, key->name)) {
		snprintf(why, DISK_WHY_BYTES, "key '%s' " GIVEN_TWICE, key->name);
		return -EINVAL;
	}
	if (!value_parse(key, value, &number)) {
		value_expected(key, why, value);
		return -EINVAL;
	}
	spec->values[spec->value_count++] = (struct disk_value){key, value, number};
	return 0;
}

uint64_t disk_spec_number(const struct disk_spec *spec, const char *key, uint64_t otherwise)
{
	const struct disk_value *value = value_of(spec, key);

	return value ? value->number : otherwise;
}

const char *disk_spec_text(const struct disk_spec *spec, const char *key, const char *otherwise)
{
	const struct disk_value *value = value_of(spec, key);

	return value ? value->text : otherwise;
}

/* ---- the whole ---- */

/* "file:PATH, mem:SIZE or null:SIZE" */
static int kind_unknown(const char *text, char *why)
{
	struct nearest nearest = nearest_to(text, strcspn(text, ":"));
	char list[160], hint[NEAREST_HINT_BYTES];
	size_t n = 0;

	for (unsigned i = 0; i < disk_kind_count && n < sizeof(list); i++) {
		const char *before = !i ? "" : i + 1 < disk_kind_count ? ", " : " or ";

		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s:%s", before, disk_kinds[i]->name,
				      disk_kinds[i]->address);
	}
	for (unsigned i = 0; i < disk_kind_count; i++)
		nearest_offer(&nearest, disk_kinds[i]->name);
	snprintf(why, DISK_WHY_BYTES, "'%.40s': expected %s%s", text, list, nearest_hint(&nearest, hint, ""));
	return -EINVAL;
}

static const struct disk_kind *kind_of(const char *text)
{
	for (unsigned i = 0; i < disk_kind_count; i++) {
		size_t len = strlen(disk_kinds[i]->name);

		if (!strncmp(text, disk_kinds[i]->name, len) && text[len] == ':')
			return disk_kinds[i];
	}
	return NULL;
}

/* Ends the part that begins at text, and makes one comma of two in it. Returns the next part; NULL: it was the last. */
static char *part_end(char *text)
{
	char *to = text;

	for (; *text; *to++ = *text++) {
		if (*text != ',')
			continue;
		if (text[1] != ',') {
			*to = '\0';
			return text + 1;
		}
		text++;
	}
	*to = '\0';
	return NULL;
}

static int keys_parse(struct disk_spec *spec, char *next, char *why)
{
	int err = 0;

	while (!err && next) {
		char *part = next;

		next = part_end(part);
		err = key_parse(spec, part, why);
	}
	return err;
}

static int parts_parse(struct disk_spec *spec, char *why)
{
	const char *problem;
	int err = keys_parse(spec, part_end(spec->address), why);

	if (err)
		return err;
	problem = *spec->address ? spec->kind->address_problem(spec->address) : "nothing after the colon";
	if (!problem)
		return spec->kind->keys_problem ? spec->kind->keys_problem(spec, why) : 0;
	snprintf(why, DISK_WHY_BYTES, "%s '%.100s': %s", spec->kind->name, spec->address, problem);
	return -EINVAL;
}

/* The copy that is taken apart. */
static int text_take(const char *text, struct disk_spec *spec, char *why)
{
	if (!visible_is(text)) {
		snprintf(why, DISK_WHY_BYTES, "expected no control characters, and bytes that are UTF-8");
		return -EINVAL;
	}
	spec->text = strdup(text);
	if (spec->text)
		return 0;
	snprintf(why, DISK_WHY_BYTES, "out of memory");
	return -ENOMEM;
}

int disk_spec_keys_parse(const char *text, const struct disk_key *keys, unsigned count, struct disk_spec *ret_spec, char *why)
{
	struct disk_spec spec = {.keys = keys, .key_count = count};
	int err = text_take(text, &spec, why);

	if (err)
		return err;
	err = keys_parse(&spec, spec.text, why);
	if (err)
		free(spec.text);
	else
		*ret_spec = spec;
	return err;
}

int disk_spec_parse(const char *text, struct disk_spec *ret_spec, char *why)
{
	struct disk_spec spec = {.kind = kind_of(text)};
	int err = text_take(text, &spec, why);

	if (err)
		return err;
	if (!spec.kind) {
		free(spec.text);
		return kind_unknown(text, why);
	}
	spec.address = spec.text + strlen(spec.kind->name) + 1;
	err = parts_parse(&spec, why);
	if (err)
		free(spec.text);
	else
		*ret_spec = spec;
	return err;
}

void disk_spec_free(struct disk_spec *spec)
{
	free(spec->text);
	spec->text = NULL;
}

int disk_spec_check(const char *text, char why[DISK_WHY_BYTES])
{
	struct disk_spec spec = {0};
	int err = disk_spec_parse(text, &spec, why);

	if (!err)
		disk_spec_free(&spec);
	return err;
}

/* ---- help ---- */

#define HELP_COLUMNS 110

static void help_keys(const struct disk_key *keys, unsigned count, int column, FILE *out)
{
	for (unsigned i = 0; i < count; i++) {
		char text[80];
		int n = snprintf(text, sizeof(text), "[,%s=%s]", keys[i].name, keys[i].choices);

		if (column + n > HELP_COLUMNS)
			column = fprintf(out, "\n             ") - 1;
		column += fprintf(out, "%s", text);
	}
	fprintf(out, "\n");
}

void disk_spec_help(FILE *out)
{
	int column;

	fprintf(out, "\nA disk's SPEC is one of\n");
	for (unsigned i = 0; i < disk_kind_count; i++) {
		column = fprintf(out, "  %s:%s", disk_kinds[i]->name, disk_kinds[i]->address);
		help_keys(disk_kinds[i]->keys, disk_kinds[i]->key_count, column, out);
	}
	column = fprintf(out, "and each of them takes ");
	help_keys(common_keys, ARRAY_SIZE(common_keys), column, out);
	for (unsigned i = 0; i < DISK_LAYERS; i++) {
		column = fprintf(out, "                      ");
		help_keys(disk_layer_kinds[i]->keys, disk_layer_kinds[i]->key_count, column, out);
	}
	fprintf(out, "A comma in a path is written twice.\n");
}
