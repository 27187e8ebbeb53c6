/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_SPEC_H
#define SWITCHD_SPEC_H

/* A port as the user writes it: TYPE:ADDRESS[,key=value...]. Pure parsing: nothing is opened. */

#include "daemon/parse.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPEC_NAME_BYTES 64u
#define SPEC_ADDRESS_BYTES 4096u
#define SPEC_WHY_BYTES PARSE_WHY_BYTES
#define SPEC_MACS_MAX 8u

enum spec_type {
	SPEC_VHOST_USER,
	SPEC_VDUSE,
	SPEC_CUSE,
	SPEC_TAP,
	SPEC_VIRTIO_PCI,
	SPEC_NULL,
};

struct spec {
	enum spec_type type;
	char address[SPEC_ADDRESS_BYTES]; /* path, device, node, interface, PCI address, or the name of a null port */
	char name[SPEC_NAME_BYTES];
	bool name_given; /* or derived from the address, and may be changed to be unique */
	bool client;	 /* vhost-user: connect instead of listening */
	unsigned queues; /* pairs */
	uint16_t mtu;	 /* 0: not given */
	bool set_mac, set_user, set_group;
	uint8_t macs[SPEC_MACS_MAX][6]; /* the first is the one that the driver is told */
	unsigned mac_count;
	bool spoof_given, spoof_allowed; /* denied: frames from the port have one of `macs` as their source */
	uid_t user;
	gid_t group;
	mode_t perm; /* 0: not given */
	unsigned attach; /* vduse: enum vireo_attach */
	unsigned queue_size; /* vduse; 0: not given */
	uint64_t ring_features_off; /* not offered; a mask of feature bits */
	bool any_files; /* guest memory may lie in a file on a disk */
	uint64_t memory_max_bytes; /* 0: not given */
};

const char *spec_type_name(enum spec_type type);

/* 0, or -EINVAL and in `why` one phrase that names the culprit and says what was expected. */
int spec_parse(const char *text, struct spec *ret_spec, char why[SPEC_WHY_BYTES]);

/* Does spec_parse() have to look up a user or a group, which may take its time? */
bool spec_has_names(const char *text);

#endif
