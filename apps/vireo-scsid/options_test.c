/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/util.h"
#include "options.h"
#include "scsi_spec.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16u

static enum settings_verdict parse(struct scsid_options *o, const char *const *words, char **ret_said)
{
	char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t)"vireo-scsid"};
	enum settings_verdict verdict;
	size_t bytes;
	int argc = 1;
	FILE *out = open_memstream(ret_said, &bytes);

	while (words[argc - 1] && argc <= (int)WORDS_MAX) {
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
		argc++;
	}
	verdict = scsid_options_parse(argc, argv, out, out, o);
	fclose(out);
	return verdict;
}

static void options_end(struct scsid_options *o, char *said)
{
	store_options_free(&o->store);
	scsid_options_free(o);
	free(said);
}

static void disks_exports_and_luns_are_kept_in_order(void **state)
{
	static const char *const words[] = {"--disk", "a=mem:1M", "--export", "vhost-user:/x/e.sock,queues=3,initiator=me", "--lun", "0:0=a",
					    "--lun", "e/255:16383=a,read-only=on,serial=S", "--state", "/s", NULL};
	struct scsid_options o;
	char *said;

	assert_int_equal(parse(&o, words, &said), SETTINGS_RUN);
	assert_int_equal(o.store.disk_count, 1);
	assert_int_equal(o.store.export_count, 1);
	assert_string_equal(scsi_spec_of(o.store.exports[0])->initiator, "me");
	assert_int_equal(scsi_spec_queues(o.store.exports[0]), 3);
	assert_int_equal(o.lun_count, 2);
	assert_string_equal(o.luns[0].at.export, "");
	assert_string_equal(o.luns[1].at.export, "e");
	assert_int_equal(o.luns[1].at.target, 255);
	assert_int_equal(o.luns[1].at.number, 16383);
	assert_true(o.luns[1].use.read_only);
	assert_string_equal(o.luns[1].serial, "S");
	assert_string_equal(o.state, "/s");
	options_end(&o, said);
}

static void the_conventions_are_one_lun_at_one_socket(void **state)
{
	static const char *const words[] = {"--socket-path", "/x/s", "--blk-file", "/x/f", "--read-only", NULL};
	struct scsid_options o;
	char *said;

	assert_int_equal(parse(&o, words, &said), SETTINGS_RUN);
	assert_string_equal(o.store.disks[0], "disk=file:/x/f,read-only=on");
	assert_string_equal(o.store.exports[0]->at.address, "/x/s");
	assert_int_equal(o.lun_count, 1);
	assert_string_equal(o.luns[0].disk, "disk");
	assert_true(o.luns[0].use.read_only);
	options_end(&o, said);
}

static void a_lun_that_makes_no_sense_is_told(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"", "expected [EXPORT/]TARGET:LUN=DISK"},
		{"0:0", "expected [EXPORT/]TARGET:LUN=DISK"},
		{"0:0=", "expected [EXPORT/]TARGET:LUN=DISK"},
		{"0=a", "a target from 0 to 255"},
		{":0=a", "a target from 0 to 255"},
		{"0:=a", "a target from 0 to 255"},
		{"256:0=a", "a target from 0 to 255"},
		{"0:16384=a", "a LUN from 0 to 16383"},
		{"-1:0=a", "a target from 0 to 255"},
		{"00000000000:0=a", "a target from 0 to 255"},
		{"/0:0=a", "the name of an export"},
		{"-e/0:0=a", "the name of an export"},
		{"e/e/0:0=a", "expected [EXPORT/]TARGET:LUN"},
		{"0:0=a b", "expected a name"},
		{"0:0=a,x=1", "unknown key 'x': expected one of: read-only writers serial"},
		{"0:0=a,read-only", "expected on or off"},
		{"0:0=a,read-only=yes", "expected on or off"},
		{"0:0=a,writers=2", "expected one or many"},
		{"0:0=a,serial=", "1 to 32 letters"},
		{"0:0=a,serial=012345678901234567890123456789012", "1 to 32 letters"},
		{"0:0=a,serial=a,serial=b", "is given twice"},
		{"0:0=a,writers=many,read-only=on", "which writes nothing"},
		{"0:0=a,\x01", "no control characters"},
	};
	char why[SPEC_WHY_BYTES];
	struct lun_spec spec;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		*why = '\0';
		assert_int_equal(lun_spec_parse(bad[i].text, &spec, why), -EINVAL);
		if (!strstr(why, bad[i].says))
			fail_msg("%s: %s", bad[i].text, why);
	}
}

static void a_cuse_node_is_a_target_with_a_name(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"cuse:n", "wwpn: expected with cuse"},
		{"cuse:n,wwpn=", "naa. and 16 digits"},
		{"cuse:n,wwpn=naa.5001405bd453b1d", "naa. and 16 digits"},
		{"cuse:n,wwpn=naa.5001405bd453b1d77", "naa. and 16 digits"},
		{"cuse:n,wwpn=naa.5001405BD453B1D7", "naa. and 16 digits"},
		{"cuse:n,wwpn=eui.5001405bd453b1d7", "naa. and 16 digits"},
		{"cuse:n,wwpn=naa.5001405bd453b1dg", "naa. and 16 digits"},
		{"vhost-user:/x/s,wwpn=naa.5001405bd453b1d7", "unknown key 'wwpn'"},
		{"vduse:n", "expected vhost-user:PATH"},
	};
	char why[SPEC_WHY_BYTES];
	struct scsi_spec spec;

	assert_int_equal(spec_parse(&scsi_spec_kinds, "cuse:n,wwpn=naa.5001405bd453b1d7,initiator=me,queues=2,perm=0600",
				    &spec.export.at, why), 0);
	assert_string_equal(spec.wwpn, "naa.5001405bd453b1d7");
	assert_string_equal(spec.initiator, "me");
	assert_int_equal(spec.export.at.endpoint.perm, 0600);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		*why = '\0';
		assert_int_equal(spec_parse(&scsi_spec_kinds, bad[i].text, &spec.export.at, why), -EINVAL);
		if (!strstr(why, bad[i].says))
			fail_msg("%s: %s", bad[i].text, why);
	}
}

static void an_address_is_taken_once(void **state)
{
	static const char *const words[] = {"--disk", "a=mem:1M", "--lun", "0:0=a", "--lun", "0:0=a", NULL};
	struct scsid_options o;
	char *said;

	assert_int_equal(parse(&o, words, &said), SETTINGS_BAD);
	assert_non_null(strstr(said, "there is a LUN 0:0 already"));
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_exports_and_luns_are_kept_in_order),
		cmocka_unit_test(the_conventions_are_one_lun_at_one_socket),
		cmocka_unit_test(a_lun_that_makes_no_sense_is_told),
		cmocka_unit_test(a_cuse_node_is_a_target_with_a_name),
		cmocka_unit_test(an_address_is_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
