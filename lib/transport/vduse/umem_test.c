/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/lab_test.h"

/*
 * Bounce pages of our own. Whether this machine has huge pages is nobody's business here: the linker leads memfd_create() to this file
 * (meson.build), which gives a file of small ones instead, or what a machine without any gives.
 */

enum pages { PAGES_HAD, PAGES_NO_FILE, PAGES_NO_SIZE, PAGES_NO_ROOM };

static struct {
	enum pages pages;
	int error; /* of REG_UMEM */
	unsigned asks; /* how often it was called */
	struct vduse_wire_umem taken;
} kernel;

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);

int __wrap_memfd_create(const char *name, unsigned flags)
{
	int fd;

	if (strcmp(name, "vduse-bounce") != 0)
		return __real_memfd_create(name, flags);
	assert_true(flags & MFD_HUGETLB);
	if (kernel.pages == PAGES_NO_FILE) {
		errno = ENOSYS;
		return -1;
	}
	if (kernel.pages == PAGES_NO_SIZE)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	fd = __real_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (kernel.pages == PAGES_NO_ROOM) /* it cannot be mapped for writing */
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	return fd;
}

static int umem_ioctl(void *opaque, int fd, unsigned long request, void *argument)
{
	struct vduse_wire_iova_info *info = argument;

	if (request == VDUSE_WIRE_IOTLB_GET_INFO) {
		info->capability = info->last == BOUNCE_BYTES - 1 ? VDUSE_WIRE_CAP_UMEM : 0;
		return 0;
	}
	if (request != VDUSE_WIRE_REG_UMEM)
		return fake_ioctl(opaque, fd, request, argument);
	kernel.asks++;
	if (!kernel.error)
		memcpy(&kernel.taken, argument, sizeof(kernel.taken));
	return kernel.error;
}

static struct lab *lab_up_bounce(struct fake *f, struct fake_driver *driver, enum pages pages, int error)
{
	struct lab *lab = lab_new(f, 1);

	memset(&kernel, 0, sizeof(kernel));
	kernel.pages = pages;
	kernel.error = error;
	assert_int_equal(lab_open(lab), 0);
	((struct vduse *)lab->endpoint)->kernel.ioctl = umem_ioctl;
	lab_pump(lab);
	driver_new(f, driver, 0, SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	lab_pump(lab);
	return lab;
}

/* Is something of that file mapped here? */
static bool bounce_is_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	bool found = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		found = found || strstr(line, "vduse-bounce");
	fclose(maps);
	return found;
}

static void lab_end(struct lab *lab, struct fake_driver *driver, struct fake *f)
{
	driver_free(driver);
	lab_free(lab);
	fake_free(f);
	assert_false(bounce_is_mapped());
}

/* Fills the buffer where the kernel would, and has it served. */
static void assert_served_from(struct lab *lab, struct fake_driver *driver, uint8_t *bounce, const char *text)
{
	memcpy(bounce + 4096, text, strlen(text));
	driver_add(driver, 1, 4096, 64, 7);
	assert_true(serve_one(lab, 1));
	assert_memory_equal(lab->held, text, strlen(text));
	assert_int_equal(driver_get(driver, 1), 7);
}

static void bounce_pages_of_ours_are_what_the_kernel_and_queues_use(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_bounce(f, &driver, PAGES_HAD, 0);

	assert_int_equal(kernel.asks, 1);
	assert_true(kernel.taken.bytes == BOUNCE_BYTES && !kernel.taken.iova);
	assert_non_null(strstr(lab->log, "bounce pages lie in huge pages"));
	assert_served_from(lab, &driver, (uint8_t *)(uintptr_t)kernel.taken.uaddr, "ours"); /* NOLINT: it is an ioctl's number */
	assert_true(ask_update(lab));
	assert_int_equal(kernel.asks, 1); /* registered until the file is closed */
	assert_served_from(lab, &driver, (uint8_t *)(uintptr_t)kernel.taken.uaddr, "again"); /* NOLINT */
	lab_end(lab, &driver, f);
}

static void kernel_that_does_not_take_them_keeps_its_own(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_bounce(f, &driver, PAGES_HAD, -ENOMEM); /* no leave to lock them */

	assert_int_equal(kernel.asks, 1);
	assert_null(strstr(lab->log, "huge"));
	assert_false(bounce_is_mapped());
	assert_served_from(lab, &driver, f->memory, "kernel's");
	lab_end(lab, &driver, f);
}

static void machine_without_huge_pages_offers_none(void **state)
{
	static const enum pages cases[] = { PAGES_NO_FILE, PAGES_NO_SIZE, PAGES_NO_ROOM };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_up_bounce(f, &driver, cases[i], 0);

		assert_int_equal(kernel.asks, 0);
		assert_int_equal(((struct vduse *)lab->endpoint)->umem.fd, -1);
		assert_null(strstr(lab->log, "huge"));
		assert_served_from(lab, &driver, f->memory, "kernel's");
		lab_end(lab, &driver, f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounce_pages_of_ours_are_what_the_kernel_and_queues_use),
		cmocka_unit_test(kernel_that_does_not_take_them_keeps_its_own),
		cmocka_unit_test(machine_without_huge_pages_offers_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
