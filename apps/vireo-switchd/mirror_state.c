/* SPDX-License-Identifier: BSD-3-Clause */
#include "mirror_state.h"
#include "base/fd.h"
#include "daemon/handover.h"
#include "mirrors.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- to tell ---- */

/* The next one that copies. */
static struct sw_mirror *mirror_next(const struct ports *ports, struct sw_mirror *mirror, struct sw_mirror_status *ret_status)
{
	while ((mirror = sw_mirror_next(ports->sw, mirror))) {
		sw_mirror_status(mirror, ret_status);
		if (!ret_status->err)
			break;
	}
	return mirror;
}

/* As mirror_program_parse() takes it. */
static json_t *program_json(const struct packet_filter_step *steps, unsigned count)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	json_t *json = NULL;

	if (!out)
		return NULL;
	fprintf(out, "%u", count);
	for (unsigned i = 0; i < count; i++)
		fprintf(out, ",%u %u %u %u", steps[i].code, steps[i].jt, steps[i].jf, steps[i].k);
	if (!fclose(out))
		json = json_string(text);
	free(text);
	return json;
}

static json_t *one_json(const struct sw_mirror *mirror, const struct sw_mirror_status *status)
{
	const struct packet_filter_step *steps;
	struct sw_mirror_past past;
	unsigned count;
	json_t *json;
	int fd;

	sw_mirror_tell(mirror, &past, &fd, &steps, &count);
	json = json_pack("{s:I, s:s, s:s, s:b, s:s*, s:I, s:I, s:I, s:I, s:I}", "id", (json_int_t)past.id, "port", status->source, "to",
			 status->where, "fd", fd >= 0, "filter", status->expression, "snaplen", (json_int_t)status->snaplen, "frames",
			 (json_int_t)past.frames, "bytes", (json_int_t)past.bytes, "lost", (json_int_t)past.lost, "rest",
			 (json_int_t)past.rest_bytes);
	if (json && count && json_object_set_new(json, "program", program_json(steps, count))) {
		json_decref(json);
		json = NULL;
	}
	return json;
}

json_t *mirror_state_json(const struct ports *ports)
{
	struct sw_mirror_status status;
	json_t *list = json_array();

	for (struct sw_mirror *mirror = NULL; list && (mirror = mirror_next(ports, mirror, &status));) {
		if (json_array_append_new(list, one_json(mirror, &status))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

int mirror_state_give(const struct ports *ports, struct handover *handover)
{
	struct sw_mirror_status status;
	int fds[SW_MIRRORS_MAX], err;
	unsigned fd_count = 0;
	char *rest = NULL;
	size_t bytes;
	FILE *out = open_memstream(&rest, &bytes);

	if (!out)
		return -ENOMEM;
	for (struct sw_mirror *mirror = NULL; (mirror = mirror_next(ports, mirror, &status));) {
		const struct packet_filter_step *steps;
		struct sw_mirror_past past;
		unsigned count;
		int fd;

		sw_mirror_tell(mirror, &past, &fd, &steps, &count);
		if (fd < 0)
			continue;
		fds[fd_count++] = fd;
		if (past.rest_bytes)
			fwrite(past.rest, past.rest_bytes, 1, out);
	}
	err = fclose(out) ? -ENOMEM : 0;
	if (!err && fd_count)
		err = handover_give(handover, HANDOVER_PART, rest, bytes, fds, fd_count);
	free(rest);
	return err;
}

/* ---- to be told ---- */

bool mirror_state_has_parcel(const json_t *mirrors)
{
	for (size_t i = 0; i < json_array_size(mirrors); i++)
		if (json_is_true(json_object_get(json_array_get(mirrors, i), "fd")))
			return true;
	return false;
}

static bool count_take(const json_t *mirror, const char *name, uint64_t max, uint64_t *ret)
{
	const json_t *json = json_object_get(mirror, name);
	json_int_t n = json_integer_value(json);

	*ret = (uint64_t)n;
	return json_is_integer(json) && n >= 0 && *ret <= max;
}

static bool numbers_take(const json_t *mirror, struct sw_mirror_config *config, struct sw_mirror_past *past)
{
	uint64_t id, snaplen, rest;
	bool good = count_take(mirror, "id", INT32_MAX, &id) && count_take(mirror, "snaplen", SW_MIRROR_SNAPLEN, &snaplen) &&
		    count_take(mirror, "rest", SW_MIRROR_REST_MAX, &rest) && count_take(mirror, "frames", INT64_MAX, &past->frames) &&
		    count_take(mirror, "bytes", INT64_MAX, &past->bytes) && count_take(mirror, "lost", INT64_MAX, &past->lost);

	if (!good || snaplen < MIRROR_SNAPLEN_MIN)
		return false;
	past->id = (unsigned)id;
	past->rest_bytes = rest;
	config->snaplen = (uint32_t)snaplen;
	return true;
}

static const char *text_of(const json_t *mirror, const char *name)
{
	const char *text = json_string_value(json_object_get(mirror, name));

	return text && strnlen(text, MIRROR_TEXT_MAX + 1) <= MIRROR_TEXT_MAX ? text : NULL;
}

/* NULL, or what is wrong with it. */
static const char *texts_take(const json_t *mirror, const struct ports *ports, struct sw_mirror_config *config)
{
	const char *source = text_of(mirror, "port");
	const struct port *port = source ? ports_find(ports, source) : NULL, *to;

	config->where = text_of(mirror, "to");
	config->expression = text_of(mirror, "filter");
	if (!port || !config->where)
		return "of a port that there is not";
	config->source = port->sw;
	if (json_is_true(json_object_get(mirror, "fd")))
		return NULL;
	to = ports_find(ports, config->where);
	if (!to)
		return "to a port that there is not";
	config->to = to->sw;
	return NULL;
}

/* What is left of the parcel. */
struct parcel_rest {
	const uint8_t *bytes;
	size_t count;
	int *fds;
	unsigned fd_count;
};

static const char *fd_take_next(const json_t *mirror, struct sw_mirror_config *config, struct sw_mirror_past *past, struct parcel_rest *parcel)
{
	if (!json_is_true(json_object_get(mirror, "fd")))
		return past->rest_bytes ? "that says what cannot be" : NULL;
	if (!parcel->fd_count || past->rest_bytes > parcel->count)
		return "whose descriptor or bytes are missing";
	if (!mirror_fd_usable(*parcel->fds))
		return "whose descriptor is of no file, pipe or socket that can be written to";
	config->fd = *parcel->fds;
	past->rest = parcel->bytes;
	parcel->bytes += past->rest_bytes;
	parcel->count -= past->rest_bytes;
	return NULL;
}

static const char *add(const struct ports *ports, struct sw_mirror_config *config, const char *program, struct parcel_rest *parcel)
{
	struct packet_filter_step *steps = NULL;
	struct sw_mirror *mirror;
	int err = program ? mirror_program_parse(program, &steps, &config->filter_steps) : 0;

	config->filter = steps;
	if (!err)
		err = sw_mirror_add(ports->sw, config, &mirror);
	free(steps);
	if (err)
		return err == -EINVAL ? "that says what cannot be" : strerror(-err);
	if (!config->to) {
		*parcel->fds++ = -1;
		parcel->fd_count--;
	}
	return NULL;
}

static const char *one_take(const json_t *mirror, const struct ports *ports, struct parcel_rest *parcel)
{
	const json_t *program = json_object_get(mirror, "program");
	struct sw_mirror_past past = {.id = 0};
	struct sw_mirror_config config = {.fd = -1, .program = MIRROR_PROGRAM, .past = &past};
	const char *problem = numbers_take(mirror, &config, &past) && (!program || json_is_string(program)) ? NULL : "that says what cannot be";

	if (!problem)
		problem = texts_take(mirror, ports, &config);
	if (!problem)
		problem = fd_take_next(mirror, &config, &past, parcel);
	return problem ? problem : add(ports, &config, json_string_value(program), parcel);
}

int mirror_state_take(const json_t *mirrors, const struct ports *ports, const uint8_t *rest, size_t rest_bytes, int *fds, unsigned fd_count,
		      char why[SPEC_WHY_BYTES])
{
	struct parcel_rest parcel = {rest, rest_bytes, fds, fd_count};
	const char *problem = NULL;

	for (size_t i = 0; !problem && i < json_array_size(mirrors); i++)
		problem = one_take(json_array_get(mirrors, i), ports, &parcel);
	if (!problem && (parcel.fd_count || parcel.count))
		problem = "with more descriptors or bytes than it has";
	if (problem)
		snprintf(why, SPEC_WHY_BYTES, "a mirror %s", problem);
	return problem ? -EINVAL : 0;
}
