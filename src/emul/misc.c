/* SPDX-License-Identifier: MIT */
/*
 * What belongs to no family: NOP PAUSE HLT CPUID, time stamps, random numbers,
 * fences, cache lines, MONITOR and MWAIT, UD.
 *
 * Privilege that CR4 grants (TSD, PCE) is checked before the VM exit. RDRAND and
 * RDSEED run on the host. Cache-line instructions check their address as a load
 * does; memory is coherent, so there is nothing to flush. UMWAIT and TPAUSE do not
 * wait: a processor may leave that state at any time for reasons of its own (SDM
 * Vol. 2, "TPAUSE"), and says so with CF = 0.
 */
#include "emul/mem.h"

int em_invalid(struct x86_emulate_ctxt *c)
{
	return emul_ud(c);
}

int em_ud(struct x86_emulate_ctxt *c)
{
	return emul_ud(c);
}

int em_nop(struct x86_emulate_ctxt *c)
{
	return X86EMUL_CONTINUE;
}

int em_pause(struct x86_emulate_ctxt *c)
{
	return c->ops->pause ? c->ops->pause(c) : X86EMUL_CONTINUE;
}

int em_hlt(struct x86_emulate_ctxt *c)
{
	return c->ops->hlt ? c->ops->hlt(c) : X86EMUL_UNHANDLEABLE;
}

int em_cpuid(struct x86_emulate_ctxt *c)
{
	uint32_t eax = c->gpr[X86_RAX], ebx = 0, ecx = c->gpr[X86_RCX], edx = 0;
	int rc;

	if (!c->ops->cpuid)
		return X86EMUL_UNHANDLEABLE;
	rc = c->ops->cpuid(c, &eax, &ebx, &ecx, &edx);
	if (rc)
		return rc;
	c->gpr[X86_RAX] = eax;
	c->gpr[X86_RBX] = ebx;
	c->gpr[X86_RCX] = ecx;
	c->gpr[X86_RDX] = edx;
	return X86EMUL_CONTINUE;
}

/* --- counters -------------------------------------------------------------------- */

static int begin_tsc(struct x86_emulate_ctxt *c)
{
	if (c->cr4 & X86_CR4_TSD && c->cpl)
		return emul_gp(c, 0);
	return emul_intercept(c, c->insn->row->intercept, 0, 0);
}

static int get_tsc(struct x86_emulate_ctxt *c, uint64_t *tsc, uint32_t *aux)
{
	return c->ops->get_tsc ? c->ops->get_tsc(c, tsc, aux) :
				 X86EMUL_UNHANDLEABLE;
}

static void set_edx_eax(struct x86_emulate_ctxt *c, uint64_t v)
{
	c->gpr[X86_RAX] = (uint32_t)v;
	c->gpr[X86_RDX] = v >> 32;
}

int em_rdtsc(struct x86_emulate_ctxt *c)
{
	uint64_t tsc;
	uint32_t aux;
	int rc = begin_tsc(c);

	if (!rc)
		rc = get_tsc(c, &tsc, &aux);
	if (rc == X86EMUL_CONTINUE)
		set_edx_eax(c, tsc);
	return rc;
}

int em_rdtscp(struct x86_emulate_ctxt *c)
{
	uint64_t tsc;
	uint32_t aux;
	int rc = begin_tsc(c);

	if (!rc)
		rc = get_tsc(c, &tsc, &aux);
	if (rc)
		return rc;
	set_edx_eax(c, tsc);
	c->gpr[X86_RCX] = aux;
	return X86EMUL_CONTINUE;
}

int em_rdpid(struct x86_emulate_ctxt *c)
{
	uint64_t tsc;
	uint32_t aux;
	int rc = get_tsc(c, &tsc, &aux);

	c->dst.val = aux;
	return rc;
}

int em_rdpmc(struct x86_emulate_ctxt *c)
{
	uint64_t v;
	int rc;

	if (!(c->cr4 & X86_CR4_PCE) && c->cpl)
		return emul_gp(c, 0);
	rc = emul_intercept(c, X86_INTERCEPT_RDPMC, 0, 0);
	if (rc)
		return rc;
	if (!c->ops->get_pmc)
		return X86EMUL_UNHANDLEABLE;
	rc = c->ops->get_pmc(c, c->gpr[X86_RCX], &v);
	if (rc == X86EMUL_CONTINUE)
		set_edx_eax(c, v);
	return rc;
}

/* --- random numbers --------------------------------------------------------------- */

/* CF tells of success, the other status flags are 0; without a number the
 * destination is 0. */
static int random(struct x86_emulate_ctxt *c, uint64_t v, bool ok)
{
	emul_set_flags(c, X86_EFLAGS_STATUS, ok ? X86_EFLAGS_CF : 0);
	c->dst.val = ok ? v : 0;
	return X86EMUL_CONTINUE;
}

int em_rdrand(struct x86_emulate_ctxt *c)
{
	uint64_t v;
	bool ok;

	__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(v), "=q"(ok) : : "cc");
	return random(c, v, ok);
}

int em_rdseed(struct x86_emulate_ctxt *c)
{
	uint64_t v;
	bool ok;

	__asm__ volatile("rdseed %0\n\tsetc %1" : "=r"(v), "=q"(ok) : : "cc");
	return random(c, v, ok);
}

/* --- order and caches --------------------------------------------------------------- */

int em_fence(struct x86_emulate_ctxt *c)
{
	/* For all three: the emulator's own accesses surround it. */
	__asm__ volatile("mfence" : : : "memory");
	return X86EMUL_CONTINUE;
}

int em_serialize(struct x86_emulate_ctxt *c)
{
	return em_fence(c);
}

/* An address that must be readable. */
static int probe(struct x86_emulate_ctxt *c, unsigned seg, uint64_t ea,
		 uint64_t *la)
{
	uint64_t v;
	int rc = emul_linearize(c, seg, ea, 1, 0, la);

	return rc ? rc : emul_read_la(c, *la, &v, 1, 0);
}

int em_clflush(struct x86_emulate_ctxt *c)
{
	uint64_t la;

	return probe(c, c->insn->seg, emul_ea(c), &la);
}

/* The line of 64 bytes around the address in rAX. */
int em_clzero(struct x86_emulate_ctxt *c)
{
	static const uint8_t zeros[64];
	uint64_t ea = emul_trunc_ea(c->insn, c->gpr[X86_RAX]) & ~63ull;

	return emul_write_bytes(c, c->insn->seg, ea, zeros, sizeof(zeros));
}

/* --- waiting ------------------------------------------------------------------------- */

/* The exit comes before the faults of operands on Intel (SDM Vol. 3C, "Relative Priority
 * of Faults and VM Exits"), behind them on AMD (APM Vol. 2, "Instruction Intercepts"). */
static int intercept_wait(struct x86_emulate_ctxt *c, enum x86_intercept id, bool amd)
{
	return c->vendor_amd == amd ? emul_intercept(c, id, 0, 0) : X86EMUL_CONTINUE;
}

int em_monitor(struct x86_emulate_ctxt *c)
{
	uint64_t ea = emul_trunc_ea(c->insn, c->gpr[X86_RAX]), la;
	int rc;

	if (c->cpl)
		return emul_ud(c);
	rc = intercept_wait(c, X86_INTERCEPT_MONITOR, false);
	if (!rc && (uint32_t)c->gpr[X86_RCX])
		rc = emul_gp(c, 0);
	if (!rc)
		rc = probe(c, c->insn->seg, ea, &la);
	if (!rc)
		rc = intercept_wait(c, X86_INTERCEPT_MONITOR, true);
	if (rc)
		return rc;
	return c->ops->monitor ? c->ops->monitor(c, la) : X86EMUL_UNHANDLEABLE;
}

int em_mwait(struct x86_emulate_ctxt *c)
{
	uint32_t eax = c->gpr[X86_RAX], ecx = c->gpr[X86_RCX];
	int rc;

	if (c->cpl)
		return emul_ud(c);
	rc = intercept_wait(c, X86_INTERCEPT_MWAIT, false);
	if (!rc && ecx & ~1u)
		rc = emul_gp(c, 0);
	if (!rc)
		rc = intercept_wait(c, X86_INTERCEPT_MWAIT, true);
	if (rc)
		return rc;
	return c->ops->mwait ? c->ops->mwait(c, eax, ecx) : X86EMUL_UNHANDLEABLE;
}

int em_umonitor(struct x86_emulate_ctxt *c)
{
	uint64_t ea = emul_trunc_ea(c->insn, c->gpr[c->insn->rm]), la;

	return probe(c, c->insn->seg, ea, &la);
}

static int user_wait(struct x86_emulate_ctxt *c)
{
	int rc;

	if ((uint32_t)c->gpr[c->insn->rm] & ~1u)
		return emul_gp(c, 0);
	rc = begin_tsc(c);
	if (rc == X86EMUL_CONTINUE)
		emul_set_flags(c, X86_EFLAGS_STATUS, 0);
	return rc;
}

int em_umwait(struct x86_emulate_ctxt *c)
{
	return user_wait(c);
}

int em_tpause(struct x86_emulate_ctxt *c)
{
	return user_wait(c);
}
