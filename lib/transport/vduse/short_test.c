/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A device where memory, fds or mappings are short, or where the kernel refuses one of our calls, at each moment at which it can be: it is
 * refused and leaves nothing, or it is lost with a line; the next one is made, and its driver is served as if nothing had been.
 */

#define LAB_IDLE_MS 0

#include "transport/vduse/lab_test.h"
/* after the above: */
#include "base/short_test.h"

#define REFUSED_CALLS ((enum shortage_kind)SHORT_KINDS) /* one more kind: ioctls, EIO */

/* The kernel's calls that fail are those between an end and the next. */
static int short_ioctl(void *opaque, int fd, unsigned long request, void *argument)
{
	return shortage_hits(REFUSED_CALLS) ? -EIO : fake_ioctl(opaque, fd, request, argument);
}

static int short_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	work(argument);
	return 0;
}

static int open_short(struct lab *lab, unsigned attach)
{
	struct vduse_kernel kernel = fake_kernel(lab->f);
	struct vireo_endpoint_config config = {
		.size = sizeof(config),
		.vduse = { .state_folder = lab->f->folder, .attach = attach },
		.run_aside = short_aside,
	};

	kernel.ioctl = short_ioctl;
	lab->closed = 0;
	lab->told = 0;
	return vduse_open_on(lab->device, FAKE_NAME, &config, &kernel, &lab->endpoint);
}

static bool is_short(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -EIO;
}

/* Twice, if it has to be: what has failed has left nothing in its way. */
static void open_twice(struct lab *lab, unsigned attach)
{
	bool there = lab->f->exists;
	int err;

	shortage.on = true;
	err = open_short(lab, attach);
	shortage.on = false;
	if (!err)
		return;
	assert_true(shortage_was() && is_short(err));
	assert_null(lab->endpoint);
	assert_int_equal(lab->f->exists, there);
	assert_int_equal(open_short(lab, attach), 0);
}

static void pump_short(struct lab *lab)
{
	shortage.on = true;
	lab_pump(lab);
	shortage.on = false;
}

/* True: it was answered, with "yes". */
static bool tell(struct lab *lab, uint32_t type, uint32_t word0, uint32_t word1)
{
	struct fake_response response;

	if (type == VDUSE_MSG_UPDATE_IOTLB)
		fake_send_update(lab->f);
	else
		fake_send(lab->f, type, word0, word1);
	pump_short(lab);
	if (!fake_answered(lab->f, &response) || response.result)
		return false;
	if (type == VDUSE_MSG_SET_STATUS)
		lab->f->status = (uint8_t)word0;
	return true;
}

/* Who has lost its device says so, and makes it anew. */
static void loss_check(struct lab *lab)
{
	if (!lab->told)
		return;
	assert_true(shortage_was() && (is_short(lab->told) || lab->f->given_up));
	assert_non_null(strstr(lab->log, strerror(-lab->told)));
	lab_close(lab);
	assert_int_equal(open_short(lab, VIREO_ATTACH_NONE), 0);
	lab_pump(lab);
}

/* Nothing is short any more. */
static void next_driver_is_served(struct lab *lab, struct fake_driver *old)
{
	struct fake_driver driver;
	struct fake *f = lab->f;

	loss_check(lab);
	if (old)
		driver_free(old);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	driver_new(f, &driver, 0, SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	lab_pump(lab);
	memcpy(f->memory + 64, "next", 4);
	driver_add(&driver, 1, 64, 4, 5);
	assert_true(serve_one(lab, 1));
	assert_memory_equal(lab->held, "next", 4);
	assert_int_equal(driver_get(&driver, 1), 5);
	driver_free(&driver);
}

static void all_freed(struct lab *lab)
{
	struct fake *f = lab->f;

	f->attached = false;
	lab_free(lab);
	assert_false(f->exists);
	fake_free(f);
}

/* ---- a device, its driver, and memory that changes ---- */

static void a_device_is_driven(void)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct fake_driver driver;
	bool up;

	f->api_max = 1;
	f->vduse_features = 3;
	open_twice(lab, VIREO_ATTACH_NONE);
	pump_short(lab);
	driver_new(f, &driver, 0, SIZE);
	up = tell(lab, VDUSE_MSG_SET_STATUS, 0, 0) && tell(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0) &&
	     tell(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0);
	assert_true(up || shortage_was());
	if (up) {
		tell(lab, VDUSE_MSG_UPDATE_IOTLB, 0, 0);
		shortage.on = true;
		vireo_device_config_set(lab->device, 4, "XY", 2);
		shortage.on = false;
		pump_short(lab);
	}
	next_driver_is_served(lab, &driver);
	all_freed(lab);
}

/* ---- a device on the bus, and off it ---- */

static void a_device_is_attached(void)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);

	open_twice(lab, VIREO_ATTACH_VIRTIO);
	pump_short(lab);
	if (lab->told) {
		assert_true(shortage_was() && is_short(lab->told));
		assert_true(strstr(lab->log, "cannot be attached to virtio_vdpa") || strstr(lab->log, "cannot be watched"));
	} else {
		assert_true(f->attached);
	}
	shortage.on = true;
	lab_close(lab);
	shortage.on = false;
	assert_true(!f->exists || shortage_was()); /* one that could not be taken off, or be destroyed, stays for a successor */
	assert_int_equal(open_short(lab, VIREO_ATTACH_NONE), 0);
	lab_pump(lab);
	next_driver_is_served(lab, NULL);
	all_freed(lab);
}

/* ---- a device that was left behind ---- */

static struct lab *left_behind_running(struct fake *f, struct fake_driver *driver)
{
	struct lab *lab = lab_up(f, driver, 0);

	f->attached = true; /* by somebody else: it stays, with its file */
	lab_free(lab);
	assert_true(f->exists);
	return lab_new(f, 1);
}

static void a_device_is_taken_over(void)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = left_behind_running(f, &driver);

	open_twice(lab, VIREO_ATTACH_NONE);
	assert_int_equal(f->destroyed, 0); /* whatever is short: it has a user */
	pump_short(lab);
	next_driver_is_served(lab, &driver);
	all_freed(lab);
}

/* The kernel has given it up, and nobody uses it. */
static void a_device_is_made_anew(void)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = left_behind_running(f, &driver);

	f->attached = false;
	f->given_up = true;
	shortage.on = true;
	if (open_short(lab, VIREO_ATTACH_NONE)) {
		shortage.on = false;
		assert_true(shortage_was());
		assert_int_equal(open_short(lab, VIREO_ATTACH_NONE), 0);
	}
	shortage.on = false;
	assert_true(f->destroyed || shortage_was()); /* where it could not be known, it is lost at once instead */
	lab_pump(lab);
	next_driver_is_served(lab, &driver);
	all_freed(lab);
}

#define SHORT_OR_REFUSED(scenario, least, refusals)                                       \
	SHORT(scenario, least)                                                            \
	static void scenario##_where_a_call_is_refused(void **state)                      \
	{                                                                                 \
		assert_true(shortage_run(REFUSED_CALLS, scenario) >= (refusals));         \
	}

SHORT_OR_REFUSED(a_device_is_driven, 20, 20)
SHORT_OR_REFUSED(a_device_is_attached, 20, 6)
SHORT_OR_REFUSED(a_device_is_taken_over, 20, 10)
SHORT_OR_REFUSED(a_device_is_made_anew, 10, 6)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_is_driven_where_something_is_short),
		cmocka_unit_test(a_device_is_driven_where_a_call_is_refused),
		cmocka_unit_test(a_device_is_attached_where_something_is_short),
		cmocka_unit_test(a_device_is_attached_where_a_call_is_refused),
		cmocka_unit_test(a_device_is_taken_over_where_something_is_short),
		cmocka_unit_test(a_device_is_taken_over_where_a_call_is_refused),
		cmocka_unit_test(a_device_is_made_anew_where_something_is_short),
		cmocka_unit_test(a_device_is_made_anew_where_a_call_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
