/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VDPA_H
#define WIRE_VDPA_H

/*
 * The vdpa bus's part of generic netlink (Linux, include/uapi/linux/vdpa.h), as far as it is spoken here. Defined here, since
 * kernel headers before 5.11 have none of it. Where the system has them, wire/vduse_test.c holds both against each other.
 */

#define VDPA_WIRE_FAMILY "vdpa"
#define VDPA_WIRE_VERSION 1u

/* Commands. */
#define VDPA_WIRE_DEV_NEW 3u
#define VDPA_WIRE_DEV_DEL 4u

/* Attributes: strings. */
#define VDPA_WIRE_ATTR_MGMT_NAME 2u
#define VDPA_WIRE_ATTR_DEV_NAME 4u

#endif
