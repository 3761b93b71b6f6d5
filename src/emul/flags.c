/* SPDX-License-Identifier: MIT */
/*
 * Single flags: CLC STC CMC CLD STD CLI STI LAHF SAHF CLAC STAC.
 *
 * CLI and STI, SDM Vol. 2, "Decision Table for CLI Results" and "... STI":
 *
 *	real-address mode, or CPL <= IOPL	IF
 *	CPL 3 with CR4.PVI, or vm86 with CR4.VME	VIF; STI with VIP: #GP(0)
 *	else					#GP(0)
 *
 * STI opens a shadow of one instruction when it changes IF from 0 to 1.
 */
#include "emul/emul.h"

int em_clc(struct x86_emulate_ctxt *c)
{
	emul_set_flags(c, X86_EFLAGS_CF, 0);
	return X86EMUL_CONTINUE;
}

int em_stc(struct x86_emulate_ctxt *c)
{
	emul_set_flags(c, X86_EFLAGS_CF, X86_EFLAGS_CF);
	return X86EMUL_CONTINUE;
}

int em_cmc(struct x86_emulate_ctxt *c)
{
	c->eflags ^= X86_EFLAGS_CF;
	return X86EMUL_CONTINUE;
}

int em_cld(struct x86_emulate_ctxt *c)
{
	emul_set_flags(c, X86_EFLAGS_DF, 0);
	return X86EMUL_CONTINUE;
}

int em_std(struct x86_emulate_ctxt *c)
{
	emul_set_flags(c, X86_EFLAGS_DF, X86_EFLAGS_DF);
	return X86EMUL_CONTINUE;
}

/* The flag that CLI and STI work on: IF, VIF, or 0 for #GP. */
static uint64_t interrupt_flag(const struct x86_emulate_ctxt *c)
{
	if (c->cpl <= emul_iopl(c))
		return X86_EFLAGS_IF;
	if (c->cpl == 3 && c->cr4 & (c->mode == X86_MODE_VM86 ? X86_CR4_VME :
								X86_CR4_PVI))
		return X86_EFLAGS_VIF;
	return 0;
}

int em_cli(struct x86_emulate_ctxt *c)
{
	uint64_t flag = interrupt_flag(c);

	if (!flag)
		return emul_gp(c, 0);
	emul_change_eflags(c, flag, 0);
	return X86EMUL_CONTINUE;
}

int em_sti(struct x86_emulate_ctxt *c)
{
	uint64_t flag = interrupt_flag(c);

	if (!flag || (flag == X86_EFLAGS_VIF && c->eflags & X86_EFLAGS_VIP))
		return emul_gp(c, 0);
	if (flag == X86_EFLAGS_IF && !(c->eflags & X86_EFLAGS_IF))
		c->shadow |= X86_SHADOW_STI;
	emul_change_eflags(c, flag, flag);
	return X86EMUL_CONTINUE;
}

#define AH_FLAGS (X86_EFLAGS_STATUS & ~X86_EFLAGS_OF)

static bool has_lahf(const struct x86_emulate_ctxt *c)
{
	return !emul_is_64bit(c) || emul_has(c, X86_FEATURE_LAHF_LM);
}

int em_lahf(struct x86_emulate_ctxt *c)
{
	uint64_t *rax = &c->gpr[X86_RAX];

	if (!has_lahf(c))
		return emul_ud(c);
	*rax = (*rax & ~0xff00ull) |
	       ((c->eflags & AH_FLAGS) | X86_EFLAGS_FIXED) << 8;
	return X86EMUL_CONTINUE;
}

int em_sahf(struct x86_emulate_ctxt *c)
{
	if (!has_lahf(c))
		return emul_ud(c);
	emul_set_flags(c, AH_FLAGS, c->gpr[X86_RAX] >> 8);
	return X86EMUL_CONTINUE;
}

static int change_ac(struct x86_emulate_ctxt *c, uint64_t val)
{
	if (c->cpl)
		return emul_ud(c);
	emul_change_eflags(c, X86_EFLAGS_AC, val);
	return X86EMUL_CONTINUE;
}

int em_clac(struct x86_emulate_ctxt *c)
{
	return change_ac(c, 0);
}

int em_stac(struct x86_emulate_ctxt *c)
{
	return change_ac(c, X86_EFLAGS_AC);
}
