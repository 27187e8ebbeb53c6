/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge_netlink.h"
#include "base/util.h"
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define VLAN_MAX 4094u

/* ---- requests ---- */

struct request {
	uint8_t *bytes;
	size_t used;
};

static void put(struct request *request, const void *what, size_t bytes)
{
	memcpy(request->bytes + request->used, what, bytes);
	request->used += align_up(bytes, NLMSG_ALIGNTO);
}

static struct request begin(uint8_t *bytes, uint16_t type, uint16_t flags, uint32_t number)
{
	struct request request = {.bytes = bytes};
	const struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = number};

	memset(bytes, 0, BRIDGE_REQUEST_BYTES);
	put(&request, &header, sizeof(header));
	return request;
}

static void put_attribute(struct request *request, uint16_t type, const void *value, uint16_t bytes)
{
	const struct nlattr attribute = {.nla_len = (uint16_t)(sizeof(attribute) + bytes), .nla_type = type};

	put(request, &attribute, sizeof(attribute));
	put(request, value, bytes);
}

static void put_address(struct request *request, const struct bridge_address *address)
{
	put_attribute(request, NDA_LLADDR, address->mac, sizeof(address->mac));
	if (address->vid)
		put_attribute(request, NDA_VLAN, &address->vid, sizeof(address->vid));
}

static size_t end(const struct request *request)
{
	const uint32_t bytes = (uint32_t)request->used;

	memcpy(request->bytes + offsetof(struct nlmsghdr, nlmsg_len), &bytes, sizeof(bytes));
	return request->used;
}

/* What is there already is replaced: it may be of the bridge's own learning, or lie behind another port of it. */
size_t bridge_request_change(uint8_t bytes[BRIDGE_REQUEST_BYTES], uint32_t number, int interface, const struct bridge_change *change)
{
	const uint16_t add = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	struct request request = begin(bytes, change->add ? RTM_NEWNEIGH : RTM_DELNEIGH, change->add ? add : NLM_F_ACK, number);
	const struct ndmsg neighbour = {
		.ndm_family = AF_BRIDGE, .ndm_ifindex = interface, .ndm_state = NUD_REACHABLE, .ndm_flags = NTF_MASTER | NTF_EXT_LEARNED};

	put(&request, &neighbour, sizeof(neighbour));
	put_address(&request, &change->address);
	return end(&request);
}

/* At the bridge that the interface is a port of, whichever that is. */
size_t bridge_request_entry(uint8_t bytes[BRIDGE_REQUEST_BYTES], uint32_t number, int interface, const struct bridge_address *address)
{
	struct request request = begin(bytes, RTM_GETNEIGH, NLM_F_ACK, number);
	const struct ndmsg neighbour = {.ndm_family = AF_BRIDGE, .ndm_ifindex = interface, .ndm_flags = NTF_MASTER};

	put(&request, &neighbour, sizeof(neighbour));
	put_address(&request, address);
	return end(&request);
}

static size_t link_request(uint8_t *bytes, uint16_t type, uint16_t flags, uint32_t number, uint8_t family, int interface, uint32_t filter)
{
	struct request request = begin(bytes, type, flags, number);
	const struct ifinfomsg link = {.ifi_family = family, .ifi_index = interface};

	put(&request, &link, sizeof(link));
	if (filter)
		put_attribute(&request, IFLA_EXT_MASK, &filter, sizeof(filter));
	return end(&request);
}

size_t bridge_request_link(uint8_t bytes[BRIDGE_REQUEST_BYTES], uint32_t number, int interface)
{
	return link_request(bytes, RTM_GETLINK, 0, number, AF_UNSPEC, interface, 0);
}

size_t bridge_request_vlans(uint8_t bytes[BRIDGE_REQUEST_BYTES], uint32_t number)
{
	return link_request(bytes, RTM_GETLINK, NLM_F_DUMP, number, AF_BRIDGE, 0, RTEXT_FILTER_BRVLAN_COMPRESSED);
}

/* As bridge(8) asks: kernels that are not told otherwise take the number of a port from such a header. */
size_t bridge_request_addresses(uint8_t bytes[BRIDGE_REQUEST_BYTES], uint32_t number, int interface)
{
	return link_request(bytes, RTM_GETNEIGH, NLM_F_DUMP, number, AF_BRIDGE, interface, 0);
}

/* ---- answers ---- */

bool bridge_message_next(const uint8_t **at, size_t *bytes, struct bridge_message *ret_message)
{
	struct nlmsghdr header;
	size_t step;

	if (*bytes < sizeof(header))
		return false;
	memcpy(&header, *at, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > *bytes)
		return false;
	*ret_message = (struct bridge_message){
		.type = header.nlmsg_type,
		.number = header.nlmsg_seq,
		.interrupted = header.nlmsg_flags & NLM_F_DUMP_INTR,
		.body = *at + sizeof(header),
		.bytes = header.nlmsg_len - sizeof(header),
	};
	step = min_u64(align_up(header.nlmsg_len, NLMSG_ALIGNTO), *bytes);
	*at += step;
	*bytes -= step;
	return true;
}

bool bridge_message_ends(const struct bridge_message *message, int *ret_err)
{
	int err = 0;

	if (message->type != NLMSG_ERROR && message->type != NLMSG_DONE)
		return false;
	if (message->bytes >= sizeof(err))
		memcpy(&err, message->body, sizeof(err));
	else if (message->type == NLMSG_ERROR)
		err = -EPROTO;
	*ret_err = err > 0 ? -EPROTO : err;
	return true;
}

struct attribute {
	unsigned type;
	const uint8_t *value;
	size_t bytes;
};

struct attributes {
	const uint8_t *at;
	size_t bytes;
};

static bool attribute_next(struct attributes *from, struct attribute *ret)
{
	struct nlattr header;
	size_t step;

	if (from->bytes < sizeof(header))
		return false;
	memcpy(&header, from->at, sizeof(header));
	if (header.nla_len < sizeof(header) || header.nla_len > from->bytes)
		return false;
	*ret = (struct attribute){header.nla_type & (unsigned)NLA_TYPE_MASK, from->at + sizeof(header), header.nla_len - sizeof(header)};
	step = min_u64(align_up(header.nla_len, NLA_ALIGNTO), from->bytes);
	from->at += step;
	from->bytes -= step;
	return true;
}

static struct attributes inside(const struct attribute *attribute)
{
	return (struct attributes){attribute->value, attribute->bytes};
}

/* The first of that type. */
static bool attribute_find(struct attributes from, unsigned type, struct attribute *ret)
{
	while (attribute_next(&from, ret))
		if (ret->type == type)
			return true;
	return false;
}

static bool says(const struct attribute *attribute, const char *word)
{
	size_t bytes = strlen(word);

	return attribute->bytes >= bytes && !memcmp(attribute->value, word, bytes) && (attribute->bytes == bytes || !attribute->value[bytes]);
}

/* The attributes behind a header of so many bytes; false: the message is of another type, or too short. */
static bool body_take(const struct bridge_message *message, unsigned type, void *header, size_t bytes, struct attributes *ret)
{
	if (message->type != type || message->bytes < bytes)
		return false;
	memcpy(header, message->body, bytes);
	*ret = (struct attributes){message->body + bytes, message->bytes - bytes};
	return true;
}

static void link_info_take(struct attributes info, struct bridge_link *link)
{
	struct attribute kind, data, filtering;

	link->of_bridge = attribute_find(info, IFLA_INFO_SLAVE_KIND, &kind) && says(&kind, "bridge");
	if (!attribute_find(info, IFLA_INFO_KIND, &kind) || !says(&kind, "bridge") || !attribute_find(info, IFLA_INFO_DATA, &data))
		return;
	link->filters = attribute_find(inside(&data), IFLA_BR_VLAN_FILTERING, &filtering) && filtering.bytes == 1 && *filtering.value;
}

bool bridge_message_link(const struct bridge_message *message, int interface, struct bridge_link *ret_link)
{
	struct bridge_link link = {.master = 0};
	struct attributes attributes;
	struct attribute found;
	struct ifinfomsg header;

	if (!body_take(message, RTM_NEWLINK, &header, sizeof(header), &attributes) || header.ifi_index != interface)
		return false;
	if (attribute_find(attributes, IFLA_MASTER, &found) && found.bytes == sizeof(link.master))
		memcpy(&link.master, found.value, sizeof(link.master));
	if (attribute_find(attributes, IFLA_IFNAME, &found))
		memcpy(link.name, found.value, min_u64(found.bytes, sizeof(link.name) - 1));
	if (attribute_find(attributes, IFLA_LINKINFO, &found))
		link_info_take(inside(&found), &link);
	*ret_link = link;
	return true;
}

bool bridge_message_pvid(const struct bridge_message *message, int interface, uint16_t *ret_pvid)
{
	struct attributes attributes, vlans;
	struct attribute found;
	struct ifinfomsg header;
	struct bridge_vlan_info vlan;

	if (!body_take(message, RTM_NEWLINK, &header, sizeof(header), &attributes) || header.ifi_index != interface ||
	    header.ifi_family != AF_BRIDGE || !attribute_find(attributes, IFLA_AF_SPEC, &found))
		return false;
	*ret_pvid = 0;
	for (vlans = inside(&found); attribute_next(&vlans, &found);) {
		if (found.type != IFLA_BRIDGE_VLAN_INFO || found.bytes != sizeof(vlan))
			continue;
		memcpy(&vlan, found.value, sizeof(vlan));
		if (vlan.flags & BRIDGE_VLAN_INFO_PVID && vlan.vid <= VLAN_MAX)
			*ret_pvid = vlan.vid;
	}
	return true;
}

bool bridge_message_address(const struct bridge_message *message, int interface, struct bridge_address *ret_address)
{
	struct bridge_address address = {.vid = 0};
	struct attributes attributes;
	struct attribute found;
	struct ndmsg header;

	if (!body_take(message, RTM_NEWNEIGH, &header, sizeof(header), &attributes) || header.ndm_family != AF_BRIDGE ||
	    header.ndm_ifindex != interface || header.ndm_flags & NTF_SELF || !(header.ndm_flags & NTF_EXT_LEARNED) ||
	    header.ndm_state & NUD_PERMANENT)
		return false;
	if (!attribute_find(attributes, NDA_LLADDR, &found) || found.bytes != sizeof(address.mac))
		return false;
	memcpy(address.mac, found.value, sizeof(address.mac));
	if (attribute_find(attributes, NDA_VLAN, &found) && found.bytes == sizeof(address.vid))
		memcpy(&address.vid, found.value, sizeof(address.vid));
	if (address.vid > VLAN_MAX)
		return false;
	*ret_address = address;
	return true;
}

bool bridge_message_kept(const struct bridge_message *message, int interface)
{
	struct attributes attributes;
	struct ndmsg header;

	if (!body_take(message, RTM_NEWNEIGH, &header, sizeof(header), &attributes) || header.ndm_family != AF_BRIDGE)
		return false;
	if (header.ndm_state & NUD_PERMANENT)
		return true;
	if (header.ndm_ifindex == interface && header.ndm_flags & NTF_EXT_LEARNED)
		return false;
	return header.ndm_state & NUD_NOARP || header.ndm_flags & NTF_STICKY;
}
