/* SPDX-License-Identifier: BSD-3-Clause */

/* The dirty log: what requests have written to, page by page. */

#include "device/device.h"
#include "mem/dirty.h"
#include "model/blk/blk_test_guest.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_BYTES (256u << 10) /* beyond the guest's last page */

static uint8_t *log_begin(struct guest *g)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty_log *log;
	const char *why = "";
	uint8_t *bits;

	assert_int_equal(ftruncate(fd, LOG_BYTES), 0);
	bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	assert_int_equal(dirty_log_new(fd, 0, LOG_BYTES, device_faults(g->at.device), &log, &why), 0);
	assert_int_equal(device_log_set(g->at.device, log, &why), 0);
	assert_int_equal(device_log_switch(g->at.device, true, &why), 0);
	dirty_log_unref(log);
	close(fd);
	return bits;
}

/* Whether all pages of it are logged; they are taken out. */
static bool take(const struct guest *g, uint8_t *bits, const void *at, size_t bytes)
{
	uint64_t first = guest_gpa(g, at) / DIRTY_PAGE_BYTES, last = (guest_gpa(g, at) + bytes - 1) / DIRTY_PAGE_BYTES;
	bool all = true;

	for (uint64_t page = first; page <= last; page++) {
		all = all && bits[page / 8] >> page % 8 & 1;
		bits[page / 8] &= (uint8_t)~(1u << page % 8);
	}
	return all;
}

static unsigned left(const uint8_t *bits)
{
	unsigned count = 0;

	for (unsigned i = 0; i < LOG_BYTES; i++)
		count += (unsigned)__builtin_popcount(bits[i]);
	return count;
}

/* Its pages are its own: what is around it may be logged for others. */
static struct asked asked_apart(struct guest *g, uint32_t type, uint64_t sector, size_t bytes)
{
	struct asked a;

	guest_alloc(g, DIRTY_PAGE_BYTES);
	a = guest_ask_read(g, 0, type, sector, bytes);
	guest_alloc(g, DIRTY_PAGE_BYTES);
	return a;
}

/* They are answered while the batch that they came with is still taken apart. */
static void what_is_answered_at_once_is_logged_as_well(void **state)
{
	static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT };
	const size_t long_bytes = 4 * DIRTY_PAGE_BYTES;
	struct asked beyond, id, read;
	struct guest g;
	uint8_t *bits;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i]);
		bits = log_begin(&g);
		beyond = asked_apart(&g, VIREO_BLK_IN, DISK_SECTORS, long_bytes);
		id = asked_apart(&g, BLK_T_GET_ID, 0, BLK_ID_BYTES);
		read = asked_apart(&g, VIREO_BLK_IN, 0, 512);
		assert_int_equal(guest_poll(&g, 0), 3);
		assert_int_equal(*beyond.status, BLK_S_IOERR);
		assert_int_equal(*id.status + *read.status, 2 * BLK_S_OK);
		assert_true(take(&g, bits, beyond.data, (size_t)(beyond.status + 1 - beyond.data)));
		assert_true(take(&g, bits, id.data, (size_t)(id.status + 1 - id.data)));
		assert_true(take(&g, bits, read.data, (size_t)(read.status + 1 - read.data)));
		assert_int_equal(left(bits), 0);
		guest_stop(&g);
		munmap(bits, LOG_BYTES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_answered_at_once_is_logged_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
