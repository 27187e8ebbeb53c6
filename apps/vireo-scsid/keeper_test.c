/* SPDX-License-Identifier: BSD-3-Clause */
/* A keeper whose disk is a semaphore: what is stored when, and who is answered for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/errand.h"
#include "unit.h"
#include "vireo/mailbox.h"
#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPS 4u

struct outcome {
	struct scsi_keep keep;
	unsigned told;
	int err;
};

static struct loop *loop;
static struct errands errands;
static struct keeper keeper;
static struct outcome kept[KEEPS];
/* The disk. */
static sem_t begun, let;
static int disk_err;
static char on_disk[32];
static unsigned stores;

void scsi_keep_done(struct scsi_keep *keep, int err)
{
	struct outcome *k = container_of(keep, struct outcome, keep);

	k->told++;
	k->err = err;
}

/* A thread: the texts are its own. */
int scsi_keep_file(const char *path, const char *text)
{
	sem_post(&begun);
	sem_wait(&let);
	if (disk_err)
		return disk_err;
	stores++;
	snprintf(on_disk, sizeof(on_disk), "%s %s", path, text);
	return 0;
}

static int setup(void **state)
{
	memset(kept, 0, sizeof(kept));
	memset(on_disk, 0, sizeof(on_disk));
	disk_err = 0;
	stores = 0;
	sem_init(&begun, 0, 0);
	sem_init(&let, 0, 0);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(errands_init(&errands, loop, 2), 0);
	keeper = (struct keeper){.path = strdup("p"), .errands = &errands};
	assert_int_equal(vireo_mailbox_new(&keeper.mailbox), 0);
	return 0;
}

static int teardown(void **state)
{
	errands_fini(&errands);
	loop_free(loop);
	vireo_mailbox_free(keeper.mailbox);
	free(keeper.path);
	return 0;
}

static void keep(unsigned index, const char *text, uint64_t order)
{
	kept[index].keep = (struct scsi_keep){.text = text, .order = order};
	keeper_keep(&keeper, &kept[index].keep);
	vireo_mailbox_deliver(keeper.mailbox);
}

static void wait_told(unsigned index)
{
	while (!kept[index].told)
		assert_true(loop_dispatch(loop, 20000) >= 0);
	assert_int_equal(kept[index].told, 1);
}

static void one_is_answered_when_it_is_stored(void **state)
{
	keep(0, "a", 1);
	sem_wait(&begun);
	assert_int_equal(kept[0].told, 0);
	sem_post(&let);
	wait_told(0);
	assert_int_equal(kept[0].err, 0);
	assert_string_equal(on_disk, "p a");
}

/* The order in which they arrive is not that in which they were made. */
static void the_newest_stands_for_those_before_it(void **state)
{
	keep(0, "a", 1);
	sem_wait(&begun);
	keep(1, "c", 3);
	keep(2, "b", 2);
	sem_post(&let);
	wait_told(0);
	assert_int_equal(kept[1].told + kept[2].told, 0);
	sem_post(&let);
	wait_told(1);
	wait_told(2);
	assert_string_equal(on_disk, "p c");
	assert_int_equal(stores, 2);
}

static void one_that_comes_late_is_in_the_file_already(void **state)
{
	sem_post(&let);
	keep(0, "b", 2);
	wait_told(0);
	keep(1, "a", 1);
	assert_int_equal(kept[1].told, 1);
	assert_int_equal(kept[1].err, 0);
	assert_string_equal(on_disk, "p b");
	assert_int_equal(stores, 1);
}

static void what_is_not_stored_is_told_so_and_the_next_one_is_tried(void **state)
{
	disk_err = -ENOSPC;
	sem_post(&let);
	keep(0, "a", 1);
	wait_told(0);
	assert_int_equal(kept[0].err, -ENOSPC);
	disk_err = 0;
	sem_post(&let);
	keep(1, "b", 2);
	wait_told(1);
	assert_int_equal(kept[1].err, 0);
	assert_string_equal(on_disk, "p b");
}

static void the_end_waits_for_no_disk(void **state)
{
	keep(0, "a", 1);
	sem_wait(&begun);
	keep(1, "b", 2);
	errands_fini(&errands);
	assert_int_equal(kept[0].told, 1);
	assert_int_equal(kept[0].err, -ECANCELED);
	assert_int_equal(kept[1].told, 1);
	assert_true(kept[1].err < 0);
	keep(2, "c", 3);
	assert_int_equal(kept[2].told, 1);
	assert_int_equal(kept[2].err, -EAGAIN);
	sem_post(&let);
}

/* ---- reading ---- */

static void file_write(const char *path, size_t bytes)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (size_t i = 0; i < bytes; i++)
		fputc('x', file);
	assert_int_equal(fclose(file), 0);
}

/* Returns what is said, and gives back what was had. */
static int kept_text(const char *path, char *ret_text, size_t bytes)
{
	struct kept taken = KEPT_NONE;
	int err = kept_take(path, &taken);

	if (!err)
		snprintf(ret_text, bytes, "%s", taken.text ? taken.text : "none");
	fd_close(&taken.lock_fd);
	free(taken.text);
	return err;
}

static void what_is_read_is_a_small_file_or_none(void **state)
{
	char folder[] = "/tmp/vireo-keeper-XXXXXX", path[64], link[64], other[72], text[16] = "";

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a", folder);
	snprintf(link, sizeof(link), "%s/b", folder);
	assert_int_equal(kept_text(path, text, sizeof(text)), 0);
	assert_string_equal(text, "none");
	file_write(path, 3);
	assert_int_equal(kept_text(path, text, sizeof(text)), 0);
	assert_string_equal(text, "xxx");
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(kept_text(link, text, sizeof(text)), -ELOOP);
	file_write(path, 65536);
	assert_int_equal(kept_text(path, text, sizeof(text)), -EFBIG);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, 9), 0);
	assert_int_equal(kept_text(path, text, sizeof(text)), -EINVAL); /* NULs */
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(kept_text(path, text, sizeof(text)), -EINVAL);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(kept_text(path, text, sizeof(text)), -EISDIR);
	rmdir(path);
	unlink(link);
	snprintf(other, sizeof(other), "%s.lock", link);
	unlink(other);
	assert_int_equal(symlink(path, other), 0); /* no way to somewhere else */
	assert_int_equal(kept_text(link, text, sizeof(text)), -ELOOP);
	unlink(other);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_int_equal(kept_text(link, text, sizeof(text)), -EINVAL);
	unlink(other);
	snprintf(other, sizeof(other), "%s.lock", path);
	unlink(other);
	rmdir(folder);
	assert_int_equal(kept_text(path, text, sizeof(text)), -ENOENT);
}

static void one_process_keeps_it(void **state)
{
	char folder[] = "/tmp/vireo-keeper-XXXXXX", path[64], other[72], text[16];
	struct kept mine = KEPT_NONE;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a", folder);
	assert_int_equal(kept_take(path, &mine), 0);
	assert_int_equal(kept_text(path, text, sizeof(text)), -EBUSY);
	fd_close(&mine.lock_fd);
	assert_int_equal(kept_text(path, text, sizeof(text)), 0);
	snprintf(other, sizeof(other), "%s.lock", path);
	unlink(other);
	rmdir(folder);
}

#define KEEPER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEEPER_TEST(one_is_answered_when_it_is_stored),
		KEEPER_TEST(the_newest_stands_for_those_before_it),
		KEEPER_TEST(one_that_comes_late_is_in_the_file_already),
		KEEPER_TEST(what_is_not_stored_is_told_so_and_the_next_one_is_tried),
		KEEPER_TEST(the_end_waits_for_no_disk),
		cmocka_unit_test(what_is_read_is_a_small_file_or_none),
		cmocka_unit_test(one_process_keeps_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
