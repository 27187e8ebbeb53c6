/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_ENDPOINT_H
#define TRANSPORT_ENDPOINT_H

#include "base/drop.h"
#include "vireo/endpoint.h"

/*
 * What a transport is to the rest of the library: the functions behind vireo_endpoint_*(), chosen by the
 * address.
 */
struct endpoint_ops {
	const char *prefix; /* of the address, with its colon */
	bool many; /* takes config->cuse.device_new in place of a device */
	/* `where` is the address after the prefix; `config` is complete. */
	int (*open)(struct vireo_device *device, const char *where,
		    const struct vireo_endpoint_config *config, struct vireo_endpoint **ret_endpoint);
	int (*fd)(const struct vireo_endpoint *endpoint);
	int (*dispatch)(struct vireo_endpoint *endpoint);
	bool (*connected)(const struct vireo_endpoint *endpoint);
	/* May be NULL; of *ret_peer, zeroes but for its size, fills in what it knows. False: nobody is there. */
	bool (*peer)(const struct vireo_endpoint *endpoint, struct vireo_endpoint_peer *ret_peer);
	int (*hello_set)(struct vireo_endpoint *endpoint, unsigned hello_ms); /* may be NULL */
	/* All may be NULL: see vireo_endpoint_hold(). `export` leaves ret_state->size alone. */
	int (*hold)(struct vireo_endpoint *endpoint, void (*held)(void *opaque, int err), void *opaque);
	int (*export)(struct vireo_endpoint *endpoint, struct vireo_endpoint_state *ret_state);
	int (*go_on)(struct vireo_endpoint *endpoint);
	void (*close)(struct vireo_endpoint *endpoint, void (*done)(void *opaque), void *opaque);
};

/* First member of each transport's own endpoint. */
struct vireo_endpoint {
	const struct endpoint_ops *ops;
};

/* Where the endpoint lets go of what its peers own, as the config has it. *ret_drop is NULL: here and now. -ENOMEM. */
int endpoint_drop_new(const struct vireo_endpoint_config *config, bool run_aside_too, struct drop **ret_drop);

extern const struct endpoint_ops vhost_user_endpoint_ops; /* vhost_user/endpoint.c */
extern const struct endpoint_ops vduse_endpoint_ops; /* vduse/endpoint.c, where libmnl is there */
extern const struct endpoint_ops cuse_endpoint_ops; /* cuse/endpoint.c, where libfuse3 is there */

#endif
