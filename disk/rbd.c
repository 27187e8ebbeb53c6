/* SPDX-License-Identifier: BSD-3-Clause */
/* rbd:POOL/IMAGE: an image of a Ceph cluster. */
#include "base/util.h"
#include "disk/kind.h"
#include <stdlib.h>
#include <string.h>

static const struct disk_key rbd_keys[] = {
	{"conf", DISK_KEY_TEXT, "FILE", 0, 0},
	{"user", DISK_KEY_TEXT, "NAME", 0, 0},
	DISK_KEY_SWITCH("lock"),
};

/* POOL/[NAMESPACE/]IMAGE[@SNAPSHOT], none of them empty. */
static const char *image_problem(const char *address)
{
	const char *slash = strchr(address, '/'), *last = strrchr(address, '/'), *at = slash ? strchr(last, '@') : NULL;
	bool full = slash && slash > address && last[1] && last[1] != '@' && (!at || at[1]);

	if (full && slash != last)
		full = last > slash + 1 && !memchr(slash + 1, '/', (size_t)(last - slash - 1));
	return full ? NULL : "expected POOL/IMAGE, POOL/NAMESPACE/IMAGE, or one of these with @SNAPSHOT";
}

#if VIREO_HAS_RBD

#include "disk/rbd.h"

#define CONNECT_S "10" /* for the monitors to take us */
#define OPEN_S	  "8"  /* for each answer while a disk is opened: vireoctl waits for 10 s */
#define CLOSE_S	  "2"  /* and while it is closed: what is not given back the cluster takes by itself, half a minute later */
#define PHYSICAL_BYTES 4096u /* what the servers allocate by, since BlueStore */
#define DISCARD_BYTES 65536u /* what librbd rounds discards to, at least */
#define SPAN_BYTES (UINT64_C(256) << 20) /* of one discard or zeroes: an operation for each of the image's objects is made at once */

/* ---- how long an answer is waited for ---- */

/* librados looks at them anew for each thing it asks. */
static const char *const limits[RBD_LIMITS] = {"rados_mon_op_timeout", "rados_osd_op_timeout"};

static int limits_set(struct rbd_disk *rbd, const char *seconds)
{
	int err = 0;

	for (unsigned i = 0; i < RBD_LIMITS && err >= 0; i++)
		err = rbd->library->rados_conf_set(rbd->cluster, limits[i], seconds);
	return err;
}

/* It is connected: what the monitors say of the configuration is known, too. */
static int limits_begin(struct rbd_disk *rbd)
{
	int err = 0;

	for (unsigned i = 0; i < RBD_LIMITS && err >= 0; i++)
		err = rbd->library->rados_conf_get(rbd->cluster, limits[i], rbd->patience[i], sizeof(rbd->patience[i]));
	return err < 0 ? err : limits_set(rbd, OPEN_S);
}

/* A guest's request that took longer would have failed. */
static int limits_end(struct rbd_disk *rbd)
{
	int err = 0;

	for (unsigned i = 0; i < RBD_LIMITS && err >= 0; i++)
		err = rbd->library->rados_conf_set(rbd->cluster, limits[i], rbd->patience[i]);
	return err;
}

/* ---- the disk ---- */

static int64_t rbd_size(const struct disk *disk)
{
	const struct rbd_disk *rbd = (const struct rbd_disk *)disk; /* which it begins with */
	uint64_t bytes;
	int err = rbd->library->rbd_get_size(rbd->image, &bytes);

	return err < 0 ? err : (int64_t)min_u64(bytes, INT64_MAX);
}

static int rbd_refresh(struct disk *disk)
{
	int64_t size = rbd_size(disk);
	uint64_t bytes;

	if (size < 0)
		return (int)size;
	bytes = (uint64_t)size - (uint64_t)size % disk->info.logical_block_bytes;
	if (bytes == disk_size(disk))
		return 0;
	disk_size_set(disk, bytes);
	return 1;
}

/* Smaller: requests beyond the new end are refused before the image ends there. */
static int rbd_disk_resize(struct disk *disk, uint64_t bytes)
{
	const struct rbd_disk *rbd = container_of(disk, struct rbd_disk, disk);
	uint64_t old = disk_size(disk);
	int err;

	disk_size_set(disk, min_u64(old, bytes));
	err = rbd->library->rbd_resize(rbd->image, bytes);
	disk_size_set(disk, err < 0 ? old : bytes);
	return err;
}

static void rbd_free(struct rbd_disk *rbd)
{
	const struct rbd_library *library = rbd->library;

	if (rbd->image)
		limits_set(rbd, CLOSE_S); /* nothing of a guest is under way */
	if (rbd->locked)
		library->rbd_lock_release(rbd->image);
	if (rbd->image)
		library->rbd_close(rbd->image);
	if (rbd->pool)
		library->rados_ioctx_destroy(rbd->pool);
	if (rbd->cluster)
		library->rados_shutdown(rbd->cluster);
	free(rbd);
}

static void rbd_disk_close(struct disk *disk)
{
	rbd_free(container_of(disk, struct rbd_disk, disk));
}

static const struct disk_ops rbd_ops = {
	.queue_open = rbd_queue_open,
	.size = rbd_size,
	.refresh = rbd_refresh,
	.resize = rbd_disk_resize,
	.close = rbd_disk_close,
};

/* ---- opening it ---- */

static int refused(const struct disk_spec *spec, int err, const char *what, const char *fix, char *why)
{
	if (err < 0)
		snprintf(why, DISK_WHY_BYTES, "rbd '%.80s': %.60s: %s%s", spec->address, what, strerror(-err), fix);
	return err;
}

/* By what has to be asked of the storage servers. */
static int unanswered(const struct disk_spec *spec, int err, const char *what, const char *fix, char *why)
{
	return refused(spec, err, what, err == -ETIMEDOUT ? ": do the storage servers answer? ceph -s tells" : fix, why);
}

/* librbd's own cache is left out: what is acknowledged then is with the servers. */
static int connect_to(struct rbd_disk *rbd, const struct disk_spec *spec, char *why)
{
	const struct rbd_library *library = rbd->library;
	const char *conf = disk_spec_text(spec, "conf", NULL);
	int err = refused(spec, library->rados_create(&rbd->cluster, disk_spec_text(spec, "user", NULL)), "librados", "", why);

	if (err < 0)
		return err;
	err = library->rados_conf_read_file(rbd->cluster, conf);
	if (err < 0)
		return refused(spec, err, conf ? conf : "/etc/ceph/ceph.conf", ": name the cluster's configuration by conf=FILE", why);
	library->rados_conf_set(rbd->cluster, "rbd_cache", "false");
	library->rados_conf_set(rbd->cluster, "client_mount_timeout", CONNECT_S);
	err = refused(spec, library->rados_connect(rbd->cluster), "the cluster",
		      ": are its monitors, conf= and user= right, and may its key be read?", why);
	return err < 0 ? err : refused(spec, limits_begin(rbd), "its time limits", "", why);
}

static int pool_open(struct rbd_disk *rbd, const struct disk_spec *spec, char *name, const char **ret_image, char *why)
{
	char *rest = strchr(name, '/'), *slash;
	int err;

	*rest++ = '\0';
	err = refused(spec, rbd->library->rados_ioctx_create(rbd->cluster, name, &rbd->pool), "the pool", "", why);
	slash = strchr(rest, '/');
	if (err >= 0 && slash) {
		*slash = '\0';
		rbd->library->rados_ioctx_set_namespace(rbd->pool, rest);
	}
	*ret_image = slash ? slash + 1 : rest;
	return err;
}

/* One writer: who holds it says so to the cluster, and lets nobody else have it meanwhile. */
static int image_lock(struct rbd_disk *rbd, const struct disk_spec *spec, char *why)
{
	int err = 0;

	if (rbd->disk.info.read_only || !disk_spec_number(spec, "lock", 1))
		return 0;
	err = rbd->library->rbd_lock_acquire(rbd->image, RBD_LOCK_MODE_EXCLUSIVE);
	rbd->locked = err >= 0;
	if (err == -EINVAL || err == -EOPNOTSUPP)
		return refused(spec, err, "the lock", ": rbd feature enable IMAGE exclusive-lock, or say lock=off", why);
	return unanswered(spec, err, "the lock", ": another client has it (rbd lock list): end that, or say read-only=on", why);
}

static int image_open(struct rbd_disk *rbd, const struct disk_spec *spec, const char *image, char *why)
{
	const struct rbd_library *library = rbd->library;
	char *snapshot = strchr(image, '@');
	int err;

	if (snapshot)
		*snapshot++ = '\0';
	rbd->disk.info.read_only |= snapshot != NULL;
	err = rbd->disk.info.read_only ? library->rbd_open_read_only(rbd->pool, image, &rbd->image, snapshot) :
					 library->rbd_open(rbd->pool, image, &rbd->image, snapshot);
	err = unanswered(spec, err, "the image", err == -ENOENT ? ": make it first, as rbd create --size 10G does" : "", why);
	return err < 0 ? err : image_lock(rbd, spec, why);
}

static int info_fill(struct rbd_disk *rbd, const struct disk_spec *spec, char *why)
{
	struct disk_info *info = &rbd->disk.info;
	int64_t size = rbd_size(&rbd->disk);

	if (size < (int64_t)DISK_SECTOR_BYTES)
		return refused(spec, size < 0 ? (int)size : -EINVAL, "its size", "", why);
	info->size_bytes = (uint64_t)size - (uint64_t)size % DISK_SECTOR_BYTES;
	info->physical_block_bytes = PHYSICAL_BYTES;
	info->volatile_cache = true; /* a cache by a plugin of the cluster's configuration may be one */
	info->can_discard = info->zero_unmaps = !info->read_only;
	info->discard_granularity_bytes = info->can_discard ? DISCARD_BYTES : 0;
	info->discard_max_bytes = info->zero_max_bytes = SPAN_BYTES;
	return 0;
}

static int parts_open(struct rbd_disk *rbd, const struct disk_spec *spec, char *why)
{
	char *name = strdup(spec->address);
	const char *image;
	int err = name ? connect_to(rbd, spec, why) : -ENOMEM;

	if (err >= 0)
		err = pool_open(rbd, spec, name, &image, why);
	if (err >= 0)
		err = image_open(rbd, spec, image, why);
	if (err >= 0)
		err = info_fill(rbd, spec, why);
	if (err >= 0)
		err = refused(spec, limits_end(rbd), "its time limits", "", why);
	free(name);
	return err < 0 ? err : 0;
}

static int rbd_disk_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	struct rbd_disk *rbd = calloc(1, sizeof(*rbd));
	char problem[DISK_WHY_BYTES];
	int err;

	if (!rbd)
		return -ENOMEM;
	rbd->disk.ops = &rbd_ops;
	rbd->disk.info.read_only = config->read_only;
	rbd->library = rbd_library(problem);
	if (!rbd->library) {
		snprintf(why, DISK_WHY_BYTES, "rbd '%.80s': %.150s", spec->address, problem);
		free(rbd);
		return -ENOSYS;
	}
	err = parts_open(rbd, spec, why);
	if (err)
		rbd_free(rbd);
	else
		*ret_disk = &rbd->disk;
	return err;
}

#else

static int rbd_disk_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	snprintf(why, DISK_WHY_BYTES, "rbd '%.80s': this program was built without librbd: build it with -Drbd=enabled", spec->address);
	return -ENOSYS;
}

#endif

const struct disk_kind disk_rbd = {
	.name = "rbd",
	.address = "POOL/IMAGE",
	.keys = rbd_keys,
	.key_count = ARRAY_SIZE(rbd_keys),
	.address_problem = image_problem,
	.open = rbd_disk_open,
};
