/* SPDX-License-Identifier: MIT */
/*
 * BT, BTS, BTR, BTC of a bit string in memory, whose offset in a register moves the
 * operand: what is looked up is the element that has the bit, and the host's instruction
 * gets that, with the offset in it.
 */
#include "jit/jit.h"

bool jit_is_bit_string(const struct x86_insn *i)
{
	return i->row->op >= X86_OP_BT && i->row->op <= X86_OP_BTC &&
	       i->mod != 3 && i->row->opnd[1].kind == OPK_G;
}

/* 16 bits, and addresses that are not the mode's, are not worth it. */
bool jit_bit_string_fits(const struct x86_insn *i)
{
	return i->opsize >= 4 && i->adsize == jit_insn_word(i) &&
	       (i->adsize == 8 || i->seg < X86_FS);
}

/* T2 = @r sign-extended from @bytes. */
static void offset_to_t2(struct jit *j, unsigned r, unsigned bytes)
{
	unsigned h = jit_host_reg(r);

	if (h == IN_MEM) {
		emit_load(j, T2, GPR_OFF(r));
		h = T2;
	}
	emit_rr(j, bytes == 8 ? 0x8b : 0x63, T2, h, 8);	/* mov, movsxd */
}

/* T1 = the host address of the element, jit.tmp the bit in it. */
static void lookup(struct jit *j, struct jit_insn *n, struct jit_slow *s)
{
	bool write = n->i.row->opnd[0].access & OPA_W;
	unsigned log2 = __builtin_ctz(n->i.opsize);
	struct jit_addr a;

	jit_operand_addr(n, &a);
	jit_linear(j, &a);
	offset_to_t2(j, n->i.reg, n->i.opsize);
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xf8 | (T2 & 7)), e8(j, log2 + 3); /* sar */
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe0 | (T2 & 7)), e8(j, log2);	/* shl */
	emit_rr(j, 0x01, T2, T1, jit_word(j));
	emit_store(j, T1, CPU_OFF(jit.tmp));
	emit_rr(j, 0x89, T1, T2, 4);
	jit_tlb_index(j);
	emit_alu_imm(j, 0, T1, n->i.opsize - 1, true);
	emit_alu_imm(j, 4, T1, (int32_t)PAGE_MASK, true);
	emit_cpu(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_cpu_t2(j, 0x3b, T1, TLB_OFF(tag[0]) +
		    8 * (write ? X86_TLB_WRITE : X86_TLB_READ), 8);
	jit_slow_jump(j, s, CC_NE);
	emit_load(j, T1, CPU_OFF(jit.tmp));
	emit_cpu_t2(j, 0x03, T1, TLB_OFF(addend), 8);
	offset_to_t2(j, n->i.reg, n->i.opsize);
	emit_alu_imm(j, 4, T2, n->i.opsize * 8 - 1, false);	/* and */
	emit_store(j, T2, CPU_OFF(jit.tmp));
}

void jit_bit_string(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);

	jit_flags_free(j, jit_live_before(n));
	lookup(j, n, s);
	jit_flags_need(j, n);
	emit_load(j, T2, CPU_OFF(jit.tmp));
	jit_may_fault(j, s);
	if (n->i.prefix & PFX_LOCK)
		e8(j, 0xf0);
	e8(j, 0x45 | (n->i.opsize == 8) << 3);
	e8(j, 0x0f), e8(j, n->i.opcode);
	e8(j, (T2 & 7) << 3 | (T1 & 7));
	jit_flags_done(j, n);
	s->back = j->pos;
	s->restore = j->loc == FL_HOST && n->live;
}
