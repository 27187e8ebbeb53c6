/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * What a port may send from: any address, which is learned; some, which are fixed to it in each of its VLANs; or the first one that it sends
 * from, which the worker that sees it fixes. All of it may change while frames come. The database tells workers what is the port's (fdb.c): a
 * port whose addresses are fixed learns none, and one that locks is of that kind from the start, when it has none yet.
 *
 * What a port has locked may go on in another process, which fixes it before the port says anything there (sw_port_locked_set()).
 *
 * A change fixes what is new first. Then nothing is learned behind the port any more, and what was, or was fixed and is not to be, is let go
 * of. Where a port comes to learn, what was fixed to it counts as learned.
 *
 * The mutex `addresses` is held for as long as the words of the port that belong together change, and its VLANs, and by the worker that fixes
 * an address; never while the table is searched.
 */

#include "switch/core.h"
#include "switch/port.h"
#include "switch/topology.h"
#include <errno.h>

/* In the port's VLANs below `end`. */
static void mac_let_go(struct sw_port *port, uint64_t mac, uint32_t end)
{
	for (uint16_t vlan = 0; rules_next_vlan(&port->rules, &vlan) && vlan < end; vlan++) {
		struct fdb_address address = fdb_address(port->sw->fdb, vlan, mac);

		fdb_unfix_one(port->sw->fdb, &address, port->id);
	}
}

/* In each of its VLANs, or in none. */
static int mac_fix(struct sw_port *port, uint64_t mac)
{
	struct fdb *fdb = port->sw->fdb;

	for (uint16_t vlan = 0; rules_next_vlan(&port->rules, &vlan); vlan++) {
		struct fdb_address address = fdb_address(fdb, vlan, mac);
		int err = fdb_fix(fdb, &address, port->id, switch_now_s());

		if (!err)
			continue;
		mac_let_go(port, mac, vlan);
		return err;
	}
	return 0;
}

/*
 * The first worker that gets here has the address fixed, and from then on the database knows. What comes from another address meanwhile,
 * or if it is another port's already, is refused. Who finds it locked, and not in the database, is there after an entry was held by an
 * operator, and let go, or the port has come to another VLAN: he fixes it himself, and is told if that may not be.
 */
bool port_lock(struct sw_port *port, const struct fdb_address *address)
{
	uint64_t locked = __atomic_load_n(&port->locked, __ATOMIC_RELAXED);
	bool good;

	if (locked && locked != address->mac)
		return false; /* who says that he is many holds nobody up */
	pthread_mutex_lock(&port->addresses);
	if (!port->lock) { /* by now */
		enum fdb_news news = fdb_learn(port->sw->fdb, address, port->id, switch_now_s());

		good = news != FDB_FOREIGN;
		if (news == FDB_FIRST)
			switch_first_entry(port->sw);
	} else {
		good = (!port->locked || port->locked == address->mac) && !mac_fix(port, address->mac);
		if (good)
			__atomic_store_n(&port->locked, address->mac, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&port->addresses);
	return good;
}

/* ---- control thread ---- */

struct given {
	struct sw_port *port;
	const uint8_t (*addresses)[6];
	unsigned count;
};

static uint64_t mac_number(const uint8_t mac[6])
{
	uint64_t number = 0;

	for (unsigned byte = 0; byte < 6; byte++)
		number = number << 8 | mac[byte];
	return number;
}

static uint64_t given_mac(const struct given *given, unsigned i)
{
	return mac_number(given->addresses[i]);
}

/* It is in the first of its VLANs, and so in each. */
static bool is_fixed(const struct sw_port *port, uint64_t mac)
{
	uint16_t vlan = 0;
	struct fdb_address address;

	if (!port->address_count && !port->lock)
		return false;
	if (!rules_next_vlan(&port->rules, &vlan))
		return false;
	address = fdb_address(port->sw->fdb, vlan, mac);
	return fdb_lookup(port->sw->fdb, &address) == port->id;
}

/* All of them, or none of those that were not. */
static int given_fix(const struct given *given)
{
	struct sw_port *port = given->port;
	uint64_t fresh = 0;
	int err = 0;

	for (unsigned i = 0; !err && i < given->count; i++) {
		if (is_fixed(port, given_mac(given, i)))
			continue;
		err = mac_fix(port, given_mac(given, i));
		fresh |= err ? 0 : 1ull << i;
	}
	for (unsigned i = 0; err && i < given->count; i++)
		if (fresh >> i & 1)
			mac_let_go(port, given_mac(given, i), SW_VLAN_MAX + 1);
	if (err && !port->address_count && !port->lock)
		fdb_port_fixed_set(port->sw->fdb, port->id, false);
	return err;
}

static void drop_other(void *opaque, const struct fdb_entry *entry)
{
	const struct given *given = opaque;
	struct fdb_address address = fdb_address(given->port->sw->fdb, entry->vlan, entry->mac);

	if (entry->port != given->port->id || entry->held || entry->mac == __atomic_load_n(&given->port->locked, __ATOMIC_RELAXED))
		return;
	for (unsigned i = 0; i < given->count; i++)
		if (given_mac(given, i) == entry->mac)
			return;
	fdb_unfix_one(given->port->sw->fdb, &address, given->port->id);
}

/* The mutex is held. */
static void become(struct sw_port *port, bool fixed, bool lock)
{
	__atomic_store_n(&port->lock, lock, __ATOMIC_RELAXED);
	__atomic_store_n(&port->locked, 0, __ATOMIC_RELAXED);
	fdb_port_fixed_set(port->sw->fdb, port->id, fixed);
}

static int addresses_set(struct given *given, bool lock)
{
	struct sw_port *port = given->port;
	bool fixed = given->count || lock;
	int err;

	if (given->count > SW_ADDRESSES_MAX)
		return -EINVAL;
	pthread_mutex_lock(&port->addresses);
	err = given_fix(given);
	if (!err)
		become(port, fixed, lock);
	pthread_mutex_unlock(&port->addresses);
	if (err)
		return err;
	port->address_count = given->count;
	if (fixed && fdb_owned(port->sw->fdb, port->id) > 0)
		fdb_each(port->sw->fdb, switch_now_s(), drop_other, given);
	return 0;
}

int port_addresses_begin(struct sw_port *port, const struct sw_port_config *config)
{
	struct given given = {.port = port, .addresses = config->addresses, .count = config->address_count};
	int err = addresses_set(&given, config->lock_address && !config->address_count);

	if (err)
		fdb_unfix(port->sw->fdb, port->id);
	return err;
}

int sw_port_addresses_set(struct sw_port *port, const uint8_t (*addresses)[6], unsigned count, bool lock)
{
	struct given given = {.port = port, .addresses = addresses, .count = count};

	if (!count && !port->address_count && lock == port->lock)
		return 0; /* what has been locked stays */
	return addresses_set(&given, lock && !count);
}

/* ---- what it has locked, from one process to another ---- */

static bool is_fixed_everywhere(const struct sw_port *port, uint64_t mac)
{
	for (uint16_t vlan = 0; rules_next_vlan(&port->rules, &vlan); vlan++) {
		struct fdb_address address = fdb_address(port->sw->fdb, vlan, mac);

		if (fdb_lookup(port->sw->fdb, &address) != port->id)
			return false;
	}
	return true;
}

bool sw_port_locked(const struct sw_port *port, uint8_t ret_mac[6], bool *ret_everywhere)
{
	uint64_t mac = __atomic_load_n(&port->locked, __ATOMIC_RELAXED);

	if (!port->lock || !mac)
		return false;
	for (unsigned byte = 0; byte < 6; byte++)
		ret_mac[byte] = (uint8_t)(mac >> (40 - 8 * byte));
	*ret_everywhere = is_fixed_everywhere(port, mac);
	return true;
}

/* Where it is another port's it was so before: this one has it locked, and not fixed there. */
static int locked_fix(struct sw_port *port, uint64_t mac)
{
	struct fdb *fdb = port->sw->fdb;

	for (uint16_t vlan = 0; rules_next_vlan(&port->rules, &vlan); vlan++) {
		struct fdb_address address = fdb_address(fdb, vlan, mac);
		int err = fdb_fix(fdb, &address, port->id, switch_now_s());

		if (!err || err == -EADDRINUSE)
			continue;
		mac_let_go(port, mac, vlan);
		return err;
	}
	return 0;
}

int sw_port_locked_set(struct sw_port *port, const uint8_t mac[6])
{
	uint64_t number = mac_number(mac);
	int err = -EINVAL;

	if (mac[0] & 1 || !number || port->removing)
		return err;
	pthread_mutex_lock(&port->addresses);
	if (port->lock && (!port->locked || port->locked == number))
		err = locked_fix(port, number);
	if (!err)
		__atomic_store_n(&port->locked, number, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&port->addresses);
	return err;
}
