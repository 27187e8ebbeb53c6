/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/maps.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ---- */

/* A number in `base` that begins with a digit and ends before `end`, which is skipped. */
static bool take_number(const char **at, int base, char end, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = *at;

	for (; *p != end; p++) {
		int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : 99;

		if (digit >= base || value > (UINT64_MAX - (uint64_t)digit) / (uint64_t)base)
			return false;
		value = value * (uint64_t)base + (uint64_t)digit;
	}
	if (p == *at)
		return false;
	*at = p + 1;
	*ret = value;
	return true;
}

/* The inode is followed by blanks and a name, or by the end of the line. */
static bool take_last_number(const char **at, uint64_t *ret)
{
	const char *p = *at;
	size_t digits = strspn(p, "0123456789");

	if (!digits || (p[digits] != ' ' && p[digits] != '\n' && p[digits]))
		return false;
	*ret = strtoull(p, NULL, 10);
	*at = p + digits;
	return true;
}

static bool take_permissions(const char **at, struct maps_vma *vma)
{
	const char *p = *at;

	if (strnlen(p, 5) < 5 || p[4] != ' ' || (p[3] != 'p' && p[3] != 's'))
		return false;
	vma->readable = p[0] == 'r';
	vma->writable = p[1] == 'w';
	vma->shared = p[3] == 's';
	*at = p + 5;
	return true;
}

int maps_next(const char **at, struct maps_vma *ret)
{
	struct maps_vma vma;
	uint64_t major, minor;
	const char *p = *at;

	if (!*p)
		return 0;
	if (!take_number(&p, 16, '-', &vma.start) || !take_number(&p, 16, ' ', &vma.end) ||
	    vma.end <= vma.start)
		return -EPROTO;
	if (!take_permissions(&p, &vma) || !take_number(&p, 16, ' ', &vma.offset))
		return -EPROTO;
	if (!take_number(&p, 16, ':', &major) || !take_number(&p, 16, ' ', &minor) ||
	    !take_last_number(&p, &vma.inode))
		return -EPROTO;
	vma.major = (uint32_t)major;
	vma.minor = (uint32_t)minor;
	p += strcspn(p, "\n"); /* the name: a newline in it is written as \012 */
	*at = *p ? p + 1 : p;
	*ret = vma;
	return 1;
}

int maps_parse(const char *text, struct maps_vma **ret_vmas, size_t *ret_count)
{
	size_t count = 0, lines = 1;
	struct maps_vma *vmas;
	int r;

	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	vmas = calloc(lines, sizeof(*vmas));
	if (!vmas)
		return -ENOMEM;
	while ((r = maps_next(&text, &vmas[count])) > 0) {
		if (count && vmas[count].start < vmas[count - 1].end) /* maps_find() relies on it */
			r = -EPROTO;
		if (r < 0)
			break;
		count++;
	}
	if (r < 0) {
		free(vmas);
		return r;
	}
	*ret_vmas = vmas;
	*ret_count = count;
	return 0;
}

const struct maps_vma *maps_find(const struct maps_vma *vmas, size_t count, uint64_t address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (vmas[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && vmas[low].start <= address ? &vmas[low] : NULL;
}

/* ---- pieces ---- */

static int vma_usable(const struct maps_vma *vma, const char **why)
{
	if (!vma || !vma->readable || !vma->writable) {
		*why = vma ? "a region is not readable and writable in the caller"
			   : "a region is not mapped in the caller";
		return -EFAULT;
	}
	if (!vma->shared || !vma->inode) {
		*why = "a region is private or anonymous memory: use share=on (mmap with MAP_SHARED)";
		return -EOPNOTSUPP;
	}
	return 0;
}

bool maps_same_file(const struct maps_piece *a, const struct maps_piece *b)
{
	return a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

/* Does `next` go on where `piece` ends, in the guest, in the caller and in the file? */
static bool joins(const struct maps_piece *piece, const struct maps_piece *next)
{
	return maps_same_file(piece, next) && piece->gpa + piece->size_bytes == next->gpa &&
	       piece->uaddr + piece->size_bytes == next->uaddr &&
	       piece->file_offset + piece->size_bytes == next->file_offset;
}

static int region_check(const struct vhost_memory_region *region, const char **why)
{
	uint64_t end;

	*why = "a region is empty, or wraps round";
	if (!region->memory_size)
		return -EINVAL;
	if (__builtin_add_overflow(region->guest_phys_addr, region->memory_size, &end) ||
	    __builtin_add_overflow(region->userspace_addr, region->memory_size, &end))
		return -EINVAL;
	return 0;
}

/* The pieces of one region, none of which joins one of another region. Their number, or a negative errno. */
static int region_pieces(const struct maps_vma *vmas, size_t vma_count,
			 const struct vhost_memory_region *region, struct maps_piece *pieces, unsigned max,
			 const char **why)
{
	uint64_t done_bytes = 0;
	unsigned count = 0;
	int r = region_check(region, why);

	while (!r && done_bytes < region->memory_size) {
		uint64_t uaddr = region->userspace_addr + done_bytes, left = region->memory_size - done_bytes;
		const struct maps_vma *vma = maps_find(vmas, vma_count, uaddr);
		struct maps_piece piece;

		r = vma_usable(vma, why);
		if (r)
			return r;
		piece = (struct maps_piece){
			.gpa = region->guest_phys_addr + done_bytes,
			.uaddr = uaddr,
			.size_bytes = vma->end - uaddr < left ? vma->end - uaddr : left,
			.file_offset = vma->offset + (uaddr - vma->start),
			.inode = vma->inode,
			.major = vma->major,
			.minor = vma->minor,
		};
		done_bytes += piece.size_bytes;
		if (count && joins(&pieces[count - 1], &piece)) {
			pieces[count - 1].size_bytes += piece.size_bytes;
			continue;
		}
		*why = "too many regions, or regions in too many pieces";
		if (count == max)
			return -E2BIG;
		pieces[count++] = piece;
	}
	return r ? r : (int)count;
}

int maps_pieces(const struct maps_vma *vmas, size_t vma_count, const struct vhost_memory_region *regions,
		unsigned region_count, struct maps_piece *pieces, unsigned max, const char **why)
{
	unsigned count = 0;

	for (unsigned i = 0; i < region_count; i++) {
		int r = region_pieces(vmas, vma_count, &regions[i], pieces + count, max - count, why);

		if (r < 0)
			return r;
		count += (unsigned)r;
	}
	return (int)count;
}

/* ---- mounts ---- */

static bool type_is_kernels(const char *type)
{
	static const char *const types[] = { "tmpfs", "hugetlbfs", "devtmpfs", "ramfs",
					     "btrfs", "bcachefs",  "zfs" };
	size_t chars = strcspn(type, " \n");

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i]) == chars && !memcmp(types[i], type, chars))
			return true;
	return false;
}

/* Of a line: its mount's number, its parent's, major:minor, and somewhere behind " - " the type. */
static bool line_is_of(const char *line, uint32_t major, uint32_t minor)
{
	uint64_t id, parent, have_major, have_minor;

	return take_number(&line, 10, ' ', &id) && take_number(&line, 10, ' ', &parent) &&
	       take_number(&line, 10, ':', &have_major) && take_number(&line, 10, ' ', &have_minor) &&
	       have_major == major && have_minor == minor;
}

enum maps_mount maps_mount(const char *mountinfo, uint32_t major, uint32_t minor)
{
	static const char separator[] = " - "; /* a blank in a path is written as \040 */
	enum maps_mount mount = MAPS_MOUNT_NONE;

	for (const char *line = mountinfo, *end; *line; line = *end ? end + 1 : end) {
		const char *type;

		end = line + strcspn(line, "\n");
		if (!line_is_of(line, major, minor))
			continue;
		type = strstr(line, separator);
		if (!type || type > end || !type_is_kernels(type + sizeof(separator) - 1))
			return MAPS_MOUNT_OTHER;
		mount = MAPS_MOUNT_KERNEL;
	}
	return mount;
}

/* ---- status ---- */

pid_t maps_tgid(const char *status)
{
	const char *line = strstr(status, "\nTgid:"); /* newlines in a process's name are escaped */
	long tgid = line ? strtol(line + 6, NULL, 10) : 0;

	return tgid > 0 && tgid <= INT32_MAX ? (pid_t)tgid : 0;
}
