/* SPDX-License-Identifier: BSD-3-Clause */
/* nbd:URI: an export of an NBD server. How a server that comes and goes is lived with stands in nbd_link.c. */
#include "disk/nbd.h"
#include "base/clock.h"
#include "base/util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_DEFAULT 30u
#define OPEN_MS 10000u /* nobody who opens a disk waits for longer */
#define SECTOR_BYTES 512u
#define PHYSICAL_MAX_BYTES 65536u /* a server may prefer more than a driver can be told */

static const struct disk_key nbd_keys[] = {
	{"connections", DISK_KEY_NUMBER, "1-16", 1, NBD_LINKS_MAX},
	{"timeout", DISK_KEY_NUMBER, "SECONDS", 0, 3600},
	{"reconnect", DISK_KEY_NUMBER, "SECONDS", 0, 86400},
	{"restart", DISK_KEY_CHOICE, "report|trust|stable", 0, 0},
	DISK_KEY_SWITCH("tls"),
	{"tls-certificates", DISK_KEY_TEXT, "FOLDER", 0, 0},
	{"tls-psk", DISK_KEY_TEXT, "FILE", 0, 0},
	{"tls-user", DISK_KEY_TEXT, "NAME", 0, 0},
	DISK_KEY_SWITCH("tls-verify"),
};

static const char *const schemes[] = {"nbd://", "nbd+unix://", "nbd+vsock://", "nbds://", "nbds+unix://", "nbds+vsock://"};

static const char *uri_problem(const char *address)
{
	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncmp(address, schemes[i], strlen(schemes[i])))
			return NULL;
	return "expected a URI such as nbd://HOST/EXPORT or nbd+unix:///EXPORT?socket=PATH (nbds: with TLS)";
}

#if VIREO_HAS_NBD

/* ---- the disk ---- */

static void links_free(struct nbd_disk *nbd)
{
	for (unsigned i = 0; i < nbd->link_count; i++)
		nbd_link_free(nbd->links[i]);
}

/* Under the lock. The first takes the connection that is there; as many as can be had are enough. */
static int links_make(struct nbd_disk *nbd)
{
	int err = nbd->links[0] ? 0 : nbd_link_new(nbd, nbd->handle, &nbd->links[0]);

	if (err)
		return err;
	nbd->handle = NULL;
	for (unsigned i = 1; i < nbd->link_count && !err; i++)
		if (!nbd->links[i])
			err = nbd_link_new(nbd, NULL, &nbd->links[i]);
	return 0;
}

int nbd_disk_link(struct nbd_disk *nbd, struct nbd_link **ret_link)
{
	int err;

	pthread_mutex_lock(&nbd->lock);
	err = links_make(nbd);
	while (!err && !nbd->links[nbd->next_link % nbd->link_count])
		nbd->next_link++;
	if (!err)
		*ret_link = nbd->links[nbd->next_link++ % nbd->link_count];
	pthread_mutex_unlock(&nbd->lock);
	return err;
}

static bool all_renewed(const struct nbd_disk *nbd)
{
	for (unsigned i = 0; i < nbd->link_count; i++)
		if (nbd->links[i] && nbd_link_renewals(nbd->links[i]) < nbd->renewals)
			return false;
	return true;
}

/* The server tells the size to who connects: so all links do that again, each when it is owed no answer. */
static int renew(struct nbd_disk *nbd, uint64_t *ret_bytes)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += OPEN_MS / 1000;
	pthread_mutex_lock(&nbd->lock);
	err = links_make(nbd);
	if (!err) {
		nbd->renewals++;
		for (unsigned i = 0; i < nbd->link_count; i++)
			if (nbd->links[i])
				nbd_link_wake(nbd->links[i]);
	}
	while (!err && !all_renewed(nbd))
		err = -pthread_cond_timedwait(&nbd->renewed, &nbd->lock, &until);
	*ret_bytes = nbd->size_told;
	pthread_mutex_unlock(&nbd->lock);
	return err;
}

static int nbd_refresh(struct disk *disk)
{
	struct nbd_disk *nbd = container_of(disk, struct nbd_disk, disk);
	uint64_t bytes;
	int err = renew(nbd, &bytes);

	if (err)
		return err;
	bytes -= bytes % disk->info.logical_block_bytes;
	if (bytes == disk_size(disk))
		return 0;
	disk_size_set(disk, bytes);
	return 1;
}

static void nbd_free(struct nbd_disk *nbd)
{
	links_free(nbd);
	if (nbd->handle)
		nbd_way_leave(nbd->handle);
	pthread_cond_destroy(&nbd->renewed);
	pthread_mutex_destroy(&nbd->lock);
	free(nbd->way.uri);
	free(nbd->way.certificates);
	free(nbd->way.psk);
	free(nbd->way.user);
	free(nbd);
}

static void nbd_disk_close(struct disk *disk)
{
	nbd_free(container_of(disk, struct nbd_disk, disk));
}

static const struct disk_ops nbd_ops = {
	.queue_open = nbd_queue_open,
	.refresh = nbd_refresh,
	.close = nbd_disk_close,
};

/* ---- opening it ---- */

static uint64_t seconds_ms(const struct disk_spec *spec, const char *key, uint64_t otherwise_ms)
{
	uint64_t seconds = disk_spec_number(spec, key, UINT64_MAX);

	return seconds == UINT64_MAX ? otherwise_ms : seconds * 1000;
}

static int text_copy(const struct disk_spec *spec, const char *key, char **ret_text)
{
	const char *text = disk_spec_text(spec, key, NULL);

	*ret_text = text ? strdup(text) : NULL;
	return text && !*ret_text ? -ENOMEM : 0;
}

/* libnbd checks a certificate by the host's name only, and says nothing where there is none: any certificate would do. */
static bool verifies_nothing(const struct nbd_way *way)
{
	const char *plus = strchr(way->uri, '+'), *colon = strchr(way->uri, ':');

	return way->tls && way->verify && !way->psk && plus && plus < colon;
}

static int way_read(const struct disk_spec *spec, struct nbd_way *way, char *why)
{
	way->tls = !strncmp(spec->address, "nbds", 4) || disk_spec_number(spec, "tls", 0);
	way->verify = disk_spec_number(spec, "tls-verify", 1);
	way->uri = strdup(spec->address);
	if (!way->uri || text_copy(spec, "tls-certificates", &way->certificates) ||
	    text_copy(spec, "tls-psk", &way->psk) || text_copy(spec, "tls-user", &way->user))
		return -ENOMEM;
	if (!way->tls && (way->certificates || way->psk || way->user)) {
		snprintf(why, DISK_WHY_BYTES, "nbd '%.60s': it is to have keys of TLS and no TLS: say tls=on or nbds:",
			 spec->address);
		return -EINVAL;
	}
	if (verifies_nothing(way)) {
		snprintf(why, DISK_WHY_BYTES, "nbd '%.60s': certificates are verified of hosts with a name only: give tls-psk=FILE, or "
			 "tls-verify=off", spec->address);
		return -EINVAL;
	}
	return 0;
}

static void keys_read(const struct disk_spec *spec, struct nbd_disk *nbd)
{
	nbd->timeout_ms = seconds_ms(spec, "timeout", TIMEOUT_DEFAULT * 1000);
	if (!nbd->timeout_ms)
		nbd->timeout_ms = NBD_FOREVER;
	nbd->reconnect_ms = seconds_ms(spec, "reconnect", NBD_FOREVER);
	nbd->restart = (enum nbd_restart)disk_spec_number(spec, "restart", NBD_RESTART_REPORT);
	nbd->link_count = (unsigned)disk_spec_number(spec, "connections", 1);
}

/* Several connections see one disk only where the server says so, or nothing changes. */
static int links_check(struct nbd_disk *nbd, const struct disk_spec *spec, char *why)
{
	if (nbd->link_count == 1 || nbd->export.multi_conn || nbd->disk.info.read_only)
		return 0;
	snprintf(why, DISK_WHY_BYTES,
		 "nbd '%.60s': its server has no multi-conn: leave connections=%u out, let it share, or say read-only=on",
		 spec->address, nbd->link_count);
	return -EINVAL;
}

static void info_fill(struct nbd_disk *nbd)
{
	const struct nbd_export *export = &nbd->export;
	uint32_t block = export->block_min > SECTOR_BYTES ? export->block_min : SECTOR_BYTES;
	uint32_t chunk = NBD_CHUNK_BYTES > block ? NBD_CHUNK_BYTES : block;

	if (export->block_max && export->block_max < chunk)
		chunk = export->block_max - export->block_max % block;
	nbd->chunk_bytes = chunk;
	nbd->size_told = export->size_bytes;
	nbd->disk.info.size_bytes = export->size_bytes - export->size_bytes % block;
	nbd->disk.info.logical_block_bytes = block;
	nbd->disk.info.physical_block_bytes = min_u32(export->block_preferred, PHYSICAL_MAX_BYTES);
	nbd->disk.info.read_only |= export->read_only;
	nbd->disk.info.volatile_cache = export->can_flush && nbd->restart != NBD_RESTART_STABLE;
	nbd->disk.info.rotational = export->rotational;
	nbd->disk.info.can_discard = export->can_trim;
	nbd->disk.info.zero_unmaps = export->can_zero;
}

static int nbd_reach(struct nbd_disk *nbd, const struct disk_spec *spec, char *why)
{
	char problem[DISK_WHY_BYTES] = "";
	int err = nbd_library_load(problem);

	if (!err)
		err = nbd_way_connect(&nbd->way, min_u64(OPEN_MS, nbd->timeout_ms), &nbd->handle, &nbd->export, problem);
	if (err)
		snprintf(why, DISK_WHY_BYTES, "nbd '%.80s': %.150s", spec->address, problem);
	if (!err && nbd->export.block_min > 0 && nbd->export.size_bytes < nbd->export.block_min) {
		snprintf(why, DISK_WHY_BYTES, "nbd '%.80s': the server says its size is less than its block: that cannot be",
			 spec->address);
		err = -EPROTO;
	}
	return err;
}

static int nbd_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	struct nbd_disk *nbd = calloc(1, sizeof(*nbd));
	pthread_condattr_t attr;
	int err;

	if (!nbd)
		return -ENOMEM;
	pthread_mutex_init(&nbd->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&nbd->renewed, &attr);
	pthread_condattr_destroy(&attr);
	nbd->disk.ops = &nbd_ops;
	nbd->disk.info.read_only = config->read_only;
	nbd->log = config->log;
	keys_read(spec, nbd);
	err = way_read(spec, &nbd->way, why);
	if (!err)
		err = nbd_reach(nbd, spec, why);
	if (!err) {
		info_fill(nbd);
		err = links_check(nbd, spec, why);
	}
	if (err)
		nbd_free(nbd);
	else
		*ret_disk = &nbd->disk;
	return err;
}

#else

static int nbd_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	snprintf(why, DISK_WHY_BYTES, "nbd '%.80s': this program was built without libnbd: build it with -Dnbd=enabled",
		 spec->address);
	return -ENOSYS;
}

#endif

const struct disk_kind disk_nbd = {
	.name = "nbd",
	.address = "URI",
	.keys = nbd_keys,
	.key_count = ARRAY_SIZE(nbd_keys),
	.address_problem = uri_problem,
	.open = nbd_open,
};
