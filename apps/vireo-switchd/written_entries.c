/* SPDX-License-Identifier: BSD-3-Clause */
#include "written_entries.h"
#include "base/log.h"
#include "daemon/settings.h"
#include "port.h"
#include "switch/vlan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool written_entries_add(struct written_entries *entries, const char *text, unsigned line, char why[SPEC_WHY_BYTES])
{
	struct static_entry entry, *more;

	if (!static_entry_parse(text, &entry, why))
		return false;
	more = realloc(entries->of, (entries->count + 1) * sizeof(*more));
	if (!more) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return false;
	}
	entry.line = line;
	entries->of = more;
	entries->of[entries->count++] = entry;
	return true;
}

void written_entries_free(struct written_entries *entries)
{
	free(entries->of);
	*entries = (struct written_entries){0};
}

int written_entries_copy(const struct written_entries *from, struct written_entries *ret)
{
	struct static_entry *of = from->count ? malloc(from->count * sizeof(*of)) : NULL;

	if (from->count && !of)
		return -ENOMEM;
	if (of)
		memcpy(of, from->of, from->count * sizeof(*of));
	*ret = (struct written_entries){of, from->count};
	return 0;
}

unsigned written_entries_hold(const struct ports *ports, const struct written_entries *entries, const struct daemon_options *options,
			      const struct vireo_log *log)
{
	char why[SPEC_WHY_BYTES], where[SETTINGS_WHERE_BYTES];
	unsigned failed = 0;

	for (unsigned i = 0; i < entries->count; i++) {
		if (!static_entry_hold(ports, &entries->of[i], why))
			continue;
		log_error(log, "%sfdb: %s", settings_where(options, entries->of[i].line, where), why);
		failed++;
	}
	return failed;
}

static bool same(const struct static_entry *a, const struct static_entry *b)
{
	return !memcmp(a->mac, b->mac, sizeof(a->mac)) && a->vlan == b->vlan && !strcmp(a->port, b->port);
}

static bool is_written(const struct written_entries *entries, const struct static_entry *entry)
{
	for (unsigned i = 0; i < entries->count; i++)
		if (same(&entries->of[i], entry))
			return true;
	return false;
}

void written_entries_leave(const struct ports *ports, const struct written_entries *old, const struct written_entries *now)
{
	for (unsigned i = 0; i < old->count; i++)
		if (!is_written(now, &old->of[i]))
			static_entry_let_go(ports, &old->of[i]);
}

/* ---- as settings ---- */

struct listing {
	struct static_entry *of;
	size_t count, room;
	bool lost;
};

static void note(void *opaque, const struct sw_fdb_entry *entry)
{
	struct listing *listing = opaque;
	struct static_entry *e;

	if (!entry->held || listing->lost)
		return;
	if (listing->count == listing->room) {
		size_t room = 2 * listing->room + 16;

		e = realloc(listing->of, room * sizeof(*e));
		listing->lost = !e;
		if (!e)
			return;
		listing->of = e;
		listing->room = room;
	}
	e = &listing->of[listing->count++];
	*e = (struct static_entry){.vlan = entry->vlan};
	memcpy(e->mac, entry->mac, sizeof(e->mac));
	snprintf(e->port, sizeof(e->port), "%s", entry->port);
}

/* Where they lie in the table is another place each time. */
static int in_order(const void *one, const void *other)
{
	const struct static_entry *a = one, *b = other;
	int order = strcmp(a->port, b->port);

	order = order ? order : a->vlan - b->vlan;
	return order ? order : memcmp(a->mac, b->mac, sizeof(a->mac));
}

void written_entries_write(const struct ports *ports, FILE *out)
{
	struct listing listing = {0};

	sw_fdb_each(ports->sw, note, &listing);
	if (listing.count)
		qsort(listing.of, listing.count, sizeof(*listing.of), in_order);
	for (size_t i = 0; i < listing.count; i++) {
		const struct static_entry *e = &listing.of[i];

		fprintf(out, "fdb %s %s", port_mac_text(e->mac).text, e->port);
		if (e->vlan)
			fprintf(out, " %u", e->vlan);
		fprintf(out, "\n");
	}
	if (listing.lost)
		fprintf(out, "# cannot be written in a file: all entries of fdb add, for there is no memory\n");
	free(listing.of);
}
