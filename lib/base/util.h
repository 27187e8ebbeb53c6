/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CACHE_LINE_BYTES 64u

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __cold __attribute__((cold, noinline))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* `align` is a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* What was written to memory is there before a device's register is written, which makes it look. */
static inline void device_write_barrier(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("" : : : "memory"); /* stores are in order, those to devices too */
#elif defined(__aarch64__)
	__asm__ volatile("dmb oshst" : : : "memory");
#elif defined(__riscv)
	__asm__ volatile("fence w, o" : : : "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* on POWER, a sync: devices included */
#endif
}

/* Single-writer statistics counters: written by their owner only, read by any thread. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* The line is about to be written: have it here, and nowhere else, by then. */
static inline void prefetch_write(const void *at)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)at)); /* gcc emits it for some -march only */
#else
	__builtin_prefetch(at, 1);
#endif
}

/* The CPU's own clock, which ticks at a constant rate of its own: for differences on one thread. ns elsewhere. */
static inline uint64_t cycles_now(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

/*
 * Copies a caller's config struct, whose first field `size` says how much of it the caller's header
 * knows, over defaults of zero. -EINVAL: no size, or bytes set that this version does not know.
 */
int config_copy(void *dst, size_t dst_size, const void *src);

#endif
