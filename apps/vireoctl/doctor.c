/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor.h"
#include "base/util.h"
#include "field.h"
#include "show.h"
#include <string.h>

static doctor_check_fn *const checks[] = {
	doctor_failed_ports, doctor_sockets, doctor_shared_memory, doctor_silent_guests,
	doctor_mtu, doctor_long_frames, doctor_modules, doctor_cpus,
};

static void finding_add(struct doctor *doctor, const char *check, const json_t *port, bool hint, json_t *what, json_t *fix)
{
	json_t *name = port ? json_copy(json_object_get(port, "name")) : json_null();

	json_array_append_new(doctor->findings, json_pack("{s:s, s:o, s:b, s:o, s:o}", "check", check, "port", name, "hint", hint, "what", what,
				   "fix", fix));
}

void doctor_find(struct doctor *doctor, const char *check, const json_t *port, json_t *what, json_t *fix)
{
	finding_add(doctor, check, port, false, what, fix);
}

void doctor_hint(struct doctor *doctor, const char *check, const json_t *port, json_t *what, json_t *fix)
{
	finding_add(doctor, check, port, true, what, fix);
}

const json_t *doctor_port(const struct doctor *doctor, size_t index)
{
	return json_array_get(json_object_get(doctor->stats, "ports"), index);
}

bool doctor_port_is(const json_t *port, const char *key, const char *text)
{
	return !strcmp(text_of(port, key), text);
}

json_t *doctor_findings(const char *root, const json_t *stats, long daemon)
{
	struct doctor doctor = {.root = root ? root : "", .stats = stats, .daemon = daemon, .findings = json_array()};

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&doctor);
	return json_pack("{s:o}", "findings", doctor.findings);
}

bool doctor_healthy(const json_t *findings)
{
	const json_t *list = json_object_get(findings, "findings"), *finding;

	for (size_t i = 0; (finding = json_array_get(list, i)); i++)
		if (!json_is_true(json_object_get(finding, "hint")))
			return false;
	return true;
}

void show_doctor(struct show *show)
{
	const json_t *findings = json_object_get(show->result, "findings"), *finding;

	for (size_t i = 0; (finding = json_array_get(findings, i)); i++) {
		if (json_is_string(json_object_get(finding, "port")))
			fprintf(show->out, "port %s: ", text_of(finding, "port"));
		fprintf(show->out, "%s: %s\n", text_of(finding, "what"), text_of(finding, "fix"));
	}
}
