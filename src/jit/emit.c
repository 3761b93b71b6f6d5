/* SPDX-License-Identifier: MIT */
/*
 * The assembler: the few host instructions that the translator makes up itself, and
 * the stubs between C and translated code.
 *
 * Stubs:
 *   enter	(cpu, code) called by C: registers from hw_cpu, then to code
 *   leave	jumped to by code: registers to hw_cpu, back to enter's caller
 *   exec	called by code with rip in T1: FN_EXEC; returns, or goes elsewhere
 *   fill	called by code, fills a slot, see emit_fill()
 *   exec_end, exec_ret, go, go_host, link_host, link_mem
 *		jumped to with rip in T1 (link: the site in T2): go where C says
 *   kept, kept_end	as exec and exec_end, for number T2 - 1 of jit.execs
 *   far	jumped to with rip in T1, the site in T2: looks rip up, or as link
 *   ret_miss	jumped to by code: a return to T1, but not to where the return stack
 *		says; T2 is the way out of line
 *
 * The return stack (calls.c) is on the C stack, so that the depth of the latter is
 * not known but from hw_jit_state.host_sp; when C has found it void (unwind) the
 * stubs go back there. C functions run below it with the guest's registers in hw_cpu,
 * and keep
 * vector registers alone (novec.h), so that the FPU state stays where it is.
 */
#include "jit/jit.h"

/*
 * What is put together here goes to code memory through a pointer of its own: each byte
 * by way of jit.pos would wait for the one before.
 */
static uint8_t *begin(const struct jit *j)
{
	return j->rw + j->pos;
}

static void end(struct jit *j, const uint8_t *p)
{
	j->pos = p - j->rw;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	__builtin_memcpy(p, &v, 4);
	return p + 4;
}

static uint8_t *opcode(uint8_t *p, unsigned op)
{
	if (op > 0xff)
		*p++ = 0x0f;
	*p++ = op;
	return p;
}

static uint8_t *prefixes(uint8_t *p, unsigned reg, unsigned rm, unsigned bytes)
{
	unsigned rex = (bytes == 8) << 3 | (reg >> 3) << 2 | rm >> 3;

	if (bytes == 2)
		*p++ = 0x66;
	if (rex || (bytes == 1 && (reg >= 4 || rm >= 4)))
		*p++ = 0x40 | rex;
	return p;
}

static uint8_t *gs_prefix(const struct jit *j, uint8_t *p)
{
	if (!j->base)
		*p++ = 0x65;
	return p;
}

void emit_cpu(struct jit *j, unsigned op, unsigned reg, uint32_t disp,
	      unsigned bytes)
{
	uint8_t *p = gs_prefix(j, begin(j));

	p = opcode(prefixes(p, reg, 0, bytes), op);
	*p++ = (reg & 7) << 3 | 4;
	*p++ = 0x25;
	end(j, put32(p, j->base + disp));
}

void emit_cpu_t2(struct jit *j, unsigned op, unsigned reg, uint32_t disp,
		 unsigned bytes)
{
	uint8_t *p = gs_prefix(j, begin(j));

	p = opcode(prefixes(p, reg, T2, bytes), op);
	*p++ = 0x80 | (reg & 7) << 3 | (T2 & 7);
	end(j, put32(p, j->base + disp));
}

void emit_cpu_t2x8(struct jit *j, unsigned op, unsigned reg, uint32_t disp)
{
	uint8_t *p = gs_prefix(j, begin(j));

	*p++ = 0x4a | reg >> 3 << 2;			/* REX.W, REX.X: T2 */
	p = opcode(p, op);
	*p++ = (reg & 7) << 3 | 4;
	*p++ = 3 << 6 | (T2 & 7) << 3 | 5;
	end(j, put32(p, j->base + disp));
}

void emit_rr(struct jit *j, unsigned op, unsigned reg, unsigned rm,
	     unsigned bytes)
{
	uint8_t *p = opcode(prefixes(begin(j), reg, rm, bytes), op);

	*p++ = 0xc0 | (reg & 7) << 3 | (rm & 7);
	end(j, p);
}

static uint8_t *modrm(uint8_t *p, unsigned reg, const struct jit_mem *m, bool evex)
{
	bool sib = m->index != NO_INDEX || (m->base & 7) == 4;
	unsigned mod = !m->disp && (m->base & 7) != 5 ? 0 :
		       m->disp == (int8_t)m->disp && !evex ? 1 : 2;

	*p++ = mod << 6 | (reg & 7) << 3 | (sib ? 4 : m->base & 7);
	if (sib)
		*p++ = m->scale << 6 |
		       (m->index == NO_INDEX ? 4 : m->index & 7) << 3 |
		       (m->base & 7);
	if (mod == 1)
		*p++ = m->disp;
	return mod == 2 ? put32(p, m->disp) : p;
}

void emit_modrm(struct jit *j, unsigned reg, const struct jit_mem *m, bool evex)
{
	end(j, modrm(begin(j), reg, m, evex));
}

void emit_mem_bytes(struct jit *j, unsigned op, unsigned reg, const struct jit_mem *m,
		    unsigned bytes)
{
	uint8_t *p = begin(j);

	*p++ = 0x40 | (bytes == 8) << 3 | reg >> 3 << 2 | jit_mem_rex(m);
	end(j, modrm(opcode(p, op), reg, m, false));
}

void emit_mem(struct jit *j, unsigned op, unsigned reg, const struct jit_mem *m)
{
	emit_mem_bytes(j, op, reg, m, 8);
}

void emit_mem_word(struct jit *j, unsigned op, unsigned reg, const struct jit_mem *m)
{
	emit_mem_bytes(j, op, reg, m, jit_word(j));
}

void emit_rm(struct jit *j, unsigned op, unsigned reg, unsigned base,
	     int32_t disp)
{
	struct jit_mem m = { .base = base, .index = NO_INDEX, .disp = disp };

	emit_mem(j, op, reg, &m);
}

void emit_move_rsp(struct jit *j, int32_t by)
{
	struct jit_mem m = { .base = H_RSP, .index = NO_INDEX, .disp = by };

	emit_mem_word(j, 0x8d, H_RSP, &m);
}

void emit_mov_imm(struct jit *j, unsigned reg, uint64_t v)
{
	bool low = v == (uint32_t)v, sign = !low && v == (uint64_t)(int32_t)v;
	uint8_t *p = prefixes(begin(j), 0, reg, low ? 4 : 8);

	*p++ = sign ? 0xc7 : 0xb8 | (reg & 7);
	if (sign)
		*p++ = 0xc0 | (reg & 7);
	p = put32(p, v);
	end(j, low || sign ? p : put32(p, v >> 32));
}

void emit_mov_rr(struct jit *j, unsigned to, unsigned from)
{
	emit_rr(j, 0x89, from, to, 8);
}

void emit_load(struct jit *j, unsigned reg, uint32_t disp)
{
	emit_cpu(j, 0x8b, reg, disp, 8);
}

void emit_store(struct jit *j, unsigned reg, uint32_t disp)
{
	emit_cpu(j, 0x89, reg, disp, 8);
}

uint32_t emit_jump_later(struct jit *j, unsigned cc)
{
	uint8_t *p = begin(j);

	if (cc < CC_ALWAYS)
		p = opcode(p, 0xf80 | cc);
	else
		*p++ = cc == CC_CALL ? 0xe8 : 0xe9;
	end(j, put32(p, 0));
	return j->pos - 4;
}

void emit_patch(struct jit *j, uint32_t rel32, uint32_t to)
{
	uint32_t v = to - (rel32 + 4);

	__builtin_memcpy(j->rw + rel32, &v, 4);
}

void emit_jump(struct jit *j, unsigned cc, uint32_t to)
{
	emit_patch(j, emit_jump_later(j, cc), to);
}

void emit_alu_imm(struct jit *j, unsigned digit, unsigned reg, int32_t v, bool w)
{
	uint8_t *p = begin(j);
	bool byte = v == (int8_t)v;

	*p++ = 0x40 | w << 3 | reg >> 3;
	*p++ = byte ? 0x83 : 0x81;
	*p++ = 0xc0 | digit << 3 | (reg & 7);
	if (byte)
		*p++ = v;
	end(j, byte ? p : put32(p, v));
}

static void save_to_slot(struct jit *j)
{
	e8(j, 0x9f);				/* lahf */
	e8(j, 0x0f), e8(j, 0x90), e8(j, 0xc0);	/* seto al */
	emit_cpu(j, 0x89, X86_RAX, CPU_OFF(jit.flags), 2);
}

static void load_from_slot(struct jit *j)
{
	emit_cpu(j, 0xfb7, X86_RAX, CPU_OFF(jit.flags), 4);	/* movzx */
	e8(j, 0x04), e8(j, 0x7f);		/* add al, 7fh: OF */
	e8(j, 0x9e);				/* sahf */
}

void emit_flags_save(struct jit *j, unsigned scratch)
{
	emit_mov_rr(j, scratch, X86_RAX);
	save_to_slot(j);
	emit_mov_rr(j, X86_RAX, scratch);
}

void emit_flags_load(struct jit *j, unsigned scratch)
{
	emit_mov_rr(j, scratch, X86_RAX);
	load_from_slot(j);
	emit_mov_rr(j, X86_RAX, scratch);
}

/* Bytes, so that the load gets what the store has on its way. */
void emit_carry_save(struct jit *j)
{
	emit_cpu(j, 0xf92, 0, CPU_OFF(jit.flags) + 1, 1);	/* setc */
}

void emit_carry_load(struct jit *j, unsigned scratch)
{
	emit_cpu(j, 0xfb6, scratch, CPU_OFF(jit.flags) + 1, 4);	/* movzx */
	emit_rr(j, 0xd1, 5, scratch, 4);			/* shr by 1 */
}

/* --- stubs ----------------------------------------------------------------------- */

#define ALL_REGS	0xffffu
/* Those that a C function may change, and RBP, which call_light() uses. */
#define SCRATCH_REGS	(BIT(X86_RAX) | BIT(X86_RCX) | BIT(X86_RDX) | BIT(X86_RBP) |	\
			 BIT(X86_RSI) | BIT(X86_RDI) | BIT(X86_R8) | BIT(X86_R9) |	\
			 BIT(X86_R10) | BIT(X86_R11))

static void registers(struct jit *j, bool to_memory, uint32_t which)
{
	unsigned r;

	for (r = 0; r < X86_NR_GPRS; r++)
		if (which >> r & 1 && jit_host_reg(r) != IN_MEM)
			emit_cpu(j, to_memory ? 0x89 : 0x8b, jit_host_reg(r),
				 GPR_OFF(r), 8);
}

static void push_pop(struct jit *j, unsigned op, unsigned reg)
{
	if (reg >= 8)
		e8(j, 0x41);
	e8(j, op | (reg & 7));
}

static const uint8_t saved[] = { X86_RBX, X86_RBP, X86_R12, X86_R13, X86_R14,
				 X86_R15 };

/* RDGSBASE (0), WRGSBASE (1). */
static void gs_base(struct jit *j, bool write, unsigned reg)
{
	e8(j, 0xf3);
	e8(j, 0x48 | reg >> 3);
	e8(j, 0x0f), e8(j, 0xae);
	e8(j, (write ? 0xd8 : 0xc8) | (reg & 7));
}

/* lea rsp, [rsp + by] */
static void move_host_sp(struct jit *j, int8_t by)
{
	e8(j, 0x48), e8(j, 0x8d), e8(j, 0x64), e8(j, 0x24), e8(j, by);
}

static void emit_enter(struct jit *j, uint32_t ret_end)
{
	unsigned i;

	j->enter = j->pos;
	for (i = 0; i < sizeof(saved); i++)
		push_pop(j, 0x50, saved[i]);
	/* The return stack's end: what returns there is not found in it. */
	e8(j, 0x48), e8(j, 0x8d), e8(j, 0x05);		/* lea rax, [ret_end] */
	e32(j, ret_end - (j->pos + 4));
	push_pop(j, 0x50, X86_RAX);
	if (j->fsgsbase) {
		gs_base(j, false, X86_RAX);
		gs_base(j, true, X86_RDI);
		emit_store(j, X86_RAX, CPU_OFF(jit.host_gs));
	}
	emit_store(j, X86_RSP, CPU_OFF(jit.host_sp));
	emit_mov_rr(j, T2, X86_RSI);
	registers(j, false, ALL_REGS);
	e8(j, 0x41), e8(j, 0xff), e8(j, 0xe0 | (T2 & 7));	/* jmp T2 */
}

static void emit_leave(struct jit *j)
{
	unsigned i;

	j->leave = j->pos;
	registers(j, true, ALL_REGS);
	emit_load(j, X86_RSP, CPU_OFF(jit.host_sp));
	if (j->fsgsbase) {
		emit_load(j, X86_RAX, CPU_OFF(jit.host_gs));
		gs_base(j, true, X86_RAX);
	}
	move_host_sp(j, 8);
	for (i = sizeof(saved); i--;)
		push_pop(j, 0x58, saved[i]);
	e8(j, 0xc3);
}

/* fn(cpu, T1, T2); the result in RAX. RBP is overwritten. */
static void call_aligned(struct jit *j, unsigned fn)
{
	emit_load(j, X86_RDI, CPU_OFF(c.owner));
	emit_mov_rr(j, X86_RSI, T1);
	emit_mov_rr(j, X86_RDX, T2);
	emit_mov_rr(j, X86_RBP, X86_RSP);
	e8(j, 0x48), e8(j, 0x83), e8(j, 0xe4), e8(j, 0xf0);	/* and rsp, -16 */
	emit_cpu(j, 0xff, 2, CPU_OFF(jit.fn[0]) + 8 * fn, 4);	/* call */
	emit_mov_rr(j, X86_RSP, X86_RBP);
}

/* What it returns is in T1 then, the guest's registers are back. */
static void call_c(struct jit *j, unsigned fn)
{
	registers(j, true, ALL_REGS);
	call_aligned(j, fn);
	emit_mov_rr(j, T1, X86_RAX);
	registers(j, false, ALL_REGS);
}

/* A function that looks at no register of the guest's: the host's flags tell whether it
 * returned 0, T1 and T2 stay. It may look where it was called from. */
static void call_light(struct jit *j, unsigned fn)
{
	/* What is translated there may be made for what registers hold: mates.c. */
	registers(j, true, fn == FN_IS_LONG ? ALL_REGS : SCRATCH_REGS);
	e8(j, 0x48), e8(j, 0x8b), e8(j, 0x04), e8(j, 0x24);	/* mov rax, [rsp] */
	emit_store(j, X86_RAX, CPU_OFF(jit.walk_from));
	call_aligned(j, fn);
	emit_rr(j, 0x85, X86_RAX, X86_RAX, 8);			/* test */
	registers(j, false, SCRATCH_REGS);
}

/* C may have found the return stack void. Overwrites RFLAGS. */
static void unwind(struct jit *j)
{
	uint32_t keep;

	emit_cpu(j, 0x80, 7, CPU_OFF(jit.unwind), 4);		/* cmp */
	e8(j, 0);
	keep = emit_jump_later(j, CC_E);
	emit_load(j, X86_RSP, CPU_OFF(jit.host_sp));
	emit_cpu(j, 0xc6, 0, CPU_OFF(jit.unwind), 4);		/* mov */
	e8(j, 0);
	emit_patch(j, keep, j->pos);
}

static void jump_t1(struct jit *j)
{
	e8(j, 0x41), e8(j, 0xff), e8(j, 0xe0 | (T1 & 7));
}

static void emit_exec(struct jit *j)
{
	uint32_t out;

	j->exec = j->pos;
	emit_mov_imm(j, T2, 0);
	j->kept = j->pos;
	call_c(j, FN_EXEC);
	emit_rr(j, 0x85, T1, T1, 8);				/* test */
	out = emit_jump_later(j, CC_NE);
	e8(j, 0xc3);
	emit_patch(j, out, j->pos);
	/* It does not return: its return address goes. By a return, or the host would
	 * predict every return to come one too far. */
	move_host_sp(j, 8);
	unwind(j);
	push_pop(j, 0x50, T1);
	e8(j, 0xc3);
}

#define SLOT_OFF(field)	((uint32_t)(offsetof(struct hw_cpu, jit.slot) +		\
				    offsetof(struct hw_jit_slot, field)))

static void alu_eax(struct jit *j, unsigned op, uint32_t v, bool w)
{
	if (w)
		e8(j, 0x48);
	e8(j, op);
	e32(j, v);
}

/* op rax or rcx, gs:[rcx + disp] */
static void gs_rcx(struct jit *j, unsigned op, unsigned reg, uint32_t disp)
{
	uint8_t *p = gs_prefix(j, begin(j));

	*p++ = 0x48;
	*p++ = op;
	*p++ = 0x81 | reg << 3;
	end(j, put32(p, j->base + disp));
}

/* shl, shr T2d, @by */
static void shift_t2(struct jit *j, bool left, uint8_t by)
{
	e8(j, 0x41), e8(j, 0xc1), e8(j, (left ? 0xe0 : 0xe8) | (T2 & 7));
	e8(j, by);
}

static void fill_scratch(struct jit *j, bool save)
{
	emit_cpu(j, save ? 0x89 : 0x8b, X86_RAX, CPU_OFF(jit.spill[0]), 8);
	emit_cpu(j, save ? 0x89 : 0x8b, X86_RCX, CPU_OFF(jit.spill[1]), 8);
}

/* The TLB has T1's page for @kind: tag in rax, entry at rcx. Else to the jumps. */
static void fill_find(struct jit *j, unsigned kind, uint32_t miss[2])
{
	emit_rr(j, 0x89, T1, X86_RAX, 4);
	alu_eax(j, 0x25, PAGE_SIZE - 1, false);		/* and */
	emit_rr(j, 0xfb7, X86_RCX, T2, 4);		/* movzx */
	emit_rr(j, 0x01, X86_RCX, X86_RAX, 4);
	alu_eax(j, 0x3d, PAGE_SIZE, false);		/* cmp */
	miss[0] = emit_jump_later(j, CC_A);
	emit_rr(j, 0x89, T1, X86_RCX, 4);
	e8(j, 0xc1), e8(j, 0xe9), e8(j, PAGE_SHIFT - 5);	/* shr */
	e8(j, 0x81), e8(j, 0xe1), e32(j, (HW_TLB_SIZE - 1) * 32);	/* and */
	emit_mov_rr(j, X86_RAX, T1);
	alu_eax(j, 0x25, (uint32_t)PAGE_MASK, true);
	emit_cpu(j, 0x0b, X86_RAX, CPU_OFF(c.tlb_key), 8);
	gs_rcx(j, 0x3b, X86_RAX, TLB_OFF(tag[0]) + 8 * kind);
	miss[1] = emit_jump_later(j, CC_NE);
}

_Static_assert(sizeof(struct hw_jit_slot) == 32, "the shift below");

/* T2: index << 16. It becomes the offset of the slot, which gets the page. */
static void fill_slot(struct jit *j)
{
	shift_t2(j, false, 16);
	emit_cpu(j, 0xfab, T2, CPU_OFF(jit.filled), 4);	/* bts */
	shift_t2(j, true, 5);
	alu_eax(j, 0x25, (uint32_t)PAGE_MASK, true);
	emit_cpu_t2(j, 0x89, X86_RAX, SLOT_OFF(lo), 8);
	gs_rcx(j, 0x8b, X86_RCX, TLB_OFF(addend));
	emit_cpu_t2(j, 0x89, X86_RCX, SLOT_OFF(addend), 8);
	emit_rr(j, 0x01, X86_RCX, X86_RAX, 8);
	emit_cpu_t2(j, 0x89, X86_RAX, SLOT_OFF(host), 8);
	emit_cpu_t2(j, 0x83, 5, SLOT_OFF(budget), 4);	/* sub */
	e8(j, 1);
}

/* A user's page, perhaps, that is lent to the supervisor (hw/tlb.c). */
static void note_low(struct jit *j)
{
	uint32_t high;

	emit_rr(j, 0x85, T1, T1, 8);
	high = emit_jump_later(j, CC_S);
	emit_cpu(j, 0xc6, 0, CPU_OFF(jit.low_filled), 4);	/* mov */
	e8(j, 1);
	emit_patch(j, high, j->pos);
}

/*
 * T1 = linear address, T2 = bytes | slot << 16. With Z: the slot holds the page,
 * and T1 is what it was. Without: that is not in the TLB, or not all in one page.
 */
static void emit_fill(struct jit *j, unsigned who, unsigned kind)
{
	uint32_t miss[2], spent;

	j->fill[who][kind] = j->pos;
	emit_cpu(j, 0xff, 0, CPU_OFF(stats.jit_slot_misses), 8);	/* inc */
	fill_scratch(j, true);
	fill_find(j, kind, miss);
	if (!who)
		note_low(j);
	fill_slot(j);
	spent = emit_jump_later(j, CC_S);
	fill_scratch(j, false);
	e8(j, 0x39), e8(j, 0xc0);			/* cmp eax, eax: Z */
	e8(j, 0xc3);
	emit_patch(j, miss[0], j->pos);
	emit_patch(j, miss[1], j->pos);
	fill_scratch(j, false);
	e8(j, 0x48), e8(j, 0x85), e8(j, 0xe4);		/* test rsp, rsp */
	e8(j, 0xc3);
	emit_patch(j, spent, j->pos);
	e8(j, 0x48), e8(j, 0x8b), e8(j, 0x04), e8(j, 0x24); /* mov rax, [rsp] */
	emit_store(j, X86_RAX, CPU_OFF(jit.site));
	fill_scratch(j, false);
	shift_t2(j, false, 5);
	call_c(j, FN_VARY);
	e8(j, 0x39), e8(j, 0xc0);
	e8(j, 0xc3);
}

/* Each calls a function of C lightly. */
static void emit_light(struct jit *j)
{
	const struct { uint32_t *stub; unsigned fn; } light[] = {
		/* T1 = linear address, T2: jit_walk()'s. Z: the page is in the TLB now. */
		{ &j->walk, FN_WALK }, { &j->give_back, FN_GIVE_BACK },
		{ &j->is_long, FN_IS_LONG },
		/* T1 = struct jit_cached, T2: the target's index in the table. */
		{ &j->recache, FN_CACHE },
		{ &j->levels, FN_LEVELS },
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(light); i++) {
		*light[i].stub = j->pos;
		call_light(j, light[i].fn);
		e8(j, 0xc3);
	}
}

static uint32_t emit_away(struct jit *j, unsigned fn)
{
	uint32_t at = j->pos;

	call_c(j, fn);
	unwind(j);
	jump_t1(j);
	return at;
}

/* @host: the flags are in RFLAGS here, and where the link leads. */
uint32_t emit_link(struct jit *j, bool host, unsigned fn)
{
	uint32_t at = j->pos;

	if (host) {
		emit_store(j, X86_RAX, GPR_OFF(X86_RAX));
		save_to_slot(j);
		emit_load(j, X86_RAX, GPR_OFF(X86_RAX));
	}
	call_c(j, fn);
	unwind(j);
	if (host)
		emit_flags_load(j, T2);
	jump_t1(j);
	return at;
}

/*
 * A return that the return stack does not know: the table of targets, or the way out
 * of line in T2. The stack's end leads here too: it goes back to where it was.
 */
static uint32_t emit_ret_miss(struct jit *j)
{
	uint32_t end = j->pos, miss[2];

	move_host_sp(j, -8);
	j->ret_miss = j->pos;
	emit_store(j, T2, CPU_OFF(jit.tmp));
	emit_cpu(j, 0xff, 0, CPU_OFF(stats.jit_ret_misses), 8);	/* inc */
	jit_find_target(j, miss);
	jit_jump_target(j, CC_ALWAYS);
	emit_patch(j, miss[0], j->pos);
	emit_patch(j, miss[1], j->pos);
	emit_cpu(j, 0xff, 4, CPU_OFF(jit.tmp), 4);
	return end;
}

static void emit_far(struct jit *j)
{
	uint32_t to_c, miss[2];

	j->far = j->pos;
	emit_store(j, T2, CPU_OFF(jit.tmp));
	emit_cpu(j, 0xff, 0, CPU_OFF(stats.jit_far_misses), 8);	/* inc */
	emit_cpu(j, 0xff, 1, CPU_OFF(jit.relink), 4);		/* dec */
	to_c = emit_jump_later(j, CC_S);
	emit_store(j, T1, CPU_OFF(jit.spill[0]));
	jit_find_target(j, miss);
	jit_jump_target(j, CC_ALWAYS);
	emit_patch(j, miss[0], j->pos);
	emit_patch(j, miss[1], j->pos);
	emit_load(j, T1, CPU_OFF(jit.spill[0]));
	emit_patch(j, to_c, j->pos);
	emit_load(j, T2, CPU_OFF(jit.tmp));
	emit_away(j, FN_FAR);
}

void jit_tombstone(struct jit *j, uint64_t rip, bool flags_in_host)
{
	uint32_t end = ((j->pos + 15) & ~15u) + JIT_TOMBSTONE;

	j->pos = end - JIT_TOMBSTONE;
	emit_mov_imm(j, T1, rip);
	emit_jump(j, CC_ALWAYS, flags_in_host ? j->go_host : j->go);
	j->pos = end;
}

/* A return that the interpreter does: the return stack's top goes, but not its end. */
static void emit_exec_ret(struct jit *j)
{
	j->exec_ret = j->pos;
	emit_rm(j, 0x8d, T2, X86_RSP, 8);
	emit_cpu(j, 0x3b, X86_RSP, CPU_OFF(jit.host_sp), 8);
	emit_rr(j, 0xf42, X86_RSP, T2, 8);			/* cmovb */
	emit_jump(j, CC_ALWAYS, j->exec_end);
}

void emit_stubs(struct jit *j)
{
	unsigned i;

	j->nr_faults = 0;
	emit_enter(j, emit_ret_miss(j));
	emit_leave(j);
	emit_exec(j);
	for (i = 0; i < 2 * HW_JIT_WHO; i++)
		emit_fill(j, i / 2, i % 2);
	emit_light(j);
	j->exec_end = j->pos;
	emit_mov_imm(j, T2, 0);
	j->kept_end = emit_away(j, FN_EXEC_END);
	emit_exec_ret(j);
	j->go_host = j->pos;
	emit_flags_save(j, T2);
	j->go = emit_away(j, FN_GO);
	emit_far(j);
	j->link_host = emit_link(j, true, FN_LINK);
	j->link_mem = emit_link(j, false, FN_LINK);
	jit_level_stubs(j);
	jit_string_stubs(j);
	jit_cache_stubs(j);
	jit_check_stubs(j);
	j->nr_stub_faults = j->nr_faults;
	j->start = j->pos;
}
