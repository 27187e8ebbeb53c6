/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/spec.h"
#include "base/given.h"
#include "base/nearest.h"
#include "base/visible.h"
#include "vireo/endpoint.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_name(const char *text, const char *key)
{
	const char *value = strstr(text, key);

	return value && !isdigit((unsigned char)value[strlen(key)]);
}

bool spec_has_names(const char *text)
{
	return is_name(text, ",user=") || is_name(text, ",group=");
}

bool spec_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= SPEC_NAME_BYTES || *name == '-') /* which would be an option */
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

int spec_name_choose(struct spec *spec, bool fixed, bool (*taken)(const void *opaque, const char *name), const void *opaque)
{
	char base[SPEC_NAME_BYTES];

	if (!taken(opaque, spec->name))
		return 0;
	if (fixed)
		return -EEXIST;
	memcpy(base, spec->name, sizeof(base));
	for (unsigned n = 2; n < 10000; n++) {
		snprintf(spec->name, sizeof(spec->name), "%.*s-%u", (int)SPEC_NAME_BYTES - 6, base, n);
		if (!taken(opaque, spec->name))
			return 0;
	}
	return -EEXIST;
}

bool spec_set_name(struct spec *spec, const char *value)
{
	if (!spec_name_valid(value))
		return false;
	snprintf(spec->name, sizeof(spec->name), "%s", value);
	spec->name_given = true;
	return true;
}

/* ---- the type ---- */

/* "vhost-user:PATH, tap:INTERFACE or null:NAME" */
static void types_of(const struct spec_kinds *kinds, char *list, size_t bytes)
{
	size_t n = 0;

	*list = '\0';
	for (unsigned i = 0; i < kinds->count && n < bytes; i++) {
		const char *before = !i ? "" : i + 1 < kinds->count ? ", " : " or ";

		n += (size_t)snprintf(list + n, bytes - n, "%s%s:%s", before, kinds->rows[i]->type, kinds->rows[i]->address);
	}
}

static const char *type_hint(const struct spec_kinds *kinds, const char *text, char *hint)
{
	struct nearest nearest = nearest_to(text, strcspn(text, ":"));

	for (unsigned i = 0; i < kinds->count; i++)
		nearest_offer(&nearest, kinds->rows[i]->type);
	return nearest_hint(&nearest, hint, "");
}

static int type_parse(const struct spec_kinds *kinds, const char *text, struct spec *spec, const char **ret_rest, char *why)
{
	char list[480], hint[NEAREST_HINT_BYTES];

	for (unsigned i = 0; i < kinds->count; i++) {
		size_t len = strlen(kinds->rows[i]->type);

		if (strncmp(text, kinds->rows[i]->type, len) != 0 || text[len] != ':')
			continue;
		spec->kind = kinds->rows[i];
		*ret_rest = text + len + 1;
		return 0;
	}
	types_of(kinds, list, sizeof(list));
	snprintf(why, SPEC_WHY_BYTES, "'%.40s': expected %s%s", text, list, type_hint(kinds, text, hint));
	return -EINVAL;
}

/* ---- keys ---- */

static void keys_of(const struct spec_kind *kind, char *list, size_t bytes)
{
	size_t n = 0;

	snprintf(list, bytes, "none");
	for (unsigned i = 0; i < kind->key_count && n < bytes; i++)
		n += (size_t)snprintf(list + n, bytes - n, "%s%s", n ? " " : "", kind->keys[i].name);
}

const struct spec_key *spec_key_find(const struct spec_kind *kind, const char *name, size_t bytes)
{
	for (unsigned i = 0; i < kind->key_count; i++)
		if (strlen(kind->keys[i].name) == bytes && !memcmp(kind->keys[i].name, name, bytes))
			return &kind->keys[i];
	return NULL;
}

static int key_unknown(const struct spec_kind *kind, const char *name, char *why)
{
	struct nearest nearest = nearest_to(name, strlen(name));
	char list[480], hint[NEAREST_HINT_BYTES];

	for (unsigned i = 0; i < kind->key_count; i++)
		nearest_offer(&nearest, kind->keys[i].name);
	keys_of(kind, list, sizeof(list));
	snprintf(why, SPEC_WHY_BYTES, "unknown key '%.40s': expected one of: %s%s", name, list, nearest_hint(&nearest, hint, ""));
	return -EINVAL;
}

static int other_key(struct spec *spec, const char *name, const char *value, char *why)
{
	if (spec->kind->other_key(spec, name, value))
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "'%.20s=%.60s': expected %s", name, value, spec->kind->other_expected);
	return -EINVAL;
}

/* *at moves on to the value if that is what is wrong. */
static int key_parse(struct spec *spec, char *text, uint64_t *given, char *why, size_t *at)
{
	char *value = strchr(text, '=');
	const struct spec_key *key;

	if (value)
		*value++ = '\0';
	key = spec_key_find(spec->kind, text, strlen(text));
	if (!key && value && spec->kind->other_key)
		return other_key(spec, text, value, why);
	if (!key)
		return key_unknown(spec->kind, text, why);
	if (!given_first(given, (unsigned)(key - spec->kind->keys))) {
		snprintf(why, SPEC_WHY_BYTES, "key '%s' " GIVEN_TWICE, key->name);
		return -EINVAL;
	}
	if (value && key->set(spec, value))
		return 0;
	*at += value ? (size_t)(value - text) : 0;
	snprintf(why, SPEC_WHY_BYTES, "'%.20s=%.60s': expected %s", text, value ? value : "", key->expected);
	return -EINVAL;
}

/* ---- the whole ---- */

static int address_check(const struct spec *spec, char *why)
{
	const char *problem;

	problem = *spec->address ? spec->kind->address_problem(spec->address) : "nothing after the colon";
	if (!problem)
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "address '%.60s': %s", spec->address, problem);
	return -EINVAL;
}

/* `before` bytes of the SPEC lie before the parts. */
static int parts_parse(struct spec *spec, char *parts, size_t before, char *why, size_t *at)
{
	char *rest = parts;
	const char *address = strsep(&rest, ",");
	uint64_t given = 0;
	int err;

	*at = before;

	if (strlen(address) >= sizeof(spec->address)) {
		snprintf(why, SPEC_WHY_BYTES, "address '%.40s...': longer than %u bytes", address,
			 SPEC_ADDRESS_BYTES - 1);
		return -EINVAL;
	}
	memcpy(spec->address, address, strlen(address) + 1);
	while (rest) {
		*at = before + (size_t)(rest - parts);
		err = key_parse(spec, strsep(&rest, ","), &given, why, at);
		if (err)
			return err;
	}
	*at = before;
	return address_check(spec, why);
}

/* /run/vm1.sock -> vm1; what a name cannot hold becomes '-'. */
static void name_derive(struct spec *spec)
{
	bool path = spec->kind->address_is_path;
	const char *slash = strrchr(spec->address, '/');
	const char *base = slash && path ? slash + 1 : spec->address;
	size_t len = strlen(base);

	if (path && len > 5 && !strcmp(base + len - 5, ".sock"))
		len -= 5;
	if (len >= SPEC_NAME_BYTES - 5) /* room for "-4096" */
		len = SPEC_NAME_BYTES - 6;
	memcpy(spec->name, base, len);
	spec->name[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)spec->name[i]) && !strchr("._-", spec->name[i]))
			spec->name[i] = '-';
	if (*spec->name == '-') /* none that begins like an option */
		*spec->name = '_';
}

static int whole_check(const struct spec_kinds *kinds, const struct spec *spec, char *why)
{
	const char *problem = spec->kind->problem ? spec->kind->problem(spec) : NULL;

	if (!problem && kinds->problem)
		problem = kinds->problem(spec);
	if (!problem)
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "%s", problem);
	return -EINVAL;
}

static int text_parse(const struct spec_kinds *kinds, const char *text, struct spec *spec, char *why, size_t *at)
{
	const char *rest;
	char *parts;
	int err = type_parse(kinds, text, spec, &rest, why);

	if (err)
		return err;
	parts = strdup(rest);
	if (!parts) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return -EINVAL;
	}
	err = parts_parse(spec, parts, (size_t)(rest - text), why, at);
	free(parts);
	if (err)
		return err;
	*at = 0;
	if (!spec->name_given)
		name_derive(spec);
	return whole_check(kinds, spec, why);
}

int spec_parse(const struct spec_kinds *kinds, const char *text, struct spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	size_t at;

	return spec_parse_at(kinds, text, ret_spec, why, &at);
}

int spec_parse_at(const struct spec_kinds *kinds, const char *text, struct spec *ret_spec, char why[SPEC_WHY_BYTES], size_t *ret_at)
{
	struct spec *spec;
	size_t at = 0;
	int err;

	*ret_at = 0;

	if (!visible_is(text)) { /* it goes into logs and tables, and into JSON, which knows UTF-8 only */
		snprintf(why, SPEC_WHY_BYTES, "expected no control characters, and bytes that are UTF-8");
		return -EINVAL;
	}
	spec = calloc(1, kinds->spec_bytes);
	if (!spec) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return -EINVAL;
	}
	spec->endpoint.attach = VIREO_ATTACH_VIRTIO;
	if (kinds->defaults)
		kinds->defaults(spec);
	err = text_parse(kinds, text, spec, why, &at);
	if (!err)
		memcpy(ret_spec, spec, kinds->spec_bytes);
	else
		*ret_at = at;
	free(spec);
	return err;
}

/* ---- help ---- */

#define HELP_COLUMNS 110

static void kind_help(const struct spec_kind *kind, FILE *out)
{
	int column = fprintf(out, "  %s:%s", kind->type, kind->address);

	for (unsigned i = 0; i < kind->key_count; i++) {
		const struct spec_key *key = &kind->keys[i];
		const char *end = kind->other_key ? ",ARGUMENT=VALUE...]" : "]";
		char text[80];
		int n = snprintf(text, sizeof(text), "%s%s=%s%s", i ? "" : "[,", key->name, key->shown,
				 i + 1 < kind->key_count ? "," : end);

		if (column + n > HELP_COLUMNS)
			column = fprintf(out, "\n             ") - 1;
		column += fprintf(out, "%s", text);
	}
	fprintf(out, "\n");
}

void spec_help(const struct spec_kinds *kinds, FILE *out)
{
	fprintf(out, "\nSPEC is one of\n");
	for (unsigned i = 0; i < kinds->count; i++)
		kind_help(kinds->rows[i], out);
}
