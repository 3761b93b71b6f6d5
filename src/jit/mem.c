/* SPDX-License-Identifier: MIT */
/*
 * Memory operands: guest address -> host address, by a lookup in the TLB
 * (struct x86_tlb_entry) in line.
 *
 *   lea  T1, [operand]
 *   mov  T2d, T1d
 *   shr  T2d, 7			page number * 32
 *   and  T2d, (entries - 1) * 32
 *   add  T1, bytes - 1			an operand that crosses a page misses
 *   and  T1, -4096
 *   or   T1, gs:[tlb_key]
 *   cmp  T1, gs:[T2 + tlb.tag[kind]]
 *   jne  slow
 *   mov  T1, gs:[T2 + tlb.addend]	operand: [base + T1 + disp]
 * or, if it has an index or its base is in memory,
 *   lea  T1, [operand]
 *   add  T1, gs:[T2 + tlb.addend]	operand: [T1]
 *
 * Addresses that are known (RIP-relative ones) have their index computed here.
 * Everything that is not a hit goes to the interpreter, which does the whole
 * instruction: misses, faults, MMIO, page crossings, writes to code, host memory
 * that is gone. So this step is all that knows how memory is reached; a window or
 * another scheme would replace it alone.
 */
#include "jit/jit.h"

void jit_operand_addr(const struct jit_insn *n, struct jit_addr *a)
{
	const struct x86_insn *i = &n->i;

	*a = (struct jit_addr){
		.base = i->base, .index = i->index, .scale = i->scale,
		.seg = i->seg == X86_FS || i->seg == X86_GS ? i->seg :
							    X86_SEG_NONE,
		.adsize = i->adsize, .disp = i->disp,
	};
	if (i->row->opnd[0].kind == OPK_O || i->row->opnd[1].kind == OPK_O) {
		a->base = a->index = X86_REG_NONE;
		a->la = i->imm;
		a->fixed = true;
	} else if (a->base == X86_RIP) {
		a->base = X86_REG_NONE;
		a->la = n->rip + i->len + i->disp;
		a->fixed = true;
	} else if (a->base == X86_REG_NONE && a->index == X86_REG_NONE) {
		a->la = i->disp;
		a->fixed = true;
	}
	if (a->fixed && a->adsize == 4)
		a->la = (uint32_t)a->la;
}

void jit_stack_addr(struct jit_addr *a, int disp)
{
	*a = (struct jit_addr){
		.base = X86_RSP, .index = X86_REG_NONE, .seg = X86_SEG_NONE,
		.adsize = 8, .disp = disp,
	};
}

/* @r's host register; loads it into @scratch if it is in memory. */
static unsigned in_register(struct jit *j, unsigned r, unsigned scratch)
{
	unsigned h = jit_host_reg(r);

	if (h != IN_MEM)
		return h;
	emit_load(j, scratch, GPR_OFF(r));
	return scratch;
}

static void lea_index(struct jit *j, const struct jit_addr *a, unsigned dst,
		      unsigned base, unsigned index)
{
	bool none = a->base == X86_REG_NONE;

	e8(j, 0x48 | (dst >> 3) << 2 | (index >> 3) << 1 |
	      (none ? 0 : base >> 3));
	e8(j, 0x8d);
	e8(j, (none ? 0 : 0x80) | (dst & 7) << 3 | 4);
	e8(j, a->scale << 6 | (index & 7) << 3 | (none ? 5 : base & 7));
	e32(j, a->disp);
}

void jit_ea(struct jit *j, const struct jit_addr *a, unsigned dst, bool w)
{
	unsigned base = 0, index;

	if (a->fixed) {
		emit_mov_imm(j, dst, a->la);
	} else if (a->index != X86_REG_NONE) {
		if (a->base != X86_REG_NONE)
			base = in_register(j, a->base, T1);
		index = in_register(j, a->index, T2);
		lea_index(j, a, dst, base, index);
	} else {
		base = in_register(j, a->base, T1);
		if (a->disp)
			emit_rm(j, 0x8d, dst, base, a->disp);
		else if (base != dst)
			emit_mov_rr(j, dst, base);
	}
	if (a->adsize == 4 || !w)
		emit_rr(j, 0x89, dst, dst, 4);	/* mov r32, r32: truncates */
}

#define SEG_BASE(s)	((uint32_t)(CPU_OFF(c.seg[0].base) +			\
				    (s) * sizeof(struct x86_segment)))

void jit_linear(struct jit *j, const struct jit_addr *a)
{
	jit_ea(j, a, T1, true);
	if (a->seg != X86_SEG_NONE)
		emit_gs(j, 0x03, T1, SEG_BASE(a->seg), 8);
}

_Static_assert(sizeof(struct x86_tlb_entry) == 32, "the shift below");

void jit_tlb_index(struct jit *j)
{
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xe8 | (T2 & 7));	/* shr */
	e8(j, PAGE_SHIFT - 5);
	emit_alu_imm(j, 4, T2, (HW_TLB_SIZE - 1) * 32, false);
}

static struct jit_mem at_t1(void)
{
	return (struct jit_mem){ .base = T1, .index = NO_INDEX };
}

static struct jit_mem lookup_fixed(struct jit *j, const struct jit_addr *a,
				   unsigned bytes, unsigned kind,
				   struct jit_slow *s)
{
	uint32_t at = (a->la >> PAGE_SHIFT & (HW_TLB_SIZE - 1)) * 32;

	emit_mov_imm(j, T1, (a->la + bytes - 1) & PAGE_MASK);
	emit_gs(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_gs(j, 0x3b, T1, TLB_OFF(tag[0]) + 8 * kind + at, 8);
	jit_slow_jump(j, s, CC_NE);
	emit_mov_imm(j, T1, a->la);
	emit_gs(j, 0x03, T1, TLB_OFF(addend) + at, 8);
	return at_t1();
}

/* T2: the TLB's entry. The operand once more, with the addend. */
static struct jit_mem operand(struct jit *j, const struct jit_addr *a, bool again)
{
	unsigned base = jit_host_reg(a->base);

	if (a->index == X86_REG_NONE && a->adsize == 8 && base != IN_MEM &&
	    !a->fixed) {
		emit_gs_t2(j, 0x8b, T1, TLB_OFF(addend), 8);
		if (a->seg != X86_SEG_NONE)
			emit_gs(j, 0x03, T1, SEG_BASE(a->seg), 8);
		return (struct jit_mem){ .base = base, .index = T1,
					 .disp = a->disp };
	}
	if (again)
		jit_linear(j, a);
	else
		emit_load(j, T1, CPU_OFF(jit.tmp));
	emit_gs_t2(j, 0x03, T1, TLB_OFF(addend), 8);
	return at_t1();
}

static struct jit_mem lookup(struct jit *j, const struct jit_addr *a,
			     unsigned bytes, unsigned kind, struct jit_slow *s)
{
	/* An index that is in memory needs T2 for the second LEA. */
	bool again = a->index == X86_REG_NONE ||
		     jit_host_reg(a->index) != IN_MEM;

	jit_linear(j, a);
	if (!again)
		emit_store(j, T1, CPU_OFF(jit.tmp));
	emit_rr(j, 0x89, T1, T2, 4);
	jit_tlb_index(j);
	if (bytes > 1)
		emit_alu_imm(j, 0, T1, bytes - 1, true);
	emit_alu_imm(j, 4, T1, (int32_t)PAGE_MASK, true);
	emit_gs(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_gs_t2(j, 0x3b, T1, TLB_OFF(tag[0]) + 8 * kind, 8);
	jit_slow_jump(j, s, CC_NE);
	return operand(j, a, again);
}

struct jit_mem jit_lookup(struct jit *j, const struct jit_addr *a, unsigned bytes,
			  unsigned kind, struct jit_slow *s)
{
	if (a->fixed && a->seg == X86_SEG_NONE)
		return lookup_fixed(j, a, bytes, kind, s);
	return lookup(j, a, bytes, kind, s);
}

void jit_may_fault(struct jit *j, struct jit_slow *s)
{
	if (!s->nr_faults++)
		s->fault = j->nr_faults;
	j->faults[j->nr_faults++] = (struct jit_fault){ .pc = j->pos };
}
