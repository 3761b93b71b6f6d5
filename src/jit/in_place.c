/* SPDX-License-Identifier: MIT */
/*
 * CPUID and RDMSR whose answer the hypervisor has given and said to keep
 * (hw/in_place.c): a look at the table of answers, in line. An exit is counted. And WRMSR
 * to the bases of FS and GS, where that is no exit.
 *
 * CPUID and WRMSR serialize: they look at requests, for news of changed code.
 */
#include "jit/jit.h"
#include "x86/msr.h"

#define CPUID_OFF(field)	((uint32_t)(offsetof(struct hw_cpu, in_place.cpuid) + \
					    offsetof(struct hw_kept_cpuid, field)))
#define MSR_OFF(field)		((uint32_t)(offsetof(struct hw_cpu, in_place.msr) + \
					    offsetof(struct hw_kept_msr, field)))

/* T2 = (@reg % HW_NR_KEPT) << @shift */
static void find(struct jit *j, unsigned reg, uint8_t shift)
{
	emit_rr(j, 0x89, reg, T2, 4);
	emit_alu_imm(j, 4, T2, HW_NR_KEPT - 1, false);		/* and */
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xe0 | (T2 & 7));	/* shl */
	e8(j, shift);
}

static void count(struct jit *j)
{
	emit_load(j, T1, CPU_OFF(in_place.exits));
	emit_rm(j, 0xff, 0, T1, 0);				/* inc */
}

_Static_assert(sizeof(struct hw_kept_cpuid) == 32 &&
	       sizeof(struct hw_kept_msr) == 16, "the shifts below");

void jit_cpuid(struct jit *j, struct jit_insn *n)
{
	static const uint8_t regs[] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX };
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	unsigned k;

	jit_flags_free(j, jit_live_before(n));
	jit_compare_request(j);
	jit_slow_jump(j, s, CC_NE);
	find(j, X86_RAX, 5);
	emit_cpu_t2(j, 0x3b, X86_RAX, CPUID_OFF(leaf), 4);	/* cmp */
	jit_slow_jump(j, s, CC_NE);
	emit_cpu_t2(j, 0x3b, X86_RCX, CPUID_OFF(subleaf), 4);
	jit_slow_jump(j, s, CC_NE);
	count(j);
	for (k = 0; k < ARRAY_SIZE(regs); k++)
		emit_cpu_t2(j, 0x8b, regs[k], CPUID_OFF(out) + 4 * k, 4);
	s->back = j->pos;
}

void jit_rdmsr(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.cli));

	find(j, X86_RCX, 4);
	emit_cpu_t2(j, 0x3b, X86_RCX, MSR_OFF(msr), 4);		/* cmp */
	jit_slow_jump(j, s, CC_NE);
	count(j);
	emit_cpu_t2(j, 0x8b, X86_RAX, MSR_OFF(val), 4);
	emit_cpu_t2(j, 0x8b, X86_RDX, MSR_OFF(val) + 4, 4);
	s->back = j->pos;
}

/* T1 = EDX:EAX; RFLAGS say whether it is canonical. T2 is overwritten. */
static void value(struct jit *j)
{
	emit_mov_rr(j, T1, X86_RAX);
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe0 | (T1 & 7)), e8(j, 32);	/* shl */
	e8(j, 0x49), e8(j, 0x0f), e8(j, 0xac);				/* shrd T1, rdx */
	e8(j, 0xc0 | X86_RDX << 3 | (T1 & 7)), e8(j, 32);
	emit_mov_rr(j, T2, T1);
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe0 | (T2 & 7)), e8(j, 16);	/* shl */
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xf8 | (T2 & 7)), e8(j, 16);	/* sar */
	emit_rr(j, 0x39, T1, T2, 8);					/* cmp */
}

_Static_assert(MSR_KERNEL_GS_BASE - MSR_FS_BASE == 2, "hw_jit_state.base_at");

void jit_wrmsr(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.cli));

	jit_compare_request(j);
	jit_slow_jump(j, s, CC_NE);
	value(j);
	jit_slow_jump(j, s, CC_NE);
	emit_rr(j, 0x89, X86_RCX, T2, 4);
	emit_alu_imm(j, 5, T2, (int32_t)MSR_FS_BASE, false);		/* sub */
	emit_alu_imm(j, 7, T2, 2, false);				/* cmp */
	jit_slow_jump(j, s, CC_A);
	emit_cpu_t2x8(j, 0x8b, T2, CPU_OFF(jit.base_at));
	emit_rr(j, 0x85, T2, T2, 8);					/* test */
	jit_slow_jump(j, s, CC_E);
	emit_cpu_t2(j, 0x89, T1, 0, 8);
	s->back = j->pos;
}
