/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/map.h"
#include "transport/cuse/cuse_internal.h"
#include "wire/feature_names.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/*
 * Ioctls about the device as a whole. Sizes and ownership have been checked by opener.c with table.c's row;
 * what a value means is checked by the verb. Errnos are those of the kernel's vhost, as far as it has the
 * case.
 */

/*
 * Front ends set it when their tap takes frames without a virtio header (VHOST_NET_F_VIRTIO_NET_HDR): then
 * the guest is offered nothing that a header would tell. In the ring there is a header in any case, so there
 * is nothing to do. Where the node is a SCSI target the same bit is VIRTIO_F_ANY_LAYOUT, which holds as well.
 */
#define F_NET_HEADER VIREO_FEATURE(VHOST_NET_F_VIRTIO_NET_HDR)
#define F_IOMMU                                                                                             \
	VIREO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) /* iommu.c's: the device sees addresses that are translated \
						 */
#define BACKEND_FEATURES (UINT64_C(1) << VHOST_BACKEND_F_IOTLB_MSG_V2)

static uint64_t take_u64(const struct request *request)
{
	uint64_t value;

	memcpy(&value, request->in, sizeof(value));
	return value;
}

/* ---- features ---- */

static uint64_t features_offered(const struct opener *opener)
{
	return device_features_offered(opener_model(opener)) | F_NET_HEADER | F_IOMMU;
}

int ioctl_get_features(struct opener *opener, const struct request *request, void *out, const char **why)
{
	uint64_t features = features_offered(opener);

	memcpy(out, &features, sizeof(features));
	return 0;
}

/*
 * What is said here are the features of rings. The others a front end negotiates with the guest in its tap's
 * name, and tells the tap: the device is to reckon with those (device_features_untold()).
 */
int ioctl_set_features(struct opener *opener, const struct request *request, void *out, const char **why)
{
	uint64_t features = take_u64(request);
	char text[FEATURES_TEXT_BYTES];
	int r;

	if (features & ~features_offered(opener))
		return refuse(-EOPNOTSUPP, "features that were not offered", why);
	r = device_features_set(opener->device, (features & ~(F_NET_HEADER | F_IOMMU)) |
							device_features_untold(opener->device));
	if (r)
		return refuse(r, "the device does not take these features", why);
	r = messages_iommu_set(opener, features & F_IOMMU, why);
	if (r)
		return r;
	features = vireo_device_features(opener->device) | (features & (F_NET_HEADER | F_IOMMU));
	log_info(opener_log(opener), "%s: features negotiated: %#" PRIx64 " (%s)", opener_name(opener), features,
		 features_text(text, device_id(opener->device), features));
	return 0;
}

/* ---- ownership ---- */

/* Whose memory and fds the numbers in all other ioctls mean from now on. */
int ioctl_set_owner(struct opener *opener, const struct request *request, void *out, const char **why)
{
	int r;

	if (opener->owner)
		return refuse(-EBUSY, "it has an owner", why);
	r = caller_new(request->pid, &opener->owner, why);
	if (!r)
		opener->broken = false; /* whoever was lied to, it was not by this one */
	return r;
}

int ioctl_reset_owner(struct opener *opener, const struct request *request, void *out, const char **why)
{
	opener_session_renew(opener);
	caller_free(opener->owner);
	opener->owner = NULL;
	opener->broken = false;
	return 0;
}

/* ---- memory ---- */

int ioctl_prepare_mem_table(struct opener *opener, const struct request *request, const char **why)
{
	struct vhost_memory_region regions[MAP_REGIONS_MAX];
	struct vhost_memory head;
	int r;

	memcpy(&head, request->in, sizeof(head));
	if (head.padding)
		return refuse(-EOPNOTSUPP, "its padding is not zero", why);
	memcpy(regions, request->in + sizeof(head), head.nregions * sizeof(regions[0]));
	r = caller_map(opener->owner, opener->memory, regions, head.nregions, device_faults(opener->device),
		       &opener->memory_next, why);
	if (!r && *why)
		log_info(opener_log(opener), "%s: VHOST_SET_MEM_TABLE: %s", opener_name(opener), *why);
	return r;
}

int ioctl_set_mem_table(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct map *old = opener->memory;
	int r;

	opener->memory = opener->memory_next;
	opener->memory_next = NULL;
	r = opener->memory_changed ? 0 : messages_memory_set(opener, why);
	opener->memory_changed = false;
	map_unref(old);
	return r;
}

/*
 * Its bits lie in memory of the caller's own, private as likely as not (QEMU's is from malloc()): process_vm_writev(2) reaches it, and writes
 * whole bytes. One that the kernel's vhost has set in the same byte meanwhile, for another device, would be lost.
 */
static const char no_log[] = "writes are not logged (VHOST_F_LOG_ALL is not offered)";

int ioctl_set_log_base(struct opener *opener, const struct request *request, void *out, const char **why)
{
	return refuse(-EOPNOTSUPP, no_log, why);
}

/* That there is none is true. */
int ioctl_set_log_fd(struct opener *opener, const struct request *request, void *out, const char **why)
{
	int fd;

	memcpy(&fd, request->in, sizeof(fd));
	return fd == VHOST_FILE_UNBIND ? 0 : refuse(-EOPNOTSUPP, no_log, why);
}

/* ---- back end ---- */

int ioctl_get_backend_features(struct opener *opener, const struct request *request, void *out,
			       const char **why)
{
	uint64_t features = BACKEND_FEATURES;

	memcpy(out, &features, sizeof(features));
	return 0;
}

int ioctl_set_backend_features(struct opener *opener, const struct request *request, void *out,
			       const char **why)
{
	uint64_t features = take_u64(request);

	if (features & ~BACKEND_FEATURES)
		return refuse(-EOPNOTSUPP, "back-end features that were not offered", why);
	opener->backend_features = features;
	return 0;
}
