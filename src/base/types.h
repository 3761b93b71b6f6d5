/* SPDX-License-Identifier: MIT */
/*
 * The vocabulary every file shares: address types, bit helpers, compiler
 * attributes. Nothing here knows x86.
 *
 * Address types follow KVM's names: a guest virtual address goes through the
 * guest's page tables to a guest physical one, a memslot turns that into a host
 * virtual one. In this project host physical == host virtual: the "physical"
 * memory of the software processor is the address space of the client process.
 */
#ifndef ANYKVM_BASE_TYPES_H
#define ANYKVM_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gva_t;
typedef uint64_t gpa_t;
typedef uint64_t gfn_t;
typedef uint64_t hva_t;
typedef uint64_t hpa_t;

#define INVALID_GPA	(~(gpa_t)0)
#define INVALID_HPA	(~(hpa_t)0)

#define PAGE_SHIFT	12
#define PAGE_SIZE	4096ul
#define PAGE_MASK	(~(PAGE_SIZE - 1))

#define BIT(n)		(1u << (n))
#define BIT_ULL(n)	(1ull << (n))
/* Bits h..l set, both included. */
#define GENMASK_ULL(h, l) ((~0ull << (l)) & (~0ull >> (63 - (h))))
#define FIELD_SHIFT(mask) (__builtin_ctzll(mask))
#define FIELD_GET(mask, v) ((((uint64_t)(v)) & (mask)) >> FIELD_SHIFT(mask))
#define FIELD_PREP(mask, v) ((((uint64_t)(v)) << FIELD_SHIFT(mask)) & (mask))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)	(((x) + (a) - 1) & ~((__typeof__(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define __noinline	__attribute__((noinline))
#define __force_inline	inline __attribute__((always_inline))
#define __cold		__attribute__((cold, noinline))
#define __must_check	__attribute__((warn_unused_result))
#define __hidden	__attribute__((visibility("hidden")))
#define __printf(a, b)	__attribute__((format(printf, a, b)))

#define READ_ONCE(x)	__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

#endif
