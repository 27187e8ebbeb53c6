/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_H
#define SWITCHD_PORT_H

/*
 * Ports of the daemon: what the user named, joined to a port of the switch. A kind (vhost-user, tap, ...) is a
 * row that owns all that is said about it, and a struct that begins with struct port. How one is added:
 * docs/adding-a-port.md.
 *
 * Life: ports_add() -> kind->open -> ... -> ports_remove() -> kind->close -> port_closed() -> the switch lets
 * go of it -> kind->free. Everything in the control thread; only sw_port_ops run in workers.
 */

#include "daemon/errand.h"
#include "daemon/logger.h"
#include "daemon/lookup.h"
#include "port_spec.h"
#include "switch/switch.h"
#include "vireo/base.h"
#include <jansson.h>
#include <sys/types.h>

struct loop;
struct loop_timer;
struct port;
struct ports;
struct reload;
struct switch_handover;
struct vireo_endpoint_state;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_memory_use;
struct vireo_notifier;

enum port_told {
	PORT_TOLD_NOBODY, /* there is nobody to tell */
	PORT_TOLD,
	PORT_TOLD_NOT, /* there are no words for it */
};

struct port_kind {
	struct spec_kind spec; /* first: how it is written, with its keys */
	const struct sw_port_ops *ops;
	/*
	 * A new port, open and joined to the switch by port_join(), or a negative errno and why (what to do
	 * about it).
	 */
	int (*open)(struct ports *ports, const struct port_spec *spec, struct port **ret_port,
		    char why[SPEC_WHY_BYTES]);
	/*
	 * Instead of open, of a port whose address is a file, which may keep whoever asks for it waiting for ever: file_open opens it and looks at it, in
	 * any thread, and changes nothing in one that is there: the port may be refused yet. open_on makes the port, which has `fd` then, whatever is
	 * returned.
	 */
	int (*file_open)(const struct port_spec *spec, int *ret_fd, char why[SPEC_WHY_BYTES]);
	int (*open_on)(struct ports *ports, const struct port_spec *spec, int fd, struct port **ret_port, char why[SPEC_WHY_BYTES]);
	/* Lets go of the peer, then calls port_closed(). */
	void (*close)(struct port *port);
	/* No worker uses it any more. */
	void (*free)(struct port *port);
	const char *(*state)(const struct port *port);
	pid_t (*peer)(const struct port *port); /* the process at the other end, or 0; NULL: never known */
	/* NULL: it has no peer with memory of its own. */
	void (*memory_use)(const struct port *port, struct vireo_memory_use *ret_use);
	/* Adds to `port show` what only ports of this kind have; NULL: nothing. */
	void (*report)(const struct port *port, json_t *object);
	/* Tells who is at the other end that its link is up or down. The switch keeps frames away by itself. NULL: nobody is there. */
	enum port_told (*link_set)(struct port *port, bool up);
	/* The SPEC's speed= has changed: tells who is at the other end. NULL: the kind has no such key. */
	void (*speed_set)(struct port *port);
	void (*memory_max_set)(struct port *port); /* the same of memory-max= */
	void (*hello_set)(struct port *port);	   /* and of hello-ms= */
	/* The SPEC's mtu= has changed, to a number. A negative errno and why; NULL: who is at the other end is not told. */
	int (*mtu_set)(struct port *port, uint16_t mtu, char why[SPEC_WHY_BYTES]);
	/* What is left for want of buffers will be offered again from now on, or not. NULL: the kind has no such keys. */
	void (*retry_set)(struct port *port, bool on);
	/*
	 * Another process is to go on with the port, see handover.h: as in vireo/endpoint.h. NULL, all of them: it cannot, unless
	 * nothing_to_hand_over.
	 */
	const char *(*hold_refused)(const struct port *port); /* why this one cannot be, which is known beforehand; or NULL */
	void (*silence)(struct port *port, void (*silenced)(void *port)); /* first: nothing that its peer sends is taken any more */
	int (*hold)(struct port *port, void (*held)(void *opaque, int err), void *opaque);
	int (*export)(struct port *port, struct vireo_endpoint_state *ret_state);
	void (*go_on)(struct port *port); /* the end of both */
	bool nothing_to_hand_over; /* its SPEC is all that there is */
	bool opens_anew; /* it cannot, but who takes over may open it, as soon as this process has ended */
	bool guests;	      /* a guest, or its front end, sends what comes */
	bool takes_rtnl;      /* open and free do: see daemon/aside.h */
	bool given_back_late; /* open may say -EBUSY for a moment after the kernel has been given the same back: it is tried again */
	bool address_is_name; /* its address is nothing but its name: there is nothing that two of them could fight for */
};

/* The kind of a spec that port_kinds has parsed. */
static inline const struct port_kind *port_kind_of(const struct spec *spec)
{
	return (const struct port_kind *)(const void *)spec->kind;
}

extern const struct port_kind port_vhost_user, port_vduse, port_cuse, port_tap, port_macvtap, port_af_packet, port_af_xdp, port_dpdk, port_virtio_pci, port_virtio_user, port_bond, port_pcap_in, port_pcap_out, port_loop, port_null;

struct ports {
	struct sw *sw;
	struct loop *loop;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier; /* or NULL */
	struct vireo_memory *memory;
	struct vireo_log control_log; /* what clients of the control socket can have said again and again */
	struct loop_timer *reaper;
	struct ports_waiting *waiting; /* to be added, in order */
	struct loop_timer *waiter;
	struct lookups lookups;
	struct errands files; /* of ports to be added: port_file.h */
	struct reload *reload; /* NULL: not yet */
	struct switch_handover *handover;
	struct switch_reopen *reopen; /* or NULL: reopen.h */
	unsigned number; /* so the switch is to number it, and 1 more, as another process had it; or 0 */
	const struct vireo_endpoint_state *state; /* what the port that is being added was in another process; or NULL */
	enum sw_vm2vm vm2vm;   /* of guests that say nothing */
	struct port *first; /* in order of their making, those that are being removed included */
};

struct port {
	struct port *next;
	struct ports *ports;
	const struct port_kind *kind;
	struct port_spec spec;
	struct logger logger, peer_logger;
	struct rate log_rate;
	struct vireo_log log;	   /* what is said about the port once: how it is lost */
	struct vireo_log peer_log; /* what its peer can have said again and again: at the port's rate, with the library's lines */
	struct sw_port *sw;
	unsigned in_queues, out_queues;
	unsigned offloads; /* VIREO_OFFLOAD_* that the port takes */
	uint16_t mtu, mtu_of_peer; /* longer frames to it are dropped; what its peer has said or is, 0: nothing */
	bool added, closing, dead;
	bool renamed; /* the name that its SPEC would have was taken */
	void (*removed)(void *opaque);
	void *removed_opaque;
	char *text; /* the SPEC as it was given; NULL: there was no memory for it */
	bool in_settings; /* it was given there, not by a client of the control socket */
};

bool ports_must_wait(const struct port_spec *spec); /* to be added: somebody aside holds a lock of the kernel's that its kind takes */

int ports_init(struct ports *ports);
void ports_fini(struct ports *ports); /* none is left */

/* -EEXIST: the name is taken; otherwise what the kind says. `why` is a line for the user; `log` is told of the port. Waits for its file, if it has one. */
int ports_add(struct ports *ports, const struct port_spec *spec, const struct vireo_log *log, struct port **ret_port,
	      char why[SPEC_WHY_BYTES]);
/* After ports_add() has said err: in how many milliseconds to try again, what was tried `looks` times before; 0: no more. */
unsigned port_busy_ms(const struct port_spec *spec, int err, unsigned looks);
/*
 * The same for a client of the control socket, but what would take RTNL waits until no call is under way aside, and files are opened aside. `added` is
 * called once, here or from the loop; after an error there is no port, and `why`.
 */
typedef void ports_added_fn(void *opaque, int err, const struct port *port, const char *why);
void ports_add_soon(struct ports *ports, const struct port_spec *spec, ports_added_fn *added, void *opaque);
/* Pulls a port's cable, or puts it back, until that is said again: who comes to the port meanwhile finds it so. */
enum port_told port_link_set(struct port *port, bool up);
/* A mac= of the SPEC is another port's than this one's (or NULL), or is held by an operator: and why. */
bool ports_mac_taken(const struct ports *ports, const struct port_spec *spec, const struct port *but, char why[SPEC_WHY_BYTES]);
void port_mtu_settle(struct port *port); /* the SPEC's has changed */
void ports_add_no_more(struct ports *ports); /* what still waits is told -ECANCELED */
/* `removed` (NULL: no client has asked for it) is called from the loop, when the port and its address are free again. */
void ports_remove(struct port *port, void (*removed)(void *opaque), void *opaque);
/* What its SPEC (copied) was, and where it comes from. */
void port_text_set(struct port *port, const char *text, bool in_settings);
/* Not one that is being removed. */
struct port *ports_find(const struct ports *ports, const char *name);

/* ---- for kinds ---- */

/* Fills in the common part of a new port. */
void port_init(struct port *port, struct ports *ports, const struct port_kind *kind, const struct port_spec *spec);
/* Makes the switch's port. */
int port_join(struct port *port);
void port_offloads_set(struct port *port, unsigned offloads);
void port_mtu_of_peer(struct port *port, uint16_t mtu); /* 0: it has said nothing */
void port_closed(struct port *port);
/*
 * The end of open, with what came of it: 0 hands the port to who asked for it. After a failure it is given back: by `free` at once, or, if
 * port_join() had gone well, as soon as the switch lets go of it; `close` is not called. Returns err.
 */
int port_opened(struct port *port, int err, struct port **ret_port);

#endif
