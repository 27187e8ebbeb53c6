/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun_spec.h"
#include "base/util.h"
#include "base/visible.h"
#include "daemon/parse.h"
#include <errno.h>
#include <string.h>

#define WORD_BYTES 256u

/* ---- [EXPORT/]TARGET:LUN ---- */

static bool number_parse(const char *text, size_t bytes, unsigned max, unsigned *ret_number)
{
	unsigned long n;
	char word[8];

	if (!bytes || bytes >= sizeof(word))
		return false;
	memcpy(word, text, bytes);
	word[bytes] = '\0';
	if (!parse_number(word, 0, max, &n))
		return false;
	*ret_number = (unsigned)n;
	return true;
}

static bool export_parse(const char *text, size_t bytes, struct lun_address *address)
{
	if (!bytes || bytes >= sizeof(address->export))
		return false;
	memcpy(address->export, text, bytes);
	address->export[bytes] = '\0';
	return spec_name_valid(address->export);
}

int lun_address_parse(const char *text, size_t bytes, struct lun_address *ret_address, char why[SPEC_WHY_BYTES])
{
	const char *slash = memchr(text, '/', bytes), *end = text + bytes, *target = slash ? slash + 1 : text;
	const char *colon = memchr(target, ':', (size_t)(end - target));
	struct lun_address address = {0};

	if (slash && !export_parse(text, (size_t)(slash - text), &address)) {
		snprintf(why, SPEC_WHY_BYTES, "expected the name of an export before the /");
		return -EINVAL;
	}
	if (!colon || !number_parse(target, (size_t)(colon - target), SCSI_TARGETS - 1, &address.target) ||
	    !number_parse(colon + 1, (size_t)(end - colon - 1), SCSI_LUNS - 1, &address.number)) {
		snprintf(why, SPEC_WHY_BYTES, "expected [EXPORT/]TARGET:LUN, a target from 0 to %u and a LUN from 0 to %u",
			 SCSI_TARGETS - 1, SCSI_LUNS - 1);
		return -EINVAL;
	}
	*ret_address = address;
	return 0;
}

/* ---- keys ---- */

static bool set_read_only(struct lun_spec *spec, const char *value)
{
	spec->use.read_only = !strcmp(value, "on");
	return spec->use.read_only || !strcmp(value, "off");
}

static bool set_writers(struct lun_spec *spec, const char *value)
{
	spec->use.shared = !strcmp(value, "many");
	return spec->use.shared || !strcmp(value, "one");
}

static bool set_serial(struct lun_spec *spec, const char *value)
{
	size_t length = strlen(value);

	if (!length || length > SCSI_SERIAL_BYTES)
		return false;
	for (size_t i = 0; i < length; i++)
		if (value[i] < '!' || value[i] > '~')
			return false;
	memcpy(spec->serial, value, length + 1);
	return true;
}

static const struct {
	const char *name;
	bool (*set)(struct lun_spec *spec, const char *value);
	const char *expected, *shown;
} keys[] = {
	{"read-only", set_read_only, "on or off", "on|off"},
	{"writers", set_writers, "one or many", "one|many"},
	{"serial", set_serial, "1 to 32 letters, digits and signs", "TEXT"},
};

static int key_set(struct lun_spec *spec, unsigned *given, const char *word, char why[SPEC_WHY_BYTES])
{
	size_t bytes = strcspn(word, "=");

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strlen(keys[i].name) != bytes || memcmp(keys[i].name, word, bytes) != 0)
			continue;
		if (*given & 1u << i) {
			snprintf(why, SPEC_WHY_BYTES, "key '%s' is given twice", keys[i].name);
			return -EINVAL;
		}
		*given |= 1u << i;
		if (word[bytes] && keys[i].set(spec, word + bytes + 1))
			return 0;
		snprintf(why, SPEC_WHY_BYTES, "key '%s': expected %s", keys[i].name, keys[i].expected);
		return -EINVAL;
	}
	snprintf(why, SPEC_WHY_BYTES, "unknown key '%.*s': expected one of: read-only writers serial", (int)min_u64(bytes, 40), word);
	return -EINVAL;
}

static int keys_parse(struct lun_spec *spec, const char *text, char why[SPEC_WHY_BYTES])
{
	unsigned given = 0;
	int err = 0;

	while (!err && *text == ',') {
		size_t bytes = strcspn(text + 1, ",");
		char word[WORD_BYTES];

		if (bytes >= sizeof(word)) {
			snprintf(why, SPEC_WHY_BYTES, "a key and its value are longer than %u bytes", WORD_BYTES - 1);
			return -EINVAL;
		}
		memcpy(word, text + 1, bytes);
		word[bytes] = '\0';
		err = key_set(spec, &given, word, why);
		text += bytes + 1;
	}
	return err;
}

int lun_spec_parse(const char *text, struct lun_spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	const char *equals = strchr(text, '='), *disk = equals ? equals + 1 : "";
	size_t bytes = strcspn(disk, ",");
	struct lun_spec spec = {0};
	int err;

	if (!visible_is(text)) {
		snprintf(why, SPEC_WHY_BYTES, "expected no control characters, and bytes that are UTF-8");
		return -EINVAL;
	}
	if (!equals || !bytes || bytes >= sizeof(spec.disk)) {
		snprintf(why, SPEC_WHY_BYTES, "expected [EXPORT/]TARGET:LUN=DISK, with the name of a disk");
		return -EINVAL;
	}
	err = lun_address_parse(text, (size_t)(equals - text), &spec.at, why);
	if (err)
		return err;
	memcpy(spec.disk, disk, bytes);
	if (!spec_name_valid(spec.disk)) {
		snprintf(why, SPEC_WHY_BYTES, "disk '%.63s': expected a name of 1 to 63 letters, digits, '.', '_' or '-'", spec.disk);
		return -EINVAL;
	}
	err = keys_parse(&spec, disk + bytes, why);
	if (!err && spec.use.shared && spec.use.read_only) {
		snprintf(why, SPEC_WHY_BYTES, "writers: expected without read-only=on, which writes nothing");
		err = -EINVAL;
	}
	if (!err)
		*ret_spec = spec;
	return err;
}

void lun_spec_help(FILE *out)
{
	fprintf(out, "\nSPEC of a LUN: [EXPORT/]TARGET:LUN=DISK[,key=value...]; EXPORT may be left out where there is one only. Keys:\n ");
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		fprintf(out, " %s=%s", keys[i].name, keys[i].shown);
	fprintf(out, "\n");
}
