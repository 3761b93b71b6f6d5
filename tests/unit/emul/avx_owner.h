/* SPDX-License-Identifier: MIT */
/*
 * The FPU side of a test's owner with all of the state through AVX-512; compare
 * fpu_owner.h, which moves FXSAVE's part.
 */
#ifndef TESTS_EMUL_AVX_OWNER_H
#define TESTS_EMUL_AVX_OWNER_H

#include <cpuid.h>

#include "fpu_owner.h"

#define AVX_XCR0 0xe7u

/* Components that the host has of AVX_XCR0. */
static uint32_t avx_components;

/* Whether the host has AVX, and which components. */
static inline bool avx_host(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1) || !(c >> 28 & 1))
		return false;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	avx_components = a & AVX_XCR0;
	return (avx_components & 6) == 6;
}

static inline void avx_save(struct x86_fpu *f)
{
	__asm__ volatile("xsave64 %0" : "+m"(*f) : "a"(avx_components), "d"(0));
}

static inline void avx_restore(const struct x86_fpu *f)
{
	__asm__ volatile("xrstor64 %0" : : "m"(*f), "a"(avx_components), "d"(0));
}

static void avx_owner_get(struct x86_emulate_ctxt *c)
{
	avx_save(&fpu_host);
	avx_restore(c->fpu);
}

static void avx_owner_put(struct x86_emulate_ctxt *c)
{
	avx_save(c->fpu);
	emul_fpu_saved(c);
	avx_restore(&fpu_host);
}

/* Byte offset of component @i in the standard form, and its size. */
static inline unsigned avx_component(unsigned i, unsigned *size)
{
	uint32_t a, b, c, d;

	__cpuid_count(0xd, i, a, b, c, d);
	*size = a;
	return b;
}

static inline uint64_t *avx_xstate_bv(struct x86_fpu *f)
{
	return (uint64_t *)(f->area + 512);
}

/* What XSAVE left out because it was in its initial state is zero. */
static inline void avx_normalize(struct x86_fpu *f)
{
	unsigned i, at, size;

	if (!(*avx_xstate_bv(f) & 2))
		memset(f->fx.xmm, 0, sizeof(f->fx.xmm));
	for (i = 2; i < 8; i++) {
		if (!(avx_components >> i & 1) || *avx_xstate_bv(f) >> i & 1)
			continue;
		at = avx_component(i, &size);
		memset(f->area + at, 0, size);
	}
	*avx_xstate_bv(f) = avx_components;
}

/* A machine ready for all that the host has. */
static inline struct vm *avx_vm(enum x86_mode mode)
{
	struct vm *vm = fpu_vm(mode);

	vm->ops.get_fpu = avx_owner_get;
	vm->ops.put_fpu = avx_owner_put;
	vm->c.cr4 |= X86_CR4_OSXSAVE;
	vm->c.xcr0 = avx_components;
	return vm;
}

#endif
