/* SPDX-License-Identifier: BSD-3-Clause */

/* How a device's queues come into the switch, and what is done when they do not. Device and switch are made up here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above: */
#include "base/loop.h"
#include "daemon/endpoint.h"
#include "port_device.h"
#include "port_session.h"
#include "daemon/retry.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "vireo/net.h"
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct ports ports;
static struct vireo_net_ops ops; /* of the device that is open */
static void *opaque;
static void *opaques[2]; /* of the devices, in order */
static unsigned nets;
static unsigned refuse; /* so many additions */
static unsigned asked, present[2][2], quiesced;
static bool pausable; /* the switch can hold frames */
static unsigned paused, resumed; /* so often */
static void (*pause_done)(void *opaque); /* called by the test */
static void *pause_opaque;
static char lines[4][128];
static unsigned line_count;

/* ---- the device ---- */

int vireo_net_new(const struct vireo_net_config *config, struct vireo_net **ret_net)
{
	memcpy(&ops, config->ops, sizeof(ops));
	assert_true(nets < 2);
	opaque = opaques[nets] = config->opaque;
	*ret_net = (struct vireo_net *)&opaques[nets++];
	return 0;
}

void vireo_net_free(struct vireo_net *net)
{
}

struct vireo_device *vireo_net_device(struct vireo_net *net)
{
	return (struct vireo_device *)net;
}

void vireo_device_memory_use(const struct vireo_device *device, struct vireo_memory_use *ret_use)
{
}

void port_session_report(const struct device_port *device, pid_t process, json_t *object)
{
}

struct vireo_queue *vireo_device_queue(struct vireo_device *device, uint32_t index)
{
	return (struct vireo_queue *)&ops;
}

static bool disabled;

bool vireo_queue_enabled(const struct vireo_queue *queue)
{
	return !disabled;
}

bool vireo_queue_waits(const struct vireo_queue *queue)
{
	return false;
}

bool vireo_queue_may_wait(const struct vireo_queue *queue)
{
	return false;
}

bool vireo_queue_awaits_signal(const struct vireo_queue *queue)
{
	return true;
}

void vireo_net_queue_quiesced(struct vireo_net *net, uint32_t queue)
{
	quiesced++;
}

static unsigned renewed;

void vireo_net_queue_renewed(struct vireo_net *net, uint32_t queue)
{
	renewed = renewed * 10 + queue + 1;
}

static unsigned links; /* set, as decimal digits: 1 down, 2 up */
static const struct vireo_net *deaf;

uint64_t vireo_queue_signals(const struct vireo_queue *queue)
{
	return 0;
}

int vireo_net_link_set(struct vireo_net *net, bool up)
{
	links = links * 10 + 1 + up;
	return 0;
}

static unsigned limits; /* set */
static uint64_t last_limit;

void vireo_device_memory_max_set(struct vireo_device *device, uint64_t memory_max_bytes)
{
	limits++;
	last_limit = memory_max_bytes;
}

static unsigned last_hello_ms = 1;

int vireo_endpoint_hello_set(struct vireo_endpoint *endpoint, unsigned hello_ms)
{
	last_hello_ms = hello_ms;
	return 0;
}

static unsigned speeds; /* set, as decimal digits: 1 unknown, 2 half, 3 full duplex */
static uint32_t last_mbits;

int vireo_net_speed_set(struct vireo_net *net, uint32_t mbits, enum vireo_net_duplex duplex)
{
	speeds = speeds * 10 + (duplex == VIREO_NET_DUPLEX_UNKNOWN ? 1 : duplex == VIREO_NET_DUPLEX_HALF ? 2 : 3);
	last_mbits = mbits;
	return 0;
}

bool vireo_net_link_told(const struct vireo_net *net)
{
	return net != deaf;
}

static unsigned available; /* in any receive queue */

unsigned vireo_queue_available(struct vireo_queue *queue)
{
	return available;
}

static struct vireo_cuse_config node; /* of the endpoint that is open */

int vireo_endpoint_open(struct vireo_device *device, const char *address, const struct vireo_endpoint_config *config,
			struct vireo_endpoint **ret_endpoint)
{
	node = config->cuse;
	*ret_endpoint = (struct vireo_endpoint *)&ops;
	return 0;
}

static int endpoint_fd = -1;

int vireo_endpoint_fd(const struct vireo_endpoint *endpoint)
{
	return endpoint_fd;
}

void vireo_endpoint_close(struct vireo_endpoint *endpoint, void (*done)(void *opaque), void *done_opaque)
{
	if (done)
		done(done_opaque);
}

int vireo_endpoint_hold(struct vireo_endpoint *endpoint, void (*held)(void *opaque, int err), void *held_opaque)
{
	return -EOPNOTSUPP;
}

int vireo_endpoint_export(struct vireo_endpoint *endpoint, struct vireo_endpoint_state *ret_state)
{
	return -EOPNOTSUPP;
}

int vireo_endpoint_go_on(struct vireo_endpoint *endpoint)
{
	return -EOPNOTSUPP;
}

int vireo_endpoint_dispatch(struct vireo_endpoint *endpoint)
{
	return 0;
}

bool vireo_endpoint_connected(const struct vireo_endpoint *endpoint)
{
	return true;
}

bool vireo_endpoint_peer(const struct vireo_endpoint *endpoint, struct vireo_endpoint_peer *ret_peer)
{
	return false;
}

unsigned vireo_net_offloads(const struct vireo_net *net)
{
	return 0;
}

/* What no worker is there to call. */
int vireo_net_kick_fd(struct vireo_net *net, uint32_t queue)
{
	return -1;
}

bool vireo_net_kick_enable(struct vireo_net *net, uint32_t queue, bool on)
{
	return false;
}

void vireo_net_queue_stats(const struct vireo_net *net, uint32_t queue, struct vireo_net_queue_stats *ret)
{
}

int vireo_net_transmit_look(struct vireo_net *net, uint32_t pair, struct vireo_frame *frames, uint32_t max)
{
	return 0;
}

void vireo_net_transmit_expect(struct vireo_net *net, uint32_t pair)
{
}

void vireo_net_transmit_complete(struct vireo_net *net, uint32_t pair)
{
}

void vireo_net_receive_keep(struct vireo_net *net, bool on)
{
}

unsigned vireo_net_receive_left(struct vireo_net *net, unsigned pair)
{
	return 0;
}

int vireo_net_receive_offer(struct vireo_net *net, uint32_t pair, struct vireo_frame *const *frames, uint32_t count)
{
	return 0;
}

uint64_t vireo_net_signal_look(struct vireo_net *net, unsigned queue)
{
	return 0;
}

static unsigned signalled; /* queues, as decimal digits */

void vireo_net_signal_now(struct vireo_net *net, unsigned queue)
{
	assert_false(present[!(queue & 1)][queue / 2]); /* or a worker might be at it */
	signalled = signalled * 10 + queue;
}

unsigned vireo_net_receive_room(struct vireo_net *net, unsigned pair)
{
	return 0;
}

void vireo_net_receive_flush(struct vireo_net *net, uint32_t pair)
{
}

/* ---- ports and switch ---- */

static void on_line(void *unused, enum vireo_log_level level, const char *line)
{
	snprintf(lines[line_count++ % 4], sizeof(lines[0]), "%s", line);
}

struct vireo_log logger_log(struct logger *logger)
{
	return (struct vireo_log){.write = on_line, .max_level = VIREO_LOG_INFO};
}

bool rate_pass_now(struct rate *rate, uint32_t *ret_left_out)
{
	return true;
}

void port_init(struct port *port, struct ports *of, const struct port_kind *of_kind, const struct port_spec *spec)
{
	port->kind = of_kind;
	port->ports = of;
	port->spec = *spec;
	port->log = port->peer_log = logger_log(NULL);
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

void sw_fdb_flush(struct sw *sw, struct sw_port *port)
{
}

int sw_port_inject(struct sw_port *port, const void *frame, uint32_t bytes)
{
	return 0;
}

static struct grace_item *graces[2];
static bool aside;

int sw_port_grace(struct sw_port *port, struct grace_item *item)
{
	if (aside)
		return -EOPNOTSUPP;
	graces[graces[0] != NULL] = item;
	return 0;
}

int sw_port_slow_set(struct sw_port *port, bool slow)
{
	return 0;
}

void sw_port_steered_set(struct sw_port *port, bool on)
{
}

void sw_port_signals_set(struct sw_port *port, bool held)
{
}

int sw_queue_add(struct sw_port *port, bool out, unsigned queue)
{
	asked++;
	if (refuse) {
		refuse--;
		return -ENOSPC; /* fs.epoll.max_user_watches */
	}
	present[out][queue]++;
	return 0;
}

bool sw_queue_present(const struct sw_port *port, bool out, unsigned queue)
{
	return present[out][queue];
}

void sw_queue_remove(struct sw_port *port, bool out, unsigned queue, void (*done)(void *opaque), void *done_opaque)
{
	present[out][queue] = 0;
	done(done_opaque);
}

int sw_queue_pause(struct sw_port *port, unsigned queue, void (*done)(void *opaque), void *done_opaque)
{
	assert_true(present[true][queue]);
	if (!pausable)
		return -EOPNOTSUPP;
	paused++;
	pause_done = done;
	pause_opaque = done_opaque;
	return 0;
}

void sw_queue_resume(struct sw_port *port, unsigned queue)
{
	resumed++;
}

/* ---- a port ---- */

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
}

static const struct endpoint_kind endpoint = {.what = "door", .config = config};
static const struct port_kind kind = {.spec = {.type = "made-up", .endpoint = &endpoint}, .open = device_port_open,
				      .state = device_port_state};

static int open_port(void **state, const struct port_kind *of_kind, unsigned queues)
{
	const struct port_spec spec = {.at = {.kind = &of_kind->spec, .address = "a"}, .queues = queues};
	char why[SPEC_WHY_BYTES];
	struct port *port;

	links = 0;
	deaf = NULL;
	pausable = false;
	paused = resumed = 0;
	pause_done = NULL;
	refuse = asked = quiesced = line_count = nets = available = signalled = 0;
	memset(present, 0, sizeof(present));
	if (loop_new(&ports.loop))
		return -1;
	endpoint_fd = eventfd(0, 0);
	if (of_kind->open(&ports, &spec, &port, why))
		return -1;
	*state = port;
	return 0;
}

static int set_up(void **state)
{
	return open_port(state, &kind, 1);
}

static int set_up_node(void **state)
{
	return open_port(state, &port_cuse, 2);
}

static int tear_down(void **state)
{
	device_port_close(*state);
	device_port_free(*state);
	close(endpoint_fd);
	loop_free(ports.loop);
	return 0;
}

static void wait_until_asked(unsigned times)
{
	for (unsigned i = 0; i < 1000 && asked < times; i++)
		loop_dispatch(ports.loop, 10);
	assert_int_equal(asked, times);
}

static void queue_that_could_not_be_added_is_tried_again(void **state)
{
	refuse = 3;
	ops.queue_started(opaque, 1);
	ops.queue_started(opaque, 0);
	assert_false(present[false][0] || present[true][0]);
	wait_until_asked(5);
	assert_int_equal(present[false][0], 1);
	assert_int_equal(present[true][0], 1);
	assert_int_equal(line_count, 2); /* one when it began, one when it was over */
	assert_non_null(strstr(lines[0], "queue 1 is not served: No space left on device; trying again"));
	assert_non_null(strstr(lines[1], "served again"));
}

static void queue_that_was_stopped_meanwhile_is_not(void **state)
{
	refuse = 1;
	ops.queue_started(opaque, 1);
	ops.queue_stop(opaque, 1);
	assert_int_equal(quiesced, 1);
	ops.queue_started(opaque, 0);
	wait_until_asked(2);
	for (unsigned i = 0; i < 2 * RETRY_MS / 10; i++)
		loop_dispatch(ports.loop, 10);
	assert_false(present[false][0]);
	assert_int_equal(asked, 2);
}

static unsigned silences;

static void note_silence(void *of_port)
{
	silences++;
}

static void port_that_is_silenced_takes_nothing_until_it_goes_on(void **state)
{
	silences = 0;
	ops.queue_started(opaque, 0);
	ops.queue_started(opaque, 1);
	device_port_silence(*state, note_silence);
	assert_int_equal(silences, 1);
	assert_false(present[false][0]);
	assert_true(present[true][0]); /* what comes for it is still delivered */
	ops.queue_stop(opaque, 1);
	assert_int_equal(quiesced, 1);
	ops.queue_started(opaque, 1);
	assert_false(present[false][0]);
	device_port_go_on(*state);
	assert_true(present[false][0]);
	assert_int_equal(silences, 1);
}

static void queues_that_go_on_are_answered_for_when_workers_have_been_quiet(void **state)
{
	renewed = 0;
	ops.queue_started(opaque, 0);
	ops.queue_started(opaque, 1);
	assert_int_equal(ops.queue_renew(opaque, 0), 0);
	assert_int_equal(ops.queue_renew(opaque, 1), 0);
	assert_int_equal(renewed, 0);
	for (unsigned i = 0; i < 2; i++)
		graces[i]->fn(graces[i]);
	assert_int_equal(renewed, 12);
	assert_int_equal(quiesced, 0);
	assert_true(present[false][0] && present[true][0]);
	aside = true;
	assert_int_equal(ops.queue_renew(opaque, 0), -EOPNOTSUPP);
	aside = false;
	present[true][0] = 0;
	assert_int_equal(ops.queue_renew(opaque, 0), -EOPNOTSUPP);
}

/* The driver uses fewer pairs, or a ring is disabled, or the port is silenced: no worker comes back to what is held, and nobody stops the queue. */
static void what_a_queue_holds_that_leaves_the_switch_and_runs_on_is_signalled(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		ops.queue_started(opaque, i);
	ops.pairs_set(opaque, 1);
	assert_int_equal(signalled, 2);
	ops.pairs_set(opaque, 2);
	assert_true(present[true][1]);
	disabled = true;
	ops.queue_enabled(opaque, 2, false);
	disabled = false;
	assert_int_equal(signalled, 22);
	ops.queue_enabled(opaque, 2, true);
	device_port_silence(*state, note_silence);
	assert_int_equal(signalled, 2213);
	device_port_go_on(*state);
	ops.queue_stop(opaque, 1); /* which signals by itself */
	ops.queue_stop(opaque, 2);
	assert_int_equal(quiesced, 2);
	assert_int_equal(signalled, 2213);
}

static void pause_passes(void)
{
	void (*done)(void *of) = pause_done;

	assert_non_null(done);
	pause_done = NULL;
	done(pause_opaque);
}

static void frames_are_held_while_a_receive_queue_may_come_back(void **state)
{
	pausable = true;
	ops.queue_started(opaque, 0);
	ops.queue_stop(opaque, 0);
	assert_int_equal(paused, 1);
	assert_int_equal(quiesced, 0); /* not before workers have been quiet */
	pause_passes();
	assert_int_equal(quiesced, 1);
	assert_true(present[true][0]);
	ops.queue_started(opaque, 0);
	assert_int_equal(resumed, 1);
	assert_int_equal(asked, 1); /* it was never away */
	ops.queue_stop(opaque, 0);
	pause_passes();
	ops.queue_ended(opaque, 0);
	assert_false(present[true][0]);
	assert_int_equal(quiesced, 2);
	ops.queue_started(opaque, 0);
	assert_true(present[true][0]);
	assert_int_equal(resumed, 1);
}

/* It ends while the switch is still at it, or is disabled meanwhile. */
static void a_pause_that_has_not_begun_ends_as_well(void **state)
{
	pausable = true;
	ops.queue_started(opaque, 0);
	ops.queue_stop(opaque, 0);
	ops.queue_ended(opaque, 0);
	assert_true(present[true][0]);
	assert_int_equal(quiesced, 0);
	pause_passes();
	assert_false(present[true][0]);
	assert_int_equal(quiesced, 1);
	ops.queue_started(opaque, 0);
	ops.queue_stop(opaque, 0);
	pause_passes();
	disabled = true;
	ops.queue_enabled(opaque, 0, false);
	assert_false(present[true][0]);
	disabled = false;
	assert_int_equal(resumed, 0);
}

/* A transmit queue keeps its frames by itself; and there may be no memory to hold frames in. */
static void what_cannot_be_paused_leaves_the_switch(void **state)
{
	pausable = true;
	ops.queue_started(opaque, 1);
	ops.queue_stop(opaque, 1);
	assert_false(present[false][0]);
	pausable = false;
	ops.queue_started(opaque, 0);
	ops.queue_stop(opaque, 0);
	assert_false(present[true][0]);
	assert_int_equal(paused, 0);
	assert_int_equal(quiesced, 2);
	ops.queue_ended(opaque, 0);
	ops.queue_ended(opaque, 2); /* the control queue */
	ops.queue_started(opaque, 0);
	assert_true(present[true][0]);
}

static void second_pair_of_a_node_gets_frames_when_its_guest_has_put_a_buffer_there(void **state)
{
	ops.queue_started(opaques[0], 0);
	ops.queue_started(opaques[1], 0);
	ops.queue_started(opaques[1], 1);
	assert_int_equal(present[true][0], 1); /* the first pair is always used */
	assert_int_equal(present[false][1], 1);
	assert_int_equal(present[true][1], 0);
	available = 1;
	for (unsigned i = 0; i < 1000 && !present[true][1]; i++)
		loop_dispatch(ports.loop, 10);
	assert_int_equal(present[true][1], 1);
	available = 0;
	ops.queue_stop(opaques[1], 0);
	assert_int_equal(present[true][1], 0);
	assert_int_equal(quiesced, 1);
	ops.queue_started(opaques[1], 0); /* anew: what was used before is not */
	assert_int_equal(present[true][1], 0);
}

static void node_is_one_process_and_has_so_many_pairs(void **state)
{
	struct vireo_endpoint_opener opener = {.size = sizeof(opener), .number = 1, .process = 7};
	struct vireo_device *first, *second, *third = NULL;

	assert_string_equal(port_cuse.state(*state), "waiting");
	assert_int_equal(node.device_new(node.device_opaque, &opener, &first), 0);
	assert_string_equal(port_cuse.state(*state), "connected");
	opener.process = 8;
	assert_int_equal(node.device_new(node.device_opaque, &opener, &third), -EBUSY);
	opener.process = 7;
	assert_int_equal(node.device_new(node.device_opaque, &opener, &second), 0);
	assert_ptr_not_equal(first, second);
	assert_int_equal(node.device_new(node.device_opaque, &opener, &third), -EBUSY);
	node.device_gone(node.device_opaque, first);
	assert_string_equal(port_cuse.state(*state), "connected");
	node.device_gone(node.device_opaque, second);
	assert_string_equal(port_cuse.state(*state), "waiting");
	opener.process = 8;
	assert_int_equal(node.device_new(node.device_opaque, &opener, &third), 0);
	assert_ptr_equal(third, first);
}

/* Its second pair was of the first opener, as another process has had it; and numbers may lie. */
static void opener_that_was_handed_over_has_the_pair_that_it_had(void **state)
{
	struct vireo_endpoint_opener opener = {.size = sizeof(opener), .number = 1, .process = 7, .device = 2};
	struct vireo_device *first, *second;

	assert_int_equal(node.device_new(node.device_opaque, &opener, &second), 0);
	assert_int_equal(node.device_number(node.device_opaque, second), 2);
	assert_int_equal(node.device_new(node.device_opaque, &opener, &first), 0); /* it is another's: any */
	assert_int_equal(node.device_number(node.device_opaque, first), 1);
	node.device_gone(node.device_opaque, first);
	opener.device = 3;
	assert_int_equal(node.device_new(node.device_opaque, &opener, &first), 0);
	assert_int_equal(node.device_number(node.device_opaque, first), 1);
	assert_int_equal(node.device_number(node.device_opaque, NULL), 0);
}

static void link_of_a_device_with_several_pairs_is_one(void **state)
{
	assert_int_equal(device_port_link_set(*state, false), PORT_TOLD);
	assert_int_equal(links, 1);
	deaf = (struct vireo_net *)&opaques[0];
	assert_int_equal(device_port_link_set(*state, true), PORT_TOLD_NOT);
	assert_int_equal(links, 12);
}

static void time_to_say_hello_goes_to_who_listens_as_the_spec_has_it(void **state)
{
	struct port *port = *state;

	port->spec.at.endpoint.hello_ms = 20;
	device_port_hello_set(port);
	assert_int_equal(last_hello_ms, 20);
	port->spec.at.endpoint.client = true;
	port->spec.at.endpoint.hello_ms = 30;
	device_port_hello_set(port);
	assert_int_equal(last_hello_ms, 20);
}

static void speed_and_limit_go_to_each_device_once_as_the_spec_has_them(void **state)
{
	struct port *port = *state;

	speeds = 0;
	device_port_speed_set(port);
	assert_int_equal(speeds, port->kind == &kind ? 1 : 11);
	assert_int_equal(last_mbits, VIREO_NET_SPEED_UNKNOWN);
	speeds = 0;
	limits = 0;
	port->spec.at.endpoint.memory_max_bytes = 7;
	device_port_memory_max_set(port);
	assert_int_equal(limits, port->kind == &kind ? 1 : 2);
	assert_int_equal(last_limit, 7);
	port->spec.speed = (struct port_speed){.mbits = 2500};
	device_port_speed_set(port);
	port->spec.speed.half = true;
	device_port_speed_set(port);
	assert_int_equal(speeds, port->kind == &kind ? 32 : 3322);
	assert_int_equal(last_mbits, 2500);
}

/* Who opens the node later finds the link as it is; who has it and is deaf, is said to be. */
static void link_of_a_node_is_that_of_all_its_devices(void **state)
{
	struct vireo_endpoint_opener opener = {.size = sizeof(opener), .number = 1, .process = 7};
	struct vireo_device *first;

	assert_int_equal(device_port_link_set(*state, false), PORT_TOLD_NOBODY);
	assert_int_equal(links, 11);
	deaf = (struct vireo_net *)&opaques[1];
	assert_int_equal(node.device_new(node.device_opaque, &opener, &first), 0);
	assert_int_equal(device_port_link_set(*state, true), PORT_TOLD);
	assert_int_equal(links, 1122);
	deaf = (struct vireo_net *)&opaques[0];
	assert_int_equal(device_port_link_set(*state, false), PORT_TOLD_NOT);
}

static int set_up_two(void **state)
{
	return open_port(state, &kind, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(queue_that_could_not_be_added_is_tried_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(queue_that_was_stopped_meanwhile_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(port_that_is_silenced_takes_nothing_until_it_goes_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(queues_that_go_on_are_answered_for_when_workers_have_been_quiet, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_queue_holds_that_leaves_the_switch_and_runs_on_is_signalled, set_up_two, tear_down),
		cmocka_unit_test_setup_teardown(frames_are_held_while_a_receive_queue_may_come_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_pause_that_has_not_begun_ends_as_well, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_paused_leaves_the_switch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(second_pair_of_a_node_gets_frames_when_its_guest_has_put_a_buffer_there,
						set_up_node, tear_down),
		cmocka_unit_test_setup_teardown(node_is_one_process_and_has_so_many_pairs, set_up_node, tear_down),
		cmocka_unit_test_setup_teardown(opener_that_was_handed_over_has_the_pair_that_it_had, set_up_node, tear_down),
		cmocka_unit_test_setup_teardown(link_of_a_device_with_several_pairs_is_one, set_up_two, tear_down),
		cmocka_unit_test_setup_teardown(link_of_a_node_is_that_of_all_its_devices, set_up_node, tear_down),
		cmocka_unit_test_setup_teardown(time_to_say_hello_goes_to_who_listens_as_the_spec_has_it, set_up_two, tear_down),
		cmocka_unit_test_setup_teardown(speed_and_limit_go_to_each_device_once_as_the_spec_has_them, set_up_two, tear_down),
		cmocka_unit_test_setup_teardown(speed_and_limit_go_to_each_device_once_as_the_spec_has_them, set_up_node, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
