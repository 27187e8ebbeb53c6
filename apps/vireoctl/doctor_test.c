/* SPDX-License-Identifier: BSD-3-Clause */
/* Each thing that can be wrong, alone; what is near to it and healthy; and a switch of which there is nothing to say. */
#include "doctor.h"
#include "doctor_process.h"
#include "field.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OURS 100 /* the daemon's process */
#define ITS 200	 /* a front end's */

static char root[] = "/tmp/vireo-doctor-XXXXXX";
static char made[sizeof(root)];

static int begin(void **state)
{
	memcpy(made, root, sizeof(root));
	return mkdtemp(made) ? 0 : -1;
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	return remove(path);
}

static int end(void **state)
{
	return nftw(made, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* A file below the root, with its folders. */
static void put(const char *path, const char *text)
{
	char full[256];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", made, path);
	for (char *at = full + strlen(made) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		(void)mkdir(full, 0755);
		*at = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

/* Takes the answer over. What is wrong, a line each "CHECK PORT", with blanks between; the last one's `what` and `fix` beside it. */
static char found[256], what[512], fix[512];
static bool healthy;

static const char *look(json_t *stats)
{
	json_t *findings = doctor_findings(made, stats, OURS), *finding;
	size_t i, used = 0;

	assert_non_null(stats);
	assert_non_null(findings);
	found[0] = what[0] = fix[0] = '\0';
	json_array_foreach(json_object_get(findings, "findings"), i, finding) {
		used += (size_t)snprintf(found + used, sizeof(found) - used, "%s%s %s", i ? ", " : "", text_of(finding, "check"),
					 text_of(finding, "port"));
		snprintf(what, sizeof(what), "%s", text_of(finding, "what"));
		snprintf(fix, sizeof(fix), "%s", text_of(finding, "fix"));
	}
	healthy = doctor_healthy(findings);
	json_decref(findings);
	json_decref(stats);
	return found;
}

static json_t *stats_of(json_t *ports)
{
	return json_pack("{s:o, s:[]}", "ports", ports, "workers");
}

static const char *of(json_t *port)
{
	return look(stats_of(json_pack("[o]", port)));
}

/* ---- a healthy one ---- */

static json_t *guest(const char *name, int seconds, int kicks, int frames)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:n, s:n, s:{s:i}, s:{s:i}, s:[{s:s, s:b, s:i, s:i}, {s:s, s:b, s:i}]}", "name", name,
			 "type", "vhost-user", "address", "/nowhere/socket", "state", "connected", "peer_pid", ITS, "mtu", "vlan", "session", "connected_s",
			 seconds, "counters", "tx_mtu", 0, "queue_counters", "direction", "rx", "running", 1, "kicks", kicks, "frames", frames,
			 "direction", "tx", "running", 1, "too_long", 0);
}

static void a_healthy_switch_has_no_findings(void **state)
{
	json_t *uplink = json_pack("{s:s, s:s, s:s, s:s, s:i, s:n}", "name", "up", "type", "tap", "address", "tap0", "state", "up", "mtu", 1500,
				   "vlan");

	put("/proc/100/status", "Uid:\t0\t0\t0\t0\nCpus_allowed_list:\t0-3\n");
	put("/proc/200/task/201/status", "Cpus_allowed_list:\t0-3\n");
	put("/sys/devices/system/cpu/isolated", "\n");
	assert_string_equal(look(json_pack("{s:[o, o, o], s:[{s:i, s:i}, {s:i, s:n}]}", "ports", guest("a", 100, 5, 7),
					   guest("b", 0, 0, 0), uplink, "workers", "worker", 0, "cpu", 1, "worker", 1, "cpu")), "");
	assert_string_equal(look(json_object()), ""); /* of who has no such answer */
}

/* ---- what the answer tells ---- */

static json_t *plain(const char *name, const char *type, int mtu, json_t *vlan, bool isolated)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "name", name, "type", type, "address", name, "state", "up", "mtu",
			 mtu ? json_integer(mtu) : json_null(), "vlan", vlan, "isolated", isolated);
}

static json_t *vlan(int untagged, const char *tagged)
{
	return json_pack("{s:o, s:o}", "untagged", untagged ? json_integer(untagged) : json_null(), "tagged",
			 tagged ? json_pack("[s]", tagged) : json_array());
}

static const char *two(json_t *one, json_t *other)
{
	return look(stats_of(json_pack("[o, o]", one, other)));
}

static void mtus_that_differ_are_told_of_ports_that_speak(void **state)
{
	json_t *member = plain("b", "tap", 9000, json_null(), false);

	assert_string_equal(two(plain("a", "tap", 1500, json_null(), false), plain("b", "tap", 9000, json_null(), false)), "mtu a");
	assert_non_null(strstr(what, "its MTU is 1500, and that of port b is 9000"));
	assert_non_null(strstr(fix, "vireoctl port set b mtu=1500"));
	assert_false(healthy);
	assert_string_equal(two(plain("a", "tap", 1500, json_null(), true), plain("b", "tap", 9000, json_null(), true)), "");
	assert_string_equal(two(plain("a", "tap", 1500, json_null(), false), plain("b", "tap", 0, json_null(), false)), "");
	assert_string_equal(two(plain("a", "tap", 1500, json_null(), false), plain("b", "null", 9000, json_null(), false)), "");
	assert_string_equal(two(plain("a", "tap", 1500, vlan(7, NULL), false), plain("b", "tap", 9000, vlan(0, "5-9"), false)), "mtu a");
	assert_string_equal(two(plain("a", "tap", 1500, vlan(0, "9-12"), false), plain("b", "tap", 9000, vlan(3, "5-9"), false)), "mtu a");
	assert_string_equal(two(plain("a", "tap", 1500, vlan(7, NULL), false), plain("b", "tap", 9000, vlan(8, "10-20"), false)), "");
	assert_string_equal(two(plain("a", "tap", 1500, vlan(7, NULL), false), plain("b", "tap", 9000, json_null(), false)), "");
	json_object_set_new(member, "bond", json_string("pair"));
	assert_string_equal(two(plain("a", "tap", 1500, json_null(), false), member), "");
}

static void frames_that_were_too_long_are_told(void **state)
{
	json_t *port = guest("a", 5, 1, 1);

	json_object_set_new(json_object_get(port, "counters"), "tx_mtu", json_integer(4));
	json_object_set_new(json_array_get(json_object_get(port, "queue_counters"), 1), "too_long", json_integer(3));
	assert_string_equal(of(port), "mtu a");
	assert_non_null(strstr(what, "7 frames were longer"));
	assert_true(healthy); /* it may be over */
}

static void a_guest_that_never_kicks_is_told_after_a_while(void **state)
{
	json_t *aside = guest("a", 100, 0, 0);

	assert_string_equal(of(guest("a", 29, 0, 0)), "");
	assert_string_equal(of(guest("a", 30, 0, 0)), "guest a");
	assert_non_null(strstr(what, "is there for 30 s, and has never kicked"));
	assert_string_equal(of(guest("a", 100, 0, 1)), ""); /* it is looked at without */
	assert_string_equal(of(guest("a", 1, 15, 0)), "");
	assert_string_equal(of(guest("a", 1, 16, 0)), "guest a");
	assert_non_null(strstr(fix, "share=on"));
	json_object_set_new(json_array_get(json_object_get(aside, "queue_counters"), 0), "kicks", json_null());
	assert_string_equal(of(aside), "");
}

static void a_port_that_has_failed_is_told(void **state)
{
	json_t *port = plain("a", "af_packet", 0, json_null(), false);

	json_object_set_new(port, "state", json_string("failed"));
	assert_string_equal(of(port), "failed a");
	assert_non_null(strstr(fix, "vireoctl port remove a"));
}

/* ---- what the machine tells ---- */

#define MAPS_OURS "7f0000000000-7f0010000000 rw-s 00000000 00:01 77 /memfd:mem (deleted)\n" \
	"7f1000000000-7f1000010000 r--p 00000000 fd:00 9 /lib/x\n"

static void memory_that_is_private_is_told(void **state)
{
	put("/proc/100/maps", MAPS_OURS);
	put("/proc/200/maps", "7f2000000000-7f2010000000 rw-p 00000000 00:01 77 /memfd:mem (deleted)\n"
	    "7f3000000000-7f3000010000 r--p 00000000 fd:00 9 /lib/x\n");
	assert_string_equal(of(guest("a", 1, 0, 0)), "memory a");
	assert_non_null(strstr(what, "process 200 has mapped its memory for itself alone"));
	put("/proc/200/maps", "7f2000000000-7f2010000000 rw-p 00000000 00:01 77 /memfd:mem\n"
	    "7f3000000000-7f3010000000 rw-s 00000000 00:01 77 /memfd:mem\n");
	assert_string_equal(of(guest("a", 1, 0, 0)), "");
	put("/proc/200/maps", "7f2000000000-7f2010000000 rw-p 00000000 00:02 77 /memfd:other\nnonsense\n\n7f20-7f30 rw-p\n");
	assert_string_equal(of(guest("a", 1, 0, 0)), "");
}

static json_t *at_socket(const char *path, const char *of_state)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "name", "a", "type", "vhost-user", "address", path, "state", of_state);
}

static void socket_make(const char *path, mode_t mode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(path, mode), 0);
	close(fd);
}

/* Of nobody: whoever runs this test owns the socket. */
static void user_put(long pid, unsigned uid, unsigned gid, const char *groups, const char *capabilities)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	snprintf(text, sizeof(text), "Name:\tx\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nGroups:\t%s\nCapEff:\t%s\n", uid, uid, uid, uid, gid,
		 gid, gid, gid, groups, capabilities);
	put(path, text);
}

static void a_socket_that_a_client_may_not_write_to_is_told(void **state)
{
	char path[128], group[32];

	snprintf(path, sizeof(path), "%s/socket", made);
	snprintf(group, sizeof(group), "5 %u", getegid());
	assert_int_equal(chmod(made, 0755), 0);
	socket_make(path, 0660);
	user_put(OURS, 60000, 60000, "", "0");
	assert_string_equal(of(at_socket(path, "connecting")), "socket a");
	assert_non_null(strstr(what, "the daemon (user 60000) may not write to "));
	user_put(OURS, 60000, 60000, group, "0");
	assert_string_equal(of(at_socket(path, "connecting")), "");
	user_put(OURS, 60000, 60000, "", "2");
	assert_string_equal(of(at_socket(path, "connecting")), "");
	user_put(OURS, geteuid(), 60000, "", "0");
	assert_string_equal(of(at_socket(path, "connecting")), "");
	assert_int_equal(chmod(made, 0700), 0);
	user_put(OURS, 60000, 60000, "", "0");
	assert_string_equal(of(at_socket(path, "connecting")), "socket a");
	assert_non_null(strstr(what, "may not search "));
	assert_non_null(strstr(fix, "chmod g+x "));
}

static void who_is_to_connect_and_may_not_is_told(void **state)
{
	char path[128], words[256];

	snprintf(path, sizeof(path), "%s/socket", made);
	assert_int_equal(chmod(made, 0755), 0);
	user_put(OURS, geteuid(), getegid(), "", "0");
	assert_string_equal(of(at_socket(path, "listening")), "socket a");
	assert_non_null(strstr(what, "somebody has removed its socket"));
	socket_make(path, 0600);
	assert_string_equal(of(at_socket(path, "listening")), "");
	user_put(ITS, 60000, 60000, "", "0");
	snprintf(words, sizeof(words), "socket,id=c,path=%s,reconnect=1", path);
	put("/proc/200/cmdline", words);
	assert_string_equal(of(at_socket(path, "listening")), "socket a");
	assert_non_null(strstr(what, "process 200 (user 60000) is to connect to it, and may not write to"));
	snprintf(words, sizeof(words), "socket,id=c,path=%s2,reconnect=1", path);
	put("/proc/200/cmdline", words);
	assert_string_equal(of(at_socket(path, "listening")), "");
}

static void a_kernel_without_a_driver_for_vdpa_is_told(void **state)
{
	assert_string_equal(of(plain("a", "vduse", 0, json_null(), false)), "kernel a");
	assert_non_null(strstr(fix, "modprobe virtio-vdpa"));
	put("/sys/bus/vdpa/drivers/virtio_vdpa/bind", "");
	assert_string_equal(of(plain("a", "vduse", 0, json_null(), false)), "");
}

static json_t *workers(int first, int second)
{
	return json_pack("{s:[o], s:[{s:i, s:o}, {s:i, s:o}]}", "ports", guest("a", 1, 1, 1), "workers", "worker", 0, "cpu",
			 first < 0 ? json_null() : json_integer(first), "worker", 1, "cpu", second < 0 ? json_null() : json_integer(second));
}

static void workers_on_wrong_cpus_are_told(void **state)
{
	put("/proc/100/status", "Cpus_allowed_list:\t0\n");
	assert_string_equal(look(workers(-1, -1)), "cpu -");
	assert_non_null(strstr(fix, "--workers 1,"));
	put("/proc/100/status", "Cpus_allowed_list:\t0,2-3\n");
	assert_string_equal(look(workers(-1, -1)), "");
	put("/sys/devices/system/cpu/isolated", "2-3,7\n");
	assert_string_equal(look(workers(3, 7)), "");
	assert_string_equal(look(workers(3, 1)), "cpu -");
	assert_non_null(strstr(what, "worker 1 is on CPU 1"));
	put("/proc/200/task/201/status", "Cpus_allowed_list:\t2-3\n");
	assert_string_equal(look(workers(2, 3)), "");
	put("/proc/200/task/202/status", "Cpus_allowed_list:\t3\n");
	assert_string_equal(look(workers(2, 3)), "cpu a");
	assert_non_null(strstr(what, "thread 202 of its process 200 may run on CPU 3 alone"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_healthy_switch_has_no_findings, begin, end),
		cmocka_unit_test_setup_teardown(mtus_that_differ_are_told_of_ports_that_speak, begin, end),
		cmocka_unit_test_setup_teardown(frames_that_were_too_long_are_told, begin, end),
		cmocka_unit_test_setup_teardown(a_guest_that_never_kicks_is_told_after_a_while, begin, end),
		cmocka_unit_test_setup_teardown(a_port_that_has_failed_is_told, begin, end),
		cmocka_unit_test_setup_teardown(memory_that_is_private_is_told, begin, end),
		cmocka_unit_test_setup_teardown(a_socket_that_a_client_may_not_write_to_is_told, begin, end),
		cmocka_unit_test_setup_teardown(who_is_to_connect_and_may_not_is_told, begin, end),
		cmocka_unit_test_setup_teardown(a_kernel_without_a_driver_for_vdpa_is_told, begin, end),
		cmocka_unit_test_setup_teardown(workers_on_wrong_cpus_are_told, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
