/* SPDX-License-Identifier: BSD-3-Clause */

/* Functions change hands under a kernel that is a folder of files and a function that is called on writes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "driver/virtio_pci/bind.h"
#include "driver/virtio_pci/sysfs.h"
#include "test_tree.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define ADDRESS "0000:00:04.0"
#define DEVICE "/sys/bus/pci/devices/" ADDRESS

static struct tree tree;
static char complaint[512];
static const char *refuses; /* a driver that does not take the function */
static int write_fails;
static unsigned writes, fails_at; /* which write fails: 1 is the first; 0: all */

static void complain(void *opaque, enum vireo_log_level level, const char *line)
{
	snprintf(complaint, sizeof(complaint), "%s", line);
}

static const struct vireo_log to_complaint = { .write = complain, .max_level = VIREO_LOG_ERROR };

/* Ends with newline or not: the kernel takes both. */
static const char *override_of(void)
{
	static char driver[64];

	snprintf(driver, sizeof(driver), "%s", tree_text(&tree, DEVICE "/driver_override"));
	driver[strcspn(driver, "\n")] = '\0';
	return *driver && strcmp(driver, "(null)") != 0 ? driver : "virtio-pci";
}

static int kernel_write(void *opaque, const char *path, const char *text)
{
	const char *below = path + strlen(tree.root);

	writes++;
	if (write_fails && (!fails_at || writes == fails_at))
		return write_fails;
	if (!strcmp(below, DEVICE "/driver_override")) {
		tree_file(&tree, below, text);
	} else if (!strcmp(below, DEVICE "/driver/unbind")) {
		assert_string_equal(text, ADDRESS);
		tree_driver(&tree, ADDRESS, NULL);
	} else if (!strcmp(below, "/sys/bus/pci/drivers_probe")) {
		assert_string_equal(text, ADDRESS);
		if (refuses && !strcmp(refuses, override_of()))
			return -EINVAL;
		tree_driver(&tree, ADDRESS, override_of());
	} else {
		fail_msg("a write to %s", below);
	}
	return 0;
}

static const struct pci_bus bus = { .root = tree.root, .write = kernel_write, .log = &to_complaint };

static int setup(void **state)
{
	tree_new(&tree);
	tree_function(&tree, ADDRESS, "0x1041\n", "0x1100\n");
	tree_driver(&tree, ADDRESS, "virtio-pci");
	tree_file(&tree, "/sys/bus/pci/drivers/uio_pci_generic/bind", "");
	tree_file(&tree, "/sys/bus/pci/drivers/vfio-pci/bind", "");
	complaint[0] = '\0';
	refuses = NULL;
	write_fails = 0;
	writes = fails_at = 0;
	return 0;
}

static int teardown(void **state)
{
	tree_free(&tree);
	return 0;
}

static void expect_driver(const char *driver)
{
	struct vireo_pci_function f;

	assert_int_equal(pci_sysfs_function(tree.root, ADDRESS, &f), 0);
	assert_string_equal(f.driver, driver);
}

static void a_function_behind_an_iommu_goes_to_vfio(void **state)
{
	tree_link(&tree, DEVICE "/iommu_group", "../../../kernel/iommu_groups/5");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), 0);
	expect_driver("vfio-pci");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), 0); /* again is no harm */
}

static void a_function_without_an_iommu_goes_to_uio(void **state)
{
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), 0);
	expect_driver("uio_pci_generic");
}

static void the_user_may_choose(void **state)
{
	assert_int_equal(pci_bind(&bus, ADDRESS, "vfio-pci"), 0);
	expect_driver("vfio-pci");
	assert_int_equal(pci_bind(&bus, ADDRESS, "uio_pci_generic"), 0);
	expect_driver("uio_pci_generic");
	assert_int_equal(pci_bind(&bus, ADDRESS, "e1000"), -EINVAL);
}

static void a_module_that_is_not_loaded_is_named(void **state)
{
	tree_remove(&tree, "/sys/bus/pci/drivers/uio_pci_generic");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -ENOENT);
	assert_non_null(strstr(complaint, "modprobe uio_pci_generic"));
	expect_driver("virtio-pci");
}

static void an_interface_that_is_up_stays(void **state)
{
	tree_interface(&tree, ADDRESS, "eth3", true);
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -EBUSY);
	assert_non_null(strstr(complaint, "ip link set eth3 down"));
	expect_driver("virtio-pci");
	tree_interface(&tree, ADDRESS, "eth3", false);
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), 0);
}

static void what_lies_on_its_interface_is_named_and_stays(void **state)
{
	tree_interface(&tree, ADDRESS, "eth3", false);
	tree_link(&tree, DEVICE "/virtio3/net/eth3/upper_mv0", "../mv0");
	tree_link(&tree, DEVICE "/virtio3/net/eth3/upper_br0", "../br0");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -EBUSY);
	assert_non_null(strstr(complaint, "mv0"));
	assert_non_null(strstr(complaint, "br0"));
	assert_non_null(strstr(complaint, "ip link set eth3 nomaster"));
	expect_driver("virtio-pci");
	tree_remove(&tree, DEVICE "/virtio3/net/eth3/upper_mv0");
	tree_remove(&tree, DEVICE "/virtio3/net/eth3/upper_br0");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), 0);
}

static void a_driver_that_does_not_take_it_leaves_it_as_it_was(void **state)
{
	refuses = "vfio-pci";
	assert_int_equal(pci_bind(&bus, ADDRESS, "vfio-pci"), -ENOTSUP);
	assert_non_null(strstr(complaint, "IOMMU"));
	expect_driver("virtio-pci");
}

static void unbind_gives_it_back(void **state)
{
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), 0);
	assert_int_equal(pci_unbind(&bus, ADDRESS), 0);
	expect_driver("virtio-pci");
	assert_string_equal(tree_text(&tree, DEVICE "/driver_override"), "\n");
	assert_int_equal(pci_unbind(&bus, ADDRESS), 0); /* again is no harm */
	expect_driver("virtio-pci");
}

static void a_write_that_is_not_allowed_says_so(void **state)
{
	write_fails = -EACCES;
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -EACCES);
	assert_non_null(strstr(complaint, "run as root"));
}

static void a_bind_that_fails_half_way_is_undone(void **state)
{
	write_fails = -EIO;
	for (unsigned n = 1; n <= 3; n++) {
		writes = 0;
		fails_at = n;
		assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -EIO);
		expect_driver("virtio-pci");
		assert_string_equal(tree_text(&tree, DEVICE "/driver_override"), "\n");
		assert_non_null(
			strstr(complaint, strerror(EIO))); /* the first, not what came of undoing it */
	}
	write_fails = 0;
	assert_int_equal(pci_bind(&bus, ADDRESS, "vfio-pci"), 0);
	write_fails = -EIO;
	for (unsigned n = 1; n <= 3; n++) {
		writes = 0;
		fails_at = n;
		assert_int_equal(pci_bind(&bus, ADDRESS, "uio_pci_generic"), -EIO);
		expect_driver("vfio-pci");
		assert_string_equal(tree_text(&tree, DEVICE "/driver_override"), "vfio-pci\n");
	}
}

static void an_interface_that_is_not_to_be_seen_stays(void **state)
{
	tree_file(&tree, DEVICE "/virtio3/net/x", "");
	tree_remove(&tree, DEVICE "/virtio3/net/x");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -EBUSY);
	assert_non_null(strstr(complaint, "namespace"));
	expect_driver("virtio-pci");
}

static void what_is_no_network_card_stays(void **state)
{
	tree_function(&tree, ADDRESS, "0x1042\n", "0x1100\n");
	assert_int_equal(pci_bind(&bus, ADDRESS, NULL), -ENOTSUP);
	assert_non_null(strstr(complaint, "virtio device 2"));
	expect_driver("virtio-pci");
}

static void what_a_process_drives_stays(void **state)
{
	char path[PCI_PATH_BYTES];
	int fd;

	tree_file(&tree, DEVICE "/config", "");
	tree_file(&tree, DEVICE "/uio/uio3/name", "");
	assert_int_equal(pci_bind(&bus, ADDRESS, "uio_pci_generic"), 0);
	assert_int_equal(pci_sysfs_path(path, tree.root, ADDRESS, "config"), 0);
	fd = open(path, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0); /* as uio.c does */
	assert_int_equal(pci_unbind(&bus, ADDRESS), -EBUSY);
	assert_non_null(strstr(complaint, "port remove"));
	assert_int_equal(pci_bind(&bus, ADDRESS, "vfio-pci"), -EBUSY);
	expect_driver("uio_pci_generic");
	close(fd);
	assert_int_equal(pci_unbind(&bus, ADDRESS), 0);
}

static void what_is_not_there_is_not_bound(void **state)
{
	assert_int_equal(pci_bind(&bus, "0000:00:05.0", NULL), -ENODEV);
	assert_int_equal(pci_bind(&bus, "nonsense", NULL), -EINVAL);
	assert_int_equal(pci_unbind(&bus, "0000:00:05.0"), -ENODEV);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_function_behind_an_iommu_goes_to_vfio),
		TEST(a_function_without_an_iommu_goes_to_uio),
		TEST(the_user_may_choose),
		TEST(a_module_that_is_not_loaded_is_named),
		TEST(an_interface_that_is_up_stays),
		TEST(what_lies_on_its_interface_is_named_and_stays),
		TEST(a_driver_that_does_not_take_it_leaves_it_as_it_was),
		TEST(unbind_gives_it_back),
		TEST(a_write_that_is_not_allowed_says_so),
		TEST(a_bind_that_fails_half_way_is_undone),
		TEST(an_interface_that_is_not_to_be_seen_stays),
		TEST(what_is_no_network_card_stays),
		TEST(what_a_process_drives_stays),
		TEST(what_is_not_there_is_not_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
