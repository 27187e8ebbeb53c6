/* SPDX-License-Identifier: BSD-3-Clause */

/* What the daemon does about a card that goes wrong. The card, its driver and the switch are made up here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "base/fd.h"
#include "base/loop.h"
#include "pci_device.h"
#include "port.h"
#include <cmocka.h>
#include <errno.h>

static struct ports ports;
static int interrupt_fd;
static int link_says, interrupt_says, check_says, rings_say;
static unsigned looks, halts, removals;

/* ---- the card ---- */

int pci_device_open(const struct port_spec *spec, const struct vireo_log *log, struct driver_queue *queues,
		    struct pci_device *ret)
{
	*ret = (struct pci_device){.pci = (struct vireo_pci *)&interrupt_fd};
	return 0;
}

void pci_device_close(const struct port_spec *spec, struct driver_queue *queues, struct pci_device *device)
{
}

bool vireo_pci_address_valid(const char *address)
{
	return true;
}

uint64_t vireo_pci_features(const struct vireo_pci *pci)
{
	return 0;
}

unsigned vireo_driver_ring_size(const struct vireo_driver_ring *ring)
{
	return 0;
}

int vireo_pci_net_link(struct vireo_pci *pci)
{
	looks++;
	return link_says;
}

int vireo_pci_interrupt_fd(const struct vireo_pci *pci)
{
	return interrupt_fd;
}

int vireo_pci_interrupt(struct vireo_pci *pci)
{
	return interrupt_says; /* and its fd stays readable: the next one is there already */
}

int vireo_pci_check(struct vireo_pci *pci)
{
	return check_says;
}

int vireo_pci_halt(struct vireo_pci *pci)
{
	halts++;
	return 0;
}

int vireo_driver_ring_call_fd(const struct vireo_driver_ring *ring)
{
	return -1;
}

bool vireo_driver_ring_signal_enable(struct vireo_driver_ring *ring, bool on)
{
	return false;
}

int driver_queue_receive(struct driver_queue *q, struct vireo_frame *frames, unsigned max)
{
	return rings_say;
}

int driver_queue_release(struct driver_queue *q)
{
	return rings_say;
}

int driver_queue_deliver(struct driver_queue *q, struct vireo_frame *const *frames, unsigned count)
{
	return rings_say < 0 ? rings_say : (int)count;
}

void driver_queue_flush(struct driver_queue *q)
{
}

/* ---- ports and switch ---- */

void port_init(struct port *port, struct ports *of, const struct port_kind *kind, const struct port_spec *spec)
{
	port->ports = of;
	port->kind = kind;
	port->spec = *spec;
}

int port_join(struct port *port)
{
	port->sw = (struct sw_port *)port;
	return 0;
}

void port_offloads_set(struct port *port, unsigned offloads)
{
}

void port_mtu_of_peer(struct port *port, uint16_t mtu)
{
}

void port_closed(struct port *port)
{
	port->dead = true;
}

int port_opened(struct port *port, int err, struct port **ret_port)
{
	assert_int_equal(err, 0);
	*ret_port = port;
	return err;
}

void ports_remove(struct port *port, void (*removed)(void *opaque), void *opaque)
{
	removals++;
	port->kind->close(port);
}

void sw_queue_stats_read(const struct sw_queue_stats *kept, struct sw_queue_stats *ret_stats)
{
}

int sw_queue_add(struct sw_port *port, bool out, unsigned queue)
{
	return 0;
}

/* ---- cases ---- */

static int setup(void **state)
{
	const struct port_spec spec = {
		.at = {.kind = &port_virtio_pci.spec, .name = "card", .address = "0000:00:04.0"},
		.queues = 1,
	};
	char why[SPEC_WHY_BYTES];
	struct port *port;

	link_says = 1;
	interrupt_says = check_says = rings_say = 0;
	looks = halts = removals = 0;
	if (loop_new(&ports.loop) || fd_event_new(&interrupt_fd) ||
	    port_virtio_pci.open(&ports, &spec, &port, why))
		return -1;
	*state = port;
	return 0;
}

static int teardown(void **state)
{
	struct port *port = *state;

	if (!port->dead)
		port->kind->close(port);
	port->kind->free(port);
	loop_free(ports.loop);
	fd_close(&interrupt_fd);
	return 0;
}

static void dispatch_all(void)
{
	for (unsigned i = 0; i < 10; i++)
		loop_dispatch(ports.loop, 0);
}

static void expect_cut_off(struct port *port)
{
	struct vireo_frame frame = {.len_bytes = 60}, *frames[] = {&frame};

	assert_string_equal(port->kind->state(port), "failed");
	assert_int_equal(halts, 1);
	rings_say = 0;
	assert_int_equal(port->kind->ops->deliver(port, 0, frames, 1), 0);
	assert_int_equal(loop_dispatch(ports.loop, 1500), 0); /* nobody looks at it any more */
}

static void a_config_that_never_settles_is_looked_at_no_more(void **state)
{
	unsigned before = looks;

	fd_event_raise(interrupt_fd);
	interrupt_says = 1;
	link_says = -EAGAIN;
	dispatch_all();
	assert_in_range(looks - before, 1, 2);
	expect_cut_off(*state);
}

static void a_card_that_is_gone_is_let_alone(void **state)
{
	check_says = -ENODEV;
	assert_int_equal(loop_dispatch(ports.loop, 2500), 1);
	dispatch_all();
	expect_cut_off(*state);
	assert_int_equal(removals, 0);
}

static void a_ring_that_lies_ends_the_cards_access_to_memory(void **state)
{
	struct port *port = *state;
	struct vireo_frame frame;

	rings_say = -EPROTO;
	assert_int_equal(port->kind->ops->receive(port, 0, &frame, 1), -EPROTO); /* a worker */
	assert_int_equal(halts, 0); /* that is the control thread's */
	dispatch_all();
	expect_cut_off(port);
}

static void a_worker_that_gives_frames_or_buffers_finds_out_as_well(void **state)
{
	struct vireo_frame frame = {.len_bytes = 60}, *frames[] = {&frame};
	struct port *port = *state;

	rings_say = -EPROTO;
	assert_int_equal(port->kind->ops->deliver(port, 0, frames, 1), 0);
	port->kind->ops->release(port, 0); /* said once is enough */
	assert_int_equal(halts, 0);
	dispatch_all();
	assert_string_equal(port->kind->state(port), "failed");
	assert_int_equal(halts, 1);
}

static void a_link_that_is_down_takes_nothing(void **state)
{
	struct vireo_frame frame = {.len_bytes = 60}, *frames[] = {&frame};
	struct port *port = *state;

	assert_true(port->kind->ops->carrier(port));
	assert_int_equal(port->kind->ops->deliver(port, 0, frames, 1), 1);
	fd_event_raise(interrupt_fd);
	interrupt_says = 1;
	link_says = 0;
	dispatch_all();
	assert_false(port->kind->ops->carrier(port));
	assert_int_equal(port->kind->ops->deliver(port, 0, frames, 1), 0);
}

static void a_card_that_the_kernel_wants_back_is_removed(void **state)
{
	check_says = -ECANCELED;
	assert_int_equal(loop_dispatch(ports.loop, 2500), 1);
	dispatch_all();
	assert_int_equal(removals, 1);
	assert_int_equal(halts, 1);
}

static void a_link_that_changes_is_no_loss(void **state)
{
	struct port *port = *state;

	fd_event_raise(interrupt_fd);
	interrupt_says = 1;
	link_says = 0;
	dispatch_all();
	assert_string_equal(port->kind->state(port), "down");
	link_says = 1;
	dispatch_all();
	assert_string_equal(port->kind->state(port), "up");
	assert_int_equal(halts, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_config_that_never_settles_is_looked_at_no_more),
		TEST(a_card_that_is_gone_is_let_alone),
		TEST(a_ring_that_lies_ends_the_cards_access_to_memory),
		TEST(a_worker_that_gives_frames_or_buffers_finds_out_as_well),
		TEST(a_link_that_is_down_takes_nothing),
		TEST(a_card_that_the_kernel_wants_back_is_removed),
		TEST(a_link_that_changes_is_no_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
