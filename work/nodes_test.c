/* SPDX-License-Identifier: BSD-3-Clause */

/* Nodes of machines that are played, and of this one, whose answer is only asked not to touch anything. */

#include "work/nodes.h"
#include "base/util.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PAGES 16u

/* ---- topologies ---- */

static void put(const char *folder, const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

struct played {
	const char *possible;
	struct {
		int node;
		const char *cpus;
	} nodes[4];
	unsigned count;
	int of_cpu[8]; /* of CPUs 0 to 7 */
};

static void machine_read(const struct played *played, struct nodes *ret_nodes)
{
	char folder[] = "/tmp/vireo-nodes-XXXXXX", name[64], path[512];

	assert_non_null(mkdtemp(folder));
	put(folder, "possible", played->possible);
	for (unsigned i = 0; i < 4 && played->nodes[i].cpus; i++) {
		snprintf(path, sizeof(path), "%s/node%d", folder, played->nodes[i].node);
		assert_int_equal(mkdir(path, 0700), 0);
		snprintf(name, sizeof(name), "node%d/cpulist", played->nodes[i].node);
		put(folder, name, played->nodes[i].cpus);
	}
	nodes_read(folder, ret_nodes);
	for (unsigned i = 0; i < 4 && played->nodes[i].cpus; i++) {
		snprintf(path, sizeof(path), "%s/node%d/cpulist", folder, played->nodes[i].node);
		unlink(path);
		snprintf(path, sizeof(path), "%s/node%d", folder, played->nodes[i].node);
		rmdir(path);
	}
	snprintf(path, sizeof(path), "%s/possible", folder);
	unlink(path);
	rmdir(folder);
}

static void each_cpu_lies_on_the_node_that_the_machine_says(void **state)
{
	static const struct played machines[] = {
		{"0\n", {{0, "0-1\n"}}, 1, {0, 0, -1, -1, -1, -1, -1, -1}},
		{"0-1\n", {{0, "0-3\n"}, {1, "4-7\n"}}, 2, {0, 0, 0, 0, 1, 1, 1, 1}},
		{"0-3\n", {{0, "0,2,4,6\n"}, {3, "1,3,5,7\n"}}, 2, {0, 3, 0, 3, 0, 3, 0, 3}},		 /* some are not plugged in */
		{"0,2\n", {{0, "0-1,4-5\n"}, {2, "\n"}}, 2, {0, 0, -1, -1, 0, 0, -1, -1}},		 /* memory without CPUs */
		{"0-1\n", {{0, "0-x,3\n"}, {1, "7-99999999\n"}}, 2, {0, -1, -1, -1, -1, -1, -1, 1}}, /* a list that is none */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
		struct nodes nodes;

		machine_read(&machines[i], &nodes);
		assert_int_equal(nodes.count, machines[i].count);
		for (unsigned cpu = 0; cpu < 8; cpu++)
			assert_int_equal(nodes.of_cpu[cpu], machines[i].of_cpu[cpu]);
	}
}

static void a_machine_that_says_nothing_has_no_nodes(void **state)
{
	struct nodes nodes;

	nodes_read("/nonexistent", &nodes);
	assert_int_equal(nodes.count, 0);
	assert_int_equal(nodes.of_cpu[0], -1);
	nodes_read(NODES_PATH, &nodes);
	assert_true(nodes.count <= NODES_MAX);
}

/* ---- memory ---- */

static void memory_lies_where_most_of_it_does(void **state)
{
	struct nodes_vote vote = {0};

	assert_int_equal(nodes_voted(&vote), -1);
	for (unsigned i = 0; i < NODES_VOTES_KNOWN - 1; i++)
		nodes_vote(&vote, 1);
	for (unsigned i = 0; i < 100; i++)
		nodes_vote(&vote, -ENOENT); /* says nothing */
	assert_int_equal(nodes_voted(&vote), -1);
	nodes_vote(&vote, 1);
	assert_int_equal(nodes_voted(&vote), 1);
	for (unsigned i = 0; i < 1000; i++)
		nodes_vote(&vote, i % 4 ? 1 : 0);
	assert_int_equal(nodes_voted(&vote), 1); /* a page elsewhere changes nothing */
	for (unsigned i = 0; i < NODES_VOTES_MAX + NODES_VOTES_KNOWN; i++)
		nodes_vote(&vote, 0);
	assert_int_equal(nodes_voted(&vote), 0); /* it has moved */
	for (unsigned i = 0; i < 1000; i++)
		nodes_vote(&vote, i % 2 ? 1 : 0);
	vote = (struct nodes_vote){0};
	for (unsigned i = 0; i < 1000; i++)
		nodes_vote(&vote, i % 2 ? 1 : 0);
	assert_int_equal(nodes_voted(&vote), -1); /* it lies here and there */
}

static unsigned resident(void *memory, size_t page_bytes)
{
	unsigned char there[PAGES];
	unsigned count = 0;

	assert_int_equal(mincore(memory, PAGES * page_bytes, there), 0);
	for (unsigned i = 0; i < PAGES; i++)
		count += there[i] & 1;
	return count;
}

/* A sparse file of which some pages are there, memory that is gone, and addresses that never were. */
static void to_ask_touches_nothing(void **state)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("nodes", MFD_CLOEXEC), nodes[PAGES + 2] = {0}, err;
	void *addresses[PAGES + 2];
	char *memory;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(PAGES * page_bytes)), 0);
	memory = mmap(NULL, PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	for (unsigned i = 0; i < PAGES; i++)
		addresses[i] = memory + i * page_bytes;
	addresses[PAGES] = (void *)(uintptr_t)page_bytes; /* nobody has mapped it */
	addresses[PAGES + 1] = NULL;
	memory[3 * page_bytes] = 1;
	err = nodes_ask(PAGES + 2, addresses, nodes);
	assert_int_equal(resident(memory, page_bytes), 1);
	for (unsigned i = 0; i < PAGES + 2 && !err; i++) /* an error: there is no such call here, or it is not allowed */
		assert_int_equal(nodes[i] >= 0, i == 3);
	assert_int_equal(ftruncate(fd, 0), 0); /* as a front end may, at any moment */
	nodes_ask(PAGES, addresses, nodes);
	munmap(memory, PAGES * page_bytes);
	nodes_ask(PAGES, addresses, nodes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_cpu_lies_on_the_node_that_the_machine_says),
		cmocka_unit_test(a_machine_that_says_nothing_has_no_nodes),
		cmocka_unit_test(memory_lies_where_most_of_it_does),
		cmocka_unit_test(to_ask_touches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
