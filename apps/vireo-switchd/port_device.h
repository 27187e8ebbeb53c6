/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_DEVICE_H
#define SWITCHD_PORT_DEVICE_H

/*
 * Network devices at an endpoint as a port: what a kind with an endpoint is made of. Its pairs of queues are those of one
 * device, or of a device each; transmit queue 2i + 1 is the switch's in queue i, receive queue 2i the switch's out queue i.
 */

#include "daemon/retry.h"
#include "port.h"
#include "work/grace.h"
#include <time.h>

struct device_pair;
struct device_port;
struct loop_watch;
struct vireo_endpoint;
struct vireo_endpoint_config;
struct vireo_net;
struct vireo_net_ops;

struct device_queue {
	struct device_pair *pair;
	bool out; /* receive */
	/* The facts: see port_device_queue.c. */
	bool running, returning, leaving, paused, stopping;
	struct grace_item renewed; /* the device waits for vireo_net_queue_renewed() */
};

struct device_pair {
	struct device_port *device;
	struct vireo_net *net;
	unsigned index; /* the port's */
	unsigned at;	/* the net's */
	bool used;	/* the guest has put a buffer into the receive queue since that started: see port_cuse.c */
	bool taken;	/* an opener has it: see port_cuse.c */
	struct device_queue queues[2]; /* as the device has them: receive, transmit */
};

struct device_port {
	struct port port;
	const struct device_sort *sort;
	struct vireo_endpoint *endpoint;
	struct loop_watch *watch;
	unsigned pairs_used;
	time_t connected_since_s; /* CLOCK_MONOTONIC; 0: nobody is there */
	struct logger logger; /* what the library says: mostly about the peer, as often as the peer likes */
	struct rate announce_rate;
	bool signals_held;   /* since its driver has said so: see signals_set() */
	struct retry retry; /* of queues that the switch could not take */
	bool lost;	    /* the endpoint has failed for good */
	bool closing;
	bool silent; /* nothing that it sends is taken: see port_silence() */
	void (*silenced)(void *opaque);
	struct device_pair *pairs; /* so many as the spec has queues */
};

/* What a kind decides by itself. */
struct device_sort {
	size_t bytes;		/* of what begins with struct device_port */
	bool device_each;	/* each pair is a device by itself */
	uint64_t features_off;	/* not offered */
	/* The devices' ops, with the device's first pair as their opaque. */
	const struct vireo_net_ops *ops;
	/* Does the switch send frames to a pair whose receive queue is there? May be asked while that queue is nobody's only. */
	bool (*receives)(struct device_pair *pair);
	/* The same of one whose receive queue has stopped, and may start again. */
	bool (*awaits)(struct device_pair *pair);
	/* Before anything is opened; NULL: nothing to do. 0, or a negative errno. */
	int (*init)(struct device_port *device);
	void (*fini)(struct device_port *device); /* also after init has failed; NULL: nothing to do */
	/* Adds to what the spec says of the endpoint, which is opened without a device then; NULL: nothing. */
	void (*config)(struct device_port *device, struct vireo_endpoint_config *config);
};

int device_port_open_as(const struct device_sort *sort, struct ports *ports, const struct port_spec *spec,
			struct port **ret_port, char why[SPEC_WHY_BYTES]);

/* The kind's row; its spec has an endpoint. device_port_open: one device with all pairs. */
int device_port_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char why[SPEC_WHY_BYTES]);
extern const struct sw_port_ops device_port_ops;
void device_port_close(struct port *port);
void device_port_silence(struct port *port, void (*silenced)(void *port));
int device_port_hold(struct port *port, void (*held)(void *opaque, int err), void *opaque);
int device_port_export(struct port *port, struct vireo_endpoint_state *ret_state);
void device_port_go_on(struct port *port);
void device_port_free(struct port *port);
const char *device_port_state(const struct port *port);
const char *device_port_end_state(const struct port *port); /* NULL: it neither closes nor has failed */
pid_t device_port_peer(const struct port *port);
void device_port_memory_max_set(struct port *port); /* as the SPEC has it */
void device_port_hello_set(struct port *port); /* the same; of a client, which has none, nothing */
void device_port_memory_use(const struct port *port, struct vireo_memory_use *ret_use);
void device_port_connected_set(struct device_port *device, bool is); /* somebody has come, or is gone: since now */

/* Offloads that all pairs take which are `taken`, since frames may go to any. */
void port_offloads_settle(struct device_port *device);

/* ---- port_link.c ---- */

enum port_told device_port_link_set(struct port *port, bool up);
void device_port_speed_set(struct port *port); /* as the SPEC has it */
void device_port_retry_set(struct port *port, bool on);

/* ---- port_device_queue.c: queues come and go; net ops ---- */

void port_queue_settle(struct device_queue *queue);
/*
 * What the peer sends stays in its rings; silenced(port) is called, here or later, when what has been taken is where it belongs. NULL: not
 * any more.
 */
void port_silence(struct device_port *device, void (*silenced)(void *opaque));
void port_queues_settle(struct device_port *device);
void port_queue_started(void *opaque, unsigned queue);
void port_queue_stop(void *opaque, unsigned queue);
void port_queue_ended(void *opaque, unsigned queue);
int port_queue_renew(void *opaque, unsigned queue);
void port_queue_enabled(void *opaque, unsigned queue, bool enabled);

#endif
