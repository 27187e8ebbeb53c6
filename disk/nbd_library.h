/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_NBD_LIBRARY_H
#define DISK_NBD_LIBRARY_H

/* libnbd, for who calls it: each function has its own name here, and is one of a library that is loaded late. Included in its header's place. */

#include <libnbd.h>

#define NBD_LIBRARY(X) \
	X(nbd_aio_connect_uri) \
	X(nbd_aio_disconnect) \
	X(nbd_aio_flush) \
	X(nbd_aio_get_direction) \
	X(nbd_aio_get_fd) \
	X(nbd_aio_is_closed) \
	X(nbd_aio_is_dead) \
	X(nbd_aio_is_ready) \
	X(nbd_aio_notify_read) \
	X(nbd_aio_notify_write) \
	X(nbd_aio_pread) \
	X(nbd_aio_pwrite) \
	X(nbd_aio_trim) \
	X(nbd_aio_zero) \
	X(nbd_can_flush) \
	X(nbd_can_fua) \
	X(nbd_can_multi_conn) \
	X(nbd_can_trim) \
	X(nbd_can_zero) \
	X(nbd_close) \
	X(nbd_create) \
	X(nbd_get_block_size) \
	X(nbd_get_errno) \
	X(nbd_get_error) \
	X(nbd_get_size) \
	X(nbd_is_read_only) \
	X(nbd_is_rotational) \
	X(nbd_set_strict_mode) \
	X(nbd_set_tls) \
	X(nbd_set_tls_certificates) \
	X(nbd_set_tls_psk_file) \
	X(nbd_set_tls_username) \
	X(nbd_set_tls_verify_peer) \
	X(nbd_set_uri_allow_local_file) \
	X(nbd_supports_tls)

struct nbd_library {
#define NBD_LIBRARY_MEMBER(name) __typeof__(&(name)) name;
	NBD_LIBRARY(NBD_LIBRARY_MEMBER)
#undef NBD_LIBRARY_MEMBER
};

extern struct nbd_library nbd_library; /* constant once nbd_library_load() has been there (nbd.h) */

#ifndef NBD_LIBRARY_NAMES
#define nbd_aio_connect_uri nbd_library.nbd_aio_connect_uri
#define nbd_aio_disconnect nbd_library.nbd_aio_disconnect
#define nbd_aio_flush nbd_library.nbd_aio_flush
#define nbd_aio_get_direction nbd_library.nbd_aio_get_direction
#define nbd_aio_get_fd nbd_library.nbd_aio_get_fd
#define nbd_aio_is_closed nbd_library.nbd_aio_is_closed
#define nbd_aio_is_dead nbd_library.nbd_aio_is_dead
#define nbd_aio_is_ready nbd_library.nbd_aio_is_ready
#define nbd_aio_notify_read nbd_library.nbd_aio_notify_read
#define nbd_aio_notify_write nbd_library.nbd_aio_notify_write
#define nbd_aio_pread nbd_library.nbd_aio_pread
#define nbd_aio_pwrite nbd_library.nbd_aio_pwrite
#define nbd_aio_trim nbd_library.nbd_aio_trim
#define nbd_aio_zero nbd_library.nbd_aio_zero
#define nbd_can_flush nbd_library.nbd_can_flush
#define nbd_can_fua nbd_library.nbd_can_fua
#define nbd_can_multi_conn nbd_library.nbd_can_multi_conn
#define nbd_can_trim nbd_library.nbd_can_trim
#define nbd_can_zero nbd_library.nbd_can_zero
#define nbd_close nbd_library.nbd_close
#define nbd_create nbd_library.nbd_create
#define nbd_get_block_size nbd_library.nbd_get_block_size
#define nbd_get_errno nbd_library.nbd_get_errno
#define nbd_get_error nbd_library.nbd_get_error
#define nbd_get_size nbd_library.nbd_get_size
#define nbd_is_read_only nbd_library.nbd_is_read_only
#define nbd_is_rotational nbd_library.nbd_is_rotational
#define nbd_set_strict_mode nbd_library.nbd_set_strict_mode
#define nbd_set_tls nbd_library.nbd_set_tls
#define nbd_set_tls_certificates nbd_library.nbd_set_tls_certificates
#define nbd_set_tls_psk_file nbd_library.nbd_set_tls_psk_file
#define nbd_set_tls_username nbd_library.nbd_set_tls_username
#define nbd_set_tls_verify_peer nbd_library.nbd_set_tls_verify_peer
#define nbd_set_uri_allow_local_file nbd_library.nbd_set_uri_allow_local_file
#define nbd_supports_tls nbd_library.nbd_supports_tls
#endif

#endif
