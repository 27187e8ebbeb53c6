/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_DISKS_H
#define BLKD_DISKS_H

/* The daemon's disks, by name: what disk/ has opened, and who uses it. Control thread. */

#include "daemon/logger.h"
#include "daemon/spec.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct disk;
struct export_spec;

/* NAME=SPEC; what may stand in SPEC is disk/'s matter. */
struct blkd_spec {
	char name[SPEC_NAME_BYTES];
	char text[SPEC_ADDRESS_BYTES];
};

struct blkd_disk {
	struct blkd_disk *next;
	struct blkd_spec spec;
	struct disk *disk;
	struct logger logger;
	unsigned users;	  /* exports */
	unsigned writers; /* of those, that may write */
	bool shared;	  /* by all that write: writers=many */
};

struct disks {
	struct blkd_disk *first; /* in order of their making */
	enum vireo_log_level log_level;
};

/* 0, or -EINVAL and why. Nothing is opened. */
int blkd_spec_parse(const char *text, struct blkd_spec *ret_spec, char why[SPEC_WHY_BYTES]);
bool blkd_spec_relative(const struct blkd_spec *spec); /* it names a file by a path that depends on the working directory */

void disks_init(struct disks *disks, enum vireo_log_level log_level);
void disks_fini(struct disks *disks); /* nobody uses any */

/* 0, or a negative errno and why; -EEXIST: the name is taken. */
int disks_add(struct disks *disks, const struct blkd_spec *spec, const struct vireo_log *log, struct blkd_disk **ret_disk,
	      char why[SPEC_WHY_BYTES]);
/* -EBUSY: an export uses it. */
int disks_remove(struct disks *disks, struct blkd_disk *disk, const struct vireo_log *log, char why[SPEC_WHY_BYTES]);
struct blkd_disk *disks_find(const struct disks *disks, const char *name);

/* May an export like that be added? One writer, or several that all say so. */
int disk_may_use(const struct blkd_disk *disk, const struct export_spec *spec, char why[SPEC_WHY_BYTES]);
void disk_use(struct blkd_disk *disk, const struct export_spec *spec);
void disk_unuse(struct blkd_disk *disk, const struct export_spec *spec);

uint64_t blkd_disk_bytes(const struct blkd_disk *disk);
bool blkd_disk_read_only(const struct blkd_disk *disk);
/* Makes it so large; 0: looks how large it is. 0, or a negative errno and why. */
int blkd_disk_resize(struct blkd_disk *disk, uint64_t bytes, char why[SPEC_WHY_BYTES]);
void blkd_disk_report(const struct blkd_disk *disk, json_t *object);

#endif
