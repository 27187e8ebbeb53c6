/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is asked for, and who may ask. Nothing of a request is kept or repeated, and nothing can be changed by one: there is GET and HEAD.
 * What one connection may take: 16 KiB for its head (a longer one: 431), ten seconds of silence, a minute in all (readers.h).
 */
#include "serve/serve.h"
#include "base/util.h"
#include "serve/readers.h"
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES 16384u
#define SILENCE_S  10u
#define LOOK_MS	   1000u /* for those whose time is over */

enum word { WORD_NOT_FOUND, WORD_METHOD, WORD_HOST, WORDS };

static const struct {
	unsigned status;
	const char *text;
} words[WORDS] = {
	[WORD_NOT_FOUND] = {MHD_HTTP_NOT_FOUND, "There is / (the page), /metrics and /state.json.\n"},
	[WORD_METHOD] = {MHD_HTTP_METHOD_NOT_ALLOWED, "Nothing can be changed here: there is GET and HEAD.\n"},
	[WORD_HOST] = {MHD_HTTP_FORBIDDEN,
		       "The name in the request is not this machine's: use its address, or start vireoctl serve with --hosts=NAME.\n"},
};

struct serve_http {
	struct serve_http_config config;
	struct MHD_Daemon *server;
	struct readers readers;
	struct MHD_Response *word[WORDS];
	struct MHD_Response *file[]; /* of serve_files */
};

static enum MHD_Result say(const struct serve_http *http, struct MHD_Connection *connection, enum word word)
{
	return MHD_queue_response(connection, words[word].status, http->word[word]);
}

/* Who asks for neither gets what is in its name. */
static enum serve_form metrics_form(struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);

	if (accept && strstr(accept, "text/plain") && !strstr(accept, "application/openmetrics-text"))
		return SERVE_PLAIN;
	return SERVE_OPENMETRICS;
}

static enum MHD_Result answer_snapshot(struct serve_http *http, struct MHD_Connection *connection, enum serve_form form)
{
	struct serve_answer answer;
	unsigned status = serve_snapshot_get(http->config.snapshot, form, &answer);

	if (status == MHD_HTTP_INTERNAL_SERVER_ERROR)
		return MHD_NO; /* without memory the connection is closed */
	readers_given(&http->readers, connection, answer.number);
	return MHD_queue_response(connection, status, answer.response);
}

static enum MHD_Result answer_path(struct serve_http *http, struct MHD_Connection *connection, const char *path)
{
	if (!strcmp(path, "/metrics"))
		return answer_snapshot(http, connection, metrics_form(connection));
	if (!strcmp(path, "/state.json"))
		return answer_snapshot(http, connection, SERVE_STATE);
	for (size_t i = 0; i < serve_file_count; i++)
		if (!strcmp(path, serve_files[i].path))
			return MHD_queue_response(connection, MHD_HTTP_OK, http->file[i]);
	return say(http, connection, WORD_NOT_FOUND);
}

static enum MHD_Result answer(void *opaque, struct MHD_Connection *connection, const char *path, const char *method, const char *version,
			      const char *upload, size_t *upload_bytes, void **request)
{
	struct serve_http *http = opaque;
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);

	if (!http->config.door->local && !serve_host_is_ours(host, http->config.names))
		return say(http, connection, WORD_HOST);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return say(http, connection, WORD_METHOD);
	return answer_path(http, connection, path);
}

/* ---- from the outside ---- */

/* Our own files and words: borrowed for good, and never written to. */
static struct MHD_Response *response_of(const char *bytes, size_t count, const char *type)
{
	return serve_response_new((char *)(uintptr_t)bytes, count, true, type);
}

static bool responses_make(struct serve_http *http)
{
	bool whole = true;

	for (size_t i = 0; i < serve_file_count; i++)
		whole &= (http->file[i] = response_of(serve_files[i].bytes, serve_files[i].count, serve_files[i].type)) != NULL;
	for (size_t i = 0; i < WORDS; i++)
		whole &= (http->word[i] = response_of(words[i].text, strlen(words[i].text), "text/plain; charset=utf-8")) != NULL;
	return whole && MHD_add_response_header(http->word[WORD_METHOD], MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES;
}

struct serve_http *serve_http_new(const struct serve_http_config *config)
{
	struct serve_http *http = calloc(1, sizeof(*http) + serve_file_count * sizeof(http->file[0]));

	if (!http)
		return NULL;
	http->config = *config;
	readers_init(&http->readers);
	if (!responses_make(http)) {
		serve_http_free(http);
		errno = ENOMEM;
		return NULL;
	}
	http->server = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, answer, http, MHD_OPTION_LISTEN_SOCKET, config->door->fd,
					MHD_OPTION_CONNECTION_LIMIT, READERS_LIMIT, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES,
					MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
					MHD_OPTION_NOTIFY_CONNECTION, readers_notify, &http->readers,
					MHD_OPTION_NOTIFY_COMPLETED, readers_completed, &http->readers, MHD_OPTION_END);
	if (!http->server) {
		serve_http_free(http);
		return NULL;
	}
	return http;
}

void serve_http_free(struct serve_http *http)
{
	if (!http)
		return;
	if (http->server)
		MHD_stop_daemon(http->server);
	for (size_t i = 0; i < serve_file_count; i++)
		if (http->file[i])
			MHD_destroy_response(http->file[i]);
	for (size_t i = 0; i < WORDS; i++)
		if (http->word[i])
			MHD_destroy_response(http->word[i]);
	free(http);
}

int serve_http_fd(const struct serve_http *http)
{
	return MHD_get_daemon_info(http->server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

unsigned serve_http_timeout_ms(const struct serve_http *http)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(http->server, &ms) != MHD_YES)
		return http->readers.count ? LOOK_MS : UINT32_MAX;
	return ms < LOOK_MS ? (unsigned)ms : LOOK_MS;
}

void serve_http_work(struct serve_http *http)
{
	MHD_run(http->server);
	readers_look(&http->readers);
}
