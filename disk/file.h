/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_FILE_H
#define DISK_FILE_H

/* Between the files of the kind file: */

#include "disk/kind.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#define FILE_LOCK_CHOICES "on|off|shared|running"

enum file_lock { FILE_LOCK_ON, FILE_LOCK_OFF, FILE_LOCK_SHARED, FILE_LOCK_RUNNING };

struct file_zones;
struct file_map;

struct file_disk {
	struct disk disk;
	int fd;
	bool block_device, direct, discard;
	bool zoned; /* a device that is written by zones, and shown as one */
	struct file_zones *zones; /* those */
	bool handed; /* another process has the open file as well, and may go on with it */
	uint32_t memory_align; /* direct: of each piece of memory, and of its length; else 1 */
	unsigned threads_max;
	bool at_once; /* what it has stays in memory, and a queue's thread moves it by itself: see file_do_at_once() */
	struct file_map *map; /* of what is there already, and moved without a system call; NULL: there is none */
	bool uring; /* queues have a ring; else threads do it all */
	uint32_t uring_flags;
	struct {
		bool running; /* it is held as long as there are queues */
		short type;   /* F_WRLCK, F_RDLCK */
		/* Under the mutex. */
		pthread_mutex_t mutex;
		unsigned users;
		bool waited; /* somebody has been told that it is waited for */
	} lock;
	/* Any thread (atomic). */
	bool unsynced; /* a flush has failed: what the kernel had may be lost, and it says so only once */
};

/* ---- file_do.c: any thread, and may wait ---- */

/* Does what is left of the request, of which own[0] bytes are done, and sets its result. */
void file_do(void *file_disk, struct disk_request *r);
/* What a flush, or what is to be stable at once, is done with: an error is remembered. */
int file_synced(struct file_disk *file, int err);
bool file_unsynced(const struct file_disk *file);
/* Reads or writes what is behind the first `done` bytes: 0 or -errno. */
int file_transfer(struct file_disk *file, const struct disk_request *r, uint64_t done);
/* Must the memory be copied, for the device to reach it? */
bool file_memory_unaligned(const struct file_disk *file, const struct disk_request *r);
/* As disk_request_problem(), and whether iovecs and bytes agree: more would lie behind the end. */
int file_problem(const struct file_disk *file, const struct disk_request *r);
/* A read, a write or a flush has ended with `result`, as a system call does. True: the request is done. False: what is behind own[0] is to be done by who may wait. */
bool file_ended(struct file_disk *file, struct disk_request *r, int64_t result);

/*
 * Of a file with `at_once` a read, a write or a flush waits for no disk, as there was no swap when it was opened, so the queue's thread does it by itself.
 * Of what is there already not even a system call is made (file_map.c). It waits for the copy, and, of a page that the file did not have, for the kernel to find memory, as whoever takes memory does. That costs less than to
 * have it done: what writes through the page cache the kernel gives to a thread of its own, however it is asked. Returns as file_ended().
 */
bool file_do_at_once(struct file_disk *file, struct disk_request *r);

/* ---- file_map.c: any thread; nothing waits for more than a page of memory ---- */

/* NULL: it is not to be mapped, or cannot be, and system calls do it all. `guard` outlives it, and may be NULL. */
struct file_map *file_map_new(const struct file_disk *file, const struct disk_guard *guard);
void file_map_free(struct file_map *map); /* no queue uses it any more. Takes NULL */
/* Is all that a read or a write (file_problem() is 0) touches there, as far as is known? */
bool file_map_here(struct file_map *map, const struct disk_request *r);
/* The same, and it is done. False: it is for a system call. */
bool file_map_do(struct file_map *map, const struct file_disk *file, const struct disk_request *r);
/* A system call has written there; and before pages are given back. */
void file_map_written(struct file_map *map, uint64_t offset, uint64_t bytes);
void file_map_punched(struct file_map *map, uint64_t offset, uint64_t bytes);

/* ---- file_threads.c, file_uring.c ---- */

int file_threads_queue_open(struct file_disk *file, unsigned depth, struct disk_queue **ret_queue);

/* Whether there can be rings, and which flags they take: 0, or -errno of the kernel; -ENOSYS: built without. `sqpoll`: a thread of the kernel's takes requests. */
int file_uring_probe(bool sqpoll, uint32_t *ret_flags);
int file_uring_queue_open(struct file_disk *file, unsigned depth, struct disk_queue **ret_queue);

/* ---- file_lock.c ---- */

/* Do its keys go together? 0, or -EINVAL and a phrase in `why`. */
int file_lock_problem(const struct disk_spec *spec, char *why);
/* When it is opened: 0, or -errno and a phrase in `why`. May wait. */
int file_lock_open(struct file_disk *file, const struct disk_spec *spec, char *why);
/* With lock=running for each queue, and whoever else changes the file: 0, or -EBUSY: another process has it. Any thread. The first may wait, and
 * the last that puts it back. */
int file_lock_get(struct file_disk *file);
void file_lock_put(struct file_disk *file);
void file_lock_end(const struct file_disk *file);
/*
 * The same of a block device that is not to be had for us alone. Whoever was killed a moment ago may still have it: the kernel ends his rings later than
 * him. `waited_ms`: before the last try. False: long enough. *look_ms is 0 at first, and its own.
 */
bool file_lock_device_nap(const char *path, dev_t dev, uint64_t waited_ms, uint64_t *look_ms);

/* ---- file_owner.c ---- */

#define FILE_OWNER_BYTES 96u

enum file_owner {
	FILE_OWNER_NONE,   /* no process that this machine shows */
	FILE_OWNER_UNSEEN, /* none that may be looked into, and not all may be */
	FILE_OWNER_FOUND,
};

/* Who has a lock on the file that `refused` was refused by. In `text`: "process 123 (NAME)" if he is found, else "somebody else". */
enum file_owner file_owner(int fd, const struct flock *refused, char text[FILE_OWNER_BYTES]);

/* Whether a process has the file at that path open, by whatever right. */
enum file_owner file_opened(const char *path);

/* A file, as the kernel names it in its lists of locks. */
struct file_place {
	unsigned major, minor;
	uint64_t inode;
};

/* Does that line of /proc/PID/fdinfo/FD say that an open file has a lock there? */
bool file_owner_line(const char *line, const struct file_place *at, bool writers_only);

/* ---- file_device.c ---- */

/* Has this machine itself a block device, a part of it, or what it is a part of: mounted, as swap, or below another device? May wait. */
bool file_device_used(dev_t dev);
/* Does that line of /proc/PID/mountinfo name the device? */
bool file_device_mounted(const char *line, dev_t dev);

/* ---- file_zones.c ---- */

/* The device has zones: looks at them. Opened to be written to, and O_DIRECT. 0, or -errno and a phrase in `why`. May wait. */
int file_zones_open(struct file_disk *file, dev_t dev, const char *path, char *why);
void file_zones_free(struct file_zones *zones); /* takes NULL */
/* May a request go to the device, as far as zones are concerned? 0, or what it is done with. Any thread. */
int file_zones_problem(const struct file_disk *file, const struct disk_request *r);
/* A write, or DISK_ZONE. In threads, where it may wait; the writes of a zone one after the other. What it is done with. */
int file_zones_do(struct file_disk *file, struct disk_request *r);
void file_zones_get(const struct file_disk *file, uint64_t offset, struct disk_zone *ret_zone); /* any thread */

/* ---- file_look.c ---- */

/* Is it a block device that takes sequential writes alone? */
bool file_is_zoned(const struct stat *st);
/* A number that the kernel shows of the device's queue, or of the one that it is a part of; 0: none. */
uint64_t file_queue_limit(dev_t dev, const char *name);

/* What the file or block device is: fills in the disk's info. 0, or -errno and a phrase in `why`. */
int file_look(struct file_disk *file, const char *path, char *why);
/* Does all that the file has lie in memory, and stay there (tmpfs without swap)? May wait. */
bool file_in_memory(const struct file_disk *file);
/* Does that text of /proc/swaps, or its beginning, name what pages go to? Not even its first line there: they may. */
bool file_swaps_named(const char *swaps);
/* Its size now, or -errno. */
int64_t file_size(const struct file_disk *file);

#endif
