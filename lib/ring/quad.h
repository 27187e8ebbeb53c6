/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_QUAD_H
#define RING_QUAD_H

/*
 * Four usual chains at a time (one direct descriptor each, all readable or all writable, in the region that was hit
 * last), with AVX2. Chosen at run time, when a ring is made; plain C does the same one by one, and whatever does
 * not fit here.
 *
 * A descriptor is read with one aligned 16-byte load, which processors that have AVX perform at once (Intel SDM
 * 9.1.1, AMD64 APM 7.3.2): what comes with its flags is what the driver wrote before them.
 */

#include "ring/lay.h"
#include "ring/order.h"

#if defined(__x86_64__) && !RING_TSAN
#define RING_HAS_QUADS 1
#include <immintrin.h>

#define RING_QUAD __attribute__((target("avx2"))) static inline

#define QUAD_LEN_MAX 65536u /* so long may a piece be, and so far from the region's end it must begin */

/* What is the same for all quads of a burst. */
struct quad_burst {
	__m256i gpa, last_start, host, want, mask;
	__m256i chain_low, chain_high; /* the first halves of two chains each: pieces, counts */
	__m128i bytes_shift;
	bool writable, is_packed;
	uint64_t usable; /* 0: the region is too small for this */
};

/* Lanes hold chains 0, 2, 1, 3: what unpacking makes of two pairs. */
struct quad {
	__m256i addr, rest;
};

static inline bool ring_quads_supported(void)
{
	return __builtin_cpu_supports("avx2");
}

/*
 * `want` and `mask`: what the second word of each descriptor must hold where. They say whether the chains are
 * readable or writable too.
 */
RING_QUAD struct quad_burst quad_burst_of(const struct ring *ring, uint64_t want, uint64_t mask, bool writable,
					  const struct iovec *iov)
{
	const struct ring_window window = ring_window_of(ring);
	uint64_t usable = window.size_bytes > QUAD_LEN_MAX ? window.size_bytes - QUAD_LEN_MAX : 0;
	long long counts = writable ? 1ll << 32 : 1;

	return (struct quad_burst){
		.gpa = _mm256_set1_epi64x((long long)window.gpa),
		.last_start = _mm256_set1_epi64x((long long)usable - 1),
		.host = _mm256_set1_epi64x((long long)(uintptr_t)window.host),
		.want = _mm256_set1_epi64x((long long)want),
		.mask = _mm256_set1_epi64x((long long)mask),
		.chain_low = _mm256_setr_epi64x((long long)(uintptr_t)iov, counts, (long long)(uintptr_t)(iov + 1),
						counts),
		.chain_high = _mm256_setr_epi64x((long long)(uintptr_t)(iov + 2), counts,
						 (long long)(uintptr_t)(iov + 3), counts),
		.bytes_shift = _mm_cvtsi32_si128(writable ? 32 : 0),
		.writable = writable,
		.is_packed = ring->is_packed,
		.usable = usable,
	};
}

/* Not left to the compiler, who could fold it into another instruction, or read again: the memory is the driver's. */
RING_QUAD __m128i quad_load(const __m128i *at)
{
	__m128i loaded;

	__asm__ volatile("vmovdqa %1, %0" : "=x"(loaded) : "m"(*at) : "memory");
	return loaded;
}

/* The four descriptors from `at` on, which is aligned to 16 bytes. */
RING_QUAD struct quad quad_read(const void *at)
{
	const __m128i *descs = at;
	__m256i first = _mm256_set_m128i(quad_load(descs + 1), quad_load(descs));
	__m256i second = _mm256_set_m128i(quad_load(descs + 3), quad_load(descs + 2));

	return (struct quad){
		.addr = _mm256_unpacklo_epi64(first, second),
		.rest = _mm256_unpackhi_epi64(first, second),
	};
}

/* Are all four usual, and 1 to QUAD_LEN_MAX bytes long within the region? */
RING_QUAD bool quad_usual(const struct quad_burst *burst, const struct quad *quad, __m256i offset, __m256i len)
{
	__m256i other = _mm256_and_si256(_mm256_xor_si256(quad->rest, burst->want), burst->mask);
	__m256i too_long = _mm256_srli_epi64(_mm256_sub_epi64(len, _mm256_set1_epi64x(1)), 16);
	/* Both differences are negative where the offset is outside. */
	__m256i outside = _mm256_or_si256(offset, _mm256_sub_epi64(burst->last_start, offset));
	__m256i bad = _mm256_or_si256(other, too_long);

	return _mm256_testz_si256(bad, bad) && !_mm256_movemask_pd(_mm256_castsi256_pd(outside));
}

/* Writes four chains and their pieces. `ids`: id and span of each, as they lie in struct vireo_chain. */
RING_QUAD void quad_write(struct quad_burst *burst, __m256i host, __m256i len, __m256i ids, struct vireo_chain *chains,
			  struct iovec *iov)
{
	const __m256i pieces = _mm256_setr_epi64x(4 * sizeof(*iov), 0, 4 * sizeof(*iov), 0);
	__m256i bytes = _mm256_sll_epi64(len, burst->bytes_shift);
	__m256i low = _mm256_unpacklo_epi64(bytes, ids), high = _mm256_unpackhi_epi64(bytes, ids);
	__m256i *to = (__m256i *)(void *)chains, *to_iov = (__m256i *)(void *)iov;

	_mm256_storeu_si256(to_iov, _mm256_unpacklo_epi64(host, len));
	_mm256_storeu_si256(to_iov + 1, _mm256_unpackhi_epi64(host, len));
	_mm256_storeu_si256(to, _mm256_permute2x128_si256(burst->chain_low, low, 0x20));
	_mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(burst->chain_low, low, 0x31));
	_mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(burst->chain_high, high, 0x20));
	_mm256_storeu_si256(to + 3, _mm256_permute2x128_si256(burst->chain_high, high, 0x31));
	burst->chain_low = _mm256_add_epi64(burst->chain_low, pieces);
	burst->chain_high = _mm256_add_epi64(burst->chain_high, pieces);
}

/* Lays the four chains of `quad`, or does nothing. `ids` as quad_write() wants them. */
RING_QUAD bool quad_lay(struct quad_burst *burst, const struct quad *quad, __m256i ids, struct vireo_chain *chains,
			struct iovec *iov)
{
	__m256i offset = _mm256_sub_epi64(quad->addr, burst->gpa);
	__m256i len = _mm256_and_si256(quad->rest, _mm256_set1_epi64x(UINT32_MAX));

	if (unlikely(!quad_usual(burst, quad, offset, len)))
		return false;
	quad_write(burst, _mm256_add_epi64(offset, burst->host), len, ids, chains, iov);
	for (unsigned i = 0; i < 4; i++)
		ring_fetch_start(iov[i].iov_base, burst->writable, burst->is_packed);
	return true;
}

_Static_assert(sizeof(struct vireo_chain) == 32 && sizeof(struct iovec) == 16 &&
		       offsetof(struct vireo_chain, readable_count) == 8 &&
		       offsetof(struct vireo_chain, readable_bytes) == 16 && offsetof(struct vireo_chain, id) == 24 &&
		       offsetof(struct vireo_chain, span) == 26,
	       "quad_write() writes whole chains");

#else

#define RING_HAS_QUADS 0

static inline bool ring_quads_supported(void)
{
	return false;
}

#endif

#endif
