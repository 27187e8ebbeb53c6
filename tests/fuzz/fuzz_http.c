/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * vireoctl serve's side of HTTP: up to 100 connections, on which anything may be said in pieces of any size, and which are read, or not, and
 * closed at any time; at a socket of this machine's, and at one where the name in a request has to be ours. What comes back begins with a
 * status that we give; who stays, and how many answers are kept for who reads, keeps to the limits; and what is taken for a name of ours is one.
 */
#include "apps/vireoctl/serve/http.c"
#include "apps/vireoctl/serve/readers.c"
#include "fuzz.h"
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEOPLE	    100u /* more than READERS_MAX */
#define STEPS_MAX   300u
#define TURNS_MAX   8u
#define NAMES	    "box,switch.example"
#define ANSWER_BYTES_MAX (1u << 20)

static const char page[] = "<!doctype html>";
const struct serve_file serve_files[] = {{"/", "text/html", page, sizeof(page) - 1}};
const size_t serve_file_count = ARRAY_SIZE(serve_files);

/* ---- the daemon's answers ---- */

struct serve_snapshot {
	struct serve_answer answer[SERVE_FORMS];
	uint64_t number;
	unsigned alive; /* responses that somebody still has */
	uint8_t how;
};

static struct serve_snapshot snapshot;

static void answer_freed(void *opaque)
{
	snapshot.alive--;
}

static ssize_t answer_read(void *opaque, uint64_t at, char *bytes, size_t max)
{
	memset(bytes, 'x', max);
	return (ssize_t)max;
}

static void snapshot_forget(void)
{
	for (unsigned i = 0; i < SERVE_FORMS; i++) {
		if (snapshot.answer[i].response)
			MHD_destroy_response(snapshot.answer[i].response);
		snapshot.answer[i].response = NULL;
	}
}

unsigned serve_snapshot_get(struct serve_snapshot *s, enum serve_form form, struct serve_answer *ret_answer)
{
	uint64_t bytes = s->how & 4 ? ANSWER_BYTES_MAX : s->how & 0xf8;

	if ((s->how & 3) == 3)
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	if (!s->answer[form].response) {
		s->answer[form] = (struct serve_answer){MHD_create_response_from_callback(bytes, 4096, answer_read, NULL, answer_freed), ++s->number};
		if (!s->answer[form].response)
			abort();
		s->alive++;
	}
	*ret_answer = s->answer[form];
	return s->how & 1 ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
}

/* ---- the servers ---- */

static struct house {
	struct serve_door door;
	struct serve_http *http;
	struct sockaddr_un address;
	socklen_t address_bytes;
} houses[2]; /* the first is local */

static void house_open(struct house *house, bool local)
{
	struct serve_http_config config = {&house->door, NAMES, &snapshot};

	house->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	house->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
					   (size_t)snprintf(house->address.sun_path + 1, 64, "fuzz-http-%d-%d", (int)getpid(), local));
	house->door.local = local;
	house->door.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(house->door.fd, (struct sockaddr *)&house->address, house->address_bytes) || listen(house->door.fd, 128))
		abort();
	house->http = serve_http_new(&config);
	if (!house->http)
		abort();
}

static void look(const struct house *house)
{
	const struct readers *readers = &house->http->readers;
	const struct reader *reader;
	unsigned count = 0;

	TAILQ_FOREACH (reader, &readers->staying, link)
		count++;
	assert(count == readers->count && count <= READERS_MAX);
	assert(serve_http_timeout_ms(house->http) <= LOOK_MS || !count);
}

static void work(const struct house *house)
{
	for (unsigned i = 0; i < TURNS_MAX; i++)
		serve_http_work(house->http);
	look(house);
}

/* ---- who comes ---- */

static struct person {
	int fd; /* -1: not there */
	char said[12]; /* what has come back begins so */
	unsigned said_bytes;
} people[PEOPLE];

static void person_come(struct person *p, const struct house *house)
{
	*p = (struct person){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
	if (p->fd >= 0 && connect(p->fd, (const struct sockaddr *)&house->address, house->address_bytes)) {
		close(p->fd);
		p->fd = -1;
	}
}

static void person_go(struct person *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void person_say(struct person *p, const char *what, size_t bytes)
{
	if (p->fd >= 0 && bytes)
		(void)!send(p->fd, what, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* "HTTP/1.1 200" or another that we, or the server below us, give. */
static void status_look(const struct person *p)
{
	static const int known[] = {100, 200, 400, 403, 404, 405, 408, 411, 413, 414, 417, 431, 500, 501, 503, 505};
	int status = atoi(p->said + 9);
	bool found = false;

	assert(!memcmp(p->said, "HTTP/1.", 7));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		found |= status == known[i];
	assert(found);
}

static void person_read(struct person *p, size_t max)
{
	static char bytes[65536];
	ssize_t n = p->fd < 0 ? 0 : recv(p->fd, bytes, max < sizeof(bytes) ? max : sizeof(bytes), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n && p->said_bytes < sizeof(p->said); i++) {
		p->said[p->said_bytes++] = bytes[i];
		if (p->said_bytes == sizeof(p->said))
			status_look(p);
	}
}

/* ---- what they say ---- */

static void request_make(struct fuzz_input *in, char *text, size_t room)
{
	static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", ""};
	static const char *const paths[] = {"/", "/metrics", "/state.json", "/page.js", "//", "/metrics?x=%00", "/%2e", "*"};
	static const char *const hosts[] = {"127.0.0.1:9871", "[::1]", "localhost", "box", "evil.example", "127.0.0.1.evil.example", "[::1", ""};
	static const char *const accepts[] = {"", "Accept: text/plain\r\n", "Accept: application/openmetrics-text\r\n", "Transfer-Encoding: chunked\r\n",
					      "Content-Length: 5\r\n", "Connection: close\r\n", "Expect: 100-continue\r\n", "X: \x01\xff\r\n"};
	uint8_t a = fuzz_u8(in), b = fuzz_u8(in);

	snprintf(text, room, "%s %s HTTP/1.%u\r\n%s%s%s%s\r\n", methods[a & 7], paths[a >> 3 & 7], a >> 6 & 1, b & 8 ? "" : "Host: ",
		 b & 8 ? "" : hosts[b & 7], b & 8 ? "" : "\r\n", accepts[b >> 4 & 7]);
}

static void step(struct fuzz_input *in, const struct house *house)
{
	uint8_t what = fuzz_u8(in), how = fuzz_u8(in);
	struct person *p = &people[how % PEOPLE];
	char text[512];
	size_t bytes;

	switch (what % 10) {
	case 0:
		person_go(p);
		person_come(p, house);
		break;
	case 1: /* many */
		for (unsigned i = 0; i < PEOPLE; i++)
			if (people[i].fd < 0)
				person_come(&people[i], house);
		break;
	case 2:
		person_go(p);
		break;
	case 3:
		bytes = in->left < what / 10u * 8 ? in->left : what / 10u * 8;
		fuzz_take(in, text, bytes);
		person_say(p, text, bytes);
		break;
	case 4:
		snapshot_forget();
		snapshot.how = how;
		break;
	case 5:
		person_read(p, what & 16 ? 65536 : 100);
		break;
	case 6:
		if (p->fd >= 0)
			shutdown(p->fd, what & 16 ? SHUT_WR : SHUT_RDWR);
		break;
	case 7:
		work(house);
		break;
	default:
		request_make(in, text, sizeof(text));
		if (p->fd < 0)
			person_come(p, house);
		bytes = strlen(text);
		if (what & 64) {
			person_say(p, text, bytes / 2);
			work(house);
			person_say(p, text + bytes / 2, bytes - bytes / 2);
		} else {
			person_say(p, text, bytes);
		}
		if (what & 128)
			work(house);
	}
}

/* Afterwards nobody is there, and no answer is kept. */
static void all_go(const struct house *house)
{
	for (unsigned i = 0; i < PEOPLE; i++) {
		person_read(&people[i], 65536);
		person_go(&people[i]);
	}
	for (unsigned i = 0, quiet = 0; i < 1000 && quiet < 2; i++) { /* who has not been let in yet comes now, and is gone */
		work(house);
		quiet = house->http->readers.count ? 0 : quiet + 1;
	}
	assert(!house->http->readers.count);
	snapshot_forget();
	assert(!snapshot.alive);
}

/* ---- names ---- */

static bool name_is_fine(const char *name, size_t bytes)
{
	static const char *const fine[] = {"localhost", "box", "switch.example"};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (bytes == strlen(fine[i]) && !strncasecmp(name, fine[i], bytes))
			return true;
	return strspn(name, "0123456789abcdefABCDEF:.[]") >= bytes && memchr(name, bytes && memchr(name, ':', bytes) ? ':' : '.', bytes);
}

/* Of what a browser may have been led to: what stands before the port is a number or a name of ours. */
static void name_try(struct fuzz_input *in)
{
	char host[512];
	size_t bytes = in->left < sizeof(host) - 1 ? in->left : sizeof(host) - 1, name;

	fuzz_take(in, host, bytes);
	host[bytes] = '\0';
	if (!serve_host_is_ours(host, NAMES))
		return;
	name = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	assert(name_is_fine(host, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_u8(&in);
	struct house *house = &houses[how & 1];

	if (how & 2 && how & 4) {
		name_try(&in);
		return 0;
	}
	if (!house->http) {
		for (unsigned i = 0; i < PEOPLE; i++)
			people[i].fd = -1;
		house_open(house, !(how & 1));
	}
	snapshot.how = how & ~7u;
	for (unsigned n = 0; in.left && n < STEPS_MAX; n++)
		step(&in, house);
	all_go(house);
	return 0;
}
