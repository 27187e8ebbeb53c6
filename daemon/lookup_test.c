/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/loop.h"
#include "daemon/endpoint.h"
#include "daemon/lookup.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Takes the C library's place: a database that answers when the test lets it. */
static sem_t asked, let;

int getpwnam_r(const char *name, struct passwd *passwd, char *buffer, size_t bytes, struct passwd **ret)
{
	sem_post(&asked);
	sem_wait(&let);
	*ret = NULL;
	if (strcmp(name, "remote"))
		return 0;
	*passwd = (struct passwd){.pw_uid = 4711};
	*ret = passwd;
	return 0;
}

struct outcome {
	unsigned told;
	int err;
	uid_t user;
	char why[SPEC_WHY_BYTES];
};

static void told(void *opaque, int err, const struct spec *spec, const char *why)
{
	struct outcome *outcome = opaque;

	outcome->told++;
	outcome->err = err;
	if (err)
		strncpy(outcome->why, why, sizeof(outcome->why) - 1);
	else
		outcome->user = spec->endpoint.user;
}

static const struct spec_key vhost_user_keys[] = {ENDPOINT_VHOST_USER_KEYS}, cuse_keys[] = {ENDPOINT_CUSE_KEYS};
static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(vhost_user_keys), cuse = ENDPOINT_CUSE(cuse_keys);
static const struct spec_kind *const rows[] = {&vhost_user, &cuse};
static const struct spec_kinds kinds = {.rows = rows, .count = ARRAY_SIZE(rows), .spec_bytes = sizeof(struct spec)};

static struct loop *loop;
static struct lookups lookups;

static int setup(void **state)
{
	sem_init(&asked, 0, 0);
	sem_init(&let, 0, 0);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(lookups_init(&lookups, loop, &kinds), 0);
	return 0;
}

static int teardown(void **state)
{
	lookups_fini(&lookups);
	loop_free(loop);
	return 0;
}

static void await(const struct outcome *outcome)
{
	while (!outcome->told) /* who waits for ever is ended by alarm() */
		loop_dispatch(loop, 100);
}

static void a_name_is_looked_up_while_others_are_served(void **state)
{
	struct outcome slow = {0}, other = {0}, unknown = {0};

	lookups_spec(&lookups, "vhost-user:/a,user=remote", told, &slow);
	sem_wait(&asked);
	loop_dispatch(loop, 0);
	assert_int_equal(slow.told, 0);
	lookups_spec(&lookups, "vhost-user:/b,user=7", told, &other); /* a number asks nobody */
	assert_int_equal(other.told, 1);
	assert_int_equal(other.user, 7);
	sem_post(&let);
	await(&slow);
	assert_int_equal(slow.err, 0);
	assert_int_equal(slow.user, 4711);
	sem_post(&let);
	lookups_spec(&lookups, "vhost-user:/c,user=nobody-here", told, &unknown);
	await(&unknown);
	assert_int_equal(unknown.err, -EINVAL);
	assert_non_null(strstr(unknown.why, "expected a user's name or number"));
}

static void what_is_looked_up_for_ever_is_bounded_and_ends_with_the_daemon(void **state)
{
	struct outcome outcomes[LOOKUPS_MAX + 1] = {0};

	for (unsigned i = 0; i <= LOOKUPS_MAX; i++)
		lookups_spec(&lookups, "cuse:a,user=remote", told, &outcomes[i]);
	assert_int_equal(outcomes[LOOKUPS_MAX].err, -EAGAIN);
	assert_non_null(strstr(outcomes[LOOKUPS_MAX].why, "try again later"));
	lookups_end(&lookups);
	for (unsigned i = 0; i < LOOKUPS_MAX; i++) {
		assert_int_equal(outcomes[i].told, 1);
		assert_int_equal(outcomes[i].err, -ECANCELED);
		sem_post(&let); /* its thread finds that nobody waits any more */
	}
}

/* A stranger's lock on the folder of a socket. */
static void a_lock_on_a_folder_is_waited_for_while_others_are_served(void **state)
{
	struct outcome slow = {0}, other = {0}, never = {0};
	char folder[] = "/tmp/vireo-lookup-XXXXXX";
	struct spec here = {.kind = &vhost_user, .address = "/nowhere/a"}, there = {.kind = &vhost_user};
	int fd;

	assert_non_null(mkdtemp(folder));
	snprintf(there.address, sizeof(there.address), "%s/a", folder);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	lookups_held_up(&lookups, &there, told, &slow);
	assert_int_equal(slow.told, 0);
	lookups_held_up(&lookups, &here, told, &other);
	assert_int_equal(other.told, 1);
	assert_int_equal(other.err, 0);
	there.endpoint.client = true; /* a socket that somebody else makes */
	lookups_held_up(&lookups, &there, told, &other);
	assert_int_equal(other.told, 2);
	there.endpoint.client = false;
	await(&slow); /* the lock stays for longer than the daemon likes */
	assert_int_equal(slow.err, -EBUSY);
	assert_non_null(strstr(slow.why, "holds a lock on its folder"));
	lookups_held_up(&lookups, &there, told, &never);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	await(&never);
	if (never.err) /* this machine stood still for a second */
		assert_int_equal(never.err, -EBUSY);
	close(fd);
	assert_int_equal(rmdir(folder), 0);
}

/* More than there may be under way. */
static void each_waits_for_a_lock_in_its_turn(void **state)
{
	struct outcome outcomes[3 * LOOKUPS_MAX] = {0};
	char folder[] = "/tmp/vireo-lookup-XXXXXX";
	struct spec there = {.kind = &vhost_user};
	int fd;

	assert_non_null(mkdtemp(folder));
	snprintf(there.address, sizeof(there.address), "%s/a", folder);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++)
		lookups_held_up(&lookups, &there, told, &outcomes[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++)
		if (outcomes[i].told) /* this machine stood still for a second */
			assert_int_equal(outcomes[i].err, -EBUSY);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++) {
		await(&outcomes[i]);
		assert_int_equal(outcomes[i].told, 1);
		if (outcomes[i].err)
			assert_int_equal(outcomes[i].err, -EBUSY);
	}
	assert_int_equal(flock(fd, LOCK_SH), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++)
		lookups_held_up(&lookups, &there, told, &outcomes[i]);
	lookups_end(&lookups);
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++) {
		assert_int_equal(outcomes[i].told, 2);
		assert_int_equal(outcomes[i].err, -ECANCELED);
	}
	close(fd);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_looked_up_while_others_are_served, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lock_on_a_folder_is_waited_for_while_others_are_served, setup, teardown),
		cmocka_unit_test_setup_teardown(each_waits_for_a_lock_in_its_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_looked_up_for_ever_is_bounded_and_ends_with_the_daemon, setup, teardown),
	};

	alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
