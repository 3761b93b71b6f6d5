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

const struct xstate *xstate(unsigned i)
{
	if (unlikely(!__atomic_load_n(&known, __ATOMIC_ACQUIRE)))
		know();
	return &components[i];
}

unsigned xstate_at(unsigned i, uint64_t xcomp_bv)
{
	unsigned at = XSTATE_EXTENDED, k;

	if (!(xcomp_bv & XSTATE_COMPACT))
		return xstate(i)->offset;
	for (k = 2; k <= i; k++) {
		if (!(xcomp_bv >> k & 1))
			continue;
		if (xstate(k)->aligned)
			at = ALIGN_UP(at, 64u);
		if (k < i)
			at += xstate(k)->size;
	}
	return at;
}

unsigned xstate_area_bytes(uint64_t rfbm, uint64_t xcomp_bv)
{
	unsigned i;

	for (i = XSTATE_NR - 1; i > 1; i--)
		if (rfbm >> i & 1 && xstate(i)->size)
			return xstate_at(i, xcomp_bv) + xstate(i)->size;
	return XSTATE_EXTENDED;
}
