/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A disk as somebody writes it: any text, or one that is put together from the kinds and keys that there are, so that most of them are
 * understood. What is memory or nothing is opened then, with the layers that it asks for, and does what the input says by a clock of the input's:
 * each request is done once, and a queue that comes to an end has nothing left.
 */
#include "disk/kind.h"
#include "disk/layer.h"
#include "disk/limit.h"
#include "fuzz.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES 1024u
#define REQUESTS   64u
#define ROOM_BYTES 65536u
#define STEPS_MAX  512u
#define TURNS_MAX  10000u

static uint64_t clock_ns;
static struct disk_groups groups = DISK_GROUPS_INIT;

static uint64_t clock_read(void)
{
	return clock_ns;
}

/* ---- text ---- */

static void text_raw(struct fuzz_input *in, char *text, size_t bytes)
{
	size_t n = in->left < bytes - 1 ? in->left : bytes - 1;

	fuzz_take(in, text, n);
	text[n] = '\0';
}

/* A value that the key may take, more often than not. */
static void value_write(struct fuzz_input *in, const struct disk_key *key, char *text, size_t bytes)
{
	static const char *const values[] = {"0", "1", "2", "100", "4K", "1M", "a", "-1", "18446744073709551615", "off", ""};
	uint8_t which = fuzz_u8(in);

	if (key->type == DISK_KEY_CHOICE) {
		const char *choice = key->choices;

		for (uint8_t n = which % 8; n && strchr(choice, '|'); n--)
			choice = strchr(choice, '|') + 1;
		snprintf(text, bytes, "%.*s", (int)strcspn(choice, "|"), choice);
	} else if (which & 1) {
		snprintf(text, bytes, "%s", values[which / 2 % ARRAY_SIZE(values)]);
	} else {
		snprintf(text, bytes, "%u", which & 2 ? fuzz_u32(in) : fuzz_u8(in));
	}
}

static const struct disk_key *key_any(struct fuzz_input *in, const struct disk_kind *kind)
{
	unsigned which = fuzz_u8(in) % (DISK_LAYERS + 1);
	const struct disk_key *keys = kind->keys;
	unsigned count = kind->key_count;

	if (which < DISK_LAYERS) {
		keys = disk_layer_kinds[which]->keys;
		count = disk_layer_kinds[which]->key_count;
	}
	return count ? &keys[fuzz_u8(in) % count] : NULL;
}

static void spec_write(struct fuzz_input *in, char *text)
{
	static const char *const addresses[] = {"64K", "1M", "16M", "512"};
	const struct disk_kind *kind = disk_kinds[fuzz_u8(in) % disk_kind_count];
	uint8_t keys = fuzz_u8(in) % 16;
	size_t n = (size_t)snprintf(text, TEXT_BYTES, "%s:%s", kind->name, addresses[fuzz_u8(in) % ARRAY_SIZE(addresses)]);

	while (keys--) {
		const struct disk_key *key = key_any(in, kind);
		char value[64];

		if (!key || n >= TEXT_BYTES - 128)
			continue;
		value_write(in, key, value, sizeof(value));
		n += (size_t)snprintf(text + n, TEXT_BYTES - n, ",%s=%s", key->name, value);
	}
}

static void why_check(int err, const char *why)
{
	assert(err == -EINVAL || err == -ENOMEM || err == -EEXIST);
	assert(why[0] && memchr(why, '\0', DISK_WHY_BYTES));
}

/* What has been understood is written so that it is understood the same; and what has not changes nothing. */
static void limits_try(const char *text, struct disk_limits *limits)
{
	const struct disk_limits before = *limits;
	struct disk_limits again = {0};
	char why[DISK_WHY_BYTES] = "", written[DISK_LIMITS_TEXT_BYTES];
	int err = disk_limits_parse(text, limits, why);

	if (err) {
		why_check(err, why);
		assert(!memcmp(limits, &before, sizeof(before)));
		return;
	}
	disk_limits_write(limits, written);
	err = *written ? disk_limits_parse(written, &again, why) : 0;
	assert(!err && !memcmp(limits, &again, sizeof(again)));
}

/* ---- what is asked of a disk ---- */

static struct {
	struct disk *disk;
	struct disk_queue *queue;
	unsigned under_way;
	bool taken[REQUESTS];
	struct disk_request requests[REQUESTS];
	struct iovec iov[REQUESTS];
	uint8_t room[ROOM_BYTES];
} t;

static void submit(struct fuzz_input *in)
{
	struct disk_request *burst[REQUESTS];
	unsigned count = 0, most = fuzz_u8(in) % 40 + 1;

	for (unsigned i = 0; i < REQUESTS && count < most; i++) {
		struct disk_request *r = &t.requests[i];
		uint8_t op = fuzz_u8(in), shape = fuzz_u8(in);

		if (t.taken[i])
			continue;
		*r = (struct disk_request){.op = op % (DISK_OPS + 1), .flags = op / 8 % 8, .result = 1};
		r->offset = shape & 1 ? fuzz_u32(in) : fuzz_u8(in) * UINT64_C(512);
		r->bytes = shape & 2 ? fuzz_u16(in) % (ROOM_BYTES + 1) : fuzz_u8(in) % 65 * UINT64_C(512);
		if (r->op == DISK_READ || r->op == DISK_WRITE) {
			t.iov[i] = (struct iovec){t.room, r->bytes};
			r->iov = &t.iov[i];
			r->iov_count = 1;
		}
		t.taken[i] = true;
		burst[count++] = r;
	}
	t.under_way += count;
	disk_queue_submit(t.queue, burst, count);
}

static unsigned reap(unsigned max)
{
	struct disk_request *done[REQUESTS];
	unsigned count = disk_queue_reap(t.queue, done, max);

	for (unsigned i = 0; i < count; i++) {
		size_t at = (size_t)(done[i] - t.requests);

		assert(at < REQUESTS && t.taken[at] && done[i]->result <= 0);
		t.taken[at] = false;
	}
	assert(count <= t.under_way);
	t.under_way -= count;
	assert(disk_queue_pending(t.queue) == t.under_way);
	return count;
}

/* The queue ends, by giving up what waits or by haste; nothing is left then, without the clock's help. */
static void drain(bool cancel)
{
	unsigned turns = 0;

	if (cancel)
		disk_queue_cancel(t.queue);
	else
		disk_queue_hurry(t.queue);
	while (t.under_way) {
		assert(turns++ < TURNS_MAX);
		reap(REQUESTS);
	}
}

static void queue_anew(bool cancel)
{
	drain(cancel);
	disk_queue_close(t.queue);
	if (disk_queue_open(t.disk, 8, &t.queue))
		abort();
}

static void limits_change(struct fuzz_input *in, struct disk_limits *limits)
{
	const struct disk_key *key = &disk_layer_kinds[DISK_LAYER_THROTTLE]->keys[fuzz_u8(in) % 12];
	char value[64], text[128];

	value_write(in, key, value, sizeof(value));
	snprintf(text, sizeof(text), "%s=%s", key->name, value);
	limits_try(text, limits);
	if (disk_limits_set(t.disk, limits) == 1)
		queue_anew(true);
}

static void disk_use(struct fuzz_input *in)
{
	struct disk_limits_info info;

	disk_limits_get(t.disk, &info);
	if (disk_queue_open(t.disk, 8, &t.queue))
		abort();
	for (unsigned n = 0; n < STEPS_MAX && in->left; n++) {
		uint8_t step = fuzz_u8(in);

		switch (step % 8) {
		case 0: clock_ns += fuzz_u32(in); break;
		case 1: clock_ns += UINT64_C(1) << step / 8; break;
		case 2: reap(step / 8 + 1); break;
		case 3: disk_queue_arm(t.queue, step & 8); break;
		case 4: limits_change(in, &info.limits); break;
		case 5: queue_anew(step & 8); break;
		default: submit(in); break;
		}
	}
	drain(true);
	disk_queue_close(t.queue);
	disk_close(t.disk);
	assert(!groups.first);
}

static bool is_opened_here(const char *text)
{
	return !strncmp(text, "mem:", 4) || !strncmp(text, "null:", 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_config config = {.groups = &groups, .now_ns = clock_read};
	struct fuzz_input in = {data, size};
	char text[TEXT_BYTES], why[DISK_WHY_BYTES] = "";
	struct disk_limits limits = {0};
	int err;

	clock_ns = 1000000;
	if (fuzz_u8(&in) % 4)
		spec_write(&in, text);
	else
		text_raw(&in, text, sizeof(text));
	err = disk_spec_check(text, why);
	if (err)
		why_check(err, why);
	limits_try(text, &limits);
	if (strchr(text, ','))
		limits_try(strchr(text, ',') + 1, &limits);
	if (err || !is_opened_here(text))
		return 0;
	err = disk_open(text, &config, &t.disk, why);
	if (err)
		why_check(err, why);
	else
		disk_use(&in);
	return 0;
}
