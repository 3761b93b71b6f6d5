// SPDX-License-Identifier: MIT
/*
 * Sizes and places of XSAVE components (SDM Vol. 1, "XSAVE-Managed State").
 *
 * The host's registers go in and out through images of the host's making, so the
 * standard form has the host's offsets. PKRU is the exception: it is the emulator's
 * own and exists whatever the host has. Where the host knows it, it has the host's
 * place, else the one behind the components that guests can have.
 */
#include "emul/xstate.h"
#include "x86/fpu.h"

/* What can be in a guest's XCR0 beside PKRU. */
#define VECTORS		(X86_XCR0_AVX | X86_XCR0_AVX512)

static struct xstate components[XSTATE_NR];
static bool known;

static struct xstate ask_host(unsigned i)
{
	uint32_t a = 0xd, b, c = i, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	/* Supervisor, or too large for an image. */
	if (c & 1 || a + b > X86_FPU_SIZE)
		return (struct xstate){ 0 };
	return (struct xstate){ a, b, c & 2, a > 0 };
}

static bool host_has_leaf(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return a >= 0xd;
}

static uint32_t end_of_vectors(const struct xstate *t)
{
	uint32_t end = 576;
	unsigned i;

	for (i = 2; i < XSTATE_NR; i++)
		if (VECTORS >> i & 1 && t[i].size)
			end = MAX(end, t[i].offset + t[i].size);
	return end;
}

/* Any thread may do it, to the same effect. */
static void know(void)
{
	struct xstate t[XSTATE_NR] = { 0 };
	unsigned i;

	for (i = 2; i < XSTATE_NR && host_has_leaf(); i++)
		t[i] = ask_host(i);
	if (!t[XSTATE_PKRU].size)
		t[XSTATE_PKRU] = (struct xstate){ 8, end_of_vectors(t), false, false };
	for (i = 2; i < XSTATE_NR; i++)
		components[i] = t[i];
	__atomic_store_n(&known, true, __ATOMIC_RELEASE);
}

static const struct xstate *all(void)
{
	if (unlikely(!__atomic_load_n(&known, __ATOMIC_ACQUIRE)))
		know();
	return components;
}

const struct xstate *xstate(unsigned i)
{
	return &all()[i];
}

/* Components 2 to @i of @bits. */
static uint64_t up_to(uint64_t bits, unsigned i)
{
	return bits & (BIT_ULL(i) * 2 - 1) & ~3ull;
}

unsigned xstate_at(unsigned i, uint64_t xcomp_bv)
{
	const struct xstate *t = all();
	unsigned at = XSTATE_EXTENDED, k;
	uint64_t bits;

	if (!(xcomp_bv & XSTATE_COMPACT))
		return t[i].offset;
	for (bits = up_to(xcomp_bv, i); bits; bits &= bits - 1) {
		k = __builtin_ctzll(bits);
		if (t[k].aligned)
			at = ALIGN_UP(at, 64u);
		if (k < i)
			at += t[k].size;
	}
	return at;
}

unsigned xstate_area_bytes(uint64_t rfbm, uint64_t xcomp_bv)
{
	const struct xstate *t = all();
	uint64_t bits = up_to(rfbm, XSTATE_NR - 1);
	unsigned i;

	for (; bits; bits ^= BIT_ULL(i)) {
		i = 63 - __builtin_clzll(bits);
		if (t[i].size)
			return xstate_at(i, xcomp_bv) + t[i].size;
	}
	return XSTATE_EXTENDED;
}
