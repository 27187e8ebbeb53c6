/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_ENDPOINT_H
#define DAEMON_ENDPOINT_H

/*
 * Endpoints (vireo/endpoint.h) as types of a SPEC. A row of a daemon's table is made of a list of keys, its own and those
 * of the endpoint:
 *
 *	static const struct spec_key keys[] = {SPEC_KEY_NAME, ENDPOINT_VHOST_USER_KEYS};
 *	static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(keys);
 */

#include "base/util.h"
#include "daemon/spec.h"

struct vireo_device;
struct vireo_endpoint;
struct vireo_endpoint_config;

/* What one sort of endpoint has of its own. */
struct endpoint_kind {
	const char *what; /* the thing that the endpoint holds, for the log */
	int (*permit)(const struct spec *spec); /* may be NULL; an error is what opening it has come to, for explain() */
	void (*config)(const struct spec *spec, struct vireo_endpoint_config *ret_config);
	bool (*held_up)(const struct spec *spec); /* a stranger holds something that opening it would wait for; NULL: never */
	/* What vireo_endpoint_open() has said, and what to do about it. */
	void (*explain)(int err, const struct spec *spec, char why[SPEC_WHY_BYTES]);
	const char *(*waiting)(const struct spec *spec); /* the state without a peer */
	unsigned end_ms;  /* who ends waits for so long for it to be gone; 0: no longer than for anything else */
};

extern const struct endpoint_kind endpoint_vhost_user, endpoint_vduse, endpoint_cuse;

/* Fills in what the SPEC says, and what a daemon has for all endpoints: helper threads. */
void endpoint_config(const struct spec *spec, struct vireo_endpoint_config *ret_config);

/*
 * Opens what `spec` names, with endpoint_config() or, if it is not NULL, with `config`. `why` is a line for the user if that
 * fails.
 */
int endpoint_open(const struct spec *spec, struct vireo_device *device, const struct vireo_endpoint_config *config,
		  struct vireo_endpoint **ret_endpoint, char why[SPEC_WHY_BYTES]);

/* Any thread: would endpoint_open() wait for a stranger now, who holds a lock? Does not wait itself: lookups_held_up() does. */
bool endpoint_held_up(const struct spec *spec);

/* vhost-user:fd:N, a socket that the daemon was handed when it was started: N, or -1. */
int endpoint_handed_fd(const struct spec *spec);

/* ---- rows ---- */

/* clang-format off */
#define ENDPOINT_KEYS \
	{"packed", endpoint_set_packed, "on or off", "on|off"}, \
	{"event-idx", endpoint_set_event_idx, "on or off", "on|off"}, \
	{"indirect", endpoint_set_indirect, "on or off", "on|off"}, \
	{"in-order", endpoint_set_in_order, "on or off", "on|off"}, \
	{"files", endpoint_set_files, "memory or any", "memory|any"}, \
	{"memory-max", endpoint_set_memory_max, "a size such as 512M, 64G or 2T", "SIZE", true}
#define ENDPOINT_ACCESS_KEYS \
	{"user", endpoint_set_user, "a user's name or number", ""}, \
	{"group", endpoint_set_group, "a group's name or number", ""}, \
	{"perm", endpoint_set_perm, "an octal mode such as 0660", "0660"}

#define ENDPOINT_VHOST_USER_KEYS \
	{"mode", endpoint_set_mode, "server or client", "server|client"}, ENDPOINT_ACCESS_KEYS, \
	{"hello-ms", endpoint_set_hello_ms, "1 to 3600000", "MS", true}, \
	{"postcopy", endpoint_set_postcopy, "on or off", "on|off"}, \
	{"inband", endpoint_set_inband, "on or off", "on|off"}, ENDPOINT_KEYS
#define ENDPOINT_VHOST_USER(own_keys) { \
	.type = "vhost-user", .address = "PATH|fd:N", .address_is_path = true, .address_problem = endpoint_path_problem, \
	.problem = endpoint_vhost_user_problem, .keys = (own_keys), .key_count = ARRAY_SIZE(own_keys), \
	.endpoint = &endpoint_vhost_user}

#define ENDPOINT_VDUSE_KEYS \
	{"attach", endpoint_set_attach, "virtio, vhost or none", "virtio|vhost|none"}, \
	{"queue-size", endpoint_set_queue_size, "a power of two from 2 to 32768", "N"}, ENDPOINT_KEYS
#define ENDPOINT_VDUSE(own_keys) { \
	.type = "vduse", .address = "NAME", .address_problem = endpoint_vduse_name_problem, \
	.keys = (own_keys), .key_count = ARRAY_SIZE(own_keys), .endpoint = &endpoint_vduse}

#define ENDPOINT_CUSE_KEYS ENDPOINT_ACCESS_KEYS, ENDPOINT_KEYS
#define ENDPOINT_CUSE(own_keys) ENDPOINT_CUSE_AND(own_keys, NULL)
/* With what is wrong among keys of the daemon's own. */
#define ENDPOINT_CUSE_AND(own_keys, own_problem) { \
	.type = "cuse", .address = "NAME", .address_problem = endpoint_cuse_name_problem, .problem = (own_problem), \
	.keys = (own_keys), .key_count = ARRAY_SIZE(own_keys), .endpoint = &endpoint_cuse}
/* clang-format on */

const char *endpoint_path_problem(const char *address);
const char *endpoint_vduse_name_problem(const char *address);
const char *endpoint_cuse_name_problem(const char *address);
const char *endpoint_vhost_user_problem(const struct spec *spec);

bool endpoint_set_packed(struct spec *spec, const char *value);
bool endpoint_set_event_idx(struct spec *spec, const char *value);
bool endpoint_set_indirect(struct spec *spec, const char *value);
bool endpoint_set_in_order(struct spec *spec, const char *value);
bool endpoint_set_files(struct spec *spec, const char *value);
bool endpoint_set_memory_max(struct spec *spec, const char *value);
bool endpoint_set_user(struct spec *spec, const char *value);
bool endpoint_set_group(struct spec *spec, const char *value);
bool endpoint_set_perm(struct spec *spec, const char *value);
bool endpoint_set_mode(struct spec *spec, const char *value);
bool endpoint_set_hello_ms(struct spec *spec, const char *value);
bool endpoint_set_postcopy(struct spec *spec, const char *value);
bool endpoint_set_inband(struct spec *spec, const char *value);
bool endpoint_set_attach(struct spec *spec, const char *value);
bool endpoint_set_queue_size(struct spec *spec, const char *value);

/* ---- for the files of the kinds ---- */

struct vireo_endpoint_access endpoint_access(const struct spec *spec);

/* What to do about an errno of vireo_endpoint_open(). */
struct endpoint_advice {
	int err; /* positive */
	const char *advice;
};

#define ENDPOINT_NO_FDS "this process is out of file descriptors: raise its limit (ulimit -n, LimitNOFILE=)"

/* The row's advice, or what the C library calls the error. */
const char *endpoint_advice(const struct endpoint_advice *rows, size_t count, int err);

/* `advice` with `name` for each %s. */
void endpoint_advice_fill(char *text, size_t room, const char *advice, const char *name);

#endif
