/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/driver_test.h"
#include <sys/syscall.h>

/*
 * Tables of memory, and tables that follow while rings run: one that takes nothing away disturbs no queue; for one that does, queues go
 * on, but for those whose own ring lay there.
 */

#define MORE_GPA (4 * GPA)
#define PAGE 0x1000u

/* A page of the caller's, of a file of its own. */
static void *page_new(const char *text)
{
	int fd = memfd_create("page", MFD_CLOEXEC);
	void *at;

	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	close(fd);
	return at;
}

static struct table and_page(const struct lab *lab, const void *page)
{
	struct table table = one_region(lab);

	table.regions[table.count++] = (struct vhost_memory_region){
		.guest_phys_addr = MORE_GPA, .memory_size = PAGE, .userspace_addr = (uintptr_t)page
	};
	return table;
}

/* Ring 0 runs, and the page is there as well; who has the ring answers late, and can renew. */
static struct lab *hung(const void *page)
{
	struct lab *lab = lab_new();
	struct table table;

	ready(lab);
	table = and_page(lab, page);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	lab->devices[0].type.late = lab->devices[0].type.renews = true;
	return lab;
}

static int pop(struct lab *lab, struct vireo_chain *chain, struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)])
{
	return vireo_queue_pop(lab->devices[0].type.running[0], chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE));
}

static void table_that_takes_nothing_away_stops_no_queue(void **state)
{
	struct lab *lab = lab_new();
	struct lab_type *type = &lab->devices[0].type;
	void *page = page_new("page");
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)], more[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain, second;
	struct table table;

	ready(lab);
	type->late = type->renews = true;
	memcpy(lab->memory + 0x9000, "hello", 5);
	put_readable(lab, 0, GPA + 0x9000, 5);
	assert_int_equal(pop(lab, &chain, iov), 1); /* held all the while */
	assert_int_equal(share_memory(lab), 0);
	table = and_page(lab, page);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	assert_int_equal(type_total(type->started), 1);
	assert_int_equal(type_total(type->stopped) + type_total(type->renewals), 0);
	put_readable(lab, 1, MORE_GPA, 4);
	assert_int_equal(pop(lab, &second, more), 1);
	assert_memory_equal(more[0].iov_base, "page", 4);
	assert_memory_equal(iov[0].iov_base, "hello", 5);
	vireo_queue_push(type->running[0], &chain, 0);
	vireo_queue_push(type->running[0], &second, 0);
	vireo_queue_flush(type->running[0]);
	type->late = false;
	munmap(page, PAGE);
	lab_free(lab);
}

static void table_that_takes_a_page_away_is_answered_when_nobody_uses_it(void **state)
{
	void *page = page_new("page");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	assert_int_equal(share_memory(lab), PENDING);
	assert_int_equal(type_total(type->stopped), 0);
	put_readable(lab, 0, GPA + 0x9000, 5);
	assert_int_equal(pop(lab, &chain, iov), 1); /* it goes on meanwhile */
	vireo_queue_unpop(type->running[0], &chain, 1);
	type_renewed(type, 0);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	assert_int_equal(type_total(type->started), 1);
	assert_int_equal(type_total(type->stopped), 0);
	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_push(type->running[0], &chain, 0);
	vireo_queue_flush(type->running[0]);
	put_readable(lab, 1, MORE_GPA, 4);
	assert_int_equal(pop(lab, &chain, iov), 0);
	type->late = false;
	pump(lab);
	assert_true(logged(lab, "outside guest memory"));
	munmap(page, PAGE);
	lab_free(lab);
}

/* An idle worker has not taken the smaller map by then, and is to have nothing mapped that has gone: its queue is stopped and started. */
static void idle_queue_holds_nothing_that_was_taken_away(void **state)
{
	void *page = page_new("page");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;

	assert_int_equal(share_memory(lab), PENDING);
	type_renewed(type, 0);
	assert_false(last_call(lab)->answered);
	assert_int_equal(type_total(type->stopped), 1);
	type_quiesced(type, 0);
	assert_true(last_call(lab)->answered);
	assert_int_equal(type_total(type->started), 2);
	type->late = false;
	munmap(page, PAGE);
	lab_free(lab);
}

/* The same addresses, and another file: what a ring lies in is somewhere else now. */
static void memory_that_is_another_file_stops_its_rings(void **state)
{
	void *page = page_new("page");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;
	int other = memfd_create("other", MFD_CLOEXEC);
	struct table table = and_page(lab, page);

	assert_int_equal(ftruncate(other, MEMORY_BYTES), 0);
	assert_ptr_not_equal(mmap(lab->memory, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0), MAP_FAILED);
	close(other);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), PENDING);
	assert_int_equal(type_total(type->stopped), 1);
	type_quiesced(type, 0);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	assert_int_equal(type_total(type->started), 2);
	type->late = false;
	munmap(page, PAGE);
	lab_free(lab);
}

static void refused_table_disturbs_nobody(void **state)
{
	void *page = page_new("page");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;
	struct table table = one_region(lab);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	table.padding = 1;
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), -EOPNOTSUPP);
	table = and_page(lab, page);
	table.regions[1].guest_phys_addr = GPA;
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), -EINVAL);
	assert_int_equal(type_total(type->stopped) + type_total(type->renewals), 0);
	put_readable(lab, 0, MORE_GPA, 4);
	assert_int_equal(pop(lab, &chain, iov), 1); /* the table before holds */
	vireo_queue_unpop(type->running[0], &chain, 1);
	type->late = false;
	munmap(page, PAGE);
	lab_free(lab);
}

/* The caller may have been killed, and the kernel keeps it until it is answered. */
static void interrupted_table_waits_for_no_renewal(void **state)
{
	void *page = page_new("page");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;
	struct request *table, *behind;
	struct call *call;

	assert_int_equal(share_memory(lab), PENDING);
	call = last_call(lab);
	table = call->request;
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, 0, -1), PENDING);
	behind = last_call(lab)->request;
	opener_interrupt(lab->opener, behind); /* it has its turn all the same */
	assert_int_equal(type_total(type->stopped), 0);
	opener_interrupt(lab->opener, table);
	assert_int_equal(type_total(type->stopped), 1);
	opener_interrupt(lab->opener, table);
	assert_int_equal(type_total(type->stopped), 1);
	type->late = false;
	type->renewals[0] = 0; /* never answered: the queue is given back instead */
	type_quiesced(type, 0);
	assert_true(call->answered);
	assert_int_equal(call->r, 0);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	munmap(page, PAGE);
	lab_free(lab);
}

/* Who has ring 0, where a chain waits, goes by the last table. */
static void take_map(struct lab *lab)
{
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	assert_int_equal(pop(lab, &chain, iov), 1);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
}

static void table_that_was_interrupted_before_its_turn_waits_for_no_renewal(void **state)
{
	void *page = page_new("page"), *more = page_new("more");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;
	struct table both = and_page(lab, page), table = and_page(lab, page), alone = one_region(lab);
	struct call *first, *second;

	both.regions[both.count++] = (struct vhost_memory_region){
		.guest_phys_addr = MORE_GPA + PAGE, .memory_size = PAGE, .userspace_addr = (uintptr_t)more
	};
	put_readable(lab, 0, GPA + 0x9000, 5);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &both), 0);
	take_map(lab);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), PENDING);
	first = last_call(lab);
	second = call_new(lab, lab->opener, getpid(), VHOST_SET_MEM_TABLE, &alone);
	call_send(lab, second, offsetof(struct table, regions[1]), 0); /* the kernel knows its size already */
	opener_interrupt(lab->opener, second->request);
	assert_int_equal(type_total(type->stopped), 0); /* the first one's caller has time */
	take_map(lab);
	type_renewed(type, 0);
	assert_true(first->answered);
	assert_false(second->answered);
	assert_int_equal(type_total(type->stopped), 1);
	type->late = false;
	type->renewals[0] = 0; /* never answered: the queue is given back instead */
	type_quiesced(type, 0);
	assert_true(second->answered);
	assert_int_equal(second->r, 0);
	munmap(page, PAGE);
	munmap(more, PAGE);
	lab_free(lab);
}

static void end_waits_for_no_renewal(void **state)
{
	void *page = page_new("page");
	struct lab *lab = hung(page);
	struct lab_type *type = &lab->devices[0].type;

	assert_int_equal(share_memory(lab), PENDING);
	vireo_endpoint_close(&lab->endpoint->base, on_closed, lab);
	lab->endpoint = NULL;
	assert_int_equal(type_total(type->stopped), 1);
	type->late = false;
	type_quiesced(type, 0);
	assert_true(last_call(lab)->answered);
	assert_true(lab->closed);
	munmap(page, PAGE);
	lab_free(lab);
}

/* ---- what a table may have ---- */

/* The second table has what the first had not. */
static void new_table_is_the_one_that_counts(void **state)
{
	struct lab *lab = lab_new();
	int other = memfd_create("other", MFD_CLOEXEC);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	struct table table;
	void *at;

	assert_int_equal(ftruncate(other, 0x1000), 0);
	assert_int_equal(pwrite(other, "other", 5, 0), 5);
	at = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	ready(lab);
	table = one_region(lab);
	table.count = 2;
	table.regions[1] = (struct vhost_memory_region){ .guest_phys_addr = 4 * GPA,
							 .memory_size = 0x1000,
							 .userspace_addr = (uintptr_t)at };
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	put_readable(lab, 0, 4 * GPA, 5);
	assert_int_equal(vireo_queue_pop(lab->devices[0].type.running[0], &chain, 1, iov, ARRAY_SIZE(iov)),
			 1);
	assert_memory_equal(iov[0].iov_base, "other", 5);
	vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	munmap(at, 0x1000);
	close(other);
	lab_free(lab);
}

/* A guest's memory may be several files, and a file mapped in pieces. */
static void regions_may_span_mappings(void **state)
{
	struct lab *lab = lab_new();
	struct table table;
	int other = memfd_create("other", MFD_CLOEXEC);

	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	make_memory(lab);
	assert_int_equal(ftruncate(other, 0x10000), 0);
	assert_ptr_not_equal(mmap(lab->memory + 0x40000, 0x10000, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, other, 0),
			     MAP_FAILED);
	memcpy(lab->memory + 0x40000, "other", 5);
	table = one_region(lab);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	close(other);
	ring_set_up(lab, 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	put_readable(lab, 0, GPA + 0x3ffff, 5);
	{
		struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
		struct vireo_chain chain;

		assert_int_equal(
			vireo_queue_pop(lab->devices[0].type.running[0], &chain, 1, iov, ARRAY_SIZE(iov)), 1);
		assert_int_equal(chain.readable_count, 2);
		assert_memory_equal(iov[1].iov_base, "othe", 4);
		vireo_queue_unpop(lab->devices[0].type.running[0], &chain, 1);
	}
	lab_free(lab);
}

/* A passed-through card's registers are told as memory: they are shared, writable, and no file. */
static void regions_of_devices_are_left_out(void **state)
{
	struct lab *lab = lab_new();
	unsigned long ring = 0; /* of asynchronous I/O, mapped by the kernel: the same kind of thing */
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	struct table table;

	assert_int_equal(syscall(SYS_io_setup, 1, &ring), 0);
	owned(lab);
	table = one_region(lab);
	table.count = 2;
	table.regions[1] = (struct vhost_memory_region){ .guest_phys_addr = 2 * GPA,
							 .memory_size = 0x1000,
							 .userspace_addr = ring };
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	assert_true(logged(lab, "no file of memory"));
	ring_set_up(lab, 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	put_readable(lab, 0, 2 * GPA, 16);
	assert_int_equal(vireo_queue_pop(lab->devices[0].type.running[0], &chain, 1, iov, ARRAY_SIZE(iov)),
			 0);
	pump(lab);
	assert_true(logged(lab, "outside guest memory"));
	syscall(SYS_io_destroy, ring);
	lab_free(lab);
}

static void empty_table_is_no_memory(void **state)
{
	struct lab *lab = lab_new();
	struct table table = { 0 };

	ready(lab);
	assert_int_equal(ask(lab, VHOST_SET_MEM_TABLE, &table), 0);
	assert_null(lab->devices[0].type.running[0]); /* it waits */
	assert_int_equal(share_memory(lab), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_that_takes_nothing_away_stops_no_queue),
		cmocka_unit_test(table_that_takes_a_page_away_is_answered_when_nobody_uses_it),
		cmocka_unit_test(idle_queue_holds_nothing_that_was_taken_away),
		cmocka_unit_test(memory_that_is_another_file_stops_its_rings),
		cmocka_unit_test(refused_table_disturbs_nobody),
		cmocka_unit_test(interrupted_table_waits_for_no_renewal),
		cmocka_unit_test(table_that_was_interrupted_before_its_turn_waits_for_no_renewal),
		cmocka_unit_test(end_waits_for_no_renewal),
		cmocka_unit_test(new_table_is_the_one_that_counts),
		cmocka_unit_test(regions_may_span_mappings),
		cmocka_unit_test(regions_of_devices_are_left_out),
		cmocka_unit_test(empty_table_is_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
