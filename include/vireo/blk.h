/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_BLK_H
#define VIREO_BLK_H

/*
 * A block device (virtio 1.3, 5.2). The library parses and checks the driver's requests and hands them to the application, and the
 * application carries them out in any order.
 *
 * The way of a request:
 * - vireo_blk_poll() pops chains from a queue. It answers at once what is no valid request, and what the device itself knows
 *   (GET_ID, GET_LIFETIME). It passes the rest to ops->submit, many requests in one call.
 * - The application carries each out and calls vireo_blk_complete(), inside submit or later, in any order.
 * - vireo_blk_flush() shows the driver what has been completed, and signals it. vireo_blk_poll() does so at its end, too.
 * All of these: the worker that owns the queue.
 *
 * A request is valid for as long as the application has it: from submit to vireo_blk_complete(). Its data lie in guest memory, and the
 * guest may change them at any moment; everything else about it is a private copy that has been checked.
 */

#include "base.h"
#include <stdbool.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_blk;
struct vireo_device;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_notifier;

/* Feature bits of the block device (virtio 1.3, 5.2.3). */
#define VIREO_BLK_F_SIZE_MAX_BIT     1
#define VIREO_BLK_F_SEG_MAX_BIT      2
#define VIREO_BLK_F_GEOMETRY_BIT     4
#define VIREO_BLK_F_RO_BIT           5
#define VIREO_BLK_F_BLK_SIZE_BIT     6
#define VIREO_BLK_F_FLUSH_BIT        9
#define VIREO_BLK_F_TOPOLOGY_BIT     10
#define VIREO_BLK_F_CONFIG_WCE_BIT   11
#define VIREO_BLK_F_MQ_BIT           12
#define VIREO_BLK_F_DISCARD_BIT      13
#define VIREO_BLK_F_WRITE_ZEROES_BIT 14
#define VIREO_BLK_F_LIFETIME_BIT     15
#define VIREO_BLK_F_SECURE_ERASE_BIT 16
#define VIREO_BLK_F_ZONED_BIT	     17

/* The types that are submitted, by the specification's numbers (5.2.6). An application completes an unknown one with -EOPNOTSUPP. */
enum vireo_blk_type {
	VIREO_BLK_IN = 0,	     /* read `bytes` from `offset_bytes` on into iov */
	VIREO_BLK_OUT = 1,	     /* write them from iov */
	VIREO_BLK_FLUSH = 4,	     /* what has been completed before this is submitted is stable when this is completed */
	VIREO_BLK_DISCARD = 11,	     /* what lies there may be forgotten; reads return anything */
	VIREO_BLK_WRITE_ZEROES = 13, /* reads return zeroes */
	VIREO_BLK_SECURE_ERASE = 14, /* what lies there, and copies of it, cannot be read from the medium by any means */
	/*
	 * Of a zoned disk, see struct vireo_blk_zoned. offset_bytes, but for REPORT and RESET_ALL, is to be where a zone begins: the
	 * application checks that.
	 */
	VIREO_BLK_ZONE_APPEND = 15, /* write where the zone's pointer is, and set offset_bytes to where that was, before it is completed */
	VIREO_BLK_ZONE_REPORT = 16, /* tell the zones, from the one that has offset_bytes on, by vireo_blk_zone_report() */
	VIREO_BLK_ZONE_OPEN = 18,
	VIREO_BLK_ZONE_CLOSE = 20,
	VIREO_BLK_ZONE_FINISH = 22,
	VIREO_BLK_ZONE_RESET = 24,
	VIREO_BLK_ZONE_RESET_ALL = 26, /* offset_bytes is 0 */
};

/*
 * FUA: the request is stable when it is completed, by whatever means; a flush after it does. It is set on OUT, WRITE_ZEROES, DISCARD and
 * SECURE_ERASE when the driver cannot flush, or has switched the write cache off. A disk without a volatile cache may ignore it.
 * UNMAP: WRITE_ZEROES may deallocate what reads as zero then.
 */
#define VIREO_BLK_FUA	1u
#define VIREO_BLK_UNMAP 2u

struct vireo_blk_request {
	uint32_t type;	       /* enum vireo_blk_type */
	uint32_t flags;	       /* VIREO_BLK_FUA, VIREO_BLK_UNMAP */
	uint64_t offset_bytes; /* on the disk; a multiple of 512 and of the config's request_align_bytes ... */
	uint64_t bytes;	       /* ... as this is; the end is within the capacity. 0 for FLUSH and ZONE_ but APPEND, else at least 512 */
	const struct iovec *iov; /* IN: to be filled, OUT and ZONE_APPEND: to be written: `bytes` in all */
	uint32_t iov_count;    /* 0 for the other types */
	uint32_t queue;	       /* the queue's index */
	void *room;	       /* the application's own: request_room_bytes of the config, aligned to 16; zero when the queue starts */
	uint64_t reserved[2];
};

/* The control thread calls all but submit; any but submit may be NULL. `queue` is the queue's index. */
struct vireo_blk_ops {
	size_t size;
	/*
	 * Worker, inside vireo_blk_poll() or vireo_blk_flush(): carry these out. The application owns each until it calls
	 * vireo_blk_complete() for it, which it may do in here; it may call no other function of this device in here. The
	 * array itself is the library's. Requests that are submitted together, or overlap in time, have no order among them.
	 */
	void (*submit)(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count);
	void (*queue_started)(void *opaque, unsigned queue); /* its worker may poll from now on */
	/*
	 * Give the queue back: poll it no more, complete every request of it, flush, and answer with vireo_blk_queue_quiesced() in the
	 * control thread, when no worker uses it any more. How long it may take is said at vireo_device_ops.queue_stop: within a
	 * second. A request that hangs longer is completed with -ECANCELED (the driver sees an I/O error) as soon as nothing will
	 * touch its iov any more; an application whose back end cannot promise that lets it work on memory of its own.
	 * NULL: the application polls in the control thread and has completed everything whenever it returns to the library.
	 */
	void (*queue_stop)(void *opaque, unsigned queue);
	void (*queue_enabled)(void *opaque, unsigned queue, bool enabled); /* enabled: poll it; chains may wait there */
	void (*connected)(void *opaque, bool connected);
	void (*negotiated)(void *opaque, uint64_t features); /* the driver has accepted these */
	void (*reset)(void *opaque);			     /* the driver has reset the device */
	void (*writeback_set)(void *opaque, bool on);	     /* the driver switches the write cache: see VIREO_BLK_FUA */
	/*
	 * The peer unmaps memory, and the queue goes on. Return 0, and answer with vireo_blk_queue_renewed(blk, queue) when every
	 * request that was submitted before this call has been completed, or when vireo_blk_kept() says that the rest may stay.
	 * Return -EOPNOTSUPP, or leave the op NULL where queue_stop is not: the library stops the queue instead, and starts it again.
	 */
	int (*queue_renew)(void *opaque, unsigned queue);
	void (*memory_changed)(void *opaque);	/* the peer's memory table is another one: see vireo_device_ops */
	int (*postcopy)(void *opaque, bool on); /* the peer's memory comes late, or not any more: see vireo_device_ops */
};

/* What GET_LIFETIME answers (5.2.6, virtio_blk_lifetime). Values that the specification reserves are not valid. */
struct vireo_blk_lifetime {
	uint16_t pre_eol_info; /* 0 not known, 1 normal, 2 80 % of reserved blocks are used up, 3 90 % */
	uint16_t used_a;       /* SLC cells: 0 not known, 1..10: less than so many tenths of the lifetime, 11: all of it */
	uint16_t used_b;       /* MLC cells: likewise */
};

/*
 * A zoned disk, of the model host-managed (5.2.4): a row of zones, which are written sequentially. DISCARD, WRITE_ZEROES and
 * SECURE_ERASE are not offered, and a driver that does not accept ZONED cannot use the device. The application keeps the zones'
 * states and write pointers, and says by the result of a request what the specification says by a status: vireo_blk_complete().
 */
struct vireo_blk_zoned {
	uint64_t zone_bytes;	   /* of each zone but the last: a multiple of 512. Linux takes powers of two alone */
	uint32_t open_max;	   /* zones that may be open; 0: no limit */
	uint32_t active_max;	   /* zones that may be open or closed; 0: no limit */
	uint64_t append_bytes_max; /* of one ZONE_APPEND, no more than segments_max * segment_bytes_max; 0: none is taken, and Linux not served */
	uint32_t write_bytes;	   /* what writes to sequential zones are multiples of: itself one of 512 */
};

enum vireo_blk_zone_type {
	VIREO_BLK_ZT_CONV = 1, /* conventional: written anywhere */
	VIREO_BLK_ZT_SWR = 2,  /* sequential writes required */
};

enum vireo_blk_zone_state {
	VIREO_BLK_ZS_NOT_WP = 0, /* conventional ones */
	VIREO_BLK_ZS_EMPTY = 1,
	VIREO_BLK_ZS_IOPEN = 2, /* by a write */
	VIREO_BLK_ZS_EOPEN = 3, /* by ZONE_OPEN */
	VIREO_BLK_ZS_CLOSED = 4,
	VIREO_BLK_ZS_RDONLY = 13,
	VIREO_BLK_ZS_FULL = 14,
	VIREO_BLK_ZS_OFFLINE = 15,
};

struct vireo_blk_zone {
	uint64_t start_bytes;
	uint64_t capacity_bytes; /* so much can be written to it when it is empty */
	uint64_t pointer_bytes;	 /* on the disk: where the next write has to go */
	uint8_t type;		 /* enum vireo_blk_zone_type */
	uint8_t state;		 /* enum vireo_blk_zone_state */
};

struct vireo_blk_config {
	size_t size;
	uint64_t capacity_bytes; /* a multiple of 512 */
	/* Blocks: powers of two from 512 on; 0: 512. Firmware boots from disks with blocks of 512 bytes alone (SeaBIOS). */
	uint32_t block_bytes;	       /* logical block: what the driver counts in */
	uint32_t physical_block_bytes; /* at least block_bytes; 0: block_bytes */
	uint32_t align_offset_bytes;   /* where the first physical block begins: a multiple of block_bytes, less than a physical block */
	uint32_t io_min_bytes;	       /* a multiple of block_bytes; 0: not said */
	uint32_t io_opt_bytes;	       /* likewise */
	/*
	 * Requests whose offset or length is no multiple of this are answered with an I/O error: a power of two from 512 on; 0: 512. The
	 * specification lets drivers use sectors of 512 bytes whatever the block size.
	 */
	uint32_t request_align_bytes;
	bool read_only; /* nothing but IN, FLUSH and what only asks is submitted; nothing that writes is offered */
	bool write_cache_fixed; /* CONFIG_WCE is not offered: the driver cannot switch the cache. VDUSE refuses the feature */
	bool discard, zeroes, zeroes_unmap, secure_erase; /* offered. zeroes_unmap: a WRITE_ZEROES may deallocate */
	/* Limits of one range of a request; 0: 1 GiB, of zeroes 64 MiB. What is longer is answered with an I/O error. */
	uint64_t discard_bytes_max, zeroes_bytes_max, erase_bytes_max;
	/* Ranges in one request, 1..256; 0: 16, of zeroes 1. Each is submitted as a request of its own, one after the other. */
	uint32_t discard_ranges_max, zeroes_ranges_max, erase_ranges_max;
	uint32_t discard_align_bytes, erase_align_bytes; /* what the driver had better align ranges to; 0: block_bytes */
	const struct vireo_blk_lifetime *lifetime; /* copied; NULL: LIFETIME is not offered */
	struct { /* GEOMETRY; all 0: not offered */
		uint16_t cylinders;
		uint8_t heads, sectors;
	} geometry;
	const char *serial; /* what GET_ID answers, copied: up to 20 bytes; NULL: empty */
	unsigned queues;    /* 1..1024; 0: 1. A front end may set up fewer; QEMU wants one for each CPU of its guest, and no less */
	unsigned queue_size_max; /* 0: 1024 */
	unsigned segments_max;	 /* data descriptors of a request that the driver may use (seg_max), 1..1022; 0: 126, or queue_size_max - 2 if less */
	uint32_t segment_bytes_max; /* of one of them (size_max): a multiple of 4096; 0: 1 MiB */
	uint64_t features_off;	    /* features not to offer, by bit */
	size_t request_room_bytes;  /* at most 4096 */
	const struct vireo_blk_ops *ops; /* copied */
	void *opaque;
	/* These are passed on to the device: see struct vireo_device_config. */
	struct vireo_log log;
	const char *name;
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	struct vireo_memory *memory;
	uint64_t memory_max_bytes;
	const struct vireo_blk_zoned *zoned; /* copied; NULL: the disk has no zones */
};

/* Makes a block device; the caller's thread is its control thread. -EINVAL: a field of the config is not valid; -ENOMEM. */
VIREO_API int vireo_blk_new(const struct vireo_blk_config *config, struct vireo_blk **ret_blk);
VIREO_API void vireo_blk_free(struct vireo_blk *blk); /* close its endpoint first; does nothing for NULL */
VIREO_API struct vireo_device *vireo_blk_device(struct vireo_blk *blk); /* borrowed: the block device owns it */

/* Answers ops->queue_stop: every request has been completed, and no worker uses the queue any more. Control thread. */
VIREO_API void vireo_blk_queue_quiesced(struct vireo_blk *blk, unsigned queue);
/* Answers ops->queue_renew, before vireo_blk_queue_quiesced(). Control thread. */
VIREO_API void vireo_blk_queue_renewed(struct vireo_blk *blk, unsigned queue);

/*
 * Sets the disk's capacity and notifies the driver. When it makes the disk smaller, requests that were submitted before the call
 * may still reach beyond the new end. Control thread. -EINVAL: no multiple of 512.
 */
VIREO_API int vireo_blk_resize(struct vireo_blk *blk, uint64_t capacity_bytes);
/* Sets what GET_LIFETIME answers from now on. Control thread. -EINVAL: a reserved value; -EOPNOTSUPP: LIFETIME is not offered. */
VIREO_API int vireo_blk_lifetime_set(struct vireo_blk *blk, const struct vireo_blk_lifetime *lifetime);
VIREO_API uint64_t vireo_blk_capacity(const struct vireo_blk *blk); /* in bytes. Any thread */
VIREO_API bool vireo_blk_writeback(const struct vireo_blk *blk); /* false: requests that write have VIREO_BLK_FUA. Any thread */

/* ---- a queue that runs: its worker ---- */

/*
 * Pops up to `max` chains from the queue, answers them or submits them, and shows the driver what was completed meanwhile. `queue` is
 * below the config's `queues`. Returns how many chains it has popped. 0: there is none, the queue is disabled, or it holds as much as
 * it can: completions make room. -EPROTO: the queue is broken; stop polling it, and complete what has been submitted.
 */
VIREO_API int vireo_blk_poll(struct vireo_blk *blk, unsigned queue, unsigned max);
/*
 * Completes a request and ends the application's use of it. `result` is 0, which the driver sees as OK; -EOPNOTSUPP, which it sees
 * as UNSUPP; or another negative errno, which it sees as IOERR. Of a zoned disk it sees -EILSEQ as ZONE_UNALIGNED_WP, -ETOOMANYREFS
 * as ZONE_OPEN_RESOURCE, -EOVERFLOW as ZONE_ACTIVE_RESOURCE, and -EBADRQC as ZONE_INVALID_CMD. An IN that failed may have written
 * anything to its iov: the library overwrites that with zeroes, unless it is longer than 64 KiB. The driver sees the completion after
 * the next flush.
 */
VIREO_API void vireo_blk_complete(struct vireo_blk_request *request, int result);
/*
 * Adds a zone to the answer of a ZONE_REPORT that the application has. False: there is no room for it, or for any other: complete
 * the request. The queue's worker.
 */
VIREO_API bool vireo_blk_zone_report(struct vireo_blk_request *request, const struct vireo_blk_zone *zone);
/*
 * Shows the driver what has been completed, and signals the driver if it has asked for that. The call may also submit requests:
 * of up to 64 requests the next range of each, or chains that had no room before.
 */
VIREO_API void vireo_blk_flush(struct vireo_blk *blk, unsigned queue);
/*
 * Asks the driver to kick, or not to: see vireo_queue_kick_enable(). Kicks are on when a queue starts. It also returns true if further
 * ranges of a request wait for the next flush, for which no kick will come.
 */
VIREO_API bool vireo_blk_kick_enable(struct vireo_blk *blk, unsigned queue, bool on);
/*
 * Returns how many requests the application has, plus one if further ranges of a request wait for the next flush. Before you give
 * a queue back, complete and flush until it is 0.
 */
VIREO_API unsigned vireo_blk_in_flight(const struct vireo_blk *blk, unsigned queue);
/*
 * Returns whether the memory of every request that the application has is still mapped after what ops->queue_renew announced. If so,
 * answer without waiting for these requests, even where a back end hangs. An honest driver unmaps no memory that a request of its
 * own names. The queue's worker calls it between ops->queue_renew and the answer. It checks each request.
 */
VIREO_API bool vireo_blk_kept(struct vireo_blk *blk, unsigned queue);
/* Prefetches what the next vireo_blk_poll() of this queue reads first: see vireo_queue_expect(). */
VIREO_API void vireo_blk_expect(struct vireo_blk *blk, unsigned queue);

/* ---- any thread ---- */

/* Returns the fd to watch for kicks while the queue runs: see vireo_queue_kick_fd(). -1: the queue does not run, or the driver polls. */
VIREO_API int vireo_blk_kick_fd(struct vireo_blk *blk, unsigned queue);

/* The counters of one queue; each field is read by itself. Ranges of a request count one by one. */
struct vireo_blk_queue_stats {
	size_t size; /* the caller's: of its struct; afterwards of what was filled in */
	uint64_t reads, writes, flushes, discards, zeroes, erases; /* completed without an error */
	uint64_t read_bytes, written_bytes;
	uint64_t errors;      /* completed with one by the application */
	uint64_t unsupported; /* answered UNSUPP by the device: no such type, no such flag, or not negotiated */
	uint64_t refused;     /* answered IOERR by the device: beyond the end, not aligned, read-only, ... */
	uint64_t no_status;   /* chains without room for a status: given back without an answer */
	uint64_t zone_commands; /* ZONE_ but APPEND, which counts as a write; completed without an error */
};
/* Fills in the counters. The caller sets ret_stats->size to sizeof(*ret_stats). Of a queue that does not exist they are 0. */
VIREO_API void vireo_blk_queue_stats(const struct vireo_blk *blk, unsigned queue, struct vireo_blk_queue_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
