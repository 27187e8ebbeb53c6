/* SPDX-License-Identifier: BSD-3-Clause */

/* The dirty log: what the device writes for the driver, page by page, on each of its queues. */

#include "device/device.h"
#include "mem/dirty.h"
#include "model/scsi/scsi_test_guest.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_BYTES (256u << 10) /* beyond the guest's last page */

static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT };

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
	uint64_t first = test_guest_gpa(&g->at, at) / DIRTY_PAGE_BYTES;
	uint64_t last = (test_guest_gpa(&g->at, at) + bytes - 1) / DIRTY_PAGE_BYTES;
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

static void *page_alloc(struct guest *g, unsigned pages)
{
	g->at.used_bytes = (g->at.used_bytes + DIRTY_PAGE_BYTES - 1) & ~(size_t)(DIRTY_PAGE_BYTES - 1);
	return guest_alloc(g, (size_t)pages * DIRTY_PAGE_BYTES);
}

/* Response and data on pages of their own; the response begins at the end of one. */
struct apart {
	uint8_t *head, *response, *in;
};

static struct apart apart(struct guest *g, uint32_t in_pages)
{
	struct apart a = { page_alloc(g, 1), (uint8_t *)page_alloc(g, 2) + DIRTY_PAGE_BYTES - 50, page_alloc(g, in_pages) };

	guest_head(a.head, &(struct ask){ 0 });
	guest_add(g, REQUESTS,
		  (struct iovec[]){ { a.head, HEAD_BYTES }, { a.response, RESPONSE_BYTES }, { a.in, (size_t)in_pages * DIRTY_PAGE_BYTES } },
		  1, 2, NULL);
	return a;
}

static void responses_and_what_was_read_are_logged(void **state)
{
	struct apart all, some, refused;
	struct guest g;
	uint8_t *bits;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i]);
		bits = log_begin(&g);
		g.moved_all = true;
		all = apart(&g, 3);
		assert_int_equal(guest_poll(&g), 1);
		assert_true(take(&g, bits, all.response, RESPONSE_BYTES));
		assert_true(take(&g, bits, all.in, 3 * DIRTY_PAGE_BYTES));
		g.moved_all = false;
		g.result.in_moved = DIRTY_PAGE_BYTES + 1;
		some = apart(&g, 4);
		refused = apart(&g, 1);
		refused.head[0] = 9;
		assert_int_equal(guest_poll(&g), 2);
		assert_true(take(&g, bits, some.response, RESPONSE_BYTES));
		assert_true(take(&g, bits, some.in, DIRTY_PAGE_BYTES + 1));
		assert_true(take(&g, bits, refused.response, RESPONSE_BYTES));
		assert_int_equal(left(bits), 0);
		guest_stop(&g);
		munmap(bits, LOG_BYTES);
	}
}

static void answers_to_task_management_are_logged(void **state)
{
	const struct virtio_scsi_tmf tmf = { .lun = { 1 } };
	uint8_t *head, *response;
	struct guest g;
	uint8_t *bits;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i]);
		bits = log_begin(&g);
		g.holds = true;
		head = page_alloc(&g, 1);
		response = page_alloc(&g, 1);
		memcpy(head, &tmf, sizeof(tmf));
		guest_add(&g, SCSI_CONTROL_QUEUE, (struct iovec[]){ { head, sizeof(tmf) }, { response, 1 } }, 1, 1, NULL);
		guest_turn(&g);
		assert_int_equal(left(bits), 0);
		vireo_scsi_managed(g.managed[0], VIREO_SCSI_FUNCTION_COMPLETE);
		assert_true(take(&g, bits, response, 1));
		assert_int_equal(left(bits), 0);
		guest_stop(&g);
		munmap(bits, LOG_BYTES);
	}
}

static void events_are_logged(void **state)
{
	const struct vireo_scsi_event event = { .size = sizeof(event), .kind = VIREO_SCSI_UNIT_ADDED };
	uint8_t *buffer, *bits;
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i] | F(HOTPLUG));
		bits = log_begin(&g);
		buffer = (uint8_t *)page_alloc(&g, 2) + DIRTY_PAGE_BYTES - 8;
		guest_add(&g, SCSI_EVENT_QUEUE, (struct iovec[]){ { buffer, 16 } }, 0, 1, NULL);
		guest_turn(&g);
		assert_int_equal(left(bits), 0);
		assert_int_equal(vireo_scsi_tell(g.scsi, &event), 0);
		assert_true(take(&g, bits, buffer, 16));
		assert_int_equal(left(bits), 0);
		guest_stop(&g);
		munmap(bits, LOG_BYTES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(responses_and_what_was_read_are_logged),
		cmocka_unit_test(answers_to_task_management_are_logged),
		cmocka_unit_test(events_are_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
