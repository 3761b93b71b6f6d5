/* SPDX-License-Identifier: MIT */
/*
 * Decimal adjustments: DAA DAS AAA AAS AAM AAD. Not in 64-bit mode, so the host
 * cannot do them; written from the Operation sections of SDM Vol. 2A.
 *
 * SF, ZF and PF follow AL; what a manual calls undefined is what Intel processors
 * were seen to make of it, in compatibility mode, for every AX, CF and AF.
 */
#include "emul/by_size.h"

#define CF X86_EFLAGS_CF
#define AF X86_EFLAGS_AF

/* SF ZF PF of @al, and CF and AF as given. */
static void set_flags(struct x86_emulate_ctxt *c, uint8_t al, uint64_t cf_af)
{
	alu_test8(al, al, &c->eflags);
	emul_set_flags(c, CF | AF | X86_EFLAGS_OF, cf_af);
}

/* DAA (@sign 1) and DAS (@sign -1). */
static int decimal_adjust(struct x86_emulate_ctxt *c, int sign)
{
	uint8_t old = c->gpr[X86_RAX], al = old;
	uint64_t f = 0;

	if ((old & 0xf) > 9 || c->eflags & AF) {
		al += sign * 6;
		f |= AF;
		/* DAS: the borrow of this step counts, DAA's carry is in the next. */
		if (sign < 0 && old < 6)
			f |= CF;
	}
	if (old > 0x99 || c->eflags & CF) {
		al += sign * 0x60;
		f |= CF;
	}
	emul_set_gpr(c, X86_RAX, al, 1);
	set_flags(c, al, f);
	return X86EMUL_CONTINUE;
}

int em_daa(struct x86_emulate_ctxt *c)
{
	return decimal_adjust(c, 1);
}

int em_das(struct x86_emulate_ctxt *c)
{
	return decimal_adjust(c, -1);
}

/* AAA and AAS: @delta is added to AX where an adjustment is due. */
static int ascii_adjust(struct x86_emulate_ctxt *c, int delta)
{
	uint16_t ax = c->gpr[X86_RAX];
	uint64_t f = 0;

	if ((ax & 0xf) > 9 || c->eflags & AF) {
		ax += delta;
		f = AF | CF;
	}
	ax &= 0xff0f;
	emul_set_gpr(c, X86_RAX, ax, 2);
	set_flags(c, ax, f);
	return X86EMUL_CONTINUE;
}

int em_aaa(struct x86_emulate_ctxt *c)
{
	return ascii_adjust(c, 0x106);
}

int em_aas(struct x86_emulate_ctxt *c)
{
	return ascii_adjust(c, -0x106);
}

int em_aam(struct x86_emulate_ctxt *c)
{
	uint8_t base = c->insn->imm, al = c->gpr[X86_RAX];

	if (!base)
		return emul_de(c);
	emul_set_gpr(c, X86_RAX, al / base << 8 | al % base, 2);
	set_flags(c, al % base, 0);
	return X86EMUL_CONTINUE;
}

int em_aad(struct x86_emulate_ctxt *c)
{
	uint8_t base = c->insn->imm, al = c->gpr[X86_RAX];

	/* What is undefined is the addition's, as processors have it. */
	al = alu_add8(al, (uint8_t)(c->gpr[X86_RAX] >> 8) * base, &c->eflags);
	emul_set_gpr(c, X86_RAX, al, 2);
	return X86EMUL_CONTINUE;
}
