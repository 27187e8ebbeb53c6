/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_SPEC_H
#define DISK_SPEC_H

/*
 * A disk as the user writes it: KIND:ADDRESS[,key=value...]. A comma that belongs to an address or a value is written twice.
 * Pure parsing: nothing is opened.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_SPEC_VALUES 64u

enum disk_key_type {
	DISK_KEY_NUMBER, /* min to max */
	DISK_KEY_SIZE,	 /* bytes, min to max; K, M, G and T are KiB, MiB, GiB and TiB */
	DISK_KEY_CHOICE, /* one of `choices`; its number is which */
	DISK_KEY_TEXT,	 /* not empty */
};

struct disk_key {
	const char *name;
	enum disk_key_type type;
	const char *choices; /* "off|on|shared"; for the others what the help shows: "SECONDS" */
	uint64_t min, max;
};

#define DISK_KEY_SWITCH(name) {(name), DISK_KEY_CHOICE, "off|on", 0, 0}

struct disk_value {
	const struct disk_key *key;
	const char *text;
	uint64_t number; /* of a number, size or choice */
};

struct disk_kind;

struct disk_spec {
	const struct disk_kind *kind; /* NULL: it is keys alone, of those below */
	const struct disk_key *keys;
	unsigned key_count;
	char *address;
	unsigned value_count;
	struct disk_value values[DISK_SPEC_VALUES];
	char *text; /* what the above point into */
};

/* 0, or -EINVAL or -ENOMEM and in `why` (DISK_WHY_BYTES) one phrase. */
int disk_spec_parse(const char *text, struct disk_spec *ret_spec, char *why);
/* "key=value[,key=value...]", of these keys alone. */
int disk_spec_keys_parse(const char *text, const struct disk_key *keys, unsigned count, struct disk_spec *ret_spec, char *why);
void disk_spec_free(struct disk_spec *spec);

/* What a key says, or `otherwise` if it is not given. */
uint64_t disk_spec_number(const struct disk_spec *spec, const char *key, uint64_t otherwise);
const char *disk_spec_text(const struct disk_spec *spec, const char *key, const char *otherwise);

/* 1 or more bytes with a unit. False: it is none. */
bool disk_size_parse(const char *text, uint64_t *ret_bytes);

#endif
