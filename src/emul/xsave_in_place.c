/* SPDX-License-Identifier: MIT */
/*
 * XSAVE, XSAVEC, XSAVES, XRSTOR and XRSTORS as kernels do them at each switch of a
 * process: 64-bit mode, REX.W, all of the area at neighbouring addresses of the host. The
 * host's instruction works on it then; xsave.c has made every check of the guest's own.
 *
 * Other processors may write the area meanwhile. @rfbm bounds what the host loads, whatever
 * the header says by then; and as far as an area can reach with any header (reach()) its
 * bytes are known to be the guest's. What the host does not like it faults for, which a
 * kernel's #GP for the same instruction tells the caller to look into.
 *
 * Not here: x87 state whose pointers are addresses of ours (fpu.c), which no guest may
 * see; PKRU, which the host's registers do not hold; XSAVEOPT, which may leave out what it
 * believes to be there.
 */
#include "base/access.h"
#include "emul/fpu.h"
#include "emul/xsave.h"
#include "emul/xstate.h"

/* @insn on the area at p, for components @mask; false: a fault. */
#define HOST_XSTATE(name, insn)						\
static bool name(void *p, uint64_t mask)				\
{									\
	__asm__ volatile goto("1: " insn " (%0)\n"			\
			      HOST_EX_TABLE("1b", "%l[fault]")		\
			      : : "r"(p), "a"((uint32_t)mask),		\
				"d"((uint32_t)(mask >> 32))		\
			      : "memory" : fault);			\
	return true;							\
fault:									\
	return false;							\
}

HOST_XSTATE(host_xsave, "xsave64")
HOST_XSTATE(host_xsavec, "xsavec64")
HOST_XSTATE(host_xrstor, "xrstor64")

static bool is_usual(const struct x86_emulate_ctxt *c, uint64_t rfbm)
{
	return emul_is_64bit(c) && c->insn->prefix & PFX_REX_W &&
	       !(rfbm & X86_XCR0_PKRU);
}

/* The host's address of [la, la + n), which is a page and a bit at most; or NULL. */
static void *host_area(struct x86_emulate_ctxt *c, uint64_t la, unsigned n,
		       unsigned acc)
{
	unsigned first = MIN(n, PAGE_SIZE - (la & ~PAGE_MASK));
	char *p;

	if (!c->ops->host_ptr ||
	    !is_canonical(la + n - 1, c->cr4 & X86_CR4_LA57))
		return NULL;
	p = c->ops->host_ptr(c, la, first, acc);
	if (p && first < n &&
	    p + first != c->ops->host_ptr(c, la + first, n - first, acc))
		return NULL;
	return p;
}

bool xsave_in_place(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm,
		    bool compact)
{
	uint64_t form = compact ? rfbm | XSTATE_COMPACT : 0;
	bool ok;
	void *p;

	if (!is_usual(c, rfbm) || (rfbm & X86_XCR0_X87 && c->fpu_ptr.valid))
		return false;
	p = host_area(c, la, xstate_area_bytes(rfbm, form), ACC_WRITE);
	if (!p)
		return false;
	fpu_get(c);
	ok = compact ? host_xsavec(p, rfbm) : host_xsave(p, rfbm);
	fpu_put(c);
	return ok;
}

/* How many bytes of an area can matter, whatever is in its header. */
static unsigned reach(uint64_t rfbm)
{
	return MAX(xstate_area_bytes(rfbm, 0), xstate_area_bytes(rfbm, ~0ull));
}

bool xrstor_in_place(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm)
{
	bool ok;
	void *p;

	if (!is_usual(c, rfbm))
		return false;
	p = host_area(c, la, reach(rfbm), 0);
	if (!p)
		return false;
	fpu_get(c);
	ok = host_xrstor(p, rfbm);
	if (ok && rfbm & X86_XCR0_X87)
		c->fpu_ptr.valid = false;
	fpu_put(c);
	return ok;
}
