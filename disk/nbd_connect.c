/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a connection to an NBD server, with a limit in time, and what the server says of itself: checked here once. */
#include "base/clock.h"
#include "base/util.h"
#include "base/visible.h"
#include "disk/nbd.h"
#include "disk/nbd_library.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_MIN_MAX 65536u

/* ---- libnbd's words ---- */

/* What follows libnbd's "nbd_aio_notify_read: ": parts of it are the server's words. */
static int failed(char *why)
{
	int err = nbd_get_errno();
	const char *text = nbd_get_error(), *colon = text ? strstr(text, ": ") : NULL;

	if (colon)
		text = colon + 2;
	snprintf(why, DISK_WHY_BYTES, "%.150s", text && visible_is(text) ? text : "the server cannot be understood");
	return err > 0 ? -err : -EPROTO;
}

static int tls_set(struct nbd_handle *h, const struct nbd_way *way)
{
	if (!way->tls)
		return nbd_set_tls(h, LIBNBD_TLS_DISABLE);
	if (!nbd_supports_tls(h)) {
		nbd_set_tls(h, LIBNBD_TLS_REQUIRE); /* which says why it cannot */
		return -1;
	}
	if (nbd_set_tls(h, LIBNBD_TLS_REQUIRE) || nbd_set_tls_verify_peer(h, way->verify))
		return -1;
	if (way->certificates && nbd_set_tls_certificates(h, way->certificates))
		return -1;
	if (way->psk && nbd_set_tls_psk_file(h, way->psk))
		return -1;
	return way->user ? nbd_set_tls_username(h, way->user) : 0;
}

/* Without it libnbd verifies nothing and says nothing. It is read again with each connection. */
static bool authority_missing(const struct nbd_way *way)
{
	char path[PATH_MAX];

	if (!way->tls || !way->verify || way->psk)
		return false;
	return !way->certificates ||
	       snprintf(path, sizeof(path), "%s/ca-cert.pem", way->certificates) >= (int)sizeof(path) || access(path, R_OK);
}

/* Its URI names a server and no program to run, and no file of ours: those are keys. */
static int handle_new(const struct nbd_way *way, struct nbd_handle **ret_handle, char *why)
{
	struct nbd_handle *h;
	int err = 0;

	if (authority_missing(way)) {
		snprintf(why, DISK_WHY_BYTES, "nothing to verify its certificate by: give tls-certificates=FOLDER with a ca-cert.pem "
			 "that can be read");
		return -ENOKEY;
	}
	h = nbd_create();
	if (!h)
		return failed(why);
	if (tls_set(h, way) || nbd_set_uri_allow_local_file(h, false) ||
	    nbd_set_strict_mode(h, LIBNBD_STRICT_COMMANDS | LIBNBD_STRICT_FLAGS))
		err = failed(why);
	if (err)
		nbd_close(h);
	else
		*ret_handle = h;
	return err;
}

/* ---- what it says of itself ---- */

static int lie(char *why, const char *what, int64_t number)
{
	snprintf(why, DISK_WHY_BYTES, "the server says %s %lld: that cannot be", what, (long long)number);
	return -EPROTO;
}

static int blocks_read(struct nbd_handle *h, struct nbd_export *export, char *why)
{
	int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM), preferred = nbd_get_block_size(h, LIBNBD_SIZE_PREFERRED);
	int64_t max = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);

	if (min < 0 || preferred < 0 || max < 0)
		return failed(why);
	if (min > BLOCK_MIN_MAX || (min & (min - 1)))
		return lie(why, "its smallest block is", min);
	if (preferred > INT32_MAX || (preferred & (preferred - 1)))
		return lie(why, "its preferred block is", preferred);
	if (max && (max < min || max < 512 || max > UINT32_MAX))
		return lie(why, "its largest block is", max);
	export->block_min = (uint32_t)min;
	export->block_preferred = (uint32_t)preferred;
	export->block_max = (uint32_t)max;
	return 0;
}

static int export_read(struct nbd_handle *h, struct nbd_export *export, char *why)
{
	int64_t size = nbd_get_size(h);

	if (size < 512)
		return lie(why, "its size is", size);
	*export = (struct nbd_export){
		.size_bytes = (uint64_t)size,
		.read_only = nbd_is_read_only(h) > 0,
		.rotational = nbd_is_rotational(h) > 0,
		.can_flush = nbd_can_flush(h) > 0,
		.can_fua = nbd_can_fua(h) > 0,
		.can_trim = nbd_can_trim(h) > 0,
		.can_zero = nbd_can_zero(h) > 0,
		.multi_conn = nbd_can_multi_conn(h) > 0,
	};
	return blocks_read(h, export, why);
}

/* ---- connecting ---- */

int nbd_way_start(const struct nbd_way *way, struct nbd_handle **ret_handle, char *why)
{
	struct nbd_handle *h = NULL;
	int err = handle_new(way, &h, why);

	if (err)
		return err;
	if (nbd_aio_connect_uri(h, way->uri)) {
		err = failed(why);
		nbd_close(h);
		return err;
	}
	*ret_handle = h;
	return 0;
}

int nbd_way_wait(struct nbd_handle *h, int stop_fd, uint64_t most_ms, char *why)
{
	unsigned direction = nbd_aio_get_direction(h);
	struct pollfd fds[] = {{.fd = nbd_aio_get_fd(h)}, {.fd = stop_fd, .events = POLLIN}};
	int n;

	fds[0].events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
				(direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	n = poll(fds, 2, most_ms > INT32_MAX ? -1 : (int)most_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	n = 0;
	if (direction & LIBNBD_AIO_DIRECTION_READ && fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		n = nbd_aio_notify_read(h);
	else if (fds[0].revents & (POLLOUT | POLLHUP | POLLERR))
		n = nbd_aio_notify_write(h);
	if (n < 0)
		return failed(why);
	return fds[1].revents != 0;
}

int nbd_way_ready(struct nbd_handle *h, struct nbd_export *ret_export, char *why)
{
	int err;

	if (nbd_aio_is_dead(h) || nbd_aio_is_closed(h)) {
		snprintf(why, DISK_WHY_BYTES, "the server has ended the connection before it was ready");
		return -ECONNRESET;
	}
	if (!nbd_aio_is_ready(h))
		return 0;
	err = export_read(h, ret_export, why);
	return err ? err : 1;
}

int nbd_way_connect(const struct nbd_way *way, uint64_t timeout_ms, struct nbd_handle **ret_handle, struct nbd_export *ret_export,
		    char *why)
{
	uint64_t until = clock_now_ms() + timeout_ms, now;
	struct nbd_handle *h = NULL;
	int done = nbd_way_start(way, &h, why);

	if (done)
		return done;
	while (!(done = nbd_way_ready(h, ret_export, why))) {
		now = clock_now_ms();
		if (now >= until) {
			snprintf(why, DISK_WHY_BYTES, "nobody answers there: is it an NBD server, and free for one more client?");
			done = -ETIMEDOUT;
			break;
		}
		done = nbd_way_wait(h, -1, until - now, why);
		if (done < 0)
			break;
	}
	if (done < 0) {
		nbd_close(h);
		return done;
	}
	*ret_handle = h;
	return 0;
}

void nbd_way_leave(struct nbd_handle *h)
{
	if (h && nbd_aio_is_ready(h))
		nbd_aio_disconnect(h, 0);
	nbd_close(h);
}
