/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL from CPL 3 and SYSRET from CPL 0 in 64-bit mode, without C.
 *
 * Nothing is kept about them for long: the MSRs are read each time, and what the keys of both
 * levels of the present space are and what each may do (hw_jit_state.level) is found by
 * jit_levels() for the first of them after whatever C does. A stub checks, writes the new
 * level's state, and looks the target up under its key as any computed transfer does; so that
 * a flush, another space or a request are met where they always are. While a check fails
 * nothing has changed: hw/transfer.c does the instruction.
 *
 * Checks, beside hw_jit_rights: the flags that are set have no more to say than their
 * value (TF, RF; AC, for alignment checks and SMAP), no page of the user's is lent to the
 * supervisor (hw/tlb.c), and SYSRET's target is canonical.
 *
 * An access can give a level another key while translated code runs, which C does not come
 * out of by jit_refresh(): then the rights are void (jit_void_levels()).
 */
#include "jit/jit.h"

#define STAR_SYSCALL	4	/* bytes in STAR of the selectors */
#define STAR_SYSRET	6
#define SYSCALL_BYTES	2
#define SYSRET_FLAGS	0x3c7fd7u
#define AR_CODE64	0xa09bull	/* flat, DPL 0 */
#define AR_DATA		0xc093ull
#define AR_DPL3		0x60u
#define CAREFUL		(X86_EFLAGS_TF | X86_EFLAGS_RF | X86_EFLAGS_AC)
#define SEG_OFF(s, field) (CPU_OFF(c.seg[s]) +					\
			   (uint32_t)offsetof(struct x86_segment, field))
#define LEVEL_OFF(who, field)	((uint32_t)(CPU_OFF(jit.level[who]) +		\
					    offsetof(struct hw_jit_level, field)))

/* The stub's jumps to the general code. */
struct ways {
	uint32_t rel32[4];
	unsigned n;
};

static void unless(struct jit *j, struct ways *w, unsigned cc)
{
	w->rel32[w->n++] = emit_jump_later(j, cc);
}

/* op [disp], imm8, on bytes or 4 bytes. */
static void cpu_imm8(struct jit *j, unsigned op, unsigned digit, uint32_t disp, uint8_t v)
{
	emit_cpu(j, op, digit, disp, 4);
	e8(j, v);
}

static void store_imm(struct jit *j, uint32_t disp, unsigned bytes, uint32_t v)
{
	emit_cpu(j, 0xc7, 0, disp, bytes);
	if (bytes == 2)
		e8(j, v), e8(j, v >> 8);
	else
		e32(j, v);
}

/* What both look at first: @right, and that nothing is lent. T1 and T2 stay. */
static void check(struct jit *j, struct ways *w, uint32_t right)
{
	uint32_t known;

	cpu_imm8(j, 0x80, 7, CPU_OFF(jit.levels), 0);	/* cmp */
	known = emit_jump_later(j, CC_NE);
	emit_jump(j, CC_CALL, j->levels);
	emit_patch(j, known, j->pos);
	cpu_imm8(j, 0x80, 7, right, 0);			/* cmp */
	unless(j, w, CC_E);
	cpu_imm8(j, 0x83, 7, CPU_OFF(nr_lent), 0);	/* cmp */
	unless(j, w, CC_NE);
}

/* T1 = all of EFLAGS, status flags where they are kept. */
static void store_flags(struct jit *j)
{
	emit_store(j, T1, CPU_OFF(c.eflags));
	emit_cpu(j, 0x88, T1, CPU_OFF(jit.flags) + 1, 1);
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xe8 | (T1 & 7)), e8(j, 11);	/* shr */
	emit_alu_imm(j, 4, T1, 1, false);		/* and */
	emit_cpu(j, 0x88, T1, CPU_OFF(jit.flags), 1);
}

/* A flat segment with the selector in T1. */
static void set_segment(struct jit *j, enum x86_seg seg, uint64_t ar)
{
	emit_cpu(j, 0x89, T1, SEG_OFF(seg, selector), 2);
	store_imm(j, SEG_OFF(seg, base), 8, 0);
	store_imm(j, SEG_OFF(seg, limit), 4, UINT32_MAX);
	store_imm(j, SEG_OFF(seg, ar), 4, ar);
}

/* The context is @who's from here on. */
static void set_level(struct jit *j, unsigned who)
{
	emit_load(j, T1, LEVEL_OFF(who, key));
	emit_store(j, T1, CPU_OFF(jit.key));
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe8 | (T1 & 7)), e8(j, 32);	/* shr */
	emit_store(j, T1, CPU_OFF(c.tlb_key));
	emit_cpu(j, 0x89, T1, CPU_OFF(target_key), 4);
	emit_cpu(j, 0x8b, T1, LEVEL_OFF(who, link_epoch), 4);
	emit_cpu(j, 0x89, T1, CPU_OFF(link_epoch), 4);
	emit_load(j, T1, LEVEL_OFF(who, ok));
	emit_store(j, T1, CPU_OFF(jit.ok));
	store_imm(j, CPU_OFF(jit.who), 2, who | who << 8);
	emit_cpu(j, 0xc6, 0, CPU_OFF(c.cpl), 1);
	e8(j, who ? 3 : 0);
	store_imm(j, CPU_OFF(win_len), 8, 0);
	/* The return stack is the other level's. */
	emit_load(j, X86_RSP, CPU_OFF(jit.host_sp));
}

/* On to T1. */
static void go_to_t1(struct jit *j)
{
	uint32_t miss[2];

	emit_store(j, T1, CPU_OFF(jit.tmp));
	jit_find_target(j, miss);
	jit_jump_target(j, CC_ALWAYS);
	emit_patch(j, miss[0], j->pos);
	emit_patch(j, miss[1], j->pos);
	emit_load(j, T1, CPU_OFF(jit.tmp));
	emit_jump(j, CC_ALWAYS, j->go);
}

static void otherwise(struct jit *j, const struct ways *w)
{
	unsigned k;

	for (k = 0; k < w->n; k++)
		emit_patch(j, w->rel32[k], j->pos);
	emit_load(j, T1, CPU_OFF(jit.spill[0]));
	emit_jump(j, CC_ALWAYS, j->kept_end);
}

/* RCX and R11 are the instruction's to overwrite. */
static void emit_syscall(struct jit *j)
{
	struct ways w = { .n = 0 };

	j->syscall = j->pos;
	emit_store(j, T1, CPU_OFF(jit.spill[0]));
	check(j, &w, CPU_OFF(jit.ok.syscall));
	emit_cpu(j, 0xf7, 0, CPU_OFF(c.eflags), 4);			/* test */
	e32(j, CAREFUL);
	unless(j, &w, CC_NE);
	emit_rm(j, 0x8d, X86_RCX, T1, SYSCALL_BYTES);			/* lea */
	emit_cpu(j, 0xfb6, X86_R11, CPU_OFF(jit.flags), 4);		/* movzx: OF */
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xe0 | (X86_R11 & 7)), e8(j, 11);	/* shl */
	emit_cpu(j, 0xfb6, T1, CPU_OFF(jit.flags) + 1, 4);
	emit_rr(j, 0x09, T1, X86_R11, 4);				/* or */
	emit_cpu(j, 0x8b, T1, CPU_OFF(c.eflags), 4);
	emit_alu_imm(j, 4, T1, (int32_t)~X86_EFLAGS_STATUS, false);	/* and */
	emit_rr(j, 0x09, T1, X86_R11, 4);
	emit_cpu(j, 0x8b, T1, CPU_OFF(msr.sfmask), 4);
	e8(j, 0x41), e8(j, 0xf7), e8(j, 0xd0 | (T1 & 7));		/* not */
	emit_rr(j, 0x21, X86_R11, T1, 4);				/* and */
	emit_alu_imm(j, 1, T1, X86_EFLAGS_FIXED, false);		/* or */
	store_flags(j);
	emit_cpu(j, 0xfb7, T1, CPU_OFF(msr.star) + STAR_SYSCALL, 4);	/* movzx */
	emit_alu_imm(j, 4, T1, ~X86_SEL_RPL, false);
	set_segment(j, X86_CS, AR_CODE64);
	emit_alu_imm(j, 0, T1, 8, false);				/* add */
	set_segment(j, X86_SS, AR_DATA);
	set_level(j, 0);
	emit_load(j, T1, CPU_OFF(msr.lstar));
	go_to_t1(j);
	otherwise(j, &w);
}

static void emit_sysret(struct jit *j)
{
	struct ways w = { .n = 0 };

	j->sysret = j->pos;
	emit_store(j, T1, CPU_OFF(jit.spill[0]));
	check(j, &w, CPU_OFF(jit.ok.sysret));
	e8(j, 0x41), e8(j, 0xf7), e8(j, 0xc0 | (X86_R11 & 7));		/* test */
	e32(j, X86_EFLAGS_TF | X86_EFLAGS_AC);
	unless(j, &w, CC_NE);
	emit_mov_rr(j, T1, X86_RCX);
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe0 | (T1 & 7)), e8(j, 16);	/* shl */
	e8(j, 0x49), e8(j, 0xc1), e8(j, 0xf8 | (T1 & 7)), e8(j, 16);	/* sar */
	emit_rr(j, 0x39, X86_RCX, T1, 8);				/* cmp */
	unless(j, &w, CC_NE);
	emit_rr(j, 0x89, X86_R11, T1, 4);
	emit_alu_imm(j, 4, T1, SYSRET_FLAGS, false);			/* and */
	emit_alu_imm(j, 1, T1, X86_EFLAGS_FIXED, false);		/* or */
	store_flags(j);
	emit_cpu(j, 0xfb7, T1, CPU_OFF(msr.star) + STAR_SYSRET, 4);	/* movzx */
	emit_alu_imm(j, 0, T1, 8, false);				/* add */
	emit_alu_imm(j, 1, T1, 3, false);				/* or */
	set_segment(j, X86_SS, AR_DATA | AR_DPL3);
	emit_cpu(j, 0xfb7, T1, CPU_OFF(msr.star) + STAR_SYSRET, 4);
	emit_alu_imm(j, 0, T1, 16, false);
	emit_alu_imm(j, 1, T1, 3, false);
	set_segment(j, X86_CS, AR_CODE64 | AR_DPL3);
	set_level(j, 1);
	emit_mov_rr(j, T1, X86_RCX);
	go_to_t1(j);
	otherwise(j, &w);
}

void jit_level_stubs(struct jit *j)
{
	emit_syscall(j);
	emit_sysret(j);
}

void jit_syscall(struct jit *j, struct jit_insn *n)
{
	jit_exec_by(j, n, CC_ALWAYS, j->syscall);
}

void jit_sysret(struct jit *j, struct jit_insn *n)
{
	jit_exec_by(j, n, CC_ALWAYS, j->sysret);
}
