/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_FEATURE_NAMES_H
#define WIRE_FEATURE_NAMES_H

/*
 * What the specifications call each feature bit, without the prefix (VIRTIO_NET_F_, VIRTIO_F_, VHOST_USER_PROTOCOL_F_): for
 * logs and reports. Bits that are no device type's but a transport's own (LOG_ALL, PROTOCOL_FEATURES) have names, too.
 */

#include <stdint.h>

#define FEATURES_TEXT_BYTES 1024u /* room for all names that one device type has */

/* NULL: no name is known. `device_type`: virtio's number, 1 for a network device. `bit`: 0 to 63. */
const char *feature_name(uint32_t device_type, unsigned bit);
const char *protocol_feature_name(unsigned bit); /* vhost-user's */

/* "CSUM MRG_RXBUF bit 43": names in the order of bits, "none" for 0. Returns `text`. */
const char *features_text(char text[FEATURES_TEXT_BYTES], uint32_t device_type, uint64_t features);
const char *protocol_features_text(char text[FEATURES_TEXT_BYTES], uint64_t features);

#endif
