/* SPDX-License-Identifier: BSD-3-Clause */
/* Port specifications, options and the configuration file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "daemon/endpoint.h"
#include "handover_state.h"
#include "options.h"
#include "switch/switch.h"
#include "switch/vlan.h"
#include "port.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct port_spec good(const char *text)
{
	struct port_spec spec;
	char why[SPEC_WHY_BYTES] = "";

	if (port_spec_parse(text, &spec, why))
		fail_msg("%s: %s", text, why);
	return spec;
}

static void assert_bad(const char *text, const char *expected)
{
	struct port_spec spec = {.queues = 4711};
	char why[SPEC_WHY_BYTES] = "";

	if (!port_spec_parse(text, &spec, why))
		fail_msg("%s was taken", text);
	assert_int_equal(spec.queues, 4711); /* untouched */
	if (!strstr(why, expected))
		fail_msg("%s: expected '%s' in '%s'", text, expected, why);
}

static void a_vhost_user_port_has_all_its_keys(void **state)
{
	struct port_spec spec = good(
		"vhost-user:/run/a/vm1.sock,name=one,mode=server,queues=4,mtu=9000,mac=52:54:00:aB:cd:ef,"
		"user=0,group=7,perm=0640");

	assert_ptr_equal(spec.at.kind, &port_vhost_user.spec);
	assert_string_equal(spec.at.address, "/run/a/vm1.sock");
	assert_string_equal(spec.at.name, "one");
	assert_true(spec.at.name_given);
	assert_false(spec.at.endpoint.client);
	assert_int_equal(spec.queues, 4);
	assert_int_equal(spec.mtu, 9000);
	assert_true(spec.set_mac);
	assert_memory_equal(spec.macs[0], "\x52\x54\x00\xab\xcd\xef", 6);
	assert_true(spec.at.endpoint.set_user && spec.at.endpoint.user == 0);
	assert_true(spec.at.endpoint.set_group && spec.at.endpoint.group == 7);
	assert_int_equal(spec.at.endpoint.perm, 0640);
}

static void a_port_may_have_several_addresses(void **state)
{
	struct port_spec spec = good("vhost-user:/a,mac=52:54:00:00:00:01+52:54:00:00:00:02+00:00:5e:00:01:07");

	assert_int_equal(spec.mac_count, 3);
	assert_memory_equal(spec.macs[0], "\x52\x54\0\0\0\1", 6);
	assert_memory_equal(spec.macs[1], "\x52\x54\0\0\0\2", 6);
	assert_memory_equal(spec.macs[2], "\0\0\x5e\0\1\7", 6);
	assert_false(spec.spoof_allowed);
	assert_false(good("vhost-user:/a,mac=52:54:00:00:00:01,spoof=deny").spoof_allowed);
	assert_true(good("vduse:a,mac=52:54:00:00:00:01,spoof=allow").spoof_allowed);
	assert_true(good("cuse:a,mac=52:54:00:00:00:01").set_mac);
	assert_bad("vhost-user:/a,mac=52:54:00:00:00:01+", "up to 8");
	assert_bad("vhost-user:/a,mac=52:54:00:00:00:01++52:54:00:00:00:02", "up to 8");
	assert_bad("vhost-user:/a,mac=52:54:00:00:00:01+53:54:00:00:00:02", "up to 8");
	assert_bad("vhost-user:/a,mac=2:0:0:0:0:1", "up to 8");
	assert_bad("vhost-user:/a,mac=02:00:00:00:00:01+02:00:00:00:00:02+02:00:00:00:00:03+02:00:00:00:00:04+"
		   "02:00:00:00:00:05+02:00:00:00:00:06+02:00:00:00:00:07+02:00:00:00:00:08+02:00:00:00:00:09",
		   "up to 8");
	assert_bad("vhost-user:/a,mac=52:54:00:00:00:01,spoof=no", "deny, allow or learn");
	assert_bad("vhost-user:/a,spoof=deny", "only with mac=");
}

static void what_is_flooded_has_a_limit(void **state)
{
	assert_int_equal(good("vhost-user:/a").flood_copies, 0); /* the switch's default */
	assert_int_equal(good("vhost-user:/a,flood-max=1000").flood_copies, 1000);
	assert_int_equal(good("tap:a,flood-max=10000000").flood_copies, 10000000);
	assert_true(good("cuse:a,flood-max=any").flood_copies == SW_FLOOD_ANY);
	assert_true(good("vduse:a,flood-max=any").flood_copies == SW_FLOOD_ANY);
	assert_bad("vhost-user:/a,flood-max=999", "'flood-max=999': expected 1000 to 10000000 copies a second, or any");
	assert_bad("vhost-user:/a,flood-max=10000001", "copies a second, or any");
	assert_bad("vhost-user:/a,flood-max=none", "copies a second, or any");
	assert_bad("vhost-user:/a,flood-max=", "copies a second, or any");
	assert_bad("null:a,flood-max=any", "unknown key 'flood-max'");
}

static void a_port_has_limits(void **state)
{
	struct port_spec spec = good("vhost-user:/a,rate-in=12M/1M,rate-out=1000,frames-in=500/50,frames-out=100000000,"
				     "storm-broadcast=100,storm-multicast=1,storm-unicast=7/9");

	assert_true(spec.limits.bytes_in.per_second == 12 << 20 && spec.limits.bytes_in.burst == 1 << 20);
	assert_true(spec.limits.bytes_out.per_second == 1000 && !spec.limits.bytes_out.burst);
	assert_true(spec.limits.frames_in.per_second == 500 && spec.limits.frames_in.burst == 50);
	assert_true(spec.limits.frames_out.per_second == 100000000);
	assert_true(spec.limits.broadcast.per_second == 100 && spec.limits.multicast.per_second == 1);
	assert_true(spec.limits.unknown.per_second == 7 && spec.limits.unknown.burst == 9);
	assert_int_equal(good("tap:a").limits.bytes_in.per_second, 0);
	assert_int_equal(good("tap:a,rate-out=1G").limits.bytes_out.per_second, 1 << 30);
	assert_int_equal(good("vduse:a,storm-unicast=5").limits.unknown.per_second, 5);
	assert_int_equal(good("tap:a").limits.priority, SW_PRIORITY_OFF);
	assert_int_equal(good("tap:a,priority=off").limits.priority, SW_PRIORITY_OFF);
	assert_int_equal(good("vhost-user:/a,priority=pcp").limits.priority, SW_PRIORITY_PCP);
	assert_int_equal(good("cuse:a,priority=dscp").limits.priority, SW_PRIORITY_DSCP);
	assert_bad("tap:a,priority=on", "expected off, pcp or dscp");
	assert_bad("tap:a,priority=", "expected off, pcp or dscp");
	assert_int_equal(good("cuse:a,frames-in=5").limits.frames_in.per_second, 5);
	assert_int_equal(good("virtio-pci:0000:00:04.0,storm-broadcast=5").limits.broadcast.per_second, 5);
}

static void bad_limits_are_named(void **state)
{
	assert_bad("tap:a,rate-in=999", "'rate-in=999': expected 1000 to 1T bytes a second");
	assert_bad("tap:a,rate-in=2T", "expected 1000 to 1T bytes");
	assert_bad("tap:a,rate-out=1M/", "expected 1000 to 1T bytes");
	assert_bad("tap:a,rate-out=1M/0", "expected 1000 to 1T bytes");
	assert_bad("tap:a,rate-out=/1M", "expected 1000 to 1T bytes");
	assert_bad("tap:a,rate-out=1M/1M/1M", "expected 1000 to 1T bytes");
	assert_bad("tap:a,rate-out=1M/1T", "expected 1000 to 1T bytes");
	assert_bad("tap:a,frames-in=0", "expected 1 to 100000000 frames a second");
	assert_bad("tap:a,frames-out=1K", "expected 1 to 100000000 frames");
	assert_bad("tap:a,frames-out=100000000000000000000000000000000000000000000000000", "expected 1 to 100000000 frames");
	assert_bad("tap:a,storm-broadcast=-1", "expected 1 to 100000000 frames");
	assert_bad("tap:a,storm-multicast=", "expected 1 to 100000000 frames");
	assert_bad("tap:a,storm-unicast=any", "expected 1 to 100000000 frames");
	assert_bad("null:a,rate-in=1M", "unknown key 'rate-in'");
}

static void a_port_has_a_guard(void **state)
{
	struct port_spec spec = good("vhost-user:/a,spoof=learn,ip=10.0.0.5+10.1.0.0/16+2001:db8::5+fe80::/10,arp-guard=on,dhcp-guard=on,ra-guard=on");
	const struct sw_prefix *ip = spec.guard.addresses;

	assert_int_equal(spec.guard.address_count, 4);
	assert_true(ip[0].family == 4 && ip[0].bits == 32 && ip[1].bits == 16 && ip[2].family == 6 && ip[2].bits == 128);
	assert_true(ip[3].bits == 10 && ip[3].address[0] == 0xfe && ip[3].address[1] == 0x80);
	assert_true(spec.guard.neighbours && spec.guard.dhcp_servers && spec.guard.routers && spec.spoof_learned);
	assert_false(good("tap:a,dhcp-guard=off").guard.dhcp_servers || good("tap:a").guard.address_count);
	assert_bad("tap:a,ip=", "'ip=': expected addresses such as");
	assert_bad("tap:a,ip=10.0.0", "expected addresses such as");
	assert_bad("tap:a,ip=10.0.0.1/33", "expected addresses such as");
	assert_bad("tap:a,ip=10.0.0.1/8", "expected addresses such as");
	assert_bad("tap:a,ip=10.0.0.1+", "expected addresses such as");
	assert_bad("tap:a,ip=::1/129", "expected addresses such as");
	assert_bad("tap:a,ip=1.0.0.1+1.0.0.2+1.0.0.3+1.0.0.4+1.0.0.5+1.0.0.6+1.0.0.7+1.0.0.8+1.0.0.9+1.0.0.10+1.0.0.11+1.0.0.12+"
		   "1.0.0.13+1.0.0.14+1.0.0.15+1.0.0.16+1.0.0.17", "expected addresses such as");
	assert_bad("tap:a,arp-guard=1", "'arp-guard=1': expected on or off");
	assert_bad("vhost-user:/a,mac=52:54:00:00:00:01,spoof=learn", "without mac=");
}

static bool in_trunk(const struct port_spec *spec, unsigned vlan)
{
	return vlan_set_has(spec->tagged, (uint16_t)vlan);
}

static void a_port_has_vlans(void **state)
{
	struct port_spec spec = good("tap:a,vlan=10,trunk=20-29+4094+31-31,vlan-tag=802.1ad");

	assert_int_equal(spec.vlan, 10);
	assert_int_equal(spec.vlan_tag, 0x88a8);
	assert_true(spec.trunk && in_trunk(&spec, 20) && in_trunk(&spec, 29) && in_trunk(&spec, 31) && in_trunk(&spec, 4094));
	assert_false(in_trunk(&spec, 19) || in_trunk(&spec, 30) || in_trunk(&spec, 10) || in_trunk(&spec, 0));
	spec = good("vhost-user:/a,trunk=all");
	assert_true(in_trunk(&spec, 1) && in_trunk(&spec, 4094) && !in_trunk(&spec, 0) && !in_trunk(&spec, 4095));
	spec = good("cuse:a,vlan=4094,tunnel=on");
	assert_true(spec.tunnel && spec.vlan == 4094 && !spec.trunk);
	assert_int_equal(good("vduse:a,vlan=1,tunnel=off").vlan, 1);
	assert_int_equal(good("virtio-pci:0000:00:04.0").vlan, 0);
	assert_true(good("tap:a,isolated=on").isolated);
	assert_true(good("tap:a,gro=on").gro && good("virtio-pci:0000:00:04.0,gro=on").gro);
	assert_false(good("tap:a,gro=off").gro || good("tap:a").gro);
	assert_bad("tap:a,gro=yes", "'gro=yes': expected on or off");
	assert_bad("vhost-user:/a,gro=on", "unknown key 'gro'");
	assert_true(good("vhost-user:/a,rss=off").rss_off);
	assert_false(good("vhost-user:/a,rss=on").rss_off || good("vhost-user:/a").rss_off);
	assert_bad("vhost-user:/a,rss=yes", "'rss=yes': expected on or off");
	assert_bad("vduse:a,rss=on", "unknown key 'rss'"); /* the kernel takes no control queue */
	assert_false(good("tap:a,isolated=off").isolated || good("vhost-user:/a").isolated);
	assert_bad("tap:a,isolated=1", "'isolated=1': expected on or off");
}

static void a_port_has_a_role(void **state)
{
	assert_true(good("tap:a,role=uplink").uplink && good("virtio-pci:0000:00:04.0,role=uplink,trunk=all").uplink);
	assert_false(good("tap:a,role=guest").uplink || good("vhost-user:/a").uplink || good("vhost-user:/a").vm2vm_given);
	assert_int_equal(good("vhost-user:/a,vm2vm=off").vm2vm, SW_VM2VM_OFF);
	assert_int_equal(good("vduse:a,vm2vm=hardware").vm2vm, SW_VM2VM_HARDWARE);
	assert_int_equal(good("cuse:a,vm2vm=software,isolated=on").vm2vm, SW_VM2VM_SOFTWARE);
	assert_bad("tap:a,role=router", "'role=router': expected guest or uplink");
	assert_bad("tap:a,vm2vm=2", "'vm2vm=2': expected off, software or hardware");
	assert_bad("tap:a,vm2vm=", "expected off, software or hardware");
	assert_bad("tap:a,role=uplink,vm2vm=off", "vm2vm: expected without role=uplink");
	assert_bad("tap:a,role=uplink,isolated=on", "isolated: expected without role=uplink");
	assert_bad("tap:a,vm2vm=hardware,isolated=on", "isolated: expected without vm2vm=");
	assert_bad("null:a,role=uplink", "unknown key 'role'");
}

static void a_port_begins_with_a_link_and_workers(void **state)
{
	struct port_spec spec = good("tap:a,queues=4,worker=1:2+3:0");

	assert_false(spec.running.link_down);
	assert_true(good("null:a,link=down").running.link_down && !good("vhost-user:/a,link=up").running.link_down);
	assert_int_equal(spec.running.worker[1], 3);
	assert_int_equal(spec.running.worker[3], 1);
	assert_int_equal(spec.running.worker[0] + spec.running.worker[2], 0);
	spec = good("cuse:a,worker=127");
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		assert_int_equal(spec.running.worker[i], 128);
	assert_int_equal(good("tap:a,queues=2,worker=1+1:0").running.worker[1], 1);
	assert_bad("tap:a,link=off", "'link=off': expected up or down");
	assert_bad("tap:a,worker=128", "'worker=128': expected a worker's number");
	assert_bad("tap:a,worker=", "expected a worker's number");
	assert_bad("tap:a,queues=2,worker=1:0+", "expected a worker's number");
	assert_bad("tap:a,queues=2,worker=128:0", "expected a worker's number");
	assert_bad("tap:a,queues=2,worker=2:0", "worker: expected queues that the port has");
	assert_bad("null:a,worker=0", "unknown key 'worker'");
}

static void entries_of_the_database_are_read(void **state)
{
	struct written_entries e = {0};
	char why[SPEC_WHY_BYTES];

	assert_true(written_entries_add(&e, "52:54:00:00:00:01 vm1", 7, why));
	assert_true(written_entries_add(&e, "52:54:00:00:00:02\tvm2   4094", 8, why));
	assert_true(written_entries_add(&e, "52:54:00:00:00:02 vm2 0", 9, why));
	assert_int_equal(e.count, 3);
	assert_string_equal(e.of[0].port, "vm1");
	assert_int_equal(e.of[0].line, 7);
	assert_int_equal(e.of[0].vlan, VLAN_NONE);
	assert_int_equal(e.of[1].vlan, 4094);
	assert_memory_equal(e.of[1].mac, "\x52\x54\0\0\0\2", 6);
	assert_int_equal(e.of[2].vlan, 0);
	written_entries_free(&e);
}

static void entries_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "expected MAC PORT"},
		{"52:54:00:00:00:01", "expected MAC PORT"},
		{"52:54:00:00:00:01 vm1 7 8", "expected MAC PORT"},
		{"53:54:00:00:00:01 vm1", "expected a unicast address"},
		{"52:54:00:00:00:012 vm1", "expected a unicast address"},
		{"vm1 52:54:00:00:00:01", "expected a unicast address"},
		{"52:54:00:00:00:01 -vm1", "expected a port's name"},
		{"52:54:00:00:00:01 a234567890123456789012345678901234567890123456789012345678901234", "expected a port's name"},
		{"52:54:00:00:00:01 vm1 4095", "expected 0 (none) to 4094"},
		{"52:54:00:00:00:01 vm1 x", "expected 0 (none) to 4094"},
		{"52:54:00:00:00:01 vm1 1234567890", "expected"},
	};
	struct written_entries e = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		char why[SPEC_WHY_BYTES] = "";

		assert_false(written_entries_add(&e, bad[i].text, 1, why));
		if (!strstr(why, bad[i].why))
			print_error("'%s': %s\n", bad[i].text, why);
		assert_non_null(strstr(why, bad[i].why));
	}
	assert_int_equal(e.count, 0);
}

static void a_bond_has_all_its_keys(void **state)
{
	struct port_spec spec = good("bond:up,mode=lacp,hash=layer3+4,lacp=passive,rate=fast,system=02:00:00:00:00:01,role=uplink,vlan=7,trunk=8-9");
	struct sw_bond_config config = port_bond_config(&spec.bond);

	assert_ptr_equal(spec.at.kind, &port_bond.spec);
	assert_string_equal(spec.at.name, "up");
	assert_true(spec.uplink && spec.trunk && config.lacp_passive && config.lacp_fast && !config.primary);
	assert_int_equal(config.mode, SW_BOND_LACP);
	assert_int_equal(config.hash, SW_BOND_LAYER34);
	assert_memory_equal(config.lacp_system, "\2\0\0\0\0\1", 6);
	spec = good("bond:up,primary=tap0");
	config = port_bond_config(&spec.bond);
	assert_int_equal(config.mode, SW_BOND_ACTIVE_BACKUP);
	assert_string_equal(config.primary, "tap0");
	spec = good("bond:up,mode=balance");
	config = port_bond_config(&spec.bond);
	assert_int_equal(config.hash, SW_BOND_LAYER23);
	spec = good("bond:up,mode=balance,hash=layer2");
	config = port_bond_config(&spec.bond);
	assert_int_equal(config.hash, SW_BOND_LAYER2);
	assert_bad("bond:up,mode=802.3ad", "'mode=802.3ad': expected active-backup, balance or lacp");
	assert_bad("bond:up,mode=balance,hash=layer4", "expected layer2, layer2+3 or layer3+4");
	assert_bad("bond:up,hash=layer2", "hash: expected with mode=balance or mode=lacp");
	assert_bad("bond:up,mode=balance,rate=fast", "lacp, rate, system: expected with mode=lacp");
	assert_bad("bond:up,mode=lacp,rate=1", "expected slow or fast");
	assert_bad("bond:up,mode=lacp,lacp=off", "expected active or passive");
	assert_bad("bond:up,mode=lacp,system=01:00:00:00:00:01", "expected a unicast address");
	assert_bad("bond:up,mode=lacp,primary=a", "primary: expected with mode=active-backup");
	assert_bad("bond:up,primary=-a", "expected a port's name");
	assert_bad("bond:a b", "a name has");
	assert_bad("bond:up,bond=b", "unknown key 'bond'");
}

static void a_member_of_a_bond_leaves_to_it_what_is_its_own(void **state)
{
	static const char *const refused[] = {"vlan=3", "trunk=3", "isolated=on", "role=uplink", "role=guest", "vm2vm=off", "rate-in=1M", "frames-out=5",
					      "storm-broadcast=5", "ip=10.0.0.1", "arp-guard=on", "mcast-router=auto", "fast-leave=on", "flood-max=any",
					      "gro=on"};
	char text[80];

	assert_string_equal(good("tap:a,bond=up,queues=2,mtu=9000").member_of, "up");
	assert_string_equal(good("vhost-user:/a,bond=up,mac=52:54:00:00:00:01").member_of, "up");
	assert_string_equal(good("virtio-pci:0000:00:04.0,bond=up").member_of, "up");
	assert_string_equal(good("vduse:a,bond=up").member_of, "up");
	assert_string_equal(good("cuse:a,bond=up").member_of, "up");
	assert_bad("tap:a,bond=a b", "expected a bond's name");
	assert_bad("loop:a,bond=up", "unknown key 'bond'");
	assert_bad("null:a,bond=up", "unknown key 'bond'");
	assert_bad("pcap-in:/a,bond=up", "unknown key 'bond'");
	assert_bad("pcap-out:/a,bond=up", "unknown key 'bond'");
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
		snprintf(text, sizeof(text), "tap:a,bond=up,%s", refused[i]);
		assert_bad(text, "give those to the bond");
	}
	assert_bad("vhost-user:/a,bond=up,mac=52:54:00:00:00:01,spoof=deny", "give those to the bond");
}

/* What a SPEC says of itself goes before the switch's setting. */
static void the_switchs_vm2vm_is_for_guests_that_say_nothing(void **state)
{
	struct port_spec silent = good("vhost-user:/a"), says = good("vhost-user:/a,vm2vm=software"),
			 isolated = good("vhost-user:/a,isolated=on"), uplink = good("tap:a,role=uplink");

	port_vm2vm_settle(&silent, SW_VM2VM_HARDWARE);
	port_vm2vm_settle(&says, SW_VM2VM_HARDWARE);
	port_vm2vm_settle(&isolated, SW_VM2VM_HARDWARE);
	port_vm2vm_settle(&uplink, SW_VM2VM_HARDWARE);
	assert_string_equal(port_vm2vm_name(&silent), "hardware");
	assert_string_equal(port_vm2vm_name(&says), "software");
	assert_string_equal(port_vm2vm_name(&isolated), "software");
	assert_null(port_vm2vm_name(&uplink));
}

static void bad_vlans_are_named(void **state)
{
	assert_bad("tap:a,vlan=0", "'vlan=0': expected 1 to 4094");
	assert_bad("tap:a,vlan=4095", "expected 1 to 4094");
	assert_bad("tap:a,trunk=", "expected VLANs such as 10, 10-19 or 10-19+30, or all");
	assert_bad("tap:a,trunk=0-3", "expected VLANs");
	assert_bad("tap:a,trunk=3-2", "expected VLANs");
	assert_bad("tap:a,trunk=1-4095", "expected VLANs");
	assert_bad("tap:a,trunk=1+", "expected VLANs");
	assert_bad("tap:a,trunk=1-2-3", "expected VLANs");
	assert_bad("tap:a,vlan-tag=802.1ad", "vlan-tag: expected with trunk=, or with vlan= and without tunnel=on");
	assert_bad("tap:a,vlan=1,tunnel=on,vlan-tag=802.1q", "vlan-tag: expected with trunk=");
	assert_bad("tap:a,vlan=1,vlan-tag=0x88a8", "expected 802.1q or 802.1ad");
	assert_bad("tap:a,tunnel=on", "tunnel: expected with vlan=");
	assert_bad("tap:a,vlan=1,trunk=2,tunnel=on", "without trunk=");
	assert_bad("tap:a,vlan=1,tunnel=yes", "expected on or off");
}

static void keys_left_out_have_defaults(void **state)
{
	struct port_spec spec = good("vhost-user:vm.sock");

	assert_string_equal(spec.at.name, "vm");
	assert_false(spec.at.name_given || spec.at.endpoint.client || spec.set_mac || spec.at.endpoint.set_user || spec.at.endpoint.set_group);
	assert_int_equal(spec.queues, 1);
	assert_int_equal(spec.mtu, 0);
	assert_int_equal(spec.at.endpoint.perm, 0);
	assert_true(good("vhost-user:x,mode=client").at.endpoint.client);
	assert_false(spec.at.endpoint.any_files);
}

static void how_long_a_front_end_may_be_silent_is_a_key_and_is_carried_over(void **state)
{
	struct vireo_endpoint_config config;
	struct port_spec spec = good("vhost-user:x,hello-ms=1500");

	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.hello_ms, 1500);
	spec = good("vhost-user:x");
	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.hello_ms, 0); /* the library's default */
	assert_bad("vhost-user:x,hello-ms=0", "'hello-ms=0': expected 1 to 3600000");
	assert_bad("vhost-user:x,hello-ms=3600001", "expected 1 to 3600000");
	assert_bad("vhost-user:x,hello-ms=", "expected 1 to 3600000");
	assert_bad("vhost-user:x,mode=client,hello-ms=1", "only with mode=server");
	assert_bad("cuse:x,hello-ms=1", "unknown key 'hello-ms'");
	assert_bad("tap:x,hello-ms=1", "unknown key 'hello-ms'");
}

static void inband_is_for_who_asks_for_it(void **state)
{
	struct port_spec spec = good("vhost-user:x,inband=on");
	struct vireo_endpoint_config config;

	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.inband, 1);
	spec = good("vhost-user:x");
	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.inband, 0);
	assert_bad("vhost-user:x,inband=1", "'inband=1': expected on or off");
	assert_bad("cuse:x,inband=on", "unknown key 'inband'");
}

static void postcopy_is_for_who_is_trusted(void **state)
{
	struct port_spec spec = good("vhost-user:x,postcopy=on");
	struct vireo_endpoint_config config;

	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.postcopy, 1);
	spec = good("vhost-user:x,mode=client,postcopy=off");
	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.postcopy, 0);
	spec = good("vhost-user:x");
	endpoint_config(&spec.at, &config);
	assert_int_equal(config.vhost_user.postcopy, 0);
	assert_bad("vhost-user:x,postcopy=1", "'postcopy=1': expected on or off");
	assert_bad("cuse:x,postcopy=on", "unknown key 'postcopy'");
}

static void guest_memory_is_limited_by_a_key(void **state)
{
	assert_true(good("vhost-user:x").at.endpoint.memory_max_bytes == 0);
	assert_true(good("vhost-user:x,memory-max=1").at.endpoint.memory_max_bytes == 1);
	assert_true(good("vhost-user:x,memory-max=4096K").at.endpoint.memory_max_bytes == UINT64_C(4) << 20);
	assert_true(good("cuse:x,memory-max=512M").at.endpoint.memory_max_bytes == UINT64_C(512) << 20);
	assert_true(good("vduse:x,memory-max=64G").at.endpoint.memory_max_bytes == UINT64_C(64) << 30);
	assert_true(good("vhost-user:x,memory-max=16777215T").at.endpoint.memory_max_bytes == UINT64_C(16777215) << 40);
	assert_bad("vhost-user:x,memory-max=16777216T", "expected a size such as 512M, 64G or 2T");
	assert_bad("vhost-user:x,memory-max=0", "expected a size");
	assert_bad("vhost-user:x,memory-max=0G", "expected a size");
	assert_bad("vhost-user:x,memory-max=", "expected a size");
	assert_bad("vhost-user:x,memory-max=G", "expected a size");
	assert_bad("vhost-user:x,memory-max=1GG", "expected a size");
	assert_bad("vhost-user:x,memory-max=1g", "expected a size");
	assert_bad("vhost-user:x,memory-max=-1G", "expected a size");
	assert_bad("vhost-user:x,memory-max=0000000000000000000001", "expected a size");
	assert_bad("vhost-user:x,memory-max", "expected a size");
	assert_bad("tap:x,memory-max=1G", "unknown key 'memory-max'");
}

static void memory_in_files_of_a_disk_is_permitted_by_a_key(void **state)
{
	assert_true(good("vhost-user:x,files=any").at.endpoint.any_files);
	assert_true(good("vduse:x,files=any").at.endpoint.any_files);
	assert_true(good("cuse:x,files=any").at.endpoint.any_files);
	assert_bad("vhost-user:x,files=any,files=memory", "key 'files' is given twice: leave one out");
	assert_bad("vhost-user:x,files=disk", "'files=disk': expected memory or any");
	assert_bad("tap:x,files=any", "unknown key 'files'");
}

static void each_ring_feature_is_switched_off_by_a_key(void **state)
{
	static const char *const types[] = {"vhost-user", "vduse", "cuse"};
	static const struct {
		const char *key;
		unsigned bit;
	} features[] = {
		{"packed", VIREO_F_RING_PACKED_BIT},
		{"event-idx", VIREO_F_RING_EVENT_IDX_BIT},
		{"indirect", VIREO_F_RING_INDIRECT_DESC_BIT},
		{"in-order", VIREO_F_IN_ORDER_BIT},
	};
	char text[64];

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		for (unsigned j = 0; j < ARRAY_SIZE(features); j++) {
			snprintf(text, sizeof(text), "%s:x,%s=off", types[i], features[j].key);
			assert_int_equal(good(text).at.endpoint.ring_features_off, VIREO_FEATURE(features[j].bit));
			snprintf(text, sizeof(text), "%s:x,%s=on", types[i], features[j].key);
			assert_int_equal(good(text).at.endpoint.ring_features_off, 0);
			snprintf(text, sizeof(text), "%s:x,%s=no", types[i], features[j].key);
			assert_bad(text, "expected on or off");
		}
		snprintf(text, sizeof(text), "%s:x,packed=off,in-order=off", types[i]);
		assert_int_equal(good(text).at.endpoint.ring_features_off,
				 VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_IN_ORDER_BIT));
	}
	assert_bad("tap:x,packed=off", "unknown key 'packed'");
	assert_bad("virtio-pci:0000:00:04.0,packed=off", "unknown key 'packed'");
}

static void a_socket_may_be_handed_over(void **state)
{
	struct port_spec spec = good("vhost-user:fd:3,queues=2");

	assert_int_equal(endpoint_handed_fd(&spec.at), 3);
	assert_string_equal(spec.at.name, "fd-3");
	spec = good("vhost-user:./fd:3,mode=client");
	assert_int_equal(endpoint_handed_fd(&spec.at), -1);
	spec = good("vhost-user:/run/fd:3");
	assert_int_equal(endpoint_handed_fd(&spec.at), -1);
	assert_bad("vhost-user:fd:", "number of a socket, from 3 on");
	assert_bad("vhost-user:fd:2", "number of a socket, from 3 on");
	assert_bad("vhost-user:fd:3x", "number of a socket, from 3 on");
	assert_bad("vhost-user:fd:4294967299", "number of a socket, from 3 on");
	assert_bad("vhost-user:fd:3,mode=server", "only with a path");
	assert_bad("vhost-user:fd:3,mode=client", "only with a path");
	assert_bad("vhost-user:fd:3,user=0", "only with a path");
	assert_bad("vhost-user:fd:3,group=0", "only with a path");
	assert_bad("vhost-user:fd:3,perm=0600", "only with a path");
}

static void a_name_is_derived_from_the_address(void **state)
{
	char text[400] = "vhost-user:/";

	assert_string_equal(good("vhost-user:/run/vm1.sock").at.name, "vm1");
	assert_string_equal(good("vhost-user:/run/vm1.socket").at.name, "vm1.socket");
	assert_string_equal(good("vhost-user:/run/.sock").at.name, ".sock");
	assert_string_equal(good("vhost-user:/run/a b:c").at.name, "a-b-c");
	assert_string_equal(good("vhost-user:/run/-vm1.sock").at.name, "_vm1"); /* no option */
	assert_string_equal(good("vhost-user:/run/\xc3\xa4.sock").at.name, "_-");
	assert_string_equal(good("tap:tap0").at.name, "tap0");
	assert_string_equal(good("null:sink").at.name, "sink");
	memset(text + strlen(text), 'x', 300);
	assert_true(strlen(good(text).at.name) < SPEC_NAME_BYTES - 5);
}

static void a_vduse_port_has_all_its_keys(void **state)
{
	struct port_spec spec = good("vduse:host0,name=h,mtu=1400,mac=52:54:00:12:34:56,attach=vhost,queue-size=512,speed=2500M/half");

	assert_true(spec.speed.mbits == 2500 && spec.speed.half);
	assert_int_equal(good("vhost-user:/a").speed.mbits, 0);
	assert_int_equal(good("vhost-user:/a,speed=1M").speed.mbits, 1);
	assert_int_equal(good("vhost-user:/a,speed=2000000M").speed.mbits, 2000000);
	assert_int_equal(good("vhost-user:/a,speed=25G").speed.mbits, 25000);
	assert_true(good("vhost-user:/a,speed=2T/full").speed.mbits == 2000000 && !good("vhost-user:/a,speed=2T/full").speed.half);

	assert_ptr_equal(spec.at.kind, &port_vduse.spec);
	assert_string_equal(spec.at.address, "host0");
	assert_string_equal(spec.at.name, "h");
	assert_int_equal(spec.at.endpoint.attach, VIREO_ATTACH_VHOST);
	assert_int_equal(spec.at.endpoint.queue_size, 512);
	assert_int_equal(spec.queues, 1);
	assert_int_equal(good("vduse:host0").at.endpoint.attach, VIREO_ATTACH_VIRTIO);
	assert_int_equal(good("vduse:host0,attach=none").at.endpoint.attach, VIREO_ATTACH_NONE);
	assert_string_equal(good("vduse:host0").at.name, "host0");
}

static void bad_vduse_keys_and_names_are_named(void **state)
{
	assert_bad("vduse:", "nothing after the colon");
	assert_bad("vduse:control", "a device's name has");
	assert_bad("vduse:a/b", "a device's name has");
	assert_bad("vduse:..", "a device's name has");
	assert_bad("vduse:a,queues=2", "'queues=2': expected 1: the kernel takes no control queue");
	assert_int_equal(good("vduse:a,queues=1").queues, 1);
	assert_bad("vduse:a,user=me",
		   "unknown key 'user': expected one of: name queues mtu speed mac spoof flood-max vlan trunk vlan-tag tunnel isolated role vm2vm bond rate-in rate-out frames-in frames-out storm-broadcast storm-multicast storm-unicast priority rx-retry rx-retry-delay ip arp-guard dhcp-guard ra-guard mcast-router fast-leave mcast-groups link worker attach queue-size packed event-idx indirect in-order files memory-max");
	assert_bad("vduse:a,attach=vdpa", "'attach=vdpa': expected virtio, vhost or none");
	assert_bad("vduse:a,queue-size=0", "expected a power of two from 2 to 32768");
	assert_bad("vduse:a,queue-size=1000", "expected a power of two from 2 to 32768");
	assert_bad("vhost-user:/a,attach=virtio", "unknown key 'attach'");
}

static void a_cuse_port_is_a_name_in_dev(void **state)
{
	struct port_spec spec = good("cuse:vhost-vm1,queues=4,mtu=1400,user=0,group=7,perm=0660");

	assert_ptr_equal(spec.at.kind, &port_cuse.spec);
	assert_string_equal(spec.at.address, "vhost-vm1");
	assert_string_equal(spec.at.name, "vhost-vm1");
	assert_int_equal(spec.queues, 4);
	assert_int_equal(spec.at.endpoint.perm, 0660);
	assert_bad("cuse:", "nothing after the colon");
	assert_bad("cuse:a/b", "does not begin with '.'");
	assert_bad("cuse:..", "does not begin with '.'");
	assert_bad("cuse:a,mode=client", "unknown key 'mode'");
	assert_bad("cuse:a,spoof=deny", "unknown key 'spoof'");
}

static void users_and_groups_go_by_name(void **state)
{
	assert_int_equal(good("vhost-user:/a,user=root").at.endpoint.user, 0);
	assert_int_equal(good("vhost-user:/a,group=root").at.endpoint.group, 0);
	assert_bad("vhost-user:/a,user=nobody-of-that-name", "a user's name or number");
	assert_bad("vhost-user:/a,group=", "a group's name or number");
	assert_bad("vhost-user:/a,group=4294967295",
		   "a group's name or number"); /* (gid_t)-1 means: leave it */
}

static void a_card_is_named_by_its_address(void **state)
{
	struct port_spec spec = good("virtio-pci:0000:00:04.0,queues=2,mtu=1500");

	assert_ptr_equal(spec.at.kind, &port_virtio_pci.spec);
	assert_string_equal(spec.at.address, "0000:00:04.0");
	assert_string_equal(spec.at.name, "0000-00-04.0");
	assert_int_equal(spec.queues, 2);
	assert_int_equal(spec.mtu, 1500);
	assert_string_equal(good("virtio-pci:0000:00:04.0,name=uplink").at.name, "uplink");
	assert_string_equal(good("virtio-pci:10000:e1:00.0").at.address, "10000:e1:00.0");
	assert_bad("virtio-pci:", "nothing after the colon");
	assert_bad("virtio-pci:00:04.0", "such as 0000:00:04.0");
	assert_bad("virtio-pci:0000:00:04.8", "such as 0000:00:04.0");
	assert_bad("virtio-pci:0000:00:0A.0", "such as 0000:00:04.0");
	assert_bad("virtio-pci:0000:00:04.0/../..", "such as 0000:00:04.0");
	assert_bad("virtio-pci:0000:00:04.0,mode=client", "expected one of: name queues mtu");
}

static void bad_types_and_addresses_are_named(void **state)
{
	assert_bad("", "expected vhost-user:PATH|fd:N, vduse:NAME, cuse:NAME, tap:INTERFACE, macvtap:INTERFACE, af_packet:INTERFACE, af_xdp:INTERFACE, dpdk:DEVICE, virtio-pci:ADDRESS, virtio-user:PATH, bond:NAME, pcap-in:FILE, pcap-out:FILE, loop:NAME or null:NAME");
	assert_bad("vhost-user", "'vhost-user': expected vhost-user:PATH");
	assert_bad("Tap:x", "'Tap:x': expected");
	assert_bad("tap:", "nothing after the colon");
	assert_bad("vhost-user:,queues=1", "nothing after the colon");
	assert_bad("vhost-user:/run/", "the path of a socket");
	assert_bad("tap:sixteen-letters-", "1 to 15 characters");
	assert_bad("tap:a/b", "1 to 15 characters");
	assert_bad("tap:tap%d", "1 to 15 characters");
	assert_bad("null:a b", "a name has 1 to 63");
}

static void captures_are_files_with_keys_of_their_own(void **state)
{
	struct port_spec spec = good("pcap-in:/var/tmp/a.pcap,pace=max,loop=7,vlan=3");

	assert_string_equal(spec.at.name, "a.pcap");
	assert_true(spec.pcap.at_once && spec.pcap.times == 7 && !spec.pcap.endless);
	assert_true(good("pcap-in:a,loop=on").pcap.endless);
	assert_false(good("pcap-in:a,pace=recorded").pcap.at_once);
	assert_int_equal(good("pcap-out:/a").pcap.bytes_max, 0); /* the port's default */
	assert_int_equal(good("pcap-out:/a,size-max=64K").pcap.bytes_max, 65536);
	assert_true(good("pcap-out:/a,size-max=any").pcap.bytes_max == INT64_MAX);
	assert_int_equal(good("tap:t0,role=uplink").learning_sync, 0);
	assert_int_equal(good("tap:t0,role=uplink,learning-sync=on").learning_sync, 4096);
	assert_int_equal(good("tap:t0,role=uplink,learning-sync=65536").learning_sync, 65536);
	assert_int_equal(good("tap:t0,learning-sync=off").learning_sync, 0);
	assert_bad("tap:t0,role=uplink,learning-sync=0", "expected on, off, or 1 to 65536 addresses");
	assert_bad("tap:t0,role=uplink,learning-sync=65537", "expected on, off, or 1 to 65536 addresses");
	assert_bad("tap:t0,learning-sync=on", "learning-sync: expected with role=uplink");
	assert_bad("macvtap:t0,role=uplink,learning-sync=on", "unknown key 'learning-sync'");
	assert_bad("pcap-in:a,pace=fast", "'pace=fast': expected recorded or max");
	assert_bad("pcap-in:a,loop=0", "expected 1 to 1000000000 times, or on");
	assert_bad("pcap-in:a,size-max=1G", "unknown key 'size-max'");
	assert_bad("pcap-out:a,size-max=65535", "expected 64K or more bytes");
	assert_bad("pcap-out:a/", "expected the path of a file");
	assert_bad("pcap-in:", "nothing after the colon");
}

static void the_other_end_of_a_vhost_user_port_is_named_after_its_socket(void **state)
{
	struct port_spec spec = good("virtio-user:/run/up.sock,queues=2,role=uplink");

	assert_string_equal(spec.at.name, "up");
	assert_int_equal(spec.queues, 2);
	assert_bad("virtio-user:/run/", "expected the path of a socket");
	assert_bad("virtio-user:/run/a,mode=client", "unknown key 'mode'");
}

static void a_key_that_a_dpdk_port_does_not_know_is_its_devices(void **state)
{
	struct port_spec spec = good("dpdk:net_memif0,role=uplink,id=7,queues=2,device-role=server,socket=/run/memif.sock,vlan=3");
	char text[PORT_DPDK_BYTES + 32];

	assert_string_equal(spec.at.address, "net_memif0");
	assert_string_equal(spec.dpdk.arguments, ",id=7,role=server,socket=/run/memif.sock");
	assert_int_equal(spec.queues, 2);
	assert_true(spec.uplink);
	assert_string_equal(good("dpdk:0000:03:00.0").at.name, "0000-03-00.0");
	assert_bad("dpdk:net_tap0,iface", "unknown key 'iface'");
	assert_bad("dpdk:net_tap0,device-=x", "'device-=x': expected an argument of the device");
	assert_bad("dpdk:net_tap0,iface=[x", "'iface=[x': expected an argument of the device");
	assert_bad("dpdk:net_tap0,queues=0", "expected 1 to 128");
	assert_bad("dpdk:", "nothing after the colon");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "dpdk:net_tap0,iface=", 20);
	assert_bad(text, "of 500 bytes at most");
}

static void an_interface_by_af_xdp_has_queues_and_a_mode(void **state)
{
	struct port_spec spec = good("af_xdp:eth1,queue=4,queues=2,mode=zerocopy,role=uplink");

	assert_int_equal(spec.xdp.queue, 4);
	assert_int_equal(spec.queues, 2);
	assert_int_equal(spec.xdp.mode, PORT_XDP_ZEROCOPY);
	assert_int_equal(good("af_xdp:eth1,mode=copy").xdp.mode, PORT_XDP_COPY);
	assert_int_equal(good("af_xdp:eth1,mode=skb").xdp.mode, PORT_XDP_SKB);
	assert_int_equal(good("af_xdp:eth1").xdp.mode, PORT_XDP_ANY);
	assert_bad("af_xdp:eth1,mode=native", "'mode=native': expected zerocopy, copy or skb");
	assert_bad("af_xdp:eth1,queue=65536", "'queue=65536': expected 0 to 65535");
	assert_bad("af_packet:eth1,queue=1", "did you mean 'queues'?");
	assert_bad("af_xdp:sixteen-letters-", "1 to 15 characters");
}

static void bad_keys_and_values_are_named(void **state)
{
	static const char *const slow[] = {"0M", "1", "1000", "1K", "2001G", "3T", "99999999M", "M", "-1M",
					   "1.5G", "1G/", "1G/half/", "/half", "1G/both", "1GG"};

	assert_bad("vhost-user:/tmp/a\nb", "no control characters");
	assert_bad("vhost-user:/tmp/a,name=\x1b[2J", "no control characters");
	assert_bad("vhost-user:/tmp/a\xc2\x9b" "31m", "no control characters");
	assert_bad("vhost-user:/tmp/\xe2\x80\xae" "abc", "no control characters");
	assert_bad("vhost-user:/tmp/\xff", "bytes that are UTF-8");
	assert_bad("tap:\xff", "bytes that are UTF-8");
	assert_bad("vhost-user:/a,colour=red",
		   "unknown key 'colour': expected one of: name queues mtu speed mac spoof flood-max vlan trunk vlan-tag tunnel isolated role vm2vm bond rate-in rate-out frames-in frames-out storm-broadcast storm-multicast storm-unicast priority rx-retry rx-retry-delay ip arp-guard dhcp-guard ra-guard mcast-router fast-leave mcast-groups rss link worker mode");
	assert_bad("vhost-user:/a,", "unknown key ''");
	assert_bad("vhost-user:/a,queues", "'queues=': expected 1 to 128");
	assert_bad("vhost-user:/a,queues=0", "'queues=0': expected 1 to 128");
	assert_bad("vhost-user:/a,queues=129", "1 to 128");
	assert_bad("vhost-user:/a,queues=2x", "1 to 128");
	assert_bad("vhost-user:/a,queues=-1", "1 to 128");
	assert_bad("vhost-user:/a,queues= 1", "1 to 128");
	assert_bad("vhost-user:/a,queues=99999999999999999999", "1 to 128");
	assert_bad("vhost-user:/a,rx-retry=0", "1 to 10000 looks");
	assert_bad("vhost-user:/a,rx-retry=10001", "1 to 10000 looks");
	assert_bad("vhost-user:/a,rx-retry=4,rx-retry-delay=100001", "1 to 100000 microseconds");
	assert_bad("vhost-user:/a,rx-retry-delay=15", "expected with rx-retry=");
	assert_bad("tap:t,rx-retry=4", "unknown key 'rx-retry'");
	assert_int_equal(port_retry_settings((struct port_spec[]){good("cuse:c,rx-retry=4")}).delay_us, 15);
	assert_bad("vhost-user:/a,mtu=67", "68 to 65535");
	for (unsigned i = 0; i < ARRAY_SIZE(slow); i++) {
		char text[80];

		snprintf(text, sizeof(text), "vhost-user:/a,speed=%s", slow[i]);
		assert_bad(text, "expected 1M to 2T bits a second");
	}
	assert_bad("tap:a,speed=1G", "unknown key 'speed'");
	assert_bad("cuse:a,speed=1G", "unknown key 'speed'");
	assert_bad("vhost-user:/a,mtu=65536", "68 to 65535");
	assert_bad("vhost-user:/a,mode=both", "server or client");
	assert_bad("vhost-user:/a,mac=52:54:00:12:34", "a unicast address");
	assert_bad("vhost-user:/a,mac=52:54:00:12:34:56:78", "a unicast address");
	assert_bad("vhost-user:/a,mac=53:54:00:12:34:56", "a unicast address");
	assert_bad("vhost-user:/a,mac=00:00:00:00:00:00", "a unicast address");
	assert_bad("vhost-user:/a,perm=660x", "an octal mode");
	assert_bad("vhost-user:/a,perm=4755", "an octal mode");
	assert_bad("vhost-user:/a,name=", "1 to 63 letters");
	assert_bad("vhost-user:/a,name=a/b", "1 to 63 letters");
	assert_bad("vhost-user:/a,name=-a", "'-', and no '-' first");
	assert_bad("null:-a", "no '-' first");
	assert_bad("vhost-user:/a,mode=client,perm=0660", "only with mode=server");
	assert_bad("tap:t,mac=52:54:00:12:34:56", "unknown key 'mac': expected one of: name queues mtu");
	assert_bad("null:n,queues=1", "unknown key 'queues': expected one of: link");
}

static void a_key_is_given_once(void **state)
{
	assert_bad("vhost-user:/a,name=x,name=y", "key 'name' is given twice: leave one out");
	assert_bad("tap:a,queues=2,mtu=1500,queues=2", "key 'queues' is given twice");
	assert_bad("vhost-user:/a,packed=off,packed=off", "key 'packed' is given twice");
}

static void slips_get_a_hint_and_others_none(void **state)
{
	char why[SPEC_WHY_BYTES] = "";
	struct port_spec spec;

	assert_bad("vhost-usr:/a", "or null:NAME: did you mean 'vhost-user'?");
	assert_bad("tpa:tap0", "did you mean 'tap'?");
	assert_bad("tap:a,queue=2", "did you mean 'queues'?");
	assert_bad("tap:a,nmae=b", "did you mean 'name'?");
	assert_int_equal(port_spec_parse("tap:a,colour=red", &spec, why), -EINVAL);
	assert_null(strstr(why, "did you mean"));
}

/* ---- options ---- */

static char err_text[1024];

static enum settings_verdict parse(struct options *options, const char *const *words)
{
	char *argv[16] = {strdup("vireo-switchd")};
	enum settings_verdict verdict;
	FILE *err = fmemopen(err_text, sizeof(err_text), "w"), *out = fopen("/dev/null", "w");
	int argc = 1;

	err_text[0] = '\0';
	for (; words[argc - 1]; argc++)
		argv[argc] = strdup(words[argc - 1]);
	verdict = options_parse(argc, argv, out, err, options);
	fclose(err);
	fclose(out);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return verdict;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const char *const *words, const char *expected)
{
	struct options o;

	assert_int_equal(parse(&o, words), SETTINGS_BAD);
	if (!strstr(err_text, expected))
		fail_msg("expected '%s' in '%s'", expected, err_text);
	assert_ptr_equal(strchr(err_text, '\n'), err_text + strlen(err_text) - 1); /* one line */
}

static void options_are_carried_over(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, WORDS("--port", "null:a", "--workers", "3", "--poll", "--fdb-age=9",
					 "--fdb-entries", "99", "--log-level", "debug", "--control", "/c",
					 "--port", "tap:b")),
			 SETTINGS_RUN);
	assert_int_equal(o.port_count, 2);
	assert_string_equal(o.ports[1].spec.at.name, "b");
	assert_int_equal(o.run.workers, 3);
	assert_false(o.run.pinned);
	assert_true(o.run.poll);
	assert_int_equal(o.fdb_age_s, 9);
	assert_int_equal(o.fdb_entries, 99);
	assert_false(o.multicast.snooping || o.multicast.querier || o.multicast.unknown_to_routers);
	assert_int_equal(o.multicast.query_interval_s, 125);
	assert_int_equal(o.run.daemon.log_level, VIREO_LOG_DEBUG);
	assert_string_equal(o.run.daemon.control, "/c");
	options_free(&o);
}

static void snooping_is_as_it_was_asked_for(void **state)
{
	struct port_spec spec = good("vhost-user:/a,mcast-router=off,fast-leave=on,mcast-groups=9");
	struct options o;

	assert_int_equal(parse(&o, WORDS("--mcast-snooping", "on", "--mcast-querier=on", "--mcast-unknown", "routers", "--mcast-interval", "7")),
			 SETTINGS_RUN);
	assert_true(o.multicast.snooping && o.multicast.querier && o.multicast.unknown_to_routers);
	assert_int_equal(o.multicast.query_interval_s, 7);
	options_free(&o);
	assert_refused(WORDS("--mcast-snooping", "yes"), "expected on or off");
	assert_refused(WORDS("--mcast-querier", "1"), "expected on or off");
	assert_refused(WORDS("--mcast-unknown", "drop"), "expected flood or routers");
	assert_refused(WORDS("--mcast-interval", "0"), "expected 1 to 3600");
	assert_int_equal(spec.multicast.router, SW_ROUTER_NEVER);
	assert_true(spec.multicast.fast_leave);
	assert_int_equal(spec.multicast.groups_max, 9);
	assert_int_equal(good("tap:a,mcast-router=on").multicast.router, SW_ROUTER_ALWAYS);
	assert_int_equal(good("tap:a,mcast-router=auto").multicast.router, SW_ROUTER_HEARD);
	assert_bad("tap:a,mcast-router=yes", "expected auto, on or off");
	assert_bad("tap:a,fast-leave=1", "expected on or off");
	assert_bad("tap:a,mcast-groups=0", "expected 1 to 4096");
}

static void how_long_to_wait_awake_is_carried_over_and_nothing_means_never(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, WORDS("--spin-us", "3000", "--spin-percent", "100")), SETTINGS_RUN);
	assert_int_equal(o.run.spin_us, 3000);
	assert_int_equal(o.run.spin_percent, 100);
	options_free(&o);
	assert_int_equal(parse(&o, WORDS("--spin-us=0", "--spin-percent=0")), SETTINGS_RUN);
	assert_int_equal(o.run.spin_us, SW_SPIN_NEVER);
	assert_int_equal(o.run.spin_percent, SW_SPIN_NEVER);
	options_free(&o);
	assert_int_equal(parse(&o, (const char *const[]){NULL}), SETTINGS_RUN);
	assert_int_equal(o.run.spin_us, 0); /* as measured */
	assert_int_equal(o.run.spin_percent, 0);
	options_free(&o);
	assert_refused(WORDS("--spin-us", "1000001"), "--spin-us '1000001': expected 0 to 1000000");
	assert_refused(WORDS("--spin-percent", "101"), "--spin-percent '101': expected 0 to 100");
	assert_refused(WORDS("--spin-percent", "-1"), "--spin-percent '-1': expected 0 to 100");
}

static void no_options_give_the_defaults(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, (const char *const[]){NULL}), SETTINGS_RUN);
	assert_int_equal(o.run.workers, 1);
	assert_int_equal(o.fdb_entries, 65536);
	assert_int_equal(o.fdb_age_s, 300);
	assert_false(o.run.poll || o.run.daemon.control || o.port_count);
	options_free(&o);
}

static void bad_options_get_one_line_that_names_them(void **state)
{
	assert_refused(WORDS("--prot", "x"), "--prot: expected an option that exists and is not ambiguous: did you mean '--port'? see --help");
	assert_refused(WORDS("--wokers=2"), "did you mean '--workers'?");
	assert_refused(WORDS("-x"), "expected an option that exists");
	assert_refused(WORDS("--port"), "--port: expected a value after it");
	assert_refused(WORDS("--poll=1"), "--poll=1: expected no value");
	assert_refused(WORDS("--port", "null:"), "--port 'null:': address '': nothing after the colon");
	assert_refused(WORDS("--workers", "0"),
		       "--workers '0': expected a number from 1 to 128, or a list of CPUs");
	assert_refused(WORDS("--workers", "1000,"), "expected CPUs that this process may run on");
	assert_refused(WORDS("--fdb-age", "1s"), "--fdb-age '1s': expected 1 to 1000000");
	assert_refused(WORDS("--vm2vm", "2"), "--vm2vm '2': expected off, software or hardware");
	assert_refused(WORDS("--fdb-entries", "2000000"), "expected 16 to 1048576");
	assert_refused(WORDS("--log-level", "loud"), "expected error, warning, info or debug");
	assert_refused(WORDS("--control", ""), "expected the path of a UNIX socket");
	assert_refused(WORDS("--control-group", "no-such-group"), "expected a group's name or number");
	assert_refused(WORDS("extra"), "'extra': expected options only");
	assert_refused(WORDS("two\nlines"), "'two\\x0alines': expected options only");
	assert_refused(WORDS("--config", "/does/not/exist"),
		       "--config '/does/not/exist': expected a readable file");
	assert_refused(WORDS("--config", "/"), "--config '/': expected a readable file");
	assert_refused(WORDS("--port", "tap:a,name=x", "--port", "tap:b,name=x"),
		       "there is a port 'x' already");
}

static void what_may_be_given_once_is_given_once(void **state)
{
	struct options o;

	assert_refused(WORDS("--control", "/a", "--control", "/a"), "vireo-switchd: --control is given twice: leave one out");
	assert_refused(WORDS("--workers", "1", "--poll", "--workers=2"), "--workers is given twice");
	assert_refused(WORDS("--poll", "--poll"), "--poll is given twice");
	assert_refused(WORDS("--config", "/dev/null", "--config", "/dev/null"), "--config is given twice");
	assert_refused(WORDS("--poll", "--adaptive"), "--adaptive contradicts poll, which is given, too: leave one out");
	assert_refused(WORDS("--adaptive", "--poll"), "--poll contradicts adaptive");
	assert_int_equal(parse(&o, WORDS("--port", "null:a", "--port", "null:b", "--config", "/dev/null")), SETTINGS_RUN);
	options_free(&o);
}

static char file_path[64];

static const char *file_of(const char *text, size_t bytes)
{
	int fd;

	strcpy(file_path, "/tmp/options-test-XXXXXX");
	fd = mkstemp(file_path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, bytes), bytes);
	close(fd);
	return file_path;
}

static const char *file(const char *text)
{
	return file_of(text, strlen(text));
}

static void a_file_says_what_options_say(void **state)
{
	struct options o;

	assert_int_equal(
		parse(&o, WORDS("--config", file("# a comment\n\n  port null:a # another\n\tport\ttap:b#c\r\n"
						 "workers 2\npoll\nfdb-age 60"))),
		SETTINGS_RUN);
	unlink(file_path);
	assert_int_equal(o.port_count, 2);
	assert_string_equal(o.ports[1].spec.at.address, "b#c");
	assert_int_equal(o.run.workers, 2);
	assert_int_equal(o.fdb_age_s, 60);
	assert_true(o.run.poll);
	options_free(&o);
}

static void the_command_line_holds_over_the_file_and_adds_ports(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, WORDS("--adaptive", "--workers", "5", "--port", "null:b", "--config",
					 file("workers 2\npoll\nport null:a\nfdb-age 60\n"))),
			 SETTINGS_RUN);
	unlink(file_path);
	assert_int_equal(o.run.workers, 5);
	assert_false(o.run.poll);
	assert_int_equal(o.fdb_age_s, 60);
	assert_int_equal(o.port_count, 2);
	assert_string_equal(o.ports[0].spec.at.name, "a");
	options_free(&o);
}

static void bad_lines_are_named_by_file_line_and_column(void **state)
{
	static const struct {
		const char *text, *line, *expected;
	} rows[] = {
		{"workers 1\nport null:\n", ":2:11: ", "port 'null:': address ''"},
		{"\n\nprot null:a\n", ":3:1: ", "'prot': expected one of: port control"},
		{"  \tprot null:a\n", ":1:4: ", "'prot': expected one of: port control"},
		{"poll 1\n", ":1:6: ", "poll '1': expected nothing after 'poll'"},
		{"workers 1\npoll\n  workers 1\n", ":3:3: ", "workers is given twice: leave one out"},
		{"poll\nadaptive\n", ":2:1: ", "adaptive contradicts poll"},
		{"contrl /a\n", ":1:1: ", "'contrl': expected one of: port control"},
		{"port\n", ":1:5: ", "port '': '': expected vhost-user:PATH"},
		{"config other\n", ":1:1: ", "'config': expected one of:"},
		{"workers\n", ":1:8: ", "workers '': expected a number"},
		{"workers  many # so\n", ":1:10: ", "workers 'many': expected a number"},
		{"port bad:a\n", ":1:6: ", "port 'bad:a': 'bad:a': expected"},
		{"port tap:a,nam=b\n", ":1:12: ", "port 'tap:a,nam=b': unknown key 'nam'"},
		{"port tap:a,name=b,name=c\n", ":1:19: ", "port 'tap:a,name=b,name=c': key 'name'"},
		{"port tap:a,name=\n", ":1:17: ", "port 'tap:a,name=': 'name='"},
		{"port tap:a,name\n", ":1:12: ", "port 'tap:a,name': 'name='"},
		{"port tap:a/b,name=c\n", ":1:10: ", "port 'tap:a/b,name=c': address 'a/b'"},
		{"port vhost-user:/\xc3\xa4/\xe2\x82\xac,mtu=x\n", ":1:26: ", "port 'vhost-user:/\xc3\xa4/\xe2\x82\xac,mtu=x': 'mtu=x'"},
		{"port null:a\nport null:a\n", ":2:6: ", "port 'null:a': "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char expected[256];

		file(rows[i].text);
		snprintf(expected, sizeof(expected), "vireo-switchd: %s%s%s", file_path, rows[i].line,
			 rows[i].expected);
		assert_refused(WORDS("--config", file_path), expected);
		unlink(file_path);
	}
}

/* What follows a NUL was ignored, and so was what memory was too short for. */
static void no_line_is_read_in_part(void **state)
{
	static const char with_nul[] = "port null:a\nport null:b\0,name=c\nport null:d\n";
	static const char zeroes[64];
	char line[65600], expected[128];
	struct options o;

	file_of(with_nul, sizeof(with_nul) - 1);
	snprintf(expected, sizeof(expected), "vireo-switchd: %s:2: expected text, there is a NUL byte", file_path);
	assert_refused(WORDS("--config", file_path), expected);
	unlink(file_path);
	file_of(zeroes, sizeof(zeroes));
	assert_refused(WORDS("--config", file_path), ":1: expected text, there is a NUL byte");
	unlink(file_path);

	memset(line, ' ', sizeof(line)); /* a last line without its newline, of just so many bytes */
	memcpy(line, "port null:a\nport null:b", 23);
	file_of(line, 12 + 65536);
	assert_int_equal(parse(&o, WORDS("--config", file_path)), SETTINGS_RUN);
	assert_int_equal(o.port_count, 2);
	options_free(&o);
	unlink(file_path);
	file_of(line, 12 + 65537);
	snprintf(expected, sizeof(expected), "vireo-switchd: %s:2: expected a line of at most 65536 bytes", file_path);
	assert_refused(WORDS("--config", file_path), expected);
	unlink(file_path);
	assert_refused(WORDS("--config", "/dev/zero"), "/dev/zero:1: expected text");
	assert_refused(WORDS("--config", "/proc/self/mem"), "--config '/proc/self/mem': expected a readable file: Input/output");
}

static void help_and_version_end_well(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, WORDS("--help")), SETTINGS_DONE);
	assert_int_equal(parse(&o, WORDS("-h")), SETTINGS_DONE);
	assert_int_equal(parse(&o, WORDS("--version")), SETTINGS_DONE);
}

/* What a process was told, it tells the next one. */
static int port_told(const char *spec, const char *text)
{
	json_t *state = json_pack("{s:[{s:s, s:s, s:b, s:b}]}", "ports", "spec", spec, "text", text, "settings", 0, "endpoint", 0);
	struct handover_port told;
	char why[SPEC_WHY_BYTES] = "";
	int err = handover_state_port(state, 0, &told, why);

	assert_true(!err || why[0]);
	json_decref(state);
	return err;
}

static void port_that_was_given_as_another_one_is_refused(void **state)
{
	assert_int_equal(port_told("loop:a,vlan=7", "loop:a"), 0);
	assert_int_equal(port_told("loop:a", "nonsense"), -EINVAL);
	assert_int_equal(port_told("loop:a", "loop:a,vlan=x"), -EINVAL);
	assert_int_equal(port_told("loop:a", "loop:b"), -EINVAL);
	assert_int_equal(port_told("loop:a", "null:a"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_that_was_given_as_another_one_is_refused),
		cmocka_unit_test(a_vhost_user_port_has_all_its_keys),
		cmocka_unit_test(a_port_may_have_several_addresses),
		cmocka_unit_test(what_is_flooded_has_a_limit),
		cmocka_unit_test(a_port_has_a_guard),
		cmocka_unit_test(a_port_has_limits),
		cmocka_unit_test(bad_limits_are_named),
		cmocka_unit_test(a_port_has_vlans),
		cmocka_unit_test(a_port_has_a_role),
		cmocka_unit_test(a_port_begins_with_a_link_and_workers),
		cmocka_unit_test(entries_of_the_database_are_read),
		cmocka_unit_test(entries_that_make_no_sense_are_refused),
		cmocka_unit_test(a_bond_has_all_its_keys),
		cmocka_unit_test(a_member_of_a_bond_leaves_to_it_what_is_its_own),
		cmocka_unit_test(the_switchs_vm2vm_is_for_guests_that_say_nothing),
		cmocka_unit_test(bad_vlans_are_named),
		cmocka_unit_test(keys_left_out_have_defaults),
		cmocka_unit_test(how_long_a_front_end_may_be_silent_is_a_key_and_is_carried_over),
		cmocka_unit_test(inband_is_for_who_asks_for_it),
		cmocka_unit_test(postcopy_is_for_who_is_trusted),
		cmocka_unit_test(guest_memory_is_limited_by_a_key),
		cmocka_unit_test(memory_in_files_of_a_disk_is_permitted_by_a_key),
		cmocka_unit_test(each_ring_feature_is_switched_off_by_a_key),
		cmocka_unit_test(a_socket_may_be_handed_over),
		cmocka_unit_test(a_name_is_derived_from_the_address),
		cmocka_unit_test(a_vduse_port_has_all_its_keys),
		cmocka_unit_test(bad_vduse_keys_and_names_are_named),
		cmocka_unit_test(a_cuse_port_is_a_name_in_dev),
		cmocka_unit_test(users_and_groups_go_by_name),
		cmocka_unit_test(a_card_is_named_by_its_address),
		cmocka_unit_test(bad_types_and_addresses_are_named),
		cmocka_unit_test(captures_are_files_with_keys_of_their_own),
		cmocka_unit_test(the_other_end_of_a_vhost_user_port_is_named_after_its_socket),
		cmocka_unit_test(a_key_that_a_dpdk_port_does_not_know_is_its_devices),
		cmocka_unit_test(an_interface_by_af_xdp_has_queues_and_a_mode),
		cmocka_unit_test(bad_keys_and_values_are_named),
		cmocka_unit_test(a_key_is_given_once),
		cmocka_unit_test(slips_get_a_hint_and_others_none),
		cmocka_unit_test(options_are_carried_over),
		cmocka_unit_test(snooping_is_as_it_was_asked_for),
		cmocka_unit_test(how_long_to_wait_awake_is_carried_over_and_nothing_means_never),
		cmocka_unit_test(no_options_give_the_defaults),
		cmocka_unit_test(bad_options_get_one_line_that_names_them),
		cmocka_unit_test(what_may_be_given_once_is_given_once),
		cmocka_unit_test(a_file_says_what_options_say),
		cmocka_unit_test(the_command_line_holds_over_the_file_and_adds_ports),
		cmocka_unit_test(bad_lines_are_named_by_file_line_and_column),
		cmocka_unit_test(no_line_is_read_in_part),
		cmocka_unit_test(help_and_version_end_well),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
