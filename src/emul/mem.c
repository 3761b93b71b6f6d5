/* SPDX-License-Identifier: MIT */
/*
 * The slow side of mem.h: segment checks and the way to the owner's memory
 * callbacks. SDM Vol. 3A, "Limit Checking" and "Type Checking"; for 64-bit mode
 * "Segmentation in IA-32e Mode" and "Canonical Addressing".
 *
 *	64-bit mode	FS and GS have a base, nothing has a limit; with LAM the
 *			upper bits are metadata; what is not canonical is #SS(0)
 *			for SS, else #GP(0)
 *	protected	null or unusable, type, limit: #GP(0), limit of SS: #SS(0)
 *	real, vm86	limit only
 *
 * An access that passes the end of a segment of 4 GiB wraps, as processors do that
 * use the freedom of "Limit Checking" that way.
 *
 * A read-modify-write is checked as a write. Execute-only code segments cannot
 * be read, code segments cannot be written.
 */
#include "emul/mem.h"

static int segment_fault(struct x86_emulate_ctxt *c, unsigned seg)
{
	return seg == X86_SS ? emul_ss(c, 0) : emul_gp(c, 0);
}

/*
 * SDM Vol. 3A, "Linear-Address Masking": bit 63 tells whose pointer it is, and stays;
 * what is between it and the address is replaced by the address's highest bit.
 */
static uint64_t without_metadata(const struct x86_emulate_ctxt *c, uint64_t a)
{
	unsigned top;

	if (a >> 63 ? !(c->cr4 & X86_CR4_LAM_SUP) : !(c->cr3 & X86_CR3_LAM))
		return a;
	if (a >> 63)
		top = emul_is_la57(c) ? 56 : 47;
	else
		top = c->cr3 & X86_CR3_LAM_U57 ? 56 : 47;
	return (a & BIT_ULL(63)) |
	       ((uint64_t)((int64_t)(a << (63 - top)) >> (63 - top)) & ~BIT_ULL(63));
}

static int linearize64(struct x86_emulate_ctxt *c, unsigned seg, uint64_t ea,
		       unsigned bytes, unsigned acc, uint64_t *la)
{
	uint64_t a = ea;

	if (seg == X86_FS || seg == X86_GS)
		a += c->seg[seg].base;
	if (!(acc & ACC_FETCH))
		a = without_metadata(c, a);
	if (!emul_is_canonical(c, a) || !emul_is_canonical(c, a + bytes - 1))
		return segment_fault(c, seg);
	*la = a;
	return X86EMUL_CONTINUE;
}

static bool type_allows(const struct x86_segment *s, unsigned acc)
{
	bool code = s->ar & X86_AR_CODE;

	if (s->ar & X86_AR_UNUSABLE)
		return false;
	if (acc & ACC_FETCH)
		return code;
	if (acc & ACC_WRITE)
		return !code && (s->ar & X86_AR_RW);
	return !code || (s->ar & X86_AR_RW);
}

static bool limit_allows(const struct x86_segment *s, uint64_t ea,
			 unsigned bytes)
{
	uint64_t last = ea + bytes - 1;

	if ((s->ar & (X86_AR_S | X86_AR_CODE | X86_AR_CE)) !=
	    (X86_AR_S | X86_AR_CE))
		return last <= s->limit || s->limit == UINT32_MAX;
	/* Expand-down: what is above the limit. */
	return ea > s->limit && last <= (s->ar & X86_AR_DB ? 0xffffffff : 0xffff);
}

int emul_linearize_slow(struct x86_emulate_ctxt *c, unsigned seg, uint64_t ea,
			unsigned bytes, unsigned acc, uint64_t *la)
{
	const struct x86_segment *s;

	if (emul_is_64bit(c))
		return linearize64(c, seg, ea, bytes, acc, la);
	if (seg == X86_SEG_NONE) {
		*la = (uint32_t)ea;
		return X86EMUL_CONTINUE;
	}
	s = &c->seg[seg];
	if (!emul_is_real_like(c) && !type_allows(s, acc))
		return emul_gp(c, 0);
	if (!limit_allows(s, ea, bytes))
		return segment_fault(c, seg);
	*la = (uint32_t)(s->base + ea);
	return X86EMUL_CONTINUE;
}

int emul_check_aligned(struct x86_emulate_ctxt *c, uint64_t la, unsigned align,
		       unsigned acc)
{
	const unsigned exempt = ACC_SYSTEM | ACC_INNER | ACC_FETCH;

	if (likely(!x86_checks_alignment(c)) || acc & exempt || !(la & (align - 1)))
		return X86EMUL_CONTINUE;
	return emul_fault_code(c, X86_AC, 0);
}

int x86_check_access(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		     unsigned acc)
{
	if (acc & ACC_UNALIGNED || bytes > 8 || bytes & (bytes - 1))
		return X86EMUL_CONTINUE;
	return emul_check_aligned(c, la, bytes, acc);
}

int emul_read_far_ptr(struct x86_emulate_ctxt *c, unsigned seg, uint64_t ea,
		      unsigned width, uint64_t *off, uint16_t *sel)
{
	uint64_t v;
	int rc = emul_read(c, seg, ea, off, width, 0);

	if (!rc)
		rc = emul_read(c, seg, ea + width, &v, 2, 0);
	if (!rc)
		*sel = v;
	return rc;
}

int emul_read_slow(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		   unsigned bytes, unsigned acc)
{
	if (!c->ops->read)
		return X86EMUL_UNHANDLEABLE;
	return c->ops->read(c, la, val, bytes, acc);
}

int emul_write_slow(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		    unsigned bytes, unsigned acc)
{
	if (!c->ops->write)
		return X86EMUL_UNHANDLEABLE;
	return c->ops->write(c, la, val, bytes, acc);
}

/*
 * Locked compare and exchange of 1, 2, 4 or 8 bytes: straight on host memory
 * where the cache has the page, else the owner's.
 */
int emul_cmpxchg_la(struct x86_emulate_ctxt *c, uint64_t la, uint64_t *old,
		    uint64_t val, unsigned bytes, bool *done)
{
	void *p = emul_tlb(c, la, bytes, X86_TLB_WRITE);
	union { uint8_t b; uint16_t w; uint32_t d; uint64_t q; } o = { .q = *old };
	int rc = -EFAULT;

	if (p && bytes == 1)
		rc = host_cmpxchg_8(p, &o.b, val, done);
	else if (p && bytes == 2)
		rc = host_cmpxchg_16(p, &o.w, val, done);
	else if (p && bytes == 4)
		rc = host_cmpxchg_32(p, &o.d, val, done);
	else if (p)
		rc = host_cmpxchg_64(p, &o.q, val, done);
	if (rc) {
		if (!c->ops->cmpxchg)
			return X86EMUL_UNHANDLEABLE;
		rc = c->ops->cmpxchg(c, la, &o, &val, bytes, done);
	}
	if (rc == X86EMUL_CONTINUE)
		*old = o.q;
	return rc;
}
