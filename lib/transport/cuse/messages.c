/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/iommu.h"
#include "mem/map.h"
#include "transport/cuse/cuse_internal.h"
#include "wire/iotlb.h"
#include <errno.h>

/*
 * What is read from and written to an opener: the questions and answers of device/iommu.h. MISS lies ready to be read, UPDATE and
 * INVALIDATE are written. When a write of INVALIDATE returns, nobody uses what it named.
 */

_Static_assert(MAP_READ == VHOST_ACCESS_RO && MAP_WRITE == VHOST_ACCESS_WO,
	       "UPDATE's permissions are a window's");

static void iommu_questioned(void *opaque)
{
	struct opener *opener = opaque;

	messages_tell(opener);
	if (iommu_asks(opener->iommu) && opener->poll_handle)
		opener->poll_ops->wake(opener->poll_handle);
}

void messages_poll_wake(struct opener *opener)
{
	if (!opener->poll_handle)
		return;
	opener->poll_ops->wake(opener->poll_handle);
	opener->poll_ops->free(opener->poll_handle);
	opener->poll_handle = NULL;
}

static void iommu_renewed(void *opaque)
{
	opener_renew(opaque);
}

static const struct iommu_ops iommu_ops = { .ask = iommu_questioned, .renew = iommu_renewed };

/* ---- the map ---- */

int messages_memory_set(struct opener *opener, const char **why)
{
	if (opener->iommu)
		return refuse(iommu_memory_set(opener->iommu, opener->memory), "out of memory", why);
	device_map_set(opener->device, opener->memory ? map_ref(opener->memory) : NULL);
	return 0;
}

bool messages_memory_takes_away(const struct opener *opener, struct map *memory)
{
	if (opener->iommu)
		return iommu_memory_takes_away(opener->iommu, memory);
	return device_map_takes_away(opener->device, memory);
}

/*
 * Also if it was on before: as with the kernel's vhost the table begins empty whenever it is asked for. The
 * driver may be a new one by then, and what its predecessor unmapped while the rings stood still, nobody has
 * told.
 */
int messages_iommu_set(struct opener *opener, bool on, const char **why)
{
	int r;

	if (!on && !opener->iommu)
		return 0;
	if (on && opener->iommu) {
		iommu_forget(opener->iommu);
	} else if (on) {
		r = iommu_new(opener->device, opener->endpoint->loop, &iommu_ops, opener, &opener->iommu);
		if (r)
			return refuse(r, "no memory, or no timer, for an IOTLB", why);
	} else {
		iommu_free(opener->iommu);
		opener->iommu = NULL;
	}
	return messages_memory_set(opener, why);
}

void messages_forget(struct opener *opener)
{
	struct request *request;

	iommu_free(opener->iommu);
	opener->iommu = NULL;
	map_unref(opener->memory);
	opener->memory = NULL;
	opener->backend_features = 0;
	while ((request = opener->readers)) {
		opener->readers = request->next;
		request->answers->error(request, -EBADFD);
	}
}

/* ---- MISS ---- */

bool messages_readable(const struct opener *opener)
{
	return opener->iommu && iommu_asks(opener->iommu);
}

/* False: there is nothing to be read. */
static bool miss_tell(const struct opener *opener, struct request *request)
{
	struct iommu_question question;
	struct iotlb_message message = { .type = VHOST_IOTLB_MISS };
	uint8_t data[IOTLB_MESSAGE_BYTES];

	if (!iommu_ask(opener->iommu, &question))
		return false;
	message.v2 = opener->backend_features & (UINT64_C(1) << VHOST_BACKEND_F_IOTLB_MSG_V2);
	message.iova = question.iova;
	message.perm = (uint8_t)question.access;
	iotlb_build(&message, data);
	request->answers->done(request, data, sizeof(data));
	return true;
}

void messages_tell(struct opener *opener)
{
	while (opener->readers) {
		struct request *request = opener->readers, *next = request->next;

		if (!miss_tell(opener, request))
			return;
		opener->readers = next;
	}
}

static void reader_wait(struct opener *opener, struct request *request)
{
	struct request **end = &opener->readers;

	while (*end)
		end = &(*end)->next;
	*end = request;
}

void messages_read(struct opener *opener, struct request *request)
{
	if (!opener->iommu)
		request->answers->error(request, -EBADFD);
	else if (request->room_bytes < IOTLB_MESSAGE_BYTES)
		request->answers->done(request, NULL, 0);
	else if (miss_tell(opener, request))
		return;
	else if (request->nonblocking)
		request->answers->error(request, -EAGAIN);
	else
		reader_wait(opener, request);
}

bool messages_reader_leave(struct opener *opener, struct request *request)
{
	struct request **at = &opener->readers;

	while (*at && *at != request)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = request->next;
	return true;
}

/* ---- UPDATE, INVALIDATE ---- */

static const char *refusal(int r)
{
	return r == -EFAULT ? "an IOTLB entry outside the memory table" : "out of memory";
}

int messages_write(struct opener *opener, const struct request *request, const char **why)
{
	struct iotlb_message message;
	struct map_window window;
	int r = iotlb_parse(request->in, request->in_bytes, &message, why);

	if (r)
		return r;
	if (!opener->iommu || !opener->memory)
		return refuse(-EFAULT, "no IOTLB: VIRTIO_F_ACCESS_PLATFORM or memory has not been set", why);
	window = (struct map_window){ message.iova, message.uaddr, message.size_bytes, message.perm };
	if (message.type == VHOST_IOTLB_INVALIDATE)
		r = iommu_revoked(opener->iommu, message.iova, message.size_bytes);
	else
		r = iommu_answered(opener->iommu, &window);
	return refuse(r, refusal(r), why);
}
