/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SPEC_H
#define DAEMON_SPEC_H

/*
 * Where something is offered or found, as the user writes it: TYPE:ADDRESS[,key=value...]. Which types a daemon knows, and
 * which keys each of them takes, its table says; a row owns all that is said about its type. Pure parsing: nothing is
 * opened.
 */

#include "daemon/parse.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define SPEC_NAME_BYTES 64u
#define SPEC_ADDRESS_BYTES 4096u
#define SPEC_WHY_BYTES PARSE_WHY_BYTES

struct endpoint_kind;
struct spec_kind;

/* What an endpoint's keys have said (daemon/endpoint.h). */
struct spec_endpoint {
	bool client; /* vhost-user: connect instead of listening */
	bool mode_given;
	bool set_user, set_group;
	uid_t user;
	gid_t group;
	mode_t perm;		    /* 0: not given */
	unsigned hello_ms;	    /* vhost-user, listening; 0: not given */
	bool postcopy;		    /* vhost-user */
	bool inband;		    /* vhost-user */
	unsigned attach;	    /* vduse: enum vireo_attach */
	unsigned queue_size;	    /* vduse; 0: not given */
	uint64_t ring_features_off; /* for the device's config: not offered; a mask of feature bits */
	bool any_files;		    /* guest memory may lie in a file on a disk */
	uint64_t memory_max_bytes;  /* for the device's config; 0: not given */
};

/* What a daemon knows of one of them begins with this. */
struct spec {
	const struct spec_kind *kind;
	char address[SPEC_ADDRESS_BYTES];
	char name[SPEC_NAME_BYTES];
	bool name_given; /* or derived from the address, and may be changed to be unique */
	struct spec_endpoint endpoint;
};

struct spec_key {
	const char *name;
	bool (*set)(struct spec *spec, const char *value); /* false: not what is `expected` */
	const char *expected;
	const char *shown; /* in the help, after "name=" */
	bool live; /* it can change while what it belongs to is there, where the daemon has a command for that */
};

struct spec_kind {
	const char *type;	/* what stands before the colon */
	const char *address;	/* in the help: what stands behind it */
	bool address_is_path;	/* of a file: the name is derived from its last part */
	const char *(*address_problem)(const char *address); /* NULL: it is fine, or what is expected */
	const char *(*problem)(const struct spec *spec);     /* the same of keys that do not go together; may be NULL */
	const struct spec_key *keys;
	unsigned key_count;
	/* A key=value that is none of `keys`; false: not what is expected. NULL: there is no other. */
	bool (*other_key)(struct spec *spec, const char *name, const char *value);
	const char *other_expected;
	const struct endpoint_kind *endpoint; /* NULL: it is none */
};

/* A daemon's table. */
struct spec_kinds {
	const struct spec_kind *const *rows;
	unsigned count;
	size_t spec_bytes; /* of what begins with struct spec */
	/* May be NULL: */
	void (*defaults)(struct spec *spec);		 /* what is not 0 in the rest of it */
	const char *(*problem)(const struct spec *spec); /* of any kind */
};

/* The row of a key whose name is so many bytes long; NULL: the kind has none. */
const struct spec_key *spec_key_find(const struct spec_kind *kind, const char *name, size_t bytes);

/*
 * Fills in spec_bytes at ret_spec: 0, or -EINVAL and in `why` one phrase that names the culprit and says what was
 * expected.
 */
int spec_parse(const struct spec_kinds *kinds, const char *text, struct spec *ret_spec, char why[SPEC_WHY_BYTES]);
/* Likewise; *ret_at: how many bytes of the text lie before what is wrong, 0 where that is the whole. */
int spec_parse_at(const struct spec_kinds *kinds, const char *text, struct spec *ret_spec, char why[SPEC_WHY_BYTES], size_t *ret_at);

/* Does spec_parse() have to look up a user or a group, which may take its time? */
bool spec_has_names(const char *text);

/* All types with their keys, for the daemon's help. */
void spec_help(const struct spec_kinds *kinds, FILE *out);

/* ---- for rows ---- */

#define SPEC_NAME_EXPECTED "1 to 63 letters, digits, '.', '_' or '-', and no '-' first"
#define SPEC_KEY_NAME {"name", spec_set_name, SPEC_NAME_EXPECTED, ""}

bool spec_set_name(struct spec *spec, const char *value);

/* As SPEC_NAME_EXPECTED. */
bool spec_name_valid(const char *name);

/* Makes the name one that is not taken: vm1 -> vm1-2. -EEXIST: it is, and the user asked for that very one (`fixed`). */
int spec_name_choose(struct spec *spec, bool fixed, bool (*taken)(const void *opaque, const char *name), const void *opaque);

#endif
