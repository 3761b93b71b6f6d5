/* SPDX-License-Identifier: MIT */
/*
 * XSAVE and its relatives (SDM Vol. 1, "Managing State Using the XSAVE Feature Set").
 *
 * The host saves into, or restores from, an image of our own in the standard form;
 * between it and the guest's area move only the components that the guest asked for
 * and has in XCR0, in the form that the instruction has (standard or compacted).
 * Component offsets in the standard form are the host's (xstate.c). In the usual case the
 * host does without our image (xsave_in_place.c). PKRU is not in the
 * host's registers: it is put into our image, and taken out, beside the host.
 *
 * Outside 64-bit mode registers 8-15 are neither saved nor restored. There are no
 * supervisor components: IA32_XSS is 0, XSAVES and XRSTORS are XSAVEC and XRSTOR of
 * the compacted form with a privilege check.
 */
#include "emul/fpu.h"
#include "emul/xsave.h"
#include "emul/xstate.h"

#define LEGACY_BYTES	512
#define HEADER_BYTES	64

#define F_SSE_AVX	(X86_XCR0_SSE | X86_XCR0_AVX)

struct xheader {
	uint64_t xstate_bv, xcomp_bv, rsvd[6];
};

_Static_assert(sizeof(struct xheader) == HEADER_BYTES, "XSAVE header");

/* An area: the host's image, or what of the guest's is there. */
union xarea {
	struct x86_fpu fpu;
	struct {
		struct x86_fxsave fx;
		struct xheader head;
	};
	uint8_t b[X86_FPU_SIZE];
};

/* Components of XCR0 that images can hold. */
static uint64_t usable(const struct x86_emulate_ctxt *c)
{
	uint64_t bits = c->xcr0 & (F_SSE_AVX | X86_XCR0_X87);
	unsigned i;

	for (i = 3; i < XSTATE_NR; i++)
		if (xstate(i)->size)
			bits |= c->xcr0 & BIT_ULL(i);
	return bits;
}

static uint64_t requested(const struct x86_emulate_ctxt *c)
{
	return usable(c) & ((c->gpr[X86_RDX] & 0xffffffff) << 32 |
			    (uint32_t)c->gpr[X86_RAX]);
}

/* Bytes of component @i that exist in this mode: of YMM (2) and ZMM (6) upper parts
 * those of registers 0-7, of ZMM16-31 (7) none. */
static unsigned component_bytes(const struct x86_emulate_ctxt *c, unsigned i)
{
	if (emul_is_64bit(c) || !(BIT(i) & (BIT(2) | BIT(6) | BIT(7))))
		return xstate(i)->size;
	return i == 7 ? 0 : xstate(i)->size / 2;
}

static unsigned xmm_bytes(const struct x86_emulate_ctxt *c)
{
	return emul_is_64bit(c) ? 256 : 128;
}

/* --- checks ------------------------------------------------------------------------ */

static int check(struct x86_emulate_ctxt *c)
{
	if (!(c->cr4 & X86_CR4_OSXSAVE))
		return emul_ud(c);
	if (c->cr0 & X86_CR0_TS)
		return emul_nm(c);
	return X86EMUL_CONTINUE;
}

static uint64_t wrap_to(const struct x86_emulate_ctxt *c, uint64_t la)
{
	return emul_is_64bit(c) ? la : (uint32_t)la;
}

/* All of the area is there, whatever of it is to be moved. */
static int probe_area(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm,
		      uint64_t xcomp_bv, unsigned acc)
{
	uint64_t v;

	return emul_read_la(c, wrap_to(c, la + xstate_area_bytes(rfbm, xcomp_bv) - 8), &v,
			    8, acc);
}

/* --- saving -------------------------------------------------------------------------- */

static void put_pkru(const struct x86_emulate_ctxt *c, union xarea *a)
{
	uint64_t v = c->pkru;

	__builtin_memcpy(a->b + xstate(XSTATE_PKRU)->offset, &v, sizeof(v));
	if (v)
		a->head.xstate_bv |= X86_XCR0_PKRU;
}

/* @a without the component is its initial state: 0. */
static void get_pkru(struct x86_emulate_ctxt *c, const union xarea *a, bool there)
{
	uint32_t v = 0;

	if (there)
		__builtin_memcpy(&v, a->b + xstate(XSTATE_PKRU)->offset, sizeof(v));
	emul_set_pkru(c, v);
}

/* The state's @mask into @a; which of it is not in its initial state. */
static uint64_t host_xsave(struct x86_emulate_ctxt *c, union xarea *a,
			   uint64_t mask)
{
	struct x86_fpu_pointers ptr = c->fpu_ptr;

	a->head = (struct xheader){ 0 };
	fpu_get(c);
	__asm__ volatile("xsave64 %0" : "+m"(*a)
			 : "a"((uint32_t)(mask & ~X86_XCR0_PKRU)),
			   "d"((uint32_t)(mask >> 32)));
	fpu_put(c);
	if (mask & X86_XCR0_PKRU)
		put_pkru(c, a);
	if (ptr.valid && mask & X86_XCR0_X87) {
		a->fx.fip = ptr.fip;
		a->fx.fdp = ptr.fdp;
		a->fx.fop = ptr.fop;
	}
	if (!(emul_is_64bit(c) && (c->insn->prefix & PFX_REX_W))) {
		a->fx.fip = (uint32_t)a->fx.fip;
		a->fx.fdp = (uint32_t)a->fx.fdp;
	}
	/* ZMM16-31 are not in use where they cannot be. */
	return a->head.xstate_bv & (emul_is_64bit(c) ? ~0ull : ~BIT_ULL(7));
}

static int put_legacy(struct x86_emulate_ctxt *c, uint64_t la,
		      const union xarea *a, uint64_t parts, bool mxcsr)
{
	int rc = X86EMUL_CONTINUE;

	if (parts & X86_XCR0_X87)
		rc = fpu_write_la(c, la, &a->fx, 24);
	if (!rc && mxcsr)
		rc = fpu_write_la(c, la + 24, &a->fx.mxcsr, 8);
	if (!rc && parts & X86_XCR0_X87)
		rc = fpu_write_la(c, la + 32, a->fx.st, sizeof(a->fx.st));
	if (!rc && parts & X86_XCR0_SSE)
		rc = fpu_write_la(c, la + 160, a->fx.xmm, xmm_bytes(c));
	return rc;
}

/* Components @parts of @a to the guest's area, in the form of @xcomp_bv. */
static int put_components(struct x86_emulate_ctxt *c, uint64_t la,
			  const union xarea *a, uint64_t parts, uint64_t xcomp_bv)
{
	unsigned i;
	int rc = X86EMUL_CONTINUE;

	for (i = 2; i < XSTATE_NR && !rc; i++)
		if (parts >> i & 1)
			rc = fpu_write_la(c, la + xstate_at(i, xcomp_bv),
					  a->b + xstate(i)->offset,
					  component_bytes(c, i));
	return rc;
}

/* XSAVE writes all that was asked for, XSAVEOPT what is not in its initial state. */
static int save_standard(struct x86_emulate_ctxt *c, bool optimize)
{
	union xarea a;
	uint64_t la, rfbm, used, bv, parts;
	int rc = check(c);

	if (rc)
		return rc;
	rfbm = requested(c);
	rc = fpu_image_la(c, xstate_area_bytes(rfbm, 0), 64, ACC_WRITE, &la);
	if (!rc)
		rc = emul_read_la(c, la + LEGACY_BYTES, &bv, 8, ACC_WRITE);
	if (!rc)
		rc = probe_area(c, la, rfbm, 0, ACC_WRITE | ACC_PROBE);
	if (rc || (!optimize && xsave_in_place(c, la, rfbm, false)))
		return rc;
	used = host_xsave(c, &a, rfbm);
	parts = optimize ? rfbm & used : rfbm;
	rc = put_legacy(c, la, &a, parts, rfbm & F_SSE_AVX);
	if (!rc)
		rc = put_components(c, la, &a, parts, 0);
	return rc ? rc : emul_write_la(c, la + LEGACY_BYTES,
				       (bv & ~rfbm) | (used & rfbm), 8, ACC_WRITE);
}

static int save_compacted(struct x86_emulate_ctxt *c)
{
	union xarea a;
	uint64_t la, rfbm, used, head[2];
	int rc = check(c);

	if (rc)
		return rc;
	rfbm = requested(c);
	rc = fpu_image_la(c, xstate_area_bytes(rfbm, rfbm | XSTATE_COMPACT), 64, ACC_WRITE, &la);
	if (!rc)
		rc = emul_read_la(c, wrap_to(c, la + XSTATE_EXTENDED - 8), head, 8,
				  ACC_WRITE | ACC_PROBE);
	if (!rc)
		rc = probe_area(c, la, rfbm, rfbm | XSTATE_COMPACT,
				ACC_WRITE | ACC_PROBE);
	if (rc || xsave_in_place(c, la, rfbm, true))
		return rc;
	used = host_xsave(c, &a, rfbm) & rfbm;
	if ((rfbm & X86_XCR0_SSE) && a.fx.mxcsr != X86_MXCSR_INIT)
		used |= X86_XCR0_SSE;
	head[0] = used;
	head[1] = rfbm | XSTATE_COMPACT;
	rc = put_legacy(c, la, &a, used, used & X86_XCR0_SSE);
	if (!rc)
		rc = put_components(c, la, &a, used, head[1]);
	return rc ? rc : fpu_write_la(c, la + LEGACY_BYTES, head, sizeof(head));
}

int em_xsave(struct x86_emulate_ctxt *c)
{
	return save_standard(c, false);
}

int em_xsaveopt(struct x86_emulate_ctxt *c)
{
	return save_standard(c, true);
}

int em_xsavec(struct x86_emulate_ctxt *c)
{
	return save_compacted(c);
}

int em_xsaves(struct x86_emulate_ctxt *c)
{
	return save_compacted(c);
}

/* --- restoring --------------------------------------------------------------------- */

static bool reserved_are_zero(const struct xheader *h)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(h->rsvd); i++)
		if (h->rsvd[i] && (i < 1 || (h->xcomp_bv & XSTATE_COMPACT)))
			return false;
	return true;
}

/* The header's rules (SDM Vol. 1, "Operation of XRSTOR"). */
static bool header_is_valid(const struct x86_emulate_ctxt *c,
			    const struct xheader *h, bool compact_only)
{
	if (!reserved_are_zero(h))
		return false;
	if (h->xcomp_bv & XSTATE_COMPACT)
		return !(h->xstate_bv & ~h->xcomp_bv);
	return !compact_only && !h->xcomp_bv && !(h->xstate_bv & ~c->xcr0);
}

static int get_legacy(struct x86_emulate_ctxt *c, uint64_t la, union xarea *a,
		      uint64_t parts, bool mxcsr)
{
	int rc = X86EMUL_CONTINUE;

	if (parts & X86_XCR0_X87)
		rc = fpu_read_la(c, la, &a->fx, 24);
	if (!rc && mxcsr)
		rc = fpu_read_la(c, la + 24, &a->fx.mxcsr, 4);
	if (!rc && parts & X86_XCR0_X87)
		rc = fpu_read_la(c, la + 32, a->fx.st, sizeof(a->fx.st));
	if (!rc && parts & X86_XCR0_SSE)
		rc = fpu_read_la(c, la + 160, a->fx.xmm, xmm_bytes(c));
	if (!(emul_is_64bit(c) && (c->insn->prefix & PFX_REX_W))) {
		a->fx.fip = (uint32_t)a->fx.fip;
		a->fx.fdp = (uint32_t)a->fx.fdp;
	}
	return rc;
}

static int get_components(struct x86_emulate_ctxt *c, uint64_t la, union xarea *a,
			  uint64_t parts, uint64_t xcomp_bv)
{
	unsigned i;
	int rc = X86EMUL_CONTINUE;

	for (i = 2; i < XSTATE_NR && !rc; i++)
		if (parts >> i & 1)
			rc = fpu_read_la(c, la + xstate_at(i, xcomp_bv),
					 a->b + xstate(i)->offset,
					 component_bytes(c, i));
	return rc;
}

static void zero(void *p, size_t n)
{
	uint8_t *b = p;
	size_t i;

	for (i = 0; i < n; i++)
		b[i] = 0;
}

/*
 * Registers that do not exist outside 64-bit mode keep their values: @a gets them
 * from the present state @now, and the components count as present.
 */
static void keep_upper_registers(const struct x86_emulate_ctxt *c, union xarea *a,
				 const union xarea *now, uint64_t rfbm)
{
	uint64_t mixed = rfbm & (F_SSE_AVX | BIT_ULL(6) | BIT_ULL(7));
	unsigned i, k;

	for (k = 8; k < 16 && rfbm & X86_XCR0_SSE; k++)
		a->fx.xmm[k] = now->fx.xmm[k];
	for (i = 2; i < XSTATE_NR; i++) {
		if (!(mixed >> i & 1))
			continue;
		for (k = component_bytes(c, i); k < xstate(i)->size; k++)
			a->b[xstate(i)->offset + k] =
				now->b[xstate(i)->offset + k];
	}
	a->head.xstate_bv |= mixed;
}

/* @compact: then AVX alone leaves MXCSR, which the host's standard form would load. */
static void load(struct x86_emulate_ctxt *c, union xarea *a, uint64_t rfbm,
		 bool compact)
{
	const bool pkru = a->head.xstate_bv & X86_XCR0_PKRU;
	union xarea now;

	a->head.xstate_bv &= ~X86_XCR0_PKRU;
	if (!emul_is_64bit(c)) {
		host_xsave(c, &now, rfbm);
		keep_upper_registers(c, a, &now, rfbm);
	}
	fpu_get(c);
	if (compact && !(rfbm & X86_XCR0_SSE))
		__asm__ volatile("stmxcsr %0" : "=m"(a->fx.mxcsr));
	__asm__ volatile("xrstor64 %0" : : "m"(*a),
			 "a"((uint32_t)(rfbm & ~X86_XCR0_PKRU)),
			 "d"((uint32_t)(rfbm >> 32)));
	if (rfbm & X86_XCR0_X87)
		c->fpu_ptr.valid = false;
	fpu_put(c);
	if (rfbm & X86_XCR0_PKRU)
		get_pkru(c, a, pkru);
}

/* The standard form's area is looked at before its header; of the compacted form the
 * components that it has, x87 and MXCSR, and then the rest of the header: as measured. */
static int probe_compacted(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm,
			   uint64_t xcomp_bv)
{
	uint64_t legacy = rfbm & xcomp_bv, v;
	int rc = X86EMUL_CONTINUE;

	if (!emul_has(c, X86_FEATURE_XSAVEC) || xcomp_bv & ~(c->xcr0 | XSTATE_COMPACT))
		return emul_gp(c, 0);
	if (legacy & X86_XCR0_X87)
		rc = emul_read_la(c, la, &v, 8, 0);
	if (!rc && legacy & X86_XCR0_SSE)
		rc = emul_read_la(c, la + 24, &v, 4, 0);
	return rc;
}

static int probe_standard(struct x86_emulate_ctxt *c, uint64_t la, uint64_t rfbm)
{
	uint64_t v;
	int rc = fpu_image_la(c, xstate_area_bytes(rfbm, 0), 64, 0, &la);

	if (!rc && rfbm & (F_SSE_AVX | X86_XCR0_X87))
		rc = emul_read_la(c, la, &v, 8, 0);
	return rc ? rc : probe_area(c, la, rfbm, 0, 0);
}

static int restore(struct x86_emulate_ctxt *c, bool compact_only)
{
	struct xheader head;
	union xarea a;
	uint64_t la, rfbm, parts;
	bool compact, mxcsr;
	int rc = check(c);

	if (!rc)
		rc = fpu_image_la(c, XSTATE_EXTENDED, 64, 0, &la);
	if (!rc)
		rc = fpu_read_la(c, la + LEGACY_BYTES, &head, sizeof(head));
	if (rc)
		return rc;
	rfbm = requested(c);
	compact = head.xcomp_bv & XSTATE_COMPACT;
	rc = compact ? probe_compacted(c, la, rfbm, head.xcomp_bv) :
		       probe_standard(c, la, rfbm);
	if (rc)
		return rc;
	if (!header_is_valid(c, &head, compact_only))
		return emul_gp(c, 0);
	if (xrstor_in_place(c, la, rfbm))
		return X86EMUL_CONTINUE;
	parts = head.xstate_bv & rfbm;
	/* The standard form loads MXCSR whatever XSTATE_BV says. */
	mxcsr = compact ? parts & X86_XCR0_SSE : rfbm & F_SSE_AVX;

	/* Components that are not there are not looked at, but by keep_upper_registers(). */
	zero(&a, emul_is_64bit(c) ? XSTATE_EXTENDED : sizeof(a));
	a.fx.fcw = X86_FCW_INIT;
	a.fx.mxcsr = X86_MXCSR_INIT;
	rc = get_legacy(c, la, &a, parts, mxcsr);
	if (!rc)
		rc = get_components(c, la, &a, parts, head.xcomp_bv);
	if (rc)
		return rc;
	if (a.fx.mxcsr & fpu_mxcsr_reserved())
		return emul_gp(c, 0);
	a.head.xstate_bv = parts;
	load(c, &a, rfbm, compact);
	return X86EMUL_CONTINUE;
}

int em_xrstor(struct x86_emulate_ctxt *c)
{
	return restore(c, false);
}

int em_xrstors(struct x86_emulate_ctxt *c)
{
	return restore(c, true);
}
