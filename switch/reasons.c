/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/reasons.h"
#include <stddef.h>

#define ROW(name) [offsetof(struct port_counters, name) / sizeof(uint64_t) + 1] = #name

static const char *const names[] = {
	ROW(rx_reserved),	  ROW(rx_hairpin),	  ROW(rx_bad_source),	  ROW(rx_vlan),
	ROW(rx_isolated),	  ROW(rx_spoofed),	  ROW(rx_segment_limit),  ROW(rx_flood_limit),
	ROW(rx_no_destination),	  ROW(rx_link_down),	  ROW(rx_rate_limit),	  ROW(rx_storm_broadcast),
	ROW(rx_storm_multicast),  ROW(rx_storm_unicast),  ROW(rx_membership_bad), ROW(rx_membership_limit),
	ROW(rx_no_member),	  ROW(rx_inactive),	  ROW(rx_lacp_limit),	  ROW(rx_spoofed_ip),
	ROW(rx_spoofed_arp),	  ROW(rx_spoofed_nd),	  ROW(rx_dhcp_server),	  ROW(rx_router),
	ROW(rx_unreadable),	  ROW(tx_rate_limit),	  ROW(tx_hold_limit),	  ROW(tx_less_urgent),
	ROW(tx_no_queue),	  ROW(tx_link_down),	  ROW(tx_flood_room),	  ROW(tx_mtu),
	ROW(tx_segment_error),	  ROW(tx_lost),
};

const char *reason_name(uint16_t reason)
{
	return reason < ARRAY_SIZE(names) ? names[reason] : NULL;
}
