// SPDX-License-Identifier: MIT
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT: transfers to flat segments that come from
 * MSRs and not from descriptors.
 *
 * SDM Vol. 2 and APM Vol. 3 under these names. Where the vendors differ:
 *
 *			Intel				AMD
 *	SYSCALL/SYSRET	64-bit mode only, else #UD	any protected mode
 *	SYSCALL compat	#UD				CSTAR
 *	SYSCALL R11	RFLAGS				RFLAGS, RF clear
 *	SYSRET to	RCX canonical, else #GP(0)	not checked: the fetch
 *	 64-bit		before the level changes	faults at CPL 3
 *	SYSENTER/EXIT	any mode			#UD in long mode
 *
 * On AMD SYSRET leaves SS's attributes alone. Here they are loaded on both,
 * because the CPL is SS.DPL (mode.c): the difference would show only to code that
 * looks at a null SS after returning to compatibility mode.
 */
#include "emul/desc.h"
#include "x86/msr.h"

#define STAR_EIP	GENMASK_ULL(31, 0)
#define STAR_SYSCALL	GENMASK_ULL(47, 32)
#define STAR_SYSRET	GENMASK_ULL(63, 48)
/* Flags that SYSRET loads: all but RF, VM and the reserved ones. */
#define SYSRET_FLAGS	0x3c7fd7ull

/* Flat code of @dpl: 64-bit or 32-bit. */
static void flat_cs(uint16_t sel, unsigned dpl, bool is64,
		    struct x86_segment *s)
{
	*s = (struct x86_segment){
		.limit = UINT32_MAX,
		.ar = X86_AR_A | X86_AR_RW | X86_AR_CODE | X86_AR_S | X86_AR_P |
		      X86_AR_G | FIELD_PREP(X86_AR_DPL, dpl) |
		      (is64 ? X86_AR_L : X86_AR_DB),
		.selector = sel,
	};
}

static void flat_ss(uint16_t sel, unsigned dpl, struct x86_segment *s)
{
	*s = (struct x86_segment){
		.limit = UINT32_MAX,
		.ar = X86_AR_A | X86_AR_RW | X86_AR_S | X86_AR_P | X86_AR_G |
		      X86_AR_DB | FIELD_PREP(X86_AR_DPL, dpl),
		.selector = sel,
	};
}

/* SS first: it says what the CPL is when CS arrives. */
static int load_flat(struct x86_emulate_ctxt *c, uint16_t cs_sel,
		     uint16_t ss_sel, unsigned dpl, bool is64)
{
	struct x86_segment s;
	int rc;

	flat_ss(ss_sel, dpl, &s);
	rc = sys_call(c, set_segment, X86_SS, &s);
	if (rc)
		return rc;
	flat_cs(cs_sel, dpl, is64, &s);
	return segment_commit(c, X86_CS, &s);
}

/* --- SYSCALL, SYSRET ----------------------------------------------------------- */

static bool syscall_undefined(const struct x86_emulate_ctxt *c)
{
	if (!(c->efer & X86_EFER_SCE))
		return true;
	if (emul_is_64bit(c))
		return false;
	return !c->vendor_amd || !is_protected(c);
}

static int syscall_long(struct x86_emulate_ctxt *c, uint64_t star)
{
	const uint32_t target = emul_is_64bit(c) ? MSR_LSTAR : MSR_CSTAR;
	const uint16_t sel = FIELD_GET(STAR_SYSCALL, star) & ~X86_SEL_RPL;
	const uint64_t old = c->eflags, ret = c->next_rip;
	uint64_t rip, mask;
	int rc = sys_call(c, get_msr, target, &rip);

	if (!rc)
		rc = sys_call(c, get_msr, MSR_SYSCALL_MASK, &mask);
	if (rc)
		return rc;
	c->eflags &= ~(mask | X86_EFLAGS_RF);
	c->eflags |= X86_EFLAGS_FIXED;
	rc = load_flat(c, sel, sel + 8, 0, true);
	if (rc) {
		c->eflags = old;
		return rc;
	}
	c->gpr[X86_RCX] = ret;
	c->gpr[X86_R11] = c->vendor_amd ? old & ~(uint64_t)X86_EFLAGS_RF : old;
	c->next_rip = rip;
	eflags_commit(c, old);
	return rc;
}

/* AMD's legacy mode: EIP in STAR, no mask. */
static int syscall_legacy(struct x86_emulate_ctxt *c, uint64_t star)
{
	const uint16_t sel = FIELD_GET(STAR_SYSCALL, star) & ~X86_SEL_RPL;
	const uint64_t old = c->eflags, ret = c->next_rip;
	int rc;

	c->eflags &= ~(uint64_t)(X86_EFLAGS_VM | X86_EFLAGS_IF | X86_EFLAGS_RF);
	rc = load_flat(c, sel, sel + 8, 0, false);
	if (rc) {
		c->eflags = old;
		return rc;
	}
	c->gpr[X86_RCX] = (uint32_t)ret;
	c->next_rip = FIELD_GET(STAR_EIP, star);
	eflags_commit(c, old);
	return rc;
}

int em_syscall(struct x86_emulate_ctxt *c)
{
	uint64_t star;
	int rc;

	if (syscall_undefined(c))
		return emul_ud(c);
	rc = sys_call(c, get_msr, MSR_STAR, &star);
	if (rc)
		return rc;
	return is_long_mode(c) ? syscall_long(c, star) :
				 syscall_legacy(c, star);
}

int em_sysret(struct x86_emulate_ctxt *c)
{
	const bool to64 = c->insn->opsize == 8;
	const uint64_t old = c->eflags;
	uint64_t star, rip = c->gpr[X86_RCX];
	uint16_t sel;
	int rc;

	/* Real-address mode is no #UD on AMD for this one. */
	if (c->vendor_amd && (c->efer & X86_EFER_SCE) && !is_protected(c))
		return emul_gp(c, 0);
	if (syscall_undefined(c) || (!c->vendor_amd && !emul_is_64bit(c)))
		return emul_ud(c);
	if (c->cpl)
		return emul_gp(c, 0);
	if (to64 && !c->vendor_amd && !emul_is_canonical(c, rip))
		return emul_gp(c, 0);
	rc = sys_call(c, get_msr, MSR_STAR, &star);
	if (rc)
		return rc;
	if (is_long_mode(c))
		c->eflags = (c->gpr[X86_R11] & SYSRET_FLAGS) | X86_EFLAGS_FIXED;
	else
		c->eflags |= X86_EFLAGS_IF;
	sel = FIELD_GET(STAR_SYSRET, star);
	rc = load_flat(c, (sel + (to64 ? 16 : 0)) | 3, (sel + 8) | 3, 3, to64);
	if (rc) {
		c->eflags = old;
		return rc;
	}
	c->next_rip = to64 ? rip : (uint32_t)rip;
	eflags_commit(c, old);
	return rc;
}

/* --- SYSENTER, SYSEXIT ---------------------------------------------------------- */

/* #UD and #GP(0) of both; @cs: IA32_SYSENTER_CS. */
static int sysenter_check(struct x86_emulate_ctxt *c, bool priv, uint64_t *cs)
{
	int rc;

	if (c->vendor_amd && is_long_mode(c))
		return emul_ud(c);
	if (c->mode == X86_MODE_REAL || (priv && c->cpl))
		return emul_gp(c, 0);
	rc = sys_call(c, get_msr, MSR_IA32_SYSENTER_CS, cs);
	if (rc)
		return rc;
	return is_null_sel(*cs) ? emul_gp(c, 0) : X86EMUL_CONTINUE;
}

int em_sysenter(struct x86_emulate_ctxt *c)
{
	const uint64_t old = c->eflags;
	const bool lm = is_long_mode(c);
	uint64_t cs, rsp, rip;
	int rc = sysenter_check(c, false, &cs);

	if (!rc)
		rc = sys_call(c, get_msr, MSR_IA32_SYSENTER_ESP, &rsp);
	if (!rc)
		rc = sys_call(c, get_msr, MSR_IA32_SYSENTER_EIP, &rip);
	if (rc)
		return rc;
	c->eflags &= ~(uint64_t)(X86_EFLAGS_VM | X86_EFLAGS_IF | X86_EFLAGS_RF);
	cs &= 0xffff & ~X86_SEL_RPL;
	rc = load_flat(c, cs, cs + 8, 0, lm);
	if (rc) {
		c->eflags = old;
		return rc;
	}
	c->gpr[X86_RSP] = lm ? rsp : (uint32_t)rsp;
	c->next_rip = lm ? rip : (uint32_t)rip;
	eflags_commit(c, old);
	return rc;
}

int em_sysexit(struct x86_emulate_ctxt *c)
{
	const bool to64 = c->insn->opsize == 8;
	const uint64_t rsp = c->gpr[X86_RCX], rip = c->gpr[X86_RDX];
	uint64_t cs;
	int rc = sysenter_check(c, true, &cs);

	if (rc)
		return rc;
	if (to64 && (!emul_is_canonical(c, rsp) || !emul_is_canonical(c, rip)))
		return emul_gp(c, 0);
	cs = (uint16_t)cs + (to64 ? 32 : 16);
	rc = load_flat(c, cs | 3, (cs + 8) | 3, 3, to64);
	if (rc)
		return rc;
	c->gpr[X86_RSP] = to64 ? rsp : (uint32_t)rsp;
	c->next_rip = to64 ? rip : (uint32_t)rip;
	return rc;
}
