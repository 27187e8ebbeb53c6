/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SERVE_H
#define VIREOCTL_SERVE_H

/*
 * vireoctl serve: a page that shows a daemon at work, and its counters for Prometheus, over HTTP. It is a process of its own, a client of
 * the daemon's control socket: what a stranger sends over HTTP is never read by a process that holds a guest's memory. One thread.
 */

#include "options.h"
#include "base/unix_socket.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Until a signal asks it to end. Returns the exit code: a line has been said where it is not 0. */
int serve_run(const struct invocation *inv);

/* ---- between the files ---- */

/* listen.c: where people and programs connect. */
#define SERVE_LISTEN_DEFAULT "127.0.0.1:9871"
#define SERVE_URL_BYTES 4128u

struct serve_door {
	int fd;
	bool local;	     /* a UNIX socket, which no browser can be led to */
	struct unix_listener unix_listener;
	char url[SERVE_URL_BYTES]; /* "http://127.0.0.1:9871/" or "unix:PATH" */
};

/*
 * `where`: ADDRESS:PORT, PORT or unix:PATH; `named`: the machine's names are known (--hosts), and so it may be any address. 0, or the exit
 * code: a line has been said.
 */
int serve_door_open(const char *where, bool named, struct serve_door *ret_door);
void serve_door_close(struct serve_door *door);

/*
 * host.c: is a request meant for us? `host` is what its header says (NULL: nothing). A page of somebody else's, whose name has been made to
 * mean our address, sends its own name: numbers, "localhost" and the names in `names` (separated by commas; NULL: none) are ours.
 */
bool serve_host_is_ours(const char *host, const char *names);

/* snapshot.c: what the daemon has said last, as it is sent. */
struct serve_snapshot;
struct MHD_Response;

enum serve_form { SERVE_STATE, SERVE_OPENMETRICS, SERVE_PLAIN, SERVE_FORMS };

struct serve_answer {
	struct MHD_Response *response; /* the snapshot's; whoever queues it shares it */
	uint64_t number;	       /* not 0; a later answer has a greater one */
};

/* `socket`, `program`: borrowed. `timeout_ms`: of all that a daemon is asked for one answer. NULL: memory is short. */
struct serve_snapshot *serve_snapshot_new(const char *socket, const char *program, unsigned timeout_ms);
void serve_snapshot_free(struct serve_snapshot *snapshot); /* takes NULL */
/*
 * Asks the daemon if its last answer is half a second old, however many want to know. 200 or 503, the status that goes with *ret_answer;
 * 500: memory is short, and there is none.
 */
unsigned serve_snapshot_get(struct serve_snapshot *snapshot, enum serve_form form, struct serve_answer *ret_answer);

/* http.c: the server. */
struct serve_http;

struct serve_http_config {
	const struct serve_door *door;
	const char *names; /* see serve_host_is_ours() */
	struct serve_snapshot *snapshot;
};

/* NULL: errno says why. */
struct serve_http *serve_http_new(const struct serve_http_config *config);
void serve_http_free(struct serve_http *http); /* takes NULL */
int serve_http_fd(const struct serve_http *http); /* to be polled for input */
/* How long to wait for it at most. */
unsigned serve_http_timeout_ms(const struct serve_http *http);
void serve_http_work(struct serve_http *http);

/* responses.c: what all of them have. Takes `bytes` over, or, `lent`, borrows them for good. NULL: memory is short. */
struct MHD_Response *serve_response_new(char *bytes, size_t count, bool lent, const char *type);

/* sandbox.c: gives away what is not needed from here on. False: this build keeps all, for a sanitizer's sake. */
bool serve_sandbox_enter(void);

/* page.c is made of page/ (scripts/embed): the files of the page. */
struct serve_file {
	const char *path, *type;
	const char *bytes;
	size_t count;
};
extern const struct serve_file serve_files[];
extern const size_t serve_file_count;

#endif
