// SPDX-License-Identifier: MIT
/*
 * System registers and what goes with them: control and debug registers, MSRs,
 * XCRs, cache and TLB invalidation, RSM.
 *
 * Here stand the conditions that do not depend on what a bit means: which
 * registers there are, privilege (the driver's, I_PRIV), operand size, aliases
 * of debug registers, the VM exit. Which values are allowed is the owner's:
 * its set_* fills in the #GP.
 *
 * The order for MOV DR differs. VMX: the exit comes before the checks of DR4/DR5
 * and GD (SDM Vol. 3C, "Relative Priority of Faults and VM Exits"). SVM: after
 * them (APM Vol. 2, "Instruction Intercepts"), but for the #DB of GD.
 */
#include "emul/desc.h"
#include "emul/fpu.h"
#include "emul/mem.h"

/* arg of ops->intercept for reads of CRs and DRs */
#define ICPT_READ	BIT(8)

/* Control and debug registers move 64 bits in 64-bit mode, 32 elsewhere. */
static unsigned reg_width(const struct x86_emulate_ctxt *c)
{
	return emul_is_64bit(c) ? 8 : 4;
}

static uint64_t source(const struct x86_emulate_ctxt *c)
{
	return c->gpr[c->insn->rm] & emul_mask(reg_width(c));
}

/* --- control registers ------------------------------------------------------- */

static bool cr_exists(unsigned nr)
{
	return nr < 16 && (BIT(nr) & (BIT(0) | BIT(2) | BIT(3) | BIT(4) |
				      BIT(8)));
}

/* The mode may be another one afterwards. */
static int write_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	int rc = sys_call(c, set_cr, nr, val);

	if (!rc)
		emul_update_mode(c);
	return rc;
}

int em_mov_cr(struct x86_emulate_ctxt *c)
{
	const unsigned nr = c->insn->reg;
	const uint64_t val = source(c);
	int rc;

	if (!cr_exists(nr))
		return emul_ud(c);
	rc = emul_intercept(c, X86_INTERCEPT_CR_WRITE, nr, val);
	return rc ? rc : write_cr(c, nr, val);
}

int em_mov_from_cr(struct x86_emulate_ctxt *c)
{
	const unsigned nr = c->insn->reg;
	uint64_t val;
	int rc;

	if (!cr_exists(nr))
		return emul_ud(c);
	rc = emul_intercept(c, X86_INTERCEPT_CR_READ, nr | ICPT_READ, 0);
	if (!rc)
		rc = sys_call(c, get_cr, nr, &val);
	if (!rc)
		emul_set_gpr(c, c->insn->rm, val, reg_width(c));
	return rc;
}

int em_clts(struct x86_emulate_ctxt *c)
{
	int rc = emul_intercept(c, X86_INTERCEPT_CLTS, 0, 0);

	return rc ? rc : write_cr(c, 0, c->cr0 & ~X86_CR0_TS);
}

/* SVM counts SMSW as a read of CR0, VMX does not intercept it. */
int em_smsw(struct x86_emulate_ctxt *c)
{
	int rc = X86EMUL_CONTINUE;

	if (c->cpl && (c->cr4 & X86_CR4_UMIP))
		return emul_gp(c, 0);
	if (c->vendor_amd)
		rc = emul_intercept(c, X86_INTERCEPT_CR_READ, ICPT_READ, 0);
	if (!rc)
		rc = sys_call(c, get_cr, 0, &c->dst.val);
	if (c->dst.type == OPERAND_MEM)
		c->dst.bytes = 2;
	return rc;
}

/* PE can be set this way but not cleared. */
int em_lmsw(struct x86_emulate_ctxt *c)
{
	const uint64_t low = X86_CR0_MP | X86_CR0_EM | X86_CR0_TS;
	const uint64_t src = c->dst.val;
	int rc = emul_intercept(c, X86_INTERCEPT_LMSW, 0, src & 0xffff);

	if (rc)
		return rc;
	return write_cr(c, 0, (c->cr0 & ~low) | (src & (low | X86_CR0_PE)));
}

/* --- debug registers ---------------------------------------------------------- */

/* Without CR4.DE numbers 4 and 5 mean 6 and 7. */
static int dr_number(struct x86_emulate_ctxt *c, unsigned *nr)
{
	if (*nr > 7)
		return emul_ud(c);
	if (*nr == 4 || *nr == 5) {
		if (c->cr4 & X86_CR4_DE)
			return emul_ud(c);
		*nr += 2;
	}
	return X86EMUL_CONTINUE;
}

/* General detect: any access is a #DB before the instruction. */
static int dr_general_detect(struct x86_emulate_ctxt *c)
{
	uint64_t dr7;
	int rc = sys_call(c, get_dr, 7, &dr7);

	if (rc || !(dr7 & X86_DR7_GD))
		return rc;
	emul_fault(c, X86_DB);
	c->exception.address = X86_DR6_BD;
	return X86EMUL_PROPAGATE_FAULT;
}

static int dr_access(struct x86_emulate_ctxt *c, enum x86_intercept id,
		     uint64_t flag, uint64_t val, unsigned *nr)
{
	int rc;

	*nr = c->insn->reg;
	if (*nr > 7)
		return emul_ud(c);
	if (c->vendor_amd) {
		unsigned raw = *nr;

		rc = dr_number(c, nr);
		if (!rc)
			rc = emul_intercept(c, id, raw | flag, val);
	} else {
		rc = emul_intercept(c, id, *nr | flag, val);
		if (!rc)
			rc = dr_number(c, nr);
	}
	return rc ? rc : dr_general_detect(c);
}

int em_mov_dr(struct x86_emulate_ctxt *c)
{
	const uint64_t val = source(c);
	unsigned nr;
	int rc = dr_access(c, X86_INTERCEPT_DR_WRITE, 0, val, &nr);

	if (rc)
		return rc;
	if (nr >= 6 && val >> 32)
		return emul_gp(c, 0);
	return sys_call(c, set_dr, nr, val);
}

int em_mov_from_dr(struct x86_emulate_ctxt *c)
{
	unsigned nr;
	uint64_t val;
	int rc = dr_access(c, X86_INTERCEPT_DR_READ, ICPT_READ, 0, &nr);

	if (!rc)
		rc = sys_call(c, get_dr, nr, &val);
	if (!rc)
		emul_set_gpr(c, c->insn->rm, val, reg_width(c));
	return rc;
}

/* --- MSRs and XCRs --------------------------------------------------------------- */

static uint64_t edx_eax(const struct x86_emulate_ctxt *c)
{
	return (c->gpr[X86_RDX] << 32) | (uint32_t)c->gpr[X86_RAX];
}

static void set_edx_eax(struct x86_emulate_ctxt *c, uint64_t val)
{
	c->gpr[X86_RAX] = (uint32_t)val;
	c->gpr[X86_RDX] = val >> 32;
}

int em_rdmsr(struct x86_emulate_ctxt *c)
{
	const uint32_t msr = c->gpr[X86_RCX];
	uint64_t val;
	int rc = emul_intercept(c, X86_INTERCEPT_MSR_READ, msr, 0);

	if (!rc)
		rc = sys_call(c, get_msr, msr, &val);
	if (!rc)
		set_edx_eax(c, val);
	return rc;
}

/* EFER and the FS and GS bases are part of what emul_update_mode() looks at. */
int em_wrmsr(struct x86_emulate_ctxt *c)
{
	const uint32_t msr = c->gpr[X86_RCX];
	int rc = emul_intercept(c, X86_INTERCEPT_MSR_WRITE, msr, edx_eax(c));

	if (!rc)
		rc = sys_call(c, set_msr, msr, edx_eax(c));
	if (!rc)
		emul_update_mode(c);
	return rc;
}

/* XINUSE: components that are not in their initial state. */
static uint64_t in_use(struct x86_emulate_ctxt *c)
{
	uint32_t lo, hi;

	fpu_get(c);
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(1));
	fpu_put(c);
	lo &= ~(uint32_t)X86_XCR0_PKRU;
	if (c->pkru)
		lo |= X86_XCR0_PKRU;
	/* ZMM16-31 are not in use where they cannot be. */
	return ((uint64_t)hi << 32 | lo) &
	       (emul_is_64bit(c) ? ~0ull : ~BIT_ULL(7));
}

int em_xgetbv(struct x86_emulate_ctxt *c)
{
	const uint32_t nr = c->gpr[X86_RCX];

	if (!(c->cr4 & X86_CR4_OSXSAVE))
		return emul_ud(c);
	if (nr > 1 || (nr == 1 && !emul_has(c, X86_FEATURE_XGETBV1)))
		return emul_gp(c, 0);
	set_edx_eax(c, c->xcr0 & (nr ? in_use(c) : ~0ull));
	return X86EMUL_CONTINUE;
}

int em_xsetbv(struct x86_emulate_ctxt *c)
{
	const uint32_t nr = c->gpr[X86_RCX];
	int rc;

	if (!(c->cr4 & X86_CR4_OSXSAVE))
		return emul_ud(c);
	rc = emul_intercept(c, X86_INTERCEPT_XSETBV, nr, edx_eax(c));
	return rc ? rc : sys_call(c, set_xcr, nr, edx_eax(c));
}

/* --- caches and TLB ---------------------------------------------------------------- */

/* Memory is coherent whatever the guest's caches do. */
int em_wbinvd(struct x86_emulate_ctxt *c)
{
	return sys_call(c, wbinvd);
}

int em_invd(struct x86_emulate_ctxt *c)
{
	return sys_call(c, wbinvd);
}

/* No limits and no faults: an address that is not canonical does nothing. */
int em_invlpg(struct x86_emulate_ctxt *c)
{
	const unsigned seg = c->insn->seg;
	uint64_t la = emul_ea(c);
	int rc;

	if (!emul_is_64bit(c))
		la = (uint32_t)(la + (seg < X86_NR_USER_SEGS ?
				      c->seg[seg].base : 0));
	else if (seg == X86_FS || seg == X86_GS)
		la += c->seg[seg].base;
	rc = emul_intercept(c, X86_INTERCEPT_INVLPG, la, 0);
	if (rc || !emul_is_canonical(c, la))
		return rc;
	return sys_call(c, invlpg, la);
}

enum { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL };

static bool invpcid_valid(const struct x86_emulate_ctxt *c, uint64_t type,
			  const uint64_t desc[2])
{
	if (type > INVPCID_ALL || desc[0] & ~X86_CR3_PCID)
		return false;
	if (type == INVPCID_ADDRESS && !emul_is_canonical(c, desc[1]))
		return false;
	return type > INVPCID_CONTEXT || !desc[0] || (c->cr4 & X86_CR4_PCIDE);
}

int em_invpcid(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	const uint64_t type = c->gpr[i->reg] & emul_mask(reg_width(c));
	uint64_t desc[2];
	int rc = emul_intercept(c, X86_INTERCEPT_INVPCID, 0, 0);

	if (!rc)
		rc = emul_read_bytes(c, i->seg, emul_ea(c), desc, 16, 0);
	if (rc)
		return rc;
	if (!invpcid_valid(c, type, desc))
		return emul_gp(c, 0);
	return sys_call(c, invpcid, type, desc);
}

/* Outside SMM, and where the owner has none: #UD. */
int em_rsm(struct x86_emulate_ctxt *c)
{
	int rc;

	if (!c->ops->rsm)
		return emul_ud(c);
	rc = c->ops->rsm(c);
	if (!rc)
		c->next_rip = c->rip;
	return rc;
}
