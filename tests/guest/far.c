// SPDX-License-Identifier: MIT
/*
 * Far JMP, CALL, RET and IRET in protected, compatibility and 64-bit mode: direct,
 * through call gates, to every level. Every check in their pseudo-code: SDM Vol. 2,
 * "JMP", "CALL", "RET", "IRET"; APM Vol. 3 under the same names.
 */
#include "lib/checks.h"

static struct { uint32_t off; uint16_t sel; } __attribute__((packed)) far_ptr
	asm("far_ptr_mem") __attribute__((used));

CODE(jmp_far, "ljmp *far_ptr_mem");
CODE(call_far, "lcall *far_ptr_mem");
CODE2(jmp_imm, ".byte 0xea, 0, 0, 0, 0, 0, 0", ".byte 0xea, 0, 0, 0, 0, 0, 0");
CODE(jmp_far_reg, ".byte 0xff, 0xe8");
CODE(call_far_reg, ".byte 0xff, 0xd8");
/* Bytes that are INT VEC_DONE in every mode. */
CODE(target, "");

enum { CS_SLOT = 0, GATE_SLOT = 2, SS_SLOT = 4, LDT_SLOT = 8 };

/* L where the guest's code of @mode has it. */
static unsigned code_bits(enum mode mode, unsigned access)
{
	if (is_64bit(mode) && (access & A_S))
		access = (access & ~0x4000) | LONG_CODE;
	return access;
}

static void put_code(enum mode mode, unsigned slot, unsigned access)
{
	if ((access & 0x18) == 0x18)
		access = code_bits(mode, access);
	if (access & A_S)
		put_flat(slot, access);
	else
		put_system(slot, 0x1234, 0x67, access);
	ldt[0] = gdt[SLOT(slot) / 8];
}

/* --- direct ----------------------------------------------------------------------------- */

enum where { IN_GDT, IN_LDT, NULL_LDT, PAST_GDT, PAST_LDT, NULL_SEL };

/* clang-format off */
static const struct direct_row {
	const char *cond;
	enum where where;
	unsigned access, cpl, rpl, vector;
} direct_rows[] = {
	{ "null selector",				NULL_SEL, 0, 0, 0, GP },
	{ "null selector with RPL 3",			NULL_SEL, 0, 3, 3, GP },
	{ "beyond the GDT's limit",			PAST_GDT, 0, 0, 0, GP },
	{ "TI set, LDTR null",				NULL_LDT, CODE_XR, 0, 0, GP },
	{ "beyond the LDT's limit",			PAST_LDT, CODE_XR, 0, 0, GP },
	{ "in the LDT",					IN_LDT, CODE_XR | DPL(3), 3, 3, NO_EXC },
	{ "a data segment",				IN_GDT, DATA_RW, 0, 0, GP },
	{ "a data segment of the CPL",			IN_GDT, DATA_RW | DPL(3), 3, 3, GP },
	{ "execute-only code",				IN_GDT, CODE_X, 0, 0, NO_EXC },
	{ "non-conforming, CPL = DPL, RPL = CPL",	IN_GDT, CODE_XR | DPL(3), 3, 3, NO_EXC },
	{ "non-conforming, CPL = DPL, RPL < CPL",	IN_GDT, CODE_XR | DPL(3), 3, 0, NO_EXC },
	{ "non-conforming, RPL > CPL",			IN_GDT, CODE_XR, 0, 3, GP },
	{ "non-conforming, RPL 2 > CPL 1",		IN_GDT, CODE_XR | DPL(1), 1, 2, GP },
	{ "non-conforming, DPL > CPL",			IN_GDT, CODE_XR | DPL(3), 0, 0, GP },
	{ "non-conforming, DPL < CPL",			IN_GDT, CODE_XR, 3, 3, GP },
	{ "conforming, DPL = CPL",			IN_GDT, CODE_CR | DPL(3), 3, 3, NO_EXC },
	{ "conforming, DPL < CPL",			IN_GDT, CODE_CR, 3, 3, NO_EXC },
	{ "conforming, DPL 1 < CPL 2, RPL 0",		IN_GDT, CODE_C | DPL(1), 2, 0, NO_EXC },
	{ "conforming, DPL > CPL",			IN_GDT, CODE_CR | DPL(3), 0, 0, GP },
	{ "conforming, RPL > DPL",			IN_GDT, CODE_CR, 0, 3, NO_EXC },
	{ "not present",				IN_GDT, CODE_XR & ~A_P, 0, 0, NP },
	{ "conforming, not present",			IN_GDT, CODE_CR & ~A_P, 3, 3, NP },
	{ "not present, and DPL < CPL",			IN_GDT, CODE_XR & ~A_P, 3, 3, GP },
	{ "type 0",					IN_GDT, SYS(0), 0, 0, GP },
	{ "an LDT",					IN_GDT, SYS(LDT), 0, 0, GP },
	{ "a busy 16-bit TSS",				IN_GDT, SYS(TSS16_BUSY), 0, 0, GP },
	{ "a 16-bit interrupt gate",			IN_GDT, SYS(INTR16), 0, 0, GP },
	{ "a 16-bit trap gate",				IN_GDT, SYS(TRAP16), 0, 0, GP },
	{ "type 8",					IN_GDT, SYS(8), 0, 0, GP },
	{ "type 10",					IN_GDT, SYS(10), 0, 0, GP },
	{ "a busy TSS",					IN_GDT, SYS(TSS32_BUSY), 0, 0, GP },
	{ "type 13",					IN_GDT, SYS(13), 0, 0, GP },
	{ "an interrupt gate",				IN_GDT, SYS(INTR32), 0, 0, GP },
	{ "a trap gate",				IN_GDT, SYS(TRAP32), 0, 0, GP },
};

/* In IA-32e mode there are no tasks and no 16-bit gates. */
static const struct direct_row long_rows[] = {
	{ "a 16-bit TSS",				IN_GDT, SYS(TSS16), 0, 0, GP },
	{ "a 16-bit call gate",				IN_GDT, SYS(CALL16), 0, 0, GP },
	{ "a task gate",				IN_GDT, SYS(TASK_GATE), 0, 0, GP },
	{ "a TSS",					IN_GDT, SYS(TSS32), 0, 0, GP },
	{ "code with L and D",				IN_GDT, 0x609b, 0, 0, GP },
};
/* clang-format on */

static uint16_t selector(enum where where, unsigned rpl)
{
	switch (where) {
	case NULL_SEL:
		return rpl;
	case PAST_GDT:
		return 0x2000 | rpl;
	case IN_GDT:
		return SLOT(CS_SLOT) | rpl;
	case PAST_LDT:
		return LDT_SEL(LDT_SLOTS) | rpl;
	default:
		return LDT_SEL(0) | rpl;
	}
}

static void set_ldt(enum where where)
{
	put_system(LDT_SLOT, (ulong)ldt, sizeof(ldt) - 1, SYS(LDT));
	asm volatile("lldt %w0" : : "r"(where == NULL_LDT ? 0 : SLOT(LDT_SLOT)));
}

static void enter_far(enum mode mode, unsigned cpl, const struct code *code, uint16_t sel,
		      ulong off)
{
	struct state s;

	state_init(&s, mode, cpl, code);
	far_ptr.sel = sel;
	far_ptr.off = off;
	enter(&s);
}

static void try_direct(enum mode mode, bool call, const struct direct_row *r)
{
	uint16_t sel = selector(r->where, r->rpl);

	if (r->access == 0x609b)
		put_flat(CS_SLOT, r->access);
	else
		put_code(mode, CS_SLOT, r->access);
	set_ldt(r->where);
	enter_far(mode, r->cpl, call ? &call_far : &jmp_far, sel, (ulong)target.at[mode]);
	check(mode_name(mode), call ? "CALL far" : "JMP far", r->cond, r->vector, sel & ~3);
}

/* What a transfer that went through has left. */
static void test_direct_effect(enum mode mode)
{
	const char *m = mode_name(mode);
	uint32_t *sp;

	put_code(mode, CS_SLOT, CODE_CR & ~1);
	enter_far(mode, 3, &call_far, SLOT(CS_SLOT), (ulong)target.at[mode]);
	check_that(m, "CALL far", "conforming: CPL stays, CS has it as RPL",
		   stop.s.cs == (SLOT(CS_SLOT) | 3) && stop.s.ss == USER_DS);
	sp = (uint32_t *)stop.s.sp;
	check_that(m, "CALL far", "pushes CS and EIP, 32 bits each",
		   stop.s.sp == (ulong)user_stack_top - 72 &&
		   (uint16_t)sp[1] == code_sel(mode, 3) && sp[0] > (ulong)call_far.at[mode]);
	check_that(m, "CALL far", "sets the accessed bit", gdt[SLOT(CS_SLOT) / 8] >> 40 & 1);
	enter_far(mode, 0, &jmp_imm, 0, 0);
	check(m, "JMP far", "the direct form", is_64bit(mode) ? UD : GP, 0);
	enter_far(mode, 0, &jmp_far_reg, 0, 0);
	check(m, "JMP far", "a register operand", UD, 0);
	enter_far(mode, 0, &call_far_reg, 0, 0);
	check(m, "CALL far", "a register operand", UD, 0);
}

static void test_direct_limit(enum mode mode)
{
	const char *m = mode_name(mode);

	if (is_64bit(mode))
		return;
	gdt[SLOT(CS_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR);
	enter_far(mode, 0, &jmp_far, SLOT(CS_SLOT), 0x1000);
	check(m, "JMP far", "the offset is beyond CS's limit", GP, 0);
	enter_far(mode, 0, &call_far, SLOT(CS_SLOT), 0x1000);
	check(m, "CALL far", "the offset is beyond CS's limit", GP, 0);
	check_that(m, "CALL far", "nothing is pushed when it faults",
		   HAS_COMPAT ? stop.s.sp == (ulong)check_stack_top - 64 : true);
}

static void test_direct(enum mode mode)
{
	for (unsigned call = 0; call < 2; call++) {
		for (unsigned i = 0; i < ARRAY_SIZE(direct_rows); i++)
			try_direct(mode, call, &direct_rows[i]);
		for (unsigned i = 0; HAS_COMPAT && i < ARRAY_SIZE(long_rows); i++)
			try_direct(mode, call, &long_rows[i]);
	}
	test_direct_effect(mode);
	test_direct_limit(mode);
}

/* --- call gates --------------------------------------------------------------------------- */

enum ec { EC_0, EC_GATE, EC_CS };
enum { FOR_JMP = 1, FOR_CALL = 2, FOR_BOTH = 3 };

/* clang-format off */
static const struct gate_row {
	const char *cond;
	unsigned insns, gate, code, cpl, rpl, vector;
	enum ec ec;
} gate_rows[] = {
	{ "gate: to the same level",		FOR_BOTH, SYS(CALL32), CODE_XR, 0, 0, NO_EXC, EC_0 },
	{ "gate: to CPL 3 from CPL 3",		FOR_BOTH, SYS(CALL32) | DPL(3), CODE_XR | DPL(3), 3, 3, NO_EXC, EC_0 },
	{ "gate: to an inner level",		FOR_CALL, SYS(CALL32) | DPL(3), CODE_XR, 3, 3, NO_EXC, EC_0 },
	{ "gate: to CPL 1 from CPL 2",		FOR_CALL, SYS(CALL32) | DPL(2), CODE_XR | DPL(1), 2, 2, NO_EXC, EC_0 },
	{ "gate: to conforming inner code",	FOR_BOTH, SYS(CALL32) | DPL(3), CODE_CR, 3, 3, NO_EXC, EC_0 },
	{ "gate: the RPL of its selector does not matter", FOR_BOTH, SYS(CALL32) | DPL(3), CODE_XR | DPL(3), 3, 0, NO_EXC, EC_0 },
	{ "gate: DPL < CPL",			FOR_BOTH, SYS(CALL32) | DPL(2), CODE_XR | DPL(3), 3, 3, GP, EC_GATE },
	{ "gate: DPL < RPL",			FOR_BOTH, SYS(CALL32) | DPL(1), CODE_XR, 0, 2, GP, EC_GATE },
	{ "gate: not present",			FOR_BOTH, CALL32 | DPL(3), CODE_XR, 0, 0, NP, EC_GATE },
	{ "gate: not present, and DPL < CPL",	FOR_BOTH, CALL32, CODE_XR, 3, 3, GP, EC_GATE },
	{ "gate: its code is data",		FOR_BOTH, SYS(CALL32), DATA_RW, 0, 0, GP, EC_CS },
	{ "gate: its code is a TSS",		FOR_BOTH, SYS(CALL32), SYS(TSS32), 0, 0, GP, EC_CS },
	{ "gate: its code has DPL > CPL",	FOR_BOTH, SYS(CALL32), CODE_XR | DPL(3), 0, 0, GP, EC_CS },
	{ "gate: its conforming code has DPL > CPL", FOR_BOTH, SYS(CALL32), CODE_CR | DPL(3), 0, 0, GP, EC_CS },
	{ "gate: its non-conforming code has DPL < CPL", FOR_JMP, SYS(CALL32) | DPL(3), CODE_XR, 3, 3, GP, EC_CS },
	{ "gate: its code is not present",	FOR_BOTH, SYS(CALL32), CODE_XR & ~A_P, 0, 0, NP, EC_CS },
	{ "gate: its inner code is not present", FOR_CALL, SYS(CALL32) | DPL(3), CODE_XR & ~A_P, 3, 3, NP, EC_CS },
};
/* clang-format on */

/* In IA-32e mode call gates lead to 64-bit code, from both modes. */
static enum mode gate_mode(enum mode mode)
{
	return HAS_COMPAT ? NATIVE : mode;
}

static void call_gate(enum mode mode, unsigned cpl, bool call, unsigned rpl)
{
	enter_far(mode, cpl, call ? &call_far : &jmp_far, SLOT(GATE_SLOT) | rpl, 0);
}

static void try_gate(enum mode mode, bool call, const struct gate_row *r)
{
	const uint32_t ec[] = { 0, SLOT(GATE_SLOT), SLOT(CS_SLOT) };
	enum mode to = gate_mode(mode);

	put_code(to, CS_SLOT, r->code);
	put_gate(GATE_SLOT, SLOT(CS_SLOT) | 3, (ulong)target.at[to], r->gate, 0);
	call_gate(mode, r->cpl, call, r->rpl);
	check(mode_name(mode), call ? "CALL far" : "JMP far", r->cond, r->vector, ec[r->ec]);
}

static void gate_selector(enum mode mode, bool call, uint16_t sel, const char *cond,
			  uint32_t error)
{
	put_gate(GATE_SLOT, sel, (ulong)target.at[gate_mode(mode)], SYS(CALL32), 0);
	call_gate(mode, 0, call, 0);
	check(mode_name(mode), call ? "CALL far" : "JMP far", cond, GP, error);
}

#ifdef __x86_64__
static void test_gates_long(enum mode mode, bool call)
{
	const char *insn = call ? "CALL far" : "JMP far", *m = mode_name(mode);
	uint64_t *gate = &gdt[SLOT(GATE_SLOT) / 8];

	put_flat(CS_SLOT, CODE_XR);
	put_gate(GATE_SLOT, SLOT(CS_SLOT), (ulong)target.at[0], SYS(CALL32), 0);
	call_gate(mode, 0, call, 0);
	check(m, insn, "gate: its code has L clear", GP, SLOT(CS_SLOT));
	put_flat(CS_SLOT, CODE_XR | LONG_CODE);
	call_gate(mode, 0, call, 0);
	check(m, insn, "gate: its code has L and D set", GP, SLOT(CS_SLOT));
	put_code(NATIVE, CS_SLOT, CODE_XR);
	gate[1] |= 1ull << 40;
	call_gate(mode, 0, call, 0);
	check(m, insn, "gate: a type in its upper half", GP, SLOT(GATE_SLOT));
	put_gate(GATE_SLOT, SLOT(CS_SLOT), BIT(47), SYS(CALL32), 0);
	call_gate(mode, 0, call, 0);
	check(m, insn, "gate: its offset is not canonical", GP, 0);
	gdt[31] = gate[0];
	enter_far(mode, 0, call ? &call_far : &jmp_far, 31 * 8, 0);
	check(m, insn, "gate: its upper half is beyond the limit", GP, 31 * 8);
	gdt[31] = 0;
}
#else
static void test_gates_long(enum mode mode, bool call)
{
	const char *insn = call ? "CALL far" : "JMP far";

	gdt[SLOT(CS_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR);
	put_gate(GATE_SLOT, SLOT(CS_SLOT), 0x1000, SYS(CALL32), 0);
	call_gate(mode, 0, call, 0);
	check("protected", insn, "gate: its offset is beyond CS's limit", GP, 0);
}
#endif

static void test_gates(enum mode mode)
{
	for (unsigned call = 0; call < 2; call++) {
		for (unsigned i = 0; i < ARRAY_SIZE(gate_rows); i++)
			if (gate_rows[i].insns & (call ? FOR_CALL : FOR_JMP))
				try_gate(mode, call, &gate_rows[i]);
		put_code(gate_mode(mode), CS_SLOT, CODE_XR);
		gate_selector(mode, call, 3, "gate: its selector is null", 0);
		gate_selector(mode, call, 0x2003, "gate: its selector is beyond the GDT's limit",
			      0x2000);
		set_ldt(NULL_LDT);
		gate_selector(mode, call, LDT_SEL(0), "gate: its selector has TI, LDTR null",
			      LDT_SEL(0));
		test_gates_long(mode, call);
	}
}

/* --- stacks of inner levels ------------------------------------------------------------------ */

/* A gate of DPL 3 to code of DPL 1; exceptions go to level 0, whose stack stays. */
static void inner_gate(enum mode mode, unsigned params)
{
	enum mode to = gate_mode(mode);

	put_code(to, CS_SLOT, CODE_XR | DPL(1));
	put_gate(GATE_SLOT, SLOT(CS_SLOT), (ulong)target.at[to], SYS(CALL32) | DPL(3), params);
}

static void set_tss_limit(unsigned limit)
{
	ulong base = (ulong)&tss;

	gdt[TSS_SEL / 8] = descriptor(base, limit, SYS(TSS32));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
}

#ifdef __x86_64__
static void set_ist(unsigned ist)
{
	for (unsigned v = 0; v < 256; v++)
		idt[v].ist = ist;
}

static void test_inner_stacks(enum mode mode)
{
	const char *m = mode_name(mode);
	const ulong old = tss.rsp[1];
	uint64_t *sp;

	inner_gate(mode, 0);
	call_gate(mode, 3, true, 3);
	sp = (uint64_t *)stop.s.sp;
	check_that(m, "CALL far", "gate to CPL 1: CS, a null SS with RPL 1, RSP1",
		   stop.s.cs == (SLOT(CS_SLOT) | 1) && stop.s.ss == 1 && stop.s.sp == old - 32);
	check_that(m, "CALL far", "gate to CPL 1: pushes SS, RSP, CS, RIP",
		   sp[3] == USER_DS && sp[2] == (ulong)user_stack_top - 64 &&
		   sp[1] == code_sel(mode, 3) && sp[0] > (ulong)call_far.at[mode]);
	tss.rsp[1] = BIT(47) + 32;
	call_gate(mode, 3, true, 3);
	check(m, "CALL far", "gate: RSP1 is not canonical", SS, 0);
	tss.rsp[1] = 0x700000000000;
	call_gate(mode, 3, true, 3);
	check(m, "CALL far", "gate: RSP1's page is not present", PF, 2);
	tss.rsp[1] = old;
	set_ist(0);
	set_tss_limit(0x12);
	call_gate(mode, 3, true, 3);
	check(m, "CALL far", "gate: RSP1 is beyond the TSS's limit", TS, TSS_SEL);
	set_tss_limit(0x67);
	set_ist(1);
}
#else
/* clang-format off */
static const struct {
	const char *cond;
	unsigned access, rpl, vector;
} stack_rows[] = {
	{ "gate: SS1 is writable data of DPL 1",	DATA_RW | DPL(1), 1, NO_EXC },
	{ "gate: SS1's RPL is not 1",			DATA_RW | DPL(1), 0, TS },
	{ "gate: SS1's DPL is not 1",			DATA_RW | DPL(3), 1, TS },
	{ "gate: SS1 is read-only",			DATA_R | DPL(1), 1, TS },
	{ "gate: SS1 is code",				CODE_XR | DPL(1), 1, TS },
	{ "gate: SS1 is a system segment",		SYS(LDT) | DPL(1), 1, TS },
	{ "gate: SS1 is not present",			(DATA_RW | DPL(1)) & ~A_P, 1, SS },
};
/* clang-format on */

static void inner_stack(const char *cond, uint16_t ss, unsigned vector, uint32_t error)
{
	tss.ss1 = ss;
	call_gate(NATIVE, 3, true, 3);
	check("protected", "CALL far", cond, vector, error);
	tss.ss1 = data_sel(1);
}

static void test_inner_rooms(void)
{
	const uint32_t old = tss.esp1;

	gdt[SLOT(SS_SLOT) / 8] = descriptor(0, 0xfff, DATA_DOWN | DPL(1));
	tss.esp1 = 0x1000 + 16;
	inner_stack("gate: room for four pushes", SLOT(SS_SLOT) | 1, NO_EXC, 0);
	tss.esp1 = 0x1000 + 15;
	inner_stack("gate: no room for four pushes", SLOT(SS_SLOT) | 1, SS, SLOT(SS_SLOT));
	inner_gate(NATIVE, 3);
	tss.esp1 = 0x1000 + 27;
	inner_stack("gate: no room for three parameters", SLOT(SS_SLOT) | 1, SS, SLOT(SS_SLOT));
	tss.esp1 = 0x1000 + 28;
	inner_stack("gate: room for three parameters", SLOT(SS_SLOT) | 1, NO_EXC, 0);
	gdt[SLOT(CS_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR | DPL(1));
	inner_stack("gate: room, the offset is beyond CS's limit", SLOT(SS_SLOT) | 1, GP, 0);
	tss.esp1 = 0x1000 + 27;
	inner_stack("gate: no room, and the offset is beyond CS's limit", SLOT(SS_SLOT) | 1, SS,
		    SLOT(SS_SLOT));
	tss.esp1 = old;
}

/* Parameters past the end of the caller's stack. */
static void test_params(void)
{
	struct state s;
	uint32_t *sp;
	bool same = true;

	inner_gate(NATIVE, 31);
	state_init(&s, NATIVE, 3, &call_far);
	far_ptr.sel = SLOT(GATE_SLOT) | 3;
	s.sp = (ulong)user_stack_top - 256;
	for (unsigned i = 0; i < 31; i++)
		((uint32_t *)s.sp)[i] = 0x1000 + i;
	enter(&s);
	sp = (uint32_t *)stop.s.sp;
	for (unsigned i = 0; i < 31; i++)
		same &= sp[2 + i] == 0x1000 + i;
	check_that("protected", "CALL far", "gate: 31 parameters are copied in order",
		   stop.vector == NO_EXC && same && sp[33] == s.sp &&
		   (uint16_t)sp[34] == USER_DS);
	gdt[SLOT(SS_SLOT) / 8] = descriptor(0, s.sp + 4 * 31 - 2, DATA_RW | DPL(3));
	s.ss = SLOT(SS_SLOT) | 3;
	enter(&s);
	check("protected", "CALL far", "gate: a parameter beyond the caller's stack", SS, 0);
	memcpy((void *)0x6000, target.at[0], 2);
	put_gate(GATE_SLOT, SLOT(CS_SLOT), 0x126000, SYS(CALL16) | DPL(3), 2);
	call_gate(NATIVE, 3, true, 3);
	check_that("protected", "CALL far", "a 16-bit gate pushes words and cuts the offset",
		   stop.s.sp == tss.esp1 - 12 && stop.s.ip == 0x6002);
}

static void test_inner_stacks(enum mode mode)
{
	inner_gate(mode, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(stack_rows); i++) {
		put_code(mode, SS_SLOT, stack_rows[i].access);
		inner_stack(stack_rows[i].cond, SLOT(SS_SLOT) | stack_rows[i].rpl,
			    stack_rows[i].vector, SLOT(SS_SLOT));
	}
	inner_stack("gate: SS1 is null", 1, TS, 0);
	inner_stack("gate: SS1 is beyond the GDT's limit", 0x2001, TS, 0x2000);
	set_tss_limit(0x10);
	inner_stack("gate: SS1 is beyond the TSS's limit", data_sel(1), TS, TSS_SEL);
	set_tss_limit(0x67);
	test_inner_rooms();
	test_params();
}
#endif

/* --- RET and IRET ------------------------------------------------------------------------------- */

CODE2(ret_far, "lret", "lretq");
CODE2(ret_far_n, "lret $16", "lretq $16");
CODE2(iret_, "iret", "iretq");

enum ret_ec { RET_0, RET_CS, RET_SS };

/* SS is that of the CS's RPL where @ss is 0. */
/* clang-format off */
static const struct ret_row {
	const char *cond;
	unsigned cpl, code, cs_rpl, ss, ss_rpl, vector;
	enum ret_ec ec;
} ret_rows[] = {
	{ "same level",				0, CODE_XR, 0, 0, 0, NO_EXC, RET_0 },
	{ "same level, CPL 3",			3, CODE_XR | DPL(3), 3, 0, 0, NO_EXC, RET_0 },
	{ "same level, conforming",		3, CODE_CR, 3, 0, 0, NO_EXC, RET_0 },
	{ "CS is data",				0, DATA_RW, 0, 0, 0, GP, RET_CS },
	{ "CS is a gate",			0, SYS(CALL32), 0, 0, 0, GP, RET_CS },
	{ "CS's RPL < CPL",			3, CODE_XR | DPL(3), 0, 0, 0, GP, RET_CS },
	{ "CS conforming, RPL < CPL",		3, CODE_CR, 0, 0, 0, GP, RET_CS },
	{ "CS non-conforming, DPL < RPL",	0, CODE_XR, 3, 0, 0, GP, RET_CS },
	{ "CS non-conforming, DPL > RPL",	0, CODE_XR | DPL(3), 0, 0, 0, GP, RET_CS },
	{ "CS conforming, DPL > RPL",		0, CODE_CR | DPL(3), 1, 0, 0, GP, RET_CS },
	{ "CS not present",			0, CODE_XR & ~A_P, 0, 0, 0, NP, RET_CS },
	{ "CS conforming, not present",		3, CODE_CR & ~A_P, 3, 0, 0, NP, RET_CS },
	{ "CS not present, and DPL > RPL",	0, (CODE_XR | DPL(3)) & ~A_P, 0, 0, 0, GP, RET_CS },
	{ "to CPL 3",				0, CODE_XR | DPL(3), 3, 0, 0, NO_EXC, RET_0 },
	{ "to CPL 1",				0, CODE_XR | DPL(1), 1, 0, 0, NO_EXC, RET_0 },
	{ "from CPL 1 to CPL 2",		1, CODE_XR | DPL(2), 2, 0, 0, NO_EXC, RET_0 },
	{ "to CPL 3, conforming",		0, CODE_CR, 3, 0, 0, NO_EXC, RET_0 },
	{ "outer CS not present",		0, (CODE_XR | DPL(3)) & ~A_P, 3, 0, 0, NP, RET_CS },
	{ "outer, SS writable data",		0, CODE_XR | DPL(3), 3, DATA_RW | DPL(3), 3, NO_EXC, RET_0 },
	{ "outer, SS's RPL is not CS's",	0, CODE_XR | DPL(3), 3, DATA_RW | DPL(3), 0, GP, RET_SS },
	{ "outer, SS's DPL is not CS's RPL",	0, CODE_XR | DPL(3), 3, DATA_RW, 3, GP, RET_SS },
	{ "outer, SS is read-only",		0, CODE_XR | DPL(3), 3, DATA_R | DPL(3), 3, GP, RET_SS },
	{ "outer, SS is code",			0, CODE_XR | DPL(3), 3, CODE_XR | DPL(3), 3, GP, RET_SS },
	{ "outer, SS is a system segment",	0, CODE_XR | DPL(3), 3, SYS(LDT) | DPL(3), 3, GP, RET_SS },
	{ "outer, SS not present",		0, CODE_XR | DPL(3), 3, (DATA_RW | DPL(3)) & ~A_P, 3, SS, RET_SS },
	{ "outer, SS not present and read-only", 0, CODE_XR | DPL(3), 3, (DATA_R | DPL(3)) & ~A_P, 3, GP, RET_SS },
	{ "outer, SS bad and CS not present",	0, (CODE_XR | DPL(3)) & ~A_P, 3, DATA_R, 3, NP, RET_CS },
};
/* clang-format on */

/* The frame that RET and IRET pop, and what follows on the outer stack. */
struct frame { ulong ip, cs, flags, sp, ss; };

/* @iret's frame at the state's stack pointer, in the width of the mode. */
static void put_frame(struct state *s, enum mode mode, bool iret, const struct frame *f)
{
	const ulong vals[] = { f->ip, f->cs, f->flags, f->sp, f->ss };
	uint8_t *p = (uint8_t *)(s->sp -= 64);

	for (unsigned i = 0; i < 5; i++) {
		if (i == 2 && !iret)
			continue;
		memcpy(p, &vals[i], is_64bit(mode) ? 8 : 4);
		p += is_64bit(mode) ? 8 : 4;
	}
}

static void enter_ret(enum mode mode, unsigned cpl, bool iret, const struct frame *f)
{
	struct state s;

	state_init(&s, mode, cpl, iret ? &iret_ : &ret_far);
	put_frame(&s, mode, iret, f);
	enter(&s);
}

static struct frame good_frame(enum mode mode, uint16_t cs)
{
	return (struct frame){ .ip = (ulong)target.at[mode], .cs = cs, .flags = 2,
		.sp = (ulong)user_stack_top - 64, .ss = data_sel(cs & 3) };
}

static void try_ret(enum mode mode, bool iret, const struct ret_row *r)
{
	const uint32_t ec[] = { 0, SLOT(CS_SLOT), SLOT(SS_SLOT) };
	struct frame f = good_frame(mode, SLOT(CS_SLOT) | r->cs_rpl);

	put_code(mode, CS_SLOT, r->code);
	if (r->ss) {
		put_flat(SS_SLOT, r->ss);
		f.ss = SLOT(SS_SLOT) | r->ss_rpl;
	}
	enter_ret(mode, r->cpl, iret, &f);
	check(mode_name(mode), iret ? "IRET" : "RET far", r->cond, r->vector, ec[r->ec]);
}

static void ret_frame(enum mode mode, bool iret, const char *cond, struct frame f,
		      unsigned vector, uint32_t error)
{
	enter_ret(mode, 0, iret, &f);
	check(mode_name(mode), iret ? "IRET" : "RET far", cond, vector, error);
}

#define WITH(f, member, val)	({ struct frame f_ = (f); f_.member = (val); f_; })

static void test_ret_frames(enum mode mode, bool iret)
{
	const uint16_t cs3 = SLOT(CS_SLOT) | 3;
	const struct frame same = good_frame(mode, SLOT(CS_SLOT));
	const struct frame outer = good_frame(mode, cs3);

	put_code(mode, CS_SLOT, CODE_XR);
	ret_frame(mode, iret, "CS null", WITH(same, cs, 0), GP, 0);
	ret_frame(mode, iret, "CS beyond the GDT's limit", WITH(same, cs, 0x2000), GP, 0x2000);
	set_ldt(NULL_LDT);
	ret_frame(mode, iret, "CS has TI, LDTR null", WITH(same, cs, LDT_SEL(0)), GP, LDT_SEL(0));
	put_code(mode, CS_SLOT, CODE_XR | DPL(3));
	ret_frame(mode, iret, "outer, SS null", WITH(outer, ss, 0), GP, 0);
	ret_frame(mode, iret, "outer, SS null with RPL 3", WITH(outer, ss, 3), GP, 0);
	ret_frame(mode, iret, "outer, SS beyond the GDT's limit", WITH(outer, ss, 0x2003), GP,
		  0x2000);
	put_code(mode, CS_SLOT, CODE_XR | DPL(1));
	ret_frame(mode, iret, "to CPL 1, SS null",
		  WITH(good_frame(mode, SLOT(CS_SLOT) | 1), ss, 1), is_64bit(mode) ? NO_EXC : GP, 0);
	if (!is_64bit(mode)) {
		gdt[SLOT(CS_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR);
		ret_frame(mode, iret, "EIP beyond CS's limit", WITH(same, ip, 0x1000), GP, 0);
		gdt[SLOT(CS_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR | DPL(3));
		ret_frame(mode, iret, "outer, EIP beyond CS's limit", WITH(outer, ip, 0x1000), GP, 0);
	} else {
		put_code(mode, CS_SLOT, CODE_XR);
		ret_frame(mode, iret, "RIP is not canonical", WITH(same, ip, BIT(HAS_COMPAT ? 47 : 0)), GP, 0);
		put_code(mode, CS_SLOT, CODE_XR | DPL(3));
		ret_frame(mode, iret, "outer, RIP is not canonical", WITH(outer, ip, BIT(HAS_COMPAT ? 47 : 0)),
			  GP, 0);
	}
	if (HAS_COMPAT) {
		put_flat(CS_SLOT, 0x609b);
		ret_frame(mode, iret, "CS has L and D", same, GP, SLOT(CS_SLOT));
	}
}

/* Data segments that the outer level may not see become null. */
static void test_outer_segments(enum mode mode, bool iret)
{
	struct state s;
	struct frame f = good_frame(mode, code_sel(mode, 3));
	const char *m = mode_name(mode), *insn = iret ? "IRET" : "RET far";

	put_flat(6, CODE_CR);
	state_init(&s, mode, 0, iret ? &iret_ : &ret_far);
	s.fs = USER_DS;
	s.gs = SLOT(6);
	put_frame(&s, mode, iret, &f);
	enter(&s);
	check_that(m, insn, "outer: DS and ES of DPL 0 become null", !stop.s.ds && !stop.s.es);
	check_that(m, insn, "outer: FS of DPL 3 stays", stop.s.fs == USER_DS);
	check_that(m, insn, "outer: GS with conforming code stays", stop.s.gs == SLOT(6));
	check_that(m, insn, "outer: SS and ESP come from the frame",
		   stop.s.ss == USER_DS && stop.s.sp == f.sp && stop.s.cs == f.cs);
}

static void test_ret_n(enum mode mode)
{
	struct state s;
	struct frame f = good_frame(mode, code_sel(mode, 3));
	unsigned width = is_64bit(mode) ? 8 : 4;
	ulong vals[8] = { f.ip, f.cs };
	uint8_t *p;

	/* 16 bytes of parameters, on both stacks. */
	state_init(&s, mode, 0, &ret_far_n);
	p = (uint8_t *)(s.sp -= 128);
	vals[2 + 16 / width] = f.sp;
	vals[3 + 16 / width] = f.ss;
	for (unsigned i = 0; i < 4 + 16 / width; i++)
		memcpy(p + i * width, &vals[i], width);
	enter(&s);
	check_that(mode_name(mode), "RET far", "n: releases n bytes of both stacks",
		   stop.vector == NO_EXC && stop.s.sp == f.sp + 16 && stop.s.ss == f.ss);
	state_init(&s, mode, 3, &ret_far_n);
	put_frame(&s, mode, false, &f);
	enter(&s);
	check_that(mode_name(mode), "RET far", "n: releases n bytes at the same level",
		   stop.vector == NO_EXC && stop.s.sp == s.sp + 2 * width + 16);
}

/* --- flags of IRET ---------------------------------------------------------------------------- */

static ulong iret_flags(enum mode mode, unsigned cpl, ulong before, ulong popped)
{
	struct state s;
	struct frame f = good_frame(mode, code_sel(mode, cpl));

	f.flags = popped;
	state_init(&s, mode, cpl, &iret_);
	s.flags = before;
	put_frame(&s, mode, true, &f);
	if (is_64bit(mode))	/* SS:RSP are popped at the same level too */
		((ulong *)s.sp)[4] = data_sel(cpl);
	enter(&s);
	return stop.vector == NO_EXC ? stop.s.flags : 0;
}

#define FL_1	BIT(1)
#define IOPL(n)	((ulong)(n) << 12)

static void test_iret_flags(enum mode mode)
{
	const char *m = mode_name(mode);

	check_that(m, "IRET", "CPL 0 changes IF and IOPL",
		   iret_flags(mode, 0, 2, 2 | FL_IF | IOPL(2)) == (2 | FL_IF | IOPL(2)));
	check_that(m, "IRET", "CPL 3 > IOPL leaves IF and IOPL",
		   iret_flags(mode, 3, 2, 2 | FL_IF | IOPL(3)) == 2);
	check_that(m, "IRET", "CPL 3 = IOPL changes IF, not IOPL",
		   iret_flags(mode, 3, 2 | IOPL(3), 2 | FL_IF) == (2 | FL_IF | IOPL(3)));
	check_that(m, "IRET", "CPL 1 < IOPL changes IF",
		   iret_flags(mode, 1, 2 | IOPL(2), 2 | FL_IF) == (2 | FL_IF | IOPL(2)));
	check_that(m, "IRET", "AC and ID are loaded at CPL 3",
		   iret_flags(mode, 3, 2, 2 | FL_AC | FL_ID) == (2 | FL_AC | FL_ID));
	check_that(m, "IRET", "reserved bits stay as they are",
		   iret_flags(mode, 0, 2, 0x2a | 1 << 15) == 2);
	check_that(m, "IRET", "VIF and VIP are loaded at CPL 0",
		   iret_flags(mode, 0, 2, 2 | 3 << 19) == (2 | 3 << 19));
	check_that(m, "IRET", "VIF and VIP stay at CPL 3", iret_flags(mode, 3, 2, 2 | 3 << 19) == 2);
	if (HAS_COMPAT) {
		iret_flags(mode, 0, 2 | FL_NT, 2);
		check(m, "IRET", "NT set", GP, 0);
		check_that(m, "IRET", "VM is ignored", iret_flags(mode, 0, 2, 2 | FL_VM) == 2);
	}
	check_that(m, "IRET", "VM is ignored at CPL 3", iret_flags(mode, 3, 2, 2 | FL_VM) == 2);
}

/* IRETQ at the same level checks the SS it pops. */
static void test_iretq_ss(enum mode mode)
{
	struct frame f = good_frame(mode, KERNEL_CS);

	if (!is_64bit(mode))
		return;
	ret_frame(mode, true, "same level, SS null", WITH(f, ss, 0), NO_EXC, 0);
	ret_frame(mode, true, "same level, SS null with RPL 1", WITH(f, ss, 1),
		  is_amd() ? NO_EXC : GP, 0);
	ret_frame(mode, true, "same level, SS's RPL is not CS's", WITH(f, ss, KERNEL_DS | 3), GP,
		  KERNEL_DS);
	ret_frame(mode, true, "same level, SS of DPL 3", WITH(f, ss, USER_DS & ~3), GP, USER_DS & ~3);
	put_flat(SS_SLOT, DATA_R);
	ret_frame(mode, true, "same level, SS is read-only", WITH(f, ss, SLOT(SS_SLOT)), GP,
		  SLOT(SS_SLOT));
	put_flat(SS_SLOT, DATA_RW & ~A_P);
	ret_frame(mode, true, "same level, SS not present", WITH(f, ss, SLOT(SS_SLOT)), SS,
		  SLOT(SS_SLOT));
}

static void test_returns(enum mode mode)
{
	for (unsigned iret = 0; iret < 2; iret++) {
		for (unsigned i = 0; i < ARRAY_SIZE(ret_rows); i++)
			try_ret(mode, iret, &ret_rows[i]);
		test_ret_frames(mode, iret);
		test_outer_segments(mode, iret);
	}
	test_ret_n(mode);
	test_iret_flags(mode);
	test_iretq_ss(mode);
}

int main(void)
{
	checks_init();
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_direct(mode);
		test_gates(mode);
		test_inner_stacks(mode);
		test_returns(mode);
	}
	return 0;
}
