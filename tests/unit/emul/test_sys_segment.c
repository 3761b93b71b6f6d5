// SPDX-License-Identifier: MIT
/*
 * Segment loads: every check of SDM Vol. 2, "MOV" and "POP", with the fault it
 * gives, the loads that succeed, and the instructions that only look at selectors
 * or keep tables (LAR, LSL, VERR, VERW, ARPL, LLDT, LTR, LGDT, SGDT, ...).
 */
#include "sysenv.h"

#define NO_FAULT 0xff

struct load_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint8_t seg;
	uint16_t sel;
	uint8_t vec;		/* NO_FAULT: the load succeeds */
	uint16_t ec;
};

/* clang-format off */
static const struct load_row loads[] = {
	/* SS */
	{ "SS null in protected mode",      ENV_PROT, 0, X86_SS, 0,           X86_GP, 0 },
	{ "SS null with RPL, protected",    ENV_PROT, 3, X86_SS, 3,           X86_GP, 0 },
	{ "SS null in compatibility mode",  ENV_COMPAT, 0, X86_SS, 0,         X86_GP, 0 },
	{ "SS null in 64-bit mode, CPL 3",  ENV_LONG, 3, X86_SS, 3,           X86_GP, 0 },
	{ "SS null, RPL is not CPL",        ENV_LONG, 0, X86_SS, 1,           X86_GP, 0 },
	{ "SS null in 64-bit mode, CPL 0",  ENV_LONG, 0, X86_SS, 0,           NO_FAULT, 0 },
	{ "SS beyond the GDT",              ENV_PROT, 0, X86_SS, SEL_BEYOND,  X86_GP, SEL_BEYOND },
	{ "SS RPL is not CPL",              ENV_PROT, 0, X86_SS, SEL_DATA0|3, X86_GP, SEL_DATA0 },
	{ "SS DPL is not CPL",              ENV_PROT, 0, X86_SS, SEL_DATA3&~3, X86_GP, SEL_DATA3&~3 },
	{ "SS DPL below CPL",               ENV_PROT, 3, X86_SS, SEL_DATA0|3, X86_GP, SEL_DATA0 },
	{ "SS read-only",                   ENV_PROT, 0, X86_SS, SEL_RODATA0, X86_GP, SEL_RODATA0 },
	{ "SS code",                        ENV_PROT, 0, X86_SS, SEL_CODE0,   X86_GP, SEL_CODE0 },
	{ "SS system",                      ENV_PROT, 0, X86_SS, SEL_TSS,     X86_GP, SEL_TSS },
	{ "SS not present",                 ENV_PROT, 0, X86_SS, SEL_DATA_NP, X86_SS_FAULT, SEL_DATA_NP },
	{ "SS in an LDT that is not there", ENV_PROT, 0, X86_SS, 0x0c,        X86_GP, 0x0c },
	{ "SS at CPL 0",                    ENV_PROT, 0, X86_SS, SEL_DATA0,   NO_FAULT, 0 },
	{ "SS at CPL 1",                    ENV_PROT, 1, X86_SS, SEL_DATA1,   NO_FAULT, 0 },
	{ "SS at CPL 3",                    ENV_PROT, 3, X86_SS, SEL_DATA3,   NO_FAULT, 0 },
	{ "SS 16-bit",                      ENV_PROT, 0, X86_SS, SEL_DATA16,  NO_FAULT, 0 },
	{ "SS in 64-bit mode",              ENV_LONG, 0, X86_SS, SEL_DATA0,   NO_FAULT, 0 },
	/* DS, ES, FS, GS */
	{ "DS null",                        ENV_PROT, 0, X86_DS, 0,           NO_FAULT, 0 },
	{ "DS null with RPL 3",             ENV_PROT, 3, X86_DS, 3,           NO_FAULT, 0 },
	{ "ES beyond the GDT",              ENV_PROT, 0, X86_ES, SEL_BEYOND|1, X86_GP, SEL_BEYOND },
	{ "DS execute-only code",           ENV_PROT, 0, X86_DS, SEL_XCODE0,  X86_GP, SEL_XCODE0 },
	{ "DS readable code",               ENV_PROT, 0, X86_DS, SEL_CODE0,   NO_FAULT, 0 },
	{ "DS system",                      ENV_PROT, 0, X86_DS, SEL_TSS,     X86_GP, SEL_TSS },
	{ "FS RPL above DPL",               ENV_PROT, 0, X86_FS, SEL_DATA0|3, X86_GP, SEL_DATA0 },
	{ "GS CPL above DPL",               ENV_PROT, 3, X86_GS, SEL_DATA0,   X86_GP, SEL_DATA0 },
	{ "DS readable code of level 0 at 3", ENV_PROT, 3, X86_DS, SEL_CODE0, X86_GP, SEL_CODE0 },
	{ "DS conforming code at CPL 3",    ENV_PROT, 3, X86_DS, SEL_CONF0|3, NO_FAULT, 0 },
	{ "DS read-only",                   ENV_PROT, 3, X86_DS, SEL_RO3,     NO_FAULT, 0 },
	{ "DS not present",                 ENV_PROT, 0, X86_DS, SEL_DATA_NP, X86_NP, SEL_DATA_NP },
	{ "DS user data at CPL 0",          ENV_PROT, 0, X86_DS, SEL_DATA3,   NO_FAULT, 0 },
	{ "FS null in 64-bit mode",         ENV_LONG, 3, X86_FS, 0,           NO_FAULT, 0 },
	{ "GS in 64-bit mode",              ENV_LONG, 3, X86_GS, SEL_DATA3,   NO_FAULT, 0 },
	{ "ES at CPL 3 in 64-bit mode, level 0", ENV_LONG, 3, X86_ES, SEL_DATA0, X86_GP, SEL_DATA0 },
	{ "DS in real mode",                ENV_REAL, 0, X86_DS, 0x1234,      NO_FAULT, 0 },
	{ "SS in vm86",                     ENV_VM86, 3, X86_SS, 0xffff,      NO_FAULT, 0 },
};
/* clang-format on */

static void check_loaded(const struct load_row *r)
{
	const struct x86_segment *s = &env.c.seg[r->seg];

	assert_int_equal(s->selector, r->sel);
	if (r->mode == ENV_REAL || r->mode == ENV_VM86) {
		assert_int_equal(s->base, (uint64_t)r->sel << 4);
		assert_int_equal(s->limit, 0xffff);
	} else if (!(r->sel & ~3)) {
		assert_true(s->ar & X86_AR_UNUSABLE);
		assert_int_equal(s->base, 0);
	} else {
		assert_false(s->ar & X86_AR_UNUSABLE);
		assert_true(s->ar & X86_AR_A);
		assert_true(env.mem[ENV_GDT + (r->sel & ~7) + 5] & 1);
	}
	if (r->mode != ENV_REAL && r->mode != ENV_VM86)
		assert_int_equal(env.c.cpl, r->cpl);
	assert_int_equal(!!(env.c.shadow & X86_SHADOW_MOV_SS), r->seg == X86_SS);
}

static void test_mov_sreg(void **state)
{
	const struct load_row *r = *state;
	int rc;

	env_init(r->mode, r->cpl);
	env.c.gpr[X86_RAX] = 0xabcd0000u | r->sel;
	rc = RUN(0x8e, 0xc0 | r->seg << 3);
	if (r->vec != NO_FAULT) {
		assert_fault(rc, r->vec, r->ec);
		env_assert_unchanged();
		assert_int_equal(env.c.shadow, 0);
		return;
	}
	assert_int_equal(rc, X86EMUL_CONTINUE);
	check_loaded(r);
}

static void test_pop_fs(void **state)
{
	env_init(ENV_LONG, 3);
	env_put(ENV_STACK3, 0xffffffffffff0000ull | SEL_DATA3, 8);
	assert_int_equal(RUN(0x0f, 0xa1), X86EMUL_CONTINUE);
	assert_int_equal(env.c.seg[X86_FS].selector, SEL_DATA3);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3 + 8);
}

static void test_pop_ss_fault_keeps_sp(void **state)
{
	env_init(ENV_PROT, 0);
	env_put(ENV_STACK0, SEL_DATA_NP, 4);
	assert_fault(RUN(0x17), X86_SS_FAULT, SEL_DATA_NP);
	env_assert_unchanged();
}

static void test_push_sreg(void **state)
{
	env_init(ENV_PROT, 3);
	env_put(ENV_STACK3 - 4, 0xffffffff, 4);
	assert_int_equal(RUN(0x1e), X86EMUL_CONTINUE);
	/* Intel's processors write the selector alone. */
	assert_int_equal(env_get(ENV_STACK3 - 4, 4), 0xffff0000 | SEL_DATA3);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3 - 4);

	env_init(ENV_PROT, 3);
	env.c.vendor_amd = true;
	env_put(ENV_STACK3 - 4, 0xffffffff, 4);
	assert_int_equal(RUN(0x1e), X86EMUL_CONTINUE);
	assert_int_equal(env_get(ENV_STACK3 - 4, 4), SEL_DATA3);
}

static void test_lss_faults_before_gpr(void **state)
{
	env_init(ENV_PROT, 0);
	env_put(ENV_DATA, 0x11223344, 4);
	env_put(ENV_DATA + 4, SEL_RODATA0, 2);
	env.c.gpr[X86_RBX] = ENV_DATA;
	assert_fault(RUN(0x0f, 0xb2, 0x23), X86_GP, SEL_RODATA0);
	env_assert_unchanged();
	env_put(ENV_DATA + 4, SEL_DATA0, 2);
	assert_int_equal(RUN(0x0f, 0xb2, 0x23), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RSP], 0x11223344);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
	assert_int_equal(env.c.shadow, 0);	/* LSS opens none */
}

/* The GDT is the supervisor's, also when the user loads a segment. */
static void test_accessed_bit_from_user(void **state)
{
	env_init(ENV_PROT, 3);
	env_desc(SEL_FREE, 0x5000, 0xff, 0x40f2);
	env.c.gpr[X86_RAX] = SEL_FREE | 3;
	assert_int_equal(RUN(0x8e, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.mem[ENV_GDT + SEL_FREE + 5], 0xf3);
	assert_int_equal(env.c.seg[X86_DS].base, 0x5000);
	assert_int_equal(env.c.seg[X86_DS].limit, 0xff);
}

/* A read-only table with the bit set is not written; with it clear, #PF. */
static void test_readonly_gdt(void **state)
{
	env_init(ENV_PROT, 0);
	env.prot[ENV_GDT >> 12] |= PG_RO;
	env.c.gpr[X86_RAX] = SEL_DATA3;
	assert_int_equal(RUN(0x8e, 0xd8), X86EMUL_CONTINUE);
	env.c.gpr[X86_RAX] = SEL_DATA0;
	assert_fault(RUN(0x8e, 0xd8), X86_PF, X86_PFERR_P | X86_PFERR_W);
	assert_int_equal(env.c.exception.address, ENV_GDT + SEL_DATA0 + 5);
	env_assert_unchanged();
}

static void test_ldt(void **state)
{
	env_init(ENV_PROT, 0);
	env_put(ENV_LDT + 8, 0x0000ffff, 4);
	env_put(ENV_LDT + 12, 0x00cf9200, 4);
	env.c.gpr[X86_RAX] = SEL_LDT;
	assert_int_equal(RUN(0x0f, 0x00, 0xd0), X86EMUL_CONTINUE);
	env.c.gpr[X86_RAX] = 0x0c;
	assert_int_equal(RUN(0x8e, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.mem[ENV_LDT + 13], 0x93);
	env.c.gpr[X86_RAX] = 0x104;
	assert_fault(RUN(0x8e, 0xd8), X86_GP, 0x104);
}

static void test_mov_from_sreg(void **state)
{
	env_init(ENV_LONG, 3);
	env.c.gpr[X86_RAX] = ~0ull;
	assert_int_equal(RUN(0x48, 0x8c, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], SEL_DATA3);
	env_put(ENV_DATA, ~0ull, 8);
	env.c.gpr[X86_RBX] = ENV_DATA;
	assert_int_equal(RUN(0x48, 0x8c, 0x1b), X86EMUL_CONTINUE);
	assert_int_equal(env_get(ENV_DATA, 8), 0xffffffffffff0000ull | SEL_DATA3);
}

static void test_mov_cs_undefined(void **state)
{
	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RAX] = SEL_CODE0;
	assert_fault(RUN(0x8e, 0xc8), X86_UD, 0);
}

static void test_unreal_keeps_limit(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.seg[X86_DS].limit = UINT32_MAX;
	env.c.gpr[X86_RAX] = 0x100;
	assert_int_equal(RUN(0x8e, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.seg[X86_DS].limit, UINT32_MAX);
	assert_int_equal(env.c.seg[X86_DS].base, 0x1000);
}

static void test_amd_null_ss_rpl(void **state)
{
	env_init(ENV_LONG, 0);
	env.c.vendor_amd = true;
	env.c.gpr[X86_RAX] = 3;
	assert_int_equal(RUN(0x8e, 0xd0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cpl, 0);
	assert_int_equal(env.c.stack_size, 8);
}

/* --- looking ---------------------------------------------------------------------- */

struct look_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint16_t sel;
	bool lar, lsl, verr, verw;	/* ZF each leaves */
};

/* clang-format off */
static const struct look_row looks[] = {
	{ "look: null",                ENV_PROT, 0, 0,            false, false, false, false },
	{ "look: beyond",              ENV_PROT, 0, SEL_BEYOND,   false, false, false, false },
	{ "look: data",                ENV_PROT, 0, SEL_DATA0,    true,  true,  true,  true },
	{ "look: data of level 0 at 3", ENV_PROT, 3, SEL_DATA0,   false, false, false, false },
	{ "look: RPL 3 of level 0",    ENV_PROT, 0, SEL_DATA0|3,  false, false, false, false },
	{ "look: read-only",           ENV_PROT, 0, SEL_RODATA0,  true,  true,  true,  false },
	{ "look: code",                ENV_PROT, 0, SEL_CODE0,    true,  true,  true,  false },
	{ "look: execute-only",        ENV_PROT, 0, SEL_XCODE0,   true,  true,  false, false },
	{ "look: conforming at 3",     ENV_PROT, 3, SEL_CONF0,    true,  true,  true,  false },
	{ "look: TSS",                 ENV_PROT, 0, SEL_TSS,      true,  true,  false, false },
	{ "look: LDT",                 ENV_PROT, 0, SEL_LDT,      true,  true,  false, false },
	{ "look: call gate",           ENV_PROT, 0, SEL_GATE,     true,  false, false, false },
	{ "look: task gate",           ENV_PROT, 0, SEL_FREE,     true,  false, false, false },
	{ "look: task gate, long",     ENV_LONG, 0, SEL_FREE,     false, false, false, false },
	{ "look: 64-bit TSS",          ENV_LONG, 0, SEL_TSS,      true,  true,  false, false },
	{ "look: not present data",    ENV_PROT, 0, SEL_DATA_NP,  true,  true,  true,  true },
};
/* clang-format on */

static void look_one(const struct look_row *r, uint8_t op, bool zf)
{
	const bool two = op < 4;	/* LAR, LSL: 0F 02, 0F 03 */
	int rc;

	env_init(r->mode, r->cpl);
	env_gate(SEL_GATE, SEL_CODE0, 0x1234, X86_CALL_GATE32, 3, 0);
	env_gate(SEL_FREE, SEL_TSS_B, 0, X86_TASK_GATE, 3, 0);
	env.c.gpr[X86_RAX] = r->sel;
	env.c.gpr[X86_RCX] = 0xdead;
	env.c.eflags |= zf ? 0 : X86_EFLAGS_ZF;
	rc = two ? RUN(0x0f, op, 0xc8) : RUN(0x0f, 0x00, op);
	assert_int_equal(rc, X86EMUL_CONTINUE);
	assert_int_equal(!!(env.c.eflags & X86_EFLAGS_ZF), zf);
	if (two && !zf)
		assert_int_equal(env.c.gpr[X86_RCX], 0xdead);
}

static void test_look(void **state)
{
	const struct look_row *r = *state;

	look_one(r, 0x02, r->lar);
	look_one(r, 0x03, r->lsl);
	look_one(r, 0xe0, r->verr);
	look_one(r, 0xe8, r->verw);
}

static void test_lar_lsl_values(void **state)
{
	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RAX] = SEL_DATA3;
	assert_int_equal(RUN(0x0f, 0x02, 0xc8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RCX], 0x00cff300);
	assert_int_equal(RUN(0x0f, 0x03, 0xc8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RCX], 0xffffffff);
	assert_int_equal(RUN(0x66, 0x0f, 0x02, 0xc8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RCX], 0xfffff300);
}

static void test_arpl(void **state)
{
	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RAX] = 0x10;
	env.c.gpr[X86_RCX] = 3;
	assert_int_equal(RUN(0x63, 0xc8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], 0x13);
	assert_true(env.c.eflags & X86_EFLAGS_ZF);
	env.c.gpr[X86_RCX] = 1;
	assert_int_equal(RUN(0x63, 0xc8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], 0x13);
	assert_false(env.c.eflags & X86_EFLAGS_ZF);
}

/* --- bases --------------------------------------------------------------------------- */

static void test_swapgs(void **state)
{
	env_init(ENV_LONG, 0);
	env.c.seg[X86_GS].base = 0x1111;
	env.kernel_gs = 0xffff800000000000ull;
	assert_int_equal(RUN(0x0f, 0x01, 0xf8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.seg[X86_GS].base, 0xffff800000000000ull);
	assert_int_equal(env.kernel_gs, 0x1111);
	env_init(ENV_LONG, 3);
	assert_fault(RUN(0x0f, 0x01, 0xf8), X86_GP, 0);
}

static void test_fsgsbase(void **state)
{
	env_init(ENV_LONG, 3);
	env.c.gpr[X86_RAX] = 0x123456789abcull;
	assert_fault(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd0), X86_UD, 0);
	env.c.cr4 |= X86_CR4_FSGSBASE;
	assert_int_equal(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.seg[X86_FS].base, 0x123456789abcull);
	assert_int_equal(RUN(0xf3, 0x0f, 0xae, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.seg[X86_GS].base, 0x56789abc);
	assert_int_equal(RUN(0xf3, 0x48, 0x0f, 0xae, 0xc1), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RCX], 0x123456789abcull);
	env.c.gpr[X86_RAX] = 1ull << 47;
	assert_fault(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd0), X86_GP, 0);
	env_assert_unchanged();
}

/* --- tables -------------------------------------------------------------------------- */

struct table_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint8_t modrm;		/* 0F 00 /2 LLDT (d0), /3 LTR (d8) */
	uint16_t sel;
	uint8_t vec;
	uint16_t ec;
};

/* clang-format off */
static const struct table_row tables[] = {
	{ "LLDT at CPL 3",             ENV_PROT, 3, 0xd0, SEL_LDT,      X86_GP, 0 },
	{ "LLDT null",                 ENV_PROT, 0, 0xd0, 0,            NO_FAULT, 0 },
	{ "LLDT in the LDT",           ENV_PROT, 0, 0xd0, SEL_LDT | 4,  X86_GP, SEL_LDT | 4 },
	{ "LLDT beyond",               ENV_PROT, 0, 0xd0, SEL_BEYOND,   X86_GP, SEL_BEYOND },
	{ "LLDT of a data segment",    ENV_PROT, 0, 0xd0, SEL_DATA0,    X86_GP, SEL_DATA0 },
	{ "LLDT of a TSS",             ENV_PROT, 0, 0xd0, SEL_TSS_B,    X86_GP, SEL_TSS_B },
	{ "LLDT not present",          ENV_PROT, 0, 0xd0, SEL_FREE,     X86_NP, SEL_FREE },
	{ "LLDT",                      ENV_PROT, 0, 0xd0, SEL_LDT,      NO_FAULT, 0 },
	{ "LLDT in 64-bit mode",       ENV_LONG, 0, 0xd0, SEL_LDT,      X86_GP, SEL_LDT },
	{ "LTR at CPL 3",              ENV_PROT, 3, 0xd8, SEL_TSS_B,    X86_GP, 0 },
	{ "LTR null",                  ENV_PROT, 0, 0xd8, 0,            X86_GP, 0 },
	{ "LTR in the LDT",            ENV_PROT, 0, 0xd8, SEL_TSS_B | 4, X86_GP, SEL_TSS_B | 4 },
	{ "LTR beyond",                ENV_PROT, 0, 0xd8, SEL_BEYOND,   X86_GP, SEL_BEYOND },
	{ "LTR busy",                  ENV_PROT, 0, 0xd8, SEL_TSS,      X86_GP, SEL_TSS },
	{ "LTR of an LDT",             ENV_PROT, 0, 0xd8, SEL_LDT,      X86_GP, SEL_LDT },
	{ "LTR",                       ENV_PROT, 0, 0xd8, SEL_TSS_B,    NO_FAULT, 0 },
	{ "LTR in 64-bit mode",        ENV_LONG, 0, 0xd8, SEL_TSS_B,    NO_FAULT, 0 },
	{ "LTR, upper half cut off",   ENV_LONG, 0, 0xd8, 0xf8,         X86_GP, 0xf8 },
};
/* clang-format on */

/* SEL_LDT's upper half is SEL_BADLD-to-be in long mode: make its type field
 * non-zero, so that the load must fail there. */
static void test_table(void **state)
{
	const struct table_row *r = *state;
	int rc;

	env_init(r->mode, r->cpl);
	env_desc(SEL_FREE, ENV_LDT, 0xff, 0x0002);
	env_desc(0xf8, ENV_TSS_B, 0x67, 0x0089);
	env_put(ENV_GDT + SEL_LDT + 12, 0x0100, 4);
	env.c.gpr[X86_RAX] = r->sel;
	rc = RUN(0x0f, 0x00, r->modrm);
	if (r->vec != NO_FAULT) {
		assert_fault(rc, r->vec, r->ec);
		env_assert_unchanged();
		return;
	}
	assert_int_equal(rc, X86EMUL_CONTINUE);
	if (r->modrm == 0xd8) {
		assert_int_equal(env.c.seg[X86_TR].selector, r->sel);
		assert_int_equal(env.c.seg[X86_TR].base, ENV_TSS_B);
		assert_int_equal(env.mem[ENV_GDT + r->sel + 5], 0x8b);
		assert_int_equal(env.c.seg[X86_TR].ar & 0xf, 11);
	} else {
		assert_int_equal(env.c.seg[X86_LDTR].selector, r->sel);
		assert_int_equal(!(env.c.seg[X86_LDTR].ar & X86_AR_UNUSABLE),
				 !!r->sel);
	}
}

static void test_lgdt_formats(void **state)
{
	env_init(ENV_PROT, 0);
	env_put(ENV_DATA, 0x1234, 2);
	env_put(ENV_DATA + 2, 0x89abcdef, 4);
	env.c.gpr[X86_RBX] = ENV_DATA;
	assert_int_equal(RUN(0x0f, 0x01, 0x13), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gdt.base, 0x89abcdef);
	assert_int_equal(env.c.gdt.limit, 0x1234);
	assert_int_equal(RUN(0x66, 0x0f, 0x01, 0x1b), X86EMUL_CONTINUE);
	assert_int_equal(env.c.idt.base, 0xabcdef);
	env_init(ENV_LONG, 0);
	env_put(ENV_DATA, 0xfff, 2);
	env_put(ENV_DATA + 2, 0xffff800012345678ull, 8);
	env.c.gpr[X86_RBX] = ENV_DATA;
	assert_int_equal(RUN(0x0f, 0x01, 0x1b), X86EMUL_CONTINUE);
	assert_int_equal(env.c.idt.base, 0xffff800012345678ull);
	env_put(ENV_DATA + 2, 0x0001000012345678ull, 8);
	assert_fault(RUN(0x0f, 0x01, 0x13), X86_GP, 0);
	env_init(ENV_LONG, 3);
	assert_fault(RUN(0x0f, 0x01, 0x13), X86_GP, 0);
}

static void test_sgdt(void **state)
{
	env_init(ENV_LONG, 3);
	env.c.gpr[X86_RBX] = ENV_DATA;
	env.c.gdt.base = 0xffff800000001000ull;
	assert_int_equal(RUN(0x0f, 0x01, 0x03), X86EMUL_CONTINUE);
	assert_int_equal(env_get(ENV_DATA + 2, 8), 0xffff800000001000ull);
	assert_int_equal(env_get(ENV_DATA, 2), SEL_BEYOND - 1);
	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA + 6, 0x5a5a, 2);
	assert_int_equal(RUN(0x0f, 0x01, 0x0b), X86EMUL_CONTINUE);
	assert_int_equal(env_get(ENV_DATA + 2, 4), ENV_IDT);
	assert_int_equal(env_get(ENV_DATA + 6, 2), 0x5a5a);
}

/* UMIP's #GP comes before the exit, and the exit before the store. */
static void test_umip(void **state)
{
	static const uint8_t code[][3] = {
		{ 0x0f, 0x01, 0x03 }, { 0x0f, 0x01, 0x0b }, { 0x0f, 0x00, 0x03 },
		{ 0x0f, 0x00, 0x0b }, { 0x0f, 0x01, 0x23 },
	};
	static const enum x86_intercept ids[] = {
		X86_INTERCEPT_SGDT, X86_INTERCEPT_SIDT, X86_INTERCEPT_SLDT,
		X86_INTERCEPT_STR, X86_INTERCEPT_NONE,
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(code); i++) {
		env_init(ENV_PROT, 3);
		env.c.cr4 |= X86_CR4_UMIP;
		env.c.gpr[X86_RBX] = ENV_DATA;
		env.intercept_on = ids[i];
		assert_fault(env_run(code[i], 3), X86_GP, 0);
		env_assert_unchanged();
		env_init(ENV_PROT, 0);
		env.c.cr4 |= X86_CR4_UMIP;
		env.c.gpr[X86_RBX] = ENV_DATA;
		env.intercept_on = ids[i];
		assert_int_equal(env_run(code[i], 3), ids[i] ?
				 X86EMUL_INTERCEPTED : X86EMUL_CONTINUE);
		assert_int_equal(env.intercepted, ids[i]);
	}
}

static void test_sldt_str(void **state)
{
	env_init(ENV_LONG, 0);
	env.c.seg[X86_LDTR].selector = 0x88;
	env.c.gpr[X86_RAX] = ~0ull;
	assert_int_equal(RUN(0x48, 0x0f, 0x00, 0xc0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], 0x88);
	env.c.gpr[X86_RAX] = ~0ull;
	assert_int_equal(RUN(0x66, 0x0f, 0x00, 0xc8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], 0xffffffffffff0000ull | SEL_TSS);
	env_init(ENV_REAL, 0);
	assert_fault(RUN(0x0f, 0x00, 0xc0), X86_UD, 0);
}

int main(void)
{
	static const struct CMUnitTest single[] = {
		cmocka_unit_test(test_pop_fs),
		cmocka_unit_test(test_pop_ss_fault_keeps_sp),
		cmocka_unit_test(test_push_sreg),
		cmocka_unit_test(test_lss_faults_before_gpr),
		cmocka_unit_test(test_accessed_bit_from_user),
		cmocka_unit_test(test_readonly_gdt),
		cmocka_unit_test(test_ldt),
		cmocka_unit_test(test_mov_from_sreg),
		cmocka_unit_test(test_mov_cs_undefined),
		cmocka_unit_test(test_unreal_keeps_limit),
		cmocka_unit_test(test_amd_null_ss_rpl),
		cmocka_unit_test(test_lar_lsl_values),
		cmocka_unit_test(test_arpl),
		cmocka_unit_test(test_swapgs),
		cmocka_unit_test(test_fsgsbase),
		cmocka_unit_test(test_lgdt_formats),
		cmocka_unit_test(test_sgdt),
		cmocka_unit_test(test_umip),
		cmocka_unit_test(test_sldt_str),
	};
	static struct CMUnitTest tests[128];
	size_t n = ARRAY_SIZE(single);

	memcpy(tests, single, sizeof(single));
	ENV_ROWS(tests, n, loads, test_mov_sreg);
	ENV_ROWS(tests, n, looks, test_look);
	ENV_ROWS(tests, n, tables, test_table);
	return _cmocka_run_group_tests("segments", tests, n, NULL, NULL);
}
